"""Lists the photos of a job in S3."""

from collections.abc import Iterator
from datetime import datetime
from typing import NamedTuple

from pipeline.clients import clients
from pipeline.errors import DENIED_CODES

# The error codes for a photo that S3 has, but does not return. Sources: S3 API reference, "Error responses"; S3 guide,
# "Using server-side encryption with customer-provided keys" (InvalidRequest). S3 denies a photo that is encrypted with
# a KMS key that the function's role may not use.
UNREADABLE_CODES = DENIED_CODES | frozenset(
    {
        "InvalidObjectState",
        "InvalidRequest",
        "KMS.DisabledException",
        "KMS.KMSInvalidStateException",
        "KMS.NotFoundException",
    }
)
# The error codes for a photo that was deleted or replaced.
CHANGED_CODES = frozenset({"NoSuchKey", "PreconditionFailed", "404", "412"})


class Upload(NamedTuple):
    """An uploaded photo. ``size`` in bytes, ``etag`` without quotes."""

    key: str
    etag: str
    size: int
    modified: datetime


def prefix(job_id: str) -> str:
    """The prefix of the keys of a job's photos."""
    return f"images/{job_id}/"


def listed(bucket: str, job_id: str, *, after: str = "") -> Iterator[Upload]:
    """The job's photos in the order of their keys. All keys are after ``after``."""
    pages = clients.s3.get_paginator("list_objects_v2").paginate(
        Bucket=bucket, Prefix=prefix(job_id), StartAfter=after or prefix(job_id)
    )
    for page in pages:
        for entry in page.get("Contents", ()):
            if not entry["Key"].endswith("/"):  # the S3 console's folder marker
                yield Upload(entry["Key"], entry["ETag"].strip('"'), entry["Size"], entry["LastModified"])
