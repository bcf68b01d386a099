"""Injects faults of AWS: what fails, where, and how often.

    with faults.injected(Fault(What.DROPPED, operation="CreateProjectVersion", about=(job_id,))) as struck:
        ...

`struck` lists the faults that have occurred. A fault of a call occurs at an AWS call of a function, a fault of an event
at its delivery, a fault of a service inside Rekognition or Ground Truth.
"""

from __future__ import annotations

import contextlib
import json
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from werkzeug.wrappers import Response

from ekyc.localaws import calls
from ekyc.localaws.calls import Call, Carry, ConnectionDropped
from ekyc.localaws.clock import clock
from ekyc.localaws.services import events, functions

LATE_SECONDS = 15 * 60


class What(StrEnum):
    """The kinds of faults."""

    # A call.
    THROTTLED_400 = "throttled (400)"
    THROTTLED_500 = "throttled (500)"
    INTERNAL_ERROR = "internal error"
    DROPPED = "connection dropped after the effect"
    DENIED = "denied"
    # A function, at a call.
    CRASH_BEFORE = "crash before the call"
    CRASH_AFTER = "crash after the call"
    TIMED_OUT = "time-out after the call"
    # A function, between invocations.
    COLD = "cold restart"
    # An event that EventBridge delivers to a function.
    LOST = "lost"
    DOUBLED = "doubled"
    LATE = "late"
    EARLY = "early"
    OUT_OF_ORDER = "out of order"
    # Rekognition and Ground Truth, with the service's own message.
    DATASET_FAILS = "dataset CREATE_FAILED"
    TRAINING_FAILS = "training TRAINING_FAILED"
    MODEL_FAILS = "model FAILED"
    LABELLING_FAILS = "labelling job Failed"
    LABELLING_STOPS = "labelling job Stopped"
    NOTHING_LABELLED = "labelling job Completed with nothing labelled"
    PROJECTS_FULL = "quota of projects full"
    DATASETS_FULL = "quota of datasets full"
    VERSIONS_FULL = "quota of models in a project full"
    TRAININGS_FULL = "quota of trainings full"
    RUNNING_MODELS_FULL = "quota of running models full"
    LABELLING_JOBS_FULL = "quota of labelling jobs full"


class Lasts(StrEnum):
    """How often a fault of a call occurs."""

    ONCE = "one try"  # the SDK's next try succeeds
    INVOCATION = "one invocation"  # all tries of the SDK fail, so the state machine or Lambda must retry
    ALWAYS = "always"


CALL_FAULTS = frozenset(What) - {What.COLD} - frozenset(list(What)[list(What).index(What.LOST) :])
EVENT_FAULTS = frozenset({What.LOST, What.DOUBLED, What.LATE, What.EARLY, What.OUT_OF_ORDER})


@dataclass(frozen=True)
class Fault:
    """What fails, and where. An empty string matches everything.

    `about` are strings that must all occur in the invocation's event, the delivered event, or the resource's name. With
    a job's id, the fault affects only that job. `nth` counts the calls of the operation in an invocation, from 1,
    without the SDK's retries. `detail_type` is that of the delivered event. For EARLY, `event` is the event as JSON: it
    is sent at the call and not delivered again later. OUT_OF_ORDER swaps two events.
    """

    what: What
    function: str = ""
    about: tuple[str, ...] = ()
    service: str = ""
    operation: str = ""
    nth: int = 1
    lasts: Lasts = Lasts.ONCE
    detail_type: str = ""
    event: str = ""
    message: str = "Injected by a test."


@dataclass
class _Armed:
    """A fault and its state."""

    fault: Fault
    calls: dict[str, int] = field(default_factory=dict)  # the number of matching calls by invocation
    struck_in: str = ""
    held_events: list[Callable[[], object]] = field(default_factory=list)

    def strikes(self, call: Call) -> bool:
        fault = self.fault
        if not (
            (fault.what in CALL_FAULTS or fault.what is What.EARLY)
            and fault.function in ("", call.function)
            and fault.service in ("", call.service)
            and fault.operation in ("", call.operation)
            and _matches(call.invocation.event, fault)
        ):
            return False
        invocation = call.invocation.id
        if call.attempt == 1:
            self.calls[invocation] = self.calls.get(invocation, 0) + 1
        if self.calls.get(invocation, 0) < fault.nth:
            return False
        if self.struck_in and (
            fault.lasts is Lasts.ONCE or (fault.lasts is Lasts.INVOCATION and self.struck_in != invocation)
        ):
            return False
        self.struck_in = invocation
        return True

    def is_about(self, name: str, *whats: What) -> bool:
        return self.fault.what in whats and all(text in name for text in self.fault.about)


_lock = threading.Lock()


@contextlib.contextmanager
def injected(*faults: Fault) -> Iterator[list[Fault]]:
    """A context with these faults. Yields the list of faults that have occurred, in order."""
    armed = [_Armed(fault) for fault in faults]
    struck: list[Fault] = []

    def at_call(call: Call, carry_out: Carry) -> Response:
        with _lock:
            hits = [candidate.fault for candidate in armed if candidate.strikes(call)]
            struck.extend(hits)
        hit = hits[0] if hits else None
        return carry_out() if hit is None else _carry_out_with_fault(hit, call, carry_out)

    def at_delivery(event: events.Event, deliver: Callable[[], object]) -> None:
        matches = (fault for fault in armed if fault.fault.what in EVENT_FAULTS and _concerns(fault.fault, event))
        hit = next(matches, None)
        if hit is None:
            deliver()
            return
        struck.append(hit.fault)
        _deliver(hit, deliver)

    def goes_cold(function: str, event: Any) -> bool:
        hits = [
            fault
            for fault in faults
            if fault.what is What.COLD and fault.function in ("", function) and _matches(event, fault)
        ]
        struck.extend(hits)
        return bool(hits)

    with contextlib.ExitStack() as stack:
        if any(fault.what in CALL_FAULTS or fault.what is What.EARLY for fault in faults):
            stack.enter_context(calls.watched(at_call))
        if any(fault.what in EVENT_FAULTS for fault in faults):
            stack.enter_context(events.intercepted(at_delivery))
        if any(fault.what is What.COLD for fault in faults):
            stack.enter_context(functions.going_cold(goes_cold))
        for service_fault in armed:
            _services.append((service_fault, struck))
        try:
            yield struck
        finally:
            for service_fault in armed:
                _services.remove((service_fault, struck))


_services: list[tuple[_Armed, list[Fault]]] = []


def take_service_fault(what: What, name: str) -> Fault | None:
    """Return and consume the armed fault of this kind for the resource `name`, if any.

    Called by the services. A failure occurs once. A quota stays used up while the context is open.
    """
    for armed, struck in list(_services):
        if armed.is_about(name, what) and (what in QUOTAS or not armed.struck_in):
            armed.struck_in = name
            struck.append(armed.fault)
            return armed.fault
    return None


QUOTAS = frozenset(
    {
        What.PROJECTS_FULL,
        What.DATASETS_FULL,
        What.VERSIONS_FULL,
        What.TRAININGS_FULL,
        What.RUNNING_MODELS_FULL,
        What.LABELLING_JOBS_FULL,
    }
)


def _carry_out_with_fault(fault: Fault, call: Call, carry_out: Carry) -> Response:
    match fault.what:
        case What.CRASH_BEFORE:
            call.invocation.end(functions.Ending.EXIT)
            raise ConnectionDropped
        case What.CRASH_AFTER:
            carry_out()
            call.invocation.end(functions.Ending.EXIT)
            raise ConnectionDropped
        case What.TIMED_OUT:
            carry_out()
            call.invocation.end(functions.Ending.TIMEOUT)
            raise ConnectionDropped
        case What.EARLY:
            response = carry_out()
            event = json.loads(fault.event)
            events.emit(event["source"], event["detail-type"], event["resources"], event["detail"])
            return response
        case What.DROPPED:
            carry_out()
            raise ConnectionDropped
        case _:
            return _error(call.service, *_error_parts(fault.what, call))


def _error_parts(what: What, call: Call) -> tuple[int, str, str]:
    """HTTP status, error code and message of the service."""
    message = {
        What.DENIED: f"User: {call.function} is not authorized to perform: {call.service}:{call.operation}",
        What.INTERNAL_ERROR: "We encountered an internal error. Please try again.",
    }.get(what, "Slow down; sudden increase in rate of requests.")
    return *_codes(call.service, what), message


def _codes(service: str, what: What) -> tuple[int, str]:
    """HTTP status and error code of the service."""
    own_names = {
        # S3 API reference, "Error responses": S3 has no throttle with status 400.
        ("s3", What.THROTTLED_400): (503, "SlowDown"),
        ("s3", What.THROTTLED_500): (503, "SlowDown"),
        ("s3", What.INTERNAL_ERROR): (500, "InternalError"),
        ("s3", What.DENIED): (403, "AccessDenied"),
        ("dynamodb", What.THROTTLED_400): (400, "ProvisionedThroughputExceededException"),
        ("sns", What.THROTTLED_400): (400, "Throttling"),
        ("sns", What.THROTTLED_500): (503, "ServiceUnavailable"),
        ("sns", What.INTERNAL_ERROR): (500, "InternalError"),
        ("sns", What.DENIED): (403, "AuthorizationError"),  # SNS API reference, Publish
        ("lambda", What.THROTTLED_400): (429, "TooManyRequestsException"),
        ("lambda", What.INTERNAL_ERROR): (500, "ServiceException"),
        ("lambda", What.DENIED): (403, "AccessDeniedException"),
        ("states", What.INTERNAL_ERROR): (500, "InternalFailure"),
        ("sagemaker", What.INTERNAL_ERROR): (500, "InternalFailure"),
    }
    anywhere = {
        What.THROTTLED_400: (400, "ThrottlingException"),
        What.THROTTLED_500: (500, "ThrottlingException"),  # Rekognition guide, "Error handling": 400 or 500
        What.INTERNAL_ERROR: (500, "InternalServerError"),
        What.DENIED: (400, "AccessDeniedException"),
    }
    return own_names.get((service, what), anywhere[what])


def denial(service: str, message: str) -> Response:
    """The response of a service that denies a call."""
    status, code = _codes(service, What.DENIED)
    return _error(service, status, code, message)


def _error(service: str, status: int, code: str, message: str) -> Response:
    """An error response in the protocol of the service."""
    if service == "s3":
        return Response(
            f'<?xml version="1.0" encoding="UTF-8"?>\n<Error><Code>{code}</Code><Message>{message}</Message></Error>',
            status,
            content_type="application/xml",
        )
    if service == "sns":
        return Response(
            f"<ErrorResponse><Error><Type>Sender</Type><Code>{code}</Code><Message>{message}</Message></Error>"
            "<RequestId>injected</RequestId></ErrorResponse>",
            status,
            content_type="text/xml",
        )
    return Response(
        json.dumps({"__type": code, "message": message, "Message": message}),
        status,
        headers={"x-amzn-ErrorType": code},
        content_type="application/x-amz-json-1.1",
    )


def _concerns(fault: Fault, event: events.Event) -> bool:
    return fault.detail_type in ("", event["detail-type"]) and _matches([event["resources"], event["detail"]], fault)


def _matches(event: Any, fault: Fault) -> bool:
    text = json.dumps(event)
    return all(part in text for part in fault.about)


def _deliver(armed: _Armed, deliver: Callable[[], object]) -> None:
    match armed.fault.what:
        case What.LOST:
            pass
        case What.DOUBLED:
            deliver()
            deliver()
        case What.LATE:
            clock.background(_later, deliver)
        case What.EARLY:
            armed.held_events.append(deliver)
            if len(armed.held_events) == 1:  # deliver the early event, but not the later one
                deliver()
        case What.OUT_OF_ORDER:
            armed.held_events.append(deliver)
            if len(armed.held_events) == 2:
                for deliver_event in reversed(armed.held_events):
                    deliver_event()
        case _:
            deliver()


def _later(deliver: Callable[[], object]) -> None:
    clock.sleep(LATE_SECONDS)
    deliver()
