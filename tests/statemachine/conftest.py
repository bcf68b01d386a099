"""The pipeline deployed on the local AWS."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from deployed import TYPES, Pipeline, deployed
from PIL import Image

from ekyc import samples
from ekyc.localaws.server import LocalAws
from ekyc.localaws.synth import LOCAL_SETTINGS, synthesize


@pytest.fixture(scope="session")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """About 15 small specimen photos of three document types, with their annotations."""
    folder = tmp_path_factory.mktemp("photos") / "all"
    samples.write(folder, 44, 7)
    coco = json.loads((folder / "annotations.json").read_text())
    ids = {category["id"] for category in coco["categories"] if category["name"] in TYPES}
    annotations = [annotation for annotation in coco["annotations"] if annotation["category_id"] in ids]
    strangers = {one["image_id"] for one in coco["annotations"] if one["category_id"] not in ids}
    kept = {one["image_id"] for one in annotations} - strangers
    for image in coco["images"]:
        path = folder / image["file_name"]
        if image["id"] not in kept:
            path.unlink()
            continue
        half = Image.open(path).reduce(2)  # a quarter of the time to train
        half.save(path, quality=92)
        image["width"], image["height"] = half.size
    for annotation in annotations:
        annotation["bbox"] = [edge / 2 for edge in annotation["bbox"]]
        annotation["segmentation"] = [[edge / 2 for edge in polygon] for polygon in annotation["segmentation"]]
    coco["images"] = [image for image in coco["images"] if image["id"] in kept]
    coco["annotations"] = [annotation for annotation in annotations if annotation["image_id"] in kept]
    coco["categories"] = [category for category in coco["categories"] if category["id"] in ids]
    (folder / "annotations.json").write_text(json.dumps(coco))
    return folder


@pytest.fixture(scope="session")
def assembly(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The synthesized stack with the labelling page."""
    return synthesize(tmp_path_factory.mktemp("assembly"), LOCAL_SETTINGS)


@pytest.fixture
def pipeline(local_aws: LocalAws, assembly: Path, photos: Path) -> Iterator[Pipeline]:
    """The pipeline, newly deployed."""
    with deployed(local_aws, assembly, photos) as pipeline:
        yield pipeline


@pytest.fixture(scope="module")
def shared_pipeline(local_aws: LocalAws, assembly: Path, photos: Path) -> Iterator[Pipeline]:
    """One pipeline for tests that leave nothing behind which another could notice."""
    with deployed(local_aws, assembly, photos) as pipeline:
        yield pipeline
