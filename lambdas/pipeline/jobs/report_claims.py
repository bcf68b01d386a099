"""Claims on an audit report, so that only one of several concurrent requests invokes the export."""

from boto3.dynamodb.conditions import Attr

from pipeline.jobs.record import now_ms
from pipeline.jobs.table import MoveRefused, jobs


def claim(job_id: str, state: str, newest_version: str | None, seconds: float) -> bool:
    """Claim the export of a report; returns True if no other request claimed ``state`` in the last ``seconds``.

    Args:
        state: identifies what the report is about: an execution and its end or number of redrives.
        newest_version: the id of the newest version that exists, or None. It is recorded, because only a later version
            is the report for this request.
    """
    now = now_ms()
    requested_state, requested_time = Attr("ReportAsked"), Attr("ReportAskedTime")
    try:
        jobs.update(
            job_id,
            {"ReportAsked": state, "ReportAskedTime": now, "ReportBefore": newest_version},
            condition=requested_state.not_exists()
            | requested_state.ne(state)
            | requested_time.lt(now - round(seconds * 1000)),
        )
    except MoveRefused:
        return False
    return True
