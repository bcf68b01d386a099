"""Create and check datasets: found or made, and failures in Rekognition's own words."""

import pytest

from pipeline import projects
from pipeline.errors import DatasetFailed, DatasetSlotsBusy, DatasetTimedOut, Throttled, UnexpectedAnswer
from pipeline.jobs import now_ms
from pipeline.projects import CheckDatasets, CreateDatasets, DatasetsChecked, DatasetsCreated
from tests.unit.aws_fakes import FakeRekognition

JOB = "ekyc-20261124015324-9f3c0a1b2c3d4e5f"
REQUEST = CreateDatasets(JOB, "s3://bucket/manifests/j/train.manifest", "s3://bucket/manifests/j/test.manifest")


@pytest.fixture
def rekognition(moto_aws: None) -> FakeRekognition:
    return FakeRekognition()


def create(rekognition: FakeRekognition) -> DatasetsCreated:
    return projects.create_datasets(REQUEST, cost_tags=["team=kyc"])


def check(rekognition: FakeRekognition, created: DatasetsCreated, waited: float = 0) -> DatasetsChecked:
    request = CheckDatasets(
        JOB, created.train_dataset_arn, created.test_dataset_arn, 3, now_ms() - int(waited * 1000), 100
    )
    return projects.check_datasets(request)


def test_a_project_gets_a_training_and_a_test_dataset(rekognition: FakeRekognition) -> None:
    # When the datasets are created
    created = create(rekognition)
    # Then the project has both, made of the manifests
    datasets = {dataset["DatasetType"]: dataset for dataset in rekognition.projects[JOB]["Datasets"]}
    assert datasets["TRAIN"]["DatasetArn"] == created.train_dataset_arn
    assert datasets["TEST"]["DatasetArn"] == created.test_dataset_arn
    assert datasets["TEST"]["Source"] == {
        "GroundTruthManifest": {"S3Object": {"Bucket": "bucket", "Name": "manifests/j/test.manifest"}}
    }


def test_the_project_is_billed_by_its_tags(rekognition: FakeRekognition) -> None:
    create(rekognition)
    assert rekognition.projects[JOB]["Tags"] == {"team": "kyc", "ekyc-job": JOB}


def test_a_second_run_finds_what_the_first_made(rekognition: FakeRekognition) -> None:
    assert create(rekognition) == create(rekognition)
    assert len(rekognition.projects[JOB]["Datasets"]) == 2


def test_a_run_after_a_crash_makes_what_is_missing(rekognition: FakeRekognition) -> None:
    # Given a run that got as far as the training dataset
    first = create(rekognition)
    rekognition.projects[JOB]["Datasets"].pop()
    # When the stage runs again
    again = create(rekognition)
    # Then both are there
    assert again == first
    assert [dataset["DatasetType"] for dataset in rekognition.projects[JOB]["Datasets"]] == ["TRAIN", "TEST"]


def test_a_project_that_is_not_ready_is_asked_again(rekognition: FakeRekognition) -> None:
    rekognition.refuse_next("create_dataset", "ResourceInUseException")
    with pytest.raises(Throttled, match="not ready for a TRAIN dataset"):
        create(rekognition)


def test_an_invisible_project_is_not_used(rekognition: FakeRekognition) -> None:
    rekognition.refuse_next("create_project", "ResourceInUseException")
    with pytest.raises(UnexpectedAnswer, match="does not describe it"):
        create(rekognition)


def test_the_limit_of_projects_is_reported(rekognition: FakeRekognition) -> None:
    rekognition.refuse_next("create_project", "LimitExceededException", "100 of 100 projects.")
    with pytest.raises(DatasetFailed, match="100 of 100 projects"):
        create(rekognition)


@pytest.mark.parametrize("made_before", [0, 1])
def test_a_full_quota_of_datasets_is_asked_again(rekognition: FakeRekognition, made_before: int) -> None:
    # Given an account that may have no further dataset, or not both
    create(rekognition)
    del rekognition.projects[JOB]["Datasets"][made_before:]
    for _ in range(made_before):
        rekognition.refuse_next("create_dataset", "ResourceAlreadyExistsException")
    rekognition.refuse_next("create_dataset", "LimitExceededException", "200 of 200 datasets.")
    # Then the state machine asks again, and what is there stays
    with pytest.raises(DatasetSlotsBusy, match="200 of 200 datasets"):
        create(rekognition)
    assert len(rekognition.projects[JOB]["Datasets"]) == made_before


def test_a_manifest_that_cannot_be_read_is_named(rekognition: FakeRekognition) -> None:
    rekognition.refuse_next("create_dataset", "InvalidS3ObjectException", "Unable to get images/j/jane.jpg.")
    with pytest.raises(DatasetFailed, match=r"manifest s3://bucket/manifests/j/train\.manifest .*Invalid") as failure:
        create(rekognition)
    assert "jane" not in str(failure.value)


def test_datasets_are_ready_when_both_are(rekognition: FakeRekognition) -> None:
    # Given datasets of which one is complete
    created = create(rekognition)
    rekognition.dataset(created.train_dataset_arn)["Status"] = "CREATE_COMPLETE"
    assert check(rekognition, created) == DatasetsChecked(False, "CREATE_COMPLETE", "CREATE_IN_PROGRESS")
    # When the other one is too
    rekognition.dataset(created.test_dataset_arn)["Status"] = "CREATE_COMPLETE"
    # Then they are ready, however late
    assert check(rekognition, created, waited=200).ready


def test_a_refused_dataset_says_how_to_read_the_reason(rekognition: FakeRekognition) -> None:
    created = create(rekognition)
    message = "The photo images/j/jane.jpg is too large."
    rekognition.dataset(created.test_dataset_arn).update(Status="CREATE_FAILED", StatusMessage=message)
    with pytest.raises(DatasetFailed, match=f"CREATE_FAILED.*describe-dataset .*{created.test_dataset_arn}") as failure:
        check(rekognition, created)
    assert "jane" not in str(failure.value)


def test_datasets_that_take_too_long_time_out(rekognition: FakeRekognition) -> None:
    with pytest.raises(DatasetTimedOut, match="After 100 s the TRAIN dataset is CREATE_IN_PROGRESS"):
        check(rekognition, create(rekognition), waited=101)
