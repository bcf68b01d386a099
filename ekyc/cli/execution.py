"""Reads a state machine execution from its history."""

import json
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import boto3


@dataclass
class Visit:
    """One visit to a state. ``left`` is None while the execution is in the state."""

    state: str
    kind: str
    entered: datetime
    left: datetime | None = None
    output: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Execution:
    """An execution: its status, error and cause, its visits in order, and its number of history events."""

    status: str
    error: str
    cause: str
    started: datetime
    visits: list[Visit]
    events: int

    def seconds_by_state(self) -> dict[str, float]:
        """The total seconds spent in each state, in the order of the first visits."""
        seconds: dict[str, float] = {}
        for visit in self.visits:
            if visit.left:
                duration = (visit.left - visit.entered).total_seconds()
                seconds[visit.state] = round(seconds.get(visit.state, 0.0) + duration, 3)
        return seconds


def read(session: boto3.Session, arn: str) -> Execution:
    """Read the execution and its complete history."""
    stepfunctions = session.client("stepfunctions")
    description = stepfunctions.describe_execution(executionArn=arn)
    visits: list[Visit] = []
    events = 0
    for page in stepfunctions.get_paginator("get_execution_history").paginate(executionArn=arn):
        for event in page["events"]:
            events += 1
            if details := event.get("stateEnteredEventDetails"):
                kind = event["type"].removesuffix("StateEntered")
                visits.append(Visit(details["name"], kind, event["timestamp"]))
            elif left := event.get("stateExitedEventDetails"):
                visits[-1].left = event["timestamp"]
                visits[-1].output = json.loads(left.get("output") or "{}")
    return Execution(
        description["status"],
        description.get("error", ""),
        readable_cause(description.get("cause", "")),
        description["startDate"],
        visits,
        events,
    )


def readable_cause(cause: str) -> str:
    """The cause. If it is the JSON of a failed function, only its error message."""
    try:
        return json.loads(cause)["errorMessage"]
    except (ValueError, KeyError, TypeError):
        return cause
