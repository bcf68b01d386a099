"""A job's executions. The first is named after the job's id, the others are `<jobId>-2`, `<jobId>-3` and so on.

A resume starts another execution if a redrive cannot help. Its input has the results of the states to skip.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from pipeline.clients import clients
from pipeline.jobs import Job
from rules.states import TASKS, Task

if TYPE_CHECKING:
    from types_boto3_stepfunctions.type_defs import DescribeExecutionOutputTypeDef

BATCH_FAILED = "States.ExceedToleratedFailureThreshold"
"""The error of an execution in which a batch of photos failed. It does not say why the batch failed."""
UNSUCCESSFUL: tuple[Literal["FAILED", "TIMED_OUT"], ...] = ("FAILED", "TIMED_OUT")
NAME = re.compile(r"(ekyc-[0-9]{14}-[0-9a-f]{16})-([2-9]|[1-9][0-9]+)")
RESULTS: Mapping[str, str] = {task.name: task.result for task in TASKS if task.result}
"""The state machine's variable for each task's result, by the task's name, in the order of the tasks."""


@dataclass(frozen=True)
class StateMachine:
    """The state machine, and the ARNs of its executions."""

    arn: str

    @property
    def region(self) -> str:
        return self.arn.split(":")[3]

    def execution_arn(self, job_id: str, attempt: int = 1) -> str:
        """The ARN of the job's execution number ``attempt``, counted from 1."""
        return f"{self.arn.replace(':stateMachine:', ':execution:')}:{name(job_id, attempt)}"

    def last_execution_arn(self, job: Job) -> str:
        """The ARN of the job's last execution. For a job that was never started, the ARN of its first execution."""
        return job["ExecutionArn"] or self.execution_arn(job.id)


def name(job_id: str, attempt: int) -> str:
    """The name of the job's execution number ``attempt``, counted from 1."""
    return job_id if attempt == 1 else f"{job_id}-{attempt}"


def parse(execution_name: str) -> tuple[str, int]:
    """The job's id and the number of the execution. Any other name is returned as the job's id, with number 1."""
    later = NAME.fullmatch(execution_name)
    return (later[1], int(later[2])) if later else (execution_name, 1)


def job_id(execution_arn: str) -> str:
    """The id of the job that the execution belongs to."""
    return parse(execution_arn.rpartition(":")[2])[0]


def describe(execution_arn: str) -> "DescribeExecutionOutputTypeDef":
    """DescribeExecution's answer. If a batch of photos failed, ``error`` and ``cause`` are those of the batch.

    The execution's own error then only says that a batch failed.
    """
    execution = clients.stepfunctions.describe_execution(executionArn=execution_arn)
    batch = failed_batch(execution_arn) if execution.get("error") == BATCH_FAILED else None
    if batch is None:
        return execution
    return execution | {name: batch[name] for name in ("error", "cause") if name in batch}  # type: ignore[return-value]


def failed_batch(execution_arn: str) -> "DescribeExecutionOutputTypeDef | None":
    """DescribeExecution's answer about a failed batch of photos of the execution. A batch is an execution, too.

    None if Step Functions lists no failed batch. Its lists are eventually consistent, so a failed batch may be missing.
    """
    for run in reversed(clients.stepfunctions.list_map_runs(executionArn=execution_arn)["mapRuns"]):
        for status in UNSUCCESSFUL:
            batches = clients.stepfunctions.list_executions(
                mapRunArn=run["mapRunArn"], statusFilter=status, maxResults=1
            )["executions"]
            if batches:
                return clients.stepfunctions.describe_execution(executionArn=batches[0]["executionArn"])
    return None


def next_input(execution: Mapping[str, Any], *, again_from: Task | None) -> dict[str, Any]:
    """The input of the execution that continues where ``execution`` (from DescribeExecution) ended.

    It is the input of ``execution`` with ``resumed``: the results of the tasks to skip, by the names of their
    variables, and ``redrives``, the number of resumes so far. ``again_from`` is the first completed task to run again.
    """
    job: dict[str, Any] = json.loads(execution["input"])
    before = job.get("resumed", {})
    tasks = list(RESULTS)
    skippable = tasks[: tasks.index(again_from.name)] if again_from else tasks
    completed = _results(execution["executionArn"])
    known = before | {RESULTS[task]: completed[task] for task in skippable if task in completed}
    again = again_from.result if again_from else None
    results = {}
    for variable in dict.fromkeys(RESULTS.values()):
        # To run again, Import labels needs the result of Request labels, which has the name of the supplied file.
        if variable not in known or (variable == again and "labelsKey" not in known[variable]):
            break
        results[variable] = known[variable]
        if variable == again:
            break
    redrives = before.get("redrives", 0) + execution.get("redriveCount", 0) + 1
    return job | {"resumed": {"redrives": redrives, **results}}


def _results(execution_arn: str) -> dict[str, Any]:
    """The last result of each task that succeeded, by the task's name. A history has at most 25 pages."""
    pages = clients.stepfunctions.get_paginator("get_execution_history").paginate(
        executionArn=execution_arn, PaginationConfig={"PageSize": 1000}
    )
    left = (event.get("stateExitedEventDetails", {}) for page in pages for event in page["events"])
    return {state["name"]: json.loads(state["output"]) for state in left if state.get("name") in RESULTS}
