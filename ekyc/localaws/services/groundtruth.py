"""SageMaker Ground Truth: bounding-box labelling jobs, inside the moto server.

A job reads its manifest, label categories and worker template from S3. The simulated workforce
labels the photos. The job writes the output manifest and the workers' answers in Ground Truth's formats,
and sends the EventBridge event at its end. Not simulated: streaming jobs, automated labelling, stopping conditions,
other task types.
"""

from __future__ import annotations

import secrets
from pathlib import PurePosixPath

from botocore.exceptions import ClientError
from moto.core.base_backend import BaseBackend
from moto.sagemaker.models import sagemaker_backends

from ekyc.localaws import aws, faults
from ekyc.localaws.errors import ServiceError
from ekyc.localaws.faults import What
from ekyc.localaws.services import events, labelling_files, stand_in
from ekyc.localaws.services.labelling_job import JobFailed, LabelingJob
from ekyc.localaws.services.labelling_tasks import Tasks
from ekyc.localaws.services.stand_in import Answer, Request, StandIn, now
from ekyc.localaws.services.work_teams import WorkTeams, invalid, invalid_token
from ekyc.localaws.services.workforce import Workforce
from rules.ground_truth_regions import FUNCTION_ACCOUNTS

OPERATIONS = ("CreateLabelingJob", "DescribeLabelingJob", "StopLabelingJob", "ListLabelingJobs")

MAX_TASK_SECONDS = 28_800  # Ground Truth guide, "Input data quotas"
JOB_LIFE_SECONDS = 30 * 24 * 3600
LOOK_EVERY = 60  # service seconds between checks whether the simulated workers are active again

workforce = Workforce()
"""The simulated workers of all jobs."""


class GroundTruth(StandIn):
    """The operations. Delays are in service seconds."""

    start_seconds = 10.0
    stop_seconds = 10.0

    def __init__(self, backend: BaseBackend) -> None:
        super().__init__(backend)
        self._jobs: dict[str, LabelingJob] = {}

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
                raise invalid(f"A labeling job in status {job.status} cannot be stopped.")
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
        shown, following = stand_in.page(chosen, request, invalid_token)
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
                raise invalid(f"The local AWS does not support {parameter}. Omit it.")
        if "S3DataSource" not in source:
            raise invalid("InputConfig must have an S3DataSource: the local AWS does not support streaming jobs.")
        if "UiTemplateS3Uri" not in task["UiConfig"] or "LabelCategoryConfigS3Uri" not in request:
            raise invalid("A bounding-box job must have UiConfig.UiTemplateS3Uri and LabelCategoryConfigS3Uri.")
        self._check_attribute(request["LabelAttributeName"])
        self._check_functions(task)
        if task["TaskTimeLimitInSeconds"] > MAX_TASK_SECONDS:
            raise invalid(f"TaskTimeLimitInSeconds must not be above {MAX_TASK_SECONDS} for a task with images.")
        if task.get("TaskAvailabilityLifetimeInSeconds", 0) > JOB_LIFE_SECONDS:
            raise invalid(f"TaskAvailabilityLifetimeInSeconds must not be above {JOB_LIFE_SECONDS}.")
        if not WorkTeams.of(self._backend).has(task["WorkteamArn"]):
            raise invalid(f"There is no work team {task['WorkteamArn']}.")
        try:
            aws.client("iam").get_role(RoleName=request["RoleArn"].rsplit("/", 1)[-1])
        except ClientError:
            raise invalid(f"The role {request['RoleArn']} does not exist or cannot be assumed.") from None

    def _check_attribute(self, name: str) -> None:
        """Source: SageMaker API reference, CreateLabelingJob; Ground Truth guide, "Chaining labeling jobs"."""
        if name.endswith(("-metadata", "-ref")) or name in ("source", "source-ref"):
            message = f"LabelAttributeName {name} is reserved or ends in -metadata or -ref, as no box label may."
            raise invalid(message)

    def _check_functions(self, task: Request) -> None:
        account = FUNCTION_ACCOUNTS.get(self.region)
        consolidation = task.get("AnnotationConsolidationConfig", {}).get("AnnotationConsolidationLambdaArn")
        for kind, arn in (("PRE", task.get("PreHumanTaskLambdaArn")), ("ACS", consolidation)):
            expected = f"arn:aws:lambda:{self.region}:{account}:function:{kind}-BoundingBox"
            if arn != expected:
                raise invalid(f"The local AWS supports only bounding-box jobs: {arn} must be {expected}.")

    def _run(self, job: LabelingJob) -> None:
        self.sleep(self.start_seconds)
        try:
            if reason := workforce.take_failure():
                raise JobFailed(reason)
            if fault := faults.take_service_fault(What.LABELLING_FAILS, job.name):
                raise JobFailed(fault.message)
            categories = labelling_files.read_categories(job.request["LabelCategoryConfigS3Uri"])
            labelling_files.check_template(job.request["HumanTaskConfig"]["UiConfig"]["UiTemplateS3Uri"])
            lines = labelling_files.read_objects(
                job.request["InputConfig"]["DataSource"]["S3DataSource"]["ManifestS3Uri"]
            )
            workers = job.request["HumanTaskConfig"]["NumberOfHumanWorkersPerDataObject"]
            # A chained job labels only objects without a label.
            given = [job.attribute in line and f"{job.attribute}-metadata" in line for line in lines]
            tasks = Tasks(lines, workers, given)
            if faults.take_service_fault(What.NOTHING_LABELLED, job.name):
                tasks.expire()
            with self.lock:
                job.tasks, job.categories = tasks, categories
                if job.status == "Initializing":
                    job.become("InProgress")
                if faults.take_service_fault(What.LABELLING_STOPS, job.name):
                    job.become("Stopping")
            self._label(job)
            if job.status == "Stopping":
                self.sleep(self.stop_seconds)
            output_uri = labelling_files.write_output(job)
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
        """Wait until all photos are labelled, or until the job is stopped.

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
            claimed = labelling_files.claim(job, worker)
            if claimed is None:
                continue
            task, size = claimed
            name = PurePosixPath(task.line["source-ref"]).name
            boxes = workforce.draw(name, size, job.categories, number)
            if boxes is None:
                job.tasks.decline(task, worker)
            else:
                job.tasks.submit(task, worker, boxes, workforce.seconds_per_photo)


def current() -> GroundTruth:
    """The current state of the local AWS. A reset replaces it."""
    return GroundTruth.of(sagemaker_backends[aws.account][aws.region])


def _task_functions(request: Request) -> Answer:
    task = request["HumanTaskConfig"]
    return {
        "WorkteamArn": task["WorkteamArn"],
        "PreHumanTaskLambdaArn": task["PreHumanTaskLambdaArn"],
        **task["AnnotationConsolidationConfig"],
    }
