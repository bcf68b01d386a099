"""The pipeline's storage: the bucket, the tables of jobs and of labelling tasks, and the live model's parameters."""

from collections.abc import Sequence
from typing import cast

import aws_cdk as cdk
from aws_cdk import aws_dynamodb as dynamodb
from aws_cdk import aws_kms as kms
from aws_cdk import aws_s3 as s3
from aws_cdk import aws_ssm as ssm
from constructs import Construct

from rules import uploads

JOBS_INDEX = "ByStartTime"
TASKS_INDEX = "ByAvailability"

FOLDERS = ("images", "upright", "labels", "manifests", "labelling", "training", "outlines")
"""The bucket's folders with jobs' files, which contain personal data. Each has a subfolder per job."""


class Storage(Construct):
    """The storage. The bucket and the tables are retained when the stack is deleted.

    Objects in `FOLDERS` expire after the retention period; jobs' records do not expire.
    """

    def __init__(
        self,
        scope: Construct,
        id: str,
        *,
        stack_name: str,
        retention_days: int,
        web_origins: Sequence[str],
        key: kms.IKey | None,
    ) -> None:
        """``key`` encrypts everything except the access logs; None means AWS owned or AWS managed keys."""
        super().__init__(scope, id)
        # S3 does not deliver access logs to a bucket with SSE-KMS as its default encryption.
        # Source: S3 guide, 'Enabling Amazon S3 server access logging'.
        self.access_logs = s3.Bucket(
            self,
            "AccessLogs",
            encryption=s3.BucketEncryption.S3_MANAGED,
            enforce_ssl=True,
            block_public_access=s3.BlockPublicAccess.BLOCK_ALL,
            object_ownership=s3.ObjectOwnership.BUCKET_OWNER_ENFORCED,
            lifecycle_rules=[s3.LifecycleRule(expiration=cdk.Duration.days(365))],
            removal_policy=cdk.RemovalPolicy.RETAIN,
        )
        self.bucket = s3.Bucket(
            self,
            "Bucket",
            encryption=s3.BucketEncryption.KMS if key else s3.BucketEncryption.S3_MANAGED,
            encryption_key=key,
            bucket_key_enabled=True if key else None,  # one call to KMS for many objects
            minimum_tls_version=1.2,
            enforce_ssl=True,
            block_public_access=s3.BlockPublicAccess.BLOCK_ALL,
            object_ownership=s3.ObjectOwnership.BUCKET_OWNER_ENFORCED,
            server_access_logs_bucket=self.access_logs,
            cors=_cors_rules(web_origins),
            lifecycle_rules=[
                s3.LifecycleRule(abort_incomplete_multipart_upload_after=cdk.Duration.days(1)),
                *(
                    s3.LifecycleRule(id=folder, prefix=f"{folder}/", expiration=cdk.Duration.days(retention_days))
                    for folder in FOLDERS
                ),
            ],
            removal_policy=cdk.RemovalPolicy.RETAIN,
        )
        # Send the bucket's events to EventBridge. The CDK's event_bridge_enabled would add a custom resource with a
        # Lambda function.
        cast(s3.CfnBucket, self.bucket.node.default_child).add_property_override(
            "NotificationConfiguration.EventBridgeConfiguration.EventBridgeEnabled", True
        )
        self.table = self._jobs_table(key)
        self.tasks = self._tasks_table(key)
        self.project_parameter = self._live_model_parameter(
            "ProjectParameter", f"/{stack_name}/rekognition-project-arn", "The live model's Rekognition project."
        )
        self.model_parameter = self._live_model_parameter(
            "ModelParameter", f"/{stack_name}/rekognition-project-version-arn", "The live model."
        )

    def _jobs_table(self, key: kms.IKey | None) -> dynamodb.Table:
        table = self._table("Jobs", key, dynamodb.Attribute(name="Id", type=dynamodb.AttributeType.STRING))
        table.add_global_secondary_index(
            index_name=JOBS_INDEX,
            partition_key=dynamodb.Attribute(name="Kind", type=dynamodb.AttributeType.STRING),
            sort_key=dynamodb.Attribute(name="StartTime", type=dynamodb.AttributeType.NUMBER),
            projection_type=dynamodb.ProjectionType.ALL,
        )
        return table

    def _tasks_table(self, key: kms.IKey | None) -> dynamodb.Table:
        """The photos that people label on the labelling page. The index has only open tasks and open jobs."""
        table = self._table(
            "Tasks",
            key,
            dynamodb.Attribute(name="JobId", type=dynamodb.AttributeType.STRING),
            dynamodb.Attribute(name="Item", type=dynamodb.AttributeType.STRING),
            time_to_live="Expires",
        )
        table.add_global_secondary_index(
            index_name=TASKS_INDEX,
            partition_key=dynamodb.Attribute(name="Queue", type=dynamodb.AttributeType.STRING),
            sort_key=dynamodb.Attribute(name="AvailableAt", type=dynamodb.AttributeType.NUMBER),
            projection_type=dynamodb.ProjectionType.INCLUDE,
            non_key_attributes=["People", "Version"],
        )
        return table

    def _table(
        self,
        id: str,
        key: kms.IKey | None,
        partition_key: dynamodb.Attribute,
        sort_key: dynamodb.Attribute | None = None,
        *,
        time_to_live: str | None = None,
    ) -> dynamodb.Table:
        return dynamodb.Table(
            self,
            id,
            partition_key=partition_key,
            sort_key=sort_key,
            time_to_live_attribute=time_to_live,
            billing_mode=dynamodb.BillingMode.PAY_PER_REQUEST,
            encryption=dynamodb.TableEncryption.CUSTOMER_MANAGED if key else dynamodb.TableEncryption.AWS_MANAGED,
            encryption_key=key,
            point_in_time_recovery_specification=dynamodb.PointInTimeRecoverySpecification(
                point_in_time_recovery_enabled=True
            ),
            removal_policy=cdk.RemovalPolicy.RETAIN,
        )

    def _live_model_parameter(self, id: str, name: str, description: str) -> ssm.StringParameter:
        return ssm.StringParameter(
            self,
            id,
            parameter_name=name,
            description=f"{description} The stage 'Publish model' writes it. 'default' means that no model is live "
            "yet.",
            string_value="default",
        )


def _cors_rules(web_origins: Sequence[str]) -> list[s3.CorsRule]:
    # The labelling page loads photos from presigned URLs; without this rule its tasks fail.
    # Source: SageMaker guide, 'CORS Permission Requirement'.
    rules = [
        s3.CorsRule(
            allowed_methods=[s3.HttpMethods.GET],
            allowed_origins=["*"],
            allowed_headers=[],
            exposed_headers=["Access-Control-Allow-Origin"],
        )
    ]
    if web_origins:
        # Web pages upload photos to presigned URLs and compare the hashes of uploads.
        rules.append(
            s3.CorsRule(
                allowed_methods=[s3.HttpMethods.HEAD, s3.HttpMethods.PUT],
                allowed_origins=list(web_origins),
                allowed_headers=list(uploads.HEADERS),
                exposed_headers=[uploads.HASH_HEADER],
            )
        )
    return rules
