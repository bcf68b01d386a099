"""How doubtful the labels of photos are, so that reviewers look at the most doubtful ones first.

The labels are doubtful if the people disagree, if the live model contradicts them, or if a box has an unusual shape or
size for its type. A photo that everybody skipped is doubtful too.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import log
from statistics import median
from typing import NamedTuple

from rules.consolidation import DrawnBox, agreement

WEIGHTS: Mapping[str, float] = {"disagreement": 1.0, "model": 1.0, "shape": 0.6, "skipped": 0.5}
"""How much each doubt, from 0 to 1, counts."""
FEWEST_OF_A_TYPE = 5
"""With fewer boxes of a type, no shape is unusual."""
USUAL = 3.0
"""Deviations from the median up to which a shape is usual. A box at twice that is fully doubtful."""
LEAST_DEVIATION = 0.05
"""The deviation of a type whose boxes are nearly equal, in the logarithm of side ratio and area."""


class Given(NamedTuple):
    """What is known about a photo: the merged boxes (None if everybody skipped it), all answers, and the model's boxes.

    ``proposed`` is None if the model has not looked at the photo.
    """

    width: int
    height: int
    merged: Sequence[DrawnBox] | None
    answers: Sequence[Sequence[DrawnBox]]
    proposed: Sequence[DrawnBox] | None


@dataclass(frozen=True)
class Doubt:
    """The doubts about a photo, each from 0 to 1, by kind; without those that are 0."""

    kinds: Mapping[str, float] = field(default_factory=dict)

    @property
    def score(self) -> float:
        """The weighted sum."""
        return sum(WEIGHTS[kind] * doubt for kind, doubt in self.kinds.items())


class _Usual(NamedTuple):
    """The median of a measure of a type's boxes, and the median deviation from it."""

    middle: float
    deviation: float

    def distance(self, value: float) -> float:
        """How many deviations ``value`` is away."""
        return abs(value - self.middle) / self.deviation


def doubts(photos: Sequence[Given]) -> list[Doubt]:
    """The doubts about each photo, in the order of ``photos``."""
    usual = _usual_shapes(photos)
    return [_doubt(photo, usual) for photo in photos]


def _doubt(photo: Given, usual: Mapping[str, tuple[_Usual, _Usual]]) -> Doubt:
    if photo.merged is None:
        return Doubt({"skipped": 1.0})
    merged = photo.merged
    kinds = {
        "disagreement": max((1 - agreement(merged, answer) for answer in photo.answers), default=0.0),
        "model": 1 - agreement(merged, photo.proposed) if photo.proposed is not None else 0.0,
        "shape": max((_strangeness(box, photo, usual) for box in merged), default=0.0),
    }
    return Doubt({kind: round(value, 4) for kind, value in kinds.items() if value > 0.0})


def _strangeness(box: DrawnBox, photo: Given, usual: Mapping[str, tuple[_Usual, _Usual]]) -> float:
    """How unusual side ratio and area of the box are for its type, 0..1."""
    if box.label not in usual:
        return 0.0
    furthest = max(known.distance(value) for known, value in zip(usual[box.label], _measures(box, photo), strict=True))
    return min(1.0, max(0.0, furthest / USUAL - 1))


def _measures(box: DrawnBox, photo: Given) -> tuple[float, float]:
    return log(box.width / box.height), log(box.width * box.height / (photo.width * photo.height))


def _usual_shapes(photos: Sequence[Given]) -> dict[str, tuple[_Usual, _Usual]]:
    by_type: dict[str, list[tuple[float, float]]] = {}
    for photo in photos:
        for box in photo.merged or ():
            by_type.setdefault(box.label, []).append(_measures(box, photo))
    return {
        label: (_usual([ratio for ratio, _ in boxes]), _usual([area for _, area in boxes]))
        for label, boxes in by_type.items()
        if len(boxes) >= FEWEST_OF_A_TYPE
    }


def _usual(values: Sequence[float]) -> _Usual:
    middle = median(values)
    return _Usual(middle, max(LEAST_DEVIATION, median(abs(value - middle) for value in values)))
