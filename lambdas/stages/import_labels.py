"""Import labels: check the Ground Truth output manifest or COCO file that came with the job."""

from dataclasses import dataclass

from pipeline import labels
from pipeline.jobs import jobs
from pipeline.labels import ImportLabels, LabelsImported
from pipeline.settings import Settings as BaseSettings
from rules import states
from stages.stage import measure, stage


@dataclass(frozen=True)
class Settings(BaseSettings):
    bucket: str
    max_unmatched_share: float


settings = Settings.from_env()


@stage
def handler(request: ImportLabels) -> LabelsImported:
    # If the job waited for these labels, they have answered the token.
    jobs.advance(
        request.job_id,
        states.IMPORT_LABELS,
        LabelProvider=labels.PROVIDER,
        TaskToken=None,
        PostedLabels=None,
    )
    imported = labels.import_labels(request, bucket=settings.bucket, max_unmatched_share=settings.max_unmatched_share)
    jobs.note(
        request.job_id,
        Labelled=imported.labelled,
        LabelsWithoutPhoto=imported.labels_without_photo,
        PhotosWithoutLabel=imported.photos_without_label,
    )
    measure(Labelled=imported.labelled)
    return imported
