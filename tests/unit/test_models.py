"""Train, start, check and stop a model: found or made, with each failure under its own name."""

import json
from typing import Any

import pytest

from pipeline import models
from pipeline.errors import (
    ModelFailed,
    ModelTimedOut,
    RunningModelsLimit,
    Throttled,
    TrainingFailed,
    TrainingSlotsBusy,
    TrainingTimedOut,
    UnexpectedAnswer,
)
from pipeline.jobs import now_ms
from pipeline.models import CheckModel, CheckTraining, StartModel, StartTraining, TrainingChecked, TrainingStarted
from tests.unit.aws_fakes import FakeRekognition, Refusal
from tests.unit.conftest import BUCKET

JOB = "ekyc-20261124015324-9f3c0a1b2c3d4e5f"
KEY = "arn:aws:kms:us-east-1:123456789012:key/1234abcd-12ab-34cd-56ef-1234567890ab"


@pytest.fixture
def rekognition(moto_aws: None) -> FakeRekognition:
    fake = FakeRekognition()
    fake.create_project(JOB)
    return fake


def project(rekognition: FakeRekognition) -> str:
    return str(rekognition.projects[JOB]["ProjectArn"])


def start_training(rekognition: FakeRekognition, kms_key_arn: str = "", version_name: str = JOB) -> TrainingStarted:
    request = StartTraining(JOB, project(rekognition), version_name)
    return models.start_training(request, bucket=BUCKET, kms_key_arn=kms_key_arn, cost_tags=["team=kyc"])


def check_training(
    rekognition: FakeRekognition, s3: Any = None, waited_hours: float = 0
) -> tuple[TrainingChecked, int | None]:
    request = CheckTraining(JOB, project(rekognition), JOB, 12, now_ms() - int(waited_hours * 3_600_000), 72 * 3600)
    return models.check_training(request)


def start_model(rekognition: FakeRekognition) -> str:
    request = StartModel(JOB, project(rekognition), rekognition.versions[JOB]["ProjectVersionArn"], JOB)
    return models.start_model(request, inference_units=1).status


def check_model(rekognition: FakeRekognition, waited: float = 0) -> str:
    request = CheckModel(JOB, project(rekognition), JOB, 2, now_ms() - int(waited * 1000), 600)
    return models.check_model(request).status


def stop_model(rekognition: FakeRekognition, arn: str) -> str | None:
    return models.stop_model(project(rekognition), arn)


def test_training_starts_with_its_output_in_the_bucket(rekognition: FakeRekognition) -> None:
    started = start_training(rekognition)
    version = rekognition.versions[JOB]
    assert started == TrainingStarted(version["ProjectVersionArn"], JOB)
    assert version["OutputConfig"] == {"S3Bucket": BUCKET, "S3KeyPrefix": f"training/{JOB}"}
    assert models.version_name(started.project_version_arn) == JOB


def test_the_model_has_the_cost_tags_and_the_key(rekognition: FakeRekognition) -> None:
    # Given a deployment with a key of its own
    start_training(rekognition, kms_key_arn=KEY)
    # Then the model has it, and the cost tags with the job's
    version = rekognition.versions[JOB]
    assert version["KmsKeyId"] == KEY
    assert version["Tags"] == {"team": "kyc", "ekyc-job": JOB}


def test_without_a_key_rekognition_uses_an_aws_owned_key(rekognition: FakeRekognition) -> None:
    start_training(rekognition)
    assert "KmsKeyId" not in rekognition.versions[JOB]


def test_a_training_that_runs_is_found(rekognition: FakeRekognition) -> None:
    # Given a training that an earlier run started and that uses the account's last slot
    first = start_training(rekognition)
    rekognition.refuse_next("create_project_version", "LimitExceededException")
    # When the stage runs again
    # Then it finds it and asks for no other
    assert start_training(rekognition) == first


@pytest.mark.parametrize("status", ["TRAINING_IN_PROGRESS", "TRAINING_COMPLETED", "STOPPED"])
def test_a_later_execution_finds_what_an_earlier_one_trained(rekognition: FakeRekognition, status: str) -> None:
    first = start_training(rekognition)
    rekognition.versions[JOB]["Status"] = status
    assert start_training(rekognition, version_name=f"{JOB}-2") == first
    assert list(rekognition.versions) == [JOB]


@pytest.mark.parametrize("status", ["TRAINING_FAILED", "DELETING"])
def test_an_unusable_model_is_trained_again_under_another_name(rekognition: FakeRekognition, status: str) -> None:
    # Given a version that failed, whose name is taken, or that is being deleted
    start_training(rekognition)
    rekognition.versions[JOB]["Status"] = status
    # When a later execution trains, twice as a stage may
    later = [start_training(rekognition, version_name=f"{JOB}-2") for _ in range(2)]
    # Then there is one more version, of the same job
    assert later[0] == later[1]
    assert list(rekognition.versions) == [JOB, f"{JOB}-2"]
    assert rekognition.versions[f"{JOB}-2"]["OutputConfig"]["S3KeyPrefix"] == f"training/{JOB}"
    assert models.job_id(later[0].project_version_arn) == JOB


def test_a_training_that_starts_in_the_same_moment_is_found(rekognition: FakeRekognition) -> None:
    # Given two runs of the stage, the second of which looks before the first has made the version
    first = start_training(rekognition)
    version = rekognition.versions.pop(JOB)

    def refuse_the_second(**_: Any) -> None:
        rekognition.versions[JOB] = version
        raise Refusal("ResourceInUseException")

    rekognition.create_project_version = refuse_the_second  # type: ignore[method-assign, assignment]
    # Then the second takes the first one's
    assert start_training(rekognition) == first


@pytest.mark.parametrize("code", ["LimitExceededException", "ServiceQuotaExceededException"])
def test_a_full_account_is_refused_by_name(rekognition: FakeRekognition, code: str) -> None:
    rekognition.refuse_next("create_project_version", code, "2 of 2 trainings are in progress.")
    with pytest.raises(TrainingSlotsBusy, match="2 of 2 trainings"):
        start_training(rekognition)


def test_a_busy_project_is_asked_again(rekognition: FakeRekognition) -> None:
    rekognition.refuse_next("create_project_version", "ResourceInUseException")
    with pytest.raises(Throttled):
        start_training(rekognition)


def test_training_goes_on_and_ends(rekognition: FakeRekognition) -> None:
    # Given a training in progress
    start_training(rekognition)
    assert check_training(rekognition) == (TrainingChecked(False, "TRAINING_IN_PROGRESS"), None)
    # When it ends
    rekognition.versions[JOB] |= {"Status": "TRAINING_COMPLETED", "BillableTrainingTimeInSeconds": 1899}
    # Then the check says so, with what is billed, and however late
    checked, billed = check_training(rekognition, waited_hours=100)
    assert (checked.completed, checked.status, billed) == (True, "TRAINING_COMPLETED", 1899)


def test_a_model_that_runs_already_is_trained(rekognition: FakeRekognition) -> None:
    start_training(rekognition)
    rekognition.versions[JOB]["Status"] = "RUNNING"
    assert check_training(rekognition)[0].completed


def test_a_failed_training_names_the_faults_of_the_manifests(rekognition: FakeRekognition, s3: Any) -> None:
    # Given a training that failed for its manifests, and the summary that Rekognition wrote
    start_training(rekognition)
    summary = {
        "statistics": {
            "training": {
                "errors": [{"code": "ERROR_TOO_MANY_INVALID_ROWS_IN_MANIFEST", "message": "images/j/jane.jpg"}]
            },
            "testing": {"errors": []},
        },
        "errors": [{"code": "ERROR_INSUFFICIENT_LABEL_OVERLAP", "message": "jane.jpg"}],
    }
    s3.put_object(Bucket=BUCKET, Key="training/summary.json", Body=json.dumps(summary))
    rekognition.versions[JOB] |= {
        "Status": "TRAINING_FAILED",
        "StatusMessage": "The manifest file names jane.jpg twice.",
        "ManifestSummary": {"S3Object": {"Bucket": BUCKET, "Name": "training/summary.json"}},
    }
    # When it is checked
    with pytest.raises(TrainingFailed) as failure:
        check_training(rekognition, s3)
    # Then the cause has every code, and says how to read the message, which names a photo
    assert str(failure.value) == (
        "Training ended as TRAINING_FAILED. "
        "In the training manifest: ERROR_TOO_MANY_INVALID_ROWS_IN_MANIFEST. "
        "In both manifests: ERROR_INSUFFICIENT_LABEL_OVERLAP. "
        "To read Rekognition's reason: aws rekognition describe-project-versions "
        f"--project-arn {project(rekognition)} --version-names {JOB} "
        "--query ProjectVersionDescriptions[0].StatusMessage"
    )


@pytest.mark.parametrize("body", [None, b"no json"])
def test_a_failed_training_without_a_summary_is_reported(
    rekognition: FakeRekognition, s3: Any, body: bytes | None
) -> None:
    start_training(rekognition)
    if body:
        s3.put_object(Bucket=BUCKET, Key="summary.json", Body=body)
    rekognition.versions[JOB] |= {
        "Status": "TRAINING_FAILED",
        "ManifestSummary": {"S3Object": {"Bucket": BUCKET, "Name": "summary.json"}},
    }
    with pytest.raises(TrainingFailed, match="Rekognition gave no reason"):
        check_training(rekognition, s3)


def test_a_training_that_is_gone_or_takes_too_long(rekognition: FakeRekognition) -> None:
    start_training(rekognition)
    with pytest.raises(TrainingTimedOut, match="72 hours"):
        check_training(rekognition, waited_hours=72.1)
    rekognition.versions.clear()
    with pytest.raises(TrainingFailed, match="no longer exists"):
        check_training(rekognition)


def test_a_project_that_is_gone_has_no_version(rekognition: FakeRekognition) -> None:
    rekognition.refuse_next("describe_project_versions", "ResourceNotFoundException")
    assert models.describe(project(rekognition), JOB) is None


def test_a_trained_model_is_started_once(rekognition: FakeRekognition) -> None:
    # Given a trained model
    rekognition.add_version(project(rekognition), JOB, "TRAINING_COMPLETED")
    # When it is started twice, the second time while it is starting, then while it runs
    assert start_model(rekognition) == "STARTING"
    assert start_model(rekognition) == "STARTING"
    rekognition.versions[JOB]["Status"] = "RUNNING"
    # Then the later runs carry on with it
    assert start_model(rekognition) == "RUNNING"


def test_our_own_running_model_is_not_a_full_account(rekognition: FakeRekognition) -> None:
    # Given an account that runs as many models as it may, ours among them
    rekognition.add_version(project(rekognition), JOB, "RUNNING")
    rekognition.running_limit = 1
    # Then the stage carries on
    assert start_model(rekognition) == "RUNNING"


def test_an_account_full_of_other_models_is_refused_by_name(rekognition: FakeRekognition) -> None:
    rekognition.add_version(project(rekognition), JOB, "TRAINING_COMPLETED")
    for name in ("a", "b"):
        rekognition.add_version(project(rekognition), name, "RUNNING")
    with pytest.raises(RunningModelsLimit, match="2 of 2 models are running"):
        start_model(rekognition)


def test_a_model_that_is_stopping_is_asked_again(rekognition: FakeRekognition) -> None:
    rekognition.add_version(project(rekognition), JOB, "STOPPING")
    with pytest.raises(Throttled, match="The model is STOPPING"):
        start_model(rekognition)


@pytest.mark.parametrize("status", ["STARTING", "RUNNING", "STOPPING", "STOPPED", "TRAINING_COMPLETED"])
def test_a_model_is_shown_as_it_is(rekognition: FakeRekognition, status: str) -> None:
    rekognition.add_version(project(rekognition), JOB, status)
    assert check_model(rekognition) == status


def test_a_model_that_failed_to_start(rekognition: FakeRekognition) -> None:
    rekognition.add_version(project(rekognition), JOB, "FAILED", StatusMessage="jane.jpg")
    with pytest.raises(ModelFailed, match=r"The model is FAILED.*describe-project-versions") as failure:
        check_model(rekognition)
    assert "jane" not in str(failure.value)
    rekognition.versions.clear()
    with pytest.raises(ModelFailed, match="no longer exists"):
        check_model(rekognition)


def test_a_model_that_starts_too_long(rekognition: FakeRekognition) -> None:
    rekognition.add_version(project(rekognition), JOB, "STARTING")
    with pytest.raises(ModelTimedOut, match="STARTING after 600 s"):
        check_model(rekognition, waited=601)
    rekognition.versions[JOB]["Status"] = "RUNNING"
    assert check_model(rekognition, waited=601) == "RUNNING"


@pytest.mark.parametrize(
    ("status", "after"), [("RUNNING", "STOPPING"), ("STARTING", "STARTING"), ("STOPPED", "STOPPED")]
)
def test_a_model_is_stopped_if_it_runs(rekognition: FakeRekognition, status: str, after: str) -> None:
    arn = rekognition.add_version(project(rekognition), JOB, status)
    assert stop_model(rekognition, arn) == after


def test_stopping_a_model_twice_or_one_that_is_gone(rekognition: FakeRekognition) -> None:
    arn = rekognition.add_version(project(rekognition), JOB, "RUNNING")
    rekognition.refuse_next("stop_project_version", "ResourceInUseException")
    assert stop_model(rekognition, arn) == "STOPPING"
    rekognition.versions.clear()
    assert stop_model(rekognition, arn) is None


def test_a_result_file_that_is_no_json(s3: Any) -> None:
    s3.put_object(Bucket=BUCKET, Key="x.json", Body=b"{")
    with pytest.raises(UnexpectedAnswer, match=rf"s3://{BUCKET}/x\.json is not JSON"):
        models.read_json({"Bucket": BUCKET, "Name": "x.json"})
