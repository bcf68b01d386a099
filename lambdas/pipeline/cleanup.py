"""What a job that has ended leaves behind and must not: a model that costs money and a half-published one."""

from typing import Any

from aws_lambda_powertools import Logger

from pipeline import models
from pipeline.jobs import Job, Jobs, Status
from pipeline.publishing import NONE_YET, read_parameter

GAVE_NO_MODEL = (Status.FAILED, Status.REJECTED, Status.STOPPED)

logger = Logger(child=True)


def tidy(job: Job, *, jobs: Jobs, rekognition: Any, ssm: Any, project_parameter: str, model_parameter: str) -> None:
    """Stop the model of a job that ended otherwise than Ready, unless that model is the live one.

    A model that is STARTING cannot be stopped yet: ``ModelLeft`` in the record says so, and this is to be called again
    (`Jobs.unsettled`). Should somebody resume the job in this moment, its execution starts the model again.

    When the job failed between the two parameters of the live model, the first is put back.
    """
    model, project = job["ProjectVersionArn"], job["ProjectArn"]
    if job.status not in GAVE_NO_MODEL or not model:
        return
    left = False
    if read_parameter(model_parameter, ssm) != model:
        if read_parameter(project_parameter, ssm) == project:
            before = job["PreviousProject"] or NONE_YET
            ssm.put_parameter(Name=project_parameter, Value=before, Type="String", Overwrite=True)
            logger.warning("The project of the live model was put back")
        status = models.stop_model(project, model, rekognition=rekognition)
        if status in models.DOWN:
            jobs.model_stopped(job.id)
        left = status == "STARTING"
    if left or job["ModelLeft"]:
        jobs.note(job.id, ModelLeft=left or None)
