"""The bucket of audit reports. It has versions, which no principal can delete or replace until their lock expires.

A later version or a delete marker may hide a report. So the report of an execution's end is the first version of that
end, in the order in which S3 stored the versions. Later versions do not count.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Any

from pipeline.audit import report
from pipeline.clients import clients

CONTENT_TYPES = {"json": "application/json", "html": "text/html; charset=utf-8"}
FINAL, PROVISIONAL = "audit", "provisional"
PROVISIONAL_DAYS = 1  # how long a report on a running execution is locked; it expires after that
LOCK = "COMPLIANCE"  # the mode of Object Lock that no principal can shorten or remove


def key(job_id: str, execution: str, form: str, *, folder: str = FINAL) -> str:
    """The object of an execution's report; ``form`` is json or html."""
    return f"{folder}/{job_id}/{execution}.{form}"


@dataclass(frozen=True)
class Stored:
    """A version of a report or of its page.

    ``ended`` is the execution's end in Unix ms, 0 for a provisional report. ``is_locked`` says whether a COMPLIANCE
    retention runs by S3's own clock; it is false for callers without s3:GetObjectRetention.
    """

    key: str
    version: str
    ended: int
    written: datetime
    is_locked: bool


@dataclass(frozen=True)
class Kept:
    """The versions under one key, oldest first, and the number of delete markers."""

    versions: Sequence[Stored]
    delete_markers: int

    def first(self, ended: int, *, since: datetime | None = None) -> Stored | None:
        """The first version of the end ``ended``, not written before ``since``."""
        of_end = (one for one in self.versions if one.ended == ended)
        return next((one for one in of_end if since is None or one.written >= since), None)

    def next_after(self, version: str | None) -> Stored | None:
        """The version that was stored next after ``version``, or the first one after None."""
        places = {one.version: place for place, one in enumerate(self.versions, 1)}
        if version is not None and version not in places:
            return None
        return next(iter(self.versions[places.get(version or "", 0) :]), None)

    @property
    def newest(self) -> str | None:
        """The id of the newest version."""
        return self.versions[-1].version if self.versions else None


class Store:
    """The bucket of audit reports."""

    def __init__(self, bucket: str) -> None:
        self.bucket = bucket

    def kept(self, object_key: str) -> Kept:
        """The versions under the key."""
        return self._listed(object_key).get(object_key, Kept((), 0))

    def page_of(self, found: Stored) -> Stored | None:
        """The page of a report, which is written after it."""
        pages = self.kept(found.key.removesuffix("json") + "html")
        return pages.first(found.ended, since=found.written)

    def body(self, one: Stored) -> bytes:
        """The content of that version."""
        content: bytes = clients.s3.get_object(Bucket=self.bucket, Key=one.key, VersionId=one.version)["Body"].read()
        return content

    def previous(self, job_id: str, ended: int | None) -> dict[str, Any] | None:
        """The job's newest report of an earlier end: ``{object, versionId, sha256}``, or None.

        That is the report of an earlier execution, or of an earlier end of this execution, before its redrive.
        """
        of_job = self._listed(f"{FINAL}/{job_id}/")
        ends = {
            (one.ended, name): kept.first(one.ended)
            for name, kept in of_job.items()
            if name.endswith(".json")
            for one in kept.versions
            if ended is None or one.ended < ended
        }
        newest = ends[max(ends)] if ends else None
        if newest is None:
            return None
        return {
            "object": f"s3://{self.bucket}/{newest.key}",
            "versionId": newest.version,
            "sha256": hashlib.sha256(self.body(newest)).hexdigest(),
        }

    def put(self, made: Mapping[str, Any]) -> None:
        """Keep the report."""
        self._put(made, "json", report.canonical(made))

    def put_page(self, made: Mapping[str, Any], text: str) -> None:
        """Store ``text`` as the page of a report that is stored already."""
        self._put(made, "html", text.encode())

    def _put(self, made: Mapping[str, Any], form: str, body: bytes) -> None:
        ended = made["inputs"]["execution"].get("stopDate", 0)
        until = datetime.now(UTC) + timedelta(days=PROVISIONAL_DAYS)
        lock: dict[str, Any] = {}
        if made["provisional"]:
            lock = {"ObjectLockMode": "GOVERNANCE", "ObjectLockRetainUntilDate": until}
        clients.s3.put_object(
            Bucket=self.bucket,
            Key=place(made, form),
            Body=body,
            ContentType=CONTENT_TYPES[form],
            Metadata={"ended": str(ended)},
            **lock,
        )

    def _listed(self, prefix: str) -> dict[str, Kept]:
        """The versions under each key that begins with ``prefix``.

        S3 lists the versions of a key from the newest to the oldest. Source: S3 API reference, ListObjectVersions.
        """
        found: dict[str, list[Stored]] = {}
        markers: dict[str, int] = {}
        for page in clients.s3.get_paginator("list_object_versions").paginate(Bucket=self.bucket, Prefix=prefix):
            for one in page.get("Versions", ()):
                found.setdefault(one["Key"], []).insert(0, self._look(one))
            for marker in page.get("DeleteMarkers", ()):
                markers[marker["Key"]] = markers.get(marker["Key"], 0) + 1
        return {name: Kept(found.get(name, ()), markers.get(name, 0)) for name in found.keys() | markers.keys()}

    def _look(self, listed: Mapping[str, Any]) -> Stored:
        object_key, version = listed["Key"], listed["VersionId"]
        head = clients.s3.head_object(Bucket=self.bucket, Key=object_key, VersionId=version)
        ended = head["Metadata"].get("ended", "")
        return Stored(
            object_key, version, int(ended) if ended.isdecimal() else 0, listed["LastModified"], _is_locked(head)
        )


def _is_locked(head: Mapping[str, Any]) -> bool:
    if head.get("ObjectLockMode") != LOCK:
        return False
    now = parsedate_to_datetime(head["ResponseMetadata"]["HTTPHeaders"]["date"])
    return bool(head["ObjectLockRetainUntilDate"] > now)


def place(made: Mapping[str, Any], form: str) -> str:
    """The key of a report, as `key` makes it, from the report's job and execution."""
    return key(made["jobId"], made["execution"], form, folder=PROVISIONAL if made["provisional"] else FINAL)
