"""What the roles may do, in every combination of settings."""

from typing import Any

import pytest
from templates import Template, listed, written

from stacks.combinations import COMBINATIONS
from stacks.permissions import TAKE_NO_RESOURCE, WHY, WITHOUT_SID

KEY = COMBINATIONS["own-key"]["kmsKeyArn"]
KEYS = {"kmsKeyArn", "auditSigningKeyArn"}


@pytest.fixture(scope="session")
def every(templates: dict[str, dict[str, Any]]) -> dict[str, Template]:
    """The template of each combination."""
    return {name: Template(body) for name, body in templates.items()}


@pytest.mark.parametrize("name", COMBINATIONS)
def test_only_actions_without_resources_are_allowed_on_all(every: dict[str, Template], name: str) -> None:
    # Given every statement of every role
    for policy in every[name].of("AWS::IAM::Policy").values():
        for statement in policy["PolicyDocument"]["Statement"]:
            actions = listed(statement["Action"])
            # Then it names what it allows, and no action is a pattern
            assert "NotAction" not in statement
            assert "NotResource" not in statement
            assert not [action for action in actions if "*" in action]
            # And `*` stands only for actions that take no resource
            if "*" in [written(resource) for resource in listed(statement["Resource"])]:
                assert set(actions) <= TAKE_NO_RESOURCE


@pytest.mark.parametrize("name", COMBINATIONS)
def test_every_permission_says_why(every: dict[str, Template], name: str) -> None:
    for resource in every[name].resources.values():
        if resource["Type"] == "AWS::IAM::Policy":
            reasons = resource["Metadata"][WHY]
            statements = resource["Properties"]["PolicyDocument"]["Statement"]
            # Given that IAM wants each Sid of a policy once
            sids = [statement["Sid"] for statement in statements if "Sid" in statement]
            assert len(sids) == len(set(sids))
            # Then each has a reason, by its Sid or, where the CDK wrote it, by its actions
            assert set(reasons) == set(sids)
            for statement in statements:
                assert "Sid" in statement or set(listed(statement["Action"])) <= set(WITHOUT_SID)


@pytest.mark.parametrize("name", COMBINATIONS)
def test_the_key_is_used_where_there_is_one(every: dict[str, Template], name: str) -> None:
    used = {
        written(resource)
        for policy in every[name].of("AWS::IAM::Policy").values()
        for statement in policy["PolicyDocument"]["Statement"]
        if any(action.startswith("kms:") for action in listed(statement["Action"]))
        for resource in listed(statement["Resource"])
    }
    own = {f"<{key}.Arn>" for key in every[name].of("AWS::KMS::Key")}
    assert used == own | ({KEY} if COMBINATIONS[name].keys() & KEYS else set())


def test_a_role_that_reads_no_object_cannot_decrypt_one(every: dict[str, Template]) -> None:
    # Given a key of one's own, and the functions that read objects or have Rekognition read them
    template = every["everything"]
    reading = {
        "CheckPhotos",
        "CheckTraining",
        "CollectPhotos",
        "CreateDatasets",
        "Documents",
        "EvaluateModel",
        "ExportAudit",
        "FinishLabelling",
        "ImportLabels",
        "Labelling",
        "LearnOutlines",
        "PlanPhotos",
        "PrepareDatasets",
        "RequestLabels",
        "StartTraining",
    }
    found, of_reports = set(), set()
    for name in template.functions():
        for statement in template.statements_of(name):
            context = statement.get("Condition", {}).get("StringEquals", {}).get("kms:EncryptionContext:aws:s3:arn")
            if context:
                of_reports.add((name, written(context)))
                continue
            via = written(statement.get("Condition", {}).get("StringEquals", {}).get("kms:ViaService", ""))
            if "kms:Decrypt" in listed(statement["Action"]) and via.startswith("s3."):
                found.add(name)
    # Then they, and not the API that only asks whether a photo is there, may decrypt objects
    assert found == reading
    # And of all buckets it may decrypt audit reports alone, to which it signs links
    (audit,) = (id for id, one in template.of("AWS::S3::Bucket").items() if one.get("ObjectLockEnabled"))
    assert of_reports == {("Api", f"<{audit}.Arn>")}


def test_rekognition_uses_the_key_as_its_caller(every: dict[str, Template]) -> None:
    # Given a key of one's own, and the functions that have Rekognition read photos
    template = every["own-key"]
    # Then each may what Rekognition's guide asks for, by whichever service the request comes to KMS
    for name in ("CreateDatasets", "StartTraining"):
        unconditional = {
            action
            for statement in template.statements_of(name)
            if listed(statement["Resource"]) == [KEY] and "Condition" not in statement
            for action in listed(statement["Action"])
        }
        assert {"kms:Decrypt", "kms:GenerateDataKey"} <= unconditional


def test_only_training_hands_the_key_on(every: dict[str, Template]) -> None:
    template = every["own-key"]
    granting = {
        name
        for name in template.functions()
        for statement in template.statements_of(name)
        if "kms:CreateGrant" in listed(statement["Action"])
    }
    assert granting == {"StartTraining"}


def test_an_own_key_encrypts_everything_but_access_logs(every: dict[str, Template]) -> None:
    template = every["own-key"]
    # Given that S3 writes no access log into a bucket that KMS encrypts
    for bucket in template.of("AWS::S3::Bucket").values():
        (rule,) = bucket["BucketEncryption"]["ServerSideEncryptionConfiguration"]
        if "LoggingConfiguration" in bucket:
            assert rule["BucketKeyEnabled"] is True
            assert rule["ServerSideEncryptionByDefault"] == {"SSEAlgorithm": "aws:kms", "KMSMasterKeyID": KEY}
        else:
            assert rule["ServerSideEncryptionByDefault"] == {"SSEAlgorithm": "AES256"}
    # Then the key encrypts all else that is stored
    for table in template.of("AWS::DynamoDB::Table").values():
        assert table["SSESpecification"] == {"SSEEnabled": True, "SSEType": "KMS", "KMSMasterKeyId": KEY}
    for kind, name in {
        "AWS::SNS::Topic": "KmsMasterKeyId",
        "AWS::SQS::Queue": "KmsMasterKeyId",
        "AWS::Logs::LogGroup": "KmsKeyId",
        "AWS::Lambda::Function": "KmsKeyArn",
    }.items():
        assert {resource[name] for resource in template.of(kind).values()} == {KEY}


def test_a_created_work_team_is_private_and_labels(every: dict[str, Template]) -> None:
    template = every["created-work-team"]
    # Given a team of users that only an administrator adds, with strong passwords and a second factor
    pool = template.one("AWS::Cognito::UserPool")
    assert pool["AdminCreateUserConfig"] == {"AllowAdminCreateUserOnly": True}
    assert (pool["MfaConfiguration"], pool["EnabledMfas"]) == ("ON", ["SOFTWARE_TOKEN_MFA"])
    assert pool["Policies"]["PasswordPolicy"]["MinimumLength"] >= 14
    assert pool["UserPoolAddOns"] == {"AdvancedSecurityMode": "ENFORCED"}
    (user_pool,) = (one for one in template.resources.values() if one["Type"] == "AWS::Cognito::UserPool")
    assert user_pool["DeletionPolicy"] == user_pool["UpdateReplacePolicy"] == "Retain"
    # And what a private workforce needs: a domain, a client with a secret, a group
    (pool_id,), (client,), (group,) = (
        template.of(f"AWS::Cognito::{kind}") for kind in ("UserPool", "UserPoolClient", "UserPoolGroup")
    )
    assert template.one("AWS::Cognito::UserPoolDomain")["UserPoolId"] == {"Ref": pool_id}
    assert template.one("AWS::Cognito::UserPoolClient")["GenerateSecret"] is True
    assert template.one("AWS::SageMaker::Workforce")["CognitoConfig"] == {
        "ClientId": {"Ref": client},
        "UserPool": {"Ref": pool_id},
    }
    (member,) = template.one("AWS::SageMaker::Workteam")["MemberDefinitions"]
    assert member["CognitoMemberDefinition"] == {
        "CognitoClientId": {"Ref": client},
        "CognitoUserGroup": {"Ref": group},
        "CognitoUserPool": {"Ref": pool_id},
    }
    # Then labelling jobs are made for it, and the outputs say where people sign in
    (team,) = template.of("AWS::SageMaker::Workteam")
    for name in ("RequestLabels", "Api"):
        variables = template.functions()[name]["Environment"]["Variables"]
        assert variables["WORK_TEAM_ARN"] == {"Fn::GetAtt": [team, "WorkteamArn"]}
    outputs = {"LabellersPortal", "LabellersUserPool", "LabellersGroup", "LabellersClient"}
    assert outputs <= set(template.body["Outputs"])


def test_an_existing_work_team_is_used_as_it_is(every: dict[str, Template]) -> None:
    for name, arn in {"ground-truth": COMBINATIONS["ground-truth"]["workTeam"], "no-labelling-page": ""}.items():
        template = every[name]
        arns = [
            template.functions()[name]["Environment"]["Variables"]["WORK_TEAM_ARN"] for name in ("RequestLabels", "Api")
        ]
        assert arns == [arn, arn]
        assert not template.of("AWS::SageMaker::Workteam")
        assert not template.of("AWS::Cognito::UserPool")
