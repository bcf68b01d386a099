"""`ekyc doctor`: each check in good and bad condition, and the command as a person runs it.

What the local AWS plays is asked there. Where it does not, or cannot be in the condition, a server answers in AWS's
words in the place of that one service.
"""

import json
import os
import subprocess
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from aws_answers import NOWHERE, Answers, answering, denied, ekyc_doctor

from ekyc.cli import account
from ekyc.cli.account import Account
from ekyc.cli.doctor import basics
from ekyc.cli.doctor.context import CheckContext
from ekyc.cli.doctor.deployed import _as_get_template_returns
from ekyc.cli.doctor.examination import CHECKS, examine, run_check
from ekyc.cli.doctor.findings import Finding
from ekyc.localaws.clock import clock as service_clock
from ekyc.localaws.server import LocalAws
from ekyc.localaws.services import rekognition
from ekyc.localaws.synth import LOCAL_SETTINGS, WORK_TEAM, synthesize

STACK = "ekyc-training"
ACCOUNT = "arn:aws:{}:us-east-1:123456789012:{}"
SUPPLIED = {"labelProvider": "supplied", "workTeam": ""}


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """No credentials and no Region, unless a test gives them."""
    for name in os.environ:
        if name.startswith("AWS_"):
            monkeypatch.delenv(name)
    for name, value in NOWHERE.items():
        monkeypatch.setenv(name, value)
    return monkeypatch


@pytest.fixture
def aws(empty_aws: LocalAws, environment: pytest.MonkeyPatch) -> LocalAws:
    """An account in which nothing is, and credentials for it."""
    for name, value in empty_aws.environment().items():
        environment.setenv(name, value)
    return empty_aws


def look(title: str, *, at_aws: bool = True, **settings: str) -> Finding:
    """The finding of one check. ``at_aws``: ask as AWS is asked, also for what the local AWS does not play."""
    return run_check(CHECKS[title], at_aws_as(settings) if at_aws else CheckContext(settings))


def at_aws_as(settings: dict[str, str]) -> CheckContext:
    context = CheckContext(settings)
    context.is_local = False
    return context


def make_stack(aws: LocalAws, **resources: Any) -> str:
    """Deploy a stack with these and a bucket; the bucket's name."""
    cloudformation = aws.client("cloudformation")
    cloudformation.create_stack(
        StackName=STACK,
        TemplateBody=json.dumps(
            {
                "Resources": {"Bucket": {"Type": "AWS::S3::Bucket"}} | resources,
                "Outputs": {"BucketName": {"Value": {"Ref": "Bucket"}}},
            }
        ),
    )
    (output,) = cloudformation.describe_stacks(StackName=STACK)["Stacks"][0]["Outputs"]
    return str(output["OutputValue"])


# The whole command


def test_the_deployed_stack_is_current_until_a_setting_differs(aws: LocalAws, tmp_path: Path) -> None:
    # Given the stack, deployed to the local AWS as `ekyc local` does
    aws.deploy(synthesize(tmp_path, LOCAL_SETTINGS))
    # When the doctor runs with the environment that `ekyc local` prints
    ended = ekyc_doctor("--json", **aws.environment())
    # Then there is no problem, and what is not played says so
    assert ended.returncode == 0, ended.stdout + ended.stderr
    report = json.loads(ended.stdout)
    found = {check["check"]: check for check in report["checks"]}
    assert list(found) == list(CHECKS)
    assert (report["local"], report["problems"]) == (True, 0)
    assert all(set(check) == {"check", "status", "found", "advice"} for check in report["checks"])
    assert {check["status"] for check in report["checks"]} <= {"ok", "skipped"}
    assert found["Template"]["found"].startswith("up to date")
    assert "CREATE_COMPLETE" in found["Stack"]["found"]
    assert "not simulated by the local AWS" in found["API Gateway log role"]["found"]
    assert "0 of 2" in found["Trainings"]["found"]
    # And when another setting is chosen, the template is no longer what the settings give
    finding = look("Template", at_aws=False, minF1="0.9")
    assert finding.status == "warning"
    assert "changed" in finding.found
    assert "make deploy" in finding.advice


@pytest.mark.parametrize(
    ("variables", "arguments", "problems"),
    [
        ({}, (), {"Region": "no Region is set"}),
        ({"AWS_REGION": "eu-west-1"}, (), {"Credentials": "Unable to locate credentials"}),
        ({"AWS_PROFILE": "gone"}, (), {"Credentials": "gone", "Region": "no Region is set"}),
        (
            {"AWS_REGION": "eu-wset-1", "AWS_ACCESS_KEY_ID": "x", "AWS_SECRET_ACCESS_KEY": "y"},
            ("-c", "labelProvider=supplied"),
            {"Region": "boto3 knows no Region eu-wset-1"},
        ),
        ({"AWS_REGION": "eu-west-1"}, ("-c", "minF=1"), {"Settings": "the settings are wrong. The CDK context"}),
        ({"AWS_REGION": "sa-east-1"}, (), {"Settings": "no built-in functions in sa-east-1"}),
    ],
)
def test_what_is_missing_is_reported_once_in_words(
    variables: dict[str, str], arguments: tuple[str, ...], problems: dict[str, str]
) -> None:
    # Given an endpoint without a server
    no_server = {"AWS_ENDPOINT_URL": "http://127.0.0.1:9"}
    # When the doctor runs without a terminal
    ended = ekyc_doctor(*arguments, **no_server, **variables)
    # Then a line for each check says how it is, and exit code 1 that there is a problem
    assert ended.returncode == 1
    assert ended.stderr == ""
    lines = {line[9:].partition(":")[0]: line for line in ended.stdout.splitlines()}
    assert set(CHECKS) <= set(lines)
    for title, words in problems.items():
        assert lines[title].startswith("problem")
        assert words in lines[title]
    # And what rests on it names it and is not told as a fault of its own
    assert lines["Stack"].startswith("skipped  Stack: not checked")
    assert "Traceback" not in ended.stdout


def test_a_setting_without_a_value_is_a_sentence() -> None:
    ended = ekyc_doctor("-c", "labelProvider")
    assert (ended.returncode, len(ended.stderr.splitlines())) == (1, 1)
    assert "KEY=VALUE" in ended.stderr


def test_a_denied_check_names_the_permission_and_others_run(aws: LocalAws, environment: pytest.MonkeyPatch) -> None:
    # Given credentials that may not look at Rekognition
    with answering(denied("rekognition:DescribeProjects")) as url:
        environment.setenv("AWS_ENDPOINT_URL_REKOGNITION", url)
        # When everything is looked at
        _, findings = examine(SUPPLIED)
    # Then the checks that need it say which permission they lack
    for title in ("Region", "Trainings", "Running models", "Projects"):
        assert findings[title].status == "warning"
        assert (
            "could not be checked: your credentials are not allowed to call DescribeProjects" in findings[title].found
        )
        assert "rekognition:DescribeProjects" in findings[title].advice
    # And the others have their answer
    assert findings["Credentials"].status == "ok"
    assert findings["Stack"].found == "the stack is not deployed yet"


def test_a_service_that_times_out_is_reported(aws: LocalAws, environment: pytest.MonkeyPatch) -> None:
    environment.setattr(account, "SECONDS_TO_ANSWER", 0.2)
    environment.setattr(account, "ATTEMPTS", 1)

    def slow(_: str) -> tuple[int, Any]:
        time.sleep(1)
        return 200, {}

    with answering(slow) as url:
        environment.setenv("AWS_ENDPOINT_URL_SSM", url)
        finding = look("CDK bootstrap")
    assert (finding.status, finding.found) == ("warning", f"could not be checked: the endpoint {url}/ does not respond")


# Credentials, clock


@pytest.mark.parametrize(
    ("code", "words"),
    [
        ("ExpiredToken", "have expired"),
        ("InvalidClientTokenId", "AWS rejected your credentials (InvalidClientTokenId)"),
    ],
)
def test_credentials_that_aws_refuses(code: str, words: str, aws: LocalAws, environment: pytest.MonkeyPatch) -> None:
    body = f"<ErrorResponse><Error><Type>Sender</Type><Code>{code}</Code><Message>No.</Message></Error></ErrorResponse>"
    with answering(lambda _: (403, body)) as url:
        environment.setenv("AWS_ENDPOINT_URL_STS", url)
        context = CheckContext({})
        finding = run_check(CHECKS["Credentials"], context)
        rest = run_check(CHECKS["CDK bootstrap"], context)
    assert finding.status == "problem"
    assert words in finding.found
    assert (rest.status, rest.found) == ("skipped", "not checked: there are no usable credentials")


@pytest.mark.parametrize(("minutes", "status"), [(0, "ok"), (4, "ok"), (-7, "problem"), (7, "problem")])
def test_a_clock_that_is_off_would_spoil_signatures(
    minutes: int, status: str, aws: LocalAws, environment: pytest.MonkeyPatch
) -> None:
    with answering(lambda _: (302, ""), datetime.now(UTC) - timedelta(minutes=minutes, seconds=1)) as url:
        environment.setenv("AWS_ENDPOINT_URL", url)
        finding = look("Clock")
    assert finding.status == status
    if status == "problem":
        assert f"7 minutes {'ahead of' if minutes > 0 else 'behind'}" in finding.found
    elif minutes:
        assert "4 minutes ahead of AWS's" in finding.found


def test_the_local_aws_reports_its_true_time(aws: LocalAws) -> None:
    # Given a fresh local AWS
    fresh = look("Clock", at_aws=False)
    # When a job's waiting leaves its clock ahead
    service_clock.sleep(1200)
    ahead = look("Clock", at_aws=False)
    # Then the doctor calls the first one right, and says by how much the second is off and what to do
    assert (fresh.status, fresh.found) == ("ok", "this machine's clock agrees with the local AWS's clock")
    assert (ahead.status, ahead.found) == ("warning", "this machine's clock is 20 minutes behind the local AWS's clock")
    assert ahead.advice.startswith("No action is needed")


# The account


@pytest.mark.parametrize(("version", "status"), [(None, "warning"), ("5", "problem"), ("30", "ok")])
def test_bootstrap(version: str | None, status: str, aws: LocalAws) -> None:
    if version:
        aws.client("ssm").put_parameter(Name="/cdk-bootstrap/hnb659fds/version", Value=version, Type="String")
    finding = look("CDK bootstrap")
    assert finding.status == status
    if status == "problem":
        assert "npx cdk bootstrap aws://123456789012/us-east-1" in finding.advice


@pytest.mark.parametrize(
    ("role", "setting", "status"),
    [
        ("", "existing", "problem"),
        ("", "create", "ok"),
        ("arn:aws:iam::123456789012:role/logs", "existing", "ok"),
        ("arn:aws:iam::123456789012:role/logs", "create", "warning"),
    ],
)
def test_api_gateways_log_role(
    role: str, setting: str, status: str, aws: LocalAws, environment: pytest.MonkeyPatch
) -> None:
    with answering(lambda _: (200, {"cloudwatchRoleArn": role} if role else {})) as url:
        environment.setenv("AWS_ENDPOINT_URL_API_GATEWAY", url)
        assert look("API Gateway log role", apiLogRole=setting).status == status


def labelling_account(jobs: list[dict[str, Any]], teams: list[dict[str, Any]]) -> Answers:
    answers = {"ListLabelingJobs": {"LabelingJobSummaryList": jobs}, "ListWorkteams": {"Workteams": teams}}
    return lambda operation: (200, answers[operation])


JOB = {
    "LabelingJobName": "passports",
    "LabelingJobArn": ACCOUNT.format("sagemaker", "labeling-job/passports"),
    "CreationTime": 1750000000,
    "LastModifiedTime": 1750000000,
    "LabelingJobStatus": "Completed",
    "LabelCounters": {},
    "WorkteamArn": WORK_TEAM,
}
CLOSED = "Thank you for your interest. Ground Truth is no longer available to new customers."


@pytest.mark.parametrize(
    ("answers", "status", "words"),
    [
        (labelling_account([JOB], []), "ok", "labelling job passports of 2025-06-15"),
        (labelling_account([], []), "warning", "neither a labelling job nor a private work team"),
        (
            labelling_account([], [{"WorkteamName": "t", "WorkteamArn": WORK_TEAM, "MemberDefinitions": []}]),
            "warning",
            "a work team, but no labelling job",
        ),
        (lambda _: (400, {"__type": "AccessDeniedException", "message": CLOSED}), "problem", "cannot use it"),
        (denied("sagemaker:ListLabelingJobs"), "warning", "not allowed to call ListLabelingJobs"),
    ],
)
def test_ground_truth(
    answers: Answers, status: str, words: str, aws: LocalAws, environment: pytest.MonkeyPatch
) -> None:
    with answering(answers) as url:
        environment.setenv("AWS_ENDPOINT_URL_SAGEMAKER", url)
        finding = look("Ground Truth")
    assert finding.status == status
    assert words in finding.found
    # And supplied labels need no work team
    assert look("Ground Truth", **SUPPLIED) == Finding("skipped", "not needed: no job can be labelled in Ground Truth")


def test_work_teams(aws: LocalAws) -> None:
    # Given a team whose group of a user pool is empty
    cognito = aws.client("cognito-idp")
    pool = cognito.create_user_pool(PoolName="people")["UserPool"]["Id"]
    cognito.create_group(UserPoolId=pool, GroupName="labellers")
    member = {"CognitoMemberDefinition": {"UserPool": pool, "UserGroup": "labellers", "ClientId": "portal"}}
    arn = aws.client("sagemaker").create_workteam(WorkteamName="desk", Description="A desk", MemberDefinitions=[member])
    team = arn["WorkteamArn"]
    # Then the doctor warns that no worker can label
    finding = look("Work team", workTeam=team)
    assert (finding.status, finding.found) == ("warning", "desk has no members, so labelling jobs would wait")
    # And when the team has a member, there is no warning
    cognito.admin_create_user(UserPoolId=pool, Username="ann")
    cognito.admin_add_user_to_group(UserPoolId=pool, Username="ann", GroupName="labellers")
    assert look("Work team", workTeam=team) == Finding("ok", "desk, 1 member")
    # And a team that is not there, of another account, or none at all is a problem
    assert "there is no work team" in look("Work team", workTeam=team.replace("desk", "gone")).found
    assert "the work team of that name is" in look("Work team", workTeam=team.replace("1234567", "7654321")).found
    assert look("Work team", workTeam="", labelProvider="ground-truth").status == "problem"
    assert look("Work team", **SUPPLIED).status == "skipped"


@pytest.mark.parametrize(("workforces", "status"), [([], "ok"), ([{"WorkforceName": "default"}], "problem")])
def test_a_created_team_needs_an_account_without_a_workforce(
    workforces: list[dict[str, str]], status: str, aws: LocalAws, environment: pytest.MonkeyPatch
) -> None:
    with answering(lambda _: (200, {"Workforces": workforces})) as url:
        environment.setenv("AWS_ENDPOINT_URL_SAGEMAKER", url)
        assert look("Work team", workTeam="create").status == status


def test_a_vendors_team_is_one_that_the_account_subscribed_to(aws: LocalAws, environment: pytest.MonkeyPatch) -> None:
    vendor = ACCOUNT.format("sagemaker", "workteam/vendor-crowd/acme")
    team = {"SubscribedWorkteam": {"WorkteamArn": vendor, "SellerName": "Acme"}}
    with answering(lambda operation: (200, team) if operation == "DescribeSubscribedWorkteam" else (400, {})) as url:
        environment.setenv("AWS_ENDPOINT_URL_SAGEMAKER", url)
        assert look("Work team", workTeam=vendor) == Finding("ok", "subscribed from Acme")


def test_quotas_are_held_against_what_is_in_use(aws: LocalAws, environment: pytest.MonkeyPatch) -> None:
    # Given Service Quotas that lists two of the three, and an account with one project
    aws.client("rekognition").create_project(ProjectName="one")
    names = {
        "Maximum number of concurrent Amazon Rekognition Custom Labels training jobs per account": 0.0,
        "Maximum number of Amazon Rekognition Custom Labels projects per account": 1.0,
        "Transactions per second per account for the Amazon Rekognition Custom Labels operation DescribeProjects": 5.0,
    }
    quotas = [{"QuotaName": name, "Value": value} for name, value in names.items()]
    with answering(lambda _: (200, {"Quotas": quotas})) as url:
        environment.setenv("AWS_ENDPOINT_URL_SERVICE_QUOTAS", url)
        found = {title: look(title) for title in ("Trainings", "Running models", "Projects")}
    # Then a job would wait for a training, its project could not be made, and what is not listed has AWS's default
    assert (found["Trainings"].status, found["Trainings"].found) == ("warning", "0 of 0 concurrent (Service Quotas)")
    assert (found["Projects"].status, found["Projects"].found) == ("problem", "1 of 1 (Service Quotas)")
    assert found["Running models"].status == "ok"
    assert "0 of 2 concurrent (AWS's default: Service Quotas does not list it)" in found["Running models"].found


def test_running_models_are_counted_over_all_projects(aws: LocalAws, environment: pytest.MonkeyPatch) -> None:
    # Given two projects, one with a running model and one with a model in training, in Rekognition's own responses
    local = rekognition.current()
    statuses = {"one": "RUNNING", "two": "TRAINING_IN_PROGRESS"}
    for name in statuses:
        aws.client("rekognition").create_project(ProjectName=name)
    assert len(aws.client("rekognition").describe_projects()["ProjectDescriptions"]) == 2
    environment.setattr(
        type(local),
        "describe_project_versions",
        lambda _, request: {"ProjectVersionDescriptions": [{"Status": statuses[request["ProjectArn"].split("/")[1]]}]},
    )
    # When the account is looked at
    context = CheckContext({})
    # Then both are counted, each where it belongs
    assert run_check(CHECKS["Running models"], context).found.startswith("1 of 2")
    assert run_check(CHECKS["Trainings"], context).found.startswith("1 of 2")


# What settings name


def test_an_encryption_key_must_be_enabled_and_let_logs_use_it(aws: LocalAws) -> None:
    kms = aws.client("kms")
    arn = kms.create_key()["KeyMetadata"]["Arn"]
    # A new key's policy names the account only
    finding = look("Encryption key", kmsKeyArn=arn)
    assert finding == Finding("problem", "the key policy does not allow CloudWatch Logs to use the key", finding.advice)
    policy = json.loads(kms.get_key_policy(KeyId=arn, PolicyName="default")["Policy"])
    logs = {"Service": "logs.us-east-1.amazonaws.com"}
    policy["Statement"].append({"Effect": "Allow", "Principal": logs, "Action": "kms:*", "Resource": "*"})
    kms.put_key_policy(KeyId=arn, PolicyName="default", Policy=json.dumps(policy))
    assert look("Encryption key", kmsKeyArn=arn).status == "ok"
    kms.disable_key(KeyId=arn.rpartition("/")[2])
    assert look("Encryption key", kmsKeyArn=arn).found == "the key is Disabled"
    signing = kms.create_key(KeyUsage="SIGN_VERIFY", KeySpec="RSA_2048")["KeyMetadata"]["Arn"]
    assert "RSA_2048 key for SIGN_VERIFY" in look("Encryption key", kmsKeyArn=signing).found
    assert "there is no key" in look("Encryption key", kmsKeyArn=arn[:-36] + "0" * 8 + arn[-28:]).found
    assert look("Encryption key").status == "skipped"


def test_a_key_that_signs_reports_must_be_enabled_and_sign(aws: LocalAws) -> None:
    kms = aws.client("kms")
    arn = kms.create_key(KeyUsage="SIGN_VERIFY", KeySpec="ECC_NIST_P256")["KeyMetadata"]["Arn"]
    name = "Key that signs reports"
    assert look(name).status == "skipped"
    assert look(name, auditSigningKeyArn=arn).status == "ok"
    kms.disable_key(KeyId=arn.rpartition("/")[2])
    assert look(name, auditSigningKeyArn=arn).found == "the key is Disabled"
    encrypts = kms.create_key()["KeyMetadata"]["Arn"]
    assert "SYMMETRIC_DEFAULT key for ENCRYPT_DECRYPT" in look(name, auditSigningKeyArn=encrypts).found
    assert "there is no key" in look(name, auditSigningKeyArn=arn[:-36] + "0" * 8 + arn[-28:]).found


def test_a_user_pool_and_a_web_acl_must_be_there(aws: LocalAws) -> None:
    pool = aws.client("cognito-idp").create_user_pool(PoolName="callers")["UserPool"]["Arn"]
    assert look("User pool", apiAuthorization=pool).status == "ok"
    assert look("User pool", apiAuthorization=pool + "x").status == "problem"
    assert look("User pool").status == "skipped"
    page = {"labellingSignInUrl": "https://sign-in.example.com"}
    assert look("Labelling page", labellingUserPool=pool, **page).status == "ok"
    assert look("Labelling page", labellingUserPool=pool + "x", **page).status == "problem"
    assert look("Labelling page", labellingUserPool="create").status == "ok"
    assert look("Labelling page", labelProvider="supplied", labellingUserPool="").status == "skipped"
    visible = {"SampledRequestsEnabled": False, "CloudWatchMetricsEnabled": False, "MetricName": "kyc"}
    acl = aws.client("wafv2").create_web_acl(
        Name="kyc", Scope="REGIONAL", DefaultAction={"Allow": {}}, VisibilityConfig=visible
    )["Summary"]["ARN"]
    assert look("Web ACL", webAclArn=acl).status == "ok"
    assert look("Web ACL", webAclArn=acl + "0").status == "problem"
    assert look("Web ACL").status == "skipped"


def test_the_callers_pool_is_not_the_labelling_pages(aws: LocalAws, tmp_path: Path) -> None:
    # Given a stack that has created the pool of its labelling page
    pool = aws.deploy(synthesize(tmp_path, LOCAL_SETTINGS))["LabellingUserPool"]
    # When the operator wants the API's callers to use it, then the doctor objects
    finding = look("User pool", apiAuthorization=ACCOUNT.format("cognito-idp", f"userpool/{pool}"))
    assert finding.status == "problem"
    assert "every labeller could make every call" in str(finding)


# What is deployed


@pytest.mark.parametrize(
    ("stack_status", "status"),
    [
        ("UPDATE_COMPLETE", "ok"),
        ("UPDATE_ROLLBACK_COMPLETE", "warning"),
        ("UPDATE_IN_PROGRESS", "warning"),
        ("ROLLBACK_COMPLETE", "problem"),
        ("UPDATE_ROLLBACK_FAILED", "problem"),
    ],
)
def test_the_stacks_status(stack_status: str, status: str, aws: LocalAws, environment: pytest.MonkeyPatch) -> None:
    body = (
        "<DescribeStacksResponse><DescribeStacksResult><Stacks><member><StackName>ekyc-training</StackName>"
        f"<StackStatus>{stack_status}</StackStatus><CreationTime>2026-01-01T00:00:00Z</CreationTime></member></Stacks>"
        "</DescribeStacksResult></DescribeStacksResponse>"
    )
    with answering(lambda _: (200, body)) as url:
        environment.setenv("AWS_ENDPOINT_URL_CLOUDFORMATION", url)
        finding = look("Stack")
    assert (finding.status, finding.found) == (status, f"{STACK} is {stack_status}")


def test_a_template_is_compared_as_cloudformation_gives_it_back() -> None:
    # Source: the tests of aws-cdk's mangleLikeCloudFormation: one '?' for each code point beyond ASCII
    assert _as_get_template_returns({"Description": "≥ 2 文字"}) == {"Description": "? 2 ??"}


def test_the_buckets_cors_lets_in_what_labels_and_uploads(aws: LocalAws) -> None:
    assert look("Bucket CORS").status == "skipped"
    bucket = make_stack(aws, **API_FOR_PAGES)
    context, without_ground_truth = at_aws_as({}), at_aws_as(SUPPLIED)

    def found_with(*rules: dict[str, Any], at: CheckContext = context) -> str:
        if rules:
            aws.client("s3").put_bucket_cors(Bucket=bucket, CORSConfiguration={"CORSRules": rules})
        finding = run_check(CHECKS["Bucket CORS"], at)
        assert finding.status == ("ok" if finding.found.startswith("allows all needed requests") else "problem")
        return finding.found

    # Given no rules, neither the labelling page nor a web page gets in
    found = found_with()
    assert f"uploads from {PAGE} with the headers Content-Type, If-None-Match, x-amz-checksum-sha256" in found
    assert "Ground Truth's labelling page" in found
    # A rule that does not show the header is not enough for Ground Truth; with it, it is
    shown: dict[str, Any] = {"AllowedMethods": ["GET"], "AllowedOrigins": ["*"]}
    assert "Ground Truth's labelling page" in found_with(shown)
    shown["ExposeHeaders"] = ["Access-Control-Allow-Origin"]
    assert "Ground Truth's labelling page" not in found_with(shown)
    # Uploads need their checksums' headers, and HEAD with the hash exposed, for each origin that is deployed
    page: dict[str, Any] = {
        "AllowedMethods": ["PUT"],
        "AllowedOrigins": ["https://*.example.com"],
        "AllowedHeaders": ["content-type", "if-none-match"],
    }
    found = found_with(shown, page)
    assert f"uploads from {PAGE} with the headers x-amz-checksum-sha256, x-amz-meta-sha256" in found
    assert f"HEAD from {PAGE} with x-amz-meta-sha256 exposed" in found
    page["AllowedHeaders"] = ["*"]
    found = found_with(shown, page)
    assert "uploads" not in found
    assert f"HEAD from {PAGE}" in found
    page["AllowedMethods"] = ["PUT", "HEAD"]
    assert f"HEAD from {PAGE}" in found_with(shown, page)
    page["ExposeHeaders"] = ["x-amz-meta-sha256"]
    assert found_with(shown, page) == "allows all needed requests with 2 rules"
    # And Ground Truth's rule only where people label in it
    assert "Ground Truth's labelling page" in found_with(page)
    assert found_with(page, at=without_ground_truth) == "allows all needed requests with 1 rule"


PAGE = "https://kyc.example.com"
API_FOR_PAGES = {
    "Role": {"Type": "AWS::IAM::Role", "Properties": {"AssumeRolePolicyDocument": {}}},
    "Api": {
        "Type": "AWS::Lambda::Function",
        "Properties": {
            "Code": {"ZipFile": "pass"},
            "Handler": "index.handler",
            "Role": {"Fn::GetAtt": ["Role", "Arn"]},
            "Runtime": "python3.14",
            "Environment": {"Variables": {"POWERTOOLS_SERVICE_NAME": "Api", "WEB_ORIGINS": PAGE}},
        },
    },
}


@pytest.mark.parametrize(
    ("subscription", "status", "words"),
    [
        (None, "problem", "is not subscribed"),
        ("PendingConfirmation", "problem", "has not confirmed"),
        (ACCOUNT.format("sns", "topic:1"), "ok", "is subscribed"),
    ],
)
def test_an_e_mail_address_must_have_confirmed(
    subscription: str | None, status: str, words: str, aws: LocalAws, environment: pytest.MonkeyPatch
) -> None:
    make_stack(aws, Topic={"Type": "AWS::SNS::Topic"})
    address = "ops@example.com"
    member = f"<member><Endpoint>{address}</Endpoint><SubscriptionArn>{subscription}</SubscriptionArn></member>"
    body = (
        "<ListSubscriptionsByTopicResponse><ListSubscriptionsByTopicResult><Subscriptions>"
        f"{member if subscription else ''}</Subscriptions></ListSubscriptionsByTopicResult>"
        "</ListSubscriptionsByTopicResponse>"
    )
    with answering(lambda _: (200, body)) as url:
        environment.setenv("AWS_ENDPOINT_URL_SNS", url)
        finding = look("Notifications", notificationEmail=address)
    assert finding.status == status
    assert words in finding.found
    assert look("Notifications").status == "skipped"


# The machine


def test_a_python_that_is_too_old_is_named(environment: pytest.MonkeyPatch) -> None:
    assert look("Tools").status in ("ok", "warning")
    environment.setattr(basics, "PYTHON", (99, 0))
    assert "is older than 99.0" in look("Tools").found
    assert look("Tools").advice == "Install Python ≥ 99.0."


def test_checks_share_one_lookup_and_its_error(environment: pytest.MonkeyPatch) -> None:
    # Given settings that are wrong, read by a program that takes its time
    runs: list[Any] = []
    run = subprocess.run
    environment.setattr(account.subprocess, "run", lambda *a, **k: (runs.append(a), run(*a, **k))[1])
    context = Account({"minF1": "2"})
    # When they are asked for again and again
    for _ in range(3):
        with pytest.raises(account.NotCheckedError) as error:
            context.settings  # noqa: B018
        assert "minF1" in error.value.advice
    # Then they were read once
    assert len(runs) == 1
