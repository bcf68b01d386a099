"""The results of a batch of photos, as one object in S3 that is written at once and never again.

The object has two lengths, a line for each photo, the fingerprints of the accepted photos, and their small grey copies.
Readers that do not compare photos skip the copies, which are the largest part.
"""

import io
import json
import struct
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from botocore.exceptions import ClientError

from pipeline.clients import clients
from pipeline.errors import error_code
from pipeline.photos.planning import Batch

LENGTHS = struct.Struct(">QQ")  # the lengths of the lines and of the fingerprints, in bytes


class Accepted(NamedTuple):
    """An accepted photo. ``name`` is its file name.

    ``folder`` has the object to label and train with: ``images`` or ``upright``. ``image_hash``, ``etag`` and
    ``written`` are those of `pipeline.manifests.Photo`, and ``grey`` is the length of its small grey copy, in bytes.
    ``subject`` is the hash of its subject (`rules.subjects`), or None.
    """

    name: str
    folder: str
    image_hash: str
    etag: str
    written: int
    width: int
    height: int
    orientation: int
    sharpness: float
    brightness: float
    grey: int
    subject: str | None


class Rejected(NamedTuple):
    """A rejected photo: its name (with the folder, if it is in one), and the code and reason of its rejection."""

    name: str
    code: str
    reason: str


class Result(NamedTuple):
    """A photo of a batch. ``fingerprint`` and ``grey`` are empty for a rejected photo."""

    photo: Accepted | Rejected
    fingerprint: bytes = b""
    grey: bytes = b""


def part_prefix(job_id: str) -> str:
    """The prefix of the keys of the finished batches."""
    return f"manifests/{job_id}/parts/"


def part_key(job_id: str, batch: Batch) -> str:
    """The key of the batch's results. It ends with the number of photos, so that a listing shows the progress."""
    return f"{part_prefix(job_id)}{batch.number:05}-{batch.count}"


def photos_of(key: str) -> int:
    """The number of photos in the key of a batch's results."""
    return int(key.rpartition("-")[2])


def pack(results: Sequence[Result]) -> bytes:
    """The results as the content of an object."""
    lines = b"".join(json.dumps(result.photo).encode() + b"\n" for result in results)
    fingerprints = b"".join(result.fingerprint for result in results)
    head = LENGTHS.pack(len(lines), len(fingerprints))
    return b"".join((head, lines, fingerprints, *(result.grey for result in results)))


@dataclass
class Part:
    """The results of a batch, without the small grey copies until `greys` reads them."""

    bucket: str
    key: str
    photos: list[Accepted | Rejected]
    fingerprints: bytes
    greys_from: int
    _greys: bytes | None = field(default=None, repr=False)

    def greys(self) -> bytes:
        """The small grey copies of the accepted photos, one after the other. Reads them once."""
        if not any(isinstance(photo, Accepted) and photo.grey for photo in self.photos):
            return b""  # S3 refuses a range after the end of an object
        if self._greys is None:
            part = f"bytes={self.greys_from}-"
            self._greys = clients.s3.get_object(Bucket=self.bucket, Key=self.key, Range=part)["Body"].read()
        return self._greys

    def results(self) -> list[Result]:
        """All results, to continue with them."""
        greys, fingerprints = io.BytesIO(self.greys()), io.BytesIO(self.fingerprints)
        accepted = sum(isinstance(photo, Accepted) for photo in self.photos)
        length = len(self.fingerprints) // max(accepted, 1)
        return [
            Result(photo, fingerprints.read(length), greys.read(photo.grey))
            if isinstance(photo, Accepted)
            else Result(photo)
            for photo in self.photos
        ]


def read_part(bucket: str, key: str) -> Part | None:
    """Read the results except the small grey copies; None if the object does not exist."""
    try:
        body: Any = clients.s3.get_object(Bucket=bucket, Key=key)["Body"]
    except ClientError as error:
        if error_code(error) != "NoSuchKey":
            raise
        return None
    with body:
        lengths = LENGTHS.unpack(body.read(LENGTHS.size))
        lines, fingerprints = (body.read(length) for length in lengths)
    photos = [_photo(json.loads(line)) for line in lines.splitlines()]
    return Part(bucket, key, photos, fingerprints, LENGTHS.size + sum(lengths))


def _photo(fields: list[Any]) -> Accepted | Rejected:
    return Accepted(*fields) if len(fields) == len(Accepted._fields) else Rejected(*fields)
