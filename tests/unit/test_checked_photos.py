"""Is it still what was checked? Photos that were replaced or deleted after Check photos, before and during training."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from moto.s3.models import s3_backends

from pipeline import checked_photos, evaluation
from pipeline.checked_photos import DELETED, REPLACED
from pipeline.errors import ManifestChanged, PhotosChanged, UnexpectedAnswer
from pipeline.evaluation import EvaluateModel
from pipeline.manifests import ManifestReader
from pipeline.photos import checking, collecting, planning
from pipeline.photos.checking import CheckPhotos
from pipeline.photos.collecting import CollectPhotos, ImagesChecked
from pipeline.photos.planning import PlanPhotos
from tests.unit.aws_fakes import functions_use
from tests.unit.photo_jobs import JOB, Bucket, check_photos, photo, s3_in_moto, sha256, written

SIDEWAYS = b"Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\0"


@pytest.fixture(scope="module")
def s3() -> Iterator[Any]:
    with s3_in_moto() as client:
        yield client


@pytest.fixture
def bucket(s3: Any) -> Bucket:
    return Bucket(s3)


def age(bucket: Bucket, *keys: str) -> None:
    """Make the objects at ``keys`` an hour older, or all objects."""
    objects = s3_backends["123456789012"]["aws"].buckets[bucket.name].keys
    for key in keys or objects:
        objects[key].last_modified -= timedelta(hours=1)


class Aged:
    """The bucket's S3, in which a copy is an hour old as soon as it is written."""

    def __init__(self, bucket: Bucket) -> None:
        self._bucket = bucket

    def __getattr__(self, name: str) -> Any:
        return getattr(self._bucket.s3, name)

    def put_object(self, **request: Any) -> Any:
        answer = self._bucket.s3.put_object(**request)
        if request["Key"].startswith("upright/"):
            age(self._bucket, request["Key"])
        return answer


def check(bucket: Bucket) -> ImagesChecked:
    """Check the uploaded photos. They and their copies are an hour old."""
    age(bucket)
    with functions_use(s3=Aged(bucket)):
        return check_photos(bucket.name)


def changes(bucket: Bucket, checked: ImagesChecked) -> dict[str, str | None]:
    """How each photo changed, by its key without the job."""
    manifest = ManifestReader(checked.manifest, checked.manifest_sha256)
    compared = checked_photos.compare(manifest, job_id=JOB, bucket=bucket.name)
    found = {}
    for one, change in compared:
        folder, _, name = one.source_ref.removeprefix(f"s3://{bucket.name}/").partition(f"/{JOB}/")
        found[f"{folder}/{name}"] = change and change.reason
    return found


def test_photos_that_did_not_change_are_as_checked(bucket: Bucket) -> None:
    # Given upright and sideways photos of names that sort in their own way, and a rejected one
    for shade, name in enumerate(("a.jpg", "B.jpg", "ä (1).jpg", "z+.png", "日本.jpg", "\U0001f600.jpg")):
        bucket.put_photo(name, photo(64, 70, shade=shade, exif=SIDEWAYS if shade % 2 else b""))
    bucket.put_photo("bad.jpg", b"no photo")
    # When they are checked and compared; Then none has changed, be it the upload or its upright copy
    found = changes(bucket, check(bucket))
    assert sorted(found) == [
        *("images/a.jpg", "images/ä (1).jpg", "images/日本.jpg"),
        *("upright/B.jpg", "upright/z+.png", "upright/\U0001f600.jpg"),
    ]
    assert set(found.values()) == {None}


def test_changes_among_many_photos_are_all_found(bucket: Bucket) -> None:
    # Given more photos than a page of the listing has, every ninth of them turned
    names = [f"{number:04}.png" for number in range(1100)]
    for shade, name in enumerate(names):
        bucket.put_photo(name, photo(64, 70, shade=shade, kind="PNG", exif=b"" if shade % 9 else SIDEWAYS))
    checked = check(bucket)
    keys = [f"{'images' if number % 9 else 'upright'}/{name}" for number, name in enumerate(names)]
    # When some of the objects to train on are replaced and deleted, and strangers come
    replaced = set(keys[5::37])
    deleted = set(keys[11::41]) - replaced
    for key in replaced:
        bucket.put(key.replace("/", f"/{JOB}/"), "other")
    for key in deleted:
        bucket.s3.delete_object(Bucket=bucket.name, Key=key.replace("/", f"/{JOB}/"))
    bucket.put_photo("0500-stranger.jpg", photo())
    # Then each is found, and no other
    expected = dict.fromkeys(keys) | dict.fromkeys(replaced, REPLACED.reason) | dict.fromkeys(deleted, DELETED.reason)
    assert changes(bucket, checked) == expected


def test_a_photo_that_was_replaced_and_put_back_is_noticed(bucket: Bucket) -> None:
    # Given a photo that was checked
    bucket.put_photo("a.jpg", photo(shade=1))
    bucket.put_photo("b.jpg", photo(shade=2))
    checked = check(bucket)
    # When it is replaced for a while, and the same content put back, which has the same ETag
    bucket.put_photo("a.jpg", b"other")
    bucket.put_photo("a.jpg", photo(shade=1))
    # Then it counts as replaced
    assert changes(bucket, checked) == {"images/a.jpg": REPLACED.reason, "images/b.jpg": None}


@pytest.mark.parametrize("moment", ["after it was listed", "after the check of its batch"])
def test_a_photo_with_the_same_etag_counts_as_replaced(bucket: Bucket, moment: str) -> None:
    # Given an upright and a sideways photo, which are an hour old
    contents = {"a.jpg": photo(shade=1), "b.jpg": photo(shade=2, exif=SIDEWAYS)}
    for name, content in contents.items():
        bucket.put_photo(name, content)
    age(bucket)

    class Meddled(Aged):
        """An S3 in which the photo is replaced when it is read. The new one has the same ETag."""

        def get_object(self, **request: Any) -> Any:
            if request["Key"] == f"images/{JOB}/a.jpg":
                bucket.put_photo("a.jpg", contents["a.jpg"])
            return bucket.s3.get_object(**request)

    # When an object with the same ETag replaces the photo before the manifest is written
    with functions_use(s3=(Meddled if moment == "after it was listed" else Aged)(bucket)):
        planning.plan(PlanPhotos(JOB), bucket=bucket.name)
        checking.check(CheckPhotos(JOB, 1), bucket=bucket.name, seconds_left=lambda: 900.0)
        if moment == "after the check of its batch":
            bucket.put_photo("a.jpg", contents["a.jpg"])
            copy = f"s3://{bucket.name}/upright/{JOB}/b.jpg"
            bucket.put(f"upright/{JOB}/b.jpg", bucket.read(copy))
        checked = collecting.collect(CollectPhotos(JOB), bucket=bucket.name, min_images=1, max_rejected_share=0)
    # Then the photo counts as replaced, and so does a copy
    found = changes(bucket, checked)
    assert found["images/a.jpg"] == REPLACED.reason
    assert found["upright/b.jpg"] == (None if moment == "after it was listed" else REPLACED.reason)


def trained(bucket: Bucket, checked: ImagesChecked, train: list[str], test: list[str]) -> EvaluateModel:
    """What Evaluate model is asked about a model that was trained on these photos."""

    def manifest(name: str, photos: list[str]) -> tuple[str, str, int]:
        refs = [{"source-ref": f"s3://{bucket.name}/images/{JOB}/{photo}"} for photo in photos]
        uri = bucket.put_lines(f"manifests/{JOB}/{name}.manifest", refs)
        return uri, sha256(bucket, uri), written(bucket, uri)

    figures = (JOB, "project", "version", JOB, 0.8, 0.5, 0.05)
    sets = manifest("train", train) + manifest("test", test)
    return EvaluateModel(*figures, checked.manifest, checked.manifest_sha256, checked.manifest_written, *sets, {}, {})


@pytest.fixture
def three_checked(bucket: Bucket) -> ImagesChecked:
    """Three photos that were checked an hour ago."""
    for shade in range(3):
        bucket.put_photo(f"{shade}.jpg", photo(shade=shade))
    checked = check(bucket)
    age(bucket, f"manifests/{JOB}/input.manifest")
    return replace(checked, manifest_written=written(bucket, checked.manifest))


@pytest.mark.parametrize("name", ["0.jpg", "1.jpg"])
def test_a_photo_replaced_during_training_fails_the_job(
    bucket: Bucket, three_checked: ImagesChecked, name: str
) -> None:
    # Given a model that was trained on one photo and tested on another
    request = trained(bucket, three_checked, ["0.jpg"], ["1.jpg"])
    evaluation.require_unchanged(request, bucket=bucket.name)
    # When one of them is replaced; Then the job fails and counts, but names no photo
    bucket.put_photo(name, photo(shade=9))
    with pytest.raises(PhotosChanged, match=r"1 were replaced and 0 deleted") as failure:
        evaluation.require_unchanged(request, bucket=bucket.name)
    assert ".jpg" not in str(failure.value)


def test_a_photo_that_was_not_trained_on_may_change(bucket: Bucket, three_checked: ImagesChecked) -> None:
    request = trained(bucket, three_checked, ["0.jpg"], ["1.jpg"])
    bucket.s3.delete_object(Bucket=bucket.name, Key=f"images/{JOB}/2.jpg")
    evaluation.require_unchanged(request, bucket=bucket.name)


def test_another_list_of_photos_is_not_believed(bucket: Bucket, three_checked: ImagesChecked) -> None:
    # Given a trained model, a photo that changed, and an execution that names an empty list of photos
    request = trained(bucket, three_checked, ["0.jpg"], ["1.jpg"])
    bucket.put_photo("0.jpg", photo(shade=9))
    empty = bucket.put(f"manifests/{JOB}/rejected.jsonl", b"")
    forged = replace(request, images_manifest=empty, images_sha256=sha256(bucket, empty), images_written=0)
    # When the photos are compared; Then the list is refused
    with pytest.raises(UnexpectedAnswer, match="not the job's own"):
        evaluation.require_unchanged(forged, bucket=bucket.name)


@pytest.mark.parametrize("name", ["input", "train", "test"])
def test_a_manifest_that_another_wrote_is_refused(bucket: Bucket, three_checked: ImagesChecked, name: str) -> None:
    # Given a trained model
    request = trained(bucket, three_checked, ["0.jpg"], ["1.jpg"])
    # When a manifest is replaced; the time of writing that the stage returned is known to the attacker
    key = f"manifests/{JOB}/{name}.manifest"
    uri = f"s3://{bucket.name}/{key}"
    bucket.put(key, bucket.read(uri).replace(b"0.jpg", b"2.jpg").replace(b"1.jpg", b"2.jpg"))
    prefix = "images" if name == "input" else name
    forged = replace(request, **{f"{prefix}_written": written(bucket, uri)})
    # Then the job fails over its content
    with pytest.raises(ManifestChanged, match=rf"{name}\.manifest was changed after its stage wrote it"):
        evaluation.require_unchanged(forged, bucket=bucket.name)


@pytest.mark.parametrize("name", ["input", "train", "test"])
def test_a_manifest_that_was_put_back_is_refused(bucket: Bucket, three_checked: ImagesChecked, name: str) -> None:
    # Given a trained model, whose manifests were written an hour ago
    request = trained(bucket, three_checked, ["0.jpg"], ["1.jpg"])
    hour = 3_600_000
    request = replace(request, train_written=request.train_written - hour, test_written=request.test_written - hour)
    for key in (manifests := s3_backends["123456789012"]["aws"].buckets[bucket.name].keys):
        if key.endswith(("train.manifest", "test.manifest")):
            manifests[key].last_modified -= timedelta(hours=1)
    evaluation.require_unchanged(request, bucket=bucket.name)
    # When one is replaced while Rekognition reads it, and put back before the training ends
    key = f"manifests/{JOB}/{name}.manifest"
    content = bucket.read(f"s3://{bucket.name}/{key}")
    bucket.put(key, b"other")
    bucket.put(key, content)
    # Then the job fails over it
    with pytest.raises(ManifestChanged, match=rf"{name}\.manifest was written again"):
        evaluation.require_unchanged(request, bucket=bucket.name)


@pytest.mark.parametrize("name", ["input", "train", "test"])
def test_a_manifest_put_back_in_parts_is_refused(bucket: Bucket, three_checked: ImagesChecked, name: str) -> None:
    # Given a trained model, and an upload in parts that began in the second in which the stage wrote a manifest
    request = trained(bucket, three_checked, ["0.jpg"], ["1.jpg"])
    place = {"Bucket": bucket.name, "Key": f"manifests/{JOB}/{name}.manifest"}
    content = bucket.s3.get_object(**place)["Body"].read()
    keys = s3_backends["123456789012"]["aws"].buckets[bucket.name].keys
    begun = keys[place["Key"]].last_modified
    # When it puts the content back, so that S3 tells the time that the stage returned
    upload = place | {"UploadId": bucket.s3.create_multipart_upload(**place)["UploadId"]}
    parts = [{"PartNumber": 1, "ETag": bucket.s3.upload_part(**upload, PartNumber=1, Body=content)["ETag"]}]
    bucket.s3.complete_multipart_upload(**upload, MultipartUpload={"Parts": parts})
    keys[place["Key"]].last_modified = begun
    # Then the job fails over it
    with pytest.raises(ManifestChanged, match=rf"{name}\.manifest was written again"):
        evaluation.require_unchanged(request, bucket=bucket.name)
