"""The Lambda functions: one role each, with what that one needs and no more."""

import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import aws_cdk as cdk
from aws_cdk import aws_events as events
from aws_cdk import aws_events_targets as targets
from aws_cdk import aws_iam as iam
from aws_cdk import aws_lambda as lambda_
from aws_cdk import aws_logs as logs
from aws_cdk import aws_sqs as sqs
from constructs import Construct

from rules import states
from rules.states import Task
from stacks.encryption import Encryption
from stacks.notifications import Notifications
from stacks.openapi import SOURCE, Description
from stacks.permissions import Permissions, attach, write_logs
from stacks.settings import Settings, SettingsError
from stacks.storage import Storage

CODE = Path(__file__).resolve().parent.parent / "lambdas"

ONE_VCPU_MB = 1769
"""The memory at which a function has one whole vCPU. Source: Lambda guide, 'Configure Lambda function memory'."""


def package(folder: Path) -> None:
    """Write the functions' code to ``folder``, with the API's description as the JSON that the API answers."""
    not_code = shutil.ignore_patterns("__pycache__", "requirements.txt", SOURCE.name)
    shutil.copytree(CODE, folder, ignore=not_code, dirs_exist_ok=True)
    (folder / "api" / "openapi.json").write_text(Description.read().as_json(), encoding="utf-8")


class LayerMissingError(FileNotFoundError):
    """The folder with the functions' libraries has not been built."""


class Runtime(Construct):
    """What every function runs on: the code, the layer with its libraries, Python, the processor and the encryption."""

    python = lambda_.Runtime.PYTHON_3_14
    architecture = lambda_.Architecture.ARM_64

    def __init__(self, scope: Construct, id: str, *, layer: Path, encryption: Encryption) -> None:
        """``layer`` holds ``python/`` with the installed libraries.

        Raises:
            LayerMissingError: ``layer`` has no such folder.
        """
        super().__init__(scope, id)
        self.encryption = encryption
        if not (layer / "python").is_dir():
            raise LayerMissingError(
                f"The functions' libraries are missing: there is no folder {layer / 'python'}. Run 'make synth', which "
                "installs lambdas/requirements.txt there first."
            )
        # In the assembly, so that it is there also when the CDK copies no assets.
        folder = Path(cast(cdk.App, self.node.root).outdir, "functions")
        package(folder)
        self.code = lambda_.Code.from_asset(str(folder))
        self.layer = lambda_.LayerVersion(
            self,
            "Libraries",
            code=lambda_.Code.from_asset(str(layer), exclude=["__pycache__"], ignore_mode=cdk.IgnoreMode.GIT),
            description="The libraries of lambdas/requirements.txt.",
            compatible_runtimes=[self.python],
            compatible_architectures=[self.architecture],
        )


ENVIRONMENT_BYTES = 4096
"""What a function's variables may have together, names and values. Source: Lambda guide, 'Lambda quotas'."""


def longest_value(value: Any, stack_name: str) -> int:
    """The most bytes that a variable's value can have, given as the template has it.

    A reference becomes a name or an ARN that CloudFormation makes of the stack's name, the resource's and its own text.
    """
    match value:
        case str():
            return len(value.encode())
        case {"Fn::Join": [separator, parts]}:
            return sum(longest_value(part, stack_name) + len(separator) for part in parts)
    return len("arn:aws-us-gov:sns:us-gov-west-1:123456789012:") + len(stack_name) + 60


def check_environment(name: str, variables: Mapping[str, Any], stack: cdk.Stack) -> None:
    """`documentTypes`, `webOrigins` and `tags` leave each function's variables within the 4,096 bytes of Lambda."""
    values = stack.resolve(variables)
    sizes = {key: longest_value(value, stack.stack_name) for key, value in values.items()}
    total = sum(sizes.values()) + sum(map(len, sizes))
    if total <= ENVIRONMENT_BYTES:
        return
    longest = sorted(sizes, key=lambda key: -sizes[key])[:2]
    raise SettingsError(
        f"The environment of the function {name} would have up to {total:,} bytes, and Lambda takes "
        f"{ENVIRONMENT_BYTES:,}. Most of them are in {' and '.join(f'{key} ({sizes[key]:,})' for key in longest)}: "
        "shorten the settings documentTypes, webOrigins or tags."
    )


class PipelineFunction(lambda_.Function):
    """A function with a role and a log group of its own; X-Ray traces it if it is ``traced``."""

    def __init__(
        self,
        scope: Construct,
        id: str,
        *,
        runtime: Runtime,
        module: str,
        description: str,
        environment: Mapping[str, str],
        permissions: Sequence[iam.PolicyStatement],
        timeout_seconds: int = 60,
        memory_mb: int = 256,
        dead_letter_queue: sqs.IQueue | None = None,
        traced: bool = True,
    ) -> None:
        """``module`` below ``lambdas/`` holds ``handler``; ``environment`` is what its Settings ask for.

        Raises:
            SettingsError: the environment is larger than Lambda takes.
        """
        role = iam.Role(scope, f"{id}Role", assumed_by=iam.ServicePrincipal("lambda.amazonaws.com"))
        encryption = runtime.encryption
        variables = {
            "POWERTOOLS_SERVICE_NAME": id,
            "POWERTOOLS_METRICS_NAMESPACE": cdk.Stack.of(scope).stack_name,
            "POWERTOOLS_LOG_LEVEL": "INFO",
            **environment,
        }
        check_environment(id, variables, cdk.Stack.of(scope))
        log_group = logs.LogGroup(
            scope, f"{id}Logs", retention=logs.RetentionDays.THREE_MONTHS, encryption_key=encryption.key
        )
        with_key = encryption.for_function(permissions, keeps_unhandled=dead_letter_queue is not None)
        attach(role, [write_logs(log_group), *permissions, *with_key])
        super().__init__(
            scope,
            id,
            description=description,
            code=runtime.code,
            handler=f"{module}.handler",
            runtime=runtime.python,
            architecture=runtime.architecture,
            layers=[runtime.layer],
            role=role,
            log_group=log_group,
            tracing=lambda_.Tracing.ACTIVE if traced else lambda_.Tracing.DISABLED,
            timeout=cdk.Duration.seconds(timeout_seconds),
            memory_size=memory_mb,
            dead_letter_queue=dead_letter_queue,
            environment_encryption=encryption.key,
            environment=variables,
        )
        self.role_arn = role.role_arn


class BackgroundFunction(PipelineFunction):
    """A function that is invoked asynchronously; its queue ``unhandled`` keeps failed events for 14 days."""

    def __init__(
        self,
        scope: Construct,
        id: str,
        *,
        runtime: Runtime,
        module: str,
        description: str,
        environment: Mapping[str, str],
        permissions: Sequence[iam.PolicyStatement],
        timeout_seconds: int = 60,
        memory_mb: int = 256,
    ) -> None:
        key = runtime.encryption.key
        self.unhandled = sqs.Queue(
            scope,
            f"{id}Unhandled",
            encryption=sqs.QueueEncryption.KMS if key else sqs.QueueEncryption.SQS_MANAGED,
            encryption_master_key=key,
            enforce_ssl=True,
            retention_period=cdk.Duration.days(14),
        )
        super().__init__(
            scope,
            id,
            runtime=runtime,
            module=module,
            description=description,
            environment=environment,
            permissions=permissions,
            timeout_seconds=timeout_seconds,
            memory_mb=memory_mb,
            dead_letter_queue=self.unhandled,
        )

    def call_by(self, id: str, description: str, event: events.RuleTargetInput | None = None, **rule: Any) -> None:
        """Have an EventBridge rule call the function with ``event``; ``rule`` is its pattern or its schedule.

        What EventBridge could not deliver within a day is kept in the same queue.
        """
        target = targets.LambdaFunction(
            self,
            dead_letter_queue=self.unhandled,
            event=event,
            retry_attempts=185,
            max_event_age=cdk.Duration.hours(24),
        )
        events.Rule(self, id, description=description, targets=[target], **rule)


@dataclass(frozen=True)
class Stage:
    """One stage of the state machine: its function's environment, permissions and size."""

    description: str
    permissions: Sequence[iam.PolicyStatement]
    environment: Mapping[str, str] = field(default_factory=dict)
    timeout_seconds: int = 60
    memory_mb: int = 256


class StageFunctions(Construct):
    """The functions of the state machine's Task states, by the name that the definition gives them."""

    def __init__(
        self,
        scope: Construct,
        id: str,
        *,
        settings: Settings,
        runtime: Runtime,
        storage: Storage,
        labelling_role: iam.IRole,
        work_team_arn: str,
        permissions: Permissions,
        notifications: Notifications,
    ) -> None:
        super().__init__(scope, id)
        self.by_name = {
            task.function: PipelineFunction(
                self,
                task.function,
                runtime=runtime,
                module=f"stages.{task.module}",
                description=stage.description,
                environment={"JOBS_TABLE": storage.table.table_name, **stage.environment},
                permissions=stage.permissions,
                timeout_seconds=stage.timeout_seconds,
                memory_mb=stage.memory_mb,
            )
            for task, stage in _stages(
                settings, runtime.encryption, storage, labelling_role, work_team_arn, permissions, notifications
            ).items()
        }


def _stages(
    settings: Settings,
    encryption: Encryption,
    storage: Storage,
    labelling_role: iam.IRole,
    work_team_arn: str,
    permissions: Permissions,
    notifications: Notifications,
) -> dict[Task, Stage]:
    bucket = {"BUCKET": storage.bucket.bucket_name}
    cost_tags = {"COST_TAGS": ",".join(f"{key}={value}" for key, value in settings.tags.items())}
    kms_key = {"KMS_KEY_ARN": settings.kms_key_arn}
    live_model = {
        "PROJECT_PARAMETER": storage.project_parameter.parameter_name,
        "MODEL_PARAMETER": storage.model_parameter.parameter_name,
    }
    max_rejected_share = {"MAX_REJECTED_SHARE": str(settings.max_rejected_share)}
    progress = permissions.job_progress()
    tell_missing = permissions.list_bucket("Without it S3 answers that a missing object is forbidden.")
    return {
        states.CHECK_IMAGES: Stage(
            "Reads the header of every uploaded photo and writes the input manifest.",
            [
                progress,
                permissions.list_bucket("Lists the job's photos and their upright copies."),
                permissions.read_objects(
                    "images",
                    "manifests",
                    "upright",
                    why="Reads the photos' headers, whole photos that are turned, and when S3 wrote the manifest.",
                ),
                permissions.write_large_objects(
                    "manifests",
                    "upright",
                    why="Writes the input manifest, the list of rejected photos and upright copies of turned photos.",
                ),
            ],
            {
                **bucket,
                **max_rejected_share,
                "MIN_IMAGES": str(settings.min_images),
            },
            timeout_seconds=900,
            memory_mb=ONE_VCPU_MB,  # for 250,000 photos in the time that there is
        ),
        states.IMPORT_LABELS: Stage(
            "Checks supplied labels against the job's photos and writes them as a labelled manifest.",
            [
                progress,
                tell_missing,
                permissions.read_objects("labels", "manifests", why="Reads the supplied labels and the job's photos."),
                permissions.write_large_objects("manifests", why="Writes the labels as a manifest."),
            ],
            {**bucket, "MAX_UNMATCHED_SHARE": str(settings.max_unmatched_share)},
            timeout_seconds=900,
            memory_mb=1024,
        ),
        states.REQUEST_LABELS: Stage(
            "Makes sure that a labelling job exists, and stores the task token that resumes the execution.",
            [
                progress,
                permissions.write_objects("labelling", why="Writes the page and the types that people choose from."),
                permissions.labelling_jobs(
                    "AddTags", "CreateLabelingJob", "DescribeLabelingJob", why="Finds or makes the labelling job."
                ),
                permissions.pass_labelling_role(labelling_role),
                permissions.answer_task(),
                *notifications.sending(),
            ],
            {
                **bucket,
                **cost_tags,
                **kms_key,
                "WORK_TEAM_ARN": work_team_arn,
                "LABELLING_ROLE_ARN": labelling_role.role_arn,
                "WORKERS_PER_IMAGE": str(settings.workers_per_image),
                "NOTIFICATIONS_TOPIC": notifications.topic.topic_arn,
            },
        ),
        states.PREPARE_DATASETS: Stage(
            "Splits the labelled photos into a training and a test manifest.",
            [
                permissions.job_record(),  # which says when labels were asked for: a metric
                permissions.list_bucket("Compares the photos with those that were checked."),
                permissions.read_objects("labelling", "manifests", why="Reads the labelled photos."),
                permissions.write_large_objects("manifests", why="Writes the manifests of both datasets."),
            ],
            {**bucket, **max_rejected_share},
            timeout_seconds=900,
            memory_mb=1024,
        ),
        states.CREATE_DATASETS: Stage(
            "Makes sure that the job's Rekognition project has its two datasets.",
            [
                progress,
                permissions.find_project(),
                permissions.create_project(),
                permissions.projects(
                    "CreateDataset",
                    "DeleteDataset",
                    why="Makes the project's datasets, in place of those that failed.",
                ),
                *permissions.let_rekognition_read("images", "manifests", "upright"),
                *encryption.for_datasets(),
            ],
            cost_tags,
        ),
        states.CHECK_DATASETS: Stage(
            "Asks Rekognition how far both datasets are.",
            [progress, permissions.projects("DescribeDataset", why="Asks how far the datasets are.")],
        ),
        states.START_TRAINING: Stage(
            "Trains a version of the job's project, unless there is one that can be used.",
            [
                progress,
                permissions.projects(
                    "CreateProjectVersion",
                    "DescribeProjectVersions",
                    "TagResource",
                    why="Finds or makes the job's model, which is then trained.",
                ),
                *permissions.let_rekognition_read("images", "manifests", "upright"),
                permissions.write_objects(
                    "training", why="Rekognition writes its output with its caller's permissions."
                ),
                *encryption.for_training(),
            ],
            {**bucket, **cost_tags, **kms_key},
        ),
        states.CHECK_TRAINING: Stage(
            "Asks Rekognition how far the training is.",
            [
                progress,
                permissions.projects("DescribeProjectVersions", why="Asks how far the training is."),
                permissions.read_objects("training", why="Reads why a training has failed."),
            ],
        ),
        states.EVALUATE_MODEL: Stage(
            "Compares the photos with those checked, and the model's figures with the bars and the live model.",
            [
                progress,
                permissions.list_bucket("Compares the photos with those that were checked."),
                permissions.read_objects(
                    "manifests",
                    "training",
                    why="Reads which photos were checked and trained on, and the model's figures.",
                ),
                permissions.projects("DescribeProjectVersions", why="Asks for the figures of this and the live model."),
                permissions.live_model("GetParameter", why="Reads which model is live."),
            ],
            {
                **bucket,
                **live_model,
                "MIN_F1": str(settings.min_f1),
                "MIN_LABEL_F1": str(settings.min_label_f1),
                "MAX_F1_DROP": str(settings.max_f1_drop),
            },
            timeout_seconds=900,  # to list 250,000 photos
            memory_mb=1024,
        ),
        states.START_MODEL: Stage(
            "Starts the model's inference units.",
            [
                progress,
                permissions.projects(
                    "DescribeProjectVersions", "StartProjectVersion", why="Starts the model, unless it runs already."
                ),
            ],
            {"INFERENCE_UNITS": str(settings.inference_units)},
        ),
        states.CHECK_MODEL: Stage(
            "Asks Rekognition whether the model runs.",
            [progress, permissions.projects("DescribeProjectVersions", why="Asks whether the model runs.")],
        ),
        states.PUBLISH_MODEL: Stage(
            "Names the model in the parameters that document-checking services read.",
            [
                permissions.job_record(),
                permissions.projects(
                    "DescribeProjectVersions",
                    "StopProjectVersion",
                    why="Stops the model that was live, if the job asks for it.",
                ),
                permissions.live_model("GetParameter", "PutParameter", why="Reads and writes which model is live."),
            ],
            {**live_model, "STOP_PREVIOUS_MODEL": json.dumps(settings.stop_previous_model)},
        ),
    }
