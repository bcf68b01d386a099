"""The people of the labelling page: users of the user pool that are in the page's groups."""

from __future__ import annotations

import re
import secrets
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import boto3
from botocore.exceptions import BotoCoreError, ClientError

from ekyc.cli.account import describe_error
from ekyc.cli.errors import CommandError
from rules.people import GROUPS, LABELLERS, REVIEWERS

EMAIL = re.compile(r"[^@\s\"\\]+@[^@\s\"\\]+\.[^@\s\"\\]+")
INVITED = "FORCE_CHANGE_PASSWORD"  # Cognito's status of a person who has not signed in yet


@dataclass(frozen=True)
class Person:
    """A person in a group of the page. ``status`` is "invited" before the first sign-in, "active" or "disabled"."""

    email: str
    groups: tuple[str, ...]
    status: str


@dataclass(frozen=True)
class Invitation:
    """What was done.

    ``is_sent`` says whether Cognito has sent an e-mail with a temporary password. The local AWS sends none, so there
    ``temporary_password`` is the password. A person who has signed in before keeps the password and gets no e-mail.
    """

    email: str
    groups: tuple[str, ...]
    page: str
    is_sent: bool
    temporary_password: str | None


class People:
    """The people of the labelling page of a deployed stack. Every method raises CommandError if AWS refuses a call."""

    def __init__(self, session: boto3.Session, stack: str) -> None:
        """Find the user pool of the stack.

        Raises:
            CommandError: there is no such stack, or it has no labelling page.
        """
        self._cognito = session.client("cognito-idp")
        cloudformation = session.client("cloudformation")
        with _in_words():
            try:
                (found,) = cloudformation.describe_stacks(StackName=stack)["Stacks"]
            except ClientError as error:
                if error.response["Error"]["Code"] == "ValidationError":
                    raise CommandError(f"There is no stack {stack} in this account and Region.") from error
                raise
            outputs = {output["OutputKey"]: output["OutputValue"] for output in found.get("Outputs", [])}
            if "LabellingUserPool" not in outputs:
                raise CommandError(
                    f"Stack {stack} has no labelling page. Deploy it with the setting labellingUserPool."
                )
            self._pool = outputs["LabellingUserPool"]
            self._page = f"{outputs['ApiUrl']}/labelling/"
            self._sends_email = outputs["LabellingSignInUrl"].startswith("https://")  # the local AWS sends none
            pages = cloudformation.get_paginator("list_stack_resources").paginate(StackName=stack)
            resources = [resource for page in pages for resource in page["StackResourceSummaries"]]
        self._is_own_pool = self._pool in (resource.get("PhysicalResourceId") for resource in resources)

    def invite(self, email: str, *, reviewer: bool) -> Invitation:
        """Add a person to the groups, and invite the person if there is no such user or the user never signed in.

        Raises:
            CommandError: this is no e-mail address, or several users have it.
        """
        groups = (LABELLERS, REVIEWERS) if reviewer else (LABELLERS,)
        with _in_words():
            user = self._find(email)
            password = None if self._sends_email or not _is_invited(user) else _new_password()
            if user is None:
                username = self._create(email, password)
            else:
                username = user["Username"]
                if _is_invited(user):
                    self._invite_again(username, password)
            for group in groups:
                self._cognito.admin_add_user_to_group(UserPoolId=self._pool, Username=username, GroupName=group)
        is_sent = _is_invited(user) and self._sends_email
        return Invitation(email, groups, self._page, is_sent=is_sent, temporary_password=password)

    def list(self) -> list[Person]:
        """Return the people in the groups, by e-mail address."""
        users: dict[str, dict[str, Any]] = {}
        groups: dict[str, list[str]] = {}
        with _in_words():
            for group in GROUPS:
                pages = self._cognito.get_paginator("list_users_in_group")
                for page in pages.paginate(UserPoolId=self._pool, GroupName=group):
                    for user in page["Users"]:
                        users[user["Username"]] = user
                        groups.setdefault(user["Username"], []).append(group)
        people = [Person(_email(user), tuple(groups[name]), _status(user)) for name, user in users.items()]
        return sorted(people, key=lambda person: person.email)

    def remove(self, email: str) -> bool:
        """Remove a person from the groups and end the person's sessions. Return whether the user was deleted.

        A user of a pool of the stack's own is deleted. A user of an existing pool is kept.

        Raises:
            CommandError: no user of the pool has this address.
        """
        with _in_words():
            user = self._find(email)
            if user is None:
                raise CommandError(f"The user pool {self._pool} has no user with the e-mail address {email}.")
            who = {"UserPoolId": self._pool, "Username": user["Username"]}
            for group in GROUPS:
                self._cognito.admin_remove_user_from_group(**who, GroupName=group)
            self._cognito.admin_user_global_sign_out(**who)
            if self._is_own_pool:
                self._cognito.admin_delete_user(**who)
        return self._is_own_pool

    def _find(self, email: str) -> dict[str, Any] | None:
        """Return the user with this address, or None."""
        if not EMAIL.fullmatch(email):  # it is part of the filter
            raise CommandError(f"{email!r} is not an e-mail address.")
        users = self._cognito.list_users(UserPoolId=self._pool, Filter=f'email = "{email}"')["Users"]
        if len(users) > 1:
            raise CommandError(f"{len(users)} users of the pool {self._pool} have the e-mail address {email}.")
        return dict(users[0]) if users else None

    def _create(self, email: str, password: str | None) -> str:
        """Create the user and return its name. In a pool whose users have other names, the name is random."""
        pool = self._cognito.describe_user_pool(UserPoolId=self._pool)["UserPool"]
        response = self._cognito.admin_create_user(
            UserPoolId=self._pool,
            Username=email if "email" in pool.get("UsernameAttributes", []) else str(uuid.uuid4()),
            UserAttributes=[{"Name": "email", "Value": email}, {"Name": "email_verified", "Value": "true"}],
            **({"TemporaryPassword": password} if password else {"DesiredDeliveryMediums": ["EMAIL"]}),
        )
        return str(response["User"]["Username"])

    def _invite_again(self, username: str, password: str | None) -> None:
        """Send the invitation again, with a new temporary password."""
        who = {"UserPoolId": self._pool, "Username": username}
        if password:
            self._cognito.admin_set_user_password(**who, Password=password, Permanent=False)
        else:
            self._cognito.admin_create_user(**who, MessageAction="RESEND", DesiredDeliveryMediums=["EMAIL"])


def _new_password() -> str:
    """Return a random password with the four kinds of characters that the pool's policy requires."""
    return f"Aa1-{secrets.token_urlsafe(15)}"


def _is_invited(user: dict[str, Any] | None) -> bool:
    """Whether the person gets an invitation: a new user, or one who never signed in."""
    return user is None or user["UserStatus"] == INVITED


def _status(user: dict[str, Any]) -> str:
    if not user["Enabled"]:
        return "disabled"
    return "invited" if _is_invited(user) else "active"


def _email(user: dict[str, Any]) -> str:
    attributes = {attribute["Name"]: attribute["Value"] for attribute in user["Attributes"]}
    return str(attributes.get("email", user["Username"]))


@contextmanager
def _in_words() -> Iterator[None]:
    """A context in which an error of AWS becomes a CommandError."""
    try:
        yield
    except (ClientError, BotoCoreError) as error:
        reason, advice = describe_error(error)
        raise CommandError(f"AWS refused a call: {reason}. {advice}") from error
