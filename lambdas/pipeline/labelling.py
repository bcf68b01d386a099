"""Labelling by people: find or make the Ground Truth labelling job, and answer the task token that waits for it.

A token is a secret: any holder can resume the execution. It is never logged.
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
from rules.states import REQUEST_LABELS, Status

if TYPE_CHECKING:
    from types_boto3_sagemaker.type_defs import DescribeLabelingJobResponseTypeDef

GROUND_TRUTH, SUPPLIED = "ground-truth", "supplied"
LABEL_ATTRIBUTE = "doctype"
TEMPLATE = Path(__file__).with_name("labelling_template.liquid")
ENDED = ("Completed", "Failed", "Stopped")
# DescribeLabelingJob of a name that does not exist. The service model lists ResourceNotFound; SageMaker's control plane
# answers ValidationException for unknown names of its other job types. Our names are always valid, so both mean "none".
NO_SUCH_LABELLING_JOB = frozenset({"ResourceNotFound", "ValidationException"})
# The errors of a token that was answered, has expired or is invalid: Step Functions API reference, SendTaskSuccess.
ALREADY_RESUMED = frozenset({"TaskTimedOut", "InvalidToken", "TaskDoesNotExist"})
# The accounts that own the PRE-BoundingBox and ACS-BoundingBox functions: SageMaker API reference, CreateLabelingJob,
# which has the complete list of Regions.
FUNCTION_ACCOUNTS: Mapping[str, str] = {
    "us-east-1": "432418664414",
    "us-east-2": "266458841044",
    "us-west-2": "081040173940",
    "ca-central-1": "918755190332",
    "eu-west-1": "568282634449",
    "eu-west-2": "487402164563",
    "eu-central-1": "203001061592",
    "ap-northeast-1": "477331159723",
    "ap-northeast-2": "845288260483",
    "ap-south-1": "565803892007",
    "ap-southeast-1": "377565633583",
    "ap-southeast-2": "454466003867",
}
TASK_SECONDS = 30 * 60  # one photo takes a minute; an abandoned task goes back to the team after this
AVAILABILITY_SECONDS = 30 * 24 * 3600  # the maximum for a private or vendor team
CONCURRENT_TASKS = 1000  # the default quota

logger = Logger(child=True)


@dataclass(frozen=True)
class RequestLabels:
    """The request of the state `Request labels`; ``requested_at`` is ISO 8601, ``redrives`` a count."""

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
    """The function's result. The state's result is the output with which the token is answered."""

    waits_for: str


@dataclass(frozen=True)
class LabelsMade:
    """The output with which the token is answered after Ground Truth labelling.

    ``manifest`` is an S3 URI, which Ground Truth wrote before ``labelling_ended`` (Unix ms).
    """

    provider: str
    manifest: str
    label_attribute: str
    labelled: int
    failed: int
    unlabelled: int
    labelling_ended: int


Notify = Callable[[str, int, LabelsMade], object]
"""Notifies people and systems that this attempt at labelling has ended; may be called any number of times."""


def job_name(job_id: str, attempt: int) -> str:
    """The labelling job's name. A name can never be used again, so each attempt has its own."""
    return f"{job_id}-{attempt}"


def job_arn(state_machine_arn: str, job_id: str) -> str:
    """The ARN of the job's first labelling job, which is in the account and Region of the state machine."""
    _, partition, _, region, account, *_ = state_machine_arn.split(":")
    return f"arn:{partition}:sagemaker:{region}:{account}:labeling-job/{job_name(job_id, 1)}"


def describe(name: str) -> "DescribeLabelingJobResponseTypeDef | None":
    """DescribeLabelingJob's answer about one of our labelling jobs, or None when it does not exist."""
    try:
        return clients.sagemaker.describe_labeling_job(LabelingJobName=name)
    except ClientError as error:
        if error_code(error) in NO_SUCH_LABELLING_JOB:
            return None
        raise


def status(name: str) -> str | None:
    """The labelling job's status in SageMaker's words, or None when it does not exist."""
    description = describe(name)
    return description["LabelingJobStatus"] if description else None


def parse_time(text: str) -> float:
    """Unix seconds of an ISO 8601 time such as ``2026-11-24T01:53:24.123Z``."""
    return datetime.fromisoformat(text).timestamp()


def request_labels(request: RequestLabels, ground_truth: "GroundTruth", *, notify: Notify) -> LabelsRequested:
    """Store the token, find or create the labelling job, and answer the token if the labels exist already.

    May run any number of times for a job: it finds what an earlier run created.

    Raises:
        LabellingUnavailable: no work team is set, or the Region has no Ground Truth functions.
        LabellingTimedOut: the deadline has passed without labels.
        UnexpectedAnswer: the job does not wait for labels.
    """
    try:
        job = tokens.store(request.job_id, request.task_token, request.provider)
    except (JobNotFound, MoveRefused) as error:
        raise UnexpectedAnswer(f"Job {request.job_id} does not wait for labels: {error}") from error
    jobs.note_first(request.job_id, LabelsRequestedTime=int(parse_time(request.requested_at) * 1000))
    if request.provider == SUPPLIED:
        if job["PostedLabels"]:
            # The labels answered the token of an earlier attempt of this stage, which failed afterwards: answer again.
            supply_labels(job, job["PostedLabels"])
        else:
            _check_deadline(request, "no labels were posted")
            detail = "Waiting for labels: upload a COCO file or a manifest and post its name"
            jobs.advance(request.job_id, REQUEST_LABELS, detail=detail)
        return LabelsRequested(waits_for="supplied labels")

    if not ground_truth.work_team:
        raise LabellingUnavailable("The stack has no work team: the setting workTeam is empty.")
    description = ground_truth.find_or_make(request)
    name = description["LabelingJobName"]
    jobs.advance(
        request.job_id,
        REQUEST_LABELS,
        status=Status.LABELLING,
        detail=f"Labelling job {name}",
        LabellingJobArn=description["LabelingJobArn"],
    )
    # From here on the record names the labelling job, so ResumeLabelling handles its event. An earlier event was
    # ignored: check whether the labelling job has ended.
    description = clients.sagemaker.describe_labeling_job(LabelingJobName=name)
    if description["LabelingJobStatus"] in ENDED:
        # Notify first: after the token is answered, no retry runs this stage again. But a message that cannot be sent
        # must not hold up the labels.
        try:
            _notify(request.job_id, description, notify)
        except (ClientError, BotoCoreError, PipelineError) as error:
            logger.error("Labelled, but not all notices were sent", extra={"error": type(error).__name__})
        answer(request.job_id, request.task_token, description)
    else:
        _check_deadline(request, f"labelling job {name} is still {description['LabelingJobStatus']}")
    return LabelsRequested(waits_for=name)


def resume_execution(event: Mapping[str, Any], *, notify: Notify) -> None:
    """Handle Ground Truth's event that a labelling job ended. DescribeLabelingJob, not the event, gives the status.

    Ignores labelling jobs of other systems, a labelling job that the job's record does not name yet
    (`request_labels` looks for it), and attempts older than the one that the record names. When Lambda calls again
    after a crash, this sends the notices that were not sent, even if the token is answered already.
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
        logger.info("No task token waits for this labelling job", extra={"job_id": job_id})
        return
    description = clients.sagemaker.describe_labeling_job(LabelingJobName=name)
    if description["LabelingJobStatus"] not in ENDED:
        return
    if job["TaskToken"]:
        answer(job_id, job["TaskToken"], description)
    _notify(job_id, description, notify)


def supply_labels(job: Job, labels_key: str) -> bool:
    """Answer the token with uploaded labels; False when another caller has answered it.

    The record keeps the used token until the next state, `Import labels`, removes it.
    """
    return _answer_token(job["TaskToken"], {"provider": SUPPLIED, "labelsKey": labels_key})


def answer(job_id: str, token: str, description: Mapping[str, Any]) -> None:
    """Answer the token with the result of the labelling job."""
    try:
        made = read_outcome(description)
    except PipelineError as failure:
        _send(job_id, token, failure)
        return
    jobs.note(job_id, Labelled=made.labelled, LabellingFailures=made.failed, Unlabelled=made.unlabelled)
    _send(job_id, token, payload.write(made))


def read_outcome(description: Mapping[str, Any]) -> LabelsMade:
    """Read the answer of DescribeLabelingJob about a labelling job that has ended.

    A job can be ``Completed`` with unlabelled photos ("Complete with labeling errors"), so the counters decide.

    Raises:
        LabellingFailed: the labelling job failed, or no photo was labelled.
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
            f"Labelling job {name} ended with no photo labelled: {failed} failed, {unlabelled} unlabelled. "
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
    """Labelling jobs at Ground Truth with the built-in bounding box task.

    ``work_team``, empty if the stack has none, and ``role`` are ARNs. A labelling job is tagged with ``cost_tags``
    (``key=value``) and the job. ``kms_key_arn`` encrypts its output; empty means the bucket's encryption.
    """

    bucket: str
    work_team: str
    role: str
    workers_per_image: int
    kms_key_arn: str
    cost_tags: Sequence[str]

    def find_or_make(self, request: RequestLabels) -> "DescribeLabelingJobResponseTypeDef":
        """The description of the labelling job to wait for.

        Each redrive allows one more attempt. An attempt that failed, or was or is being stopped, is followed by the
        next. An attempt that is in progress or complete is used, and so is the last allowed one, however it ended.
        """
        for attempt in range(1, request.redrives + 1):
            description = self._attempt(request, attempt)
            if description["LabelingJobStatus"] not in ("Failed", "Stopping", "Stopped"):
                return description
        return self._attempt(request, request.redrives + 1)

    def _attempt(self, request: RequestLabels, attempt: int) -> "DescribeLabelingJobResponseTypeDef":
        name = job_name(request.job_id, attempt)
        found = describe(name)
        if found is None:
            try:
                clients.sagemaker.create_labeling_job(**self._new_job(request, name))
            except ClientError as error:
                if error_code(error) == "ResourceLimitExceeded":
                    raise LabellingUnavailable(
                        f"Ground Truth takes no further labelling job now: {quota(error)}"
                    ) from error
                if error_code(error) != "ResourceInUse":
                    raise
            found = describe(name)
        if (
            found is None
            or found["InputConfig"]["DataSource"]["S3DataSource"]["ManifestS3Uri"] != request.images_manifest
        ):
            raise UnexpectedAnswer(f"Labelling job {name} is not the one made for {request.images_manifest}.")
        return found

    def _new_job(self, request: RequestLabels, name: str) -> dict[str, Any]:
        """The arguments of CreateLabelingJob. Uploads the template and the label categories that they name."""
        region = clients.sagemaker.meta.region_name
        if region not in FUNCTION_ACCOUNTS:
            raise LabellingUnavailable(
                f"Ground Truth has no bounding box functions in Region {region}; it has them in "
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
    """Notify that people have labelled. Without labels the execution fails, which has a notice of its own."""
    try:
        made = read_outcome(description)
    except PipelineError:
        return
    notify(job_id, int(description["LabelingJobName"].rpartition("-")[2]), made)


def _check_deadline(request: RequestLabels, state: str) -> None:
    if time.time() > parse_time(request.requested_at) + request.deadline_seconds:
        raise LabellingTimedOut(f"{request.deadline_seconds / 86400:.3g} days after labels were asked for, {state}.")


def _send(job_id: str, token: str, result: Mapping[str, Any] | PipelineError) -> None:
    """Resume the execution with an output or a named error, unless it is resumed already, and remove the token."""
    _answer_token(token, result)
    tokens.forget(job_id, token)


def _answer_token(token: str, result: Mapping[str, Any] | PipelineError) -> bool:
    """Answer the token; True when this call resumed the execution."""
    try:
        if isinstance(result, PipelineError):
            clients.stepfunctions.send_task_failure(taskToken=token, error=type(result).__name__, cause=str(result))
        else:
            clients.stepfunctions.send_task_success(taskToken=token, output=json.dumps(result))
    except ClientError as error:
        if error_code(error) not in ALREADY_RESUMED:
            raise
        logger.info("The execution had been resumed already", extra={"answer": error_code(error)})
        return False
    return True
