"""Makes the checks: side by side, and one that cannot be made says so in its own row."""

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor

from botocore.exceptions import ClientError

from ekyc.cli.account import NOT_PLAYED, ToldElsewhereError, in_words
from ekyc.cli.doctor import basics, deployed, services
from ekyc.cli.doctor.findings import Finding, skipped, warning
from ekyc.cli.doctor.patient import Check, Checks, Patient

CHECKS = Checks(basics.CHECKS | services.CHECKS | deployed.CHECKS)


def examine(given: Mapping[str, str]) -> tuple[Patient, dict[str, Finding]]:
    """Make every check; ``given`` are settings beyond those of `cdk.json`. What one check meets ends no other."""
    patient = Patient(given)
    with ThreadPoolExecutor(len(CHECKS)) as pool:
        findings = pool.map(lambda make: answer(make, patient), CHECKS.values())
        return patient, dict(zip(CHECKS, findings, strict=True))


def answer(make: Check, patient: Patient) -> Finding:
    try:
        return make(patient)
    except ToldElsewhereError as error:
        return skipped(f"not checked: {error}")
    except Exception as error:
        if patient.is_local and isinstance(error, ClientError) and error.response["Error"]["Code"] in ("500", "501"):
            return skipped(f"{error.operation_name} is {NOT_PLAYED}")
        why, advice = in_words(error)
        return warning(f"could not be checked: {why}", advice)
