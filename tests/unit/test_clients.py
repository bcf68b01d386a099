"""The boto3 clients' settings, by the URLs that they presign and by what they ask again."""

import io
import json
import os
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from pathlib import Path
from threading import Barrier, BrokenBarrierError
from typing import Any
from urllib.parse import urlsplit

import boto3
import botocore.endpoint
import pytest
from botocore.awsrequest import AWSResponse
from botocore.exceptions import ClientError

from pipeline.clients import CONFIG, Clients

PLACE = {"Bucket": "photos", "Key": "images/job/photo.jpg"}


@pytest.fixture
def account(monkeypatch: pytest.MonkeyPatch) -> None:
    """Credentials, and a Region other than the first."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "testing")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-west-1")
    monkeypatch.delenv("AWS_ENDPOINT_URL", raising=False)


@pytest.fixture
def s3(account: None, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> Any:
    """An S3 client made with the given endpoint."""
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
    account: None, monkeypatch: pytest.MonkeyPatch, code: str, asked: int
) -> None:
    # Given a Rekognition that always refuses
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

    def client(_session: boto3.Session, service: str, **_: Any) -> str:
        try:
            barrier.wait(timeout=1)
            met.append(service)
        except BrokenBarrierError:
            pass  # the other thread did not come
        return service

    monkeypatch.setattr(boto3.Session, "client", client)
    # When two threads need a client each
    clients = Clients()
    with ThreadPoolExecutor(2) as threads:
        names = list(threads.map(lambda name: getattr(clients, name), ("s3", "ssm")))
    # Then each got its own, and the second was made after the first
    assert names == ["s3", "ssm"]
    assert met == []


SERVICES = [name for name, made in vars(Clients).items() if isinstance(made, cached_property) and name[0] != "_"]


@pytest.mark.parametrize("name", SERVICES)
def test_a_client_is_the_one_that_boto3_makes(account: None, name: str) -> None:
    # Given boto3's own client of the service
    usual = boto3.Session().client(name.rstrip("_"), config=CONFIG)
    # When a function makes its client
    client = getattr(Clients(), name)
    # Then it has the same operations and shapes, lists the same by pages, and calls the same host
    model, usual_model = client.meta.service_model, usual.meta.service_model
    assert model.operation_names == usual_model.operation_names
    assert {shape: model.shape_for(shape).metadata for shape in model.shape_names} == {
        shape: usual_model.shape_for(shape).metadata for shape in usual_model.shape_names
    }
    operations = list(usual.meta.method_to_api_mapping)
    assert [client.can_paginate(name) for name in operations] == [usual.can_paginate(name) for name in operations]
    assert client.meta.endpoint_url == usual.meta.endpoint_url


def test_a_client_reads_the_folders_of_its_own_service(account: None, monkeypatch: pytest.MonkeyPatch) -> None:
    # Given a count of the folders that Python lists
    listed, list_folder = [], os.listdir
    monkeypatch.setattr(os, "listdir", lambda path=".": listed.append(str(path)) or list_folder(path))
    # When a function makes a client
    assert Clients().dynamodb
    # Then no folder of another service was listed
    folders = [Path(path) for path in listed if "botocore/data/" in path]
    assert folders
    assert {folder.name for folder in folders} == {"dynamodb"}
