"""How a photo changes when a person takes it, answers it or reviews it. Pure rules: nothing here calls AWS.

A photo's item has ``Needed`` answers, ``Answers`` by the person's subject, and ``Lease`` with the id and the person. A
photo that needs an answer is in the queue of its job. An answered photo that was drawn for the check is in the queue of
checks, until a second person has labelled it without proposals. A doubtful photo is in the queue of reviews. Any other
photo is in no queue.
"""

import hashlib
from collections.abc import Mapping
from enum import StrEnum
from typing import Any

from pipeline.page.tasks import Item
from rules.consolidation import DrawnBox, consolidate

LEASE_MS = 180_000
MOST_SKIPS = 2
"""A photo that was skipped so often is not offered again, and stays without labels."""


class Phase(StrEnum):
    """What happens to a job's photos. A job moves forward only."""

    LABELLING = "labelling"
    CLOSING = "closing"  # all photos are answered; no answer is accepted any more
    REVIEW = "review"
    DONE = "done"


class Outcome(StrEnum):
    """A person's answer."""

    LABELLED = "labelled"
    NO_DOCUMENT = "no-document"
    SKIPPED = "skipped"


class Decision(StrEnum):
    """A reviewer's decision."""

    ACCEPT = "accept"
    CORRECT = "correct"
    RETURN = "return"


def labels_queue(job_id: str) -> str:
    """The queue of photos that need an answer."""
    return job_id


def checks_queue(job_id: str) -> str:
    """The queue of answered photos that a second person labels without proposals."""
    return f"{job_id}/checks"


def reviews_queue(job_id: str) -> str:
    """The queue of photos about which a reviewer decides."""
    return f"{job_id}/reviews"


NO_QUEUE: Mapping[str, Any] = {"Queue": None, "AvailableAt": None, "Lease": None}


def is_drawn(job_id: str, source_ref: str, share: float) -> bool:
    """Whether the photo is in the share of the job's photos that a second person labels as a check."""
    number = int.from_bytes(hashlib.sha256(f"{job_id} {source_ref}".encode()).digest()[:8])
    return number < share * 2**64


def leased(lease_id: str, person: str, now: int) -> dict[str, Any]:
    """The attributes of a photo that the person takes, or whose lease the person renews."""
    return {"Lease": {"Id": lease_id, "Person": person}, "AvailableAt": now + LEASE_MS}


def holds(photo: Item, lease_id: str | None, person: str) -> bool:
    """Whether the person has this lease. An expired lease counts until another person takes the photo."""
    return bool(lease_id) and photo.get("Lease") == {"Id": lease_id, "Person": person}


def current_answers(photo: Item, *, checks: bool = False) -> list[tuple[str, Mapping[str, Any]]]:
    """The answers since a reviewer last returned the photo, with their persons, oldest first.

    Without ``checks``, leaves out the answers that only check the others.
    """
    answers = [
        (person, answer)
        for person, answer in photo.get("Answers", {}).items()
        if answer["Time"] > photo.get("Since", 0) and (checks or not answer.get("Check"))
    ]
    return sorted(answers, key=lambda entry: (entry[1]["Time"], entry[0]))


def boxes_of(answer: Mapping[str, Any]) -> list[DrawnBox]:
    """The boxes of an answer, a review or a proposal."""
    return [
        DrawnBox(box["type"], box["left"], box["top"], box["width"], box["height"]) for box in answer.get("Boxes", ())
    ]


def last_review(photo: Item) -> Mapping[str, Any]:
    """The last decision about the photo, or an empty mapping."""
    return next(iter(reversed(photo.get("Reviews", ()))), {})


def merged(photo: Item) -> list[tuple[DrawnBox, float]] | None:
    """The photo's boxes with a confidence each, from the review or the answers; None if everybody skipped the photo."""
    review = last_review(photo)
    if review.get("Decision") == Decision.CORRECT:
        return [(box, 1.0) for box in boxes_of(review)]
    given = [boxes_of(answer) for _, answer in current_answers(photo) if answer["Outcome"] != Outcome.SKIPPED]
    return consolidate(given) if given else None


def answered(photo: Item, person: str, answer: Mapping[str, Any], phase: Phase, *, has_lease: bool) -> dict[str, Any]:
    """The attributes of the photo after the person's answer.

    Without a lease, the answer replaces an earlier one. If another person has a lease then, that person keeps it.
    """
    earlier: Mapping[str, Any] = photo.get("Answers", {}).get(person, {})
    is_check = photo.get("Queue") == checks_queue(photo["JobId"]) if has_lease else earlier.get("Check", False)
    attributes: dict[str, Any] = {
        "Answers": {**photo.get("Answers", {}), person: {**answer, **({"Check": True} if is_check else {})}},
        "People": sorted({*photo.get("People", ()), person}),
    }
    if has_lease and answer["Outcome"] == Outcome.SKIPPED:
        attributes["Skips"] = photo.get("Skips", 0) + 1
    if has_lease or ("Queue" in photo and "Lease" not in photo):
        attributes |= {"Lease": None, **_next_queue({**photo, **attributes}, phase)}
    return attributes


def _next_queue(photo: Item, phase: Phase) -> Mapping[str, Any]:
    answers = current_answers(photo)
    given = sum(answer["Outcome"] != Outcome.SKIPPED for _, answer in answers)
    if given < photo["Needed"] and photo.get("Skips", 0) < MOST_SKIPS:
        return {"Queue": labels_queue(photo["JobId"]), "AvailableAt": _latest(photo)}
    if phase is Phase.REVIEW:
        return {"Queue": reviews_queue(photo["JobId"]), "AvailableAt": 0}
    if photo.get("Drawn") and given and len(current_answers(photo, checks=True)) == len(answers):
        return {"Queue": checks_queue(photo["JobId"]), "AvailableAt": 0}
    return NO_QUEUE


def _latest(photo: Item) -> int:
    """The time of the last answer: a photo that needs another one comes after those that nobody has looked at."""
    return max((answer["Time"] for answer in photo["Answers"].values()), default=0)


def reviewed(photo: Item, review: Mapping[str, Any], *, has_lease: bool) -> dict[str, Any]:
    """The attributes of the photo after a reviewer's decision. ``review`` has Person, Decision, Time, Boxes or Note.

    Without a lease, the decision replaces the reviewer's last decision.
    """
    earlier = list(photo.get("Reviews", ()))
    reviews = [*(earlier if has_lease else earlier[:-1]), review]
    if review["Decision"] != Decision.RETURN:
        return {"Reviews": reviews, **NO_QUEUE}
    return {
        "Reviews": reviews,
        "Note": review["Note"],
        "Since": review["Time"],
        "Needed": 1,
        "Skips": None,
        "People": [],
        "Queue": labels_queue(photo["JobId"]),
        "AvailableAt": review["Time"],
        "Lease": None,
    }


def is_open(photo: Item) -> bool:
    """Whether the photo needs an answer or a review. A check holds up nothing: there may be no second person."""
    return photo.get("Queue") in (labels_queue(photo["JobId"]), reviews_queue(photo["JobId"]))
