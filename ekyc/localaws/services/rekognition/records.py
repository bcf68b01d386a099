"""The resources of Custom Labels: projects, datasets and models (project versions)."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from ekyc.localaws.services.custom_labels_manifest import CheckedLine
from ekyc.localaws.services.detector import Detector
from ekyc.localaws.services.stand_in import Answer, now


@dataclass
class Dataset:
    """A TRAIN or TEST dataset. `entries` are the manifest lines that were not dropped."""

    arn: str
    kind: str
    created: float
    updated: float
    tags: dict[str, str]
    status: str = "CREATE_IN_PROGRESS"
    message: str = "The dataset is being created."
    message_code: str = "SUCCESS"
    entries: list[CheckedLine] = field(default_factory=list)

    def become(self, status: str, message: str, message_code: str = "SUCCESS") -> None:
        """Change the status."""
        self.status, self.message, self.message_code, self.updated = status, message, message_code, now()


@dataclass
class ProjectVersion:
    """A model. `results` are the fields of its description that come from the training."""

    arn: str
    name: str
    created: float
    output_config: dict[str, str]
    tags: dict[str, str]
    optional: dict[str, Any]
    status: str = "TRAINING_IN_PROGRESS"
    message: str = "The model is being trained."
    training_end: float | None = None
    billable_seconds: int | None = None
    units: dict[str, int] = field(default_factory=dict)
    results: dict[str, Any] = field(default_factory=dict)
    detector: Detector | None = None
    thresholds: dict[str, float] = field(default_factory=dict)

    def become(self, status: str, message: str) -> None:
        """Change the status."""
        self.status, self.message = status, message

    @property
    def description(self) -> Answer:
        """The version as DescribeProjectVersions returns it, without fields that have no value yet."""
        times = {"TrainingEndTimestamp": self.training_end, "BillableTrainingTimeInSeconds": self.billable_seconds}
        return {
            "ProjectVersionArn": self.arn,
            "CreationTimestamp": self.created,
            "Status": self.status,
            "StatusMessage": self.message,
            "OutputConfig": self.output_config,
            "Feature": "CUSTOM_LABELS",
            **{name: value for name, value in times.items() if value is not None},
            **self.optional,
            **self.units,
            **self.results,
        }


@dataclass
class Project:
    """A project with its datasets by type and its versions by name."""

    arn: str
    name: str
    created: float
    tags: dict[str, str]
    status: str = "CREATED"
    datasets: dict[str, Dataset] = field(default_factory=dict)
    versions: dict[str, ProjectVersion] = field(default_factory=dict)
