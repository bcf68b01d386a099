"""What every stage shares: its request and result as dataclasses, the job's record, log context, named errors."""

from collections.abc import Callable, Mapping
from functools import wraps
from typing import Any, get_type_hints

from aws_lambda_powertools import Logger
from botocore.exceptions import BotoCoreError, ClientError

from pipeline import errors, payload

logger = Logger()


def stage(function: Callable[[Any], Any]) -> Callable[[Mapping[str, Any], Any], dict[str, Any]]:
    """Make a Lambda handler of ``function(request) -> result``, both frozen dataclasses.

    The request's class is read from the annotation. Errors of botocore become named errors (`pipeline.errors`), so
    that the state machine sees the name that its Retry lists. The log gets an error's name only: its cause, which is in
    the execution, may name photos.
    """
    request_type = next(kind for name, kind in get_type_hints(function).items() if name != "return")

    @wraps(function)
    def handler(event: Mapping[str, Any], context: Any) -> dict[str, Any]:
        logger.set_correlation_id(context.aws_request_id)
        arguments = dict(event)
        execution, retry = arguments.pop("execution", None), arguments.pop("retry", 0)
        stage_name = function.__module__.rpartition(".")[2]
        logger.append_keys(job_id=event.get("jobId"), execution=execution, stage=stage_name, retry=retry)
        try:
            result = payload.write(function(payload.read(request_type, arguments)))
        except (ClientError, BotoCoreError) as error:
            failure = errors.named(error)
            logger.warning("Stage failed", extra={"error": type(failure).__name__})
            raise failure from None
        except errors.PipelineError as error:
            logger.warning("Stage failed", extra={"error": type(error).__name__})
            raise
        logger.info("Stage done")
        return result

    return handler
