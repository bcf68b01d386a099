"""Every error that an operator may see. A class's name is the error's name in the execution, the ASL and the job."""

import re

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


# The last part of these keys is the name that people gave a photo or a labels file. It ends at the quotation mark that
# AWS's messages put around a resource, else it may be the rest of the line: names hold spaces and full stops.
NAMED_OBJECT = re.compile(r'\b(images|upright|labels)(/|%2F)([^/%\s"]+)\2(?!…(?:"|[.] |$))(?:.*(?=")|.+)')


class PipelineError(Exception):
    """Base of every error that an operator may see; its message is the execution's cause, in words.

    Causes go further than the bucket does, to logs and notifications, so file names are cut out of whatever they quote.
    """

    def __init__(self, cause: str) -> None:
        super().__init__(without_names(cause))


class Throttled(PipelineError):
    """A service was busy or out of reach for a moment. The state machine asks again."""


class AccessDenied(PipelineError):
    """The function's role may not do what the stage needs."""


class UnexpectedAnswer(PipelineError):
    """A service answered what no stage can act on; the message holds the answer."""


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
    """A manifest is not what the stage that wrote it has returned the hash of."""


class LabelsInvalid(PipelineError):
    """The supplied labels cannot be read, or fit none of the job's photos."""


class LabellingFailed(PipelineError):
    """Ground Truth ended the labelling job as Failed, or labelled nothing."""


class LabellingStopped(PipelineError):
    """Somebody stopped the labelling job before it was done."""


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


def without_names(text: str) -> str:
    """``text`` with each object that people named told by its folder and job only."""
    return NAMED_OBJECT.sub(r"\1\2\3\2…", text)


def error_code(error: ClientError) -> str:
    """The service's name of the error, such as ``ResourceInUseException``."""
    return error.response.get("Error", {}).get("Code", "Unknown")


def named(error: ClientError | BotoCoreError) -> PipelineError:
    """Turn a botocore error that no stage handled into the error tree.

    Throttling and internal errors, which AWS says to retry (Rekognition Developer Guide, "Error handling"), and lost
    connections become `Throttled`, a denial `AccessDenied`, anything else `UnexpectedAnswer`.
    """
    if isinstance(error, ClientError):
        code = error_code(error)
        status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
        message = without_names(error.response.get("Error", {}).get("Message", ""))
        words = f"{error.operation_name} answered {code}: {message}"
        if code in TRANSIENT_CODES or status >= 500:
            return Throttled(words)
        if code in DENIED_CODES:
            return AccessDenied(f"{words.rstrip('. ')}. Give the function's role this permission, then resume the job.")
        return UnexpectedAnswer(words)
    if isinstance(error, (NoConnectionError, HTTPClientError)):
        return Throttled(f"The connection to the service was lost: {error}")
    return UnexpectedAnswer(str(error))
