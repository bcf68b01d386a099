"""The routes for people who label and review photos: everything under ``/api/labelling/``.

A user pool authorizes each call, so the caller is a person: see `Person`.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

from aws_lambda_powertools import Logger
from aws_lambda_powertools.event_handler import Response
from botocore.exceptions import BotoCoreError, ClientError

from api import labelling_requests, problems, serving, sign_in, validation
from api.sign_in import Person
from pipeline import errors
from pipeline.clients import clients
from pipeline.page import access, labelling, refusals, reviewing
from pipeline.page.proposals import LiveModel
from pipeline.page.refusals import PageRefusal
from pipeline.page.tasks import Tasks
from rules.people import REVIEWERS

PROBLEMS: Mapping[type[PageRefusal], tuple[HTTPStatus, str]] = {
    refusals.NotLabelled: (HTTPStatus.NOT_FOUND, "not-labelled"),
    refusals.NoSuchPhoto: (HTTPStatus.NOT_FOUND, "unknown-photo"),
    refusals.LabellingOver: (HTTPStatus.CONFLICT, "labelling-over"),
    refusals.LeaseLost: (HTTPStatus.CONFLICT, "lease-lost"),
    refusals.AnswerRefused: (HTTPStatus.CONFLICT, "answer-refused"),
}
"""The status and the fixed word of each refusal."""


@dataclass(frozen=True)
class Settings(sign_in.Settings):
    tasks_table: str
    tasks_index: str
    project_parameter: str
    model_parameter: str
    finish_function: str


settings = Settings.from_env()
tasks = Tasks(settings.tasks_table, settings.tasks_index)
live_model = LiveModel(tasks, settings.project_parameter, settings.model_parameter)
logger = Logger()
app = serving.new_app(())  # the page has the origin of the API


@app.get("/api/labelling/me")
def show_person() -> Response[str]:
    return serving.as_json(_person().as_dict())


@app.get("/api/labelling/sign-in")
def show_sign_in() -> Response[str]:
    return serving.as_json(sign_in.configuration(settings))


@app.get("/api/labelling/jobs")
def list_jobs() -> Response[str]:
    _person()
    return serving.as_json({"jobs": access.open_jobs(tasks)})


@app.get("/api/labelling/jobs/<job_id>")
def show_job(job_id: str) -> Response[str]:
    person = _person()
    job = labelling.job_for_person(tasks, _valid_id(job_id), person.sub)
    return serving.as_json(job | {"own": {**job["own"], "isReviewer": REVIEWERS in person.groups}})


@app.post("/api/labelling/jobs/<job_id>/next")
def take_photos(job_id: str) -> Response[str]:
    person, count = _person(), labelling_requests.count(serving.body(app))
    taken = labelling.take(tasks, _valid_id(job_id), person.sub, count, live_model.propose)
    return serving.as_json({"tasks": taken, "lost": []})


@app.post("/api/labelling/jobs/<job_id>/leases")
def renew_leases(job_id: str) -> Response[str]:
    person, leases = _person(), labelling_requests.leases(serving.body(app))
    kept, lost = labelling.renew(tasks, _valid_id(job_id), person.sub, leases)
    return serving.as_json({"tasks": kept, "lost": lost})


@app.get("/api/labelling/jobs/<job_id>/answers")
def list_answers(job_id: str) -> Response[str]:
    person = _person()
    page, token = labelling.own_answers(tasks, _valid_id(job_id), person.sub, _next_token())
    return serving.as_json({"answers": page}, {"X-Next-Token": token} if token else {})


@app.get("/api/labelling/jobs/<job_id>/answers/<place>")
def show_answer(job_id: str, place: str) -> Response[str]:
    person = _person()
    number = labelling_requests.place(place)
    return serving.as_json(labelling.own_answer(tasks, _valid_id(job_id), person.sub, number))


@app.put("/api/labelling/jobs/<job_id>/answers/<place>")
def put_answer(job_id: str, place: str) -> Response[str]:
    person = _person()
    number, (lease_id, given) = labelling_requests.place(place), labelling_requests.answer(serving.body(app))
    job_id = _valid_id(job_id)
    answer = labelling.answer(
        tasks, job_id, person.sub, number, lease_id, given, finish=lambda: _start_finishing(job_id)
    )
    return serving.as_json(answer)


@app.post("/api/labelling/jobs/<job_id>/review/next")
def take_reviews(job_id: str) -> Response[str]:
    person, count = _reviewer(), labelling_requests.count(serving.body(app))
    return serving.as_json({"tasks": reviewing.take(tasks, _valid_id(job_id), person.sub, count)})


@app.get("/api/labelling/jobs/<job_id>/review")
def list_reviews(job_id: str) -> Response[str]:
    person = _reviewer()
    page, token = reviewing.own_reviews(tasks, _valid_id(job_id), person.sub, _next_token())
    return serving.as_json({"reviews": page}, {"X-Next-Token": token} if token else {})


@app.get("/api/labelling/jobs/<job_id>/review/<place>")
def show_review(job_id: str, place: str) -> Response[str]:
    person = _reviewer()
    number = labelling_requests.place(place)
    return serving.as_json(reviewing.own_review(tasks, _valid_id(job_id), person.sub, number))


@app.put("/api/labelling/jobs/<job_id>/review/<place>")
def put_review(job_id: str, place: str) -> Response[str]:
    person = _reviewer()
    number, (lease_id, given) = labelling_requests.place(place), labelling_requests.review(serving.body(app))
    job_id = _valid_id(job_id)
    decided = reviewing.review(
        tasks, job_id, person.sub, number, lease_id, given, finish=lambda: _start_finishing(job_id)
    )
    return serving.as_json(decided)


@app.exception_handler(PageRefusal)
def answer_refusal(refusal: PageRefusal) -> Response[str]:
    return problems.refused(*PROBLEMS[type(refusal)], str(refusal)).response()


@logger.inject_lambda_context(clear_state=True)
def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    return serving.answer(app, event, context)


def _person() -> Person:
    return sign_in.person(app.current_event.raw_event)


def _reviewer() -> Person:
    person = _person()
    sign_in.require(person, REVIEWERS)
    return person


def _next_token() -> str | None:
    return (app.current_event.query_string_parameters or {}).get("nextToken")


def _valid_id(text: str) -> str:
    job_id = validation.job_id(text)
    logger.append_keys(job_id=job_id)
    return job_id


def _start_finishing(job_id: str) -> None:
    """Invoke the function that merges the answers. If the call fails, the next heartbeat of the task does its work."""
    try:
        clients.lambda_.invoke(
            FunctionName=settings.finish_function, InvocationType="Event", Payload=json.dumps({"jobId": job_id})
        )
    except (ClientError, BotoCoreError) as error:
        logger.error("Not invoked", extra={"error": type(errors.as_pipeline_error(error)).__name__})
