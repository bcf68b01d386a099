"""All services use the same time: real time on a fresh or idle local AWS, and never a time before its cause."""

from __future__ import annotations

import json
import math
import time
from datetime import datetime
from email.utils import parsedate_to_datetime
from typing import Any

import pytest
from assembly import function, state_machine
from executions import Deploy, Executions

from ekyc.localaws.clock import clock
from ekyc.localaws.server import LocalAws

TELLS_TIME = """
    import time

    def handler(event, context):
        return time.time()
    """
WAITS = {"StartAt": "Wait", "States": {"Wait": {"Type": "Wait", "Seconds": 1200, "End": True}}}
ROLE_ARN = "arn:aws:iam::123456789012:role/none"


@pytest.fixture
def resources(deploy: Deploy) -> dict[str, str]:
    """A function that returns its time, and a state machine that waits for twenty minutes."""
    return deploy(TELLS_TIME, {"Function": function("app.handler"), "Machine": state_machine(WAITS)})


def time_in_function(aws: LocalAws, name: str) -> float:
    return float(json.load(aws.client("lambda").invoke(FunctionName=name)["Payload"]))


def date_header(aws: LocalAws) -> float:
    answer = aws.client("sts").get_caller_identity()["ResponseMetadata"]
    return parsedate_to_datetime(answer["HTTPHeaders"]["date"]).timestamp()


def dates_of_new_resources(aws: LocalAws) -> dict[str, Any]:
    """The date that each service gives something that is made now."""
    s3, ssm, sqs, logs = aws.client("s3"), aws.client("ssm"), aws.client("sqs"), aws.client("logs")
    s3.create_bucket(Bucket="new-bucket")
    s3.put_object(Bucket="new-bucket", Key="object", Body=b"-")
    ssm.put_parameter(Name="new", Value="-", Type="String")
    queue = sqs.create_queue(QueueName="new")["QueueUrl"]
    sqs.send_message(QueueUrl=queue, MessageBody="-")
    (message,) = sqs.receive_message(QueueUrl=queue, AttributeNames=["SentTimestamp"])["Messages"]
    logs.create_log_group(logGroupName="new")
    rekognition, sagemaker, cloudwatch = (aws.client(name) for name in ("rekognition", "sagemaker", "cloudwatch"))
    rekognition.create_project(ProjectName="new")
    sagemaker.create_model(ModelName="new", ExecutionRoleArn=ROLE_ARN, PrimaryContainer={"Image": "-"})
    cloudwatch.put_metric_alarm(
        AlarmName="new",
        Namespace="new",
        MetricName="new",
        Period=60,
        EvaluationPeriods=1,
        ComparisonOperator="GreaterThanThreshold",
        Threshold=1,
        Statistic="Sum",
    )
    cloudformation = aws.client("cloudformation")
    template = {"Resources": {"Queue": {"Type": "AWS::SQS::Queue"}}}
    cloudformation.create_stack(StackName="new", TemplateBody=json.dumps(template))
    machine = aws.client("stepfunctions").create_state_machine(
        name="new", definition=json.dumps(WAITS), roleArn=ROLE_ARN
    )
    table = aws.client("dynamodb").create_table(
        TableName="new",
        BillingMode="PAY_PER_REQUEST",
        KeySchema=[{"AttributeName": "Id", "KeyType": "HASH"}],
        AttributeDefinitions=[{"AttributeName": "Id", "AttributeType": "S"}],
    )
    return {
        "S3 bucket": next(b["CreationDate"] for b in s3.list_buckets()["Buckets"] if b["Name"] == "new-bucket"),
        "S3 HeadObject": s3.head_object(Bucket="new-bucket", Key="object")["LastModified"],
        "S3 ListObjectsV2": s3.list_objects_v2(Bucket="new-bucket")["Contents"][0]["LastModified"],
        "SSM": ssm.get_parameter(Name="new")["Parameter"]["LastModifiedDate"],
        "SQS": int(message["Attributes"]["SentTimestamp"]) / 1000,
        "Logs": logs.describe_log_groups(logGroupNamePrefix="new")["logGroups"][0]["creationTime"] / 1000,
        "Rekognition": rekognition.describe_projects(ProjectNames=["new"])["ProjectDescriptions"][0][
            "CreationTimestamp"
        ],
        "SageMaker": sagemaker.describe_model(ModelName="new")["CreationTime"],
        "CloudWatch": cloudwatch.describe_alarms(AlarmNames=["new"])["MetricAlarms"][0]["StateUpdatedTimestamp"],
        "CloudFormation": cloudformation.describe_stacks(StackName="new")["Stacks"][0]["CreationTime"],
        "Step Functions": machine["creationDate"],
        "DynamoDB": table["TableDescription"]["CreationDateTime"],
        "IAM": aws.client("iam").create_role(RoleName="new", AssumeRolePolicyDocument="{}")["Role"]["CreateDate"],
        "KMS": aws.client("kms").create_key()["KeyMetadata"]["CreationDate"],
        "header Date": date_header(aws),
    }


def seconds(date: float | datetime) -> float:
    return date.timestamp() if isinstance(date, datetime) else date


def test_a_fresh_local_aws_tells_the_real_time(local_aws: LocalAws, resources: dict[str, str]) -> None:
    # Given a local AWS on which something was deployed and some time has passed
    time.sleep(0.5)
    # When a function and a service are asked for their time
    before = time.time()
    reported = time_in_function(local_aws, resources["Function"])
    header = date_header(local_aws)
    after = time.time()
    # Then it is the client's time; the header has whole seconds
    assert before - 0.1 <= reported <= after + 0.1
    assert before - 1.1 <= header <= after + 0.1


def test_an_idle_local_aws_runs_in_real_time(
    local_aws: LocalAws, resources: dict[str, str], executions: Executions
) -> None:
    # Given a local AWS whose last execution has waited for twenty minutes
    executions.run(resources["Machine"])
    began_real = time.monotonic()
    began = time_in_function(local_aws, resources["Function"])
    # When nothing happens for a second
    time.sleep(1)
    # Then no more has passed for the services, and not much less
    passed = time_in_function(local_aws, resources["Function"]) - began
    assert 0.7 < passed <= time.monotonic() - began_real + 0.1


def test_waiting_is_fast_while_an_execution_waits(resources: dict[str, str], executions: Executions) -> None:
    # Given a machine that waits for twenty minutes
    began = time.monotonic()
    # When it is run
    ended = executions.run(resources["Machine"])
    # Then they have passed for the services, and a fraction of them for the client
    assert 1200 <= (ended["stopDate"] - ended["startDate"]).total_seconds() < 1400
    assert time.monotonic() - began < 300


def test_all_services_use_the_same_time(local_aws: LocalAws, resources: dict[str, str], executions: Executions) -> None:
    # Given a clock that is twenty minutes ahead, as an execution has waited
    stopped = executions.run(resources["Machine"])["stopDate"].timestamp()
    # When something is made in every service
    before = clock.now()
    dates = dates_of_new_resources(local_aws)
    dates["function"] = time_in_function(local_aws, resources["Function"])
    after = clock.now()
    # Then each gives it a date of that moment (some in whole seconds), which is after what happened before
    off = {
        name: seconds(date) - before for name, date in dates.items() if not before - 1 <= seconds(date) <= after + 0.1
    }
    assert off == {}
    assert before >= stopped
    assert before - time.time() > 900


def test_lambda_dates_a_deployment_by_the_same_time(deploy: Deploy, local_aws: LocalAws) -> None:
    # Given a clock that is twenty minutes ahead
    clock.sleep(1200)
    # When a function is deployed
    before = clock.now()
    name = deploy_function(deploy)
    # Then its date is of that moment, not of the client's clock
    reported = local_aws.client("lambda").get_function_configuration(FunctionName=name)["LastModified"]
    assert before - 1 <= datetime.fromisoformat(reported).timestamp() <= clock.now()


def deploy_function(deploy: Deploy) -> str:
    return deploy(TELLS_TIME, {"Function": function("app.handler")})["Function"]


@pytest.mark.parametrize("speed", [600.0, math.inf])
def test_reset_sets_the_clock_and_keeps_its_speed(
    local_aws: LocalAws, monkeypatch: pytest.MonkeyPatch, speed: float
) -> None:
    # Given a clock that is twenty minutes ahead
    monkeypatch.setattr(clock, "speed", speed)
    clock.sleep(1200)
    # When everything is forgotten
    local_aws.reset()
    # Then it shows the real time, at its speed
    before, shown, after = time.time(), date_header(local_aws), time.time()
    assert before - 1.1 <= shown <= after + 0.1
    assert clock.speed == speed
