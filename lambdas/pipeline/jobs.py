"""The job's record in DynamoDB, and how the API shows it.

The record is what people see. The state machine never reads its own state from it.
"""

import base64
import json
import re
import secrets
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, Self

from aws_lambda_powertools import Logger
from boto3.dynamodb.types import TypeDeserializer, TypeSerializer
from botocore.exceptions import ClientError

from pipeline.errors import Throttled, error_code
from rules.states import ENDED, MOVES, RESUMABLE, RUNNING, Status, Task

# A start or a resume that is under way ends within the 29 seconds that an API call has.
CLAIM_MS = 30_000
# An execution may run for 60 days (TimeoutSeconds of the state machine), and a job may wait for its start.
UNSETTLED_MS = 120 * 24 * 3_600_000
# Who changes what is live has two minutes for it, which is longer than the function that does it may run.
GOING_LIVE_MS = 120_000
GOING_LIVE = "going-live"  # key of the item that says whose model goes live at this moment; no job has such an id
KIND = "training-job"  # partition key of the index: all jobs in one list, ordered by StartTime
# The time of the last end, and the number of the last labelling job, that people got the message and systems the event
# of: each has its own mark, for one may be sent and the other fail.
END_SENT = ("EndMessageSent", "EndEventSent")
LABELLING_SENT = ("LabellingMessageSent", "LabellingEventSent")
logger = Logger(child=True)


MOST_CALLS = 100  # of a kind that a record keeps, which may have 400 KB

# What the evaluation found: shown together, as ``metrics``.
METRICS = ("Passed", "F1", "Precision", "Recall", "Labels", "LiveModel", "LiveF1", "Reasons")
# What is known of the job's erasure: shown together, as ``erasure``.
ERASURE = ("Erasures", "ErasureOpen", "ErasedObjects", "ErasedTime", "ModelDeletedTime")
# Who called what, for the audit report, and when one was asked for last.
CALLS = ("StartedBy", "StoppedBy", "ResumedBy", "LabelsPostedBy", "ReportAsked", "ReportAskedTime", "ReportBefore")
# What the record keeps for itself: a token resumes the machine for whoever holds it.
PRIVATE = frozenset(
    {
        "Kind",
        "TaskToken",
        "PostedLabels",
        "RunningStatus",
        *END_SENT,
        *LABELLING_SENT,
        "LabelsRequestedTime",
        "ResumedTime",
        "StopRequested",
        "Unsettled",
        "DiscardedModel",
        "EarlierTrainingSeconds",
        *METRICS,
        *ERASURE,
        *CALLS,
    }
)
# What existing clients read: always there, null when the job has none yet.
ALWAYS_SHOWN = (
    "Id",
    "StartTime",
    "Status",
    "DetailedStatus",
    "LabellingJobArn",
    "DatasetCreated",
    "DatasetArn",
    "ProjectVersionArn",
    "ProjectArn",
)
# A resume that was under way is over once the job has ended again, or after CLAIM_MS.
NOT_BEING_RESUMED = "(attribute_not_exists(ResumedTime) OR ResumedTime < EndTime OR ResumedTime < :stale)"
SHOWN_WHEN_ENDED = frozenset({"EndTime", "Error", "Cause"})


class JobNotFound(Exception):
    """The table has no job of this id."""

    def __init__(self, job_id: str) -> None:
        super().__init__(f"There is no job {job_id}.")
        self.job_id = job_id


class MoveRefused(Exception):
    """The job's status does not allow the move, or the job was erased; ``job`` is the job as it was found."""

    def __init__(self, job: "Job") -> None:
        super().__init__(f"The job is {job.status}.")
        self.job = job


class PageTokenInvalid(ValueError):
    """The page token was not made by `Jobs.newest`."""


def now_ms() -> int:
    """The time in Unix milliseconds."""
    return time.time_ns() // 1_000_000


def new_id() -> str:
    """A job id: ``ekyc-<YYYYMMDDhhmmss>-<16 hex>``, UTC and 64 random bits, so that it sorts by time and is no guess.

    36 characters, valid as execution name (80), labelling job name (63), project name and version name.
    """
    return f"ekyc-{datetime.now(UTC):%Y%m%d%H%M%S}-{secrets.token_hex(8)}"


def allowed_from(status: Status) -> tuple[Status, ...]:
    """The statuses from which a job may move to ``status``."""
    return tuple(before for before, after in MOVES.items() if status in after)


@dataclass(frozen=True)
class Job:
    """A job as the table holds it; ``attributes`` in the table's own names, numbers as int or float."""

    id: str
    status: Status
    attributes: Mapping[str, Any]

    @classmethod
    def of(cls, item: Mapping[str, Any]) -> Self:
        """Read an item in DynamoDB's own JSON."""
        attributes = {name: _plain(_deserialize(value)) for name, value in item.items()}
        if "ModelStops" in attributes:
            # DynamoDB adds two figures at a time, so a record has the sum of the model's starts and that of its stops.
            attributes["ModelSeconds"] = (attributes.pop("ModelStops") - attributes.pop("ModelStarts")) / 1000
        return cls(attributes["Id"], Status(attributes["Status"]), attributes)

    def __getitem__(self, name: str) -> Any:
        """The attribute, or None when the job has none of that name."""
        return self.attributes.get(name)

    @property
    def is_erased(self) -> bool:
        """Whether somebody has asked to erase the job: nothing may be added to it or run for it any more."""
        return "Erasures" in self.attributes


def public(job: Job) -> dict[str, Any]:
    """The job as API JSON in camelCase: times in Unix ms, ``metrics`` once evaluated; never the task token."""
    hidden = PRIVATE if job.status in ENDED else PRIVATE | SHOWN_WHEN_ENDED
    shown: dict[str, Any] = dict.fromkeys(ALWAYS_SHOWN) | {"DatasetCreated": False}
    shown |= {name: value for name, value in job.attributes.items() if name not in hidden}
    metrics = {_camel(name): job[name] for name in METRICS}
    return {
        **{_camel(name): value for name, value in shown.items()},
        "metrics": metrics if "F1" in job.attributes else None,
        **({"erasure": _erasure(job)} if job.is_erased else {}),
    }


def _erasure(job: Job) -> dict[str, Any]:
    """Who asked for the erasure, last and each time, and how far it is; times in Unix ms."""
    requests = [{_camel(name): value for name, value in request.items()} for request in job["Erasures"]]
    last, erased_time = requests[-1], job["ErasedTime"]
    done = erased_time is not None and erased_time >= last["requestedTime"]
    return {
        "status": "Erased" if done else "Requested",
        **last,
        **({} if erased_time is None else {"erasedTime": erased_time}),
        **({} if job["ModelDeletedTime"] is None else {"modelDeletedTime": job["ModelDeletedTime"]}),
        "objects": job["ErasedObjects"] or 0,
        "requests": requests,
    }


def _camel(name: str) -> str:
    """``LabellingJobArn`` becomes ``labellingJobArn``."""
    return name[0].lower() + name[1:]


class Jobs:
    """The table of jobs, through a low-level DynamoDB client. Every write is conditional, nothing scans."""

    def __init__(self, table: str, dynamodb: Any) -> None:
        self._table = table
        self._dynamodb = dynamodb

    def create(self) -> Job:
        """Make a job with an id that no other job has."""
        while True:
            time_ms = now_ms()
            attributes = {
                "Id": new_id(),
                "Kind": KIND,
                "StartTime": time_ms,
                "UpdatedTime": time_ms,
                "Status": Status.CREATED,
                "DetailedStatus": "Waiting for photos",
                "DatasetCreated": False,
            }
            item = {name: _serialize(value) for name, value in attributes.items()}
            try:
                self._dynamodb.put_item(
                    TableName=self._table, Item=item, ConditionExpression="attribute_not_exists(Id)"
                )
            except ClientError as error:
                if error_code(error) != "ConditionalCheckFailedException":
                    raise
                continue  # the id is taken: draw another
            return Job.of(item)

    def get(self, job_id: str) -> Job:
        """Read a job as last written.

        Raises:
            JobNotFound: no job has this id.
        """
        answer = self._dynamodb.get_item(TableName=self._table, Key={"Id": {"S": job_id}}, ConsistentRead=True)
        if "Item" not in answer:
            raise JobNotFound(job_id)
        return Job.of(answer["Item"])

    def newest(self, index: str, limit: int, token: str | None = None) -> tuple[list[Job], str | None]:
        """A page of jobs, newest first, and the token of the next page or None.

        Raises:
            PageTokenInvalid: ``token`` is none that this method gave out.
        """
        query: dict[str, Any] = {
            "TableName": self._table,
            "IndexName": index,
            "KeyConditionExpression": "Kind = :kind",
            "ExpressionAttributeValues": {":kind": {"S": KIND}},
            "ScanIndexForward": False,
            "Limit": limit,
        }
        if token is not None:
            query["ExclusiveStartKey"] = _read_page_token(token)
        page = self._dynamodb.query(**query)
        last = page.get("LastEvaluatedKey")
        return [Job.of(item) for item in page["Items"]], _page_token(last) if last else None

    def move(self, job_id: str, status: Status, *, only_from: Iterable[Status] | None = None, **attributes: Any) -> Job:
        """Move the job to ``status`` and set ``attributes`` in one write, if `MOVES` allows it; returns the job.

        Args:
            only_from: fewer statuses to come from than `MOVES` allows.

        Raises:
            JobNotFound: no job has this id.
            MoveRefused: the job's status does not allow it, or the job was erased.
        """
        allowed = set(allowed_from(status)).intersection(only_from or Status)
        if status in RUNNING:
            attributes["RunningStatus"] = status
        return self._update(job_id, {"Status": status, **attributes}, allowed=allowed)

    def advance(
        self, job_id: str, task: Task, *, status: Status | None = None, detail: str = "", **attributes: Any
    ) -> None:
        """Record that ``task`` is at work, with ``status`` (default: the task's).

        ``detail`` becomes the detailed status (default: the task's name). A move that `MOVES` does not allow comes from
        a late duplicate: it is logged and left out, never an error.
        """
        status = status or task.status
        try:
            self.move(job_id, status, Stage=task.name, DetailedStatus=detail or task.name, **attributes)
        except (MoveRefused, JobNotFound) as refusal:
            logger.warning("Move left out", extra={"status": status, "reason": type(refusal).__name__})

    def note(self, job_id: str, **attributes: Any) -> None:
        """Set attributes and leave the status alone. A job without a record is logged and left out."""
        try:
            self._update(job_id, attributes)
        except JobNotFound:
            logger.warning("Note left out: the job has no record", extra={"attributes": sorted(attributes)})

    def note_first(self, job_id: str, **attributes: Any) -> None:
        """Set those of ``attributes`` that the job does not have yet: a stage that runs twice keeps its first time."""
        try:
            self._update(job_id, attributes, keep=True)
        except JobNotFound:
            logger.warning("Note left out: the job has no record", extra={"attributes": sorted(attributes)})

    def model_stopped(self, job_id: str) -> None:
        """Record that the job's model was stopped: the time that it ran is added to ``ModelSeconds``."""
        try:
            self._update(
                job_id,
                {"ModelStartTime": None},
                computed={
                    "ModelStops": "if_not_exists(ModelStops, :zero) + :now",
                    "ModelStarts": "if_not_exists(ModelStarts, :zero) + ModelStartTime",
                },
                condition="attribute_exists(ModelStartTime)",
                values={":zero": 0, ":now": now_ms()},
            )
        except (MoveRefused, JobNotFound) as refusal:
            logger.warning("Model stop left out", extra={"reason": type(refusal).__name__})

    def store_token(self, job_id: str, token: str, provider: str) -> Job:
        """Keep the task token on which the machine waits for labels, before anybody looks for a labelling job; the job.

        The labelling job that an earlier token waited for is forgotten, so that its late event cannot answer this one.

        Raises:
            JobNotFound, MoveRefused: nothing of this id waits for labels.
        """
        waiting = (Status.CHECKING_IMAGES, Status.WAITING_FOR_LABELLING, Status.LABELLING, *RESUMABLE)
        attributes = {"TaskToken": token, "LabelProvider": provider, "LabellingJobArn": None}
        return self._update(job_id, attributes, allowed=waiting)

    def forget_token(self, job_id: str, token: str) -> None:
        """Drop the token once it is answered; a newer token stays."""
        try:
            self._update(job_id, {"TaskToken": None}, condition="TaskToken = :expected", values={":expected": token})
        except (MoveRefused, JobNotFound):
            logger.info("The token has been replaced")

    def reopen(self, job: Job, status: Status) -> Job:
        """Show a failed or stopped job that was resumed as running again, with ``status``.

        Raises:
            JobNotFound, MoveRefused: also when the job has moved since ``job`` was read: its stages are quicker.
        """
        return self._update(
            job.id,
            {"Status": status, "DetailedStatus": "Resumed", "RunningStatus": status},
            allowed=RESUMABLE,
            condition="EndTime = :end",
            values={":end": job["EndTime"]},
        )

    def labels_posted(self, job_id: str, labels_key: str, caller: str) -> Job:
        """Note which labels are posted for a job that waits for them, and by whom; the job, with the token to answer.

        Raises:
            JobNotFound, MoveRefused: also when the job does not wait for supplied labels.
        """
        return self.note_call(
            job_id,
            "LabelsPostedBy",
            caller,
            condition="attribute_exists(TaskToken) AND LabelProvider = :supplied AND attribute_not_exists(Erasures)",
            values={":supplied": "supplied"},
            PostedLabels=labels_key,
        )

    def claim_resume(self, job_id: str, caller: str) -> Job:
        """Say that ``caller`` resumes the failed or stopped job, so that nobody else resumes or erases it meanwhile.

        Raises:
            JobNotFound, MoveRefused: also when the job was erased, or somebody else is resuming it.
        """
        return self.note_call(
            job_id,
            "ResumedBy",
            caller,
            allowed=RESUMABLE,
            condition=NOT_BEING_RESUMED,
            values={":stale": now_ms() - CLAIM_MS},
            ResumedTime=now_ms(),
            StopRequested=None,
        )

    def renew_resume(self, job: Job) -> Job:
        """Hold on to the claim that ``job`` was read with, for its caller asks once more.

        Raises:
            JobNotFound, MoveRefused: the job was claimed again or has moved since.
        """
        return self._update(
            job.id,
            {"ResumedTime": max(now_ms(), job["ResumedTime"] + 1)},  # another than before, as it tells claims apart
            allowed=RESUMABLE,
            condition="ResumedTime = :read",
            values={":read": job["ResumedTime"]},
        )

    def name_execution(self, job: Job, execution_arn: str, **attributes: Any) -> None:
        """Record the execution that is to be the job's next, with ``attributes``, while the claim of ``job`` holds.

        Raises:
            JobNotFound, MoveRefused: also when the claim was renewed or taken over since, or a model was begun.
        """
        self._update(
            job.id,
            {"ExecutionArn": execution_arn, **attributes},
            condition=(
                "ResumedTime = :read AND (attribute_not_exists(ProjectVersionArn) OR ProjectVersionArn = :version)"
            ),
            values={":read": job["ResumedTime"], ":version": job["ProjectVersionArn"] or ""},
        )

    def end(self, job_id: str, status: Status, end_time: int, execution_arn: str, **attributes: Any) -> Job:
        """Record how the execution ended at ``end_time`` (Unix ms), unless a later end is recorded already.

        Unless the job is ready, something that it started may run on: the record says so until it is `settled`.

        Raises:
            JobNotFound, MoveRefused: as `move`; also when the recorded end is later, the job has another execution, or
                it was resumed in this moment.
        """
        return self._update(
            job_id,
            {
                "Status": status,
                "EndTime": end_time,
                "Unsettled": None if status is Status.READY else True,
                **attributes,
            },
            allowed=allowed_from(status),
            condition=(
                "(attribute_not_exists(EndTime) OR EndTime <= :end)"
                " AND (attribute_not_exists(ExecutionArn) OR ExecutionArn = :execution)"
                " AND (attribute_not_exists(ResumedTime) OR ResumedTime < :end OR ResumedTime < :stale)"
            ),
            values={":end": end_time, ":execution": execution_arn, ":stale": now_ms() - CLAIM_MS},
        )

    def settled(self, job: Job) -> None:
        """Record that nothing is left running of the job that ended, unless it has moved since ``job`` was read."""
        try:
            self._update(job.id, {"Unsettled": None}, condition="EndTime = :end", values={":end": job["EndTime"]})
        except MoveRefused:
            logger.info("The job has moved")

    def unsettled(self, index: str) -> list[str]:
        """The ids of all jobs that may have ended unnoticed, or whose end is not dealt with, oldest first.

        Those are jobs shown as running, with something that may be left running, or with an end of which the message or
        the event was not sent. A job is looked for until `UNSETTLED_MS` after its creation.
        """
        unsent = " OR ".join(f"attribute_not_exists({mark}) OR {mark} < EndTime" for mark in END_SENT)
        running = {f":running{place}": _serialize(status) for place, status in enumerate(RUNNING)}
        return self._found(
            index,
            "attribute_exists(Unsettled)"
            f" OR (attribute_exists(EndTime) AND ({unsent}))"
            f" OR (attribute_exists(ExecutionArn) AND #status IN ({', '.join(running)}))",
            since=now_ms() - UNSETTLED_MS,
            names={"#status": "Status"},
            values=running,
        )

    def discard_model(self, job: Job, project_version_arn: str, **attributes: Any) -> bool:
        """Say that the stopped job's model is going to be deleted; False when the job is resumed or was.

        A resume that comes later finds it here, and one that came before keeps its model.
        """
        try:
            self._update(
                job.id,
                {"DiscardedModel": project_version_arn, **attributes},
                allowed=RESUMABLE,
                condition=f"EndTime = :end AND {NOT_BEING_RESUMED}",
                values={":end": job["EndTime"], ":stale": now_ms() - CLAIM_MS},
            )
        except MoveRefused:
            return False
        return True

    def note_call(
        self,
        job_id: str,
        name: str,
        caller: str,
        *,
        allowed: Iterable[Status] | None = None,
        condition: str | None = None,
        values: Mapping[str, Any] | None = None,
        **attributes: Any,
    ) -> Job:
        """Add ``caller``, as IAM or the user pool names it, to the calls that the record keeps under ``name``.

        Sets ``attributes`` in the same write, if the status is in ``allowed`` and ``condition`` over ``values`` holds.
        A record has room for so many calls: of more than `MOST_CALLS` the first are kept.

        Raises:
            JobNotFound: no job has this id.
            MoveRefused: status or condition do not allow it.
        """
        allowed = None if allowed is None else tuple(allowed)
        call = {":none": [], ":call": [{"By": caller, "Time": now_ms()}], ":most": MOST_CALLS}
        room = f"(attribute_not_exists({name}) OR size({name}) < :most)"
        try:
            return self._update(
                job_id,
                attributes,
                allowed=allowed,
                computed={name: f"list_append(if_not_exists({name}, :none), :call)"},
                condition=f"{room} AND {condition}" if condition else room,
                values=call | dict(values or {}),
            )
        except MoveRefused as refusal:
            if len(refusal.job[name] or ()) < MOST_CALLS:
                raise
            logger.warning("The record holds no more calls", extra={"call": name})
            return self._update(job_id, attributes, allowed=allowed, condition=condition, values=values)

    def claim_report(self, job_id: str, state: str, before: str | None, seconds: float) -> bool:
        """True for who asks for an audit report on ``state`` and is the first to do so for ``seconds``.

        ``before`` is the version of the report that there is, which is not the one asked for.
        """
        now = now_ms()
        try:
            self._update(
                job_id,
                {"ReportAsked": state, "ReportAskedTime": now, "ReportBefore": before},
                condition=("(attribute_not_exists(ReportAsked) OR ReportAsked <> :state OR ReportAskedTime < :before)"),
                values={":state": state, ":before": now - round(seconds * 1000)},
            )
        except MoveRefused:
            return False
        return True

    def notified(self, job_id: str, mark: str, value: int) -> None:
        """Record that a message or an event was sent: ``mark`` is one of `END_SENT` or `LABELLING_SENT`.

        ``value`` only ever grows.
        """
        try:
            self._update(
                job_id,
                {mark: value},
                condition=f"(attribute_not_exists({mark}) OR {mark} < :told)",
                values={":told": value},
            )
        except (MoveRefused, JobNotFound):
            logger.info("Told by somebody else", extra={"mark": mark})

    @contextmanager
    def going_live(self, job_id: str) -> Iterator[None]:
        """While the context is open, no other job changes which model is live.

        A job that has died in it keeps others out for `GOING_LIVE_MS`, and not itself.

        Raises:
            Throttled: another job is at it.
        """
        key = {"TableName": self._table, "Key": {"Id": {"S": GOING_LIVE}}}
        now, mine = now_ms(), {"S": job_id}
        try:
            self._dynamodb.update_item(
                **key,
                UpdateExpression="SET Job = :mine, HeldUntil = :until",
                ConditionExpression="attribute_not_exists(Job) OR Job = :mine OR HeldUntil < :now",
                ExpressionAttributeValues={
                    ":mine": mine,
                    ":until": _serialize(now + GOING_LIVE_MS),
                    ":now": _serialize(now),
                },
            )
        except ClientError as error:
            if error_code(error) != "ConditionalCheckFailedException":
                raise
            raise Throttled("Another job changes in this moment which model is live.") from None
        try:
            yield
        finally:
            try:
                self._dynamodb.update_item(
                    **key,
                    UpdateExpression="REMOVE Job",
                    ConditionExpression="Job = :mine",
                    ExpressionAttributeValues={":mine": mine},
                )
            except ClientError:
                logger.warning("Left to end by itself", extra={"item": GOING_LIVE})

    def request_erasure(
        self, job: Job, requested_by: str, most: int, *, delete_model: bool = False, **attributes: Any
    ) -> Job:
        """Add a request to erase the job, if the job is as ``job`` was read, or was asked to be erased before.

        Sets ``attributes`` in the same write.

        Args:
            requested_by: the caller as IAM or the user pool names it.
            most: requests that a record may hold.
            delete_model: the request is for the job's model too.

        Raises:
            JobNotFound: no job has this id.
            MoveRefused: the job has changed since, or has had ``most`` requests.
        """
        request = {"RequestedBy": requested_by, "RequestedTime": now_ms()}
        if delete_model:
            request["DeleteModel"] = True
        return self._update(
            job.id,
            {"ErasureOpen": True, **attributes},
            computed={"Erasures": "list_append(if_not_exists(Erasures, :none), :request)"},
            condition=(
                "((attribute_not_exists(Erasures) AND UpdatedTime = :read)"
                " OR (attribute_exists(Erasures) AND size(Erasures) < :most))"
            ),
            values={":none": [], ":request": [request], ":read": job["UpdatedTime"], ":most": most},
        )

    def count_erased(self, job_id: str, objects: int) -> None:
        """Add ``objects`` to those that were erased of the job."""
        self._update(
            job_id,
            {},
            computed={"ErasedObjects": "if_not_exists(ErasedObjects, :zero) + :objects"},
            values={":zero": 0, ":objects": objects},
        )

    def erased(self, job: Job, *, last: bool, model_deleted: bool = False) -> Job | None:
        """Record that the job is erased; None when it was asked for once more since ``job`` was read.

        Error and cause in words may name a file, so the cause goes too. ``last``: nothing can be added any more.
        """
        try:
            return self._update(
                job.id,
                {
                    "ErasedTime": now_ms(),
                    "Cause": None,
                    "TaskToken": None,
                    "PostedLabels": None,
                    **({"ErasureOpen": None} if last else {}),
                    **({"ModelDeletedTime": job["ModelDeletedTime"] or now_ms()} if model_deleted else {}),
                },
                condition="size(Erasures) = :requests",
                values={":requests": len(job["Erasures"])},
            )
        except MoveRefused:
            return None

    def to_erase(self, index: str) -> list[str]:
        """The ids of all jobs whose erasure is not over, oldest first."""
        return self._found(index, "attribute_exists(ErasureOpen)")

    def _found(
        self,
        index: str,
        condition: str,
        *,
        since: int = 0,
        names: Mapping[str, str] | None = None,
        values: Mapping[str, Any] | None = None,
    ) -> list[str]:
        """The ids of all jobs created after ``since`` (Unix ms) for which ``condition`` holds, oldest first."""
        pages = self._dynamodb.get_paginator("query").paginate(
            TableName=self._table,
            IndexName=index,
            KeyConditionExpression="Kind = :kind AND StartTime > :since",
            FilterExpression=condition,
            ProjectionExpression="Id",
            **({"ExpressionAttributeNames": dict(names)} if names else {}),
            ExpressionAttributeValues={":kind": {"S": KIND}, ":since": _serialize(since), **(values or {})},
        )
        return [item["Id"]["S"] for page in pages for item in page["Items"]]

    def _update(
        self,
        job_id: str,
        attributes: Mapping[str, Any],
        *,
        allowed: Iterable[Status] | None = None,
        condition: str | None = None,
        values: Mapping[str, Any] | None = None,
        keep: bool = False,
        computed: Mapping[str, str] | None = None,
    ) -> Job:
        """Set ``attributes`` if the status is in ``allowed`` and ``condition`` holds.

        None removes an attribute; ``keep`` leaves those alone that are there; ``computed`` has DynamoDB's own
        expressions over ``values``. With ``allowed``, an erased job is refused: it stays as it ended.
        """
        conditions = ["attribute_exists(Id)"]
        bound = {name: _serialize(value) for name, value in (values or {}).items()}
        names = {f"#{place}": name for place, name in enumerate(attributes)}
        sets, removes = ["UpdatedTime = :updated"], []
        bound[":updated"] = _serialize(now_ms())
        for place, value in enumerate(attributes.values()):
            if value is None:
                removes.append(f"#{place}")
            else:
                sets.append(f"#{place} = " + (f"if_not_exists(#{place}, :{place})" if keep else f":{place}"))
                bound[f":{place}"] = _serialize(value)
        sets += [f"{name} = {expression}" for name, expression in (computed or {}).items()]
        if allowed is not None:
            names["#status"] = "Status"
            places = {f":from{place}": _serialize(status) for place, status in enumerate(allowed)}
            conditions += [f"#status IN ({', '.join(places)})", "attribute_not_exists(Erasures)"]
            bound |= places
        if condition:
            conditions.append(condition)
        expression = f"SET {', '.join(sets)}" + (f" REMOVE {', '.join(removes)}" if removes else "")
        try:
            answer = self._dynamodb.update_item(
                TableName=self._table,
                Key={"Id": {"S": job_id}},
                UpdateExpression=expression,
                ConditionExpression=" AND ".join(conditions),
                **({"ExpressionAttributeNames": names} if names else {}),
                ExpressionAttributeValues=bound,
                ReturnValues="ALL_NEW",
                ReturnValuesOnConditionCheckFailure="ALL_OLD",
            )
        except ClientError as error:
            if error_code(error) != "ConditionalCheckFailedException":
                raise
            found = error.response.get("Item")
            if not found:
                raise JobNotFound(job_id) from None
            raise MoveRefused(Job.of(found)) from None
        return Job.of(answer["Attributes"])


def _serialize(value: Any) -> dict[str, Any]:
    """In DynamoDB's own JSON, which knows no float: through text, so that 0.71 stays 0.71."""
    serialized: dict[str, Any] = TypeSerializer().serialize(json.loads(json.dumps(value), parse_float=Decimal))
    return serialized


def _deserialize(value: Mapping[str, Any]) -> Any:
    return TypeDeserializer().deserialize(value)


def _plain(value: Any) -> Any:
    """Decimals as int or float, in lists and maps too."""
    if isinstance(value, Decimal):
        return int(value) if value == value.to_integral_value() else float(value)
    if isinstance(value, list):
        return [_plain(entry) for entry in value]
    if isinstance(value, dict):
        return {name: _plain(entry) for name, entry in value.items()}
    return value


def _page_token(last: Mapping[str, Any]) -> str:
    return base64.urlsafe_b64encode(f"{last['StartTime']['N']} {last['Id']['S']}".encode()).decode().rstrip("=")


def _read_page_token(token: str) -> dict[str, Any]:
    try:
        text = base64.b64decode(token + "=" * (-len(token) % 4), altchars=b"-_", validate=True).decode()
    except ValueError:
        text = ""
    key = re.fullmatch(r"([0-9]{1,15}) ([a-z0-9-]{1,80})", text)
    if not key:
        raise PageTokenInvalid("The page token is none that a list answered.")
    return {"Kind": {"S": KIND}, "StartTime": {"N": key[1]}, "Id": {"S": key[2]}}
