"""The settings of a deployment, read from the CDK context."""

import json
from pathlib import Path
from typing import Any

import pytest

from stacks.settings import Poll, Settings, SettingsError

PROJECT = Path(__file__).parents[2]


@pytest.fixture
def context() -> dict[str, Any]:
    return json.loads((PROJECT / "cdk.json").read_text())["context"]


def faults(context: dict[str, Any]) -> list[str]:
    with pytest.raises(SettingsError) as error:
        Settings.from_context(context)
    return [line.removeprefix("- ") for line in str(error.value).splitlines()[1:]]


def test_the_defaults_of_cdk_json_are_valid(context: dict[str, Any]) -> None:
    # Given the context as committed
    # When it is read
    settings = Settings.from_context(context)
    # Then it holds the eight document types and the schedules of the three loops
    assert len(settings.document_types) == 8
    assert settings.training == Poll(first=30, growth=1.01, ceiling=300, deadline=72 * 3600)
    assert settings.stop_previous_model is False


def test_values_may_come_as_text_from_the_command_line(context: dict[str, Any]) -> None:
    # Given `cdk synth -c minImages=20 ...`, which gives text
    context |= {"minImages": "20", "stopPreviousModel": "true", "documentTypes": '["A", "B"]', "stackName": "mine"}
    # When it is read
    settings = Settings.from_context(context)
    # Then each value has its type
    assert (settings.min_images, settings.stop_previous_model, settings.document_types, settings.stack_name) == (
        20,
        True,
        ("A", "B"),
        "mine",
    )


def test_everything_that_is_wrong_is_named_at_once(context: dict[str, Any]) -> None:
    # Given an unknown key, a missing one, values out of range, and a first wait above its ceiling
    del context["minF1"]
    context |= {"minImage": 10, "workersPerImage": 0, "workTeamArn": "my-team", "labelProvider": "mturk"}
    context["polls"]["model"] |= {"first": 60, "ceiling": 30}
    # When it is read
    found = faults(context)
    # Then each has a line that says what to give
    assert found == [
        "minImage is unknown",
        'labelProvider is "mturk": give "ground-truth" or "supplied"',
        'workTeamArn is "my-team": give the ARN of a private or vendor work team '
        "(arn:aws:sagemaker:REGION:ACCOUNT:workteam/...), or nothing",
        "workersPerImage is 0: give a whole number from 1 to 9",
        "minF1 is missing: give a number from 0 to 1",
        "polls.model.first (60) is above polls.model.ceiling (30)",
    ]


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("documentTypes", []),
        ("documentTypes", ["ID_KTP", "ID_KTP"]),
        ("documentTypes", ["ID, KTP"]),
        ("documentTypes", "ID_KTP"),
        ("stopPreviousModel", 1),
        ("minImages", True),
        ("minF1", "high"),
        ("maxRejectedShare", 1.5),
        ("stackName", "1-stack"),
        ("polls", 30),
        ("workTeamArn", "arn:aws:sagemaker:us-east-1:394669845002:workteam/public-crowd/default"),
    ],
)
def test_an_impossible_value_is_refused(context: dict[str, Any], key: str, value: Any) -> None:
    # Given one value that cannot be; among them a public work team, which may not see identity documents
    # Then it is named
    assert any(fault.startswith(key) for fault in faults(context | {key: value}))


def test_a_schedule_that_would_fill_the_execution_history_is_refused(context: dict[str, Any]) -> None:
    # Given a look every 10 seconds for 72 hours: 25,920 looks of 9 events, and 25,000 events is an execution's end
    context["polls"]["training"] |= {"first": 10, "growth": 1, "ceiling": 10}
    # Then it is refused, with the figures
    (fault,) = faults(context)
    assert "history events" in fault
    assert "room for 20000" in fault


def test_a_loop_looks_until_its_deadline() -> None:
    # Given waits of 10, 20, 30, 30, ... seconds
    # Then 100 seconds hold the looks after 10, 30, 60, 90 and 120 seconds
    assert Poll(first=10, growth=2, ceiling=30, deadline=100).count() == 5


def test_the_labelling_heartbeat_is_below_its_deadline(context: dict[str, Any]) -> None:
    context["labelling"] = {"heartbeat": 7200, "deadline": 3600}
    assert faults(context) == ["labelling.heartbeat (7200) is not below labelling.deadline (3600)"]
