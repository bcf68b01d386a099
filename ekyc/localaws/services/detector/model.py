"""The detector: finds documents of the trained types in a photo."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

import outlines
from outlines import Box, Outlines, finding, geometry
from outlines.features import View, look
from outlines.model import Type

_LONG_SIDE = 960  # pixels of the working copy
_KEY_POINTS = 3000
_NEIGHBOURS = 8
_MIN_INLIERS = 7
_MOST_OF_A_TYPE = 3
_OVERLAP = 0.4
_CHECKS = 48  # leaves that the index visits for each query. More leaves find more matches, but take longer.
_TREES = 4


@dataclass(frozen=True)
class LabelledPhoto:
    """A photo file and its labelled documents, if any."""

    path: Path
    boxes: list[Box]


@dataclass(frozen=True)
class Detection:
    """A detected document.

    confidence: 0..1; outline: 4 x 2 float pixels, clockwise from the document's own top-left corner, possibly outside
    the photo; left, top, width, height: its bounding box in pixels, clipped to the photo.
    """

    label: str
    confidence: float
    outline: np.ndarray
    left: float
    top: float
    width: float
    height: float


class _Photos:
    """Photos that are read when they are needed."""

    def __init__(self, photos: Sequence[LabelledPhoto]) -> None:
        self._photos = photos

    def __getitem__(self, number: int, /) -> np.ndarray | None:
        return cv2.imread(str(self._photos[number].path), cv2.IMREAD_COLOR)


def train(photos: Sequence[LabelledPhoto], progress: Callable[[int, int], None] | None = None) -> Detector:
    """Train a detector on labelled photos. See `outlines.learn`."""
    return Detector(outlines.learn(_Photos(photos), [photo.boxes for photo in photos], progress))


class Detector:
    """Finds documents of the types that have an outline: their boxes by an index of the key points of all types."""

    def __init__(self, learned: Outlines) -> None:
        self.outlines = learned
        kinds = list(learned.types.values())
        self._points = np.concatenate([np.zeros((0, 2), np.float32), *(kind.points for kind in kinds)])
        self._types = np.repeat(np.arange(len(kinds)), [len(kind.points) for kind in kinds])
        self._index: cv2.flann.Index | None = None
        if len(self._points) >= _NEIGHBOURS:
            cv2.setRNGSeed(0)  # the index's trees are random; with a seed, the same model gives the same results
            # The index refers to this array: keep it alive.
            self._vectors = np.concatenate([kind.descriptors for kind in kinds]).astype(np.float32)
            self._index = cv2.flann.Index(self._vectors, {"algorithm": 1, "trees": _TREES})

    @property
    def labels(self) -> list[str]:
        """The trained types."""
        return list(self.outlines.types)

    def detect(self, image_bgr: np.ndarray) -> list[Detection]:
        """The documents in a photo (h x w x 3 uint8, BGR), in descending order of confidence.

        Includes all documents with an outline, even with a low confidence. Filter by `confidence`. Of overlapping ones,
        only the most confident is returned.
        """
        photo = look(image_bgr, None, _LONG_SIDE, _KEY_POINTS)
        found = [
            detection for label, box in self._candidates(photo) if (detection := self._outlined(photo, label, box))
        ]
        found.sort(key=lambda detection: -detection.confidence)
        separate: list[Detection] = []
        for detection in found:
            sides = geometry.sides(detection)
            if all(geometry.iou(sides, geometry.sides(other)) < _OVERLAP for other in separate):
                separate.append(detection)
        return separate

    def _candidates(self, photo: View) -> list[tuple[str, np.ndarray]]:
        """The types and boxes (in the working copy) of possible documents, including overlapping ones."""
        if self._index is None or len(photo.points) < _MIN_INLIERS:
            return []
        neighbours, squared = self._index.knnSearch(
            photo.descriptors.astype(np.float32), _NEIGHBOURS, params={"checks": _CHECKS}
        )
        distances = np.sqrt(np.where(neighbours >= 0, squared, np.inf))
        in_photo, in_model = geometry.unambiguous(neighbours, distances, self._points, self._types)
        candidates: list[tuple[str, np.ndarray]] = []
        for number, (label, kind) in enumerate(self.outlines.types.items()):
            of_type = self._types[in_model] == number
            source, target = self._points[in_model[of_type]], photo.points[in_photo[of_type]]
            candidates += [(label, box) for box in _boxes(photo, kind, source, target)]
        return candidates

    def _outlined(self, photo: View, label: str, box: np.ndarray) -> Detection | None:
        near = photo.inside(geometry.grown(box, 0.1 * float((box[2:] - box[:2]).max()), photo.frame))
        outline = finding.locate(near, box, self.outlines.types[label], self.outlines.weights)
        if outline is None:
            return None
        clipped = geometry.bounding_box(outline.corners, photo.frame / photo.scale)
        left, top, right, bottom = (float(side) for side in clipped)
        return Detection(label, outline.confidence, outline.corners, left, top, right - left, bottom - top)

    def save(self, path: Path) -> None:
        """Write the model to a file."""
        path.write_bytes(outlines.save(self.outlines))

    @classmethod
    def load(cls, path: Path) -> Detector:
        """Read a model that `save` wrote. It gives exactly the same results."""
        return cls(outlines.load(path.read_bytes()))


def _boxes(photo: View, kind: Type, source: np.ndarray, target: np.ndarray) -> list[np.ndarray]:
    """Boxes of up to three documents of one type: register one, remove the matches that it explains, repeat."""
    boxes: list[np.ndarray] = []
    while len(boxes) < _MOST_OF_A_TYPE and len(source) >= _MIN_INLIERS:
        registered = geometry.homography(source, target)
        if registered is None or len(registered[1]) < _MIN_INLIERS:
            break
        matrix, inliers = registered
        corners = geometry.project(matrix, kind.outline)
        if not geometry.plausible(corners, photo.frame):
            break
        explained = geometry.inside(corners, target)
        explained[inliers] = True
        boxes.append(geometry.bounding_box(corners, photo.frame))
        source, target = source[~explained], target[~explained]
    return boxes
