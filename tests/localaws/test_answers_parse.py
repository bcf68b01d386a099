"""Every answer of the stand-ins, and every error, against botocore's own models of Rekognition and SageMaker."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError
from botocore.model import OperationModel
from specimens import BUCKET, LABELS, eventually, manifest_line, photo, put_lines
from test_groundtruth import Account as LabellingAccount
from test_groundtruth import request

from ekyc.localaws.server import LocalAws
from ekyc.localaws.services import groundtruth, rekognition, work_teams

JSON_TYPES: dict[str, tuple[type, ...]] = {
    "string": (str,),
    "integer": (int,),
    "long": (int,),
    "float": (int, float),
    "boolean": (bool,),
    "timestamp": (int, float),  # epoch seconds, as the AWS JSON protocol has it
}


def check(value: Any, shape: Any, path: str) -> None:
    """Fail for a member that the shape does not have or that is missing, and for a value that it does not allow."""
    if shape.type_name == "structure":
        assert isinstance(value, dict), path
        assert value.keys() <= shape.members.keys(), f"{path} has {value.keys() - shape.members.keys()}"
        assert set(shape.required_members) <= value.keys(), f"{path} lacks a required member"
        for name, member in value.items():
            check(member, shape.members[name], f"{path}.{name}")
    elif shape.type_name == "list":
        assert isinstance(value, list), path
        for number, item in enumerate(value):
            check(item, shape.member, f"{path}[{number}]")
    elif shape.type_name == "map":
        assert isinstance(value, dict), path
        for key, item in value.items():
            check(key, shape.key, f"{path} (key)")
            check(item, shape.value, f"{path}.{key}")
    else:
        assert isinstance(value, JSON_TYPES[shape.type_name]), f"{path} is {value!r}"
        assert isinstance(value, bool) == (shape.type_name == "boolean"), f"{path} is {value!r}"
        assert value in shape.metadata.get("enum", [value]), f"{path} is {value!r}"


class Inspector:
    """Checks the raw body of every answer that clients get; remembers whose answers and errors it has seen."""

    # Errors of every operation, which the models do not list for each.
    COMMON_ERRORS = ("ValidationException", "SerializationException")

    def __init__(self) -> None:
        self.answered: set[str] = set()
        self.refused: set[str] = set()

    def __call__(self, operation_model: OperationModel, response_dict: dict[str, Any], **_: Any) -> None:
        name, body = operation_model.name, json.loads(response_dict["body"] or b"{}")
        if response_dict["status_code"] == 200:
            self.answered.add(name)
            if operation_model.output_shape is None:
                assert response_dict["body"] == b""
            else:
                check(body, operation_model.output_shape, name)
            return
        self.refused.add(body["__type"])
        assert response_dict["status_code"] == 400
        assert body["__type"] in [*self.COMMON_ERRORS, *(shape.name for shape in operation_model.error_shapes)]
        service = operation_model.service_model.service_name
        extra = {"Code", "Logref"} if service == "rekognition" else set()
        assert body.keys() == {"__type", "Message"} | extra


@pytest.fixture
def inspector(empty_aws: LocalAws) -> Iterator[Inspector]:
    inspector = Inspector()
    clients = [empty_aws.client(service) for service in ("rekognition", "sagemaker")]
    for client in clients:
        client.meta.events.register("before-parse", inspector)
    yield inspector
    for client in clients:
        client.meta.events.unregister("before-parse", inspector)


def refused(call: Any, **parameters: Any) -> None:
    with pytest.raises(ClientError):
        call(**parameters)


def test_the_answers_of_rekognition(empty_aws: LocalAws, inspector: Inspector) -> None:
    # Given photos of two types, and one line in error
    client, s3 = empty_aws.client("rekognition"), empty_aws.client("s3")
    s3.create_bucket(Bucket=BUCKET)
    lines = []
    for label in LABELS:
        for seed in range(6):
            s3.put_object(Bucket=BUCKET, Key=f"{label}-{seed}.jpg", Body=photo(label, seed).jpeg)
            lines.append(manifest_line(f"{label}-{seed}.jpg", photo(label, seed)))
    manifest = put_lines(s3, "all.manifest", [*lines, manifest_line("bad.jpg", photo("ID_CARD", 1), left=-9)])
    source = {"GroundTruthManifest": {"S3Object": manifest}}

    # When every operation is called in a model's life, then each response fits the operation's service model
    project = client.create_project(ProjectName="p", Tags={"job": "j"})["ProjectArn"]
    client.list_tags_for_resource(ResourceArn=project)
    train, test = (
        client.create_dataset(ProjectArn=project, DatasetType=kind, DatasetSource=source)["DatasetArn"]
        for kind in ("TRAIN", "TEST")
    )
    describe = client.describe_dataset
    eventually(lambda: describe(DatasetArn=test)["DatasetDescription"]["Status"] == "CREATE_COMPLETE")
    client.describe_projects(ProjectNames=["p"])
    client.list_dataset_entries(DatasetArn=train, MaxResults=5)
    client.list_dataset_labels(DatasetArn=train, MaxResults=1)

    def status(name: str = "v1") -> str:
        answer = client.describe_project_versions(ProjectArn=project, VersionNames=[name])
        return answer["ProjectVersionDescriptions"][0]["Status"]

    def create_version(name: str) -> str:
        output = {"S3Bucket": BUCKET, "S3KeyPrefix": "training/"}
        return client.create_project_version(
            ProjectArn=project, VersionName=name, OutputConfig=output, VersionDescription="a model"
        )["ProjectVersionArn"]

    version = create_version("v1")
    eventually(lambda: status() == "TRAINING_COMPLETED", 40)
    rekognition.current().fail_next_training = "no reason"
    create_version("v2")
    eventually(lambda: status("v2") == "TRAINING_FAILED")
    client.start_project_version(ProjectVersionArn=version, MinInferenceUnits=1, MaxInferenceUnits=2)
    eventually(lambda: status() == "RUNNING")
    image = {"Bytes": photo("PASSPORT", 50).jpeg}
    assert client.detect_custom_labels(ProjectVersionArn=version, Image=image)["CustomLabels"]
    client.stop_project_version(ProjectVersionArn=version)
    eventually(lambda: status() == "STOPPED")

    # And each error is in the operation's service model
    refused(client.create_project, ProjectName="p")
    refused(client.create_project, ProjectName="no name")
    refused(client.create_dataset, ProjectArn=project, DatasetType="TRAIN")
    refused(client.create_dataset, ProjectArn=project, DatasetType="TEST", DatasetSource={"DatasetArn": train})
    half = {"GroundTruthManifest": {"S3Object": {"Bucket": BUCKET}}}
    refused(client.create_dataset, ProjectArn=project, DatasetType="TEST", DatasetSource=half)
    refused(describe, DatasetArn=train[:-1] + "x1")
    refused(describe, DatasetArn=train + "1")
    refused(client.describe_projects, NextToken="x")
    refused(client.describe_project_versions, ProjectArn=project + "1")
    refused(client.list_dataset_entries, DatasetArn=train, NextToken="x")
    refused(create_version, name="v1")
    refused(client.start_project_version, ProjectVersionArn=version, MinInferenceUnits=6)
    refused(client.stop_project_version, ProjectVersionArn=version)
    refused(client.detect_custom_labels, ProjectVersionArn=version, Image=image)
    refused(client.delete_project, ProjectArn=project)
    refused(client.list_tags_for_resource, ResourceArn=project + "1")

    # When all is deleted, then these answers are sound too, and no operation was left out
    client.delete_project_version(ProjectVersionArn=version)
    client.delete_dataset(DatasetArn=train)
    empty = client.create_project(ProjectName="empty")["ProjectArn"]
    client.delete_project(ProjectArn=empty)
    client.describe_projects()
    assert inspector.answered == set(rekognition.OPERATIONS)
    assert len(inspector.refused) >= 8


def test_the_answers_of_ground_truth(empty_aws: LocalAws, inspector: Inspector, tmp_path: Path) -> None:
    # Given photos and people who label them
    account = LabellingAccount(empty_aws, tmp_path)
    account.workforce.answer_from(account.answers)
    client = account.sagemaker

    # When every operation is called, for jobs that complete, fail and are stopped
    # Then each response fits the operation's service model
    client.create_labeling_job(**request("Tags", [{"Key": "job", "Value": "j"}]))
    account.describe()
    account.end()
    account.workforce.fail_next_job("no reason")
    client.create_labeling_job(**request("LabelingJobName", "failing"))
    account.end("failing")
    account.workforce.stop_answering()
    client.create_labeling_job(**request("LabelingJobName", "endless"))
    client.stop_labeling_job(LabelingJobName="endless")
    account.end("endless")
    client.list_labeling_jobs(MaxResults=2)
    members = [{"CognitoMemberDefinition": {"UserPool": "us-east-1_A", "UserGroup": "g", "ClientId": "c"}}]
    team = {"WorkteamName": "night-shift", "MemberDefinitions": members, "Description": "Night shift"}
    client.create_workteam(**team)
    client.describe_workteam(WorkteamName="night-shift")
    client.list_workteams(MaxResults=1)
    assert inspector.answered == {*groundtruth.OPERATIONS, *work_teams.OPERATIONS}

    # And each error is in the operation's service model
    refused(client.create_labeling_job, **request())
    refused(client.create_labeling_job, **request("LabelAttributeName", "source"))
    refused(client.describe_labeling_job, LabelingJobName="nothing")
    refused(client.stop_labeling_job, LabelingJobName="nothing")
    refused(client.list_labeling_jobs, NextToken="x")
    refused(client.create_workteam, **team)
    refused(client.describe_workteam, WorkteamName="nothing")
    assert inspector.refused == {"ResourceInUse", "ValidationException"}
