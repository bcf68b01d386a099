"""Import labels: check the Ground Truth output manifest or COCO file that came with the job."""

from dataclasses import dataclass

from pipeline import aws, labels
from pipeline.jobs import Jobs
from pipeline.labels import ImportLabels, LabelsImported
from pipeline.settings import Settings as BaseSettings
from rules import states
from stages.stage import measure, stage


@dataclass(frozen=True)
class Settings(BaseSettings):
    jobs_table: str
    bucket: str
    max_unmatched_share: float


settings = Settings.from_env()
jobs = Jobs(settings.jobs_table, aws.client("dynamodb"))
s3 = aws.client("s3")


@stage
def handler(request: ImportLabels) -> LabelsImported:
    # Labels that were posted have answered the token, which is spent.
    jobs.advance(
        request.job_id,
        states.IMPORT_LABELS,
        LabelProvider=labels.PROVIDER,
        TaskToken=None,
        PostedLabels=None,
    )
    imported = labels.import_labels(
        request, bucket=settings.bucket, s3=s3, max_unmatched_share=settings.max_unmatched_share
    )
    jobs.note(
        request.job_id,
        Labelled=imported.labelled,
        LabelsWithoutPhoto=imported.labels_without_photo,
        PhotosWithoutLabel=imported.photos_without_label,
    )
    measure(Labelled=imported.labelled)
    return imported
