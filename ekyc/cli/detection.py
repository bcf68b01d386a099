"""Finds the documents in photos with the live model, through the API."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ekyc.cli.api import Api, NoLiveModel
from ekyc.cli.errors import CommandError, Unreachable
from outlines import pictures
from rules import photos

# The limit for a photo in a call. Larger photos are scaled down. The response has shares of the photo's width and
# height, so it also fits the original.
MAX_BYTES = 4 * 1024 * 1024
# Larger photos would need gigabytes of memory here. The largest phone photos have 50 megapixels.
MAX_FILE_BYTES, MAX_PIXELS = 64 * 1024 * 1024, 51_000_000
PARALLEL_CALLS = 2  # one inference unit, and the local AWS's two cores


@dataclass(frozen=True)
class Document:
    """A document found in a photo.

    ``confidence`` is 0..1. ``box`` is left, top, width, height in pixels. ``outline`` is the four corners in pixels,
    clockwise from the document's own top-left corner, with their confidence, 0..1. Both are None if it has none.
    """

    label: str
    confidence: float
    box: tuple[float, float, float, float]
    outline: np.ndarray | None
    outline_confidence: float | None

    @property
    def corners(self) -> np.ndarray:
        """The corners of the outline, or else of the box."""
        left, top, width, height = self.box
        right, bottom = left + width, top + height
        box = np.array([[left, top], [right, top], [right, bottom], [left, bottom]])
        return box if self.outline is None else self.outline


def read_photo(path: Path) -> np.ndarray:
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


def _decode(path: Path, content: bytes) -> np.ndarray:
    stripped = photos.bare(content)
    if isinstance(stripped, photos.Rejection) and stripped.code == "TooCostly":
        raise CommandError(f"{path} cannot be read: {stripped.reason}.")
    image = pictures.decode(content)
    if image is None:
        raise CommandError(f"{path} cannot be used: its pixel data is corrupt or incomplete.")
    return image


def detect(api: Api, path: Path) -> list[Document]:
    """The documents that the live model finds in the photo, in descending order of confidence.

    Raises:
        CommandError: the file is not a photo, or the API refuses it.
        NoLiveModel, Unreachable: no photo can be examined now.
    """
    content = read_file(path)
    pixels = _decode(path, content)
    height, width = pixels.shape[:2]
    if len(content) > MAX_BYTES or max(height, width) > photos.MAX_SIDE:
        content = pictures.encode(pixels, MAX_BYTES, photos.MAX_SIDE)
    try:
        answer = api.detect(content)
    except (NoLiveModel, Unreachable):
        raise
    except CommandError as error:
        raise CommandError(f"{path}: {error}") from error
    return [_document(document, width, height) for document in answer["documents"]]


def _document(found: Mapping[str, Any], width: int, height: int) -> Document:
    box, outline = found["box"], found["outline"]
    return Document(
        found["type"],
        found["confidence"],
        (box["left"] * width, box["top"] * height, box["width"] * width, box["height"] * height),
        outline and np.array([[corner["x"] * width, corner["y"] * height] for corner in outline["corners"]]),
        outline and outline["confidence"],
    )


def detect_all(
    api: Api, paths: Sequence[Path], progress: Callable[[], None]
) -> Iterator[tuple[Path, list[Document] | CommandError]]:
    """Yields each photo with its documents, or with the error, in the order of ``paths``.

    Calls ``progress`` once for each photo, from any thread.

    Raises:
        NoLiveModel, Unreachable: no photo can be examined now.
    """

    def detect_one(path: Path) -> list[Document] | CommandError:
        try:
            return detect(api, path)
        except (NoLiveModel, Unreachable):
            raise
        except CommandError as error:
            return error
        finally:
            progress()

    pool = ThreadPoolExecutor(PARALLEL_CALLS)
    try:
        yield from zip(paths, pool.map(detect_one, paths), strict=True)
    finally:
        pool.shutdown(cancel_futures=True)
