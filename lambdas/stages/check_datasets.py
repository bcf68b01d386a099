"""Check datasets: how far Rekognition is with the datasets."""

from dataclasses import dataclass

from pipeline import aws, projects
from pipeline.jobs import Jobs
from pipeline.projects import CheckDatasets, DatasetsChecked
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
def handler(request: CheckDatasets) -> DatasetsChecked:
    checked = projects.check_datasets(request, rekognition=rekognition)
    jobs.advance(
        request.job_id,
        states.CHECK_DATASETS,
        detail=f"Datasets: poll {request.poll}, TRAIN {checked.train_status}, TEST {checked.test_status}",
        Poll=request.poll,
        DatasetCreated=checked.ready,
    )
    if checked.ready:
        measure("Seconds", DatasetTime=seconds_since(request.waiting_since))
    return checked
