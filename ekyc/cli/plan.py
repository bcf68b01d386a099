"""Prints what ``make deploy`` and ``make destroy`` will do, and asks: ``python -m ekyc.cli.plan show|deploy|destroy``.

The credentials give account and Region. The synthesized template says what a deployment creates. The deployed template
says what a destruction deletes and keeps. The command ``bootstrap`` prints the environment that must be bootstrapped
for the CDK, or nothing if it is bootstrapped.
"""

import argparse
import os
import re
import sys
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from ekyc.cli.account import UP, Account, NotCheckedError, describe_credentials_error, describe_error
from rules.names import JOB_PREFIX
from rules.prices import INFERENCE_UNIT_HOUR, POOL_USER_MONTH, THOUSAND_TRANSITIONS, TRAINING_HOUR

HOURS_OF_A_MONTH = 730

BILLED_WHILE_IDLE = ("AWS::KMS::Key", "AWS::CloudWatch::Alarm", "AWS::CloudWatch::Dashboard")
"""Resource types that are billed by the month, used or not."""

SERVICES = {
    "ApiGateway": "API Gateway",
    "Events": "EventBridge",
    "Logs": "CloudWatch Logs",
    "StepFunctions": "Step Functions",
}
"""AWS's names of services that have other names in CloudFormation resource types."""


class PlanError(Exception):
    """The plan cannot be made, or the user did not confirm it. The message says why."""


@dataclass(frozen=True)
class Retention:
    """Why resources of a type outlive the stack, and the commands that delete them."""

    reason: str
    commands: tuple[str, ...]


RETAINED: Mapping[str, Retention] = {
    "AWS::S3::Bucket": Retention(
        "customers' photos, labels, model metrics and access logs: you decide when to delete them",
        ("aws s3 rb s3://{name} --force",),
    ),
    "AWS::DynamoDB::Table": Retention(
        "the records of all jobs, which show the labels that each model was trained on",
        ("aws dynamodb delete-table --table-name {name}",),
    ),
    "AWS::Logs::LogGroup": Retention(
        "the logs of functions and API calls, until they expire",
        ("aws logs delete-log-group --log-group-name '{name}'",),
    ),
    "AWS::KMS::Key": Retention(
        "without the key, the data that it encrypted is lost", ("aws kms schedule-key-deletion --key-id {name}",)
    ),
    "AWS::Cognito::UserPool": Retention(
        "the accounts of the workers who label", ("aws cognito-idp delete-user-pool --user-pool-id {name}",)
    ),
}
NO_REASON = Retention("other resources may use it", ("delete {name} in the console",))


def deployment(given: Mapping[str, str], account: Account) -> Iterator[str]:
    """Yields lines that say what a deployment does. ``given`` are the settings from the command line."""
    settings, stack = account.settings, account.stack
    kinds = Counter(resource["Type"] for resource in account.synthesized_template["Resources"].values())
    yield f"Deploy to account {account.identity['Account']}, Region {account.region}."
    yield ""
    if stack:
        yield f"The stack {settings['stackName']} exists ({stack['StackStatus']}) and is updated."
        yield "To see each change: . .venv/bin/activate && npx cdk diff"
    else:
        yield f"The stack {settings['stackName']} is created."
    if account.bootstrap_version is None:
        yield (
            "First, the CDK is bootstrapped, once for this account and Region. This creates the stack CDKToolkit with "
            "a bucket for assets and the roles for deployments."
        )
    yield ""
    yield "Settings (from cdk.json; docs/settings.md explains each setting):"
    for title, text in choices(settings):
        yield f"  {title:<11} {text}"
    for key, value in given.items():
        yield f"  {'Override':<11} {key} = {value}"
    yield ""
    yield f"Resources of the stack, {sum(kinds.values())}:"
    yield from _count_lines(kinds)
    yield ""
    yield "Costs (list prices in us-east-1; docs/operations.md calculates the cost of a job):"
    yield from costs(settings, kinds)


def choices(settings: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """The main settings in words, as pairs of title and text."""
    teams = {
        "": "but no work team is set, so the API refuses such jobs",
        "create": "in a private work team that the stack creates",
    }
    team = settings["workTeam"]
    ground_truth = f"made in Ground Truth, {teams.get(team, f'by the work team {team}')}"
    supplied = "uploaded with each job"
    if team and settings["labelProvider"] == "supplied":
        supplied += f"; or, if a job asks for it, {ground_truth}"
    pool = settings["labellingUserPool"]
    page = (
        "made by people at the labelling page of the stack, who sign in to "
        f"{'a user pool that the stack creates' if pool == 'create' else pool}"
    )
    yield "Labels", {"page": page, "ground-truth": ground_truth, "supplied": supplied}[settings["labelProvider"]]
    yield "Documents", ", ".join(settings["documentTypes"])
    callers = (
        "callers with IAM permissions"
        if settings["apiAuthorization"] == "iam"
        else f"users of {settings['apiAuthorization']}"
    )
    pages = ", ".join(settings["webOrigins"]) or "none"
    yield "API", f"for {callers}; allowed web origins: {pages}; web ACL: {settings['webAclArn'] or 'none'}"
    yield "Encryption", f"with the key {settings['kmsKeyArn']}" if settings["kmsKeyArn"] else "with keys of AWS"
    yield (
        "Retention",
        (
            f"photos, labels and training output are deleted after {settings['retentionDays']} days; audit reports are "
            f"locked for {settings['auditRetentionYears']} years, which cannot be undone"
        ),
    )
    yield (
        "Models",
        (
            f"go live with F1 of at least {settings['minF1']:g} ({settings['minLabelF1']:g} for each document type); "
            f"the previous model is {'stopped' if settings['stopPreviousModel'] else 'left running'}"
        ),
    )
    recipient = settings["notificationEmail"] or "an SNS topic, which has no subscriber yet"
    after = "stopped" if settings["longRunningModels"] == "stop" else "reported, but not stopped"
    yield (
        "Monitoring",
        f"outcomes and alarms are sent to {recipient}; a model that runs for {settings['modelHours']} hours is {after}",
    )
    if settings["tags"]:
        yield "Cost tags", ", ".join(f"{key}={value}" for key, value in settings["tags"].items())


def costs(settings: Mapping[str, Any], kinds: Mapping[str, int]) -> Iterator[str]:
    """Yields the costs while nothing runs, while a job runs, and while a model runs."""
    idle = [f"{kinds[kind]} {_name(kind)}" for kind in BILLED_WHILE_IDLE if kind in kinds]
    monthly = f"{', '.join(idle)}: by the month; " if idle else ""
    yield f"  Nothing runs   {monthly}photos, labels, records, metrics and logs: by the amount stored"
    if settings["labellingUserPool"] == "create":
        yield f"  People label   {POOL_USER_MONTH:.2f} USD a month for each person who is invited or signs in"
    yield (
        f"  A job runs     training {TRAINING_HOUR:.2f} USD an hour, {THOUSAND_TRANSITIONS} USD per 1,000 state "
        "transitions, Lambda by use, workers at their rates"
    )
    hour = settings["inferenceUnits"] * INFERENCE_UNIT_HOUR
    yield (
        f"  A model runs   {hour:.2f} USD an hour, about {hour * HOURS_OF_A_MONTH:,.0f} USD a month, used or not, "
        "until it is stopped"
    )


def destruction(account: Account) -> Iterator[str]:
    """Yields lines that say what the deletion of the stack deletes and keeps.

    Raises:
        PlanError: the stack does not exist or has termination protection.
    """
    name, stack, number = account.settings["stackName"], account.stack, account.identity["Account"]
    if stack is None:
        raise PlanError(f"There is no stack {name} in account {number}, Region {account.region}. Nothing to destroy.")
    if stack.get("EnableTerminationProtection"):
        raise PlanError(
            f"The stack {name} has termination protection. To remove it: aws cloudformation "
            f"update-termination-protection --no-enable-termination-protection --stack-name {name} "
            f"--region {account.region}"
        )
    resources = account.deployed_template["Resources"]
    names = {resource["LogicalResourceId"]: resource["PhysicalResourceId"] for resource in account.resources}
    retained = {id: resource for id, resource in resources.items() if _is_retained(resource)}
    yield f"Destroy the stack {name} of account {number}, Region {account.region}."
    yield ""
    yield f"Deleted resources, {len(resources) - len(retained)}:"
    yield from _count_lines(Counter(resource["Type"] for id, resource in resources.items() if id not in retained))
    if any(resource["Type"] == "AWS::SSM::Parameter" for resource in resources.values()):
        yield "  This includes the parameters that name the live model. Services that read them will get an error."
    yield ""
    yield f"Retained resources, {len(retained)}, with the commands to delete them (export AWS_REGION={account.region}):"
    for kind in sorted({resource["Type"] for resource in retained.values()}):
        yield f"  {_name(kind)}: {RETAINED.get(kind, NO_REASON).reason}."
        for id, resource in retained.items():
            if resource["Type"] == kind:
                yield from (f"    {command}" for command in deletion_steps(resource, names.get(id, id)))
    yield ""
    yield from _running_jobs(resources, names, account)
    yield from _running_models(account)


def deletion_steps(resource: Mapping[str, Any], name: str) -> Iterator[str]:
    """The steps and commands that delete a retained resource with the physical name ``name``."""
    properties = resource.get("Properties", {})
    if properties.get("ObjectLockEnabled"):
        yield f"{name} holds audit reports. S3 refuses to delete a report until its lock has expired. After that:"
    if properties.get("VersioningConfiguration", {}).get("Status") == "Enabled":
        yield f"Empty {name} in the S3 console, including all versions, then:"
    if properties.get("DeletionProtectionEnabled"):
        yield f"aws dynamodb update-table --table-name {name} --no-deletion-protection-enabled"
    for command in RETAINED.get(resource["Type"], NO_REASON).commands:
        yield command.format(name=name)


def _running_jobs(resources: Mapping[str, Any], names: Mapping[str, str], account: Account) -> Iterator[str]:
    kind = "AWS::StepFunctions::StateMachine"
    machines = [names[id] for id, resource in resources.items() if resource["Type"] == kind and id in names]
    try:
        pages = account.client("stepfunctions").get_paginator("list_executions")
        running = sum(
            len(page["executions"])
            for machine in machines
            for page in pages.paginate(stateMachineArn=machine, statusFilter="RUNNING")
        )
    except (ClientError, BotoCoreError) as error:
        yield f"Running jobs are unknown ({_code(error)}). Look in the Step Functions console before you continue."
        return
    if running:
        yield (
            f"{running} job(s) are running and would end without an outcome. Their trainings and labelling jobs would "
            "continue and be billed. Stop the jobs with the API first."
        )
    else:
        yield "No job is running."


def _running_models(account: Account) -> Iterator[str]:
    yield (
        "Projects, models and labelling jobs are created by jobs, not by the stack. They are retained, and running "
        "models are billed until you stop them."
    )
    try:
        models = [
            model for model in account.models if model["Status"] in UP and _is_of_a_job(model["ProjectVersionArn"])
        ]
    except (ClientError, BotoCoreError) as error:
        yield f"Running models are unknown ({_code(error)}). Look in the Custom Labels console."
        return
    if not models:
        yield "No model of a job runs in this account and Region."
        return
    yield f"{len(models)} model(s) run, created by jobs of this stack or of another eKYC stack. To stop them:"
    for model in models:
        hour = model.get("MinInferenceUnits", 1) * INFERENCE_UNIT_HOUR
        arn = model["ProjectVersionArn"]
        yield f"  aws rekognition stop-project-version --project-version-arn {arn}  # {hour:.2f} USD an hour"


def _is_of_a_job(model: str) -> bool:
    """Whether a job of this or another eKYC stack created the model with this ARN."""
    return model.split("/")[1].startswith(JOB_PREFIX)


def _is_retained(resource: Mapping[str, Any]) -> bool:
    return resource.get("DeletionPolicy", "Delete") != "Delete"


def _count_lines(kinds: Mapping[str, int]) -> Iterator[str]:
    for kind in sorted(kinds, key=lambda kind: (-kinds[kind], kind)):
        yield f"  {kinds[kind]:>4}  {_name(kind)}"


def _name(kind: str) -> str:
    """'Step Functions state machine' of AWS::StepFunctions::StateMachine."""
    _, service, resource = (*kind.split("::"), "", "")[:3]
    spaced = re.sub(r"(?<=[a-z])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", " ", resource)
    return f"{SERVICES.get(service, service)} {spaced.lower()}".strip()


def _code(error: ClientError | BotoCoreError) -> str:
    return error.response["Error"]["Code"] if isinstance(error, ClientError) else type(error).__name__


def confirm(action: str) -> None:
    """Ask the user to confirm ``action``, unless ``YES=1`` is set.

    Raises:
        PlanError: the answer is not yes, or standard input is not a terminal.
    """
    if os.environ.get("YES") == "1":
        return
    if not sys.stdin.isatty():
        raise PlanError(
            "Nothing was done. Standard input is not a terminal, so you cannot confirm. "
            f"To {action} without confirmation, set YES=1."
        )
    try:
        answer = input(f"\nType yes to {action}: ")
    except (EOFError, KeyboardInterrupt):
        answer = ""
    if answer.strip().lower() != "yes":
        raise PlanError("Nothing was done.")


def run(command: str, given: Mapping[str, str]) -> None:
    """Print what ``command`` does. For deploy and destroy, ask for confirmation.

    Raises:
        PlanError: the plan cannot be made, or the user did not confirm it.
        NotCheckedError: the account cannot be looked up.
    """
    account = Account(given)
    name = account.settings["stackName"]
    try:
        number = account.identity["Account"]
    except (ClientError, BotoCoreError) as error:
        raise NotCheckedError(*describe_credentials_error(error)) from error
    if command == "bootstrap":
        if account.bootstrap_version is None:
            print(f"aws://{number}/{account.region}")
        return
    for line in destruction(account) if command == "destroy" else deployment(given, account):
        print(line, flush=True)
    if command in ("deploy", "destroy"):
        confirm(f"{command} {name}")


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m ekyc.cli.plan", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("command", choices=("show", "deploy", "destroy", "bootstrap"))
    parser.add_argument("-c", "--context", action="append", default=[], metavar="KEY=VALUE", help="a setting")
    options = parser.parse_args(arguments)
    given = {key: value for key, _, value in (text.partition("=") for text in options.context)}
    try:
        run(options.command, given)
    except PlanError as error:
        print(error, file=sys.stderr)
        return 1
    except (NotCheckedError, ClientError, BotoCoreError) as error:
        reason, advice = describe_error(error)
        print(f"{reason[0].upper()}{reason[1:]}. {advice}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
