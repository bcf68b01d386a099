"""All errors that an operator may see. The name of a class is the error's name in the execution, the ASL and the job.

Causes are copied to logs, messages, the job's record and an audit report that is locked for years. So a cause must not
contain the name of a photo or of a labels file. It can contain the pipeline's own words, figures, codes, document
types, job ids, and keys that the pipeline chose. Names of files go into lists in the bucket, such as
``rejected.jsonl``. A cause quotes a message of AWS only if AWS had read none of the job's files (see `quota`). Causes
that other systems wrote are not copied (see `is_own_cause`).
"""

import re
from typing import Any
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
# S3's response to HeadObject has no body, so its error code is "403". "AuthorizationError" is the code of SNS.
DENIED_CODES = frozenset(
    {"403", "AccessDenied", "AccessDeniedException", "AuthorizationError", "UnauthorizedOperation"}
)

REJECTED, STOPPED = "ModelRejected", "StoppedByRequest"
"""The errors of the state machine and of the API's stop. Their causes are the pipeline's own words."""

STOP_CAUSE = "The job was stopped through the API."
OTHER_ERROR = "OtherError"
"""Replaces an error name that neither the pipeline nor AWS gave, because such a name can be any text."""

LAMBDA_ERRORS = ("Lambda.", "Runtime.", "Sandbox.")
"""The prefixes of Lambda's own errors, such as a timeout. Lambda reads none of the job's files."""

AWS_ERROR = re.compile(r"(States|Lambda|Runtime|Sandbox)(\.[A-Za-z]+)+")
"""The names of errors of Step Functions and Lambda."""


class PipelineError(Exception):
    """Base of every error that an operator may see; its message becomes the execution's cause."""


class Throttled(PipelineError):
    """A service throttled the call or was unreachable for a moment. The state machine retries."""


class AccessDenied(PipelineError):
    """The function's role lacks a permission that the stage needs."""


class UnexpectedAnswer(PipelineError):
    """A service returned a response that the stage cannot handle. The message has the error code."""


class SettingsInvalid(PipelineError):
    """The function's environment lacks variables or has malformed ones. The message names all of them."""


class StageFault(PipelineError):
    """The stage has a bug. The message has the exception's class; the stage's log has the lines of the stack trace."""


class ImagesNotFound(PipelineError):
    """The job has no uploaded photos."""


class TooManyImages(PipelineError):
    """The job has more photos than one job can check."""


class NotEnoughImages(PipelineError):
    """The job has fewer usable photos than the setting minImages."""


class TooManyBadImages(PipelineError):
    """The share of rejected photos exceeds the setting maxRejectedShare."""


class PhotosLeft(PipelineError):
    """The run had no time to check all photos of its batch. The state machine runs the batch again."""


class OutlinesLeft(PipelineError):
    """The run had no time to learn the outlines of all types. The state machine runs the task again."""


class PhotosChanged(PipelineError):
    """Photos were replaced or deleted after their check: too many, or some that the model was trained on."""


class ManifestChanged(PipelineError):
    """A manifest's hash is not the one that its stage returned, or the manifest was written again."""


class LabelsInvalid(PipelineError):
    """The supplied labels cannot be read, or match none of the job's photos."""


class LabelsDoNotMatch(PipelineError):
    """The share of labelled photos without an upload, or of uploads without labels, exceeds the setting."""


class LabellingFailed(PipelineError):
    """The labelling job ended as Failed, or without any labels."""


class LabellingStopped(PipelineError):
    """The labelling job was stopped."""


class LabellingTimedOut(PipelineError):
    """No labels arrived before the labelling deadline."""


class TooManyPhotosToLabel(PipelineError):
    """The job has more photos than people can label on the labelling page."""


class LabellingUnavailable(PipelineError):
    """Ground Truth cannot be used: the stack has no work team, or the Region or account has no Ground Truth."""


class NoUsableLabels(PipelineError):
    """No line of the labelled manifest can be used for training."""


class TooFewImagesPerLabel(PipelineError):
    """A document type has too few different photos for both the training and the test set."""


class DatasetFailed(PipelineError):
    """Rekognition could not create a dataset from a manifest."""


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


class EvaluationOutdated(PipelineError):
    """Another model went live, or the deployment's bars were raised, after the model's evaluation."""


class RunningModelsLimit(PipelineError):
    """The account's quota of running models is in use. The state machine retries."""


class ModelFailed(PipelineError):
    """The model could not be started."""


class ModelTimedOut(PipelineError):
    """The model did not run before its deadline."""


def own_error(error: str | None, cause: Any, *, is_stop: bool) -> str | None:
    """Return the name of an error, or `OTHER_ERROR` for a name that neither the pipeline nor AWS gave.

    ``is_stop``: StopExecution wrote ``error`` and ``cause``. Its caller can give any text, so only those of the API are
    kept.
    """
    if not error:
        return error
    is_known = _is_own_stop(error, cause) if is_stop else _is_own(error) or AWS_ERROR.fullmatch(error)
    return error if is_known else OTHER_ERROR


def is_own_cause(error: str | None, cause: Any, *, is_stop: bool) -> bool:
    """Whether the pipeline or Lambda wrote ``cause``. For ``is_stop``, see `own_error`.

    A cause from Step Functions may quote the execution's input.
    """
    name = error or ""
    return _is_own_stop(name, cause) if is_stop else _is_own(name) or name.startswith(LAMBDA_ERRORS)


def _is_own_stop(error: str, cause: Any) -> bool:
    return (error, cause) == (STOPPED, STOP_CAUSE)


def _is_own(error: str) -> bool:
    return error == REJECTED or error in _pipeline_errors()


def _pipeline_errors() -> set[str]:
    return {kind.__name__ for kind in PipelineError.__subclasses__()}


def error_code(error: ClientError) -> str:
    """The service's name of the error, such as ``ResourceInUseException``."""
    return error.response.get("Error", {}).get("Code", "Unknown")


def quota(error: ClientError) -> str:
    """AWS's message about a quota that is used up, such as "2 of 2 trainings run".

    Call this only for the error codes of quotas: AWS returns them before it reads a photo, a manifest or labels.
    """
    return error.response.get("Error", {}).get("Message", "")


def as_pipeline_error(error: ClientError | BotoCoreError) -> PipelineError:
    """Convert a botocore error that no stage handled into a `PipelineError`.

    Throttling, internal errors and lost connections become `Throttled`, because AWS recommends retries for them
    (Rekognition Developer Guide, "Error handling"). A denial becomes `AccessDenied`, any other error
    `UnexpectedAnswer`. The cause has the operation, the code and the request id, which identifies the call in
    CloudTrail and for AWS Support. It does not have AWS's message, which quotes keys and arguments.
    """
    if isinstance(error, ClientError):
        code, metadata = error_code(error), error.response.get("ResponseMetadata", {})
        request = f" (request {metadata['RequestId']})" if metadata.get("RequestId") else ""
        words = f"{error.operation_name} returned {code}{request}."
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
