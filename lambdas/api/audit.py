"""Answers with the audit report of a job: where it is, or that it is being made.

The report grows with the history, so this function neither makes it nor carries it.
"""

import json
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Any

from aws_lambda_powertools.event_handler import Response

from api import control
from api.problems import conflict
from api.services import Services
from pipeline.audit.history import milliseconds
from pipeline.audit.store import FINAL, PROVISIONAL, Store, key
from pipeline.jobs import Job

LINK_SECONDS = 60
FRESH_SECONDS = 60  # how old a report on a running execution may be
RETRY_SECONDS = 5
UNCACHED = {"Cache-Control": "no-store"}


def form(accept: str) -> str:
    """``html`` for who prefers that, which is what browsers ask for, else ``json``."""
    kinds = [part.partition(";")[0].strip() for part in accept.lower().split(",")]
    wanted = [kind for kind in kinds if kind in ("text/html", "application/json")]
    return "html" if wanted and wanted[0] == "text/html" else "json"


def answer(job: Job, accept: str, services: Services) -> Response[str]:
    """A redirect to the report on the job's last execution as it is now; 202 while that is made.

    Raises:
        Problem: 409 when there is no execution to report on.
    """
    if not job["ExecutionArn"]:
        raise conflict("The job was never started: there is nothing to report.")
    execution = control.describe_execution(job, services)
    # A resume that got no further than the record has named an execution that does not exist.
    arn: str = execution["executionArn"] if execution else job["ExecutionArn"]
    found = _stored(job, arn, execution, form(accept), services)
    if found:
        return Response(HTTPStatus.SEE_OTHER.value, headers={"Location": _link(found, services), **UNCACHED})
    if execution is None:
        raise conflict("Step Functions has no such execution any more, and no report of it was kept.")
    state = f"{execution['executionArn']} {execution.get('stopDate') or execution.get('redriveCount', 0)}"
    if services.jobs.claim_report(job.id, state, FRESH_SECONDS):
        services.functions.invoke(
            FunctionName=services.export_function, InvocationType="Event", Payload=json.dumps({"executionArn": arn})
        )
    text = json.dumps({"detail": f"The report is being made. Ask again in {RETRY_SECONDS} seconds."})
    return Response(
        HTTPStatus.ACCEPTED.value, "application/json", text, headers={"Retry-After": str(RETRY_SECONDS), **UNCACHED}
    )


def _stored(job: Job, arn: str, execution: dict[str, Any] | None, kind: str, services: Services) -> str | None:
    """The key of the report that is right for the execution as it is now; None when it has yet to be made."""
    store = Store(services.audit_bucket, services.s3)
    name = arn.rpartition(":")[2]
    if execution and "stopDate" not in execution:
        found = store.find(key(job.id, name, kind, folder=PROVISIONAL))
        is_right = found and (datetime.now(UTC) - found.written).total_seconds() < FRESH_SECONDS
    else:
        found = store.find(key(job.id, name, kind, folder=FINAL))
        is_right = found and (execution is None or found.ended == milliseconds(execution["stopDate"]))
    return found.key if found and is_right else None


def _link(object_key: str, services: Services) -> str:
    url: str = services.s3.generate_presigned_url(
        "get_object", Params={"Bucket": services.audit_bucket, "Key": object_key}, ExpiresIn=LINK_SECONDS
    )
    return url
