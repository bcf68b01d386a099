"""Measures decoding photos, and the check of whole batches; prints Markdown tables.

    python bench/photos.py

A phone photo has 12 megapixels and 2 MB. Times are processor times of all threads and of the child process that
decodes, because other work on the machine does not change them much. Each batch has `BATCH` photos and runs through the
real check in a process of its own, with a moto server, in memory and without TLS. From the processor time of a batch,
the bench computes how long `FUNCTIONS` functions with `VCPUS` each need for `PHOTOS` photos, and the cost. A photo is
read with a request of `REQUEST` seconds, and its copy is written with three. Six photos are read or written at a time,
so the requests of a photo take less time than its decoding, and the processor time counts.
"""

from __future__ import annotations

import io
import logging
import os
import re
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from multiprocessing import get_context
from multiprocessing.queues import Queue
from pathlib import Path
from threading import Event
from unittest.mock import patch

import numpy as np
from moto.server import ThreadedMotoServer
from PIL import Image

sys.path[:0] = [str(Path(__file__).parents[1]), str(Path(__file__).parents[1] / "lambdas")]

from pipeline.clients import clients  # noqa: E402 - needs the path above
from pipeline.photos import MEMORY, checking, planning  # noqa: E402 - needs the path above
from pipeline.photos.checking import CheckPhotos  # noqa: E402 - needs the path above
from pipeline.photos.decoder import Decoded, Decoder  # noqa: E402 - needs the path above
from pipeline.photos.planning import PlanPhotos  # noqa: E402 - needs the path above
from rules import prices  # noqa: E402 - needs the path above
from stacks.functions import MOST_MEMORY_MB, ONE_VCPU_MB  # noqa: E402 - needs the path above

PHOTOS, FUNCTIONS, REQUEST = 250_000, 40, 0.02
REQUESTS = 4  # to read a photo, and to write its copy once
BATCH = 250
BUCKET = "bench"
VCPUS = MOST_MEMORY_MB / ONE_VCPU_MB
TIMES = 12
QUALITY = 68  # of phone photos: a batch has at most 500 MB
ORIENTATION = 0x0112


def phone_photo(orientation: int = 1, **options: object) -> bytes:
    """12 megapixels, 2 MB, with the metadata of a phone."""
    random = np.random.default_rng(1)
    picture = Image.fromarray(random.integers(0, 256, (300, 400, 3), dtype=np.uint8))
    pixels = np.asarray(picture.resize((4000, 3000), Image.Resampling.BICUBIC)).astype(np.int16)
    pixels += random.normal(0, 4, pixels.shape).astype(np.int16)
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    exif.get_ifd(0x8825)[1] = "N"
    file = io.BytesIO()
    Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(file, "JPEG", quality=QUALITY, exif=exif, **options)
    return file.getvalue()


def screenshot() -> bytes:
    """A PNG of 3 megapixels."""
    picture = Image.fromarray(np.random.default_rng(1).integers(0, 256, (150, 200, 3), dtype=np.uint8))
    file = io.BytesIO()
    picture.resize((2000, 1500), Image.Resampling.NEAREST).save(file, "PNG")
    return file.getvalue()


def peak_mb(pid: int | str) -> float:
    [peak] = re.findall(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    return int(peak) / 1024


class Watched(Decoder):
    """A decoder that remembers the peak MB of its child process."""

    peak = 0.0

    def _end(self, process: subprocess.Popen[bytes]) -> int:
        Watched.peak = max(Watched.peak, peak_mb(process.pid))
        return super()._end(process)


def cpu() -> float:
    """Processor seconds of this process and of its children that have ended."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in used)


def decode(content: bytes) -> tuple[float, float]:
    """Processor seconds for a photo, and the peak MB of the child process."""
    Watched.peak = 0.0

    def seconds(times: int) -> float:
        began = cpu()
        with Watched() as decoder:
            for _ in range(times):
                decoded = decoder.decode(content)
                assert isinstance(decoded, Decoded), decoded  # noqa: S101
        return cpu() - began

    once = seconds(1)  # with the start of the process
    return (seconds(TIMES + 1) - once) / TIMES, Watched.peak


Figures = tuple[float, float, float]


def check_batch(job_id: str, figures: Queue[Figures]) -> None:
    """Check the job's batch; puts processor seconds, and the peak MB of this process and of the child, into figures."""
    planning.plan(PlanPhotos(job_id), bucket=BUCKET)
    began = cpu()
    with patch.object(checking, "Decoder", Watched):
        checked = checking.check(CheckPhotos(job_id, 1), bucket=BUCKET, seconds_left=lambda: 900.0)
    assert checked.photos == BATCH  # noqa: S101
    figures.put((cpu() - began, peak_mb("self"), Watched.peak))


def in_child(contents: list[bytes]) -> Figures:
    """Upload a batch, and check it in a new process."""
    job_id = f"ekyc-{time.time_ns()}"
    for number in range(BATCH):
        content = contents[number % len(contents)]
        clients.s3.put_object(Bucket=BUCKET, Key=f"images/{job_id}/{number:03}.jpg", Body=content)
    context = get_context("spawn")
    figures: Queue[Figures] = context.Queue()
    child = context.Process(target=check_batch, args=(job_id, figures))
    child.start()
    child.join()
    if child.exitcode:
        sys.exit("The check of a batch failed.")
    return figures.get()


def serve(address: Queue[str]) -> None:
    """Serve moto's S3 until the process ends."""
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    address.put(f"http://{host}:{port}")
    Event().wait()


KINDS: dict[str, Callable[[], bytes]] = {
    "phone, upright": phone_photo,
    "phone, to turn": lambda: phone_photo(6),
    "phone, progressive": lambda: phone_photo(progressive=True),
    "PNG of 3 megapixels": screenshot,
}


def main() -> None:
    contents = {kind: make() for kind, make in KINDS.items()}
    print("| Photo | MB | CPU, ms | child process, MB | limit, MB |")
    print("| --- |" + " ---: |" * 4)
    for kind, content in contents.items():
        seconds, peak = decode(content)
        print(f"| {kind} | {len(content) / 1e6:.1f} | {seconds * 1000:.0f} | {peak:.0f} | {MEMORY // 2**20} |")

    address: Queue[str] = get_context("spawn").Queue()
    server = get_context("spawn").Process(target=serve, args=(address,), daemon=True)
    server.start()
    os.environ |= {
        "AWS_ENDPOINT_URL": address.get(timeout=120),
        "AWS_ACCESS_KEY_ID": "bench",
        "AWS_SECRET_ACCESS_KEY": "bench",
        "AWS_DEFAULT_REGION": "us-east-1",
    }
    clients.s3.create_bucket(Bucket=BUCKET)
    upright, turned = contents["phone, upright"], contents["phone, to turn"]
    print(f"\nBatches of {BATCH} photos, and {PHOTOS:,} photos by {FUNCTIONS} functions of {MOST_MEMORY_MB:,} MB:\n")
    print(
        "| Photos | CPU of a batch, s | CPU a photo, ms | function, MB | a child process, MB | all, MB | minutes "
        "| USD per 1,000 photos |"
    )
    print("| --- |" + " ---: |" * 7)
    for name, kinds in {"all upright": [upright], "half turned": [upright, turned], "all turned": [turned]}.items():
        seconds, own, child = in_child(kinds)
        print(
            f"| {name} | {seconds:.1f} | {seconds / BATCH * 1000:.0f} | {own:.0f} | {child:.0f} "
            f"| {own + checking.DECODERS * child:.0f} "
            f"| {PHOTOS / BATCH * seconds / VCPUS / FUNCTIONS / 60:.1f} | {dollars(seconds):.4f} |",
            flush=True,
        )
    server.terminate()


def dollars(batch_seconds: float) -> float:
    """The cost of 1,000 photos: GB-seconds and requests of photos, and calls and transitions of their batches."""
    return (1000 / BATCH) * (
        batch_seconds / VCPUS * MOST_MEMORY_MB / 1024 * prices.LAMBDA_GB_SECOND
        + BATCH * ((REQUESTS - 1) * prices.S3_GET + prices.S3_PUT)
        + prices.LAMBDA_CALL
        + 4 * prices.TRANSITION
    )


if __name__ == "__main__":
    main()
