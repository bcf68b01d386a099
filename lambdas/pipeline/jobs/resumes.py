"""A resume: it claims the failed or stopped job, so that no other resume and no erasure comes in between."""

from typing import Any

from boto3.dynamodb.conditions import Attr, ConditionBase

from pipeline.jobs.record import Job, now_ms
from pipeline.jobs.table import Jobs
from rules.states import RESUMABLE, Status

CLAIM_MS = 30_000
"""How long the claim of a start or a resume holds. Must exceed the 29 seconds that an API call has."""


def claim_is_over(now: int) -> ConditionBase:
    """No resume holds the job at ``now`` (Unix ms): the job has ended since the last one's claim, or that is stale."""
    resumed = Attr("ResumedTime")
    return resumed.not_exists() | resumed.lt(Attr("EndTime")) | resumed.lt(now - CLAIM_MS)


def claim(jobs: Jobs, job_id: str, caller: str) -> Job:
    """Record that ``caller`` resumes the job; returns the job.

    Of two callers the record takes one::

        caller 1   claim                  redrive   reopen
        caller 2           claim: refused
        erasure                  request: refused, as the record has changed

    Raises:
        JobNotFound, MoveRefused: also when the job was erased, or another caller is resuming it.
    """
    now = now_ms()
    return jobs.note_call(
        job_id,
        "ResumedBy",
        caller,
        allowed=RESUMABLE,
        condition=claim_is_over(now),
        ResumedTime=now,
        StopRequested=None,
    )


def renew(jobs: Jobs, job: Job) -> Job:
    """Keep the claim that ``job`` was read with, for its caller asks once more; returns the job.

    Raises:
        JobNotFound, MoveRefused: the job was claimed again or has moved since.
    """
    return jobs.update(
        job.id,
        {"ResumedTime": max(now_ms(), job["ResumedTime"] + 1)},  # another than before, as it tells claims apart
        allowed=RESUMABLE,
        condition=Attr("ResumedTime").eq(job["ResumedTime"]),
    )


def name_execution(jobs: Jobs, job: Job, execution_arn: str, **attributes: Any) -> None:
    """Record the execution that is to be the job's next, with ``attributes``, while the claim of ``job`` holds.

    A slower resume of the same caller must not wipe out the model that the next execution has begun::

        call 1   claim                                          name_execution: refused
        call 2           renew   name_execution   start   Start training

    Raises:
        JobNotFound, MoveRefused: also when the claim was renewed or taken over since, or a model was begun.
    """
    version = Attr("ProjectVersionArn")
    jobs.update(
        job.id,
        {"ExecutionArn": execution_arn, **attributes},
        condition=Attr("ResumedTime").eq(job["ResumedTime"])
        & (version.not_exists() | version.eq(job["ProjectVersionArn"] or "")),
    )


def reopen(jobs: Jobs, job: Job, status: Status) -> Job:
    """Show a job that was resumed as running again, with ``status``; returns the job.

    Raises:
        JobNotFound, MoveRefused: also when the job has moved since ``job`` was read: its stages are quicker.
    """
    return jobs.update(
        job.id,
        {"Status": status, "DetailedStatus": "Resumed", "RunningStatus": status},
        allowed=RESUMABLE,
        condition=Attr("EndTime").eq(job["EndTime"]),
    )
