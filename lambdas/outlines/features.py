"""Key points of a document in a photo: SIFT with RootSIFT descriptors, on a working copy of the part around its box."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

import cv2
import numpy as np

from outlines import geometry

_MARGIN = 0.12  # of the box's longer side; a detector's box can be too small
_MAX_FOUND = 8000
_CONTRAST_THRESHOLD = 0.01
_CELL = 40  # pixels
_SMALL = 200  # pixels of the longer side of a part, below which it is enlarged
_MOST_ENLARGED = 2.0
_MIN_SIDE = 16  # SIFT finds nothing in smaller photos


@contextmanager
def single_threaded_opencv() -> Iterator[None]:
    """A context with one thread for each OpenCV call, for work that is parallel over photos."""
    threads = cv2.getNumThreads()
    cv2.setNumThreads(1)
    try:
        yield
    finally:
        cv2.setNumThreads(threads)


@dataclass(frozen=True)
class KeyPoints:
    """Key points: points, n x 2 float32, and descriptors, n x 128 uint8."""

    points: np.ndarray
    descriptors: np.ndarray


@dataclass(frozen=True)
class View(KeyPoints):
    """The key points of a photo, or of the part of it around a box. Pixels are those of the working copy.

    points, descriptors: strongest first; grey: h x w uint8, the working copy; origin: the photo's pixel at the working
    copy's top left; scale: working-copy pixels per photo pixel; frame: left, top, right, bottom of the photo itself.
    """

    grey: np.ndarray
    origin: np.ndarray
    scale: float
    frame: np.ndarray

    def to_working(self, points: np.ndarray) -> np.ndarray:
        """Pixels of the photo (n x 2) as pixels of the working copy."""
        return (points - self.origin) * self.scale

    def to_photo(self, points: np.ndarray) -> np.ndarray:
        """Pixels of the working copy (n x 2) as pixels of the photo."""
        return points / self.scale + self.origin

    def inside(self, box: np.ndarray) -> View:
        """The view with only the key points inside the box (left, top, right, bottom in working-copy pixels)."""
        is_inside = np.all((self.points >= box[:2]) & (self.points <= box[2:]), axis=1)
        return replace(self, points=self.points[is_inside], descriptors=self.descriptors[is_inside])


def look(photo: np.ndarray, box: np.ndarray | None, long_side: int, most: int) -> View:
    """Find up to ``most`` key points of a photo (h x w x 3 BGR or h x w, uint8), or of the part around ``box``.

    The working copy's longer side is at most ``long_side`` pixels; a smaller part is not enlarged. A uniform or very
    small part has no key points.
    """
    height, width = photo.shape[:2]
    part = np.array([0, 0, width, height], float)
    if box is not None:
        part = geometry.grown(box, _MARGIN * float((box[2:] - box[:2]).max()), part)
    left, top, right, bottom = (int(side) for side in np.concatenate([np.floor(part[:2]), np.ceil(part[2:])]))
    grey = photo[top:bottom, left:right]
    side = max(grey.shape[0], grey.shape[1], 1)
    scale = min(_MOST_ENLARGED if side < _SMALL else 1.0, long_side / side)
    if grey.size and scale != 1.0:
        way = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
        grey = cv2.resize(grey, None, fx=scale, fy=scale, interpolation=way)
    if grey.size and grey.ndim == 3:
        grey = cv2.cvtColor(grey, cv2.COLOR_BGR2GRAY)
    origin = np.array([left, top], float)
    frame = (np.array([0, 0, width, height]) - np.tile(origin, 2)) * scale
    points, descriptors = _key_points(grey, most)
    return View(points, descriptors, grey, origin, scale, frame)


def _key_points(grey: np.ndarray, most: int) -> tuple[np.ndarray, np.ndarray]:
    nothing = np.zeros((0, 2), np.float32), np.zeros((0, 128), np.uint8)
    if min(grey.shape[:2]) < _MIN_SIDE:
        return nothing
    sift = cv2.SIFT.create(nfeatures=_MAX_FOUND, contrastThreshold=_CONTRAST_THRESHOLD)
    key_points, descriptors = sift.detectAndCompute(grey, None)
    if not key_points:
        return nothing
    points = np.array([point.pt for point in key_points], np.float32)
    indices = _spread(points, np.array([point.response for point in key_points]), most)
    return points[indices], _root_normalised(descriptors[indices])


def _spread(points: np.ndarray, strength: np.ndarray, most: int) -> np.ndarray:
    """The indices of the key points to use: the strongest in every cell of the photo, then the second strongest, etc.

    The strongest points overall would all be on a busy background, and none on a pale card in front of it.
    """
    column, row = (points // _CELL).astype(int).T
    cell = row * (column.max() + 1) + column
    order = np.lexsort((-strength, cell))
    starts = np.flatnonzero(np.diff(cell[order], prepend=-1))
    rank = np.empty(len(points), int)
    rank[order] = np.arange(len(points)) - np.repeat(starts, np.diff(starts, append=len(points)))
    return np.lexsort((-strength, rank))[:most]


def _root_normalised(descriptors: np.ndarray) -> np.ndarray:
    """RootSIFT as bytes. Euclidean distances then compare the histograms by their Hellinger distance."""
    share = descriptors / np.maximum(descriptors.sum(axis=1, keepdims=True), 1e-6)
    return np.minimum(np.sqrt(share) * 512, 255).astype(np.uint8)
