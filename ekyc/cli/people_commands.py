"""The commands for the people of the labelling page: `people invite`, `people list`, `people remove`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from ekyc.cli.aws_session import new_session
from ekyc.cli.connection import AsJson, Connection, Yes, confirm
from ekyc.cli.operator_commands import DEFAULT_STACK, Stack

if TYPE_CHECKING:
    from ekyc.cli.people import People

people = typer.Typer(no_args_is_help=True)
Email = Annotated[str, typer.Argument(metavar="EMAIL", help="The person's e-mail address.")]


@people.callback()
def manage_people() -> None:
    """Invite people to the labelling page, list them, remove them.

    Example: ekyc people invite jane@example.com
    """


@people.command()
def invite(
    context: typer.Context,
    email: Email,
    reviewer: Annotated[bool, typer.Option("--reviewer", help="The person may also review labels.")] = False,
    stack: Stack = DEFAULT_STACK,
    as_json: AsJson = False,
) -> None:
    """Invite a person to label photos. Sends the invitation again if the person has never signed in.

    Example: ekyc people invite jane@example.com --reviewer
    """
    from dataclasses import asdict

    from ekyc.cli.terminal import console, print_json

    invitation = _people(context, stack).invite(email, reviewer=reviewer)
    if as_json:
        print_json(asdict(invitation))
        return
    console.print(f"{email} is in {' and '.join(invitation.groups)}.")
    if invitation.temporary_password:
        console.print(f"The local AWS sends no e-mail. The temporary password is {invitation.temporary_password}")
    elif invitation.is_sent:
        console.print("Cognito has sent a temporary password, which is valid for three days.")
    else:
        console.print("The person has an account already, and signs in with the password of this account.")
    console.print(f"The labelling page is {invitation.page}")


@people.command("list")
def list_people(context: typer.Context, stack: Stack = DEFAULT_STACK, as_json: AsJson = False) -> None:
    """List the people who may use the labelling page.

    Example: ekyc people list
    """
    from dataclasses import asdict

    from rich.table import Table

    from ekyc.cli.terminal import console, print_json

    found = _people(context, stack).list()
    if as_json:
        print_json([asdict(person) for person in found])
        return
    table = Table("E-mail address", "Groups", "Status", box=None)
    for person in found:
        table.add_row(person.email, ", ".join(person.groups), person.status)
    console.print(table if found else "No people are invited yet.")


@people.command()
def remove(context: typer.Context, email: Email, stack: Stack = DEFAULT_STACK, yes: Yes = False) -> None:
    """Remove a person from the labelling page. An open page stops working within an hour. Asks for confirmation.

    Example: ekyc people remove jane@example.com
    """
    from ekyc.cli.terminal import console

    found = _people(context, stack)
    confirm(f"Remove {email} from the labelling page?", yes)
    is_deleted = found.remove(email)
    console.print(f"{email} is removed" + (", and the account is deleted." if is_deleted else ". The account is kept."))


def _people(context: typer.Context, stack: str) -> People:
    from ekyc.cli.people import People

    connection: Connection = context.obj
    return People(new_session(connection.url), stack)
