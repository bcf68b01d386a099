"""The HTTP API as clients meet it: through the gateway, on real S3 and DynamoDB."""

from datetime import UTC, datetime
from typing import Any

import boto3
import httpx
import pytest
from deployed import Pipeline

from ekyc.localaws import calls
from ekyc.localaws.services import gateway


def test_the_calls_of_existing_clients_work_as_they_always_did(shared_pipeline: Pipeline) -> None:
    # Given a client that knows query parameters and bare strings only
    http, photo = shared_pipeline.http, next(iter(sorted(shared_pipeline.photos.glob("*.jpg"))))
    # When it creates a job
    created = http.post("create").json()
    assert created["status"] == "Created"
    assert isinstance(created["startTime"], int)
    # And asks for a URL, which is a bare string, and puts a photo there
    url = http.get("url", params={"JobId": created["id"], "S3Key": photo.name})
    assert url.headers["content-type"].startswith("text/plain")
    assert httpx.put(url.text, content=photo.read_bytes()).status_code == 200
    # Then the photo is where the bucket's readers look, and the name cannot be used twice
    s3 = shared_pipeline.aws.client("s3")
    key = f"images/{created['id']}/{photo.name}"
    stored = s3.get_object(Bucket=shared_pipeline.outputs["BucketName"], Key=key)["Body"].read()
    assert stored == photo.read_bytes()
    assert http.get("url", params={"JobId": created["id"], "S3Key": photo.name}).status_code == 409
    # And starting answers the execution's ARN as a bare string, because the default provider has no labelling job
    started = http.post("start", params={"JobId": created["id"]})
    assert started.text == f"arn:aws:states:us-east-1:123456789012:execution:ekyc-training:{created['id']}"
    # And the list has the job, newest first, in the shape that clients read
    listed = http.get("list").json()
    assert listed[0]["id"] == created["id"]
    assert {"id", "startTime", "status", "detailedStatus", "labellingJobArn", "datasetArn", "projectArn"} <= set(
        listed[0]
    )
    assert [job["startTime"] for job in listed] == sorted((job["startTime"] for job in listed), reverse=True)


def test_a_job_starts_without_a_body(shared_pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch) -> None:
    # Given an API Gateway to which no body is none that fits a model
    validate = gateway._validate_body

    def refuse_none(body: bytes, schema: Any) -> None:
        if not body:
            raise gateway.Refused("BAD_REQUEST_BODY", 400, "Invalid request body")
        validate(body, schema)

    monkeypatch.setattr(gateway, "_validate_body", refuse_none)
    # When a job is started without a body, then it starts
    job_id = shared_pipeline.uploaded(next(iter(sorted(shared_pipeline.photos.glob("*.jpg")))))
    assert shared_pipeline.http.post("start", params={"JobId": job_id}).status_code == 200
    # And a call that needs a body is refused without one
    refused = shared_pipeline.http.post(f"jobs/{job_id}/labels")
    assert (refused.status_code, refused.json()["type"]) == (400, "urn:ekyc:problem:bad-request")


def test_a_list_reads_one_page_for_any_number_of_jobs(shared_pipeline: Pipeline) -> None:
    # Given a table of many more jobs than a page has
    created = shared_pipeline.http.post("create").json()["id"]
    name = shared_pipeline.outputs["JobsTable"]
    environment = shared_pipeline.aws.environment()
    table = boto3.resource(
        "dynamodb",
        endpoint_url=environment["AWS_ENDPOINT_URL"],
        region_name=environment["AWS_REGION"],
        aws_access_key_id=environment["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=environment["AWS_SECRET_ACCESS_KEY"],
    ).Table(name)
    record = table.get_item(Key={"Id": created})["Item"]
    long_ago = int(datetime(2020, 1, 1, tzinfo=UTC).timestamp() * 1000)
    with table.batch_writer() as batch:
        for number in range(250):
            batch.put_item(Item={**record, "Id": f"{created[:20]}{number:016x}", "StartTime": long_ago - number})
    # When a page is read, and the one after it
    with calls.recorded() as made:
        first = shared_pipeline.http.get("list")
        second = shared_pipeline.http.get("list", params={"nextToken": first.headers["X-Next-Token"]})
    # Then each is one Query, and goes on where the other ended
    asked = [call for call in made if "httpMethod" in (call.invocation.event or {})]
    assert [(call.operation, call.parameters["Limit"]) for call in asked] == [("Query", 100), ("Query", 100)]
    times = [job["startTime"] for answer in (first, second) for job in answer.json()]
    assert len(times) == 200
    assert times == sorted(times, reverse=True)
