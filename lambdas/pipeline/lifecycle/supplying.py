"""Supplies a job with the labels that it waits for."""

from pipeline import labelling
from pipeline.jobs import Job, MoveRefused, tokens
from pipeline.labelling import SUPPLIED
from pipeline.lifecycle.execution import check_not_erased
from pipeline.lifecycle.refusals import NotAllowed, NotThere
from pipeline.lifecycle.starting import is_uploaded
from pipeline.services import Services


def supply_labels(job_id: str, key: str, caller: str, services: Services) -> Job:
    """Resume the execution that waits for supplied labels. The record keeps ``caller`` for the audit report.

    Raises:
        JobNotFound: no job has this id.
        NotAllowed: the job does not wait for labels.
        NotThere: the file is not uploaded.
    """
    try:
        is_there = is_uploaded(key, services)
        job = tokens.post_labels(services.jobs, job_id, key, caller) if is_there else services.jobs.get(job_id)
    except MoveRefused as refusal:
        job = refusal.job
    check_not_erased(job)
    if job["LabelProvider"] != SUPPLIED or not job["TaskToken"]:
        raise NotAllowed(f"The job does not wait for supplied labels; it is {job.status}.")
    if not is_there:
        raise NotThere(f"The labels file {key.rpartition('/')[2]!r} is not uploaded.")
    if not labelling.supply_labels(job, key, stepfunctions=services.stepfunctions):
        raise NotAllowed("The job does not wait for labels now. Look at its status, and post again if it still waits.")
    return job
