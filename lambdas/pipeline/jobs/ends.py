"""The end of a job: how it ended, and what is still to be done about it."""

from functools import reduce
from operator import or_
from typing import Any

from aws_lambda_powertools import Logger
from boto3.dynamodb.conditions import Attr

from pipeline.jobs.record import END_SENT, Job, now_ms
from pipeline.jobs.resumes import CLAIM_MS, claim_is_over
from pipeline.jobs.table import Jobs, MoveRefused, allowed_from
from rules.states import RESUMABLE, RUNNING, Status

UNSETTLED_MS = 120 * 24 * 3_600_000
"""How long after its creation a job is looked for. Must exceed the 60 days of an execution and the wait for a start."""

RUNS = Attr("ExecutionArn").exists() & Attr("Status").is_in(list(RUNNING))
NOT_SENT = Attr("EndTime").exists() & reduce(
    or_, (Attr(mark).not_exists() | Attr(mark).lt(Attr("EndTime")) for mark in END_SENT)
)
UNSETTLED = Attr("Unsettled").exists() | NOT_SENT | RUNS

logger = Logger(child=True)


def record(jobs: Jobs, job_id: str, status: Status, end_time: int, execution_arn: str, **attributes: Any) -> Job:
    """Record how the execution ended at ``end_time`` (Unix ms), unless a later end is recorded already.

    Unless the job is ready, something that it started may run on: the record says so until `mark_settled`. An event
    about an end that a resume has overtaken changes nothing::

        event      end 1                             record(end 1): refused
        resume             claim   redrive   reopen

    Raises:
        JobNotFound, MoveRefused: as `Jobs.move`; also when the recorded end is later, the job has another execution, or
            it was resumed in this moment.
    """
    end, execution, resumed = Attr("EndTime"), Attr("ExecutionArn"), Attr("ResumedTime")
    return jobs.update(
        job_id,
        {"Status": status, "EndTime": end_time, "Unsettled": None if status is Status.READY else True, **attributes},
        allowed=allowed_from(status),
        condition=(end.not_exists() | end.lte(end_time))
        & (execution.not_exists() | execution.eq(execution_arn))
        & (resumed.not_exists() | resumed.lt(end_time) | resumed.lt(now_ms() - CLAIM_MS)),
    )


def mark_settled(jobs: Jobs, job: Job) -> None:
    """Record that nothing is left running of the job that ended, unless it has moved since ``job`` was read."""
    try:
        jobs.update(job.id, {"Unsettled": None}, condition=Attr("EndTime").eq(job["EndTime"]))
    except MoveRefused:
        logger.info("The job has moved")


def list_unsettled_ids(jobs: Jobs, index: str) -> list[str]:
    """The ids of all jobs that may have ended unnoticed, or whose end is not dealt with, oldest first.

    Those are jobs shown as running, with something that may be left running, or with an end of which the message or the
    event was not sent. A job is looked for until `UNSETTLED_MS` after its creation.
    """
    return jobs.list_ids(index, UNSETTLED, since=now_ms() - UNSETTLED_MS)


def discard_model(jobs: Jobs, job: Job, project_version_arn: str, **attributes: Any) -> bool:
    """Record that the stopped job's model is going to be deleted; False when the job is or was resumed.

    A resume that comes later finds it here, and one that came before keeps its model::

        settle   discard_model   delete the model
        resume                   claim: its record has DiscardedModel, so it trains anew
    """
    try:
        jobs.update(
            job.id,
            {"DiscardedModel": project_version_arn, **attributes},
            allowed=RESUMABLE,
            condition=Attr("EndTime").eq(job["EndTime"]) & claim_is_over(now_ms()),
        )
    except MoveRefused:
        return False
    return True
