"""What the commands print on: the console, and progress bars."""

from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn

console = Console(highlight=False, soft_wrap=True)


class Steps:
    """The steps of a task that are done."""

    def __init__(self, bar: Progress, task: TaskID) -> None:
        self._bar, self._task = bar, task

    def advance(self) -> None:
        """One more step is done; any thread may say so."""
        self._bar.advance(self._task)

    def reach(self, done: int, _total: int) -> None:
        """``done`` steps are done by now."""
        self._bar.update(self._task, completed=done)


@contextmanager
def progress(words: str, total: int) -> Iterator[Steps]:
    """A progress bar of ``total`` steps on a terminal, a plain line elsewhere."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    if not console.is_terminal:
        console.print(words)
    with Progress(*columns, console=console, disable=not console.is_terminal) as bar:
        yield Steps(bar, bar.add_task(words, total=total))
