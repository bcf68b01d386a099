"""Evaluates a detector on test photos: precision, recall, F1 and the assumed threshold of every type."""

from __future__ import annotations

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from ekyc.localaws.services.detector.model import Detection, Detector, LabelledPhoto
from outlines import Box, geometry
from outlines.features import single_threaded_opencv

_MIN_IOU = 0.5
_EVEN_ODDS = 0.5


@dataclass(frozen=True)
class LabelEvaluation:
    """The metrics of one type, for detections with a confidence of at least `threshold` (0..1).

    `threshold` is the assumed threshold, at which F1 is highest for the test photos. `average_precision` is the area
    under the precision-recall curve. `average_recall` is the recall of all detections, whatever their confidence.
    """

    label: str
    threshold: float
    precision: float
    recall: float
    f1: float
    average_precision: float
    average_recall: float
    testing_photos: int


@dataclass(frozen=True)
class JudgedDetection:
    """A detection, and whether it is correct: a document of its type overlaps it with IoU >= 0.5."""

    detection: Detection
    correct: bool
    iou: float


@dataclass(frozen=True)
class PhotoEvaluation:
    """The detections in a photo at the assumed thresholds, and the labelled documents that were missed."""

    path: Path
    detections: list[JudgedDetection]
    missed: list[Box]


@dataclass(frozen=True)
class Evaluation:
    """The metrics of a detector on test photos.

    `precision`, `recall` and `f1` are over the documents of all types, at each type's assumed threshold. `mean_iou` is
    over the correct detections. `average_precision` and `average_recall` are means over the types in the test photos.
    """

    precision: float
    recall: float
    f1: float
    mean_iou: float
    average_precision: float
    average_recall: float
    labels: list[LabelEvaluation]
    photos: list[PhotoEvaluation]


@dataclass(frozen=True)
class _Judged:
    path: Path
    boxes: list[Box]
    matches: list[tuple[Detection, float, int | None]]  # IoU with the matched labelled box, and the index of that box


def evaluate(detector: Detector, photos: Sequence[LabelledPhoto]) -> Evaluation:
    """Compare the detections in labelled photos with the labels.

    Unreadable photos count as photos without detections.
    """
    with single_threaded_opencv(), ThreadPoolExecutor(os.cpu_count()) as pool:
        photos_judged = list(pool.map(lambda photo: _judge(detector, photo), photos))
    names = sorted(set(detector.labels) | {box.label for photo in photos_judged for box in photo.boxes})
    labels = [_evaluate_label(name, photos_judged) for name in names]
    thresholds = {label.label: label.threshold for label in labels}
    results = [_at_thresholds(photo, thresholds) for photo in photos_judged]
    overlaps = [judged.iou for result in results for judged in result.detections if judged.correct]
    detected = sum(len(result.detections) for result in results)
    labelled = sum(len(photo.boxes) for photo in photos_judged)
    precision, recall, f1 = _metrics(len(overlaps), detected, labelled)
    shown = [label for label in labels if label.testing_photos]
    return Evaluation(
        precision=precision,
        recall=recall,
        f1=f1,
        mean_iou=_mean(overlaps),
        average_precision=_mean([label.average_precision for label in shown]),
        average_recall=_mean([label.average_recall for label in shown]),
        labels=labels,
        photos=results,
    )


def _mean(values: Sequence[float]) -> float:
    return float(np.mean(values)) if values else 0.0


def _metrics(correct: int, detected: int, there: int) -> tuple[float, float, float]:
    """Precision, recall and F1; 0 if the denominator is 0."""
    return (
        correct / detected if detected else 0.0,
        correct / there if there else 0.0,
        2 * correct / (detected + there) if detected + there else 0.0,
    )


def _judge(detector: Detector, photo: LabelledPhoto) -> _Judged:
    """Match each detection, most confident first, with the labelled box of its type that it overlaps most."""
    image = cv2.imread(str(photo.path), cv2.IMREAD_COLOR)
    detections = detector.detect(image) if image is not None else []
    free = set(range(len(photo.boxes)))
    matches: list[tuple[Detection, float, int | None]] = []
    for detection in detections:
        overlaps = {
            place: geometry.iou(geometry.sides(detection), geometry.sides(photo.boxes[place]))
            for place in sorted(free)
            if photo.boxes[place].label == detection.label
        }
        place = max(overlaps, key=lambda candidate: overlaps[candidate], default=None)
        if place is not None and overlaps[place] >= _MIN_IOU:
            free.remove(place)
            matches.append((detection, overlaps[place], place))
        else:
            matches.append((detection, 0.0, None))
    return _Judged(photo.path, list(photo.boxes), matches)


def _evaluate_label(label: str, judged: list[_Judged]) -> LabelEvaluation:
    there = sum(box.label == label for photo in judged for box in photo.boxes)
    verdicts = sorted(
        (
            (detection.confidence, place is not None)
            for photo in judged
            for detection, _, place in photo.matches
            if detection.label == label
        ),
        reverse=True,
    )
    confidences = [confidence for confidence, _ in verdicts] + [0.0]
    correct = np.cumsum([right for _, right in verdicts])
    best, threshold, average_precision = (0.0, 0.0, 0.0), _EVEN_ODDS, 0.0
    for count in range(1, len(verdicts) + 1):
        figures = _metrics(int(correct[count - 1]), count, there)
        if figures[2] > best[2]:
            # Any threshold down to the next confidence gives this F1. The middle leaves room for harder photos. It must
            # not be below even odds, because that could admit false detections that the test photos happen not to
            # contain.
            lowest, following = confidences[count - 1], confidences[count]
            best, threshold = figures, min(lowest, max((lowest + following) / 2, _EVEN_ODDS))
        if verdicts[count - 1][1]:
            average_precision += max(correct[count - 1 :] / np.arange(count, len(verdicts) + 1)) / max(there, 1)
    return LabelEvaluation(
        label=label,
        threshold=float(threshold),
        precision=best[0],
        recall=best[1],
        f1=best[2],
        average_precision=float(average_precision),
        average_recall=int(correct[-1]) / there if there and verdicts else 0.0,
        testing_photos=sum(any(box.label == label for box in photo.boxes) for photo in judged),
    )


def _at_thresholds(photo: _Judged, thresholds: dict[str, float]) -> PhotoEvaluation:
    confident = [entry for entry in photo.matches if entry[0].confidence >= thresholds[entry[0].label]]
    taken = {place for _, _, place in confident}
    return PhotoEvaluation(
        path=photo.path,
        detections=[JudgedDetection(detection, place is not None, overlap) for detection, overlap, place in confident],
        missed=[box for place, box in enumerate(photo.boxes) if place not in taken],
    )
