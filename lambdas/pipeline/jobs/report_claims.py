"""Who asks for an audit report: one of all that ask at once."""

from boto3.dynamodb.conditions import Attr

from pipeline.jobs.record import now_ms
from pipeline.jobs.table import Jobs, MoveRefused


def claim(jobs: Jobs, job_id: str, state: str, before: str | None, seconds: float) -> bool:
    """True for the first caller in ``seconds`` that asks for a report on ``state``.

    ``before`` is the version of the report that there is, which is not the one asked for.
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
