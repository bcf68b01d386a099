"""Photos of the same shot as they occur in a job (copies, crops, brightened photos, bursts), and photos of another
document in the same place, which look similar."""

import io
from collections.abc import Callable
from unittest.mock import patch

import cv2
import numpy as np
from PIL import Image, ImageEnhance

from ekyc.samples import documents, photograph

Random = np.random.Generator


def opened(photo: bytes) -> Image.Image:
    return Image.open(io.BytesIO(photo)).convert("RGB")


def jpeg(picture: Image.Image, quality: int = 88) -> bytes:
    file = io.BytesIO()
    picture.save(file, "JPEG", quality=quality)
    return file.getvalue()


def noisy(picture: Image.Image, grain: float, random: Random) -> Image.Image:
    pixels = np.asarray(picture).astype(np.float32)
    return Image.fromarray((pixels + random.normal(0, grain, pixels.shape)).clip(0, 255).astype(np.uint8))


def moved(picture: Image.Image, shift: float, degrees: float, zoom: float, random: Random) -> Image.Image:
    """The picture, moved as by an unsteady hand: at most ``shift`` and ``zoom`` (shares of a side) and ``degrees``."""
    width, height = picture.size
    matrix = cv2.getRotationMatrix2D(
        (width / 2, height / 2), random.uniform(-degrees, degrees), 1 + random.uniform(-zoom, zoom)
    )
    matrix[:, 2] += random.uniform(-shift, shift, 2) * (width, height)
    return Image.fromarray(
        cv2.warpAffine(np.asarray(picture), matrix, picture.size, flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REFLECT)
    )


def cropped(picture: Image.Image, left: float, top: float, right: float, bottom: float) -> Image.Image:
    """The picture without these shares of its sides."""
    width, height = picture.size
    edges = left * width, top * height, (1 - right) * width, (1 - bottom) * height
    return picture.crop(tuple(map(round, edges)))  # type: ignore[arg-type]


def gamma(picture: Image.Image, power: float) -> Image.Image:
    return picture.point([round(255 * (level / 255) ** power) for level in range(256)] * 3)


def cut_somewhere(picture: Image.Image, random: Random) -> Image.Image:
    left, top = random.uniform(0, 0.05, 2)
    return cropped(picture, left, top, 0.05 - left, 0.05 - top)


def cut_on_one_side(picture: Image.Image, random: Random) -> Image.Image:
    return cropped(picture, *(0.05 * np.roll([1, 0, 0, 0], random.integers(4))))


LEAKS: dict[str, Callable[[Image.Image, Random], bytes]] = {
    "recompressed, quality 50": lambda picture, _: jpeg(picture, 50),
    "half the size, quality 50": lambda picture, _: jpeg(picture.reduce(2), 50),
    "cropped by 5 % in all": lambda picture, random: jpeg(cut_somewhere(picture, random)),
    "cropped by 5 % on one side": lambda picture, random: jpeg(cut_on_one_side(picture, random)),
    "cropped by 5 % on every side": lambda picture, _: jpeg(cropped(picture, 0.05, 0.05, 0.05, 0.05)),
    "brightened by 30 %": lambda picture, _: jpeg(ImageEnhance.Brightness(picture).enhance(1.3)),
    "brightened by a curve": lambda picture, _: jpeg(gamma(picture, 0.7)),
    "burst, still hand": lambda picture, random: jpeg(noisy(moved(picture, 0.01, 0.5, 0.01, random), 6, random)),
    "burst, moving hand": lambda picture, random: jpeg(noisy(moved(picture, 0.025, 1.5, 0.02, random), 8, random), 85),
}


def leak(kind: str, photo: bytes, seed: int) -> bytes:
    return LEAKS[kind](opened(photo), np.random.default_rng(seed))


def two_on_one_table(number: int) -> tuple[bytes, bytes]:
    """Two documents of the same type in the same place and light, as two photos that are otherwise equal."""
    name = list(documents.TYPES)[number % len(documents.TYPES)]
    draw, photos = documents.draw, []
    for person in (0, 1):
        own = np.random.default_rng([number, person])
        with patch.object(documents, "draw", lambda name, _, own=own: draw(name, own)):
            photos.append(photograph.take([name], np.random.default_rng([7, number])).jpeg)
    return photos[0], photos[1]


def with_another(photo: bytes, corners: np.ndarray, other: bytes, other_corners: np.ndarray) -> bytes:
    """The photo with the document of another photo over its own, as bright. Corners are 4 x 2, in pixels."""
    below, above = np.array(opened(photo)), np.array(opened(other))
    laid = cv2.getPerspectiveTransform(other_corners.astype(np.float32), corners.astype(np.float32))
    above = cv2.warpPerspective(above, laid, below.shape[1::-1], borderMode=cv2.BORDER_REPLICATE).astype(np.float32)
    mask = np.zeros(below.shape[:2], np.uint8)
    cv2.fillConvexPoly(mask, corners.astype(np.int32), 255)
    inside = mask > 0
    above += below[inside].mean(axis=0) - above[inside].mean(axis=0)
    below[inside] = above.clip(0, 255)[inside]
    return jpeg(Image.fromarray(below), 90)
