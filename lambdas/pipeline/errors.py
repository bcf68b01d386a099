"""Every error that an operator may see. A class's name is the error's name in the execution, the ASL and the job.

A cause is copied to logs, messages, the job's record and an audit report that is locked for years. So no cause may hold
the name of a photo or of a labels file: causes consist of the pipeline's own words, figures, codes, document types, job
ids and keys that the pipeline chose. Names go into lists in the bucket, such as ``rejected.jsonl``. A cause quotes AWS
only where AWS has read nothing of the job: see `quota`. A cause that another system wrote is left out: see `own_cause`.
"""

from urllib.parse import urlsplit

from botocore.exceptions import BotoCoreError, ClientError, HTTPClientError
from botocore.exceptions import ConnectionError as NoConnectionError

TRANSIENT_CODES = frozenset(
    {
        "InternalError",
        "InternalFailure",
        "InternalServerError",
        "InternalServerException",
        "KmsThrottlingException",
        "ProvisionedThroughputExceededException",
        "RequestLimitExceeded",
        "RequestTimeout",
        "ServiceUnavailable",
        "ServiceUnavailableException",
        "SlowDown",
        "Throttling",
        "ThrottlingException",
        "TooManyRequestsException",
        "TooManyUpdates",
        "TransactionInProgressException",
    }
)
# "403" is S3's code for HeadObject, whose answers have no body; "AuthorizationError" is SNS's code.
DENIED_CODES = frozenset(
    {"403", "AccessDenied", "AccessDeniedException", "AuthorizationError", "UnauthorizedOperation"}
)

REJECTED, STOPPED = "ModelRejected", "StoppedByRequest"
"""Errors that the state machine and the API raise themselves, with causes in the pipeline's own words."""

LAMBDA_ERRORS = ("Lambda.", "Runtime.", "Sandbox.")
"""The prefixes of Lambda's own errors, such as a timeout. Lambda has read nothing of the job."""


class PipelineError(Exception):
    """Base of every error that an operator may see; its message becomes the execution's cause."""


class Throttled(PipelineError):
    """A service throttled the call or was unreachable for a moment. The state machine retries."""


class AccessDenied(PipelineError):
    """The function's role lacks a permission that the stage needs."""


class UnexpectedAnswer(PipelineError):
    """A service gave an answer that the stage cannot handle; the message holds the answer's code."""


class StageFault(PipelineError):
    """The stage has a bug. The message holds the exception's class, the stage's log the lines of the trace."""


class ImagesNotFound(PipelineError):
    """The job has no uploaded photos."""


class NotEnoughImages(PipelineError):
    """Fewer usable photos than the setting asks for."""


class TooManyBadImages(PipelineError):
    """A larger share of the photos was rejected than the setting allows."""


class PhotosLeft(PipelineError):
    """One run has no time to turn all photos upright. The state machine runs the stage again."""


class PhotosChanged(PipelineError):
    """Photos were replaced or deleted after they were checked: too many of them, or some that were trained on."""


class ManifestChanged(PipelineError):
    """A manifest's hash differs from the one that the stage which wrote it returned, or it was written again."""


class LabelsInvalid(PipelineError):
    """The supplied labels cannot be read, or fit none of the job's photos."""


class LabelsDoNotMatch(PipelineError):
    """More labelled photos without an upload, or uploads without labels, than the setting allows."""


class LabellingFailed(PipelineError):
    """Ground Truth ended the labelling job as Failed, or labelled nothing."""


class LabellingStopped(PipelineError):
    """The labelling job was stopped before it was done."""


class LabellingTimedOut(PipelineError):
    """No labels came before the labelling deadline."""


class LabellingUnavailable(PipelineError):
    """Ground Truth cannot be used: no work team, or a Region or account that has no Ground Truth."""


class NoUsableLabels(PipelineError):
    """Not one line of the labelled manifest can be trained on."""


class TooFewImagesPerLabel(PipelineError):
    """A document type has too few different photos to be in both the training and the test set."""


class DatasetFailed(PipelineError):
    """Rekognition could not make a dataset of the manifest."""


class DatasetSlotsBusy(PipelineError):
    """The account's quota of datasets is in use. The state machine retries."""


class DatasetTimedOut(PipelineError):
    """The datasets were not ready before their deadline."""


class TrainingSlotsBusy(PipelineError):
    """The account's quota of concurrent trainings is in use. The state machine retries."""


class TrainingFailed(PipelineError):
    """Rekognition ended the training as failed."""


class TrainingTimedOut(PipelineError):
    """The training did not end before its deadline."""


class EvaluationMissing(PipelineError):
    """The trained model has no evaluation result."""


class RunningModelsLimit(PipelineError):
    """The account's quota of running models is in use. The state machine retries."""


class ModelFailed(PipelineError):
    """The model could not be started."""


class ModelTimedOut(PipelineError):
    """The model did not run before its deadline."""


def own_cause(error: str | None, cause: str | None) -> str | None:
    """``cause`` if the name of the ``error`` shows that the pipeline or Lambda wrote it, otherwise None.

    Step Functions' own causes may quote the execution's input, and a cause that a person types in the console may hold
    any text.
    """
    name = error or ""
    is_own = name in (REJECTED, STOPPED) or name in _pipeline_errors() or name.startswith(LAMBDA_ERRORS)
    return cause if is_own else None


def _pipeline_errors() -> set[str]:
    return {kind.__name__ for kind in PipelineError.__subclasses__()}


def error_code(error: ClientError) -> str:
    """The service's name of the error, such as ``ResourceInUseException``."""
    return error.response.get("Error", {}).get("Code", "Unknown")


def quota(error: ClientError) -> str:
    """AWS's message about a quota that is in use, such as "2 of 2 trainings run".

    Call this only for the error codes of quotas: AWS refuses such a call before it reads a photo, a manifest or labels.
    """
    return error.response.get("Error", {}).get("Message", "")


def as_pipeline_error(error: ClientError | BotoCoreError) -> PipelineError:
    """Convert a botocore error that no stage handled into a `PipelineError`.

    Throttling and internal errors, which AWS says to retry (Rekognition Developer Guide, "Error handling"), and lost
    connections become `Throttled`, a denial `AccessDenied`, anything else `UnexpectedAnswer`. The cause has the
    operation, the code and the request id, by which CloudTrail and AWS Support find the call. It does not have AWS's
    message, which quotes keys and arguments.
    """
    if isinstance(error, ClientError):
        code, metadata = error_code(error), error.response.get("ResponseMetadata", {})
        request = f" (request {metadata['RequestId']})" if metadata.get("RequestId") else ""
        words = f"{error.operation_name} answered {code}{request}."
        if code in TRANSIENT_CODES or metadata.get("HTTPStatusCode", 0) >= 500:
            return Throttled(words)
        if code in DENIED_CODES:
            return AccessDenied(words)
        return UnexpectedAnswer(words)
    name = type(error).__name__
    if isinstance(error, (NoConnectionError, HTTPClientError)):
        host = urlsplit(str(error.kwargs.get("endpoint_url", ""))).hostname or "the service"
        return Throttled(f"The connection to {host} was lost: {name}.")
    return UnexpectedAnswer(f"The call could not be made: {name}.")
