"""Create datasets: create the job's Rekognition project with its TRAIN and TEST datasets."""

from dataclasses import dataclass

from pipeline import projects
from pipeline.errors import DatasetSlotsBusy
from pipeline.jobs import jobs
from pipeline.projects import CreateDatasets, DatasetsCreated
from pipeline.settings import Settings as BaseSettings
from rules import states
from stages.stage import stage


@dataclass(frozen=True)
class Settings(BaseSettings):
    cost_tags: tuple[str, ...]


settings = Settings.from_env()


@stage
def handler(request: CreateDatasets) -> DatasetsCreated:
    jobs.advance(request.job_id, states.CREATE_DATASETS)
    try:
        created = projects.create_datasets(request, cost_tags=settings.cost_tags)
    except DatasetSlotsBusy:
        detail = "Waiting: the account's quota of datasets is in use"
        jobs.advance(request.job_id, states.CREATE_DATASETS, detail=detail)
        raise
    jobs.note(
        request.job_id,
        ProjectArn=created.project_arn,
        DatasetArn=created.train_dataset_arn,
        TestDatasetArn=created.test_dataset_arn,
    )
    return created
