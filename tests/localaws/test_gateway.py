"""API Gateway: the deployed REST API over HTTP."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest
from assembly import arn, function, ref
from executions import Deploy

from ekyc.localaws.server import LocalAws
from ekyc.localaws.services import gateway

CODE = """
    import base64, json, time

    def handler(event, context):
        kind = (event["queryStringParameters"] or {}).get("kind")
        if kind == "error":
            raise ValueError("no")
        if kind == "nonsense":
            return "just words"
        if kind and kind.isdigit():
            return {"statusCode": 200, "body": "x" * int(kind)}
        if kind == "slow":
            time.sleep(2)
        if kind == "binary":
            return {"statusCode": 200, "body": base64.b64encode(b"\\x00\\xff").decode(), "isBase64Encoded": True}
        return {
            "statusCode": 201,
            "headers": {"X-One": "1"},
            "multiValueHeaders": {"X-Two": ["a", "b"], "Content-Type": ["text/plain"]},
            "body": json.dumps(event),
        }
"""


def resource(path_part: str, parent: Any) -> dict[str, Any]:
    return {
        "Type": "AWS::ApiGateway::Resource",
        "Properties": {"RestApiId": ref("Rest"), "ParentId": parent, "PathPart": path_part},
    }


def method(http_method: str, resource_name: str) -> dict[str, Any]:
    uri = ["", ["arn:aws:apigateway:us-east-1:lambda:path/2015-03-31/functions/", arn("Api"), "/invocations"]]
    return {
        "Type": "AWS::ApiGateway::Method",
        "Properties": {
            "RestApiId": ref("Rest"),
            "ResourceId": ref(resource_name),
            "HttpMethod": http_method,
            "AuthorizationType": "AWS_IAM",
            "Integration": {"Type": "AWS_PROXY", "IntegrationHttpMethod": "POST", "Uri": {"Fn::Join": uri}},
        },
    }


def gateway_response(kind: str, detail: str, status: str | None = None, **headers: str) -> dict[str, Any]:
    return {
        "Type": "AWS::ApiGateway::GatewayResponse",
        "Properties": {
            "RestApiId": ref("Rest"),
            "ResponseType": kind,
            **({"StatusCode": status} if status else {}),
            "ResponseParameters": {f"gatewayresponse.header.{name}": f"'{value}'" for name, value in headers.items()},
            "ResponseTemplates": {"application/json": json.dumps({"detail": detail})},
        },
    }


RESOURCES = {
    "Api": function("app.handler"),
    "Rest": {"Type": "AWS::ApiGateway::RestApi", "Properties": {"Name": "test"}},
    "Root": resource("api", {"Fn::GetAtt": ["Rest", "RootResourceId"]}),
    "Jobs": resource("jobs", ref("Root")),
    "Job": resource("{id}", ref("Jobs")),
    "Newest": resource("newest", ref("Jobs")),
    "ListJobs": method("GET", "Jobs"),
    "CreateJob": method("POST", "Jobs"),
    "GetJob": method("GET", "Job"),
    "GetNewest": method("GET", "Newest"),
}


@pytest.fixture
def api(deploy: Deploy, local_aws: LocalAws) -> Any:
    deploy(CODE, RESOURCES)
    with httpx.Client(base_url=local_aws.api_url) as client:
        yield client


def test_function_gets_the_proxy_event(api: httpx.Client) -> None:
    # Given a deployed API
    # When it is called with a body, doubled parameters and headers
    response = api.post(
        "/api/jobs?a=1&a=2%20%26&empty=", content='{"ü": 1}', headers=[("X-Thing", "x"), ("X-Thing", "y")]
    )
    # Then the function gets what API Gateway would give it
    event = response.json()
    assert (event["httpMethod"], event["path"], event["resource"]) == ("POST", "/api/jobs", "/api/jobs")
    assert event["queryStringParameters"] == {"a": "2 &", "empty": ""}
    assert event["multiValueQueryStringParameters"] == {"a": ["1", "2 &"], "empty": [""]}
    assert event["pathParameters"] is None
    assert json.loads(event["body"]) == {"ü": 1}
    assert event["isBase64Encoded"] is False
    assert event["requestContext"]["resourcePath"] == "/api/jobs"
    assert event["requestContext"]["identity"]["sourceIp"] == "127.0.0.1"
    # And its answer comes back as it gave it
    assert response.status_code == 201
    assert response.headers["X-One"] == "1"
    assert response.headers.get_list("X-Two") == ["a", "b"]
    assert response.headers["Content-Type"] == "text/plain"


def test_path_parameters_and_literal_parts(api: httpx.Client) -> None:
    # Given a path with a parameter, and a literal one beside it
    # When both are called
    one, other = api.get("/api/jobs/a%2Fb%20c").json(), api.get("/api/jobs/newest").json()
    # Then the literal part wins where it fits
    assert (one["resource"], one["pathParameters"]) == ("/api/jobs/{id}", {"id": "a/b c"})
    assert (other["resource"], other["pathParameters"]) == ("/api/jobs/newest", None)
    assert one["queryStringParameters"] is None
    assert one["body"] is None


@pytest.mark.parametrize(("verb", "path"), [("GET", "/api/nothing"), ("DELETE", "/api/jobs"), ("GET", "/api/jobs/1/2")])
def test_unknown_routes_and_methods(api: httpx.Client, verb: str, path: str) -> None:
    response = api.request(verb, path)
    assert (response.status_code, response.json()) == (403, {"message": "Missing Authentication Token"})


def test_an_iam_user_needs_permission_for_a_call(api: httpx.Client, local_aws: LocalAws) -> None:
    # Given an IAM user who may list jobs and nothing else
    iam = local_aws.client("iam")
    user = iam.create_user(UserName="reader")["User"]
    key = iam.create_access_key(UserName="reader")["AccessKey"]["AccessKeyId"]
    allowed = {
        "Effect": "Allow",
        "Action": "execute-api:Invoke",
        "Resource": "arn:aws:execute-api:*:*:*/*/GET/api/jobs",
    }
    iam.put_user_policy(
        UserName="reader",
        PolicyName="list",
        PolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": [allowed]}),
    )
    signed = {
        "Authorization": f"AWS4-HMAC-SHA256 Credential={key}/20261130/us-east-1/execute-api/aws4_request, "
        "SignedHeaders=host, Signature=0"
    }
    # When the user calls both methods
    listed, created = api.get("/api/jobs", headers=signed), api.post("/api/jobs", headers=signed)
    # Then the function knows the user, and the other call is denied in AWS's words
    assert listed.json()["requestContext"]["identity"]["userArn"] == user["Arn"]
    assert created.status_code == 403
    assert f"User: {user['Arn']} is not authorized to perform: execute-api:Invoke" in created.json()["message"]


@pytest.mark.parametrize("kind", ["error", "nonsense"])
def test_function_that_fails_is_a_bad_gateway(api: httpx.Client, kind: str) -> None:
    response = api.get(f"/api/jobs?kind={kind}")
    assert (response.status_code, response.json()) == (502, {"message": "Internal server error"})


def test_an_answer_is_no_larger_than_lambda_takes(api: httpx.Client) -> None:
    # Given that a function may return 6,291,556 bytes
    most = 6_291_556 - len('{"statusCode": 200, "body": ""}')
    # Then an answer of so many bytes comes through, and none that has one more
    assert len(api.get(f"/api/jobs?kind={most}").content) == most
    assert api.get(f"/api/jobs?kind={most + 1}").status_code == 502


def test_binary_both_ways(api: httpx.Client) -> None:
    assert api.get("/api/jobs?kind=binary").content == b"\x00\xff"
    sent = api.post("/api/jobs", content=b"\xff\x00").json()
    assert (sent["body"], sent["isBase64Encoded"]) == ("/wA=", True)


def test_slow_function_times_out(api: httpx.Client, monkeypatch: pytest.MonkeyPatch) -> None:
    # Given API Gateway's patience cut to half a second
    monkeypatch.setattr(gateway, "TIME_LIMIT_SECONDS", 0.5)
    # When a function takes longer, then the caller hears of the time-out
    response = api.get("/api/jobs?kind=slow")
    assert (response.status_code, response.json()) == (504, {"message": "Endpoint request timed out"})


def test_body_over_the_limit(api: httpx.Client) -> None:
    response = api.post("/api/jobs", content=b"x" * (10 * 1024 * 1024 + 1))
    assert (response.status_code, response.json()) == (413, {"message": "Request Too Long"})


# --- Validation ------------------------------------------------------------------------------------------------------

SCHEMA = {
    "$schema": "http://json-schema.org/draft-04/schema#",
    "type": "object",
    "required": ["names"],
    "properties": {"names": {"type": "array", "items": {"type": "string"}}},
}


def validated(of: dict[str, Any], **properties: Any) -> dict[str, Any]:
    return {**of, "Properties": {**of["Properties"], **properties}}


VALIDATING = {
    **RESOURCES,
    "Check": {
        "Type": "AWS::ApiGateway::RequestValidator",
        "Properties": {"RestApiId": ref("Rest"), "ValidateRequestBody": True, "ValidateRequestParameters": True},
    },
    "Names": {
        "Type": "AWS::ApiGateway::Model",
        "Properties": {"RestApiId": ref("Rest"), "ContentType": "application/json", "Schema": SCHEMA},
    },
    "CreateJob": validated(
        method("POST", "Jobs"),
        RequestValidatorId=ref("Check"),
        RequestModels={"application/json": ref("Names")},
        RequestParameters={"method.request.querystring.b": True, "method.request.querystring.a": True},
    ),
    "GetJob": validated(
        method("GET", "Job"),
        RequestValidatorId=ref("Check"),
        RequestParameters={"method.request.path.id": True, "method.request.querystring.kind": False},
    ),
    "BadParameters": gateway_response("BAD_REQUEST_PARAMETERS", "$context.error.message", "422", **{"X-Why": "a"}),
    "BadBody": gateway_response("BAD_REQUEST_BODY", "no ($context.error.validationErrorString)"),
    "Other": gateway_response("DEFAULT_4XX", "$context.error.responseType $context.error.message"),
    "Broken": gateway_response("DEFAULT_5XX", "$context.requestId", **{"Content-Type": "application/problem+json"}),
}


@pytest.fixture
def validating_api(deploy: Deploy, local_aws: LocalAws) -> Any:
    deploy(CODE, VALIDATING)
    with httpx.Client(base_url=local_aws.api_url) as client:
        yield client


@pytest.mark.parametrize(("query", "missing"), [("", "a, b"), ("?a=1", "b"), ("?a=&b=1", "a")])
def test_a_parameter_that_is_missing_or_blank_is_refused(
    validating_api: httpx.Client, query: str, missing: str
) -> None:
    # When a call lacks what its method demands
    answer = validating_api.post(f"/api/jobs{query}", json={"names": []})
    # Then the API's own answer of this kind comes, with its status, its headers and its variables filled in
    assert (answer.status_code, answer.headers["X-Why"]) == (422, "a")
    assert answer.json() == {"detail": f"Missing required request parameters: [{missing}]"}


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b'{"names": "a"}', "'a' is not of type 'array'"),
        (b"{}", "'names' is a required property"),
        (b"", "'names' is a required property"),
        (b"[]", "is not of type 'object'"),
        (b"{", "not JSON"),
        (b'{"names": NaN}', "not JSON"),
        (b"\xff", "not JSON"),
        (b"[" * 100_000, "not JSON"),
    ],
)
def test_a_body_that_does_not_fit_its_model_is_refused(
    validating_api: httpx.Client, content: bytes, words: str
) -> None:
    answer = validating_api.post("/api/jobs?a=1&b=2", content=content)
    assert answer.status_code == 400
    assert answer.headers["Content-Type"] == "application/json"
    assert words in answer.json()["detail"]


def test_what_fits_reaches_the_function(validating_api: httpx.Client) -> None:
    assert validating_api.post("/api/jobs?a=1&b=2", json={"names": ["x"]}).status_code == 201
    assert validating_api.get("/api/jobs/1").status_code == 201
    # And so does a body of a content type that no model is for, as with API Gateway
    of_another_type = {"content": b"{", "headers": {"Content-Type": "text/plain"}}
    assert validating_api.post("/api/jobs?a=1&b=2", **of_another_type).status_code == 201


def test_the_apis_defaults_answer_for_all_other_errors(validating_api: httpx.Client) -> None:
    # Given an API with answers of its own for 4xx and 5xx, which leave the status as it is
    unknown, failed = validating_api.get("/api/nothing"), validating_api.get("/api/jobs/1?kind=error")
    assert unknown.status_code == 403
    assert unknown.json() == {"detail": "MISSING_AUTHENTICATION_TOKEN Missing Authentication Token"}
    assert (failed.status_code, failed.headers["Content-Type"]) == (502, "application/problem+json")
    assert len(failed.json()["detail"]) == 36


def test_the_function_learns_who_signed(api: httpx.Client) -> None:
    # Given a call with a signature, and one without
    signature = "AWS4-HMAC-SHA256 Credential=local/20260101/us-east-1/execute-api/aws4_request, Signature=0"
    signed, unsigned = (
        api.get("/api/jobs", headers=headers).json()["requestContext"]["identity"]
        for headers in ({"Authorization": signature}, {})
    )
    # Then the caller is the key's user, or none
    assert signed["userArn"] == "arn:aws:iam::123456789012:user/local"
    assert (signed["accountId"], signed["accessKey"]) == ("123456789012", "local")
    assert (unsigned["userArn"], unsigned["accountId"], unsigned["accessKey"]) == (None, None, None)
