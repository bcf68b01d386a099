"""SageMaker Ground Truth: bounding-box labelling jobs and private work teams, inside the moto server.

A job reads its manifest, label categories and worker template from S3. The simulated workforce and people at the
labelling page label the photos. The job writes the output manifest and the workers' answers in Ground Truth's formats,
and sends the EventBridge event at its end. Not simulated: streaming jobs, automated labelling, stopping conditions,
other task types.
"""

from __future__ import annotations

import contextlib
import datetime
import hashlib
import json
import re
import secrets
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Any

from botocore.exceptions import ClientError, ParamValidationError
from moto.core.base_backend import BaseBackend
from moto.sagemaker.models import sagemaker_backends

from ekyc.localaws import aws, faults
from ekyc.localaws.clock import clock
from ekyc.localaws.errors import ServiceError
from ekyc.localaws.faults import What
from ekyc.localaws.services import events, stand_in
from ekyc.localaws.services.custom_labels_manifest import Size
from ekyc.localaws.services.labelling_tasks import Assignment, Task, TaskError, Tasks
from ekyc.localaws.services.stand_in import Answer, Request, StandIn, now
from ekyc.localaws.services.training import image_size
from ekyc.localaws.services.workforce import DrawnBox, Workforce, consolidate, raw_answer

OPERATIONS = (
    "CreateLabelingJob",
    "DescribeLabelingJob",
    "StopLabelingJob",
    "ListLabelingJobs",
    "CreateWorkteam",
    "DescribeWorkteam",
    "ListWorkteams",
)

# The accounts of the built-in Lambda functions PRE-BoundingBox and ACS-BoundingBox. Other Regions have no Ground Truth.
# Source: SageMaker API reference, HumanTaskConfig and AnnotationConsolidationConfig.
FUNCTION_ACCOUNTS = {
    "us-east-1": "432418664414",
    "us-east-2": "266458841044",
    "us-west-2": "081040173940",
    "ca-central-1": "918755190332",
    "eu-west-1": "568282634449",
    "eu-west-2": "487402164563",
    "ap-northeast-1": "477331159723",
    "ap-northeast-2": "845288260483",
    "ap-south-1": "565803892007",
    "ap-southeast-1": "377565633583",
    "ap-southeast-2": "454466003867",
    "eu-central-1": "203001061592",
}

# Ground Truth guide, "Input data quotas" and "Use an input manifest file".
MAX_OBJECTS = 100_000
MAX_LINE_CHARACTERS = 100_000
MAX_CATEGORIES = 50
MAX_CATEGORY_CHARACTERS = 256
MAX_IMAGE_BYTES = 40 * 1024 * 1024
MAX_TASK_SECONDS = 28_800
MAX_WORK_TEAMS = 25
JOB_LIFE_SECONDS = 30 * 24 * 3600
LOOK_EVERY = 60  # service seconds between checks whether the simulated workers are active again

workforce = Workforce()
"""The simulated workers of all jobs."""


class JobFailed(Exception):
    """The job fails. The message becomes its FailureReason."""


@dataclass
class LabelingJob:
    """A job: its request and its state. Tasks, categories and template are set when the job is in progress."""

    request: Request
    arn: str
    created: float
    reference_code: str
    status: str = "Initializing"
    updated: float = 0.0
    failure_reason: str = ""
    tasks: Tasks = field(default_factory=lambda: Tasks([], 1, []))
    categories: list[str] = field(default_factory=list)
    template: str = ""
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


@dataclass(frozen=True)
class WorkTeam:
    """A private work team."""

    arn: str
    created: float
    request: Request

    @property
    def description(self) -> Answer:
        """The work team as DescribeWorkteam returns it."""
        shown = ("WorkteamName", "MemberDefinitions", "Description", "NotificationConfiguration")
        return {
            "WorkteamArn": self.arn,
            "WorkforceArn": self.arn.split(":workteam/")[0] + ":workforce/default",
            "SubDomain": f"local.labeling.{self.arn.split(':')[3]}.sagemaker.aws",
            "CreateDate": self.created,
            "LastUpdatedDate": self.created,
            **{key: self.request[key] for key in shown if key in self.request},
        }


DEFAULT_TEAM: Request = {
    "WorkteamName": "specimen-labellers",
    "Description": "The people who label specimen documents.",
    "MemberDefinitions": [
        {"CognitoMemberDefinition": {"UserPool": "us-east-1_Specimens", "UserGroup": "labellers", "ClientId": "local"}}
    ],
}


class GroundTruth(StandIn):
    """The operations. Delays are in service seconds."""

    start_seconds = 10.0
    stop_seconds = 10.0

    def __init__(self, backend: BaseBackend) -> None:
        super().__init__(backend)
        self._jobs: dict[str, LabelingJob] = {}
        self._teams: dict[str, WorkTeam] = {}
        self.create_workteam(DEFAULT_TEAM)

    # Labelling jobs

    def create_labeling_job(self, request: Request) -> Answer:
        """CreateLabelingJob. Errors in reading from S3 appear later, as a FailureReason."""
        self._check_job(request)
        name = request["LabelingJobName"]
        if full := faults.take_service_fault(What.LABELLING_JOBS_FULL, name):
            raise ServiceError("ResourceLimitExceeded", full.message)
        with self.lock:
            # Names are unique forever, and not case-sensitive.
            if name.lower() in self._jobs:
                raise ServiceError("ResourceInUse", f"A labeling job with the name {name} already exists.")
            arn = f"arn:aws:sagemaker:{self.region}:{self.account}:labeling-job/{name}"
            created = now()
            job = LabelingJob(request, arn, created, f"{self.account}{secrets.token_hex(8)}", updated=created)
            self._jobs[name.lower()] = job
        self.background(self._run, job)
        return {"LabelingJobArn": arn}

    def describe_labeling_job(self, request: Request) -> Answer:
        """DescribeLabelingJob."""
        with self.lock:
            job = self._job(request)
            wanted = job.request
            optional = {key: value for key, value in wanted.items() if key in ("LabelCategoryConfigS3Uri", "Tags")}
            return job.summary | {
                "JobReferenceCode": job.reference_code,
                "LabelAttributeName": job.attribute,
                "OutputConfig": {"KmsKeyId": "", **wanted["OutputConfig"]},
                "RoleArn": wanted["RoleArn"],
                "HumanTaskConfig": wanted["HumanTaskConfig"],
                **optional,
            }

    def stop_labeling_job(self, request: Request) -> None:
        """StopLabelingJob. The job writes the labels made so far."""
        with self.lock:
            job = self._job(request)
            if job.status not in ("Initializing", "InProgress"):
                raise _invalid(f"A labeling job in status {job.status} cannot be stopped.")
            job.become("Stopping")
            job.tasks.over.set()

    def list_labeling_jobs(self, request: Request) -> Answer:
        """ListLabelingJobs, by default newest first."""
        with self.lock:
            summaries = [job.summary | _task_functions(job.request) for job in self._jobs.values()]
        times = ("CreationTime", "LastModifiedTime")
        chosen = [
            summary
            for summary in summaries
            if request.get("NameContains", "").lower() in summary["LabelingJobName"].lower()
            and request.get("StatusEquals", summary["LabelingJobStatus"]) == summary["LabelingJobStatus"]
            and all(request.get(f"{time}After", 0) <= summary[time] for time in times)
            and all(summary[time] <= request.get(f"{time}Before", summary[time]) for time in times)
        ]
        field_name = {"Name": "LabelingJobName", "Status": "LabelingJobStatus"}.get(request.get("SortBy", ""))
        chosen.sort(
            key=lambda summary: summary[field_name or "CreationTime"],
            reverse=request.get("SortOrder", "Descending") == "Descending",
        )
        shown, following = stand_in.page(chosen, request, _invalid_token)
        return {"LabelingJobSummaryList": shown, **following}

    def _job(self, request: Request) -> LabelingJob:
        name = request["LabelingJobName"]
        if name.lower() not in self._jobs:
            # As DescribeTrainingJob returns, although the service model lists ResourceNotFound (boto3 issue 2808).
            raise ServiceError("ValidationException", "Requested resource not found.")
        return self._jobs[name.lower()]

    def _check_job(self, request: Request) -> None:
        task, source = request["HumanTaskConfig"], request["InputConfig"]["DataSource"]
        for parameter in ("StoppingConditions", "LabelingJobAlgorithmsConfig"):
            if parameter in request:
                raise _invalid(f"The local AWS does not support {parameter}. Omit it.")
        if "S3DataSource" not in source:
            raise _invalid("InputConfig must have an S3DataSource: the local AWS does not support streaming jobs.")
        if "UiTemplateS3Uri" not in task["UiConfig"] or "LabelCategoryConfigS3Uri" not in request:
            raise _invalid("A bounding-box job must have UiConfig.UiTemplateS3Uri and LabelCategoryConfigS3Uri.")
        self._check_attribute(request["LabelAttributeName"])
        self._check_functions(task)
        if task["TaskTimeLimitInSeconds"] > MAX_TASK_SECONDS:
            raise _invalid(f"TaskTimeLimitInSeconds must not be above {MAX_TASK_SECONDS} for a task with images.")
        if task.get("TaskAvailabilityLifetimeInSeconds", 0) > JOB_LIFE_SECONDS:
            raise _invalid(f"TaskAvailabilityLifetimeInSeconds must not be above {JOB_LIFE_SECONDS}.")
        with self.lock:
            if task["WorkteamArn"] not in {team.arn for team in self._teams.values()}:
                raise _invalid(f"There is no work team {task['WorkteamArn']}.")
        try:
            aws.client("iam").get_role(RoleName=request["RoleArn"].rsplit("/", 1)[-1])
        except ClientError:
            raise _invalid(f"The role {request['RoleArn']} does not exist or cannot be assumed.") from None

    def _check_attribute(self, name: str) -> None:
        """Source: SageMaker API reference, CreateLabelingJob; Ground Truth guide, "Chaining labeling jobs"."""
        if name.endswith(("-metadata", "-ref")) or name in ("source", "source-ref"):
            message = f"LabelAttributeName {name} is reserved or ends in -metadata or -ref, as no box label may."
            raise _invalid(message)

    def _check_functions(self, task: Request) -> None:
        account = FUNCTION_ACCOUNTS.get(self.region)
        consolidation = task.get("AnnotationConsolidationConfig", {}).get("AnnotationConsolidationLambdaArn")
        for kind, arn in (("PRE", task.get("PreHumanTaskLambdaArn")), ("ACS", consolidation)):
            expected = f"arn:aws:lambda:{self.region}:{account}:function:{kind}-BoundingBox"
            if arn != expected:
                raise _invalid(f"The local AWS supports only bounding-box jobs: {arn} must be {expected}.")

    # The life of a job

    def _run(self, job: LabelingJob) -> None:
        self.sleep(self.start_seconds)
        try:
            if reason := workforce.take_failure():
                raise JobFailed(reason)
            if fault := faults.take_service_fault(What.LABELLING_FAILS, job.name):
                raise JobFailed(fault.message)
            categories = _categories(job.request["LabelCategoryConfigS3Uri"])
            template = _template(job.request["HumanTaskConfig"]["UiConfig"]["UiTemplateS3Uri"])
            lines = _objects(job.request["InputConfig"]["DataSource"]["S3DataSource"]["ManifestS3Uri"])
            workers = job.request["HumanTaskConfig"]["NumberOfHumanWorkersPerDataObject"]
            # A chained job labels only objects without a label.
            given = [job.attribute in line and f"{job.attribute}-metadata" in line for line in lines]
            tasks = Tasks(lines, workers, given)
            if faults.take_service_fault(What.NOTHING_LABELLED, job.name):
                tasks.expire()
            with self.lock:
                job.tasks, job.categories, job.template = tasks, categories, template
                if job.status == "Initializing":
                    job.become("InProgress")
                if faults.take_service_fault(What.LABELLING_STOPS, job.name):
                    job.become("Stopping")
            with clock.at_real_pace() if workforce.people_come else contextlib.nullcontext():
                self._label(job)
            if job.status == "Stopping":
                self.sleep(self.stop_seconds)
            output_uri = self._write_output(job)
            with self.lock:
                job.output_uri = output_uri
                job.become("Stopped" if job.status == "Stopping" else "Completed")
        except JobFailed as failed:
            self.sleep(0)
            with self.lock:
                job.failure_reason = str(failed)
                job.become("Failed")
        events.emit(
            "aws.sagemaker",
            "SageMaker Ground Truth Labeling Job State Change",
            [job.arn],
            {"LabelingJobStatus": job.status},
        )

    def _label(self, job: LabelingJob) -> None:
        """Wait until all photos are labelled, by the simulated workforce or by people, or until the job is stopped.

        Raises JobFailed if the job exceeds the maximum lifetime of a labelling job.
        """
        answers = job.request["HumanTaskConfig"]["NumberOfHumanWorkersPerDataObject"]
        expires, due = now() + JOB_LIFE_SECONDS, now() + workforce.seconds_between_photos(answers)
        while job.status != "Stopping" and not job.tasks.is_complete:
            if now() > expires:
                raise JobFailed("The labeling job expired: it was not complete after 30 days.")
            if not workforce.is_at_work:
                due = now() + LOOK_EVERY
            elif now() >= due:
                self._simulate(job, answers)
                due += workforce.seconds_between_photos(answers)
            self.sleep(max(0.001, min(due, expires) - now()), until=job.tasks.over)

    def _simulate(self, job: LabelingJob, count: int) -> None:
        """Let `count` simulated workers each label the next free photo."""
        for number in range(count):
            worker = f"specimen-labeller-{number}"
            with contextlib.suppress(TaskError):  # a person may have labelled the last photo meanwhile
                claimed = self.claim(job, worker)
                if claimed is None:
                    continue
                turn, size = claimed
                name = PurePosixPath(turn.task.line["source-ref"]).name
                boxes = workforce.draw(name, size, job.categories, number)
                if boxes is None:
                    job.tasks.decline(turn.id, worker)
                else:
                    job.tasks.submit(turn.id, worker, boxes, workforce.seconds_per_photo)

    def claim(self, job: LabelingJob, worker: str) -> tuple[Assignment, Size] | None:
        """The next photo for `worker` and its size, or None.

        Photos that cannot be read are marked as failed. Raises JobEnded.
        """
        while turn := job.tasks.claim(worker):
            if size := self.size_of(turn):
                return turn, size
            reason = "ClientError: the object cannot be read, or is not a JPEG or PNG of at most 40 MB."
            job.tasks.fail(turn.task, reason)
        return None

    def size_of(self, turn: Assignment) -> Size | None:
        """The displayed size of the assignment's photo, or None if it cannot be read."""
        if turn.task.size is None:
            content = _read_uri(turn.task.line["source-ref"])
            turn.task.size = image_size(content) if content is not None and len(content) <= MAX_IMAGE_BYTES else None
        return turn.task.size

    def photo_of(self, turn: Assignment) -> bytes | None:
        """The assignment's photo, or None if it can no longer be read."""
        return _read_uri(turn.task.line["source-ref"])

    def jobs(self) -> list[LabelingJob]:
        """All labelling jobs, newest first."""
        with self.lock:
            return list(reversed(self._jobs.values()))

    def _output_line(self, job: LabelingJob, task: Task) -> dict[str, Any]:
        """The output line of an object.

        Without a label it equals the input. Source: Ground Truth guide, "Output data".
        """
        if task.failure:
            return task.line | {f"{job.attribute}-metadata": {"failure-reason": task.failure}}
        if task.given or not task.is_labelled:
            return task.line
        assert task.size  # noqa: S101  (set when the first worker claimed the photo)
        self._write_answers(job, task, task.size)
        merged = consolidate([answer.boxes for answer in task.answers])
        return task.line | _label_of(job, merged, task.size)

    def _write_answers(self, job: LabelingJob, task: Task, size: Size) -> None:
        response = {
            "answers": [
                {
                    "answerContent": raw_answer(answer.boxes, size),
                    "acceptanceTime": _milliseconds(answer.accepted),
                    "submissionTime": _milliseconds(answer.submitted),
                    "timeSpentInSeconds": round((answer.submitted - answer.accepted).total_seconds(), 3),
                    "workerId": f"private.{self.region}.{hashlib.sha256(answer.worker.encode()).hexdigest()[:16]}",
                    "workerMetadata": {
                        "identityData": {
                            "identityProviderType": "Cognito",
                            "issuer": f"https://cognito-idp.{self.region}.amazonaws.com/{self.region}_Specimens",
                            "sub": answer.worker,
                        }
                    },
                }
                for answer in task.answers
            ]
        }
        name = f"{max(answer.submitted for answer in task.answers):%Y-%m-%d_%H:%M:%S}.json"
        folder = f"{job.output_path}/annotations/worker-response/iteration-1/{task.number}"
        _write_uri(f"{folder}/{name}", json.dumps(response))

    def _write_output(self, job: LabelingJob) -> str:
        """Write the workers' answers and the output manifest. Returns the manifest's URI."""
        lines = [self._output_line(job, task) for task in job.tasks.close()]
        uri = f"{job.output_path}/manifests/output/output.manifest"
        _write_uri(uri, "".join(json.dumps(line) + "\n" for line in lines))
        return uri

    # Work teams

    def create_workteam(self, request: Request) -> Answer:
        """CreateWorkteam of the private workforce."""
        name = request["WorkteamName"]
        with self.lock:
            if name in self._teams:
                raise ServiceError("ResourceInUse", f"A work team with the name {name} already exists.")
            if len(self._teams) >= MAX_WORK_TEAMS:
                raise ServiceError(
                    "ResourceLimitExceeded", f"The account already has the maximum of {MAX_WORK_TEAMS} work teams."
                )
            arn = f"arn:aws:sagemaker:{self.region}:{self.account}:workteam/private-crowd/{name}"
            self._teams[name] = WorkTeam(arn, now(), request)
        return {"WorkteamArn": arn}

    def describe_workteam(self, request: Request) -> Answer:
        """DescribeWorkteam."""
        name = request["WorkteamName"]
        with self.lock:
            if name not in self._teams:
                raise _invalid(f"There is no work team with the name {name}.")
            return {"Workteam": self._teams[name].description}

    def list_workteams(self, request: Request) -> Answer:
        """ListWorkteams, by default oldest first."""
        with self.lock:
            teams = [team.description for team in self._teams.values()]
        chosen = [team for team in teams if request.get("NameContains", "").lower() in team["WorkteamName"].lower()]
        chosen.sort(
            key=lambda team: team["WorkteamName" if request.get("SortBy") == "Name" else "CreateDate"],
            reverse=request.get("SortOrder") == "Descending",
        )
        shown, following = stand_in.page(chosen, request, _invalid_token)
        return {"Workteams": shown, **following}


def current() -> GroundTruth:
    """The current state of the local AWS. A reset replaces it."""
    return GroundTruth.of(sagemaker_backends[aws.account][aws.region])


def _invalid(message: str) -> ServiceError:
    return ServiceError("ValidationException", message)


def _invalid_token() -> ServiceError:
    return _invalid("NextToken was not returned by this operation.")


def _task_functions(request: Request) -> Answer:
    task = request["HumanTaskConfig"]
    return {
        "WorkteamArn": task["WorkteamArn"],
        "PreHumanTaskLambdaArn": task["PreHumanTaskLambdaArn"],
        **task["AnnotationConsolidationConfig"],
    }


def _read_uri(uri: str) -> bytes | None:
    """The content of an object, or None if it cannot be read."""
    match = re.fullmatch(r"s3://([^/]+)/(.+)", uri)
    if not match:
        return None
    try:
        response = aws.client("s3").get_object(Bucket=match[1], Key=match[2])
    except (ClientError, ParamValidationError):
        return None
    with response["Body"] as body:
        return body.read()


def _write_uri(uri: str, text: str) -> None:
    bucket, key = uri.removeprefix("s3://").split("/", 1)
    try:
        aws.client("s3").put_object(Bucket=bucket, Key=key, Body=text.encode())
    except (ClientError, ParamValidationError):
        raise JobFailed(f"ClientError: cannot write to {uri}.") from None


def _text(uri: str, what: str) -> str:
    try:
        text = (_read_uri(uri) or b"").decode("utf-8")
    except UnicodeDecodeError:
        text = ""
    if not text:
        raise JobFailed(f"ClientError: the {what} {uri} cannot be read, is empty or is not UTF-8.")
    return text


def _categories(uri: str) -> list[str]:
    """The names of the label categories. Source: SageMaker API reference, LabelCategoryConfigS3Uri."""
    try:
        document = json.loads(_text(uri, "label category file"))
        names = [label["label"] for label in document["labels"]]
        if document["document-version"] != "2018-11-28" or not all(isinstance(name, str) for name in names):
            raise ValueError
    except (ValueError, KeyError, TypeError):
        message = f'ClientError: {uri} is not {{"document-version": "2018-11-28", "labels": [{{"label": …}}, …]}}.'
        raise JobFailed(message) from None
    if not 1 <= len(names) <= MAX_CATEGORIES or len(set(names)) < len(names):
        raise JobFailed(f"ClientError: {uri} must have 1 to {MAX_CATEGORIES} labels, all different.")
    if any(not 1 <= len(name) <= MAX_CATEGORY_CHARACTERS for name in names):
        raise JobFailed(f"ClientError: a label of {uri} is empty or longer than {MAX_CATEGORY_CHARACTERS} characters.")
    return names


def _template(uri: str) -> str:
    """The worker template. The built-in functions need the element that is checked here.

    Source: Ground Truth guide, "Bounding box".
    """
    template = _text(uri, "worker template")
    element = re.search(r"<crowd-bounding-box\b[^>]*>", template)
    if not element or not re.search(r"""\bname=["']boundingBox["']""", element[0]):
        raise JobFailed(f'ClientError: {uri} has no <crowd-bounding-box name="boundingBox">.')
    return template


def _objects(uri: str) -> list[dict[str, Any]]:
    """The lines of the input manifest. Source: Ground Truth guide, "Use an input manifest file"."""
    texts = _text(uri, "input manifest").removesuffix("\n").split("\n")
    if len(texts) > MAX_OBJECTS:
        raise JobFailed(f"ClientError: {uri} has more than {MAX_OBJECTS} objects.")
    lines = []
    for number, text in enumerate(texts, 1):
        try:
            line = json.loads(text) if len(text) <= MAX_LINE_CHARACTERS else None
        except ValueError:
            line = None
        if not isinstance(line, dict) or not isinstance(line.get("source-ref"), str):
            raise JobFailed(f"ClientError: line {number} of {uri} is not a JSON object with a source-ref.")
        if any(key.startswith("$") for key in line):
            raise JobFailed(f"ClientError: line {number} of {uri} has an attribute whose name starts with $.")
        lines.append(line)
    return lines


def _label_of(job: LabelingJob, boxes: Sequence[tuple[DrawnBox, float]], size: Size) -> dict[str, Any]:
    categories = job.categories
    ids = {name: number for number, name in enumerate(categories)}
    used = sorted({ids[box.label] for box, _ in boxes})
    return {
        job.attribute: {
            "image_size": [{"width": size.width, "height": size.height, "depth": 3}],
            "annotations": [
                {"class_id": ids[box.label], "top": box.top, "left": box.left, "height": box.height, "width": box.width}
                for box, _ in boxes
            ],
        },
        f"{job.attribute}-metadata": {
            "objects": [{"confidence": confidence} for _, confidence in boxes],
            "class-map": {str(number): categories[number] for number in used},
            "type": "groundtruth/object-detection",
            "human-annotated": "yes",
            "creation-date": clock.utc().strftime("%Y-%m-%dT%H:%M:%S.%f"),
            "job-name": f"labeling-job/{job.name}",
        },
    }


def _milliseconds(time: datetime.datetime) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S.") + f"{time.microsecond // 1000:03d}Z"
