"""Claims on an audit report, so that of several concurrent requests one has it made."""

from boto3.dynamodb.conditions import Attr

from pipeline.jobs.record import now_ms
from pipeline.jobs.table import MoveRefused, jobs


def claim(job_id: str, state: str, before: str | None, seconds: float) -> bool:
    """True for the first request in ``seconds`` for a report on ``state``.

    ``before`` is the report's newest version at the time of the request, which does not answer the request.
    """
    now = now_ms()
    asked, time = Attr("ReportAsked"), Attr("ReportAskedTime")
    try:
        jobs.update(
            job_id,
            {"ReportAsked": state, "ReportAskedTime": now, "ReportBefore": before},
            condition=asked.not_exists() | asked.ne(state) | time.lt(now - round(seconds * 1000)),
        )
    except MoveRefused:
        return False
    return True
