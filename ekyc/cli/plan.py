"""Says what ``make deploy`` and ``make destroy`` will do, and asks: ``python -m ekyc.cli.plan show|deploy|destroy``.

Account and Region come from the credentials, what is made from the synthesized template, what is deleted and what is
kept from the template that is deployed. The command ``bootstrap`` prints the environment that the CDK has yet to be
bootstrapped in, or nothing.
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

from ekyc.cli.account import UP, Account, NotCheckedError, credentials_in_words, in_words
from rules.names import JOB_PREFIX
from rules.prices import INFERENCE_UNIT_HOUR, THOUSAND_TRANSITIONS, TRAINING_HOUR

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


def deployment(given: Mapping[str, str], account: Account) -> Iterator[str]:
    """What a deployment does, line by line; ``given`` are the settings of the command line."""
    settings, stack = account.settings, account.stack
    kinds = Counter(resource["Type"] for resource in account.synthesized["Resources"].values())
    yield f"Deploy to account {account.identity['Account']}, Region {account.region}."
    yield ""
    if stack:
        yield f"The stack {settings['stackName']} is there ({stack['StackStatus']}) and is updated."
        yield "'. .venv/bin/activate && npx cdk diff' shows each change."
    else:
        yield f"The stack {settings['stackName']} is made."
    if account.bootstrap_version is None:
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
    yield f"What the stack holds, {sum(kinds.values())} resources:"
    yield from _listed(kinds)
    yield ""
    yield "What it costs (list prices in us-east-1; docs/operations.md works out a job):"
    yield from costs(settings, kinds)


def choices(settings: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """The main settings in words, each with a title."""
    teams = {"": "but no work team is set: such jobs are refused", "create": "in a private team that the stack makes"}
    team = settings["workTeam"]
    ground_truth = f"people in Ground Truth, {teams.get(team, f'the team {team}')}"
    supplied = "labels are uploaded with each job"
    if team and settings["labelProvider"] == "supplied":
        supplied += f", or made by {ground_truth} where a job asks for it"
    yield "Labels", ground_truth if settings["labelProvider"] == "ground-truth" else supplied
    yield "Documents", ", ".join(settings["documentTypes"])
    callers = "callers with IAM permissions" if settings["apiAuthorization"] == "iam" else settings["apiAuthorization"]
    pages = ", ".join(settings["webOrigins"]) or "none"
    yield "API", f"for {callers}; web pages that may call it: {pages}; web ACL: {settings['webAclArn'] or 'none'}"
    yield "Encryption", f"by the key {settings['kmsKeyArn']}" if settings["kmsKeyArn"] else "by keys of AWS"
    yield (
        "Retention",
        (
            f"photos, labels and training output are deleted after {settings['retentionDays']} days; audit reports are "
            f"locked for {settings['auditRetentionYears']} years, which nobody can undo"
        ),
    )
    yield (
        "Models",
        (
            f"go live from F1 {settings['minF1']:g} ({settings['minLabelF1']:g} for each document type); the one "
            f"before is {'stopped' if settings['stopPreviousModel'] else 'left running'}"
        ),
    )
    told = (
        f"told to {settings['notificationEmail']}"
        if settings["notificationEmail"]
        else "told on a topic of no subscriber"
    )
    after = "stopped" if settings["longRunningModels"] == "stop" else "reported, and not stopped"
    yield "Watch", f"outcomes and alarms are {told}; a model that ran {settings['modelHours']} hours is {after}"
    if settings["tags"]:
        yield "Cost tags", ", ".join(f"{key}={value}" for key, value in settings["tags"].items())


def costs(settings: Mapping[str, Any], kinds: Mapping[str, int]) -> Iterator[str]:
    """What bills while nothing runs, while a job runs and while a model runs."""
    idle = [f"{kinds[kind]} {_name(kind)}" for kind in BILLED_WHILE_IDLE if kind in kinds]
    monthly = f"{', '.join(idle)}: by the month; " if idle else ""
    yield f"  Nothing runs   {monthly}photos, labels, records, metrics and logs by what is stored"
    yield (
        f"  A job runs     training {TRAINING_HOUR:.2f} USD an hour, {THOUSAND_TRANSITIONS} USD per 1,000 transitions, "
        "Lambda by the call, people by what they ask"
    )
    hour = settings["inferenceUnits"] * INFERENCE_UNIT_HOUR
    yield (
        f"  A model runs   {hour:.2f} USD an hour, about {hour * HOURS_OF_A_MONTH:,.0f} a month, used or not, until it "
        "is stopped"
    )


def destruction(account: Account) -> Iterator[str]:
    """What the end of the stack deletes and what outlives it, line by line.

    Raises:
        PlanError: there is no such stack, or it is protected.
    """
    name, stack, number = account.settings["stackName"], account.stack, account.identity["Account"]
    if stack is None:
        raise PlanError(f"There is no stack {name} in account {number}, Region {account.region}: nothing to destroy.")
    if stack.get("EnableTerminationProtection"):
        raise PlanError(
            f"The stack {name} is protected from deletion. To lift that: aws cloudformation "
            f"update-termination-protection --no-enable-termination-protection --stack-name {name} "
            f"--region {account.region}"
        )
    resources = account.deployed["Resources"]
    names = {one["LogicalResourceId"]: one["PhysicalResourceId"] for one in account.resources}
    kept = {id: resource for id, resource in resources.items() if _is_kept(resource)}
    yield f"Destroy the stack {name} of account {number}, Region {account.region}."
    yield ""
    yield f"What is deleted, {len(resources) - len(kept)} resources:"
    yield from _listed(Counter(resource["Type"] for id, resource in resources.items() if id not in kept))
    if any(resource["Type"] == "AWS::SSM::Parameter" for resource in resources.values()):
        yield "  Services that read from the parameters which model is live find none from then on."
    yield ""
    yield f"What is kept, {len(kept)} resources, and how to delete it by hand (export AWS_REGION={account.region}):"
    for kind in sorted({resource["Type"] for resource in kept.values()}):
        yield f"  {_name(kind)}: {KEPT.get(kind, NO_REASON).reason}."
        for id, resource in kept.items():
            if resource["Type"] == kind:
                yield from (f"    {command}" for command in by_hand(resource, names.get(id, id)))
    yield ""
    yield from _at_work(resources, names, account)
    yield from _models(account)


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


def _at_work(resources: Mapping[str, Any], names: Mapping[str, str], account: Account) -> Iterator[str]:
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
        yield f"Whether jobs are running cannot be told ({_code(error)}): look in the Step Functions console first."
        return
    if running:
        yield (
            f"{running} job(s) are running and end without an outcome. Their trainings and labelling jobs go on by "
            "themselves and bill: stop the jobs by the API first."
        )
    else:
        yield "No job is running."


def _models(account: Account) -> Iterator[str]:
    yield (
        "Projects, models and labelling jobs belong to the jobs that made them, not to the stack: they stay, and a "
        "model that runs bills on."
    )
    try:
        models = [one for one in account.models if one["Status"] in UP and _is_of_a_job(one["ProjectVersionArn"])]
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


def _is_of_a_job(model: str) -> bool:
    """Whether the model of this ARN was made by a job of this or another such stack."""
    return model.split("/")[1].startswith(JOB_PREFIX)


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


def run(command: str, given: Mapping[str, str]) -> None:
    """Say what ``command`` does, and for deploy and destroy wait for a yes.

    Raises:
        PlanError, NotCheckedError: it cannot or may not be done.
    """
    account = Account(given)
    name = account.settings["stackName"]
    try:
        number = account.identity["Account"]
    except (ClientError, BotoCoreError) as error:
        raise NotCheckedError(*credentials_in_words(error)) from error
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
        found, advice = in_words(error)
        print(f"{found[0].upper()}{found[1:]}. {advice}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
