"""Removing metadata from a photo: pixels and colours stay, and nothing says who took it, where and when."""

import io
import struct
import zlib
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageCms

from pipeline.photos.decoder import Decoded, Decoder
from rules import photos
from tests.unit import photo_files as files

SECRET = b"52.5163N 13.3777E"
XMP = b"http://ns.adobe.com/xap/1.0/\0<x:xmpmeta>" + SECRET
EXTENDED_XMP = b"http://ns.adobe.com/xmp/extension/\0" + b"0" * 32 + struct.pack(">II", 900, 0) + SECRET
IPTC = b"Photoshop 3.0\0" + b"8BIM\x04\x04\0\0\0\0\0\x20" + SECRET
VIDEO = b"\0\0\0\x18ftypmp42" + SECRET
# A valid colour profile, which has texts and may have more data than its tags.
PROFILE = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes() + SECRET


def jpeg(**options: object) -> bytes:
    return files.saved(files.grain(), "JPEG", **options)


def clean(content: bytes) -> bytes:
    bare = photos.bare(content)
    assert isinstance(bare, bytes)
    return bare


def with_position() -> bytes:
    """EXIF with a position, the camera's maker and a thumbnail."""
    exif = Image.Exif()
    exif.get_ifd(0x8825)[1] = SECRET.decode()
    exif[0x010F] = SECRET.decode()
    return exif.tobytes() + SECRET


def jfif_with_thumbnail() -> bytes:
    """The first segment of a JPEG, with a thumbnail of 3 x 2 pixels."""
    thumbnail = SECRET + b"!"
    return files.segment(0xE0, b"JFIF\0\1\2\0\0\1\0\1\3\2" + thumbnail)


PNG = files.saved(files.grain(), "PNG")
PACKED = zlib.compress(PROFILE)
KINDS: dict[str, Callable[[], bytes]] = {
    "EXIF": lambda: files.jpeg_with(files.segment(0xE1, with_position())),
    "XMP": lambda: files.jpeg_with(files.segment(0xE1, XMP)),
    "extended XMP": lambda: files.jpeg_with(files.segment(0xE1, EXTENDED_XMP)),
    "IPTC": lambda: files.jpeg_with(files.segment(0xED, IPTC)),
    "comment": lambda: files.jpeg_with(files.segment(0xFE, SECRET)),
    "a colour profile": lambda: jpeg(icc_profile=PROFILE),
    "a part of a colour profile": lambda: files.jpeg_with(files.segment(0xE2, b"ICC_PROFILE\0\2\2" + SECRET)),
    "an unknown segment": lambda: files.jpeg_with(files.segment(0xE7, SECRET)),
    "a thumbnail in JFIF": lambda: files.jpeg_with(jfif_with_thumbnail()),
    "a thumbnail in an extension of JFIF": lambda: files.jpeg_with(files.segment(0xE0, b"JFXX\0\x10" + SECRET)),
    "after Adobe's segment": lambda: files.jpeg_with(files.segment(0xEE, b"Adobe\0\x64\0\0\0\0\1" + SECRET)),
    "a second picture": lambda: files.multi_picture()[0] + SECRET,
    "a video after it": lambda: jpeg() + VIDEO,
    "PNG, text": lambda: files.png_with(files.chunk(b"tEXt", b"place\0" + SECRET)),
    "PNG, international text": lambda: files.png_with(files.chunk(b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + SECRET)),
    "PNG, EXIF": lambda: files.png_with(files.chunk(b"eXIf", with_position().removeprefix(b"Exif\0\0"))),
    "PNG, time": lambda: files.png_with(files.chunk(b"tIME", SECRET)),
    "PNG, name of a colour profile": lambda: files.png_with(files.chunk(b"iCCP", SECRET + b"\0\0" + PACKED)),
    "PNG, primary colours": lambda: files.png_with(files.chunk(b"cHRM", SECRET.ljust(32))),
    "PNG, unused palette": lambda: files.png_with(files.chunk(b"PLTE", SECRET.ljust(18))),
    "PNG, long transparency": lambda: files.png_with(files.chunk(b"tRNS", bytes(6) + SECRET)),
    "PNG, no valid gamma": lambda: files.png_with(files.chunk(b"gAMA", SECRET)),
    "PNG, after its end": lambda: PNG + SECRET,
}


def pixels(content: bytes) -> bytes:
    """The decoded pixels of the first picture of the file."""
    return Image.open(io.BytesIO(content), formats=("JPEG", "PNG")).convert("RGB").tobytes()


@pytest.mark.parametrize("kind", KINDS)
def test_no_metadata_is_left_and_no_pixel_changed(kind: str) -> None:
    # Given a photo with its place somewhere in the metadata
    content = KINDS[kind]()
    assert SECRET in content
    # When its metadata is removed
    cleaned = clean(content)
    # Then the place is not in the file, and the picture is the same
    assert SECRET not in cleaned
    assert not Image.open(io.BytesIO(cleaned)).getexif()
    assert pixels(cleaned) == pixels(content)
    # And nothing is left to remove
    assert clean(cleaned) == cleaned


@pytest.mark.parametrize("options", [{}, {"progressive": True}, {"restart_marker_blocks": 2}, {"subsampling": 1}])
def test_the_scans_of_a_jpeg_stay_byte_by_byte(options: dict[str, object]) -> None:
    # Given a JPEG with metadata; When it is removed
    plain = jpeg(**options)
    cleaned = clean(files.jpeg_with(files.segment(0xE1, with_position()), files.segment(0xFE, SECRET), of=plain))
    # Then the file is the JPEG from before the metadata was added
    assert cleaned == plain


@pytest.mark.parametrize("orientation", [1, 6])
@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
def test_the_copy_has_no_colour_profile(kind: str, orientation: int) -> None:
    # Given an upright or sideways photo with a colour profile that has a text
    content = files.saved(files.grain(), kind, icc_profile=PROFILE, exif=files.exif(orientation))
    assert SECRET in Image.open(io.BytesIO(content)).info["icc_profile"]
    # When it is decoded
    with Decoder() as process:
        photo = process.decode(content)
    # Then its copy has no profile, and an upright one is the photo as it is without a profile
    assert isinstance(photo, Decoded)
    assert photo.copy
    assert "icc_profile" not in Image.open(io.BytesIO(photo.copy)).info
    if orientation == 1:
        assert photo.copy == files.saved(files.grain(), kind)


def test_what_a_decoder_needs_for_colours_stays() -> None:
    # Given photos with Adobe's segment for inverted colours, and with a palette and its transparency
    inverted = files.saved(files.grain().convert("CMYK"), "JPEG")
    assert b"Adobe" in inverted
    palette = files.saved(files.grain().quantize(16), "PNG", transparency=3)
    assert b"tRNS" in palette
    # Then they stay as they are
    for content in (inverted, palette, files.saved(files.grain(), "PNG", transparency=(1, 2, 3))):
        assert clean(content) == content


def test_only_the_first_segment_about_colours_stays() -> None:
    # Given a JPEG with many segments of JFIF, each with a few bytes of a text
    plain, segment = jpeg(), files.segment(0xE0, b"JFIF\0" + SECRET[:9])
    end = 2 + len(segment)
    assert plain[2:8] == segment[:6]
    # When it is cleaned; Then only the first stays
    assert clean(plain[:end] + segment * 9 + plain[end:]) == plain


def test_no_byte_of_a_clean_photo_is_changed() -> None:
    for content in (jpeg(), PNG, files.saved(files.grain().quantize(16), "PNG", transparency=3)):
        assert clean(content) == content


NOTE = st.tuples(st.sampled_from([*range(0xE1, 0xEE), 0xEF, 0xFE]), st.binary(max_size=300))


@given(st.lists(NOTE, max_size=6), st.binary(max_size=200))
@settings(max_examples=200, deadline=None)
def test_a_jpeg_with_any_segments_becomes_the_plain_jpeg(notes: list[tuple[int, bytes]], after: bytes) -> None:
    # Given a JPEG with any metadata, and any bytes after it
    plain = jpeg()
    noted = files.jpeg_with(*(files.segment(marker, note) for marker, note in notes), of=plain)
    # When they are removed; Then it is the plain JPEG
    assert clean(noted + after) == plain


CHUNK = st.tuples(
    st.sampled_from([b"tEXt", b"iCCP", b"eXIf", b"tIME", b"prIv", b"pHYs", b"acTL", b"fdAT"]), st.binary(max_size=300)
)


@given(st.lists(CHUNK, max_size=6), st.binary(max_size=200))
@settings(max_examples=200, deadline=None)
def test_a_png_with_any_chunks_becomes_the_plain_png(chunks: list[tuple[bytes, bytes]], after: bytes) -> None:
    noted = files.png_with(*(files.chunk(name, content) for name, content in chunks), of=PNG)
    assert clean(noted + after) == PNG
