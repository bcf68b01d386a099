"""The deep checks, and their runner: it runs them one after another, then deletes all that they created."""

from collections.abc import Callable
from dataclasses import dataclass

from ekyc.cli.account import NotCheckedError
from ekyc.cli.doctor.context import CheckContext
from ekyc.cli.doctor.deep import answers, rekognition, web
from ekyc.cli.doctor.deep.probe import Probe
from ekyc.cli.doctor.deep.role_copies import EVENT_SOURCE, DeniedError
from ekyc.cli.doctor.deployed import NOT_DEPLOYED
from ekyc.cli.doctor.examination import run_check
from ekyc.cli.doctor.findings import Finding, ok, problem, skipped
from ekyc.cli.errors import CommandError

EFFORT = "The checks cost less than 0.01 USD and take at most 10 minutes."
CLEAN_UP = "Clean-up"


@dataclass(frozen=True)
class DeepCheck:
    """A check that may create resources on AWS.

    ``makes`` names these resources, ``question`` is the one that AWS's documentation leaves open, and ``by_hand`` is a
    command that tests the same.
    """

    run: Callable[[Probe], Finding]
    makes: str
    question: str
    by_hand: str


CHECKS: dict[str, DeepCheck] = {
    "Rekognition project": DeepCheck(
        rekognition.create_project,
        "a Custom Labels project with the deployment's tags",
        "Whether CreateProject supports a resource in a policy, and tags of the request in a condition. The Service "
        "Authorization Reference and the Custom Labels guide differ.",
        "aws rekognition create-project --project-name ekyc-doctor-x --tags ekyc-job=ekyc-doctor-x",
    ),
    "Rekognition dataset": DeepCheck(
        rekognition.create_dataset,
        "a dataset with one photo in that project, and the photo and its manifest in the bucket",
        "Whether Rekognition needs only its caller's permissions to read the bucket and use the key, and which ones.",
        "aws rekognition create-dataset --project-arn ARN --dataset-type TRAIN --dataset-source "
        "'GroundTruthManifest={S3Object={Bucket=BUCKET,Name=manifests/JOB/train.manifest}}'",
    ),
    "Unknown labelling job": DeepCheck(
        answers.unknown_labelling_job,
        "",
        "Whether SageMaker returns ResourceNotFound for an unknown labelling job, as the service model says, or "
        "ValidationException, as for other types of jobs.",
        "aws sagemaker describe-labeling-job --labeling-job-name ekyc-doctor-x-1",
    ),
    "Event": DeepCheck(
        answers.put_event,
        f"one event with the source {EVENT_SOURCE} on the default event bus",
        "Whether a condition on events:source matches PutEvents, and whether the key has one value or several.",
        f"""aws events put-events --entries '[{{"Source":"{EVENT_SOURCE}","DetailType":"Doctor","Detail":"{{}}"}}]'""",
    ),
    "Task token": DeepCheck(
        answers.task_token,
        "a state machine with one task, and one execution",
        "Whether a token can be answered before the call with the token has returned; whether a policy can allow "
        "SendTaskSuccess on the state machine's ARN; which error a used token gets.",
        "aws stepfunctions send-task-success --task-token doctor --task-output '{}'",
    ),
    "Upload from a page": DeepCheck(
        web.upload,
        "a job that is never started, named like other jobs, and one object in the bucket",
        "Whether S3 applies the bucket's CORS rules and verifies the checksum when a page sends preflight, PUT and "
        "HEAD to URLs that the API's role signed.",
        "curl -i -X OPTIONS -H 'Origin: https://kyc.example.com' -H 'Access-Control-Request-Method: PUT' "
        "-H 'Access-Control-Request-Headers: x-amz-checksum-sha256' 'https://BUCKET.s3.REGION.amazonaws.com/images/x'",
    ),
    "API Gateway's responses": DeepCheck(
        web.api_errors,
        "",
        "Whether API Gateway accepts a missing body if there is a body model, and returns JSON for an invalid body.",
        "curl -i --aws-sigv4 aws:amz:REGION:execute-api --user $AWS_ACCESS_KEY_ID:$AWS_SECRET_ACCESS_KEY -X POST "
        f"'API_URL/api/training/start?JobId={web.NO_JOB}'",
    ),
}
"""The deep checks by title, in the order in which they run."""


def plan(probe: Probe) -> list[str]:
    """Lines for the user: what the checks create, where, the cost and the duration."""
    account = f"account {probe.context.identity['Account']} in {probe.context.region}"
    resources = ["two copies of functions' roles", *(check.makes for check in CHECKS.values() if check.makes)]
    return [
        f"The deep checks create these in {account}, named {probe.name} where a name can be chosen, and delete them:",
        *(f"- {resource}" for resource in resources),
        f"{EFFORT} Ctrl-C ends the checks and deletes what they created.",
    ]


def examine(probe: Probe, tell: Callable[[str], object]) -> dict[str, Finding]:
    """Run every deep check, then delete what they created, even after Ctrl-C.

    ``tell`` receives lines for the user: the plan, the progress, and what could not be deleted.
    """
    deployed = run_check(lambda context: ok("exists") if context.stack else skipped(NOT_DEPLOYED), probe.context)
    if deployed.status != "ok":
        return dict.fromkeys(CHECKS, deployed)
    for line in plan(probe):
        tell(line)
    findings: dict[str, Finding] = {}
    try:
        for number, (title, check) in enumerate(CHECKS.items(), 1):
            tell(f"[{number}/{len(CHECKS)}] {title}")
            findings[title] = _run_deep_check(check, probe)
    finally:
        tell("Deleting what was created")
        findings[CLEAN_UP] = clean_up = probe.clean_up()
        if clean_up.status != "ok":
            tell(f"{clean_up.found}. {clean_up.advice}")
    return findings


def _run_deep_check(check: DeepCheck, probe: Probe) -> Finding:
    def run(_context: CheckContext) -> Finding:
        try:
            return check.run(probe)
        except DeniedError as error:
            reason = error.response["Error"].get("Message", "AWS gives no reason")
            return problem(
                f"AWS denies the role of {error.function} the call {error.operation_name}, which jobs need: {reason}",
                "Check the account's service control policies. If they allow the call, please report it.",
            )
        except CommandError as error:
            raise NotCheckedError(
                str(error).rstrip("."), "Allow your credentials execute-api:Invoke on the API."
            ) from error

    return run_check(run, probe.context)
