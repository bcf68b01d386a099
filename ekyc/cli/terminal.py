"""What the commands print on: results on standard output, what happens meanwhile beside it, progress bars."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn
from rich.text import Text

from rules.names import is_invisible


def printable(text: str) -> str:
    """The text on one line, its control and invisible characters spelt out, such as ``\\x1b``, ``\\n``, ``\\u202e``.

    Files, types, workers and services are named by others: what a name tells the terminal to do, it must not do.
    """
    return "".join(
        character.encode("unicode_escape").decode() if is_invisible(character) else character for character in text
    )


def as_text(text: str, style: str = "") -> Text:
    """`printable` text in a style of Rich's."""
    return Text(printable(text), style)


class Terminal(Console):
    """A console on which every string is `printable`, also in tables; ``[words]`` are words, not Rich's markup."""

    def __init__(self, *, stderr: bool = False) -> None:
        super().__init__(highlight=False, soft_wrap=True, markup=False, emoji=False, stderr=stderr)

    def render_str(self, text: str, **options: Any) -> Text:
        return super().render_str(printable(text), **options)


console = Terminal()
human = Terminal(stderr=True)
"""For words that are not the result: with ``--json`` standard output holds nothing but that."""


def print_json(document: Any) -> None:
    """Print the result for a script."""
    print(to_json(document, indent=2))


def to_json(document: Any, indent: int | None = None) -> str:
    """The document as JSON, in which control and invisible characters of its strings are escaped."""
    text = json.dumps(document, indent=indent, ensure_ascii=False)
    return "".join(
        json.dumps(character)[1:-1] if is_invisible(character) and character != "\n" else character
        for character in text
    )


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
    columns = (TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    if not on.is_terminal:
        on.print(words)
    with Progress(*columns, console=on, disable=not on.is_terminal) as bar:
        yield Steps(bar, bar.add_task(printable(words), total=total))
