"""Which API a command talks to, and as whom: options of `ekyc` itself, before the command's name."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import typer

from ekyc.cli.errors import CommandError

if TYPE_CHECKING:
    from ekyc.cli.api import Api

AsJson = Annotated[bool, typer.Option("--json", help="Print the result as JSON; words go to standard error.")]
JobId = Annotated[str, typer.Argument(metavar="JOB", help="The job's id.")]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]


@dataclass(frozen=True)
class Connection:
    """The API's root URL and the ID token of a Cognito user, if given; without one, AWS credentials sign the calls."""

    url: str | None
    token: str | None


def connect(context: typer.Context) -> Api:
    """The client of the API that the command was told of.

    Raises:
        CommandError: no API was named.
    """
    from ekyc.cli.api import Api  # httpx takes a while, and --help need not wait for it

    connection: Connection = context.obj
    if not connection.url:
        raise CommandError(
            "EKYC_API_URL is not set: export it as `ekyc local` prints it, or the stack's output ApiUrl."
        )
    return Api(connection.url, token=connection.token)


def confirm(question: str, yes: bool) -> None:
    """Ask before something that cannot be undone.

    Raises:
        CommandError: the answer is no, or there is nobody to ask.
    """
    import sys

    from ekyc.cli.terminal import printable

    if yes:
        return
    if not sys.stdin.isatty():
        raise CommandError(f"{question} Nobody is there to answer: give --yes if that is what you want.")
    if not typer.confirm(printable(question), err=True):
        raise CommandError("Nothing was done.")
