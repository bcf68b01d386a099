"""Plan photos: divide the job's photos into batches."""

from dataclasses import dataclass

from pipeline.jobs import jobs
from pipeline.photos import planning
from pipeline.photos.planning import PhotosPlanned, PlanPhotos
from pipeline.settings import Settings as BaseSettings
from rules import states
from stages.stage import stage


@dataclass(frozen=True)
class Settings(BaseSettings):
    bucket: str


settings = Settings.from_env()


@stage
def handler(request: PlanPhotos) -> PhotosPlanned:
    jobs.advance(request.job_id, states.PLAN_PHOTOS)
    planned = planning.plan(request, bucket=settings.bucket)
    # The functions of Check photos are many, and each checks a part of the photos, so this one records the next task.
    jobs.advance(request.job_id, states.CHECK_PHOTOS, Photos=planned.photos)
    return planned
