"""Check images: what is accepted, what is rejected and why, and when the job cannot go on."""

import hashlib
import io
import random
import time
import zlib
from collections.abc import Iterator
from typing import Any

import pytest
from PIL import Image

from pipeline import images
from pipeline.errors import ImagesNotFound, NotEnoughImages, TooManyBadImages
from pipeline.images import CheckImages, ImagesChecked
from tests.unit.photo_jobs import JOB, Bucket, job_record, job_table, photo, run_stage, s3_in_moto


@pytest.fixture(scope="module")
def s3() -> Iterator[Any]:
    with s3_in_moto() as client:
        yield client


@pytest.fixture
def bucket(s3: Any) -> Bucket:
    return Bucket(s3)


def check(bucket: Bucket, *, min_images: int = 1, max_rejected_share: float = 1.0, s3: Any = None) -> ImagesChecked:
    return images.check(
        CheckImages(JOB),
        bucket=bucket.name,
        min_images=min_images,
        max_rejected_share=max_rejected_share,
        s3=s3 or bucket.s3,
    )


def rejection(bucket: Bucket, content: bytes, name: str = "photo.jpg") -> tuple[str, str]:
    """Upload one photo, check it, and return the code and the reason of its rejection, empty when accepted."""
    bucket.put_photo(name, content)
    bucket.put_photo("zz-good.jpg", photo(shade=4242))
    lines = bucket.lines(check(bucket).rejected_list)
    return (lines[0]["code"], lines[0]["reason"]) if lines else ("", "")


def jpeg_with(segment: bytes, blocks: int) -> bytes:
    """A JPEG whose size is told only after ``blocks`` application blocks of 64 KB."""
    plain = photo()
    block = b"\xff" + segment + (65_000 + 2).to_bytes(2, "big") + bytes(65_000)
    return plain[:2] + block * blocks + plain[2:]


def test_good_photos_are_listed_in_the_order_of_their_names(bucket: Bucket) -> None:
    # Given a JPEG and a PNG, uploaded in another order than that of their names
    bucket.put_photo("b.png", photo(640, 480, kind="PNG"))
    bucket.put_photo("a.jpg", photo(100, 200))
    # When the photos are checked
    checked = check(bucket)
    # Then the manifest has source-ref, content hash and size of both
    content = {"a.jpg": photo(100, 200), "b.png": photo(640, 480, kind="PNG")}
    sizes = {"a.jpg": {"width": 100, "height": 200}, "b.png": {"width": 640, "height": 480}}
    assert bucket.lines(checked.manifest) == [
        {
            "source-ref": f"s3://{bucket.name}/images/{JOB}/{name}",
            "image-hash": hashlib.md5(content[name]).hexdigest(),  # noqa: S324 - S3's ETag is an MD5
            "image-size": sizes[name],
        }
        for name in ("a.jpg", "b.png")
    ]
    # And the hash that the payload carries is the manifest's
    assert checked.manifest_sha256 == hashlib.sha256(bucket.read(checked.manifest)).hexdigest()
    assert (checked.found, checked.accepted, checked.rejected, checked.duplicates) == (2, 2, 0, 0)


@pytest.mark.parametrize(
    ("content", "code", "said"),
    [
        (b"", "Empty", "empty"),
        (b"a photo, honestly", "UnsupportedFormat", "neither JPEG nor PNG"),
        (b"GIF89a" + bytes(100), "UnsupportedFormat", "neither JPEG nor PNG"),
        (photo(kind="BMP"), "UnsupportedFormat", "neither JPEG nor PNG"),
        (b"\xff\xd8\xff" + bytes(20_000), "Unreadable", "20,003 bytes"),
        (photo()[:100], "Unreadable", "100 bytes"),
        (photo(63, 64), "SideTooShort", "63x64"),
        (photo(4097, 300), "SideTooLong", "4097x300"),
        (photo(64 * 20 + 1, 64), "TooElongated", "1281x64"),
        (photo() + bytes(15 * 1024 * 1024), "FileTooLarge", "15 MB"),
    ],
)
def test_what_rekognition_would_reject_is_rejected_in_words(
    bucket: Bucket, content: bytes, code: str, said: str
) -> None:
    # Given one bad photo among good ones; When checked; Then it is listed with a code and a reason
    found, reason = rejection(bucket, content)
    assert found == code
    assert said in reason


@pytest.mark.parametrize(
    "content",
    [
        photo(64, 64),
        photo(4096, 300),
        photo(64 * 20, 64),
        photo(4096, 4096, kind="PNG"),
        photo(100, 100, progressive=True),
    ],
)
def test_photos_at_the_limits_are_accepted(bucket: Bucket, content: bytes) -> None:
    assert rejection(bucket, content) == ("", "")


def test_a_photo_of_exactly_15_mb_is_accepted(bucket: Bucket) -> None:
    content = photo()
    assert rejection(bucket, content + bytes(15 * 1024 * 1024 - len(content))) == ("", "")


def test_an_endless_image_is_rejected_without_being_decoded(bucket: Bucket) -> None:
    # Given a PNG that claims 40,000 x 40,000 pixels, which Pillow alone would call a decompression bomb
    header = bytearray(photo(kind="PNG"))
    header[16:24] = (40_000).to_bytes(4, "big") * 2
    header[29:33] = zlib.crc32(bytes(header[12:29])).to_bytes(4, "big")
    # When its header is read; Then its size is the reason
    assert rejection(bucket, bytes(header))[0] == "SideTooLong"


def test_a_header_behind_big_metadata_is_found_by_reading_on(bucket: Bucket) -> None:
    # Given JPEGs whose frame comes after 0.2 MB of EXIF and after 3 MB of profiles; Then both are accepted
    bucket.put_photo("exif.jpg", jpeg_with(b"\xe1", 3))
    bucket.put_photo("profiles.jpg", jpeg_with(b"\xe2", 48))
    checked = check(bucket)
    assert checked.accepted == 2


def test_a_header_beyond_4_mb_is_given_up(bucket: Bucket) -> None:
    code, reason = rejection(bucket, jpeg_with(b"\xe2", 80))
    assert code == "Unreadable"
    assert "4,194,304" in reason


def test_the_size_is_that_of_the_photo_as_people_see_it(bucket: Bucket) -> None:
    # Given a phone's photo: stored lying, with the note in EXIF to turn it by 90 degrees
    exif = Image.Exif()
    exif[0x0112] = 6
    bucket.put_photo("phone.jpg", photo(640, 480, exif=exif))
    # When checked; Then its size is the turned one, on which boxes are drawn
    assert bucket.lines(check(bucket).manifest)[0]["image-size"] == {"width": 480, "height": 640}


@pytest.mark.filterwarnings("ignore:Corrupt EXIF")
def test_a_damaged_exif_block_does_not_matter(bucket: Bucket) -> None:
    assert rejection(bucket, photo(exif=b"Exif\x00\x00II*\x00\xff\xff\xff\xff")) == ("", "")


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


def test_a_photo_in_a_folder_is_rejected_and_a_folder_marker_ignored(bucket: Bucket) -> None:
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
    with pytest.raises(ImagesNotFound, match=f"images/{JOB}/"):
        check(bucket)


def test_too_few_photos(bucket: Bucket) -> None:
    # Given 3 different photos, one of them twice; When 10 are needed
    for shade in range(3):
        bucket.put_photo(f"{shade}.jpg", photo(shade=shade))
    bucket.put_photo("9.jpg", photo(shade=0))
    # Then the error says the counts, the limit, and where the rejected ones are listed
    with pytest.raises(NotEnoughImages, match=r"3 of 4 photos .* at least 10 .* 1 are duplicates.*rejected\.jsonl"):
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

        def get_object(self, **_: Any) -> Any:
            time.sleep(random.random() / 500)  # noqa: S311
            return {"Body": io.BytesIO(photo(shade=1))}

    for number in range(1010):
        bucket.put_photo(f"{number:05}.jpg", b"photo %d" % (number % 900))
    # When checked twice
    first, second = check(bucket, s3=Shuffled()), check(bucket, s3=Shuffled())
    # Then both lists are in order, complete and the same
    names = [line["source-ref"].rpartition("/")[2] for line in bucket.lines(first.manifest)]
    assert names == [f"{number:05}.jpg" for number in range(900)]
    assert (first.found, first.duplicates) == (1010, 110)
    assert first == second


def test_the_stage_records_the_counts(bucket: Bucket, monkeypatch: pytest.MonkeyPatch) -> None:
    # Given a job with two photos, one bad
    table = job_table("Created")
    bucket.put_photo("a.jpg", photo())
    bucket.put_photo("b.jpg", photo(10, 10))
    # When the state machine calls the stage
    environment = {"JOBS_TABLE": table, "BUCKET": bucket.name, "MIN_IMAGES": "1", "MAX_REJECTED_SHARE": "0.5"}
    result = run_stage(monkeypatch, "stages.check_images", environment, {"jobId": JOB})
    # Then it gets URIs and counts, and the job shows them
    assert result == {
        "manifest": f"s3://{bucket.name}/manifests/{JOB}/input.manifest",
        "manifestSha256": result["manifestSha256"],
        "rejectedList": f"s3://{bucket.name}/manifests/{JOB}/rejected.jsonl",
        "found": 2,
        "accepted": 1,
        "rejected": 1,
        "duplicates": 0,
    }
    record = job_record(table)
    assert (record["Status"], record["Images"], record["Rejected"]) == ("CheckingImages", "1", "1")
