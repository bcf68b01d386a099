"""Attends to the jobs that wait for labels on the labelling page of the deployed stack.

While a job waits, the clock runs at normal speed, so that leases last as long as on AWS. If the simulated workforce is
at work, it labels the photos with the HTTP calls of the page. Otherwise, people do.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator
from pathlib import PurePosixPath
from typing import Any
from urllib.parse import unquote, urlsplit

import httpx

from ekyc.localaws import aws
from ekyc.localaws.clock import clock
from ekyc.localaws.services import sign_in
from ekyc.localaws.services.custom_labels_manifest import Size
from ekyc.localaws.services.workforce import Workforce
from rules.people import LABELLERS

LOOK_EVERY = 1.0  # seconds
AHEAD = 3  # photos that a worker takes at once


def signed_in(api_url: str, name: str) -> httpx.Client:
    """A client that makes the labelling page's calls as the person ``name``. Creates the person if necessary.

    Raises LocalAwsError if the deployed stack has no labelling page.
    """
    person = sign_in.person(name, [LABELLERS])

    def authorize(request: httpx.Request) -> httpx.Request:
        request.headers["Authorization"] = person.id_token()  # a new one, because the clock jumps
        return request

    return httpx.Client(base_url=f"{api_url}/api/labelling/", auth=authorize, timeout=60)


@contextlib.contextmanager
def attended(api_url: str, workforce: Workforce, on_waiting: Callable[[str], None]) -> Iterator[None]:
    """A context in which a thread attends to jobs that wait for labels.

    `on_waiting(job_id)` is called once for each job that people must label.
    """
    attendant = _Attendant(api_url, workforce, on_waiting)
    thread = threading.Thread(target=attendant.run, name="labelling", daemon=True)
    thread.start()
    try:
        yield
    finally:
        attendant.ended.set()
        thread.join()


class _Attendant:
    def __init__(self, api_url: str, workforce: Workforce, on_waiting: Callable[[str], None]) -> None:
        self.ended = threading.Event()
        self._api_url, self._workforce, self._on_waiting = api_url, workforce, on_waiting
        self._workers: list[httpx.Client] = []
        self._announced: set[str] = set()

    def run(self) -> None:
        while not self.ended.wait(LOOK_EVERY):
            if self._waiting():
                with clock.at_real_pace():
                    while not self.ended.is_set() and (jobs := self._waiting()):
                        for job_id in jobs:
                            self._attend_to(job_id)
                        self.ended.wait(LOOK_EVERY)

    def _waiting(self) -> list[str]:
        """The jobs that wait for labels. Calls the API only while an execution runs."""
        steps = aws.client("stepfunctions")
        arns = [machine["stateMachineArn"] for machine in steps.list_state_machines()["stateMachines"]]
        if not any(steps.list_executions(stateMachineArn=arn, statusFilter="RUNNING")["executions"] for arn in arns):
            return []
        try:
            response = self._worker(0).get("jobs")
        except httpx.HTTPError:  # the next look asks again
            return []
        return [job["id"] for job in response.json()["jobs"]] if response.is_success else []

    def _attend_to(self, job_id: str) -> None:
        if self._workforce.is_at_work:
            with contextlib.suppress(httpx.HTTPError):  # the leases expire, and the next look continues
                self._label(job_id)
        elif job_id not in self._announced:
            self._announced.add(job_id)
            self._on_waiting(job_id)

    def _label(self, job_id: str) -> None:
        """Let the workers label photos of the job in turn, until none of them can answer one."""
        response = self._worker(0).get(f"jobs/{job_id}")
        if not response.is_success:
            return
        job = response.json()
        count = max(self._workforce.workers, job["answersPerPhoto"])
        while not self.ended.is_set() and max(self._take_turn(job, number) for number in range(count)):
            pass

    def _take_turn(self, job: dict[str, Any], number: int) -> int:
        """Let a worker label some photos. Returns the number of accepted answers.

        A skipped photo is answered again if it is offered again, so that no lease stays open.
        """
        worker = self._worker(number)
        response = worker.post(f"jobs/{job['id']}/next", json={"count": AHEAD})
        tasks = response.json()["tasks"] if response.is_success else []
        answers = [
            worker.put(
                f"jobs/{job['id']}/answers/{task['place']}", json=self._answer(task, job["documentTypes"], number)
            )
            for task in tasks
        ]
        return sum(answer.is_success for answer in answers)

    def _answer(self, task: dict[str, Any], types: list[str], number: int) -> dict[str, Any]:
        name = PurePosixPath(unquote(urlsplit(task["url"]).path)).name
        boxes = self._workforce.draw(name, Size(task["width"], task["height"]), types, number)
        answer = {"leaseId": task["leaseId"], "boxes": [], "seconds": self._workforce.seconds_per_photo}
        if boxes is None:
            return answer | {"outcome": "skipped", "reason": "other"}
        drawn = [
            {"type": box.label, "left": box.left, "top": box.top, "width": box.width, "height": box.height}
            for box in boxes
        ]
        return answer | {"outcome": "labelled" if drawn else "no-document", "boxes": drawn}

    def _worker(self, number: int) -> httpx.Client:
        while len(self._workers) <= number:
            self._workers.append(signed_in(self._api_url, f"Simulated worker {len(self._workers) + 1}"))
        return self._workers[number]
