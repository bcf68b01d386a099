"""Asks a running model what documents a photo shows."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
import cv2
import numpy as np
from botocore.exceptions import BotoCoreError, ClientError
from numpy.typing import NDArray

from ekyc.cli.errors import CommandError
from rules import photos

# Custom Labels guide, "Guidelines and quotas": bytes of a photo that is sent with the call. Larger photos are scaled
# down, as the guide to Rekognition says of images beyond its limits; boxes are shares of the sides, so they fit either.
MAX_BYTES = 4 * 1024 * 1024
SMALLER, QUALITY = 0.8, 90  # how a photo that is too large is made smaller, step by step
# What this machine reads of a photo: more would take it gigabytes. 50 megapixels are what large phones take.
MAX_FILE_BYTES, MAX_PIXELS = 64 * 1024 * 1024, 51_000_000
PARALLEL_CALLS = 2  # one inference unit, and the local AWS's two cores


@dataclass(frozen=True)
class Document:
    """A document found in a photo.

    ``confidence`` is 0..100; ``box`` is left, top, width, height and ``outline`` four corners (top-left first, in the
    document's own reading order), all in pixels. A model on AWS gives no outline: then it is the box's corners.
    """

    label: str
    confidence: float
    box: tuple[float, float, float, float]
    outline: NDArray[np.float64]


def read_photo(path: Path) -> NDArray[np.uint8]:
    """The photo's pixels, BGR, height x width x 3, after the turn that its EXIF asks for, as a person sees it.

    Raises:
        CommandError: the file is missing, is no photo, or is too large to read.
    """
    return _decode(path, read_file(path))


def read_file(path: Path) -> bytes:
    """The bytes of a photo that this machine can decode, by what its header says.

    Raises:
        CommandError: the file is missing, is no photo, or is too large to read.
    """
    try:
        if not path.is_file():
            raise CommandError(f"{path} is not a file.")
        size = path.stat().st_size
        if size > MAX_FILE_BYTES:
            raise CommandError(f"{path} has {size:,} bytes; at most {MAX_FILE_BYTES:,} can be read.")
        content = path.read_bytes()
    except (OSError, ValueError) as error:
        raise CommandError(f"{path} cannot be read: {getattr(error, 'strerror', None) or error}.") from error
    seen = photos.measure(content)
    if isinstance(seen, photos.Rejection):
        raise CommandError(f"{path} cannot be used: {seen.reason}.")
    if seen.width * seen.height > MAX_PIXELS:
        raise CommandError(f"{path} has {seen.width}x{seen.height} px; at most {MAX_PIXELS:,} pixels can be read.")
    return content


def _decode(path: Path, content: bytes) -> NDArray[np.uint8]:
    costly = photos.bare(content)
    if isinstance(costly, photos.Rejection) and costly.code == "TooCostly":
        raise CommandError(f"{path} cannot be read: {costly.reason}.")
    try:
        image = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR)
    except cv2.error:
        image = None
    if image is None:
        raise CommandError(f"{path} cannot be used: its pixels are broken or cut off.")
    return image  # type: ignore[return-value]


def detect(session: boto3.Session, model: str, path: Path) -> list[Document]:
    """The documents that the running ``model`` (a project version's ARN) finds in the photo, most certain first.

    Raises:
        CommandError: the file is no photo or cannot be made small enough, or the model does not answer.
    """
    content = read_file(path)
    pixels = _decode(path, content)
    height, width = pixels.shape[:2]
    if len(content) > MAX_BYTES or max(height, width) > photos.MAX_SIDE:
        content = _scaled_down(pixels)
    try:
        answer = session.client("rekognition").detect_custom_labels(ProjectVersionArn=model, Image={"Bytes": content})
    except (ClientError, BotoCoreError) as error:
        raise CommandError(f"The model did not answer for {path}: {' '.join(str(error).split())}") from error
    return [_document(found, width, height) for found in answer["CustomLabels"] if "Geometry" in found]


def _scaled_down(pixels: NDArray[np.uint8]) -> bytes:
    """The photo as a JPEG that a model takes."""
    longest = max(pixels.shape[:2])
    scale = min(1.0, photos.MAX_SIDE / longest)
    while True:
        size = [max(1, round(side * scale)) for side in reversed(pixels.shape[:2])]
        smaller = pixels if scale == 1.0 else cv2.resize(pixels, size, interpolation=cv2.INTER_AREA)
        _, content = cv2.imencode(".jpg", smaller, [cv2.IMWRITE_JPEG_QUALITY, QUALITY])
        if content.nbytes <= MAX_BYTES:
            return content.tobytes()
        scale *= SMALLER


def _document(found: Mapping[str, Any], width: int, height: int) -> Document:
    box = found["Geometry"]["BoundingBox"]
    left, top = box["Left"] * width, box["Top"] * height
    right, bottom = left + box["Width"] * width, top + box["Height"] * height
    polygon = found["Geometry"].get("Polygon")
    corners = (
        [(point["X"] * width, point["Y"] * height) for point in polygon]
        if polygon
        else [(left, top), (right, top), (right, bottom), (left, bottom)]
    )
    outline = np.array(corners, dtype=np.float64)
    return Document(found["Name"], found["Confidence"], (left, top, right - left, bottom - top), outline)


def detect_all(
    session: boto3.Session, model: str, paths: Sequence[Path], progress: Callable[[], None]
) -> Iterator[tuple[Path, list[Document] | CommandError]]:
    """Each photo with its documents, or what went wrong with it, in the order of ``paths``.

    ``progress`` is called once a photo.
    """

    def one(path: Path) -> list[Document] | CommandError:
        try:
            return detect(session, model, path)
        except CommandError as error:
            return error
        finally:
            progress()

    with ThreadPoolExecutor(PARALLEL_CALLS) as pool:
        yield from zip(paths, pool.map(one, paths), strict=True)
