"""Check model: poll whether the job's model runs."""

from pipeline import models
from pipeline.jobs import jobs
from pipeline.models import CheckModel, ModelStatus
from pipeline.settings import Settings
from rules import states
from stages.stage import measure, seconds_since, stage

settings = Settings.from_env()


@stage
def handler(request: CheckModel) -> ModelStatus:
    checked = models.check_model(request)
    jobs.advance(
        request.job_id,
        states.CHECK_MODEL,
        detail=f"Model start: poll {request.poll}, {checked.status}",
        Poll=request.poll,
    )
    if checked.status == "RUNNING":
        measure("Seconds", ModelStartupTime=seconds_since(request.waiting_since))
    return checked
