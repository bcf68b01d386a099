"""Starts, stops and resumes a job's execution, hands it the labels that it waits for, and has the job erased."""

import json
from typing import Any

from aws_lambda_powertools import Logger
from botocore.exceptions import BotoCoreError, ClientError

from api.problems import conflict, not_begun, unmet
from api.services import Services
from pipeline import errors, labelling, models, outcomes
from pipeline.errors import error_code
from pipeline.jobs import RUNNING, Job, MoveRefused, Status, now_ms
from pipeline.labelling import FUNCTION_ACCOUNTS, GROUND_TRUTH, SUPPLIED
from pipeline.publishing import read_parameter

LABELLING_UP = ("Initializing", "InProgress", "Stopping")
# A start or a resume that is under way ends within the 29 seconds that an API call has.
CLAIM_MS = 30_000
ERASURE_TRIES = 3  # against a record that changes all the time
MOST_ERASURES = 100  # requests in a record, which may have 400 KB

logger = Logger(child=True)


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


def start(job: Job, execution_input: dict[str, Any], *, work_team: str, started_by: str, services: Services) -> str:
    """Start the job's execution; answers its ARN.

    The record is claimed first, so only one start wins. A start that claimed the record and got no further (a crash, a
    throttle) leaves no execution, and the next start goes on from there.

    Raises:
        Problem: 409 when it was started before, 422 when photos, labels file or Ground Truth are not there.
    """
    labels = execution_input["labels"]
    check_not_erased(job)
    if job.status not in (Status.CREATED, Status.CHECKING_IMAGES):
        raise _started_before(job)
    if labels["provider"] == GROUND_TRUTH and (not work_team or services.region not in FUNCTION_ACCOUNTS):
        raise unmet(
            "Ground Truth cannot label here: the stack has no work team, or its Region no Ground Truth functions. "
            'Deploy it with the setting workTeam, or start with {"labels": {"provider": "supplied"}}.'
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
            StartedBy=started_by,
            LabelProvider=labels["provider"],
        )
    except MoveRefused as refusal:
        check_not_erased(refusal.job)
        if describe_execution(job.id, services):
            raise _started_before(refusal.job) from None
        _claim_again(job, services)
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
    check_not_erased(job)
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
    check_not_erased(job)
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
    try:
        ended = services.jobs.claim_resume(job.id)
    except MoveRefused as refusal:
        check_not_erased(refusal.job)
        raise conflict("The job is running.") from None
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


def check_not_erased(job: Job) -> None:
    """Nothing is added to a job that is to be erased, and nothing runs for it.

    Raises:
        Problem: 409 when somebody has asked to erase it.
    """
    if job.is_erased:
        raise conflict("The job was erased: its photos and labels are gone. Create a new job.")


def erase(job: Job, requested_by: str, services: Services) -> Job:
    """Record that ``requested_by`` wants the job erased, and have that done in the background; the job as it is then.

    May be called again, each call is recorded. The work does not depend on how many photos the job has.

    Raises:
        Problem: 409 while the job, its labelling or its training runs, for they add objects; 503 when the request is
            recorded but its work not begun.
    """
    requested = _request_erasure(job, requested_by, services)
    try:
        services.functions.invoke(
            FunctionName=services.erase_function, InvocationType="Event", Payload=json.dumps({"jobId": job.id})
        )
    except (ClientError, BotoCoreError) as error:
        logger.error("Erasure not begun", extra={"error": type(errors.named(error)).__name__})
        raise not_begun() from None
    return requested


def _request_erasure(job: Job, requested_by: str, services: Services) -> Job:
    for _ in range(ERASURE_TRIES):
        never_ran = _check_at_rest(job, services)
        end = {"Status": Status.STOPPED, "DetailedStatus": "Stopped: never ran", "EndTime": now_ms()}
        try:
            return services.jobs.request_erasure(job, requested_by, MOST_ERASURES, **(end if never_ran else {}))
        except MoveRefused as refusal:
            job = refusal.job
        if job.is_erased:
            raise conflict(f"The job was asked to be erased {MOST_ERASURES} times: the record holds no more.")
    raise conflict("The job has just changed. Ask again.")


def _check_at_rest(job: Job, services: Services) -> bool:
    """Nothing may add to what the job has in the bucket; True for a job that was to be started and never ran.

    Raises:
        Problem: 409 when something may.
    """
    execution = describe_execution(job.id, services)
    if execution and execution["status"] in ("RUNNING", "PENDING_REDRIVE"):
        raise conflict("The job is running. Stop it first, then erase it.")
    claimed = max(job["ResumedTime"] or 0, (not execution and job["ExecutionStartTime"]) or 0)
    if now_ms() - claimed < CLAIM_MS:
        raise conflict("The job is being started or resumed. Ask again in a minute, or stop it first.")
    if job["LabellingJobArn"]:
        status = _labelling_status(job["LabellingJobArn"].rpartition("/")[2], services)
        if status in LABELLING_UP:
            raise conflict(f"The labelling job is {status}. Stop the job first, and erase it once that is done.")
    if job["ProjectVersionArn"]:
        name = models.version_name(job["ProjectVersionArn"])
        version = models.describe(job["ProjectArn"], name, services.rekognition)
        if version and version["Status"] == "TRAINING_IN_PROGRESS":
            raise conflict(
                "The training goes on: Rekognition cannot cancel one, and it writes to the bucket when it ends. Erase "
                "the job after that."
            )
    return execution is None and job.status in RUNNING


def _claim_again(job: Job, services: Services) -> None:
    """Take over a start that got no further than the record."""
    try:
        services.jobs.move(
            job.id, Status.CHECKING_IMAGES, only_from=(Status.CHECKING_IMAGES,), ExecutionStartTime=now_ms()
        )
    except MoveRefused as refusal:
        check_not_erased(refusal.job)
        raise _started_before(refusal.job) from None


def _started_before(job: Job) -> Exception:
    return conflict(f"The job was started before; it is {job.status}. Resume it, or create a new job.")


def _published(job: Job, services: Services) -> bool:
    live = read_parameter(services.model_parameter, services.ssm)
    return bool(job["PublishedTime"]) or live == job["ProjectVersionArn"]


def _stop_labelling(name: str, services: Services) -> bool:
    if _labelling_status(name, services) not in ("Initializing", "InProgress"):
        return False
    services.sagemaker.stop_labeling_job(LabelingJobName=name)
    return True


def _labelling_status(name: str, services: Services) -> str | None:
    """The labelling job's status in SageMaker's words, or None when it does not exist."""
    try:
        status: str = services.sagemaker.describe_labeling_job(LabelingJobName=name)["LabelingJobStatus"]
    except ClientError as error:
        if error_code(error) == "ResourceNotFound":
            return None
        raise
    return status
