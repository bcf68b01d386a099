"""What a check found, and how the command prints it: a table, lines, or JSON."""

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
    """What a check found and, unless all is well, what to do about it."""

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
    """A table on a terminal; elsewhere a line for each check, which `grep` and a log take."""
    if console.is_terminal:
        table = Table("check", "", "found", "what to do", show_lines=True)
        for title, finding in findings.items():
            colour = COLOURS[finding.status]
            table.add_row(title, Text(finding.status, colour), finding.found, finding.advice)
        console.print(table)
    else:
        for title, finding in findings.items():
            words = " ".join(f"{finding.found}. {finding.advice}".split()) if finding.advice else finding.found
            console.print(f"{finding.status:<8} {title}: {words}")
    problems, warnings = (count(findings, status) for status in ("problem", "warning"))
    console.print(f"{problems} {'problem' if problems == 1 else 'problems'}, {warnings} to look at.")


def as_json(findings: Mapping[str, Finding], *, is_local: bool) -> str:
    """The findings for a script, as `docs/operations.md` describes them."""
    checks = [{"check": title, **asdict(finding)} for title, finding in findings.items()]
    counts = {f"{status}s": count(findings, status) for status in ("problem", "warning")}
    return to_json({"local": is_local, **counts, "checks": checks}, indent=2)


def count(findings: Mapping[str, Finding], status: Status) -> int:
    return sum(finding.status == status for finding in findings.values())
