"""What the commands print on: results on standard output, what happens meanwhile beside it, progress bars."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

console = Console(highlight=False, soft_wrap=True)
human = Console(highlight=False, soft_wrap=True, stderr=True)
"""For words that are not the result: with ``--json`` standard output holds nothing but that."""


def print_json(document: Any) -> None:
    """Print the result for a script."""
    print(json.dumps(document, indent=2, ensure_ascii=False))


class Steps:
    """The steps of a task that are done."""

    def __init__(self, bar: Progress, task: TaskID) -> None:
        self._bar, self._task = bar, task

    def advance(self, steps: float = 1) -> None:
        """So many more steps are done; any thread may say so."""
        self._bar.advance(self._task, steps)

    def reach(self, done: int, _total: int) -> None:
        """``done`` steps are done by now."""
        self._bar.update(self._task, completed=done)


@contextmanager
def progress(words: str, total: int, on: Console = console) -> Iterator[Steps]:
    """A progress bar of ``total`` steps on a terminal, a plain line elsewhere."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    if not on.is_terminal:
        on.print(words, markup=False)
    with Progress(*columns, console=on, disable=not on.is_terminal) as bar:
        yield Steps(bar, bar.add_task(words, total=total))
