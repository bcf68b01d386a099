"""Makes the audit report of an execution and keeps it."""

import json
from typing import Any

from aws_lambda_powertools import Logger

from pipeline import executions
from pipeline.audit import history, inputs, page, report
from pipeline.audit.store import FINAL, PROVISIONAL, Store, key
from pipeline.clients import clients
from pipeline.jobs import Job, JobNotFound, jobs

logger = Logger(child=True)


def export(execution_arn: str, *, bucket: str, store: Store) -> None:
    """Make and keep the report of the execution's current state, unless a report of the same end exists.

    A report is never made twice, because its inputs, such as the job's files, expire. The page is made after the
    report, from the report that is kept: when two functions run at a time, the first report counts and the page shows
    that one.
    """
    name, job_id = execution_arn.rpartition(":")[2], executions.job_id(execution_arn)
    described = clients.stepfunctions.describe_execution(executionArn=execution_arn)
    object_key, ended = key(job_id, name, "json"), described.get("stopDate")
    first = store.kept(object_key).first(history.milliseconds(ended)) if ended else None
    if first is None:
        made = _make(execution_arn, bucket=bucket, store=store)
        store.put(made)
        logger.info("Report kept", extra={"provisional": made["provisional"]})
        if made["provisional"]:
            store.put_page(made, page.render(made))
            return
        first = store.kept(object_key).first(made["inputs"]["execution"]["stopDate"])
    if first and store.page_of(first) is None:
        kept = json.loads(store.body(first))
        store.put_page(kept, page.render(kept))


def _make(execution_arn: str, *, bucket: str, store: Store) -> dict[str, Any]:
    """The report of the execution's current state."""
    name, job_id = execution_arn.rpartition(":")[2], executions.job_id(execution_arn)
    made_from = inputs.gather(execution_arn, _job(job_id), bucket=bucket)
    ended = made_from["execution"].get("stopDate")
    object_key = key(job_id, name, "json", folder=PROVISIONAL if ended is None else FINAL)
    return report.build(
        made_from,
        job_id=job_id,
        stored=f"s3://{store.bucket}/{object_key}",
        previous=store.previous(job_id, ended),
    )


def _job(job_id: str) -> Job | None:
    try:
        return jobs.get(job_id)
    except JobNotFound:
        logger.info("The execution belongs to no job of the pipeline")
        return None
