"""Reads and writes manifests, JSON Lines files in S3, in bounded memory; `rules.lines` has the rules of a line."""

import hashlib
import json
import re
from collections.abc import Iterator
from contextlib import closing
from datetime import datetime
from tempfile import SpooledTemporaryFile
from types import TracebackType
from typing import IO, NamedTuple, Self

import orjson

from pipeline.clients import clients
from pipeline.errors import ManifestChanged
from rules.lines import Stream, Unusable, read_lines

# The bytes that a manifest writer holds in memory; more go to /tmp.
SPOOLED_BYTES = 4 * 1024 * 1024


class Photo(NamedTuple):
    """A line of ``input.manifest``: a photo that may be labelled.

    ``image_hash`` is equal for equal content. ``etag`` is the ETag of the object ``source_ref`` at the check. Width and
    height are those of the photo as displayed, turned by its EXIF ``orientation`` (1 to 8).
    """

    source_ref: str
    image_hash: str
    width: int
    height: int
    etag: str
    orientation: int = 1


def rejected_list_key(job_id: str) -> str:
    """Key of the list of photos that Check images rejected, each with its reason."""
    return f"manifests/{job_id}/rejected.jsonl"


def _unix_ms(time: datetime) -> int:
    return round(time.timestamp() * 1000)


IN_PARTS = re.compile(r'-[0-9]+"?$')  # an ETag of a multipart upload ends with the number of parts


def is_in_parts(etag: str) -> bool:
    """Whether the object of this ETag was uploaded in parts, so that S3's time is that of the beginning.

    A principal that began such an upload before a check can complete it after the check, which the time does not show.
    Sources: S3 API reference, "Object"; S3 guide, "Uploading and copying objects using multipart upload".
    """
    return IN_PARTS.search(etag) is not None


def split_uri(uri: str) -> tuple[str, str]:
    """``s3://bucket/a/b.jpg`` becomes ``("bucket", "a/b.jpg")``."""
    bucket, _, key = uri.removeprefix("s3://").partition("/")
    return bucket, key


class HashedStream:
    """A stream that computes the SHA-256 of the bytes read."""

    def __init__(self, stream: Stream) -> None:
        self._stream = stream
        self._hash = hashlib.sha256()

    @property
    def sha256(self) -> str:
        """Hex digest of the bytes read so far."""
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
    """Reads the lines of a manifest once, streamed as `read_lines` yields them.

    ``written`` is the time when the object was written. ``sha256`` is the hex digest of the bytes read so far, after
    the last line that of the whole manifest.
    """

    def __init__(
        self,
        uri: str,
        expected_sha256: str | None = None,
        expected_written: int | None = None,
        *,
        written_by: int | None = None,
    ) -> None:
        """``expected_sha256`` and ``expected_written`` (Unix ms) are what the stage that wrote the manifest returned.

        ``written_by`` (Unix ms) is the latest time at which a manifest that no stage wrote may have been written.

        The time detects a manifest that was replaced and put back, which Rekognition may have read in between. No stage
        uploads a manifest in parts, for which S3's time says nothing.

        Raises:
            ManifestChanged: the manifest was written again.
        """
        bucket, key = split_uri(uri)
        answer = clients.s3.get_object(Bucket=bucket, Key=key)
        self.written: datetime = answer["LastModified"]
        self._uri, self._expected = uri, expected_sha256
        self._body = answer["Body"]
        if expected_written is not None and (is_in_parts(answer["ETag"]) or _unix_ms(self.written) != expected_written):
            self._body.close()
            raise ManifestChanged(f"{uri} was written again after an earlier stage wrote it.")
        if written_by is not None and _unix_ms(self.written) > written_by:
            self._body.close()
            raise ManifestChanged(f"{uri} was written again after the labelling had ended.")
        self._hashed = HashedStream(self._body)

    @property
    def sha256(self) -> str:
        return self._hashed.sha256

    def __iter__(self) -> Iterator[tuple[int, str | Unusable]]:
        """Yield each line's number and text.

        Raises:
            ManifestChanged: after the last line, when the hash is not the expected one.
        """
        with closing(self._body):
            yield from read_lines(self._hashed)
        if self._expected not in (None, self.sha256):
            raise ManifestChanged(
                f"{self._uri} is not what an earlier stage wrote: it has the SHA-256 {self.sha256}, which the stage "
                "did not return."
            )


def read_photos(manifest: ManifestReader) -> Iterator[Photo]:
    """The photos of the job's ``input.manifest``, which Check images wrote."""
    for _, text in manifest:
        line = orjson.loads(text)  # type: ignore[arg-type]
        size = line["image-size"]
        yield Photo(
            line["source-ref"],
            line["image-hash"],
            size["width"],
            size["height"],
            line["etag"],
            line.get("orientation", 1),
        )


def photo_line(photo: Photo) -> str:
    """``photo`` as a line of ``input.manifest``. Ground Truth passes the extra keys through to its output."""
    turned = f',"orientation":{photo.orientation}' if photo.orientation != 1 else ""
    return (
        f'{{"source-ref":{json.dumps(photo.source_ref)},"image-hash":{json.dumps(photo.image_hash)},'
        f'"image-size":{{"width":{photo.width},"height":{photo.height}}}{turned},"etag":{json.dumps(photo.etag)}}}'
    )


class ManifestWriter:
    """Writes the lines of one S3 object and hashes them; the object appears when the ``with`` block ends well.

    Lines wait in memory, above 4 MB in /tmp, and one PUT sends them, so an error leaves neither a partial object nor an
    incomplete upload. A manifest may have 1 GB, and a PUT 5 GB.
    ``sha256`` is the hex digest of the content, ``count`` the number of lines. After the block ``written`` is the time
    when S3 wrote the object (Unix ms with S3's resolution of one second).
    """

    written: int

    def __init__(self, bucket: str, key: str) -> None:
        self.uri = f"s3://{bucket}/{key}"
        self.count = 0
        self._bucket, self._key = bucket, key
        self._hash = hashlib.sha256()
        self._file: IO[bytes] = SpooledTemporaryFile(SPOOLED_BYTES)  # noqa: SIM115 - closed by __exit__

    @property
    def sha256(self) -> str:
        return self._hash.hexdigest()

    def write(self, line: str) -> None:
        """Add ``line``, which holds no line end."""
        data = line.encode() + b"\n"
        self._hash.update(data)
        self._file.write(data)
        self.count += 1

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        with self._file:
            if kind is None:
                self._file.seek(0)
                clients.s3.put_object(Bucket=self._bucket, Key=self._key, Body=self._file)
                answer = clients.s3.head_object(Bucket=self._bucket, Key=self._key)
                self.written = _unix_ms(answer["LastModified"])
