"""Step Functions: each patch of moto's engine, through the API."""

from __future__ import annotations

import datetime
import json
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from assembly import arn, function, state_machine
from botocore.exceptions import ClientError
from executions import Deploy, Executions, eventually

from ekyc.localaws.clock import clock
from ekyc.localaws.moto_patches import asl, stepfunctions
from ekyc.localaws.server import LocalAws
from ekyc.localaws.services import events

CODE = """
    import time

    class Busy(Exception):
        pass

    def echo(event, context):
        return event

    def fail(event, context):
        raise Busy("slots are taken")

    def sleep(event, context):
        time.sleep(event["seconds"])
        return event

    counted = 0

    def fail_first(event, context):
        global counted
        counted += 1
        if counted == 1:
            raise Busy("first time")
        return {"attempt": counted}
"""

INVOKE = "arn:aws:states:::lambda:invoke"


def task(name: str, **fields: Any) -> dict[str, Any]:
    """A task state that hands its input to a function."""
    fields.setdefault("End", "Next" not in fields)
    return {
        "Type": "Task",
        "Resource": fields.pop("Resource", INVOKE),
        "Arguments": {"FunctionName": "${" + name + "}", "Payload": fields.pop("Payload", "{% $states.input %}")},
        **{field: value for field, value in fields.items() if not (field == "End" and value is False)},
    }


def token_task(**fields: Any) -> dict[str, Any]:
    payload = {"token": "{% $states.context.Task.Token %}"}
    return task("Echo", Resource=INVOKE + ".waitForTaskToken", Payload=payload, **fields)


def machine(states: dict[str, Any], **fields: Any) -> dict[str, Any]:
    definition = {"QueryLanguage": "JSONata", "StartAt": next(iter(states)), "States": states, **fields}
    names = {"Echo", "Fail", "Sleep", "FailFirst"}
    return state_machine(definition, **{name: arn(name) for name in names})


@pytest.fixture
def deploy_machine(deploy: Deploy) -> Any:
    def deploy_states(states: dict[str, Any], **fields: Any) -> str:
        functions = {
            "Echo": function("app.echo"),
            "Fail": function("app.fail"),
            "Sleep": function("app.sleep", timeout=30),
            "FailFirst": function("app.fail_first"),
        }
        return deploy(CODE, {**functions, "Machine": machine(states, **fields)})["Machine"]

    return deploy_states


def token_of(executions: Executions, execution: str, *, once: str = "TaskSubmitted") -> str:
    """The token of the last task that was scheduled, once the history has an event of that type."""
    executions.wait_for(execution, once)
    scheduled = [event for event in executions.history(execution) if event["type"] == "TaskScheduled"][-1]
    return json.loads(scheduled["taskScheduledEventDetails"]["parameters"])["Payload"]["token"]


def error_code(call: Any, **parameters: Any) -> str:
    with pytest.raises(ClientError) as caught:
        call(**parameters)
    return caught.value.response["Error"]["Code"]


# --- JSONata ---------------------------------------------------------------------------------------------------------


def test_jsonata_sees_input_variables_results_and_context(deploy_machine: Any, executions: Executions) -> None:
    # Given a machine that assigns, computes, chooses and puts out; a string variable has quotes and line breaks in it
    arn = deploy_machine(
        {
            "Ask": task(
                "Echo",
                Assign={"words": "{% $states.result.Payload.words %}", "wait": "{% $states.input.wait * 1.5 %}"},
                Output={"sum": "{% $sum($states.result.Payload.numbers) %}"},
                Next="Wait",
            ),
            "Wait": {"Type": "Wait", "Seconds": "{% $ceil($wait) %}", "Next": "Choose"},
            "Choose": {
                "Type": "Choice",
                "Choices": [{"Condition": "{% $states.input.sum = 6 and $wait < 5 %}", "Next": "Done"}],
                "Default": "Wrong",
            },
            "Wrong": {"Type": "Fail"},
            "Done": {
                "Type": "Succeed",
                "Output": {
                    "words": "{% $words %}",
                    "whole": "{% 60 * 0.5 %}",
                    "name": "{% $states.context.Execution.Name %}",
                },
            },
        }
    )
    # When it runs
    words = 'he said "no",\nthen left \\ ü'
    execution = executions.start(arn, {"words": words, "numbers": [1, 2, 3], "wait": 3}, name="job-1")
    # Then every expression gave what JSONata gives
    described = executions.end(execution)
    assert described["status"] == "SUCCEEDED", described.get("cause")
    assert json.loads(described["output"]) == {"words": words, "whole": 30, "name": "job-1"}
    assert '"whole":30,' in described["output"]


@pytest.mark.parametrize("expression", ["$states.input.missing", "1 + 'a'"])
def test_an_expression_that_fails_is_named(deploy_machine: Any, executions: Executions, expression: str) -> None:
    # Given an expression that gives nothing, or cannot be computed
    arn = deploy_machine({"Compute": {"Type": "Pass", "Output": "{% " + expression + " %}", "End": True}})
    # When it runs
    described = executions.run(arn)
    # Then the execution fails for that reason
    assert (described["status"], described["error"]) == ("FAILED", "States.QueryEvaluationError")
    assert expression in described["cause"]
    assert "EvaluationFailed" in executions.types(described["executionArn"])


def test_context_object_has_what_aws_gives(deploy_machine: Any, executions: Executions) -> None:
    # Given a machine that puts out its context
    arn = deploy_machine({"Tell": {"Type": "Pass", "Output": "{% $states.context %}", "End": True}})
    # When it runs
    described = executions.run(arn, {"a": 1})
    context = json.loads(described["output"])
    # Then the members are AWS's; there is no redrive time before a redrive
    assert set(context["Execution"]) == {"Id", "Input", "Name", "RoleArn", "StartTime", "RedriveCount"}
    assert context["Execution"]["Input"] == {"a": 1}
    assert context["Execution"]["RedriveCount"] == 0
    for moment in (context["Execution"]["StartTime"], context["State"]["EnteredTime"]):
        assert moment.endswith("Z")
        assert len(moment) == len("2026-11-24T01:53:24.123Z")
    assert context["State"]["Name"] == "Tell"


# --- Waiting ---------------------------------------------------------------------------------------------------------


def test_waits_and_retry_delays_pass_by_the_clock(deploy_machine: Any, executions: Executions) -> None:
    # Given a wait of two minutes and retries after one and two minutes
    began = time.monotonic()
    retry = [{"ErrorEquals": ["Busy"], "IntervalSeconds": 60, "MaxAttempts": 2, "BackoffRate": 2}]
    arn = deploy_machine({"Wait": {"Type": "Wait", "Seconds": 120, "Next": "Try"}, "Try": task("Fail", Retry=retry)})
    # When it runs
    described = executions.run(arn)
    # Then that is the time that passed, and the error's name chose the retry
    assert described["error"] == "Busy"
    assert executions.types(described["executionArn"]).count("TaskFailed") == 3
    passed = (described["stopDate"] - described["startDate"]).total_seconds()
    assert 300 <= passed <= 300 + time.monotonic() - began + 0.1


def test_time_out_of_an_invocation_is_in_real_seconds(deploy_machine: Any, executions: Executions) -> None:
    # Given a function that computes for longer than its task may take
    late = {"ErrorEquals": ["States.Timeout"], "Next": "Late"}
    arn = deploy_machine({"Work": task("Sleep", TimeoutSeconds=1, Catch=[late]), "Late": {"Type": "Succeed"}})
    # When it runs
    execution = executions.start(arn, {"seconds": 1.5})
    described = executions.end(execution)
    # Then it timed out after a real second, and the late answer is not in the history
    assert described["status"] == "SUCCEEDED"
    assert (described["stopDate"] - described["startDate"]).total_seconds() >= 1
    time.sleep(0.7)
    assert "TaskTimedOut" in executions.types(execution)
    assert "TaskSucceeded" not in executions.types(execution)


def test_machine_s_time_limit_ends_a_token_wait(deploy_machine: Any, executions: Executions) -> None:
    # Given a machine with a limit of two minutes that waits for a token
    arn = deploy_machine({"Ask": token_task()}, TimeoutSeconds=120)
    # When no answer comes
    execution = executions.start(arn)
    described = executions.end(execution)
    # Then it is timed out, with that as its last event
    assert described["status"] == "TIMED_OUT"
    assert described["stopDate"] >= described["startDate"]
    assert executions.types(execution)[-1] == "ExecutionTimedOut"


# --- Task tokens -----------------------------------------------------------------------------------------------------


def test_token_answered_once(deploy_machine: Any, executions: Executions) -> None:
    # Given an execution that waits for a token
    execution = executions.start(deploy_machine({"Ask": token_task()}))
    token = token_of(executions, execution)
    send = executions.client.send_task_success
    # When it is answered by many at once, and once more at the end
    with ThreadPoolExecutor(8) as pool:
        codes = list(pool.map(lambda n: _code(send, taskToken=token, output=json.dumps({"n": n})), range(8)))
    # Then one answer counts, the others learn that the task is closed
    described = executions.end(execution)
    assert sorted(codes) == ["TaskTimedOut"] * 7 + ["ok"]
    assert json.loads(described["output"]) == {"n": codes.index("ok")}
    assert _code(send, taskToken=token, output="{}") == "TaskTimedOut"
    # And a token that never was is invalid, an output that is no JSON too
    assert _code(send, taskToken="made up", output="{}") == "InvalidToken"
    assert _code(send, taskToken=token, output="{") == "InvalidOutput"


def _code(call: Any, **parameters: Any) -> str:
    try:
        call(**parameters)
    except ClientError as error:
        return error.response["Error"]["Code"]
    return "ok"


def test_token_failure_keeps_error_and_cause(deploy_machine: Any, executions: Executions) -> None:
    # Given an execution that waits for a token
    execution = executions.start(deploy_machine({"Ask": token_task()}))
    token = token_of(executions, execution)
    # When the task fails
    executions.client.send_task_failure(taskToken=token, error="LabellingFailed", cause="no workers")
    # Then the execution has the reason
    described = executions.end(execution)
    assert (described["status"], described["error"], described["cause"]) == ("FAILED", "LabellingFailed", "no workers")


def test_missed_heartbeat_retries_with_a_new_token(deploy_machine: Any, executions: Executions) -> None:
    # Given a task that wants a heartbeat every five minutes and is tried again when none comes
    retry = [{"ErrorEquals": ["States.HeartbeatTimeout"], "IntervalSeconds": 1, "MaxAttempts": 1}]
    arn = deploy_machine({"Ask": token_task(HeartbeatSeconds=300, TimeoutSeconds=100000, Retry=retry)})
    with clock.computing():  # the clock goes fast only while this thread sleeps by it
        execution = executions.start(arn)
        first = token_of(executions, execution)
        # When heartbeats come for a while and then stop
        for _ in range(4):
            clock.sleep(150)
            executions.client.send_task_heartbeat(taskToken=first)
        assert "TaskTimedOut" not in executions.types(execution)
    executions.wait_for(execution, "TaskTimedOut")
    eventually(lambda: executions.types(execution).count("TaskSubmitted") == 2)
    second = token_of(executions, execution)
    # Then the first token is closed, and the second leads on
    assert first != second
    assert _code(executions.client.send_task_success, taskToken=first, output="{}") == "TaskTimedOut"
    executions.client.send_task_success(taskToken=second, output='"done"')
    assert json.loads(executions.end(execution)["output"]) == "done"
    timed_out = executions.wait_for(execution, "TaskTimedOut")
    assert timed_out["taskTimedOutEventDetails"]["error"] == "States.Timeout"


def test_token_task_times_out_although_heartbeats_come(deploy_machine: Any, executions: Executions) -> None:
    # Given a task with heartbeats that may take ten minutes in all
    machine_arn = deploy_machine({"Ask": token_task(HeartbeatSeconds=300, TimeoutSeconds=600)})
    with clock.computing():
        execution = executions.start(machine_arn)
        token = token_of(executions, execution)
        # When heartbeats come for longer
        sent = 0
        while _code(executions.client.send_task_heartbeat, taskToken=token) == "ok":
            clock.sleep(60)
            sent += 1
    # Then it is the task that timed out, for no heartbeat was missed
    assert executions.end(execution)["error"] == "States.Timeout"
    assert sent >= 9


@pytest.mark.parametrize("ends_task", [True, False])
def test_token_answered_before_the_function_returns(
    deploy: Deploy, executions: Executions, monkeypatch: pytest.MonkeyPatch, ends_task: bool
) -> None:
    # Given a function that answers its own token (the labelling job had ended already), and fails after that, once
    code = """
        import boto3
        def answer(event, context):
            boto3.client("stepfunctions").send_task_success(taskToken=event["token"], output='"early"')
            if event["attempt"] == 0:
                raise ValueError("late")
    """
    monkeypatch.setattr(asl, "ANSWER_ENDS_TASK", ends_task)
    ask = token_task(Retry=[{"ErrorEquals": ["ValueError"], "IntervalSeconds": 1}])
    ask["Arguments"]["FunctionName"] = "${Answer}"
    ask["Arguments"]["Payload"]["attempt"] = "{% $states.context.State.RetryCount %}"
    definition = {"QueryLanguage": "JSONata", "StartAt": "Ask", "States": {"Ask": ask}}
    deployed = deploy(
        code, {"Answer": function("app.answer"), "Machine": state_machine(definition, Answer=arn("Answer"))}
    )
    # When it runs, then the answer counts: at once, or that of the try which returned
    execution = executions.start(deployed["Machine"])
    assert json.loads(executions.end(execution)["output"]) == "early"
    assert executions.types(execution).count("TaskStarted") == (1 if ends_task else 2)


def test_an_answer_does_not_wait_for_the_function(deploy_machine: Any, executions: Executions) -> None:
    # Given a function that runs on for longer than this test waits
    ask = task("Sleep", Resource=INVOKE + ".waitForTaskToken")
    ask["Arguments"]["Payload"] = {"token": "{% $states.context.Task.Token %}", "seconds": 25}
    execution = executions.start(deploy_machine({"Ask": ask}))
    token = token_of(executions, execution, once="TaskStarted")
    # When the token is answered, then the execution goes on
    executions.client.send_task_success(taskToken=token, output="1")
    assert executions.end(execution)["output"] == "1"


def test_an_sdk_task_answers_its_own_token(deploy_machine: Any, executions: Executions) -> None:
    # Given a task that calls Step Functions itself, with its arguments in PascalCase as a state has them
    answer = {"TaskToken": "{% $states.context.Task.Token %}", "Output": "{% $string({'answered': true}) %}"}
    resource = "arn:aws:states:::aws-sdk:sfn:sendTaskSuccess.waitForTaskToken"
    arn = deploy_machine({"Answer": {"Type": "Task", "Resource": resource, "Arguments": answer, "End": True}})
    # When it runs
    described = executions.run(arn)
    # Then the answer, which is there before the call has returned, is the task's result
    assert described["status"] == "SUCCEEDED", described.get("cause")
    assert json.loads(described["output"]) == {"answered": True}


def test_many_tokens_while_executions_start(deploy_machine: Any, executions: Executions) -> None:
    # Given executions that wait for tokens
    machine_arn = deploy_machine({"Ask": token_task()})
    waiting = [executions.start(machine_arn) for _ in range(10)]
    tokens = [token_of(executions, execution) for execution in waiting]

    def answer(token: str) -> str:
        return _code(executions.client.send_task_success, taskToken=token, output="1")

    # When they are answered while others start and are stopped at once
    def start_and_stop(_: int) -> str:
        return _code(executions.client.stop_execution, executionArn=executions.start(machine_arn))

    with ThreadPoolExecutor(8) as pool:
        answers = [pool.submit(answer, token) for token in tokens]
        stops = [pool.submit(start_and_stop, number) for number in range(30)]
    # Then each call was understood
    assert [future.result() for future in answers] == ["ok"] * 10
    assert [future.result() for future in stops] == ["ok"] * 30
    assert {executions.end(execution)["status"] for execution in waiting} == {"SUCCEEDED"}


# --- Stop ------------------------------------------------------------------------------------------------------------

FOR_EVER = 3600000
WAIT = {"Type": "Wait", "Seconds": FOR_EVER, "End": True}
BUSY_RETRY = [{"ErrorEquals": ["Busy"], "IntervalSeconds": FOR_EVER, "MaxAttempts": 3}]
CATCH_ALL = [{"ErrorEquals": ["States.ALL"], "Next": "Oh"}]
BRANCHES = [{"StartAt": "One", "States": {"One": WAIT}}, {"StartAt": "Two", "States": {"Two": token_task()}}]
STOPPABLE = {
    "a wait": ({"Wait": WAIT}, "WaitStateEntered"),
    "a token": ({"Ask": token_task(Catch=CATCH_ALL), "Oh": {"Type": "Pass", "End": True}}, "TaskSubmitted"),
    "a heartbeat": ({"Ask": token_task(HeartbeatSeconds=FOR_EVER, TimeoutSeconds=FOR_EVER * 2)}, "TaskSubmitted"),
    "a function": ({"Work": task("Sleep", Payload={"seconds": 20})}, "TaskStarted"),
    "a retry": ({"Try": task("Fail", Retry=BUSY_RETRY)}, "TaskFailed"),
    "branches": ({"Both": {"Type": "Parallel", "End": True, "Branches": BRANCHES}}, "TaskSubmitted"),
}


@pytest.mark.parametrize("what", STOPPABLE)
def test_stop_ends_at_once(deploy_machine: Any, executions: Executions, what: str) -> None:
    # Given an execution in the middle of something
    states, event_type = STOPPABLE[what]
    execution = executions.start(deploy_machine(states))
    executions.wait_for(execution, event_type)
    # When it is stopped
    executions.client.stop_execution(executionArn=execution, error="Stopped", cause="by the operator")
    # Then it is aborted from that moment on, with the reason, and nothing comes after
    described = executions.describe(execution)
    assert (described["status"], described["error"], described["cause"]) == ("ABORTED", "Stopped", "by the operator")
    history = executions.history(execution)
    assert history[-1]["executionAbortedEventDetails"] == {"error": "Stopped", "cause": "by the operator"}
    eventually(lambda: not [thread for thread in threading.enumerate() if thread.name.startswith("execution ")])
    assert executions.history(execution) == history
    assert executions.describe(execution) == described


# --- Redrive ---------------------------------------------------------------------------------------------------------


def test_redrive_resumes_at_the_state_that_failed(deploy_machine: Any, executions: Executions) -> None:
    # Given an execution that failed at its second state, after a variable was assigned
    arn = deploy_machine(
        {
            "First": task("Echo", Assign={"kept": "{% $states.input.word %}"}, Output={"from": "first"}, Next="Second"),
            "Second": task("FailFirst", Output="{% $states.input %}", Next="Done"),
            "Done": {
                "Type": "Succeed",
                "Output": {
                    "kept": "{% $kept %}",
                    "input": "{% $states.input %}",
                    "redrives": "{% $states.context.Execution.RedriveCount %}",
                    "when": "{% $states.context.Execution.RedriveTime %}",
                },
            },
        }
    )
    execution = executions.start(arn, {"word": "spoon"})
    failed = executions.end(execution)
    assert (failed["error"], failed["redriveStatus"], failed["redriveCount"]) == ("Busy", "REDRIVABLE", 0)
    before = executions.history(execution)
    # When it is redriven, by two calls with the same client token
    answers = [executions.client.redrive_execution(executionArn=execution, clientToken="once") for _ in range(2)]
    # Then it goes on from there with the same variables, and the history goes on too
    described = executions.end(execution)
    output = json.loads(described["output"])
    assert (output["kept"], output["input"], output["redrives"]) == ("spoon", {"from": "first"}, 1)
    assert output["when"].endswith("Z")
    assert answers[0]["redriveDate"] == answers[1]["redriveDate"]
    assert (described["redriveCount"], described["status"]) == (1, "SUCCEEDED")
    assert "error" not in described
    history = executions.history(execution)
    assert history[: len(before)] == before
    assert history[len(before)]["type"] == "ExecutionRedriven"
    assert history[len(before)]["executionRedrivenEventDetails"] == {"redriveCount": 1}
    assert [event["id"] for event in history] == list(range(1, len(history) + 1))
    assert executions.types(execution).count("TaskStateExited") == 2
    # And what succeeded is not redriven
    assert error_code(executions.client.redrive_execution, executionArn=execution) == "ExecutionNotRedrivable"


@pytest.mark.parametrize(
    ("why", "reason"),
    [
        ("period", "Execution redrivable period exceeded"),
        ("events", "Execution history event limit exceeded"),
    ],
)
def test_redrive_has_limits(
    deploy_machine: Any, executions: Executions, monkeypatch: pytest.MonkeyPatch, why: str, reason: str
) -> None:
    # Given an execution that failed
    machine = deploy_machine({"No": {"Type": "Fail", "Error": "No", "Cause": "No."}})
    execution = executions.start(machine)
    assert executions.end(execution)["redriveStatus"] == "REDRIVABLE"
    # When fourteen days have passed, or its history is as long as it may be
    if why == "period":
        stepfunctions.age(execution, datetime.timedelta(days=14, seconds=1))
    else:
        monkeypatch.setattr(stepfunctions, "REDRIVE_EVENTS", 3)
    # Then it is refused, and the description says why in AWS's words
    described = executions.describe(execution)
    assert (described["redriveStatus"], described["redriveStatusReason"]) == ("NOT_REDRIVABLE", reason)
    assert error_code(executions.client.redrive_execution, executionArn=execution) == "ExecutionNotRedrivable"
    assert executions.describe(execution)["status"] == "FAILED"


def test_redrive_after_a_stop_gives_a_new_token(deploy_machine: Any, executions: Executions) -> None:
    # Given an execution that was stopped while it waited for a token
    execution = executions.start(deploy_machine({"Ask": token_task()}))
    first = token_of(executions, execution)
    executions.client.stop_execution(executionArn=execution)
    # When it is redriven
    executions.client.redrive_execution(executionArn=execution)
    assert executions.describe(execution)["status"] == "RUNNING"
    eventually(lambda: executions.types(execution).count("TaskSubmitted") == 2)
    # Then the old token is dead and the new one lives
    second = token_of(executions, execution)
    assert _code(executions.client.send_task_success, taskToken=first, output="1") == "TaskTimedOut"
    executions.client.send_task_success(taskToken=second, output="2")
    assert json.loads(executions.end(execution)["output"]) == 2


# --- API -------------------------------------------------------------------------------------------------------------


def test_history_pages_and_reverses(deploy_machine: Any, executions: Executions) -> None:
    # Given a finished execution
    states = {f"Pass {n}": {"Type": "Pass", "Next": f"Pass {n + 1}"} for n in range(10)}
    arn = deploy_machine({**states, "Pass 10": {"Type": "Pass", "End": True}})
    execution = executions.run(arn)["executionArn"]
    history = executions.history(execution)
    assert len(history) == 24
    # When it is read by pages, forwards and backwards
    pages = executions.client.get_paginator("get_execution_history")
    settings = {"PageSize": 7}
    forward = list(pages.paginate(executionArn=execution, PaginationConfig=settings))
    backward = list(pages.paginate(executionArn=execution, reverseOrder=True, PaginationConfig=settings))
    # Then nothing is missing or doubled
    assert [len(page["events"]) for page in forward] == [7, 7, 7, 3]
    assert [event for page in forward for event in page["events"]] == history
    assert [event for page in backward for event in page["events"]] == history[::-1]
    # And a page token that never was is refused
    assert error_code(executions.client.get_execution_history, executionArn=execution, nextToken="x") == "InvalidToken"


def test_start_is_idempotent_by_name_while_it_runs(deploy_machine: Any, executions: Executions) -> None:
    # Given a machine
    arn = deploy_machine({"Ask": token_task()})
    # When many start the same job at once
    with ThreadPoolExecutor(8) as pool:
        started = set(pool.map(lambda _: executions.start(arn, {"a": 1}, name="job"), range(8)))
    # Then there is one execution
    assert len(started) == 1
    assert len(executions.client.list_executions(stateMachineArn=arn)["executions"]) == 1
    # And another input, or a closed execution, is refused
    assert _code(executions.client.start_execution, stateMachineArn=arn, name="job", input="{}") == (
        "ExecutionAlreadyExists"
    )
    executions.client.stop_execution(executionArn=started.pop())
    assert _code(executions.client.start_execution, stateMachineArn=arn, name="job", input='{"a": 1}') == (
        "ExecutionAlreadyExists"
    )
    # And names that AWS refuses are refused; without a name there is one
    assert _code(executions.client.start_execution, stateMachineArn=arn, name="a b") == "InvalidName"
    unnamed = executions.start(arn)
    assert executions.describe(unnamed)["name"] in unnamed
    assert "None" not in unnamed


def test_status_changes_reach_eventbridge(deploy_machine: Any, executions: Executions, empty_aws: LocalAws) -> None:
    # Given a rule for status changes that catches them
    client = empty_aws.client("events")
    caught: list[dict[str, Any]] = []
    arn = deploy_machine({"Second": task("FailFirst")})
    client.put_rule(Name="all", EventPattern=json.dumps({"source": ["aws.states"]}))
    client.put_targets(Rule="all", Targets=[{"Id": "1", "Arn": "arn:aws:lambda:us-east-1:123456789012:function:x"}])
    with events.intercepted(lambda event, _deliver: caught.append(event)):
        # When an execution fails and is redriven
        execution = executions.start(arn, {"a": 1}, name="job")
        executions.end(execution)
        eventually(lambda: len(caught) == 2)
        executions.client.redrive_execution(executionArn=execution)
        executions.end(execution)
        eventually(lambda: len(caught) == 4)
    # Then each change sent an event in AWS's format
    details = [event["detail"] for event in caught]
    assert [detail["status"] for detail in details] == ["RUNNING", "FAILED", "RUNNING", "SUCCEEDED"]
    assert {event["detail-type"] for event in caught} == {"Step Functions Execution Status Change"}
    assert {tuple(event["resources"]) for event in caught} == {(execution,)}
    failed, succeeded = details[1], details[3]
    assert (failed["error"], failed["input"], failed["output"], failed["name"]) == ("Busy", '{"a": 1}', None, "job")
    assert failed["stopDate"] >= failed["startDate"] > 1_700_000_000_000
    assert (failed["redriveCount"], failed["redriveStatus"]) == (0, "REDRIVABLE")
    assert (succeeded["redriveCount"], succeeded["error"]) == (1, None)
    assert json.loads(succeeded["output"])["Payload"] == {"attempt": 2}


def test_fifty_executions_at_once(deploy_machine: Any, executions: Executions) -> None:
    # Given a machine with a few states
    arn = deploy_machine(
        {
            "One": task("Echo", Next="Wait"),
            "Wait": {"Type": "Wait", "Seconds": 60, "Next": "Two"},
            "Two": task("Echo", Payload={"n": 2}),
        }
    )
    # When fifty start at once
    with ThreadPoolExecutor(10) as pool:
        started = list(pool.map(lambda n: executions.start(arn, {"n": n}), range(50)))
    # Then all succeed
    assert {executions.end(execution)["status"] for execution in started} == {"SUCCEEDED"}


# --- Limits ----------------------------------------------------------------------------------------------------------


def test_an_execution_whose_history_is_full_fails(
    deploy_machine: Any, executions: Executions, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Given a machine that goes round for ever, and a history that holds 60 events in place of 25,000
    monkeypatch.setattr(asl, "MAX_HISTORY_EVENTS", 60)
    arn = deploy_machine({"Work": task("Echo", Next="Again"), "Again": {"Type": "Pass", "Next": "Work"}})
    # When it runs
    execution = executions.start(arn, {})
    described = executions.end(execution)
    # Then it fails in AWS's words, and that is the last event that the history holds
    assert (described["status"], described["error"]) == ("FAILED", "States.Runtime")
    assert described["cause"] == "The execution reached the maximum number of history events (25000)."
    history = executions.history(execution)
    assert [event["id"] for event in history] == list(range(1, 61))
    assert (history[-1]["type"], history[-1]["previousEventId"]) == ("ExecutionFailed", 59)
    assert history[-1]["executionFailedEventDetails"]["error"] == "States.Runtime"
    time.sleep(0.1)
    assert len(executions.history(execution)) == 60
