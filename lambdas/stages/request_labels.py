"""Request labels: store the task token, then find or create the labelling job whose end answers it."""

from dataclasses import dataclass
from functools import partial

from pipeline import labelling, notices
from pipeline.labelling import LabelsRequested, RequestLabels
from pipeline.settings import Settings as BaseSettings
from stages.stage import stage


@dataclass(frozen=True)
class Settings(BaseSettings):
    bucket: str
    work_team_arn: str
    labelling_role_arn: str
    workers_per_image: int
    kms_key_arn: str
    cost_tags: tuple[str, ...]
    notifications_topic: str


settings = Settings.from_env()
ground_truth = labelling.GroundTruth(
    bucket=settings.bucket,
    work_team=settings.work_team_arn,
    role=settings.labelling_role_arn,
    workers_per_image=settings.workers_per_image,
    kms_key_arn=settings.kms_key_arn,
    cost_tags=settings.cost_tags,
)
notify = partial(notices.notify_labelled, channels=notices.Channels(settings.notifications_topic))


@stage
def handler(request: RequestLabels) -> LabelsRequested:
    return labelling.request_labels(request, ground_truth, notify=notify)
