"""Check training: poll whether the training has ended."""

from pipeline import models
from pipeline.jobs import jobs
from pipeline.models import CheckTraining, TrainingChecked
from pipeline.settings import Settings
from rules import states
from stages.stage import measure, seconds_since, stage

settings = Settings.from_env()


@stage
def handler(request: CheckTraining) -> TrainingChecked:
    checked, billed_seconds = models.check_training(request)
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
