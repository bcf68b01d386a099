"""Rekognition Custom Labels: projects, datasets, project versions and DetectCustomLabels, inside the moto server.

Responses and errors have AWS's names and formats. States change in AWS's order, after the service's delays, which the
clock shortens. A training trains a real detector. Only object localization is supported. Not simulated: training from
manifests without datasets (TrainingData, TestingData), copies of datasets and versions, changes of datasets, content
moderation.
"""

from __future__ import annotations

import json
import math
import threading
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import cv2
import numpy as np
from botocore.exceptions import ClientError, ParamValidationError
from moto.core.base_backend import BaseBackend
from moto.rekognition.models import rekognition_backends

from ekyc.localaws import aws, faults
from ekyc.localaws.clock import clock
from ekyc.localaws.errors import ServiceError
from ekyc.localaws.faults import What
from ekyc.localaws.services import stand_in
from ekyc.localaws.services.custom_labels_manifest import (
    TERMINAL_MESSAGES,
    CheckedLine,
    ManifestRefused,
    label_counts,
    read_dataset,
)
from ekyc.localaws.services.detector import Detection, Detector
from ekyc.localaws.services.stand_in import Answer, Request, StandIn, now
from ekyc.localaws.services.training import MAX_IMAGE_BYTES, Training, TrainingRefused, image_size

OPERATIONS = (
    "CreateProject",
    "DescribeProjects",
    "DeleteProject",
    "CreateDataset",
    "DescribeDataset",
    "ListDatasetEntries",
    "ListDatasetLabels",
    "DeleteDataset",
    "CreateProjectVersion",
    "DescribeProjectVersions",
    "StartProjectVersion",
    "StopProjectVersion",
    "DeleteProjectVersion",
    "DetectCustomLabels",
    "ListTagsForResource",
)

# The limit of an image sent as bytes. Source: Custom Labels guide, "Guidelines and quotas".
MAX_RAW_BYTES = 4 * 1024 * 1024


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


class CustomLabels(StandIn):
    """The operations, and the controls for tests. Set them on `current()`; a reset restores the defaults."""

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

    # Projects

    def create_project(self, request: Request) -> Answer:
        """CreateProject."""
        name = request["ProjectName"]
        _refuse_not_played(request, ["AutoUpdate"])
        if request.get("Feature", "CUSTOM_LABELS") != "CUSTOM_LABELS":
            raise _invalid("The local AWS does not support projects for content moderation. Omit Feature.")
        with self.lock:
            if name in self._projects:
                raise ServiceError("ResourceInUseException", f"A project with the name {name} already exists.")
            if len(self._projects) >= self.max_projects or faults.take_service_fault(What.PROJECTS_FULL, name):
                raise _limit(f"The account already has the maximum of {self.max_projects} projects.")
            created = now()
            arn = self._arn(name, "", created)
            self._projects[name] = Project(arn, name, created, request.get("Tags", {}))
        return {"ProjectArn": arn}

    def describe_projects(self, request: Request) -> Answer:
        """DescribeProjects, oldest first."""
        with self.lock:
            wanted = request.get("ProjectNames")
            is_wanted_feature = "CUSTOM_LABELS" in request.get("Features", ["CUSTOM_LABELS"])
            projects = [
                project
                for project in self._projects.values()
                if is_wanted_feature and (wanted is None or project.name in wanted)
            ]
            shown, following = stand_in.page(projects, request, _invalid_token)
            return {"ProjectDescriptions": [_project_description(project) for project in shown], **following}

    def delete_project(self, request: Request) -> Answer:
        """DeleteProject. The project must have no versions. Its datasets are deleted too."""
        with self.lock:
            project = self._project(request["ProjectArn"])
            if project.versions:
                raise _in_use(f"Project {project.name} has models. Delete them first.")
            project.status = "DELETING"
        self.background(self._forget_project, project)
        return {"Status": "DELETING"}

    def _forget_project(self, project: Project) -> None:
        self.sleep(self.delete_seconds)
        with self.lock:
            del self._projects[project.name]

    # Datasets

    def create_dataset(self, request: Request) -> Answer:
        """CreateDataset from a manifest, or empty. Errors in the manifest appear later, as CREATE_FAILED."""
        kind = request["DatasetType"]
        _refuse_not_played(request.get("DatasetSource", {}), ["DatasetArn"])
        manifest = request.get("DatasetSource", {}).get("GroundTruthManifest", {}).get("S3Object")
        if manifest is not None and not {"Bucket", "Name"} <= manifest.keys():
            raise ServiceError("InvalidS3ObjectException", "Request has invalid S3 object.")
        with self.lock:
            project = self._project(request["ProjectArn"])
            if kind in project.datasets:
                message = f"Project {project.name} already has a dataset of type {kind}."
                raise ServiceError("ResourceAlreadyExistsException", message)
            datasets = [dataset for other in self._projects.values() for dataset in other.datasets.values()]
            in_progress = sum(dataset.status == "CREATE_IN_PROGRESS" for dataset in datasets)
            if in_progress >= self.max_datasets or faults.take_service_fault(What.DATASETS_FULL, project.name):
                raise _limit("The account already creates the maximum number of datasets.")
            created = now()
            arn = self._arn(project.name, f"dataset/{kind.lower()}/", created)
            dataset = Dataset(arn, kind, created, created, request.get("Tags", {}))
            project.datasets[kind] = dataset
            failure, self.fail_next_dataset = self.fail_next_dataset, None
            failure = failure or _failure(What.DATASET_FAILS, arn)
        self.background(self._fill_dataset, dataset, manifest, failure)
        return {"DatasetArn": arn}

    def _fill_dataset(self, dataset: Dataset, manifest: dict[str, str] | None, failure: str | None) -> None:
        self.sleep(self.dataset_seconds)
        entries: list[CheckedLine] = []
        try:
            if manifest is not None:
                entries = read_dataset(manifest["Name"], _read_object(manifest))
        except ManifestRefused as refused:
            failure = str(refused)
        except (ClientError, ParamValidationError):
            failure = TERMINAL_MESSAGES["ERROR_MANIFEST_INACCESSIBLE_OR_UNSUPPORTED_FORMAT"]
        self.sleep(0)
        with self.lock:
            if failure:
                dataset.become("CREATE_FAILED", failure, "CLIENT_ERROR")
            else:
                dataset.entries = entries
                dataset.become("CREATE_COMPLETE", "The dataset was successfully created from the manifest file.")

    def describe_dataset(self, request: Request) -> Answer:
        """DescribeDataset."""
        with self.lock:
            dataset = self._dataset(request["DatasetArn"])[1]
            description = {
                "CreationTimestamp": dataset.created,
                "LastUpdatedTimestamp": dataset.updated,
                "Status": dataset.status,
                "StatusMessage": dataset.message,
                "StatusMessageCode": dataset.message_code,
                "DatasetStats": {
                    "LabeledEntries": sum(entry.is_labelled for entry in dataset.entries),
                    "TotalEntries": len(dataset.entries),
                    "TotalLabels": len(label_counts(dataset.entries)),
                    "ErrorEntries": sum(entry.has_errors for entry in dataset.entries),
                },
            }
        return {"DatasetDescription": description}

    def list_dataset_entries(self, request: Request) -> Answer:
        """ListDatasetEntries: the lines, with "cl-errors" in the marked parts, and "cl-metadata"."""
        with self.lock:
            entries = [entry for entry in self._listed_dataset(request).entries if _is_asked_for(entry, request)]
        shown, following = stand_in.page(entries, request, _invalid_token)
        return {"DatasetEntries": [json.dumps(entry.for_listing()) for entry in shown], **following}

    def list_dataset_labels(self, request: Request) -> Answer:
        """ListDatasetLabels, sorted by name."""
        with self.lock:
            counts = label_counts(self._listed_dataset(request).entries)
        shown, following = stand_in.page(list(counts.items()), request, _invalid_token)
        labels = [
            {"LabelName": label, "LabelStats": {"EntryCount": entries, "BoundingBoxCount": boxes}}
            for label, (entries, boxes) in shown
        ]
        return {"DatasetLabelDescriptions": labels, **following}

    def delete_dataset(self, request: Request) -> Answer:
        """DeleteDataset."""
        with self.lock:
            project, dataset = self._dataset(request["DatasetArn"])
            if dataset.status.endswith("IN_PROGRESS"):
                raise _in_use(f"The dataset is in status {dataset.status}.")
            dataset.become("DELETE_IN_PROGRESS", "The dataset is being deleted.")
        self.background(self._forget_dataset, project, dataset)
        return {}

    def _forget_dataset(self, project: Project, dataset: Dataset) -> None:
        self.sleep(self.delete_seconds)
        with self.lock:
            del project.datasets[dataset.kind]

    def _listed_dataset(self, request: Request) -> Dataset:
        dataset = self._dataset(request["DatasetArn"])[1]
        if dataset.status != "CREATE_COMPLETE":
            raise ServiceError("ResourceNotReadyException", f"The dataset is in status {dataset.status}.")
        return dataset

    # Versions

    def create_project_version(self, request: Request) -> Answer:
        """CreateProjectVersion: trains with the project's TRAIN and TEST datasets."""
        _refuse_not_played(request, ["TrainingData", "TestingData", "FeatureConfig"])
        name, output = request["VersionName"], request["OutputConfig"]
        if not {"S3Bucket", "S3KeyPrefix"} <= output.keys():
            raise _invalid("OutputConfig must have S3Bucket and S3KeyPrefix.")
        with self.lock:
            project = self._project(request["ProjectArn"])
            if name in project.versions:
                raise _in_use(f"Project {project.name} already has a version {name}.")
            if len(project.versions) >= self.max_versions or faults.take_service_fault(
                What.VERSIONS_FULL, project.name
            ):
                raise _limit(f"Project {project.name} already has the maximum of {self.max_versions} models.")
            training, testing = (self._training_entries(project, kind) for kind in ("TRAIN", "TEST"))
            trainings = self._count(["TRAINING_IN_PROGRESS"])
            if trainings >= self.max_trainings or faults.take_service_fault(What.TRAININGS_FULL, project.name):
                raise _limit(f"The account already runs the maximum of {self.max_trainings} trainings.")
            created = now()
            arn = self._arn(project.name, f"version/{name}/", created)
            optional = {key: value for key, value in request.items() if key in ("KmsKeyId", "VersionDescription")}
            version = ProjectVersion(arn, name, created, output, request.get("Tags", {}), optional)
            project.versions[name] = version
            failure, self.fail_next_training = self.fail_next_training, None
            failure = failure or _failure(What.TRAINING_FAILS, arn)
        prefix = output["S3KeyPrefix"].rstrip("/")
        run = Training(project.name, name, arn, output["S3Bucket"], prefix, training, testing)
        self.background(self._train, version, run, failure)
        return {"ProjectVersionArn": arn}

    def _training_entries(self, project: Project, kind: str) -> list[CheckedLine]:
        dataset = project.datasets.get(kind)
        if dataset is None:
            raise _invalid(f"Project {project.name} has no {kind} dataset; the local AWS trains with datasets only.")
        if dataset.status.endswith("IN_PROGRESS"):
            raise _in_use(f"The {kind} dataset is in status {dataset.status}.")
        if dataset.status != "CREATE_COMPLETE":
            raise _invalid(f"The {kind} dataset is in status {dataset.status}.")
        return dataset.entries

    def _train(self, version: ProjectVersion, run: Training, failure: str | None) -> None:
        self.sleep(self.training_seconds)
        try:
            if failure:
                raise TrainingRefused(failure)
            detector, thresholds = run.run(self.sleep, self.learns)
        except TrainingRefused as refused:
            failure = str(refused)
        self.sleep(0)
        with self.lock:
            version.training_end = now()
            version.results = run.results
            if failure:
                version.become("TRAINING_FAILED", failure)
            else:
                version.detector, version.thresholds = detector, thresholds
                version.billable_seconds = math.ceil(version.training_end - version.created)
                version.become("TRAINING_COMPLETED", "The model is ready to run.")

    def describe_project_versions(self, request: Request) -> Answer:
        """DescribeProjectVersions, newest first."""
        with self.lock:
            project = self._project(request["ProjectArn"])
            wanted = request.get("VersionNames")
            versions = [v for v in project.versions.values() if wanted is None or v.name in wanted]
            newest_first = list(reversed(versions))
            shown, following = stand_in.page(newest_first, request, _invalid_token)
            return {"ProjectVersionDescriptions": [version.description for version in shown], **following}

    def start_project_version(self, request: Request) -> Answer:
        """StartProjectVersion."""
        least: int = request["MinInferenceUnits"]
        most: int = request.get("MaxInferenceUnits", least)
        if most < least:
            raise _invalid("MaxInferenceUnits must not be less than MinInferenceUnits.")
        with self.lock:
            version = self._version(request["ProjectVersionArn"])[1]
            if version.status not in ("TRAINING_COMPLETED", "STOPPED"):
                raise _in_use(f"A model in status {version.status} cannot be started.")
            if most > self.max_inference_units:
                raise _limit(f"A model can have at most {self.max_inference_units} inference units.")
            running = self._count(["STARTING", "RUNNING", "STOPPING"])
            if running >= self.max_running_models or faults.take_service_fault(What.RUNNING_MODELS_FULL, version.arn):
                raise _limit(f"The account already runs the maximum of {self.max_running_models} models.")
            failure, self.fail_next_start = self.fail_next_start, None
            failure = failure or _failure(What.MODEL_FAILS, version.arn)
            version.units = {key: request[key] for key in ("MinInferenceUnits", "MaxInferenceUnits") if key in request}
            version.become("STARTING", "The model is being started.")
        self.background(self._start, version, failure)
        return {"Status": "STARTING"}

    def _start(self, version: ProjectVersion, failure: str | None) -> None:
        self.sleep(self.start_seconds)
        with self.lock:
            if failure:
                version.become("FAILED", failure)
            else:
                version.become("RUNNING", "The model is running.")

    def stop_project_version(self, request: Request) -> Answer:
        """StopProjectVersion."""
        with self.lock:
            version = self._version(request["ProjectVersionArn"])[1]
            if version.status != "RUNNING":
                raise _in_use(f"A model in status {version.status} cannot be stopped.")
            version.become("STOPPING", "The model is being stopped.")
        self.background(self._stop, version)
        return {"Status": "STOPPING"}

    def _stop(self, version: ProjectVersion) -> None:
        self.sleep(self.stop_seconds)
        with self.lock:
            version.units = {}
            version.become("STOPPED", "The model is stopped.")

    def delete_project_version(self, request: Request) -> Answer:
        """DeleteProjectVersion. The version must not be in training or running."""
        with self.lock:
            project, version = self._version(request["ProjectVersionArn"])
            if version.status not in ("TRAINING_COMPLETED", "TRAINING_FAILED", "FAILED", "STOPPED"):
                raise _in_use(f"A model in status {version.status} cannot be deleted.")
            version.become("DELETING", "The model is being deleted.")
        self.background(self._forget_version, project, version)
        return {"Status": "DELETING"}

    def _forget_version(self, project: Project, version: ProjectVersion) -> None:
        self.sleep(self.delete_seconds)
        with self.lock:
            del project.versions[version.name]

    # Detection

    def detect_custom_labels(self, request: Request) -> Answer:
        """DetectCustomLabels. MinConfidence replaces the labels' assumed thresholds."""
        min_confidence: float | None = request.get("MinConfidence")
        most: int = request.get("MaxResults", 100)
        if most > 100:
            raise ServiceError("ValidationException", "MaxResults must not be greater than 100.")
        with self.lock:
            version = self._version(request["ProjectVersionArn"])[1]
            if version.status != "RUNNING":
                message = f"The model is in status {version.status}. Start it and wait until it is RUNNING."
                raise ServiceError("ResourceNotReadyException", message)
            detector, thresholds = version.detector, version.thresholds
        image = _decoded(_image_content(request["Image"]))
        with self._detecting:
            detections = detector.detect(image) if detector else []
        chosen = [
            detection
            for detection in detections
            if detection.confidence >= (thresholds[detection.label] if min_confidence is None else min_confidence / 100)
        ]
        chosen.sort(key=lambda detection: -detection.confidence)
        height, width = image.shape[:2]
        labels = [_custom_label(detection, width, height) for detection in chosen]
        return {"CustomLabels": labels[:most]}

    # Look-ups, called with the lock held

    def list_tags_for_resource(self, request: Request) -> Answer:
        """ListTagsForResource of a project, dataset or version."""
        with self.lock:
            for project in self._projects.values():
                resources: list[Any] = [project, *project.datasets.values(), *project.versions.values()]
                for resource in resources:
                    if resource.arn == request["ResourceArn"]:
                        return {"Tags": resource.tags}
        raise _not_found(request["ResourceArn"])

    def _project(self, arn: str) -> Project:
        project = next((project for project in self._projects.values() if project.arn == arn), None)
        if project is None or project.status == "DELETING":
            raise _not_found(arn)
        return project

    def _dataset(self, arn: str) -> tuple[Project, Dataset]:
        for project in self._projects.values():
            for dataset in project.datasets.values():
                if dataset.arn == arn:
                    return project, dataset
        raise _not_found(arn)

    def _version(self, arn: str) -> tuple[Project, ProjectVersion]:
        for project in self._projects.values():
            for version in project.versions.values():
                if version.arn == arn:
                    return project, version
        raise _not_found(arn)

    def _count(self, statuses: Iterable[str]) -> int:
        versions = (version for project in self._projects.values() for version in project.versions.values())
        return sum(version.status in statuses for version in versions)

    def _arn(self, project_name: str, resource: str, created: float) -> str:
        milliseconds = round(created * 1000)
        return f"arn:aws:rekognition:{self.region}:{self.account}:project/{project_name}/{resource}{milliseconds}"


def current() -> CustomLabels:
    """The current state of the local AWS, with the controls. A reset replaces it."""
    return CustomLabels.of(rekognition_backends[aws.account][aws.region])


def _failure(what: What, arn: str) -> str | None:
    """Return the message of the armed fault for this resource, if any, and consume the fault."""
    fault = faults.take_service_fault(what, arn)
    return fault.message if fault else None


def _invalid(message: str) -> ServiceError:
    return ServiceError("InvalidParameterException", message)


def _invalid_token() -> ServiceError:
    return ServiceError("InvalidPaginationTokenException", "Invalid Pagination Token")


def _in_use(message: str) -> ServiceError:
    return ServiceError("ResourceInUseException", message)


def _limit(message: str) -> ServiceError:
    return ServiceError("LimitExceededException", message)


def _not_found(arn: str) -> ServiceError:
    return ServiceError("ResourceNotFoundException", f"There is no resource {arn}.")


def _refuse_not_played(request: Request, parameters: Iterable[str]) -> None:
    for parameter in parameters:
        if parameter in request:
            raise _invalid(f"The local AWS does not support {parameter}. Omit it.")


def _project_description(project: Project) -> Answer:
    return {
        "ProjectArn": project.arn,
        "CreationTimestamp": project.created,
        "Status": project.status,
        "Feature": "CUSTOM_LABELS",
        "Datasets": [
            {
                "CreationTimestamp": dataset.created,
                "DatasetType": dataset.kind,
                "DatasetArn": dataset.arn,
                "Status": dataset.status,
                "StatusMessage": dataset.message,
                "StatusMessageCode": dataset.message_code,
            }
            for dataset in project.datasets.values()
        ],
    }


def _is_asked_for(entry: CheckedLine, request: Request) -> bool:
    return (
        ("ContainsLabels" not in request or not entry.labels.isdisjoint(request["ContainsLabels"]))
        and request.get("Labeled", entry.is_labelled) == entry.is_labelled
        and request.get("SourceRefContains", "") in entry.source_ref
        and request.get("HasErrors", entry.has_errors) == entry.has_errors
    )


def _read_object(s3_object: dict[str, str]) -> bytes:
    response = aws.client("s3").get_object(Bucket=s3_object["Bucket"], Key=s3_object["Name"])
    with response["Body"] as body:
        return body.read()


def _image_content(image: dict[str, Any]) -> bytes:
    if ("Bytes" in image) == ("S3Object" in image):
        raise _invalid("Image must have either Bytes or S3Object.")
    if "Bytes" in image:
        content, limit = image["Bytes"], MAX_RAW_BYTES
    else:
        try:
            content, limit = _read_object(image["S3Object"]), MAX_IMAGE_BYTES
        except (KeyError, ClientError, ParamValidationError):
            message = "Unable to get object metadata from S3. Check object key, region and/or access permissions."
            raise ServiceError("InvalidS3ObjectException", message) from None
    if len(content) > limit:
        raise ServiceError("ImageTooLargeException", f"Image size is too large: the limit is {limit} bytes.")
    return content


def _decoded(content: bytes) -> np.ndarray:
    size = image_size(content)
    image = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR) if size else None
    if size is None or image is None:
        raise ServiceError("InvalidImageFormatException", "Request has invalid image format.")
    if not size.allowed:
        raise _invalid(f"An image of {size.width} x {size.height} pixels exceeds the limits of Custom Labels.")
    return image


def _custom_label(detection: Detection, width: int, height: int) -> Answer:
    return {
        "Name": detection.label,
        "Confidence": 100 * detection.confidence,
        "Geometry": {
            "BoundingBox": {
                "Width": detection.width / width,
                "Height": detection.height / height,
                "Left": detection.left / width,
                "Top": detection.top / height,
            },
            "Polygon": [{"X": float(x) / width, "Y": float(y) / height} for x, y in detection.outline],
        },
    }
