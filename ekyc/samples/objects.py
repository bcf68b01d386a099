"""Draws objects on a table around a document, and fingers that hold the document."""

from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np

from ekyc.samples import people, surfaces
from ekyc.samples.artwork import (
    Ink,
    Sprite,
    TextStyle,
    blend,
    curve,
    disc,
    fill,
    ink,
    mix,
    oval,
    petal,
    ribbon,
    rounded,
    spaced_text,
    text,
)


@dataclass(frozen=True)
class Object:
    """A sprite and its height above the table in millimetres. The height gives the length of its shadow."""

    sprite: Sprite
    height_mm: float


def pick(rng: np.random.Generator) -> Object:
    """Draw a random object that is common on tables."""
    return _OBJECTS[int(rng.integers(len(_OBJECTS)))](rng)


def _canvas(width_mm: float, height_mm: float, scale: float, colour: Ink) -> np.ndarray:
    return np.full((round(height_mm * scale), round(width_mm * scale), 3), colour, np.uint8)


def _slab(image: np.ndarray, scale: float, radius_mm: float, height_mm: float) -> Object:
    height, width = image.shape[:2]
    return Object(Sprite(image, rounded(height, width, radius_mm * scale), scale), height_mm)


def _colour(rng: np.random.Generator, *colours: str) -> Ink:
    return ink(str(rng.choice(colours)))


def pen(rng: np.random.Generator) -> Object:
    """A pen or a pencil, 140 mm long."""
    scale = 5.0
    image = _canvas(140, 9, scale, (0, 0, 0))
    mask = np.zeros(image.shape[:2], np.uint8)
    height, width = image.shape[:2]
    body = _colour(rng, "1f2f4f", "b5322f", "e9b949", "2f2f33", "2f6b5a", "e8e6e0")
    outline = [(26, 6), (width - 6, 6), (width - 6, height - 6), (26, height - 6), (0, height / 2)]
    fill(mask, outline, (255, 255, 255))
    across = np.linspace(-1, 1, height, dtype=np.float32)[:, None]
    image[:] = blend(mix(body, (255, 255, 255), 0.3), mix(body, (0, 0, 0), 0.45), np.repeat(across**2, width, axis=1))
    image[:, :70] = blend(ink("f0dcb8"), ink("b8935c"), np.repeat(across**2, 70, axis=1))
    image[:, :18] = (50, 45, 45)
    cv2.rectangle(image, (width - 120, 0), (width - 100, height), ink("d8d4c8"), -1)
    cv2.rectangle(image, (width - 250, 14), (width - 110, 22), mix(body, (255, 255, 255), 0.5), -1)
    return Object(Sprite(image, mask, scale), 4)


def coin(rng: np.random.Generator) -> Object:
    """A coin that belongs to no country."""
    scale, radius = 6.0, float(rng.uniform(9, 13))
    metal = _colour(rng, "c9a24f", "bfc3c7", "b4754a")
    image = _canvas(2 * radius, 2 * radius, scale, metal)
    middle = radius * scale
    disc(image, middle, middle, middle * 0.86, mix(metal, (0, 0, 0), 0.35), 4)
    disc(image, middle, middle, middle * 0.97, mix(metal, (255, 255, 255), 0.5), 4)
    for turn in np.linspace(0, 2 * np.pi, 7)[:6]:
        fill(image, petal(middle, middle, middle * 0.6, middle * 0.28, float(turn)), mix(metal, (255, 255, 255), 0.35))
    text(
        image,
        str(rng.choice([1, 2, 5, 10, 20])),
        (middle, middle * 1.3),
        TextStyle(round(middle * 0.8), mix(metal, (0, 0, 0), 0.6), 800, align="centre"),
    )
    mask = np.zeros(image.shape[:2], np.uint8)
    cv2.circle(mask, (int(middle), int(middle)), int(middle) - 1, 255, -1, cv2.LINE_AA)
    return Object(Sprite(image, mask, scale), 2)


def sticky_note(rng: np.random.Generator) -> Object:
    """A square note with three lines of handwriting."""
    scale = 4.0
    image = _canvas(70, 70, scale, _colour(rng, "f7e27a", "f5a9b8", "a9e0c4", "9fd0f2"))
    for row in range(int(rng.integers(2, 5))):
        words = f"{people.word(rng)} {people.word(rng)}"
        text(image, words, (24, 70 + 52 * row), TextStyle(34, ink("3a3f5a"), 300, face="italic"))
    return _slab(image, scale, 0.5, 1)


def sheet(rng: np.random.Generator) -> Object:
    """A printed page, A5."""
    return _slab(surfaces.page(rng, 518, 735), 3.5, 0.3, 0.6)


def receipt(rng: np.random.Generator) -> Object:
    """A till receipt."""
    scale = 4.0
    image = _canvas(58, 130, scale, (246, 248, 248))
    text(image, people.word(rng).upper(), (116, 50), TextStyle(34, (60, 60, 60), 800, align="centre"))
    for row in range(15):
        text(image, people.word(rng), (20, 100 + 25 * row), TextStyle(18, (70, 70, 70), 400))
        text(image, f"{rng.uniform(1, 40):.2f}", (212, 100 + 25 * row), TextStyle(18, (70, 70, 70), 400, align="right"))
    return _slab(image, scale, 0.3, 1)


def notebook(rng: np.random.Generator) -> Object:
    """A bound notebook with an elastic band."""
    scale = 3.5
    cover = _colour(rng, "2f3b52", "8a3b3b", "3f5a48", "c78f4a", "5a4a6a", "d8cdbb")
    image = _canvas(100, 146, scale, cover)
    cv2.rectangle(image, (0, 0), (26, image.shape[0]), mix(cover, (0, 0, 0), 0.25), -1)
    cv2.rectangle(image, (300, 0), (312, image.shape[0]), mix(cover, (0, 0, 0), 0.5), -1)
    text(image, people.word(rng).title(), (60, 130), TextStyle(36, mix(cover, (255, 255, 255), 0.65), 600))
    ribbon(image, (60, 270, 170, 24), 6, mix(cover, (255, 255, 255), 0.5), 4)
    return _slab(image, scale, 4, 6)


def phone(rng: np.random.Generator) -> Object:
    """A telephone with its screen on or off."""
    scale = 4.0
    image = _canvas(72, 148, scale, (32, 30, 30))
    height, width = image.shape[:2]
    if rng.random() < 0.6:
        y = np.repeat(np.linspace(0, 1, height - 32, dtype=np.float32)[:, None], width - 24, axis=1)
        image[16:-16, 12:-12] = blend(
            _colour(rng, "274060", "7a4a6f", "2f6a60"), _colour(rng, "e59a6a", "8fb8d8", "e8d8a0"), y
        )
        for row in range(4):
            for column in range(4):
                left, top = 28 + column * 62, 210 + row * 80
                icon = _colour(rng, "f2f2f2", "f08a5d", "6aaed6", "7fc08a", "b07fd0")
                fill(image, oval(left + 20, top + 20, 21, 21), icon)
        text(
            image,
            f"{rng.integers(8, 20)}:{rng.integers(10, 59)}",
            (width / 2, 120),
            TextStyle(66, (255, 255, 255), 300, align="centre"),
        )
    else:
        fill(image, [(12, 16), (150, 16), (12, 330)], (58, 55, 54))
    return _slab(image, scale, 9, 7)


def mug(rng: np.random.Generator) -> Object:
    """A cup of coffee or tea, from above."""
    scale = 4.0
    china = _colour(rng, "f2efe8", "c9d8dc", "d98f6a", "54708a", "e0c27a")
    image = _canvas(118, 90, scale, china)
    mask = np.zeros(image.shape[:2], np.uint8)
    cv2.circle(mask, (180, 180), 170, 255, -1, cv2.LINE_AA)
    cv2.ellipse(mask, (375, 180), (72, 46), 0, 0, 360, 255, 30, cv2.LINE_AA)
    disc(image, 180, 180, 169, mix(china, (255, 255, 255), 0.4), 8)
    disc(image, 180, 180, 148, mix(china, (0, 0, 0), 0.3))
    drink = _colour(rng, "4a2a18", "7a4a26", "b07a44", "9a5a20")
    disc(image, 184, 186, 138, drink)
    disc(image, 188, 190, 112, mix(drink, (255, 255, 255), 0.12))
    fill(image, oval(140, 140, 36, 14, -0.8), mix(drink, (255, 255, 255), 0.45))
    return Object(Sprite(image, mask, scale), 14)


def keyboard(rng: np.random.Generator) -> Object:
    """Part of a keyboard."""
    scale = 3.2
    shell = _colour(rng, "d5d8da", "2b2d31", "8f959b", "efeae0")
    key = mix(shell, (255, 255, 255), 0.55) if sum(shell) > 300 else (62, 58, 56)
    letter = (60, 60, 60) if sum(key) > 380 else (225, 225, 225)
    image = _canvas(285, 112, scale, shell)
    step = round(19 * scale)
    for row in range(5):
        for column in range(14):
            left, top = 16 + column * step + (0, 14, 22, 34, 0)[row] % 40, 18 + row * (step + 6)
            cv2.rectangle(
                image, (left, top), (left + step - 8, top + step - 6), mix(key, (0, 0, 0), 0.25), -1, cv2.LINE_AA
            )
            cv2.rectangle(image, (left + 2, top), (left + step - 10, top + step - 12), key, -1, cv2.LINE_AA)
            text(
                image,
                str(rng.choice(list("QWERTYUIOPASDFGHJKLZXCVBNM0123456789"))),
                (left + 12, top + 30),
                TextStyle(22, letter, 500),
            )
    return _slab(image, scale, 5, 8)


def leaf(rng: np.random.Generator) -> Object:
    """A twig with leaves."""
    scale = 4.0
    green = _colour(rng, "4f7a4a", "6f8f4f", "3f6a5a", "8aa06a", "b0703a")
    image = _canvas(120, 80, scale, green)
    mask = np.zeros(image.shape[:2], np.uint8)
    stem = np.stack([np.linspace(10, 440, 24), 160 + 30 * np.sin(np.linspace(0, 3, 24))], axis=1)
    curve(mask, stem, (255, 255, 255), 7)
    for place in range(3, 24, 3):
        for side in (-1, 1):
            shape = petal(stem[place, 0], stem[place, 1], 120 - 3 * place, 48, side * 0.85)
            fill(mask, shape, (255, 255, 255))
            fill(image, shape, mix(green, (255, 255, 255) if side < 0 else (0, 0, 0), 0.14))
            end = shape[19]
            curve(image, np.array([stem[place], end]), mix(green, (255, 255, 255), 0.4), 2)
    return Object(Sprite(image, mask, scale), 5)


def glasses(rng: np.random.Generator) -> Object:
    """A pair of spectacles, folded."""
    scale = 4.0
    frame = _colour(rng, "2a2a2e", "6a3b22", "8a2f3a", "3f5570")
    image = _canvas(140, 60, scale, frame)
    mask = np.zeros(image.shape[:2], np.uint8)
    for x in (145, 405):
        curve(mask, oval(x, 130, 105, 84), (255, 255, 255), 14, closed=True)
        fill(mask, oval(x, 130, 98, 77), (26, 26, 26))
        fill(image, oval(x, 130, 98, 77), (250, 250, 250))
    for start, end in (((250, 120), (300, 120)), ((40, 110), (500, 28)), ((510, 110), (60, 40))):
        curve(mask, np.array([start, end]), (255, 255, 255), 12)
        curve(image, np.array([start, end]), frame, 12)
    return Object(Sprite(image, mask, scale), 5)


def envelope(rng: np.random.Generator) -> Object:
    """A sealed envelope."""
    scale = 3.5
    paper = _colour(rng, "d9b98a", "f3f0e8", "cfd8e2", "e6cfc4")
    image = _canvas(162, 114, scale, paper)
    height, width = image.shape[:2]
    dark = mix(paper, (0, 0, 0), 0.2)
    fill(image, [(0, 0), (width, 0), (width / 2, height * 0.58)], mix(paper, (255, 255, 255), 0.2))
    curve(image, np.array([(0, 0), (width / 2, height * 0.58), (width, 0)]), dark, 3)
    curve(image, np.array([(0, height), (width * 0.4, height * 0.5)]), dark, 2)
    curve(image, np.array([(width, height), (width * 0.6, height * 0.5)]), dark, 2)
    return _slab(image, scale, 0.6, 1.5)


def loyalty_card(rng: np.random.Generator) -> Object:
    """A card of a shop, library or gym: as large as an identity card, but of no type that is trained."""
    scale = 8.0
    first = _colour(rng, "c75b39", "2f6f73", "3a3a44", "d6a23a", "7a8f55", "5b4a8a", "e6ded0")
    second = _colour(rng, "f2d7b0", "1f3a4f", "b84a5a", "f3efe6", "20242c")
    image = _canvas(85.6, 54, scale, first)
    height, width = image.shape[:2]
    light = (255, 255, 255) if sum(first) < 420 else (50, 45, 45)
    style = int(rng.integers(4))
    if style == 0:  # ten stamps
        text(image, f"{people.word(rng).title()} Coffee", (40, 84), TextStyle(56, light, 800))
        for place in range(10):
            x, y = 78 + 132 * (place % 5), 200 + 130 * (place // 5)
            disc(image, x, y, 46, second, 4)
            if place < rng.integers(2, 10):
                fill(image, oval(x, y, 24, 32, 0.5), second)
        text(image, "THE TENTH CUP IS ON US", (40, 414), TextStyle(24, light, 500))
    elif style == 1:  # waves and a number
        for wave in range(6):
            along = np.linspace(0, width, 60)
            edge = 200 + 42 * wave + 34 * np.sin(along / rng.uniform(70, 140) + wave)
            outline = np.concatenate([np.stack([along, edge], axis=1), [(width, height), (0, height)]])
            fill(image, outline, mix(first, second, (wave + 1) / 7))
        text(image, people.word(rng).upper() + " CLUB", (40, 90), TextStyle(58, light, 900))
        spaced_text(image, "".join(str(d) for d in rng.integers(0, 10, 14)), (40, 380), 30, TextStyle(34, light, 600))
    elif style == 2:  # library card with a barcode
        image[:] = (244, 246, 246)
        cv2.rectangle(image, (0, 0), (width, 120), first, -1)
        text(image, f"{people.word(rng).title()} Library", (36, 80), TextStyle(54, light, 700))
        left = 50
        while left < 620:
            bar, gap = rng.integers(3, 12, 2)
            cv2.rectangle(image, (left, 190), (left + int(bar), 320), (30, 30, 30), -1)
            left += int(bar + gap)
        text(image, "borrow - read - return", (50, 380), TextStyle(30, (90, 80, 80), 400, face="italic"))
    else:  # diagonal halves
        fill(image, [(0, height), (width * 0.35, 0), (width, 0), (width, height)], second)
        text(image, people.word(rng).upper(), (36, 240), TextStyle(80, light, 900, face="italic"))
        text(image, "MEMBER", (width - 40, height - 40), TextStyle(40, first, 700, align="right"))
        disc(image, width - 110, 110, 60, first)
        disc(image, width - 110, 110, 36, second)
    return _slab(image, scale, 3.2, 0.8)


def finger(rng: np.random.Generator) -> Object:
    """A thumb with its tip at the sprite's left end. It is long enough to extend beyond the photo."""
    scale = 4.0
    skin = _colour(rng, "f0c6a4", "e0ac82", "c98d60", "8a5a3a", "5f3d28", "f3d0b8")
    image = _canvas(150, 44, scale, skin)
    mask = np.zeros(image.shape[:2], np.uint8)
    height, width = image.shape[:2]
    along = np.linspace(0, 1, 60)
    half = 38 * np.sqrt(np.clip(1 - (1 - np.clip(along / 0.075, 0, 1)) ** 2, 0, 1))
    half = half + 4 * np.sin(np.pi * np.clip((along - 0.05) / 0.25, 0, 1)) + 36 * np.clip(along - 0.38, 0, 1) ** 1.2
    x = along * width
    fill(
        mask,
        np.concatenate([np.stack([x, height / 2 - half], 1), np.stack([x, height / 2 + half], 1)[::-1]]),
        (255, 255, 255),
    )
    across = np.abs(np.linspace(-1, 1, height, dtype=np.float32))[:, None] * 2
    image[:] = blend(
        mix(skin, (255, 255, 255), 0.1),
        mix(skin, (30, 30, 80), 0.42),
        np.repeat(np.clip(across, 0, 1) ** 2.2, width, axis=1),
    )
    for crease in (150, 158, 168):
        curve(
            image,
            np.array([(crease, height / 2 - 26), (crease + 5, height / 2), (crease, height / 2 + 26)]),
            mix(skin, (40, 40, 90), 0.32),
            2,
        )
    nail = mix(skin, (225, 215, 255), 0.5)
    fill(image, oval(40, height / 2, 32, 25), mix(skin, (40, 40, 90), 0.25))
    fill(image, oval(38, height / 2, 31, 24), nail)
    fill(image, oval(30, height / 2 - 8, 14, 6, -0.2), mix(nail, (255, 255, 255), 0.5))
    return Object(Sprite(image, mask, scale), 6)


_OBJECTS: tuple[Callable[[np.random.Generator], Object], ...] = (
    pen,
    pen,
    coin,
    coin,
    sticky_note,
    sheet,
    receipt,
    notebook,
    phone,
    mug,
    keyboard,
    leaf,
    glasses,
    envelope,
    loyalty_card,
)
