"""What `make deploy` and `make destroy` say before they do anything, asked of a local AWS."""

import json
import os
import pty
import shlex
import subprocess
import sys
import time
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from ekyc.cli.plan import deletion_steps, main
from ekyc.localaws.server import LocalAws
from ekyc.localaws.services import rekognition
from stacks import docs
from stacks.combinations import COMBINATIONS
from stacks.settings import Settings, committed

PROJECT = Path(__file__).parents[2]
STACK = "ekyc-training"
TEMPLATE: dict[str, Any] = {
    "Resources": {
        "Photos": {"Type": "AWS::S3::Bucket", "DeletionPolicy": "Retain"},
        "Jobs": {
            "Type": "AWS::DynamoDB::Table",
            "DeletionPolicy": "Retain",
            "Properties": {
                "TableName": "jobs",
                "AttributeDefinitions": [{"AttributeName": "Id", "AttributeType": "S"}],
                "KeySchema": [{"AttributeName": "Id", "KeyType": "HASH"}],
                "BillingMode": "PAY_PER_REQUEST",
            },
        },
        "Live": {"Type": "AWS::SSM::Parameter", "Properties": {"Name": "/live", "Type": "String", "Value": "default"}},
        "Scratch": {"Type": "AWS::S3::Bucket"},
    }
}


@dataclass(frozen=True)
class Answer:
    """What a run of the command said."""

    code: int
    out: str
    errors: str


class Command:
    """`python -m ekyc.cli.plan`, run with an environment of AWS's variables and of YES that is just the one given."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
        self._capsys = capsys
        self._environment = monkeypatch
        for name in os.environ:
            if name.startswith(("AWS_", "YES")):
                monkeypatch.delenv(name)
        self.give(AWS_EC2_METADATA_DISABLED="true", AWS_CONFIG_FILE=os.devnull, AWS_SHARED_CREDENTIALS_FILE=os.devnull)

    def give(self, **variables: str) -> None:
        for name, value in variables.items():
            self._environment.setenv(name, value)

    def __call__(self, *arguments: str) -> Answer:
        """Run the command without a terminal."""
        self._capsys.readouterr()
        code = main(arguments)
        return Answer(code, *self._capsys.readouterr())

    def typed(self, text: str, *arguments: str) -> Answer:
        """Run the command in a terminal and answer ``text``."""
        terminal, keyboard = pty.openpty()
        try:
            os.write(terminal, f"{text}\n".encode())
            run = subprocess.run(
                [sys.executable, "-m", "ekyc.cli.plan", *arguments],
                cwd=PROJECT,
                stdin=keyboard,
                capture_output=True,
                text=True,
            )
            return Answer(run.returncode, run.stdout, run.stderr)
        finally:
            os.close(terminal)
            os.close(keyboard)


@pytest.fixture
def plan(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    """The command without credentials."""
    return Command(monkeypatch, capsys)


@pytest.fixture
def aws(empty_aws: LocalAws) -> LocalAws:
    return empty_aws


@pytest.fixture
def account(aws: LocalAws, plan: Command) -> Command:
    """The command with credentials for an empty account."""
    plan.give(**aws.environment())
    return plan


def test_a_deployment_is_described_before_the_confirmation(account: Command) -> None:
    # Given an empty account, and the answer yes
    given = ("-c", "minF1=0.9", "-c", "inferenceUnits=2", "-c", "labelProvider=supplied")
    answer = account.typed("yes", "deploy", *given)
    # Then it says where, what first, what was chosen, what is made and what it costs
    assert answer.code == 0
    for words in (
        "Deploy to account 123456789012, Region us-east-1.",
        "The stack ekyc-training is created.",
        "First, the CDK is bootstrapped",
        "Labels      uploaded with each job",
        "go live with F1 of at least 0.9",
        "Override    minF1 = 0.9\n  Override    inferenceUnits = 2\n",
        "1  Step Functions state machine",
        "8.00 USD an hour, about 5,840 USD a month",
    ):
        assert words in answer.out


@pytest.mark.parametrize(
    ("typed", "environment", "code", "words"),
    [
        ("yes", {}, 0, ""),
        ("y", {}, 1, "Nothing was done."),
        ("", {}, 1, "Nothing was done."),
        (None, {}, 1, "To destroy ekyc-training without confirmation, set YES=1."),
        (None, {"YES": "1"}, 0, ""),
        (None, {"YES": "0"}, 1, "Nothing was done"),
    ],
)
def test_only_a_typed_yes_or_one_given_beforehand_is_agreement(
    aws: LocalAws, account: Command, typed: str | None, environment: dict[str, str], code: int, words: str
) -> None:
    aws.client("cloudformation").create_stack(StackName=STACK, TemplateBody=json.dumps(TEMPLATE))
    account.give(**environment)
    answer = account("destroy") if typed is None else account.typed(typed, "destroy")
    assert answer.code == code
    assert words in answer.errors


def test_a_stack_that_is_there_is_updated(aws: LocalAws, account: Command) -> None:
    # Given a stack, in an account that was bootstrapped
    aws.client("cloudformation").create_stack(StackName=STACK, TemplateBody=json.dumps(TEMPLATE))
    aws.client("ssm").put_parameter(Name="/cdk-bootstrap/hnb659fds/version", Value="30", Type="String")
    # When nothing but the plan is asked for
    answer = account("show")
    # Then it says that, and asks nothing
    assert answer.code == 0
    assert "exists (CREATE_COMPLETE) and is updated" in answer.out
    assert "bootstrapped" not in answer.out


def test_the_cdk_is_bootstrapped_once(aws: LocalAws, account: Command) -> None:
    # Given an account that the CDK does not know, for which the command names what to bootstrap
    assert account("bootstrap").out == "aws://123456789012/us-east-1\n"
    # When it knows it, then there is nothing to do
    aws.client("ssm").put_parameter(Name="/cdk-bootstrap/hnb659fds/version", Value="30", Type="String")
    assert account("bootstrap").out == ""


def test_destroy_lists_what_the_deployed_template_retains(aws: LocalAws, account: Command) -> None:
    # Given a deployed stack of which a bucket and a table are retained, whatever today's code would deploy
    aws.client("cloudformation").create_stack(StackName=STACK, TemplateBody=json.dumps(TEMPLATE))
    names = {
        one["LogicalResourceId"]: one["PhysicalResourceId"]
        for one in aws.client("cloudformation").list_stack_resources(StackName=STACK)["StackResourceSummaries"]
    }
    # When its end is planned
    answer = account.typed("yes", "destroy")
    # Then what is kept is named with the commands that delete it, and what is deleted is counted
    assert answer.code == 0
    assert "Deleted resources, 2:" in answer.out
    assert "Retained resources, 2," in answer.out
    assert f"aws s3 rb s3://{names['Photos']} --force" in answer.out
    assert "aws dynamodb delete-table --table-name jobs" in answer.out
    assert names["Scratch"] not in answer.out
    assert "will get an error" in answer.out


def test_destroy_names_models_that_go_on_billing(aws: LocalAws, account: Command) -> None:
    # Given a stack whose job's model runs, and a running model of another project
    aws.client("cloudformation").create_stack(StackName=STACK, TemplateBody=json.dumps(TEMPLATE))
    running = [_running_model(aws, name) for name in ("ekyc-20261124015324-9f3c0a1b2c3d4e5f", "cats")]
    # When its end is planned
    answer = account.typed("yes", "destroy")
    # Then the job's model is named with its cost and how to stop it, and the other model is not named
    assert f"stop-project-version --project-version-arn {running[0]}  # 8.00 USD an hour" in answer.out
    assert running[1] not in answer.out


def test_a_protected_stack_is_not_destroyed(aws: LocalAws, account: Command) -> None:
    # Given a stack with termination protection
    aws.client("cloudformation").create_stack(
        StackName=STACK, TemplateBody=json.dumps(TEMPLATE), EnableTerminationProtection=True
    )
    # Then the words say how to lift it
    account.give(YES="1")
    answer = account("destroy")
    assert (answer.code, answer.out) == (1, "")
    assert "update-termination-protection --no-enable-termination-protection" in answer.errors


def test_without_a_stack_there_is_nothing_to_destroy(account: Command) -> None:
    account.give(YES="1")
    answer = account("destroy")
    assert answer.code == 1
    assert "There is no stack ekyc-training in account 123456789012, Region us-east-1" in answer.errors


@pytest.mark.parametrize(
    ("arguments", "environment", "words"),
    [
        (["deploy"], {}, "No Region is set"),
        (["deploy"], {"AWS_REGION": "eu-west-1"}, "Unable to locate credentials"),
        (["deploy", "-c", "region=eu-west-1"], {}, "Unable to locate credentials"),
        (["destroy"], {"AWS_REGION": "eu-west-1", "AWS_PROFILE": "bank"}, "profile (bank) could not be found"),
        (["deploy", "-c", "minF1=2"], {}, "minF1 is 2: give a number from 0 to 1"),
        (
            ["deploy", "-c", "labelProvider=ground-truth"],
            {"AWS_REGION": "eu-west-3"},
            "no built-in functions in eu-west-3",
        ),
    ],
)
def test_what_stops_a_plan_is_said_in_words(
    plan: Command, arguments: list[str], environment: dict[str, str], words: str
) -> None:
    # Given no credentials, or settings that cannot be
    plan.give(YES="1", **environment)
    answer = plan(*arguments)
    # Then the words say so, and nothing else is said or done
    assert (answer.code, answer.out) == (1, "")
    assert words in answer.errors


def test_an_endpoint_without_a_server_is_reported(account: Command) -> None:
    # Given an endpoint without a server
    account.give(AWS_ENDPOINT_URL="http://127.0.0.1:9", YES="1")
    answer = account("deploy")
    assert answer.code == 1
    assert "The endpoint http://127.0.0.1:9/ does not respond" in answer.errors


def test_versioned_and_protected_data_is_deleted_in_two_steps() -> None:
    bucket = {"Type": "AWS::S3::Bucket", "Properties": {"VersioningConfiguration": {"Status": "Enabled"}}}
    table = {"Type": "AWS::DynamoDB::Table", "Properties": {"DeletionProtectionEnabled": True}}
    assert list(deletion_steps(bucket, "photos")) == [
        "Empty photos in the S3 console, including all versions, then:",
        "aws s3 rb s3://photos --force",
    ]
    assert list(deletion_steps(table, "jobs")) == [
        "aws dynamodb update-table --table-name jobs --no-deletion-protection-enabled",
        "aws dynamodb delete-table --table-name jobs",
    ]


@pytest.mark.parametrize("name", COMBINATIONS)
@pytest.mark.parametrize("target", ["synth", "deploy", "destroy"])
def test_the_documented_make_lines_hand_their_settings_on(target: str, name: str) -> None:
    # Given the command that docs/settings.md names for a combination
    line = docs.command(COMBINATIONS[name]).replace("make deploy", f"make --dry-run {target}")
    # When make says what it would run
    run = subprocess.run(shlex.split(line), cwd=PROJECT, capture_output=True, text=True, check=True)
    # Then every command that reads settings gets them all
    lines = run.stdout.replace("\\\n", "").splitlines()
    calls = [shlex.split(call) for call in lines if f" cdk {target}" in call or "ekyc.cli.plan" in call]
    assert calls
    for call in calls:
        given = dict(value.split("=", 1) for option, value in pairwise(call) if option == "--context")
        assert Settings.from_context(committed() | given) == Settings.from_context(committed() | COMBINATIONS[name])


def _running_model(aws: LocalAws, name: str) -> str:
    """The ARN of a model that is up, in a project of its own and with two inference units."""
    project = aws.client("rekognition").create_project(ProjectName=name)["ProjectArn"]
    arn = f"{project.rpartition('/')[0]}/version/{name}/1795487703002"
    version = rekognition.ProjectVersion(
        arn, name, time.time(), {"S3Bucket": "b", "S3KeyPrefix": "p"}, {}, {}, "RUNNING"
    )
    version.units = {"MinInferenceUnits": 2}
    rekognition.current()._projects[name].versions[name] = version
    return arn
