"""Fetches an audit report and says whether a copy of one, as JSON or as a page, is genuine.

The function that makes a report and this command must derive the same from the same history, so the command runs the
function's own code, `pipeline.audit.verify`, in a process of its own: this package imports nothing that runs in Lambda.
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

BUCKET_OUTPUT = "AuditBucketName"
LAMBDAS = Path(__file__).resolve().parents[2] / "lambdas"
LOOKS = {"ok": "green", "wrong": "bold red", "not checked": "yellow", "noted": "bold yellow"}

# What `pipeline.audit.verify` says of a file as a whole: the exit code, and the words.
VERDICTS = {
    "genuine": (OK, "It is genuine: the bucket of reports has it under lock, as the first version of its end."),
    "genuine by its lock alone": (
        OK,
        "The bucket of reports has it under lock, as the first version of its end, so nobody has changed it since it "
        "was stored. What the execution did could not be compared: that is the word of the report alone.",
    ),
    "wrong": (WRONG, "Something is wrong: this is not the report that the pipeline made."),
    "not proven": (
        UNPROVEN,
        "As far as it was checked, the content agrees; authenticity is not proven: see what was not checked.",
    ),
}


def show(api: Api, job_id: str, as_json: bool) -> None:
    """Print the answers of the job's report, or the report itself, byte by byte as it is kept."""
    content = api.audit(job_id, "application/json")
    if as_json:
        print(content.decode(), end="")
        return
    report = json.loads(content)
    for one in report["answers"]:
        console.print(one["question"], style="bold")
        for line in one["answer"].splitlines():
            console.print(line)
        console.print()
    console.print(f"{report['stored']}, seal {report['sha256']}")


def save_page(api: Api, job_id: str, file: Path) -> None:
    """Write the job's report to ``file`` as a page."""
    content = api.audit(job_id, "text/html")
    try:
        file.write_bytes(content)
    except OSError as error:
        raise CommandError(f"{file} cannot be written: {error.strerror}.") from error
    human.print(f"The report is in {file}.")


def verify(file: Path, *, bucket: str | None, stack: str, as_json: bool) -> int:
    """Say of each part of the report in ``file`` whether it is genuine; answers the exit code.

    ``bucket`` is the bucket of reports; without it the outputs of ``stack`` name it. The file never does.

    Raises:
        CommandError: the file is no report.
    """
    bucket, why = (bucket, "") if bucket else _find_bucket(stack)
    command = [sys.executable, "-m", "pipeline.audit.verify", str(file.absolute()), bucket, why]
    run = subprocess.run(command, cwd=LAMBDAS, capture_output=True, text=True)  # noqa: S603
    if run.returncode == 2:
        raise CommandError(f"{file}: {run.stderr.strip()}")
    if run.returncode:
        raise CommandError(f"{file} could not be verified: {(run.stderr.strip().splitlines() or ['no reason'])[-1]}")
    answer = json.loads(run.stdout)
    findings, (code, words) = answer["findings"], VERDICTS[answer["verdict"]]
    if as_json:
        print_json(findings)
        human.print(words)
        return code
    count = {result: sum(one["result"] == result for one in findings) for result in LOOKS}
    table = Table()
    for heading in ("part", "result", "what was found"):
        table.add_column(heading, overflow="fold")
    for one in findings:
        table.add_row(one["part"], Text(one["result"], LOOKS[one["result"]]), one["words"])
    console.print(table)
    console.print(", ".join(f"{count[result]} {result}" for result in LOOKS) + ".")
    console.print(words)
    return code


def _find_bucket(stack: str) -> tuple[str, str]:
    """The bucket of reports that the stack's outputs name; or nothing, and why."""
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        (found,) = new_session().client("cloudformation").describe_stacks(StackName=stack)["Stacks"]
    except ClientError as error:
        return "", f"DescribeStacks of {stack} answered {error.response['Error']['Code']}. Give --stack or --bucket."
    except BotoCoreError as error:
        return "", f"AWS cannot be asked: {str(error).rstrip('.')}."
    outputs = {output["OutputKey"]: output["OutputValue"] for output in found.get("Outputs", [])}
    if BUCKET_OUTPUT not in outputs:
        return "", f"The stack {stack} has no output {BUCKET_OUTPUT}. Give --stack or --bucket."
    return outputs[BUCKET_OUTPUT], ""
