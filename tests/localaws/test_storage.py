"""The local S3's metadata of objects: checksums, and ETags that do not depend on the content under KMS encryption."""

from __future__ import annotations

import base64
import hashlib
from typing import Any

import httpx
import pytest
from botocore.exceptions import ClientError

from ekyc.localaws.clock import clock
from ekyc.localaws.server import LocalAws

BUCKET = "storage"


@pytest.fixture
def s3(local_aws: LocalAws) -> Any:
    local_aws.reset()
    client = local_aws.client("s3")
    client.create_bucket(Bucket=BUCKET)
    return client


def encrypt(s3: Any, algorithm: str) -> None:
    rule = {"ApplyServerSideEncryptionByDefault": {"SSEAlgorithm": algorithm}}
    s3.put_bucket_encryption(Bucket=BUCKET, ServerSideEncryptionConfiguration={"Rules": [rule]})


def put(s3: Any, key: str, body: bytes) -> dict[str, Any]:
    """Upload as a client does that has no SDK: through a presigned URL and without a checksum."""
    url = s3.generate_presigned_url("put_object", Params={"Bucket": BUCKET, "Key": key})
    assert httpx.put(url, content=body).status_code == 200
    return s3.head_object(Bucket=BUCKET, Key=key, ChecksumMode="ENABLED")


def test_an_upload_without_a_checksum_gets_crc64nvme(s3: Any) -> None:
    # Given the check value of the CRC catalogue: CRC-64/NVME of "123456789"
    expected = base64.b64encode(0xAE8B14860A799888.to_bytes(8, "big")).decode()
    # When it is uploaded; Then S3 has it, and the ETag is the MD5
    head = put(s3, "a", b"123456789")
    assert head["ChecksumCRC64NVME"] == expected
    assert head["ETag"] == f'"{hashlib.md5(b"123456789").hexdigest()}"'  # noqa: S324


def test_the_uploads_own_checksum_is_stored(s3: Any) -> None:
    s3.put_object(Bucket=BUCKET, Key="a", Body=b"123456789", ChecksumAlgorithm="CRC32")
    head = s3.head_object(Bucket=BUCKET, Key="a", ChecksumMode="ENABLED")
    assert head["ChecksumCRC32"] == base64.b64encode(0xCBF43926.to_bytes(4, "big")).decode()
    assert "ChecksumCRC64NVME" not in head


@pytest.mark.parametrize("algorithm", ["aws:kms", "aws:kms:dsse"])
def test_with_kms_equal_objects_share_a_checksum_but_no_etag(s3: Any, algorithm: str) -> None:
    # Given a bucket that KMS encrypts; When the same content is uploaded twice
    encrypt(s3, algorithm)
    one, other = put(s3, "a", b"same"), put(s3, "b", b"same")
    # Then the ETags differ, stay as they are, and serve conditions; the checksums are equal
    assert one["ServerSideEncryption"] == algorithm
    assert one["ETag"] != other["ETag"]
    assert one["ChecksumCRC64NVME"] == other["ChecksumCRC64NVME"]
    assert s3.get_object(Bucket=BUCKET, Key="a", IfMatch=one["ETag"], Range="bytes=0-1")["Body"].read() == b"sa"
    [listed, _] = s3.list_objects_v2(Bucket=BUCKET)["Contents"]
    assert listed["ETag"] == one["ETag"]


@pytest.mark.parametrize("algorithm", ["AES256", "aws:kms"])
def test_an_upload_in_parts_is_dated_by_its_beginning(s3: Any, algorithm: str) -> None:
    # Given an upload in parts that has begun, before another object is written
    encrypt(s3, algorithm)
    begun = s3.create_multipart_upload(Bucket=BUCKET, Key="parts")
    upload = {"Bucket": BUCKET, "Key": "parts", "UploadId": begun["UploadId"]}
    clock.sleep(2)  # S3 tells times in seconds
    between = put(s3, "between", b"one PUT")
    # When it is completed
    parts = [{"PartNumber": 1, "ETag": s3.upload_part(**upload, PartNumber=1, Body=b"part")["ETag"]}]
    s3.complete_multipart_upload(**upload, MultipartUpload={"Parts": parts})
    # Then S3 has it as older than the other, and its ETag says that it came in parts
    head = s3.head_object(Bucket=BUCKET, Key="parts")
    [listed] = s3.list_objects_v2(Bucket=BUCKET, Prefix="parts")["Contents"]
    assert head["LastModified"] == listed["LastModified"] < between["LastModified"]
    assert (head["ETag"][-3:], "-" in between["ETag"]) == ('-1"', False)


def test_content_that_is_not_that_of_its_sha256_is_refused(s3: Any) -> None:
    whole = base64.b64encode(hashlib.sha256(b"whole").digest()).decode()
    with pytest.raises(ClientError, match="BadDigest"):
        s3.put_object(Bucket=BUCKET, Key="photo", Body=b"cut", ChecksumSHA256=whole)
    assert "Contents" not in s3.list_objects_v2(Bucket=BUCKET)
