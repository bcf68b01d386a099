"""What the command line reads of a photo before it asks a model."""

from pathlib import Path

import pytest
from PIL import ExifTags, Image

from ekyc.cli.detection import read_photo
from ekyc.cli.errors import CommandError


def test_a_photo_is_read_upright(tmp_path: Path) -> None:
    # Given a phone's photo: stored lying, its left edge red, with the note in EXIF to turn it by 90 degrees
    stored = Image.new("RGB", (64, 48), "white")
    stored.paste("red", (0, 0, 16, 48))
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    stored.save(tmp_path / "phone.jpg", exif=exif)
    # When it is read
    pixels = read_photo(tmp_path / "phone.jpg")
    # Then it stands upright, and the red edge is at its top
    assert pixels.shape == (64, 48, 3)
    blue, _, red = pixels[4, 24]
    assert (red > 200, blue < 60) == (True, True)
    assert pixels[60, 24].min() > 200


@pytest.mark.parametrize("content", [b"", b"no photo"])
def test_what_is_no_photo_is_refused_in_words(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "x.jpg").write_bytes(content)
    with pytest.raises(CommandError, match="cannot be used"):
        read_photo(tmp_path / "x.jpg")
    with pytest.raises(CommandError, match="is not a file"):
        read_photo(tmp_path / "gone.jpg")
