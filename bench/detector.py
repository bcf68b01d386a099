"""Measures the local detector with few training photos: training time, speed, and accuracy on held-out photos.

    python bench/detector.py [FOLDER [PHOTOS_PER_TYPE ...]]

FOLDER contains annotations.json (COCO) and its photos. The default is shared/documents/scenes beside the project. If
that folder does not exist, the benchmark draws 90 specimen photos. Every fifth photo is held out. Training gets 3, 5,
10 and 20 of the other photos per type (fewer if there are not enough), and all other photos without a document.
Detections with a confidence below 0.5 are ignored. Prints a Markdown table and draws build/bench/detector.svg.
"""

import json
import os
import sys
import tempfile
import time
from collections import Counter, defaultdict
from dataclasses import dataclass
from pathlib import Path

import cv2
from matplotlib import pyplot

from ekyc import samples
from ekyc.localaws.services.detector import Box, Detector, LabelledPhoto, train
from ekyc.scoring import Score, score

MIN_CONFIDENCE = 0.5
PROJECT = Path(__file__).resolve().parents[1]
SCENES = PROJECT.parent / "shared" / "documents" / "scenes"
PLOT = PROJECT / "build" / "bench" / "detector.svg"


def read_photos(folder: Path) -> list[LabelledPhoto]:
    """The photos of a folder with the boxes of its annotations.json, in the file's order."""
    coco = json.loads((folder / "annotations.json").read_text())
    names = {category["id"]: category["name"] for category in coco["categories"]}
    boxes = defaultdict(list)
    for annotation in coco["annotations"]:
        boxes[annotation["image_id"]].append(Box(names[annotation["category_id"]], *annotation["bbox"]))
    return [LabelledPhoto(folder / image["file_name"], boxes[image["id"]]) for image in coco["images"]]


def few_per_type(photos: list[LabelledPhoto], count: int) -> list[LabelledPhoto]:
    """All photos without a document, and photos of each type until it appears ``count`` times."""
    taken: Counter[str] = Counter()
    chosen = []
    for photo in photos:
        labels = [box.label for box in photo.boxes]
        if not labels or any(taken[label] < count for label in labels):
            chosen.append(photo)
            taken.update(labels)
    return chosen


def measure(detector: Detector, photos: list[LabelledPhoto]) -> tuple[float, Score]:
    """Seconds per photo, and the score over all types."""
    seconds = 0.0
    pairs = []
    for photo in photos:
        image = cv2.imread(str(photo.path))
        start = time.perf_counter()
        detections = detector.detect(image)
        seconds += time.perf_counter() - start
        truth = [(box.label, (box.left, box.top, box.width, box.height)) for box in photo.boxes]
        certain = [box for box in detections if box.confidence >= MIN_CONFIDENCE]
        pairs.append((truth, [(box.label, (box.left, box.top, box.width, box.height)) for box in certain]))
    return seconds / len(photos), sum(score(pairs).values(), Score())


@dataclass(frozen=True)
class Point:
    """The detector's scores with a number of training photos per type."""

    per_type: int
    f1: float
    iou: float


def plot(points: list[Point], held_out: int) -> None:
    """Draw F1 and IoU over the number of training photos per type into the file `PLOT`."""
    figure, axes = pyplot.subplots(figsize=(6.4, 3.6), layout="constrained")
    per_type = [str(point.per_type) for point in points]
    axes.plot(per_type, [point.f1 for point in points], "o-", label="F1")
    axes.plot(per_type, [point.iou for point in points], "s--", label="mean IoU")
    axes.set_ylim(top=1)
    axes.set(xlabel="training photos per type", title=f"Local detector on {held_out} photos that training did not see")
    axes.grid(axis="y", alpha=0.3)
    axes.legend()
    PLOT.parent.mkdir(parents=True, exist_ok=True)
    with pyplot.rc_context({"svg.fonttype": "none", "svg.hashsalt": "detector"}):
        figure.savefig(PLOT, metadata={"Date": None})


def main(folder: Path, counts: list[int]) -> None:
    """Print a row for each number of training photos per type, and draw the plot."""
    photos = read_photos(folder)
    training = [photo for number, photo in enumerate(photos) if number % 5]
    held_out = photos[::5]
    print(f"{len(held_out)} of {len(photos)} photos held out; {os.cpu_count()} cores, OpenCV {cv2.__version__}\n")
    print("| photos per type | training photos | training s | ms a photo | F1 | mean IoU |")
    print("|---:|---:|---:|---:|---:|---:|")
    points = []
    for count in counts:
        chosen = few_per_type(training, count)
        start = time.perf_counter()
        detector = train(chosen)
        training_seconds = time.perf_counter() - start
        per_photo, figures = measure(detector, held_out)
        print(
            f"| {count} | {len(chosen)} | {training_seconds:.1f} | {1000 * per_photo:.0f} "
            f"| {figures.f1:.3f} | {figures.mean_iou:.3f} |",
            flush=True,
        )
        points.append(Point(count, figures.f1, figures.mean_iou))
    plot(points, len(held_out))


if __name__ == "__main__":
    counts = [int(count) for count in sys.argv[2:]] or [3, 5, 10, 20]
    if len(sys.argv) > 1 or SCENES.is_dir():
        main(Path(sys.argv[1]) if len(sys.argv) > 1 else SCENES, counts)
    else:
        with tempfile.TemporaryDirectory(prefix="ekyc-bench-") as drawn:
            samples.write(Path(drawn), 90, seed=0)
            main(Path(drawn), counts)
