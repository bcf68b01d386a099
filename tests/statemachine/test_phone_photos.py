"""Phones' photos, stored any way round with a note in EXIF: what people label, train on and find is what they see."""

import hashlib
import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from deployed import Pipeline, deployed, eventually
from PIL import Image, ImageChops

from ekyc.localaws.server import LocalAws
from ekyc.localaws.services import rekognition
from rules.geometry import overlap

ORIENTATION, GPS, MAKER = 0x0112, 0x8825, 0x010F
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


def phone_photo(seen: Image.Image, orientation: int) -> bytes:
    """The JPEG of a phone's photo that people see as ``seen``, with place and maker."""
    exif = Image.Exif()
    exif[ORIENTATION], exif[MAKER] = orientation, "SpyPhone"
    exif.get_ifd(GPS)[1] = "N"
    file = io.BytesIO()
    stored = seen.transpose(STORED[orientation]) if orientation in STORED else seen
    stored.save(file, "JPEG", exif=exif, quality=92)
    return file.getvalue()


def stored_pixels(content: bytes) -> Image.Image:
    """The pixels as they are in the file, whatever EXIF says."""
    return Image.open(io.BytesIO(content)).convert("RGB")


@pytest.fixture(scope="module")
def unseen(photos: Path) -> dict[str, Any]:
    """A photo of the folder that no job gets, with its document's name and box in pixels as people see it."""
    coco = json.loads((photos / "annotations.json").read_text())
    annotation = coco["annotations"][0]
    [image] = [image for image in coco["images"] if image["id"] == annotation["image_id"]]
    [label] = [one["name"] for one in coco["categories"] if one["id"] == annotation["category_id"]]
    return {"id": image["id"], "file_name": image["file_name"], "label": label, "box": annotation["bbox"]}


@pytest.fixture(scope="module")
def phone_photos(photos: Path, unseen: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The other photos as phones store them, in all eight orientations by turns; the labels are of what people see."""
    folder = tmp_path_factory.mktemp("phone") / "photos"
    folder.mkdir()
    coco = json.loads((photos / "annotations.json").read_text())
    coco["images"] = [image for image in coco["images"] if image["id"] != unseen["id"]]
    coco["annotations"] = [one for one in coco["annotations"] if one["image_id"] != unseen["id"]]
    for place, image in enumerate(coco["images"]):
        seen = Image.open(photos / image["file_name"])
        assert seen.size == (image["width"], image["height"])
        (folder / image["file_name"]).write_bytes(phone_photo(seen, place % 8 + 1))
    (folder / "annotations.json").write_text(json.dumps(coco))
    return folder


@pytest.fixture(scope="module")
def phones(local_aws: LocalAws, lenient_assembly: Path, phone_photos: Path) -> Iterator[Pipeline]:
    """The pipeline, whose customers and workers have the phones' photos."""
    with deployed(local_aws, lenient_assembly, phone_photos) as pipeline:
        yield pipeline


def lines(pipeline: Pipeline, key: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in pipeline.read(key).splitlines()]


def labelled_lines(pipeline: Pipeline, job_id: str) -> list[dict[str, Any]]:
    """What is trained on and tested with."""
    return [line for kind in ("train", "test") for line in lines(pipeline, f"manifests/{job_id}/{kind}.manifest")]


def check_that_all_agree(pipeline: Pipeline, job_id: str, seen: Path, tolerance: float) -> None:
    """That every line trained on has the size, the pixels and the boxes of the photo as people see it in ``seen``.

    Boxes may be ``most_off`` pixels off.
    """
    bucket = pipeline.outputs["BucketName"]
    coco = pipeline.coco
    images = {image["file_name"]: image for image in coco["images"]}
    found = labelled_lines(pipeline, job_id)
    assert len(found) == len(images)
    for line in found:
        folder, _, name = line["source-ref"].rpartition("/")
        [size] = line["doctype"]["image_size"]
        image = images[name]
        content = (
            pipeline.aws.client("s3")
            .get_object(Bucket=bucket, Key=line["source-ref"].removeprefix(f"s3://{bucket}/"))["Body"]
            .read()
        )
        pixels = stored_pixels(content)
        assert pixels.size == (size["width"], size["height"]) == (image["width"], image["height"])
        difference = np.asarray(ImageChops.difference(pixels, Image.open(seen / name).convert("RGB")), float)
        assert difference.mean() < 3
        truths = sorted(one["bbox"] for one in coco["annotations"] if one["image_id"] == image["id"])
        boxes = sorted([box["left"], box["top"], box["width"], box["height"]] for box in line["doctype"]["annotations"])
        assert np.abs(np.array(boxes) - np.array(truths)).max() <= tolerance
        assert folder == f"s3://{bucket}/upright/{job_id}"
        assert not Image.open(io.BytesIO(content)).getexif()
        assert b"SpyPhone" not in content


def test_a_model_of_phone_photos_works_in_every_orientation(
    phones: Pipeline, photos: Path, unseen: dict[str, Any]
) -> None:
    # Given a job with photos in all eight orientations, and labels that people drew on what they saw
    job_id = phones.uploaded()
    phones.upload(job_id, phones.photos / "annotations.json")
    rekognition.current().learns = True
    # When a model is trained on them and started
    phones.start(job_id, labels={"provider": "supplied", "key": "annotations.json"}, minF1=0.5)
    job = phones.reaches(job_id, "Ready")
    # Then the photos that needed it were turned, and manifests, pixels and boxes agree
    turned = [line for line in lines(phones, f"manifests/{job_id}/input.manifest") if "orientation" in line]
    assert job["turned"] == len(turned) >= 7
    check_that_all_agree(phones, job_id, photos, tolerance=1.5)
    # And an unseen photo's document is found where people see it, however the phone stores the photo
    seen = Image.open(photos / unseen["file_name"])
    for orientation in range(1, 9):
        labels = phones.aws.client("rekognition").detect_custom_labels(
            ProjectVersionArn=job["projectVersionArn"], Image={"Bytes": phone_photo(seen, orientation)}
        )["CustomLabels"]
        best = max(
            (label for label in labels if label["Name"] == unseen["label"]), key=lambda label: label["Confidence"]
        )
        box = best["Geometry"]["BoundingBox"]
        found = (
            box["Left"] * seen.width,
            box["Top"] * seen.height,
            box["Width"] * seen.width,
            box["Height"] * seen.height,
        )
        assert overlap(found, tuple(unseen["box"])) > 0.9, orientation
    # And no photo's name was logged
    assert not [path.name for path in phones.photos.glob("*.jpg") if path.name in phones.logs()]


def test_workers_label_phone_photos_as_they_see_them(phones: Pipeline, photos: Path) -> None:
    # Given a job with phone photos, and people who draw boxes on what their browsers show
    job_id = phones.uploaded()
    # When they have labelled them and the datasets are prepared
    phones.start(job_id, deploy=False)
    eventually(lambda: "Create datasets" in phones.entered(job_id))
    # Then the boxes are on the very pixels that are trained on, but for their shaky hands
    check_that_all_agree(phones, job_id, photos, tolerance=12)
    phones.http.post(f"jobs/{job_id}/stop")


def test_later_runs_check_the_photos_that_one_run_leaves(phones: Pipeline) -> None:
    # Given a function that has so little time that every run gives up after some photos
    functions = phones.aws.client("lambda")
    [name] = [
        one["FunctionName"] for one in functions.list_functions()["Functions"] if "CheckPhotos" in one["FunctionName"]
    ]
    usual = functions.get_function_configuration(FunctionName=name)["Timeout"]
    functions.update_function_configuration(FunctionName=name, Timeout=60)
    # When a job runs
    job_id = phones.uploaded()
    phones.start(job_id, deploy=False)
    eventually(lambda: "Request labels" in phones.entered(job_id))
    functions.update_function_configuration(FunctionName=name, Timeout=usual)
    # Then the state machine ran the batch again until all photos were checked
    failures = [
        event["taskFailedEventDetails"] for event in phones.batch_events(job_id) if event["type"] == "TaskFailed"
    ]
    assert len(failures) >= 2
    assert {failure["error"] for failure in failures} == {"PhotosLeft"}
    assert phones.job(job_id)["images"] == len(list(phones.photos.glob("*.jpg")))
    phones.http.post(f"jobs/{job_id}/stop")


def test_repeated_photos_are_found_in_a_bucket_with_a_key(phones: Pipeline) -> None:
    # Given a bucket that KMS encrypts, where equal photos have different ETags
    s3, bucket = phones.aws.client("s3"), phones.outputs["BucketName"]
    rule = {"ApplyServerSideEncryptionByDefault": {"SSEAlgorithm": "aws:kms", "KMSMasterKeyID": "alias/own"}}
    s3.put_bucket_encryption(Bucket=bucket, ServerSideEncryptionConfiguration={"Rules": [rule]})
    job_id = phones.uploaded()
    # And one of the photos sent again under another name, through a presigned URL as clients do
    first = min(phones.photos.glob("*.jpg"))
    target = phones.http.post(f"jobs/{job_id}/urls", json={"names": ["zz-again.jpg"]}).json()["zz-again.jpg"]
    assert httpx.put(target["url"], headers=target["headers"], content=first.read_bytes()).status_code == 200
    etags = {
        s3.head_object(Bucket=bucket, Key=f"images/{job_id}/{name}")["ETag"] for name in (first.name, "zz-again.jpg")
    }
    assert len(etags) == 2
    # When the job runs
    phones.start(job_id, deploy=False)
    eventually(lambda: "Request labels" in phones.entered(job_id))
    # Then the second one is rejected as a duplicate
    assert phones.job(job_id)["duplicates"] == 1
    [rejected] = lines(phones, f"manifests/{job_id}/rejected.jsonl")
    assert rejected["source-ref"].endswith("/zz-again.jpg")
    assert rejected["code"] == "Duplicate"
    hashes = {line["image-hash"] for line in lines(phones, f"manifests/{job_id}/input.manifest")}
    assert hashlib.sha256(first.read_bytes()).hexdigest() in hashes
    phones.http.post(f"jobs/{job_id}/stop")
