"""Lambda: moto's API hands an invocation to the functions' workers, and keeps a function's dead-letter queue."""

from __future__ import annotations

import json
from typing import Any

from moto.awslambda.models import LambdaFunction

from ekyc.localaws.moto_patches.border import replace
from ekyc.localaws.services import functions


def patch() -> None:
    """Teach moto's Lambda to run functions."""

    # moto runs a function in Docker, tells every function error as "Handled", and runs an asynchronous invocation
    # before it answers and never again.
    def invoke(self: LambdaFunction, body: str, request_headers: Any, response_headers: Any) -> bytes:
        event = json.loads(body) if body else {}
        response_headers["x-amz-executed-version"] = "$LATEST"
        kind = request_headers.get("x-amz-invocation-type", "RequestResponse")
        if kind == "DryRun":
            return b""
        if kind == "Event":
            functions.invoke_later(self, event)
            return b""
        answer = functions.runtime().invoke(self, event)
        response_headers["x-amzn-requestid"] = answer.request_id
        if answer.is_error:
            response_headers["x-amz-function-error"] = "Unhandled"
        return answer.payload.encode()

    # moto's CloudFormation drops a function's dead-letter queue.
    create = LambdaFunction.create_from_cloudformation_json.__func__

    def create_with_dead_letter_queue(
        cls: type[LambdaFunction], resource_name: str, cloudformation_json: dict[str, Any], *args: Any, **kwargs: Any
    ) -> LambdaFunction:
        function = create(cls, resource_name, cloudformation_json, *args, **kwargs)
        function.dead_letter_target = cloudformation_json["Properties"].get("DeadLetterConfig", {}).get("TargetArn")
        return function

    # moto's description of a function leaves it out too.
    configuration = LambdaFunction.get_configuration

    def get_configuration(self: LambdaFunction, *args: Any, **kwargs: Any) -> dict[str, Any]:
        target = getattr(self, "dead_letter_target", None)
        described = configuration(self, *args, **kwargs)
        return described | ({"DeadLetterConfig": {"TargetArn": target}} if target else {})

    replace(LambdaFunction, "get_configuration", get_configuration)
    replace(LambdaFunction, "invoke", invoke)
    replace(LambdaFunction, "create_from_cloudformation_json", classmethod(create_with_dead_letter_queue))
