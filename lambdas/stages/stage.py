"""What all stages share: request and result as dataclasses, log context, named errors, metrics."""

import time
import traceback
from collections.abc import Callable, Mapping
from functools import wraps
from inspect import signature
from typing import Any, get_type_hints

from aws_lambda_powertools import Logger, Metrics
from botocore.exceptions import BotoCoreError, ClientError

from pipeline import errors, payload
from pipeline.clients import clients

logger = Logger()
metrics = Metrics()  # writes the embedded metric format to stdout, from which CloudWatch extracts metrics


def measure(unit: str = "Count", **figures: float | None) -> None:
    """Add ``figures`` to the stage's metrics, without those that are None. A stage that fails sends none of them."""
    for name, value in figures.items():
        if value is not None:
            metrics.add_metric(name=name, unit=unit, value=value)


def seconds_since(time_ms: int) -> float:
    """The seconds since ``time_ms`` (Unix ms)."""
    return time.time() - time_ms / 1000


def stage(function: Callable[..., Any]) -> Callable[[Mapping[str, Any], Any], dict[str, Any]]:
    """Make a Lambda handler of ``function(request) -> result``, both frozen dataclasses.

    The annotation of ``request`` gives its class. A function with a second parameter also gets Lambda's context, which
    has the remaining time.

    An error of botocore becomes a named error of `pipeline.errors`, as the state machine's Retry goes by names. Any
    other exception becomes `StageFault` without its text, which may quote the name of a photo. The log has the error's
    name only, as the execution has its cause; for a `StageFault` also the lines of the trace.

    Each run writes one line of metrics: its duration, whether it was a retry, whether it failed, and the function's own
    figures. The stage is the only dimension. The job's id is metadata, as CloudWatch bills each value of a dimension as
    a metric of its own.
    """
    request_type = next(kind for name, kind in get_type_hints(function).items() if name != "return")
    takes_context = len(signature(function).parameters) == 2
    _ = clients.dynamodb  # every stage needs it; Lambda gives the import a full core, and a request a part of one

    @wraps(function)
    def handler(event: Mapping[str, Any], context: Any) -> dict[str, Any]:
        logger.set_correlation_id(context.aws_request_id)
        arguments = dict(event)
        execution, retry = arguments.pop("execution", None), arguments.pop("retry", 0)
        stage_name = function.__module__.rpartition(".")[2]
        logger.append_keys(job_id=event.get("jobId"), execution=execution, stage=stage_name, retry=retry)
        started, failed = time.perf_counter(), True
        try:
            request = payload.read(request_type, arguments)
            result = payload.write(function(request, context) if takes_context else function(request))
        except (ClientError, BotoCoreError) as error:
            failure = errors.as_pipeline_error(error)
            logger.warning("Stage failed", extra={"error": type(failure).__name__})
            raise failure from None
        except errors.PipelineError as error:
            logger.warning("Stage failed", extra={"error": type(error).__name__})
            raise
        except Exception as error:
            name, lines = type(error).__name__, traceback.format_tb(error.__traceback__)
            logger.error("Stage failed", extra={"error": name, "lines": lines})
            raise errors.StageFault(f"{name} in {stage_name}. The stage's log has the lines of the trace.") from None
        else:
            failed = False
        finally:
            if failed:
                metrics.clear_metrics()
            measure("Milliseconds", Duration=(time.perf_counter() - started) * 1000)
            measure(Retries=bool(retry), Failures=failed)
            metrics.add_metadata("job_id", event.get("jobId"))
            metrics.flush_metrics()
        logger.info("Stage done")
        return result

    return handler
