"""The AWS session of the commands: the user's credentials, in the Region of the API."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

if TYPE_CHECKING:
    import boto3

# Matches API-ID.execute-api.REGION.amazonaws.com and the hosts of private APIs.
# Source: API Gateway guide, "Invoke REST APIs".
API_HOST = re.compile(r"\.execute-api\.([a-z0-9-]+)\.")


def new_session(api_url: str | None = None) -> boto3.Session:
    """A session in the Region of the API's host name, otherwise in AWS_REGION, otherwise in boto3's default Region.

    boto3 itself ignores AWS_REGION, which Lambda, the CDK and our documentation use.
    """
    import boto3

    host = API_HOST.search(urlsplit(api_url or "").hostname or "")
    return boto3.Session(region_name=host[1] if host else os.environ.get("AWS_REGION") or None)
