"""Learns the outlines of document types from photos with labelled boxes."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Protocol, TypeVar

import cv2
import numpy as np

from outlines import corners, features, finding, fitting, geometry
from outlines.corners import Sighting
from outlines.features import KeyPoints, View
from outlines.model import (
    KEY_POINTS_OF_VIEW,
    LONG_SIDE,
    MOST_KEY_POINTS,
    SIDE_OF_VIEW,
    Outlines,
    Type,
    evened,
    mean_texture,
    texture_shape,
)

PHOTOS_PER_TYPE = 60
"""More photos add time, not accuracy."""
_VIEWS_JUDGED = 60  # enough to fit the weights of the confidence
_STRANGERS = 3  # documents are also judged as this number of other types, which they are not
_REFERENCES = 3
_MIN_KEY_POINTS = 12
_MIN_INLIERS = 10
_MIN_INLIERS_MERGED = 14
_RIGHT = 0.8  # IoU

PRIOR_WEIGHTS = np.array([-9.0, 1.0, 2.0, 3.0, 6.0, -8.0])
"""Of the bias and of each part of `finding.weigh`. Chosen with scenes of eleven types; each `learn` adjusts them."""

_Document = TypeVar("_Document")


@dataclass(frozen=True)
class Box:
    """A labelled document: its type, its box in pixels of the photo, and its polygon (n x 2 pixels) if it has one."""

    label: str
    left: float
    top: float
    width: float
    height: float
    polygon: np.ndarray | None = None


class Photos(Protocol):
    """Photos that are read when they are needed: h x w x 3 uint8 BGR, or None if unreadable."""

    def __getitem__(self, number: int, /) -> np.ndarray | None: ...


@dataclass(frozen=True)
class _Labelled:
    """A labelled document in its view. ``drawn`` is its label in the view's pixels."""

    photo: int
    label: str
    view: View
    drawn: corners.Label


@dataclass(frozen=True)
class Learned:
    """A learned type, with what each photo gave: the photo of each key point, and the evened pictures by photo."""

    kind: Type
    photos: np.ndarray
    pictures: list[tuple[int, np.ndarray]]

    def without(self, photo: int) -> Type:
        """The type without the key points and the picture of one photo."""
        kept = self.photos != photo
        others = [picture for number, picture in self.pictures if number != photo]
        texture = mean_texture(others, self.kind.texture.shape)
        return replace(
            self.kind, points=self.kind.points[kept], descriptors=self.kind.descriptors[kept], texture=texture
        )


def learn(
    photos: Photos, boxes: Sequence[Sequence[Box]], progress: Callable[[int, int], None] | None = None
) -> Outlines:
    """Learn the outlines of all types in labelled photos; ``boxes[n]`` are the labels of ``photos[n]``.

    The same photos in the same order give the same outlines. Unreadable photos are ignored. A type without a usable
    photo is not learned. ``progress(done, total)`` is called from this thread.
    """
    chosen = _choose(boxes)
    labels = _labels(chosen)
    total, done = len(chosen) + len(labels), 0

    def step() -> None:
        nonlocal done
        done += 1
        if progress is not None:
            progress(done, total)

    with features.single_threaded_opencv(), ThreadPoolExecutor(os.cpu_count()) as pool:
        views: list[_Labelled] = []
        for of_photo in pool.map(lambda number: _views(number, photos[number], chosen[number]), chosen):
            views += of_photo
            step()
        learned: dict[str, Learned] = {}
        of_types = [[view for view in views if view.label == label] for label in labels]
        for label, known in zip(labels, pool.map(_learn_type, of_types), strict=True):
            if known is not None:
                learned[label] = known
            step()
        views = [view for view in views if _was_learned_from(view.photo, view.label, learned)]
        judged = [
            pair for of_view in pool.map(lambda one: _judge(one[0], one[1], learned), _some(views)) for pair in of_view
        ]
    return Outlines({label: known.kind for label, known in learned.items()}, _weights(judged))


def learn_type(photos: Photos, boxes: Mapping[int, Sequence[Box]]) -> Learned | None:
    """Learn one type; ``boxes[n]`` are its labels in ``photos[n]``. None without a usable photo.

    `learn` in steps, for more photos than there is time for at once: this for each type, then `join`.
    """
    with features.single_threaded_opencv(), ThreadPoolExecutor(os.cpu_count()) as pool:
        views = [view for of in pool.map(lambda n: _views(n, photos[n], boxes[n]), boxes) for view in of]
        return _learn_type(views, pool.map)


def join(learned: Mapping[str, Learned], photos: Photos, boxes: Mapping[int, Sequence[Box]]) -> Outlines:
    """The outlines of types that `learn_type` has learned; ``boxes[n]`` are the labels of all types in ``photos[n]``.

    Reads up to 60 photos again.
    """
    documents = [
        (number, box)
        for number, of_photo in sorted(boxes.items())
        for box in of_photo
        if _was_learned_from(number, box.label, learned)
    ]

    def judge(document: tuple[int, tuple[int, Box]]) -> list[tuple[np.ndarray, bool]]:
        place, (number, box) = document
        return [pair for view in _views(number, photos[number], [box]) for pair in _judge(place, view, learned)]

    with features.single_threaded_opencv(), ThreadPoolExecutor(os.cpu_count()) as pool:
        judged = [pair for of_document in pool.map(judge, _some(documents)) for pair in of_document]
    return Outlines({label: known.kind for label, known in learned.items()}, _weights(judged))


def _was_learned_from(photo: int, label: str, learned: Mapping[str, Learned]) -> bool:
    """Whether the type was learned from the photo. If not, the photo may have a wrong label."""
    return label in learned and photo in learned[label].photos


def _some(documents: Sequence[_Document]) -> list[tuple[int, _Document]]:
    """Up to `_VIEWS_JUDGED` of the documents, evenly, each with its place."""
    count = min(len(documents), _VIEWS_JUDGED)
    return [(place, documents[place]) for place in np.unique(np.linspace(0, len(documents) - 1, count).astype(int))]


def _weights(judged: Sequence[tuple[np.ndarray, bool]]) -> np.ndarray:
    evidence = np.array([parts for parts, _ in judged]).reshape(len(judged), len(PRIOR_WEIGHTS) - 1)
    return fitting.regress(evidence, np.array([right for _, right in judged], float), PRIOR_WEIGHTS)


def _labels(boxes: Mapping[int, Sequence[Box]]) -> list[str]:
    return sorted({box.label for of_photo in boxes.values() for box in of_photo})


def _choose(boxes: Sequence[Sequence[Box]]) -> dict[int, list[Box]]:
    """By photo, the first documents of each type, to limit time and memory."""
    counts: Counter[str] = Counter()
    chosen: dict[int, list[Box]] = {}
    for photo, of_photo in enumerate(boxes):
        for box in of_photo:
            counts[box.label] += 1
            if counts[box.label] <= PHOTOS_PER_TYPE:
                chosen.setdefault(photo, []).append(box)
    return chosen


def _views(number: int, photo: np.ndarray | None, boxes: Sequence[Box]) -> list[_Labelled]:
    """The documents of a photo that have enough key points to learn from."""
    if photo is None:
        return []
    height, width = photo.shape[:2]
    views = []
    for box in boxes:
        sides = geometry.sides(box)
        if not np.all(np.isfinite(sides)):
            continue
        sides = np.clip(sides, 0, [width, height] * 2)
        view = features.look(photo, sides, SIDE_OF_VIEW, KEY_POINTS_OF_VIEW)
        working = view.to_working(sides.reshape(2, 2)).ravel()
        polygon = None if box.polygon is None else corners.four_corners(box.polygon)
        if len(view.inside(working).points) >= _MIN_KEY_POINTS:
            drawn = None if polygon is None else view.to_working(polygon)
            views.append(_Labelled(number, box.label, view, corners.Label(working, drawn, view.frame)))
    return views


def _learn_type(views: list[_Labelled], each: Callable[..., Iterable[Any]] = map) -> Learned | None:
    """Learn one type: choose the reference, register the other views to it, fit the outline, merge the key points.

    ``each`` calls a function for each item, as `map` does.
    """
    if not views:
        return None
    inside = [view.view.inside(view.drawn.box) for view in views]
    numbers = range(len(views))
    attempts = []
    for reference in sorted(numbers, key=lambda n: -len(inside[n].points))[:_REFERENCES]:
        own = Sighting(reference, np.eye(3), np.zeros((0, 2), np.float32))
        others = each(partial(_register_to, inside[reference], inside), [n for n in numbers if n != reference])
        attempts.append([own] + [sighting for sighting in others if sighting is not None])
    labels = [view.drawn for view in views]
    # A photo with a wrong label may register to all others too, but with few matches.
    best = max(attempts, key=lambda attempt: sum(len(sighting.matched) for sighting in attempt))
    outline, sightings = corners.fit(best, labels, None)
    # Again, each view with the key points of all others: more matches, which also cover more of the document.
    merged, sources = _merge(outline, sightings, inside)

    def register_again(number: int) -> Sighting | None:
        rest = KeyPoints(merged.points[sources != number], merged.descriptors[sources != number])
        return _register(rest, number, inside[number], _MIN_INLIERS_MERGED)

    if refined := [sighting for sighting in each(register_again, numbers) if sighting is not None]:
        outline, sightings = corners.fit(refined, labels, outline)
    return _assemble(outline, sightings, inside, [view.photo for view in views])


def _register_to(reference: View, inside: list[View], number: int) -> Sighting | None:
    return _register(reference, number, inside[number], _MIN_INLIERS)


def _register(reference: KeyPoints, number: int, view: View, least: int) -> Sighting | None:
    """Register a view to key points of the reference frame. None if fewer than ``least`` matches agree."""
    in_view, in_reference = finding.match(view, reference)
    found = geometry.homography(reference.points[in_reference], view.points[in_view])
    if found is None or len(found[1]) < least:
        return None
    matrix, inliers = found
    matched = reference.points[in_reference[inliers]]
    depth = matched.mean(axis=0) @ matrix[2, :2] + matrix[2, 2]
    if abs(depth) < 1e-9:
        return None
    matrix = matrix / depth  # positive where the document is in front of the camera
    return Sighting(number, matrix, matched) if np.linalg.det(matrix) > 0 else None


def _merge(outline: np.ndarray, sightings: list[Sighting], inside: list[View]) -> tuple[KeyPoints, np.ndarray]:
    """The key points of all views inside the outline, in the reference frame, and the view of each.

    Each view gives its strongest in turn.
    """
    points, descriptors, views, ranks = [], [], [], []
    for sighting in sightings:
        view = inside[sighting.view]
        mapped = geometry.project(np.linalg.inv(sighting.matrix), view.points.astype(float))
        is_inside = geometry.inside(outline, mapped)
        points.append(mapped[is_inside])
        descriptors.append(view.descriptors[is_inside])
        views.append(np.full(is_inside.sum(), sighting.view))
        ranks.append(np.arange(is_inside.sum()))
    order = np.argsort(np.concatenate(ranks), kind="stable")[:MOST_KEY_POINTS]
    merged = KeyPoints(np.concatenate(points)[order].astype(np.float32), np.concatenate(descriptors)[order])
    return merged, np.concatenate(views)[order]


def _assemble(outline: np.ndarray, sightings: list[Sighting], inside: list[View], photos: list[int]) -> Learned:
    """The type in its own plane. ``photos`` has the photo of each view."""
    lengths = np.linalg.norm(np.roll(outline, -1, axis=0) - outline, axis=1)
    size = np.array([lengths[0] + lengths[2], lengths[1] + lengths[3]])
    size = size * LONG_SIDE / size.max()
    plane = geometry.corners_of(np.array([0, 0, *size])).astype(np.float32)
    to_plane = cv2.getPerspectiveTransform(outline.astype(np.float32), plane)
    merged, views = _merge(outline, sightings, inside)
    pictures = [
        (photos[sighting.view], evened(inside[sighting.view], sighting.matrix @ np.linalg.inv(to_plane), size))
        for sighting in sightings
    ]
    texture = mean_texture([picture for _, picture in pictures], texture_shape(size))
    points = geometry.project(to_plane, merged.points.astype(float)).astype(np.float32)
    return Learned(Type(points, merged.descriptors, size, texture), np.array(photos)[views], pictures)


def _judge(place: int, view: _Labelled, learned: Mapping[str, Learned]) -> list[tuple[np.ndarray, bool]]:
    """The evidence for the document's own type, learned without its photo, and for some types that it is not."""
    names = [label for label in sorted(learned) if label != view.label]
    strangers = [names[(place * _STRANGERS + turn) % len(names)] for turn in range(min(_STRANGERS, len(names)))]
    judged = []
    for label in [view.label, *strangers]:
        kind = learned[label].without(view.photo)
        registered = finding.register(view.view, kind)
        if registered is None:
            continue
        overlap = geometry.iou(geometry.bounding_box(registered.corners, view.view.frame), view.drawn.box)
        if overlap >= finding.LEAST_AGREEMENT:
            right = label == view.label and overlap >= _RIGHT
            judged.append((finding.weigh(view.view, registered, kind), right))
    return judged
