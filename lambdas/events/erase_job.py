"""Erase job: erase one job when the API asks, and daily every job whose erasure is not complete."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from aws_lambda_powertools import Logger
from botocore.exceptions import BotoCoreError, ClientError

from pipeline import erasure, errors
from pipeline.jobs import erasures
from pipeline.page.tasks import Tasks
from pipeline.settings import Settings as BaseSettings


@dataclass(frozen=True)
class Settings(BaseSettings):
    jobs_index: str
    bucket: str
    tasks_table: str
    tasks_index: str


settings = Settings.from_env()
tasks = Tasks(settings.tasks_table, settings.tasks_index)
logger = Logger()


@logger.inject_lambda_context(clear_state=True)
def handler(event: Mapping[str, Any], _context: Any) -> None:
    """Erase the job ``jobId``; without it, every job whose erasure is not complete. Tries all jobs before it fails."""
    failure: errors.PipelineError | None = None
    for job_id in [event["jobId"]] if "jobId" in event else erasures.list_open_ids(settings.jobs_index):
        logger.append_keys(job_id=job_id)
        try:
            erasure.erase(job_id, bucket=settings.bucket, tasks=tasks)
        except (ClientError, BotoCoreError, errors.PipelineError) as error:
            failure = error if isinstance(error, errors.PipelineError) else errors.as_pipeline_error(error)
            logger.error("Not erased", extra={"error": type(failure).__name__})
    if failure:
        raise failure from None
