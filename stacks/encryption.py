"""Encryption with a customer managed key, the setting ``kmsKeyArn``. The default is AWS owned and AWS managed keys.

``python -m stacks.encryption`` prints the statements that the key policy must have: they let AWS services use the key
on their own behalf. The command reads the key from ``cdk.json`` or from ``-c kmsKeyArn=...``. The stack gives its roles
all other permissions on the key: a role that may use an encrypted resource gets the key permissions for that use.
"""

import argparse
import json
import sys
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import aws_cdk as cdk
from aws_cdk import aws_iam as iam
from aws_cdk import aws_kms as kms
from constructs import Construct

from stacks.permissions import Allowed
from stacks.settings import Settings, SettingsError, committed


class KeyUse(NamedTuple):
    """A use of the key by a role, through an AWS service.

    A role whose actions begin with one of ``needed_for`` gets a statement with ``sid`` and ``reason``. The statement
    allows ``key_actions``, and only when ``service`` calls KMS for the role.
    """

    sid: str
    service: str
    needed_for: tuple[str, ...]
    key_actions: tuple[str, ...]
    reason: str


USES = (
    KeyUse(
        "OpenTable",
        "dynamodb",
        needed_for=("dynamodb:",),
        key_actions=("kms:Decrypt",),
        reason="The stack's key encrypts the key of the table.",
    ),
    KeyUse(
        "OpenObjects",
        "s3",
        needed_for=("s3:GetObject",),
        key_actions=("kms:Decrypt",),
        reason="The stack's key encrypts objects.",
    ),
    KeyUse(
        "SealObjects",
        "s3",
        needed_for=("s3:PutObject",),
        key_actions=("kms:GenerateDataKey",),
        reason="The stack's key encrypts objects.",
    ),
    KeyUse(
        "SealMessages",
        "sns",
        needed_for=("sns:Publish",),
        key_actions=("kms:Decrypt", "kms:GenerateDataKey"),
        reason="The stack's key encrypts notifications.",
    ),
    KeyUse(
        "SealUnhandled",
        "sqs",
        needed_for=("sqs:SendMessage",),
        key_actions=("kms:Decrypt", "kms:GenerateDataKey"),
        reason="The stack's key encrypts the function's dead-letter queue.",
    ),
)
"""All uses of the key by functions' roles, except for environment variables: see `Encryption.for_function`.

Sources: DynamoDB guide, 'Encryption at rest: How it works' (a caller's access decrypts the table key); S3 guide, 'Using
server-side encryption with AWS KMS keys'; SNS guide, 'Key management', and SQS guide, 'Key management' (producers).
"""


class Encryption(Construct):
    """The key of the setting ``kmsKeyArn``, if any, and the permissions on it that each role needs."""

    def __init__(self, scope: Construct, id: str, *, settings: Settings) -> None:
        super().__init__(scope, id)
        self.key = kms.Key.from_key_arn(self, "Key", settings.kms_key_arn) if settings.kms_key_arn else None

    def for_function(
        self, statements: Iterable[iam.PolicyStatement], *, keeps_unhandled: bool
    ) -> list[iam.PolicyStatement]:
        """Return the key permissions of a function's role.

        ``statements`` are the role's other permissions; ``keeps_unhandled`` says whether it writes to a dead-letter
        queue.
        """
        if self.key is None:
            return []
        opening = Allowed(
            "OpenEnvironment",
            "The stack's key encrypts the function's environment variables.",
            ["kms:Decrypt"],
            self.key.key_arn,
            # Source: Lambda guide, 'Securing environment variables'. The encryption context is the one that CloudTrail
            # records for these calls.
            conditions={"Null": {"kms:EncryptionContext:aws:lambda:FunctionArn": "false"}},
        )
        actions = {
            action for statement in statements if getattr(statement, "opens", True) for action in statement.actions
        }
        if keeps_unhandled:
            actions.add("sqs:SendMessage")
        return [opening, *self._for_actions(self.key, actions)]

    def for_role(self, statements: Iterable[iam.PolicyStatement]) -> list[iam.PolicyStatement]:
        """Return the key permissions of a role whose other permissions are ``statements``."""
        if self.key is None:
            return []
        return list(self._for_actions(self.key, {action for one in statements for action in one.actions}))

    def for_labelling(self) -> list[iam.PolicyStatement]:
        """Return the key permissions of Ground Truth's role, to read photos and to write its output.

        Sources: SageMaker API reference, LabelingJobOutputConfig (kms:Encrypt); S3 guide, as above.
        """
        return self._statement(
            "OpenAndSealObjects",
            "The stack's key encrypts photos, manifests and Ground Truth's output.",
            "kms:Decrypt",
            "kms:Encrypt",
            "kms:GenerateDataKey",
        )

    def for_datasets(self) -> list[iam.PolicyStatement]:
        """Return the key permissions of CreateDataset's caller.

        Source: Custom Labels guide, 'Encrypt training files'.
        """
        return self._statement(
            "MakeDatasetsWithKey",
            "The stack's key encrypts photos and manifests. Rekognition reads them with its caller's permissions.",
            "kms:Decrypt",
            "kms:GenerateDataKey",
        )

    def for_training(self) -> list[iam.PolicyStatement]:
        """Return the key permissions of CreateProjectVersion's caller.

        Source: Rekognition API reference, CreateProjectVersion, KmsKeyId.
        """
        return self._statement(
            "TrainWithKey",
            "Rekognition encrypts its copies of photos and its output with the stack's key, as its caller.",
            "kms:CreateGrant",
            "kms:Decrypt",
            "kms:DescribeKey",
            "kms:GenerateDataKey",
        )

    def _statement(self, sid: str, why: str, *actions: str) -> list[iam.PolicyStatement]:
        return [] if self.key is None else [Allowed(sid, why, actions, self.key.key_arn)]

    def _for_actions(self, key: kms.IKey, actions: Iterable[str]) -> Iterator[iam.PolicyStatement]:
        stack = cdk.Stack.of(self)
        for use in USES:
            if any(action.startswith(use.needed_for) for action in actions):
                conditions = {"StringEquals": {"kms:ViaService": f"{use.service}.{stack.region}.{stack.url_suffix}"}}
                yield Allowed(use.sid, use.reason, use.key_actions, key.key_arn, conditions=conditions)


def key_policy(key_arn: str) -> list[dict[str, Any]]:
    """Return the statements that the policy of the key ``key_arn`` must have."""
    _, partition, _, region, account, _ = key_arn.split(":", 5)
    suffix = "amazonaws.com.cn" if partition == "aws-cn" else "amazonaws.com"
    return [
        {
            # Without this statement, IAM policies cannot allow any use of the key. Source: KMS guide, 'Default key
            # policy'.
            "Sid": "PoliciesOfTheAccount",
            "Effect": "Allow",
            "Principal": {"AWS": f"arn:{partition}:iam::{account}:root"},
            "Action": "kms:*",
            "Resource": "*",
        },
        {
            # Source: CloudWatch Logs guide, 'Encrypt log data in CloudWatch Logs using AWS KMS'.
            "Sid": "CloudWatchLogs",
            "Effect": "Allow",
            "Principal": {"Service": f"logs.{region}.{suffix}"},
            "Action": ["kms:Encrypt*", "kms:Decrypt*", "kms:ReEncrypt*", "kms:GenerateDataKey*", "kms:Describe*"],
            "Resource": "*",
            "Condition": {
                "ArnLike": {
                    "kms:EncryptionContext:aws:logs:arn": f"arn:{partition}:logs:{region}:{account}:log-group:*"
                }
            },
        },
        {
            # EventBridge sends events to the topic, and events that it cannot deliver to a queue. Its calls to KMS have
            # neither aws:SourceAccount nor aws:SourceArn. Sources: SQS guide and SNS guide, 'Key management'.
            "Sid": "EventBridge",
            "Effect": "Allow",
            "Principal": {"Service": "events.amazonaws.com"},
            "Action": ["kms:Decrypt", "kms:GenerateDataKey"],
            "Resource": "*",
        },
        {
            # CloudWatch publishes alarms to the topic. Source: SNS guide, 'Key management'.
            "Sid": "CloudWatchAlarms",
            "Effect": "Allow",
            "Principal": {"Service": "cloudwatch.amazonaws.com"},
            "Action": ["kms:Decrypt", "kms:GenerateDataKey*"],
            "Resource": "*",
            "Condition": {
                "StringEquals": {"aws:SourceAccount": account},
                "ArnLike": {"aws:SourceArn": f"arn:{partition}:cloudwatch:{region}:{account}:alarm:*"},
            },
        },
    ]


def main(arguments: Sequence[str]) -> int:
    """Print the statements as JSON. Return 1 if no key is set or a setting is wrong."""
    parser = argparse.ArgumentParser(prog="python -m stacks.encryption", description="Statements for the key's policy.")
    parser.add_argument("-c", "--context", action="append", default=[], metavar="KEY=VALUE", help="a setting")
    options = parser.parse_args(arguments)
    overrides = {key: value for key, _, value in (text.partition("=") for text in options.context)}
    try:
        key_arn = Settings.from_context(committed() | overrides).kms_key_arn
    except SettingsError as error:
        print(error, file=sys.stderr)
        return 1
    if not key_arn:
        print(
            "No key is set. Set kmsKeyArn in cdk.json, or pass -c kmsKeyArn=arn:aws:kms:...",
            file=sys.stderr,
        )
        return 1
    print(json.dumps(key_policy(key_arn), indent=2))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
