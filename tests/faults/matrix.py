"""`make faults`: injects every fault at every AWS call of the functions, and prints the matrix of the verdicts.

Records the calls in jobs without faults, so that new calls are covered automatically. Writes build/faults/matrix.json
and the table in docs/reliability.md. The exit code is 1 if a cell is WRONG.
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

from cells import (
    CLEAN,
    NOT_MET,
    RECOVERED,
    WAYS,
    WRONG,
    Cell,
    Result,
    Row,
    batches,
    plan,
    record_calls,
    run,
    run_published,
)
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
    run_published(_bench, _bench.create("the first live model"))


def record(way: str) -> tuple[str, dict[Row, int]]:
    """Return the course and the calls of its job. Runs in a worker process, which has a bench."""
    return way, record_calls(_bench, way)


def attempt(batch: list[Cell]) -> list[Result]:
    """Try the cells. Runs in a worker process, which has a bench."""
    return run(_bench, batch)


def run_all(only: str, processes: int, console: Console) -> list[Result]:
    """Return the results of all cells whose row or column matches the regular expression ``only``."""
    results: list[Result] = []
    with tempfile.TemporaryDirectory(prefix="ekyc-faults-") as folder:
        assembly = synthesize(Path(folder) / "cdk.out", SETTINGS)
        with contextlib.ExitStack() as stack:
            pool = ProcessPoolExecutor(processes, multiprocessing.get_context("spawn"), open_bench, (assembly,))
            # An exception here is an error of the matrix itself: report it now, without finishing the remaining cells.
            stack.callback(pool.shutdown, cancel_futures=True)
            all_cells = plan(dict(pool.map(record, WAYS)))
            cells = [cell for cell in all_cells if re.search(only, f"{cell.row.unit} {cell.row.call} {cell.column}")]
            # The longest first, so that no core idles at the end.
            work = sorted(batches(cells), key=len, reverse=True)
            console.print(f"{len(cells)} cells in {len(work)} jobs, {processes} at a time")
            with Progress(console=console, disable=not console.is_terminal) as progress:
                task = progress.add_task("faults", total=len(cells))
                for done in as_completed([pool.submit(attempt, batch) for batch in work]):
                    results += done.result()
                    progress.advance(task, len(done.result()))
                    if not console.is_terminal and len(results) // 50 > (len(results) - len(done.result())) // 50:
                        console.print(f"{len(results)} of {len(cells)} cells")
                    for result in done.result():
                        if result.verdict == WRONG:
                            console.print(f"WRONG {_name(result.cell)}: {'; '.join(result.problems)}", markup=False)
    return results


def _name(cell: Cell) -> str:
    return f"{cell.row.unit} {cell.row.call}, {cell.column} ({cell.way})"


def table(results: Iterable[Result]) -> tuple[list[str], list[tuple[str, str, list[str]]]]:
    """Return the names of the columns, and for each row its unit, call and marks."""
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
    matrix = Table(title="+ recovered by itself, f failed cleanly, · call not made", show_lines=False)
    for name in ("function", "call", *names):
        matrix.add_column(name, overflow="fold")
    previous_unit = ""
    for unit, call, marks in rows:
        matrix.add_row("" if unit == previous_unit else unit, call, *marks, end_section=False)
        previous_unit = unit
    console.print(matrix)


def markdown(results: list[Result]) -> str:
    """Return the matrix as a Markdown table for docs/reliability.md."""
    names, rows = table(results)
    lines = [f"| Function | Call | {' | '.join(names)} |", "|---" * (len(names) + 2) + "|"]
    lines += [f"| {unit} | {call} | {' | '.join(marks)} |" for unit, call, marks in rows]
    return "\n".join(lines)


def write(results: list[Result], seconds: float) -> None:
    """Write build/faults/matrix.json and matrix.md, and regenerate docs/reliability.md from it."""
    counts = Counter(result.verdict for result in results)
    folder = PROJECT / "build" / "faults"
    folder.mkdir(parents=True, exist_ok=True)
    cells = [
        {
            "unit": result.cell.row.unit,
            "call": result.cell.row.call,
            "fault": str(result.cell.column),
            "job": result.cell.way,
            "verdict": result.verdict,
            "problems": result.problems,
        }
        for result in results
    ]
    (folder / "matrix.json").write_text(
        json.dumps({"counts": counts, "seconds": round(seconds), "cells": cells}, indent=1)
    )
    summary = (
        f"{len(results)} cells: {counts[RECOVERED]} recovered (+), {counts[CLEAN]} failed cleanly (f), "
        f"{counts[NOT_MET]} whose call was not made this time (·), {counts[WRONG]} WRONG."
    )
    (folder / "matrix.md").write_text(f"{summary}\n\n{markdown(results)}\n")
    subprocess.run(["make", "docs", f"FIGURES={folder}"], cwd=PROJECT, check=True)


def main() -> int:
    """Run the matrix."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", default="", help="a regular expression that row or column must match")
    parser.add_argument("--processes", type=int, default=3 * (os.cpu_count() or 1))
    options = parser.parse_args()
    # If the output is a file, rich assumes a width that is too narrow for 14 columns.
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
