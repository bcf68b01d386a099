"""A state machine execution as its history tells it, which the Step Functions console shows."""

import json
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import boto3


@dataclass
class Visit:
    """One visit of a state: when it was entered and left (None while in it), and what it returned."""

    state: str
    kind: str
    entered: datetime
    left: datetime | None = None
    output: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Execution:
    """An execution as it is now: its status, error and cause, its visits in order and the number of history events."""

    status: str
    error: str
    cause: str
    started: datetime
    visits: list[Visit]
    events: int

    def seconds_by_state(self) -> dict[str, float]:
        """Seconds spent in each state, all visits together, in the order of the first visit."""
        seconds: dict[str, float] = {}
        for visit in self.visits:
            if visit.left:
                spent = (visit.left - visit.entered).total_seconds()
                seconds[visit.state] = round(seconds.get(visit.state, 0.0) + spent, 3)
        return seconds


def read(session: boto3.Session, arn: str) -> Execution:
    """The execution with all pages of its history."""
    stepfunctions = session.client("stepfunctions")
    described = stepfunctions.describe_execution(executionArn=arn)
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
        described["status"],
        described.get("error", ""),
        words(described.get("cause", "")),
        described["startDate"],
        visits,
        events,
    )


def words(cause: str) -> str:
    """A cause for people: of a failed function's JSON, its message."""
    try:
        return json.loads(cause)["errorMessage"]
    except (ValueError, KeyError, TypeError):
        return cause
