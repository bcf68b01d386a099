"""Cartoon portraits for specimen documents."""

from dataclasses import dataclass

import cv2
import numpy as np

from ekyc.samples.artwork import Ink, blend, curve, disc, fill, ink, mix, oval

_WIDTH, _HEIGHT = 320, 400

_SKINS = [ink(c) for c in ("f6d7c3", "f0c6a4", "e0ac82", "c98d60", "a86f45", "7b4d30", "5c3a26")]
_HAIRS = [ink(c) for c in ("1d1a1c", "2e221c", "4a2f20", "6d4528", "9a6a38", "8d8a88", "c9c4bc", "713722")]
_CLOTHES = [ink(c) for c in ("2f4a6d", "6d2f44", "2e5d50", "4b4b55", "8a5a2b", "d9d4ca", "37335c", "b5584a", "5f7f95")]
_BACKDROPS = [ink(c) for c in ("dfe7ee", "e9e6df", "d5e3e2", "e6dfe8", "cfdcea")]


@dataclass(frozen=True)
class _Look:
    """What a portrait shows: the head's centre and half axes in pixels, the colours, and how the hair is worn."""

    sex: str
    x: float
    y: float
    across: float
    down: float
    skin: Ink
    hair: Ink
    clothes: Ink
    style: str

    @property
    def shade(self) -> Ink:
        """The skin in the shade."""
        return mix(self.skin, (40, 40, 90), 0.22)


def draw(rng: np.random.Generator, sex: str, width: int, height: int) -> np.ndarray:
    """A head-and-shoulders portrait of an invented person, height x width BGR."""
    backdrop = _pick(rng, _BACKDROPS)
    fade = np.repeat(np.linspace(0, 0.16, _HEIGHT, dtype=np.float32)[:, None], _WIDTH, axis=1)
    image = blend(backdrop, (90, 80, 80), fade)
    look = _invent(rng, sex)
    _draw_behind_head(image, look)
    _draw_shoulders(image, rng, look)
    _draw_face(image, rng, look)
    if look.style == "scarf":
        _draw_scarf(image, look)
    elif look.style != "bald":
        _draw_crown(image, rng, look)
    _features(image, rng, look)
    return cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA)


def _invent(rng: np.random.Generator, sex: str) -> _Look:
    skin, hair, clothes = _pick(rng, _SKINS), _pick(rng, _HAIRS), _pick(rng, _CLOTHES)
    x, y = 160 + rng.uniform(-5, 5), 178 + rng.uniform(-5, 5)
    across, down = rng.uniform(62, 70), rng.uniform(82, 92)
    styles = ["bob", "long", "bun", "curls", "scarf"] if sex == "F" else ["short", "parted", "curls", "bald"]
    return _Look(sex, x, y, across, down, skin, hair, clothes, str(rng.choice(styles)))


def _draw_behind_head(image: np.ndarray, look: _Look) -> None:
    x, y = look.x, look.y
    if look.style in ("bob", "long"):
        reach = 95 if look.style == "bob" else 190
        fill(image, oval(x, y - 14, look.across * 1.28, look.down * 1.12), look.hair)
        cv2.rectangle(
            image,
            (int(x - look.across * 1.26), int(y - 10)),
            (int(x + look.across * 1.26), int(y + reach)),
            look.hair,
            -1,
            cv2.LINE_AA,
        )
    elif look.style == "bun":
        disc(image, x, y - look.down * 1.22, 34, look.hair)
        fill(image, oval(x, y - 16, look.across * 1.1, look.down * 1.04), look.hair)
    elif look.style == "curls":
        for turn in np.linspace(np.pi * 0.93, np.pi * 2.07, 11):
            disc(image, x + look.across * 1.02 * np.cos(turn), y - 12 + look.down * 0.98 * np.sin(turn), 29, look.hair)
    elif look.style == "scarf":
        fill(image, oval(x, y + 2, look.across * 1.32, look.down * 1.24), look.clothes)


def _draw_shoulders(image: np.ndarray, rng: np.random.Generator, look: _Look) -> None:
    x, y = look.x, look.y
    fill(
        image,
        [(x - 150, 410), (x - 138, 336), (x - 60, 300), (x + 60, 300), (x + 138, 336), (x + 150, 410)],
        look.clothes,
    )
    fill(image, oval(x - 92, 345, 52, 40), look.clothes)
    fill(image, oval(x + 92, 345, 52, 40), look.clothes)
    fill(image, [(x - 29, y + 50), (x + 29, y + 50), (x + 33, 312), (x, 330), (x - 33, 312)], look.shade)
    if look.style != "scarf" and rng.random() < 0.5:  # a collar
        light = mix(look.clothes, (255, 255, 255), 0.75)
        fill(image, [(x - 36, 296), (x, 334), (x - 22, 362), (x - 56, 306)], light)
        fill(image, [(x + 36, 296), (x, 334), (x + 22, 362), (x + 56, 306)], light)
    else:
        curve(image, oval(x, 300, 44, 34)[2:35], mix(look.clothes, (0, 0, 0), 0.3), 4)


def _draw_face(image: np.ndarray, rng: np.random.Generator, look: _Look) -> None:
    """Draw ears, face, shaved beard and cheeks."""
    x, y = look.x, look.y
    if look.style not in ("bob", "long", "scarf"):
        for side in (-1, 1):
            fill(image, oval(x + side * look.across * 1.0, y + 6, 13, 20), look.shade)
    turn = np.linspace(0, 2 * np.pi, 90)
    taper = 1 - 0.2 * np.maximum(0, np.sin(turn)) ** 2
    outline = np.stack([x + look.across * np.cos(turn) * taper, y + look.down * np.sin(turn)], axis=1)
    fill(image, outline, look.skin)
    if look.style == "bald" or (look.sex == "M" and rng.random() < 0.3):
        jaw = np.zeros(image.shape[:2], np.uint8)
        cv2.fillPoly(jaw, [outline.astype(np.int32)], 255, cv2.LINE_AA)
        cv2.ellipse(
            jaw, (int(x), int(y - 8)), (int(look.across * 0.8), int(look.down * 0.72)), 0, 0, 360, 0, -1, cv2.LINE_AA
        )
        jaw[: int(y + 8)] = 0
        _tint(image, jaw, mix(look.hair, look.skin, 0.25))
    blush = mix(look.skin, (90, 90, 225), 0.25)
    for side in (-1, 1):
        disc(image, x + side * look.across * 0.55, y + 32, 13, mix(look.skin, blush, 0.5))


def _draw_crown(image: np.ndarray, rng: np.random.Generator, look: _Look) -> None:
    """Draw the hair over the forehead."""
    x, y = look.x, look.y
    crown = np.zeros(image.shape[:2], np.uint8)
    cv2.fillPoly(crown, [oval(x, y - 6, look.across * 1.07, look.down * 1.07).astype(np.int32)], 255, cv2.LINE_AA)
    along = np.linspace(-1.2, 1.2, 40)
    part = rng.uniform(-0.5, 0.5)
    line = {
        "bob": y - 34 + 6 * along**2,
        "long": y - 62 + 46 * np.abs(along - part) ** 1.4,
        "bun": y - 58 + 30 * along**2,
        "curls": y - 46 + 7 * np.sin(along * 9),
        "short": y - 52 + 8 * np.sin(along * 6) + 26 * along**6,
        "parted": y - 58 + 22 * np.abs(along - part),
    }[look.style]
    below = np.stack([x + look.across * along, line], axis=1)
    below = np.concatenate([below, [(x + 200, 500), (x - 200, 500)]])
    cv2.fillPoly(crown, [below.astype(np.int32)], 0, cv2.LINE_AA)
    _tint(image, crown, look.hair)
    gleam = oval(x - look.across * 0.1, y - look.down * 0.1, look.across * 0.8, look.down * 0.88)[42:52]
    curve(image, gleam, mix(look.hair, (255, 255, 255), 0.25), 5)


def _draw_scarf(image: np.ndarray, look: _Look) -> None:
    x, y = look.x, look.y
    ring = np.zeros(image.shape[:2], np.uint8)
    cv2.fillPoly(ring, [oval(x, y + 2, look.across * 1.3, look.down * 1.22).astype(np.int32)], 255, cv2.LINE_AA)
    cv2.fillPoly(ring, [oval(x, y + 8, look.across * 0.92, look.down * 0.9).astype(np.int32)], 0, cv2.LINE_AA)
    _tint(image, ring, look.clothes)
    fill(image, [(x - 82, y + 40), (x + 82, y + 40), (x + 70, 330), (x, 372), (x - 70, 330)], look.clothes)
    fill(image, oval(x, y + 10, look.across * 0.9, look.down * 0.88), look.skin)
    curve(
        image, np.array([(x - 60, y + 90), (x - 8, y + 130), (x + 62, y + 104)]), mix(look.clothes, (0, 0, 0), 0.25), 4
    )


def _features(image: np.ndarray, rng: np.random.Generator, look: _Look) -> None:
    x, y = look.x, look.y
    dark, line = (40, 30, 35), mix(look.skin, (30, 30, 70), 0.45)
    apart, brow = look.across * rng.uniform(0.42, 0.48), rng.uniform(-3, 4)
    iris = mix(_pick(rng, _HAIRS), (120, 90, 40), 0.3)
    for side in (-1, 1):
        ex = x + side * apart
        fill(image, oval(ex, y - 4, 13, 8), (250, 250, 250))
        disc(image, ex, y - 4, 7, iris)
        disc(image, ex, y - 4, 3.5, dark)
        disc(image, ex + 2, y - 6, 1.8, (255, 255, 255))
        curve(image, oval(ex, y - 4, 14, 9)[38:72], dark, 3)
        curve(image, oval(ex, y - 14 + brow, 18, 12)[42:66], mix(look.hair, dark, 0.4), 5)
    curve(image, np.array([(x + 2, y + 4), (x - 7, y + 28), (x + 4, y + 32)]), line, 3)
    smile = rng.uniform(4, 13)
    fill(image, np.concatenate([oval(x, y + 52, 22, smile)[0:37]]), (95, 85, 190))
    curve(image, oval(x, y + 50, 24, smile)[1:36], mix(line, (40, 40, 120), 0.5), 3)
    if rng.random() < 0.28:
        frame = _pick(rng, [(45, 40, 40), ink("5a2f22"), ink("2d4a70")])
        for side in (-1, 1):
            curve(image, oval(x + side * apart, y - 3, 23, 18), frame, 4, closed=True)
        curve(image, np.array([(x - apart + 23, y - 6), (x, y - 10), (x + apart - 23, y - 6)]), frame, 4)


def _tint(image: np.ndarray, mask: np.ndarray, colour: Ink) -> None:
    share = mask[..., None].astype(np.float32) / 255
    image[:] = (image + (np.array(colour, np.float32) - image) * share + 0.5).astype(np.uint8)


def _pick(rng: np.random.Generator, options: list[Ink]) -> Ink:
    return options[int(rng.integers(len(options)))]
