"""Manifests: reading any bytes as lines, judging a labelled line, cutting boxes, and writing."""

import hashlib
import io
import json
import tracemalloc
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.manifests import ManifestReader, ManifestWriter, Photo, photo_line, read_photos
from rules.lines import (
    MAX_LINE_CHARS,
    Box,
    Labelled,
    Unusable,
    clamp,
    decode,
    line_end,
    line_start,
    parse,
    read_lines,
)
from tests.bad_input.cases import BOX, LINE, changed
from tests.unit.photo_jobs import Bucket, s3_in_moto


@pytest.fixture(scope="module")
def s3() -> Iterator[Any]:
    with s3_in_moto() as client:
        yield client


@pytest.fixture
def bucket(s3: Any) -> Bucket:
    return Bucket(s3)


class Dripping(io.BytesIO):
    """A stream that gives at most ``size`` bytes a read, as a network does."""

    def __init__(self, data: bytes, size: int) -> None:
        super().__init__(data)
        self._size = size

    def read(self, amount: int | None = -1, /) -> bytes:
        return super().read(min(self._size, amount or self._size))


def codes(lines: Iterator[tuple[int, str | Unusable]]) -> list[str]:
    return [text.code if isinstance(text, Unusable) else text for _, text in lines]


@given(st.lists(st.text(st.characters(exclude_characters="\n\r", codec="utf-8"), min_size=1)), st.integers(1, 9))
@settings(max_examples=60, deadline=None)
def test_every_line_is_read_as_it_was_written(texts: list[str], size: int) -> None:
    # Given lines of any text, with either line end, that arrive in pieces of any size
    for end in ("\n", "\r\n"):
        data = "".join(text + end for text in texts).encode()
        # When read; Then each comes back with its number, blank ones as such
        expected = [
            (number, Unusable("Blank", "the line is blank") if text.isspace() else text)
            for number, text in enumerate(texts, 1)
        ]
        if not data.startswith(b"\xef\xbb\xbf"):
            assert list(read_lines(Dripping(data, size))) == expected


@given(st.binary(max_size=300), st.integers(1, 50))
@settings(max_examples=60, deadline=None)
def test_any_bytes_can_be_read(data: bytes, size: int) -> None:
    # Given bytes of any kind; When read; Then there are as many lines as a text editor counts, and nothing is raised
    lines = list(read_lines(Dripping(data, size)))
    assert len(lines) == data.count(b"\n") + (not data.endswith(b"\n") and bool(data))


def test_odd_lines_are_named() -> None:
    # Given a byte order mark, a blank line, a line that is not UTF-8, and a last line without an end
    data = b"\xef\xbb\xbffirst\n\n \r\n\xff\xfe\nlast"
    # Then each bad line is reported, and the good ones are read
    assert codes(read_lines(io.BytesIO(data))) == ["first", "Blank", "Blank", "NotUtf8", "last"]


def test_a_line_may_have_100_000_characters_and_no_more() -> None:
    # Given lines at the limit, one of them of four bytes a character, and above it
    longest, wide = "x" * MAX_LINE_CHARS, "🪪" * MAX_LINE_CHARS
    data = f"{longest}\n{wide}\r\n{longest}x\n{wide}x\nnext\n".encode()
    # Then those above are dropped and reading goes on
    assert codes(read_lines(io.BytesIO(data))) == [longest, wide, "TooLong", "TooLong", "next"]


def test_an_endless_line_takes_no_memory() -> None:
    # Given 300 MB without a line end, then two lines
    class Endless:
        def __init__(self) -> None:
            self.pieces = iter([*[bytes(1024 * 1024)] * 300, b"end\nnext\n"])

        def read(self, _amount: int, /) -> bytes:
            return next(self.pieces, b"")

    tracemalloc.start()
    # When read; Then it is one line that is too long, and at no time more than a few pieces are held
    assert codes(read_lines(Endless())) == ["TooLong", "next"]
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 8 * 1024 * 1024


def test_a_ground_truth_line_is_read_by_its_own_class_map() -> None:
    # Given AWS's own sample line; When read; Then the types are those of its class map
    assert parse(LINE, "doctype") == Labelled(
        source_ref="s3://bucket/images/1.jpg",
        width=500,
        height=400,
        depth=3,
        boxes=[Box("ID_KTP", 111, 134, 61, 128, 0.8), Box("KH_IC", 0, 0, 30, 30, 0.0)],
        human_annotated="yes",
        creation_date="2018-10-18T22:18:13.527256",
        job_name="labeling-job/BB",
    )


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
PATHS = [
    *LINE,
    *(f"doctype/{key}" for key in LINE["doctype"]),
    *(f"doctype-metadata/{key}" for key in LINE["doctype-metadata"]),
    *(f"{BOX}/{key}" for key in LINE["doctype"]["annotations"][0]),
    "doctype/image_size/0",
    "doctype-metadata/objects/0",
    BOX,
]


@given(st.sampled_from(PATHS), JSON)
@settings(max_examples=200, deadline=None)
def test_any_json_anywhere_in_a_line_is_either_read_or_dropped(path: str, value: Any) -> None:
    assert isinstance(parse(changed(path, value), "doctype"), Labelled | Unusable)


# Beyond 64 bits the quick reader makes a float of an integer; no field of a line takes either.
WHOLE = st.integers(-(2**63), 2**64 - 1)
OBJECTS = st.dictionaries(st.text(max_size=5), st.none() | st.booleans() | WHOLE | st.floats() | st.text(), max_size=4)


@given(OBJECTS)
def test_a_line_is_read_as_pythons_own_reader_reads_it(document: dict[str, Any]) -> None:
    # Given any line of JSON, NaN and infinities included, which Python's reader takes and the quick one refuses
    line = json.dumps(document)
    # When it is decoded / Then nothing is lost or changed
    assert repr(decode(line)) == repr(json.loads(line))


@pytest.mark.parametrize("line", ['{"a": NaN}', '{"a": "\\ud800"}', '{"a": 1e999}'])
def test_what_only_pythons_reader_takes_is_read_too(line: str) -> None:
    assert repr(decode(line)) == repr(json.loads(line))


FRAMES = st.tuples(*[st.one_of(st.integers(-5000, 5000), st.floats(-5000, 5000))] * 4)


@given(FRAMES, st.integers(64, 4096), st.integers(64, 4096))
def test_a_clamped_box_is_inside_the_photo_and_large_enough(frame: Any, width: int, height: int) -> None:
    # Given any box and any photo; When clamped
    box = clamp(Box._make(("ID_KTP", *frame, 1)), width, height)
    # Then what is left satisfies Rekognition
    if isinstance(box, Box):
        assert all(isinstance(value, int) for value in box[1:5])
        assert box.left >= 0
        assert box.top >= 0
        assert box.left + box.width <= width
        assert box.top + box.height <= height
        scale = min(1.0, 1280 / max(width, height))
        assert min(box.width, box.height) * scale > 1


@pytest.mark.parametrize(
    ("frame", "size", "left"),
    [
        ((10, 20, 30, 40), (100, 100), (10, 20, 30, 40)),
        ((-5, -5, 30, 40), (100, 100), (0, 0, 25, 35)),
        ((90, 90, 30, 40), (100, 100), (90, 90, 10, 10)),
        ((10.4, 10.6, 20.2, 20.2), (100, 100), (10, 11, 21, 20)),
        ((100, 0, 30, 40), (100, 100), "BoxOutside"),
        ((50, 50, -30, 40), (100, 100), "BoxOutside"),
        ((50, 50, 1, 40), (100, 100), "BoxTooSmall"),
        ((50, 50, 2, 2), (1280, 100), (50, 50, 2, 2)),
        ((50, 50, 3, 40), (4096, 100), "BoxTooSmall"),
        ((50, 50, 4, 40), (4096, 100), (50, 50, 4, 40)),
    ],
)
def test_boxes_are_cut_at_the_frame(frame: Any, size: tuple[int, int], left: Any) -> None:
    clamped = clamp(Box._make(("ID_KTP", *frame, 1)), *size)
    assert (clamped.code if isinstance(clamped, Unusable) else clamped[1:5]) == left


@given(st.text(min_size=1), st.text(), st.text(min_size=1))
def test_a_written_line_is_read_back(name: str, job_name: str, label: str) -> None:
    # Given names with any character
    labelled = Labelled(
        f"s3://bucket/{name}"[:1000], 500, 400, 3, [Box(label[:255], 1, 2, 30, 40, 0.5)], "no", "2026-01-01", job_name
    )
    # When written and read; Then nothing is lost
    line = line_start(labelled, labelled.boxes, {label[:255]: 7}) + line_end({"7": label[:255]})
    document = decode(line)
    assert isinstance(document, dict)
    assert parse(document, "doctype") == labelled


def test_photos_are_written_and_read_back(bucket: Bucket) -> None:
    photos = [
        Photo('s3://bucket/ä "1".jpg', "abc", 640, 480, "e1", 1_000, 3.25, 0.5),
        Photo("s3://b/2.jpg", "def", 64, 4096, "e2", 2_000, 0.0, 1.0, 6, 17),
    ]
    uri = bucket.put("input.manifest", "".join(photo_line(photo) + "\n" for photo in photos))
    assert list(read_photos(ManifestReader(uri))) == photos


def test_a_manifest_of_many_parts_is_written_whole(bucket: Bucket) -> None:
    # Given more lines than boto3 sends in one part by itself
    lines = [f'{{"line":{number},"text":"{"x" * 9000}"}}' for number in range(1000)]
    # When written
    with ManifestWriter(bucket.name, "big.manifest") as writer:
        for line in lines:
            writer.write(line)
    # Then S3 has them all, in order, and the hash is theirs
    assert [text for _, text in ManifestReader(writer.uri, writer.sha256)] == lines
    assert writer.sha256 == hashlib.sha256(bucket.read(writer.uri)).hexdigest()
    assert writer.count == 1000
    # And one PUT sent them, so that S3's time is that of the writing
    assert "-" not in bucket.s3.head_object(Bucket=bucket.name, Key="big.manifest")["ETag"]


def test_an_error_while_writing_leaves_the_old_object(bucket: Bucket) -> None:
    # Given a manifest that exists; When writing it anew fails half-way
    uri = bucket.put("a.manifest", "old\n")

    def write_half() -> None:
        with ManifestWriter(bucket.name, "a.manifest") as writer:
            writer.write("new")
            raise ValueError("half-way")

    with pytest.raises(ValueError, match="half-way"):
        write_half()
    # Then the old one is there, and no upload lingers
    assert bucket.read(uri) == b"old\n"
    assert "Uploads" not in bucket.s3.list_multipart_uploads(Bucket=bucket.name)
