"""How a Lambda function is made: its code, its layer, a role of its own, its log and what calls it."""

import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import aws_cdk as cdk
from aws_cdk import aws_events as events
from aws_cdk import aws_events_targets as targets
from aws_cdk import aws_iam as iam
from aws_cdk import aws_lambda as lambda_
from aws_cdk import aws_logs as logs
from aws_cdk import aws_sqs as sqs
from constructs import Construct

from stacks.encryption import Encryption
from stacks.openapi import SOURCE, Description
from stacks.permissions import attach, write_logs
from stacks.settings import SettingsError

CODE = Path(__file__).resolve().parent.parent / "lambdas"


def package(folder: Path) -> None:
    """Write the functions' code to ``folder``, with the API's description as the JSON that the API answers."""
    not_code = shutil.ignore_patterns("__pycache__", "requirements.txt", SOURCE.name)
    shutil.copytree(CODE, folder, ignore=not_code, dirs_exist_ok=True)
    (folder / "api" / "openapi.json").write_text(Description.read().as_json(), encoding="utf-8")


class LayerMissingError(FileNotFoundError):
    """The folder with the functions' libraries has not been built."""


class Runtime(Construct):
    """What every function runs on: the code, the layer with its libraries, Python, the processor and the encryption."""

    python = lambda_.Runtime.PYTHON_3_14
    architecture = lambda_.Architecture.ARM_64

    def __init__(self, scope: Construct, id: str, *, layer: Path, encryption: Encryption) -> None:
        """``layer`` holds ``python/`` with the installed libraries.

        Raises:
            LayerMissingError: ``layer`` has no such folder.
        """
        super().__init__(scope, id)
        self.encryption = encryption
        if not (layer / "python").is_dir():
            raise LayerMissingError(
                f"The functions' libraries are missing: there is no folder {layer / 'python'}. Run 'make synth', which "
                "installs lambdas/requirements.txt there first."
            )
        # In the assembly, so that it is there also when the CDK copies no assets.
        folder = Path(cast(cdk.App, self.node.root).outdir, "functions")
        package(folder)
        self.code = lambda_.Code.from_asset(str(folder))
        self.layer = lambda_.LayerVersion(
            self,
            "Libraries",
            code=lambda_.Code.from_asset(str(layer), exclude=["__pycache__"], ignore_mode=cdk.IgnoreMode.GIT),
            description="The libraries of lambdas/requirements.txt.",
            compatible_runtimes=[self.python],
            compatible_architectures=[self.architecture],
        )


ENVIRONMENT_BYTES = 4096
"""What a function's variables may have together, names and values. Source: Lambda guide, 'Lambda quotas'."""


def longest_value(value: Any, stack_name: str) -> int:
    """The most bytes that a variable's value can have, given as the template has it.

    A reference becomes a name or an ARN that CloudFormation makes of the stack's name, the resource's and its own text.
    """
    match value:
        case str():
            return len(value.encode())
        case {"Fn::Join": [separator, parts]}:
            return sum(longest_value(part, stack_name) + len(separator) for part in parts)
    return len("arn:aws-us-gov:sns:us-gov-west-1:123456789012:") + len(stack_name) + 60


def check_environment(name: str, variables: Mapping[str, Any], stack: cdk.Stack) -> None:
    """`documentTypes`, `webOrigins` and `tags` leave each function's variables within the 4,096 bytes of Lambda."""
    values = stack.resolve(variables)
    sizes = {key: longest_value(value, stack.stack_name) for key, value in values.items()}
    total = sum(sizes.values()) + sum(map(len, sizes))
    if total <= ENVIRONMENT_BYTES:
        return
    longest = sorted(sizes, key=lambda key: -sizes[key])[:2]
    raise SettingsError(
        f"The environment of the function {name} would have up to {total:,} bytes, and Lambda takes "
        f"{ENVIRONMENT_BYTES:,}. Most of them are in {' and '.join(f'{key} ({sizes[key]:,})' for key in longest)}: "
        "shorten the settings documentTypes, webOrigins or tags."
    )


@dataclass(frozen=True)
class Trigger:
    """A rule of EventBridge that calls a function with ``event``: by a ``pattern``, or by a ``schedule``."""

    id: str
    description: str
    pattern: events.EventPattern | None = None
    schedule: events.Schedule | None = None
    event: Mapping[str, Any] | None = None


@dataclass(frozen=True)
class FunctionSpec:
    """What a function needs.

    ``module`` below ``lambdas/`` holds ``handler``. ``environment`` has what its Settings ask for: text, numbers,
    flags, lists and key-value pairs. ``triggers`` are for functions that EventBridge calls.
    """

    module: str
    description: str
    environment: Mapping[str, Any]
    permissions: Sequence[iam.PolicyStatement]
    timeout_seconds: int = 60
    memory_mb: int = 256
    traced: bool = True
    triggers: Sequence[Trigger] = ()


def as_variable(value: Any) -> str:
    """The text of an environment variable, as `pipeline.settings` reads it: ``a,b`` and ``key=value,...``."""
    match value:
        case bool():
            return json.dumps(value)
        case Mapping():
            return ",".join(f"{key}={text}" for key, text in value.items())
        case str():
            return value
        case Sequence():
            return ",".join(value)
    return str(value)


class PipelineFunction(lambda_.Function):
    """A function with a role and a log group of its own."""

    def __init__(
        self,
        scope: Construct,
        id: str,
        spec: FunctionSpec,
        *,
        runtime: Runtime,
        dead_letter_queue: sqs.IQueue | None = None,
    ) -> None:
        """
        Raises:
            SettingsError: the environment is larger than Lambda takes.
        """
        stack, encryption = cdk.Stack.of(scope), runtime.encryption
        role = iam.Role(scope, f"{id}Role", assumed_by=iam.ServicePrincipal("lambda.amazonaws.com"))
        variables = {
            "POWERTOOLS_SERVICE_NAME": id,
            "POWERTOOLS_METRICS_NAMESPACE": stack.stack_name,
            "POWERTOOLS_LOG_LEVEL": "INFO",
            **{name: as_variable(value) for name, value in spec.environment.items()},
        }
        check_environment(id, variables, stack)
        log_group = logs.LogGroup(
            scope, f"{id}Logs", retention=logs.RetentionDays.THREE_MONTHS, encryption_key=encryption.key
        )
        with_key = encryption.for_function(spec.permissions, keeps_unhandled=dead_letter_queue is not None)
        attach(role, [write_logs(log_group), *spec.permissions, *with_key])
        super().__init__(
            scope,
            id,
            description=spec.description,
            code=runtime.code,
            handler=f"{spec.module}.handler",
            runtime=runtime.python,
            architecture=runtime.architecture,
            layers=[runtime.layer],
            role=role,
            log_group=log_group,
            tracing=lambda_.Tracing.ACTIVE if spec.traced else lambda_.Tracing.DISABLED,
            timeout=cdk.Duration.seconds(spec.timeout_seconds),
            memory_size=spec.memory_mb,
            dead_letter_queue=dead_letter_queue,
            environment_encryption=encryption.key,
            environment=variables,
        )
        self.role_arn = role.role_arn


class BackgroundFunction(PipelineFunction):
    """A function that is called asynchronously; its queue ``unhandled`` keeps failed events for 14 days."""

    def __init__(self, scope: Construct, id: str, spec: FunctionSpec, *, runtime: Runtime) -> None:
        key = runtime.encryption.key
        self.unhandled = sqs.Queue(
            scope,
            f"{id}Unhandled",
            encryption=sqs.QueueEncryption.KMS if key else sqs.QueueEncryption.SQS_MANAGED,
            encryption_master_key=key,
            enforce_ssl=True,
            retention_period=cdk.Duration.days(14),
        )
        super().__init__(scope, id, spec, runtime=runtime, dead_letter_queue=self.unhandled)
        for trigger in spec.triggers:
            target = targets.LambdaFunction(
                self,
                dead_letter_queue=self.unhandled,  # for what EventBridge could not deliver within a day
                event=None if trigger.event is None else events.RuleTargetInput.from_object(trigger.event),
                retry_attempts=185,
                max_event_age=cdk.Duration.hours(24),
            )
            events.Rule(
                self,
                trigger.id,
                description=trigger.description,
                event_pattern=trigger.pattern,
                schedule=trigger.schedule,
                targets=[target],
            )
