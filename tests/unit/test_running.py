"""Running: the oldest execution and the models that run are measured, reminded of, and stopped if one wants that."""

import importlib
import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from botocore.exceptions import ClientError
from moto.sns import sns_backends

from pipeline import running
from pipeline.errors import AccessDenied, PipelineError
from pipeline.jobs import Job, Jobs, ends, now_ms
from rules.states import Status
from tests.unit.aws_fakes import ACCOUNT, REGION, FakeRekognition, FakeStepFunctions, client
from tests.unit.conftest import TABLE
from tests.unit.test_outcomes import MACHINE, LambdaContext

HOUR = 3_600_000
PARAMETER = "/ekyc-training/rekognition-project-version-arn"


class Setting:
    """Jobs with models at Rekognition, and the function that watches them."""

    def __init__(self, jobs: Jobs, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
        self.jobs, self.rekognition, self.machine = jobs, FakeRekognition(), FakeStepFunctions()
        self.rekognition.running_limit = 10
        self._monkeypatch, self._capsys = monkeypatch, capsys
        client("ssm").put_parameter(Name=PARAMETER, Value="default", Type="String")
        self.topic = client("sns").create_topic(Name="outcomes")["TopicArn"]
        self.events = client("events")
        monkeypatch.setattr(running, "SECONDS_BETWEEN_PROJECTS", 0)
        self.metrics: dict[str, float] = {}

    def job_with_model(self, *, hours: float | None = None, status: str = "RUNNING", units: int = 1) -> Job:
        """Create a Ready job. The pipeline started its model ``hours`` ago; None: it was started elsewhere."""
        job = self.jobs.create()
        self.jobs.move(job.id, Status.CHECKING_IMAGES)
        ends.record(job.id, Status.READY, 1, "arn:execution")
        project = self.rekognition.create_project(job.id)["ProjectArn"]
        arn = self.rekognition.add_version(project, job.id, status, MinInferenceUnits=units)
        self.jobs.note(job.id, ProjectArn=project, ProjectVersionArn=arn)
        if hours is not None:
            self.jobs.note(job.id, ModelStartTime=int(now_ms() - hours * HOUR), InferenceUnits=units)
        return self.jobs.get(job.id)

    def watch(self, *, remind: bool = False, stop: bool = False) -> None:
        """Run the function, and read the metrics that it wrote."""
        for name, value in {
            "JOBS_TABLE": TABLE,
            "NOTIFICATIONS_TOPIC": self.topic,
            "STATE_MACHINE_ARN": MACHINE,
            "MODEL_PARAMETER": PARAMETER,
            "MODEL_HOURS": "24",
            "STOP_LONG_RUNNING_MODELS": json.dumps(stop),
        }.items():
            self._monkeypatch.setenv(name, value)
        function = importlib.reload(importlib.import_module("events.watch_running"))
        try:
            function.handler({"remind": remind}, LambdaContext())
        finally:
            lines = [json.loads(line) for line in self._capsys.readouterr().out.splitlines() if '"_aws"' in line]
            for line in lines:
                names = (metric["Name"] for metric in line["_aws"]["CloudWatchMetrics"][0]["Metrics"])
                self.metrics |= {name: line[name][0] for name in names}

    def status(self, job: Job) -> str:
        return str(self.rekognition.versions[job.id]["Status"])

    @property
    def messages(self) -> list[tuple[str, str]]:
        sent = sns_backends[ACCOUNT][REGION].topics[self.topic].sent_notifications
        return [(subject, message) for _, message, subject, *_ in sent]


@pytest.fixture
def setting(jobs: Jobs, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Setting:
    return Setting(jobs, monkeypatch, capsys)


def test_the_oldest_execution_is_measured_since_its_last_redrive(setting: Setting) -> None:
    # Given executions of 5 and 30 hours, one of 90 that was redriven 7 hours ago, and one of 200 that has ended
    for name, hours in {"a": 5, "b": 30, "c": 90, "d": 200}.items():
        setting.machine.clock = datetime.now(UTC) - timedelta(hours=hours)
        arn = setting.machine.start_execution(MACHINE, name, "{}")["executionArn"]
        if name == "c":
            setting.machine.executions[arn]["redriveDate"] = datetime.now(UTC) - timedelta(hours=7)
    setting.machine.end(arn, "FAILED")
    # When the watch looks
    setting.watch()
    # Then it measures those that run, and no model
    assert setting.metrics["RunningExecutions"] == 3
    assert setting.metrics["OldestExecutionHours"] == pytest.approx(30, abs=0.1)
    assert (setting.metrics["RunningModels"], setting.metrics["ModelDollarsAnHour"]) == (0, 0)
    assert setting.messages == []


def test_running_models_are_measured_and_reminded_of(setting: Setting) -> None:
    # Given a live model that runs for 30 hours with two units, a model that runs for 2 hours, and a stopped model
    live, other = setting.job_with_model(hours=30, units=2), setting.job_with_model(hours=2)
    setting.job_with_model(status="STOPPED")
    client("ssm").put_parameter(Name=PARAMETER, Value=live["ProjectVersionArn"], Overwrite=True)
    # When the morning's reminder is due
    setting.watch(remind=True)
    # Then it says what they cost, and which is live
    assert setting.metrics["RunningModels"] == 2
    assert setting.metrics["ModelDollarsAnHour"] == 12
    assert setting.metrics["LongestModelHours"] == pytest.approx(30, abs=0.1)
    ((subject, text),) = setting.messages
    assert subject == "eKYC models running: 2, 12.00 USD an hour"
    rows = {line.split()[0]: line.split() for line in text.splitlines() if line.startswith("ekyc-")}
    assert rows[live.id][3:] == ["30.0", "(!)", "2", "8.00", "yes"]
    assert rows[other.id][3:] == ["2.0", "1", "4.00", "no"]
    assert f"stop-project-version --project-version-arn {live['ProjectVersionArn']}" in text
    # And nothing is stopped
    assert (setting.status(live), setting.status(other)) == ("RUNNING", "RUNNING")


def test_no_reminder_when_no_model_runs(setting: Setting) -> None:
    setting.job_with_model(status="STOPPED")
    setting.watch(remind=True)
    assert setting.messages == []


def test_a_model_started_elsewhere_counts_from_its_first_sight(setting: Setting) -> None:
    # Given a model that runs and of whose start the record knows nothing
    job = setting.job_with_model(hours=None, units=3)
    # When it is seen
    setting.watch()
    seen = setting.jobs.get(job.id)
    # Then that is noted, and stays
    assert now_ms() - seen["ModelStartTime"] < HOUR
    assert seen["InferenceUnits"] == 3
    setting.watch()
    assert setting.jobs.get(job.id)["ModelStartTime"] == seen["ModelStartTime"]


def test_a_model_stopped_elsewhere_counts_anew(setting: Setting) -> None:
    # Given a model that ran for 30 hours and was stopped in the console
    job = setting.job_with_model(hours=30, status="STOPPED")
    setting.watch(stop=True)
    # Then its time is closed
    closed = setting.jobs.get(job.id)
    assert closed["ModelStartTime"] is None
    assert closed["ModelSeconds"] == pytest.approx(30 * 3600, abs=60)
    # And when it is started again, the earlier hours do not count
    setting.rekognition.versions[job.id]["Status"] = "RUNNING"
    setting.watch(stop=True)
    assert setting.status(job) == "RUNNING"


def test_with_stop_even_a_long_running_live_model_is_stopped(setting: Setting) -> None:
    # Given a live model of 30 hours and one of 2
    live, other = setting.job_with_model(hours=30), setting.job_with_model(hours=2)
    client("ssm").put_parameter(Name=PARAMETER, Value=live["ProjectVersionArn"], Overwrite=True)
    # When the watch looks, twice
    setting.watch(stop=True)
    setting.watch(stop=True)
    # Then the older model is stopped, its time is recorded, and one message says what the stop means
    assert (setting.status(live), setting.status(other)) == ("STOPPING", "RUNNING")
    assert setting.jobs.get(live.id)["ModelStartTime"] is None
    ((subject, text),) = setting.messages
    assert subject == f"eKYC model is stopped after 30 hours: {live.id}"
    assert "It is the live model: services cannot check documents" in text
    assert "start-project-version --min-inference-units 1" in text


def test_a_model_of_a_running_job_is_not_stopped(setting: Setting) -> None:
    job = setting.job_with_model(hours=30)
    working = setting.jobs.create().id
    setting.jobs.move(working, Status.CHECKING_IMAGES)
    setting.jobs.move(working, Status.DEPLOYING, ModelStartTime=now_ms() - 30 * HOUR)
    project = setting.rekognition.create_project(working)["ProjectArn"]
    setting.rekognition.add_version(project, working, "RUNNING")
    setting.watch(stop=True)
    assert setting.rekognition.versions[working]["Status"] == "RUNNING"
    assert setting.status(job) == "STOPPING"


def test_an_unreadable_project_does_not_stop_the_watch(setting: Setting) -> None:
    # Given two models that run for too long; Rekognition refuses to describe the first
    first, second = setting.job_with_model(hours=30), setting.job_with_model(hours=40)
    setting.rekognition.refuse_next("describe_project_versions", "AccessDeniedException", "no")
    # When the watch looks
    with pytest.raises(PipelineError):
        setting.watch(stop=True)
    # Then the other is stopped all the same
    assert (setting.status(first), setting.status(second)) == ("RUNNING", "STOPPING")
    assert setting.metrics["RunningModels"] == 1


def test_the_reminder_says_what_could_not_be_looked_at(setting: Setting) -> None:
    job = setting.job_with_model(hours=1)
    setting.rekognition.refuse_next("describe_project_versions", "AccessDeniedException", "no")
    setting.watch(remind=True)
    ((_, text),) = setting.messages
    assert f"  {job.id}: AccessDenied" in text.splitlines()


def test_a_stop_that_is_refused_does_not_stop_the_others(setting: Setting) -> None:
    first, second = setting.job_with_model(hours=50), setting.job_with_model(hours=40)
    setting.rekognition.refuse_next("stop_project_version", "AccessDeniedException", "no")
    with pytest.raises(PipelineError):
        setting.watch(stop=True)
    assert (setting.status(first), setting.status(second)) == ("RUNNING", "STOPPING")


def test_a_denied_event_keeps_no_model_running(setting: Setting, monkeypatch: pytest.MonkeyPatch) -> None:
    # Given a model that runs for too long, and a role that may not put events
    job = setting.job_with_model(hours=30)

    def deny(**_: Any) -> None:
        raise ClientError({"Error": {"Code": "AccessDeniedException", "Message": "no"}}, "PutEvents")

    monkeypatch.setattr(setting.events, "put_events", deny)
    # When the watch looks
    with pytest.raises(AccessDenied):
        setting.watch(stop=True)
    # Then a message is sent, and the model is stopped
    assert len(setting.messages) == 1
    assert setting.status(job) == "STOPPING"


def test_a_model_that_a_resume_trained_is_the_jobs_own(setting: Setting) -> None:
    # Given a job whose first training failed, and whose second model has run for 30 hours
    job = setting.job_with_model(hours=30, status="TRAINING_FAILED")
    second = setting.rekognition.add_version(job["ProjectArn"], f"{job.id}-2", "RUNNING")
    setting.jobs.note(job.id, ProjectVersionArn=second)
    # When the watch looks, and is to stop what runs for too long
    setting.watch(stop=True)
    # Then it knows since when that one runs, and stops it
    assert setting.metrics["LongestModelHours"] == pytest.approx(30, abs=0.1)
    assert setting.rekognition.versions[f"{job.id}-2"]["Status"] == "STOPPING"
    assert setting.jobs.get(job.id)["ModelSeconds"] == pytest.approx(30 * 3600, abs=60)


def test_models_of_others_are_left_alone(setting: Setting) -> None:
    # Given a model of another deployment's job, one of a project that is not ours, and a second one in a job's project
    strangers: list[Any] = []
    for name in ("ekyc-20261124015324-9f3c0a1b2c3d4e5f", "cat-detector"):
        project = setting.rekognition.create_project(name)["ProjectArn"]
        strangers.append(setting.rekognition.add_version(project, name, "RUNNING"))
    job = setting.job_with_model(hours=1)
    setting.rekognition.add_version(job["ProjectArn"], "by-hand", "RUNNING")
    # When the watch looks
    setting.watch(remind=True, stop=True)
    # Then models of other projects are not reported. A model trained by hand in a job's project is, with what is known.
    assert setting.metrics["RunningModels"] == 2
    ((_, text),) = setting.messages
    assert "9f3c0a1b2c3d4e5f" not in text
    assert "cat-detector" not in text
    assert any(line.split()[:2] == ["by-hand", "unknown"] for line in text.splitlines())
