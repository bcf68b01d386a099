"""`ekyc train DIR --label`: labelling in the browser, on an embedded local AWS that runs as long as the command."""

import os
import time
import webbrowser
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import boto3

from ekyc.cli.api import Api
from ekyc.cli.terminal import human
from ekyc.cli.watch import polls
from ekyc.localaws.server import LocalAws
from ekyc.localaws.synth import LOCAL_SETTINGS, synthesize

LOOK_EVERY = 0.25  # seconds
BEFORE_LABELLING = ("Created", "CheckingImages", "WaitingForLabelling")
UNDER_WAY = ("InProgress", "Stopping")


@contextmanager
def local_aws(settings: Mapping[str, Any]) -> Iterator[LocalAws]:
    """A local AWS with the stack deployed with ``settings``. Its labelling jobs wait for a person."""
    with TemporaryDirectory() as scratch, LocalAws() as local:
        with human.status("Deploying the stack to the local AWS"):
            local.deploy(synthesize(Path(scratch), {**LOCAL_SETTINGS, **settings}))
        local.workforce.leave_to_people()
        os.environ.update(local.environment())
        yield local


def open_page(local: LocalAws, api: Api, job_id: str, open_browser: bool) -> None:
    """When the job waits for labels, print the page's address and with ``open_browser`` open the page.

    Does nothing if the job ends earlier.
    """
    if _waits_for_labels(api, job_id):
        human.print("Label the photos at this address. The job continues when all photos are labelled.")
        human.print(local.labelling_url)
        if open_browser:
            webbrowser.open(local.labelling_url)


def _waits_for_labels(api: Api, job_id: str) -> bool:
    """Wait until the job has left the states before labelling. Returns whether it waits for labels."""
    statuses = (job["status"] for job, _ in polls(api, job_id, longest=LOOK_EVERY))
    return next(status for status in statuses if status not in BEFORE_LABELLING) == "Labelling"


def save_labels(job_id: str, out: Path) -> Path | None:
    """Save the output manifest of the job's last labelling job to the folder ``out``.

    Stops the labelling job if it still runs, because it writes the labels made so far only when it ends. Returns the
    path of the manifest, or None if no photo is labelled.
    """
    session = boto3.Session()
    sagemaker = session.client("sagemaker")
    summaries = sagemaker.list_labeling_jobs(NameContains=job_id)["LabelingJobSummaryList"]
    if not summaries or not summaries[0]["LabelCounters"]["TotalLabeled"]:
        return None
    name = summaries[0]["LabelingJobName"]
    if summaries[0]["LabelingJobStatus"] == "InProgress":
        sagemaker.stop_labeling_job(LabelingJobName=name)
    with human.status("Saving the labels"):
        while (job := sagemaker.describe_labeling_job(LabelingJobName=name))["LabelingJobStatus"] in UNDER_WAY:
            time.sleep(LOOK_EVERY)
    if "LabelingJobOutput" not in job:
        return None
    bucket, key = job["LabelingJobOutput"]["OutputDatasetS3Uri"].removeprefix("s3://").split("/", 1)
    path = out / "output.manifest"
    out.mkdir(parents=True, exist_ok=True)
    session.client("s3").download_file(bucket, key, str(path))
    return path
