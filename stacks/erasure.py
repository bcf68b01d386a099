"""The function that erases the photos, labels and training output of a job on request."""

import aws_cdk as cdk
from aws_cdk import aws_events as events
from aws_cdk import aws_iam as iam
from constructs import Construct

from stacks.functions import BackgroundFunction, Runtime
from stacks.permissions import Allowed, Permissions
from stacks.storage import FOLDERS, JOBS_INDEX, Storage


class EraseJob(BackgroundFunction):
    """Erases a job when the API calls it, and looks once a day whether an erasure is not over."""

    def __init__(
        self, scope: Construct, id: str, *, runtime: Runtime, storage: Storage, permissions: Permissions
    ) -> None:
        super().__init__(
            scope,
            id,
            runtime=runtime,
            module="events.erase_job",
            description="Deletes what a job holds of people; the job's record stays.",
            environment={
                "JOBS_TABLE": storage.table.table_name,
                "JOBS_INDEX": JOBS_INDEX,
                "BUCKET": storage.bucket.bucket_name,
            },
            permissions=[
                permissions.job_record(),
                permissions.list_job_records(),
                permissions.list_bucket("Finds what there is to erase."),
                permissions.delete_objects(*FOLDERS),
                permissions.find_project(),
                permissions.projects(
                    "DeleteDataset",
                    "DeleteProjectVersion",
                    "DescribeProjectVersions",
                    why="Erases the job's datasets, which hold its labels, and its models if that is asked for.",
                ),
            ],
            timeout_seconds=900,
            memory_mb=1024,  # for 250,000 photos in the time that there is
        )
        self.call_by(
            "EveryDay",
            "Erasures may not be over: an upload or a stage that was under way may have added something since.",
            event=events.RuleTargetInput.from_object({}),
            schedule=events.Schedule.rate(cdk.Duration.days(1)),
        )

    def call(self) -> iam.PolicyStatement:
        """Call this function."""
        return Allowed("EraseJob", "Has a job erased.", ["lambda:InvokeFunction"], self.function_arn)
