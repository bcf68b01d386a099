"""Rekognition Custom Labels over HTTP: states, quotas, errors, datasets, a training with its files, detection."""

from __future__ import annotations

import inspect
import json
import subprocess
from pathlib import Path
from typing import Any

import moto.rekognition.responses
import pytest
from botocore.exceptions import ClientError
from specimens import (
    BUCKET,
    HEIGHT,
    LABELS,
    WIDTH,
    eventually,
    manifest_line,
    photo,
    put_lines,
    read_lines,
    stored_lying,
)

from ekyc.localaws.clock import clock
from ekyc.localaws.server import LocalAws
from ekyc.localaws.services import rekognition


class Account:
    """The clients, and the calls that most tests begin with."""

    def __init__(self, local_aws: LocalAws) -> None:
        self.rekognition = local_aws.client("rekognition")
        self.s3 = local_aws.client("s3")
        self.s3.create_bucket(Bucket=BUCKET)
        self.project = self.rekognition.create_project(ProjectName="documents")["ProjectArn"]

    def upload(self, prefix: str, seeds: range) -> list[dict[str, Any]]:
        """Upload a photo of each label for every seed; gives their manifest lines."""
        lines = []
        for label in LABELS:
            for seed in seeds:
                key, taken = f"{prefix}/{label}-{seed}.jpg", photo(label, seed)
                self.s3.put_object(Bucket=BUCKET, Key=key, Body=taken.jpeg)
                lines.append(manifest_line(key, taken))
        return lines

    def create_dataset(self, kind: str, lines: list[Any]) -> str:
        manifest = put_lines(self.s3, f"{kind}.manifest", lines)
        return self.rekognition.create_dataset(
            ProjectArn=self.project, DatasetType=kind, DatasetSource={"GroundTruthManifest": {"S3Object": manifest}}
        )["DatasetArn"]

    def dataset(self, arn: str) -> dict[str, Any]:
        return self.rekognition.describe_dataset(DatasetArn=arn)["DatasetDescription"]

    def dataset_at_rest(self, kind: str, lines: list[Any]) -> dict[str, Any]:
        arn = self.create_dataset(kind, lines)
        eventually(lambda: self.dataset(arn)["Status"] != "CREATE_IN_PROGRESS")
        return self.dataset(arn) | {"Arn": arn}

    def train(self, name: str, bucket: str = BUCKET) -> str:
        return self.rekognition.create_project_version(
            ProjectArn=self.project, VersionName=name, OutputConfig={"S3Bucket": bucket, "S3KeyPrefix": "training"}
        )["ProjectVersionArn"]

    def version(self, name: str) -> dict[str, Any]:
        answer = self.rekognition.describe_project_versions(ProjectArn=self.project, VersionNames=[name])
        return answer["ProjectVersionDescriptions"][0]

    def version_after(self, name: str, status: str) -> dict[str, Any]:
        eventually(lambda: self.version(name)["Status"] != status, 40)
        return self.version(name)

    def datasets_of_lines(self, training: list[Any], testing: list[Any]) -> None:
        assert self.dataset_at_rest("TRAIN", training)["Status"] == "CREATE_COMPLETE"
        assert self.dataset_at_rest("TEST", testing)["Status"] == "CREATE_COMPLETE"


@pytest.fixture
def account(empty_aws: LocalAws) -> Account:
    return Account(empty_aws)


def error_of(call: Any, **parameters: Any) -> dict[str, str]:
    with pytest.raises(ClientError) as raised:
        call(**parameters)
    return raised.value.response["Error"]


def code_of(call: Any, **parameters: Any) -> str:
    return error_of(call, **parameters)["Code"]


def test_moto_has_no_custom_labels_of_its_own() -> None:
    # When moto gains these operations, this stand-in may have become needless
    source = inspect.getsource(moto.rekognition.responses)
    assert "def create_project" not in source
    assert "def describe_project_versions" not in source


def test_a_model_is_trained_started_asked_and_stopped(account: Account) -> None:
    # Given datasets of photos of two types, one of them stored lying and one line with a photo that is no photo
    training, testing = account.upload("train", range(6)), account.upload("test", range(100, 103))
    account.s3.put_object(Bucket=BUCKET, Key="train/broken.jpg", Body=b"no photo")
    training.append(training[0] | {"source-ref": f"s3://{BUCKET}/train/broken.jpg"})
    lying = stored_lying(photo(LABELS[0], 0))
    account.s3.put_object(Bucket=BUCKET, Key=f"train/{LABELS[0]}-0.jpg", Body=lying.jpeg)
    account.datasets_of_lines(training, testing)

    # When a version is trained, then it is in training first, and shows no result yet
    arn = account.train("v1")
    early = account.version("v1")
    assert (early["Status"], early["StatusMessage"]) == ("TRAINING_IN_PROGRESS", "The model is being trained.")
    assert not {"BillableTrainingTimeInSeconds", "EvaluationResult", "TrainingEndTimestamp"} & early.keys()
    assert code_of(account.rekognition.start_project_version, ProjectVersionArn=arn, MinInferenceUnits=1) == (
        "ResourceInUseException"
    )

    # And completes, with figures of the test photos that are in the output files too
    trained = account.version_after("v1", "TRAINING_IN_PROGRESS")
    assert (trained["Status"], trained["StatusMessage"]) == ("TRAINING_COMPLETED", "The model is ready to run.")
    assert trained["BillableTrainingTimeInSeconds"] >= 1
    assert trained["EvaluationResult"]["F1Score"] > 0.9
    check_output_files(account, trained)

    # When it is started, then it is STARTING before it is RUNNING, and cannot be asked before
    rekognition.current().start_seconds = 600
    detect = account.rekognition.detect_custom_labels
    taken = photo("PASSPORT", 200)
    assert code_of(detect, ProjectVersionArn=arn, Image={"Bytes": taken.jpeg}) == "ResourceNotReadyException"
    with clock.computing():  # until this thread has looked
        started = account.rekognition.start_project_version(ProjectVersionArn=arn, MinInferenceUnits=2)
        assert started["Status"] == "STARTING"
        assert account.version("v1")["Status"] == "STARTING"
        assert code_of(account.rekognition.stop_project_version, ProjectVersionArn=arn) == "ResourceInUseException"
    running = account.version_after("v1", "STARTING")
    assert (running["Status"], running["MinInferenceUnits"]) == ("RUNNING", 2)

    # When it is asked about a new photo, as bytes and in S3, then it finds and names the document
    account.s3.put_object(Bucket=BUCKET, Key="new.jpg", Body=taken.jpeg)
    in_s3 = detect(ProjectVersionArn=arn, Image={"S3Object": {"Bucket": BUCKET, "Name": "new.jpg"}})["CustomLabels"]
    found = detect(ProjectVersionArn=arn, Image={"Bytes": taken.jpeg})["CustomLabels"]
    assert found == in_s3
    assert [label["Name"] for label in found] == ["PASSPORT"]
    box = found[0]["Geometry"]["BoundingBox"]
    assert taken.box
    assert [box["Left"] * WIDTH, box["Top"] * HEIGHT, box["Width"] * WIDTH, box["Height"] * HEIGHT] == pytest.approx(
        taken.box, abs=6
    )
    assert set(found[0]["Geometry"]) == {"BoundingBox"}  # Rekognition answers no polygon for custom labels

    # And MinConfidence takes the place of the label's own threshold, 0 included
    confidence = found[0]["Confidence"]
    everything = detect(ProjectVersionArn=arn, Image={"Bytes": taken.jpeg}, MinConfidence=0)["CustomLabels"]
    assert everything[0]["Confidence"] == max(label["Confidence"] for label in everything) == confidence
    if confidence < 100:
        assert not detect(ProjectVersionArn=arn, Image={"Bytes": taken.jpeg}, MinConfidence=100)["CustomLabels"]
    assert not detect(ProjectVersionArn=arn, Image={"Bytes": taken.jpeg}, MaxResults=0)["CustomLabels"]
    assert not detect(ProjectVersionArn=arn, Image={"Bytes": photo(None, 1).jpeg})["CustomLabels"]
    check_refused_images(account, arn)

    # When it is stopped, then it is STOPPING, STOPPED, and can be started again and deleted when it stands still
    assert code_of(account.rekognition.delete_project_version, ProjectVersionArn=arn) == "ResourceInUseException"
    assert account.rekognition.stop_project_version(ProjectVersionArn=arn)["Status"] == "STOPPING"
    assert account.version_after("v1", "STOPPING")["Status"] == "STOPPED"
    check_running_models_quota(account, arn)
    rekognition.current().fail_next_start = "The model could not be loaded."
    account.rekognition.start_project_version(ProjectVersionArn=arn, MinInferenceUnits=1)
    failed = account.version_after("v1", "STARTING")
    assert (failed["Status"], failed["StatusMessage"]) == ("FAILED", "The model could not be loaded.")
    assert code_of(account.rekognition.delete_project, ProjectArn=account.project) == "ResourceInUseException"
    assert account.rekognition.delete_project_version(ProjectVersionArn=arn)["Status"] == "DELETING"
    list_versions = account.rekognition.describe_project_versions
    eventually(lambda: not list_versions(ProjectArn=account.project)["ProjectVersionDescriptions"])


def check_output_files(account: Account, trained: dict[str, Any]) -> None:
    def name_of(place: dict[str, Any]) -> str:
        return place["S3Object"]["Name"]

    def manifest_of(result: str, part: str) -> str:
        return name_of(trained[f"{result}DataResult"][part]["Assets"][0]["GroundTruthManifest"])

    # The names are AWS's
    assert trained["TrainingDataResult"]["Input"] == {}
    assert trained["TestingDataResult"]["Input"] == {"AutoCreate": False}
    assert name_of(trained["EvaluationResult"]["Summary"]) == "training/EvaluationResultSummary-documents-v1.json"
    assert name_of(trained["ManifestSummary"]) == "training/ManifestSummary-documents-v1.json"
    assert manifest_of("Training", "Output") == "training/TrainingGroundTruth-documents-v1.json"
    assert manifest_of("Testing", "Output") == "training/TestingGroundTruth-documents-v1.json"
    assert manifest_of("Training", "Validation") == "training/TrainingManifestWithValidation-documents-v1.json"
    assert manifest_of("Testing", "Validation") == "training/TestingManifestWithValidation-documents-v1.json"

    # The summary has the figures of the description
    summary = read_lines(account.s3, name_of(trained["EvaluationResult"]["Summary"]))[0]
    assert summary["AggregatedEvaluationResults"]["F1Score"] == pytest.approx(trained["EvaluationResult"]["F1Score"])
    assert summary["EvaluationDetails"]["Labels"] == list(LABELS)
    assert summary["EvaluationDetails"]["NumberOfTrainingImages"] == 12
    assert summary["EvaluationDetails"]["NumberOfTestingImages"] == 6
    for label in summary["LabelEvaluationResults"]:
        assert label["NumberOfTestingImages"] == 3
        assert label["Metrics"].keys() == {"F1Score", "Precision", "Recall", "Threshold"}

    # The line with the broken photo is invalid, marked, and not in the snapshot of what was trained with
    manifests = read_lines(account.s3, name_of(trained["ManifestSummary"]))[0]
    assert manifests["statistics"]["training"]["error_json_line_indices"] == [12]
    marked = read_lines(account.s3, manifest_of("Training", "Validation"))
    assert [line.get("errors", [{}])[0].get("code") for line in marked] == [None] * 12 + ["ERROR_INVALID_IMAGE"]
    assert len(read_lines(account.s3, manifest_of("Training", "Output"))) == 12

    # The snapshot of the test photos says for each detected box whether it is right
    for line in read_lines(account.s3, manifest_of("Testing", "Output")):
        details = line["rekognition-custom-labels-evaluation-metadata"]["objects"][0]
        verdict = details["rekognition-custom-labels-evaluation-details"]
        assert verdict["is-true-positive"] != verdict["is-false-negative"]
        assert line["rekognition-custom-labels-evaluation-metadata"]["human-annotated"] == "no"


def check_refused_images(account: Account, arn: str) -> None:
    def code(**image: Any) -> str:
        return code_of(account.rekognition.detect_custom_labels, ProjectVersionArn=arn, Image=image)

    assert code(Bytes=b"no photo") == "InvalidImageFormatException"
    assert code(Bytes=b"x" * (4 * 1024 * 1024 + 1)) == "ImageTooLargeException"
    assert code(S3Object={"Bucket": BUCKET, "Name": "nowhere.jpg"}) == "InvalidS3ObjectException"
    assert code() == "InvalidParameterException"


def check_running_models_quota(account: Account, arn: str) -> None:
    start = account.rekognition.start_project_version
    assert code_of(start, ProjectVersionArn=arn, MinInferenceUnits=6) == "LimitExceededException"
    rekognition.current().max_running_models = 0
    assert code_of(start, ProjectVersionArn=arn, MinInferenceUnits=1) == "LimitExceededException"
    rekognition.current().max_running_models = 2


def test_a_dataset_is_made_after_a_while_and_lists_its_lines(account: Account) -> None:
    # Given lines of which one comes twice, one is unreadable and one has a box beyond the frame
    good = [manifest_line(f"{label}-{n}.jpg", photo(label, n)) for label in LABELS for n in range(5)]
    bad = manifest_line("bad.jpg", photo("ID_CARD", 1), left=-3)

    # When a dataset is created from them, then it is in progress first and cannot be listed or deleted
    rekognition.current().dataset_seconds = 300
    with clock.computing():  # until this thread has looked
        arn = account.create_dataset("TRAIN", [*good, good[0], "unreadable", bad])
        assert "/dataset/train/" in arn
        assert account.dataset(arn)["Status"] == "CREATE_IN_PROGRESS"
        assert code_of(account.rekognition.list_dataset_entries, DatasetArn=arn) == "ResourceNotReadyException"
        assert code_of(account.rekognition.delete_dataset, DatasetArn=arn) == "ResourceInUseException"

    # And then complete, without the two lines that have terminal errors
    eventually(lambda: account.dataset(arn)["Status"] != "CREATE_IN_PROGRESS")
    made = account.dataset(arn)
    assert (made["Status"], made["StatusMessageCode"]) == ("CREATE_COMPLETE", "SUCCESS")
    assert made["StatusMessage"] == "The dataset was successfully created from the manifest file."
    assert made["DatasetStats"] == {"LabeledEntries": 11, "TotalEntries": 11, "TotalLabels": 2, "ErrorEntries": 1}

    # And its pages of lines, filters and labels fit its content
    pages = account.rekognition.get_paginator("list_dataset_entries").paginate(
        DatasetArn=arn, PaginationConfig={"PageSize": 4}
    )
    entries = [[json.loads(entry) for entry in page["DatasetEntries"]] for page in pages]
    assert [len(page) for page in entries] == [4, 4, 3]
    assert entries[0][0] == good[0] | {"cl-metadata": {"is_labeled": True}}
    listed = account.rekognition.list_dataset_entries(DatasetArn=arn, HasErrors=True)["DatasetEntries"]
    errors = json.loads(listed[0])["doctype"]["annotations"][0]["cl-errors"]
    assert [error["code"] for error in errors] == ["ERROR_INVALID_BOUNDING_BOX"]
    passports = account.rekognition.list_dataset_entries(DatasetArn=arn, ContainsLabels=["PASSPORT"])["DatasetEntries"]
    assert len(passports) == 5
    assert account.rekognition.list_dataset_labels(DatasetArn=arn)["DatasetLabelDescriptions"] == [
        {"LabelName": "ID_CARD", "LabelStats": {"EntryCount": 6, "BoundingBoxCount": 5}},
        {"LabelName": "PASSPORT", "LabelStats": {"EntryCount": 5, "BoundingBoxCount": 5}},
    ]
    assert code_of(account.rekognition.list_dataset_labels, DatasetArn=arn, NextToken="no token") == (
        "InvalidPaginationTokenException"
    )

    # When it is deleted, then it is gone after a while, and another one can be made
    rekognition.current().delete_seconds = 300
    with clock.computing():
        account.rekognition.delete_dataset(DatasetArn=arn)
        assert account.dataset(arn)["Status"] == "DELETE_IN_PROGRESS"
    projects = account.rekognition.describe_projects
    eventually(lambda: not projects()["ProjectDescriptions"][0]["Datasets"])
    assert code_of(account.rekognition.describe_dataset, DatasetArn=arn) == "ResourceNotFoundException"
    assert account.dataset_at_rest("TRAIN", good)["Status"] == "CREATE_COMPLETE"


def test_a_manifest_that_cannot_be_used_shows_in_the_status(account: Account) -> None:
    # Given a manifest that was not uploaded, and a test hook
    create = account.rekognition.create_dataset
    nowhere = {"GroundTruthManifest": {"S3Object": {"Bucket": BUCKET, "Name": "nowhere.manifest"}}}

    # When datasets are made, then the calls succeed and the datasets fail
    missing = create(ProjectArn=account.project, DatasetType="TRAIN", DatasetSource=nowhere)["DatasetArn"]
    eventually(lambda: account.dataset(missing)["Status"] == "CREATE_FAILED")
    rekognition.current().fail_next_dataset = "Something went wrong."
    failed = account.dataset_at_rest("TEST", [manifest_line("a.jpg", photo("ID_CARD", 1))])
    assert (failed["Status"], failed["StatusMessage"]) == ("CREATE_FAILED", "Something went wrong.")

    # And their messages and codes say why
    missing_now = account.dataset(missing)
    assert missing_now["StatusMessage"] == "The manifest file extension or contents are invalid."
    assert missing_now["StatusMessageCode"] == "CLIENT_ERROR"
    assert code_of(account.train, name="v1") == "InvalidParameterException"


def test_a_failed_training_names_its_reason_and_lines(account: Account) -> None:
    # Given a training dataset most of whose photos are not there
    rekognition.current().training_seconds = 3
    good = account.upload("train", range(2))
    missing = [one | {"source-ref": f"s3://{BUCKET}/nowhere/{n}.jpg"} for n, one in enumerate(good)]
    account.datasets_of_lines([*good, *missing], account.upload("test", range(100, 101)))

    # When it is trained with
    account.train("v1")
    failed = account.version_after("v1", "TRAINING_IN_PROGRESS")

    # Then the version fails with AWS's words, and the summary and the validation manifests were written
    assert failed["Status"] == "TRAINING_FAILED"
    assert failed["StatusMessage"] == "The manifest file contains too many invalid rows."
    assert not {"BillableTrainingTimeInSeconds", "EvaluationResult"} & failed.keys()
    summary = read_lines(account.s3, failed["ManifestSummary"]["S3Object"]["Name"])[0]
    training = summary["statistics"]["training"]
    assert (training["total_json_lines"], training["invalid_json_lines"]) == (8, 4)
    assert [error["code"] for error in training["errors"]] == ["ERROR_TOO_MANY_INVALID_ROWS_IN_MANIFEST"]
    assert "Validation" in failed["TrainingDataResult"]
    assert "Output" not in failed["TrainingDataResult"]

    # When the output bucket is not there, then there is a message and nothing else
    account.train("v2", bucket="nowhere-to-be-found")
    nowhere = account.version_after("v2", "TRAINING_IN_PROGRESS")
    assert (nowhere["Status"], nowhere["StatusMessage"]) == (
        "TRAINING_FAILED",
        "Unable to write to output S3 bucket.",
    )
    assert not {"ManifestSummary", "TrainingDataResult"} & nowhere.keys()

    # When a test wants it to fail, then it does, once
    rekognition.current().fail_next_training = "Amazon Rekognition experienced a service issue."
    account.train("v3")
    assert account.version_after("v3", "TRAINING_IN_PROGRESS")["StatusMessage"].startswith("Amazon Rekognition")

    # And versions are listed newest first
    versions = account.rekognition.describe_project_versions(ProjectArn=account.project)["ProjectVersionDescriptions"]
    assert [version["ProjectVersionArn"].split("/")[3] for version in versions] == ["v3", "v2", "v1"]


def test_quotas_and_names(account: Account) -> None:
    # Given datasets, and trainings that take their time
    line = manifest_line("a.jpg", photo("ID_CARD", 1))
    account.datasets_of_lines([line], [line])
    service = rekognition.current()
    service.training_seconds = 10_000_000

    # When the same is made twice, then that is refused by the name that AWS has for it
    assert code_of(account.rekognition.create_project, ProjectName="documents") == "ResourceInUseException"
    assert code_of(account.create_dataset, kind="TRAIN", lines=[line]) == "ResourceAlreadyExistsException"
    account.train("v1")
    assert code_of(account.train, name="v1") == "ResourceInUseException"

    # When a third training is started while two run, then the limit is exceeded
    account.train("v2")
    assert code_of(account.train, name="v3") == "LimitExceededException"

    # When there are as many projects and versions as may be, then the limit is exceeded too
    service.max_trainings, service.max_versions, service.max_projects = 10, 2, 1
    assert code_of(account.train, name="v3") == "LimitExceededException"
    assert code_of(account.rekognition.create_project, ProjectName="another") == "LimitExceededException"


def test_requests_are_checked_against_the_services_model(account: Account) -> None:
    # When a parameter breaks a pattern, a bound or an enumeration
    # Then the error names the parameter and the rule in AWS's words
    error = error_of(account.rekognition.create_project, ProjectName="not a name")
    assert error == {
        "Code": "ValidationException",
        "Message": "1 validation error detected: Value 'not a name' at 'projectName' failed to satisfy constraint: "
        r"Member must satisfy regular expression pattern: [a-zA-Z0-9_.\-]+",
    }
    create_dataset = account.rekognition.create_dataset
    error = error_of(create_dataset, ProjectArn=account.project, DatasetType="VALIDATION")
    assert "'datasetType'" in error["Message"]
    assert "Member must satisfy enum value set: [TRAIN, TEST]" in error["Message"]
    error = error_of(account.rekognition.describe_projects, MaxResults=101)
    assert "less than or equal to 100" in error["Message"]
    error = error_of(account.rekognition.create_project, ProjectName="p", Tags={"aws:reserved": "x"})
    assert "'tags.aws:reserved.key'" in error["Message"]

    # When an ARN is sound and names nothing, then there is no such resource
    unknown_project = account.project.replace("documents", "nothing")
    assert (
        code_of(account.rekognition.describe_project_versions, ProjectArn=unknown_project)
        == "ResourceNotFoundException"
    )


def test_a_project_goes_with_its_datasets(account: Account) -> None:
    # Given a project with tags and an empty dataset
    arn = account.rekognition.create_project(ProjectName="short-lived", Tags={"job": "j"})["ProjectArn"]
    dataset = account.rekognition.create_dataset(ProjectArn=arn, DatasetType="TEST")["DatasetArn"]
    assert account.rekognition.list_tags_for_resource(ResourceArn=arn)["Tags"] == {"job": "j"}

    # When it is deleted
    assert account.rekognition.delete_project(ProjectArn=arn)["Status"] == "DELETING"

    # Then both are gone after a while, and the other project is left
    names = ["short-lived", "documents"]
    projects = account.rekognition.describe_projects
    eventually(lambda: len(projects(ProjectNames=names)["ProjectDescriptions"]) == 1)
    assert projects()["ProjectDescriptions"][0]["ProjectArn"] == account.project
    assert code_of(account.rekognition.describe_dataset, DatasetArn=dataset) == "ResourceNotFoundException"


def test_a_reset_ends_a_training_and_leaves_nothing_behind(
    account: Account, empty_aws: LocalAws, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Given a training whose process is at work
    processes: list[subprocess.Popen[bytes]] = []

    class RememberedProcess(subprocess.Popen[bytes]):
        def __init__(self, *arguments: Any, **options: Any) -> None:
            super().__init__(*arguments, **options)
            processes.append(self)

    monkeypatch.setattr(subprocess, "Popen", RememberedProcess)
    account.datasets_of_lines(account.upload("train", range(4)), account.upload("test", range(100, 102)))
    account.train("v1")
    eventually(lambda: processes)
    folder = Path(processes[0].args[-1])  # type: ignore[index, arg-type]
    assert folder.exists()

    # When the local AWS is reset
    empty_aws.reset()

    # Then the process, its files and the project are gone
    assert processes[0].returncode is not None
    assert not folder.exists()
    assert account.rekognition.describe_projects()["ProjectDescriptions"] == []
