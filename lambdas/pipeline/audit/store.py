"""Reads and writes the report bucket. No principal can delete or replace a version there until its Object Lock ends.

A principal may add later versions and delete markers. So the report on the end of an execution is the first version
that S3 stored for this end. Later versions do not count.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Any

from pipeline.clients import clients

REPORT, WEB_PAGE, SIGNED = "json", "html", "signed"
"""The forms of a report, which are the extensions of its files."""
CONTENT_TYPES = {REPORT: "application/json", WEB_PAGE: "text/html; charset=utf-8", SIGNED: "application/json"}
FINAL, PROVISIONAL = "audit", "provisional"
PROVISIONAL_DAYS = 1  # the retention of a report on a running execution, which the bucket's lifecycle deletes later
LOCK = "COMPLIANCE"  # the mode of Object Lock that no principal can shorten or remove


def key(job_id: str, execution: str, form: str, *, folder: str = FINAL) -> str:
    """The key of an execution's report in a form."""
    return f"{folder}/{job_id}/{execution}.{form}"


@dataclass(frozen=True)
class Version:
    """A version of a report or of its page.

    ``ended`` is the execution's end in Unix ms, 0 for a provisional report. ``is_locked`` is true if a COMPLIANCE
    retention is active by S3's clock. It is false if the caller lacks s3:GetObjectRetention.
    """

    key: str
    id: str
    ended: int
    written: datetime
    is_locked: bool


@dataclass(frozen=True)
class VersionList:
    """The versions of a key, oldest first, and the number of its delete markers."""

    versions: Sequence[Version]
    delete_markers: int

    def first(self, ended: int, *, since: datetime | None = None) -> Version | None:
        """The first version for the end ``ended``, of those that were written at or after ``since``."""
        of_end = (version for version in self.versions if version.ended == ended)
        return next((version for version in of_end if since is None or version.written >= since), None)

    def next_after(self, version_id: str | None) -> Version | None:
        """The version that was stored after the version ``version_id``. For None, the first version."""
        places = {version.id: place for place, version in enumerate(self.versions, 1)}
        if version_id is not None and version_id not in places:
            return None
        return next(iter(self.versions[places.get(version_id or "", 0) :]), None)

    @property
    def newest(self) -> str | None:
        """The id of the newest version."""
        return self.versions[-1].id if self.versions else None


class Store:
    """The report bucket."""

    def __init__(self, bucket: str) -> None:
        self.bucket = bucket

    def list_versions(self, object_key: str) -> VersionList:
        """The versions of the key."""
        return self._list(object_key).get(object_key, VersionList((), 0))

    def find_form(self, stored: Version, form: str) -> Version | None:
        """The page or the signed file of a stored report. It was written after the report."""
        versions = self.list_versions(stored.key.removesuffix(REPORT) + form)
        return versions.first(stored.ended, since=stored.written)

    def body(self, version: Version) -> bytes:
        """The content of a version."""
        answer = clients.s3.get_object(Bucket=self.bucket, Key=version.key, VersionId=version.id)
        content: bytes = answer["Body"].read()
        return content

    def reports(self, job_id: str) -> list[Version]:
        """The job's reports in the order of the ends: for each end of each execution, the first version."""
        firsts = {
            (version.ended, name): listed.first(version.ended)
            for name, listed in self._list(f"{FINAL}/{job_id}/").items()
            if name.endswith(f".{REPORT}")
            for version in listed.versions
        }
        return [version for _, version in sorted(firsts.items()) if version]

    def previous(self, job_id: str, ended: int | None) -> dict[str, Any] | None:
        """The job's newest report on an end before ``ended``: ``{object, versionId, sha256}``, or None.

        This is the report on an earlier execution, or on the end of this execution before its redrive.
        """
        before = [version for version in self.reports(job_id) if ended is None or version.ended < ended]
        newest = before[-1] if before else None
        if newest is None:
            return None
        return {
            "object": f"s3://{self.bucket}/{newest.key}",
            "versionId": newest.id,
            "sha256": hashlib.sha256(self.body(newest)).hexdigest(),
        }

    def put(self, document: Mapping[str, Any], form: str, body: bytes) -> None:
        """Store ``body`` as a form of the report ``document``."""
        ended = document["inputs"]["execution"].get("stopDate", 0)
        until = datetime.now(UTC) + timedelta(days=PROVISIONAL_DAYS)
        lock: dict[str, Any] = {}
        if document["provisional"]:
            lock = {"ObjectLockMode": "GOVERNANCE", "ObjectLockRetainUntilDate": until}
        clients.s3.put_object(
            Bucket=self.bucket,
            Key=place(document, form),
            Body=body,
            ContentType=CONTENT_TYPES[form],
            Metadata={"ended": str(ended)},
            **lock,
        )

    def _list(self, prefix: str) -> dict[str, VersionList]:
        """The versions of each key with the prefix.

        S3 lists the versions of a key from the newest to the oldest. Source: S3 API reference, ListObjectVersions.
        """
        versions: dict[str, list[Version]] = {}
        markers: dict[str, int] = {}
        for page in clients.s3.get_paginator("list_object_versions").paginate(Bucket=self.bucket, Prefix=prefix):
            for entry in page.get("Versions", ()):
                versions.setdefault(entry["Key"], []).insert(0, self._describe(entry))
            for marker in page.get("DeleteMarkers", ()):
                markers[marker["Key"]] = markers.get(marker["Key"], 0) + 1
        return {
            name: VersionList(versions.get(name, ()), markers.get(name, 0)) for name in versions.keys() | markers.keys()
        }

    def _describe(self, entry: Mapping[str, Any]) -> Version:
        object_key, version_id = entry["Key"], entry["VersionId"]
        head = clients.s3.head_object(Bucket=self.bucket, Key=object_key, VersionId=version_id)
        ended = head["Metadata"].get("ended", "")
        return Version(
            object_key, version_id, int(ended) if ended.isdecimal() else 0, entry["LastModified"], _is_locked(head)
        )


def _is_locked(head: Mapping[str, Any]) -> bool:
    if head.get("ObjectLockMode") != LOCK:
        return False
    now = parsedate_to_datetime(head["ResponseMetadata"]["HTTPHeaders"]["date"])
    return bool(head["ObjectLockRetainUntilDate"] > now)


def place(document: Mapping[str, Any], form: str) -> str:
    """The key at which a form of a report is stored, from the job and the execution in the report."""
    folder = PROVISIONAL if document["provisional"] else FINAL
    return key(document["jobId"], document["execution"], form, folder=folder)
