"""The policy statements of functions and service roles, each as narrow as the service allows.

Each statement has a reason, which ``docs/permissions.md`` quotes.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import aws_cdk as cdk
from aws_cdk import aws_iam as iam
from aws_cdk import aws_logs as logs

from rules.names import JOB_PREFIX
from stacks.settings import JOB_TAG
from stacks.storage import JOBS_INDEX, Storage

WHY = "Why"
"""The metadata key of a policy in the template. Its value has the reason of each statement by Sid."""

WITHOUT_SID: Mapping[str, str] = {
    "AmazonAPIGatewayPushToCloudWatchLogs": "API Gateway writes its logs. Its guide requires this AWS managed policy.",
    "lambda:InvokeFunction": "Invokes this function.",
    "sns:Publish": "Notifies people.",
    "sqs:SendMessage": "Keeps events that the function failed to handle.",
    **dict.fromkeys(
        ("xray:PutTelemetryRecords", "xray:PutTraceSegments"),
        "Sends traces to X-Ray. These actions do not support resources.",
    ),
    **dict.fromkeys(
        ("xray:GetSamplingRules", "xray:GetSamplingTargets"),
        "Reads from X-Ray which executions to trace. These actions do not support resources.",
    ),
    **dict.fromkeys(
        (
            "logs:CreateLogDelivery",
            "logs:DeleteLogDelivery",
            "logs:DescribeLogGroups",
            "logs:DescribeResourcePolicies",
            "logs:GetLogDelivery",
            "logs:ListLogDeliveries",
            "logs:PutResourcePolicy",
            "logs:UpdateLogDelivery",
        ),
        "Step Functions sets up the delivery of its log. These actions do not support resources (Step Functions guide, "
        "'Logging in CloudWatch Logs').",
    ),
}
"""The reasons of managed policies, and of actions in statements that the CDK generates without a Sid."""

TAKE_NO_RESOURCE = frozenset(
    {
        "cloudwatch:PutMetricData",
        "rekognition:CreateProject",
        "rekognition:DescribeProjects",
        "rekognition:TagResource",  # on a project during its creation
        *(action for action in WITHOUT_SID if action.startswith(("logs:", "xray:"))),
    }
)
"""The actions that do not support resources, so they need ``*``. Source: Service Authorization Reference."""


class Allowed(iam.PolicyStatement):
    """A statement that allows ``actions`` on ``resources``, with ``why`` as its reason.

    ``opens`` is false if the role itself decrypts nothing with these actions, so it needs no permission on the key.
    """

    def __init__(
        self,
        sid: str,
        why: str,
        actions: Sequence[str],
        *resources: str,
        conditions: Mapping[str, Any] | None = None,
        opens: bool = True,
    ) -> None:
        super().__init__(sid=sid, actions=list(actions), resources=list(resources), conditions=conditions)
        self.why = why
        self.opens = opens


class Denied(iam.PolicyStatement):
    """A statement of a bucket policy that denies ``actions`` to all principals except the ARNs in ``excepted``.

    ``lets_services`` also excepts AWS services that make a request themselves, not on behalf of a principal.
    """

    def __init__(
        self,
        sid: str,
        why: str,
        actions: Sequence[str],
        *resources: str,
        excepted: Sequence[str] = (),
        lets_services: bool = False,
    ) -> None:
        # For a role session, aws:PrincipalArn is the role's ARN. Source: IAM guide, "AWS global condition context
        # keys".
        conditions: dict[str, Any] = {"ArnNotEquals": {"aws:PrincipalArn": list(excepted)}} if excepted else {}
        if lets_services:
            conditions["BoolIfExists"] = {"aws:PrincipalIsAWSService": "false"}
        super().__init__(
            sid=sid,
            effect=iam.Effect.DENY,
            principals=[iam.AnyPrincipal()],
            actions=list(actions),
            resources=list(resources),
            conditions=conditions or None,
        )
        self.why = why


def deployers(stack: cdk.Stack) -> list[str]:
    """The ARNs of the principals that may configure a bucket: CloudFormation's role, and the account's root user.

    CloudFormation's role is in the CDK's bootstrap stack. Without root, the account could lock itself out.
    """
    synthesizer = stack.synthesizer
    if not isinstance(synthesizer, cdk.DefaultStackSynthesizer):
        raise TypeError("Bucket policies need the role of the CDK's bootstrap stack: use DefaultStackSynthesizer.")
    role = cdk.Fn.sub(synthesizer.cloud_formation_execution_role_arn)
    return [role, stack.format_arn(service="iam", region="", resource="root")]


def let_write(storage: Storage, *, manifests: Sequence[str], labelling: Sequence[str], training: Sequence[str]) -> None:
    """Deny writes to the folders that determine a model. Only the roles given for a folder, as ARNs, may write there.

    Without the denial, any principal with write access to the bucket could replace these files. The bucket also stays
    without versions: in a bucket with versions, an object that is replaced and restored has its old ETag and time.
    """
    bucket = storage.bucket
    configurers = deployers(cdk.Stack.of(storage))
    statements = [
        Denied(
            sid,
            why,
            ["s3:PutObject*"],
            *(bucket.arn_for_objects(f"{folder}/*") for folder in folders),
            excepted=writers,
            lets_services=lets_services,
        )
        for sid, folders, writers, lets_services, why in (
            (
                "OnlyStagesWriteManifests",
                ("manifests", "upright"),
                manifests,
                False,
                "Manifests and upright copies determine what a model is trained on. Only stages may write them.",
            ),
            (
                "OnlyLabellingWritesLabels",
                ("labelling",),
                labelling,
                False,
                "Ground Truth's output determines what a model is trained on. Ground Truth writes it with its role.",
            ),
            (
                "OnlyTrainingWritesFigures",
                ("training",),
                training,
                True,
                "The figures of a training determine whether its model goes live. Rekognition writes them with its "
                "caller's permissions.",
            ),
        )
    ]
    statements += [
        Denied(
            "NothingRestoresAnObject",
            "If a newer version of a photo is deleted, the older version is back with its ETag and time, so the checks "
            "do not detect the replacement. Replication writes objects without `s3:PutObject`. Erasures and the "
            "lifecycle rules delete objects, not versions.",
            ["s3:DeleteObjectVersion", "s3:Replicate*"],
            bucket.arn_for_objects("*"),
            excepted=configurers,
        ),
        Denied(
            "OnlyTheDeploymentConfigures",
            "Versions, replication or another bucket policy would undo the statements above. CloudFormation's role in "
            "the CDK's bootstrap stack must be able to update the bucket. The account's root user is excepted so that "
            "the account cannot lock itself out.",
            [
                "s3:DeleteBucketPolicy",
                "s3:PutBucketPolicy",
                "s3:PutBucketVersioning",
                "s3:PutReplicationConfiguration",
            ],
            bucket.bucket_arn,
            excepted=configurers,
        ),
    ]
    for statement in statements:
        bucket.add_to_resource_policy(statement)
    policy: Any = bucket.node.find_child("Policy").node.default_child
    policy.add_metadata(WHY, {str(statement.sid): statement.why for statement in statements})


def attach(role: iam.Role, statements: Iterable[iam.PolicyStatement]) -> None:
    """Add the statements to ``role``, and their reasons to the template's metadata."""
    reasons = {}
    for statement in statements:
        role.add_to_policy(statement)
        if isinstance(statement, Allowed):
            reasons[str(statement.sid)] = statement.why
    policy: Any = role.node.find_child("DefaultPolicy").node.default_child
    policy.add_metadata(WHY, reasons)


def write_logs(log_group: logs.ILogGroup) -> iam.PolicyStatement:
    """Return a function's permission to write to its log group."""
    return Allowed(
        "WriteLogs", "Writes its log.", ["logs:CreateLogStream", "logs:PutLogEvents"], log_group.log_group_arn
    )


class Permissions:
    """Creates the permissions on this deployment's resources, as policy statements.

    The Service Authorization Reference says which actions support resources.
    """

    def __init__(self, stack: cdk.Stack, storage: Storage, *, state_machine_name: str) -> None:
        self._storage = storage
        self.state_machine_arn = stack.format_arn(
            service="states",
            resource="stateMachine",
            resource_name=state_machine_name,
            arn_format=cdk.ArnFormat.COLON_RESOURCE_NAME,
        )
        self._executions = stack.format_arn(
            service="states",
            resource="execution",
            resource_name=f"{state_machine_name}:*",
            arn_format=cdk.ArnFormat.COLON_RESOURCE_NAME,
        )
        self._projects = stack.format_arn(service="rekognition", resource="project", resource_name=f"{JOB_PREFIX}*/*")
        self.labelling_job_prefix = stack.format_arn(
            service="sagemaker", resource="labeling-job", resource_name=JOB_PREFIX
        )

    def job_progress(self) -> iam.PolicyStatement:
        """Return the permission to update a job's record."""
        return Allowed(
            "WriteJob",
            "Writes the job's progress to its record.",
            ["dynamodb:UpdateItem"],
            self._storage.table.table_arn,
        )

    def job_record(self) -> iam.PolicyStatement:
        """Return the permission to read and update a job's record."""
        return Allowed(
            "ReadAndWriteJob",
            "Reads the job's record and writes the job's progress to it.",
            ["dynamodb:GetItem", "dynamodb:UpdateItem"],
            self._storage.table.table_arn,
        )

    def create_job_records(self) -> iam.PolicyStatement:
        """Return the permission to create jobs' records."""
        return Allowed(
            "CreateJobs", "Creates the record of a new job.", ["dynamodb:PutItem"], self._storage.table.table_arn
        )

    def list_job_records(self) -> iam.PolicyStatement:
        """Return the permission to list jobs' records."""
        return Allowed(
            "ListJobs",
            "Lists the jobs' records.",
            ["dynamodb:Query"],
            f"{self._storage.table.table_arn}/index/{JOBS_INDEX}",
        )

    def read_objects(self, *folders: str, why: str) -> iam.PolicyStatement:
        """Return the permission to read the objects in ``folders`` of the bucket."""
        return Allowed("ReadObjects", why, ["s3:GetObject"], *self._objects(folders))

    def link_to_objects(self, *folders: str, why: str) -> iam.PolicyStatement:
        """Return the permission to presign URLs for objects in ``folders``. It does not cover other requests.

        HeadObject needs s3:GetObject; S3 has no narrower action. Source: S3 API reference, 'Amazon S3 Signature Version
        4 Authentication Specific Policy Keys'.
        """
        return Allowed(
            "LinkToObjects",
            why,
            ["s3:GetObject"],
            *self._objects(folders),
            conditions={"StringEquals": {"s3:authType": "REST-QUERY-STRING"}},
            opens=False,
        )

    def write_objects(self, *folders: str, why: str) -> iam.PolicyStatement:
        """Return the permission to write objects in ``folders`` of the bucket."""
        return Allowed("WriteObjects", why, ["s3:PutObject"], *self._objects(folders))

    def delete_objects(self, *folders: str) -> iam.PolicyStatement:
        """Return the permission to delete objects in ``folders`` of the bucket."""
        return Allowed(
            "DeleteObjects",
            "Deletes a job's personal data.",
            ["s3:DeleteObject"],
            *self._objects(folders),
        )

    def list_bucket(self, why: str) -> iam.PolicyStatement:
        """Return the permission to list the bucket.

        With this permission, S3 returns 404 instead of 403 for an object that does not exist. The statement has no
        condition on the prefix: a GetObject request has no prefix, so S3 would still return 403.
        """
        return Allowed("ListObjects", why, ["s3:ListBucket"], self._storage.bucket.bucket_arn)

    def list_folders(self, *folders: str, why: str) -> iam.PolicyStatement:
        """Return the permission to list only the objects in ``folders`` of the bucket."""
        return Allowed(
            "ListFolders",
            why,
            ["s3:ListBucket"],
            self._storage.bucket.bucket_arn,
            conditions={"StringLike": {"s3:prefix": [f"{folder}/*" for folder in folders]}},
        )

    def let_rekognition_read(self, *folders: str) -> list[iam.PolicyStatement]:
        """Return the permissions for Rekognition to read photos and manifests in the bucket.

        Rekognition uses its caller's permissions. Source: Custom Labels guide, 'Set up Amazon Rekognition Custom Labels
        console permissions'.
        """
        why = "Rekognition reads photos and manifests with its caller's permissions."
        return [
            Allowed(
                "LetRekognitionReadObjects",
                why,
                ["s3:GetObject", "s3:GetObjectAcl", "s3:GetObjectTagging", "s3:GetObjectVersion"],
                *self._objects(folders),
            ),
            Allowed(
                "LetRekognitionSeeTheBucket",
                why,
                ["s3:GetBucketAcl", "s3:GetBucketLocation", "s3:ListBucket"],
                self._storage.bucket.bucket_arn,
            ),
        ]

    def projects(self, *actions: str, why: str) -> iam.PolicyStatement:
        """Return the permission for Rekognition's ``actions`` on the jobs' projects, datasets and models."""
        return Allowed("Projects", why, [f"rekognition:{action}" for action in actions], self._projects)

    def create_project(self) -> iam.PolicyStatement:
        """Return the permission to create the jobs' projects and to tag them at creation.

        The Service Authorization Reference lists no resource type for CreateProject; the Custom Labels guide ("Set up
        permissions") shows a project's ARN. The resource ``*`` is valid in both cases, and the tag restricts it.
        """
        return Allowed(
            "CreateProject",
            "Creates the job's project. A new project has no ARN yet, so the condition on its tag restricts the "
            "action.",
            ["rekognition:CreateProject", "rekognition:TagResource"],
            "*",
            conditions={"StringLike": {f"aws:RequestTag/{JOB_TAG}": f"{JOB_PREFIX}*"}},
        )

    def start_models(self, why: str) -> iam.PolicyStatement:
        """Return the permission to start the jobs' models."""
        return Allowed("StartModels", why, ["rekognition:StartProjectVersion"], self._projects)

    def find_project(self) -> iam.PolicyStatement:
        """Return the permission for DescribeProjects, which finds a project by its name."""
        return Allowed(
            "FindProject",
            "Finds the job's project by its name. DescribeProjects does not support resources.",
            ["rekognition:DescribeProjects"],
            "*",
        )

    def labelling_jobs(self, *actions: str, why: str) -> iam.PolicyStatement:
        """Return the permission for SageMaker's ``actions`` on the jobs' labelling jobs."""
        return Allowed(
            "LabellingJobs", why, [f"sagemaker:{action}" for action in actions], f"{self.labelling_job_prefix}*"
        )

    def stop_what_runs(self, *, and_settle: bool = False) -> list[iam.PolicyStatement]:
        """Return the permissions to stop a job's labelling jobs and models.

        With ``and_settle``, also those to delete its models and to restore the parameters that name the live model.
        """
        return [
            self.labelling_jobs(
                "DescribeLabelingJob",
                "StopLabelingJob",
                why="Reads the status of the job's labelling jobs, and stops them with the job.",
            ),
            self.projects(
                "DescribeProjectVersions",
                "StopProjectVersion",
                *(["DeleteProjectVersion"] if and_settle else []),
                why="Reads the status of the job's models, and stops "
                + ("or deletes them with the job." if and_settle else "them with the job."),
            ),
            self.live_model(
                "GetParameter",
                *(["PutParameter"] if and_settle else []),
                why="Reads which model is live, because the live model is never stopped."
                + (" Restores the parameters if only one was written." if and_settle else ""),
            ),
        ]

    def pass_labelling_role(self, role: iam.IRole) -> iam.PolicyStatement:
        """Return the permission to pass ``role`` to SageMaker and to no other service."""
        return Allowed(
            "PassLabellingRole",
            "Passes the role of labelling jobs to Ground Truth, and to no other service.",
            ["iam:PassRole"],
            role.role_arn,
            conditions={"StringEquals": {"iam:PassedToService": "sagemaker.amazonaws.com"}},
        )

    def answer_task(self, *, failure: bool = True) -> iam.PolicyStatement:
        """Return the permission to send the result of a task with a task token.

        The Service Authorization Reference lists no resource type for these two actions, but Step Functions checks them
        against the ARN of the token's state machine.
        """
        return Allowed(
            "AnswerTask",
            "Continues the execution that waits for labels.",
            ["states:SendTaskSuccess", *(["states:SendTaskFailure"] if failure else [])],
            self.state_machine_arn,
        )

    def start_execution(self) -> iam.PolicyStatement:
        """Return the permission to start an execution."""
        return Allowed("StartExecution", "Starts a job.", ["states:StartExecution"], self.state_machine_arn)

    def list_executions(self) -> iam.PolicyStatement:
        """Return the permission to list the state machine's executions."""
        return Allowed("ListExecutions", "Finds running jobs.", ["states:ListExecutions"], self.state_machine_arn)

    def executions(self, *actions: str, why: str = "Reads how an execution ended.") -> iam.PolicyStatement:
        """Return the permission for Step Functions' ``actions`` on the state machine's executions."""
        return Allowed("Executions", why, [f"states:{action}" for action in actions], self._executions)

    def live_model(self, *actions: str, why: str) -> iam.PolicyStatement:
        """Return the permission for Systems Manager's ``actions`` on the two parameters that name the live model."""
        return Allowed(
            "LiveModel",
            why,
            [f"ssm:{action}" for action in actions],
            self._storage.project_parameter.parameter_arn,
            self._storage.model_parameter.parameter_arn,
        )

    def _objects(self, folders: tuple[str, ...]) -> list[str]:
        return [self._storage.bucket.arn_for_objects(f"{folder}/*") for folder in folders]
