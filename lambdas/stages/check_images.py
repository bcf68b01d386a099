"""Check images: list the photos to label, turned upright, and the rejected photos with their reasons."""

from dataclasses import dataclass
from typing import Any

from pipeline import images
from pipeline.images import CheckImages, ImagesChecked
from pipeline.jobs import jobs
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
def handler(request: CheckImages, context: Any) -> ImagesChecked:
    jobs.advance(request.job_id, states.CHECK_IMAGES)
    checked = images.check(
        request,
        bucket=settings.bucket,
        min_images=settings.min_images,
        max_rejected_share=settings.max_rejected_share,
        seconds_left=lambda: context.get_remaining_time_in_millis() / 1000,
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
