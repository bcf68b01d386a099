"""Step Functions: state machines, lists and errors, through the API as AWS answers it.

What is expected here was recorded on AWS, if not said otherwise (localstack's snapshot tests test_sfn_api,
test_sfn_api_express and test_heartbeats).
"""

from __future__ import annotations

import json
import uuid
from typing import Any

import pytest
from assembly import arn, function, state_machine
from botocore.config import Config
from botocore.exceptions import ClientError
from executions import Deploy, Executions

from ekyc.localaws import aws
from ekyc.localaws.server import LocalAws

ROLE = "arn:aws:iam::123456789012:role/machine"
WAITS = {"StartAt": "Wait", "States": {"Wait": {"Type": "Wait", "Seconds": 1, "End": True}}}
PASSES = {"StartAt": "Pass", "States": {"Pass": {"Type": "Pass", "End": True}}}


@pytest.fixture
def states(empty_aws: LocalAws) -> Any:
    return empty_aws.client("stepfunctions")


def create(states: Any, name: str = "machine", definition: Any = None, **more: Any) -> str:
    given = {"roleArn": ROLE, **more}
    return states.create_state_machine(name=name, definition=json.dumps(definition or PASSES), **given)[
        "stateMachineArn"
    ]


def refusal(call: Any, **parameters: Any) -> tuple[str, str]:
    """The code and the message of AWS's refusal."""
    with pytest.raises(ClientError) as refused:
        call(**parameters)
    assert refused.value.response["ResponseMetadata"]["HTTPStatusCode"] == 400
    return refused.value.response["Error"]["Code"], refused.value.response["Error"]["Message"]


# --- Creation --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("definition", ["{", "[]", '{"StartAt": "Pass"}', '{"StartAt": "A", "States": {"A": {}}}'])
def test_invalid_definition_is_refused(states: Any, definition: str) -> None:
    machine = create(states)
    made = refusal(states.create_state_machine, name="other", definition=definition, roleArn=ROLE)
    changed = refusal(states.update_state_machine, stateMachineArn=machine, definition=definition)
    for code, message in (made, changed):
        assert code == "InvalidDefinition"
        assert message.startswith("Invalid State Machine Definition: '")
    assert json.loads(states.describe_state_machine(stateMachineArn=machine)["definition"]) == PASSES


@pytest.mark.parametrize(
    "other",
    [
        {"definition": WAITS},
        {"type": "EXPRESS"},
        {"tracingConfiguration": {"enabled": True}},
        {"loggingConfiguration": {"level": "ERROR", "includeExecutionData": True}},
    ],
)
def test_another_machine_of_the_same_name_is_refused(states: Any, other: dict[str, Any]) -> None:
    # Given a machine
    machine = create(states)
    # When the same is created again, also with another role (API reference, CreateStateMachine)
    again = [create(states), create(states, roleArn=ROLE + "2", tags=[{"key": "a", "value": "b"}])]
    # Then the existing state machine is returned; another definition with this name is refused
    assert again == [machine, machine]
    given = {"name": "machine", "definition": json.dumps(PASSES), "roleArn": ROLE, **other}
    given["definition"] = json.dumps(other.get("definition", PASSES))
    assert refusal(states.create_state_machine, **given) == (
        "StateMachineAlreadyExists",
        f"State Machine Already Exists: '{machine}'",
    )


def test_update_of_nothing_is_refused(states: Any) -> None:
    code, message = refusal(states.update_state_machine, stateMachineArn=create(states))
    assert code == "MissingRequiredParameter"
    assert message.startswith("Either the definition, the role ARN, the LoggingConfiguration")


# --- Descriptions ----------------------------------------------------------------------------------------------------


def test_description_has_what_was_set(states: Any) -> None:
    # Given a machine of which nothing more was set
    machine = create(states)
    # When it is described, and changed twice in the same way
    fresh = states.describe_state_machine(stateMachineArn=machine)
    updates = [states.update_state_machine(stateMachineArn=machine, definition=json.dumps(WAITS)) for _ in range(2)]
    changed = states.describe_state_machine(stateMachineArn=machine)
    # Then it has AWS's members, and a revision once it has changed
    expected = {
        "stateMachineArn",
        "name",
        "status",
        "definition",
        "roleArn",
        "type",
        "creationDate",
        "loggingConfiguration",
        "tracingConfiguration",
        "ResponseMetadata",
    }
    assert set(fresh) == expected
    assert fresh["loggingConfiguration"] == {"level": "OFF", "includeExecutionData": False}
    assert set(changed) == expected | {"revisionId"}
    assert {update["revisionId"] for update in updates} == {changed["revisionId"]}
    assert uuid.UUID(changed["revisionId"])
    # And another change is another revision
    update = states.update_state_machine(stateMachineArn=machine, roleArn=ROLE + "2")
    assert update["revisionId"] != changed["revisionId"]


def test_encryption_is_described_when_it_is_set(states: Any) -> None:
    machine = create(states, encryptionConfiguration={"type": "AWS_OWNED_KEY"})
    described = states.describe_state_machine(stateMachineArn=machine)
    assert described["encryptionConfiguration"] == {"type": "AWS_OWNED_KEY"}


def test_an_execution_s_machine_is_described_as_it_was(states: Any) -> None:
    # Given an execution whose machine was changed after its start
    machine = create(states)
    execution = states.start_execution(stateMachineArn=machine)["executionArn"]
    states.update_state_machine(stateMachineArn=machine, definition=json.dumps(WAITS))
    # When its machine is described
    described = states.describe_state_machine_for_execution(executionArn=execution)
    # Then the running execution is returned
    assert json.loads(described["definition"]) == PASSES
    assert {"updateDate", "loggingConfiguration"} <= set(described)
    assert not {"revisionId", "encryptionConfiguration", "status", "creationDate"} & set(described)


# --- Types -----------------------------------------------------------------------------------------------------------


def test_operations_of_the_other_type_are_refused(states: Any) -> None:
    standard, express = create(states), create(states, "express", type="EXPRESS")
    # boto3 would put "sync-" before the host
    import boto3

    plain = boto3.client(
        "stepfunctions",
        endpoint_url=aws.endpoint(),
        region_name=aws.region,
        aws_access_key_id="local",
        aws_secret_access_key="local",
        config=Config(inject_host_prefix=False),
    )
    words = "This operation is not supported by this type of state machine"
    expected = ("StateMachineTypeNotSupported", words)
    assert refusal(plain.start_sync_execution, stateMachineArn=standard) == expected
    assert refusal(states.list_executions, stateMachineArn=express) == expected


# --- Executions ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("text", ["not some json", "{'a': 1}", "", "{", '{"a": NaN}', "{} {}"])
def test_input_that_is_no_json_is_refused(states: Any, text: str) -> None:
    machine = create(states)
    code, message = refusal(states.start_execution, stateMachineArn=machine, input=text)
    assert code == "InvalidExecutionInput"
    assert message.startswith("Invalid State Machine Execution Input: '")
    assert not states.list_executions(stateMachineArn=machine)["executions"]


@pytest.mark.parametrize("text", ["2", '"text"', "null", "[]"])
def test_input_may_be_any_json_value(states: Any, executions: Executions, text: str) -> None:
    machine = create(states)
    execution = states.start_execution(stateMachineArn=machine, input=text)["executionArn"]
    assert executions.end(execution)["output"] == text


def test_timed_out_execution_has_no_error(states: Any, executions: Executions) -> None:
    # Given a machine whose time runs out
    waits = {"Wait": {"Type": "Wait", "Seconds": 600, "End": True}}
    machine = create(states, definition={"StartAt": "Wait", "TimeoutSeconds": 60, "States": waits})
    # When it does
    described = executions.run(machine)
    # Then only the status says so
    assert described["status"] == "TIMED_OUT"
    assert not {"error", "cause", "output"} & set(described)


HEARTBEAT = ("States.Timeout", "States.HeartbeatTimeout")
TOKEN = {
    "Type": "Task",
    "Resource": "arn:aws:states:::lambda:invoke.waitForTaskToken",
    "Arguments": {"FunctionName": "${Echo}", "Payload": {"token": "{% $states.context.Task.Token %}"}},
    "HeartbeatSeconds": 60,
    "TimeoutSeconds": 6000,
    "End": True,
}


def run_missing_a_heartbeat(deploy: Deploy, executions: Executions, **fields: Any) -> dict[str, Any]:
    states = {"Ask": {**TOKEN, **fields}, "Late": {"Type": "Succeed", "Output": "{% $states.input %}"}}
    definition = {"QueryLanguage": "JSONata", "StartAt": "Ask", "States": states}
    code = "def echo(event, context):\n    return event\n"
    machine = state_machine(definition, Echo=arn("Echo"))
    return executions.run(deploy(code, {"Echo": function("app.echo"), "Machine": machine})["Machine"])


def test_missed_heartbeat_is_a_time_out(deploy: Deploy, executions: Executions) -> None:
    # When a task misses its heartbeat
    described = run_missing_a_heartbeat(deploy, executions)
    # Then history and execution say what AWS's say
    assert (described["status"], described["error"]) == ("FAILED", "States.Timeout")
    *_, timed_out, failed = executions.history(described["executionArn"])
    assert timed_out["taskTimedOutEventDetails"] == {
        "error": "States.Timeout",
        "resource": "invoke.waitForTaskToken",
        "resourceType": "lambda",
    }
    assert failed["executionFailedEventDetails"] == {"error": "States.Timeout"}


@pytest.mark.parametrize("name", HEARTBEAT)
def test_missed_heartbeat_has_two_names(deploy: Deploy, executions: Executions, name: str) -> None:
    # Given a task that is tried again, then caught, by one of the names (guide, "Handling errors in workflows")
    retry = [{"ErrorEquals": [name], "MaxAttempts": 1, "IntervalSeconds": 1}]
    caught = [{"ErrorEquals": [name], "Next": "Late", "Output": "{% $states.errorOutput.Error %}"}]
    # When it misses its heartbeat both times
    described = run_missing_a_heartbeat(deploy, executions, Retry=retry, Catch=caught)
    # Then it was
    assert described["status"] == "SUCCEEDED", described
    assert json.loads(described["output"]) == "States.Timeout"
    assert executions.types(described["executionArn"]).count("TaskTimedOut") == 2


def test_too_large_result_fails_in_aws_s_words(deploy: Deploy, executions: Executions) -> None:
    # Given a function that returns more than a state may hold
    code = "def much(event, context):\n    return 'x' * 300_000\n"
    invoke = {"Type": "Task", "Resource": "arn:aws:states:::lambda:invoke", "End": True}
    states = {"Invoke": {**invoke, "Arguments": {"FunctionName": "${Much}", "Payload": {}}}}
    machine = state_machine({"QueryLanguage": "JSONata", "StartAt": "Invoke", "States": states}, Much=arn("Much"))
    # When it runs
    described = executions.run(deploy(code, {"Much": function("app.much"), "Machine": machine})["Machine"])
    # Then the cause is AWS's, in the history too
    words = "The state/task 'lambda' returned a result with a size exceeding the maximum number of bytes service limit."
    assert (described["error"], described["cause"]) == ("States.DataLimitExceeded", words)
    failed = executions.wait_for(described["executionArn"], "TaskFailed")
    assert failed["taskFailedEventDetails"]["cause"] == words


# --- Page tokens -----------------------------------------------------------------------------------------------------


def test_page_tokens_lead_on_in_their_own_list(states: Any, executions: Executions) -> None:
    # Given two machines with executions, and the token of a page of each list
    machines = [create(states, name) for name in ("one", "two")]
    ran = [[executions.run(machine)["executionArn"] for _ in range(3)] for machine in machines]
    tokens = {
        "machines": states.list_state_machines(maxResults=1)["nextToken"],
        "executions": states.list_executions(stateMachineArn=machines[0], maxResults=1)["nextToken"],
        "history": states.get_execution_history(executionArn=ran[0][0], maxResults=1)["nextToken"],
    }
    calls: list[tuple[str, Any, dict[str, Any]]] = [
        ("machines", states.list_state_machines, {}),
        ("executions", states.list_executions, {"stateMachineArn": machines[0]}),
        ("", states.list_executions, {"stateMachineArn": machines[0], "statusFilter": "SUCCEEDED"}),
        ("", states.list_executions, {"stateMachineArn": machines[1]}),
        ("history", states.get_execution_history, {"executionArn": ran[0][0]}),
        ("", states.get_execution_history, {"executionArn": ran[0][0], "reverseOrder": True}),
        ("", states.get_execution_history, {"executionArn": ran[0][1]}),
    ]
    for own, call, parameters in calls:
        # When each list is read on with each token, and with what is no token
        for name, token in {**tokens, "made up": "x", "base64": "Mg==", "null": "bnVsbA=="}.items():
            if name == own:
                assert call(**parameters, nextToken=token)
            else:
                # Then it takes its own only
                assert refusal(call, **parameters, nextToken=token)[0] == "InvalidToken", (name, call, parameters)


def test_lists_page_through_everything_once(states: Any, executions: Executions) -> None:
    # Given three machines, and executions of one, more of which start between two pages
    for name in ("c", "a", "b"):
        machine = create(states, name)
    ran = [executions.run(machine)["executionArn"] for _ in range(4)]
    first = states.list_executions(stateMachineArn=machine, maxResults=2)
    executions.run(machine)
    second = states.list_executions(stateMachineArn=machine, maxResults=2, nextToken=first["nextToken"])
    # Then the pages hold what was there at the first one, the newest first
    listed = [one["executionArn"] for one in first["executions"] + second["executions"]]
    assert listed == ran[::-1]
    assert "nextToken" not in second
    # And machines are listed by name
    pages = states.get_paginator("list_state_machines").paginate(PaginationConfig={"PageSize": 2})
    assert [one["name"] for page in pages for one in page["stateMachines"]] == ["a", "b", "c"]
