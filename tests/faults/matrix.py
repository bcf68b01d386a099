"""`make faults`: tries every fault at every AWS call that the functions make, prints the matrix and writes it down.

Which calls there are is recorded from jobs without a fault, so a new call is covered by itself. Writes
build/faults/matrix.json and the table in docs/reliability.md; ends with 1 when a cell is WRONG.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import multiprocessing
import os
import re
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterable
from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing.util import Finalize
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

from cells import CLEAN, NOT_MET, RECOVERED, WAYS, WRONG, Cell, Result, Row, batches, plan, published, recorded, run
from deployment import SETTINGS, SPEED, Bench, bench
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from ekyc.localaws.faults import What
from ekyc.localaws.server import LocalAws
from ekyc.localaws.synth import synthesize

PROJECT = Path(__file__).parents[2]
MARKS = {RECOVERED: "+", CLEAN: "f", WRONG: "WRONG", NOT_MET: "·"}

_bench: Bench


def open_bench(assembly: Path) -> None:
    """Give this process a local AWS with the pipeline and a live model."""
    global _bench
    stack = contextlib.ExitStack()
    Finalize(None, stack.close, exitpriority=10)
    aws = stack.enter_context(LocalAws(speed=SPEED))
    folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="ekyc-faults-")))
    _bench = stack.enter_context(bench(aws, assembly, folder))
    published(_bench, _bench.create("the first live model"))


def record(way: str) -> tuple[str, dict[Row, int]]:
    """In a process with a bench: the calls of a job of this way."""
    return way, recorded(_bench, way)


def attempt(batch: list[Cell]) -> list[Result]:
    """In a process with a bench: try the cells."""
    return run(_bench, batch)


def run_all(only: str, processes: int, console: Console) -> list[Result]:
    """The results of all cells, or of those whose row or column holds ``only`` (a regular expression)."""
    results: list[Result] = []
    with tempfile.TemporaryDirectory(prefix="ekyc-faults-") as folder:
        assembly = synthesize(Path(folder) / "cdk.out", SETTINGS)
        with contextlib.ExitStack() as stack:
            pool = ProcessPoolExecutor(processes, multiprocessing.get_context("spawn"), open_bench, (assembly,))
            # What is raised here is a fault of the matrix: it is told now, not when all the rest is done.
            stack.callback(pool.shutdown, cancel_futures=True)
            made = dict(pool.map(record, WAYS))
            wanted = [cell for cell in plan(made) if re.search(only, f"{cell.row.unit} {cell.row.call} {cell.column}")]
            # The long ones first, so that no core waits for the last.
            work = sorted(batches(wanted), key=len, reverse=True)
            console.print(f"{len(wanted)} cells in {len(work)} jobs, {processes} at a time")
            with Progress(console=console, disable=not console.is_terminal) as progress:
                task = progress.add_task("faults", total=len(wanted))
                for done in as_completed([pool.submit(attempt, batch) for batch in work]):
                    results += done.result()
                    progress.advance(task, len(done.result()))
                    if not console.is_terminal and len(results) // 50 > (len(results) - len(done.result())) // 50:
                        console.print(f"{len(results)} of {len(wanted)} cells")
                    for result in done.result():
                        if result.verdict == WRONG:
                            console.print(f"WRONG {_name(result.cell)}: {'; '.join(result.problems)}", markup=False)
    return results


def _name(cell: Cell) -> str:
    return f"{cell.row.unit} {cell.row.call}, {cell.column} ({cell.way})"


def table(results: Iterable[Result]) -> tuple[list[str], list[tuple[str, str, list[str]]]]:
    """The columns, and for each row unit, call and marks."""
    by_row: dict[Row, dict[str, str]] = {}
    columns: dict[str, None] = {}
    order = list(What)

    def place(result: Result) -> tuple[Row, int, str]:
        return result.cell.row, order.index(result.cell.column.what), result.cell.column.lasts

    for result in sorted(results, key=place):
        own_column = result.cell.row.operation != ""
        name = str(result.cell.column) if own_column else "as the row says"
        columns.setdefault(name)
        row = result.cell.row
        if not own_column and row.service != str(result.cell.column.what):
            row = Row(row.unit, f"{row.service}: {result.cell.column}".removeprefix(": "))
        by_row.setdefault(row, {})[name] = MARKS[result.verdict]
    names = sorted(columns, key=lambda name: (name == "as the row says",))
    return names, [(row.unit, row.call, [marks.get(name, "") for name in names]) for row, marks in by_row.items()]


def show(results: list[Result], console: Console) -> None:
    """Print the matrix."""
    names, rows = table(results)
    printed = Table(title="+ recovered by itself, f failed cleanly, · call not made", show_lines=False)
    for name in ("function", "call", *names):
        printed.add_column(name, overflow="fold")
    before = ""
    for unit, call, marks in rows:
        printed.add_row("" if unit == before else unit, call, *marks, end_section=False)
        before = unit
    console.print(printed)


def markdown(results: list[Result]) -> str:
    """The matrix for docs/reliability.md."""
    names, rows = table(results)
    lines = [f"| Function | Call | {' | '.join(names)} |", "|---" * (len(names) + 2) + "|"]
    lines += [f"| {unit} | {call} | {' | '.join(marks)} |" for unit, call, marks in rows]
    return "\n".join(lines)


def write(results: list[Result], seconds: float) -> None:
    """Write build/faults/matrix.json, and the table for docs/reliability.md beside it."""
    counts = Counter(result.verdict for result in results)
    folder = PROJECT / "build" / "faults"
    folder.mkdir(parents=True, exist_ok=True)
    cells = [
        {
            "unit": one.cell.row.unit,
            "call": one.cell.row.call,
            "fault": str(one.cell.column),
            "job": one.cell.way,
            "verdict": one.verdict,
            "problems": one.problems,
        }
        for one in results
    ]
    (folder / "matrix.json").write_text(
        json.dumps({"counts": counts, "seconds": round(seconds), "cells": cells}, indent=1)
    )
    summary = (
        f"{len(results)} cells: {counts[RECOVERED]} recovered (+), {counts[CLEAN]} failed cleanly (f), "
        f"{counts[NOT_MET]} whose call was not made this time (·), {counts[WRONG]} WRONG."
    )
    (folder / "matrix.md").write_text(f"{summary}\n\n{markdown(results)}\n")
    subprocess.run(["make", "docs", f"FIGURES={folder}"], cwd=PROJECT, check=True)  # puts the table into the page


def main() -> int:
    """Run the matrix."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", default="", help="a regular expression that row or column must match")
    parser.add_argument("--processes", type=int, default=3 * (os.cpu_count() or 1))
    options = parser.parse_args()
    # A file has no width of its own, and the matrix has 14 columns.
    console, started = Console(width=None if sys.stdout.isatty() else 200), time.monotonic()
    results = run_all(options.only, options.processes, console)
    seconds = time.monotonic() - started
    show(results, console)
    counts = Counter(result.verdict for result in results)
    console.print(f"{dict(counts)} in {seconds:.0f} s")
    if not options.only:
        write(results, seconds)
    return 1 if counts[WRONG] else 0


if __name__ == "__main__":
    sys.exit(main())
