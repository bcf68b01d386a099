"""The deep checks, what each makes and settles, and how they are made: one after the other, then all is deleted."""

from collections.abc import Callable
from dataclasses import dataclass

from ekyc.cli.account import NotCheckedError
from ekyc.cli.doctor.deep import answers, rekognition, web
from ekyc.cli.doctor.deep.probe import Probe
from ekyc.cli.doctor.deep.twins import EVENT_SOURCE, DeniedError
from ekyc.cli.doctor.deployed import NOT_DEPLOYED
from ekyc.cli.doctor.examination import answer
from ekyc.cli.doctor.findings import Finding, ok, problem, skipped
from ekyc.cli.doctor.patient import Patient
from ekyc.cli.errors import CommandError

EFFORT = "They cost less than 0.01 USD and take at most 10 minutes."
CLEAN_UP = "Clean-up"


@dataclass(frozen=True)
class DeepCheck:
    """A check that makes something at AWS.

    ``makes`` says what, ``question`` what the documents leave open, and ``by_hand`` is a command that asks the same.
    """

    make: Callable[[Probe], Finding]
    makes: str
    question: str
    by_hand: str


CHECKS: dict[str, DeepCheck] = {
    "Rekognition project": DeepCheck(
        rekognition.create_project,
        "a Custom Labels project with the deployment's tags",
        "Whether CreateProject takes a resource, and whether its request's tags count in a condition: the Service "
        "Authorization Reference and the Custom Labels guide differ.",
        "aws rekognition create-project --project-name ekyc-doctor-x --tags ekyc-job=ekyc-doctor-x",
    ),
    "Rekognition dataset": DeepCheck(
        rekognition.create_dataset,
        "a dataset of one photo in that project, the photo and its manifest in the bucket",
        "Whether Rekognition reads bucket and key with its caller's permissions alone, and which those are.",
        "aws rekognition create-dataset --project-arn ARN --dataset-type TRAIN --dataset-source "
        "'GroundTruthManifest={S3Object={Bucket=BUCKET,Name=manifests/JOB/train.manifest}}'",
    ),
    "Unknown labelling job": DeepCheck(
        answers.unknown_labelling_job,
        "",
        "Whether an unknown labelling job is ResourceNotFound, as the service model says, or ValidationException, as "
        "SageMaker answers for its other kinds of jobs.",
        "aws sagemaker describe-labeling-job --labeling-job-name ekyc-doctor-x-1",
    ),
    "Event": DeepCheck(
        answers.put_event,
        f"one event of the source {EVENT_SOURCE} on the default event bus",
        "Whether the condition on events:source, one value or several, matches a call of PutEvents.",
        f"""aws events put-events --entries '[{{"Source":"{EVENT_SOURCE}","DetailType":"Doctor","Detail":"{{}}"}}]'""",
    ),
    "Task token": DeepCheck(
        answers.task_token,
        "a state machine of one task, and one execution",
        "Whether a token may be answered before the call that carries it has returned; whether SendTaskSuccess is "
        "allowed on the state machine's ARN; what a token gets that was answered before.",
        "aws stepfunctions send-task-success --task-token doctor --task-output '{}'",
    ),
    "Upload from a page": DeepCheck(
        web.upload,
        "a job that is never started, named as jobs are, and one object in the bucket",
        "Whether S3 answers the preflights, the checksum and the HEAD of a page as the bucket's rules say, with URLs "
        "that the API's role signs.",
        "curl -i -X OPTIONS -H 'Origin: https://kyc.example.com' -H 'Access-Control-Request-Method: PUT' "
        "-H 'Access-Control-Request-Headers: x-amz-checksum-sha256' 'https://BUCKET.s3.REGION.amazonaws.com/images/x'",
    ),
    "API Gateway's answers": DeepCheck(
        web.api_errors,
        "",
        "Whether a body that may be left out passes a body model, and whether the words about a wrong body stay JSON.",
        "curl -i --aws-sigv4 aws:amz:REGION:execute-api --user $AWS_ACCESS_KEY_ID:$AWS_SECRET_ACCESS_KEY -X POST "
        f"'API_URL/api/training/start?JobId={web.NO_JOB}'",
    ),
}
"""Every deep check by its title, in the order in which they are made."""


def plan(probe: Probe) -> list[str]:
    """What will be made, where, at what cost and for how long, in lines for the user."""
    account = f"account {probe.patient.identity['Account']} in {probe.patient.region}"
    things = ["two roles with the policies of functions", *(check.makes for check in CHECKS.values() if check.makes)]
    return [
        f"The deep checks make these in {account}, and delete them again; what has a name has {probe.name} in it:",
        *(f"- {thing}" for thing in things),
        f"{EFFORT} Ctrl-C ends them and deletes what is there.",
    ]


def examine(probe: Probe, tell: Callable[[str], object]) -> dict[str, Finding]:
    """Make every deep check, then delete what they made, also after Ctrl-C.

    ``tell`` is given the plan, what is under way, and what could not be deleted, each a line.
    """
    deployed = answer(lambda patient: ok("is there") if patient.stack else skipped(NOT_DEPLOYED), probe.patient)
    if deployed.status != "ok":
        return dict.fromkeys(CHECKS, deployed)
    for line in plan(probe):
        tell(line)
    findings: dict[str, Finding] = {}
    try:
        for number, (title, check) in enumerate(CHECKS.items(), 1):
            tell(f"[{number}/{len(CHECKS)}] {title}")
            findings[title] = _answer(check, probe)
    finally:
        tell("Deleting what was made")
        findings[CLEAN_UP] = cleaned = probe.clean_up()
        if cleaned.status != "ok":
            tell(f"{cleaned.found}. {cleaned.advice}")
    return findings


def _answer(check: DeepCheck, probe: Probe) -> Finding:
    def make(_patient: Patient) -> Finding:
        try:
            return check.make(probe)
        except DeniedError as error:
            said = error.response["Error"].get("Message", "AWS gives no reason")
            return problem(
                f"AWS denies {error.operation_name} to the role of {error.function}, which jobs need: {said}",
                "Look at the account's service control policies; if they allow it, please report it.",
            )
        except CommandError as error:
            raise NotCheckedError(
                str(error).rstrip("."), "Let your credentials execute-api:Invoke on the API."
            ) from error

    return answer(make, probe.patient)
