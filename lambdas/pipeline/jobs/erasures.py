"""The requests to erase a job, and the progress of the erasure, in the job's record."""

from typing import Any

from boto3.dynamodb.conditions import Attr

from pipeline.jobs.record import Job, now_ms
from pipeline.jobs.table import MoveRefused, appended, increased, jobs


def add_request(job: Job, requested_by: str, most: int, *, delete_model: bool = False, **attributes: Any) -> Job:
    """Add a request to erase the job to its record, and set ``attributes`` in the same write; returns the job.

    The job's first request is refused if the record has changed since ``job`` was read, because a start or a resume may
    have claimed the job::

        erasure   read the record                   add_request: refused
        start                       claim the job

    Further requests have no such condition: a job with a request cannot be started or resumed.

    Args:
        requested_by: the caller as IAM or the user pool names it.
        most: the maximum number of requests in a record.
        delete_model: whether to delete the job's model too.

    Raises:
        JobNotFound: no job has this id.
        MoveRefused: the record has changed since ``job`` was read, or already has ``most`` requests.
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


def add_objects(job_id: str, objects: int) -> None:
    """Add ``objects`` to the job's number of erased objects."""
    jobs.update(job_id, {}, computed={"ErasedObjects": increased(objects)})


def mark_erased(job: Job, *, last: bool, model_deleted: bool = False) -> Job | None:
    """Record that the job is erased; returns the job, or None if a request was added since ``job`` was read.

    An added request needs another erasure. With ``last``, the erasure is complete: no objects can be added to the job
    any more. The cause is removed too, because it may name a file.
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


def list_open_ids(index: str) -> list[str]:
    """The ids of all jobs whose erasure is not complete, oldest first."""
    return jobs.list_ids(index, Attr("ErasureOpen").exists())
