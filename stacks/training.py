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
from stacks.permissions import Allowed, Permissions, attach
from stacks.settings import Poll, Settings


def numbers(settings: Settings) -> dict[str, str]:
    """Return the schedules, deadlines and other numbers by their names in the state machine's definition."""

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
        "PhotoConcurrency": str(settings.photo_concurrency),
        "LabellingHeartbeat": str(settings.labelling.heartbeat),
        "LabellingDeadline": str(settings.labelling.deadline),
    }


class TrainingStateMachine(sfn.StateMachine):
    """The Standard state machine of ``statemachine/training.asl.yaml``. A job has one or more executions.

    The name is fixed so that the roles of its functions can name it without a circular reference. The log has every
    event without its data; payloads are only in the execution history.
    """

    def __init__(
        self,
        scope: Construct,
        id: str,
        *,
        settings: Settings,
        stages: Mapping[str, lambda_.IFunction],
        permissions: Permissions,
        encryption: Encryption,
    ) -> None:
        """``stages`` has the functions of the tasks by their name in the definition."""
        # Log delivery may write to log groups with this prefix without a resource policy for each group. The stack's id
        # makes the name unique, because the log group is retained when the stack is deleted. Source: Step Functions
        # guide, 'Logging in CloudWatch Logs'.
        stack_id = cdk.Fn.select(2, cdk.Fn.split("/", cdk.Stack.of(scope).stack_id))
        log_group = logs.LogGroup(
            scope,
            f"{id}Logs",
            log_group_name=f"/aws/vendedlogs/states/{settings.stack_name}-{stack_id}",
            retention=logs.RetentionDays.ONE_YEAR,
            encryption_key=encryption.key,
        )
        # Only state machines of this account may use the role. Source: Step Functions guide, 'Cross-service confused
        # deputy prevention'.
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
            definition_substitutions={"Partition": cdk.Aws.PARTITION, **arns, **numbers(settings)},
            logs=sfn.LogOptions(destination=log_group, level=sfn.LogLevel.ALL, include_execution_data=False),
            tracing_enabled=True,
            role=role,
        )
        statements = [
            Allowed("CallStages", "Invokes the stages.", ["lambda:InvokeFunction"], *arns.values()),
            *permissions.run_batches(),
        ]
        attach(role, [*statements, *encryption.for_role(statements)])
