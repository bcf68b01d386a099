"""Batches of photos: how they are divided, and what two runs of a batch leave."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any

import pytest
from botocore.exceptions import ClientError
from hypothesis import given, settings
from hypothesis import strategies as st
from moto.core import DEFAULT_ACCOUNT_ID
from moto.s3.models import s3_backends

from pipeline.errors import ImagesNotFound, ManifestChanged, TooManyImages
from pipeline.photos import checking, collecting, planning
from pipeline.photos.checking import CheckPhotos
from pipeline.photos.collecting import CollectPhotos
from pipeline.photos.parts import Accepted, Rejected, Result, pack, read_part
from pipeline.photos.planning import MOST_BYTES, MOST_IN_JOB, MOST_PHOTOS, PlanPhotos, divide
from pipeline.photos.uploads import Upload
from tests.unit.aws_fakes import functions_use
from tests.unit.photo_jobs import JOB, Bucket, check_photos, continue_check, photo, results, s3_in_moto
from tests.unit.photo_leaks import leak, two_on_one_table

UPLOADED = datetime(2026, 11, 24, tzinfo=UTC)


@pytest.fixture
def bucket() -> Iterator[Bucket]:
    with s3_in_moto() as s3:
        yield Bucket(s3)


def uploads(sizes: list[int]) -> Iterator[Upload]:
    for number, size in enumerate(sizes):
        yield Upload(f"images/{JOB}/{number:07}.jpg", "etag", size, UPLOADED)


@given(st.lists(st.integers(1, 15_000_000), min_size=1, max_size=900))
def test_each_photo_is_in_one_batch_of_limited_size(sizes: list[int]) -> None:
    # When photos of any sizes are divided
    batches = list(divide(uploads(sizes)))
    # Then the batches have all photos in order, and keep both limits
    assert [batch.number for batch in batches] == list(range(1, len(batches) + 1))
    assert sum(batch.count for batch in batches) == len(sizes)
    assert sum(batch.bytes for batch in batches) == sum(sizes)
    assert all(batch.count <= MOST_PHOTOS and batch.bytes <= MOST_BYTES for batch in batches)
    assert all(batch.first <= batch.last for batch in batches)
    assert all(one.last < other.first for one, other in pairwise(batches))


def test_a_quarter_of_a_million_photos_are_a_thousand_batches() -> None:
    assert len(list(divide(uploads([2_000_000] * 250_000)))) == 1000


def test_more_than_a_million_photos_are_refused() -> None:
    # Given a listing of 1,000,001 photos; When they are divided; Then the error says how many one job may have
    upload = next(uploads([1]))
    with pytest.raises(TooManyImages, match=r"more than 1,000,000 photos.*Divide them"):
        list(divide(upload for _ in range(MOST_IN_JOB + 1)))
    assert sum(batch.count for batch in divide(upload for _ in range(MOST_IN_JOB))) == MOST_IN_JOB


@pytest.mark.parametrize("markers", [[], ["", "folder/"]])
def test_a_job_without_photos_is_refused(bucket: Bucket, markers: list[str]) -> None:
    for marker in markers:
        bucket.put_photo(marker, b"")
    with functions_use(s3=bucket.s3), pytest.raises(ImagesNotFound, match="No photo was uploaded"):
        planning.plan(PlanPhotos(JOB), bucket=bucket.name)


@pytest.mark.parametrize("name", ["a.jpg", "c.jpg", "e.jpg"])
def test_photos_uploaded_after_the_plan_are_rejected(
    bucket: Bucket, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    # Given a job whose photos are planned in two batches
    monkeypatch.setattr(planning, "MOST_PHOTOS", 1)
    for number, planned in enumerate(("b.jpg", "d.jpg")):
        bucket.put_photo(planned, photo(shade=40 * number))
    with functions_use(s3=bucket.s3):
        before = planning.plan(PlanPhotos(JOB), bucket=bucket.name)
        # When a photo before, between or after the two is uploaded later
        bucket.put_photo(name, photo(shade=200))
        later = s3_backends[DEFAULT_ACCOUNT_ID]["aws"].head_object(bucket.name, f"images/{JOB}/{name}")
        assert later
        later.last_modified += timedelta(seconds=2)  # S3 has whole seconds
        # Then another plan is the same
        assert planning.plan(PlanPhotos(JOB), bucket=bucket.name) == before
        for number in (1, 2):
            checking.check(CheckPhotos(JOB, number), bucket=bucket.name, seconds_left=lambda: 900.0)
        checked = collecting.collect(CollectPhotos(JOB), bucket=bucket.name, min_images=1, max_rejected_share=1)
    # And the photo is listed with its reason and not used
    assert (before.photos, checked.accepted, checked.rejected_codes) == (2, 2, {"Changed": 1})
    assert b"uploaded or replaced after the job's start" in bucket.read(checked.rejected_list)


def test_a_photo_that_s3_does_not_return_is_rejected(bucket: Bucket) -> None:
    # Given a photo that was uploaded to an archive
    bucket.put_photo("a.jpg", photo())
    bucket.s3.put_object(Bucket=bucket.name, Key=f"images/{JOB}/b.jpg", Body=photo(shade=90), StorageClass="GLACIER")
    # When the photos are checked; Then the others are used
    with functions_use(s3=bucket.s3):
        checked = check_photos(bucket.name)
    assert (checked.accepted, checked.rejected_codes) == (1, {"Unreadable": 1})


class Refusing:
    """A bucket's S3 that refuses to return some photos, with an error code."""

    def __init__(self, bucket: Bucket, code: str, *names: str) -> None:
        self._s3, self._code, self._keys = bucket.s3, code, [f"images/{JOB}/{name}" for name in names]

    def __getattr__(self, name: str) -> Any:
        return getattr(self._s3, name)

    def get_object(self, **request: Any) -> Any:
        if request["Key"] in self._keys:
            raise ClientError({"Error": {"Code": self._code}}, "GetObject")
        return self._s3.get_object(**request)


# S3's codes for photos encrypted with a customer's own key, a key that the role may not use, and a disabled key.
@pytest.mark.parametrize("code", ["InvalidRequest", "AccessDenied", "KMS.DisabledException"])
def test_a_photo_with_another_key_is_rejected(bucket: Bucket, code: str) -> None:
    # Given two photos, one of which S3 refuses to return
    for number, name in enumerate(("a.jpg", "b.jpg")):
        bucket.put_photo(name, photo(shade=90 * number))
    # When the photos are checked; Then it is rejected with the reason, and the other is used
    with functions_use(s3=Refusing(bucket, code, "a.jpg")):
        checked = check_photos(bucket.name)
    assert (checked.accepted, checked.rejected_codes) == (1, {"Unreadable": 1})
    assert b"encrypted with a key that the check cannot use" in bucket.read(checked.rejected_list)


def test_a_role_that_may_read_no_photo_fails_the_batch(bucket: Bucket) -> None:
    # Given two photos and a misnamed one; the role may read none
    for number, name in enumerate(("a.jpg", "b.jpg", "scans/c.jpg")):
        bucket.put_photo(name, photo(shade=90 * number))
    # When the photos are checked; Then the batch fails, and has no results
    with functions_use(s3=Refusing(bucket, "AccessDenied", "a.jpg", "b.jpg")):
        with pytest.raises(ClientError, match="AccessDenied"):
            check_photos(bucket.name)
        assert results(bucket.name) == []
    # And once the role has the permission, the batch can be repeated
    with functions_use(s3=bucket.s3):
        assert continue_check(bucket.name).accepted == 2


def test_a_batch_has_the_photos_of_its_range(bucket: Bucket, monkeypatch: pytest.MonkeyPatch) -> None:
    # Given batches of at most three photos
    monkeypatch.setattr(planning, "MOST_PHOTOS", 3)
    for number in range(8):
        bucket.put_photo(f"{number}.jpg", photo(shade=40 * number))
    # When all are checked
    with functions_use(s3=bucket.s3):
        checked = check_photos(bucket.name)
        # Then each batch has its own results, whose names have the numbers of photos
        assert [key.rpartition("/")[2] for key in results(bucket.name)] == ["00001-3", "00002-3", "00003-2"]
        names = [
            [one.name for one in part.photos] for key in results(bucket.name) if (part := read_part(bucket.name, key))
        ]
    assert names == [["0.jpg", "1.jpg", "2.jpg"], ["3.jpg", "4.jpg", "5.jpg"], ["6.jpg", "7.jpg"]]
    assert (checked.found, checked.accepted) == (8, 8)


def test_a_finished_batch_reads_no_photo(bucket: Bucket) -> None:
    # Given a batch that was checked
    bucket.put_photo("a.jpg", photo())
    with functions_use(s3=bucket.s3):
        check_photos(bucket.name)
        [key] = results(bucket.name)
        before = bucket.read(f"s3://{bucket.name}/{key}")
        # When its photo is gone, and it is checked again
        bucket.s3.delete_object(Bucket=bucket.name, Key=f"images/{JOB}/a.jpg")
        again = checking.check(CheckPhotos(JOB, 1), bucket=bucket.name, seconds_left=lambda: 900.0)
    # Then the results stay
    assert (again.photos, bucket.read(f"s3://{bucket.name}/{key}")) == (1, before)


def test_of_two_runs_of_a_batch_the_first_result_counts(bucket: Bucket) -> None:
    # Given two runs of a batch: one of a stopped execution, and one of the resumed execution
    bucket.put_photo("a.jpg", photo())

    class Slow:
        """The S3 client of the first run, which finds the photo gone after the other run has ended."""

        def __getattr__(self, name: str) -> Any:
            return getattr(bucket.s3, name)

        def get_object(self, **request: Any) -> Any:
            if request["Key"].startswith("images/"):
                with functions_use(s3=bucket.s3):
                    checking.check(CheckPhotos(JOB, 1), bucket=bucket.name, seconds_left=lambda: 900.0)
                bucket.s3.delete_object(Bucket=bucket.name, Key=request["Key"])
            return bucket.s3.get_object(**request)

    with functions_use(s3=bucket.s3):
        planning.plan(PlanPhotos(JOB), bucket=bucket.name)
    # When the first run ends last
    with functions_use(s3=Slow()):
        checking.check(CheckPhotos(JOB, 1), bucket=bucket.name, seconds_left=lambda: 900.0)
    # Then the results are those of the second run
    with functions_use(s3=bucket.s3):
        part = read_part(bucket.name, results(bucket.name)[0])
    assert part
    assert [type(one) for one in part.photos] == [Accepted]


def test_missing_results_of_a_batch_are_an_error(bucket: Bucket) -> None:
    # Given planned photos of which no batch was checked; When the results are collected; Then the error says it
    bucket.put_photo("a.jpg", photo())
    with functions_use(s3=bucket.s3):
        planning.plan(PlanPhotos(JOB), bucket=bucket.name)
        with pytest.raises(ManifestChanged, match="The results of 1 of 1 batches of photos are missing"):
            collecting.collect(CollectPhotos(JOB), bucket=bucket.name, min_images=1, max_rejected_share=1)


def test_photos_of_the_same_shot_get_a_group(bucket: Bucket) -> None:
    # Given three photos, each with a recompressed copy and with another document in its place
    for number in range(3):
        one, other = two_on_one_table(number)
        bucket.put_photo(f"{number}-a.jpg", one)
        bucket.put_photo(f"{number}-b.jpg", leak("recompressed, quality 50", one, number))
        bucket.put_photo(f"{number}-c.jpg", other)
    # When the photos are checked
    with functions_use(s3=bucket.s3):
        checked = check_photos(bucket.name)
    # Then a photo and its copy are a group, which the manifest names by its first line
    lines = bucket.lines(checked.manifest)
    assert [line.get("group") for line in lines] == [0, 0, None, 3, 3, None, 6, 6, None]
    assert checked.groups == 6
    # And each photo has figures
    assert all(line["sharpness"] > 0 and 0 < line["brightness"] < 1 for line in lines)
    assert sum(checked.sharpness) == sum(checked.brightness) == 9


NAMES = st.text(st.characters(codec="utf-8", exclude_characters="/"), min_size=1, max_size=20)
ACCEPTED = st.builds(
    lambda name, grey: Result(
        Accepted(name, "images", "hash", "etag", 1_000, 64, 64, 1, 2.5, 0.5, len(grey), None), b"f" * 693, grey
    ),
    NAMES,
    st.binary(max_size=50),
)
REJECTED = st.builds(lambda name: Result(Rejected(name, "Empty", "the file is empty")), NAMES)


@given(st.lists(ACCEPTED | REJECTED, max_size=20))
@settings(max_examples=30, deadline=None)
def test_results_are_read_as_they_were_written(found: list[Result]) -> None:
    with s3_in_moto() as s3:
        bucket = Bucket(s3)
        bucket.put("part", pack(found))
        part = read_part(bucket.name, "part")
        assert part
        assert part.results() == found
