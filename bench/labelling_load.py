"""Measures the labelling page's API while twenty people label, and checks that no answer is lost or counted twice.

    python bench/labelling_load.py [PHOTOS [PEOPLE]]

PEOPLE (20) sign in to the deployed stack on the local AWS and label PHOTOS (2,000), first with a photo every two
seconds each, then without a pause. Each is a thread of another process with a connection of its own, and calls the API
as the page does: takes three photos, and after each answer another one. Every tenth answer is sent twice, as after a
lost response. Then each photo must have one accepted answer, or two of different people if it was drawn for the check,
and the labelled manifest must have exactly the box of the first.

Prints Markdown tables. Exits with an error if an answer is lost or counted twice.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import io
import json
import multiprocessing
import os
import random
import secrets
import statistics
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import boto3
import httpx
from PIL import Image

from ekyc.cli import upload
from ekyc.cli.api import Api
from ekyc.localaws.clock import clock
from ekyc.localaws.server import LocalAws
from ekyc.localaws.synth import LOCAL_SETTINGS, synthesize
from rules.people import LABELLERS

PHOTOS, PEOPLE = 2_000, 20
PACES = {"a photo every 2 s": 2.0, "no pause": 0.0}
AHEAD = 3  # photos that the page has leased at a time
WAIT = 0.5  # seconds until a person asks again while other people have the last photos
TYPES = ("AU_PASSPORT", "ID_KTP")
SIDE = 64
TARGET_MS = 300
SETTINGS = {**LOCAL_SETTINGS, "labellingUserPool": "create", "labelPage.reviewShare": 0}

Box = dict[str, Any]


@dataclass(frozen=True, order=True)
class Accepted:
    """An answer that the API accepted. ``is_drawn``: a second person may label the photo too, as a check."""

    place: int
    sent: float
    person: str
    is_drawn: bool
    box: Box = field(compare=False)


@dataclass
class Work:
    """What a person did: the milliseconds of each call, the accepted answers, and the calls that the API refused."""

    took: dict[str, list[float]] = field(default_factory=lambda: {"next": [], "answer": []})
    accepted: list[Accepted] = field(default_factory=list)
    refused: Counter[str] = field(default_factory=Counter)


@contextlib.contextmanager
def measured(took: list[float]) -> Iterator[None]:
    began = time.perf_counter()
    yield
    took.append(1000 * (time.perf_counter() - began))


def label(url: str, token: str, job_id: str, pace: float) -> Work:
    """Label as one person until all photos are labelled. ``pace`` is the mean time for a photo in seconds."""
    work, chance = Work(), random.Random(token)  # noqa: S311
    with httpx.Client(
        base_url=f"{url}/api/labelling/jobs/{job_id}/", headers={"Authorization": token}, timeout=60
    ) as http:
        time.sleep(chance.uniform(0, pace))
        tasks: list[dict[str, Any]] = []
        while True:
            with measured(work.took["next"]):
                response = http.post("next", json={"count": AHEAD - len(tasks)})
            if response.is_success:
                tasks += response.json()["tasks"]
            elif response.status_code != 409:  # all photos are labelled
                work.refused[f"next {response.status_code}"] += 1
            if not tasks:
                if response.status_code == 409:
                    return work
                time.sleep(WAIT)
                continue
            task = tasks.pop(0)
            box = {"type": chance.choice(TYPES), "left": chance.randrange(30), "top": 4, "width": 20, "height": 20}
            time.sleep(chance.uniform(0.5, 1.5) * pace)
            body = {"leaseId": task["leaseId"], "outcome": "labelled", "boxes": [box], "seconds": pace}
            sent, is_drawn = time.monotonic(), task["proposals"] is None
            with measured(work.took["answer"]):
                response = http.put(f"answers/{task['place']}", json=body)
            if response.is_success:
                work.accepted.append(Accepted(task["place"], sent, token, is_drawn, box))
            elif not (is_drawn and response.status_code == 409):  # a check, and the job is over
                work.refused[f"answer {response.status_code}"] += 1
            if chance.random() < 0.1:
                http.put(f"answers/{task['place']}", json=body)  # the job may be over then
    return work


def label_together(url: str, tokens: Sequence[str], job_id: str, pace: float) -> list[Work]:
    """Label as all people at once. Runs in a process of its own."""
    with ThreadPoolExecutor(len(tokens)) as pool:
        return list(pool.map(lambda token: label(url, token, job_id, pace), tokens))


def sign_in(aws: LocalAws, name: str) -> str:
    """Sign in as a new person as the page does, and return the ID token."""
    verifier = secrets.token_urlsafe(32)
    challenge = base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).rstrip(b"=").decode()
    with httpx.Client(base_url=aws.endpoint) as http:
        page = http.get(aws.sign_in_link(name, LABELLERS)).headers["Location"]
        settings = http.get("/api/labelling/sign-in").json()
        client = {"client_id": settings["clientId"], "redirect_uri": page}
        asked = {"response_type": "code", "scope": " ".join(settings["scopes"]), "state": "state", "nonce": "nonce"}
        proof = {"code_challenge": challenge, "code_challenge_method": "S256"}
        answer = http.get(settings["server"]["authorization_endpoint"], params=client | asked | proof)
        (code,) = parse_qs(urlsplit(answer.headers["Location"]).query)["code"]
        form = {"grant_type": "authorization_code", "code": code, "code_verifier": verifier}
        tokens = http.post(settings["server"]["token_endpoint"], data=client | form).raise_for_status().json()
    return str(tokens["id_token"])


def write_photos(folder: Path, count: int) -> list[upload.File]:
    """Write small photos of noise."""
    folder.mkdir()
    for number in range(count):
        content = io.BytesIO()
        Image.effect_noise((SIDE, SIDE), 40 + number % 60).save(content, "PNG")
        (folder / f"{number:05}.png").write_bytes(content.getvalue())
    return [upload.file(path) for path in sorted(folder.iterdir())]


def wait_for(api: Api, job_id: str, status: str) -> None:
    deadline = time.monotonic() + 600
    while (job := api.job(job_id))["status"] != status:
        if job["status"] in ("Failed", "Rejected") or time.monotonic() > deadline:
            raise SystemExit(f"The job is {job['status']}, not {status}: {job.get('cause')}")
        time.sleep(0.5)


def labels(aws: LocalAws, machine: str, job_id: str) -> tuple[list[tuple[int, Box]], int]:
    """The boxes in the labelled manifest by the photos' places, and the number of answers that were counted."""
    arn = f"{machine.replace(':stateMachine:', ':execution:')}:{job_id}"
    deadline = time.monotonic() + 300
    while time.monotonic() < deadline:
        events = aws.client("stepfunctions").get_execution_history(executionArn=arn, maxResults=1000)["events"]
        exits = (event.get("stateExitedEventDetails", {}) for event in events)
        output = next((json.loads(one["output"]) for one in exits if one.get("name") == "Request labels"), None)
        if output:
            bucket, key = output["manifest"].removeprefix("s3://").split("/", 1)
            manifest = aws.client("s3").get_object(Bucket=bucket, Key=key)["Body"].read().decode()
            answers = sum(person["answers"] for person in output["people"])
            return [
                (place, as_drawn(line, annotation))
                for place, line in enumerate(map(json.loads, manifest.splitlines()), 1)
                for annotation in line["doctype"]["annotations"]
            ], answers
        time.sleep(0.5)
    raise SystemExit("The labels were not merged within five minutes.")


def as_drawn(line: Any, annotation: dict[str, Any]) -> Box:
    kind = line["doctype-metadata"]["class-map"][str(annotation["class_id"])]
    return {"type": kind, **{side: annotation[side] for side in ("left", "top", "width", "height")}}


def check(works: Sequence[Work], photos: int, merged: list[tuple[int, Box]], counted: int) -> None:
    """Check that each photo was labelled once, or was also checked once, and that the labels are the first boxes."""
    accepted = sorted(answer for work in works for answer in work.accepted)
    by_place: dict[int, list[Accepted]] = {place: [] for place in range(1, photos + 1)}
    for answer in accepted:
        by_place[answer.place].append(answer)
    for place, answers in by_place.items():
        people = {answer.person for answer in answers}
        if not 1 <= len(answers) == len(people) <= 1 + answers[0].is_drawn:
            raise SystemExit(f"Photo {place} has {len(answers)} accepted answers of {len(people)} people.")
    first = [(place, answers[0].box) for place, answers in by_place.items()]
    if merged != first:
        raise SystemExit(f"The labels differ from the answers: {[one for one in merged if one not in first][:9]}")
    if counted != len(accepted):
        raise SystemExit(f"{counted} answers were counted, but {len(accepted)} were accepted.")
    if refused := sum((work.refused for work in works), Counter[str]()):
        raise SystemExit(f"The API refused calls: {dict(refused)}")


def cpu_seconds() -> tuple[float, float]:
    """The CPU seconds of all processes of this machine since its start, and all seconds of all cores."""
    user, nice, system, idle, iowait, *_ = map(int, Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:])
    ticks = os.sysconf("SC_CLK_TCK")
    return (user + nice + system) / ticks, (user + nice + system + idle + iowait) / ticks


def percentiles(took: Sequence[float]) -> str:
    cuts = statistics.quantiles(took, n=100, method="inclusive")
    return " | ".join(f"{value:.0f}" for value in (cuts[49], cuts[94], cuts[98], max(took)))


def main(photos: int, people: int) -> None:
    """Print the latencies of both paces, and the use of the CPU."""
    notes = []
    with tempfile.TemporaryDirectory(prefix="ekyc-bench-") as folder, LocalAws(speed=100) as aws:
        files = write_photos(Path(folder) / "photos", photos)
        machine = aws.deploy(synthesize(Path(folder) / "cdk.out", SETTINGS))["StateMachineArn"]
        api = Api(aws.api_url, boto3.Session("local", "local", region_name="us-east-1"))
        print(f"| {people} people, {photos:,} photos | call | calls | p50 ms | p95 ms | p99 ms | longest ms |")
        print("|---|---|---:|---:|---:|---:|---:|")
        for name, pace in PACES.items():
            job_id = api.create()["id"]
            upload.send(api, job_id, files, lambda _file: None)
            clock.speed = 100
            api.start(job_id, {"labels": {"provider": "page"}, "documentTypes": list(TYPES), "deploy": False})
            wait_for(api, job_id, "Labelling")
            clock.speed = 1  # a lease of three minutes lasts as long
            tokens = [sign_in(aws, f"Person {number}") for number in range(people)]
            began, (busy, total), own = time.perf_counter(), cpu_seconds(), time.process_time()
            with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as other:
                works = other.submit(label_together, aws.api_url, tokens, job_id, pace).result()
            seconds, own = time.perf_counter() - began, time.process_time() - own
            busy, total = (after - before for after, before in zip(cpu_seconds(), (busy, total), strict=True))
            check(works, photos, *labels(aws, machine, job_id))
            api.stop(job_id)
            for call in ("next", "answer"):
                took = [duration for work in works for duration in work.took[call]]
                print(f"| {name} | {call} | {len(took):,} | {percentiles(took)} |", flush=True)
            notes.append(
                f"With {name}: {seconds:.0f} s, {photos / seconds:.1f} photos/s. The machine's cores were busy "
                f"{busy / total:.0%} of the time, and the process of the local AWS used {own / seconds:.0%} of a core."
            )
    print("\nNo answer was lost or counted twice. " + " ".join(notes))


if __name__ == "__main__":
    arguments = [int(argument) for argument in sys.argv[1:]]
    main(*arguments[:2], *(PHOTOS, PEOPLE)[len(arguments) :])
