"""Outcomes: the end of an execution is read, recorded once, and sent once."""

import importlib
import json
from typing import Any

import pytest
from moto.sns import sns_backends

from pipeline import outcomes
from pipeline.jobs import Job, Jobs
from rules import states
from rules.states import Status
from tests.unit.aws_fakes import ACCOUNT, REGION, FakeRekognition, FakeSageMaker, FakeStepFunctions, client
from tests.unit.conftest import TABLE

MACHINE = f"arn:aws:states:{REGION}:{ACCOUNT}:stateMachine:training"

MODEL = "/ekyc-training/rekognition-project-version-arn"


class Setting:
    """A started job, its execution, and the function that EventBridge calls when it ends."""

    def __init__(self, jobs: Jobs, monkeypatch: pytest.MonkeyPatch) -> None:
        self.jobs, self.machine = jobs, FakeStepFunctions()
        self.topic = client("sns").create_topic(Name="outcomes")["TopicArn"]
        self.rekognition, self.ground_truth = FakeRekognition(), FakeSageMaker()
        client("ssm").put_parameter(Name=MODEL, Value="default", Type="String", Overwrite=True)
        monkeypatch.setenv("JOBS_TABLE", TABLE)
        monkeypatch.setenv("NOTIFICATIONS_TOPIC", self.topic)
        monkeypatch.setenv("MODEL_PARAMETER", MODEL)
        self.function = importlib.reload(importlib.import_module("events.record_outcome"))
        self.id = jobs.create().id
        self.arn = self.machine.start_execution(MACHINE, self.id, "{}")["executionArn"]
        jobs.advance(self.id, states.CHECK_PHOTOS, ExecutionArn=self.arn)
        jobs.advance(self.id, states.START_TRAINING, TaskToken="secret")

    def end(self, status: str, stage: str = "Check training", **more: str) -> None:
        self.machine.entered[self.arn] = ["Check photos", stage]
        self.machine.end(self.arn, status, **more)

    def event(self, status: str = "FAILED", arn: str | None = None) -> None:
        """The event of EventBridge; its status is deliberately not what counts."""
        detail = {"executionArn": arn or self.arn, "status": status, "name": self.id}
        event = {"detail-type": "Step Functions Execution Status Change", "source": "aws.states", "detail": detail}
        self.function.handler(event, LambdaContext())

    @property
    def job(self) -> Job:
        return self.jobs.get(self.id)

    @property
    def messages(self) -> list[tuple[str, str]]:
        """Subject and text of what the topic got."""
        sent = sns_backends[ACCOUNT][REGION].topics[self.topic].sent_notifications
        return [(subject, message) for _, message, subject, *_ in sent]


class LambdaContext:
    """What Lambda hands to a function, as far as the logger reads it."""

    function_name, memory_limit_in_mb, aws_request_id = "function", 128, "request-1"
    invoked_function_arn = f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:function"


@pytest.fixture
def setting(jobs: Jobs, monkeypatch: pytest.MonkeyPatch) -> Setting:
    return Setting(jobs, monkeypatch)


@pytest.mark.parametrize(
    ("execution", "more", "status"),
    [
        ("SUCCEEDED", {}, Status.READY),
        ("FAILED", {"error": "ModelRejected", "cause": "F1 0.71 is below the bar of 0.80"}, Status.REJECTED),
        ("FAILED", {"error": "TrainingFailed", "cause": "No."}, Status.FAILED),
        ("TIMED_OUT", {}, Status.FAILED),
        ("ABORTED", {"error": "StoppedByRequest", "cause": "The job was stopped through the API."}, Status.STOPPED),
    ],
)
def test_an_end_is_written_with_stage_error_and_cause(
    setting: Setting, execution: str, more: dict[str, str], status: Status
) -> None:
    # Given an execution that ended
    setting.end(execution, **more)
    # When its event comes
    setting.event()
    # Then the record has the status, the stage and no token
    job = setting.job
    assert (job.status, job["Stage"]) == (status, "Check training")
    assert job["Error"] == more.get("error", "States.Timeout" if execution == "TIMED_OUT" else None)
    assert job["Cause"] == more.get("cause")
    assert job["EndTime"] == int(setting.machine.clock.timestamp() * 1000)
    assert job["TaskToken"] is None
    # And the topic has one message about it
    assert [subject for subject, _ in setting.messages] == [f"eKYC training {status}: {setting.id}"]


@pytest.mark.parametrize(
    ("cause", "words"),
    [
        (
            json.dumps({"errorMessage": "Too few photos: 3.", "errorType": "X", "stackTrace": ["File"]}),
            "Too few photos: 3.",
        ),
        ("plain words", "plain words"),
        ('{"other": 1}', '{"other": 1}'),
        ("[1]", "[1]"),
    ],
)
def test_the_cause_is_for_people(setting: Setting, cause: str, words: str) -> None:
    setting.end("FAILED", error="NotEnoughImages", cause=cause)
    setting.event()
    assert setting.job["Cause"] == words


@pytest.mark.parametrize(
    ("execution", "error"),
    [("ABORTED", None), ("ABORTED", "console"), ("FAILED", "States.Runtime"), ("FAILED", "KeyError")],
)
def test_a_cause_that_others_wrote_is_not_kept(setting: Setting, execution: str, error: str | None) -> None:
    # Given an end whose cause a person or Step Functions wrote, which may quote the input
    cause = {"cause": 'The input {"labels": {"key": "labels/j/O\'Brien \\"x\\".json"}} has no such path.'}
    setting.end(execution, **cause, **({"error": error} if error else {}))
    # When its event comes
    setting.event()
    # Then neither record nor message has it
    assert setting.job["Cause"] is None
    assert setting.job["Error"] == (error if error in (None, "States.Runtime") else "OtherError")
    assert "Brien" not in str(setting.job.attributes) + str(setting.messages)


@pytest.mark.parametrize("error", ["PhotosChanged", "ModelRejected", "StoppedByRequest", "Anna Schmidt", "Lambda.Anna"])
def test_a_stop_keeps_no_text_of_its_caller(setting: Setting, error: str) -> None:
    # Given a stop with an error and a cause from its caller, under the name of an error that is known
    setting.end("ABORTED", error=error, cause="14 of 15 photos of Anna Schmidt were replaced.")
    # When its event comes
    setting.event()
    # Then the job is stopped, and neither record nor message has these texts
    job = setting.job
    assert (job.status, job["Error"], job["Cause"]) == (Status.STOPPED, "OtherError", None)
    assert "Anna" not in str(job.attributes) + str(setting.messages)


def test_doubled_and_late_events_change_and_tell_nothing_more(setting: Setting) -> None:
    # Given an execution that failed, whose event came
    setting.end("FAILED", error="TrainingFailed", cause="No.")
    setting.event()
    written = dict(setting.job.attributes)
    # When the event comes again
    setting.event()
    setting.event(status="ABORTED")
    # Then the job says the same, and one message went out
    assert {name: setting.job[name] for name in written if name != "UpdatedTime"} == {
        name: value for name, value in written.items() if name != "UpdatedTime"
    }
    assert len(setting.messages) == 1


def test_an_execution_that_was_redriven_is_left_alone(setting: Setting) -> None:
    # Given an execution that failed and runs again before its event comes
    setting.end("FAILED", error="TrainingSlotsBusy", cause="2 of 2")
    setting.machine.redrive_execution(setting.arn)
    # When the event comes
    setting.event()
    # Then the job is as the stages left it
    assert setting.job.status is Status.TRAINING
    assert setting.messages == []


def test_each_end_of_a_redriven_job_is_notified(setting: Setting) -> None:
    setting.end("FAILED", error="TrainingSlotsBusy", cause="2 of 2")
    setting.event()
    setting.machine.redrive_execution(setting.arn)
    setting.jobs.advance(setting.id, states.EVALUATE_MODEL, F1=0.9731, Precision=0.9, Recall=1.0)
    setting.end("SUCCEEDED", stage="Model ready")
    setting.event()
    assert setting.job.status is Status.READY
    assert setting.job["Error"] is None
    assert [subject.split(":")[0] for subject, _ in setting.messages] == ["eKYC training Failed", "eKYC training Ready"]
    assert "F1: 0.9731" in setting.messages[1][1]


def test_an_end_that_the_api_recorded_is_notified_once(setting: Setting) -> None:
    # Given a job whose end the API recorded before the event came
    setting.end("SUCCEEDED", stage="Model ready")
    outcomes.record(setting.arn)
    assert setting.job.status is Status.READY
    # When the event comes, twice
    setting.event()
    setting.event()
    # Then the notice is sent
    assert len(setting.messages) == 1


def test_the_message_has_figures_and_no_file_names(setting: Setting) -> None:
    # Given a job that was rejected, and one figure of a photo in its cause
    reasons = ["F1 0.71 is below the bar of 0.80"]
    setting.jobs.note(setting.id, Images=90, Rejected=2, F1=0.71, Reasons=reasons)
    setting.end("FAILED", error="ModelRejected", cause="see photo-of-jane.jpg")
    # When the event comes
    setting.event()
    # Then people read what they can act on
    ((subject, text),) = setting.messages
    assert len(subject) <= 100
    assert "Photos: 90" in text
    assert reasons[0] in text
    assert "jane" not in text


def test_an_execution_without_a_job_is_left_alone(setting: Setting) -> None:
    arn = setting.machine.start_execution(MACHINE, "by-hand", "{}")["executionArn"]
    setting.machine.end(arn, "SUCCEEDED")
    setting.event(arn=arn)
    assert setting.messages == []


def test_an_execution_that_is_gone_is_no_end(setting: Setting) -> None:
    setting.machine.executions.clear()
    error: Any = setting.machine.client().exceptions.ClientError
    with pytest.raises(error, match="ExecutionDoesNotExist"):
        setting.event()
