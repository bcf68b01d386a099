"""Check photos: check a batch of photos, and write copies that are upright and without metadata."""

from dataclasses import dataclass
from typing import Any

from pipeline.photos import checking
from pipeline.photos.checking import BatchChecked, CheckPhotos
from pipeline.settings import Settings as BaseSettings
from stages.stage import measure, stage


@dataclass(frozen=True)
class Settings(BaseSettings):
    bucket: str


settings = Settings.from_env()


@stage
def handler(request: CheckPhotos, context: Any) -> BatchChecked:
    checked = checking.check(
        request,
        bucket=settings.bucket,
        seconds_left=lambda: context.get_remaining_time_in_millis() / 1000,
    )
    measure(Checked=checked.photos)
    return checked
