"""Patches moto's Step Functions API: start, stop, redrive, task tokens, history, events, deployment."""

from __future__ import annotations

import datetime
import json
import re
import threading
import uuid
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from moto.cloudformation.exceptions import ValidationError
from moto.core.exceptions import AWSError
from moto.core.responses import ActionResult, EmptyResult
from moto.stepfunctions import models, responses
from moto.stepfunctions.exceptions import InvalidName
from moto.stepfunctions.parser import api
from moto.stepfunctions.parser.api import ExecutionStatus
from moto.stepfunctions.parser.asl.eval.callback import callback
from moto.stepfunctions.parser.asl.eval.environment import Environment
from moto.stepfunctions.parser.asl.eval.event.event_detail import EventDetails
from moto.stepfunctions.parser.asl.eval.event.event_manager import EventHistoryContext
from moto.stepfunctions.parser.asl.eval.program_state import ProgramEnded, ProgramError, ProgramStopped
from moto.stepfunctions.parser.asl.parse.asl_parser import AmazonStateLanguageParser
from moto.stepfunctions.parser.asl.utils.encoding import to_json_str
from moto.stepfunctions.parser.backend.execution import Execution
from moto.stepfunctions.parser.backend.execution_worker import ExecutionWorker
from moto.stepfunctions.parser.models import StepFunctionsParserBackend, stepfunctions_parser_backends

from ekyc.localaws import aws
from ekyc.localaws.clock import clock
from ekyc.localaws.moto_patches import asl, page_tokens, state_machines
from ekyc.localaws.moto_patches.border import add, replace
from ekyc.localaws.services import events

NAME_LIMIT = 80
LIST_PAGE = 100  # the default of maxResults in ListExecutions and ListStateMachines
LONGEST_PAGE = 1000
# Limits of a redrive. Source: Step Functions guide, "Restarting state machine executions with redrive".
REDRIVE_PERIOD = datetime.timedelta(days=14)
REDRIVE_EVENTS = 24_999
REDRIVABLE = (ExecutionStatus.FAILED, ExecutionStatus.ABORTED, ExecutionStatus.TIMED_OUT)
_FORBIDDEN_IN_NAMES = re.compile(r"[\s?*<>{}\[\]\"#%\\^|~`$&,;:/\x00-\x1f\x7f-\x9f]")

# One lock is enough for all starts and ends of executions, because they are short.
_executions_lock = threading.RLock()


def patch() -> None:
    """Patch moto's Step Functions, once per process."""
    _fix_executions()
    _fix_tokens()
    _fix_answers()
    _fix_deployment()


def abandon_executions() -> None:
    """End every running execution without an event: the local AWS stops or is reset."""
    running = [
        execution
        for backends in list(stepfunctions_parser_backends.values())
        for backend in list(backends.values())
        for execution in _executions(backend)
        if execution.exec_worker and execution.exec_status == ExecutionStatus.RUNNING
    ]
    for execution in running:
        execution.exec_status = ExecutionStatus.ABORTED
    for execution in running:
        execution.exec_worker.env.set_stop(_now(), None, None)


def age(execution_arn: str, by: datetime.timedelta) -> None:
    """For tests: move the start and end of an ended execution into the past, by ``by``."""
    for execution in _executions(stepfunctions_parser_backends[aws.account][aws.region]):
        if execution.exec_arn == execution_arn:
            execution.start_date -= by
            execution.stop_date -= by


def _executions(backend: Any) -> list[Any]:
    """Every execution, the children of Map Runs too."""
    return [
        one
        for machine in list(backend.state_machines)
        for execution in list(machine.executions)
        for one in _with_children(execution)
    ]


def _with_children(execution: Any) -> Iterator[Any]:
    yield execution
    for run in _map_runs(execution):
        for child in list(run.children):
            yield from _with_children(child)


def _map_runs(execution: Any) -> list[Any]:
    return execution.exec_worker.env.map_run_record_pool_manager.get_all() if execution.exec_worker else []


# --- Start, end, redrive ---------------------------------------------------------------------------------------------


def _fix_executions() -> None:
    start_execution = StepFunctionsParserBackend.start_execution

    # moto names an execution without a name "None", accepts any name, and starts two executions for two concurrent
    # calls.
    def start_named(
        self: StepFunctionsParserBackend,
        state_machine_arn: str,
        name: str | None = None,
        execution_input: str = "{}",
        trace_header: str | None = None,
    ) -> Execution:
        _check_input(execution_input)
        name = name or str(uuid.uuid4())
        if len(name) > NAME_LIMIT or _FORBIDDEN_IN_NAMES.search(name):
            raise InvalidName(f"Invalid Name: '{name}'")
        with _executions_lock:
            return start_execution(self, state_machine_arn, name, execution_input, trace_header)

    replace(StepFunctionsParserBackend, "start_execution", start_named)

    # moto does not find the children of a Map Run.
    describe = StepFunctionsParserBackend.describe_execution

    def describe_execution(self: StepFunctionsParserBackend, execution_arn: str) -> Execution:
        matching = (item for item in _executions(self) if item.exec_arn == execution_arn)
        return next(matching, None) or describe(self, execution_arn)

    replace(StepFunctionsParserBackend, "describe_execution", describe_execution)

    # moto creates the environment in the execution's own thread; until then, SendTask… and StopExecution return 500.
    replace(Execution, "start", _start)
    replace(Execution, "stop", _stop)


def _start(execution: Execution) -> None:
    execution.start_date = _now()
    execution.redrive_count = 0
    execution.redrive_date = None
    execution.__dict__.setdefault("map_run", None)  # a child has it before it starts
    execution.exec_worker = execution._get_start_execution_worker()
    execution.exec_status = ExecutionStatus.RUNNING
    worker = execution.exec_worker
    worker.env = worker._get_evaluation_environment()
    _tell_context(worker.env, execution)
    program = AmazonStateLanguageParser.parse(execution.state_machine.definition)[0]
    worker.env.next_state_name = program.start_at.start_at_name
    worker.env.event_manager.add_event(
        worker.env.event_history_context,
        api.HistoryEventType.ExecutionStarted,
        EventDetails(
            executionStartedEventDetails=api.ExecutionStartedEventDetails(
                input=to_json_str(execution.input_data, separators=(",", ":")),
                inputDetails=api.HistoryEventExecutionDataDetails(truncated=False),
                roleArn=execution.role_arn,
            )
        ),
        update_source_event_id=False,
    )
    _emit_status_change(execution)
    _run(execution, program)


def _stop(execution: Execution, stop_date: datetime.datetime, error: str | None, cause: str | None) -> None:
    env = execution.exec_worker.env
    env.set_stop(stop_date, cause, error)
    _finish(execution, env)


def _check_input(text: str) -> None:
    """Raise InvalidExecutionInput unless the text is a JSON value, as recorded on AWS."""
    try:
        _parse(text)
    except ValueError as error:
        reason = str(error) if text.strip() else "Invalid execution input."
        raise AWSError(f"Invalid State Machine Execution Input: '{reason}'", "InvalidExecutionInput", 400) from error


def _parse(text: str) -> Any:
    """The value of a JSON text.

    Raises ValueError, also for NaN and Infinity, which Python accepts but JSON does not.
    """

    def refuse(constant: str) -> Any:
        raise ValueError(f"Non-standard token '{constant}'")

    return json.loads(text, parse_constant=refuse)


def _run(execution: Any, program: Any) -> None:
    env = execution.exec_worker.env

    def evaluate() -> None:
        program.eval(env)
        _finish(execution, env)

    clock.background(evaluate).name = f"execution {execution.name}"


def _finish(execution: Any, env: Environment) -> None:
    """Record the end of a run in the execution and send an event, once."""
    with _executions_lock:
        if execution.exec_worker.env is not env or execution.exec_status != ExecutionStatus.RUNNING:
            return
        state = env.program_state()
        execution.stop_date = _now()
        # The status comes last: others look at it without the lock, and then at the rest.
        if isinstance(state, ProgramEnded):
            execution.output = env.states.get_input()
            execution.exec_status = ExecutionStatus.SUCCEEDED
        elif isinstance(state, ProgramStopped):
            execution.error, execution.cause = state.error, state.cause
            execution.exec_status = ExecutionStatus.ABORTED
        elif isinstance(state, ProgramError):
            execution.error, execution.cause = (state.error or {}).get("error"), (state.error or {}).get("cause")
            execution.exec_status = ExecutionStatus.FAILED
        else:
            execution.exec_status = ExecutionStatus.TIMED_OUT  # without an error, as recorded on AWS
    _emit_status_change(execution)
    if execution.map_run:
        execution.map_run.changed.set()


def _redrive(execution: Any, client_token: str | None) -> datetime.datetime:
    """Resume at the state that failed or was stopped; earlier results are kept.

    AWS does not document whether the history has a second entry into that state. Here it has.
    Source: Step Functions guide, "Restarting state machine executions with redrive".
    """
    with _executions_lock:
        tokens = execution.__dict__.setdefault("redrive_tokens", {})
        if client_token in tokens:
            return tokens[client_token]
        reason = why_not_redrivable(execution)
        if execution.map_run:
            reason = "A child of a Map Run is redriven by its Map Run: redrive the parent execution"
        if reason:
            raise AWSError(reason, "ExecutionNotRedrivable", 400)
        redrive_date = restart(execution)
        if client_token:
            tokens[client_token] = redrive_date
        return redrive_date


def restart(execution: Any) -> datetime.datetime:
    """Redrive an execution that is redrivable."""
    before = execution.exec_worker.env
    execution.redrive_count += 1
    execution.redrive_date = _now()
    execution.exec_status = ExecutionStatus.RUNNING
    execution.stop_date = execution.error = execution.cause = execution.output = None
    worker: ExecutionWorker = execution._get_start_execution_worker()
    env = worker.env = worker._get_evaluation_environment()
    # Its Map Runs stay in ListMapRuns. The failed one is redriven.
    env.map_run_record_pool_manager = before.map_run_record_pool_manager
    execution.exec_worker = worker
    _tell_context(env, execution)
    history = before.event_manager.get_event_history()
    env.event_manager._history_event_list.extend(history)
    env.event_manager._event_id_gen._next_id = len(history) + 1
    env.event_history_context = EventHistoryContext(previous_event_id=len(history))
    # Earlier tokens must still be found, although their tasks have ended.
    env.callback_pool_manager._pool.update(before.callback_pool_manager._pool)
    program = AmazonStateLanguageParser.parse(execution.state_machine.definition)[0]
    checkpoint = getattr(before, "checkpoint", None)
    if checkpoint is None:
        env.next_state_name = program.start_at.start_at_name
    else:
        env.next_state_name = checkpoint.state_name
        env.states.reset(checkpoint.state_input)
        env.variable_store = checkpoint.variables
        env.map_run_record_pool_manager.redriven = _unfinished_map_run(execution, checkpoint.state_name)
    env.event_manager.add_event(
        env.event_history_context,
        api.HistoryEventType.ExecutionRedriven,
        EventDetails(executionRedrivenEventDetails={"redriveCount": execution.redrive_count}),
    )
    _emit_status_change(execution)
    _run(execution, program)
    return execution.redrive_date


def _unfinished_map_run(execution: Any, state_name: str) -> Any:
    """The Map Run of a Map state that ended unsuccessfully, or None. A redrive starts a new Map Run if the earlier one
    had started no child (guide, "Redriving Map Runs")."""
    run = next(reversed(_map_runs(execution)), None)
    is_unfinished = run and run.state_name == state_name and run.children and run.status != api.MapRunStatus.SUCCEEDED
    return run if is_unfinished else None


def _tell_context(env: Environment, execution: Any) -> None:
    """Set the members of the context object that moto lacks or formats differently.

    Source: Step Functions guide, "Accessing execution data from the Context object".
    """
    data: dict[str, Any] = env.states.context_object.context_object_data["Execution"]
    data["StartTime"] = asl.iso(execution.start_date)
    data["RedriveCount"] = execution.redrive_count
    if execution.redrive_date:
        data["RedriveTime"] = asl.iso(execution.redrive_date)


# --- Events ----------------------------------------------------------------------------------------------------------


def _emit_status_change(execution: Any) -> None:
    """Send the status event, which moto does not.

    Source: Step Functions guide, "Automating Step Functions event delivery with EventBridge".
    """
    has_output = execution.exec_status == ExecutionStatus.SUCCEEDED
    detail = {
        "executionArn": execution.exec_arn,
        "stateMachineArn": execution.state_machine.arn,
        "stateMachineVersionArn": None,
        "stateMachineAliasArn": None,
        "name": execution.name,
        "status": execution.status,
        "startDate": _milliseconds(execution.start_date),
        "stopDate": _milliseconds(execution.stop_date) if execution.stop_date else None,
        "input": execution.execution_input,
        "inputDetails": {"included": True},
        "output": json.dumps(execution.output, separators=(",", ":")) if has_output else None,
        "outputDetails": {"included": True} if has_output else None,
        "error": execution.error,
        "cause": execution.cause,
        "redriveCount": execution.redrive_count,
        "redriveDate": _milliseconds(execution.redrive_date) if execution.redrive_date else None,
        **_redrive_status(execution),
    }
    events.emit("aws.states", "Step Functions Execution Status Change", [execution.exec_arn], detail)


def _redrive_status(execution: Any) -> dict[str, str | None]:
    reason = why_not_redrivable(execution)
    redrivable = "REDRIVABLE_BY_MAP_RUN" if execution.map_run else "REDRIVABLE"
    return {"redriveStatus": "NOT_REDRIVABLE" if reason else redrivable, "redriveStatusReason": reason}


def why_not_redrivable(execution: Any) -> str | None:
    """Why the execution cannot be redriven, in AWS's words, or None. Source: Step Functions API, DescribeExecution."""
    if execution.exec_status not in REDRIVABLE:
        return f"Execution is {execution.status} and cannot be redriven"
    if _now() - execution.stop_date > REDRIVE_PERIOD:
        return "Execution redrivable period exceeded"
    if len(execution.exec_worker.env.event_manager._history_event_list) >= REDRIVE_EVENTS:
        return "Execution history event limit exceeded"
    return None


# --- Task tokens -----------------------------------------------------------------------------------------------------


def _fix_tokens() -> None:
    # moto drops the cause of a failure, forgets a token when its execution ends (AWS returns TaskTimedOut), and accepts
    # second answers and outputs that are not JSON.
    def success(self: Any, task_token: str, outcome: str) -> None:
        try:
            _parse(outcome)
        except ValueError as error:
            raise AWSError(f"Invalid Output: '{error}'", "InvalidOutput", 400) from error
        _answer(self, task_token, callback.CallbackOutcomeSuccess(callback_id=task_token, output=outcome))

    def failure(self: Any, task_token: str, error: str | None = None, cause: str | None = None) -> None:
        _answer(self, task_token, callback.CallbackOutcomeFailure(callback_id=task_token, error=error, cause=cause))

    def heartbeat(self: Any, task_token: str) -> None:
        _with_endpoint(self, task_token, lambda endpoint: endpoint.heartbeat())

    replace(StepFunctionsParserBackend, "send_task_success", success)
    replace(StepFunctionsParserBackend, "send_task_failure", failure)
    replace(StepFunctionsParserBackend, "send_task_heartbeat", heartbeat)


def _answer(backend: Any, task_token: str, outcome: callback.CallbackOutcome) -> None:
    _with_endpoint(backend, task_token, lambda endpoint: endpoint.answer(outcome))


def _with_endpoint(backend: Any, task_token: str, tell: Any) -> None:
    for execution in _executions(backend):
        endpoint = execution.exec_worker.env.callback_pool_manager.get(task_token) if execution.exec_worker else None
        if endpoint is None:
            continue
        try:
            tell(endpoint)
        except asl.TaskClosedError as error:
            message = "Task Timed Out: 'Provided task does not exist anymore'"
            raise AWSError(message, "TaskTimedOut", 400) from error
        return
    raise AWSError("Invalid Token: 'Invalid token'", "InvalidToken", 400)


# --- Responses of the API --------------------------------------------------------------------------------------------


def _fix_answers() -> None:
    # moto's responses lack stop dates, redrive members, error and cause of a stop, and pages of the history. Its page
    # tokens are also valid for other lists.
    patches = (
        _describe_execution,
        _list_executions,
        _describe_map_run,
        _list_state_machines,
        _stop_execution,
        _get_execution_history,
        _send_task_failure,
    )
    for function in patches:
        replace(responses.StepFunctionResponse, function.__name__.removeprefix("_"), function)
    add(responses.StepFunctionResponse, "redrive_execution", _redrive_execution)


def _describe_execution(response: Any) -> ActionResult:
    return ActionResult(
        _description(response.stepfunction_backend.describe_execution(response._get_param("executionArn")))
    )


def _list_executions(response: Any) -> ActionResult:
    arn, executions = _asked_for(response)
    status = response._get_param("statusFilter")
    matching = [item for item in executions if status in (None, item.status)]
    matching.sort(key=lambda item: item.start_date, reverse=True)
    listed, next_token = _page(response, matching, lambda item: item.exec_arn, f"{arn} {status}")
    members = (
        "executionArn",
        "stateMachineArn",
        "name",
        "status",
        "startDate",
        "stopDate",
        "redriveCount",
        "redriveDate",
        "mapRunArn",
    )
    entries = [
        {name: value for name, value in _description(item).items() if name in members}
        | ({"itemCount": 1} if item.map_run else {})
        for item in listed
    ]
    return ActionResult({"executions": entries, "nextToken": next_token})


def _describe_map_run(response: Any) -> ActionResult:
    return ActionResult(_map_run(response).describe())


def _list_state_machines(response: Any) -> ActionResult:
    machines = sorted(response.stepfunction_backend.state_machines, key=lambda machine: machine.name)
    listed, next_token = _page(response, machines, lambda machine: machine.arn, "state machines")
    entries = [
        {
            "stateMachineArn": machine.arn,
            "name": machine.name,
            "type": machine.type,
            "creationDate": machine.creation_date,
        }
        for machine in listed
    ]
    return ActionResult({"stateMachines": entries, "nextToken": next_token})


def _stop_execution(response: Any) -> ActionResult:
    execution = response.stepfunction_backend.describe_execution(response._get_param("executionArn"))
    execution.stop(_now(), response._get_param("error"), response._get_param("cause"))
    return ActionResult({"stopDate": execution.stop_date})


def _redrive_execution(response: Any) -> ActionResult:
    execution = response.stepfunction_backend.describe_execution(response._get_param("executionArn"))
    return ActionResult({"redriveDate": _redrive(execution, response._get_param("clientToken"))})


def _get_execution_history(response: Any) -> str:
    execution = response.stepfunction_backend.describe_execution(response._get_param("executionArn"))
    manager = execution.exec_worker.env.event_manager
    with manager._mutex:  # moto makes a deep copy, which is not needed because events do not change
        history = list(manager._history_event_list)
    reverse = bool(response._get_param("reverseOrder"))
    if reverse:
        history.reverse()
    listing = f"{execution.exec_arn} {reverse}"
    listed, next_token = _page(response, history, lambda event: event["id"], listing, limit=LONGEST_PAGE)
    # moto's own serialization takes ten times as long, and the history is the most frequent call.
    answer: dict[str, Any] = {
        "events": [
            {**event, "timestamp": datetime.datetime.fromisoformat(event["timestamp"]).timestamp()} for event in listed
        ]
    }
    if next_token:
        answer["nextToken"] = next_token
    return json.dumps(answer)


def _send_task_failure(response: Any) -> EmptyResult:
    response.stepfunction_backend.send_task_failure(
        response._get_param("taskToken"), error=response._get_param("error"), cause=response._get_param("cause")
    )
    return EmptyResult()


def _asked_for(response: Any) -> tuple[str, list[Any]]:
    """The executions of the state machine, or the children of the Map Run, that ListExecutions names. Raises
    StateMachineDoesNotExist, ResourceNotFound, StateMachineTypeNotSupported."""
    if arn := response._get_param("mapRunArn"):
        return arn, list(_map_run(response).children)
    machine = response.stepfunction_backend.describe_state_machine(response._get_param("stateMachineArn"))
    if machine.type == "EXPRESS":
        raise state_machines.not_supported()
    return machine.arn, list(machine.executions)


def _map_run(response: Any) -> Any:
    """Raises ResourceNotFound."""
    arn, executions = response._get_param("mapRunArn"), _executions(response.stepfunction_backend)
    found = (run for execution in executions for run in _map_runs(execution) if run.map_run_arn == arn)
    if run := next(found, None):
        return run
    raise api.ResourceNotFound(f"Resource not found: '{arn}'")


def _description(execution: Any) -> dict[str, Any]:
    """The response of DescribeExecution."""
    description = {
        "executionArn": execution.exec_arn,
        "stateMachineArn": execution.state_machine.arn,
        "name": execution.name,
        "status": execution.status,
        "startDate": execution.start_date,
        "stopDate": execution.stop_date,
        "input": execution.execution_input,
        "inputDetails": {"included": True},
        "error": execution.error,
        "cause": execution.cause,
        "redriveCount": execution.redrive_count,
        "redriveDate": execution.redrive_date,
        "mapRunArn": execution.map_run.map_run_arn if execution.map_run else None,
        **_redrive_status(execution),
    }
    if execution.exec_status == ExecutionStatus.SUCCEEDED:
        description["output"] = json.dumps(execution.output, separators=(",", ":"))
        description["outputDetails"] = {"included": True}
    return {name: value for name, value in description.items() if value is not None}


def _page(
    response: Any, items: list[Any], key: Callable[[Any], Any], listing: str, *, limit: int = LIST_PAGE
) -> tuple[Sequence[Any], str | None]:
    """The requested page and the token of the next one. Raises InvalidToken."""
    most = min(response._get_int_param("maxResults") or limit, LONGEST_PAGE)
    try:
        return page_tokens.page(items, key, most, response._get_param("nextToken"), listing)
    except page_tokens.PageTokenError as error:
        raise AWSError("Invalid Token: 'Invalid token'", "InvalidToken", 400) from error


# --- Deployment ------------------------------------------------------------------------------------------------------


def _fix_deployment() -> None:
    # moto's CloudFormation creates state machines in a backend that runs no executions. It does not support definition
    # substitutions, definitions in S3, or definitions as objects.
    replace(models, "stepfunctions_backends", stepfunctions_parser_backends)

    def create(
        _cls: type, /, resource_name: str, cloudformation_json: Any, account_id: str, region_name: str, **_kwargs: Any
    ) -> Any:
        properties = cloudformation_json["Properties"]
        try:
            return stepfunctions_parser_backends[account_id][region_name].create_state_machine(
                name=properties.get("StateMachineName", resource_name),
                definition=_definition(properties),
                roleArn=properties.get("RoleArn", ""),
                sm_type=properties.get("StateMachineType", "STANDARD"),
            )
        except api.InvalidDefinition as error:
            raise ValidationError(message=f"State machine {resource_name} is not valid: {error}") from error

    replace(models.StateMachine, "create_from_cloudformation_json", classmethod(create))


def _definition(properties: dict[str, Any]) -> str:
    if "DefinitionS3Location" in properties:
        place = properties["DefinitionS3Location"]
        definition = aws.client("s3").get_object(Bucket=place["Bucket"], Key=place["Key"])["Body"].read().decode()
    else:
        definition = properties.get("DefinitionString") or json.dumps(properties["Definition"])
    for name, value in properties.get("DefinitionSubstitutions", {}).items():
        definition = definition.replace("${" + name + "}", str(value))
    return definition


def _now() -> datetime.datetime:
    return clock.utc()


def _milliseconds(time: datetime.datetime) -> int:
    return int(time.timestamp() * 1000)
