"""Photos checked in batches by the distributed map: progress, failures, stop and resume, and bad input."""

import io
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from deployed import Pipeline, deployed, eventually
from jsonschema import Draft202012Validator
from PIL import Image
from test_audit import SCHEMA, against_aws, answers, fetched, wrong
from test_iam_enforced import take_permission
from test_stop_and_resume import held, resume

from ekyc.localaws.moto_patches import stepfunctions
from ekyc.localaws.server import LocalAws
from ekyc.localaws.services import functions
from pipeline.audit import report as documents
from pipeline.audit import verify

PHOTOS = 260  # two batches
WAITS = {"labels": {"provider": "supplied"}}


@pytest.fixture(scope="module")
def batches(local_aws: LocalAws, lenient_assembly: Path, photos: Path) -> Iterator[Pipeline]:
    """The pipeline for jobs that wait for their labels."""
    with deployed(local_aws, lenient_assembly, photos) as pipeline:
        yield pipeline


def small(number: int) -> bytes:
    """A small photo, different for each number."""
    file = io.BytesIO()
    dots = np.random.default_rng(number).integers(0, 256, (4, 4, 3), dtype=np.uint8)
    Image.fromarray(dots).resize((64, 64), Image.Resampling.BICUBIC).save(file, "JPEG")
    return file.getvalue()


def put(pipeline: Pipeline, job_id: str, name: str, content: bytes) -> None:
    key = f"images/{job_id}/{name}"
    pipeline.aws.client("s3").put_object(Bucket=pipeline.outputs["BucketName"], Key=key, Body=content)


def job_with(pipeline: Pipeline, contents: dict[str, bytes]) -> str:
    """A new job with these uploads."""
    job_id = str(pipeline.http.post("create").json()["id"])
    for name, content in contents.items():
        put(pipeline, job_id, name, content)
    return job_id


def many() -> dict[str, bytes]:
    return {f"{number:04}.jpg": small(number) for number in range(PHOTOS)}


def map_events(pipeline: Pipeline, job_id: str) -> list[str]:
    return [event["type"] for event in pipeline.history(job_id) if event["type"].startswith("Map")]


def lines(pipeline: Pipeline, job_id: str, name: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in pipeline.read(f"manifests/{job_id}/{name}").splitlines()]


def parts(pipeline: Pipeline, job_id: str) -> dict[str, Any]:
    """The time of each batch's results, by their name."""
    listed = pipeline.aws.client("s3").list_objects_v2(
        Bucket=pipeline.outputs["BucketName"], Prefix=f"manifests/{job_id}/parts/"
    )
    return {entry["Key"].rpartition("/")[2]: entry["LastModified"] for entry in listed.get("Contents", [])}


def starts_of(function_id: str, monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The events with which the function is invoked from now on."""
    seen: list[Any] = []
    invoke = functions.Runtime.invoke

    def noted(self: functions.Runtime, function: Any, event: Any, *more: Any) -> functions.Answer:
        if function_id in function.function_name:
            seen.append(event)
        return invoke(self, function, event, *more)

    monkeypatch.setattr(functions.Runtime, "invoke", noted)
    return seen


def test_a_job_of_two_batches_has_a_short_history(batches: Pipeline) -> None:
    # Given a job whose photos are two batches
    job_id = job_with(batches, many())
    # When they are checked
    batches.start(job_id, **WAITS)
    job = batches.reaches(job_id, "WaitingForLabelling")
    # Then all photos are accepted, and the lists are those of one check
    assert (job["photos"], job["images"], job["progress"]["checked"]) == (PHOTOS, PHOTOS, PHOTOS)
    names = [line["source-ref"].rpartition("/")[2] for line in lines(batches, job_id, "input.manifest")]
    assert names == sorted(many())
    # And the execution has six events for the map, for any number of batches, and no list of photos
    assert map_events(batches, job_id) == [
        "MapStateEntered",
        "MapStateStarted",
        "MapRunStarted",
        "MapRunSucceeded",
        "MapStateSucceeded",
        "MapStateExited",
    ]
    history = json.dumps(batches.history(job_id), default=str)
    events = json.dumps(batches.batch_events(job_id), default=str)
    assert len(batches.batches(job_id)) == 2
    assert ".jpg" not in history + events
    assert len(batches.history(job_id)) < 3000
    assert set(parts(batches, job_id)) == {"00001-250", "00002-10"}


def test_photos_of_one_subject_are_in_one_group(batches: Pipeline) -> None:
    # Given photos of different shots, of which each two have the same subject
    names = [f"{number:02}.jpg" for number in range(12)]
    job_id = batches.http.post("create").json()["id"]
    subjects = {name: f"customer-{number // 2}" for number, name in enumerate(names)}
    targets = batches.http.post(f"jobs/{job_id}/urls", json={"names": names, "subjects": subjects}).json()
    for number, name in enumerate(names):
        target = targets[name]
        put_to = batches.http.put(target["url"], headers=target["headers"], content=small(number))
        assert put_to.status_code == 200, put_to.text
    # When they are checked
    batches.start(job_id, **WAITS)
    batches.reaches(job_id, "WaitingForLabelling")
    # Then each two are in one group, and no list has a subject
    groups = [line["group"] for line in lines(batches, job_id, "input.manifest")]
    assert groups == [number - number % 2 for number in range(12)]
    assert "customer" not in batches.read(f"manifests/{job_id}/input.manifest")


def test_a_stop_keeps_finished_batches(batches: Pipeline, monkeypatch: pytest.MonkeyPatch) -> None:
    # Given a job of which one batch is checked and the other is not
    job_id = job_with(batches, many())
    with held_batch(2):
        batches.start(job_id, **WAITS)
        eventually(lambda: batches.job(job_id)["progress"]["checked"] == 250)
        assert batches.job(job_id)["photos"] == PHOTOS
        # When it is stopped
        assert batches.http.post(f"jobs/{job_id}/stop").status_code == 200
        batches.reaches(job_id, "Stopped")
    eventually(lambda: len(parts(batches, job_id)) == 2)  # the function of the other batch runs to its end
    before = parts(batches, job_id)
    checked = starts_of("CheckPhotos", monkeypatch)
    # And resumed
    resume(batches, job_id)
    job = batches.reaches(job_id, "WaitingForLabelling")
    # Then only the other batch was started again, and no result was written again
    assert [event["number"] for event in checked] == [2]
    assert parts(batches, job_id) == before
    assert job["images"] == PHOTOS


def held_batch(number: int) -> Any:
    """A context in which the batch waits before it begins."""
    return held("CheckPhotos", lambda event: event["number"] == number)


def test_a_failed_batch_is_named_and_repeated_alone(batches: Pipeline, monkeypatch: pytest.MonkeyPatch) -> None:
    # Given a job whose batches may not read photos
    give_back = take_permission(batches.aws, "CheckPhotos", "s3:GetObject")
    job_id = job_with(batches, many())
    ends = starts_of("RecordOutcome", monkeypatch)
    batches.start(job_id, **WAITS)
    # Then the job has the batch's error and cause, and no event about a batch reaches a function
    job = batches.reaches(job_id, "Failed")
    assert (job["error"], job["stage"]) == ("AccessDenied", "Check photos")
    assert job["cause"].startswith("GetObject returned AccessDenied")
    assert job["advice"]["resume"] == "possible"
    eventually(lambda: ends)
    assert {event["detail"]["name"] for event in ends} == {job_id}
    # When the permission is back, and the job is resumed; Then it continues
    give_back()
    resume(batches, job_id)
    assert batches.reaches(job_id, "WaitingForLabelling")["images"] == PHOTOS


END = "How did the execution end?"


def failed_by_batch(pipeline: Pipeline) -> tuple[str, bytes]:
    """A job that failed because its batch may not read photos, and its report."""
    give_back = take_permission(pipeline.aws, "CheckPhotos", "s3:GetObject")
    job_id = job_with(pipeline, many_of(12))
    pipeline.start(job_id, **WAITS)
    pipeline.reaches(job_id, "Failed")
    give_back()
    fetched(pipeline, job_id, "text/html")  # the page is stored after the report, and both prove it
    return job_id, fetched(pipeline, job_id)


def list_no_batches(patch: pytest.MonkeyPatch) -> None:
    """Make ListExecutions answer as AWS may for a while after a change: no batch is in the list yet."""
    find = stepfunctions._asked_for

    def late(response: Any) -> tuple[str, list[Any]]:
        arn, executions = find(response)
        return arn, [] if ":mapRun:" in arn else executions

    patch.setattr(stepfunctions, "_asked_for", late)


def result(findings: list[verify.Finding], part: str) -> str:
    return next(one.result for one in findings if one.part == part)


def test_a_report_has_the_error_of_a_failed_batch(batches: Pipeline, monkeypatch: pytest.MonkeyPatch) -> None:
    # Given the report on an execution of which a batch failed
    job_id, body = failed_by_batch(batches)
    report = json.loads(body)
    Draft202012Validator(SCHEMA).validate(report)
    # Then it has the answer of Step Functions about the execution, and beside it the batch with its error
    (batch_arn,) = batches.batches(job_id)
    end = report["facts"]["end"]
    assert end["error"] == report["inputs"]["execution"]["error"] == "States.ExceedToleratedFailureThreshold"
    assert (end["failedBatch"]["executionArn"], end["failedBatch"]["error"]) == (batch_arn, "AccessDenied")
    named = f"The batch of photos {batch_arn} ended with FAILED and AccessDenied: GetObject returned"
    assert named in answers(report)[END]
    # And it is genuine, also when Step Functions does not list the batch
    with monkeypatch.context() as patch:
        for _ in range(2):
            findings = against_aws(batches, body)
            assert {one.result for one in findings} == {verify.OK}, findings
            assert result(findings, verify.BATCH) == verify.OK
            list_no_batches(patch)
    # When a forger changes the error of the batch, or names the batch of another job, then that is found
    batch = report["inputs"]["failedBatch"]
    other = json.loads(failed_by_batch(batches)[1])["inputs"]["failedBatch"]
    for forged, found in (
        (batch | {"error": "ImagesNotFound"}, (set(), {verify.BATCH})),
        (batch | {"executionArn": other["executionArn"]}, (set(), {verify.BATCH})),
        (other, ({"history"}, set())),
    ):
        inputs = report["inputs"] | {"failedBatch": forged}
        made = documents.build(inputs, job_id=job_id, stored=report["stored"], previous=None)
        file = documents.canonical(made)
        about_batch = wrong(against_aws(batches, file)) - verify.PROOF
        assert (wrong(verify.check_itself(file)), about_batch) == found
    # When the job is resumed, then the batch can no longer be compared, and nothing is wrong
    resume(batches, job_id)
    batches.reaches(job_id, "WaitingForLabelling")
    findings = against_aws(batches, body)
    assert (result(findings, verify.BATCH), wrong(findings)) == (verify.UNKNOWN, set())


def test_a_report_without_the_batch_is_not_wrong(batches: Pipeline, monkeypatch: pytest.MonkeyPatch) -> None:
    # Given a report that was made before Step Functions listed the failed batch
    with monkeypatch.context() as patch:
        list_no_batches(patch)
        _, body = failed_by_batch(batches)
    # Then it says so
    report = json.loads(body)
    Draft202012Validator(SCHEMA).validate(report)
    assert report["facts"]["end"]["failedBatch"] is None
    assert "The error of the failed batch of photos is not known" in answers(report)[END]
    # And it is genuine when Step Functions lists the batch
    findings = against_aws(batches, body)
    assert (wrong(findings), result(findings, verify.BATCH)) == (set(), verify.UNKNOWN)
    assert verify.verdict(findings) == verify.GENUINE


def fine(width: int, height: int, quality: int) -> bytes:
    """A photo of fine grain, which compresses badly."""
    file = io.BytesIO()
    grain = np.random.default_rng(1).integers(0, 256, (height, width, 3), dtype=np.uint8)
    Image.fromarray(grain).save(file, "JPEG", quality=quality)
    return file.getvalue()


def largest() -> bytes:
    """A photo of 4096 px and 14.9 MB."""
    content = fine(4096, 2600, 75)
    tail = 14_900_000 - len(content)
    assert tail > 0
    return content + bytes(tail)


BAD: dict[str, tuple[Callable[[], dict[str, bytes]], str | None, tuple[int, list[str]]]] = {
    "a folder marker": (lambda: {"": b"", "folder/": b""}, "ImagesNotFound", (0, [])),
    "nested keys": (
        lambda: {**many_of(12), "": b"", "a/b.jpg": small(1), "a/c/d.jpg": small(2)},
        None,
        (12, ["InvalidName", "InvalidName"]),
    ),
    "all photos identical": (
        lambda: {f"{number}.jpg": small(0) for number in range(12)},
        "NotEnoughImages",
        (1, ["Duplicate"] * 11),
    ),
    "a huge photo among small ones": (lambda: {**many_of(20), "huge.jpg": largest()}, None, (21, [])),
}


def many_of(count: int) -> dict[str, bytes]:
    return dict(list(many().items())[:count])


@pytest.mark.parametrize("case", BAD)
def test_bad_input_ends_in_words_or_is_listed(batches: Pipeline, case: str) -> None:
    # Given a job with unusual uploads
    make, error, (accepted, codes) = BAD[case]
    job_id = job_with(batches, make())
    # When it is started
    batches.start(job_id, **WAITS)
    job = batches.reaches(job_id, "Failed" if error else "WaitingForLabelling")
    # Then it fails with a named error and a cause, or lists what it cannot use
    assert job.get("error") == error
    assert error is None or len(job["cause"]) > 20
    if error != "ImagesNotFound":
        assert len(lines(batches, job_id, "input.manifest")) == accepted
        assert [line["code"] for line in lines(batches, job_id, "rejected.jsonl")] == codes
