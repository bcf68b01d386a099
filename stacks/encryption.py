"""Encryption by a key of one's own, the setting ``kmsKeyArn``; without it AWS's own keys encrypt.

``python -m stacks.encryption`` prints the statements that the key's policy must have for the AWS services that encrypt
by themselves; it takes the key from ``cdk.json``, or as ``-c kmsKeyArn=...``. All else the stack gives to its roles:
what a role may do with the key follows from what it may do with the things that the key encrypts.
"""

import argparse
import json
import sys
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import aws_cdk as cdk
from aws_cdk import aws_iam as iam
from aws_cdk import aws_kms as kms
from constructs import Construct

from stacks.permissions import Allowed
from stacks.settings import Settings, SettingsError, committed

USES: Sequence[tuple[str, str, tuple[str, ...], tuple[str, ...], str]] = (
    (
        "OpenTable",
        "dynamodb",
        ("dynamodb:",),
        ("kms:Decrypt",),
        "The table's key is itself encrypted by the stack's key.",
    ),
    (
        "OpenObjects",
        "s3",
        ("s3:GetObject",),
        ("kms:Decrypt",),
        "Objects are encrypted by the stack's key.",
    ),
    (
        "SealObjects",
        "s3",
        ("s3:PutObject",),
        ("kms:GenerateDataKey",),
        "Objects are encrypted by the stack's key.",
    ),
    (
        "SealMessages",
        "sns",
        ("sns:Publish",),
        ("kms:Decrypt", "kms:GenerateDataKey"),
        "Messages to people are encrypted by the stack's key.",
    ),
    (
        "SealUnhandled",
        "sqs",
        ("sqs:SendMessage",),
        ("kms:Decrypt", "kms:GenerateDataKey"),
        "What the function failed at is kept in a queue that is encrypted by the stack's key.",
    ),
)
"""What roles need of the key: Sid, the service that asks KMS for them, what they may do that needs it, actions, why.

Sources: DynamoDB guide, 'Encryption at rest: How it works' (a caller's access decrypts the table key); S3 guide, 'Using
server-side encryption with AWS KMS keys'; SNS guide, 'Key management', and SQS guide, 'Key management' (producers).
"""


class Encryption(Construct):
    """The key of the setting ``kmsKeyArn``, or none, and what each role needs of it."""

    def __init__(self, scope: Construct, id: str, *, settings: Settings) -> None:
        super().__init__(scope, id)
        self.key = kms.Key.from_key_arn(self, "Key", settings.kms_key_arn) if settings.kms_key_arn else None

    def for_function(
        self, statements: Iterable[iam.PolicyStatement], *, keeps_unhandled: bool
    ) -> list[iam.PolicyStatement]:
        """What a function's role needs of the key that may do what ``statements`` say, and has a dead-letter queue."""
        if self.key is None:
            return []
        opening = Allowed(
            "OpenEnvironment",
            "The function's environment is encrypted by the stack's key.",
            ["kms:Decrypt"],
            self.key.key_arn,
            # Source: Lambda guide, 'Securing environment variables'; the context is in CloudTrail's events of it.
            conditions={"Null": {"kms:EncryptionContext:aws:lambda:FunctionArn": "false"}},
        )
        actions = {action for one in statements for action in one.actions if getattr(one, "opens", True)}
        if keeps_unhandled:
            actions.add("sqs:SendMessage")
        return [opening, *self._for_actions(self.key, actions)]

    def for_labelling(self) -> list[iam.PolicyStatement]:
        """What Ground Truth's role needs of the key: to read photos and to write its output.

        Source: SageMaker API reference, LabelingJobOutputConfig (kms:Encrypt); S3 guide, as above.
        """
        return self._statement(
            "OpenAndSealObjects",
            "Photos, manifests and Ground Truth's output are encrypted by the stack's key.",
            "kms:Decrypt",
            "kms:Encrypt",
            "kms:GenerateDataKey",
        )

    def for_datasets(self) -> list[iam.PolicyStatement]:
        """What the caller of CreateDataset needs of the key. Source: Custom Labels guide, 'Encrypt training files'."""
        return self._statement(
            "MakeDatasetsWithKey",
            "Rekognition reads photos and manifests, which are encrypted by the stack's key, as its caller.",
            "kms:Decrypt",
            "kms:GenerateDataKey",
        )

    def for_training(self) -> list[iam.PolicyStatement]:
        """What the caller of CreateProjectVersion needs of the key. Source: Rekognition API reference, its KmsKeyId."""
        return self._statement(
            "TrainWithKey",
            "Rekognition encrypts its copies of photos and its output by the stack's key, as its caller.",
            "kms:CreateGrant",
            "kms:Decrypt",
            "kms:DescribeKey",
            "kms:GenerateDataKey",
        )

    def _statement(self, sid: str, why: str, *actions: str) -> list[iam.PolicyStatement]:
        return [] if self.key is None else [Allowed(sid, why, actions, self.key.key_arn)]

    def _for_actions(self, key: kms.IKey, used: Iterable[str]) -> Iterator[iam.PolicyStatement]:
        stack = cdk.Stack.of(self)
        for sid, service, needing, key_actions, why in USES:
            if any(action.startswith(needing) for action in used):
                via = f"{service}.{stack.region}.{stack.url_suffix}"
                yield Allowed(sid, why, key_actions, key.key_arn, conditions={"StringEquals": {"kms:ViaService": via}})


def key_policy(key_arn: str) -> list[dict[str, Any]]:
    """The statements that the policy of the key ``key_arn`` must have."""
    _, partition, _, region, account, _ = key_arn.split(":", 5)
    suffix = "amazonaws.com.cn" if partition == "aws-cn" else "amazonaws.com"
    return [
        {
            # Without it, what IAM policies say of the key is void. Source: KMS guide, 'Default key policy'.
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
            # EventBridge keeps what it cannot deliver in a queue and sends messages to a topic; its requests to KMS
            # carry no aws:SourceAccount and no aws:SourceArn. Sources: SQS guide and SNS guide, 'Key management'.
            "Sid": "EventBridge",
            "Effect": "Allow",
            "Principal": {"Service": "events.amazonaws.com"},
            "Action": ["kms:Decrypt", "kms:GenerateDataKey"],
            "Resource": "*",
        },
        {
            # Alarms are published to the topic. Source: SNS guide, 'Key management'.
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
    """Print the statements as JSON; answer 1 when there is no key or a setting is wrong."""
    parser = argparse.ArgumentParser(prog="python -m stacks.encryption", description="Statements for the key's policy.")
    parser.add_argument("-c", "--context", action="append", default=[], metavar="KEY=VALUE", help="a setting")
    options = parser.parse_args(arguments)
    given = {key: value for key, _, value in (text.partition("=") for text in options.context)}
    try:
        key_arn = Settings.from_context(committed() | given).kms_key_arn
    except SettingsError as error:
        print(error, file=sys.stderr)
        return 1
    if not key_arn:
        print(
            "There is no key of your own: put kmsKeyArn into cdk.json, or give -c kmsKeyArn=arn:aws:kms:...",
            file=sys.stderr,
        )
        return 1
    print(json.dumps(key_policy(key_arn), indent=2))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
