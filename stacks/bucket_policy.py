"""The statements of bucket policies, which deny what no identity-based policy can allow again.

Each statement has a reason. ``docs/permissions.md`` quotes those of buckets.
"""

from collections.abc import Sequence
from typing import Any, cast

import aws_cdk as cdk
from aws_cdk import aws_iam as iam
from aws_cdk import aws_s3 as s3

from stacks.permissions import WHY
from stacks.storage import Storage


class Denied(iam.PolicyStatement):
    """A statement of a resource's policy that denies ``actions`` to all principals except the ARNs in ``excepted``.

    ``lets_services`` also excepts AWS services that make a request themselves, not on behalf of a principal.
    """

    def __init__(
        self,
        sid: str,
        why: str,
        actions: Sequence[str],
        *resources: str,
        excepted: Sequence[str] = (),
        lets_services: bool = False,
    ) -> None:
        # For a role session, aws:PrincipalArn is the role's ARN. Source: IAM guide, "AWS global condition context
        # keys".
        conditions: dict[str, Any] = {"ArnNotEquals": {"aws:PrincipalArn": list(excepted)}} if excepted else {}
        if lets_services:
            conditions["BoolIfExists"] = {"aws:PrincipalIsAWSService": "false"}
        super().__init__(
            sid=sid,
            effect=iam.Effect.DENY,
            principals=[iam.AnyPrincipal()],
            actions=list(actions),
            resources=list(resources),
            conditions=conditions or None,
        )
        self.why = why


def deployers(stack: cdk.Stack) -> list[str]:
    """The ARNs of the principals that may configure a bucket: CloudFormation's role, and the account's root user.

    CloudFormation's role is in the CDK's bootstrap stack. Without root, the account could lock itself out.
    """
    synthesizer = stack.synthesizer
    if not isinstance(synthesizer, cdk.DefaultStackSynthesizer):
        raise TypeError("Bucket policies need the role of the CDK's bootstrap stack: use DefaultStackSynthesizer.")
    role = cdk.Fn.sub(synthesizer.cloud_formation_execution_role_arn)
    return [role, stack.format_arn(service="iam", region="", resource="root")]


def add_denials(bucket: s3.Bucket, statements: Sequence[Denied]) -> None:
    """Add the statements to the bucket's policy, and their reasons to the template's metadata."""
    for statement in statements:
        bucket.add_to_resource_policy(statement)
    policy = bucket.policy
    if policy is None:
        raise TypeError("The bucket has no bucket policy.")
    reasons = {statement.sid: statement.why for statement in statements}
    cast(cdk.CfnResource, policy.node.default_child).add_metadata(WHY, reasons)


def let_write(
    storage: Storage,
    *,
    manifests: Sequence[str],
    labelling: Sequence[str],
    training: Sequence[str],
    outlines: Sequence[str],
) -> None:
    """Deny writes to the folders that determine a model. Only the roles given for a folder, as ARNs, may write there.

    Without the denial, any principal with write access to the bucket could replace these files. The bucket also stays
    without versions: in a bucket with versions, an object that is replaced and restored has its old ETag and time.
    """
    bucket = storage.bucket

    def only(sid: str, folders: Sequence[str], writers: Sequence[str], why: str, lets_services: bool = False) -> Denied:
        objects = [bucket.arn_for_objects(f"{folder}/*") for folder in folders]
        return Denied(sid, why, ["s3:PutObject*"], *objects, excepted=writers, lets_services=lets_services)

    statements = [
        only(
            "OnlyStagesWriteManifests",
            ["manifests", "upright"],
            manifests,
            "Manifests and upright copies determine what a model is trained on. Only stages may write them.",
        ),
        only(
            "OnlyLabellingWritesLabels",
            ["labelling"],
            labelling,
            "Labels determine what a model is trained on. Ground Truth writes them with its role, and the functions "
            "of the labelling page with theirs.",
        ),
        only(
            "OnlyTrainingWritesFigures",
            ["training"],
            training,
            "The figures of a training determine whether its model goes live. Rekognition writes them with its "
            "caller's permissions.",
            lets_services=True,
        ),
        only(
            "OnlyLearnOutlinesWritesOutlines",
            ["outlines"],
            outlines,
            "The outlines determine how photos are cropped. Only the stage that learns them may write them.",
        ),
    ]
    add_denials(bucket, [*statements, *_keep_as_written(bucket)])


def _keep_as_written(bucket: s3.Bucket) -> list[Denied]:
    """Return the denials that keep an object from being replaced by an older version or by replication."""
    configurers = deployers(cdk.Stack.of(bucket))
    return [
        Denied(
            "NothingRestoresAnObject",
            "If a newer version of a photo is deleted, the older version is back with its ETag and time, so the checks "
            "do not detect the replacement. Replication writes objects without `s3:PutObject`. Erasures and the "
            "lifecycle rules delete objects, not versions.",
            ["s3:DeleteObjectVersion", "s3:Replicate*"],
            bucket.arn_for_objects("*"),
            excepted=configurers,
        ),
        Denied(
            "OnlyTheDeploymentConfigures",
            "Versions, replication or another bucket policy would undo the statements above. CloudFormation's role in "
            "the CDK's bootstrap stack must be able to update the bucket. The account's root user is excepted so that "
            "the account cannot lock itself out.",
            [
                "s3:DeleteBucketPolicy",
                "s3:PutBucketPolicy",
                "s3:PutBucketVersioning",
                "s3:PutReplicationConfiguration",
            ],
            bucket.bucket_arn,
            excepted=configurers,
        ),
    ]
