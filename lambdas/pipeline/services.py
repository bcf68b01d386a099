"""What the API's routes work with: the settings and the AWS clients, each made when it is first used."""

from functools import cached_property
from typing import Any

from pipeline import aws, executions
from pipeline.jobs import Job, Jobs


class Services:
    """The AWS services that the routes call. A cold start pays only for those that its call needs."""

    def __init__(
        self,
        *,
        jobs_table: str,
        bucket: str,
        state_machine_arn: str,
        model_parameter: str,
        erase_function: str,
        audit_bucket: str,
        export_function: str,
    ) -> None:
        self._jobs_table = jobs_table
        self.bucket = bucket
        self.model_parameter = model_parameter
        self.erase_function = erase_function
        self.audit_bucket = audit_bucket
        self.export_function = export_function
        _, self.partition, _, self.region, self.account, _, self._machine = state_machine_arn.split(":")
        self.state_machine_arn = state_machine_arn

    def execution_arn(self, job_id: str, attempt: int = 1) -> str:
        """The ARN of the job's execution number ``attempt``, counted from 1."""
        name = executions.name(job_id, attempt)
        return f"arn:{self.partition}:states:{self.region}:{self.account}:execution:{self._machine}:{name}"

    def last_execution_arn(self, job: Job) -> str:
        """The ARN of the job's last execution; of a job that was never started, the one that it will have."""
        return job["ExecutionArn"] or self.execution_arn(job.id)

    @cached_property
    def jobs(self) -> Jobs:
        return Jobs(self._jobs_table, aws.client("dynamodb"))

    @cached_property
    def s3(self) -> Any:
        return aws.client("s3")

    @cached_property
    def stepfunctions(self) -> Any:
        return aws.client("stepfunctions")

    @cached_property
    def sagemaker(self) -> Any:
        return aws.client("sagemaker")

    @cached_property
    def rekognition(self) -> Any:
        return aws.client("rekognition")

    @cached_property
    def ssm(self) -> Any:
        return aws.client("ssm")

    @cached_property
    def functions(self) -> Any:
        return aws.client("lambda")
