"""The distribution of a figure over a job's photos: counted in classes, and drawn as a small SVG."""

from bisect import bisect_right
from collections.abc import Iterable, Sequence
from html import escape
from typing import NamedTuple


class Figure(NamedTuple):
    """A figure of a photo: its name, and the lower ends of its classes. No value is less than the first of them."""

    name: str
    classes: tuple[float, ...]


TENTHS = tuple(tenth / 10 for tenth in range(10))
SHARPNESS = Figure("Sharpness", (0, 0.5, 1, 1.5, 2, 3, 4, 6, 8, 12, 16, 24))
BRIGHTNESS = Figure("Brightness", TENTHS)
SHARE_OF_FRAME = Figure("Largest document, share of the photo", TENTHS)

WIDTH, HEIGHT = 320, 120
# Pixels between the bars and the edge: left and right, above (for the title), below (for the ends of the classes).
SIDE, ABOVE, BELOW = 8, 22, 18
GAP = 2


def share_of_frame(boxes: Iterable[tuple[float, float]], width: int, height: int) -> float:
    """The share of the photo, 0 to 1, that the largest box (width and height in pixels) covers; 0 without a box."""
    return max((across * down for across, down in boxes), default=0) / (width * height)


def counts(figure: Figure, values: Iterable[float]) -> list[int]:
    """The number of values in each of the figure's classes."""
    found = [0] * len(figure.classes)
    for value in values:
        found[max(0, bisect_right(figure.classes, value) - 1)] += 1
    return found


def plot(figure: Figure, found: Sequence[int]) -> str:
    """The counts as bars. A tooltip shows the class and the number of each."""
    total, highest = sum(found), max(max(found), 1)
    title = escape(f"{figure.name} of {total:,} photos")
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{title}">'
        f'<text x="{SIDE}" y="14">{title}</text>'
    ]
    wide, floor = (WIDTH - 2 * SIDE) / len(found), HEIGHT - BELOW
    for place, (low, count) in enumerate(zip(figure.classes, found, strict=True)):
        left, high = SIDE + place * wide, (floor - ABOVE) * count / highest
        above = figure.classes[place + 1] if place + 1 < len(found) else None
        ends = f"{low:g} and more" if above is None else f"{low:g} to {above:g}"
        parts.append(
            f'<rect x="{left:.1f}" y="{floor - high:.1f}" width="{wide - GAP:.1f}" height="{high:.1f}" fill="#2563eb">'
            f"<title>{ends}: {count:,}</title></rect>"
            f'<text class="tick" x="{left:.1f}" y="{HEIGHT - 5}">{low:g}</text>'
        )
    return "".join([*parts, "</svg>"])
