"""Labelling by people: the work team, and the role that Ground Truth assumes."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import aws_cdk as cdk
from aws_cdk import aws_cognito as cognito
from aws_cdk import aws_iam as iam
from aws_cdk import aws_sagemaker as sagemaker
from constructs import Construct

from stacks.encryption import Encryption
from stacks.permissions import Allowed, attach
from stacks.settings import Settings
from stacks.storage import Storage
from stacks.users import add_client, add_domain, invited_users


class LabellingRole(iam.Role):
    """The execution role of labelling jobs. It may read photos and input manifests, and write below ``labelling/``.

    Source: SageMaker guide, 'Create a SageMaker AI Execution Role for a Ground Truth Labeling Job', built-in task
    types.
    """

    def __init__(self, scope: Construct, id: str, *, storage: Storage, encryption: Encryption) -> None:
        super().__init__(
            scope,
            id,
            assumed_by=iam.ServicePrincipal("sagemaker.amazonaws.com"),
            description="SageMaker Ground Truth assumes this role for the labelling jobs of the training pipeline.",
        )
        bucket = storage.bucket
        # SageMaker uses this fixed name. Source: SageMaker guide, 'CloudWatch Logs for Amazon SageMaker AI'.
        log_group = cdk.Stack.of(self).format_arn(
            service="logs",
            resource="log-group",
            resource_name="/aws/sagemaker/LabelingJobs",
            arn_format=cdk.ArnFormat.COLON_RESOURCE_NAME,
        )
        attach(
            self,
            [
                Allowed(
                    "SeeTheBucket",
                    "Ground Truth reads the bucket's Region and lists its objects.",
                    ["s3:GetBucketLocation", "s3:ListBucket"],
                    bucket.bucket_arn,
                ),
                Allowed(
                    "ReadPhotos",
                    "Reads the input manifest and shows the photos to workers.",
                    ["s3:GetObject"],
                    *map(bucket.arn_for_objects, ("images/*", "manifests/*/input.manifest", "upright/*")),
                ),
                Allowed(
                    "WriteLabels",
                    "Reads the labelling page and the document types, and writes the workers' labels.",
                    ["s3:AbortMultipartUpload", "s3:GetObject", "s3:PutObject"],
                    bucket.arn_for_objects("labelling/*"),
                ),
                Allowed(
                    "WriteLogs",
                    "Ground Truth writes the logs of labelling jobs to a log group of this name.",
                    ["logs:CreateLogGroup", "logs:CreateLogStream", "logs:DescribeLogStreams", "logs:PutLogEvents"],
                    log_group,
                    f"{log_group}:*",
                ),
                Allowed(
                    "PutMetrics",
                    "Ground Truth writes metrics of labelling jobs. PutMetricData does not support resources.",
                    ["cloudwatch:PutMetricData"],
                    "*",
                ),
                *encryption.for_labelling(),
            ],
        )


@dataclass(frozen=True)
class WorkTeam:
    """The work team of Ground Truth, and the stack's outputs about it. ``arn`` is empty if there is no team."""

    arn: str
    outputs: Mapping[str, str] = field(default_factory=dict)


def work_team(scope: Construct, id: str, *, settings: Settings) -> WorkTeam:
    """Return the work team of the setting ``workTeam``. Create the team if the setting is ``create``."""
    if settings.work_team != "create":
        return WorkTeam(settings.work_team)
    created = CreatedWorkTeam(scope, id, name=settings.stack_name[:63].rstrip("-"))
    return WorkTeam(
        created.team.attr_workteam_arn,
        {
            "LabellersPortal": f"https://{created.workforce.attr_sub_domain}",
            "LabellersUserPool": created.pool.user_pool_id,
            "LabellersGroup": created.group.ref,
            "LabellersClient": created.client.user_pool_client_id,
        },
    )


class CreatedWorkTeam(Construct):
    """A private work team with its own Cognito user pool, to which the operator invites workers.

    An account can have one private workforce per Region, so the deployment fails if one exists. The user pool is
    retained when the stack is deleted. Sources: SageMaker guide, 'Create a Private Workforce (Amazon Cognito Console)'
    (the pool has a domain and a group); API reference, CreateWorkforce and CreateWorkteam.
    """

    def __init__(self, scope: Construct, id: str, *, name: str) -> None:
        super().__init__(scope, id)
        self.pool = invited_users(self, "Users", aliases=cognito.SignInAliases(username=True, email=True))
        domain = add_domain(self.pool, "SignIn", prefix="labellers")
        # The portal's address is known only after the client exists. docs/operations.md has the command that sets the
        # address.
        self.client = add_client(self.pool, "Portal", has_secret=True, callback_urls=["https://localhost"])
        self.group = cognito.CfnUserPoolGroup(
            self,
            "Group",
            user_pool_id=self.pool.user_pool_id,
            group_name="labellers",
            description="May label the photos of the training pipeline.",
        )
        self.workforce = sagemaker.CfnWorkforce(
            self,
            "Workforce",
            workforce_name=name,
            cognito_config=sagemaker.CfnWorkforce.CognitoConfigProperty(
                client_id=self.client.user_pool_client_id, user_pool=self.pool.user_pool_id
            ),
        )
        self.workforce.node.add_dependency(domain)
        self.team = sagemaker.CfnWorkteam(
            self,
            "Team",
            workteam_name=name,
            # The workforce's Ref would be its ARN (CloudFormation registry, primaryIdentifier of the type).
            workforce_name=name,
            description="Labels the photos of the training pipeline.",
            member_definitions=[
                sagemaker.CfnWorkteam.MemberDefinitionProperty(
                    cognito_member_definition=sagemaker.CfnWorkteam.CognitoMemberDefinitionProperty(
                        cognito_client_id=self.client.user_pool_client_id,
                        cognito_user_group=self.group.ref,
                        cognito_user_pool=self.pool.user_pool_id,
                    )
                )
            ],
        )
        self.team.node.add_dependency(self.workforce)
