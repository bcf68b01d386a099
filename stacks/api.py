"""The HTTP API: a REST API built from its OpenAPI description, and the functions behind it.

The API has no resource policy. IAM or a user pool authorizes each call, except those that the description opens to
everyone. A resource policy could only add a restriction to networks, which the stack does not know.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import cast

import aws_cdk as cdk
from aws_cdk import aws_apigateway as apigateway
from aws_cdk import aws_cognito as cognito
from aws_cdk import aws_logs as logs
from aws_cdk import aws_wafv2 as wafv2
from constructs import Construct

from stacks.functions import PartsWithMachine, api, documents, labelling, labelling_files
from stacks.gateway_responses import gateway_responses, headers_for
from stacks.openapi import Access, Description, Operation
from stacks.runtime import PipelineFunction, Runtime
from stacks.settings import Settings
from stacks.sign_in import SignIn

BY_IAM = "iam"

SECURITY_POLICY = "SecurityPolicy_TLS13_1_2_PFS_PQ_2025_09"
"""TLS 1.2 or 1.3, with forward secrecy. By default, a Regional API accepts TLS 1.0.

The policy requires an endpoint access mode. STRICT refuses a request whose Host header differs from the host name of
the TLS handshake. Source: API Gateway guide, 'Security policies for REST APIs'.
"""

CALLS_PER_SECOND, BURST = 50, 100
"""The throttle of the whole API, for all callers together."""

RARE_CALLS_PER_SECOND, RARE_BURST = 5, 10
"""The throttle of each call in `RARE_CALLS`: calls that cost money or cannot be undone."""

LABELLING_CALLS_PER_SECOND, LABELLING_BURST = 25, 50
"""The throttle of each call under ``/api/labelling/``, so that people who label do not use up the API's throttle."""

PAGE_OPERATION = "getLabellingPage"
"""The name of the methods that return the labelling page's files. The description has the calls of the API only."""

PERSON = "$context.authorizer.claims.sub"

RARE_CALLS = frozenset({"createJob", "startJob", "resumeJob", "eraseJob", "startModel", "stopModel"})

DETECTIONS_PER_SECOND, DETECTION_BURST = 25, 50
"""The throttle of detectDocuments. The other calls keep the other half of the API's throttle. Each detection reads a
parameter; Systems Manager returns 40 a second. Source: AWS General Reference, 'Systems Manager endpoints and quotas'.
"""

THROTTLES = {
    **dict.fromkeys(RARE_CALLS, (RARE_CALLS_PER_SECOND, RARE_BURST)),
    "detectDocuments": (DETECTIONS_PER_SECOND, DETECTION_BURST),
}
"""The rate and the burst of the calls with a throttle of their own."""

SERVED_BY = {"/api/documents/": "Documents", "/api/labelling/": "Labelling"}
"""The functions for paths that begin so. The function `Api` serves all others."""


def access_log(*, user_pool: bool, labelling_page: bool) -> str:
    """Return the format of the access log, which has one line per call.

    A line has the path template and no query string, because query strings contain the names of customers' photos. It
    has the caller's identity in IAM or in the user pool, and no other data about the caller. With the labelling page,
    ``person`` is the identity of the person who is signed in to the page.
    """
    caller = PERSON if user_pool else "$context.identity.userArn"
    return json.dumps(
        {
            "requestId": "$context.requestId",
            "time": "$context.requestTime",
            "caller": caller,
            **({"person": PERSON} if labelling_page else {}),
            "method": "$context.httpMethod",
            "path": "$context.resourcePath",
            "status": "$context.status",
            "error": "$context.error.responseType",
            "milliseconds": "$context.responseLatency",
        }
    )


class Api(Construct):
    """The REST API and its functions: ``functions`` by name."""

    def __init__(
        self,
        scope: Construct,
        id: str,
        *,
        parts: PartsWithMachine,
        runtime: Runtime,
    ) -> None:
        super().__init__(scope, id)
        settings = parts.settings
        description = Description.read()
        operations = [
            operation
            for operation in description.operations()
            if settings.labelling_user_pool or operation.access is Access.CALLERS
        ]
        self.gateway = self._make_gateway(operations, settings, runtime)
        self._add_responses(settings)
        stack = cdk.Stack.of(self)
        self.url = f"https://{self.gateway.rest_api_id}.execute-api.{stack.region}.{stack.url_suffix}/{settings.stage}"
        self.sign_in = (
            SignIn(self, "SignIn", settings=settings, api_url=self.url) if settings.labelling_user_pool else None
        )
        specs = {"Api": api(parts), "Documents": documents(parts)}
        if self.sign_in:
            specs["Labelling"] = labelling(parts, self.sign_in.environment)
            specs["LabellingFiles"] = labelling_files(parts, self.sign_in.environment)
        self.functions = {name: PipelineFunction(self, name, spec, runtime=runtime) for name, spec in specs.items()}
        self._integrations = {
            name: apigateway.LambdaIntegration(function, scope_permission_to_method=False)
            for name, function in self.functions.items()
        }
        self._add_methods(description, operations, self._authorizations(settings.api_authorization))
        if self.sign_in:
            self._add_page(self._integrations["LabellingFiles"])
        if settings.web_origins:
            self._add_preflights(operations)
        self.stage_arn = stack.format_arn(
            service="apigateway",
            account="",
            resource="/restapis",
            resource_name=f"{self.gateway.rest_api_id}/stages/{settings.stage}",
        )
        if settings.web_acl_arn:
            wafv2.CfnWebACLAssociation(
                self, "WebAcl", resource_arn=self.stage_arn, web_acl_arn=settings.web_acl_arn
            ).node.add_dependency(self.gateway.deployment_stage)

    def _make_gateway(
        self, operations: Sequence[Operation], settings: Settings, runtime: Runtime
    ) -> apigateway.RestApi:
        # API Gateway writes logs with a role that is set once per account and Region, not per API. The role is retained
        # when the stack is deleted, because other APIs may use it by then. It has the AWS managed policy that the guide
        # requires. Source: API Gateway guide, 'Permissions for CloudWatch logging'.
        gateway = apigateway.RestApi(
            self,
            "Gateway",
            rest_api_name=settings.stack_name,
            description="The HTTP API of the training pipeline.",
            endpoint_types=[apigateway.EndpointType.REGIONAL],
            cloud_watch_role=settings.api_log_role == "create",
            cloud_watch_role_removal_policy=cdk.RemovalPolicy.RETAIN if settings.api_log_role == "create" else None,
            deploy_options=self._stage_options(operations, settings, runtime),
        )
        # RestApi has no parameter for these two properties.
        rest_api = cast(apigateway.CfnRestApi, gateway.node.default_child)
        rest_api.security_policy, rest_api.endpoint_access_mode = SECURITY_POLICY, "STRICT"
        gateway.node.try_remove_child("Endpoint")  # RestApi's output; the stack's own output is ApiUrl
        return gateway

    def _stage_options(
        self, operations: Sequence[Operation], settings: Settings, runtime: Runtime
    ) -> apigateway.StageOptions:
        return apigateway.StageOptions(
            stage_name=settings.stage,
            throttling_rate_limit=CALLS_PER_SECOND,
            throttling_burst_limit=BURST,
            method_options={
                f"{operation.path}/{operation.method}": apigateway.MethodDeploymentOptions(
                    throttling_rate_limit=rate, throttling_burst_limit=burst
                )
                for operation, (rate, burst) in _own_throttles(operations)
            },
            # A trace would contain the caller's IP address and the URL with its query string, which has the names
            # of customers' photos (API Gateway guide, 'Trace user requests to REST APIs using X-Ray').
            tracing_enabled=False,
            access_log_destination=apigateway.LogGroupLogDestination(
                logs.LogGroup(
                    self,
                    "AccessLog",
                    retention=logs.RetentionDays.ONE_YEAR,
                    encryption_key=runtime.encryption.key,
                )
            ),
            access_log_format=apigateway.AccessLogFormat.custom(
                access_log(user_pool=_by_user_pool(settings), labelling_page=bool(settings.labelling_user_pool))
            ),
        )

    def _add_responses(self, settings: Settings) -> None:
        for response in gateway_responses(
            user_pool=_by_user_pool(settings), labelling_page=bool(settings.labelling_user_pool)
        ):
            self.gateway.add_gateway_response(
                response.type.response_type,
                type=response.type,
                status_code=None if response.status is None else str(response.status),
                response_headers=headers_for(response, settings.web_origins),
                # API Gateway selects a template by the Accept header; this one is also the fallback.
                templates={"application/json": response.template()},
            )

    def _authorizations(self, setting: str) -> Mapping[Access, apigateway.MethodOptions]:
        """Return the authorization of methods by who can call them. ``setting`` is ``apiAuthorization``."""
        return {
            Access.CALLERS: self._callers(setting),
            Access.ANYONE: apigateway.MethodOptions(authorization_type=apigateway.AuthorizationType.NONE),
            **(
                {
                    Access.LABELLERS: apigateway.MethodOptions(
                        authorization_type=apigateway.AuthorizationType.COGNITO, authorizer=self.sign_in.authorizer()
                    )
                }
                if self.sign_in
                else {}
            ),
        }

    def _callers(self, setting: str) -> apigateway.MethodOptions:
        """Return the authorization by IAM, or by the user pool whose ARN ``setting`` is."""
        if setting == BY_IAM:
            return apigateway.MethodOptions(authorization_type=apigateway.AuthorizationType.IAM)
        pool = cognito.UserPool.from_user_pool_arn(self, "UserPool", setting)
        return apigateway.MethodOptions(
            authorization_type=apigateway.AuthorizationType.COGNITO,
            authorizer=apigateway.CognitoUserPoolsAuthorizer(self, "Authorizer", cognito_user_pools=[pool]),
        )

    def _add_methods(
        self,
        description: Description,
        operations: Sequence[Operation],
        authorizations: Mapping[Access, apigateway.MethodOptions],
    ) -> None:
        """Add a method for each operation. API Gateway refuses calls that lack a required parameter or body."""
        check_parameters = self.gateway.add_request_validator("CheckParameters", validate_request_parameters=True)
        check_all = self.gateway.add_request_validator(
            "CheckParametersAndBody", validate_request_parameters=True, validate_request_body=True
        )
        for operation in operations:
            authorization = authorizations[operation.access]
            self.gateway.root.resource_for_path(operation.path).add_method(
                operation.method,
                self._integration(operation.path),
                operation_name=operation.id,
                authorization_type=authorization.authorization_type,
                authorizer=authorization.authorizer,
                request_parameters=operation.parameters,
                request_validator=check_all if operation.body else check_parameters,
                request_models=self._models(operation, description),
            )

    def _integration(self, path: str) -> apigateway.LambdaIntegration:
        names = (name for prefix, name in SERVED_BY.items() if path.startswith(prefix))
        return self._integrations[next(names, "Api")]

    def _add_page(self, integration: apigateway.LambdaIntegration) -> None:
        """Add the labelling page's files, which need no sign-in: the page itself asks the person to sign in."""
        for path in ("/labelling", "/labelling/{file+}"):
            self.gateway.root.resource_for_path(path).add_method(
                "GET",
                integration,
                operation_name=PAGE_OPERATION,
                authorization_type=apigateway.AuthorizationType.NONE,
            )

    def _models(self, operation: Operation, description: Description) -> dict[str, apigateway.IModel] | None:
        """Add the model of the operation's body. It applies to every content type that a caller may send."""
        if operation.body is None:
            return None
        if (known := self.node.try_find_child(f"{operation.body}Model")) is not None:
            return {"$default": cast(apigateway.IModel, known)}
        schema = description.model(operation.body)
        model = apigateway.CfnModel(
            self, operation.body, rest_api_id=self.gateway.rest_api_id, content_type="application/json", schema=schema
        )
        deployment = self.gateway.latest_deployment
        if deployment is not None:  # a changed model takes effect only with a new deployment
            deployment.add_to_logical_id(schema)
            deployment.node.add_dependency(model)
        return {"$default": apigateway.Model.from_model_name(self, f"{operation.body}Model", model.ref)}

    def _add_preflights(self, operations: Sequence[Operation]) -> None:
        """Add an OPTIONS method, without authorization, to every path that pages of other origins may call.

        A browser sends a preflight request before a call, without credentials. The function answers it and does nothing
        else. Source: Fetch standard, 'CORS-preflight fetch'.
        """
        paths = (operation.path for operation in operations if operation.access is Access.CALLERS)
        for path in dict.fromkeys(paths):
            self.gateway.root.resource_for_path(path).add_method(
                "OPTIONS", self._integration(path), authorization_type=apigateway.AuthorizationType.NONE
            )


def _own_throttles(operations: Sequence[Operation]) -> Iterator[tuple[Operation, tuple[int, int]]]:
    """Yield each call that has a throttle of its own, with the calls a second and the burst."""
    for operation in operations:
        if operation.access is not Access.CALLERS:
            yield operation, (LABELLING_CALLS_PER_SECOND, LABELLING_BURST)
        elif operation.id in THROTTLES:
            yield operation, THROTTLES[operation.id]


def _by_user_pool(settings: Settings) -> bool:
    return settings.api_authorization != BY_IAM
