"""Import labels: a COCO file or a Ground Truth output manifest becomes the job's labelled manifest."""

import hashlib
import json
from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from pipeline import datasets, labels
from pipeline.datasets import DatasetsPrepared, PrepareDatasets
from pipeline.errors import LabelsInvalid
from pipeline.labels import ImportLabels, LabelsImported
from pipeline.manifests import Photo, photo_line
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
PHOTOS = {f"{number}.jpg": (f"hash-{number}", 640, 480) for number in range(1, 5)}
NAMED = f"labels/{JOB}/annotations.json"


@pytest.fixture(scope="module")
def s3() -> Iterator[Any]:
    with s3_in_moto() as client:
        yield client


@pytest.fixture
def bucket(s3: Any) -> Bucket:
    return Bucket(s3)


def import_file(bucket: Bucket, name: str, content: bytes | str) -> LabelsImported:
    """Supply ``content`` as the labels of a job with `PHOTOS`."""
    manifest = put_input_manifest(bucket, PHOTOS, rejected=["bad.jpg"])
    bucket.put(f"labels/{JOB}/{name}", content)
    return labels.import_labels(
        ImportLabels(JOB, manifest, sha256(bucket, manifest), f"labels/{JOB}/{name}", TYPES, None, None, False),
        bucket=bucket.name,
    )


def prepare(bucket: Bucket, imported: LabelsImported) -> DatasetsPrepared:
    """The datasets of the job's photos with the imported labels."""
    manifest = f"s3://{bucket.name}/manifests/{JOB}/input.manifest"
    images = (manifest, sha256(bucket, manifest), written(bucket, manifest))
    labels = (imported.manifest, imported.sha256, None, imported.label_attribute)
    request = PrepareDatasets(JOB, *images, *labels, TYPES)
    return datasets.prepare(request, bucket=bucket.name, max_rejected_share=0.5)


def import_coco(bucket: Bucket, document: Any) -> LabelsImported:
    return import_file(bucket, "annotations.json", json.dumps(document))


def import_lines(bucket: Bucket, *lines: Mapping[str, Any] | str) -> LabelsImported:
    text = "".join(f"{line if isinstance(line, str) else json.dumps(line)}\n" for line in lines)
    return import_file(bucket, "output.manifest", text)


def coco() -> dict[str, Any]:
    """Two labelled photos, one of them twice, one without a document, with everything that COCO tools add."""
    return {
        "info": {"description": "a project", "images": 3},
        "licenses": [{"id": 1, "name": "none"}],
        "categories": [
            {"id": 11, "name": "KH_IC", "supercategory": ""},
            {"id": 12, "name": "ID_KTP", "supercategory": ""},
            {"id": 13, "name": "CAT", "supercategory": ""},
        ],
        "images": [
            {"id": 1, "file_name": "1.jpg", "width": 640, "height": 480},
            {"id": 2, "file_name": "upload/batch\\2.jpg", "width": 640, "height": 480},
            {"id": 3, "file_name": "3.jpg", "width": 640, "height": 480},
        ],
        "annotations": [
            {"id": 101, "image_id": 1, "category_id": 11, "bbox": [10.4, 20.6, 100.0, 80], "segmentation": [[1, 2, 3]]},
            {"id": 102, "image_id": 1, "category_id": 12, "bbox": [300, 200, 50, 60], "area": 3000, "iscrowd": 0},
            {"id": 103, "image_id": 2, "category_id": 12, "bbox": [-5, 0, 700, 400]},
        ],
    }


def ground_truth(name: str, *, label: str = "ID_KTP", attribute: str = "bounding-box") -> dict[str, Any]:
    """A line as Ground Truth writes it, of a photo in a bucket of another account."""
    return {
        "source-ref": f"s3://elsewhere/archive/{name}",
        attribute: {
            "image_size": [{"width": 640, "height": 480, "depth": 3}],
            "annotations": [{"class_id": 4, "left": 10, "top": 20, "width": 100, "height": 80}],
        },
        f"{attribute}-metadata": {
            "objects": [{"confidence": 0.0}],
            "class-map": {"4": label},
            "type": "groundtruth/object-detection",
            "human-annotated": "no",
            "creation-date": "2026-10-18T22:18:13.527256",
            "job-name": "labeling-job/theirs",
        },
    }


def test_coco_becomes_a_ground_truth_manifest(bucket: Bucket) -> None:
    # Given a COCO file about three of the job's photos; When imported
    imported = import_coco(bucket, coco())
    # Then each photo is a line of the job's own photo with whole pixels, types by name, and where the labels come from
    first, second, third = bucket.lines(imported.manifest)
    created = first["doctype-metadata"].pop("creation-date")
    assert created.startswith("20")
    assert first == {
        "source-ref": f"s3://{bucket.name}/images/{JOB}/1.jpg",
        "doctype": {
            "image_size": [{"width": 640, "height": 480, "depth": 3}],
            "annotations": [
                {"class_id": 2, "left": 10, "top": 21, "width": 100, "height": 80},
                {"class_id": 0, "left": 300, "top": 200, "width": 50, "height": 60},
            ],
        },
        "doctype-metadata": {
            "objects": [{"confidence": 1}, {"confidence": 1}],
            "class-map": {"2": "KH_IC", "0": "ID_KTP"},
            "type": "groundtruth/object-detection",
            "human-annotated": "yes",
            "job-name": f"labeling-job/{JOB}-supplied",
        },
    }
    assert second["source-ref"].endswith(f"/{JOB}/2.jpg")
    assert third["doctype"]["annotations"] == []
    supplied = f"s3://{bucket.name}/labels/{JOB}/annotations.json"
    assert imported == LabelsImported(
        "supplied",
        imported.manifest,
        "doctype",
        sha256(bucket, imported.manifest),
        labelled=2,
        file_sha256=sha256(bucket, supplied),
        file_etag=imported.file_etag,
        labels_without_photo=0,
        photos_without_label=1,
        named_etag=None,
        posted_by=None,
    )
    # And a second run of the stage writes the same
    manifest = f"s3://{bucket.name}/manifests/{JOB}/input.manifest"
    request = ImportLabels(
        JOB, manifest, sha256(bucket, manifest), f"labels/{JOB}/annotations.json", TYPES, None, None, False
    )
    assert labels.import_labels(request, bucket=bucket.name) == imported


def test_a_ground_truth_manifest_is_mapped_onto_the_jobs_photos(bucket: Bucket) -> None:
    # Given a manifest of another account, under another attribute, with a failed and an unlabelled photo
    failed = {"source-ref": "s3://elsewhere/3.jpg", "bounding-box-metadata": {"failure-reason": "ClientError: gone"}}
    imported = import_lines(bucket, ground_truth("1.jpg"), failed, {"source-ref": "s3://elsewhere/2.jpg"})
    # When imported; Then the labels are under our attribute, on our photo
    first, third, second = bucket.lines(imported.manifest)
    assert first["source-ref"] == f"s3://{bucket.name}/images/{JOB}/1.jpg"
    assert first["doctype"]["annotations"] == [{"class_id": 0, "left": 10, "top": 20, "width": 100, "height": 80}]
    # And an auditor still sees that a machine labelled it, when, and that the labels were supplied
    metadata = first["doctype-metadata"]
    assert (metadata["human-annotated"], metadata["creation-date"]) == ("no", "2026-10-18T22:18:13.527256")
    assert metadata["job-name"] == f"labeling-job/{JOB}-supplied"
    # And the failed and the unlabelled one are as Ground Truth leaves them
    assert third["doctype-metadata"] == {"failure-reason": "ClientError: gone"}
    assert list(second) == ["source-ref"]
    assert imported.labelled == 1


@pytest.mark.parametrize("kind", ["coco", "ground truth"])
def test_prepare_datasets_lists_labels_of_other_photos(bucket: Bucket, kind: str) -> None:
    # Given labels of two photos of the job, of a rejected photo and of an unknown photo
    names = ["1.jpg", "2.jpg", "bad.jpg", "other.jpg"]
    if kind == "coco":
        document = coco()
        document["images"] = [
            {"id": place, "file_name": name, "width": 640, "height": 480} for place, name in enumerate(names)
        ]
        document["annotations"] = [
            {"id": place, "image_id": place, "category_id": 12, "bbox": [1, 1, 50, 50]} for place in range(4)
        ]
        imported = import_coco(bucket, document)
    else:
        imported = import_lines(bucket, *[ground_truth(name) for name in names])
    assert imported.labelled == 2
    # When datasets are prepared from them
    prepared = prepare(bucket, imported)
    # Then both are counted and listed with why
    listed = {line["source-ref"].rpartition("/")[2]: line["code"] for line in bucket.lines(prepared.dropped_list)}
    assert listed["bad.jpg"] == "RejectedPhoto"
    assert listed["other.jpg"] == "UnknownPhoto"
    assert prepared.dropped_reasons == {"RejectedPhoto": 1, "UnknownPhoto": 1, "NotLabelled": 2}


def broken(path: str, value: Any) -> dict[str, Any]:
    """`coco()` with the value at ``path`` replaced."""
    document = coco()
    *parents, last = path.split("/")
    place: Any = document
    for parent in parents:
        place = place[int(parent) if parent.isdigit() else parent]
    place[last] = value
    return document


def refusal(bucket: Bucket, name: str, content: bytes | str) -> str:
    """The cause with which a labels file is refused; it names nothing that people named, and no manifest is left."""
    with pytest.raises(LabelsInvalid) as error:
        import_file(bucket, name, content)
    cause = str(error.value)
    assert cause.startswith("The labels file ")
    assert not [leak for leak in (name, "1.jpg", "2.jpg", "CAT", "bounding-box", f"labels/{JOB}") if leak in cause]
    assert not bucket.has(f"manifests/{JOB}/labels.manifest")
    return cause


def listed(bucket: Bucket) -> list[dict[str, Any]]:
    return bucket.lines(f"s3://{bucket.name}/manifests/{JOB}/label-problems.jsonl")


def test_a_problem_is_listed_with_the_files_own_id(bucket: Bucket) -> None:
    refusal(bucket, "a.json", json.dumps(broken("annotations/0/category_id", 13)))
    assert listed(bucket) == [
        {
            "annotation": 1,
            "reason": "'CAT' is not one of the job's document types (ID_KTP, KH_IC, MY_NRIC)",
            "code": "UnknownType",
            "id": 101,
        }
    ]


def test_a_photo_labelled_in_another_size_is_listed(bucket: Bucket) -> None:
    # Given a photo labelled in half its width, and one labelled as it is stored and not as people see it
    half, lying = ground_truth("2.jpg"), ground_truth("3.jpg")
    half["bounding-box"]["image_size"][0]["width"] = 320
    lying["bounding-box"]["image_size"][0] |= {"width": 480, "height": 640}
    with pytest.raises(LabelsInvalid, match=r"2 problems \(WrongImageSize 2\): line 1, line 2\."):
        import_lines(bucket, half, lying)
    # Then the list says the sizes, and how the second comes about
    assert [problem["reason"] for problem in listed(bucket)] == [
        "it was labelled as 320x480 px, but '2.jpg' is 640x480 px",
        "it was labelled as 480x640 px, but '3.jpg' is 640x480 px: draw boxes on the upright photo, turned as "
        "its EXIF orientation says",
    ]


def test_many_problems_are_counted_and_the_first_ten_placed(bucket: Bucket) -> None:
    # Given 12 broken lines; When imported
    with pytest.raises(LabelsInvalid, match=r"has 12 problems \(InvalidJson 12\): line 2, .*, line 11 and 2 more\."):
        import_lines(bucket, ground_truth("1.jpg"), *["{"] * 12)
    # Then all are listed
    assert [problem["line"] for problem in listed(bucket)] == list(range(2, 14))


def test_a_corrected_file_leaves_no_problems_listed(bucket: Bucket) -> None:
    refusal(bucket, "x.manifest", "{")
    refusal(bucket, "x.manifest", json.dumps(ground_truth("1.jpg", label="CAT")))
    import_lines(bucket, *map(ground_truth, PHOTOS))
    assert listed(bucket) == []


def test_a_missing_file_is_reported(bucket: Bucket) -> None:
    manifest = put_input_manifest(bucket, PHOTOS)
    request = ImportLabels(JOB, manifest, sha256(bucket, manifest), f"labels/{JOB}/none.json", TYPES, None, None, False)
    with pytest.raises(LabelsInvalid, match="The labels file does not exist"):
        labels.import_labels(request, bucket=bucket.name)


@pytest.mark.parametrize("kind", ["coco", "ground truth"])
def test_labels_that_are_replaced_later_change_nothing(bucket: Bucket, kind: str) -> None:
    # Given labels that were imported
    coco_text, lines_text = json.dumps(coco()), f"{json.dumps(ground_truth('1.jpg'))}\n"
    text, other = (coco_text, lines_text) if kind == "coco" else (lines_text, coco_text)
    imported = import_file(bucket, "labels.json", text)
    before = bucket.read(imported.manifest)
    # When others take their place
    uri = bucket.put(f"labels/{JOB}/labels.json", other)
    # Then the result has the hash of the bytes that were read, and the manifest has their labels
    assert imported.file_sha256 == hashlib.sha256(text.encode()).hexdigest() != sha256(bucket, uri)
    assert bucket.read(imported.manifest) == before


def test_labels_replaced_while_they_are_read_are_refused(bucket: Bucket) -> None:
    # Given a COCO file, which is read in two requests, and another file that replaces it in between
    def replace(**_: Any) -> None:
        events.unregister("after-call.s3.GetObject", replace)
        bucket.put(f"labels/{JOB}/annotations.json", "{}")

    events = bucket.s3.meta.events
    manifest = put_input_manifest(bucket, PHOTOS)
    bucket.put(f"labels/{JOB}/annotations.json", json.dumps(coco()))
    request = ImportLabels(
        JOB, manifest, sha256(bucket, manifest), f"labels/{JOB}/annotations.json", TYPES, None, None, False
    )
    events.register("after-call.s3.GetObject", replace)
    # When imported; Then the job says so
    with pytest.raises(LabelsInvalid, match="was replaced or deleted while it was read"):
        labels.import_labels(request, bucket=bucket.name)


def put(bucket: Bucket, uri: str) -> str:
    """Upload an object of its own content; its ETag."""
    key = uri.removeprefix(f"s3://{bucket.name}/")
    etag: str = bucket.s3.put_object(Bucket=bucket.name, Key=key, Body=key.encode())["ETag"]
    return etag.strip('"')


@pytest.mark.parametrize("kind", ["coco", "ground truth"])
def test_labels_of_a_turned_photo_name_its_upright_copy(bucket: Bucket, kind: str) -> None:
    # Given a job in which one of two photos has an upright copy
    upright = f"s3://{bucket.name}/upright/{JOB}/1.jpg"
    original = f"s3://{bucket.name}/images/{JOB}/2.jpg"
    etags = [put(bucket, uri) for uri in (upright, original)]
    photos = [
        Photo(upright, "hash-1", 640, 480, etags[0], written(bucket, upright), 4.0, 0.5),
        Photo(original, "hash-2", 640, 480, etags[1], written(bucket, original), 4.0, 0.5),
    ]
    manifest = bucket.put_lines(f"manifests/{JOB}/input.manifest", [photo_line(photo) for photo in photos])
    # And labels that name the uploads
    if kind == "coco":
        document = coco()
        document["annotations"], document["images"] = document["annotations"][1:], document["images"][:2]
        key, content = f"labels/{JOB}/a.json", json.dumps(document)
    else:
        lines = [ground_truth(name) | {"source-ref": f"s3://{bucket.name}/images/{JOB}/{name}"} for name in PHOTOS]
        key, content = f"labels/{JOB}/a.manifest", "".join(json.dumps(line) + "\n" for line in lines[:2])
    bucket.put(key, content)
    bucket.put(f"manifests/{JOB}/rejected.jsonl", "")
    # When imported; Then the labels are of what is trained on, the copy, and the datasets take both
    imported = labels.import_labels(
        ImportLabels(JOB, manifest, sha256(bucket, manifest), key, TYPES, None, None, False),
        bucket=bucket.name,
    )
    assert [line["source-ref"] for line in bucket.lines(imported.manifest)] == [upright, original]
    prepared = prepare(bucket, imported)
    assert (prepared.train_images, prepared.test_images, prepared.dropped) == (1, 1, 0)


def test_the_stage_records_the_provider(bucket: Bucket, monkeypatch: pytest.MonkeyPatch) -> None:
    # Given a job whose photos are checked, with supplied labels
    table = job_table("CheckingImages")
    manifest = put_input_manifest(bucket, PHOTOS)
    bucket.put(f"labels/{JOB}/a.json", json.dumps(coco()))
    # When the state machine calls the stage
    event = {"jobId": JOB, "imagesManifest": manifest, "labelsKey": f"labels/{JOB}/a.json", "documentTypes": TYPES}
    event |= {"imagesSha256": sha256(bucket, manifest), "labelsEtag": None}
    event |= {"postedBy": "engineer", "isResumed": False}
    environment = {"JOBS_TABLE": table, "BUCKET": bucket.name, "MAX_UNMATCHED_SHARE": "0.5"}
    result = run_stage(monkeypatch, "stages.import_labels", environment, event)
    # Then the machine gets the manifest, and the job shows who labelled and how much
    assert result == {
        "provider": "supplied",
        "manifest": f"s3://{bucket.name}/manifests/{JOB}/labels.manifest",
        "labelAttribute": "doctype",
        "sha256": result["sha256"],
        "labelled": 2,
        "fileSha256": sha256(bucket, f"s3://{bucket.name}/labels/{JOB}/a.json"),
        "fileEtag": result["fileEtag"],
        "labelsWithoutPhoto": 0,
        "photosWithoutLabel": 1,
        "namedEtag": None,
        "postedBy": "engineer",
    }
    record = job_record(table)
    assert (record["Status"], record["LabelProvider"], record["Labelled"]) == ("Labelling", "supplied", "2")
    assert (record["LabelsWithoutPhoto"], record["PhotosWithoutLabel"]) == ("0", "1")
