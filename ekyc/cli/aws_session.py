"""The commands' AWS session: the user's credentials, in the Region of the API."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

if TYPE_CHECKING:
    import boto3

# API Gateway guide, "Invoke REST APIs": API-ID.execute-api.REGION.amazonaws.com, and the hosts of private APIs.
API_HOST = re.compile(r"\.execute-api\.([a-z0-9-]+)\.")


def new_session(api_url: str | None = None) -> boto3.Session:
    """A session in the Region that the API's host names, else AWS_REGION, else that of boto3 (environment or profile).

    boto3 does not read AWS_REGION, which Lambda, the CDK and our own pages use.
    """
    import boto3

    host = API_HOST.search(urlsplit(api_url or "").hostname or "")
    return boto3.Session(region_name=host[1] if host else os.environ.get("AWS_REGION") or None)
