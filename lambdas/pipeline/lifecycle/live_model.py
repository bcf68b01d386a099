"""Starts and stops the live model."""

from typing import Any

from botocore.exceptions import ClientError

from pipeline import models
from pipeline.clients import clients
from pipeline.errors import error_code
from pipeline.jobs import jobs, model_hours, now_ms
from pipeline.lifecycle.refusals import NotAllowed, NotThere
from pipeline.publishing import read_parameter


def stop_model(model_parameter: str) -> dict[str, Any]:
    """Stop the live model; returns its ARN and status.

    Raises:
        NotAllowed: no model is live, or it does not run.
        NotThere: the model was deleted.
    """
    arn = _live_model(model_parameter)
    try:
        status = clients.rekognition.stop_project_version(ProjectVersionArn=arn)["Status"]
    except ClientError as error:
        raise _refusal(error, "stopped") from error
    model_hours.record_stop(models.job_id(arn))
    return {"projectVersionArn": arn, "status": status}


def start_model(inference_units: int, model_parameter: str) -> dict[str, Any]:
    """Start the live model again; returns its ARN and status.

    Raises:
        NotAllowed: no model is live, it runs already, or the account's quota of running models is in use.
        NotThere: the model was deleted.
    """
    arn = _live_model(model_parameter)
    try:
        answer = clients.rekognition.start_project_version(ProjectVersionArn=arn, MinInferenceUnits=inference_units)
    except ClientError as error:
        raise _refusal(error, "started") from error
    jobs.note_first(models.job_id(arn), ModelStartTime=now_ms(), InferenceUnits=inference_units)
    return {"projectVersionArn": arn, "status": answer["Status"]}


def _live_model(model_parameter: str) -> str:
    arn = read_parameter(model_parameter)
    if arn is None:
        raise NotAllowed("No model is live yet.")
    return arn


def _refusal(error: ClientError, participle: str) -> Exception:
    """Convert Rekognition's error to a `Refusal`; any other error is unchanged. ``participle``: started or stopped.

    Source: Rekognition API reference, StartProjectVersion and StopProjectVersion.
    """
    match error_code(error):
        case "ResourceInUseException" | "ResourceNotReadyException":
            return NotAllowed(f"The live model cannot be {participle} in its current status, which GET model shows.")
        case "LimitExceededException":
            return NotAllowed("The account's quota of running models is in use. Stop another model first.")
        case "ResourceNotFoundException":
            return NotThere("The live model was deleted.")
    return error
