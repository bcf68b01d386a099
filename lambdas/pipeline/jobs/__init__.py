"""The jobs: one record for each job in a DynamoDB table. The API shows the record.

The state machine never reads its own state from the record. `jobs` is the table. Operations that only some parts of the
pipeline need have modules of their own: `tokens`, `ends`, `resumes`, `erasures`, `live_lock`, `model_hours`,
`report_claims`, `notice_marks`. Every write is conditional, and nothing scans the table.

Where two writers may compete, a docstring shows a timeline: a row for each writer, and time from left to right.
"""

from pipeline.jobs.items import PageTokenInvalid
from pipeline.jobs.record import Job, new_id, now_ms, public_attributes
from pipeline.jobs.table import JobNotFound, Jobs, MoveRefused, jobs

__all__ = [
    "Job",
    "JobNotFound",
    "Jobs",
    "MoveRefused",
    "PageTokenInvalid",
    "jobs",
    "new_id",
    "now_ms",
    "public_attributes",
]
