"""The progress of an execution: its tasks in order, read from its history in at most two calls."""

from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from pipeline.clients import clients
from pipeline.errors import error_code
from pipeline.executions import StateMachine
from pipeline.jobs import Job
from pipeline.labelling import SUPPLIED
from rules.states import IMPORT_LABELS, LOOPS, REQUEST_LABELS, RUNNING, TASKS

if TYPE_CHECKING:
    from types_boto3_stepfunctions.type_defs import HistoryEventTypeDef

PAGE = 1000  # the maximum number of events that one call returns


def view(job: Job, machine: StateMachine) -> dict[str, Any]:
    """The tasks in order, each ``done``, ``current`` or ``next``, with times in Unix ms.

    Of a history with more than 2,000 events, reads only the first and the last 1,000: the events between them are polls
    of the loop that waits for the training. A Choice state can still skip a ``next`` task.
    """
    plan = [task.name for task in TASKS]
    events = _events(machine.last_execution_arn(job))
    entered: dict[str, int] = {}
    left: dict[str, int] = {}
    last, inside = None, False
    for event in events:
        when = int(event["timestamp"].timestamp() * 1000)
        if entry := event.get("stateEnteredEventDetails"):
            last, inside = _task(entry["name"]), True
            entered.setdefault(last, when)
        elif exit_ := event.get("stateExitedEventDetails"):
            left[_task(exit_["name"])] = when
            inside = False
    running = job.status in RUNNING
    known = [name for name in plan if name in entered]
    current = known and last in plan and (inside or running) and last
    states = [
        {
            "name": name,
            "status": "current" if name == current else "done",
            "enteredTime": entered[name],
            "leftTime": None if name == current else left.get(name),
        }
        for name in known
    ]
    if running or not events:
        after = plan.index(known[-1]) + 1 if known else 0
        skipped = (REQUEST_LABELS if job["LabelProvider"] == SUPPLIED else IMPORT_LABELS).name
        states += [
            {"name": name, "status": "next", "enteredTime": None, "leftTime": None}
            for name in plan[after:]
            if name != skipped
        ]
    return {"status": job.status, "states": states}


def _task(state: str) -> str:
    """The task that ``state`` belongs to: a Wait state belongs to the task that polls after it."""
    return LOOPS[state].name if state in LOOPS else state


def _events(execution_arn: str) -> "list[HistoryEventTypeDef]":
    """The history in order, without the inputs and outputs of the states."""
    request: dict[str, Any] = {"executionArn": execution_arn, "maxResults": PAGE, "includeExecutionData": False}
    try:
        first = clients.stepfunctions.get_execution_history(**request)
    except ClientError as error:
        if error_code(error) == "ExecutionDoesNotExist":
            return []
        raise
    events = {event["id"]: event for event in first["events"]}
    if "nextToken" in first:
        end = clients.stepfunctions.get_execution_history(**request, reverseOrder=True)
        events |= {event["id"]: event for event in end["events"]}
    return [events[number] for number in sorted(events)]
