"""Measures how early the review queue has labels with planted errors. Prints a Markdown table.

    python bench/review_queue.py

Labels are the boxes of shared/documents/scenes beside the project, or of 200 specimen photos if that folder does not
exist. Each is moved and resized at random by up to 1 % of its width and height, as people do. In 5 % of the photos an
error is planted: another type; a box that is moved and resized by 30 to 60 %; a missing box; an additional box. A row
is the share of these errors in the first 10 % of the queue, over `ROUNDS` rounds. The live model is the local detector,
trained on four fifths of the photos with correct labels; it has not seen the fifth in which it finds boxes.
"""

import random
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

import cv2

PROJECT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(PROJECT), str(PROJECT / "bench"), str(PROJECT / "lambdas")]

from detector import MIN_CONFIDENCE, SCENES, read_photos  # noqa: E402 - needs the path above

from ekyc import samples  # noqa: E402 - needs the path above
from ekyc.localaws.services.detector import LabelledPhoto, train  # noqa: E402 - needs the path above
from rules.consolidation import DrawnBox, consolidate  # noqa: E402 - needs the path above
from rules.doubts import Given, doubts  # noqa: E402 - needs the path above

ERRORS, QUEUE = 0.05, 0.1
ROUNDS, FOLDS = 50, 5
KINDS = ("wrong type", "wrong box", "missing box", "additional box")
SPECIMENS = 200

Boxes = list[DrawnBox]


class Scene:
    """A photo with the boxes of its documents, and those that the live model finds."""

    def __init__(self, photo: LabelledPhoto) -> None:
        self.height, self.width = cv2.imread(str(photo.path)).shape[:2]
        self.truth = [self.box(box.label, box.left, box.top, box.width, box.height) for box in photo.boxes]
        self.found: Boxes = []

    def box(self, label: str, left: float, top: float, width: float, height: float) -> DrawnBox:
        """The part of the box that is inside the photo, in whole pixels."""
        x, y = (round(min(max(0, start), size - 8)) for start, size in ((left, self.width), (top, self.height)))
        right, bottom = round(min(left + width, self.width)), round(min(top + height, self.height))
        return DrawnBox(label, x, y, max(8, right - x), max(8, bottom - y))

    def drawn(self, hand: random.Random) -> Boxes:
        """The boxes as a careful person draws them."""
        return [self.moved(box, lambda: hand.uniform(-0.01, 0.01)) for box in self.truth]

    def moved(self, box: DrawnBox, part: Callable[[], float]) -> DrawnBox:
        """The box with its corners moved by parts of its width and height."""
        left, top = box.left + part() * box.width, box.top + part() * box.height
        width, height = box.width * (1 + part()), box.height * (1 + part())
        return self.box(box.label, left, top, width, height)


def plant(kind: str, scene: Scene, boxes: Boxes, types: Sequence[str], hand: random.Random) -> Boxes:
    """The boxes with an error of this kind in the first of them."""
    first, *rest = boxes
    if kind == "wrong type":
        return [first._replace(label=hand.choice([name for name in types if name != first.label])), *rest]
    if kind == "wrong box":
        return [scene.moved(first, lambda: hand.choice((-1, 1)) * hand.uniform(0.3, 0.6)), *rest]
    if kind == "missing box":
        return rest
    width, height = (size * hand.uniform(0.2, 0.6) for size in (scene.width, scene.height))
    left, top = hand.uniform(0, scene.width - width), hand.uniform(0, scene.height - height)
    return [*boxes, scene.box(hand.choice(types), left, top, width, height)]


def read(folder: Path) -> list[Scene]:
    """The photos with what the live model finds in them."""
    photos = read_photos(folder)
    scenes = [Scene(photo) for photo in photos]
    for fold in range(FOLDS):
        detector = train([photo for number, photo in enumerate(photos) if number % FOLDS != fold])
        for photo, scene in list(zip(photos, scenes, strict=True))[fold::FOLDS]:
            certain = [box for box in detector.detect(cv2.imread(str(photo.path))) if box.confidence >= MIN_CONFIDENCE]
            scene.found = [scene.box(box.label, box.left, box.top, box.width, box.height) for box in certain]
    return scenes


def early(scenes: Sequence[Scene], seed: int, people: int, has_model: bool) -> tuple[Counter[str], Counter[str]]:
    """Plant errors in the first person's labels: how many of each kind, and how many are early in the queue."""
    hand = random.Random(seed)  # noqa: S311 - not for secrets
    types = sorted({box.label for scene in scenes for box in scene.truth})
    answers = [[scene.drawn(hand) for _ in range(people)] for scene in scenes]
    planted: dict[int, str] = {}
    for place in hand.sample([place for place, scene in enumerate(scenes) if scene.truth], round(ERRORS * len(scenes))):
        planted[place] = kind = KINDS[len(planted) % len(KINDS)]
        answers[place][0] = plant(kind, scenes[place], answers[place][0], types, hand)
    photos = [
        Given(
            scene.width,
            scene.height,
            [box for box, _ in consolidate(given)],
            given,
            scene.found if has_model else None,
        )
        for scene, given in zip(scenes, answers, strict=True)
    ]
    scores = [doubt.score for doubt in doubts(photos)]
    queue = sorted(range(len(scenes)), key=lambda place: (-scores[place], place))[: round(QUEUE * len(scenes))]
    return Counter(planted.values()), Counter(planted[place] for place in queue if place in planted)


SITUATIONS = {
    "one person": (1, False),
    "one person and a live model": (1, True),
    "two people": (2, False),
    "two people and a live model": (2, True),
}


def main(folder: Path) -> None:
    scenes = read(folder)
    there: Counter[tuple[str, str]] = Counter()
    found: Counter[tuple[str, str]] = Counter()
    for name, situation in SITUATIONS.items():
        for seed in range(ROUNDS):
            for total, counted in zip((there, found), early(scenes, seed, *situation), strict=True):
                for kind, number in counted.items():
                    total.update({(kind, name): number, ("all", name): number})
    print(f"{len(scenes)} photos, {round(ERRORS * len(scenes))} errors in each of {ROUNDS} rounds\n")
    print(f"| planted error | {' | '.join(SITUATIONS)} |\n|---|{'---:|' * len(SITUATIONS)}")
    for kind in (*KINDS, "all"):
        print(f"| {kind} | {' | '.join(f'{found[kind, name] / there[kind, name]:.1%}' for name in SITUATIONS)} |")


if __name__ == "__main__":
    if SCENES.is_dir():
        main(SCENES)
    else:
        with tempfile.TemporaryDirectory(prefix="ekyc-bench-") as drawn:
            samples.write(Path(drawn), SPECIMENS, seed=0)
            main(Path(drawn))
