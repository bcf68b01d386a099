"""Removing metadata from a photo: pixels and colours stay, and nothing says who took it, where and when."""

import io
import struct
import zlib
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageCms

from rules import photos
from tests.unit import photo_files as files

SECRET = b"52.5163N 13.3777E"
XMP = b"http://ns.adobe.com/xap/1.0/\0<x:xmpmeta>" + SECRET
EXTENDED_XMP = b"http://ns.adobe.com/xmp/extension/\0" + b"0" * 32 + struct.pack(">II", 900, 0) + SECRET
IPTC = b"Photoshop 3.0\0" + b"8BIM\x04\x04\0\0\0\0\0\x20" + SECRET
VIDEO = b"\0\0\0\x18ftypmp42" + SECRET
P3 = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


def jpeg(**options: object) -> bytes:
    return files.saved(files.grain(), "JPEG", **options)


def clean(content: bytes) -> bytes:
    bare = photos.bare(content)
    assert isinstance(bare, photos.Bare)
    return bare.clean


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
KINDS: dict[str, Callable[[], bytes]] = {
    "EXIF": lambda: files.jpeg_with(files.segment(0xE1, with_position())),
    "XMP": lambda: files.jpeg_with(files.segment(0xE1, XMP)),
    "extended XMP": lambda: files.jpeg_with(files.segment(0xE1, EXTENDED_XMP)),
    "IPTC": lambda: files.jpeg_with(files.segment(0xED, IPTC)),
    "comment": lambda: files.jpeg_with(files.segment(0xFE, SECRET)),
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


def test_colours_stay() -> None:
    # Given photos with a colour profile, with Adobe's segment for inverted colours, and with a PNG's gamma
    profiled, inverted = jpeg(icc_profile=P3), files.saved(files.grain().convert("CMYK"), "JPEG")
    chunks = (files.chunk(b"gAMA", bytes(4)), files.chunk(b"iCCP", b"P3\0\0" + zlib.compress(P3)))
    # Then none of these is removed
    for content in (profiled, inverted, files.png_with(*chunks)):
        assert clean(content) == content
    assert Image.open(io.BytesIO(clean(profiled))).info["icc_profile"] == P3


def test_no_byte_of_a_clean_photo_is_changed() -> None:
    for content in (jpeg(), PNG, files.saved(files.grain().quantize(16), "PNG", transparency=3)):
        assert clean(content) == content


NOTE = st.tuples(st.sampled_from([*range(0xE1, 0xEE), 0xEF, 0xFE]), st.binary(max_size=300))


@given(st.lists(NOTE, max_size=6), st.binary(max_size=200))
@settings(max_examples=200, deadline=None)
def test_a_jpeg_with_any_segments_becomes_the_plain_jpeg(notes: list[tuple[int, bytes]], after: bytes) -> None:
    # Given a JPEG with any metadata except a colour profile, and any bytes after it
    plain = jpeg()
    kept = [files.segment(marker, note) for marker, note in notes if not note.startswith(photos.PROFILE_MARK)]
    # When they are removed; Then it is the plain JPEG
    assert clean(files.jpeg_with(*kept, of=plain) + after) == plain


CHUNK = st.tuples(
    st.sampled_from([b"tEXt", b"eXIf", b"tIME", b"prIv", b"pHYs", b"acTL", b"fdAT"]), st.binary(max_size=300)
)


@given(st.lists(CHUNK, max_size=6), st.binary(max_size=200))
@settings(max_examples=200, deadline=None)
def test_a_png_with_any_chunks_becomes_the_plain_png(chunks: list[tuple[bytes, bytes]], after: bytes) -> None:
    noted = files.png_with(*(files.chunk(name, content) for name, content in chunks), of=PNG)
    assert clean(noted + after) == PNG
