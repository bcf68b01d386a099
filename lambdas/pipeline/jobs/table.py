"""The table of jobs: create, read and list records, change their status, and update them on a condition."""

from collections.abc import Callable, Iterable, Mapping
from functools import cached_property
from typing import Any

from aws_lambda_powertools import Logger
from boto3.dynamodb.conditions import Attr, ConditionBase, ConditionExpressionBuilder, Key
from botocore.exceptions import ClientError

from pipeline.clients import clients
from pipeline.errors import error_code
from pipeline.jobs.items import KIND, page_token, read_page_token, serialize
from pipeline.jobs.record import Job, new_id, now_ms
from pipeline.settings import Settings
from rules.states import MOVES, RUNNING, Status, Task

MOST_CALLS = 100
"""The maximum number of calls of a kind in a record. DynamoDB limits an item to 400 KB."""

NOT_ERASED = Attr("Erasures").not_exists()

NewValue = Callable[[str, "Expressions"], str]
"""The new value of an attribute as an expression, made from the attribute's name and the request's placeholders."""

logger = Logger(child=True)


class JobNotFound(Exception):
    """The table has no job with this id."""

    def __init__(self, job_id: str) -> None:
        super().__init__(f"There is no job {job_id}.")
        self.job_id = job_id


class MoveRefused(Exception):
    """The status or a condition does not allow the write, or the job was erased. ``job`` is the current record."""

    def __init__(self, job: Job) -> None:
        super().__init__(f"The job is {job.status}.")
        self.job = job


def appended(entry: Any) -> NewValue:
    """The new value of a list attribute: the list with ``entry`` added."""
    return lambda name, bind: f"list_append(if_not_exists({name}, {bind([])}), {bind([entry])})"


def increased(by: int) -> NewValue:
    """The new value of a number attribute: its value, or 0 if the record lacks it, plus ``by``."""
    return lambda name, bind: f"if_not_exists({name}, {bind(0)}) + {bind(by)}"


def increased_by_attribute(other: str) -> NewValue:
    """The new value of a number attribute: its value, or 0 if the record lacks it, plus the attribute ``other``."""
    return lambda name, bind: f"if_not_exists({name}, {bind(0)}) + {other}"


def kept(value: Any) -> NewValue:
    """The new value of an attribute: its present value, or ``value`` if the record lacks the attribute."""
    return lambda name, bind: f"if_not_exists({name}, {bind(value)})"


class Expressions:
    """The expressions of one request, with the placeholders for their names and values."""

    def __init__(self) -> None:
        self._builder = ConditionExpressionBuilder()
        self.names: dict[str, str] = {}
        self.values: dict[str, Any] = {}

    def __call__(self, value: Any) -> str:
        """The placeholder for ``value``."""
        placeholder = f":s{len(self.values)}"
        self.values[placeholder] = serialize(value)
        return placeholder

    def name(self, attribute: str) -> str:
        """The placeholder for the attribute's name, which may be a reserved word of DynamoDB."""
        placeholder = f"#s{len(self.names)}"
        self.names[placeholder] = attribute
        return placeholder

    def condition(self, condition: ConditionBase, *, is_key: bool = False) -> str:
        """``condition`` as an expression."""
        built = self._builder.build_expression(condition, is_key_condition=is_key)
        self.names |= built.attribute_name_placeholders
        self.values |= {name: serialize(value) for name, value in built.attribute_value_placeholders.items()}
        return str(built.condition_expression)

    def update(self, attributes: Mapping[str, Any], computed: Mapping[str, NewValue]) -> str:
        """The update expression of `Jobs.update`."""
        names = {attribute: self.name(attribute) for attribute in (*attributes, *computed)}
        sets = [f"{names[key]} = {self(value)}" for key, value in attributes.items() if value is not None]
        sets += [f"{names[key]} = {value(names[key], self)}" for key, value in computed.items()]
        removes = [names[key] for key, value in attributes.items() if value is None]
        return f"SET {', '.join(sets)}" + (f" REMOVE {', '.join(removes)}" if removes else "")

    def arguments(self) -> dict[str, Any]:
        """The arguments of a request with these expressions. Empty maps are left out, as DynamoDB refuses them."""
        named = {"ExpressionAttributeNames": self.names, "ExpressionAttributeValues": self.values}
        return {argument: values for argument, values in named.items() if values}


class Jobs:
    """The table of jobs, through the low-level DynamoDB client."""

    @cached_property
    def table(self) -> str:
        """The table's name."""
        return Settings.from_env().jobs_table

    def create(self) -> Job:
        """Create a job with a new id."""
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
            item = {name: serialize(value) for name, value in attributes.items()}
            try:
                clients.dynamodb.put_item(
                    TableName=self.table, Item=item, ConditionExpression="attribute_not_exists(Id)"
                )
            except ClientError as error:
                if error_code(error) != "ConditionalCheckFailedException":
                    raise
                continue  # another job has this id: draw another id
            return Job.of(item)

    def get(self, job_id: str) -> Job:
        """Read a job with a consistent read.

        Raises:
            JobNotFound: no job has this id.
        """
        answer = clients.dynamodb.get_item(TableName=self.table, Key={"Id": {"S": job_id}}, ConsistentRead=True)
        if "Item" not in answer:
            raise JobNotFound(job_id)
        return Job.of(answer["Item"])

    def list_newest(self, index: str, limit: int, token: str | None = None) -> tuple[list[Job], str | None]:
        """A page of jobs, newest first, and the token of the next page or None.

        Raises:
            PageTokenInvalid: ``token`` was not returned by this method.
        """
        expressions = Expressions()
        query: dict[str, Any] = {
            "TableName": self.table,
            "IndexName": index,
            "KeyConditionExpression": expressions.condition(Key("Kind").eq(KIND), is_key=True),
            "ScanIndexForward": False,
            "Limit": limit,
        }
        if token is not None:
            query["ExclusiveStartKey"] = read_page_token(token)
        page = clients.dynamodb.query(**query, **expressions.arguments())
        last = page.get("LastEvaluatedKey")
        return [Job.of(item) for item in page["Items"]], page_token(last) if last else None

    def list_ids(self, index: str, condition: ConditionBase, *, since: int = 0) -> list[str]:
        """The ids of all jobs created after ``since`` (Unix ms) for which ``condition`` holds, oldest first."""
        expressions = Expressions()
        created = Key("Kind").eq(KIND) & Key("StartTime").gt(since)
        pages = clients.dynamodb.get_paginator("query").paginate(
            TableName=self.table,
            IndexName=index,
            KeyConditionExpression=expressions.condition(created, is_key=True),
            FilterExpression=expressions.condition(condition),
            ProjectionExpression="Id",
            **expressions.arguments(),
        )
        return [item["Id"]["S"] for page in pages for item in page["Items"]]

    def move(self, job_id: str, status: Status, *, only_from: Iterable[Status] | None = None, **attributes: Any) -> Job:
        """Move the job to ``status`` and set ``attributes`` in one write, if `MOVES` allows it; returns the job.

        Args:
            only_from: allow the move only from these statuses.

        Raises:
            JobNotFound: no job has this id.
            MoveRefused: the job's status does not allow it, or the job was erased.
        """
        allowed = set(allowed_from(status)).intersection(only_from or Status)
        if status in RUNNING:
            attributes["RunningStatus"] = status
        return self.update(job_id, {"Status": status, **attributes}, allowed=allowed)

    def advance(
        self, job_id: str, task: Task, *, status: Status | None = None, detail: str = "", **attributes: Any
    ) -> None:
        """Record that ``task`` runs, with ``status`` (default: the task's).

        ``detail`` becomes the detailed status (default: the task's name). If `MOVES` does not allow the move, a late
        duplicate of the task made the call: this logs it and changes nothing.
        """
        status = status or task.status
        try:
            self.move(job_id, status, Stage=task.name, DetailedStatus=detail or task.name, **attributes)
        except (MoveRefused, JobNotFound) as refusal:
            logger.warning("Move skipped", extra={"status": status, "reason": type(refusal).__name__})

    def note(self, job_id: str, **attributes: Any) -> None:
        """Set attributes without changing the status. If the job has no record, logs it and changes nothing."""
        try:
            self.update(job_id, attributes)
        except JobNotFound:
            logger.warning("Note skipped: the job has no record", extra={"attributes": sorted(attributes)})

    def note_first(self, job_id: str, **attributes: Any) -> None:
        """Set the ``attributes`` that the record lacks. So if a stage runs twice, the time of its first run is kept."""
        try:
            self.update(job_id, {}, computed={name: kept(value) for name, value in attributes.items()})
        except JobNotFound:
            logger.warning("Note skipped: the job has no record", extra={"attributes": sorted(attributes)})

    def note_call(
        self,
        job_id: str,
        name: str,
        caller: str,
        *,
        allowed: Iterable[Status] | None = None,
        condition: ConditionBase | None = None,
        **attributes: Any,
    ) -> Job:
        """Add ``caller``, as IAM or the user pool names it, to the list of calls in the attribute ``name``.

        Sets ``attributes`` in the same write, if the status is in ``allowed`` and ``condition`` holds. After
        `MOST_CALLS` calls, sets ``attributes`` but does not record the call.

        Raises:
            JobNotFound: no job has this id.
            MoveRefused: the status or ``condition`` does not allow the write.
        """
        allowed = None if allowed is None else tuple(allowed)
        room = Attr(name).not_exists() | Attr(name).size().lt(MOST_CALLS)
        try:
            return self.update(
                job_id,
                attributes,
                allowed=allowed,
                computed={name: appended({"By": caller, "Time": now_ms()})},
                condition=room & condition if condition else room,
            )
        except MoveRefused as refusal:
            if len(refusal.job[name] or ()) < MOST_CALLS:
                raise
            logger.warning("The list of calls is full", extra={"call": name})
            return self.update(job_id, attributes, allowed=allowed, condition=condition)

    def update(
        self,
        job_id: str,
        attributes: Mapping[str, Any],
        *,
        allowed: Iterable[Status] | None = None,
        condition: ConditionBase | None = None,
        computed: Mapping[str, NewValue] | None = None,
    ) -> Job:
        """Set ``attributes`` in one write if the status is in ``allowed`` and ``condition`` holds; returns the job.

        None removes an attribute. ``computed`` has the attributes whose new value depends on the old one: `appended`,
        `increased`, `kept`. With ``allowed``, an erased job is refused too, because its status must not change any
        more.

        Raises:
            JobNotFound: no job has this id.
            MoveRefused: the status or ``condition`` does not allow the write.
        """
        expressions = Expressions()
        update = expressions.update({"UpdatedTime": now_ms(), **attributes}, computed or {})
        needed: ConditionBase = Attr("Id").exists()
        if allowed is not None:
            needed = needed & Attr("Status").is_in(list(allowed)) & NOT_ERASED
        if condition:
            needed = needed & condition
        try:
            answer = clients.dynamodb.update_item(
                TableName=self.table,
                Key={"Id": {"S": job_id}},
                UpdateExpression=update,
                ConditionExpression=expressions.condition(needed),
                **expressions.arguments(),
                ReturnValues="ALL_NEW",
                ReturnValuesOnConditionCheckFailure="ALL_OLD",
            )
        except ClientError as error:
            if error_code(error) != "ConditionalCheckFailedException":
                raise
            item: Any = error.response.get("Item")
            if not item:
                raise JobNotFound(job_id) from None
            raise MoveRefused(Job.of(item)) from None
        return Job.of(answer["Attributes"])


jobs = Jobs()


def allowed_from(status: Status) -> tuple[Status, ...]:
    """The statuses from which a job may move to ``status``."""
    return tuple(before for before, after in MOVES.items() if status in after)
