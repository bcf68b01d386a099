"""Fuzzes the reader of photos, with any bytes as an upload that Check images measures and rotates.

python fuzz/fuzz_photos.py build/fuzz/photos -max_total_time=60
"""

import io
import sys
from pathlib import Path

import atheris

sys.path[:0] = [str(Path(__file__).parents[1]), str(Path(__file__).parents[1] / "lambdas")]

with atheris.instrument_imports(include=["pipeline", "rules", "PIL"]):
    from PIL import Image

    from pipeline import images
    from pipeline.clients import clients

from fuzz.files import BUCKET, JOB, Objects  # noqa: E402 - needs the path above


def any_photo(content: bytes) -> None:
    """Check the photo. It must be accepted or rejected with a reason. A rotated copy must have the manifest's size."""
    s3 = Objects({f"images/{JOB}/a.jpg": content})
    clients.s3 = s3
    checked = images.check(
        images.CheckImages(JOB), bucket=BUCKET, min_images=0, max_rejected_share=1, seconds_left=lambda: 900.0
    )
    rejected = s3.json_lines(f"manifests/{JOB}/rejected.jsonl")
    assert checked.accepted + len(rejected) == 1
    if checked.turned:
        [photo] = s3.json_lines(f"manifests/{JOB}/input.manifest")
        copy = Image.open(io.BytesIO(s3[f"upright/{JOB}/a.jpg"]))
        copy.load()
        assert copy.size == (photo["image-size"]["width"], photo["image-size"]["height"])
        assert not copy.getexif()


if __name__ == "__main__":
    atheris.Setup(sys.argv, any_photo)
    atheris.Fuzz()
