"""Compares the outlines that are found in labelled photos with the labels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import nan

import cv2
import numpy as np

from outlines import features, finding, geometry
from outlines.corners import four_corners
from outlines.learning import Box, Learned
from outlines.model import KEY_POINTS_OF_VIEW, SIDE_OF_VIEW, Outlines

_CONFIDENT = 0.5
_EVIDENCE = 5  # numbers of `finding.weigh`


@dataclass(frozen=True)
class Compared:
    """The comparison of a labelled document with the outline that is found in its labelled box.

    evidence: of `finding.weigh`; NaN if there is no outline. box_iou: of the outline's box with the labelled box;
    polygon_iou, corner_error: of the outline with the labelled polygon, the error as the mean distance of the corners
    in diagonals of the polygon. NaN if there is no outline or no polygon. has_polygon: whether the label has one.
    """

    evidence: np.ndarray
    box_iou: float = nan
    polygon_iou: float = nan
    corner_error: float = nan
    has_polygon: bool = False


@dataclass(frozen=True)
class Summary:
    """The figures of compared documents; medians and means over the documents that have an outline, else None.

    outlined: those with an outline whose confidence is at least 0.5. box_iou: the mean over them. polygons: the
    outlined documents that have a labelled polygon. polygon_iou: the mean over these; corner_error: the median.
    """

    documents: int
    outlined: int
    box_iou: float | None
    polygons: int
    polygon_iou: float | None
    corner_error: float | None


def compare(photo: np.ndarray | None, box: Box, learned: Learned | None) -> Compared:
    """Find the outline of the document in its labelled box, and compare it. An unreadable photo has no outline."""
    polygon = None if box.polygon is None else four_corners(box.polygon)
    missed = Compared(np.full(_EVIDENCE, nan), has_polygon=polygon is not None)
    sides = geometry.sides(box)
    if photo is None or learned is None or not np.all(np.isfinite(sides)):
        return missed
    with features.single_threaded_opencv():
        view = features.look(photo, sides, SIDE_OF_VIEW, KEY_POINTS_OF_VIEW)
        found = finding.agreeing(view, view.to_working(sides.reshape(2, 2)).ravel(), learned.kind)
        if found is None:
            return missed
        evidence = finding.weigh(view, found, learned.kind)
    corners = view.to_photo(found.corners)
    frame = np.array([0, 0, photo.shape[1], photo.shape[0]], float)
    box_iou = geometry.iou(geometry.bounding_box(corners, frame), sides)
    if polygon is None:
        return Compared(evidence, box_iou)
    common, _ = cv2.intersectConvexConvex(corners.astype(np.float32), polygon.astype(np.float32))
    union = abs(geometry.area(corners)) + abs(geometry.area(polygon)) - common
    # The first corner of a labelled polygon may be any of the document's.
    distances = [np.linalg.norm(np.roll(polygon, turn, axis=0) - corners, axis=1).mean() for turn in range(4)]
    diagonal = max(np.linalg.norm(polygon[0] - polygon[2]), np.linalg.norm(polygon[1] - polygon[3]), 1.0)
    return Compared(evidence, box_iou, float(common / max(union, 1.0)), float(min(distances) / diagonal), True)


def summarize(compared: Sequence[Compared], outlines: Outlines) -> Summary:
    """The figures of the documents, with the weights of the confidence in ``outlines``."""
    outlined = [
        one
        for one in compared
        if not np.isnan(one.evidence).any() and finding.confidence(outlines.weights, one.evidence) >= _CONFIDENT
    ]
    drawn = [one for one in outlined if one.has_polygon]
    return Summary(
        len(compared),
        len(outlined),
        float(np.mean([one.box_iou for one in outlined])) if outlined else None,
        len(drawn),
        float(np.mean([one.polygon_iou for one in drawn])) if drawn else None,
        float(np.median([one.corner_error for one in drawn])) if drawn else None,
    )
