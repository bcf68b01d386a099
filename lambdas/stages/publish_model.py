"""Publish model: make the job's model the live model."""

from dataclasses import dataclass

from pipeline import publishing
from pipeline.jobs import jobs, now_ms
from pipeline.publishing import ModelPublished, PublishModel
from pipeline.settings import Settings as BaseSettings
from rules import states
from rules.bars import Bars
from stages.stage import stage


@dataclass(frozen=True)
class Settings(BaseSettings):
    min_f1: float
    min_label_f1: float
    max_f1_drop: float
    stop_previous_model: bool
    project_parameter: str
    model_parameter: str


settings = Settings.from_env()


@stage
def handler(request: PublishModel) -> ModelPublished:
    jobs.advance(request.job_id, states.PUBLISH_MODEL)
    published = publishing.publish(
        request,
        floors=Bars(settings.min_f1, settings.min_label_f1, settings.max_f1_drop),
        may_stop_previous=settings.stop_previous_model,
        project_parameter=settings.project_parameter,
        model_parameter=settings.model_parameter,
    )
    jobs.note(request.job_id, PublishedTime=now_ms(), PreviousStopped=published.previous_stopped)
    return published
