"""`python -m stacks.encryption`: the statements that a key's policy must have."""

import json
from collections.abc import Mapping
from typing import Any

import pytest

from stacks.combinations import COMBINATIONS
from stacks.encryption import key_policy, main

KEY = COMBINATIONS["own-key"]["kmsKeyArn"]


def by_principal(statements: list[dict[str, Any]]) -> Mapping[str, dict[str, Any]]:
    """The statements by whom they let use the key."""
    return {next(iter(statement["Principal"].values())): statement for statement in statements}


def test_the_key_policy_allows_the_account_and_the_services(
    capsys: pytest.CaptureFixture[str],
) -> None:
    # Given a key
    # When the command is run for it
    assert main(["-c", f"kmsKeyArn={KEY}"]) == 0
    statements = by_principal(json.loads(capsys.readouterr().out))
    # Then IAM policies of the account count, which the roles of the stack rely on
    assert statements["arn:aws:iam::111122223333:root"]["Action"] == "kms:*"
    # And CloudWatch Logs encrypts log groups of this account and Region, and nothing else
    logs = statements["logs.eu-west-1.amazonaws.com"]
    assert logs["Condition"] == {
        "ArnLike": {"kms:EncryptionContext:aws:logs:arn": "arn:aws:logs:eu-west-1:111122223333:log-group:*"}
    }
    # And EventBridge and the alarms of this account put messages into encrypted queues and topics
    assert statements["events.amazonaws.com"]["Action"] == ["kms:Decrypt", "kms:GenerateDataKey"]
    alarms = statements["cloudwatch.amazonaws.com"]
    assert alarms["Condition"]["StringEquals"] == {"aws:SourceAccount": "111122223333"}
    assert len(statements) == 4


def test_the_statements_are_of_the_keys_partition() -> None:
    statements = by_principal(key_policy("arn:aws-cn:kms:cn-north-1:111122223333:key/1234abcd"))
    assert "arn:aws-cn:iam::111122223333:root" in statements
    assert "logs.cn-north-1.amazonaws.com.cn" in statements


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "No key is set. Set kmsKeyArn in cdk.json"),
        (["-c", "kmsKeyArn=alias/mine"], 'kmsKeyArn is "alias/mine": give the ARN of a KMS key'),
    ],
)
def test_without_a_key_it_says_what_to_do(capsys: pytest.CaptureFixture[str], arguments: list[str], words: str) -> None:
    # Given no key, or none that is one
    # When the command is run
    code = main(arguments)
    # Then it says so and prints no statement
    output = capsys.readouterr()
    assert code == 1
    assert words in output.err
    assert output.out == ""
