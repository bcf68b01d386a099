"""EventBridge: delivers what services emit and what PutEvents takes to the rules' Lambda functions.

moto keeps and matches the rules; `moto_patches/eventbridge.py` has it deliver by `send_to_targets`.
"""

from __future__ import annotations

import contextlib
import datetime
import json
import logging
import uuid
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

from ekyc.localaws import aws
from ekyc.localaws.clock import clock
from ekyc.localaws.services import functions

Event = dict[str, Any]
Intercept = Callable[[Event, Callable[[], object]], None]
logger = logging.getLogger(__name__)


def emit(source: str, detail_type: str, resources: list[str], detail: dict[str, Any]) -> None:
    """Put a service's own event (source "aws.…") on the default bus; rules deliver it in the background.

    Delivery is at least once and in no order, as EventBridge has it.
    """
    from moto.events.models import events_backends

    event: Event = {
        "version": "0",
        "id": str(uuid.uuid4()),
        "detail-type": detail_type,
        "source": source,
        "account": aws.account,
        "time": clock.now(),
        "ingestion-time": clock.now(),  # as moto's own events have it
        "region": aws.region,
        "resources": resources,
        # Values travel as JSON, so nobody shares an object with the service that emits.
        "detail": json.loads(json.dumps(detail)),
    }
    for rule in list(events_backends[aws.account][aws.region].event_buses["default"].rules.values()):
        rule.send_to_targets(event)


@contextlib.contextmanager
def intercepted(hook: Intercept) -> Iterator[None]:
    """For tests: while the context is open, `hook(event, deliver)` is called in place of each delivery to a function.

    The hook drops an event by not calling `deliver`, doubles it by calling it twice, and holds it by keeping
    `deliver` for later (also after the context has closed). Of several hooks the newest is asked first, and its
    `deliver` asks the next.
    """
    _intercepts.append(hook)
    try:
        yield
    finally:
        _intercepts.remove(hook)


def fire_schedules() -> None:
    """Deliver every enabled rule that has a schedule, once, as when its time has come: none does so by itself here."""
    from moto.events.models import events_backends

    for rule in list(events_backends[aws.account][aws.region].event_buses["default"].rules.values()):
        if rule.scheduled_expression and rule.state == "ENABLED":
            for target in list(rule.targets):
                clock.background(_deliver, rule, target, json.loads(target.get("Input") or "{}"))


_intercepts: list[Intercept] = []


def send_to_targets(rule: Any, event: Event, transform_input: bool = True) -> None:
    """moto's Rule.send_to_targets, with the targets that it lacks (functions) and queues."""
    from moto.events.models import EventTemplateParser

    # A rule that has a schedule and no pattern matches no event; moto takes it to match every one.
    pattern = rule.event_pattern
    if rule.state != "ENABLED" or not pattern.get_pattern() or not pattern.matches_event(event):
        return
    sent = {name: value for name, value in event.items() if name != "ingestion-time"}
    if not isinstance(sent["time"], str):
        sent["time"] = _iso(float(sent["time"]))
    for target in list(rule.targets):
        body: Any = sent
        transformer = target.get("InputTransformer") if transform_input else None
        if transformer:
            template, paths = transformer["InputTemplate"], transformer.get("InputPathsMap", {})
            body = EventTemplateParser.parse(template, paths, {**sent, "ingestion-time": sent["time"]})
        deliver: Callable[[], object] = partial(clock.background, _deliver, rule, target, body)
        for hook in list(_intercepts):
            deliver = partial(hook, sent, deliver)
        deliver()


def _deliver(rule: Any, target: dict[str, Any], body: Any) -> None:
    service = target["Arn"].split(":")[2]
    if service == "sqs":
        functions.send_to_queue(target["Arn"], body, {})
        return
    function = functions.find(target["Arn"]) if service == "lambda" else None
    # EventBridge guide, "Using dead-letter queues": what it may not or cannot deliver goes there without a retry. It
    # hands the event to Lambda's own queue: when the function itself fails, Lambda tries again and Lambda's
    # dead-letter queue gets the event, not the rule's.
    if function is None:
        _give_up(rule, target, body, "RESOURCE_NOT_FOUND", f"There is no function {target['Arn']}.")
    elif not _may_invoke(rule, function):
        _give_up(rule, target, body, "NO_PERMISSIONS", f"Rule {rule.name} has no permission to invoke {target['Arn']}.")
    else:
        functions.invoke_later(function, body)


def _may_invoke(rule: Any, function: Any) -> bool:
    return any(
        statement.get("Principal", {}).get("Service") == "events.amazonaws.com"
        and statement.get("Condition", {}).get("ArnLike", {}).get("AWS:SourceArn", rule.arn) == rule.arn
        for statement in function.policy.statements
    )


def _give_up(rule: Any, target: dict[str, Any], body: Any, code: str, message: str) -> None:
    logger.warning("event not delivered: %s", message)
    queue_arn = target.get("DeadLetterConfig", {}).get("Arn")
    if queue_arn:
        attributes = {"RULE_ARN": rule.arn, "TARGET_ARN": target["Arn"], "ERROR_CODE": code, "ERROR_MESSAGE": message}
        functions.send_to_queue(queue_arn, body, attributes)


def _iso(timestamp: float) -> str:
    return datetime.datetime.fromtimestamp(timestamp, datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
