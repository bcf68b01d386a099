"""Runs the longest job that the deadlines allow and counts its history by phase. The local AWS's clock skips waits.

    python bench/long_jobs.py [--write]

One execution of the real state machine with its default settings: people label for 30 days, no training slot is free
for a week, and the training takes 72 hours. `--write` also updates the table in docs/reliability.md with `make docs`.
"""

from __future__ import annotations

import math
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterable, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

import boto3

from ekyc import samples
from ekyc.cli import upload
from ekyc.cli.api import Api
from ekyc.cli.watch import conclusion, polls
from ekyc.localaws.clock import clock
from ekyc.localaws.server import LocalAws
from ekyc.localaws.services import groundtruth, rekognition
from ekyc.localaws.synth import synthesize

DAY = 86400
LABELLING_DAYS, TRAINING_HOURS, SLOT_DAYS = 30, 72, 7
# Leaves time for a heartbeat, a poll and a retry before the deadline.
MARGIN = 1800
PHASES = {
    "labelling": [
        "What is done?",
        "Plan photos",
        "Check photos",
        "Collect photos",
        "Labels supplied?",
        "Request labels",
        "Labels posted?",
        "Import labels",
    ],
    "datasets": ["Prepare datasets", "Create datasets", "Wait for datasets", "Check datasets", "Datasets ready?"],
    "training slot": ["Start training"],
    "training": ["Wait for training", "Check training", "Training done?"],
    "model": [
        "Evaluate model",
        "Good enough?",
        "Deploy?",
        "Start model",
        "Wait for model",
        "Check model",
        "Model running?",
        "Publish model",
        "Model ready",
    ],
}
PHASE_OF = {state: phase for phase, states in PHASES.items() for state in states}
PROJECT = Path(__file__).resolve().parents[1]
FIGURES = PROJECT / "build" / "long-jobs"
MOST_EVENTS, MOST_WITH_SLOT_WAIT = 10_000, 15_000  # of the 25,000 at which Step Functions fails an execution


def prolong(photos: int) -> None:
    """Make labelling of ``photos`` take 30 days and a training 72 hours, and free no training slot for a week after
    labelling, each less a margin. Trainings learn nothing: the benchmark needs no detections."""
    workforce, custom_labels = groundtruth.workforce, rekognition.current()
    workforce.seconds_per_photo = (LABELLING_DAYS * DAY - MARGIN) * workforce.workers / photos
    custom_labels.training_seconds = TRAINING_HOURS * 3600 - MARGIN
    custom_labels.learns = False
    custom_labels.max_trainings = 0
    clock.background(_free_slots, custom_labels, (LABELLING_DAYS + SLOT_DAYS) * DAY - MARGIN)


def _free_slots(custom_labels: rekognition.CustomLabels, after: float) -> None:
    custom_labels.sleep(after)
    custom_labels.max_trainings = 2


def count(history: Iterable[Mapping[str, Any]]) -> dict[str, Counter[str]]:
    """History events, billed state transitions and seconds, by phase and in total.

    Each entry of a state and each retry is a transition (Step Functions pricing page). The first and the last event
    belong to no phase.
    """
    counts: dict[str, Counter[str]] = {phase: Counter() for phase in PHASES}
    phase = ""
    since: datetime | None = None
    scheduled = 0
    for event in history:
        if phase and since:
            counts[phase]["seconds"] += round((event["timestamp"] - since).total_seconds())
        since = event["timestamp"]
        if entered := event.get("stateEnteredEventDetails"):
            phase, scheduled = PHASE_OF[entered["name"]], 0
            counts[phase]["transitions"] += 1
        if event["type"] == "TaskScheduled":
            counts[phase]["transitions"] += scheduled > 0
            scheduled += 1
        if phase and not event["type"].startswith("Execution"):
            counts[phase]["events"] += 1
    total: Counter[str] = sum(counts.values(), Counter())
    total["events"] += 2
    return counts | {"whole execution": total}


def run(assembly: Path, photos: Path) -> dict[str, Counter[str]]:
    """Run a job from photos to a running model, and return its counts."""
    paths = sorted(photos.glob("*.jpg"))
    with LocalAws(speed=math.inf) as aws:
        aws.deploy(assembly)
        aws.workforce.answer_from(photos / "annotations.json", unanswered_share=0)
        prolong(len(paths))
        api = Api(aws.api_url, boto3.Session("local", "local", region_name="us-east-1"))
        job_id = api.create()["id"]
        upload.send(api, job_id, [upload.file(path) for path in paths], lambda _file: None)
        arn = api.start(job_id, {"labels": {"provider": "ground-truth"}})
        *_, (job, _states) = polls(api, job_id, longest=0.5)
        if job["status"] != "Ready":
            raise SystemExit(conclusion(job))
        pages = aws.client("stepfunctions").get_paginator("get_execution_history").paginate(executionArn=arn)
        return count(event for page in pages for event in page["events"])


def table(counts: Mapping[str, Counter[str]]) -> str:
    """A row for each phase, and for the whole execution with and without the wait for a slot."""
    whole, slot = counts["whole execution"], counts["training slot"]
    # With a free slot the state is entered, scheduled, started, succeeded and left, in one transition.
    at_once = Counter(events=5, transitions=1)
    rows = counts | {"whole execution, with a slot free at once": whole - slot + at_once}
    lines = ["| Phase | time | history events | billed transitions |", "|---|---:|---:|---:|"]
    for phase, figures in rows.items():
        seconds = figures["seconds"]
        duration = f"{seconds / DAY:.1f} days" if seconds > DAY else f"{seconds / 60:.0f} min"
        lines.append(f"| {phase} | {duration} | {figures['events']:,} | {figures['transitions']:,} |")
    return "\n".join(lines)


def write(text: str) -> None:
    """Replace the table in docs/reliability.md."""
    FIGURES.mkdir(parents=True, exist_ok=True)
    (FIGURES / "long_jobs.md").write_text(text)
    subprocess.run(["make", "docs", f"FIGURES={FIGURES}"], cwd=PROJECT, check=True)  # noqa: S603, S607


def main() -> None:
    """Run the job and print the table."""
    with tempfile.TemporaryDirectory(prefix="ekyc-bench-") as folder:
        assembly, photos = synthesize(Path(folder) / "cdk.out"), Path(folder) / "photos"
        samples.write(photos, 30, seed=0)
        began = time.monotonic()
        counts = run(assembly, photos)
        days = counts["whole execution"]["seconds"] / DAY
        print(f"{days:.1f} days simulated in {time.monotonic() - began:.0f} s\n\n{table(counts)}")
    if "--write" in sys.argv:
        write(table(counts))
    events, slot_events = counts["whole execution"]["events"], counts["training slot"]["events"]
    if events - slot_events >= MOST_EVENTS or events >= MOST_WITH_SLOT_WAIT:
        sys.exit(f"Too many history events: {events:,}, {events - slot_events:,} of them without the wait for a slot.")


if __name__ == "__main__":
    main()
