"""Deploys a synthesized cloud assembly (`cdk.out`) to the local AWS: the template that `cdk deploy` deploys to AWS."""

from __future__ import annotations

import functools
import io
import json
import re
import zipfile
from pathlib import Path
from typing import Any

from botocore.exceptions import ClientError

from ekyc.localaws import aws
from ekyc.localaws.errors import LocalAwsError

EMPTY_ZIP = b"PK\5\6" + bytes(18)
BOOTSTRAP_PARAMETER = "/cdk-bootstrap/hnb659fds/version"


class DeployError(LocalAwsError):
    """The template could not be deployed. The message names the resource and the reason."""


def deploy(assembly_dir: Path) -> dict[str, str]:
    """Deploy the stack of a cloud assembly directory and return its outputs.

    Raises DeployError with the resource and the reason, or FileNotFoundError if there is no assembly.
    """
    manifest_path = assembly_dir / "manifest.json"
    if not manifest_path.exists():
        raise FileNotFoundError(f"There is no cloud assembly in {assembly_dir}. Run `make synth` first.")
    artifacts = json.loads(manifest_path.read_text())["artifacts"]
    stacks = [artifact for artifact in artifacts.values() if artifact["type"] == "aws:cloudformation:stack"]
    if len(stacks) != 1:
        raise DeployError(f"The cloud assembly in {assembly_dir} has {len(stacks)} stacks, but must have one.")
    properties = stacks[0]["properties"]
    resources = json.loads((assembly_dir / properties["templateFile"]).read_text())["Resources"]
    for artifact in artifacts.values():
        if artifact["type"] == "cdk:asset-manifest":
            _upload_assets(assembly_dir, assembly_dir / artifact["properties"]["file"], _only_layers(resources))
    # CDK templates read this parameter, which `cdk bootstrap` creates in an AWS account.
    aws.client("ssm").put_parameter(Name=BOOTSTRAP_PARAMETER, Value="30", Type="String", Overwrite=True)
    stack_name = properties.get("stackName") or next(
        name for name, artifact in artifacts.items() if artifact is stacks[0]
    )
    outputs = _create_stack(stack_name, _fill_in(properties["stackTemplateAssetObjectUrl"]))
    ids = _physical_ids(stack_name)
    _complete_buckets(resources, ids)
    _complete_apis(resources, ids)
    return outputs


def _only_layers(resources: dict[str, Any]) -> set[str]:
    """The keys of assets that only layers use. Functions find the layers' libraries in the virtual environment."""
    contents = [
        (resource["Type"] == "AWS::Lambda::LayerVersion", place["S3Key"])
        for resource in resources.values()
        for place in (resource.get("Properties", {}).get(name, {}) for name in ("Content", "Code"))
        if "S3Key" in place
    ]
    return {key for is_layer, key in contents if is_layer} - {key for is_layer, key in contents if not is_layer}


def _upload_assets(assembly_dir: Path, manifest_path: Path, left_empty: set[str]) -> None:
    """Upload the assets of an asset manifest to the keys in the template: folders as zip files, files unchanged.

    The keys in `left_empty` get an empty zip file.
    """
    s3 = aws.client("s3")
    buckets = set()
    for asset_id, asset in json.loads(manifest_path.read_text()).get("files", {}).items():
        source = assembly_dir / asset["source"]["path"]
        if not source.exists():
            raise DeployError(f"Asset {asset_id} is missing: {source} does not exist.")
        for destination in asset["destinations"].values():
            bucket, key = _fill_in(destination["bucketName"]), _fill_in(destination["objectKey"])
            if bucket not in buckets:
                s3.create_bucket(Bucket=bucket)
                buckets.add(bucket)
            if key in left_empty:
                body = EMPTY_ZIP
            elif asset["source"]["packaging"] == "zip":
                body = _zipped(source, asset_id)
            else:
                body = source.read_bytes()
            s3.put_object(Bucket=bucket, Key=key, Body=body)


def _fill_in(text: str) -> str:
    values = {"AWS::AccountId": aws.account, "AWS::Region": aws.region, "AWS::Partition": "aws"}
    return re.sub(r"\$\{(AWS::\w+)\}", lambda match: values[match[1]], text)


@functools.lru_cache(4)
def _zipped(folder: Path, _content_hash: str) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        for path in sorted(folder.rglob("*")):
            if path.is_file() and "__pycache__" not in path.parts:
                archive.write(path, path.relative_to(folder))
    return buffer.getvalue()


def _create_stack(stack_name: str, template_s3_url: str) -> dict[str, str]:
    cloudformation = aws.client("cloudformation")
    try:
        cloudformation.create_stack(
            StackName=stack_name,
            TemplateURL=template_s3_url.replace("s3://", "https://s3.amazonaws.com/"),
            Capabilities=["CAPABILITY_IAM", "CAPABILITY_NAMED_IAM"],
        )
    except ClientError as error:
        raise DeployError(f"Stack {stack_name} was not created: {error.response['Error']['Message']}") from error
    stack = cloudformation.describe_stacks(StackName=stack_name)["Stacks"][0]
    if stack["StackStatus"] != "CREATE_COMPLETE":
        raise DeployError(f"Stack {stack_name} ended with {stack['StackStatus']}: {_reasons(stack_name)}")
    _check_functions()
    return {output["OutputKey"]: output["OutputValue"] for output in stack.get("Outputs", [])}


def _complete_buckets(resources: dict[str, Any], ids: dict[str, Any]) -> None:
    """Set versioning, Object Lock and CORS rules, which moto's CloudFormation ignores in buckets."""
    s3 = aws.client("s3")
    for name, resource in resources.items():
        properties = resource.get("Properties", {})
        if resource["Type"] != "AWS::S3::Bucket":
            continue
        bucket = ids[name]
        if "CorsConfiguration" in properties:
            rules = [_cors_rule(rule) for rule in properties["CorsConfiguration"]["CorsRules"]]
            s3.put_bucket_cors(Bucket=bucket, CORSConfiguration={"CORSRules": rules})
        if "VersioningConfiguration" not in properties:
            continue
        s3.put_bucket_versioning(
            Bucket=bucket, VersioningConfiguration={"Status": properties["VersioningConfiguration"]["Status"]}
        )
        if "ObjectLockConfiguration" in properties:
            retention = properties["ObjectLockConfiguration"]["Rule"]["DefaultRetention"]
            s3.put_object_lock_configuration(
                Bucket=bucket,
                ObjectLockConfiguration={"ObjectLockEnabled": "Enabled", "Rule": {"DefaultRetention": retention}},
            )


def _cors_rule(rule: dict[str, Any]) -> dict[str, Any]:
    """CloudFormation's rule in S3's format. Sources: CloudFormation, AWS::S3::Bucket CorsRule; S3 API, CORSRule."""
    names = {"ExposedHeaders": "ExposeHeaders", "MaxAge": "MaxAgeSeconds", "Id": "ID"}
    return {names.get(key, key): value for key, value in rule.items() if value != []}


def _physical_ids(stack_name: str) -> dict[str, Any]:
    """The name or id of each created resource. Read from moto's memory, because the paginated API is slow."""
    from moto.cloudformation.models import cloudformation_backends

    resources = cloudformation_backends[aws.account][aws.region].get_stack(stack_name).resource_map
    return {name: getattr(resource, "physical_resource_id", None) for name, resource in resources.items()}


def _complete_apis(resources: dict[str, Any], ids: dict[str, Any]) -> None:
    """Create gateway responses, validators and models, and set authorizers. moto's CloudFormation ignores these."""
    from moto.apigateway.models import apigateway_backends

    of_type: dict[str, dict[str, Any]] = {}
    for name, resource in resources.items():
        of_type.setdefault(resource["Type"], {})[name] = resource.get("Properties", {})
    if "AWS::ApiGateway::RestApi" not in of_type:
        return
    apigateway = aws.client("apigateway")
    for response in of_type.get("AWS::ApiGateway::GatewayResponse", {}).values():
        members = {
            key: response[key] for key in ("StatusCode", "ResponseParameters", "ResponseTemplates") if key in response
        }
        apigateway.put_gateway_response(
            restApiId=ids[response["RestApiId"]["Ref"]],
            responseType=response["ResponseType"],
            **{key[0].lower() + key[1:]: value for key, value in members.items()},
        )
    for name, validator in of_type.get("AWS::ApiGateway::RequestValidator", {}).items():
        ids[name] = apigateway.create_request_validator(
            restApiId=ids[validator["RestApiId"]["Ref"]],
            name=name,
            validateRequestBody=validator.get("ValidateRequestBody", False),
            validateRequestParameters=validator.get("ValidateRequestParameters", False),
        )["id"]
    for name, model in of_type.get("AWS::ApiGateway::Model", {}).items():
        ids[name] = apigateway.create_model(
            restApiId=ids[model["RestApiId"]["Ref"]],
            name=name,
            contentType=model["ContentType"],
            schema=json.dumps(model["Schema"]),
        )["name"]
    backend = apigateway_backends[aws.account][aws.region]
    for method in of_type.get("AWS::ApiGateway::Method", {}).values():
        target = backend.get_method(
            ids[method["RestApiId"]["Ref"]], ids[method["ResourceId"]["Ref"]], method["HttpMethod"]
        )
        if "AuthorizerId" in method:
            target.authorizer_id = ids[method["AuthorizerId"]["Ref"]]
        if "RequestValidatorId" in method:
            target.request_validator_id = ids[method["RequestValidatorId"]["Ref"]]
            target.request_parameters = method.get("RequestParameters")
            target.request_models = {kind: ids[model["Ref"]] for kind, model in method.get("RequestModels", {}).items()}


def _reasons(stack_name: str) -> str:
    events: list[dict[str, Any]] = aws.client("cloudformation").describe_stack_events(StackName=stack_name)[
        "StackEvents"
    ]
    failed = [
        f"{event['LogicalResourceId']} ({event['ResourceType']}): {event.get('ResourceStatusReason', 'no reason')}"
        for event in events
        if event["ResourceStatus"].endswith("FAILED")
    ]
    return "; ".join(failed) or "no resource failed"


def _check_functions() -> None:
    """Raise DeployError if a function has no code: moto deploys a function even if its asset is missing."""
    for page in aws.client("lambda").get_paginator("list_functions").paginate():
        for function in page["Functions"]:
            if function["CodeSize"] == 0:
                raise DeployError(f"Function {function['FunctionName']} has no code: its asset was not uploaded.")
