"""Record outcome: an execution has ended, so write it to the job, tell the topic and stop what it left running.

Also called by a schedule, without an event: then for every job whose end may have been missed or is not dealt with.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from aws_lambda_powertools import Logger
from botocore.exceptions import BotoCoreError, ClientError

from pipeline import aws, cleanup, errors, outcomes
from pipeline.jobs import Jobs
from pipeline.settings import Settings as BaseSettings


@dataclass(frozen=True)
class Settings(BaseSettings):
    jobs_table: str
    jobs_index: str
    notifications_topic: str
    project_parameter: str
    model_parameter: str


settings = Settings.from_env()
jobs = Jobs(settings.jobs_table, aws.client("dynamodb"))
stepfunctions = aws.client("stepfunctions")
sns = aws.client("sns")
rekognition = aws.client("rekognition")
ssm = aws.client("ssm")
logger = Logger()


@logger.inject_lambda_context(clear_state=True)
def handler(event: Mapping[str, Any], context: Any) -> None:
    """Settle the execution of the event, or without one every job that is unsettled. Fails once it has tried all."""
    if "detail" in event:
        _settle(event["detail"]["executionArn"], context.aws_request_id)
        return
    failure: errors.PipelineError | None = None
    for job_id, execution_arn in jobs.unsettled(settings.jobs_index):
        logger.append_keys(job_id=job_id)
        try:
            _settle(execution_arn, context.aws_request_id)
        except (ClientError, BotoCoreError) as error:
            if isinstance(error, ClientError) and errors.error_code(error) == "ExecutionDoesNotExist":
                continue  # a start that got no further than the record: the next start goes on from there
            failure = errors.named(error)
            logger.error("Not settled", extra={"error": type(failure).__name__})
    if failure:
        raise failure from None


def _settle(execution_arn: str, request_id: str) -> None:
    job_id = execution_arn.rpartition(":")[2]
    job = outcomes.record(job_id, execution_arn, jobs=jobs, stepfunctions=stepfunctions)
    if not job:
        return
    # What costs money first: a message that cannot be sent must not keep a model running.
    cleanup.tidy(
        job,
        jobs=jobs,
        rekognition=rekognition,
        ssm=ssm,
        project_parameter=settings.project_parameter,
        model_parameter=settings.model_parameter,
    )
    outcomes.notify(job, request_id, jobs=jobs, topic=settings.notifications_topic, sns=sns)
