"""The cells of the matrix: which job runs, what is made to fail, and what became of it."""

from __future__ import annotations

import contextlib
import json
import re
import threading
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from deployment import ENDED, FROM_SCHEDULE, ApiFailed, Bench, Hangs, Job, eventually
from invariants import failed_cleanly, violations

from ekyc.localaws import calls, faults
from ekyc.localaws.faults import Fault, Lasts, What
from ekyc.localaws.services import events
from stacks import definition

PROJECT = Path(__file__).parents[2]
EXECUTION_EVENT = "Step Functions Execution Status Change"
LABELLING_EVENT = "SageMaker Ground Truth Labeling Job State Change"
RECOVERED, CLEAN, WRONG, NOT_MET = "recovered", "failed cleanly", "WRONG", "call not made"
# Some calls depend on who is quicker, such as who sees first that a labelling job has ended: so often a job is run.
CHANCES = 3

SUPPLIED = {"provider": "supplied", "key": "labels.json"}


# Jobs, from the client's first call to their end


def supplied(bench: Bench, job: Job, **options: Any) -> None:
    """Labels come with the start."""
    bench.upload(job)
    bench.start(job, labels=SUPPLIED, **options)
    bench.ended(job)


def posted(bench: Bench, job: Job) -> None:
    """Labels are posted while the machine waits for them."""
    waiting(bench, job)
    bench.upload(job, "labels.json")

    def gone_on() -> bool:
        return bench.record(job)["Status"] not in ("CheckingImages", "WaitingForLabelling")

    def taken() -> bool:
        if gone_on():
            return True
        try:
            bench.call("POST", f"jobs/{job.id}/labels", job, json={"key": "labels.json"}, done=gone_on)
        except ApiFailed as failure:
            if ": 409" in str(failure):
                return False  # the stage runs once more and will wait again
            raise
        return True

    eventually(taken, "nobody takes the labels")
    bench.ended(job)


def waiting(bench: Bench, job: Job) -> None:
    """A job that waits for labels."""
    names = [name for name in bench.photos if not name.endswith(".json")]
    bench.call("POST", f"jobs/{job.id}/urls", job, json={"names": names}, done=lambda: bench.execution(job) is not None)
    bench.upload(job, *names)
    bench.start(job, labels={"provider": "supplied"})
    if bench.record(job)["Status"] not in ENDED:
        eventually(
            lambda: bench.record(job)["Status"] in ("WaitingForLabelling", *ENDED) or bench.execution(job).error,
            "the job does not wait for labels",
        )


def stopped(bench: Bench, job: Job) -> None:
    """Somebody stops the job while it waits for labels."""
    waiting(bench, job)
    bench.call("POST", f"jobs/{job.id}/stop", job)
    bench.ended(job)


def erased(bench: Bench, job: Job) -> None:
    """Somebody has the job erased once it is done."""
    supplied(bench, job)
    bench.settled(job)
    bench.call("DELETE", f"jobs/{job.id}", job)


def resumed(bench: Bench, job: Job, **options: Any) -> None:
    """A stage fails and somebody resumes the job."""
    if bench.execution(job) is None:
        bench.upload(job)
        bench.start(job, **({"labels": SUPPLIED} | options))
    if bench.ended(job).redrive_count == 0:
        bench.settled(job, waits=8)

        def goes_on() -> bool:
            return bench.execution(job).redrive_count == 1

        bench.call("POST", f"jobs/{job.id}/resume", job, done=goes_on)
        bench.ended(job)


def labelled(bench: Bench, job: Job) -> None:
    """People label in Ground Truth."""
    bench.upload(job)
    bench.start(job, labels={"provider": "ground-truth"})
    bench.ended(job)


def relabelled(bench: Bench, job: Job) -> None:
    """The labelling job fails, and somebody resumes the job."""
    resumed(bench, job, labels={"provider": "ground-truth"})


def published(bench: Bench, job: Job) -> None:
    """The model is started and published, and the one before it stopped."""
    supplied(bench, job, deploy=True)


def unnoticed(bench: Bench, job: Job) -> None:
    """The event of the end is lost, and the schedule finds it."""
    supplied(bench, job)
    events.fire_schedules()


@dataclass(frozen=True)
class Way:
    """A job from its start to its end: what the client does, what fails in any case, and how the job ends."""

    run: Callable[[Bench, Job], None]
    ends: str = "Ready"
    labelling_jobs: int = 1
    # Module, what, operation, how often: faults that belong to the job.
    fails: tuple[tuple[str, What, str, Lasts], ...] = ()

    def faults(self, bench: Bench, job: Job) -> list[Fault]:
        lost = [Fault(What.LOST, about=(job.id,), detail_type=EXECUTION_EVENT)] if self.run is unnoticed else []
        return lost + [
            Fault(what, bench.functions.get(module, ""), (job.id,), operation=operation, lasts=lasts)
            for module, what, operation, lasts in self.fails
        ]


# The cheapest first: a call is tried on the first job that makes it.
WAYS = {
    "labels come with the start": Way(supplied),
    "labels are posted": Way(posted),
    "stopped": Way(stopped, "Stopped"),
    "erased": Way(erased),
    "ended unnoticed": Way(unnoticed),
    "resumed": Way(resumed, fails=(("stages.prepare_datasets", What.DENIED, "UpdateItem", Lasts.ONCE),)),
    "labelled by people": Way(labelled),
    "labelled twice": Way(relabelled, labelling_jobs=2, fails=(("", What.LABELLING_FAILS, "", Lasts.ONCE),)),
    "published": Way(published),
    "fails after its model runs": Way(
        published,
        "Failed",
        fails=(("stages.publish_model", What.DENIED, "PutParameter", Lasts.ALWAYS),),
    ),
}


SCHEDULED = " on schedule"
# It is called by schedules only, and what it does is about no job: its queue tells whether it has come through.
WATCH = "events.watch_running"
WATCH_SECONDS = 3.0  # Lambda's two retries of an event have come by then


@dataclass(frozen=True, order=True)
class Row:
    """A call that a function makes, the ``nth`` of its operation in an invocation; without an operation the function
    itself, or an event that it gets, or a service."""

    unit: str
    service: str = ""
    operation: str = ""
    nth: int = 0

    @property
    def module(self) -> str:
        return self.unit.split(" ")[0]

    @property
    def route(self) -> str:
        """Of the API's function: "/api/training/start"."""
        return self.unit.rpartition(" ")[2] if self.module == "api.app" else ""

    @property
    def call(self) -> str:
        if not self.operation:
            return self.service
        return f"{self.service}:{self.operation}" + (f" #{self.nth}" if self.nth > 1 else "")


@dataclass(frozen=True)
class Column:
    """A fault and how often it happens."""

    what: What
    lasts: Lasts = Lasts.ONCE

    def __str__(self) -> str:
        often = {What.DENIED: "", What.THROTTLED_400: self.lasts, What.DROPPED: self.lasts}.get(self.what, "")
        return f"{self.what}, {often}" if often else str(self.what)

    @property
    def is_permanent(self) -> bool:
        return self.what in PERMANENT


PERMANENT = frozenset(
    {
        What.DENIED,
        What.DATASET_FAILS,
        What.TRAINING_FAILS,
        What.MODEL_FAILS,
        What.LABELLING_FAILS,
        What.LABELLING_STOPS,
        What.NOTHING_LABELLED,
        What.PROJECTS_FULL,
        What.LABELLING_JOBS_FULL,
    }
)
OF_CALLS = (
    Column(What.THROTTLED_400),
    Column(What.THROTTLED_400, Lasts.INVOCATION),
    Column(What.THROTTLED_500, Lasts.INVOCATION),
    Column(What.INTERNAL_ERROR, Lasts.INVOCATION),
    Column(What.DROPPED),
    Column(What.DROPPED, Lasts.INVOCATION),
    Column(What.CRASH_BEFORE),
    Column(What.CRASH_AFTER),
    Column(What.TIMED_OUT),
    Column(What.DENIED, Lasts.ALWAYS),
)
# Which event, by the function that gets it, and the jobs in which it comes once and twice.
EVENTS = {
    "events.resume_labelling": (LABELLING_EVENT, "labelled by people", "labelled twice"),
    "events.record_outcome": (EXECUTION_EVENT, "labels come with the start", "resumed"),
    "events.export_audit": (EXECUTION_EVENT, "labels come with the start", "resumed"),
}
OF_EVENTS = tuple(Column(what) for what in (What.LOST, What.DOUBLED, What.LATE, What.EARLY, What.OUT_OF_ORDER))
# Failures and quotas of services: the job that meets them, and the stage at which it then fails.
OF_SERVICES = {
    What.DATASET_FAILS: ("labels come with the start", "Check datasets"),
    What.TRAINING_FAILS: ("labels come with the start", "Check training"),
    What.MODEL_FAILS: ("published", "Check model"),
    What.LABELLING_FAILS: ("labelled by people", "Request labels"),
    What.LABELLING_STOPS: ("labelled by people", "Request labels"),
    What.NOTHING_LABELLED: ("labelled by people", "Request labels"),
    What.PROJECTS_FULL: ("labels come with the start", "Create datasets"),
    What.DATASETS_FULL: ("labels come with the start", "Create datasets"),
    What.VERSIONS_FULL: ("labels come with the start", "Start training"),
    What.TRAININGS_FULL: ("labels come with the start", "Start training"),
    What.RUNNING_MODELS_FULL: ("published", "Start model"),
    What.LABELLING_JOBS_FULL: ("labelled by people", "Request labels"),
}
# A quota that others use up is free again after so many refusals.
REFUSALS = 3


@dataclass(frozen=True)
class Cell:
    """One trial."""

    row: Row
    column: Column
    way: str


@dataclass(frozen=True)
class Result:
    """What became of a trial; ``problems`` in words when it is WRONG."""

    cell: Cell
    verdict: str
    problems: tuple[str, ...] = ()


def recorded(bench: Bench, way_name: str) -> dict[Row, int]:
    """Run the job without a further fault: the calls of functions that it makes, and how often in one invocation."""
    way, seen, most = WAYS[way_name], Counter[tuple[str, str]](), dict[Row, int]()
    with calls.recorded() as made:
        result = trial(bench, way, lambda _job: [], None, [], [])
    if result:
        raise AssertionError(f"Without a fault, a job ({way_name}) does not end well: {result}")
    for call in made:
        if call.attempt > 1:
            continue
        unit = bench.modules[call.function]
        if not call.invocation.event or unit == WATCH:
            # What settle_job finds depends on what else there is, and is dealt with as when an event comes.
            if way.run is not unnoticed or (unit != WATCH and call.operation != "Query"):
                continue
            unit += SCHEDULED
        if unit == "api.app":
            unit = f"{unit} {call.invocation.event['httpMethod']} {call.invocation.event['resource']}"
        key = (call.invocation.id, f"{unit} {call.service} {call.operation}")
        seen[key] += 1
        row = Row(unit, call.service, call.operation, seen[key])
        most[row] = most.get(row, 0) + 1
    return most


def plan(made: dict[str, dict[Row, int]]) -> list[Cell]:
    """All cells, by the calls that each job makes.

    Of an operation that is called more than four times in an invocation, once for each photo, the first and the last.
    """
    first: dict[Row, str] = {}
    for way in WAYS:
        for row in made[way]:
            first.setdefault(row, way)
    last = Counter[Row]()
    for row in first:
        kind = Row(row.unit, row.service, row.operation)
        last[kind] = max(last[kind], row.nth)
    chosen = {
        row: way
        for row, way in first.items()
        if row.nth == 1 or last[kind := Row(row.unit, row.service, row.operation)] <= 4 or row.nth == last[kind]
    }
    cells = [Cell(row, column, way) for row, way in chosen.items() for column in OF_CALLS]
    units = {row.unit: way for row, way in reversed(first.items())}
    cells += [Cell(Row(unit), Column(What.COLD), way) for unit, way in units.items()]
    for module, (detail_type, once, twice) in EVENTS.items():
        cells += [
            Cell(Row(module, detail_type), column, twice if column.what is What.OUT_OF_ORDER else once)
            for column in OF_EVENTS
        ]
    for what, (way, stage) in OF_SERVICES.items():
        cells.append(Cell(Row(f"state {stage}", str(what)), Column(what), way))
    return cells


def batches(cells: list[Cell]) -> list[list[Cell]]:
    """The cells as they are tried: faults of one kind that a job must recover from by itself share a job, at so many
    calls as are tried again; every other fault has a job of its own."""
    together: dict[tuple[Any, ...], list[Cell]] = {}
    alone: list[list[Cell]] = []
    places = Counter[tuple[Any, ...]]()
    for cell in cells:
        column, unit = cell.column, cell.row.unit
        if column.is_permanent or column.what in (*faults.EVENT_FAULTS, *OF_SERVICES) or "/create" in unit:
            alone.append([cell])
            continue
        most = 2 if unit.startswith("events.") or column.what in DEADLY else 4
        place = places[cell.way, column, unit]
        places[cell.way, column, unit] += 1
        together.setdefault((cell.way, column, place // most), []).append(cell)
    return [*together.values(), *alone]


DEADLY = frozenset({What.CRASH_BEFORE, What.CRASH_AFTER, What.TIMED_OUT})


def run(bench: Bench, batch: list[Cell]) -> list[Result]:
    """Try cells of one kind in one job.

    When it does not end well, each half of them in a job of its own; those that did not happen, once more.
    """
    first = batch[0]
    for _ in range(CHANCES):
        outcome, struck, planned = list[str](), list[Fault](), list[Fault]()

        def faults_of(job: Job, planned: list[Fault] = planned) -> list[Fault]:
            planned += [fault_of(bench, cell, job) for cell in batch]
            return planned

        problems = trial(bench, WAYS[first.way], faults_of, first, struck, outcome)
        # None is planned when not even the job could be made.
        happened = [cell for cell, fault in zip(batch, planned, strict=False) if fault in struck]
        if problems or happened or len(batch) > 1:
            break
    if len(batch) > 1 and (problems or not happened):
        half = len(batch) // 2
        return run(bench, batch[:half]) + run(bench, batch[half:])
    if problems:
        return [Result(first, WRONG, tuple(problems))]
    verdict = CLEAN if "failed" in outcome else RECOVERED
    rest = [cell for cell in batch if cell not in happened]
    if len(batch) == 1 and rest:
        return [Result(first, NOT_MET)]
    return [Result(cell, verdict) for cell in happened] + (run(bench, rest) if rest else [])


def trial(
    bench: Bench,
    way: Way,
    faults_of: Callable[[Job], list[Fault]],
    cell: Cell | None,
    struck: list[Fault],
    outcome: list[str],
) -> list[str]:
    """Run a job under faults and say what is wrong with its end.

    ``struck`` gets the faults that happened; ``outcome`` gets "failed" when one showed: the job failed, the API
    refused, or an event was kept.
    """
    permanent = cell is not None and cell.column.is_permanent
    module = cell.row.module if cell else ""
    job = Job("", f"trial-{uuid.uuid4().hex}")
    happened: list[Fault] = []
    bench.forget_projects()
    try:
        with contextlib.ExitStack() as stack:
            if cell and cell.row.route.endswith("/create"):
                happened = stack.enter_context(faults.injected(*faults_of(job)))
                try:
                    job.id = bench.create(job.mark).id
                except ApiFailed:
                    if not permanent:
                        raise
                    outcome.append("failed")
                    stack.close()
                    bench.create(job.mark)
                    return []
            else:
                job.id = bench.create(job.mark).id
                happened = stack.enter_context(faults.injected(*faults_of(job)))
            with contextlib.ExitStack() as of_the_way:
                of_the_way.enter_context(faults.injected(*way.faults(bench, job)))
                if cell and cell.column.what in faults.QUOTAS and not permanent:
                    of_the_way.enter_context(_freed(happened, stack))
                try:
                    way.run(bench, job)
                except ApiFailed as failure:
                    if not (permanent and module == "api.app"):
                        return [str(failure)]
                    outcome.append("failed")
                    stack.close()
                    way.run(bench, job)
                bench.ended(job)
                if permanent and module.startswith("events."):
                    _redeliver(bench, job, way, module, stack, outcome)
                record = bench.settled(job, waits=0.5)
                problems = _end(way, record, cell, bench, job, outcome) + _holds(bench, job, way)
                if module == WATCH:
                    time.sleep(WATCH_SECONDS)
                    problems += [f"a look is kept in the queue: {event}" for event in bench.kept(module, job)]
                return problems
    except (Hangs, ApiFailed) as problem:
        return [str(problem)]
    finally:
        struck += happened


@contextlib.contextmanager
def _freed(struck: list[Fault], stack: contextlib.ExitStack) -> Iterator[None]:
    """A quota that others use up is free again after some refusals."""
    over = threading.Event()

    def free() -> None:
        while len(struck) < REFUSALS and not over.wait(0.01):
            pass
        stack.close()

    thread = threading.Thread(target=free)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def _redeliver(bench: Bench, job: Job, way: Way, module: str, stack: contextlib.ExitStack, outcome: list[str]) -> None:
    """What the function could not do is kept in its queue; with the permission given, the event is dealt with."""
    kept: list[Any] = []

    def there() -> bool:
        kept.extend(bench.kept(module, job))
        return bool(kept) or (module != WATCH and _all_holds(bench, job, way))

    eventually(there, "the event is neither dealt with nor kept")
    stack.close()
    if kept:
        outcome.append("failed")
    for event in kept:
        bench.invoke(module, event)


def _end(way: Way, record: dict[str, Any], cell: Cell | None, bench: Bench, job: Job, outcome: list[str]) -> list[str]:
    """Whether the job ended as it should."""
    if record["Status"] == way.ends:
        return []
    if cell is None or not cell.column.is_permanent:
        return [f"ended {record['Status']}: {record.get('Error')}: {(record.get('Cause') or '')[:200]}"]
    outcome.append("failed")
    return failed_cleanly(bench, job, _stage(cell))


def _stage(cell: Cell) -> str | None:
    if cell.row.unit.startswith("state "):
        return cell.row.unit.removeprefix("state ")
    if not cell.row.module.startswith("stages."):
        return None
    return STATES[cell.row.module]


def _states() -> dict[str, str]:
    return {
        "stages." + re.sub(r"(?<!^)([A-Z])", r"_\1", state["Arguments"]["FunctionName"].strip("${}")).lower(): name
        for name, state in definition.read()["States"].items()
        if state["Type"] == "Task"
    }


STATES = _states()


def _left(bench: Bench, job: Job, way: Way) -> Iterator[str]:
    """What does not hold yet; what takes longest to find out comes last."""
    if not bench.messages(job):
        yield "nobody was told that the job ended"
    if "EndEventSent" not in bench.record(job):
        yield "no event tells that the job ended"
    if not bench.has_report(job):
        yield "no audit report tells how the job ended"
    if way.run is erased and ("ErasedTime" not in bench.record(job) or bench.objects(job)):
        yield "the job is not erased"
    yield from violations(bench, job, labelling_jobs=way.labelling_jobs)


def _all_holds(bench: Bench, job: Job, way: Way) -> bool:
    return next(_left(bench, job, way), None) is None


def _holds(bench: Bench, job: Job, way: Way) -> list[str]:
    """What does not hold once all that runs in the background has had its time; the schedules fire meanwhile."""
    for seconds in (2, 3, 10, 30, 60):
        with contextlib.suppress(Hangs):
            eventually(lambda: _all_holds(bench, job, way), "", seconds)
            return []
        events.fire_schedules()
    return list(_left(bench, job, way))


def fault_of(bench: Bench, cell: Cell, job: Job) -> Fault:
    """The fault that the cell tries, in this job."""
    row, column = cell.row, cell.column
    if row.unit.startswith("state "):
        return Fault(column.what, about=(job.id,), message="The service says why in words.")
    function = bench.functions[row.module]
    about = (job.mark if row.route.endswith("/create") else job.id,)
    if row.unit.endswith(SCHEDULED):
        about = (FROM_SCHEDULE[row.module],)
    if column.what is What.EARLY:
        return _early(bench, row, job)
    if column.what in faults.EVENT_FAULTS:
        return Fault(column.what, about=(job.id,), detail_type=row.service)
    if row.route:
        about = (*about, f'"resource": "{row.route}"', f'"httpMethod": "{row.unit.split(" ")[1]}"')
    if column.what is What.COLD:
        return Fault(column.what, function, about)
    return Fault(column.what, function, about, row.service, row.operation, row.nth, column.lasts)


def _early(bench: Bench, row: Row, job: Job) -> Fault:
    """The event of the end comes while its subject still runs."""
    if row.service == LABELLING_EVENT:
        resource = f"arn:aws:sagemaker:us-east-1:123456789012:labeling-job/{job.id}-1"
        source, detail, module, operation = (
            "aws.sagemaker",
            {"LabelingJobStatus": "Completed"},
            "stages.request_labels",
            "CreateLabelingJob",
        )
    else:
        resource = bench.execution_arn(job)
        machine = bench.outputs["StateMachineArn"]
        detail = {"executionArn": resource, "stateMachineArn": machine, "name": job.id, "status": "SUCCEEDED"}
        source, module, operation = "aws.states", "stages.evaluate_model", "UpdateItem"
    event = {"source": source, "detail-type": row.service, "resources": [resource], "detail": detail}
    return Fault(
        What.EARLY,
        bench.functions[module],
        (job.id,),
        operation=operation,
        detail_type=row.service,
        event=json.dumps(event),
    )


def units(template: dict[str, Any]) -> Iterator[str]:
    """The modules of all functions of a template."""
    for resource in template["Resources"].values():
        if resource["Type"] == "AWS::Lambda::Function":
            yield resource["Properties"]["Handler"].removesuffix(".handler")
