"""What the API shows of a job and of the live model."""

from typing import Any

from botocore.exceptions import ClientError

from pipeline import labelling, models, outcomes
from pipeline.clients import clients
from pipeline.errors import error_code
from pipeline.executions import StateMachine
from pipeline.jobs import Job, now_ms, public_attributes
from pipeline.page import states
from pipeline.page.tasks import Tasks
from pipeline.photos.parts import part_prefix, photos_of
from pipeline.publishing import NONE_YET, read_parameter
from rules import advice, prices
from rules.states import RUNNING, Status

HOUR_MS = 3_600_000


def with_end_recorded(job: Job, machine: StateMachine) -> Job:
    """Record the end of the job's execution if it has ended; returns the job. The event about the end may be lost."""
    if job.status not in RUNNING:
        return job
    arn = machine.last_execution_arn(job)
    try:
        ended = outcomes.record(arn)
    except ClientError as error:
        if error_code(error) != "ExecutionDoesNotExist":
            raise
        return job  # the record names an execution before it is started
    return ended or job


def job_view(job: Job, bucket: str, tasks: Tasks) -> dict[str, Any]:
    """The job as in the list, with its progress, its cost so far and the advice."""
    labelled, total = job["Labelled"], job["Images"]
    if job.status is Status.LABELLING and job["LabellingJobArn"]:
        labelled, total = _labelling_counts(job)
    if job.status is Status.LABELLING and job["LabelProvider"] == labelling.PAGE and total is not None:
        labelled = total - tasks.count(states.labels_queue(job.id))
    started, ended = job["ExecutionStartTime"], job["EndTime"]
    until = ended if ended and job.status not in RUNNING else now_ms()
    progress = {
        "checked": _checked_photos(job, bucket),
        "labelled": labelled,
        "total": total,
        "polls": job["Poll"],
        "elapsedSeconds": round((until - started) / 1000, 1) if started else None,
    }
    return public_attributes(job) | {"progress": progress, "cost": _cost(job)} | _advice(job)


def _advice(job: Job) -> dict[str, Any]:
    """What to do about a job that ended without a model; empty for an erased job."""
    if job.status not in (Status.FAILED, Status.REJECTED, Status.STOPPED) or job.is_erased:
        return {}
    job_advice = advice.for_job(job.status, job["Error"], job["LabelProvider"])
    return {"advice": {"text": job_advice.text, "resume": job_advice.resume}}


def model_view(project_parameter: str, model_parameter: str) -> dict[str, Any]:
    """The live model: its ARN, status, time of publication (Unix ms) and USD an hour. All null without a live model."""
    live = clients.ssm.get_parameter(Name=model_parameter)["Parameter"]
    arn, project_arn = live["Value"], read_parameter(project_parameter)
    if arn == NONE_YET or not project_arn:
        return dict.fromkeys(("projectArn", "projectVersionArn", "status", "since", "inferenceUnits", "costPerHourUsd"))
    version = models.describe(project_arn, models.version_name(arn)) or {}
    status, units = version.get("Status", "DELETED"), version.get("MinInferenceUnits", 0)
    return {
        "projectArn": project_arn,
        "projectVersionArn": arn,
        "status": status,
        "since": int(live["LastModifiedDate"].timestamp() * 1000),
        "inferenceUnits": units,
        "costPerHourUsd": prices.model_hour(units) if status == "RUNNING" else 0.0,
    }


def _checked_photos(job: Job, bucket: str) -> int | None:
    """The photos checked so far; None until they are listed. Up to 250,000 photos, this takes one call."""
    if job["Photos"] is None or job.status is not Status.CHECKING_IMAGES:
        return job["Photos"] if job["Images"] is not None else None
    pages = clients.s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=part_prefix(job.id))
    return sum(photos_of(entry["Key"]) for page in pages for entry in page.get("Contents", ()))


def _labelling_counts(job: Job) -> tuple[int | None, int | None]:
    """The photos labelled so far and in total. At first, Ground Truth reports no counts."""
    name = job["LabellingJobArn"].rpartition("/")[2]
    description = labelling.describe(name)
    if description is None:
        return job["Labelled"], job["Images"]
    counters = description["LabelCounters"]
    done = counters.get("TotalLabeled", 0)
    known = done + counters.get("FailedNonRetryableError", 0) + counters.get("Unlabeled", 0)
    return done, job["Images"] or known


def _cost(job: Job) -> dict[str, float]:
    """USD at list price, without labelling: the training as billed or so far, and the running time of the model.

    A model that was stopped in the console counts as running until WatchRunning records the stop.
    """
    now = now_ms()
    training_ms = (job["TrainingSeconds"] or 0) * 1000
    earlier_ms = (job["EarlierTrainingSeconds"] or 0) * 1000
    if not training_ms and job.status is Status.TRAINING and job["TrainingStartTime"]:
        training_ms = now - job["TrainingStartTime"]
    model_ms = (job["ModelSeconds"] or 0) * 1000 + (now - job["ModelStartTime"] if job["ModelStartTime"] else 0)
    training = (earlier_ms + training_ms) / HOUR_MS * prices.TRAINING_HOUR
    model = model_ms / HOUR_MS * prices.model_hour(job["InferenceUnits"])
    return {"trainingUsd": round(training, 4), "modelUsd": round(model, 4), "totalUsd": round(training + model, 4)}
