"""Groups of photos: photos of the same shot are found, and another document in the same place is not one of them."""

import io
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from pipeline.photos import GREY_SIDE, groups
from pipeline.photos.decoding import look
from pipeline.photos.groups import Sets, group
from pipeline.photos.prints import fingerprint
from tests.unit.photo_leaks import LEAKS, leak, two_on_one_table

SCENES = 16


def small(photo: bytes) -> np.ndarray:
    """The small grey copy that the decoder makes."""
    figures, _, grey = look(photo)
    assert "code" not in figures
    return np.asarray(Image.open(io.BytesIO(grey)))


def grouped(greys: Sequence[np.ndarray], subjects: Sequence[str | None] | None = None) -> list[int]:
    prints = np.stack([fingerprint(grey) for grey in greys])
    return group(prints, greys.__getitem__, subjects or [None] * len(greys))


@pytest.fixture(scope="module")
def tables() -> list[tuple[bytes, bytes]]:
    """For each scene, two photos that differ only in the document."""
    return [two_on_one_table(number) for number in range(SCENES)]


def test_planted_leaks_are_found_and_other_photos_are_not(tables: list[tuple[bytes, bytes]]) -> None:
    # Given scenes and a leak of each kind from each scene
    photos = [(scene, small(one)) for scene, (one, _) in enumerate(tables)]
    photos += [(scene, small(leak(kind, one, scene))) for kind in LEAKS for scene, (one, _) in enumerate(tables)]
    # When the photos are grouped
    found = grouped([grey for _, grey in photos])
    # Then at least 98 of 100 leaks are in the group of their scene
    planted = range(SCENES, len(photos))
    missed = [place for place in planted if found[place] != photos[place][0]]
    assert len(missed) <= 0.02 * len(planted)
    # And no group has two scenes
    assert all(photos[first][0] == scene for (scene, _), first in zip(photos, found, strict=True))


def test_another_document_on_the_same_table_is_no_leak(tables: list[tuple[bytes, bytes]]) -> None:
    # Given pairs of photos that differ only in the document
    greys = [small(photo) for table in tables for photo in table]
    # When the photos are grouped
    found = grouped(greys)
    # Then at most one pair is grouped: its faces are similar, and eight pixels high in the small grey copy
    assert sum(found[2 * scene + 1] == 2 * scene for scene in range(SCENES)) <= 1


def test_a_subject_joins_photos_that_look_different(tables: list[tuple[bytes, bytes]]) -> None:
    # Given a photo, a copy, and photos of other scenes, two of them with the same subject
    one, two, three = (table[0] for table in tables[:3])
    greys = [small(photo) for photo in (one, two, leak("recompressed, quality 50", one, 0), three)]
    # When they are grouped; Then the photos of the subject are one group, with the copies
    assert grouped(greys, [None, "7", "7", None]) == [0, 0, 0, 3]


def test_photos_of_one_colour_are_no_group() -> None:
    # Given photos in one colour, which show nothing that could be the same shot
    greys = [np.full((GREY_SIDE, GREY_SIDE), shade, np.uint8) for shade in (0, 90, 91, 255)]
    assert grouped(greys) == [0, 1, 2, 3]


def test_a_hundred_photos_of_one_shot_are_one_group(tables: list[tuple[bytes, bytes]]) -> None:
    # Given more photos of the same shot than are considered for a key
    one = small(tables[0][0]).astype(np.int16)
    noise = np.random.default_rng(3).integers(-4, 5, (100, GREY_SIDE, GREY_SIDE))
    greys = [*(one + noise).clip(0, 255).astype(np.uint8), small(tables[1][0])]
    # When they are grouped; Then they are one group without the other photo
    assert grouped(greys) == [0] * 100 + [100]


def test_few_pairs_are_compared_among_many_photos() -> None:
    # Given 3,000 photos with nothing in common
    dots = np.random.default_rng(1).integers(0, 256, (3000, 6, 6), dtype=np.uint8)
    greys = [np.asarray(Image.fromarray(dot).resize((GREY_SIDE, GREY_SIDE), Image.Resampling.BICUBIC)) for dot in dots]
    # When pairs to compare are searched; Then few of the 4.5 million pairs are found
    pairs = groups.candidates(np.stack([fingerprint(grey) for grey in greys]))
    assert len(pairs.first) < 100


def test_no_photo_and_one_photo() -> None:
    one = np.zeros((1, len(groups.WINDOWS), groups.NUMBERS), np.int8)
    assert group(one[:0], [].__getitem__, []) == []
    assert group(one, [].__getitem__, ["me"]) == [0]


@given(st.lists(st.tuples(st.integers(0, 19), st.integers(0, 19)), max_size=40))
@settings(max_examples=200, deadline=None)
def test_sets_join_transitively(joins: list[tuple[int, int]]) -> None:
    # Given any joins of twenty members
    sets, naive = Sets(20), [{member} for member in range(20)]
    for one, other in joins:
        sets.join(one, other)
        both = naive[one] | naive[other]
        for member in both:
            naive[member] = both
    # Then each set is named by its least member
    assert [sets.find(member) for member in range(20)] == [min(own) for own in naive]
