"""A job's Rekognition project with its TRAIN and TEST datasets. Each job has one project, named after the job's id."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from botocore.exceptions import ClientError

from pipeline.clients import clients
from pipeline.errors import (
    DatasetFailed,
    DatasetSlotsBusy,
    DatasetTimedOut,
    Throttled,
    UnexpectedAnswer,
    error_code,
    quota,
)
from pipeline.jobs import now_ms
from pipeline.tags import tags

if TYPE_CHECKING:
    from types_boto3_rekognition.literals import DatasetTypeType
    from types_boto3_rekognition.type_defs import DatasetSourceTypeDef

FAILED = ("CREATE_FAILED", "UPDATE_FAILED")
COMPLETE = ("CREATE_COMPLETE", "UPDATE_COMPLETE")
# The error codes of CreateProject and CreateDataset for a resource that exists. Source: Rekognition API reference.
EXISTS_CODES = frozenset({"ResourceAlreadyExistsException", "ResourceInUseException"})


@dataclass(frozen=True)
class CreateDatasets:
    """The request of the state `Create datasets`. Manifests are S3 URIs."""

    job_id: str
    train_manifest: str
    test_manifest: str


@dataclass(frozen=True)
class DatasetsCreated:
    """The ARNs of the project and its datasets, which are not ready yet."""

    project_arn: str
    train_dataset_arn: str
    test_dataset_arn: str


@dataclass(frozen=True)
class CheckDatasets:
    """The request of the state `Check datasets`. ``waiting_since`` in Unix ms."""

    job_id: str
    train_dataset_arn: str
    test_dataset_arn: str
    poll: int
    waiting_since: int
    deadline_seconds: float


@dataclass(frozen=True)
class DatasetsChecked:
    """Whether both datasets are ready for training, and their statuses at Rekognition."""

    ready: bool
    train_status: str
    test_status: str


def is_overdue(waiting_since: int, deadline_seconds: float) -> bool:
    """Whether more than ``deadline_seconds`` have passed since ``waiting_since`` (Unix ms)."""
    return now_ms() - waiting_since > deadline_seconds * 1000


def create_datasets(request: CreateDatasets, *, cost_tags: Sequence[str]) -> DatasetsCreated:
    """Find or create the job's project, tagged with ``cost_tags`` (``key=value``) and the job's id, and both datasets.

    Raises:
        DatasetFailed: the quota of projects is used up, or Rekognition cannot read a manifest.
        DatasetSlotsBusy: a quota of datasets is used up.
        Throttled: the project is not ready for a dataset, or a failed dataset is being deleted. A retry creates the
            dataset.
    """
    project_arn = _find_or_make_project(request.job_id, cost_tags)
    return DatasetsCreated(
        project_arn,
        _find_or_make_dataset(request.job_id, project_arn, "TRAIN", request.train_manifest),
        _find_or_make_dataset(request.job_id, project_arn, "TEST", request.test_manifest),
    )


def check_datasets(request: CheckDatasets) -> DatasetsChecked:
    """Ask Rekognition whether both datasets are ready.

    Raises:
        DatasetFailed: Rekognition refused a manifest. The cause says how to read Rekognition's message.
        DatasetTimedOut: the datasets are not ready at their deadline.
    """
    statuses = {}
    for kind, arn in (("TRAIN", request.train_dataset_arn), ("TEST", request.test_dataset_arn)):
        description = clients.rekognition.describe_dataset(DatasetArn=arn)["DatasetDescription"]
        statuses[kind] = description["Status"]
        if description["Status"] in FAILED:
            reason = "Rekognition gave no reason."
            if description.get("StatusMessage"):  # not quoted, because it may have names of photos
                reason = (
                    "To read Rekognition's reason: aws rekognition describe-dataset "
                    f"--dataset-arn {arn} --query DatasetDescription.StatusMessage"
                )
            raise DatasetFailed(f"The {kind} dataset is {description['Status']}. {reason}")
    ready = all(status in COMPLETE for status in statuses.values())
    if not ready and is_overdue(request.waiting_since, request.deadline_seconds):
        raise DatasetTimedOut(
            f"After {request.deadline_seconds:g} s the TRAIN dataset is {statuses['TRAIN']} and the TEST dataset "
            f"{statuses['TEST']}."
        )
    return DatasetsChecked(ready, statuses["TRAIN"], statuses["TEST"])


def _find_or_make_project(name: str, cost_tags: Sequence[str]) -> str:
    try:
        arn: str = clients.rekognition.create_project(ProjectName=name, Tags=tags(name, cost_tags))["ProjectArn"]
    except ClientError as error:
        if error_code(error) == "LimitExceededException":
            raise DatasetFailed(
                f"The account's quota of projects is in use: {quota(error)} Delete projects of old jobs, or request a "
                "higher quota."
            ) from error
        if error_code(error) not in EXISTS_CODES:
            raise
        return str(_project(name)["ProjectArn"])
    return arn


def _project(name: str) -> dict[str, Any]:
    projects = clients.rekognition.describe_projects(ProjectNames=[name])["ProjectDescriptions"]
    for project in projects:
        if project["ProjectArn"].split("/")[1] == name:
            return dict(project)
    raise UnexpectedAnswer(f"Rekognition reports that project {name} exists, but does not describe it.")


def _find_or_make_dataset(name: str, project_arn: str, kind: "DatasetTypeType", manifest: str) -> str:
    location = urlsplit(manifest)
    source: DatasetSourceTypeDef = {
        "GroundTruthManifest": {"S3Object": {"Bucket": location.netloc, "Name": location.path.lstrip("/")}}
    }
    try:
        arn: str = clients.rekognition.create_dataset(ProjectArn=project_arn, DatasetType=kind, DatasetSource=source)[
            "DatasetArn"
        ]
    except ClientError as error:
        if error_code(error) == "InvalidS3ObjectException":
            raise DatasetFailed(
                f"Rekognition cannot read the {kind} manifest {manifest} or its photos: {error_code(error)}."
            ) from error
        if error_code(error) == "LimitExceededException":
            raise DatasetSlotsBusy(f"The account's quota of datasets is in use: {quota(error)}") from error
        if error_code(error) not in EXISTS_CODES:
            raise
        project = _project(name)
        if project["ProjectArn"] != project_arn:
            raise UnexpectedAnswer(f"Project {name} was deleted and created again during the job.") from error
        for dataset in project.get("Datasets", []):
            if dataset["DatasetType"] != kind or dataset["Status"] == "DELETE_IN_PROGRESS":
                continue
            if dataset["Status"] not in FAILED:
                return str(dataset["DatasetArn"])
            clients.rekognition.delete_dataset(DatasetArn=dataset["DatasetArn"])
            raise Throttled(f"The {kind} dataset is {dataset['Status']}. A retry creates it again.") from error
        raise Throttled(f"Project {name} is not ready for a {kind} dataset: {error_code(error)}.") from error
    return arn
