"""Fetches an audit report and says whether a copy of one is genuine.

The function that makes a report and this command must derive the same from the same history, so the command runs the
function's own code, `pipeline.audit.verify`, in a process of its own: this package imports nothing that runs in Lambda.
"""

import json
import subprocess
import sys
from pathlib import Path

from rich.markup import escape
from rich.table import Table

from ekyc.cli.api import Api
from ekyc.cli.errors import CommandError
from ekyc.cli.terminal import console, human, print_json

LAMBDAS = Path(__file__).resolve().parents[2] / "lambdas"
LOOKS = {"ok": "green", "wrong": "bold red", "not checked": "yellow"}


def show(api: Api, job_id: str, as_json: bool) -> None:
    """Print the answers of the job's report, or the report itself, byte by byte as it is kept."""
    content = api.audit(job_id, "application/json")
    if as_json:
        print(content.decode(), end="")
        return
    report = json.loads(content)
    for one in report["answers"]:
        console.print(one["question"], style="bold", highlight=False)
        console.print(f"{one['answer']}\n", highlight=False, markup=False)
    console.print(f"{report['stored']}, seal {report['sha256']}", highlight=False, markup=False)


def save_page(api: Api, job_id: str, file: Path) -> None:
    """Write the job's report to ``file`` as a page."""
    content = api.audit(job_id, "text/html")
    try:
        file.write_bytes(content)
    except OSError as error:
        raise CommandError(f"{file} cannot be written: {error.strerror}.") from error
    human.print(f"The report is in {file}.", markup=False)


def verify(file: Path, as_json: bool) -> bool:
    """Say of each part of the report in ``file`` whether it is genuine; True when nothing is wrong.

    Raises:
        CommandError: the file is no report.
    """
    command = [sys.executable, "-m", "pipeline.audit.verify", str(file.absolute())]
    run = subprocess.run(command, cwd=LAMBDAS, capture_output=True, text=True)  # noqa: S603
    if run.returncode == 2:
        raise CommandError(f"{file}: {run.stderr.strip()}")
    if run.returncode:
        raise CommandError(f"{file} could not be verified: {(run.stderr.strip().splitlines() or ['no reason'])[-1]}")
    findings = json.loads(run.stdout)
    count = {result: sum(one["result"] == result for one in findings) for result in LOOKS}
    if as_json:
        print_json(findings)
        return not count["wrong"]
    table = Table("part", "result", "what was found")
    for one in findings:
        table.add_row(escape(one["part"]), f"[{LOOKS[one['result']]}]{one['result']}", escape(one["words"]))
    console.print(table)
    console.print(f"{count['ok']} ok, {count['wrong']} wrong, {count['not checked']} not checked.")
    return not count["wrong"]
