"""Which actions on which resources a function's call needs. Source: Service Authorization Reference of each service."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ekyc.localaws import aws
from ekyc.localaws.calls import Call
from ekyc.localaws.errors import LocalAwsError
from ekyc.localaws.iam.policies import Need

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
"""Operations whose action has another name. Source: S3 guide, "Required permissions for S3 API operations"."""


class UnknownCall(LocalAwsError):
    """There is no rule for the actions that the call needs."""


def list_needs(call: Call) -> Iterator[Need]:
    """The permissions that IAM requires for the call.

    Raises:
        UnknownCall: this function has no rule for the call. Add one.
    """
    given = call.parameters
    match call.service, call.operation:
        case "dynamodb", "BatchGetItem":
            for table in given["RequestItems"]:
                yield Need("dynamodb:BatchGetItem", f"arn:aws:dynamodb:{HERE}:table/{table}")
        case "dynamodb", operation:
            index = f"/index/{given['IndexName']}" if "IndexName" in given else ""
            yield Need(f"dynamodb:{operation}", f"arn:aws:dynamodb:{HERE}:table/{given['TableName']}{index}")
        case "s3", operation:
            yield from _s3(operation, given)
        case "rekognition", operation:
            yield from _rekognition(operation, given)
        case "sagemaker", operation:
            arn, tags = f"arn:aws:sagemaker:{HERE}:labeling-job/{given['LabelingJobName']}", _tags(given.get("Tags"))
            yield Need(f"sagemaker:{operation}", arn, tags)
            if tags:
                yield Need("sagemaker:AddTags", arn, tags)
            if "RoleArn" in given:
                yield Need("iam:PassRole", given["RoleArn"], {"iam:PassedToService": ["sagemaker.amazonaws.com"]})
        case "states", operation:
            named = (given[name] for name in ("executionArn", "mapRunArn", "stateMachineArn") if name in given)
            yield Need(f"states:{operation}", next(named, None) or _machine())
        case "ssm", operation:
            yield Need(f"ssm:{operation}", f"arn:aws:ssm:{HERE}:parameter/{given['Name'].lstrip('/')}")
        case "kms", operation:
            yield Need(f"kms:{operation}", given["KeyId"])
        case "sns", operation:
            yield from _sns(operation, given["TopicArn"])
        case "events", "PutEvents":
            for entry in given["Entries"]:
                context = {"events:source": [entry["Source"]], "events:detail-type": [entry["DetailType"]]}
                yield Need("events:PutEvents", f"arn:aws:events:{HERE}:event-bus/default", context)
        case "lambda", "Invoke":
            yield Need("lambda:InvokeFunction", f"arn:aws:lambda:{HERE}:function:{given['FunctionName']}")
        case service, operation:
            raise UnknownCall(
                f"The local AWS does not know which action {service} {operation} needs: add it to {__name__}."
            )


def _s3(operation: str, given: Mapping[str, Any]) -> Iterator[Need]:
    signed = {"s3:authType": ["REST-HEADER"]}
    if operation == "ListBuckets":
        yield Need("s3:ListAllMyBuckets", "*")
        return
    bucket, action = f"arn:aws:s3:::{given['Bucket']}", f"s3:{S3_ACTIONS.get(operation, operation)}"
    keys = given.get("Keys") or ([given["Key"]] if "Key" in given else [])
    if "versionId" in given and action == "s3:GetObject":
        action = "s3:GetObjectVersion"
    yield from (Need(action, f"{bucket}/{key}", signed) for key in keys)
    if "ObjectLockMode" in given:
        yield Need("s3:PutObjectRetention", f"{bucket}/{given['Key']}")
    if not keys:
        yield Need(action, bucket, signed | ({"s3:prefix": [given["prefix"]]} if "prefix" in given else {}))


def _rekognition(operation: str, given: Mapping[str, Any]) -> Iterator[Need]:
    if operation == "DescribeProjects":
        yield Need("rekognition:DescribeProjects", "*")
        return
    tags = _tags([{"Key": key, "Value": value} for key, value in given.get("Tags", {}).items()])
    # CreateProject has no resource type in the reference: the project has no ARN yet.
    for arn in [given[name] for name in ("ProjectArn", "ProjectVersionArn", "DatasetArn") if name in given] or ["*"]:
        yield Need(f"rekognition:{operation}", arn, tags)
        if tags:
            yield Need("rekognition:TagResource", arn, tags)
    if operation == "DetectCustomLabels" and "S3Object" in given["Image"]:
        photo = given["Image"]["S3Object"]
        yield Need("s3:GetObject", f"arn:aws:s3:::{photo['Bucket']}/{photo['Name']}")
    if operation == "CreateDataset":  # Rekognition reads with the caller's permissions
        manifest = given["DatasetSource"]["GroundTruthManifest"]["S3Object"]
        yield Need("s3:GetObject", f"arn:aws:s3:::{manifest['Bucket']}/{manifest['Name']}")
    if operation == "CreateProjectVersion":  # and writes with them
        output = given["OutputConfig"]
        yield Need("s3:PutObject", f"arn:aws:s3:::{output['S3Bucket']}/{output['S3KeyPrefix']}/any")


def _sns(operation: str, topic: str) -> Iterator[Need]:
    """SNS uses the topic's key with the publisher's permissions (SNS guide, "Key management")."""
    from moto.sns.models import sns_backends

    yield Need(f"sns:{operation}", topic)
    key = sns_backends[aws.account][aws.region].get_topic(topic).kms_master_key_id
    if key:
        arn = key if key.startswith("arn:") else f"arn:aws:kms:{HERE}:key/{key}"
        via = {"kms:ViaService": [f"sns.{aws.region}.amazonaws.com"]}
        yield from (Need(action, arn, via) for action in ("kms:GenerateDataKey", "kms:Decrypt"))


def _tags(tags: Sequence[Mapping[str, str]] | None) -> dict[str, list[str]]:
    if not tags:
        return {}
    return {f"aws:RequestTag/{tag['Key']}": [tag["Value"]] for tag in tags} | {
        "aws:TagKeys": [tag["Key"] for tag in tags]
    }


def _machine() -> str:
    """The ARN of the only state machine. A request with a task token does not name the state machine."""
    from moto.stepfunctions.models import stepfunctions_backends

    return str(next(iter(stepfunctions_backends[aws.account][aws.region].state_machines)).arn)
