"""Supplies labels to a job that waits for them."""

from pipeline import labelling
from pipeline.jobs import Job, MoveRefused, jobs, tokens
from pipeline.labelling import SUPPLIED
from pipeline.lifecycle.execution import check_not_erased
from pipeline.lifecycle.refusals import NotAllowed, NotThere
from pipeline.lifecycle.starting import uploaded_etag


def supply_labels(job_id: str, key: str, caller: str, *, bucket: str) -> Job:
    """Continue the execution that waits for supplied labels.

    The output that is sent with its token has ``caller``, for the audit report, and the ETag of the file, which
    `Import labels` requires.

    Raises:
        JobNotFound: no job has this id.
        NotAllowed: the job does not wait for labels.
        NotThere: the file is not uploaded.
    """
    try:
        etag = uploaded_etag(key, bucket)
        posted = {"provider": SUPPLIED, "labelsKey": key, "labelsEtag": etag, "postedBy": caller}
        job = tokens.post_labels(job_id, posted) if etag else jobs.get(job_id)
    except MoveRefused as refusal:
        job = refusal.job
    check_not_erased(job)
    if job["LabelProvider"] != SUPPLIED or not job["TaskToken"]:
        raise NotAllowed(f"The job does not wait for supplied labels; it is {job.status}.")
    if not etag:
        raise NotThere(f"The labels file {key.rpartition('/')[2]!r} is not uploaded.")
    if not labelling.supply_labels(job):
        raise NotAllowed(
            "The job does not wait for labels now. Check its status, and send the labels again if it still waits."
        )
    return job
