"""The state of Custom Labels in an account and region: resources, quotas, delays and throttling."""

from __future__ import annotations

import math
import threading
from collections import Counter
from collections.abc import Iterable

from moto.core.base_backend import BaseBackend

from ekyc.localaws import aws
from ekyc.localaws.clock import clock
from ekyc.localaws.errors import ServiceError
from ekyc.localaws.services.rekognition.errors import not_found
from ekyc.localaws.services.rekognition.records import Dataset, Project, ProjectVersion
from ekyc.localaws.services.stand_in import StandIn


class Account(StandIn):
    """The resources of an account in a region, and the controls for tests, which a reset restores to the defaults."""

    # Quotas. Source: AWS General Reference, "Amazon Rekognition endpoints and quotas".
    max_projects = 100
    max_datasets = math.inf  # created concurrently. AWS documents no such quota, but CreateDataset can refuse with one.
    max_versions = 100
    max_trainings = 2
    max_running_models = 2
    max_inference_units = 5
    calls_per_second = 5.0  # of each operation, service seconds
    detections_per_second = 50.0

    # Delays in service seconds. A training takes its delay plus the detector's training time.
    dataset_seconds = 20.0
    training_seconds = 30.0
    start_seconds = 60.0
    stop_seconds = 20.0
    delete_seconds = 5.0

    # If False, a training only takes its delay. The model finds nothing, but its evaluation says that it found
    # everything.
    learns = True

    # If set, the next one fails with this message.
    fail_next_dataset: str | None = None
    fail_next_training: str | None = None
    fail_next_start: str | None = None

    def __init__(self, backend: BaseBackend) -> None:
        super().__init__(backend)
        self._projects: dict[str, Project] = {}
        # For each operation, the tokens left and the time of that count; see `admit`.
        self._allowances: dict[str, tuple[float, float]] = {}
        self.answered: Counter[str] = Counter()
        self.throttled: Counter[str] = Counter()
        # Limits concurrent detections, so that a CPU core is left for the server.
        self._detecting = threading.Semaphore(2)

    def admit(self, operation: str) -> None:
        """Throttle calls with a token bucket for each operation.

        It holds one second's calls and fills by service time.
        """
        is_detection = operation == "DetectCustomLabels"
        rate = self.detections_per_second if is_detection else self.calls_per_second
        with self.lock:
            now = clock.now()
            left, since = self._allowances.get(operation, (rate, now))
            left = min(rate, left + rate * (now - since))
            admitted = left >= 1
            self._allowances[operation] = (left - admitted, now)
            (self.answered if admitted else self.throttled)[operation] += 1
        if not admitted:
            # Rekognition guide, "Error handling".
            if is_detection:
                raise ServiceError("ProvisionedThroughputExceededException", "Provisioned Rate exceeded.")
            raise ServiceError("ThrottlingException", "Slow down; sudden increase in rate of requests.")

    # Look-ups, called with the lock held

    def project(self, arn: str) -> Project:
        """The project. Raises ResourceNotFoundException."""
        project = next((project for project in self._projects.values() if project.arn == arn), None)
        if project is None or project.status == "DELETING":
            raise not_found(arn)
        return project

    def dataset(self, arn: str) -> tuple[Project, Dataset]:
        """The dataset and its project. Raises ResourceNotFoundException."""
        for project in self._projects.values():
            for dataset in project.datasets.values():
                if dataset.arn == arn:
                    return project, dataset
        raise not_found(arn)

    def version(self, arn: str) -> tuple[Project, ProjectVersion]:
        """The model and its project. Raises ResourceNotFoundException."""
        for project in self._projects.values():
            for version in project.versions.values():
                if version.arn == arn:
                    return project, version
        raise not_found(arn)

    def count_models(self, statuses: Iterable[str]) -> int:
        """The number of models in one of ``statuses``."""
        versions = (version for project in self._projects.values() for version in project.versions.values())
        return sum(version.status in statuses for version in versions)

    def new_arn(self, project_name: str, resource: str, created: float) -> str:
        """The ARN of a project's new ``resource``, such as ``dataset/train/``, or of the project itself if empty."""
        milliseconds = round(created * 1000)
        return f"arn:aws:rekognition:{self.region}:{self.account}:project/{project_name}/{resource}{milliseconds}"


def read_object(s3_object: dict[str, str]) -> bytes:
    """The content of the object that a request names by Bucket and Name. Raises ClientError, KeyError."""
    response = aws.client("s3").get_object(Bucket=s3_object["Bucket"], Key=s3_object["Name"])
    with response["Body"] as body:
        return body.read()
