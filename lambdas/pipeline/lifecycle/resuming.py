"""Resumes a job where its last execution ended."""

import json
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from pipeline import executions, models, outcomes
from pipeline.clients import clients
from pipeline.errors import error_code
from pipeline.executions import StateMachine
from pipeline.jobs import Job, MoveRefused, resumes
from pipeline.lifecycle.execution import UP, check_not_erased, describe_execution
from pipeline.lifecycle.refusals import NotAllowed
from rules import advice
from rules.states import RESUMABLE, Status

if TYPE_CHECKING:
    from types_boto3_stepfunctions.type_defs import DescribeExecutionOutputTypeDef


def resume(job: Job, caller: str, machine: StateMachine) -> Job:
    """Resume the job where its execution ended; returns the job. The record keeps ``caller`` for the audit report.

    Redrives the execution from the state in which it ended. If Step Functions allows no redrive (14 days after the end,
    or with too long a history), or if the state would fail again, starts another execution, which skips the completed
    states.

    Raises:
        NotAllowed: there is nothing to resume, or another caller is resuming it.
    """
    check_not_erased(job)
    execution = describe_execution(job, machine)
    if execution is None and job.status in RESUMABLE:
        raise NotAllowed("Step Functions has deleted the execution, 90 days after its end. Create a new job.")
    if execution is None:
        raise NotAllowed("The job was never started. Start it instead.")
    if execution["status"] in UP:
        raise NotAllowed("The job is running.")
    if execution["status"] == "SUCCEEDED":
        raise NotAllowed("The job has succeeded. There is nothing to resume.")
    _check_can_help(execution, job)
    is_recorded = job.status in RESUMABLE and job["EndTime"] == int(execution["stopDate"].timestamp() * 1000)
    ended = _claim_resume(job.id, caller) if is_recorded else None
    if ended is None:  # the end is not recorded yet, or a stage that still ran has changed the status
        outcomes.record(execution["executionArn"])
        ended = _claim_resume(job.id, caller)
    if ended is None:
        raise NotAllowed("The job is running.")
    if (
        execution.get("redriveStatus") == "NOT_REDRIVABLE"
        or _needs_another(execution)
        or _is_lost(ended["ProjectVersionArn"], ended)
        or execution["executionArn"] != machine.last_execution_arn(ended)  # the last one was not started
    ):
        return _start_anew(ended, execution, machine)
    try:
        clients.stepfunctions.redrive_execution(executionArn=execution["executionArn"])
    except ClientError as error:
        if error_code(error) != "ExecutionNotRedrivable":
            raise
        # The redrive period ended at this moment, or the execution was redriven in the console.
        current = executions.describe(execution["executionArn"])
        if current["status"] in UP:
            raise NotAllowed("The job is running.") from None
        return _start_anew(ended, current, machine)
    return _reopen(ended, Status(ended["RunningStatus"] or Status.CHECKING_IMAGES))


def _check_can_help(execution: "DescribeExecutionOutputTypeDef", job: Job) -> None:
    """Check that a resume would not fail in the same way.

    Raises:
        NotAllowed: a resume cannot help; the text says what to do instead.
    """
    if execution["status"] == "ABORTED":
        return
    error = execution.get("error")
    job_advice = advice.for_job(Status.FAILED, error, job["LabelProvider"])
    if job_advice.resume is advice.Resume.IMPOSSIBLE:
        raise NotAllowed(f"The job ended with {error}. A resume would end in the same way. {job_advice.text}")


def _needs_another(execution: "DescribeExecutionOutputTypeDef") -> bool:
    """Whether a redrive would fail again, but another execution would not."""
    if execution["status"] == "ABORTED":
        return False
    error_advice = advice.for_error(execution.get("error"))
    return error_advice.anew or error_advice.again_from is not None


def _claim_resume(job_id: str, caller: str) -> Job | None:
    """Claim the resume for ``caller``; returns the job, or None when the record's status is a running one.

    If ``caller`` already holds the claim, the request is a retry, by the caller or the SDK.
    """
    try:
        return resumes.claim(job_id, caller)
    except MoveRefused as refusal:
        job = refusal.job
    check_not_erased(job)
    if job.status not in RESUMABLE:
        return None
    try:
        if job["ResumedBy"][-1]["By"] == caller:
            return resumes.renew(job)
    except MoveRefused as refusal:
        check_not_erased(refusal.job)
    raise NotAllowed("Another caller is resuming the job, or has just tried to. Try again in 30 seconds.")


def _is_lost(project_version_arn: str | None, job: Job) -> bool:
    """Whether the model's training failed, or the model is deleted or about to be deleted."""
    if project_version_arn is None:
        return False
    version = models.describe(job["ProjectArn"], models.version_name(project_version_arn))
    return version is None or version["Status"] in models.NOT_TRAINED or job["DiscardedModel"] == project_version_arn


def _start_anew(job: Job, execution: "DescribeExecutionOutputTypeDef", machine: StateMachine) -> Job:
    """Start the job's next execution, which skips the states that ``execution`` has completed.

    The record names the next execution before it is started, so that a late event about ``execution`` does not affect
    the job. If the start fails, the next resume continues from ``execution``.
    """
    _, attempt = executions.parse(execution["executionArn"].rpartition(":")[2])
    again_from = advice.for_error(execution.get("error")).again_from
    execution_input = executions.next_input(execution, again_from=again_from)
    model = execution_input["resumed"].get("model")
    if model and _is_lost(model["projectVersionArn"], job):
        del execution_input["resumed"]["model"]
        execution_input["resumed"].pop("outlines", None)  # their file has the name of the lost model
    attributes: dict[str, Any] = {}
    if "model" not in execution_input["resumed"]:
        trained = (job["EarlierTrainingSeconds"] or 0) + (job["TrainingSeconds"] or 0)
        attributes = {"ProjectVersionArn": None, "TrainingStartTime": None, "TrainingSeconds": None}
        attributes |= {"EarlierTrainingSeconds": trained or None}
    try:
        resumes.name_execution(job, machine.execution_arn(job.id, attempt + 1), **attributes)
    except MoveRefused:
        raise NotAllowed("Another request has already resumed the job.") from None
    try:
        clients.stepfunctions.start_execution(
            stateMachineArn=machine.arn,
            name=executions.name(job.id, attempt + 1),
            input=json.dumps(execution_input),
        )
    except ClientError as error:
        if error_code(error) == "ExecutionAlreadyExists":
            raise NotAllowed("The job is running.") from None
        raise
    return _reopen(job, Status.CHECKING_IMAGES)


def _reopen(job: Job, status: Status) -> Job:
    try:
        return resumes.reopen(job, status)
    except MoveRefused as refusal:
        return refusal.job  # the resumed stage has already recorded its status
