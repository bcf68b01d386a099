"""Finish labelling: when a person may have given the last answer, merge the answers and answer the task token."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from aws_lambda_powertools import Logger

from pipeline import notices
from pipeline.page import finishing
from pipeline.page.tasks import Tasks
from pipeline.settings import Settings as BaseSettings


@dataclass(frozen=True)
class Settings(BaseSettings):
    bucket: str
    tasks_table: str
    tasks_index: str
    notifications_topic: str


settings = Settings.from_env()
tasks = Tasks(settings.tasks_table, settings.tasks_index)
notify = partial(notices.notify_labelled, channels=notices.Channels(settings.notifications_topic))
logger = Logger()


@logger.inject_lambda_context
def handler(event: Mapping[str, Any], _context: Any) -> None:
    job_id = event["jobId"]
    logger.append_keys(job_id=job_id)
    done = finishing.finish(job_id, tasks, bucket=settings.bucket, notify=notify)
    logger.info("All photos are labelled" if done else "Photos are open")
