"""Every error that an operator may see. A class's name is the error's name in the execution, the ASL and the job.

A cause goes further than the bucket does: to logs, messages, the job's record and an audit report that is locked for
years. So no cause may hold the name of a photo or of a labels file. That holds by how causes are made: they consist of
the pipeline's own words, figures, codes, document types, job ids and keys that the pipeline chose. Names go into lists
in the bucket, such as ``rejected.jsonl``. A text that AWS wrote is quoted only where AWS has read nothing of the job:
see `quota`. A cause that another system wrote is left out: see `own_cause`.
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
# "403" is what S3 answers to HeadObject, whose answers have no body; "AuthorizationError" is SNS's word.
DENIED_CODES = frozenset(
    {"403", "AccessDenied", "AccessDeniedException", "AuthorizationError", "UnauthorizedOperation"}
)

REJECTED, STOPPED = "ModelRejected", "StoppedByRequest"
"""Errors that the state machine and the API raise themselves, with causes in the pipeline's own words."""

LAMBDA_ERRORS = ("Lambda.", "Runtime.", "Sandbox.")
"""How the errors of Lambda itself begin, such as a time-out. Lambda has read nothing of the job."""


class PipelineError(Exception):
    """Base of every error that an operator may see; its message is the execution's cause, in words."""


class Throttled(PipelineError):
    """A service was busy or out of reach for a moment. The state machine asks again."""


class AccessDenied(PipelineError):
    """The function's role may not do what the stage needs."""


class UnexpectedAnswer(PipelineError):
    """A service answered what no stage can act on; the message holds the answer's code."""


class StageFault(PipelineError):
    """The stage has a fault of its own. The message holds the exception's class, the stage's log the lines."""


class ImagesNotFound(PipelineError):
    """The job has no uploaded photos."""


class NotEnoughImages(PipelineError):
    """Fewer usable photos than the setting asks for."""


class TooManyBadImages(PipelineError):
    """A larger share of the photos was rejected than the setting allows."""


class PhotosLeft(PipelineError):
    """There are more photos to turn upright than one run has time for. The state machine runs the stage again."""


class PhotosChanged(PipelineError):
    """Photos were replaced or deleted after they were checked: too many of them, or some that were trained on."""


class ManifestChanged(PipelineError):
    """A manifest is not what the stage that wrote it returned the hash of, or was written again."""


class LabelsInvalid(PipelineError):
    """The supplied labels cannot be read, or fit none of the job's photos."""


class LabelsDoNotMatch(PipelineError):
    """More labelled photos have no upload, or uploads no labels, than the setting allows."""


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
    """The account has as many datasets as it may. The state machine asks again."""


class DatasetTimedOut(PipelineError):
    """The datasets were not ready before their deadline."""


class TrainingSlotsBusy(PipelineError):
    """The account's concurrent trainings are all in use. The state machine asks again."""


class TrainingFailed(PipelineError):
    """Rekognition ended the training as failed."""


class TrainingTimedOut(PipelineError):
    """The training did not end before its deadline."""


class EvaluationMissing(PipelineError):
    """The trained model has no evaluation result."""


class RunningModelsLimit(PipelineError):
    """The account's running models are all in use."""


class ModelFailed(PipelineError):
    """The model could not be started."""


class ModelTimedOut(PipelineError):
    """The model did not run before its deadline."""


def own_cause(error: str | None, cause: str | None) -> str | None:
    """``cause`` if the pipeline or Lambda itself wrote it, as the name of its ``error`` says; else None.

    Step Functions' own causes may quote the execution's input, and a person who stops an execution in the console
    writes any text.
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
    """AWS's sentence about a quota that is used up, such as "2 of 2 trainings run".

    Only for the codes of quotas: AWS refuses such a call before it reads a photo, a manifest or labels.
    """
    return error.response.get("Error", {}).get("Message", "")


def as_pipeline_error(error: ClientError | BotoCoreError) -> PipelineError:
    """Turn a botocore error that no stage handled into the error tree.

    Throttling and internal errors, which AWS says to retry (Rekognition Developer Guide, "Error handling"), and lost
    connections become `Throttled`, a denial `AccessDenied`, anything else `UnexpectedAnswer`. The cause has the
    operation, the code and the request's id, by which CloudTrail and AWS Support find the call. It has none of AWS's
    sentences: they quote keys and arguments.
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
