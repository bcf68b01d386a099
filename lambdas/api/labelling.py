"""The routes for people who label and review photos: everything under ``/api/labelling/``.

A user pool authorizes each call, so the caller is a person: see `Person`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from aws_lambda_powertools import Logger
from aws_lambda_powertools.event_handler import Response

from api import problems, serving, validation
from pipeline.settings import Settings as BaseSettings

REVIEWERS = "reviewers"


@dataclass(frozen=True)
class Settings(BaseSettings):
    bucket: str
    tasks_table: str
    tasks_index: str


settings = Settings.from_env()
logger = Logger()
app = serving.new_app(())  # the page has the origin of the API


@dataclass(frozen=True)
class Person:
    """The caller: the subject in the user pool, which is no name, and whether the person may review labels."""

    subject: str
    is_reviewer: bool

    @classmethod
    def of(cls, claims: Mapping[str, Any]) -> "Person":
        """The person with these claims of an ID token.

        API Gateway passes a claim with several values as text: ``labellers,reviewers`` or ``[labellers reviewers]``.

        Raises:
            Problem: the call has no such claims.
        """
        if not claims.get("sub"):
            raise problems.not_signed_in()
        groups = str(claims.get("cognito:groups", "")).strip("[]").replace(",", " ").split()
        return cls(str(claims["sub"]), REVIEWERS in groups)


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
    """The caller, from the claims that API Gateway's user pool authorizer has verified."""
    context = app.current_event.raw_event["requestContext"]
    return Person.of((context.get("authorizer") or {}).get("claims") or {})


def _not_labelled(job_id: str) -> Response[str]:
    _person()
    raise problems.unknown_job(validation.job_id(job_id))
