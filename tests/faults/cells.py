"""The cells of the fault matrix: which job runs, which fault is injected, and the verdict."""

from __future__ import annotations

import contextlib
import json
import re
import threading
import time
import uuid
from collections import Counter
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from deployment import ENDED, FROM_SCHEDULE, TYPES, ApiFailed, Bench, Hangs, Job, eventually
from invariants import failed_cleanly, violations

from ekyc.localaws import calls, faults
from ekyc.localaws.faults import Fault, Lasts, What
from ekyc.localaws.services import events
from rules.states import COLLECT_PHOTOS, TASKS

PROJECT = Path(__file__).parents[2]
EXECUTION_EVENT = "Step Functions Execution Status Change"
LABELLING_EVENT = "SageMaker Ground Truth Labeling Job State Change"
RECOVERED, CLEAN, WRONG, NOT_MET = "recovered", "failed cleanly", "WRONG", "call not made"
# How often a job is run until it makes the call of a cell. Some calls depend on a race, such as which function first
# sees that a labelling job has ended.
CHANCES = 3

SUPPLIED = {"provider": "supplied", "key": "labels.json"}


# Jobs, from the client's first call to their end


def run_supplied(bench: Bench, job: Job, **options: Any) -> None:
    """Run a job whose labels are supplied at the start."""
    bench.upload(job)
    bench.start(job, labels=SUPPLIED, **options)
    bench.wait_for_end(job)


def run_posted(bench: Bench, job: Job) -> None:
    """Run a job and post its labels while the state machine waits for them."""
    start_and_wait(bench, job)
    bench.upload(job, "labels.json")

    def has_continued() -> bool:
        return bench.record(job)["Status"] not in ("CheckingImages", "WaitingForLabelling")

    def post() -> bool:
        if has_continued():
            return True
        try:
            bench.call("POST", f"jobs/{job.id}/labels", job, json={"key": "labels.json"}, done=has_continued)
        except ApiFailed as failure:
            if ": 409" in str(failure):
                return False  # the stage is being retried and will wait again
            raise
        return True

    eventually(post, "the job does not accept the labels")
    bench.wait_for_end(job)


def start_and_wait(bench: Bench, job: Job) -> None:
    """Start a job and wait until it waits for labels."""
    names = [name for name in bench.photos if not name.endswith(".json")]
    bench.call("POST", f"jobs/{job.id}/urls", job, json={"names": names}, done=lambda: bench.execution(job) is not None)
    bench.upload(job, *names)
    bench.start(job, labels={"provider": "supplied"})
    if bench.record(job)["Status"] not in ENDED:
        eventually(
            lambda: bench.record(job)["Status"] in ("WaitingForLabelling", *ENDED) or bench.execution(job).error,
            "the job does not wait for labels",
        )


def run_and_stop(bench: Bench, job: Job) -> None:
    """Stop a job while it waits for labels."""
    start_and_wait(bench, job)
    bench.call("POST", f"jobs/{job.id}/stop", job)
    bench.wait_for_end(job)


def run_and_erase(bench: Bench, job: Job) -> None:
    """Run a job to its end and request its erasure."""
    run_supplied(bench, job)
    bench.wait_until_settled(job)
    bench.call("DELETE", f"jobs/{job.id}", job)


def run_and_resume(bench: Bench, job: Job, **options: Any) -> None:
    """Run a job, of which a stage fails, and resume it."""
    if bench.execution(job) is None:
        bench.upload(job)
        bench.start(job, **({"labels": SUPPLIED} | options))
    if bench.wait_for_end(job).redrive_count == 0:
        bench.wait_until_settled(job, waits=8)

        def is_redriven() -> bool:
            return bench.execution(job).redrive_count == 1

        bench.call("POST", f"jobs/{job.id}/resume", job, done=is_redriven)
        bench.wait_for_end(job)


def run_labelled(bench: Bench, job: Job) -> None:
    """Run a job that the simulated workforce labels in Ground Truth."""
    bench.upload(job)
    bench.start(job, labels={"provider": "ground-truth"})
    bench.wait_for_end(job)


def run_relabelled(bench: Bench, job: Job) -> None:
    """Run a job whose labelling job fails, and resume it."""
    run_and_resume(bench, job, labels={"provider": "ground-truth"})


def run_published(bench: Bench, job: Job) -> None:
    """Run a job that publishes its model and stops the previous one."""
    run_supplied(bench, job, deploy=True)


def run_unnoticed(bench: Bench, job: Job) -> None:
    """Run a job whose end event is lost, and fire the schedules, which find the end."""
    run_supplied(bench, job)
    events.fire_schedules()


def run_on_page(bench: Bench, job: Job) -> None:
    """Run a job whose photos a person labels on the labelling page."""
    start_on_page(bench, job)
    eventually(lambda: label_on_page(bench, job), "the job does not accept the answers")
    bench.wait_for_end(job)


def start_on_page(bench: Bench, job: Job) -> None:
    """Start a job, unless it runs, and wait until it waits for people."""
    if bench.execution(job) is None:
        bench.upload(job)
        bench.start(job, labels={"provider": "page"})
    eventually(
        lambda: bench.record(job)["Status"] in ("Labelling", *ENDED) or bench.execution(job).error,
        "the job does not wait for people",
    )


def label_on_page(bench: Bench, job: Job) -> bool:
    """Label and review what the job offers now. Return whether the job needs no more answers."""
    if bench.record(job)["Status"] not in ("CheckingImages", "WaitingForLabelling", "Labelling"):
        return True
    try:
        taken = bench.call_as_person("POST", "next", job, json={"count": 2}).json()["tasks"]
        leases = [{"place": task["place"], "leaseId": task["leaseId"]} for task in taken]
        if leases:
            bench.call_as_person("POST", "leases", job, json={"leases": leases})
        for task in taken:
            kind = TYPES[(task["place"] - 1) % 2]
            answer = {
                "leaseId": task["leaseId"],
                "outcome": "labelled",
                "boxes": [{"type": kind, "left": 20, "top": 20, "width": 50, "height": 40}],
                "seconds": 3,
            }
            bench.call_as_person("PUT", f"answers/{task['place']}", job, json=answer)
        if not taken:
            review_on_page(bench, job)
    except ApiFailed as failure:
        if re.search(": 40[49] ", str(failure)):
            return False  # the job is not open yet or any more, or the lease has expired during the repeated calls
        raise
    return False


def review_on_page(bench: Bench, job: Job) -> None:
    """Accept the labels that are to be reviewed now."""
    for task in bench.call_as_person("POST", "review/next", job, json={"count": 2}).json()["tasks"]:
        decision = {"leaseId": task["leaseId"], "decision": "accept"}
        bench.call_as_person("PUT", f"review/{task['place']}", job, json=decision)


def stop_on_page(bench: Bench, job: Job) -> None:
    """Stop a job while people label its photos."""
    start_on_page(bench, job)
    bench.call("POST", f"jobs/{job.id}/stop", job)
    bench.wait_for_end(job)


def erase_from_page(bench: Bench, job: Job) -> None:
    """Run a job whose photos a person labels to its end, and request its erasure."""
    run_on_page(bench, job)
    bench.wait_until_settled(job)
    bench.call("DELETE", f"jobs/{job.id}", job)


ERASING = (run_and_erase, erase_from_page)


@dataclass(frozen=True)
class Way:
    """A course of a job: the client's calls, the faults that belong to it, and the status at its end."""

    run: Callable[[Bench, Job], None]
    ends: str = "Ready"
    labelling_jobs: int = 1
    # Faults of every job of this course, as module, fault, operation and duration.
    fails: tuple[tuple[str, What, str, Lasts], ...] = ()

    def faults(self, bench: Bench, job: Job) -> list[Fault]:
        lost = [Fault(What.LOST, about=(job.id,), detail_type=EXECUTION_EVENT)] if self.run is run_unnoticed else []
        return lost + [
            Fault(what, bench.functions.get(module, ""), (job.id,), operation=operation, lasts=lasts)
            for module, what, operation, lasts in self.fails
        ]


# The cheapest first: each call is tried in the first course that makes it.
WAYS = {
    "labels come with the start": Way(run_supplied),
    "labels are posted": Way(run_posted),
    "stopped": Way(run_and_stop, "Stopped"),
    "erased": Way(run_and_erase),
    "ended unnoticed": Way(run_unnoticed),
    "resumed": Way(run_and_resume, fails=(("stages.prepare_datasets", What.DENIED, "UpdateItem", Lasts.ONCE),)),
    "a batch is checked again": Way(
        run_and_resume, fails=(("stages.check_photos", What.DENIED, "GetObject", Lasts.ONCE),)
    ),
    "labelled on the page": Way(run_on_page),
    "stopped while people label": Way(stop_on_page, "Stopped"),
    "erased after people labelled": Way(erase_from_page),
    "labelled by people": Way(run_labelled),
    "labelled twice": Way(run_relabelled, labelling_jobs=2, fails=(("", What.LABELLING_FAILS, "", Lasts.ONCE),)),
    "published": Way(run_published),
    "fails after its model runs": Way(
        run_published,
        "Failed",
        fails=(("stages.publish_model", What.DENIED, "PutParameter", Lasts.ALWAYS),),
    ),
}


SCHEDULED = " on schedule"
# Only schedules call this function, and it handles no single job. Its dead-letter queue shows whether it succeeded.
WATCH = "events.watch_running"
WATCH_SECONDS = 3.0  # enough for Lambda's two retries of an event


@dataclass(frozen=True, order=True)
class Row:
    """A row of the matrix: the ``nth`` call of an operation in one invocation of a function.

    Without an operation, the row is for the function itself, for an event that it gets, or for a service.
    """

    unit: str
    service: str = ""
    operation: str = ""
    nth: int = 0

    @property
    def module(self) -> str:
        return self.unit.split(" ")[0]

    @property
    def route(self) -> str:
        """The API's route, such as "/api/training/start"; empty for other functions."""
        return self.unit.rpartition(" ")[2] if self.module.startswith("api.") else ""

    @property
    def call(self) -> str:
        if not self.operation:
            return self.service
        return f"{self.service}:{self.operation}" + (f" #{self.nth}" if self.nth > 1 else "")


@dataclass(frozen=True)
class Column:
    """A column of the matrix: a fault and how long it lasts."""

    what: What
    lasts: Lasts = Lasts.ONCE

    def __str__(self) -> str:
        lasts = {What.THROTTLED_400: self.lasts, What.DROPPED: self.lasts}.get(self.what, "")
        return f"{self.what}, {lasts}" if lasts else str(self.what)

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
# For each function, the event that it gets, and the courses in which the event comes once and twice.
EVENTS = {
    "events.resume_labelling": (LABELLING_EVENT, "labelled by people", "labelled twice"),
    "events.record_outcome": (EXECUTION_EVENT, "labels come with the start", "resumed"),
    "events.export_audit": (EXECUTION_EVENT, "labels come with the start", "resumed"),
}
OF_EVENTS = tuple(Column(what) for what in (What.LOST, What.DOUBLED, What.LATE, What.EARLY, What.OUT_OF_ORDER))
# Failures and quotas of services: the course that meets each, and the stage that then fails.
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
# A quota that is used up has room again after this many refusals.
REFUSALS = 3


@dataclass(frozen=True)
class Cell:
    """A cell of the matrix: a fault at a call, in a course of a job."""

    row: Row
    column: Column
    way: str


@dataclass(frozen=True)
class Result:
    """The verdict on a cell. ``problems`` says what went wrong if the verdict is WRONG."""

    cell: Cell
    verdict: str
    problems: tuple[str, ...] = ()


def record_calls(bench: Bench, way_name: str) -> dict[Row, int]:
    """Run a job without an injected fault. Return the rows of the calls that its functions make, with their counts."""
    way, counts, rows = WAYS[way_name], Counter[tuple[str, str]](), dict[Row, int]()
    with calls.recorded() as recorded_calls:
        problems = try_faults(bench, way, lambda _job: [], None, [], [])
    if problems:
        raise AssertionError(f"Without a fault, a job ({way_name}) does not end well: {problems}")
    for call in recorded_calls:
        if call.attempt > 1:
            continue
        unit = bench.modules[call.function]
        if not call.invocation.event or unit == WATCH:
            # What settle_job finds on schedule depends on other jobs. It handles it as it handles an event.
            if way.run is not run_unnoticed or (unit != WATCH and call.operation != "Query"):
                continue
            unit += SCHEDULED
        if unit.startswith("api."):
            unit = f"{unit} {call.invocation.event['httpMethod']} {call.invocation.event['resource']}"
        key = (call.invocation.id, f"{unit} {call.service} {call.operation}")
        counts[key] += 1
        row = Row(unit, call.service, call.operation, counts[key])
        rows[row] = rows.get(row, 0) + 1
    return rows


def plan(rows_by_way: dict[str, dict[Row, int]]) -> list[Cell]:
    """Return all cells for the calls that each course makes.

    If an invocation calls an operation more than four times, such as once per photo, only the first and the last call
    get cells.
    """
    first: dict[Row, str] = {}
    for way in WAYS:
        for row in rows_by_way[way]:
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
    """Group the cells by the job in which they are tried.

    Faults of one kind that a job must recover from share a job, up to the number of retries. Every other fault has its
    own job.
    """
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
    """Try the cells of a batch in one job.

    If the job does not end well, try each half of the cells in its own job. Repeat cells whose fault did not happen.
    """
    first = batch[0]
    for _ in range(CHANCES):
        outcome, occurred, planned = list[str](), list[Fault](), list[Fault]()

        def faults_of(job: Job, planned: list[Fault] = planned) -> list[Fault]:
            planned += [fault_of(bench, cell, job) for cell in batch]
            return planned

        problems = try_faults(bench, WAYS[first.way], faults_of, first, occurred, outcome)
        # No fault is planned if the job could not be created.
        happened = [cell for cell, fault in zip(batch, planned, strict=False) if fault in occurred]
        if problems or happened or len(batch) > 1:
            break
    if len(batch) > 1 and (problems or not happened):
        half = len(batch) // 2
        return run(bench, batch[:half]) + run(bench, batch[half:])
    if problems:
        return [Result(first, WRONG, tuple(problems))]
    verdict = CLEAN if "failed" in outcome else RECOVERED
    missed = [cell for cell in batch if cell not in happened]
    if len(batch) == 1 and missed:
        return [Result(first, NOT_MET)]
    return [Result(cell, verdict) for cell in happened] + (run(bench, missed) if missed else [])


def try_faults(
    bench: Bench,
    way: Way,
    faults_of: Callable[[Job], list[Fault]],
    cell: Cell | None,
    occurred: list[Fault],
    outcome: list[str],
) -> list[str]:
    """Run a job with injected faults. Return what is wrong with its end.

    Adds the faults that happened to ``occurred``. Adds "failed" to ``outcome`` if a fault became visible: the job
    failed, the API refused a call, or an event went to a dead-letter queue.
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
                    if not (permanent and module.startswith("api.")):
                        return [str(failure)]
                    outcome.append("failed")
                    stack.close()
                    way.run(bench, job)
                bench.wait_for_end(job)
                if permanent and module.startswith("events."):
                    _redeliver(bench, job, way, module, stack, outcome)
                record = bench.wait_until_settled(job, waits=0.5)
                problems = _end(way, record, cell, bench, job, outcome) + _holds(bench, job, way)
                if module == WATCH:
                    time.sleep(WATCH_SECONDS)
                    unhandled = bench.take_unhandled(module, job)
                    problems += [f"an event is in the dead-letter queue: {event}" for event in unhandled]
                return problems
    except (Hangs, ApiFailed) as problem:
        return [str(problem)]
    finally:
        occurred += happened


@contextlib.contextmanager
def _freed(occurred: list[Fault], stack: contextlib.ExitStack) -> Iterator[None]:
    """Free a used-up quota after `REFUSALS` refusals, while the block runs."""
    over = threading.Event()

    def free() -> None:
        while len(occurred) < REFUSALS and not over.wait(0.01):
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
    """Take the failed event from the dead-letter queue, end the fault, and deliver the event again."""
    unhandled: list[Any] = []

    def is_decided() -> bool:
        unhandled.extend(bench.take_unhandled(module, job))
        return bool(unhandled) or (module != WATCH and _all_holds(bench, job, way))

    eventually(is_decided, "the event is neither handled nor in the dead-letter queue")
    stack.close()
    if unhandled:
        outcome.append("failed")
    for event in unhandled:
        bench.invoke(module, event)


def _end(way: Way, record: dict[str, Any], cell: Cell | None, bench: Bench, job: Job, outcome: list[str]) -> list[str]:
    """Return what is wrong with the status at the job's end."""
    if record["Status"] == way.ends:
        return []
    if cell is None or not cell.column.is_permanent:
        return [f"ended {record['Status']}: {record.get('Error')}: {(record.get('Cause') or '')[:200]}"]
    outcome.append("failed")
    return failed_cleanly(bench, job, _stages(cell))


def _stages(cell: Cell) -> Collection[str]:
    """The states of which one must fail if the fault of the cell is permanent. Empty: any."""
    if cell.row.unit.startswith("state "):
        return [cell.row.unit.removeprefix("state ")]
    if not cell.row.module.startswith("stages."):
        return []
    stages = [STATES[cell.row.module]]
    if (cell.row.module, cell.row.operation, cell.column.what) == (CHECK, "GetObject", What.DENIED):
        # A photo that is denied after another was read is rejected. Collect photos counts the rejected photos.
        stages.append(COLLECT_PHOTOS.name)
    return stages


CHECK = "stages.check_photos"
STATES = {f"stages.{task.module}": task.name for task in TASKS}


def _problems(bench: Bench, job: Job, way: Way) -> Iterator[str]:
    """Yield what does not hold yet. The slowest checks come last."""
    if not bench.messages(job):
        yield "no message says that the job ended"
    if "EndEventSent" not in bench.record(job):
        yield "no event says that the job ended"
    if not bench.has_report(job):
        yield "no audit report covers the job's end"
    if way.run in ERASING and ("ErasedTime" not in bench.record(job) or bench.objects(job) or bench.tasks(job)):
        yield "the job is not erased"
    yield from violations(bench, job, labelling_jobs=way.labelling_jobs)


def _all_holds(bench: Bench, job: Job, way: Way) -> bool:
    return next(_problems(bench, job, way), None) is None


def _holds(bench: Bench, job: Job, way: Way) -> list[str]:
    """Return what does not hold after the background functions have had time. Fires the schedules meanwhile."""
    for seconds in (2, 3, 10, 30, 60):
        with contextlib.suppress(Hangs):
            eventually(lambda: _all_holds(bench, job, way), "", seconds)
            return []
        events.fire_schedules()
    return list(_problems(bench, job, way))


def fault_of(bench: Bench, cell: Cell, job: Job) -> Fault:
    """Return the cell's fault for this job."""
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
    """Return a fault that sends the end event while its execution or labelling job still runs."""
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
    """Yield the modules of all functions in a template."""
    for resource in template["Resources"].values():
        if resource["Type"] == "AWS::Lambda::Function":
            yield resource["Properties"]["Handler"].removesuffix(".handler")
