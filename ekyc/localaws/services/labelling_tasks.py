"""Assigns the photos of a labelling job to workers and collects their answers.

Simulated workers and people at the labelling page use the same calls: claim a photo, then answer or decline it.
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
from rules.consolidation import DrawnBox

EXPIRED = "The task expired: no worker answered it."


class TaskError(Exception):
    """The worker's action is not possible. The message says why and what to do."""


class NoSuchAssignment(TaskError):
    """The worker has no assignment with this id."""


class TaskLost(TaskError):
    """The assignment has expired and another worker has the photo."""


class JobEnded(TaskError):
    """The labelling job accepts no more answers."""


@dataclass
class Answer:
    """A worker's answer for a photo, with its times."""

    worker: str
    boxes: Sequence[DrawnBox]
    accepted: datetime.datetime
    submitted: datetime.datetime


@dataclass(eq=False)
class Assignment:
    """A photo assigned to a worker. `draft` has boxes that are not submitted yet, or is None."""

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
        """Whether this assignment counts: it is answered, or has not expired."""
        return self.answer is not None or (not self.declined and time.monotonic() < self.expires)


@dataclass(eq=False)
class Task:
    """An object of the input manifest.

    `failure` is why it gets no label. `given` says that it came with a label. `size` is the displayed size of the
    photo, or None if it has not been read yet.
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
        """The answers so far, in the order of the assignments."""
        return [turn.answer for turn in self.assignments if turn.answer]

    @property
    def is_labelled(self) -> bool:
        """Whether the object has, or gets, a label."""
        return self.given or len(self.answers) >= self.workers

    @property
    def is_open(self) -> bool:
        """Whether more answers are needed."""
        return not self.failure and not self.is_labelled

    @property
    def has_room(self) -> bool:
        """Whether it can be assigned to one more worker."""
        return self.is_open and sum(turn.holds for turn in self.assignments) < self.workers


class Tasks:
    """The tasks of a job. Thread-safe.

    `lines` are the objects of the input manifest; `given` says which already have a label. Each needs answers from
    `workers` different workers. An assignment lasts `lease_seconds` real seconds. A draft renews it. `over` is set when
    no more answers are needed.
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
        """The worker's current photo, else the next free photo, or None.

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
        """All assignments that `worker` still has or has answered, oldest first."""
        with self._lock:
            return [
                turn
                for turn in self._turns.values()
                if turn.worker == worker and not turn.declined and (turn.holds or turn.task.has_room)
            ]

    def turn(self, assignment_id: str, worker: str | None = None) -> Assignment:
        """The assignment with this id, and of `worker` if given. Raises NoSuchAssignment."""
        with self._lock:
            turn = self._turns.get(assignment_id)
            if turn is None or worker not in (None, turn.worker):
                raise NoSuchAssignment("You have no photo with this id. Take the next one.")
            return turn

    def save_draft(self, assignment_id: str, worker: str, boxes: Sequence[DrawnBox]) -> None:
        """Save boxes that are not submitted yet, and renew the assignment. Raises TaskError."""
        with self._lock:
            turn = self._held(assignment_id, worker)
            turn.draft, turn.expires = boxes, time.monotonic() + self.lease_seconds

    def submit(self, assignment_id: str, worker: str, boxes: Sequence[DrawnBox], seconds: float | None = None) -> None:
        """Save an answer, or replace the earlier one. `seconds` is the time spent; default: the time since the claim.

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
        """Return the photo unanswered. Its task expires when as many workers have declined it as should answer it.

        Raises TaskError. Source: Ground Truth guide, "Monitor Labeling Jobs".
        """
        with self._lock:
            turn = self._held(assignment_id, worker)
            turn.declined, turn.answer, turn.draft = True, None, None
            self._finish(turn)
            self._first_open = min(self._first_open, turn.task.number)
            if sum(assignment.declined for assignment in turn.task.assignments) >= turn.task.workers:
                turn.task.failure = EXPIRED
            self._tell_if_complete()

    def fail(self, task: Task, reason: str) -> None:
        """Mark the photo as impossible to label."""
        with self._lock:
            task.failure = reason
            self._tell_if_complete()

    def expire(self) -> None:
        """Let all unanswered tasks expire."""
        with self._lock:
            for task in self._all:
                if task.is_open:
                    task.failure = EXPIRED
            self._tell_if_complete()

    def close(self) -> list[Task]:
        """Accept no more answers. Returns all tasks in the manifest's order."""
        with self._lock:
            self._is_closed = True
            return self._all

    @property
    def counts(self) -> tuple[int, int, int]:
        """The number of labelled tasks, failed tasks, and all tasks."""
        with self._lock:
            labelled = sum(task.is_labelled for task in self._all)
            return labelled, sum(bool(task.failure) for task in self._all), len(self._all)

    @property
    def is_complete(self) -> bool:
        """Whether every task has all answers or has failed."""
        with self._lock:
            while self._first_open < len(self._all) and not self._all[self._first_open].is_open:
                self._first_open += 1
            return self._first_open == len(self._all)

    def _tell_if_complete(self) -> None:
        if self.is_complete:
            self.over.set()

    def _check_open(self) -> None:
        if self._is_closed or self.is_complete:
            raise JobEnded("The labelling job has ended and accepts no more answers.")

    def _finish(self, turn: Assignment) -> None:
        if turn in self._unfinished[turn.worker]:
            self._unfinished[turn.worker].remove(turn)

    def _new_turn(self, worker: str, task: Task) -> Assignment:
        # The id is a secret, because it gives access to the photo.
        turn = Assignment(secrets.token_urlsafe(16), worker, task, clock.utc(), time.monotonic() + self.lease_seconds)
        task.assignments.append(turn)
        self._turns[turn.id] = turn
        self._unfinished[worker].append(turn)
        return turn

    def _held(self, assignment_id: str, worker: str) -> Assignment:
        turn = self.turn(assignment_id, worker)
        self._check_open()
        if turn.declined or (not turn.holds and not turn.task.has_room):
            raise TaskLost("Your time for this photo is over and another worker has it. Take the next one.")
        return turn
