"""Measures decoding, fingerprinting and removing metadata of photos; prints Markdown tables.

    python bench/photos.py

A phone photo has 12 megapixels and 2.5 MB. Times are processor times of the child process and its parent. From these
the bench computes how long `FUNCTIONS` functions with one vCPU each need for `PHOTOS` photos, and the cost. A photo is
read with a request of `REQUEST` seconds, and its copy is written with three. Requests overlap, so the processor time
counts. boto3's part is measured with a moto server, in memory and without TLS.
"""

import io
import logging
import os
import re
import sys
import time
from collections.abc import Callable
from pathlib import Path

import boto3
import numpy as np
from moto.server import ThreadedMotoServer
from PIL import Image

sys.path[:0] = [str(Path(__file__).parents[1]), str(Path(__file__).parents[1] / "lambdas")]

from pipeline.photos import MEMORY  # noqa: E402 - needs the path above
from pipeline.photos.decoder import Decoded, Decoder  # noqa: E402 - needs the path above
from pipeline.photos.prints import fingerprint  # noqa: E402 - needs the path above
from rules import photos, prices  # noqa: E402 - needs the path above
from stacks.functions import ONE_VCPU_MB  # noqa: E402 - needs the path above

PHOTOS, FUNCTIONS, REQUEST = 250_000, 40, 0.02
REQUESTS = 4  # to read a photo, and to write its copy once
BATCH = 250
TIMES = 12
ORIENTATION = 0x0112


def phone_photo(orientation: int = 1, **options: object) -> bytes:
    """12 megapixels, 2.5 MB, with the metadata of a phone."""
    random = np.random.default_rng(1)
    picture = Image.fromarray(random.integers(0, 256, (300, 400, 3), dtype=np.uint8))
    pixels = np.asarray(picture.resize((4000, 3000), Image.Resampling.BICUBIC)).astype(np.int16)
    pixels += random.normal(0, 4, pixels.shape).astype(np.int16)
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    exif.get_ifd(0x8825)[1] = "N"
    file = io.BytesIO()
    Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(file, "JPEG", quality=80, exif=exif, **options)
    return file.getvalue()


def screenshot() -> bytes:
    """A PNG of 3 megapixels."""
    picture = Image.fromarray(np.random.default_rng(1).integers(0, 256, (150, 200, 3), dtype=np.uint8))
    file = io.BytesIO()
    picture.resize((2000, 1500), Image.Resampling.NEAREST).save(file, "PNG")
    return file.getvalue()


def cpu_of(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def peak_mb(pid: int) -> float:
    [peak] = re.findall(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    return int(peak) / 1024


def decode(content: bytes) -> tuple[float, float, Decoded]:
    """Processor seconds for a photo, the peak MB of the child process, and the result."""
    with Decoder() as decoder:
        first = decoder.decode(content)
        assert isinstance(first, Decoded), first  # noqa: S101
        assert decoder._process  # noqa: S101
        pid, own = decoder._process.pid, time.process_time()
        theirs = cpu_of(pid)
        for _ in range(TIMES):
            decoder.decode(content)
        seconds = time.process_time() - own + cpu_of(pid) - theirs
        return seconds / TIMES, peak_mb(pid), first


def cpu(work: Callable[[], object]) -> float:
    started = time.process_time()
    for _ in range(TIMES):
        work()
    return (time.process_time() - started) / TIMES


def requests(content: bytes) -> tuple[float, float]:
    """Processor seconds of boto3 to read and to write the photo, without those of moto."""
    if os.fork() == 0:  # the server, in a process of its own, until this one ends
        logging.getLogger("werkzeug").setLevel(logging.ERROR)
        ThreadedMotoServer(ip_address="127.0.0.1", port=PORT, verbose=False).start()
        time.sleep(60)
        os._exit(0)
    s3 = boto3.client(
        "s3",
        endpoint_url=f"http://127.0.0.1:{PORT}",
        region_name="us-east-1",
        aws_access_key_id="bench",
        aws_secret_access_key="bench",  # noqa: S106
    )
    for _ in range(100):
        try:
            s3.create_bucket(Bucket="bench")
            break
        except Exception:
            time.sleep(0.2)

    def store_once() -> None:
        """Write the photo as `put_once` does: look, write, look."""
        s3.head_object(Bucket="bench", Key="photo.jpg")
        s3.put_object(Bucket="bench", Key="photo.jpg", Body=content)
        s3.head_object(Bucket="bench", Key="photo.jpg")

    s3.put_object(Bucket="bench", Key="photo.jpg", Body=content)
    stored = cpu(store_once)
    fetched = cpu(lambda: s3.get_object(Bucket="bench", Key="photo.jpg")["Body"].read())
    return fetched, stored


PORT = 18_763
KINDS: dict[str, Callable[[], bytes]] = {
    "phone, upright": phone_photo,
    "phone, to turn": lambda: phone_photo(6),
    "phone, progressive": lambda: phone_photo(progressive=True),
    "PNG of 3 megapixels": screenshot,
}


def main() -> None:
    contents = {kind: make() for kind, make in KINDS.items()}
    fetch, store = requests(contents["phone, upright"])
    figures = {kind: decode(content) for kind, content in contents.items()}
    grey = np.asarray(Image.open(io.BytesIO(figures["phone, upright"][2].grey)))
    printed = cpu(lambda: fingerprint(grey))

    print("| Photo | MB | CPU, ms | of that, removing metadata, ms | child process, MB | limit, MB |")
    print("| --- |" + " ---: |" * 5)
    for kind, content in contents.items():
        seconds, peak, _ = figures[kind]
        freed = cpu(lambda content=content: photos.bare(content)) * 1000
        size = len(content) / 1e6
        print(f"| {kind} | {size:.1f} | {seconds * 1000:.0f} | {freed:.1f} | {peak:.0f} | {MEMORY // 2**20} |")
    print(
        f"\nA fingerprint takes {printed * 1000:.2f} ms. boto3 takes {fetch * 1000:.1f} ms to read a phone photo, ",
        end="",
    )
    print(f"{store * 1000:.1f} ms to write it.\n")

    print(f"{PHOTOS:,} photos by {FUNCTIONS} functions of {ONE_VCPU_MB:,} MB:\n")
    print("| Photos | CPU per photo, ms | waiting for requests per photo, ms | minutes | USD per 1,000 photos |")
    print("| --- |" + " ---: |" * 4)
    for kind in ("phone, upright", "phone, to turn"):
        seconds = figures[kind][0] + printed + fetch + store
        print(row(f"{kind}, copied", seconds))
    mix = 0.5 * (figures["phone, upright"][0] + figures["phone, to turn"][0]) + printed + fetch + store
    print(row("half of each", mix))


def row(name: str, seconds: float) -> str:
    minutes = PHOTOS * seconds / FUNCTIONS / 60
    # GB-seconds and requests of a photo, and its share of the batch's calls and transitions.
    dollars = 1000 * (
        seconds * ONE_VCPU_MB / 1024 * prices.LAMBDA_GB_SECOND
        + (REQUESTS - 1) * prices.S3_GET
        + prices.S3_PUT
        + (prices.LAMBDA_CALL + 4 * prices.TRANSITION) / BATCH
    )
    waits = REQUESTS * REQUEST * 1000
    return f"| {name} | {seconds * 1000:.0f} | {waits:.0f}, overlapped | {minutes:.1f} | {dollars:.4f} |"


if __name__ == "__main__":
    main()
