"""What people and other systems are told: a topic for messages, the account's default event bus for programs."""

from aws_cdk import aws_iam as iam
from aws_cdk import aws_kms as kms
from aws_cdk import aws_sns as sns
from constructs import Construct


class Notifications(Construct):
    """The topic that every message to people goes to: outcomes of jobs, running models, alarms."""

    def __init__(self, scope: Construct, id: str) -> None:
        super().__init__(scope, id)
        self.topic = sns.Topic(
            self,
            "Topic",
            display_name="eKYC model training",
            enforce_ssl=True,
            master_key=kms.Alias.from_alias_name(self, "SnsKey", "alias/aws/sns"),
        )

    def publish(self) -> iam.PolicyStatement:
        """Publish messages to the topic."""
        return iam.PolicyStatement(actions=["sns:Publish"], resources=[self.topic.topic_arn])
