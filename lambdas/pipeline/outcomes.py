"""Records in the job's record how its execution ended."""

import json
from collections.abc import Mapping
from dataclasses import dataclass

from aws_lambda_powertools import Logger

from pipeline import executions
from pipeline.clients import clients
from pipeline.errors import REJECTED, is_own_cause, own_error
from pipeline.jobs import Job, JobNotFound, MoveRefused, ends
from rules.states import ENDED, Status

STATUSES: Mapping[str, Status] = {
    "SUCCEEDED": Status.READY,
    "FAILED": Status.FAILED,
    "TIMED_OUT": Status.FAILED,
    "ABORTED": Status.STOPPED,
}
HISTORY_PAGE = 1000  # events; they include the entry of the last state unless it had more than about 300 retries

logger = Logger(child=True)


@dataclass(frozen=True)
class Outcome:
    """How an execution ended: the job's status, the time (Unix ms), the last state, the error and its cause."""

    status: Status
    end_time: int
    stage: str | None
    error: str | None
    cause: str | None


def find(execution_arn: str) -> Outcome | None:
    """Ask Step Functions how the execution ended; None while it runs, also after a redrive."""
    execution = executions.describe(execution_arn)
    if execution["status"] not in STATUSES:
        return None
    status, cause = STATUSES[execution["status"]], execution.get("cause")
    is_stop = execution["status"] == "ABORTED"
    error = own_error(execution.get("error"), cause, is_stop=is_stop)
    if error == REJECTED:
        status = Status.REJECTED
    if execution["status"] == "TIMED_OUT":
        error = error or "States.Timeout"
    return Outcome(
        status=status,
        end_time=int(execution["stopDate"].timestamp() * 1000),
        stage=_last_stage(execution_arn),
        error=error,
        cause=_words(cause) if is_own_cause(error, cause, is_stop=is_stop) else None,
    )


def record(execution_arn: str) -> Job | None:
    """Record the execution's end; returns the job, or None if the execution runs or is not a job's last execution.

    Can be called at any time and any number of times, because it reads the end from Step Functions. It replaces neither
    a later end nor the end of a later execution.
    """
    outcome = find(execution_arn)
    if outcome is None:
        return None
    detail = str(outcome.status) if outcome.error is None else f"{outcome.status}: {outcome.error}"
    try:
        return ends.record(
            executions.job_id(execution_arn),
            outcome.status,
            outcome.end_time,
            execution_arn,
            Stage=outcome.stage,
            DetailedStatus=detail,
            Error=outcome.error,
            Cause=outcome.cause,
            TaskToken=None,
        )
    except MoveRefused as refusal:
        is_recorded = refusal.job["EndTime"] == outcome.end_time and refusal.job.status in ENDED
        return refusal.job if is_recorded else None
    except JobNotFound:
        logger.info("The execution belongs to no job of the pipeline")
        return None


def _last_stage(execution_arn: str) -> str | None:
    """The state that the execution entered last."""
    page = clients.stepfunctions.get_execution_history(
        executionArn=execution_arn, reverseOrder=True, maxResults=HISTORY_PAGE, includeExecutionData=False
    )
    entered = [event for event in page["events"] if event["type"].endswith("StateEntered")]
    if not entered:
        return None
    name: str = max(entered, key=lambda event: event["id"])["stateEnteredEventDetails"]["name"]
    return name


def _words(cause: str | None) -> str | None:
    """The cause as text for people. If it is the JSON error of a Lambda function, only its message."""
    if cause is None:
        return None
    try:
        answer = json.loads(cause)
    except ValueError:
        return cause
    return str(answer["errorMessage"]) if isinstance(answer, dict) and "errorMessage" in answer else cause
