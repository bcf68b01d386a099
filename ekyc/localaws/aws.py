"""boto3 clients of the local AWS, for its own parts and for tests."""

from __future__ import annotations

import functools
import secrets
import threading
from typing import Any

import boto3
from botocore.config import Config

account = "123456789012"
region = "us-east-1"
# Of everybody but the functions, which have keys of their own and the same secret.
ACCESS_KEY = "local"
# Of the functions. New in each process: a web page cannot sign as they do.
FUNCTION_SECRET_KEY = secrets.token_urlsafe(24)
SECRET_KEY = "local"  # noqa: S105 - no secret: any program of this machine may call the local AWS


class NotRunningError(RuntimeError):
    """A client was asked for while no local AWS runs in this process."""


def environment(endpoint: str) -> dict[str, str]:
    """The AWS_* variables that lead boto3 and the AWS CLI to `endpoint` and to no other place."""
    return {
        "AWS_ENDPOINT_URL": endpoint,
        "AWS_REGION": region,
        "AWS_DEFAULT_REGION": region,
        "AWS_ACCESS_KEY_ID": ACCESS_KEY,
        "AWS_SECRET_ACCESS_KEY": SECRET_KEY,
    }


def set_endpoint(endpoint: str | None) -> None:
    """Make `client` lead to `endpoint`; None when the local AWS has stopped."""
    global _endpoint
    _endpoint = endpoint
    _client.cache_clear()


def endpoint() -> str:
    """The local AWS of this process, "http://127.0.0.1:PORT". Raises NotRunningError when none runs."""
    if _endpoint is None:
        raise NotRunningError("No local AWS runs in this process: start one with LocalAws().start().")
    return _endpoint


def client(service: str) -> Any:
    """The boto3 client of a service of the local AWS: one per service, safe between threads, connections kept alive.

    Raises NotRunningError when no local AWS runs in this process.
    """
    return _client(service, endpoint())


_endpoint: str | None = None
_making_a_client = threading.Lock()


@functools.cache
def _client(service: Any, endpoint_url: str) -> Any:
    with _making_a_client:
        return boto3.session.Session(
            aws_access_key_id=ACCESS_KEY,
            aws_secret_access_key=SECRET_KEY,
            region_name=region,
        ).client(
            service,
            endpoint_url=endpoint_url,
            config=Config(
                max_pool_connections=50,
                # Only Rekognition throttles here. A call to a function must not be made twice. The standard mode would
                # wait for a quota that is used up as if that were a throttle.
                retries={"mode": "legacy", "total_max_attempts": 5 if service == "rekognition" else 1},
                read_timeout=1000,  # a function may run for 15 minutes
            ),
        )
