"""Step Functions: the distributed mode of a Map state, through the API."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

import pytest
from assembly import arn, function, state_machine
from botocore.exceptions import ClientError
from executions import Deploy, Executions, eventually

from ekyc.localaws import faults
from ekyc.localaws.faults import Fault, Lasts, What
from ekyc.localaws.server import LocalAws
from ekyc.localaws.services import events

# The fields of an item control the function. With "held", it runs until the test calls `release`. "busy" is the number
# of attempts in which it raises Busy, "fails" the number of runs in which it raises BrokenPhoto. "reads" is a key that
# it reads.
CODE = """
    import time
    import boto3

    class Busy(Exception):
        pass

    class BrokenPhoto(Exception):
        pass

    def check(event, context):
        s3 = boto3.client("s3")
        while event.get("held") and not s3.list_objects_v2(Bucket="batches", Prefix="release")["KeyCount"]:
            time.sleep(0.05)
        if event["retries"] < event.get("busy", 0):
            raise Busy("slots are taken")
        if event["runs"] < event.get("fails", 0):
            raise BrokenPhoto(f"photo {event['id']} ends too early")
        if "reads" in event:
            s3.get_object(Bucket=event["bucket"], Key=event["reads"])
        return {"id": event["id"], "checked": 10, "bucket": event["bucket"], "index": event["index"]}
"""
BUCKET = "batches"
WHOLE_RUN = [
    "MapStateEntered",
    "MapStateStarted",
    "MapRunStarted",
    "MapRunSucceeded",
    "MapStateSucceeded",
    "MapStateExited",
]
EXCEEDED = ("States.ExceedToleratedFailureThreshold", "The specified tolerated failure threshold was exceeded")


def check_photos(**fields: Any) -> dict[str, Any]:
    """A Map state that sends each item of an array in S3 to a function, with the bucket in the state's input."""
    return {
        "Type": "Map",
        "Label": "CheckPhotos",
        "MaxConcurrency": 2,
        "ItemReader": {
            "Resource": "arn:aws:states:::s3:getObject",
            "ReaderConfig": {"InputType": "JSON"},
            "Arguments": {"Bucket": "{% $states.input.bucket %}", "Key": "job/batches.json"},
        },
        "ItemSelector": {
            "bucket": "{% $states.input.bucket %}",
            "batch": "{% $states.context.Map.Item.Value %}",
            "index": "{% $states.context.Map.Item.Index %}",
            "runs": "{% $states.context.State.RetryCount %}",
        },
        "ItemProcessor": {
            "ProcessorConfig": {"Mode": "DISTRIBUTED", "ExecutionType": "STANDARD"},
            "StartAt": "Check batch",
            "States": {
                "Check batch": {
                    "Type": "Task",
                    "Resource": "arn:aws:states:::lambda:invoke",
                    "Arguments": {
                        "FunctionName": "${Check}",
                        "Payload": """{% $merge([$states.input, $states.input.batch, {
                            'retries': $states.context.State.RetryCount,
                            'runs': $states.input.runs + $states.context.Execution.RedriveCount
                        }]) %}""",
                    },
                    "Output": "{% $states.result.Payload %}",
                    "Retry": [{"ErrorEquals": ["Busy"], "IntervalSeconds": 60, "MaxAttempts": 1}],
                    "End": True,
                }
            },
        },
        "Output": {"checked": "{% $sum([$states.result.checked]) %}", "results": "{% $states.result %}"},
        "End": True,
        **fields,
    }


def allow(action: str, resource: Any) -> dict[str, Any]:
    return {"Effect": "Allow", "Action": action, "Resource": resource}


MACHINE = "arn:aws:states:us-east-1:123456789012:stateMachine:Machine"
PERMISSIONS = [
    allow("lambda:InvokeFunction", "arn:aws:lambda:us-east-1:123456789012:function:*"),
    allow("s3:GetObject", f"arn:aws:s3:::{BUCKET}/*"),
    allow("states:StartExecution", MACHINE),
    allow("states:DescribeExecution", "arn:aws:states:us-east-1:123456789012:execution:Machine:*"),
    allow("states:RedriveExecution", "arn:aws:states:us-east-1:123456789012:execution:Machine/CheckPhotos:*"),
]


class Maps:
    """Runs a state machine with a distributed Map state on batches."""

    def __init__(self, aws: LocalAws, deploy: Deploy, executions: Executions) -> None:
        self.aws, self.deploy, self.executions, self.client = aws, deploy, executions, executions.client

    def start(self, batches: Any, permissions: Any = PERMISSIONS, state: Any = None, **fields: Any) -> str:
        """Deploy the machine with these permissions, store the batches, start an execution and return its ARN.

        The machine's only state is `state`, or else `check_photos` with `fields`.
        """
        role = {
            "Type": "AWS::IAM::Role",
            "Properties": {
                "AssumeRolePolicyDocument": {"Version": "2012-10-17", "Statement": []},
                "Policies": [
                    {"PolicyName": "it", "PolicyDocument": {"Version": "2012-10-17", "Statement": permissions}}
                ],
            },
        }
        definition = {
            "QueryLanguage": "JSONata",
            "StartAt": "Check",
            "States": {"Check": state or check_photos(**fields)},
        }
        machine = state_machine(definition, Check=arn("Check"))
        machine["Properties"] |= {"RoleArn": arn("MachineRole"), "StateMachineName": "Machine"}
        check = function("app.check", timeout=30)
        ref = self.deploy(CODE, {"MachineRole": role, "Check": check, "Machine": machine})
        s3 = self.aws.client("s3")
        s3.create_bucket(Bucket=BUCKET)
        s3.put_object(Bucket=BUCKET, Key="job/batches.json", Body=json.dumps(batches))
        return self.executions.start(ref["Machine"], {"bucket": BUCKET})

    def release(self) -> None:
        """End the functions of held items."""
        self.aws.client("s3").put_object(Bucket=BUCKET, Key="release", Body=b"")

    def redrive(self, execution: str) -> dict[str, Any]:
        self.client.redrive_execution(executionArn=execution)
        return self.executions.end(execution)

    def run(self, execution: str) -> dict[str, Any]:
        """The description of the execution's only Map Run. Waits until there is one."""
        (listed,) = eventually(lambda: self.client.list_map_runs(executionArn=execution)["mapRuns"])
        described = self.client.describe_map_run(mapRunArn=listed["mapRunArn"])
        assert described["startDate"] == listed["startDate"]
        assert described["itemCounts"] == described["executionCounts"]
        return described

    def counts(self, execution: str) -> dict[str, int]:
        return {name: number for name, number in self.run(execution)["itemCounts"].items() if number}

    def children(self, execution: str, **parameters: Any) -> list[dict[str, Any]]:
        """The descriptions of the Map Run's children, in the order of the items."""
        run = self.run(execution)["mapRunArn"]
        listed = self.client.list_executions(mapRunArn=run, **parameters)["executions"]
        described = [self.executions.describe(child["executionArn"]) for child in listed]
        return sorted(described, key=lambda child: json.loads(child["input"])["index"])


@pytest.fixture
def maps(empty_aws: LocalAws, deploy: Deploy, executions: Executions) -> Maps:
    return Maps(empty_aws, deploy, executions)


def test_each_item_is_an_execution_of_its_own(maps: Maps, executions: Executions) -> None:
    # Given batches in S3, one of which fails once
    batches = [{"id": "a"}, {"id": "b", "busy": 1}, {"id": "c"}]
    # When the machine runs
    execution = maps.start(batches)
    described = executions.end(execution)
    # Then the results are in the order of the items, and ItemSelector saw the state's input
    assert described["status"] == "SUCCEEDED", described
    output = json.loads(described["output"])
    assert output["checked"] == 30
    assert [(result["id"], result["bucket"], result["index"]) for result in output["results"]] == [
        ("a", BUCKET, 0),
        ("b", BUCKET, 1),
        ("c", BUCKET, 2),
    ]
    # And the parent's history has the six events of a Map Run, chained as on AWS
    history = executions.history(execution)[1:-1]
    assert [event["type"] for event in history] == WHOLE_RUN
    assert [event["previousEventId"] for event in history] == [0, 2, 3, 4, 5, 5]
    run = maps.run(execution)
    assert history[2]["mapRunStartedEventDetails"] == {"mapRunArn": run["mapRunArn"]}
    assert (run["status"], run["maxConcurrency"], run["redriveCount"]) == ("SUCCEEDED", 2, 0)
    assert run["mapRunArn"].startswith("arn:aws:states:us-east-1:123456789012:mapRun:Machine/CheckPhotos:")
    assert maps.counts(execution) == {"succeeded": 3, "total": 3, "resultsWritten": 3}
    # And each child has its own history and description
    children = maps.children(execution)
    assert [child["status"] for child in children] == ["SUCCEEDED"] * 3
    assert {child["stateMachineArn"] for child in children} == {f"{MACHINE}/CheckPhotos"}
    assert {child["mapRunArn"] for child in children} == {run["mapRunArn"]}
    assert all(":execution:Machine/CheckPhotos:" in child["executionArn"] for child in children)
    assert executions.types(children[1]["executionArn"]) == [
        "ExecutionStarted",
        "TaskStateEntered",
        *["TaskScheduled", "TaskStarted", "TaskFailed"],
        *["TaskScheduled", "TaskStarted", "TaskSucceeded"],
        "TaskStateExited",
        "ExecutionSucceeded",
    ]
    # And the clock passed the minute before the second attempt
    assert (children[1]["stopDate"] - children[1]["startDate"]).total_seconds() >= 60
    # And children are not listed with the machine's executions
    listed = maps.client.list_executions(stateMachineArn=MACHINE)["executions"]
    assert [entry["executionArn"] for entry in listed] == [execution]
    (item,) = maps.client.list_executions(mapRunArn=run["mapRunArn"], maxResults=1)["executions"]
    assert (item["itemCount"], item["mapRunArn"]) == (1, run["mapRunArn"])
    # And a child's state machine is described
    machine = maps.client.describe_state_machine_for_execution(executionArn=children[0]["executionArn"])
    assert (machine["label"], machine["mapRunArn"]) == ("CheckPhotos", run["mapRunArn"])
    assert json.loads(machine["definition"])["StartAt"] == "Check batch"


def test_no_items_are_a_run_without_children(maps: Maps, executions: Executions) -> None:
    execution = maps.start([])
    assert json.loads(executions.end(execution)["output"])["results"] == []
    assert executions.types(execution)[1:-1] == WHOLE_RUN
    assert maps.counts(execution) == {}


def test_a_failed_child_fails_the_map(maps: Maps, executions: Executions) -> None:
    # Given a batch that always fails while another is running
    batches = [{"id": "slow", "held": True}, {"id": "bad", "fails": 1}, {"id": "never"}]
    # When the machine runs
    execution = maps.start(batches)
    described = executions.end(execution)
    # Then the execution fails in AWS's words, which do not name the error
    assert (described["status"], described["error"], described["cause"]) == ("FAILED", *EXCEEDED)
    history = executions.history(execution)
    assert [event["type"] for event in history[1:]] == [
        *WHOLE_RUN[:3],
        "MapRunFailed",
        "MapStateFailed",
        "ExecutionFailed",
    ]
    assert tuple(history[4]["mapRunFailedEventDetails"][name] for name in ("error", "cause")) == EXCEEDED
    # And the running child is aborted, and the last is not started
    assert maps.run(execution)["status"] == "FAILED"
    assert maps.counts(execution) == {"failed": 1, "aborted": 1, "pending": 1, "total": 3}
    # And the failed child names its error
    (failed,) = maps.children(execution, statusFilter="FAILED")
    assert (failed["error"], json.loads(failed["cause"])["errorMessage"]) == (
        "BrokenPhoto",
        "photo bad ends too early",
    )
    (aborted,) = maps.children(execution, statusFilter="ABORTED")
    assert executions.types(aborted["executionArn"])[-1] == "ExecutionAborted"


def test_a_redrive_restarts_unsuccessful_children(maps: Maps, executions: Executions) -> None:
    # Given a failed map: one child succeeded, one was aborted, one failed, and one did not start
    batches = [
        {"id": "good"},
        {"id": "slow", "held": True},
        {"id": "bad", "fails": 1},
        {"id": "late"},
    ]
    execution = maps.start(batches)
    assert executions.end(execution)["status"] == "FAILED"
    before = maps.children(execution)
    assert [child["status"] for child in before] == ["SUCCEEDED", "ABORTED", "FAILED"]
    assert before[2]["redriveStatus"] == "REDRIVABLE_BY_MAP_RUN"
    with pytest.raises(ClientError, match="ExecutionNotRedrivable"):
        maps.client.redrive_execution(executionArn=before[2]["executionArn"])
    # When the parent is redriven
    maps.release()
    described = maps.redrive(execution)
    # Then the same Map Run continues and keeps its earlier results
    assert described["status"] == "SUCCEEDED", described
    assert [result["id"] for result in json.loads(described["output"])["results"]] == ["good", "slow", "bad", "late"]
    run = maps.run(execution)
    assert (run["status"], run["redriveCount"]) == ("SUCCEEDED", 1)
    history = executions.history(execution)
    types = [event["type"] for event in history]
    begun = types.index("ExecutionRedriven")
    assert types[begun + 1 : -1] == [*WHOLE_RUN[:2], "MapRunRedriven", *WHOLE_RUN[3:]]
    assert history[begun + 3]["mapRunRedrivenEventDetails"] == {"mapRunArn": run["mapRunArn"], "redriveCount": 1}
    # And only children that had not succeeded ran again, as the same executions
    after = maps.children(execution)
    assert [child["executionArn"] for child in after[:3]] == [child["executionArn"] for child in before]
    assert [child["redriveCount"] for child in after] == [0, 1, 1, 0]
    assert executions.types(after[0]["executionArn"]).count("TaskScheduled") == 1


def test_a_redrive_that_fails_again_can_be_redriven(maps: Maps, executions: Executions) -> None:
    # Given a child that fails in its first two runs
    execution = maps.start([{"id": "bad", "fails": 2}])
    assert executions.end(execution)["error"] == EXCEEDED[0]
    # When it is redriven twice
    assert maps.redrive(execution)["error"] == EXCEEDED[0]
    assert maps.redrive(execution)["status"] == "SUCCEEDED"
    # Then there is still one Map Run
    assert maps.run(execution)["redriveCount"] == 2


def test_a_stop_aborts_the_map_run_and_its_children(maps: Maps, executions: Executions) -> None:
    # Given a map with two running children and one pending item
    execution = maps.start([{"id": name, "held": True} for name in "abc"])
    eventually(lambda: maps.counts(execution) == {"running": 2, "pending": 1, "total": 3})
    assert "stopDate" not in maps.run(execution)
    for child in maps.children(execution):
        executions.wait_for(child["executionArn"], "TaskStarted")
    # When the parent is stopped
    maps.client.stop_execution(executionArn=execution, error="Stopped", cause="by the operator")
    # Then the Map Run and its children are aborted before the call returns
    assert executions.types(execution)[1:] == [*WHOLE_RUN[:3], "MapRunAborted", "ExecutionAborted"]
    assert maps.run(execution)["status"] == "ABORTED"
    assert maps.counts(execution) == {"aborted": 2, "pending": 1, "total": 3}
    history = executions.history(execution)
    # And a redrive runs all three, and the history keeps its events
    maps.release()
    described = maps.redrive(execution)
    assert described["status"] == "SUCCEEDED", described
    assert executions.history(execution)[: len(history)] == history
    assert maps.counts(execution) == {"succeeded": 3, "total": 3, "resultsWritten": 3}


def test_children_that_wait_for_a_redrive_are_counted(maps: Maps, executions: Executions) -> None:
    # Given a stopped map with two aborted children
    execution = maps.start([{"id": "a", "held": True}, {"id": "b", "held": True}])
    eventually(lambda: maps.counts(execution).get("running") == 2)
    maps.client.stop_execution(executionArn=execution)
    # When it is redriven with one child at a time
    (run,) = maps.client.list_map_runs(executionArn=execution)["mapRuns"]
    maps.client.update_map_run(mapRunArn=run["mapRunArn"], maxConcurrency=1)
    maps.client.redrive_execution(executionArn=execution)
    # Then one child waits while the other runs
    eventually(lambda: maps.counts(execution) == {"running": 1, "pendingRedrive": 1, "total": 2})
    assert len(maps.children(execution, statusFilter="PENDING_REDRIVE")) == 1
    maps.release()
    assert executions.end(execution)["status"] == "SUCCEEDED"


@pytest.mark.parametrize(
    ("action", "error"),
    [
        ("s3:GetObject", "States.ItemReaderFailed"),
        ("states:StartExecution", "States.Permissions"),
        ("states:DescribeExecution", "States.Permissions"),
    ],
)
def test_the_role_needs_what_aws_documents(maps: Maps, executions: Executions, action: str, error: str) -> None:
    # Given a role that lacks a permission
    permissions = [statement for statement in PERMISSIONS if statement["Action"] != action]
    execution = maps.start([{"id": "a"}], permissions)
    # When the machine runs, then its cause names the permission, and no child is started
    described = executions.end(execution)
    assert described["error"] == error
    assert f"is not authorized to perform: {action} on resource: " in described["cause"]
    assert ("(entered at the event id #2)" in described["cause"]) == (error == "States.ItemReaderFailed")
    assert executions.types(execution)[-3:] == ["MapRunFailed", "MapStateFailed", "ExecutionFailed"]
    assert maps.children(execution) == []
    # And with the permission, a redrive starts another Map Run
    role = maps.client.describe_state_machine(stateMachineArn=MACHINE)["roleArn"].rpartition("/")[2]
    document = {"Version": "2012-10-17", "Statement": PERMISSIONS}
    maps.aws.client("iam").put_role_policy(RoleName=role, PolicyName="it", PolicyDocument=json.dumps(document))
    assert maps.redrive(execution)["status"] == "SUCCEEDED"
    assert len(maps.client.list_map_runs(executionArn=execution)["mapRuns"]) == 2


def test_the_role_needs_to_invoke_the_function(maps: Maps, executions: Executions) -> None:
    # Given a role that may not invoke the function
    permissions = [statement for statement in PERMISSIONS if statement["Action"] != "lambda:InvokeFunction"]
    execution = maps.start([{"id": "a"}], permissions)
    # When the machine runs, then the child fails with that cause
    assert executions.end(execution)["error"] == EXCEEDED[0]
    (child,) = maps.children(execution)
    assert child["error"] == "Lambda.AWSLambdaException"
    assert "is not authorized to perform: lambda:InvokeFunction on resource: " in child["cause"]


def test_the_role_needs_to_redrive_the_children(maps: Maps, executions: Executions) -> None:
    # Given a failed map, and a role that may not redrive
    permissions = [statement for statement in PERMISSIONS if statement["Action"] != "states:RedriveExecution"]
    execution = maps.start([{"id": "a", "fails": 1}], permissions)
    executions.end(execution)
    # When it is redriven, then it fails with that cause, and the child has not changed
    described = maps.redrive(execution)
    assert "is not authorized to perform: states:RedriveExecution on resource: " in described["cause"]
    (child,) = maps.children(execution)
    assert (child["status"], child["redriveCount"]) == ("FAILED", 0)


@pytest.mark.parametrize(
    ("batches", "cause"),
    [({"id": "a"}, "Attempting to map over non-iterable node."), (None, "NoSuchKey")],
)
def test_items_must_be_an_array_that_exists(maps: Maps, executions: Executions, batches: Any, cause: str) -> None:
    # Given an object that is not an array, or no object
    fields = {}
    if batches is None:
        reader = check_photos()["ItemReader"]
        fields["ItemReader"] = reader | {"Arguments": {"Bucket": BUCKET, "Key": "job/none.json"}}
    # When the machine runs, then the cause says why the items could not be read
    described = executions.end(maps.start(batches, **fields))
    assert described["error"] == "States.ItemReaderFailed"
    assert cause in described["cause"]


def test_an_unknown_map_run_is_not_found(maps: Maps, executions: Executions) -> None:
    # Given a machine that has run
    executions.end(maps.start([]))
    # When an unknown Map Run or child is requested, then the error says so
    unknown = f"{MACHINE}/CheckPhotos:00000000-0000-0000-0000-000000000000"
    map_run, child = (unknown.replace("stateMachine", kind) for kind in ("mapRun", "execution"))
    for call in (maps.client.describe_map_run, maps.client.list_executions):
        with pytest.raises(ClientError, match="ResourceNotFound"):
            call(mapRunArn=map_run)
    with pytest.raises(ClientError, match="ExecutionDoesNotExist"):
        maps.client.describe_execution(executionArn=child)


def test_a_map_run_ends_when_another_branch_fails(maps: Maps, executions: Executions) -> None:
    # Given a map that runs in one branch, and another branch that fails
    fails = {
        "Wait": {"Type": "Wait", "Seconds": 1, "Next": "Fail"},
        "Fail": {"Type": "Fail", "Error": "Unwanted", "Cause": "This branch fails."},
    }
    branches = [{"StartAt": "Map", "States": {"Map": check_photos()}}, {"StartAt": "Wait", "States": fails}]
    both = {"Type": "Parallel", "Branches": branches, "End": True}
    execution = maps.start([{"id": "a", "held": True}], state=both)
    # When the execution has failed, then the Map Run and its child are aborted
    assert executions.end(execution)["error"] == "Unwanted"
    eventually(lambda: maps.run(execution)["status"] == "ABORTED")
    assert maps.counts(execution) == {"aborted": 1, "total": 1}


def test_events_of_children_name_their_own_machine(maps: Maps, executions: Executions) -> None:
    # Given a rule for the machine's executions, and one for all executions
    client = maps.aws.client("events")
    caught: list[tuple[str, str]] = []
    for name, pattern in (("own", {"detail": {"stateMachineArn": [MACHINE]}}), ("all", {"source": ["aws.states"]})):
        client.put_rule(Name=name, EventPattern=json.dumps(pattern))
        target = {"Id": "1", "Arn": "arn:aws:lambda:us-east-1:123456789012:function:x", "Input": json.dumps(name)}
        client.put_targets(Rule=name, Targets=[target])
    # When a map runs
    with events.intercepted(
        lambda event, _deliver: caught.append((event["detail"]["stateMachineArn"], event["detail"]["status"]))
    ):
        executions.end(maps.start([{"id": "a"}]))
        eventually(lambda: len(caught) == 6)
    # Then the child's events have the ARN of its own machine, so only the parent's events match the first rule
    assert Counter(caught) == {
        (MACHINE, "RUNNING"): 2,
        (MACHINE, "SUCCEEDED"): 2,
        (f"{MACHINE}/CheckPhotos", "RUNNING"): 1,
        (f"{MACHINE}/CheckPhotos", "SUCCEEDED"): 1,
    }


def test_a_fault_affects_one_child_only(maps: Maps, executions: Executions) -> None:
    # Given a fault in the calls of one batch's function
    fault = Fault(What.DENIED, operation="GetObject", about=('"id": "b"',), lasts=Lasts.INVOCATION)
    batches = [{"id": name, "reads": "job/batches.json"} for name in "ab"]
    # When the machine runs
    with faults.injected(fault) as happened:
        execution = maps.start(batches)
        assert executions.end(execution)["error"] == EXCEEDED[0]
    # Then it has happened in that batch's child only
    assert happened == [fault]
    (failed,) = maps.children(execution, statusFilter="FAILED")
    assert json.loads(failed["input"])["batch"]["id"] == "b"
    # And the redrive completes the map
    assert maps.redrive(execution)["status"] == "SUCCEEDED"


def test_a_caught_map_failure_is_not_redriven(maps: Maps, executions: Executions) -> None:
    # Given a map whose Retry runs it again when a child has failed
    retry = [{"ErrorEquals": [EXCEEDED[0]], "IntervalSeconds": 1, "MaxAttempts": 1}]
    execution = maps.start([{"id": "a", "fails": 1}], Retry=retry)
    # When it runs, then the second attempt is another Map Run
    assert executions.end(execution)["status"] == "SUCCEEDED"
    runs = maps.client.list_map_runs(executionArn=execution)["mapRuns"]
    assert Counter(maps.client.describe_map_run(mapRunArn=run["mapRunArn"])["status"] for run in runs) == {
        "FAILED": 1,
        "SUCCEEDED": 1,
    }
