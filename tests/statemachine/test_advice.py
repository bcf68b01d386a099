"""A failed job's advice, followed to the letter, leads to a job that is ready; what cannot help is refused in words."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from deployed import Pipeline
from typer.testing import CliRunner

from ekyc.cli.main import cli
from ekyc.localaws.services import rekognition

Coco = dict[str, Any]
LABELS = "labels.json"


def of_other_photos(coco: Coco) -> None:
    for image in coco["images"]:
        image["file_name"] = f"other-{image['file_name']}"


def without_boxes(coco: Coco) -> None:
    coco["annotations"] = []


def one_photo_of_a_type(coco: Coco) -> None:
    rare = coco["categories"][0]["id"]
    first = next(one["image_id"] for one in coco["annotations"] if one["category_id"] == rare)
    coco["annotations"] = [one for one in coco["annotations"] if one["category_id"] != rare or one["image_id"] == first]


def failed(pipeline: Pipeline, spoil: Callable[[Coco], None], folder: Path, *, post: bool) -> dict[str, Any]:
    """A job that failed over spoiled labels, which came with the start, or were posted while it waited for them."""
    coco = pipeline.coco
    spoil(coco)
    labels = folder / LABELS
    labels.write_text(json.dumps(coco))
    job_id = pipeline.uploaded()
    if post:
        pipeline.start(job_id, labels={"provider": "supplied"}, deploy=False)
        pipeline.reaches(job_id, "WaitingForLabelling")
    pipeline.upload(job_id, labels)
    if post:
        assert pipeline.http.post(f"jobs/{job_id}/labels", json={"key": LABELS}).status_code == 200
    else:
        pipeline.start(job_id, labels={"provider": "supplied", "key": LABELS}, deploy=False)
    labels.write_text(json.dumps(pipeline.coco))  # which is the correction
    return pipeline.reaches(job_id, "Failed")


@pytest.mark.parametrize("post", [False, True], ids=["started with", "posted"])
@pytest.mark.parametrize("spoil", [of_other_photos, without_boxes, one_photo_of_a_type])
def test_corrected_labels_lead_to_a_trained_model(
    shared_pipeline: Pipeline, tmp_path: Path, spoil: Callable[[Coco], None], post: bool
) -> None:
    # Given a job that failed over its labels, which could be read
    job = failed(shared_pipeline, spoil, tmp_path, post=post)
    job_id = job["id"]
    # When its advice is followed to the letter
    assert job["advice"]["resume"] == "afterLabels"
    assert job["advice"]["text"].startswith("Correct the labels file, upload it under the same name, then resume")
    shared_pipeline.upload(job_id, tmp_path / LABELS)
    assert shared_pipeline.http.post(f"jobs/{job_id}/resume").status_code == 200
    # Then the labels are imported again, the photos are not checked again, and the job ends with a model
    assert shared_pipeline.reaches(job_id, "Ready")["labelled"] == len(shared_pipeline.coco["images"])
    executions = dict.fromkeys([job_id, shared_pipeline.last_arn(job_id).rpartition(":")[2]])
    entered = [state for execution in executions for state in shared_pipeline.entered(execution)]
    assert entered.count("Import labels") == 2
    assert entered.count("Check photos") == 1


def test_the_command_lines_advice_resolves_the_failure(
    shared_pipeline: Pipeline, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Given a job that failed because of its labels, and the command line's output
    job_id = failed(shared_pipeline, without_boxes, tmp_path, post=False)["id"]
    for name, value in (shared_pipeline.aws.environment() | {"EKYC_API_URL": shared_pipeline.aws.api_url}).items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("COLUMNS", "1000")
    monkeypatch.chdir(tmp_path)
    said = " ".join(CliRunner().invoke(cli, ["status", job_id]).output.split())
    # When the commands that it names are run, with the corrected file in the place of FILE
    commands = re.findall(rf"ekyc ((?:labels FILE|resume) {job_id})", said)
    assert commands == [f"labels FILE {job_id}", f"resume {job_id}"]
    for command in commands:
        result = CliRunner().invoke(cli, command.replace("FILE", LABELS).split())
        assert result.exit_code == 0, result.output
    # Then the job ends with a model
    shared_pipeline.reaches(job_id, "Ready")


def test_what_cannot_help_is_refused_in_words(shared_pipeline: Pipeline) -> None:
    # Given a job that failed over its photos
    few = sorted(shared_pipeline.photos.glob("*.jpg"))[:3]
    job_id = shared_pipeline.uploaded(*few)
    shared_pipeline.start(job_id)
    job = shared_pipeline.reaches(job_id, "Failed")
    assert (job["error"], job["advice"]["resume"]) == ("NotEnoughImages", "impossible")
    # When it is resumed all the same
    refused = shared_pipeline.http.post(f"jobs/{job_id}/resume")
    # Then the answer says what to do instead, and the job is as it was
    assert refused.status_code == 409
    assert refused.json()["detail"].endswith(job["advice"]["text"])
    assert "Start a new job" in job["advice"]["text"]
    assert shared_pipeline.job(job_id)["status"] == "Failed"


def test_a_model_that_cannot_be_started_is_trained_anew(pipeline: Pipeline) -> None:
    # Given a job whose model could not be started, and never can
    job_id = pipeline.uploaded()
    pipeline.upload(job_id, pipeline.photos / "annotations.json")
    rekognition.current().fail_next_start = "No capacity."
    pipeline.start(job_id, labels={"provider": "supplied", "key": "annotations.json"})
    job = pipeline.reaches(job_id, "Failed")
    assert (job["error"], job["advice"]["resume"]) == ("ModelFailed", "possible")
    # When its advice is followed
    assert pipeline.http.post(f"jobs/{job_id}/resume").status_code == 200
    # Then another model is trained and goes live
    assert pipeline.reaches(job_id, "Ready")["projectVersionArn"].split("/")[3] == f"{job_id}-2"
