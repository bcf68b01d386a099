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
from pipeline.audit.store import FINAL, PROVISIONAL, Store, Stored, key
from pipeline.jobs import Job, now_ms

LINK_SECONDS = 60
FRESH_SECONDS = 60  # how old a report on a running execution may be
MAKING_SECONDS = 900  # the function's limit: after that it is called anew
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
    store = Store(services.audit_bucket, services.s3)
    name = arn.rpartition(":")[2]
    ended = execution.get("stopDate") if execution else None
    folder = PROVISIONAL if execution and not ended else FINAL
    found = store.find(key(job.id, name, "json", folder=folder))  # which is written last: the page is there too
    state = f"{arn} {ended or (execution or {}).get('redriveCount', 0)}"
    if found and _is_right(found, job, execution, state):
        if folder == PROVISIONAL:
            services.jobs.note(job.id, ReportAsked=None)  # whoever asks later than FRESH_SECONDS gets another one
        link = _link(key(job.id, name, form(accept), folder=folder), services)
        return Response(HTTPStatus.SEE_OTHER.value, headers={"Location": link, **UNCACHED})
    if execution is None:
        raise conflict("Step Functions has no such execution any more, and no report of it was kept.")
    is_made = job["ReportAsked"] == state and now_ms() - job["ReportAskedTime"] < MAKING_SECONDS * 1000
    if not is_made and services.jobs.claim_report(job.id, state, found.version if found else None, MAKING_SECONDS):
        services.functions.invoke(
            FunctionName=services.export_function, InvocationType="Event", Payload=json.dumps({"executionArn": arn})
        )
    text = json.dumps({"detail": f"The report is being made. Ask again in {RETRY_SECONDS} seconds."})
    return Response(
        HTTPStatus.ACCEPTED.value, "application/json", text, headers={"Retry-After": str(RETRY_SECONDS), **UNCACHED}
    )


def _is_right(found: Stored, job: Job, execution: dict[str, Any] | None, state: str) -> bool:
    """Whether a stored report is of the execution as it is now.

    One on a running execution is if it is fresh, or was made for whoever asked last and has not been answered since:
    between two calls of a client more time may pass than a report stays fresh for.
    """
    if execution is None:
        return True
    if execution.get("stopDate"):
        return found.ended == milliseconds(execution["stopDate"])
    is_fresh = (datetime.now(UTC) - found.written).total_seconds() < FRESH_SECONDS
    return is_fresh or (job["ReportAsked"] == state and job["ReportBefore"] != found.version)


def _link(object_key: str, services: Services) -> str:
    url: str = services.s3.generate_presigned_url(
        "get_object", Params={"Bucket": services.audit_bucket, "Key": object_key}, ExpiresIn=LINK_SECONDS
    )
    return url
