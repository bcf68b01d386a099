"""Runs a complete job on the embedded local AWS, from photos to a running model that crops documents."""

import json
import os
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import boto3
from rich.status import Status
from rich.table import Table
from rich.text import Text

from ekyc import scoring
from ekyc.cli import contact_sheet, detection, execution, photos, upload, watch
from ekyc.cli.api import Api
from ekyc.cli.detection import Document
from ekyc.cli.errors import CommandError
from ekyc.cli.photos import LabelledFolder
from ekyc.cli.terminal import as_text, console, progress
from ekyc.localaws.server import LocalAws
from ekyc.localaws.synth import synthesize

SHEET_PHOTOS = 12
SPEED = 240  # a wait of five minutes on AWS takes little more than a second
LOOK_EVERY = 0.25  # seconds
FIRST_TIME = 10**12  # numbers from here on are times (Unix ms), which later stages compare
PLAIN_PROGRESS_EVERY = 5  # seconds between progress lines if the output is not a terminal


def run(folder: Path | None, count: int, seed: int, out: Path) -> None:
    """Run the demo on the photos in ``folder``, or on ``count`` specimen photos drawn from ``seed``.

    The contact sheet and the figures are written to ``out``.

    Raises:
        CommandError: the photos cannot be used, or the job did not end with Ready.
    """
    began = time.monotonic()
    user_photos = photos.read(folder) if folder else None
    with TemporaryDirectory() as scratch, ThreadPoolExecutor(1) as background:
        template = background.submit(synthesize, Path(scratch) / "cdk.out")  # takes seconds, in a separate process
        with LocalAws(speed=SPEED) as local:
            labelled = user_photos or photos.read(photos.draw(Path(scratch) / "photos", count, seed))
            with console.status("Deploying the stack to the local AWS"):
                local.deploy(template.result())
            local.workforce.answer_from(labelled.annotations)
            os.environ.update(local.environment())
            console.print(
                Text(f"{time.monotonic() - began:6.1f} s", "dim"), f" local AWS at {local.endpoint}, stack deployed"
            )
            with local.labelling_attended():
                result = _train_and_check(Api(local.api_url, boto3.Session()), labelled, out)
    result["seconds"] = round(time.monotonic() - began, 1)
    (out / "result.json").write_text(json.dumps(result, indent=2) + "\n")
    console.print()
    console.print(
        f"{result['status']} after {result['seconds']:.0f} s: execution {result['execution_status']} "
        f"with {result['history_events']} history events, "
        f"F1 {result['f1']:.3f} and mean IoU {result['mean_iou']:.3f} on photos that the model was not trained on."
    )
    console.print(f"Look at {out / 'contact-sheet.png'}; the figures are in {out / 'result.json'}.")


def _train_and_check(api: Api, labelled: LabelledFolder, out: Path) -> dict[str, Any]:
    session = boto3.Session()
    training_photos, held_out = labelled.split()
    job_id = api.create()["id"]
    with progress(f"Uploading {len(training_photos)} photos to {job_id}", len(training_photos)) as steps:
        upload.send(api, job_id, [upload.file(photo) for photo in training_photos], lambda _file: steps.advance())
    arn = api.start(job_id, {"documentTypes": list(labelled.types)})
    console.print(f"Execution {arn}")
    with console.status("") as status:
        lines = StateLines(status, session, arn)
        for job, _ in watch.polls(api, job_id, longest=LOOK_EVERY):
            lines.show(job)
    history = execution.read(session, arn)
    if job["status"] != "Ready":
        raise CommandError(f"Job {job_id} ended with {job['status']}: {history.error}: {history.cause}")
    model = api.model()["projectVersionArn"]
    with progress(f"Asking the model about {len(held_out)} photos it has not seen", len(held_out)) as steps:
        detections = [(path, _documents(result)) for path, result in detection.detect_all(api, held_out, steps.advance)]
    scores = scoring.score(
        (labelled.documents[path.name], [(document.label, document.box) for document in documents])
        for path, documents in detections
    )
    overall = sum(scores.values(), scoring.Score())
    _print_scores(scores, overall)
    out.mkdir(parents=True, exist_ok=True)
    contact_sheet.draw(_choose_for_sheet(detections)).save(out / "contact-sheet.png", optimize=True)
    return {
        "status": job["status"],
        "job_id": job_id,
        "execution_status": history.status,
        "history_events": history.events,
        "seconds_per_stage": history.seconds_by_state(),
        "photos": {"trained_on": len(training_photos), "held_out": len(held_out)},
        "f1": round(overall.f1, 4),
        "mean_iou": round(overall.mean_iou, 4),
        "per_type": {
            label: {"precision": score.precision, "recall": score.recall, "f1": score.f1, "mean_iou": score.mean_iou}
            for label, score in scores.items()
        },
        "model_arn": model,
    }


class StateLines:
    """Prints a line when the job first enters a state, and the figures that the state returns.

    Loops are shown as progress.
    """

    def __init__(self, status: Status, session: boto3.Session, arn: str) -> None:
        self._status, self._session, self._arn = status, session, arn
        self._entered: set[str] = set()
        self._left = 0
        self._began = self._last_line = time.monotonic()

    def show(self, job: dict[str, Any]) -> None:
        """Print the states entered since the last call, and the progress of the current state."""
        visits = execution.read(self._session, self._arn).visits
        for visit in visits[self._left :]:
            if visit.state not in self._entered:
                self._entered.add(visit.state)
                seconds = time.monotonic() - self._began  # not the history's times: the local AWS's clock runs ahead
                console.print(Text(f"{seconds:6.1f} s", "dim"), f" {visit.state}", Text(visit.kind.lower(), "dim"))
            if visit.left is None:
                break
            self._left += 1
            figures = [
                f"{name} {value}"
                for name, value in visit.output.items()
                if type(value) in (int, float) and value < FIRST_TIME
            ]
            if figures and visit.kind == "Task":
                console.print(as_text(f"          {', '.join(figures)}", "dim"))
        if visits and job["status"] not in watch.ENDED:
            self._show_progress(visits[-1].state, job)

    def _show_progress(self, state: str, job: dict[str, Any]) -> None:
        progress, text = job["progress"], job["detailedStatus"] or job["status"]
        if job["status"] == "Labelling" and progress["total"]:
            text = f"labelled {progress['labelled']} of {progress['total']}"
        self._status.update(as_text(f"{state}: {text}"))
        if not console.is_terminal and time.monotonic() - self._last_line > PLAIN_PROGRESS_EVERY:
            self._last_line = time.monotonic()
            console.print(f"          {text}")


def _print_scores(scores: dict[str, scoring.Score], overall: scoring.Score) -> None:
    table = Table(title="On photos that the model was not trained on")
    table.add_column("document type")
    for name in ("precision", "recall", "F1", "mean IoU"):
        table.add_column(name, justify="right")
    for label, score in [*scores.items(), ("all", overall)]:
        style = "bold" if label == "all" else None
        figures = (score.precision, score.recall, score.f1, score.mean_iou)
        table.add_row(label, *(f"{figure:.3f}" for figure in figures), style=style)
    console.print(table)


def _documents(result: list[Document] | CommandError) -> list[Document]:
    if isinstance(result, CommandError):
        raise result
    return result


def _choose_for_sheet(detections: Sequence[tuple[Path, list[Document]]]) -> list[tuple[Path, list[Document]]]:
    """At most `SHEET_PHOTOS` photos, by path: first one of each document type and one without documents."""
    chosen: dict[Path, list[Document]] = {}
    types: set[str] = set()
    for path, documents in detections:
        label = documents[0].label if documents else ""
        if label not in types:
            types.add(label)
            chosen[path] = documents
    for path, documents in detections:
        if len(chosen) >= SHEET_PHOTOS:
            break
        chosen.setdefault(path, documents)
    return sorted(list(chosen.items())[:SHEET_PHOTOS])
