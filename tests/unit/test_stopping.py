"""What an ended job left running is stopped, at once or later; a stopped job's model is deleted when it is trained."""

import importlib
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from botocore.exceptions import ClientError
from moto.sns import sns_backends

from pipeline import errors
from pipeline.jobs import Jobs, now_ms, resumes
from rules import states
from rules.states import Status
from tests.unit.aws_fakes import FakeRekognition, FakeSageMaker, FakeStepFunctions, client
from tests.unit.conftest import INDEX, TABLE
from tests.unit.test_erasure import FakeLambda
from tests.unit.test_outcomes import MACHINE, MODEL, LambdaContext

ACCOUNT, REGION = "123456789012", "us-east-1"
PROJECT = "/ekyc/project"


class Settling:
    """A job that has ended, what it left, and the function that settles it."""

    def __init__(self, jobs: Jobs, monkeypatch: pytest.MonkeyPatch) -> None:
        self.jobs, self.machine = jobs, FakeStepFunctions()
        self.machine.clock = datetime.now(UTC) - timedelta(hours=1)
        self.rekognition, self.ground_truth, self.exporting = FakeRekognition(), FakeSageMaker(), FakeLambda()
        self.ssm = client("ssm")
        for name in (PROJECT, MODEL):
            self.ssm.put_parameter(Name=name, Value="default", Type="String", Overwrite=True)
        self.topic = client("sns").create_topic(Name="outcomes")["TopicArn"]
        for name, value in {
            "JOBS_TABLE": TABLE,
            "JOBS_INDEX": INDEX,
            "NOTIFICATIONS_TOPIC": self.topic,
            "PROJECT_PARAMETER": PROJECT,
            "MODEL_PARAMETER": MODEL,
            "EXPORT_FUNCTION": "export",
        }.items():
            monkeypatch.setenv(name, value)
        self.function = importlib.reload(importlib.import_module("events.settle_job"))
        self.id = jobs.create().id
        self.arn = self.machine.start_execution(MACHINE, self.id, "{}")["executionArn"]
        project = self.rekognition.create_project(self.id)["ProjectArn"]
        jobs.advance(self.id, states.CHECK_PHOTOS, ExecutionArn=self.arn)
        jobs.note(self.id, LabelProvider="ground-truth")
        jobs.advance(self.id, states.START_TRAINING, ProjectArn=project)
        self.version_arn = self.rekognition.add_version(project, self.id, "TRAINING_IN_PROGRESS")

    def end(self, status: str, stage: str = "Check training") -> None:
        """End the execution, three quarters of an hour ago, and record it."""
        self.machine.entered[self.arn] = [stage]
        self.machine.end(self.arn, status, error="X")
        self.sweep()

    def sweep(self) -> None:
        """As the schedule calls the function."""
        if not self.jobs.get(self.id)["EndTime"]:
            self.jobs.note(self.id, Unsettled=True)
        self.function.handler({}, LambdaContext())

    def trained(self, *, minutes_ago: int = 5) -> None:
        """End the training and send S3's event."""
        end = datetime.now(UTC) - timedelta(minutes=minutes_ago)
        trained = {"TrainingEndTimestamp": end, "BillableTrainingTimeInSeconds": 3600}
        self.version.update(Status="TRAINING_COMPLETED", **trained)
        key = f"training/{self.id}/EvaluationResult/summary.json"
        self.function.handler({"detail": {"object": {"key": key}}}, LambdaContext())

    @property
    def version(self) -> dict[str, Any]:
        return self.rekognition.versions[self.id]

    @property
    def subjects(self) -> list[str]:
        """The subjects of the messages about the job."""
        sent = sns_backends[ACCOUNT][REGION].topics[self.topic].sent_notifications
        return [subject for _, _, subject, *_ in sent]

    def parameters(self) -> list[str]:
        """The two parameters that name the live model."""
        return [self.ssm.get_parameter(Name=name)["Parameter"]["Value"] for name in (PROJECT, MODEL)]

    @property
    def is_settled(self) -> bool:
        return self.jobs.get(self.id)["Unsettled"] is None


@pytest.fixture
def settling(jobs: Jobs, monkeypatch: pytest.MonkeyPatch) -> Settling:
    return Settling(jobs, monkeypatch)


def test_a_stopped_jobs_model_is_deleted_after_its_training(settling: Settling) -> None:
    # Given a job that was stopped in training, which cannot be cancelled
    settling.end("ABORTED")
    assert not settling.is_settled
    # When the training ends
    settling.trained()
    # Then its model goes, once, and nothing is left to look at
    assert settling.version["Status"] == "DELETING"
    assert settling.is_settled
    settling.trained()
    assert settling.rekognition.calls.count("delete_project_version") == 2
    assert settling.jobs.get(settling.id).status is Status.STOPPED


def test_a_job_that_failed_or_was_resumed_keeps_its_model(settling: Settling) -> None:
    # Given a job whose time ran out in training
    settling.end("TIMED_OUT")
    # When the training ends, then a resume finds the model
    settling.trained()
    assert settling.version["Status"] == "TRAINING_COMPLETED"


@pytest.mark.parametrize("event", [{}, {"detail-type": "Scheduled Event", "detail": {}}])
def test_a_scheduled_event_may_have_an_empty_detail(settling: Settling, event: dict[str, Any]) -> None:
    # Given a stopped job whose model runs by now
    settling.version["Status"] = "STARTING"
    settling.end("ABORTED", "Check model")
    settling.version["Status"] = "RUNNING"
    # When the schedule calls, or its event is delivered again from the dead-letter queue
    settling.function.handler(event, LambdaContext())
    # Then every unsettled job is settled
    assert settling.version["Status"] == "STOPPING"
    assert settling.is_settled


def test_a_resume_that_comes_first_keeps_the_model(settling: Settling) -> None:
    settling.end("ABORTED")
    resumes.claim(settling.id, "engineer")
    settling.trained()
    assert settling.version["Status"] == "TRAINING_COMPLETED"
    assert not settling.is_settled


def test_a_model_that_was_trained_before_the_stop_is_kept(settling: Settling) -> None:
    settling.end("ABORTED")
    settling.trained(minutes_ago=120)
    assert settling.version["Status"] == "TRAINING_COMPLETED"


@pytest.mark.parametrize("status", ["FAILED", "TIMED_OUT", "ABORTED"])
def test_a_model_that_was_starting_is_stopped_once_it_runs(settling: Settling, status: str) -> None:
    # Given a job that ended while its model started
    settling.version["Status"] = "STARTING"
    settling.end(status, "Check model")
    assert settling.version["Status"] == "STARTING"
    assert not settling.is_settled
    # When it runs and the job is settled
    settling.version["Status"] = "RUNNING"
    settling.sweep()
    # Then it is stopped
    assert settling.version["Status"] == "STOPPING"
    assert settling.is_settled


def test_the_live_model_runs_on(settling: Settling) -> None:
    settling.version["Status"] = "RUNNING"
    settling.ssm.put_parameter(Name=MODEL, Value=settling.version_arn, Overwrite=True)
    settling.end("ABORTED", "Publish model")
    assert settling.version["Status"] == "RUNNING"
    assert settling.is_settled


def test_what_is_going_live_is_looked_at_again(settling: Settling) -> None:
    # Given a job that was stopped a moment ago in the state that makes its model the live one
    settling.version["Status"] = "RUNNING"
    settling.machine.clock = datetime.now(UTC) - timedelta(minutes=1)
    settling.end("ABORTED", "Publish model")
    # Then its model is left alone for now
    assert settling.version["Status"] == "RUNNING"
    assert not settling.is_settled


def test_only_stopped_jobs_have_their_labelling_jobs_stopped(settling: Settling) -> None:
    # Given two labelling jobs, of which the record knows none
    for attempt, status in ((1, "Stopped"), (2, "InProgress")):
        output = {"OutputConfig": {"S3OutputPath": "s3://b/"}}
        settling.ground_truth.jobs[f"{settling.id}-{attempt}"] = {"LabelingJobStatus": status, **output}
    # When the job fails, then people go on; when it is then stopped through the API, they are stopped
    settling.end("FAILED", "Request labels")
    assert settling.ground_truth.jobs[f"{settling.id}-2"]["LabelingJobStatus"] == "InProgress"
    settling.jobs.note_first(settling.id, StopRequested=now_ms())
    settling.sweep()
    assert settling.ground_truth.jobs[f"{settling.id}-2"]["LabelingJobStatus"] == "Stopped"


@pytest.mark.parametrize("code", ["ResourceNotFound", "ValidationException"])
def test_either_code_says_there_is_no_labelling_job(settling: Settling, code: str) -> None:
    # Given a stopped job without a labelling job, and SageMaker answering with either of its two error codes
    settling.version["Status"] = "RUNNING"
    settling.ground_truth.refuse_next("describe_labeling_job", code)
    # When the job is settled
    settling.end("ABORTED")
    # Then its model is stopped
    assert settling.version["Status"] == "STOPPING"
    assert settling.is_settled


def test_supplied_labels_never_ask_ground_truth(settling: Settling) -> None:
    settling.jobs.note(settling.id, LabelProvider="supplied")
    settling.version["Status"] = "RUNNING"
    settling.end("ABORTED")
    assert settling.ground_truth.calls == []
    assert settling.version["Status"] == "STOPPING"


def test_a_failed_part_does_not_keep_the_next_from_stopping(settling: Settling) -> None:
    # Given a stopped job whose labelling job cannot be asked for, and whose model runs
    settling.version["Status"] = "RUNNING"
    settling.ground_truth.refuse_next("describe_labeling_job", "AccessDeniedException")
    # When the job is settled
    with pytest.raises(errors.AccessDenied):
        settling.end("ABORTED")
    # Then the model is stopped all the same, and the job is looked at again
    assert settling.version["Status"] == "STOPPING"
    assert not settling.is_settled


def test_a_labelling_job_stopped_meanwhile_is_no_failure(settling: Settling, monkeypatch: pytest.MonkeyPatch) -> None:
    # Given a labelling job that another one who stops the job has stopped since it was looked at
    name = f"{settling.id}-1"
    settling.ground_truth.jobs[name] = {
        "LabelingJobStatus": "InProgress",
        "OutputConfig": {"S3OutputPath": "s3://b/"},
    }
    finish = settling.ground_truth.finish

    def too_late(LabelingJobName: str) -> None:  # noqa: N803
        finish(LabelingJobName, "Stopped")
        raise ClientError({"Error": {"Code": "ValidationException"}}, "StopLabelingJob")

    monkeypatch.setattr(settling.ground_truth, "stop_labeling_job", too_late)
    settling.jobs.note_first(settling.id, StopRequested=now_ms())
    # When what the job left is dealt with
    settling.end("FAILED", "Request labels")
    settling.sweep()
    # Then it is stopped, and nothing went wrong
    assert settling.ground_truth.jobs[name]["LabelingJobStatus"] == "Stopped"


def test_a_job_that_runs_is_left_alone(settling: Settling) -> None:
    settling.version["Status"] = "RUNNING"
    settling.sweep()
    settling.trained()
    assert settling.version["Status"] == "TRAINING_COMPLETED"
    assert "stop_project_version" not in settling.rekognition.calls


def test_an_end_without_an_event_is_recorded_and_notified_once(settling: Settling) -> None:
    # Given an execution that failed, of which no event came
    settling.machine.entered[settling.arn] = ["Check training"]
    settling.machine.end(settling.arn, "FAILED", error="TrainingFailed")
    # When the schedule calls, twice
    for _ in range(2):
        settling.function.handler({}, LambdaContext())
    # Then the end is recorded and notified once
    job = settling.jobs.get(settling.id)
    assert (job.status, job["Error"]) == (Status.FAILED, "TrainingFailed")
    assert len(settling.subjects) == 1
    # And the audit report is made, which the event would have had made
    assert settling.exporting.invoked == [("export", "Event", {"executionArn": settling.arn})]


def test_a_denied_stop_is_still_notified(settling: Settling, monkeypatch: pytest.MonkeyPatch) -> None:
    # Given a model that runs and that the function may not look at
    settling.machine.entered[settling.arn] = ["Check model"]
    settling.machine.end(settling.arn, "FAILED", error="ModelFailed")

    def deny(**_: Any) -> None:
        raise ClientError({"Error": {"Code": "AccessDeniedException", "Message": "no"}}, "DescribeProjectVersions")

    monkeypatch.setattr(settling.rekognition, "describe_project_versions", deny)
    # When the schedule calls
    with pytest.raises(errors.AccessDenied):
        settling.function.handler({}, LambdaContext())
    # Then people know of the failure, and it is looked at again
    assert len(settling.subjects) == 1
    assert not settling.is_settled


@pytest.mark.parametrize("before", ["default", "arn:aws:rekognition:us-east-1:123456789012:project/ekyc-before/1"])
def test_a_half_published_model_is_taken_back(settling: Settling, before: str) -> None:
    # Given a job that failed once it had written the first of the two parameters
    project = settling.jobs.get(settling.id)["ProjectArn"]
    settling.ssm.put_parameter(Name=PROJECT, Value=project, Type="String", Overwrite=True)
    settling.jobs.note(settling.id, ProjectVersionArn=settling.version_arn, PreviousProject=before)
    settling.version.update(Status="RUNNING")
    # When its end is settled
    settling.end("FAILED", stage="Publish model")
    # Then the parameters name what was live before, and the model no longer runs
    assert settling.parameters() == [before, "default"]
    assert settling.version["Status"] == "STOPPING"
    # And a model that did go live is left as it is
    settling.ssm.put_parameter(Name=PROJECT, Value=project, Type="String", Overwrite=True)
    settling.ssm.put_parameter(Name=MODEL, Value=settling.version_arn, Type="String", Overwrite=True)
    settling.jobs.note(settling.id, Unsettled=True)
    settling.sweep()
    assert settling.parameters() == [project, settling.version_arn]
