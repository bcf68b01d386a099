"""Checks a job's uploaded photos against what Rekognition accepts, and lists those that may be labelled."""

import io
import json
import warnings
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeVar

from botocore.exceptions import ClientError
from PIL import Image

from pipeline.errors import ImagesNotFound, NotEnoughImages, TooManyBadImages, error_code
from pipeline.manifests import Drop, ManifestWriter, Photo, photo_line, rejected_list_key

# Custom Labels guide, "Guidelines and quotas in Amazon Rekognition Custom Labels". Its megabytes are taken as 2**20
# bytes, as the API model writes what the guides call 5 MB as 5,242,880 bytes.
MAX_BYTES = 15 * 1024 * 1024
MIN_SIDE, MAX_SIDE = 64, 4096
MAX_ASPECT = 20

# A photo's header is read up to these bytes, one request each: the first is enough for most, the second for big EXIF
# blocks, the last for colour profiles and edit histories.
HEADER_ENDS = (16 * 1024, 256 * 1024, 4 * 1024 * 1024)
# 250,000 headers of 20 ms each take 2.6 minutes.
READERS = 32
# So many headers may be under way or wait for their turn: a listed page, so that readers are busy while S3 lists.
WINDOW = 1000

JPEG_START, PNG_START = b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n"
EXIF_ORIENTATION = 0x0112
SIDEWAYS = frozenset({5, 6, 7, 8})

# Only headers are read here and no pixel is ever decoded, so an image of any size is measured and rejected in words.
Image.MAX_IMAGE_PIXELS = None
# A damaged EXIF block is no reason to reject a photo, nor for a line in the log.
warnings.filterwarnings("ignore", category=UserWarning, module=r"PIL\.")

Item = TypeVar("Item")
Result = TypeVar("Result")


@dataclass(frozen=True)
class CheckImages:
    """Check the photos below ``images/<job_id>/``."""

    job_id: str


@dataclass(frozen=True)
class ImagesChecked:
    """Where the lists are and how many photos are in them. ``rejected`` includes the ``duplicates``."""

    manifest: str
    manifest_sha256: str
    rejected_list: str
    found: int
    accepted: int
    rejected: int
    duplicates: int


class Upload(NamedTuple):
    """An object below the job's prefix. ``etag`` is the MD5 of its content, ``size`` in bytes."""

    key: str
    etag: str
    size: int


class Frame(NamedTuple):
    """A photo's width and height in pixels, as people see it."""

    width: int
    height: int


def check(request: CheckImages, *, bucket: str, min_images: int, max_rejected_share: float, s3: Any) -> ImagesChecked:
    """Read every photo's header and write ``input.manifest`` and ``rejected.jsonl``, both in the order of the keys.

    Photos are equal when their ETags are, which is the MD5 of the content for an upload by one PUT without KMS (S3 API
    reference, "Object"), as the presigned URLs allow. The first by key stays; the others are rejected as duplicates.
    They count as rejected, yet not as bad: a photo sent twice says nothing about the quality of the others.

    250,000 photos need some 140 MB: one hash and key each, and the headers that are under way.

    Args:
        min_images: as many photos must be accepted.
        max_rejected_share: the share of bad photos, 0 to 1, above which the job does not go on.

    Raises:
        ImagesNotFound: nothing is uploaded.
        TooManyBadImages: says the commonest reasons.
        NotEnoughImages: says how many are accepted.
    """
    prefix = f"images/{request.job_id}/"
    first_of: dict[str, str] = {}
    codes: Counter[str] = Counter()
    with (
        ManifestWriter(s3, bucket, f"manifests/{request.job_id}/input.manifest") as manifest,
        ManifestWriter(s3, bucket, rejected_list_key(request.job_id)) as rejected,
        ThreadPoolExecutor(READERS) as readers,
    ):

        def measured(upload: Upload) -> tuple[Upload, Frame | Drop]:
            return upload, _measure(upload, prefix, bucket, s3)

        for upload, frame in _in_order(readers, measured, _uploads(bucket, prefix, s3)):
            source_ref = f"s3://{bucket}/{upload.key}"
            if isinstance(frame, Frame):
                first = first_of.setdefault(upload.etag, upload.key)
                if first == upload.key:
                    manifest.write(photo_line(Photo(source_ref, upload.etag, *frame)))
                    continue
                frame = Drop("Duplicate", f"the same photo as {first.removeprefix(prefix)}")
            codes[frame.code] += 1
            rejected.write(json.dumps({"source-ref": source_ref, "reason": frame.reason, "code": frame.code}))

    checked = ImagesChecked(
        manifest=manifest.uri,
        manifest_sha256=manifest.sha256,
        rejected_list=rejected.uri,
        found=manifest.count + rejected.count,
        accepted=manifest.count,
        rejected=rejected.count,
        duplicates=codes["Duplicate"],
    )
    _require_enough(checked, codes, min_images, max_rejected_share, prefix)
    return checked


def _require_enough(
    checked: ImagesChecked, codes: Counter[str], min_images: int, max_rejected_share: float, prefix: str
) -> None:
    if not checked.found:
        raise ImagesNotFound(f"No photo is uploaded below {prefix}. Upload photos, then start the job.")
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


def _uploads(bucket: str, prefix: str, s3: Any) -> Iterator[Upload]:
    """Every object below ``prefix`` in the order of the keys, listed 1,000 a page."""
    for page in s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix):
        for entry in page.get("Contents", ()):
            if not entry["Key"].endswith("/"):  # the S3 console's folder marker
                yield Upload(entry["Key"], entry["ETag"].strip('"'), entry["Size"])


def _in_order(pool: ThreadPoolExecutor, function: Callable[[Item], Result], items: Iterable[Item]) -> Iterator[Result]:
    """``function`` of each item, computed by the pool, in the items' order, with at most `WINDOW` under way."""
    under_way: deque[Future[Result]] = deque()
    for item in items:
        under_way.append(pool.submit(function, item))
        if len(under_way) >= WINDOW:
            yield under_way.popleft().result()
    while under_way:
        yield under_way.popleft().result()


def _measure(upload: Upload, prefix: str, bucket: str, s3: Any) -> Frame | Drop:
    """The photo's frame, or why Rekognition would reject it."""
    if "/" in upload.key.removeprefix(prefix):
        return Drop("InvalidName", f"the photo does not lie directly below {prefix}")
    if upload.size == 0:
        return Drop("Empty", "the file is empty")
    if upload.size > MAX_BYTES:
        return Drop("FileTooLarge", f"the file has {upload.size:,} bytes; at most {MAX_BYTES:,} (15 MB) are allowed")
    frame = _read_frame(upload, bucket, s3)
    if isinstance(frame, Drop):
        return frame
    size, short, long = f"{frame.width}x{frame.height}", min(frame), max(frame)
    if short < MIN_SIDE:
        return Drop("SideTooShort", f"the photo is {size} px; each side needs at least {MIN_SIDE} px")
    if long > MAX_SIDE:
        return Drop("SideTooLong", f"the photo is {size} px; a side may have at most {MAX_SIDE} px")
    if long > MAX_ASPECT * short:
        return Drop("TooElongated", f"the photo is {size} px; one side may be at most {MAX_ASPECT} times the other")
    return frame


def _read_frame(upload: Upload, bucket: str, s3: Any) -> Frame | Drop:
    """The frame that the header tells, from as few bytes as hold it."""
    data = b""
    for end in HEADER_ENDS:
        try:
            part = s3.get_object(
                Bucket=bucket, Key=upload.key, Range=f"bytes={len(data)}-{end - 1}", IfMatch=f'"{upload.etag}"'
            )
        except ClientError as error:
            if error_code(error) in ("NoSuchKey", "PreconditionFailed"):
                return Drop("Changed", "the file was replaced or deleted while the photos were checked")
            raise
        data += part["Body"].read()
        if not data.startswith((JPEG_START, PNG_START)):
            return Drop("UnsupportedFormat", "the file is neither JPEG nor PNG")
        try:
            return _frame_of(data)
        except Exception:  # whatever a cut or broken header does to the decoder: read on
            if len(data) >= upload.size:
                break
    return Drop("Unreadable", f"the header is broken: no size can be read from the first {len(data):,} bytes")


def _frame_of(data: bytes) -> Frame:
    """Width and height of the image that begins with ``data``, after the turn that EXIF asks for.

    Browsers and the labelling tools turn a photo before they show it, so boxes are drawn on the turned one.
    """
    with Image.open(io.BytesIO(data), formats=("JPEG", "PNG")) as image:
        # A PNG's EXIF may follow its pixels, so that Pillow would decode them to find it; cameras write JPEG.
        turned = image.format != "PNG" and image.getexif().get(EXIF_ORIENTATION) in SIDEWAYS
        return Frame(*(reversed(image.size) if turned else image.size))
