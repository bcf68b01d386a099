"""Marks in a job's record for the messages and events that were sent about the job."""

from aws_lambda_powertools import Logger
from boto3.dynamodb.conditions import Attr

from pipeline.jobs.table import JobNotFound, MoveRefused, jobs

logger = Logger(child=True)


def mark_sent(job_id: str, mark: str, value: int) -> None:
    """Record that a message or an event was sent: set ``mark``, one of `END_SENT` or `LABELLING_SENT`, to ``value``.

    A mark never decreases.
    """
    try:
        jobs.update(job_id, {mark: value}, condition=Attr(mark).not_exists() | Attr(mark).lt(value))
    except (MoveRefused, JobNotFound):
        logger.info("Another function has sent the notice", extra={"mark": mark})
