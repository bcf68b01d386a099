"""The HTTP API: one function behind a REST API that asks for IAM's signature on every call."""

import json

import aws_cdk as cdk
from aws_cdk import aws_apigateway as apigateway
from aws_cdk import aws_logs as logs
from aws_cdk import aws_stepfunctions as sfn
from constructs import Construct

from stacks.functions import PipelineFunction, Runtime
from stacks.permissions import Permissions
from stacks.settings import Settings
from stacks.storage import JOBS_INDEX, Storage

STAGE = "prod"

ROUTES = (
    ("POST", "/api/training/create"),
    ("GET", "/api/training/url"),
    ("POST", "/api/training/start"),
    ("GET", "/api/training/list"),
    ("GET", "/api/training/jobs/{id}"),
    ("POST", "/api/training/jobs/{id}/urls"),
    ("POST", "/api/training/jobs/{id}/labels"),
    ("POST", "/api/training/jobs/{id}/stop"),
    ("POST", "/api/training/jobs/{id}/resume"),
    ("GET", "/api/training/model"),
)

ACCESS_LOG = {
    "requestId": "$context.requestId",
    "time": "$context.requestTime",
    "caller": "$context.identity.userArn",
    "method": "$context.httpMethod",
    "path": "$context.path",
    "status": "$context.status",
    "error": "$context.error.responseType",
    "milliseconds": "$context.responseLatency",
}
"""One line a call. No query string: it holds the names of customers' photographs."""

NO_SUCH_CALL = {
    "type": "urn:ekyc:problem:unknown-route",
    "title": "Not Found",
    "status": 404,
    "detail": (
        "No such call: see the list of calls in the README's API page. A call that is on the list needs a signature by "
        "AWS Signature Version 4."
    ),
}
"""RFC 9457, as the function answers its own problems."""


class Api(Construct):
    """The REST API and its function."""

    def __init__(
        self,
        scope: Construct,
        id: str,
        *,
        settings: Settings,
        runtime: Runtime,
        storage: Storage,
        permissions: Permissions,
        state_machine: sfn.IStateMachine,
    ) -> None:
        super().__init__(scope, id)
        function = PipelineFunction(
            self,
            "Api",
            runtime=runtime,
            module="api.app",
            description="The HTTP API of the training pipeline.",
            environment={
                "JOBS_TABLE": storage.table.table_name,
                "JOBS_INDEX": JOBS_INDEX,
                "BUCKET": storage.bucket.bucket_name,
                "STATE_MACHINE_ARN": state_machine.state_machine_arn,
                "DOCUMENT_TYPES": ",".join(settings.document_types),
                "LABEL_PROVIDER": settings.label_provider,
                "MIN_F1": str(settings.min_f1),
                "MIN_LABEL_F1": str(settings.min_label_f1),
                "MAX_F1_DROP": str(settings.max_f1_drop),
                "STOP_PREVIOUS_MODEL": json.dumps(settings.stop_previous_model),
                "WORK_TEAM_ARN": settings.work_team_arn,
                "PROJECT_PARAMETER": storage.project_parameter.parameter_name,
                "MODEL_PARAMETER": storage.model_parameter.parameter_name,
            },
            permissions=[
                permissions.job_record(),
                permissions.job_records(),
                permissions.list_bucket(),
                permissions.read_objects("images", "labels"),
                permissions.write_objects("images", "labels"),
                permissions.start_execution(),
                permissions.executions("DescribeExecution", "GetExecutionHistory", "RedriveExecution", "StopExecution"),
                permissions.answer_task(),
                permissions.labelling_jobs("DescribeLabelingJob", "StopLabelingJob"),
                permissions.projects("DescribeProjectVersions", "StopProjectVersion"),
                permissions.live_model("GetParameter"),
            ],
            timeout_seconds=29,
            memory_mb=512,
        )
        # API Gateway writes its logs by a role that is a setting of the account in the region, not of one API: it must
        # be set once, outside this stack. Source: API Gateway guide, 'Set up CloudWatch logging for REST APIs'.
        self.gateway = apigateway.RestApi(
            self,
            "Gateway",
            rest_api_name=settings.stack_name,
            description="The HTTP API of the training pipeline.",
            endpoint_types=[apigateway.EndpointType.REGIONAL],
            cloud_watch_role=False,
            default_method_options=apigateway.MethodOptions(authorization_type=apigateway.AuthorizationType.IAM),
            deploy_options=apigateway.StageOptions(
                stage_name=STAGE,
                throttling_rate_limit=50,
                throttling_burst_limit=100,
                tracing_enabled=True,
                access_log_destination=apigateway.LogGroupLogDestination(
                    logs.LogGroup(self, "AccessLog", retention=logs.RetentionDays.ONE_YEAR)
                ),
                access_log_format=apigateway.AccessLogFormat.custom(json.dumps(ACCESS_LOG)),
            ),
        )
        self.gateway.node.try_remove_child("Endpoint")  # RestApi's own output; the stack has ApiUrl
        # API Gateway answers so what is no route, and what is one but came without a signature.
        self.gateway.add_gateway_response(
            "NoSuchCall",
            type=apigateway.ResponseType.MISSING_AUTHENTICATION_TOKEN,
            status_code="404",
            templates={"application/problem+json": json.dumps(NO_SUCH_CALL)},
        )
        integration = apigateway.LambdaIntegration(function, scope_permission_to_method=False)
        for method, path in ROUTES:
            self.gateway.root.resource_for_path(path).add_method(method, integration)
        stack = cdk.Stack.of(self)
        self.url = f"https://{self.gateway.rest_api_id}.execute-api.{stack.region}.{stack.url_suffix}/{STAGE}"
