"""Makes and stores the audit report of an execution."""

import json
from typing import Any

from aws_lambda_powertools import Logger

from pipeline import executions
from pipeline.audit import history, inputs, page, report, signing
from pipeline.audit.store import FINAL, PROVISIONAL, REPORT, SIGNED, WEB_PAGE, Store, Version, key
from pipeline.clients import clients
from pipeline.jobs import Job, JobNotFound, jobs

logger = Logger(child=True)


def export(execution_arn: str, *, bucket: str, store: Store, signing_key: str) -> None:
    """Make, store and sign the report on the execution's current state, unless a report on the same end is stored.

    A report on an end is not made again, because its inputs, such as the job's files, expire. If two functions run at
    the same time, only the report that was stored first counts. So the page is rendered from that stored report, and
    the first stored page is signed. A provisional report is not signed.

    Args:
        signing_key: the ARN of the KMS key that signs.
    """
    name, job_id = execution_arn.rpartition(":")[2], executions.job_id(execution_arn)
    described = clients.stepfunctions.describe_execution(executionArn=execution_arn)
    object_key, ended = key(job_id, name, REPORT), described.get("stopDate")
    first = store.list_versions(object_key).first(history.milliseconds(ended)) if ended else None
    if first is None:
        document = _make(execution_arn, bucket=bucket, store=store)
        store.put(document, REPORT, report.canonical(document))
        logger.info("Report stored", extra={"provisional": document["provisional"]})
        if document["provisional"]:
            store.put(document, WEB_PAGE, page.render(document).encode())
            return
        first = store.list_versions(object_key).first(document["inputs"]["execution"]["stopDate"])
    if first and store.find_form(first, SIGNED) is None:
        _complete(first, store, signing_key)


def _complete(first: Version, store: Store, signing_key: str) -> None:
    """Store the page of the report ``first`` and the signed file, as far as they do not exist."""
    content = store.body(first)
    document = json.loads(content)
    if store.find_form(first, WEB_PAGE) is None:
        store.put(document, WEB_PAGE, page.render(document).encode())
    stored_page = store.find_form(first, WEB_PAGE)
    if stored_page:
        files = {REPORT: content, WEB_PAGE: store.body(stored_page)}
        store.put(document, SIGNED, signing.sign(document, files, signing_key))
        logger.info("Report signed")


def _make(execution_arn: str, *, bucket: str, store: Store) -> dict[str, Any]:
    """Make the report on the execution's current state."""
    name, job_id = execution_arn.rpartition(":")[2], executions.job_id(execution_arn)
    gathered = inputs.gather(execution_arn, _job(job_id), bucket=bucket)
    ended = gathered["execution"].get("stopDate")
    object_key = key(job_id, name, REPORT, folder=PROVISIONAL if ended is None else FINAL)
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
