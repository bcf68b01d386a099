"""Returns a link to a job's audit report, or says that the report is being made.

A report can be larger than a response of the API, and can take longer to make than the API's timeout. So another
function makes the report, and the API returns a link to it.
"""

import json
from datetime import UTC, datetime
from http import HTTPStatus

from aws_lambda_powertools.event_handler import Response

from api.problems import conflict
from pipeline.audit.history import milliseconds
from pipeline.audit.store import FINAL, PROVISIONAL, REPORT, SIGNED, WEB_PAGE, Store, Version, VersionList, key
from pipeline.clients import clients
from pipeline.executions import StateMachine
from pipeline.jobs import Job, jobs, now_ms, report_claims
from pipeline.lifecycle.execution import describe_execution
from rules.media_types import SIGNED_REPORT

LINK_SECONDS = 60
FRESH_SECONDS = 60  # the maximum age of a report on a running execution
MAKING_SECONDS = 900  # ExportAudit's timeout: after that the API invokes it again
RETRY_SECONDS = 5
ANSWERED = " answered"  # the suffix of ReportAsked in the record after the API has returned a report on that state
UNCACHED = {"Cache-Control": "no-store"}


FORMS = {"application/json": REPORT, "text/html": WEB_PAGE, SIGNED_REPORT: SIGNED}
"""The form of a report by its media type in the Accept header."""


def form(accept: str) -> str:
    """The form that the Accept header prefers. The default is the report as JSON."""
    kinds = (part.partition(";")[0].strip() for part in accept.lower().split(","))
    return next((FORMS[kind] for kind in kinds if kind in FORMS), REPORT)


def answer(job: Job, accept: str, machine: StateMachine, *, audit_bucket: str, export_function: str) -> Response[str]:
    """Redirect to the report on the current state of the job's last execution; 202 while the report is being made.

    The link names a version of the object, so a later version or a delete marker does not affect it.

    Raises:
        Problem: 409 if the job was never started, if the signed report of a running execution is asked for, or if Step
            Functions has deleted the execution and no report exists.
    """
    if not job["ExecutionArn"]:
        raise conflict("The job was never started. There is nothing to report.")
    execution = describe_execution(job, machine)
    # The record names an execution before it is started. The start may have failed.
    arn: str = execution["executionArn"] if execution else job["ExecutionArn"]
    store = Store(audit_bucket)
    ended = execution.get("stopDate") if execution else None
    folder = PROVISIONAL if execution and not ended else FINAL
    if folder == PROVISIONAL and form(accept) == SIGNED:
        raise conflict("The report on a running execution is not signed. Ask again when the job has ended.")
    versions = store.list_versions(key(job.id, arn.rpartition(":")[2], REPORT, folder=folder))
    state = f"{arn} {ended or (execution.get('redriveCount', 0) if execution else 0)}"
    report = _current(versions, job, state) if folder == PROVISIONAL else versions.first(_end(versions, job, ended))
    target = store.find_form(report, form(accept)) if report and form(accept) != REPORT else report
    if target:
        if folder == PROVISIONAL:
            # From now on, this report is returned only while it is younger than FRESH_SECONDS.
            jobs.note(job.id, ReportAsked=f"{state}{ANSWERED}")
        return Response(HTTPStatus.SEE_OTHER.value, headers={"Location": _link(target, audit_bucket), **UNCACHED})
    if execution is None:
        raise conflict("Step Functions has deleted the execution, and no report on it was stored.")
    is_being_made = job["ReportAsked"] == state and now_ms() - job["ReportAskedTime"] < MAKING_SECONDS * 1000
    if not is_being_made and report_claims.claim(job.id, state, versions.newest, MAKING_SECONDS):
        clients.lambda_.invoke(
            FunctionName=export_function, InvocationType="Event", Payload=json.dumps({"executionArn": arn})
        )
    text = json.dumps({"detail": f"The report is being made. Ask again in {RETRY_SECONDS} seconds."})
    return Response(
        HTTPStatus.ACCEPTED.value, "application/json", text, headers={"Retry-After": str(RETRY_SECONDS), **UNCACHED}
    )


def _current(versions: VersionList, job: Job, state: str) -> Version | None:
    """The report on a running execution that the last request caused, if it is fresh or was not returned yet.

    An older report is returned once, because a client may wait longer than `FRESH_SECONDS` between its calls.
    """
    if job["ReportAsked"] not in (state, f"{state}{ANSWERED}"):
        return None
    report = versions.next_after(job["ReportBefore"])
    if report is None or job["ReportAsked"] == state:
        return report
    return report if (datetime.now(UTC) - report.written).total_seconds() < FRESH_SECONDS else None


def _end(stored: VersionList, job: Job, ended: datetime | None) -> int:
    """The execution's end in Unix ms, from Step Functions or, if it has deleted the execution, from the record."""
    if ended:
        return milliseconds(ended)
    recorded = job["EndTime"] or (stored.versions[0].ended if stored.versions else 0)
    # The record rounds the time down.
    return next((version.ended for version in stored.versions if version.ended - recorded in (0, 1)), recorded)


def _link(version: Version, bucket: str) -> str:
    place = {"Bucket": bucket, "Key": version.key, "VersionId": version.id}
    url: str = clients.s3.generate_presigned_url("get_object", Params=place, ExpiresIn=LINK_SECONDS)
    return url
