"""Fits the corners of a document type to the labelled boxes of many photos."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from outlines import fitting, geometry

_AT_BORDER = 3.0
_AGREES = 0.75  # IoU
_STEPS = 60


@dataclass(frozen=True)
class Label:
    """What the label of a document says, in working-copy pixels.

    box: left, top, right, bottom; polygon: its corners (4 x 2) if the label has any; frame: the photo's box.
    """

    box: np.ndarray
    polygon: np.ndarray | None
    frame: np.ndarray


@dataclass(frozen=True)
class Sighting:
    """A registered document: its label's number, the homography from the reference frame to its view, and the matched
    points in the reference frame."""

    view: int
    matrix: np.ndarray
    matched: np.ndarray


def four_corners(polygon: np.ndarray) -> np.ndarray | None:
    """The quadrilateral around a labelled polygon (n x 2), clockwise. None if there is none that encloses an area."""
    points = np.asarray(polygon, np.float32)
    if points.ndim != 2 or points.shape[1] != 2 or len(points) < 4 or not np.all(np.isfinite(points)):
        return None
    hull = cv2.convexHull(points)
    if len(hull) < 4 or cv2.contourArea(hull) < 1:
        return None
    quad = (hull if len(hull) == 4 else cv2.approxPolyN(hull, 4)).reshape(4, 2).astype(float)
    return quad if geometry.area(quad) > 0 else quad[::-1]


def fit(
    sightings: list[Sighting], labels: Sequence[Label], known: np.ndarray | None
) -> tuple[np.ndarray, list[Sighting]]:
    """Fit the outline in the reference frame, from a ``known`` outline or else from the first sighting's label.

    Without a known outline, the reference frame is the first sighting's view. Returns the corners (4 x 2), clockwise
    from what is the top left in most photos, and the sightings that they explain. Sightings whose labels they do not
    explain (wrong labels) are removed, and the fit is repeated.
    """
    outline = _fit(sightings, labels, _starts(labels[sightings[0].view]) if known is None else [known])
    agreeing = [sighting for sighting in sightings if _agreement(outline, sighting, labels) >= _AGREES]
    if agreeing and len(agreeing) < len(sightings):
        sightings = agreeing
        outline = _fit(sightings, labels, [outline])
    return _upright(outline, sightings), sightings


def _agreement(outline: np.ndarray, sighting: Sighting, labels: Sequence[Label]) -> float:
    label = labels[sighting.view]
    return geometry.iou(geometry.bounding_box(geometry.project(sighting.matrix, outline), label.frame), label.box)


class _Misses:
    """The residuals of guesses of the corners.

    A box shows where a document ends, but not how it is rotated; many views with different rotations do. Weak
    preferences decide the rest: a parallelogram, right angles, edges close to the key points that the views share. An
    edge at the photo's border is not used, because the document may extend beyond it. A labelled polygon says where
    the corners are.
    """

    def __init__(self, sightings: list[Sighting], labels: Sequence[Label], start: np.ndarray) -> None:
        chosen = [labels[sighting.view] for sighting in sightings]
        self.matrices = np.stack([sighting.matrix for sighting in sightings])
        self.frames = np.stack([label.frame for label in chosen])
        boxes = np.stack([label.box for label in chosen])
        near, far = self.frames[:, :2], self.frames[:, 2:]
        self.boxes = np.hstack(
            [
                np.where(boxes[:, :2] < near + _AT_BORDER, near, boxes[:, :2]),
                np.where(boxes[:, 2:] > far - _AT_BORDER, far, boxes[:, 2:]),
            ]
        )
        self.sizes = np.sqrt(np.prod(np.maximum(self.boxes[:, 2:] - self.boxes[:, :2], 1), axis=1))
        self.unit = float(np.sqrt(np.prod(np.ptp(start, axis=0))))  # pixels of the reference frame
        self.drawn = [number for number, label in enumerate(chosen) if label.polygon is not None]
        polygons = [label.polygon for label in chosen if label.polygon is not None]
        drawn = np.stack(polygons) if polygons else np.zeros((0, 4, 2))
        frames = self.frames[self.drawn][:, None]
        away = np.minimum(drawn - frames[..., :2], frames[..., 2:] - drawn).min(axis=2)
        seen = away > _AT_BORDER  # a polygon's corner at the border may be where the photo ends
        self.polygons = np.stack([np.roll(drawn, turn, axis=1) for turn in range(4)])[:, None]  # by their first corner
        self.seen = np.stack([np.roll(seen, turn, axis=1) for turn in range(4)])[:, None, ..., None]
        matched = np.concatenate([sighting.matched for sighting in sightings])
        self.hull = cv2.convexHull(matched)[:, 0] if len(matched) else start

    def __call__(self, guesses: np.ndarray) -> np.ndarray:
        """Guesses (g x 8) -> residuals of each (g x residuals), in per cent of the document's size."""
        quads = guesses.reshape(-1, 4, 2) * self.unit
        mapped = quads[:, None] @ self.matrices[:, :, :2].transpose(0, 2, 1) + self.matrices[:, None, :, 2]
        mapped = mapped[..., :2] / np.maximum(mapped[..., 2:], 1e-3)
        near, far = self.frames[:, :2], self.frames[:, 2:]
        enclosing = np.concatenate(
            [np.clip(mapped.min(axis=2), near, far), np.clip(mapped.max(axis=2), near, far)], axis=2
        )
        misses = 100 * (enclosing - self.boxes) / self.sizes[:, None]
        return np.hstack([misses.reshape(len(quads), -1), self._of_corners(mapped), self._preferences(quads)])

    def _of_corners(self, mapped: np.ndarray) -> np.ndarray:
        """How far the corners are from the labelled polygons' (g x residuals), for the nearest order of the corners."""
        if not self.drawn:
            return np.zeros((len(mapped), 0))
        misses = 100 * self.seen * (mapped[:, self.drawn] - self.polygons) / self.sizes[self.drawn][:, None, None]
        nearest = np.argmin((misses**2).sum(axis=(3, 4)), axis=0)
        chosen = np.take_along_axis(misses, nearest[None, ..., None, None], axis=0)[0]
        return chosen.reshape(len(mapped), -1)

    def _preferences(self, quads: np.ndarray) -> np.ndarray:
        edges = np.roll(quads, -1, axis=1) - quads
        lengths = np.maximum(np.linalg.norm(edges, axis=2), 1e-6)
        slant = (quads[:, 0] + quads[:, 2] - quads[:, 1] - quads[:, 3]) / self.unit
        skew = (edges[:, 0] * edges[:, 1]).sum(axis=1) / (lengths[:, 0] * lengths[:, 1])
        offsets = self.hull - quads[:, :, None]
        gaps = edges[:, :, :1] * offsets[..., 1] - edges[:, :, 1:] * offsets[..., 0]
        gaps = gaps.min(axis=2) / (lengths * self.unit)
        return np.hstack([20 * slant, 20 * skew[:, None], 6 * gaps])


def _fit(sightings: list[Sighting], labels: Sequence[Label], starts: list[np.ndarray]) -> np.ndarray:
    """The corners with the least loss, of all starts that lead to a plausible outline."""
    misses = _Misses(sightings, labels, starts[0])
    frame = np.concatenate([starts[0].min(axis=0), starts[0].max(axis=0)])
    best, least = starts[0], np.inf
    for start in starts:
        parameters, loss = fitting.fit(misses, (start / misses.unit).ravel(), _STEPS)
        quad = parameters.reshape(4, 2) * misses.unit
        if loss < least and geometry.plausible(quad, frame):
            best, least = quad, loss
    return best


def _starts(reference: Label) -> list[np.ndarray]:
    """First guesses: the polygon, the box itself, and the rectangles that have this bounding box after a rotation."""
    starts = [geometry.corners_of(reference.box)]
    if reference.polygon is not None:
        starts.append(reference.polygon)
    centre = (reference.box[:2] + reference.box[2:]) / 2
    width, height = reference.box[2:] - reference.box[:2]
    for degrees in (-75, -60, -30, -15, 15, 30, 60, 75):
        cos, sin = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
        long, short = np.linalg.solve([[cos, abs(sin)], [abs(sin), cos]], [width, height])
        if min(long, short) > 0.1 * max(width, height):
            half = np.array([[-long, -short], [long, -short], [long, short], [-long, short]]) / 2
            starts.append(centre + half @ np.array([[cos, sin], [-sin, cos]]))
    return starts


def _upright(outline: np.ndarray, sightings: list[Sighting]) -> np.ndarray:
    """Rotate the order of the corners so that the first edge is the top edge in most photos."""
    if geometry.area(outline) < 0:
        outline = outline[::-1]

    def uprightness(turn: int) -> float:
        top_edges = [geometry.project(sighting.matrix, np.roll(outline, -turn, axis=0))[:2] for sighting in sightings]
        directions = [edge[1] - edge[0] for edge in top_edges]
        return sum(float(step[0] / max(np.hypot(*step), 1e-6)) for step in directions)

    return np.roll(outline, -max(range(4), key=uprightness), axis=0)
