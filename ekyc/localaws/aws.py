"""boto3 clients of the local AWS, for its own code and for tests."""

from __future__ import annotations

import functools
import secrets
import threading
from typing import Any

import boto3
from botocore.config import Config

account = "123456789012"
region = "us-east-1"
# The key of all callers except the functions, which have their own keys and one shared secret.
ACCESS_KEY = "local"
# The secret of the functions. New in each process, so that no web page can sign like a function.
FUNCTION_SECRET_KEY = secrets.token_urlsafe(24)
SECRET_KEY = "local"  # noqa: S105 - not a secret: any program on this machine may call the local AWS


class NotRunningError(RuntimeError):
    """No local AWS runs in this process."""


def environment(endpoint: str) -> dict[str, str]:
    """The AWS_* variables that make boto3 and the AWS CLI use only `endpoint`."""
    return {
        "AWS_ENDPOINT_URL": endpoint,
        "AWS_REGION": region,
        "AWS_DEFAULT_REGION": region,
        "AWS_ACCESS_KEY_ID": ACCESS_KEY,
        "AWS_SECRET_ACCESS_KEY": SECRET_KEY,
    }


def set_endpoint(endpoint: str | None) -> None:
    """Make `client` use `endpoint`. None means that the local AWS has stopped."""
    global _endpoint
    _endpoint = endpoint
    _client.cache_clear()


def endpoint() -> str:
    """The URL of this process's local AWS, "http://127.0.0.1:PORT". Raises NotRunningError."""
    if _endpoint is None:
        raise NotRunningError("No local AWS runs in this process. Start one with LocalAws().start().")
    return _endpoint


def client(service: str) -> Any:
    """The boto3 client of a service of the local AWS: one for each service, thread-safe, with keep-alive connections.

    Raises NotRunningError.
    """
    return _client(service, endpoint())


_endpoint: str | None = None
_client_lock = threading.Lock()


@functools.cache
def _client(service: Any, endpoint_url: str) -> Any:
    with _client_lock:
        return boto3.session.Session(
            aws_access_key_id=ACCESS_KEY,
            aws_secret_access_key=SECRET_KEY,
            region_name=region,
        ).client(
            service,
            endpoint_url=endpoint_url,
            config=Config(
                max_pool_connections=50,
                # Only Rekognition throttles here, and an Invoke must not be repeated. The standard mode would treat a
                # used-up quota as throttling and retry it.
                retries={"mode": "legacy", "total_max_attempts": 5 if service == "rekognition" else 1},
                read_timeout=1000,  # a function may run for 15 minutes
            ),
        )
