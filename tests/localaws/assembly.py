"""A small cloud assembly, written by hand: one function or several, what calls them, and a state machine."""

from __future__ import annotations

import json
import textwrap
from pathlib import Path
from typing import Any

ASSETS = "cdk-hnb659fds-assets-${AWS::AccountId}-${AWS::Region}"
EVERYTHING = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}]}
ROLE = {
    "Type": "AWS::IAM::Role",
    "Properties": {
        "AssumeRolePolicyDocument": {"Version": "2012-10-17", "Statement": []},
        "Policies": [{"PolicyName": "everything", "PolicyDocument": EVERYTHING}],
    },
}


def function(handler: str, timeout: int = 5, **variables: Any) -> dict[str, Any]:
    """A function of the assembly's one asset."""
    return {
        "Type": "AWS::Lambda::Function",
        "Properties": {
            "Code": {"S3Bucket": "cdk-hnb659fds-assets-123456789012-us-east-1", "S3Key": "code.zip"},
            "Handler": handler,
            "Role": {"Fn::GetAtt": ["Role", "Arn"]},
            "Runtime": "python3.14",
            "Timeout": timeout,
            "MemorySize": 256,
            "Environment": {"Variables": variables},
        },
    }


def state_machine(definition: dict[str, Any], **substitutions: Any) -> dict[str, Any]:
    return {
        "Type": "AWS::StepFunctions::StateMachine",
        "Properties": {
            "DefinitionString": json.dumps(definition),
            "DefinitionSubstitutions": substitutions,
            "RoleArn": {"Fn::GetAtt": ["Role", "Arn"]},
        },
    }


def rule(pattern: dict[str, Any], function_name: str, **target: Any) -> dict[str, Any]:
    """A rule with a function as its target; give the function a `permission` of the rule too."""
    return {
        "Type": "AWS::Events::Rule",
        "Properties": {
            "EventPattern": pattern,
            "State": "ENABLED",
            "Targets": [{"Id": "Target0", "Arn": {"Fn::GetAtt": [function_name, "Arn"]}, **target}],
        },
    }


def permission(function_name: str, rule_name: str) -> dict[str, Any]:
    return {
        "Type": "AWS::Lambda::Permission",
        "Properties": {
            "Action": "lambda:InvokeFunction",
            "FunctionName": {"Fn::GetAtt": [function_name, "Arn"]},
            "Principal": "events.amazonaws.com",
            "SourceArn": {"Fn::GetAtt": [rule_name, "Arn"]},
        },
    }


def ref(name: str) -> dict[str, str]:
    return {"Ref": name}


def arn(name: str) -> dict[str, Any]:
    return {"Fn::GetAtt": [name, "Arn"]}


def write(directory: Path, code: str, resources: dict[str, Any], outputs: dict[str, Any] | None = None) -> Path:
    """Write the assembly: `code` is the asset's module `app`."""
    asset = directory / "asset.code"
    asset.mkdir(parents=True)
    (asset / "app.py").write_text(textwrap.dedent(code))
    files = {
        "manifest.json": {
            "version": "48.0.0",
            "artifacts": {
                "test.assets": {"type": "cdk:asset-manifest", "properties": {"file": "test.assets.json"}},
                "test": {
                    "type": "aws:cloudformation:stack",
                    "properties": {
                        "templateFile": "test.template.json",
                        "stackName": "test",
                        "stackTemplateAssetObjectUrl": f"s3://{ASSETS}/template.json",
                    },
                },
            },
        },
        "test.assets.json": {
            "version": "48.0.0",
            "files": {
                "code": {
                    "source": {"path": "asset.code", "packaging": "zip"},
                    "destinations": {"current": {"bucketName": ASSETS, "objectKey": "code.zip"}},
                },
                "template": {
                    "source": {"path": "test.template.json", "packaging": "file"},
                    "destinations": {"current": {"bucketName": ASSETS, "objectKey": "template.json"}},
                },
            },
        },
        "test.template.json": {
            "Parameters": {
                "BootstrapVersion": {
                    "Type": "AWS::SSM::Parameter::Value<String>",
                    "Default": "/cdk-bootstrap/hnb659fds/version",
                }
            },
            "Resources": {"Role": ROLE, **resources},
            "Outputs": {name: {"Value": value} for name, value in (outputs or {}).items()},
        },
    }
    for name, content in files.items():
        (directory / name).write_text(json.dumps(content))
    return directory
