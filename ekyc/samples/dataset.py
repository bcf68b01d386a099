"""A set of sample photographs with their labels: what `ekyc samples` writes."""

import json
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import numpy as np

from ekyc.samples import documents, photograph

SMALLEST, LARGEST = 8, 100_000


def write(out: Path, count: int, seed: int, progress: Callable[[int, int], None] | None = None) -> Path:
    """Write `count` photographs and their labels into the folder `out`, and return the path of the label file.

    The photos are `photo-0001.jpg` and so on; the labels are `annotations.json` in COCO's layout: `bbox` is
    [left, top, width, height] in pixels, the outline's box clipped to the frame; `segmentation` holds the outline's
    corners in the document's own order (top left, top right, bottom right, bottom left), not clipped; `area` is what
    of the outline is inside the frame. About one photo in ten shows no document, every type is on as many photos as
    every other (give or take one), and a few photos show two documents. The same seed gives the same bytes.

    `progress(done, count)` is called after each photo, from the calling thread.

    Raises ValueError when the count is not from 8 to 100,000, when the seed is negative, or when `out` exists and is
    not an empty folder; nothing is written then.
    """
    if not SMALLEST <= count <= LARGEST:
        raise ValueError(
            f"{count} photographs: ask for {SMALLEST} (one of each document type) to {LARGEST:,} photographs."
        )
    if seed < 0:
        raise ValueError(f"Seed {seed}: a seed is a whole number from 0 up.")
    if out.exists() and not out.is_dir():
        raise ValueError(f"{out} is a file: name a new or an empty folder for the photographs.")
    if out.exists() and any(out.iterdir()):
        raise ValueError(f"{out} is not empty: nothing in it was touched. Name a new or an empty folder.")
    out.mkdir(parents=True, exist_ok=True)
    plan = _plan(count, seed)
    digits = max(4, len(str(count)))

    def shoot(index: int) -> tuple[str, photograph.Photograph]:
        # Every photo has random numbers of its own, so it is the same whichever thread draws it and when.
        photo = photograph.take(plan[index], np.random.default_rng([seed, index]))
        file_name = f"photo-{index + 1:0{digits}d}.jpg"
        (out / file_name).write_bytes(photo.jpeg)
        return file_name, photo

    coco: dict = {
        "info": {
            "description": f"Photographs of fictitious specimen documents, drawn by ekyc samples with seed {seed}"
        },
        "images": [],
        "categories": [{"id": number, "name": name} for number, name in enumerate(documents.TYPES, 1)],
        "annotations": [],
    }
    with ThreadPoolExecutor(os.cpu_count()) as threads:
        list(threads.map(documents.blank, documents.TYPES))  # once each, before every thread asks for all of them
        for number, (file_name, photo) in enumerate(threads.map(shoot, range(count)), 1):
            _describe(coco, number, file_name, photo)
            if progress:
                progress(number, count)
    labels = out / "annotations.json"
    labels.write_text(json.dumps(coco, indent=1) + "\n")
    return labels


def _plan(count: int, seed: int) -> list[list[str]]:
    """Which documents each photo shows: nine documents for ten photos, and every fortieth photo a second one."""
    rng = np.random.default_rng([seed, count])
    names = list(documents.TYPES)
    shown = max(len(names), round(0.9 * count))
    dealt = [names[place % len(names)] for place in rng.permutation(shown)]
    pairs = count // 40
    photos = [dealt[2 * pair : 2 * pair + 2] for pair in range(pairs)] + [[name] for name in dealt[2 * pairs :]]
    photos += [[] for _ in range(count - len(photos))]
    return [photos[place] for place in rng.permutation(count)]


def _describe(coco: dict, number: int, file_name: str, photo: photograph.Photograph) -> None:
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
