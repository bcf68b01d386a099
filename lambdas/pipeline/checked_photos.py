"""The photos that Check images accepted, compared with what lies in the bucket now: is it still what was checked?

A presigned URL that was signed just before the start can overwrite a photo until it expires. So Prepare datasets drops
each photo that changed since the check. Evaluate model compares again, as Rekognition reads the photos in between, and
fails a job whose model may have been trained on other photos than those that were checked.
"""

from collections.abc import Iterator
from datetime import datetime
from typing import Any, NamedTuple

from pipeline.manifests import ManifestReader, Photo, Unusable, read_photos, split_uri

FOLDERS = ("images", "upright")
REPLACED = Unusable("Changed", "the photo was replaced after it was checked")
DELETED = Unusable("Changed", "the photo was deleted after it was checked")


class _Object(NamedTuple):
    """An object as the listing tells it."""

    key: str
    etag: str
    modified: datetime


def compare(manifest: ManifestReader, *, job_id: str, bucket: str, s3: Any) -> Iterator[tuple[Photo, Unusable | None]]:
    """Yield each photo of ``manifest``, the job's input.manifest, with how it changed since the check, or None.

    A photo is unchanged when its object has the ETag that the check saw, and was not written after the manifest: so a
    photo that was replaced and put back is noticed too. Both are as exact as S3 tells times, in seconds.

    The objects are listed 1,000 a request and walked along with the manifest, which is in the order of their names as
    S3's listings are, so that memory does not depend on how many there are.

    Raises:
        ManifestChanged: after the last photo, when the manifest is not what Check images wrote.
    """
    listings = {folder: _Listing(f"{folder}/{job_id}/", bucket, s3) for folder in FOLDERS}
    for photo in read_photos(manifest):
        _, key = split_uri(photo.source_ref)
        found = listings[key.partition("/")[0]].find(key)
        if found is None:
            yield photo, DELETED
        elif found.etag != photo.etag or found.modified > manifest.written:
            yield photo, REPLACED
        else:
            yield photo, None


class _Listing:
    """The objects below a prefix, in which keys are looked for in ascending order."""

    def __init__(self, prefix: str, bucket: str, s3: Any) -> None:
        self._objects = _list_objects(prefix, bucket, s3)
        self._next = next(self._objects, None)

    def find(self, key: str) -> _Object | None:
        while self._next and self._next.key < key:
            self._next = next(self._objects, None)
        return self._next if self._next and self._next.key == key else None


def _list_objects(prefix: str, bucket: str, s3: Any) -> Iterator[_Object]:
    for page in s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix):
        for entry in page.get("Contents", ()):
            yield _Object(entry["Key"], entry["ETag"].strip('"'), entry["LastModified"])
