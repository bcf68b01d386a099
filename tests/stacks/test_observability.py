"""Alarms, dashboard and topic in the synthesized template."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.stacks.test_template import Template, listed, written

PROJECT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def templates(templates: dict[str, dict[str, Any]]) -> dict[str, Template]:
    """The templates of the combinations that change what is looked at here."""
    return {name: Template(templates[name]) for name in ("default", "watched-closely", "own-key")}


def alarms(template: Template) -> dict[str, dict[str, Any]]:
    """The alarms by the last part of their name."""
    return {
        alarm["AlarmName"].removeprefix("ekyc-training-"): alarm
        for alarm in template.of("AWS::CloudWatch::Alarm").values()
    }


def metrics(alarm: dict[str, Any]) -> Iterator[tuple[str, str, str]]:
    """Namespace, name and dimensions of every metric that the alarm looks at."""
    of_queries = [query["MetricStat"]["Metric"] for query in alarm.get("Metrics", []) if "MetricStat" in query]
    for metric in of_queries or [alarm]:
        dimensions = ",".join(
            f"{dimension['Name']}={written(dimension['Value'])}" for dimension in metric["Dimensions"]
        )
        yield metric["Namespace"], metric["MetricName"], dimensions


def test_each_alarm_looks_at_a_metric_that_exists(templates: dict[str, Template]) -> None:
    template = templates["default"]
    (machine,) = template.of("AWS::StepFunctions::StateMachine")
    metrics_by_alarm = {name: set(metrics(alarm)) for name, alarm in alarms(template).items()}
    # Then the metrics of Step Functions are those of the stack's state machine
    for name, metric in {
        "execution-failed": "ExecutionsFailed",
        "execution-timed-out": "ExecutionsTimedOut",
        "execution-aborted": "ExecutionsAborted",
        "execution-throttled": "ExecutionThrottled",
    }.items():
        assert metrics_by_alarm.pop(name) == {("AWS/States", metric, f"StateMachineArn=<{machine}>")}
    # And the metrics of functions and queues cover each function that no state machine retries
    functions = {
        id
        for id, one in template.of("AWS::Lambda::Function").items()
        if not one["Handler"].startswith(("stages.", "api.labelling_files."))  # which only returns files of its code
    }
    assert len(functions) == 10
    for name, metric in {"function-failing": "Errors", "function-throttled": "Throttles"}.items():
        assert metrics_by_alarm.pop(name) == {("AWS/Lambda", metric, f"FunctionName=<{id}>") for id in functions}
    queues = {f"QueueName=<{id}.QueueName>" for id in template.of("AWS::SQS::Queue")}
    assert metrics_by_alarm.pop("event-unhandled") == {
        ("AWS/SQS", "ApproximateNumberOfMessagesVisible", queue) for queue in queues
    }
    (documents,) = (
        id for id, one in template.of("AWS::Lambda::Function").items() if one["Handler"] == "api.documents.handler"
    )
    assert metrics_by_alarm.pop("detection-slow") == {("AWS/Lambda", "Duration", f"FunctionName=<{documents}>")}
    # And the pipeline's own metrics are those of WatchRunning (a test of a whole job checks that it writes them)
    assert metrics_by_alarm == {
        "execution-overdue": {("ekyc-training", "OldestExecutionHours", "service=WatchRunning")},
        "model-running-long": {("ekyc-training", "LongestModelHours", "service=WatchRunning")},
    }


def test_the_manual_has_the_price_of_the_alarms(templates: dict[str, Template]) -> None:
    all_alarms = alarms(templates["default"]).values()
    count = sum(len(list(metrics(alarm))) for alarm in all_alarms)
    row = f"| Alarms | 0.10 per metric | {count} metrics in {len(all_alarms)} alarms | {count / 10:.2f} |"
    assert row in (PROJECT / "docs/operations.md").read_text()


def test_no_alarm_has_more_metrics_than_cloudwatch_allows(templates: dict[str, Template]) -> None:
    for name, template in templates.items():
        assert max(len(list(metrics(alarm))) for alarm in alarms(template).values()) <= 10, name


@pytest.mark.parametrize(("combination", "model_hours"), [("default", 24), ("watched-closely", 12)])
def test_thresholds_are_the_settings(templates: dict[str, Template], combination: str, model_hours: int) -> None:
    alarms_by_name = alarms(templates[combination])
    assert alarms_by_name["execution-overdue"]["Threshold"] == 1008
    assert alarms_by_name["model-running-long"]["Threshold"] == model_hours
    assert {alarm["ComparisonOperator"] for alarm in alarms_by_name.values()} == {"GreaterThanThreshold"}


def test_missing_data_neither_raises_nor_ends_an_alarm(templates: dict[str, Template]) -> None:
    treatments = {name: alarm["TreatMissingData"] for name, alarm in alarms(templates["default"]).items()}
    assert {name for name, treatment in treatments.items() if treatment == "ignore"} == {
        "execution-overdue",
        "model-running-long",
    }
    assert set(treatments.values()) == {"ignore", "notBreaching"}


def test_each_alarm_notifies_the_topic_and_says_what_to_do(templates: dict[str, Template]) -> None:
    template = templates["default"]
    (topic,) = template.of("AWS::SNS::Topic")
    manual = (PROJECT / "docs/operations.md").read_text()
    section = manual.partition("\n## Alarms\n")[2].partition("\n## ")[0]
    for name, alarm in alarms(template).items():
        assert alarm["AlarmActions"] == [{"Ref": topic}]
        assert alarm["AlarmDescription"].endswith(f"What to do: docs/operations.md, section Alarms, {name}.")
        # And the section exists
        assert f"\n### {name}\n" in section


def test_alarms_reach_the_topic_through_its_encryption(templates: dict[str, Template]) -> None:
    template = templates["default"]
    # Given that services cannot use the key alias/aws/sns, the topic has a key that CloudWatch may use
    (key,) = template.keys("ENCRYPT_DECRYPT").values()
    (use,) = (statement for statement in key["KeyPolicy"]["Statement"] if "Service" in statement["Principal"])
    (publish,) = (
        statement
        for policy in template.of("AWS::SNS::TopicPolicy").values()
        for statement in policy["PolicyDocument"]["Statement"]
        if statement["Effect"] == "Allow"
    )
    assert (publish["Action"], set(use["Action"])) == ("sns:Publish", {"kms:Decrypt", "kms:GenerateDataKey*"})
    for statement in (use, publish):
        assert statement["Principal"] == {"Service": "cloudwatch.amazonaws.com"}
        # And only for alarms whose names begin with the stack's name
        pattern = written(statement["Condition"]["ArnLike"]["aws:SourceArn"])
        assert pattern.endswith(":<AWS::AccountId>:alarm:ekyc-training-*")
        assert statement["Condition"]["StringEquals"] == {"aws:SourceAccount": {"Ref": "AWS::AccountId"}}
    assert all(
        alarm["AlarmName"].startswith("ekyc-training-") for alarm in template.of("AWS::CloudWatch::Alarm").values()
    )
    assert key["EnableKeyRotation"] is True


def test_the_customers_key_encrypts_the_topic_too(templates: dict[str, Template]) -> None:
    template = templates["own-key"]
    key = template.one("AWS::SNS::Topic")["KmsMasterKeyId"]
    assert key.startswith("arn:aws:kms:")
    assert key in {
        resource
        for statement in template.statements_of("RecordOutcome")
        if "kms:GenerateDataKey" in listed(statement["Action"])
        for resource in listed(statement["Resource"])
    }


def test_roles_that_notify_may_put_only_our_own_events(templates: dict[str, Template]) -> None:
    template = templates["default"]
    for name in template.functions():
        put = [
            statement for statement in template.statements_of(name) if "events:PutEvents" in listed(statement["Action"])
        ]
        publishes = any("sns:Publish" in listed(statement["Action"]) for statement in template.statements_of(name))
        notifies = name in {
            "RequestLabels",
            "ResumeLabelling",
            "FinishLabelling",
            "RecordOutcome",
            "SettleJob",
            "WatchRunning",
        }
        assert (bool(put), publishes) == (notifies, notifies)
        for statement in put:
            assert written(statement["Resource"]).endswith(":event-bus/default")
            assert statement["Condition"] == {
                "ForAllValues:StringEquals": {"events:source": "ekyc.training"},
                "Null": {"events:source": "false"},
            }


def test_the_watch_may_stop_models_only_if_the_setting_says_so(templates: dict[str, Template]) -> None:
    for combination, may in {"default": False, "watched-closely": True}.items():
        template = templates[combination]
        actions = {
            action for statement in template.statements_of("WatchRunning") for action in listed(statement["Action"])
        }
        assert ("rekognition:StopProjectVersion" in actions) is may
        environment = template.functions()["WatchRunning"]["Environment"]["Variables"]
        assert environment["STOP_LONG_RUNNING_MODELS"] == json.dumps(may)


def test_the_watch_looks_every_hour_and_reminds_once_a_day(templates: dict[str, Template]) -> None:
    template = templates["default"]
    (watch,) = (id for id, one in template.of("AWS::Lambda::Function").items() if "watch_running" in one["Handler"])
    assert {
        (rule["ScheduleExpression"], rule["Targets"][0]["Input"])
        for rule in template.of("AWS::Events::Rule").values()
        if rule["Targets"][0]["Arn"] == {"Fn::GetAtt": [watch, "Arn"]}
    } == {("rate(1 hour)", '{"remind":false}'), ("cron(30 6 * * ? *)", '{"remind":true}')}


def test_an_e_mail_address_is_subscribed(templates: dict[str, Template]) -> None:
    subscription = templates["watched-closely"].one("AWS::SNS::Subscription")
    assert (subscription["Protocol"], subscription["Endpoint"]) == ("email", "mlops@example.com")
    assert templates["default"].of("AWS::SNS::Subscription") == {}


def test_the_dashboards_first_row_shows_stuck_jobs_and_costs(templates: dict[str, Template]) -> None:
    dashboard = templates["default"].one("AWS::CloudWatch::Dashboard")
    assert dashboard["DashboardName"] == "ekyc-training"
    # Given its body with an x for each reference
    body = json.loads(re.sub(r"<[\w.:]+>", "x", written(dashboard["DashboardBody"])))
    first_row = [widget["properties"] for widget in body["widgets"] if widget["y"] == 0]
    assert [widget["title"] for widget in first_row] == ["Is anything stuck?", "What does it cost?"]
    shown = [metric[1] for widget in first_row for metric in widget["metrics"] if metric[0] == "ekyc-training"]
    assert shown == [
        "RunningExecutions",
        "OldestExecutionHours",
        "RunningModels",
        "ModelDollarsAnHour",
        "LongestModelHours",
    ]
    # And no two metrics of a widget share an id
    for widget in body["widgets"]:
        ids = [
            metric[-1]["id"]
            for metric in widget["properties"].get("metrics", [])
            if isinstance(metric[-1], dict) and "id" in metric[-1]
        ]
        assert len(ids) == len(set(ids))
