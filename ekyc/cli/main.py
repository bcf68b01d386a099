"""The command `ekyc`: registers the commands and prints their errors.

Modules that are slow to import (boto3, cv2, httpx, the local AWS) are imported inside the commands that need them.
"""

import sys
from typing import Annotated

import typer

from ekyc.cli import job_commands, local_commands, model_commands, operator_commands, people_commands
from ekyc.cli.connection import Connection
from ekyc.cli.errors import ERROR, EXIT_CODES, CommandError
from ekyc.localaws.errors import LocalAwsError

cli = typer.Typer(
    help="Train a model that finds identity documents in photos, on AWS or on this machine.",
    epilog=EXIT_CODES,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)

TRAIN, PARTS, MODEL = "Complete job", "Steps of a job", "Model"
MACHINE, OPERATE = "On this machine", "Operations"


@cli.callback(epilog=EXIT_CODES)
def connection(
    context: typer.Context,
    api_url: Annotated[
        str | None,
        typer.Option(envvar="EKYC_API_URL", help="The stack's output ApiUrl, or the URL that ekyc local prints."),
    ] = None,
    token: Annotated[
        str | None,
        typer.Option(
            envvar="EKYC_TOKEN", help="ID token of a Cognito user. Default: your AWS credentials sign the calls."
        ),
    ] = None,
) -> None:
    """Train a model that finds identity documents in photos, on AWS or on this machine.

    Example: ekyc train photos
    """
    context.obj = Connection(api_url, token or None)


cli.command(rich_help_panel=TRAIN)(job_commands.train)
for command in (
    job_commands.create,
    job_commands.upload,
    job_commands.start,
    job_commands.status,
    job_commands.watch,
    job_commands.labels,
    job_commands.stop,
    job_commands.resume,
    job_commands.delete,
):
    cli.command(rich_help_panel=PARTS)(command)
cli.command("list", rich_help_panel=PARTS)(job_commands.list_jobs)
cli.add_typer(model_commands.model, name="model", rich_help_panel=MODEL)
cli.command(rich_help_panel=MODEL)(model_commands.detect)
cli.command("samples", rich_help_panel=MACHINE)(local_commands.draw_samples)
cli.command(rich_help_panel=MACHINE)(local_commands.demo)
cli.command(rich_help_panel=MACHINE)(local_commands.local)
cli.command(rich_help_panel=OPERATE)(operator_commands.audit)
cli.command(rich_help_panel=OPERATE)(operator_commands.doctor)
cli.command(rich_help_panel=OPERATE)(operator_commands.redeliver)
cli.add_typer(people_commands.people, name="people", rich_help_panel=OPERATE)


def app() -> None:
    """Run the command line. Prints an error without a stack trace to standard error and exits with 1."""
    try:
        cli()
    except (CommandError, LocalAwsError) as error:
        from ekyc.cli.terminal import printable

        print(f"ekyc: {printable(str(error))}", file=sys.stderr)
        sys.exit(ERROR)
