"""The error tree: a cause says what an operator needs. It never names a photo or a labels file."""

import pytest
from botocore.exceptions import ClientError, ConnectTimeoutError, EndpointConnectionError, ParamValidationError

from pipeline.errors import (
    STOP_CAUSE,
    STOPPED,
    AccessDenied,
    Throttled,
    UnexpectedAnswer,
    as_pipeline_error,
    is_own_cause,
    own_error,
)

JOB = "ekyc-20261124015324-9f3c0a1b2c3d4e5f"
NAMES = ["jane-doe.jpg", "jane doe (1). front.jpg", 'jane\'s "id".png', "Ja\u0301ne.json", "…jane.jpg", "a\njane.jpg"]


@pytest.mark.parametrize("code", ["AccessDenied", "InternalError", "InvalidRequest"])
@pytest.mark.parametrize("name", NAMES)
def test_a_refusal_is_reported_without_awss_message(name: str, code: str) -> None:
    # Given S3's own message, which quotes the object's ARN
    message = (
        "User: arn:aws:sts::123456789012:assumed-role/check/run is not authorized to perform: s3:GetObject on "
        f'resource: "arn:aws:s3:::bucket/images/{JOB}/{name}" because no identity-based policy allows the action'
    )
    answer = {"Error": {"Code": code, "Message": message}, "ResponseMetadata": {"RequestId": "4442587FB7D0A2F9"}}
    # Then the cause has the operation, the code and the request, and none of the message
    cause = str(as_pipeline_error(ClientError(answer, "GetObject")))  # type: ignore[arg-type]
    assert cause.startswith(f"GetObject returned {code} (request 4442587FB7D0A2F9).")
    assert "ne" not in cause.replace("returned", "")
    assert "images" not in cause


def test_a_denial_names_the_call() -> None:
    denied = as_pipeline_error(ClientError({"Error": {"Code": "AccessDenied"}}, "GetObject"))
    assert isinstance(denied, AccessDenied)
    assert str(denied) == "GetObject returned AccessDenied."


@pytest.mark.parametrize("error", [EndpointConnectionError, ConnectTimeoutError])
def test_a_lost_connection_is_reported_without_the_objects_name(error: type[Exception]) -> None:
    # Given the address that botocore could not reach
    address = f"https://bucket.s3.amazonaws.com/images/{JOB}/jane%20doe.jpg?X-Amz-Signature=abc"
    lost = as_pipeline_error(error(endpoint_url=address, error="x"))  # type: ignore[arg-type]
    assert isinstance(lost, Throttled)
    assert str(lost) == f"The connection to bucket.s3.amazonaws.com was lost: {error.__name__}."


def test_a_call_that_botocore_refuses_is_named_without_arguments() -> None:
    refused = as_pipeline_error(ParamValidationError(report="Invalid type for parameter Key, value: images/j/jane.jpg"))
    assert isinstance(refused, UnexpectedAnswer)
    assert str(refused) == "The call could not be made: ParamValidationError."


@pytest.mark.parametrize("error", ["NotEnoughImages", "ModelRejected", "Sandbox.Timedout"])
def test_causes_of_the_pipeline_are_kept(error: str) -> None:
    cause = "3 of 4 photos can be used."
    assert is_own_cause(error, cause, is_stop=False)
    assert own_error(error, cause, is_stop=False) == error


@pytest.mark.parametrize("error", [None, "", "KeyError", "States.Runtime", "States.QueryEvaluationError", "by hand"])
def test_causes_of_other_writers_are_removed(error: str | None) -> None:
    cause = 'The path is not in the input {"key": "labels/j/jane.json"}.'
    assert not is_own_cause(error, cause, is_stop=False)
    is_known = not error or error.startswith("States.")
    assert own_error(error, cause, is_stop=False) == (error if is_known else "OtherError")


def test_of_a_stop_only_the_words_of_the_api_are_kept() -> None:
    assert is_own_cause(STOPPED, STOP_CAUSE, is_stop=True)
    assert own_error(STOPPED, STOP_CAUSE, is_stop=True) == STOPPED
    for error, cause in ((STOPPED, "Anna left."), ("PhotosChanged", STOP_CAUSE), ("States.Timeout", None)):
        assert not is_own_cause(error, cause, is_stop=True)
        assert own_error(error, cause, is_stop=True) == "OtherError"
