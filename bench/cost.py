"""What a job costs by part, and what looking at it costs under other designs, for 100, 1,000 and 10,000 photos.

    python bench/cost.py

Transitions are counted in the real state machine: the way of a job whose labels people make, read from the ASL, with as
many looks in its three loops as its own waits make, which `dead_time.py` evaluates with the settings of cdk.json. How
long the steps take is assumed, and stands in the first table: AWS says no more of trainings than half an hour to a day.
Each is met 300 times, a tenth longer or shorter, as no step ends just when somebody looks; figures are means.

Prices are AWS's list prices in us-east-1 (`lambdas/rules/prices.py`); a free tier is left out. Of a part whose price
nobody has given us from a source that we trust, the second table says how many there are. Prints Markdown tables.
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

from dead_time import HOUR, MINUTE, TRANSITIONS_A_LOOK, Design, Durations, Look, after_waits, cron, every, own_waits

from rules.prices import INFERENCE_UNIT_HOUR, THOUSAND_TRANSITIONS, TRAINING_HOUR, TRANSITION
from stacks import definition
from stacks.settings import Settings, committed

WAY = (
    "What is done?",
    "Check images",
    "Labels supplied?",
    "Request labels",
    "Labels posted?",
    "Prepare datasets",
    "Create datasets",
    *("Wait for datasets", "Check datasets", "Datasets ready?"),
    "Start training",
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
DAY = 24 * HOUR  # longer than any step here
SAMPLES = 300
# A photo above 16 kB takes a request for its header and one for its end; 1,000 uploads are listed with one.
READS_A_PHOTO, PHOTOS_A_LIST = 2, 1000


@dataclass(frozen=True)
class Job:
    """So many photos, and how long datasets, training and the model's start take, in seconds."""

    photos: int
    durations: Durations


JOBS = (
    Job(100, (MINUTE, HOUR, 15 * MINUTE)),
    Job(1_000, (5 * MINUTE, 3 * HOUR, 15 * MINUTE)),
    Job(10_000, (20 * MINUTE, 12 * HOUR, 15 * MINUTE)),
)


def way() -> list[str]:
    """The types of the states on `WAY`.

    Raises:
        SystemExit: the state machine has another way.
    """
    machine = definition.read()
    states = machine["States"]
    if machine["StartAt"] != WAY[0]:
        sys.exit(f"The state machine starts at {machine['StartAt']}, not at {WAY[0]}: mend WAY.")
    for state, following in pairwise(WAY):
        choices = [choice["Next"] for choice in states[state].get("Choices", ())]
        if following not in (states[state].get("Next"), states[state].get("Default"), *choices):
            sys.exit(f"{following} does not follow {state} in the state machine: mend WAY.")
    return [states[state]["Type"] for state in WAY]


@dataclass(frozen=True)
class Looked:
    """How often it is looked at a job, and for how many seconds its three steps, and the last one, are over unseen."""

    count: int
    dead: float
    model_unseen: float


def looked(design: Design, job: Job) -> Looked:
    """What a design does with a job, on average."""
    chance = random.Random(0)  # noqa: S311  # the same durations for each design
    found = [
        [look(duration * chance.uniform(0.9, 1.1)) for look, duration in zip(design.looks, job.durations, strict=True)]
        for _ in range(SAMPLES)
    ]
    return Looked(
        round(statistics.fmean(sum(count for _, count in steps) for steps in found)),
        statistics.fmean(sum(seconds for seconds, _ in steps) for steps in found),
        statistics.fmean(steps[-1][0] for steps in found),
    )


def until(duration: float, seconds: Callable[[], Iterator[int]]) -> Look:
    """Looks after these waits, which are evaluated once, for steps of up to this duration."""
    waits: list[int] = []
    for wait in seconds():
        waits.append(wait)
        if sum(waits) > duration:
            break
    return after_waits(lambda: iter(waits))


def transitions(count: int) -> int:
    """Of a whole execution with so many looks. The way has one look of each loop."""
    return len(WAY) + (count - LOOPS) * TRANSITIONS_A_LOOK


def dollars_of(count: int) -> float:
    """The price of so many transitions."""
    return count * TRANSITION


def table(head: list[str], rows: list[list[str]]) -> str:
    """As Markdown: the first column is text, the others are figures."""
    rule = ["---", *("---:" for _ in head[1:])]
    return "".join(f"| {' | '.join(row)} |\n" for row in (head, rule, *rows))


def main() -> None:
    """Print the three tables."""
    settings = Settings.from_context(committed())
    units, workers = settings.inference_units, settings.workers_per_image
    tasks = way().count("Task")
    ours = Design("our state machine", tuple(until(DAY, seconds) for seconds in own_waits()))  # type: ignore[arg-type]
    counts = [looked(ours, job).count for job in JOBS]
    head = [f"{job.photos:,} photos" for job in JOBS]

    training = [job.durations[1] / HOUR for job in JOBS]
    machine = [transitions(count) for count in counts]
    running = RUNNING_HOURS * units * INFERENCE_UNIT_HOUR
    total = [hours * TRAINING_HOUR + dollars_of(count) for hours, count in zip(training, machine, strict=True)]
    minutes = [" + ".join(f"{seconds / MINUTE:.0f}" for seconds in job.durations) for job in JOBS]
    print("Dollars of a job:\n")
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

    reads = [READS_A_PHOTO * job.photos + -(-job.photos // PHOTOS_A_LIST) for job in JOBS]
    print("How many of what we have no price of:\n")
    print(
        table(
            ["Part", "What", *head],
            [
                ["Step Functions", "transitions (priced above)", *(f"{count:,}" for count in machine)],
                # Of the way's tasks three are looks, which the loops make again.
                ["Lambda", "calls of stages", *(f"{tasks - LOOPS + count:,}" for count in counts)],
                ["DynamoDB", "writes of progress, one a call at least", *(f"{tasks - LOOPS + n:,}" for n in counts)],
                ["S3", "uploads", *(f"{job.photos:,}" for job in JOBS)],
                ["S3", "reads and lists of Check images", *(f"{count:,}" for count in reads)],
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
            found = looked(design, job)
            billed = transitions(found.count) if design.in_machine else 0
            idle = found.model_unseen / HOUR * units * INFERENCE_UNIT_HOUR
            rows.append(
                [
                    design.name,
                    f"{job.photos:,}",
                    f"{found.count:,}",
                    f"{billed:,}",
                    f"{dollars_of(billed):.4f}",
                    f"{found.dead / MINUTE:.1f}",
                    f"{idle:.2f}",
                    f"{dollars_of(billed) + idle:.2f}",
                ]
            )
    print("Who looks at the job. A model that runs unseen bills before anybody can ask it:\n")
    print(
        table(
            [
                "Design",
                "photos",
                "looks",
                "transitions",
                "USD",
                "dead time, mean min",
                "model unseen, USD",
                "both, USD",
            ],
            rows,
        )
    )


if __name__ == "__main__":
    main()
