"""The bucket with the audit reports, and the key that signs them."""

import aws_cdk as cdk
from aws_cdk import aws_iam as iam
from aws_cdk import aws_kms as kms
from aws_cdk import aws_s3 as s3
from constructs import Construct

from stacks.bucket_policy import Denied, add_denials, deployers
from stacks.permissions import Allowed

READ_FOLDERS = ("manifests", "labels", "labelling", "training", "outlines")
"""Folders of the photo bucket. A report has the hashes of the files in them."""

FINAL, PROVISIONAL = "audit", "provisional"
"""Folders of the audit bucket: reports on ended executions, and reports on running executions."""


class AuditBucket(Construct):
    """A bucket with Object Lock in compliance mode.

    No principal can delete or overwrite a version of a report during its retention period, not even the account's root
    user. Source: S3 guide, 'Locking objects with Object Lock'.
    """

    def __init__(
        self, scope: Construct, id: str, *, retention_years: int, access_logs: s3.IBucket, key: kms.IKey | None
    ) -> None:
        """``key`` encrypts the reports; None means SSE-S3."""
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
                # The exporter locks each provisional report for one day only.
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
        """Deny writes to all principals except the role ``exporter_arn``, and deny deletions to all principals.

        An explicit denial in the bucket policy overrides every identity-based policy. It does not stop two things: S3
        applies the lifecycle rule, and the account's root user can replace the policy. Sources: S3 guide, 'Managing the
        lifecycle of objects' and 'Required permissions' of PutBucketPolicy.
        """
        stack, objects = cdk.Stack.of(self), self.bucket.arn_for_objects("*")
        statements = [
            Denied(
                "OnlyTheExporterWrites",
                "If another principal writes a version over a report, or changes its lock, tags or owner, the report "
                "is forged.",
                ["s3:PutObject*"],
                objects,
                excepted=[exporter_arn],
            ),
            Denied(
                "NobodyDeletes",
                "A delete marker hides a report. Replication adds versions that the exporter did not write. Reports "
                "expire by the lifecycle rule, which this statement does not affect.",
                ["s3:BypassGovernanceRetention", "s3:DeleteObject*", "s3:Replicate*"],
                objects,
            ),
            Denied(
                "OnlyTheDeploymentConfigures",
                "A lifecycle rule, a shorter default retention or another bucket policy would undo the statements "
                "above. CloudFormation's role in the CDK's bootstrap stack must be able to update the bucket. The "
                "account's root user is excepted so that the account cannot lock itself out.",
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
                excepted=deployers(stack),
            ),
        ]
        add_denials(self.bucket, statements)

    def read(self) -> list[iam.PolicyStatement]:
        """Return the permissions to find, read and decrypt the first version of each report."""
        reports = [self.bucket.arn_for_objects(f"{folder}/*") for folder in (FINAL, PROVISIONAL)]
        statements: list[iam.PolicyStatement] = [
            Allowed(
                "ListReports",
                "Finds the first version of a report, even if newer versions exist.",
                ["s3:ListBucketVersions"],
                self.bucket.bucket_arn,
            ),
            Allowed("ReadReports", "Signs the links to reports.", ["s3:GetObjectVersion"], *reports, opens=False),
        ]
        if self._key:
            stack = cdk.Stack.of(self)
            # With a bucket key, the encryption context is the bucket's ARN. Source: S3 guide, 'Reducing the cost of
            # SSE-KMS with Amazon S3 Bucket Keys'.
            where = {
                "kms:ViaService": f"s3.{stack.region}.{stack.url_suffix}",
                "kms:EncryptionContext:aws:s3:arn": self.bucket.bucket_arn,
            }
            statements.append(
                Allowed(
                    "OpenReports",
                    "The stack's key encrypts reports.",
                    ["kms:Decrypt"],
                    self._key.key_arn,
                    conditions={"StringEquals": where},
                )
            )
        return statements

    def keep(self) -> list[iam.PolicyStatement]:
        """Return the permissions to write reports, to read earlier ones, and to lock provisional ones for a day."""
        final, provisional = (self.bucket.arn_for_objects(f"{folder}/*") for folder in (FINAL, PROVISIONAL))
        return [
            Allowed(
                "ListReports",
                "Finds the report on this end of the execution, and the report before it.",
                ["s3:ListBucketVersions"],
                self.bucket.bucket_arn,
            ),
            Allowed(
                "ReadReports",
                "Reads the stored report to write its page, and the report before it to record its hash.",
                ["s3:GetObjectVersion"],
                final,
            ),
            Allowed("WriteReports", "Stores the report as JSON and as a page.", ["s3:PutObject"], final, provisional),
            Allowed(
                "LockProvisionalReports",
                "Locks reports on running executions for one day only.",
                ["s3:PutObjectRetention"],
                provisional,
            ),
        ]


class SigningKey(Construct):
    """The KMS key that signs audit reports: the key of the setting ``auditSigningKeyArn``, or one of the stack.

    The stack's key is retained when the stack is deleted. Its policy lets only the exporter sign.
    """

    def __init__(self, scope: Construct, id: str, *, arn: str) -> None:
        """``arn`` is the ARN of an existing key, or empty."""
        super().__init__(scope, id)
        self._own = None if arn else self._make()
        self.arn = self._own.key_arn if self._own else arn

    def _make(self) -> kms.Key:
        return kms.Key(
            self,
            "Key",
            description="Signs the audit reports of the training pipeline.",
            key_spec=kms.KeySpec.ECC_NIST_P256,
            key_usage=kms.KeyUsage.SIGN_VERIFY,
            removal_policy=cdk.RemovalPolicy.RETAIN,
        )

    def sign(self) -> iam.PolicyStatement:
        """Return the permission to sign."""
        return Allowed("SignReports", "Signs the report and its page.", ["kms:Sign"], self.arn, opens=False)

    def guard(self, exporter_arn: str) -> None:
        """Deny signing to all principals except the role ``exporter_arn``, and changes of the stack's key.

        The resource ``*`` of a key policy is this key only. Source: KMS guide, 'Default key policy'. The policy of an
        existing key is its owner's.
        """
        if self._own is None:
            return
        statements = [
            Denied(
                "OnlyTheExporterSigns",
                "With the key, another principal could sign a forged report.",
                ["kms:Sign"],
                "*",
                excepted=[exporter_arn],
            ),
            Denied(
                "OnlyTheDeploymentConfigures",
                "Another key policy or a grant would undo the statement above. CloudFormation's role in the CDK's "
                "bootstrap stack must be able to update the key. The account's root user is excepted so that the "
                "account cannot lock itself out.",
                ["kms:CreateGrant", "kms:PutKeyPolicy"],
                "*",
                excepted=deployers(cdk.Stack.of(self)),
            ),
        ]
        for statement in statements:
            self._own.add_to_resource_policy(statement)
