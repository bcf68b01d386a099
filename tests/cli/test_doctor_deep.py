"""`ekyc doctor --deep` on the deployed stack of the local AWS: what it finds, and that it leaves nothing."""

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from threading import Event
from typing import Any

import pytest
from aws_answers import NOWHERE, Answers, answering, denied, ekyc_doctor

from ekyc.cli.account import Account
from ekyc.cli.doctor.context import CheckContext
from ekyc.cli.doctor.deep import answers, examination, probe, rekognition, role_copies, web
from ekyc.cli.doctor.deep.probe import NAMES, Probe
from ekyc.cli.doctor.findings import Finding
from ekyc.localaws.server import LocalAws
from ekyc.localaws.synth import LOCAL_SETTINGS, PROJECT, synthesize
from pipeline import labelling
from tests.command import environment_without_aws
from tests.waiting import ENOUGH

PAGE = "https://kyc.example.com"
SETTINGS = {**LOCAL_SETTINGS, "webOrigins": [PAGE]}


class Deployed:
    """The deployed stack, and what is in the account."""

    def __init__(self, aws: LocalAws, outputs: dict[str, str]) -> None:
        self.aws, self.outputs = aws, outputs

    def things(self) -> dict[str, list[str]]:
        """The names of all that a deep check may have made."""
        client = self.aws.client
        projects = client("rekognition").describe_projects()["ProjectDescriptions"]
        return {
            "projects": [one["ProjectArn"] for one in projects],
            "roles": [one["RoleName"] for one in client("iam").list_roles()["Roles"] if NAMES in one["RoleName"]],
            "machines": [
                one["name"]
                for one in client("stepfunctions").list_state_machines()["stateMachines"]
                if one["name"].startswith(NAMES)
            ],
            "objects": [
                one["Key"]
                for one in client("s3").list_objects_v2(Bucket=self.outputs["BucketName"]).get("Contents", [])
            ],
            "jobs": client("dynamodb").scan(TableName=self.outputs["JobsTable"])["Items"],
        }


NOTHING: dict[str, list[str]] = {"projects": [], "roles": [], "machines": [], "objects": [], "jobs": []}


@pytest.fixture(scope="module")
def deployed(local_aws: LocalAws, tmp_path_factory: pytest.TempPathFactory) -> Deployed:
    local_aws.reset()
    return Deployed(local_aws, local_aws.deploy(synthesize(tmp_path_factory.mktemp("deep"), SETTINGS)))


@pytest.fixture
def environment(deployed: Deployed, monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """The user's environment: credentials of the local AWS, and of nothing else."""
    for name in os.environ:
        if name.startswith("AWS_"):
            monkeypatch.delenv(name)
    for name, value in {**NOWHERE, **deployed.aws.environment()}.items():
        monkeypatch.setenv(name, value)
    for module in (probe, role_copies):
        monkeypatch.setattr(module, "SECONDS_BETWEEN_LOOKS", 0.1)
    return monkeypatch


@pytest.fixture
def a_probe(environment: pytest.MonkeyPatch) -> Iterator[Probe]:
    """A probe of the deployed stack, cleaned up at the end."""
    one = Probe(CheckContext({}))
    yield one
    one.clean_up()


def as_text(settings: dict[str, Any]) -> list[str]:
    """The settings as options of the command."""
    return [f"-c{key}={value if isinstance(value, str) else json.dumps(value)}" for key, value in settings.items()]


def test_all_is_well_and_nothing_is_left(deployed: Deployed) -> None:
    # When the doctor is asked, with the settings that are deployed
    ended = ekyc_doctor("--deep", "--json", *as_text(SETTINGS), **deployed.aws.environment())
    # Then it says first what it makes, where and at what cost, then how far it is, beside the result
    assert ended.returncode == 0, ended.stdout + ended.stderr
    plan, *things = ended.stderr.splitlines()
    assert "account 123456789012 in us-east-1" in plan
    assert "- a Custom Labels project with the deployment's tags" in things
    assert "less than 0.01 USD and take at most 10 minutes" in ended.stderr
    assert [line.partition("] ")[2] for line in things if line.startswith("[")] == list(examination.CHECKS)
    # And each of its checks is well
    found = {check["check"]: check for check in json.loads(ended.stdout)["checks"]}
    deep = [*examination.CHECKS, examination.CLEAN_UP]
    assert list(found)[-len(deep) :] == deep
    assert {found[title]["status"] for title in deep} == {"ok"}
    assert found["Rekognition project"]["found"].endswith("create a project with the tags ekyc-job")
    assert "SageMaker returns ValidationException" in found["Unknown labelling job"]["found"]
    assert "a used token gets TaskTimedOut" in found["Task token"]["found"]
    assert f"{PAGE} can upload and compare the hash" in found["Upload from a page"]["found"]
    # And nothing is left
    assert deployed.things() == NOTHING


def test_a_problem_ends_with_exit_code_1_and_nothing_left(deployed: Deployed) -> None:
    # Given a bucket whose rules are gone
    s3, bucket = deployed.aws.client("s3"), deployed.outputs["BucketName"]
    rules = s3.get_bucket_cors(Bucket=bucket)["CORSRules"]
    s3.delete_bucket_cors(Bucket=bucket)
    try:
        # When the doctor is asked
        ended = ekyc_doctor("--deep", *as_text(SETTINGS), **deployed.aws.environment())
    finally:
        s3.put_bucket_cors(Bucket=bucket, CORSConfiguration={"CORSRules": rules})
    # Then it looks at the rules, and meets what they do
    assert ended.returncode == 1
    problems = [line[9:] for line in ended.stdout.splitlines() if line.startswith("problem")]
    assert [line.partition(":")[0] for line in problems] == ["Bucket CORS", "Upload from a page"]
    assert f"S3 blocks the preflight of an upload from {PAGE} (403)" in problems[1]
    # And all else was looked at and deleted
    assert "ok       Clean-up: " in ended.stdout
    assert deployed.things() == NOTHING


def test_a_role_copy_has_the_deployed_policies(deployed: Deployed, a_probe: Probe) -> None:
    # Given the policy of a function's role
    role_copy = role_copies.find_or_make(a_probe, "RequestLabels")
    by_sid = statements(deployed, "RequestLabels")
    # Then the copy of its role has the same, but for the state machine and the source of events
    own_statements = {one.get("Sid"): one for policy in role_copy.policies for one in policy["Statement"]}
    assert own_statements.keys() == by_sid.keys()
    changed = {sid for sid, statement in own_statements.items() if statement != by_sid[sid]}
    assert changed == {"AnswerTask", "TellSystems"}
    assert own_statements["AnswerTask"]["Resource"].endswith(f":stateMachine:{a_probe.name}")
    assert '"events:source": "ekyc.doctor"' in json.dumps(own_statements["TellSystems"]["Condition"])
    # And the user alone may take it on, and Step Functions
    role = deployed.aws.client("iam").get_role(RoleName=role_copy.name)["Role"]
    user, machine = role["AssumeRolePolicyDocument"]["Statement"]
    assert user["Principal"] == {"AWS": a_probe.context.identity["Arn"]}
    assert machine["Condition"] == {"StringEquals": {"aws:SourceAccount": "123456789012"}}


def statements(deployed: Deployed, function: str) -> dict[str, Any]:
    """The statements of the role of a function by Sid."""
    iam = deployed.aws.client("iam")
    (role,) = (one["RoleName"] for one in iam.list_roles()["Roles"] if f"Stages{function}Role" in one["RoleName"])
    (name,) = iam.list_role_policies(RoleName=role)["PolicyNames"]
    document = iam.get_role_policy(RoleName=role, PolicyName=name)["PolicyDocument"]
    return {one.get("Sid"): one for one in document["Statement"]}


def test_a_project_has_the_deployed_cost_tags(a_probe: Probe) -> None:
    # Given a deployment with a cost tag
    a_probe.context.function("CreateDatasets")["Environment"]["Variables"]["COST_TAGS"] = "team=onboarding"
    # Then the project is created with this tag and with the tag that the policy requires
    assert examine("Rekognition project", a_probe).found.endswith("with the tags team, ekyc-job")


def examine(title: str, a_probe: Probe) -> Finding:
    """The finding of one deep check."""
    return examination._run_deep_check(examination.CHECKS[title], a_probe)


# A bucket that was changed


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        ({"AllowedHeaders": ["content-type"]}, f"S3 blocks the preflight of an upload from {PAGE} (403)"),
        ({"AllowedOrigins": [PAGE, web.FOREIGN]}, f"S3 allows the preflight of an upload from {web.FOREIGN} (200)"),
        ({"ExposeHeaders": []}, f"S3 does not expose x-amz-meta-sha256 to pages of {PAGE}"),
    ],
)
def test_changed_cors_rules_are_found(deployed: Deployed, a_probe: Probe, change: dict[str, Any], fault: str) -> None:
    # Given a bucket whose rules are no longer those of the template
    s3, bucket = deployed.aws.client("s3"), deployed.outputs["BucketName"]
    rules = s3.get_bucket_cors(Bucket=bucket)["CORSRules"]
    s3.put_bucket_cors(Bucket=bucket, CORSConfiguration={"CORSRules": [rules[0], rules[1] | change]})
    try:
        # When an upload is tried
        finding = examine("Upload from a page", a_probe)
    finally:
        s3.put_bucket_cors(Bucket=bucket, CORSConfiguration={"CORSRules": rules})
    # Then the fault is named, and no other
    assert (finding.status, finding.found) == ("problem", fault)
    # And nothing is left
    assert a_probe.clean_up().status == "ok"
    assert deployed.things() == NOTHING


# AWS answers otherwise


def test_content_of_another_hash_must_be_refused(a_probe: Probe, environment: pytest.MonkeyPatch) -> None:
    # Given an S3 that does not look at the checksum
    from moto.s3.responses import S3Response

    environment.setattr(S3Response, "put_object", S3Response.put_object.__wrapped__)
    # Then the doctor says that it took other content than the signed one
    finding = examine("Upload from a page", a_probe)
    assert finding.status == "problem"
    assert finding.found == "S3 accepts content whose hash differs from the signed hash"


def test_a_denial_of_the_roles_call_is_a_problem(
    deployed: Deployed, a_probe: Probe, environment: pytest.MonkeyPatch
) -> None:
    # Given an AWS that denies the project, also when it has had time to learn of the role
    environment.setattr(role_copies, "SECONDS_TO_PROPAGATE", 0)
    with answering(denied("rekognition:CreateProject")) as url:
        environment.setenv("AWS_ENDPOINT_URL_REKOGNITION", url)
        finding = examine("Rekognition project", a_probe)
        # Then the doctor says so in AWS's words
        assert finding.status == "problem"
        assert finding.found.startswith(
            "AWS denies the role of CreateDatasets the call CreateProject, which jobs need: User:"
        )
        # And what AWS refused to make is nothing to delete
        assert a_probe.clean_up().found == "1 resource created and deleted"
    assert deployed.things() == NOTHING


def test_a_denial_counts_once_aws_knows_the_role(a_probe: Probe, environment: pytest.MonkeyPatch) -> None:
    # Given an AWS that learns of a new role with its third answer
    asked: list[str] = []

    def learns(operation: str) -> tuple[int, Any]:
        asked.append(operation)
        if len(asked) < 3:
            return denied("events:PutEvents")(operation)
        return 200, {"FailedEntryCount": 0, "Entries": [{"EventId": "1"}]}

    with answering(learns) as url:
        environment.setenv("AWS_ENDPOINT_URL_EVENTBRIDGE", url)
        finding = examine("Event", a_probe)
    # Then the event is taken
    assert (finding.status, len(asked)) == ("ok", 3)


@pytest.mark.parametrize(
    ("code", "status"),
    [("ResourceNotFound", "ok"), ("ValidationException", "ok"), ("UnknownThing", "problem")],
)
def test_which_code_an_unknown_labelling_job_gets(
    code: str, status: str, a_probe: Probe, environment: pytest.MonkeyPatch
) -> None:
    with answering(lambda _: (400, {"__type": code, "message": "No."})) as url:
        environment.setenv("AWS_ENDPOINT_URL_SAGEMAKER", url)
        finding = examine("Unknown labelling job", a_probe)
    assert finding.status == status
    assert f"SageMaker returns {code} for" in finding.found


def test_the_doctor_understands_what_the_pipeline_does() -> None:
    assert answers.NO_SUCH_LABELLING_JOB == labelling.NO_SUCH_LABELLING_JOB
    assert answers.ALREADY_RESUMED == labelling.ALREADY_RESUMED


def machine_that_ends(**description: str) -> Answers:
    """Step Functions, whose execution ends so."""
    machine = {"stateMachineArn": "arn:aws:states:us-east-1:123456789012:stateMachine:x", "creationDate": 0}
    execution = {"executionArn": "arn:aws:states:us-east-1:123456789012:execution:x:x", "startDate": 0}
    by_operation = {
        "CreateStateMachine": machine,
        "StartExecution": execution,
        "DescribeExecution": {**machine, **execution, **description},
        "DeleteStateMachine": {},
    }
    return lambda operation: (200, by_operation[operation])


@pytest.mark.parametrize(
    ("end", "status", "words"),
    [
        ({"status": "TIMED_OUT"}, "warning", "did not resume the execution"),
        ({"status": "FAILED", "error": "States.Timeout"}, "warning", "did not resume the execution"),
        ({"status": "FAILED", "error": "Sfn.SfnException", "cause": "Denied."}, "problem", "Sfn.SfnException: Denied."),
    ],
)
def test_a_token_whose_answer_is_lost_or_refused(
    end: dict[str, str], status: str, words: str, a_probe: Probe, environment: pytest.MonkeyPatch
) -> None:
    with answering(machine_that_ends(**end)) as url:
        environment.setenv("AWS_ENDPOINT_URL_SFN", url)
        finding = examine("Task token", a_probe)
        assert a_probe.clean_up().status == "ok"
    assert finding.status == status
    assert words in finding.found


def test_a_dataset_that_fails_has_rekognitions_words(a_probe: Probe, environment: pytest.MonkeyPatch) -> None:
    # Given a manifest that Rekognition cannot take
    environment.setattr(rekognition, "_manifest_line", lambda _photo: b"no manifest")
    assert examine("Rekognition project", a_probe).status == "ok"
    finding = examine("Rekognition dataset", a_probe)
    assert finding.status == "problem"
    assert "the dataset is CREATE_FAILED: The manifest file" in finding.found


def test_an_api_that_wants_a_body_or_answers_no_json(a_probe: Probe) -> None:
    # Given an API Gateway that refuses a start without a body
    with answering(lambda _: (400, {"detail": "No body."})) as url:
        a_probe.context.endpoint = url
        finding = examine("API Gateway's responses", a_probe)
    assert finding.status == "warning"
    assert "without a body returns 400 instead of 404" in finding.found
    # And one whose words about a wrong body break the JSON
    with answering(lambda _: (404, '{"detail": "["names"]"}')) as url:
        a_probe.context.endpoint = url
        finding = examine("API Gateway's responses", a_probe)
    assert finding.status == "problem"
    assert '{"detail": "["names"]"}' in finding.found


# The page


def test_the_files_that_the_page_links_to_exist() -> None:
    # Given the page; Then each file that it names is there
    page = PROJECT / "docs/aws-checks.md"
    links = re.findall(r"\]\(([^)#]+)", page.read_text())
    assert len(links) > 10
    assert [link for link in links if not (page.parent / link).exists()] == []


def test_the_page_names_what_the_user_must_be_allowed(a_probe: Probe, environment: pytest.MonkeyPatch) -> None:
    # Given the calls that the deep checks make with the user's own credentials
    called = {"execute-api:Invoke", "iam:PassRole"}  # no calls of boto3's
    client = Account.client

    def watched(self: Account, service: str, **credentials: str) -> Any:
        made = client(self, service, **credentials)
        if not credentials:
            made.meta.events.register(
                "provide-client-params.*.*",
                lambda model, **_: called.add(f"{model.service_model.signing_name}:{model.name}"),
            )
        return made

    environment.setattr(Account, "client", watched)
    findings = examination.examine(a_probe, lambda _: None)
    assert {finding.status for finding in findings.values()} == {"ok"}
    # Then the page names each, and no other
    needs = (PROJECT / "docs/aws-checks.md").read_text().partition("**Permissions.**")[2].partition("\n\n")[0]
    assert set(re.findall(r"`([a-z0-9-]+:[A-Z]\w+)`", needs)) - {"kms:GenerateDataKey"} == called


# The end


def test_ctrl_c_deletes_what_is_there(deployed: Deployed) -> None:
    # Given a doctor at work, who waits for an execution that does not end
    waits = Event()

    def runs_on(operation: str) -> tuple[int, Any]:
        if operation == "DescribeExecution":
            waits.set()
        deleted.append(operation) if operation.startswith("Delete") else None
        return machine_that_ends(status="RUNNING")(operation)

    deleted: list[str] = []
    with answering(runs_on) as url:
        environment = environment_without_aws() | NOWHERE | deployed.aws.environment() | {"AWS_ENDPOINT_URL_SFN": url}
        doctor = subprocess.Popen(
            [Path(sys.executable).with_name("ekyc"), "doctor", "--deep"],
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # a job in the background ignores it
        )
        assert waits.wait(ENOUGH)
        before = deployed.things()
        assert before["projects"]
        assert len(before["roles"]) == 2
        # When Ctrl-C comes
        doctor.send_signal(signal.SIGINT)
        _, said = doctor.communicate(timeout=ENOUGH)
    # Then it ends as other commands do, and all is deleted that it had made
    assert doctor.returncode == 130
    assert said.splitlines()[-1] == "Deleting what was created"
    assert deleted == ["DeleteStateMachine"]
    assert deployed.things() == NOTHING


def test_what_cannot_be_deleted_is_named_and_keeps_no_other(environment: pytest.MonkeyPatch) -> None:
    # Given three things, of which the second cannot be deleted
    one, gone = Probe(CheckContext({})), []

    def refuse() -> None:
        raise OSError("the network is down")

    one.delete_later("object a", lambda: gone.append("a"))
    one.delete_later("role b", refuse)
    one.delete_later("object c", lambda: gone.append("c"))
    # When all is deleted
    finding = one.clean_up()
    # Then the others are gone, the last made first, and that one is named
    assert gone == ["c", "a"]
    assert finding.status == "problem"
    assert finding.found == "not deleted: role b (OSError: the network is down)"
    assert "docs/aws-checks.md" in finding.advice


def test_without_a_stack_nothing_is_made(environment: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    findings = examination.examine(Probe(CheckContext({"stackName": "another"})), said.append)
    assert {(one.status, one.found) for one in findings.values()} == {("skipped", "the stack is not deployed yet")}
    assert said == []


def test_a_user_who_may_not_read_roles_sees_the_permission(a_probe: Probe, environment: pytest.MonkeyPatch) -> None:
    # Given a user who may not look at the functions' roles
    message = "User: x is not authorized to perform: iam:ListRolePolicies on resource: y"
    refusal = f"<ErrorResponse><Error><Code>AccessDenied</Code><Message>{message}</Message></Error></ErrorResponse>"
    with answering(lambda _: (403, refusal)) as url:
        environment.setenv("AWS_ENDPOINT_URL_IAM", url)
        finding = examine("Event", a_probe)
    assert finding.status == "warning"
    assert finding.advice == "Ask the account's administrator for the permission iam:ListRolePolicies."
    assert a_probe.clean_up().found == "nothing was created"
