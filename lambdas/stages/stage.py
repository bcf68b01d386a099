"""What every stage shares: request and result as dataclasses, log context, named errors, metrics."""

import time
import traceback
from collections.abc import Callable, Mapping
from functools import wraps
from inspect import signature
from typing import Any, get_type_hints

from aws_lambda_powertools import Logger, Metrics
from botocore.exceptions import BotoCoreError, ClientError

from pipeline import errors, payload

logger = Logger()
metrics = Metrics()  # lines on stdout, of which CloudWatch makes metrics: the embedded metric format


def measure(unit: str = "Count", **figures: float | None) -> None:
    """Add figures of the job to the stage's metrics, if it succeeds; None stands for one that is not known yet."""
    for name, value in figures.items():
        if value is not None:
            metrics.add_metric(name=name, unit=unit, value=value)


def seconds_since(time_ms: int) -> float:
    """The seconds since a time in Unix milliseconds."""
    return time.time() - time_ms / 1000


def stage(function: Callable[..., Any]) -> Callable[[Mapping[str, Any], Any], dict[str, Any]]:
    """Make a Lambda handler of ``function(request) -> result``, both frozen dataclasses.

    A function with a second parameter also gets Lambda's context, which knows how much time is left.

    The request's class is read from the annotation. Errors of botocore become named errors (`pipeline.errors`), so
    that the state machine sees the name that its Retry lists. Any other exception becomes `StageFault`: its text may
    quote the name of a photo. The log gets an error's name only: its cause is in the execution. Of a fault the log also
    gets the lines.

    Each run gives one line of metrics with the stage as its only dimension: how long it took, whether it was a retry,
    whether it failed, and what the function measured. The job's id is beside them, not a dimension, of which each value
    would be billed as a metric of its own.
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
            raise errors.StageFault(f"{name} in {stage_name}: the log of the stage has the lines.") from None
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
