"""Prepare datasets: keep the labelled lines that Rekognition can train on and split them into training and test."""

from dataclasses import dataclass

from pipeline import datasets
from pipeline.datasets import DatasetsPrepared, PrepareDatasets
from pipeline.jobs import jobs
from pipeline.settings import Settings as BaseSettings
from rules import states
from stages.stage import measure, seconds_since, stage


@dataclass(frozen=True)
class Settings(BaseSettings):
    bucket: str
    max_rejected_share: float


settings = Settings.from_env()


@stage
def handler(request: PrepareDatasets) -> DatasetsPrepared:
    jobs.advance(request.job_id, states.PREPARE_DATASETS)
    prepared = datasets.prepare(request, bucket=settings.bucket, max_rejected_share=settings.max_rejected_share)
    jobs.note(
        request.job_id,
        TrainImages=prepared.train_images,
        TestImages=prepared.test_images,
        Dropped=prepared.dropped,
    )
    measure(TrainImages=prepared.train_images, TestImages=prepared.test_images, Dropped=prepared.dropped)
    if requested := jobs.get(request.job_id)["LabelsRequestedTime"]:  # absent if the labels came with the start
        measure("Seconds", LabellingTime=seconds_since(requested))
    return prepared
