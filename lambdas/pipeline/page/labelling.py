"""What people do on the labelling page: take photos, renew leases, answer photos, and look at their own answers."""

import random
import secrets
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from itertools import islice
from typing import Any

from boto3.dynamodb.conditions import Attr

from pipeline.jobs import PageTokenInvalid, now_ms
from pipeline.page import access, states
from pipeline.page.guide import read_guide
from pipeline.page.refusals import AnswerRefused, LabellingOver, LeaseLost, NoSuchPhoto
from pipeline.page.states import Outcome, Phase
from pipeline.page.tasks import Changed, Item, Tasks, photo_key

AHEAD = 25
"""How many available photos to choose from. People who ask at the same time then rarely choose the same photo."""
CHECKS_AHEAD = 25
ROUNDS = 3
"""How often to look for photos again if other people took all that were chosen."""
TRIES = 8
"""How often to write an answer while others change the same photo."""
FEW = 25
"""With fewer open photos than this, an answer may be the last. The index may be behind the table."""
PAGE = 100
GUIDE = read_guide()

Propose = Callable[[Item, list[Item]], list[Item]]
"""Adds the live model's proposals to the photos of a job."""


def take(tasks: Tasks, job_id: str, person: str, count: int, propose: Propose) -> list[dict[str, Any]]:
    """Lease up to ``count`` photos to the person; returns them as the page has them.

    Raises:
        NotLabelled, LabellingOver: as `access.open_job`.
    """
    job = access.open_job(tasks, job_id)
    taken: list[Item] = []
    if job["Phase"] == Phase.LABELLING and job["BlindShare"]:
        checks = islice(tasks.queue(states.checks_queue(job_id), now_ms(), limit=CHECKS_AHEAD), CHECKS_AHEAD)
        taken += take_from(tasks, states.checks_queue(job_id), _of_others(checks, person), person, count)
    for _ in range(ROUNDS):
        if len(taken) == count:
            break
        available = tasks.queue(states.labels_queue(job_id), now_ms(), limit=AHEAD)
        chosen = list(islice(_of_others(available, person), AHEAD))
        if not chosen:
            taken += _take_skipped(tasks, job_id, person, count - len(taken))
            break
        random.shuffle(chosen)
        taken += take_from(tasks, states.labels_queue(job_id), iter(chosen), person, count - len(taken))
    return [view(photo) for photo in propose(job, taken)]


def take_from(tasks: Tasks, queue: str, entries: Iterator[Item], person: str, count: int) -> list[Item]:
    """Lease photos among the index's ``entries`` to the person, until there are ``count``; returns them."""
    taken: list[Item] = []
    for entry in entries:
        if len(taken) == count:
            break
        lease = states.leased(secrets.token_hex(16), person, now_ms())
        with suppress(Changed):  # another person has taken or answered it
            taken.append(tasks.change(entry, Attr("Queue").eq(queue), **lease))
    return taken


def _of_others(entries: Iterator[Item], person: str) -> Iterator[Item]:
    """The entries of photos that the person has not answered."""
    return (entry for entry in entries if person not in entry.get("People", ()))


def _take_skipped(tasks: Tasks, job_id: str, person: str, count: int) -> list[Item]:
    """Lease photos that the person has skipped. They come last, so that another person sees them first."""
    own = (
        entry
        for entry in tasks.queue(states.labels_queue(job_id), now_ms(), limit=2 * AHEAD)
        if (photo := tasks.get(job_id, entry["Item"]))
        and photo.get("Answers", {}).get(person, {}).get("Outcome") == Outcome.SKIPPED
    )
    return take_from(tasks, states.labels_queue(job_id), own, person, count)


def renew(tasks: Tasks, job_id: str, person: str, leases: Mapping[int, str]) -> tuple[list[dict[str, Any]], list[int]]:
    """Renew the person's leases, given by place; returns the photos as the page has them, and the places that are lost.

    Raises:
        NotLabelled, LabellingOver: as `access.open_job`.
    """
    access.open_job(tasks, job_id)
    kept, lost = list[dict[str, Any]](), list[int]()
    for place, lease_id in leases.items():
        photo = tasks.get(job_id, photo_key(place))
        for _ in range(TRIES):
            if photo is None or not states.holds(photo, lease_id, person):
                lost.append(place)
                break
            try:
                kept.append(view(tasks.change(photo, **states.leased(lease_id, person, now_ms()))))
                break
            except Changed as changed:
                photo = changed.current
    return kept, lost


def answer(
    tasks: Tasks,
    job_id: str,
    person: str,
    place: int,
    lease_id: str | None,
    given: Mapping[str, Any],
    *,
    finish: Callable[[], None],
) -> dict[str, Any]:
    """Record the person's answer; returns it as the page has it. A repeated call changes nothing.

    ``given`` has Outcome, Boxes, Seconds, and Proposal or Reason. Calls ``finish`` if this may be the last answer.

    Raises:
        NotLabelled, LabellingOver: as `access.open_job`. The answer does not count then.
        NoSuchPhoto: the job has no such photo.
        LeaseLost: the person neither has the lease nor has answered the photo before.
        AnswerRefused: the boxes do not fit the job's types or the photo.
    """
    job, photo = access.open_job_and_photo(tasks, job_id, place)
    check_boxes(job, photo, given["Boxes"])
    is_first = True
    for _ in range(TRIES):
        has_lease, earlier = states.holds(photo, lease_id, person), photo.get("Answers", {}).get(person)
        is_first = earlier is None
        entry = {**given, "LeaseId": lease_id, "Time": now_ms()}
        if not has_lease:
            if earlier and lease_id and entry == {**earlier, "Time": entry["Time"]}:  # the call is repeated
                changed = photo
                break
            if lease_id:  # a correction names no lease, so this page does not show the answer that it would replace
                raise LeaseLost()
            _check_replaces(job, photo, earlier, given)
        try:
            changes = states.answered(photo, person, entry, Phase(job["Phase"]), has_lease=has_lease)
            changed = tasks.change(photo, **changes)
            break
        except Changed as conflict:
            if conflict.current is None:
                raise NoSuchPhoto("The job was erased.") from None
            photo = conflict.current
    else:
        raise AnswerRefused("Other people are changing this photo. Send the answer again.")
    access.check_still_open(tasks, job)
    seconds = given["Seconds"] if is_first else 0
    tasks.add_to_person(job_id, person, place, seconds, job["Expires"])
    if not states.is_open(changed) and is_nearly_done(tasks, job_id):
        finish()
    return answer_view(place, changed["Answers"][person])


def is_nearly_done(tasks: Tasks, job_id: str) -> bool:
    """Whether the job may have no open photo any more."""
    return tasks.count(states.labels_queue(job_id), most=FEW) < FEW and (
        tasks.count(states.reviews_queue(job_id), most=FEW) < FEW
    )


def _check_replaces(job: Item, photo: Item, earlier: Mapping[str, Any] | None, given: Mapping[str, Any]) -> None:
    """Check that an answer without a lease may replace the person's earlier answer."""
    if earlier is None or earlier["Time"] <= photo.get("Since", 0):
        raise LeaseLost()
    if job["Phase"] != Phase.LABELLING:
        raise LabellingOver(stopped=False)
    if given["Outcome"] == Outcome.SKIPPED and earlier["Outcome"] != Outcome.SKIPPED:
        raise AnswerRefused("You have answered this photo. Correct its boxes instead of skipping it.")


def check_boxes(job: Item, photo: Item, boxes: list[Mapping[str, Any]]) -> None:
    """Check that the boxes have types of the job and are inside the photo.

    Raises:
        AnswerRefused: names the first box that does not fit.
    """
    for number, box in enumerate(boxes, 1):
        if box["type"] not in job["DocumentTypes"]:
            raise AnswerRefused(f"Box {number}: {box['type'][:80]!r} is not one of the job's document types.")
        if box["left"] + box["width"] > photo["Width"] or box["top"] + box["height"] > photo["Height"]:
            raise AnswerRefused(
                f"Box {number} extends beyond the photo, which is {photo['Width']} x {photo['Height']} pixels."
            )


def own_answers(tasks: Tasks, job_id: str, person: str, token: str | None) -> tuple[list[dict[str, Any]], str | None]:
    """A page of the person's own answers in the order of the photos, and the token of the next page or None.

    Raises:
        NotLabelled, LabellingOver: as `access.open_job`.
        PageTokenInvalid: ``token`` was not returned by this function.
    """
    photos, following = own_photos(tasks, job_id, person, token, of="Places")
    answered = [photo for photo in photos if person in photo.get("Answers", {})]
    return [_own_view(photo, photo["Answers"][person]) for photo in answered], following


def own_photos(tasks: Tasks, job_id: str, person: str, token: str | None, *, of: str) -> tuple[list[Item], str | None]:
    """A page of the photos that `Tasks.add_to_person` has added, in order, and the token of the next page or None.

    Raises:
        NotLabelled, LabellingOver: as `access.open_job`.
        PageTokenInvalid: ``token`` was not returned by this function.
    """
    access.open_job(tasks, job_id)
    if token is not None and not (token.isascii() and token.isdigit() and len(token) <= 5):
        raise PageTokenInvalid("The page token was not returned by this list.")
    places, _ = tasks.own_places(job_id, person, of)
    rest = [place for place in places if place > int(token or 0)]
    page = rest[:PAGE]
    photos = tasks.get_many([(job_id, photo_key(place)) for place in page])
    return sorted(photos, key=lambda photo: int(photo["Place"])), str(page[-1]) if len(rest) > PAGE else None


def own_answer(tasks: Tasks, job_id: str, person: str, place: int) -> dict[str, Any]:
    """One of the person's own answers with its photo.

    Raises:
        NotLabelled, LabellingOver: as `access.open_job`.
        NoSuchPhoto: the person has not answered this photo.
    """
    photo = access.photo(tasks, access.open_job(tasks, job_id), place)
    given = photo.get("Answers", {}).get(person)
    if given is None:
        raise NoSuchPhoto(f"You have not answered photo {place}. Take the next photo.")
    return _own_view(photo, given)


def _own_view(photo: Item, given: Mapping[str, Any]) -> dict[str, Any]:
    return access.photo_view(photo) | {
        "outcome": given["Outcome"],
        "reason": given.get("Reason"),
        "boxes": given["Boxes"],
        "time": given["Time"],
    }


def job_for_person(tasks: Tasks, job_id: str, person: str) -> dict[str, Any]:
    """The job with the person's own progress.

    Raises:
        NotLabelled, LabellingOver: as `access.open_job`.
    """
    job = access.open_job(tasks, job_id)
    places, seconds = tasks.own_places(job_id, person)
    return access.job_view(tasks, job) | {
        "documentTypes": job["DocumentTypes"],
        "answersPerPhoto": job["AnswersPerPhoto"],
        "guide": GUIDE,
        "own": {"photos": len(places), "secondsPerPhoto": round(seconds / len(places), 1) if places else None},
    }


def view(photo: Item) -> dict[str, Any]:
    """A leased photo as the page has it."""
    return access.photo_view(photo) | {
        "leaseId": photo["Lease"]["Id"],
        "expires": photo["AvailableAt"],
        "proposals": None if photo.get("Drawn") else photo.get("Proposals", []),
    }


def answer_view(place: int, given: Mapping[str, Any]) -> dict[str, Any]:
    """An answer as the page has it."""
    return {"place": place, "outcome": given["Outcome"], "boxes": len(given["Boxes"]), "time": given["Time"]}
