"""Says what ``make deploy`` and ``make destroy`` will do, and asks: ``python -m stacks.plan show|deploy|destroy``.

Account and Region come from the credentials, what is made from the synthesized template, what is deleted and what is
kept from the template that is deployed. ``python -m stacks.plan bootstrap`` prints the environment that the CDK has yet
to be bootstrapped in, or nothing.
"""

import argparse
import json
import os
import re
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from rules.names import JOB_PREFIX
from rules.prices import INFERENCE_UNIT_HOUR, THOUSAND_TRANSITIONS, TRAINING_HOUR
from stacks.combinations import assemble, committed
from stacks.settings import Settings, SettingsError

HOURS_OF_A_MONTH = 730

BILLED_WHILE_IDLE = ("AWS::KMS::Key", "AWS::CloudWatch::Alarm", "AWS::CloudWatch::Dashboard")
"""Kinds of resources that bill by the month, used or not."""

SERVICES = {
    "ApiGateway": "API Gateway",
    "Events": "EventBridge",
    "Logs": "CloudWatch Logs",
    "StepFunctions": "Step Functions",
}
"""What AWS calls a service that CloudFormation calls otherwise."""

UP = ("STARTING", "RUNNING", "STOPPING")


class PlanError(Exception):
    """Nothing can be planned, or nothing may be done; says why."""


@dataclass(frozen=True)
class Keep:
    """Why a kind of resource outlives the stack, and the commands that delete one by hand."""

    reason: str
    commands: tuple[str, ...]


KEPT: Mapping[str, Keep] = {
    "AWS::S3::Bucket": Keep(
        "customers' photos, labels, models' figures and the logs of who read them: to delete them is your decision",
        ("aws s3 rb s3://{name} --force",),
    ),
    "AWS::DynamoDB::Table": Keep(
        "the record of every job, for whoever asks which labels made which model",
        ("aws dynamodb delete-table --table-name {name}",),
    ),
    "AWS::Logs::LogGroup": Keep(
        "what happened and who called, until the logs expire by themselves",
        ("aws logs delete-log-group --log-group-name '{name}'",),
    ),
    "AWS::KMS::Key": Keep(
        "without the key, what it encrypted is lost", ("aws kms schedule-key-deletion --key-id {name}",)
    ),
    "AWS::Cognito::UserPool": Keep(
        "the accounts of the people who label", ("aws cognito-idp delete-user-pool --user-pool-id {name}",)
    ),
}
NO_REASON = Keep("other things may use it", ("delete {name} in the console",))


class Aws:
    """The account and Region that the credentials lead to."""

    def __init__(self, region: str) -> None:
        """``region`` may be empty, and is then that of the credentials.

        Raises:
            PlanError: no Region is known, or AWS does not know these credentials.
        """
        try:
            self._session = boto3.Session(region_name=region or None)
            if not self._session.region_name:
                raise PlanError(
                    "No Region is known: give the setting region, the variable AWS_REGION or a Region in your profile."
                )
            self.region = self._session.region_name
            self.account = self.client("sts").get_caller_identity()["Account"]
        except ClientError as error:
            raise PlanError(
                f"AWS refuses your credentials ({error.response['Error']['Code']}): log in again, then repeat the "
                "command."
            ) from error
        except BotoCoreError as error:
            raise PlanError(
                f"AWS cannot be asked: {str(error).rstrip('.')}. Give credentials (aws sso login, AWS_PROFILE or "
                "AWS_ACCESS_KEY_ID), then repeat the command."
            ) from error

    def client(self, service: str) -> Any:
        """The boto3 client of ``service``."""
        retries = {"mode": "standard", "total_max_attempts": 8}
        return self._session.client(service, config=Config(connect_timeout=5, read_timeout=20, retries=retries))

    def stack(self, name: str) -> dict[str, Any] | None:
        """DescribeStacks' description of the stack, or None when there is none, or just a change set of a first one."""
        try:
            (found,) = self.client("cloudformation").describe_stacks(StackName=name)["Stacks"]
        except ClientError as error:
            if error.response["Error"]["Code"] == "ValidationError":
                return None
            raise
        return None if found["StackStatus"] == "REVIEW_IN_PROGRESS" else dict(found)

    def is_bootstrapped(self, qualifier: str) -> bool:
        """Whether the CDK's bucket and roles are there."""
        ssm = self.client("ssm")
        try:
            ssm.get_parameter(Name=f"/cdk-bootstrap/{qualifier}/version")
        except ssm.exceptions.ParameterNotFound:
            return False
        return True

    def template(self, stack: str) -> dict[str, Any]:
        """The template that is deployed."""
        body = self.client("cloudformation").get_template(StackName=stack)["TemplateBody"]
        return dict(json.loads(body) if isinstance(body, str) else body)

    def physical_names(self, stack: str) -> dict[str, str]:
        """The names of the stack's resources, by their logical ids."""
        pages = self.client("cloudformation").get_paginator("list_stack_resources").paginate(StackName=stack)
        return {
            one["LogicalResourceId"]: one["PhysicalResourceId"]
            for page in pages
            for one in page["StackResourceSummaries"]
            if "PhysicalResourceId" in one
        }

    def running_executions(self, state_machine: str) -> int:
        """How many jobs the state machine works at."""
        pages = self.client("stepfunctions").get_paginator("list_executions")
        return sum(
            len(page["executions"]) for page in pages.paginate(stateMachineArn=state_machine, statusFilter="RUNNING")
        )

    def running_models(self) -> list[dict[str, Any]]:
        """DescribeProjectVersions' descriptions of the models of the pipeline's jobs that run."""
        rekognition = self.client("rekognition")
        found = []
        for page in rekognition.get_paginator("describe_projects").paginate():
            for project in page["ProjectDescriptions"]:
                if project["ProjectArn"].split("/")[1].startswith(JOB_PREFIX):
                    versions = rekognition.get_paginator("describe_project_versions")
                    for versions_page in versions.paginate(ProjectArn=project["ProjectArn"]):
                        found += [
                            version
                            for version in versions_page["ProjectVersionDescriptions"]
                            if version["Status"] in UP
                        ]
        return found


def deployment(settings: Settings, given: Mapping[str, str], template: Mapping[str, Any], aws: Aws) -> Iterator[str]:
    """What a deployment does, line by line; ``given`` are the settings of the command line."""
    stack = aws.stack(settings.stack_name)
    yield f"Deploy to account {aws.account}, Region {aws.region}."
    yield ""
    if stack:
        yield f"The stack {settings.stack_name} is there ({stack['StackStatus']}) and is updated."
        yield "'. .venv/bin/activate && npx cdk diff' shows each change."
    else:
        yield f"The stack {settings.stack_name} is made."
    if not aws.is_bootstrapped(_qualifier()):
        yield (
            "First the CDK is bootstrapped, once for this account and Region: a stack named CDKToolkit with a bucket "
            "for assets and the roles that deploy."
        )
    yield ""
    yield "What was chosen (cdk.json; docs/settings.md explains each setting):"
    for title, words in choices(settings):
        yield f"  {title:<11} {words}"
    for key, value in given.items():
        yield f"  {'Given now':<11} {key} = {value}"
    yield ""
    kinds = Counter(resource["Type"] for resource in template["Resources"].values())
    yield f"What the stack holds, {sum(kinds.values())} resources:"
    yield from _listed(kinds)
    yield ""
    yield "What it costs (list prices in us-east-1; docs/operations.md works out a job):"
    yield from costs(settings, kinds)


def choices(settings: Settings) -> Iterator[tuple[str, str]]:
    """The main settings in words, each with a title."""
    teams = {"": "but no work team is set: such jobs are refused", "create": "in a private team that the stack makes"}
    ground_truth = f"people in Ground Truth, {teams.get(settings.work_team, f'the team {settings.work_team}')}"
    supplied = "labels are uploaded with each job"
    if settings.work_team and settings.label_provider == "supplied":
        supplied += f", or made by {ground_truth} where a job asks for it"
    yield "Labels", ground_truth if settings.label_provider == "ground-truth" else supplied
    yield "Documents", ", ".join(settings.document_types)
    callers = "callers with IAM permissions" if settings.api_authorization == "iam" else settings.api_authorization
    pages = ", ".join(settings.web_origins) or "none"
    yield "API", f"for {callers}; web pages that may call it: {pages}; web ACL: {settings.web_acl_arn or 'none'}"
    yield "Encryption", f"by the key {settings.kms_key_arn}" if settings.kms_key_arn else "by keys of AWS"
    yield (
        "Retention",
        (
            f"photos, labels and training output are deleted after {settings.retention_days} days; audit reports are "
            f"locked for {settings.audit_retention_years} years, which nobody can undo"
        ),
    )
    yield (
        "Models",
        (
            f"go live from F1 {settings.min_f1:g} ({settings.min_label_f1:g} for each document type); the one "
            f"before is {'stopped' if settings.stop_previous_model else 'left running'}"
        ),
    )
    told = (
        f"told to {settings.notification_email}" if settings.notification_email else "told on a topic of no subscriber"
    )
    after = "stopped" if settings.long_running_models == "stop" else "reported, and not stopped"
    yield "Watch", f"outcomes and alarms are {told}; a model that ran {settings.model_hours} hours is {after}"
    if settings.tags:
        yield "Cost tags", ", ".join(f"{key}={value}" for key, value in settings.tags.items())


def costs(settings: Settings, kinds: Mapping[str, int]) -> Iterator[str]:
    """What bills while nothing runs, while a job runs and while a model runs."""
    idle = [f"{kinds[kind]} {_name(kind)}" for kind in BILLED_WHILE_IDLE if kind in kinds]
    monthly = f"{', '.join(idle)}: by the month; " if idle else ""
    yield f"  Nothing runs   {monthly}photos, labels, records, metrics and logs by what is stored"
    yield (
        f"  A job runs     training {TRAINING_HOUR:.2f} USD an hour, {THOUSAND_TRANSITIONS} USD per 1,000 transitions, "
        "Lambda by the call, people by what they ask"
    )
    hour = settings.inference_units * INFERENCE_UNIT_HOUR
    yield (
        f"  A model runs   {hour:.2f} USD an hour, about {hour * HOURS_OF_A_MONTH:,.0f} a month, used or not, until it "
        "is stopped"
    )


def destruction(settings: Settings, aws: Aws) -> Iterator[str]:
    """What the end of the stack deletes and what outlives it, line by line.

    Raises:
        PlanError: there is no such stack, or it is protected.
    """
    name = settings.stack_name
    stack = aws.stack(name)
    if stack is None:
        raise PlanError(f"There is no stack {name} in account {aws.account}, Region {aws.region}: nothing to destroy.")
    if stack.get("EnableTerminationProtection"):
        raise PlanError(
            f"The stack {name} is protected from deletion. To lift that: aws cloudformation "
            f"update-termination-protection --no-enable-termination-protection --stack-name {name} "
            f"--region {aws.region}"
        )
    resources = aws.template(name)["Resources"]
    names = aws.physical_names(name)
    kept = {id: resource for id, resource in resources.items() if _is_kept(resource)}
    yield f"Destroy the stack {name} of account {aws.account}, Region {aws.region}."
    yield ""
    yield f"What is deleted, {len(resources) - len(kept)} resources:"
    yield from _listed(Counter(resource["Type"] for id, resource in resources.items() if id not in kept))
    if any(resource["Type"] == "AWS::SSM::Parameter" for resource in resources.values()):
        yield "  Services that read from the parameters which model is live find none from then on."
    yield ""
    yield f"What is kept, {len(kept)} resources, and how to delete it by hand (export AWS_REGION={aws.region}):"
    for kind in sorted({resource["Type"] for resource in kept.values()}):
        yield f"  {_name(kind)}: {KEPT.get(kind, NO_REASON).reason}."
        for id, resource in kept.items():
            if resource["Type"] == kind:
                yield from (f"    {command}" for command in by_hand(resource, names.get(id, id)))
    yield ""
    yield from _at_work(resources, names, aws)
    yield from _models(aws)


def by_hand(resource: Mapping[str, Any], name: str) -> Iterator[str]:
    """The commands that delete what the stack keeps, by its physical name."""
    properties = resource.get("Properties", {})
    if properties.get("ObjectLockEnabled"):
        yield f"{name} holds audit reports, each locked until its years are over; S3 refuses to delete one before. Then"
    if properties.get("VersioningConfiguration", {}).get("Status") == "Enabled":
        yield f"empty {name} in the S3 console, all versions, then:"
    if properties.get("DeletionProtectionEnabled"):
        yield f"aws dynamodb update-table --table-name {name} --no-deletion-protection-enabled"
    for command in KEPT.get(resource["Type"], NO_REASON).commands:
        yield command.format(name=name)


def _at_work(resources: Mapping[str, Any], names: Mapping[str, str], aws: Aws) -> Iterator[str]:
    kind = "AWS::StepFunctions::StateMachine"
    machines = [names[id] for id, resource in resources.items() if resource["Type"] == kind and id in names]
    try:
        running = sum(aws.running_executions(machine) for machine in machines)
    except (ClientError, BotoCoreError) as error:
        yield f"Whether jobs are running cannot be told ({_code(error)}): look in the Step Functions console first."
        return
    if running:
        yield (
            f"{running} job(s) are running and end without an outcome. Their trainings and labelling jobs go on by "
            "themselves and bill: stop the jobs by the API first."
        )
    else:
        yield "No job is running."


def _models(aws: Aws) -> Iterator[str]:
    yield (
        "Projects, models and labelling jobs belong to the jobs that made them, not to the stack: they stay, and a "
        "model that runs bills on."
    )
    try:
        models = aws.running_models()
    except (ClientError, BotoCoreError) as error:
        yield f"Which models run cannot be told ({_code(error)}): look in the Custom Labels console."
        return
    if not models:
        yield "No model of a job runs in this account and Region."
        return
    yield f"{len(models)} model(s) run, of this stack's jobs or of another such stack's. To stop them:"
    for model in models:
        hour = model.get("MinInferenceUnits", 1) * INFERENCE_UNIT_HOUR
        arn = model["ProjectVersionArn"]
        yield f"  aws rekognition stop-project-version --project-version-arn {arn}  # {hour:.2f} USD an hour"


def _is_kept(resource: Mapping[str, Any]) -> bool:
    return resource.get("DeletionPolicy", "Delete") != "Delete"


def _listed(kinds: Mapping[str, int]) -> Iterator[str]:
    for kind in sorted(kinds, key=lambda kind: (-kinds[kind], kind)):
        yield f"  {kinds[kind]:>4}  {_name(kind)}"


def _name(kind: str) -> str:
    """'Step Functions state machine' of AWS::StepFunctions::StateMachine."""
    _, service, resource = (*kind.split("::"), "", "")[:3]
    words = re.sub(r"(?<=[a-z])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", " ", resource)
    return f"{SERVICES.get(service, service)} {words.lower()}".strip()


def _code(error: ClientError | BotoCoreError) -> str:
    return error.response["Error"]["Code"] if isinstance(error, ClientError) else type(error).__name__


def _qualifier() -> str:
    return str(committed().get("@aws-cdk/core:bootstrapQualifier", "hnb659fds"))


def confirm(what: str) -> None:
    """Return when the answer is yes, or ``YES=1`` says so beforehand.

    Raises:
        PlanError: the answer is another one, or nobody is there to give it.
    """
    if os.environ.get("YES") == "1":
        return
    if not sys.stdin.isatty():
        raise PlanError(f"Nothing was done: this is no terminal, so nobody can agree. Set YES=1 to {what} unasked.")
    try:
        answer = input(f"\nType yes to {what}: ")
    except (EOFError, KeyboardInterrupt):
        answer = ""
    if answer.strip().lower() != "yes":
        raise PlanError("Nothing was done.")


def _settings(given: Mapping[str, str], credentials_region: str) -> Settings:
    return Settings.from_context(committed() | dict(given), region=credentials_region)


def _template(settings: Settings) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as outdir:
        app, stack = assemble(settings, Path(outdir), context=committed())
        app.synth()
        return dict(json.loads(Path(outdir, stack.template_file).read_text(encoding="utf-8")))


def _credentials_region() -> str:
    """As the CDK finds it, which reads AWS_REGION first; boto3 does not."""
    try:
        return os.environ.get("AWS_REGION") or boto3.Session().region_name or ""
    except BotoCoreError:  # such as a profile that does not exist, which is told when AWS is asked
        return ""


def run(command: str, given: Mapping[str, str]) -> None:
    """Say what ``command`` does, and for deploy and destroy wait for a yes.

    Raises:
        PlanError, SettingsError: it cannot or may not be done.
    """
    region = _credentials_region()
    settings = _settings(given, region)
    aws = Aws(settings.region or region)
    if command == "bootstrap":
        if not aws.is_bootstrapped(_qualifier()):
            print(f"aws://{aws.account}/{aws.region}")
        return
    if command == "destroy":
        lines = destruction(settings, aws)
    else:
        lines = deployment(settings, given, _template(settings), aws)
    for line in lines:
        print(line, flush=True)
    if command in ("deploy", "destroy"):
        confirm(f"{command} {settings.stack_name}")


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m stacks.plan", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("command", choices=("show", "deploy", "destroy", "bootstrap"))
    parser.add_argument("-c", "--context", action="append", default=[], metavar="KEY=VALUE", help="a setting")
    options = parser.parse_args(arguments)
    given = {key: value for key, _, value in (text.partition("=") for text in options.context)}
    try:
        run(options.command, given)
    except (PlanError, SettingsError) as error:
        print(error, file=sys.stderr)
        return 1
    except (ClientError, BotoCoreError) as error:
        print(f"AWS answered with an error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
