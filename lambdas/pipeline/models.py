"""Trains, describes, starts and stops a job's model: a Rekognition project version, named after the execution."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from aws_lambda_powertools import Logger
from botocore.exceptions import ClientError

from pipeline.clients import clients
from pipeline.errors import (
    ModelFailed,
    ModelTimedOut,
    RunningModelsLimit,
    Throttled,
    TrainingFailed,
    TrainingSlotsBusy,
    TrainingTimedOut,
    UnexpectedAnswer,
    error_code,
    quota,
)
from pipeline.projects import is_overdue
from pipeline.tags import tags

if TYPE_CHECKING:
    from types_boto3_rekognition.type_defs import ProjectVersionDescriptionTypeDef

# The error codes of CreateProjectVersion for a quota in use. Source: Rekognition API reference.
QUOTA_CODES = frozenset({"LimitExceededException", "ServiceQuotaExceededException"})
# A version with one of these statuses has no model to use. FAILED: a start failed; Rekognition allows no second start.
NOT_TRAINED = ("TRAINING_FAILED", "FAILED", "DELETING")
UP = ("STARTING", "RUNNING")
DOWN = ("STOPPING", "STOPPED")

logger = Logger(child=True)


@dataclass(frozen=True)
class StartTraining:
    """The request of the state `Start training`."""

    job_id: str
    project_arn: str
    version_name: str


@dataclass(frozen=True)
class TrainingStarted:
    """The model that is in training."""

    project_version_arn: str
    version_name: str


@dataclass(frozen=True)
class CheckTraining:
    """The request of the state `Check training`. ``waiting_since`` in Unix ms."""

    job_id: str
    project_arn: str
    version_name: str
    poll: int
    waiting_since: int
    deadline_seconds: float


@dataclass(frozen=True)
class TrainingChecked:
    """Whether the model is trained; ``status`` is Rekognition's."""

    completed: bool
    status: str


@dataclass(frozen=True)
class StartModel:
    """The request of the state `Start model`."""

    job_id: str
    project_arn: str
    project_version_arn: str
    version_name: str


@dataclass(frozen=True)
class CheckModel:
    """The request of the state `Check model`. ``waiting_since`` in Unix ms."""

    job_id: str
    project_arn: str
    version_name: str
    poll: int
    waiting_since: int
    deadline_seconds: float


@dataclass(frozen=True)
class ModelStatus:
    """The model's status at Rekognition: STARTING, RUNNING, STOPPING, STOPPED ..."""

    status: str


def version_name(project_version_arn: str) -> str:
    """``v`` of ``arn:...:project/p/version/v/1690556751958``."""
    return project_version_arn.split("/")[3]


def job_id(project_version_arn: str) -> str:
    """The id of the model's job, which is the name of its project."""
    return project_version_arn.split("/")[1]


def versions(project_arn: str) -> "list[ProjectVersionDescriptionTypeDef]":
    """The descriptions of all versions, newest first, from DescribeProjectVersions; [] without such a project.

    A project has at most 100 versions, which is one page. Source: Custom Labels guide, "Guidelines and quotas".
    """
    try:
        answer = clients.rekognition.describe_project_versions(ProjectArn=project_arn)
    except ClientError as error:
        if error_code(error) == "ResourceNotFoundException":
            return []
        raise
    return answer["ProjectVersionDescriptions"]


def describe(project_arn: str, name: str) -> "ProjectVersionDescriptionTypeDef | None":
    """The description of one version from DescribeProjectVersions, or None without such a version or project."""
    try:
        answer = clients.rekognition.describe_project_versions(ProjectArn=project_arn, VersionNames=[name])
    except ClientError as error:
        if error_code(error) == "ResourceNotFoundException":
            return None
        raise
    return next(iter(answer["ProjectVersionDescriptions"]), None)


def start_training(
    request: StartTraining, *, bucket: str, kms_key_arn: str, cost_tags: Sequence[str]
) -> TrainingStarted:
    """Find or create the job's project version. Creating it starts its training.

    If an earlier execution of the job has trained a model or is training it, this finds that version. A version whose
    training failed still has its name, so each execution gives its version another name.

    The model is tagged with ``cost_tags`` (``key=value``) and the job's id. Rekognition encrypts its copies of photos
    and manifests, and its output in ``bucket``, with ``kms_key_arn``; if this is empty, with a key that AWS owns.

    Raises:
        TrainingSlotsBusy: the account's quota of concurrent trainings is in use.
        Throttled: the project is in use by another operation.
    """
    name = request.version_name
    key: dict[str, Any] = {"KmsKeyId": kms_key_arn} if kms_key_arn else {}
    existing = _find_version(request)
    if existing is not None:
        return TrainingStarted(existing, version_name(existing))
    try:
        arn = clients.rekognition.create_project_version(
            ProjectArn=request.project_arn,
            VersionName=name,
            OutputConfig={"S3Bucket": bucket, "S3KeyPrefix": f"training/{request.job_id}"},
            Tags=tags(request.job_id, cost_tags),
            **key,
        )["ProjectVersionArn"]
    except ClientError as error:
        if error_code(error) in QUOTA_CODES:
            raise TrainingSlotsBusy(f"The account's quota of trainings is in use: {quota(error)}") from error
        if error_code(error) != "ResourceInUseException":
            raise
        existing = _find_version(request)
        if existing is None:
            raise Throttled(f"The project is in use and has no version {name} yet: {error_code(error)}.") from error
        arn = existing
    return TrainingStarted(arn, version_name(arn))


def _find_version(request: StartTraining) -> str | None:
    """The ARN of the project's newest version that is trained or in training, else of the execution's own version.

    The training of the execution's own version may have failed; Check training then reports the failure.
    """
    status_of = {version["ProjectVersionArn"]: version["Status"] for version in versions(request.project_arn)}
    usable = [arn for arn, status in status_of.items() if status not in NOT_TRAINED]
    own = [arn for arn in status_of if version_name(arn) == request.version_name]
    return next(iter(usable + own), None)


def check_training(request: CheckTraining) -> tuple[TrainingChecked, int | None]:
    """Ask Rekognition whether the training has ended; also returns the billed seconds after it has.

    Raises:
        TrainingFailed: the cause has the error codes of the manifest summary, if there is one, and says how to read
            Rekognition's message.
        TrainingTimedOut: the training has not ended at its deadline.
    """
    version = describe(request.project_arn, request.version_name)
    if version is None:
        raise TrainingFailed("The job's model no longer exists.")
    status = version["Status"]
    if status in NOT_TRAINED:
        raise TrainingFailed(f"Training ended as {status}.{_manifest_faults(version)} {_reason(request, version)}")
    if status == "TRAINING_IN_PROGRESS":
        if is_overdue(request.waiting_since, request.deadline_seconds):
            raise TrainingTimedOut(f"The training has not ended after {request.deadline_seconds / 3600:g} hours.")
        return TrainingChecked(False, status), None
    return TrainingChecked(True, status), version.get("BillableTrainingTimeInSeconds")


def start_model(request: StartModel, *, inference_units: int) -> ModelStatus:
    """Start the job's model, unless it is starting or running.

    Raises:
        RunningModelsLimit: the account's quota of running models is in use.
        Throttled: the model is still stopping.
    """
    try:
        status = clients.rekognition.start_project_version(
            ProjectVersionArn=request.project_version_arn, MinInferenceUnits=inference_units
        )["Status"]
    except ClientError as error:
        if error_code(error) not in ("LimitExceededException", "ResourceInUseException"):
            raise
        version = describe(request.project_arn, request.version_name)
        current = version["Status"] if version else "deleted"
        if current in UP:
            return ModelStatus(current)
        if error_code(error) == "LimitExceededException":
            raise RunningModelsLimit(f"The account's quota of running models is in use: {quota(error)}") from error
        raise Throttled(f"The model is {current} and cannot be started now: {error_code(error)}.") from error
    return ModelStatus(status)


def check_model(request: CheckModel) -> ModelStatus:
    """Ask Rekognition whether the model runs.

    Raises:
        ModelFailed: Rekognition could not start the model, or the model was deleted.
        ModelTimedOut: the model does not run at its deadline.
    """
    version = describe(request.project_arn, request.version_name)
    if version is None:
        raise ModelFailed("The job's model no longer exists.")
    status = version["Status"]
    if status in ("FAILED", "DELETING"):
        raise ModelFailed(f"The model is {status}. {_reason(request, version)}")
    if status != "RUNNING" and is_overdue(request.waiting_since, request.deadline_seconds):
        raise ModelTimedOut(f"The model is {status} after {request.deadline_seconds:g} s.")
    return ModelStatus(status)


def stop_model(project_arn: str, project_version_arn: str) -> str | None:
    """Stop the model if it runs; returns its status afterwards, or None if it does not exist.

    A model that is STARTING cannot be stopped yet, so its status stays STARTING.
    """
    version = describe(project_arn, version_name(project_version_arn))
    if version is None:
        return None
    status: str = version["Status"]
    if status == "RUNNING":
        try:
            status = clients.rekognition.stop_project_version(ProjectVersionArn=project_version_arn)["Status"]
        except ClientError as error:
            if error_code(error) != "ResourceInUseException":
                raise
            status = "STOPPING"  # another caller has just stopped it
    return status


def read_json(location: Mapping[str, str]) -> Any:
    """The JSON document at ``location``, an ``S3Object`` of Rekognition.

    Raises:
        UnexpectedAnswer: the object is not JSON.
    """
    body = clients.s3.get_object(Bucket=location["Bucket"], Key=location["Name"])["Body"].read()
    try:
        return json.loads(body)
    except ValueError as error:
        raise UnexpectedAnswer(f"s3://{location['Bucket']}/{location['Name']} is not JSON.") from error


def _reason(request: CheckTraining | CheckModel, version: Mapping[str, Any]) -> str:
    """How to read Rekognition's message. The cause does not have the message, because it may have names of photos."""
    if not version.get("StatusMessage"):
        return "Rekognition gave no reason."
    return (
        "To read Rekognition's reason: aws rekognition describe-project-versions --project-arn "
        f"{request.project_arn} --version-names {request.version_name} "
        "--query ProjectVersionDescriptions[0].StatusMessage"
    )


def _manifest_faults(version: Mapping[str, Any]) -> str:
    """A sentence with the error codes of the manifest summary, or "". Only errors in a manifest's content have codes.

    Source: Custom Labels guide, "Understanding the manifest summary".
    """
    location = version.get("ManifestSummary", {}).get("S3Object")
    if not location:
        return ""
    try:
        summary = read_json(location)
    except (ClientError, UnexpectedAnswer) as error:
        logger.warning("The manifest summary cannot be read", extra={"error": type(error).__name__})
        return ""
    statistics = summary.get("statistics", {})
    words = []
    for place, part in (
        ("the training manifest", statistics.get("training", {})),
        ("the test manifest", statistics.get("testing", {})),
        ("both manifests", summary),
    ):
        faults = [str(fault["code"]) for fault in part.get("errors", [])]
        if faults:
            words.append(f" In {place}: {', '.join(faults)}.")
    return "".join(words)
