"""Record outcome: Step Functions says that an execution has ended, so write it to the job and tell the topic."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from aws_lambda_powertools import Logger

from pipeline import aws, outcomes
from pipeline.jobs import Jobs
from pipeline.settings import Settings as BaseSettings


@dataclass(frozen=True)
class Settings(BaseSettings):
    jobs_table: str
    notifications_topic: str


settings = Settings.from_env()
jobs = Jobs(settings.jobs_table, aws.client("dynamodb"))
stepfunctions = aws.client("stepfunctions")
sns = aws.client("sns")
logger = Logger()


@logger.inject_lambda_context
def handler(event: Mapping[str, Any], _context: Any) -> None:
    execution_arn = event["detail"]["executionArn"]
    job = outcomes.record(execution_arn.rpartition(":")[2], execution_arn, jobs=jobs, stepfunctions=stepfunctions)
    if job:
        outcomes.notify(job, jobs=jobs, topic=settings.notifications_topic, sns=sns)
