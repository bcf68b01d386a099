"""Makes and stores the audit report of an execution."""

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
    """Make and store the report on the execution's current state, unless a report on the same end is stored.

    A report on an end is not made again, because its inputs, such as the job's files, expire. If two functions run at
    the same time, only the report that was stored first counts. So the page is rendered from that stored report.
    """
    name, job_id = execution_arn.rpartition(":")[2], executions.job_id(execution_arn)
    described = clients.stepfunctions.describe_execution(executionArn=execution_arn)
    object_key, ended = key(job_id, name, "json"), described.get("stopDate")
    first = store.list_versions(object_key).first(history.milliseconds(ended)) if ended else None
    if first is None:
        document = _make(execution_arn, bucket=bucket, store=store)
        store.put(document)
        logger.info("Report stored", extra={"provisional": document["provisional"]})
        if document["provisional"]:
            store.put_page(document, page.render(document))
            return
        first = store.list_versions(object_key).first(document["inputs"]["execution"]["stopDate"])
    if first and store.page_of(first) is None:
        stored = json.loads(store.body(first))
        store.put_page(stored, page.render(stored))


def _make(execution_arn: str, *, bucket: str, store: Store) -> dict[str, Any]:
    """Make the report on the execution's current state."""
    name, job_id = execution_arn.rpartition(":")[2], executions.job_id(execution_arn)
    gathered = inputs.gather(execution_arn, _job(job_id), bucket=bucket)
    ended = gathered["execution"].get("stopDate")
    object_key = key(job_id, name, "json", folder=PROVISIONAL if ended is None else FINAL)
    return report.build(
        gathered,
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
