"""Reads and writes manifests (JSON Lines files in S3) in bounded memory. `rules.lines` has the rules for a line."""

import hashlib
import json
import re
from collections.abc import Iterator
from contextlib import closing
from datetime import datetime
from tempfile import TemporaryFile
from types import TracebackType
from typing import IO, NamedTuple, Self

import orjson

from pipeline.clients import clients
from pipeline.errors import ManifestChanged
from pipeline.objects import put_once
from rules.lines import Stream, Unusable, read_lines


class Photo(NamedTuple):
    """A line of ``input.manifest``: a photo that Check photos accepted.

    ``image_hash`` is the SHA-256 (hex) of the uploaded photo: an ETag is no hash of an object that KMS encrypts, and
    different photos can be made to have the same MD5 or CRC. ``etag`` is the ETag of the object ``source_ref`` at the
    check, and ``written`` the time when S3 wrote this object (Unix ms). ``width`` and ``height`` are those of the
    upright photo. ``orientation`` is the upload's in EXIF, 1 to 8. `pipeline.photos.quality` explains ``sharpness`` and
    ``brightness``. Photos of the same shot or subject have the same ``group``; None stands for a photo without such
    others.
    """

    source_ref: str
    image_hash: str
    width: int
    height: int
    etag: str
    written: int
    sharpness: float
    brightness: float
    orientation: int = 1
    group: int | None = None


def rejected_list_key(job_id: str) -> str:
    """The key of the list of rejected photos, which Collect photos writes, each with the reason."""
    return f"manifests/{job_id}/rejected.jsonl"


def unix_ms(time: datetime) -> int:
    """``time`` in Unix ms."""
    return round(time.timestamp() * 1000)


IN_PARTS = re.compile(r'-[0-9]+"?$')  # an ETag of a multipart upload ends with the number of parts


def is_in_parts(etag: str) -> bool:
    """Whether the object with this ETag was uploaded in parts (multipart upload).

    The time of such an object is the time when its upload began. If it was completed after a check, the time does not
    show this. Sources: S3 API reference, "Object"; S3 guide, "Uploading and copying objects using multipart upload".
    """
    return IN_PARTS.search(etag) is not None


def split_uri(uri: str) -> tuple[str, str]:
    """``s3://bucket/a/b.jpg`` becomes ``("bucket", "a/b.jpg")``."""
    bucket, _, key = uri.removeprefix("s3://").partition("/")
    return bucket, key


class HashedStream:
    """Computes the SHA-256 of the bytes that are read from a stream."""

    def __init__(self, stream: Stream) -> None:
        self._stream = stream
        self._hash = hashlib.sha256()

    @property
    def sha256(self) -> str:
        """The hex digest of the bytes read so far."""
        return self._hash.hexdigest()

    def read(self, amount: int, /) -> bytes:
        """The next ``amount`` bytes, fewer at the end."""
        data = self._stream.read(amount)
        self._hash.update(data)
        return data

    def close(self) -> None:
        """Close the underlying stream."""
        self._stream.close()  # type: ignore[attr-defined]


class ManifestReader:
    """Iterates over the lines of a manifest once.

    ``sha256`` is the hex digest of the bytes read so far. After the last line, it is the hash of the manifest.
    """

    def __init__(
        self,
        uri: str,
        expected_sha256: str | None = None,
        expected_written: int | None = None,
        *,
        written_by: int | None = None,
    ) -> None:
        """Open the manifest.

        The time detects a manifest that was replaced and restored. Rekognition may have read the replacement. A
        manifest that was uploaded in parts has changed too: no stage uploads in parts, and its time is not reliable.

        Args:
            expected_sha256: the hash (hex) that the stage which wrote the manifest returned.
            expected_written: the time (Unix ms) that this stage returned.
            written_by: the latest time (Unix ms) for a manifest that Ground Truth wrote.

        Raises:
            ManifestChanged: the manifest was written again.
        """
        bucket, key = split_uri(uri)
        answer = clients.s3.get_object(Bucket=bucket, Key=key)
        written = unix_ms(answer["LastModified"])
        self._uri, self._expected = uri, expected_sha256
        self._body = answer["Body"]
        if expected_written is not None and (is_in_parts(answer["ETag"]) or written != expected_written):
            self._body.close()
            raise ManifestChanged(f"{uri} was written again after its stage wrote it.")
        if written_by is not None and written > written_by:
            self._body.close()
            raise ManifestChanged(f"{uri} was written again after the labelling ended.")
        self._hashed = HashedStream(self._body)

    @property
    def sha256(self) -> str:
        return self._hashed.sha256

    def __iter__(self) -> Iterator[tuple[int, str | Unusable]]:
        """Yield the number and the text of each line, as `read_lines` does.

        Raises:
            ManifestChanged: after the last line, if the hash is not the expected one.
        """
        with closing(self._body):
            yield from read_lines(self._hashed)
        if self._expected not in (None, self.sha256):
            raise ManifestChanged(
                f"{self._uri} was changed after its stage wrote it: its SHA-256 is {self.sha256}, which is not the one "
                "that the stage returned."
            )


def read_photos(manifest: ManifestReader) -> Iterator[Photo]:
    """The photos in the job's ``input.manifest``."""
    for _, text in manifest:
        line = orjson.loads(text)  # type: ignore[arg-type]
        size = line["image-size"]
        yield Photo(
            line["source-ref"],
            line["image-hash"],
            size["width"],
            size["height"],
            line["etag"],
            line["written"],
            line["sharpness"],
            line["brightness"],
            line.get("orientation", 1),
            line.get("group"),
        )


def photo_line(photo: Photo) -> str:
    """``photo`` as a line of ``input.manifest``. Ground Truth copies all its keys to its output manifest."""
    turned = f',"orientation":{photo.orientation}' if photo.orientation != 1 else ""
    grouped = "" if photo.group is None else f',"group":{photo.group}'
    return (
        f'{{"source-ref":{json.dumps(photo.source_ref)},"image-hash":{json.dumps(photo.image_hash)},'
        f'"image-size":{{"width":{photo.width},"height":{photo.height}}}{turned}{grouped},"sharpness":{photo.sharpness},'
        f'"brightness":{photo.brightness},"etag":{json.dumps(photo.etag)},"written":{photo.written}}}'
    )


class ManifestWriter:
    """Writes lines to an S3 object. The object is uploaded when the ``with`` block ends without an error.

    Until then the lines are in /tmp. A single PUT uploads them, so an error leaves neither a partial object nor an
    incomplete multipart upload. A manifest may have 1 GB; the limit of a PUT is 5 GB. An object that has this content
    already is not written again: see `put_once`.

    ``sha256`` is the hex digest of the content, ``count`` the number of lines. ``written``, known after the block, is
    the time when S3 wrote the object (Unix ms, with S3's resolution of one second).
    """

    written: int

    def __init__(self, bucket: str, key: str) -> None:
        self.uri = f"s3://{bucket}/{key}"
        self.count = 0
        self._bucket, self._key = bucket, key
        self._hash = hashlib.sha256()
        self._file: IO[bytes] = TemporaryFile()  # noqa: SIM115 - closed by __exit__

    @property
    def sha256(self) -> str:
        return self._hash.hexdigest()

    def write(self, line: str) -> None:
        """Add a line, given without its line end."""
        self.write_bytes(line.encode())

    def write_bytes(self, line: bytes) -> None:
        """Add a line in UTF-8, given without its line end."""
        data = line + b"\n"
        self._hash.update(data)
        self._file.write(data)
        self.count += 1

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        with self._file:
            if kind is None:
                stored = put_once(self._bucket, self._key, self._file, self._hash.digest())
                self.written = unix_ms(stored.written)
