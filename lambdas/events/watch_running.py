"""Watch running: hourly metrics of the oldest execution and the running models; a daily reminder of running models."""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from aws_lambda_powertools import Logger, Metrics

from pipeline import notices, running
from pipeline.settings import Settings as BaseSettings


@dataclass(frozen=True)
class Settings(BaseSettings):
    notifications_topic: str
    state_machine_arn: str
    model_parameter: str
    model_hours: int
    stop_long_running_models: bool


settings = Settings.from_env()
channels = notices.Channels(settings.notifications_topic)
logger = Logger()
metrics = Metrics()


@logger.inject_lambda_context
def handler(event: Mapping[str, Any], _context: Any) -> None:
    """Measure what runs. With ``remind``, send the reminder; otherwise stop the models that exceed modelHours.

    Raises:
        PipelineError: a project could not be read or a model could not be stopped. All others are handled first. With
            ``remind``, nothing is raised, because Lambda's retry would send the message again: it lists such projects.
    """
    executions = running.executions(settings.state_machine_arn)
    metrics.add_metric(name="RunningExecutions", unit="Count", value=executions.count)
    metrics.add_metric(name="OldestExecutionHours", unit="None", value=executions.oldest_hours)
    metrics.flush_metrics()  # before the calls about models, which may take a minute and fail
    models, unread = running.find_models(model_parameter=settings.model_parameter, pause=time.sleep)
    metrics.add_metric(name="RunningModels", unit="Count", value=len(models))
    metrics.add_metric(
        name="LongestModelHours", unit="None", value=max((model.hours or 0 for model in models), default=0)
    )
    metrics.add_metric(name="ModelDollarsAnHour", unit="None", value=sum(model.dollars_an_hour for model in models))
    metrics.flush_metrics()
    if event.get("remind"):
        running.remind(models, unread, settings.model_hours, channels)
        return
    failure = unread[-1][1] if unread else None
    if settings.stop_long_running_models:
        failure = running.stop_long_running(models, settings.model_hours, channels=channels) or failure
    if failure:
        raise failure
