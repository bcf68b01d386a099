"""Watches a job through the HTTP API: a live view on a terminal, plain lines elsewhere."""

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
from rules.outline_words import in_words

ENDED = {"Ready": OK, "Rejected": REJECTED, "Failed": FAILED, "Stopped": STOPPED}
# Seconds between two polls: a share of the time spent in the current state, within limits. Long states are polled less.
SHORTEST, LONGEST, SHARE = 1.0, 15.0, 0.02
# The command to print after the API's advice, by the advice's value of resume.
COMMANDS = {
    "possible": "To resume it: ekyc resume {0}",
    "afterLabels": "To upload and resume: ekyc labels FILE {0} && ekyc resume {0}",
    "impossible": "For a new job: ekyc train DIR",
}
MARKS = {"done": ("✓", "green"), "current": ("●", "bold cyan"), "next": ("·", "dim"), "failed": ("✗", "bold red")}

OnPoll = Callable[[dict[str, Any], list[dict[str, Any]]], None]


def polls(
    api: Api, job_id: str, *, longest: float = LONGEST, on_lost: Callable[[str], None] = lambda _reason: None
) -> Iterator[tuple[dict[str, Any], list[dict[str, Any]]]]:
    """Yields the job and its states until the job has ended. Polls are at most ``longest`` seconds apart.

    If the connection is lost, calls ``on_lost`` with the reason and tries again.

    Raises:
        CommandError: the job does not exist, or the API refuses the call.
    """
    while True:
        pause = SHORTEST
        try:
            job, states = api.job(job_id), api.states(job_id)
        except Unreachable as error:
            on_lost(str(error))
        else:
            yield job, states
            if job["status"] in ENDED:
                return
            pause = max(SHORTEST, SHARE * _seconds_in_current(job, states))
        time.sleep(min(longest, pause))


def follow(
    api: Api, job_id: str, on_poll: OnPoll | None = None, *, survives_exit: bool = True
) -> tuple[dict[str, Any], int]:
    """Show the job until it ends. Returns the job and the exit code for its end.

    Retries after a lost connection. Ctrl-C stops watching, not the job.

    Args:
        on_poll: called after each poll with the job and its states.
        survives_exit: False if the job runs on a local AWS in this process. Only the message after Ctrl-C needs it.

    Raises:
        CommandError: the job does not exist or was not started, or the API refuses the call.
    """
    job = _first_poll(api, job_id)
    if job["status"] == "Created":
        raise CommandError(f"{job_id} is not started. To start it: ekyc start {job_id}")
    view = _LiveView() if human.is_terminal else _PlainLines()
    try:
        with view:
            for job, states in polls(api, job_id, on_lost=view.show_lost):
                view.show(job, states)
                if on_poll:
                    on_poll(job, states)
    except KeyboardInterrupt:
        fate = f"continues. To watch it again: ekyc watch {job_id}" if survives_exit else "ends with its local AWS."
        human.print()
        human.print(f"Stopped watching. The job {fate}")
        return job, INTERRUPTED
    human.print(as_text(conclusion(job), style="green" if job["status"] == "Ready" else "red"))
    return job, ENDED[job["status"]]


def _first_poll(api: Api, job_id: str) -> dict[str, Any]:
    """The job. Retries once, so that only a wrong address is an error, not a short interruption."""
    try:
        return api.job(job_id)
    except Unreachable:
        time.sleep(SHORTEST)
        return api.job(job_id)


def conclusion(job: dict[str, Any]) -> str:
    """Sentences about how the job ended and what to do next."""
    job_id, status = job["id"], job["status"]
    cause = f"{job.get('error') or ''}: {job.get('cause') or 'no cause was recorded'}".removeprefix(": ")
    if status == "Ready":
        f1 = (job.get("metrics") or {}).get("f1")
        figure = f"F1 {f1:.3f}, " if isinstance(f1, (int, float)) else ""
        outlines = f". {in_words(job['outlines'])}" if job.get("outlines") else ""
        return f"{job_id} is Ready: {figure}model {job['projectVersionArn']}{outlines}"
    reasons = "; ".join((job.get("metrics") or {}).get("reasons") or [])
    reason = reasons if status == "Rejected" and reasons else cause
    reason += "" if reason.endswith((".", "…")) else "."
    advice = job.get("advice")
    next_step = f" {advice['text']} {COMMANDS[advice['resume']].format(job_id)}" if advice else ""
    return f"{job_id} {'' if status == 'Failed' else 'was '}{status}: {reason}{next_step}"


def duration(seconds: float | None) -> str:
    """``75`` as ``1 min 15 s``."""
    if seconds is None:
        return ""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes:02} min"
    return f"{minutes} min {rest:02} s" if minutes else f"{rest} s"


def activity(job: dict[str, Any]) -> str:
    """A description of what the job does now: photos checked, labels made, polls, and the service's last status."""
    progress = job["progress"]
    parts = []
    if job["status"] == "CheckingImages" and progress["checked"] is not None:
        parts.append(f"checked {progress['checked']:,} of {job['photos']:,}")
    if job["status"] in ("Labelling", "WaitingForLabelling") and progress["total"]:
        parts.append(f"labelled {progress['labelled'] or 0}/{progress['total']}")
    parts.append(job["detailedStatus"] or job["status"])  # detailedStatus includes the number of polls
    if job["status"] == "WaitingForLabelling" and job.get("labelProvider") == "supplied":
        parts.append(f"ekyc labels FILE {job['id']}")
    return ", ".join(parts)


def seconds_in(job: dict[str, Any], state: dict[str, Any]) -> float | None:
    """Seconds that the job spent in the state, up to now for the current state. Uses the API's clock."""
    if state["enteredTime"] is None:
        return None
    until = state["leftTime"]
    if state["status"] == "current" or until is None:
        elapsed = job["progress"]["elapsedSeconds"]
        until = state["enteredTime"] if elapsed is None else job["executionStartTime"] + elapsed * 1000
    return max(0.0, (until - state["enteredTime"]) / 1000)


def _seconds_in_current(job: dict[str, Any], states: list[dict[str, Any]]) -> float:
    return next((seconds_in(job, state) or 0.0 for state in states if state["status"] == "current"), 0.0)


def table(job: dict[str, Any], states: list[dict[str, Any]]) -> Table:
    """A table with a row for each state: its status and duration."""
    grid = Table.grid(padding=(0, 2))
    for state in states:
        status = state["status"]
        if status == "current" and job["status"] in ("Failed", "Stopped"):
            status = "failed"
        mark, style = MARKS[status]
        grid.add_row(Text(mark, style), as_text(state["name"], style), Text(duration(seconds_in(job, state)), "dim"))
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
            head, table(job, states), as_text(f"{activity(job)}  (as of {datetime.now():%H:%M:%S})", "cyan")
        )
        self._live.update(self._shown, refresh=True)

    def show_lost(self, reason: str) -> None:
        note = as_text(f"Connection lost, retrying. The job continues. {reason}", "yellow")
        self._live.update(Group(self._shown, note) if self._shown else note, refresh=True)


class _PlainLines:
    """Prints a line with the time for each change."""

    def __init__(self) -> None:
        self._printed: set[tuple[str, str]] = set()
        self._last = ""
        self._lost = False

    def __enter__(self) -> "_PlainLines":
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def show(self, job: dict[str, Any], states: list[dict[str, Any]]) -> None:
        if self._lost:
            self._lost = False
            self._print("Connected again")
        for state in states:
            key = (state["name"], state["status"])
            if state["status"] == "next" or key in self._printed:
                continue
            self._printed.add(key)
            after = f" after {duration(seconds_in(job, state))}" if state["status"] == "done" else ""
            self._print(f"{state['name']}: {state['status']}{after}")
        if job["status"] not in ENDED and (current := activity(job)) != self._last:
            self._last = current
            self._print(f"  {job['status']}: {current}")

    def show_lost(self, reason: str) -> None:
        if not self._lost:
            self._lost = True
            self._print(f"Connection lost, retrying. The job continues. {reason}")

    def _print(self, text: str) -> None:
        human.print(f"{datetime.now():%H:%M:%S}  {text}")
