"""Presigned URLs of the local AWS: S3 takes them only as they were signed."""

from typing import Any

import boto3
import httpx
import pytest
from botocore.config import Config

from ekyc.localaws import aws
from ekyc.localaws.server import LocalAws

BUCKET = "photos"
SIGNED = {"ContentType": "image/jpeg", "ContentLength": 3, "IfNoneMatch": "*", "Metadata": {"sha256": "0a"}}
SENT = {"Content-Type": "image/jpeg", "If-None-Match": "*", "x-amz-meta-sha256": "0a"}


@pytest.fixture
def s3(empty_aws: LocalAws) -> Any:
    """A client of the local AWS with an empty bucket, which signs as the pipeline's functions do."""
    s3 = boto3.client(
        "s3",
        endpoint_url=empty_aws.endpoint,
        aws_access_key_id=aws.ACCESS_KEY,
        aws_secret_access_key=aws.SECRET_KEY,
        aws_session_token="a token/+=",
        region_name=aws.region,
        config=Config(signature_version="v4"),
    )
    s3.create_bucket(Bucket=BUCKET)
    return s3


def presigned(s3: Any, key: str, **signed: Any) -> str:
    url: str = s3.generate_presigned_url("put_object", Params={"Bucket": BUCKET, "Key": key, **signed})
    return url


@pytest.mark.parametrize("key", ["a.jpg", "images/j/\u00e4 (1)+~&=%.jpg", "\u65e5\u672c/\U0001f600.png"])
def test_a_url_that_is_used_as_signed_is_taken(s3: Any, key: str) -> None:
    put = httpx.put(presigned(s3, key, **SIGNED), headers=SENT | {"X-Other": "is not signed"}, content=b"abc")
    assert put.status_code == 200, put.text
    got = s3.get_object(Bucket=BUCKET, Key=key)
    assert (got["Body"].read(), got["ContentType"], got["Metadata"]) == (b"abc", "image/jpeg", {"sha256": "0a"})
    read = s3.generate_presigned_url("get_object", Params={"Bucket": BUCKET, "Key": key, "ResponseExpires": "1"})
    assert httpx.get(read).content == b"abc"


def test_an_empty_file_can_be_signed(s3: Any) -> None:
    url = presigned(s3, "a.jpg", ContentType="image/jpeg", ContentLength=0)
    headers = {"Content-Type": "image/jpeg"}
    assert httpx.put(url, headers=headers, content=b"abc").status_code == 403
    assert httpx.put(url, headers=headers, content=b"").status_code == 200


@pytest.mark.parametrize(
    ("headers", "content"),
    [
        (SENT | {"Content-Type": "text/html"}, b"abc"),
        (SENT | {"If-None-Match": "x"}, b"abc"),
        (SENT | {"x-amz-meta-sha256": "0b"}, b"abc"),
        ({name: value for name, value in SENT.items() if name != "Content-Type"}, b"abc"),
        (SENT, b"abcd"),
        (SENT, b""),
    ],
)
def test_a_url_that_is_used_otherwise_is_refused(s3: Any, headers: dict[str, str], content: bytes) -> None:
    refused = httpx.put(presigned(s3, "a.jpg", **SIGNED), headers=headers, content=content)
    assert refused.status_code == 403
    assert "<Code>SignatureDoesNotMatch</Code>" in refused.text
    assert "Contents" not in s3.list_objects_v2(Bucket=BUCKET)


@pytest.mark.parametrize("name", ["x-amz-meta-more", "X-Amz-Tagging", "x-amz-checksum-sha256", "x-amz-acl"])
def test_a_header_of_aws_that_was_not_signed_is_refused(s3: Any, name: str) -> None:
    # When a URL is used with a header of AWS's that it does not cover, by a PUT or a GET
    sent = SENT | {name: "a"}
    refused = httpx.put(presigned(s3, "a.jpg", **SIGNED), headers=sent, content=b"abc")
    # Then S3 names the header
    assert refused.status_code == 403
    assert "<Code>AccessDenied</Code>" in refused.text
    assert "There were headers present in the request which were not signed" in refused.text
    assert f"<HeadersNotSigned>{name.lower()}</HeadersNotSigned>" in refused.text
    assert "Contents" not in s3.list_objects_v2(Bucket=BUCKET)
    url = s3.generate_presigned_url("list_objects_v2", Params={"Bucket": BUCKET})
    assert (httpx.get(url).status_code, httpx.get(url, headers={name: "a"}).status_code) == (200, 403)


@pytest.mark.parametrize(
    ("old", "new"), [("a.jpg", "b.jpg"), ("X-Amz-Expires=3600", "X-Amz-Expires=86400"), ("%3Bif-none-match", "")]
)
def test_a_url_that_was_altered_is_refused(s3: Any, old: str, new: str) -> None:
    url = presigned(s3, "a.jpg", **SIGNED)
    assert httpx.put(url.replace(old, new), headers=SENT, content=b"abc").status_code == 403
    assert "Contents" not in s3.list_objects_v2(Bucket=BUCKET)


@pytest.mark.parametrize(("secret", "status"), [(aws.SECRET_KEY, 200), ("another", 403)])
def test_a_url_of_signature_version_2_is_held_to_it(empty_aws: LocalAws, s3: Any, secret: str, status: int) -> None:
    # Given a URL as boto3 signs it by default, with the right or another secret
    signer = boto3.client(
        "s3",
        endpoint_url=empty_aws.endpoint,
        aws_access_key_id=aws.ACCESS_KEY,
        aws_secret_access_key=secret,
        region_name=aws.region,
        config=Config(signature_version="s3"),
    )
    url = presigned(signer, "images/j/a (1)+\u00e4.jpg", ContentType="image/jpeg")
    assert "AWSAccessKeyId=" in url
    # When it is used as signed; Then the signature decides
    assert httpx.put(url, headers={"Content-Type": "image/jpeg"}, content=b"abc").status_code == status
    # And never when it is used otherwise
    assert httpx.put(url, headers={"Content-Type": "text/html"}, content=b"abc").status_code == 403
    assert httpx.put(url.replace("/j/", "/k/"), headers={"Content-Type": "image/jpeg"}).status_code == 403


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("X-Amz-Signature=", "X-Amz-Sign%61ture=0"),
        ("X-Amz-Credential=", "X-Amz-Credential=AKIAX%2F20261130%2Fus-east-1%2Fs3%2Faws4_request&X-Amz-Credential="),
        ("X-Amz-Signature=", "X-Amz-Signature=0&X-Amz-Signature="),
    ],
)
def test_no_spelling_of_the_query_hides_a_signature(s3: Any, old: str, new: str) -> None:
    url = presigned(s3, "a.jpg", **SIGNED)
    assert httpx.put(url.replace(old, new), headers=SENT, content=b"abc").status_code == 403
    assert "Contents" not in s3.list_objects_v2(Bucket=BUCKET)


@pytest.mark.parametrize("version", ["s3", "v4"])
def test_a_bucket_may_be_listed_by_a_url(empty_aws: LocalAws, s3: Any, version: str) -> None:
    signer = boto3.client(
        "s3",
        endpoint_url=empty_aws.endpoint,
        aws_access_key_id=aws.ACCESS_KEY,
        aws_secret_access_key=aws.SECRET_KEY,
        region_name=aws.region,
        config=Config(signature_version=version),
    )
    url = signer.generate_presigned_url("list_objects_v2", Params={"Bucket": BUCKET})
    assert httpx.get(url).status_code == 200


def test_a_url_of_another_key_is_taken(s3: Any, empty_aws: LocalAws) -> None:
    # The local AWS takes calls with any key, and knows no secret of theirs.
    other_client = boto3.client(
        "s3",
        endpoint_url=empty_aws.endpoint,
        aws_access_key_id="AKIAIOSFODNN7EXAMPLE",
        aws_secret_access_key="another",
        region_name=aws.region,
        config=Config(signature_version="v4"),
    )
    assert httpx.put(presigned(other_client, "a.jpg"), content=b"abc").status_code == 200
