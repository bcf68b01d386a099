"""Stops what an ended job left running: its labelling jobs and its model. A model that is or was live is never stopped.

Every end of a job (a stop through the API or in the console, a failure, a timeout) is handled in the same way: when the
end is recorded, and again some minutes later for what could not be stopped before.
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
from rules.states import ENDED, PUBLISH_MODEL, Status

# A function of a stopped execution runs on to its end, and may start what the stop did not find. Those that start
# something have a minute.
LATE_MS = 5 * 60_000

MODEL = "model"  # the name of a stopped model in the API's answer
LABELLING_GOES_ON = ("Initializing", "InProgress")

logger = Logger(child=True)


class Parts:
    """The parts of a stop. A part that fails does not keep the next one from being tried."""

    def __init__(self) -> None:
        self._failures: list[Exception] = []

    @contextmanager
    def attempt(self, part: str) -> Iterator[None]:
        """Run a part, and keep and log its failure."""
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


def stop_what_runs(job: Job, *, model_parameter: str) -> tuple[list[str], list[str]]:
    """Stop what runs of the job that ended: what was stopped, and what cannot be stopped yet, in words.

    People who label for a job that failed go on: their labels are there when it is resumed. May be called any number of
    times. Labelling jobs and models are found by the job's id, as a stage that broke off may have made what the record
    does not know.

    Raises:
        ClientError, BotoCoreError: a service refused a part. The other parts were tried before.
    """
    stopped: list[str] = []
    remaining: list[str] = []
    parts = Parts()
    with parts.attempt("labelling"):
        if _is_stopped(job) and job["LabelProvider"] == labelling.GROUND_TRUTH and _stop_labelling(job.id):
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
    """Stop the model if it runs and does not serve; adds to ``stopped`` or ``remaining``."""
    arn, status = version["ProjectVersionArn"], version["Status"]
    if status == "TRAINING_IN_PROGRESS":
        its_end = " Its model is deleted when it ends." if _is_stopped(job) else ""
        remaining.append(f"The training goes on: Rekognition cannot cancel one.{its_end}")
    elif status in models.UP and not _serves(job, arn, model_parameter):
        if _may_be_publishing(job):
            remaining.append("The model may be going live now: if it does not, it is stopped in some minutes.")
        elif models.stop_model(job["ProjectArn"], arn) in models.DOWN:
            model_hours.record_stop(job.id)
            stopped.append(MODEL)
        else:
            remaining.append("The model is STARTING and cannot be stopped yet: it is stopped once it runs.")


def record_end(job_id: str) -> Job | None:
    """Record the end of the job's execution, unless it is recorded; returns the job, or None while the execution runs.

    Raises:
        JobNotFound: no job has this id.
    """
    job = jobs.get(job_id)
    try:
        return outcomes.record(job["ExecutionArn"])
    except ClientError as error:
        if error_code(error) != "ExecutionDoesNotExist":
            raise
        return job if job.status in ENDED else None  # forgotten after 90 days, or a start that got no further


def settle(job: Job, *, project_parameter: str, model_parameter: str) -> None:
    """Stop and delete what an earlier stop could not, if the job was not resumed since its end.

    A training cannot be cancelled, so the model of a stopped job is deleted when it is trained. A resumed
    job keeps its model: the record decides whether the resume or the deletion came first.

    Raises:
        ClientError, BotoCoreError: a service refused a part. The other parts were tried before.
        Throttled: another job publishes its model.
    """
    if job.status is Status.READY:
        return
    parts = Parts()
    remaining: list[str] = []
    with parts.attempt("what runs"):
        _, remaining = stop_what_runs(job, model_parameter=model_parameter)
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
            publishing.take_back(job, project_parameter=project_parameter, model_parameter=model_parameter)
    parts.raise_failure()
    if not remaining and _is_late(job):
        ends.mark_settled(job)


def _is_stopped(job: Job) -> bool:
    """Whether the job was stopped, in the console or through the API, and did not only fail."""
    return job.status is Status.STOPPED or job["StopRequested"] is not None


def _may_be_publishing(job: Job) -> bool:
    """Whether the function that publishes may still be at work: a stop and a time-out of its task do not end it."""
    unfinished = job.status is Status.STOPPED or job["Error"] == "States.Timeout"
    return job["Stage"] == PUBLISH_MODEL.name and unfinished and not _is_late(job)


def _is_late(job: Job) -> bool:
    return bool(now_ms() - (job["EndTime"] or now_ms()) > LATE_MS)


def _trained_after_stop(job: Job, version: Mapping[str, Any]) -> bool:
    """Whether the training went on after its job was stopped, and has ended well."""
    if not _is_stopped(job) or version["Status"] != "TRAINING_COMPLETED":
        return False
    stop_time: int = max(job["EndTime"], job["StopRequested"] or 0)  # a job that failed may be stopped after that
    return int(version["TrainingEndTimestamp"].timestamp() * 1000) > stop_time


def _serves(job: Job, project_version_arn: str, model_parameter: str) -> bool:
    """Whether the model is, or once was, the live one."""
    if job["PublishedTime"] and job["ProjectVersionArn"] == project_version_arn:
        return True
    return publishing.read_parameter(model_parameter) == project_version_arn


def _stop_labelling(job_id: str) -> bool:
    """Stop every labelling job of the job that goes on; attempts are numbered without a gap."""
    stopped, attempt = False, 1
    while status := labelling.status(name := labelling.job_name(job_id, attempt)):
        if status in LABELLING_GOES_ON:
            try:
                clients.sagemaker.stop_labeling_job(LabelingJobName=name)
            except ClientError:
                if labelling.status(name) in LABELLING_GOES_ON:
                    raise
                # otherwise the labelling job has ended or was stopped since it was described
            stopped = True
        attempt += 1
    return stopped
