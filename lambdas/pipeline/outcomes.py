"""How an execution ended, written to the job's record and told to whoever follows the topic."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from aws_lambda_powertools import Logger
from botocore.exceptions import BotoCoreError, ClientError

from pipeline.jobs import Job, JobNotFound, Jobs, MoveRefused, Status

REJECTED_ERROR = "ModelRejected"  # raised by the state `Model rejected`
STATUSES: Mapping[str, Status] = {
    "SUCCEEDED": Status.READY,
    "FAILED": Status.FAILED,
    "TIMED_OUT": Status.FAILED,
    "ABORTED": Status.STOPPED,
}
HISTORY_PAGE = 1000  # events; enough to reach the last state behind some 300 retries of it

logger = Logger(child=True)


@dataclass(frozen=True)
class Outcome:
    """How an execution ended: the job's status, the state that it ended in, error and cause in words."""

    status: Status
    end_time: int
    stage: str | None
    error: str | None
    cause: str | None


def find(execution_arn: str, stepfunctions: Any) -> Outcome | None:
    """Ask Step Functions how the execution ended; None while it runs, also when it was redriven."""
    execution = stepfunctions.describe_execution(executionArn=execution_arn)
    if execution["status"] not in STATUSES:
        return None
    status, error = STATUSES[execution["status"]], execution.get("error")
    if error == REJECTED_ERROR:
        status = Status.REJECTED
    if execution["status"] == "TIMED_OUT":
        error = error or "States.Timeout"
    return Outcome(
        status=status,
        end_time=int(execution["stopDate"].timestamp() * 1000),
        stage=_last_stage(execution_arn, stepfunctions),
        error=error,
        cause=_words(execution.get("cause")),
    )


def record(job_id: str, execution_arn: str, *, jobs: Jobs, stepfunctions: Any) -> Job | None:
    """Write the execution's end to the job; the job as it is then, or None when there is nothing to write.

    May be called at any time and any number of times: Step Functions is asked, and an end is never replaced by an
    earlier one.
    """
    outcome = find(execution_arn, stepfunctions)
    if outcome is None:
        return None
    detail = str(outcome.status) if outcome.error is None else f"{outcome.status}: {outcome.error}"
    try:
        return jobs.end(
            job_id,
            outcome.status,
            outcome.end_time,
            Stage=outcome.stage,
            DetailedStatus=detail,
            Error=outcome.error,
            Cause=outcome.cause,
            TaskToken=None,
        )
    except MoveRefused as refusal:
        return refusal.job if refusal.job["EndTime"] == outcome.end_time else None
    except JobNotFound:
        logger.info("The execution belongs to no job of ours")
        return None


def notify(job: Job, request_id: str, *, jobs: Jobs, topic: str, sns: Any) -> None:
    """Publish one readable message for this end of the job, however often this is called.

    Of several calls one sends, and its retries, which have the same ``request_id``, may take over from it. A message
    comes twice only when the sender broke off after it was sent and before that was recorded.

    The message holds figures and error words of the pipeline, no file names and no personal data.
    """
    if not jobs.claim_notice(job.id, job["EndTime"], request_id):
        return
    try:
        sns.publish(TopicArn=topic, Subject=f"eKYC training {job.status}: {job.id}"[:100], Message=_message(job))
    except (ClientError, BotoCoreError):
        jobs.note(job.id, NoticeClaim=None)  # so that a redelivery, which is another request, may send it
        raise
    jobs.note(job.id, NotifiedEnd=job["EndTime"], NoticeClaim=None)


def _message(job: Job) -> str:
    """One line for each figure that the job has."""
    minutes = (job["EndTime"] - (job["ExecutionStartTime"] or job["StartTime"])) / 60_000
    lines = [f"Training job {job.id} is {job.status} after {minutes:.1f} minutes.", ""]
    for words, name in (
        ("Ended at stage", "Stage"),
        ("Error", "Error"),
        ("Photos", "Images"),
        ("Photos rejected", "Rejected"),
        ("F1", "F1"),
        ("Precision", "Precision"),
        ("Recall", "Recall"),
        ("F1 of the model that was live", "LiveF1"),
        ("Model", "ProjectVersionArn"),
        ("Execution", "ExecutionArn"),
    ):
        value = job[name]
        if value is not None:
            lines.append(f"{words}: {value:.4g}" if isinstance(value, float) else f"{words}: {value}")
    if job.status is Status.REJECTED:
        lines += ["", *(job["Reasons"] or [])]
    if job.status is Status.FAILED:
        lines += ["", "The job's page in the API holds the cause in words."]
    return "\n".join(lines)


def _last_stage(execution_arn: str, stepfunctions: Any) -> str | None:
    """The state that the execution entered last."""
    page = stepfunctions.get_execution_history(
        executionArn=execution_arn, reverseOrder=True, maxResults=HISTORY_PAGE, includeExecutionData=False
    )
    entered = [event for event in page["events"] if event["type"].endswith("StateEntered")]
    if not entered:
        return None
    name: str = max(entered, key=lambda event: event["id"])["stateEnteredEventDetails"]["name"]
    return name


def _words(cause: str | None) -> str | None:
    """The cause for people: a Lambda function's JSON answer is cut down to its message."""
    if cause is None:
        return None
    try:
        answer = json.loads(cause)
    except ValueError:
        return cause
    return str(answer["errorMessage"]) if isinstance(answer, dict) and "errorMessage" in answer else cause
