"""Prepare datasets: which labelled lines are kept, how they are written, and how they are split."""

import hashlib
import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ekyc.localaws.services.custom_labels_manifest import check_sets, read_dataset
from pipeline import datasets
from pipeline.datasets import DatasetsPrepared, PrepareDatasets
from pipeline.errors import ManifestChanged, NoUsableLabels, PhotosChanged, TooFewImagesPerLabel
from tests.unit.photo_jobs import (
    JOB,
    Bucket,
    job_record,
    job_table,
    put_input_manifest,
    run_stage,
    s3_in_moto,
    sha256,
    written,
)

TYPES = ["ID_KTP", "MY_NRIC", "KH_IC"]
INPUT, OUTPUT = f"manifests/{JOB}/input.manifest", f"labelling/{JOB}/output/output.manifest"


@pytest.fixture(scope="module")
def s3() -> Iterator[Any]:
    with s3_in_moto() as client:
        yield client


@pytest.fixture
def bucket(s3: Any) -> Bucket:
    return Bucket(s3)


class Job:
    """A job's photos and labelled lines, which become files when it is prepared."""

    def __init__(self, bucket: Bucket) -> None:
        self.bucket = bucket
        self.photos: dict[str, tuple[str, int, int]] = {}
        self.rejected: list[str] = []
        self.groups: dict[str, int] = {}
        self.lines: list[Mapping[str, Any] | str] = []

    def photo(self, name: str, width: int = 640, height: int = 480, content: str = "") -> "Job":
        self.photos[name] = (content or f"hash of {name}", width, height)
        return self

    def line(self, name: str, boxes: Sequence[Sequence[Any]], *, width: int = 640, height: int = 480) -> dict[str, Any]:
        """A line as Ground Truth writes it: a class map of only the types on it; boxes are (type, frame ...)."""
        labels = sorted({box[0] for box in boxes})
        return {
            "source-ref": self.ref(name),
            "image-hash": "passed through",
            "image-size": {"width": width, "height": height},
            "doctype": {
                "image_size": [{"width": width, "height": height, "depth": 3}],
                "annotations": [
                    {"class_id": 10 + labels.index(label), "left": left, "top": top, "width": wide, "height": high}
                    for label, left, top, wide, high in boxes
                ],
            },
            "doctype-metadata": {
                "objects": [{"confidence": 0.0} for _ in boxes],
                "class-map": {str(10 + index): label for index, label in enumerate(labels)},
                "type": "groundtruth/object-detection",
                "human-annotated": "yes",
                "creation-date": "2026-11-24T01:53:24.000001",
                "job-name": f"labeling-job/{JOB}-1",
            },
        }

    def labelled(self, name: str, *labels: str) -> "Job":
        """A photo with its good line, which shows a document of each type."""
        self.photo(name)
        self.lines.append(self.line(name, [(label, 10, 20, 100, 80) for label in labels]))
        return self

    def ten_good(self) -> "Job":
        for number in range(10):
            self.labelled(f"good-{number}.jpg", TYPES[number % 2])
        return self

    def ref(self, name: str) -> str:
        return f"s3://{self.bucket.name}/images/{JOB}/{name}"

    def prepare(self, types: Sequence[str] = TYPES) -> DatasetsPrepared:
        images = put_input_manifest(self.bucket, self.photos, self.rejected, self.groups)
        labelled = self.bucket.put_lines(f"labelling/{JOB}/output/output.manifest", self.lines)
        return self.run(images, labelled, types)

    def run(self, images: str, labelled: str, types: Sequence[str] = TYPES, **returned: Any) -> DatasetsPrepared:
        """Prepare datasets of two manifests that are there; ``returned`` is what the stages before returned."""
        told = {
            "images_sha256": sha256(self.bucket, images),
            "images_written": written(self.bucket, images),
            "labels_sha256": None,
            "labelling_ended": None,
        } | returned
        request = PrepareDatasets(
            job_id=JOB,
            images_manifest=images,
            labels_manifest=labelled,
            label_attribute="doctype",
            document_types=list(types),
            **told,
        )
        return datasets.prepare(request, bucket=self.bucket.name, max_rejected_share=0.5)

    def kept(self, prepared: DatasetsPrepared) -> list[dict[str, Any]]:
        return self.bucket.lines(prepared.train_manifest) + self.bucket.lines(prepared.test_manifest)


@pytest.fixture
def job(bucket: Bucket) -> Job:
    return Job(bucket)


def per_type(**images: int) -> list[dict[str, Any]]:
    """What the stage returns as the number of photos of each document type."""
    return [{"label": name, "images": count} for name, count in images.items()]


def names(lines: Sequence[Mapping[str, Any]]) -> list[str]:
    return [line["source-ref"].rpartition("/")[2] for line in lines]


def test_lines_are_written_as_rekognition_asks(job: Job) -> None:
    # Given ten labelled photos of two types, whose lines have class maps of their own and other keys
    job.ten_good()
    # When datasets are prepared from them
    prepared = job.prepare()
    # Then every line has the required keys only, and all share one class map of the types that occur, in their order
    for line in job.kept(prepared):
        number = int(line["source-ref"][-5])
        assert line == {
            "source-ref": job.ref(f"good-{number}.jpg"),
            "doctype": {
                "image_size": [{"width": 640, "height": 480, "depth": 3}],
                "annotations": [{"class_id": number % 2, "left": 10, "top": 20, "width": 100, "height": 80}],
            },
            "doctype-metadata": {
                "objects": [{"confidence": 0.0}],
                "class-map": {"0": "ID_KTP", "1": "MY_NRIC"},
                "type": "groundtruth/object-detection",
                "human-annotated": "yes",
                "creation-date": "2026-11-24T01:53:24.000001",
                "job-name": f"labeling-job/{JOB}-1",
            },
        }
    # And the result has the counts and the manifests
    train, test = job.bucket.read(prepared.train_manifest), job.bucket.read(prepared.test_manifest)
    assert prepared == DatasetsPrepared(
        train_manifest=f"s3://{job.bucket.name}/manifests/{JOB}/train.manifest",
        test_manifest=f"s3://{job.bucket.name}/manifests/{JOB}/test.manifest",
        train_sha256=hashlib.sha256(train).hexdigest(),
        test_sha256=hashlib.sha256(test).hexdigest(),
        train_written=written(job.bucket, prepared.train_manifest),
        test_written=written(job.bucket, prepared.test_manifest),
        train_images=8,
        test_images=2,
        dropped=0,
        dropped_list=f"s3://{job.bucket.name}/manifests/{JOB}/dropped.jsonl",
        dropped_reasons={},
        images_per_type=per_type(ID_KTP=5, MY_NRIC=5, KH_IC=0),
        leaks=0,
        share_of_frame=[10, *[0] * 9],
        labels_manifest=f"s3://{job.bucket.name}/labelling/{JOB}/output/output.manifest",
        labels_sha256=sha256(job.bucket, f"s3://{job.bucket.name}/labelling/{JOB}/output/output.manifest"),
    )


def test_every_unusable_line_is_dropped_with_its_reason(job: Job) -> None:
    # Given good photos, and one of each kind of bad line
    job.ten_good()
    for name in (
        "failed",
        "nobody",
        "empty",
        "size",
        "type",
        "crowd",
        "outside",
        "no-json",
        "never-mentioned",
        "early",
    ):
        job.photo(f"{name}.jpg")
    job.photo("later-copy.jpg", content="hash of good-0.jpg")
    job.rejected = ["rejected.jpg"]
    one = [("ID_KTP", 10, 20, 100, 80)]
    job.lines += [
        {"source-ref": job.ref("failed.jpg"), "doctype-metadata": {"failure-reason": "ClientError: no image"}},
        {"source-ref": job.ref("nobody.jpg")},
        job.line("empty.jpg", []),
        job.line("size.jpg", one, width=320),
        job.line("type.jpg", [*one, ("CAT", 1, 1, 50, 50)]),
        job.line("crowd.jpg", one * 51),
        job.line("outside.jpg", [("ID_KTP", 640, 0, 10, 10)]),
        job.line("rejected.jpg", one),
        job.line("unknown.jpg", one),
        job.line("good-3.jpg", one),
        job.line("later-copy.jpg", one),
        {**job.line("no-json.jpg", one), "doctype": "text"},
        "{",
        "",
        "x" * 100_001,
    ]
    # When prepared
    prepared = job.prepare()
    # Then the bad ones are listed with line number, photo and reason, in order, and the good ones are all there
    dropped = job.bucket.lines(prepared.dropped_list)
    assert [(line["line"], line["code"]) for line in dropped] == [
        (11, "LabellingFailed"),
        (12, "NotLabelled"),
        (13, "Empty"),
        (14, "WrongImageSize"),
        (15, "UnknownType"),
        (16, "TooManyBoxes"),
        (17, "BoxOutside"),
        (17, "NoValidBoxes"),
        (18, "RejectedPhoto"),
        (19, "UnknownPhoto"),
        (20, "Duplicate"),
        (21, "Duplicate"),
        (22, "InvalidLabels"),
        (23, "InvalidJson"),
        (24, "Blank"),
        (25, "TooLong"),
        (None, "NotLabelled"),
        (None, "NotLabelled"),
    ]
    assert dropped[0]["reason"] == "ClientError: no image"
    assert dropped[3]["reason"] == "labelled as 320x480 px, but the photo is 640x480 px"
    assert dropped[4]["reason"] == "CAT is not one of the job's document types"
    assert dropped[8]["reason"] == "the photo was rejected: the photo is bad"
    assert dropped[8]["source-ref"] == job.ref("rejected.jpg")
    assert dropped[6]["box"] == 1
    assert names(dropped[-2:]) == ["early.jpg", "never-mentioned.jpg"]
    assert prepared.dropped == 17
    assert prepared.dropped_reasons == Counter(line["code"] for line in dropped)
    assert sorted(names(job.kept(prepared))) == [f"good-{number}.jpg" for number in range(10)]


def test_boxes_are_clamped_and_empty_boxes_removed(job: Job) -> None:
    # Given a photo with a box that reaches over its edge, a box outside the photo and a box of one pixel
    job.ten_good().photo("boxes.jpg")
    boxes = [("ID_KTP", -9.6, 400, 100, 200), ("MY_NRIC", 700, 0, 10, 10), ("ID_KTP", 5, 5, 1, 1)]
    job.lines.append(job.line("boxes.jpg", boxes))
    # When prepared
    prepared = job.prepare()
    # Then the first is cut at the frame and the others are listed by their place on the line
    [line] = [line for line in job.kept(prepared) if line["source-ref"].endswith("boxes.jpg")]
    assert line["doctype"]["annotations"] == [{"class_id": 0, "left": 0, "top": 400, "width": 90, "height": 80}]
    assert len(line["doctype-metadata"]["objects"]) == 1
    listed = [(dropped["code"], dropped["line"], dropped["box"]) for dropped in job.bucket.lines(prepared.dropped_list)]
    assert listed == [("BoxOutside", 11, 2), ("BoxTooSmall", 11, 3)]
    # And no photo counts as dropped
    assert prepared.dropped == 0
    assert prepared.dropped_reasons == {"BoxOutside": 1, "BoxTooSmall": 1}
    assert {"label": "MY_NRIC", "images": 5} in prepared.images_per_type


def test_no_usable_line(job: Job) -> None:
    # Given labels of which none can be used
    job.photo("a.jpg").photo("b.jpg")
    job.lines = [job.line("a.jpg", []), "{"]
    # When prepared; Then the error says how many, why, and where each is listed, and the list is there
    with pytest.raises(NoUsableLabels, match=r"None of the 3 .*\(.*Empty 1.*\).*dropped\.jsonl"):
        job.prepare()
    assert job.bucket.has(f"manifests/{JOB}/dropped.jsonl")


def test_a_type_with_one_photo_is_named_with_its_count(job: Job) -> None:
    job.ten_good().labelled("only.jpg", "KH_IC")
    with pytest.raises(TooFewImagesPerLabel, match=r"^KH_IC has 1: .*at least 2 different"):
        job.prepare()


def test_two_photos_of_a_type_give_one_to_each_set(job: Job) -> None:
    job.labelled("a.jpg", "KH_IC").labelled("b.jpg", "KH_IC")
    prepared = job.prepare()
    assert (prepared.train_images, prepared.test_images) == (1, 1)
    # And a type's class id is its place among the document types, whichever occur
    assert job.kept(prepared)[0]["doctype-metadata"]["class-map"] == {"2": "KH_IC"}


def test_the_order_of_lines_does_not_change_the_manifests(job: Job) -> None:
    # Given a job; When prepared twice; Then both runs give the same bytes
    for number in range(60):
        job.labelled(f"{number}.jpg", "ID_KTP")
    first, second = job.prepare(), job.prepare()
    assert replace(second, train_written=first.train_written, test_written=first.test_written) == first
    # And photos in another order are split the same way
    tested = sorted(names(job.bucket.lines(first.test_manifest)))
    job.lines.reverse()
    assert sorted(names(job.bucket.lines(job.prepare().test_manifest))) == tested
    assert len(tested) == 12


FRAME = st.tuples(
    *[st.integers(-200, 4500) | st.floats(-200, 4500)] * 2, *[st.integers(-5, 4500) | st.floats(0, 9)] * 2
)
BOXES = st.lists(st.tuples(st.sampled_from(["ID_KTP", "MY_NRIC", "CAT"]), FRAME).map(lambda box: (box[0], *box[1])))
SIDES = st.sampled_from([64, 65, 640, 1281, 4096])
# Of sizes that Check photos lets through: at most 20:1.
PHOTO_SIZES = st.tuples(SIDES, SIDES).filter(lambda size: max(size) <= 20 * min(size))


@given(st.lists(st.tuples(PHOTO_SIZES, BOXES), max_size=8))
@settings(max_examples=40, deadline=None)
def test_rekognition_finds_no_fault_in_what_is_written(
    s3: Any, photos: list[tuple[tuple[int, int], list[Any]]]
) -> None:
    # Given photos of any size with any boxes, among good ones
    job = Job(Bucket(s3)).ten_good()
    for place, ((width, height), boxes) in enumerate(photos):
        job.photo(f"{place}.jpg", width, height)
        job.lines.append(job.line(f"{place}.jpg", boxes, width=width, height=height))
    # When prepared
    prepared = job.prepare()
    # Then the stand-in for Rekognition, which has its rules from AWS's guide and not from here, has nothing to say
    sets = [read_dataset(uri, job.bucket.read(uri)) for uri in (prepared.train_manifest, prepared.test_manifest)]
    assert [line.line for lines in sets for line in lines if line.has_errors] == []
    _, errors = check_sets(*sets)
    assert errors == []
    # And no photo is lost
    assert prepared.train_images + prepared.test_images + prepared.dropped == 10 + len(photos)


def test_photos_of_a_group_are_in_the_same_set(job: Job) -> None:
    # Given twenty labelled photos of two types, in ten pairs of the same shot
    for number in range(20):
        job.labelled(f"{number:02}.jpg", TYPES[number // 2 % 2])
        job.groups[f"{number:02}.jpg"] = number - number % 2
    # When datasets are prepared from them
    prepared = job.prepare()
    # Then no pair is split, and a split of single photos would have split some
    tests = {int(name[:2]) // 2 for name in names(job.bucket.lines(prepared.test_manifest))}
    trained = {int(name[:2]) // 2 for name in names(job.bucket.lines(prepared.train_manifest))}
    assert not tests & trained
    assert (prepared.train_images, prepared.test_images) == (16, 4)
    assert prepared.leaks


def test_photos_that_changed_since_the_check_are_dropped(job: Job) -> None:
    # Given labelled photos that were checked
    job.ten_good().labelled("replaced.jpg", "ID_KTP").labelled("deleted.jpg", "ID_KTP").photo("nobody.jpg")
    job.prepare()
    images, labelled = (f"s3://{job.bucket.name}/{key}" for key in (INPUT, OUTPUT))
    # When some are replaced or deleted before datasets are prepared
    for name in ("replaced.jpg", "nobody.jpg"):
        job.bucket.put_photo(name, b"something else")
    job.bucket.s3.delete_object(Bucket=job.bucket.name, Key=f"images/{JOB}/deleted.jpg")
    prepared = job.run(images, labelled)
    # Then they are dropped in words, and the others trained on
    dropped = job.bucket.lines(prepared.dropped_list)
    assert [(line["line"], line["source-ref"], line["reason"]) for line in dropped] == [
        (11, job.ref("replaced.jpg"), "the photo was replaced after it was checked"),
        (12, job.ref("deleted.jpg"), "the photo was deleted after it was checked"),
        (None, job.ref("nobody.jpg"), "the photo was replaced after it was checked"),
    ]
    assert prepared.dropped_reasons == {"Changed": 3}
    assert sorted(names(job.kept(prepared))) == [f"good-{number}.jpg" for number in range(10)]


@pytest.mark.parametrize(("changed", "fails"), [(5, False), (6, True)])
def test_a_job_fails_when_too_many_photos_changed(job: Job, changed: int, fails: bool) -> None:
    # Given ten labelled photos, of which at most half may change
    for number in range(10):
        job.labelled(f"{number}.jpg", "ID_KTP")
    job.prepare()
    images, labelled = (f"s3://{job.bucket.name}/{key}" for key in (INPUT, OUTPUT))
    # When so many change
    for number in range(changed):
        job.bucket.put_photo(f"{number}.jpg", b"something else")
    # Then half of them are dropped, and more fail the job with a list of each
    if not fails:
        assert job.run(images, labelled).dropped_reasons == {"Changed": changed}
        return
    with pytest.raises(PhotosChanged, match=r"6 of 10 photos were replaced or deleted .* At most 50% may be"):
        job.run(images, labelled)
    listed = job.bucket.lines(f"s3://{job.bucket.name}/manifests/{JOB}/dropped.jsonl")
    assert [line["code"] for line in listed] == ["Changed"] * 6


@pytest.mark.parametrize(("manifest", "told"), [(INPUT, "images_sha256"), (OUTPUT, "labels_sha256")])
def test_a_manifest_that_another_wrote_is_refused(job: Job, manifest: str, told: str) -> None:
    # Given manifests of the stages before, with their hashes
    job.ten_good().prepare()
    uri = f"s3://{job.bucket.name}/{manifest}"
    hashes = {told: sha256(job.bucket, uri)}
    # When a line is taken from one
    job.bucket.put(manifest, job.bucket.read(uri).partition(b"\n")[2])
    # Then no datasets are made
    with pytest.raises(ManifestChanged, match="was changed after its stage wrote it"):
        job.run(f"s3://{job.bucket.name}/{INPUT}", f"s3://{job.bucket.name}/{OUTPUT}", **hashes)


def test_a_list_of_photos_that_was_put_back_is_refused(job: Job) -> None:
    # Given the list of photos, as Collect photos wrote it a second ago
    job.ten_good().prepare()
    images = f"s3://{job.bucket.name}/{INPUT}"
    before = written(job.bucket, images) - 1000
    # Then no datasets are made of a list with the same content that was written since
    with pytest.raises(ManifestChanged, match=r"input\.manifest was written again"):
        job.run(images, f"s3://{job.bucket.name}/{OUTPUT}", images_written=before)


def test_labels_that_were_written_after_the_labelling_are_refused(job: Job) -> None:
    # Given the output of a labelling job that ended in the second in which Ground Truth wrote it
    job.ten_good().prepare()
    images, labels = (f"s3://{job.bucket.name}/{key}" for key in (INPUT, OUTPUT))
    ended = written(job.bucket, labels)
    assert job.run(images, labels, labelling_ended=ended).train_images == 8
    # Then no datasets are made of one that was written since
    with pytest.raises(ManifestChanged, match=r"output\.manifest was written again after the labelling ended"):
        job.run(images, labels, labelling_ended=ended - 1000)


def test_the_stage_records_the_counts(job: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    # Given a labelled job
    table = job_table("Labelling")
    job.ten_good().prepare()
    event = {
        "jobId": JOB,
        "imagesManifest": (images := f"s3://{job.bucket.name}/manifests/{JOB}/input.manifest"),
        "imagesSha256": sha256(job.bucket, images),
        "imagesWritten": written(job.bucket, images),
        "labelsManifest": f"s3://{job.bucket.name}/labelling/{JOB}/output/output.manifest",
        "labelsSha256": None,
        "labellingEnded": written(job.bucket, f"s3://{job.bucket.name}/{OUTPUT}"),
        "labelAttribute": "doctype",
        "documentTypes": TYPES,
    }
    # When the state machine calls the stage
    environment = {"JOBS_TABLE": table, "BUCKET": job.bucket.name, "MAX_REJECTED_SHARE": "0.5"}
    result = run_stage(monkeypatch, "stages.prepare_datasets", environment, event)
    # Then it gets URIs, hashes and counts as JSON, and the job shows them
    assert json.loads(json.dumps(result))["trainImages"] == 8
    assert result["imagesPerType"] == per_type(ID_KTP=5, MY_NRIC=5, KH_IC=0)
    record = job_record(table)
    assert (record["Status"], record["TrainImages"], record["TestImages"]) == ("CreatingDataset", "8", "2")
