"""The HTTP API as clients meet it: through the gateway, on real S3 and DynamoDB."""

import httpx
from deployed import Pipeline


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
