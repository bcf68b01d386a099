"""What reviewers do on the labelling page: take doubtful photos, and decide about their labels."""

from collections.abc import Callable, Mapping
from typing import Any

from pipeline.jobs import now_ms
from pipeline.page import access, states
from pipeline.page.labelling import ROUNDS, TRIES, check_boxes, is_nearly_done, own_photos, take_from, view
from pipeline.page.refusals import AnswerRefused, LabellingOver, LeaseLost, NoSuchPhoto
from pipeline.page.states import Decision, Phase
from pipeline.page.tasks import Changed, Item, Tasks

AHEAD = 10


def take(tasks: Tasks, job_id: str, person: str, count: int) -> list[dict[str, Any]]:
    """Lease up to ``count`` photos to the reviewer, the most doubtful first; returns them as the page has them.

    Raises:
        NotLabelled, LabellingOver: as `access.open_job`.
    """
    job = access.open_job(tasks, job_id)
    queue, taken = states.reviews_queue(job_id), list[Item]()
    if job["Phase"] == Phase.REVIEW:
        for _ in range(ROUNDS):
            entries = tasks.queue(queue, now_ms(), limit=AHEAD)
            taken += take_from(tasks, queue, entries, person, count - len(taken))
            if len(taken) == count:
                break
    if taken:
        access.check_still_open(tasks, job)
    return [_review_view(photo) for photo in taken]


def review(
    tasks: Tasks,
    job_id: str,
    person: str,
    place: int,
    lease_id: str,
    given: Mapping[str, Any],
    *,
    finish: Callable[[], None],
) -> dict[str, Any]:
    """Record the reviewer's decision; returns it as the page has it. A repeated call changes nothing.

    ``given`` has Decision, and Boxes or Note. Calls ``finish`` if this may be the last decision. A reviewer may change
    a decision, except to have a photo labelled again.

    Raises:
        NotLabelled, LabellingOver: as `access.open_job`. The decision does not count then.
        NoSuchPhoto: the job has no such photo.
        LeaseLost: the reviewer neither has the lease nor has decided about the photo.
        AnswerRefused: the boxes do not fit, or the decision cannot be changed like this.
    """
    job = access.open_job(tasks, job_id)
    if job["Phase"] != Phase.REVIEW:
        raise LabellingOver(stopped=False)
    photo = access.photo(tasks, job, place)
    check_boxes(job, photo, given.get("Boxes", []))
    for _ in range(TRIES):
        has_lease, last = states.holds(photo, lease_id, person), states.last_review(photo)
        entry = {**given, "Person": person, "LeaseId": lease_id, "Time": now_ms()}
        if not has_lease:
            if entry == {**last, "Time": entry["Time"]}:  # the call is repeated
                entry, changed = dict(last), photo
                break
            _check_replaces(last, person, given)
        try:
            changed = tasks.change(photo, **states.reviewed(photo, entry, has_lease=has_lease))
            break
        except Changed as conflict:
            if conflict.current is None:
                raise NoSuchPhoto("The job was erased.") from None
            photo = conflict.current
    else:
        raise AnswerRefused("Other people are changing this photo. Send the decision again.")
    access.check_still_open(tasks, job)
    tasks.add_to_person(job_id, person, place, 0, job["Expires"], to="Reviewed")
    if not states.is_open(changed) and is_nearly_done(tasks, job_id):
        finish()
    return _decision_view(place, entry)


def own_reviews(tasks: Tasks, job_id: str, person: str, token: str | None) -> tuple[list[dict[str, Any]], str | None]:
    """A page of the reviewer's own decisions in the order of the photos, and the token of the next page or None.

    Leaves out photos about which another reviewer has decided since.

    Raises:
        NotLabelled, LabellingOver, PageTokenInvalid: as `own_photos`.
    """
    photos, following = own_photos(tasks, job_id, person, token, of="Reviewed")
    return [_own_view(photo) for photo in photos if states.last_review(photo).get("Person") == person], following


def own_review(tasks: Tasks, job_id: str, person: str, place: int) -> dict[str, Any]:
    """One of the reviewer's own decisions with its photo.

    Raises:
        NotLabelled, LabellingOver: as `access.open_job`.
        NoSuchPhoto: the reviewer has not decided about this photo, or another reviewer has decided since.
    """
    photo = access.photo(tasks, access.open_job(tasks, job_id), place)
    if states.last_review(photo).get("Person") != person:
        raise NoSuchPhoto(f"The last decision about photo {place} is not yours. Take the next photo.")
    return _own_view(photo)


def _check_replaces(last: Mapping[str, Any], person: str, given: Mapping[str, Any]) -> None:
    """Check that a decision without a lease may replace the reviewer's last decision."""
    if last.get("Person") != person:
        raise LeaseLost()
    if Decision.RETURN in (given["Decision"], last["Decision"]):
        raise AnswerRefused("You have decided about this photo. It can no longer be returned, or was returned already.")


def _own_view(photo: Item) -> dict[str, Any]:
    """The photo with its last decision, whose lease's id a changed decision repeats."""
    last = states.last_review(photo)
    decision = _decision_view(photo["Place"], last) | {"leaseId": last["LeaseId"]}
    return access.photo_view(photo) | decision | {"proposals": photo.get("Proposals", [])} | _reasons(photo)


def _review_view(photo: Item) -> dict[str, Any]:
    return view(photo) | _reasons(photo)


def _reasons(photo: Item) -> dict[str, Any]:
    """What a reviewer decides about: the labels, the answers, and the doubts."""
    answers = states.current_answers(photo, checks=True)
    return {
        "labels": access.box_views([box for box, _ in states.merged(photo) or []]),
        "answers": [{"outcome": answer["Outcome"], "boxes": answer["Boxes"]} for _, answer in answers],
        "doubts": photo.get("Doubts", []),
    }


def _decision_view(place: int, review: Mapping[str, Any]) -> dict[str, Any]:
    return {"place": place, "decision": review["Decision"], "time": review["Time"]}
