"""Publish model: the parameters that readers rely on, and the model that was live before."""

from typing import Any

import pytest

from pipeline import publishing
from pipeline.clients import clients
from pipeline.errors import EvaluationOutdated, Throttled
from pipeline.jobs import Jobs, live_lock, now_ms
from pipeline.publishing import ModelPublished, PublishModel, read_parameter
from rules.bars import Bars
from tests.unit.aws_fakes import FakeRekognition, client

PROJECT, MODEL = "/ekyc/project", "/ekyc/model"
BARS = Bars(min_f1=0.8, min_label_f1=0.5, max_f1_drop=0.05)


class Setting:
    """Two jobs with a running model each, and the parameters as the stack makes them."""

    def __init__(self, jobs: Jobs) -> None:
        self.jobs, self.rekognition, self.ssm = jobs, FakeRekognition(), client("ssm")
        for name in (PROJECT, MODEL):
            self.ssm.put_parameter(Name=name, Value="default", Type="String")

    def model(self) -> tuple[str, str, str]:
        """A job with a running model: job id, project ARN, model ARN."""
        job_id = self.jobs.create().id
        project = self.rekognition.create_project(job_id)["ProjectArn"]
        self.jobs.note(job_id, ModelStartTime=now_ms() - 3_600_000)
        return job_id, project, self.rekognition.add_version(project, job_id, "RUNNING")

    def publish(
        self, model: tuple[str, str, str], *, stop_previous: bool = False, may_stop: bool = True, **evaluated: Any
    ) -> ModelPublished:
        """Publish a model that was evaluated just now, except for what ``evaluated`` says."""
        bars = {"min_f1": BARS.min_f1, "min_label_f1": BARS.min_label_f1, "max_f1_drop": BARS.max_f1_drop}
        live = {"live_model": read_parameter(MODEL)}
        return publishing.publish(
            PublishModel(*model, stop_previous, **(live | bars | evaluated)),
            floors=BARS,
            may_stop_previous=may_stop,
            project_parameter=PROJECT,
            model_parameter=MODEL,
        )

    def live(self) -> tuple[str | None, str | None]:
        return read_parameter(PROJECT), read_parameter(MODEL)


@pytest.fixture
def setting(jobs: Jobs) -> Setting:
    return Setting(jobs)


def test_the_first_model_has_no_previous_one(setting: Setting) -> None:
    assert setting.live() == (None, None)
    model = setting.model()
    assert setting.publish(model, stop_previous=True) == ModelPublished(model[2], None, False)
    assert setting.live() == model[1:]


@pytest.mark.parametrize("stop_previous", [False, True])
def test_the_previous_model_is_remembered_and_stopped_if_asked(setting: Setting, stop_previous: bool) -> None:
    # Given a live model
    old, new = setting.model(), setting.model()
    setting.publish(old)
    # When another is published
    published = setting.publish(new, stop_previous=stop_previous)
    # Then readers find the new one, and the old one is remembered, and runs unless it was to be stopped
    assert published == ModelPublished(new[2], old[2], stop_previous)
    assert setting.live() == new[1:]
    assert setting.jobs.get(new[0])["PreviousModel"] == old[2]
    assert setting.rekognition.versions[old[0]]["Status"] == ("STOPPING" if stop_previous else "RUNNING")
    assert (setting.jobs.get(old[0])["ModelStartTime"] is None) is stop_previous


@pytest.mark.parametrize("raised", [{"min_f1": 0.7}, {"min_label_f1": 0.4}, {"max_f1_drop": 0.1}])
def test_a_model_evaluated_with_lower_bars_is_refused(setting: Setting, raised: dict[str, float]) -> None:
    # Given a model that was evaluated before the deployment raised a bar
    model = setting.model()
    # Then it does not go live
    with pytest.raises(EvaluationOutdated, match="bars were raised after the evaluation"):
        setting.publish(model, **raised)
    assert setting.live() == (None, None)


def test_a_model_is_refused_if_another_went_live_meanwhile(setting: Setting) -> None:
    # Given a model that was evaluated before another one went live
    old, new = setting.model(), setting.model()
    setting.publish(old)
    # Then it does not go live
    with pytest.raises(EvaluationOutdated, match="Another model went live after the evaluation"):
        setting.publish(new, live_model=None)
    assert setting.live() == old[1:]
    # And a model that is live already stays live when its stage runs again
    setting.publish(old, live_model=None)
    assert setting.live() == old[1:]


def test_no_job_stops_the_old_model_unless_the_deployment_does(setting: Setting) -> None:
    # Given a deployment that leaves the previous model running, and an execution that was started past the API
    old, new = setting.model(), setting.model()
    setting.publish(old)
    # When it asks for the other
    published = setting.publish(new, stop_previous=True, may_stop=False)
    # Then the previous model runs on
    assert published == ModelPublished(new[2], old[2], False)
    assert setting.rekognition.versions[old[0]]["Status"] == "RUNNING"


def test_a_second_run_does_not_stop_its_own_model(setting: Setting) -> None:
    old, new = setting.model(), setting.model()
    setting.publish(old)
    first, second = (setting.publish(new, stop_previous=True) for _ in range(2))
    assert first == second == ModelPublished(new[2], old[2], True)
    assert setting.rekognition.versions[new[0]]["Status"] == "RUNNING"


def test_a_run_that_crashed_between_the_parameters_is_completed(setting: Setting) -> None:
    # Given a run that changed one parameter and died
    old, new = setting.model(), setting.model()
    setting.publish(old)
    setting.jobs.note(new[0], PreviousProject=old[1], PreviousModel=old[2])
    setting.ssm.put_parameter(Name=PROJECT, Value=new[1], Overwrite=True)
    # When the stage runs again
    published = setting.publish(new, stop_previous=True)
    # Then the job's own project is not taken for the previous one
    assert published == ModelPublished(new[2], old[2], True)
    assert setting.live() == new[1:]


def test_jobs_that_publish_at_once_do_it_one_after_the_other(setting: Setting) -> None:
    # Given two jobs, of which one comes while the other is between the two parameters
    one, other = setting.model(), setting.model()
    put, refusals = setting.ssm.put_parameter, list[Throttled]()

    def interrupted(**parameter: Any) -> Any:
        if parameter["Name"] == MODEL and not refusals:
            with pytest.raises(Throttled, match="Another job") as refusal:
                setting.publish(other, stop_previous=True)
            refusals.append(refusal.value)
        return put(**parameter)

    setting.ssm.put_parameter = interrupted
    setting.publish(one)
    # Then that one is sent away, and changes nothing
    assert refusals
    assert setting.live() == one[1:]
    # And when it comes again, it knows the one before it
    assert setting.publish(other, stop_previous=True) == ModelPublished(other[2], one[2], True)
    assert setting.live() == other[1:]


def test_the_lock_of_a_crashed_publication_expires(setting: Setting, monkeypatch: pytest.MonkeyPatch) -> None:
    # Given a job that broke off between the two parameters
    dead, other = setting.model(), setting.model()

    with monkeypatch.context() as patched:
        patched.setattr(clients.dynamodb, "update_item", unless_it_releases(clients.dynamodb.update_item))
        with pytest.raises(KeyboardInterrupt):
            setting.publish(dead)
        # Then another one is sent away, and its own second try is not
        with pytest.raises(Throttled):
            setting.publish(other)
        with pytest.raises(KeyboardInterrupt):
            setting.publish(dead)
    # And after two minutes it gets in
    monkeypatch.setattr(live_lock, "now_ms", lambda: now_ms() + live_lock.LEASE_MS + 1)
    setting.publish(other)
    assert setting.live() == other[1:]


def unless_it_releases(update_item: Any) -> Any:
    def update(**request: Any) -> Any:
        if request["UpdateExpression"].startswith("REMOVE Job"):
            raise KeyboardInterrupt
        return update_item(**request)

    return update


def test_a_previous_model_that_is_gone_is_no_hindrance(setting: Setting) -> None:
    old, new = setting.model(), setting.model()
    setting.publish(old)
    setting.rekognition.versions.pop(old[0])
    assert setting.publish(new, stop_previous=True) == ModelPublished(new[2], old[2], False)


def test_a_missing_parameter_is_no_quiet_success(setting: Setting) -> None:
    setting.ssm.delete_parameter(Name=MODEL)
    error: Any = setting.ssm.exceptions.ParameterNotFound
    with pytest.raises(error):
        setting.publish(setting.model())
