"""Record outcome: record the end of an execution, stop what it left running, and send the notices."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from aws_lambda_powertools import Logger, Metrics

from pipeline import notices, outcomes, stopping
from pipeline.jobs import Job
from pipeline.page.tasks import Tasks
from pipeline.settings import Settings as BaseSettings
from rules.states import ENDED, Status


@dataclass(frozen=True)
class Settings(BaseSettings):
    notifications_topic: str
    model_parameter: str
    tasks_table: str
    tasks_index: str


settings = Settings.from_env()
channels = notices.Channels(settings.notifications_topic)
tasks = Tasks(settings.tasks_table, settings.tasks_index)
logger = Logger()
metrics = Metrics()


@logger.inject_lambda_context
def handler(event: Mapping[str, Any], _context: Any) -> None:
    execution_arn = event["detail"]["executionArn"]
    job = outcomes.record(execution_arn)
    if job is None:
        return
    try:
        # Stop what costs money first: a model must not keep running because a message cannot be sent.
        if job.status is not Status.READY:
            stopping.stop_what_runs(job, model_parameter=settings.model_parameter, tasks=tasks)
    finally:
        if notices.notify_end(job, channels=channels):
            measure(job)


def measure(job: Job) -> None:
    """Count the job's end, and measure the time since its start."""
    for status in ENDED:
        metrics.add_metric(name=status, unit="Count", value=job.status is status)
    began = job["ExecutionStartTime"] or job["StartTime"]
    metrics.add_metric(name="JobTime", unit="Seconds", value=(job["EndTime"] - began) / 1000)
    metrics.add_metadata("job_id", job.id)
    metrics.flush_metrics()
