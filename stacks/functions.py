"""The Lambda functions: one role each, with what that one needs and no more."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aws_cdk as cdk
from aws_cdk import aws_events as events
from aws_cdk import aws_events_targets as targets
from aws_cdk import aws_iam as iam
from aws_cdk import aws_lambda as lambda_
from aws_cdk import aws_logs as logs
from aws_cdk import aws_sqs as sqs
from constructs import Construct

from stacks.permissions import Permissions
from stacks.settings import Settings
from stacks.storage import Storage

CODE = Path(__file__).resolve().parent.parent / "lambdas"

ONE_VCPU_MB = 1769
"""The memory at which a function has one whole vCPU. Source: Lambda guide, 'Configure Lambda function memory'."""


class LayerMissingError(FileNotFoundError):
    """The folder with the functions' libraries has not been built."""


class Runtime(Construct):
    """What every function runs on: the code, the layer with its libraries, Python and the processor."""

    python = lambda_.Runtime.PYTHON_3_14
    architecture = lambda_.Architecture.ARM_64

    def __init__(self, scope: Construct, id: str, *, layer: Path) -> None:
        """``layer`` holds ``python/`` with the installed libraries.

        Raises:
            LayerMissingError: ``layer`` has no such folder.
        """
        super().__init__(scope, id)
        if not (layer / "python").is_dir():
            raise LayerMissingError(
                f"The functions' libraries are missing: there is no folder {layer / 'python'}. Run 'make synth', which "
                "installs lambdas/requirements.txt there first."
            )
        self.code = lambda_.Code.from_asset(
            str(CODE), exclude=["__pycache__", "requirements.txt"], ignore_mode=cdk.IgnoreMode.GIT
        )
        self.layer = lambda_.LayerVersion(
            self,
            "Libraries",
            code=lambda_.Code.from_asset(str(layer), exclude=["__pycache__"], ignore_mode=cdk.IgnoreMode.GIT),
            description="The libraries of lambdas/requirements.txt.",
            compatible_runtimes=[self.python],
            compatible_architectures=[self.architecture],
        )


class PipelineFunction(lambda_.Function):
    """A function with a role, a log group and a trace of its own."""

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
    ) -> None:
        """``module`` below ``lambdas/`` holds ``handler``; ``environment`` is what its Settings ask for."""
        role = iam.Role(scope, f"{id}Role", assumed_by=iam.ServicePrincipal("lambda.amazonaws.com"))
        log_group = logs.LogGroup(scope, f"{id}Logs", retention=logs.RetentionDays.THREE_MONTHS)
        log_group.grant_write(role)
        for statement in permissions:
            role.add_to_policy(statement)
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
            tracing=lambda_.Tracing.ACTIVE,
            timeout=cdk.Duration.seconds(timeout_seconds),
            memory_size=memory_mb,
            dead_letter_queue=dead_letter_queue,
            environment={"POWERTOOLS_SERVICE_NAME": id, "POWERTOOLS_LOG_LEVEL": "INFO", **environment},
        )


class BackgroundFunction(PipelineFunction):
    """A function that nobody waits for; what it failed at is kept in its queue ``unhandled`` for 14 days."""

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
        self.unhandled = sqs.Queue(
            scope,
            f"{id}Unhandled",
            encryption=sqs.QueueEncryption.SQS_MANAGED,
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
        permissions: Permissions,
    ) -> None:
        super().__init__(scope, id)
        self.by_name = {
            name: PipelineFunction(
                self,
                name,
                runtime=runtime,
                module=f"stages.{re.sub('(?<!^)(?=[A-Z])', '_', name).lower()}",
                description=stage.description,
                environment={"JOBS_TABLE": storage.table.table_name, **stage.environment},
                permissions=[permissions.job_record(), *stage.permissions],
                timeout_seconds=stage.timeout_seconds,
                memory_mb=stage.memory_mb,
            )
            for name, stage in _stages(settings, storage, labelling_role, permissions).items()
        }


def _stages(
    settings: Settings, storage: Storage, labelling_role: iam.IRole, permissions: Permissions
) -> dict[str, Stage]:
    bucket = {"BUCKET": storage.bucket.bucket_name}
    cost_tags = {"COST_TAGS": ",".join(f"{key}={value}" for key, value in settings.tags.items())}
    kms_key = {"KMS_KEY_ARN": settings.kms_key_arn}
    live_model = {
        "PROJECT_PARAMETER": storage.project_parameter.parameter_name,
        "MODEL_PARAMETER": storage.model_parameter.parameter_name,
    }
    return {
        "CheckImages": Stage(
            "Reads the header of every uploaded photo and writes the input manifest.",
            [
                permissions.list_bucket(),
                permissions.read_objects("images"),
                permissions.write_objects("manifests"),
            ],
            {
                **bucket,
                "MIN_IMAGES": str(settings.min_images),
                "MAX_REJECTED_SHARE": str(settings.max_rejected_share),
            },
            timeout_seconds=900,
            memory_mb=ONE_VCPU_MB,  # for 250,000 photos in the time that there is
        ),
        "ImportLabels": Stage(
            "Checks supplied labels against the job's photos and writes them as a labelled manifest.",
            [
                permissions.list_bucket(),
                permissions.read_objects("labels", "manifests"),
                permissions.write_objects("manifests"),
            ],
            bucket,
            timeout_seconds=900,
            memory_mb=1024,
        ),
        "RequestLabels": Stage(
            "Sees to it that the job is labelled and leaves the task's token for whoever finishes that.",
            [
                permissions.write_objects("labelling"),
                permissions.labelling_jobs("AddTags", "CreateLabelingJob", "DescribeLabelingJob"),
                permissions.pass_labelling_role(labelling_role),
                permissions.answer_task(),
            ],
            {
                **bucket,
                **cost_tags,
                **kms_key,
                "WORK_TEAM_ARN": settings.work_team,
                "LABELLING_ROLE_ARN": labelling_role.role_arn,
                "WORKERS_PER_IMAGE": str(settings.workers_per_image),
            },
        ),
        "PrepareDatasets": Stage(
            "Splits the labelled photos into a training and a test manifest.",
            [
                permissions.list_bucket(),
                permissions.read_objects("labelling", "manifests"),
                permissions.write_objects("manifests"),
            ],
            bucket,
            timeout_seconds=900,
            memory_mb=1024,
        ),
        "CreateDatasets": Stage(
            "Makes sure that the job's Rekognition project has its two datasets.",
            [
                permissions.find_or_make_project(),
                permissions.projects("CreateDataset", "DeleteDataset", "TagResource"),
                *permissions.let_rekognition_read("images", "manifests"),
            ],
            cost_tags,
        ),
        "CheckDatasets": Stage(
            "Asks Rekognition how far both datasets are.",
            [permissions.projects("DescribeDataset")],
        ),
        "StartTraining": Stage(
            "Trains a version of the job's project, unless there is one that can be used.",
            [
                permissions.projects("CreateProjectVersion", "DescribeProjectVersions", "TagResource"),
                *permissions.let_rekognition_read("images", "manifests"),
                permissions.write_objects("training"),
            ],
            {**bucket, **cost_tags, **kms_key},
        ),
        "CheckTraining": Stage(
            "Asks Rekognition how far the training is.",
            [
                permissions.projects("DescribeProjectVersions"),
                permissions.list_bucket(),
                permissions.read_objects("training"),
            ],
        ),
        "EvaluateModel": Stage(
            "Holds the model's figures against the bar and against the live model.",
            [
                permissions.list_bucket(),
                permissions.read_objects("training"),
                permissions.projects("DescribeProjectVersions"),
                permissions.live_model("GetParameter"),
            ],
            live_model,
        ),
        "StartModel": Stage(
            "Starts the model's inference units.",
            [permissions.projects("DescribeProjectVersions", "StartProjectVersion")],
            {"INFERENCE_UNITS": str(settings.inference_units)},
        ),
        "CheckModel": Stage(
            "Asks Rekognition whether the model runs.",
            [permissions.projects("DescribeProjectVersions")],
        ),
        "PublishModel": Stage(
            "Names the model in the parameters that document-checking services read.",
            [
                permissions.projects("DescribeProjectVersions", "StopProjectVersion"),
                permissions.live_model("GetParameter", "PutParameter"),
            ],
            live_model,
        ),
    }
