"""Check datasets: poll whether both datasets are ready."""

from pipeline import projects
from pipeline.jobs import jobs
from pipeline.projects import CheckDatasets, DatasetsChecked
from pipeline.settings import Settings
from rules import states
from stages.stage import measure, seconds_since, stage

settings = Settings.from_env()


@stage
def handler(request: CheckDatasets) -> DatasetsChecked:
    checked = projects.check_datasets(request)
    jobs.advance(
        request.job_id,
        states.CHECK_DATASETS,
        detail=f"Datasets: poll {request.poll}, TRAIN {checked.train_status}, TEST {checked.test_status}",
        Poll=request.poll,
        DatasetCreated=checked.ready,
    )
    if checked.ready:
        measure("Seconds", DatasetTime=seconds_since(request.waiting_since))
    return checked
