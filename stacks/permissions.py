"""The policy statements of functions and service roles, each as narrow as the service allows.

Each statement has a reason, which ``docs/permissions.md`` quotes.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import aws_cdk as cdk
from aws_cdk import aws_iam as iam
from aws_cdk import aws_logs as logs

from rules import states
from rules.names import JOB_PREFIX, JOB_TAG
from stacks import definition
from stacks.storage import JOBS_INDEX, TASKS_INDEX, Storage

BATCHES: str = definition.read()["States"][states.CHECK_PHOTOS.name]["Label"]
"""The label of the map state that checks batches of photos. It is in the ARNs of the batches' executions."""

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


class DataPermissions:
    """Creates the permissions on jobs' records and files, as policy statements."""

    def __init__(self, storage: Storage) -> None:
        self._storage = storage

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

    def tasks(self, *actions: str, why: str) -> iam.PolicyStatement:
        """Return the permission for DynamoDB's ``actions`` on the labelling tasks."""
        return Allowed(
            "LabellingTasks", why, [f"dynamodb:{action}" for action in sorted(actions)], self._storage.tasks.table_arn
        )

    def close_tasks(self) -> iam.PolicyStatement:
        """Return the permission to close an ended job for people."""
        return self.tasks("GetItem", "UpdateItem", why="Closes the labelling of a job that has ended.")

    def open_tasks(self) -> iam.PolicyStatement:
        """Return the permission to find and count open labelling tasks."""
        return Allowed(
            "OpenTasks",
            "Finds and counts the open labelling tasks.",
            ["dynamodb:Query"],
            f"{self._storage.tasks.table_arn}/index/{TASKS_INDEX}",
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

    def let_rekognition_read(self) -> list[iam.PolicyStatement]:
        """Return the permissions for Rekognition to read photos and the manifests of datasets in the bucket.

        Rekognition uses its caller's permissions. Source: Custom Labels guide, 'Set up Amazon Rekognition Custom Labels
        console permissions'.
        """
        why = "Rekognition reads photos and the manifests of datasets with its caller's permissions."
        keys = ("images/*", "manifests/*/test.manifest", "manifests/*/train.manifest", "upright/*")
        return [
            Allowed(
                "LetRekognitionReadObjects",
                why,
                ["s3:GetObject", "s3:GetObjectAcl", "s3:GetObjectTagging", "s3:GetObjectVersion"],
                *map(self._storage.bucket.arn_for_objects, keys),
            ),
            Allowed(
                "LetRekognitionSeeTheBucket",
                why,
                ["s3:GetBucketAcl", "s3:GetBucketLocation", "s3:ListBucket"],
                self._storage.bucket.bucket_arn,
            ),
        ]

    def _objects(self, folders: tuple[str, ...]) -> list[str]:
        return [self._storage.bucket.arn_for_objects(f"{folder}/*") for folder in folders]


class Permissions(DataPermissions):
    """Creates the permissions on all of this deployment's resources, as policy statements.

    The Service Authorization Reference says which actions support resources.
    """

    def __init__(self, stack: cdk.Stack, storage: Storage, *, state_machine_name: str) -> None:
        super().__init__(storage)
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

    def run_batches(self) -> list[iam.PolicyStatement]:
        """Return the state machine's permissions to run the batches of photos, which are executions, too.

        The ARNs are written out: a reference to the state machine would be circular. Source: Step Functions guide, 'IAM
        policies for using Distributed Map states'.
        """
        return [
            Allowed(
                "ReadBatches",
                "Reads the list of batches of photos.",
                ["s3:GetObject"],
                self._storage.bucket.arn_for_objects("manifests/*/batches.json"),
            ),
            Allowed(
                "StartBatches", "Starts an execution for each batch.", ["states:StartExecution"], self.state_machine_arn
            ),
            Allowed("WatchBatches", "Reads how the batches ended.", ["states:DescribeExecution"], self._executions),
            Allowed(
                "RepeatAndStopBatches",
                "Repeats failed batches after a redrive, and stops batches with their job.",
                ["states:RedriveExecution", "states:StopExecution"],
                f"{self._executions.removesuffix(':*')}/{BATCHES}:*",
            ),
        ]

    def failed_batches(self) -> list[iam.PolicyStatement]:
        """Return the permissions to read why a batch of photos failed, which the execution's error does not say."""
        batches = f"{self._executions.removesuffix(':*')}/{BATCHES}:*"
        runs = batches.replace(":execution:", ":mapRun:")
        return [
            Allowed("FindBatches", "Finds the batches of photos.", ["states:ListMapRuns"], self._executions),
            Allowed("ListFailedBatches", "Finds a failed batch of photos.", ["states:ListExecutions"], runs),
            Allowed("ReadFailedBatches", "Reads why a batch failed.", ["states:DescribeExecution"], batches),
        ]

    def live_model(self, *actions: str, why: str) -> iam.PolicyStatement:
        """Return the permission for Systems Manager's ``actions`` on the two parameters that name the live model."""
        return Allowed(
            "LiveModel",
            why,
            [f"ssm:{action}" for action in actions],
            self._storage.project_parameter.parameter_arn,
            self._storage.model_parameter.parameter_arn,
        )
