"""The API that a command calls, and the caller's identity: the options of `ekyc` that precede the command's name."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import typer

from ekyc.cli.errors import CommandError

if TYPE_CHECKING:
    from ekyc.cli.api import Api

AsJson = Annotated[bool, typer.Option("--json", help="Print the result as JSON. Messages go to standard error.")]
JobId = Annotated[str, typer.Argument(metavar="JOB", help="The job's id.")]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]


@dataclass(frozen=True)
class Connection:
    """The API's root URL, and the ID token of a Cognito user. Without a token, AWS credentials sign the calls."""

    url: str | None
    token: str | None


def connect(context: typer.Context) -> Api:
    """A client of the API that the options or EKYC_API_URL name.

    Raises:
        CommandError: no URL is given.
    """
    from ekyc.cli.api import Api  # imported late: --help must not wait for httpx

    connection: Connection = context.obj
    if not connection.url:
        raise CommandError(
            "EKYC_API_URL is not set. Set it to the stack's output ApiUrl, or export the line that `ekyc local` prints."
        )
    return Api(connection.url, token=connection.token)


def confirm(question: str, yes: bool) -> None:
    """Ask the user to confirm an action that cannot be undone. With ``yes``, do not ask.

    Raises:
        CommandError: the answer is no, or standard input is not a terminal.
    """
    import sys

    from ekyc.cli.terminal import printable

    if yes:
        return
    if not sys.stdin.isatty():
        raise CommandError(f"{question} Standard input is not a terminal. To confirm, give --yes.")
    if not typer.confirm(printable(question), err=True):
        raise CommandError("Nothing was done.")
