"""Checks the deployed stack: its status, its template, and resources that can be changed outside the stack."""

import fnmatch
import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from botocore.exceptions import ClientError

from ekyc.cli.doctor.findings import Finding, ok, problem, skipped, warning
from ekyc.cli.doctor.patient import Checks, Patient
from rules import uploads

CHECKS = Checks()
NOT_DEPLOYED = "the stack is not deployed yet"


@CHECKS.add("Stack")
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


@CHECKS.add("Template")
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


@CHECKS.add("Bucket CORS")
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
            return problem(
                f"the bucket {bucket} is gone", "It was deleted outside the stack: deploy again, or restore it."
            )
        if error.response["Error"]["Code"] != "NoSuchCORSConfiguration":
            raise
        rules = []
    lacking = [words for origin in patient.web_origins for words in _refused(rules, origin)]
    # Source: SageMaker guide, 'CORS Permission Requirement': from everywhere, with this header shown.
    shown = [rule for rule in rules if "Access-Control-Allow-Origin" in rule.get("ExposeHeaders", [])]
    if patient.wants_ground_truth and not _rule(shown, "GET", "*"):
        lacking.append("Ground Truth's labelling page")
    if lacking:
        return problem(f"does not let in {', '.join(lacking)}", "Run make deploy; the stack sets the bucket's CORS.")
    return ok(f"lets in what is needed: {len(rules)} {'rule' if len(rules) == 1 else 'rules'}")


def _refused(rules: Sequence[Mapping[str, Any]], origin: str) -> Iterator[str]:
    """What a page of ``origin`` needs for uploads and may not do."""
    if not _rule(rules, "PUT", origin, uploads.HEADERS):
        headers = [name for name in uploads.HEADERS if not _rule(rules, "PUT", origin, [name])]
        yield f"uploads from {origin} with the headers {', '.join(headers or uploads.HEADERS)}"
    shows_hash = _rule(rules, "HEAD", origin)
    if not shows_hash or uploads.HASH_HEADER not in map(str.lower, shows_hash.get("ExposeHeaders", [])):
        yield f"HEAD from {origin} with {uploads.HASH_HEADER} exposed"


def _rule(
    rules: Sequence[Mapping[str, Any]], method: str, origin: str, headers: Sequence[str] = ()
) -> Mapping[str, Any] | None:
    """The rule by which S3 answers: the first that matches origin, method and headers; None when it refuses.

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
def notifications(patient: Patient) -> Finding:
    address = patient.settings["notificationEmail"]
    if not address:
        return skipped("notificationEmail is not set: subscribe to the topic yourself")
    topic = patient.made("AWS::SNS::Topic")
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
