"""What was checked is what is trained on: photos and labels that are replaced after the start, over HTTP."""

import hashlib
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from deployed import TYPES, Pipeline, eventually
from PIL import Image
from test_iam_enforced import take_permission
from test_stop_and_resume import held

from ekyc.localaws.clock import clock
from ekyc.localaws.services import rekognition

MB = 1024 * 1024
SUPPLIED = {"provider": "supplied"}


def legacy_url(pipeline: Pipeline, job_id: str, name: str) -> str:
    """A URL as existing clients get it, which takes any number of PUTs for 15 minutes."""
    answer = pipeline.http.get("url", params={"JobId": job_id, "S3Key": name})
    assert answer.status_code == 200, answer.text
    return answer.text


def uploaded_by_legacy_urls(pipeline: Pipeline, *files: Path) -> tuple[str, dict[str, str]]:
    """A job with ``files``, and the URLs by which they were uploaded."""
    job_id = pipeline.http.post("create").json()["id"]
    urls = {path.name: legacy_url(pipeline, job_id, path.name) for path in files}
    for path in files:
        put(urls[path.name], path.read_bytes())
    return job_id, urls


def put(url: str, content: bytes, **headers: str) -> None:
    assert httpx.put(url, content=content, headers=headers).status_code == 200


def other_photo(folder: Path, size: tuple[int, int]) -> bytes:
    """A good photo that is none of the job's."""
    path = folder / "other.jpg"
    Image.new("RGB", size, (200, 10, 10)).save(path)
    return path.read_bytes()


def waits_for_labels(pipeline: Pipeline) -> tuple[str, dict[str, str], list[Path]]:
    """A started job whose photos are checked and that waits for its labels."""
    photos = sorted(pipeline.photos.glob("*.jpg"))
    job_id, urls = uploaded_by_legacy_urls(pipeline, *photos)
    assert pipeline.start(job_id, labels=SUPPLIED, deploy=False).status_code == 200
    pipeline.reaches(job_id, "WaitingForLabelling")
    pipeline.upload(job_id, pipeline.photos / "annotations.json")
    return job_id, urls, photos


def post_labels(pipeline: Pipeline, job_id: str) -> None:
    def taken() -> bool:  # the status is written a moment before the token is stored
        return pipeline.http.post(f"jobs/{job_id}/labels", json={"key": "annotations.json"}).status_code == 200

    eventually(taken)


def test_a_photo_replaced_after_the_check_is_not_trained_on(pipeline: Pipeline, tmp_path: Path) -> None:
    # Given a job whose photos are checked
    job_id, urls, photos = waits_for_labels(pipeline)
    # When one is replaced by a URL that was signed before the start, by a photo of the same size
    put(urls[photos[3].name], other_photo(tmp_path, Image.open(photos[3]).size))
    post_labels(pipeline, job_id)
    # Then the job continues without it and says why
    job = pipeline.reaches(job_id, "Ready")
    dropped = [json.loads(line) for line in pipeline.read(f"manifests/{job_id}/dropped.jsonl").splitlines()]
    assert [(line["source-ref"].rpartition("/")[2], line["code"]) for line in dropped] == [(photos[3].name, "Changed")]
    assert job["dropped"] == 1
    used = pipeline.read(f"manifests/{job_id}/train.manifest") + pipeline.read(f"manifests/{job_id}/test.manifest")
    assert f"/{photos[3].name}" not in used


def test_an_upload_in_parts_begun_before_the_check_is_found(pipeline: Pipeline, tmp_path: Path) -> None:
    # Given a principal that may write photos, and before the start has begun two uploads in parts and completed one
    photos = sorted(pipeline.photos.glob("*.jpg"))
    job_id, _ = uploaded_by_legacy_urls(pipeline, *photos)
    complete_new = begin_in_parts(pipeline, f"images/{job_id}/new.jpg", other_photo(tmp_path, (300, 200)))
    content = other_photo(tmp_path, Image.open(photos[3]).size)
    complete_later = begin_in_parts(pipeline, f"images/{job_id}/{photos[3].name}", content)
    complete_new()
    # When it completes the other one once the photos are checked
    pipeline.start(job_id, labels=SUPPLIED, deploy=False)
    pipeline.reaches(job_id, "WaitingForLabelling")
    complete_later()
    pipeline.upload(job_id, pipeline.photos / "annotations.json")
    post_labels(pipeline, job_id)
    # Then the check rejected the first with its reason, and the second is not trained on
    pipeline.reaches(job_id, "Ready")
    (rejected,) = map(json.loads, pipeline.read(f"manifests/{job_id}/rejected.jsonl").splitlines())
    assert (rejected["source-ref"].rpartition("/")[2], rejected["code"]) == ("new.jpg", "UploadedInParts")
    assert "Upload it with one PUT" in rejected["reason"]
    (dropped,) = map(json.loads, pipeline.read(f"manifests/{job_id}/dropped.jsonl").splitlines())
    assert (dropped["source-ref"].rpartition("/")[2], dropped["code"]) == (photos[3].name, "Changed")


def begin_in_parts(pipeline: Pipeline, key: str, content: bytes) -> Callable[[], object]:
    """Begin a multipart upload and send its one part; the result completes it."""
    s3, place = pipeline.aws.client("s3"), {"Bucket": pipeline.outputs["BucketName"], "Key": key}
    upload = place | {"UploadId": s3.create_multipart_upload(**place)["UploadId"]}
    etag = s3.upload_part(**upload, PartNumber=1, Body=content)["ETag"]
    parts = {"Parts": [{"PartNumber": 1, "ETag": etag}]}
    return lambda: s3.complete_multipart_upload(**upload, MultipartUpload=parts)


def test_a_job_whose_photos_are_replaced_in_number_fails(pipeline: Pipeline, tmp_path: Path) -> None:
    # Given a job whose photos are checked
    job_id, urls, photos = waits_for_labels(pipeline)
    # When most of them are replaced
    content = other_photo(tmp_path, (300, 200))
    for path in photos[1:]:
        put(urls[path.name], content)
    post_labels(pipeline, job_id)
    # Then the job fails before anything is trained, in words without names, and a resume would lead nowhere
    job = pipeline.reaches(job_id, "Failed")
    assert (job["error"], job["stage"]) == ("PhotosChanged", "Prepare datasets")
    assert re.match(rf"{len(photos) - 1} of {len(photos)} photos were replaced or deleted", job["cause"])
    assert not [path.name for path in photos if path.name in job["cause"]]
    refused = pipeline.http.post(f"jobs/{job_id}/resume")
    assert (refused.status_code, "start a new job" in refused.json()["detail"]) == (409, True)


def test_a_photo_replaced_before_training_reads_it_fails_the_job(pipeline: Pipeline, tmp_path: Path) -> None:
    # Given a job that is to go live, whose datasets are compared and that waits for a training slot
    rekognition.current().max_trainings = 0
    photos = sorted(pipeline.photos.glob("*.jpg"))
    job_id, urls = uploaded_by_legacy_urls(pipeline, *photos, pipeline.photos / "annotations.json")
    pipeline.start(job_id, labels=SUPPLIED | {"key": "annotations.json"})
    eventually(lambda: pipeline.entered(job_id)[-1:] == ["Start training"])
    # When a photo is replaced for a while and put back, and the model is trained
    put(urls[photos[0].name], other_photo(tmp_path, Image.open(photos[0]).size))
    put(urls[photos[0].name], photos[0].read_bytes())
    put(urls[photos[1].name], other_photo(tmp_path, Image.open(photos[1]).size))
    rekognition.current().max_trainings = 2
    # Then the job fails, nothing goes live, and a resume would lead nowhere
    job = pipeline.reaches(job_id, "Failed")
    assert (job["error"], job["stage"]) == ("PhotosChanged", "Evaluate model")
    assert re.search(r"[12] were replaced and 0 deleted", job["cause"])
    assert set(pipeline.parameters().values()) == {"default"}
    assert pipeline.http.post(f"jobs/{job_id}/resume").status_code == 409


def test_the_report_has_the_hash_of_the_labels_that_were_read(pipeline: Pipeline) -> None:
    # Given a job that has imported its labels
    rekognition.current().max_trainings = 0
    labels = pipeline.photos / "annotations.json"
    job_id, urls = uploaded_by_legacy_urls(pipeline, *sorted(pipeline.photos.glob("*.jpg")), labels)
    pipeline.start(job_id, labels=SUPPLIED | {"key": labels.name}, deploy=False)
    eventually(lambda: pipeline.entered(job_id)[-1:] == ["Start training"])
    imported = pipeline.read(f"manifests/{job_id}/labels.manifest")
    # When the labels file is replaced
    put(urls[labels.name], b"{}")
    rekognition.current().max_trainings = 2
    pipeline.reaches(job_id, "Ready")
    # Then the report has the hashes of the file and manifest that were read, not of the replaced ones
    facts = report(pipeline, job_id)["facts"]
    assert facts["labelling"]["fileSha256"] == sha256(labels.read_bytes())
    assert facts["split"]["labelsSha256"] == sha256(imported.encode())
    assert facts["labelling"]["labelled"] == facts["split"]["trainImages"] + facts["split"]["testImages"]


@pytest.mark.parametrize("at_start", [True, False], ids=["at start", "while it waits"])
def test_labels_replaced_after_they_were_named(pipeline: Pipeline, at_start: bool) -> None:
    # Given a labels file that a request has named, and that the job has not read
    labels = pipeline.photos / "annotations.json"
    with held("CheckPhotos" if at_start else "ImportLabels") as begun:
        job_id, urls = uploaded_by_legacy_urls(pipeline, *sorted(pipeline.photos.glob("*.jpg")), labels)
        pipeline.start(job_id, labels=SUPPLIED | ({"key": labels.name} if at_start else {}), deploy=False)
        if not at_start:
            pipeline.reaches(job_id, "WaitingForLabelling")
            post_labels(pipeline, job_id)
        eventually(lambda: begun)
        # When it is replaced
        put(urls[labels.name], labels.read_bytes() + b" ")
    # Then it is not used unless the job is resumed with it
    job = pipeline.reaches(job_id, "Failed")
    assert (job["error"], "was replaced after the request that named it" in job["cause"]) == ("LabelsInvalid", True)
    assert pipeline.http.post(f"jobs/{job_id}/resume").status_code == 200
    pipeline.reaches(job_id, "Ready")
    # And the report says so, and who named the file
    document = report(pipeline, job_id)
    (answer,) = (part["answer"] for part in document["answers"] if "abel" in part["question"])
    assert "replaced after it was named and before the job was resumed" in answer
    named = document["facts"]["labelling"]
    assert (named["atStart"], named["postedBy"]) == (at_start, document["facts"]["started"]["by"])
    assert named["fileSha256"] == sha256(labels.read_bytes() + b" ")


def test_labels_replaced_after_the_labelling_are_not_used(pipeline: Pipeline) -> None:
    # Given a job that Ground Truth has labelled, and that could not make its datasets
    give_back = take_permission(pipeline.aws, "PrepareDatasets", "s3:GetObject")
    job_id = pipeline.uploaded()
    pipeline.start(job_id, deploy=False)
    assert pipeline.reaches(job_id, "Failed")["stage"] == "Prepare datasets"
    # When its output manifest is replaced, and the job is resumed
    key = f"labelling/{job_id}/output/{job_id}-1/manifests/output/output.manifest"
    clock.sleep(2)  # S3 tells times in seconds
    pipeline.aws.client("s3").put_object(
        Bucket=pipeline.outputs["BucketName"], Key=key, Body=pipeline.read(key).replace(*TYPES[:2])
    )
    give_back()
    assert pipeline.http.post(f"jobs/{job_id}/resume").status_code == 200
    # Then no dataset is created from this manifest
    eventually(lambda: pipeline.job(job_id).get("error") == "ManifestChanged")
    assert "was written again after the labelling ended" in pipeline.job(job_id)["cause"]


def test_the_report_does_not_believe_what_was_written_since(pipeline: Pipeline, tmp_path: Path) -> None:
    # Given a job with a rejected photo that waits for a training slot
    rekognition.current().max_trainings = 0
    (tmp_path / "bad.jpg").write_bytes(b"no photo")
    labels = pipeline.photos / "annotations.json"
    files = (*sorted(pipeline.photos.glob("*.jpg")), tmp_path / "bad.jpg", labels)
    job_id, _ = uploaded_by_legacy_urls(pipeline, *files)
    pipeline.start(job_id, labels=SUPPLIED | {"key": labels.name}, deploy=False)
    eventually(lambda: pipeline.entered(job_id)[-1:] == ["Start training"])
    listed = pipeline.read(f"manifests/{job_id}/rejected.jsonl")
    # When the lists that no later stage reads are replaced, and files that are not workers' answers are added
    forged = {
        f"manifests/{job_id}/rejected.jsonl": '{"code":"Anna"}\n' * 9,
        f"manifests/{job_id}/labels.manifest": "{}\n",
        f"labelling/{job_id}/output/{job_id}-1/annotations/worker-response/iteration-1/0/a.json": '{"answers":7}',
    }
    for key, text in forged.items():
        pipeline.aws.client("s3").put_object(Bucket=pipeline.outputs["BucketName"], Key=key, Body=text)
    rekognition.current().max_trainings = 2
    pipeline.reaches(job_id, "Ready")
    # Then the report is made, has the counts and hashes of the history, and says what was replaced
    found = report(pipeline, job_id)
    photos = found["facts"]["photos"]
    assert (photos["rejectedCodes"], photos["rejectedPhotos"]) == ({"UnsupportedFormat": 1}, [])
    assert photos["rejectedListSha256"] == sha256(listed.encode())
    assert {one["list"]: one["is"] for one in found["facts"]["manifests"]} == {
        "photos": "equal",
        "rejected photos": "replaced",
        "labels": "replaced",
        "training photos": "equal",
        "test photos": "equal",
        "outlines": "missing",  # the test's model learns none
    }
    words = " ".join(one["answer"] for one in found["answers"])
    assert "The list of labels was replaced." in words
    assert "Anna" not in json.dumps(found)


def report(pipeline: Pipeline, job_id: str) -> dict[str, Any]:
    """The job's audit report, once it is made."""
    answer = eventually(lambda: (got := pipeline.http.get(f"jobs/{job_id}/audit")).status_code == 303 and got)
    found: dict[str, Any] = httpx.get(answer.headers["Location"]).json()
    return found


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def test_an_execution_started_past_the_api_is_held_to_the_bars(pipeline: Pipeline, tmp_path: Path) -> None:
    # Given people who label every document as some other type, with no system
    pipeline.confuse_labels(tmp_path)
    job_id = pipeline.uploaded()
    # When a principal with access to Step Functions starts the job with bars that any model passes
    forged = {"jobId": job_id, "labels": {"provider": "ground-truth"}, "documentTypes": list(TYPES), "deploy": True}
    forged |= {"minF1": 0, "minLabelF1": 0, "maxF1Drop": 1, "stopPreviousModel": True}
    pipeline.aws.client("stepfunctions").start_execution(
        stateMachineArn=pipeline.outputs["StateMachineArn"], name=job_id, input=json.dumps(forged)
    )
    # Then the model is rejected by the deployment's bar and nothing goes live
    job = pipeline.reaches(job_id, "Rejected")
    assert "below the bar of 0.80" in job["metrics"]["reasons"][0]
    assert set(pipeline.parameters().values()) == {"default"}


# --- Uploads that are no photos --------------------------------------------------------------------------------------


def new_target(pipeline: Pipeline, job_id: str, name: str, **more: Any) -> dict[str, Any]:
    """Where to upload a file of this name, and the headers to send, by the call for many names."""
    answer = pipeline.http.post(f"jobs/{job_id}/urls", json={"names": [name], **more})
    assert answer.status_code == 200, answer.text
    return answer.json()[name]


def test_a_web_page_under_a_photos_name_is_refused_by_s3(pipeline: Pipeline) -> None:
    # Given a URL for a photo of a told size
    job_id = pipeline.http.post("create").json()["id"]
    page = b"<html>" + b" " * (20 * MB)
    target = new_target(pipeline, job_id, "a.jpg", sizes={"a.jpg": 1000})
    url, headers = target["url"], target["headers"]
    # When something else is sent: another type, another size, no type at all, or by another method
    for sent, content in (
        (headers | {"Content-Type": "text/html"}, b"x" * 1000),
        (headers, page),
        (headers, b"x" * 999),
        ({"If-None-Match": "*"}, b"x" * 1000),
        ({"Content-Type": "image/jpeg"}, b"x" * 1000),
    ):
        refused = httpx.put(url, headers=sent, content=content)
        # Then S3 refuses it, and nothing is there
        assert (refused.status_code, "SignatureDoesNotMatch" in refused.text) == (403, True)
    assert httpx.get(url).status_code == 403
    assert httpx.put(url.replace("a.jpg", "b.jpg"), headers=headers, content=b"x" * 1000).status_code == 403
    assert pipeline.http.get(f"jobs/{job_id}/uploads").json() == []
    # And what was told is taken
    assert httpx.put(url, headers=headers, content=b"x" * 1000).status_code == 200
    # And a size above the limit gets no URL
    too_large = pipeline.http.post(f"jobs/{job_id}/urls", json={"names": ["c.jpg"], "sizes": {"c.jpg": len(page)}})
    assert (too_large.status_code, "at most 15,728,640" in too_large.json()["detail"]) == (400, True)


def test_a_web_page_that_s3_takes_is_refused_by_the_check(pipeline: Pipeline) -> None:
    # Given good photos
    photos = sorted(pipeline.photos.glob("*.jpg"))
    job_id = pipeline.uploaded(*photos)
    # When web pages come by URLs that bind neither size nor content, large and small
    page = b"<html>".ljust(20 * MB)
    for name, content in (("large.jpg", page), ("small.jpg", page[:100])):
        put(legacy_url(pipeline, job_id, name), content, **{"Content-Type": "text/html"})
        target = new_target(pipeline, job_id, f"new-{name}")
        put(target["url"], content + b".", **target["headers"])
    # Then the check rejects each of them with its reason, and the job continues with the photos
    pipeline.start(job_id, deploy=False)
    job = pipeline.reaches(job_id, "Ready")
    assert (job["images"], job["rejected"]) == (len(photos), 4)
    rejected = [json.loads(line) for line in pipeline.read(f"manifests/{job_id}/rejected.jsonl").splitlines()]
    assert {line["source-ref"].rpartition("/")[2]: line["code"] for line in rejected} == {
        "large.jpg": "FileTooLarge",
        "new-large.jpg": "FileTooLarge",
        "small.jpg": "UnsupportedFormat",
        "new-small.jpg": "UnsupportedFormat",
    }
