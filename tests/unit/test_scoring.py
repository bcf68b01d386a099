"""Scores of detections against the truth."""

import pytest

from ekyc.scoring import Score, score
from rules.geometry import overlap


def test_overlap_is_the_shared_area_over_the_whole() -> None:
    assert overlap((0, 0, 10, 10), (0, 0, 10, 10)) == 1
    assert overlap((0, 0, 10, 10), (5, 0, 10, 10)) == pytest.approx(50 / 150)
    assert overlap((0, 0, 10, 10), (10, 0, 10, 10)) == 0


def test_a_detection_is_right_once_and_only_for_its_own_type() -> None:
    # Given a photo with a card that is found twice, a passport that is taken for a card, and an empty photo with a find
    documents = [("card", (0.0, 0.0, 100.0, 60.0)), ("passport", (200.0, 0.0, 100.0, 80.0))]
    detections = [
        ("card", (0.0, 0.0, 100.0, 54.0)),
        ("card", (1.0, 1.0, 100.0, 60.0)),
        ("card", (200.0, 0.0, 100.0, 80.0)),
    ]
    # When scored
    scores = score([(documents, detections), ([], [("passport", (0.0, 0.0, 9.0, 9.0))])])
    # Then the first find is right, the others are wrong, and the passport is missed
    assert (len(scores["card"].overlaps), scores["card"].wrong, scores["card"].missed) == (1, 2, 0)
    assert scores["card"].mean_iou == pytest.approx(0.9)
    assert (scores["passport"].recall, scores["passport"].precision, scores["passport"].f1) == (0, 0, 0)
    overall = sum(scores.values(), Score())
    assert (overall.precision, overall.recall) == (pytest.approx(1 / 4), pytest.approx(1 / 2))


def test_nothing_to_find_and_nothing_found_is_perfect() -> None:
    assert (Score().precision, Score().recall, Score().mean_iou) == (1, 1, 0)
