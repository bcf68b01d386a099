"""Pictures of documents: decodes a photo, cuts a document out and straightens it, and encodes the result."""

from __future__ import annotations

import cv2
import numpy as np

# Unit: the photo's longer side. The value lies between a phone's wide and tele camera.
_FOCAL_LENGTH = 1.5
# Width / height of ID-1 cards and of passports (ID-3). ID-2 cards have the shape of a passport to within 0.1 %.
_CARD_SHAPES = (85.60 / 53.98, 125.0 / 88.0)
_SHAPE_TOLERANCE = 0.1
_JPEG_QUALITY = 90
_SMALLER = 0.8  # the factor of each step in which a picture is scaled down


def decode(content: bytes) -> np.ndarray | None:
    """The pixels of a JPEG or PNG, h x w x 3 uint8 BGR, as its EXIF orientation says. None if they are broken.

    Check the size of the photo first: the pixels take three bytes each, however small the file is.
    """
    try:
        return cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR)
    except cv2.error:
        return None


def encode(image_bgr: np.ndarray, most_bytes: int, longest_side: int) -> bytes:
    """The picture as a JPEG, scaled down until it has at most ``most_bytes`` and ``longest_side`` pixels a side."""
    scale = min(1.0, longest_side / max(image_bgr.shape[:2]))
    while True:
        size = [max(1, round(side * scale)) for side in reversed(image_bgr.shape[:2])]
        smaller = image_bgr if scale == 1.0 else cv2.resize(image_bgr, size, interpolation=cv2.INTER_AREA)
        _, content = cv2.imencode(".jpg", smaller, [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY])
        if content.nbytes <= most_bytes:
            return content.tobytes()
        scale *= _SMALLER


def crop(
    image_bgr: np.ndarray, box: tuple[float, float, float, float], outline: np.ndarray | None, long_side: int
) -> np.ndarray | None:
    """The document in a photo: straightened to ``long_side`` if it has an outline, else what is in its box.

    Args:
        image_bgr: the photo, height x width x 3, uint8.
        box: left, top, width and height in pixels.
        outline: the corners as for `straighten`, or None.
        long_side: pixels.

    Returns: the crop, or None if the box has no area in the photo.
    """
    if outline is not None:
        return straighten(image_bgr, outline, long_side)
    height, width = image_bgr.shape[:2]
    left, top, across, down = box
    sides = np.round([left, top, left + across, top + down])
    left, top, right, bottom = np.clip(sides, 0, [width, height, width, height]).astype(int)
    return image_bgr[top:bottom, left:right] if right > left and bottom > top else None


def straighten(image_bgr: np.ndarray, outline: np.ndarray, long_side: int = 1000) -> np.ndarray:
    """The document, upright and seen from directly above.

    The longer side of the crop is `long_side` pixels. Its aspect ratio is estimated from the perspective, and snaps to
    that of an ISO/IEC 7810 card or passport if it is close.

    Args:
        image_bgr: the photo, height x width x 3, uint8.
        outline: the document's corners in pixels, 4 x 2, clockwise from the document's own top-left corner. The crop is
            black where the outline lies outside the photo.
        long_side: pixels.

    Raises:
        ValueError: the outline is not four finite corners that enclose an area.
    """
    corners = np.asarray(outline, np.float64)
    if corners.shape != (4, 2) or not np.all(np.isfinite(corners)) or abs(_area(corners)) < 1:
        raise ValueError(
            f"The outline must be four corners (4 x 2 pixels) that enclose an area, but it is {outline!r}: "
            "pass the outline of a detection unchanged."
        )
    ratio = _width_to_height(corners, image_bgr.shape[1], image_bgr.shape[0])
    width, height = (long_side, long_side / ratio) if ratio >= 1 else (long_side * ratio, long_side)
    size = max(1, round(width)), max(1, round(height))
    target = np.array([[0, 0], [size[0], 0], [size[0], size[1]], [0, size[1]]], np.float32)
    matrix = cv2.getPerspectiveTransform(corners.astype(np.float32), target)
    return cv2.warpPerspective(image_bgr, matrix, size, flags=cv2.INTER_AREA)


def _area(corners: np.ndarray) -> float:
    x, y = corners.T
    return float(np.sum(x * np.roll(y, -1) - y * np.roll(x, -1)) / 2)


def _width_to_height(corners: np.ndarray, width: int, height: int) -> float:
    """The aspect ratio, width / height, of the document whose corners appear in the photo.

    The columns of the homography from a unit square to the camera rays are the document's sides in space. They tell a
    tilted card from a narrow one, but amplify small errors in the corners. The estimate is therefore the geometric mean
    of the ratio in space and the ratio in the photo.
    """
    edges = np.linalg.norm(np.roll(corners, -1, axis=0) - corners, axis=1)
    apparent = (edges[0] + edges[2]) / np.maximum(edges[1] + edges[3], 1e-6)
    rays = (corners - [width / 2, height / 2]) / (_FOCAL_LENGTH * max(width, height))
    square = np.array([[0, 0], [1, 0], [1, 1], [0, 1]], np.float32)
    sides = cv2.getPerspectiveTransform(square, rays.astype(np.float32))
    in_space = np.linalg.norm(sides[:, 0]) / np.maximum(np.linalg.norm(sides[:, 1]), 1e-6)
    ratio = min(max(float(np.sqrt(apparent * in_space)), 0.2), 5.0)
    shapes = [shape for card in _CARD_SHAPES for shape in (card, 1 / card)]
    nearest = min(shapes, key=lambda shape: abs(np.log(shape / ratio)))
    return nearest if abs(np.log(nearest / ratio)) < _SHAPE_TOLERANCE else ratio
