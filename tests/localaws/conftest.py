"""What the tests of the local AWS do again and again."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from assembly import write

from ekyc.localaws.server import LocalAws

Deploy = Callable[..., dict[str, str]]


@pytest.fixture
def deploy(empty_aws: LocalAws, tmp_path: Path) -> Deploy:
    """`deploy(code, resources)` deploys a small assembly into the empty local AWS; gives each resource's Ref."""

    def deploy_resources(code: str, resources: dict[str, Any]) -> dict[str, str]:
        directory = write(tmp_path / "assembly", code, resources, {name: {"Ref": name} for name in resources})
        return empty_aws.deploy(directory)

    return deploy_resources


class Executions:
    """Starts executions and waits for what becomes of them."""

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


@pytest.fixture
def executions(local_aws: LocalAws) -> Executions:
    return Executions(local_aws.client("stepfunctions"))


def eventually(condition: Callable[[], Any], seconds: float = 10.0) -> Any:
    """Wait for a condition to hold; gives what it gave."""
    deadline = time.monotonic() + seconds
    while not (result := condition()):
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.01)
    return result
