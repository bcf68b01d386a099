"""Holds recorded calls against the roles of the deployed template, as IAM does."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

from ekyc.localaws import aws
from ekyc.localaws.calls import Call
from ekyc.localaws.server import LocalAws

HERE = f"{aws.region}:{aws.account}"
S3_ACTIONS = {
    "ListObjectsV2": "ListBucket",
    "ListObjectVersions": "ListBucketVersions",
    "HeadObject": "GetObject",
    "CreateMultipartUpload": "PutObject",
    "UploadPart": "PutObject",
    "CompleteMultipartUpload": "PutObject",
    "DeleteObjects": "DeleteObject",
}
"""Where the action is not named like the operation. Source: S3 guide, 'Required permissions for S3 API operations'."""

Need = tuple[str, str]
"""An action and the resource that it is on."""


def needs(call: Call, state_machine: str) -> Iterator[Need]:
    """What IAM asks for the call. Source: Service Authorization Reference of each service."""
    given = call.parameters
    match call.service, call.operation:
        case "dynamodb", operation:
            index = f"/index/{given['IndexName']}" if "IndexName" in given else ""
            yield f"dynamodb:{operation}", f"arn:aws:dynamodb:{HERE}:table/{given['TableName']}{index}"
        case "s3", operation:
            bucket, action = f"arn:aws:s3:::{given['Bucket']}", f"s3:{S3_ACTIONS.get(operation, operation)}"
            keys = given.get("Keys") or ([given["Key"]] if "Key" in given else [])
            if "versionId" in given and action == "s3:GetObject":
                action = "s3:GetObjectVersion"
            yield from ((action, f"{bucket}/{key}") for key in keys)
            if "ObjectLockMode" in given:
                yield "s3:PutObjectRetention", f"{bucket}/{given['Key']}"
            if not keys:
                yield action, bucket
        case "rekognition", "DescribeProjects":
            yield "rekognition:DescribeProjects", "*"
        case "rekognition", operation:
            named = f"arn:aws:rekognition:{HERE}:project/{given.get('ProjectName')}/0"
            arns = [given[name] for name in ("ProjectArn", "ProjectVersionArn", "DatasetArn") if name in given]
            for arn in arns or [named]:
                yield f"rekognition:{operation}", arn
                if "Tags" in given:
                    yield "rekognition:TagResource", arn
            if operation == "CreateDataset":  # Rekognition reads as its caller
                manifest = given["DatasetSource"]["GroundTruthManifest"]["S3Object"]
                yield "s3:GetObject", f"arn:aws:s3:::{manifest['Bucket']}/{manifest['Name']}"
            if operation == "CreateProjectVersion":  # and writes
                output = given["OutputConfig"]
                yield "s3:PutObject", f"arn:aws:s3:::{output['S3Bucket']}/{output['S3KeyPrefix']}/any"
        case "sagemaker", operation:
            arn = f"arn:aws:sagemaker:{HERE}:labeling-job/{given['LabelingJobName']}"
            yield f"sagemaker:{operation}", arn
            if "Tags" in given:
                yield "sagemaker:AddTags", arn
            if "RoleArn" in given:
                yield "iam:PassRole", given["RoleArn"]
        case "states", operation:
            yield f"states:{operation}", given.get("executionArn") or given.get("stateMachineArn") or state_machine
        case "ssm", operation:
            yield f"ssm:{operation}", f"arn:aws:ssm:{HERE}:parameter/{given['Name'].lstrip('/')}"
        case "sns", operation:
            yield f"sns:{operation}", given["TopicArn"]
        case "events", "PutEvents":
            yield "events:PutEvents", f"arn:aws:events:{HERE}:event-bus/default"
        case "lambda", "Invoke":
            yield "lambda:InvokeFunction", f"arn:aws:lambda:{HERE}:function:{given['FunctionName']}"
        case service, operation:
            raise AssertionError(f"Nobody has said which action {service} {operation} needs.")


@dataclass(frozen=True)
class Statement:
    """What a role may do: actions and resources, written as they are once deployed."""

    actions: tuple[str, ...]
    resources: tuple[str, ...]

    def allows(self, need: Need) -> bool:
        action, resource = need
        return action in self.actions and any(fnmatchcase(resource, allowed) for allowed in self.resources)


class Roles:
    """The roles of a deployed stack's functions, by the functions' deployed names."""

    def __init__(self, template: Mapping[str, Any], local_aws: LocalAws) -> None:
        self._resources: Mapping[str, Any] = template["Resources"]
        pages = (
            local_aws.client("cloudformation").get_paginator("list_stack_resources").paginate(StackName="ekyc-training")
        )
        self._names = {
            one["LogicalResourceId"]: one["PhysicalResourceId"]
            for page in pages
            for one in page["StackResourceSummaries"]
            if "PhysicalResourceId" in one
        }
        functions = {
            id: one["Properties"] for id, one in self._resources.items() if one["Type"] == "AWS::Lambda::Function"
        }
        self.titles = {
            self._names[id]: one["Environment"]["Variables"]["POWERTOOLS_SERVICE_NAME"] for id, one in functions.items()
        }
        self.statements = {
            self._names[id]: list(self._statements(one["Role"]["Fn::GetAtt"][0])) for id, one in functions.items()
        }

    def _statements(self, role: str) -> Iterator[Statement]:
        for policy in self._resources.values():
            if policy["Type"] == "AWS::IAM::Policy" and {"Ref": role} in policy["Properties"]["Roles"]:
                for one in policy["Properties"]["PolicyDocument"]["Statement"]:
                    assert one["Effect"] == "Allow"
                    yield Statement(tuple(_listed(one["Action"])), tuple(map(self._written, _listed(one["Resource"]))))

    def _written(self, value: Any) -> str:
        match value:
            case str():
                return value
            case {"Ref": "AWS::Partition"}:
                return "aws"
            case {"Ref": "AWS::Region"}:
                return aws.region
            case {"Ref": "AWS::AccountId"}:
                return aws.account
            case {"Ref": name}:
                return self._names[name]
            case {"Fn::GetAtt": [name, "Arn"]}:
                return self._arn(name)
            case {"Fn::Join": [separator, parts]}:
                return separator.join(map(self._written, parts))
        raise AssertionError(value)

    def _arn(self, name: str) -> str:
        made = self._names[name]
        kinds = {
            "AWS::S3::Bucket": f"arn:aws:s3:::{made}",
            "AWS::DynamoDB::Table": f"arn:aws:dynamodb:{HERE}:table/{made}",
            "AWS::KMS::Key": f"arn:aws:kms:{HERE}:key/{made}",
            "AWS::Lambda::Function": f"arn:aws:lambda:{HERE}:function:{made}",
            "AWS::IAM::Role": f"arn:aws:iam::{aws.account}:role/{made}",
            "AWS::Logs::LogGroup": f"arn:aws:logs:{HERE}:log-group:{made}:*",
            "AWS::SQS::Queue": f"arn:aws:sqs:{HERE}:{made.rpartition('/')[2]}",
        }
        return kinds[self._resources[name]["Type"]]


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]
