"""What is learned of each document type, and how much a registered photo looks like it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from outlines import geometry
from outlines.features import KeyPoints, View

LONG_SIDE = 640
"""The longer side of a type's own plane, in which its outline is the whole rectangle."""
SIDE_OF_VIEW = 560
"""The longest side of a working copy in pixels."""
KEY_POINTS_OF_VIEW = 1500
MOST_KEY_POINTS = 3000
"""Of a type."""

CELLS = 8

_TEXTURE_SIDE = 160  # pixels of the longer side
_NEIGHBOURHOOD = 6.0  # pixels of the texture, within which light is evened out
_NOISE = 2.0  # grey levels; fainter detail stays faint
_BRIGHTEST = 3.0
_OVEREXPOSED = 250  # grey levels
_TEXTURE_SCALE = 40  # 3 * 40 fits into int8


@dataclass(frozen=True)
class Type(KeyPoints):
    """One document type, in its own plane.

    points, descriptors: key points in the plane; size: width and height of the document, the longer is `LONG_SIDE`;
    texture: int8 of `texture_shape`, the mean of the evened pictures of the training photos, in units of 1 / 40. It is
    strong where all documents of the type look alike, and near 0 where they differ.
    """

    size: np.ndarray
    texture: np.ndarray

    @property
    def outline(self) -> np.ndarray:
        """The corners in the plane, clockwise from the document's own top left."""
        return geometry.corners_of(np.array([0, 0, *self.size], float))


@dataclass(frozen=True)
class Outlines:
    """The learned types by name, and the weights of the logistic confidence, bias first."""

    types: dict[str, Type]
    weights: np.ndarray


def texture_shape(size: np.ndarray) -> tuple[int, int]:
    """Height and width of the texture of a document of ``size``."""
    width, height = np.maximum(np.round(size * _TEXTURE_SIDE / size.max()), CELLS).astype(int)
    return int(height), int(width)


def evened(view: View, matrix: np.ndarray, size: np.ndarray) -> np.ndarray:
    """The picture of the document that ``matrix`` (plane to view) shows, with a local mean of 0 and deviation near 1.

    Float32 of `texture_shape`, -3..3; 0 outside the photo and in glare. Light and shadow have little effect on it.
    """
    height, width = texture_shape(size)
    to_view = matrix @ np.diag([size[0] / width, size[1] / height, 1.0])
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    grey = cv2.warpPerspective(view.grey, to_view, (width, height), flags=flags, borderMode=cv2.BORDER_REPLICATE)
    exposed = (view.grey < _OVEREXPOSED).astype(np.uint8)
    seen = cv2.warpPerspective(exposed, to_view, (width, height), flags=flags)
    detail = grey - cv2.GaussianBlur(grey.astype(np.float32), (0, 0), _NEIGHBOURHOOD)
    deviation = np.sqrt(cv2.GaussianBlur(detail**2, (0, 0), 2 * _NEIGHBOURHOOD))
    return np.where(seen > 0, np.clip(detail / (deviation + _NOISE), -_BRIGHTEST, _BRIGHTEST), 0).astype(np.float32)


def mean_texture(pictures: Sequence[np.ndarray], shape: tuple[int, int]) -> np.ndarray:
    """The texture of evened pictures; 0 without any."""
    mean = np.mean(pictures, axis=0) if pictures else np.zeros(shape)
    return np.round(mean * _TEXTURE_SCALE).astype(np.int8)


def likeness(texture: np.ndarray, picture: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """How much the evened picture is like the texture in each of the `CELLS` x `CELLS` parts of the document.

    Returns the correlations, -1..1, and the weights of the parts. What differs between documents of the type and what
    is outside the photo has no weight.
    """
    mean = texture.astype(np.float32)
    weight = np.abs(mean) * (picture != 0)
    product, own, other, weights = (
        cv2.resize(part, (CELLS, CELLS), interpolation=cv2.INTER_AREA).ravel()
        for part in (weight * mean * picture, weight * mean**2, weight * picture**2, weight)
    )
    return product / np.sqrt(np.maximum(own * other, 1e-12)), weights
