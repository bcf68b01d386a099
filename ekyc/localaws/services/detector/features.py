"""Key points of a photo: SIFT with RootSIFT descriptors, on a working copy of limited size."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import cv2
import numpy as np

LONG_SIDE = 960
"""The longest side of the working copy in pixels. Smaller photos are not enlarged."""

_MAX_FOUND = 8000
_MAX_KEPT = 3000
_CONTRAST_THRESHOLD = 0.01
_CELL = 40  # pixels
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
class Features:
    """Key points of a photo.

    points: n x 2 float32, pixels of the working copy, strongest first; descriptors: n x 128 uint8;
    width, height: the size of the working copy; scale: working-copy pixels per photo pixel (at most 1).
    """

    points: np.ndarray
    descriptors: np.ndarray
    width: int
    height: int
    scale: float

    def inside(self, box: np.ndarray) -> Features:
        """The key points inside the box (left, top, right, bottom in working-copy pixels)."""
        x, y = self.points.T
        is_inside = (x >= box[0]) & (x <= box[2]) & (y >= box[1]) & (y <= box[3])
        return Features(self.points[is_inside], self.descriptors[is_inside], self.width, self.height, self.scale)


def extract(image_bgr: np.ndarray) -> Features:
    """Find the key points of a photo (h x w x 3 or h x w, uint8). A uniform or very small photo has none."""
    grey = cv2.cvtColor(image_bgr, cv2.COLOR_BGR2GRAY) if image_bgr.ndim == 3 else image_bgr
    scale = min(1.0, LONG_SIDE / max(grey.shape))
    if scale < 1.0:
        grey = cv2.resize(grey, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    height, width = grey.shape
    nothing = Features(np.zeros((0, 2), np.float32), np.zeros((0, 128), np.uint8), width, height, scale)
    if min(height, width) < _MIN_SIDE:
        return nothing
    sift = cv2.SIFT.create(nfeatures=_MAX_FOUND, contrastThreshold=_CONTRAST_THRESHOLD)
    key_points, descriptors = sift.detectAndCompute(grey, None)
    if not key_points:
        return nothing
    points = np.array([point.pt for point in key_points], np.float32)
    indices = _spread(points, np.array([point.response for point in key_points]))
    return Features(points[indices], _root_normalised(descriptors[indices]), width, height, scale)


def _spread(points: np.ndarray, strength: np.ndarray) -> np.ndarray:
    """The indices of the key points to use: the strongest in every cell of the photo, then the second strongest, etc.

    The strongest points overall would all be on a busy background, and none on a pale card in front of it.
    """
    column, row = (points // _CELL).astype(int).T
    cell = row * (LONG_SIDE + 1) + column
    order = np.lexsort((-strength, cell))
    starts = np.flatnonzero(np.diff(cell[order], prepend=-1))
    rank = np.empty(len(points), int)
    rank[order] = np.arange(len(points)) - np.repeat(starts, np.diff(starts, append=len(points)))
    return np.lexsort((-strength, rank))[:_MAX_KEPT]


def _root_normalised(descriptors: np.ndarray) -> np.ndarray:
    """RootSIFT as bytes. Euclidean distances then compare the histograms by their Hellinger distance."""
    share = descriptors / np.maximum(descriptors.sum(axis=1, keepdims=True), 1e-6)
    return np.minimum(np.sqrt(share) * 512, 255).astype(np.uint8)
