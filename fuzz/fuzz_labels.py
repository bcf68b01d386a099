"""Fuzzes the readers of labels, with any bytes as a supplied labels file and as the labels manifest.

python fuzz/fuzz_labels.py build/fuzz/labels -max_total_time=60
"""

import hashlib
import json
import sys
from pathlib import Path

import atheris

sys.path[:0] = [str(Path(__file__).parents[1]), str(Path(__file__).parents[1] / "lambdas")]

with atheris.instrument_imports(include=["pipeline", "rules", "json"]):
    from pipeline import datasets, labels
    from pipeline.clients import clients
    from pipeline.errors import LabelsInvalid, NoUsableLabels, TooFewImagesPerLabel
    from pipeline.manifests import Photo, photo_line, rejected_list_key

from ekyc.localaws.services.custom_labels_manifest import check_sets, read_dataset  # noqa: E402 - needs the path above
from fuzz.files import BUCKET, CORPUS, JOB, UPLOADED, Objects  # noqa: E402

COCO = json.loads((CORPUS / "labels" / "coco.json").read_text())
TYPES = [category["name"] for category in COCO["categories"]]
KEYS = {f"images/{JOB}/{image['file_name']}": image for image in COCO["images"]}
PHOTOS = [
    Photo(f"s3://{BUCKET}/{key}", str(image["id"]), image["width"], image["height"], key, 4.0, 0.5)
    for key, image in sorted(KEYS.items())
]
INPUT = "".join(f"{photo_line(photo)}\n" for photo in PHOTOS).encode()
INPUT_SHA256 = hashlib.sha256(INPUT).hexdigest()
MANIFESTS = f"s3://{BUCKET}/manifests/{JOB}"


def any_file(content: bytes) -> None:
    """Import the file, and prepare datasets from it and from the imported labels.

    Only known errors may be raised, and each list must be valid JSON.
    """
    s3 = Objects(dict.fromkeys(KEYS, b""))
    s3[f"manifests/{JOB}/input.manifest"] = INPUT
    s3[rejected_list_key(JOB)] = b""
    s3["labels/file"] = content
    clients.s3 = s3
    imported = False
    try:
        request = labels.ImportLabels(
            JOB, f"{MANIFESTS}/input.manifest", INPUT_SHA256, "labels/file", TYPES, None, None, False
        )
        labels.import_labels(request, bucket=BUCKET)
        imported = True
    except LabelsInvalid as error:
        assert str(error).startswith("The labels file ")
    if f"manifests/{JOB}/label-problems.jsonl" in s3:
        s3.json_lines(f"manifests/{JOB}/label-problems.jsonl")
    for manifest in ("labels/file", *([f"manifests/{JOB}/labels.manifest"] * imported)):
        prepare(s3, manifest)


def prepare(s3: Objects, manifest: str) -> None:
    images = (f"{MANIFESTS}/input.manifest", INPUT_SHA256, round(UPLOADED.timestamp() * 1000))
    request = datasets.PrepareDatasets(JOB, *images, f"s3://{BUCKET}/{manifest}", None, None, "doctype", TYPES)
    try:
        prepared = datasets.prepare(request, bucket=BUCKET, max_rejected_share=0.5)
    except (NoUsableLabels, TooFewImagesPerLabel):
        return
    finally:
        s3.json_lines(f"manifests/{JOB}/dropped.jsonl")
    # The local Rekognition, which has the rules of AWS's guide, must accept the written manifests.
    written = (prepared.train_manifest, prepared.test_manifest)
    sets = [read_dataset(uri, s3[uri.removeprefix(f"s3://{BUCKET}/")]) for uri in written]
    assert not [line for lines in sets for line in lines if line.has_errors]
    assert not check_sets(*sets)[1]
    s3.json_lines(f"manifests/{JOB}/train.manifest")


if __name__ == "__main__":
    atheris.Setup(sys.argv, any_file)
    atheris.Fuzz()
