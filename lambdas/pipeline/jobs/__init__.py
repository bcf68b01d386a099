"""The jobs: a record of each in one DynamoDB table. The record is what people see.

The state machine never reads its own state from it. `Jobs` is the table; what only some parts of the pipeline do with a
record stands in a module of its own: `tokens`, `ends`, `resumes`, `erasures`, `live_lock`, `model_hours`,
`report_claims`, `notice_marks`. Every write is conditional, and nothing scans.
"""

from pipeline.jobs.items import PageTokenInvalid
from pipeline.jobs.record import Job, new_id, now_ms, public_attributes
from pipeline.jobs.table import JobNotFound, Jobs, MoveRefused

__all__ = ["Job", "JobNotFound", "Jobs", "MoveRefused", "PageTokenInvalid", "new_id", "now_ms", "public_attributes"]
