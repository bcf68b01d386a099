"""Start training: create the job's model (a project version), which starts its training."""

from dataclasses import dataclass

from pipeline import models
from pipeline.errors import TrainingSlotsBusy
from pipeline.jobs import jobs, now_ms
from pipeline.models import StartTraining, TrainingStarted
from pipeline.settings import Settings as BaseSettings
from rules import states
from stages.stage import stage


@dataclass(frozen=True)
class Settings(BaseSettings):
    bucket: str
    kms_key_arn: str
    cost_tags: tuple[str, ...]


settings = Settings.from_env()


@stage
def handler(request: StartTraining) -> TrainingStarted:
    jobs.advance(request.job_id, states.START_TRAINING)
    try:
        started = models.start_training(
            request, bucket=settings.bucket, kms_key_arn=settings.kms_key_arn, cost_tags=settings.cost_tags
        )
    except TrainingSlotsBusy:
        jobs.advance(
            request.job_id, states.START_TRAINING, detail="Waiting: the account's quota of trainings is in use"
        )
        raise
    jobs.note_first(request.job_id, ProjectVersionArn=started.project_version_arn, TrainingStartTime=now_ms())
    return started
