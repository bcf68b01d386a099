"""Where audit reports are kept: a bucket with versions, in which nothing can be deleted or replaced before its time.

A later version may lie on top of a report, and a delete marker may hide it. So a report is found by what it is the
first of: the first version of its end counts, in the order in which S3 stored them, and what came later does not.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Any

from pipeline.audit import report

CONTENT_TYPES = {"json": "application/json", "html": "text/html; charset=utf-8"}
FINAL, PROVISIONAL = "audit", "provisional"
PROVISIONAL_DAYS = 1  # for which a report on a running execution is locked; after that it expires
LOCK = "COMPLIANCE"  # the mode of Object Lock that nobody can shorten or take away


def key(job_id: str, execution: str, form: str, *, folder: str = FINAL) -> str:
    """The object of an execution's report; ``form`` is json or html."""
    return f"{folder}/{job_id}/{execution}.{form}"


@dataclass(frozen=True)
class Stored:
    """A version of a report or of its page.

    ``ended`` is the end of the execution that it is of, in Unix ms, and 0 for a provisional report. ``is_locked`` says
    whether a COMPLIANCE retention runs on it by S3's own clock; it is false for callers without s3:GetObjectRetention.
    """

    key: str
    version: str
    ended: int
    written: datetime
    is_locked: bool


@dataclass(frozen=True)
class Kept:
    """All that is stored under one key: the versions, the oldest one first, and how many delete markers."""

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

    def __init__(self, bucket: str, s3: Any) -> None:
        self.bucket = bucket
        self._s3 = s3

    def kept(self, object_key: str) -> Kept:
        """What is stored under the key."""
        return self._listed(object_key).get(object_key, Kept((), 0))

    def page_of(self, found: Stored) -> Stored | None:
        """The page of a report, which is written after it."""
        pages = self.kept(found.key.removesuffix("json") + "html")
        return pages.first(found.ended, since=found.written)

    def body(self, one: Stored) -> bytes:
        """The content of that version."""
        content: bytes = self._s3.get_object(Bucket=self.bucket, Key=one.key, VersionId=one.version)["Body"].read()
        return content

    def previous(self, job_id: str, ended: int | None) -> dict[str, Any] | None:
        """The job's newest report on what ended before: ``{object, versionId, sha256}``; None when there is none.

        That may be the report on an earlier execution, or on an earlier end of this one, which was redriven since.
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
        """Keep ``text`` as the page of a report that is kept already."""
        self._put(made, "html", text.encode())

    def _put(self, made: Mapping[str, Any], form: str, body: bytes) -> None:
        ended = made["inputs"]["execution"].get("stopDate", 0)
        until = datetime.now(UTC) + timedelta(days=PROVISIONAL_DAYS)
        lock = {"ObjectLockMode": "GOVERNANCE", "ObjectLockRetainUntilDate": until} if made["provisional"] else {}
        self._s3.put_object(
            Bucket=self.bucket,
            Key=place(made, form),
            Body=body,
            ContentType=CONTENT_TYPES[form],
            Metadata={"ended": str(ended)},
            **lock,
        )

    def _listed(self, prefix: str) -> dict[str, Kept]:
        """What is stored under each key that begins with ``prefix``.

        S3 lists the versions of a key from the newest to the oldest. Source: S3 API reference, ListObjectVersions.
        """
        found: dict[str, list[Stored]] = {}
        markers: dict[str, int] = {}
        for page in self._s3.get_paginator("list_object_versions").paginate(Bucket=self.bucket, Prefix=prefix):
            for one in page.get("Versions", ()):
                found.setdefault(one["Key"], []).insert(0, self._look(one))
            for one in page.get("DeleteMarkers", ()):
                markers[one["Key"]] = markers.get(one["Key"], 0) + 1
        return {name: Kept(found.get(name, ()), markers.get(name, 0)) for name in found.keys() | markers.keys()}

    def _look(self, listed: Mapping[str, Any]) -> Stored:
        object_key, version = listed["Key"], listed["VersionId"]
        head = self._s3.head_object(Bucket=self.bucket, Key=object_key, VersionId=version)
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
    """The key of a report, as `key` makes it, from what the report says of itself."""
    return key(made["jobId"], made["execution"], form, folder=PROVISIONAL if made["provisional"] else FINAL)
