"""The eight specimen documents, drawn flat.

The designs are this project's own. They share a real document's proportions and layout, but no country's artwork,
emblem or wording. Each type has a fixed part: title, emblem, security pattern, field labels and the SPECIMEN mark.
The personal data are invented for each document.
"""

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import cv2
import numpy as np

from ekyc.samples import people, portraits
from ekyc.samples.artwork import (
    Ink,
    Sprite,
    TextStyle,
    blend,
    clouds,
    contours,
    curve,
    disc,
    fill,
    ink,
    noise,
    oval,
    petal,
    ribbon,
    rosette,
    rounded,
    spaced_text,
    stain,
    text,
)

CARD = (85.6, 54.0)
PASSPORT_PAGE = (125.0, 88.0)
_CARD_PIXELS = (856, 540)
_PAGE_PIXELS = (1000, 704)
_BLACK = ink("1c1c22")
_SMALL_PRINT = "FICTITIOUS SPECIMEN - NOT ISSUED BY ANY AUTHORITY - "


@dataclass(frozen=True)
class DocumentType:
    """A design: its size, the function that draws the fixed part, and the function that adds the personal data."""

    name: str
    size_mm: tuple[float, float]
    paint: Callable[[np.ndarray, np.random.Generator], None]
    fill_in: Callable[[np.ndarray, people.Person, np.random.Generator], None]

    @property
    def is_card(self) -> bool:
        return self.size_mm == CARD


def draw(name: str, rng: np.random.Generator) -> Sprite:
    """Draw a document of the type `name` for a new invented person.

    Raises:
        KeyError: `TYPES` does not have `name`.
    """
    kind = TYPES[name]
    image = blank(name).copy()
    kind.fill_in(image, people.invent(rng), rng)
    height, width = image.shape[:2]
    return Sprite(image, rounded(height, width, 32 if kind.is_card else 14), width / kind.size_mm[0])


@functools.cache
def blank(name: str) -> np.ndarray:
    """The fixed part of a type, without personal data. The array is cached and read-only.

    The type's name seeds the random numbers: the fixed part is the same for every seed.
    """
    kind = TYPES[name]
    width, height = _CARD_PIXELS if kind.is_card else _PAGE_PIXELS
    image = np.zeros((height, width, 3), np.uint8)
    kind.paint(image, np.random.default_rng(list(name.encode())))
    image.flags.writeable = False
    return image


# --- parts that several designs use


def _grid(image: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    height, width = image.shape[:2]
    y, x = np.mgrid[0:height, 0:width].astype(np.float32)
    return x, y


def _wash(image: np.ndarray, rng: np.random.Generator, colours: tuple[str, str, str]) -> None:
    """Paint a soft background of three colours."""
    height, width = image.shape[:2]
    first, second, third = (ink(colour) for colour in colours)
    x, y = _grid(image)
    image[:] = blend(first, second, np.clip(x / width * 0.8 + 0.3 * noise(rng, height, width, 3, 4), 0, 1))
    stain(image, np.clip(y / height * 0.7 + 0.5 * noise(rng, height, width, 3, 4) - 0.35, 0, 1), third)


@dataclass(frozen=True)
class Mark:
    """The look of the big SPECIMEN. Its four styles keep the word from making two types look alike."""

    colour: str
    style: Literal["outlined", "striped", "inlined", "slanted"]
    words: str = "SPECIMEN"
    strength: float = 0.75


def _mark(image: np.ndarray, centre: tuple[float, float], size: int, degrees: float, mark: Mark) -> None:
    """Write the big SPECIMEN, turned by `degrees`."""
    height, width = image.shape[:2]
    mask = np.zeros((height, width, 3), np.uint8)
    face: Literal["italic", "sans"] = "italic" if mark.style in ("striped", "slanted") else "sans"
    text(
        mask,
        mark.words,
        (width / 2, height / 2 + size * 0.36),
        TextStyle(size, (255, 255, 255), 850, face=face, align="centre"),
    )
    shape: np.ndarray = mask[..., 0]
    if mark.style == "outlined":
        shape = cv2.morphologyEx(shape, cv2.MORPH_GRADIENT, np.ones((5, 5), np.uint8))
    elif mark.style == "striped":
        stripes = np.arange(height, dtype=np.float32)[:, None] % 9 < 6
        shape = (shape * stripes).astype(np.uint8)
    elif mark.style == "inlined":
        core = cv2.erode(shape, np.ones((9, 9), np.uint8))
        shape = cv2.subtract(shape, (core * 0.75).astype(np.uint8))
    matrix = cv2.getRotationMatrix2D((width / 2, height / 2), degrees, 1)
    matrix[:, 2] += np.array(centre) - (width / 2, height / 2)
    turned = cv2.warpAffine(shape, matrix, (width, height), flags=cv2.INTER_LINEAR)
    stain(image, turned.astype(np.float32) / 255 * mark.strength, ink(mark.colour))


def _small_print(image: np.ndarray, line: tuple[float, float, float], words: str, colour: Ink, size: int = 10) -> None:
    """Write tiny words, repeated along `line` (left, right, y)."""
    left, right, y = line
    strip = image[:, : round(right)]
    text(strip, (words + " ") * 12, (left, y), TextStyle(size, colour, 500))


def _labels(image: np.ndarray, labels: list[tuple[str, float, float]], colour: Ink, size: int = 14) -> None:
    for words, x, y in labels:
        text(image, words, (x, y), TextStyle(size, colour, 500))


def _values(image: np.ndarray, values: list[tuple[str, float, float]], size: int = 22, weight: int = 600) -> None:
    for words, x, y in values:
        text(image, words, (x, y), TextStyle(size, _BLACK, weight))


def _portrait(
    image: np.ndarray, rng: np.random.Generator, person: people.Person, box: tuple[int, int, int, int]
) -> np.ndarray:
    """Draw the portrait into `box` (left, top, width, height) and return it."""
    left, top, width, height = box
    picture = portraits.draw(rng, person.sex, width, height)
    image[top : top + height, left : left + width] = picture
    cv2.rectangle(image, (left, top), (left + width - 1, top + height - 1), (120, 110, 105), 1)
    return picture


def _ghost(image: np.ndarray, picture: np.ndarray, box: tuple[int, int, int, int], tone: str) -> None:
    """Draw the small pale second portrait."""
    left, top, width, height = box
    grey = cv2.cvtColor(cv2.resize(picture, (width, height), interpolation=cv2.INTER_AREA), cv2.COLOR_BGR2GRAY)
    vignette = np.clip(1.4 - _from_middle(width, height), 0, 1)
    stain(
        image[top : top + height, left : left + width], (1 - grey.astype(np.float32) / 255) * 0.75 * vignette, ink(tone)
    )


def _from_middle(width: int, height: int) -> np.ndarray:
    """Each pixel's distance from the centre. It is 1 at the middle of an edge."""
    y, x = np.mgrid[0:height, 0:width].astype(np.float32)
    return np.hypot(x / width * 2 - 1, y / height * 2 - 1)


def _chip(image: np.ndarray, left: int, top: int) -> None:
    """Draw a contact plate of 118 x 96 pixels."""
    gold, line = ink("d9bd6a"), ink("8a6d2a")
    mask = rounded(96, 118, 14).astype(np.float32) / 255
    stain(image[top : top + 96, left : left + 118], mask, gold)
    centre = oval(left + 59, top + 48, 24, 28)
    curve(image, centre, line, 2, closed=True)
    for y in (30, 66):
        curve(image, np.array([(left + 2, top + y), (left + 40, top + y)]), line, 2)
        curve(image, np.array([(left + 78, top + y), (left + 116, top + y)]), line, 2)
    curve(image, np.array([(left + 59, top + 2), (left + 59, top + 20)]), line, 2)
    curve(image, np.array([(left + 59, top + 76), (left + 59, top + 94)]), line, 2)


def _zone(image: np.ndarray, lines: tuple[str, ...], left: float, first: float, step: float, pitch: float) -> None:
    for place, line in enumerate(lines):
        spaced_text(image, line, (left, first + place * step), pitch, TextStyle(round(pitch * 1.35), _BLACK, 500))


def _flower(image: np.ndarray, x: float, y: float, size: float, petals: int, colours: tuple[str, str, str]) -> None:
    light, dark, heart = (ink(colour) for colour in colours)
    for turn in np.linspace(0, 2 * np.pi, petals, endpoint=False) - np.pi / 2:
        shape = petal(x, y, size, size * 4.2 / petals, float(turn))
        fill(image, shape, light)
        curve(image, shape, dark, 2, closed=True)
        vein = np.array([(x, y), (x + size * 0.7 * np.cos(turn), y + size * 0.7 * np.sin(turn))])
        curve(image, vein, dark, 1)
    disc(image, x, y, size * 0.2, heart)
    disc(image, x, y, size * 0.2, dark, 2)


# --- ID_KTP: blue card, petal weave, portrait on the right


def _paint_id_ktp(image: np.ndarray, rng: np.random.Generator) -> None:
    _wash(image, rng, ("a9d3ea", "c6e3f1", "8fc2e0"))
    x, y = _grid(image)
    bend = clouds(rng, 540, 856, 3, 2)
    u, v = x / 46 + 1.6 * bend, y / 46 - 1.1 * bend + 0.12 * np.sin(x / 90)
    weave = 1.7 * np.abs(np.sin(np.pi * u) * np.cos(np.pi * v)) + 1.1 * np.abs(np.cos(np.pi * u) * np.sin(np.pi * v))
    stain(image, contours(weave * 2.2, 1.1) * 0.5, ink("3b7fb0"))
    for cx, cy, radius, petals in ((250, 330, 150, 9), (470, 250, 95, 13), (500, 450, 70, 7)):
        rosette(image, (cx, cy, radius), petals, ink("5f9cc6"), 7, 0.34)
    _mark(image, (325, 350), 100, 17, Mark("c2384a", "outlined"))
    ribbon(image, (0, 856, 112, 18), 17, ink("2b6a9b"), 6, 0.6)
    ribbon(image, (0, 856, 524, 22), 11, ink("2b6a9b"), 6, -0.3)
    _flower(image, 72, 58, 44, 5, ("fdf3cf", "a8762c", "f0b429"))
    _flower(image, 786, 58, 34, 8, ("f8d9c8", "a84b3a", "fff4dd"))
    text(image, "PROVINSI CONTOH", (428, 44), TextStyle(32, ink("123a5c"), 800, align="centre"))
    text(image, "KARTU PENDUDUK TELADAN", (428, 82), TextStyle(25, ink("123a5c"), 700, align="centre"))
    text(image, "NIK", (36, 162), TextStyle(30, ink("123a5c"), 800))
    names = ["Nama", "Lahir", "Kelamin", "Alamat", "Agama", "Status", "Pekerjaan", "Warga", "Berlaku"]
    _labels(image, [(name, 36, 204 + 33 * row) for row, name in enumerate(names)], ink("123a5c"), 19)
    _labels(image, [(":", 150, 204 + 33 * row) for row in range(len(names))], ink("123a5c"), 19)
    for row in range(5):
        _small_print(image, (600, 840, 462 + 12 * row), f"CONTOH {row} " + _SMALL_PRINT, ink("2b6a9b"), 9)


def _fill_id_ktp(image: np.ndarray, person: people.Person, rng: np.random.Generator) -> None:
    _portrait(image, rng, person, (622, 140, 196, 256))
    text(image, person.number + "0000", (152, 162), TextStyle(30, _BLACK, 700))
    sex = {"F": "PEREMPUAN", "M": "LAKI-LAKI"}[person.sex]
    rows = [person.full_name, f"{person.place}, {people.day(person.born)}", sex, person.address, "-", "CONTOH"]
    rows += [str(rng.choice(["GURU", "PETANI", "DOKTER", "PELUKIS"])), "XXA", people.day(person.expires)]
    _values(image, [(words, 168, 204 + 33 * row) for row, words in enumerate(rows)], 19)
    text(image, people.day(person.issued), (720, 428), TextStyle(18, _BLACK, 500, align="centre"))


# --- MY_NRIC: green and violet card with a chip, diamond lattice, portrait on the right


def _paint_my_nric(image: np.ndarray, rng: np.random.Generator) -> None:
    _wash(image, rng, ("cfe8d4", "d9d3ee", "b7dcc8"))
    x, y = _grid(image)
    bend = clouds(rng, 540, 856, 4, 2)
    pitch = 26 + x / 48
    one, two = (x + y) / pitch + 2.4 * bend, (x - y) / pitch - 1.5 * bend
    lattice = np.maximum(np.abs(one - np.round(one)), np.abs(two - np.round(two))) * 2
    stain(image, contours(lattice * 3.4, 1.2) * 0.42, ink("4b3f8f"))
    for cx, cy, radius, petals, colour in ((520, 330, 190, 12, "6a5fae"), (330, 440, 90, 8, "2f8b6b")):
        rosette(image, (cx, cy, radius), petals, ink(colour), 9, 0.22)
    image[:92] = blend(ink("0d5b4d"), ink("3e3a86"), np.repeat(np.linspace(0, 1, 856)[None], 92, axis=0))
    star = [
        (60 + r * np.cos(t), 46 + r * np.sin(t))
        for t, r in zip(np.linspace(0, 2 * np.pi, 17)[:16], [36, 17] * 8, strict=True)
    ]
    fill(image, star, ink("f1d28a"))
    disc(image, 60, 46, 11, ink("0d5b4d"))
    text(image, "KAD PENGENALAN CONTOH", (116, 44), TextStyle(33, (255, 255, 255), 800))
    text(image, "SPESIMEN  -  IDENTITY CARD OF NO STATE", (118, 76), TextStyle(19, ink("f1d28a"), 600))
    ribbon(image, (640, 850, 46, 62), 6, ink("7fb8a6"), 8, 0.9)
    _mark(image, (336, 318), 94, 0, Mark("b03a7c", "striped", strength=0.62))
    _chip(image, 46, 176)
    for row, name in enumerate(["Nama / Name", "Alamat / Address", "Lahir / Born"]):
        text(image, name, (44, (364, 424, 486)[row]), TextStyle(14, ink("4b3f8f"), 600))
    ribbon(image, (0, 856, 530, 14), 23, ink("0d5b4d"), 5, 0.4)
    for row in range(4):
        _small_print(image, (190, 560, 184 + row * 21), f"{row} PENGENALAN CONTOH " + _SMALL_PRINT, ink("6a5fae"), 10)


def _fill_my_nric(image: np.ndarray, person: people.Person, rng: np.random.Generator) -> None:
    picture = _portrait(image, rng, person, (624, 126, 198, 262))
    _ghost(image, picture, (520, 280, 84, 108), "4b3f8f")
    number = f"{person.born:%y%m%d}-99-{person.number[-4:]}"
    text(image, number, (46, 150), TextStyle(38, _BLACK, 700))
    _values(image, [(person.full_name, 44, 392), (person.address, 44, 452), (people.day(person.born), 44, 512)], 24)
    text(image, "WARGA CONTOH", (722, 430), TextStyle(20, _BLACK, 600, align="centre"))
    text(image, {"F": "PEREMPUAN", "M": "LELAKI"}[person.sex], (722, 462), TextStyle(20, _BLACK, 600, align="centre"))


# --- AU_PASSPORT: sand and sea page, contour lines as on a map


def _paint_au_passport(image: np.ndarray, rng: np.random.Generator) -> None:
    _wash(image, rng, ("f0e2c6", "cfe3e4", "e8d2ad"))
    land = clouds(rng, 704, 1000, 4, 3)
    stain(image, contours(land * 26, 1.2) * 0.5, ink("a06a34"))
    stain(image, contours(land * 26 + 0.5, 0.9) * 0.35, ink("1d6f7f"))
    image[:78] = ink("16324f")
    ribbon(image, (0, 1000, 78, 26), 19, ink("c99a4a"), 7, 0.5)
    text(image, "PASSPORT", (40, 56), TextStyle(44, ink("f3dfae"), 900))
    text(image, "STATE OF SPECIMEN - TRAVEL DOCUMENT", (330, 52), TextStyle(25, ink("f3dfae"), 600))
    sprig = np.stack([830 + 90 * np.linspace(0, 1, 20), 250 - 150 * np.linspace(0, 1, 20) ** 1.3], axis=1)
    curve(image, sprig, ink("2f5d46"), 6)
    for place in range(2, 19, 2):
        for side in (-1, 1):
            leaf = petal(sprig[place, 0], sprig[place, 1], 74 - 2 * place, 24, -0.95 + side * (0.9 - place * 0.02))
            fill(image, leaf, ink("7fae86" if side < 0 else "5d946d"))
            curve(image, leaf, ink("2f5d46"), 2, closed=True)
    for ring in range(8):
        for dot in np.linspace(0, 2 * np.pi, 12 + 7 * ring, endpoint=False):
            disc(image, 560 + (26 + 19 * ring) * np.cos(dot), 360 + (26 + 19 * ring) * np.sin(dot), 3.4, ink("c0773a"))
    _mark(image, (610, 410), 128, 24, Mark("1b4e8f", "inlined", strength=0.6))
    names = [
        "Surname",
        "Given names",
        "Nationality",
        "Date of birth",
        "Sex",
        "Place of birth",
        "Date of issue",
        "Authority",
    ]
    _labels(image, [(name, 330, 128 + 56 * row) for row, name in enumerate(names)], ink("16324f"), 15)
    _labels(image, [("Document No.", 640, 128), ("Date of expiry", 640, 464), ("Code", 640, 240)], ink("16324f"), 15)
    for row in range(3):
        _small_print(image, (40, 960, 570 + row * 13), f"OUTBACK AND OCEAN {row} " + _SMALL_PRINT, ink("8a5a2b"), 11)
    image[608:] = blend(ink("f6efe0"), ink("e9f0ee"), np.repeat(np.linspace(0, 1, 1000)[None], 96, axis=0))


def _fill_au_passport(image: np.ndarray, person: people.Person, rng: np.random.Generator) -> None:
    picture = _portrait(image, rng, person, (40, 128, 256, 330))
    _ghost(image, picture, (846, 380, 112, 146), "16324f")
    rows = [person.family, person.given, "SPECIMENIAN", people.day(person.born), person.sex, person.place]
    rows += [people.day(person.issued), "SAMPLE OFFICE"]
    _values(image, [(words, 330, 152 + 56 * row) for row, words in enumerate(rows)], 23)
    _values(
        image, [("X" + person.number[-8:], 640, 152), (people.day(person.expires), 640, 488), ("XAU", 640, 264)], 23
    )
    text(image, person.full_name.title(), (168, 510), TextStyle(30, ink("1d2f6f"), 300, face="italic", align="centre"))
    _zone(image, people.passport_zone(person, "XAU"), 32, 648, 38, 21.2)


# --- KH_IC: apricot card, overlapping scales, portrait on the left, a machine-readable zone of three lines


def _paint_kh_ic(image: np.ndarray, rng: np.random.Generator) -> None:
    _wash(image, rng, ("f8ddb6", "f4c8a0", "f3e6c4"))
    x, y = _grid(image)
    bend = clouds(rng, 540, 856, 3, 2)
    u, v = x / 58 + 1.3 * bend, y / 34 + 1.2 * bend
    row = np.floor(v)
    across = u + 0.5 * (row % 2)
    reach = np.hypot(across - np.floor(across) - 0.5, (v - row) * 0.62)
    stain(image, contours(reach * 6.5, 1.2) * 0.5, ink("c0622b"))
    for turn in np.linspace(-np.pi, 0, 9):
        shape = petal(560, 300, 210, 78, float(turn))
        stain(
            image,
            cv2.fillPoly(np.zeros((540, 856), np.float32), [shape.astype(np.int32)], 0.28, cv2.LINE_AA),
            ink("e58a7a"),
        )
        curve(image, shape, ink("a8442f"), 2, closed=True)
        curve(image, petal(560, 300, 150, 40, float(turn)), ink("c97545"), 1, closed=True)
    rosette(image, (560, 300, 64), 11, ink("8f3b1f"), 9, 0.4)
    ribbon(image, (240, 856, 84, 26), 9, ink("9a4a1c"), 8, 0.8)
    _flower(image, 792, 46, 38, 12, ("f9c9c0", "a33a4a", "ffe9a8"))
    text(image, "KINGDOM OF EXAMPLES", (250, 42), TextStyle(28, ink("7a2413"), 900))
    text(image, "IDENTITY CARD  -  SPECIMEN ONLY", (250, 70), TextStyle(19, ink("7a2413"), 600))
    image[:108, :232] = blend(ink("8a2f1d"), ink("b8552c"), np.repeat(np.linspace(0, 1, 232)[None], 108, axis=0))
    for step in range(6):
        curve(
            image,
            np.array(
                [
                    (0, 92 - step * 13),
                    (58, 66 - step * 13),
                    (116, 92 - step * 13),
                    (174, 66 - step * 13),
                    (232, 92 - step * 13),
                ]
            ),
            ink("f0c27a"),
            2,
        )
    _mark(image, (560, 262), 92, -11, Mark("2f6a4f", "slanted", strength=0.55))
    _labels(
        image, [("Name", 256, 138), ("Born", 256, 192), ("Sex", 520, 192), ("Address", 256, 246)], ink("7a2413"), 14
    )
    _labels(image, [("Valid", 256, 300), ("Height", 520, 300), ("No.", 600, 138)], ink("7a2413"), 14)
    for line in range(3):
        _small_print(image, (250, 840, 346 + line * 12), f"LOTUS {line} " + _SMALL_PRINT, ink("9a4a1c"), 10)
    image[396:] = blend(ink("fdf3e0"), ink("faead2"), np.repeat(np.linspace(0, 1, 856)[None], 144, axis=0))
    ribbon(image, (0, 856, 396, 16), 27, ink("9a4a1c"), 5, -0.4)


def _fill_kh_ic(image: np.ndarray, person: people.Person, rng: np.random.Generator) -> None:
    _portrait(image, rng, person, (36, 118, 186, 242))
    _values(image, [(person.full_name, 256, 164), (people.day(person.born), 256, 218), (person.sex, 520, 218)], 23)
    _values(
        image, [(person.address, 256, 272), (people.day(person.expires), 256, 326), (person.number[-9:], 640, 138)], 23
    )
    _values(image, [(f"{rng.integers(150, 190)} cm", 520, 326)], 23)
    _zone(image, people.card_zone(person, "XKH"), 30, 440, 36, 26.5)


# --- PRC_PASSPORT: ivory and plum page, spiral clouds


def _paint_prc_passport(image: np.ndarray, rng: np.random.Generator) -> None:
    _wash(image, rng, ("f6ece0", "f0d6e2", "e3d3ea"))
    x, y = _grid(image)
    bend = clouds(rng, 704, 1000, 4, 2) * 40
    nearest, spiral = np.full(x.shape, np.inf, np.float32), np.zeros_like(x)
    for _ in range(22):
        across, down = x - rng.uniform(0, 1000) + bend, y - rng.uniform(0, 704) - bend
        reach = np.hypot(across, down)
        turn = np.arctan2(down, across) * rng.choice([-1, 1]) / (2 * np.pi)
        spiral = np.where(reach < nearest, reach / 15 + turn, spiral)
        nearest = np.minimum(reach, nearest)
    stain(image, contours(spiral, 1.5) * 0.45, ink("9b4f8c"))
    rosette(image, (700, 330, 190), 16, ink("c06a8e"), 8, 0.18)
    rosette(image, (700, 330, 105), 5, ink("7a3b78"), 10, 0.38)
    for branch in range(5):
        _flower(image, 830 + 38 * branch % 130, 130 + 34 * branch, 30 - 3 * branch, 5, ("f4a9b8", "8f2347", "ffe08a"))
    curve(image, np.array([(980, 100), (900, 150), (860, 220), (880, 300), (820, 360)]), ink("5b3a35"), 5)
    text(image, "样本护照", (330, 60), TextStyle(46, ink("7a1e4a"), 800))
    text(image, "SPECIMEN REPUBLIC PASSPORT", (540, 54), TextStyle(25, ink("7a1e4a"), 800))
    ribbon(image, (0, 1000, 86, 22), 14, ink("7a1e4a"), 7, 1.1)
    for step in range(4):
        disc(image, 150, 10, 60 + step * 14, ink("9b4f8c"), 2)
        disc(image, 40, 20, 30 + step * 12, ink("c06a8e"), 2)
    _mark(image, (650, 400), 94, -19, Mark("7d2a8c", "outlined", words="样本 SPECIMEN", strength=0.8))
    rows = [
        "姓 / Surname",
        "名 / Given names",
        "性别 / Sex",
        "出生日期 / Date of birth",
        "出生地点 / Place of birth",
        "签发日期 / Date of issue",
        "签发机关 / Authority",
    ]
    _labels(image, [(name, 340, 124 + 64 * row) for row, name in enumerate(rows)], ink("6b2350"), 16)
    _labels(
        image,
        [
            ("护照号 / Passport No.", 660, 124),
            ("国籍 / Nationality", 660, 252),
            ("有效期至 / Date of expiry", 660, 444),
        ],
        ink("6b2350"),
        16,
    )
    for line in range(2):
        _small_print(image, (0, 1000, 588 + line * 13), f"PLUM {line} CLOUD " + _SMALL_PRINT, ink("9b4f8c"), 11)
    image[606:] = blend(ink("faf5ee"), ink("f5ecf2"), np.repeat(np.linspace(0, 1, 1000)[None], 98, axis=0))


def _fill_prc_passport(image: np.ndarray, person: people.Person, rng: np.random.Generator) -> None:
    _portrait(image, rng, person, (46, 112, 250, 322))
    rows = [person.family, person.given, person.sex, people.day(person.born), person.place, people.day(person.issued)]
    _values(image, [(words, 340, 152 + 64 * row) for row, words in enumerate([*rows, "SAMPLE BUREAU"])], 23)
    _values(
        image,
        [("X" + person.number[-8:], 660, 152), ("SPECIMEN", 660, 280), (people.day(person.expires), 660, 472)],
        23,
    )
    text(image, person.full_name.title(), (170, 500), TextStyle(32, ink("2a2a58"), 300, face="italic", align="centre"))
    _zone(image, people.passport_zone(person, "XPR"), 40, 646, 38, 20.9)


# --- SG_PASSPORT: coral and grey page, rings that interfere, portrait on the right


def _paint_sg_passport(image: np.ndarray, rng: np.random.Generator) -> None:
    _wash(image, rng, ("f3d0c8", "dfe6ea", "f0dcd6"))
    x, y = _grid(image)
    bend = clouds(rng, 704, 1000, 4, 2) * 22
    for (cx, cy), step, colour in (((180, 620), 17, "c8473f"), ((930, -40), 21, "4f6a80"), ((520, 240), 13, "d98a5f")):
        stain(image, contours((np.hypot(x - cx, y - cy) + bend) / step, 1.1) * 0.36, ink(colour))
    image[:, :74] = blend(ink("b5322f"), ink("7c1f33"), np.repeat(np.linspace(0, 1, 704)[:, None], 74, axis=1))
    for place, leaf in enumerate(np.linspace(30, 680, 14)):
        fill(image, petal(37, leaf, 44, 17, (-0.6, 0.9, 2.4, -2.2)[place % 4]), ink("f0b9a6"))
    for wave in range(5):
        swell = np.linspace(74, 1000, 300)
        curve(image, np.stack([swell, 84 + wave * 5 + 6 * np.sin(swell / (34 + 4 * wave))], axis=1), ink("b5322f"), 2)
    text(image, "SPECIMEN ISLES", (100, 40), TextStyle(34, ink("7c1f33"), 900))
    text(image, "PASSPORT  /  PASPORT  /  护照", (100, 70), TextStyle(21, ink("7c1f33"), 600))
    trunk = np.array([(520, 520), (528, 420), (512, 380), (540, 380), (548, 430), (560, 520)], np.float32)
    fill(image, trunk, ink("c79a86"))
    for cx, cy, size in ((450, 330, 62), (520, 282, 84), (606, 318, 70), (560, 352, 60), (480, 366, 44)):
        rosette(image, (cx, cy, size), 8, ink("b85a4a"), 6, 0.26)
    _flower(image, 930, 54, 40, 6, ("f2b6c6", "8c2a50", "fbe7a1"))
    _mark(image, (400, 440), 108, 9, Mark("33546e", "striped", strength=0.7))
    rows = ["Name", "Nationality", "Date of birth", "Sex", "Place of birth", "Issued", "Authority"]
    _labels(image, [(name, 104, 142 + 62 * row) for row, name in enumerate(rows)], ink("7c1f33"), 15)
    _labels(image, [("No.", 420, 204), ("Expiry", 420, 452), ("Type", 420, 266), ("Code", 520, 266)], ink("7c1f33"), 15)
    for line in range(4):
        _small_print(image, (660, 970, 552 + line * 13), f"{line} ISLES RAIN TREE " + _SMALL_PRINT, ink("a33c3a"), 11)
    image[606:, 74:] = blend(ink("fbf3f0"), ink("eef2f4"), np.repeat(np.linspace(0, 1, 926)[None], 98, axis=0))


def _fill_sg_passport(image: np.ndarray, person: people.Person, rng: np.random.Generator) -> None:
    picture = _portrait(image, rng, person, (706, 126, 248, 320))
    _ghost(image, picture, (590, 420, 96, 124), "7c1f33")
    rows = [person.full_name, "SPECIMEN ISLANDER", people.day(person.born), person.sex, person.place]
    rows += [people.day(person.issued), "SAMPLE MINISTRY"]
    _values(image, [(words, 104, 167 + 62 * row) for row, words in enumerate(rows)], 23)
    _values(image, [("X" + person.number[-8:], 420, 229), (people.day(person.expires), 420, 477)], 23)
    _values(image, [("PX", 420, 291), ("XSG", 520, 291)], 23)
    text(image, person.full_name.title(), (830, 500), TextStyle(32, ink("2a2a58"), 300, face="italic", align="centre"))
    _zone(image, people.passport_zone(person, "XSG"), 94, 646, 38, 19.8)


# --- THAI_ID_FRONT: turquoise and lilac card with a chip, flame lines, portrait low on the right


def _paint_thai_id_front(image: np.ndarray, rng: np.random.Generator) -> None:
    _wash(image, rng, ("bfe6ea", "d8d9f4", "cdeee2"))
    x, y = _grid(image)
    bend = clouds(rng, 540, 856, 4, 2)
    flame = np.abs((x / 74 + bend) % 1 - 0.5)
    stain(image, contours(y / 13 + 3.2 * flame + 5 * bend + np.sin(x / 57), 1.2) * 0.48, ink("2a7f96"))
    for cx, cy, size, petals in ((430, 330, 165, 18), (600, 190, 80, 10), (200, 460, 74, 6)):
        rosette(image, (cx, cy, size), petals, ink("7d78c4"), 8, 0.16)
    image[:14] = ink("1f4f8f")
    image[14:22] = ink("e9b949")
    shell = [petal(78, 100, 62, 24, float(turn)) for turn in np.linspace(-np.pi, 0, 9)]
    for shape in shell:
        fill(image, shape, ink("f6d98c"))
        curve(image, shape, ink("8f6a1d"), 2, closed=True)
    text(image, "SAMPLE IDENTIFICATION CARD", (146, 62), TextStyle(31, ink("1f3f7a"), 800))
    text(image, "Land of Specimens  -  front side", (146, 94), TextStyle(20, ink("1f3f7a"), 500, face="italic"))
    ribbon(image, (140, 856, 110, 14), 15, ink("1f4f8f"), 6, 0.7)
    _chip(image, 52, 190)
    _mark(image, (400, 420), 96, 12, Mark("d0662a", "inlined", strength=0.6))
    _labels(
        image, [("Identification number", 212, 142), ("Name", 212, 196), ("Last name", 212, 246)], ink("1f3f7a"), 15
    )
    _labels(image, [("Date of birth", 212, 296), ("Address", 60, 350), ("Date of issue", 60, 420)], ink("1f3f7a"), 15)
    _labels(image, [("Date of expiry", 330, 420), ("Religion: not recorded", 60, 488)], ink("1f3f7a"), 15)
    for line in range(8):
        curve(image, np.array([(640, 214 + line * 34), (836, 214 + line * 34)]), ink("5b6fae"), 1)
        text(image, str(180 - 10 * line), (838, 219 + line * 34), TextStyle(11, ink("1f3f7a"), 500, align="right"))
    for line in range(2):
        _small_print(image, (0, 856, 522 + line * 12), f"SHELL {line} FLAME " + _SMALL_PRINT, ink("2a5f96"), 10)


def _fill_thai_id_front(image: np.ndarray, person: people.Person, rng: np.random.Generator) -> None:
    _portrait(image, rng, person, (648, 232, 166, 214))
    digits = person.number + str(rng.integers(10))
    grouped = f"{digits[0]} {digits[1:5]} {digits[5:10]} {digits[10:12]} {digits[12]}"
    _values(image, [(grouped, 212, 170)], 28, 700)
    _values(image, [(person.given, 300, 220), (person.family, 300, 270), (people.day(person.born), 330, 320)], 24)
    _values(
        image,
        [(person.address, 60, 378), (people.day(person.issued), 60, 450), (people.day(person.expires), 330, 450)],
        22,
    )
    text(image, person.number[-10:-2], (731, 472), TextStyle(18, _BLACK, 500, align="centre"))


# --- THAI_ID_BACK: lilac card with a magnetic stripe, rays, no portrait


def _paint_thai_id_back(image: np.ndarray, rng: np.random.Generator) -> None:
    _wash(image, rng, ("dcd6f0", "c9e2ec", "efe0ec"))
    x, y = _grid(image)
    bend = clouds(rng, 540, 856, 3, 2)
    turn, reach = np.arctan2(y - 345, x - 200), np.hypot(x - 200, y - 345)
    stain(image, contours(turn / (2 * np.pi) * 64 + 2.4 * bend + 1.3 * np.sin(reach / 42), 1.2) * 0.42, ink("6a4fa0"))
    stain(image, contours(reach / 31 + 2.2 * bend, 1.1) * 0.34, ink("2f7f8f"))
    rosette(image, (200, 345, 118), 24, ink("7a5ab0"), 10, 0.2)
    rosette(image, (200, 345, 62), 7, ink("2f7f8f"), 8, 0.42)
    image[34:122] = blend(ink("2a2422"), ink("3b3430"), noise(rng, 88, 856, 2, 90))
    text(
        image, "SAMPLE IDENTIFICATION CARD  -  REVERSE SIDE  -  FICTITIOUS", (30, 24), TextStyle(15, ink("3f2f78"), 700)
    )
    _mark(image, (440, 182), 96, -3, Mark("a82a3a", "outlined", strength=0.85))
    block = [
        "This card is a drawing. It identifies nobody and opens no door.",
        "Whoever finds it may keep it, fold it or feed it to a detector.",
        "Bending, heating and long speeches may damage the chip.",
        "Return to: Office of Specimens, Paper Street 1, Nowhere.",
    ]
    for row, words in enumerate(block):
        text(image, words, (382, 264 + row * 25), TextStyle(14, ink("33285f"), 500))
    cv2.rectangle(image, (366, 236), (836, 352), ink("6a4fa0"), 2, cv2.LINE_AA)
    cv2.rectangle(image, (372, 372), (836, 470), (250, 250, 250), -1)
    ribbon(image, (366, 836, 226, 16), 13, ink("6a4fa0"), 6, 0.8)
    _flower(image, 84, 182, 38, 10, ("cfe8e4", "2f5f7f", "f6d98c"))
    for line in range(3):
        _small_print(image, (0, 856, 506 + line * 13), f"{line} REVERSE RAYS " + _SMALL_PRINT, ink("5a3f98"), 11)


def _fill_thai_id_back(image: np.ndarray, person: people.Person, rng: np.random.Generator) -> None:
    code = f"XX{person.number[2]}-{person.number[3:10]}-{person.number[10:]}"
    spaced_text(image, code, (24, 490), 20, TextStyle(30, _BLACK, 700))
    left = 392
    while left < 812:  # bars and gaps of one to four units
        bar, gap = rng.integers(1, 5, 2) * 3
        image[384:440, left : min(left + bar, 816)] = _BLACK
        left += int(bar + gap)
    text(image, code, (604, 462), TextStyle(18, _BLACK, 500, align="centre"))


TYPES = {
    kind.name: kind
    for kind in (
        DocumentType("ID_KTP", CARD, _paint_id_ktp, _fill_id_ktp),
        DocumentType("MY_NRIC", CARD, _paint_my_nric, _fill_my_nric),
        DocumentType("AU_PASSPORT", PASSPORT_PAGE, _paint_au_passport, _fill_au_passport),
        DocumentType("KH_IC", CARD, _paint_kh_ic, _fill_kh_ic),
        DocumentType("PRC_PASSPORT", PASSPORT_PAGE, _paint_prc_passport, _fill_prc_passport),
        DocumentType("SG_PASSPORT", PASSPORT_PAGE, _paint_sg_passport, _fill_sg_passport),
        DocumentType("THAI_ID_FRONT", CARD, _paint_thai_id_front, _fill_thai_id_front),
        DocumentType("THAI_ID_BACK", CARD, _paint_thai_id_back, _fill_thai_id_back),
    )
}
