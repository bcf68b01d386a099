"""EventBridge: delivers the events of services and of PutEvents to the rules' Lambda functions.

moto stores and matches the rules. `moto_patches/eventbridge.py` makes it deliver with `send_to_targets`.
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
    """Put a service's event (source "aws.…") on the default bus. Rules deliver it in the background.

    As with EventBridge, delivery is at least once and in no guaranteed order.
    """
    from moto.events.models import events_backends

    event: Event = {
        "version": "0",
        "id": str(uuid.uuid4()),
        "detail-type": detail_type,
        "source": source,
        "account": aws.account,
        "time": clock.now(),
        "ingestion-time": clock.now(),  # moto's own events have it
        "region": aws.region,
        "resources": resources,
        # A copy, so that the event shares no object with the sending service.
        "detail": json.loads(json.dumps(detail)),
    }
    for rule in list(events_backends[aws.account][aws.region].event_buses["default"].rules.values()):
        rule.send_to_targets(event)


@contextlib.contextmanager
def intercepted(hook: Intercept) -> Iterator[None]:
    """For tests: a context in which `hook(event, deliver)` replaces each delivery to a function.

    The hook drops an event if it does not call `deliver`, doubles it with two calls, and delays it by calling `deliver`
    later, even after the context. The newest hook is called first; its `deliver` calls the next hook.
    """
    _intercepts.append(hook)
    try:
        yield
    finally:
        _intercepts.remove(hook)


def fire_schedules() -> None:
    """Trigger every enabled rule with a schedule, once. Schedules do not run by themselves here."""
    from moto.events.models import events_backends

    for rule in list(events_backends[aws.account][aws.region].event_buses["default"].rules.values()):
        if rule.scheduled_expression and rule.state == "ENABLED":
            for target in list(rule.targets):
                clock.background(_deliver, rule, target, json.loads(target.get("Input") or "{}"))


_intercepts: list[Intercept] = []


def send_to_targets(rule: Any, event: Event, transform_input: bool = True) -> None:
    """Replaces moto's Rule.send_to_targets, which has no function targets. Delivers to functions and queues."""
    from moto.events.models import EventTemplateParser

    # A rule with a schedule and no pattern matches no event. In moto it matches every event.
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
    # An event that EventBridge cannot deliver goes to the rule's dead-letter queue without retries. A delivered event
    # goes to Lambda's own queue: if the function fails, Lambda retries, and Lambda's dead-letter queue gets the event,
    # not the rule's. Source: EventBridge guide, "Using dead-letter queues".
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
    logger.warning("Event not delivered: %s", message)
    queue_arn = target.get("DeadLetterConfig", {}).get("Arn")
    if queue_arn:
        attributes = {"RULE_ARN": rule.arn, "TARGET_ARN": target["Arn"], "ERROR_CODE": code, "ERROR_MESSAGE": message}
        functions.send_to_queue(queue_arn, body, attributes)


def _iso(timestamp: float) -> str:
    return datetime.datetime.fromtimestamp(timestamp, datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
