"""Drawing tools shared by documents, objects and table tops: colours, text, engraved lines, smooth noise."""

import threading
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import cv2
import numpy as np

Ink = tuple[int, int, int]  # blue, green, red: OpenCV's order

_fonts = threading.local()


@dataclass(frozen=True)
class Sprite:
    """A flat object in a scene: pixels (BGR), coverage (0 to 255) and pixels per millimetre."""

    image: np.ndarray
    mask: np.ndarray
    pixels_per_mm: float


@dataclass(frozen=True)
class TextStyle:
    """How text is drawn: size in pixels, colour, weight and typeface, and the anchor: which end is at the point."""

    size: int
    colour: Ink
    weight: int = 400
    face: Literal["sans", "italic"] = "sans"
    align: Literal["left", "centre", "right"] = "left"


def ink(hex_rgb: str) -> Ink:
    """The colour in OpenCV's order, from RGB as in `"1f4e79"`."""
    red, green, blue = bytes.fromhex(hex_rgb)
    return blue, green, red


def mix(first: Ink, second: Ink, share: float) -> Ink:
    """The colour between the first (`share` 0) and the second (`share` 1)."""
    blue, green, red = (round(a + (b - a) * share) for a, b in zip(first, second, strict=True))
    return blue, green, red


def _font(name: str) -> cv2.FontFace:
    # A FontFace changes its weight while it draws, so threads must not share one.
    fonts: dict[str, cv2.FontFace] = _fonts.__dict__
    if name not in fonts:
        fonts[name] = cv2.FontFace(name)
    return fonts[name]


def text(image: np.ndarray, words: str, at: tuple[float, float], style: TextStyle) -> None:
    """Write on `image`, from the point `at` on the baseline. OpenCV's own fonts cover Latin and Chinese."""
    font, (x, y) = _font(style.face), at
    if style.align != "left":
        width = cv2.getTextSize((0, 0), words, (0, 0), font, style.size, style.weight)[2]
        x -= width / 2 if style.align == "centre" else width
    cv2.putText(image, words, (round(x), round(y)), style.colour, font, style.size, style.weight)


def spaced_text(image: np.ndarray, words: str, at: tuple[float, float], pitch: float, style: TextStyle) -> None:
    """Write each character centred in a cell of `pitch` pixels, as in a machine-readable zone."""
    x, y = at
    centred = replace(style, align="centre")
    for place, character in enumerate(words):
        text(image, character, (x + (place + 0.5) * pitch, y), centred)


def curve(image: np.ndarray, points: np.ndarray, colour: Ink, width: int = 1, closed: bool = False) -> None:
    """Draw an antialiased line through n x 2 points, with a precision of a sixteenth of a pixel."""
    cv2.polylines(image, [_sixteenths(points)], closed, colour, width, cv2.LINE_AA, 4)


def fill(image: np.ndarray, points: np.ndarray | Sequence[tuple[float, float]], colour: Ink) -> None:
    """Fill the polygon through n x 2 points."""
    cv2.fillPoly(image, [_sixteenths(np.asarray(points, np.float32))], colour, cv2.LINE_AA, 4)


def _sixteenths(points: np.ndarray) -> np.ndarray:
    return np.round(points * 16).astype(np.int32)


def disc(image: np.ndarray, x: float, y: float, radius: float, colour: Ink, width: int = -1) -> None:
    """Draw a circle, filled unless `width` gives a line width in pixels."""
    cv2.circle(image, (round(x * 16), round(y * 16)), round(radius * 16), colour, width, cv2.LINE_AA, 4)


def oval(x: float, y: float, across: float, down: float, turn: float = 0.0) -> np.ndarray:
    """The points of an ellipse with half axes `across` and `down`, turned by `turn` radians."""
    angle = np.linspace(0, 2 * np.pi, 72, endpoint=False)
    px, py = across * np.cos(angle), down * np.sin(angle)
    return np.stack(
        [x + px * np.cos(turn) - py * np.sin(turn), y + px * np.sin(turn) + py * np.cos(turn)], axis=1
    ).astype(np.float32)


def petal(x: float, y: float, length: float, width: float, turn: float) -> np.ndarray:
    """The points of a pointed petal or leaf from (x, y) in the direction `turn` (radians)."""
    along = np.linspace(0, 1, 20)
    side = width / 2 * np.sin(np.pi * along**0.85)
    px = np.concatenate([along, along[::-1]]) * length
    py = np.concatenate([side, -side[::-1]])
    return np.stack(
        [x + px * np.cos(turn) - py * np.sin(turn), y + px * np.sin(turn) + py * np.cos(turn)], axis=1
    ).astype(np.float32)


def rounded(height: int, width: int, radius: float) -> np.ndarray:
    """The coverage mask of a rectangle with rounded corners, antialiased."""
    mask = np.zeros((height, width), np.uint8)
    turn = np.linspace(0, np.pi / 2, 12)
    corners = [
        (cx + radius * np.cos(turn + start), cy + radius * np.sin(turn + start))
        for cx, cy, start in (
            (width - radius - 0.5, height - radius - 0.5, 0),
            (radius - 0.5, height - radius - 0.5, np.pi / 2),
            (radius - 0.5, radius - 0.5, np.pi),
            (width - radius - 0.5, radius - 0.5, 3 * np.pi / 2),
        )
    ]
    points = np.concatenate([np.stack(corner, axis=1) for corner in corners])
    cv2.fillPoly(mask, [_sixteenths(points)], 255, cv2.LINE_AA, 4)
    return mask


def noise(rng: np.random.Generator, height: int, width: int, down: int, across: int) -> np.ndarray:
    """Smooth noise from 0 to 1: a grid of `down` x `across` random values, enlarged to height x width (float32)."""
    grid = rng.random((down + 1, across + 1), np.float32)
    return np.clip(cv2.resize(grid, (width, height), interpolation=cv2.INTER_CUBIC), 0, 1)


def clouds(rng: np.random.Generator, height: int, width: int, cells: int, octaves: int) -> np.ndarray:
    """The weighted mean of smooth noise at several scales, about 0 to 1 (float32)."""
    total = np.zeros((height, width), np.float32)
    for octave in range(octaves):
        total += noise(rng, height, width, cells << octave, cells << octave) / (1 << octave)
    return total / (2 - 1 / (1 << (octaves - 1)))


def contours(field: np.ndarray, width: float) -> np.ndarray:
    """Lines where `field` crosses whole numbers: coverage 0 to 1. They are `width` pixels wide at any slope."""
    down, across = np.gradient(field)
    slope = np.maximum(np.hypot(down, across), 1e-4)
    distance = np.abs(field - np.round(field)) / slope
    return np.clip(width / 2 + 0.5 - distance, 0, 1).astype(np.float32)


def stain(image: np.ndarray, coverage: np.ndarray, colour: Ink) -> None:
    """Paint `colour` on `image` in place, with the opacity `coverage` (0 to 1)."""
    share = coverage[..., None].astype(np.float32)
    image[:] = (image + (np.array(colour, np.float32) - image) * share + 0.5).astype(np.uint8)


def blend(first: Ink, second: Ink, share: np.ndarray) -> np.ndarray:
    """An image with the first colour where `share` (height x width) is 0 and the second where it is 1."""
    palette = np.linspace(first, second, 256).round().astype(np.uint8)[:, None]
    return cv2.applyColorMap(cv2.convertScaleAbs(np.maximum(share, 0), alpha=255), palette)


def rosette(
    image: np.ndarray,
    circle: tuple[float, float, float],
    petals: int,
    colour: Ink,
    strands: int = 9,
    depth: float = 0.3,
) -> None:
    """Draw a guilloche rosette: closed wavy lines that interlace in `circle` (centre x and y, radius)."""
    x, y, radius = circle
    angle = np.linspace(0, 2 * np.pi, 40 * petals, endpoint=False)
    for strand in range(strands):
        phase = 2 * np.pi * strand / strands
        reach = radius * (1 - depth + depth * np.cos(petals * angle + phase))
        curve(image, np.stack([x + reach * np.cos(angle), y + reach * np.sin(angle)], axis=1), colour, closed=True)


def ribbon(
    image: np.ndarray,
    band: tuple[float, float, float, float],
    waves: float,
    colour: Ink,
    strands: int = 7,
    drift: float = 0.0,
) -> None:
    """Draw interlaced waves in `band` (left, right, middle y, height). `drift` shortens them from left to right."""
    left, right, y, height = band
    along = np.linspace(0, 1, 600)
    turn = 2 * np.pi * waves * (along + drift * along**2)
    for strand in range(strands):
        phase = 2 * np.pi * strand / strands
        swell = np.sin(turn + phase) * (0.7 + 0.3 * np.cos(turn / 3 + phase))
        curve(image, np.stack([left + (right - left) * along, y + height / 2 * swell], axis=1), colour)
