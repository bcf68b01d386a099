"""Splits labelled photos into training set and test set, so that no group of photos is in both."""

from collections import Counter, defaultdict
from collections.abc import Hashable, Mapping, Sequence

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
    units = _units(ranks, groups)
    assignment = _Assignment([_counts(unit, types) for unit in units])
    assignment.choose_test()
    assignment.put_types_in_both()
    chosen = [False] * len(ranks)
    for unit, is_test in zip(units, assignment.in_test, strict=True):
        for photo in unit:
            chosen[photo] = is_test
    return chosen


def _units(ranks: Sequence[bytes], groups: Sequence[Hashable]) -> list[list[int]]:
    """The photos of each group, in the order of their ranks. A unit goes to one set as a whole."""
    members: dict[Hashable, list[int]] = defaultdict(list)
    for photo in sorted(range(len(ranks)), key=ranks.__getitem__):
        members[groups[photo]].append(photo)
    return list(members.values())


def _counts(unit: list[int], types: Sequence[tuple[str, ...]]) -> dict[str, int]:
    """The number of the unit's photos that show each type."""
    counts: dict[str, int] = {}
    for photo in unit:
        for name in types[photo]:
            counts[name] = counts.get(name, 0) + 1
    return counts


class _Assignment:
    """Assigns units of photos to the training set or the test set. ``in_test`` has the set of each unit."""

    def __init__(self, shown: Sequence[Mapping[str, int]]) -> None:
        """``shown`` has, for each unit, the number of its photos by type."""
        self.in_test = [False] * len(shown)
        self._shown = shown
        self._units_of: dict[str, list[int]] = defaultdict(list)
        self._images: Counter[str] = Counter()  # photos by type
        self._tests: Counter[str] = Counter()  # photos in the test set by type
        for unit, counts in enumerate(shown):
            for name, count in counts.items():
                self._units_of[name].append(unit)
                self._images[name] += count

    def choose_test(self) -> None:
        """Choose units of each type for the test set, from the rarest type to the most frequent."""
        decided: set[int] = set()
        for name in sorted(self._units_of, key=lambda name: (self._images[name], name)):
            images = self._images[name]
            wanted = min(max(1, round(images * TEST_SHARE)), images - 1, MAX_TEST_IMAGES_PER_TYPE)
            for unit in self._units_of[name]:
                if unit in decided:
                    continue
                decided.add(unit)
                fits = self._tests[name] < wanted and self._tests[name] + self._shown[unit][name] / 2 <= wanted
                if fits and self._is_below_limit(unit):
                    self._move(unit, to_test=True)

    def put_types_in_both(self) -> None:
        """If all photos of a type are in one set, move the smallest unit that the other types can spare.

        Raises:
            TooFewImagesPerLabel: there is no such unit.
        """
        for name, own in self._units_of.items():
            for to_test in (True, False):
                if any(self.in_test[unit] is to_test for unit in own):
                    continue
                spare = (unit for unit in own if self._can_spare(unit, to_test=to_test))
                movable = min(spare, key=lambda unit: self._shown[unit][name], default=None)
                if movable is None:
                    raise TooFewImagesPerLabel(_why_not(name, self._images[name], len(own)))
                self._move(movable, to_test=to_test)

    def _can_spare(self, unit: int, *, to_test: bool) -> bool:
        """Whether each type of the unit has other photos in the set that the unit would leave."""
        if to_test:
            remaining = (self._images[name] - self._tests[name] > count for name, count in self._shown[unit].items())
            return all(remaining) and self._is_below_limit(unit)
        return all(self._tests[name] > count for name, count in self._shown[unit].items())

    def _is_below_limit(self, unit: int) -> bool:
        """Whether the test set may have the unit as well."""
        return all(self._tests[name] + count <= MAX_TEST_IMAGES_PER_TYPE for name, count in self._shown[unit].items())

    def _move(self, unit: int, *, to_test: bool) -> None:
        self.in_test[unit] = to_test
        for name, count in self._shown[unit].items():
            self._tests[name] += count if to_test else -count


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
