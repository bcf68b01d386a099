"""The photos that Check images accepted, compared with the objects that are in the bucket now.

A presigned URL that was signed just before the start can overwrite a photo until it expires. So Prepare datasets drops
each photo that changed since the check. Evaluate model compares again, as Rekognition reads the photos in between, and
fails a job whose model may have been trained on other photos than those that were checked.
"""

from collections.abc import Iterator
from datetime import datetime
from typing import NamedTuple

from pipeline.clients import clients
from pipeline.manifests import ManifestReader, Photo, read_photos, split_uri
from rules.lines import Unusable

FOLDERS = ("images", "upright")
REPLACED = Unusable("Changed", "the photo was replaced after it was checked")
DELETED = Unusable("Changed", "the photo was deleted after it was checked")


class _Object(NamedTuple):
    """An object of the listing."""

    key: str
    etag: str
    modified: datetime


def compare(manifest: ManifestReader, *, job_id: str, bucket: str) -> Iterator[tuple[Photo, Unusable | None]]:
    """Yield each photo of ``manifest``, the job's input.manifest, with its change since the check, or None.

    A photo is unchanged when its object has the ETag of the check and was not written after the manifest. The second
    rule finds a photo that was replaced and put back; S3 times have a resolution of one second.

    The listing and the manifest are both ordered by name, so they are read side by side, and memory does not grow with
    the number of photos.

    Raises:
        ManifestChanged: after the last photo, if the manifest's hash is not the one that Check images returned.
    """
    listings = {folder: _Listing(f"{folder}/{job_id}/", bucket) for folder in FOLDERS}
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
    """The objects below a prefix. Calls of `find` must be in ascending order of the keys."""

    def __init__(self, prefix: str, bucket: str) -> None:
        self._objects = _list_objects(prefix, bucket)
        self._next = next(self._objects, None)

    def find(self, key: str) -> _Object | None:
        while self._next and self._next.key < key:
            self._next = next(self._objects, None)
        return self._next if self._next and self._next.key == key else None


def _list_objects(prefix: str, bucket: str) -> Iterator[_Object]:
    for page in clients.s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix):
        for entry in page.get("Contents", ()):
            yield _Object(entry["Key"], entry["ETag"].strip('"'), entry["LastModified"])
