"""Checks the stack by the AWS Solutions rules of cdk-nag, in every combination of settings, and writes a template each.

``python -m stacks.nag FOLDER``, apart from the synth that deploys, which a finding would break. Each finding is
printed; the exit code is 1 if there is one that is not acknowledged below. The templates have an empty layer: they are
for other checks, not for a deployment.
"""

import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import aws_cdk as cdk
import cdk_nag
from aws_cdk import aws_iam as iam
from constructs import IConstruct

from stacks.combinations import COMBINATIONS, compose
from stacks.stack import TrainingStack


def acknowledgments(stack: TrainingStack) -> Iterator[tuple[IConstruct, str, str]]:
    """Each accepted finding: where, the rule's id and why it is accepted."""
    partition, region = "<AWS::Partition>", "<AWS::Region>"
    if not cdk.Token.is_unresolved(stack.region):  # the setting region, by which the CDK knows both
        partition, region = stack.partition, stack.region
    arn = f"arn:{partition}:{{}}:{region}:<AWS::AccountId>:{{}}"
    bucket = stack.get_logical_id(stack.storage.bucket.node.default_child)  # type: ignore[arg-type]
    audit_bucket = stack.get_logical_id(stack.audit.bucket.node.default_child)  # type: ignore[arg-type]
    for resource, reason in {
        **{
            f"<{bucket}.Arn>/{folder}/*": "Objects are named by job and file: a folder of the bucket is the narrowest."
            for folder in ("images", "labels", "labelling", "manifests", "training", "upright")
        },
        **{
            f"<{audit_bucket}.Arn>/{folder}/*": "Reports are named by job and execution: a folder is the narrowest."
            for folder in ("audit", "provisional")
        },
        arn.format("rekognition", "project/ekyc-*/*"): "Each job makes a project of its own, named ekyc-<job>.",
        arn.format("sagemaker", "labeling-job/ekyc-*"): "Each job makes labelling jobs of its own, named ekyc-<job>.",
        arn.format("states", f"execution:{stack.stack_name}:*"): "Each job is an execution of the one state machine.",
        arn.format(
            "logs", "log-group:/aws/sagemaker/LabelingJobs:*"
        ): "Each labelling job has a log stream of its own.",
    }.items():
        yield stack, f"AwsSolutions-IAM5[Resource::{resource}]", reason
    for construct in stack.node.find_all():
        if isinstance(construct, iam.Role):
            yield (
                construct,
                "AwsSolutions-IAM5[Resource::*]",
                "AWS has no resource for these actions: they are in TAKE_NO_RESOURCE, which a test holds them to.",
            )
    gateway = stack.api.gateway
    yield gateway, "AwsSolutions-APIG3", "A web firewall is for the account to choose: the setting webAclArn."
    yield gateway, "AwsSolutions-APIG6", "Execution logs hold query strings, which name customers' photographs."
    yield (
        gateway,
        "AwsSolutions-COG4",
        "Callers sign by IAM unless the setting apiAuthorization names a user pool; preflights carry no credentials.",
    )
    for method in gateway.methods:
        if method.http_method == "OPTIONS":
            yield (
                method,
                "AwsSolutions-APIG4",
                "A browser sends a preflight without credentials (Fetch standard); the function only answers it.",
            )
    log_role = gateway.node.try_find_child("CloudWatchRole")
    if log_role:
        policy = "service-role/AmazonAPIGatewayPushToCloudWatchLogs"
        yield (
            log_role,
            f"AwsSolutions-IAM4[Policy::arn:<AWS::Partition>:iam::aws:policy/{policy}]",
            "The API Gateway guide asks for this policy; API Gateway alone assumes the role.",
        )


def check(name: str, folder: Path) -> bool:
    """Synthesize the combination of settings with the rules and print what they find. Whether that is nothing; then the
    template is in ``folder``."""
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
    clean = [check(name, folder) for name in COMBINATIONS]  # all of them, so that every finding is seen at once
    if not all(clean):
        return 1
    print(
        f"cdk-nag: in {len(COMBINATIONS)} combinations of settings nothing found by the AWS Solutions rules but what "
        "stacks/nag.py acknowledges."
    )
    return 0


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("Give the folder for the templates: python -m stacks.nag FOLDER")
    sys.exit(main(Path(sys.argv[1])))
