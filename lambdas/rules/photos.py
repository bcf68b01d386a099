"""The rules of photos: what Rekognition takes, and whether a file is a whole JPEG or PNG.

The command line calls them before it sends a photo, and the state `Check images` when the photo is in S3. Both read a
file part by part, as its format says: no pixel is decoded, no note is unpacked as a whole, and of a large file only its
beginning and its end are read. So no file costs more memory than `LATER_BLOCKS` says, whatever it claims to be.

A file that is whole in structure may still have damaged pixels; only a decoder finds those.
"""

import re
import zlib
from collections.abc import Callable, Iterator
from typing import Literal, NamedTuple, get_args

from rules.uploads import LARGEST_PHOTO

# Custom Labels guide, "Guidelines and quotas in Amazon Rekognition Custom Labels".
MIN_SIDE, MAX_SIDE = 64, 4096
MAX_ASPECT = 20

# A file is read in blocks of so many bytes. The first holds most headers, the second those with a large EXIF block.
FIRST_BLOCKS, LATER_BLOCKS = (16 * 1024, 240 * 1024), 4 * 1024 * 1024
# So many bytes at the end of a photo are searched for the end of its pixels. Phones add notes behind it, some a film.
TAIL_BYTES = 64 * 1024
# What is read through without being kept, is read in pieces of so many bytes.
PIECE_BYTES = 64 * 1024

# Segments of a JPEG or chunks of a PNG. A file of 15 MB in the usual parts of 8 KB has 2,000; one in parts of a few
# bytes has millions, and a reader that keeps them takes minutes.
MAX_PARTS = 20_000
# A JPEG may send its pixels in any number of scans of a few bytes, each of which costs the decoder a walk over the
# whole photo: a scan of 4096x4096 pixels takes 10 to 20 ms. Cameras and editors write some ten.
MAX_SCANS = 100
# A PNG compresses its notes and its colour profile up to a thousand times. Unpacked they may be as large as a photo.
MAX_UNPACKED = LARGEST_PHOTO

JPEG_START, PNG_START = b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n"
AS_STORED = 1
SIDEWAYS = frozenset({5, 6, 7, 8})  # orientations that swap width and height: EXIF 2.32, "Orientation"

# ITU-T T.81, table B.1. What is found by MARKER is a marker with a meaning: 0xff 0x00 stands for a pixel's byte 0xff,
# 0xff 0xff is padding, and the restart markers 0xd0 to 0xd7 and TEM 0x01 have no content.
MARKER = re.compile(rb"\xff[^\x00\x01\xd0-\xd7\xff]")
START, END, SCAN, TABLES = b"\xd8", b"\xd9", b"\xda", b"\xdb"
# Baseline, extended and progressive, Huffman or arithmetic coded. Decoders know no hierarchical and few lossless ones.
FRAMES = frozenset({b"\xc0", b"\xc1", b"\xc2", b"\xc9", b"\xca"})
# Applications' notes and comments.
NOTES = frozenset({*(bytes([marker]) for marker in range(0xE0, 0xF0)), b"\xfe"})
# Besides these a picture has Huffman and arithmetic tables, number of lines and restart interval.
SEGMENTS = FRAMES | NOTES | {SCAN, TABLES, b"\xc4", b"\xcc", b"\xdc", b"\xdd"}
EXIF, EXIF_MARK = b"\xe1", b"Exif\0\0"
PICTURES, PICTURES_MARK = b"\xe2", b"MPF\0"  # CIPA DC-007, "Multi-Picture Format"
PROFILE, PROFILE_MARK = b"\xe2", b"ICC_PROFILE\0"
# Notes that say how the numbers of a JPEG stand for colours.
COLOURS = {b"\xe0": b"JFIF\0", b"\xee": b"Adobe"}

# PNG specification, third edition, table 12: colour type and bits that go with it.
PNG_BITS = {0: {1, 2, 4, 8, 16}, 2: {8, 16}, 3: {1, 2, 4, 8}, 4: {8, 16}, 6: {8, 16}}
PNG_CRITICAL = frozenset({b"IHDR", b"PLTE", b"IDAT", b"IEND"})
PNG_END = re.compile(rb"\0\0\0\0IEND....", re.DOTALL)
MAX_PALETTE = 3 * 256
HEADER_CHUNK_BYTES = 25  # of the chunk IHDR, with its length, its name and its checksum

# Bytes of the photo from the first up to, not including, the second position; never asked for beyond its end.
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


class Seen(NamedTuple):
    """Width and height in pixels as people see the photo, and its EXIF orientation, 1 to 8."""

    width: int
    height: int
    orientation: int


class Bare(NamedTuple):
    """A photo with nothing but what its pixels need, and apart from it the bytes in which it keeps its colour profile.

    ``profile`` is empty, one or more JPEG segments, or a PNG chunk.
    """

    content: bytes
    profile: bytes


def look(size: int, read: Read) -> Seen | Rejection:
    """Look at the photo of ``size`` bytes without decoding it: whether Rekognition takes it, and how people see it.

    The end of a large photo is looked for in its last `TAIL_BYTES`, of a multi-picture JPEG in as many before its
    second picture; the pixels between are read only when there is none.
    """
    if size == 0:
        return Rejection("Empty", "the file is empty")
    if size > LARGEST_PHOTO:
        return Rejection("FileTooLarge", f"the file has {size:,} bytes; at most {LARGEST_PHOTO:,} (15 MB) are allowed")
    try:
        form = _format(_Data(size, read))
        header = form.read_header()
        seen = _as_seen(header)
        return _fault_of_sides(seen.width, seen.height) or form.fault_of_end(header) or seen
    except _Refused as refused:
        return refused.rejection


def measure(content: bytes) -> Seen | Rejection:
    """How people see the photo, of any size, and cut off or not, or why its header does not tell."""
    try:
        return _as_seen(_format(_in_memory(content)).read_header())
    except _Refused as refused:
        return refused.rejection


def bare(content: bytes) -> Bare | Rejection:
    """What a decoder needs of a JPEG or PNG that `look` took, to turn it, or why that would cost too much.

    Decoders unpack or join notes that the pipeline does not need, and read the other pictures of the file.
    """
    try:
        return _format(_in_memory(content)).bare(content)
    except _Refused as refused:
        return refused.rejection


def _as_seen(header: "_Header") -> Seen:
    sides = header.width, header.height
    width, height = reversed(sides) if header.orientation in SIDEWAYS else sides
    return Seen(width, height, header.orientation)


def _fault_of_sides(width: int, height: int) -> Rejection | None:
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
    return _broken_header(f"no size can be read from the first {size:,} bytes")


def _cut_off(size: int) -> _Refused:
    return _Refused("CutOff", f"the photo is cut off: its end is missing after {size:,} bytes")


def _too_costly(what: str) -> _Refused:
    return _Refused("TooCostly", f"{what}, which cost too much to decode: save the photo anew")


class _Data:
    """The bytes of a photo, of which one block is held at a time."""

    def __init__(self, size: int, read: Read) -> None:
        self.size = size
        self._read, self._lengths = read, iter(FIRST_BLOCKS)
        self._start, self._block = 0, b""

    @property
    def block_end(self) -> int:
        """The position after the block that is held."""
        return self._start + len(self._block)

    def get(self, start: int, count: int) -> bytes:
        """The ``count`` bytes from ``start``, fewer at the end of the photo."""
        stop = min(start + count, self.size)
        if start >= stop:
            return b""
        if start < self._start or stop > self.block_end:
            length = max(stop - start, next(self._lengths, LATER_BLOCKS))
            self.hold(start, min(start + length, self.size))
        return self._block[start - self._start : stop - self._start]

    def hold(self, start: int, stop: int) -> None:
        """Make these bytes the block that is held, unless they are in it."""
        if start < self._start or stop > self.block_end:
            self._start, self._block = start, self._read(start, stop)

    def find(self, pattern: re.Pattern[bytes], start: int, stop: int) -> int:
        """Where the pattern, of two bytes, is first found from ``start`` up to ``stop``; -1 when it is not."""
        while start + 1 < stop:
            self.get(start, 2)
            found = pattern.search(self._block, start - self._start, min(stop, self.block_end) - self._start)
            if found:
                return self._start + found.start()
            if self.block_end < start + 2:  # the file ends before its size says so
                return -1
            start = self.block_end - 1
        return -1


class _Part(NamedTuple):
    """A segment of a JPEG, ``name`` is its marker, or a chunk of a PNG: its first byte, its content, and what follows.

    The pixels of a JPEG's scan come after that part; the checksum of a PNG's chunk is not in its content.
    """

    name: bytes
    start: int
    content: int
    content_end: int
    stop: int


class _Header(NamedTuple):
    """Width and height in pixels as stored, the EXIF orientation, and where the pixels begin.

    ``pictures`` are the positions of the JPEG's other pictures, in their order; empty when it does not tell.
    """

    width: int
    height: int
    orientation: int
    pixels_from: int
    pictures: tuple[int, ...] = ()


class _Jpeg:
    """A JPEG file (ITU-T T.81): the first picture in it."""

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

    def fault_of_end(self, header: _Header) -> Rejection | None:
        """None when the first picture has an end.

        No marker can be among a picture's pixels, so the first marker after any pixel that ends the picture is its own.
        """
        size, begin = self._data.size, header.pixels_from
        if self._has_end(begin, self._data.block_end) or self._ends_before(begin, min((size, *header.pictures))):
            return None
        return None if self._has_end(begin, size) else _cut_off(size).rejection

    def _ends_before(self, begin: int, stop: int) -> bool:
        """Whether the last bytes before ``stop``, where the file or another picture in it begins, prove an end."""
        start = max(begin, stop - TAIL_BYTES)
        if not begin < stop:
            return False
        self._data.hold(start, min(stop + len(JPEG_START), self._data.size))
        if stop < self._data.size and self._data.get(stop, len(JPEG_START)) != JPEG_START:
            return False  # the file is not as it was when its pictures were listed
        try:
            return self._has_end(start, stop)
        except _Refused:  # these were no pixels
            return False

    def bare(self, content: bytes) -> Bare:
        parts = list(self._parts(2, len(content)))
        if not parts or parts[-1].name != END:
            raise _cut_off(len(content))
        scans = sum(part.name == SCAN for part in parts)
        if scans > MAX_SCANS:
            raise _too_costly(f"the JPEG has more than {MAX_SCANS:,} scans")
        kept, profile = [content[:2]], []
        for part, following in zip(parts, [*parts[1:], parts[-1]], strict=True):
            is_colours = part.name in COLOURS and self._begins(part, COLOURS[part.name])
            if part.name not in NOTES or is_colours:
                kept.append(content[part.start : following.start if part.name == SCAN else part.stop])
            elif part.name == PROFILE and self._begins(part, PROFILE_MARK):
                profile.append(content[part.start : part.stop])
        return Bare(b"".join(kept), b"".join(profile))

    def _parts(self, position: int, stop: int) -> Iterator[_Part]:
        """The segments from ``position`` up to ``stop``; the last is the picture's end, unless that is missing.

        As decoders do, this steps over bytes between segments that belong to none.
        """
        for _ in range(MAX_PARTS):
            start = self._data.find(MARKER, position, stop)
            if start < 0:
                return
            marker = self._data.get(start, 2)[1:]
            if marker == END:
                yield _Part(marker, start, start + 2, start + 2, start + 2)
                return
            if marker == START:  # another picture begins before this one ends
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

    def _has_end(self, start: int, stop: int) -> bool:
        """Whether the picture, among whose pixels ``start`` is, ends before ``stop``."""
        return any(part.name == END for part in self._parts(start, stop))

    def _sides(self, frame: _Part) -> tuple[int, int]:
        content = self._content(frame)
        if len(content) < 6:
            raise _broken_header("no size is in it")
        bits, colours = content[0], content[5]
        if bits != 8 or colours not in {1, 3, 4}:
            raise _broken_header(
                f"it says {bits} bits and {colours} colours a pixel, where 8 bits and 1, 3 or 4 colours may be"
            )
        return int.from_bytes(content[3:5]), int.from_bytes(content[1:3])

    def _begins(self, part: _Part, mark: bytes) -> bool:
        return self._data.get(part.content, len(mark)) == mark

    def _content(self, part: _Part) -> bytes:
        return self._data.get(part.content, part.content_end - part.content)


class _Png:
    """A PNG file (PNG specification, third edition): the picture that all programs show, animated or not."""

    def __init__(self, data: _Data) -> None:
        self._data = data

    def read_header(self) -> _Header:
        width = height = colour = 0
        orientation, unpacked = None, 0
        has_palette = False
        for part in self._parts(len(PNG_START), self._data.size):
            if (part.name == b"IHDR") != (part.start == len(PNG_START)):
                raise _broken_header("it does not begin with one size")
            if part.name == b"IHDR":
                width, height, colour = self._sides(part)
            elif part.name == b"PLTE":
                has_palette = part.content_end - part.content <= MAX_PALETTE and self._is_sound(part)
            elif part.name == b"eXIf" and orientation is None:
                orientation = _orientation(self._data.get(part.content, min(self._length(part), 65_536)))
            elif part.name in {b"zTXt", b"iTXt", b"iCCP"}:
                unpacked += self._unpacked_size(part, MAX_UNPACKED - unpacked)
            elif part.name == b"IDAT":
                if colour == 3 and not has_palette:
                    raise _broken_header("the palette of its colours is missing or damaged")
                return _Header(width, height, orientation or AS_STORED, part.start)
            elif part.name == b"IEND":
                break
        raise _no_size(self._data.size)

    def fault_of_end(self, header: _Header) -> Rejection | None:
        """None when the file has its last chunk, whole but for a wrong checksum, as decoders ask for."""
        size, begin = self._data.size, header.pixels_from
        if self._has_end(begin, self._data.block_end):
            return None
        tail = max(begin, size - TAIL_BYTES)
        self._data.hold(tail, size)
        if PNG_END.search(self._data.get(tail, size - tail)):
            return None
        return None if self._has_end(begin, size) else _cut_off(size).rejection

    def _has_end(self, start: int, stop: int) -> bool:
        """Whether the file's last chunk comes after the chunk that begins at ``start`` and before ``stop``."""
        return any(part.name == b"IEND" for part in self._parts(start, stop))

    def bare(self, content: bytes) -> Bare:
        kept, profile = [PNG_START], b""
        name = b""
        for part in self._parts(len(PNG_START), self._data.size):
            name = part.name
            chunk = content[part.start : part.stop]
            if name in PNG_CRITICAL or (name == b"tRNS" and self._is_sound(part)):
                kept.append(chunk)
            elif name == b"iCCP" and not profile and self._is_sound(part):
                profile = chunk
        if name != b"IEND":
            raise _cut_off(len(content))
        return Bare(b"".join(kept), profile)

    def _parts(self, position: int, stop: int) -> Iterator[_Part]:
        """The chunks from ``position`` up to ``stop``; the last is the file's end, unless that is missing."""
        for _ in range(MAX_PARTS):
            if position + 8 > stop:
                return
            head = self._data.get(position, 8)
            name, content = head[4:], position + 8
            content_end = content + int.from_bytes(head[:4])
            # An upper-case first letter tells decoders not to go on when they do not know the chunk.
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
        """Width, height and colour type."""
        if self._length(part) != 13 or not self._is_sound(part):
            raise _broken_header("its size is damaged")
        content = self._data.get(part.content, 13)
        width, height = int.from_bytes(content[:4]), int.from_bytes(content[4:8])
        bits, colour, compression, filters, interlaced = content[8:]
        if bits not in PNG_BITS.get(colour, ()) or compression or filters or interlaced > 1:
            raise _broken_header(f"it says colour type {colour} with {bits} bits, or another unknown way to store them")
        if not (width and height):
            raise _no_size(self._data.size)
        return width, height, colour

    def _length(self, part: _Part) -> int:
        return part.content_end - part.content

    def _is_sound(self, part: _Part) -> bool:
        """Whether the chunk's checksum is that of its name and its content."""
        checksum = zlib.crc32(part.name)
        for block in self._blocks(part.content, part.content_end):
            checksum = zlib.crc32(block, checksum)
        return self._data.get(part.content_end, 4) == checksum.to_bytes(4)

    def _blocks(self, start: int, stop: int) -> Iterator[bytes]:
        for position in range(start, stop, PIECE_BYTES):
            yield self._data.get(position, min(PIECE_BYTES, stop - position))

    def _unpacked_size(self, part: _Part, most: int) -> int:
        """How many bytes the chunk's text or colour profile has when it is unpacked. None of them is kept.

        Raises:
            _Refused: it has more than ``most``.
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
                        raise _too_costly(f"the PNG has notes of more than {MAX_UNPACKED:,} bytes when unpacked")
                    block = inflate.unconsumed_tail
        except zlib.error:  # decoders leave out what they cannot unpack
            pass
        return size

    def _packed_from(self, part: _Part) -> int | None:
        """Where the compressed content of the chunk begins; None when it has none."""
        # A name of at most 79 characters and a zero come first, in iTXt also a language and the name in it.
        head = self._data.get(part.content, min(self._length(part), 4096))
        name_end = head.find(0)
        if part.name != b"iTXt":  # the method of compression
            return part.content + name_end + 2 if name_end >= 0 else None
        if head[name_end + 1 : name_end + 2] != b"\1":  # not compressed
            return None
        language_end = head.find(0, name_end + 3)
        text_from = head.find(0, language_end + 1) + 1
        return part.content + text_from if 0 < language_end < text_from else None


def _in_memory(content: bytes) -> _Data:
    return _Data(len(content), lambda start, stop: content[start:stop])


def _format(data: _Data) -> _Jpeg | _Png:
    """The reader of the photo's format, told by its first bytes."""
    start = data.get(0, len(PNG_START))
    if start.startswith(JPEG_START):
        return _Jpeg(data)
    if start == PNG_START:
        return _Png(data)
    raise _Refused("UnsupportedFormat", "the file is neither JPEG nor PNG")


def _orientation(exif: bytes) -> int:
    """The orientation, 1 to 8, that the EXIF block tells; 1 when it tells none.

    As browsers do, this takes one short number under the tag Orientation among the first tags. A library would load
    every tag, each of which may claim the whole block as its value.
    """
    exif = exif.removeprefix(EXIF_MARK)
    order = _byte_order(exif)
    if order is None:
        return AS_STORED
    for tag, kind, count, value in _tags(exif, int.from_bytes(exif[4:8], order), order):
        if (tag, kind, count) == (0x0112, 3, 1):
            found = int.from_bytes(value[:2], order)
            return found if 1 <= found <= 8 else AS_STORED
    return AS_STORED


def _other_pictures(index: bytes, first: int) -> tuple[int, ...]:
    """Where in the file the pictures after the first begin, by the index of a multi-picture JPEG (CIPA DC-007, 5.2.3).

    ``first`` is the position of the index, from which its offsets count.
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
    """The entries of the TIFF directory at ``start``: tag, type, count, and the four bytes of value or offset."""
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
