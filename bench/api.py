"""Measures the HTTP API on the local AWS: AWS calls of each route, requests per second, latencies.

    python bench/api.py [JOBS [SECONDS]]

1. Jobs call each route of the OpenAPI document. The local AWS records the AWS calls of the API's function.
2. The table gets JOBS (10,000) copies of a finished job's record. Then 1, 8 and 32 clients send requests for SECONDS
   (1), each without a pause. The clients are threads of another process. Each has its own keep-alive connection and
   signs its requests as the CLI does.

The API's function has two workers, as each function of the local AWS. Prints Markdown tables.
"""

from __future__ import annotations

import multiprocessing
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
import httpx
from concurrency import SETTINGS, TYPES, write_photos

from ekyc.cli import upload
from ekyc.cli.api import Api, SignedByAws
from ekyc.cli.watch import polls
from ekyc.localaws import calls
from ekyc.localaws.server import LocalAws
from ekyc.localaws.services import rekognition
from ekyc.localaws.synth import synthesize

ROOT = "/api/training/"
CLIENTS = (1, 8, 32)
NAMES = 1000
DAY_MS = 24 * 3_600_000
SUPPLIED, NEVER_LABELLED = {"provider": "supplied"}, {"provider": "ground-truth"}
WITH_FILE = SUPPLIED | {"key": "labels.json"}
CREDENTIALS = {"aws_access_key_id": "local", "aws_secret_access_key": "local", "region_name": "us-east-1"}


@dataclass(frozen=True)
class Ask:
    """A request and its title in the table."""

    title: str
    method: str
    path: str
    body: Any = None


@dataclass(frozen=True)
class Figures:
    """Responses per second, latencies (50th and 99th percentile, ms), and the clients' share of a core."""

    per_second: float
    p50: float
    p99: float
    client_cpu: float


def client(url: str) -> httpx.Client:
    """A client that signs as `ekyc` does and keeps its connection."""
    session = boto3.Session(**CREDENTIALS)
    return httpx.Client(base_url=url + ROOT, auth=SignedByAws(session), timeout=60)


def load(url: str, ask: Ask, clients: int, seconds: float) -> Figures:
    """Send the request from ``clients`` threads for ``seconds``. Runs in its own process."""

    def send_requests(http: httpx.Client) -> list[float]:
        took = []
        while time.perf_counter() < end:
            started = time.perf_counter()
            answer = http.request(ask.method, ask.path, json=ask.body)
            if answer.status_code != 200:
                raise SystemExit(f"{ask.title}: {answer.status_code} {answer.text[:200]}")
            took.append(time.perf_counter() - started)
        return took

    https = [client(url) for _ in range(clients)]
    for http in https:
        http.get("openapi.json")  # opens the connection
    began, cpu = time.perf_counter(), time.process_time()
    end = began + seconds
    with ThreadPoolExecutor(clients) as pool:
        took = sorted(latency for latencies in pool.map(send_requests, https) for latency in latencies)
    wall = time.perf_counter() - began
    p50, p99 = statistics.median(took) * 1000, took[int(len(took) * 0.99)] * 1000
    return Figures(len(took) / wall, p50, p99, (time.process_time() - cpu) / wall)


class Recorder:
    """Sends requests to the API in sequence and records the AWS calls of each."""

    def __init__(self, http: httpx.Client, api: Api) -> None:
        self._http, self._api = http, api
        self.rows: list[tuple[str, list[str]]] = []
        self.routes: set[tuple[str, str]] = set()

    def ask(self, method: str, path: str, when: str = "", **arguments: Any) -> httpx.Response:
        """Send a request and add a row with its AWS calls. ``when`` describes the job's state in the row's title."""
        with calls.recorded() as aws_calls:
            answer = self._http.request(method, path, **arguments)
        if answer.status_code >= 400:
            raise SystemExit(f"{method} {path}: {answer.status_code} {answer.text[:200]}")
        mine = [call for call in aws_calls if is_api(call)]
        route = next((resource(call) for call in mine), (method, ROOT + path))
        self.routes.add(route)
        title = f"{route[0]} {route[1].removeprefix(ROOT)}" + (f", {when}" if when else "")
        self.rows.append((title, [call.operation for call in mine]))
        print(title, file=sys.stderr)
        return answer

    def wait_for(self, job_id: str, *statuses: str) -> None:
        """Wait until the job has one of ``statuses``. The requests of this wait are not recorded."""
        if not any(job["status"] in statuses for job, _ in polls(self._api, job_id, longest=0.2)):
            raise SystemExit(f"{job_id} ended without the status {' or '.join(statuses)}.")


def is_api(call: calls.Call) -> bool:
    return isinstance(call.invocation.event, dict) and "httpMethod" in call.invocation.event


def resource(call: calls.Call) -> tuple[str, str]:
    return call.invocation.event["httpMethod"], call.invocation.event["resource"]


def wait_until(condition: Callable[[], bool]) -> None:
    for _ in range(300):
        if condition():
            return
        time.sleep(0.2)
    raise SystemExit("The benchmark waited 60 s for a condition in vain.")


def ask_every_route(aws: LocalAws, api: Api, recorder: Recorder, files: list[Path]) -> tuple[str, str]:
    """Run jobs that call every route. Return the ids of a finished job and of a job that waits for people's labels."""

    def upload_files(job_id: str) -> None:
        upload.send(api, job_id, [upload.file(path) for path in files], lambda _file: None)

    done = recorder.ask("POST", "create").json()["id"]
    recorder.ask("GET", "url", params={"JobId": done, "S3Key": "another.jpg"})
    recorder.ask("POST", f"jobs/{done}/urls", json={"names": [f"{number}.png" for number in range(NAMES)]})
    upload_files(done)
    recorder.ask("GET", f"jobs/{done}/uploads")
    body = {"labels": SUPPLIED, "documentTypes": list(TYPES)}
    recorder.ask("POST", "start", params={"JobId": done}, json=body)
    recorder.wait_for(done, "WaitingForLabelling")
    recorder.ask("GET", f"jobs/{done}", "while it waits for labels")
    recorder.ask("GET", f"jobs/{done}/states")
    recorder.ask("POST", f"jobs/{done}/labels", json={"key": "labels.json"})
    recorder.wait_for(done, "Ready")
    recorder.ask("GET", f"jobs/{done}", "done")
    recorder.ask("GET", "list")
    recorder.ask("GET", "model")
    for verb, status in (("stop", "STOPPED"), ("start", "RUNNING")):
        recorder.ask("POST", f"model/{verb}")
        wait_until(lambda status=status: api.model()["status"] == status)  # type: ignore[misc]
    wait_until(lambda: has_report(aws, done))
    recorder.ask("GET", f"jobs/{done}/audit", "of a job that is done")

    labelled = api.create()["id"]
    upload_files(labelled)
    recorder.ask(
        "POST", "start", "labels file uploaded before", params={"JobId": labelled}, json=body | {"labels": WITH_FILE}
    )
    recorder.wait_for(labelled, "Ready")
    recorder.ask("DELETE", f"jobs/{labelled}", "done")
    recorder.ask("DELETE", f"jobs/{api.create()['id']}", "never started")

    people = api.create()["id"]
    upload_files(people)
    api.start(people, body | {"labels": NEVER_LABELLED})
    recorder.wait_for(people, "Labelling")
    recorder.ask("GET", f"jobs/{people}", "while people label")
    recorder.ask("GET", f"jobs/{people}/audit", "the first time while it runs")
    recorder.ask("GET", f"jobs/{people}/audit", "while the report is created, or directly after")
    recorder.ask("POST", f"jobs/{people}/stop", "while people label")
    recorder.wait_for(people, "Stopped")
    recorder.ask("POST", f"jobs/{people}/resume")
    recorder.wait_for(people, "Labelling")
    stopped = api.create()["id"]
    upload_files(stopped)
    api.start(stopped, body | {"labels": NEVER_LABELLED})
    recorder.wait_for(stopped, "Labelling")
    api.stop(stopped)
    wait_until(lambda: not is_labelling(aws, stopped))
    recorder.ask("DELETE", f"jobs/{stopped}", "stopped while people labelled")
    recorder.ask("GET", "openapi.json")
    return done, people


def has_report(aws: LocalAws, job_id: str) -> bool:
    """Whether the job's audit report is stored."""
    s3 = aws.client("s3")
    buckets = [bucket["Name"] for bucket in s3.list_buckets()["Buckets"]]
    keys = (item["Key"] for name in buckets for item in s3.list_objects_v2(Bucket=name).get("Contents", ()))
    return any(key.startswith(f"audit/{job_id}/") and key.endswith(".json") for key in keys)


def is_labelling(aws: LocalAws, job_id: str) -> bool:
    """Whether a labelling job of the job runs or is stopping."""
    labelling_jobs = aws.client("sagemaker").list_labeling_jobs()["LabelingJobSummaryList"]
    return any(
        job["LabelingJobName"].startswith(job_id) and job["LabelingJobStatus"] not in ("Stopped", "Completed")
        for job in labelling_jobs
    )


def documented_routes(http: httpx.Client) -> set[tuple[str, str]]:
    """Method and path of each route of the API's OpenAPI document."""
    paths = http.get("openapi.json").json()["paths"]
    return {(method.upper(), path) for path, item in paths.items() for method in item}


def fill(aws: LocalAws, table_name: str, like: str, jobs: int) -> None:
    """Put ``jobs`` copies of the record of the job ``like`` into the table, with new ids and start times a minute
    apart."""
    table = boto3.Session(**CREDENTIALS).resource("dynamodb", endpoint_url=aws.endpoint).Table(table_name)
    record = table.get_item(Key={"Id": like})["Item"]
    with table.batch_writer() as batch:
        for number in range(jobs):
            job_id = f"ekyc-20200101000000-{number:016x}"
            item = replace_id(record, like, job_id)
            batch.put_item({**item, "StartTime": int(record["StartTime"]) - DAY_MS - number * 60_000})


def replace_id(value: Any, old: str, new: str) -> Any:
    """A copy of the value with the id ``new`` in place of ``old``, also in nested lists and dictionaries."""
    if isinstance(value, str):
        return value.replace(old, new)
    if isinstance(value, list):
        return [replace_id(item, old, new) for item in value]
    if isinstance(value, dict):
        return {name: replace_id(item, old, new) for name, item in value.items()}
    return value


def requests(fresh: str, done: str, running: str) -> Iterator[Ask]:
    """The requests of the load test. `create` is last because it adds jobs to the list."""
    yield Ask("url", "GET", f"url?JobId={fresh}&S3Key=photo.jpg")
    yield Ask(
        "urls, 1,000 names", "POST", f"jobs/{fresh}/urls", {"names": [f"{number}.jpg" for number in range(NAMES)]}
    )
    yield Ask("list, a page of 100", "GET", "list")
    yield Ask("jobs/{id}, done", "GET", f"jobs/{done}")
    yield Ask("jobs/{id}, while people label", "GET", f"jobs/{running}")
    yield Ask("create", "POST", "create")


def main(jobs: int, seconds: float) -> None:
    """Print both tables."""
    # Fast enough for short waits, slow enough that no timeout ends a wait.
    with tempfile.TemporaryDirectory(prefix="ekyc-bench-") as folder, LocalAws(speed=100) as aws:
        files = write_photos(Path(folder) / "photos")
        aws.deploy(synthesize(Path(folder) / "cdk.out", SETTINGS))
        rekognition.current().learns = False
        aws.workforce.stop_answering()
        http = client(aws.api_url)
        api = Api(aws.api_url, boto3.Session(**CREDENTIALS))
        recorder = Recorder(http, api)
        done, running = ask_every_route(aws, api, recorder, files)
        if missing := documented_routes(http) - recorder.routes:
            raise SystemExit(f"The benchmark does not call these routes: {sorted(missing)}")
        print("| Route | AWS calls | which |\n|---|---:|---|")
        for title, operations in recorder.rows:
            print(f"| {title} | {len(operations)} | {', '.join(operations)} |", flush=True)

        print("Filling the table", file=sys.stderr)
        fill(aws, table_name(aws), done, jobs)
        fresh = http.post("create").json()["id"]
        print(f"\n| With {jobs:,} jobs | clients | requests/s | p50 ms | p99 ms | AWS calls |")
        print("|---|---:|---:|---:|---:|---:|")
        busiest = 0.0
        with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as other:
            for ask in requests(fresh, done, running):
                with calls.recorded() as aws_calls:
                    http.request(ask.method, ask.path, json=ask.body).raise_for_status()
                count = sum(map(is_api, aws_calls))
                for clients in CLIENTS:
                    figures = other.submit(load, aws.api_url, ask, clients, seconds).result()
                    busiest = max(busiest, figures.client_cpu)
                    latencies = f"{figures.p50:.0f} | {figures.p99:.0f}"
                    print(f"| {ask.title} | {clients} | {figures.per_second:.1f} | {latencies} | {count} |", flush=True)
        print(f"\nThe clients' process used {busiest:.0%} of one core at most.")


def table_name(aws: LocalAws) -> str:
    (name,) = aws.client("dynamodb").list_tables()["TableNames"]
    return str(name)


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 10_000, float(sys.argv[2]) if len(sys.argv) > 2 else 1.0)
