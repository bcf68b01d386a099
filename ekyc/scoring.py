"""Scores detections against ground truth: precision, recall, F1 and mean IoU by document type."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Self

from rules.geometry import Frame, overlap

SAME_DOCUMENT_IOU = 0.5


@dataclass
class Score:
    """Counts of wrong and missed detections, and the IoU of each correct detection."""

    wrong: int = 0
    missed: int = 0
    overlaps: list[float] = field(default_factory=list)

    @property
    def precision(self) -> float:
        """The share of detections that are correct; 1 if nothing was detected."""
        detected = len(self.overlaps) + self.wrong
        return len(self.overlaps) / detected if detected else 1.0

    @property
    def recall(self) -> float:
        """The share of documents that were detected; 1 if there are no documents."""
        documents = len(self.overlaps) + self.missed
        return len(self.overlaps) / documents if documents else 1.0

    @property
    def f1(self) -> float:
        """The harmonic mean of precision and recall."""
        total = self.precision + self.recall
        return 2 * self.precision * self.recall / total if total else 0.0

    @property
    def mean_iou(self) -> float:
        """The mean IoU of the correct detections; 0 if there are none."""
        return sum(self.overlaps) / len(self.overlaps) if self.overlaps else 0.0

    def __add__(self, other: Self) -> "Score":
        return Score(self.wrong + other.wrong, self.missed + other.missed, self.overlaps + other.overlaps)


def score(photos: Iterable[tuple[Sequence[tuple[str, Frame]], Sequence[tuple[str, Frame]]]]) -> dict[str, Score]:
    """The score of each document type.

    ``photos`` yields a pair for each photo: its documents, and its detections in descending order of confidence. Both
    are (type, box). A detection is correct if an unmatched document of its type overlaps it with IoU >= 0.5.
    """
    scores: dict[str, Score] = defaultdict(Score)
    for documents, detections in photos:
        unmatched = list(documents)
        for label, box in detections:
            candidates = [
                (overlap(box, truth), place) for place, (name, truth) in enumerate(unmatched) if name == label
            ]
            best, place = max(candidates, default=(0.0, -1))
            if best >= SAME_DOCUMENT_IOU:
                scores[label].overlaps.append(best)
                unmatched.pop(place)
            else:
                scores[label].wrong += 1
        for label, _ in unmatched:
            scores[label].missed += 1
    return dict(sorted(scores.items()))
