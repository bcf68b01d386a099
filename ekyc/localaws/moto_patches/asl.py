"""Fixes moto's Amazon States Language engine: its clock, JSONata, task tokens, and the end of executions.

A comment in each `_fix_…` function says what moto lacks. `tests/localaws/test_stepfunctions.py` has a test for each.
"""

from __future__ import annotations

import concurrent.futures
import contextlib
import copy
import dataclasses
import datetime
import functools
import json
import re
import threading
import uuid
from collections.abc import Callable
from typing import Any

import botocore.session
from botocore.exceptions import ClientError
from botocore.model import StructureShape
from jsonata.jexception import JException
from jsonata.jsonata import Jsonata
from jsonata.timebox import Timebox
from moto.stepfunctions.parser import api
from moto.stepfunctions.parser.asl.component.common.error_name.error_name import ErrorName
from moto.stepfunctions.parser.asl.component.common.error_name.failure_event import FailureEvent, FailureEventException
from moto.stepfunctions.parser.asl.component.common.error_name.states_error_name import StatesErrorName
from moto.stepfunctions.parser.asl.component.common.error_name.states_error_name_type import StatesErrorNameType
from moto.stepfunctions.parser.asl.component.common.retry import retrier_decl
from moto.stepfunctions.parser.asl.component.common.retry.max_attempts_decl import MaxAttemptsOutcome
from moto.stepfunctions.parser.asl.component.common.retry.retrier_outcome import RetrierOutcome
from moto.stepfunctions.parser.asl.component.common.string import string_expression
from moto.stepfunctions.parser.asl.component.common.timeouts.timeout import EvalTimeoutError
from moto.stepfunctions.parser.asl.component.eval_component import EvalComponent
from moto.stepfunctions.parser.asl.component.program.program import Program
from moto.stepfunctions.parser.asl.component.state import state
from moto.stepfunctions.parser.asl.component.state.exec.execute_state import ExecutionState
from moto.stepfunctions.parser.asl.component.state.exec.state_map.iteration.job import JobPool
from moto.stepfunctions.parser.asl.component.state.exec.state_parallel.branches_decl import BranchWorkerPool
from moto.stepfunctions.parser.asl.component.state.exec.state_task import lambda_eval_utils
from moto.stepfunctions.parser.asl.component.state.exec.state_task.service.resource import ResourceCondition
from moto.stepfunctions.parser.asl.component.state.exec.state_task.service.state_task_service_aws_sdk import (
    StateTaskServiceAwsSdk,
)
from moto.stepfunctions.parser.asl.component.state.exec.state_task.service.state_task_service_callback import (
    StateTaskServiceCallback,
)
from moto.stepfunctions.parser.asl.component.state.exec.state_task.service.state_task_service_lambda import (
    StateTaskServiceLambda,
)
from moto.stepfunctions.parser.asl.component.state.wait.wait_function.wait_function import WaitFunction
from moto.stepfunctions.parser.asl.eval import states, variable_store
from moto.stepfunctions.parser.asl.eval.callback import callback
from moto.stepfunctions.parser.asl.eval.environment import Environment
from moto.stepfunctions.parser.asl.eval.event.event_detail import EventDetails
from moto.stepfunctions.parser.asl.eval.event.event_manager import EventHistoryContext, EventManager
from moto.stepfunctions.parser.asl.eval.program_state import (
    ProgramEnded,
    ProgramError,
    ProgramRunning,
    ProgramState,
    ProgramStopped,
    ProgramTimedOut,
)
from moto.stepfunctions.parser.asl.jsonata import jsonata as moto_jsonata
from moto.stepfunctions.parser.asl.parse.asl_parser import AmazonStateLanguageParser

from ekyc.localaws import aws
from ekyc.localaws.clock import Interrupted, Signal, clock
from ekyc.localaws.iam import guard
from ekyc.localaws.iam.policies import Need
from ekyc.localaws.moto_patches.border import replace

# The last event must be the one that ends the execution.
# Source: Step Functions quotas, "Quotas related to state machine executions".
MAX_HISTORY_EVENTS = 25_000
FULL_HISTORY = api.ExecutionFailedEventDetails(
    error="States.Runtime", cause=f"The execution reached the maximum number of history events ({MAX_HISTORY_EVENTS})."
)


def patch() -> None:
    """Patch the engine, once per process."""
    _fix_jsonata()
    _fix_parser()
    _fix_clock()
    _fix_endings()
    _fix_history()
    _fix_waiting()
    _fix_task_attempts()
    _fix_tokens()
    _fix_sdk_arguments()
    _fix_lambda_results()
    _fix_context()
    _remember_checkpoints()


@dataclasses.dataclass(frozen=True)
class Checkpoint:
    """The point at which a redrive resumes: a top-level state, its input, and the variables on entry."""

    state_name: str
    state_input: Any
    variables: Any


# --- JSONata ---------------------------------------------------------------------------------------------------------


def evaluate_jsonata(expression: str) -> Any:
    """The JSON value of an expression; None for both null and undefined. Raises moto's JSONataException."""
    variables, own = _without_declarations(expression)
    try:
        # `evaluate` changes the object, so each thread needs a copy.
        parsed = copy.copy(_parsed(own))
        parsed.environment = parsed.create_frame(Jsonata.static_frame)
        Jsonata.CURRENT.jsonata = parsed
        result = parsed.evaluate(None, variables)
    except JException as error:
        raise moto_jsonata.JSONataException("UNKNOWN", str(error)) from error
    return _json_value(result)


_parsed = functools.lru_cache(512)(Jsonata)  # parsing takes far longer than evaluating


def _without_declarations(expression: str) -> tuple[dict[str, Any], str]:
    """Split off the variables that moto declares at the beginning of an expression, "($a:=1;$b:={};…".

    The rest of the expression is the same at every visit to a state, so its parsed form can be cached. moto also
    evaluates strings a second time, as "$type((…".
    """
    variables: dict[str, Any] = {}
    begin = end = begun.end() if (begun := _BEGINS.match(expression)) else 0
    while end and (declared := _DECLARED.match(expression, end)):
        try:
            value, after = _decoder.raw_decode(expression, declared.end())
        except ValueError:
            break
        if expression[after : after + 1] != ";":
            break
        variables[declared[1]] = value
        end = after + 1
    return variables, expression[:begin] + expression[end:]


_BEGINS = re.compile(r"(?:\$(?:type|exists)\()?\(")
_DECLARED = re.compile(r"\$(\w+):=")
_decoder = json.JSONDecoder()


def _json_value(value: Any) -> Any:
    """The value as JSON, with whole numbers as integers (30, not 30.0), as in JSONata."""
    if isinstance(value, dict):
        return {name: _json_value(item) for name, item in value.items()}
    if isinstance(value, (list, tuple, range)):
        return [_json_value(item) for item in value]
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return value


def _fix_jsonata() -> None:
    # moto evaluates JSONata in a Java virtual machine, which it does not include.
    replace(moto_jsonata, "_eval_jsonata", evaluate_jsonata)

    # moto quotes strings without escaping them, so a quote or line break in a variable breaks the expression.
    def declarations(bindings: dict[str, Any]) -> str:
        return "".join(f"{name}:={json.dumps(value, default=str)};" for name, value in bindings.items())

    for module in (moto_jsonata, states, variable_store):
        replace(module, "encode_jsonata_variable_declarations", declarations)

    def assigned_variables(self: Any) -> dict[str, str]:
        return {name: json.dumps(self.get(name), separators=(",", ":")) for name in sorted(self._declaration_tracing)}

    replace(variable_store.VariableStore, "get_assigned_variables", assigned_variables)

    # If an expression fails, moto reports States.Runtime without an event. AWS reports States.QueryEvaluationError.
    evaluate = string_expression.StringJSONata._eval_body

    def evaluate_or_fail(self: Any, env: Environment) -> None:
        try:
            evaluate(self, env)
        except moto_jsonata.JSONataException as error:
            name = StatesErrorName(typ=StatesErrorNameType.StatesQueryEvaluationError)
            cause = f"The JSONata expression '{self.expression}' failed: {error.details}"
            details = EventDetails(
                evaluationFailedEventDetails=api.EvaluationFailedEventDetails(error=name.error_name, cause=cause)
            )
            failure = FailureEventException(FailureEvent(env, name, api.HistoryEventType.EvaluationFailed, details))
            env.event_manager.add_event(
                env.event_history_context,
                api.HistoryEventType.EvaluationFailed,
                EventDetails(evaluationFailedEventDetails=failure.get_evaluation_failed_event_details()),
            )
            raise failure from error

    replace(string_expression.StringJSONata, "_eval_body", evaluate_or_fail)


def _fix_parser() -> None:
    # moto parses the definition for every execution, which takes longer than most executions. The parsed definition has
    # no state of an execution except these keys, which threads would set concurrently.
    replace(EvalComponent, "heap_key", property(lambda self: str(id(self))))
    replace(AmazonStateLanguageParser, "parse", staticmethod(functools.lru_cache(32)(AmazonStateLanguageParser.parse)))


# --- The clock -------------------------------------------------------------------------------------------------------


def _fix_clock() -> None:
    # moto's engine waits in real seconds.
    initialize = Environment.__init__

    def initialize_with_signal(self: Environment, *args: Any, **kwargs: Any) -> None:
        initialize(self, *args, **kwargs)
        self.program_state_event = Signal(clock)

    replace(Environment, "__init__", initialize_with_signal)
    replace(Timebox, "current_milli_time", staticmethod(lambda: round(clock.now() * 1000)))  # $now() and $millis()

    # A thread that waits for branches or iterations does not compute.
    def waiting_for_others(wait: Any) -> Any:
        def wait_for_others(self: Any) -> None:
            with clock.waiting_for_others():
                wait(self)

        return wait_for_others

    replace(BranchWorkerPool, "wait", waiting_for_others(BranchWorkerPool.wait))
    replace(JobPool, "await_jobs", waiting_for_others(JobPool.await_jobs))


# --- How an execution ends -------------------------------------------------------------------------------------------


def end(env: Environment, ending: ProgramState) -> None:
    """End a running execution, or one of its frames, at once.

    When this returns, the last event is in the history and no event is added after it. Waiting threads wake up and end.
    """
    with env._state_mutex:
        if not isinstance(env._program_state, ProgramRunning):
            return
        env._program_state = ending
        frames = list(env._frames)
        if not env.is_frame():
            for run in _map_runs_of(env):
                env.event_manager.add_event(
                    EventHistoryContext(previous_event_id=run.event_id), api.HistoryEventType.MapRunAborted
                )
            _add_last_event(env, ending)
        env.program_state_event.set()
    for frame in frames:
        end(frame, ending)
    if not env.is_frame():
        for endpoint in list(env.callback_pool_manager._pool.values()):
            endpoint.close()
        for run in _map_runs_of(env):
            run.set_stop(api.MapRunStatus.ABORTED)


def _map_runs_of(env: Environment) -> list[Any]:
    """The Map Runs that run."""
    return [run for run in env.map_run_record_pool_manager.get_all() if run.status == api.MapRunStatus.RUNNING]


def _add_last_event(env: Environment, ending: ProgramState) -> None:
    if isinstance(ending, ProgramStopped):
        details = {
            name: value for name, value in (("error", ending.error), ("cause", ending.cause)) if value is not None
        }
        env.event_history_context.source_event_id = 0
        env.event_manager.add_event(
            env.event_history_context,
            api.HistoryEventType.ExecutionAborted,
            EventDetails(executionAbortedEventDetails=api.ExecutionAbortedEventDetails(**details)),
        )
    elif isinstance(ending, ProgramError):
        env.event_manager.add_event(
            EventHistoryContext(previous_event_id=MAX_HISTORY_EVENTS - 1),
            api.HistoryEventType.ExecutionFailed,
            EventDetails(executionFailedEventDetails=ending.error),
        )
    else:
        env.event_manager.add_event(
            env.event_history_context,
            api.HistoryEventType.ExecutionTimedOut,
            EventDetails(executionTimedOutEventDetails=api.ExecutionTimedOutEventDetails()),
        )
    env.event_manager.sealed = True


def _fix_endings() -> None:
    # After a stop, moto lets threads that wait for a token, a function or a retry continue: the execution stays
    # RUNNING, gets further events, and a late error overwrites the stop.
    def set_stop(self: Environment, stop_date: Any, cause: str | None, error: str | None) -> None:
        end(self, ProgramStopped(stop_date=stop_date, cause=cause, error=error))

    def set_timed_out(self: Environment) -> None:
        end(self, ProgramTimedOut())

    def set_error(self: Environment, error: Any) -> None:
        with self._state_mutex:
            if isinstance(self._program_state, (ProgramStopped, ProgramTimedOut, ProgramError)):
                return
            self._program_state = ProgramError(error=error)
            self.program_state_event.set()
            frames = list(self._frames)
        for frame in frames:
            frame.set_error(error)

    def set_ended(self: Environment) -> None:
        with self._state_mutex:
            if isinstance(self._program_state, ProgramRunning):
                self._program_state = ProgramEnded()
            self.program_state_event.set()
            frames = list(self._frames)
        for frame in frames:
            frame.set_ended()

    replace(Environment, "set_stop", set_stop)
    replace(Environment, "set_timed_out", set_timed_out)
    replace(Environment, "set_error", set_error)
    replace(Environment, "set_ended", set_ended)

    # moto applies the time limit of a state machine only when the current state returns by itself. It also always
    # begins at StartAt, even in a redrive.
    def run(self: Program, env: Environment) -> None:
        if not env.is_frame():
            env.event_manager.end_full = lambda: end(env, ProgramError(error=FULL_HISTORY))
        if env.is_frame() or env.next_state_name is None:
            env.next_state_name = self.start_at.start_at_name

        def evaluate() -> None:
            with contextlib.suppress(Interrupted):
                EvalComponent.eval(self, env)

        def evaluate_and_tell() -> None:
            try:
                evaluate()
            finally:
                ended.set()

        ended = Signal(clock)
        clock.background(evaluate_and_tell)
        if not ended.wait(self.timeout_seconds.timeout_seconds if self.timeout_seconds else None):
            env.set_timed_out()
            ended.wait()

    replace(Program, "eval", run)


def _fix_history() -> None:
    # moto adds events after the end of an execution and from timed-out attempts, and any number of them.
    add_event = EventManager.add_event

    def add_event_while_open(self: EventManager, context: EventHistoryContext, *args: Any, **kwargs: Any) -> int:
        if getattr(self, "sealed", False) or getattr(context, "closed", False):
            return context.last_published_event_id
        number = add_event(self, context, *args, **kwargs)
        if number == MAX_HISTORY_EVENTS - 1:
            self.end_full()
        return number

    replace(EventManager, "add_event", add_event_while_open)


# --- Waiting ---------------------------------------------------------------------------------------------------------


def _fix_waiting() -> None:
    # moto waits in real seconds, and a stop does not interrupt the wait before a retry.
    def wait(_self: WaitFunction, env: Environment, wait_seconds: float) -> None:
        env.program_state_event.wait(wait_seconds)

    def retry(self: retrier_decl.RetrierDecl, env: Environment) -> None:
        self.error_equals.eval(env)
        if not env.stack.pop():
            env.stack.append(RetrierOutcome.Skipped)
            return
        self.max_attempts.eval(env)
        if env.stack.pop() == MaxAttemptsOutcome.EXHAUSTED:
            env.stack.append(RetrierOutcome.Failed)
            return
        self.interval_seconds.eval(env)
        self.backoff_rate.eval(env)
        self.max_delay_seconds.eval(env)
        self.jitter_strategy.eval(env)
        if env.program_state_event.wait(env.stack.pop()):
            raise Interrupted
        env.stack.append(RetrierOutcome.Executed)

    replace(WaitFunction, "_wait_interval", wait)
    replace(retrier_decl.RetrierDecl, "_eval_body", retry)


# --- Tasks -----------------------------------------------------------------------------------------------------------


def _is_token_task(task: Any) -> bool:
    return getattr(getattr(task, "resource", None), "condition", None) == ResourceCondition.WaitForTaskToken


def _fix_task_attempts() -> None:
    # In moto, an attempt cannot be interrupted, adds history events after its time-out, and keeps its token in a retry.
    def attempt_with_timeout(self: Any, env: Environment) -> None:
        self.timeout.eval(env=env)
        timeout_seconds = env.stack.pop()
        if _is_token_task(self):
            _renew_token(env)
            # The time-out starts when the task is submitted (see TokenEndpoint). Until then, the function's own time
            # limit applies.
            timeout_seconds = None
        frame = env.open_frame()
        frame.states.reset(input_value=env.states.get_input())
        frame.stack = copy.deepcopy(env.stack)
        outputs: list[Any] = []
        errors: list[Exception] = []

        def attempt() -> None:
            try:
                self._eval_execution(frame)
                outputs.extend(frame.stack)
            except Interrupted:
                pass
            except Exception as error:
                errors.append(error)
            finally:
                frame.program_state_event.set()

        clock.background(attempt)
        on_time = frame.program_state_event.wait(timeout_seconds)
        frame.set_ended()
        frame.event_history_context.closed = True
        env.close_frame(frame)
        if _is_token_task(self):
            _endpoint(env).close()
        if not env.is_running():
            raise Interrupted
        if errors:
            raise errors.pop()
        if not on_time:
            raise EvalTimeoutError
        output = outputs.pop()
        env.stack.append(output)
        # The rest is copied from moto.
        if not self._is_language_query_jsonpath():
            env.states.set_result(output)
        if self.assign_decl:
            self.assign_decl.eval(env=env)
        if self.result_selector:
            self.result_selector.eval(env=env)
        if self.result_path:
            self.result_path.eval(env)
        else:
            env.states.reset(input_value=env.stack.pop())

    replace(ExecutionState, "_evaluate_with_timeout", attempt_with_timeout)


def _endpoint(env: Environment) -> TokenEndpoint:
    token = env.states.context_object.context_object_data["Task"]["Token"]
    return env.callback_pool_manager.get(token)


def _renew_token(env: Environment) -> None:
    """A retried task gets a new token (Step Functions guide, "Wait for a callback with task token")."""
    if env.states.context_object.context_object_data["State"]["RetryCount"]:
        env.callback_pool_manager.add(env.states.context_object.update_task_token())


class MissedHeartbeat(StatesErrorName):
    """A missed heartbeat. Its name in the history and in the execution's error is States.Timeout, as recorded on AWS.

    Retry and Catch match it by that name and by States.HeartbeatTimeout (Step Functions guide, "Handling errors in
    workflows").
    """

    NAMES = frozenset({"States.Timeout", "States.HeartbeatTimeout"})

    def __init__(self) -> None:
        super().__init__(typ=StatesErrorNameType.StatesTimeout)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ErrorName) and other.error_name in self.NAMES

    __hash__ = None  # type: ignore[assignment]  # equal to two names that differ


class TaskClosedError(Exception):
    """The token's task was answered, has timed out, or ended with its execution."""


ANSWER_ENDS_TASK = True
"""Whether an answer to the token ends the task at once, even if the function that got the token still runs.

If True, the function's result or error is ignored. If False, the answer waits until the function returns, and is lost
if the function fails. AWS documents neither. True is more likely, because the token belongs to the task. Tests set
False.
"""


class TokenEndpoint(callback.CallbackEndpoint):
    """The task behind a token. It accepts one answer, and heartbeats until then. Waits on the clock."""

    def __init__(self, callback_id: str) -> None:
        super().__init__(callback_id)
        self._lock = threading.Lock()
        self._changed = Signal(clock)
        self._outcome: callback.CallbackOutcome | None = None
        self._closed = False
        self._last_sign = 0.0

    def answer(self, outcome: callback.CallbackOutcome) -> None:
        """Raises TaskClosedError for all but the first answer."""
        with self._lock:
            if self._closed or self._outcome:
                raise TaskClosedError
            self._outcome = outcome
        self._changed.set()

    def heartbeat(self) -> None:
        """Raises TaskClosedError."""
        with self._lock:
            if self._closed or self._outcome:
                raise TaskClosedError
            self._last_sign = clock.now()
        self._changed.set()

    def close(self) -> None:
        with self._lock:
            self._closed = True
        self._changed.set()

    def await_function(self, function: Callable[[], Any]) -> Any:
        """Run ``function`` and return its result, or None if the token is answered first.

        Raises the error of ``function``, or Interrupted if the task ends.
        """
        future: concurrent.futures.Future[Any] = concurrent.futures.Future()

        def run() -> None:
            try:
                future.set_result(function())
            except Exception as error:
                future.set_exception(error)
            self._changed.set()

        clock.background(run)
        while True:
            self._changed.clear()
            with self._lock:
                if self._closed:
                    raise Interrupted
                if self._outcome:
                    return None
            if future.done():
                return future.result()
            self._changed.wait()

    def await_answer(self, timeout_seconds: float, heartbeat_seconds: float | None) -> callback.CallbackOutcome:
        """Raises CallbackTimeoutError or HeartbeatTimeoutError in service seconds, Interrupted when the task ends."""
        self._last_sign = max(self._last_sign, clock.now())
        deadline = clock.now() + timeout_seconds
        while True:
            self._changed.clear()
            with self._lock:
                if self._outcome:
                    return self._outcome
                if self._closed:
                    raise Interrupted
                now = clock.now()
                if now >= deadline:
                    self._closed = True
                    raise callback.CallbackTimeoutError
                until = deadline
                if heartbeat_seconds is not None:
                    until = min(deadline, self._last_sign + heartbeat_seconds)
                    if now >= until:
                        self._closed = True
                        raise callback.HeartbeatTimeoutError
            self._changed.wait(until - now)


def _fix_tokens() -> None:
    replace(callback, "CallbackEndpoint", TokenEndpoint)
    integrate = StateTaskServiceCallback._eval_integration_pattern

    # moto waits in real seconds, ignores the time-out if there is a heartbeat, and is not interrupted by a stop.
    def await_token(self: Any, env: Environment, *args: Any, **kwargs: Any) -> None:
        if not _is_token_task(self):
            integrate(self, env, *args, **kwargs)
            return
        env.stack.pop()  # the function's own result is ignored
        self.timeout.eval(env=env)
        timeout_seconds = env.stack.pop()
        heartbeat_seconds = None
        if self.heartbeat:
            self.heartbeat.eval(env=env)
            heartbeat_seconds = env.stack.pop()
        outcome = _endpoint(env).await_answer(timeout_seconds, heartbeat_seconds)
        if isinstance(outcome, callback.CallbackOutcomeFailure):
            raise callback.CallbackOutcomeFailureError(callback_outcome_failure=outcome)
        env.stack.append(json.loads(outcome.output))

    # moto uses only one of the two names of a missed heartbeat.
    from_error = StateTaskServiceCallback._from_error

    def from_heartbeat_error(self: Any, env: Environment, ex: Exception) -> FailureEvent:
        if not isinstance(ex, callback.HeartbeatTimeoutError):
            return from_error(self, env, ex)
        name = MissedHeartbeat()
        details = api.TaskTimedOutEventDetails(
            resourceType=self._get_sfn_resource_type(), resource=self._get_sfn_resource(), error=name.error_name
        )
        return FailureEvent(
            env, name, api.HistoryEventType.TaskTimedOut, EventDetails(taskTimedOutEventDetails=details)
        )

    replace(StateTaskServiceCallback, "_eval_integration_pattern", await_token)
    replace(StateTaskServiceCallback, "_from_error", from_heartbeat_error)


def _fix_sdk_arguments() -> None:
    # The arguments of an AWS SDK task are in PascalCase. moto passes them to boto3 unchanged, even if the service uses
    # other names. Source: Step Functions guide, "Learning to use AWS service SDK integrations".
    def normalise(self: Any, parameters: dict[str, Any], *_names: Any) -> None:
        shape = _input_shape(self._get_boto_service_name(), self._get_boto_service_action())
        if shape is not None:
            self._to_boto_request(parameters, shape)

    replace(StateTaskServiceAwsSdk, "_normalise_parameters", normalise)


@functools.cache
def _input_shape(service: str, action: str) -> StructureShape | None:
    """The input shape of a boto3 method. None if the method does not exist; calling it then reports the error."""
    model = botocore.session.get_session().get_service_model(service)
    names = [name for name in model.operation_names if botocore.xform_name(name) == action]
    return model.operation_model(names[0]).input_shape if names else None


def _fix_lambda_results() -> None:
    # For each invocation, moto creates a client (50 ms of CPU). It omits members of the result, and looks for the
    # answer to a token only after the function has returned.
    def invoke(env: Environment, parameters: dict[str, Any], **_region_and_credentials: Any) -> None:
        _check_permission(env, parameters["FunctionName"])
        has_token = "Task" in env.states.context_object.context_object_data
        if has_token and ANSWER_ENDS_TASK:
            result = _endpoint(env).await_function(functools.partial(_invoke, parameters))
        else:
            result = _invoke(parameters)
        env.stack.append(result or {})

    replace(lambda_eval_utils, "execute_lambda_function_integration", invoke)

    # AWS has one name for the errors of Lambda that are not in its list: a denial is one of these.
    told = StateTaskServiceLambda._error_cause_from_client_error

    def error_and_cause(error: ClientError) -> tuple[str, str]:
        name, cause = told(error)
        return ("Lambda.AWSLambdaException" if name == "Lambda.AccessDeniedException" else name), cause

    replace(StateTaskServiceLambda, "_error_cause_from_client_error", staticmethod(error_and_cause))


def _check_permission(env: Environment, function: str) -> None:
    """Raises ClientError when the state machine's role may not invoke the function."""
    arn = function if function.startswith("arn:") else f"arn:aws:lambda:{aws.region}:{aws.account}:function:{function}"
    session = env.states.context_object.context_object_data["Execution"]["Name"]
    why = guard.why_role_denied(env.aws_execution_details.role_arn, session, Need("lambda:InvokeFunction", arn))
    if why:
        answer: Any = {
            "Error": {"Code": "AccessDeniedException", "Message": why},
            "ResponseMetadata": {"HTTPStatusCode": 403, "RequestId": str(uuid.uuid4())},
        }
        raise ClientError(answer, "Invoke")


def _invoke(parameters: dict[str, Any]) -> dict[str, Any]:
    """Invoke the function of a task. Returns the result in AWS's format. Raises LambdaFunctionErrorException."""
    response = aws.client("lambda").invoke(**parameters)
    payload = json.loads(response["Payload"].read())
    if response.get("FunctionError"):
        text = json.dumps(payload, separators=(",", ":"))
        raise lambda_eval_utils.LambdaFunctionErrorException(response["FunctionError"], text)
    metadata = response["ResponseMetadata"]
    return {
        "ExecutedVersion": response["ExecutedVersion"],
        "Payload": payload,
        "SdkHttpMetadata": {
            "AllHttpHeaders": {name: [value] for name, value in metadata["HTTPHeaders"].items()},
            "HttpHeaders": metadata["HTTPHeaders"],
            "HttpStatusCode": metadata["HTTPStatusCode"],
        },
        "SdkResponseMetadata": {"RequestId": metadata["RequestId"]},
        "StatusCode": response["StatusCode"],
    }


def iso(time: datetime.datetime) -> str:
    """The time in the format of the context object."""
    return time.astimezone(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "Z"


def _fix_context() -> None:
    # moto uses the real time for the entry time, and another format than AWS.
    def state_data(EnteredTime: str, Name: str) -> dict[str, str]:  # noqa: N803, ARG001
        return {"EnteredTime": iso(clock.utc()), "Name": Name}

    replace(state, "StateData", state_data)


def _remember_checkpoints() -> None:
    # moto has no redrive, and therefore stores no point at which one could resume.
    enter = state.CommonStateField._eval_body

    def enter_remembering(self: state.CommonStateField, env: Environment) -> None:
        if not env.is_frame():
            env.checkpoint = Checkpoint(self.name, env.states.get_input(), copy.deepcopy(env.variable_store))
        enter(self, env)

    replace(state.CommonStateField, "_eval_body", enter_remembering)
