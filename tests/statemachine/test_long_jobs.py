"""What never ends, on the real ASL with a clock that jumps: the deadlines, and the ends that they lead to."""

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from deployed import Pipeline, deployed, eventually

from ekyc.localaws.clock import clock
from ekyc.localaws.server import LocalAws
from ekyc.localaws.services import rekognition
from ekyc.localaws.synth import LOCAL_SETTINGS, synthesize
from stacks.settings import EVENTS_PER_HEARTBEAT

PATIENCE = 300.0  # real seconds, on a machine that does much else
SHORT_POLLS = {
    "datasets": {"first": 5, "growth": 1.1, "ceiling": 30, "deadline": 300},
    "training": {"first": 30, "growth": 1.01, "ceiling": 300, "deadline": 900},
    "model": {"first": 10, "growth": 1.05, "ceiling": 30, "deadline": 300},
}
SHORT_LABELLING = {"heartbeat": 21600, "deadline": 172800}


@pytest.fixture(scope="module")
def short_deadline_assembly(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The stack with short deadlines and with ten retries where the real one asks for a week."""
    settings = {**LOCAL_SETTINGS, "polls": SHORT_POLLS, "labelling": SHORT_LABELLING}
    folder = synthesize(tmp_path_factory.mktemp("short_deadlines"), settings)
    (template,) = folder.glob("*.template.json")
    text = template.read_text()
    assert text.count('\\"MaxAttempts\\": 680') == 3
    template.write_text(text.replace('\\"MaxAttempts\\": 680', '\\"MaxAttempts\\": 10'))
    return folder


@pytest.fixture
def short_deadlines(local_aws: LocalAws, short_deadline_assembly: Path, photos: Path) -> Iterator[Pipeline]:
    """The pipeline with short deadlines; its clock jumps, its trainings learn nothing."""
    with deployed(local_aws, short_deadline_assembly, photos) as pipeline:
        clock.speed = math.inf
        rekognition.current().learns = False
        yield pipeline


def ended(pipeline: Pipeline, job_id: str) -> dict[str, Any]:
    """The job once its record says how it ended."""

    def there() -> dict[str, Any] | None:
        job = pipeline.job(job_id)
        return job if job["status"] in ("Ready", "Failed") else None

    return eventually(there, PATIENCE)


@pytest.mark.parametrize(
    ("duration", "error", "state"),
    [
        ("dataset_seconds", "DatasetTimedOut", "Check datasets"),
        ("training_seconds", "TrainingTimedOut", "Check training"),
        ("start_seconds", "ModelTimedOut", "Check model"),
    ],
)
def test_a_loop_ends_at_its_deadline_and_a_resume_waits_again(
    short_deadlines: Pipeline, duration: str, error: str, state: str
) -> None:
    # Given a step of Rekognition that takes half an hour, and a deadline before that
    setattr(rekognition.current(), duration, 1800.0)
    # When a job runs
    job_id = short_deadlines.uploaded()
    short_deadlines.start(job_id)
    # Then it fails by the deadline's name, at the state that looked
    job = ended(short_deadlines, job_id)
    assert (job["error"], job["stage"]) == (error, state)
    # And when it is resumed until the step is done, then it goes on to its end, with nothing made twice
    while job["status"] == "Failed":
        assert job["error"] == error
        assert short_deadlines.http.post(f"jobs/{job_id}/resume").status_code == 200
        job = ended(short_deadlines, job_id)
    assert short_deadlines.entered(job_id).count("Create datasets") == 1
    assert short_deadlines.entered(job_id).count("Start training") == 1


def test_a_job_without_labels_ends_at_the_labelling_deadline(short_deadlines: Pipeline) -> None:
    # Given a job that waits for labels, which are never posted
    job_id = short_deadlines.uploaded()
    short_deadlines.start(job_id, labels={"provider": "supplied"})
    # Then it fails after two days, and looked every six hours
    job = ended(short_deadlines, job_id)
    assert (job["error"], job["stage"]) == ("LabellingTimedOut", "Request labels")
    kinds = [event["type"] for event in short_deadlines.history(job_id)]
    assert kinds.count("TaskTimedOut") == 8
    # And each poll needs as many history events as the settings count, before the poll that fails
    waited = kinds[len(kinds) - kinds[::-1].index("TaskStateEntered") :]
    assert len(waited) == 8 * EVENTS_PER_HEARTBEAT + len(("scheduled", "started", "failed", "execution failed"))


@pytest.mark.parametrize(
    ("quota", "error", "state"),
    [
        ("max_datasets", "DatasetSlotsBusy", "Create datasets"),
        ("max_trainings", "TrainingSlotsBusy", "Start training"),
        ("max_running_models", "RunningModelsLimit", "Start model"),
    ],
)
def test_a_quota_that_never_has_room_ends_the_job_in_its_name(
    short_deadlines: Pipeline, quota: str, error: str, state: str
) -> None:
    # Given a quota that others use up
    setattr(rekognition.current(), quota, 0)
    # When a job has asked as often as it may
    job_id = short_deadlines.uploaded()
    short_deadlines.start(job_id)
    job = ended(short_deadlines, job_id)
    # Then it fails with the quota's name
    assert (job["error"], job["stage"]) == (error, state)
    failures = [
        event["taskFailedEventDetails"] for event in short_deadlines.history(job_id) if event["type"] == "TaskFailed"
    ]
    assert [failure["error"] for failure in failures] == [error] * 11
