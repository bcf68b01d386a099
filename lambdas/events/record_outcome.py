"""Record outcome: an execution has ended, so write it to the job, tell the topic, and stop what was left running."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from aws_lambda_powertools import Logger

from pipeline import aws, outcomes, stopping
from pipeline.jobs import Jobs, Status
from pipeline.settings import Settings as BaseSettings


@dataclass(frozen=True)
class Settings(BaseSettings):
    jobs_table: str
    notifications_topic: str
    model_parameter: str


settings = Settings.from_env()
jobs = Jobs(settings.jobs_table, aws.client("dynamodb"))
stepfunctions = aws.client("stepfunctions")
sns = aws.client("sns")
sagemaker = aws.client("sagemaker")
rekognition = aws.client("rekognition")
ssm = aws.client("ssm")
logger = Logger()


@logger.inject_lambda_context
def handler(event: Mapping[str, Any], _context: Any) -> None:
    execution_arn = event["detail"]["executionArn"]
    job = outcomes.record(execution_arn, jobs=jobs, stepfunctions=stepfunctions)
    if job:
        outcomes.notify(job, jobs=jobs, topic=settings.notifications_topic, sns=sns)
    if job and job.status is not Status.READY:
        stopping.stop_what_runs(
            job,
            jobs=jobs,
            sagemaker=sagemaker,
            rekognition=rekognition,
            ssm=ssm,
            model_parameter=settings.model_parameter,
        )
