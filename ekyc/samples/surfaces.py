"""Draws backgrounds for photos of documents: table tops, floors and rooms."""

from collections.abc import Callable

import cv2
import numpy as np

from ekyc.samples import people
from ekyc.samples.artwork import Ink, TextStyle, blend, clouds, contours, disc, fill, ink, mix, noise, oval, stain, text

SIDE_MM = 260.0
_SIDE = 840


def pick(rng: np.random.Generator) -> np.ndarray:
    """A square of a random table top, `SIDE_MM` wide, seen from directly above (BGR)."""
    return _SURFACES[int(rng.integers(len(_SURFACES)))](rng)


def room(rng: np.random.Generator, width: int, height: int) -> np.ndarray:
    """The blurred room behind a document that is held up to the camera (BGR, height x width)."""
    wall, floor = (_choose(rng, _ROOMS), _choose(rng, ("8a6a4c", "6f7a80", "b79b7d", "545a66")))
    small_w, small_h = width // 4, height // 4
    y = np.repeat(np.linspace(0, 1, small_h, dtype=np.float32)[:, None], small_w, axis=1)
    image = blend(wall, mix(wall, (60, 60, 60), 0.3), y)
    skirting = int(small_h * rng.uniform(0.6, 0.85))
    image[skirting:] = floor
    for _ in range(int(rng.integers(4, 9))):  # furniture, pictures, a window
        left, top = rng.integers(-20, small_w), rng.integers(-20, small_h)
        right, bottom = left + rng.integers(15, 70), top + rng.integers(15, 80)
        colour = _choose(rng, ("f3f0e6", "36404d", "b5654a", "5f7f6a", "c9a65a", "d8e6ee", "7a5f8a"))
        cv2.rectangle(image, (int(left), int(top)), (int(right), int(bottom)), colour, -1)
    for _ in range(int(rng.integers(0, 9))):  # lamps out of focus
        at = rng.uniform(0, small_w), rng.uniform(0, small_h * 0.6)
        disc(image, *at, rng.uniform(2, 7), _choose(rng, ("fff0c8", "ffffff", "ffd9a0")))
    image = cv2.GaussianBlur(image, (0, 0), float(rng.uniform(3, 6)))
    return cv2.resize(image, (width, height), interpolation=cv2.INTER_CUBIC)


_ROOMS = ("d9d3c6", "c5d0d6", "e3ddd0", "a9b5ab", "d8c3b4", "8f9aa8")


def _choose(rng: np.random.Generator, colours: tuple[str, ...]) -> Ink:
    return ink(str(rng.choice(colours)))


def _wood(rng: np.random.Generator) -> np.ndarray:
    light, dark = [
        (ink("d8ae7c"), ink("a3713f")),
        (ink("b98353"), ink("7a4a28")),
        (ink("8d5f3f"), ink("4d2f1e")),
        (ink("e2c9a2"), ink("bd9a6c")),
        (ink("a39583"), ink("6f6355")),
    ][int(rng.integers(5))]
    bend = noise(rng, _SIDE, _SIDE, 3, 5)
    rows = np.arange(_SIDE, dtype=np.float32)[:, None]
    planks = int(rng.integers(2, 6))
    plank = np.floor(rows / _SIDE * planks).astype(int)[:, 0]
    rings = (rows / rng.uniform(26, 60) + bend * rng.uniform(2, 5) + rng.uniform(0, 9, planks)[plank][:, None]) % 1
    fibre = cv2.resize(rng.random((_SIDE, 40), np.float32), (_SIDE, _SIDE), interpolation=cv2.INTER_LINEAR)
    share = np.clip(0.5 * rings.astype(np.float32) + 0.55 * fibre - 0.05, 0, 1)
    share += rng.uniform(-0.16, 0.16, planks)[plank][:, None].astype(np.float32)
    image = blend(light, dark, share)
    for seam in range(1, planks):
        y = seam * _SIDE // planks
        image[y - 2 : y + 1] = mix(dark, (0, 0, 0), 0.5)
    return image


def _marble(rng: np.random.Generator) -> np.ndarray:
    ground, vein = [
        (ink("eeece8"), ink("8f9298")),
        (ink("d9d2c6"), ink("8a7763")),
        (ink("33383b"), ink("b9b6ae")),
        (ink("c9d3cd"), ink("5f7a70")),
    ][int(rng.integers(4))]
    half = _SIDE // 2
    field = clouds(rng, half, half, 3, 5)
    ridges = np.clip(1 - np.abs(field - 0.5) * 22, 0, 1) ** 1.5
    fine = np.clip(1 - np.abs(clouds(rng, half, half, 5, 3) - 0.5) * 40, 0, 1)
    share = cv2.resize(0.75 * ridges + 0.3 * fine + 0.25 * field, (_SIDE, _SIDE), interpolation=cv2.INTER_CUBIC)
    return blend(ground, vein, share)


def _cloth(rng: np.random.Generator) -> np.ndarray:
    first = _choose(rng, ("c9b79c", "5f7488", "a85c50", "7d8f6f", "d9d5cc", "3f4a5a", "c79a4b", "8a6f8f"))
    second = mix(first, (255, 255, 255), 0.55)
    at = np.arange(_SIDE)
    style = int(rng.integers(3))
    period = int(rng.integers(50, 130))
    share: np.ndarray
    if style == 0:  # plain
        share = np.zeros((_SIDE, _SIDE), np.float32)
    elif style == 1:  # gingham
        band = (at // period % 2).astype(np.float32)
        share = (band[:, None] + band[None]) / 2
    else:  # stripes
        share = np.repeat((at % period < period * 0.3).astype(np.float32)[None], _SIDE, axis=0)
    thread = (np.sin(at * np.pi / 2.0)[:, None] * np.cos(at * np.pi / 2.0)[None]).astype(np.float32)
    grain = rng.random((_SIDE // 2, _SIDE // 2), np.float32)
    folds = noise(rng, _SIDE, _SIDE, 3, 3)
    image = blend(first, second, share).astype(np.float32)
    light = 0.86 + 0.06 * thread + 0.14 * cv2.resize(grain, (_SIDE, _SIDE)) + 0.22 * (folds - 0.5)
    return np.clip(image * light[..., None], 0, 255).astype(np.uint8)


def _papers(rng: np.random.Generator) -> np.ndarray:
    image = _desk(rng)
    for _ in range(int(rng.integers(2, 5))):
        sheet = page(rng, 520, 720)
        turn = rng.uniform(-40, 40)
        matrix = cv2.getRotationMatrix2D((260, 360), turn, 1)
        matrix = np.column_stack([matrix[:, :2], matrix[:, 2] + rng.uniform(-60, _SIDE - 460, 2)])
        cv2.warpAffine(sheet, matrix, (_SIDE, _SIDE), image, cv2.INTER_LINEAR, cv2.BORDER_TRANSPARENT)
    return image


def page(rng: np.random.Generator, width: int, height: int) -> np.ndarray:
    """A sheet with a heading and paragraphs of meaningless words."""
    image = np.full((height, width, 3), _choose(rng, ("fbfaf6", "f4f1e8", "ffffff", "f1f4f6")), np.uint8)
    dark = _choose(rng, ("2a2a30", "3a3f4d", "4b423a"))
    margin, size = round(width * 0.1), max(8, round(width * rng.uniform(0.02, 0.03)))
    text(
        image,
        f"{people.word(rng)} {people.word(rng)}".title(),
        (margin, margin + size * 2),
        TextStyle(round(size * 1.7), dark, 700),
    )
    vocabulary = [people.word(rng) for _ in range(24)]
    y = margin + size * 5
    while y < height - margin:
        if rng.random() < 0.12:
            y += size
        words = " ".join(str(w) for w in rng.choice(vocabulary, 18))
        text(image[:, : width - margin], words, (margin, y), TextStyle(size, dark, 400))
        y += round(size * 1.55)
    return image


def _desk(rng: np.random.Generator) -> np.ndarray:
    colour = _choose(rng, ("e9e6df", "3b3f46", "6e7f78", "b7a99a", "2f4858", "c4ccd0", "8a5a4a", "d9c8c0"))
    fleck = rng.standard_normal((_SIDE, _SIDE), np.float32)
    return blend(
        (0, 0, 0), mix(colour, (255, 255, 255), 0.1), 0.92 + 0.02 * fleck + 0.1 * (noise(rng, _SIDE, _SIDE, 3, 3) - 0.5)
    )


def _terrazzo(rng: np.random.Generator) -> np.ndarray:
    ground = _choose(rng, ("e8e4dc", "cfd3d2", "4a4d50"))
    image = np.full((_SIDE, _SIDE, 3), ground, np.uint8)
    for _ in range(230):
        colour = _choose(rng, ("b5765a", "6f8a86", "d9b36a", "8a8a8f", "3f4650", "c9c2b4", "9fb0a2"))
        at, axes = rng.uniform(0, _SIDE, 2), rng.uniform(4, 17, 2)
        shape = oval(at[0], at[1], axes[0], axes[1], float(rng.uniform(0, 3)))[::9]
        fill(image, shape + rng.uniform(-4, 4, shape.shape).astype(np.float32), colour)
    return image


def _tiles(rng: np.random.Generator) -> np.ndarray:
    image = _marble(rng) if rng.random() < 0.5 else _desk(rng)
    step = int(rng.integers(170, 300))
    shift = int(rng.integers(step))
    tone = rng.uniform(0.92, 1.05, (9, 9)).astype(np.float32)
    at = (np.arange(_SIDE) + shift) // step
    image = np.clip(image * tone[np.ix_(at, at)][..., None], 0, 255).astype(np.uint8)
    for y in range(-shift, _SIDE, step):
        for line, colour in ((y, (150, 155, 158)), (y + 3, (215, 218, 220))):
            cv2.line(image, (0, line), (_SIDE, line), colour, 3)
            cv2.line(image, (line, 0), (line, _SIDE), colour, 3)
    return image


def _cork(rng: np.random.Generator) -> np.ndarray:
    grain = clouds(rng, _SIDE, _SIDE, 60, 3)
    return blend(ink("a9774a"), ink("d9ae78"), np.clip(grain * 1.8 - 0.4, 0, 1))


def _leather(rng: np.random.Generator) -> np.ndarray:
    colour = _choose(rng, ("5a3423", "2c2b2e", "74302c", "31463f", "b98a5a"))
    creases = contours(clouds(rng, _SIDE, _SIDE, 44, 1) * 4, 2.0)
    image = blend(colour, mix(colour, (255, 255, 255), 0.22), clouds(rng, _SIDE, _SIDE, 30, 2))
    stain(image, creases * 0.22, mix(colour, (0, 0, 0), 0.6))
    return image


def _cutting_mat(rng: np.random.Generator) -> np.ndarray:
    colour = _choose(rng, ("2f6b5a", "2d4f78", "4a4a52"))
    image = np.full((_SIDE, _SIDE, 3), colour, np.uint8)
    pale = mix(colour, (255, 255, 255), 0.5)
    for place, at in enumerate(range(0, _SIDE, 32)):
        width = 2 if place % 5 == 0 else 1
        cv2.line(image, (at, 0), (at, _SIDE), pale, width)
        cv2.line(image, (0, at), (_SIDE, at), pale, width)
        if place % 5 == 0:
            text(image, str(place), (at + 4, 20), TextStyle(16, pale, 500))
    return image


_SURFACES: tuple[Callable[[np.random.Generator], np.ndarray], ...] = (
    _wood,
    _wood,
    _wood,
    _marble,
    _marble,
    _cloth,
    _cloth,
    _papers,
    _desk,
    _desk,
    _terrazzo,
    _tiles,
    _cork,
    _leather,
    _cutting_mat,
)
