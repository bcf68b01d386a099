"""The stack, composed of the constructs in this package."""

from collections.abc import Mapping
from pathlib import Path

import aws_cdk as cdk
from constructs import Construct

from rules import states
from rules.states import Task
from stacks.api import Api
from stacks.audit import AuditBucket, SigningKey
from stacks.bucket_policy import let_write
from stacks.encryption import Encryption
from stacks.functions import Parts, PartsWithMachine, make_background, make_stages
from stacks.labelling import LabellingRole, WorkTeam, work_team
from stacks.notifications import Notifications
from stacks.observability import Observability
from stacks.permissions import Permissions
from stacks.runtime import PipelineFunction, Runtime
from stacks.settings import Settings
from stacks.storage import Storage
from stacks.training import TrainingStateMachine


class TrainingStack(cdk.Stack):
    """The training pipeline: storage, stages, state machine, events and HTTP API, for any account and Region."""

    def __init__(self, scope: Construct, settings: Settings, *, layers: Path) -> None:
        """``layers`` has a folder for each layer of the functions' libraries: see `Runtime`.

        Raises:
            LayerMissingError: a layer's folder does not exist.
        """
        super().__init__(
            scope,
            settings.stack_name,
            description="Trains the model that finds an identity document in a customer's photo.",
            env=cdk.Environment(region=settings.region or None),
        )
        encryption = Encryption(self, "Encryption", settings=settings)
        team = work_team(self, "Labellers", settings=settings)
        parts = self._make_parts(settings, encryption, team)
        runtime = Runtime(self, "Runtime", layers=layers, encryption=encryption)
        stages = make_stages(Construct(self, "Stages"), parts, runtime)
        state_machine = TrainingStateMachine(
            self, "Training", settings=settings, stages=stages, permissions=parts.permissions, encryption=encryption
        )
        more_parts = PartsWithMachine(**vars(parts), state_machine=state_machine)
        make_background(self, more_parts, runtime)
        self._restrict_writes(more_parts, stages)
        self.api = Api(self, "HttpApi", parts=more_parts, runtime=runtime)
        Observability(
            self,
            "Observability",
            settings=settings,
            topic=parts.notifications.topic,
            state_machine=state_machine,
            stages=stages,
            background=list(more_parts.functions.values()),
            # An alarm has at most 10 metrics. The function for the page's files only returns files of its code.
            api={name: one for name, one in self.api.functions.items() if name != "LabellingFiles"},
        )
        self._add_outputs(parts, state_machine, team)
        for key, value in settings.tags.items():
            cdk.Tags.of(self).add(key, value)

    def _make_parts(self, settings: Settings, encryption: Encryption, team: WorkTeam) -> Parts:
        """Make what exists before any function: storage, notifications, the report bucket and shared roles."""
        self.storage = Storage(
            self,
            "Storage",
            stack_name=settings.stack_name,
            retention_days=settings.retention_days,
            web_origins=settings.web_origins,
            key=encryption.key,
        )
        self.audit = AuditBucket(
            self,
            "Audit",
            retention_years=settings.audit_retention_years,
            access_logs=self.storage.access_logs,
            key=encryption.key,
        )
        return Parts(
            settings=settings,
            encryption=encryption,
            storage=self.storage,
            permissions=Permissions(self, self.storage, state_machine_name=settings.stack_name),
            notifications=Notifications(self, "Notifications", settings=settings, key=encryption.key),
            audit=self.audit,
            signing_key=SigningKey(self, "Signing", arn=settings.audit_signing_key_arn),
            labelling_role=LabellingRole(self, "LabellingRole", storage=self.storage, encryption=encryption),
            work_team_arn=team.arn,
        )

    def _restrict_writes(self, parts: PartsWithMachine, stages: Mapping[str, PipelineFunction]) -> None:
        """Let only the functions that write manifests, labels, figures and audit reports write and sign them."""

        def roles(*tasks: Task) -> list[str]:
            return [stages[task.function].role_arn for task in tasks]

        let_write(
            self.storage,
            manifests=roles(
                states.PLAN_PHOTOS,
                states.CHECK_PHOTOS,
                states.COLLECT_PHOTOS,
                states.IMPORT_LABELS,
                states.PREPARE_DATASETS,
            ),
            labelling=[
                parts.labelling_role.role_arn,
                *roles(states.REQUEST_LABELS),
                parts.functions["FinishLabelling"].role_arn,
            ],
            training=roles(states.START_TRAINING),
            outlines=roles(states.LEARN_OUTLINES),
        )
        exporter = parts.functions["ExportAudit"].role_arn
        self.audit.guard(exporter)
        parts.signing_key.guard(exporter)

    def _add_outputs(self, parts: Parts, state_machine: TrainingStateMachine, team: WorkTeam) -> None:
        for name, value in {
            "ApiUrl": self.api.url,
            "ApiStageArn": self.api.stage_arn,
            "BucketName": self.storage.bucket.bucket_name,
            "AuditBucketName": self.audit.bucket.bucket_name,
            "AuditSigningKeyArn": parts.signing_key.arn,
            "JobsTable": self.storage.table.table_name,
            "StateMachineArn": state_machine.state_machine_arn,
            "ProjectParameter": self.storage.project_parameter.parameter_name,
            "ModelParameter": self.storage.model_parameter.parameter_name,
            "NotificationsTopicArn": parts.notifications.topic.topic_arn,
            **team.outputs,
            **(self.api.sign_in.outputs if self.api.sign_in else {}),
        }.items():
            cdk.CfnOutput(self, name, value=value)
