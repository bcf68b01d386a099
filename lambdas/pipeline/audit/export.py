"""Makes the audit report of an execution and keeps it."""

from typing import Any

from aws_lambda_powertools import Logger

from pipeline import executions
from pipeline.audit import history, inputs, report
from pipeline.audit.store import FINAL, PROVISIONAL, Store, key
from pipeline.jobs import Job, JobNotFound, Jobs

logger = Logger(child=True)


def export(execution_arn: str, *, bucket: str, store: Store, jobs: Jobs, stepfunctions: Any, s3: Any) -> None:
    """Keep the report of the execution as it is now, unless there is one of the same end.

    A report that is there is never made again: what it was made from, such as the job's files, goes in time.
    """
    name = execution_arn.rpartition(":")[2]
    job_id = executions.job_id(execution_arn)
    described = stepfunctions.describe_execution(executionArn=execution_arn)
    if described.get("stopDate"):
        found = store.find(key(job_id, name, "json"))
        if found and found.ended == history.milliseconds(described["stopDate"]):
            logger.info("The report is there already")
            return
    made_from = inputs.gather(execution_arn, _job(job_id, jobs), bucket=bucket, stepfunctions=stepfunctions, s3=s3)
    ended = made_from["execution"].get("stopDate")
    object_key = key(job_id, name, "json", folder=PROVISIONAL if ended is None else FINAL)
    store.put(
        report.build(
            made_from,
            job_id=job_id,
            stored=f"s3://{store.bucket}/{object_key}",
            previous=store.previous(job_id, ended),
        )
    )
    logger.info("Report kept", extra={"provisional": ended is None})


def _job(job_id: str, jobs: Jobs) -> Job | None:
    try:
        return jobs.get(job_id)
    except JobNotFound:
        logger.info("The execution belongs to no job of ours")
        return None
