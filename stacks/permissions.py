"""The permissions that functions and service roles need, each as narrow as the service allows, and why.

Every statement says beside its actions why it is there; ``docs/permissions.md`` tells it in those words.
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
"""The key of a policy's metadata in the template under which it says why each of its statements is there, by Sid."""

WITHOUT_SID: Mapping[str, str] = {
    "AmazonAPIGatewayPushToCloudWatchLogs": "API Gateway writes its logs; its guide asks for this policy of AWS's own.",
    "lambda:InvokeFunction": "Calls this function.",
    "sns:Publish": "Tells people.",
    "sqs:SendMessage": "Keeps what the function failed at.",
    **dict.fromkeys(
        ("xray:PutTelemetryRecords", "xray:PutTraceSegments"),
        "Sends its trace to X-Ray, which has no resource for that.",
    ),
    **dict.fromkeys(
        ("xray:GetSamplingRules", "xray:GetSamplingTargets"),
        "Asks X-Ray which executions to trace, which has no resource for that.",
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
        "Step Functions sets up the delivery of its own log, which has no resource (Step Functions guide, 'Logging in "
        "CloudWatch Logs').",
    ),
}
"""Why there are actions in statements without a Sid: those that the CDK writes by itself."""

TAKE_NO_RESOURCE = frozenset(
    {
        "cloudwatch:PutMetricData",
        "rekognition:CreateProject",
        "rekognition:DescribeProjects",
        "rekognition:TagResource",  # of a project that is being created
        *(action for action in WITHOUT_SID if action.startswith(("logs:", "xray:"))),
    }
)
"""The actions for which AWS has no resource, so that ``*`` must stand. Source: Service Authorization Reference."""


class Allowed(iam.PolicyStatement):
    """A statement that knows why it is there.

    ``opens`` is false when nothing that is read is decrypted by it, such as the headers of objects.
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
    """A statement of a bucket's policy that denies ``actions`` to all principals except ``excepted``, by ARN.

    ``lets_services`` also excepts AWS services that call in their own name.
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
        # The ARN of a role's session is that of the role. Source: IAM guide, "AWS global condition context keys".
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


def let_write(storage: Storage, *, manifests: Sequence[str], labelling: Sequence[str], training: Sequence[str]) -> None:
    """Deny writes of what decides about a model to all principals except the writers of each folder, ARNs of roles.

    Another principal that may write to the bucket could replace these files.
    """
    bucket = storage.bucket
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
                "Manifests list what a model is trained on, and turned photos lie beside them. A stage relies on both.",
            ),
            (
                "OnlyLabellingWritesLabels",
                ("labelling",),
                labelling,
                False,
                "Ground Truth's output decides what a model is trained on. Ground Truth writes it by its role.",
            ),
            (
                "OnlyTrainingWritesFigures",
                ("training",),
                training,
                True,
                "The figures of a training decide whether its model goes live. Rekognition writes them with its "
                "caller's permissions.",
            ),
        )
    ]
    for statement in statements:
        bucket.add_to_resource_policy(statement)
    policy: Any = bucket.node.find_child("Policy").node.default_child
    policy.add_metadata(WHY, {str(statement.sid): statement.why for statement in statements})


def attach(role: iam.Role, statements: Iterable[iam.PolicyStatement]) -> None:
    """Give ``role`` the statements, and the template the reason of each."""
    reasons = {}
    for statement in statements:
        role.add_to_policy(statement)
        if isinstance(statement, Allowed):
            reasons[str(statement.sid)] = statement.why
    policy: Any = role.node.find_child("DefaultPolicy").node.default_child
    policy.add_metadata(WHY, reasons)


def write_logs(log_group: logs.ILogGroup) -> iam.PolicyStatement:
    """Write to the function's own log group."""
    return Allowed(
        "WriteLogs", "Writes its own log.", ["logs:CreateLogStream", "logs:PutLogEvents"], log_group.log_group_arn
    )


class Permissions:
    """Makes policy statements on this deployment's own resources.

    Which actions take a resource is from the Service Authorization Reference of each service.
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
        """Change the record of a job."""
        return Allowed(
            "WriteJob",
            "Writes into the job's record how far the job is.",
            ["dynamodb:UpdateItem"],
            self._storage.table.table_arn,
        )

    def job_record(self) -> iam.PolicyStatement:
        """Read and change the record of a job."""
        return Allowed(
            "ReadAndWriteJob",
            "Reads the job's record, and writes into it how far the job is.",
            ["dynamodb:GetItem", "dynamodb:UpdateItem"],
            self._storage.table.table_arn,
        )

    def create_job_records(self) -> iam.PolicyStatement:
        """Create job records."""
        return Allowed(
            "CreateJobs", "Makes the record of a new job.", ["dynamodb:PutItem"], self._storage.table.table_arn
        )

    def list_job_records(self) -> iam.PolicyStatement:
        """List the job records."""
        return Allowed(
            "ListJobs",
            "Lists the jobs' records.",
            ["dynamodb:Query"],
            f"{self._storage.table.table_arn}/index/{JOBS_INDEX}",
        )

    def read_objects(self, *folders: str, why: str) -> iam.PolicyStatement:
        """Read the objects below ``folders`` of the bucket."""
        return Allowed("ReadObjects", why, ["s3:GetObject"], *self._objects(folders))

    def link_to_objects(self, *folders: str, why: str) -> iam.PolicyStatement:
        """Sign links to objects below ``folders``; the role's own reads are denied.

        S3 has no action of its own for HeadObject. Source: S3 API reference, 'Amazon S3 Signature Version 4
        Authentication Specific Policy Keys'.
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
        """Write objects below ``folders`` of the bucket."""
        return Allowed("WriteObjects", why, ["s3:PutObject"], *self._objects(folders))

    def delete_objects(self, *folders: str) -> iam.PolicyStatement:
        """Delete objects below ``folders`` of the bucket."""
        return Allowed(
            "DeleteObjects",
            "Erases what a job holds of people.",
            ["s3:DeleteObject"],
            *self._objects(folders),
        )

    def list_bucket(self, why: str) -> iam.PolicyStatement:
        """List the bucket, which also makes S3 answer 404 and not 403 for an object that does not exist.

        No condition on the prefix: a read of an object has none, so that S3 would answer 403 again.
        """
        return Allowed("ListObjects", why, ["s3:ListBucket"], self._storage.bucket.bucket_arn)

    def list_folders(self, *folders: str, why: str) -> iam.PolicyStatement:
        """List the objects below ``folders`` of the bucket, and no others."""
        return Allowed(
            "ListFolders",
            why,
            ["s3:ListBucket"],
            self._storage.bucket.bucket_arn,
            conditions={"StringLike": {"s3:prefix": [f"{folder}/*" for folder in folders]}},
        )

    def let_rekognition_read(self, *folders: str) -> list[iam.PolicyStatement]:
        """Let Rekognition, which acts with its caller's permissions, read images and manifests in the bucket.

        Source: Custom Labels guide, 'Set up Amazon Rekognition Custom Labels console permissions'.
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
        """Actions of Rekognition on the jobs' projects, their datasets and models."""
        return Allowed("Projects", why, [f"rekognition:{action}" for action in actions], self._projects)

    def create_project(self) -> iam.PolicyStatement:
        """Create the jobs' projects, and tag them as they are created.

        The Service Authorization Reference gives CreateProject no resource type; the Custom Labels guide ("Set up
        permissions") shows a project's ARN. A statement on ``*`` is right either way, and so the tag limits it.
        """
        return Allowed(
            "CreateProject",
            "Makes the job's project. It has no ARN yet, so the job's tag stands in for the resource.",
            ["rekognition:CreateProject", "rekognition:TagResource"],
            "*",
            conditions={"StringLike": {f"aws:RequestTag/{JOB_TAG}": f"{JOB_PREFIX}*"}},
        )

    def start_models(self, why: str) -> iam.PolicyStatement:
        """Start the jobs' models."""
        return Allowed("StartModels", why, ["rekognition:StartProjectVersion"], self._projects)

    def find_project(self) -> iam.PolicyStatement:
        """DescribeProjects, which takes no resource."""
        return Allowed(
            "FindProject",
            "Finds the job's project by its name; DescribeProjects takes no resource.",
            ["rekognition:DescribeProjects"],
            "*",
        )

    def labelling_jobs(self, *actions: str, why: str) -> iam.PolicyStatement:
        """Actions of SageMaker on the jobs' labelling jobs."""
        return Allowed(
            "LabellingJobs", why, [f"sagemaker:{action}" for action in actions], f"{self.labelling_job_prefix}*"
        )

    def stop_what_runs(self, *, and_settle: bool = False) -> list[iam.PolicyStatement]:
        """Find and stop what a job runs, unless it is the live model; ``and_settle``: also delete its model."""
        return [
            self.labelling_jobs(
                "DescribeLabelingJob",
                "StopLabelingJob",
                why="Looks how far people are, and stops them with the job.",
            ),
            self.projects(
                "DescribeProjectVersions",
                "StopProjectVersion",
                *(["DeleteProjectVersion"] if and_settle else []),
                why="Looks at the job's models, and stops them with the job"
                + (", or deletes them." if and_settle else "."),
            ),
            self.live_model(
                "GetParameter",
                *(["PutParameter"] if and_settle else []),
                why="Says which model is live, which is not touched"
                + (", and takes back what was half written." if and_settle else "."),
            ),
        ]

    def pass_labelling_role(self, role: iam.IRole) -> iam.PolicyStatement:
        """Pass ``role`` to SageMaker and to no other service."""
        return Allowed(
            "PassLabellingRole",
            "Hands Ground Truth the role by which it works, and nobody else.",
            ["iam:PassRole"],
            role.role_arn,
            conditions={"StringEquals": {"iam:PassedToService": "sagemaker.amazonaws.com"}},
        )

    def answer_task(self, *, failure: bool = True) -> iam.PolicyStatement:
        """Answer a task token of the state machine.

        The Service Authorization Reference names no resource for these two actions, but Step Functions checks them
        against the token's state machine.
        """
        return Allowed(
            "AnswerTask",
            "Wakes the execution that waits for labels.",
            ["states:SendTaskSuccess", *(["states:SendTaskFailure"] if failure else [])],
            self.state_machine_arn,
        )

    def start_execution(self) -> iam.PolicyStatement:
        """Start an execution."""
        return Allowed("StartExecution", "Starts a job.", ["states:StartExecution"], self.state_machine_arn)

    def list_executions(self) -> iam.PolicyStatement:
        """List the executions of the state machine."""
        return Allowed("ListExecutions", "Looks for what runs.", ["states:ListExecutions"], self.state_machine_arn)

    def executions(self, *actions: str, why: str = "Asks how an execution ended.") -> iam.PolicyStatement:
        """Actions of Step Functions on the state machine's executions."""
        return Allowed("Executions", why, [f"states:{action}" for action in actions], self._executions)

    def live_model(self, *actions: str, why: str) -> iam.PolicyStatement:
        """Actions of Systems Manager on the two parameters that name the live model."""
        return Allowed(
            "LiveModel",
            why,
            [f"ssm:{action}" for action in actions],
            self._storage.project_parameter.parameter_arn,
            self._storage.model_parameter.parameter_arn,
        )

    def _objects(self, folders: tuple[str, ...]) -> list[str]:
        return [self._storage.bucket.arn_for_objects(f"{folder}/*") for folder in folders]
