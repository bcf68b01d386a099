"""Step Functions: Map Runs, the distributed mode of a Map state.

moto plays an item as a part of the parent's execution, in real time, and a failed item as one without a result. On AWS
each item is an execution of its own: it has a history, an ARN, a redrive, and it appears in ListExecutions.
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
"""The counts of DescribeMapRun that are numbers of children with a status."""


def patch() -> None:
    """Have moto play Map Runs as AWS does, once per process."""
    replace(state_map, "MapRunRecord", MapRun)
    replace(DistributedIterationComponent, "_eval_body", _play)
    replace(ResourceEvalS3, "_handle_get_object", staticmethod(_read_object))

    # A Map state makes a record each time that it runs. When a Map Run is redriven, that record is not needed.
    add = MapRunRecordPoolManager.add

    def add_unless_redriven(self: MapRunRecordPoolManager, record: MapRunRecord) -> None:
        if not getattr(self, "redriven", None):
            add(self, record)

    replace(MapRunRecordPoolManager, "add", add_unless_redriven)


class MapRun(MapRunRecord):
    """A run of a distributed Map state. Its children are executions, in the order in which they were started."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self.start_date = clock.utc()
        self.stop_date: datetime.datetime | None = None
        self.state_name = ""
        self.children: list[Execution] = []
        self.redrive_count = 0
        self.redrive_date: datetime.datetime | None = None
        self.changed = Signal(clock)  # a child has ended, or this run has
        self.event_id = 0  # of MapRunStarted, or of the last MapRunRedriven
        self._inputs: list[Any] = []
        self._machine: Any = None  # what the children run
        self._parent: Any = None
        self._waiting: list[Execution] = []  # for their redrive
        self._lock = threading.Lock()  # of what starts children and of the run's end

    @property
    def label(self) -> str:
        """What the Map state's Label says, or what stands for it."""
        return str(self.map_state_machine_arn.rpartition("/")[2])

    # Start and redrive

    def begin(self, parent: Any, state_name: str, inputs: list[Any]) -> None:
        """Take the items, as the children get them. Nothing is started yet."""
        self._parent, self._inputs = parent, inputs
        self._machine = copy.copy(parent.state_machine)
        self._machine.arn = self.map_state_machine_arn
        self._machine.name = f"{parent.state_machine.name}/{self.label}"
        self._machine.definition = _processor(parent.state_machine.definition, state_name)
        self._machine.executions = self.children

    def await_redrive(self) -> None:
        """Let the children that did not succeed, and can be redriven, wait for that (guide, "Redriving Map Runs")."""
        self.status, self.stop_date = MapRunStatus.RUNNING, None
        self.redrive_count += 1
        self.redrive_date = clock.utc()
        self._waiting = [
            child
            for child in self.children
            if child.exec_status in UNSUCCESSFUL and not stepfunctions.why_not_redrivable(child)
        ]
        for child in self._waiting:
            child.status_before, child.exec_status = child.exec_status, ExecutionStatus.PENDING_REDRIVE

    def needs(self) -> Iterator[Need]:
        """What the state machine's role must be allowed (guide, "IAM policies for using Distributed Map states")."""
        yield Need("states:StartExecution", self._parent.state_machine.arn)
        yield Need("states:DescribeExecution", self._parent.exec_arn)
        yield from (Need("states:RedriveExecution", child.exec_arn) for child in self._waiting)

    def outputs(self, env: Environment) -> list[Any]:
        """Run the children, at most MaxConcurrency at a time, and give what they put out, in the order of the items.

        Raises FailureEventException when more fail than is tolerated, Interrupted when the parent ends.
        """
        while True:
            self.changed.clear()
            with self._lock:
                if self.status != MapRunStatus.RUNNING:
                    raise Interrupted
                if not self._fails_too_often():
                    self._start_next()
                # In this order: a child that ends in between is counted among the failed.
                is_over = not self._are_left() and not self._are_running()
                is_failed = self._fails_too_often()
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
        while self._are_left() and self._are_running() < limit:
            if self._waiting:
                stepfunctions.restart(self._waiting.pop(0))
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
        self.children.append(child)  # before it can be asked for
        child.start()

    def _are_left(self) -> int:
        return len(self._waiting) + len(self._inputs) - len(self.children)

    def _are_running(self) -> int:
        return sum(child.exec_status == ExecutionStatus.RUNNING for child in self.children)

    def _fails_too_often(self) -> bool:
        failed = sum(child.exec_status in UNSUCCESSFUL for child in self.children)
        count, percentage = self.tolerated_failure_count, self.tolerated_failure_percentage
        if not count and not percentage:
            return failed > 0
        return bool((count and failed > count) or (percentage and 100 * failed > percentage * len(self._inputs)))

    # The end

    def set_stop(self, status: MapRunStatus) -> None:
        """End, unless this has ended, and abort the children that run."""
        with self._lock:
            if self.status != MapRunStatus.RUNNING:
                return
            self.status, self.stop_date = status, clock.utc()
            for child in self._waiting:
                child.exec_status = child.status_before
            self._waiting = []
        for child in list(self.children):
            if child.exec_status == ExecutionStatus.RUNNING:
                child.stop(clock.utc(), None, None)
        self.changed.set()

    # Answers

    def describe(self) -> dict[str, Any]:
        """What DescribeMapRun answers. A child has one item: items are counted as executions are."""
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
        """What ListMapRuns says of this run."""
        return {
            **self._times(),
            "executionArn": self.execution_arn,
            "mapRunArn": self.map_run_arn,
            "stateMachineArn": self.map_state_machine_arn,
        }

    def _times(self) -> dict[str, Any]:
        return {"startDate": self.start_date, **({"stopDate": self.stop_date} if self.stop_date else {})}


# --- The state -------------------------------------------------------------------------------------------------------


def _play(_self: DistributedIterationComponent, env: Environment) -> None:
    """Start the Map Run, or redrive it, and put the children's outputs on the stack."""
    given = env.stack.pop()
    pool = env.map_run_record_pool_manager
    redriven, pool.redriven = getattr(pool, "redriven", None), None
    run: MapRun = redriven or given.map_run_record
    parent = _execution(env)
    details: Mapping[str, Any] = {"mapRunArn": run.map_run_arn}
    try:
        if redriven:
            run.await_redrive()
            details = {"mapRunRedrivenEventDetails": {**details, "redriveCount": run.redrive_count}}
            run.event_id = _add_event(env, HistoryEventType.MapRunRedriven, details)
        else:
            run.state_name = given.state_name
            run.event_id = _add_event(env, HistoryEventType.MapRunStarted, {"mapRunStartedEventDetails": details})
            run.begin(parent, given.state_name, list(_inputs(env, given)))
        if why := guard.why_role_denied(parent.role_arn, parent.name, *run.needs()):
            raise _failure(env, StatesErrorNameType.StatesPermissions, why)
        outputs = run.outputs(env)
    except Exception as failure:
        pair = failure.extract_error_cause_pair() if isinstance(failure, FailureEventException) else None
        error, cause = pair or (None, None)
        told = {name: value for name, value in (("error", error), ("cause", cause)) if value}
        run.set_stop(MapRunStatus.FAILED)
        _add_event(env, HistoryEventType.MapRunFailed, {"mapRunFailedEventDetails": told})
        raise
    run.set_stop(MapRunStatus.SUCCEEDED)
    _add_event(env, HistoryEventType.MapRunSucceeded)
    env.stack.append(outputs)


def _inputs(env: Environment, given: Any) -> Iterator[Any]:
    """Each item as its child gets it."""
    if given.item_reader:
        try:
            given.item_reader.eval(env=env)
        except (ClientError, ValueError) as error:
            raise _reader_failure(env, str(error)) from error
        items = env.stack.pop()
    else:
        items = given.input_items
    template = given.item_selector or given.parameters
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
    """Read the items as the state machine's role."""
    place = env.stack.pop()
    execution = _execution(env)
    need = Need("s3:GetObject", f"arn:aws:s3:::{place['Bucket']}/{place['Key']}", {"s3:authType": ["REST-HEADER"]})
    if why := guard.why_role_denied(execution.role_arn, execution.name, need):
        raise _reader_failure(
            env,
            "Access denied. Ensure the correct permissions are added to your state machine's execution role. "
            f"| Message from S3: {why} (Service: S3, Status Code: 403)",
        )
    env.stack.append(aws.client("s3").get_object(**place)["Body"].read().decode())


def _reader_failure(env: Environment, cause: str) -> FailureEventException:
    """AWS begins the causes of readers and writers with the state (aws/aws-cdk issue 32144 shows one)."""
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
    """The execution that the environment is of."""
    arn = env.states.context_object.context_object_data["Execution"]["Id"]
    return stepfunctions_parser_backends[aws.account][aws.region].describe_execution(arn)


def _processor(definition: str, state_name: str) -> str:
    """The definition that the children of a Map state run: its ItemProcessor, in the machine's query language."""
    machine = json.loads(definition)
    state = next(state for name, state in _states(machine) if name == state_name)
    processor = dict(state.get("ItemProcessor") or state["Iterator"])
    del processor["ProcessorConfig"]
    language = {"QueryLanguage": machine["QueryLanguage"]} if "QueryLanguage" in machine else {}
    return json.dumps(language | processor)


def _states(machine: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Every state of a definition, by its name, those of branches and processors too."""
    for name, state in machine["States"].items():
        yield name, state
        inner = [state[field] for field in ("ItemProcessor", "Iterator") if field in state]
        for one in [*state.get("Branches", ()), *inner]:
            yield from _states(one)
