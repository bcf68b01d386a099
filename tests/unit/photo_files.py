"""Photos in every state that a JPEG or PNG can be in, made byte by byte: whole, cut off, bloated, and bombs."""

import io
import random
import struct
import zlib
from collections.abc import Callable
from typing import Any

import numpy as np
from PIL import Image

KB, MB = 1024, 1024 * 1024
PNG_END = 12  # bytes of the last chunk


def saved(image: Image.Image, kind: str, **options: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def grain(width: int = 96, height: int = 96, *, seed: int = 1) -> Image.Image:
    """A picture that no format makes small."""
    dots = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return Image.fromarray(dots)


def exif(orientation: int) -> Image.Exif:
    """The note of a phone how to turn the photo."""
    note = Image.Exif()
    note[0x0112] = orientation
    return note


def segment(marker: int, content: bytes) -> bytes:
    return b"\xff" + bytes([marker]) + struct.pack(">H", len(content) + 2) + content


def jpeg_with(*segments: bytes, of: bytes | None = None) -> bytes:
    """A JPEG with these segments before all others."""
    plain = saved(grain(), "JPEG") if of is None else of
    return plain[:2] + b"".join(segments) + plain[2:]


def multi_picture(width: int = 96, height: int = 96) -> tuple[bytes, int]:
    """A JPEG of two pictures with previews in their EXIF blocks, as phones write it, and where the second begins."""
    preview = b"Exif\0\0II*\0\x08\0\0\0\0\0" + saved(grain(16, 16), "JPEG")
    pictures = [grain(width, height), grain(width, height, seed=2)]
    content = saved(pictures[0], "MPO", save_all=True, append_images=pictures[1:], exif=preview)
    return content, content.index(b"\xff\xd9\xff\xd8\xff\xe0", content.rindex(b"MPF\0")) + 2


def chunk(name: bytes, content: bytes, *, damaged: bool = False) -> bytes:
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content) ^ damaged)


def png_with(*chunks: bytes, of: bytes | None = None) -> bytes:
    """A PNG with these chunks behind its first."""
    plain = saved(grain(), "PNG") if of is None else of
    return plain[:33] + b"".join(chunks) + plain[33:]


def png(width: int, height: int, pixels: bytes, *, bits: int = 8, colour: int = 2, interlaced: int = 0) -> bytes:
    """A PNG of these pixels, each row with its filter before it."""
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, bits, colour, 0, 0, interlaced))
    return b"\x89PNG\r\n\x1a\n" + head + chunk(b"IDAT", zlib.compress(pixels, 6)) + chunk(b"IEND", b"")


def png_orientation(orientation: int) -> bytes:
    return chunk(b"eXIf", exif(orientation).tobytes().removeprefix(b"Exif\0\0"))


def png_profile(size: int) -> bytes:
    """The chunk of a colour profile of ``size`` bytes when it is unpacked."""
    return chunk(b"iCCP", b"wide colours\0\0" + zlib.compress(random.Random(3).randbytes(KB) * (size // KB)))  # noqa: S311


def text_bomb() -> bytes:
    """A PNG of some 70 kB whose 64 texts take 1 MB each when they are unpacked."""
    texts = (chunk(b"zTXt", b"note %d\0\0" % number + zlib.compress(bytes(MB), 9)) for number in range(64))
    return png_with(*texts)


def international_text_bomb() -> bytes:
    """The same in the other kind of text."""
    texts = (chunk(b"iTXt", b"%d\0\1\0en\0note\0" % number + zlib.compress(bytes(MB), 9)) for number in range(64))
    return png_with(*texts)


def exif_bomb() -> bytes:
    """A JPEG whose EXIF block has 5,000 tags, each of which says that nearly the whole block is its value."""
    tags = b"".join(struct.pack("<HHII", 0x0113 + tag, 7, 60_000 - tag, 8) for tag in range(5000))
    return jpeg_with(segment(0xE1, b"Exif\0\0II*\0\x08\0\0\0" + struct.pack("<H", 5000) + tags))


def png_exif_bomb() -> bytes:
    """A PNG whose EXIF block has 60,000 tags, each with 3 MB."""
    tags = b"".join(struct.pack("<HHII", tag, 7, 3 * MB, 8) for tag in range(0x0113, 60_000))
    block = b"II*\0\x08\0\0\0" + struct.pack("<H", 60_000 - 0x0113) + tags
    return png_with(chunk(b"eXIf", block.ljust(3 * MB + 8, b"\0")))


def scans_bomb(count: int, mode: str = "CMYK") -> bytes:
    """A progressive JPEG of 4096x4096 pixels, stored sideways, whose last scan comes again ``count`` times."""
    content = saved(Image.new(mode, (4096, 4096), 9), "JPEG", progressive=True, subsampling=0, exif=exif(6))
    return content[:-2] + content[content.rindex(b"\xff\xda") : -2] * count + b"\xff\xd9"


def notes_bomb() -> bytes:
    """A JPEG to turn, of 1,000,000 EXIF blocks of a byte, which a reader may join one by one."""
    return jpeg_with(segment(0xE1, b"Exif\0\0x") * 1_000_000, of=saved(grain(), "JPEG", exif=exif(6)))


def deep_png() -> bytes:
    """A PNG of 4096x4096 pixels in 16 bits, stored sideways."""
    rows = (b"\0" + bytes(range(256)) * (4096 * 8 // 256)) * 4096
    return png_with(png_orientation(6), of=png(4096, 4096, rows, bits=16, colour=6))


def noise_that_repeats() -> bytes:
    """A PNG of 4096x4096 pixels, stored sideways, that is small as long as its rows are rows."""
    row = b"\0" + random.Random(4).randbytes(4096 * 4)  # noqa: S311
    return png_with(png_orientation(6), of=png(4096, 4096, row * 4096, colour=6))


def many_frames() -> bytes:
    """An animated PNG of 60 frames of 2000x2000 pixels, stored sideways."""
    pixels = zlib.compress((b"\0" + bytes((9, 1, 2)) * 2000) * 2000)
    frames = [chunk(b"acTL", struct.pack(">II", 60, 0)), _frame(0), chunk(b"IDAT", pixels)]
    for number in range(1, 119, 2):
        frames += [_frame(number), chunk(b"fdAT", struct.pack(">I", number + 1) + pixels)]
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", 2000, 2000, 8, 2, 0, 0, 0))
    return b"".join((b"\x89PNG\r\n\x1a\n", head, png_orientation(8), *frames, chunk(b"IEND", b"")))


def _frame(number: int) -> bytes:
    """The chunk before a frame of an animated PNG."""
    return chunk(b"fcTL", struct.pack(">IIIIIHHBB", number, 2000, 2000, 0, 0, 1, 10, 0, 0))


BOMBS: dict[str, Callable[[], bytes]] = {
    "PNG, text": text_bomb,
    "PNG, international text": international_text_bomb,
    "PNG, one text of 64 MB": lambda: png_with(chunk(b"zTXt", b"a\0\0" + zlib.compress(bytes(64 * MB), 9))),
    "PNG, profile of 64 MB": lambda: png_with(chunk(b"iCCP", b"a\0\0" + zlib.compress(bytes(64 * MB), 9))),
    "PNG, EXIF": png_exif_bomb,
    "PNG, 16 bits, to turn": deep_png,
    "PNG, noise, to turn": noise_that_repeats,
    "PNG, animated, to turn": many_frames,
    "PNG, text, to turn": lambda: png_with(png_orientation(6), of=text_bomb()),
    "PNG, text behind pixels, to turn": lambda: png_with(png_orientation(6))[:-PNG_END] + text_bomb()[33:],
    "PNG, 1,000,000 chunks": lambda: png_with(chunk(b"prIv", b"") * 1_000_000),
    "JPEG, EXIF": exif_bomb,
    "JPEG, 1,000,000 notes, to turn": notes_bomb,
    "JPEG, 100 scans, to turn": lambda: scans_bomb(80),
    "JPEG, 10,000 scans, to turn": lambda: scans_bomb(10_000, "L"),
}
