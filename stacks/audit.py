"""The bucket that keeps the audit reports."""

from typing import cast

import aws_cdk as cdk
from aws_cdk import aws_iam as iam
from aws_cdk import aws_kms as kms
from aws_cdk import aws_s3 as s3
from constructs import Construct

from stacks.permissions import WHY, Allowed, Denied

READ_FOLDERS = ("manifests", "labels", "labelling", "training")
"""Of the bucket of photographs: those whose files a report has the hashes of."""

FINAL, PROVISIONAL = "audit", "provisional"
"""Folders of the bucket of reports: on executions that have ended, and on those that run."""


class AuditBucket(Construct):
    """Keeps every version of every report for the years of its lock: no principal can delete or replace one.

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

    def guard(self, exporter_arn: str) -> None:
        """Deny writes to all principals except the role ``exporter_arn``, and deletions to all.

        Neither depends on the policies of a principal.

        S3 carries out the lifecycle rule whatever a bucket policy denies, and lets the account's root user replace the
        policy. Sources: S3 guide, 'Managing the lifecycle of objects' and 'Required permissions' of PutBucketPolicy.
        """
        stack, objects = cdk.Stack.of(self), self.bucket.arn_for_objects("*")
        synthesizer = stack.synthesizer
        if not isinstance(synthesizer, cdk.DefaultStackSynthesizer):
            raise TypeError("The bucket of audit reports is deployed by the role of the CDK's bootstrap stack.")
        deployer = cdk.Fn.sub(synthesizer.cloud_formation_execution_role_arn)
        root = stack.format_arn(service="iam", region="", resource="root")
        statements = [
            Denied(
                "OnlyTheExporterWrites",
                "A version that another writes on top of a report, or another lock, tag or owner of one, is a forgery.",
                ["s3:PutObject*"],
                objects,
                excepted=[exporter_arn],
            ),
            Denied(
                "NobodyDeletes",
                "A delete marker hides a report; replication brings in versions that nobody wrote here. Reports expire "
                "by the lifecycle rule, which is S3's own doing.",
                ["s3:BypassGovernanceRetention", "s3:DeleteObject*", "s3:Replicate*"],
                objects,
            ),
            Denied(
                "OnlyTheDeploymentConfigures",
                "A lifecycle rule, a shorter default lock, or another policy would undo what is above. "
                "CloudFormation's role in the CDK's bootstrap stack must be able to update the bucket; the account's "
                "root user stays so that the policy locks nobody out.",
                [
                    "s3:DeleteBucket",
                    "s3:DeleteBucketPolicy",
                    "s3:PutBucketAcl",
                    "s3:PutBucketLogging",
                    "s3:PutBucketObjectLockConfiguration",
                    "s3:PutBucketOwnershipControls",
                    "s3:PutBucketPolicy",
                    "s3:PutBucketPublicAccessBlock",
                    "s3:PutBucketVersioning",
                    "s3:PutEncryptionConfiguration",
                    "s3:PutLifecycleConfiguration",
                    "s3:PutReplicationConfiguration",
                ],
                self.bucket.bucket_arn,
                excepted=[deployer, root],
            ),
        ]
        for statement in statements:
            self.bucket.add_to_resource_policy(statement)
        policy = self.bucket.policy
        if policy is None:
            raise TypeError("The bucket of audit reports has no policy of its own.")
        cast(cdk.CfnResource, policy.node.default_child).add_metadata(WHY, {one.sid: one.why for one in statements})

    def read(self) -> list[iam.PolicyStatement]:
        """Find the version of a report and read it; of all that a key of one's own encrypts, no more than that."""
        reports = [self.bucket.arn_for_objects(f"{folder}/*") for folder in (FINAL, PROVISIONAL)]
        statements: list[iam.PolicyStatement] = [
            Allowed(
                "ListReports",
                "Finds the first version of a report, whatever lies on top of it.",
                ["s3:ListBucketVersions"],
                self.bucket.bucket_arn,
            ),
            Allowed("ReadReports", "Signs the links to reports.", ["s3:GetObjectVersion"], *reports, opens=False),
        ]
        if self._key:
            stack = cdk.Stack.of(self)
            # A bucket key's context is the bucket. Source: S3 guide, 'Reducing the cost of SSE-KMS with Amazon S3
            # Bucket Keys'.
            where = {
                "kms:ViaService": f"s3.{stack.region}.{stack.url_suffix}",
                "kms:EncryptionContext:aws:s3:arn": self.bucket.bucket_arn,
            }
            statements.append(
                Allowed(
                    "OpenReports",
                    "Reports are encrypted by the stack's key.",
                    ["kms:Decrypt"],
                    self._key.key_arn,
                    conditions={"StringEquals": where},
                )
            )
        return statements

    def keep(self) -> list[iam.PolicyStatement]:
        """Write reports, and read those before; lock the provisional ones for less than the bucket would."""
        final, provisional = (self.bucket.arn_for_objects(f"{folder}/*") for folder in (FINAL, PROVISIONAL))
        return [
            Allowed(
                "ListReports",
                "Finds the report on this end, and the report before.",
                ["s3:ListBucketVersions"],
                self.bucket.bucket_arn,
            ),
            Allowed(
                "ReadReports",
                "Reads the report that is kept, to make its page, and the report before, to name its hash.",
                ["s3:GetObjectVersion"],
                final,
            ),
            Allowed("WriteReports", "Keeps the report, as JSON and as a page.", ["s3:PutObject"], final, provisional),
            Allowed(
                "LockProvisionalReports",
                "Locks reports on running executions for a day only.",
                ["s3:PutObjectRetention"],
                provisional,
            ),
        ]
