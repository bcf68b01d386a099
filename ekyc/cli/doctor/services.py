"""The account: what its services let a deployment have, and what the settings name of it."""

import json
from collections.abc import Iterator, Mapping
from typing import Any

from botocore.exceptions import ClientError

from ekyc.cli.account import NOT_PLAYED, UP
from ekyc.cli.doctor.findings import Finding, ok, problem, skipped, warning
from ekyc.cli.doctor.patient import PROJECTS, RUNNING_MODELS, TRAININGS, Checks, Patient

# What the templates of aws-cdk-lib ask for: the rule CheckBootstrapVersion in each of them.
BOOTSTRAP_VERSION = 6
GROUND_TRUTH_CLOSED = "AWS closed Ground Truth to new customers on 2026-07-30"
SUPPLIED = "set labelProvider to supplied (docs/settings.md)"

CHECKS = Checks()


@CHECKS.add("CDK bootstrap")
def bootstrap(patient: Patient) -> Finding:
    version = patient.bootstrap_version
    if version is None:
        return warning("not bootstrapped here yet", "Nothing to do: make deploy bootstraps first.")
    if version < BOOTSTRAP_VERSION:
        return problem(
            f"version {version}, and {BOOTSTRAP_VERSION} is needed",
            f"Run . .venv/bin/activate && npx cdk bootstrap aws://{patient.identity['Account']}/{patient.region}.",
        )
    return ok(f"version {version}")


@CHECKS.add("API Gateway log role")
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


@CHECKS.add("Ground Truth")
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


@CHECKS.add("Work team")
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
        made = patient.made("AWS::SageMaker::Workteam")
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


@CHECKS.add("Trainings")
def trainings(patient: Patient) -> Finding:
    used = sum(model["Status"] == "TRAINING_IN_PROGRESS" for model in patient.models)
    most, source = patient.quota(TRAININGS)
    found = f"{used} of {most} at a time ({source})"
    if used >= most:
        return warning(found, "A job that trains now waits up to a week for a slot: wait, or raise the quota.")
    return ok(found)


@CHECKS.add("Running models")
def running_models(patient: Patient) -> Finding:
    used = sum(model["Status"] in UP for model in patient.models)
    most, source = patient.quota(RUNNING_MODELS)
    found = f"{used} of {most} at a time ({source})"
    if used >= most:
        return warning(found, "A job waits up to a week to start its model: stop one that nobody uses; each bills.")
    return ok(found)


@CHECKS.add("Projects")
def projects(patient: Patient) -> Finding:
    used = len(patient.projects)
    most, source = patient.quota(PROJECTS)
    found = f"{used} of {most} ({source})"
    if used >= most:
        return problem(found, "Each job makes a project: delete old ones in the Custom Labels console.")
    if used >= 0.9 * most:
        return warning(found, "Each job makes a project: delete old ones before the quota is used up.")
    return ok(found)


@CHECKS.add("Encryption key")
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


@CHECKS.add("User pool")
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


@CHECKS.add("Web ACL")
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
