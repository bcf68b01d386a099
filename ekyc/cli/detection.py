"""Finds the documents in photos with a running model."""

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

# The limit for image bytes in a call. Larger photos are scaled down, as the Rekognition guide recommends. The response
# has boxes as ratios of the image size, so they also fit the original. Source: Custom Labels guide, "Guidelines and
# quotas".
MAX_BYTES = 4 * 1024 * 1024
SMALLER, QUALITY = 0.8, 90  # the factor of each scaling step, and the JPEG quality
# Larger photos would need gigabytes of memory here. The largest phone photos have 50 megapixels.
MAX_FILE_BYTES, MAX_PIXELS = 64 * 1024 * 1024, 51_000_000
PARALLEL_CALLS = 2  # one inference unit, and the local AWS's two cores


@dataclass(frozen=True)
class Document:
    """A document found in a photo.

    ``confidence`` is 0..100. ``box`` is left, top, width, height in pixels. ``outline`` is the four corners in pixels,
    clockwise from the document's own top-left corner. A model on AWS returns no outline; it is then the box's corners.
    """

    label: str
    confidence: float
    box: tuple[float, float, float, float]
    outline: NDArray[np.float64]


def read_photo(path: Path) -> NDArray[np.uint8]:
    """The photo's pixels, height x width x 3, BGR, rotated as its EXIF orientation says.

    Raises:
        CommandError: the file is missing, is not a photo, or is too large to read.
    """
    return _decode(path, read_file(path))


def read_file(path: Path) -> bytes:
    """The bytes of a photo. Only its header is checked, the pixels are not decoded.

    Raises:
        CommandError: the file is missing, is not a photo, or is too large to read.
    """
    try:
        if not path.is_file():
            raise CommandError(f"{path} is not a file.")
        size = path.stat().st_size
        if size > MAX_FILE_BYTES:
            raise CommandError(f"{path} has {size:,} bytes. The limit is {MAX_FILE_BYTES:,}.")
        content = path.read_bytes()
    except (OSError, ValueError) as error:
        raise CommandError(f"{path} cannot be read: {getattr(error, 'strerror', None) or error}.") from error
    header = photos.measure(content)
    if isinstance(header, photos.Rejection):
        raise CommandError(f"{path} cannot be used: {header.reason}.")
    if header.width * header.height > MAX_PIXELS:
        raise CommandError(f"{path} has {header.width}x{header.height} pixels. The limit is {MAX_PIXELS:,} pixels.")
    return content


def _decode(path: Path, content: bytes) -> NDArray[np.uint8]:
    stripped = photos.bare(content)
    if isinstance(stripped, photos.Rejection) and stripped.code == "TooCostly":
        raise CommandError(f"{path} cannot be read: {stripped.reason}.")
    try:
        image = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR)
    except cv2.error:
        image = None
    if image is None:
        raise CommandError(f"{path} cannot be used: its pixel data is corrupt or incomplete.")
    return image  # type: ignore[return-value]


def detect(session: boto3.Session, model: str, path: Path) -> list[Document]:
    """The documents that ``model`` finds in the photo, in descending order of confidence.

    ``model`` is the ARN of a running project version.

    Raises:
        CommandError: the file is not a photo, or Rekognition returns an error.
    """
    content = read_file(path)
    pixels = _decode(path, content)
    height, width = pixels.shape[:2]
    if len(content) > MAX_BYTES or max(height, width) > photos.MAX_SIDE:
        content = _scale_down(pixels)
    try:
        answer = session.client("rekognition").detect_custom_labels(ProjectVersionArn=model, Image={"Bytes": content})
    except (ClientError, BotoCoreError) as error:
        raise CommandError(f"The model could not process {path}: {' '.join(str(error).split())}") from error
    return [_document(label, width, height) for label in answer["CustomLabels"] if "Geometry" in label]


def _scale_down(pixels: NDArray[np.uint8]) -> bytes:
    """The photo as a JPEG within the limits of the call."""
    longest = max(pixels.shape[:2])
    scale = min(1.0, photos.MAX_SIDE / longest)
    while True:
        size = [max(1, round(side * scale)) for side in reversed(pixels.shape[:2])]
        smaller = pixels if scale == 1.0 else cv2.resize(pixels, size, interpolation=cv2.INTER_AREA)
        _, content = cv2.imencode(".jpg", smaller, [cv2.IMWRITE_JPEG_QUALITY, QUALITY])
        if content.nbytes <= MAX_BYTES:
            return content.tobytes()
        scale *= SMALLER


def _document(label: Mapping[str, Any], width: int, height: int) -> Document:
    box = label["Geometry"]["BoundingBox"]
    left, top = box["Left"] * width, box["Top"] * height
    right, bottom = left + box["Width"] * width, top + box["Height"] * height
    polygon = label["Geometry"].get("Polygon")
    corners = (
        [(point["X"] * width, point["Y"] * height) for point in polygon]
        if polygon
        else [(left, top), (right, top), (right, bottom), (left, bottom)]
    )
    outline = np.array(corners, dtype=np.float64)
    return Document(label["Name"], label["Confidence"], (left, top, right - left, bottom - top), outline)


def detect_all(
    session: boto3.Session, model: str, paths: Sequence[Path], progress: Callable[[], None]
) -> Iterator[tuple[Path, list[Document] | CommandError]]:
    """Yields each photo with its documents, or with the error, in the order of ``paths``.

    Calls ``progress`` once for each photo, from any thread.
    """

    def detect_one(path: Path) -> list[Document] | CommandError:
        try:
            return detect(session, model, path)
        except CommandError as error:
            return error
        finally:
            progress()

    with ThreadPoolExecutor(PARALLEL_CALLS) as pool:
        yield from zip(paths, pool.map(detect_one, paths), strict=True)
