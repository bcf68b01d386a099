"""Measures what a straightened crop does to the next step: the character error rate of an OCR on crops of specimens.

    make ocr

RapidOCR (PP-OCR's models, in the package) and, if it is installed (Debian: tesseract-ocr), Tesseract read each document
of the test photos from three crops: the upright box, as Rekognition returns it; the crop that the API returns; and the
ideal crop, by the true corners. All have a longer side of 1,000 px. The detector's box is the labelled one with each
side moved by up to 3 %. RapidOCR finds lines of any direction and straightens each of them; Tesseract reads upright
lines only.

The known text is all that the specimens' drawing writes for a person: names, dates, numbers, machine-readable zones. A
text's error is its edit distance to the most similar part of what the OCR read, in any line or across lines. Prints
Markdown tables, and writes docs/ocr.jpg.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from document_outlines import JITTER, Document, Scene, jittered, learn, visible_box
from PIL import Image, ImageDraw, ImageFont

import outlines
from ekyc.samples import documents, photograph
from outlines import pictures

PROJECT = Path(__file__).resolve().parents[1]
PICTURE = PROJECT / "docs" / "ocr.jpg"
TRAINING, TEST = 3, 2  # photos of each type
SIDE = 1000  # pixels of a crop's longer side, as in the API's response
SHORTEST = 4  # letters; shorter texts are found anywhere
ZONE = 30  # letters of the shortest line of a machine-readable zone
CROPS = ("upright box", "as the API returns it", "by the true corners")
PICTURED = "Tesseract"
TURNS = {"up to 5°": (0, 5), "5° to 20°": (5, 20), "more than 20°": (20, 181)}


@dataclass(frozen=True)
class Taken:
    """A photo of one document, and its text."""

    scene: Scene
    texts: list[str]

    @property
    def turn(self) -> float:
        """The angle of the document's top edge in the photo, 0 to 180 degrees."""
        edge = self.scene.documents[0].corners[1] - self.scene.documents[0].corners[0]
        return float(abs(np.degrees(np.arctan2(edge[1], edge[0]))))


@contextmanager
def noted(texts: list[str]) -> Iterator[None]:
    """A context in which the texts of drawn documents are added to the list."""
    module: Any = documents
    text, spaced = module.text, module.spaced_text

    def note(write: Callable[..., None]) -> Callable[..., None]:
        def noting(image: np.ndarray, words: str, *arguments: Any) -> None:
            texts.append(words)
            write(image, words, *arguments)

        return noting

    module.text, module.spaced_text = note(text), note(spaced)
    try:
        yield
    finally:
        module.text, module.spaced_text = text, spaced


def take(name: str, seed: int) -> Taken:
    """Photograph a document of a type."""
    documents.blank(name)  # drawn before its texts are noted: the fixed part is not the person's
    texts: list[str] = []
    with noted(texts):
        photo = photograph.take([name], np.random.default_rng([seed, *name.encode()]))
    image = cv2.imdecode(np.frombuffer(photo.jpeg, np.uint8), cv2.IMREAD_COLOR)
    shown = [Document(label, corners) for label, corners in photo.outlines]
    return Taken(Scene(image, shown), [known for known in texts if len(letters(known)) >= SHORTEST])


def crops(taken: Taken, model: outlines.Outlines, random: np.random.Generator) -> dict[str, np.ndarray]:
    """The crops of the photo's document, with a longer side of `SIDE` pixels."""
    image, [document] = taken.scene.image, taken.scene.documents
    box = jittered(visible_box(document.corners, image), JITTER, random)
    found = outlines.find(image, box, document.label, model)
    corners = found.corners if found is not None and found.confidence >= outlines.CERTAIN else None
    cut = [
        pictures.crop(image, box, None, SIDE),
        pictures.crop(image, box, corners, SIDE),
        pictures.crop(image, box, document.corners, SIDE),
    ]
    return {name: enlarged(crop) for name, crop in zip(CROPS, cut, strict=True) if crop is not None}


def enlarged(crop: np.ndarray) -> np.ndarray:
    """The crop with a longer side of `SIDE` pixels."""
    scale = SIDE / max(crop.shape[:2])
    return cv2.resize(crop, None, fx=scale, fy=scale, interpolation=cv2.INTER_CUBIC) if scale != 1 else crop


# Errors


def letters(words: str) -> str:
    """What is compared: capital letters, digits and the filler of machine-readable zones."""
    return "".join(letter for letter in words.upper() if letter.isalnum() or letter == "<")


def distance(known: str, read: str) -> int:
    """The edit distance of ``known`` to the most similar part of ``read``."""
    row = np.zeros(len(read) + 1, int)  # the part may begin anywhere
    line = np.array(list(read))
    for place, letter in enumerate(known, 1):
        changed = row[:-1] + (line != letter)
        best = np.concatenate([[place], np.minimum(changed, row[1:] + 1)])
        steps = np.arange(len(best))
        row = np.minimum.accumulate(best - steps) + steps  # a letter of ``read`` too many
    return int(row.min())


def errors(taken: Taken, read: Sequence[str]) -> list[tuple[int, int]]:
    """For each known text its edit distance, at most its length, and its length."""
    lines = [letters(line) for line in read]
    return [
        (min(len(known), *(distance(known, line) for line in (*lines, "".join(lines)))), len(known))
        for known in map(letters, taken.texts)
    ]


def rate(pairs: Sequence[tuple[int, int]]) -> float:
    """The share of characters that are wrong."""
    return sum(wrong for wrong, _ in pairs) / max(1, sum(count for _, count in pairs))


def main(readers: Mapping[str, Callable[[Sequence[str]], list[list[str]]]]) -> None:
    """Print a table for each OCR, and write the picture."""
    training = [take(name, seed) for name in documents.TYPES for seed in range(TRAINING)]
    tests = [take(name, 1000 + seed) for name in documents.TYPES for seed in range(TEST)]
    model = learn([taken.scene for taken in training])
    random = np.random.default_rng(0)
    cut = [crops(taken, model, random) for taken in tests]
    with tempfile.TemporaryDirectory(prefix="ekyc-bench-") as folder:
        paths = []
        for number, of_photo in enumerate(cut):
            for name, crop in of_photo.items():
                paths.append(f"{folder}/{number}-{CROPS.index(name)}.png")
                cv2.imwrite(paths[-1], crop)
        read = {name: reader(paths) for name, reader in readers.items()}
    for name, texts in read.items():
        lines = iter(texts)
        found = [{crop: errors(taken, next(lines)) for crop in of} for taken, of in zip(tests, cut, strict=True)]
        print(f"\n{name}:\n")
        print_rates(tests, found)
        if name == PICTURED:
            draw_picture(tests, cut, found)


def by_rapidocr(python: str, paths: Sequence[str]) -> list[list[str]]:
    """The lines that RapidOCR reads in each picture."""
    command = [python, str(PROJECT / "bench/read_text.py")]
    run = subprocess.run(command, input="\n".join(paths), capture_output=True, text=True, check=True)  # noqa: S603
    return [json.loads(line) for line in run.stdout.splitlines()]


def by_tesseract(paths: Sequence[str]) -> list[list[str]]:
    """The lines that Tesseract reads in each picture, wherever they are in it."""
    environment = os.environ | {"OMP_THREAD_LIMIT": "1"}
    return [
        subprocess.run(  # noqa: S603
            ["tesseract", path, "-", "--psm", "11"],  # noqa: S607
            env=environment,
            capture_output=True,
            text=True,
            check=True,
        ).stdout.splitlines()
        for path in paths
    ]


def print_rates(tests: list[Taken], found: list[dict[str, list[tuple[int, int]]]]) -> None:
    """The character error rates, overall, of machine-readable zones, and by the document's turn."""
    groups = {
        name: [n for n, taken in enumerate(tests) if low <= taken.turn < high] for name, (low, high) in TURNS.items()
    }
    known = sum(count for of_photo in found for _, count in of_photo[CROPS[0]])
    print(f"{len(tests)} documents of {len(documents.TYPES)} types, {known:,} characters\n")
    heads = [f"turned {name} ({len(numbers)})" for name, numbers in groups.items()]
    print(f"| Crop | all texts | machine-readable zones | {' | '.join(heads)} |\n|---|---:|---:|{'---:|' * len(heads)}")
    for name in CROPS:
        pairs = [pair for of_photo in found for pair in of_photo[name]]
        zones = [pair for pair in pairs if pair[1] >= ZONE]
        by_turn = [rate([pair for n in numbers for pair in found[n][name]]) for numbers in groups.values()]
        print(f"| {name} | {' | '.join(f'{100 * share:.1f} %' for share in (rate(pairs), rate(zones), *by_turn))} |")


def draw_picture(
    tests: list[Taken], cut: list[dict[str, np.ndarray]], found: list[dict[str, list[tuple[int, int]]]]
) -> None:
    """Write the crops of the document whose box crop has the median error among those turned by 5 to 20 degrees."""
    low, high = TURNS["5° to 20°"]
    turned = [n for n, taken in enumerate(tests) if low <= taken.turn < high]
    chosen = sorted(turned, key=lambda n: rate(found[n][CROPS[0]]))[len(turned) // 2]
    width, gap, title = 560, 16, 34
    shown = [sized(cut[chosen][name], width) for name in CROPS[:2]]
    sheet = Image.new("RGB", (2 * width + 3 * gap, max(one.height for one in shown) + title + 2 * gap), "#f8fafc")
    pen = ImageDraw.Draw(sheet)
    for place, (name, crop) in enumerate(zip(CROPS[:2], shown, strict=True)):
        left = gap + place * (width + gap)
        sheet.paste(crop, (left, title + gap))
        words = f"{name}: {100 * rate(found[chosen][name]):.0f} % of the characters wrong"
        pen.text((left, gap), words, fill="#0f172a", font=ImageFont.load_default(20))
    sheet.save(PICTURE, quality=80, optimize=True)


def sized(crop: np.ndarray, width: int) -> Image.Image:
    """The crop as a picture of this width."""
    picture = Image.fromarray(cv2.cvtColor(crop, cv2.COLOR_BGR2RGB))
    return picture.resize((width, round(picture.height * width / picture.width)))


if __name__ == "__main__":
    readers = {"RapidOCR": partial(by_rapidocr, sys.argv[1])} if len(sys.argv) > 1 else {}
    main(readers | ({"Tesseract": by_tesseract} if shutil.which("tesseract") else {}))
