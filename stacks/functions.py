"""The table of functions: what each Lambda function does, may do, is given and is called by.

A row is a function here that bears the name of its handler's module. A role has what its row lists and no more.
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
from stacks.audit import READ_FOLDERS, AuditBucket
from stacks.encryption import Encryption
from stacks.notifications import Notifications
from stacks.permissions import Allowed, Permissions
from stacks.runtime import BackgroundFunction, FunctionSpec, PipelineFunction, Runtime, Trigger
from stacks.settings import Settings
from stacks.storage import FOLDERS, JOBS_INDEX, Storage

ONE_VCPU_MB = 1769
"""The memory at which a function has one whole vCPU. Source: Lambda guide, 'Configure Lambda function memory'."""

LONGEST = 900
"""Seconds that a function may run. Source: Lambda guide, 'Lambda quotas'."""


@dataclass(frozen=True)
class Parts:
    """What the rows refer to."""

    settings: Settings
    encryption: Encryption
    storage: Storage
    permissions: Permissions
    notifications: Notifications
    audit: AuditBucket
    labelling_role: iam.IRole
    work_team_arn: str

    @property
    def jobs(self) -> Mapping[str, str]:
        return {"JOBS_TABLE": self.storage.table.table_name}

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
    """What the rows refer to that are no stages. ``functions`` has the background functions above the row, by name."""

    state_machine: sfn.IStateMachine
    functions: dict[str, BackgroundFunction] = field(default_factory=dict)

    def call(self, function: str, why: str) -> Allowed:
        """Call one of `functions`."""
        return Allowed(function, why, ["lambda:InvokeFunction"], self.functions[function].function_arn)


def check_images(p: Parts) -> FunctionSpec:
    return FunctionSpec(
        "stages.check_images",
        "Reads the header of every uploaded photo and writes the input manifest.",
        {
            **p.jobs,
            **p.bucket,
            "MAX_REJECTED_SHARE": p.settings.max_rejected_share,
            "MIN_IMAGES": p.settings.min_images,
        },
        [
            p.permissions.job_progress(),
            p.permissions.list_bucket("Lists the job's photos and their upright copies."),
            p.permissions.read_objects(
                "images",
                "manifests",
                "upright",
                why="Reads the photos' headers, whole photos that are turned, and when S3 wrote the manifest.",
            ),
            p.permissions.write_objects(
                "manifests",
                "upright",
                why="Writes the input manifest, the list of rejected photos and upright copies of turned photos.",
            ),
        ],
        timeout_seconds=LONGEST,
        memory_mb=ONE_VCPU_MB,  # for 250,000 photos in the time that there is
    )


def import_labels(p: Parts) -> FunctionSpec:
    return FunctionSpec(
        "stages.import_labels",
        "Checks supplied labels against the job's photos and writes them as a labelled manifest.",
        {**p.jobs, **p.bucket, "MAX_UNMATCHED_SHARE": p.settings.max_unmatched_share},
        [
            p.permissions.job_progress(),
            p.permissions.list_bucket("Without it S3 answers that a missing object is forbidden."),
            p.permissions.read_objects("labels", "manifests", why="Reads the supplied labels and the job's photos."),
            p.permissions.write_objects("manifests", why="Writes the labels as a manifest."),
        ],
        timeout_seconds=LONGEST,
        memory_mb=1024,
    )


def request_labels(p: Parts) -> FunctionSpec:
    return FunctionSpec(
        "stages.request_labels",
        "Makes sure that a labelling job exists, and stores the task token that resumes the execution.",
        {
            **p.jobs,
            **p.bucket,
            **p.cost_tags,
            **p.kms_key,
            **p.topic,
            "WORK_TEAM_ARN": p.work_team_arn,
            "LABELLING_ROLE_ARN": p.labelling_role.role_arn,
            "WORKERS_PER_IMAGE": p.settings.workers_per_image,
        },
        [
            p.permissions.job_progress(),
            p.permissions.write_objects("labelling", why="Writes the page and the types that people choose from."),
            p.permissions.labelling_jobs(
                "AddTags", "CreateLabelingJob", "DescribeLabelingJob", why="Finds or makes the labelling job."
            ),
            p.permissions.pass_labelling_role(p.labelling_role),
            p.permissions.answer_task(),
            *p.notifications.sending(),
        ],
    )


def prepare_datasets(p: Parts) -> FunctionSpec:
    return FunctionSpec(
        "stages.prepare_datasets",
        "Splits the labelled photos into a training and a test manifest.",
        {**p.jobs, **p.bucket, "MAX_REJECTED_SHARE": p.settings.max_rejected_share},
        [
            p.permissions.job_record(),  # which says when labels were asked for: a metric
            p.permissions.list_bucket("Compares the photos with those that were checked."),
            p.permissions.read_objects("labelling", "manifests", why="Reads the labelled photos."),
            p.permissions.write_objects("manifests", why="Writes the manifests of both datasets."),
        ],
        timeout_seconds=LONGEST,
        memory_mb=1024,
    )


def create_datasets(p: Parts) -> FunctionSpec:
    return FunctionSpec(
        "stages.create_datasets",
        "Makes sure that the job's Rekognition project has its two datasets.",
        {**p.jobs, **p.cost_tags},
        [
            p.permissions.job_progress(),
            p.permissions.find_project(),
            p.permissions.create_project(),
            p.permissions.projects(
                "CreateDataset",
                "DeleteDataset",
                why="Makes the project's datasets, in place of those that failed.",
            ),
            *p.permissions.let_rekognition_read("images", "manifests", "upright"),
            *p.encryption.for_datasets(),
        ],
    )


def check_datasets(p: Parts) -> FunctionSpec:
    return FunctionSpec(
        "stages.check_datasets",
        "Asks Rekognition how far both datasets are.",
        p.jobs,
        [
            p.permissions.job_progress(),
            p.permissions.projects("DescribeDataset", why="Asks how far the datasets are."),
        ],
    )


def start_training(p: Parts) -> FunctionSpec:
    return FunctionSpec(
        "stages.start_training",
        "Trains a version of the job's project, unless there is one that can be used.",
        {**p.jobs, **p.bucket, **p.cost_tags, **p.kms_key},
        [
            p.permissions.job_progress(),
            p.permissions.projects(
                "CreateProjectVersion",
                "DescribeProjectVersions",
                "TagResource",
                why="Finds or makes the job's model, which is then trained.",
            ),
            *p.permissions.let_rekognition_read("images", "manifests", "upright"),
            p.permissions.write_objects("training", why="Rekognition writes its output with its caller's permissions."),
            *p.encryption.for_training(),
        ],
    )


def check_training(p: Parts) -> FunctionSpec:
    return FunctionSpec(
        "stages.check_training",
        "Asks Rekognition how far the training is.",
        p.jobs,
        [
            p.permissions.job_progress(),
            p.permissions.projects("DescribeProjectVersions", why="Asks how far the training is."),
            p.permissions.read_objects("training", why="Reads why a training has failed."),
        ],
    )


def evaluate_model(p: Parts) -> FunctionSpec:
    return FunctionSpec(
        "stages.evaluate_model",
        "Compares the photos with those checked, and the model's figures with the bars and the live model.",
        {**p.jobs, **p.bucket, **p.live_model, **p.bars},
        [
            p.permissions.job_progress(),
            p.permissions.list_bucket("Compares the photos with those that were checked."),
            p.permissions.read_objects(
                "manifests",
                "training",
                why="Reads which photos were checked and trained on, and the model's figures.",
            ),
            p.permissions.projects("DescribeProjectVersions", why="Asks for the figures of this and the live model."),
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
                "DescribeProjectVersions", "StartProjectVersion", why="Starts the model, unless it runs already."
            ),
        ],
    )


def check_model(p: Parts) -> FunctionSpec:
    return FunctionSpec(
        "stages.check_model",
        "Asks Rekognition whether the model runs.",
        p.jobs,
        [
            p.permissions.job_progress(),
            p.permissions.projects("DescribeProjectVersions", why="Asks whether the model runs."),
        ],
    )


def publish_model(p: Parts) -> FunctionSpec:
    return FunctionSpec(
        "stages.publish_model",
        "Names the model in the parameters that document-checking services read.",
        {**p.jobs, **p.live_model, "STOP_PREVIOUS_MODEL": p.settings.stop_previous_model},
        [
            p.permissions.job_record(),
            p.permissions.projects(
                "DescribeProjectVersions",
                "StopProjectVersion",
                why="Stops the model that was live, if the job asks for it.",
            ),
            p.permissions.live_model("GetParameter", "PutParameter", why="Reads and writes which model is live."),
        ],
    )


STAGES: Mapping[Task, Callable[[Parts], FunctionSpec]] = {
    states.CHECK_IMAGES: check_images,
    states.IMPORT_LABELS: import_labels,
    states.REQUEST_LABELS: request_labels,
    states.PREPARE_DATASETS: prepare_datasets,
    states.CREATE_DATASETS: create_datasets,
    states.CHECK_DATASETS: check_datasets,
    states.START_TRAINING: start_training,
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
        "Answers the task token of a job whose labelling has ended.",
        {**p.jobs, **p.topic},
        [
            p.permissions.job_record(),
            p.permissions.labelling_jobs("DescribeLabelingJob", why="Asks how the labelling has ended."),
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


def record_outcome(p: PartsWithMachine) -> FunctionSpec:
    return FunctionSpec(
        "events.record_outcome",
        "Records how an execution ended in the job's record and stops what it left running.",
        {**p.jobs, **p.topic, "MODEL_PARAMETER": p.live_model["MODEL_PARAMETER"]},
        [
            p.permissions.job_progress(),
            p.permissions.executions("DescribeExecution", "GetExecutionHistory"),
            *p.notifications.sending(),
            *p.permissions.stop_what_runs(),
        ],
        triggers=[an_execution_ended(p.state_machine)],
    )


def erase_job(p: PartsWithMachine) -> FunctionSpec:
    return FunctionSpec(
        "events.erase_job",
        "Deletes what a job holds of people; the job's record stays.",
        {**p.jobs, **p.bucket, "JOBS_INDEX": JOBS_INDEX},
        [
            p.permissions.job_record(),
            p.permissions.list_job_records(),
            p.permissions.list_bucket("Finds what there is to erase."),
            p.permissions.delete_objects(*FOLDERS),
            p.permissions.find_project(),
            p.permissions.projects(
                "DeleteDataset",
                "DeleteProjectVersion",
                "DescribeProjectVersions",
                why="Erases the job's datasets, which hold its labels, and its models if that is asked for.",
            ),
        ],
        timeout_seconds=LONGEST,
        memory_mb=1024,  # for 250,000 photos in the time that there is
        triggers=[
            Trigger(
                "EveryDay",
                "Erasures may not be over: an upload or a stage that was under way may have added something since.",
                schedule=events.Schedule.rate(cdk.Duration.days(1)),
                event={},
            )
        ],
    )


def export_audit(p: PartsWithMachine) -> FunctionSpec:
    return FunctionSpec(
        "events.export_audit",
        "Makes the audit report of an execution from its whole history and keeps it.",
        {**p.jobs, **p.bucket, "AUDIT_BUCKET": p.audit.bucket.bucket_name},
        [
            Allowed(
                "ReadJob",
                "Reads who started, stopped and resumed the job.",
                ["dynamodb:GetItem"],
                p.storage.table.table_arn,
            ),
            p.permissions.list_bucket("Finds the job's files."),
            p.permissions.read_objects(*READ_FOLDERS, why="Hashes the job's files, and reads how long people took."),
            p.permissions.executions(
                "DescribeExecution",
                "DescribeStateMachineForExecution",
                "GetExecutionHistory",
                why="Reads what the report is made from.",
            ),
            *p.audit.keep(),
        ],
        timeout_seconds=LONGEST,
        memory_mb=1024,  # for 25,000 events, and the hashes of manifests of 1 GB in the time that there is
        triggers=[an_execution_ended(p.state_machine)],
    )


def settle_job(p: PartsWithMachine) -> FunctionSpec:
    return FunctionSpec(
        "events.settle_job",
        "Stops and deletes what a job left that was stopped or failed.",
        {
            **p.jobs,
            **p.live_model,
            **p.topic,
            "JOBS_INDEX": JOBS_INDEX,
            "EXPORT_FUNCTION": p.functions["ExportAudit"].function_name,
        },
        [
            p.permissions.job_record(),
            p.permissions.list_job_records(),
            p.permissions.executions("DescribeExecution", "GetExecutionHistory"),
            *p.permissions.stop_what_runs(and_settle=True),
            *p.notifications.sending(),
            p.call("ExportAudit", "Has a report made."),
        ],
        timeout_seconds=300,
        triggers=[
            Trigger(
                "Trained",
                "A training has written its results; Rekognition itself sends no event.",
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
                "An event may have been lost, and a model that was starting when its job ended can be stopped by now.",
                schedule=events.Schedule.rate(cdk.Duration.minutes(15)),
                event={},
            ),
        ],
    )


def watch_running(p: PartsWithMachine) -> FunctionSpec:
    stops = p.settings.long_running_models == "stop"
    return FunctionSpec(
        "events.watch_running",
        "Measures how old the oldest execution is and which models run, and reminds of these.",
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
                why="Looks which models run" + (", and stops those that do for too long." if stops else "."),
            ),
            p.permissions.live_model("GetParameter", why="Says which of them is the live one."),
            *p.notifications.sending(),
        ],
        timeout_seconds=300,  # for two projects a second, of which an account has 100
        triggers=[
            Trigger(
                "EveryHour",
                "Executions may be stuck and models may run for too long.",
                schedule=events.Schedule.rate(cdk.Duration.hours(1)),
                event={"remind": False},
            ),
            Trigger(
                "EveryMorning",
                "Running models bill by the hour: people are reminded of them.",
                schedule=events.Schedule.cron(hour="6", minute="30"),
                event={"remind": True},
            ),
        ],
    )


BACKGROUND: Mapping[str, Callable[[PartsWithMachine], FunctionSpec]] = {
    "ResumeLabelling": resume_labelling,
    "RecordOutcome": record_outcome,
    "EraseJob": erase_job,
    "ExportAudit": export_audit,
    "SettleJob": settle_job,
    "WatchRunning": watch_running,
}
"""The rows of the functions that EventBridge or another function calls."""


def api(p: PartsWithMachine) -> FunctionSpec:
    return FunctionSpec(
        "api.app",
        "The HTTP API of the training pipeline.",
        {
            **p.jobs,
            **p.bucket,
            **p.bars,
            **p.live_model,
            "JOBS_INDEX": JOBS_INDEX,
            "STATE_MACHINE_ARN": p.state_machine.state_machine_arn,
            "DOCUMENT_TYPES": p.settings.document_types,
            "LABEL_PROVIDER": p.settings.label_provider,
            "STOP_PREVIOUS_MODEL": p.settings.stop_previous_model,
            "WORK_TEAM_ARN": p.work_team_arn,
            "INFERENCE_UNITS": p.settings.inference_units,
            "ERASE_FUNCTION": p.functions["EraseJob"].function_name,
            "AUDIT_BUCKET": p.audit.bucket.bucket_name,
            "EXPORT_FUNCTION": p.functions["ExportAudit"].function_name,
            "WEB_ORIGINS": p.settings.web_origins,
        },
        [
            p.permissions.job_record(),
            p.permissions.create_job_records(),
            p.permissions.list_job_records(),
            p.permissions.list_folders("images", "labels", why="Lists what a job has uploaded."),
            p.permissions.link_to_objects(
                "images",
                "labels",
                why="Signs the links to HEAD by which clients compare the hash of an upload; reads no object.",
            ),
            p.permissions.write_objects("images", "labels", why="Signs the URLs that clients upload to."),
            p.permissions.start_execution(),
            p.permissions.executions(
                "DescribeExecution",
                "GetExecutionHistory",
                "RedriveExecution",
                "StopExecution",
                why="Tells, stops and resumes a job.",
            ),
            p.permissions.answer_task(failure=False),
            *p.permissions.stop_what_runs(),
            p.permissions.start_models("Starts the live model again when somebody asks for it."),
            p.call("EraseJob", "Has a job erased."),
            *p.audit.read(),
            p.call("ExportAudit", "Has a report made."),
        ],
        timeout_seconds=29,
        memory_mb=512,
        traced=False,
    )


def make_stages(scope: Construct, parts: Parts, runtime: Runtime) -> dict[str, PipelineFunction]:
    """The functions of the state machine's tasks, by the name that the definition gives them."""
    return {
        task.function: PipelineFunction(scope, task.function, row(parts), runtime=runtime)
        for task, row in STAGES.items()
    }


def make_background(scope: Construct, parts: PartsWithMachine, runtime: Runtime) -> None:
    """Make the background functions, and add them to the ``functions`` of ``parts``, in the order of the table."""
    for name, row in BACKGROUND.items():
        parts.functions[name] = BackgroundFunction(scope, name, row(parts), runtime=runtime)
