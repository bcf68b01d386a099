"""API Gateway: serves the deployed REST API over HTTP, with validation and Lambda proxy integrations.

moto stores the API's resources, methods, validators, models and gateway responses, but does not run Lambda proxies. IAM
users of the local AWS need execute-api:Invoke. Signatures are not checked, and unsigned calls are accepted. Methods
with a user pool need a valid ID token.
"""

from __future__ import annotations

import base64
import concurrent.futures
import json
import re
import uuid
from dataclasses import dataclass
from typing import Any, NoReturn
from urllib.parse import parse_qsl, unquote

from werkzeug.datastructures import Headers
from werkzeug.wrappers import Request, Response

from ekyc.localaws import aws
from ekyc.localaws.clock import clock
from ekyc.localaws.iam import guard
from ekyc.localaws.services import functions, user_pools

# API Gateway guide, "Quotas for configuring and running a REST API"
BODY_LIMIT = 10 * 1024 * 1024
TIME_LIMIT_SECONDS = 29.0
STAGE = "local"


@dataclass(frozen=True)
class Refused(Exception):
    """API Gateway responds instead of the function. ``kind`` is its name for this type of response.

    Source: API Gateway guide, "Gateway response types".
    """

    kind: str
    status: int
    message: str
    validation_error: str = ""


@dataclass(frozen=True)
class Route:
    """A method of the deployed API, its resource path ("/api/jobs/{id}") and the values of the path parameters."""

    api: Any
    resource: str
    method: Any
    path_parameters: dict[str, str] | None


def answer(request: Request) -> Response:
    """The response of the deployed REST API, from the function or from API Gateway itself."""
    request_id = str(uuid.uuid4())
    route: Route | None = None
    try:
        if (request.content_length or 0) > BODY_LIMIT:
            raise Refused("REQUEST_TOO_LARGE", 413, "Request Too Long")
        route = _find_route(request.method, _raw_path(request))
        if route is None:
            raise Refused("MISSING_AUTHENTICATION_TOKEN", 403, "Missing Authentication Token")
        claims = _authorize(request, route)
        _validate(request, route)
        return _response(_call(request, route, claims, request_id))
    except Refused as refusal:
        return _gateway_response(refusal, route.api if route else _any_api(), request_id)


def _call(request: Request, route: Route, claims: dict[str, Any], request_id: str) -> Any:
    """Invoke the function of the route and return its result."""
    function = functions.find(_function_arn(route.method.method_integration.uri))
    if function is None:
        raise Refused("API_CONFIGURATION_ERROR", 500, "Internal server error")
    event = _proxy_event(request, route, request_id)
    if claims:
        event["requestContext"]["authorizer"] = {"claims": {name: _as_claim(value) for name, value in claims.items()}}
    if len(json.dumps(event)) > functions.LARGEST_REQUEST:
        raise Refused("REQUEST_TOO_LARGE", 413, "Request Too Long")  # no guide names this status
    invocation: concurrent.futures.Future[functions.Answer] = concurrent.futures.Future()
    clock.background(_invoke, invocation, function, event)
    try:
        result = invocation.result(TIME_LIMIT_SECONDS)
    except concurrent.futures.TimeoutError:
        raise Refused("INTEGRATION_TIMEOUT", 504, "Endpoint request timed out") from None
    except functions.StoppedError:
        raise Refused("INTEGRATION_FAILURE", 500, "Internal server error") from None
    if result.is_error:
        raise Refused("INTEGRATION_FAILURE", 502, "Internal server error")
    return json.loads(result.payload)


def _invoke(invocation: concurrent.futures.Future[functions.Answer], function: Any, event: dict[str, Any]) -> None:
    try:
        invocation.set_result(functions.runtime().invoke(function, event))
    except functions.StoppedError as error:
        invocation.set_exception(error)


def _authorize(request: Request, route: Route) -> dict[str, Any]:
    """Refuse a call that the IAM user is not allowed to make, or that has no valid token if the method needs one.

    Sources: API Gateway guide, 'Integrate a REST API with an Amazon Cognito user pool'; IAM guide, 'Troubleshoot
    signature mismatches'.
    """
    if route.method.authorization_type == "COGNITO_USER_POOLS":
        return _verify_token(request, route)
    if route.method.authorization_type == "NONE":
        return {}
    key = _access_key(request)
    if "Authorization" in request.headers and not key:
        message = "Authorization header requires 'Credential' parameter."
        raise Refused("INVALID_SIGNATURE", 403, message)
    why = key and guard.why_caller_denied(key, route.api.id, STAGE, request.method, _raw_path(request))
    if why:
        raise Refused("ACCESS_DENIED", 403, why)
    return {}


def _verify_token(request: Request, route: Route) -> dict[str, Any]:
    """The claims of the ID token in the request. Like API Gateway, accepts it with and without the word Bearer."""
    authorizer = route.api.authorizers[route.method.authorizer_id]
    token = request.headers.get("Authorization", "").removeprefix("Bearer ")
    try:
        return user_pools.verify_id_token(token, authorizer.provider_arns, authorizer.identity_validation_expression)
    except user_pools.TokenRefused as error:
        raise Refused("UNAUTHORIZED", 401, str(error)) from None


def _as_claim(value: Any) -> str:
    """A claim as API Gateway passes it to a function: always text, and a list separated by commas."""
    return (
        ",".join(map(str, value)) if isinstance(value, list) else value if isinstance(value, str) else json.dumps(value)
    )


def _validate(request: Request, route: Route) -> None:
    """Validate parameters and body, if the method has a validator.

    A required parameter must be present and not blank. An empty body is treated as an empty object. A body with a
    content type without a model is not validated. Source: API Gateway guide, "Request validation for REST APIs".
    """
    validator = route.api.request_validators.get(route.method.request_validator_id)
    if validator is None:
        return
    if validator.validate_request_parameters:
        required = [name for name, needed in (route.method.request_parameters or {}).items() if needed]
        missing = [
            name
            for _, _, place, name in (parameter.split(".", 3) for parameter in sorted(required))
            if not _has(request, route, place, name)
        ]
        if missing:
            message = f"Missing required request parameters: [{', '.join(missing)}]"
            raise Refused("BAD_REQUEST_PARAMETERS", 400, message, message)
    if validator.validate_request_body:
        models = route.method.request_models or {}
        name = models.get(request.mimetype or "application/json") or models.get("$default")
        if name:
            _validate_body(request.get_data(), json.loads(route.api.models[name].schema))


def _has(request: Request, route: Route, place: str, name: str) -> bool:
    if place == "path":
        return bool((route.path_parameters or {}).get(name))
    return bool(request.args.get(name) if place == "querystring" else request.headers.get(name))


def _validate_body(body: bytes, schema: Any) -> None:
    from jsonschema import Draft4Validator

    try:
        document = json.loads(body or b"{}", parse_constant=_no_constant)
    except (ValueError, RecursionError):
        raise Refused("BAD_REQUEST_BODY", 400, "Invalid request body", "not JSON in UTF-8") from None
    faults = [error.message[:200] for error in Draft4Validator(schema).iter_errors(document)]
    if faults:
        raise Refused("BAD_REQUEST_BODY", 400, "Invalid request body", f"[{', '.join(faults[:10])}]")


def _no_constant(_word: str) -> NoReturn:
    """Refuse NaN and Infinity, which Python accepts but JSON does not have."""
    raise ValueError("not JSON")


def _find_route(http_method: str, path: str) -> Route | None:
    from moto.apigateway.models import apigateway_backends

    parts = path.strip("/").split("/")
    for api in apigateway_backends[aws.account][aws.region].apis.values():
        resources = [(resource.get_path(), resource) for resource in api.resources.values()]
        # In API Gateway, a literal part takes precedence over a parameter.
        for resource_path, resource in sorted(resources, key=lambda item: item[0].replace("{", "~")):
            methods = resource.resource_methods
            method = methods.get(http_method) or methods.get("ANY")
            parameters = _match(resource_path.strip("/").split("/"), parts)
            if method is not None and parameters is not None and method.method_integration is not None:
                return Route(api, resource_path, method, parameters or None)
    return None


def _raw_path(request: Request) -> str:
    """The path as it was sent. An encoded slash does not separate parts."""
    return str(request.environ["REQUEST_URI"]).partition("?")[0]


def _match(pattern: list[str], parts: list[str]) -> dict[str, str] | None:
    parameters: dict[str, str] = {}
    for index, name in enumerate(pattern):
        if name.startswith("{") and name.endswith("+}"):
            return {**parameters, name[1:-2]: "/".join(parts[index:])} if parts[index:] else None
        if index >= len(parts):
            return None
        if name.startswith("{"):
            parameters[name[1:-1]] = unquote(parts[index])
        elif name != parts[index]:
            return None
    return parameters if len(pattern) == len(parts) else None


def _function_arn(integration_uri: str) -> str:
    """arn:aws:apigateway:REGION:lambda:path/2015-03-31/functions/FUNCTION_ARN/invocations -> FUNCTION_ARN"""
    return integration_uri.partition("/functions/")[2].removesuffix("/invocations")


def _proxy_event(request: Request, route: Route, request_id: str) -> dict[str, Any]:
    """The input of a Lambda proxy integration, payload format 1.0.

    Source: API Gateway guide, "Input format of a Lambda function for proxy integration".
    """
    headers: dict[str, list[str]] = {}
    for name, value in request.headers:
        headers.setdefault(name, []).append(value)
    query: dict[str, list[str]] = {}
    for name, value in parse_qsl(request.query_string.decode(), keep_blank_values=True):
        query.setdefault(name, []).append(value)
    body = request.get_data()
    try:
        text, is_base64 = body.decode(), False
    except UnicodeDecodeError:
        text, is_base64 = base64.b64encode(body).decode(), True
    now = clock.utc()
    return {
        "resource": route.resource,
        "path": _raw_path(request),
        "httpMethod": request.method,
        "headers": {name: values[-1] for name, values in headers.items()} or None,
        "multiValueHeaders": headers or None,
        "queryStringParameters": {name: values[-1] for name, values in query.items()} or None,
        "multiValueQueryStringParameters": query or None,
        "pathParameters": route.path_parameters,
        "stageVariables": None,
        "requestContext": {
            "accountId": aws.account,
            "apiId": route.api.id,
            "domainName": request.host,
            "extendedRequestId": uuid.uuid4().hex,
            "httpMethod": request.method,
            "identity": {
                "sourceIp": request.remote_addr,
                "userAgent": request.headers.get("User-Agent"),
                **_signer(request),
            },
            "path": _raw_path(request),
            "protocol": "HTTP/1.1",
            "requestId": request_id,
            "requestTime": now.strftime("%d/%b/%Y:%H:%M:%S +0000"),
            "requestTimeEpoch": int(now.timestamp() * 1000),
            "resourcePath": route.resource,
            "stage": STAGE,
        },
        "body": text or None,
        "isBase64Encoded": is_base64,
    }


def _access_key(request: Request) -> str | None:
    """The access key in the request's signature, or None if the request is not signed."""
    signature = re.match(r"AWS4-HMAC-SHA256 Credential=([^/,\s]+)/", request.headers.get("Authorization", ""))
    return signature[1] if signature else None


def _signer(request: Request) -> dict[str, str | None]:
    """The identity in a signed request. A key that belongs to no IAM user is used as the user's name."""
    key = _access_key(request)
    user = guard.find_user(key) if key else None
    name = user.name if user else key
    return {
        "accessKey": key,
        "accountId": aws.account if key else None,
        "caller": name,
        "user": name,
        "userArn": user.arn if user else f"arn:aws:iam::{aws.account}:user/{key}" if key else None,
    }


def _response(result: Any) -> Response:
    """The HTTP response from the function's result; 502 if the result is invalid.

    Source: API Gateway guide, "Output format of a Lambda function for proxy integration".
    """
    try:
        body = result.get("body") or ""
        data = base64.b64decode(body) if result.get("isBase64Encoded") else body.encode()
        headers = Headers({name: str(value) for name, value in (result.get("headers") or {}).items()})
        for name, values in (result.get("multiValueHeaders") or {}).items():
            headers.setlist(name, [str(value) for value in values])
        headers.setdefault("Content-Type", "application/json")
        return Response(data, status=int(result["statusCode"]), headers=headers)
    except (AttributeError, KeyError, TypeError, ValueError):
        raise Refused("INTEGRATION_FAILURE", 502, "Internal server error") from None


def _any_api() -> Any:
    from moto.apigateway.models import apigateway_backends

    return next(iter(apigateway_backends[aws.account][aws.region].apis.values()), None)


def _gateway_response(refusal: Refused, api: Any, request_id: str) -> Response:
    """The API's gateway response of this type, otherwise its default for 4xx or 5xx, otherwise API Gateway's.

    Header values are literals in single quotes. Source: API Gateway guide, "Gateway responses for REST APIs".
    """
    own = api.gateway_responses if api else {}
    response = own.get(refusal.kind) or own.get(f"DEFAULT_{refusal.status // 100}XX")
    if response is None:
        return Response(
            json.dumps({"message": refusal.message}), status=refusal.status, content_type="application/json"
        )
    ((content_type, template),) = response.response_templates.items()
    variables = {
        "error.message": _escaped(refusal.message),
        "error.messageString": f'"{_escaped(refusal.message)}"',
        "error.responseType": refusal.kind,
        "error.validationErrorString": _escaped(refusal.validation_error),
        "requestId": request_id,
    }
    body = re.sub(r"\$context\.(\w+(?:\.\w+)*)", lambda match: variables.get(match[1], ""), template)
    headers = {
        name.removeprefix("gatewayresponse.header."): value.strip("'")
        for name, value in (response.response_parameters or {}).items()
    }
    status = int(response.status_code or refusal.status)
    return Response(body, status=status, headers={"Content-Type": content_type, **headers})


def _escaped(text: str) -> str:
    return json.dumps(text)[1:-1]
