"""The consoles of the commands: results on standard output, messages and progress bars on standard error."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn
from rich.text import Text

from rules.names import is_invisible


def printable(text: str) -> str:
    """The text with its control and invisible characters escaped, such as ``\\x1b``, ``\\n``, ``\\u202e``.

    Other people choose the names of files, types, workers and services. A name must not be able to control the
    terminal.
    """
    return "".join(
        character.encode("unicode_escape").decode() if is_invisible(character) else character for character in text
    )


def as_text(text: str, style: str = "") -> Text:
    """`printable` text in a Rich style."""
    return Text(printable(text), style)


class Terminal(Console):
    """A console that prints every string as `printable`, also in tables. ``[text]`` is text, not Rich markup."""

    def __init__(self, *, stderr: bool = False) -> None:
        super().__init__(highlight=False, soft_wrap=True, markup=False, emoji=False, stderr=stderr)

    def render_str(self, text: str, **options: Any) -> Text:
        return super().render_str(printable(text), **options)


console = Terminal()
human = Terminal(stderr=True)
"""For messages. With ``--json``, standard output has only the result."""


def print_json(document: Any) -> None:
    """Print the result as JSON."""
    print(to_json(document, indent=2))


def to_json(document: Any, indent: int | None = None) -> str:
    """The document as JSON. Control and invisible characters in its strings are escaped."""
    text = json.dumps(document, indent=indent, ensure_ascii=False)
    return "".join(
        json.dumps(character)[1:-1] if is_invisible(character) and character != "\n" else character
        for character in text
    )


class Steps:
    """The progress of a task, in steps."""

    def __init__(self, bar: Progress, task: TaskID) -> None:
        self._bar, self._task = bar, task

    def advance(self, steps: float = 1) -> None:
        """Add ``steps`` to the completed steps. Thread-safe."""
        self._bar.advance(self._task, steps)

    def reach(self, done: int, _total: int) -> None:
        """Set the number of completed steps."""
        self._bar.update(self._task, completed=done)


@contextmanager
def progress(title: str, total: int, on: Console = console) -> Iterator[Steps]:
    """A progress bar with ``total`` steps on a terminal. Elsewhere, a line with the title."""
    columns = (TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    if not on.is_terminal:
        on.print(title)
    with Progress(*columns, console=on, disable=not on.is_terminal) as bar:
        yield Steps(bar, bar.add_task(printable(title), total=total))
