"""A labelling job of the local Ground Truth: its request, its state, and the claims of its workers."""

from __future__ import annotations

from dataclasses import dataclass, field

from ekyc.localaws.services.labelling_tasks import Tasks
from ekyc.localaws.services.stand_in import Answer, Request, now


class JobFailed(Exception):
    """The job fails. The message becomes its FailureReason."""


@dataclass
class LabelingJob:
    """A job: its request and its state. Tasks and categories are set when the job is in progress."""

    request: Request
    arn: str
    created: float
    reference_code: str
    status: str = "Initializing"
    updated: float = 0.0
    failure_reason: str = ""
    tasks: Tasks = field(default_factory=lambda: Tasks([], 1, []))
    categories: list[str] = field(default_factory=list)
    output_uri: str = ""

    @property
    def name(self) -> str:
        """LabelingJobName."""
        return self.request["LabelingJobName"]

    @property
    def attribute(self) -> str:
        """LabelAttributeName."""
        return self.request["LabelAttributeName"]

    @property
    def output_path(self) -> str:
        """The S3 URI under which the job writes all output."""
        return f"{self.request['OutputConfig']['S3OutputPath'].rstrip('/')}/{self.name}"

    def become(self, status: str) -> None:
        """Change the status."""
        self.status, self.updated = status, now()

    @property
    def summary(self) -> Answer:
        """The common part of DescribeLabelingJob and ListLabelingJobs."""
        labelled, failed, objects = self.tasks.counts
        optional: Answer = {}
        if self.failure_reason:
            optional["FailureReason"] = self.failure_reason[:1024]
        if self.output_uri:
            optional["LabelingJobOutput"] = {"OutputDatasetS3Uri": self.output_uri}
        return {
            "LabelingJobName": self.name,
            "LabelingJobArn": self.arn,
            "LabelingJobStatus": self.status,
            "CreationTime": self.created,
            "LastModifiedTime": self.updated,
            "InputConfig": self.request["InputConfig"],
            "LabelCounters": {
                "TotalLabeled": labelled,
                "HumanLabeled": labelled,
                "MachineLabeled": 0,
                "FailedNonRetryableError": failed,
                "Unlabeled": objects - labelled - failed,
            },
            **optional,
        }
