"""Labelling by people: the role that Ground Truth takes on, and what wakes a job when its labelling has ended."""

import aws_cdk as cdk
from aws_cdk import aws_events as events
from aws_cdk import aws_iam as iam
from constructs import Construct

from stacks.functions import BackgroundFunction, Runtime
from stacks.notifications import Notifications
from stacks.permissions import Permissions
from stacks.storage import Storage


class LabellingRole(iam.Role):
    """What Ground Truth may do while it labels: read photographs and manifests, write below ``labelling/``.

    Source: SageMaker guide, 'Create a SageMaker AI Execution Role for a Ground Truth Labeling Job', built-in task
    types.
    """

    def __init__(self, scope: Construct, id: str, *, storage: Storage) -> None:
        super().__init__(
            scope,
            id,
            assumed_by=iam.ServicePrincipal("sagemaker.amazonaws.com"),
            description="Taken on by SageMaker Ground Truth for the labelling jobs of the training pipeline.",
        )
        bucket = storage.bucket
        log_groups = cdk.Stack.of(self).format_arn(
            service="logs",
            resource="log-group",
            resource_name="/aws/sagemaker/*",
            arn_format=cdk.ArnFormat.COLON_RESOURCE_NAME,
        )
        for actions, resources in (
            (["s3:GetBucketLocation", "s3:ListBucket"], [bucket.bucket_arn]),
            (["s3:GetObject"], [bucket.arn_for_objects(f"{folder}/*") for folder in ("images", "manifests")]),
            (["s3:AbortMultipartUpload", "s3:GetObject", "s3:PutObject"], [bucket.arn_for_objects("labelling/*")]),
            (
                ["logs:CreateLogGroup", "logs:CreateLogStream", "logs:DescribeLogStreams", "logs:PutLogEvents"],
                [log_groups],
            ),
            (["cloudwatch:PutMetricData"], ["*"]),
        ):
            self.add_to_policy(iam.PolicyStatement(actions=actions, resources=resources))


class ResumeLabelling(BackgroundFunction):
    """Wakes a job's execution when its Ground Truth labelling job has ended."""

    def __init__(
        self,
        scope: Construct,
        id: str,
        *,
        runtime: Runtime,
        storage: Storage,
        permissions: Permissions,
        notifications: Notifications,
    ) -> None:
        super().__init__(
            scope,
            id,
            runtime=runtime,
            module="events.resume_labelling",
            description="Answers the task token of a job whose labelling has ended.",
            environment={
                "JOBS_TABLE": storage.table.table_name,
                "NOTIFICATIONS_TOPIC": notifications.topic.topic_arn,
            },
            permissions=[
                permissions.job_record(),
                permissions.labelling_jobs("DescribeLabelingJob"),
                permissions.answer_task(),
                *notifications.tell(),
            ],
        )
        self.call_by(
            "Ended",
            "A labelling job has ended.",
            event_pattern=events.EventPattern(
                source=["aws.sagemaker"],
                detail_type=["SageMaker Ground Truth Labeling Job State Change"],
                resources=events.Match.prefix(permissions.labelling_job_prefix),
            ),
        )
