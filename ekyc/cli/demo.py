"""The whole job on the embedded local AWS: photographs in, a running model that crops documents out."""

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
SPEED = 240  # what AWS takes five minutes for is waited for little more than a second
LOOK_EVERY = 0.25  # seconds
PLAIN_PROGRESS_EVERY = 5  # seconds, where there is no terminal to show it live


def run(folder: Path | None, count: int, seed: int, out: Path) -> None:
    """Run the demo on the photos of ``folder``, or on ``count`` specimen photos of ``seed``; the results go to ``out``.

    Raises:
        CommandError: the photos cannot be used, or the job did not end well.
    """
    began = time.monotonic()
    own = photos.read(folder) if folder else None
    with TemporaryDirectory() as scratch, ThreadPoolExecutor(1) as aside:
        template = aside.submit(synthesize, Path(scratch) / "cdk.out")  # takes seconds, in a process of its own
        with LocalAws(speed=SPEED) as local:
            labelled = own or photos.read(photos.draw(Path(scratch) / "photos", count, seed))
            with console.status("Deploying the stack to the local AWS"):
                local.deploy(template.result())
            local.workforce.answer_from(labelled.annotations)
            os.environ.update(local.environment())
            console.print(
                Text(f"{time.monotonic() - began:6.1f} s", "dim"), f" local AWS at {local.endpoint}, stack deployed"
            )
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
        for job, _ in watch.looks(api, job_id, longest=LOOK_EVERY):
            lines.show(job)
    ended = execution.read(session, arn)
    if job["status"] != "Ready":
        raise CommandError(f"Job {job_id} ended {job['status']}: {ended.error}: {ended.cause}")
    model = api.model()["projectVersionArn"]
    with progress(f"Asking the model about {len(held_out)} photos it has not seen", len(held_out)) as steps:
        found = [
            (path, _found(result)) for path, result in detection.detect_all(session, model, held_out, steps.advance)
        ]
    scores = scoring.score(
        (labelled.documents[path.name], [(document.label, document.box) for document in documents])
        for path, documents in found
    )
    overall = sum(scores.values(), scoring.Score())
    _print_scores(scores, overall)
    out.mkdir(parents=True, exist_ok=True)
    contact_sheet.draw(_worth_showing(found)).save(out / "contact-sheet.png", optimize=True)
    return {
        "status": job["status"],
        "job_id": job_id,
        "execution_status": ended.status,
        "history_events": ended.events,
        "seconds_per_stage": ended.seconds_by_state(),
        "photos": {"trained_on": len(training_photos), "held_out": len(held_out)},
        "f1": round(overall.f1, 4),
        "mean_iou": round(overall.mean_iou, 4),
        "per_type": {
            label: {"precision": one.precision, "recall": one.recall, "f1": one.f1, "mean_iou": one.mean_iou}
            for label, one in scores.items()
        },
        "model_arn": model,
    }


class StateLines:
    """Prints a line for each state as it is entered and the figures that it returned; loops show as progress."""

    def __init__(self, status: Status, session: boto3.Session, arn: str) -> None:
        self._status, self._session, self._arn = status, session, arn
        self._entered: set[str] = set()
        self._left = 0
        self._began = self._told = time.monotonic()

    def show(self, job: dict[str, Any]) -> None:
        """Print what happened since the last call, and how far the state is that the job is in."""
        visits = execution.read(self._session, self._arn).visits
        for visit in visits[self._left :]:
            if visit.state not in self._entered:
                self._entered.add(visit.state)
                seconds = time.monotonic() - self._began  # the history's times are the local AWS's, which run ahead
                console.print(Text(f"{seconds:6.1f} s", "dim"), f" {visit.state}", Text(visit.kind.lower(), "dim"))
            if visit.left is None:
                break
            self._left += 1
            figures = [f"{name} {value}" for name, value in visit.output.items() if type(value) in (int, float)]
            if figures and visit.kind == "Task":
                console.print(as_text(f"          {', '.join(figures)}", "dim"))
        if visits and job["status"] not in watch.ENDED:
            self._show_progress(visits[-1].state, job)

    def _show_progress(self, state: str, job: dict[str, Any]) -> None:
        progress, words = job["progress"], job["detailedStatus"] or job["status"]
        if job["status"] == "Labelling" and progress["total"]:
            words = f"labelled {progress['labelled']} of {progress['total']}"
        self._status.update(as_text(f"{state}: {words}"))
        if not console.is_terminal and time.monotonic() - self._told > PLAIN_PROGRESS_EVERY:
            self._told = time.monotonic()
            console.print(f"          {words}")


def _print_scores(scores: dict[str, scoring.Score], overall: scoring.Score) -> None:
    table = Table(title="On photos that the model was not trained on")
    table.add_column("document type")
    for name in ("precision", "recall", "F1", "mean IoU"):
        table.add_column(name, justify="right")
    for label, one in [*scores.items(), ("all", overall)]:
        style = "bold" if label == "all" else None
        figures = (one.precision, one.recall, one.f1, one.mean_iou)
        table.add_row(label, *(f"{figure:.3f}" for figure in figures), style=style)
    console.print(table)


def _found(result: list[Document] | CommandError) -> list[Document]:
    if isinstance(result, CommandError):
        raise result
    return result


def _worth_showing(found: Sequence[tuple[Path, list[Document]]]) -> list[tuple[Path, list[Document]]]:
    """A dozen photos, as many document types as there are and one with no document, in their own order."""
    chosen: dict[Path, list[Document]] = {}
    types: set[str] = set()
    for path, documents in found:
        label = documents[0].label if documents else ""
        if label not in types:
            types.add(label)
            chosen[path] = documents
    for path, documents in found:
        if len(chosen) >= SHEET_PHOTOS:
            break
        chosen.setdefault(path, documents)
    return sorted(list(chosen.items())[:SHEET_PHOTOS])
