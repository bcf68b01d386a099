"""Lambda: what a function finds, what its caller gets, and how it ends."""

from __future__ import annotations

import json
import os
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from assembly import arn, function, ref, write
from botocore.exceptions import ClientError
from executions import Deploy, eventually
from werkzeug.wrappers import Response

from ekyc.localaws import calls
from ekyc.localaws.server import LocalAws
from ekyc.localaws.services import functions
from tests.waiting import ENOUGH

CODE = """
    import decimal, os, sys, time
    import boto3

    print("imported")
    PROCESS_OF_IMPORT = os.getpid()
    s3 = boto3.client("s3")
    invocations = 0

    class OutOfPaper(Exception):
        pass

    def tell(event, context):
        print("handling", event)
        return {
            "event": event,
            "environment": dict(os.environ),
            "modules": sorted(name for name in sys.modules if name.startswith("ekyc")),
            "path": sys.path[0] == os.environ["LAMBDA_TASK_ROOT"] == os.getcwd(),
            "name": context.function_name,
            "arn": context.invoked_function_arn,
            "memory": context.memory_limit_in_mb,
            "left": context.get_remaining_time_in_millis(),
            "request": context.aws_request_id,
            "process": os.getpid(),
        }

    def fail(event, context):
        raise OutOfPaper("tray 2")

    def sleep(event, context):
        time.sleep(event["seconds"])
        return os.getpid()

    def meet(event, context):
        open(f"{event['place']}/{os.getpid()}", "w").close()
        while len(os.listdir(event["place"])) < 2:
            time.sleep(0.01)
        return os.getpid()

    def leave(event, context):
        os._exit(3)

    def count_buckets(event, context):
        return len(s3.list_buckets()["Buckets"])

    def count_invocations(event, context):
        global invocations
        invocations += 1
        return {"imported by": PROCESS_OF_IMPORT, "invocations": invocations}

    def give_object(event, context):
        return {"object": object()}

    def give_decimal(event, context):
        return {"whole": decimal.Decimal("3"), "part": decimal.Decimal("1.5")}
"""


def invoke(local: LocalAws, name: str, event: Any = None) -> tuple[Any, str | None]:
    answer = local.client("lambda").invoke(FunctionName=name, Payload=json.dumps(event))
    return json.loads(answer["Payload"].read()), answer.get("FunctionError")


def test_function_finds_its_own_environment_and_context(
    deploy: Deploy, local_aws: LocalAws, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Given a function with a variable, on a machine that has variables too
    monkeypatch.setenv("SECRET_OF_THIS_MACHINE", "x")
    name = deploy(CODE, {"Tell": function("app.tell", timeout=7, GREETING="hello")})["Tell"]
    # When it is invoked
    response, error = invoke(local_aws, name, {"a": ["ü", None]})
    # Then it got the event, its own variable, what Lambda gives, and nothing of the machine
    assert error is None
    assert response["event"] == {"a": ["ü", None]}
    environment = response["environment"]
    assert environment["GREETING"] == "hello"
    assert environment["AWS_LAMBDA_FUNCTION_NAME"] == name
    assert environment["AWS_ENDPOINT_URL"] == local_aws.endpoint
    assert environment["_HANDLER"] == "app.tell"
    assert not {"SECRET_OF_THIS_MACHINE", "HOME", "PYTHONPATH", "MOTO_PORT"} & set(environment)
    # And the context is that of the function, the asset its directory, and this project is not imported in it
    assert (response["name"], response["memory"], response["path"]) == (name, "256", True)
    assert response["arn"].endswith(f":function:{name}")
    assert 6000 < response["left"] <= 7000
    assert response["modules"] == []


def test_function_is_warm_the_second_time(deploy: Deploy, local_aws: LocalAws) -> None:
    # Given a function that has been invoked
    name = deploy(CODE, {"Tell": function("app.tell")})["Tell"]
    first, _ = invoke(local_aws, name)
    # When it is invoked again
    second, _ = invoke(local_aws, name)
    # Then the same process answered, under another request id, and imported once
    assert first["process"] == second["process"]
    assert first["request"] != second["request"]
    log = (local_aws.logs_dir / f"{name}.log").read_text()
    assert log.count("imported") == 1
    assert log.count("handling") == 2


def test_error_has_the_shape_of_lambda(deploy: Deploy, local_aws: LocalAws) -> None:
    # Given a function that raises
    name = deploy(CODE, {"Fail": function("app.fail")})["Fail"]
    # When it is invoked
    error, kind = invoke(local_aws, name)
    # Then the error names the class and what happened where, and the log has it
    assert kind == "Unhandled"
    assert (error["errorType"], error["errorMessage"]) == ("OutOfPaper", "tray 2")
    assert set(error) == {"errorType", "errorMessage", "requestId", "stackTrace"}
    assert error["stackTrace"][-1].startswith('  File "/var/task/app.py", line ')
    assert "OutOfPaper: tray 2" in (local_aws.logs_dir / f"{name}.log").read_text()


def test_function_over_its_time_limit_is_killed(deploy: Deploy, local_aws: LocalAws) -> None:
    # Given a function with one second that takes ten minutes
    name = deploy(CODE, {"Sleep": function("app.sleep", timeout=1)})["Sleep"]
    # When it is invoked
    started = time.monotonic()
    error, kind = invoke(local_aws, name, {"seconds": 600})
    # Then it ends after a real second with Lambda's words, and the next invocation finds a new process
    assert time.monotonic() - started >= 1
    assert (kind, error["errorType"]) == ("Unhandled", "Sandbox.Timedout")
    assert error["errorMessage"].endswith("Error: Task timed out after 1.00 seconds")
    assert isinstance(invoke(local_aws, name, {"seconds": 0})[0], int)


def test_process_that_ends_is_an_exit_error(deploy: Deploy, local_aws: LocalAws) -> None:
    # Given a function whose process ends
    name = deploy(CODE, {"Leave": function("app.leave")})["Leave"]
    # When it is invoked, twice
    # Then the caller learns so each time
    for _ in range(2):
        error, kind = invoke(local_aws, name)
        assert (kind, error["errorType"]) == ("Unhandled", "Runtime.ExitError")


@pytest.mark.parametrize(
    ("handler", "error_type"),
    [
        ("nothere.handler", "Runtime.ImportModuleError"),
        ("app.nothere", "Runtime.HandlerNotFound"),
        ("app.give_object", "Runtime.MarshalError"),
    ],
)
def test_errors_of_the_runtime_are_named(deploy: Deploy, local_aws: LocalAws, handler: str, error_type: str) -> None:
    # Given a function that cannot be found, or gives no JSON
    name = deploy(CODE, {"Broken": function(handler)})["Broken"]
    # When it is invoked, then the error has Lambda's name
    assert invoke(local_aws, name)[0]["errorType"] == error_type


def test_decimals_become_numbers(deploy: Deploy, local_aws: LocalAws) -> None:
    name = deploy(CODE, {"Give": function("app.give_decimal")})["Give"]
    assert invoke(local_aws, name)[0] == {"whole": 3, "part": 1.5}


def test_function_reaches_the_local_services(deploy: Deploy, local_aws: LocalAws) -> None:
    name = deploy(CODE, {"Count": function("app.count_buckets")})["Count"]
    assert invoke(local_aws, name)[0] == 1  # the bucket of the assets


def test_a_client_of_the_import_calls_for_the_invocation(deploy: Deploy, local_aws: LocalAws) -> None:
    # Given a function with a client that it made at its import, in two workers
    name = deploy(CODE, {"Count": function("app.count_buckets")})["Count"]
    barrier = threading.Barrier(2)

    def meet(_call: calls.Call, carry_out: calls.Carry) -> Response:
        barrier.wait(ENOUGH)
        return carry_out()

    # When both work at once
    with calls.recorded() as made, calls.watched(meet), ThreadPoolExecutor(2) as pool:
        list(pool.map(lambda event: invoke(local_aws, name, event), ("one", "other")))
    # Then each call is known as its own invocation's
    assert {(call.function, call.operation) for call in made} == {(name, "ListBuckets")}
    assert {call.invocation.event for call in made} == {"one", "other"}


def test_what_is_deployed_again_is_imported_and_new(empty_aws: LocalAws, tmp_path: Path) -> None:
    # Given a function that has been invoked
    assembly = write(tmp_path, CODE, {"Count": function("app.count_invocations")}, {"Name": ref("Count")})
    answers = []
    for _ in range(3):
        name = empty_aws.deploy(assembly)["Name"]
        first, second = invoke(empty_aws, name)[0], invoke(empty_aws, name)[0]
        assert [first["invocations"], second["invocations"]] == [1, 2]
        answers.append(first["imported by"])
        # When the local AWS is reset, and it is deployed again
        empty_aws.reset()
    # Then it was imported once, and begins anew each time
    assert len(set(answers)) == 1


def test_two_workers_a_function_at_most(deploy: Deploy, local_aws: LocalAws, tmp_path: Path) -> None:
    # Given a function whose processes wait until there are two
    name = deploy(CODE, {"Meet": function("app.meet", timeout=60)})["Meet"]
    place = tmp_path / "place"
    place.mkdir()
    # When it is invoked six times at once
    with ThreadPoolExecutor(6) as pool:
        answers = list(pool.map(lambda _: invoke(local_aws, name, {"place": str(place)}), range(6)))
    # Then two processes did it
    assert [error for _, error in answers] == [None] * 6
    assert len({process for process, _ in answers}) == 2


def test_unknown_function(empty_aws: LocalAws) -> None:
    with pytest.raises(ClientError, match="ResourceNotFoundException"):
        invoke(empty_aws, "nobody")


def test_asynchronous_invocation_is_tried_thrice_and_then_kept(deploy: Deploy, local_aws: LocalAws) -> None:
    # Given a function that always fails, with a dead-letter queue
    failing = function("app.fail")
    failing["Properties"]["DeadLetterConfig"] = {"TargetArn": arn("Queue")}
    deployed = deploy(CODE, {"Fail": failing, "Queue": {"Type": "AWS::SQS::Queue"}})
    # When it is invoked asynchronously
    answer = local_aws.client("lambda").invoke(
        FunctionName=deployed["Fail"], InvocationType="Event", Payload=json.dumps({"a": 1})
    )
    # Then the caller gets no error, and after three attempts the event is in the queue with the reason
    assert answer["StatusCode"] == 202
    message = eventually(
        lambda: (
            local_aws.client("sqs")
            .receive_message(QueueUrl=deployed["Queue"], MessageAttributeNames=["All"])
            .get("Messages")
        )
    )[0]
    assert json.loads(message["Body"]) == {"a": 1}
    assert message["MessageAttributes"]["ErrorMessage"]["StringValue"] == "tray 2"
    log = (local_aws.logs_dir / f"{deployed['Fail']}.log").read_text()
    assert log.count("[ERROR] OutOfPaper") == 3


def test_no_worker_survives_a_reset(deploy: Deploy, local_aws: LocalAws) -> None:
    # Given an idle worker and a busy worker
    name = deploy(CODE, {"Sleep": function("app.sleep", timeout=60), "Tell": function("app.tell")})
    idle = invoke(local_aws, name["Tell"])[0]["process"]
    busy = functions.find(name["Sleep"])
    functions.invoke_later(busy, {"seconds": 60})
    # When the local AWS is reset
    local_aws.reset()
    # Then both are gone
    with pytest.raises(ProcessLookupError):
        os.kill(idle, 0)
