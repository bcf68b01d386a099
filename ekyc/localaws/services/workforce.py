"""Simulated workers, who label photos with the boxes of a COCO file and small random errors.

They label for the local Ground Truth, and on the labelling page while it is attended to (`labelling_watch`).
"""

from __future__ import annotations

import random
import threading
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

from ekyc.localaws.errors import LocalAwsError
from ekyc.localaws.services.custom_labels_manifest import Size
from rules import labels
from rules.consolidation import DrawnBox
from rules.entries import Problem, Source, Unreadable
from rules.lines import Labelled
from rules.words import counted


class Workforce:
    """Answers labelling tasks after `answer_from` was called.

    `seconds_per_photo` are the service seconds that a worker needs for a photo. `workers` is the number of concurrent
    workers, or more if a job needs more answers for each photo.
    """

    def __init__(self) -> None:
        self.seconds_per_photo = 5.0
        self.workers = 3
        self._lock = threading.Lock()
        self._truths: dict[str, list[tuple[str, float, float, float, float]]] | None = None
        self._jitter_px = 0.0
        self._unanswered: frozenset[str] = frozenset()
        self._seed = 0
        self._next_job_fails: str | None = None

    def answer_from(
        self, coco_path: Path, jitter_px: float = 1.5, unanswered_share: float = 0.02, seed: int = 0
    ) -> None:
        """Answer with the boxes of a COCO file from now on, matched by file name.

        Each edge has a Gaussian error of `jitter_px`. The share `unanswered_share` of the photos in the file, and
        photos that are not in the file, stay unanswered. The same seed gives the same answers.

        Raises:
            LocalAwsError: the file is not a valid labels file.
        """
        truths = _read_truths(coco_path)
        shuffled = random.Random(seed).sample(sorted(truths), len(truths))  # noqa: S311
        with self._lock:
            self._truths, self._jitter_px, self._seed = truths, jitter_px, seed
            self._unanswered = frozenset(shuffled[: round(unanswered_share * len(truths))])

    def stop_answering(self) -> None:
        """Stop answering. Jobs stay in progress."""
        with self._lock:
            self._truths = None

    def fail_next_job(self, reason: str) -> None:
        """Make the next started labelling job fail with this FailureReason."""
        with self._lock:
            self._next_job_fails = reason

    def take_failure(self) -> str | None:
        """Return and consume the reason set by `fail_next_job`, if any."""
        with self._lock:
            reason, self._next_job_fails = self._next_job_fails, None
        return reason

    @property
    def is_at_work(self) -> bool:
        """Whether simulated workers answer tasks."""
        return self._truths is not None

    def seconds_between_photos(self, answers: int) -> float:
        """Service seconds between two photos, if each photo needs this number of answers."""
        return self.seconds_per_photo * answers / max(self.workers, answers)

    def draw(self, name: str, size: Size, labels: Collection[str], worker: int) -> list[DrawnBox] | None:
        """The boxes that a worker draws on the photo with that file name, only of `labels`. None: no answer."""
        with self._lock:
            truths, jitter, unanswered = self._truths or {}, self._jitter_px, self._unanswered
        if name not in truths or name in unanswered:
            return None
        hand = random.Random(f"{self._seed}/{name}/{worker}")  # noqa: S311
        boxes = [_drawn(truth, size, jitter, hand) for truth in truths[name] if truth[0] in labels]
        return [box for box in boxes if box.width > 0 and box.height > 0]


def _read_truths(path: Path) -> dict[str, list[tuple[str, float, float, float, float]]]:
    """The boxes in a labels file, by file name."""
    problems: list[Problem] = []
    try:
        entries = list(labels.read(lambda: path.open("rb"), path.stat().st_size, Source(report=problems.append)))
    except Unreadable as error:
        raise LocalAwsError(f"{path} {error}") from error
    except OSError as error:
        raise LocalAwsError(f"{path} cannot be read: {error.strerror}.") from error
    if problems:
        first = f"{problems[0].place}: {problems[0].reason}"
        raise LocalAwsError(f"{path} has {counted(len(problems), 'problem')}, the first at {first}.")
    return {
        entry.name: [box[:5] for box in entry.labels.boxes] for entry in entries if isinstance(entry.labels, Labelled)
    }


def _drawn(truth: tuple[str, float, float, float, float], size: Size, jitter: float, hand: random.Random) -> DrawnBox:
    label, left, top, width, height = truth
    edges = (left, top, left + width, top + height)
    limits = (size.width, size.height, size.width, size.height)
    placed = [
        min(max(round(edge + hand.gauss(0, jitter)), 0), limit) for edge, limit in zip(edges, limits, strict=True)
    ]
    return DrawnBox(label, placed[0], placed[1], placed[2] - placed[0], placed[3] - placed[1])


def raw_answer(boxes: Sequence[DrawnBox], size: Size) -> dict[str, Any]:
    """A worker's answer in the format of the crowd-bounding-box element (Ground Truth guide, "crowd-bounding-box")."""
    return {
        "boundingBox": {
            "boundingBoxes": [
                {"height": box.height, "label": box.label, "left": box.left, "top": box.top, "width": box.width}
                for box in boxes
            ],
            "inputImageProperties": {"height": size.height, "width": size.width},
        }
    }
