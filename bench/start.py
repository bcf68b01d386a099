"""What `POST start` takes by the number of uploaded photos: it looks whether there is one, and never lists them all.

    python bench/start.py [PHOTOS ...]

Jobs with so many photos are started one after the other over HTTP on the local AWS, three of each size and one before
them that is not counted. The photos are empty, so that the executions, which are stopped at once, have little to do.
AWS calls are those that arrive from the API's function. Prints a Markdown table.
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
    """Milliseconds and AWS calls, in order, of starting a new job with so many photos."""
    job_id = api.create()["id"]
    for number in range(photos):  # past HTTP, which would take a minute
        s3_backends[DEFAULT_ACCOUNT_ID]["aws"].put_object(bucket, f"images/{job_id}/{number:05}.jpg", b"")
    with calls.recorded() as made:
        began = time.perf_counter()
        api.start(job_id, {"labels": {"provider": "supplied"}})
        milliseconds = 1000 * (time.perf_counter() - began)
    api.stop(job_id)
    return milliseconds, [call.operation for call in made if "Api" in call.function]


def main(sizes: list[int]) -> None:
    """Print a row for each number of photos."""
    with tempfile.TemporaryDirectory(prefix="ekyc-bench-") as folder, LocalAws() as aws:
        bucket = aws.deploy(synthesize(Path(folder) / "cdk.out"))["BucketName"]
        api = Api(aws.api_url, boto3.Session("local", "local", region_name="us-east-1"))
        start(api, bucket, 1)
        print("| Photos | ms, median | ms, longest | AWS calls | which |\n|---:|---:|---:|---:|---|")
        for photos in sizes:
            started = [start(api, bucket, photos) for _ in range(JOBS)]
            milliseconds = [one for one, _ in started]
            made = max((operations for _, operations in started), key=len)
            print(
                f"| {photos:,} | {statistics.median(milliseconds):.0f} | {max(milliseconds):.0f} | {len(made)} "
                f"| {', '.join(made)} |",
                flush=True,
            )


if __name__ == "__main__":
    main([int(size) for size in sys.argv[1:]] or list(SIZES))
