"""The HTTP API as clients meet it: through the gateway, on real S3 and DynamoDB."""

import json
from typing import Any

import httpx
import pytest
from deployed import Pipeline


@pytest.mark.parametrize(
    ("method", "path", "options", "status", "words"),
    [
        ("GET", "jobs/ekyc-20200101000000-0000000000000000", {}, 404, "ekyc-20200101000000-0000000000000000"),
        (
            "GET",
            "url",
            {"params": {"JobId": "ekyc-20200101000000-0000000000000000", "S3Key": "a.jpg"}},
            404,
            "ekyc-2020",
        ),
        ("GET", "url", {"params": {"S3Key": "a.jpg"}}, 400, "JobId"),
        ("GET", "url", {"params": {"JobId": "{job}"}}, 400, "S3Key"),
        ("GET", "url", {"params": {"JobId": "{job}", "S3Key": "../secrets.jpg"}}, 400, "../secrets.jpg"),
        ("GET", "url", {"params": {"JobId": "{job}", "S3Key": "folder/a.jpg"}}, 400, "folder/a.jpg"),
        ("POST", "start", {}, 400, "JobId"),
        ("POST", "start", {"params": {"JobId": "{job}"}}, 422, "photo"),
        ("POST", "start", {"params": {"JobId": "{job}"}, "content": b"{"}, 400, "JSON"),
        ("POST", "start", {"params": {"JobId": "{job}"}, "json": {"minF1": 2}}, 400, "minF1"),
        ("POST", "jobs/{job}/urls", {"json": {"names": ["a.jpg", "a.jpg"]}}, 400, "a.jpg"),
        ("POST", "jobs/{job}/labels", {"json": {"key": "labels.json"}}, 409, "wait"),
        ("POST", "jobs/{job}/stop", {}, 409, "start"),
        ("GET", "jobs/{job}/stop", {}, 404, "call"),
        ("DELETE", "nothing/here", {}, 404, "call"),
        ("POST", "jobs/{job}/resume", {}, 409, "start"),
    ],
)
def test_a_clients_mistake_is_answered_in_words(
    shared_pipeline: Pipeline, method: str, path: str, options: dict[str, Any], status: int, words: str
) -> None:
    # Given a job with no photos
    http = shared_pipeline.http
    job_id = http.post("create").json()["id"]
    filled = json.loads(json.dumps({"path": path, "params": options.get("params", {})}).replace("{job}", job_id))
    # When a call is wrong
    answer = http.request(method, filled["path"], **(options | {"params": filled["params"]}))
    # Then the answer is a problem of the right status, which says what was wrong
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    problem = answer.json()
    assert problem["status"] == status
    assert words.replace("{job}", job_id) in problem["detail"]
    assert "Traceback" not in answer.text
    # And the job is as it was
    assert http.get(f"jobs/{job_id}").json()["status"] == "Created"


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
    # And starting answers the labelling job's ARN as a bare string
    started = http.post("start", params={"JobId": created["id"]})
    assert started.text == f"arn:aws:sagemaker:us-east-1:123456789012:labeling-job/{created['id']}-1"
    # And the list has the job, newest first, in the shape that clients read
    listed = http.get("list").json()
    assert listed[0]["id"] == created["id"]
    assert {"id", "startTime", "status", "detailedStatus", "labellingJobArn", "datasetArn", "projectArn"} <= set(
        listed[0]
    )
    assert [job["startTime"] for job in listed] == sorted((job["startTime"] for job in listed), reverse=True)
