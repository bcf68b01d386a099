"""Measures time and memory of Check images and Prepare datasets. Prints a Markdown table.

    python bench/manifests.py [LINES ...]

S3 is a moto server in this process. Each measurement runs in a child process whose AWS client is ready, as in a warm
function. Check images reads the photos' headers from a stub that takes 20 ms for each, as S3 does. These photos are
small and take one request.

The last column estimates Check images in Lambda for big photos, which take a second request for their end. The estimate
is the longer of two times, because waiting and computing overlap:

- the waits: 20 ms for each request, `READERS` at a time
- one core's CPU time: the measured time, plus boto3's time for both requests (measured with moto, without TLS)

The last lines show the CPU time of a real request and of rotating a phone's photo.
"""

import hashlib
import io
import json
import logging
import multiprocessing
import os
import random
import re
import sys
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from threading import Lock
from typing import Any

import boto3
from moto.server import ThreadedMotoServer
from PIL import Image

sys.path.insert(0, str(Path(__file__).parents[1] / "lambdas"))

from pipeline import datasets, images, upright
from pipeline.clients import clients
from rules.lines import DETECTION_TYPE
from rules.uploads import LARGEST_PHOTO

BUCKET = "bench"
TYPES = [f"TYPE_{number}" for number in range(8)]
SIZES = (1_000, 10_000, 100_000, 250_000)
PAUSE, REQUESTS_A_PHOTO = 0.02, 2
REQUESTS = 500
TURNS = 10
UPLOADED = datetime(2026, 11, 24, tzinfo=UTC)


def photo() -> bytes:
    """A small JPEG."""
    file = io.BytesIO()
    Image.new("RGB", (640, 480)).save(file, "JPEG")
    return file.getvalue()


class Calls:
    """Counts the requests of an S3 client. Each part of a multipart upload counts."""

    def __init__(self, s3: Any) -> None:
        self.count = 0
        s3.meta.events.register("before-send.s3", self.add)

    def add(self, **_: Any) -> None:
        self.count += 1


class HeadersIn20Ms:
    """An S3 stub with ``count`` different photos and 20 ms for each header. Uploads go to the real client."""

    def __init__(self, count: int, s3: Any, calls: Calls) -> None:
        self._count, self._header, self._calls, self._lock = count, photo(), calls, Lock()
        self.put_object, self.head_object = s3.put_object, s3.head_object

    def get_paginator(self, _operation: str) -> "HeadersIn20Ms":
        return self

    def paginate(self, *, Prefix: str, **_: Any) -> Iterator[dict[str, Any]]:  # noqa: N803 - S3's own names
        if Prefix.startswith("upright/"):
            self._called()
            return
        for start in range(0, self._count, 1000):
            self._called()
            yield {
                "Contents": [
                    {
                        "Key": f"{Prefix}photo-{number:07}.jpg",
                        "ETag": f'"{number:032x}"',
                        "Size": len(self._header),
                        "LastModified": UPLOADED,
                    }
                    for number in range(start, min(start + 1000, self._count))
                ]
            }

    def get_object(self, **_: Any) -> dict[str, Any]:
        self._called()
        time.sleep(PAUSE)
        return {"Body": io.BytesIO(self._header)}

    def _called(self) -> None:
        with self._lock:
            self._calls.add()


def check_images(lines: int, s3: Any, calls: Calls) -> None:
    clients.s3 = HeadersIn20Ms(lines, s3, calls)
    checked = images.check(
        images.CheckImages(f"check-{lines}"),
        bucket=BUCKET,
        min_images=1,
        max_rejected_share=0,
        seconds_left=lambda: 900,
    )
    assert checked.accepted == lines  # noqa: S101 - else the figures are of other work


class UnchangedPhotos:
    """An S3 stub that lists ``count`` photos, unchanged since their check. Other calls go to the real client."""

    def __init__(self, count: int, s3: Any, calls: Calls) -> None:
        self._count, self._calls = count, calls
        self.get_object, self.head_object, self.put_object = s3.get_object, s3.head_object, s3.put_object

    def get_paginator(self, _operation: str) -> "UnchangedPhotos":
        return self

    def paginate(self, *, Prefix: str, **_: Any) -> Iterator[dict[str, Any]]:  # noqa: N803 - S3's own names
        self._calls.add()
        for start in range(0, self._count if Prefix.startswith("images/") else 0, 1000):
            self._calls.add()
            yield {
                "Contents": [
                    {"Key": photo_key(self._count, number), "ETag": f'"{number:032x}"', "LastModified": UPLOADED}
                    for number in range(start, min(start + 1000, self._count))
                ]
            }


def photo_key(lines: int, number: int) -> str:
    return f"images/prepare-{lines}/photo-{number:07}.jpg"


def prepare_datasets(lines: int, s3: Any, calls: Calls) -> None:
    images = s3.get_object(Bucket=BUCKET, Key=f"{lines}/input")
    clients.s3 = UnchangedPhotos(lines, s3, calls)
    prepared = datasets.prepare(
        datasets.PrepareDatasets(
            job_id=f"prepare-{lines}",
            images_manifest=f"s3://{BUCKET}/{lines}/input",
            images_sha256=hashlib.sha256(images["Body"].read()).hexdigest(),
            images_written=round(images["LastModified"].timestamp() * 1000),
            labels_manifest=f"s3://{BUCKET}/{lines}/labels",
            labels_sha256=None,
            labelling_ended=None,
            label_attribute="doctype",
            document_types=TYPES,
        ),
        bucket=BUCKET,
        max_rejected_share=0,
    )
    assert prepared.train_images + prepared.test_images == lines  # noqa: S101


def read_headers(lines: int, s3: Any, _calls: Calls) -> None:
    """Request a photo's header ``lines`` times from the moto server, in sequence."""
    for _ in range(lines):
        s3.get_object(Bucket=BUCKET, Key="photo.jpg", Range="bytes=0-16383")["Body"].read()


def turn_photos(count: int, _s3: Any, _calls: Calls) -> None:
    """Rotate ``count`` photos of 12 megapixels, in sequence."""
    dots = random.Random(1).randbytes(400 * 300 * 3)  # noqa: S311
    scene = Image.frombytes("RGB", (400, 300), dots).resize((4000, 3000), Image.Resampling.BICUBIC)
    file = io.BytesIO()
    scene.save(file, "JPEG", quality=93)
    for _ in range(count):
        upright.turn(file.getvalue(), 6, LARGEST_PHOTO)


def upload_manifests(lines: int, s3: Any) -> None:
    """Upload the input manifest and the labelled manifest of a job with ``lines`` photos of one document each."""
    refs = [f"s3://{BUCKET}/{photo_key(lines, number)}" for number in range(lines)]
    size = {"width": 640, "height": 480}
    inputs = [
        {"source-ref": ref, "image-hash": f"{number:032x}", "image-size": size, "etag": f"{number:032x}"}
        for number, ref in enumerate(refs)
    ]
    labels = [
        {
            **line,
            "doctype": {
                "image_size": [{**size, "depth": 3}],
                "annotations": [{"class_id": number % 8, "left": 111, "top": 134, "width": 361, "height": 228}],
            },
            "doctype-metadata": {
                "objects": [{"confidence": 0.0}],
                "class-map": {str(number % 8): TYPES[number % 8]},
                "type": DETECTION_TYPE,
                "human-annotated": "yes",
                "creation-date": "2026-10-18T22:18:13.527256",
                "job-name": "labeling-job/ekyc-20261124015324-9f3c0a1b2c3d4e5f-1",
            },
        }
        for number, line in enumerate(inputs)
    ]
    for name, content in (("input", inputs), ("labels", labels)):
        s3.put_object(Bucket=BUCKET, Key=f"{lines}/{name}", Body="".join(json.dumps(line) + "\n" for line in content))
    s3.put_object(Bucket=BUCKET, Key=f"manifests/prepare-{lines}/rejected.jsonl", Body=b"")


Work = Callable[[int, Any, Calls], None]
# Seconds, CPU seconds, peak MB of the process, requests to AWS.
Figures = tuple[float, float, float, int]


def measure(work: Work, lines: int, results: Any) -> None:
    """Run ``work`` and put its figures into ``results``."""
    s3 = clients.s3
    s3.list_objects_v2(Bucket=BUCKET, MaxKeys=1)  # opens the connection
    calls = Calls(s3)
    started, cpu = time.perf_counter(), time.process_time()
    work(lines, s3, calls)
    seconds, cpu = time.perf_counter() - started, time.process_time() - cpu
    # Not ru_maxrss: it starts with the parent's value.
    peak = re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())
    results.put((seconds, cpu, int(peak[1]) / 1024 if peak else 0, calls.count))


def in_child(work: Work, lines: int) -> Figures:
    spawned = multiprocessing.get_context("spawn")
    results = spawned.Queue()
    child = spawned.Process(target=measure, args=(work, lines, results))
    child.start()
    measured = results.get(timeout=900)
    child.join()
    return measured


def projected(photos: int, cpu: float, get_cpu: float) -> float:
    """Estimated seconds of Check images in Lambda for photos of two requests. ``cpu`` excludes boto3's CPU time."""
    requests = photos * REQUESTS_A_PHOTO
    return max(requests * PAUSE / images.READERS, cpu + requests * get_cpu)


def main(sizes: list[int]) -> None:
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    os.environ |= {
        "AWS_ENDPOINT_URL": f"http://{host}:{port}",
        "AWS_ACCESS_KEY_ID": "bench",
        "AWS_SECRET_ACCESS_KEY": "bench",
        "AWS_DEFAULT_REGION": "us-east-1",
    }
    s3 = boto3.client("s3")
    s3.create_bucket(Bucket=BUCKET)
    s3.put_object(Bucket=BUCKET, Key="photo.jpg", Body=photo())
    _, get_cpu, _, requests = in_child(read_headers, REQUESTS)
    get_cpu /= requests
    print("| Stage | Photos | Seconds | Photos/s | CPU s | Peak memory, MB | AWS calls | Big photos in Lambda, s |")
    print("|---|---:|---:|---:|---:|---:|---:|---:|")
    for lines in sizes:
        upload_manifests(lines, s3)
    for name, work in (("Prepare datasets", prepare_datasets), ("Check images, 20 ms a header", check_images)):
        for lines in sizes:
            seconds, cpu, peak, calls = in_child(work, lines)
            in_lambda = f"{projected(lines, cpu, get_cpu):,.0f}" if work is check_images else ""
            print(
                f"| {name} | {lines:,} | {seconds:.2f} | {lines / seconds:,.0f} | {cpu:.2f} | {peak:.0f} | {calls:,} "
                f"| {in_lambda} |",
                flush=True,
            )
    print(f"\nCPU of one ranged GET by boto3: {get_cpu * 1000:.2f} ms.")
    (_, few, _, _), (_, many, peak, _) = in_child(turn_photos, 1), in_child(turn_photos, 1 + TURNS)
    print(f"CPU to rotate a photo of 12 megapixels: {(many - few) / TURNS * 1000:.0f} ms; peak memory {peak:.0f} MB.")
    server.stop()


if __name__ == "__main__":
    main([int(size) for size in sys.argv[1:]] or list(SIZES))
