"""The commands of whoever deploys and operates the stack: `doctor`, `redeliver`."""

from typing import Annotated

import typer

from ekyc.cli.errors import CommandError


def doctor(
    context: Annotated[
        list[str], typer.Option("--context", "-c", metavar="KEY=VALUE", help="A setting, as for cdk deploy.")
    ] = [],  # noqa: B006  # Typer makes a list of its own
    as_json: Annotated[bool, typer.Option("--json", help="For scripts.")] = False,
) -> None:
    """Look, before a deployment or a first job, at what would make it fail. Exit code 1: there is a problem.

    Example: ekyc doctor -c labelProvider=supplied
    """
    from ekyc.cli import doctor
    from ekyc.cli.terminal import console

    wrong = [text for text in context if "=" not in text]
    if wrong:
        raise CommandError(f"{wrong[0]!r} is no setting: give KEY=VALUE, such as -c labelProvider=supplied.")
    given = {key: value for key, _, value in (text.partition("=") for text in context)}
    with console.status("Looking"):
        patient, findings = doctor.examine(given)
    if as_json:
        print(doctor.as_json(patient, findings))
    else:
        doctor.report(findings)
    raise typer.Exit(doctor.count(findings, "problem") > 0)


def redeliver(
    function: Annotated[
        str | None, typer.Argument(help="A function's name in the stack, such as RecordOutcome; all without it.")
    ] = None,
    stack: Annotated[str, typer.Option(envvar="EKYC_STACK", help="The stack's name.")] = "ekyc-training",
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object a message.")] = False,
) -> None:
    """Give the functions once more what they could not handle; says of each message why that was.

    Example: ekyc redeliver RecordOutcome
    """
    import json
    from dataclasses import asdict
    from datetime import UTC, datetime

    import boto3

    from ekyc.cli import dead_letters
    from ekyc.cli.terminal import console

    count = 0
    for letter in dead_letters.redeliver(boto3.Session(), stack, function):
        count += 1
        if as_json:
            typer.echo(json.dumps(asdict(letter)))
            continue
        when = datetime.fromtimestamp(letter.time / 1000, UTC)
        done = "sent again" if letter.redelivered else "left in the queue"
        console.print(f"{when:%Y-%m-%d %H:%M:%S} {letter.function} {letter.job or 'no job'}: {done}. {letter.reason}")
    if not count and not as_json:
        console.print("The dead-letter queues are empty.")
