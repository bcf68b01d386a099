"""Answers with a link to the audit report of a job, or says that the report is being made.

The report grows with the history, so the API's function neither makes the report nor returns its content.
"""

import json
from datetime import UTC, datetime
from http import HTTPStatus

from aws_lambda_powertools.event_handler import Response

from api.problems import conflict
from pipeline.audit.history import milliseconds
from pipeline.audit.store import FINAL, PROVISIONAL, Kept, Store, Stored, key
from pipeline.clients import clients
from pipeline.executions import StateMachine
from pipeline.jobs import Job, jobs, now_ms, report_claims
from pipeline.lifecycle.execution import describe_execution

LINK_SECONDS = 60
FRESH_SECONDS = 60  # how old a report on a running execution may be
MAKING_SECONDS = 900  # the timeout of ExportAudit, after which the API invokes it again
RETRY_SECONDS = 5
ANSWERED = " answered"  # suffix of the state in the record's ReportAsked: the API has returned a report on that state
UNCACHED = {"Cache-Control": "no-store"}


def form(accept: str) -> str:
    """``html`` when the Accept header prefers HTML, as browsers do, otherwise ``json``."""
    kinds = [part.partition(";")[0].strip() for part in accept.lower().split(",")]
    wanted = [kind for kind in kinds if kind in ("text/html", "application/json")]
    return "html" if wanted and wanted[0] == "text/html" else "json"


def answer(job: Job, accept: str, machine: StateMachine, *, audit_bucket: str, export_function: str) -> Response[str]:
    """A redirect to the report on the current state of the job's last execution; 202 while the report is being made.

    The link names a version of the object, so a later version or a delete marker does not affect it.

    Raises:
        Problem: 409 when there is no execution to report on.
    """
    if not job["ExecutionArn"]:
        raise conflict("The job was never started: there is nothing to report.")
    execution = describe_execution(job, machine)
    # A resume that stopped after writing the record has named an execution that does not exist.
    arn: str = execution["executionArn"] if execution else job["ExecutionArn"]
    store = Store(audit_bucket)
    ended = execution.get("stopDate") if execution else None
    folder = PROVISIONAL if execution and not ended else FINAL
    kept = store.kept(key(job.id, arn.rpartition(":")[2], "json", folder=folder))
    state = f"{arn} {ended or (execution.get('redriveCount', 0) if execution else 0)}"
    found = _current(kept, job, state) if folder == PROVISIONAL else kept.first(_end(kept, job, ended))
    linked = store.page_of(found) if found and form(accept) == "html" else found
    if linked:
        if folder == PROVISIONAL:
            # A caller who asks later than FRESH_SECONDS gets another report.
            jobs.note(job.id, ReportAsked=f"{state}{ANSWERED}")
        return Response(HTTPStatus.SEE_OTHER.value, headers={"Location": _link(linked, audit_bucket), **UNCACHED})
    if execution is None:
        raise conflict("Step Functions has no such execution any more, and no report of it was kept.")
    is_made = job["ReportAsked"] == state and now_ms() - job["ReportAskedTime"] < MAKING_SECONDS * 1000
    if not is_made and report_claims.claim(job.id, state, kept.newest, MAKING_SECONDS):
        clients.lambda_.invoke(
            FunctionName=export_function, InvocationType="Event", Payload=json.dumps({"executionArn": arn})
        )
    text = json.dumps({"detail": f"The report is being made. Ask again in {RETRY_SECONDS} seconds."})
    return Response(
        HTTPStatus.ACCEPTED.value, "application/json", text, headers={"Retry-After": str(RETRY_SECONDS), **UNCACHED}
    )


def _current(kept: Kept, job: Job, state: str) -> Stored | None:
    """The report made for the last request about a running execution, if it is fresh or no caller has received it yet.

    A report that no caller has received counts because a client may wait longer between two calls than `FRESH_SECONDS`.
    """
    if job["ReportAsked"] not in (state, f"{state}{ANSWERED}"):
        return None
    found = kept.next_after(job["ReportBefore"])
    if found is None or job["ReportAsked"] == state:
        return found
    return found if (datetime.now(UTC) - found.written).total_seconds() < FRESH_SECONDS else None


def _end(kept: Kept, job: Job, ended: datetime | None) -> int:
    """The execution's end in Unix ms: from Step Functions, or from the record after Step Functions deleted it."""
    if ended:
        return milliseconds(ended)
    recorded = job["EndTime"] or (kept.versions[0].ended if kept.versions else 0)
    # The record rounds the time down.
    return next((one.ended for one in kept.versions if one.ended - recorded in (0, 1)), recorded)


def _link(found: Stored, bucket: str) -> str:
    place = {"Bucket": bucket, "Key": found.key, "VersionId": found.version}
    url: str = clients.s3.generate_presigned_url("get_object", Params=place, ExpiresIn=LINK_SECONDS)
    return url
