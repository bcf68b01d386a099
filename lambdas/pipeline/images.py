"""Checks a job's photos against Rekognition's limits, turns them upright, and lists accepted and rejected photos."""

import hashlib
import json
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime
from threading import BoundedSemaphore
from typing import Any, NamedTuple, TypeVar

from botocore.exceptions import ClientError

from pipeline import upright
from pipeline.clients import clients
from pipeline.errors import ImagesNotFound, NotEnoughImages, PhotosLeft, TooManyBadImages, error_code
from pipeline.manifests import ManifestWriter, Photo, is_in_parts, photo_line, rejected_list_key
from pipeline.objects import put_once
from rules import names, photos
from rules.photos import Rejection, Seen
from rules.uploads import LARGEST_PHOTO

# Concurrent reads. 250,000 photos with two reads of 20 ms each (header and end) take 5.2 minutes.
READERS = 32
# The most photos that are submitted to the readers: a page of S3's listing, to keep them busy while S3 lists the next.
WINDOW = 1000

# The most encoded photos in memory, of at most 15 MB each. One is decoded while others are read and written.
MAX_IN_MEMORY = 4
# A run turns no more photos if less than this remains, to have time to check the others and to write the lists.
RESERVE_SECONDS = 60.0

# The checksums that S3 may have of an object, the preferred first. S3 computes CRC64NVME unless the SDK sends another.
CHECKSUMS = ("ChecksumCRC64NVME", "ChecksumSHA256", "ChecksumSHA1", "ChecksumCRC32C", "ChecksumCRC32")
# The error codes for a photo that was deleted or replaced. S3 answers HeadObject without a body, so its code is "404".
CHANGED_CODES = frozenset({"NoSuchKey", "PreconditionFailed", "404", "412"})

Item = TypeVar("Item")
Result = TypeVar("Result")


@dataclass(frozen=True)
class CheckImages:
    """The request of the state `Check images`."""

    job_id: str


@dataclass(frozen=True)
class ImagesChecked:
    """The S3 URIs, hashes (SHA-256, hex) and times (Unix ms) of the lists, and the numbers of photos.

    ``rejected`` includes ``duplicates``. ``rejected_codes`` counts the rejected photos by `rules.photos.Code`.
    ``turned`` counts the accepted photos that are upright copies. The audit report takes its counts and hashes from
    here, because the execution's history cannot be changed.
    """

    manifest: str
    manifest_sha256: str
    manifest_written: int
    rejected_list: str
    rejected_sha256: str
    rejected_codes: dict[str, int]
    found: int
    accepted: int
    rejected: int
    duplicates: int
    turned: int


class Upload(NamedTuple):
    """An uploaded photo, or an upright copy. ``size`` in bytes."""

    key: str
    etag: str
    size: int
    modified: datetime


def check(
    request: CheckImages, *, bucket: str, min_images: int, max_rejected_share: float, seconds_left: Callable[[], float]
) -> ImagesChecked:
    """Check every photo in ``images/<job_id>/`` and write ``input.manifest`` and ``rejected.jsonl``, sorted by key.

    `rules.photos` has the rules. Only photos to turn are decoded.

    If the EXIF orientation of a photo is not upright, the manifest names an upright copy instead. The copy has the same
    file name in ``upright/<job_id>/`` and no EXIF. Copies of earlier runs are used again.

    Photos with the same hash (see `_Checker`) are duplicates: all but the first by key are rejected. Duplicates do not
    count as unusable photos, because they say nothing about the quality of the photos.

    250,000 photos need some 140 MB for hashes, keys and the headers that are being read, and 100 MB more if all have
    upright copies. Turning needs 250 MB, or 350 MB for the costliest photos: one photo is decoded at a time, and up to
    `MAX_IN_MEMORY` encoded files are in memory.

    Args:
        min_images: the fewest accepted photos.
        max_rejected_share: the largest share (0 to 1) of unusable photos.
        seconds_left: returns the seconds until this run's timeout.

    Raises:
        ImagesNotFound: no photo was uploaded.
        TooManyBadImages: the share of unusable photos is too large. The cause has the most frequent reasons.
        NotEnoughImages: too few photos were accepted. The cause has the numbers.
        PhotosLeft: this run turned at least one photo and has no time for the others. Run the stage again.
    """
    prefix = f"images/{request.job_id}/"
    first_of: dict[str, str] = {}
    codes: Counter[str] = Counter()
    turned = 0
    with (
        ManifestWriter(bucket, f"manifests/{request.job_id}/input.manifest") as manifest,
        ManifestWriter(bucket, rejected_list_key(request.job_id)) as rejected,
        # Only one thread decodes: glibc keeps freed memory per thread, so each thread would keep the size of a photo.
        ThreadPoolExecutor(1) as turner,
        ThreadPoolExecutor(READERS) as readers,
    ):
        checker = _Checker(request.job_id, bucket, seconds_left, turner)

        def checked_photo(upload: Upload) -> tuple[Upload, Photo | Rejection]:
            return upload, checker.photo(upload)

        for upload, photo in _in_order(readers, checked_photo, _uploads(bucket, prefix)):
            original = f"s3://{bucket}/{upload.key}"
            if isinstance(photo, Photo):
                first = first_of.setdefault(photo.image_hash, upload.key)
                if first == upload.key:
                    manifest.write(photo_line(photo))
                    turned += photo.source_ref != original
                    continue
                photo = photos.duplicate(first.removeprefix(prefix))
            codes[photo.code] += 1
            rejected.write(json.dumps({"source-ref": original, "reason": photo.reason, "code": photo.code}))

    checked = ImagesChecked(
        manifest=manifest.uri,
        manifest_sha256=manifest.sha256,
        manifest_written=manifest.written,
        rejected_list=rejected.uri,
        rejected_sha256=rejected.sha256,
        rejected_codes=dict(codes),
        found=manifest.count + rejected.count,
        accepted=manifest.count,
        rejected=rejected.count,
        duplicates=codes["Duplicate"],
        turned=turned,
    )
    _require_enough(checked, codes, min_images, max_rejected_share)
    return checked


def _require_enough(checked: ImagesChecked, codes: Counter[str], min_images: int, max_rejected_share: float) -> None:
    if not checked.found:
        raise ImagesNotFound("No photo was uploaded for the job.")
    unusable = checked.rejected - checked.duplicates
    if unusable > max_rejected_share * checked.found:
        del codes["Duplicate"]
        reasons = ", ".join(f"{code} {count}" for code, count in codes.most_common(3))
        raise TooManyBadImages(
            f"{unusable} of {checked.found} photos are unusable ({reasons}). At most {max_rejected_share:.0%} may be "
            f"unusable. {checked.rejected_list} lists each with the reason."
        )
    if checked.accepted < min_images:
        raise NotEnoughImages(
            f"{checked.accepted} of {checked.found} photos are usable. A job needs at least {min_images}. "
            f"{unusable} are unusable and {checked.duplicates} are duplicates. {checked.rejected_list} lists each with "
            "the reason."
        )


def _uploads(bucket: str, prefix: str) -> Iterator[Upload]:
    """The objects with the key prefix, in the order of the keys."""
    for page in clients.s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix):
        for entry in page.get("Contents", ()):
            if not entry["Key"].endswith("/"):  # the S3 console's folder marker
                yield Upload(entry["Key"], entry["ETag"].strip('"'), entry["Size"], entry["LastModified"])


def _in_order(pool: ThreadPoolExecutor, function: Callable[[Item], Result], items: Iterable[Item]) -> Iterator[Result]:
    """Call ``function`` for each item in the pool; yields the results in the order of the items.

    At most `WINDOW` calls are submitted at a time. Calls that have not begun are cancelled after an error, or when the
    caller stops iterating.
    """
    pending: deque[Future[Result]] = deque()
    try:
        for item in items:
            pending.append(pool.submit(function, item))
            if len(pending) >= WINDOW:
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()
    finally:
        for future in pending:
            future.cancel()


ORIGINAL = "original-etag"
"""The metadata of an upright copy with the ETag of its upload."""


class _Checker:
    """Checks photos, and turns them upright as their EXIF says. Threads may share it.

    The hash of a photo is its ETag. Without KMS, this is the MD5 of an object that one PUT uploaded (S3 API reference,
    "Object"). With KMS, the ETags of equal photos differ. The hash is then S3's checksum of the object (S3 guide,
    "Checking object integrity in Amazon S3") with its size.
    """

    def __init__(self, job_id: str, bucket: str, seconds_left: Callable[[], float], turner: ThreadPoolExecutor) -> None:
        self._prefix, self._upright_prefix = f"images/{job_id}/", f"upright/{job_id}/"
        self._bucket, self._seconds_left = bucket, seconds_left
        self._copies = {copy.key: copy for copy in _uploads(bucket, self._upright_prefix)}
        self._memory, self._turner = BoundedSemaphore(MAX_IN_MEMORY), turner
        self._turned = 0

    def photo(self, upload: Upload) -> Photo | Rejection:
        """Check an upload, and turn it upright if necessary; returns the photo, or why it is rejected."""
        name = upload.key.removeprefix(self._prefix)
        if "/" in name:
            return Rejection("InvalidName", f"the photo is in a folder below {self._prefix}")
        if fault := names.fault_of_file_name(name):
            return Rejection("InvalidName", f"the file name {fault}")
        if is_in_parts(upload.etag):
            return Rejection(
                "UploadedInParts",
                "the file was uploaded in parts (multipart upload), so its ETag is not its hash and its time does not "
                "show when it was completed. Upload it with one PUT",
            )
        encryption = ""

        def read(start: int, stop: int) -> bytes:
            nonlocal encryption
            part = self._get(upload, Range=f"bytes={start}-{stop - 1}")
            encryption = part.get("ServerSideEncryption", "")
            content: bytes = part["Body"].read()
            return content

        try:
            look = photos.look(upload.size, read)
            if isinstance(look, Rejection):
                return look
            image_hash = self._checksum(upload) if encryption.startswith("aws:kms") else upload.etag
            turns = look.orientation != photos.AS_STORED
            stored = self._upright_copy(upload, look) if turns else (upload.key, upload.etag)
        except ClientError as error:
            if error_code(error) in CHANGED_CODES:
                return Rejection("Changed", "the file was replaced or deleted during the check")
            raise
        if isinstance(stored, Rejection):
            return stored
        key, etag = stored
        return Photo(f"s3://{self._bucket}/{key}", image_hash, look.width, look.height, etag, look.orientation)

    def _checksum(self, upload: Upload) -> str:
        """The checksum and size of a photo that is encrypted with KMS, or its ETag if S3 has no checksum."""
        answer: Mapping[str, Any] = clients.s3.head_object(
            Bucket=self._bucket, Key=upload.key, ChecksumMode="ENABLED", IfMatch=f'"{upload.etag}"'
        )
        names = (name for name in CHECKSUMS if name in answer)
        checksum = next((f"{name.removeprefix('Checksum')}:{answer[name]}" for name in names), None)
        return f"{checksum}:{upload.size}" if checksum else upload.etag

    def _upright_copy(self, upload: Upload, look: Seen) -> tuple[str, str] | Rejection:
        """Find or create the photo's upright copy; returns its key and ETag, or why the photo is rejected."""
        key = f"{self._upright_prefix}{upload.key.removeprefix(self._prefix)}"
        existing = self._copies.get(key)
        if existing and self._is_copy(existing, upload, look):
            return key, existing.etag
        with self._memory:
            # The first photo of a run is always turned, so that each run makes progress.
            if self._turned and self._seconds_left() < RESERVE_SECONDS:
                raise PhotosLeft(f"This run turned {self._turned:,} photos upright. The next run continues.")
            content = self._get(upload)["Body"].read()
            copy = self._turner.submit(self._turn, content, look.orientation).result()
            if isinstance(copy, Rejection):
                return copy
            body, media_type = copy
            sha256, metadata = hashlib.sha256(body).digest(), {ORIGINAL: upload.etag}
            stored = put_once(self._bucket, key, body, sha256, ContentType=media_type, Metadata=metadata)
            return key, stored.etag

    def _is_copy(self, copy: Upload, upload: Upload, look: Seen) -> bool:
        """Whether ``copy`` names ``upload`` as its original, and is an upright photo with the size of the original.

        A comparison of times is not enough: an upload may be replaced while it is turned.
        """
        original = ""

        def read(start: int, stop: int) -> bytes:
            nonlocal original
            part = self._get(copy, Range=f"bytes={start}-{stop - 1}")
            original = part["Metadata"].get(ORIGINAL, "")
            content: bytes = part["Body"].read()
            return content

        found = photos.look(copy.size, read)
        return original == upload.etag and found == Seen(look.width, look.height, photos.AS_STORED)

    def _turn(self, content: bytes, orientation: int) -> tuple[bytes, str] | Rejection:
        copy = upright.turn(content, orientation, LARGEST_PHOTO)
        self._turned += not isinstance(copy, Rejection)
        return copy

    def _get(self, upload: Upload, **part: Any) -> Any:
        return clients.s3.get_object(Bucket=self._bucket, Key=upload.key, IfMatch=f'"{upload.etag}"', **part)
