"""Checks the deployed stack: its status, its template, and resources that can change outside the stack."""

import fnmatch
import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from botocore.exceptions import ClientError

from ekyc.cli.doctor.context import CheckContext, Checks
from ekyc.cli.doctor.findings import Finding, ok, problem, skipped, warning
from rules import uploads

CHECKS = Checks()
NOT_DEPLOYED = "the stack is not deployed yet"


@CHECKS.add("Stack")
def stack(context: CheckContext) -> Finding:
    if not context.stack:
        return warning(NOT_DEPLOYED, "Run make deploy.")
    status = context.stack["StackStatus"]
    name = context.stack["StackName"]
    if status in ("CREATE_COMPLETE", "UPDATE_COMPLETE", "IMPORT_COMPLETE", "UPDATE_COMPLETE_CLEANUP_IN_PROGRESS"):
        return ok(f"{name} is {status}")
    if status == "UPDATE_ROLLBACK_COMPLETE":
        advice = "The last update failed and was rolled back. See the stack's events, then deploy again."
        return warning(f"{name} is {status}", advice)
    if status.endswith("_IN_PROGRESS"):
        return warning(f"{name} is {status}", "Wait until the operation is complete.")
    advice = "See the stack's events in the CloudFormation console"
    return problem(
        f"{name} is {status}",
        f"{advice}, then delete the stack and deploy again."
        if status in ("ROLLBACK_COMPLETE", "ROLLBACK_FAILED", "CREATE_FAILED", "DELETE_FAILED")
        else f"{advice}, then continue the rollback there.",
    )


@CHECKS.add("Template")
def template(context: CheckContext) -> Finding:
    """Compares resources, function code and state machine with the template synthesized from this checkout."""
    if not context.stack:
        return skipped(NOT_DEPLOYED)
    deployed, now = context.deployed_template, _as_get_template_returns(context.synthesized_template)
    before, after = (document.get("Resources", {}) for document in (deployed, now))
    changed = {
        "new": after.keys() - before.keys(),
        "gone": before.keys() - after.keys(),
        "changed": {name for name in before.keys() & after.keys() if before[name] != after[name]},
    }
    if not any(changed.values()):
        if deployed == now:
            return ok("up to date with this checkout and these settings")
        return warning("outputs or parameters differ from this checkout", "Run make deploy.")
    changes = "; ".join(f"{len(names)} {how} ({_first_names(names)})" for how, names in changed.items() if names)
    return warning(
        f"differs from this checkout and these settings: resources {changes}",
        "Give the settings of the deployment (-c key=value), or run make deploy while no job runs.",
    )


def _as_get_template_returns(synthesized: Mapping[str, Any]) -> dict[str, Any]:
    """The template as GetTemplate returns it: CloudFormation replaces each non-ASCII character with '?'.

    Source: aws-cdk, cloudformation-diff, mangleLikeCloudFormation.
    """
    text = json.dumps(synthesized, ensure_ascii=False)
    return dict(json.loads("".join(character if character.isascii() else "?" for character in text)))


def _first_names(names: set[str], most: int = 3) -> str:
    first = sorted(names)[:most]
    return ", ".join(first) + (", …" if len(names) > most else "")


@CHECKS.add("Bucket CORS")
def bucket_cors(context: CheckContext) -> Finding:
    """Two pages make cross-origin requests to the bucket.

    Ground Truth's labelling page shows photos by presigned URLs, and the customer's web pages upload by presigned URLs.
    """
    if not context.stack:
        return skipped(NOT_DEPLOYED)
    s3 = context.client("s3")
    bucket = context.outputs["BucketName"]
    try:
        rules = s3.get_bucket_cors(Bucket=bucket)["CORSRules"]
    except ClientError as error:
        if error.response["Error"]["Code"] == "NoSuchBucket":
            return problem(
                f"the bucket {bucket} does not exist",
                "The bucket was deleted outside the stack. Restore it, or deploy again.",
            )
        if error.response["Error"]["Code"] != "NoSuchCORSConfiguration":
            raise
        rules = []
    blocked = [request for origin in context.web_origins for request in _blocked_requests(rules, origin)]
    # Ground Truth needs all origins, with this header exposed. Source: SageMaker guide, 'CORS Permission Requirement'.
    exposing = [rule for rule in rules if "Access-Control-Allow-Origin" in rule.get("ExposeHeaders", [])]
    if context.uses_ground_truth and not _matching_rule(exposing, "GET", "*"):
        blocked.append("Ground Truth's labelling page")
    if blocked:
        return problem(f"blocks {', '.join(blocked)}", "Run make deploy, which sets the bucket's CORS rules.")
    return ok(f"allows all needed requests with {len(rules)} {'rule' if len(rules) == 1 else 'rules'}")


def _blocked_requests(rules: Sequence[Mapping[str, Any]], origin: str) -> Iterator[str]:
    """The requests that a page of ``origin`` needs for uploads and that the rules block."""
    if not _matching_rule(rules, "PUT", origin, uploads.HEADERS):
        headers = [name for name in uploads.HEADERS if not _matching_rule(rules, "PUT", origin, [name])]
        yield f"uploads from {origin} with the headers {', '.join(headers or uploads.HEADERS)}"
    head_rule = _matching_rule(rules, "HEAD", origin)
    if not head_rule or uploads.HASH_HEADER not in map(str.lower, head_rule.get("ExposeHeaders", [])):
        yield f"HEAD from {origin} with {uploads.HASH_HEADER} exposed"


def _matching_rule(
    rules: Sequence[Mapping[str, Any]], method: str, origin: str, headers: Sequence[str] = ()
) -> Mapping[str, Any] | None:
    """The rule that S3 applies: the first that matches origin, method and headers. None if S3 blocks the request.

    Source: S3 User Guide, 'How does Amazon S3 evaluate the CORS configuration on a bucket?'.
    """

    def matches(text: str, patterns: Sequence[str]) -> bool:
        return any(fnmatch.fnmatchcase(text.lower(), pattern.lower()) for pattern in patterns)

    return next(
        (
            rule
            for rule in rules
            if method in rule["AllowedMethods"]
            and matches(origin, rule["AllowedOrigins"])
            and all(matches(name, rule.get("AllowedHeaders", [])) for name in headers)
        ),
        None,
    )


@CHECKS.add("Notifications")
def notifications(context: CheckContext) -> Finding:
    address = context.settings["notificationEmail"]
    if not address:
        return skipped("notificationEmail is not set. Subscribe to the topic yourself")
    topic = context.resource_name("AWS::SNS::Topic")
    if not topic:
        return skipped(NOT_DEPLOYED)
    pages = context.client("sns").get_paginator("list_subscriptions_by_topic").paginate(TopicArn=topic)
    arns = [
        subscription["SubscriptionArn"]
        for page in pages
        for subscription in page["Subscriptions"]
        if subscription.get("Endpoint") == address
    ]
    if not arns:
        return problem(
            f"{address} is not subscribed", "Run make deploy, then open the confirmation link in the e-mail from SNS."
        )
    # An unconfirmed subscription has a text such as "PendingConfirmation" instead of an ARN.
    # Source: SNS API reference, Subscribe.
    if all(not arn.startswith("arn:") for arn in arns):
        return problem(
            f"{address} has not confirmed its subscription",
            "Open the confirmation link in the e-mail from SNS. Look in the spam folder too.",
        )
    return ok(f"{address} is subscribed")
