"""Collect photos: list the photos to label, in groups of the same shot, and the rejected photos with their reasons."""

from dataclasses import dataclass

from pipeline.jobs import jobs
from pipeline.photos import collecting
from pipeline.photos.collecting import CollectPhotos, ImagesChecked
from pipeline.settings import Settings as BaseSettings
from rules import states
from stages.stage import measure, stage


@dataclass(frozen=True)
class Settings(BaseSettings):
    bucket: str
    min_images: int
    max_rejected_share: float


settings = Settings.from_env()


@stage
def handler(request: CollectPhotos) -> ImagesChecked:
    jobs.advance(request.job_id, states.COLLECT_PHOTOS)
    checked = collecting.collect(
        request,
        bucket=settings.bucket,
        min_images=settings.min_images,
        max_rejected_share=settings.max_rejected_share,
    )
    jobs.note(
        request.job_id,
        Images=checked.accepted,
        Rejected=checked.rejected,
        Duplicates=checked.duplicates,
        Turned=checked.turned,
    )
    measure(Images=checked.accepted, Rejected=checked.rejected, Duplicates=checked.duplicates, Turned=checked.turned)
    return checked
