"""The REST API in the synthesized template: its methods, authorization, gateway responses and stage."""

import json
import re
from collections.abc import Callable
from typing import Any

import pytest
from jsonschema import Draft4Validator
from openapi_schema_validator import OAS30Validator
from openapi_spec_validator import validate

from stacks import combinations
from stacks.gateway_responses import GatewayResponse, gateway_responses, headers_for
from stacks.openapi import Description

DOCUMENT = Description.read().document
CALLS = {
    (method.upper(), path): operation for path, item in DOCUMENT["paths"].items() for method, operation in item.items()
}
LABELLING_CALLS = {call for call, operation in CALLS.items() if "security" in operation}
CALLERS_CALLS = set(CALLS) - LABELLING_CALLS
SIGN_IN = ("GET", "/api/labelling/sign-in")
PAGE = {("GET", "/labelling"), ("GET", "/labelling/{file+}")}

Resources = dict[str, dict[str, Any]]
Synthesized = Callable[[str], Resources]


@pytest.fixture(scope="module")
def synthesized(templates: dict[str, dict[str, Any]]) -> Synthesized:
    """The resources of a combination of settings, by logical id."""
    return lambda name: templates[name]["Resources"]


def of(resources: Resources, kind: str) -> Resources:
    """The properties of the resources of one type."""
    return {id: one.get("Properties", {}) for id, one in resources.items() if one["Type"] == kind}


def methods(resources: Resources) -> dict[tuple[str, str], dict[str, Any]]:
    """The REST API's methods by verb and path."""
    parts = of(resources, "AWS::ApiGateway::Resource")

    def path(id: str) -> str:
        parent = parts[id]["ParentId"].get("Ref")
        return (path(parent) if parent else "") + "/" + parts[id]["PathPart"]

    return {
        (method["HttpMethod"], path(method["ResourceId"]["Ref"])): method
        for method in of(resources, "AWS::ApiGateway::Method").values()
    }


# --- The description -------------------------------------------------------------------------------------------------


def test_the_description_is_a_valid_openapi_document() -> None:
    validate(DOCUMENT)


def test_every_example_of_the_description_is_true_to_its_schema() -> None:
    # Given each example beside the schema of its body or answer
    answers = [answer for call in CALLS.values() for answer in call["responses"].values() if "content" in answer]
    bodies = [call["requestBody"] for call in CALLS.values() if "requestBody" in call]
    examples = [
        content
        for part in (*answers, *bodies, *DOCUMENT["components"]["responses"].values())
        for content in part["content"].values()
        if "example" in content
    ]
    assert len(examples) > 20
    # Then each is valid
    for content in examples:
        schema = {"allOf": [content["schema"]], "components": DOCUMENT["components"]}
        OAS30Validator(schema).validate(content["example"])


def test_every_call_says_what_it_answers() -> None:
    for call, operation in CALLS.items():
        assert operation["summary"], call
        assert operation["operationId"], call
        answers = set(operation["responses"])
        assert {"401", "403", "404", "429", "500", "503", "504"} <= answers, call
        assert answers & {"200", "202"}, call
        assert ("400" in answers) == bool(operation.get("requestBody") or _in_query(operation)), call


def _in_query(operation: dict[str, Any]) -> bool:
    names = [reference["$ref"].rpartition("/")[2] for reference in operation.get("parameters", [])]
    return any(DOCUMENT["components"]["parameters"][name]["in"] == "query" for name in names)


# --- Methods ---------------------------------------------------------------------------------------------------------


def test_the_methods_are_the_calls_of_the_description(synthesized: Synthesized) -> None:
    by_call = methods(synthesized("no-labelling-page"))
    assert set(by_call) == CALLERS_CALLS
    by_call = methods(synthesized("default"))
    assert set(by_call) == {*CALLS, *PAGE}
    for call in CALLS:
        assert by_call[call]["OperationName"] == CALLS[call]["operationId"]
        assert by_call[call]["Integration"]["Type"] == "AWS_PROXY"


@pytest.mark.parametrize("name", ["default", "labelling-page-in-an-existing-pool"])
def test_the_pages_files_need_no_sign_in_and_no_permission(synthesized: Synthesized, name: str) -> None:
    resources = synthesized(name)
    by_call = methods(resources)
    assert {by_call[call]["AuthorizationType"] for call in PAGE} == {"NONE"}
    # And the function that serves them may write its log, and nothing else
    ((id, function),) = (
        (id, one)
        for id, one in of(resources, "AWS::Lambda::Function").items()
        if one["Handler"] == "api.labelling_files.handler"
    )
    (uri_of,) = {json.dumps(by_call[call]["Integration"]["Uri"]) for call in PAGE}
    assert id in uri_of
    role = function["Role"]["Fn::GetAtt"][0]
    (policy,) = (one for one in of(resources, "AWS::IAM::Policy").values() if {"Ref": role} in one["Roles"])
    (statement,) = policy["PolicyDocument"]["Statement"]
    assert statement["Action"] == ["logs:CreateLogStream", "logs:PutLogEvents"]


def test_every_route_asks_for_a_signature_by_default(synthesized: Synthesized) -> None:
    for method in methods(synthesized("no-labelling-page")).values():
        assert method["AuthorizationType"] == "AWS_IAM"
        assert "AuthorizerId" not in method


def test_every_route_asks_for_a_users_token_when_a_pool_is_set(synthesized: Synthesized) -> None:
    # Given a user pool, and web pages that may call
    resources = synthesized("called-from-a-browser")
    # The labelling page has another authorizer, of its own pool
    ((authorizer_id, authorizer),) = (
        (id, one)
        for id, one in of(resources, "AWS::ApiGateway::Authorizer").items()
        if one["ProviderARNs"] == [combinations.USER_POOL]
    )
    assert authorizer["Type"] == "COGNITO_USER_POOLS"
    assert authorizer["IdentitySource"] == "method.request.header.Authorization"
    by_call = methods(resources)
    # Then the pool authorizes each call
    for call in CALLERS_CALLS:
        assert by_call[call]["AuthorizationType"] == "COGNITO_USER_POOLS"
        assert by_call[call]["AuthorizerId"] == {"Ref": authorizer_id}
    # And only preflights need no authorization: browsers send them without credentials. The labelling page needs none,
    # as it has the API's origin
    open_calls = {call for call, method in by_call.items() if method["AuthorizationType"] == "NONE"}
    assert open_calls == {("OPTIONS", path) for _, path in CALLERS_CALLS} | PAGE | {SIGN_IN}
    assert set(by_call) == {*CALLS, *open_calls}


@pytest.mark.parametrize("name", ["default", "labelling-page-in-an-existing-pool", "everything"])
def test_labellers_tokens_open_calls_of_the_page_only(synthesized: Synthesized, name: str) -> None:
    # Given a deployment with the labelling page
    resources = synthesized(name)
    (client_id,) = (
        id for id, client in of(resources, "AWS::Cognito::UserPoolClient").items() if client["GenerateSecret"] is False
    )
    authorizers = of(resources, "AWS::ApiGateway::Authorizer")
    # Then one authorizer accepts tokens of the page's client, and no other client's
    ((labellers, authorizer),) = (
        (id, one) for id, one in authorizers.items() if one.get("IdentityValidationExpression") == {"Ref": client_id}
    )
    pool = of(resources, "AWS::Cognito::UserPoolClient")[client_id]["UserPoolId"]
    if name == "default":
        assert authorizer["ProviderARNs"] == [{"Fn::GetAtt": [pool["Ref"], "Arn"]}]
    else:
        assert authorizer["ProviderARNs"] == [combinations.LABELLERS_POOL]
        assert combinations.LABELLERS_POOL.endswith(pool)
    # And it is on the page's calls, except those that need no sign-in, and on no other
    by_call = methods(resources)
    assert {call for call, method in by_call.items() if method.get("AuthorizerId") == {"Ref": labellers}} == {
        call for call in LABELLING_CALLS if CALLS[call]["security"]
    }
    assert {call for call in LABELLING_CALLS if by_call[call]["AuthorizationType"] == "NONE"} == {
        call for call in LABELLING_CALLS if not CALLS[call]["security"]
    }


@pytest.mark.parametrize("name", ["default", "labelling-page-in-an-existing-pool"])
def test_the_pages_client_takes_codes_and_no_passwords(synthesized: Synthesized, name: str) -> None:
    # Given the app client of the labelling page
    resources = synthesized(name)
    (client,) = of(resources, "AWS::Cognito::UserPoolClient").values()
    (page,) = client["CallbackURLs"]
    # Then it is public, and signs people in with an authorization code only
    assert client["GenerateSecret"] is False
    assert client["AllowedOAuthFlows"] == ["code"]
    assert set(client["ExplicitAuthFlows"]) == {"ALLOW_USER_SRP_AUTH", "ALLOW_REFRESH_TOKEN_AUTH"}
    assert client["SupportedIdentityProviders"] == ["COGNITO"]
    # And it returns people to the page only
    assert "/prod/labelling/" in json.dumps(page)
    assert client["LogoutURLs"] == [page]
    # And it says nothing about who has an account, and its tokens are short-lived and revocable
    assert client["PreventUserExistenceErrors"] == "ENABLED"
    assert client["EnableTokenRevocation"] is True
    assert (client["IdTokenValidity"], client["AccessTokenValidity"], client["RefreshTokenValidity"]) == (60, 60, 720)
    assert set(client["TokenValidityUnits"].values()) == {"minutes"}


def test_people_are_invited_to_a_pool_of_the_stacks_own(synthesized: Synthesized) -> None:
    resources = synthesized("default")
    ((id, pool),) = of(resources, "AWS::Cognito::UserPool").items()
    assert pool["AdminCreateUserConfig"]["AllowAdminCreateUserOnly"] is True
    assert pool["UsernameAttributes"] == ["email"]
    assert pool["MfaConfiguration"] == "ON"
    assert pool["EnabledMfas"] == ["SOFTWARE_TOKEN_MFA"]
    assert pool["DeletionProtection"] == "ACTIVE"
    assert resources[id]["DeletionPolicy"] == "Retain"
    groups = of(resources, "AWS::Cognito::UserPoolGroup").values()
    assert {group["GroupName"] for group in groups} == {"labellers", "reviewers"}
    assert len(of(resources, "AWS::Cognito::UserPoolDomain")) == 1
    # And an existing pool gets the groups, and keeps its own domain
    resources = synthesized("labelling-page-in-an-existing-pool")
    assert not of(resources, "AWS::Cognito::UserPool")
    assert not of(resources, "AWS::Cognito::UserPoolDomain")
    assert len(of(resources, "AWS::Cognito::UserPoolGroup")) == 2


def test_each_method_checks_what_the_call_needs(synthesized: Synthesized) -> None:
    resources = synthesized("no-labelling-page")
    validators, models = (of(resources, f"AWS::ApiGateway::{kind}") for kind in ("RequestValidator", "Model"))
    by_call = methods(resources)
    required = {
        call: {name for name, needed in method.get("RequestParameters", {}).items() if needed}
        for call, method in by_call.items()
    }
    assert required["GET", "/api/training/url"] == {
        "method.request.querystring.JobId",
        "method.request.querystring.S3Key",
    }
    assert required["POST", "/api/training/start"] == {"method.request.querystring.JobId"}
    assert required["DELETE", "/api/training/jobs/{id}"] == {"method.request.path.id"}
    assert required["GET", "/api/training/list"] == set()
    for call, method in by_call.items():
        validator = validators[method["RequestValidatorId"]["Ref"]]
        assert validator["ValidateRequestParameters"] is True
        # And a required body is checked whatever its Content-Type header says. An optional body is not checked, because
        # the API Gateway guide does not say how a model treats a missing body.
        needs_body = CALLS[call].get("requestBody", {}).get("required", False)
        assert needs_body == validator.get("ValidateRequestBody", False) == ("RequestModels" in method)
        if needs_body:
            ((content_type, model),) = method["RequestModels"].items()
            assert content_type == "$default"
            Draft4Validator.check_schema(models[model["Ref"]]["Schema"])


@pytest.mark.parametrize(
    ("name", "body", "passes"),
    [
        ("UploadRequest", {"names": ["a.jpg"]}, True),
        ("UploadRequest", {}, False),
        ("UploadRequest", {"names": "a.jpg"}, False),
        ("UploadRequest", {"names": [1]}, False),
        ("UploadRequest", {"names": ["a.jpg"], "more": 1}, False),
        ("UploadRequest", {"names": ["a.jpg"] * 1001}, False),
        ("UploadRequest", {"names": ["a" * 256]}, False),
        # The function refuses invalid values, because its error names the field
        ("LabelsRequest", {"key": "../a.json"}, True),
        ("LabelsRequest", {"key": None}, False),
    ],
)
def test_the_models_check_shape_and_size_of_a_body(name: str, body: Any, passes: bool) -> None:
    schema = Description(DOCUMENT).model(name)
    assert schema["$schema"] == "http://json-schema.org/draft-04/schema#"
    assert "$ref" not in json.dumps(schema).replace("$schema", "")
    assert Draft4Validator(schema).is_valid(body) is passes


# --- API Gateway's own answers ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["default", "called-from-a-browser", "no-labelling-page"])
def test_api_gateway_answers_problems_in_words(synthesized: Synthesized, name: str) -> None:
    answers = {
        response["ResponseType"]: response
        for response in of(synthesized(name), "AWS::ApiGateway::GatewayResponse").values()
    }
    assert {
        "BAD_REQUEST_PARAMETERS",
        "BAD_REQUEST_BODY",
        "UNAUTHORIZED",
        "ACCESS_DENIED",
        "EXPIRED_TOKEN",
        "INVALID_SIGNATURE",
        "MISSING_AUTHENTICATION_TOKEN",
        "REQUEST_TOO_LARGE",
        "THROTTLED",
        "INTEGRATION_TIMEOUT",
        "DEFAULT_4XX",
        "DEFAULT_5XX",
    } <= set(answers)
    problem_schema = DOCUMENT["components"]["schemas"]["Problem"]
    for kind, response in answers.items():
        ((_, template),) = response["ResponseTemplates"].items()
        problem = json.loads(template)
        assert {"type", "title", "detail"} <= set(problem)
        # The response stays JSON with any value: no guide says that API Gateway escapes the other variables
        assert set(re.findall(r"\$context\.[\w.]+", template)) <= {"$context.requestId", "$context.error.message"}
        assert re.fullmatch(problem_schema["properties"]["type"]["pattern"], problem["type"])
        assert response["ResponseParameters"]["gatewayresponse.header.Content-Type"] == "'application/problem+json'"
        # A status of a default response would replace the status of every error that it covers
        if kind.startswith("DEFAULT"):
            assert "StatusCode" not in response
            assert "status" not in problem
        else:
            assert str(problem["status"]) == response["StatusCode"]
    for answer in CALLS["GET", "/api/training/list"]["responses"]:
        if answer in ("401", "403", "429", "504"):
            assert answer in {response.get("StatusCode") for response in answers.values()}


def test_only_a_single_web_origin_reads_gateway_responses() -> None:
    throttled = next(
        response for response in gateway_responses(user_pool=False, labelling_page=False) if response.status == 429
    )
    assert _allowed(throttled, []) is None
    assert _allowed(throttled, ["https://a.example"]) == "'https://a.example'"
    assert _allowed(throttled, ["https://a.example", "https://b.example"]) is None


def _allowed(response: GatewayResponse, origins: list[str]) -> str | None:
    return headers_for(response, origins).get("Access-Control-Allow-Origin")


# --- The stage -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "caller"),
    [
        ("no-labelling-page", "$context.identity.userArn"),
        ("default", "$context.identity.userArn"),
        ("called-from-a-browser", "$context.authorizer.claims.sub"),
    ],
)
def test_the_access_log_names_the_caller_and_no_photograph(synthesized: Synthesized, name: str, caller: str) -> None:
    (stage,) = of(synthesized(name), "AWS::ApiGateway::Stage").values()
    line = json.loads(stage["AccessLogSetting"]["Format"])
    assert line["caller"] == caller
    assert ("person" in line) == (name != "no-labelling-page")
    # The query string has the parameter S3Key. The path has job ids, the resource's path not even these.
    assert not {"$context.path", "$context.identity.sourceIp"} & set(line.values())
    assert "query" not in stage["AccessLogSetting"]["Format"].lower()
    # And execution logs are off
    for setting in stage["MethodSettings"]:
        assert setting.get("DataTraceEnabled", False) is False
        assert setting.get("LoggingLevel", "OFF") == "OFF"


def test_the_api_is_throttled_and_costly_calls_more_so(synthesized: Synthesized) -> None:
    (stage,) = of(synthesized("default"), "AWS::ApiGateway::Stage").values()
    assert stage["StageName"] == "prod"
    limits = {
        (setting["HttpMethod"], setting["ResourcePath"]): (
            setting["ThrottlingRateLimit"],
            setting["ThrottlingBurstLimit"],
        )
        for setting in stage["MethodSettings"]
    }
    everything = limits.pop(("*", "/*"))
    assert everything == (50, 100)
    of_people = {call: limit for call, limit in limits.items() if "/api/labelling/" in call[1].replace("~1", "/")}
    assert len(of_people) == sum(path.startswith("/api/labelling/") for _, path in CALLS)
    assert set(of_people.values()) == {(25, 50)}
    limits = {call: limit for call, limit in limits.items() if call not in of_people}
    # Finding documents leaves half of it to the other calls
    assert limits.pop(("POST", "/~1api~1documents~1detect")) == (25, 50)
    assert {(method, path.replace("~1", "/")) for method, path in limits} == {
        ("POST", "//api/training/create"),
        ("POST", "//api/training/start"),
        ("POST", "//api/training/jobs/{id}/resume"),
        ("POST", "//api/training/model/start"),
        ("POST", "//api/training/model/stop"),
        ("DELETE", "//api/training/jobs/{id}"),
    }
    assert set(limits.values()) == {(5, 10)}


def test_a_web_firewall_is_put_before_the_stage(synthesized: Synthesized) -> None:
    assert not of(synthesized("default"), "AWS::WAFv2::WebACLAssociation")
    resources = synthesized("called-from-a-browser")
    ((id, association),) = of(resources, "AWS::WAFv2::WebACLAssociation").items()
    assert association["WebACLArn"] == combinations.WEB_ACL
    assert "/stages/prod" in json.dumps(association["ResourceArn"])
    (stage,) = of(resources, "AWS::ApiGateway::Stage")
    assert stage in resources[id]["DependsOn"]


def test_the_api_log_role_is_created_on_request_and_retained(synthesized: Synthesized) -> None:
    # Given a deployment without the setting, then the account's role is not changed
    assert not of(synthesized("default"), "AWS::ApiGateway::Account")
    # Given a deployment with the setting
    resources = synthesized("created-api-log-role")
    ((account_id, account),) = of(resources, "AWS::ApiGateway::Account").items()
    role_id = account["CloudWatchRoleArn"]["Fn::GetAtt"][0]
    # Then the role and the account's setting are retained, because other APIs may use them
    for id in (account_id, role_id):
        assert resources[id]["DeletionPolicy"] == "Retain"
    # And the stage, whose logs need them, depends on them
    (stage,) = (resource for resource in resources.values() if resource["Type"] == "AWS::ApiGateway::Stage")
    assert account_id in stage["DependsOn"]


def test_only_pages_of_allowed_origins_upload_photos(synthesized: Synthesized) -> None:
    # Given a deployment with web origins, and one without
    uploads = {}
    for name in ("called-from-a-browser", "default"):
        rules = [
            rule
            for resource in synthesized(name).values()
            for rule in resource.get("Properties", {}).get("CorsConfiguration", {}).get("CorsRules", [])
            if "PUT" in rule["AllowedMethods"]
        ]
        uploads[name] = [(rule["AllowedMethods"], rule["AllowedOrigins"]) for rule in rules]
    # Then the bucket accepts uploads only from pages of these origins
    origins = ["https://kyc.example.com", "http://localhost:3000"]
    assert uploads == {"called-from-a-browser": [(["HEAD", "PUT"], origins)], "default": []}


def test_the_api_takes_no_tls_older_than_1_2(synthesized: Synthesized) -> None:
    (api,) = of(synthesized("default"), "AWS::ApiGateway::RestApi").values()
    assert re.fullmatch("SecurityPolicy_TLS13_1_[23]_.*", api["SecurityPolicy"])
    assert api["EndpointAccessMode"] == "STRICT"


def test_x_ray_is_sent_no_url_and_no_address(synthesized: Synthesized) -> None:
    # Given that a trace of API Gateway has the caller's address and the URL, which names photos
    resources = synthesized("default")
    # Then neither the stage nor the functions behind it are traced
    (stage,) = of(resources, "AWS::ApiGateway::Stage").values()
    assert stage["TracingEnabled"] is False
    functions = of(resources, "AWS::Lambda::Function").values()
    for api in (function for function in functions if function["Handler"].startswith("api.")):
        assert "TracingConfig" not in api
