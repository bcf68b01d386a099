"""The commands for operators and auditors of the stack: `audit`, `doctor`, `redeliver`."""

from pathlib import Path
from typing import Annotated

import typer

from ekyc.cli.aws_session import new_session
from ekyc.cli.connection import AsJson, connect
from ekyc.cli.errors import CommandError
from rules.media_types import SIGNED_REPORT

Stack = Annotated[str, typer.Option(envvar="EKYC_STACK", help="Name of the stack.")]
DEFAULT_STACK = "ekyc-training"


def audit(
    context: typer.Context,
    words: Annotated[
        list[str],
        typer.Argument(
            metavar="JOB | verify FILE | key", help="A job's id, a report to verify, or key for the public key."
        ),
    ],
    html: Annotated[Path | None, typer.Option(help="Write the report as HTML to this file.")] = None,
    signed: Annotated[Path | None, typer.Option(help="Write the signed report and page to this file.")] = None,
    key: Annotated[
        Path | None, typer.Option(help="For verify: the public key. Verifies a signed file offline, without AWS.")
    ] = None,
    bucket: Annotated[
        str | None, typer.Option(help="For verify: the report bucket. Default: the stack's output AuditBucketName.")
    ] = None,
    stack: Stack = DEFAULT_STACK,
    as_json: AsJson = False,
) -> None:
    """Show or save a job's audit report, or verify that a copy of a report is genuine.

    verify compares the file with the report in the report bucket. It never trusts the file to name the bucket. With
    --key, it needs only a signed file and the public key, and no AWS. key prints the public key.

    Exit codes of verify: 0 the report is genuine. 6 the report is wrong. 7 the content agrees, but authenticity is not
    proven. 1 the file is not a report. 2 wrong usage.

    Example: ekyc audit ekyc-20261124034524-0ac337ddb8d23c1c --html report.html
    """
    from ekyc.cli import audit as reports

    match words:
        case ["verify", file]:
            if key:
                raise typer.Exit(reports.verify_signature(Path(file), key, as_json=as_json))
            raise typer.Exit(reports.verify(Path(file), bucket=bucket, stack=stack, as_json=as_json))
        case ["key"]:
            reports.print_public_key(stack)
        case [job_id] if job_id != "verify":
            api = connect(context)
            if html:
                reports.save(api, job_id, "text/html", html)
            if signed:
                reports.save(api, job_id, SIGNED_REPORT, signed)
            if as_json or not (html or signed):
                reports.show(api, job_id, as_json)
        case _:
            raise typer.BadParameter("Give a job's id, verify and a report file, or key.")


def doctor(
    command: typer.Context,
    context: Annotated[
        list[str], typer.Option("--context", "-c", metavar="KEY=VALUE", help="A setting, as for cdk deploy.")
    ] = [],  # noqa: B006  # Typer makes a list of its own
    deep: Annotated[
        bool, typer.Option("--deep", help="Also test AWS with temporary resources. Lists them before creating them.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, for scripts.")] = False,
) -> None:
    """Check for problems that would make a deployment or a first job fail. Exit code 1: there is a problem.

    Example: ekyc doctor -c labelProvider=supplied
    """
    from ekyc.cli.doctor import examination, findings
    from ekyc.cli.doctor.deep import examination as deep_examination
    from ekyc.cli.doctor.deep.probe import Probe
    from ekyc.cli.terminal import console, human

    invalid = [text for text in context if "=" not in text]
    if invalid:
        raise CommandError(f"{invalid[0]!r} is not a setting. Give KEY=VALUE, such as -c labelProvider=supplied.")
    given = {key: value for key, _, value in (text.partition("=") for text in context)}
    with console.status("Checking"):
        check_context, results = examination.examine(given)
    if deep:
        results |= deep_examination.examine(Probe(check_context, command.obj.token), human.print)
    if as_json:
        print(findings.as_json(results, is_local=check_context.is_local))
    else:
        findings.report(results)
    raise typer.Exit(findings.count(results, "problem") > 0)


def redeliver(
    function: Annotated[
        str | None,
        typer.Argument(help="A function's name in the stack, such as RecordOutcome. Default: all functions."),
    ] = None,
    stack: Stack = DEFAULT_STACK,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object for each message.")] = False,
) -> None:
    """Send events in the dead-letter queues to their functions again. Prints why each event had failed.

    Example: ekyc redeliver RecordOutcome
    """
    import json
    from dataclasses import asdict
    from datetime import UTC, datetime

    from ekyc.cli import dead_letters
    from ekyc.cli.terminal import console

    count = 0
    for letter in dead_letters.redeliver(new_session(), stack, function):
        count += 1
        if as_json:
            typer.echo(json.dumps(asdict(letter)))
            continue
        when = datetime.fromtimestamp(letter.time / 1000, UTC)
        action = "sent again" if letter.redelivered else "left in the queue"
        console.print(f"{when:%Y-%m-%d %H:%M:%S} {letter.function} {letter.job or 'no job'}: {action}. {letter.reason}")
    if not count and not as_json:
        console.print("The dead-letter queues are empty.")
