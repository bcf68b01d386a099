"""Checks the stack by the AWS Solutions rules of cdk-nag: ``python -m stacks.nag``.

Apart from the synth that deploys, which a finding would break. Each finding is printed; the exit code is 1 if there is
one that is not acknowledged below.
"""

import json
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import aws_cdk as cdk
import cdk_nag
from aws_cdk import aws_iam as iam
from constructs import IConstruct

from stacks.settings import Settings
from stacks.stack import TrainingStack

PROJECT = Path(__file__).resolve().parent.parent


def acknowledgments(stack: TrainingStack) -> Iterator[tuple[IConstruct, str, str]]:
    """Each accepted finding: where, the rule's id and why it is accepted."""
    arn = "arn:<AWS::Partition>:{}:<AWS::Region>:<AWS::AccountId>:{}"
    bucket = stack.get_logical_id(stack.storage.bucket.node.default_child)  # type: ignore[arg-type]
    for resource, reason in {
        **{
            f"<{bucket}.Arn>/{folder}/*": "Objects are named by job and file: a folder of the bucket is the narrowest."
            for folder in ("images", "labels", "labelling", "manifests", "training")
        },
        arn.format("rekognition", "project/ekyc-*/*"): "Each job makes a project of its own, named ekyc-<job>.",
        arn.format("sagemaker", "labeling-job/ekyc-*"): "Each job makes labelling jobs of its own, named ekyc-<job>.",
        arn.format("states", f"execution:{stack.stack_name}:*"): "Each job is an execution of the one state machine.",
        arn.format("logs", "log-group:/aws/sagemaker/*"): "SageMaker makes these log groups and chooses their names.",
    }.items():
        yield stack, f"AwsSolutions-IAM5[Resource::{resource}]", reason
    for construct in stack.node.find_all():
        if isinstance(construct, iam.Role):
            yield (
                construct,
                "AwsSolutions-IAM5[Resource::*]",
                "These actions take no resource: X-Ray's, CloudWatch's and its log deliveries', and CreateProject and "
                "DescribeProjects. A test lists them.",
            )
    gateway = stack.api.gateway
    yield (
        gateway,
        "AwsSolutions-APIG2",
        "The function checks each request and answers a fault in words, as RFC 9457 asks.",
    )
    yield gateway, "AwsSolutions-APIG3", "Every call is signed by IAM; a web firewall is for the account to choose."
    yield gateway, "AwsSolutions-APIG6", "Execution logs hold query strings, which name customers' photographs."
    yield gateway, "AwsSolutions-COG4", "Callers are services and operators, who sign by IAM."


def main() -> int:
    with tempfile.TemporaryDirectory() as folder:
        outdir, layer = Path(folder, "cdk.out"), Path(folder, "layer")
        (layer / "python").mkdir(parents=True)
        context = json.loads((PROJECT / "cdk.json").read_text(encoding="utf-8"))["context"]
        app = cdk.App(outdir=str(outdir), context=context)
        stack = TrainingStack(app, Settings.from_context(context), layer=layer)
        for construct, id, reason in list(acknowledgments(stack)):
            cdk.Validations.of(construct).acknowledge(cdk.Acknowledgment(id=f"AwsSolutions::{id}", reason=reason))
        cdk.Validations.of(app).add_plugins(cdk_nag.AwsSolutionsChecks(app))
        try:
            app.synth()
        except RuntimeError as error:  # the synth has printed the findings
            print(f"cdk-nag: {error}", file=sys.stderr)
            return 1
        print("cdk-nag: nothing found by the AWS Solutions rules but what stacks/nag.py acknowledges.")
        return 0


if __name__ == "__main__":
    sys.exit(main())
