"""Records and intercepts the AWS calls of the deployed functions.

A function's access key is its name, and each of its workers has its own session token. A request's credentials
therefore say which function made the request, and in which invocation. Requests of other callers are not intercepted.
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
    """A request of a function. `attempt` counts the SDK's tries, from 1."""

    function: str
    service: str
    operation: str
    parameters: dict[str, Any] = field(repr=False)  # may contain a task token
    attempt: int
    invocation: functions.Invocation = field(repr=False)


class ConnectionDropped(Exception):
    """Raised by a watcher to close the connection without a response."""


Carry = Callable[[], Response]
Watcher = Callable[[Call, Carry], Response]
GuardsCalls = Callable[[Call], Response | None]
GuardsUrls = Callable[[Request], Response | None]
_watchers: list[Watcher] = []


@contextlib.contextmanager
def watched(watcher: Watcher) -> Iterator[None]:
    """A context in which `watcher(call, carry_out)` responds to each call of a function instead of the service.

    `carry_out()` lets the service handle the call and returns its response.
    """
    _watchers.append(watcher)
    try:
        yield
    finally:
        _watchers.remove(watcher)


@contextlib.contextmanager
def recorded() -> Iterator[list[Call]]:
    """A context that yields the list of the functions' calls, with each try of the SDK."""
    recording: list[Call] = []
    _recordings.append(recording)
    try:
        yield recording
    finally:
        _recordings.remove(recording)


_recordings: list[list[Call]] = []


def set_guard(refuse_call: GuardsCalls | None, refuse_signed_url: GuardsUrls | None) -> None:
    """Set the functions that may refuse a function's call, and a request to a URL that a function signed.

    None: nothing is refused.
    """
    global _refuse_call, _refuse_signed_url
    _refuse_call, _refuse_signed_url = refuse_call, refuse_signed_url


_refuse_call: GuardsCalls | None = None
_refuse_signed_url: GuardsUrls | None = None


def answer(environ: dict[str, Any], carry_out: Carry) -> Response | None:
    """The response of the guard or of the watchers, newest first. None if the service is to respond."""
    if not _watchers and not _recordings and not _refuse_call:
        return None
    request = Request(environ)
    call = read(request)
    environ["wsgi.input"].seek(0)  # the service reads the body again
    if call is None:
        return _refuse_signed_url(request) if _refuse_signed_url else None
    for recording in _recordings:
        recording.append(call)
    carry_out = functools.partial(_guarded, call, carry_out)
    for watcher in list(_watchers):
        carry_out = functools.partial(watcher, call, carry_out)
    return carry_out()


def _guarded(call: Call, carry_out: Carry) -> Response:
    """The service's response, unless the guard refuses the call."""
    return (_refuse_call and _refuse_call(call)) or carry_out()


def read(request: Request) -> Call | None:
    """The call in an HTTP request. None if no invocation of a function made the request."""
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
            if mode := request.headers.get("x-amz-object-lock-mode"):  # locking is a separate IAM action
                given["ObjectLockMode"] = mode
            return name, given
    raise ValueError(f"{request.method} {request.path} is not an operation of {service}.")


@functools.cache
def _rest_operations(service: str) -> list[tuple[str, re.Pattern[str], dict[str, str], frozenset[str], str]]:
    """The operations of a REST service: method, path, literal query, required parameters, name. Most specific first."""
    model = botocore.session.get_session().get_service_model(service)
    operations = []
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
        operations.append((operation.http["method"], re.compile(pattern + "/?"), literals, required, name))
    return sorted(operations, key=lambda entry: (-len(entry[2]) - len(entry[3]), -len(entry[1].pattern), entry[4]))
