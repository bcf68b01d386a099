"""The audit reports: the bucket that keeps them, and the function that makes them."""

import aws_cdk as cdk
from aws_cdk import aws_events as events
from aws_cdk import aws_iam as iam
from aws_cdk import aws_kms as kms
from aws_cdk import aws_s3 as s3
from aws_cdk import aws_stepfunctions as sfn
from constructs import Construct

from stacks.functions import BackgroundFunction, Runtime
from stacks.permissions import Permissions
from stacks.storage import Storage

READ_FOLDERS = ("manifests", "labels", "labelling", "training")
"""Of the bucket of photographs: those whose files a report has the hashes of."""

FINAL, PROVISIONAL = "audit", "provisional"
"""Folders of the bucket of reports: on executions that have ended, and on those that run."""


class AuditBucket(Construct):
    """Keeps every report, in every version, for the years that it is locked for: nobody can delete or replace one.

    In compliance mode not even the account's root user can. Source: S3 guide, 'Locking objects with Object Lock'.
    """

    def __init__(
        self, scope: Construct, id: str, *, retention_years: int, access_logs: s3.IBucket, key: kms.IKey | None
    ) -> None:
        """``key`` encrypts the reports; None means S3's own keys."""
        super().__init__(scope, id)
        self.bucket = s3.Bucket(
            self,
            "Bucket",
            encryption=s3.BucketEncryption.KMS if key else s3.BucketEncryption.S3_MANAGED,
            encryption_key=key,
            bucket_key_enabled=True if key else None,
            enforce_ssl=True,
            minimum_tls_version=1.2,
            block_public_access=s3.BlockPublicAccess.BLOCK_ALL,
            object_ownership=s3.ObjectOwnership.BUCKET_OWNER_ENFORCED,
            server_access_logs_bucket=access_logs,
            server_access_logs_prefix="audit/",
            versioned=True,
            object_lock_enabled=True,
            object_lock_default_retention=s3.ObjectLockRetention.compliance(cdk.Duration.days(365 * retention_years)),
            lifecycle_rules=[
                # Those are locked for a day only, each by itself.
                s3.LifecycleRule(
                    prefix=f"{PROVISIONAL}/",
                    expiration=cdk.Duration.days(2),
                    noncurrent_version_expiration=cdk.Duration.days(1),
                )
            ],
            removal_policy=cdk.RemovalPolicy.RETAIN,
        )
        self._key = key

    def read(self) -> list[iam.PolicyStatement]:
        """Look whether a report is there (the list makes S3 answer 404 and not 403) and read it."""
        reports = [self.bucket.arn_for_objects(f"{folder}/*") for folder in (FINAL, PROVISIONAL)]
        return [
            iam.PolicyStatement(actions=["s3:ListBucket"], resources=[self.bucket.bucket_arn]),
            iam.PolicyStatement(actions=["s3:GetObject"], resources=reports),
            *self._key_for("kms:Decrypt"),
        ]

    def keep(self) -> list[iam.PolicyStatement]:
        """Write reports, and read those before; lock the provisional ones for less than the bucket would."""
        final, provisional = (self.bucket.arn_for_objects(f"{folder}/*") for folder in (FINAL, PROVISIONAL))
        return [
            iam.PolicyStatement(actions=["s3:ListBucket", "s3:ListBucketVersions"], resources=[self.bucket.bucket_arn]),
            iam.PolicyStatement(actions=["s3:GetObject", "s3:GetObjectVersion"], resources=[final]),
            iam.PolicyStatement(actions=["s3:PutObject"], resources=[final, provisional]),
            iam.PolicyStatement(actions=["s3:PutObjectRetention"], resources=[provisional]),
            *self._key_for("kms:Decrypt", "kms:GenerateDataKey"),
        ]

    def _key_for(self, *actions: str) -> list[iam.PolicyStatement]:
        if self._key is None:
            return []
        stack = cdk.Stack.of(self)
        via = {"StringEquals": {"kms:ViaService": f"s3.{stack.region}.{stack.url_suffix}"}}
        return [iam.PolicyStatement(actions=list(actions), resources=[self._key.key_arn], conditions=via)]


class ExportAudit(BackgroundFunction):
    """Makes the report of each execution that ends, and of one that the API asks for."""

    def __init__(
        self,
        scope: Construct,
        id: str,
        *,
        runtime: Runtime,
        storage: Storage,
        permissions: Permissions,
        audit: AuditBucket,
        state_machine: sfn.IStateMachine,
    ) -> None:
        super().__init__(
            scope,
            id,
            runtime=runtime,
            module="events.export_audit",
            description="Makes the audit report of an execution from its whole history and keeps it.",
            environment={
                "JOBS_TABLE": storage.table.table_name,
                "BUCKET": storage.bucket.bucket_name,
                "AUDIT_BUCKET": audit.bucket.bucket_name,
            },
            permissions=[
                iam.PolicyStatement(actions=["dynamodb:GetItem"], resources=[storage.table.table_arn]),
                permissions.list_bucket(),
                permissions.read_objects(*READ_FOLDERS),
                permissions.executions("DescribeExecution", "DescribeStateMachineForExecution", "GetExecutionHistory"),
                *audit.keep(),
            ],
            timeout_seconds=900,
            memory_mb=1024,  # for 25,000 events, and the hashes of manifests of 1 GB in the time that there is
        )
        self.call_by(
            "Ended",
            "An execution of the state machine has ended.",
            event_pattern=events.EventPattern(
                source=["aws.states"],
                detail_type=["Step Functions Execution Status Change"],
                detail={
                    "stateMachineArn": [state_machine.state_machine_arn],
                    "status": ["SUCCEEDED", "FAILED", "TIMED_OUT", "ABORTED"],
                },
            ),
        )

    def call(self) -> iam.PolicyStatement:
        """Call this function."""
        return iam.PolicyStatement(actions=["lambda:InvokeFunction"], resources=[self.function_arn])
