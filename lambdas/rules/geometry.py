"""Rotates boxes, by an angle about their centre and from the stored photo to the upright photo, and compares them."""

from collections.abc import Callable, Iterable, Mapping
from math import cos, radians, sin

Frame = tuple[float, float, float, float]
"""Left, top, width and height in pixels from the top left corner."""
Corners = tuple[tuple[float, float], ...]
"""x and y of the corners of a turned box, or of a polygon.

The order of a box is top left, top right, bottom right, bottom left of the box before its turn.
"""

# EXIF 2.32, "Orientation": the orientations that exchange width and height.
SIDEWAYS = frozenset({5, 6, 7, 8})


def corners_of(frame: Frame, degrees: float = 0) -> Corners:
    """The corners of ``frame``, turned clockwise by ``degrees`` about its centre."""
    left, top, width, height = frame
    x, y = left + width / 2, top + height / 2
    along, across = cos(radians(degrees)), sin(radians(degrees))
    sides = ((-width / 2, -height / 2), (width / 2, -height / 2), (width / 2, height / 2), (-width / 2, height / 2))
    return tuple(
        (round(x + right * along - down * across, 3), round(y + right * across + down * along, 3))
        for right, down in sides
    )


def hull(points: Iterable[tuple[float, float]]) -> Corners:
    """The corners of the convex hull of ``points``, clockwise on the screen."""
    ordered = sorted(set(points))

    def half(some: Iterable[tuple[float, float]]) -> list[tuple[float, float]]:
        corners: list[tuple[float, float]] = []
        for x, y in some:
            while len(corners) > 1:
                (x1, y1), (x2, y2) = corners[-2:]
                if (x2 - x1) * (y - y1) - (y2 - y1) * (x - x1) > 0:
                    break
                corners.pop()
            corners.append((x, y))
        return corners[:-1]

    return (*half(ordered), *half(reversed(ordered)))


def around(corners: Corners) -> Frame:
    """The smallest frame around ``corners``."""
    xs, ys = [x for x, _ in corners], [y for _, y in corners]
    return min(xs), min(ys), max(xs) - min(xs), max(ys) - min(ys)


def overlap(one: Frame, other: Frame) -> float:
    """The intersection over union of two frames with an area; 0 to 1."""
    common = 1.0
    for side in (0, 1):
        near, far = max(one[side], other[side]), min(one[side] + one[side + 2], other[side] + other[side + 2])
        common *= max(0.0, far - near)
    union = one[2] * one[3] + other[2] * other[3] - common
    return common / union if union > 0 else 0.0


def as_seen(corners: Corners, orientation: int, width: int, height: int) -> Corners:
    """Turn ``corners`` in a stored photo of ``width`` x ``height`` pixels as the EXIF orientation says."""
    turns: Mapping[int, Callable[[float, float], tuple[float, float]]] = {
        2: lambda x, y: (width - x, y),
        3: lambda x, y: (width - x, height - y),
        4: lambda x, y: (x, height - y),
        5: lambda x, y: (y, x),
        6: lambda x, y: (height - y, x),
        7: lambda x, y: (height - y, width - x),
        8: lambda x, y: (y, width - x),
    }
    turn = turns.get(orientation)
    return tuple(turn(x, y) for x, y in corners) if turn else corners


def fit(frames: Iterable[Frame], width: int, height: int) -> bool:
    """Whether all ``frames`` lie in a photo of ``width`` x ``height`` pixels, with one pixel allowed for rounding."""
    return all(
        left >= -1 and top >= -1 and left + wide <= width + 1 and top + high <= height + 1
        for left, top, wide, high in frames
    )
