"""Starts, stops and resumes a job's execution, and hands it the labels that it waits for."""

import json
from typing import Any

from botocore.exceptions import ClientError

from api.problems import conflict, unmet
from api.services import Services
from pipeline import labelling, models, outcomes
from pipeline.errors import error_code
from pipeline.jobs import Job, MoveRefused, Status, now_ms
from pipeline.labelling import FUNCTION_ACCOUNTS, GROUND_TRUTH, SUPPLIED
from pipeline.publishing import read_parameter


def exists(key: str, services: Services) -> bool:
    """Whether the bucket has this object."""
    try:
        services.s3.head_object(Bucket=services.bucket, Key=key)
    except ClientError as error:
        if error.response["ResponseMetadata"]["HTTPStatusCode"] == 404:
            return False
        raise
    return True


def describe_execution(job_id: str, services: Services) -> dict[str, Any] | None:
    """The job's execution, or None when it has none."""
    try:
        execution: dict[str, Any] = services.stepfunctions.describe_execution(
            executionArn=services.execution_arn(job_id)
        )
    except ClientError as error:
        if error_code(error) == "ExecutionDoesNotExist":
            return None
        raise
    return execution


def start(job: Job, execution_input: dict[str, Any], *, work_team: str, services: Services) -> str:
    """Start the job's execution; answers its ARN.

    The record is claimed first, so only one start wins. A start that claimed the record and got no further (a crash, a
    throttle) leaves no execution, and the next start goes on from there.

    Raises:
        Problem: 409 when it was started before, 422 when photos, labels file or Ground Truth are not there.
    """
    labels = execution_input["labels"]
    if job.status not in (Status.CREATED, Status.CHECKING_IMAGES):
        raise _started_before(job)
    if labels["provider"] == GROUND_TRUTH and (not work_team or services.region not in FUNCTION_ACCOUNTS):
        raise unmet(
            "Ground Truth cannot label here: the stack has no work team, or its Region no Ground Truth functions. "
            'Deploy it with the context value workTeamArn, or start with {"labels": {"provider": "supplied"}}.'
        )
    if "key" in labels and not exists(labels["key"], services):
        raise unmet(f"The labels file {labels['key'].rpartition('/')[2]!r} is not uploaded.")
    photos = services.s3.list_objects_v2(Bucket=services.bucket, Prefix=f"images/{job.id}/", MaxKeys=1)
    if not photos["KeyCount"]:
        raise unmet("The job has no photos. Upload some, then start it.")

    arn = services.execution_arn(job.id)
    try:
        services.jobs.move(
            job.id,
            Status.CHECKING_IMAGES,
            only_from=(Status.CREATED,),
            DetailedStatus="Starting",
            ExecutionArn=arn,
            ExecutionStartTime=now_ms(),
            LabelProvider=labels["provider"],
        )
    except MoveRefused as refusal:
        if describe_execution(job.id, services):
            raise _started_before(refusal.job) from None
    try:
        services.stepfunctions.start_execution(
            stateMachineArn=services.state_machine_arn, name=job.id, input=json.dumps(execution_input)
        )
    except ClientError as error:
        if error_code(error) == "ExecutionAlreadyExists":
            raise _started_before(job) from None
        raise
    return arn


def supply_labels(job: Job, key: str, services: Services) -> None:
    """Resume the execution that waits for supplied labels.

    Raises:
        Problem: 409 when it does not wait for any, 422 when the file is not uploaded.
    """
    if job["LabelProvider"] != SUPPLIED or not job["TaskToken"]:
        raise conflict(f"The job does not wait for supplied labels; it is {job.status}.")
    if not exists(key, services):
        raise unmet(f"The labels file {key.rpartition('/')[2]!r} is not uploaded.")
    if not labelling.supply(job, key, jobs=services.jobs, stepfunctions=services.stepfunctions):
        raise conflict("The job no longer waits for labels.")


def stop(job: Job, services: Services) -> tuple[list[str], list[str]]:
    """Stop everything that the job runs: what was stopped, and what goes on by itself, in words.

    The execution goes first: a labelling job that is stopped under it would make it fail. A published model is not
    touched. May be called again at any time.

    Raises:
        Problem: 409 when the job was never started.
    """
    execution = describe_execution(job.id, services)
    if execution is None:
        raise conflict("The job was never started.")
    stopped: list[str] = []
    remaining: list[str] = []
    if execution["status"] == "RUNNING":
        services.stepfunctions.stop_execution(
            executionArn=execution["executionArn"],
            error="StoppedByRequest",
            cause="Somebody stopped the job through the API.",
        )
        stopped.append("execution")
    if job["LabellingJobArn"] and _stop_labelling(job["LabellingJobArn"].rpartition("/")[2], services):
        stopped.append("labelling job")
    if not job["ProjectVersionArn"]:
        return stopped, remaining
    version = models.describe(job["ProjectArn"], models.version_name(job["ProjectVersionArn"]), services.rekognition)
    status = version["Status"] if version else None
    if status == "TRAINING_IN_PROGRESS":
        remaining.append("The training goes on: Rekognition cannot cancel one.")
    elif status in models.UP and not _published(job, services):
        status = models.stop_model(job["ProjectArn"], job["ProjectVersionArn"], rekognition=services.rekognition)
        if status in models.DOWN:
            services.jobs.model_stopped(job.id)
            stopped.append("model")
        else:
            remaining.append(f"The model is {status} and cannot be stopped yet: stop the job again in some minutes.")
    return stopped, remaining


def resume(job: Job, services: Services) -> None:
    """Redrive the job's execution from the state that it ended in.

    Raises:
        Problem: 409 when there is nothing to redrive, with Step Functions' reason if it gives one.
    """
    execution = describe_execution(job.id, services)
    if execution is None:
        raise conflict("The job was never started: start it instead.")
    if execution["status"] in ("RUNNING", "PENDING_REDRIVE"):
        raise conflict("The job is running.")
    if execution["status"] == "SUCCEEDED":
        raise conflict("The job is done: there is nothing to resume.")
    if execution.get("error") == outcomes.REJECTED_ERROR:
        raise conflict(
            "The model was rejected, and the same figures would reject it again. Start a new job with more photos or "
            "other bars."
        )
    outcomes.record(job.id, execution["executionArn"], jobs=services.jobs, stepfunctions=services.stepfunctions)
    ended = services.jobs.get(job.id)
    try:
        services.stepfunctions.redrive_execution(executionArn=execution["executionArn"])
    except ClientError as error:
        if error_code(error) != "ExecutionNotRedrivable":
            raise
        reason = execution.get("redriveStatusReason") or error.response["Error"].get("Message", "")
        raise conflict(f"Step Functions cannot resume this execution: {reason} Start a new job.") from None
    try:
        services.jobs.reopen(ended)
    except MoveRefused:
        return  # the resumed stage has told where it is already


def _started_before(job: Job) -> Exception:
    return conflict(f"The job was started before; it is {job.status}. Resume it, or create a new job.")


def _published(job: Job, services: Services) -> bool:
    live = read_parameter(services.model_parameter, services.ssm)
    return bool(job["PublishedTime"]) or live == job["ProjectVersionArn"]


def _stop_labelling(name: str, services: Services) -> bool:
    try:
        status = services.sagemaker.describe_labeling_job(LabelingJobName=name)["LabelingJobStatus"]
        if status not in ("Initializing", "InProgress"):
            return False
        services.sagemaker.stop_labeling_job(LabelingJobName=name)
    except ClientError as error:
        if error_code(error) == "ResourceNotFound":
            return False
        raise
    return True
