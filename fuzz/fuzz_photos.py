"""Fuzzes the decoder of photos, with any bytes as an upload that Check photos decodes.

python fuzz/fuzz_photos.py build/fuzz/photos -max_total_time=60
"""

import io
import sys
from pathlib import Path

import atheris

sys.path[:0] = [str(Path(__file__).parents[1]), str(Path(__file__).parents[1] / "lambdas")]

with atheris.instrument_imports(include=["pipeline", "rules", "PIL"]):
    from PIL import Image

    from pipeline.photos.decoding import look
    from rules.photos import CODES


def any_photo(content: bytes) -> None:
    """Decode the photo. It must be accepted or rejected with a code. A copy must have the size and no metadata."""
    figures, copy, _ = look(content)
    if "code" in figures:
        assert figures["code"] in CODES
        return
    if copy:
        picture = Image.open(io.BytesIO(copy))
        picture.load()
        assert picture.size == (figures["width"], figures["height"])
        assert not picture.getexif()


if __name__ == "__main__":
    atheris.Setup(sys.argv, any_photo)
    atheris.Fuzz()
