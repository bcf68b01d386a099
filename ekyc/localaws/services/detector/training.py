"""Trains a detector from labelled axis-aligned boxes alone."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial

import cv2
import numpy as np
from scipy.optimize import least_squares

from ekyc.localaws.services.detector import features, geometry
from ekyc.localaws.services.detector.features import Features, single_threaded_opencv
from ekyc.localaws.services.detector.model import NEIGHBOURS, Box, Detector, LabelledPhoto, Model

_PHOTOS_PER_TYPE = 60  # more photos add time, not accuracy. Also the limit for photos without a document.
_PHOTOS_JUDGED = 80  # enough to fit the four weights of the confidence
_REFERENCES = 3
_MIN_KEY_POINTS = 12
_MIN_INLIERS = 10
_MIN_INLIERS_MERGED = 14
_KEY_POINTS_PER_TYPE = 6000
_AT_BORDER = 3.0
_AGREES = 0.6
_STEPS = 60

PRIOR_WEIGHTS = np.array([-9.5, 3.3, 1.5, 3.0])
"""Bias, log inliers, inlier ratio, coverage. Chosen with scenes of eleven types; each training adjusts them."""


@dataclass(frozen=True)
class _View:
    """One labelled document: its photo, its key points and its box, both in working-copy pixels."""

    photo: int
    features: Features
    box: np.ndarray


@dataclass(frozen=True)
class _Registered:
    """A view, the homography from the reference frame to the view, and the matched points in the reference frame."""

    view: _View
    matrix: np.ndarray
    matched: np.ndarray


@dataclass(frozen=True)
class _Type:
    """The learned data of one document type. `photos` has the photo of each key point."""

    outline: np.ndarray
    points: np.ndarray
    descriptors: np.ndarray
    photos: np.ndarray


def train(photos: Sequence[LabelledPhoto], progress: Callable[[int, int], None] | None = None) -> Detector:
    """Train a detector on labelled photos.

    The same photos in the same order give the same detector. Photos that cannot be read are ignored. A type without a
    usable photo is not in the model. `progress(done, total)` is called from this thread.
    """
    chosen = _choose(photos)
    labels = sorted({box.label for photo in chosen for box in photo.boxes})
    judging = np.unique(np.linspace(0, len(chosen) - 1, min(len(chosen), _PHOTOS_JUDGED)).astype(int)).tolist()
    total = len(chosen) + len(labels) + len(judging)
    done = 0

    def step() -> None:
        nonlocal done
        done += 1
        if progress is not None:
            progress(done, total)

    with single_threaded_opencv(), ThreadPoolExecutor(os.cpu_count()) as pool:
        extracted: list[Features | None] = []
        for photo_features in pool.map(_read, chosen):
            extracted.append(photo_features)
            step()
        learned: dict[str, _Type] = {}
        views = [_views(label, chosen, extracted) for label in labels]
        for label, of_type in zip(labels, pool.map(_learn, views), strict=True):
            if of_type is not None:
                learned[label] = of_type
            step()
        detector, sources = _assemble(learned, PRIOR_WEIGHTS)
        judged: list[tuple[np.ndarray, bool]] = []
        judge = partial(_judged_candidates, detector, sources)
        for of_photo in pool.map(judge, judging, [chosen[n] for n in judging], [extracted[n] for n in judging]):
            judged += of_photo
            step()
    return _assemble(learned, _fit_weights(judged))[0]


def _choose(photos: Sequence[LabelledPhoto]) -> list[LabelledPhoto]:
    """The first photos of each type and the first without a document, to limit time and memory."""
    counts: dict[str | None, int] = {}
    chosen = []
    for photo in photos:
        kinds: set[str | None] = {box.label for box in photo.boxes} or {None}
        if any(counts.get(kind, 0) < _PHOTOS_PER_TYPE for kind in kinds):
            chosen.append(photo)
            for kind in kinds:
                counts[kind] = counts.get(kind, 0) + 1
    return chosen


def _read(photo: LabelledPhoto) -> Features | None:
    image = cv2.imread(str(photo.path), cv2.IMREAD_COLOR)
    return None if image is None else features.extract(image)


def _working_box(box: Box, photo: Features) -> np.ndarray:
    return np.clip(geometry.sides(box) * photo.scale, 0, [photo.width, photo.height] * 2)


def _views(label: str, photos: list[LabelledPhoto], extracted: list[Features | None]) -> list[_View]:
    views = []
    for number, (photo, photo_features) in enumerate(zip(photos, extracted, strict=True)):
        if photo_features is None:
            continue
        for box in photo.boxes:
            if box.label == label:
                sides = _working_box(box, photo_features)
                view = _View(number, photo_features.inside(sides), sides)
                if len(view.features.points) >= _MIN_KEY_POINTS:
                    views.append(view)
    return views


def _learn(views: list[_View]) -> _Type | None:
    """Learn one type: choose the reference, register the other views to it, fit the outline, merge the key points."""
    if not views:
        return None
    candidates = sorted(views, key=lambda view: -len(view.features.points))[:_REFERENCES]
    attempts = [_register_all(reference, views) for reference in candidates]
    registered = max(attempts, key=len)
    outline, registered = _outline(registered)
    merged = _merge(outline, registered)
    left_over = [view for view in views if all(view is not other.view for other in registered)]
    late = [_register(merged.points, merged.descriptors, view, _MIN_INLIERS_MERGED) for view in left_over]
    added = [entry for entry in late if entry is not None]
    if not added:
        return merged
    outline, registered = _outline(registered + added, outline)
    return _merge(outline, registered)


def _register_all(reference: _View, views: list[_View]) -> list[_Registered]:
    registered = [_Registered(reference, np.eye(3), np.zeros((0, 2), np.float32))]
    for view in views:
        if view is not reference:
            entry = _register(reference.features.points, reference.features.descriptors, view, _MIN_INLIERS)
            if entry is not None:
                registered.append(entry)
    return registered


def _register(points: np.ndarray, descriptors: np.ndarray, view: _View, least: int) -> _Registered | None:
    """Register a view to key points of the reference frame. None if fewer than `least` matches agree."""
    count = min(NEIGHBOURS, len(points))
    if count < 2:
        return None
    squared, neighbours = cv2.batchDistance(
        view.features.descriptors, descriptors, cv2.CV_32S, normType=cv2.NORM_L2SQR, K=count
    )
    distances = np.sqrt(squared)
    in_view, in_model = geometry.unambiguous(neighbours, distances, points, np.zeros(len(points), int))
    fit = geometry.homography(points[in_model], view.features.points[in_view])
    if fit is None or len(fit[1]) < least:
        return None
    matrix, inliers = fit
    matched = points[in_model[inliers]]
    depth = matched.mean(axis=0) @ matrix[2, :2] + matrix[2, 2]
    if abs(depth) < 1e-9:
        return None
    matrix = matrix / depth  # positive where the document is in front of the camera
    return _Registered(view, matrix, matched) if np.linalg.det(matrix) > 0 else None


def _outline(registered: list[_Registered], known: np.ndarray | None = None) -> tuple[np.ndarray, list[_Registered]]:
    """Fit the outline, starting from a known outline if there is one.

    Views whose labels the outline does not explain (wrong labels) are removed, and the fit is repeated.
    """
    outline = _fit_outline(registered, _starts(registered[0].view) if known is None else [known])
    agreeing = [entry for entry in registered if _agreement(outline, entry) >= _AGREES]
    if agreeing and len(agreeing) < len(registered):
        registered = agreeing
        outline = _fit_outline(registered, [outline])
    return _upright(outline, registered), registered


def _agreement(outline: np.ndarray, entry: _Registered) -> float:
    size = entry.view.features.width, entry.view.features.height
    return geometry.iou(geometry.bounding_box(geometry.project(entry.matrix, outline), *size), entry.view.box)


def _fit_outline(registered: list[_Registered], starts: list[np.ndarray]) -> np.ndarray:
    """The four corners in the reference frame whose projections have the labelled boxes as bounding boxes.

    A box shows where a document ends, but not how it is rotated; many views with different rotations do. Weak
    preferences decide the rest: a parallelogram, right angles, edges close to the key points that the views share. An
    edge at the photo's border is not used, because the document may extend beyond it.
    """
    reference = registered[0].view
    matrices = np.stack([entry.matrix for entry in registered])
    boxes = np.stack([entry.view.box for entry in registered])
    limits = np.array([[entry.view.features.width, entry.view.features.height] for entry in registered], float)
    near, far = boxes[:, :2], boxes[:, 2:]
    boxes = np.hstack([np.where(near < _AT_BORDER, 0, near), np.where(far > limits - _AT_BORDER, limits, far)])
    size = np.sqrt(np.prod(np.maximum(boxes[:, 2:] - boxes[:, :2], 1), axis=1))
    unit = float(size[0])
    outer = np.tile(limits, 2)

    matched = np.concatenate([entry.matched for entry in registered])
    hull = cv2.convexHull(matched)[:, 0] if len(matched) else _corners(reference.box)

    def residuals(guesses: np.ndarray) -> np.ndarray:
        """Guesses (g x 8) -> residuals of each (g x residuals)."""
        corners = guesses.reshape(-1, 4, 2) * unit
        mapped = corners[:, None] @ matrices[:, :, :2].transpose(0, 2, 1) + matrices[:, None, :, 2]
        mapped = mapped[..., :2] / np.maximum(mapped[..., 2:], 1e-3)
        enclosing = np.clip(np.concatenate([mapped.min(axis=2), mapped.max(axis=2)], axis=2), 0, outer)
        misses = 100 * (enclosing - boxes) / size[:, None]  # per cent of the document's size
        edges = np.roll(corners, -1, axis=1) - corners
        lengths = np.maximum(np.linalg.norm(edges, axis=2), 1e-6)
        slant = (corners[:, 0] + corners[:, 2] - corners[:, 1] - corners[:, 3]) / unit
        skew = (edges[:, 0] * edges[:, 1]).sum(axis=1) / (lengths[:, 0] * lengths[:, 1])
        offsets = hull - corners[:, :, None]
        gaps = edges[:, :, :1] * offsets[..., 1] - edges[:, :, 1:] * offsets[..., 0]
        gaps = gaps.min(axis=2) / (lengths * unit)
        return np.hstack([misses.reshape(len(misses), -1), 20 * slant, 20 * skew[:, None], 6 * gaps])

    def slopes(parameters: np.ndarray) -> np.ndarray:
        step = 1e-6
        moved = residuals(np.vstack([parameters, parameters + step * np.eye(8)]))
        return (moved[1:] - moved[0]).T / step

    best, least = _corners(reference.box), np.inf
    for start in starts:
        fit = least_squares(
            lambda parameters: residuals(parameters[None])[0],
            (start / unit).ravel(),
            jac=slopes,
            loss="huber",
            max_nfev=_STEPS,
        )
        quad = fit.x.reshape(4, 2) * unit
        if fit.cost < least and geometry.plausible(quad, *limits[0]):
            best, least = quad, fit.cost
    return best


def _corners(box: np.ndarray) -> np.ndarray:
    left, top, right, bottom = box
    return np.array([[left, top], [right, top], [right, bottom], [left, bottom]], float)


def _starts(reference: _View) -> list[np.ndarray]:
    """First guesses: the box itself, and the rectangles that have this bounding box after a rotation."""
    starts = [_corners(reference.box)]
    centre = (reference.box[:2] + reference.box[2:]) / 2
    width, height = reference.box[2:] - reference.box[:2]
    for degrees in (-75, -60, -30, -15, 15, 30, 60, 75):
        cos, sin = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
        long, short = np.linalg.solve([[cos, abs(sin)], [abs(sin), cos]], [width, height])
        if min(long, short) > 0.1 * max(width, height):
            half = np.array([[-long, -short], [long, -short], [long, short], [-long, short]]) / 2
            starts.append(centre + half @ np.array([[cos, sin], [-sin, cos]]))
    return starts


def _upright(outline: np.ndarray, registered: list[_Registered]) -> np.ndarray:
    """Rotate the order of the corners so that the first edge is the top edge in most photos."""
    if geometry.area(outline) < 0:
        outline = outline[::-1]

    def uprightness(turn: int) -> float:
        top_edges = [geometry.project(entry.matrix, np.roll(outline, -turn, axis=0))[:2] for entry in registered]
        directions = [edge[1] - edge[0] for edge in top_edges]
        return sum(float(step[0] / max(np.hypot(*step), 1e-6)) for step in directions)

    return np.roll(outline, -max(range(4), key=uprightness), axis=0)


def _merge(outline: np.ndarray, registered: list[_Registered]) -> _Type:
    """The key points of all views inside the outline, in the reference frame. Each view gives its strongest in turn."""
    points, descriptors, photos, ranks = [], [], [], []
    for entry in registered:
        mapped = geometry.project(np.linalg.inv(entry.matrix), entry.view.features.points.astype(float))
        is_inside = geometry.inside(outline, mapped)
        points.append(mapped[is_inside])
        descriptors.append(entry.view.features.descriptors[is_inside])
        photos.append(np.full(is_inside.sum(), entry.view.photo))
        ranks.append(np.arange(is_inside.sum()))
    order = np.argsort(np.concatenate(ranks), kind="stable")[:_KEY_POINTS_PER_TYPE]
    return _Type(
        outline,
        np.concatenate(points)[order].astype(np.float32),
        np.concatenate(descriptors)[order],
        np.concatenate(photos)[order],
    )


def _assemble(learned: dict[str, _Type], weights: np.ndarray) -> tuple[Detector, np.ndarray]:
    """The detector of all types, and the photo of each of its key points."""
    types = list(learned.values())
    model = Model(
        labels=list(learned),
        outlines=np.array([entry.outline for entry in types], np.float32).reshape(-1, 4, 2),
        points=np.concatenate([np.zeros((0, 2), np.float32), *(entry.points for entry in types)]),
        descriptors=np.concatenate([np.zeros((0, 128), np.uint8), *(entry.descriptors for entry in types)]),
        types=np.repeat(np.arange(len(types)), [len(entry.points) for entry in types]),
        weights=weights,
    )
    return Detector(model), np.concatenate([np.zeros(0, int), *(entry.photos for entry in types)])


def _judged_candidates(
    detector: Detector, sources: np.ndarray, number: int, photo: LabelledPhoto, photo_features: Features | None
) -> list[tuple[np.ndarray, bool]]:
    """The candidates in a training photo, found without that photo's own key points, and whether each is correct."""
    if photo_features is None:
        return []
    judged = []
    for _, candidate in detector.search(photo_features, usable=sources != number):
        label = detector.labels[candidate.type_index]
        right = any(
            box.label == label and geometry.iou(candidate.box, _working_box(box, photo_features)) >= 0.5
            for box in photo.boxes
        )
        judged.append((candidate.evidence, right))
    return judged


def _fit_weights(judged: list[tuple[np.ndarray, bool]]) -> np.ndarray:
    """Logistic regression, regularized towards the prior weights, which apply unchanged if there is no data."""
    if not judged:
        return PRIOR_WEIGHTS
    evidence = np.array([[1.0, *values] for values, _ in judged])
    sign = np.where([right for _, right in judged], 1.0, -1.0)

    def residuals(weights: np.ndarray) -> np.ndarray:
        # Squared residuals are the logistic losses and the squared distance from the prior.
        losses = np.logaddexp(0, -sign * (evidence @ weights))
        return np.concatenate([np.sqrt(2 * losses), weights - PRIOR_WEIGHTS])

    return least_squares(residuals, PRIOR_WEIGHTS, max_nfev=100).x
