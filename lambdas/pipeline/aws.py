"""Makes boto3 clients. The SDK retries short throttles itself; the state machine retries the rest."""

from typing import Any

import boto3
from botocore.config import Config

CONFIG = Config(
    retries={"mode": "standard", "total_max_attempts": 4},
    connect_timeout=5,
    read_timeout=30,
    max_pool_connections=64,
    signature_version="v4",
    s3={"addressing_style": "virtual"},  # presigned URLs name the Region's host, which redirects no upload
)


def client(service: str) -> Any:
    """A boto3 client of ``service``, such as ``rekognition``."""
    return boto3.client(service, config=CONFIG)
