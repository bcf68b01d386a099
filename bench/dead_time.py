"""Calculates dead time under several polling designs: the time between a step's end and the start of the next step.

    python bench/dead_time.py

Compares five designs on the same jobs: a cron every 15 minutes and every hour, a Wait state of 15 and of 2 minutes, and
the state machine's own waits. Their expressions are read from the ASL and evaluated with the settings of cdk.json. The
benchmark does not sleep. Prints two Markdown tables: for a job with 5 minutes for datasets, 3 hours for training and 15
minutes for the model's start, and for a hundred jobs of different lengths.
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
# A poll: Wait (2 events), Task (entered, scheduled, started, succeeded, exited) and Choice (2 events).
EVENTS_PER_POLL, TRANSITIONS_PER_POLL = 9, 3
# The state before each loop, and the loop's Wait state.
LOOPS = {"Create datasets": "Wait for datasets", "Start training": "Wait for training", "Start model": "Wait for model"}

Durations = tuple[float, float, float]
# From a step's duration in seconds to the delay until a poll detects its end, and the number of polls.
Poll = Callable[[float], tuple[float, int]]


@dataclass(frozen=True)
class Design:
    """A way to poll the datasets, the training and the model's start, in that order."""

    name: str
    polls: tuple[Poll, Poll, Poll]
    in_machine: bool = True


def own_waits() -> list[Callable[[], Iterator[int]]]:
    """The waits of each loop of the real state machine in seconds, poll by poll."""
    values = waits(Settings.from_context(committed()))
    text = re.sub(r"\$\{(\w+)\}", lambda name: values.get(name[1], name[0]), definition.as_json())
    states = json.loads(text)["States"]

    def seconds(starts: str, waiting: str) -> Iterator[int]:
        wait = _evaluate(states[starts]["Assign"]["wait"])
        while True:
            yield _evaluate(states[waiting]["Seconds"], wait)
            wait = _evaluate(states[waiting]["Assign"]["wait"], wait)

    return [lambda starts=starts, waiting=waiting: seconds(starts, waiting) for starts, waiting in LOOPS.items()]


@cache  # the waits are the same for all jobs
def _evaluate(expression: str, wait: float | None = None) -> float:
    declared = "" if wait is None else f"$wait:={json.dumps(wait)};"
    return evaluate_jsonata(f"({declared}{expression.removeprefix('{%').removesuffix('%}')})")


def after_waits(seconds: Callable[[], Iterator[float]]) -> Poll:
    """Polls after each of these waits, counted from the step's start."""

    def poll(duration: float) -> tuple[float, int]:
        passed, polls = 0.0, 0
        for wait in seconds():
            passed, polls = passed + wait, polls + 1
            if passed >= duration:
                break
        return passed - duration, polls

    return poll


def every(seconds: float) -> Poll:
    """Polls after a Wait state with a fixed number of seconds."""

    def forever() -> Iterator[float]:
        while True:
            yield seconds

    return after_waits(forever)


def cron(seconds: float, chance: random.Random) -> Poll:
    """Polls from a cron whose schedule is independent of the step's start."""

    def poll(duration: float) -> tuple[float, int]:
        first = chance.uniform(0, seconds)
        polls = max(0, -int(-(duration - first) // seconds)) + 1
        return first + (polls - 1) * seconds - duration, polls

    return poll


def jobs(chance: random.Random) -> list[Durations]:
    """Random jobs: 1 to 20 minutes for datasets, half an hour to a day for training, 5 to 30 minutes for the start.

    Durations are uniform on a logarithmic scale.
    """

    def between(shortest: float, longest: float) -> float:
        return shortest * (longest / shortest) ** chance.random()

    return [
        (between(MINUTE, 20 * MINUTE), between(HOUR / 2, 24 * HOUR), between(5 * MINUTE, 30 * MINUTE))
        for _ in range(JOBS)
    ]


def row(design: Design, sample: list[Durations]) -> str:
    """The table's row of one design."""
    dead, polls = [], []
    for job in sample:
        steps = [poll(duration) for poll, duration in zip(design.polls, job, strict=True)]
        dead.append(sum(seconds for seconds, _ in steps))
        polls.append(sum(count for _, count in steps))
    count = statistics.fmean(polls)
    machine = (
        f"{count * TRANSITIONS_PER_POLL:,.0f} | {count * EVENTS_PER_POLL:,.0f} | "
        f"{count * TRANSITIONS_PER_POLL * prices.TRANSITION:.4f}"
        if design.in_machine
        else "| |"
    )
    mean, worst = statistics.fmean(dead), max(dead)
    return f"| {design.name} | {mean / 60:.2f} | {worst / 60:.1f} | {count:,.0f} | {machine} |"


def main() -> None:
    """Print both tables and the figures of the longest training."""
    chance = random.Random(0)  # noqa: S311  # the same jobs in each run
    ours = tuple(after_waits(seconds) for seconds in own_waits())
    designs = [
        Design("cron, every hour", (cron(HOUR, chance),) * 3, in_machine=False),
        Design("cron, every 15 min", (cron(15 * MINUTE, chance),) * 3, in_machine=False),
        Design("Wait of 15 min", (every(15 * MINUTE),) * 3),
        Design("Wait of 2 min", (every(2 * MINUTE),) * 3),
        Design("our state machine", ours),  # type: ignore[arg-type]
    ]
    head = "| Design | dead time, mean min | worst min | polls | transitions | history events | USD |\n"
    head += "|---|---:|---:|---:|---:|---:|---:|"
    typical = [(5 * MINUTE, 3 * HOUR, 15 * MINUTE)] * 1000  # repeated, because a cron's phase is random
    for title, sample in (("Datasets 5 min, training 3 h, start 15 min", typical), (f"{JOBS} jobs", jobs(chance))):
        print(f"{title}:\n\n{head}")
        print("\n".join(row(design, sample) for design in designs), end="\n\n")
    delay, polls = ours[1](72 * HOUR)
    print(f"A training of 72 h: {polls * EVENTS_PER_POLL:,} history events, end detected after {delay:.0f} s.")


if __name__ == "__main__":
    main()
