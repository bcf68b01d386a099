"""Requests the labels from their provider, and answers the task token of `Request labels` with Ground Truth's labels.

To answer a token is to call SendTaskSuccess or SendTaskFailure with it. A task token is a secret, because any principal
that has it can continue the execution. It is never logged.
"""

import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from aws_lambda_powertools import Logger
from botocore.exceptions import BotoCoreError, ClientError

from pipeline import payload
from pipeline.clients import clients
from pipeline.errors import (
    LabellingFailed,
    LabellingStopped,
    LabellingTimedOut,
    LabellingUnavailable,
    PipelineError,
    UnexpectedAnswer,
    error_code,
    quota,
)
from pipeline.jobs import Job, JobNotFound, MoveRefused, jobs, tokens
from pipeline.tags import tags
from rules.ground_truth_regions import FUNCTION_ACCOUNTS
from rules.states import REQUEST_LABELS, Status

if TYPE_CHECKING:
    from types_boto3_sagemaker.type_defs import DescribeLabelingJobResponseTypeDef

GROUND_TRUTH, PAGE, SUPPLIED = "ground-truth", "page", "supplied"
LABEL_ATTRIBUTE = "doctype"
TEMPLATE = Path(__file__).with_name("labelling_template.liquid")
ENDED = ("Completed", "Failed", "Stopped")
# DescribeLabelingJob's errors for a labelling job that does not exist. The service model has ResourceNotFound.
# SageMaker returns ValidationException for unknown jobs of other types, and our names are never invalid.
NO_SUCH_LABELLING_JOB = frozenset({"ResourceNotFound", "ValidationException"})
# The errors for a token that was answered, has expired or is invalid. Source: Step Functions API reference,
# SendTaskSuccess.
ALREADY_RESUMED = frozenset({"TaskTimedOut", "InvalidToken", "TaskDoesNotExist"})
TASK_SECONDS = 30 * 60  # a photo takes a minute; after 30, another worker of the team gets an unfinished task
AVAILABILITY_SECONDS = 30 * 24 * 3600  # the maximum for a private or vendor team
CONCURRENT_TASKS = 1000  # the default quota

logger = Logger(child=True)


@dataclass(frozen=True)
class RequestLabels:
    """The request of the state `Request labels`. ``requested_at`` is in ISO 8601, ``redrives`` counts resumes."""

    job_id: str
    provider: str
    images_manifest: str
    document_types: Sequence[str]
    task_token: str
    requested_at: str
    deadline_seconds: float
    redrives: int


@dataclass(frozen=True)
class LabelsRequested:
    """The function's result, which the state ignores: the state's result is the answer to the token."""

    waits_for: str


@dataclass(frozen=True)
class LabelsMade:
    """The answer to the token after people have labelled: the labelled manifest, and the numbers of photos.

    ``manifest`` is an S3 URI. It was written before ``labelling_ended`` (Unix ms).
    """

    provider: str
    manifest: str
    label_attribute: str
    labelled: int
    failed: int
    unlabelled: int
    labelling_ended: int


Notify = Callable[[str, int, LabelsMade], object]
"""Sends the notices that this attempt (labelling job) of the job has ended. Can be called any number of times."""


RequestPage = Callable[[RequestLabels], bool]
"""Makes the tasks of the labelling page and opens the job; returns True if all photos are labelled already."""


def job_name(job_id: str, attempt: int) -> str:
    """The name of a labelling job. SageMaker does not allow a name to be used again, so each attempt has its own."""
    return f"{job_id}-{attempt}"


def job_arn(state_machine_arn: str, job_id: str) -> str:
    """The ARN of the job's first labelling job, in the account and Region of the state machine."""
    _, partition, _, region, account, *_ = state_machine_arn.split(":")
    return f"arn:{partition}:sagemaker:{region}:{account}:labeling-job/{job_name(job_id, 1)}"


def describe(name: str) -> "DescribeLabelingJobResponseTypeDef | None":
    """DescribeLabelingJob's response, or None if the labelling job does not exist."""
    try:
        return clients.sagemaker.describe_labeling_job(LabelingJobName=name)
    except ClientError as error:
        if error_code(error) in NO_SUCH_LABELLING_JOB:
            return None
        raise


def status(name: str) -> str | None:
    """SageMaker's status of the labelling job, or None if the labelling job does not exist."""
    description = describe(name)
    return description["LabelingJobStatus"] if description else None


def parse_time(text: str) -> float:
    """Unix seconds of an ISO 8601 time such as ``2026-11-24T01:53:24.123Z``."""
    return datetime.fromisoformat(text).timestamp()


def request_labels(
    request: RequestLabels, ground_truth: "GroundTruth", *, page: RequestPage, notify: Notify
) -> LabelsRequested:
    """Store the token, find or create the labelling job or the tasks, and answer the token if there are labels already.

    Can run any number of times for a job. A later run finds the labelling job or the tasks of an earlier run.

    Raises:
        LabellingUnavailable: the stack has no work team, or the Region has no Ground Truth functions.
        LabellingTimedOut: no labels arrived before the deadline.
        TooManyPhotosToLabel: people would have to label too many photos on the labelling page.
        UnexpectedAnswer: the job does not wait for labels.
    """
    try:
        job = tokens.store(request.job_id, request.task_token, request.provider)
    except (JobNotFound, MoveRefused) as error:
        raise UnexpectedAnswer(f"Job {request.job_id} does not wait for labels: {error}") from error
    jobs.note_first(request.job_id, LabelsRequestedTime=int(parse_time(request.requested_at) * 1000))
    if request.provider == SUPPLIED:
        if job["PostedLabels"]:
            # The labels were posted for the token of an earlier run, which then failed.
            supply_labels(job)
        else:
            check_deadline(request, "no labels were posted")
            detail = "Waiting for labels: upload a COCO file or a manifest and post its name"
            jobs.advance(request.job_id, REQUEST_LABELS, detail=detail)
        return LabelsRequested(waits_for="supplied labels")

    if request.provider == PAGE:
        if not page(request):
            check_deadline(request, "not all photos are labelled")
        return LabelsRequested(waits_for="people at the labelling page")

    if not ground_truth.work_team:
        raise LabellingUnavailable("The stack has no work team: the setting workTeam is empty.")
    description = ground_truth.find_or_create(request)
    name = description["LabelingJobName"]
    jobs.advance(
        request.job_id,
        REQUEST_LABELS,
        status=Status.LABELLING,
        detail=f"Labelling job {name}",
        LabellingJobArn=description["LabelingJobArn"],
    )
    # ResumeLabelling ignores the event of a labelling job that the record does not name. The event may have been sent
    # before the record named it.
    description = clients.sagemaker.describe_labeling_job(LabelingJobName=name)
    if description["LabelingJobStatus"] in ENDED:
        # Notify first, because no retry runs this stage after the token was answered. A notice that cannot be sent must
        # not delay the labels.
        try:
            _notify(request.job_id, description, notify)
        except (ClientError, BotoCoreError, PipelineError) as error:
            logger.error("Labelled, but not all notices were sent", extra={"error": type(error).__name__})
        answer(request.job_id, request.task_token, description)
    else:
        check_deadline(request, f"labelling job {name} is still {description['LabelingJobStatus']}")
    return LabelsRequested(waits_for=name)


def resume_execution(event: Mapping[str, Any], *, notify: Notify) -> None:
    """Answer the token and send the notices after Ground Truth's event about the end of a labelling job.

    Takes the status from DescribeLabelingJob, not from the event. Ignores labelling jobs of other systems and labelling
    jobs that the job's record does not name: `request_labels` checks a new one itself, and older attempts do not count.
    If Lambda invokes the function again after a crash, sends the notices even if the token was answered already.
    """
    arn = event["resources"][0]
    name = arn.rpartition("/")[2]
    job_id = name.rpartition("-")[0]
    try:
        job = jobs.get(job_id)
    except JobNotFound:
        logger.info("The labelling job belongs to no job of the pipeline")
        return
    if str(job["LabellingJobArn"]).rpartition("/")[2] != name:
        logger.info("The job does not wait for this labelling job", extra={"job_id": job_id})
        return
    description = clients.sagemaker.describe_labeling_job(LabelingJobName=name)
    if description["LabelingJobStatus"] not in ENDED:
        return
    if job["TaskToken"]:
        answer(job_id, job["TaskToken"], description)
    _notify(job_id, description, notify)


def supply_labels(job: Job) -> bool:
    """Answer the token with the posted labels in ``job``; returns False if the token was answered already.

    The token stays in the record until the next state, `Import labels`, removes it.
    """
    return _answer_token(job["TaskToken"], job["PostedLabels"])


def answer(job_id: str, token: str, description: Mapping[str, Any]) -> None:
    """Answer the token with the result of the labelling job, or with a named error."""
    try:
        labels = read_outcome(description)
    except PipelineError as failure:
        send(job_id, token, failure)
        return
    jobs.note(job_id, Labelled=labels.labelled, LabellingFailures=labels.failed, Unlabelled=labels.unlabelled)
    send(job_id, token, payload.write(labels))


def read_outcome(description: Mapping[str, Any]) -> LabelsMade:
    """The result of a labelling job that has ended, from DescribeLabelingJob's response.

    The counters decide, because a labelling job may be ``Completed`` with unlabelled photos ("Complete with labeling
    errors").

    Raises:
        LabellingFailed: the labelling job failed, or ended without any labels.
        LabellingStopped: the labelling job was stopped.
    """
    name, status, counters = (
        description["LabelingJobName"],
        description["LabelingJobStatus"],
        description["LabelCounters"],
    )
    labelled, failed, unlabelled = (
        counters.get(counter, 0) for counter in ("TotalLabeled", "FailedNonRetryableError", "Unlabeled")
    )
    if status == "Failed":
        reason = "Ground Truth gave no reason."
        if description.get("FailureReason"):  # the reason may quote names of photos
            reason = (
                "To read Ground Truth's reason: aws sagemaker describe-labeling-job "
                f"--labeling-job-name {name} --query FailureReason"
            )
        raise LabellingFailed(f"Labelling job {name} failed. {reason}")
    if status == "Stopped":
        raise LabellingStopped(
            f"Labelling job {name} was stopped after {labelled} of {labelled + failed + unlabelled} photos."
        )
    if not labelled:
        raise LabellingFailed(
            f"Labelling job {name} ended without labels: {failed} photos failed, {unlabelled} are unlabelled. "
            "Check that the work team has members and that they can open the photos."
        )
    return LabelsMade(
        provider=GROUND_TRUTH,
        manifest=description["LabelingJobOutput"]["OutputDatasetS3Uri"],
        label_attribute=description["LabelAttributeName"],
        labelled=labelled,
        failed=failed,
        unlabelled=unlabelled,
        labelling_ended=int(description["LastModifiedTime"].timestamp() * 1000),
    )


@dataclass(frozen=True)
class GroundTruth:
    """Finds and creates labelling jobs with Ground Truth's built-in bounding box task.

    ``work_team`` and ``role`` are ARNs. ``work_team`` is empty if the stack has none. ``cost_tags`` are ``key=value``.
    ``kms_key_arn`` is the key that encrypts the output. If it is empty, the bucket's encryption applies.
    """

    bucket: str
    work_team: str
    role: str
    workers_per_image: int
    kms_key_arn: str
    cost_tags: Sequence[str]

    def find_or_create(self, request: RequestLabels) -> "DescribeLabelingJobResponseTypeDef":
        """Find or create the labelling job to wait for; returns its description.

        Each resume allows one more attempt. Returns the first attempt that neither failed nor was stopped. If there is
        none, returns the last allowed attempt.
        """
        for attempt in range(1, request.redrives + 1):
            description = self._find_or_create(request, attempt)
            if description["LabelingJobStatus"] not in ("Failed", "Stopping", "Stopped"):
                return description
        return self._find_or_create(request, request.redrives + 1)

    def _find_or_create(self, request: RequestLabels, attempt: int) -> "DescribeLabelingJobResponseTypeDef":
        name = job_name(request.job_id, attempt)
        description = describe(name)
        if description is None:
            try:
                clients.sagemaker.create_labeling_job(**self._new_job(request, name))
            except ClientError as error:
                if error_code(error) == "ResourceLimitExceeded":
                    raise LabellingUnavailable(
                        f"The account has reached its limit of labelling jobs: {quota(error)}"
                    ) from error
                if error_code(error) != "ResourceInUse":
                    raise
            description = describe(name)
        if (
            description is None
            or description["InputConfig"]["DataSource"]["S3DataSource"]["ManifestS3Uri"] != request.images_manifest
        ):
            raise UnexpectedAnswer(f"The labelling job {name} does not label {request.images_manifest}.")
        return description

    def _new_job(self, request: RequestLabels, name: str) -> dict[str, Any]:
        """Upload the template and the label categories; returns the arguments of CreateLabelingJob."""
        region = clients.sagemaker.meta.region_name
        if region not in FUNCTION_ACCOUNTS:
            raise LabellingUnavailable(
                f"Ground Truth has no bounding box functions in Region {region}. It has them in "
                f"{', '.join(FUNCTION_ACCOUNTS)}."
            )
        function = f"arn:aws:lambda:{region}:{FUNCTION_ACCOUNTS[region]}:function"
        folder = f"labelling/{request.job_id}"
        categories = {
            "document-version": "2018-11-28",
            "labels": [{"label": document_type} for document_type in request.document_types],
        }
        return {
            "LabelingJobName": name,
            "LabelAttributeName": LABEL_ATTRIBUTE,
            "InputConfig": {"DataSource": {"S3DataSource": {"ManifestS3Uri": request.images_manifest}}},
            "OutputConfig": {
                "S3OutputPath": f"s3://{self.bucket}/{folder}/output/",
                **({"KmsKeyId": self.kms_key_arn} if self.kms_key_arn else {}),
            },
            "Tags": [{"Key": key, "Value": value} for key, value in tags(request.job_id, self.cost_tags).items()],
            "RoleArn": self.role,
            "LabelCategoryConfigS3Uri": self._put(f"{folder}/categories.json", json.dumps(categories)),
            "HumanTaskConfig": {
                "WorkteamArn": self.work_team,
                "UiConfig": {"UiTemplateS3Uri": self._put(f"{folder}/template.liquid", TEMPLATE.read_text("utf-8"))},
                "PreHumanTaskLambdaArn": f"{function}:PRE-BoundingBox",
                "AnnotationConsolidationConfig": {"AnnotationConsolidationLambdaArn": f"{function}:ACS-BoundingBox"},
                "TaskKeywords": ["identity document", "bounding box"],
                "TaskTitle": "Draw a box around each identity document",
                "TaskDescription": "Draw a tight box around every identity document in the photo and choose its type.",
                "NumberOfHumanWorkersPerDataObject": self.workers_per_image,
                "TaskTimeLimitInSeconds": TASK_SECONDS,
                "TaskAvailabilityLifetimeInSeconds": AVAILABILITY_SECONDS,
                "MaxConcurrentTaskCount": CONCURRENT_TASKS,
            },
        }

    def _put(self, key: str, text: str) -> str:
        clients.s3.put_object(Bucket=self.bucket, Key=key, Body=text.encode())
        return f"s3://{self.bucket}/{key}"


def _notify(job_id: str, description: Mapping[str, Any], notify: Notify) -> None:
    """Notify that the photos are labelled. Without labels, the execution fails, and its end has a notice of its own."""
    try:
        labels = read_outcome(description)
    except PipelineError:
        return
    notify(job_id, int(description["LabelingJobName"].rpartition("-")[2]), labels)


def check_deadline(request: RequestLabels, state: str) -> None:
    """Raise LabellingTimedOut if the deadline has passed. ``state`` ends the error's sentence."""
    if time.time() > parse_time(request.requested_at) + request.deadline_seconds:
        raise LabellingTimedOut(f"{request.deadline_seconds / 86400:.3g} days after labels were requested, {state}.")


def send(job_id: str, token: str, result: Mapping[str, Any] | PipelineError) -> None:
    """Answer the token with an output or a named error, and remove it from the record."""
    _answer_token(token, result)
    tokens.forget(job_id, token)


def _answer_token(token: str, result: Mapping[str, Any] | PipelineError) -> bool:
    """Answer the token with an output or a named error; returns False if it was answered already."""
    try:
        if isinstance(result, PipelineError):
            clients.stepfunctions.send_task_failure(taskToken=token, error=type(result).__name__, cause=str(result))
        else:
            clients.stepfunctions.send_task_success(taskToken=token, output=json.dumps(result))
    except ClientError as error:
        if error_code(error) not in ALREADY_RESUMED:
            raise
        logger.info("The token was answered already", extra={"answer": error_code(error)})
        return False
    return True
