"""The boto3 clients' settings, by the URLs that they presign and by what they ask again."""

import io
import json
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier, BrokenBarrierError
from typing import Any
from urllib.parse import urlsplit

import boto3
import botocore.endpoint
import pytest
from botocore.awsrequest import AWSResponse
from botocore.exceptions import ClientError

from pipeline.clients import Clients

PLACE = {"Bucket": "photos", "Key": "images/job/photo.jpg"}


@pytest.fixture
def s3(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> Any:
    """An S3 client in a Region other than the first, made with the given endpoint."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "testing")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-west-1")
    monkeypatch.delenv("AWS_ENDPOINT_URL", raising=False)
    if request.param:
        monkeypatch.setenv("AWS_ENDPOINT_URL", request.param)
    return Clients().s3


@pytest.mark.parametrize(
    ("s3", "start"),
    [
        # On AWS the Region's own host: the global one redirects, which an upload does not survive
        (None, "https://photos.s3.eu-west-1.amazonaws.com/images/job/photo.jpg"),
        # A bucket cannot be a subdomain of an address
        ("http://127.0.0.1:4566", "http://127.0.0.1:4566/photos/images/job/photo.jpg"),
    ],
    indirect=["s3"],
)
def test_a_presigned_url_names_the_host_that_takes_the_upload(s3: Any, start: str) -> None:
    url = urlsplit(s3.generate_presigned_url("put_object", Params=PLACE))
    assert f"{url.scheme}://{url.netloc}{url.path}" == start
    assert "X-Amz-Signature" in url.query


class Body(io.BytesIO):
    """A body as urllib3 hands it to botocore."""

    def stream(self) -> Any:
        yield self.read()


@pytest.mark.parametrize(
    ("code", "asked"),
    [
        # A quota in use stays so for hours: the state machine asks again, the SDK must not
        ("LimitExceededException", 1),
        ("ServiceQuotaExceededException", 1),
        # A rate that was exceeded is below its limit a moment later
        ("ThrottlingException", 4),
        ("ProvisionedThroughputExceededException", 4),
    ],
)
def test_throttles_of_rekognition_are_retried_but_not_quotas(
    monkeypatch: pytest.MonkeyPatch, code: str, asked: int
) -> None:
    # Given a Rekognition that always refuses
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "testing")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-west-1")
    monkeypatch.setattr(botocore.endpoint.time, "sleep", lambda _seconds: None)
    rekognition = Clients().rekognition
    urls = []

    def refuse(request: Any, **_: Any) -> AWSResponse:
        urls.append(request.url)
        return AWSResponse(request.url, 400, {}, Body(json.dumps({"__type": code, "Message": "no"}).encode()))

    rekognition.meta.events.register("before-send.rekognition", refuse)
    # When it is asked for a training
    with pytest.raises(ClientError, match=code):
        rekognition.create_project_version(
            ProjectArn="arn:aws:rekognition:eu-west-1:123456789012:project/job/1",
            VersionName="job",
            OutputConfig={"S3Bucket": "photos", "S3KeyPrefix": "training"},
        )
    # Then it was asked so often
    assert len(urls) == asked


def test_threads_make_one_client_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    # Given a boto3 that notes when two threads make a client at the same time
    barrier, met = Barrier(2), []

    def client(service: str, **_: Any) -> str:
        try:
            barrier.wait(timeout=1)
            met.append(service)
        except BrokenBarrierError:
            pass  # the other thread did not come
        return service

    monkeypatch.setattr(boto3, "client", client)
    # When two threads need a client each
    clients = Clients()
    with ThreadPoolExecutor(2) as threads:
        names = list(threads.map(lambda name: getattr(clients, name), ("s3", "ssm")))
    # Then each got its own, and the second was made after the first
    assert names == ["s3", "ssm"]
    assert met == []
