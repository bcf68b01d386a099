"""Fetches audit reports, and verifies that a copy of a report is genuine.

This command must derive the same report from the same history as the function that makes reports. It therefore runs
the function's code, `pipeline.audit`, in a separate process, because `ekyc` does not import code that runs in
Lambda.
"""

import json
import subprocess
import sys
from pathlib import Path

from rich.table import Table
from rich.text import Text

from ekyc.cli.api import Api
from ekyc.cli.aws_session import new_session
from ekyc.cli.errors import OK, UNPROVEN, WRONG, CommandError
from ekyc.cli.terminal import console, human, print_json

BUCKET_OUTPUT, MACHINE_OUTPUT, KEY_OUTPUT = "AuditBucketName", "StateMachineArn", "AuditSigningKeyArn"
LAMBDAS = Path(__file__).resolve().parents[2] / "lambdas"
STYLES = {"ok": "green", "wrong": "bold red", "not checked": "yellow", "noted": "bold yellow"}

# For each verdict of `pipeline.audit.verify` and `pipeline.audit.signature`: the exit code and the message.
VERDICTS = {
    "genuine": (
        OK,
        "The report is genuine: it is locked in the report bucket, as the first version for this end of the job.",
    ),
    "genuine by its lock alone": (
        OK,
        "The report is locked in the report bucket, as the first version for this end of the job, so it has not "
        "changed since it was stored. The history of the execution could not be compared with the history in Step "
        "Functions, so only the report shows what the execution did.",
    ),
    "genuine by its signature": (
        OK,
        "The report and its page are genuine: the owner of the key signed exactly these files. What the signature does "
        "not prove is listed as not checked.",
    ),
    "wrong": (WRONG, "The report is wrong: it is not the report that the pipeline made."),
    "not proven": (
        UNPROVEN,
        "Authenticity is not proven: the parts that were checked agree, but some parts were not checked.",
    ),
}

NOT_LAST = "The report does not describe the last end of the job: see `noted` for the later report or execution."


def show(api: Api, job_id: str, as_json: bool) -> None:
    """Print the answers of the job's report. With ``as_json``, print the stored report unchanged."""
    content = api.audit(job_id, "application/json")
    if as_json:
        print(content.decode(), end="")
        return
    report = json.loads(content)
    for answer in report["answers"]:
        console.print(answer["question"], style="bold")
        for line in answer["answer"].splitlines():
            console.print(line)
        console.print()
    console.print(f"{report['stored']}, seal {report['sha256']}")


def save(api: Api, job_id: str, media_type: str, file: Path) -> None:
    """Write the job's report to ``file`` in a media type."""
    content = api.audit(job_id, media_type)
    try:
        file.write_bytes(content)
    except OSError as error:
        raise CommandError(f"{file} cannot be written: {error.strerror}.") from error
    human.print(f"The report is in {file}.")


def verify(file: Path, *, bucket: str | None, stack: str, as_json: bool) -> int:
    """Print for each part of the report in ``file`` whether it is genuine. Returns the exit code.

    ``bucket`` is the report bucket. If it is None, the outputs of ``stack`` name it and the state machine. The file is
    never trusted to name them.

    Raises:
        CommandError: the file is not a report.
    """
    bucket, machine, why = (bucket, "", "") if bucket else _find_bucket(stack)
    return _print_verdict(file, as_json, "verify", bucket, machine, why)


def verify_signature(file: Path, key: Path, *, as_json: bool) -> int:
    """Print for each part of the signed ``file`` whether it is genuine, by the public key alone. Returns the exit code.

    Raises:
        CommandError: the file is not signed, or the key cannot be used.
    """
    return _print_verdict(file, as_json, "signature", str(key.absolute()))


def print_public_key(stack: str) -> None:
    """Print the public key of the stack's signing key, as PEM.

    Raises:
        CommandError: AWS did not return the key.
    """
    from botocore.exceptions import BotoCoreError, ClientError
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_der_public_key

    outputs, why = _find_outputs(stack, KEY_OUTPUT)
    if why:
        raise CommandError(why)
    try:
        answer = new_session().client("kms").get_public_key(KeyId=outputs[KEY_OUTPUT])
    except ClientError as error:
        raise CommandError(f"GetPublicKey failed with {error.response['Error']['Code']}.") from None
    except BotoCoreError as error:
        raise CommandError(f"GetPublicKey failed: {str(error).rstrip('.')}.") from None
    public = load_der_public_key(answer["PublicKey"])
    print(public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode(), end="")


def _print_verdict(file: Path, as_json: bool, module: str, *arguments: str) -> int:
    command = [sys.executable, "-m", f"pipeline.audit.{module}", str(file.absolute()), *arguments]
    run = subprocess.run(command, cwd=LAMBDAS, capture_output=True, text=True)  # noqa: S603
    if run.returncode == 2:
        raise CommandError(f"{file}: {run.stderr.strip()}")
    if run.returncode:
        raise CommandError(f"{file} could not be verified: {(run.stderr.strip().splitlines() or ['no reason'])[-1]}")
    answer = json.loads(run.stdout)
    findings, (code, verdict) = answer["findings"], VERDICTS[answer["verdict"]]
    if answer["hasLater"]:
        verdict += f"\n{NOT_LAST}"
    if as_json:
        print_json(findings)
        human.print(verdict)
        return code
    count = {result: sum(finding["result"] == result for finding in findings) for result in STYLES}
    table = Table()
    for heading in ("part", "result", "what was found"):
        table.add_column(heading, overflow="fold")
    for finding in findings:
        table.add_row(finding["part"], Text(finding["result"], STYLES[finding["result"]]), finding["words"])
    console.print(table)
    console.print(", ".join(f"{count[result]} {result}" for result in STYLES) + ".")
    console.print(verdict)
    return code


def _find_bucket(stack: str) -> tuple[str, str, str]:
    """The report bucket and the state machine's ARN in the stack's outputs, or empty strings and the reason."""
    outputs, why = _find_outputs(stack, BUCKET_OUTPUT, MACHINE_OUTPUT)
    return (
        ("", "", f"{why} Give --stack or --bucket.") if why else (outputs[BUCKET_OUTPUT], outputs[MACHINE_OUTPUT], "")
    )


def _find_outputs(stack: str, *names: str) -> tuple[dict[str, str], str]:
    """The stack's outputs, or the reason why one of ``names`` is unknown."""
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        (description,) = new_session().client("cloudformation").describe_stacks(StackName=stack)["Stacks"]
    except ClientError as error:
        return {}, f"DescribeStacks of {stack} failed with {error.response['Error']['Code']}."
    except BotoCoreError as error:
        return {}, f"DescribeStacks of {stack} failed: {str(error).rstrip('.')}."
    outputs = {output["OutputKey"]: output["OutputValue"] for output in description.get("Outputs", [])}
    missing = next((name for name in names if name not in outputs), None)
    return outputs, f"The stack {stack} has no output {missing}." if missing else ""
