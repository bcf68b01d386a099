"""The local AWS: how soon `ekyc local` answers, executions a second, memory of waiting executions, the demo by phase.

    python bench/local_aws.py [JOBS [WAITING [PHOTOS]]]

Starts `ekyc local` three times in a fresh process and waits for the API's first answer. Then, in this process, JOBS
(20) jobs run from their start to Ready: real state machine and functions, services that answer at once, a Rekognition
that learns nothing. WAITING (200) executions then wait for supplied labels, with the memory of this process before and
after. At last `ekyc demo` runs in a process of its own with PHOTOS (90), its phases read from what it prints. Prints
Markdown tables.
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


def until(condition: Callable[[], bool], pause: float = 0.05) -> None:
    """Wait for what is bound to happen."""
    deadline = time.monotonic() + LIMIT_SECONDS
    while not condition():
        if time.monotonic() > deadline:
            raise SystemExit("What the benchmark waits for does not happen.")
        time.sleep(pause)


def start_seconds() -> float:
    """From the start of `ekyc local` to the API's first answer."""

    def answers() -> bool:
        try:
            return httpx.get(f"http://127.0.0.1:{PORT}/api/training/list", timeout=60).status_code == 200
        except httpx.TransportError:
            return False

    began = time.monotonic()
    with child([*EKYC, "local", "--port", str(PORT)]):
        until(answers, 0.2)
        return time.monotonic() - began


@contextmanager
def child(command: list[str]) -> Iterator[subprocess.Popen[str]]:
    """The command in a process of its own, which is ended."""
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)  # noqa: S603
    try:
        yield process
    finally:
        process.terminate()
        process.communicate()


def resident_mb() -> float:
    found = re.search(r"VmRSS:\s+(\d+) kB", Path("/proc/self/status").read_text())
    return int(found[1]) / 1024 if found else 0.0


def created(api: Api, files: list[Path], jobs: int) -> list[str]:
    """So many jobs with all files uploaded."""
    ids = [api.create()["id"] for _ in range(jobs)]
    sent = [upload.file(path) for path in files]
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda job_id: upload.send(api, job_id, sent, lambda _file: None), ids))
    return ids


def started(api: Api, ids: list[str], labels: dict[str, str]) -> None:
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda job_id: api.start(job_id, {"labels": labels, "deploy": False}), ids))


def throughput(aws: LocalAws, api: Api, files: list[Path], jobs: int) -> float:
    """Executions a second, from the first start to the last end."""
    ids = created(api, files, jobs)
    began = time.monotonic()
    started(api, ids, {"provider": "supplied", "key": "labels.json"})
    until(lambda: ended(aws) >= jobs, 1.0)
    return jobs / (time.monotonic() - began)


def ended(aws: LocalAws) -> int:
    """How many executions have succeeded, and that none has failed."""
    stepfunctions = aws.client("stepfunctions")
    (machine,) = stepfunctions.list_state_machines()["stateMachines"]
    pages = stepfunctions.get_paginator("list_executions").paginate(stateMachineArn=machine["stateMachineArn"])
    statuses = [execution["status"] for page in pages for execution in page["executions"]]
    if set(statuses) - {"RUNNING", "SUCCEEDED"}:
        raise SystemExit(f"Executions ended {sorted(set(statuses))}.")
    return statuses.count("SUCCEEDED")


def waiting(api: Api, files: list[Path], jobs: int) -> tuple[float, float]:
    """Megabytes before and after so many executions are started and wait for labels."""
    ids = created(api, files, jobs)
    before = resident_mb()
    started(api, ids, {"provider": "supplied"})
    until(lambda: all(api.job(job_id)["status"] == "WaitingForLabelling" for job_id in ids), 0.5)
    return before, resident_mb()


def demo(photos: int) -> list[tuple[str, float]]:
    """Each phase of `ekyc demo` with the seconds that it took, by when it said so."""
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
    """The phase that begins with a line of the demo's output: a state, or what comes before and after them."""
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
        clock.speed = 1.0  # else the hours in which nobody labels would be over at once
        before, after = waiting(api, files, waits)
        print(f"| memory before {waits} executions wait for labels | {before:.0f} MB |")
        print(f"| memory while they wait | {after:.0f} MB |")
        print(f"| for each | {(after - before) / waits * 1024:.0f} kB |", flush=True)
    print(f"\n| Demo with {photos} photos | seconds |\n|---|---:|")
    for name, took in demo(photos):
        print(f"| {name} | {took:.1f} |")


if __name__ == "__main__":
    given = [int(text) for text in sys.argv[1:]]
    main(*(given + [20, 200, 90][len(given) :]))
