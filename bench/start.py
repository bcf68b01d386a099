"""Measures `POST start` by the number of uploaded photos. The API only checks for a first photo; it never lists all.

    python bench/start.py [PHOTOS ...]

Starts jobs in sequence over HTTP on the local AWS: one that is not counted, then three of each size. The executions are
stopped at once. The photos are empty, to keep the executions' load small. Counts the AWS calls of the API's function.
Prints a Markdown table.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
from pathlib import Path

import boto3
from moto.core import DEFAULT_ACCOUNT_ID
from moto.s3.models import s3_backends

from ekyc.cli.api import Api
from ekyc.localaws import calls
from ekyc.localaws.server import LocalAws
from ekyc.localaws.synth import synthesize

SIZES = (10, 1_000, 10_000)
JOBS = 3


def start(api: Api, bucket: str, photos: int) -> tuple[float, list[str]]:
    """Start a new job with ``photos``. Return the request's milliseconds and its AWS calls in order."""
    job_id = api.create()["id"]
    for number in range(photos):  # directly, because HTTP would take a minute
        s3_backends[DEFAULT_ACCOUNT_ID]["aws"].put_object(bucket, f"images/{job_id}/{number:05}.jpg", b"")
    with calls.recorded() as aws_calls:
        began = time.perf_counter()
        api.start(job_id, {"labels": {"provider": "supplied"}})
        milliseconds = 1000 * (time.perf_counter() - began)
    api.stop(job_id)
    return milliseconds, [call.operation for call in aws_calls if "Api" in call.function]


def main(sizes: list[int]) -> None:
    """Print a row for each number of photos."""
    with tempfile.TemporaryDirectory(prefix="ekyc-bench-") as folder, LocalAws() as aws:
        bucket = aws.deploy(synthesize(Path(folder) / "cdk.out"))["BucketName"]
        api = Api(aws.api_url, boto3.Session("local", "local", region_name="us-east-1"))
        start(api, bucket, 1)
        print("| Photos | ms, median | ms, longest | AWS calls | which |\n|---:|---:|---:|---:|---|")
        for photos in sizes:
            started = [start(api, bucket, photos) for _ in range(JOBS)]
            milliseconds = [duration for duration, _ in started]
            most = max((operations for _, operations in started), key=len)
            print(
                f"| {photos:,} | {statistics.median(milliseconds):.0f} | {max(milliseconds):.0f} | {len(most)} "
                f"| {', '.join(most)} |",
                flush=True,
            )


if __name__ == "__main__":
    main([int(size) for size in sys.argv[1:]] or list(SIZES))
