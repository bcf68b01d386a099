"""Measures time and memory of Prepare datasets. Prints a Markdown table.

    python bench/manifests.py [LINES ...]

Each photo has a line in the input manifest and one in the labelled manifest. S3 is a moto server in this process. Each
measurement runs in a child process whose AWS client is ready, as in a warm function. `photos.py` and `groups.py`
measure the states before it.
"""

import hashlib
import json
import logging
import multiprocessing
import os
import re
import sys
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import boto3
from moto.server import ThreadedMotoServer

sys.path.insert(0, str(Path(__file__).parents[1] / "lambdas"))

from pipeline import datasets
from pipeline.clients import clients
from rules.lines import DETECTION_TYPE

BUCKET = "bench"
TYPES = [f"TYPE_{number}" for number in range(8)]
SIZES = (1_000, 10_000, 100_000, 250_000)
UPLOADED = datetime(2026, 11, 24, tzinfo=UTC)


class Calls:
    """Counts the requests of an S3 client. Each part of a multipart upload counts."""

    def __init__(self, s3: Any) -> None:
        self.count = 0
        s3.meta.events.register("before-send.s3", self.add)

    def add(self, **_: Any) -> None:
        self.count += 1


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


def upload_manifests(lines: int, s3: Any) -> None:
    """Upload the input manifest and the labelled manifest of a job with ``lines`` photos of one document each."""
    refs = [f"s3://{BUCKET}/{photo_key(lines, number)}" for number in range(lines)]
    size = {"width": 640, "height": 480}
    inputs = [
        {
            "source-ref": ref,
            "image-hash": f"{number:032x}",
            "image-size": size,
            "sharpness": 4.25,
            "brightness": 0.521,
            "etag": f"{number:032x}",
            "written": round(UPLOADED.timestamp() * 1000),
        }
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
    print("| Stage | Photos | Seconds | CPU s | Manifest lines a CPU second | Peak memory, MB | AWS calls |")
    print("|---|---:|---:|---:|---:|---:|---:|")
    for lines in sizes:
        upload_manifests(lines, s3)
        seconds, cpu, peak, calls = in_child(prepare_datasets, lines)
        print(
            f"| Prepare datasets | {lines:,} | {seconds:.2f} | {cpu:.2f} | {2 * lines / cpu:,.0f} | {peak:.0f} "
            f"| {calls:,} |",
            flush=True,
        )
    server.stop()


if __name__ == "__main__":
    main([int(size) for size in sys.argv[1:]] or list(SIZES))
