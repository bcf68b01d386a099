"""What moto lacks, so that a patch is taken out again when moto has gained it."""

from __future__ import annotations

import inspect
import json
import subprocess
import sys
from collections.abc import Callable


def _source(owner: object) -> str:
    return inspect.getsource(owner)  # type: ignore[arg-type]


def _gaps() -> dict[str, Callable[[], bool]]:
    """What to look at in a moto without patches: True while the patch is needed."""
    from moto.apigateway import models as apigateway
    from moto.awslambda.models import LambdaFunction
    from moto.cloudformation.models import Stack
    from moto.core.base_backend import BackendDict
    from moto.core.common_models import BaseModel
    from moto.dynamodb.models import DynamoDBBackend
    from moto.events.models import EventsBackend, Rule
    from moto.kms.responses import KmsResponse
    from moto.s3 import responses as s3
    from moto.s3.models import FakeBucket, FakeKey, S3Backend
    from moto.server import DomainDispatcherApplication
    from moto.stepfunctions.models import StateMachine, StepFunctionBackend
    from moto.stepfunctions.parser import api
    from moto.stepfunctions.parser.asl.component.common.retry.retrier_decl import RetrierDecl
    from moto.stepfunctions.parser.asl.component.state.exec.execute_state import ExecutionState
    from moto.stepfunctions.parser.asl.component.state.exec.state_map.iteration.itemprocessor.distributed_item_processor_worker import (  # noqa: E501
        DistributedItemProcessorWorker,
    )
    from moto.stepfunctions.parser.asl.component.state.exec.state_task.service.state_task_service_aws_sdk import (
        StateTaskServiceAwsSdk,
    )
    from moto.stepfunctions.parser.asl.component.state.exec.state_task.service.state_task_service_callback import (
        StateTaskServiceCallback,
    )
    from moto.stepfunctions.parser.asl.component.state.wait.wait_function.wait_function import WaitFunction
    from moto.stepfunctions.parser.asl.eval.environment import Environment
    from moto.stepfunctions.parser.asl.jsonata import jsonata
    from moto.stepfunctions.parser.asl.parse.asl_parser import AmazonStateLanguageParser
    from moto.stepfunctions.parser.backend.execution import Execution
    from moto.stepfunctions.parser.backend.execution_worker import ExecutionWorker
    from moto.stepfunctions.responses import StepFunctionResponse

    return {
        "functions run without Docker": lambda: "docker" in _source(LambdaFunction._invoke_lambda),
        "asynchronous invocations are retried": lambda: "retry" not in _source(LambdaFunction.invoke).lower(),
        "functions keep their dead-letter queue": lambda: "DeadLetter" not in _source(LambdaFunction),
        "rules deliver to functions": lambda: '"lambda"' not in _source(Rule.send_to_targets),
        "disabled rules deliver nothing": lambda: "state" not in _source(Rule.send_to_targets),
        "events of aws.* are refused": lambda: "NotAuthorized" not in _source(EventsBackend.put_events),
        "JSONata without Java": lambda: jsonata._eval_jsonata is None and "JVM" in _source(jsonata),
        "strings are escaped for JSONata": lambda: (
            jsonata.encode_jsonata_variable_declarations({"$a": 'x"y'}) != '$a:="x\\"y";'
        ),
        "definitions are parsed once": lambda: not hasattr(AmazonStateLanguageParser.parse, "cache_info"),
        "what was made and is gone is forgotten": lambda: "instances_tracked" in _source(BaseModel.__new__),
        "a backend is found at once": lambda: (
            "not in BackendDict._instances" in _source(BackendDict._create_account_specific_backend)
        ),
        "a call's service is found at once": lambda: (
            "list_of_moto_modules()" in _source(DomainDispatcherApplication.get_backend_for_host)
        ),
        "waits have a speed": lambda: "time.time()" in _source(WaitFunction),
        "retry delays can be interrupted": lambda: "time.sleep" in _source(RetrierDecl),
        "attempts can be interrupted": lambda: "is_running" not in _source(ExecutionState._evaluate_with_timeout),
        "errors do not overwrite a stop": lambda: "isinstance" not in _source(Environment.set_error),
        "executions are ready when they start": lambda: "self.env =" in _source(ExecutionWorker._execution_logic),
        "a missed heartbeat has two names": lambda: (
            "HeartbeatTimeout" not in _source(StateTaskServiceCallback._from_error)
        ),
        "AWS SDK tasks take PascalCase": lambda: "_normalise_parameters" not in vars(StateTaskServiceAwsSdk),
        "the engine's errors are answered by their names": lambda: api.InvalidDefinition.TYPE is None,
        "another machine of the same name is refused": lambda: (
            "AlreadyExists" not in _source(StepFunctionBackend.create_state_machine)
        ),
        "state machines have revisions": lambda: "revision" not in _source(StateMachine),
        "standard machines are not run synchronously": lambda: (
            not hasattr(StepFunctionResponse, "start_sync_execution")
        ),
        "digests are signed": lambda: "message_type=" not in _source(KmsResponse.sign),
        "items of a distributed map are executions": lambda: (
            "job_program.eval(env)" in _source(DistributedItemProcessorWorker._eval_job)
        ),
        "Map Runs list their executions": lambda: "mapRunArn" not in _source(StepFunctionResponse.list_executions),
        "redrive": lambda: not hasattr(StepFunctionResponse, "redrive_execution"),
        "history pages": lambda: "maxResults" not in _source(StepFunctionResponse.get_execution_history),
        "a failed task's cause": lambda: "cause" not in _source(StepFunctionResponse.send_task_failure),
        "a stop's reason": lambda: "cause" not in _source(StepFunctionResponse.stop_execution),
        "status change events": lambda: "send_notification" not in _source(Execution),
        "definition substitutions": lambda: (
            "Substitutions" not in _source(StateMachine.create_from_cloudformation_json)
        ),
        "gateway responses, validators and models are deployed": lambda: (
            not any(
                hasattr(kind, "create_from_cloudformation_json")
                for kind in (apigateway.GatewayResponse, apigateway.RequestValidator, apigateway.Model)
            )
        ),
        "methods are deployed with their validator": lambda: (
            "RequestValidatorId" not in _source(apigateway.Method.create_from_cloudformation_json)
        ),
        "buckets are deployed with versions and locks": lambda: (
            "Versioning" not in _source(FakeBucket.create_from_cloudformation_json)
        ),
        "templates are read as JSON": lambda: "yaml.load" in _source(Stack.parse_template),
        "DynamoDB writes are atomic": lambda: "lock" not in _source(DynamoDBBackend.put_item).lower(),
        "KMS makes the ETag another one": lambda: "kms" not in _source(FakeKey.etag.fget),
        "uploads get a checksum": lambda: "CRC64NVME" not in _source(S3Backend.put_object),
        "the first CORS rule that matches answers a page": lambda: (
            "smarter way of matching" in _source(s3.S3Response._set_cors_headers_options)
        ),
        "a HEAD has its CORS headers": lambda: "_get_cors_headers_other" not in _source(s3.S3Response.head_object),
        "presigned URLs expire": lambda: "X-Amz-Expires" not in _source(s3),
    }


def test_moto_still_lacks_what_is_patched() -> None:
    # Given a fresh process, where moto is as it was installed
    run = subprocess.run([sys.executable, __file__], capture_output=True, text=True, check=True)
    # When it is looked at
    found = json.loads(run.stdout)
    # Then no patch has become needless
    fixed = [name for name, is_lacking in found.items() if not is_lacking]
    assert not fixed, f"moto has gained this; take the patch out of ekyc/localaws/moto_patches: {fixed}"


if __name__ == "__main__":
    print(json.dumps({name: look() for name, look in _gaps().items()}))
