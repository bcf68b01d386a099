"""Starts executions on the local AWS and waits for their results."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any

from tests.waiting import ENOUGH

Deploy = Callable[..., dict[str, str]]


class Executions:
    """Starts executions and waits for their results."""

    def __init__(self, client: Any) -> None:
        self.client = client

    def start(self, machine: str, execution_input: Any = None, **parameters: Any) -> str:
        return self.client.start_execution(
            stateMachineArn=machine, input=json.dumps(execution_input or {}), **parameters
        )["executionArn"]

    def describe(self, execution: str) -> dict[str, Any]:
        description = self.client.describe_execution(executionArn=execution)
        del description["ResponseMetadata"]
        return description

    def history(self, execution: str, **parameters: Any) -> list[dict[str, Any]]:
        return self.client.get_execution_history(executionArn=execution, **parameters)["events"]

    def types(self, execution: str) -> list[str]:
        return [event["type"] for event in self.history(execution)]

    def end(self, execution: str) -> dict[str, Any]:
        """The description once the execution runs no longer."""
        eventually(lambda: self.describe(execution)["status"] != "RUNNING")
        return self.describe(execution)

    def run(self, machine: str, execution_input: Any = None) -> dict[str, Any]:
        return self.end(self.start(machine, execution_input))

    def wait_for(self, execution: str, event_type: str) -> dict[str, Any]:
        """The last event of that type, as soon as there is one."""
        eventually(lambda: event_type in self.types(execution))
        return [event for event in self.history(execution) if event["type"] == event_type][-1]


def eventually(condition: Callable[[], Any], seconds: float = ENOUGH) -> Any:
    """Wait for a condition to hold; gives what it gave."""
    deadline = time.monotonic() + seconds
    while not (result := condition()):
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.01)
    return result
