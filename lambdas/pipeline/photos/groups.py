"""Groups a job's photos of the same shot or subject, so that no group is in both training set and test set.

To compare all pairs of photos would take days. An index finds photos with equal parts of fingerprints, as an index of
words finds texts. Then the whole fingerprints are compared, and only the most similar photos are laid over each other.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from pipeline.photos import alike
from pipeline.photos.greys import opened
from pipeline.photos.parts import Accepted, Part
from pipeline.photos.prints import ASKED, NUMBERS, WINDOWS

Indices = npt.NDArray[np.intp]

# A key has the signs of `KEY_BITS` numbers of a window. Photos of the same shot have at least one of `KEYS` in common.
KEY_BITS, KEYS = 24, 6
CHOSEN = np.stack([np.random.default_rng(key).permutation(NUMBERS)[:KEY_BITS] for key in range(KEYS)])
# The signs of the smallest numbers are the most likely to differ. A photo is also looked up with these signs inverted.
UNSURE = 5
# The most photos with an equal key to consider, those with the nearest names: bursts and copies have similar names.
SAME_KEY = 32
# The most signs of a window that may differ, and the least cosine similarity of its numbers.
MOST_SIGNS, LEAST_COSINE = 14, 0.9
# The most photos that a photo is laid over.
NEAREST = 4
# Photos looked up at a time. Limits the memory.
LOOKED_UP = 1024


class Pairs(NamedTuple):
    """Photos that may show the same shot, the most similar first. Window ``asked`` of ``first`` is like ``found``."""

    first: Indices
    second: Indices
    asked: Indices
    found: Indices


class Sets:
    """Disjoint sets of the numbers below ``count``. A set is named by its least number."""

    def __init__(self, count: int) -> None:
        self._up = list(range(count))

    def find(self, member: int) -> int:
        """The least number of the member's set."""
        up = self._up
        while up[member] != member:
            up[member] = up[up[member]]
            member = up[member]
        return member

    def join(self, one: int, other: int) -> None:
        """Join the sets of both numbers."""
        low, high = sorted((self.find(one), self.find(other)))
        self._up[high] = low


def group(
    fingerprints: npt.NDArray[np.int8],
    grey: Callable[[int], npt.NDArray[np.uint8]],
    subjects: Sequence[str | None],
) -> list[int]:
    """Find the group of each photo, which is the number of the first photo in the group.

    Args:
        fingerprints: photos x `WINDOWS` x `NUMBERS`, in the order of the photos' names.
        grey: returns the small grey copy (`GREY_SIDE` x `GREY_SIDE`) of a photo, by its number.
        subjects: for each photo, the person or thing that it shows according to the uploader, or None.
    """
    sets = Sets(len(fingerprints))
    first_of: dict[str, int] = {}
    for photo, subject in enumerate(subjects):
        if subject is not None:
            sets.join(first_of.setdefault(subject, photo), photo)
    pairs = candidates(fingerprints)
    start = alike.starts(pairs.asked, pairs.found)
    for pair, (one, other) in enumerate(zip(pairs.first.tolist(), pairs.second.tolist(), strict=True)):
        if sets.find(one) != sets.find(other) and alike.same_shot(grey(one), grey(other), start[pair]):
            sets.join(one, other)
    return [sets.find(photo) for photo in range(len(fingerprints))]


def group_parts(parts: Sequence[Part], places: Sequence[tuple[int, int]]) -> list[int]:
    """Find the group of each photo in ``places``, each given by its part and its place among the part's photos.

    Rejected photos have no place.
    """
    shape = (-1, len(WINDOWS), NUMBERS)
    accepted = [[photo for photo in part.photos if isinstance(photo, Accepted)] for part in parts]
    of_part = [np.frombuffer(part.fingerprints, np.int8).reshape(shape) for part in parts]
    ends = [np.cumsum([0, *(photo.grey for photo in photos)]) for photos in accepted]

    def grey(photo: int) -> npt.NDArray[np.uint8]:
        number, place = places[photo]
        start, stop = ends[number][place : place + 2]
        return opened(parts[number].greys()[start:stop])

    fingerprints = np.stack([of_part[number][place] for number, place in places])
    return group(fingerprints, grey, [accepted[number][place].subject for number, place in places])


def candidates(fingerprints: npt.NDArray[np.int8]) -> Pairs:
    """The pairs of photos to compare, at most `NEAREST` for each photo."""
    count = len(fingerprints)
    if not count:
        return Pairs(*np.zeros((4, 0), np.intp))
    index = _Index(fingerprints)
    found = [_nearest(fingerprints, *index.look_up(photos)) for photos in _in_blocks(count, LOOKED_UP)]
    first, second, asked, hit, likeness = (np.concatenate(column) for column in zip(*found, strict=True))
    # If both photos of a pair found each other, keep the more similar entry.
    order = np.argsort(-likeness, kind="stable")
    names = np.minimum(first, second)[order] * count + np.maximum(first, second)[order]
    order = order[np.sort(np.unique(names, return_index=True)[1])]
    return Pairs(first[order], second[order], asked[order], hit[order])


def _in_blocks(count: int, size: int) -> Iterator[Indices]:
    for start in range(0, count, size):
        yield np.arange(start, min(start + size, count))


class _Index:
    """All windows of all photos by their keys. An entry is the photo's number times `WINDOWS` plus the window's."""

    def __init__(self, fingerprints: npt.NDArray[np.int8]) -> None:
        self._prints = fingerprints
        self.signs = _packed(fingerprints.reshape(-1, NUMBERS) > 0)
        self._sorted: list[tuple[npt.NDArray[np.int32], npt.NDArray[np.int32]]] = []
        for chosen in CHOSEN:
            keys = _keys(fingerprints.reshape(-1, NUMBERS)[:, chosen] > 0)
            entries = np.argsort(keys, kind="stable").astype(np.int32)
            self._sorted.append((keys[entries], entries))

    def look_up(self, photos: Indices) -> tuple[Indices, Indices]:
        """Find windows of other photos that have a key in common with a window of ``photos``.

        Returns:
            Two columns of entries: the windows of ``photos``, and the windows found. At most `MOST_SIGNS` signs of each
            pair differ. No pair occurs twice.
        """
        asked = (photos[:, None] * len(WINDOWS) + np.arange(ASKED)).reshape(-1)
        numbers = self._prints[photos, :ASKED].reshape(-1, NUMBERS)
        found = []
        for chosen, (in_order, entries) in zip(CHOSEN, self._sorted, strict=True):
            keys = _probes(numbers[:, chosen])
            low = np.searchsorted(in_order, keys)
            many = np.searchsorted(in_order, keys, "right") - low
            own = np.repeat(asked, keys.shape[1]).reshape(keys.shape)
            crowded = many > SAME_KEY
            for place in zip(*np.nonzero(crowded), strict=True):
                at = np.searchsorted(entries[low[place] : low[place] + many[place]], own[place]) - SAME_KEY // 2
                low[place] += min(max(at, 0), many[place] - SAME_KEY)
            many = np.minimum(many, SAME_KEY).reshape(-1)
            ends = np.cumsum(many)
            inside = np.arange(ends[-1]) - np.repeat(ends - many, many)
            hits = entries[np.repeat(low.reshape(-1), many) + inside].astype(np.intp)
            windows = np.repeat(own.reshape(-1), many)
            differ = np.bitwise_count(self.signs[windows] ^ self.signs[hits])
            near = (differ <= MOST_SIGNS) & (windows // len(WINDOWS) != hits // len(WINDOWS))
            found.append(windows[near] * len(self.signs) + hits[near])
        windows, hits = np.divmod(np.unique(np.concatenate(found)), len(self.signs))
        return windows, hits


def _packed(bits: npt.NDArray[np.bool_]) -> npt.NDArray[np.uint64]:
    """Pack each row of up to 64 bits into a number."""
    octets = np.packbits(bits, axis=1)
    return np.pad(octets, ((0, 0), (0, 8 - octets.shape[1]))).view(np.uint64).reshape(-1)


def _keys(bits: npt.NDArray[np.bool_]) -> npt.NDArray[np.int32]:
    return bits @ (1 << np.arange(KEY_BITS, dtype=np.int32))


def _probes(numbers: npt.NDArray[np.int8]) -> npt.NDArray[np.int32]:
    """For each row, its key and the keys with any combination of its unsure signs inverted."""
    unsure = np.argsort(np.abs(numbers.astype(np.int16)), axis=1, kind="stable")[:, :UNSURE]
    turned = (np.arange(1 << UNSURE)[:, None] >> np.arange(UNSURE)) & 1
    masks = (1 << unsure).astype(np.int32) @ turned.T.astype(np.int32)
    return _keys(numbers > 0)[:, None] ^ masks


def _nearest(
    fingerprints: npt.NDArray[np.int8], windows: Indices, hits: Indices
) -> tuple[Indices, Indices, Indices, Indices, npt.NDArray[np.float32]]:
    """For each photo, the `NEAREST` other photos by cosine similarity, as columns of pairs."""
    rows = fingerprints.reshape(-1, NUMBERS)
    ones, others = rows[windows].astype(np.float32), rows[hits].astype(np.float32)
    lengths = np.sqrt((ones * ones).sum(axis=1) * (others * others).sum(axis=1))
    likeness = (ones * others).sum(axis=1) / np.maximum(lengths, 1)
    order = np.argsort(-likeness, kind="stable")
    order = order[likeness[order] >= LEAST_COSINE]
    (first, asked), (second, found) = (np.divmod(entries[order], len(WINDOWS)) for entries in (windows, hits))
    # The best windows of each pair of photos, then the best pairs of each photo.
    best = np.sort(np.unique(first * len(fingerprints) + second, return_index=True)[1])
    best = best[np.argsort(first[best], kind="stable")]
    own = first[best]
    place = np.arange(len(own)) - np.searchsorted(own, own)
    best = best[place < NEAREST]
    return first[best], second[best], asked[best], found[best], likeness[order][best]
