"""Check model: whether the job's model runs."""

from dataclasses import dataclass

from pipeline import aws, models
from pipeline.jobs import Jobs
from pipeline.models import CheckModel, ModelStatus
from pipeline.settings import Settings as BaseSettings
from rules import states
from stages.stage import measure, seconds_since, stage


@dataclass(frozen=True)
class Settings(BaseSettings):
    jobs_table: str


settings = Settings.from_env()
jobs = Jobs(settings.jobs_table, aws.client("dynamodb"))
rekognition = aws.client("rekognition")


@stage
def handler(request: CheckModel) -> ModelStatus:
    checked = models.check_model(request, rekognition=rekognition)
    jobs.advance(
        request.job_id,
        states.CHECK_MODEL,
        detail=f"Model start: poll {request.poll}, {checked.status}",
        Poll=request.poll,
    )
    if checked.status == "RUNNING":
        measure("Seconds", ModelStartupTime=seconds_since(request.waiting_since))
    return checked
