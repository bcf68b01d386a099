"""How far an execution is: the states that do the work, in their order, told from its history in two calls at most."""

from collections.abc import Mapping
from typing import Any

from botocore.exceptions import ClientError

from api.services import Services
from pipeline.errors import error_code
from pipeline.jobs import RUNNING, Job
from pipeline.labelling import SUPPLIED

PLAN = (
    "Check images",
    "Request labels",
    "Import labels",
    "Prepare datasets",
    "Create datasets",
    "Check datasets",
    "Start training",
    "Check training",
    "Evaluate model",
    "Start model",
    "Check model",
    "Publish model",
)
"""The state machine's tasks in the order in which a job comes to them; a test holds it against the definition."""

LOOPS: Mapping[str, str] = {f"Wait for {thing}": f"Check {thing}" for thing in ("datasets", "training", "model")}
"""A state that waits stands for the task that looks again after it."""

PAGE = 1000  # events of a history that a call answers at most


def view(job: Job, services: Services) -> dict[str, Any]:
    """The tasks that are ``done``, the ``current`` one and the ``next`` ones, with times in Unix ms.

    Of a history of more than 2,000 events only the beginning and the end are read: between them there is nothing but
    the loop that waits for the training. What comes next follows from the record; a choice may still pass over it.
    """
    events = _events(services.last_execution_arn(job), services)
    entered: dict[str, int] = {}
    left: dict[str, int] = {}
    last, inside = None, False
    for event in events:
        when = int(event["timestamp"].timestamp() * 1000)
        if details := event.get("stateEnteredEventDetails"):
            last, inside = LOOPS.get(details["name"], details["name"]), True
            entered.setdefault(last, when)
        elif details := event.get("stateExitedEventDetails"):
            left[LOOPS.get(details["name"], details["name"])] = when
            inside = False
    running = job.status in RUNNING
    known = [name for name in PLAN if name in entered]
    current = known and last in PLAN and (inside or running) and last
    found = [
        {
            "name": name,
            "status": "current" if name == current else "done",
            "enteredTime": entered[name],
            "leftTime": None if name == current else left.get(name),
        }
        for name in known
    ]
    if running or not events:
        after = PLAN.index(known[-1]) + 1 if known else 0
        skipped = {"Request labels"} if job["LabelProvider"] == SUPPLIED else {"Import labels"}
        found += [
            {"name": name, "status": "next", "enteredTime": None, "leftTime": None}
            for name in PLAN[after:]
            if name not in skipped
        ]
    return {"status": job.status, "states": found}


def _events(execution_arn: str, services: Services) -> list[dict[str, Any]]:
    """The history in the order of its events, without what the states were given and answered."""
    ask: dict[str, Any] = {"executionArn": execution_arn, "maxResults": PAGE, "includeExecutionData": False}
    try:
        first = services.stepfunctions.get_execution_history(**ask)
    except ClientError as error:
        if error_code(error) == "ExecutionDoesNotExist":
            return []
        raise
    events = {event["id"]: event for event in first["events"]}
    if "nextToken" in first:
        end = services.stepfunctions.get_execution_history(**ask, reverseOrder=True)
        events |= {event["id"]: event for event in end["events"]}
    return [events[number] for number in sorted(events)]
