"""Requests to erase a job, in its record, and how far the erasure is."""

from typing import Any

from boto3.dynamodb.conditions import Attr

from pipeline.jobs.record import Job, now_ms
from pipeline.jobs.table import Jobs, MoveRefused, appended, increased


def add_request(
    jobs: Jobs, job: Job, requested_by: str, most: int, *, delete_model: bool = False, **attributes: Any
) -> Job:
    """Add a request to erase the job, if the job is as ``job`` was read, or has a request already; returns the job.

    Sets ``attributes`` in the same write. A start or a resume that came since the job was read wins::

        erasure   read                  request: refused
        start            claim the job

    Args:
        requested_by: the caller as IAM or the user pool names it.
        most: requests that a record may hold.
        delete_model: the request is for the job's model too.

    Raises:
        JobNotFound: no job has this id.
        MoveRefused: the job has changed since, or has had ``most`` requests.
    """
    entry = {"RequestedBy": requested_by, "RequestedTime": now_ms()}
    if delete_model:
        entry["DeleteModel"] = True
    requests = Attr("Erasures")
    is_first = requests.not_exists() & Attr("UpdatedTime").eq(job["UpdatedTime"])
    return jobs.update(
        job.id,
        {"ErasureOpen": True, **attributes},
        computed={"Erasures": appended(entry)},
        condition=is_first | (requests.exists() & requests.size().lt(most)),
    )


def add_objects(jobs: Jobs, job_id: str, objects: int) -> None:
    """Add ``objects`` to the number of those that were erased of the job."""
    jobs.update(job_id, {}, computed={"ErasedObjects": increased(objects)})


def mark_erased(jobs: Jobs, job: Job, *, last: bool, model_deleted: bool = False) -> Job | None:
    """Record that the job is erased; None when a request came since ``job`` was read, which is to be done too.

    Error and cause in words may name a file, so the cause goes too. ``last``: nothing can be added any more.
    """
    now = now_ms()
    attributes: dict[str, Any] = {"ErasedTime": now, "Cause": None, "TaskToken": None, "PostedLabels": None}
    if last:
        attributes["ErasureOpen"] = None
    if model_deleted:
        attributes["ModelDeletedTime"] = job["ModelDeletedTime"] or now
    try:
        return jobs.update(job.id, attributes, condition=Attr("Erasures").size().eq(len(job["Erasures"])))
    except MoveRefused:
        return None


def list_open_ids(jobs: Jobs, index: str) -> list[str]:
    """The ids of all jobs whose erasure is not over, oldest first."""
    return jobs.list_ids(index, Attr("ErasureOpen").exists())
