"""Request labels: store the task token, then find or create the labelling job or tasks whose end answers it."""

from dataclasses import dataclass
from functools import partial

from pipeline import labelling, notices
from pipeline.labelling import LabelsRequested, RequestLabels
from pipeline.page.requesting import Page, request_page
from pipeline.page.tasks import Tasks
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
    tasks_table: str
    tasks_index: str
    answers_per_photo: int
    blind_share: float
    review_share: float
    proposals: bool
    retention_days: int


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
page = Page(
    tasks=Tasks(settings.tasks_table, settings.tasks_index),
    bucket=settings.bucket,
    answers_per_photo=settings.answers_per_photo,
    blind_share=settings.blind_share,
    review_share=settings.review_share,
    proposals=settings.proposals,
    retention_days=settings.retention_days,
)


@stage
def handler(request: RequestLabels) -> LabelsRequested:
    return labelling.request_labels(
        request, ground_truth, page=partial(request_page, page=page, notify=notify), notify=notify
    )
