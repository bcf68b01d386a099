"""Which AWS calls the deployed functions make, and what stands between a call and its service.

A function's access key is its name and each of its workers has a session token of its own, so a request's credentials
tell who made it and for which invocation. The credentials sign nothing of a person's: calls of others are left alone.
"""

from __future__ import annotations

import contextlib
import functools
import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs, unquote

import botocore.session
from werkzeug.wrappers import Request, Response

from ekyc.localaws.services import functions

CREDENTIAL = re.compile(r"Credential=(?P<key>[^/]+)/\d{8}/[^/]+/(?P<service>[^/]+)/aws4_request")
ATTEMPT = re.compile(r"attempt=(\d+)")


@dataclass(frozen=True)
class Call:
    """A request that a function made: `operation` as AWS names it, `parameters` as they travelled, `attempt` from 1
    (the SDK tries again by itself)."""

    function: str
    service: str
    operation: str
    parameters: dict[str, Any] = field(repr=False)  # they may hold a task token
    attempt: int
    invocation: functions.Invocation = field(repr=False)


class ConnectionDropped(Exception):
    """Raised by a watcher: the connection ends without an answer."""


Carry = Callable[[], Response]
Watcher = Callable[[Call, Carry], Response]
GuardsCalls = Callable[[Call], Response | None]
GuardsUrls = Callable[[Request], Response | None]
_watchers: list[Watcher] = []


@contextlib.contextmanager
def watched(watcher: Watcher) -> Iterator[None]:
    """While the context is open, `watcher(call, carry_out)` answers each call of a function in the service's place;
    `carry_out()` has the service do it and gives its answer."""
    _watchers.append(watcher)
    try:
        yield
    finally:
        _watchers.remove(watcher)


@contextlib.contextmanager
def recorded() -> Iterator[list[Call]]:
    """The calls of functions that arrive while the context is open, tries of the SDK included."""
    made: list[Call] = []
    _recordings.append(made)
    try:
        yield made
    finally:
        _recordings.remove(made)


_recordings: list[list[Call]] = []


def set_guard(refuse_call: GuardsCalls | None, refuse_signed_url: GuardsUrls | None) -> None:
    """Have each call of a function, and each request by a URL that a function signed, refused by these; None: by
    nothing."""
    global _refuse_call, _refuse_signed_url
    _refuse_call, _refuse_signed_url = refuse_call, refuse_signed_url


_refuse_call: GuardsCalls | None = None
_refuse_signed_url: GuardsUrls | None = None


def answer(environ: dict[str, Any], carry_out: Carry) -> Response | None:
    """What the guard and the watchers, the newest first, answer to a request; None when the service is to answer it."""
    if not _watchers and not _recordings and not _refuse_call:
        return None
    request = Request(environ)
    call = read(request)
    environ["wsgi.input"].seek(0)  # the service reads the body once more
    if call is None:
        return _refuse_signed_url(request) if _refuse_signed_url else None
    for made in _recordings:
        made.append(call)
    carry_out = functools.partial(_guarded, call, carry_out)
    for watcher in list(_watchers):
        carry_out = functools.partial(watcher, call, carry_out)
    return carry_out()


def _guarded(call: Call, carry_out: Carry) -> Response:
    """What the service answers, unless the guard refuses the call."""
    return (_refuse_call and _refuse_call(call)) or carry_out()


def read(request: Request) -> Call | None:
    """The call that an HTTP request is, or None when no invocation of a function made it."""
    credential = CREDENTIAL.search(request.headers.get("Authorization", ""))
    invocation = functions.at_work(request.headers.get("X-Amz-Security-Token", ""))
    if credential is None or invocation is None or credential["key"] != invocation.function:
        return None
    attempt = ATTEMPT.search(request.headers.get("amz-sdk-request", ""))
    operation, parameters = _operation(credential["service"], request)
    return Call(
        credential["key"], credential["service"], operation, parameters, int(attempt[1]) if attempt else 1, invocation
    )


def _operation(service: str, request: Request) -> tuple[str, dict[str, Any]]:
    if target := request.headers.get("X-Amz-Target"):
        return target.rpartition(".")[2], json.loads(request.get_data() or b"{}")
    if request.mimetype == "application/x-www-form-urlencoded":
        form = {name: values[0] for name, values in parse_qs(request.get_data(as_text=True)).items()}
        return form.pop("Action"), form
    arguments = request.args.to_dict()
    for method, path, literals, required, name in _rest_operations(service):
        place = path.fullmatch(request.path)
        if (
            method == request.method
            and place
            and literals.items() <= arguments.items()
            and required <= arguments.keys() | {header.lower() for header in request.headers.keys()}  # noqa: SIM118
        ):
            given = {key: unquote(value) for key, value in place.groupdict().items()} | arguments
            if name == "DeleteObjects":
                given["Keys"] = re.findall("<Key>([^<]*)</Key>", request.get_data(as_text=True))  # type: ignore[assignment]
            if mode := request.headers.get("x-amz-object-lock-mode"):  # to lock an object is an action of its own
                given["ObjectLockMode"] = mode
            return name, given
    raise ValueError(f"{request.method} {request.path} is no operation of {service}")


@functools.cache
def _rest_operations(service: str) -> list[tuple[str, re.Pattern[str], dict[str, str], frozenset[str], str]]:
    """The operations of a REST service by method, path, literal query and required parameters, the narrowest first."""
    model = botocore.session.get_session().get_service_model(service)
    found = []
    for name in model.operation_names:
        operation = model.operation_model(name)
        path, _, query = operation.http["requestUri"].partition("?")
        pattern = re.sub(r"\\\{(\w+)(\\\+)?\\\}", lambda m: f"(?P<{m[1]}>{'.+' if m[2] else '[^/]+'})", re.escape(path))
        literals = {key: values[0] for key, values in parse_qs(query, keep_blank_values=True).items()}
        literals.pop("x-id", None)  # clients do not send it
        members = operation.input_shape.members if operation.input_shape else {}
        required = frozenset(
            str(members[member].serialization["name"]).lower()
            for member in (operation.input_shape.required_members if operation.input_shape else [])
            if members[member].serialization.get("location") in ("querystring", "header")
        )
        found.append((operation.http["method"], re.compile(pattern + "/?"), literals, required, name))
    return sorted(found, key=lambda one: (-len(one[2]) - len(one[3]), -len(one[1].pattern), one[4]))
