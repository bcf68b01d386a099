"""Writes the photographs and labels of `ekyc samples`."""

import json
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from ekyc.samples import documents, photograph

SMALLEST, LARGEST = 8, 100_000


def write(out: Path, count: int, seed: int, progress: Callable[[int, int], None] | None = None) -> Path:
    """Write `count` photographs and their labels into the folder `out`. Return the path of the label file.

    The photos are `photo-0001.jpg` and so on. The labels are `annotations.json`, in COCO format:

    - `bbox`: [left, top, width, height] in pixels, the outline's bounding box clipped to the frame.
    - `segmentation`: the outline's corners, not clipped, from the document's own top left: top left, top right, bottom
      right, bottom left.
    - `area`: the outline's area inside the frame, in square pixels.

    About one photo in ten shows no document. A few photos show two. Each type appears equally often, give or take one.
    The same seed gives the same bytes.

    `progress(done, count)` is called after each photo, in the calling thread.

    Raises:
        ValueError: `count` is not from 8 to 100,000, the seed is negative, or `out` exists and is not an empty folder.
            Nothing is written.
    """
    if not SMALLEST <= count <= LARGEST:
        raise ValueError(
            f"The count of photographs is {count}: use {SMALLEST} (one for each document type) to {LARGEST:,}."
        )
    if seed < 0:
        raise ValueError(f"The seed is {seed}: use 0 or a positive whole number.")
    if out.exists() and not out.is_dir():
        raise ValueError(f"{out} is a file: choose a new or an empty folder for the photographs.")
    if out.exists() and any(out.iterdir()):
        raise ValueError(f"{out} is not empty: choose a new or an empty folder. Nothing was written.")
    out.mkdir(parents=True, exist_ok=True)
    plan = _plan(count, seed)
    digits = max(4, len(str(count)))

    def shoot(index: int) -> tuple[str, photograph.Photograph]:
        # Each photo has its own random numbers: the order of the threads does not change it.
        photo = photograph.take(plan[index], np.random.default_rng([seed, index]))
        file_name = f"photo-{index + 1:0{digits}d}.jpg"
        (out / file_name).write_bytes(photo.jpeg)
        return file_name, photo

    coco: dict[str, Any] = {
        "info": {
            "description": f"Photographs of fictitious specimen documents, drawn by ekyc samples with seed {seed}"
        },
        "images": [],
        "categories": [{"id": number, "name": name} for number, name in enumerate(documents.TYPES, 1)],
        "annotations": [],
    }
    with ThreadPoolExecutor(os.cpu_count()) as threads:
        list(threads.map(documents.blank, documents.TYPES))  # fills the cache, else each thread draws every type
        for number, (file_name, photo) in enumerate(threads.map(shoot, range(count)), 1):
            _describe(coco, number, file_name, photo)
            if progress:
                progress(number, count)
    labels = out / "annotations.json"
    labels.write_text(json.dumps(coco, indent=1) + "\n")
    return labels


def _plan(count: int, seed: int) -> list[list[str]]:
    """The document types on each photo: nine documents for ten photos, and two documents on every fortieth photo."""
    rng = np.random.default_rng([seed, count])
    names = list(documents.TYPES)
    total = max(len(names), round(0.9 * count))
    dealt = [names[place % len(names)] for place in rng.permutation(total)]
    pairs = count // 40
    photos = [dealt[2 * pair : 2 * pair + 2] for pair in range(pairs)] + [[name] for name in dealt[2 * pairs :]]
    photos += [[] for _ in range(count - len(photos))]
    return [photos[place] for place in rng.permutation(count)]


def _describe(coco: dict[str, Any], number: int, file_name: str, photo: photograph.Photograph) -> None:
    """Add a photo and its labels to the COCO structure."""
    coco["images"].append({"id": number, "file_name": file_name, "width": photo.width, "height": photo.height})
    frame = np.array([[0, 0], [photo.width, 0], [photo.width, photo.height], [0, photo.height]], np.float32)
    categories = {category["name"]: category["id"] for category in coco["categories"]}
    for name, outline in photo.outlines:
        left, top = np.maximum(outline.min(axis=0), 0)
        right, bottom = np.minimum(outline.max(axis=0), (photo.width, photo.height))
        coco["annotations"].append(
            {
                "id": len(coco["annotations"]) + 1,
                "image_id": number,
                "category_id": categories[name],
                "bbox": [round(float(side), 1) for side in (left, top, right - left, bottom - top)],
                "segmentation": [[round(float(side), 1) for side in outline.ravel()]],
                "area": round(float(cv2.intersectConvexConvex(outline.astype(np.float32), frame)[0]), 1),
                "iscrowd": 0,
            }
        )
