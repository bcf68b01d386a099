"""Checks a job's uploaded photos by Rekognition's rules, turns them upright, and lists those that may be labelled."""

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
from rules import names, photos
from rules.photos import Rejection
from rules.uploads import LARGEST_PHOTO

# 250,000 photos, a header and an end of 20 ms each, take 5.2 minutes.
READERS = 32
# The most headers being read or waiting: one listed page, so that readers stay busy while S3 lists.
WINDOW = 1000

# The most whole photos in memory, each at most 15 MB, so that one is decoded while others are read and written.
HELD = 4
# Seconds that remain when a run stops turning photos, to read the other headers and to write the lists.
RESERVE_SECONDS = 60.0

# S3's checksums of an object, the best first. S3 adds CRC64NVME to an upload without one; an SDK may send another.
CHECKSUMS = ("ChecksumCRC64NVME", "ChecksumSHA256", "ChecksumSHA1", "ChecksumCRC32C", "ChecksumCRC32")
# The codes for a photo that was deleted or replaced; HEAD has no body, so its code is the status.
CHANGED_CODES = frozenset({"NoSuchKey", "PreconditionFailed", "404", "412"})

Item = TypeVar("Item")
Result = TypeVar("Result")


@dataclass(frozen=True)
class CheckImages:
    """Check the photos below ``images/<job_id>/``."""

    job_id: str


@dataclass(frozen=True)
class ImagesChecked:
    """The S3 URIs of the lists, and the numbers of photos.

    ``rejected`` includes ``duplicates``; ``turned`` counts the accepted photos that are upright copies. What the audit
    report believes is here, as the execution's history keeps it: hashes are SHA-256 in hex, and ``rejected_codes``
    counts the rejected photos by `rules.photos.Code`.
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
    """An object below the job's prefix; ``size`` in bytes."""

    key: str
    etag: str
    size: int
    modified: datetime


def check(
    request: CheckImages, *, bucket: str, min_images: int, max_rejected_share: float, seconds_left: Callable[[], float]
) -> ImagesChecked:
    """Check every photo and write ``input.manifest`` and ``rejected.jsonl``, both in the order of the keys.

    `rules.photos` has the rules. Pixels are decoded only to turn a photo.

    A photo whose EXIF orientation is not upright gets an upright copy: the manifest names the copy, which has the same
    file name in ``upright/<job_id>/`` and no EXIF. Copies of earlier runs are reused.

    Photos are equal when their hashes at S3 are equal: see `_Checker`. The first by key stays; the others are rejected
    as duplicates. Duplicates count as rejected, but not as bad, as they say nothing about the quality of the photos.

    250,000 photos need some 140 MB: a hash and a key each, and the headers being read; upright copies of all of them
    need 100 MB more. Turning needs 250 MB, 350 MB for the costliest photos: one photo is decoded at a time, and up to
    `HELD` encoded files wait in memory.

    Args:
        min_images: the least number of accepted photos.
        max_rejected_share: the job fails above this share (0 to 1) of bad photos.
        seconds_left: returns the seconds until this run's timeout.

    Raises:
        ImagesNotFound: no photo is uploaded.
        TooManyBadImages: says the commonest reasons.
        NotEnoughImages: says how many are accepted.
        PhotosLeft: this run turned at least one photo and has no time for the others. Run the stage again.
    """
    prefix = f"images/{request.job_id}/"
    first_of: dict[str, str] = {}
    codes: Counter[str] = Counter()
    turned = 0
    with (
        ManifestWriter(bucket, f"manifests/{request.job_id}/input.manifest") as manifest,
        ManifestWriter(bucket, rejected_list_key(request.job_id)) as rejected,
        # One thread decodes: glibc keeps freed memory per thread, so each thread would keep the size of a photo.
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
                photo = Rejection("Duplicate", f"the same photo as {first.removeprefix(prefix)}")
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
        raise ImagesNotFound("No photo is uploaded for the job.")
    bad = checked.rejected - checked.duplicates
    if bad > max_rejected_share * checked.found:
        del codes["Duplicate"]
        commonest = ", ".join(f"{code} {count}" for code, count in codes.most_common(3))
        raise TooManyBadImages(
            f"{bad} of {checked.found} photos cannot be used ({commonest}); at most {max_rejected_share:.0%} may be "
            f"bad. {checked.rejected_list} lists each with its reason."
        )
    if checked.accepted < min_images:
        raise NotEnoughImages(
            f"{checked.accepted} of {checked.found} photos can be used; at least {min_images} are needed. "
            f"{bad} are bad and {checked.duplicates} are duplicates; {checked.rejected_list} lists each with its "
            "reason."
        )


def _uploads(bucket: str, prefix: str) -> Iterator[Upload]:
    """Every object below ``prefix`` in the order of the keys, listed 1,000 a page."""
    for page in clients.s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix):
        for entry in page.get("Contents", ()):
            if not entry["Key"].endswith("/"):  # the S3 console's folder marker
                yield Upload(entry["Key"], entry["ETag"].strip('"'), entry["Size"], entry["LastModified"])


def _in_order(pool: ThreadPoolExecutor, function: Callable[[Item], Result], items: Iterable[Item]) -> Iterator[Result]:
    """The pool's results of ``function`` for each item, in the items' order, with at most `WINDOW` calls running.

    After an error, or when the caller stops iterating, calls that have not begun are cancelled.
    """
    under_way: deque[Future[Result]] = deque()
    try:
        for item in items:
            under_way.append(pool.submit(function, item))
            if len(under_way) >= WINDOW:
                yield under_way.popleft().result()
        while under_way:
            yield under_way.popleft().result()
    finally:
        for future in under_way:
            future.cancel()


ORIGINAL = "original-etag"
"""Metadata of an upright copy: the ETag of the upload that it was made from."""


class _Checker:
    """Checks a photo, and turns it upright if its EXIF says so. Safe to call from several threads.

    The content's hash is the ETag: for one PUT without KMS, as the presigned URLs allow, that is the MD5 (S3 API
    reference, "Object"). With KMS the ETag differs for equal content. Then the hash is the checksum that S3 keeps of
    each upload ("Checking object integrity in Amazon S3"), with the size.
    """

    def __init__(self, job_id: str, bucket: str, seconds_left: Callable[[], float], turner: ThreadPoolExecutor) -> None:
        self._prefix, self._upright_prefix = f"images/{job_id}/", f"upright/{job_id}/"
        self._bucket, self._seconds_left = bucket, seconds_left
        self._copies = {copy.key: copy for copy in _uploads(bucket, self._upright_prefix)}
        self._held, self._turner = BoundedSemaphore(HELD), turner
        self._turned = 0

    def photo(self, upload: Upload) -> Photo | Rejection:
        """The photo to label, or why Rekognition would reject it."""
        name = upload.key.removeprefix(self._prefix)
        if "/" in name:
            return Rejection("InvalidName", f"the photo does not lie directly below {self._prefix}")
        if fault := names.fault_of_file_name(name):
            return Rejection("InvalidName", f"the file name {fault}")
        if is_in_parts(upload.etag):
            return Rejection(
                "UploadedInParts",
                "the file was uploaded in parts (multipart), so S3 tells neither its hash nor when it was written: "
                "upload it in one piece",
            )
        encryption = ""

        def read(start: int, stop: int) -> bytes:
            nonlocal encryption
            part = self._get(upload, Range=f"bytes={start}-{stop - 1}")
            encryption = part.get("ServerSideEncryption", "")
            content: bytes = part["Body"].read()
            return content

        try:
            seen = photos.look(upload.size, read)
            if isinstance(seen, Rejection):
                return seen
            image_hash = self._checksum(upload) if encryption.startswith("aws:kms") else upload.etag
            turns = seen.orientation != photos.AS_STORED
            stored = self._upright_copy(upload, seen.orientation) if turns else (upload.key, upload.etag)
        except ClientError as error:
            if error_code(error) in CHANGED_CODES:
                return Rejection("Changed", "the file was replaced or deleted while the photos were checked")
            raise
        if isinstance(stored, Rejection):
            return stored
        key, etag = stored
        return Photo(f"s3://{self._bucket}/{key}", image_hash, seen.width, seen.height, etag, seen.orientation)

    def _checksum(self, upload: Upload) -> str:
        """The checksum and size of a photo that S3 encrypts with KMS; the ETag of an object without a checksum."""
        answer: Mapping[str, Any] = clients.s3.head_object(
            Bucket=self._bucket, Key=upload.key, ChecksumMode="ENABLED", IfMatch=f'"{upload.etag}"'
        )
        found = next((f"{name.removeprefix('Checksum')}:{answer[name]}" for name in CHECKSUMS if name in answer), None)
        return f"{found}:{upload.size}" if found else upload.etag

    def _upright_copy(self, upload: Upload, orientation: int) -> tuple[str, str] | Rejection:
        """Find or make the photo's upright copy; returns its key and ETag, or why there is none."""
        key = f"{self._upright_prefix}{upload.key.removeprefix(self._prefix)}"
        copied = self._copies.get(key)
        if copied and self._original_etag(copied) == upload.etag:
            return key, copied.etag
        with self._held:
            # The first photo of a run is always turned, so that each run makes progress.
            if self._turned and self._seconds_left() < RESERVE_SECONDS:
                raise PhotosLeft(f"Turned {self._turned:,} photos upright in this run; the rest follows in the next.")
            content = self._get(upload)["Body"].read()
            copy = self._turner.submit(self._turn, content, orientation).result()
            if isinstance(copy, Rejection):
                return copy
            body, media_type = copy
            answer = clients.s3.put_object(
                Bucket=self._bucket,
                Key=key,
                Body=body,
                ContentType=media_type,
                Metadata={ORIGINAL: upload.etag},
            )
            return key, answer["ETag"].strip('"')

    def _original_etag(self, copy: Upload) -> str | None:
        """The ETag of the upload that an earlier run made ``copy`` from. Times do not tell: an upload may have been
        replaced while it was turned."""
        answer = clients.s3.head_object(Bucket=self._bucket, Key=copy.key, IfMatch=f'"{copy.etag}"')
        original: str | None = answer["Metadata"].get(ORIGINAL)
        return original

    def _turn(self, content: bytes, orientation: int) -> tuple[bytes, str] | Rejection:
        copy = upright.turn(content, orientation, LARGEST_PHOTO)
        self._turned += not isinstance(copy, Rejection)
        return copy

    def _get(self, upload: Upload, **part: Any) -> Any:
        return clients.s3.get_object(Bucket=self._bucket, Key=upload.key, IfMatch=f'"{upload.etag}"', **part)
