"""Checks the account: access to services, quotas, and the resources that the settings name."""

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from botocore.exceptions import ClientError

from ekyc.cli.account import NOT_SIMULATED, UP
from ekyc.cli.doctor.context import PROJECTS, RUNNING_MODELS, TRAININGS, CheckContext, Checks, Quota
from ekyc.cli.doctor.findings import Finding, ok, problem, skipped, warning
from rules.people import GROUPS, LABELLERS

# The lowest version that the templates of aws-cdk-lib accept. Source: the rule CheckBootstrapVersion in each template.
BOOTSTRAP_VERSION = 6
GROUND_TRUTH_CLOSED = "AWS closed Ground Truth to new customers on 2026-07-30"
OTHER_LABELS = "set labelProvider to page or supplied (docs/settings.md)"

CHECKS = Checks()


@CHECKS.add("CDK bootstrap")
def bootstrap(context: CheckContext) -> Finding:
    version = context.bootstrap_version
    if version is None:
        return warning("this Region is not bootstrapped yet", "No action is needed: make deploy bootstraps first.")
    if version < BOOTSTRAP_VERSION:
        return problem(
            f"version {version} is too old: {BOOTSTRAP_VERSION} or newer is needed",
            f"Run . .venv/bin/activate && npx cdk bootstrap aws://{context.identity['Account']}/{context.region}.",
        )
    return ok(f"version {version}")


@CHECKS.add("API Gateway log role")
def api_log_role(context: CheckContext) -> Finding:
    role = context.client("apigateway").get_account().get("cloudwatchRoleArn", "")
    creates = context.settings["apiLogRole"] == "create"
    if context.is_local:
        return skipped(f"access logs are {NOT_SIMULATED}")
    if role and creates and not context.stack:
        return warning(
            f"the account already uses {role}, and apiLogRole is create",
            "Set apiLogRole to existing. Otherwise the deployment replaces the role for all APIs in this Region.",
        )
    if role or creates:
        return ok(role or "none yet, the stack creates one")
    return problem(
        "the account has no log role in this Region: the API's stage cannot be deployed",
        "Set apiLogRole to create, or set a role in the API Gateway console under Settings.",
    )


@CHECKS.add("Ground Truth")
def ground_truth(context: CheckContext) -> Finding:
    """No AWS API says whether the account can create labelling jobs. Earlier labelling jobs are the best evidence."""
    if not context.uses_ground_truth:
        return skipped("not needed: no job can be labelled in Ground Truth")
    sagemaker = context.client("sagemaker")
    try:
        jobs = sagemaker.list_labeling_jobs(MaxResults=1, SortBy="CreationTime", SortOrder="Descending")
        teams = sagemaker.list_workteams(MaxResults=1)["Workteams"]
    except ClientError as error:
        # AWS does not document Ground Truth's error. Other closed services have "new customers" in their messages.
        if "new customers" in error.response["Error"].get("Message", ""):
            return problem(
                f"this account cannot use it: {GROUND_TRUTH_CLOSED}", f"To label without it, {OTHER_LABELS}."
            )
        raise
    if context.is_local:
        return ok("simulated by the local AWS")
    if jobs["LabelingJobSummaryList"]:
        last = jobs["LabelingJobSummaryList"][0]
        return ok(f"used before: labelling job {last['LabelingJobName']} of {last['CreationTime']:%Y-%m-%d}")
    traces = "a work team, but no labelling job" if teams else "neither a labelling job nor a private work team"
    return warning(
        f"unknown: this account has {traces} in this Region, and {GROUND_TRUTH_CLOSED}",
        f"If the account never used Ground Truth, {OTHER_LABELS}. Otherwise create a small labelling job in the "
        "SageMaker console first.",
    )


@CHECKS.add("Work team")
def work_team(context: CheckContext) -> Finding:
    chosen = context.settings["workTeam"]
    if not chosen:
        if context.settings["labelProvider"] != "ground-truth":
            return skipped("not needed: no job can be labelled in Ground Truth")
        return problem(
            "labelProvider is ground-truth, but no work team is set: the API refuses such jobs",
            f"Set workTeam to a team's ARN or to create, or {OTHER_LABELS}.",
        )
    sagemaker = context.client("sagemaker")
    if chosen == "create":
        arn = context.resource_name("AWS::SageMaker::Workteam")
        if arn:
            return _check_members(context, sagemaker.describe_workteam(WorkteamName=arn.rpartition("/")[2])["Workteam"])
        if context.is_local:
            return skipped(f"work teams in a template are {NOT_SIMULATED}")
        if sagemaker.list_workforces()["Workforces"]:
            return problem(
                "the account already has its one private workforce in this Region: the stack cannot create another",
                "Set workTeam to the ARN of a team of that workforce.",
            )
        return ok("created by the deployment. Invite the workers after it (docs/operations.md)")
    if "/private-crowd/" not in chosen:
        team = sagemaker.describe_subscribed_workteam(WorkteamArn=chosen)["SubscribedWorkteam"]
        return ok(f"subscribed from {team.get('SellerName', 'a vendor')}")
    try:
        team = sagemaker.describe_workteam(WorkteamName=chosen.rpartition("/")[2])["Workteam"]
    except ClientError as error:
        # DescribeWorkteam documents no error for an unknown team. Source: SageMaker API reference, DescribeWorkteam.
        if error.response["Error"]["Code"] in ("ValidationException", "ResourceNotFound", "ResourceNotFoundException"):
            return problem(f"there is no work team {chosen}", "Set workTeam to a work team of this account and Region.")
        raise
    if team["WorkteamArn"] != chosen:
        return problem(
            f"the work team of that name is {team['WorkteamArn']}, not {chosen}", "Set workTeam to that ARN."
        )
    return _check_members(context, team)


def _check_members(context: CheckContext, team: Mapping[str, Any]) -> Finding:
    """Warns if a private team has no members."""
    groups = [
        definition["CognitoMemberDefinition"]
        for definition in team["MemberDefinitions"]
        if "CognitoMemberDefinition" in definition
    ]
    name = team["WorkteamName"]
    if context.is_local:
        return ok(f"{name}, with simulated members")
    if not groups:
        return ok(f"{name}, whose members are in your identity provider")
    cognito = context.client("cognito-idp")
    pages = cognito.get_paginator("list_users_in_group")
    members = sum(
        len(page["Users"])
        for group in groups
        for page in pages.paginate(UserPoolId=group["UserPool"], GroupName=group["UserGroup"])
    )
    if not members:
        return warning(f"{name} has no members, so labelling jobs would wait", "Invite workers (docs/operations.md).")
    return ok(f"{name}, {members} {'member' if members == 1 else 'members'}")


@CHECKS.add("Trainings")
def trainings(context: CheckContext) -> Finding:
    return _concurrent(
        context,
        ["TRAINING_IN_PROGRESS"],
        TRAININGS,
        "A new training waits up to a week for a free slot. Wait, or raise the quota.",
    )


@CHECKS.add("Running models")
def running_models(context: CheckContext) -> Finding:
    return _concurrent(
        context,
        UP,
        RUNNING_MODELS,
        "A job waits up to a week to start its model. Stop unused models; each is billed.",
    )


def _concurrent(context: CheckContext, statuses: Sequence[str], quota: Quota, advice: str) -> Finding:
    """Compare the number of models in ``statuses`` with the quota."""
    used = sum(model["Status"] in statuses for model in context.models)
    most, source = context.quota(quota)
    usage = f"{used} of {most} concurrent ({source})"
    return warning(usage, advice) if used >= most else ok(usage)


@CHECKS.add("Projects")
def projects(context: CheckContext) -> Finding:
    used = len(context.projects)
    most, source = context.quota(PROJECTS)
    usage = f"{used} of {most} ({source})"
    if used >= most:
        return problem(usage, "Each job creates a project. Delete old projects in the Custom Labels console.")
    if used >= 0.9 * most:
        return warning(usage, "Each job creates a project. Delete old projects before the quota is used up.")
    return ok(usage)


@CHECKS.add("Encryption key")
def encryption_key(context: CheckContext) -> Finding:
    arn = context.settings["kmsKeyArn"]
    if not arn:
        return skipped("kmsKeyArn is not set: AWS owned and AWS managed keys are used")
    kms = context.client("kms")
    key, fault = _find_key(
        kms, "kmsKeyArn", arn, ("ENCRYPT_DECRYPT", "SYMMETRIC_DEFAULT"), "a symmetric encryption key"
    )
    if fault:
        return fault
    policy = json.loads(kms.get_key_policy(KeyId=arn, PolicyName="default")["Policy"])
    principals = list(_principals(policy))
    missing = []
    if not any(principal.endswith(f"{key['AWSAccountId']}:root") for principal in principals):
        missing.append("the account's IAM policies")
    if not any(principal.startswith("logs.") for principal in principals):
        missing.append("CloudWatch Logs")
    if missing:
        return problem(
            f"the key policy does not allow {' and '.join(missing)} to use the key",
            "Add the statements in docs/operations.md, 'With a KMS key of your own', to the key policy.",
        )
    return ok("enabled, and its key policy names the account and CloudWatch Logs")


@CHECKS.add("Key that signs reports")
def signing_key(context: CheckContext) -> Finding:
    arn = context.settings["auditSigningKeyArn"]
    if not arn:
        return skipped("auditSigningKeyArn is not set: the stack creates a key")
    expected = ("SIGN_VERIFY", "ECC_NIST_P256")
    _, fault = _find_key(context.client("kms"), "auditSigningKeyArn", arn, expected, "a key ECC_NIST_P256 that signs")
    return fault or ok("enabled, ECC_NIST_P256, signs")


def _find_key(
    kms: Any, setting: str, arn: str, expected: tuple[str, str], in_words: str
) -> tuple[Mapping[str, Any], Finding | None]:
    """The key of a setting, and why it cannot be used, or None. ``expected`` is its usage and its type."""
    try:
        key = kms.describe_key(KeyId=arn)["KeyMetadata"]
    except kms.exceptions.NotFoundException:
        return {}, problem(f"there is no key {arn}", f"Set {setting} to a key of this Region.")
    if key["KeyState"] != "Enabled":
        return key, problem(f"the key is {key['KeyState']}", f"Enable the key, or set {setting} to another key.")
    usage, spec = key.get("KeyUsage", "ENCRYPT_DECRYPT"), key.get("KeySpec", "SYMMETRIC_DEFAULT")
    if (usage, spec) != expected:
        return key, problem(f"the key is a {spec} key for {usage}", f"Set {setting} to {in_words}.")
    return key, None


def _principals(policy: Mapping[str, Any]) -> Iterator[str]:
    """Every principal that the policy allows any action."""
    statements = policy.get("Statement", [])
    for statement in statements if isinstance(statements, list) else [statements]:
        if statement.get("Effect") == "Allow" and isinstance(statement.get("Principal"), dict):
            for names in statement["Principal"].values():
                yield from [names] if isinstance(names, str) else names


@CHECKS.add("User pool")
def user_pool(context: CheckContext) -> Finding:
    arn = context.settings["apiAuthorization"]
    if arn == "iam":
        return skipped("callers sign with IAM credentials (apiAuthorization)")
    cognito = context.client("cognito-idp")
    try:
        cognito.describe_user_pool(UserPoolId=arn.rpartition("/")[2])
    except cognito.exceptions.ResourceNotFoundException:
        return problem(f"there is no user pool {arn}", "Set apiAuthorization to a pool of this Region, or to iam.")
    # The settings refuse an existing pool for both. They do not know the pool that the stack has created.
    if context.outputs.get("LabellingUserPool") == arn.rpartition("/")[2]:
        return problem(
            "it is the pool of the labelling page, so every labeller could make every call",
            "Set apiAuthorization to another pool, or to iam.",
        )
    return ok("exists")


@CHECKS.add("Labelling page")
def labelling_page(context: CheckContext) -> Finding:
    chosen = context.settings["labellingUserPool"]
    if not chosen:
        return skipped("the stack has no labelling page (labellingUserPool)")
    outputs = context.outputs
    pool = outputs.get("LabellingUserPool") or (chosen.rpartition("/")[2] if chosen.startswith("arn:") else "")
    if not pool:
        return ok("created by the deployment. Invite people after it (ekyc people invite)")
    cognito = context.client("cognito-idp")
    try:
        cognito.describe_user_pool(UserPoolId=pool)
    except cognito.exceptions.ResourceNotFoundException:
        return problem(
            f"there is no user pool {pool}", 'Set labellingUserPool to a pool of this Region, or to "create".'
        )
    if "LabellingUserPool" not in outputs:
        return ok("the user pool exists. Invite people after the deployment (ekyc people invite)")
    groups = {group["GroupName"] for group in cognito.list_groups(UserPoolId=pool)["Groups"]}
    if missing := [group for group in GROUPS if group not in groups]:
        return problem(
            f"the user pool {pool} has no group {missing[0]}",
            f"Create it: aws cognito-idp create-group --user-pool-id {pool} --group-name {missing[0]}.",
        )
    client = cognito.describe_user_pool_client(UserPoolId=pool, ClientId=outputs["LabellingClient"])["UserPoolClient"]
    page = f"{outputs['ApiUrl']}/labelling/"
    if page not in client.get("CallbackURLs", ()):
        return problem(
            f"the app client does not allow the callback URL {page}, so people cannot sign in", "Run make deploy."
        )
    pages = cognito.get_paginator("list_users_in_group").paginate(UserPoolId=pool, GroupName=LABELLERS)
    people = sum(len(found["Users"]) for found in pages)
    if not people and not context.is_local:
        return warning(
            f"the group {LABELLERS} is empty, so jobs would wait for labels", "Invite people: ekyc people invite EMAIL."
        )
    return ok(f"{page}, with {people} {'person' if people == 1 else 'people'} in the group {LABELLERS}")


@CHECKS.add("Web ACL")
def web_acl(context: CheckContext) -> Finding:
    arn = context.settings["webAclArn"]
    if not arn:
        return skipped("webAclArn is not set")
    wafv2 = context.client("wafv2")
    name, identifier = arn.split("/")[-2:]
    try:
        wafv2.get_web_acl(Name=name, Scope="REGIONAL", Id=identifier)
    except wafv2.exceptions.WAFNonexistentItemException:
        return problem(
            f"there is no web ACL {arn}", "Set webAclArn to a regional web ACL of this Region, or leave it empty."
        )
    return ok("exists")
