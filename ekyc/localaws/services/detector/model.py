"""The detector: finds documents of the trained types in a photo."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from ekyc.localaws.services.detector import features, geometry
from ekyc.localaws.services.detector.features import Features

NEIGHBOURS = 8
_MIN_INLIERS = 7
_MOST_OF_A_TYPE = 3
_OVERLAP = 0.4
_CHECKS = 48  # leaves that the index visits for each query. More leaves find more matches, but take longer.
_TREES = 4


@dataclass(frozen=True)
class Box:
    """A labelled document: its type and its axis-aligned box in pixels of the photo."""

    label: str
    left: float
    top: float
    width: float
    height: float


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


@dataclass(frozen=True)
class Candidate:
    """A registered document without its confidence, in working-copy pixels."""

    type_index: int
    evidence: np.ndarray
    outline: np.ndarray
    box: np.ndarray


@dataclass(frozen=True)
class Model:
    """The trained model.

    labels: the names of the types; outlines: types x 4 x 2, in each type's reference frame; points: n x 2 float32, the
    key points of all types, in their type's reference frame; descriptors: n x 128 uint8; types: n, indices into labels;
    weights: of the logistic confidence, bias first.
    """

    labels: list[str]
    outlines: np.ndarray
    points: np.ndarray
    descriptors: np.ndarray
    types: np.ndarray
    weights: np.ndarray


class Detector:
    """Finds the outlines of documents of the trained types."""

    def __init__(self, model: Model) -> None:
        self.model = model
        self._index: cv2.flann.Index | None = None
        if len(model.points) >= NEIGHBOURS:
            cv2.setRNGSeed(0)  # the index's trees are random; with a seed, the same model gives the same results
            self._vectors = model.descriptors.astype(np.float32)  # the index refers to this array: keep it alive
            self._index = cv2.flann.Index(self._vectors, {"algorithm": 1, "trees": _TREES})

    @property
    def labels(self) -> list[str]:
        """The trained types."""
        return self.model.labels

    def detect(self, image_bgr: np.ndarray) -> list[Detection]:
        """The documents in a photo (h x w x 3 uint8, BGR), in descending order of confidence.

        Includes all registered documents, even with a low confidence. Filter by `confidence`.
        """
        photo = features.extract(image_bgr)
        return [self._detection(confidence, candidate, photo) for confidence, candidate in self.search(photo)]

    def search(self, photo: Features, usable: np.ndarray | None = None) -> list[tuple[float, Candidate]]:
        """Candidates in descending order of confidence. Of overlapping candidates, only the most confident is returned.

        `usable` is a mask of the model's key points to match with.
        """
        candidates = [(self.confidence(candidate), candidate) for candidate in self._candidates(photo, usable)]
        candidates.sort(key=lambda pair: -pair[0])
        separate: list[tuple[float, Candidate]] = []
        for confidence, candidate in candidates:
            if all(geometry.iou(candidate.box, other.box) < _OVERLAP for _, other in separate):
                separate.append((confidence, candidate))
        return separate

    def confidence(self, candidate: Candidate) -> float:
        """The probability, 0..1, that the candidate is a document of its type."""
        return float(1 / (1 + np.exp(-(self.model.weights[0] + self.model.weights[1:] @ candidate.evidence))))

    def _candidates(self, photo: Features, usable: np.ndarray | None) -> list[Candidate]:
        """All registered documents, including overlapping ones."""
        model = self.model
        if self._index is None or len(photo.points) < _MIN_INLIERS:
            return []
        neighbours, squared = self._index.knnSearch(
            photo.descriptors.astype(np.float32), NEIGHBOURS, params={"checks": _CHECKS}
        )
        distances = np.sqrt(np.where(neighbours >= 0, squared, np.inf))
        if usable is not None:
            distances = np.where(usable[neighbours], distances, np.inf)
            order = np.argsort(distances, axis=1, kind="stable")
            neighbours = np.take_along_axis(neighbours, order, axis=1)
            distances = np.take_along_axis(distances, order, axis=1)
        in_photo, in_model = geometry.unambiguous(neighbours, distances, model.points, model.types)
        candidates: list[Candidate] = []
        for type_index in range(len(model.labels)):
            of_type = model.types[in_model] == type_index
            candidates += self._of_type(
                type_index, model.points[in_model[of_type]], photo.points[in_photo[of_type]], photo
            )
        return candidates

    def _of_type(self, type_index: int, source: np.ndarray, target: np.ndarray, photo: Features) -> list[Candidate]:
        """Up to three documents of one type: register one, remove the matches that it explains, repeat."""
        candidates: list[Candidate] = []
        while len(candidates) < _MOST_OF_A_TYPE and len(source) >= _MIN_INLIERS:
            registered = geometry.homography(source, target)
            if registered is None or len(registered[1]) < _MIN_INLIERS:
                break
            matrix, inliers = registered
            outline = geometry.project(matrix, self.model.outlines[type_index].astype(float))
            if not geometry.plausible(outline, photo.width, photo.height):
                break
            explained = geometry.inside(outline, target)
            explained[inliers] = True
            box = geometry.bounding_box(outline, photo.width, photo.height)
            evidence = self._evidence(type_index, source[inliers], matrix, int(explained.sum()), photo)
            candidates.append(Candidate(type_index, evidence, outline, box))
            source, target = source[~explained], target[~explained]
        return candidates

    def _evidence(
        self, type_index: int, inliers: np.ndarray, matrix: np.ndarray, matches: int, photo: Features
    ) -> np.ndarray:
        """The evidence for a registration: log of the inliers, their share of the matches, their coverage."""
        outline = self.model.outlines[type_index]
        to_square = cv2.getPerspectiveTransform(outline.astype(np.float32), _SQUARE)
        steps = (np.arange(5) + 0.5) / 5
        cells = np.stack(np.meshgrid(steps, steps), axis=-1).reshape(-1, 2)
        in_photo = geometry.project(matrix @ np.linalg.inv(to_square), cells)
        visible = np.all((in_photo >= 0) & (in_photo < [photo.width, photo.height]), axis=1)
        spots = np.clip((geometry.project(to_square, inliers) * 5).astype(int), 0, 4)
        covered = len(np.unique(spots[:, 1] * 5 + spots[:, 0]))
        return np.array([np.log(len(inliers)), len(inliers) / matches, min(1.0, covered / max(1, visible.sum()))])

    def _detection(self, confidence: float, candidate: Candidate, photo: Features) -> Detection:
        left, top, right, bottom = (float(side) for side in candidate.box / photo.scale)
        return Detection(
            label=self.model.labels[candidate.type_index],
            confidence=confidence,
            outline=candidate.outline / photo.scale,
            left=left,
            top=top,
            width=right - left,
            height=bottom - top,
        )

    def save(self, path: Path) -> None:
        """Write the model to a .npz file with plain arrays only."""
        model = self.model
        with path.open("wb") as file:
            np.savez_compressed(
                file,
                labels=np.array(model.labels, dtype=np.str_),
                outlines=model.outlines,
                points=model.points,
                descriptors=model.descriptors,
                types=model.types,
                weights=model.weights,
            )

    @classmethod
    def load(cls, path: Path) -> Detector:
        """Read a model that `save` wrote. It gives exactly the same results."""
        with np.load(path, allow_pickle=False) as arrays:
            return cls(
                Model(
                    labels=[str(label) for label in arrays["labels"]],
                    outlines=arrays["outlines"],
                    points=arrays["points"],
                    descriptors=arrays["descriptors"],
                    types=arrays["types"],
                    weights=arrays["weights"],
                )
            )


_SQUARE = np.array([[0, 0], [1, 0], [1, 1], [0, 1]], np.float32)
