"""The rules for photos: which ones Rekognition accepts, and whether a file is a complete JPEG or PNG.

The command line checks a photo before it uploads it; the state `Check photos` checks it in S3. The checks walk through
the segments or chunks of the file. They decode no pixels, never hold unpacked metadata as a whole, and read only the
beginning and the end of a large file. No file needs more memory than `LATER_BLOCKS`, whatever its header says.

A file with a complete structure may still have damaged pixels; only a decoder finds those.
"""

import re
import zlib
from collections.abc import Callable, Iterator
from typing import Literal, NamedTuple, get_args

from rules.uploads import LARGEST_PHOTO

# Custom Labels guide, "Guidelines and quotas in Amazon Rekognition Custom Labels".
MIN_SIDE, MAX_SIDE = 64, 4096
MAX_ASPECT = 20

# Sizes, in bytes, of the blocks in which a file is read. Most headers fit in the first block; headers with a large EXIF
# block fit in the second.
FIRST_BLOCKS, LATER_BLOCKS = (16 * 1024, 240 * 1024), 4 * 1024 * 1024
# The end of the pixels is searched in this many bytes at the end of a photo. Phones append metadata, some a video.
TAIL_BYTES = 64 * 1024
# Data that is read but not kept is read in pieces of this many bytes.
PIECE_BYTES = 64 * 1024

# Segments of a JPEG or chunks of a PNG. A file of 15 MB in parts of the usual 8 KB has 2,000 parts. A hostile file may
# have millions of tiny parts, which would take minutes to read.
MAX_PARTS = 20_000
# A JPEG may have any number of scans of a few bytes. For each scan the decoder walks over the whole photo, which takes
# 10 to 20 ms for 4096x4096 pixels. Cameras and editors write about ten scans.
MAX_SCANS = 100
# A PNG may compress its texts and its colour profile by a factor of a thousand. Unpacked they may be as large as a
# photo.
MAX_UNPACKED = LARGEST_PHOTO

JPEG_START, PNG_START = b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n"
AS_STORED = 1
SIDEWAYS = frozenset({5, 6, 7, 8})  # orientations that swap width and height: EXIF 2.32, "Orientation"

# ITU-T T.81, table B.1. MARKER finds the markers that begin a segment or end a picture. It skips 0xff 0x00, which
# stands for a pixel byte 0xff; 0xff 0xff, which is padding; and the restart markers 0xd0 to 0xd7 and TEM 0x01, which
# have no content.
MARKER = re.compile(rb"\xff[^\x00\x01\xd0-\xd7\xff]")
START, END, SCAN, TABLES = b"\xd8", b"\xd9", b"\xda", b"\xdb"
# Baseline, extended and progressive, Huffman or arithmetic coding. No decoder reads hierarchical frames, and few read
# lossless ones.
FRAMES = frozenset({b"\xc0", b"\xc1", b"\xc2", b"\xc9", b"\xca"})
# Application segments (APP0 to APP15) and comments.
NOTES = frozenset({*(bytes([marker]) for marker in range(0xE0, 0xF0)), b"\xfe"})
# The four literals are Huffman tables, arithmetic tables, number of lines and restart interval.
SEGMENTS = FRAMES | NOTES | {SCAN, TABLES, b"\xc4", b"\xcc", b"\xdc", b"\xdd"}
EXIF, EXIF_MARK = b"\xe1", b"Exif\0\0"
PICTURES, PICTURES_MARK = b"\xe2", b"MPF\0"  # CIPA DC-007, "Multi-Picture Format"
JFIF = b"\xe0"
# Application segments that say how a JPEG encodes colours, and the bytes that say it. A thumbnail or text may follow.
COLOURS = {b"\xe0": (b"JFIF\0", 14), b"\xee": (b"Adobe", 12)}
JFIF_THUMBNAIL = 12  # the position, in the content, of the thumbnail's width and height

# PNG specification, third edition, table 12: the bit depths that each colour type allows.
PNG_BITS = {0: {1, 2, 4, 8, 16}, 2: {8, 16}, 3: {1, 2, 4, 8}, 4: {8, 16}, 6: {8, 16}}
PNG_PIXELS = frozenset({b"IHDR", b"IDAT", b"IEND"})
PNG_CRITICAL = PNG_PIXELS | {b"PLTE"}
INDEXED = 3  # the colour type of a PNG with a palette
PNG_END = re.compile(rb"\0\0\0\0IEND....", re.DOTALL)
MAX_PALETTE = 3 * 256
# The tables that a decoder needs for the pixels, and their most bytes: of a PNG with a palette, and of any other PNG.
PALETTE_TABLES, OTHER_TABLES = {b"PLTE": MAX_PALETTE, b"tRNS": 256}, {b"tRNS": 6}
HEADER_CHUNK_BYTES = 25  # the chunk IHDR with its length, name and checksum

# Returns the bytes of the photo from the first position up to, not including, the second. Never called with a position
# beyond the end of the photo.
Read = Callable[[int, int], bytes]


Code = Literal[
    "Changed",
    "CutOff",
    "Duplicate",
    "Empty",
    "FileTooLarge",
    "InvalidName",
    "SideTooLong",
    "SideTooShort",
    "TooCostly",
    "TooElongated",
    "Unreadable",
    "UnsupportedFormat",
    "UploadedInParts",
]
CODES: frozenset[str] = frozenset(get_args(Code))
"""All codes of rejected photos. No other text of a list of rejected photos gets into an audit report."""


class Rejection(NamedTuple):
    """Why a photo cannot be used: a code for programs and a reason for people."""

    code: Code
    reason: str


def duplicate(first: str) -> Rejection:
    """Return the rejection of a photo whose content is the same as that of the photo named ``first``."""
    return Rejection("Duplicate", f"the same photo as {first}")


class Seen(NamedTuple):
    """Width and height in pixels of the upright photo, and its EXIF orientation, 1 to 8."""

    width: int
    height: int
    orientation: int


def check_size(size: int) -> Rejection | None:
    """Return the rejection of a photo that is empty or too large. ``size`` is in bytes."""
    if size == 0:
        return Rejection("Empty", "the file is empty")
    if size > LARGEST_PHOTO:
        return Rejection("FileTooLarge", f"the file has {size:,} bytes; at most {LARGEST_PHOTO:,} (15 MB) are allowed")
    return None


def look(size: int, read: Read) -> Seen | Rejection:
    """Check a photo of ``size`` bytes without decoding it. Return its upright size, or why it is rejected.

    The end of the pixels is searched in the last `TAIL_BYTES` of the file or, in a multi-picture JPEG, of the first
    picture. The pixels before them are read only if no end is found there.
    """
    if rejection := check_size(size):
        return rejection
    try:
        form = _format(_Data(size, read))
        header = form.read_header()
        upright = _as_seen(header)
        return _check_sides(upright.width, upright.height) or form.check_end(header) or upright
    except _Refused as refused:
        return refused.rejection


def measure(content: bytes) -> Seen | Rejection:
    """Return the upright size from the photo's header, or why the header is unreadable. Checks no limit and no end."""
    try:
        return _as_seen(_format(_in_memory(content)).read_header())
    except _Refused as refused:
        return refused.rejection


def bare(content: bytes) -> bytes | Rejection:
    """Return the photo without metadata, or why decoding would cost too much. `look` comes first.

    Only the parts that a decoder needs for the pixels stay, each as it is in the file. Metadata can tell who took the
    photo, where and when: EXIF with its thumbnail and position, XMP, IPTC, comments, texts, times, other pictures, and
    videos after the photo. A colour profile also has texts, and room for any other data, so it does not stay either.
    Without it, viewers show the colours of a photo in a wide colour space, such as Display P3, a little paler. The
    pixels have the same numbers. A decoder that gets the whole file also unpacks metadata, and reads other pictures.
    """
    try:
        return _format(_in_memory(content)).bare(content)
    except _Refused as refused:
        return refused.rejection


def _as_seen(header: "_Header") -> Seen:
    sides = header.width, header.height
    width, height = reversed(sides) if header.orientation in SIDEWAYS else sides
    return Seen(width, height, header.orientation)


def _check_sides(width: int, height: int) -> Rejection | None:
    size, short, long = f"{width}x{height}", min(width, height), max(width, height)
    if short < MIN_SIDE:
        return Rejection("SideTooShort", f"the photo is {size} px; each side needs at least {MIN_SIDE} px")
    if long > MAX_SIDE:
        return Rejection("SideTooLong", f"the photo is {size} px; a side may have at most {MAX_SIDE} px")
    if long > MAX_ASPECT * short:
        return Rejection(
            "TooElongated", f"the photo is {size} px; one side may be at most {MAX_ASPECT} times the other"
        )
    return None


class _Refused(Exception):
    """Ends the reading of a photo."""

    def __init__(self, code: Code, reason: str) -> None:
        super().__init__(reason)
        self.rejection = Rejection(code, reason)


def _broken_header(fault: str) -> _Refused:
    return _Refused("Unreadable", f"the header is broken: {fault}")


def _no_size(size: int) -> _Refused:
    return _broken_header(f"no width and height can be read from the first {size:,} bytes")


def _cut_off(size: int) -> _Refused:
    return _Refused("CutOff", f"the photo is cut off: its end is missing after {size:,} bytes")


def _too_costly(what: str) -> _Refused:
    return _Refused("TooCostly", f"{what}, which would cost too much to decode: save the photo again in an editor")


class _Data:
    """Reads the bytes of a photo. Holds one block in memory at a time."""

    def __init__(self, size: int, read: Read) -> None:
        self.size = size
        self._read, self._lengths = read, iter(FIRST_BLOCKS)
        self._start, self._block = 0, b""

    @property
    def block_end(self) -> int:
        """The position after the block in memory."""
        return self._start + len(self._block)

    def get(self, start: int, count: int) -> bytes:
        """Return ``count`` bytes from ``start``, or fewer at the end of the photo."""
        stop = min(start + count, self.size)
        if start >= stop:
            return b""
        if start < self._start or stop > self.block_end:
            length = max(stop - start, next(self._lengths, LATER_BLOCKS))
            self.hold(start, min(start + length, self.size))
        return self._block[start - self._start : stop - self._start]

    def hold(self, start: int, stop: int) -> None:
        """Read these bytes as the new block, unless the block in memory has them."""
        if start < self._start or stop > self.block_end:
            self._start, self._block = start, self._read(start, stop)

    def find(self, pattern: re.Pattern[bytes], start: int, stop: int) -> int:
        """Return the first position, from ``start`` to ``stop``, of a pattern of two bytes; -1 if there is none."""
        while start + 1 < stop:
            self.get(start, 2)
            match = pattern.search(self._block, start - self._start, min(stop, self.block_end) - self._start)
            if match:
                return self._start + match.start()
            if self.block_end < start + 2:  # the file is shorter than its size says
                return -1
            start = self.block_end - 1
        return -1


class _Part(NamedTuple):
    """The positions of a JPEG segment, whose marker is ``name``, or of a PNG chunk.

    The part begins at ``start`` and ends before ``stop``; its content is from ``content`` to ``content_end``. The
    pixels of a JPEG scan follow the part. The checksum of a PNG chunk is in the part but not in its content.
    """

    name: bytes
    start: int
    content: int
    content_end: int
    stop: int


class _Header(NamedTuple):
    """Width and height in pixels as stored, the EXIF orientation, and the position where the pixels begin.

    ``pictures`` are the positions of a multi-picture JPEG's other pictures in ascending order.
    """

    width: int
    height: int
    orientation: int
    pixels_from: int
    pictures: tuple[int, ...] = ()


class _Jpeg:
    """A JPEG file (ITU-T T.81). Only its first picture counts."""

    def __init__(self, data: _Data) -> None:
        self._data = data

    def read_header(self) -> _Header:
        width = height = 0
        orientation: int | None = None
        pictures: tuple[int, ...] = ()
        has_tables = False
        for part in self._parts(2, self._data.size):
            if part.name == SCAN:
                if not (width and height and has_tables):
                    break
                return _Header(width, height, orientation or AS_STORED, part.stop, pictures)
            if part.name in FRAMES:
                width, height = self._sides(part)
            elif part.name == TABLES:
                has_tables = True
            elif part.name == EXIF and orientation is None and self._begins(part, EXIF_MARK):
                orientation = _orientation(self._content(part)[len(EXIF_MARK) :])
            elif part.name == PICTURES and self._begins(part, PICTURES_MARK):
                first = part.content + len(PICTURES_MARK)
                pictures = _other_pictures(self._content(part)[len(PICTURES_MARK) :], first)
            elif part.name == END:
                break
        raise _no_size(self._data.size)

    def check_end(self, header: _Header) -> Rejection | None:
        """Return a rejection if the first picture has no end marker.

        Pixel data contains no marker that `MARKER` matches. So a search may begin at any position in the pixel data:
        the first end marker after that position ends this picture. The search tries the block in memory, then the bytes
        before the next picture or the end of the file, then all pixel data.
        """
        size, pixels = self._data.size, header.pixels_from
        next_picture = min((size, *header.pictures))
        if self._has_end_marker(pixels, self._data.block_end) or self._has_end_in_tail(pixels, next_picture):
            return None
        return None if self._has_end_marker(pixels, size) else _cut_off(size).rejection

    def _has_end_in_tail(self, pixels: int, stop: int) -> bool:
        """Whether the last `TAIL_BYTES` before ``stop``, the next picture or the file's end, have an end marker."""
        start = max(pixels, stop - TAIL_BYTES)
        if not pixels < stop:
            return False
        self._data.hold(start, min(stop + len(JPEG_START), self._data.size))
        if stop < self._data.size and self._data.get(stop, len(JPEG_START)) != JPEG_START:
            return False  # a program changed the file and left the list of its pictures as it was
        try:
            return self._has_end_marker(start, stop)
        except _Refused:  # the tail is not pixel data
            return False

    def bare(self, content: bytes) -> bytes:
        parts = list(self._parts(2, len(content)))
        if not parts or parts[-1].name != END:
            raise _cut_off(len(content))
        scans = sum(part.name == SCAN for part in parts)
        if scans > MAX_SCANS:
            raise _too_costly(f"the JPEG has more than {MAX_SCANS:,} scans")
        kept, colours = [content[:2]], dict(COLOURS)
        for part, following in zip(parts, [*parts[1:], parts[-1]], strict=True):
            mark, length = colours.get(part.name, (b"", 0))
            if mark and self._begins(part, mark):
                kept.append(self._colours(part, length))
                del colours[part.name]
            elif part.name not in NOTES:
                kept.append(content[part.start : following.start if part.name == SCAN else part.stop])
        return b"".join(kept)

    def _colours(self, part: _Part, length: int) -> bytes:
        """Return the segment with at most ``length`` bytes of content; without a thumbnail if it is JFIF."""
        content = self._content(part)[:length]
        if part.name == JFIF and len(content) == length:
            content = content[:JFIF_THUMBNAIL] + bytes(length - JFIF_THUMBNAIL)
        return b"\xff" + part.name + (len(content) + 2).to_bytes(2) + content

    def _parts(self, position: int, stop: int) -> Iterator[_Part]:
        """Yield the segments from ``position`` up to ``stop``, and last the picture's end marker if it is there.

        Skips bytes between segments, as decoders do.
        """
        for _ in range(MAX_PARTS):
            start = self._data.find(MARKER, position, stop)
            if start < 0:
                return
            marker = self._data.get(start, 2)[1:]
            if marker == END:
                yield _Part(marker, start, start + 2, start + 2, start + 2)
                return
            if marker == START:  # the next picture begins before this picture ends
                raise _cut_off(start)
            if start + 4 > stop:
                return
            length = int.from_bytes(self._data.get(start + 2, 2))
            if marker not in SEGMENTS or length < 2:
                raise _Refused("Unreadable", f"the JPEG is broken at byte {start:,}: no segment can be read there")
            position = start + 2 + length
            if position > stop:
                return
            yield _Part(marker, start, start + 4, position, position)
        raise _too_costly(f"the JPEG has more than {MAX_PARTS:,} segments")

    def _has_end_marker(self, start: int, stop: int) -> bool:
        """Whether the picture's end marker is between ``start``, a position in its pixel data, and ``stop``."""
        return any(part.name == END for part in self._parts(start, stop))

    def _sides(self, frame: _Part) -> tuple[int, int]:
        content = self._content(frame)
        if len(content) < 6:
            raise _broken_header("it has no width and height")
        bits, colours = content[0], content[5]
        if bits != 8 or colours not in {1, 3, 4}:
            raise _broken_header(
                f"it has {bits} bits and {colours} colours per pixel; only 8 bits and 1, 3 or 4 colours are allowed"
            )
        return int.from_bytes(content[3:5]), int.from_bytes(content[1:3])

    def _begins(self, part: _Part, mark: bytes) -> bool:
        return self._data.get(part.content, len(mark)) == mark

    def _content(self, part: _Part) -> bytes:
        return self._data.get(part.content, part.content_end - part.content)


class _Png:
    """A PNG file (PNG specification, third edition). Of an animation, only the still picture counts."""

    def __init__(self, data: _Data) -> None:
        self._data = data

    def read_header(self) -> _Header:
        width = height = colour = 0
        orientation, unpacked = None, 0
        has_palette = False
        for part in self._parts(len(PNG_START), self._data.size):
            if (part.name == b"IHDR") != (part.start == len(PNG_START)):
                raise _broken_header("it must begin with exactly one IHDR chunk, which has width and height")
            if part.name == b"IHDR":
                width, height, colour = self._sides(part)
            elif part.name == b"PLTE":
                has_palette = part.content_end - part.content <= MAX_PALETTE and self._is_sound(part)
            elif part.name == b"eXIf" and orientation is None:
                orientation = _orientation(self._data.get(part.content, min(self._length(part), 65_536)))
            elif part.name in {b"zTXt", b"iTXt", b"iCCP"}:
                unpacked += self._unpacked_size(part, MAX_UNPACKED - unpacked)
            elif part.name == b"IDAT":
                if colour == INDEXED and not has_palette:
                    raise _broken_header("the colour palette is missing or damaged")
                return _Header(width, height, orientation or AS_STORED, part.start)
            elif part.name == b"IEND":
                break
        raise _no_size(self._data.size)

    def check_end(self, header: _Header) -> Rejection | None:
        """Return a rejection if the file has no complete IEND chunk. As in decoders, its checksum may be wrong."""
        size, pixels = self._data.size, header.pixels_from
        if self._has_end_chunk(pixels, self._data.block_end):
            return None
        tail = max(pixels, size - TAIL_BYTES)
        self._data.hold(tail, size)
        if PNG_END.search(self._data.get(tail, size - tail)):
            return None
        return None if self._has_end_chunk(pixels, size) else _cut_off(size).rejection

    def _has_end_chunk(self, start: int, stop: int) -> bool:
        """Whether an IEND chunk is between ``start``, where a chunk begins, and ``stop``."""
        return any(part.name == b"IEND" for part in self._parts(start, stop))

    def bare(self, content: bytes) -> bytes:
        kept, name, tables = [PNG_START], b"", {}
        for part in self._parts(len(PNG_START), self._data.size):
            name = part.name
            if name == b"IHDR":
                tables = dict(PALETTE_TABLES if self._sides(part)[2] == INDEXED else OTHER_TABLES)
            if name in PNG_PIXELS or (
                name in tables and self._length(part) <= tables.pop(name) and self._is_sound(part)
            ):
                kept.append(content[part.start : part.stop])
        if name != b"IEND":
            raise _cut_off(len(content))
        return b"".join(kept)

    def _parts(self, position: int, stop: int) -> Iterator[_Part]:
        """Yield the chunks from ``position`` up to ``stop``, and last the chunk IEND if it is there."""
        for _ in range(MAX_PARTS):
            if position + 8 > stop:
                return
            head = self._data.get(position, 8)
            name, content = head[4:], position + 8
            content_end = content + int.from_bytes(head[:4])
            # An upper-case first letter marks a critical chunk: a decoder that does not know it must stop.
            if not (name.isalpha() and len(name) == 4) or (name[0] < ord("a") and name not in PNG_CRITICAL):
                raise _Refused("Unreadable", f"the PNG is broken at byte {position:,}: no chunk can be read there")
            if content_end + 4 > stop:
                if name == b"IDAT" and stop == self._data.size:
                    raise _cut_off(stop)
                return
            yield _Part(name, position, content, content_end, content_end + 4)
            if name == b"IEND":
                return
            position = content_end + 4
        raise _too_costly(f"the PNG has more than {MAX_PARTS:,} chunks")

    def _sides(self, part: _Part) -> tuple[int, int, int]:
        """Return width, height and colour type."""
        if self._length(part) != 13 or not self._is_sound(part):
            raise _broken_header("its width and height are damaged")
        content = self._data.get(part.content, 13)
        width, height = int.from_bytes(content[:4]), int.from_bytes(content[4:8])
        bits, colour, compression, filters, interlaced = content[8:]
        if bits not in PNG_BITS.get(colour, ()) or compression or filters or interlaced > 1:
            raise _broken_header(
                f"it has colour type {colour} with {bits} bits, or an unknown compression, filter or interlacing"
            )
        if not (width and height):
            raise _no_size(self._data.size)
        return width, height, colour

    def _length(self, part: _Part) -> int:
        return part.content_end - part.content

    def _is_sound(self, part: _Part) -> bool:
        """Whether the chunk's checksum fits its name and content."""
        checksum = zlib.crc32(part.name)
        for block in self._blocks(part.content, part.content_end):
            checksum = zlib.crc32(block, checksum)
        return self._data.get(part.content_end, 4) == checksum.to_bytes(4)

    def _blocks(self, start: int, stop: int) -> Iterator[bytes]:
        for position in range(start, stop, PIECE_BYTES):
            yield self._data.get(position, min(PIECE_BYTES, stop - position))

    def _unpacked_size(self, part: _Part, most: int) -> int:
        """Return the size, in bytes, of the chunk's text or colour profile when unpacked. Does not keep the bytes.

        Raises:
            _Refused: the size is larger than ``most``.
        """
        start = self._packed_from(part)
        if start is None:
            return 0
        inflate, size = zlib.decompressobj(), 0
        try:
            for block in self._blocks(start, part.content_end):
                while block and not inflate.eof:
                    size += len(inflate.decompress(block, PIECE_BYTES))
                    if size > most:
                        raise _too_costly(f"the PNG has texts or profiles of more than {MAX_UNPACKED:,} bytes unpacked")
                    block = inflate.unconsumed_tail
        except zlib.error:  # decoders ignore such a chunk
            pass
        return size

    def _packed_from(self, part: _Part) -> int | None:
        """Return the position of the chunk's compressed content, or None if it has none."""
        # The content begins with a keyword of at most 79 characters and a zero. In iTXt, a language and the translated
        # keyword follow.
        head = self._data.get(part.content, min(self._length(part), 4096))
        name_end = head.find(0)
        if part.name != b"iTXt":  # one byte, the compression method, follows the zero
            return part.content + name_end + 2 if name_end >= 0 else None
        if head[name_end + 1 : name_end + 2] != b"\1":  # not compressed
            return None
        language_end = head.find(0, name_end + 3)
        text_from = head.find(0, language_end + 1) + 1
        return part.content + text_from if 0 < language_end < text_from else None


def _in_memory(content: bytes) -> _Data:
    return _Data(len(content), lambda start, stop: content[start:stop])


def _format(data: _Data) -> _Jpeg | _Png:
    """Return the reader for the photo's format, which its first bytes show."""
    start = data.get(0, len(PNG_START))
    if start.startswith(JPEG_START):
        return _Jpeg(data)
    if start == PNG_START:
        return _Png(data)
    raise _Refused("UnsupportedFormat", "the file is neither JPEG nor PNG")


def _orientation(exif: bytes) -> int:
    """Return the orientation, 1 to 8, from an EXIF block; 1 if it has none.

    As in browsers, only a single short integer in the tag Orientation of the first directory counts. A library is not
    used, because it would load the values of all tags, and each tag may claim the whole block as its value.
    """
    exif = exif.removeprefix(EXIF_MARK)
    order = _byte_order(exif)
    if order is None:
        return AS_STORED
    for tag, kind, count, value in _tags(exif, int.from_bytes(exif[4:8], order), order):
        if (tag, kind, count) == (0x0112, 3, 1):
            orientation = int.from_bytes(value[:2], order)
            return orientation if 1 <= orientation <= 8 else AS_STORED
    return AS_STORED


def _other_pictures(index: bytes, first: int) -> tuple[int, ...]:
    """Return the positions of the pictures after the first, from a multi-picture JPEG's index (CIPA DC-007, 5.2.3).

    ``first`` is the position of the index in the file; the offsets in the index count from there.
    """
    order = _byte_order(index)
    if order is None:
        return ()
    for tag, kind, count, value in _tags(index, int.from_bytes(index[4:8], order), order):
        if (tag, kind) == (0xB002, 7):
            start = int.from_bytes(value, order)
            entries = [index[at : at + 16] for at in range(start, min(start + count, len(index)), 16)]
            offsets = [int.from_bytes(entry[8:12], order) for entry in entries]
            return tuple(sorted(first + offset for offset in offsets if offset))
    return ()


def _byte_order(tiff: bytes) -> Literal["little", "big"] | None:
    if tiff[:4] == b"II*\0":
        return "little"
    return "big" if tiff[:4] == b"MM\0*" else None


def _tags(tiff: bytes, start: int, order: Literal["little", "big"]) -> Iterator[tuple[int, int, int, bytes]]:
    """Yield the entries of the TIFF directory at ``start``: tag, type, count, and four bytes with value or offset."""
    for at in range(start + 2, start + 2 + 12 * int.from_bytes(tiff[start : start + 2], order), 12):
        entry = tiff[at : at + 12]
        if len(entry) < 12:
            return
        yield (
            int.from_bytes(entry[:2], order),
            int.from_bytes(entry[2:4], order),
            int.from_bytes(entry[4:8], order),
            entry[8:],
        )
