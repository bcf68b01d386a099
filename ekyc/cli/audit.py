"""Fetches audit reports, and verifies that a JSON or HTML copy of a report is genuine.

This command must derive the same report from the same history as the function that makes reports. It therefore runs
the function's code, `pipeline.audit.verify`, in a separate process, because `ekyc` does not import code that runs in
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

BUCKET_OUTPUT, MACHINE_OUTPUT = "AuditBucketName", "StateMachineArn"
LAMBDAS = Path(__file__).resolve().parents[2] / "lambdas"
STYLES = {"ok": "green", "wrong": "bold red", "not checked": "yellow", "noted": "bold yellow"}

# For each verdict of `pipeline.audit.verify`: the exit code and the message.
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


def save_page(api: Api, job_id: str, file: Path) -> None:
    """Write the job's report to ``file`` as HTML."""
    content = api.audit(job_id, "text/html")
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
    bucket, machine, why = (bucket, "", "") if bucket else _find_outputs(stack)
    command = [sys.executable, "-m", "pipeline.audit.verify", str(file.absolute()), bucket, machine, why]
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


def _find_outputs(stack: str) -> tuple[str, str, str]:
    """The report bucket and the state machine's ARN in the stack's outputs, or empty strings and the reason."""
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        (description,) = new_session().client("cloudformation").describe_stacks(StackName=stack)["Stacks"]
    except ClientError as error:
        code = error.response["Error"]["Code"]
        return "", "", f"DescribeStacks of {stack} failed with {code}. Give --stack or --bucket."
    except BotoCoreError as error:
        return "", "", f"DescribeStacks of {stack} failed: {str(error).rstrip('.')}."
    outputs = {output["OutputKey"]: output["OutputValue"] for output in description.get("Outputs", [])}
    for name in (BUCKET_OUTPUT, MACHINE_OUTPUT):
        if name not in outputs:
            return "", "", f"The stack {stack} has no output {name}. Give --stack or --bucket."
    return outputs[BUCKET_OUTPUT], outputs[MACHINE_OUTPUT], ""
