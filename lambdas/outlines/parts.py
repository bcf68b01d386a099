"""The file of one learned type, with what its join with the other types needs."""

from __future__ import annotations

import io
from collections.abc import Sequence

import numpy as np

from outlines.comparison import Compared
from outlines.learning import Learned
from outlines.model import Type

_UNITS = 40  # of the pictures, which are -3..3; fits into int8


def pack(learned: Learned | None, compared: Sequence[Compared], unread: int) -> bytes:
    """The content of the file of a type, None if it could not be learned, and of its compared test documents.

    ``unread`` is the number of photos that could not be read.
    """
    arrays = {"compared": _rows(compared), "unread": np.array(unread)}
    if learned is not None:
        kind, shape = learned.kind, learned.kind.texture.shape
        pictures = np.array([picture for _, picture in learned.pictures]).reshape(-1, *shape)
        arrays |= {
            "points": kind.points,
            "descriptors": kind.descriptors,
            "size": kind.size,
            "texture": kind.texture,
            "photos": learned.photos,
            "picture_photos": np.array([photo for photo, _ in learned.pictures], int),
            "pictures": np.round(pictures * _UNITS).astype(np.int8),
        }
    file = io.BytesIO()
    np.savez(file, allow_pickle=False, **arrays)
    return file.getvalue()


def unpack(content: bytes) -> tuple[Learned | None, list[Compared], int]:
    """What `pack` wrote; the pictures are rounded."""
    with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
        compared = [
            Compared(row[4:], float(row[0]), float(row[1]), float(row[2]), bool(row[3])) for row in arrays["compared"]
        ]
        if "points" not in arrays:
            return None, compared, int(arrays["unread"])
        kind = Type(arrays["points"], arrays["descriptors"], arrays["size"], arrays["texture"])
        pictures = arrays["pictures"].astype(np.float32) / _UNITS
        numbers = arrays["picture_photos"].tolist()
        learned = Learned(kind, arrays["photos"], list(zip(numbers, pictures, strict=True)))
        return learned, compared, int(arrays["unread"])


def _rows(compared: Sequence[Compared]) -> np.ndarray:
    rows = [[one.box_iou, one.polygon_iou, one.corner_error, one.has_polygon, *one.evidence] for one in compared]
    return np.array(rows, float).reshape(len(rows), -1 if rows else 0)
