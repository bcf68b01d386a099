"""Prepare datasets: keep the labelled lines that Rekognition can train on and split them into training and test."""

from dataclasses import dataclass

from pipeline import aws, datasets
from pipeline.datasets import DatasetsPrepared, PrepareDatasets
from pipeline.jobs import Jobs
from pipeline.settings import Settings as BaseSettings
from rules import states
from stages.stage import measure, seconds_since, stage


@dataclass(frozen=True)
class Settings(BaseSettings):
    jobs_table: str
    bucket: str
    max_rejected_share: float


settings = Settings.from_env()
jobs = Jobs(settings.jobs_table, aws.client("dynamodb"))
s3 = aws.client("s3")


@stage
def handler(request: PrepareDatasets) -> DatasetsPrepared:
    jobs.advance(request.job_id, states.PREPARE_DATASETS)
    prepared = datasets.prepare(request, bucket=settings.bucket, max_rejected_share=settings.max_rejected_share, s3=s3)
    jobs.note(
        request.job_id,
        TrainImages=prepared.train_images,
        TestImages=prepared.test_images,
        Dropped=prepared.dropped,
    )
    measure(TrainImages=prepared.train_images, TestImages=prepared.test_images, Dropped=prepared.dropped)
    if requested := jobs.get(request.job_id)["LabelsRequestedTime"]:  # none when the labels came with the start
        measure("Seconds", LabellingTime=seconds_since(requested))
    return prepared
