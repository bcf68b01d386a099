"""How sure the figures of a model are: 95 % intervals of F1, precision and recall, from a bootstrap.

Photos of the same shot or subject are not independent, so a draw takes whole groups of them. Groups with the same
counts are one kind, and a draw counts how often it takes each kind. So 2,000 draws take 0.06 s for 60 groups and 23 s
for 50,000. NumPy would be faster, but it is in a layer of 146 MB that Evaluate model does not need otherwise.

A model without a mistake has no mistake in any draw, so the bootstrap alone would be sure of it after one photo. The
lower end is therefore never above 0.025^(1/groups), the Clopper-Pearson limit for groups without a mistake: 0.74 after
12 groups, 0.96 after 100. Sources: Efron, "Bootstrap methods" (1979); Clopper and Pearson (1934).
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from random import Random
from statistics import fmean

from rules.words import counted

DRAWS = 2_000
OUTSIDE = 0.025  # the share of draws below the interval, and the share above
FIGURES = ("f1", "precision", "recall")
Counts = Mapping[str, tuple[int, int, int]]
"""Of each document type, in a photo or a group of photos: documents found, false detections, and documents missed."""


@dataclass(frozen=True)
class Interval:
    """The ends of a 95 % interval; 0 to 1."""

    low: float
    high: float


@dataclass(frozen=True)
class Doubt:
    """Figures and their intervals, each by its name in `FIGURES`."""

    figures: Mapping[str, float]
    intervals: Mapping[str, Interval]


def assess(groups: Iterable[Counts], seed: str) -> tuple[Doubt | None, dict[str, Doubt]]:
    """The doubt in the figures over all document types, and in those of each type that the photos show.

    The overall figures are means over the types, as Rekognition's. The first is None if no photo shows a document.
    Source: Custom Labels guide, "Metrics for evaluating your model". The same ``seed`` gives the same intervals.
    """
    kinds = Counter(tuple(sorted((name, *counts) for name, counts in group.items())) for group in groups)
    point = _figures(kinds)
    if not point:
        return None, {}
    draws = [_figures(drawn) for drawn in _draws(kinds, seed)]
    showing = Counter(dict.fromkeys(point, 0))
    for kind, times in kinds.items():
        showing.update({name: times for name, *_ in kind})
    by_type = {
        name: _doubt(figures, [draw[name] for draw in draws if name in draw], showing[name])
        for name, figures in point.items()
    }
    overall = _doubt(_mean(point), [_mean(draw) for draw in draws if draw], kinds.total())
    return overall, by_type


def sentence(test_photos: int | None, f1: float, interval: Mapping[str, float] | None) -> str:
    """The figure with its doubt, such as "12 test photos: F1 0.97, between 0.74 and 1.00"."""
    photos = "" if test_photos is None else f"{counted(test_photos, 'test photo')}: "
    doubt = f"between {interval['low']:.2f} and {interval['high']:.2f}" if interval else "with an unknown interval"
    return f"{photos}F1 {f1:.2f}, {doubt}"


Kind = tuple[tuple[str, int, int, int], ...]
Figures = dict[str, tuple[float, ...]]


def _draws(kinds: Counter[Kind], seed: str) -> Iterable[Counter[Kind]]:
    random, names, weights = Random(seed), list(kinds), list(accumulate(kinds.values()))  # noqa: S311
    for _ in range(DRAWS):
        yield Counter(random.choices(names, cum_weights=weights, k=weights[-1]))


def _figures(kinds: Mapping[Kind, int]) -> Figures:
    """F1, precision and recall of each type of which the photos show a document."""
    sums: dict[str, list[int]] = {}
    for kind, times in kinds.items():
        for name, *counts in kind:
            total = sums.setdefault(name, [0, 0, 0])
            for place, count in enumerate(counts):
                total[place] += times * count
    return {
        name: (2 * found / (2 * found + false + missed), found / max(found + false, 1), found / (found + missed))
        for name, (found, false, missed) in sorted(sums.items())
        if found + missed
    }


def _mean(figures: Figures) -> tuple[float, ...]:
    return tuple(fmean(values) for values in zip(*figures.values(), strict=True))


def _doubt(figures: tuple[float, ...], draws: Sequence[tuple[float, ...]], groups: int) -> Doubt:
    most = OUTSIDE ** (1 / groups)
    intervals = {}
    for place, (name, figure) in enumerate(zip(FIGURES, figures, strict=True)):
        values = sorted(draw[place] for draw in draws)
        cut = int(OUTSIDE * len(values))
        low, high = (values[cut], values[-1 - cut]) if values else (figure, figure)
        intervals[name] = Interval(min(low, most, figure), max(high, figure))
    return Doubt(dict(zip(FIGURES, figures, strict=True)), intervals)
