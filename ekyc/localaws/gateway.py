"""API Gateway: HTTP in, REST proxy event to the function, HTTP out, for the REST API that is deployed.

moto keeps the API's resources and methods but never runs a Lambda proxy. Authorization is not checked here.
"""

from __future__ import annotations

import base64
import concurrent.futures
import datetime
import json
import uuid
from typing import Any
from urllib.parse import parse_qsl, unquote

from werkzeug.datastructures import Headers
from werkzeug.wrappers import Request, Response

from ekyc.localaws import aws, functions
from ekyc.localaws.clock import clock

# API Gateway guide, "Quotas for configuring and running a REST API"
BODY_LIMIT = 10 * 1024 * 1024
TIME_LIMIT_SECONDS = 29.0


def answer(request: Request) -> Response:
    """What the deployed REST API answers to an HTTP request; API Gateway's own errors where it has no answer."""
    if (request.content_length or 0) > BODY_LIMIT:
        return _error(413, "Request Too Long")
    route = _find_route(request.method, _raw_path(request))
    if route is None:
        return _no_such_route()
    api_id, resource, method, path_parameters = route
    function = functions.find(_function_arn(method.method_integration.uri))
    if function is None:
        return _error(500, "Internal server error")
    event = _proxy_event(request, api_id, resource, path_parameters)
    invocation: concurrent.futures.Future[functions.Answer] = concurrent.futures.Future()
    clock.background(_invoke, invocation, function, event)
    try:
        result = invocation.result(TIME_LIMIT_SECONDS)
    except concurrent.futures.TimeoutError:
        return _error(504, "Endpoint request timed out")
    except functions.StoppedError:
        return _error(500, "Internal server error")
    if result.is_error:
        return _error(502, "Internal server error")
    return _response(json.loads(result.payload))


def _invoke(invocation: concurrent.futures.Future[functions.Answer], function: Any, event: dict[str, Any]) -> None:
    try:
        invocation.set_result(functions.runtime().invoke(function, event))
    except functions.StoppedError as error:
        invocation.set_exception(error)


def _find_route(http_method: str, path: str) -> tuple[str, str, Any, dict[str, str] | None] | None:
    """The API, the resource path ("/api/jobs/{id}"), its method and the path parameters; None for no such route."""
    from moto.apigateway.models import apigateway_backends

    parts = path.strip("/").split("/")
    for api_id, api in apigateway_backends[aws.account][aws.region].apis.items():
        resources = [(resource.get_path(), resource) for resource in api.resources.values()]
        # A literal part wins over a parameter, as API Gateway has it.
        for resource_path, resource in sorted(resources, key=lambda item: item[0].replace("{", "~")):
            methods = resource.resource_methods
            method = methods.get(http_method) or methods.get("ANY")
            parameters = _match(resource_path.strip("/").split("/"), parts)
            if method is not None and parameters is not None and method.method_integration is not None:
                return api_id, resource_path, method, parameters or None
    return None


def _raw_path(request: Request) -> str:
    """The path as it was sent: an encoded slash separates nothing."""
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


def _proxy_event(
    request: Request, api_id: str, resource: str, path_parameters: dict[str, str] | None
) -> dict[str, Any]:
    """The input of a Lambda proxy integration (API Gateway guide, "Input format of a Lambda function for proxy
    integration"), payload format 1.0."""
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
    now = datetime.datetime.now(datetime.UTC)
    return {
        "resource": resource,
        "path": _raw_path(request),
        "httpMethod": request.method,
        "headers": {name: values[-1] for name, values in headers.items()} or None,
        "multiValueHeaders": headers or None,
        "queryStringParameters": {name: values[-1] for name, values in query.items()} or None,
        "multiValueQueryStringParameters": query or None,
        "pathParameters": path_parameters,
        "stageVariables": None,
        "requestContext": {
            "accountId": aws.account,
            "apiId": api_id,
            "domainName": request.host,
            "extendedRequestId": uuid.uuid4().hex,
            "httpMethod": request.method,
            "identity": {"sourceIp": request.remote_addr, "userAgent": request.headers.get("User-Agent")},
            "path": _raw_path(request),
            "protocol": "HTTP/1.1",
            "requestId": str(uuid.uuid4()),
            "requestTime": now.strftime("%d/%b/%Y:%H:%M:%S +0000"),
            "requestTimeEpoch": int(now.timestamp() * 1000),
            "resourcePath": resource,
            "stage": "local",
        },
        "body": text or None,
        "isBase64Encoded": is_base64,
    }


def _response(result: Any) -> Response:
    """HTTP from what the function returned (API Gateway guide, "Output format of a Lambda function for proxy
    integration"); 502 for anything else."""
    try:
        body = result.get("body") or ""
        data = base64.b64decode(body) if result.get("isBase64Encoded") else body.encode()
        headers = Headers({name: str(value) for name, value in (result.get("headers") or {}).items()})
        for name, values in (result.get("multiValueHeaders") or {}).items():
            headers.setlist(name, [str(value) for value in values])
        headers.setdefault("Content-Type", "application/json")
        return Response(data, status=int(result["statusCode"]), headers=headers)
    except (AttributeError, KeyError, TypeError, ValueError):
        return _error(502, "Internal server error")


def _no_such_route() -> Response:
    """The API's own gateway response for a route that it has not, else API Gateway's default."""
    from moto.apigateway.models import apigateway_backends

    for api in apigateway_backends[aws.account][aws.region].apis.values():
        own = api.gateway_responses.get("MISSING_AUTHENTICATION_TOKEN")
        if own:
            ((content_type, body),) = own.response_templates.items()
            return Response(body, status=int(own.status_code), content_type=content_type)
    return _error(403, "Missing Authentication Token")


def _error(status: int, message: str) -> Response:
    return Response(json.dumps({"message": message}), status=status, content_type="application/json")
