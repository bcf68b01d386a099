"""Outlines learned while the model is trained: the real machine and functions, and a job that goes on without them."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from deployed import TYPES, Pipeline, deployed, eventually
from test_iam_enforced import function_of, take_permission
from test_stop_and_resume import held, labelled_job, resume, stop

from ekyc.cli import watch
from ekyc.localaws.server import LocalAws
from ekyc.localaws.services import rekognition
from outlines import load
from pipeline import models, outlining


@pytest.fixture
def pipeline(local_aws: LocalAws, lenient_assembly: Path, photos: Path) -> Iterator[Pipeline]:
    """The pipeline, in which Rekognition and Learn outlines learn."""
    with deployed(local_aws, lenient_assembly, photos) as pipeline:
        rekognition.current().learns = True
        yield pipeline


def errors_of(pipeline: Pipeline, job_id: str) -> list[str]:
    """The errors with which functions failed, in order."""
    failed = (event.get("taskFailedEventDetails") for event in pipeline.history(job_id))
    return [details["error"] for details in failed if details]


def keys(pipeline: Pipeline, job_id: str) -> list[str]:
    listed = pipeline.aws.client("s3").list_objects_v2(
        Bucket=pipeline.outputs["BucketName"], Prefix=f"outlines/{job_id}/"
    )
    return [entry["Key"].removeprefix(f"outlines/{job_id}/") for entry in listed.get("Contents", [])]


def test_a_job_gives_outlines_that_its_models_arn_leads_to(pipeline: Pipeline) -> None:
    # Given a job whose labels have polygons; When it ends
    job_id = labelled_job(pipeline, deploy=False)
    job = pipeline.reaches(job_id, "Ready")
    # Then its record has the file of the model's outlines and their figures against the polygons
    found = job["outlines"]
    arn = job["projectVersionArn"]
    key = outlining.artefact_key(models.job_id(arn), models.version_name(arn))
    assert found["file"] == f"s3://{pipeline.outputs['BucketName']}/{key}"
    assert (found["types"], found["learned"], found["unread"]) == (3, 3, 0)
    assert found["polygons"] == found["outlined"] > 0
    assert found["polygonIou"] > 0.9
    # And the file has the outlines
    content = pipeline.aws.client("s3").get_object(Bucket=pipeline.outputs["BucketName"], Key=key)["Body"].read()
    assert sorted(load(content).types) == sorted(TYPES)
    # And people read the figures
    assert "The model has outlines of 3 of 3 document types" in watch.conclusion(job)


def test_a_job_goes_on_when_its_outlines_fail_and_says_so(pipeline: Pipeline) -> None:
    # Given a role that may not write outlines
    take_permission(pipeline.aws, "LearnOutlines", "s3:PutObject")
    # When a job ends
    job_id = labelled_job(pipeline, deploy=False)
    job = pipeline.reaches(job_id, "Ready")
    # Then it has a model and no outlines, and says why
    assert job["metrics"]["f1"] > 0
    assert job["outlines"] == {"error": "AccessDenied"}
    assert "has no outlines, because Learn outlines failed with AccessDenied" in watch.conclusion(job)
    assert errors_of(pipeline, job_id) == ["AccessDenied"]
    assert pipeline.entered(job_id)[-1] == "Model ready"


def test_a_run_without_time_continues_in_the_next(pipeline: Pipeline) -> None:
    # Given a function whose runs have time for one type only
    name = function_of(pipeline.aws, "LearnOutlines")["FunctionName"]
    pipeline.aws.client("lambda").update_function_configuration(FunctionName=name, Timeout=120)
    # When a job ends
    job_id = labelled_job(pipeline, deploy=False)
    job = pipeline.reaches(job_id, "Ready")
    # Then each run learned one of the three types, and a fourth joined them
    assert errors_of(pipeline, job_id) == ["OutlinesLeft"] * 3
    assert job["outlines"]["learned"] == 3
    assert len(keys(pipeline, job_id)) == 4


def test_a_stop_while_outlines_are_learned_and_a_resume(pipeline: Pipeline) -> None:
    # Given a job that is stopped while its outlines are learned
    with held("LearnOutlines") as entered:
        job_id = labelled_job(pipeline, deploy=False)
        eventually(lambda: entered)
        stop(pipeline, job_id, by="API")
        pipeline.reaches(job_id, "Stopped")
    # When it is resumed
    resume(pipeline, job_id)
    job = pipeline.reaches(job_id, "Ready")
    # Then it learns them, and trains no second model
    assert job["outlines"]["learned"] == 3
    assert pipeline.entered(job_id).count("Start training") == 1
    assert sorted(re.sub("types/[0-9a-f]{16}", "types", key) for key in keys(pipeline, job_id)) == [
        f"{job_id}.outlines",
        *(f"types/{label}" for label in sorted(TYPES)),
    ]
