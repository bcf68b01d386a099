"""Constructs for Lambda functions: code, layer, role, log group, dead-letter queue and triggers."""

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
PAGES = CODE.parent / "web"


def package(folder: Path) -> None:
    """Write the functions' code to ``folder``, with the labelling page and the API's description in JSON."""
    not_code = shutil.ignore_patterns("__pycache__", "requirements-*.txt", SOURCE.name)
    shutil.copytree(CODE, folder, ignore=not_code, dirs_exist_ok=True)
    shutil.copytree(PAGES, folder / PAGES.name, dirs_exist_ok=True)
    (folder / "api" / "openapi.json").write_text(Description.read().as_json(), encoding="utf-8")


class LayerMissingError(FileNotFoundError):
    """A folder with the functions' libraries does not exist."""


class Runtime(Construct):
    """What all functions share: code, layers with libraries, Python version, processor architecture, encryption.

    All functions have the layer ``base``. The layer ``vision`` has OpenCV and NumPy, which are three times as large.
    """

    python = lambda_.Runtime.PYTHON_3_14
    architecture = lambda_.Architecture.ARM_64

    def __init__(self, scope: Construct, id: str, *, layers: Path, encryption: Encryption) -> None:
        """``layers`` has a folder for each layer, with the installed libraries in ``python/``.

        Raises:
            LayerMissingError: ``layers`` lacks a folder.
        """
        super().__init__(scope, id)
        self.encryption = encryption
        # The folder is in the assembly, because the CDK may be configured not to copy assets.
        folder = Path(cast(cdk.App, self.node.root).outdir, "functions")
        package(folder)
        self.code = lambda_.Code.from_asset(str(folder))
        self.base = self._layer("Libraries", layers / "base")
        self.vision = self._layer("VisionLibraries", layers / "vision")

    def _layer(self, id: str, folder: Path) -> lambda_.LayerVersion:
        requirements = f"lambdas/requirements-{folder.name}.txt"
        if not (folder / "python").is_dir():
            raise LayerMissingError(
                f"The functions' libraries are missing: the folder {folder / 'python'} does not exist. Run 'make "
                f"synth', which installs {requirements} in it."
            )
        return lambda_.LayerVersion(
            self,
            id,
            code=lambda_.Code.from_asset(str(folder), exclude=["__pycache__"], ignore_mode=cdk.IgnoreMode.GIT),
            description=f"The libraries of {requirements}.",
            compatible_runtimes=[self.python],
            compatible_architectures=[self.architecture],
        )


ENVIRONMENT_BYTES = 4096
"""The limit of all names and values of a function's environment variables. Source: Lambda guide, 'Lambda quotas'."""


def longest_value(value: Any, stack_name: str) -> int:
    """Return an upper bound, in bytes, of a variable's value. ``value`` is that value in the template.

    CloudFormation replaces a reference with a name or an ARN. It consists of the stack's name, the resource's logical
    id and a suffix.
    """
    match value:
        case str():
            return len(value.encode())
        case {"Fn::Join": [separator, parts]}:
            return sum(longest_value(part, stack_name) + len(separator) for part in parts)
    return len("arn:aws-us-gov:sns:us-gov-west-1:123456789012:") + len(stack_name) + 60


def check_environment(name: str, variables: Mapping[str, Any], stack: cdk.Stack) -> None:
    """With `documentTypes`, `webOrigins` and `tags`, no function's environment exceeds Lambda's 4,096 bytes."""
    values = stack.resolve(variables)
    sizes = {key: longest_value(value, stack.stack_name) for key, value in values.items()}
    total = sum(sizes.values()) + sum(map(len, sizes))
    if total <= ENVIRONMENT_BYTES:
        return
    longest = sorted(sizes, key=lambda key: -sizes[key])[:2]
    raise SettingsError(
        f"The environment of the function {name} may have {total:,} bytes; Lambda allows {ENVIRONMENT_BYTES:,}. The "
        f"largest variables are {' and '.join(f'{key} ({sizes[key]:,})' for key in longest)}. Shorten the settings "
        "documentTypes, webOrigins or tags."
    )


@dataclass(frozen=True)
class Trigger:
    """An EventBridge rule that invokes a function, by ``pattern`` or by ``schedule``.

    The function receives ``event``, or the original event if it is None.
    """

    id: str
    description: str
    pattern: events.EventPattern | None = None
    schedule: events.Schedule | None = None
    event: Mapping[str, Any] | None = None


ONE_THREAD = {"OPENBLAS_NUM_THREADS": "1"}
"""NumPy's library starts a thread for each processor of the host. They wait for each other at small matrices."""


@dataclass(frozen=True)
class FunctionSpec:
    """The properties of a function.

    ``module``, in ``lambdas/``, has the function ``handler``. ``environment`` has the fields of the handler's Settings:
    text, numbers, booleans, lists and mappings. ``uses_vision``: the function uses NumPy or OpenCV.
    """

    module: str
    description: str
    environment: Mapping[str, Any]
    permissions: Sequence[iam.PolicyStatement]
    timeout_seconds: int = 60
    memory_mb: int = 256
    traced: bool = True
    uses_vision: bool = False
    triggers: Sequence[Trigger] = ()


def as_variable(value: Any) -> str:
    """Return the value as text, in the form that `pipeline.settings` reads: ``a,b`` and ``key=value,...``."""
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
    """A function with its own role and log group."""

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
            SettingsError: the environment variables exceed Lambda's limit.
        """
        stack, encryption = cdk.Stack.of(scope), runtime.encryption
        role = iam.Role(scope, f"{id}Role", assumed_by=iam.ServicePrincipal("lambda.amazonaws.com"))
        variables = {
            "POWERTOOLS_SERVICE_NAME": id,
            "POWERTOOLS_METRICS_NAMESPACE": stack.stack_name,
            "POWERTOOLS_LOG_LEVEL": "INFO",
            **(ONE_THREAD if spec.uses_vision else {}),
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
            layers=[runtime.base, runtime.vision] if spec.uses_vision else [runtime.base],
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
    """A function that is invoked asynchronously. Its queue ``unhandled`` keeps failed events for 14 days."""

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
                dead_letter_queue=self.unhandled,  # for events that EventBridge cannot deliver within a day
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
