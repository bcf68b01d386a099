"""How AWS answers what its documents leave open: an unknown labelling job, an event under a condition, a task token."""

import json
from typing import Any

from botocore.exceptions import ClientError

from ekyc.cli.doctor.deep import twins
from ekyc.cli.doctor.deep.probe import Probe
from ekyc.cli.doctor.deep.twins import EVENT_SOURCE, DeniedError, Twin
from ekyc.cli.doctor.findings import Finding, ok, problem, skipped, warning

FUNCTION = "RequestLabels"
NO_SUCH_LABELLING_JOB = frozenset({"ResourceNotFound", "ValidationException"})
"""What the pipeline takes for 'there is no such labelling job'. A test holds both to `pipeline.labelling`."""
ALREADY_RESUMED = frozenset({"TaskTimedOut", "InvalidToken", "TaskDoesNotExist"})
"""What the pipeline takes for 'this token was answered before'."""
PLEASE_REPORT = "Please report it: the pipeline takes this answer for a failure."
SECONDS_FOR_ANSWER = 60
SECONDS_FOR_EXECUTION = 120  # the answer, or as many tries as IAM may take to learn of the role


def unknown_labelling_job(probe: Probe) -> Finding:
    """Jobs with supplied labels never ask Ground Truth; all others ask this before they make their labelling job."""
    if not probe.patient.wants_ground_truth:
        return skipped("not needed: labels are supplied")
    twin = twins.of(probe, FUNCTION)
    try:
        twin.call("sagemaker", "describe_labeling_job", LabelingJobName=f"{probe.name}-1")
    except DeniedError:
        raise
    except ClientError as error:
        code, message = error.response["Error"]["Code"], error.response["Error"].get("Message", "")
        if code in NO_SUCH_LABELLING_JOB:
            return ok(f"SageMaker answers {code} for a labelling job that is not there, which the pipeline understands")
        return problem(f"SageMaker answers {code} for a labelling job that is not there: {message}", PLEASE_REPORT)
    return problem(f"SageMaker describes the labelling job {probe.name}-1, which was never created", PLEASE_REPORT)


def put_event(probe: Probe) -> Finding:
    """As the pipeline tells other systems, under the deployed condition on the source. No rule listens to this one."""
    entry = {"Source": EVENT_SOURCE, "DetailType": "Doctor", "Detail": json.dumps({"probe": probe.name})}
    answer = twins.of(probe, FUNCTION).call("events", "put_events", Entries=[entry])
    if answer["FailedEntryCount"]:
        failed = answer["Entries"][0]
        return problem(f"EventBridge did not take an event: {failed.get('ErrorCode')}", "Try again in a minute.")
    return ok(f"EventBridge takes an event from the role of {FUNCTION} under the deployed condition on its source")


def task_token(probe: Probe) -> Finding:
    """A state machine of one task, which answers its own token before the call that carries it has returned.

    So the token, the permission on the state machine's ARN and the order that is hardest are all Step Functions' own.
    """
    twin = twins.of(probe, FUNCTION)
    stepfunctions = probe.patient.client("stepfunctions")
    with probe.making(f"state machine {probe.name}", lambda: _delete_machine(probe)):
        machine = twin.once_known(
            lambda: stepfunctions.create_state_machine(
                name=probe.name, definition=json.dumps(_definition()), roleArn=twin.arn
            )
        )["stateMachineArn"]
    execution = stepfunctions.start_execution(stateMachineArn=machine, name=probe.name)["executionArn"]

    def end() -> dict[str, Any] | None:
        description: dict[str, Any] = stepfunctions.describe_execution(executionArn=execution)
        return None if description["status"] == "RUNNING" else description

    ended = probe.until(end, SECONDS_FOR_EXECUTION, "the state machine of one task still ran")
    if ended["status"] == "TIMED_OUT" or ended.get("error") == "States.Timeout":
        return warning(
            "a token that was answered before its call had returned did not resume the execution",
            "A job finds its labels by its heartbeat then, some minutes later. Please report it.",
        )
    if ended["status"] != "SUCCEEDED":
        why = f"{ended.get('error', ended['status'])}: {ended.get('cause', 'AWS gives no cause')}"
        return problem(f"a token cannot be answered: {why}", PLEASE_REPORT)
    used = _code(twin, json.loads(ended["output"])["token"])
    unknown = _code(twin, "doctor")
    found = f"a second answer to it gets {used}, an unknown token {unknown}"
    if used not in ALREADY_RESUMED:
        return problem(f"a token was answered in time, and {found}", PLEASE_REPORT)
    return ok(f"a token answered before its call had returned resumed the execution; {found}")


def _code(twin: Twin, token: str) -> str:
    """What SendTaskSuccess answers, which should be a refusal."""
    try:
        twin.call("stepfunctions", "send_task_success", taskToken=token, output="{}")
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
        # A role that is new may be denied for a while.
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
    deployed = probe.patient.outputs["StateMachineArn"]
    probe.patient.client("stepfunctions").delete_state_machine(
        stateMachineArn=f"{deployed.rpartition(':')[0]}:{probe.name}"
    )
