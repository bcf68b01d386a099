"""A job's model (a Rekognition project version, named by the execution): train it, start it, look at it, stop it."""

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

# Both stand for a quota in CreateProjectVersion (Rekognition API reference).
QUOTA_CODES = frozenset({"LimitExceededException", "ServiceQuotaExceededException"})
# No model comes of a version in these. Rekognition starts none that could not be started before (FAILED).
NOT_TRAINED = ("TRAINING_FAILED", "FAILED", "DELETING")
UP = ("STARTING", "RUNNING")
DOWN = ("STOPPING", "STOPPED")

logger = Logger(child=True)


@dataclass(frozen=True)
class StartTraining:
    """What the state `Start training` asks."""

    job_id: str
    project_arn: str
    version_name: str


@dataclass(frozen=True)
class TrainingStarted:
    """The model in training."""

    project_version_arn: str
    version_name: str


@dataclass(frozen=True)
class CheckTraining:
    """What the state `Check training` asks; ``waiting_since`` in Unix ms."""

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
    """What the state `Start model` asks."""

    job_id: str
    project_arn: str
    project_version_arn: str
    version_name: str


@dataclass(frozen=True)
class CheckModel:
    """What the state `Check model` asks; ``waiting_since`` in Unix ms."""

    job_id: str
    project_arn: str
    version_name: str
    poll: int
    waiting_since: int
    deadline_seconds: float


@dataclass(frozen=True)
class ModelStatus:
    """The model's status in Rekognition's words: STARTING, RUNNING, STOPPING, STOPPED ..."""

    status: str


def version_name(project_version_arn: str) -> str:
    """``v`` of ``arn:...:project/p/version/v/1690556751958``."""
    return project_version_arn.split("/")[3]


def job_id(project_version_arn: str) -> str:
    """The id of the job that made the model, which is its project's name."""
    return project_version_arn.split("/")[1]


def versions(project_arn: str) -> "list[ProjectVersionDescriptionTypeDef]":
    """DescribeProjectVersions' descriptions of all versions, newest first; a project has at most 100, which is a page.

    Source: Custom Labels guide, "Guidelines and quotas".
    """
    try:
        answer = clients.rekognition.describe_project_versions(ProjectArn=project_arn)
    except ClientError as error:
        if error_code(error) == "ResourceNotFoundException":
            return []
        raise
    return answer["ProjectVersionDescriptions"]


def describe(project_arn: str, name: str) -> "ProjectVersionDescriptionTypeDef | None":
    """DescribeProjectVersions' description of one version, or None when there is no such version or project."""
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
    """Find or make the job's project version, which starts its training.

    A project has the versions of one job: what an earlier execution has trained, or trains, is never trained again. One
    whose training failed stays and keeps its name, so each execution has its own.

    The model is tagged with ``cost_tags`` (``key=value``) and the job. ``kms_key_arn`` encrypts the copies of photos
    and manifests that Rekognition makes, and what it writes to ``bucket``; nothing means a key that AWS owns.

    Raises:
        TrainingSlotsBusy: the account's concurrent trainings are in use.
        Throttled: the project is busy with something else.
    """
    name = request.version_name
    key: dict[str, Any] = {"KmsKeyId": kms_key_arn} if kms_key_arn else {}
    found = _find_version(request)
    if found is not None:
        return TrainingStarted(found, version_name(found))
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
            raise TrainingSlotsBusy(f"Rekognition trains as many models as it may at a time: {quota(error)}") from error
        if error_code(error) != "ResourceInUseException":
            raise
        found = _find_version(request)
        if found is None:
            raise Throttled(f"The project is in use and has no version {name} yet: {error_code(error)}.") from error
        arn = found
    return TrainingStarted(arn, version_name(arn))


def _find_version(request: StartTraining) -> str | None:
    """The ARN of the project's newest version that is trained or in training, else of the execution's own."""
    found = versions(request.project_arn)
    arns = [str(one["ProjectVersionArn"]) for one in found if one["Status"] not in NOT_TRAINED]
    # One that failed in the meantime is for the check to tell.
    arns += [arn for one in found if version_name(arn := str(one["ProjectVersionArn"])) == request.version_name]
    return arns[0] if arns else None


def check_training(request: CheckTraining) -> tuple[TrainingChecked, int | None]:
    """Look how far the training is; also the billed training time in seconds when it is over.

    Raises:
        TrainingFailed: with the error codes of the manifest summary, if Rekognition wrote one, and how to read its
            message.
        TrainingTimedOut: it is not over and the deadline has passed.
    """
    version = describe(request.project_arn, request.version_name)
    if version is None:
        raise TrainingFailed("The job's model no longer exists.")
    status = version["Status"]
    if status in NOT_TRAINED:
        raise TrainingFailed(f"Training ended as {status}.{_manifest_faults(version)} {_reason(request, version)}")
    if status == "TRAINING_IN_PROGRESS":
        if is_overdue(request.waiting_since, request.deadline_seconds):
            raise TrainingTimedOut(f"Training is not over after {request.deadline_seconds / 3600:g} hours.")
        return TrainingChecked(False, status), None
    return TrainingChecked(True, status), version.get("BillableTrainingTimeInSeconds")


def start_model(request: StartModel, *, inference_units: int) -> ModelStatus:
    """Start the job's model, unless it is starting or running.

    Raises:
        RunningModelsLimit: the account's running models are all in use.
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
        found = version["Status"] if version else "gone"
        if found in UP:
            return ModelStatus(found)
        if error_code(error) == "LimitExceededException":
            raise RunningModelsLimit(f"The account runs as many models as it may: {quota(error)}") from error
        raise Throttled(f"The model is {found} and cannot be started now: {error_code(error)}.") from error
    return ModelStatus(status)


def check_model(request: CheckModel) -> ModelStatus:
    """Look whether the model runs.

    Raises:
        ModelFailed: Rekognition could not start it, or it was deleted.
        ModelTimedOut: it does not run and the deadline has passed.
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
    """Stop the model if it runs; its status afterwards, or None when it does not exist.

    A model that is STARTING cannot be stopped yet: it stays so, and the caller says it.
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
    """The JSON document at an ``S3Object`` as Rekognition names it.

    Raises:
        UnexpectedAnswer: it is not JSON.
    """
    body = clients.s3.get_object(Bucket=location["Bucket"], Key=location["Name"])["Body"].read()
    try:
        return json.loads(body)
    except ValueError as error:
        raise UnexpectedAnswer(f"s3://{location['Bucket']}/{location['Name']} is not JSON.") from error


def _reason(request: CheckTraining | CheckModel, version: Mapping[str, Any]) -> str:
    """How to read Rekognition's own message, which may quote photos and so stands in no cause."""
    if not version.get("StatusMessage"):
        return "Rekognition gave no reason."
    return (
        "To read Rekognition's reason: aws rekognition describe-project-versions --project-arn "
        f"{request.project_arn} --version-names {request.version_name} "
        "--query ProjectVersionDescriptions[0].StatusMessage"
    )


def _manifest_faults(version: Mapping[str, Any]) -> str:
    """The error codes of the manifest summary in words; it exists for faults in manifest contents only.

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
