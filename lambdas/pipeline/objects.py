"""Writes objects that two runs of a stage may write."""

import base64
from datetime import datetime
from typing import IO, TYPE_CHECKING, Any, NamedTuple

from botocore.exceptions import ClientError

from pipeline.clients import clients
from pipeline.errors import error_code

if TYPE_CHECKING:
    from types_boto3_s3.type_defs import HeadObjectOutputTypeDef

# Source: S3 guide, "How to prevent object overwrites with conditional writes".
WRITTEN_BY_ANOTHER = frozenset({"PreconditionFailed", "ConditionalRequestConflict"})


class Stored(NamedTuple):
    """The ETag of an object, and the time when S3 wrote it."""

    etag: str
    written: datetime


def put_once(bucket: str, key: str, body: bytes | IO[bytes], sha256: bytes, **attributes: Any) -> Stored:
    """Write an object, unless its content has the digest ``sha256`` already.

    StopExecution does not end a function. If the job is resumed meanwhile, two runs write the same object. Later stages
    take an object with a later time for a replaced one, so the second run must not write it again::

        run of the stopped execution     head (404)                           put (412), head: equal, leave it
        run of the resumed execution                 head (404), put, head

    ``attributes`` are further arguments of PutObject.
    """
    checksum = base64.b64encode(sha256).decode()
    put: dict[str, Any] = {"Bucket": bucket, "Key": key, "ChecksumAlgorithm": "SHA256", "ChecksumSHA256": checksum}
    stored = _head(bucket, key)
    while not stored or stored.get("ChecksumSHA256") != checksum:
        if not isinstance(body, bytes):
            body.seek(0)
        condition: dict[str, Any] = {} if stored else {"IfNoneMatch": "*"}
        try:
            clients.s3.put_object(**put, Body=body, **condition, **attributes)
        except ClientError as error:
            if error_code(error) not in WRITTEN_BY_ANOTHER:
                raise
            stored = _head(bucket, key)
        else:
            stored = clients.s3.head_object(Bucket=bucket, Key=key)
            break
    return Stored(stored["ETag"].strip('"'), stored["LastModified"])


def _head(bucket: str, key: str) -> "HeadObjectOutputTypeDef | None":
    try:
        return clients.s3.head_object(Bucket=bucket, Key=key, ChecksumMode="ENABLED")
    except ClientError as error:
        if error_code(error) not in ("404", "NoSuchKey"):
            raise
        return None
