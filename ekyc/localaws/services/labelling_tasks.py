"""Who labels which photo: the tasks of one labelling job, handed out to workers and taken back with their answers.

Simulated workers and people at the labelling page come the same way: claim a photo, then answer or decline it.
"""

from __future__ import annotations

import datetime
import secrets
import threading
import time
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from ekyc.localaws.clock import Signal, clock
from ekyc.localaws.services.custom_labels_manifest import Size
from ekyc.localaws.services.workforce import DrawnBox

EXPIRED = "The task expired: no worker answered it."


class TaskError(Exception):
    """A worker cannot do this; the message says why and what to do."""


class NoSuchAssignment(TaskError):
    """The worker has no assignment of this id."""


class TaskLost(TaskError):
    """The worker's time for the photo ran out and it was given to somebody else."""


class JobEnded(TaskError):
    """The labelling job takes no answers any more."""


@dataclass
class Answer:
    """What a worker submitted for a photo, and in what time."""

    worker: str
    boxes: Sequence[DrawnBox]
    accepted: datetime.datetime
    submitted: datetime.datetime


@dataclass(eq=False)
class Assignment:
    """One worker's turn at one photo. `draft` holds boxes that are not submitted yet, None when there are none."""

    id: str
    worker: str
    task: Task
    accepted: datetime.datetime
    expires: float
    draft: Sequence[DrawnBox] | None = None
    answer: Answer | None = None
    declined: bool = False

    @property
    def holds(self) -> bool:
        """Whether this turn keeps a place at the photo: it is answered, or its time has not run out."""
        return self.answer is not None or (not self.declined and time.monotonic() < self.expires)


@dataclass(eq=False)
class Task:
    """One object of the input manifest. `failure` says why it gets no label, `given` that it came with one; `size` is
    its photo's as people see it, None until somebody has looked.
    """

    number: int
    line: dict[str, Any]
    workers: int
    given: bool = False
    failure: str = ""
    size: Size | None = None
    assignments: list[Assignment] = field(default_factory=list)

    @property
    def answers(self) -> list[Answer]:
        """What was submitted so far, in the order in which the workers came."""
        return [turn.answer for turn in self.assignments if turn.answer]

    @property
    def is_labelled(self) -> bool:
        """Whether it bears a label at the end."""
        return self.given or len(self.answers) >= self.workers

    @property
    def is_open(self) -> bool:
        """Whether workers are still wanted."""
        return not self.failure and not self.is_labelled

    @property
    def has_room(self) -> bool:
        """Whether one more worker may take it."""
        return self.is_open and sum(turn.holds for turn in self.assignments) < self.workers


class Tasks:
    """The tasks of a job; any thread may call.

    `lines`: the objects of the input manifest; those of `given` bear a label already. Each is wanted from `workers`
    different workers. A claim lasts `lease_seconds` real seconds; a draft renews it, so that a photo whose worker went
    away comes back and one that is worked on does not. `over` is set when no more answers are wanted.
    """

    lease_seconds = 180.0

    def __init__(self, lines: Sequence[dict[str, Any]], workers: int, given: Sequence[bool]) -> None:
        self._lock = threading.RLock()
        self._all = [Task(n, line, workers, has) for n, (line, has) in enumerate(zip(lines, given, strict=True))]
        self._turns: dict[str, Assignment] = {}
        self._unfinished: dict[str, list[Assignment]] = defaultdict(list)  # by worker
        self._first_open = 0
        self._is_closed = False
        self.over = Signal(clock)

    def claim(self, worker: str) -> Assignment | None:
        """The photo that `worker` is to label: the one that they have already, or another; None when there is none.

        Raises JobEnded.
        """
        with self._lock:
            self._check_open()
            for turn in self._unfinished[worker]:
                if turn.task.is_open and (turn.holds or turn.task.has_room):
                    turn.expires = time.monotonic() + self.lease_seconds
                    return turn
            for task in self._all[self._first_open :]:
                if task.has_room and all(turn.worker != worker for turn in task.assignments):
                    return self._new_turn(worker, task)
            return None

    def of(self, worker: str) -> list[Assignment]:
        """All turns of `worker` that they still have or answered, in the order in which they got them."""
        with self._lock:
            return [
                turn
                for turn in self._turns.values()
                if turn.worker == worker and not turn.declined and (turn.holds or turn.task.has_room)
            ]

    def turn(self, assignment_id: str, worker: str | None = None) -> Assignment:
        """The assignment, of `worker` when one is named. Raises NoSuchAssignment."""
        with self._lock:
            turn = self._turns.get(assignment_id)
            if turn is None or worker not in (None, turn.worker):
                raise NoSuchAssignment("You have no photo of this id: ask for the next one.")
            return turn

    def save_draft(self, assignment_id: str, worker: str, boxes: Sequence[DrawnBox]) -> None:
        """Keep boxes that are not submitted yet, and the photo for the worker. Raises TaskError."""
        with self._lock:
            turn = self._held(assignment_id, worker)
            turn.draft, turn.expires = boxes, time.monotonic() + self.lease_seconds

    def submit(self, assignment_id: str, worker: str, boxes: Sequence[DrawnBox], seconds: float | None = None) -> None:
        """Take an answer, or another answer in its place; `seconds` is the time spent, if not the time that passed.

        Raises TaskError.
        """
        with self._lock:
            turn = self._held(assignment_id, worker)
            submitted = clock.utc()
            accepted = turn.accepted if seconds is None else submitted - datetime.timedelta(seconds=seconds)
            turn.answer, turn.draft = Answer(worker, boxes, accepted, submitted), None
            self._finish(turn)
            self._tell_if_complete()

    def decline(self, assignment_id: str, worker: str) -> None:
        """Give the photo back unanswered; it expires when as many decline it as are wanted to answer. Raises TaskError.

        Source: Ground Truth guide, "Monitor Labeling Jobs".
        """
        with self._lock:
            turn = self._held(assignment_id, worker)
            turn.declined, turn.answer, turn.draft = True, None, None
            self._finish(turn)
            self._first_open = min(self._first_open, turn.task.number)
            if sum(one.declined for one in turn.task.assignments) >= turn.task.workers:
                turn.task.failure = EXPIRED
            self._tell_if_complete()

    def fail(self, task: Task, reason: str) -> None:
        """The photo cannot be labelled by anybody."""
        with self._lock:
            task.failure = reason
            self._tell_if_complete()

    def expire(self) -> None:
        """Nobody comes to answer what is not answered yet."""
        with self._lock:
            for task in self._all:
                if task.is_open:
                    task.failure = EXPIRED
            self._tell_if_complete()

    def close(self) -> list[Task]:
        """Take no more answers; all tasks in the manifest's order."""
        with self._lock:
            self._is_closed = True
            return self._all

    @property
    def counts(self) -> tuple[int, int, int]:
        """How many tasks are labelled, failed, and there are."""
        with self._lock:
            labelled = sum(task.is_labelled for task in self._all)
            return labelled, sum(bool(task.failure) for task in self._all), len(self._all)

    @property
    def is_complete(self) -> bool:
        """Whether every task has got what it wants, or failed."""
        with self._lock:
            while self._first_open < len(self._all) and not self._all[self._first_open].is_open:
                self._first_open += 1
            return self._first_open == len(self._all)

    def _tell_if_complete(self) -> None:
        if self.is_complete:
            self.over.set()

    def _check_open(self) -> None:
        if self._is_closed or self.is_complete:
            raise JobEnded("The labelling job has ended: it takes no more answers.")

    def _finish(self, turn: Assignment) -> None:
        if turn in self._unfinished[turn.worker]:
            self._unfinished[turn.worker].remove(turn)

    def _new_turn(self, worker: str, task: Task) -> Assignment:
        # The id is a secret: whoever has it may see the photo.
        turn = Assignment(secrets.token_urlsafe(16), worker, task, clock.utc(), time.monotonic() + self.lease_seconds)
        task.assignments.append(turn)
        self._turns[turn.id] = turn
        self._unfinished[worker].append(turn)
        return turn

    def _held(self, assignment_id: str, worker: str) -> Assignment:
        turn = self.turn(assignment_id, worker)
        self._check_open()
        if turn.declined or (not turn.holds and not turn.task.has_room):
            raise TaskLost("Your time for this photo ran out and it was given to somebody else: take the next one.")
        return turn
