"""Step Functions: Map Runs, the distributed mode of a Map state.

moto runs an item inside the parent's execution, in real time, and treats a failed item as an item without a result. On
AWS each item has its own execution, called a child: it has a history and an ARN, it can be redriven, and ListExecutions
lists it.
"""

from __future__ import annotations

import collections
import copy
import datetime
import json
import threading
import uuid
from collections.abc import Iterator, Mapping
from typing import Any

from botocore.exceptions import ClientError
from moto.stepfunctions.parser import api
from moto.stepfunctions.parser.api import ExecutionStatus, HistoryEventType, MapRunStatus
from moto.stepfunctions.parser.asl.component.common.error_name.failure_event import FailureEvent, FailureEventException
from moto.stepfunctions.parser.asl.component.common.error_name.states_error_name import StatesErrorName
from moto.stepfunctions.parser.asl.component.common.error_name.states_error_name_type import StatesErrorNameType
from moto.stepfunctions.parser.asl.component.state.exec.state_map import state_map
from moto.stepfunctions.parser.asl.component.state.exec.state_map.item_reader.eval.resource_eval_s3 import (
    ResourceEvalS3,
)
from moto.stepfunctions.parser.asl.component.state.exec.state_map.iteration.distributed_iteration_component import (
    DistributedIterationComponent,
)
from moto.stepfunctions.parser.asl.component.state.exec.state_map.iteration.itemprocessor.map_run_record import (
    MapRunRecord,
    MapRunRecordPoolManager,
)
from moto.stepfunctions.parser.asl.eval.environment import Environment
from moto.stepfunctions.parser.asl.eval.event.event_detail import EventDetails
from moto.stepfunctions.parser.asl.eval.states import ItemData, MapData
from moto.stepfunctions.parser.backend.execution import Execution
from moto.stepfunctions.parser.models import stepfunctions_parser_backends

from ekyc.localaws import aws
from ekyc.localaws.clock import Interrupted, Signal, clock
from ekyc.localaws.iam import guard
from ekyc.localaws.iam.policies import Need
from ekyc.localaws.moto_patches import stepfunctions
from ekyc.localaws.moto_patches.border import replace

UNSUCCESSFUL = (ExecutionStatus.FAILED, ExecutionStatus.TIMED_OUT, ExecutionStatus.ABORTED)
COUNTED = {
    "running": ExecutionStatus.RUNNING,
    "succeeded": ExecutionStatus.SUCCEEDED,
    "failed": ExecutionStatus.FAILED,
    "timedOut": ExecutionStatus.TIMED_OUT,
    "aborted": ExecutionStatus.ABORTED,
    "pendingRedrive": ExecutionStatus.PENDING_REDRIVE,
}
"""The counts in DescribeMapRun's response that are numbers of children, with the status of these children."""


def patch() -> None:
    """Make moto run Map Runs as AWS does. Call this once per process."""
    replace(state_map, "MapRunRecord", MapRun)
    replace(DistributedIterationComponent, "_eval_body", _run_map)
    replace(ResourceEvalS3, "_handle_get_object", staticmethod(_read_object))

    # moto creates a record each time that a Map state runs. A redriven Map Run keeps the record that it has.
    add = MapRunRecordPoolManager.add

    def add_unless_redriven(self: MapRunRecordPoolManager, record: MapRunRecord) -> None:
        if not getattr(self, "redriven", None):
            add(self, record)

    replace(MapRunRecordPoolManager, "add", add_unless_redriven)


class MapRun(MapRunRecord):
    """A run of a distributed Map state. ``children`` has its executions in the order in which they were started."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self.start_date = clock.utc()
        self.stop_date: datetime.datetime | None = None
        self.state_name = ""
        self.children: list[Execution] = []
        self.redrive_count = 0
        self.redrive_date: datetime.datetime | None = None
        self.changed = Signal(clock)  # set when a child or this run ends
        self.event_id = 0  # the id of the event MapRunStarted, or of the last MapRunRedriven
        self._inputs: list[Any] = []  # one for each child
        self._machine: Any = None  # the state machine of the children
        self._parent: Any = None  # the execution of the Map state
        self._to_redrive: list[Execution] = []  # children that wait for a redrive
        self._lock = threading.Lock()  # guards the start of children and the run's end

    @property
    def label(self) -> str:
        """The Map state's Label, or the label that moto generates."""
        return str(self.map_state_machine_arn.rpartition("/")[2])

    # Start and redrive

    def begin(self, parent: Any, state_name: str, inputs: list[Any]) -> None:
        """Store the children's inputs. Starts no child."""
        self._parent, self._inputs = parent, inputs
        self._machine = copy.copy(parent.state_machine)
        self._machine.arn = self.map_state_machine_arn
        self._machine.name = f"{parent.state_machine.name}/{self.label}"
        self._machine.definition = _processor(parent.state_machine.definition, state_name)
        self._machine.executions = self.children

    def redrive(self) -> None:
        """Set the unsuccessful children that can be redriven to PENDING_REDRIVE. Starts no child.

        Source: Step Functions guide, "Redriving Map Runs".
        """
        self.status, self.stop_date = MapRunStatus.RUNNING, None
        self.redrive_count += 1
        self.redrive_date = clock.utc()
        self._to_redrive = [
            child
            for child in self.children
            if child.exec_status in UNSUCCESSFUL and not stepfunctions.why_not_redrivable(child)
        ]
        for child in self._to_redrive:
            child.status_before, child.exec_status = child.exec_status, ExecutionStatus.PENDING_REDRIVE

    def needs(self) -> Iterator[Need]:
        """Yield the permissions that the state machine's role needs.

        Source: Step Functions guide, "IAM policies for using Distributed Map states".
        """
        yield Need("states:StartExecution", self._parent.state_machine.arn)
        yield Need("states:DescribeExecution", self._parent.exec_arn)
        yield from (Need("states:RedriveExecution", child.exec_arn) for child in self._to_redrive)

    def outputs(self, env: Environment) -> list[Any]:
        """Run the children, at most MaxConcurrency at a time, and return their outputs in the order of the items.

        Raises:
            FailureEventException: more children failed than the state tolerates.
            Interrupted: the parent has ended.
        """
        while True:
            self.changed.clear()
            with self._lock:
                if self.status != MapRunStatus.RUNNING:
                    raise Interrupted
                if not self._exceeds_tolerance():
                    self._start_next()
                # Check `is_over` first: a child that fails between the checks is then still counted.
                is_over = not self._count_left() and not self._count_running()
                is_failed = self._exceeds_tolerance()
                if is_failed or is_over:
                    break
            clock.wait(self.changed, env.program_state_event)
            if not env.is_running():
                self.set_stop(MapRunStatus.ABORTED)
        if is_failed:
            raise _failure(
                env,
                StatesErrorNameType.StatesExceedToleratedFailureThreshold,
                "The specified tolerated failure threshold was exceeded",
            )
        succeeded = [child for child in self.children if child.exec_status == ExecutionStatus.SUCCEEDED]
        return [child.output for child in sorted(succeeded, key=lambda child: child.item)]

    def _start_next(self) -> None:
        limit = self.max_concurrency or len(self._inputs)
        while self._count_left() and self._count_running() < limit:
            if self._to_redrive:
                stepfunctions.restart(self._to_redrive.pop(0))
            else:
                self._start(len(self.children))

    def _start(self, item: int) -> None:
        name = str(uuid.uuid4())
        child = Execution(
            name=name,
            sm_type=self._machine.sm_type,
            role_arn=self._parent.role_arn,
            exec_arn=f"{self.map_state_machine_arn.replace(':stateMachine:', ':execution:')}:{name}",
            account_id=self._parent.account_id,
            region_name=self._parent.region_name,
            state_machine=self._machine,
            start_date=clock.utc(),
            cloud_watch_logging_session=None,
            activity_store={},
            input_data=json.dumps(self._inputs[item], separators=(",", ":")),
        )
        child.map_run, child.item, child.exec_status = self, item, ExecutionStatus.RUNNING
        self.children.append(child)  # before a caller can describe it
        child.start()

    def _count_left(self) -> int:
        return len(self._to_redrive) + len(self._inputs) - len(self.children)

    def _count_running(self) -> int:
        return sum(child.exec_status == ExecutionStatus.RUNNING for child in self.children)

    def _exceeds_tolerance(self) -> bool:
        failed = sum(child.exec_status in UNSUCCESSFUL for child in self.children)
        count, percentage = self.tolerated_failure_count, self.tolerated_failure_percentage
        if not count and not percentage:
            return failed > 0
        return bool((count and failed > count) or (percentage and 100 * failed > percentage * len(self._inputs)))

    # The end

    def set_stop(self, status: MapRunStatus) -> None:
        """End the run if it has not ended, and abort its running children."""
        with self._lock:
            if self.status != MapRunStatus.RUNNING:
                return
            self.status, self.stop_date = status, clock.utc()
            for child in self._to_redrive:
                child.exec_status = child.status_before
            self._to_redrive = []
        for child in list(self.children):
            if child.exec_status == ExecutionStatus.RUNNING:
                child.stop(clock.utc(), None, None)
        self.changed.set()

    # Responses

    def describe(self) -> dict[str, Any]:
        """DescribeMapRun's response. Each child has one item, so the counts of items and of executions are equal."""
        statuses = collections.Counter(child.exec_status for child in self.children)
        counts = {name: statuses[status] for name, status in COUNTED.items()}
        counts |= {
            "pending": len(self._inputs) - len(self.children),
            "total": len(self._inputs),
            "resultsWritten": counts["succeeded"] if self.status == MapRunStatus.SUCCEEDED else 0,
            "failuresNotRedrivable": sum(
                child.exec_status in UNSUCCESSFUL and stepfunctions.why_not_redrivable(child) is not None
                for child in self.children
            ),
        }
        return {
            **self._times(),
            "mapRunArn": self.map_run_arn,
            "executionArn": self.execution_arn,
            "status": self.status,
            "maxConcurrency": self.max_concurrency,
            "toleratedFailurePercentage": self.tolerated_failure_percentage,
            "toleratedFailureCount": self.tolerated_failure_count,
            "itemCounts": counts,
            "executionCounts": counts,
            "redriveCount": self.redrive_count,
            **({"redriveDate": self.redrive_date} if self.redrive_date else {}),
        }

    def list_item(self) -> dict[str, Any]:
        """This run's entry in ListMapRuns."""
        return {
            **self._times(),
            "executionArn": self.execution_arn,
            "mapRunArn": self.map_run_arn,
            "stateMachineArn": self.map_state_machine_arn,
        }

    def _times(self) -> dict[str, Any]:
        return {"startDate": self.start_date, **({"stopDate": self.stop_date} if self.stop_date else {})}


# --- The state -------------------------------------------------------------------------------------------------------


def _run_map(_self: DistributedIterationComponent, env: Environment) -> None:
    """Start or redrive the Map Run, and put the children's outputs on the stack."""
    map_input = env.stack.pop()
    pool = env.map_run_record_pool_manager
    redriven, pool.redriven = getattr(pool, "redriven", None), None
    run: MapRun = redriven or map_input.map_run_record
    parent = _execution(env)
    details: Mapping[str, Any] = {"mapRunArn": run.map_run_arn}
    try:
        if redriven:
            run.redrive()
            details = {"mapRunRedrivenEventDetails": {**details, "redriveCount": run.redrive_count}}
            run.event_id = _add_event(env, HistoryEventType.MapRunRedriven, details)
        else:
            run.state_name = map_input.state_name
            run.event_id = _add_event(env, HistoryEventType.MapRunStarted, {"mapRunStartedEventDetails": details})
            run.begin(parent, map_input.state_name, list(_inputs(env, map_input)))
        if denial := guard.why_role_denied(parent.role_arn, parent.name, *run.needs()):
            raise _failure(env, StatesErrorNameType.StatesPermissions, denial)
        outputs = run.outputs(env)
    except Exception as failure:
        pair = failure.extract_error_cause_pair() if isinstance(failure, FailureEventException) else None
        error, cause = pair or (None, None)
        reasons = {name: value for name, value in (("error", error), ("cause", cause)) if value}
        run.set_stop(MapRunStatus.FAILED)
        _add_event(env, HistoryEventType.MapRunFailed, {"mapRunFailedEventDetails": reasons})
        raise
    run.set_stop(MapRunStatus.SUCCEEDED)
    _add_event(env, HistoryEventType.MapRunSucceeded)
    env.stack.append(outputs)


def _inputs(env: Environment, map_input: Any) -> Iterator[Any]:
    """Yield the input of each child."""
    if map_input.item_reader:
        try:
            map_input.item_reader.eval(env=env)
        except (ClientError, ValueError) as error:
            raise _reader_failure(env, str(error)) from error
        items = env.stack.pop()
    else:
        items = map_input.input_items
    template = map_input.item_selector or map_input.parameters
    for index, item in enumerate(items):
        if not template:
            yield item
            continue
        frame = env.open_inner_frame()
        frame.states.reset(env.states.get_input())
        frame.states.context_object.context_object_data["Map"] = MapData(Item=ItemData(Index=index, Value=item))
        template.eval(frame)
        env.delete_frame(frame)
        yield frame.stack.pop()


def _read_object(env: Environment, *_runtime_and_credentials: Any) -> None:
    """Read the object that has the items, with the permissions of the state machine's role."""
    location = env.stack.pop()
    execution = _execution(env)
    need = Need(
        "s3:GetObject", f"arn:aws:s3:::{location['Bucket']}/{location['Key']}", {"s3:authType": ["REST-HEADER"]}
    )
    if denial := guard.why_role_denied(execution.role_arn, execution.name, need):
        raise _reader_failure(
            env,
            "Access denied. Ensure the correct permissions are added to your state machine's execution role. "
            f"| Message from S3: {denial} (Service: S3, Status Code: 403)",
        )
    env.stack.append(aws.client("s3").get_object(**location)["Body"].read().decode())


def _reader_failure(env: Environment, cause: str) -> FailureEventException:
    """The failure of an ItemReader. On AWS, the cause of a reader's or writer's failure begins with the state's name.

    Source: an example in aws/aws-cdk issue 32144.
    """
    name = env.next_state_name
    entered = next(
        event["id"]
        for event in reversed(env.event_manager.get_event_history())
        if event.get("stateEnteredEventDetails", {}).get("name") == name
    )
    where = f"An error occurred while executing the state '{name}' (entered at the event id #{entered}). "
    return _failure(env, StatesErrorNameType.StatesItemReaderFailed, where + cause)


def _failure(env: Environment, kind: StatesErrorNameType, cause: str) -> FailureEventException:
    name = StatesErrorName(typ=kind)
    details = EventDetails(mapRunFailedEventDetails=api.MapRunFailedEventDetails(error=name.error_name, cause=cause))
    return FailureEventException(FailureEvent(env, name, HistoryEventType.MapRunFailed, details))


def _add_event(env: Environment, kind: HistoryEventType, details: Mapping[str, Any] | None = None) -> int:
    return int(env.event_manager.add_event(env.event_history_context, kind, details and EventDetails(**details)))


def _execution(env: Environment) -> Any:
    """The execution to which ``env`` belongs."""
    arn = env.states.context_object.context_object_data["Execution"]["Id"]
    return stepfunctions_parser_backends[aws.account][aws.region].describe_execution(arn)


def _processor(definition: str, state_name: str) -> str:
    """The definition of the children's state machine: the Map state's ItemProcessor, with the query language added."""
    machine = json.loads(definition)
    state = next(state for name, state in _states(machine) if name == state_name)
    processor = dict(state.get("ItemProcessor") or state["Iterator"])
    del processor["ProcessorConfig"]
    language = {"QueryLanguage": machine["QueryLanguage"]} if "QueryLanguage" in machine else {}
    return json.dumps(language | processor)


def _states(machine: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Yield every state with its name, including those inside branches and processors."""
    for name, state in machine["States"].items():
        yield name, state
        processors = [state[field] for field in ("ItemProcessor", "Iterator") if field in state]
        for inner in [*state.get("Branches", ()), *processors]:
            yield from _states(inner)
