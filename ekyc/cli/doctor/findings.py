"""The findings of the checks, and their output as a table, as lines or as JSON."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Literal

from rich.table import Table
from rich.text import Text

from ekyc.cli.terminal import console, to_json

Status = Literal["ok", "warning", "problem", "skipped"]
COLOURS: Mapping[Status, str] = {"ok": "green", "warning": "yellow", "problem": "bold red", "skipped": "dim"}


@dataclass(frozen=True)
class Finding:
    """The result of a check and, unless the status is ok or skipped, the advice."""

    status: Status
    found: str
    advice: str = ""


def ok(found: str) -> Finding:
    return Finding("ok", found)


def skipped(why: str) -> Finding:
    return Finding("skipped", why)


def warning(found: str, advice: str) -> Finding:
    return Finding("warning", found, advice)


def problem(found: str, advice: str) -> Finding:
    return Finding("problem", found, advice)


def report(findings: Mapping[str, Finding]) -> None:
    """Print a table on a terminal. Elsewhere print one line for each check, for `grep` and logs."""
    if console.is_terminal:
        table = Table("check", "", "found", "what to do", show_lines=True)
        for title, finding in findings.items():
            colour = COLOURS[finding.status]
            table.add_row(title, Text(finding.status, colour), finding.found, finding.advice)
        console.print(table)
    else:
        for title, finding in findings.items():
            text = " ".join(f"{finding.found}. {finding.advice}".split()) if finding.advice else finding.found
            console.print(f"{finding.status:<8} {title}: {text}")
    problems, warnings = (count(findings, status) for status in ("problem", "warning"))
    console.print(
        f"{problems} {'problem' if problems == 1 else 'problems'}, "
        f"{warnings} {'warning' if warnings == 1 else 'warnings'}."
    )


def as_json(findings: Mapping[str, Finding], *, is_local: bool) -> str:
    """The findings as JSON, in the format of `docs/operations.md`."""
    checks = [{"check": title, **asdict(finding)} for title, finding in findings.items()]
    counts = {f"{status}s": count(findings, status) for status in ("problem", "warning")}
    return to_json({"local": is_local, **counts, "checks": checks}, indent=2)


def count(findings: Mapping[str, Finding], status: Status) -> int:
    return sum(finding.status == status for finding in findings.values())
