"""The labelling page and its HTTP contract (docs/labelling-page.md), for the local Ground Truth's labelling jobs.

The page is under /labelling/, the contract under /labelling/api/.
"""

from __future__ import annotations

import json
import mimetypes
import re
from collections.abc import Callable
from importlib.resources import files
from typing import Any
from urllib.parse import unquote

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from werkzeug.exceptions import HTTPException
from werkzeug.routing import Map, Rule
from werkzeug.wrappers import Request, Response

from ekyc.localaws.access import PRIVATE, refusal
from ekyc.localaws.errors import LocalAwsError
from ekyc.localaws.services import groundtruth, labelling_files
from ekyc.localaws.services.custom_labels_manifest import Size
from ekyc.localaws.services.labelling_job import LabelingJob
from ekyc.localaws.services.labelling_tasks import Assignment, JobEnded, NoSuchAssignment, TaskError, TaskLost
from rules.consolidation import DrawnBox

MAX_BOXES = 100
MAX_WORKER_CHARACTERS = 40
HEADERS = {
    # Annotorious sets colours in style attributes. Style sheets and scripts may come from files only.
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; style-src-attr 'unsafe-inline'; img-src 'self'; "
        "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    **PRIVATE,
}
TITLES = {404: "Not Found", 409: "Conflict", 410: "Gone"}


class PageProblem(LocalAwsError):
    """An error response. The message is for the worker."""

    def __init__(self, status: int, title: str, detail: str) -> None:
        super().__init__(detail)
        self.status, self.title = status, title


class Box(BaseModel):
    """A box in a request body, in pixels of the photo."""

    model_config = ConfigDict(extra="forbid", strict=True)
    label: str
    left: int = Field(ge=0)
    top: int = Field(ge=0)
    width: int = Field(ge=1)
    height: int = Field(ge=1)


class Boxes(BaseModel):
    """The body of a draft or an answer."""

    model_config = ConfigDict(extra="forbid", strict=True)
    boxes: list[Box] = Field(max_length=MAX_BOXES)


def answer(request: Request) -> Response:
    """Answer a request under /labelling/."""
    routes = ROUTES.bind_to_environ(request.environ)
    try:
        handler, arguments = routes.match()
        response = handler(request, **arguments)
    except PageProblem as problem:
        response = refusal(problem.status, problem.title, str(problem))
    except TaskError as error:
        status = {NoSuchAssignment: 404, TaskLost: 409, JobEnded: 410}[type(error)]
        response = refusal(status, TITLES[status], str(error))
    except HTTPException as error:  # unknown path or method, or a redirect to the path with a slash
        redirected = error.get_response(request.environ)
        status = redirected.status_code
        if status >= 400:
            response = refusal(status, error.name, f"There is no {request.method} {request.path}.")
        else:
            response = Response(status=status, headers={"Location": redirected.headers["Location"]})
    for name, value in HEADERS.items():
        response.headers.setdefault(name, value)
    return response


# The page


def _page(_request: Request, name: str = "index.html") -> Response:
    page = files("ekyc.labelling")
    folder, _, last = name.rpartition("/")
    place = page / folder if folder else page
    known = {file.name for file in place.iterdir() if file.is_file()} if folder in ("", "annotorious") else set()
    if last not in known or last.endswith(".py"):
        raise PageProblem(404, "Not Found", f"The labelling page has no file {name}.")
    return Response((place / last).read_bytes(), content_type=mimetypes.guess_type(last)[0] or "text/plain")


# The contract


def _list_jobs(request: Request) -> Response:
    worker = _worker(request)
    jobs = [_described(job, worker) for job in groundtruth.current().jobs() if job.status == "InProgress"]
    return _json({"jobs": jobs})


def _show_job(request: Request, job: str) -> Response:
    return _json(_described(_job(job), _worker(request)))


def _list_assignments(request: Request, job: str) -> Response:
    turns = _job(job).tasks.of(_worker(request))
    return _json({"assignments": [{"id": turn.id, "answered": turn.answer is not None} for turn in turns]})


def _claim(request: Request, job: str) -> Response:
    labelling_job, worker = _open_job(job), _worker(request)
    claimed = labelling_files.claim(labelling_job, worker)
    if claimed is None:
        return Response(status=204)
    return _json(_shown(claimed[0], claimed[1]))


def _show_assignment(request: Request, job: str, assignment: str) -> Response:
    turn = _job(job).tasks.turn(assignment, _worker(request))
    return _json(_shown(turn, _size(turn)))


def _save_draft(request: Request, job: str, assignment: str) -> Response:
    labelling_job, worker = _open_job(job), _worker(request)
    labelling_job.tasks.save_draft(
        assignment, worker, _boxes(request, labelling_job, labelling_job.tasks.turn(assignment, worker))
    )
    return Response(status=204)


def _submit(request: Request, job: str, assignment: str) -> Response:
    labelling_job, worker = _open_job(job), _worker(request)
    labelling_job.tasks.submit(
        assignment, worker, _boxes(request, labelling_job, labelling_job.tasks.turn(assignment, worker))
    )
    return _json(_described(labelling_job, worker))


def _decline(request: Request, job: str, assignment: str) -> Response:
    labelling_job, worker = _open_job(job), _worker(request)
    labelling_job.tasks.decline(assignment, worker)
    return _json(_described(labelling_job, worker))


def _photo(_request: Request, job: str, assignment: str) -> Response:
    """The photo of an assignment.

    An <img> sends no X-Worker header, so the secret id of the assignment grants access.
    """
    turn = _job(job).tasks.turn(assignment)
    content = labelling_files.photo_of(turn)
    if content is None:
        raise PageProblem(404, "Not Found", "The photo no longer exists.")
    # The photo is a PNG or JPEG, because its size was read.
    return Response(content, content_type="image/png" if content.startswith(b"\x89PNG") else "image/jpeg")


def _described(job: LabelingJob, worker: str) -> dict[str, Any]:
    labelled, failed, total = job.tasks.counts
    task = job.request["HumanTaskConfig"]
    return {
        "id": job.name,
        "status": job.status,
        "title": task["TaskTitle"],
        "description": task["TaskDescription"],
        "labels": job.categories,
        "instructions": {
            "short": _inner_html(job.template, "short-instructions"),
            "full": _inner_html(job.template, "full-instructions"),
        },
        "workersPerPhoto": task["NumberOfHumanWorkersPerDataObject"],
        "progress": {
            "total": total,
            "labelled": labelled,
            "failed": failed,
            "mine": sum(turn.answer is not None for turn in job.tasks.of(worker)),
        },
    }


def _shown(turn: Assignment, size: Size) -> dict[str, Any]:
    boxes = turn.draft if turn.draft is not None else turn.answer.boxes if turn.answer else ()
    return {
        "id": turn.id,
        "photo": {
            "url": f"assignments/{turn.id}/photo",
            "width": size.width,
            "height": size.height,
            "number": turn.task.number + 1,
        },
        "boxes": [box._asdict() for box in boxes],
        "answered": turn.answer is not None,
        "draft": turn.draft is not None,
    }


def _job(name: str) -> LabelingJob:
    for job in groundtruth.current().jobs():
        if job.name == name:
            return job
    raise PageProblem(404, "Not Found", f"There is no labelling job {name}.")


def _open_job(name: str) -> LabelingJob:
    job = _job(name)
    if job.status == "Initializing":
        raise PageProblem(409, "Conflict", "The labelling job has not begun yet. Try again in a moment.")
    if job.status != "InProgress":
        raise JobEnded("The labelling job has ended and accepts no more answers.")
    return job


def _worker(request: Request) -> str:
    """The worker's name, as the worker gives it. Access itself is granted by the token (`ekyc.localaws.access`)."""
    worker = unquote(request.headers.get("X-Worker", "")).strip()
    if not worker:
        raise PageProblem(401, "Unauthorized", "The header X-Worker must have your name.")
    if len(worker) > MAX_WORKER_CHARACTERS or not worker.isprintable():
        rule = f"A worker's name has at most {MAX_WORKER_CHARACTERS} printable characters."
        raise PageProblem(400, "Bad Request", rule)
    return worker


def _size(turn: Assignment) -> Size:
    size = labelling_files.size_of(turn)
    if size is None:
        raise PageProblem(404, "Not Found", "The photo no longer exists.")
    return size


def _boxes(request: Request, job: LabelingJob, turn: Assignment) -> list[DrawnBox]:
    """The boxes in the body, validated: labels of the job, whole pixels inside the photo. Raises PageProblem."""
    if request.mimetype != "application/json":
        raise PageProblem(415, "Unsupported Media Type", "The body must be application/json.")
    try:
        boxes = Boxes.model_validate_json(request.get_data()).boxes
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        place = ".".join(str(part) for part in first["loc"]) or "the body"
        raise PageProblem(422, "Unprocessable Content", f"{place}: {first['msg']}.") from None
    size = _size(turn)
    for number, box in enumerate(boxes, 1):
        if box.label not in job.categories:
            detail = f"Box {number}: {box.label[:80]!r} is not one of the job's labels."
            raise PageProblem(422, "Unprocessable Content", detail)
        if box.left + box.width > size.width or box.top + box.height > size.height:
            detail = f"Box {number} extends beyond the photo, which is {size.width} x {size.height} pixels."
            raise PageProblem(422, "Unprocessable Content", detail)
    return [DrawnBox(box.label, box.left, box.top, box.width, box.height) for box in boxes]


def _inner_html(template: str, element: str) -> str:
    """The content of an element of the worker template. The page shows only plain text elements in it."""
    match = re.search(rf"<{re.escape(element)}\b[^>]*>(.*?)</{re.escape(element)}>", template, re.DOTALL)
    return match[1].strip() if match else ""


def _json(body: dict[str, Any]) -> Response:
    return Response(json.dumps(body), content_type="application/json")


def _rule(path: str, method: str, handler: Callable[..., Response]) -> Rule:
    return Rule(path, methods=[method], endpoint=handler)


ROUTES = Map(
    [
        _rule("/labelling/", "GET", _page),
        _rule("/labelling/<path:name>", "GET", _page),
        _rule("/labelling/api/jobs", "GET", _list_jobs),
        _rule("/labelling/api/jobs/<job>", "GET", _show_job),
        _rule("/labelling/api/jobs/<job>/assignments", "GET", _list_assignments),
        _rule("/labelling/api/jobs/<job>/assignments", "POST", _claim),
        _rule("/labelling/api/jobs/<job>/assignments/<assignment>", "GET", _show_assignment),
        _rule("/labelling/api/jobs/<job>/assignments/<assignment>/photo", "GET", _photo),
        _rule("/labelling/api/jobs/<job>/assignments/<assignment>/draft", "PUT", _save_draft),
        _rule("/labelling/api/jobs/<job>/assignments/<assignment>/answer", "PUT", _submit),
        _rule("/labelling/api/jobs/<job>/assignments/<assignment>/answer", "DELETE", _decline),
    ]
)
