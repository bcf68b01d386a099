"""Stops what an ended job left running: its labelling jobs and its model. Never stops a model that is or was live.

All ends of a job (a stop through the API or in the console, a failure, a timeout) are handled in the same way: once
when the end is recorded, and again some minutes later for what could not be stopped at first.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from aws_lambda_powertools import Logger
from botocore.exceptions import BotoCoreError, ClientError

from pipeline import labelling, models, outcomes, publishing
from pipeline.clients import clients
from pipeline.errors import PipelineError, error_code
from pipeline.jobs import Job, ends, jobs, model_hours, now_ms
from pipeline.page import requesting
from pipeline.page.tasks import Tasks
from rules.states import ENDED, PUBLISH_MODEL, Status

# A function of a stopped execution runs to its end, and may start something after the stop. Functions that start
# something have a timeout of one minute.
LATE_MS = 5 * 60_000

MODEL = "model"  # the name of a stopped model in the API's response
LABELLING_RUNS = ("Initializing", "InProgress")

logger = Logger(child=True)


class Parts:
    """The parts of a stop. If a part fails, the next part still runs."""

    def __init__(self) -> None:
        self._failures: list[Exception] = []

    @contextmanager
    def attempt(self, part: str) -> Iterator[None]:
        """Run a part; if it fails, log and store the failure."""
        try:
            yield
        except (ClientError, BotoCoreError, PipelineError) as error:
            code = error_code(error) if isinstance(error, ClientError) else type(error).__name__
            logger.error("Not stopped", extra={"part": part, "error": code})
            self._failures.append(error)

    def raise_failure(self) -> None:
        """Raise the first failure, if any part failed."""
        if self._failures:
            raise self._failures[0]


def stop_what_runs(job: Job, *, model_parameter: str, tasks: Tasks) -> tuple[list[str], list[str]]:
    """Stop what the ended job left running; returns what was stopped, and sentences about what cannot be stopped yet.

    Can be called any number of times. Does not stop the labelling of a job that failed, because a resume can use the
    labels. Finds labelling jobs and models by the job's id, because a stage that was interrupted may have created one
    that is not in the record.

    Raises:
        ClientError, BotoCoreError: a service refused a part. The other parts were tried.
    """
    stopped: list[str] = []
    remaining: list[str] = []
    parts = Parts()
    with parts.attempt("labelling"):
        if _is_stopped(job) and job["LabelProvider"] == labelling.GROUND_TRUTH and _stop_labelling(job.id):
            stopped.append("labelling job")
    with parts.attempt("labelling page"):
        if job["LabelProvider"] == labelling.PAGE and requesting.close(tasks, job):
            stopped.append("labelling job")
    with parts.attempt("models"):
        for version in models.versions(job["ProjectArn"]) if job["ProjectArn"] else []:
            with parts.attempt("model"):
                _stop_model(job, version, stopped, remaining, model_parameter)
    parts.raise_failure()
    return stopped, remaining


def _stop_model(
    job: Job, version: Mapping[str, Any], stopped: list[str], remaining: list[str], model_parameter: str
) -> None:
    """Stop the model if it runs and never was live; adds to ``stopped`` or ``remaining``."""
    arn, status = version["ProjectVersionArn"], version["Status"]
    if status == "TRAINING_IN_PROGRESS":
        deletion = " The model is deleted when the training ends." if _is_stopped(job) else ""
        remaining.append(f"The training continues, because Rekognition cannot cancel it.{deletion}")
    elif status in models.UP and not _was_live(job, arn, model_parameter):
        if _may_be_publishing(job):
            remaining.append("The model may be going live now. If it does not, it is stopped in a few minutes.")
        elif models.stop_model(job["ProjectArn"], arn) in models.DOWN:
            model_hours.record_stop(job.id)
            stopped.append(MODEL)
        else:
            remaining.append("The model is STARTING and cannot be stopped yet. It is stopped when it runs.")


def record_end(job_id: str) -> Job | None:
    """Record the end of the job's execution; returns the job, or None while the execution runs.

    Raises:
        JobNotFound: no job has this id.
    """
    job = jobs.get(job_id)
    try:
        return outcomes.record(job["ExecutionArn"])
    except ClientError as error:
        if error_code(error) != "ExecutionDoesNotExist":
            raise
        return job if job.status in ENDED else None  # deleted after 90 days, or never started


def settle(job: Job, *, project_parameter: str, model_parameter: str, tasks: Tasks) -> None:
    """Stop and delete what an earlier stop could not stop, if the job was not resumed since its end.

    Rekognition cannot cancel a training, so this deletes the model of a stopped job after its training. A resumed job
    keeps its model: `ends.discard_model` decides whether the resume or the deletion came first.

    Raises:
        ClientError, BotoCoreError: a service refused a part. The other parts were tried.
        Throttled: another job holds the lock on the live model.
    """
    if job.status is Status.READY:
        return
    parts = Parts()
    remaining: list[str] = []
    with parts.attempt("what runs"):
        _, remaining = stop_what_runs(job, model_parameter=model_parameter, tasks=tasks)
    with parts.attempt("trained models"):
        for version in models.versions(job["ProjectArn"]) if job["ProjectArn"] else []:
            if not _trained_after_stop(job, version):
                continue
            arn, seconds = version["ProjectVersionArn"], version.get("BillableTrainingTimeInSeconds")
            if ends.discard_model(job, arn, TrainingSeconds=seconds):
                clients.rekognition.delete_project_version(ProjectVersionArn=arn)
                logger.info("Model of a stopped job deleted")
            else:
                remaining.append("Another request resumes the job.")
    with parts.attempt("parameters"):
        if not _may_be_publishing(job):
            publishing.restore_project(job, project_parameter=project_parameter, model_parameter=model_parameter)
    parts.raise_failure()
    if not remaining and _is_late(job):
        ends.mark_settled(job)


def _is_stopped(job: Job) -> bool:
    """Whether the job was stopped in the console or through the API, possibly after it had failed."""
    return job.status is Status.STOPPED or job["StopRequested"] is not None


def _may_be_publishing(job: Job) -> bool:
    """Whether PublishModel may still run: a stop of the execution or a timeout of the task does not end it."""
    unfinished = job.status is Status.STOPPED or job["Error"] == "States.Timeout"
    return job["Stage"] == PUBLISH_MODEL.name and unfinished and not _is_late(job)


def _is_late(job: Job) -> bool:
    return bool(now_ms() - (job["EndTime"] or now_ms()) > LATE_MS)


def _trained_after_stop(job: Job, version: Mapping[str, Any]) -> bool:
    """Whether the training continued after the job was stopped, and has succeeded."""
    if not _is_stopped(job) or version["Status"] != "TRAINING_COMPLETED":
        return False
    stop_time: int = max(job["EndTime"], job["StopRequested"] or 0)  # a job may be stopped after it has failed
    return int(version["TrainingEndTimestamp"].timestamp() * 1000) > stop_time


def _was_live(job: Job, project_version_arn: str, model_parameter: str) -> bool:
    """Whether the model is or was the live model."""
    if job["PublishedTime"] and job["ProjectVersionArn"] == project_version_arn:
        return True
    return publishing.read_parameter(model_parameter) == project_version_arn


def _stop_labelling(job_id: str) -> bool:
    """Stop all running labelling jobs of the job, which are numbered without a gap; returns whether any ran."""
    stopped, attempt = False, 1
    while status := labelling.status(name := labelling.job_name(job_id, attempt)):
        if status in LABELLING_RUNS:
            try:
                clients.sagemaker.stop_labeling_job(LabelingJobName=name)
            except ClientError:
                if labelling.status(name) in LABELLING_RUNS:
                    raise
                # the labelling job has ended or was stopped after its status was read
            stopped = True
        attempt += 1
    return stopped
