"""People who label and review photos through the HTTP calls of the labelling page."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
from deployed import Pipeline, eventually
from PIL import Image

from tests.signed_in import id_token

Json = dict[str, Any]


@dataclass(frozen=True)
class Person:
    """A person with a browser."""

    subject: str
    http: httpx.Client

    def call(self, method: str, path: str, body: Json | None = None) -> httpx.Response:
        return self.http.request(method, path, json=body)

    def wait_for(self, job_id: str) -> Json:
        """The job, once it is offered to people. After a resume, this is a moment after its status is Labelling."""

        def listed() -> Json | None:
            return next((job for job in self.call("GET", "jobs").json()["jobs"] if job["id"] == job_id), None)

        return eventually(listed)

    def take(self, job_id: str, count: int = 1) -> list[Json]:
        """The photos that the person gets; none if all photos of the job are labelled."""
        response = self.call("POST", f"jobs/{job_id}/next", {"count": count})
        if response.status_code == 409 and "All photos of the job are labelled" in response.json()["detail"]:
            return []
        assert response.status_code == 200, response.text
        return response.json()["tasks"]

    def answer(self, job_id: str, task: Json, boxes: list[Json] | None = None, **fields: Any) -> httpx.Response:
        """Answer a photo that was taken: with ``boxes``, with no document, or as ``fields`` say."""
        outcome = "labelled" if boxes else "no-document"
        body = {"leaseId": task.get("leaseId"), "outcome": outcome, "boxes": boxes or [], "seconds": 4.0, **fields}
        body = {name: value for name, value in body.items() if value is not None}
        return self.call("PUT", f"jobs/{job_id}/answers/{task['place']}", body)

    def label_all(self, job_id: str, draw: Callable[[Json], list[Json]], count: int = 2) -> list[int]:
        """Label photos until there is none for this person; returns their places."""
        places = []
        while tasks := self.take(job_id, count):
            for task in tasks:
                response = self.answer(job_id, task, draw(task))
                assert response.status_code == 200, response.text
                places.append(task["place"])
        return places


def person(pipeline: Pipeline, subject: str, *groups: str) -> Person:
    """A signed-in person."""
    http = httpx.Client(
        base_url=f"{pipeline.aws.api_url}/api/labelling/",
        timeout=120,
        headers={"Authorization": id_token(subject, *(groups or ("labellers",)))},
    )
    return Person(subject, http)


def box(kind: str = "AU_PASSPORT", left: int = 20, top: int = 20, width: int = 50, height: int = 40) -> Json:
    return {"type": kind, "left": left, "top": top, "width": width, "height": height}


def small_photos(folder: Path, count: int) -> Iterator[Path]:
    """Photos of 96 x 96 pixels, no two alike."""
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(count):
        content = io.BytesIO()
        Image.effect_noise((96, 96), 40 + number % 60).save(content, "PNG")
        path = folder / f"photo-{number:04d}.png"
        path.write_bytes(content.getvalue())
        yield path
