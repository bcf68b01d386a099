"""The photos of a labelling job, and the answers of the simulated workers."""

from __future__ import annotations

import datetime
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from ekyc.localaws.clock import Signal, clock
from ekyc.localaws.services.custom_labels_manifest import Size
from rules.consolidation import DrawnBox

EXPIRED = "The task expired: no worker answered it."


@dataclass
class Answer:
    """A worker's answer for a photo, with its times."""

    worker: str
    boxes: Sequence[DrawnBox]
    accepted: datetime.datetime
    submitted: datetime.datetime


@dataclass(eq=False)
class Task:
    """An object of the input manifest.

    `failure` is why it gets no label. `given` says that it came with a label. `size` is the displayed size of the
    photo, or None if it has not been read yet. `declined` are the workers who did not answer it.
    """

    number: int
    line: dict[str, Any]
    workers: int
    given: bool = False
    failure: str = ""
    size: Size | None = None
    answers: list[Answer] = field(default_factory=list)
    declined: set[str] = field(default_factory=set)

    @property
    def is_labelled(self) -> bool:
        """Whether the object has, or gets, a label."""
        return self.given or len(self.answers) >= self.workers

    @property
    def is_open(self) -> bool:
        """Whether more answers are needed."""
        return not self.failure and not self.is_labelled

    def is_new_to(self, worker: str) -> bool:
        """Whether the worker has neither answered nor declined it."""
        return worker not in self.declined and all(answer.worker != worker for answer in self.answers)


class Tasks:
    """The tasks of a job. Thread-safe.

    `lines` are the objects of the input manifest; `given` says which already have a label. Each needs answers from
    `workers` different workers. `over` is set when no more answers are needed.
    """

    def __init__(self, lines: Sequence[dict[str, Any]], workers: int, given: Sequence[bool]) -> None:
        self._lock = threading.RLock()
        self._all = [Task(n, line, workers, has) for n, (line, has) in enumerate(zip(lines, given, strict=True))]
        self._first_open = 0
        self.over = Signal(clock)

    def next(self, worker: str) -> Task | None:
        """The next photo for the worker, or None."""
        with self._lock:
            rest = self._all[self._first_open :]
            return next((task for task in rest if task.is_open and task.is_new_to(worker)), None)

    def submit(self, task: Task, worker: str, boxes: Sequence[DrawnBox], seconds: float) -> None:
        """Save an answer for which the worker needed `seconds`."""
        with self._lock:
            submitted = clock.utc()
            task.answers.append(Answer(worker, boxes, submitted - datetime.timedelta(seconds=seconds), submitted))
            self._tell_if_complete()

    def decline(self, task: Task, worker: str) -> None:
        """Return the photo unanswered. Its task expires when as many workers have declined it as should answer it.

        Source: Ground Truth guide, "Monitor Labeling Jobs".
        """
        with self._lock:
            task.declined.add(worker)
            if len(task.declined) >= task.workers:
                task.failure = EXPIRED
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

    def all(self) -> list[Task]:
        """All tasks in the manifest's order."""
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
