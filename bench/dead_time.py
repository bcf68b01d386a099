"""Dead time: how long a job stands still between the end of one step and the start of the next, by who looks when.

    python bench/dead_time.py

The same jobs under five designs: a cron every 15 minutes and every hour, a Wait state of a fixed 15 and 2 minutes, and
the state machine's own waits, whose expressions are read from the ASL and evaluated with the settings of cdk.json.
Nothing is slept through. Prints a Markdown table: first for a job whose datasets take 5 minutes, its training 3 hours
and its model's start 15 minutes, then for a hundred others of all lengths.
"""

from __future__ import annotations

import json
import random
import re
import statistics
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from ekyc.localaws.moto_patches.asl import evaluate_jsonata
from rules import prices
from stacks import definition
from stacks.settings import Settings, committed
from stacks.training import waits

MINUTE, HOUR = 60.0, 3600.0
JOBS = 100
# Wait (2 events), Task (entered, scheduled, started, succeeded, exited) and Choice (2): what one look costs.
EVENTS_A_LOOK, TRANSITIONS_A_LOOK = 9, 3
# What starts the loop, and its Wait state.
LOOPS = {"Create datasets": "Wait for datasets", "Start training": "Wait for training", "Start model": "Wait for model"}

Durations = tuple[float, float, float]
# For a step that takes so many seconds: how long after its end it is noticed, and how often somebody has looked.
Look = Callable[[float], tuple[float, int]]


@dataclass(frozen=True)
class Design:
    """Who looks at the datasets, the training and the model's start, in that order."""

    name: str
    looks: tuple[Look, Look, Look]
    in_machine: bool = True


def own_waits() -> list[Callable[[], Iterator[int]]]:
    """The seconds that each loop of the real state machine waits, look by look."""
    values = waits(Settings.from_context(committed()))
    text = re.sub(r"\$\{(\w+)\}", lambda name: values.get(name[1], name[0]), definition.as_json())
    states = json.loads(text)["States"]

    def seconds(starts: str, waiting: str) -> Iterator[int]:
        wait = _evaluated(states[starts]["Assign"]["wait"])
        while True:
            yield _evaluated(states[waiting]["Seconds"], wait)
            wait = _evaluated(states[waiting]["Assign"]["wait"], wait)

    return [lambda starts=starts, waiting=waiting: seconds(starts, waiting) for starts, waiting in LOOPS.items()]


@cache  # the loops of all jobs wait alike
def _evaluated(expression: str, wait: float | None = None) -> float:
    declared = "" if wait is None else f"$wait:={json.dumps(wait)};"
    return evaluate_jsonata(f"({declared}{expression.removeprefix('{%').removesuffix('%}')})")


def after_waits(seconds: Callable[[], Iterator[float]]) -> Look:
    """Looks after each of these waits, counted from the step's start."""

    def look(duration: float) -> tuple[float, int]:
        passed, looks = 0.0, 0
        for wait in seconds():
            passed, looks = passed + wait, looks + 1
            if passed >= duration:
                break
        return passed - duration, looks

    return look


def every(seconds: float) -> Look:
    """A Wait state of so many seconds."""

    def forever() -> Iterator[float]:
        while True:
            yield seconds

    return after_waits(forever)


def cron(seconds: float, chance: random.Random) -> Look:
    """A cron that does not know when the step began."""

    def look(duration: float) -> tuple[float, int]:
        first = chance.uniform(0, seconds)
        looks = max(0, -int(-(duration - first) // seconds)) + 1
        return first + (looks - 1) * seconds - duration, looks

    return look


def jobs(chance: random.Random) -> list[Durations]:
    """Datasets of 1 to 20 minutes, trainings of half an hour to a day, starts of 5 to 30 minutes; short ones as likely
    as long ones on a logarithmic scale."""

    def between(shortest: float, longest: float) -> float:
        return shortest * (longest / shortest) ** chance.random()

    return [
        (between(MINUTE, 20 * MINUTE), between(HOUR / 2, 24 * HOUR), between(5 * MINUTE, 30 * MINUTE))
        for _ in range(JOBS)
    ]


def row(design: Design, sample: list[Durations]) -> str:
    """The table's row of one design."""
    dead, looks = [], []
    for job in sample:
        found = [look(duration) for look, duration in zip(design.looks, job, strict=True)]
        dead.append(sum(seconds for seconds, _ in found))
        looks.append(sum(count for _, count in found))
    count = statistics.fmean(looks)
    machine = (
        f"{count * TRANSITIONS_A_LOOK:,.0f} | {count * EVENTS_A_LOOK:,.0f} | "
        f"{count * TRANSITIONS_A_LOOK * prices.TRANSITION:.4f}"
        if design.in_machine
        else "| |"
    )
    mean, worst = statistics.fmean(dead), max(dead)
    return f"| {design.name} | {mean / 60:.2f} | {worst / 60:.1f} | {count:,.0f} | {machine} |"


def main() -> None:
    """Print both tables and by how much the state machine is quicker."""
    chance = random.Random(0)  # noqa: S311  # the same jobs at each run
    ours = tuple(after_waits(seconds) for seconds in own_waits())
    designs = [
        Design("cron, every hour", (cron(HOUR, chance),) * 3, in_machine=False),
        Design("cron, every 15 min", (cron(15 * MINUTE, chance),) * 3, in_machine=False),
        Design("Wait of 15 min", (every(15 * MINUTE),) * 3),
        Design("Wait of 2 min", (every(2 * MINUTE),) * 3),
        Design("our state machine", ours),  # type: ignore[arg-type]
    ]
    head = "| Design | dead time, mean min | worst min | looks | transitions | history events | USD |\n"
    head += "|---|---:|---:|---:|---:|---:|---:|"
    one = (5 * MINUTE, 3 * HOUR, 15 * MINUTE)
    # A cron's phase is chance, so the one job meets it many times.
    for title, sample in (("Datasets 5 min, training 3 h, start 15 min", [one] * 1000), (f"{JOBS} jobs", jobs(chance))):
        print(f"{title}:\n\n{head}")
        print("\n".join(row(design, sample) for design in designs), end="\n\n")
    longest, looks = ours[1](72 * HOUR)
    print(f"A training of 72 h: {looks * EVENTS_A_LOOK:,} history events, noticed after {longest:.0f} s.")


if __name__ == "__main__":
    main()
