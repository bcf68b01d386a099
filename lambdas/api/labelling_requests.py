"""Reads the bodies of the labelling page's calls strictly: a wrong field gives a 400 whose detail names it."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from api.problems import bad_request, unknown_photo
from api.validation import only
from pipeline.page.states import Decision, Outcome
from rules.lines import MAX_BOXES

MOST_PLACES = 20_000
MOST_TAKEN = 3
MOST_LEASES = 10
LONGEST_SECONDS = 24 * 3600
LONGEST_NOTE = 500
LARGEST_PIXEL = 1_000_000
LEASE_ID = re.compile(r"[0-9a-f]{32}")
REASONS = ("unreadable", "unknown-type", "other")
SIDES = ("left", "top", "width", "height")
PROPOSAL = ("shown", "accepted", "changed")


def place(text: str) -> int:
    """The place of a photo in a path."""
    if not (text.isascii() and text.isdigit() and len(text) <= 5 and 1 <= int(text) <= MOST_PLACES):
        raise unknown_photo(text)
    return int(text)


def count(document: Mapping[str, Any]) -> int:
    """``{"count": 2}``: how many photos to take."""
    only(document, "count")
    return _whole(document, "count", 1, MOST_TAKEN)


def leases(document: Mapping[str, Any]) -> dict[int, str]:
    """``{"leases": [{"place": 17, "leaseId": "..."}]}`` by place."""
    only(document, "leases")
    entries = document.get("leases")
    if not isinstance(entries, list) or not 1 <= len(entries) <= MOST_LEASES:
        raise bad_request(f"leases must be a list of 1 to {MOST_LEASES} leases.")
    by_place = {}
    for entry in entries:
        if not isinstance(entry, dict):
            raise bad_request("Each of the leases must be an object with place and leaseId.")
        only(entry, "place", "leaseId", within="A lease")
        by_place[_whole(entry, "place", 1, MOST_PLACES)] = _lease_id(entry)
    return by_place


def answer(document: Mapping[str, Any]) -> tuple[str | None, dict[str, Any]]:
    """The id of the lease or None, and the answer as its photo's item has it."""
    only(document, "leaseId", "outcome", "reason", "boxes", "seconds", "proposal")
    outcome = _one_of(document, "outcome", Outcome)
    boxes = _boxes(document)
    if (outcome == Outcome.LABELLED) != bool(boxes):
        raise bad_request(f"boxes must have at least one box if outcome is {Outcome.LABELLED}, and none otherwise.")
    given: dict[str, Any] = {"Outcome": outcome, "Boxes": boxes, "Seconds": _seconds(document)}
    if (outcome == Outcome.SKIPPED) != ("reason" in document):
        raise bad_request(f"reason is required if outcome is {Outcome.SKIPPED}, and must be absent otherwise.")
    if "reason" in document:
        given["Reason"] = _one_of(document, "reason", REASONS)
    if "proposal" in document:
        given["Proposal"] = _proposal(document["proposal"])
    return _lease_id(document) if "leaseId" in document else None, given


def review(document: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    """The id of the lease, and the decision as its photo's item has it."""
    only(document, "leaseId", "decision", "boxes", "note")
    decision = _one_of(document, "decision", Decision)
    given: dict[str, Any] = {"Decision": decision}
    if (decision == Decision.CORRECT) != ("boxes" in document):
        raise bad_request(f"boxes is required if decision is {Decision.CORRECT}, and must be absent otherwise.")
    if (decision == Decision.RETURN) != ("note" in document):
        raise bad_request(f"note is required if decision is {Decision.RETURN}, and must be absent otherwise.")
    if "boxes" in document:
        given["Boxes"] = _boxes(document)
    if "note" in document:
        note = document["note"]
        if not isinstance(note, str) or not 1 <= len(note.strip()) <= len(note) <= LONGEST_NOTE:
            raise bad_request(f"note must be a text of 1 to {LONGEST_NOTE} characters.")
        given["Note"] = note
    return _lease_id(document), given


def _boxes(document: Mapping[str, Any]) -> list[dict[str, Any]]:
    boxes = document.get("boxes")
    if not isinstance(boxes, list) or len(boxes) > MAX_BOXES:
        raise bad_request(f"boxes must be a list of at most {MAX_BOXES} boxes.")
    return [_box(number, box) for number, box in enumerate(boxes, 1)]


def _box(number: int, box: Any) -> dict[str, Any]:
    if not isinstance(box, dict) or not isinstance(box.get("type"), str):
        raise bad_request(f"Box {number} must be an object with type, left, top, width and height.")
    only(box, "type", *SIDES, within=f"Box {number}")
    sides = {side: _whole(box, side, int(side in ("width", "height")), LARGEST_PIXEL) for side in SIDES}
    return {"type": box["type"], **sides}


def _proposal(proposal: Any) -> dict[str, int]:
    if not isinstance(proposal, dict):
        raise bad_request("proposal must be an object with shown, accepted and changed.")
    only(proposal, *PROPOSAL, within="proposal")
    numbers = {name: _whole(proposal, name, 0, MAX_BOXES) for name in PROPOSAL}
    if numbers["accepted"] + numbers["changed"] > numbers["shown"]:
        raise bad_request("proposal: accepted and changed together must not exceed shown.")
    return numbers


def _seconds(document: Mapping[str, Any]) -> float:
    value = document.get("seconds")
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value <= LONGEST_SECONDS:
        raise bad_request(f"seconds must be a number from 0 to {LONGEST_SECONDS}.")
    return round(value, 1)


def _whole(document: Mapping[str, Any], name: str, least: int, most: int) -> int:
    value = document.get(name)
    if isinstance(value, float) and value.is_integer():
        value = int(value)  # JSON Schema counts 1.0 as a whole number
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
        raise bad_request(f"{name} must be a whole number from {least} to {most}.")
    return value


def _one_of(document: Mapping[str, Any], name: str, values: Sequence[str] | type[Outcome] | type[Decision]) -> str:
    allowed = [str(value) for value in values]
    value = document.get(name)
    if value not in allowed:
        raise bad_request(f"{name} must be {', '.join(allowed[:-1])} or {allowed[-1]}.")
    return str(value)


def _lease_id(document: Mapping[str, Any]) -> str:
    value = document.get("leaseId")
    if not isinstance(value, str) or not LEASE_ID.fullmatch(value):
        raise bad_request("leaseId must be the id of a lease, as the call that took the photo returned it.")
    return value
