"""The routes for people who label and review photos: everything under ``/api/labelling/``.

A user pool authorizes each call, so the caller is a person: see `Person`.
"""

from dataclasses import dataclass
from typing import Any

from aws_lambda_powertools import Logger
from aws_lambda_powertools.event_handler import Response

from api import problems, serving, sign_in, validation
from api.sign_in import Person


@dataclass(frozen=True)
class Settings(sign_in.Settings):
    bucket: str
    tasks_table: str
    tasks_index: str


settings = Settings.from_env()
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
    return serving.as_json({"jobs": []})


@app.get("/api/labelling/jobs/<job_id>")
def show_job(job_id: str) -> Response[str]:
    return _not_labelled(job_id)


@app.post("/api/labelling/jobs/<job_id>/next")
def take_photos(job_id: str) -> Response[str]:
    return _not_labelled(job_id)


@app.post("/api/labelling/jobs/<job_id>/leases")
def renew_leases(job_id: str) -> Response[str]:
    return _not_labelled(job_id)


@app.get("/api/labelling/jobs/<job_id>/answers")
def list_answers(job_id: str) -> Response[str]:
    return _not_labelled(job_id)


@app.get("/api/labelling/jobs/<job_id>/answers/<place>")
def show_answer(job_id: str, place: str) -> Response[str]:  # noqa: ARG001
    return _not_labelled(job_id)


@app.put("/api/labelling/jobs/<job_id>/answers/<place>")
def put_answer(job_id: str, place: str) -> Response[str]:  # noqa: ARG001
    return _not_labelled(job_id)


@app.post("/api/labelling/jobs/<job_id>/review/next")
def take_reviews(job_id: str) -> Response[str]:
    return _not_labelled(job_id)


@app.put("/api/labelling/jobs/<job_id>/review/<place>")
def put_review(job_id: str, place: str) -> Response[str]:  # noqa: ARG001
    return _not_labelled(job_id)


@logger.inject_lambda_context(clear_state=True)
def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    return serving.answer(app, event, context)


def _person() -> Person:
    return sign_in.person(app.current_event.raw_event)


def _not_labelled(job_id: str) -> Response[str]:
    _person()
    raise problems.unknown_job(validation.job_id(job_id))
