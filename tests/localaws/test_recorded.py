"""The engine against histories that AWS itself gave: types, order, ids, and the members that each event has.

The recordings are not part of the project; where they are absent, there is nothing to compare with.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from assembly import arn, function, state_machine
from executions import Deploy, Executions, eventually

from ekyc.localaws.server import LocalAws

RECORDED = Path(__file__).parents[3] / "shared" / "recorded" / "stepfunctions.json"
pytestmark = pytest.mark.skipif(not RECORDED.exists(), reason="the recordings of AWS are not here")

CODE = """
    import time

    class CustomException(Exception):
        pass

    def succeed(event, context):
        return {}

    def fail(event, context):
        raise Exception("Some exception was raised.")

    def fail_custom(event, context):
        raise CustomException()

    def sleep(event, context):
        time.sleep(2)
"""
INVOKE = {
    "Type": "Task",
    "Resource": "arn:aws:states:::lambda:invoke",
    "Parameters": {"FunctionName.$": "$.FunctionName", "Payload.$": "$.Payload"},
}
ASK = {
    "Type": "Task",
    "Resource": "arn:aws:states:::sqs:sendMessage.waitForTaskToken",
    "Parameters": {
        "QueueUrl.$": "$.QueueUrl",
        "MessageBody": {"Message.$": "$.Message", "TaskToken.$": "$$.Task.Token"},
    },
}

# Known differences: what the service that a task calls answers about its own HTTP exchange. The engine has it for
# Lambda, the one service that the product's states call, with another server's headers, and for no other.
DIFFERENCES = {"SdkHttpMetadata", "SdkResponseMetadata"}
# Not compared: paths and source lines of the function's own code, boto3's own member, and time-outs, shorter here.
INCOMPARABLE = {"stackTrace", "ResponseMetadata", "timeoutInSeconds"}
PLACEHOLDERS = {"timestamp", "datetime", "snf_role_arn"}


def recorded(name: str, answer: str) -> Any:
    return json.loads(RECORDED.read_text())[name]["content"][answer]


def same(ours: Any, theirs: Any, where: str = "") -> None:
    """Assert that ours has theirs' members, order and values, placeholders aside."""
    if isinstance(theirs, dict):
        if isinstance(ours, str):
            ours = json.loads(ours)  # the recordings hold JSON texts as values
        missing_or_more = (set(ours) ^ set(theirs)) - DIFFERENCES
        assert not missing_or_more, f"{where}: {sorted(missing_or_more)}"
        for name, value in theirs.items():
            if name not in DIFFERENCES | INCOMPARABLE:
                same(ours[name], value, f"{where}.{name}")
    elif isinstance(theirs, list):
        assert len(ours) == len(theirs), f"{where}: {len(ours)} instead of {len(theirs)}"
        for index, (one, other) in enumerate(zip(ours, theirs, strict=True)):
            same(one, other, f"{where}[{index}]")
    elif not _is_placeholder(theirs):
        assert ours == theirs or _as_json(ours) == _as_json(theirs), f"{where}: {ours!r} instead of {theirs!r}"


def _is_placeholder(value: Any) -> bool:
    return isinstance(value, str) and (value in PLACEHOLDERS or "<" in value)


def _as_json(value: Any) -> Any:
    try:
        return json.loads(value)
    except (TypeError, ValueError):
        return value


def history_as_recorded(
    executions: Executions, execution: str, name: str, answer: str = "get_execution_history"
) -> None:
    same(executions.history(execution), recorded(name, answer)["events"], name)


@pytest.fixture
def run_lambda(deploy: Deploy, executions: Executions) -> Any:
    """Runs a machine of JSONPath states on a function; gives the execution."""

    def run(handler: str, states: dict[str, Any], timeout: int = 5) -> str:
        definition = {"StartAt": next(iter(states)), "States": states}
        resources = {"Function": function(handler, timeout), "Machine": state_machine(definition, F=arn("Function"))}
        deployed = deploy(CODE, resources)
        described = executions.run(deployed["Machine"], {"FunctionName": deployed["Function"], "Payload": None})
        return described["executionArn"]

    return run


def test_invoke(run_lambda: Any, executions: Executions) -> None:
    final = {"Type": "Pass", "ResultPath": "$.final", "End": True}
    execution = run_lambda("app.succeed", {"Start": {**INVOKE, "Next": "EndWithFinal"}, "EndWithFinal": final})
    history_as_recorded(executions, execution, "test_invoke")


def test_invoke_that_fails(run_lambda: Any, executions: Executions) -> None:
    execution = run_lambda("app.fail", {"Start": {**INVOKE, "End": True}})
    history_as_recorded(executions, execution, "test_raise_exception")


def test_invoke_that_fails_by_name_and_is_caught(run_lambda: Any, executions: Executions) -> None:
    caught = [{"ErrorEquals": ["CustomException"], "Next": "ErrorMatched"}]
    execution = run_lambda(
        "app.fail_custom",
        {"InvokeLambda": {**INVOKE, "Catch": caught, "End": True}, "ErrorMatched": {"Type": "Pass", "End": True}},
    )
    history_as_recorded(executions, execution, "test_raise_custom_exception")


def test_invoke_that_times_out(run_lambda: Any, executions: Executions) -> None:
    caught = [{"ErrorEquals": ["States.Timeout"], "Next": "EndWithHandler"}]
    handler = {"Type": "Pass", "ResultPath": "$.error", "End": True}
    execution = run_lambda(
        "app.sleep",
        {"Start": {**INVOKE, "TimeoutSeconds": 1, "Catch": caught, "End": True}, "EndWithHandler": handler},
        timeout=20,
    )
    history_as_recorded(executions, execution, "test_invoke_timeout")


@pytest.fixture
def ask(deploy: Deploy, executions: Executions) -> Any:
    """Starts an execution that sends a token to a queue and waits; gives the execution and, once sent, the token."""

    def start(name: str, **fields: Any) -> tuple[str, str]:
        definition = {"StartAt": name, "States": {name: {**ASK, **fields, "End": True}}}
        deployed = deploy(CODE, {"Queue": {"Type": "AWS::SQS::Queue"}, "Machine": state_machine(definition)})
        execution = executions.start(
            deployed["Machine"], {"QueueUrl": deployed["Queue"], "Message": "test_message_txt"}
        )
        executions.wait_for(execution, "TaskSubmitted")
        scheduled = executions.history(execution)[2]["taskScheduledEventDetails"]
        return execution, json.loads(scheduled["parameters"])["MessageBody"]["TaskToken"]

    return start


@pytest.mark.parametrize(
    ("name", "fields"),
    [
        ("test_sqs_wait_for_task_token", {}),
        ("test_sqs_wait_for_task_tok_with_heartbeat", {"TimeoutSeconds": 600, "HeartbeatSeconds": 60}),
    ],
)
def test_token_answered(ask: Any, executions: Executions, local_aws: LocalAws, name: str, fields: Any) -> None:
    execution, token = ask("SendMessageWithWait", **fields)
    local_aws.client("stepfunctions").send_task_success(taskToken=token, output=json.dumps("test_message_txt"))
    executions.end(execution)
    history_as_recorded(executions, execution, name)


def test_token_failed(ask: Any, executions: Executions, local_aws: LocalAws) -> None:
    execution, token = ask("SendMessageWithWait")
    local_aws.client("stepfunctions").send_task_failure(taskToken=token, error="Failure error", cause="Failure cause")
    executions.end(execution)
    history_as_recorded(executions, execution, "test_sqs_failure_in_wait_for_task_token")


def test_token_timed_out(ask: Any, executions: Executions) -> None:
    execution, _ = ask("SendMessageWithWaitAndTimeout", TimeoutSeconds=5)
    executions.end(execution)
    history_as_recorded(executions, execution, "test_sqs_wait_for_task_token_timeout")


PASS = {"State_1": {"Type": "Pass", "Result": {"Arg1": "argument1"}, "End": True}}


def test_start_describe_list_and_history(deploy: Deploy, executions: Executions) -> None:
    machine = deploy(CODE, {"Machine": state_machine({"StartAt": "State_1", "States": PASS})})["Machine"]
    execution = executions.run(machine)["executionArn"]
    history_as_recorded(executions, execution, "test_start_execution", "exec_hist_resp")
    listed = executions.client.list_executions(stateMachineArn=machine)
    same(listed, recorded("test_start_execution", "exec_list_resp"), "list")
    described = executions.client.describe_execution(executionArn=execution)
    same(described, recorded("test_describe_execution", "describe_execution"), "describe")
    for reverse in (False, True):
        answer = f"get_execution_history_reverseOrder[{reverse}]"
        theirs = recorded("test_get_execution_history_reversed", answer)["events"]
        same(executions.history(execution, reverseOrder=reverse), theirs, answer)


def test_stop(deploy: Deploy, executions: Executions) -> None:
    wait = {"State_1": {"Type": "Wait", "Seconds": 360000, "End": True}}
    machine = deploy(CODE, {"Machine": state_machine({"StartAt": "State_1", "States": wait})})["Machine"]
    execution = executions.start(machine)
    executions.wait_for(execution, "WaitStateEntered")
    stopped = executions.client.stop_execution(executionArn=execution)
    same(stopped, recorded("test_stop_execution", "stop_res"), "stop")
    eventually(lambda: executions.describe(execution)["status"] == "ABORTED")
    history_as_recorded(executions, execution, "test_stop_execution", "exec_hist_resp")
