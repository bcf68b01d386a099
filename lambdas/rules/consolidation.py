"""Merges the boxes that several people drew in one photo, and measures how far they agree."""

from collections.abc import Sequence
from statistics import fmean
from typing import NamedTuple

from rules.geometry import overlap

# Boxes are merged by their Jaccard index (IoU). Source: Ground Truth guide, "Annotation consolidation".
SAME_BOX_IOU = 0.5


class DrawnBox(NamedTuple):
    """A box drawn by a person, in pixels of the photo."""

    label: str
    left: int
    top: int
    width: int
    height: int


def consolidate(answers: Sequence[Sequence[DrawnBox]]) -> list[tuple[DrawnBox, float]]:
    """Merge the boxes of several people in one photo. Returns boxes with mean edges and a confidence 0..1.

    A box counts if at least half of the people drew it. With one person, the confidence is 0, as in Ground Truth.
    """
    clusters: list[list[DrawnBox]] = []
    for box in (box for answer in answers for box in answer):
        near = [
            cluster
            for cluster in clusters
            if cluster[0].label == box.label and overlap(cluster[0][1:], box[1:]) > SAME_BOX_IOU
        ]
        if near:
            max(near, key=lambda cluster: overlap(cluster[0][1:], box[1:])).append(box)
        else:
            clusters.append([box])
    merged = []
    for cluster in clusters:
        support = len(cluster) / len(answers)
        if support >= 0.5:
            left, top, width, height = (round(fmean(edge)) for edge in zip(*(box[1:] for box in cluster), strict=True))
            confidence = 0.0 if len(answers) == 1 else round(min(1.0, support), 2)
            merged.append((DrawnBox(cluster[0].label, left, top, width, height), confidence))
    return merged


def agreement(first: Sequence[DrawnBox], second: Sequence[DrawnBox]) -> float:
    """How far two people agree about a photo, 0..1: the mean IoU of their boxes of the same type, 0 for each other box.

    Two answers without boxes agree fully.
    """
    pairs = sorted(
        (
            (overlap(one[1:], other[1:]), number, place)
            for number, one in enumerate(first)
            for place, other in enumerate(second)
            if one.label == other.label
        ),
        reverse=True,
    )
    ones, others, total = set[int](), set[int](), 0.0
    for shared, number, place in pairs:
        if number not in ones and place not in others:
            ones.add(number)
            others.add(place)
            total += shared
    most = max(len(first), len(second))
    return total / most if most else 1.0
