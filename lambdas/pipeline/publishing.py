"""Publishes a job's model: names it in the two SSM parameters that document-checking services read."""

from dataclasses import dataclass

from aws_lambda_powertools import Logger

from pipeline import models
from pipeline.clients import clients
from pipeline.errors import EvaluationOutdated
from pipeline.jobs import Job, jobs, live_lock, model_hours
from rules.bars import Bars

logger = Logger(child=True)

NONE_YET = "default"  # the parameters' value until a model is live; existing services expect this word


@dataclass(frozen=True)
class PublishModel:
    """The request of the state `Publish model`.

    ``live_model`` is the live model with which `Evaluate model` compared the job's model, or None. The bars are those
    that it applied.
    """

    job_id: str
    project_arn: str
    project_version_arn: str
    stop_previous: bool
    live_model: str | None
    min_f1: float
    min_label_f1: float
    max_f1_drop: float


@dataclass(frozen=True)
class ModelPublished:
    """The live model, and the model that was live before."""

    project_version_arn: str
    previous_model: str | None
    previous_stopped: bool


def read_parameter(name: str) -> str | None:
    """The ARN in the parameter, or None before the first model."""
    value: str = clients.ssm.get_parameter(Name=name)["Parameter"]["Value"]
    return None if value == NONE_YET else value


def publish(
    request: PublishModel, *, floors: Bars, may_stop_previous: bool, project_parameter: str, model_parameter: str
) -> ModelPublished:
    """Make the job's model the live model, and stop the previous live model if the request and the deployment allow it.

    ``floors`` and ``may_stop_previous`` are the deployment's settings.

    Records the previous model in the job's record before the first parameter changes. A second run reads it from there,
    because the parameters may already name the job's own model. The lock lets one job publish at a time. Without it,
    two jobs could record the same previous model, or the two parameters could name models of different jobs.

    A job may wait for days between its evaluation and this stage. So the evaluation must still hold::

        this job      evaluated: better than model A                          refused
        another job                                    model B goes live

    Raises:
        EvaluationOutdated: another model went live, or the deployment's bars were raised, after the evaluation.
        Throttled: another job holds the lock on the live model.
    """
    with live_lock.hold(request.job_id):
        live_project, live = read_parameter(project_parameter), read_parameter(model_parameter)
        if live != request.project_version_arn:
            _require_valid_evaluation(request, live, floors)
        if live_project != request.project_arn and live != request.project_version_arn:
            jobs.note(request.job_id, PreviousProject=live_project, PreviousModel=live)
        clients.ssm.put_parameter(Name=project_parameter, Value=request.project_arn, Type="String", Overwrite=True)
        clients.ssm.put_parameter(
            Name=model_parameter, Value=request.project_version_arn, Type="String", Overwrite=True
        )

    job = jobs.get(request.job_id)
    previous, previous_project = job["PreviousModel"], job["PreviousProject"]
    stopped = False
    if may_stop_previous and request.stop_previous and previous and previous_project:
        stopped = models.stop_model(previous_project, previous) in models.DOWN
        if stopped:
            model_hours.record_stop(models.job_id(previous))
    return ModelPublished(request.project_version_arn, previous, stopped)


def _require_valid_evaluation(request: PublishModel, live: str | None, floors: Bars) -> None:
    if live != request.live_model:
        raise EvaluationOutdated("Another model went live after the evaluation of the job's model.")
    bars = Bars(request.min_f1, request.min_label_f1, request.max_f1_drop)
    if bars.raised_to(floors) != bars:
        raise EvaluationOutdated("The deployment's bars were raised after the evaluation of the job's model.")


def restore_project(job: Job, *, project_parameter: str, model_parameter: str) -> None:
    """Restore the previous value of the project's parameter if the job ended before it wrote the model's parameter.

    Raises:
        Throttled: another job holds the lock on the live model.
    """

    def is_half_written() -> bool:
        return (
            job["ProjectArn"] is not None
            and read_parameter(project_parameter) == job["ProjectArn"]
            and read_parameter(model_parameter) != job["ProjectVersionArn"]
        )

    if not is_half_written():
        return
    with live_lock.hold(job.id):
        if is_half_written():
            previous = job["PreviousProject"] or NONE_YET
            clients.ssm.put_parameter(Name=project_parameter, Value=previous, Type="String", Overwrite=True)
            logger.warning("The parameter of the live project was restored")
