"""`ekyc doctor`: looks, before a deployment or a first job, at whatever would make it fail, and says what to do.

Each check is a function of the account that answers a Finding. They run side by side, and one that cannot be made says
so in its own row.
"""

import fnmatch
import json
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, Literal

import boto3
import httpx
from botocore.exceptions import BotoCoreError, ClientError, EndpointConnectionError
from rich.table import Table
from rich.text import Text

from ekyc.cli.account import (
    GIVE_CREDENTIALS,
    NOT_PLAYED,
    SECONDS_TO_ANSWER,
    Account,
    NotCheckedError,
    ToldElsewhereError,
    in_words,
    shared,
)
from ekyc.cli.terminal import console, to_json
from ekyc.localaws.synth import PROJECT

Status = Literal["ok", "warning", "problem", "skipped"]
COLOURS: Mapping[Status, str] = {"ok": "green", "warning": "yellow", "problem": "bold red", "skipped": "dim"}


@dataclass(frozen=True)
class Finding:
    """What a check found and, unless all is well, what to do about it."""

    status: Status
    found: str
    advice: str = ""


Check = Callable[["Patient"], Finding]
CHECKS: dict[str, Check] = {}
"""Every check by its title, in the order of the table."""


def check(title: str) -> Callable[[Check], Check]:
    def register(function: Check) -> Check:
        CHECKS[title] = function
        return function

    return register


def ok(found: str) -> Finding:
    return Finding("ok", found)


def skipped(why: str) -> Finding:
    return Finding("skipped", why)


def warning(found: str, advice: str) -> Finding:
    return Finding("warning", found, advice)


def problem(found: str, advice: str) -> Finding:
    return Finding("problem", found, advice)


PYTHON = (3, 11)
BOOTSTRAP_PARAMETER = "/cdk-bootstrap/hnb659fds/version"
# What the templates of aws-cdk-lib ask for: the rule CheckBootstrapVersion in each of them.
BOOTSTRAP_VERSION = 6
# Source: IAM guide, 'Signature Version 4': a request is refused when its time is 5 minutes off.
SKEW_SECONDS = 5 * 60
# What the whole seconds of a Date header and the way of an answer may make of two clocks that agree.
SAME_TIME_SECONDS = 2
GROUND_TRUTH_CLOSED = "AWS closed Ground Truth to new customers on 2026-07-30"
SUPPLIED = "set labelProvider to supplied (docs/settings.md)"
# Rekognition answers 5 calls a second of each operation. Source: AWS General Reference, 'Amazon Rekognition endpoints
# and quotas'. One call in 0.25 s leaves room for the jobs that run.
SECONDS_BETWEEN_CALLS = 0.25


@dataclass(frozen=True)
class Quota:
    """A quota of the account: words of its name at Service Quotas, and what it is unless it was raised.

    Source of names and defaults: AWS General Reference, 'Amazon Rekognition endpoints and quotas'.
    """

    words: tuple[str, ...]
    default: int
    elsewhere: Mapping[str, int]


TRAININGS = Quota(("concurrent", "training jobs"), 2, {"ap-southeast-2": 1})
RUNNING_MODELS = Quota(("concurrently running", "models"), 2, {})
PROJECTS = Quota(("projects per account",), 100, {})


class Patient(Account):
    """The account, and what more than one check needs to know of Rekognition."""

    @shared
    def projects(self) -> list[str]:
        """The ARNs of the account's Custom Labels projects."""
        pages = self.client("rekognition").get_paginator("describe_projects").paginate(Features=["CUSTOM_LABELS"])
        return [project["ProjectArn"] for page in pages for project in page["ProjectDescriptions"]]

    @shared
    def models(self) -> list[str]:
        """The statuses of all models of all projects."""
        versions = self.client("rekognition").get_paginator("describe_project_versions")
        statuses = []
        for project in self.projects:
            for page in versions.paginate(ProjectArn=project):
                statuses += [version["Status"] for version in page["ProjectVersionDescriptions"]]
                time.sleep(SECONDS_BETWEEN_CALLS)
        return statuses

    @shared
    def quotas(self) -> dict[str, float]:
        """The account's quotas of Rekognition by their names."""
        if self.is_local:
            raise NotCheckedError(f"Service Quotas is {NOT_PLAYED}", "")
        pages = self.client("service-quotas").get_paginator("list_service_quotas").paginate(ServiceCode="rekognition")
        return {quota["QuotaName"]: quota["Value"] for page in pages for quota in page["Quotas"]}

    def quota(self, wanted: Quota) -> tuple[int, str]:
        """How many there may be, and where that is from."""
        default = wanted.elsewhere.get(self.region, wanted.default)
        try:
            quotas = self.quotas
        except (NotCheckedError, ClientError, BotoCoreError) as error:
            return default, f"AWS's default: {in_words(error)[0]}"
        for name, value in quotas.items():
            if "Custom Labels" in name and all(word in name.lower() for word in wanted.words):
                return int(value), "Service Quotas"
        return default, "AWS's default: Service Quotas does not list it"

    @property
    def wants_ground_truth(self) -> bool:
        """Whether people label in Ground Truth, by default or when a job asks for it."""
        return self.settings["labelProvider"] == "ground-truth" or bool(self.settings["workTeam"])


@check("Tools")
def tools(_patient: Patient) -> Finding:
    """Python and the Lambda layer, without which nothing can be synthesized."""
    here = sys.version.split()[0]
    if sys.version_info < PYTHON:
        oldest = ".".join(map(str, PYTHON))
        return problem(f"Python {here} is older than {oldest}", f"Install Python ≥ {oldest}.")
    layer, wanted = PROJECT / "build/layer/installed", PROJECT / "lambdas/requirements.txt"
    if not layer.exists():
        return problem("the Lambda layer is not built", "Run make build/layer/installed (make deploy does so too).")
    if layer.stat().st_mtime < wanted.stat().st_mtime:
        return warning(
            "the Lambda layer is older than lambdas/requirements.txt",
            "Run make build/layer/installed (make deploy does so too).",
        )
    return ok(f"Python {here}, the Lambda layer is built")


@check("Settings")
def settings(patient: Patient) -> Finding:
    try:
        chosen = patient.settings
    except NotCheckedError as error:
        return problem(str(error), error.advice)
    team = chosen["workTeam"] or "none"
    return ok(f"stack {chosen['stackName']}, labelProvider {chosen['labelProvider']}, work team {team}")


@check("Credentials")
def credentials(patient: Patient) -> Finding:
    try:
        who = patient.identity
    except ClientError as error:
        code = error.response["Error"]["Code"]
        expired = "Expired" in code
        return problem(
            "your credentials have expired" if expired else f"AWS refuses your credentials ({code})",
            "Log in again (aws sso login, or new keys)." if expired else GIVE_CREDENTIALS,
        )
    except EndpointConnectionError as error:
        return problem(*in_words(error))
    except BotoCoreError as error:
        return problem(in_words(error)[0], GIVE_CREDENTIALS)
    where = f", on the local AWS at {patient.endpoint}" if patient.is_local else ""
    return ok(f"account {who['Account']}, {who['Arn'].rpartition(':')[2]}{where}")


@check("Clock")
def clock(patient: Patient) -> Finding:
    """AWS refuses signatures of another time. Every answer has the time of its service, in whole seconds; the local AWS
    checks no signature, but jobs leave its clock ahead, and its dates with it."""
    url = patient.endpoint or f"https://sts.{patient.region}.amazonaws.com"
    asked = datetime.now(UTC)
    try:
        date = httpx.get(url, timeout=SECONDS_TO_ANSWER).headers["Date"]
        there = parsedate_to_datetime(date)
    except httpx.HTTPError as error:
        raise NotCheckedError(
            f"there is no answer from {url} ({type(error).__name__})", "Look at the network and the proxy."
        ) from error
    except (KeyError, ValueError) as error:
        raise NotCheckedError(f"{url} answers without a usable time", "Look at the proxy.") from error
    skew = (asked - there).total_seconds()
    whose = "the local AWS's" if patient.is_local else "AWS's"
    if abs(skew) < SAME_TIME_SECONDS:
        return ok(f"this machine's clock agrees with {whose}")
    size = f"{abs(skew):.0f} seconds" if abs(skew) < 100 else f"{abs(skew) / 60:.0f} minutes"
    found = f"this machine's clock is {size} {'ahead of' if skew > 0 else 'behind'} {whose}"
    if abs(skew) < SKEW_SECONDS:
        return ok(found)
    if patient.is_local:
        return warning(
            found,
            "Nothing to do: the waiting of jobs is accelerated there. Its clock comes back to this machine's while no "
            "job runs; a restart sets it.",
        )
    return problem(found, "Set the clock (NTP): AWS refuses calls that are signed 5 minutes off.")


@check("Region")
def region(patient: Patient) -> Finding:
    try:
        name = patient.region
    except NotCheckedError as error:
        return problem(str(error), error.advice)
    known = boto3.Session(aws_access_key_id="-", aws_secret_access_key="-")  # noqa: S106  # needs no profile
    partitions = known.get_available_partitions()
    if not any(name in known.get_available_regions("rekognition", partition) for partition in partitions):
        return problem(
            f"{name} is no Region with Rekognition that this boto3 knows",
            "Give another one, such as eu-west-1, in the setting region or in AWS_REGION.",
        )
    # AWS publishes no list of the Regions of Custom Labels for programs; the service itself is asked.
    patient.projects  # noqa: B018
    return ok(f"{name}, Custom Labels answers there")


@check("CDK bootstrap")
def bootstrap(patient: Patient) -> Finding:
    ssm = patient.client("ssm")
    try:
        version = int(ssm.get_parameter(Name=BOOTSTRAP_PARAMETER)["Parameter"]["Value"])
    except ssm.exceptions.ParameterNotFound:
        return warning("not bootstrapped here yet", "Nothing to do: make deploy bootstraps first.")
    if version < BOOTSTRAP_VERSION:
        return problem(
            f"version {version}, and {BOOTSTRAP_VERSION} is needed",
            f"Run . .venv/bin/activate && npx cdk bootstrap aws://{patient.identity['Account']}/{patient.region}.",
        )
    return ok(f"version {version}")


@check("API Gateway log role")
def api_log_role(patient: Patient) -> Finding:
    role = patient.client("apigateway").get_account().get("cloudwatchRoleArn", "")
    creates = patient.settings["apiLogRole"] == "create"
    if patient.is_local:
        return skipped(f"access logs are {NOT_PLAYED}")
    if role and creates and not patient.stack:
        return warning(
            f"{role} is set already, and apiLogRole is create",
            "Set apiLogRole to existing, or the deployment replaces the role for all APIs of the account here.",
        )
    if role or creates:
        return ok(role or "none yet, the stack makes one")
    return problem(
        "the account has none in this Region: the API's stage cannot be deployed",
        "Set apiLogRole to create, or set a role in API Gateway's console under Settings.",
    )


@check("Ground Truth")
def ground_truth(patient: Patient) -> Finding:
    """Nothing tells whether AWS lets this account make labelling jobs; what it did before is the best sign."""
    if not patient.wants_ground_truth:
        return skipped("not needed: labels are supplied")
    sagemaker = patient.client("sagemaker")
    try:
        jobs = sagemaker.list_labeling_jobs(MaxResults=1, SortBy="CreationTime", SortOrder="Descending")
        teams = sagemaker.list_workteams(MaxResults=1)["Workteams"]
    except ClientError as error:
        # What Ground Truth answers is not published; services that AWS closed before answer in these words.
        if "new customers" in error.response["Error"].get("Message", ""):
            return problem(f"this account may not use it: {GROUND_TRUTH_CLOSED}", f"Labels from elsewhere: {SUPPLIED}.")
        raise
    if patient.is_local:
        return ok("the local AWS has it")
    if jobs["LabelingJobSummaryList"]:
        last = jobs["LabelingJobSummaryList"][0]
        return ok(f"used before: labelling job {last['LabelingJobName']} of {last['CreationTime']:%Y-%m-%d}")
    known = "a work team, but no labelling job" if teams else "neither a labelling job nor a private work team"
    return warning(
        f"cannot be known: this account has {known} in this Region, and {GROUND_TRUTH_CLOSED}",
        f"If it never used Ground Truth, {SUPPLIED}; else make a small labelling job in its console first.",
    )


@check("Work team")
def work_team(patient: Patient) -> Finding:
    chosen = patient.settings["workTeam"]
    if not chosen:
        if patient.settings["labelProvider"] == "supplied":
            return skipped("not needed: labels are supplied")
        return problem(
            "labelProvider is ground-truth and no work team is set: such jobs are refused",
            f"Set workTeam to a team's ARN or to create, or {SUPPLIED}.",
        )
    sagemaker = patient.client("sagemaker")
    if chosen == "create":
        made = _made(patient, "AWS::SageMaker::Workteam")
        if made:
            return _members(patient, sagemaker.describe_workteam(WorkteamName=made.rpartition("/")[2])["Workteam"])
        if patient.is_local:
            return skipped(f"work teams of a template are {NOT_PLAYED}")
        if sagemaker.list_workforces()["Workforces"]:
            return problem(
                "the account has a private workforce here, and may have one only: the stack cannot make another",
                "Set workTeam to the ARN of one of its teams.",
            )
        return ok("made by the deployment; invite the workers then (docs/operations.md)")
    if "/private-crowd/" not in chosen:
        team = sagemaker.describe_subscribed_workteam(WorkteamArn=chosen)["SubscribedWorkteam"]
        return ok(f"subscribed from {team.get('SellerName', 'a vendor')}")
    try:
        team = sagemaker.describe_workteam(WorkteamName=chosen.rpartition("/")[2])["Workteam"]
    except ClientError as error:
        # Source: SageMaker API reference, DescribeWorkteam: it models no error for a team that is not there.
        if error.response["Error"]["Code"] in ("ValidationException", "ResourceNotFound", "ResourceNotFoundException"):
            return problem(f"there is no team {chosen}", "Set workTeam to a team of this account and Region.")
        raise
    if team["WorkteamArn"] != chosen:
        return problem(f"the team of that name is {team['WorkteamArn']}, not {chosen}", "Set workTeam to that ARN.")
    return _members(patient, team)


def _made(patient: Patient, kind: str) -> str:
    """The physical name of the deployed stack's one resource of a kind, or nothing."""
    if not patient.stack:
        return ""
    pages = patient.client("cloudformation").get_paginator("list_stack_resources")
    return next(
        (
            one["PhysicalResourceId"]
            for page in pages.paginate(StackName=patient.settings["stackName"])
            for one in page["StackResourceSummaries"]
            if one["ResourceType"] == kind and "PhysicalResourceId" in one
        ),
        "",
    )


def _members(patient: Patient, team: Mapping[str, Any]) -> Finding:
    """Whether somebody is in a private team."""
    groups = [one["CognitoMemberDefinition"] for one in team["MemberDefinitions"] if "CognitoMemberDefinition" in one]
    name = team["WorkteamName"]
    if patient.is_local:
        return ok(f"{name}; its people are simulated")
    if not groups:
        return ok(f"{name}; its people are in your identity provider")
    cognito = patient.client("cognito-idp")
    pages = cognito.get_paginator("list_users_in_group")
    people = sum(
        len(page["Users"])
        for group in groups
        for page in pages.paginate(UserPoolId=group["UserPool"], GroupName=group["UserGroup"])
    )
    if not people:
        return warning(f"{name} has no members: nobody can label", "Invite workers (docs/operations.md).")
    return ok(f"{name}, {people} {'member' if people == 1 else 'members'}")


@check("Trainings")
def trainings(patient: Patient) -> Finding:
    used = patient.models.count("TRAINING_IN_PROGRESS")
    most, source = patient.quota(TRAININGS)
    found = f"{used} of {most} at a time ({source})"
    if used >= most:
        return warning(found, "A job that trains now waits up to a week for a slot: wait, or raise the quota.")
    return ok(found)


@check("Running models")
def running_models(patient: Patient) -> Finding:
    used = sum(patient.models.count(status) for status in ("STARTING", "RUNNING", "STOPPING"))
    most, source = patient.quota(RUNNING_MODELS)
    found = f"{used} of {most} at a time ({source})"
    if used >= most:
        return warning(found, "A job waits up to a week to start its model: stop one that nobody uses; each bills.")
    return ok(found)


@check("Projects")
def projects(patient: Patient) -> Finding:
    used = len(patient.projects)
    most, source = patient.quota(PROJECTS)
    found = f"{used} of {most} ({source})"
    if used >= most:
        return problem(found, "Each job makes a project: delete old ones in the Custom Labels console.")
    if used >= 0.9 * most:
        return warning(found, "Each job makes a project: delete old ones before the quota is used up.")
    return ok(found)


@check("Encryption key")
def encryption_key(patient: Patient) -> Finding:
    arn = patient.settings["kmsKeyArn"]
    if not arn:
        return skipped("kmsKeyArn is not set: keys of AWS are used")
    kms = patient.client("kms")
    try:
        key = kms.describe_key(KeyId=arn)["KeyMetadata"]
    except kms.exceptions.NotFoundException:
        return problem(f"there is no key {arn}", "Set kmsKeyArn to a key of this Region.")
    if key["KeyState"] != "Enabled":
        return problem(f"the key is {key['KeyState']}", "Enable the key, or set another one.")
    usage, spec = key.get("KeyUsage", "ENCRYPT_DECRYPT"), key.get("KeySpec", "SYMMETRIC_DEFAULT")
    if (usage, spec) != ("ENCRYPT_DECRYPT", "SYMMETRIC_DEFAULT"):
        return problem(f"the key is a {spec} key for {usage}", "Give a symmetric key that encrypts.")
    policy = json.loads(kms.get_key_policy(KeyId=arn, PolicyName="default")["Policy"])
    principals = list(_principals(policy))
    lacking = []
    if not any(principal.endswith(f"{key['AWSAccountId']}:root") for principal in principals):
        lacking.append("the account's IAM policies")
    if not any(principal.startswith("logs.") for principal in principals):
        lacking.append("CloudWatch Logs")
    if lacking:
        return problem(
            f"the key's policy does not let {' and '.join(lacking)} use it",
            "Put the statements of docs/operations.md, 'With a KMS key of your own', into the key's policy.",
        )
    return ok("enabled, its policy names the account and CloudWatch Logs")


def _principals(policy: Mapping[str, Any]) -> Iterator[str]:
    """Every account, role and service that a policy allows something."""
    statements = policy.get("Statement", [])
    for statement in statements if isinstance(statements, list) else [statements]:
        if statement.get("Effect") == "Allow" and isinstance(statement.get("Principal"), dict):
            for names in statement["Principal"].values():
                yield from [names] if isinstance(names, str) else names


@check("User pool")
def user_pool(patient: Patient) -> Finding:
    arn = patient.settings["apiAuthorization"]
    if arn == "iam":
        return skipped("callers sign with IAM credentials (apiAuthorization)")
    cognito = patient.client("cognito-idp")
    try:
        cognito.describe_user_pool(UserPoolId=arn.rpartition("/")[2])
    except cognito.exceptions.ResourceNotFoundException:
        return problem(f"there is no user pool {arn}", "Set apiAuthorization to a pool of this Region, or to iam.")
    return ok("is there")


@check("Web ACL")
def web_acl(patient: Patient) -> Finding:
    arn = patient.settings["webAclArn"]
    if not arn:
        return skipped("webAclArn is not set")
    wafv2 = patient.client("wafv2")
    name, identifier = arn.split("/")[-2:]
    try:
        wafv2.get_web_acl(Name=name, Scope="REGIONAL", Id=identifier)
    except wafv2.exceptions.WAFNonexistentItemException:
        return problem(f"there is no web ACL {arn}", "Set webAclArn to a regional one of this Region, or to nothing.")
    return ok("is there")


NOT_DEPLOYED = "the stack is not deployed yet"


@check("Stack")
def stack(patient: Patient) -> Finding:
    if not patient.stack:
        return warning(NOT_DEPLOYED, "Run make deploy.")
    status = patient.stack["StackStatus"]
    name = patient.stack["StackName"]
    if status in ("CREATE_COMPLETE", "UPDATE_COMPLETE", "IMPORT_COMPLETE", "UPDATE_COMPLETE_CLEANUP_IN_PROGRESS"):
        return ok(f"{name} is {status}")
    if status == "UPDATE_ROLLBACK_COMPLETE":
        return warning(f"{name} is {status}", "The last update failed and was undone: see its events, deploy again.")
    if status.endswith("_IN_PROGRESS"):
        return warning(f"{name} is {status}", "Wait until that is done.")
    advice = "See its events in CloudFormation's console"
    return problem(
        f"{name} is {status}",
        f"{advice}, then delete it and deploy again."
        if status in ("ROLLBACK_COMPLETE", "ROLLBACK_FAILED", "CREATE_FAILED", "DELETE_FAILED")
        else f"{advice}, and continue the rollback there.",
    )


@check("Template")
def template(patient: Patient) -> Finding:
    """Whether resources, functions' code and state machine are those that the checkout and the settings give."""
    if not patient.stack:
        return skipped(NOT_DEPLOYED)
    deployed, now = patient.deployed, _as_answered(patient.synthesized)
    before, after = (one.get("Resources", {}) for one in (deployed, now))
    changed = {
        "new": after.keys() - before.keys(),
        "gone": before.keys() - after.keys(),
        "changed": {name for name in before.keys() & after.keys() if before[name] != after[name]},
    }
    if not any(changed.values()):
        if deployed == now:
            return ok("in date: as this checkout and these settings give it")
        return warning("outputs or parameters differ from this checkout", "Run make deploy.")
    words = "; ".join(f"{len(names)} {how} ({_some(names)})" for how, names in changed.items() if names)
    return warning(
        f"not what this checkout and these settings give: resources {words}",
        "Give the settings that were deployed (-c key=value), or run make deploy between jobs.",
    )


def _as_answered(synthesized: Mapping[str, Any]) -> dict[str, Any]:
    """A template as GetTemplate gives it back, with '?' for each character beyond ASCII.

    Source: aws-cdk, cloudformation-diff, mangleLikeCloudFormation.
    """
    text = json.dumps(synthesized, ensure_ascii=False)
    return dict(json.loads("".join(character if character.isascii() else "?" for character in text)))


def _some(names: set[str], most: int = 3) -> str:
    first = sorted(names)[:most]
    return ", ".join(first) + (", …" if len(names) > most else "")


@check("Bucket CORS")
def bucket_cors(patient: Patient) -> Finding:
    """The labelling page shows photos by signed links, and web pages upload by presigned URLs: both cross origins."""
    if not patient.stack:
        return skipped(NOT_DEPLOYED)
    s3 = patient.client("s3")
    bucket = patient.outputs["BucketName"]
    try:
        rules = s3.get_bucket_cors(Bucket=bucket)["CORSRules"]
    except ClientError as error:
        if error.response["Error"]["Code"] == "NoSuchBucket":
            return problem(f"the bucket {bucket} is gone", "Somebody deleted it: deploy again, or restore it.")
        if error.response["Error"]["Code"] != "NoSuchCORSConfiguration":
            raise
        rules = []
    lacking = [f"uploads from {origin}" for origin in patient.settings["webOrigins"] if not _lets(rules, "PUT", origin)]
    # Source: SageMaker guide, 'CORS Permission Requirement': from everywhere, with this header shown.
    shown = [rule for rule in rules if "Access-Control-Allow-Origin" in rule.get("ExposeHeaders", [])]
    if patient.wants_ground_truth and not _lets(shown, "GET", "*"):
        lacking.append("Ground Truth's labelling page")
    if lacking:
        return problem(f"does not let in {', '.join(lacking)}", "Run make deploy; the stack sets the bucket's CORS.")
    return ok(f"lets in what is needed: {len(rules)} {'rule' if len(rules) == 1 else 'rules'}")


def _lets(rules: Sequence[Mapping[str, Any]], method: str, origin: str) -> bool:
    return any(
        method in rule["AllowedMethods"]
        and any(fnmatch.fnmatchcase(origin, allowed) for allowed in rule["AllowedOrigins"])
        for rule in rules
    )


@check("Notifications")
def notifications(patient: Patient) -> Finding:
    address = patient.settings["notificationEmail"]
    if not address:
        return skipped("notificationEmail is not set: subscribe to the topic yourself")
    topic = _made(patient, "AWS::SNS::Topic")
    if not topic:
        return skipped(NOT_DEPLOYED)
    pages = patient.client("sns").get_paginator("list_subscriptions_by_topic").paginate(TopicArn=topic)
    arns = [one["SubscriptionArn"] for page in pages for one in page["Subscriptions"] if one.get("Endpoint") == address]
    if not arns:
        return problem(f"{address} is not subscribed", "Run make deploy, then confirm the e-mail that SNS sends.")
    # Source: SNS API reference, Subscribe: until its owner confirms, a subscription has these words for an ARN.
    if all(not arn.startswith("arn:") for arn in arns):
        return problem(
            f"{address} has not confirmed its subscription", "Open the link in the e-mail that SNS sent; see the spam."
        )
    return ok(f"{address} is subscribed")


def examine(given: Mapping[str, str]) -> tuple[Patient, dict[str, Finding]]:
    """Make every check; ``given`` are settings beyond those of `cdk.json`. What one check meets ends no other."""
    patient = Patient(given)
    with ThreadPoolExecutor(len(CHECKS)) as pool:
        findings = pool.map(lambda make: _answer(make, patient), CHECKS.values())
        return patient, dict(zip(CHECKS, findings, strict=True))


def _answer(make: Check, patient: Patient) -> Finding:
    try:
        return make(patient)
    except ToldElsewhereError as error:
        return skipped(f"not checked: {error}")
    except Exception as error:
        if patient.is_local and isinstance(error, ClientError) and error.response["Error"]["Code"] in ("500", "501"):
            return skipped(f"{error.operation_name} is {NOT_PLAYED}")
        why, advice = in_words(error)
        return warning(f"could not be checked: {why}", advice)


def report(findings: Mapping[str, Finding]) -> None:
    """A table on a terminal; elsewhere a line for each check, which `grep` and a log take."""
    if console.is_terminal:
        table = Table("check", "", "found", "what to do", show_lines=True)
        for title, finding in findings.items():
            colour = COLOURS[finding.status]
            table.add_row(title, Text(finding.status, colour), finding.found, finding.advice)
        console.print(table)
    else:
        for title, finding in findings.items():
            words = " ".join(f"{finding.found}. {finding.advice}".split()) if finding.advice else finding.found
            console.print(f"{finding.status:<8} {title}: {words}")
    problems, warnings = (count(findings, status) for status in ("problem", "warning"))
    console.print(f"{problems} {'problem' if problems == 1 else 'problems'}, {warnings} to look at.")


def as_json(patient: Patient, findings: Mapping[str, Finding]) -> str:
    """The findings for a script, as `docs/operations.md` describes them."""
    checks = [{"check": title, **asdict(finding)} for title, finding in findings.items()]
    counts = {f"{status}s": count(findings, status) for status in ("problem", "warning")}
    return to_json({"local": patient.is_local, **counts, "checks": checks}, indent=2)


def count(findings: Mapping[str, Finding], status: Status) -> int:
    return sum(finding.status == status for finding in findings.values())
