"""What the stand-ins of AWS services have in common: their operations inside moto, their state, their threads.

A stand-in is a subclass of StandIn with a method per operation, named like the operation in snake case, that takes the
checked request and returns the answer. `moto_patches/stand_ins.py` puts these methods onto moto's response classes.
"""

from __future__ import annotations

import base64
import binascii
import threading
import uuid
from collections.abc import Callable, Sequence
from typing import Any, Self, TypeVar

from botocore.exceptions import BotoCoreError
from moto.core.base_backend import BaseBackend

from ekyc.localaws import aws
from ekyc.localaws.clock import Interrupted, Signal, clock
from ekyc.localaws.errors import ServiceError

Request = dict[str, Any]
Answer = dict[str, Any]
Item = TypeVar("Item")

_creation = threading.Lock()


class StandIn:
    """The state of one service in one account and region.

    It hangs on moto's backend of the service, so moto's reset forgets it; threads that it started then end quietly.
    """

    def __init__(self, backend: BaseBackend) -> None:
        self._backend = backend
        self.account = backend.account_id
        self.region = backend.region_name
        # Guards everything below the stand-in; never held while sleeping, computing or calling another service.
        self.lock = threading.RLock()

    @classmethod
    def of(cls, backend: BaseBackend) -> Self:
        """The stand-in that hangs on `backend`; made when there is none yet."""
        with _creation:
            if cls.__name__ not in backend.__dict__:
                backend.__dict__[cls.__name__] = cls(backend)
            return backend.__dict__[cls.__name__]

    def admit(self, operation: str) -> None:
        """Let a call in, or raise the ServiceError with which the service throttles."""

    def background(self, work: Callable[..., None], *arguments: Any) -> None:
        """Run `work(*arguments)` in a thread that a stop or a reset of the local AWS ends."""

        def run() -> None:
            try:
                work(*arguments)
            except (BotoCoreError, aws.NotRunningError):
                # While the local AWS stops, its S3 goes away before this thread is told to end: wait to be told.
                clock.sleep_real(10)
                raise

        clock.background(run)

    def sleep(self, seconds: float, until: Signal | None = None) -> None:
        """Wait `seconds` of service time, or for `until` to be set. Raises Interrupted when the local AWS stops or this
        state was forgotten."""
        clock.sleep(seconds, until)
        if self._backend.__dict__.get(type(self).__name__) is not self:
            raise Interrupted


def page(
    items: Sequence[Item], request: Request, invalid_token: Callable[[], ServiceError]
) -> tuple[list[Item], Answer]:
    """The page of `items` that `request` (MaxResults, NextToken) asks for, and {"NextToken": …} when more follow."""
    start = 0
    if token := request.get("NextToken"):
        try:
            start = int(base64.b64decode(token, validate=True).decode())
        except (binascii.Error, ValueError):
            raise invalid_token() from None
    end = start + request.get("MaxResults", 100)
    following = {"NextToken": base64.b64encode(str(end).encode()).decode()} if end < len(items) else {}
    return list(items[start:end]), following


def now() -> float:
    """The service time in epoch seconds as AWS's JSON protocol writes it, to the millisecond."""
    return round(clock.now(), 3)


def request_id() -> str:
    """An id as AWS gives each of its answers."""
    return str(uuid.uuid4())
