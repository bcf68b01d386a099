"""Turns a photo upright: applies its EXIF orientation to the pixels, and removes the orientation.

Phones store the pixels as the sensor read them, and store in EXIF how to turn them. Browsers apply the orientation and
other readers do not. Without an orientation, all readers show the same photo.
"""

import io
from typing import Any, NamedTuple

from PIL import Image, JpegImagePlugin

from rules import photos
from rules.photos import Rejection

# Pillow's limit is not needed: `rules.photos` has already checked the number of pixels.
Image.MAX_IMAGE_PIXELS = None

# How to turn the stored pixels for each orientation. Source: EXIF 2.32, "Orientation".
TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}

FULL_COLOUR, HALF_WIDE_COLOUR, UNKNOWN_COLOUR = 0, 1, -1  # Pillow's numbers for 4:4:4, 4:2:2 and any other
BROKEN = Rejection("Unreadable", "the pixels are broken or cut off")
# Tried in this order while the copy is too large. At 60, a photo of the largest size has some 4 MB.
LOWER_QUALITIES = (90, 80, 70, 60)


class Turned(NamedTuple):
    """The upright pixels, and the copy as a file of type ``media_type``."""

    picture: Image.Image
    copy: bytes
    media_type: str


def turn(bare: bytes, orientation: int, max_bytes: int) -> Turned | Rejection:
    """Turn a JPEG or PNG without metadata; returns its upright copy of at most ``max_bytes``, or why it failed.

    A JPEG keeps the quantisation tables and the colour subsampling of the original, so that the loss of a second
    encoding is not visible.

    Memory in addition to both files: some 130 MB for a photo of 4096x4096 pixels, 200 MB for a progressive JPEG with
    four colours of this size, 100 MB for 12 megapixels.
    """
    try:
        upright, kind, choices = _decode(bare, orientation)
    except MemoryError:
        raise
    except Exception:  # broken pixels can raise any exception in the decoder
        return BROKEN
    for options in choices:
        file = _SmallFile(max_bytes)
        try:
            upright.save(file, kind, **options)
        except _TooLarge:
            continue
        return Turned(upright, file.getvalue(), f"image/{kind.lower()}")
    return Rejection("FileTooLarge", f"the upright copy has more than {max_bytes:,} bytes, the most allowed")


class _TooLarge(Exception):
    """The copy is larger than a photo may be."""


class _SmallFile(io.BytesIO):
    """A file of at most ``max_bytes``. It protects the memory from a copy that is a hundred times as large."""

    def __init__(self, max_bytes: int) -> None:
        super().__init__()
        self._max_bytes = max_bytes

    def write(self, data: Any) -> int:
        if self.tell() + len(data) > self._max_bytes:
            raise _TooLarge
        return super().write(data)


def _decode(content: bytes, orientation: int) -> tuple[Image.Image, str, list[dict[str, Any]]]:
    """The turned pixels, the format, and the sets of encoder options to try, the best first."""
    with Image.open(io.BytesIO(content), formats=("JPEG", "PNG")) as photo:
        upright = photo.transpose(TURNS[orientation])
        upright.info = {}
        if isinstance(photo, JpegImagePlugin.JpegImageFile):
            return upright, "JPEG", _jpeg_options(photo, orientation)
        transparency = {"transparency": photo.info["transparency"]} if "transparency" in photo.info else {}
        return upright, "PNG", [transparency]


def _jpeg_options(photo: JpegImagePlugin.JpegImageFile, orientation: int) -> list[dict[str, Any]]:
    colour = JpegImagePlugin.get_sampling(photo)
    # Turned sideways, 4:2:2 would have to halve the colour in height (4:4:0), which Pillow cannot write.
    if colour == UNKNOWN_COLOUR or (colour == HALF_WIDE_COLOUR and orientation in photos.SIDEWAYS):
        colour = FULL_COLOUR
    # Never progressive: that needs three times the memory.
    as_original = {"qtables": dict(photo.quantization), "subsampling": colour}
    return [as_original, *({"quality": quality} for quality in LOWER_QUALITIES)]
