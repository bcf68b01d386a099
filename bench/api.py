"""The HTTP API: AWS calls that a request makes, requests a second and their latencies, on the local AWS.

    python bench/api.py [JOBS [SECONDS]]

Whole jobs call each route of the OpenAPI document, and the local AWS tells which AWS calls the API's function made.
Then JOBS (10,000) records are put into the table, copies of a finished job's, and 1, 8 and 32 clients ask for SECONDS
(1) as fast as they are answered. They are threads of one other process, each with a connection of its own that is kept
alive, and sign their requests as the CLI does. The API's function has two workers here, as has each function of the
local AWS. Prints Markdown tables.
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
from ekyc.cli.watch import looks
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
    """A request, and what is said of it in the table."""

    title: str
    method: str
    path: str
    body: Any = None


@dataclass(frozen=True)
class Figures:
    """What clients saw: answers a second, and milliseconds that half and 99 of 100 waited at most."""

    per_second: float
    p50: float
    p99: float
    client_cpu: float


def client(url: str) -> httpx.Client:
    """A client that signs as `ekyc` does and keeps its connection."""
    session = boto3.Session(**CREDENTIALS)
    return httpx.Client(base_url=url + ROOT, auth=SignedByAws(session), timeout=60)


def load(url: str, ask: Ask, clients: int, seconds: float) -> Figures:
    """In a process of its own: so many clients ask again and again."""

    def one(http: httpx.Client) -> list[float]:
        took = []
        while time.perf_counter() < until:
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
    until = began + seconds
    with ThreadPoolExecutor(clients) as pool:
        took = sorted(second for one_client in pool.map(one, https) for second in one_client)
    wall = time.perf_counter() - began
    p50, p99 = statistics.median(took) * 1000, took[int(len(took) * 0.99)] * 1000
    return Figures(len(took) / wall, p50, p99, (time.process_time() - cpu) / wall)


class Recorder:
    """Asks the API one request after the other and keeps the AWS calls that each made."""

    def __init__(self, http: httpx.Client, api: Api) -> None:
        self._http, self._api = http, api
        self.rows: list[tuple[str, list[str]]] = []
        self.routes: set[tuple[str, str]] = set()

    def ask(self, method: str, path: str, when: str = "", **arguments: Any) -> httpx.Response:
        """The answer; its calls become a row, with ``when`` it was asked."""
        with calls.recorded() as made:
            answer = self._http.request(method, path, **arguments)
        if answer.status_code >= 400:
            raise SystemExit(f"{method} {path}: {answer.status_code} {answer.text[:200]}")
        mine = [call for call in made if is_api(call)]
        route = next((resource(call) for call in mine), (method, ROOT + path))
        self.routes.add(route)
        title = f"{route[0]} {route[1].removeprefix(ROOT)}" + (f", {when}" if when else "")
        self.rows.append((title, [call.operation for call in mine]))
        print(title, file=sys.stderr)
        return answer

    def until(self, job_id: str, *statuses: str) -> None:
        """Wait for the job to have one of ``statuses``, beside the record."""
        if not any(job["status"] in statuses for job, _ in looks(self._api, job_id, longest=0.2)):
            raise SystemExit(f"{job_id} ended without being {' or '.join(statuses)}.")


def is_api(call: calls.Call) -> bool:
    return isinstance(call.invocation.event, dict) and "httpMethod" in call.invocation.event


def resource(call: calls.Call) -> tuple[str, str]:
    return call.invocation.event["httpMethod"], call.invocation.event["resource"]


def eventually(condition: Callable[[], bool]) -> None:
    for _ in range(300):
        if condition():
            return
        time.sleep(0.2)
    raise SystemExit("What the benchmark waits for does not happen.")


def ask_every_route(aws: LocalAws, api: Api, recorder: Recorder, files: list[Path]) -> tuple[str, str]:
    """Run jobs that need every route; the ids of one that is done and of one for which people label."""

    def uploaded(job_id: str) -> None:
        upload.send(api, job_id, [upload.file(path) for path in files], lambda _file: None)

    done = recorder.ask("POST", "create").json()["id"]
    recorder.ask("GET", "url", params={"JobId": done, "S3Key": "another.jpg"})
    recorder.ask("POST", f"jobs/{done}/urls", json={"names": [f"{number}.png" for number in range(NAMES)]})
    uploaded(done)
    recorder.ask("GET", f"jobs/{done}/uploads")
    body = {"labels": SUPPLIED, "documentTypes": list(TYPES)}
    recorder.ask("POST", "start", params={"JobId": done}, json=body)
    recorder.until(done, "WaitingForLabelling")
    recorder.ask("GET", f"jobs/{done}", "while it waits for labels")
    recorder.ask("GET", f"jobs/{done}/states")
    recorder.ask("POST", f"jobs/{done}/labels", json={"key": "labels.json"})
    recorder.until(done, "Ready")
    recorder.ask("GET", f"jobs/{done}", "done")
    recorder.ask("GET", "list")
    recorder.ask("GET", "model")
    for verb, status in (("stop", "STOPPED"), ("start", "RUNNING")):
        recorder.ask("POST", f"model/{verb}")
        eventually(lambda status=status: api.model()["status"] == status)  # type: ignore[misc]
    eventually(lambda: audited(aws, done))
    recorder.ask("GET", f"jobs/{done}/audit", "of a job that is done")

    labelled = api.create()["id"]
    uploaded(labelled)
    recorder.ask(
        "POST", "start", "labels file uploaded before", params={"JobId": labelled}, json=body | {"labels": WITH_FILE}
    )
    recorder.until(labelled, "Ready")
    recorder.ask("DELETE", f"jobs/{labelled}", "done")
    recorder.ask("DELETE", f"jobs/{api.create()['id']}", "never started")

    people = api.create()["id"]
    uploaded(people)
    api.start(people, body | {"labels": NEVER_LABELLED})
    recorder.until(people, "Labelling")
    recorder.ask("GET", f"jobs/{people}", "while people label")
    recorder.ask("GET", f"jobs/{people}/audit", "the first time while it runs")
    recorder.ask("GET", f"jobs/{people}/audit", "while the report is made, or made just now")
    recorder.ask("POST", f"jobs/{people}/stop", "while people label")
    recorder.until(people, "Stopped")
    recorder.ask("POST", f"jobs/{people}/resume")
    recorder.until(people, "Labelling")
    stopped = api.create()["id"]
    uploaded(stopped)
    api.start(stopped, body | {"labels": NEVER_LABELLED})
    recorder.until(stopped, "Labelling")
    api.stop(stopped)
    eventually(lambda: not labels(aws, stopped))
    recorder.ask("DELETE", f"jobs/{stopped}", "stopped while people labelled")
    recorder.ask("GET", "openapi.json")
    return done, people


def audited(aws: LocalAws, job_id: str) -> bool:
    """Whether the report of the job is kept."""
    s3 = aws.client("s3")
    buckets = [bucket["Name"] for bucket in s3.list_buckets()["Buckets"]]
    keys = (one["Key"] for name in buckets for one in s3.list_objects_v2(Bucket=name).get("Contents", ()))
    return any(key.startswith(f"audit/{job_id}/") and key.endswith(".json") for key in keys)


def labels(aws: LocalAws, job_id: str) -> bool:
    """Whether a labelling job of the job goes on, or is being stopped."""
    found = aws.client("sagemaker").list_labeling_jobs()["LabelingJobSummaryList"]
    return any(
        job["LabelingJobName"].startswith(job_id) and job["LabelingJobStatus"] not in ("Stopped", "Completed")
        for job in found
    )


def described(http: httpx.Client) -> set[tuple[str, str]]:
    """Method and path of every route of the OpenAPI document that the API answers."""
    paths = http.get("openapi.json").json()["paths"]
    return {(method.upper(), path) for path, item in paths.items() for method in item}


def fill(aws: LocalAws, table_name: str, like: str, jobs: int) -> None:
    """Put so many copies of the job's record into the table, each with an id of its own and a minute apart."""
    table = boto3.Session(**CREDENTIALS).resource("dynamodb", endpoint_url=aws.endpoint).Table(table_name)
    record = table.get_item(Key={"Id": like})["Item"]
    with table.batch_writer() as batch:
        for number in range(jobs):
            job_id = f"ekyc-20200101000000-{number:016x}"
            item = renamed(record, like, job_id)
            batch.put_item({**item, "StartTime": int(record["StartTime"]) - DAY_MS - number * 60_000})


def renamed(value: Any, old: str, new: str) -> Any:
    """The value with another job's id in all its texts."""
    if isinstance(value, str):
        return value.replace(old, new)
    if isinstance(value, list):
        return [renamed(one, old, new) for one in value]
    if isinstance(value, dict):
        return {name: renamed(one, old, new) for name, one in value.items()}
    return value


def requests(fresh: str, done: str, running: str) -> Iterator[Ask]:
    """What the clients ask; `create` last, as it makes the list longer."""
    yield Ask("url", "GET", f"url?JobId={fresh}&S3Key=photo.jpg")
    yield Ask("urls, 1,000 names", "POST", f"jobs/{fresh}/urls", {"names": [f"{one}.jpg" for one in range(NAMES)]})
    yield Ask("list, a page of 100", "GET", "list")
    yield Ask("jobs/{id}, done", "GET", f"jobs/{done}")
    yield Ask("jobs/{id}, while people label", "GET", f"jobs/{running}")
    yield Ask("create", "POST", "create")


def main(jobs: int, seconds: float) -> None:
    """Print both tables."""
    # Fast enough that nothing is waited for long, slow enough that nobody's patience ends.
    with tempfile.TemporaryDirectory(prefix="ekyc-bench-") as folder, LocalAws(speed=100) as aws:
        files = write_photos(Path(folder) / "photos")
        aws.deploy(synthesize(Path(folder) / "cdk.out", SETTINGS))
        rekognition.current().learns = False
        aws.workforce.leave_to_people()
        http = client(aws.api_url)
        api = Api(aws.api_url, boto3.Session(**CREDENTIALS))
        recorder = Recorder(http, api)
        done, running = ask_every_route(aws, api, recorder, files)
        if missing := described(http) - recorder.routes:
            raise SystemExit(f"Not asked: {sorted(missing)}")
        print("| Route | AWS calls | which |\n|---|---:|---|")
        for title, made in recorder.rows:
            print(f"| {title} | {len(made)} | {', '.join(made)} |", flush=True)

        print("filling the table", file=sys.stderr)
        fill(aws, table_name(aws), done, jobs)
        fresh = http.post("create").json()["id"]
        print(f"\n| With {jobs:,} jobs | clients | requests/s | p50 ms | p99 ms | AWS calls |")
        print("|---|---:|---:|---:|---:|---:|")
        busiest = 0.0
        with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as other:
            for ask in requests(fresh, done, running):
                with calls.recorded() as made_calls:
                    http.request(ask.method, ask.path, json=ask.body).raise_for_status()
                count = sum(map(is_api, made_calls))
                for clients in CLIENTS:
                    seen = other.submit(load, aws.api_url, ask, clients, seconds).result()
                    busiest = max(busiest, seen.client_cpu)
                    latencies = f"{seen.p50:.0f} | {seen.p99:.0f}"
                    print(f"| {ask.title} | {clients} | {seen.per_second:.1f} | {latencies} | {count} |", flush=True)
        print(f"\nThe clients' process used {busiest:.0%} of one core at most.")


def table_name(aws: LocalAws) -> str:
    (name,) = aws.client("dynamodb").list_tables()["TableNames"]
    return str(name)


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 10_000, float(sys.argv[2]) if len(sys.argv) > 2 else 1.0)
