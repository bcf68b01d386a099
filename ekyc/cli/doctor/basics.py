"""Checks the prerequisites of all other checks: tools, settings, credentials, clock, Region."""

import sys
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

import boto3
import httpx
from botocore.exceptions import BotoCoreError, ClientError

from ekyc.cli.account import SECONDS_TO_ANSWER, NotCheckedError, describe_credentials_error
from ekyc.cli.doctor.context import CheckContext, Checks
from ekyc.cli.doctor.findings import Finding, ok, problem, warning
from ekyc.localaws.synth import PROJECT

PYTHON = (3, 11)
# AWS rejects a request whose time is off by 5 minutes. Source: IAM guide, 'Signature Version 4'.
SKEW_SECONDS = 5 * 60
# Two equal clocks can seem to differ by this much: a Date header has whole seconds, and the response takes time.
SAME_TIME_SECONDS = 2

CHECKS = Checks()


@CHECKS.add("Tools")
def tools(_context: CheckContext) -> Finding:
    """CDK cannot synthesize the stack without a recent Python and the Lambda layers."""
    here = sys.version.split()[0]
    if sys.version_info < PYTHON:
        oldest = ".".join(map(str, PYTHON))
        return problem(f"Python {here} is older than {oldest}", f"Install Python ≥ {oldest}.")
    for requirements in sorted((PROJECT / "lambdas").glob("requirements-*.txt")):
        name = requirements.stem.removeprefix("requirements-")
        layer = PROJECT / f"build/layers/{name}/installed"
        advice = f"Run make {layer.relative_to(PROJECT)}. make deploy also does this."
        if not layer.exists():
            return problem(f"the Lambda layer {name} is not built", advice)
        if layer.stat().st_mtime < requirements.stat().st_mtime:
            return warning(f"the Lambda layer {name} is older than {requirements.relative_to(PROJECT)}", advice)
    return ok(f"Python {here}, the Lambda layers are built")


@CHECKS.add("Settings")
def settings(context: CheckContext) -> Finding:
    try:
        chosen = context.settings
    except NotCheckedError as error:
        return problem(str(error), error.advice)
    team = chosen["workTeam"] or "none"
    return ok(f"stack {chosen['stackName']}, labelProvider {chosen['labelProvider']}, work team {team}")


@CHECKS.add("Credentials")
def credentials(context: CheckContext) -> Finding:
    try:
        who = context.identity
    except (ClientError, BotoCoreError) as error:
        return problem(*describe_credentials_error(error))
    where = f", on the local AWS at {context.endpoint}" if context.is_local else ""
    return ok(f"account {who['Account']}, {who['Arn'].rpartition(':')[2]}{where}")


@CHECKS.add("Clock")
def clock(context: CheckContext) -> Finding:
    """Compares this machine's clock with the Date header of a response, which has whole seconds.

    AWS rejects signatures with a wrong time. The local AWS does not check signatures, but jobs put its clock forward.
    """
    url = context.endpoint or f"https://sts.{context.region}.amazonaws.com"
    here = datetime.now(UTC)
    try:
        date = httpx.get(url, timeout=SECONDS_TO_ANSWER).headers["Date"]
        there = parsedate_to_datetime(date)
    except httpx.HTTPError as error:
        raise NotCheckedError(
            f"{url} does not respond ({type(error).__name__})", "Check the network and the proxy."
        ) from error
    except (KeyError, ValueError) as error:
        raise NotCheckedError(f"the response of {url} has no valid Date header", "Check the proxy.") from error
    skew = (here - there).total_seconds()
    reference = "the local AWS's clock" if context.is_local else "AWS's clock"
    if abs(skew) < SAME_TIME_SECONDS:
        return ok(f"this machine's clock agrees with {reference}")
    size = f"{abs(skew):.0f} seconds" if abs(skew) < 100 else f"{abs(skew) / 60:.0f} minutes"
    difference = f"this machine's clock is {size} {'ahead of' if skew > 0 else 'behind'} {reference}"
    if abs(skew) < SKEW_SECONDS:
        return ok(difference)
    if context.is_local:
        return warning(
            difference,
            "No action is needed. The local AWS puts its clock forward to shorten the waits of jobs. While no job "
            "runs, its clock returns to this machine's time. A restart resets it.",
        )
    return problem(difference, "Set the clock (NTP): AWS rejects calls whose time is off by 5 minutes.")


@CHECKS.add("Region")
def region(context: CheckContext) -> Finding:
    try:
        name = context.region
    except NotCheckedError as error:
        return problem(str(error), error.advice)
    known = boto3.Session(aws_access_key_id="-", aws_secret_access_key="-")  # noqa: S106  # needs no profile
    partitions = known.get_available_partitions()
    if not any(name in known.get_available_regions("rekognition", partition) for partition in partitions):
        return problem(
            f"boto3 knows no Region {name} with Rekognition",
            "Set another Region, such as eu-west-1, in the setting region or in AWS_REGION.",
        )
    # boto3 has no list of the Regions of Custom Labels, so call the service.
    context.projects  # noqa: B018
    return ok(f"{name}, which has Custom Labels")
