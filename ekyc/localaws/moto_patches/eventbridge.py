"""Patches moto's EventBridge: delivery of events to functions, and the sources that callers may use.

moto matches rules, but has no Lambda targets (PutEvents returns 500), delivers to disabled rules, puts a wrong time
into the event, and accepts events with AWS as their source from any caller.
"""

from __future__ import annotations

from typing import Any

from moto.events.models import EventsBackend, Rule

from ekyc.localaws.moto_patches.border import replace
from ekyc.localaws.services import events


def patch() -> None:
    """Patch moto's EventBridge, once per process."""
    put_events = EventsBackend.put_events

    # The source of the error: EventBridge API reference, PutEventsResultEntry.
    def put_events_of_others(self: EventsBackend, given: list[dict[str, Any]]) -> list[dict[str, Any]]:
        own = [event for event in given if not (event.get("Source") or "").startswith("aws.")]
        entries = iter(put_events(self, own) if own else [])
        return [next(entries) if event in own else _NOT_AUTHORIZED for event in given]

    replace(EventsBackend, "put_events", put_events_of_others)
    send_to_archive = Rule.send_to_targets

    def send_to_targets(self: Rule, event: events.Event, transform_input: bool = True) -> None:
        is_archive = any(target["Arn"].endswith(":::") for target in self.targets)  # as moto names the target of one
        (send_to_archive if is_archive else events.send_to_targets)(self, event, transform_input)

    replace(Rule, "send_to_targets", send_to_targets)


_NOT_AUTHORIZED = {
    "ErrorCode": "NotAuthorizedForSourceException",
    "ErrorMessage": "Not authorized for the source.",
}
