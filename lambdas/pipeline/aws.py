"""Makes boto3 clients. The SDK retries short throttles itself; the state machine retries the rest."""

from typing import Any

import boto3
from botocore.config import Config

# The SDK's standard mode treats Rekognition's LimitExceededException, a quota that is in use for hours, as a throttle
# and would retry it three times. Legacy mode does not.
RETRY_MODES = {"rekognition": "legacy"}
CONFIG = Config(
    connect_timeout=5,
    read_timeout=30,
    max_pool_connections=64,
    signature_version="v4",
    s3={"addressing_style": "virtual"},  # presigned URLs then name the Region's host, so S3 redirects no upload
)


def client(service: str) -> Any:
    """A boto3 client of ``service``, such as ``rekognition``."""
    retries = {"mode": RETRY_MODES.get(service, "standard"), "total_max_attempts": 4}
    return boto3.client(service, config=CONFIG.merge(Config(retries=retries)))
