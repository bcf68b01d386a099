"""How long a job's model has run, which determines its cost."""

from aws_lambda_powertools import Logger
from boto3.dynamodb.conditions import Attr

from pipeline.jobs.record import now_ms
from pipeline.jobs.table import JobNotFound, MoveRefused, increased, increased_by_attribute, jobs

logger = Logger(child=True)


def record_stop(job_id: str) -> None:
    """Record that the job's model was stopped: adds its running time to ``ModelSeconds``.

    A second call for the same stop finds no start time, and adds nothing.
    """
    try:
        jobs.update(
            job_id,
            {"ModelStartTime": None},
            computed={"ModelStops": increased(now_ms()), "ModelStarts": increased_by_attribute("ModelStartTime")},
            condition=Attr("ModelStartTime").exists(),
        )
    except (MoveRefused, JobNotFound) as refusal:
        logger.warning("Model stop not recorded", extra={"reason": type(refusal).__name__})
