"""Finds what runs now: the oldest execution, and the models with their cost. Sends reminders, and stops models.

Rekognition does not report when a model was started. If the pipeline started the model, the job's record has the time.
For a model that was started elsewhere (the console, the CLI), the record gets the time at which this module first finds
it running. For a model that was stopped elsewhere, this module records the stop, so that a later start gets a new time.
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

# The account may call each operation 5 times a second, and the jobs' own polls need most of these calls.
# Source: AWS General Reference, Rekognition quotas.
SECONDS_BETWEEN_PROJECTS = 0.5

logger = Logger(child=True)


@dataclass(frozen=True)
class Executions:
    """The number of running executions, and the hours since the oldest one's start or last redrive."""

    count: int
    oldest_hours: float


@dataclass(frozen=True)
class Model:
    """A running or starting model. ``since`` is its start in Unix ms, None if unknown."""

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
        """The list price in USD an hour, for the minimum number of inference units."""
        return prices.model_hour(self.inference_units)


Unread = Sequence[tuple[str, PipelineError]]
"""The names of projects that could not be read, each with the error."""


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


def find_models(*, model_parameter: str, pause: Callable[[float], None]) -> tuple[Sequence[Model], Unread]:
    """Ask Rekognition which models of this deployment's jobs run, and correct their start times in the records.

    Returns the models, ordered by start, and the projects that could not be read. ``pause`` waits for some seconds.
    """
    live = clients.ssm.get_parameter(Name=model_parameter)["Parameter"]["Value"]
    running: list[Model] = []
    failures: list[tuple[str, PipelineError]] = []
    for place, project in enumerate(_projects()):
        if place:
            pause(SECONDS_BETWEEN_PROJECTS)
        name = project["ProjectArn"].split("/")[1]
        try:
            running += _models(name, project["ProjectArn"], live)
        except (ClientError, BotoCoreError) as error:
            failures.append((name, as_pipeline_error(error)))
            logger.error("Project not read", extra={"job_id": name, "error": type(failures[-1][1]).__name__})
    return sorted(running, key=lambda model: model.since or 0), failures


def stop_long_running(running: Sequence[Model], most_hours: int, *, channels: Channels) -> PipelineError | None:
    """Stop every model that has run for more than ``most_hours``, even the live one; returns the last failure, or None.

    Does not stop models with an unknown start and models of running jobs. Sends the notice before the stop, so that no
    model is stopped without a notice; a retry after a crash in between sends it again. If the message cannot be sent,
    the model is not stopped. If only the event cannot be sent, the model is stopped.
    """
    failures: list[PipelineError] = []

    @contextmanager
    def attempt(model: Model, what_failed: str) -> Iterator[None]:
        try:
            yield
        except (ClientError, BotoCoreError, PipelineError) as error:
            failures.append(error if isinstance(error, PipelineError) else as_pipeline_error(error))
            logger.error(what_failed, extra={"job_id": model.job.id, "error": type(failures[-1]).__name__})

    for model in running:
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
    """The notice that announces the stop of a model."""
    effect = "It is the live model: services cannot check documents until a model is started." if model.is_live else ""
    lines = [
        f"The model of training job {model.job.id} has run for {model.hours:.1f} hours, more than the {most_hours} of "
        "the setting modelHours. The pipeline stops it, because the setting longRunningModels is stop.",
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


def remind(running: Sequence[Model], unread: Unread, most_hours: int, channels: Channels) -> None:
    """Send the table of running models with their cost, unless no model runs and every project was read."""
    if not running and not unread:
        return
    dollars = sum(model.dollars_an_hour for model in running)
    count = len(running)
    lines = [
        f"Running models: {count}, for {dollars:.2f} USD an hour ({dollars * 24:.2f} a day) at list price, even when "
        "they are not used.",
        "",
        *_table(running, most_hours),
        "",
    ]
    if any(_mark(model, most_hours) for model in running):
        lines += [f"(!) has run for more than {most_hours} hours, the setting modelHours.", ""]
    lines.append("To stop a model (services cannot check documents while the live model is stopped):")
    lines += [f"  aws rekognition stop-project-version --project-version-arn {model.arn}" for model in running]
    if unread:
        lines += ["", "These projects could not be read. They may have running models too:"]
        lines += [f"  {name}: {type(error).__name__}" for name, error in unread]
    channels.publish(f"eKYC models running: {count}, {dollars:.2f} USD an hour", lines)


def _projects() -> "Iterator[ProjectDescriptionTypeDef]":
    for page in clients.rekognition.get_paginator("describe_projects").paginate():
        for project in page["ProjectDescriptions"]:
            if project["ProjectArn"].split("/")[1].startswith(JOB_PREFIX):
                yield project


def _models(name: str, project_arn: str, live: str) -> Iterator[Model]:
    """The running models of one project.

    Reads the record before it asks Rekognition. In the other order, a start in between would be recorded as a stop.
    """
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
        is_jobs_own = arn == job["ProjectVersionArn"]  # a resumed job may have trained several models
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


def _table(running: Sequence[Model], most_hours: int) -> list[str]:
    rows = [("job and model", "running since (UTC)", "hours", "units", "USD/hour", "live")]
    for model in running:
        since = "unknown"
        if model.since is not None:
            since = datetime.fromtimestamp(model.since / 1000, UTC).strftime("%Y-%m-%d %H:%M")
        hours = "unknown" if model.hours is None else f"{model.hours:.1f}{_mark(model, most_hours)}"
        dollars, live = f"{model.dollars_an_hour:.2f}", "yes" if model.is_live else "no"
        rows.append((models.version_name(model.arn), since, hours, str(model.inference_units), dollars, live))
    widths = [max(len(row[place]) for row in rows) for place in range(len(rows[0]))]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
