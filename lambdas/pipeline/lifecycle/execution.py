"""Functions that the requests about a job share: describe its last execution, and check that it is not erased."""

from typing import TYPE_CHECKING

from botocore.exceptions import ClientError

from pipeline import executions
from pipeline.errors import error_code
from pipeline.executions import StateMachine
from pipeline.jobs import Job
from pipeline.lifecycle.refusals import NotAllowed

if TYPE_CHECKING:
    from types_boto3_stepfunctions.type_defs import DescribeExecutionOutputTypeDef

UP = ("RUNNING", "PENDING_REDRIVE")
"""Statuses of an execution that has not ended."""


def describe_execution(job: Job, machine: StateMachine) -> "DescribeExecutionOutputTypeDef | None":
    """The job's last execution, or None when it has none.

    The record names an execution before it is started. If the start failed, this is the execution before that one.
    """
    _, last = executions.parse(machine.last_execution_arn(job).rpartition(":")[2])
    for attempt in (last, last - 1)[: 1 if last == 1 else 2]:
        try:
            return executions.describe(machine.execution_arn(job.id, attempt))
        except ClientError as error:
            if error_code(error) != "ExecutionDoesNotExist":
                raise
    return None


def check_not_erased(job: Job) -> None:
    """Check that a request may change the job.

    Raises:
        NotAllowed: the erasure of the job was requested.
    """
    if job.is_erased:
        raise NotAllowed("The job was erased: its photos and labels are gone. Create a new job.")
