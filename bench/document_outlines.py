"""Measures the outlines of documents on photos that learning did not see: accuracy, robustness, look-alikes, time.

    python bench/document_outlines.py [FOLDS]

The photos are those of shared/documents/scenes beside the project. If that folder does not exist, the benchmark draws
90 specimen photos. Every fifth photo is held out, in five folds (FOLDS: only the first ones). Learning gets boxes only;
the labelled polygons are the truth. A detector's box is simulated by the labelled box with each side moved at random.
Prints Markdown tables. Uses one core; times are CPU times, so that other work on the machine does not change them.
"""

import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from io import BytesIO
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

import outlines
from ekyc import samples
from outlines import CERTAIN, Box, Outline, Outlines

PROJECT = Path(__file__).resolve().parents[1]
SCENES = PROJECT.parent / "shared" / "documents" / "scenes"
FOLDS = 5
WRONG = 0.8  # IoU below which an outline is wrong
JITTERS = (0.03, 0.06, 0.10)  # of a box's width or height
JITTER = JITTERS[0]
DRAWS = 3  # boxes of each document in the first table
DISTURBED_FOLDS = 2

Frame = tuple[float, float, float, float]
Finder = Callable[[np.ndarray, Frame, str], Outline | None]


@dataclass(frozen=True)
class Document:
    """A document in a photo: its type and its true corners (4 x 2 pixels, clockwise from its own top left)."""

    label: str
    corners: np.ndarray


@dataclass(frozen=True)
class Scene:
    """A photo (BGR) and its documents."""

    image: np.ndarray
    documents: list[Document]

    def boxes(self) -> list[Box]:
        """The label of each document: its bounding box in the photo."""
        return [Box(document.label, *visible_box(document.corners, self.image)) for document in self.documents]


def visible_box(corners: np.ndarray, image: np.ndarray) -> Frame:
    """The bounding box of the part of an outline that is in the photo."""
    size = image.shape[1::-1]
    (left, top), (right, bottom) = np.clip(corners.min(axis=0), 0, size), np.clip(corners.max(axis=0), 0, size)
    return float(left), float(top), float(right - left), float(bottom - top)


def read_scenes(folder: Path) -> list[Scene]:
    """The photos of a folder, with the polygons of its annotations.json."""
    coco = json.loads((folder / "annotations.json").read_text())
    names = {category["id"]: category["name"] for category in coco["categories"]}
    documents = defaultdict(list)
    for annotation in coco["annotations"]:
        corners = np.array(annotation["segmentation"][0], float).reshape(4, 2)
        documents[annotation["image_id"]].append(Document(names[annotation["category_id"]], corners))
    return [Scene(cv2.imread(str(folder / image["file_name"])), documents[image["id"]]) for image in coco["images"]]


def learn(scenes: Sequence[Scene], boxes: Sequence[list[Box]] | None = None) -> Outlines:
    """The outlines of scenes, from their own boxes unless other ``boxes`` are given."""
    return outlines.learn([scene.image for scene in scenes], boxes or [scene.boxes() for scene in scenes])


def jittered(box: Frame, jitter: float, random: np.random.Generator) -> Frame:
    """A box whose sides are moved by up to ``jitter`` of its width and height."""
    left, top, width, height = box
    moved = random.uniform(-jitter, jitter, 4) * [width, height, width, height]
    near, far = np.array([left, top]) + moved[:2], np.array([left + width, top + height]) + moved[2:]
    return (*near.tolist(), *(far - near).tolist())


# Other ways to cut a document out


def box_crop(_image: np.ndarray, box: Frame, _label: str) -> Outline:
    """The box itself."""
    left, top, width, height = box
    right, bottom = left + width, top + height
    return Outline(np.array([[left, top], [right, top], [right, bottom], [left, bottom]]), 1.0)


def plain_contours(image: np.ndarray, box: Frame, _label: str) -> Outline | None:
    """The largest quadrilateral of edges near the box, as in many tutorials: Canny, contours, approximation."""
    left, top, width, height = box
    margin = 0.12 * max(width, height)
    x, y = max(0, int(left - margin)), max(0, int(top - margin))
    part = image[y : int(top + height + margin), x : int(left + width + margin)]
    grey = cv2.GaussianBlur(cv2.cvtColor(part, cv2.COLOR_BGR2GRAY), (5, 5), 0)
    threshold, _ = cv2.threshold(grey, 0, 255, cv2.THRESH_OTSU)
    edges = cv2.morphologyEx(cv2.Canny(grey, threshold / 2, threshold), cv2.MORPH_CLOSE, np.ones((7, 7), np.uint8))
    contours, _ = cv2.findContours(edges, cv2.RETR_LIST, cv2.CHAIN_APPROX_SIMPLE)
    for contour in sorted(contours, key=cv2.contourArea, reverse=True)[:10]:
        hull = cv2.convexHull(contour)
        quad = cv2.approxPolyDP(hull, 0.02 * cv2.arcLength(hull, True), True)
        if len(quad) == 4 and cv2.contourArea(quad) > 0.3 * width * height:
            clockwise = quad if cv2.contourArea(quad, oriented=True) > 0 else quad[::-1]
            return Outline(clockwise.reshape(4, 2) + np.array([x, y], float), 1.0)
    return None


# Scores


@dataclass(frozen=True)
class Result:
    """What was found of a document: IoU in the photo, error of the corners in diagonals, confidence (0: nothing)."""

    iou: float
    corner_error: float
    confidence: float
    seconds: float


def overlap(one: np.ndarray, other: np.ndarray, image: np.ndarray) -> float:
    """IoU of two clockwise quadrilaterals, as far as they are in the photo."""
    height, width = image.shape[:2]
    frame = np.array([[0, 0], [width, 0], [width, height], [0, height]], float)
    shown, other_shown = clipped(one, frame), clipped(other, frame)
    common = area(clipped(shown, other_shown))
    return common / max(area(shown) + area(other_shown) - common, 1e-9)


def clipped(polygon: np.ndarray, by: np.ndarray) -> np.ndarray:
    """The part of a polygon that is inside a convex one, both clockwise (Sutherland and Hodgman's algorithm).

    cv2.intersectConvexConvex is not used because it misses parts of nearly equal polygons.
    """
    for start, end in zip(by, np.roll(by, -1, axis=0), strict=True):
        edge = end - start
        depths = [edge[0] * (point[1] - start[1]) - edge[1] * (point[0] - start[0]) for point in polygon]
        kept = []
        for n, (point, depth) in enumerate(zip(polygon, depths, strict=True)):
            if depth * depths[n - 1] < 0:
                kept.append(point + (polygon[n - 1] - point) * depth / (depth - depths[n - 1]))
            if depth >= 0:
                kept.append(point)
        polygon = np.array(kept).reshape(-1, 2)
    return polygon


def area(polygon: np.ndarray) -> float:
    """The area of a clockwise polygon in square pixels."""
    x, y = polygon.T
    return float((x * np.roll(y, -1) - y * np.roll(x, -1)).sum() / 2)


def judge(finder: Finder, image: np.ndarray, document: Document, box: Frame) -> Result:
    """Find a document and compare. The corners are compared in their own order, or for a plain quadrilateral in the
    nearest order."""
    start = time.process_time()
    found = finder(image, box, document.label)
    seconds = time.process_time() - start
    if found is None:
        return Result(0.0, np.inf, 0.0, seconds)
    turns = range(4) if finder in (box_crop, plain_contours) else (0,)
    diagonal = np.linalg.norm(document.corners[2] - document.corners[0])
    errors = [
        np.linalg.norm(np.roll(found.corners, turn, axis=0) - document.corners, axis=1).mean() / diagonal
        for turn in turns
    ]
    return Result(overlap(found.corners, document.corners, image), min(errors), found.confidence, seconds)


def judge_all(finder: Finder, scenes: Iterable[Scene], jitter: float, draws: int, seed: int) -> list[Result]:
    """The results for all documents of the scenes."""
    random = np.random.default_rng(seed)
    return [
        judge(finder, scene.image, document, jittered(visible_box(document.corners, scene.image), jitter, random))
        for scene in scenes
        for document in scene.documents
        for _ in range(draws)
    ]


HEAD = "| documents | mean IoU | 5th percentile | corner error, median | wrong | none |"
RULE = "|---:|---:|---:|---:|---:|---:|"


def row(results: list[Result]) -> str:
    """The columns of `HEAD`. ``none``: no outline, or one that is not certain. The others are of certain outlines."""
    used = [result for result in results if result.confidence >= CERTAIN]
    if not used:
        return f"| {len(results)} | | | | 0.0 % | 100.0 % |"
    overlaps = np.array([result.iou for result in used])
    error = float(np.median([result.corner_error for result in used]))
    return (
        f"| {len(results)} | {overlaps.mean():.3f} | {np.percentile(overlaps, 5):.3f} | {100 * error:.2f} % "
        f"| {100 * (overlaps < WRONG).sum() / len(results):.1f} % | {100 * (1 - len(used) / len(results)):.1f} % |"
    )


# Disturbances of a scene


def rescaled(scene: Scene, _random: np.random.Generator, long_side: int) -> Scene:
    """The photo with another size."""
    scale = long_side / max(scene.image.shape[:2])
    way = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
    image = cv2.resize(scene.image, None, fx=scale, fy=scale, interpolation=way)
    return Scene(image, [replace(document, corners=document.corners * scale) for document in scene.documents])


def cut_off(scene: Scene, random: np.random.Generator) -> Scene:
    """The photo cut so that 90 % of the first document's visible area is left, at a side drawn at random."""
    turns = int(random.integers(4))
    turned = scene
    for _ in range(turns):
        turned = quarter_turn(turned)
    corners, (height, width) = turned.documents[0].corners, turned.image.shape[:2]
    whole = np.array([[0, 0], [width, 0], [width, height], [0, height]], float)
    visible = area(clipped(corners, whole))
    for right in range(width, 0, -1):
        if area(clipped(corners, np.minimum(whole, [right, height]))) <= 0.9 * visible:
            break
    cut = Scene(np.ascontiguousarray(turned.image[:, :right]), turned.documents[:1])
    for _ in range(-turns % 4):
        cut = quarter_turn(cut)
    return cut


def quarter_turn(scene: Scene) -> Scene:
    """The photo turned clockwise by 90 degrees, without its corners' order."""
    height = scene.image.shape[0]
    return Scene(
        np.ascontiguousarray(np.rot90(scene.image, -1)),
        [
            replace(document, corners=np.stack([height - document.corners[:, 1], document.corners[:, 0]], axis=1))
            for document in scene.documents
        ],
    )


def turned(scene: Scene, random: np.random.Generator) -> Scene:
    """The photo turned by one to three quarter turns, as a camera without EXIF stores it."""
    for _ in range(int(random.integers(1, 4))):
        scene = quarter_turn(scene)
    return scene


def with_glare(scene: Scene, random: np.random.Generator) -> Scene:
    """A white spot somewhere on each document, white on about a fifth of it."""
    image = scene.image.astype(np.float32)
    y, x = np.mgrid[: image.shape[0], : image.shape[1]]
    for document in scene.documents:
        shares = random.dirichlet(np.ones(4))
        centre, radius = shares @ document.corners, 0.12 * diagonal_of(document)
        light = np.exp(-((np.hypot(x - centre[0], y - centre[1]) / radius) ** 2) * np.log(2))
        image += 400 * light[..., None]
    return replace(scene, image=np.clip(image, 0, 255).astype(np.uint8))


def with_finger(scene: Scene, random: np.random.Generator) -> Scene:
    """A finger from outside over a corner of each document, up to 15 % of the diagonal inside."""
    image = scene.image.copy()
    for document in scene.documents:
        corner = document.corners[random.integers(4)]
        inwards = document.corners.mean(axis=0) - corner
        inwards /= np.linalg.norm(inwards)
        size = diagonal_of(document)
        tip, base = corner + 0.08 * size * inwards, corner - 0.6 * size * inwards
        ends = [tuple(np.round(point).astype(int).tolist()) for point in (tip, base)]
        cv2.line(image, *ends, (118, 146, 201), max(1, round(0.14 * size)), cv2.LINE_AA)
    return replace(scene, image=image)


def diagonal_of(document: Document) -> float:
    """Its diagonal in pixels."""
    return float(np.linalg.norm(document.corners[2] - document.corners[0]))


def stored_with_exif(scene: Scene, random: np.random.Generator) -> Scene:
    """The photo stored turned and with the EXIF orientation that undoes this, as OpenCV reads it."""
    orientation = int(random.integers(1, 9))
    undo = {1: (), 2: ("flip",), 3: ("turn", "turn"), 4: ("flip", "turn", "turn"), 5: ("flip", "turn", "turn", "turn")}
    undo |= {6: ("turn", "turn", "turn"), 7: ("flip", "turn"), 8: ("turn",)}
    image = scene.image
    for step in undo[orientation]:
        image = image[:, ::-1] if step == "flip" else np.rot90(image, -1)
    exif, content = Image.Exif(), BytesIO()
    exif[0x0112] = orientation
    Image.fromarray(np.ascontiguousarray(image[..., ::-1])).save(content, "jpeg", quality=95, exif=exif)
    read = cv2.imdecode(np.frombuffer(content.getvalue(), np.uint8), cv2.IMREAD_COLOR)
    if read is None or read.shape != scene.image.shape:
        raise ValueError(f"EXIF orientation {orientation} was not undone.")
    return replace(scene, image=read)


DISTURBANCES: dict[str, Callable[[Scene, np.random.Generator], Scene]] = {
    "as it is": lambda scene, _random: scene,
    "90 % of the document in the photo": cut_off,
    "glare on the document": with_glare,
    "a finger over a corner": with_finger,
    **{f"photo of {side:,} px": partial(rescaled, long_side=side) for side in (200, 320, 1000, 2000, 4000)},
    "stored with one of the eight EXIF orientations": stored_with_exif,
    "turned by 90°, 180° or 270°, without EXIF": turned,
}


def moved_labels(scenes: Sequence[Scene]) -> list[list[Box]]:
    """Labels whose sides are off by up to 5 pixels."""
    random = np.random.default_rng(5)
    moved = []
    for scene in scenes:
        of_scene = []
        for box in scene.boxes():
            off = random.uniform(-5, 5, 4)
            width, height = box.width + off[2] - off[0], box.height + off[3] - off[1]
            of_scene.append(Box(box.label, box.left + off[0], box.top + off[1], width, height))
        moved.append(of_scene)
    return moved


def wrong_labels(scenes: Sequence[Scene]) -> list[list[Box]]:
    """Labels of which 5 % name another type."""
    random = np.random.default_rng(6)
    names = sorted({document.label for scene in scenes for document in scene.documents})
    return [
        [
            replace(box, label=str(random.choice([name for name in names if name != box.label])))
            if random.random() < 0.05
            else box
            for box in scene.boxes()
        ]
        for scene in scenes
    ]


SPOILT_LABELS = {"labels off by up to 5 px": moved_labels, "5 % of the labels name another type": wrong_labels}

# Tables


def folds_of(scenes: list[Scene], folds: int) -> Iterator[tuple[list[Scene], list[Scene]]]:
    """Training and test scenes of each fold."""
    for fold in range(folds):
        yield [scene for n, scene in enumerate(scenes) if n % FOLDS != fold], scenes[fold::FOLDS]


def print_accuracy(models: list[Outlines], tests: list[list[Scene]]) -> None:
    """The outline against the box and the contours."""
    print(f"| Crop | box off by up to {HEAD}")
    print(f"|---|---:{RULE}")
    for jitter in JITTERS:
        for name in ("outline", "box", "edges and contours"):
            results = []
            for fold, (model, scenes) in enumerate(zip(models, tests, strict=True)):
                find = partial(find_with, model)
                finder: Finder = {"outline": find, "box": box_crop}.get(name, plain_contours)
                results += judge_all(finder, scenes, jitter, DRAWS if jitter == JITTER else 1, fold)
            print(f"| {name} | {100 * jitter:.0f} % {row(results)}", flush=True)


def find_with(model: Outlines, image: np.ndarray, box: Frame, label: str) -> Outline | None:
    """`outlines.find` as a finder."""
    return outlines.find(image, box, label, model)


def print_robustness(models: list[Outlines], trainings: list[list[Scene]], tests: list[list[Scene]]) -> None:
    """The outline of disturbed photos, and of outlines learned from disturbed labels."""
    print(f"\n| Disturbance {HEAD[:-1]}| ms a photo |")
    print(f"|---{RULE}---:|")
    for name, disturb in DISTURBANCES.items():
        results = []
        for fold, (model, scenes) in enumerate(zip(models, tests, strict=True)):
            random = np.random.default_rng(fold)
            disturbed = (disturb(scene, random) for scene in scenes if scene.documents)
            results += judge_all(partial(find_with, model), disturbed, JITTER, 1, fold)
        print_with_time(name, results)
    for name, spoil in (
        ("labels off by up to 5 px", moved_labels),
        ("5 % of the labels name another type", wrong_labels),
    ):
        results = []
        for fold, (training, scenes) in enumerate(zip(trainings, tests, strict=True)):
            results += judge_all(partial(find_with, learn(training, spoil(training))), scenes, JITTER, 1, fold)
        print_with_time(name, results)


def print_with_time(name: str, results: list[Result]) -> None:
    """A row of the table of disturbances."""
    milliseconds = 1000 * np.mean([result.seconds for result in results])
    print(f"| {name} {row(results)} {milliseconds:.0f} |", flush=True)


def print_look_alikes(scenes: list[Scene], labels: list[str]) -> None:
    """Each type left out in turn: its documents must get no certain outline of another type.

    To save time, learning gets every second photo.
    """
    print("\n| Type left out | documents | certain outline of a type | most similar type | its highest confidence |")
    print("|---|---:|---:|---|---:|")
    false = total = 0
    random = np.random.default_rng(0)
    for left_out in labels:
        known = [
            replace(scene, documents=[one for one in scene.documents if one.label != left_out]) for scene in scenes[::2]
        ]
        model = learn(known)
        highest: dict[str, float] = defaultdict(float)
        count = certain = 0
        for scene in scenes:
            for document in (one for one in scene.documents if one.label == left_out):
                box = jittered(visible_box(document.corners, scene.image), JITTER, random)
                found = {label: outlines.find(scene.image, box, label, model) for label in model.types}
                best = {label: outline.confidence for label, outline in found.items() if outline is not None}
                for label, confidence in best.items():
                    highest[label] = max(highest[label], confidence)
                count, certain = count + 1, certain + (max(best.values(), default=0) >= CERTAIN)
        similar = max(highest, key=lambda label: highest[label], default="")
        share = 100 * certain / count
        print(f"| {left_out} | {count} | {share:.1f} % | {similar} | {highest[similar]:.2f} |", flush=True)
        false, total = false + certain, total + count
    print(f"| **all** | {total} | **{100 * false / total:.1f} %** | | |")


def print_boxes_without_document(model: Outlines, scenes: list[Scene]) -> None:
    """Boxes at places without a document, asked for every type."""
    random = np.random.default_rng(0)
    asked = certain = 0
    for scene in scenes:
        height, width = scene.image.shape[:2]
        taken = [np.concatenate([one.corners.min(axis=0), one.corners.max(axis=0)]) for one in scene.documents]
        for label in model.types:
            near = random.uniform(0, 0.6, 2) * [width, height]
            size = random.uniform(0.2, 0.4, 2) * [width, height]
            if any(np.all(near < box[2:]) and np.all(near + size > box[:2]) for box in taken):
                continue
            found = outlines.find(scene.image, (*near.tolist(), *size.tolist()), label, model)
            asked, certain = asked + 1, certain + (found is not None and found.confidence >= CERTAIN)
    print(f"\nOf {asked} boxes beside the documents, {certain} got a certain outline.", flush=True)


# VmHWM, as ru_maxrss includes the parent's memory.
ONE_FIND = """
import re, sys
import cv2
import outlines
from pathlib import Path
cv2.setNumThreads(1)
model = outlines.load(Path(sys.argv[1]).read_bytes())
image = cv2.imread(sys.argv[2])
outlines.find(image, tuple(map(float, sys.argv[4:])), sys.argv[3], model)
print(int(re.search(r"VmHWM:\\s+(\\d+) kB", Path("/proc/self/status").read_text())[1]) // 1024)
"""


def print_costs(model: Outlines, seconds: list[float], scene: Scene) -> None:
    """Learning time, size of the file, and the memory of a process that finds one outline in a photo of 4,000 px."""
    content = outlines.save(model)
    large = rescaled(scene, np.random.default_rng(0), 4000)
    document = large.documents[0]
    with tempfile.TemporaryDirectory(prefix="ekyc-bench-") as folder:
        (Path(folder) / "model").write_bytes(content)
        cv2.imwrite(f"{folder}/photo.jpg", large.image)
        box = map(str, visible_box(document.corners, large.image))
        command = [sys.executable, "-c", ONE_FIND, f"{folder}/model", f"{folder}/photo.jpg", document.label, *box]
        environment = os.environ | {"PYTHONPATH": str(PROJECT / "lambdas")}
        run = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)  # noqa: S603
    print("\n| Costs | |\n|---|---:|")
    print(f"| learning from {FOLDS - 1} of {FOLDS} folds, CPU s | {np.mean(seconds):.0f} |")
    print(f"| file, MB a type | {len(content) / len(model.types) / 1e6:.2f} |")
    print(f"| a process that reads a photo of 4,000 px and finds an outline, MB | {run.stdout.strip()} |")
    print(f"| this benchmark with learning, MB | {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024} |")


def main(folder: Path, folds: int) -> None:
    """Print all tables."""
    scenes = read_scenes(folder)
    labels = sorted({document.label for scene in scenes for document in scene.documents})
    documents = sum(len(scene.documents) for scene in scenes)
    print(
        f"{len(scenes)} photos, {documents} documents of {len(labels)} types, {folds} folds of {FOLDS}, "
        f"OpenCV {cv2.__version__}\n"
    )
    trainings, tests, models, seconds = [], [], [], []
    for training, test in folds_of(scenes, folds):
        start = time.process_time()
        models.append(learn(training))
        seconds.append(time.process_time() - start)
        trainings.append(training)
        tests.append(test)
    print_accuracy(models, tests)
    print_costs(models[0], seconds, next(scene for scene in tests[0] if scene.documents))
    print_boxes_without_document(models[0], tests[0])
    disturbed = slice(DISTURBED_FOLDS)
    print_robustness(models[disturbed], trainings[disturbed], tests[disturbed])
    print_look_alikes(scenes, labels)


if __name__ == "__main__":
    cv2.setNumThreads(1)
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, [min(os.sched_getaffinity(0))])
    folds = int(sys.argv[1]) if len(sys.argv) > 1 else FOLDS
    if SCENES.is_dir():
        main(SCENES, folds)
    else:
        with tempfile.TemporaryDirectory(prefix="ekyc-bench-") as drawn:
            samples.write(Path(drawn), 90, seed=0)
            main(Path(drawn), folds)
