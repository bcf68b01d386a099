"""The channels for notifications: an SNS topic for people, and the account's default event bus for programs."""

import aws_cdk as cdk
from aws_cdk import aws_iam as iam
from aws_cdk import aws_kms as kms
from aws_cdk import aws_sns as sns
from aws_cdk import aws_sns_subscriptions as subscriptions
from constructs import Construct

from stacks.permissions import Allowed
from stacks.settings import Settings

SOURCE = "ekyc.training"
"""The ``source`` of the pipeline's events on EventBridge."""

ALARMS = iam.ServicePrincipal("cloudwatch.amazonaws.com")


def let_alarms_encrypt(stack: cdk.Stack, stack_name: str) -> iam.PolicyStatement:
    """Return the statement that lets CloudWatch alarms use the topic's key. It belongs in the policy of that key.

    The AWS managed key ``alias/aws/sns`` cannot have this statement: its policy allows only IAM principals. That policy
    cannot be changed. Without the setting kmsKeyArn, the topic therefore has its own key. Source: SNS guide, 'Managing
    Amazon SNS encryption keys and costs', section 'Enable compatibility between event sources from AWS services and
    encrypted topics'.
    """
    return iam.PolicyStatement(
        sid="AlarmsOfTheTrainingPipeline",
        principals=[ALARMS],
        actions=["kms:Decrypt", "kms:GenerateDataKey*"],
        resources=["*"],  # in a key policy, * means this key
        conditions=_alarms_of(stack, stack_name),
    )


def _alarms_of(stack: cdk.Stack, stack_name: str) -> dict[str, dict[str, str]]:
    alarms = stack.format_arn(
        service="cloudwatch",
        resource="alarm",
        resource_name=f"{stack_name}-*",
        arn_format=cdk.ArnFormat.COLON_RESOURCE_NAME,
    )
    return {"StringEquals": {"aws:SourceAccount": stack.account}, "ArnLike": {"aws:SourceArn": alarms}}


class Notifications(Construct):
    """The topic for all messages to people: outcomes of jobs, running models, alarms.

    The key of the setting kmsKeyArn encrypts the topic. The owner of that key adds the statement from
    `let_alarms_encrypt` to its policy. Without the setting, the topic has its own key. This key is deleted with the
    stack, because a topic keeps a message only until delivery.
    """

    def __init__(self, scope: Construct, id: str, *, settings: Settings, key: kms.IKey | None) -> None:
        """``key`` is the key of the setting kmsKeyArn, or None."""
        super().__init__(scope, id)
        self._stack = cdk.Stack.of(self)
        self._own_key: kms.Key | None = None
        if key is None:
            self._own_key = kms.Key(
                self,
                "Key",
                description=f"Encrypts the messages of {settings.stack_name}.",
                enable_key_rotation=True,
                removal_policy=cdk.RemovalPolicy.DESTROY,
                pending_window=cdk.Duration.days(7),
            )
            self._own_key.add_to_resource_policy(let_alarms_encrypt(self._stack, settings.stack_name))
        self.topic = sns.Topic(
            self, "Topic", display_name="eKYC model training", enforce_ssl=True, master_key=key or self._own_key
        )
        self.topic.add_to_resource_policy(
            iam.PolicyStatement(
                sid="Alarms",
                principals=[ALARMS],
                actions=["sns:Publish"],
                resources=[self.topic.topic_arn],
                conditions=_alarms_of(self._stack, settings.stack_name),
            )
        )
        if settings.notification_email:
            self.topic.add_subscription(subscriptions.EmailSubscription(settings.notification_email))

    def sending(self) -> list[Allowed]:
        """Return the permissions to publish to the topic, to use its own key, and to put events on the event bus.

        `Encryption` allows the use of the key of the setting kmsKeyArn.
        """
        bus = self._stack.format_arn(service="events", resource="event-bus", resource_name="default")
        statements = [
            Allowed("Tell", "Notifies people about jobs and models.", ["sns:Publish"], self.topic.topic_arn),
            Allowed(
                "TellSystems",
                "Sends the same notifications to other systems.",
                ["events:PutEvents"],
                bus,
                # ForAllValues covers both cases: one value per request, or one value per event. It also matches a
                # request without the key, which Null excludes. Source: EventBridge guide, 'Using IAM policy
                # conditions'.
                conditions={
                    "ForAllValues:StringEquals": {"events:source": SOURCE},
                    "Null": {"events:source": "false"},
                },
            ),
        ]
        if self._own_key is not None:
            via = f"sns.{self._stack.region}.{self._stack.url_suffix}"
            statements.append(
                Allowed(
                    "SealMessages",
                    "The topic's own key encrypts notifications.",
                    ["kms:Decrypt", "kms:GenerateDataKey"],
                    self._own_key.key_arn,
                    conditions={"StringEquals": {"kms:ViaService": via}},
                )
            )
        return statements
