"""A job's executions: the first has the job's id as its name, later ones `<jobId>-2`, `-3` and so on.

A later one is started when a redrive cannot help. Its input holds the results of the earlier one, which it skips.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pipeline.clients import clients
from pipeline.jobs import Job
from rules.states import TASKS, Task

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
        """The ARN of the job's last execution; of a job that was never started, the one that it will have."""
        return job["ExecutionArn"] or self.execution_arn(job.id)


def name(job_id: str, attempt: int) -> str:
    """The name of the job's execution number ``attempt``, counted from 1."""
    return job_id if attempt == 1 else f"{job_id}-{attempt}"


def parse(execution_name: str) -> tuple[str, int]:
    """The job's id and the number of the execution. Any other name counts as a job's id."""
    later = NAME.fullmatch(execution_name)
    return (later[1], int(later[2])) if later else (execution_name, 1)


def job_id(execution_arn: str) -> str:
    """The id of the job that the execution belongs to."""
    return parse(execution_arn.rpartition(":")[2])[0]


def next_input(execution: Mapping[str, Any], *, again_from: Task | None) -> dict[str, Any]:
    """The input of the execution that continues where ``execution`` (from DescribeExecution) has ended.

    It is the same input with ``resumed``: the results of the completed states by the names of their variables, and
    ``redrives``, the number of resumes so far. ``again_from`` is the first task to run again, if any.
    """
    job: dict[str, Any] = json.loads(execution["input"])
    before = job.get("resumed", {})
    tasks = list(RESULTS)
    kept = tasks[: tasks.index(again_from.name)] if again_from else tasks
    made = _results(execution["executionArn"])
    found = before | {RESULTS[task]: made[task] for task in kept if task in made}
    again = again_from.result if again_from else None
    results = {}
    for variable in dict.fromkeys(RESULTS.values()):
        # Keep the result of Request labels for posted labels: it has the file's name, which Import labels reads again.
        if variable not in found or (variable == again and "labelsKey" not in found[variable]):
            break
        results[variable] = found[variable]
        if variable == again:
            break
    redrives = before.get("redrives", 0) + execution.get("redriveCount", 0) + 1
    return job | {"resumed": {"redrives": redrives, **results}}


def _results(execution_arn: str) -> dict[str, Any]:
    """The last result of each state that succeeded, by the state's name. A history has at most 25 pages."""
    pages = clients.stepfunctions.get_paginator("get_execution_history").paginate(
        executionArn=execution_arn, PaginationConfig={"PageSize": 1000}
    )
    left = (event.get("stateExitedEventDetails", {}) for page in pages for event in page["events"])
    return {state["name"]: json.loads(state["output"]) for state in left if state.get("name") in RESULTS}
