"""What the deep checks share: the account, one name for all that they make, patience, and what is to be deleted."""

import math
import secrets
import time
from collections.abc import Callable, Container, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

from botocore.exceptions import ClientError

from ekyc.cli.account import NotCheckedError, in_words
from ekyc.cli.doctor.findings import Finding, ok, problem
from ekyc.cli.doctor.patient import Patient

NAMES = "ekyc-doctor-"
"""How the name of each thing begins that a deep check makes. Roles of functions may act on names of ``ekyc-``."""

MOST_SECONDS = 7 * 60  # of waiting, for all checks; deleting may take two minutes more
SECONDS_BETWEEN_LOOKS = 2.0

Answer = TypeVar("Answer")


class Probe:
    """One run of the deep checks on a patient. ``token`` is the ID token of a user, if the API takes those."""

    def __init__(self, patient: Patient, token: str | None = None) -> None:
        self.patient = patient
        self.token = token
        self.name = f"{NAMES}{secrets.token_hex(4)}"
        self.twins: dict[str, Any] = {}
        """By the function whose role they are twins of; `twins.of` makes them."""
        self._made: list[tuple[str, Callable[[], object]]] = []
        self.deadline = time.monotonic() + MOST_SECONDS
        """Of time.monotonic: nothing is waited for after it."""

    def owe(self, thing: str, delete: Callable[[], object]) -> None:
        """Have `clean_up` delete something that is there, or will be."""
        self._made.append((thing, delete))

    @contextmanager
    def making(self, thing: str, delete: Callable[[], object]) -> Iterator[None]:
        """While the context is open, ``thing`` is made; `clean_up` calls ``delete``, unless AWS refuses to make it.

        ``delete`` must bear that the thing is not there: a Ctrl-C comes also between a call and its answer.
        """
        entry = (thing, delete)
        self._made.append(entry)
        try:
            yield
        except ClientError as error:
            if error.response["ResponseMetadata"]["HTTPStatusCode"] < 500:  # AWS has decided
                self._made.remove(entry)
            raise

    def put_object(self, key: str, content: bytes) -> None:
        """Put an object into the bucket of the stack."""
        s3, bucket = self.patient.client("s3"), self.patient.outputs["BucketName"]
        with self.making(f"object {key}", lambda: s3.delete_object(Bucket=bucket, Key=key)):
            s3.put_object(Bucket=bucket, Key=key, Body=content)

    def until(self, look: Callable[[], Answer | None], seconds: float, what: str) -> Answer:
        """What ``look`` answers once it is true; it is asked again for so many seconds.

        Raises:
            NotCheckedError: it was not in time; ``what`` says what did not come about, as the end of a sentence.
        """
        deadline = min(time.monotonic() + seconds, self.deadline)
        while not (answer := look()):
            if time.monotonic() > deadline:
                raise NotCheckedError(
                    f"after {seconds:g} seconds {what}", "Try again; if it stays, look at AWS's status."
                )
            time.sleep(SECONDS_BETWEEN_LOOKS)
        return answer

    def clean_up(self) -> Finding:
        """Delete what was made, the last first. One thing that cannot be deleted keeps no other."""
        made, left = [thing for thing, _ in self._made], []
        self.deadline = math.inf  # what deletes has its own limit
        while self._made:
            thing, delete = self._made.pop()
            try:
                delete()
            except Exception as error:
                left.append(f"{thing} ({in_words(error)[0]})")
            except KeyboardInterrupt:
                left += [thing, *(thing for thing, _ in self._made)]
                self._made.clear()
        if left:
            return problem(f"left behind: {'; '.join(left)}", "Delete it yourself: docs/aws-checks.md, 'What is left'.")
        things = f"{len(made)} {'thing' if len(made) == 1 else 'things'}"
        return ok(f"{things} made and deleted again" if made else "nothing was made")


def unless(codes: Container[str], delete: Callable[[], object]) -> None:
    """Delete something; one of these codes of AWS's is as good, such as the one that it is not there."""
    try:
        delete()
    except ClientError as error:
        if error.response["Error"]["Code"] not in codes:
            raise
