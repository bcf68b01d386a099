"""Reads all events of an execution's history, redacted."""

from collections.abc import Iterator
from datetime import datetime
from typing import Any

from pipeline.audit.redaction import FOREIGN, Redactor, read_json
from pipeline.clients import clients

PAGE = 1000  # the maximum number of events in a response of GetExecutionHistory

JSON_TEXTS = ("input", "output", "parameters", "cause")
"""The details of events that are JSON as text."""


def milliseconds(time: datetime) -> int:
    """The Unix time in ms."""
    return round(time.timestamp() * 1000)


def read(execution_arn: str, redactor: Redactor) -> list[dict[str, Any]]:
    """All events as ``{id, previousId, time, type, details}``. Times are in Unix ms, and JSON texts are parsed.

    25,000 events, Step Functions' limit, need 25 calls and about 150 MB of memory.
    """
    pages = clients.stepfunctions.get_paginator("get_execution_history").paginate(
        executionArn=execution_arn, PaginationConfig={"PageSize": PAGE}
    )
    return list(_events(pages, redactor))


def _events(pages: Any, redactor: Redactor) -> Iterator[dict[str, Any]]:
    for page in pages:
        for event in page["events"]:
            details: dict[str, Any] = next((part for name, part in event.items() if name.endswith("EventDetails")), {})
            yield {
                "id": event["id"],
                "previousId": event.get("previousEventId", 0),
                "time": milliseconds(event["timestamp"]),
                "type": event["type"],
                "details": redactor.value(
                    {name: parsed(name, part) for name, part in details.items()},
                    is_stop=event["type"] == "ExecutionAborted",
                ),
            }


def parsed(name: str, part: Any) -> Any:
    """The value of the detail ``name``, with its JSON parsed; `FOREIGN` if a report cannot hold the value."""
    if name not in JSON_TEXTS or not isinstance(part, str):
        return part
    try:
        value = read_json(part)
    except ValueError:
        return part
    return value if isinstance(value, dict | list) or value == FOREIGN else part
