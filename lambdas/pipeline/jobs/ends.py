"""The end of a job: its outcome, and whether everything that the job left running is stopped."""

from functools import reduce
from operator import or_
from typing import Any

from aws_lambda_powertools import Logger
from boto3.dynamodb.conditions import Attr

from pipeline.jobs.record import END_SENT, Job, now_ms
from pipeline.jobs.resumes import CLAIM_MS, claim_is_over
from pipeline.jobs.table import MoveRefused, allowed_from, jobs
from rules.states import RESUMABLE, RUNNING, Status

UNSETTLED_MS = 120 * 24 * 3_600_000
"""How long after a job's creation `list_unsettled_ids` lists it. Must exceed the 60 days of an execution and the time
between the job's creation and its start."""

RUNS = Attr("ExecutionArn").exists() & Attr("Status").is_in(list(RUNNING))
NOT_SENT = Attr("EndTime").exists() & reduce(
    or_, (Attr(mark).not_exists() | Attr(mark).lt(Attr("EndTime")) for mark in END_SENT)
)
UNSETTLED = Attr("Unsettled").exists() | NOT_SENT | RUNS

logger = Logger(child=True)


def record(job_id: str, status: Status, end_time: int, execution_arn: str, **attributes: Any) -> Job:
    """Record how the execution ended at ``end_time`` (Unix ms), unless the record has a later end.

    A job that did not end as ready may have left something running. It counts as unsettled until `mark_settled`.

    An event that arrives after a resume does not end the resumed job::

        execution   end
        resume            claim   redrive   reopen
        event                                        record: refused

    Raises:
        JobNotFound, MoveRefused: as `Jobs.move`; also when the record has a later end or names another execution, or a
            resume has claimed the job.
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


def mark_settled(job: Job) -> None:
    """Record that the ended job has left nothing running, unless the job has ended again since ``job`` was read."""
    try:
        jobs.update(job.id, {"Unsettled": None}, condition=Attr("EndTime").eq(job["EndTime"]))
    except MoveRefused:
        logger.info("The job has a later end")


def list_unsettled_ids(index: str) -> list[str]:
    """The ids of all jobs to settle, oldest first.

    These are jobs with a running status, because their end may not be recorded, jobs that may have left something
    running, and jobs with an unsent message or event about their end. Leaves out jobs older than `UNSETTLED_MS`.
    """
    return jobs.list_ids(index, UNSETTLED, since=now_ms() - UNSETTLED_MS)


def discard_model(job: Job, project_version_arn: str, **attributes: Any) -> bool:
    """Record that the stopped job's model is about to be deleted; returns False if a resume came first.

    A resume that comes later reads the mark, and trains another model::

        settle   discard_model   delete the model
        resume                                      claim   train again

    A resume that comes first keeps the model::

        settle           discard_model: False
        resume   claim                          use the model
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
