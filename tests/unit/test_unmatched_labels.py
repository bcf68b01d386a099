"""Labels without a photo and photos without labels: the job says how many, names them, and stops above a share."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from ekyc.cli import label_files, photos
from ekyc.cli.errors import CommandError
from ekyc.localaws.errors import LocalAwsError
from ekyc.localaws.services.custom_labels_manifest import Size
from ekyc.localaws.services.workforce import Workforce
from pipeline import datasets, labels
from pipeline.datasets import DatasetsPrepared, PrepareDatasets
from pipeline.errors import LabelsDoNotMatch, LabelsInvalid
from pipeline.labels import ImportLabels, LabelsImported
from tests.unit.photo_jobs import JOB, Bucket, put_input_manifest, s3_in_moto, sha256, written
from tests.unit.test_label_rules import coco, line, manifest

TYPES = ["ID_KTP"]


@pytest.fixture(scope="module")
def s3() -> Iterator[Any]:
    with s3_in_moto() as client:
        yield client


@pytest.fixture
def bucket(s3: Any) -> Bucket:
    return Bucket(s3)


def import_file(bucket: Bucket, content: bytes, names: list[str], share: float, rejected: list[str]) -> LabelsImported:
    """Import ``content`` as the labels of a job with photos of these names."""
    images = put_input_manifest(bucket, {name: (f"hash of {name}", 400, 300) for name in names}, rejected)
    bucket.put(f"labels/{JOB}/a.json", content)
    request = ImportLabels(JOB, images, sha256(bucket, images), f"labels/{JOB}/a.json", TYPES, None, None, False)
    return labels.import_labels(request, bucket=bucket.name, max_unmatched_share=share)


def prepare(bucket: Bucket, imported: LabelsImported) -> DatasetsPrepared:
    images = f"s3://{bucket.name}/manifests/{JOB}/input.manifest"
    checked = (images, sha256(bucket, images), written(bucket, images))
    request = PrepareDatasets(JOB, *checked, imported.manifest, imported.sha256, None, "doctype", TYPES)
    return datasets.prepare(request, bucket=bucket.name, max_rejected_share=0)


def listed(bucket: Bucket) -> list[tuple[str, str]]:
    lines = bucket.lines(f"s3://{bucket.name}/manifests/{JOB}/label-problems.jsonl")
    return [(one["photo"], one["code"]) for one in lines]


def form_of(form: str, names: list[str]) -> bytes:
    return coco(*({"file_name": name} for name in names)) if form == "coco" else manifest(*map(line, names))


@pytest.mark.parametrize("form", ["coco", "manifest"])
def test_a_job_stops_when_too_much_has_no_counterpart(bucket: Bucket, form: str) -> None:
    # Given a job of 4 photos and labels of 4, three of which are the job's, and one of a rejected photo
    content = form_of(form, ["1.jpg", "2.jpg", "3.jpg", "jane.jpg", "bad.jpg"])
    names = ["1.jpg", "2.jpg", "3.jpg", "ann.jpg"]
    # When they are imported with a bar below that; Then the cause counts both and names no photo
    with pytest.raises(LabelsDoNotMatch, match="1 of 5 labelled photos has no upload, 1 upload has no labels") as error:
        import_file(bucket, content, names, share=0.19, rejected=["bad.jpg"])
    assert not [name for name in ("jane", "ann.jpg", "bad.jpg") if name in str(error.value)]
    # And the list names both, and no manifest is left
    both = [("jane.jpg", "LabelsWithoutPhoto"), ("ann.jpg", "PhotoWithoutLabels")]
    assert listed(bucket) == both
    assert not bucket.has(f"manifests/{JOB}/labels.manifest")
    # When the bar is at the share; Then the job continues with what there is, and reports the counts
    imported = import_file(bucket, content, names, share=0.25, rejected=["bad.jpg"])
    assert (imported.labelled, imported.labels_without_photo, imported.photos_without_label) == (3, 1, 1)
    assert listed(bucket) == both


def test_a_bad_verdict_is_counted_among_the_dropped(bucket: Bucket) -> None:
    # Given labels of three photos, one of which a verifier called bad
    verdict = {"type": "groundtruth/label-verification", "class-name": "bad", "creation-date": "2026-02-02T03:04:05"}
    content = manifest(line("1.jpg"), line("2.jpg"), line("3.jpg") | {"check": "1", "check-metadata": verdict})
    imported = import_file(bucket, content, ["1.jpg", "2.jpg", "3.jpg"], share=0, rejected=[])
    # When datasets are prepared from them; Then the photo is left out, with that reason
    prepared = prepare(bucket, imported)
    assert (imported.labelled, prepared.dropped_reasons) == (2, {"VerifiedAsBad": 1})


def test_corners_stay_out_of_what_rekognition_reads(bucket: Bucket) -> None:
    # Given two photos with a turned box each
    turned = [{"bbox": [100, 100, 200, 100], "attributes": {"rotation": 90}}] * 2
    content = coco({"file_name": "1.jpg"}, {"file_name": "2.jpg"}, annotations=turned)
    imported = import_file(bucket, content, ["1.jpg", "2.jpg"], share=0, rejected=[])
    # When datasets are prepared from them
    prepared = prepare(bucket, imported)
    # Then the labels keep the corners, and the training manifest has the upright box alone
    kept, trained = bucket.lines(imported.manifest)[0], bucket.lines(prepared.train_manifest)[0]
    upright = {"class_id": 0, "left": 150, "top": 50, "width": 100, "height": 200}
    corners = [[250, 50], [250, 250], [150, 250], [150, 50]]
    assert kept["doctype"]["annotations"] == [upright | {"corners": corners}]
    assert trained["doctype"]["annotations"] == [upright]


@pytest.mark.parametrize(
    "content",
    [
        coco({"file_name": "1.jpg"}, categories=[{"id": 1, "name": "ID_KTP "}]),
        coco({"file_name": "1.jpg", "width": 401}),
        coco({"file_name": "1.jpg"}, annotations=[{"bbox": [0.1, 0.1, 0.5, 0.5]}, {"image_id": 5}]),
        manifest(line("1.jpg", objects=[{"confidence": 95}]), "{", line("1.jpg")),
        b"[]",
    ],
)
def test_the_command_line_and_the_job_say_the_same(bucket: Bucket, tmp_path: Path, content: bytes) -> None:
    # Given a labels file with problems
    file = tmp_path / "labels.json"
    file.write_bytes(content)
    # When the job reads it, and the command line
    with pytest.raises(LabelsInvalid) as refused:
        import_file(bucket, content, ["1.jpg"], share=1, rejected=[])
    job = (
        [one["reason"] for one in bucket.lines(f"s3://{bucket.name}/manifests/{JOB}/label-problems.jsonl")]
        if ("label-problems" in str(refused.value))
        else [str(refused.value).removeprefix("The labels file ")]
    )
    try:
        found = label_files.read(file, {"1.jpg": label_files.Size(400, 300)}, TYPES)
        said = [problem.split(": ", 1)[1] for problem in found.problems]
    except CommandError as error:
        said = [str(error).removeprefix(f"{file} ")]
    # Then both refuse it, in the same words
    assert sorted(said) == sorted(job)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32"])
def test_a_problem_in_coco_is_placed_by_its_line(tmp_path: Path, encoding: str) -> None:
    # Given a file with elements of every kind that JSON has, braces in texts, and an escaped letter in a name
    file = tmp_path / "labels.json"
    file.write_text(
        '{"info": {"images": [1, 2]}, "licenses": ["}"],\n"categories": [{"id": 1, "name": "A,[\\"{"}],\n'
        '"im\\u0061ges": [\n5,\n[1, 2],\n{"id": 1,\n "file_name": "1.jpg"}\n,\n"x"],'
        ' "annotations": [\n\n{"image_id": 7}]}',
        encoding,
    )
    assert [problem.split(":")[1] for problem in label_files.read(file).problems] == ["4", "5", "9", "11"]


# --- The other readers -----------------------------------------------------------------------------------------------


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two photos with labels as Windows programs and labelling tools write them."""
    for name in ("a.jpg", "b.jpg"):
        Image.new("RGB", (400, 300)).save(tmp_path / name)
    content = coco({"file_name": "images\\a.jpg"}, {"file_name": "./images/b.jpg", "id": 2.0})
    (tmp_path / "annotations.json").write_bytes(b"\xef\xbb\xbf" + content)
    return tmp_path


def test_the_demo_reads_what_a_job_reads(folder: Path) -> None:
    labelled = photos.read(folder)
    assert labelled.documents == {key: [("ID_KTP", (10, 20, 100, 60))] for key in ("a.jpg", "b.jpg")}
    assert labelled.types == ("ID_KTP",)


def test_the_demo_says_what_a_job_would_say(folder: Path) -> None:
    (folder / "annotations.json").write_bytes(
        coco({"file_name": "a.jpg"}, categories=[{"id": 1, "name": "a passport"}])
    )
    with pytest.raises(CommandError, match="'a passport' cannot be a document type"):
        photos.read(folder)


def test_the_simulated_workforce_reads_what_a_job_reads(folder: Path) -> None:
    workforce = Workforce()
    workforce.answer_from(folder / "annotations.json", jitter_px=0, unanswered_share=0)
    for name in ("a.jpg", "b.jpg"):
        assert workforce.draw(name, Size(400, 300), TYPES, 1) == [("ID_KTP", 10, 20, 100, 60)]


@pytest.mark.parametrize("content", [b"[]", coco({"file_name": "a.jpg"}, annotations=[{"bbox": [1]}])])
def test_the_simulated_workforce_refuses_in_words(folder: Path, content: bytes) -> None:
    (folder / "annotations.json").write_bytes(content)
    with pytest.raises(LocalAwsError, match=r"annotations\.json (is neither a COCO file|has 1 problem, the first at)"):
        Workforce().answer_from(folder / "annotations.json")
