"""Plane geometry of documents in photos: matches, homographies, quadrilaterals and boxes.

Here, boxes are arrays (left, top, right, bottom), and quadrilaterals are 4 x 2 arrays.
"""

from __future__ import annotations

from typing import Protocol

import cv2
import numpy as np

_RATIO = 0.85
_SAME_PLACE = 8.0  # neighbours closer than this (pixels of the reference) are the same physical point
_REPROJECTION = 6.0
_SHORTEST_EDGE = 12.0


class Sided(Protocol):
    """Anything with a box: a label or a detection."""

    @property
    def left(self) -> float: ...
    @property
    def top(self) -> float: ...
    @property
    def width(self) -> float: ...
    @property
    def height(self) -> float: ...


def unambiguous(
    neighbours: np.ndarray, distances: np.ndarray, model_points: np.ndarray, model_types: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Ratio test over neighbour lists: keep a match that is clearly nearer than any other place or type.

    neighbours, distances: n x k, nearest first, Euclidean. Neighbours with an infinite distance are not used.
    Returns (photo indices, model indices), at most one match per model point.
    """
    nearest = neighbours[:, 0]
    elsewhere = (model_types[neighbours] != model_types[nearest][:, None]) | (
        np.abs(model_points[neighbours] - model_points[nearest][:, None]).max(axis=2) > _SAME_PLACE
    )
    runner_up = np.where(elsewhere, distances, np.inf).min(axis=1)
    matches = np.flatnonzero((distances[:, 0] < _RATIO * runner_up) & np.isfinite(distances[:, 0]))
    matches = matches[np.argsort(distances[matches, 0], kind="stable")]
    _, first = np.unique(nearest[matches], return_index=True)
    matches = matches[np.sort(first)]  # best match first, which the sampler of findHomography needs
    return matches, nearest[matches]


def homography(source: np.ndarray, target: np.ndarray) -> tuple[np.ndarray, np.ndarray] | None:
    """Robust homography from source to target points (n x 2), with the indices of its inliers, or None."""
    if len(source) < 4:
        return None
    try:
        matrix, mask = cv2.findHomography(
            source, target, cv2.USAC_MAGSAC, _REPROJECTION, maxIters=5000, confidence=0.9999
        )
    except cv2.error:  # points in degenerate position
        return None
    if matrix is None or not np.all(np.isfinite(matrix)) or abs(np.linalg.det(matrix)) < 1e-9:
        return None
    return matrix, np.flatnonzero(mask)


def project(matrix: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Map points (n x 2) with a homography. Points at or behind the horizon land far away, never at infinity."""
    mapped = points @ matrix[:, :2].T + matrix[:, 2]
    return mapped[:, :2] / np.maximum(mapped[:, 2:], 1e-6)


def bounding_box(quad: np.ndarray, frame: np.ndarray) -> np.ndarray:
    """The bounding box of a quadrilateral, clipped to the box ``frame``."""
    near, far = frame[:2], frame[2:]
    return np.concatenate([np.clip(quad.min(axis=0), near, far), np.clip(quad.max(axis=0), near, far)])


def iou(one: np.ndarray, other: np.ndarray) -> float:
    """Intersection over union of two boxes; 0 if both are empty."""
    common = np.prod(np.maximum(np.minimum(one[2:], other[2:]) - np.maximum(one[:2], other[:2]), 0))
    union = np.prod(one[2:] - one[:2]) + np.prod(other[2:] - other[:2]) - common
    return float(common / union) if union > 0 else 0.0


def sides(box: Sided) -> np.ndarray:
    """The box as an array."""
    return np.array([box.left, box.top, box.left + box.width, box.top + box.height], float)


def grown(box: np.ndarray, margin: float, limits: np.ndarray) -> np.ndarray:
    """The box with a margin on each side, clipped to the box ``limits``."""
    near = np.clip(box[:2] - margin, limits[:2], limits[2:])
    return np.concatenate([near, np.clip(box[2:] + margin, near, limits[2:])])


def corners_of(box: np.ndarray) -> np.ndarray:
    """The corners of a box, clockwise from the top left."""
    left, top, right, bottom = box
    return np.array([[left, top], [right, top], [right, bottom], [left, bottom]], float)


def inside(quad: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Which points (n x 2) are inside a convex quadrilateral with clockwise corners (y down)."""
    edges = np.roll(quad, -1, axis=0) - quad
    offsets = points[:, None, :] - quad[None]
    return np.all(edges[:, 0] * offsets[:, :, 1] - edges[:, 1] * offsets[:, :, 0] >= 0, axis=1)


def area(quad: np.ndarray) -> float:
    """The signed area; positive for clockwise corners (y down)."""
    x, y = quad.T
    return float(np.sum(x * np.roll(y, -1) - y * np.roll(x, -1)) / 2)


def plausible(quad: np.ndarray, frame: np.ndarray) -> bool:
    """Whether a quadrilateral can be a photographed card: convex, not mirrored, slanted or tiny, and in the photo."""
    if not np.all(np.isfinite(quad)) or np.abs(quad - frame[:2]).max() > 10 * (frame[2:] - frame[:2]).max():
        return False
    edges = np.roll(quad, -1, axis=0) - quad
    lengths = np.hypot(*edges.T)
    if lengths.min() < _SHORTEST_EDGE:
        return False
    following = np.roll(edges, -1, axis=0)
    turns = (edges[:, 0] * following[:, 1] - edges[:, 1] * following[:, 0]) / (lengths * np.roll(lengths, -1))
    if turns.min() < np.sin(np.radians(25)):  # mirrored and concave corners turn the other way
        return False
    opposite = lengths[:2] / lengths[2:]
    if max(opposite.max(), 1 / opposite.min()) > 3:
        return False
    box = bounding_box(quad, frame)
    return bool(np.all(box[2:] - box[:2] >= _SHORTEST_EDGE))
