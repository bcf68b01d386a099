"""Patches moto's Lambda: invocations run in the functions' workers, and functions keep their dead-letter queues."""

from __future__ import annotations

import json
from typing import Any

from moto.awslambda.models import LambdaFunction

from ekyc.localaws.moto_patches.border import replace
from ekyc.localaws.services import functions


def patch() -> None:
    """Patch moto's Lambda, once per process."""

    # moto runs functions in Docker, reports every function error as "Handled", and runs an asynchronous invocation
    # before it responds, without retries.
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

    # moto's CloudFormation ignores a function's dead-letter queue.
    create = LambdaFunction.create_from_cloudformation_json.__func__

    def create_with_dead_letter_queue(
        cls: type[LambdaFunction], resource_name: str, cloudformation_json: dict[str, Any], *args: Any, **kwargs: Any
    ) -> LambdaFunction:
        function = create(cls, resource_name, cloudformation_json, *args, **kwargs)
        function.dead_letter_target = cloudformation_json["Properties"].get("DeadLetterConfig", {}).get("TargetArn")
        return function

    # moto's description of a function omits it too.
    configuration = LambdaFunction.get_configuration

    def get_configuration(self: LambdaFunction, *args: Any, **kwargs: Any) -> dict[str, Any]:
        target = getattr(self, "dead_letter_target", None)
        description = configuration(self, *args, **kwargs)
        return description | ({"DeadLetterConfig": {"TargetArn": target}} if target else {})

    replace(LambdaFunction, "get_configuration", get_configuration)
    replace(LambdaFunction, "invoke", invoke)
    replace(LambdaFunction, "create_from_cloudformation_json", classmethod(create_with_dead_letter_queue))
