"""Turns a photo upright: what its EXIF orientation asks for is done to the pixels, and the note is left out.

Phones store photos as the sensor lay and note in EXIF how to turn them. Browsers follow the note, other readers do not;
of a photo without one all see the same.
"""

import io
from typing import Any

from PIL import ExifTags, Image, JpegImagePlugin

from pipeline.manifests import Drop

FORMATS = ("JPEG", "PNG")
JPEG_START, PNG_START = b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n"
AS_STORED = 1
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
SIDEWAYS = frozenset({5, 6, 7, 8})

FULL_COLOUR, HALF_WIDE_COLOUR, UNKNOWN_COLOUR = 0, 1, -1  # Pillow's numbers for 4:4:4, 4:2:2 and any that it lacks
# What is tried one after the other when a copy is too large; at 60 a photo of the largest size has some 4 MB.
LOWER_QUALITIES = (90, 80, 70, 60)
# A JPEG may send its pixels in any number of scans of a few bytes, each of which costs the decoder a walk over the
# whole photo: one of 15 MB would take it hours. Cameras and editors write some ten.
MAX_SCANS, SCAN_START = 500, b"\xff\xda"


def orientation(image: Image.Image) -> int:
    """The EXIF orientation, 1 to 8, of an opened image none of whose pixels is decoded; 1 when it tells none.

    Pillow's own reading would also take an orientation from XMP, which browsers and labelling pages do not follow.
    """
    exif = Image.Exif()
    try:
        exif.load(image.info.get("exif", b""))
        found = exif.get(ExifTags.Base.Orientation)
        return int(found) if found in TURNS else AS_STORED
    except Exception:  # whatever a damaged block does to its reader: it tells nothing
        return AS_STORED


def turn(content: bytes, orientation: int, max_bytes: int) -> tuple[bytes, str] | Drop:
    """The JPEG or PNG ``content`` turned, with its media type, or why there is none of at most ``max_bytes``.

    A JPEG is written with the quantisation tables and the colour subsampling of the original, so that no eye sees that
    it was written twice. The colour profile is kept; EXIF, XMP and comments, which tell place and camera, are not.

    A photo of 4096x4096 pixels takes some 130 MB of memory and both files, one of 12 megapixels 100 MB.
    """
    scans = content.count(SCAN_START) if content.startswith(JPEG_START) else 0
    if scans > MAX_SCANS:
        return Drop("Unreadable", f"the JPEG has {scans:,} scans, which take too long to decode; save it anew")
    try:
        upright, kind, ways = _decode(content, orientation)
    except MemoryError:
        raise
    except Exception:  # whatever broken pixels do to the decoder
        return Drop("Unreadable", "the pixels are broken or cut off")
    size = 0
    for way in ways:
        file = io.BytesIO()
        upright.save(file, kind, **way)
        size = file.tell()
        if size <= max_bytes:
            return file.getvalue(), f"image/{kind.lower()}"
    return Drop("FileTooLarge", f"turned upright it has {size:,} bytes; at most {max_bytes:,} are allowed")


def _decode(content: bytes, orientation: int) -> tuple[Image.Image, str, list[dict[str, Any]]]:
    """The turned pixels, the format to write, and the ways to write it, the best one first."""
    with Image.open(io.BytesIO(content), formats=FORMATS) as photo:
        upright = photo.transpose(TURNS[orientation])
        upright.info = {}  # or Pillow would write the comment again
        kept = {name: photo.info[name] for name in ("icc_profile", "transparency") if name in photo.info}
        if isinstance(photo, JpegImagePlugin.JpegImageFile):
            return upright, "JPEG", [way | kept for way in _jpeg_ways(photo, orientation)]
        return upright, "PNG", [way | kept for way in ({"compress_level": 6}, {"compress_level": 9})]


def _jpeg_ways(photo: JpegImagePlugin.JpegImageFile, orientation: int) -> list[dict[str, Any]]:
    colour = JpegImagePlugin.get_sampling(photo)
    # Colour that was halved across would have to be halved along the photo's new height, which Pillow cannot write.
    if colour == UNKNOWN_COLOUR or (colour == HALF_WIDE_COLOUR and orientation in SIDEWAYS):
        colour = FULL_COLOUR
    progressive = "progressive" in photo.info
    as_original = {"qtables": dict(photo.quantization), "subsampling": colour, "progressive": progressive}
    return [as_original, *({"quality": quality} for quality in LOWER_QUALITIES)]
