"""EventBridge: which events reach functions, how often, and where those go that do not."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any

import pytest
from assembly import arn, function, permission, rule
from executions import Deploy, eventually

from ekyc.localaws.server import LocalAws
from ekyc.localaws.services import events

CODE = """
    import json

    def note(event, context):
        print("EVENT " + json.dumps(event))

    def fail(event, context):
        print("EVENT " + json.dumps(event))
        raise ValueError("no")
"""
PATTERN = {"source": ["aws.sagemaker"], "resources": [{"prefix": "arn:aws:sagemaker:us-east-1:123456789012:job/ekyc-"}]}
JOB = "arn:aws:sagemaker:us-east-1:123456789012:job/ekyc-1"


@pytest.fixture
def noted(deploy: Deploy, local_aws: LocalAws) -> Callable[[], list[Any]]:
    """Deploys a rule with a function; gives what the function has been called with so far."""
    resources = {"Note": function("app.note"), "Rule": rule(PATTERN, "Note"), "May": permission("Note", "Rule")}
    name = deploy(CODE, resources)["Note"]
    return lambda: _noted(local_aws, name)


def _noted(local: LocalAws, name: str) -> list[Any]:
    log = local.logs_dir / f"{name}.log"
    lines = log.read_text().splitlines() if log.exists() else []
    return [json.loads(line.removeprefix("EVENT ")) for line in lines if line.startswith("EVENT ")]


def emit(resource: str = JOB, **detail: Any) -> None:
    events.emit("aws.sagemaker", "Job State Change", [resource], detail)


def test_service_event_reaches_the_function_of_a_rule(noted: Callable[[], list[Any]]) -> None:
    # Given a rule for jobs of a name, with a function
    # When a service sends events about such a job and about another one
    emit("arn:aws:sagemaker:us-east-1:123456789012:job/other", status="Completed")
    emit(status="Completed")
    # Then the function gets the one, as EventBridge writes it
    event = eventually(noted)[0]
    assert set(event) == {
        "version", "id", "detail-type", "source", "account", "time", "region", "resources", "detail",
    }  # fmt: skip
    assert (event["source"], event["detail-type"], event["resources"]) == ("aws.sagemaker", "Job State Change", [JOB])
    assert event["detail"] == {"status": "Completed"}
    assert time.strptime(event["time"], "%Y-%m-%dT%H:%M:%SZ")
    time.sleep(0.1)
    assert len(noted()) == 1


def test_disabled_rule_delivers_nothing(noted: Callable[[], list[Any]], local_aws: LocalAws) -> None:
    # Given a rule that is disabled
    client = local_aws.client("events")
    client.disable_rule(Name=client.list_rules()["Rules"][0]["Name"])
    # When an event comes that would match
    emit(status="Completed")
    # Then no target gets it
    time.sleep(0.2)
    assert noted() == []


def test_a_schedule_is_called_by_no_event(deploy: Deploy, local_aws: LocalAws) -> None:
    # Given a function that a schedule invokes, and a function that an event rule invokes
    schedule = {
        "Type": "AWS::Events::Rule",
        "Properties": {
            "ScheduleExpression": "rate(1 day)",
            "State": "ENABLED",
            "Targets": [{"Id": "Daily", "Arn": {"Fn::GetAtt": ["Daily", "Arn"]}}],
        },
    }
    names = deploy(
        CODE,
        {
            "Daily": function("app.note"),
            "EveryDay": schedule,
            "MayDaily": permission("Daily", "EveryDay"),
            "Note": function("app.note"),
            "Rule": rule(PATTERN, "Note"),
            "May": permission("Note", "Rule"),
        },
    )
    # When an event comes
    emit(status="Completed")
    # Then it calls the one and not the other
    eventually(lambda: _noted(local_aws, names["Note"]))
    time.sleep(0.2)
    assert _noted(local_aws, names["Daily"]) == []


def test_an_archive_keeps_events_of_programs_and_services(local_aws: LocalAws) -> None:
    # Given an archive of the default bus
    local_aws.reset()
    client = local_aws.client("events")
    bus = client.describe_event_bus()["Arn"]
    client.create_archive(ArchiveName="all", EventSourceArn=bus)
    # When a program puts an event, and a service sends one
    client.put_events(Entries=[{"Source": "ekyc.training", "DetailType": "Ready", "Detail": "{}"}])
    emit(status="Completed")
    # Then the archive has both
    assert client.describe_archive(ArchiveName="all")["EventCount"] == 2


def test_events_lost_doubled_and_late(noted: Callable[[], list[Any]]) -> None:
    # Given hooks that lose, double and hold events
    held: list[Callable[[], object]] = []

    def treat(event: events.Event, deliver: Callable[[], object]) -> None:
        how = event["detail"]["how"]
        if how == "doubled":
            deliver()
            deliver()
        elif how == "late":
            held.append(deliver)

    # When an event of each kind comes
    with events.intercepted(treat):
        for how in ("lost", "doubled", "late"):
            emit(how=how)
    eventually(lambda: len(noted()) == 2)
    # Then the doubled one came twice, and the late one comes when it is let go
    assert [event["detail"]["how"] for event in noted()] == ["doubled", "doubled"]
    held[0]()
    eventually(lambda: len(noted()) == 3)
    assert noted()[2]["detail"] == {"how": "late"}


def test_put_events_takes_no_event_of_aws(noted: Callable[[], list[Any]], local_aws: LocalAws) -> None:
    # Given a caller that claims to be AWS
    entry = {"DetailType": "x", "Detail": "{}", "Resources": [JOB]}
    # When they put an event of AWS and one of their own
    answer = local_aws.client("events").put_events(
        Entries=[{**entry, "Source": "aws.sagemaker"}, {**entry, "Source": "mine"}]
    )
    # Then the first is refused and not delivered
    assert answer["FailedEntryCount"] == 1
    assert answer["Entries"][0]["ErrorCode"] == "NotAuthorizedForSourceException"
    assert answer["Entries"][1]["EventId"]
    time.sleep(0.1)
    assert noted() == []


def test_put_events_reaches_a_function(deploy: Deploy, local_aws: LocalAws) -> None:
    # Given a rule for events of our own
    resources = {
        "Note": function("app.note"),
        "Rule": rule({"source": ["mine"]}, "Note"),
        "May": permission("Note", "Rule"),
    }
    name = deploy(CODE, resources)["Note"]
    # When one is put
    local_aws.client("events").put_events(Entries=[{"Source": "mine", "DetailType": "x", "Detail": '{"a": 1}'}])
    # Then the function gets it, with the time as EventBridge writes it
    event = eventually(lambda: _noted(local_aws, name))[0]
    assert (event["detail"], "ingestion-time" in event) == ({"a": 1}, False)
    assert time.strptime(event["time"], "%Y-%m-%dT%H:%M:%SZ")


def dead_letters(local: LocalAws, queue_url: str) -> list[dict[str, Any]]:
    answer = local.client("sqs").receive_message(QueueUrl=queue_url, MessageAttributeNames=["All"])
    return answer.get("Messages", [])


def test_an_undeliverable_event_goes_to_the_rules_queue(deploy: Deploy, local_aws: LocalAws) -> None:
    # Given a rule with a queue, and a function that it has no permission to invoke
    queue = {"DeadLetterConfig": {"Arn": arn("Queue")}}
    resources = {
        "Note": function("app.note"),
        "Queue": {"Type": "AWS::SQS::Queue"},
        "Rule": rule(PATTERN, "Note", **queue),
    }
    deployed = deploy(CODE, resources)
    # When an event comes
    emit(status="Completed")
    # Then it is in the queue with the reason, and the function has not seen it
    message = eventually(lambda: dead_letters(local_aws, deployed["Queue"]))[0]
    assert json.loads(message["Body"])["detail"] == {"status": "Completed"}
    assert message["MessageAttributes"]["ERROR_CODE"]["StringValue"] == "NO_PERMISSIONS"
    assert _noted(local_aws, deployed["Note"]) == []


def test_event_whose_function_fails_goes_to_the_function_s_queue(deploy: Deploy, local_aws: LocalAws) -> None:
    # Given a function that fails, with a queue, and a rule with another
    failing = function("app.fail")
    failing["Properties"]["DeadLetterConfig"] = {"TargetArn": arn("Dead")}
    resources = {
        "Fail": failing,
        "Dead": {"Type": "AWS::SQS::Queue"},
        "Undelivered": {"Type": "AWS::SQS::Queue"},
        "Rule": rule(PATTERN, "Fail", DeadLetterConfig={"Arn": arn("Undelivered")}),
        "May": permission("Fail", "Rule"),
    }
    deployed = deploy(CODE, resources)
    # When an event comes
    emit(status="Completed")
    # Then the function is called three times, and its own queue has the event: the rule has delivered it
    message = eventually(lambda: dead_letters(local_aws, deployed["Dead"]))[0]
    assert json.loads(message["Body"])["detail"] == {"status": "Completed"}
    assert len(_noted(local_aws, deployed["Fail"])) == 3
    assert dead_letters(local_aws, deployed["Undelivered"]) == []
