"""What runs now: the oldest execution, and the models with what they cost.

Rekognition does not report since when a model runs. The job's record does if the pipeline started the model. For a
model started elsewhere (the console, the CLI) the record has the time when it was first seen. For a model stopped
elsewhere the recorded run is ended, so that a later start does not count from the earlier one.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from aws_lambda_powertools import Logger
from botocore.exceptions import BotoCoreError, ClientError

from pipeline import models
from pipeline.clients import clients
from pipeline.errors import PipelineError, as_pipeline_error, error_code
from pipeline.jobs import Job, JobNotFound, jobs, model_hours, now_ms
from pipeline.notices import HOUR_MS, Channels, Notice
from rules import prices, states
from rules.names import JOB_PREFIX

if TYPE_CHECKING:
    from types_boto3_rekognition.type_defs import ProjectDescriptionTypeDef

# Of the 5 calls a second that each operation has in the account (AWS General Reference, Rekognition quotas): the
# pipeline's own polls need the others.
SECONDS_BETWEEN_PROJECTS = 0.5

logger = Logger(child=True)


@dataclass(frozen=True)
class Executions:
    """How many executions run, and for how many hours the oldest of them, since its start or its last redrive."""

    count: int
    oldest_hours: float


@dataclass(frozen=True)
class Model:
    """A model that runs or starts; ``since`` in Unix ms, None when it is unknown."""

    job: Job
    arn: str
    project_arn: str
    status: str
    since: int | None
    inference_units: int
    is_live: bool

    @property
    def hours(self) -> float | None:
        return None if self.since is None else (now_ms() - self.since) / HOUR_MS

    @property
    def dollars_an_hour(self) -> float:
        """At list price and for the least of its inference units."""
        return self.inference_units * prices.INFERENCE_UNIT_HOUR


@dataclass(frozen=True)
class Found:
    """The models of this deployment's jobs that run, and the projects that could not be read, with the error."""

    models: Sequence[Model]
    not_looked_at: Sequence[tuple[str, PipelineError]]


def executions(state_machine_arn: str) -> Executions:
    """Ask Step Functions which executions of the state machine run."""
    pages = clients.stepfunctions.get_paginator("list_executions").paginate(
        stateMachineArn=state_machine_arn, statusFilter="RUNNING"
    )
    ages = [
        (datetime.now(UTC) - (execution.get("redriveDate") or execution["startDate"])).total_seconds() / 3600
        for page in pages
        for execution in page["executions"]
    ]
    return Executions(len(ages), max(ages, default=0.0))


def find_models(*, model_parameter: str, pause: Callable[[float], None]) -> Found:
    """Ask Rekognition which models of this deployment's jobs run, and correct their start times in the records.

    ``pause`` waits for a number of seconds. A project that cannot be read does not keep the others from being read.
    """
    live = clients.ssm.get_parameter(Name=model_parameter)["Parameter"]["Value"]
    found: list[Model] = []
    failures: list[tuple[str, PipelineError]] = []
    for place, project in enumerate(_projects()):
        if place:
            pause(SECONDS_BETWEEN_PROJECTS)
        name = project["ProjectArn"].split("/")[1]
        try:
            found += _models(name, project["ProjectArn"], live)
        except (ClientError, BotoCoreError) as error:
            failures.append((name, as_pipeline_error(error)))
            logger.error("Project not looked at", extra={"job_id": name, "error": type(failures[-1][1]).__name__})
    return Found(sorted(found, key=lambda model: model.since or 0), failures)


def stop_long_running(found: Sequence[Model], most_hours: int, *, channels: Channels) -> PipelineError | None:
    """Stop every model that has run for more than ``most_hours``, also the live one; returns the last failure, or None.

    Models with an unknown start and models of running jobs are not stopped. The notice is sent before the stop: a crash
    in between sends it again, and no model is stopped without a notice. An event that cannot be sent does not prevent
    the stop.
    """
    failures: list[PipelineError] = []

    @contextmanager
    def attempt(model: Model, what_failed: str) -> Iterator[None]:
        try:
            yield
        except (ClientError, BotoCoreError, PipelineError) as error:
            failures.append(error if isinstance(error, PipelineError) else as_pipeline_error(error))
            logger.error(what_failed, extra={"job_id": model.job.id, "error": type(failures[-1]).__name__})

    for model in found:
        if model.hours is None or model.hours <= most_hours or model.status != "RUNNING":
            continue
        if model.job.status in states.RUNNING:
            continue
        notice = stopping_notice(model, most_hours)
        with attempt(model, "Model not stopped"):
            channels.send_message(notice)
            with attempt(model, "Event not sent"):
                channels.send_event(notice)
            if models.stop_model(model.project_arn, model.arn) in models.DOWN:
                model_hours.record_stop(model.job.id)
    return failures[-1] if failures else None


def stopping_notice(model: Model, most_hours: int) -> Notice:
    """The notice before the stop of a model that has run for too long."""
    effect = "It is the live model: no document is found until a model is started." if model.is_live else ""
    lines = [
        f"The model of training job {model.job.id} has run for {model.hours:.1f} hours, more than the {most_hours} of "
        "the setting modelHours. It is being stopped, as the setting longRunningModels says.",
        *([effect] if effect else []),
        "",
        "To start it again:",
        f"  aws rekognition start-project-version --min-inference-units {model.inference_units} --project-version-arn "
        f"{model.arn}",
    ]
    return Notice(
        id=f"{model.job.id}/Stopping/{model.since}",
        kind="Model Stopping",
        subject=f"eKYC model is stopped after {model.hours:.0f} hours: {model.job.id}",
        lines=lines,
        resources=[model.arn],
        detail={
            "jobId": model.job.id,
            "projectArn": model.project_arn,
            "projectVersionArn": model.arn,
            "runningSince": model.since,
            "live": model.is_live,
            "inferenceUnits": model.inference_units,
        },
    )


def remind(found: Found, most_hours: int, channels: Channels) -> None:
    """Send the table of running models with what they cost; nothing when none runs and every project was looked at."""
    if not found.models and not found.not_looked_at:
        return
    dollars = sum(model.dollars_an_hour for model in found.models)
    count = len(found.models)
    lines = [
        f"Models that run: {count}, for {dollars:.2f} USD an hour ({dollars * 24:.2f} a day) at list price, also when "
        "nobody asks them.",
        "",
        *_table(found.models, most_hours),
        "",
    ]
    if any(_mark(model, most_hours) for model in found.models):
        lines += [f"(!) has run for more than {most_hours} hours, the setting modelHours.", ""]
    lines.append("To stop one (the live one finds documents: nothing does once it is stopped):")
    lines += [f"  aws rekognition stop-project-version --project-version-arn {model.arn}" for model in found.models]
    if found.not_looked_at:
        lines += ["", "These projects could not be looked at, a model of theirs may run too:"]
        lines += [f"  {name}: {type(error).__name__}" for name, error in found.not_looked_at]
    channels.publish(f"eKYC models running: {count}, {dollars:.2f} USD an hour", lines)


def _projects() -> "Iterator[ProjectDescriptionTypeDef]":
    for page in clients.rekognition.get_paginator("describe_projects").paginate():
        for project in page["ProjectDescriptions"]:
            if project["ProjectArn"].split("/")[1].startswith(JOB_PREFIX):
                yield project


def _models(name: str, project_arn: str, live: str) -> Iterator[Model]:
    """The running models of one project. Reads the record before it calls Rekognition, so the record is older."""
    try:
        job = jobs.get(name)
    except JobNotFound:
        return  # another deployment's project
    pages = clients.rekognition.get_paginator("describe_project_versions").paginate(ProjectArn=project_arn)
    try:
        versions = [version for page in pages for version in page["ProjectVersionDescriptions"]]
    except ClientError as error:
        if error_code(error) == "ResourceNotFoundException":  # deleted since it was listed
            return
        raise
    for version in versions:
        arn = version["ProjectVersionArn"]
        is_jobs_own = arn == job["ProjectVersionArn"]  # a resume may have trained another than the first
        units = version.get("MinInferenceUnits", 1)
        if version["Status"] in models.UP:
            since = job["ModelStartTime"] if is_jobs_own else None
            if is_jobs_own and since is None:
                since = now_ms()
                jobs.note_first(name, ModelStartTime=since, InferenceUnits=units)
            yield Model(job, arn, project_arn, version["Status"], since, units, arn == live)
        elif is_jobs_own and job["ModelStartTime"]:
            model_hours.record_stop(name)


def _mark(model: Model, most_hours: int) -> str:
    return " (!)" if (model.hours or 0) > most_hours else ""


def _table(found: Sequence[Model], most_hours: int) -> list[str]:
    rows = [("job and model", "running since (UTC)", "hours", "units", "USD/hour", "live")]
    for model in found:
        since = "unknown"
        if model.since is not None:
            since = datetime.fromtimestamp(model.since / 1000, UTC).strftime("%Y-%m-%d %H:%M")
        hours = "unknown" if model.hours is None else f"{model.hours:.1f}{_mark(model, most_hours)}"
        dollars, live = f"{model.dollars_an_hour:.2f}", "yes" if model.is_live else "no"
        rows.append((models.version_name(model.arn), since, hours, str(model.inference_units), dollars, live))
    widths = [max(len(row[place]) for row in rows) for place in range(len(rows[0]))]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
