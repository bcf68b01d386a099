"""The rules for a photo on the labelling page: who gets it next, and which boxes count."""

from typing import Any

import pytest

from pipeline.page import states
from pipeline.page.states import Decision, Outcome, Phase

JOB = "ekyc-20261130000000-0000000000000000"
LABELS, CHECKS, REVIEWS = (name(JOB) for name in (states.labels_queue, states.checks_queue, states.reviews_queue))


def photo(**attributes: Any) -> dict[str, Any]:
    return {"JobId": JOB, "Place": 1, "Needed": 1, "Queue": LABELS, "AvailableAt": 1, "Version": "v", **attributes}


def given(time: int, left: int = 0, outcome: str = "labelled") -> dict[str, Any]:
    boxes = [] if outcome == "skipped" else [{"type": "ID_KTP", "left": left, "top": 0, "width": 10, "height": 10}]
    return {"Outcome": outcome, "Boxes": boxes, "Seconds": 1, "Time": time}


def after(before: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    """The item after a write: None removes an attribute."""
    return {name: value for name, value in {**before, **changes}.items() if value is not None}


def answered(before: dict[str, Any], person: str, answer: dict[str, Any], **options: Any) -> dict[str, Any]:
    options = {"has_lease": True, "phase": Phase.LABELLING, **options}
    phase = options.pop("phase")
    return after(before, states.answered(before, person, answer, phase, **options))


def test_an_answered_photo_leaves_the_queue() -> None:
    item = answered(photo(Lease={"Id": "1", "Person": "ann"}), "ann", given(5))
    assert not {"Queue", "AvailableAt", "Lease"} & set(item)
    assert not states.is_open(item)
    assert [(box.left, confidence) for box, confidence in states.merged(item) or ()] == [(0, 0.0)]


def test_a_photo_waits_for_as_many_answers_as_it_needs() -> None:
    first = answered(photo(Needed=2), "ann", given(5))
    assert (first["Queue"], first["AvailableAt"], first["People"]) == (LABELS, 5, ["ann"])
    second = answered(first, "ben", given(6, left=2))
    assert "Queue" not in second
    assert [(box.left, confidence) for box, confidence in states.merged(second) or ()] == [(1, 1.0)]


def test_a_check_neither_holds_up_nor_changes_the_labels() -> None:
    first = answered(photo(Drawn=True), "ann", given(5))
    assert (first["Queue"], states.is_open(first)) == (CHECKS, False)
    checked = answered(first, "ben", given(6, left=500))
    assert "Queue" not in checked
    assert [box.left for box, _ in states.merged(checked) or ()] == [0]
    # And a corrected check is still a check
    corrected = answered(checked, "ben", given(7, left=700), has_lease=False)
    assert [box.left for box, _ in states.merged(corrected) or ()] == [0]


def test_a_photo_that_is_skipped_twice_stays_unlabelled() -> None:
    once = answered(photo(), "ann", given(5, outcome="skipped"))
    assert (once["Queue"], states.is_open(once)) == (LABELS, True)
    twice = answered(once, "ann", given(6, outcome="skipped"))
    assert "Queue" not in twice
    assert states.merged(twice) is None


def test_a_correction_does_not_take_another_persons_lease() -> None:
    first = answered(photo(Needed=2), "ann", given(5))
    held = after(first, states.leased("lease", "ben", 10))
    corrected = answered(held, "ann", given(11, left=4), has_lease=False)
    assert states.holds(corrected, "lease", "ben")
    assert corrected["Queue"] == LABELS
    assert corrected["Answers"]["ann"]["Boxes"][0]["left"] == 4


def test_a_returned_photo_needs_an_answer_and_a_review() -> None:
    item = answered(photo(Needed=2), "ann", given(5))
    item = answered(item, "ben", given(6))
    review = {"Person": "rita", "Decision": Decision.RETURN, "Note": "The back.", "Time": 9}
    returned = after(item, states.reviewed(item, review, has_lease=True))
    assert (returned["Queue"], returned["People"], returned["Note"]) == (LABELS, [], "The back.")
    # The earlier answers are kept, and do not count
    assert set(returned["Answers"]) == {"ann", "ben"}
    assert states.merged(returned) is None
    again = answered(returned, "ben", given(12, left=3), phase=Phase.REVIEW)
    assert (again["Queue"], states.is_open(again)) == (REVIEWS, True)
    assert [box.left for box, _ in states.merged(again) or ()] == [3]
    accepted = after(
        again, states.reviewed(again, {"Person": "rita", "Decision": Decision.ACCEPT, "Time": 15}, has_lease=True)
    )
    assert not states.is_open(accepted)
    assert [review["Decision"] for review in accepted["Reviews"]] == ["return", "accept"]


def test_a_corrected_photo_has_the_reviewers_boxes() -> None:
    item = answered(photo(), "ann", given(5))
    review = {"Person": "rita", "Decision": Decision.CORRECT, "Boxes": given(0, left=77)["Boxes"], "Time": 9}
    corrected = after(item, states.reviewed(item, review, has_lease=True))
    assert [(box.left, confidence) for box, confidence in states.merged(corrected) or ()] == [(77, 1.0)]
    # A decision that replaces it is the only one that counts
    changed = after(
        corrected, states.reviewed(corrected, review | {"Decision": Decision.ACCEPT, "Time": 11}, has_lease=False)
    )
    assert [box.left for box, _ in states.merged(changed) or ()] == [0]
    assert len(changed["Reviews"]) == 1


@pytest.mark.parametrize("share", [0, 0.05, 1])
def test_the_drawn_photos_are_that_share_of_a_job(share: float) -> None:
    drawn = [states.is_drawn(JOB, f"s3://bucket/photo-{number}.jpg", share) for number in range(4000)]
    assert abs(sum(drawn) / 4000 - share) < 0.015
    assert drawn == [states.is_drawn(JOB, f"s3://bucket/photo-{number}.jpg", share) for number in range(4000)]


def test_a_lease_counts_until_another_person_takes_the_photo() -> None:
    item = after(photo(), states.leased("one", "ann", 0))
    assert item["AvailableAt"] == states.LEASE_MS
    assert states.holds(item, "one", "ann")
    assert not states.holds(item, "one", "ben")
    assert not states.holds(item, None, "ann")
    assert not states.holds(after(item, states.leased("two", "ben", states.LEASE_MS)), "one", "ann")


def test_outcomes_have_the_words_of_the_api() -> None:
    assert [str(outcome) for outcome in Outcome] == ["labelled", "no-document", "skipped"]
