"""The synthesized template: what `cdk deploy` would hand to CloudFormation."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import aws_cdk as cdk
import pytest
from templates import Template, listed, written

from stacks.runtime import LayerMissingError
from stacks.settings import Settings
from stacks.stack import TrainingStack

PROJECT = Path(__file__).parents[2]
# With the labelling page, so that the template has all functions.
CONTEXT: dict[str, Any] = json.loads((PROJECT / "cdk.json").read_text())["context"]

ENVIRONMENT = {
    "PlanPhotos": {"JOBS_TABLE", "BUCKET"},
    "CheckPhotos": {"JOBS_TABLE", "BUCKET"},
    "CollectPhotos": {"JOBS_TABLE", "BUCKET", "MIN_IMAGES", "MAX_REJECTED_SHARE"},
    "ImportLabels": {"JOBS_TABLE", "BUCKET", "MAX_UNMATCHED_SHARE"},
    "RequestLabels": {
        "JOBS_TABLE",
        "BUCKET",
        "WORK_TEAM_ARN",
        "LABELLING_ROLE_ARN",
        "WORKERS_PER_IMAGE",
        "KMS_KEY_ARN",
        "COST_TAGS",
        "NOTIFICATIONS_TOPIC",
        "TASKS_TABLE",
        "TASKS_INDEX",
        "ANSWERS_PER_PHOTO",
        "BLIND_SHARE",
        "REVIEW_SHARE",
        "PROPOSALS",
        "RETENTION_DAYS",
    },
    "PrepareDatasets": {"JOBS_TABLE", "BUCKET", "MAX_REJECTED_SHARE"},
    "CreateDatasets": {"JOBS_TABLE", "COST_TAGS"},
    "CheckDatasets": {"JOBS_TABLE"},
    "StartTraining": {"JOBS_TABLE", "BUCKET", "KMS_KEY_ARN", "COST_TAGS"},
    "LearnOutlines": {"JOBS_TABLE", "BUCKET"},
    "CheckTraining": {"JOBS_TABLE"},
    "EvaluateModel": {
        "JOBS_TABLE",
        "BUCKET",
        "MIN_F1",
        "MIN_LABEL_F1",
        "MAX_F1_DROP",
        "PROJECT_PARAMETER",
        "MODEL_PARAMETER",
    },
    "StartModel": {"JOBS_TABLE", "INFERENCE_UNITS"},
    "CheckModel": {"JOBS_TABLE"},
    "PublishModel": {
        "JOBS_TABLE",
        "MIN_F1",
        "MIN_LABEL_F1",
        "MAX_F1_DROP",
        "PROJECT_PARAMETER",
        "MODEL_PARAMETER",
        "STOP_PREVIOUS_MODEL",
    },
    "ResumeLabelling": {"JOBS_TABLE", "NOTIFICATIONS_TOPIC"},
    "FinishLabelling": {"JOBS_TABLE", "TASKS_TABLE", "TASKS_INDEX", "BUCKET", "NOTIFICATIONS_TOPIC"},
    "RecordOutcome": {"JOBS_TABLE", "TASKS_TABLE", "TASKS_INDEX", "NOTIFICATIONS_TOPIC", "MODEL_PARAMETER"},
    "SettleJob": {
        "JOBS_TABLE",
        "TASKS_TABLE",
        "TASKS_INDEX",
        "JOBS_INDEX",
        "NOTIFICATIONS_TOPIC",
        "PROJECT_PARAMETER",
        "MODEL_PARAMETER",
        "EXPORT_FUNCTION",
    },
    "EraseJob": {"JOBS_TABLE", "TASKS_TABLE", "TASKS_INDEX", "JOBS_INDEX", "BUCKET"},
    "ExportAudit": {"JOBS_TABLE", "BUCKET", "AUDIT_BUCKET", "SIGNING_KEY"},
    "WatchRunning": {
        "JOBS_TABLE",
        "NOTIFICATIONS_TOPIC",
        "STATE_MACHINE_ARN",
        "MODEL_PARAMETER",
        "MODEL_HOURS",
        "STOP_LONG_RUNNING_MODELS",
    },
    "Api": {
        "JOBS_TABLE",
        "JOBS_INDEX",
        "BUCKET",
        "STATE_MACHINE_ARN",
        "DOCUMENT_TYPES",
        "LABEL_PROVIDER",
        "MIN_F1",
        "MIN_LABEL_F1",
        "MAX_F1_DROP",
        "STOP_PREVIOUS_MODEL",
        "WORK_TEAM_ARN",
        "LABELLING_PAGE",
        "PROJECT_PARAMETER",
        "MODEL_PARAMETER",
        "INFERENCE_UNITS",
        "WEB_ORIGINS",
        "ERASE_FUNCTION",
        "AUDIT_BUCKET",
        "EXPORT_FUNCTION",
        "TASKS_TABLE",
        "TASKS_INDEX",
    },
    "Labelling": {
        "JOBS_TABLE",
        "TASKS_TABLE",
        "TASKS_INDEX",
        "PROJECT_PARAMETER",
        "MODEL_PARAMETER",
        "FINISH_FUNCTION",
        "LABELLING_ISSUER",
        "LABELLING_CLIENT",
        "LABELLING_SIGN_IN_URL",
        "LABELLING_SCOPES",
    },
    "LabellingFiles": {"JOBS_TABLE", "BUCKET", "LABELLING_SIGN_IN_URL"},
    "Documents": {"BUCKET", "MODEL_PARAMETER", "DETECT_BUCKETS", "WEB_ORIGINS"},
}

BEHIND_THE_API = {
    "Api": "api.app",
    "Documents": "api.documents",
    "Labelling": "api.labelling",
    "LabellingFiles": "api.labelling_files",
}
USE_VISION = {"CheckPhotos", "CollectPhotos", "Documents", "LearnOutlines"}


@pytest.fixture(scope="session")
def template(tmp_path_factory: pytest.TempPathFactory) -> Template:
    folder = tmp_path_factory.mktemp("synth")
    for layer in ("base", "vision"):
        (folder / layer / "python").mkdir(parents=True)
    app = cdk.App(outdir=str(folder / "cdk.out"), context=CONTEXT)
    TrainingStack(app, Settings.from_context(CONTEXT), layers=folder)
    app.synth()
    return Template(json.loads((folder / "cdk.out" / "ekyc-training.template.json").read_text()))


def test_each_function_has_its_environment_and_nothing_more(template: Template) -> None:
    # Given what each function's settings ask for
    # When the environments are read from the template
    environments = {
        name: {key for key in function["Environment"]["Variables"] if not key.startswith(("POWERTOOLS_", "OPENBLAS_"))}
        for name, function in template.functions().items()
    }
    # Then they are equal
    assert environments == ENVIRONMENT


def test_each_function_has_a_role_and_a_log_group_of_its_own(template: Template) -> None:
    functions = template.functions()
    for key in ("Role", "LoggingConfig"):
        assert len({json.dumps(function[key], sort_keys=True) for function in functions.values()}) == len(functions)
    for log_group in template.of("AWS::Logs::LogGroup").values():
        assert log_group["RetentionInDays"] >= 90


def test_the_functions_run_on_the_newest_python_with_layers(template: Template) -> None:
    for name, function in template.functions().items():
        assert function["Runtime"] == "python3.14"
        assert function["Architectures"] == ["arm64"]
        assert function.get("TracingConfig") == (None if name in BEHIND_THE_API else {"Mode": "Active"})
        libraries = ["Libraries", "VisionLibraries"] if name in USE_VISION else ["Libraries"]
        assert [re.fullmatch(r"Runtime(\w+?)[0-9A-F]{8}", layer["Ref"])[1] for layer in function["Layers"]] == libraries  # type: ignore[index]
        assert ("OPENBLAS_NUM_THREADS" in function["Environment"]["Variables"]) == (name in USE_VISION)
        module = re.sub(r"(?<!^)([A-Z])", r"_\1", name).lower()
        package = BEHIND_THE_API.get(name, function["Handler"].split(".")[0] + f".{module}")
        assert function["Handler"] == f"{package}.handler"


def test_only_what_reads_or_deletes_much_runs_long(template: Template) -> None:
    sizes = {name: (function["Timeout"], function["MemorySize"]) for name, function in template.functions().items()}
    assert {name for name, size in sizes.items() if size == (900, 1024)} == {
        "ImportLabels",
        "PrepareDatasets",
        "EvaluateModel",  # it compares 250,000 photos with what was checked
        "ExportAudit",  # it hashes manifests of 250,000 photos
        "EraseJob",  # it deletes what belongs to 250,000 photos
    }
    assert sizes.pop("PlanPhotos") == (900, 512)  # it lists up to 1,000,000 photos
    assert sizes.pop("CheckPhotos") == (900, 3008)  # it decodes two photos at a time
    assert sizes.pop("CollectPhotos") == (900, 3008)  # it compares 250,000 photos
    assert sizes.pop("LearnOutlines") == (900, 3008)  # it learns from 60 photos of each type
    for name in ("Api", "Labelling"):
        assert sizes.pop(name) == (29, 512)  # API Gateway waits 29 seconds
    assert sizes.pop("LabellingFiles") == (10, 256)
    assert sizes.pop("Documents") == (29, 1769)  # one vCPU: it finds outlines
    assert sizes.pop("WatchRunning") == (300, 256)  # it looks at two of 100 projects a second
    assert sizes.pop("SettleJob") == (300, 256)  # it looks at every job that is not settled
    assert sizes.pop("RequestLabels") == (240, 1769)  # it creates up to 20,000 labelling tasks
    assert sizes.pop("FinishLabelling") == (300, 1024)  # it reads up to 20,000 answers
    assert set(sizes.values()) == {(900, 1024), (60, 256)}


def test_patterns_in_resources_stay_within_the_jobs_own(template: Template) -> None:
    patterns = {
        re.sub(r"<\w+\.Arn>", "<bucket>", written(resource))
        for policy in template.of("AWS::IAM::Policy").values()
        for statement in policy["PolicyDocument"]["Statement"]
        for resource in listed(statement["Resource"])
        if "*" in written(resource) and resource != "*"
    }
    here = "<AWS::Region>:<AWS::AccountId>"
    assert patterns == {
        "<bucket>/audit/*",
        "<bucket>/images/*",
        "<bucket>/labels/*",
        "<bucket>/labelling/*",
        "<bucket>/manifests/*",
        "<bucket>/manifests/*/batches.json",
        "<bucket>/manifests/*/input.manifest",
        "<bucket>/manifests/*/test.manifest",
        "<bucket>/manifests/*/train.manifest",
        "<bucket>/outlines/*",
        "<bucket>/provisional/*",
        "<bucket>/training/*",
        "<bucket>/upright/*",
        f"arn:<AWS::Partition>:rekognition:{here}:project/ekyc-*/*",
        f"arn:<AWS::Partition>:sagemaker:{here}:labeling-job/ekyc-*",
        f"arn:<AWS::Partition>:states:{here}:execution:ekyc-training:*",
        f"arn:<AWS::Partition>:states:{here}:execution:ekyc-training/CheckPhotos:*",
        f"arn:<AWS::Partition>:states:{here}:mapRun:ekyc-training/CheckPhotos:*",
        f"arn:<AWS::Partition>:logs:{here}:log-group:/aws/sagemaker/LabelingJobs:*",
    }


def test_the_api_may_ask_step_functions_all_that_it_asks(template: Template) -> None:
    # Given the executions of the state machine, which the API describes, reads the end of, stops and redrives
    allowed = {
        action
        for statement in template.statements_of("Api")
        for resource in listed(statement["Resource"])
        if ":execution:ekyc-training:*" in written(resource)
        for action in listed(statement["Action"])
    }
    assert allowed == {
        "states:DescribeExecution",
        "states:GetExecutionHistory",
        "states:ListMapRuns",
        "states:RedriveExecution",
        "states:StopExecution",
    }


def test_no_role_holds_a_managed_policy(template: Template) -> None:
    for role in template.of("AWS::IAM::Role").values():
        assert "ManagedPolicyArns" not in role


def test_one_function_deletes_and_the_api_calls_that_one(template: Template) -> None:
    # Given the actions that delete, or call a function
    permissions = {
        (name, action, written(resource).partition(".Arn>")[2] or written(resource))
        for name in template.functions()
        for statement in template.statements_of(name)
        for action in listed(statement["Action"])
        if re.search("Delete|Invoke", action)
        for resource in listed(statement["Resource"])
    }
    (erase_job,) = (
        id for id, one in template.of("AWS::Lambda::Function").items() if one["Handler"] == "events.erase_job.handler"
    )
    export_audit, finish_labelling = (
        next(
            id for id, one in template.of("AWS::Lambda::Function").items() if one["Handler"] == f"events.{name}.handler"
        )
        for name in ("export_audit", "finish_labelling")
    )
    (tasks,) = (id for id, one in template.of("AWS::DynamoDB::Table").items() if len(one["KeySchema"]) == 2)
    # Then it deletes objects and labelling tasks of jobs, datasets, and models when asked to, no record, and only the
    # API calls it; others
    # delete a dataset that failed and the model of a job that was stopped
    folders = ("images", "upright", "labels", "manifests", "labelling", "training", "outlines")
    here = "<AWS::Region>:<AWS::AccountId>"
    assert permissions == {
        *(("EraseJob", "s3:DeleteObject", f"/{folder}/*") for folder in folders),
        *(
            (name, f"rekognition:{action}", f"arn:<AWS::Partition>:rekognition:{here}:project/ekyc-*/*")
            for name, action in (
                ("EraseJob", "DeleteDataset"),
                ("EraseJob", "DeleteProjectVersion"),
                ("CreateDatasets", "DeleteDataset"),
                ("SettleJob", "DeleteProjectVersion"),
            )
        ),
        ("EraseJob", "dynamodb:DeleteItem", f"<{tasks}.Arn>"),
        ("Labelling", "lambda:InvokeFunction", f"<{finish_labelling}.Arn>"),
        ("Api", "lambda:InvokeFunction", f"<{erase_job}.Arn>"),
        ("Api", "lambda:InvokeFunction", f"<{export_audit}.Arn>"),
        ("SettleJob", "lambda:InvokeFunction", f"<{export_audit}.Arn>"),
    }
    # And a rule calls it every day, for erasures that are not over
    (rule,) = (
        rule
        for rule in template.of("AWS::Events::Rule").values()
        if rule["Targets"][0]["Arn"] == {"Fn::GetAtt": [erase_job, "Arn"]}
    )
    assert (rule["ScheduleExpression"], rule["Targets"][0]["Input"]) == ("rate(1 day)", "{}")


def test_what_is_deleted_from_a_bucket_is_gone(template: Template) -> None:
    # Given that a deletion in a bucket with versions or locks would leave the photographs there
    for id, bucket in template.of("AWS::S3::Bucket").items():
        if id.startswith("AuditBucket"):  # which holds no photograph
            continue
        assert not {"VersioningConfiguration", "ObjectLockEnabled", "ReplicationConfiguration"} & set(bucket)


def test_the_labelling_role_goes_to_sagemaker_alone(template: Template) -> None:
    passing = [
        (name, statement)
        for name in template.functions()
        for statement in template.statements_of(name)
        if "iam:PassRole" in listed(statement["Action"])
    ]
    ((name, statement),) = passing
    assert name == "RequestLabels"
    assert statement["Condition"] == {"StringEquals": {"iam:PassedToService": "sagemaker.amazonaws.com"}}
    (role,) = (role for id, role in template.of("AWS::IAM::Role").items() if id.startswith("LabellingRole"))
    (trust,) = role["AssumeRolePolicyDocument"]["Statement"]
    assert trust["Principal"] == {"Service": "sagemaker.amazonaws.com"}


def test_step_functions_takes_on_its_role_for_this_account_alone(template: Template) -> None:
    machine = template.one("AWS::StepFunctions::StateMachine")
    role = template.of("AWS::IAM::Role")[machine["RoleArn"]["Fn::GetAtt"][0]]
    (trust,) = role["AssumeRolePolicyDocument"]["Statement"]
    assert trust["Principal"] == {"Service": "states.amazonaws.com"}
    assert trust["Condition"] == {"StringEquals": {"aws:SourceAccount": {"Ref": "AWS::AccountId"}}}


def test_only_the_stack_may_call_its_functions(template: Template) -> None:
    # Given the permissions to call a function that AWS services have
    for permission in template.of("AWS::Lambda::Permission").values():
        # Then each names the rule or the API that it is for
        assert "SourceArn" in permission


def test_photos_and_what_is_made_of_them_expire(template: Template) -> None:
    # Given 180 days of retention, the default
    (rules,) = (
        bucket["LifecycleConfiguration"]["Rules"]
        for bucket in template.of("AWS::S3::Bucket").values()
        if "CorsConfiguration" in bucket
    )
    # Then each folder of a job expires after them, and parts of uploads that broke off after a day
    expiring = {rule["Prefix"]: rule["ExpirationInDays"] for rule in rules if "ExpirationInDays" in rule}
    folders = ("images", "upright", "labels", "manifests", "labelling", "training", "outlines")
    assert expiring == {f"{folder}/": 180 for folder in folders}
    assert {rule["Status"] for rule in rules} == {"Enabled"}
    (aborting,) = [rule for rule in rules if "AbortIncompleteMultipartUpload" in rule]
    assert aborting["AbortIncompleteMultipartUpload"] == {"DaysAfterInitiation": 1}
    # And access logs after a year
    (logs,) = (bucket for bucket in template.of("AWS::S3::Bucket").values() if "LoggingConfiguration" not in bucket)
    assert [rule["ExpirationInDays"] for rule in logs["LifecycleConfiguration"]["Rules"]] == [365]


def test_creators_of_datasets_and_models_may_read_the_bucket(template: Template) -> None:
    # Given that Rekognition acts with its caller's permissions
    for name, written_folders in {"CreateDatasets": set(), "StartTraining": {"training"}}.items():
        allowed = {
            (action, written(resource).partition("/")[2])
            for statement in template.statements_of(name)
            for action in listed(statement["Action"])
            for resource in listed(statement["Resource"])
        }
        # Then they may read photos, the datasets' manifests and what the bucket is, and training may write its output
        assert {key for action, key in allowed if action == "s3:GetObject"} == {
            *("images/*", "upright/*", "manifests/*/test.manifest", "manifests/*/train.manifest")
        }
        for action in ("s3:GetBucketAcl", "s3:GetBucketLocation", "s3:ListBucket"):
            assert (action, "") in allowed
        assert {folder for action, folder in allowed if action == "s3:PutObject"} == {
            f"{folder}/*" for folder in written_folders
        }


def test_ground_truth_reads_no_copies_made_to_compare_photos(template: Template) -> None:
    # Given that manifests/ also has small grey copies of photos; Then labelling jobs may read only the input manifest
    (role,) = (id for id in template.of("AWS::IAM::Role") if id.startswith("LabellingRole"))
    read = {
        written(resource).partition("/")[2]
        for statement in template.statements(role)
        for resource in listed(statement["Resource"])
        if "s3:GetObject" in listed(statement["Action"])
    }
    assert read == {"images/*", "labelling/*", "manifests/*/input.manifest", "upright/*"}


def test_every_substitution_of_the_definition_is_given_and_used(template: Template) -> None:
    machine = template.one("AWS::StepFunctions::StateMachine")
    assert set(re.findall(r"\$\{(\w+)\}", machine["DefinitionString"])) == set(machine["DefinitionSubstitutions"])
    assert machine["DefinitionSubstitutions"]["TrainingWaitGrowth"] == "1.01"


def test_the_state_machine_calls_its_stages_and_nothing_else(template: Template) -> None:
    machine = template.one("AWS::StepFunctions::StateMachine")
    (invoked,) = [
        statement["Resource"]
        for statement in template.statements(machine["RoleArn"]["Fn::GetAtt"][0])
        if "lambda:InvokeFunction" in listed(statement["Action"])
    ]
    stages = [arn for arn in machine["DefinitionSubstitutions"].values() if "Fn::GetAtt" in arn]
    assert len(stages) == 15
    assert sorted(map(written, invoked)) == sorted(map(written, stages))


def test_the_state_machine_logs_every_event_without_its_data(template: Template) -> None:
    machine = template.one("AWS::StepFunctions::StateMachine")
    assert machine["StateMachineType"] == "STANDARD"
    assert machine["LoggingConfiguration"]["Level"] == "ALL"
    assert machine["LoggingConfiguration"]["IncludeExecutionData"] is False
    assert machine["TracingConfiguration"] == {"Enabled": True}
    destination = machine["LoggingConfiguration"]["Destinations"][0]["CloudWatchLogsLogGroup"]["LogGroupArn"]
    name = template.of("AWS::Logs::LogGroup")[destination["Fn::GetAtt"][0]]["LogGroupName"]
    assert name["Fn::Join"][1][0].startswith("/aws/vendedlogs/states/ekyc-training-")


def test_each_rule_retries_and_keeps_what_could_not_be_handled(template: Template) -> None:
    functions = template.of("AWS::Lambda::Function")
    rules = {
        functions[rule["Targets"][0]["Arn"]["Fn::GetAtt"][0]]["Environment"]["Variables"][
            "POWERTOOLS_SERVICE_NAME"
        ]: rule
        for rule in template.of("AWS::Events::Rule").values()
        if "EventPattern" in rule
    }
    assert set(rules) == {"ResumeLabelling", "RecordOutcome", "ExportAudit", "SettleJob"}
    for name in rules:
        (target,) = rules[name]["Targets"]
        function = functions[target["Arn"]["Fn::GetAtt"][0]]
        assert target["RetryPolicy"]["MaximumRetryAttempts"] > 0
        # What EventBridge cannot deliver and what the function fails at are kept in the same queue
        assert target["DeadLetterConfig"]["Arn"] == function["DeadLetterConfig"]["TargetArn"]
    assert rules["SettleJob"]["EventPattern"]["detail"]["object"] == {"key": [{"prefix": "training/"}]}
    labelling, outcome = rules["ResumeLabelling"]["EventPattern"], rules["RecordOutcome"]["EventPattern"]
    assert rules["ExportAudit"]["EventPattern"] == outcome
    assert labelling["detail-type"] == ["SageMaker Ground Truth Labeling Job State Change"]
    assert written(labelling["resources"][0]["prefix"]).endswith(":labeling-job/ekyc-")
    assert outcome["detail-type"] == ["Step Functions Execution Status Change"]
    assert outcome["detail"]["status"] == ["SUCCEEDED", "FAILED", "TIMED_OUT", "ABORTED"]
    (machine,) = template.of("AWS::StepFunctions::StateMachine")
    assert outcome["detail"]["stateMachineArn"] == [{"Ref": machine}]


def test_what_is_stored_is_encrypted_and_travels_by_tls_only(template: Template) -> None:
    # Given every bucket, queue and topic
    policies = {
        "AWS::S3::Bucket": ("AWS::S3::BucketPolicy", lambda policy: [policy["Bucket"]]),
        "AWS::SQS::Queue": ("AWS::SQS::QueuePolicy", lambda policy: policy["Queues"]),
        "AWS::SNS::Topic": ("AWS::SNS::TopicPolicy", lambda policy: policy["Topics"]),
    }
    for kind, (policy_kind, subjects) in policies.items():
        assert template.of(kind)
        for id in template.of(kind):
            denials = [
                statement
                for policy in template.of(policy_kind).values()
                if {"Ref": id} in subjects(policy)
                for statement in policy["PolicyDocument"]["Statement"]
                if statement["Effect"] == "Deny"
            ]
            # Then a call without TLS is denied
            assert {"Bool": {"aws:SecureTransport": "false"}} in [denial.get("Condition") for denial in denials]
    # And each is encrypted
    for bucket in template.of("AWS::S3::Bucket").values():
        (rule,) = bucket["BucketEncryption"]["ServerSideEncryptionConfiguration"]
        assert rule["ServerSideEncryptionByDefault"] == {"SSEAlgorithm": "AES256"}
        assert set(bucket["PublicAccessBlockConfiguration"].values()) == {True}
    for table in template.of("AWS::DynamoDB::Table").values():
        assert table["SSESpecification"] == {"SSEEnabled": True}
    (key,) = template.keys("ENCRYPT_DECRYPT")
    assert written(template.one("AWS::SNS::Topic")["KmsMasterKeyId"]) == f"<{key}.Arn>"
    for queue in template.of("AWS::SQS::Queue").values():
        assert queue["SqsManagedSseEnabled"] is True


def test_audit_reports_are_locked_for_years(template: Template) -> None:
    # Given the bucket of reports
    (bucket,) = (one for id, one in template.of("AWS::S3::Bucket").items() if id.startswith("AuditBucket"))
    # Then it keeps every version, and no principal can delete a version for seven years
    assert bucket["VersioningConfiguration"] == {"Status": "Enabled"}
    assert bucket["ObjectLockEnabled"] is True
    assert bucket["ObjectLockConfiguration"]["Rule"]["DefaultRetention"] == {"Mode": "COMPLIANCE", "Days": 7 * 365}
    assert "DestinationBucketName" in bucket["LoggingConfiguration"]
    # And only reports on what runs expire
    (rule,) = bucket["LifecycleConfiguration"]["Rules"]
    assert rule["Prefix"] == "provisional/"
    # And no role may remove a lock or write other objects than reports
    actions = {
        (name, action)
        for name in template.functions()
        for statement in template.statements_of(name)
        for resource in listed(statement["Resource"])
        if written(resource).startswith("<AuditBucket")
        for action in listed(statement["Action"])
    }
    assert actions == {
        ("Api", "s3:GetObjectVersion"),
        ("Api", "s3:ListBucketVersions"),
        ("ExportAudit", "s3:GetObjectVersion"),
        ("ExportAudit", "s3:ListBucketVersions"),
        ("ExportAudit", "s3:PutObject"),
        ("ExportAudit", "s3:PutObjectRetention"),
    }


def test_only_the_exporter_signs_audit_reports(template: Template) -> None:
    # Given the key that signs, and all that roles may do with it
    ((id, key),) = template.keys("SIGN_VERIFY").items()
    may = {
        (name, action)
        for name in template.functions()
        for statement in template.statements_of(name)
        for resource in listed(statement["Resource"])
        if written(resource) == f"<{id}.Arn>"
        for action in listed(statement["Action"])
    }
    # Then only the exporter may sign, and the key's policy denies it to all others
    assert key["KeySpec"] == "ECC_NIST_P256"
    assert may == {("ExportAudit", "kms:Sign")}
    (denial,) = (one for one in key["KeyPolicy"]["Statement"] if one.get("Sid") == "OnlyTheExporterSigns")
    assert (denial["Effect"], denial["Action"], denial["Principal"]) == ("Deny", "kms:Sign", {"AWS": "*"})
    excepted = denial["Condition"]["ArnNotEquals"]["aws:PrincipalArn"]
    assert listed(excepted) == [template.functions()["ExportAudit"]["Role"]]
    # And the key outlives the stack
    assert template.resources[id]["DeletionPolicy"] == "Retain"


def test_only_the_exporter_writes_audit_reports(template: Template) -> None:
    # Given what the policy of the bucket of reports denies, by statement
    (bucket,) = (id for id in template.of("AWS::S3::Bucket") if id.startswith("AuditBucket"))
    (policy,) = (
        bucket_policy
        for bucket_policy in template.of("AWS::S3::BucketPolicy").values()
        if bucket_policy["Bucket"] == {"Ref": bucket}
    )
    denied = {statement["Sid"]: statement for statement in policy["PolicyDocument"]["Statement"] if "Sid" in statement}
    assert {(statement["Effect"], statement["Principal"]["AWS"]) for statement in denied.values()} == {("Deny", "*")}
    # Then only the exporter may write, tag or lock a report, and its own role allows only to put objects
    writes = denied["OnlyTheExporterWrites"]
    assert (writes["Action"], written(writes["Resource"])) == ("s3:PutObject*", f"<{bucket}.Arn>/*")
    role = template.functions()["ExportAudit"]["Role"]
    assert writes["Condition"] == {"ArnNotEquals": {"aws:PrincipalArn": [role]}}
    # And no principal may delete a report or bypass a lock
    deletes = denied["NobodyDeletes"]
    assert {"s3:BypassGovernanceRetention", "s3:DeleteObject*"} <= set(deletes["Action"])
    assert (written(deletes["Resource"]), "Condition" in deletes) == (f"<{bucket}.Arn>/*", False)
    # And only CloudFormation and the account's root user may configure the bucket; without root, the account could lock
    # itself out
    configures = denied["OnlyTheDeploymentConfigures"]
    assert {
        "s3:PutBucketObjectLockConfiguration",
        "s3:PutBucketPolicy",
        "s3:PutLifecycleConfiguration",
        "s3:PutReplicationConfiguration",
    } <= set(configures["Action"])
    assert written(configures["Resource"]) == f"<{bucket}.Arn>"
    deployer, root = configures["Condition"]["ArnNotEquals"]["aws:PrincipalArn"]
    assert ":role/cdk-hnb659fds-cfn-exec-role-" in deployer["Fn::Sub"]
    assert written(root) == "arn:<AWS::Partition>:iam::<AWS::AccountId>:root"


WRITERS = ["PlanPhotos", "CheckPhotos", "CollectPhotos", "ImportLabels", "PrepareDatasets"]


@pytest.mark.parametrize(
    ("sid", "folders", "writers"),
    [
        ("OnlyStagesWriteManifests", ["manifests", "upright"], WRITERS),
        ("OnlyLabellingWritesLabels", ["labelling"], ["LabellingRole", "RequestLabels", "FinishLabelling"]),
        ("OnlyTrainingWritesFigures", ["training"], ["StartTraining"]),
        ("OnlyLearnOutlinesWritesOutlines", ["outlines"], ["LearnOutlines"]),
    ],
)
def test_only_the_writers_write_what_determines_a_model(
    template: Template, sid: str, folders: list[str], writers: list[str]
) -> None:
    # Given what the policy of the bucket of photos denies
    (policy,) = (
        bucket_policy
        for bucket_policy in template.of("AWS::S3::BucketPolicy").values()
        if written(bucket_policy["Bucket"]).startswith("<StorageBucket")
    )
    (denied,) = (statement for statement in policy["PolicyDocument"]["Statement"] if statement.get("Sid") == sid)
    # Then a principal that may write to the bucket cannot replace it, except those that write it
    assert (denied["Effect"], denied["Action"]) == ("Deny", "s3:PutObject*")
    assert [written(resource).partition(">/")[2] for resource in listed(denied["Resource"])] == [
        f"{folder}/*" for folder in folders
    ]
    excepted = listed(denied["Condition"]["ArnNotEquals"]["aws:PrincipalArn"])
    functions = template.functions()
    for role, name in zip(excepted, writers, strict=True):
        named = functions[name]["Role"]["Fn::GetAtt"][0] if name in functions else name
        assert role["Fn::GetAtt"][0].startswith(named)
    # And Rekognition may write its figures in its own name
    others = {name: value for name, value in denied["Condition"].items() if name != "ArnNotEquals"}
    assert others == ({"BoolIfExists": {"aws:PrincipalIsAWSService": "false"}} if folders == ["training"] else {})


def test_a_replaced_photo_cannot_be_restored(template: Template) -> None:
    # Given what the policy of the bucket of photos denies, by statement
    (policy,) = (
        bucket_policy
        for bucket_policy in template.of("AWS::S3::BucketPolicy").values()
        if written(bucket_policy["Bucket"]).startswith("<StorageBucket")
    )
    bucket = written(policy["Bucket"])[1:-1]
    denied = {statement["Sid"]: statement for statement in policy["PolicyDocument"]["Statement"] if "Sid" in statement}
    restores, configures = denied["NothingRestoresAnObject"], denied["OnlyTheDeploymentConfigures"]
    # Then no principal brings back an older version of an object, but erasures delete objects
    assert (restores["Effect"], restores["Principal"]) == ("Deny", {"AWS": "*"})
    assert set(restores["Action"]) == {"s3:DeleteObjectVersion", "s3:Replicate*"}
    assert written(restores["Resource"]) == f"<{bucket}.Arn>/*"
    # And no principal gives the bucket versions or another policy
    assert (configures["Effect"], configures["Principal"]) == ("Deny", {"AWS": "*"})
    assert {"s3:DeleteBucketPolicy", "s3:PutBucketPolicy", "s3:PutBucketVersioning"} <= set(configures["Action"])
    assert written(configures["Resource"]) == f"<{bucket}.Arn>"
    # And CloudFormation and the account's root user are excepted
    for statement in (restores, configures):
        deployer, root = statement["Condition"]["ArnNotEquals"]["aws:PrincipalArn"]
        assert ":role/cdk-hnb659fds-cfn-exec-role-" in deployer["Fn::Sub"]
        assert written(root) == "arn:<AWS::Partition>:iam::<AWS::AccountId>:root"


def test_photographs_and_job_records_outlive_the_stack(template: Template) -> None:
    for resource in template.resources.values():
        if resource["Type"] in ("AWS::S3::Bucket", "AWS::DynamoDB::Table"):
            assert resource["DeletionPolicy"] == resource["UpdateReplacePolicy"] == "Retain"


def test_the_bucket_lets_the_labelling_page_show_photographs(template: Template) -> None:
    (bucket,) = (bucket for bucket in template.of("AWS::S3::Bucket").values() if "CorsConfiguration" in bucket)
    (rule,) = bucket["CorsConfiguration"]["CorsRules"]
    assert (rule["AllowedMethods"], rule["AllowedOrigins"]) == (["GET"], ["*"])
    assert rule["ExposedHeaders"] == ["Access-Control-Allow-Origin"]
    assert "LoggingConfiguration" in bucket


def test_jobs_are_listed_by_an_index(template: Template) -> None:
    tables = template.of("AWS::DynamoDB::Table").values()
    (table,) = (one for one in tables if one["KeySchema"] == [{"AttributeName": "Id", "KeyType": "HASH"}])
    assert table["BillingMode"] == "PAY_PER_REQUEST"
    assert table["PointInTimeRecoverySpecification"] == {"PointInTimeRecoveryEnabled": True}
    (index,) = table["GlobalSecondaryIndexes"]
    assert index["IndexName"] == template.functions()["Api"]["Environment"]["Variables"]["JOBS_INDEX"]
    assert [key["AttributeName"] for key in index["KeySchema"]] == ["Kind", "StartTime"]
    assert index["Projection"] == {"ProjectionType": "ALL"}


def test_open_labelling_tasks_are_found_by_an_index(template: Template) -> None:
    tables = template.of("AWS::DynamoDB::Table").values()
    (table,) = (one for one in tables if len(one["KeySchema"]) == 2)
    assert [key["AttributeName"] for key in table["KeySchema"]] == ["JobId", "Item"]
    assert table["BillingMode"] == "PAY_PER_REQUEST"
    assert table["PointInTimeRecoverySpecification"] == {"PointInTimeRecoveryEnabled": True}
    assert table["TimeToLiveSpecification"] == {"AttributeName": "Expires", "Enabled": True}
    (index,) = table["GlobalSecondaryIndexes"]
    assert index["IndexName"] == template.functions()["Labelling"]["Environment"]["Variables"]["TASKS_INDEX"]
    assert [key["AttributeName"] for key in index["KeySchema"]] == ["Queue", "AvailableAt"]


def test_the_live_model_parameters_begin_as_default(template: Template) -> None:
    # Given that document-checking services read these names and take the word for "none yet"
    assert {(parameter["Name"], parameter["Value"]) for parameter in template.of("AWS::SSM::Parameter").values()} == {
        ("/ekyc-training/rekognition-project-arn", "default"),
        ("/ekyc-training/rekognition-project-version-arn", "default"),
    }


def test_the_stack_deploys_anywhere_and_trusts_no_helper(template: Template) -> None:
    # Given the template without the state machine's definition, whose integrations are names and no resources
    text = json.dumps([item for item in _values(template.body) if '"StartAt"' not in item])
    # Then no partition, region or account is written into it, and it brings no custom resource
    assert "arn:aws:" not in text
    assert not re.search(r"\b[a-z]{2}-[a-z]+-\d\b|\b\d{12}\b", text)
    assert not [resource for resource in template.resources.values() if "Custom" in resource["Type"]]
    assert set(template.body["Outputs"]) == {
        "ApiUrl",
        "ApiStageArn",
        "AuditBucketName",
        "AuditSigningKeyArn",
        "BucketName",
        "JobsTable",
        "StateMachineArn",
        "ProjectParameter",
        "ModelParameter",
        "NotificationsTopicArn",
        "LabellingUserPool",
        "LabellingClient",
        "LabellingSignInUrl",
    }


def _values(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        for part in value.values():
            yield from _values(part)
    elif isinstance(value, list):
        for part in value:
            yield from _values(part)
    else:
        yield str(value)


def test_a_synth_without_the_functions_libraries_says_so(tmp_path: Path) -> None:
    # Given no build/layers
    app = cdk.App(outdir=str(tmp_path / "cdk.out"), context=CONTEXT)
    # Then the stack is not made, and the words say what to do
    with pytest.raises(LayerMissingError, match="make synth"):
        TrainingStack(app, Settings.from_context(CONTEXT), layers=tmp_path)


def test_the_app_answers_a_wrong_context_in_words(tmp_path: Path) -> None:
    # Given a wrong setting
    environment = os.environ | {
        "CDK_OUTDIR": str(tmp_path),
        "CDK_CONTEXT_JSON": json.dumps(CONTEXT | {"minImages": 0}),
    }
    # When the app runs as the CDK CLI runs it
    run = subprocess.run([sys.executable, "app.py"], cwd=PROJECT, env=environment, capture_output=True, text=True)
    # Then it fails with the setting's name and no stack trace
    assert run.returncode == 1
    assert "minImages is 0: give a whole number from 1 to 250000" in run.stderr
    assert "Traceback" not in run.stderr


def test_the_api_lists_photos_and_labels_and_reads_none(template: Template) -> None:
    # Given what the API's role may do with the bucket of photos
    statements = [
        statement
        for statement in template.statements_of("Api")
        for resource in listed(statement["Resource"])
        if written(resource).startswith("<StorageBucket")
    ]
    # Then it reads an object only through a link that it signs for a client
    reading = [statement for statement in statements if "s3:GetObject" in listed(statement["Action"])]
    assert reading
    assert all(
        statement["Condition"] == {"StringEquals": {"s3:authType": "REST-QUERY-STRING"}} for statement in reading
    )
    # And it lists only uploads, and the batches that were checked
    (listing,) = [statement for statement in statements if "s3:ListBucket" in listed(statement["Action"])]
    assert listing["Condition"] == {"StringLike": {"s3:prefix": ["images/*", "labels/*", "manifests/*/parts/*"]}}


def test_every_bucket_refuses_requests_without_tls(template: Template) -> None:
    # Given the buckets, and the policy of each
    policies = {
        written(policy["Bucket"]): policy["PolicyDocument"] for policy in template.of("AWS::S3::BucketPolicy").values()
    }
    assert set(policies) == {f"<{id}>" for id in template.of("AWS::S3::Bucket")}
    for policy in policies.values():
        # Then it denies everybody everything over plain HTTP
        (deny,) = [
            statement
            for statement in policy["Statement"]
            if statement.get("Condition") == {"Bool": {"aws:SecureTransport": "false"}}
        ]
        assert (deny["Effect"], deny["Action"], deny["Principal"]) == ("Deny", "s3:*", {"AWS": "*"})
