"""The table of Lambda functions: description, environment, permissions, size and triggers of each.

Each row is a function in this module with the name of its handler's module. A function's role has only the permissions
in its row, besides those that `PipelineFunction` adds for its log, its queue and the key.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import aws_cdk as cdk
from aws_cdk import aws_events as events
from aws_cdk import aws_iam as iam
from aws_cdk import aws_stepfunctions as sfn
from constructs import Construct

from rules import states
from rules.states import Task
from stacks.audit import READ_FOLDERS, AuditBucket, SigningKey
from stacks.encryption import Encryption
from stacks.notifications import Notifications
from stacks.permissions import Allowed, Permissions
from stacks.runtime import BackgroundFunction, FunctionSpec, PipelineFunction, Runtime, Trigger
from stacks.settings import Settings
from stacks.storage import FOLDERS, JOBS_INDEX, TASKS_INDEX, Storage

ONE_VCPU_MB = 1769
"""The memory, in MB, that gives a function one full vCPU. Source: Lambda guide, 'Configure Lambda function memory'."""

MOST_MEMORY_MB = 3008
"""The most memory, in MB, of a function in a new account. It gives 1.7 vCPU. Source: Lambda guide, 'Lambda quotas'."""

LONGEST = 900
"""The longest timeout of a function, in seconds. Source: Lambda guide, 'Lambda quotas'."""


MAKES_TASKS = "Creates the labelling tasks of the job, and merges the answers when all photos are labelled."


@dataclass(frozen=True)
class Parts:
    """The settings and constructs that the rows use, and environment variables that several rows share."""

    settings: Settings
    encryption: Encryption
    storage: Storage
    permissions: Permissions
    notifications: Notifications
    audit: AuditBucket
    signing_key: SigningKey
    labelling_role: iam.IRole
    work_team_arn: str

    @property
    def jobs(self) -> Mapping[str, str]:
        return {"JOBS_TABLE": self.storage.table.table_name}

    @property
    def tasks(self) -> Mapping[str, str]:
        return {"TASKS_TABLE": self.storage.tasks.table_name, "TASKS_INDEX": TASKS_INDEX}

    @property
    def bucket(self) -> Mapping[str, str]:
        return {"BUCKET": self.storage.bucket.bucket_name}

    @property
    def live_model(self) -> Mapping[str, str]:
        return {
            "PROJECT_PARAMETER": self.storage.project_parameter.parameter_name,
            "MODEL_PARAMETER": self.storage.model_parameter.parameter_name,
        }

    @property
    def topic(self) -> Mapping[str, str]:
        return {"NOTIFICATIONS_TOPIC": self.notifications.topic.topic_arn}

    @property
    def cost_tags(self) -> Mapping[str, Any]:
        return {"COST_TAGS": self.settings.tags}

    @property
    def kms_key(self) -> Mapping[str, str]:
        return {"KMS_KEY_ARN": self.settings.kms_key_arn}

    @property
    def bars(self) -> Mapping[str, float]:
        return {
            "MIN_F1": self.settings.min_f1,
            "MIN_LABEL_F1": self.settings.min_label_f1,
            "MAX_F1_DROP": self.settings.max_f1_drop,
        }


@dataclass(frozen=True)
class PartsWithMachine(Parts):
    """What the rows of `BACKGROUND` and of the API use. ``functions`` has the background functions of earlier rows."""

    state_machine: sfn.IStateMachine
    functions: dict[str, BackgroundFunction] = field(default_factory=dict)

    def call(self, function: str, why: str) -> Allowed:
        """Return the permission to invoke one of `functions`."""
        return Allowed(function, why, ["lambda:InvokeFunction"], self.functions[function].function_arn)


def plan_photos(p: Parts) -> FunctionSpec:
    return FunctionSpec(
        "stages.plan_photos",
        "Divides the job's photos into batches.",
        {**p.jobs, **p.bucket},
        [
            p.permissions.job_progress(),
            p.permissions.list_bucket("Lists the job's photos."),
            p.permissions.read_objects("manifests", why="Finds the list of batches of an earlier run."),
            p.permissions.write_objects("manifests", why="Writes the list of batches."),
        ],
        timeout_seconds=LONGEST,  # to list 1,000,000 photos
        memory_mb=512,
    )


def check_photos(p: Parts) -> FunctionSpec:
    return FunctionSpec(
        "stages.check_photos",
        "Decodes the photos of a batch and writes copies without metadata.",
        {**p.jobs, **p.bucket},
        [
            p.permissions.list_bucket("Lists the batch's photos, and sees which copies and results do not exist."),
            p.permissions.read_objects(
                "images", "manifests", "upright", why="Reads photos, the list of batches, and results of earlier runs."
            ),
            p.permissions.write_objects(
                "manifests", "upright", why="Writes the results of the batch, and copies of photos without metadata."
            ),
        ],
        timeout_seconds=LONGEST,
        memory_mb=MOST_MEMORY_MB,  # to decode two photos at a time; a batch needs less than 512 MB
        uses_vision=True,
    )


def collect_photos(p: Parts) -> FunctionSpec:
    return FunctionSpec(
        "stages.collect_photos",
        "Joins the results of all batches and finds photos of the same shot.",
        {
            **p.jobs,
            **p.bucket,
            "MAX_REJECTED_SHARE": p.settings.max_rejected_share,
            "MIN_IMAGES": p.settings.min_images,
        },
        [
            p.permissions.job_progress(),
            p.permissions.list_bucket("Without this permission, S3 returns 403 and not 404 for a missing object."),
            p.permissions.read_objects("manifests", why="Reads the results of all batches."),
            p.permissions.write_objects("manifests", why="Writes the input manifest and the list of rejected photos."),
        ],
        timeout_seconds=LONGEST,
        memory_mb=MOST_MEMORY_MB,  # for the fingerprints and small grey copies of 250,000 photos
        uses_vision=True,
    )


def import_labels(p: Parts) -> FunctionSpec:
    return FunctionSpec(
        "stages.import_labels",
        "Checks supplied labels against the job's photos and writes a labelled manifest.",
        {**p.jobs, **p.bucket, "MAX_UNMATCHED_SHARE": p.settings.max_unmatched_share},
        [
            p.permissions.job_progress(),
            p.permissions.list_bucket("Without this permission, S3 returns 403 and not 404 for a missing object."),
            p.permissions.read_objects("labels", "manifests", why="Reads the supplied labels and the job's photos."),
            p.permissions.write_objects("manifests", why="Writes the labels as a manifest."),
        ],
        timeout_seconds=LONGEST,
        memory_mb=1024,
    )


def request_labels(p: Parts) -> FunctionSpec:
    return FunctionSpec(
        "stages.request_labels",
        "Finds or creates the labelling job, and stores the task token that resumes the execution.",
        {
            **p.jobs,
            **p.bucket,
            **p.cost_tags,
            **p.kms_key,
            **p.topic,
            "WORK_TEAM_ARN": p.work_team_arn,
            "LABELLING_ROLE_ARN": p.labelling_role.role_arn,
            "WORKERS_PER_IMAGE": p.settings.workers_per_image,
            **p.tasks,
            "ANSWERS_PER_PHOTO": p.settings.label_page.answers_per_photo,
            "BLIND_SHARE": p.settings.label_page.blind_share,
            "REVIEW_SHARE": p.settings.label_page.review_share,
            "PROPOSALS": p.settings.label_page.proposals,
            "RETENTION_DAYS": p.settings.retention_days,
        },
        [
            p.permissions.job_record(),
            p.permissions.tasks("GetItem", "PutItem", "Query", "UpdateItem", "BatchGetItem", why=MAKES_TASKS),
            p.permissions.open_tasks(),
            p.permissions.list_bucket("Without this permission, S3 returns 403 and not 404 for a missing object."),
            p.permissions.read_objects(
                "labelling", "manifests", why="Reads the job's photos, and finds labels that an earlier run wrote."
            ),
            p.permissions.write_objects(
                "labelling", why="Writes Ground Truth's template and document types, or the labels made on the page."
            ),
            p.permissions.labelling_jobs(
                "AddTags", "CreateLabelingJob", "DescribeLabelingJob", why="Finds or creates the labelling job."
            ),
            p.permissions.pass_labelling_role(p.labelling_role),
            p.permissions.answer_task(),
            *p.notifications.sending(),
        ],
        timeout_seconds=240,  # to create 20,000 tasks
        memory_mb=ONE_VCPU_MB,
    )


def prepare_datasets(p: Parts) -> FunctionSpec:
    return FunctionSpec(
        "stages.prepare_datasets",
        "Splits the labelled photos into a training and a test manifest.",
        {**p.jobs, **p.bucket, "MAX_REJECTED_SHARE": p.settings.max_rejected_share},
        [
            p.permissions.job_record(),  # reads when labels were requested, for the metric LabellingTime
            p.permissions.list_bucket("Compares the photos with the checked photos."),
            p.permissions.read_objects("labelling", "manifests", why="Reads the labels."),
            p.permissions.write_objects("manifests", why="Writes the manifests of both datasets."),
        ],
        timeout_seconds=LONGEST,
        memory_mb=1024,
    )


def create_datasets(p: Parts) -> FunctionSpec:
    return FunctionSpec(
        "stages.create_datasets",
        "Finds or creates the job's Rekognition project and its two datasets.",
        {**p.jobs, **p.cost_tags},
        [
            p.permissions.job_progress(),
            p.permissions.find_project(),
            p.permissions.create_project(),
            p.permissions.projects(
                "CreateDataset",
                "DeleteDataset",
                why="Creates the project's datasets and replaces failed ones.",
            ),
            *p.permissions.let_rekognition_read(),
            *p.encryption.for_datasets(),
        ],
    )


def check_datasets(p: Parts) -> FunctionSpec:
    return FunctionSpec(
        "stages.check_datasets",
        "Reads the status of both datasets from Rekognition.",
        p.jobs,
        [
            p.permissions.job_progress(),
            p.permissions.projects("DescribeDataset", why="Reads the status of the datasets."),
        ],
    )


def start_training(p: Parts) -> FunctionSpec:
    return FunctionSpec(
        "stages.start_training",
        "Starts the training of the job's model, unless a usable model exists.",
        {**p.jobs, **p.bucket, **p.cost_tags, **p.kms_key},
        [
            p.permissions.job_progress(),
            p.permissions.projects(
                "CreateProjectVersion",
                "DescribeProjectVersions",
                "TagResource",
                why="Finds or creates the job's model, whose creation starts the training.",
            ),
            *p.permissions.let_rekognition_read(),
            p.permissions.write_objects("training", why="Rekognition writes its output with its caller's permissions."),
            *p.encryption.for_training(),
        ],
    )


def learn_outlines(p: Parts) -> FunctionSpec:
    return FunctionSpec(
        "stages.learn_outlines",
        "Learns the outlines of the document types from the training photos, and tests them on the test photos.",
        {**p.jobs, **p.bucket},
        [
            p.permissions.job_progress(),
            p.permissions.list_bucket("Without this permission, S3 returns 403 and not 404 for a missing object."),
            p.permissions.read_objects(
                "images", "manifests", "outlines", "upright", why="Reads photos, labels, and results of earlier runs."
            ),
            p.permissions.write_objects("outlines", why="Writes the outlines of each type and of the model."),
        ],
        timeout_seconds=LONGEST,
        memory_mb=MOST_MEMORY_MB,  # the photos of a type are read and registered in parallel
        uses_vision=True,
    )


def check_training(p: Parts) -> FunctionSpec:
    return FunctionSpec(
        "stages.check_training",
        "Reads the status of the training from Rekognition.",
        p.jobs,
        [
            p.permissions.job_progress(),
            p.permissions.projects("DescribeProjectVersions", why="Reads the status of the training."),
            p.permissions.read_objects("training", why="Reads why a training failed."),
        ],
    )


def evaluate_model(p: Parts) -> FunctionSpec:
    return FunctionSpec(
        "stages.evaluate_model",
        "Compares the photos with the checked photos, and the model's figures with the bars and the live model.",
        {**p.jobs, **p.bucket, **p.live_model, **p.bars},
        [
            p.permissions.job_progress(),
            p.permissions.list_bucket("Compares the photos with the checked photos."),
            p.permissions.read_objects(
                "manifests",
                "training",
                why="Reads the lists of checked photos and of training photos, and the model's figures.",
            ),
            p.permissions.projects(
                "DescribeProjectVersions", why="Reads the figures of this model and the live model."
            ),
            p.permissions.live_model("GetParameter", why="Reads which model is live."),
        ],
        timeout_seconds=LONGEST,  # to list 250,000 photos
        memory_mb=1024,
    )


def start_model(p: Parts) -> FunctionSpec:
    return FunctionSpec(
        "stages.start_model",
        "Starts the model's inference units.",
        {**p.jobs, "INFERENCE_UNITS": p.settings.inference_units},
        [
            p.permissions.job_progress(),
            p.permissions.projects(
                "DescribeProjectVersions", "StartProjectVersion", why="Starts the model unless it is running."
            ),
        ],
    )


def check_model(p: Parts) -> FunctionSpec:
    return FunctionSpec(
        "stages.check_model",
        "Reads the status of the model from Rekognition.",
        p.jobs,
        [
            p.permissions.job_progress(),
            p.permissions.projects("DescribeProjectVersions", why="Reads the status of the model."),
        ],
    )


def publish_model(p: Parts) -> FunctionSpec:
    return FunctionSpec(
        "stages.publish_model",
        "Writes the model's ARNs to the parameters that document-checking services read.",
        {**p.jobs, **p.live_model, **p.bars, "STOP_PREVIOUS_MODEL": p.settings.stop_previous_model},
        [
            p.permissions.job_record(),
            p.permissions.projects(
                "DescribeProjectVersions",
                "StopProjectVersion",
                why="Stops the previous live model, if the job's settings say so.",
            ),
            p.permissions.live_model("GetParameter", "PutParameter", why="Reads and writes which model is live."),
        ],
    )


STAGES: Mapping[Task, Callable[[Parts], FunctionSpec]] = {
    states.PLAN_PHOTOS: plan_photos,
    states.CHECK_PHOTOS: check_photos,
    states.COLLECT_PHOTOS: collect_photos,
    states.IMPORT_LABELS: import_labels,
    states.REQUEST_LABELS: request_labels,
    states.PREPARE_DATASETS: prepare_datasets,
    states.CREATE_DATASETS: create_datasets,
    states.CHECK_DATASETS: check_datasets,
    states.START_TRAINING: start_training,
    states.LEARN_OUTLINES: learn_outlines,
    states.CHECK_TRAINING: check_training,
    states.EVALUATE_MODEL: evaluate_model,
    states.START_MODEL: start_model,
    states.CHECK_MODEL: check_model,
    states.PUBLISH_MODEL: publish_model,
}
"""The rows of the state machine's tasks."""


def an_execution_ended(state_machine: sfn.IStateMachine) -> Trigger:
    return Trigger(
        "Ended",
        "An execution of the state machine has ended.",
        events.EventPattern(
            source=["aws.states"],
            detail_type=["Step Functions Execution Status Change"],
            detail={
                "stateMachineArn": [state_machine.state_machine_arn],
                "status": ["SUCCEEDED", "FAILED", "TIMED_OUT", "ABORTED"],
            },
        ),
    )


def resume_labelling(p: PartsWithMachine) -> FunctionSpec:
    return FunctionSpec(
        "events.resume_labelling",
        "Sends the task token of a job whose labelling job has ended, so that the execution continues.",
        {**p.jobs, **p.topic},
        [
            p.permissions.job_record(),
            p.permissions.labelling_jobs("DescribeLabelingJob", why="Reads the final status of the labelling job."),
            p.permissions.answer_task(),
            *p.notifications.sending(),
        ],
        triggers=[
            Trigger(
                "Ended",
                "A labelling job has ended.",
                events.EventPattern(
                    source=["aws.sagemaker"],
                    detail_type=["SageMaker Ground Truth Labeling Job State Change"],
                    resources=events.Match.prefix(p.permissions.labelling_job_prefix),
                ),
            )
        ],
    )


def finish_labelling(p: PartsWithMachine) -> FunctionSpec:
    return FunctionSpec(
        "events.finish_labelling",
        "Merges the labels that people made on the labelling page, and sends the task token of the job.",
        {**p.jobs, **p.tasks, **p.bucket, **p.topic},
        [
            p.permissions.job_record(),
            p.permissions.tasks("BatchGetItem", "GetItem", "Query", "UpdateItem", why="Reads all answers of the job."),
            p.permissions.open_tasks(),
            p.permissions.list_bucket("Without this permission, S3 returns 403 and not 404 for a missing object."),
            p.permissions.read_objects("labelling", why="Finds the labels that an earlier run wrote."),
            p.permissions.write_objects("labelling", why="Writes the labels as a manifest."),
            p.permissions.answer_task(),
            *p.notifications.sending(),
        ],
        timeout_seconds=300,
        memory_mb=1024,  # for the answers to 20,000 photos
    )


def record_outcome(p: PartsWithMachine) -> FunctionSpec:
    return FunctionSpec(
        "events.record_outcome",
        "Writes how an execution ended to the job's record, and stops what the execution left running.",
        {**p.jobs, **p.tasks, **p.topic, "MODEL_PARAMETER": p.live_model["MODEL_PARAMETER"]},
        [
            p.permissions.job_progress(),
            p.permissions.close_tasks(),
            p.permissions.executions("DescribeExecution", "GetExecutionHistory"),
            *p.permissions.failed_batches(),
            *p.notifications.sending(),
            *p.permissions.stop_what_runs(),
        ],
        triggers=[an_execution_ended(p.state_machine)],
    )


def erase_job(p: PartsWithMachine) -> FunctionSpec:
    return FunctionSpec(
        "events.erase_job",
        "Deletes a job's personal data and keeps the job's record.",
        {**p.jobs, **p.tasks, **p.bucket, "JOBS_INDEX": JOBS_INDEX},
        [
            p.permissions.job_record(),
            p.permissions.tasks(
                "DeleteItem", "Query", why="Deletes the job's labelling tasks, which name photos and have labels."
            ),
            p.permissions.list_job_records(),
            p.permissions.list_bucket("Finds the objects to delete."),
            p.permissions.delete_objects(*FOLDERS),
            p.permissions.find_project(),
            p.permissions.projects(
                "DeleteDataset",
                "DeleteProjectVersion",
                "DescribeProjectVersions",
                why="Deletes the job's datasets, which contain labels, and its models if the request says so.",
            ),
        ],
        timeout_seconds=LONGEST,
        memory_mb=1024,  # to delete 250,000 photos within the timeout
        triggers=[
            Trigger(
                "EveryDay",
                "Continues erasures: an upload or a stage that was still running may have added objects.",
                schedule=events.Schedule.rate(cdk.Duration.days(1)),
                event={},
            )
        ],
    )


def export_audit(p: PartsWithMachine) -> FunctionSpec:
    return FunctionSpec(
        "events.export_audit",
        "Creates, stores and signs the audit report of an execution from its complete history.",
        {
            **p.jobs,
            **p.bucket,
            "AUDIT_BUCKET": p.audit.bucket.bucket_name,
            "SIGNING_KEY": p.signing_key.arn,
        },
        [
            Allowed(
                "ReadJob",
                "Reads from the job's record who started, stopped and resumed the job.",
                ["dynamodb:GetItem"],
                p.storage.table.table_arn,
            ),
            p.permissions.list_bucket("Finds the job's files."),
            p.permissions.read_objects(
                *READ_FOLDERS, why="Hashes the job's files and reads the workers' labelling times."
            ),
            p.permissions.executions(
                "DescribeExecution",
                "DescribeStateMachineForExecution",
                "GetExecutionHistory",
                why="Reads the execution's history and definition for the report.",
            ),
            *p.permissions.failed_batches(),
            *p.audit.keep(),
            p.signing_key.sign(),
        ],
        timeout_seconds=LONGEST,
        memory_mb=1024,  # to read 25,000 events and to hash manifests of 1 GB within the timeout
        triggers=[an_execution_ended(p.state_machine)],
    )


def settle_job(p: PartsWithMachine) -> FunctionSpec:
    return FunctionSpec(
        "events.settle_job",
        "Stops and deletes what a stopped or failed job left running.",
        {
            **p.jobs,
            **p.tasks,
            **p.live_model,
            **p.topic,
            "JOBS_INDEX": JOBS_INDEX,
            "EXPORT_FUNCTION": p.functions["ExportAudit"].function_name,
        },
        [
            p.permissions.job_record(),
            p.permissions.list_job_records(),
            p.permissions.close_tasks(),
            p.permissions.executions("DescribeExecution", "GetExecutionHistory"),
            *p.permissions.failed_batches(),
            *p.permissions.stop_what_runs(and_settle=True),
            *p.notifications.sending(),
            p.call("ExportAudit", "Requests an audit report."),
        ],
        timeout_seconds=300,
        triggers=[
            Trigger(
                "Trained",
                "A training has written its results to S3. Rekognition sends no event when a training ends.",
                events.EventPattern(
                    source=["aws.s3"],
                    detail_type=["Object Created"],
                    detail={
                        "bucket": {"name": [p.storage.bucket.bucket_name]},
                        "object": {"key": [{"prefix": "training/"}]},
                    },
                ),
            ),
            Trigger(
                "Now",
                "Handles lost events, and stops models that could not be stopped while they were starting.",
                schedule=events.Schedule.rate(cdk.Duration.minutes(15)),
                event={},
            ),
        ],
    )


def watch_running(p: PartsWithMachine) -> FunctionSpec:
    stops = p.settings.long_running_models == "stop"
    return FunctionSpec(
        "events.watch_running",
        "Measures the age of the oldest execution and which models are running, and reminds people of these models.",
        {
            **p.jobs,
            **p.topic,
            "STATE_MACHINE_ARN": p.permissions.state_machine_arn,
            "MODEL_PARAMETER": p.live_model["MODEL_PARAMETER"],
            "MODEL_HOURS": p.settings.model_hours,
            "STOP_LONG_RUNNING_MODELS": stops,
        },
        [
            p.permissions.job_record(),
            p.permissions.list_executions(),
            p.permissions.find_project(),
            p.permissions.projects(
                "DescribeProjectVersions",
                *(["StopProjectVersion"] if stops else []),
                why="Lists the running models" + (", and stops those that run for too long." if stops else "."),
            ),
            p.permissions.live_model("GetParameter", why="Reads which model is live."),
            *p.notifications.sending(),
        ],
        timeout_seconds=300,  # reads two projects a second; an account may have 100
        triggers=[
            Trigger(
                "EveryHour",
                "Finds executions that may be stuck and models that run for too long.",
                schedule=events.Schedule.rate(cdk.Duration.hours(1)),
                event={"remind": False},
            ),
            Trigger(
                "EveryMorning",
                "Reminds people of running models, which are billed by the hour.",
                schedule=events.Schedule.cron(hour="6", minute="30"),
                event={"remind": True},
            ),
        ],
    )


BACKGROUND: Mapping[str, Callable[[PartsWithMachine], FunctionSpec]] = {
    "ResumeLabelling": resume_labelling,
    "FinishLabelling": finish_labelling,
    "RecordOutcome": record_outcome,
    "EraseJob": erase_job,
    "ExportAudit": export_audit,
    "SettleJob": settle_job,
    "WatchRunning": watch_running,
}
"""The rows of the functions that EventBridge or another function invokes."""


def api(p: PartsWithMachine) -> FunctionSpec:
    return FunctionSpec(
        "api.app",
        "The HTTP API of the training pipeline.",
        _api_environment(p),
        [
            p.permissions.job_record(),
            p.permissions.close_tasks(),
            p.permissions.open_tasks(),
            p.permissions.create_job_records(),
            p.permissions.list_job_records(),
            p.permissions.list_folders(
                "images",
                "labels",
                "manifests/*/parts",
                why="Lists a job's uploads, and the batches of photos that were checked.",
            ),
            p.permissions.link_to_objects(
                "images",
                "labels",
                why="Signs URLs for HEAD requests. Clients use them to compare the hash of an upload. The role itself "
                "cannot read an object.",
            ),
            p.permissions.write_objects("images", "labels", why="Signs URLs to which clients upload."),
            p.permissions.start_execution(),
            p.permissions.executions(
                "DescribeExecution",
                "GetExecutionHistory",
                "RedriveExecution",
                "StopExecution",
                why="Reads the status of a job's execution, and stops and resumes it.",
            ),
            *p.permissions.failed_batches(),
            p.permissions.answer_task(failure=False),
            *p.permissions.stop_what_runs(),
            p.permissions.start_models("Starts the live model again when a caller requests it."),
            p.call("EraseJob", "Requests the erasure of a job."),
            *p.audit.read(),
            p.call("ExportAudit", "Requests an audit report."),
        ],
        timeout_seconds=29,
        memory_mb=512,
        traced=False,
    )


def _api_environment(p: PartsWithMachine) -> Mapping[str, Any]:
    return {
        **p.jobs,
        **p.bucket,
        **p.bars,
        **p.live_model,
        "JOBS_INDEX": JOBS_INDEX,
        "STATE_MACHINE_ARN": p.state_machine.state_machine_arn,
        "DOCUMENT_TYPES": p.settings.document_types,
        "LABEL_PROVIDER": p.settings.label_provider,
        "STOP_PREVIOUS_MODEL": p.settings.stop_previous_model,
        "LABELLING_PAGE": bool(p.settings.labelling_user_pool),
        "WORK_TEAM_ARN": p.work_team_arn,
        "INFERENCE_UNITS": p.settings.inference_units,
        "ERASE_FUNCTION": p.functions["EraseJob"].function_name,
        "AUDIT_BUCKET": p.audit.bucket.bucket_name,
        "EXPORT_FUNCTION": p.functions["ExportAudit"].function_name,
        "WEB_ORIGINS": p.settings.web_origins,
        **p.tasks,
    }


def labelling(p: PartsWithMachine, sign_in: Mapping[str, str]) -> FunctionSpec:
    """``sign_in`` is the environment about the sign-in to the labelling page."""
    return FunctionSpec(
        "api.labelling",
        "The part of the HTTP API with which people label and review photos.",
        {
            **p.jobs,
            **p.tasks,
            **p.live_model,
            "FINISH_FUNCTION": p.functions["FinishLabelling"].function_name,
            **sign_in,
        },
        [
            p.permissions.tasks(
                "BatchGetItem", "GetItem", "UpdateItem", why="Leases photos to people, and keeps their answers."
            ),
            p.permissions.open_tasks(),
            p.permissions.read_objects(
                "images",
                "upright",
                why="Signs URLs of photos that people label. Rekognition reads these photos with its caller's "
                "permissions, to propose boxes.",
            ),
            p.permissions.projects(
                "DescribeProjectVersions", "DetectCustomLabels", why="Proposes the boxes that the live model finds."
            ),
            p.permissions.live_model("GetParameter", why="Reads which model is live."),
            p.call("FinishLabelling", "Merges the answers after the last one."),
        ],
        timeout_seconds=29,
        memory_mb=512,
        traced=False,
    )


def documents(p: PartsWithMachine) -> FunctionSpec:
    buckets = [f"arn:{cdk.Aws.PARTITION}:s3:::{name}/*" for name in p.settings.detect_buckets]
    return FunctionSpec(
        "api.documents",
        "Finds the documents in a photo with the live model.",
        {
            **p.bucket,
            "MODEL_PARAMETER": p.live_model["MODEL_PARAMETER"],
            "DETECT_BUCKETS": p.settings.detect_buckets,
            "WEB_ORIGINS": p.settings.web_origins,
        },
        [
            Allowed(
                "ReadLiveModel",
                "Reads which model is live.",
                ["ssm:GetParameter"],
                p.storage.model_parameter.parameter_arn,
            ),
            p.permissions.projects("DetectCustomLabels", why="Finds the documents with the live model."),
            p.permissions.list_bucket("Without this permission, S3 returns 403 and not 404 for a missing object."),
            p.permissions.read_objects("outlines", why="Reads the outlines that were learned for the live model."),
            *(
                [Allowed("ReadPhotos", "Reads photos in the buckets of detectBuckets.", ["s3:GetObject"], *buckets)]
                if buckets
                else []
            ),
        ],
        timeout_seconds=29,
        memory_mb=ONE_VCPU_MB,  # to decode and to find outlines; a photo of 16 megapixels needs less than 512 MB
        traced=False,
        uses_vision=True,
    )


def labelling_files(p: PartsWithMachine, sign_in: Mapping[str, str]) -> FunctionSpec:
    """``sign_in`` is the environment about the sign-in to the labelling page."""
    return FunctionSpec(
        "api.labelling_files",
        "Serves the labelling page's files.",
        {**p.jobs, **p.bucket, "LABELLING_SIGN_IN_URL": sign_in["LABELLING_SIGN_IN_URL"]},
        [],
        timeout_seconds=10,
        traced=False,
    )


def make_stages(scope: Construct, parts: Parts, runtime: Runtime) -> dict[str, PipelineFunction]:
    """Create the functions of the state machine's tasks. Return them by their name in the definition."""
    return {
        task.function: PipelineFunction(scope, task.function, row(parts), runtime=runtime)
        for task, row in STAGES.items()
    }


def make_background(scope: Construct, parts: PartsWithMachine, runtime: Runtime) -> None:
    """Create the background functions in the order of the table, and add each to ``parts.functions``."""
    for name, row in BACKGROUND.items():
        parts.functions[name] = BackgroundFunction(scope, name, row(parts), runtime=runtime)
