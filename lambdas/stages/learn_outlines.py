"""Learn outlines: learn the outlines of the document types while Rekognition trains the model."""

from dataclasses import dataclass
from typing import Any

from pipeline import learning
from pipeline.jobs import jobs
from pipeline.learning import LearnOutlines, OutlinesLearned
from pipeline.settings import Settings as BaseSettings
from rules import states
from stages.stage import measure, stage


@dataclass(frozen=True)
class Settings(BaseSettings):
    bucket: str


settings = Settings.from_env()


@stage
def handler(request: LearnOutlines, context: Any) -> OutlinesLearned:
    jobs.advance(request.job_id, states.LEARN_OUTLINES)
    learned = learning.learn(
        request,
        bucket=settings.bucket,
        seconds_left=lambda: context.get_remaining_time_in_millis() / 1000,
    )
    measure(TypesOutlined=learned.learned, TypesWithoutOutline=learned.types - learned.learned)
    return learned
