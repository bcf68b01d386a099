"""Calculates the cost of a job by part, and of polling under other designs, for 100, 1,000 and 10,000 photos.

    python bench/cost.py

Transitions are those of the real state machine (ASL) for a job that people label. The number of polls in its three
loops follows from its own waits, which `dead_time.py` evaluates with the settings of cdk.json. The steps' durations are
assumptions, listed in the first table: AWS only says that a training takes half an hour to a day. Each duration is
varied 300 times by up to a tenth, because a step can end at any time between two polls. Figures are means.

Prices are AWS's list prices in us-east-1 (`lambdas/rules/prices.py`), without a free tier. The second table counts the
units for which we have no price from a trusted source. Prints Markdown tables.
"""

from __future__ import annotations

import random
import statistics
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from dead_time import HOUR, MINUTE, TRANSITIONS_PER_POLL, Design, Durations, Poll, after_waits, cron, every, own_waits

from rules.prices import INFERENCE_UNIT_HOUR, THOUSAND_TRANSITIONS, TRAINING_HOUR, TRANSITION
from stacks import definition
from stacks.settings import Settings, committed

PATH = (
    "What is done?",
    "Plan photos",
    "Check photos",
    "Collect photos",
    "Labels supplied?",
    "Request labels",
    "Labels posted?",
    "Prepare datasets",
    "Create datasets",
    *("Wait for datasets", "Check datasets", "Datasets ready?"),
    "Start training",
    "Learn outlines",
    *("Wait for training", "Check training", "Training done?"),
    "Evaluate model",
    "Good enough?",
    "Deploy?",
    "Start model",
    *("Wait for model", "Check model", "Model running?"),
    "Publish model",
    "Model ready",
)
LOOPS = 3
RUNNING_HOURS = 24
DAY = 24 * HOUR  # longer than each step here
SAMPLES = 300
# A photo takes a request, and its copy three, so that it is written once. One request lists 1,000 uploads.
REQUESTS_A_PHOTO, PHOTOS_A_LIST = 4, 1000


@dataclass(frozen=True)
class Job:
    """A number of photos, and the durations of datasets, training and model start in seconds."""

    photos: int
    durations: Durations


JOBS = (
    Job(100, (MINUTE, HOUR, 15 * MINUTE)),
    Job(1_000, (5 * MINUTE, 3 * HOUR, 15 * MINUTE)),
    Job(10_000, (20 * MINUTE, 12 * HOUR, 15 * MINUTE)),
)


def path_types() -> list[str]:
    """The types of the states on `PATH`.

    Raises:
        SystemExit: the state machine does not have this path.
    """
    machine = definition.read()
    states = machine["States"]
    if machine["StartAt"] != PATH[0]:
        sys.exit(f"The state machine starts at {machine['StartAt']}, not at {PATH[0]}: update PATH in bench/cost.py.")
    for state, following in pairwise(PATH):
        choices = [choice["Next"] for choice in states[state].get("Choices", ())]
        if following not in (states[state].get("Next"), states[state].get("Default"), *choices):
            sys.exit(f"{following} does not follow {state} in the state machine: update PATH in bench/cost.py.")
    return [states[state]["Type"] for state in PATH]


@dataclass(frozen=True)
class Polling:
    """The number of polls, and the seconds between a step's end and its detection: of all three steps, of the last."""

    count: int
    dead: float
    model_unseen: float


def simulate(design: Design, job: Job) -> Polling:
    """The design's mean figures for the job."""
    chance = random.Random(0)  # noqa: S311  # the same durations for each design
    runs = [
        [poll(duration * chance.uniform(0.9, 1.1)) for poll, duration in zip(design.polls, job.durations, strict=True)]
        for _ in range(SAMPLES)
    ]
    return Polling(
        round(statistics.fmean(sum(count for _, count in steps) for steps in runs)),
        statistics.fmean(sum(seconds for seconds, _ in steps) for steps in runs),
        statistics.fmean(steps[-1][0] for steps in runs),
    )


def cached_waits(duration: float, seconds: Callable[[], Iterator[int]]) -> Poll:
    """Polls after these waits, for steps of up to ``duration`` seconds. The waits are evaluated once."""
    waits: list[int] = []
    for wait in seconds():
        waits.append(wait)
        if sum(waits) > duration:
            break
    return after_waits(lambda: iter(waits))


def transitions(count: int) -> int:
    """The transitions of an execution with ``count`` polls. `PATH` contains one poll of each loop."""
    return len(PATH) + (count - LOOPS) * TRANSITIONS_PER_POLL


def dollars_of(count: int) -> float:
    """The price of ``count`` transitions in US dollars."""
    return count * TRANSITION


def table(head: list[str], rows: list[list[str]]) -> str:
    """A Markdown table. The first column is text, the others are figures."""
    rule = ["---", *("---:" for _ in head[1:])]
    return "".join(f"| {' | '.join(row)} |\n" for row in (head, rule, *rows))


def main() -> None:
    """Print the three tables."""
    settings = Settings.from_context(committed())
    units, workers = settings.inference_units, settings.workers_per_image
    tasks = path_types().count("Task")
    ours = Design("our state machine", tuple(cached_waits(DAY, seconds) for seconds in own_waits()))  # type: ignore[arg-type]
    counts = [simulate(ours, job).count for job in JOBS]
    head = [f"{job.photos:,} photos" for job in JOBS]

    training = [job.durations[1] / HOUR for job in JOBS]
    machine = [transitions(count) for count in counts]
    running = RUNNING_HOURS * units * INFERENCE_UNIT_HOUR
    total = [hours * TRAINING_HOUR + dollars_of(count) for hours, count in zip(training, machine, strict=True)]
    minutes = [" + ".join(f"{seconds / MINUTE:.0f}" for seconds in job.durations) for job in JOBS]
    print("Cost of a job in US dollars:\n")
    print(
        table(
            ["Part", "Price", *head],
            [
                ["assumed: datasets + training + start, min", "", *minutes],
                ["Training", f"{TRAINING_HOUR:.2f} an hour", *(f"{hours * TRAINING_HOUR:.2f}" for hours in training)],
                [
                    "Step Functions",
                    f"{THOUSAND_TRANSITIONS} per 1,000 transitions",
                    *(f"{dollars_of(count):.4f}" for count in machine),
                ],
                ["**A job**", "", *(f"**{dollars:.2f}**" for dollars in total)],
                [
                    f"Its model, {RUNNING_HOURS} h",
                    f"{INFERENCE_UNIT_HOUR:.2f} an hour and unit, {units} unit" + "s" * (units > 1),
                    *(f"{running:.2f}" for _ in JOBS),
                ],
            ],
        )
    )

    reads = [REQUESTS_A_PHOTO * job.photos + -(-job.photos // PHOTOS_A_LIST) for job in JOBS]
    print("Units without a price from a trusted source:\n")
    print(
        table(
            ["Part", "What", *head],
            [
                ["Step Functions", "transitions (priced above)", *(f"{count:,}" for count in machine)],
                # Three of the path's tasks are polls, which the loops repeat.
                ["Lambda", "calls of stages", *(f"{tasks - LOOPS + count:,}" for count in counts)],
                ["DynamoDB", "writes of progress, one a call at least", *(f"{tasks - LOOPS + n:,}" for n in counts)],
                ["S3", "uploads", *(f"{job.photos:,}" for job in JOBS)],
                ["S3", "requests of Check photos", *(f"{count:,}" for count in reads)],
                ["Ground Truth", "labelled photos", *(f"{job.photos:,}" for job in JOBS)],
                ["People", f"answers, {workers} a photo", *(f"{job.photos * workers:,}" for job in JOBS)],
            ],
        )
    )

    chance = random.Random(0)  # noqa: S311  # the same phases at each run
    designs = [
        Design("cron, every hour", (cron(HOUR, chance),) * LOOPS, in_machine=False),
        Design("cron, every 15 min", (cron(15 * MINUTE, chance),) * LOOPS, in_machine=False),
        Design("Wait of 30 s", (every(30),) * LOOPS),
        ours,
    ]
    rows = []
    for design in designs:
        for job in JOBS:
            polling = simulate(design, job)
            billed = transitions(polling.count) if design.in_machine else 0
            idle = polling.model_unseen / HOUR * units * INFERENCE_UNIT_HOUR
            rows.append(
                [
                    design.name,
                    f"{job.photos:,}",
                    f"{polling.count:,}",
                    f"{billed:,}",
                    f"{dollars_of(billed):.4f}",
                    f"{polling.dead / MINUTE:.1f}",
                    f"{idle:.2f}",
                    f"{dollars_of(billed) + idle:.2f}",
                ]
            )
    print("Polling designs. A running model is billed before the poll detects it:\n")
    print(
        table(
            [
                "Design",
                "photos",
                "polls",
                "transitions",
                "USD",
                "dead time, mean min",
                "undetected model, USD",
                "both, USD",
            ],
            rows,
        )
    )


if __name__ == "__main__":
    main()
