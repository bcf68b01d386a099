"""The check of photos: what is accepted, what is rejected and why, and when the job cannot go on."""

import hashlib
import io
import random
import re
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta
from typing import Any

import numpy as np
import pytest
from moto.s3.models import s3_backends
from PIL import Image, ImageChops, JpegImagePlugin

from pipeline import upright
from pipeline.errors import ImagesNotFound, NotEnoughImages, PhotosLeft, TooManyBadImages
from pipeline.photos.collecting import ImagesChecked
from rules.photos import Rejection
from tests.unit.aws_fakes import functions_use
from tests.unit.photo_jobs import (
    JOB,
    Bucket,
    check_photos,
    continue_check,
    job_record,
    job_table,
    photo,
    run_stage,
    s3_in_moto,
    sha256,
    written,
)


@pytest.fixture(scope="module")
def s3() -> Iterator[Any]:
    with s3_in_moto() as client:
        yield client


@pytest.fixture
def bucket(s3: Any) -> Bucket:
    return Bucket(s3)


def check(
    bucket: Bucket,
    *,
    min_images: int = 1,
    max_rejected_share: float = 1.0,
    seconds_left: Callable[[], float] = lambda: 900.0,
    s3: Any = None,
) -> ImagesChecked:
    with functions_use(s3=s3 or bucket.s3):
        return check_photos(
            bucket.name, min_images=min_images, max_rejected_share=max_rejected_share, seconds_left=seconds_left
        )


def rejection(bucket: Bucket, content: bytes, name: str = "photo.jpg") -> tuple[str, str]:
    """Upload one photo, check it, and return the code and the reason of its rejection, empty when accepted."""
    bucket.put_photo(name, content)
    bucket.put_photo("zz-good.jpg", photo(shade=4242))
    lines = bucket.lines(check(bucket).rejected_list)
    return (lines[0]["code"], lines[0]["reason"]) if lines else ("", "")


def jpeg_with(segment: bytes, blocks: int) -> bytes:
    """A JPEG whose size comes only after ``blocks`` application segments of 64 KB."""
    plain = photo()
    block = b"\xff" + segment + (65_000 + 2).to_bytes(2, "big") + bytes(65_000)
    return plain[:2] + block * blocks + plain[2:]


class Clock:
    """The bucket's S3 as it looks a minute after the uploads: what was not written through it is old."""

    def __init__(self, bucket: Bucket) -> None:
        self._s3 = bucket.s3
        self.written: list[str] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._s3, name)

    def put_object(self, **request: Any) -> Any:
        self.written.append(request["Key"])
        return self._s3.put_object(**request)

    def get_paginator(self, operation: str) -> Any:
        self._pages = self._s3.get_paginator(operation)
        return self

    def paginate(self, **request: Any) -> Iterator[Any]:
        for page in self._pages.paginate(**request):
            for entry in page.get("Contents", ()):
                if entry["Key"] not in self.written:
                    entry["LastModified"] -= timedelta(minutes=1)
            yield page


def test_good_photos_are_listed_in_the_order_of_their_names(bucket: Bucket) -> None:
    # Given a JPEG and a PNG, uploaded in another order than that of their names
    bucket.put_photo("b.png", photo(640, 480, kind="PNG"))
    bucket.put_photo("a.jpg", photo(100, 200))
    # When the photos are checked
    checked = check(bucket)
    # Then the manifest has source-ref, content hash and size of both
    content = {"a.jpg": photo(100, 200), "b.png": photo(640, 480, kind="PNG")}
    brightness = {"a.jpg": 0.043, "b.png": 0.043}
    sizes = {"a.jpg": {"width": 100, "height": 200}, "b.png": {"width": 640, "height": 480}}
    assert bucket.lines(checked.manifest) == [
        {
            "source-ref": f"s3://{bucket.name}/images/{JOB}/{name}",
            "image-hash": hashlib.sha256(content[name]).hexdigest(),
            "image-size": sizes[name],
            "sharpness": 0.0,
            "brightness": brightness[name],
            "etag": hashlib.md5(content[name]).hexdigest(),  # noqa: S324 - S3's ETag is an MD5
            "written": written(bucket, f"s3://{bucket.name}/images/{JOB}/{name}"),
        }
        for name in ("a.jpg", "b.png")
    ]
    # And the hash that the payload carries is the manifest's
    assert checked.manifest_sha256 == hashlib.sha256(bucket.read(checked.manifest)).hexdigest()
    assert (checked.found, checked.accepted, checked.rejected, checked.duplicates) == (2, 2, 0, 0)


def test_a_header_behind_big_metadata_is_found_by_reading_on(bucket: Bucket) -> None:
    # Given JPEGs whose frame comes after 0.2 MB of EXIF, 3 MB of profiles and 5 MB of notes; Then all are accepted
    bucket.put_photo("exif.jpg", jpeg_with(b"\xe1", 3))
    bucket.put_photo("profiles.jpg", jpeg_with(b"\xe2", 48))
    bucket.put_photo("notes.jpg", jpeg_with(b"\xfe", 80))
    checked = check(bucket)
    assert checked.accepted == 3


# How a phone stores what people see, by EXIF orientation: the inverse of the turn that EXIF 2.32 names.
STORED = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_90,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_270,
}


def scene(seed: int = 0, width: int = 160, height: int = 96) -> Image.Image:
    """A smooth picture that differs from itself however it is turned."""
    dots = np.random.default_rng(seed).integers(0, 256, (height // 32, width // 32, 3), dtype=np.uint8)
    return Image.fromarray(dots).resize((width, height), Image.Resampling.BICUBIC)


def noisy(picture: Image.Image) -> Image.Image:
    """The picture as a small sensor sees it at night: hard to compress."""
    grain = np.random.default_rng(5).normal(0, 12, np.asarray(picture).shape)
    return Image.fromarray((np.asarray(picture) + grain).clip(0, 255).astype(np.uint8))


def phone_photo(seen: Image.Image, orientation: int, kind: str = "JPEG", **options: Any) -> bytes:
    """A phone's photo that people see as ``seen``, with who took it, with what and where in EXIF."""
    exif = Image.Exif()
    exif[0x0112], exif[0x010F], exif[0x013B] = orientation, "SpyPhone", "Jane Doe"
    exif.get_ifd(0x8825)[1] = "N"
    file = io.BytesIO()
    stored = seen.transpose(STORED[orientation]) if orientation in STORED else seen
    stored.save(file, kind, exif=exif, **options)
    return file.getvalue()


def stored_pixels(content: bytes) -> Image.Image:
    """The pixels as they are in the file, whatever EXIF says."""
    return Image.open(io.BytesIO(content)).convert("RGB")


def difference(one: Image.Image, other: Image.Image) -> float:
    """Root mean square of the difference, in grey levels."""
    assert one.size == other.size
    return float(np.sqrt(np.mean(np.square(np.asarray(ImageChops.difference(one, other), float)))))


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "MPO"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_phones_photo_is_labelled_upright_and_without_exif(bucket: Bucket, kind: str, orientation: int) -> None:
    # Given what a phone stores of a photo, with the note in EXIF how to turn it
    original = phone_photo(scene(), orientation, kind, icc_profile=b"colours")
    name = f"phone.{'png' if kind == 'PNG' else 'jpg'}"
    bucket.put_photo(name, original)
    # When checked
    checked = check(bucket)
    # Then the manifest names an object whose very pixels are what people see, in their size
    [line] = bucket.lines(checked.manifest)
    upright = bucket.read(line["source-ref"])
    assert line["image-size"] == {"width": 160, "height": 96}
    assert difference(stored_pixels(upright), scene()) < (0.01 if kind == "PNG" else 3)
    # And the hash is that of what was uploaded
    assert line["image-hash"] == hashlib.sha256(original).hexdigest()
    # And it is a copy with the same file name and format, and without metadata and colour profile
    assert (checked.turned, checked.cleaned) == ((0, 1) if orientation == 1 else (1, 0))
    assert line["source-ref"] == f"s3://{bucket.name}/upright/{JOB}/{name}"
    copy = Image.open(io.BytesIO(upright))
    assert copy.format == ("PNG" if kind == "PNG" else "JPEG")
    assert not copy.getexif()
    assert not [secret for secret in (b"Exif", b"SpyPhone", b"Jane", b"colours", b"ICC", b"iCCP") if secret in upright]
    stored_as = bucket.s3.head_object(Bucket=bucket.name, Key=f"upright/{JOB}/{name}")["ContentType"]
    assert stored_as == ("image/png" if kind == "PNG" else "image/jpeg")
    # And the upload is as it was
    assert bucket.read(f"s3://{bucket.name}/images/{JOB}/{name}") == original


@pytest.mark.parametrize(
    ("options", "colour"),
    [
        ({"quality": 95, "subsampling": 0}, 0),
        ({"quality": 90, "subsampling": 1}, 0),  # half the colour across would be half along
        ({"quality": 60, "subsampling": 2}, 2),
        ({"quality": 80, "progressive": True}, 2),
    ],
)
def test_a_jpeg_is_turned_in_its_own_quality(bucket: Bucket, options: dict[str, Any], colour: int) -> None:
    # Given a JPEG of some quality and colour resolution, with a comment and XMP
    original = phone_photo(scene(width=320, height=240), 6, comment=b"by Jane", xmp=b"<x/>", **options)
    bucket.put_photo("phone.jpg", original)
    # When turned
    copy = bucket.read(bucket.lines(check(bucket).manifest)[0]["source-ref"])
    # Then it has the original's tables, colours and about its size, and looks the same
    before, after = Image.open(io.BytesIO(original)), Image.open(io.BytesIO(copy))
    assert isinstance(before, JpegImagePlugin.JpegImageFile)
    assert isinstance(after, JpegImagePlugin.JpegImageFile)
    assert after.quantization == before.quantization
    assert JpegImagePlugin.get_sampling(after) == colour
    assert len(copy) < 1.3 * len(original)
    shown = stored_pixels(original).transpose(Image.Transpose.ROTATE_270)
    assert difference(stored_pixels(copy), shown) < 1.5
    # And neither comment nor XMP is left
    assert b"Jane" not in copy
    assert b"<x/>" not in copy


@pytest.mark.parametrize("mode", ["L", "CMYK"])
def test_jpegs_of_other_colours_are_turned(bucket: Bucket, mode: str) -> None:
    bucket.put_photo("phone.jpg", phone_photo(scene().convert(mode), 6))
    copy = bucket.read(bucket.lines(check(bucket).manifest)[0]["source-ref"])
    assert Image.open(io.BytesIO(copy)).mode == mode
    assert difference(stored_pixels(copy), scene().convert(mode).convert("RGB")) < 5


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGBA"])
def test_pngs_of_other_colours_are_turned(bucket: Bucket, mode: str) -> None:
    bucket.put_photo("phone.png", phone_photo(scene().convert(mode), 8, "PNG"))
    copy = bucket.read(bucket.lines(check(bucket).manifest)[0]["source-ref"])
    assert Image.open(io.BytesIO(copy)).mode == mode
    assert difference(stored_pixels(copy), scene().convert(mode).convert("RGB")) == 0


@pytest.mark.parametrize("nonsense", [0, 9, 65_535])
def test_a_nonsense_orientation_turns_nothing(bucket: Bucket, nonsense: int) -> None:
    bucket.put_photo("phone.jpg", phone_photo(scene(), nonsense))
    assert check(bucket).turned == 0


def test_an_orientation_in_xmp_alone_turns_nothing(bucket: Bucket) -> None:
    # Given a note that browsers and labelling pages do not follow
    file = io.BytesIO()
    scene().save(file, "JPEG", xmp=b'<x tiff:Orientation="6"/>')
    bucket.put_photo("edited.jpg", file.getvalue())
    # When checked; Then the photo is taken as everybody sees it
    [line] = bucket.lines(check(bucket).manifest)
    assert line["image-size"] == {"width": 160, "height": 96}


def test_broken_pixels_of_a_photo_to_turn_are_found(bucket: Bucket) -> None:
    # Given photos whose header is whole: one is cut off, one is garbled
    cut = phone_photo(scene(1, 320, 240), 6)[:-2000]
    garbled = bytearray(phone_photo(scene(2), 3, "PNG"))
    garbled[-500:-100] = bytes(400)
    bucket.put_photo("cut.jpg", cut)
    bucket.put_photo("garbled.png", bytes(garbled))
    bucket.put_photo("good.jpg", photo())
    # When checked; Then both are rejected in words, and no copy is left
    checked = check(bucket)
    assert [(line["code"], line["reason"]) for line in bucket.lines(checked.rejected_list)] == [
        ("CutOff", f"the photo is cut off: its end is missing after {len(cut):,} bytes"),
        ("Unreadable", "the pixels are broken or cut off"),
    ]
    assert not bucket.has(f"upright/{JOB}/")


def test_a_copy_that_gets_too_large_is_lowered_in_quality() -> None:
    # Given a photo whose copy is above the limit: colour halved across takes more space once it is turned
    jpeg = phone_photo(noisy(scene(1, 640, 480)), 6, quality=98, subsampling=1)
    # When turned; Then the copy is as good as fits
    turned = upright.turn(jpeg, 6, len(jpeg))
    assert not isinstance(turned, Rejection)
    copy = turned.copy
    assert len(copy) <= len(jpeg)
    assert difference(stored_pixels(copy), noisy(scene(1, 640, 480))) < 12
    assert Image.open(io.BytesIO(copy)).quantization != Image.open(io.BytesIO(jpeg)).quantization


@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
def test_a_photo_that_cannot_be_made_small_enough_is_rejected(kind: str) -> None:
    # Given a limit that no copy can keep; When the photo is turned; Then the reason says the limit
    refused = upright.turn(phone_photo(scene(), 6, kind), 6, 300)
    assert isinstance(refused, Rejection)
    assert refused.code == "FileTooLarge"
    assert re.fullmatch("the upright copy has more than 300 bytes, the most allowed", refused.reason)


def test_existing_copies_of_the_same_photo_are_reused(bucket: Bucket) -> None:
    # Given photos that an earlier run turned, of which one was replaced since
    clock = Clock(bucket)
    for number in range(3):
        bucket.put_photo(f"{number}.jpg", phone_photo(scene(number), 6))
    first = check(bucket, s3=clock)
    kept = bucket.s3.head_object(Bucket=bucket.name, Key=f"upright/{JOB}/0.jpg")["LastModified"]
    bucket.put_photo("1.jpg", phone_photo(scene(10), 3))
    clock.written.append(f"images/{JOB}/1.jpg")
    # When checked again
    second = check(bucket, s3=clock)
    # Then only that one was turned anew
    copies = [key for key in clock.written if key.startswith("upright/")]
    assert (sorted(copies[:3]), copies[3:]) == (
        [f"upright/{JOB}/{name}.jpg" for name in "012"],
        [f"upright/{JOB}/1.jpg"],
    )
    assert bucket.s3.head_object(Bucket=bucket.name, Key=f"upright/{JOB}/0.jpg")["LastModified"] == kept
    assert difference(stored_pixels(bucket.read(f"s3://{bucket.name}/upright/{JOB}/1.jpg")), scene(10)) < 3
    # And the result is the same, but for what changed
    assert (second.accepted, second.turned) == (first.accepted, first.turned) == (3, 3)


def test_a_copy_of_another_writer_is_not_used(bucket: Bucket) -> None:
    # Given a phone photo, and a newer object beside it in the place of its upright copy
    bucket.put_photo("0.jpg", phone_photo(scene(), 6))
    key = f"upright/{JOB}/0.jpg"
    bucket.put(key, "no photo")
    bucket_keys(bucket)[key].last_modified += timedelta(hours=1)
    # When the photos are checked
    checked = check(bucket)
    # Then the photo is turned, and the object replaced
    assert (checked.accepted, checked.turned) == (1, 1)
    assert difference(stored_pixels(bucket.read(f"s3://{bucket.name}/{key}")), scene()) < 3


@pytest.mark.parametrize(
    "forged",
    [b"no photo", b"", photo(), phone_photo(scene(1), 6), phone_photo(scene(1), 1)[:-2]],
    ids=["no photo", "empty", "another size", "not upright", "cut off"],
)
def test_a_copy_unlike_its_original_is_not_used(bucket: Bucket, forged: bytes) -> None:
    # Given a phone photo, and an object in the place of its upright copy that names the photo as its original
    bucket.put_photo("0.jpg", phone_photo(scene(), 6))
    key = f"upright/{JOB}/0.jpg"
    original = bucket.s3.head_object(Bucket=bucket.name, Key=f"images/{JOB}/0.jpg")["ETag"].strip('"')
    bucket.s3.put_object(Bucket=bucket.name, Key=key, Body=forged, Metadata={"original-etag": original})
    # When the photos are checked
    checked = check(bucket)
    # Then the photo is turned, and the object replaced, as it is no upright photo of this size
    assert (checked.accepted, checked.turned) == (1, 1)
    assert difference(stored_pixels(bucket.read(f"s3://{bucket.name}/{key}")), scene()) < 3


def test_a_copy_of_a_replaced_upload_is_not_used(bucket: Bucket) -> None:
    # Given a photo that was replaced while an earlier run turned it, so that the copy is newer than the upload
    bucket.put_photo("0.jpg", phone_photo(scene(1), 6))
    check(bucket)
    bucket.put_photo("0.jpg", phone_photo(scene(2), 6))
    key = f"upright/{JOB}/0.jpg"
    bucket_keys(bucket)[key].last_modified += timedelta(hours=1)
    # When the photos are checked again; Then the copy shows the photo that is there
    check(bucket)
    assert difference(stored_pixels(bucket.read(f"s3://{bucket.name}/{key}")), scene(2)) < 3


def bucket_keys(bucket: Bucket) -> Any:
    """moto's objects by key."""
    return s3_backends["123456789012"]["aws"].buckets[bucket.name].keys


def test_a_batch_goes_on_over_several_runs(bucket: Bucket) -> None:
    # Given nine photos, some to turn and one broken, and runs that have time for one to three photos
    clock = Clock(bucket)
    for number in range(8):
        bucket.put_photo(f"{number}.jpg", phone_photo(scene(number), 6) if number % 2 else photo(shade=40 * number))
    bucket.put_photo("broken.jpg", b"text")
    runs, checked = 0, None
    # When run until nothing is left
    while not checked:
        runs += 1
        times = iter([100.0, 100.0])
        with suppress(PhotosLeft), functions_use(s3=clock):
            checked = continue_check(bucket.name, seconds_left=lambda times=times: next(times, 59.0))  # type: ignore[misc]
        assert bool(checked) == bucket.has(f"manifests/{JOB}/input.manifest")  # no half list
    # Then each run checked some, and no copy was written twice
    assert 3 <= runs <= 9
    copies = [key for key in clock.written if key.startswith("upright/")]
    assert sorted(copies) == [f"upright/{JOB}/{number}.jpg" for number in (1, 3, 5, 7)]
    # And the lists are those of a run with enough time
    whole = check(bucket, s3=clock)
    assert (checked.accepted, checked.turned, checked.rejected) == (8, 4, 1)
    assert replace(whole, manifest_written=0) == replace(checked, manifest_written=0)


def test_a_run_that_has_no_time_at_all_still_checks_a_photo(bucket: Bucket) -> None:
    # Given more photos than are read at a time, and no time left when the first is read
    for number in range(9):
        bucket.put_photo(f"{number}.jpg", photo(shade=40 * number))
    # When run as often as there are photos; Then each run checks one
    with functions_use(s3=bucket.s3):
        for _ in range(8):
            with pytest.raises(PhotosLeft, match=r"no time for the other photos of the batch\. The next run continues"):
                continue_check(bucket.name, seconds_left=lambda: 0.0)
        assert continue_check(bucket.name, seconds_left=lambda: 0.0).accepted == 9


def test_photos_with_equal_etag_and_checksum_both_stay(bucket: Bucket) -> None:
    # Given two photos of one size that an attacker made to have the same ETag and checksum, and a copy of the first
    contents = {"a.jpg": photo(shade=7), "b.jpg": photo(shade=8), "c.jpg": photo(shade=7)}
    assert len(set(map(len, contents.values()))) == 1
    for name, content in contents.items():
        bucket.put_photo(name, content)
        stored = bucket_keys(bucket)[f"images/{JOB}/{name}"]
        stored._etag, stored.checksum_value = "0" * 32, "AAAAAAAAAAA="
    # When checked
    checked = check(bucket)
    # Then only the copy is a duplicate, and the hashes are those of the contents
    hashes = [line["image-hash"] for line in bucket.lines(checked.manifest)]
    assert hashes == [hashlib.sha256(contents[name]).hexdigest() for name in ("a.jpg", "b.jpg")]
    assert [line["reason"] for line in bucket.lines(checked.rejected_list)] == ["the same photo as a.jpg"]


def test_a_photo_of_several_frames_is_a_jpeg(bucket: Bucket) -> None:
    # Given what some phones write: two JPEGs in one file (MPO)
    file = io.BytesIO()
    Image.new("RGB", (80, 90)).save(file, "MPO", save_all=True, append_images=[Image.new("RGB", (80, 90))])
    assert rejection(bucket, file.getvalue()) == ("", "")


def test_the_first_of_equal_photos_stays(bucket: Bucket) -> None:
    # Given the same content under three names
    for name in ("c.jpg", "a.jpg", "b.jpg"):
        bucket.put_photo(name, photo(shade=7))
    bucket.put_photo("other.jpg", photo(shade=8))
    # When checked
    checked = check(bucket, max_rejected_share=0)
    # Then the first by name is kept, the others say of which they are copies, and none counts as bad
    assert [line["source-ref"].rpartition("/")[2] for line in bucket.lines(checked.manifest)] == ["a.jpg", "other.jpg"]
    rejected = bucket.lines(checked.rejected_list)
    assert [(line["code"], line["reason"]) for line in rejected] == [("Duplicate", "the same photo as a.jpg")] * 2
    assert (checked.rejected, checked.duplicates) == (2, 2)


def test_a_photo_in_a_folder_is_rejected_a_marker_ignored(bucket: Bucket) -> None:
    bucket.put(f"images/{JOB}/", b"")
    bucket.put(f"images/{JOB}/scans/a.jpg", photo())
    bucket.put_photo("b.jpg", photo(shade=1))
    checked = check(bucket)
    assert (checked.found, checked.accepted) == (2, 1)
    assert bucket.lines(checked.rejected_list)[0]["code"] == "InvalidName"


def test_a_photo_that_is_replaced_meanwhile_is_rejected(bucket: Bucket) -> None:
    # Given a client that overwrites a.jpg and deletes b.jpg between listing and reading
    class Meddled:
        def __getattr__(self, name: str) -> Any:
            return getattr(bucket.s3, name)

        def get_object(self, **request: Any) -> Any:
            if request["Key"].endswith("a.jpg"):
                bucket.put_photo("a.jpg", photo(100, 100))
            if request["Key"].endswith("b.jpg"):
                bucket.s3.delete_object(Bucket=bucket.name, Key=request["Key"])
            return bucket.s3.get_object(**request)

    for shade, name in enumerate(("a.jpg", "b.jpg", "c.jpg")):
        bucket.put_photo(name, photo(shade=shade))
    # When checked; Then neither is listed with a hash that is not its own
    checked = check(bucket, s3=Meddled())
    assert [line["code"] for line in bucket.lines(checked.rejected_list)] == ["Changed", "Changed"]
    assert checked.accepted == 1


def test_no_photos(bucket: Bucket) -> None:
    with pytest.raises(ImagesNotFound, match="No photo was uploaded"):
        check(bucket)


def test_too_few_photos(bucket: Bucket) -> None:
    # Given 3 different photos, one of them twice; When 10 are needed
    for shade in range(3):
        bucket.put_photo(f"{shade}.jpg", photo(shade=shade))
    bucket.put_photo("9.jpg", photo(shade=0))
    # Then the error says the counts, the limit, and where the rejected ones are listed
    with pytest.raises(NotEnoughImages, match=r"3 of 4 photos .* at least 10\. .* 1 are duplicates.*rejected\.jsonl"):
        check(bucket, min_images=10)
    assert bucket.has(f"manifests/{JOB}/rejected.jsonl")


def test_too_many_bad_photos(bucket: Bucket) -> None:
    # Given 4 photos of which 3 are bad; When half may be bad
    bucket.put_photo("good.jpg", photo())
    bucket.put_photo("small-1.jpg", photo(10, 10))
    bucket.put_photo("small-2.jpg", photo(11, 11))
    bucket.put_photo("text.jpg", b"text")
    # Then the error says the share, the commonest reasons first, and where each is listed
    with pytest.raises(TooManyBadImages, match=r"3 of 4 .*SideTooShort 2, UnsupportedFormat 1.* 50%.*rejected\.jsonl"):
        check(bucket, max_rejected_share=0.5)


def test_exactly_the_allowed_share_may_be_bad(bucket: Bucket) -> None:
    bucket.put_photo("good.jpg", photo())
    bucket.put_photo("small.jpg", photo(10, 10))
    assert check(bucket, max_rejected_share=0.5).rejected == 1


def test_many_photos_give_the_same_lists_whatever_the_threads_do(bucket: Bucket) -> None:
    # Given more photos than are read at once and than S3 lists a page, some equal, and answers in any order
    class Shuffled:
        def __getattr__(self, name: str) -> Any:
            return getattr(bucket.s3, name)

        def get_object(self, **request: Any) -> Any:
            time.sleep(random.random() / 500)  # noqa: S311
            return bucket.s3.get_object(**request)

    for number in range(1010):
        bucket.put_photo(f"{number:05}.jpg", photo(shade=40 * (number % 900)))
    # When checked twice
    first, second = check(bucket, s3=Shuffled()), check(bucket, s3=Shuffled())
    # Then both lists are in order, complete and the same
    names = [line["source-ref"].rpartition("/")[2] for line in bucket.lines(first.manifest)]
    assert names == [f"{number:05}.jpg" for number in range(900)]
    assert (first.found, first.duplicates) == (1010, 110)
    assert first == replace(second, manifest_written=first.manifest_written)


def test_the_stages_record_the_counts(bucket: Bucket, monkeypatch: pytest.MonkeyPatch) -> None:
    # Given a job with two photos, one bad
    table = job_table("Created")
    bucket.put_photo("a.jpg", photo())
    bucket.put_photo("b.jpg", photo(10, 10))
    environment = {"JOBS_TABLE": table, "BUCKET": bucket.name, "MIN_IMAGES": "1", "MAX_REJECTED_SHARE": "0.5"}
    # When the state machine calls the stages
    planned = run_stage(monkeypatch, "stages.plan_photos", environment, {"jobId": JOB})
    record = job_record(table)
    batch = run_stage(monkeypatch, "stages.check_photos", environment, {"jobId": JOB, "number": 1})
    result = run_stage(monkeypatch, "stages.collect_photos", environment, {"jobId": JOB})
    # Then it gets the list of batches, counts and URIs
    key = f"manifests/{JOB}/batches.json"
    assert planned == {"bucket": bucket.name, "key": key, "batches": 1, "photos": 2}
    assert bucket.lines(f"s3://{bucket.name}/{key}") == [
        [
            {
                "number": 1,
                "first": f"images/{JOB}/a.jpg",
                "last": f"images/{JOB}/b.jpg",
                "count": 2,
                "bytes": len(photo()) + len(photo(10, 10)),
            }
        ]
    ]
    assert batch == {"photos": 2}
    assert result == {
        "manifest": f"s3://{bucket.name}/manifests/{JOB}/input.manifest",
        "manifestSha256": result["manifestSha256"],
        "manifestWritten": written(bucket, result["manifest"]),
        "rejectedList": f"s3://{bucket.name}/manifests/{JOB}/rejected.jsonl",
        "rejectedSha256": sha256(bucket, result["rejectedList"]),
        "rejectedCodes": {"SideTooShort": 1},
        "found": 2,
        "accepted": 1,
        "rejected": 1,
        "duplicates": 0,
        "turned": 0,
        "cleaned": 0,
        "groups": 1,
        "sharpness": [1, *[0] * 11],
        "brightness": [1, *[0] * 9],
    }
    # And the job shows them
    assert (record["Status"], record["DetailedStatus"], record["Photos"]) == ("CheckingImages", "Check photos", "2")
    record = job_record(table)
    assert (record["Stage"], record["Images"], record["Rejected"]) == ("Collect photos", "1", "1")
