"""S3 and DynamoDB: what moto leaves open to races between threads."""

from __future__ import annotations

import functools
import threading
from typing import Any


def install() -> None:
    """Make conditional writes atomic, as both services promise."""
    from moto.dynamodb.models import DynamoDBBackend
    from moto.s3.responses import S3Response

    # moto reads, checks a condition and writes without a lock: under load updates are lost and conditions won twice.
    table_lock = threading.RLock()
    for name in ("put_item", "update_item", "delete_item", "transact_write_items", "get_item", "query", "scan"):
        _hold(table_lock, DynamoDBBackend, name)
    # The same for `If-None-Match: *`: the check and the write belong together.
    _hold(threading.RLock(), S3Response, "put_object")


def _hold(lock: Any, owner: type, name: str) -> None:
    method = getattr(owner, name)

    @functools.wraps(method)
    def locked(*args: Any, **kwargs: Any) -> Any:
        with lock:
            return method(*args, **kwargs)

    setattr(owner, name, locked)
