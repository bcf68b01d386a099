"""Settle job: clean up after jobs that have ended, on a schedule and when a training writes its results.

Stops what still runs, and records and reports an end whose event was lost.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from aws_lambda_powertools import Logger
from botocore.exceptions import BotoCoreError, ClientError

from pipeline import errors, notices, stopping
from pipeline.clients import clients
from pipeline.jobs import Job, JobNotFound, ends
from pipeline.page.tasks import Tasks
from pipeline.settings import Settings as BaseSettings


@dataclass(frozen=True)
class Settings(BaseSettings):
    jobs_index: str
    notifications_topic: str
    project_parameter: str
    model_parameter: str
    export_function: str
    tasks_table: str
    tasks_index: str


settings = Settings.from_env()
channels = notices.Channels(settings.notifications_topic)
tasks = Tasks(settings.tasks_table, settings.tasks_index)
logger = Logger()


@logger.inject_lambda_context(clear_state=True)
def handler(event: Mapping[str, Any], _context: Any) -> None:
    """Settle the job whose training wrote an object, or on a schedule every job that is not settled.

    Tries all jobs before it fails.
    """
    failure: errors.PipelineError | None = None
    trained = _trained_job_id(event)
    for job_id in [trained] if trained else ends.list_unsettled_ids(settings.jobs_index):
        logger.append_keys(job_id=job_id)
        try:
            _settle(job_id)
        except JobNotFound:
            logger.info("The training belongs to no job of the pipeline")
        except (ClientError, BotoCoreError, errors.PipelineError) as error:
            failure = error if isinstance(error, errors.PipelineError) else errors.as_pipeline_error(error)
            logger.error("Not settled", extra={"error": type(failure).__name__})
    if failure:
        raise failure from None


def _settle(job_id: str) -> None:
    job = stopping.record_end(job_id)
    if job is None:
        return
    try:
        stopping.settle(
            job,
            project_parameter=settings.project_parameter,
            model_parameter=settings.model_parameter,
            tasks=tasks,
        )
    finally:  # report the end even if something could not be stopped
        if not notices.is_notified(job):
            _export(job)
        notices.notify_end(job, channels=channels)


def _export(job: Job) -> None:
    """Invoke ExportAudit, because the event that invokes it was lost. An existing report is kept."""
    clients.lambda_.invoke(
        FunctionName=settings.export_function,
        InvocationType="Event",
        Payload=json.dumps({"executionArn": job["ExecutionArn"]}),
    )


def _trained_job_id(event: Mapping[str, Any]) -> str | None:
    """The job id in the key ``training/<jobId>/...`` of an S3 event; None for a scheduled event.

    EventBridge gives a scheduled event an empty ``detail`` if its target has no input of its own.
    """
    s3_object = event.get("detail", {}).get("object")
    return s3_object["key"].split("/")[1] if s3_object else None
