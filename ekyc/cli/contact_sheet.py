"""Draws the contact sheet: each photo with the detected outlines, and beside it the crop of its first document."""

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
from PIL import Image, ImageDraw, ImageFont, ImageOps

from ekyc.cli.detection import Document, read_photo
from ekyc.cli.terminal import printable
from outlines import pictures

CELL = (300, 240)
GAP, COLUMNS, TITLE = 14, 3, 26
PAPER, INK, SOFT = "#f8fafc", "#0f172a", "#64748b"
COLOURS = ("#2563eb", "#16a34a", "#db2777", "#ea580c", "#7c3aed", "#0891b2", "#ca8a04", "#dc2626")


def draw(results: Sequence[tuple[Path, Sequence[Document]]]) -> Image.Image:
    """The contact sheet of ``results``: pairs of a photo and its documents."""
    labels = sorted({document.label for _, documents in results for document in documents})
    colours = {label: COLOURS[place % len(COLOURS)] for place, label in enumerate(labels)}
    step_x, step_y = 2 * CELL[0] + 3 * GAP, CELL[1] + TITLE + GAP
    rows = -(-len(results) // COLUMNS)
    sheet = Image.new("RGB", (COLUMNS * step_x + GAP, rows * step_y + GAP), PAPER)
    for place, (path, documents) in enumerate(results):
        corner = (GAP + place % COLUMNS * step_x, GAP + place // COLUMNS * step_y)
        _paste_photo_and_crop(sheet, corner, path, documents, colours)
    return sheet


def _paste_photo_and_crop(
    sheet: Image.Image,
    corner: tuple[int, int],
    path: Path,
    documents: Sequence[Document],
    colours: dict[str, str],
) -> None:
    pen = ImageDraw.Draw(sheet)
    pixels = read_photo(path)
    photo = _picture(pixels)
    marks = ImageDraw.Draw(photo)
    thickness = max(3, max(photo.size) // 130)
    for document in documents:
        points = [(float(x), float(y)) for x, y in document.corners]
        marks.line([*points, points[0], points[1]], fill=colours[document.label], width=thickness, joint="curve")
    _paste(sheet, photo, corner)
    beside = (corner[0] + CELL[0] + GAP, corner[1])
    words = ", ".join(f"{document.label} {100 * document.confidence:.0f} %" for document in documents) or "no document"
    title = printable(f"{path.name}   {words}")
    pen.text((corner[0], corner[1] + CELL[1] + 5), title, fill=INK, font=ImageFont.load_default(14))
    crop = pictures.crop(pixels, documents[0].box, documents[0].outline, CELL[0]) if documents else None
    if crop is not None:
        _paste(sheet, _picture(crop), beside)
    elif not documents:
        pen.rectangle((*beside, beside[0] + CELL[0], beside[1] + CELL[1]), outline="#cbd5e1")
        centre = (beside[0] + CELL[0] // 2, beside[1] + CELL[1] // 2)
        pen.text(centre, "no document found", fill=SOFT, font=ImageFont.load_default(15), anchor="mm")


def _picture(pixels: np.ndarray) -> Image.Image:
    return Image.fromarray(cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB))


def _paste(sheet: Image.Image, picture: Image.Image, corner: tuple[int, int]) -> None:
    fitted = ImageOps.contain(picture, CELL)
    sheet.paste(fitted, (corner[0] + (CELL[0] - fitted.width) // 2, corner[1] + (CELL[1] - fitted.height) // 2))
