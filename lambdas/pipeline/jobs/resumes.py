"""The claim of a resume on a failed or stopped job. While it holds, other resumes and erasures are refused."""

from typing import Any

from boto3.dynamodb.conditions import Attr, ConditionBase

from pipeline.jobs.record import Job, now_ms
from pipeline.jobs.table import jobs
from rules.states import RESUMABLE, Status

CLAIM_MS = 30_000
"""Lease on the claim of a start or a resume. Must exceed the API's timeout of 29 seconds."""


def claim_is_over(now: int) -> ConditionBase:
    """The condition that no resume claims the job at ``now`` (Unix ms).

    A claim is over when the resumed job has ended again, or when its lease has expired::

        resume 1   claim   redrive   reopen   end
        resume 2                                    claim

        resume 1   claim   crash                    lease expires
        resume 2                   claim: refused                   claim
    """
    resumed = Attr("ResumedTime")
    return resumed.not_exists() | resumed.lt(Attr("EndTime")) | resumed.lt(now - CLAIM_MS)


def claim(job_id: str, caller: str) -> Job:
    """Record that ``caller`` resumes the job; returns the job.

    The claim refuses another caller, and an erasure that read the record before it::

        caller 1                     claim                                          redrive   reopen
        caller 2                             claim: refused
        erasure    read the record                            add_request: refused

    Raises:
        JobNotFound, MoveRefused: also when the job was erased, or another resume claims it.
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


def renew(job: Job) -> Job:
    """Renew the claim in ``job`` for a caller who repeats the request; returns the job.

    Raises:
        JobNotFound, MoveRefused: the claim or the status has changed since ``job`` was read.
    """
    return jobs.update(
        job.id,
        {"ResumedTime": max(now_ms(), job["ResumedTime"] + 1)},  # always a new value, because it identifies the claim
        allowed=RESUMABLE,
        condition=Attr("ResumedTime").eq(job["ResumedTime"]),
    )


def name_execution(job: Job, execution_arn: str, **attributes: Any) -> None:
    """Record the ARN of the job's next execution, with ``attributes``, while the claim in ``job`` holds.

    If a caller repeats the request, the first request must not remove the record's model after the second request has
    started an execution that made it::

        request 1   claim                                                    name_execution: refused
        request 2           renew   name_execution   start the execution
        execution                                                  make a model

    Raises:
        JobNotFound, MoveRefused: also when the claim has changed or a model was made since ``job`` was read.
    """
    version = Attr("ProjectVersionArn")
    jobs.update(
        job.id,
        {"ExecutionArn": execution_arn, **attributes},
        condition=Attr("ResumedTime").eq(job["ResumedTime"])
        & (version.not_exists() | version.eq(job["ProjectVersionArn"] or "")),
    )


def reopen(job: Job, status: Status) -> Job:
    """Set a resumed job back to the running ``status``; returns the job.

    Raises:
        JobNotFound, MoveRefused: also when a stage of the execution has moved the job since ``job`` was read.
    """
    return jobs.update(
        job.id,
        {"Status": status, "DetailedStatus": "Resumed", "RunningStatus": status},
        allowed=RESUMABLE,
        condition=Attr("EndTime").eq(job["EndTime"]),
    )
