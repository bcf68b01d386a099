"""Measures the local AWS: start time, executions per second, memory of waiting executions, phases of the demo.

    python bench/local_aws.py [JOBS [WAITING [PHOTOS]]]

1. Starts `ekyc local` three times in a new process and waits for the API's first response.
2. Runs JOBS (20) jobs to the end in this process. State machine and functions are real. Services respond without delay,
   and training learns nothing.
3. Measures this process's memory before and after WAITING (200) executions wait for supplied labels.
4. Runs `ekyc demo` with PHOTOS (90) in its own process, and reads the phases from its output.

Prints Markdown tables.
"""

from __future__ import annotations

import itertools
import math
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import boto3
import httpx
from concurrency import SETTINGS, write_photos

from ekyc.cli import upload
from ekyc.cli.api import Api
from ekyc.localaws.clock import clock
from ekyc.localaws.server import LocalAws
from ekyc.localaws.services import rekognition
from ekyc.localaws.synth import synthesize

EKYC = [str(Path(sys.executable).with_name("ekyc"))]
PORT = 4731
STARTS = 3
LIMIT_SECONDS = 400


def wait_until(condition: Callable[[], bool], pause: float = 0.05) -> None:
    """Wait until ``condition`` is true, for at most `LIMIT_SECONDS`."""
    deadline = time.monotonic() + LIMIT_SECONDS
    while not condition():
        if time.monotonic() > deadline:
            raise SystemExit(f"The benchmark waited {LIMIT_SECONDS} s for a condition in vain.")
        time.sleep(pause)


def start_seconds() -> float:
    """Seconds from the start of `ekyc local` to the API's first response."""

    def answers() -> bool:
        try:
            return httpx.get(f"http://127.0.0.1:{PORT}/api/training/list", timeout=60).status_code == 200
        except httpx.TransportError:
            return False

    began = time.monotonic()
    with child([*EKYC, "local", "--port", str(PORT)]):
        wait_until(answers, 0.2)
        return time.monotonic() - began


@contextmanager
def child(command: list[str]) -> Iterator[subprocess.Popen[str]]:
    """Run the command in its own process. Terminate the process at the end."""
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)  # noqa: S603
    try:
        yield process
    finally:
        process.terminate()
        process.communicate()


def resident_mb() -> float:
    resident = re.search(r"VmRSS:\s+(\d+) kB", Path("/proc/self/status").read_text())
    return int(resident[1]) / 1024 if resident else 0.0


def create_jobs(api: Api, files: list[Path], jobs: int) -> list[str]:
    """Create ``jobs`` jobs, upload all files to each, and return their ids."""
    ids = [api.create()["id"] for _ in range(jobs)]
    uploads = [upload.file(path) for path in files]
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda job_id: upload.send(api, job_id, uploads, lambda _file: None), ids))
    return ids


def start_jobs(api: Api, ids: list[str], labels: dict[str, str]) -> None:
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda job_id: api.start(job_id, {"labels": labels, "deploy": False}), ids))


def throughput(aws: LocalAws, api: Api, files: list[Path], jobs: int) -> float:
    """Executions per second, from the first start to the last end."""
    ids = create_jobs(api, files, jobs)
    began = time.monotonic()
    start_jobs(api, ids, {"provider": "supplied", "key": "labels.json"})
    wait_until(lambda: count_succeeded(aws) >= jobs, 1.0)
    return jobs / (time.monotonic() - began)


def count_succeeded(aws: LocalAws) -> int:
    """The number of executions that succeeded.

    Raises:
        SystemExit: an execution failed.
    """
    stepfunctions = aws.client("stepfunctions")
    (machine,) = stepfunctions.list_state_machines()["stateMachines"]
    pages = stepfunctions.get_paginator("list_executions").paginate(stateMachineArn=machine["stateMachineArn"])
    statuses = [execution["status"] for page in pages for execution in page["executions"]]
    if set(statuses) - {"RUNNING", "SUCCEEDED"}:
        raise SystemExit(f"An execution did not succeed. Statuses: {', '.join(sorted(set(statuses)))}.")
    return statuses.count("SUCCEEDED")


def waiting(api: Api, files: list[Path], jobs: int) -> tuple[float, float]:
    """Resident megabytes before ``jobs`` executions start, and while all of them wait for labels."""
    ids = create_jobs(api, files, jobs)
    before = resident_mb()
    start_jobs(api, ids, {"provider": "supplied"})
    wait_until(lambda: all(api.job(job_id)["status"] == "WaitingForLabelling" for job_id in ids), 0.5)
    return before, resident_mb()


def demo(photos: int) -> list[tuple[str, float]]:
    """Each phase of `ekyc demo` and its seconds, from the times of its output lines."""
    marks: list[tuple[str, float]] = []
    with tempfile.TemporaryDirectory(prefix="ekyc-bench-") as folder:
        command = [*EKYC, "demo", "--count", str(photos), "--out", folder]
        began = time.monotonic()
        with child(command) as process:
            assert process.stdout is not None  # noqa: S101
            line = ""
            for line in process.stdout:
                if mark := phase_begun(line):
                    marks.append((mark, time.monotonic() - began))
            if process.wait():
                raise SystemExit(f"The demo failed: {line}")
        marks.append(("end", time.monotonic() - began))
    first = [("photos drawn, local AWS started, stack deployed", 0.0), *marks]
    phases = [(name, after - begun) for (name, begun), (_, after) in itertools.pairwise(first)]
    return [*phases, ("all", marks[-1][1])]


def phase_begun(line: str) -> str | None:
    """The phase that begins with this line of the demo's output, or None. Most phases are states."""
    if "stack deployed" in line:
        return "photos uploaded"
    state = re.match(r"\s*\d+\.\d s\s+(.+?) (task|wait|choice|pass|succeed|fail)\s*$", line)
    if state and state[2] != "choice":
        return "photos detected, crops drawn" if state[2] == "succeed" else f"state {state[1]}"
    return None


def main(jobs: int, waits: int, photos: int) -> None:
    """Print the tables."""
    os.environ |= {"COLUMNS": "200", "PYTHONUNBUFFERED": "1"}
    seconds = [start_seconds() for _ in range(STARTS)]
    print("| Local AWS | |\n|---|---:|")
    print(f"| `ekyc local` answers, median of {STARTS} | {statistics.median(seconds):.1f} s |", flush=True)
    with tempfile.TemporaryDirectory(prefix="ekyc-bench-") as folder, LocalAws(speed=math.inf) as aws:
        files = write_photos(Path(folder) / "photos")
        aws.deploy(synthesize(Path(folder) / "cdk.out", SETTINGS))
        custom_labels = rekognition.current()
        custom_labels.learns, custom_labels.max_projects = False, jobs + waits
        custom_labels.dataset_seconds = custom_labels.training_seconds = 0
        custom_labels.calls_per_second = math.inf
        api = Api(aws.api_url, boto3.Session("local", "local", region_name="us-east-1"))
        print(f"| {jobs} jobs at once, executions/s | {throughput(aws, api, files, jobs):.2f} |", flush=True)
        clock.speed = 1.0  # else the deadline for labels would pass at once
        before, after = waiting(api, files, waits)
        print(f"| memory before {waits} executions wait for labels | {before:.0f} MB |")
        print(f"| memory while they wait | {after:.0f} MB |")
        print(f"| for each | {(after - before) / waits * 1024:.0f} kB |", flush=True)
    print(f"\n| Demo with {photos} photos | seconds |\n|---|---:|")
    for name, took in demo(photos):
        print(f"| {name} | {took:.1f} |")


if __name__ == "__main__":
    arguments = [int(text) for text in sys.argv[1:]]
    main(*(arguments + [20, 200, 90][len(arguments) :]))
