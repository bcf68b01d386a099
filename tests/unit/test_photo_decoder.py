"""Decoding photos in a child process: what it returns, what it rejects, and what a bomb costs."""

import io
import re
import signal
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageFilter

from pipeline.photos import GREY_SIDE, decoder, decoding
from pipeline.photos.decoder import Decoded, Decoder
from rules.photos import Rejection
from tests.unit import photo_files as files
from tests.unit.test_images import STORED, difference, scene
from tests.unit.test_photo_rules import KINDS


@pytest.fixture(scope="module")
def process() -> Iterator[Decoder]:
    with Decoder() as one:
        yield one


def shown(photo: Decoded | Rejection, content: bytes) -> Image.Image:
    """The photo as people see it."""
    assert isinstance(photo, Decoded)
    return Image.open(io.BytesIO(photo.copy or content))


@pytest.mark.parametrize("kind", KINDS)
def test_decoding_agrees_with_the_check_of_the_header(process: Decoder, kind: str) -> None:
    # Given a file, and the code of its rejection by its header
    code, make = KINDS[kind]
    # When the photo is decoded
    photo = process.decode(make())
    # Then it is accepted or rejected in the same way
    assert getattr(photo, "code", "") == code


@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_photos_are_shown_upright_and_without_exif(process: Decoder, kind: str, orientation: int) -> None:
    # Given a scene as a phone stores it, held in some way
    stored = scene().transpose(STORED[orientation]) if orientation in STORED else scene()
    content = files.saved(stored, kind, exif=files.exif(orientation))
    # When it is decoded
    photo = process.decode(content)
    # Then people see the scene, and no viewer turns it again
    picture = shown(photo, content)
    assert difference(picture.convert("RGB"), scene()) < 3
    assert not picture.getexif()
    # And its figures do not depend on the orientation
    upright = process.decode(files.saved(scene(), kind))
    assert isinstance(photo, Decoded)
    assert isinstance(upright, Decoded)
    assert (photo.width, photo.height, photo.orientation) == (160, 96, orientation)
    assert photo.media_type == f"image/{kind.lower()}"
    assert photo.sharpness == pytest.approx(upright.sharpness, abs=0.3)
    assert photo.brightness == pytest.approx(upright.brightness, abs=0.01)
    assert difference(grey(photo), grey(upright)) < 3


def grey(photo: Decoded | Rejection) -> Image.Image:
    assert isinstance(photo, Decoded)
    return Image.open(io.BytesIO(photo.grey)).convert("RGB")


def test_a_photo_without_metadata_has_no_copy(process: Decoder) -> None:
    assert isinstance(photo := process.decode(files.saved(scene(), "JPEG")), Decoded)
    assert photo.copy is None
    assert Image.open(io.BytesIO(photo.grey)).size == (GREY_SIDE, GREY_SIDE)


def test_a_large_jpeg_is_read_to_its_end(process: Decoder) -> None:
    # Given a large JPEG, which is decoded at a reduced size, without some bytes before its end marker
    whole = files.saved(files.grain(2100, 1600), "JPEG")
    cut = whole[:-5000] + whole[-2:]
    # When it is decoded
    assert isinstance(process.decode(whole), Decoded)
    # Then the result is that of decoding all pixels
    assert isinstance(process.decode(cut), Decoded) == can_be_read(cut)


def can_be_read(content: bytes) -> bool:
    try:
        Image.open(io.BytesIO(content)).load()
    except OSError:
        return False
    return True


def test_broken_pixels_are_rejected(process: Decoder) -> None:
    # Given a PNG with intact chunks and overwritten pixels
    content = bytearray(files.saved(files.grain(), "PNG"))
    content[9000:9300] = bytes(300)
    # When it is decoded; Then it is rejected
    assert process.decode(bytes(content)) == Rejection("Unreadable", "the pixels are broken or cut off")


@pytest.mark.parametrize("mode", ["1", "L", "P", "LA", "RGBA", "I;16"])
def test_colours_of_all_kinds_have_the_same_figures(process: Decoder, mode: str) -> None:
    # Given a PNG in grey, as each kind of PNG stores it
    plain = scene().convert("L")
    deep = Image.fromarray(np.asarray(plain).astype(np.uint16) * 257)
    picture = deep if mode == "I;16" else plain.convert("L" if mode == "1" else mode)
    # When it is decoded
    photo, same = process.decode(files.saved(picture, "PNG")), process.decode(files.saved(plain, "PNG"))
    # Then brightness and sharpness are those of the 8-bit grey photo
    assert isinstance(photo, Decoded)
    assert isinstance(same, Decoded)
    assert photo.brightness == pytest.approx(same.brightness, abs=0.01)
    assert photo.sharpness == pytest.approx(same.sharpness, rel=0.05)


def test_sharpness_and_brightness_follow_the_photo(process: Decoder) -> None:
    # Given one scene sharp, blurred, and with half the light
    sharp = files.grain(800, 600).resize((1600, 1200), Image.Resampling.BICUBIC)
    soft, dark = sharp.filter(ImageFilter.GaussianBlur(4)), sharp.point(lambda level: level / 2)
    # When they are decoded
    decoded = [process.decode(files.saved(photo, "JPEG", quality=90)) for photo in (sharp, soft, dark)]
    # Then the figures show it
    one, blurred, darker = (photo for photo in decoded if isinstance(photo, Decoded))
    assert blurred.sharpness < one.sharpness / 2
    assert blurred.brightness == pytest.approx(one.brightness, abs=0.01)
    assert darker.brightness == pytest.approx(one.brightness / 2, abs=0.01)


@pytest.mark.parametrize("bomb", files.BOMBS)
def test_a_bomb_is_decoded_or_rejected_within_the_limits(bomb: str) -> None:
    # Given a photo that would need gigabytes or hours
    content = files.BOMBS[bomb]()
    with Decoder() as process:
        # When it is decoded, and a good one after it
        photo = process.decode(content)
        good = process.decode(files.saved(scene(), "JPEG"))
        # Then it is accepted or rejected as too costly, and the good one is accepted
        assert isinstance(photo, Decoded) or photo.code == "TooCostly"
        assert isinstance(good, Decoded)


def test_a_process_that_dies_of_a_photo_is_replaced() -> None:
    # Given a process that has decoded a photo
    good, other = files.saved(scene(), "JPEG"), files.saved(scene(2), "JPEG")
    with Decoder() as process:
        expected = process.decode(good)
        # When the process is killed
        assert process._process
        process._process.send_signal(signal.SIGKILL)
        process._process.wait()
        # Then another process decodes the next photos with the same results
        assert process.decode(good) == expected
        assert isinstance(process.decode(other), Decoded)


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ("decoding.MEMORY = 64 * 2**20", decoder.TOO_LARGE),
        ("decoding.CPU_SECONDS = -1; decoding.look = lambda content: [0 for _ in iter(int, 1)]", decoder.TOO_SLOW),
        ("decoding.look = lambda content: os.abort()", decoder.FATAL),
    ],
)
def test_the_rejection_says_why_the_process_died(monkeypatch: pytest.MonkeyPatch, change: str, why: Rejection) -> None:
    # Given processes that have little memory, no time, or a decoder that crashes
    monkeypatch.setattr(
        decoder,
        "PROGRAM",
        f"""
import os, sys
sys.path[:] = sys.argv[2:]
from pipeline.photos import decoding
{change}
decoding.serve(int(sys.argv[1]))
""",
    )
    with Decoder() as process:
        # When a photo of 12 megapixels is to be turned, twice
        content = files.saved(files.grain(400, 300).resize((4000, 3000)), "JPEG", exif=files.exif(6))
        # Then each rejection has the reason
        assert process.decode(content) == why
        assert process.decode(content) == why


def test_the_process_ends_with_its_decoder() -> None:
    with Decoder() as process:
        process.decode(b"no photo")
        child = process._process
        assert child
        assert child.poll() is None
    assert child.poll() == 0


def test_the_process_has_no_credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    # Given a function with its role's credentials
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    # When it decodes a photo
    with Decoder() as process:
        assert isinstance(process.decode(files.saved(scene(), "JPEG")), Decoded)
        assert process._process
        environment = Path(f"/proc/{process._process.pid}/environ").read_bytes()
    # Then the process has one variable, with the folder of Python's library
    assert [variable.partition(b"=")[0] for variable in environment.split(b"\0")] == [b"LD_LIBRARY_PATH", b""]


def test_limits_hold_for_photos_of_phones() -> None:
    # Given a process that turned a photo of 12 megapixels
    content = files.saved(files.grain(400, 300).resize((4000, 3000)), "JPEG", exif=files.exif(6))
    with Decoder() as process:
        assert isinstance(process.decode(content), Decoded)
        assert process._process
        status = Path(f"/proc/{process._process.pid}/status").read_text()
    # Then it used at most two thirds of its memory
    [peak] = re.findall(r"VmPeak:\s+(\d+) kB", status)
    assert int(peak) * 1024 < decoding.MEMORY * 2 / 3
