"""Lists the photos of a job in S3."""

from collections.abc import Iterator
from datetime import datetime
from typing import NamedTuple

from pipeline.clients import clients


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
