"""The task token with which the state machine waits for labels, in the job's record."""

from collections.abc import Mapping
from typing import Any

from aws_lambda_powertools import Logger
from boto3.dynamodb.conditions import Attr

from pipeline.jobs.record import Job
from pipeline.jobs.table import NOT_ERASED, JobNotFound, MoveRefused, jobs
from rules.states import RESUMABLE, Status

WAITS_FOR_SUPPLIED_LABELS = Attr("TaskToken").exists() & Attr("LabelProvider").eq("supplied") & NOT_ERASED

logger = Logger(child=True)


def store(job_id: str, token: str, provider: str) -> Job:
    """Store the token before the stage looks for a labelling job; returns the job.

    Removes the ARN of an earlier token's labelling job, so that a late event about it cannot answer this token::

        task 1   store token 1   create labelling job 1
        task 2                                            store token 2
        event                                                             labelling job 1 has ended: ignored

    Raises:
        JobNotFound, MoveRefused: the job does not exist or does not wait for labels.
    """
    waiting = (Status.CHECKING_IMAGES, Status.WAITING_FOR_LABELLING, Status.LABELLING, *RESUMABLE)
    return jobs.update(
        job_id, {"TaskToken": token, "LabelProvider": provider, "LabellingJobArn": None}, allowed=waiting
    )


def forget(job_id: str, token: str) -> None:
    """Remove the token after it was answered. A newer token is kept."""
    try:
        jobs.update(job_id, {"TaskToken": None}, condition=Attr("TaskToken").eq(token))
    except (MoveRefused, JobNotFound):
        logger.info("The token has been replaced")


def post_labels(job_id: str, posted: Mapping[str, Any]) -> Job:
    """Record the posted labels, with which to answer the token of a job that waits for them; returns the job.

    Raises:
        JobNotFound, MoveRefused: also when the job does not wait for supplied labels.
    """
    return jobs.update(job_id, {"PostedLabels": posted}, condition=WAITS_FOR_SUPPLIED_LABELS)
