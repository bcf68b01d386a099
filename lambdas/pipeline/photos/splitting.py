"""Splits labelled photos into training set and test set, so that no group of photos is in both."""

from collections import Counter, defaultdict
from collections.abc import Hashable, Sequence

from pipeline.errors import TooFewImagesPerLabel

TEST_SHARE = 0.2
# Custom Labels guide, "Guidelines and quotas": a label may have 0 to 1,000 images in the test dataset.
MAX_TEST_IMAGES_PER_TYPE = 1000


def split(ranks: Sequence[bytes], types: Sequence[tuple[str, ...]], groups: Sequence[Hashable]) -> list[bool]:
    """Choose the photos of the test set: a fifth of each type's photos, at least one, at most 1,000, and not all.

    All photos of a group are in one set. Types are split from the rarest to the most frequent. A photo that shows
    several types counts for each, and its group stays in the set that was chosen for its rarest type. A group that is
    larger than the rest of the fifth is in the test set if at least half of the group fits.

    Args:
        ranks: for each photo, a hash that orders the photos at random.
        types: for each photo, the document types that it shows.
        groups: for each photo, a value that only the photos of its group have.

    Returns:
        For each photo, whether it is in the test set.

    Raises:
        TooFewImagesPerLabel: the photos of a type cannot be in both sets, because they are one group, or because other
            types need them in one set.
    """
    members: dict[Hashable, list[int]] = defaultdict(list)
    for photo in sorted(range(len(ranks)), key=ranks.__getitem__):
        members[groups[photo]].append(photo)
    units = list(members.values())
    shown = [_counts(unit, types) for unit in units]
    units_of: dict[str, list[int]] = defaultdict(list)
    images: Counter[str] = Counter()
    for unit, counts in enumerate(shown):
        for name, count in counts.items():
            units_of[name].append(unit)
            images[name] += count

    in_test: list[bool | None] = [None] * len(units)
    tests: Counter[str] = Counter()
    for name in sorted(units_of, key=lambda name: (images[name], name)):
        wanted = min(max(1, round(images[name] * TEST_SHARE)), images[name] - 1, MAX_TEST_IMAGES_PER_TYPE)
        for unit in units_of[name]:
            if in_test[unit] is None:
                counts = shown[unit]
                fits = tests[name] < wanted and tests[name] + counts[name] / 2 <= wanted
                in_test[unit] = fits and all(tests[one] + counts[one] <= MAX_TEST_IMAGES_PER_TYPE for one in counts)
                if in_test[unit]:
                    for one in counts:
                        tests[one] += counts[one]

    # If all photos of a type are in one set, move the smallest group that the other types can spare.
    for name, own in units_of.items():
        for side in (True, False):
            if any(in_test[unit] is side for unit in own):
                continue

            def can_spare(unit: int, side: bool = side) -> bool:
                for one, count in shown[unit].items():
                    if side and not (
                        images[one] - tests[one] > count and tests[one] + count <= MAX_TEST_IMAGES_PER_TYPE
                    ):
                        return False
                    if not side and tests[one] <= count:
                        return False
                return True

            movable = min(filter(can_spare, own), key=lambda unit: shown[unit][name], default=None)
            if movable is None:
                raise TooFewImagesPerLabel(_why_not(name, images[name], len(own)))
            in_test[movable] = side
            for one, count in shown[movable].items():
                tests[one] += count if side else -count
    chosen = [False] * len(ranks)
    for unit_photos, is_test in zip(units, in_test, strict=True):
        for photo in unit_photos:
            chosen[photo] = bool(is_test)
    return chosen


def _counts(unit: list[int], types: Sequence[tuple[str, ...]]) -> dict[str, int]:
    """The number of the unit's photos that show each type."""
    counts: dict[str, int] = {}
    for photo in unit:
        for name in types[photo]:
            counts[name] = counts.get(name, 0) + 1
    return counts


def _why_not(name: str, images: int, groups: int) -> str:
    if groups == 1:
        return (
            f"The {images} photos of {name} cannot be split between training and test set, because all show the same "
            f"shot or the same subject. Add photos of another {name}."
        )
    return (
        f"The {images} photos of {name} cannot be split between training and test set, because each also shows a type "
        f"that needs it in the other set. Add photos that show only {name}."
    )


def leaked(in_test: Sequence[bool], groups: Sequence[Hashable]) -> int:
    """The number of test photos with a photo of their group in the training set."""
    in_training = {group for group, is_test in zip(groups, in_test, strict=True) if not is_test}
    return sum(is_test and group in in_training for group, is_test in zip(groups, in_test, strict=True))
