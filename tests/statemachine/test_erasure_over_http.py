"""Erasing jobs as clients meet it: through the gateway, on the deployed pipeline."""

from typing import Any

import httpx
import pytest
from deployed import Pipeline, eventually

from ekyc.localaws.services import rekognition

UNKNOWN = "ekyc-20200101000000-0000000000000000"


def erase(pipeline: Pipeline, job_id: str, who: str = "auditor") -> httpx.Response:
    """DELETE the job, signed by ``who``."""
    credential = f"{who}/20261124/us-east-1/execute-api/aws4_request"
    signature = f"AWS4-HMAC-SHA256 Credential={credential}, SignedHeaders=host, Signature=0"
    return pipeline.http.delete(f"jobs/{job_id}", headers={"Authorization": signature})


def arn(who: str) -> str:
    return f"arn:aws:iam::123456789012:user/{who}"


def erased(pipeline: Pipeline, job_id: str) -> dict[str, Any]:
    """The job once it is erased."""

    def there() -> dict[str, Any] | None:
        job = pipeline.job(job_id)
        return job if job["erasure"]["status"] == "Erased" else None

    return eventually(there)


def keys(pipeline: Pipeline, job_id: str) -> list[str]:
    """The keys of all objects that name the job."""
    pages = pipeline.aws.client("s3").get_paginator("list_objects_v2").paginate(Bucket=pipeline.outputs["BucketName"])
    return [entry["Key"] for page in pages for entry in page.get("Contents", []) if job_id in entry["Key"]]


def test_a_whole_job_is_erased_and_its_model_goes_on(pipeline: Pipeline) -> None:
    # Given a job whose photos people have labelled and whose model is live, and another with photos
    rekognition.current().learns = True
    job_id = pipeline.uploaded()
    other = pipeline.uploaded()
    pipeline.start(job_id)
    job = pipeline.reaches(job_id, "Ready")
    before, of_other = keys(pipeline, job_id), keys(pipeline, other)
    assert {key.split("/")[0] for key in before} >= {"images", "manifests", "labelling", "training"}
    # When its erasure is requested
    answer = erase(pipeline, job_id)
    # Then the answer comes before the work, and says who asked
    assert answer.status_code == 202, answer.text
    requested = answer.json()["erasure"]
    assert (requested["status"], requested["requestedBy"], requested["objects"]) == ("Requested", arn("auditor"), 0)
    # And soon the bucket has none of its objects, and the other job is unchanged
    shown = erased(pipeline, job_id)
    assert keys(pipeline, job_id) == []
    assert keys(pipeline, other) == of_other
    # And the record, alone and in the list, says by whom, when and how many
    erasure = shown["erasure"]
    assert erasure["requestedBy"] == arn("auditor")
    assert erasure["objects"] == len(before)
    assert job["endTime"] < erasure["requestedTime"] <= erasure["erasedTime"]
    assert {one["id"]: one.get("erasure") for one in pipeline.http.get("list").json()} == {job_id: erasure, other: None}
    assert shown["metrics"] == job["metrics"]
    # And Rekognition has deleted its datasets
    client = pipeline.aws.client("rekognition")
    assert eventually(
        lambda: not client.describe_projects(ProjectNames=[job_id])["ProjectDescriptions"][0]["Datasets"] or None
    )
    # But the model, which is no photo, finds documents still
    photo = pipeline.photos / pipeline.coco["images"][0]["file_name"]
    labels = client.detect_custom_labels(
        ProjectVersionArn=job["projectVersionArn"], Image={"Bytes": photo.read_bytes()}
    )["CustomLabels"]
    assert labels
    assert pipeline.parameters()["ModelParameter"] == job["projectVersionArn"]
    # And nothing is added to the job, and nothing runs for it
    for answer in (
        pipeline.http.get("url", params={"JobId": job_id, "S3Key": "a.jpg"}),
        pipeline.http.post(f"jobs/{job_id}/urls", json={"names": ["a.jpg"]}),
        pipeline.http.post(f"jobs/{job_id}/labels", json={"key": "annotations.json"}),
        pipeline.start(job_id),
        pipeline.http.post(f"jobs/{job_id}/resume"),
    ):
        assert answer.status_code == 409, answer.text
        assert "was erased" in answer.json()["detail"]
    # When a photo is uploaded through an earlier presigned URL, and another caller requests the erasure again
    late = f"images/{job_id}/late.jpg"
    pipeline.aws.client("s3").put_object(Bucket=pipeline.outputs["BucketName"], Key=late, Body=b"late")
    assert erase(pipeline, job_id, "second-auditor").status_code == 202
    # Then that is erased too, and both requests are kept
    again = erased(pipeline, job_id)["erasure"]
    assert keys(pipeline, job_id) == []
    assert again["objects"] == len(before) + 1
    assert [one["requestedBy"] for one in again["requests"]] == [arn("auditor"), arn("second-auditor")]
    # And no log line names a photo
    assert not [name for name in (path.name for path in pipeline.photos.glob("*.jpg")) if name in pipeline.logs()]


def test_a_running_job_is_refused_until_it_is_stopped(pipeline: Pipeline) -> None:
    # Given a job that waits for a training slot
    rekognition.current().max_trainings = 0
    job_id = pipeline.uploaded()
    pipeline.upload(job_id, pipeline.photos / "annotations.json")
    pipeline.start(job_id, labels={"provider": "supplied", "key": "annotations.json"}, deploy=False)
    pipeline.reaches(job_id, "Training")
    # Then it cannot be erased
    answer = erase(pipeline, job_id)
    assert answer.status_code == 409
    assert "Stop it first" in answer.json()["detail"]
    assert "erasure" not in pipeline.job(job_id)
    # When it is stopped, then it can
    assert pipeline.http.post(f"jobs/{job_id}/stop").status_code == 200
    assert erase(pipeline, job_id).status_code == 202
    shown = erased(pipeline, job_id)
    assert keys(pipeline, job_id) == []
    assert (shown["status"], shown["error"]) == ("Stopped", "StoppedByRequest")
    assert "cause" not in shown


def test_a_job_whose_training_goes_on_is_erased_after_it(pipeline: Pipeline) -> None:
    # Given a job that was stopped while Rekognition trains, which cannot be cancelled
    rekognition.current().training_seconds = 1800.0
    job_id = pipeline.uploaded()
    pipeline.upload(job_id, pipeline.photos / "annotations.json")
    pipeline.start(job_id, labels={"provider": "supplied", "key": "annotations.json"}, deploy=False)
    eventually(lambda: pipeline.job(job_id)["projectVersionArn"])
    assert pipeline.http.post(f"jobs/{job_id}/stop").json()["remaining"]
    # Then it cannot be erased, for the training will write to the bucket
    answer = erase(pipeline, job_id)
    assert answer.status_code == 409, answer.text
    assert "training is running" in answer.json()["detail"]
    # When the training has ended, then it can, with what the training wrote
    eventually(lambda: erase(pipeline, job_id).status_code == 202)
    erased(pipeline, job_id)
    assert keys(pipeline, job_id) == []


def test_a_job_that_was_never_started_is_erased(shared_pipeline: Pipeline) -> None:
    # Given photos of a job that is never started
    photo = sorted(shared_pipeline.photos.glob("*.jpg"))[0]
    job_id = shared_pipeline.uploaded(photo)
    # When it is erased
    assert erase(shared_pipeline, job_id).status_code == 202
    # Then its photo is gone, and it cannot be started
    assert erased(shared_pipeline, job_id)["erasure"]["objects"] == 1
    assert keys(shared_pipeline, job_id) == []
    assert shared_pipeline.start(job_id).status_code == 409


@pytest.mark.parametrize("job_id", [UNKNOWN, "not-a-job"])
def test_an_unknown_job_is_not_found(shared_pipeline: Pipeline, job_id: str) -> None:
    answer = erase(shared_pipeline, job_id)
    assert answer.status_code == 404
    assert job_id in answer.json()["detail"]


def test_an_erasure_needs_a_signature(shared_pipeline: Pipeline) -> None:
    job_id = shared_pipeline.http.post("create").json()["id"]
    answer = shared_pipeline.http.delete(f"jobs/{job_id}", headers={"X-User": "auditor"})
    assert answer.status_code == 403
    assert "Sign the request" in answer.json()["detail"]
    assert "erasure" not in shared_pipeline.job(job_id)
