"""Every kind of bad input that we know of, each with what is given and the exact answer that its sender gets.

A case that a person would call bad and that is nevertheless taken is here too: its answer says so.
"""

import io
import json
import struct
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from PIL import Image

from tests.unit.photo_jobs import photo

TYPES = ["ID_KTP", "MY_NRIC", "KH_IC"]
# A job of each kind: new with a photo, waiting for supplied labels, failed, erased, and unknown.
NEW, WAITING, FAILED, ERASED = "{new}", "{waiting}", "{failed}", "{erased}"
UNKNOWN = "ekyc-20200101000000-0000000000000000"
MB = 1024 * 1024


@dataclass(frozen=True, kw_only=True)
class Case:
    """``answer`` is the code that a program reads; ``words`` are part of the message that a person reads."""

    id: str
    answer: str
    words: str = ""


@dataclass(frozen=True, kw_only=True)
class Photo(Case):
    """An upload that Check photos sees among good ones: ``accepted``, or its code in rejected.jsonl."""

    content: bytes
    name: str = ""


@dataclass(frozen=True, kw_only=True)
class Photos(Case):
    """All uploads of a job: the error that ends Collect photos."""

    contents: Sequence[bytes]


@dataclass(frozen=True, kw_only=True)
class Name(Case):
    """A file name, asked for by itself and among others: ``taken``, or the problem's status and type."""

    name: str


@dataclass(frozen=True, kw_only=True)
class Line(Case):
    """A line of a labelled manifest that Prepare datasets sees among good ones: ``kept``, or its code in dropped.jsonl.

    The line is of the photo ``1.jpg``, of 500 x 400 pixels, unless it says otherwise.
    """

    line: Mapping[str, Any] | bytes


@dataclass(frozen=True, kw_only=True)
class Lines(Case):
    """A whole labelled manifest: the error that ends Prepare datasets, or ``prepared``."""

    lines: Sequence[Mapping[str, Any] | bytes]


@dataclass(frozen=True, kw_only=True)
class LabelsFile(Case):
    """A supplied labels file: ``imported``, or ``LabelsInvalid`` with the first code in label-problems.jsonl."""

    content: bytes
    size: int = 0
    """What S3 says that it has, if that is more than ``content``, which then comes again and again."""


@dataclass(frozen=True, kw_only=True)
class Call(Case):
    """A call of the API by ``route``, such as ``GET list``: the problem's status and type."""

    route: str
    query: Mapping[str, str] = field(default_factory=dict)
    body: Any = None
    """Sent as JSON, bytes as they are."""
    content_type: str = "application/json"
    signed: bool = True


# --- Photos ----------------------------------------------------------------------------------------------------------


def saved(image: Image.Image, kind: str, **options: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def grain(width: int = 300, height: int = 300) -> Image.Image:
    """A picture that no format makes small."""
    return Image.effect_noise((width, height), 50).convert("RGB")


def sideways() -> Image.Exif:
    """The note of a phone that lay on its side."""
    exif = Image.Exif()
    exif[0x0112] = 6
    return exif


def chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def png(width: int, height: int, *chunks: bytes, bits: int = 8, colour: int = 2) -> bytes:
    """A PNG of these chunks behind its header, whatever they say."""
    header = struct.pack(">IIBBBBB", width, height, bits, colour, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + b"".join(chunks)


def many_scans(count: int) -> bytes:
    """A progressive JPEG of 4,096 x 4,096 pixels, stored sideways, whose last scan comes again ``count`` times."""
    content = saved(Image.new("L", (4096, 4096), 9), "JPEG", progressive=True, exif=sideways())
    return content[:-2] + content[content.rindex(b"\xff\xda") : -2] * count + b"\xff\xd9"


FRAMES = [Image.new("RGB", (80, 80), (shade, 1, 2)) for shade in range(3)]
ANIMATED: dict[str, Any] = {"save_all": True, "append_images": FRAMES[1:]}
GRAIN = saved(grain(), "JPEG", quality=95)
FILM = bytes(range(200)) * 2000
PACKED_ZEROS = zlib.compress(bytes(64 * MB), level=1)  # 64 MB when unpacked

PHOTOS = [
    Photo(id="no bytes at all", content=b"", answer="Empty", words="the file is empty"),
    Photo(id="a text", content=b"a photo, honestly", answer="UnsupportedFormat", words="neither JPEG nor PNG"),
    Photo(id="a GIF named .jpg", content=saved(FRAMES[0], "GIF"), answer="UnsupportedFormat", words="neither JPEG nor"),
    Photo(id="a BMP", content=photo(kind="BMP"), answer="UnsupportedFormat", words="neither JPEG nor PNG"),
    Photo(id="a WebP", content=saved(FRAMES[0], "WEBP"), answer="UnsupportedFormat", words="neither JPEG nor PNG"),
    Photo(id="a TIFF", content=saved(FRAMES[0], "TIFF"), answer="UnsupportedFormat", words="neither JPEG nor PNG"),
    Photo(id="a PDF", content=saved(FRAMES[0], "PDF"), answer="UnsupportedFormat", words="neither JPEG nor PNG"),
    Photo(id="an animated GIF", content=saved(FRAMES[0], "GIF", **ANIMATED), answer="UnsupportedFormat"),
    Photo(id="an animated WebP", content=saved(FRAMES[0], "WEBP", **ANIMATED), answer="UnsupportedFormat"),
    Photo(
        id="an animated PNG, whose still picture is a PNG",
        content=saved(FRAMES[0], "PNG", **ANIMATED),
        answer="accepted",
    ),
    Photo(
        id="a JPEG's first bytes and nothing after them",
        content=b"\xff\xd8\xff",
        answer="Unreadable",
        words="header is broken",
    ),
    Photo(
        id="zeros behind a JPEG's first bytes",
        content=b"\xff\xd8\xff" + bytes(20_000),
        answer="Unreadable",
        words="20,003 bytes",
    ),
    Photo(id="a JPEG cut off in its header", content=photo()[:100], answer="Unreadable", words="first 100 bytes"),
    Photo(
        id="a PNG cut off in its header", content=photo(kind="PNG")[:20], answer="Unreadable", words="first 20 bytes"
    ),
    Photo(
        id="a JPEG cut off at the start of its pixels",
        content=GRAIN[: GRAIN.index(b"\xff\xda") + 14],
        answer="CutOff",
        words="its end is missing",
    ),
    Photo(id="a small JPEG cut off in its pixels", content=GRAIN[:10_000], answer="CutOff", words="after 10,000 bytes"),
    Photo(
        id="a large JPEG cut off in its pixels",
        content=saved(grain(900, 900), "JPEG", quality=95)[:-5000],
        answer="CutOff",
        words="its end is missing",
    ),
    Photo(
        id="a PNG cut off in its pixels",
        content=saved(grain(), "PNG")[:-5000],
        answer="CutOff",
        words="its end is missing",
    ),
    Photo(id="a JPEG with a film behind it", content=GRAIN + FILM, answer="accepted"),
    Photo(
        id="a JPEG cut off, with a preview of itself that is whole",
        content=saved(grain(), "JPEG", exif=b"Exif\0\0" + photo())[:-5000],
        answer="CutOff",
    ),
    Photo(
        id="a phone's JPEG cut off in its pixels",
        content=saved(grain(), "JPEG", exif=sideways())[:-5000],
        answer="CutOff",
    ),
    Photo(
        id="a phone's PNG whose pixels are garbled",
        content=png(80, 80, chunk(b"eXIf", sideways().tobytes()[6:]), chunk(b"IDAT", b"garbled"), chunk(b"IEND", b"")),
        answer="Unreadable",
        words="pixels are broken",
    ),
    Photo(
        id="63 px wide",
        content=photo(63, 64),
        answer="SideTooShort",
        words="the photo is 63x64 px; each side needs at least 64 px",
    ),
    Photo(id="64 px wide", content=photo(64, 65), answer="accepted"),
    Photo(
        id="no pixel wide",
        content=png(0, 64, chunk(b"IDAT", b""), chunk(b"IEND", b"")),
        answer="Unreadable",
        words="the header is broken",
    ),
    Photo(
        id="4,097 px wide",
        content=photo(4097, 300),
        answer="SideTooLong",
        words="4097x300 px; a side may have at most 4096 px",
    ),
    Photo(id="4,096 px wide", content=photo(4096, 300), answer="accepted"),
    Photo(id="4,096 px wide and high", content=photo(4096, 4096, kind="PNG", compress_level=1), answer="accepted"),
    Photo(id="a progressive JPEG", content=photo(100, 100, progressive=True), answer="accepted"),
    Photo(
        id="21:1",
        content=photo(64 * 21, 64),
        answer="TooElongated",
        words="1344x64 px; one side may be at most 20 times the other",
    ),
    Photo(id="20:1", content=photo(64 * 20, 64), answer="accepted"),
    Photo(
        id="16 MB",
        content=photo(shade=16) + bytes(16 * MB - 1000),
        answer="FileTooLarge",
        words="at most 15,728,640 (15 MB) are allowed",
    ),
    Photo(id="15 MB", content=photo(shade=15).ljust(15 * MB, b"\0"), answer="accepted"),
    Photo(
        id="a decompression bomb of 40,000 x 40,000 px",
        content=png(40_000, 40_000, chunk(b"IDAT", zlib.compress(bytes(MB))), chunk(b"IEND", b"")),
        answer="SideTooLong",
        words="40000x40000",
    ),
    Photo(
        id="a size beyond all numbers",
        content=png(2**31 - 1, 2**31 - 1, chunk(b"IDAT", b""), chunk(b"IEND", b"")),
        answer="SideTooLong",
    ),
    Photo(
        id="a decompression bomb in a PNG's text",
        content=png(64, 64, chunk(b"zTXt", b"a\0\0" + PACKED_ZEROS), chunk(b"IDAT", b""), chunk(b"IEND", b"")),
        answer="TooCostly",
        words="texts or profiles of more than 15,728,640 bytes unpacked",
    ),
    Photo(
        id="a decompression bomb in a PNG's colour profile",
        content=png(64, 64, chunk(b"iCCP", b"a\0\0" + PACKED_ZEROS), chunk(b"IDAT", b""), chunk(b"IEND", b"")),
        answer="TooCostly",
        words="texts or profiles of more than 15,728,640 bytes unpacked",
    ),
    Photo(
        id="a JPEG of a thousand scans, which takes long to decode",
        content=many_scans(1000),
        answer="TooCostly",
        words="more than 100 scans, which would cost too much to decode: save the photo again",
    ),
    Photo(id="CMYK", content=saved(grain().convert("CMYK"), "JPEG"), answer="accepted"),
    Photo(id="CMYK on its side", content=saved(grain().convert("CMYK"), "JPEG", exif=sideways()), answer="accepted"),
    Photo(id="16 bits of grey", content=saved(Image.new("I;16", (80, 80), 40_000), "PNG"), answer="accepted"),
    Photo(
        id="16 bits of grey on its side",
        content=saved(Image.new("I;16", (80, 80), 50_000), "PNG", exif=sideways()),
        answer="accepted",
    ),
    Photo(
        id="16 bits of each colour on its side",
        content=png(
            80,
            80,
            chunk(b"eXIf", sideways().tobytes()[6:]),
            chunk(b"IDAT", zlib.compress((b"\0" + bytes(80 * 6)) * 80)),
            chunk(b"IEND", b""),
            bits=16,
        ),
        answer="accepted",
    ),
    Photo(
        id="an unknown number of bits",
        content=png(80, 80, chunk(b"IDAT", b""), chunk(b"IEND", b""), bits=7),
        answer="Unreadable",
        words="header is broken",
    ),
    Photo(id="damaged EXIF", content=photo(shade=9, exif=b"Exif\0\0II*\0\xff\xff\xff\xff"), answer="accepted"),
    Photo(
        id="in a folder",
        name="folder/a.jpg",
        content=photo(shade=10),
        answer="InvalidName",
        words="the photo is in a folder below images/",
    ),
    Photo(
        id="put straight into the bucket under an odd name",
        name="é \"1\" '2' 身份证.jpg",
        content=photo(shade=11),
        answer="accepted",
    ),
    Photo(
        id="put straight into the bucket under a name that the API refuses",
        name="1\n2.jpg",
        content=photo(shade=12),
        answer="InvalidName",
        words="the file name has control or invisible characters",
    ),
    Photo(
        id="the same photo again", name="zz.jpg", content=photo(64, 65), answer="Duplicate", words="the same photo as"
    ),
]

GOOD = [photo(shade=3000 + 25 * number) for number in range(10)]
TINY = [photo(10, 10, shade=number) for number in range(10)]
WHOLE_UPLOADS = [
    Photos(id="no photo", contents=[], answer="ImagesNotFound", words="No photo was uploaded for the job."),
    Photos(
        id="nine good photos",
        contents=GOOD[:9],
        answer="NotEnoughImages",
        words="9 of 9 photos are usable. A job needs at least 10",
    ),
    Photos(id="ten copies of a photo", contents=[GOOD[0]] * 10, answer="NotEnoughImages", words="9 are duplicates"),
    Photos(
        id="three bad ones of thirteen",
        contents=GOOD + TINY[:3],
        answer="TooManyBadImages",
        words="3 of 13 photos are unusable (SideTooShort 3). At most 20% may be unusable.",
    ),
    Photos(
        id="bad ones only",
        contents=[b"x"],
        answer="TooManyBadImages",
        words="1 of 1 photos are unusable (UnsupportedFormat 1)",
    ),
]

# --- Names -----------------------------------------------------------------------------------------------------------

NOT_PLAIN, CONTROL = "must be a plain name: no folders", "has control or invisible characters"
NAMES = [
    *(
        Name(id=f"name: {about}", name=name, answer="taken")
        for about, name in [
            ("capital letters", "A.JPG"),
            ("unicode", "фото 身份证 é 🪪.jpeg"),
            ("spaces", "a  b .jpg"),
            ("quotes", 'it\'s "one" `two`.png'),
            ("what URLs give a meaning to", "a%2Fb?c=d&e#f+g;h.jpg"),
            ("markup", "<img src=x>.jpg"),
            ("several extensions", "a.b.json"),
            ("255 characters", "a" * 251 + ".jpg"),
            ("900 bytes", "é" * 200 + "字" * 51 + ".jpg"),
        ]
    ),
    *(
        Name(id=f"name: {about}", name=name, answer="400 bad-request", words=words)
        for about, name, words in [
            ("a folder above", "../jane-doe.jpg", NOT_PLAIN),
            ("two dots", "..", NOT_PLAIN),
            ("two dots before the extension", "a..jpg", NOT_PLAIN),
            ("a folder", "folder/jane-doe.jpg", NOT_PLAIN),
            ("absolute", "/jane-doe.jpg", NOT_PLAIN),
            ("of Windows, absolute", "C:\\jane-doe.jpg", NOT_PLAIN),
            ("of Windows, a folder above", "..\\jane-doe.jpg", NOT_PLAIN),
            ("a URL", "https://example.com/jane-doe.jpg", NOT_PLAIN),
            ("a leading dot", ".jane-doe.jpg", NOT_PLAIN),
            ("an extension alone", ".jpg", NOT_PLAIN),
            ("a newline", "jane\ndoe.jpg", CONTROL),
            ("a newline at its end", "jane-doe.jpg\r\n", CONTROL),
            ("a NUL", "jane-doe.jpg\0", CONTROL),
            ("text that runs backwards", "jane\u202egpj.jpg", CONTROL),
            ("a line separator", "jane\u2028.jpg", CONTROL),
            ("256 characters", "a" * 252 + ".jpg", "has 256 characters; at most 255 are allowed"),
            ("1,025 bytes in ASCII", "a" * 1021 + ".jpg", "has 1025 characters; at most 255 are allowed"),
            ("1,000 bytes in 252 characters", "🪪" * 248 + "é.jpg", "has 998 bytes in UTF-8; at most 900 are allowed"),
            ("no extension", "jane-doe", "must end in one of .jpg .jpeg .png for a photo, .json .jsonl .manifest"),
            ("another extension", "jane-doe.gif", "must end in one of"),
            ("a program", "jane-doe.jpg.exe", "must end in one of"),
            ("a space behind the extension", "jane-doe.jpg ", "must end in one of"),
        ]
    ),
]

# --- Lines of a labelled manifest ------------------------------------------------------------------------------------

LINE: dict[str, Any] = {
    "source-ref": "s3://bucket/images/1.jpg",
    "doctype": {
        "image_size": [{"width": 500, "height": 400, "depth": 3}],
        "annotations": [
            {"class_id": 0, "left": 111, "top": 134, "width": 61, "height": 128},
            {"class_id": 5, "left": 0, "top": 0, "width": 30, "height": 30},
        ],
    },
    "doctype-metadata": {
        "objects": [{"confidence": 0.8}, {"confidence": 0.0}],
        "class-map": {"0": "ID_KTP", "5": "KH_IC"},
        "type": "groundtruth/object-detection",
        "human-annotated": "yes",
        "creation-date": "2018-10-18T22:18:13.527256",
        "job-name": "labeling-job/BB",
    },
}
BOX = "doctype/annotations/0"


def of(name: str, line: Mapping[str, Any] = LINE) -> dict[str, Any]:
    """The line of another photo."""
    return {**line, "source-ref": f"s3://bucket/images/{name}"}


def changed(path: str, value: Any, line: Mapping[str, Any] = LINE) -> dict[str, Any]:
    """``line`` with the value at ``path`` replaced, or removed when it is ``...``."""
    document: dict[str, Any] = json.loads(json.dumps(line))
    *parents, last = [
        int(part) if part.isdigit() and parent != "class-map" else part
        for parent, part in zip(["", *path.split("/")], path.split("/"), strict=False)
    ]
    place: Any = document
    for parent in parents:
        place = place[parent]
    if value is ...:
        del place[last]
    else:
        place[last] = value
    return document


def boxes(count: int) -> dict[str, Any]:
    line = changed("doctype-metadata/objects", [{"confidence": 1}] * count)
    line["doctype"]["annotations"] = [LINE["doctype"]["annotations"][0]] * count
    return line


def one_box(left: Any, top: Any, width: Any, height: Any) -> dict[str, Any]:
    line = boxes(1)
    line["doctype"]["annotations"] = [{"class_id": 0, "left": left, "top": top, "width": width, "height": height}]
    return line


FAILED_LINE = {"source-ref": LINE["source-ref"], "doctype-metadata": {"failure-reason": "ClientError: no such image"}}
SIZE_WORDS, METADATA_WORDS = "doctype needs one image_size", "doctype-metadata needs type, objects, class-map"
BOX_WORDS = "box 1 needs a whole class_id, finite left, top, width, height and a confidence from 0 to 1"
LINES = [
    Line(id="line: as it should be", line=LINE, answer="kept"),
    *(
        Line(id=f"line: {about}", line=line, answer=code, words=words)
        for about, line, code, words in [
            ("no JSON", b"{", "InvalidJson", "the line is not valid JSON: Expecting property name"),
            ("a JSON list", b"[]", "InvalidJson", "the line is not a JSON object"),
            ("JSON's null", b"null", "InvalidJson", "the line is not a JSON object"),
            ("JSON nested 50,000 deep", b"[" * 50_000, "InvalidJson", "the line is not valid JSON"),
            ("a number of 5,000 digits", b'{"a":' + b"1" * 5000 + b"}", "InvalidJson", "the line is not valid JSON"),
            ("two objects", b"{}{}", "InvalidJson", "Extra data"),
            ("blank", b"", "Blank", "the line is blank"),
            ("spaces only", b" \t ", "Blank", "the line is blank"),
            ("not UTF-8", b'{"source-ref": "\xff"}', "NotUtf8", "the line is not UTF-8: byte 17 cannot be read"),
            ("100,001 characters", b"x" * 100_001, "TooLong", "the line is longer than 100,000 characters"),
            ("a megabyte", b"x" * MB, "TooLong", "the line is longer than 100,000 characters"),
            ("no source-ref", changed("source-ref", ...), "InvalidSourceRef", "source-ref is missing or not text"),
            ("source-ref a number", changed("source-ref", 7), "InvalidSourceRef", "source-ref is missing or not text"),
            ("source-ref half a character", b'{"source-ref": "\\ud800"}', "UnknownPhoto", "the job has no such photo"),
            ("source-ref a web address", changed("source-ref", "https://x/1.jpg"), "UnknownPhoto", "no such photo"),
            ("another bucket", changed("source-ref", "s3://other/images/1.jpg"), "UnknownPhoto", "no such photo"),
            ("another job's photo", changed("source-ref", "s3://bucket/images/x/1.jpg"), "UnknownPhoto", "no such"),
            (
                "a photo that was rejected",
                changed("source-ref", "s3://bucket/images/rejected.jpg"),
                "RejectedPhoto",
                "the photo is bad",
            ),
            (
                "a photo that an earlier line has",
                changed("source-ref", "s3://bucket/images/good-0.jpg"),
                "Duplicate",
                "an earlier line has the same photo",
            ),
            ("labelling failed", FAILED_LINE, "LabellingFailed", "ClientError: no such image"),
            ("no labels", changed("doctype", ...), "NotLabelled", "the photo has no labels: the line has no doctype"),
            ("labels a number", changed("doctype", 0), "InvalidLabels", SIZE_WORDS),
            ("labels a list", changed("doctype", []), "InvalidLabels", SIZE_WORDS),
            ("no image_size", changed("doctype/image_size", ...), "InvalidLabels", SIZE_WORDS),
            ("an empty image_size", changed("doctype/image_size", []), "InvalidLabels", SIZE_WORDS),
            (
                "two sizes",
                changed("doctype/image_size", [{"width": 500, "height": 400}] * 2),
                "InvalidLabels",
                SIZE_WORDS,
            ),
            ("a width in quotes", changed("doctype/image_size/0/width", "500"), "InvalidLabels", SIZE_WORDS),
            ("a width with a fraction", changed("doctype/image_size/0/width", 500.5), "InvalidLabels", SIZE_WORDS),
            ("no height", changed("doctype/image_size/0/height", 0), "InvalidLabels", SIZE_WORDS),
            (
                "a wrong image size",
                changed("doctype/image_size/0/width", 501),
                "WrongImageSize",
                "labelled as 501x400 px, but the photo is 500x400 px",
            ),
            ("no annotations", changed("doctype/annotations", ...), "InvalidLabels", SIZE_WORDS),
            ("annotations an object", changed("doctype/annotations", {}), "InvalidLabels", SIZE_WORDS),
            ("no box", boxes(0), "Empty", "no document is marked in the photo"),
            ("50 boxes", boxes(50), "kept", ""),
            ("51 boxes", boxes(51), "TooManyBoxes", "51 boxes; Rekognition takes at most 50"),
            ("no metadata", changed("doctype-metadata", ...), "InvalidMetadata", METADATA_WORDS),
            ("no objects", changed("doctype-metadata/objects", ...), "InvalidMetadata", METADATA_WORDS),
            ("no class map", changed("doctype-metadata/class-map", ...), "InvalidMetadata", METADATA_WORDS),
            (
                "a class map that is a list",
                changed("doctype-metadata/class-map", ["ID_KTP"]),
                "InvalidMetadata",
                METADATA_WORDS,
            ),
            (
                "neither yes nor no",
                changed("doctype-metadata/human-annotated", "maybe"),
                "InvalidMetadata",
                "human-annotated (yes or no)",
            ),
            ("no date", changed("doctype-metadata/creation-date", ...), "InvalidMetadata", METADATA_WORDS),
            (
                "a date in words",
                changed("doctype-metadata/creation-date", "yesterday"),
                "InvalidMetadata",
                METADATA_WORDS,
            ),
            (
                "image-level labels",
                changed("doctype-metadata/type", "groundtruth/image-classification"),
                "UnsupportedType",
                "is not groundtruth/object-detection",
            ),
            (
                "fewer objects than boxes",
                changed("doctype-metadata/objects", [{"confidence": 1}]),
                "MissingConfidence",
                "2 annotations but 1 objects with a confidence",
            ),
            ("an object without confidence", changed("doctype-metadata/objects/0", {}), "InvalidBox", BOX_WORDS),
            (
                "a confidence of NaN",
                changed("doctype-metadata/objects/0/confidence", float("nan")),
                "InvalidBox",
                BOX_WORDS,
            ),
            ("a confidence of 2", changed("doctype-metadata/objects/0/confidence", 2), "InvalidBox", BOX_WORDS),
            ("a box that is null", changed(BOX, None), "InvalidBox", BOX_WORDS),
            ("a left of text", changed(f"{BOX}/left", "111"), "InvalidBox", BOX_WORDS),
            ("a left of true", changed(f"{BOX}/left", True), "InvalidBox", BOX_WORDS),
            ("a top of infinity", changed(f"{BOX}/top", float("inf")), "InvalidBox", BOX_WORDS),
            ("a width of NaN", changed(f"{BOX}/width", float("nan")), "InvalidBox", BOX_WORDS),
            ("a height of 401 digits", changed(f"{BOX}/height", 10**400), "InvalidBox", BOX_WORDS),
            ("no height in the box", changed(f"{BOX}/height", ...), "InvalidBox", BOX_WORDS),
            ("a class_id in quotes", changed(f"{BOX}/class_id", "0"), "InvalidBox", BOX_WORDS),
            (
                "a class_id outside of the class map",
                changed(f"{BOX}/class_id", 3),
                "MissingClass",
                "the class map has no name for class_id 3 of box 1",
            ),
            (
                "a class without a name",
                changed("doctype-metadata/class-map/0", ""),
                "MissingClass",
                "no name for class_id 0",
            ),
            (
                "a class name of 256 characters",
                changed("doctype-metadata/class-map/0", "x" * 256),
                "MissingClass",
                "no name for class_id 0",
            ),
            (
                "an unknown class",
                changed("doctype-metadata/class-map/0", "CAT"),
                "UnknownType",
                "CAT is not one of the job's document types",
            ),
            ("a box half off the frame, which is cut", one_box(-30, 20, 100, 80), "kept", ""),
            ("a box off the frame", one_box(500, 0, 10, 10), "NoValidBoxes", "none of the line's boxes is usable"),
            (
                "a box before the frame",
                one_box(-50, -50, 20, 20),
                "NoValidBoxes",
                "the box lies outside the photo",
            ),
            (
                "a box of negative size",
                one_box(50, 50, -30, 40),
                "NoValidBoxes",
                "the box lies outside the photo",
            ),
            ("a box of no size", one_box(50, 50, 0, 0), "NoValidBoxes", "the box lies outside the photo"),
            (
                "a box of a pixel",
                one_box(5, 5, 1, 1),
                "NoValidBoxes",
                "the box is 1x1 px, which is at most 1 px wide or high after Rekognition downsizes the photo",
            ),
            (
                "a box far beyond all photos",
                one_box(999_999, 0, 10, 10),
                "NoValidBoxes",
                "the box lies outside",
            ),
        ]
    ),
]


FOUR = [of(f"{number}.jpg") for number in range(1, 5)]
WHOLE_MANIFESTS = [
    Lines(
        id="manifest: empty",
        lines=[],
        answer="NoUsableLabels",
        words="None of the 4 labelled photos is usable (NotLabelled 4).",
    ),
    Lines(
        id="manifest: blank lines only", lines=[b"", b" ", b""], answer="NoUsableLabels", words="NotLabelled 4, Blank 3"
    ),
    Lines(id="manifest: binary", lines=[GRAIN[:40_000]], answer="NoUsableLabels", words="NotUtf8"),
    Lines(
        id="manifest: one photo left",
        lines=FOUR[:1],
        answer="TooFewImagesPerLabel",
        words="ID_KTP has 1, KH_IC has 1: a document type needs at least 2 different labelled photos",
    ),
    Lines(
        id="manifest: over 20% bad, which are left out",
        lines=[*FOUR[:3], b"{", b"", b"x", of("5.jpg")],
        answer="prepared",
        words="Blank 1, InvalidJson 2, NotLabelled 1, UnknownPhoto 1",
    ),
    Lines(
        id="manifest: every photo twice, of which one line is used",
        lines=FOUR * 2,
        answer="prepared",
        words="Duplicate 4",
    ),
]

# --- Supplied labels -------------------------------------------------------------------------------------------------

COCO: dict[str, Any] = {
    "info": {"description": "a project", "images": 3},
    "categories": [{"id": 11, "name": "KH_IC"}, {"id": 12, "name": "ID_KTP"}, {"id": 13, "name": "CAT"}],
    "images": [
        {"id": 1, "file_name": "1.jpg", "width": 500, "height": 400},
        {"id": 2, "file_name": "upload/batch\\2.jpg", "width": 500, "height": 400},
        {"id": 3, "file_name": "3.jpg", "width": 500, "height": 400},
    ],
    "annotations": [
        {"id": 101, "image_id": 1, "category_id": 11, "bbox": [10.4, 20.6, 100.0, 80], "segmentation": [[1, 2, 3]]},
        {"id": 102, "image_id": 1, "category_id": 12, "bbox": [300, 200, 50, 60], "area": 3000, "iscrowd": 0},
        {"id": 103, "image_id": 2, "category_id": 12, "bbox": [-5, 0, 700, 400]},
    ],
}


def coco(path: str, value: Any) -> bytes:
    """`COCO` with the value at ``path`` replaced."""
    return json.dumps(changed(path, value, COCO)).encode()


def manifest(*lines: Mapping[str, Any] | bytes) -> bytes:
    return b"".join((line if isinstance(line, bytes) else json.dumps(line).encode()) + b"\n" for line in lines)


REFUSED, NEITHER = "LabelsInvalid", "is neither a COCO file, which has lists named images, annotations, categories, nor"
NO_AREA = "has no area: width and height must be above 0"
BBOX = "its bbox needs finite x, y, width and height in pixels, width and height above 0"
ELSEWHERE = {"source-ref": "s3://elsewhere/9.jpg"}
TWO_ATTRIBUTES = of("2.jpg") | {"other-metadata": {"type": "groundtruth/object-detection"}}
LABELS_FILES = [
    *(
        LabelsFile(id=f"COCO: {about}", content=content, answer=answer, words=words)
        for about, content, answer, words in [
            ("as it should be", json.dumps(COCO).encode(), "imported", "2"),
            ("with a byte order mark", b"\xef\xbb\xbf" + json.dumps(COCO).encode(), "imported", "2"),
            ("bad JSON", json.dumps(COCO).encode()[:-20], REFUSED, "it is not valid JSON: "),
            ("nested 200,000 deep", b'{"images":' + b"[" * 200_000, REFUSED, "it is not valid JSON"),
            ("a list", b"[]", REFUSED, NEITHER),
            ("a text", b'"labels"', REFUSED, NEITHER),
            ("without categories", coco("categories", ...), REFUSED, "these lists are missing"),
            ("images an object", coco("images", {}), REFUSED, "these lists are missing"),
            ("no annotation", coco("annotations", []), REFUSED, "labels no document in the job's 4 photos"),
            (
                "other photos only",
                coco("images", [{"id": i, "file_name": f"{i}.png"} for i in (1, 2, 3)]),
                REFUSED,
                "The file must name the photos as they were uploaded.",
            ),
            (
                "another size",
                coco("images/0/width", 501),
                f"{REFUSED} WrongImageSize",
                "it was labelled as 501x400 px, but '1.jpg' is 500x400 px",
            ),
            (
                "the size on its side",
                coco("images/0", {"id": 1, "file_name": "1.jpg", "width": 400, "height": 500}),
                f"{REFUSED} WrongImageSize",
                "draw boxes on the upright photo",
            ),
            ("no size", coco("images/0/height", ...), "imported", "2"),
            (
                "a size of a thousand lists",
                coco("images/0/height", [[]] * 1000),
                f"{REFUSED} WrongImageSize",
                "whole numbers of pixels, not 500 and [[], [], ",
            ),
            (
                "no file_name",
                coco("images/0/file_name", None),
                f"{REFUSED} InvalidImage",
                "it needs an id and a file_name",
            ),
            (
                "an image that is a text",
                coco("images/0", "1.jpg"),
                f"{REFUSED} InvalidImage",
                "it needs an id and a file_name",
            ),
            (
                "a duplicate photo",
                coco("images/1/file_name", "other/1.jpg"),
                f"{REFUSED} RepeatedPhoto",
                "an earlier image has the file name 1.jpg too",
            ),
            (
                "a duplicate image id, of a photo that the job has not",
                coco("images/1", {"id": 1, "file_name": "9.jpg"}),
                f"{REFUSED} RepeatedId",
                "an earlier image has this id too",
            ),
            (
                "a duplicate image id",
                coco("images/1/id", 1),
                f"{REFUSED} RepeatedId",
                "an earlier image has this id too",
            ),
            (
                "an id of NaN",
                coco("annotations/0", {"id": float("nan"), "image_id": 9}),
                f"{REFUSED} UnknownImage",
                "no image has its image_id 9",
            ),
            (
                "an image_id that no image has",
                coco("annotations/1/image_id", 77),
                f"{REFUSED} UnknownImage",
                "no image has its image_id 77",
            ),
            (
                "an image_id that is a list",
                coco("annotations/1/image_id", [1]),
                f"{REFUSED} UnknownImage",
                "no image has its image_id [1]",
            ),
            (
                "an unknown class",
                coco("annotations/0/category_id", 13),
                f"{REFUSED} UnknownType",
                "'CAT' is not one of the job's document types (ID_KTP, KH_IC, MY_NRIC)",
            ),
            (
                "a class name of a megabyte",
                coco("categories/0/name", "x" * MB),
                f"{REFUSED} InvalidType",
                "xxx...' cannot be a document type: a type has 1 to 255 letters",
            ),
            (
                "a category_id that no category has",
                coco("annotations/0/category_id", 99),
                f"{REFUSED} UnknownCategory",
                "no category has its category_id 99",
            ),
            (
                "a category_id that is a list",
                coco("annotations/0/category_id", [1]),
                f"{REFUSED} UnknownCategory",
                "no category has its category_id [1]",
            ),
            (
                "a category_id of true",
                coco("annotations/0/category_id", True),
                f"{REFUSED} UnknownCategory",
                "category_id true",
            ),
            (
                "a category without a name",
                coco("categories/0/name", 5),
                f"{REFUSED} InvalidCategory",
                "it needs an id and a name",
            ),
            (
                "an annotation that is a text",
                coco("annotations", ["a"]),
                f"{REFUSED} InvalidAnnotation",
                "it is not a JSON object",
            ),
            ("a bbox of three numbers", coco("annotations/2/bbox", [1, 2, 3]), f"{REFUSED} InvalidBox", BBOX),
            ("a bbox without size", coco("annotations/2/bbox", [1, 2, 0, 5]), f"{REFUSED} InvalidBox", NO_AREA),
            ("a bbox of negative size", coco("annotations/2/bbox", [1, 2, -4, 5]), f"{REFUSED} InvalidBox", NO_AREA),
            ("a bbox with NaN", coco("annotations/2/bbox", [1, float("nan"), 4, 5]), f"{REFUSED} InvalidBox", BBOX),
            (
                "a bbox with infinity",
                coco("annotations/2/bbox", [1, 2, float("inf"), 5]),
                f"{REFUSED} InvalidBox",
                BBOX,
            ),
            ("a bbox in words", coco("annotations/2/bbox", "1 2 3 4"), f"{REFUSED} InvalidBox", BBOX),
            ("no bbox", coco("annotations/2/bbox", ...), f"{REFUSED} InvalidBox", BBOX),
            (
                "51 boxes in a photo",
                coco("annotations", COCO["annotations"][1:2] * 51),
                f"{REFUSED} TooManyBoxes",
                "it has 51 boxes; Rekognition takes at most 50",
            ),
        ]
    ),
    *(
        LabelsFile(id=f"supplied manifest: {about}", content=content, answer=answer, words=words)
        for about, content, answer, words in [
            ("of another bucket", manifest({**LINE, "source-ref": "s3://elsewhere/archive/1.jpg"}), "imported", "1"),
            (
                "with Windows line ends and a byte order mark",
                b"\xef\xbb\xbf" + manifest(*FOUR).replace(b"\n", b"\r\n"),
                "imported",
                "4",
            ),
            ("no bytes at all", b"", REFUSED, NEITHER),
            ("blank lines only", b"\n\n \n", REFUSED, NEITHER),
            ("a photo", GRAIN, REFUSED, NEITHER),
            ("UTF-16 with bad JSON", "\ufeff{".encode("utf-16"), REFUSED, NEITHER),
            ("bad JSON", manifest(FOUR[0], b"{"), f"{REFUSED} InvalidJson", "the line is not valid JSON"),
            ("a blank line", manifest(FOUR[0], b""), "imported", "1"),
            (
                "an over-long line",
                manifest(FOUR[0], b"x" * 100_001),
                f"{REFUSED} TooLong",
                "the line is longer than 100,000 characters",
            ),
            (
                "no source-ref",
                manifest(FOUR[0], {"a": 5}),
                f"{REFUSED} InvalidSourceRef",
                "source-ref is missing or not text",
            ),
            (
                "a duplicate",
                manifest(FOUR[0], FOUR[0]),
                f"{REFUSED} RepeatedPhoto",
                "an earlier line has a photo named 1.jpg too",
            ),
            ("51 boxes", manifest(boxes(51)), f"{REFUSED} TooManyBoxes", "51 boxes; Rekognition takes at most 50"),
            ("NaN", manifest(one_box(float("nan"), 1, 2, 3)), f"{REFUSED} InvalidBox", BOX_WORDS),
            (
                "an unknown class",
                manifest(changed("doctype-metadata/class-map/0", "CAT")),
                f"{REFUSED} UnknownType",
                "'CAT' is not one of the job's document types",
            ),
            (
                "a wrong image size",
                manifest(changed("doctype/image_size/0/width", 320)),
                f"{REFUSED} WrongImageSize",
                "labelled as 320x400 px, but '1.jpg' is 500x400 px",
            ),
            (
                "two labelling jobs' boxes",
                manifest(FOUR[0], TWO_ATTRIBUTES),
                f"{REFUSED} SeveralAttributes",
                "keep those of one labelling job only",
            ),
            (
                "image-level labels",
                manifest({**ELSEWHERE, "x-metadata": {"type": "groundtruth/image-classification"}}),
                REFUSED,
                "labels no document in the job's 4 photos",
            ),
            (
                "over 20% bad",
                manifest(FOUR[0], b"{", b"{"),
                f"{REFUSED} InvalidJson",
                "has 2 problems (InvalidJson 2): line 2, line 3.",
            ),
        ]
    ),
    LabelsFile(
        id="supplied manifest: a byte more than 1 GB",
        content=manifest(LINE),
        size=1024 * MB + 1,
        answer=REFUSED,
        words="has 1,073,741,825 bytes; at most 1,073,741,824 (1 GB) are allowed",
    ),
    LabelsFile(
        id="COCO: 1 GB in one line",
        content=b'{"images": [' + b" " * 9988,
        size=1024 * MB,
        answer=REFUSED,
        words="has 1,073,741,824 bytes; a COCO file can have at most 104,857,600 (100 MB)",
    ),
    LabelsFile(
        id="COCO: 1 GB in many lines",
        content=b'{"images": [\n' + b"\n" * 9987,
        size=1024 * MB,
        answer=REFUSED,
        words="a COCO file can have at most",
    ),
]

# --- Calls of the API ------------------------------------------------------------------------------------------------

BAD, MISSING, CONFLICT = "400 bad-request", "404 unknown-job", "409 conflict"
NO_ROUTE, UNMET, LARGE = "404 unknown-route", "422 precondition-unmet", "413 body-too-large"
LISTED = "lists its fields"
NO_JSON = "The body is not valid JSON in UTF-8."


def start(about: str, body: Any, answer: str = BAD, words: str = NO_JSON, job: str = NEW, **more: Any) -> Call:
    return Call(
        id=f"start: {about}", route="POST start", query={"JobId": job}, body=body, answer=answer, words=words, **more
    )


def urls(about: str, body: Any, answer: str = BAD, words: str = LISTED, job: str = NEW, **more: Any) -> Call:
    return Call(id=f"urls: {about}", route=f"POST jobs/{job}/urls", body=body, answer=answer, words=words, **more)


def labels(about: str, body: Any, answer: str = BAD, words: str = LISTED, job: str = WAITING, **more: Any) -> Call:
    return Call(id=f"labels: {about}", route=f"POST jobs/{job}/labels", body=body, answer=answer, words=words, **more)


def call(about: str, route: str, answer: str, words: str, **more: Any) -> Call:
    return Call(id=about, route=route, answer=answer, words=words, **more)


SUPPLIED = {"provider": "supplied"}
A_GOOD_NAME = {"names": ["a.jpg"]}
CALLS = [
    # create
    call("create: wrong method", "GET create", NO_ROUTE, "No such call"),
    call("create: a body of 11 MB", "POST create", LARGE, "The call is too large", body=b" " * (11 * MB)),
    # url
    call("url: nothing said", "GET url", BAD, "Missing required request parameters: [JobId, S3Key]"),
    call("url: no name", "GET url", BAD, "Missing required request parameters: [S3Key]", query={"JobId": NEW}),
    call("url: an empty name", "GET url", BAD, "[S3Key]", query={"JobId": NEW, "S3Key": ""}),
    call("url: no job", "GET url", BAD, "Missing required request parameters: [JobId]", query={"S3Key": "a.jpg"}),
    call("url: unknown job", "GET url", MISSING, UNKNOWN, query={"JobId": UNKNOWN, "S3Key": "a.jpg"}),
    call("url: a path for a job", "GET url", MISSING, "no job '../../x'", query={"JobId": "../../x", "S3Key": "a.jpg"}),
    call(
        "url: a job id of 3,000 characters",
        "GET url",
        MISSING,
        "no job 'xxx",
        query={"JobId": "x" * 3000, "S3Key": "a.jpg"},
    ),
    call(
        "url: a name that is uploaded",
        "GET url",
        CONFLICT,
        "already uploaded for the job. Upload it under another name.",
        query={"JobId": NEW, "S3Key": "jane-doe.jpg"},
    ),
    call(
        "url: a photo while the job waits for labels",
        "GET url",
        CONFLICT,
        "it accepts only labels files, no photos",
        query={"JobId": WAITING, "S3Key": "a.jpg"},
    ),
    call(
        "url: for a failed job",
        "GET url",
        CONFLICT,
        "The job is Failed: it accepts no more files. Create a new job for new photos.",
        query={"JobId": FAILED, "S3Key": "a.jpg"},
    ),
    call(
        "url: for an erased job", "GET url", CONFLICT, "The job was erased", query={"JobId": ERASED, "S3Key": "a.jpg"}
    ),
    call("url: wrong method", "DELETE url", NO_ROUTE, "No such call"),
    # start
    call("start: no job", "POST start", BAD, "Missing required request parameters: [JobId]"),
    start("unknown job", None, MISSING, UNKNOWN, job=UNKNOWN),
    start("not JSON", b"{"),
    start("not JSON, said to be text", b"{", content_type="text/plain"),
    start("not UTF-8", b'{"minF1": "\xff"}'),
    start("not UTF-8, said to be text", b"\xff", content_type="text/plain"),
    start("nested 100,000 deep", b"[" * 100_000),
    start("NaN", b'{"minF1": NaN}'),
    start("a number of 5,000 digits", b'{"minF1": ' + b"9" * 5000 + b"}"),
    start("a list", [], words="The body must be a JSON object."),
    start("null", b"null", words="The body must be a JSON object."),
    start("an unknown field", {"minf1": 0.5}, words="The body has the unknown field 'minf1'"),
    start(
        "an unknown field, said to be text",
        b'{"minf1": 0.5}',
        words="The body has the unknown field 'minf1'",
        content_type="text/plain",
    ),
    start("minF1 in quotes", {"minF1": "0.5"}, words="minF1 must be a number from 0 to 1."),
    start("minF1 true", {"minF1": True}, words="minF1 must be a number from 0 to 1."),
    start("minF1 above 1", {"minF1": 1.01}, words="minF1 must be a number from 0 to 1."),
    start("minF1 of infinity", b'{"minF1": 1e400}', words="minF1 must be a number from 0 to 1."),
    start("minLabelF1 below 0", {"minLabelF1": -0.1}, words="minLabelF1 must be a number from 0 to 1."),
    start("maxF1Drop null", {"maxF1Drop": None}, words="maxF1Drop must be a number from 0 to 1."),
    start("deploy in words", {"deploy": "yes"}, words="deploy must be true or false."),
    start("stopPreviousModel a number", {"stopPreviousModel": 1}, words="stopPreviousModel must be true or false."),
    start("no document type", {"documentTypes": []}, words="documentTypes must be a list of 1 to 50 different names"),
    start(
        "a document type twice",
        {"documentTypes": ["a", "a"]},
        words="documentTypes must be a list of 1 to 50 different names",
    ),
    start(
        "a document type of blanks",
        {"documentTypes": [" "]},
        words="documentTypes: ' ' cannot be a document type",
    ),
    start("a document type with a NUL", {"documentTypes": ["a\0"]}, words="documentTypes: 'a\\x00' cannot be"),
    start(
        "51 document types",
        {"documentTypes": [str(number) for number in range(51)]},
        words="documentTypes must be a list of 1 to 50 different names",
    ),
    start("a document type of 256 characters", {"documentTypes": ["x" * 256]}, words="cannot be a document type"),
    start("labels in words", {"labels": "supplied"}, words="labels must be an object, such as"),
    start(
        "an unknown provider",
        {"labels": {"provider": "me"}},
        words="labels.provider must be 'page', 'ground-truth' or 'supplied'.",
    ),
    start("labels with an unknown field", {"labels": {"token": "x"}}, words="labels has the unknown field 'token'"),
    start(
        "labels of Ground Truth with a key",
        {"labels": {"provider": "ground-truth", "key": "a.json"}},
        words="is allowed with the provider 'supplied'",
    ),
    start("labels that are a photo", {"labels": {**SUPPLIED, "key": "a.jpg"}}, words="it ends in one of .json"),
    start("labels in a folder above", {"labels": {**SUPPLIED, "key": "../a.json"}}, words="must be a plain name"),
    start("labels that are not uploaded", {"labels": {**SUPPLIED, "key": "a.json"}}, UNMET, "'a.json' is not uploaded"),
    start("a body of 3 MB", b'{"deploy": true}' + b" " * (3 * MB), LARGE, "more than 2097152 bytes"),
    start("a body of 11 MB", b" " * (11 * MB), LARGE, "The call is too large"),
    start("no photo", None, UNMET, "The job has no photos. Upload photos, then start it.", job="{empty}"),
    start("started before", None, CONFLICT, "is already started; it is WaitingForLabelling", job=WAITING),
    start(
        "failed before", {}, CONFLICT, "is already started; it is Failed. Resume it, or create a new job.", job=FAILED
    ),
    start("erased", {}, CONFLICT, "The job was erased: its photos and labels are gone. Create a new job.", job=ERASED),
    call("start: wrong method", "GET start", NO_ROUTE, "No such call", query={"JobId": NEW}),
    # list
    call("list: no page", "GET list", BAD, "limit must be a whole number from 1 to 100", query={"limit": "0"}),
    call("list: a page of 101", "GET list", BAD, "limit must be a whole number from 1 to 100", query={"limit": "101"}),
    call("list: a negative page", "GET list", BAD, "limit must be", query={"limit": "-1"}),
    call("list: a page in words", "GET list", BAD, "limit must be", query={"limit": "ten"}),
    call("list: a page of 5,000 digits", "GET list", BAD, "limit must be", query={"limit": "1" * 5000}),
    call("list: a superscript", "GET list", BAD, "limit must be", query={"limit": "¹"}),
    call(
        "list: a made-up token",
        "GET list",
        BAD,
        "nextToken: The page token was not returned by a list",
        query={"nextToken": "made-up"},
    ),
    call("list: wrong method", "POST list", NO_ROUTE, "No such call"),
    # a job
    call("job: unknown", f"GET jobs/{UNKNOWN}", MISSING, UNKNOWN),
    call("job: no id", "GET jobs/x", MISSING, "There is no job 'x'"),
    call("job: an id of 3,000 characters", f"GET jobs/{'x' * 3000}", MISSING, "There is no job 'xxx"),
    call("job: a path for an id", "GET jobs/..%2F..%2Fx", MISSING, "There is no job"),
    call("job: wrong method", f"PUT jobs/{NEW}", NO_ROUTE, "No such call"),
    # erase
    call("erase: unknown", f"DELETE jobs/{UNKNOWN}", MISSING, UNKNOWN),
    call("erase: without a signature", f"DELETE jobs/{FAILED}", "403 unknown-caller", "Sign the request", signed=False),
    call("erase: running", f"DELETE jobs/{WAITING}", CONFLICT, "The job is running. Stop it first, then erase it."),
    # urls
    urls("unknown job", A_GOOD_NAME, MISSING, UNKNOWN, job=UNKNOWN),
    urls("nothing said", None),
    urls("not JSON", b"{"),
    urls("not JSON, said to be text", b"names=a.jpg", content_type="text/plain"),
    urls("no name", {"names": []}, words="names must be a list of 1 to 1000 file names."),
    urls("a name and no list", {"names": "a.jpg"}),
    urls("an object for a list", {"names": {"a.jpg": 1}}),
    urls("null for a name", {"names": [None]}),
    urls("an empty name", {"names": [""]}, words="A file name must not be empty."),
    urls("half a character", b'{"names": ["a\\ud800.jpg"]}', words=CONTROL),
    urls("a name twice", {"names": ["a.jpg", "b.jpg", "a.jpg"]}, words="'a.jpg' is in the list twice"),
    urls(
        "a name twice, said to be text",
        b'{"names": ["a.jpg", "a.jpg"]}',
        words="'a.jpg' is in the list twice",
        content_type="text/plain",
    ),
    urls("1,001 names", {"names": [f"{number}.jpg" for number in range(1001)]}),
    urls(
        "1,000 names of 888 bytes",
        json.dumps({"names": [f"{number:04}{'📷' * 220}.jpg" for number in range(1000)]}, ensure_ascii=False).encode(),
        "413 answer-too-large",
        "Ask for fewer names at a time.",
    ),
    urls("an unknown field", {**A_GOOD_NAME, "expires": 9}),
    urls("a name of 3 MB", {"names": ["a" * (3 * MB)]}),
    urls("a body of 11 MB", b" " * (11 * MB), LARGE, "The call is too large"),
    urls(
        "photos while the job waits for labels",
        {"names": ["a.json", "b.jpg"]},
        CONFLICT,
        "it accepts only labels files",
        job=WAITING,
    ),
    urls("failed", A_GOOD_NAME, CONFLICT, "The job is Failed: it accepts no more files", job=FAILED),
    urls("erased", A_GOOD_NAME, CONFLICT, "The job was erased", job=ERASED),
    call("urls: wrong method", f"GET jobs/{NEW}/urls", NO_ROUTE, "No such call"),
    # labels
    labels("unknown job", {"key": "a.json"}, MISSING, UNKNOWN, job=UNKNOWN),
    labels("nothing said", None),
    labels("not JSON", b"a.json"),
    labels("a number", {"key": 3}),
    labels("a photo", {"key": "jane-doe.jpg"}, words="it ends in one of .json .jsonl .manifest"),
    labels("in a folder above", {"key": "../a.json"}, words="must be a plain name"),
    labels("a name of 256 characters", {"key": "a" * 251 + ".json"}),
    labels("an unknown field", {"key": "a.json", "bucket": "mine"}),
    labels("not uploaded", {"key": "jane-doe.json"}, UNMET, "'jane-doe.json' is not uploaded"),
    labels("a body of 11 MB", b" " * (11 * MB), LARGE, "The call is too large"),
    labels("not started", {"key": "a.json"}, CONFLICT, "does not wait for supplied labels; it is Created", job=NEW),
    labels("failed", {"key": "a.json"}, CONFLICT, "does not wait for supplied labels; it is Failed", job=FAILED),
    labels("erased", {"key": "a.json"}, CONFLICT, "The job was erased", job=ERASED),
    call("labels: wrong method", f"PUT jobs/{WAITING}/labels", NO_ROUTE, "No such call"),
    # stop and resume
    call("stop: unknown job", f"POST jobs/{UNKNOWN}/stop", MISSING, UNKNOWN),
    call("stop: never started", f"POST jobs/{NEW}/stop", CONFLICT, "The job was never started."),
    call("stop: wrong method", f"GET jobs/{WAITING}/stop", NO_ROUTE, "No such call"),
    call("stop: a body of 11 MB", f"POST jobs/{WAITING}/stop", LARGE, "The call is too large", body=b" " * (11 * MB)),
    call("resume: unknown job", f"POST jobs/{UNKNOWN}/resume", MISSING, UNKNOWN),
    call("resume: never started", f"POST jobs/{NEW}/resume", CONFLICT, "The job was never started. Start it instead."),
    call("resume: running", f"POST jobs/{WAITING}/resume", CONFLICT, "The job is running."),
    call("resume: erased", f"POST jobs/{ERASED}/resume", CONFLICT, "The job was erased"),
    call("resume: wrong method", f"DELETE jobs/{FAILED}/resume", NO_ROUTE, "No such call"),
    # the rest
    call("model: wrong method", "DELETE model", NO_ROUTE, "No such call"),
    call("description: wrong method", "POST openapi.json", NO_ROUTE, "No such call"),
    call("no such call", "GET nothing/here", NO_ROUTE, "GET /api/training/openapi.json lists the calls"),
    call("a call of many parts", "POST jobs/a/b/c", NO_ROUTE, "No such call"),
]

CASES: list[Case] = [
    *PHOTOS,
    *WHOLE_UPLOADS,
    *NAMES,
    *LINES,
    *WHOLE_MANIFESTS,
    *LABELS_FILES,
    *CALLS,
]
