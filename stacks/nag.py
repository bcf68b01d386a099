"""Checks all combinations of settings against cdk-nag's AWS Solutions rules: ``python -m stacks.nag FOLDER``.

The command prints each finding. The exit code is 1 if there is a finding that is not acknowledged below. The check is
separate from the deployment, because a finding makes the synthesis fail. The command also writes the template of each
combination to FOLDER, with an empty layer. These templates are for other checks and cannot be deployed.
"""

import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import cast

import aws_cdk as cdk
import cdk_nag
from aws_cdk import aws_apigateway as apigateway
from aws_cdk import aws_iam as iam
from constructs import IConstruct

from stacks.api import PAGE_OPERATION
from stacks.combinations import COMBINATIONS, DETECT_BUCKETS, compose
from stacks.openapi import Access, Description
from stacks.permissions import BATCHES
from stacks.stack import TrainingStack


def acknowledgments(stack: TrainingStack) -> Iterator[tuple[IConstruct, str, str]]:
    """Yield each accepted finding: the construct, the rule's id and the reason."""
    partition, region = "<AWS::Partition>", "<AWS::Region>"
    if not cdk.Token.is_unresolved(stack.region):  # the setting region makes both known to the CDK
        partition, region = stack.partition, stack.region
    arn = f"arn:{partition}:{{}}:{region}:<AWS::AccountId>:{{}}"
    bucket = stack.get_logical_id(stack.storage.bucket.node.default_child)  # type: ignore[arg-type]
    audit_bucket = stack.get_logical_id(stack.audit.bucket.node.default_child)  # type: ignore[arg-type]
    for resource, reason in {
        **{
            f"<{bucket}.Arn>/{folder}/*": "Keys have a job's id and a file name: a folder is the narrowest."
            for folder in ("images", "labels", "labelling", "manifests", "outlines", "training", "upright")
        },
        **{
            f"arn:<AWS::Partition>:s3:::{name}/*": "The setting detectBuckets names the bucket, not its keys."
            for name in DETECT_BUCKETS
        },
        **{
            f"<{audit_bucket}.Arn>/{folder}/*": "Keys have a job's and an execution's id: a folder is the narrowest."
            for folder in ("audit", "provisional")
        },
        arn.format("rekognition", "project/ekyc-*/*"): "Each job creates its own project, named ekyc-<job>.",
        arn.format("sagemaker", "labeling-job/ekyc-*"): "Each job creates its own labelling jobs, named ekyc-<job>.",
        **{
            f"<{bucket}.Arn>/manifests/*/{name}": "Each job has its own file of this name."
            for name in ("batches.json", "input.manifest", "test.manifest", "train.manifest")
        },
        arn.format("states", f"execution:{stack.stack_name}:*"): "Each job has its own executions.",
        **{
            arn.format("states", f"{kind}:{stack.stack_name}/{BATCHES}:*"): "Each job has its own batches of photos."
            for kind in ("execution", "mapRun")
        },
        arn.format("logs", "log-group:/aws/sagemaker/LabelingJobs:*"): "Each labelling job has its own log stream.",
    }.items():
        yield stack, f"AwsSolutions-IAM5[Resource::{resource}]", reason
    for construct in stack.node.find_all():
        if isinstance(construct, iam.Role):
            yield (
                construct,
                "AwsSolutions-IAM5[Resource::*]",
                "These actions do not support resources. They are listed in TAKE_NO_RESOURCE, which a test checks.",
            )
    yield from _acknowledgments_of_api(stack)


def _acknowledgments_of_api(stack: TrainingStack) -> Iterator[tuple[IConstruct, str, str]]:
    gateway = stack.api.gateway
    yield gateway, "AwsSolutions-APIG3", "The setting webAclArn adds a web ACL. The account's owner decides on it."
    yield gateway, "AwsSolutions-APIG6", "Execution logs have query strings, which contain names of customers' photos."
    yield (
        gateway,
        "AwsSolutions-COG4",
        "IAM authorizes calls unless the setting apiAuthorization names a user pool. Preflights have no credentials.",
    )
    operations = Description.read().operations()
    public = [PAGE_OPERATION, *(operation.id for operation in operations if operation.access is Access.ANYONE)]
    for method in gateway.methods:
        if cast(apigateway.CfnMethod, method.node.default_child).operation_name in public:
            for rule in ("AwsSolutions-APIG4", "AwsSolutions-COG4"):
                yield method, rule, "The labelling page needs this before a person is signed in. It is not secret."
        if method.http_method == "OPTIONS":
            yield (
                method,
                "AwsSolutions-APIG4",
                "A browser sends preflights without credentials (Fetch standard). The function only answers them.",
            )
    log_role = gateway.node.try_find_child("CloudWatchRole")
    if log_role:
        policy = "service-role/AmazonAPIGatewayPushToCloudWatchLogs"
        yield (
            log_role,
            f"AwsSolutions-IAM4[Policy::arn:<AWS::Partition>:iam::aws:policy/{policy}]",
            "The API Gateway guide requires this policy. Only API Gateway can assume the role.",
        )


def is_clean(name: str, folder: Path) -> bool:
    """Synthesize the combination with the rules and print the findings. Return whether there are none.

    If there are none, the template is written to ``folder``.
    """
    with tempfile.TemporaryDirectory() as outdir:
        app, stack = compose(name, Path(outdir))
        for construct, id, reason in list(acknowledgments(stack)):
            cdk.Validations.of(construct).acknowledge(cdk.Acknowledgment(id=f"AwsSolutions::{id}", reason=reason))
        cdk.Validations.of(app).add_plugins(cdk_nag.AwsSolutionsChecks(app))
        try:
            app.synth()
        except RuntimeError as error:  # the synth has printed the findings
            print(f"cdk-nag, combination {name}: {error}", file=sys.stderr)
            return False
        template = Path(outdir, stack.template_file).read_text(encoding="utf-8")
    (folder / f"{name}.template.json").write_text(template, encoding="utf-8")
    return True


def main(folder: Path) -> int:
    folder.mkdir(parents=True, exist_ok=True)
    clean = [is_clean(name, folder) for name in COMBINATIONS]  # a list, so that all findings are printed
    if not all(clean):
        return 1
    print(
        f"cdk-nag: {len(COMBINATIONS)} combinations of settings checked against the AWS Solutions rules. No findings "
        "except those that stacks/nag.py acknowledges."
    )
    return 0


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("Give the folder for the templates: python -m stacks.nag FOLDER")
    sys.exit(main(Path(sys.argv[1])))
