"""The boto3 clients' settings, by the URLs that they presign."""

from typing import Any
from urllib.parse import urlsplit

import pytest

from pipeline import aws

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
    return aws.client("s3")


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
