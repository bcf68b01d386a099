"""The error tree: a cause says what an operator needs, and names no photo and no labels file, whoever wrote it."""

import pytest
from botocore.exceptions import ClientError, ConnectTimeoutError, EndpointConnectionError

from pipeline.errors import AccessDenied, DatasetFailed, Throttled, UnexpectedAnswer, named

JOB = "ekyc-20261124015324-9f3c0a1b2c3d4e5f"


@pytest.mark.parametrize("folder", ["images", "upright", "labels"])
@pytest.mark.parametrize("name", ["jane-doe.jpg", "jane doe (1). front.jpg", 'jane\'s "id".png', "Ja\u0301ne.json"])
def test_a_denial_tells_the_resource_without_its_name(folder: str, name: str) -> None:
    # Given S3's own message, which quotes the object's ARN
    message = (
        "User: arn:aws:sts::123456789012:assumed-role/check/run is not authorized to perform: s3:GetObject on "
        f'resource: "arn:aws:s3:::bucket/{folder}/{JOB}/{name}" because no identity-based policy allows the action'
    )
    denied = named(ClientError({"Error": {"Code": "AccessDenied", "Message": message}}, "GetObject"))
    # Then the cause has all of it but the name
    assert isinstance(denied, AccessDenied)
    assert f'resource: "arn:aws:s3:::bucket/{folder}/{JOB}/…" because no identity-based policy' in str(denied)
    assert str(denied).endswith("Give the function's role this permission, then resume the job.")
    assert name not in str(denied)
    assert "jpg" not in str(denied)


def test_a_name_that_nothing_ends_takes_the_rest_of_its_line() -> None:
    denied = named(
        ClientError({"Error": {"Code": "AccessDenied", "Message": f"No s3://b/images/{JOB}/jane doe. id.jpg"}}, "X")
    )
    assert str(denied) == (
        f"X answered AccessDenied: No s3://b/images/{JOB}/…. Give the function's role this permission, then resume the "
        "job."
    )


@pytest.mark.parametrize("error", [EndpointConnectionError, ConnectTimeoutError])
def test_a_lost_connection_is_told_without_the_objects_name(error: type[Exception]) -> None:
    # Given the address that botocore could not reach
    address = f"https://bucket.s3.amazonaws.com/images/{JOB}/jane%20doe.jpg?X-Amz-Signature=abc"
    lost = named(error(endpoint_url=address, error="x"))  # type: ignore[arg-type]
    assert isinstance(lost, Throttled)
    assert "bucket.s3.amazonaws.com" in str(lost)
    assert "jane" not in str(lost)
    assert "Signature" not in str(lost)


def test_our_own_causes_lose_names_too() -> None:
    failed = DatasetFailed(f"Rekognition says: s3://b/upright/{JOB}/jane.jpg is no photo.")
    assert str(failed) == f"Rekognition says: s3://b/upright/{JOB}/…"


@pytest.mark.parametrize(
    "cause",
    [
        f"s3://b/manifests/{JOB}/rejected.jsonl lists each with its reason.",
        "3 of 4 photos can be used; images/labels are there.",
        f"s3://b/labelling/{JOB}/output/manifest is gone.",
    ],
)
def test_what_we_named_ourselves_stays(cause: str) -> None:
    assert str(UnexpectedAnswer(cause)) == cause
