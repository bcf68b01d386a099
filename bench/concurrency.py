"""Runs many jobs at once against Rekognition's quotas: waiting times, throttled calls, duplicate resources.

    python bench/concurrency.py [JOBS [DEPLOYING]]

Starts JOBS (200) jobs that only train, at once, on the local AWS. Then starts DEPLOYING (20) jobs that start their
model and stop the previous one. The quotas are 2 trainings, 2 running models, and 5 calls per second of each
control-plane operation. Labels are supplied. A training takes ten minutes of service time and learns nothing. Prints a
Markdown table.
"""

from __future__ import annotations

import json
import math
import resource
import statistics
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
import numpy as np
from moto.stepfunctions.parser.models import stepfunctions_parser_backends
from PIL import Image

from ekyc.cli import upload
from ekyc.cli.api import Api
from ekyc.localaws.server import LocalAws
from ekyc.localaws.services import rekognition
from ekyc.localaws.synth import LOCAL_SETTINGS, synthesize

TYPES = ("ID_KTP", "AU_PASSPORT")
PHOTOS_PER_TYPE = 2
TRAINING_SECONDS = 600.0
SETTINGS = {**LOCAL_SETTINGS, "minImages": PHOTOS_PER_TYPE * len(TYPES), "stopPreviousModel": True}


@dataclass(frozen=True)
class Outcome:
    """The results of jobs that were started at once. ``waits`` are service seconds for the scarce resource."""

    statuses: Counter[str]
    duplicates: list[str]
    waits: list[float]
    attempts: list[int]
    service_seconds: float
    real_seconds: float
    answered: Counter[str]
    throttled: Counter[str]


def write_photos(folder: Path) -> list[Path]:
    """Write small different photos of noise and their COCO labels. Return all paths, the labels' path last."""
    folder.mkdir(parents=True)
    noise = np.random.default_rng(0)
    coco: dict[str, Any] = {"images": [], "annotations": [], "categories": []}
    for type_id, label in enumerate(TYPES, 1):
        coco["categories"].append({"id": type_id, "name": label})
        for _ in range(PHOTOS_PER_TYPE):
            number = len(coco["images"]) + 1
            name = f"{number}.jpg"
            Image.fromarray(noise.integers(0, 255, (96, 96, 3), dtype=np.uint8)).save(folder / name)
            coco["images"].append({"id": number, "file_name": name, "width": 96, "height": 96})
            box = {"id": number, "image_id": number, "category_id": type_id, "bbox": [10, 10, 60, 50]}
            coco["annotations"].append(box)
    (folder / "labels.json").write_text(json.dumps(coco))
    return [*sorted(folder.glob("*.jpg")), folder / "labels.json"]


def run(aws: LocalAws, files: Sequence[Path], jobs: int, place: str, **options: Any) -> Outcome:
    """Start ``jobs`` at once and wait until all end. ``place`` is the state that waits for the scarce resource."""
    api = Api(aws.api_url, boto3.Session("local", "local", region_name="us-east-1"))
    custom_labels = rekognition.current()
    stepfunctions = aws.client("stepfunctions")
    before_answered, before_throttled = custom_labels.answered.copy(), custom_labels.throttled.copy()
    ids = [api.create()["id"] for _ in range(jobs)]
    labels = {"provider": "supplied", "key": "labels.json"}
    with ThreadPoolExecutor(4) as pool:
        uploads = [upload.file(path) for path in files]
        list(pool.map(lambda job_id: upload.send(api, job_id, uploads, lambda _file: None), ids))
        began = time.monotonic()
        arns = list(pool.map(lambda job_id: api.start(job_id, {"labels": labels, **options}), ids))
    while _running(arns):
        time.sleep(1)
    real_seconds = time.monotonic() - began
    ends = [stepfunctions.describe_execution(executionArn=arn) for arn in arns]
    waited = [_wait(stepfunctions, arn, place) for arn in arns]
    return Outcome(
        Counter(end["status"] for end in ends),
        _duplicates(custom_labels, ids),
        [seconds for seconds, _ in waited],
        [attempts for _, attempts in waited],
        (max(end["stopDate"] for end in ends) - min(end["startDate"] for end in ends)).total_seconds(),
        real_seconds,
        custom_labels.answered - before_answered,
        custom_labels.throttled - before_throttled,
    )


def _running(arns: Sequence[str]) -> bool:
    """Whether any of the executions runs. Reads moto's state directly: calls would take CPU time from the jobs."""
    machines = stepfunctions_parser_backends["123456789012"]["us-east-1"].state_machines
    executions = [execution for machine in machines for execution in machine.executions]
    return any(execution.status == "RUNNING" for execution in executions if execution.exec_arn in arns)


def _wait(stepfunctions: Any, arn: str, place: str) -> tuple[float, int]:
    """Service seconds from the state's first entry to its exit, and its number of attempts."""
    entered = state = None
    attempts = 0
    for page in stepfunctions.get_paginator("get_execution_history").paginate(executionArn=arn):
        for event in page["events"]:
            if details := event.get("stateEnteredEventDetails"):
                state = details["name"]
                entered = entered or (event["timestamp"] if state == place else None)
            attempts += state == place and event["type"] == "TaskScheduled"
            if event.get("stateExitedEventDetails", {}).get("name") == place and entered:
                return (event["timestamp"] - entered).total_seconds(), attempts
    raise SystemExit(f"{arn} never left {place}.")


def _duplicates(custom_labels: rekognition.CustomLabels, ids: Sequence[str]) -> list[str]:
    """Jobs that do not have exactly one project with two datasets and one model."""
    resources = {
        name: (sorted(project.datasets), list(project.versions)) for name, project in custom_labels._projects.items()
    }
    return [job_id for job_id in ids if resources.get(job_id) != (["TEST", "TRAIN"], [job_id])]


def rows(name: str, outcome: Outcome) -> str:
    """The table's rows of one run."""
    minutes = [seconds / 60 for seconds in outcome.waits]
    figures = {
        "ended": ", ".join(f"{count} {status}" for status, count in outcome.statuses.items()),
        "with anything created twice": len(outcome.duplicates),
        "real s": f"{outcome.real_seconds:.0f}",
        "executions a real s": f"{len(minutes) / outcome.real_seconds:.1f}",
        "service h": f"{outcome.service_seconds / 3600:.1f}",
        "wait, mean / longest, service min": f"{statistics.fmean(minutes):.0f} / {max(minutes):.0f}",
        "tries, mean / most": f"{statistics.fmean(outcome.attempts):.0f} / {max(outcome.attempts)}",
        "calls answered": f"{outcome.answered.total():,}",
        "calls throttled and retried": f"{outcome.throttled.total():,}",
        "most throttled operation": ", ".join(f"{op} {n}" for op, n in outcome.throttled.most_common(1)) or "none",
    }
    return "\n".join(f"| {name} | {what} | {figure} |" for what, figure in figures.items())


def main(training: int, deploying: int) -> None:
    """Run both groups of jobs and print the table."""
    with tempfile.TemporaryDirectory(prefix="ekyc-bench-") as folder, LocalAws(speed=math.inf) as aws:
        files = write_photos(Path(folder) / "photos")
        aws.deploy(synthesize(Path(folder) / "cdk.out", SETTINGS))
        custom_labels = rekognition.current()
        custom_labels.learns, custom_labels.training_seconds = False, TRAINING_SECONDS
        custom_labels.max_projects = training + deploying  # AWS raises this quota on request
        print("| Jobs at once | | |\n|---|---|---:|", flush=True)
        outcome = run(aws, files, training, "Start training", deploy=False)
        print(rows(f"{training} that train", outcome), flush=True)
        outcome = run(aws, files, deploying, "Start model", deploy=True)
        print(rows(f"{deploying} that deploy and stop the one before", outcome), flush=True)
        print(f"\nLocal AWS: {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} MB at most.")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 200, int(sys.argv[2]) if len(sys.argv) > 2 else 20)
