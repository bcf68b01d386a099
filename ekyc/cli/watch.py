"""Follows a job by the HTTP API: a live view on a terminal, plain lines elsewhere."""

import time
from collections.abc import Callable, Iterator
from datetime import datetime
from typing import Any

from rich.console import Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from ekyc.cli.api import Api
from ekyc.cli.errors import FAILED, INTERRUPTED, OK, REJECTED, STOPPED, CommandError, Unreachable
from ekyc.cli.terminal import as_text, human

ENDED = {"Ready": OK, "Rejected": REJECTED, "Failed": FAILED, "Stopped": STOPPED}
# Between two looks: a share of the time in the present state, so that hours are not asked about each second.
SHORTEST, LONGEST, SHARE = 1.0, 15.0, 0.02
# What follows the API's advice, by what it says of a resume.
COMMANDS = {
    "possible": "To resume it: ekyc resume {0}",
    "afterLabels": "To upload and resume: ekyc labels FILE {0} && ekyc resume {0}",
    "impossible": "For a new job: ekyc train DIR",
}
MARKS = {"done": ("✓", "green"), "current": ("●", "bold cyan"), "next": ("·", "dim"), "failed": ("✗", "bold red")}

Tell = Callable[[dict[str, Any], list[dict[str, Any]]], None]


def looks(
    api: Api, job_id: str, *, longest: float = LONGEST, lost: Callable[[str], None] = lambda _why: None
) -> Iterator[tuple[dict[str, Any], list[dict[str, Any]]]]:
    """The job and its states, asked again and again until the job has ended, ``longest`` seconds apart at most.

    A lost connection is told to ``lost`` and tried again.

    Raises:
        CommandError: there is no such job, or the API refuses.
    """
    while True:
        pause = SHORTEST
        try:
            job, states = api.job(job_id), api.states(job_id)
        except Unreachable as error:
            lost(str(error))
        else:
            yield job, states
            if job["status"] in ENDED:
                return
            pause = max(SHORTEST, SHARE * _seconds_in(job, states))
        time.sleep(min(longest, pause))


def follow(api: Api, job_id: str, tell: Tell | None = None, *, outlives_us: bool = True) -> tuple[dict[str, Any], int]:
    """Show the job until it ends; the job and the exit code that stands for its end.

    ``tell`` is given the job and its states whenever they were asked. A lost connection is told and tried again. The
    job does not depend on who watches: Ctrl-C ends the watching only, unless the job is on a local AWS of this process
    (``outlives_us`` says that it is not).

    Raises:
        CommandError: there is no such job, it was not started, or the API refuses.
    """
    job = _first(api, job_id)
    if job["status"] == "Created":
        raise CommandError(f"{job_id} was not started: ekyc start {job_id}")
    view = _LiveView() if human.is_terminal else _PlainLines()
    try:
        with view:
            for job, states in looks(api, job_id, lost=view.lost):
                view.show(job, states)
                if tell:
                    tell(job, states)
    except KeyboardInterrupt:
        what_then = f"goes on. Follow it again: ekyc watch {job_id}" if outlives_us else "ends with its local AWS."
        human.print()
        human.print(f"No longer watching; the job {what_then}")
        return job, INTERRUPTED
    human.print(as_text(conclusion(job), style="green" if job["status"] == "Ready" else "red"))
    return job, ENDED[job["status"]]


def _first(api: Api, job_id: str) -> dict[str, Any]:
    """The job, asked a second time if nobody answers: a wrong address is told, a short break is not."""
    try:
        return api.job(job_id)
    except Unreachable:
        time.sleep(SHORTEST)
        return api.job(job_id)


def conclusion(job: dict[str, Any]) -> str:
    """How the job ended and what to do, in words."""
    job_id, status = job["id"], job["status"]
    cause = f"{job.get('error') or ''}: {job.get('cause') or 'no cause was recorded'}".removeprefix(": ")
    if status == "Ready":
        f1 = (job.get("metrics") or {}).get("f1")
        figure = f"F1 {f1:.3f}, " if isinstance(f1, (int, float)) else ""
        return f"{job_id} is Ready: {figure}model {job['projectVersionArn']}"
    reasons = "; ".join((job.get("metrics") or {}).get("reasons") or [])
    why = reasons if status == "Rejected" and reasons else cause
    why += "" if why.endswith((".", "…")) else "."
    advice = job.get("advice")
    what_to_do = f" {advice['text']} {COMMANDS[advice['resume']].format(job_id)}" if advice else ""
    return f"{job_id} {'' if status == 'Failed' else 'was '}{status}: {why}{what_to_do}"


def duration(seconds: float | None) -> str:
    """``75`` as ``1 min 15 s``."""
    if seconds is None:
        return ""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes:02} min"
    return f"{minutes} min {rest:02} s" if minutes else f"{rest} s"


def words(job: dict[str, Any]) -> str:
    """What is happening: people labelling, polls, and the last status from the service."""
    progress = job["progress"]
    parts = []
    if job["status"] in ("Labelling", "WaitingForLabelling") and progress["total"]:
        parts.append(f"labelled {progress['labelled'] or 0}/{progress['total']}")
    parts.append(job["detailedStatus"] or job["status"])  # which has the polls
    if job["status"] == "WaitingForLabelling" and job.get("labelProvider") == "supplied":
        parts.append(f"ekyc labels FILE {job['id']}")
    return ", ".join(parts)


def spent(job: dict[str, Any], state: dict[str, Any]) -> float | None:
    """Seconds in the state, up to now if it is the current one, by the clock of the API."""
    if state["enteredTime"] is None:
        return None
    until = state["leftTime"]
    if state["status"] == "current" or until is None:
        elapsed = job["progress"]["elapsedSeconds"]
        until = state["enteredTime"] if elapsed is None else job["executionStartTime"] + elapsed * 1000
    return max(0.0, (until - state["enteredTime"]) / 1000)


def _seconds_in(job: dict[str, Any], states: list[dict[str, Any]]) -> float:
    return next((spent(job, state) or 0.0 for state in states if state["status"] == "current"), 0.0)


def table(job: dict[str, Any], states: list[dict[str, Any]]) -> Table:
    """A row for each state: done, current or next, and how long."""
    grid = Table.grid(padding=(0, 2))
    for state in states:
        status = state["status"]
        if status == "current" and job["status"] in ("Failed", "Stopped"):
            status = "failed"
        mark, style = MARKS[status]
        grid.add_row(Text(mark, style), as_text(state["name"], style), Text(duration(spent(job, state)), "dim"))
    return grid


class _LiveView:
    """Redraws the states in place."""

    def __init__(self) -> None:
        self._live = Live(console=human, refresh_per_second=4)
        self._shown: Group | None = None

    def __enter__(self) -> "_LiveView":
        self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._live.stop()

    def show(self, job: dict[str, Any], states: list[dict[str, Any]]) -> None:
        elapsed, cost = duration(job["progress"]["elapsedSeconds"]), job["cost"]["totalUsd"]
        head = as_text(job["id"], "bold").append(f"  {job['status']}  {elapsed}  ${cost:.2f}", "not bold")
        self._shown = Group(
            head, table(job, states), as_text(f"{words(job)}  (asked {datetime.now():%H:%M:%S})", "cyan")
        )
        self._live.update(self._shown, refresh=True)

    def lost(self, why: str) -> None:
        note = as_text(f"Connection lost, trying again; the job goes on. {why}", "yellow")
        self._live.update(Group(self._shown, note) if self._shown else note, refresh=True)


class _PlainLines:
    """Prints a line when something changes, with the time."""

    def __init__(self) -> None:
        self._told: set[tuple[str, str]] = set()
        self._last = ""
        self._lost = False

    def __enter__(self) -> "_PlainLines":
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def show(self, job: dict[str, Any], states: list[dict[str, Any]]) -> None:
        if self._lost:
            self._lost = False
            self._line("Connected again")
        for state in states:
            key = (state["name"], state["status"])
            if state["status"] == "next" or key in self._told:
                continue
            self._told.add(key)
            how_long = f" after {duration(spent(job, state))}" if state["status"] == "done" else ""
            self._line(f"{state['name']}: {state['status']}{how_long}")
        if job["status"] not in ENDED and (now := words(job)) != self._last:
            self._last = now
            self._line(f"  {job['status']}: {now}")

    def lost(self, why: str) -> None:
        if not self._lost:
            self._lost = True
            self._line(f"Connection lost, trying again; the job goes on. {why}")

    def _line(self, text: str) -> None:
        human.print(f"{datetime.now():%H:%M:%S}  {text}")
