"""Tests undocumented responses of AWS: to an unknown labelling job, a conditional PutEvents and a used task token."""

import json
from typing import Any

from botocore.exceptions import ClientError

from ekyc.cli.doctor.deep import role_copies
from ekyc.cli.doctor.deep.probe import Probe
from ekyc.cli.doctor.deep.role_copies import EVENT_SOURCE, DeniedError, RoleCopy
from ekyc.cli.doctor.findings import Finding, ok, problem, skipped, warning

FUNCTION = "RequestLabels"
NO_SUCH_LABELLING_JOB = frozenset({"ResourceNotFound", "ValidationException"})
"""Error codes that the pipeline reads as 'the labelling job does not exist'.

A test compares this set and `ALREADY_RESUMED` with `pipeline.labelling`.
"""
ALREADY_RESUMED = frozenset({"TaskTimedOut", "InvalidToken", "TaskDoesNotExist"})
"""Error codes that the pipeline reads as 'this task token was used before'."""
PLEASE_REPORT = "Please report it: the pipeline treats this response as a failure."
SECONDS_FOR_ANSWER = 60
SECONDS_FOR_EXECUTION = 120  # enough for the answer, or for retries until IAM has propagated the role


def unknown_labelling_job(probe: Probe) -> Finding:
    """A job makes this call before it creates its labelling job, unless its labels are supplied."""
    if not probe.context.uses_ground_truth:
        return skipped("not needed: labels are supplied")
    role_copy = role_copies.find_or_make(probe, FUNCTION)
    try:
        role_copy.call("sagemaker", "describe_labeling_job", LabelingJobName=f"{probe.name}-1")
    except DeniedError:
        raise
    except ClientError as error:
        code, message = error.response["Error"]["Code"], error.response["Error"].get("Message", "")
        if code in NO_SUCH_LABELLING_JOB:
            return ok(f"SageMaker returns {code} for an unknown labelling job, as the pipeline expects")
        return problem(f"SageMaker returns {code} for an unknown labelling job: {message}", PLEASE_REPORT)
    return problem(f"SageMaker describes the labelling job {probe.name}-1, which was never created", PLEASE_REPORT)


def put_event(probe: Probe) -> Finding:
    """Sends an event as the pipeline does, under the deployed condition on the source. No rule matches the event."""
    entry = {"Source": EVENT_SOURCE, "DetailType": "Doctor", "Detail": json.dumps({"probe": probe.name})}
    answer = role_copies.find_or_make(probe, FUNCTION).call("events", "put_events", Entries=[entry])
    if answer["FailedEntryCount"]:
        code = answer["Entries"][0].get("ErrorCode")
        return problem(f"EventBridge rejected an event: {code}", "Try again in a minute.")
    return ok(f"EventBridge accepts an event from the role of {FUNCTION}, with the deployed condition on its source")


def task_token(probe: Probe) -> Finding:
    """Runs a state machine with one task, which answers its own token before the call with the token has returned.

    This tests a real token, the permission on the state machine's ARN, and the order of calls most likely to fail.
    """
    role_copy = role_copies.find_or_make(probe, FUNCTION)
    stepfunctions = probe.context.client("stepfunctions")
    with probe.making(f"state machine {probe.name}", lambda: _delete_machine(probe)):
        machine = role_copy.retry_denials(
            lambda: stepfunctions.create_state_machine(
                name=probe.name, definition=json.dumps(_definition()), roleArn=role_copy.arn
            )
        )["stateMachineArn"]
    execution = stepfunctions.start_execution(stateMachineArn=machine, name=probe.name)["executionArn"]

    def description_at_end() -> dict[str, Any] | None:
        description: dict[str, Any] = stepfunctions.describe_execution(executionArn=execution)
        return None if description["status"] == "RUNNING" else description

    execution_end = probe.wait_for(
        description_at_end, SECONDS_FOR_EXECUTION, "the test state machine was still running"
    )
    if execution_end["status"] == "TIMED_OUT" or execution_end.get("error") == "States.Timeout":
        return warning(
            "an answer to a token before its call had returned did not resume the execution",
            "Jobs still find their labels at the next heartbeat. Please report it.",
        )
    if execution_end["status"] != "SUCCEEDED":
        error = execution_end.get("error", execution_end["status"])
        cause = execution_end.get("cause", "AWS gives no cause")
        return problem(f"a token cannot be answered: {error}: {cause}", PLEASE_REPORT)
    code_if_used = _error_code(role_copy, json.loads(execution_end["output"])["token"])
    code_if_unknown = _error_code(role_copy, "doctor")
    codes = f"a used token gets {code_if_used}, an unknown token {code_if_unknown}"
    if code_if_used not in ALREADY_RESUMED:
        return problem(f"an answer to a token resumed the execution, but {codes}", PLEASE_REPORT)
    return ok(f"an answer to a token before its call had returned resumed the execution; {codes}")


def _error_code(role_copy: RoleCopy, token: str) -> str:
    """The error code of SendTaskSuccess, which should be refused."""
    try:
        role_copy.call("stepfunctions", "send_task_success", taskToken=token, output="{}")
    except DeniedError:
        return "AccessDenied"
    except ClientError as error:
        return str(error.response["Error"]["Code"])
    return "no error"


def _definition() -> dict[str, Any]:
    answer = {
        "Type": "Task",
        "Resource": "arn:aws:states:::aws-sdk:sfn:sendTaskSuccess.waitForTaskToken",
        "Arguments": {
            "TaskToken": "{% $states.context.Task.Token %}",
            "Output": "{% $string({'token': $states.context.Task.Token}) %}",
        },
        "TimeoutSeconds": SECONDS_FOR_ANSWER,
        # IAM may deny a new role until it has propagated.
        "Retry": [{"ErrorEquals": ["States.TaskFailed"], "IntervalSeconds": 5, "BackoffRate": 1, "MaxAttempts": 10}],
        "End": True,
    }
    return {
        "Comment": "ekyc doctor --deep: one task answers its own token.",
        "QueryLanguage": "JSONata",
        "StartAt": "Answer",
        "TimeoutSeconds": SECONDS_FOR_EXECUTION,
        "States": {"Answer": answer},
    }


def _delete_machine(probe: Probe) -> None:
    deployed = probe.context.outputs["StateMachineArn"]
    probe.context.client("stepfunctions").delete_state_machine(
        stateMachineArn=f"{deployed.rpartition(':')[0]}:{probe.name}"
    )
