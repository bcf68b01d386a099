"""A permission that a role lacks fails the job on the local AWS as it would on AWS."""

import json
from collections.abc import Iterator
from pathlib import Path

import boto3
import httpx
import pytest
from botocore.config import Config
from deployed import Pipeline, deployed

from ekyc.localaws import aws
from ekyc.localaws.server import LocalAws


@pytest.fixture
def pipeline(local_aws: LocalAws, assembly: Path, photos: Path) -> Iterator[Pipeline]:
    with deployed(local_aws, assembly, photos) as running:
        yield running


def take_permission(aws: LocalAws, service: str, action: str) -> None:
    """Take an action from the role of the function with this Powertools service name, wherever it stands."""
    functions = aws.client("lambda").list_functions()["Functions"]
    (function,) = (one for one in functions if one["Environment"]["Variables"]["POWERTOOLS_SERVICE_NAME"] == service)
    iam, role = aws.client("iam"), function["Role"].rpartition("/")[2]
    for name in iam.list_role_policies(RoleName=role)["PolicyNames"]:
        document = iam.get_role_policy(RoleName=role, PolicyName=name)["PolicyDocument"]
        for statement in document["Statement"]:
            actions = statement["Action"] if isinstance(statement["Action"], list) else [statement["Action"]]
            statement["Action"] = [one for one in actions if one != action] or ["none:None"]
        iam.put_role_policy(RoleName=role, PolicyName=name, PolicyDocument=json.dumps(document))


def test_a_missing_permission_fails_the_job_by_name(pipeline: Pipeline) -> None:
    # Given a stage whose role may not read photos
    take_permission(pipeline.aws, "CheckImages", "s3:GetObject")
    # When a job runs
    job_id = pipeline.uploaded()
    pipeline.start(job_id)
    job = pipeline.reaches(job_id, "Failed")
    # Then it fails at that stage, and the cause says which call was denied
    assert job["error"] == "AccessDenied"
    assert job["cause"].startswith("GetObject answered AccessDenied")


@pytest.mark.parametrize("version", ["s3", "v4"])
def test_a_role_signs_no_more_than_it_may_do(pipeline: Pipeline, version: str) -> None:
    # Given a URL that is signed with the key of a function which may not write photos
    functions = pipeline.aws.client("lambda").list_functions()["Functions"]
    (name,) = (one["FunctionName"] for one in functions if "PublishModel" in one["FunctionName"])
    signer = boto3.client(
        "s3",
        endpoint_url=pipeline.aws.endpoint,
        aws_access_key_id=name,
        aws_secret_access_key=aws.FUNCTION_SECRET_KEY,
        region_name=aws.region,
        config=Config(signature_version=version),
    )
    place = {"Bucket": pipeline.outputs["BucketName"], "Key": "images/a.jpg"}
    # When it is used, then S3 denies it
    answer = httpx.put(signer.generate_presigned_url("put_object", Params=place), content=b"x")
    assert (answer.status_code, "<Code>AccessDenied</Code>" in answer.text) == (403, True)


def test_an_upload_needs_the_signers_permission(pipeline: Pipeline) -> None:
    # Given an upload URL that the API signed, before its role lost the permission to write photos
    job_id = pipeline.http.post("create").json()["id"]
    target = pipeline.http.post(f"jobs/{job_id}/urls", json={"names": ["a.jpg"]}).json()["a.jpg"]
    take_permission(pipeline.aws, "Api", "s3:PutObject")
    # When the URL is used
    answer = httpx.put(target["url"], content=b"x", headers=target["headers"])
    # Then S3 denies it
    assert answer.status_code == 403
    assert "<Code>AccessDenied</Code>" in answer.text
    assert not pipeline.aws.client("s3").list_objects_v2(Bucket=target["url"].split("/")[3])["KeyCount"]
