"""The split into training set and test set: each type is in both sets, each group in one."""

import hashlib
import re
from collections import Counter
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.errors import TooFewImagesPerLabel
from pipeline.photos.splitting import leaked, split

GROUPED = st.lists(
    st.tuples(
        st.sets(st.sampled_from("ABCDE"), min_size=1, max_size=3).map(lambda shown: tuple(sorted(shown))),
        st.integers(0, 12),
    )
)
SHOWN = st.lists(st.sets(st.sampled_from("ABCDE"), min_size=1, max_size=3).map(lambda shown: tuple(sorted(shown))))


def ranks(count: int, seed: int) -> list[bytes]:
    return [hashlib.sha256(f"{seed} {photo}".encode()).digest() for photo in range(count)]


def assert_both_sides(types: Sequence[Sequence[str]], in_test: Sequence[bool]) -> None:
    for name in {name for shown in types for name in shown}:
        sides = {tested for shown, tested in zip(types, in_test, strict=True) if name in shown}
        assert sides == {True, False}, name


@given(SHOWN, st.integers(0, 1000))
@settings(max_examples=300, deadline=None)
def test_a_split_has_every_type_in_both_sets_or_is_refused(types: list[tuple[str, ...]], seed: int) -> None:
    # Given photos that show any types; When split; Then every type is in both sets, or the error names a type
    try:
        in_test = split(ranks(len(types), seed), types, range(len(types)))
    except TooFewImagesPerLabel as error:
        assert "cannot be split" in str(error)  # noqa: PT017 - either outcome is right
    else:
        assert_both_sides(types, in_test)


@given(SHOWN, st.integers(0, 1000))
@settings(max_examples=300, deadline=None)
def test_two_photos_of_its_own_are_enough_for_a_type(types: list[tuple[str, ...]], seed: int) -> None:
    # Given photos of any types, and two of each type that show it alone; When split; Then it always succeeds
    types = [*types, *[(name,) for name in "ABCDE"] * 2]
    assert_both_sides(types, split(ranks(len(types), seed), types, range(len(types))))


@given(st.dictionaries(st.sampled_from("ABCDE"), st.integers(2, 60), min_size=1), st.integers(0, 1000))
@settings(max_examples=100, deadline=None)
def test_a_fifth_of_each_type_is_tested(counts: dict[str, int], seed: int) -> None:
    # Given photos of one document each; When split; Then each type has a fifth of its photos in the test set
    types = [(name,) for name, count in counts.items() for _ in range(count)]
    in_test = split(ranks(len(types), seed), types, range(len(types)))
    tests = Counter(shown[0] for shown, tested in zip(types, in_test, strict=True) if tested)
    assert tests == {name: max(1, round(count / 5)) for name, count in counts.items()}


@given(GROUPED, st.randoms(use_true_random=False))
@settings(max_examples=200, deadline=None)
def test_a_split_does_not_depend_on_the_order_of_the_lines(photos: list[tuple[Any, int]], random: Any) -> None:
    # Given the same photos, of one group or another, in two orders
    ranked = list(zip(ranks(len(photos), 1), photos, strict=True))
    shuffled = random.sample(ranked, len(ranked))

    def tested(pairs: list[tuple[bytes, tuple[Any, int]]]) -> set[bytes] | None:
        try:
            in_test = split(
                [rank for rank, _ in pairs], [shown for _, (shown, _) in pairs], [group for _, (_, group) in pairs]
            )
        except TooFewImagesPerLabel:
            return None
        return {rank for (rank, _), tested in zip(pairs, in_test, strict=True) if tested}

    # When both are split; Then the same photos are tested, or both are refused
    assert tested(shuffled) == tested(ranked)


@given(GROUPED, st.integers(0, 1000))
@settings(max_examples=300, deadline=None)
def test_no_group_is_in_both_sets_and_every_type_is(photos: list[tuple[tuple[str, ...], int]], seed: int) -> None:
    # Given photos of any types, some of one shot; When split
    types, groups = [shown for shown, _ in photos], [group for _, group in photos]
    try:
        in_test = split(ranks(len(types), seed), types, groups)
    except TooFewImagesPerLabel as error:
        assert re.search(r"cannot be split", str(error))  # noqa: PT017 - either outcome is right
    else:
        # Then each group is on one side, and each type on both
        assert leaked(in_test, groups) == 0
        assert_both_sides(types, in_test)


def test_groups_are_tested_in_the_share_of_their_photos() -> None:
    # Given 1,000 photos of two types in groups of one to seven
    groups = [group for group in range(250) for _ in range(1 + group % 7)]
    types = [("A",) if group % 3 else ("B",) for group in groups]
    # When split
    in_test = split(ranks(len(types), 5), types, groups)
    # Then a fifth of each type's photos is tested, give or take half of a group
    for name in "AB":
        own = [tested for shown, tested in zip(types, in_test, strict=True) if shown == (name,)]
        assert abs(sum(own) - len(own) / 5) <= 4
    # And a split by photo would have tested photos whose shot was trained on
    assert leaked(in_test, groups) == 0
    assert leaked(split(ranks(len(types), 5), types, range(len(types))), groups) > 100


def test_a_large_group_is_trained_on() -> None:
    # Given ten photos, eight of one shot; When split
    groups = [0] * 8 + [1, 2]
    in_test = split(ranks(10, 0), [("A",)] * 10, groups)
    # Then the eight are trained on
    assert not any(in_test[:8])
    assert any(in_test[8:])


def test_photos_of_one_shot_alone_are_refused_in_words() -> None:
    with pytest.raises(TooFewImagesPerLabel, match=r"The 3 photos of A cannot be split .* Add photos of another A"):
        split(ranks(5, 0), [("A",)] * 3 + [("B",)] * 2, [7, 7, 7, 8, 9])


def test_no_type_has_more_than_1000_test_photos() -> None:
    # Given 20,000 photos of two types, often together; When split; Then neither is tested on more than 1,000
    types: list[tuple[str, ...]] = [("A",), ("A", "B"), ("B",), ("A",)] * 5000
    in_test = split(ranks(len(types), 3), types, range(len(types)))
    tests = Counter(name for shown, tested in zip(types, in_test, strict=True) if tested for name in shown)
    assert max(tests.values()) == 1000
    assert min(tests.values()) > 500


def test_types_that_only_occur_together_are_refused_in_words() -> None:
    # Given three photos of which each shows two of three types: no split has every type on both sides
    with pytest.raises(TooFewImagesPerLabel, match=r"2 photos of .* Add photos that show only ."):
        split(ranks(3, 0), [("A", "B"), ("B", "C"), ("A", "C")], range(3))
