"""A job's record in the table, and its form in the API."""

import secrets
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Self

from pipeline.jobs.items import plain
from rules.states import ENDED, Status

# The marks for notices that were sent about a job's end and about its labelling job. Message and event have a mark
# each, because one may fail while the other is sent.
END_SENT = ("EndMessageSent", "EndEventSent")
LABELLING_SENT = ("LabellingMessageSent", "LabellingEventSent")
# The results of the evaluation. The API shows them as ``metrics``.
METRICS = (
    "Passed",
    "F1",
    "Precision",
    "Recall",
    "Intervals",
    "InWords",
    "Labels",
    "LiveModel",
    "LiveF1",
    "Reasons",
)
# The state of the job's erasure. The API shows it as ``erasure``.
ERASURE = ("Erasures", "ErasureOpen", "ErasedObjects", "ErasedTime", "ModelDeletedTime")
# The callers of the API, for the audit report, and the last request for a report.
CALLS = ("StoppedBy", "ResumedBy", "ReportAsked", "ReportAskedTime", "ReportBefore")
# Attributes that the API does not show. A holder of the task token can resume the execution.
PRIVATE = frozenset(
    {
        "Kind",
        "TaskToken",
        "PostedLabels",
        "RunningStatus",
        *END_SENT,
        *LABELLING_SENT,
        "LabelsRequestedTime",
        "ResumedTime",
        "StopRequested",
        "Unsettled",
        "DiscardedModel",
        "EarlierTrainingSeconds",
        *METRICS,
        *ERASURE,
        *CALLS,
    }
)
# Attributes that existing clients read: always shown, and null until they are set.
ALWAYS_SHOWN = (
    "Id",
    "StartTime",
    "Status",
    "DetailedStatus",
    "LabellingJobArn",
    "DatasetCreated",
    "DatasetArn",
    "ProjectVersionArn",
    "ProjectArn",
)
SHOWN_WHEN_ENDED = frozenset({"EndTime", "Error", "Cause"})


def now_ms() -> int:
    """The time in Unix milliseconds."""
    return time.time_ns() // 1_000_000


def new_id() -> str:
    """A new job id, ``ekyc-<YYYYMMDDhhmmss>-<16 hex digits>``: the time in UTC and 64 random bits.

    Ids sort by time and cannot be guessed. With 36 characters, an id is valid as the name of an execution (at most 80),
    a labelling job (63), a project and a project version.
    """
    return f"ekyc-{datetime.now(UTC):%Y%m%d%H%M%S}-{secrets.token_hex(8)}"


@dataclass(frozen=True)
class Job:
    """A job's record. ``attributes`` are by their names in the table, with numbers as int or float."""

    id: str
    status: Status
    attributes: Mapping[str, Any]

    @classmethod
    def of(cls, item: Mapping[str, Any]) -> Self:
        """Read an item in DynamoDB's own JSON."""
        attributes = {name: plain(value) for name, value in item.items()}
        if "ModelStops" in attributes:
            # An expression adds only two numbers, so a record has separate sums of the model's starts and stops.
            attributes["ModelSeconds"] = (attributes.pop("ModelStops") - attributes.pop("ModelStarts")) / 1000
        return cls(attributes["Id"], Status(attributes["Status"]), attributes)

    def __getitem__(self, name: str) -> Any:
        """The attribute, or None when the record does not have it."""
        return self.attributes.get(name)

    @property
    def is_erased(self) -> bool:
        """Whether the erasure of the job was requested. Nothing may be added to such a job or run for it."""
        return "Erasures" in self.attributes


def public_attributes(job: Job) -> dict[str, Any]:
    """The job as the API shows it, in camelCase: times in Unix ms, ``metrics`` null until the evaluation."""
    hidden = PRIVATE if job.status in ENDED else PRIVATE | SHOWN_WHEN_ENDED
    shown: dict[str, Any] = dict.fromkeys(ALWAYS_SHOWN) | {"DatasetCreated": False}
    shown |= {name: value for name, value in job.attributes.items() if name not in hidden}
    metrics = {_camel(name): job[name] for name in METRICS}
    return {
        **{_camel(name): value for name, value in shown.items()},
        "metrics": metrics if "F1" in job.attributes else None,
        **({"erasure": _erasure(job)} if job.is_erased else {}),
    }


def _erasure(job: Job) -> dict[str, Any]:
    """The last request to erase the job, all requests, and the progress of the erasure; times in Unix ms."""
    requests = [{_camel(name): value for name, value in request.items()} for request in job["Erasures"]]
    last, erased_time = requests[-1], job["ErasedTime"]
    done = erased_time is not None and erased_time >= last["requestedTime"]
    return {
        "status": "Erased" if done else "Requested",
        **last,
        **({} if erased_time is None else {"erasedTime": erased_time}),
        **({} if job["ModelDeletedTime"] is None else {"modelDeletedTime": job["ModelDeletedTime"]}),
        "objects": job["ErasedObjects"] or 0,
        "requests": requests,
    }


def _camel(name: str) -> str:
    """``LabellingJobArn`` becomes ``labellingJobArn``."""
    return name[0].lower() + name[1:]
