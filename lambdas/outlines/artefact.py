"""The file of a model's outlines: a line of JSON that describes the file, then the plain arrays of each type.

The JSON has the format, its version, the weights of the confidence, the SHA-256 of what follows, and the name, size and
number of key points of each type. The arrays of a type are its points (float32), its descriptors (uint8) and its
texture (int8), little-endian. The same outlines give the same bytes.

The texture is a mean of small pictures of the training documents. With few photos, it shows these: keep the file as you
keep the photos.
"""

from __future__ import annotations

import hashlib
import json
from math import isfinite
from typing import Any

import numpy as np

from outlines.learning import PRIOR_WEIGHTS
from outlines.model import LONG_SIDE, MOST_KEY_POINTS, Outlines, Type, texture_shape

_FORMAT = "ekyc outlines"
_VERSION = 1
_LONGEST_HEAD = 1_000_000
_DESCRIPTOR = 128
_POINT = np.dtype("<f4")


class UnusableOutlines(ValueError):
    """A file is not one that `save` wrote. The message says why."""


def save(outlines: Outlines) -> bytes:
    """The content of the file."""
    body = b"".join(
        part.tobytes()
        for kind in outlines.types.values()
        for part in (kind.points.astype(_POINT), kind.descriptors, kind.texture)
    )
    head = {
        "format": _FORMAT,
        "version": _VERSION,
        "sha256": hashlib.sha256(body).hexdigest(),
        "weights": outlines.weights.tolist(),
        "types": [
            {"name": name, "size": kind.size.tolist(), "points": len(kind.points)}
            for name, kind in outlines.types.items()
        ],
    }
    return json.dumps(head).encode() + b"\n" + body


def load(content: bytes) -> Outlines:
    """The outlines of a file, exactly those that were saved. Raises UnusableOutlines."""
    line, _, body = content[:_LONGEST_HEAD].partition(b"\n")
    body = content[len(line) + 1 :]
    try:
        head = json.loads(line)
    except (ValueError, RecursionError):
        raise UnusableOutlines(
            "The file of outlines does not begin with a line of JSON: learn the outlines again."
        ) from None
    if not isinstance(head, dict) or head.get("format") != _FORMAT:
        raise UnusableOutlines(f"The file's format is not {_FORMAT!r}: it is no file of outlines.")
    if head.get("version") != _VERSION:
        raise UnusableOutlines(
            f"The file of outlines has version {head.get('version')!r}, but this program reads version {_VERSION}: "
            "learn the outlines again."
        )
    if head.get("sha256") != hashlib.sha256(body).hexdigest():
        raise UnusableOutlines("The file of outlines is damaged: its SHA-256 is not the one that it names.")
    weights = _numbers(head.get("weights"), len(PRIOR_WEIGHTS), "weights")
    described = head.get("types")
    if not isinstance(described, list):
        raise UnusableOutlines("The file of outlines has no list of types.")
    types: dict[str, Type] = {}
    for entry in described:
        name = entry.get("name") if isinstance(entry, dict) else None
        if not isinstance(name, str) or name in types:
            raise UnusableOutlines(f"The file of outlines has a type without a name of its own: {name!r}.")
        types[name], body = _type(name, entry, body)
    if body:
        raise UnusableOutlines(f"The file of outlines has {len(body)} bytes after its last type.")
    return Outlines(types, weights)


def _type(name: str, entry: dict[str, Any], body: bytes) -> tuple[Type, bytes]:
    """The type at the start of the body, and the rest of the body."""
    size = _numbers(entry.get("size"), 2, f"size of {name!r}")
    count = entry.get("points")
    if size.min() < 1 or size.max() > LONG_SIDE + 1:
        raise UnusableOutlines(f"The size of {name!r} in the file of outlines is not within 1 to {LONG_SIDE}: {size}.")
    if type(count) is not int or not 0 <= count <= MOST_KEY_POINTS:
        raise UnusableOutlines(
            f"The file of outlines gives {name!r} {count!r} key points, but a type has at most {MOST_KEY_POINTS}."
        )
    shape = texture_shape(size)
    lengths = 2 * count * _POINT.itemsize, count * _DESCRIPTOR, shape[0] * shape[1]
    if len(body) < sum(lengths):
        raise UnusableOutlines(f"The file of outlines ends within the type {name!r}.")
    points, descriptors, texture = np.split(np.frombuffer(body, np.uint8, sum(lengths)), np.cumsum(lengths)[:2])
    places = points.view(_POINT).reshape(count, 2).astype(np.float32)
    if not np.all(np.isfinite(places)):
        raise UnusableOutlines(f"A key point of {name!r} in the file of outlines is not a number.")
    kind = Type(places, descriptors.reshape(count, _DESCRIPTOR), size, texture.view(np.int8).reshape(shape))
    return kind, body[sum(lengths) :]


def _numbers(values: object, count: int, what: str) -> np.ndarray:
    """An array of ``count`` finite numbers. Raises UnusableOutlines."""
    numbers = values if isinstance(values, list) else []
    if len(numbers) != count or not all(type(n) in (int, float) and isfinite(n) for n in numbers):
        raise UnusableOutlines(f"The {what} in the file of outlines must be {count} numbers.")
    return np.array(numbers, float)
