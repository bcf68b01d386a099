"""What the functions behind the HTTP API share: cross-origin rules, responses to errors, the body, the log line."""

import base64
import binascii
import json
import traceback
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any

from aws_lambda_powertools import Logger
from aws_lambda_powertools.event_handler import APIGatewayRestResolver, CORSConfig, Response
from aws_lambda_powertools.event_handler.exceptions import NotFoundError
from botocore.exceptions import BotoCoreError, ClientError

from api import problems, validation
from api.problems import Problem
from pipeline import errors
from pipeline.jobs import PageTokenInvalid

PREFLIGHT_SECONDS = 600  # how long a browser caches the response to a preflight request

logger = Logger(child=True)


def new_app(web_origins: Sequence[str]) -> APIGatewayRestResolver:
    """An app without routes that answers every error with a problem, and web pages of ``web_origins``."""
    app = APIGatewayRestResolver(cors=_cross_origin(web_origins))

    @app.exception_handler(Problem)
    def answer_problem(problem: Problem) -> Response[str]:
        return problem.response()

    @app.exception_handler(NotFoundError)
    def answer_unknown_route(_error: NotFoundError) -> Response[str]:
        return problems.unknown_route(app.current_event.path).response()

    @app.exception_handler(PageTokenInvalid)
    def answer_page_token(error: PageTokenInvalid) -> Response[str]:
        return problems.bad_request(f"nextToken: {error}").response()

    @app.exception_handler(Exception)
    def answer_failure(error: Exception) -> Response[str]:
        """503 for a throttled service, 500 for any other error. Neither response shows internal details."""
        failure = errors.as_pipeline_error(error) if isinstance(error, (ClientError, BotoCoreError)) else error
        name = type(failure).__name__
        if isinstance(failure, errors.Throttled):
            logger.warning("A service is busy", extra={"error": name})
            return problems.busy().response()
        # The log gets the lines of the stack trace, but not the error's message, which may have a token or a photo's
        # name.
        logger.error("The API failed", extra={"error": name, "lines": traceback.format_tb(error.__traceback__)})
        return problems.internal(app.lambda_context.aws_request_id).response()

    return app


def _cross_origin(origins: Sequence[str]) -> CORSConfig | None:
    """The CORS rules for web pages of ``origins``. Without origins None, which allows no page."""
    if not origins:
        return None
    return CORSConfig(
        allow_origin=origins[0],
        extra_origins=list(origins[1:]),
        # In addition to the headers of a signature, which Powertools allows. AWS's JavaScript signer sends this header.
        allow_headers=["X-Amz-Content-Sha256"],
        expose_headers=["X-Execution-Arn", "X-Next-Token", "Retry-After"],
        max_age=PREFLIGHT_SECONDS,
    )


def answer(app: APIGatewayRestResolver, event: dict[str, Any], context: Any) -> dict[str, Any]:
    """Answer a request, and log it.

    The log gets only the route, because the path and the query may have the name of a photo, and the body a photo.
    """
    answer = app.resolve(event, context)
    extra = {"method": event["httpMethod"], "route": event["resource"], "status": answer["statusCode"]}
    logger.info("Answered", extra=extra)
    return answer


def body(app: APIGatewayRestResolver, largest: int = validation.LARGEST_BODY) -> dict[str, Any]:
    """The JSON object in the request's body of at most ``largest`` bytes; an absent body is an empty one."""
    text = app.current_event.body
    if not text:
        return {}
    try:
        raw = base64.b64decode(text) if app.current_event.is_base64_encoded else text.encode()
    except (binascii.Error, UnicodeEncodeError) as error:
        raise problems.bad_request("The body cannot be decoded.") from error
    return validation.body(raw, largest)


def as_json(
    document: Any, headers: Mapping[str, str] | None = None, status: HTTPStatus = HTTPStatus.OK
) -> Response[str]:
    """A response in JSON."""
    return Response(status.value, "application/json", json.dumps(document), headers=dict(headers or {}))
