"""Compares `ekyc upload` with sequential requests: files per second to the local S3, with photos of 200 kB."""

import io
import os
import subprocess
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory

import httpx
import numpy as np
from PIL import Image

from ekyc.localaws.server import LocalAws
from ekyc.localaws.synth import synthesize

PHOTOS, ONE_BY_ONE, BYTES = 1000, 100, 200_000


def draw(folder: Path, count: int) -> list[Path]:
    """Write ``count`` different JPEG photos of 200 kB: noise, then zeros after the image's end.

    Phones also write data there.
    """
    file = io.BytesIO()
    noise = np.random.default_rng(1).integers(0, 255, (360, 480, 3), np.uint8)
    Image.fromarray(noise).save(file, "JPEG", quality=80)
    paths = [folder / f"photo-{number:04}.jpg" for number in range(count)]
    for number, path in enumerate(paths):
        path.write_bytes(file.getvalue()[:BYTES].ljust(BYTES - 8, b"\0") + number.to_bytes(8, "big"))
    return paths


def one_request_at_a_time(http: httpx.Client, photos: list[Path]) -> float:
    """Seconds of a GET for the URL and a PUT for each photo, each on a new connection as with curl in a loop."""
    job_id = http.post("create").json()["id"]
    began = time.monotonic()
    for photo in photos:
        url = httpx.get(f"{http.base_url}url", params={"JobId": job_id, "S3Key": photo.name}).text
        httpx.put(url, content=photo.read_bytes()).raise_for_status()
    return time.monotonic() - began


def upload(http: httpx.Client, folder: Path, environment: dict[str, str]) -> float:
    """Seconds of the whole command: its start, the checks of the photos, the upload."""
    job_id = http.post("create").json()["id"]
    began = time.monotonic()
    command = [Path(sys.executable).with_name("ekyc"), "upload", job_id, folder]
    subprocess.run(command, check=True, env=os.environ | environment, capture_output=True)  # noqa: S603
    return time.monotonic() - began


def main() -> None:
    """Print the table."""
    with TemporaryDirectory() as scratch, LocalAws() as aws:
        aws.deploy(synthesize(Path(scratch) / "cdk.out"))
        folder = Path(scratch) / "photos"
        folder.mkdir()
        photos = draw(folder, PHOTOS)
        environment = aws.environment() | {"EKYC_API_URL": aws.api_url}
        with httpx.Client(base_url=f"{aws.api_url}/api/training/", timeout=30) as http:
            rows = [
                ("one request at a time", ONE_BY_ONE, one_request_at_a_time(http, photos[:ONE_BY_ONE])),
                ("`ekyc upload`", PHOTOS, upload(http, folder, environment)),
            ]
    print("| 200 kB photos | photos | seconds | files/s | MB/s |\n|---|---|---|---|---|")
    for name, count, seconds in rows:
        megabytes = count * BYTES / 1e6 / seconds
        print(f"| {name} | {count} | {seconds:.1f} | {count / seconds:.1f} | {megabytes:.1f} |")


if __name__ == "__main__":
    main()
