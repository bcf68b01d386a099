"""Errors as ``application/problem+json`` (RFC 9457): type, title, status, and a detail that the caller can act on."""

import json
from collections.abc import Mapping, Sequence
from http import HTTPStatus

from aws_lambda_powertools.event_handler import Response

CONTENT_TYPE = "application/problem+json"
RETRY_SECONDS = 5
RETRY_BUSY_MODEL = 1  # second; an inference unit finishes several photos in it


class Problem(Exception):
    """An error response. ``kind`` is a fixed word that tells programs which problem it is."""

    def __init__(self, status: HTTPStatus, kind: str, detail: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(detail)
        self.status = status
        self.kind = kind
        self.detail = detail
        self.headers = headers or {}

    def response(self) -> Response[str]:
        """The problem as an HTTP response."""
        body = {
            "type": f"urn:ekyc:problem:{self.kind}",
            "title": self.status.phrase,
            "status": self.status.value,
            "detail": self.detail,
        }
        return Response(self.status.value, CONTENT_TYPE, json.dumps(body), headers=dict(self.headers))


def bad_request(detail: str) -> Problem:
    """400: the request itself is wrong."""
    return Problem(HTTPStatus.BAD_REQUEST, "bad-request", detail)


def conflict(detail: str) -> Problem:
    """409: the job's status does not allow the request."""
    return Problem(HTTPStatus.CONFLICT, "conflict", detail)


def unmet(detail: str) -> Problem:
    """422: the request is well formed, but something that it needs is missing."""
    return Problem(HTTPStatus.UNPROCESSABLE_ENTITY, "precondition-unmet", detail)


def unknown_job(job_id: str) -> Problem:
    """404: the job does not exist."""
    return Problem(HTTPStatus.NOT_FOUND, "unknown-job", f"There is no job {job_id[:80]!r}.")


def unknown_photo(place: str) -> Problem:
    """404: the job has no such photo."""
    return Problem(HTTPStatus.NOT_FOUND, "unknown-photo", f"The job has no photo {place[:20]!r}. Take the next photo.")


def refused(status: HTTPStatus, kind: str, detail: str) -> Problem:
    """A person's request on the labelling page is refused; ``detail`` is for the person."""
    return Problem(status, kind, detail)


def unknown_caller() -> Problem:
    """403: the request is unsigned, so the record could not name its caller."""
    return Problem(HTTPStatus.FORBIDDEN, "unknown-caller", "An erasure records its caller. Sign the request.")


def no_labeller() -> Problem:
    """403: the person is signed in, but may not use the labelling page."""
    return Problem(
        HTTPStatus.FORBIDDEN,
        "no-labeller",
        "You are signed in, but in no group of the labelling page. Ask the operator to invite you with ekyc people "
        "invite, then sign in again.",
    )


def not_in_group(group: str) -> Problem:
    """403: the person may use the labelling page, but not for this."""
    return Problem(
        HTTPStatus.FORBIDDEN,
        "not-in-group",
        f"Only people in the group {group} can do this. Ask the operator to add you, then sign in again.",
    )


def unknown_route(path: str) -> Problem:
    """404: the path does not exist."""
    return Problem(HTTPStatus.NOT_FOUND, "unknown-route", f"The API has no path {path[:200]!r}.")


def too_large(limit: int) -> Problem:
    """413: the body is too large."""
    return Problem(
        HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
        "body-too-large",
        f"The body has more than {limit} bytes. Send a smaller one: fewer names at a time, or a smaller photo.",
    )


def answer_too_large(limit: int) -> Problem:
    """413: the response would be too large for a function to return."""
    return Problem(
        HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
        "answer-too-large",
        f"The response would have more than {limit} bytes because the names are long. Ask for fewer names at a time.",
    )


def photo_too_large(detail: str) -> Problem:
    """413: the photo is too large."""
    return Problem(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "photo-too-large", detail)


def crops_too_large(limit: int) -> Problem:
    """413: the response with all crops would be too large for a function to return."""
    return Problem(
        HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
        "answer-too-large",
        f"The response would have more than {limit} bytes. Send the photo again without crop.",
    )


def bucket_refused(bucket: str, allowed: Sequence[str]) -> Problem:
    """403: the deployment allows no photos from this bucket."""
    return Problem(
        HTTPStatus.FORBIDDEN,
        "bucket-refused",
        f"The bucket {bucket!r} is not in the deployment's setting detectBuckets, which "
        + (f"has {len(allowed)} other {'bucket' if len(allowed) == 1 else 'buckets'}." if allowed else "is empty."),
    )


def model_busy() -> Problem:
    """429: the live model has too many calls."""
    return Problem(
        HTTPStatus.TOO_MANY_REQUESTS,
        "model-busy",
        f"The live model is busy. Try again in {RETRY_BUSY_MODEL} second. If this happens often, raise the setting "
        "inferenceUnits.",
        {"Retry-After": str(RETRY_BUSY_MODEL)},
    )


def model_failed(code: str) -> Problem:
    """502: Rekognition refused the call for a reason that neither the caller nor a later try can change."""
    return Problem(
        HTTPStatus.BAD_GATEWAY,
        "model-failed",
        f"Rekognition refused the photo with the error {code}. Tell the operator this error.",
    )


def busy() -> Problem:
    """503: an AWS service throttled a call or was unreachable."""
    return Problem(
        HTTPStatus.SERVICE_UNAVAILABLE,
        "busy",
        f"An AWS service is busy. Try again in {RETRY_SECONDS} seconds.",
        {"Retry-After": str(RETRY_SECONDS)},
    )


def not_begun(detail: str) -> Problem:
    """503: the request is recorded, but the function that carries it out could not be invoked."""
    return Problem(
        HTTPStatus.SERVICE_UNAVAILABLE,
        "not-begun",
        detail,
        {"Retry-After": str(RETRY_SECONDS)},
    )


def internal(request_id: str) -> Problem:
    """500: the API failed. The log has the details under the request id."""
    return Problem(
        HTTPStatus.INTERNAL_SERVER_ERROR,
        "internal",
        f"The request was valid, but the service failed. Tell the operator the request id {request_id}.",
    )
