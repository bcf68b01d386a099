"""S3 and DynamoDB: what moto leaves open to races between threads, and S3's checksums and ETags."""

from __future__ import annotations

import functools
import threading
import uuid
from typing import Any


def install() -> None:
    """Make conditional writes atomic, as both services promise, and tell of objects what S3 tells."""
    from moto.dynamodb.models import DynamoDBBackend
    from moto.dynamodb.responses import DynamoHandler
    from moto.s3.models import S3Backend
    from moto.s3.responses import S3Response

    # moto reads, checks a condition and writes without a lock: under load updates are lost and conditions won twice.
    table_lock = threading.RLock()
    for name in ("put_item", "update_item", "delete_item", "transact_write_items", "get_item", "query", "scan"):
        _hold(table_lock, DynamoDBBackend, name)
    # It also copies the item before and after it changes it, while another request may.
    _hold(table_lock, DynamoHandler, "update_item")
    # The same for `If-None-Match: *`: the check and the write belong together.
    _hold(threading.RLock(), S3Response, "put_object")
    S3Backend.put_object = _checked_and_encrypted(S3Backend.put_object)


def _checked_and_encrypted(put_object: Any) -> Any:
    """Give each object a checksum, and one that KMS encrypts an ETag that tells nothing of its content.

    Sources: S3 User Guide, "Checking object integrity in Amazon S3" (an upload without a checksum gets CRC64NVME); S3
    API reference, "Object" (the ETag of an object with SSE-KMS is no MD5).
    """
    from moto.s3.utils import compute_checksum

    @functools.wraps(put_object)
    def put(*args: Any, **kwargs: Any) -> Any:
        key = put_object(*args, **kwargs)
        if str(key.encryption).startswith("aws:kms"):
            key._etag = uuid.uuid4().hex
        if key.checksum_value is None:
            key.checksum_algorithm, key.checksum_type = "CRC64NVME", "FULL_OBJECT"
            key.checksum_value = compute_checksum(key.value, "CRC64NVME").decode()
        return key

    return put


def _hold(lock: Any, owner: type, name: str) -> None:
    method = getattr(owner, name)

    @functools.wraps(method)
    def locked(*args: Any, **kwargs: Any) -> Any:
        with lock:
            return method(*args, **kwargs)

    setattr(owner, name, locked)
