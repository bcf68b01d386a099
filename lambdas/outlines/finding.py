"""Finds the outline of a document in a photo, given its box and type."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from outlines import features, geometry
from outlines.features import KeyPoints, View
from outlines.model import KEY_POINTS_OF_VIEW, SIDE_OF_VIEW, Outlines, Type, evened, likeness

NEIGHBOURS = 8
_MIN_INLIERS = 7
_GRID = 5
_ENOUGH = 40  # inliers; similar documents have as many
_UNLIKE = 0.25  # correlation
LEAST_AGREEMENT = 0.6
"""IoU of the outline's box with the given box, below which they are not the same document."""

CERTAIN = 0.5
"""The confidence from which an outline is used. With a lower one, the box is used."""

Frame = tuple[float, float, float, float]
"""Left, top, width and height in pixels of the photo."""


@dataclass(frozen=True)
class Outline:
    """The outline of a document.

    corners: 4 x 2, pixels of the photo, clockwise from the document's own top left, possibly outside the photo;
    confidence: 0..1, the probability that the outline is right and the document is of the type.
    """

    corners: np.ndarray
    confidence: float


@dataclass(frozen=True)
class Registered:
    """A registration of a type to a view.

    matrix: from the type's plane to the working copy; corners: the outline in the working copy, 4 x 2; source: the
    key points of the type that agree (inliers), n x 2; matches: the number of matches inside the outline.
    """

    matrix: np.ndarray
    corners: np.ndarray
    source: np.ndarray
    matches: int


def find(photo: np.ndarray, box: Frame, label: str, outlines: Outlines) -> Outline | None:
    """The outline of the document of type ``label`` in the ``box`` of the photo (h x w x 3 BGR or h x w, uint8).

    None if the type has no outline, or if the document does not match it: then use the box.
    """
    kind = outlines.types.get(label)
    left, top, width, height = box
    sides = np.array([left, top, left + width, top + height], float)
    if kind is None or not np.all(np.isfinite(sides)):
        return None
    view = features.look(photo, sides, SIDE_OF_VIEW, KEY_POINTS_OF_VIEW)
    return locate(view, view.to_working(sides.reshape(2, 2)).ravel(), kind, outlines.weights)


def locate(view: View, box: np.ndarray, kind: Type, weights: np.ndarray) -> Outline | None:
    """As `find`, in a view. ``box``: left, top, right, bottom in the view's working copy."""
    found = agreeing(view, box, kind)
    if found is None:
        return None
    return Outline(view.to_photo(found.corners), confidence(weights, weigh(view, found, kind)))


def agreeing(view: View, box: np.ndarray, kind: Type) -> Registered | None:
    """The registration of the type whose box is the given one. None if there is none."""
    registered = register(view, kind)
    if registered is None:
        return None
    agreement = geometry.iou(geometry.bounding_box(registered.corners, view.frame), box)
    return registered if agreement >= LEAST_AGREEMENT else None


def confidence(weights: np.ndarray, evidence: np.ndarray) -> float:
    """The logistic confidence of the evidence."""
    return float(1 / (1 + np.exp(-np.clip(weights[0] + weights[1:] @ evidence, -50, 50))))


def match(view: KeyPoints, model: KeyPoints) -> tuple[np.ndarray, np.ndarray]:
    """The unambiguous matches of a view with the key points of a type: (indices in the view, indices in the type)."""
    count = min(NEIGHBOURS, len(model.points))
    if count < 2 or not len(view.points):
        return np.zeros(0, int), np.zeros(0, int)
    squared, neighbours = cv2.batchDistance(
        view.descriptors, model.descriptors, cv2.CV_32S, normType=cv2.NORM_L2SQR, K=count
    )
    return geometry.unambiguous(neighbours, np.sqrt(squared), model.points, np.zeros(len(model.points), int))


def register(view: View, kind: Type) -> Registered | None:
    """Register the type to the view. None if too few matches agree or what they show cannot be a document."""
    in_view, in_type = match(view, kind)
    source, target = kind.points[in_type], view.points[in_view]
    found = geometry.homography(source, target)
    if found is None or len(found[1]) < _MIN_INLIERS:
        return None
    matrix, inliers = found
    corners = geometry.project(matrix, kind.outline)
    if not geometry.plausible(corners, view.frame):
        return None
    explained = geometry.inside(corners, target)
    explained[inliers] = True
    return Registered(matrix, corners, source[inliers], int(explained.sum()))


def weigh(view: View, registered: Registered, kind: Type) -> np.ndarray:
    """The evidence for a registration.

    The log of the inliers, their share of the matches inside the outline, the share of the visible area that they
    cover; then how much the picture inside the outline is like the type's texture, and the share of it that is unlike.
    """
    cells = (np.stack(np.meshgrid(np.arange(_GRID), np.arange(_GRID)), axis=-1).reshape(-1, 2) + 0.5) / _GRID
    in_view = geometry.project(registered.matrix, cells * kind.size)
    visible = np.all((in_view >= view.frame[:2]) & (in_view < view.frame[2:]), axis=1).sum()
    spots = np.clip((registered.source / kind.size * _GRID).astype(int), 0, _GRID - 1)
    covered = len(np.unique(spots[:, 1] * _GRID + spots[:, 0]))
    inliers = len(registered.source)
    alike, weights = likeness(kind.texture, evened(view, registered.matrix, kind.size))
    weights = weights / max(float(weights.sum()), 1e-6)
    return np.array(
        [
            np.log(min(inliers, _ENOUGH)),
            inliers / registered.matches,
            min(1.0, covered / max(1, visible)),
            alike @ weights,
            weights[alike < _UNLIKE].sum(),
        ]
    )
