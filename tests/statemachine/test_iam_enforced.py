"""A permission that a role lacks fails the job on the local AWS as it would on AWS."""

import copy
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import boto3
import httpx
import pytest
from botocore.config import Config
from deployed import Pipeline, deployed, eventually
from test_told_and_watched import Listener

from ekyc.localaws import aws
from ekyc.localaws.server import LocalAws


@pytest.fixture
def pipeline(local_aws: LocalAws, assembly: Path, photos: Path) -> Iterator[Pipeline]:
    with deployed(local_aws, assembly, photos) as running:
        yield running


def function_of(aws: LocalAws, service: str) -> dict[str, Any]:
    """The function with this Powertools service name."""
    functions = aws.client("lambda").list_functions()["Functions"]
    (function,) = (one for one in functions if one["Environment"]["Variables"]["POWERTOOLS_SERVICE_NAME"] == service)
    return dict(function)


def take_permission(aws: LocalAws, service: str, action: str) -> Callable[[], None]:
    """Take an action from the role of the function of this service, wherever it stands; the result gives it back."""
    iam, role = aws.client("iam"), function_of(aws, service)["Role"].rpartition("/")[2]
    before = {
        name: iam.get_role_policy(RoleName=role, PolicyName=name)["PolicyDocument"]
        for name in iam.list_role_policies(RoleName=role)["PolicyNames"]
    }

    def put(documents: dict[str, Any]) -> None:
        for name, document in documents.items():
            iam.put_role_policy(RoleName=role, PolicyName=name, PolicyDocument=json.dumps(document))

    after = copy.deepcopy(before)
    for statement in (one for document in after.values() for one in document["Statement"]):
        actions = statement["Action"] if isinstance(statement["Action"], list) else [statement["Action"]]
        statement["Action"] = [one for one in actions if one != action] or ["none:None"]
    put(after)
    return lambda: put(before)


def test_a_missing_permission_fails_the_job_by_name(pipeline: Pipeline) -> None:
    # Given a stage whose role may not read photos
    take_permission(pipeline.aws, "CheckPhotos", "s3:GetObject")
    # When a job runs
    job_id = pipeline.uploaded()
    pipeline.start(job_id)
    job = pipeline.reaches(job_id, "Failed")
    # Then it fails at that stage, and the cause says which call was denied
    assert job["error"] == "AccessDenied"
    assert job["cause"].startswith("GetObject returned AccessDenied")


def test_a_denied_event_neither_stops_nor_repeats_a_message(pipeline: Pipeline) -> None:
    # Given functions that may not put events on the bus
    listener, functions = Listener(pipeline), pipeline.aws.client("lambda")
    restores = [take_permission(pipeline.aws, name, "events:PutEvents") for name in ("RecordOutcome", "SettleJob")]

    def settle() -> bool:
        """Invoke the function as its schedule does; whether it came through."""
        name = function_of(pipeline.aws, "SettleJob")["FunctionName"]
        return "FunctionError" not in functions.invoke(FunctionName=name, Payload="{}")

    # When a job fails, all tries of its outcome's function are over, and the schedule looks three times
    job_id = pipeline.uploaded(*sorted(pipeline.photos.glob("*.jpg"))[:1])
    pipeline.start(job_id)
    pipeline.reaches(job_id, "Failed")
    queue = function_of(pipeline.aws, "RecordOutcome")["DeadLetterConfig"]["TargetArn"].rpartition(":")[2]
    sqs = pipeline.aws.client("sqs")
    address = sqs.get_queue_url(QueueName=queue)["QueueUrl"]
    eventually(lambda: sqs.receive_message(QueueUrl=address).get("Messages"))
    assert [settle() for _ in range(3)] == [False] * 3
    # Then the message was sent once, and the event was not
    assert len(listener.messages()) == 1
    assert listener.events() == {}
    # And after the permission is given, the event is sent once
    for restore in restores:
        restore()
    assert [settle() for _ in range(2)] == [True] * 2
    assert listener.event("Training Job Failed")["detail"]["jobId"] == job_id
    assert (len(listener.arrived), len(listener.messages())) == (1, 1)


@pytest.mark.parametrize("version", ["s3", "v4"])
def test_a_role_signs_no_more_than_it_may_do(pipeline: Pipeline, version: str) -> None:
    # Given a URL that is signed with the key of a function which may not write photos
    name = function_of(pipeline.aws, "PublishModel")["FunctionName"]
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


@pytest.mark.parametrize("folder", ["manifests", "upright", "labelling", "training"])
def test_the_buckets_policy_keeps_others_from_what_decides(pipeline: Pipeline, folder: str) -> None:
    # Given a role that may write to the whole bucket
    function = function_of(pipeline.aws, "Api")
    bucket = pipeline.outputs["BucketName"]
    may = {"Effect": "Allow", "Action": "s3:PutObject", "Resource": f"arn:aws:s3:::{bucket}/*"}
    role = function["Role"].rpartition("/")[2]
    pipeline.aws.client("iam").put_role_policy(
        RoleName=role, PolicyName="all", PolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": [may]})
    )
    signer = boto3.client(
        "s3",
        endpoint_url=pipeline.aws.endpoint,
        aws_access_key_id=function["FunctionName"],
        aws_secret_access_key=aws.FUNCTION_SECRET_KEY,
        region_name=aws.region,
    )

    def put(key: str) -> httpx.Response:
        url = signer.generate_presigned_url("put_object", Params={"Bucket": bucket, "Key": key})
        return httpx.put(url, content=b"x")

    # When it writes there, then the bucket's policy denies it, and elsewhere nothing does
    refused = put(f"{folder}/job/output.manifest")
    assert (refused.status_code, "with an explicit deny in a resource-based policy" in refused.text) == (403, True)
    assert put("images/job/a.jpg").status_code == 200


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
