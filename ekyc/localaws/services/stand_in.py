"""The base of the stand-ins for AWS services: their operations inside moto, their state and their threads.

A stand-in is a subclass of StandIn with a method for each operation, in snake case, that takes the validated request
and returns the response. `moto_patches/stand_ins.py` adds these methods to moto's response classes.
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

    It is an attribute of moto's backend of the service, so moto's reset deletes it. Its threads then end quietly.
    """

    def __init__(self, backend: BaseBackend) -> None:
        self._backend = backend
        self.account = backend.account_id
        self.region = backend.region_name
        # Guards all state. Never held while sleeping, computing or calling another service.
        self.lock = threading.RLock()

    @classmethod
    def of(cls, backend: BaseBackend) -> Self:
        """The stand-in of `backend`. The first call creates it."""
        with _creation:
            if cls.__name__ not in backend.__dict__:
                backend.__dict__[cls.__name__] = cls(backend)
            return backend.__dict__[cls.__name__]

    def admit(self, operation: str) -> None:
        """Accept a call, or raise the service's throttling error."""

    def background(self, work: Callable[..., None], *arguments: Any) -> None:
        """Run `work(*arguments)` in a thread that ends when the local AWS stops or is reset."""

        def run() -> None:
            try:
                work(*arguments)
            except (BotoCoreError, aws.NotRunningError):
                # When the local AWS stops, S3 stops before this thread is interrupted. Wait for the interruption.
                clock.sleep_real(10)
                raise

        clock.background(run)

    def sleep(self, seconds: float, until: Signal | None = None) -> None:
        """Wait `seconds` of service time, or until `until` is set.

        Raises Interrupted if the local AWS stops or this state was deleted by a reset.
        """
        clock.sleep(seconds, until)
        if self._backend.__dict__.get(type(self).__name__) is not self:
            raise Interrupted


def page(
    items: Sequence[Item], request: Request, invalid_token: Callable[[], ServiceError]
) -> tuple[list[Item], Answer]:
    """The page of `items` for `request` (MaxResults, NextToken), and {"NextToken": …} if more follow."""
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
    """The service time in seconds since the epoch, rounded to milliseconds as in AWS's JSON protocol."""
    return round(clock.now(), 3)


def request_id() -> str:
    """A request id, as in every AWS response."""
    return str(uuid.uuid4())
