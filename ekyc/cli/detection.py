"""Asks a running model what documents a photo shows."""

from collections.abc import Callable, Iterator, Sequence
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

MAX_BYTES = 4 * 1024 * 1024  # of a photo sent with the call: Custom Labels guide, "Guidelines and quotas"
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
        CommandError: the file is missing or is no photo.
    """
    if not path.is_file():
        raise CommandError(f"{path} is not a file.")
    image = cv2.imdecode(np.fromfile(path, np.uint8), cv2.IMREAD_COLOR) if path.stat().st_size else None
    if image is None:
        raise CommandError(f"{path} is no JPEG or PNG photo.")
    return image  # type: ignore[return-value]


def detect(session: boto3.Session, model: str, path: Path) -> list[Document]:
    """The documents that the running ``model`` (a project version's ARN) finds in the photo, most certain first.

    Raises:
        CommandError: the file is no photo or too large, or the model does not answer.
    """
    height, width = read_photo(path).shape[:2]
    if path.stat().st_size > MAX_BYTES:
        raise CommandError(f"{path} has {path.stat().st_size:,} bytes; a model takes at most {MAX_BYTES:,}.")
    try:
        answer = session.client("rekognition").detect_custom_labels(
            ProjectVersionArn=model, Image={"Bytes": path.read_bytes()}
        )
    except (ClientError, BotoCoreError) as error:
        raise CommandError(f"The model did not answer for {path}: {error}") from error
    return [_document(found, width, height) for found in answer["CustomLabels"] if "Geometry" in found]


def _document(found: dict[str, Any], width: int, height: int) -> Document:
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
) -> Iterator[tuple[Path, list[Document]]]:
    """Each photo with its documents, in the order of ``paths``; ``progress`` is called once a photo."""

    def one(path: Path) -> list[Document]:
        documents = detect(session, model, path)
        progress()
        return documents

    with ThreadPoolExecutor(PARALLEL_CALLS) as pool:
        yield from zip(paths, pool.map(one, paths), strict=True)
