"""A job's last execution, and the check that all requests about a job share."""

from typing import Any

from botocore.exceptions import ClientError

from pipeline import executions
from pipeline.errors import error_code
from pipeline.jobs import Job
from pipeline.lifecycle.refusals import NotAllowed
from pipeline.services import Services

UP = ("RUNNING", "PENDING_REDRIVE")
"""Statuses of an execution that has not ended."""


def describe_execution(job: Job, services: Services) -> dict[str, Any] | None:
    """The job's last execution, or None when it has none.

    A resume that stopped after writing the record named an execution that does not exist: then this is the one before.
    """
    _, last = executions.parse(services.last_execution_arn(job).rpartition(":")[2])
    for attempt in (last, last - 1)[: 1 if last == 1 else 2]:
        try:
            execution: dict[str, Any] = services.stepfunctions.describe_execution(
                executionArn=services.execution_arn(job.id, attempt)
            )
        except ClientError as error:
            if error_code(error) != "ExecutionDoesNotExist":
                raise
        else:
            return execution
    return None


def check_not_erased(job: Job) -> None:
    """Refuse every change to a job whose erasure was requested.

    Raises:
        NotAllowed: its erasure was requested.
    """
    if job.is_erased:
        raise NotAllowed("The job was erased: its photos and labels are gone. Create a new job.")
