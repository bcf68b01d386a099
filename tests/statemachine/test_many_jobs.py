"""Many jobs at once against Rekognition's quotas: each takes its turn, none is lost and nothing is made twice."""

import math
from collections.abc import Iterator
from pathlib import Path

import pytest
from deployed import deployed, eventually

from bench import concurrency
from ekyc.localaws.clock import clock
from ekyc.localaws.server import LocalAws
from ekyc.localaws.services import rekognition
from ekyc.localaws.synth import synthesize

JOBS = 6


@pytest.fixture(scope="module")
def small_assembly(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The stack for jobs of four photos."""
    return synthesize(tmp_path_factory.mktemp("small"), concurrency.SETTINGS)


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Photos and their labels."""
    return concurrency.write_photos(tmp_path_factory.mktemp("files") / "photos")


@pytest.fixture
def busy_aws(local_aws: LocalAws, small_assembly: Path, files: list[Path]) -> Iterator[LocalAws]:
    """The pipeline; its clock jumps, a training takes ten minutes and learns nothing."""
    with deployed(local_aws, small_assembly, files[0].parent, answers=files[-1].name):
        clock.speed = math.inf
        custom_labels = rekognition.current()
        custom_labels.learns, custom_labels.training_seconds = False, 600.0
        yield local_aws


def test_jobs_that_are_started_at_once_train_in_turn(busy_aws: LocalAws, files: list[Path]) -> None:
    # Given two training slots and two calls a second of each operation
    rekognition.current().calls_per_second = 2.0
    # When many jobs are started at once
    outcome = concurrency.run(busy_aws, files, JOBS, "Start training", deploy=False)
    # Then all end well, with one project, two datasets and one model each
    assert outcome.statuses == {"SUCCEEDED": JOBS}
    assert outcome.duplicates == []
    # And the calls beyond the rate were refused and made again
    assert outcome.throttled
    # And no job waited much longer than the trainings before the last one take, two at a time: a job finds a free slot
    # within the 15 minutes between two attempts
    in_turn = (JOBS / 2 - 1) * 600
    assert in_turn * 0.8 <= max(outcome.waits) <= (JOBS / 2) * (600 + 900)


def test_jobs_that_stop_the_previous_model_deploy_in_turn(busy_aws: LocalAws, files: list[Path]) -> None:
    # Given models that are trained one after the other, so that no two are published in the same second
    rekognition.current().max_trainings = 1
    # When jobs that stop the model before theirs are started at once
    outcome = concurrency.run(busy_aws, files, 5, "Start model", deploy=True)
    # Then all end well, though two models may run at a time, and one runs or two at the end
    assert outcome.statuses == {"SUCCEEDED": 5}
    assert outcome.duplicates == []
    versions = [v for p in rekognition.current()._projects.values() for v in p.versions.values()]
    assert 1 <= sum(version.status == "RUNNING" for version in versions) <= 2


def test_a_job_reports_that_it_waits_for_a_running_model_slot(
    local_aws: LocalAws, small_assembly: Path, files: list[Path]
) -> None:
    # Given an account whose running models are all in use
    with deployed(local_aws, small_assembly, files[0].parent, answers=files[-1].name) as pipeline:
        rekognition.current().learns = False
        rekognition.current().max_running_models = 0
        # When a job is to deploy its model
        job_id = pipeline.uploaded(*files)
        answer = pipeline.http.post(
            "start", params={"JobId": job_id}, json={"labels": {"provider": "supplied", "key": "labels.json"}}
        )
        assert answer.status_code == 200, answer.text
        # Then it waits, and says for what
        eventually(lambda: pipeline.job(job_id)["detailedStatus"].startswith("Waiting: the account's quota"))
        assert pipeline.job(job_id)["status"] == "Deploying"
        # And when there is a place, it goes on to its end
        rekognition.current().max_running_models = 2
        clock.speed = math.inf
        pipeline.reaches(job_id, "Ready")
