"""What every stage shares: its request and result as dataclasses, the job's record, log context, named errors."""

from collections.abc import Callable, Mapping
from functools import wraps
from inspect import signature
from typing import Any, get_type_hints

from aws_lambda_powertools import Logger
from botocore.exceptions import BotoCoreError, ClientError

from pipeline import errors, payload

logger = Logger()


def stage(function: Callable[..., Any]) -> Callable[[Mapping[str, Any], Any], dict[str, Any]]:
    """Make a Lambda handler of ``function(request) -> result``, both frozen dataclasses.

    A function with a second parameter also gets Lambda's context, which knows how much time is left.

    The request's class is read from the annotation. Errors of botocore become named errors (`pipeline.errors`), so
    that the state machine sees the name that its Retry lists. The log gets an error's name only: its cause is in the
    execution.
    """
    request_type = next(kind for name, kind in get_type_hints(function).items() if name != "return")
    takes_context = len(signature(function).parameters) == 2

    @wraps(function)
    def handler(event: Mapping[str, Any], context: Any) -> dict[str, Any]:
        logger.set_correlation_id(context.aws_request_id)
        arguments = dict(event)
        execution, retry = arguments.pop("execution", None), arguments.pop("retry", 0)
        stage_name = function.__module__.rpartition(".")[2]
        logger.append_keys(job_id=event.get("jobId"), execution=execution, stage=stage_name, retry=retry)
        try:
            request = payload.read(request_type, arguments)
            result = payload.write(function(request, context) if takes_context else function(request))
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
