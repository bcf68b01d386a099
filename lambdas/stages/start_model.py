"""Start model: start the job's model, unless it is starting or running."""

from dataclasses import dataclass

from pipeline import models
from pipeline.errors import RunningModelsLimit
from pipeline.jobs import jobs, now_ms
from pipeline.models import ModelStatus, StartModel
from pipeline.settings import Settings as BaseSettings
from rules import states
from stages.stage import stage


@dataclass(frozen=True)
class Settings(BaseSettings):
    inference_units: int


settings = Settings.from_env()


@stage
def handler(request: StartModel) -> ModelStatus:
    jobs.advance(request.job_id, states.START_MODEL)
    try:
        started = models.start_model(request, inference_units=settings.inference_units)
    except RunningModelsLimit:
        detail = "Waiting: the account's quota of running models is in use"
        jobs.advance(request.job_id, states.START_MODEL, detail=detail)
        raise
    jobs.note_first(request.job_id, ModelStartTime=now_ms(), InferenceUnits=settings.inference_units)
    return started
