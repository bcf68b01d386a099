"""The function that stops what a stopped or failed job left running."""

import aws_cdk as cdk
from aws_cdk import aws_events as events
from constructs import Construct

from stacks.audit import ExportAudit
from stacks.functions import BackgroundFunction, Runtime
from stacks.notifications import Notifications
from stacks.permissions import Permissions
from stacks.storage import JOBS_INDEX, Storage


class SettleJob(BackgroundFunction):
    """Deals with what the end of a job left: a training that went on, a model that was starting, a lost event."""

    def __init__(
        self,
        scope: Construct,
        id: str,
        *,
        runtime: Runtime,
        storage: Storage,
        permissions: Permissions,
        notifications: Notifications,
        export_audit: ExportAudit,
    ) -> None:
        super().__init__(
            scope,
            id,
            runtime=runtime,
            module="events.settle_job",
            description="Stops and deletes what a job left that was stopped or failed.",
            environment={
                "JOBS_TABLE": storage.table.table_name,
                "JOBS_INDEX": JOBS_INDEX,
                "NOTIFICATIONS_TOPIC": notifications.topic.topic_arn,
                "PROJECT_PARAMETER": storage.project_parameter.parameter_name,
                "MODEL_PARAMETER": storage.model_parameter.parameter_name,
                "EXPORT_FUNCTION": export_audit.function_name,
            },
            permissions=[
                permissions.job_record(),
                permissions.list_job_records(),
                permissions.executions("DescribeExecution", "GetExecutionHistory"),
                *permissions.stop_what_runs(and_settle=True),
                *notifications.sending(),
                export_audit.call(),
            ],
            timeout_seconds=300,
        )
        self.call_by(
            "Trained",
            "A training has written its results; Rekognition itself sends no event.",
            event_pattern=events.EventPattern(
                source=["aws.s3"],
                detail_type=["Object Created"],
                detail={
                    "bucket": {"name": [storage.bucket.bucket_name]},
                    "object": {"key": [{"prefix": "training/"}]},
                },
            ),
        )
        self.call_by(
            "Now",
            "An event may have been lost, and a model that was starting when its job ended can be stopped by now.",
            event=events.RuleTargetInput.from_object({}),
            schedule=events.Schedule.rate(cdk.Duration.minutes(15)),
        )
