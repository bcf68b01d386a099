"""Compares the photos that Check photos accepted with the objects that are in the bucket now.

A presigned URL that the API signed just before the start can replace a photo until it expires. Prepare datasets drops
each photo that changed after its check. Rekognition reads the photos after that. So Evaluate model compares again, and
fails the job if a photo that the model was trained or tested on has changed.
"""

from collections.abc import Iterator
from typing import NamedTuple

from pipeline.clients import clients
from pipeline.manifests import ManifestReader, Photo, read_photos, split_uri, unix_ms
from rules.lines import Unusable

FOLDERS = ("images", "upright")
REPLACED = Unusable("Changed", "the photo was replaced after it was checked")
DELETED = Unusable("Changed", "the photo was deleted after it was checked")


class _Object(NamedTuple):
    """An object in S3's listing."""

    key: str
    etag: str
    written: int


def compare(manifest: ManifestReader, *, job_id: str, bucket: str) -> Iterator[tuple[Photo, Unusable | None]]:
    """Yield each photo of ``manifest``, the job's input.manifest, with its change since the check, or None.

    A photo is unchanged if its object has the ETag and the time of the check. The time detects a photo that was
    replaced and restored, or replaced by one with the same MD5, which an attacker can make. It needs a bucket without
    versions, which the bucket policy ensures. S3's times have whole seconds. So a replacement with the same ETag is not
    detected if it is written in the same second as the photo, and the photo was checked within that second, too.

    S3's listing and the manifest have the same order, so both are read in one pass. The memory does not depend on the
    number of photos.

    Raises:
        ManifestChanged: after the last photo, if the manifest does not have the hash that Collect photos returned.
    """
    listings = {folder: _Listing(f"{folder}/{job_id}/", bucket) for folder in FOLDERS}
    for photo in read_photos(manifest):
        _, key = split_uri(photo.source_ref)
        now = listings[key.partition("/")[0]].find(key)
        if now is None:
            yield photo, DELETED
        elif (now.etag, now.written) != (photo.etag, photo.written):
            yield photo, REPLACED
        else:
            yield photo, None


class _Listing:
    """The objects with a key prefix. Call `find` with keys in ascending order only."""

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
            yield _Object(entry["Key"], entry["ETag"].strip('"'), unix_ms(entry["LastModified"]))
