"""The rules of photos: the command line and Check photos take and reject the same files, at a bounded cost."""

import io
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from ekyc.cli import photo_checks
from rules import photos
from tests.unit import photo_files as files
from tests.unit.photo_jobs import Bucket, s3_in_moto
from tests.unit.test_images import check, rejection

BIG = (700, 500)  # pixels of a picture that has more than its last 64 KB


@pytest.fixture(scope="module")
def s3() -> Iterator[Any]:
    with s3_in_moto() as client:
        yield client


def jpeg(**options: Any) -> bytes:
    return files.saved(files.grain(), "JPEG", **options)


def png(**options: Any) -> bytes:
    return files.saved(files.grain(), "PNG", **options)


def multi_picture(cut: Callable[[bytes, int], bytes], *size: int) -> bytes:
    """A JPEG of two pictures as ``cut`` leaves it, which gets the bytes and where the second picture begins."""
    return cut(*files.multi_picture(*size))


def without_index(content: bytes) -> bytes:
    return content.replace(b"MPF\0", b"XXX\0", 1)


def without_middle(content: bytes, second: int) -> bytes:
    """Without the last bytes of the first picture, though with the second."""
    return content[: second - 3000] + content[second:]


NOTES = files.segment(0xFE, bytes(65_000)) * 80
PREVIEW = b"Exif\0\0II*\0\x08\0\0\0\0\0" + jpeg()
FILM = b"\0\0\0\x18ftypmp42" + bytes(range(200)) * 2000
PALETTE = files.saved(files.grain().quantize(16), "PNG")

# Each kind of file, with the code by which it is rejected; "" is taken.
KINDS: dict[str, tuple[str, Callable[[], bytes]]] = {
    "two pictures": ("", lambda: multi_picture(lambda content, _: content)),
    "two pictures, cut off in the second": ("", lambda: multi_picture(lambda content, _: content[:-900])),
    "two pictures, cut off in the first": ("CutOff", lambda: multi_picture(lambda content, at: content[: at - 900])),
    "two pictures, the second is gone": ("", lambda: multi_picture(lambda content, at: content[:at])),
    "two pictures, the first lacks its end": ("CutOff", lambda: multi_picture(without_middle)),
    "two large pictures": ("", lambda: multi_picture(lambda content, _: content, *BIG)),
    "two large pictures, cut off in the first": (
        "CutOff",
        lambda: multi_picture(lambda content, at: content[: at - 9000], *BIG),
    ),
    "two large pictures, the first lacks its end": ("CutOff", lambda: multi_picture(without_middle, *BIG)),
    "two pictures without an index, the first lacks its end": (
        "CutOff",
        lambda: without_index(multi_picture(without_middle)),
    ),
    "a film behind it": ("", lambda: jpeg() + FILM),
    "a film behind it, and its end in it": ("CutOff", lambda: jpeg()[:-900] + b"\xff\xd8" + FILM + b"\xff\xd9"),
    "a preview in EXIF": ("", lambda: jpeg(exif=PREVIEW)),
    "a preview in EXIF, cut off": ("CutOff", lambda: jpeg(exif=PREVIEW)[:-900]),
    "5 MB of notes": ("", lambda: files.jpeg_with(NOTES)),
    "5 MB of notes, cut off": ("CutOff", lambda: files.jpeg_with(NOTES)[:-900]),
    "5 MB of notes, no pixels": ("Unreadable", lambda: files.jpeg_with(NOTES)[: len(NOTES)]),
    "padding between segments": ("", lambda: files.jpeg_with(b"\xff" * 500 + b"\0 junk \xff\0")),
    "a second photo in its header": ("CutOff", lambda: files.jpeg_with(b"\xff\xd8")),
    "progressive": ("", lambda: jpeg(progressive=True)),
    "progressive, cut off": ("CutOff", lambda: jpeg(progressive=True)[:-900]),
    "CMYK": ("", lambda: files.saved(files.grain().convert("CMYK"), "JPEG")),
    "restart markers": ("", lambda: jpeg(restart_marker_blocks=1)),
    "no quantisation tables": ("Unreadable", lambda: jpeg().replace(b"\xff\xdb", b"\xff\xfe")),
    "12 bits a colour": ("Unreadable", lambda: jpeg().replace(b"\xff\xc0\0\x11\x08", b"\xff\xc0\0\x11\x0c")),
    "a JPEG with bytes behind its end": ("", lambda: jpeg() + bytes(100_000)),
    "a colour profile of 1.2 MB": ("", lambda: files.png_with(files.png_profile(1_200_000))),
    "a colour profile of 16 MB": ("TooCostly", lambda: files.png_with(files.png_profile(16 * files.MB))),
    "a damaged colour profile": ("", lambda: files.png_with(files.chunk(b"iCCP", b"x\0\0no stream"))),
    "5 MB of plain text": ("", lambda: files.png_with(files.chunk(b"tEXt", b"a\0" + bytes(5 * files.MB)))),
    "5 MB of packed text": ("", lambda: files.png_with(files.chunk(b"zTXt", b"a\0\0" + zlib.compress(NOTES)))),
    "a text with a wrong checksum": ("", lambda: files.png_with(files.chunk(b"tEXt", b"a\0b", damaged=True))),
    "a size with a wrong checksum": ("Unreadable", lambda: png()[:29] + b"wron" + png()[33:]),
    "an end with a wrong checksum": ("", lambda: png()[:-4] + b"wron"),
    "no end": ("CutOff", lambda: png()[: -files.PNG_END]),
    "half an end": ("CutOff", lambda: png()[:-2]),
    "cut off in its pixels": ("CutOff", lambda: png()[:-900]),
    "pixels missing before its end": ("CutOff", lambda: png()[:-900] + png()[-files.PNG_END :]),
    "the word of its end in a text": ("CutOff", lambda: png()[:-900] + b"IEND"),
    "an unknown chunk to know": ("Unreadable", lambda: files.png_with(files.chunk(b"CgBI", b"x"))),
    "no palette": ("Unreadable", lambda: PALETTE.replace(b"PLTE", b"pLTE")),
    "a palette": ("", lambda: PALETTE),
    "animated": ("", lambda: files.saved(files.grain(), "PNG", save_all=True, append_images=[files.grain(seed=2)])),
    "interlaced": ("", lambda: files.png(96, 96, bytes(96 * 96 * 4), interlaced=1)),
    "16 bits": ("", lambda: files.png(96, 96, (b"\0" + bytes(96 * 8)) * 96, bits=16, colour=6)),
    "a PNG with bytes behind its end": ("", lambda: png() + bytes(100_000)),
}


def as_phone_photo(content: bytes) -> bytes:
    """The same with the note to turn it as its first note."""
    if content.startswith(photos.PNG_START):
        return files.png_with(files.png_orientation(6), of=content)
    return files.jpeg_with(files.segment(0xE1, files.exif(6).tobytes()), of=content)


@pytest.mark.parametrize("turned", [False, True], ids=["upright", "to turn"])
@pytest.mark.parametrize("kind", KINDS)
def test_command_line_and_job_agree_on_photos(s3: Any, tmp_path: Path, kind: str, turned: bool) -> None:
    # Given a file of some kind, as it is and as a phone held sideways writes it
    code, make = KINDS[kind]
    content = as_phone_photo(make()) if turned else make()
    (tmp_path / "photo.jpg").write_bytes(content)
    # When the command line looks at it, and the state Check photos
    before = photo_checks.check_photo(tmp_path / "photo.jpg")
    after = rejection(Bucket(s3), content)
    # Then both take it, or reject it in the same words
    assert after[0] == code
    assert (getattr(before, "code", ""), getattr(before, "reason", "")) == after


def test_a_large_photo_is_checked_with_few_requests() -> None:
    # Given large photos: a plain one, one with a second picture behind it, one whose header is behind 5 MB of notes
    plain = files.saved(files.grain(1500, 1000), "JPEG")
    two, _ = files.multi_picture(1500, 1000)
    noted = files.jpeg_with(NOTES, of=plain)
    # When checked, then a plain photo needs requests for its beginning and end only, the others one or two more
    for content, requests, most in ((plain, 2, 80 * 1024), (two, 2, 82 * 1024), (noted, 4, 6 * files.MB)):
        ranges: list[tuple[int, int]] = []

        def read(start: int, stop: int, content: bytes = content, ranges: list[tuple[int, int]] = ranges) -> bytes:
            ranges.append((start, stop))
            return content[start:stop]

        seen = photos.look(len(content), read)
        assert isinstance(seen, photos.Seen)
        assert len(ranges) <= requests
        assert sum(stop - start for start, stop in ranges) <= most
        assert all(0 <= start < stop <= len(content) for start, stop in ranges)


def test_a_bomb_is_rejected_and_the_others_go_on(s3: Any) -> None:
    # Given a PNG whose text takes 64 MB when unpacked, among good photos
    bucket = Bucket(s3)
    bucket.put_photo("a.jpg", jpeg())
    bucket.put_photo("bomb.png", files.text_bomb())
    bucket.put_photo("c.png", png())
    # When checked
    checked = check(bucket)
    # Then it is rejected by its name and its own code, and the others are taken
    [line] = bucket.lines(checked.rejected_list)
    assert (line["source-ref"].rpartition("/")[2], line["code"]) == ("bomb.png", "TooCostly")
    assert checked.accepted == 2


def test_a_large_colour_profile_is_not_in_the_copy(s3: Any) -> None:
    # Given a phone's PNG with a colour profile of 1.2 MB
    bucket = Bucket(s3)
    profile = files.png_profile(1_200_000)
    bucket.put_photo("phone.png", files.png_with(profile, files.png_orientation(6)))
    # When it is turned
    [line] = bucket.lines(check(bucket).manifest)
    # Then the copy has no profile, and its pixels are those of the original
    shown = Image.open(io.BytesIO(bucket.read(line["source-ref"])))
    assert "icc_profile" not in shown.info
    assert shown.tobytes() == files.grain().transpose(Image.Transpose.ROTATE_270).tobytes()
