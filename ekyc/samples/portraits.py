"""Cartoon portraits for specimen documents."""

import cv2
import numpy as np

from ekyc.samples.artwork import Ink, blend, curve, disc, fill, ink, mix, oval

_WIDTH, _HEIGHT = 320, 400

_SKINS = [ink(c) for c in ("f6d7c3", "f0c6a4", "e0ac82", "c98d60", "a86f45", "7b4d30", "5c3a26")]
_HAIRS = [ink(c) for c in ("1d1a1c", "2e221c", "4a2f20", "6d4528", "9a6a38", "8d8a88", "c9c4bc", "713722")]
_CLOTHES = [ink(c) for c in ("2f4a6d", "6d2f44", "2e5d50", "4b4b55", "8a5a2b", "d9d4ca", "37335c", "b5584a", "5f7f95")]
_BACKDROPS = [ink(c) for c in ("dfe7ee", "e9e6df", "d5e3e2", "e6dfe8", "cfdcea")]


def draw(rng: np.random.Generator, sex: str, width: int, height: int) -> np.ndarray:
    """A head-and-shoulders portrait of an invented person, height x width BGR."""
    backdrop = _pick(rng, _BACKDROPS)
    fade = np.repeat(np.linspace(0, 0.16, _HEIGHT, dtype=np.float32)[:, None], _WIDTH, axis=1)
    image = blend(backdrop, (90, 80, 80), fade)
    skin, hair, clothes = _pick(rng, _SKINS), _pick(rng, _HAIRS), _pick(rng, _CLOTHES)
    shade, blush = mix(skin, (40, 40, 90), 0.22), mix(skin, (90, 90, 225), 0.25)
    x, y = 160 + rng.uniform(-5, 5), 178 + rng.uniform(-5, 5)
    across, down = rng.uniform(62, 70), rng.uniform(82, 92)
    styles = ["bob", "long", "bun", "curls", "scarf"] if sex == "F" else ["short", "parted", "curls", "bald"]
    style = str(rng.choice(styles))
    cover = clothes if style == "scarf" else hair

    # behind the head
    if style in ("bob", "long"):
        reach = 95 if style == "bob" else 190
        fill(image, oval(x, y - 14, across * 1.28, down * 1.12), hair)
        cv2.rectangle(
            image,
            (int(x - across * 1.26), int(y - 10)),
            (int(x + across * 1.26), int(y + reach)),
            hair,
            -1,
            cv2.LINE_AA,
        )
    elif style == "bun":
        disc(image, x, y - down * 1.22, 34, hair)
        fill(image, oval(x, y - 16, across * 1.1, down * 1.04), hair)
    elif style == "curls":
        for turn in np.linspace(np.pi * 0.93, np.pi * 2.07, 11):
            disc(image, x + across * 1.02 * np.cos(turn), y - 12 + down * 0.98 * np.sin(turn), 29, hair)
    elif style == "scarf":
        fill(image, oval(x, y + 2, across * 1.32, down * 1.24), cover)

    # shoulders and neck
    fill(image, [(x - 150, 410), (x - 138, 336), (x - 60, 300), (x + 60, 300), (x + 138, 336), (x + 150, 410)], clothes)
    fill(image, oval(x - 92, 345, 52, 40), clothes)
    fill(image, oval(x + 92, 345, 52, 40), clothes)
    fill(image, [(x - 29, y + 50), (x + 29, y + 50), (x + 33, 312), (x, 330), (x - 33, 312)], shade)
    if style != "scarf" and rng.random() < 0.5:  # a collar
        light = mix(clothes, (255, 255, 255), 0.75)
        fill(image, [(x - 36, 296), (x, 334), (x - 22, 362), (x - 56, 306)], light)
        fill(image, [(x + 36, 296), (x, 334), (x + 22, 362), (x + 56, 306)], light)
    else:
        curve(image, oval(x, 300, 44, 34)[2:35], mix(clothes, (0, 0, 0), 0.3), 4)

    # face
    if style not in ("bob", "long", "scarf"):
        for side in (-1, 1):
            fill(image, oval(x + side * across * 1.0, y + 6, 13, 20), shade)
    turn = np.linspace(0, 2 * np.pi, 90)
    taper = 1 - 0.2 * np.maximum(0, np.sin(turn)) ** 2
    face = np.stack([x + across * np.cos(turn) * taper, y + down * np.sin(turn)], axis=1)
    fill(image, face, skin)
    if style == "bald" or (sex == "M" and rng.random() < 0.3):
        jaw = np.zeros(image.shape[:2], np.uint8)
        cv2.fillPoly(jaw, [face.astype(np.int32)], 255, cv2.LINE_AA)
        cv2.ellipse(jaw, (int(x), int(y - 8)), (int(across * 0.8), int(down * 0.72)), 0, 0, 360, 0, -1, cv2.LINE_AA)
        jaw[: int(y + 8)] = 0
        _tint(image, jaw, mix(hair, skin, 0.25))
    for side in (-1, 1):
        disc(image, x + side * across * 0.55, y + 32, 13, mix(skin, blush, 0.5))

    # hair over the forehead
    if style not in ("bald", "scarf"):
        crown = np.zeros(image.shape[:2], np.uint8)
        cv2.fillPoly(crown, [oval(x, y - 6, across * 1.07, down * 1.07).astype(np.int32)], 255, cv2.LINE_AA)
        along = np.linspace(-1.2, 1.2, 40)
        part = rng.uniform(-0.5, 0.5)
        line = {
            "bob": y - 34 + 6 * along**2,
            "long": y - 62 + 46 * np.abs(along - part) ** 1.4,
            "bun": y - 58 + 30 * along**2,
            "curls": y - 46 + 7 * np.sin(along * 9),
            "short": y - 52 + 8 * np.sin(along * 6) + 26 * along**6,
            "parted": y - 58 + 22 * np.abs(along - part),
        }[style]
        below = np.stack([x + across * along, line], axis=1)
        below = np.concatenate([below, [(x + 200, 500), (x - 200, 500)]])
        cv2.fillPoly(crown, [below.astype(np.int32)], 0, cv2.LINE_AA)
        _tint(image, crown, hair)
        gleam = oval(x - across * 0.1, y - down * 0.1, across * 0.8, down * 0.88)[42:52]
        curve(image, gleam, mix(hair, (255, 255, 255), 0.25), 5)
    elif style == "scarf":
        ring = np.zeros(image.shape[:2], np.uint8)
        cv2.fillPoly(ring, [oval(x, y + 2, across * 1.3, down * 1.22).astype(np.int32)], 255, cv2.LINE_AA)
        cv2.fillPoly(ring, [oval(x, y + 8, across * 0.92, down * 0.9).astype(np.int32)], 0, cv2.LINE_AA)
        _tint(image, ring, cover)
        fill(image, [(x - 82, y + 40), (x + 82, y + 40), (x + 70, 330), (x, 372), (x - 70, 330)], cover)
        fill(image, oval(x, y + 10, across * 0.9, down * 0.88), skin)
        curve(image, np.array([(x - 60, y + 90), (x - 8, y + 130), (x + 62, y + 104)]), mix(cover, (0, 0, 0), 0.25), 4)

    _features(image, rng, x, y, across, skin, hair)
    return cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA)


def _features(
    image: np.ndarray, rng: np.random.Generator, x: float, y: float, across: float, skin: Ink, hair: Ink
) -> None:
    dark, line = (40, 30, 35), mix(skin, (30, 30, 70), 0.45)
    apart, brow = across * rng.uniform(0.42, 0.48), rng.uniform(-3, 4)
    iris = mix(_pick(rng, _HAIRS), (120, 90, 40), 0.3)
    for side in (-1, 1):
        ex = x + side * apart
        fill(image, oval(ex, y - 4, 13, 8), (250, 250, 250))
        disc(image, ex, y - 4, 7, iris)
        disc(image, ex, y - 4, 3.5, dark)
        disc(image, ex + 2, y - 6, 1.8, (255, 255, 255))
        curve(image, oval(ex, y - 4, 14, 9)[38:72], dark, 3)
        curve(image, oval(ex, y - 14 + brow, 18, 12)[42:66], mix(hair, dark, 0.4), 5)
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
