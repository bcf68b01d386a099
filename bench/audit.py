"""Measures time and memory for an audit report, for histories up to Step Functions' limit. Prints a Markdown table.

    python bench/audit.py [EVENTS ...]

botocore parses the histories from Step Functions' JSON, a thousand events per page, as it does on AWS. S3 is moto in
the same process. Each size is measured in its own process.
"""

import json
import multiprocessing
import os
import re
import sys
import time
from pathlib import Path
from typing import Any

from botocore.awsrequest import AWSResponse
from moto import mock_aws

sys.path.insert(0, str(Path(__file__).parents[1]))
sys.path.insert(0, str(Path(__file__).parents[1] / "lambdas"))

from pipeline.audit import inputs, page, report, verify
from pipeline.audit.store import Store
from pipeline.clients import clients
from pipeline.jobs import Job
from rules.states import Status
from stacks import definition
from tests.unit.histories import EXECUTION, JOB, StepFunctions, live_model

SIZES = (1_000, 5_000, 25_000)
EVENTS_PER_POLL = 9
BUCKET = "bench"
PAGE = 1000


class Body:
    """A response's body with the method that botocore calls."""

    def __init__(self, content: bytes) -> None:
        self._content = content

    def stream(self, **_: Any) -> Any:
        yield self._content


def answer_history_from(pages: list[bytes], client: Any) -> None:
    """Make the client's GetExecutionHistory return ``pages`` in sequence."""

    def answer(request: Any, **_: Any) -> AWSResponse:
        token = json.loads(request.body).get("nextToken")
        return AWSResponse(request.url, 200, {}, Body(pages[int(token or 0)]))

    client.meta.events.register("before-send.stepfunctions.GetExecutionHistory", answer)


def json_pages(events: list[dict[str, Any]]) -> list[bytes]:
    """The response bodies of GetExecutionHistory, with times in Unix seconds."""
    sent = [event | {"timestamp": event["timestamp"].timestamp()} for event in events]
    pages = []
    for first in range(0, len(sent), PAGE):
        page: dict[str, Any] = {"events": sent[first : first + PAGE]}
        if first + PAGE < len(sent):
            page["nextToken"] = str(first // PAGE + 1)
        pages.append(json.dumps(page).encode())
    return pages


def peak_mb() -> float:
    # Not ru_maxrss: it starts with the parent's value.
    peak = re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())
    return int(peak[1]) / 1024 if peak else 0.0


def measure(events: int, results: Any) -> None:
    """Create, store and verify a report of ``events``, and put time and memory into ``results``."""
    os.environ |= {"AWS_ACCESS_KEY_ID": "x", "AWS_SECRET_ACCESS_KEY": "x", "AWS_DEFAULT_REGION": "us-east-1"}
    without_polls = len(live_model(polls=0).events)
    history = live_model(polls=(events - without_polls) // EVENTS_PER_POLL)
    machine = StepFunctions(history, definition.as_json())
    stepfunctions: Any = clients.stepfunctions
    pages = json_pages(history.events)
    answer_history_from(pages, stepfunctions)
    for name in ("describe_execution", "describe_state_machine_for_execution"):
        setattr(stepfunctions, name, getattr(machine, name))
    ends = history.events[:1] + history.events[-1:]
    count = len(history.events)
    history.events = ends
    with mock_aws():
        s3 = clients.s3
        s3.create_bucket(Bucket=BUCKET)
        job = Job(JOB, Status.READY, {})
        before, started, cpu = peak_mb(), time.perf_counter(), time.process_time()
        gathered = inputs.gather(EXECUTION, job, bucket=BUCKET)
        built = report.build(gathered, job_id=JOB, stored=f"s3://{BUCKET}/report.json", previous=None)
        store = Store(BUCKET)
        store.put(built, "json", report.canonical(built))
        store.put(built, "html", page.render(built).encode())
        seconds, cpu, peak = time.perf_counter() - started, time.process_time() - cpu, peak_mb()
        sizes = [item["Size"] / 1e6 for item in s3.list_objects_v2(Bucket=BUCKET)["Contents"]]
        body = report.canonical(built)
        started = time.perf_counter()
        wrong = [finding for finding in verify.check_itself(body) if finding.result == verify.WRONG]
        assert not wrong, wrong  # noqa: S101
        results.put((count, seconds, cpu, before, peak, max(sizes), min(sizes), time.perf_counter() - started))


def main(sizes: list[int]) -> None:
    print("| Events | Seconds | CPU seconds | MB before | MB at most | Larger file, MB | Other, MB | Verify, seconds |")
    print("|---|---|---|---|---|---|---|---|")
    context = multiprocessing.get_context("spawn")
    for size in sizes:
        results = context.Queue()
        process = context.Process(target=measure, args=(size, results))
        process.start()
        count, *figures = results.get()
        process.join()
        print(f"| {count:,} | " + " | ".join(f"{figure:.1f}" for figure in figures) + " |", flush=True)


if __name__ == "__main__":
    main([int(text) for text in sys.argv[1:]] or list(SIZES))
