"""Where audit reports are kept: a bucket with versions, in which nothing can be deleted or replaced before its time."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from botocore.exceptions import ClientError

from pipeline.audit import page, report
from pipeline.errors import error_code

CONTENT_TYPES = {"json": "application/json", "html": "text/html; charset=utf-8"}
FINAL, PROVISIONAL = "audit", "provisional"
PROVISIONAL_DAYS = 1  # for which a report on a running execution is locked; after that it expires


def key(job_id: str, execution: str, form: str, *, folder: str = FINAL) -> str:
    """The object of an execution's report; ``form`` is json or html."""
    return f"{folder}/{job_id}/{execution}.{form}"


@dataclass(frozen=True)
class Stored:
    """A report in the bucket; ``ended`` is the end of the execution that it is of, in Unix ms."""

    key: str
    version: str
    ended: int
    written: datetime


class Store:
    """The bucket of audit reports."""

    def __init__(self, bucket: str, s3: Any) -> None:
        self.bucket = bucket
        self._s3 = s3

    def find(self, object_key: str, version: str | None = None) -> Stored | None:
        """The newest version of a report, or ``version``; None when there is none."""
        try:
            head = self._s3.head_object(
                Bucket=self.bucket, Key=object_key, **({"VersionId": version} if version else {})
            )
        except ClientError as error:
            if error_code(error) not in ("404", "NoSuchKey"):
                raise
            return None
        ended = int(head["Metadata"].get("ended", 0))
        return Stored(object_key, head.get("VersionId", "null"), ended, head["LastModified"])

    def previous(self, job_id: str, ended: int | None) -> dict[str, Any] | None:
        """The job's newest report on what ended before: ``{object, versionId, sha256}``; None when there is none.

        That may be the report on an earlier execution, or on an earlier end of this one, which was redriven since.
        """
        candidates = []
        pages = self._s3.get_paginator("list_object_versions").paginate(Bucket=self.bucket, Prefix=f"{FINAL}/{job_id}/")
        for listing in pages:
            for one in listing.get("Versions", ()):
                if not one["Key"].endswith(".json"):
                    continue
                found = self.find(one["Key"], one["VersionId"])
                if found and (ended is None or found.ended < ended):
                    candidates.append(found)
        if not candidates:
            return None
        # Of the same end there may be two versions with the same content: the older one was there first.
        newest = max(candidates, key=lambda one: (one.ended, -one.written.timestamp(), one.version))
        body = self._s3.get_object(Bucket=self.bucket, Key=newest.key, VersionId=newest.version)["Body"].read()
        return {
            "object": f"s3://{self.bucket}/{newest.key}",
            "versionId": newest.version,
            "sha256": hashlib.sha256(body).hexdigest(),
        }

    def put(self, made: Mapping[str, Any]) -> None:
        """Keep the report, as JSON and as a page; the JSON comes last, for it says that both are there."""
        provisional = made["provisional"]
        ended = made["inputs"]["execution"].get("stopDate", 0)
        until = datetime.now(UTC) + timedelta(days=PROVISIONAL_DAYS)
        lock = {"ObjectLockMode": "GOVERNANCE", "ObjectLockRetainUntilDate": until} if provisional else {}
        for form, body in (("html", page.render(made).encode()), ("json", report.canonical(made))):
            self._s3.put_object(
                Bucket=self.bucket,
                Key=key(made["jobId"], made["execution"], form, folder=PROVISIONAL if provisional else FINAL),
                Body=body,
                ContentType=CONTENT_TYPES[form],
                Metadata={"ended": str(ended)},
                **lock,
            )
