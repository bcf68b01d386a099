"""The state that the deep checks share: the account, the name of created resources, deadlines and clean-up."""

import math
import secrets
import time
from collections.abc import Callable, Container, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

from botocore.exceptions import ClientError

from ekyc.cli.account import NotCheckedError, describe_error
from ekyc.cli.doctor.context import CheckContext
from ekyc.cli.doctor.findings import Finding, ok, problem

NAMES = "ekyc-doctor-"
"""Prefix of the names of created resources. The functions' roles are allowed names that begin with ``ekyc-``."""

MOST_SECONDS = 7 * 60  # longest wait of all checks together. Clean-up can take two more minutes.
SECONDS_BETWEEN_LOOKS = 2.0

Answer = TypeVar("Answer")


class Probe:
    """A run of the deep checks. ``token`` is a user's ID token, if the API needs one."""

    def __init__(self, context: CheckContext, token: str | None = None) -> None:
        self.context = context
        self.token = token
        self.name = f"{NAMES}{secrets.token_hex(4)}"
        self.role_copies: dict[str, Any] = {}
        """Copies of functions' roles, by function. `role_copies.find_or_make` makes them."""
        self._created: list[tuple[str, Callable[[], object]]] = []
        self.deadline = time.monotonic() + MOST_SECONDS
        """End of all waits, on the clock time.monotonic."""

    def delete_later(self, thing: str, delete: Callable[[], object]) -> None:
        """Make `clean_up` call ``delete``. ``thing`` names the resource, which may not exist yet."""
        self._created.append((thing, delete))

    @contextmanager
    def making(self, thing: str, delete: Callable[[], object]) -> Iterator[None]:
        """Make `clean_up` call ``delete`` for the resource created in this context, unless AWS refuses to create it.

        ``delete`` must not fail if the resource does not exist: Ctrl-C can arrive between a call and its response.
        """
        entry = (thing, delete)
        self._created.append(entry)
        try:
            yield
        except ClientError as error:
            if error.response["ResponseMetadata"]["HTTPStatusCode"] < 500:  # AWS has created nothing
                self._created.remove(entry)
            raise

    def put_object(self, key: str, content: bytes) -> None:
        """Put an object into the stack's bucket."""
        s3, bucket = self.context.client("s3"), self.context.outputs["BucketName"]
        with self.making(f"object {key}", lambda: s3.delete_object(Bucket=bucket, Key=key)):
            s3.put_object(Bucket=bucket, Key=key, Body=content)

    def wait_for(self, look: Callable[[], Answer | None], seconds: float, what: str) -> Answer:
        """Call ``look`` until it returns a true value, and return that.

        Raises:
            NotCheckedError: ``look`` returned no true value within ``seconds``. ``what`` ends the message.
        """
        deadline = min(time.monotonic() + seconds, self.deadline)
        while not (answer := look()):
            if time.monotonic() > deadline:
                raise NotCheckedError(
                    f"after {seconds:g} seconds {what}",
                    "Try again. If the problem persists, check the AWS Health Dashboard.",
                )
            time.sleep(SECONDS_BETWEEN_LOOKS)
        return answer

    def clean_up(self) -> Finding:
        """Delete the created resources, newest first. A deletion that fails does not stop the others."""
        count, left = len(self._created), []
        self.deadline = math.inf  # each deletion has its own time limit
        while self._created:
            thing, delete = self._created.pop()
            try:
                delete()
            except Exception as error:
                left.append(f"{thing} ({describe_error(error)[0]})")
            except KeyboardInterrupt:
                left += [thing, *(thing for thing, _ in self._created)]
                self._created.clear()
        if left:
            return problem(
                f"not deleted: {'; '.join(left)}", "Delete these yourself: docs/aws-checks.md, 'What is left'."
            )
        resources = f"{count} {'resource' if count == 1 else 'resources'}"
        return ok(f"{resources} created and deleted" if count else "nothing was created")


def ignore_codes(codes: Container[str], delete: Callable[[], object]) -> None:
    """Call ``delete`` and ignore these AWS error codes, such as the code of a resource that does not exist."""
    try:
        delete()
    except ClientError as error:
        if error.response["Error"]["Code"] not in codes:
            raise
