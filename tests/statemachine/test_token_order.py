"""The token that `Request labels` leaves is answered before its function has returned, or after that.

Step Functions documents no order, nor whether an answer that comes first ends the task at once: the job goes on in
each case.
"""

import re
from collections.abc import Callable

import pytest
from deployed import Pipeline, eventually
from werkzeug.wrappers import Response

from ekyc.localaws import calls, faults
from ekyc.localaws.calls import Call
from ekyc.localaws.clock import clock
from ekyc.localaws.faults import Fault, What
from ekyc.localaws.moto_patches import asl

LABELLING_EVENT = "SageMaker Ground Truth Labeling Job State Change"


def request_labels(pipeline: Pipeline) -> str:
    """The name of the state's function."""
    functions = pipeline.aws.client("lambda").list_functions()["Functions"]
    (name,) = (one["FunctionName"] for one in functions if one["Handler"] == "stages.request_labels.handler")
    return str(name)


def events_of(pipeline: Pipeline, job_id: str, state: str) -> list[str]:
    """The types of the history's events from the state's entry until the next state's."""
    kinds: list[str] = []
    inside = False
    for event in pipeline.history(job_id):
        if entered := event.get("stateEnteredEventDetails"):
            inside = entered["name"] == state
        if inside:
            kinds.append(event["type"])
    return kinds


def post_labels(pipeline: Pipeline, job_id: str) -> None:
    answer = pipeline.http.post(f"jobs/{job_id}/labels", json={"key": "annotations.json"})
    assert answer.status_code == 200, answer.text


def writes_status(call: Call, status: str) -> bool:
    """Whether the call gives a job this status."""
    names, values = (call.parameters.get(f"ExpressionAttribute{kind}", {}) for kind in ("Names", "Values"))
    changes = re.findall(r"(#\w+) = (:\w+)", call.parameters.get("UpdateExpression", ""))
    return any((names[name], values[value]) == ("Status", {"S": status}) for name, value in changes)


@pytest.mark.parametrize("ends_task", [True, False])
def test_labels_are_posted_before_the_function_returns(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch, ends_task: bool
) -> None:
    # Given a job whose function has stored the token, and is about to write that it waits
    monkeypatch.setattr(asl, "ANSWER_ENDS_TASK", ends_task)
    name, job_id, shown = request_labels(pipeline), pipeline.uploaded(), list[str]()
    pipeline.upload(job_id, pipeline.photos / "annotations.json")

    def hold(call: Call, carry_out: Callable[[], Response]) -> Response:
        if not (call.function == name and writes_status(call, "WaitingForLabelling")):
            return carry_out()
        # When the labels are posted at that moment
        post_labels(pipeline, job_id)
        if ends_task:
            pipeline.reaches(job_id, "CreatingDataset", "Training", "Evaluating", "Ready")
        response = carry_out()
        shown.append(pipeline.job(job_id)["status"])
        return response

    with calls.watched(hold):
        pipeline.start(job_id, labels={"provider": "supplied"}, deploy=False)
        pipeline.reaches(job_id, "Ready")
    # Then the job goes on to its end, and what the function writes too late takes it back to no earlier status
    assert len(shown) == 1
    assert (shown[0] == "WaitingForLabelling") is not ends_task
    assert pipeline.entered(job_id).count("Import labels") == 1
    assert "TaskFailed" not in events_of(pipeline, job_id, "Request labels")


def test_labels_are_posted_after_the_function_returned(pipeline: Pipeline) -> None:
    # Given a job whose function has returned
    job_id = pipeline.uploaded()
    pipeline.upload(job_id, pipeline.photos / "annotations.json")
    pipeline.start(job_id, labels={"provider": "supplied"}, deploy=False)
    eventually(lambda: "TaskSubmitted" in events_of(pipeline, job_id, "Request labels"))
    # When the labels are posted, then the job goes on to its end
    post_labels(pipeline, job_id)
    pipeline.reaches(job_id, "Ready")
    assert pipeline.entered(job_id).count("Import labels") == 1


@pytest.mark.parametrize("ends_task", [True, False])
def test_a_function_that_answers_its_token_and_dies(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch, ends_task: bool
) -> None:
    # Given labels whose event is lost, so that the function finds them itself, and that it dies once it has answered
    monkeypatch.setattr(asl, "ANSWER_ENDS_TASK", ends_task)
    clock.speed = 7200.0  # the heartbeat of six hours takes three seconds
    job_id = pipeline.uploaded()
    lost = Fault(What.LOST, about=(job_id,), detail_type=LABELLING_EVENT)
    died = Fault(What.CRASH_AFTER, request_labels(pipeline), (job_id,), operation="SendTaskSuccess")
    with faults.injected(lost, died) as struck:
        pipeline.start(job_id, deploy=False)
        pipeline.reaches(job_id, "Ready")
    # Then the answer counts, at once or by the try after it, and the one labelling job served
    assert struck == [lost, died]
    kinds = events_of(pipeline, job_id, "Request labels")
    assert kinds.count("TaskFailed") == (0 if ends_task else 1)
    assert pipeline.entered(job_id).count("Prepare datasets") == 1
    assert pipeline.labelling_jobs() == {f"{job_id}-1": "Completed"}
