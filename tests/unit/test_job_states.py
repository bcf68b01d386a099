"""A job's progress, read from an execution's history of any length in two calls."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from api import progress
from pipeline.executions import StateMachine
from pipeline.jobs import Job
from rules.states import Status
from tests.unit.aws_fakes import functions_use

BEGAN = datetime(2026, 11, 24, tzinfo=UTC)
BEFORE = ["Plan photos", "Check photos", "Collect photos", "Request labels", "Prepare datasets", "Create datasets"]
BEFORE += ["Wait for datasets", "Check datasets", "Start training"]


class History:
    """Answers GetExecutionHistory as Step Functions does, page by page, and counts the calls."""

    def __init__(self, visited: list[str], *, inside: bool) -> None:
        self.calls = 0
        self.events: list[dict[str, Any]] = []
        for place, name in enumerate(visited):
            self._add({"stateEnteredEventDetails": {"name": name}})
            if not inside or place + 1 < len(visited):
                self._add({"stateExitedEventDetails": {"name": name}})

    def _add(self, details: dict[str, Any]) -> None:
        number = len(self.events) + 1
        self.events.append({"id": number, "timestamp": BEGAN + timedelta(seconds=number), **details})

    def get_execution_history(
        self,
        executionArn: str,  # noqa: ARG002, N803
        maxResults: int,  # noqa: N803
        includeExecutionData: bool,  # noqa: N803
        reverseOrder: bool = False,  # noqa: N803
    ) -> dict[str, Any]:
        assert not includeExecutionData
        self.calls += 1
        events = self.events[::-1] if reverseOrder else self.events
        return {"events": events[:maxResults]} | ({"nextToken": "more"} if len(events) > maxResults else {})


def shown(history: History, status: Status, provider: str = "ground-truth") -> dict[str, str]:
    """Each state with its status."""
    with functions_use(stepfunctions=history):
        found = progress.view(Job("id", status, {"LabelProvider": provider}), StateMachine("arn"))
    assert history.calls <= 2
    return {one["name"]: one["status"] for one in found["states"]}


@pytest.mark.parametrize("polls", [1, 400, 5000])
def test_a_training_of_any_length_is_the_current_state(polls: int) -> None:
    # Given an execution that has polled so often, and waits
    history = History([*BEFORE, *["Wait for training", "Check training"] * polls, "Wait for training"], inside=True)
    found = shown(history, Status.TRAINING)
    # Then what was before is done, the training current, and the rest to come
    done = [*(name for name in BEFORE if name != "Wait for datasets")]
    assert found == {
        **dict.fromkeys(done, "done"),
        "Check training": "current",
        **dict.fromkeys(["Evaluate model", "Start model", "Check model", "Publish model"], "next"),
    }


def test_after_a_long_training_nothing_is_forgotten() -> None:
    loop = ["Wait for training", "Check training"] * 5000
    history = History([*BEFORE, *loop, "Evaluate model", "Model ready"], inside=False)
    found = shown(history, Status.READY)
    assert set(found.values()) == {"done"}
    assert list(found)[-1] == "Evaluate model"


def test_a_job_that_failed_shows_where_and_nothing_to_come() -> None:
    found = shown(History(["Check photos"], inside=True), Status.FAILED)
    assert found == {"Check photos": "current"}


def test_supplied_labels_are_imported_and_not_requested() -> None:
    found = shown(History(["Check photos"], inside=True), Status.CHECKING_IMAGES, "supplied")
    assert "Request labels" not in found
    assert found["Import labels"] == "next"
