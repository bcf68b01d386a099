"""How the detector learns from few photos: time, speed and accuracy on photos that training did not see.

    python bench/detector.py [FOLDER [PHOTOS_PER_TYPE ...]]

FOLDER holds annotations.json (COCO) and its photos; without one, it is shared/documents/scenes beside the project, and
where that is not, 90 specimen photos are drawn. Every fifth photo is held out; training gets 3, 5, 10 and 20 of the
others per type (fewer where there are not as many), and all those without a document. A detection counts from
confidence 0.5. Prints a Markdown table and draws it as build/bench/detector.svg.
"""

import json
import math
import os
import sys
import tempfile
import time
from collections import Counter, defaultdict
from dataclasses import dataclass
from pathlib import Path

import cv2

from ekyc import samples
from ekyc.localaws.detector import Box, Detector, LabelledPhoto, train
from ekyc.scoring import Score, score

MIN_CONFIDENCE = 0.5
PROJECT = Path(__file__).resolve().parents[1]
SCENES = PROJECT.parent / "shared" / "documents" / "scenes"
PLOT = PROJECT / "build" / "bench" / "detector.svg"

# In pixels: the picture, and the frame of the curves in it.
WIDTH, HEIGHT = 640, 360
LEFT, TOP, RIGHT, BOTTOM = 60, 50, 500, 300
STYLE = """
  text { font: 14px sans-serif; fill: #24292f } .grid { stroke: #d0d7de } .curve { fill: none; stroke-width: 2.5 }
  .f1 { stroke: #0969da } .iou { stroke: #bc4c00; stroke-dasharray: 7 4 } text.f1 { fill: #0969da; stroke: none }
  text.iou { fill: #bc4c00; stroke: none } .ms { text-anchor: middle }
  @media (prefers-color-scheme: dark) {
    text { fill: #e6edf3 } .grid { stroke: #3d444d } .f1 { stroke: #58a6ff } .iou { stroke: #f0883e }
    text.f1 { fill: #58a6ff } text.iou { fill: #f0883e }
  }
"""


def read_photos(folder: Path) -> list[LabelledPhoto]:
    """The photos of a folder with the boxes of its annotations.json, in the file's order."""
    coco = json.loads((folder / "annotations.json").read_text())
    names = {category["id"]: category["name"] for category in coco["categories"]}
    boxes = defaultdict(list)
    for annotation in coco["annotations"]:
        boxes[annotation["image_id"]].append(Box(names[annotation["category_id"]], *annotation["bbox"]))
    return [LabelledPhoto(folder / image["file_name"], boxes[image["id"]]) for image in coco["images"]]


def few_per_type(photos: list[LabelledPhoto], count: int) -> list[LabelledPhoto]:
    """The photos without a document, and others until every type has so many."""
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
    found = []
    for photo in photos:
        image = cv2.imread(str(photo.path))
        start = time.perf_counter()
        detections = detector.detect(image)
        seconds += time.perf_counter() - start
        truth = [(box.label, (box.left, box.top, box.width, box.height)) for box in photo.boxes]
        certain = [one for one in detections if one.confidence >= MIN_CONFIDENCE]
        found.append((truth, [(one.label, (one.left, one.top, one.width, one.height)) for one in certain]))
    return seconds / len(photos), sum(score(found).values(), Score())


@dataclass(frozen=True)
class Point:
    """What the detector did with so many training photos per type."""

    per_type: int
    f1: float
    iou: float


def plot(points: list[Point], held_out: int) -> str:
    """F1 and IoU against the training photos per type as an SVG, for light and dark pages alike."""
    step = (RIGHT - LEFT) / max(1, len(points) - 1)
    places = [LEFT + step * number for number in range(len(points))]

    lowest = min(0.9, *(math.floor(10 * min(point.f1, point.iou)) / 10 for point in points))

    def height(value: float) -> float:
        return BOTTOM - (value - lowest) / (1 - lowest) * (BOTTOM - TOP)

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" '
        f'aria-label="F1 and mean IoU by training photos per type"><style>{STYLE}</style>',
        f'<text x="{LEFT}" y="25">Local detector on {held_out} photos that training did not see</text>',
    ]
    for number in range(6):
        value = lowest + (1 - lowest) * number / 5
        y = height(value)
        parts.append(f'<path class="grid" d="M{LEFT} {y:.1f}H{RIGHT}"/>')
        parts.append(f'<text x="{LEFT - 42}" y="{y + 5:.1f}">{value:.2f}</text>')
    for x, point in zip(places, points, strict=True):
        parts.append(f'<text class="ms" x="{x:.1f}" y="{BOTTOM + 22}">{point.per_type}</text>')
    parts.append(f'<text class="ms" x="{(LEFT + RIGHT) / 2}" y="{BOTTOM + 45}">training photos per type</text>')
    curves = {"f1": ("F1", [point.f1 for point in points]), "iou": ("mean IoU", [point.iou for point in points])}
    for name, (title, values) in curves.items():
        line = " ".join(f"{x:.1f},{height(value):.1f}" for x, value in zip(places, values, strict=True))
        parts.append(f'<polyline class="curve {name}" points="{line}"/>')
        # The two names stay apart, however near their curves end.
        others = [theirs[-1] for key, (_, theirs) in curves.items() if key != name]
        below = values[-1] < others[0]
        y = height(values[-1]) + (14 if below else -4)
        parts.append(f'<text class="{name}" x="{RIGHT + 8}" y="{y:.1f}">{title} {values[-1]:.3f}</text>')
    return "\n".join([*parts, "</svg>\n"])


def main(folder: Path, counts: list[int]) -> None:
    """Print a row for each number of training photos per type, and draw them."""
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
    PLOT.parent.mkdir(parents=True, exist_ok=True)
    PLOT.write_text(plot(points, len(held_out)), encoding="utf-8")


if __name__ == "__main__":
    counts = [int(count) for count in sys.argv[2:]] or [3, 5, 10, 20]
    if len(sys.argv) > 1 or SCENES.is_dir():
        main(Path(sys.argv[1]) if len(sys.argv) > 1 else SCENES, counts)
    else:
        with tempfile.TemporaryDirectory(prefix="ekyc-bench-") as drawn:
            samples.write(Path(drawn), 90, seed=0)
            main(Path(drawn), counts)
