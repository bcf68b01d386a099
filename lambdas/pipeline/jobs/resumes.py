"""A resume: it claims the failed or stopped job, so that no other resume and no erasure comes in between."""

from typing import Any

from boto3.dynamodb.conditions import Attr, ConditionBase

from pipeline.jobs.record import Job, now_ms
from pipeline.jobs.table import jobs
from rules.states import RESUMABLE, Status

CLAIM_MS = 30_000
"""How long the claim of a start or a resume holds. Must exceed the API's timeout of 29 seconds."""


def claim_is_over(now: int) -> ConditionBase:
    """No resume holds the job at ``now`` (Unix ms): the job ended after the last claim, or the claim expired."""
    resumed = Attr("ResumedTime")
    return resumed.not_exists() | resumed.lt(Attr("EndTime")) | resumed.lt(now - CLAIM_MS)


def claim(job_id: str, caller: str) -> Job:
    """Record that ``caller`` resumes the job; returns the job.

    Only one of two callers gets the claim::

        caller 1   claim                  redrive   reopen
        caller 2           claim: refused
        erasure                  add_request: refused, as the record has changed

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


def renew(job: Job) -> Job:
    """Renew the claim in ``job`` when the same caller sends the request again; returns the job.

    Raises:
        JobNotFound, MoveRefused: the job was claimed again or has moved since.
    """
    return jobs.update(
        job.id,
        {"ResumedTime": max(now_ms(), job["ResumedTime"] + 1)},  # a new value, as it identifies the claim
        allowed=RESUMABLE,
        condition=Attr("ResumedTime").eq(job["ResumedTime"]),
    )


def name_execution(job: Job, execution_arn: str, **attributes: Any) -> None:
    """Record the ARN of the job's next execution, with ``attributes``, while the claim in ``job`` holds.

    A slower request of the same caller must not remove the model that the next execution has started::

        call 1   claim                                          name_execution: refused
        call 2           renew   name_execution   start   Start training

    Raises:
        JobNotFound, MoveRefused: also when the claim was renewed or taken over since, or a model was started.
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
