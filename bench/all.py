"""Runs all benchmarks of docs/performance.md in sequence: `make bench`.

    python bench/all.py [--write]

Prints each table and writes it to build/bench/NAME.md. `--write` also updates the tables and the machine's description
in docs/performance.md, through `make docs`. It does not run `long_jobs.py` and `concurrency.py`, the long benchmarks of
docs/reliability.md.
"""

from __future__ import annotations

import os
import platform
import re
import shutil
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[1]
TABLES = PROJECT / "build" / "bench"
BENCHMARKS = (
    "dead_time",
    "photos",
    "groups",
    "manifests",
    "start",
    "cold_start",
    "api",
    "labelling_load",
    "upload",
    "local_aws",
    "detector",
    "document_outlines",
    "review_queue",
    "cost",
    "audit",
)


def machine() -> str:
    """The date and the machine, in one line."""
    processor = re.search(r"model name\s*: (.+)", Path("/proc/cpuinfo").read_text())
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return (
        f"{datetime.now(UTC):%Y-%m-%d}, {os.cpu_count()} cores of {processor[1] if processor else platform.machine()}, "
        f"{memory:.0f} GiB, {platform.system()}, Python {platform.python_version()}."
    )


def run(name: str) -> str | None:
    """Run the benchmark. Return its output, or None when it failed."""
    began, printed = time.monotonic(), ""
    command = [sys.executable, "-u", f"bench/{name}.py"]
    with subprocess.Popen(command, cwd=PROJECT, stdout=subprocess.PIPE, text=True) as benchmark:  # noqa: S603
        for line in benchmark.stdout or ():
            print(line, end="", flush=True)
            printed += line
    if benchmark.returncode:
        return None
    print(f"\nbench/{name}.py took {time.monotonic() - began:.0f} s.\n", flush=True)
    return printed.strip() + "\n"


def main(write: bool) -> None:
    """Run all benchmarks and print the total time."""
    shutil.rmtree(TABLES, ignore_errors=True)
    TABLES.mkdir(parents=True)
    began = time.monotonic()
    print(f"{machine()}\n", flush=True)
    (TABLES / "machine.md").write_text(f"{machine()}\n")
    failed = []
    for name in BENCHMARKS:
        print(f"## {name}\n", flush=True)
        printed = run(name)
        if printed is None:
            failed.append(f"bench/{name}.py")
            continue
        (TABLES / f"{name}.md").write_text(printed)
    if write:
        subprocess.run(["make", "docs", f"FIGURES={TABLES}"], cwd=PROJECT, check=True)  # noqa: S603, S607
        if "bench/detector.py" not in failed:
            shutil.copy(TABLES / "detector.svg", PROJECT / "docs" / "detector.svg")
    print(f"All benchmarks: {(time.monotonic() - began) / 60:.1f} min. Tables are in build/bench/.")
    if failed:
        sys.exit(f"Failed: {', '.join(failed)}.")


if __name__ == "__main__":
    main("--write" in sys.argv[1:])
