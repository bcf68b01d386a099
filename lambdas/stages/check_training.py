"""Check training: how far the training is."""

from dataclasses import dataclass

from pipeline import aws, models
from pipeline.jobs import Jobs
from pipeline.models import CheckTraining, TrainingChecked
from pipeline.settings import Settings as BaseSettings
from rules import states
from stages.stage import measure, seconds_since, stage


@dataclass(frozen=True)
class Settings(BaseSettings):
    jobs_table: str


settings = Settings.from_env()
jobs = Jobs(settings.jobs_table, aws.client("dynamodb"))
rekognition = aws.client("rekognition")
s3 = aws.client("s3")


@stage
def handler(request: CheckTraining) -> TrainingChecked:
    checked, billed_seconds = models.check_training(request, rekognition=rekognition, s3=s3)
    jobs.advance(
        request.job_id,
        states.CHECK_TRAINING,
        detail=f"Training: poll {request.poll}, {checked.status.removeprefix('TRAINING_')}",
        Poll=request.poll,
        TrainingSeconds=billed_seconds,
    )
    if checked.completed:
        measure("Seconds", TrainingTime=seconds_since(request.waiting_since), BilledTrainingTime=billed_seconds)
    return checked
