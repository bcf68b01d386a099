"""Records a request to erase a job, and starts the erasure in the background."""

import json

from aws_lambda_powertools import Logger
from botocore.exceptions import BotoCoreError, ClientError

from pipeline import errors, labelling, models
from pipeline.clients import clients
from pipeline.executions import StateMachine
from pipeline.jobs import Job, MoveRefused, erasures, now_ms, resumes
from pipeline.lifecycle.execution import UP, describe_execution
from pipeline.lifecycle.refusals import NotAllowed, NotBegun
from pipeline.publishing import read_parameter
from rules.states import RUNNING, Status

LABELLING_UP = ("Initializing", "InProgress", "Stopping")
MODEL_IN_USE = (*models.UP, "STOPPING")
AT_REST = (Status.CREATED, Status.READY)
"""Statuses of a job that cannot be running, so that no call to AWS is needed to check it. An execution that succeeded
cannot be redriven."""
TRIES = 3
"""How often to try to write a record that other writers may change."""
MOST_ERASURES = 100
"""The maximum number of requests in a record. DynamoDB limits an item to 400 KB."""

logger = Logger(child=True)


def erase(
    job: Job,
    requested_by: str,
    machine: StateMachine,
    *,
    delete_model: bool,
    model_parameter: str,
    erase_function: str,
) -> Job:
    """Record the request of ``requested_by`` to erase the job, and invoke the erasure; returns the updated job.

    With ``delete_model``, the erasure deletes the job's model too. Each call adds a request to the record. How long the
    call takes does not depend on the number of photos.

    Raises:
        NotAllowed: the job, its labelling or its training runs and may add objects, or the model to delete is live
            or runs.
        NotBegun: the request is recorded, but the erasure could not be invoked.
    """
    if delete_model:
        _check_model_unused(job, model_parameter)
    requested = _request_erasure(job, requested_by, machine, delete_model=delete_model)
    try:
        clients.lambda_.invoke(
            FunctionName=erase_function, InvocationType="Event", Payload=json.dumps({"jobId": job.id})
        )
    except (ClientError, BotoCoreError) as error:
        logger.error("Erasure not invoked", extra={"error": type(errors.as_pipeline_error(error)).__name__})
        raise NotBegun() from None
    return requested


def _check_model_unused(job: Job, model_parameter: str) -> None:
    """Check that none of the job's models is in use.

    Raises:
        NotAllowed: one of the job's models is live or runs.
    """
    if not job["ProjectArn"]:
        return
    live = read_parameter(model_parameter)
    for version in models.versions(job["ProjectArn"]):
        if version["ProjectVersionArn"] == live:
            raise NotAllowed(
                "The job's model is live, so it cannot be deleted. Publish the model of another job first, or erase "
                "this job and keep its model."
            )
        if version["Status"] in MODEL_IN_USE:
            raise NotAllowed(
                f"The job's model is {version['Status']}, so it cannot be deleted. Stop it first (aws rekognition "
                f"stop-project-version --project-version-arn {version['ProjectVersionArn']}), or erase the job and "
                "keep its model."
            )


def _request_erasure(job: Job, requested_by: str, machine: StateMachine, *, delete_model: bool) -> Job:
    for _ in range(TRIES):
        never_ran = job.status not in AT_REST and _check_at_rest(job, machine)
        end = {"Status": Status.STOPPED, "DetailedStatus": "Stopped: never ran", "EndTime": now_ms()}
        try:
            return erasures.add_request(
                job, requested_by, MOST_ERASURES, delete_model=delete_model, **end if never_ran else {}
            )
        except MoveRefused as refusal:
            job = refusal.job
        if job.is_erased:
            raise NotAllowed(f"The job already has {MOST_ERASURES} requests to erase it, the maximum.")
    raise NotAllowed("The job has just changed. Send the request again.")


def _check_at_rest(job: Job, machine: StateMachine) -> bool:
    """Check that nothing can add objects to the job; returns True if a start was claimed but no execution started.

    Raises:
        NotAllowed: the job, its labelling or its training runs, or a start or resume is in progress.
    """
    execution = describe_execution(job, machine)
    if execution and execution["status"] in UP:
        raise NotAllowed("The job is running. Stop it first, then erase it.")
    claimed = max(job["ResumedTime"] or 0, (not execution and job["ExecutionStartTime"]) or 0)
    if now_ms() - claimed < resumes.CLAIM_MS:
        raise NotAllowed("The job is being started or resumed. Try again in a minute, or stop it first.")
    if job["LabellingJobArn"]:
        status = labelling.status(job["LabellingJobArn"].rpartition("/")[2])
        if status in LABELLING_UP:
            raise NotAllowed(f"The labelling job is {status}. Stop the job, and erase it when the labelling has ended.")
    if job["ProjectVersionArn"]:
        name = models.version_name(job["ProjectVersionArn"])
        version = models.describe(job["ProjectArn"], name)
        if version and version["Status"] == "TRAINING_IN_PROGRESS":
            raise NotAllowed(
                "The job's training is running. Rekognition cannot cancel it, and writes to the bucket when it ends. "
                "Erase the job after that."
            )
    return execution is None and job.status in RUNNING
