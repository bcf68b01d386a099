"""The permissions that functions need, each as narrow as the service allows."""

import aws_cdk as cdk
from aws_cdk import aws_iam as iam

from stacks.storage import JOBS_INDEX, Storage

JOB_PREFIX = "ekyc-"
"""Every job id starts so, and with it the name of its labelling job, Rekognition project and model."""


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

    def job_record(self) -> iam.PolicyStatement:
        """Read and change the record of a job."""
        return _allow(["dynamodb:GetItem", "dynamodb:UpdateItem"], self._storage.table.table_arn)

    def job_records(self) -> iam.PolicyStatement:
        """Create job records and list them, newest first."""
        table = self._storage.table.table_arn
        return _allow(["dynamodb:PutItem", "dynamodb:Query"], table, f"{table}/index/{JOBS_INDEX}")

    def list_job_records(self) -> iam.PolicyStatement:
        """List the job records."""
        return _allow(["dynamodb:Query"], f"{self._storage.table.table_arn}/index/{JOBS_INDEX}")

    def read_objects(self, *folders: str) -> iam.PolicyStatement:
        """Read the objects below ``folders`` of the bucket."""
        return _allow(["s3:GetObject"], *self._objects(folders))

    def write_objects(self, *folders: str) -> iam.PolicyStatement:
        """Write objects below ``folders`` of the bucket."""
        return _allow(["s3:PutObject"], *self._objects(folders))

    def delete_objects(self, *folders: str) -> iam.PolicyStatement:
        """Delete objects below ``folders`` of the bucket."""
        return _allow(["s3:DeleteObject"], *self._objects(folders))

    def list_bucket(self) -> iam.PolicyStatement:
        """List the bucket, which also makes S3 answer 404 and not 403 for an object that does not exist.

        No condition on the prefix: a read of an object has none, so that S3 would answer 403 again.
        """
        return _allow(["s3:ListBucket"], self._storage.bucket.bucket_arn)

    def let_rekognition_read(self, *folders: str) -> list[iam.PolicyStatement]:
        """Let Rekognition, which acts with its caller's permissions, read images and manifests in the bucket.

        Source: Custom Labels guide, 'Set up Amazon Rekognition Custom Labels console permissions'.
        """
        return [
            _allow(
                ["s3:GetObject", "s3:GetObjectAcl", "s3:GetObjectTagging", "s3:GetObjectVersion"],
                *self._objects(folders),
            ),
            _allow(["s3:GetBucketAcl", "s3:GetBucketLocation", "s3:ListBucket"], self._storage.bucket.bucket_arn),
        ]

    def projects(self, *actions: str) -> iam.PolicyStatement:
        """Actions of Rekognition on the jobs' projects, their datasets and models."""
        return _allow([f"rekognition:{action}" for action in actions], self._projects)

    def find_or_make_project(self) -> iam.PolicyStatement:
        """CreateProject and DescribeProjects, which take no resource."""
        return _allow(["rekognition:CreateProject", "rekognition:DescribeProjects"], "*")

    def find_project(self) -> iam.PolicyStatement:
        """DescribeProjects, which takes no resource."""
        return _allow(["rekognition:DescribeProjects"], "*")

    def labelling_jobs(self, *actions: str) -> iam.PolicyStatement:
        """Actions of SageMaker on the jobs' labelling jobs."""
        return _allow([f"sagemaker:{action}" for action in actions], f"{self.labelling_job_prefix}*")

    def stop_what_runs(self) -> list[iam.PolicyStatement]:
        """Find and stop what a job runs, unless it is the live model."""
        return [
            self.labelling_jobs("DescribeLabelingJob", "StopLabelingJob"),
            self.projects("DescribeProjectVersions", "StopProjectVersion"),
            self.live_model("GetParameter"),
        ]

    def pass_labelling_role(self, role: iam.IRole) -> iam.PolicyStatement:
        """Hand ``role`` to SageMaker and to nobody else."""
        return iam.PolicyStatement(
            actions=["iam:PassRole"],
            resources=[role.role_arn],
            conditions={"StringEquals": {"iam:PassedToService": "sagemaker.amazonaws.com"}},
        )

    def answer_task(self) -> iam.PolicyStatement:
        """Answer a task token of the state machine.

        The Service Authorization Reference names no resource for these two actions, but Step Functions checks them
        against the token's state machine.
        """
        return _allow(["states:SendTaskFailure", "states:SendTaskSuccess"], self.state_machine_arn)

    def start_execution(self) -> iam.PolicyStatement:
        """Start an execution."""
        return _allow(["states:StartExecution"], self.state_machine_arn)

    def executions(self, *actions: str) -> iam.PolicyStatement:
        """Actions of Step Functions on the state machine's executions."""
        return _allow([f"states:{action}" for action in actions], self._executions)

    def live_model(self, *actions: str) -> iam.PolicyStatement:
        """Actions of Systems Manager on the two parameters that name the live model."""
        return _allow(
            [f"ssm:{action}" for action in actions],
            self._storage.project_parameter.parameter_arn,
            self._storage.model_parameter.parameter_arn,
        )

    def _objects(self, folders: tuple[str, ...]) -> list[str]:
        return [self._storage.bucket.arn_for_objects(f"{folder}/*") for folder in folders]


def _allow(actions: list[str], *resources: str) -> iam.PolicyStatement:
    return iam.PolicyStatement(actions=actions, resources=list(resources))
