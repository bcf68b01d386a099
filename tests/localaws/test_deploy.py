"""CloudFormation: a cloud assembly becomes resources, or an error in words."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from assembly import ROLE, arn, function, ref, state_machine, write
from executions import Deploy, Executions

from ekyc.localaws.deploy import DeployError
from ekyc.localaws.server import LocalAws

CODE = "def handler(event, context):\n    return 'done'\n"
DEFINITION: dict[str, Any] = {
    "StartAt": "Do",
    "States": {
        "Do": {
            "Type": "Task",
            "Resource": "arn:aws:states:::lambda:invoke",
            "Parameters": {"FunctionName": "${Function}"},
            "TimeoutSeconds": 60,
            "OutputPath": "$.Payload",
            "End": True,
        }
    },
}


def test_definition_substitutions(deploy: Deploy, executions: Executions) -> None:
    # Given a state machine whose definition has a substitution
    resources = {"Function": function("app.handler"), "Machine": state_machine(DEFINITION, Function=arn("Function"))}
    # When it is deployed and runs
    machine = deploy(CODE, resources)["Machine"]
    # Then it calls the function that the template names, in the engine that executes
    assert json.loads(executions.run(machine)["output"]) == "done"


def test_definition_in_s3(empty_aws: LocalAws, tmp_path: Path, executions: Executions) -> None:
    # Given a state machine whose definition is an asset of its own
    machine = state_machine({}, Function=arn("Function"))
    del machine["Properties"]["DefinitionString"]
    bucket = "cdk-hnb659fds-assets-123456789012-us-east-1"
    machine["Properties"]["DefinitionS3Location"] = {"Bucket": bucket, "Key": "definition.json"}
    resources = {"Function": function("app.handler"), "Machine": machine}
    directory = write(tmp_path / "assembly", CODE, resources, {"Machine": ref("Machine")})
    (directory / "definition.asl.json").write_text(json.dumps(DEFINITION))
    assets = json.loads((directory / "test.assets.json").read_text())
    assets["files"]["definition"] = {
        "source": {"path": "definition.asl.json", "packaging": "file"},
        "destinations": {"here": {"bucketName": bucket, "objectKey": "definition.json"}},
    }
    (directory / "test.assets.json").write_text(json.dumps(assets))
    # When it is deployed, then it runs
    outputs = empty_aws.deploy(directory)
    assert json.loads(executions.run(outputs["Machine"])["output"]) == "done"


def test_layers_and_types_unknown_to_moto_are_skipped(deploy: Deploy) -> None:
    # Given a layer, an alarm and a bucket policy in the template
    with_layer = function("app.handler")
    with_layer["Properties"]["Layers"] = [ref("Layer")]
    resources = {
        "Layer": {
            "Type": "AWS::Lambda::LayerVersion",
            "Properties": {"Content": {"S3Bucket": "cdk-hnb659fds-assets-123456789012-us-east-1", "S3Key": "code.zip"}},
        },
        "Function": with_layer,
        "Alarm": {"Type": "AWS::CloudWatch::Alarm", "Properties": {"EvaluationPeriods": 1}},
    }
    # When it is deployed, then the function is there
    assert deploy(CODE, resources)["Function"]


def test_reset_and_deploy_again(empty_aws: LocalAws, tmp_path: Path) -> None:
    directory = write(tmp_path / "assembly", CODE, {"Function": function("app.handler")}, {"F": ref("Function")})
    empty_aws.deploy(directory)
    empty_aws.reset()
    assert empty_aws.client("lambda").list_functions()["Functions"] == []
    assert empty_aws.deploy(directory)["F"]


def test_missing_asset_is_named(empty_aws: LocalAws, tmp_path: Path) -> None:
    # Given an assembly whose asset has gone
    directory = write(tmp_path / "assembly", CODE, {"Function": function("app.handler")})
    (directory / "asset.code" / "app.py").unlink()
    (directory / "asset.code").rmdir()
    # When it is deployed, then the error names it
    with pytest.raises(DeployError, match=r"Asset code is missing: .*asset\.code"):
        empty_aws.deploy(directory)


def test_asset_that_no_manifest_has_is_named(empty_aws: LocalAws, tmp_path: Path) -> None:
    # Given a function whose code is in no asset manifest
    stray = function("app.handler")
    stray["Properties"]["Code"]["S3Key"] = "other.zip"
    directory = write(tmp_path / "assembly", CODE, {"Stray": stray})
    # When it is deployed, then the error names the function
    with pytest.raises(DeployError, match="Stray"):
        empty_aws.deploy(directory)


def test_broken_state_machine_is_named(empty_aws: LocalAws, tmp_path: Path) -> None:
    directory = write(tmp_path / "assembly", CODE, {"Machine": state_machine({"States": "none"})})
    with pytest.raises(DeployError, match="Machine"):
        empty_aws.deploy(directory)


def test_no_assembly(empty_aws: LocalAws, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="make synth"):
        empty_aws.deploy(tmp_path)


def test_role_is_the_template_s(deploy: Deploy, local_aws: LocalAws) -> None:
    deploy(CODE, {"Other": ROLE, "Function": function("app.handler")})
    assert local_aws.client("lambda").list_functions()["Functions"][0]["Role"].startswith("arn:aws:iam::123456789012:")


def test_tags_of_a_parameter_and_a_key_are_the_templates(deploy: Deploy, local_aws: LocalAws) -> None:
    # Given a parameter whose tags are a map, and a key whose tags are a list, as CloudFormation has them
    parameter = {"Name": "/tagged", "Type": "String", "Value": "x", "Tags": {"team": "kyc"}}
    key = {"KeyPolicy": {"Version": "2012-10-17", "Statement": []}, "Tags": [{"Key": "team", "Value": "kyc"}]}
    resources = {
        "Function": function("app.handler"),
        "Parameter": {"Type": "AWS::SSM::Parameter", "Properties": parameter},
        "Key": {"Type": "AWS::KMS::Key", "Properties": key},
    }
    # When they are deployed
    key_id = deploy(CODE, resources)["Key"]
    # Then both services know the tags
    of_parameter = local_aws.client("ssm").list_tags_for_resource(ResourceType="Parameter", ResourceId="/tagged")
    assert of_parameter["TagList"] == [{"Key": "team", "Value": "kyc"}]
    of_key = local_aws.client("kms").list_resource_tags(KeyId=key_id)
    assert of_key["Tags"] == [{"TagKey": "team", "TagValue": "kyc"}]
