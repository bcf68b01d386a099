"""Resume labelling: answer the task token when a Ground Truth labelling job has ended, and send the notices."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from aws_lambda_powertools import Logger

from pipeline import labelling, notices
from pipeline.settings import Settings as BaseSettings


@dataclass(frozen=True)
class Settings(BaseSettings):
    notifications_topic: str


settings = Settings.from_env()
channels = notices.Channels(settings.notifications_topic)
notify = partial(notices.notify_labelled, channels=channels)
logger = Logger()


@logger.inject_lambda_context
def handler(event: Mapping[str, Any], _context: Any) -> None:
    labelling.resume_execution(event, notify=notify)
