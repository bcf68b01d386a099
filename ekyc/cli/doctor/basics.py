"""What everything else rests on: tools, settings, credentials, clock, Region."""

import sys
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

import boto3
import httpx
from botocore.exceptions import BotoCoreError, ClientError

from ekyc.cli.account import SECONDS_TO_ANSWER, NotCheckedError, credentials_in_words
from ekyc.cli.doctor.findings import Finding, ok, problem, warning
from ekyc.cli.doctor.patient import Checks, Patient
from ekyc.localaws.synth import PROJECT

PYTHON = (3, 11)
# Source: IAM guide, 'Signature Version 4': a request is refused when its time is 5 minutes off.
SKEW_SECONDS = 5 * 60
# What the whole seconds of a Date header and the way of an answer may make of two clocks that agree.
SAME_TIME_SECONDS = 2

CHECKS = Checks()


@CHECKS.add("Tools")
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


@CHECKS.add("Settings")
def settings(patient: Patient) -> Finding:
    try:
        chosen = patient.settings
    except NotCheckedError as error:
        return problem(str(error), error.advice)
    team = chosen["workTeam"] or "none"
    return ok(f"stack {chosen['stackName']}, labelProvider {chosen['labelProvider']}, work team {team}")


@CHECKS.add("Credentials")
def credentials(patient: Patient) -> Finding:
    try:
        who = patient.identity
    except (ClientError, BotoCoreError) as error:
        return problem(*credentials_in_words(error))
    where = f", on the local AWS at {patient.endpoint}" if patient.is_local else ""
    return ok(f"account {who['Account']}, {who['Arn'].rpartition(':')[2]}{where}")


@CHECKS.add("Clock")
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


@CHECKS.add("Region")
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
