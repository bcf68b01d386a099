"""Measures how well photos of the same shot are found, and how long it takes; prints two Markdown tables.

    python bench/groups.py [PHOTOS]

The first table: a job has 200 specimen photos (and the scenes of shared/documents, if that folder is beside the
project), a leak of each kind from each photo, and each photo with another document of its type in the same place.
The second table: a job of PHOTOS photos, a fifth of them in bursts of three. The small grey copies are mixtures of
three specimen photos, so that some hundred thousand pairs look similar at first. Times are processor times of one core.
"""

import io
import json
import re
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from unittest.mock import patch

import numpy as np
from PIL import Image

PROJECT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(PROJECT), str(PROJECT / "lambdas")]

from pipeline.photos import GREY_SIDE, groups  # noqa: E402 - needs the path above
from pipeline.photos.decoding import look  # noqa: E402 - needs the path above
from pipeline.photos.prints import fingerprint  # noqa: E402 - needs the path above
from tests.unit.photo_leaks import LEAKS, leak, two_on_one_table, with_another  # noqa: E402 - needs the path above

SCENES = PROJECT.parent / "shared" / "documents" / "scenes"
SPECIMENS, SOURCES = 200, 64
BURST, IN_BURSTS = 3, 0.2
ANOTHER = "another document in its place"


def specimens(count: int) -> Iterator[tuple[bytes, bytes | None]]:
    """Photos, each with the same photo of another document."""
    for number in range(count):
        yield two_on_one_table(number)


def scenes() -> Iterator[tuple[bytes, bytes | None]]:
    """The shared scenes, each with the same scene with the document of another scene, or None."""
    if not SCENES.is_dir():
        return
    coco = json.loads((SCENES / "annotations.json").read_text())
    files = {image["id"]: (SCENES / image["file_name"]).read_bytes() for image in coco["images"]}
    shown = {one["image_id"]: one for one in coco["annotations"]}
    of_type = defaultdict(list)
    for one in coco["annotations"]:
        of_type[one["category_id"]].append(one)
    random = np.random.default_rng(0)
    for image, photo in files.items():
        own = shown.get(image)
        others = [one for one in of_type[own["category_id"]] if one is not own] if own else []
        other = others[random.integers(len(others))] if others else None
        yield (
            photo,
            with_another(photo, corners(own), files[other["image_id"]], corners(other)) if own and other else None,
        )


def corners(annotation: dict) -> np.ndarray:
    return np.array(annotation["segmentation"][0]).reshape(4, 2)


def grey_of(photo: bytes) -> bytes:
    return look(photo)[2]


def opened(grey: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(grey)))


@dataclass
class Found:
    """For each kind of leak, the number of photos, and how many of them are in the group of their origin."""

    there: Counter[str] = field(default_factory=Counter)
    joined: Counter[str] = field(default_factory=Counter)
    strangers: int = 0


def find(bases: Iterator[tuple[bytes, bytes | None]]) -> Found:
    """Add the leaks of each photo, and group all photos."""
    origins, kinds, greys = [], [], []
    for number, (photo, other) in enumerate(bases):
        planted = {
            "": photo,
            **{kind: leak(kind, photo, number) for kind in LEAKS},
            **({ANOTHER: other} if other else {}),
        }
        for kind, content in planted.items():
            origins.append(number)
            kinds.append(kind)
            greys.append(grey_of(content))
    first_of = {origin: place for place, (origin, kind) in enumerate(zip(origins, kinds, strict=True)) if not kind}
    prints = np.stack([fingerprint(opened(grey)) for grey in greys]) if greys else np.zeros((0, 11, 63), np.int8)
    in_group = groups.group(prints, lambda place: opened(greys[place]), [None] * len(greys))
    found = Found()
    for place, (origin, kind) in enumerate(zip(origins, kinds, strict=True)):
        found.strangers += origins[in_group[place]] != origin
        if kind:
            found.there[kind] += 1
            found.joined[kind] += in_group[place] == in_group[first_of[origin]]
    return found


def accuracy() -> None:
    sets = {"specimens": find(specimens(SPECIMENS)), "shared scenes": find(scenes())}
    print("| Photo | " + " | ".join(f"{name}, grouped" for name in sets) + " |\n| --- |" + " ---: |" * len(sets))
    for kind in [*LEAKS, ANOTHER]:
        shares = (
            f"{found.joined[kind] / found.there[kind]:.1%}" if found.there[kind] else "" for found in sets.values()
        )
        print(f"| {kind} | " + " | ".join(shares) + " |")
    for name, found in sets.items():
        leaks = sum(found.there[kind] for kind in LEAKS)
        if leaks:
            joined = sum(found.joined[kind] for kind in LEAKS)
            wrong = found.joined[ANOTHER] / (joined + found.joined[ANOTHER])
            print(
                f"\n{name}: {joined / leaks:.1%} of {leaks:,} leaks found; {wrong:.2%} of the pairs that are grouped "
                f"show another document; {found.strangers} photos are in a group of another scene."
            )


class Mixed:
    """Small grey copies, each mixed from three others, so that many fit in memory."""

    def __init__(self, count: int) -> None:
        pictures = [opened(grey_of(photo)).astype(np.float32) for photo, _ in specimens(SOURCES)]
        random = np.random.default_rng(2)
        self._sources = np.stack(
            [
                np.roll(picture[::upside, ::across], tuple(random.integers(GREY_SIDE, size=2)), (0, 1))
                for picture in pictures
                for upside in (1, -1)
                for across in (1, -1)
                for _ in range(4)
            ]
        )
        shots = np.arange(count)
        bursts = shots % round(BURST / IN_BURSTS) < BURST
        shots[bursts] -= shots[bursts] % round(BURST / IN_BURSTS)
        self._of = random.integers(len(self._sources), size=(count, 3))[shots]
        self._shares = random.dirichlet((4, 4, 4), size=count).astype(np.float32)[shots]

    def grey(self, place: int) -> np.ndarray:
        picture = np.tensordot(self._shares[place], self._sources[self._of[place]], 1)
        noise = np.random.default_rng(place).integers(-3, 4, picture.shape)
        return (picture + noise).clip(0, 255).astype(np.uint8)

    def fingerprints(self) -> np.ndarray:
        return np.stack([fingerprint(self.grey(place)) for place in range(len(self._of))])


def peak_mb() -> float:
    [peak] = re.findall(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())
    return int(peak) / 1024


def scale(count: int) -> None:
    photos = Mixed(count)
    prints = photos.fingerprints()
    asked, in_grey, looked_up, pairs = 0, 0.0, 0.0, 0
    candidates = groups.candidates

    def timed(prints: np.ndarray) -> groups.Pairs:
        nonlocal looked_up, pairs
        began = time.process_time()
        found = candidates(prints)
        looked_up, pairs = time.process_time() - began, len(found.first)
        return found

    def grey(place: int) -> np.ndarray:
        nonlocal asked, in_grey
        began = time.process_time()
        made = photos.grey(place)
        asked, in_grey = asked + 1, in_grey + time.process_time() - began
        return made

    started = time.process_time()
    with patch.object(groups, "candidates", timed):
        in_group = groups.group(prints, grey, [None] * count)
    grouped = time.process_time() - started - in_grey
    sizes = Counter(Counter(in_group).values())
    head = (
        "Photos",
        "pairs found",
        "compared",
        "lookup, s",
        "all, s",
        "groups of 3, planted",
        "found",
        "largest group",
        "MB",
    )
    row = (
        *(f"{count:,}", f"{pairs:,}", f"{asked // 2:,}", f"{looked_up:.0f}", f"{grouped:.0f}"),
        *(f"{count // round(BURST / IN_BURSTS):,}", f"{sizes[BURST]:,}", max(sizes), f"{peak_mb():.0f}"),
    )
    print(f"| {' | '.join(head)} |\n|{' ---: |' * len(head)}\n| {' | '.join(map(str, row))} |")


def main(count: int) -> None:
    accuracy()
    print()
    scale(count)


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 250_000)
