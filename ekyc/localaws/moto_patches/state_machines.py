"""Patches moto's Step Functions: creation, update and description of state machines, and error names."""

from __future__ import annotations

import uuid
from typing import Any

from moto.core.exceptions import AWSError
from moto.core.responses import ActionResult
from moto.stepfunctions import models, responses
from moto.stepfunctions.parser import api
from moto.stepfunctions.parser.models import StepFunctionsParserBackend

from ekyc.localaws.clock import clock
from ekyc.localaws.moto_patches.border import add, replace

# CreateStateMachine is idempotent if the name and these members are equal. Source: Step Functions API reference.
COMPARED = ("definition", "type", "loggingConfiguration", "tracingConfiguration", "encryptionConfiguration")
# UpdateStateMachine creates a new revision if one of these changes.
REVISED = ("definition", "roleArn", "loggingConfiguration", "tracingConfiguration", "encryptionConfiguration")
LOGGING_OFF = {"level": "OFF", "includeExecutionData": False}


def patch() -> None:
    """Patch moto's state machines, once per process."""
    _name_errors()
    _patch_definitions()
    _patch_configurations()
    _patch_creation()
    _patch_revisions()
    _patch_descriptions()
    _patch_types()


def not_supported() -> AWSError:
    """The error for a state machine of the wrong type, STANDARD or EXPRESS."""
    return AWSError("This operation is not supported by this type of state machine", "StateMachineTypeNotSupported")


def _name_errors() -> None:
    # moto's engine has the right code on each error class, but responds with another one.
    errors: list[Any] = [
        value for value in vars(api).values() if isinstance(value, type) and issubclass(value, AWSError)
    ]
    for error in errors:
        if isinstance(error.code, str):
            replace(error, "TYPE", error.code)
            replace(error, "STATUS", error.status_code)


def _patch_definitions() -> None:
    # moto returns the message of its parser, without AWS's words around it.
    validate = StepFunctionsParserBackend._validate_definition

    def validate_in_words(definition: str) -> None:
        try:
            validate(definition)
        except api.InvalidDefinition as error:
            words = f"Invalid State Machine Definition: 'SCHEMA_VALIDATION_FAILED: {error.message}'"
            raise api.InvalidDefinition(words) from error

    replace(StepFunctionsParserBackend, "_validate_definition", staticmethod(validate_in_words))


def _patch_configurations() -> None:
    # moto adds an encryption configuration, and omits a member of the logging configuration.
    initialize = models.StateMachineInstance.__init__

    def initialize_as_aws(self: Any, *args: Any, **kwargs: Any) -> None:
        initialize(self, *args, **kwargs)
        self.encryptionConfiguration = kwargs.get("encryptionConfiguration")
        self.loggingConfiguration = LOGGING_OFF | self.loggingConfiguration
        self.revision_id = None

    replace(models.StateMachineInstance, "__init__", initialize_as_aws)


def _patch_creation() -> None:
    # moto returns any existing state machine with that name, even if the request differs.
    create = StepFunctionsParserBackend.create_state_machine

    def create_once(self: Any, name: str, definition: str, roleArn: str, **given: Any) -> Any:  # noqa: N803
        existing = self._revision_by_name(name)
        machine = create(self, name=name, definition=definition, roleArn=roleArn, **given)
        if machine is existing:
            wanted = {
                "definition": definition,
                "type": given.get("sm_type") or "STANDARD",
                "loggingConfiguration": LOGGING_OFF | (given.get("loggingConfiguration") or {}),
                "tracingConfiguration": given.get("tracingConfiguration") or {"enabled": False},
                "encryptionConfiguration": given.get("encryptionConfiguration"),
            }
            if any(getattr(existing, name) != wanted[name] for name in COMPARED):
                raise AWSError(f"State Machine Already Exists: '{existing.arn}'", "StateMachineAlreadyExists")
        return machine

    replace(StepFunctionsParserBackend, "create_state_machine", create_once)


def _patch_revisions() -> None:
    # moto has no revisions.
    update = models.StateMachine.update

    def update_and_revise(self: Any, **changes: Any) -> None:
        before = [getattr(self, name) for name in REVISED]
        update(self, **changes)
        self.loggingConfiguration = LOGGING_OFF | self.loggingConfiguration
        self.update_date = clock.utc()
        if before != [getattr(self, name) for name in REVISED]:
            self.revision_id = str(uuid.uuid4())

    def update_state_machine(self: Any) -> ActionResult:
        answer = update_answer(self)
        machine = self.stepfunction_backend.describe_state_machine(self._get_param("stateMachineArn"))
        return ActionResult(_without_none({**answer.result, "revisionId": machine.revision_id}))

    update_answer = responses.StepFunctionResponse.update_state_machine
    replace(models.StateMachine, "update", update_and_revise)
    replace(responses.StepFunctionResponse, "update_state_machine", update_state_machine)


def _patch_descriptions() -> None:
    def describe_state_machine(self: Any) -> ActionResult:
        machine = self.stepfunction_backend.describe_state_machine(self._get_param("stateMachineArn"))
        own = {"creationDate": machine.creation_date, "status": "ACTIVE", "type": machine.type}
        return ActionResult(_without_none({**_description(machine), **own, "description": machine.description}))

    # moto describes the current state machine; AWS describes it as it was at the start of the execution.
    def describe_state_machine_for_execution(self: Any) -> ActionResult:
        execution = self.stepfunction_backend.describe_execution(self._get_param("executionArn"))
        machine, run = execution.state_machine, execution.map_run
        of_child = {"mapRunArn": run.map_run_arn, "label": run.label} if run else {}
        return ActionResult(_without_none({**_description(machine), **of_child, "updateDate": machine.update_date}))

    for describe in (describe_state_machine, describe_state_machine_for_execution):
        replace(responses.StepFunctionResponse, describe.__name__, describe)


def _description(machine: Any) -> dict[str, Any]:
    return {
        "stateMachineArn": machine.arn,
        "name": machine.name,
        "definition": machine.definition,
        "roleArn": machine.roleArn,
        "loggingConfiguration": machine.loggingConfiguration,
        "tracingConfiguration": machine.tracingConfiguration,
        "encryptionConfiguration": machine.encryptionConfiguration,
        "revisionId": machine.revision_id,
    }


def _without_none(members: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in members.items() if value is not None}


def _patch_types() -> None:
    # moto has no StartSyncExecution. On AWS, EXPRESS state machines support it; the local AWS has none.
    def start_sync_execution(self: Any) -> ActionResult:
        machine = self.stepfunction_backend.describe_state_machine(self._get_param("stateMachineArn"))
        if machine.type == "STANDARD":
            raise not_supported()
        raise AWSError("The local AWS does not support EXPRESS state machines.", "StateMachineTypeNotSupported")

    add(responses.StepFunctionResponse, "start_sync_execution", start_sync_execution)
