"""The state machine."""

from collections.abc import Mapping

import aws_cdk as cdk
from aws_cdk import aws_iam as iam
from aws_cdk import aws_lambda as lambda_
from aws_cdk import aws_logs as logs
from aws_cdk import aws_stepfunctions as sfn
from constructs import Construct

from stacks import definition
from stacks.encryption import Encryption
from stacks.permissions import Allowed, attach
from stacks.settings import Poll, Settings


def waits(settings: Settings) -> dict[str, str]:
    """The poll schedules and deadlines by the names that the state machine's definition gives them."""

    def loop(name: str, poll: Poll) -> dict[str, str]:
        return {
            f"{name}WaitFirst": str(poll.first),
            f"{name}WaitGrowth": str(poll.growth),
            f"{name}WaitCeiling": str(poll.ceiling),
            f"{name}Deadline": str(poll.deadline),
        }

    return {
        **loop("Dataset", settings.polls.datasets),
        **loop("Training", settings.polls.training),
        **loop("Model", settings.polls.model),
        "LabellingHeartbeat": str(settings.labelling.heartbeat),
        "LabellingDeadline": str(settings.labelling.deadline),
    }


class TrainingStateMachine(sfn.StateMachine):
    """The Standard state machine of ``statemachine/training.asl.yaml``; a job has one execution, or several.

    It has a fixed name, so that the roles of the functions it calls can name it. The log holds every event without its
    data: payloads stay in the execution history.
    """

    def __init__(
        self,
        scope: Construct,
        id: str,
        *,
        settings: Settings,
        stages: Mapping[str, lambda_.IFunction],
        encryption: Encryption,
    ) -> None:
        """``stages`` are the functions of the tasks, by the name that the definition gives them."""
        # A prefix that log delivery is allowed to write to without a policy of its own for each group; the stack's
        # own id, because the group outlives the stack. Source: Step Functions guide, 'Logging in CloudWatch Logs'.
        stack_id = cdk.Fn.select(2, cdk.Fn.split("/", cdk.Stack.of(scope).stack_id))
        log_group = logs.LogGroup(
            scope,
            f"{id}Logs",
            log_group_name=f"/aws/vendedlogs/states/{settings.stack_name}-{stack_id}",
            retention=logs.RetentionDays.ONE_YEAR,
            encryption_key=encryption.key,
        )
        # Only this account's state machines. Source: Step Functions guide, 'Cross-service confused deputy prevention'.
        role = iam.Role(
            scope,
            f"{id}Role",
            assumed_by=iam.ServicePrincipal(
                "states.amazonaws.com", conditions={"StringEquals": {"aws:SourceAccount": cdk.Aws.ACCOUNT_ID}}
            ),
        )
        arns = {name: function.function_arn for name, function in stages.items()}
        super().__init__(
            scope,
            id,
            state_machine_name=settings.stack_name,
            state_machine_type=sfn.StateMachineType.STANDARD,
            definition_body=sfn.DefinitionBody.from_string(definition.as_json()),
            definition_substitutions={"Partition": cdk.Aws.PARTITION, **arns, **waits(settings)},
            logs=sfn.LogOptions(destination=log_group, level=sfn.LogLevel.ALL, include_execution_data=False),
            tracing_enabled=True,
            role=role,
        )
        attach(role, [Allowed("CallStages", "Calls its stages.", ["lambda:InvokeFunction"], *arns.values())])
