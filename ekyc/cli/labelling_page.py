"""`ekyc train DIR --label`: people label in the browser, on an embedded local AWS that lives as long as the command."""

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
from ekyc.cli.watch import looks
from ekyc.localaws.server import LocalAws
from ekyc.localaws.synth import LOCAL_SETTINGS, synthesize

LOOK_EVERY = 0.25  # seconds
BEFORE_LABELLING = ("Created", "CheckingImages", "WaitingForLabelling")
UNDER_WAY = ("InProgress", "Stopping")


@contextmanager
def local_aws(settings: Mapping[str, Any]) -> Iterator[LocalAws]:
    """A local AWS with the stack, deployed with ``settings``, whose labelling jobs wait for people."""
    with TemporaryDirectory() as scratch, LocalAws() as local:
        with human.status("Deploying the stack to the local AWS"):
            local.deploy(synthesize(Path(scratch), {**LOCAL_SETTINGS, **settings}))
        local.workforce.leave_to_people()
        os.environ.update(local.environment())
        yield local


def lead_to_page(local: LocalAws, api: Api, job_id: str, open_browser: bool) -> None:
    """Say where to label, and open the page if asked, once the job waits for labels; not if it ends before that."""
    if _waits_for_labels(api, job_id):
        human.print("Label the photos at this address. The job goes on when the last one is labelled.")
        human.print(local.labelling_url)
        if open_browser:
            webbrowser.open(local.labelling_url)


def _waits_for_labels(api: Api, job_id: str) -> bool:
    """Whether the job gets as far as labelling, once that is known."""
    statuses = (job["status"] for job, _ in looks(api, job_id, longest=LOOK_EVERY))
    return next(status for status in statuses if status not in BEFORE_LABELLING) == "Labelling"


def keep_labels(job_id: str, out: Path) -> Path | None:
    """The output manifest of the job's last labelling job as a file below ``out``; None when nothing is labelled.

    A labelling job that goes on is stopped, so that it writes what is labelled so far.
    """
    session = boto3.Session()
    sagemaker = session.client("sagemaker")
    found = sagemaker.list_labeling_jobs(NameContains=job_id)["LabelingJobSummaryList"]
    if not found or not found[0]["LabelCounters"]["TotalLabeled"]:
        return None
    name = found[0]["LabelingJobName"]
    if found[0]["LabelingJobStatus"] == "InProgress":
        sagemaker.stop_labeling_job(LabelingJobName=name)
    with human.status("Keeping the labels"):
        while (job := sagemaker.describe_labeling_job(LabelingJobName=name))["LabelingJobStatus"] in UNDER_WAY:
            time.sleep(LOOK_EVERY)
    if "LabelingJobOutput" not in job:
        return None
    bucket, key = job["LabelingJobOutput"]["OutputDatasetS3Uri"].removeprefix("s3://").split("/", 1)
    path = out / "output.manifest"
    out.mkdir(parents=True, exist_ok=True)
    session.client("s3").download_file(bucket, key, str(path))
    return path
