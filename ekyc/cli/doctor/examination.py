"""Runs the checks in parallel. An error in a check becomes that check's finding."""

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor

from botocore.exceptions import ClientError

from ekyc.cli.account import NOT_SIMULATED, PrerequisiteError, describe_error
from ekyc.cli.doctor import basics, deployed, services
from ekyc.cli.doctor.context import Check, CheckContext, Checks
from ekyc.cli.doctor.findings import Finding, skipped, warning

CHECKS = Checks(basics.CHECKS | services.CHECKS | deployed.CHECKS)


def examine(given: Mapping[str, str]) -> tuple[CheckContext, dict[str, Finding]]:
    """Run every check. ``given`` are settings that override those in `cdk.json`. Raises nothing."""
    context = CheckContext(given)
    with ThreadPoolExecutor(len(CHECKS)) as pool:
        findings = pool.map(lambda check: run_check(check, context), CHECKS.values())
        return context, dict(zip(CHECKS, findings, strict=True))


def run_check(check: Check, context: CheckContext) -> Finding:
    """The finding of ``check``, or a finding that says why it could not be checked. Raises nothing."""
    try:
        return check(context)
    except PrerequisiteError as error:
        return skipped(f"not checked: {error}")
    except Exception as error:
        if context.is_local and isinstance(error, ClientError) and error.response["Error"]["Code"] in ("500", "501"):
            return skipped(f"{error.operation_name} is {NOT_SIMULATED}")
        reason, advice = describe_error(error)
        return warning(f"could not be checked: {reason}", advice)
