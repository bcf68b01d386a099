"""Intervals of a model's figures, by a bootstrap over groups of photos."""

from random import Random

import pytest

from rules.doubt import assess, sentence

FOUND, MISSED = {"ID_KTP": (1, 0, 0)}, {"ID_KTP": (0, 0, 1)}


def test_the_same_seed_gives_the_same_interval() -> None:
    groups = [FOUND] * 907 + [MISSED] * 93
    assert assess(groups, "job-1") == assess(groups, "job-1")
    assert assess(groups, "job-1") != assess(groups, "job-2")


def test_more_photos_make_the_interval_narrower() -> None:
    def width(times: int) -> float:
        overall, _ = assess([FOUND] * 9 * times + [MISSED] * times, "job")
        assert overall is not None
        return overall.intervals["f1"].high - overall.intervals["f1"].low

    assert width(1) > width(10) > width(100) > 0


@pytest.mark.parametrize(("groups", "low"), [(1, 0.025), (12, 0.735), (100, 0.964)])
def test_few_photos_without_a_mistake_are_no_proof(groups: int, low: float) -> None:
    overall, by_type = assess([FOUND] * groups, "job")
    assert overall is not None
    assert overall.figures == {"f1": 1, "precision": 1, "recall": 1}
    assert overall.intervals["f1"] == by_type["ID_KTP"].intervals["f1"]
    assert overall.intervals["f1"].low == pytest.approx(low, abs=0.001)
    assert overall.intervals["f1"].high == 1


def test_photos_of_one_group_count_as_one() -> None:
    # Given the same forty photos, apart and in groups of ten
    apart, _ = assess([FOUND] * 30 + [MISSED] * 10, "job")
    grouped, _ = assess([{"ID_KTP": (10, 0, 0)}] * 3 + [{"ID_KTP": (0, 0, 10)}], "job")
    # Then the figures are equal, and the groups are less sure
    assert apart is not None
    assert grouped is not None
    assert apart.figures == grouped.figures
    assert grouped.intervals["f1"].low < apart.intervals["f1"].low


def test_the_overall_figure_is_the_mean_over_the_types() -> None:
    groups = [FOUND] * 30 + [{"MY_NRIC": (1, 1, 0)}, {"MY_NRIC": (0, 0, 1)}]
    overall, by_type = assess(groups, "job")
    assert overall is not None
    assert by_type["MY_NRIC"].figures["f1"] == 0.5
    assert overall.figures["f1"] == 0.75


def test_no_document_in_the_photos_gives_no_figures() -> None:
    assert assess([{}, {"ID_KTP": (0, 2, 0)}], "job") == (None, {})


def test_the_interval_has_the_true_figure_as_often_as_it_says() -> None:
    # Given 60 test sets of 60 photos, of which a model finds 90 % of the documents
    random, hits = Random(1), 0  # noqa: S311
    for number in range(60):
        groups = [FOUND if random.random() < 0.9 else MISSED for _ in range(60)]
        overall, _ = assess(groups, str(number))
        assert overall is not None
        hits += overall.intervals["recall"].low <= 0.9 <= overall.intervals["recall"].high
    # Then about 95 % of the intervals have the true figure
    assert hits >= 54


@pytest.mark.parametrize(
    ("photos", "interval", "words"),
    [
        (12, {"low": 0.834, "high": 1}, "12 test photos: F1 0.97, between 0.83 and 1.00"),
        (1, {"low": 0.025, "high": 1}, "1 test photo: F1 0.97, between 0.03 and 1.00"),
        (1200, None, "1,200 test photos: F1 0.97, with an unknown interval"),
    ],
)
def test_one_sentence_has_the_figure_and_its_doubt(photos: int, interval: dict[str, float] | None, words: str) -> None:
    assert sentence(photos, 0.97, interval) == words
