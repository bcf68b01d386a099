"""Resume labelling: a Ground Truth labelling job has ended, so answer the task token and send the notices."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from aws_lambda_powertools import Logger

from pipeline import aws, labelling, notices
from pipeline.jobs import Jobs
from pipeline.settings import Settings as BaseSettings


@dataclass(frozen=True)
class Settings(BaseSettings):
    jobs_table: str
    notifications_topic: str


settings = Settings.from_env()
jobs = Jobs(settings.jobs_table, aws.client("dynamodb"))
sagemaker = aws.client("sagemaker")
stepfunctions = aws.client("stepfunctions")
channels = notices.Channels(settings.notifications_topic, sns=aws.client("sns"), events=aws.client("events"))
notify = partial(notices.notify_labelled, jobs=jobs, channels=channels)
logger = Logger()


@logger.inject_lambda_context
def handler(event: Mapping[str, Any], _context: Any) -> None:
    labelling.resume_execution(event, jobs=jobs, sagemaker=sagemaker, stepfunctions=stepfunctions, notify=notify)
