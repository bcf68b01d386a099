"""Small photos of made-up documents, and what the tests of Rekognition and Ground Truth do again and again."""

from __future__ import annotations

import io
import json
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import cv2
import numpy as np
from PIL import ExifTags, Image

from tests.waiting import ENOUGH

BUCKET = "specimens"
LABELS = ("ID_CARD", "PASSPORT")
WIDTH, HEIGHT = 320, 240


class Photo(NamedTuple):
    """A photo as JPEG, the label of the document on it and its box (left, top, width, height); both may be None."""

    jpeg: bytes
    label: str | None
    box: tuple[int, int, int, int] | None


def photo(label: str | None, seed: int) -> Photo:
    """A document of that label (None: none) in a slight perspective on a plain background."""
    random = np.random.default_rng(seed)
    image = np.full((HEIGHT, WIDTH, 3), random.integers(60, 200, 3), np.uint8)
    box = None
    if label is not None:
        document = _document(label)
        height, width = document.shape[:2]
        corners = np.array([[60, 50], [260, 50], [260, 180], [60, 180]], np.float32)
        corners += random.uniform(-14, 14, (4, 2)).astype(np.float32) + random.uniform(-25, 25, 2).astype(np.float32)
        source = np.array([[0, 0], [width, 0], [width, height], [0, height]], np.float32)
        matrix = cv2.getPerspectiveTransform(source, corners)
        cv2.warpPerspective(document, matrix, (WIDTH, HEIGHT), dst=image, borderMode=cv2.BORDER_TRANSPARENT)
        left, top, width, height = cv2.boundingRect(corners)
        box = (left, top, width - 1, height - 1)
    return Photo(cv2.imencode(".jpg", image)[1].tobytes(), label, box)


def stored_lying(photo: Photo) -> Photo:
    """The same photo as a phone stores it: lying, with the note in EXIF to turn it by 90 degrees."""
    with Image.open(io.BytesIO(photo.jpeg)) as image:
        exif = image.getexif()
        exif[ExifTags.Base.Orientation] = 6
        file = io.BytesIO()
        image.rotate(90, expand=True).save(file, "JPEG", quality=95, exif=exif)
    return photo._replace(jpeg=file.getvalue())


def _document(label: str) -> np.ndarray:
    random = np.random.default_rng(sum(label.encode()))
    document = np.full((260, 400, 3), 230, np.uint8)
    for _ in range(70):
        x, y = int(random.integers(0, 380)), int(random.integers(0, 240))
        size, colour = int(random.integers(6, 36)), [int(c) for c in random.integers(0, 200, 3)]
        cv2.rectangle(document, (x, y), (x + size, y + size // 2), colour, -1)
        cv2.circle(document, (400 - x, 260 - y), size // 3, colour[::-1], -1)
    return document


def manifest_line(key: str, photo: Photo, **changes: Any) -> dict[str, Any]:
    """A line that Custom Labels takes; `changes` replace keys of the box."""
    assert photo.box
    edges = dict(zip(("left", "top", "width", "height"), photo.box, strict=True)) | changes
    return {
        "source-ref": f"s3://{BUCKET}/{key}",
        "doctype": {
            "image_size": [{"width": WIDTH, "height": HEIGHT, "depth": 3}],
            "annotations": [{"class_id": 0, **edges}],
        },
        "doctype-metadata": {
            "objects": [{"confidence": 1}],
            "class-map": {"0": photo.label},
            "type": "groundtruth/object-detection",
            "human-annotated": "yes",
            "creation-date": "2026-11-24T01:02:03.456789",
            "job-name": "labeling-job/specimens",
        },
    }


def put_lines(s3: Any, key: str, lines: list[Any]) -> dict[str, Any]:
    """Upload a manifest; gives the S3Object that names it."""
    texts = [line if isinstance(line, str) else json.dumps(line) for line in lines]
    s3.put_object(Bucket=BUCKET, Key=key, Body="".join(text + "\n" for text in texts).encode())
    return {"Bucket": BUCKET, "Name": key}


def read_lines(s3: Any, key: str) -> list[Any]:
    """The JSON lines of an object."""
    return [json.loads(line) for line in s3.get_object(Bucket=BUCKET, Key=key)["Body"].read().splitlines()]


def eventually(condition: Callable[[], Any], seconds: float = ENOUGH) -> Any:
    """Wait for a condition to hold; gives what it gave."""
    deadline = time.monotonic() + seconds
    while not (result := condition()):
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.01)
    return result
