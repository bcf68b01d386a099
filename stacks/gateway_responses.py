"""API Gateway's own responses, in the format of the function's errors: ``application/problem+json``."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from aws_cdk import aws_apigateway as apigateway

HOW_TO_SIGN = (
    "Sign each call with AWS Signature Version 4. Your credentials need the permission execute-api:Invoke for it. "
    "GET /api/training/openapi.json lists the calls."
)
HOW_TO_SIGN_IN = (
    "Send the ID token of a user of the user pool in the header Authorization. "
    "GET /api/training/openapi.json lists the calls."
)
HOW_LABELLERS_SIGN_IN = (
    "Calls of the labelling page need the ID token of a person who is signed in to the page: sign in again."
)
KINDS = apigateway.ResponseType


@dataclass(frozen=True)
class GatewayResponse:
    """A gateway response. A ``status`` of None keeps the status that API Gateway chooses.

    API Gateway replaces the variables in ``detail``. A variable must not be followed by a dot, which API Gateway would
    read as part of its name. ``$context.error.message`` is safe in JSON text: API Gateway's default responses put it in
    quotation marks. ``$context.error.validationErrorString`` quotes field names, and no guide says that API Gateway
    escapes these quotation marks, so no response uses it.
    Source: API Gateway guide, 'Gateway response types' and 'Variables for access logging'.
    """

    type: apigateway.ResponseType
    status: int | None
    kind: str
    title: str
    detail: str
    headers: Mapping[str, str] = field(default_factory=dict)

    def template(self) -> str:
        """Return the body template, an RFC 9457 problem."""
        status = {} if self.status is None else {"status": self.status}
        return json.dumps(
            {"type": f"urn:ekyc:problem:{self.kind}", "title": self.title, **status, "detail": self.detail}
        )


def gateway_responses(*, user_pool: bool, labelling_page: bool) -> Iterator[GatewayResponse]:
    """Yield every response that API Gateway may send instead of the function. Some say how to authorize a call."""
    how = HOW_TO_SIGN_IN if user_pool else HOW_TO_SIGN
    yield from _invalid_calls()
    yield from _unauthorized_calls(how, labelling_page=labelling_page)
    yield from _limits()
    yield GatewayResponse(
        KINDS.DEFAULT_4_XX, None, "refused", "Refused", f"API Gateway refused the call ($context.error.message). {how}"
    )
    yield GatewayResponse(
        KINDS.DEFAULT_5_XX,
        None,
        "internal",
        "Failed",
        "The request was valid, but the service failed. Tell the operator this request id: $context.requestId",
    )


def _invalid_calls() -> Iterator[GatewayResponse]:
    yield GatewayResponse(
        KINDS.BAD_REQUEST_PARAMETERS,
        400,
        "bad-request",
        "Bad Request",
        "The call lacks something ($context.error.message). GET /api/training/openapi.json lists what it takes.",
    )
    yield GatewayResponse(
        KINDS.BAD_REQUEST_BODY,
        400,
        "bad-request",
        "Bad Request",
        "The body is not the JSON that this call takes: a field is missing or unknown, or has another type or size. "
        "GET /api/training/openapi.json lists its fields.",
    )


def _unauthorized_calls(how: str, *, labelling_page: bool) -> Iterator[GatewayResponse]:
    yield GatewayResponse(
        KINDS.UNAUTHORIZED,
        401,
        "unauthorized",
        "Unauthorized",
        f"The call has no valid token. {f'{HOW_LABELLERS_SIGN_IN} For other calls: ' if labelling_page else ''}{how}",
    )
    yield GatewayResponse(KINDS.ACCESS_DENIED, 403, "forbidden", "Forbidden", f"You may not make this call. {how}")
    yield GatewayResponse(
        KINDS.EXPIRED_TOKEN, 403, "credentials-expired", "Forbidden", "Your credentials have expired: get new ones."
    )
    yield GatewayResponse(
        KINDS.INVALID_SIGNATURE,
        403,
        "signature-wrong",
        "Forbidden",
        "The signature is wrong: check the Region, the service name execute-api, your clock, and that nothing changed "
        "the call after it was signed.",
    )
    yield GatewayResponse(
        KINDS.WAF_FILTERED,
        403,
        "filtered",
        "Forbidden",
        "The web firewall refused this call. Tell the operator this request id: $context.requestId",
    )
    # API Gateway sends this response for an unknown route and, with IAM, for a known route without a signature.
    yield GatewayResponse(KINDS.MISSING_AUTHENTICATION_TOKEN, 404, "unknown-route", "Not Found", f"No such call. {how}")
    yield GatewayResponse(KINDS.RESOURCE_NOT_FOUND, 404, "unknown-route", "Not Found", f"No such call. {how}")


def _limits() -> Iterator[GatewayResponse]:
    yield GatewayResponse(
        KINDS.REQUEST_TOO_LARGE,
        413,
        "body-too-large",
        "Content Too Large",
        "The call is too large. Ask for fewer names at a time, or send a smaller photo.",
    )
    yield GatewayResponse(
        KINDS.THROTTLED,
        429,
        "throttled",
        "Too Many Requests",
        "Too many calls at a time. Try again in a second.",
        {"Retry-After": "'1'"},
    )
    yield GatewayResponse(
        KINDS.INTEGRATION_TIMEOUT,
        504,
        "timed-out",
        "Gateway Timeout",
        "The call took too long. Look at the job before you try again: it may have been done.",
    )


def headers_for(response: GatewayResponse, web_origins: Sequence[str]) -> dict[str, str]:
    """Return the response's headers. API Gateway expects fixed text in single quotes.

    A web page can read the response only if the deployment names exactly one web origin. API Gateway cannot choose the
    origin from a list, and repeating the request's origin would let every page read the response.
    """
    headers = {"Content-Type": "'application/problem+json'", **response.headers}
    if len(web_origins) == 1:
        headers["Access-Control-Allow-Origin"] = f"'{web_origins[0]}'"
        if "Retry-After" in headers:
            headers["Access-Control-Expose-Headers"] = "'Retry-After'"
    return headers
