"""Turns a photo upright: what its EXIF orientation asks for is done to the pixels, and the note is left out.

Phones store photos as the sensor lay and note in EXIF how to turn them. Browsers follow the note, other readers do not;
of a photo without one all see the same.
"""

import io
from typing import Any

from PIL import Image, JpegImagePlugin

from rules import photos
from rules.photos import Rejection

# `rules.photos` has measured the photo, so no number of pixels is a surprise.
Image.MAX_IMAGE_PIXELS = None

# EXIF 2.32, "Orientation": what has to be done to the stored pixels to see the photo as it was taken.
TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}

FULL_COLOUR, HALF_WIDE_COLOUR, UNKNOWN_COLOUR = 0, 1, -1  # Pillow's numbers for 4:4:4, 4:2:2 and any that it lacks
# What is tried one after the other when a copy is too large; at 60 a photo of the largest size has some 4 MB.
LOWER_QUALITIES = (90, 80, 70, 60)
# A copy's colour profile goes before the first table of a JPEG, and behind the first chunk of a PNG, its size.
JPEG_TABLE, PNG_SIZE_END = b"\xff\xdb", 33


def turn(content: bytes, orientation: int, max_bytes: int) -> tuple[bytes, str] | Rejection:
    """The JPEG or PNG ``content`` turned, with its media type, or why there is none of at most ``max_bytes``.

    A JPEG is written with the quantisation tables and the colour subsampling of the original, so that no eye sees that
    it was written twice. The colour profile is kept; EXIF, XMP and comments, which tell place and camera, are not.

    A photo of 4096x4096 pixels takes some 130 MB of memory and both files, 200 MB when it is a progressive JPEG of four
    colours, one of 12 megapixels 100 MB.
    """
    bare = photos.bare(content)
    if isinstance(bare, Rejection):
        return bare
    try:
        upright, kind, ways = _decode(bare.content, orientation)
    except MemoryError:
        raise
    except Exception:  # whatever broken pixels do to the decoder
        return Rejection("Unreadable", "the pixels are broken or cut off")
    for way in ways:
        file = _SmallFile(max_bytes - len(bare.profile))
        try:
            upright.save(file, kind, **way)
        except _TooLarge:
            continue
        return _with_profile(file.getvalue(), kind, bare.profile), f"image/{kind.lower()}"
    return Rejection("FileTooLarge", f"turned upright it has more than {max_bytes:,} bytes, which are the most allowed")


class _TooLarge(Exception):
    """A copy gets larger than a photo may be."""


class _SmallFile(io.BytesIO):
    """Takes ``max_bytes`` and no more, so that a copy that grows a hundredfold does not fill the memory."""

    def __init__(self, max_bytes: int) -> None:
        super().__init__()
        self._max_bytes = max_bytes

    def write(self, data: Any) -> int:
        if self.tell() + len(data) > self._max_bytes:
            raise _TooLarge
        return super().write(data)


def _with_profile(copy: bytes, kind: str, profile: bytes) -> bytes:
    at = copy.index(JPEG_TABLE) if kind == "JPEG" else PNG_SIZE_END
    return copy[:at] + profile + copy[at:]


def _decode(content: bytes, orientation: int) -> tuple[Image.Image, str, list[dict[str, Any]]]:
    """The turned pixels, the format to write, and the ways to write it, the best one first."""
    with Image.open(io.BytesIO(content), formats=("JPEG", "PNG")) as photo:
        upright = photo.transpose(TURNS[orientation])
        upright.info = {}
        if isinstance(photo, JpegImagePlugin.JpegImageFile):
            return upright, "JPEG", _jpeg_ways(photo, orientation)
        see_through = {"transparency": photo.info["transparency"]} if "transparency" in photo.info else {}
        return upright, "PNG", [see_through]


def _jpeg_ways(photo: JpegImagePlugin.JpegImageFile, orientation: int) -> list[dict[str, Any]]:
    colour = JpegImagePlugin.get_sampling(photo)
    # Colour that was halved across would have to be halved along the photo's new height, which Pillow cannot write.
    if colour == UNKNOWN_COLOUR or (colour == HALF_WIDE_COLOUR and orientation in photos.SIDEWAYS):
        colour = FULL_COLOUR
    # Not progressive, whatever the original is: that takes the encoder three times the memory.
    as_original = {"qtables": dict(photo.quantization), "subsampling": colour}
    return [as_original, *({"quality": quality} for quality in LOWER_QUALITIES)]
