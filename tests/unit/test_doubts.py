"""Which labels a reviewer sees first."""

import random

from rules.consolidation import DrawnBox, agreement
from rules.doubts import Given, doubts

CARD = DrawnBox("ID_KTP", 100, 100, 320, 200)


def given(*boxes: DrawnBox, others: list[list[DrawnBox]] | None = None, model: list[DrawnBox] | None = None) -> Given:
    return Given(1000, 800, list(boxes), [list(boxes), *(others or [])], model)


def test_people_agree_by_type_and_place() -> None:
    moved = CARD._replace(left=110)
    assert agreement([CARD], [CARD]) == agreement([], []) == 1.0
    assert 0.9 < agreement([CARD], [moved]) < 1
    assert agreement([CARD], [CARD._replace(label="AU_PASSPORT")]) == 0.0
    assert agreement([CARD], []) == 0.0
    assert agreement([CARD], [CARD, moved._replace(left=600)]) == 0.5
    assert agreement([CARD, moved], [moved, CARD]) == 1.0


def test_each_doubt_has_its_reason() -> None:
    sure = [given(CARD._replace(left=100 + number)) for number in range(20)]
    found = doubts(
        [
            *sure,
            given(CARD, others=[[CARD._replace(label="AU_PASSPORT")]]),
            given(CARD, model=[]),
            given(CARD._replace(width=20, height=300)),
            Given(1000, 800, None, [], None),
        ]
    )
    assert all(doubt.score == 0 for doubt in found[:20])
    assert [list(doubt.kinds) for doubt in found[20:]] == [["disagreement"], ["model"], ["shape"], ["skipped"]]
    assert all(doubt.score > 0 for doubt in found[20:])


def test_planted_errors_come_first_with_a_model() -> None:
    # Given 400 photos with labels that vary as those of people do, and a model that varies too
    hand = random.Random(7)  # noqa: S311

    def drawn(box: DrawnBox) -> DrawnBox:
        return box._replace(left=box.left + hand.randint(-4, 4), width=box.width + hand.randint(-4, 4))

    truth = [
        DrawnBox(hand.choice(["A", "B"]), hand.randint(0, 300), 50, hand.randint(200, 400), 200) for _ in range(400)
    ]
    labels = [[drawn(box)] for box in truth]
    # When one of twenty has a wrong type, a wrong box, no box, or one box more
    planted = set(hand.sample(range(400), 20))
    for number, place in enumerate(sorted(planted)):
        box = labels[place][0]
        labels[place] = [
            [box._replace(label="B" if box.label == "A" else "A")],
            [box._replace(left=box.left + 150)],
            [],
            [box, box._replace(left=box.left + 500)],
        ][number % 4]
    photos = [Given(1000, 800, boxes, [boxes], [drawn(box)]) for boxes, box in zip(labels, truth, strict=True)]
    # Then they are in the first tenth of the queue
    scores = [doubt.score for doubt in doubts(photos)]
    first = sorted(range(400), key=lambda place: -scores[place])[:40]
    assert planted <= set(first)
