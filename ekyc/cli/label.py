"""A job whose photos people label in the browser, on the embedded local AWS."""

import os
import time
import webbrowser
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import boto3

from ekyc.cli import execution
from ekyc.cli.api import Api
from ekyc.cli.demo import StateLines, settled
from ekyc.cli.errors import CommandError
from ekyc.cli.terminal import console, progress
from ekyc.localaws.server import LocalAws
from ekyc.localaws.synth import synthesize

PHOTOS = {".jpg", ".jpeg", ".png"}


def run(folder: Path, types: Sequence[str], out: Path, open_browser: bool) -> None:
    """Label the photos of ``folder`` with document ``types`` (empty: those of the settings) and train on them.

    The labels, a Ground Truth output manifest, go to ``out`` when the job ends, however it ends.

    Raises:
        CommandError: the photos cannot be used, or the job did not end well.
    """
    if not folder.is_dir():
        raise CommandError(f"{folder} is not a folder.")
    photos = sorted(path for path in folder.iterdir() if path.suffix.lower() in PHOTOS)
    if not photos:
        raise CommandError(f"{folder} has no photos: JPEG or PNG files.")
    with TemporaryDirectory() as scratch, LocalAws() as local:
        with console.status("Deploying the stack to the local AWS"):
            local.deploy(synthesize(Path(scratch)))
        local.workforce.leave_to_people()
        os.environ.update(local.environment())
        api, session = Api(local.api_url, boto3.Session()), boto3.Session()
        job_id = api.create()["id"]
        with progress(f"Uploading {len(photos)} photos to {job_id}", len(photos)) as steps:
            api.upload(job_id, photos, steps.advance)
        arn = api.start(job_id, {"documentTypes": list(types)} if types else {})
        lead_to_page(local, api, job_id, open_browser)
        with console.status("") as status:
            ended = execution.follow(session, arn, StateLines(status, api, job_id))
        manifest = keep_labels(session, job_id, out)
        job = settled(api, job_id)
    if manifest:
        console.print(f"The labels are in {manifest}.")
    if job["status"] != "Ready":
        raise CommandError(f"Job {job_id} ended {job['status']}: {ended.error}: {ended.cause}")
    console.print(f"[bold green]Ready[/]: model {job['projectVersionArn']}")


def lead_to_page(local: LocalAws, api: Api, job_id: str, open_browser: bool) -> None:
    """Say where to label, and open the page if asked, once the job waits for labels; returns at once if it ends before.

    `local.workforce.leave_to_people()` before the job starts gives people the time of a real clock.
    """
    if _waits_for_labels(api, job_id):
        console.print(f"Label the photos at {local.labelling_url}; the job goes on when the last one is labelled.")
        if open_browser:
            webbrowser.open(local.labelling_url)


def _waits_for_labels(api: Api, job_id: str) -> bool:
    """Whether the job gets as far as labelling, once that is known."""
    while (status := api.job(job_id)["status"]) in {"Created", "CheckingImages", "WaitingForLabelling"}:
        time.sleep(execution.LOOK_EVERY)
    return status == "Labelling"


def keep_labels(session: boto3.Session, job_id: str, out: Path) -> Path | None:
    """The output manifest of the job's last labelling job as a file below ``out``; None when there is none."""
    sagemaker = session.client("sagemaker")
    found = sagemaker.list_labeling_jobs(NameContains=job_id)["LabelingJobSummaryList"]
    if not found or "LabelingJobOutput" not in found[0]:
        return None
    bucket, key = found[0]["LabelingJobOutput"]["OutputDatasetS3Uri"].removeprefix("s3://").split("/", 1)
    path = out / "output.manifest"
    out.mkdir(parents=True, exist_ok=True)
    session.client("s3").download_file(bucket, key, str(path))
    return path
