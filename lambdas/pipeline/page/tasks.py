"""The table of labelling tasks. A job has one item for itself, one for each photo, and one for each person.

An item in a queue has ``Queue`` and ``AvailableAt`` (Unix ms, or a rank below all times), so the sparse index has only
open photos and open jobs. Each write gives an item a new ``Version`` and requires the version that was read, so that of
several writers one succeeds, and the others read again.
"""

import secrets
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from boto3.dynamodb.conditions import Attr, ConditionBase, Key
from botocore.exceptions import ClientError

from pipeline.clients import clients
from pipeline.errors import error_code
from pipeline.jobs.items import plain, serialize
from pipeline.jobs.table import Expressions

JOB = "job"
OPEN_JOBS = "jobs"
"""The queue of the jobs that are open."""
WRITERS = 32

Item = Mapping[str, Any]


class Changed(Exception):
    """Another writer has changed the item. ``current`` is the item, or None if it does not exist any more."""

    def __init__(self, current: Item | None) -> None:
        super().__init__("The item has changed.")
        self.current = current


def photo_key(place: int) -> str:
    """The sort key of the photo in line ``place`` of the input manifest. The keys sort as the lines do."""
    return f"photo/{place:05d}"


def person_key(subject: str) -> str:
    """The sort key of a person's item."""
    return f"person/{subject}"


@dataclass(frozen=True)
class Tasks:
    """The table and its index, by name."""

    table: str
    index: str

    def get(self, job_id: str, key: str) -> Item | None:
        """Read an item with a consistent read."""
        answer = clients.dynamodb.get_item(TableName=self.table, Key=_key(job_id, key), ConsistentRead=True)
        return _plain(answer["Item"]) if "Item" in answer else None

    def photos(self, job_id: str) -> Iterator[Item]:
        """Read all photos of the job with consistent reads, in the order of the input manifest."""
        expressions = Expressions()
        condition = Key("JobId").eq(job_id) & Key("Item").begins_with("photo/")
        pages = clients.dynamodb.get_paginator("query").paginate(
            TableName=self.table,
            ConsistentRead=True,
            KeyConditionExpression=expressions.condition(condition, is_key=True),
            **expressions.arguments(),
        )
        for page in pages:
            yield from map(_plain, page["Items"])

    def queue(self, name: str, until: int, *, limit: int) -> Iterator[Item]:
        """The items of a queue that are available at ``until`` (Unix ms), the first first; reads ``limit`` at a time.

        An item has its key, ``AvailableAt``, ``People`` and ``Version``. The index may be behind the table.
        """
        expressions = Expressions()
        condition = Key("Queue").eq(name) & Key("AvailableAt").lte(until)
        pages = clients.dynamodb.get_paginator("query").paginate(
            TableName=self.table,
            IndexName=self.index,
            KeyConditionExpression=expressions.condition(condition, is_key=True),
            PaginationConfig={"PageSize": limit},
            **expressions.arguments(),
        )
        for page in pages:
            yield from map(_plain, page["Items"])

    def count(self, queue: str, *, most: int | None = None) -> int:
        """The number of items in a queue, counted up to ``most``. The index may be behind the table."""
        expressions = Expressions()
        query: dict[str, Any] = {
            "TableName": self.table,
            "IndexName": self.index,
            "Select": "COUNT",
            "KeyConditionExpression": expressions.condition(Key("Queue").eq(queue), is_key=True),
            **expressions.arguments(),
        }
        if most is not None:
            return clients.dynamodb.query(**query, Limit=most)["Count"]
        return sum(page["Count"] for page in clients.dynamodb.get_paginator("query").paginate(**query))

    def change(self, item: Item, condition: ConditionBase | None = None, **attributes: Any) -> dict[str, Any]:
        """Set attributes of the item, and remove those that are None, if nobody has changed it; returns the item.

        ``item`` needs its key and its version. If the SDK repeats a write whose response was lost, the item has the new
        version already, which counts as success.

        Raises:
            Changed: another writer has changed the item, or ``condition`` does not hold.
        """
        version, expressions = _new_version(), Expressions()
        needed: ConditionBase = Attr("Version").eq(item["Version"])
        try:
            answer = clients.dynamodb.update_item(
                TableName=self.table,
                Key=_key(item["JobId"], item["Item"]),
                UpdateExpression=expressions.update({**attributes, "Version": version}, {}),
                ConditionExpression=expressions.condition(needed & condition if condition else needed),
                **expressions.arguments(),
                ReturnValues="ALL_NEW",
                ReturnValuesOnConditionCheckFailure="ALL_OLD",
            )
        except ClientError as error:
            if error_code(error) != "ConditionalCheckFailedException":
                raise
            found: Any = error.response.get("Item")
            current = _plain(found) if found else None
            if current and current["Version"] == version:
                return current
            raise Changed(current) from None
        return _plain(answer["Attributes"])

    def create(self, job_id: str, key: str, **attributes: Any) -> dict[str, Any] | None:
        """Create an item; returns it, or None if it exists already."""
        item = {"JobId": job_id, "Item": key, **attributes, "Version": _new_version()}
        try:
            clients.dynamodb.put_item(
                TableName=self.table,
                Item={name: serialize(value) for name, value in item.items() if value is not None},
                ConditionExpression="attribute_not_exists(JobId)",
            )
        except ClientError as error:
            if error_code(error) != "ConditionalCheckFailedException":
                raise
            return None
        return item

    def create_photos(self, job_id: str, photos: Iterator[tuple[int, Mapping[str, Any]]]) -> None:
        """Create the items of photos, given by their places, in parallel. Items that exist already are kept."""
        with ThreadPoolExecutor(WRITERS) as pool:
            made = pool.map(lambda photo: self.create(job_id, photo_key(photo[0]), **photo[1]), photos)
            for _ in made:
                pass

    def add_to_person(
        self, job_id: str, subject: str, place: int, seconds: float, expires: int, *, to: str = "Places"
    ) -> None:
        """Record in the person's item that the person has answered the photo. A repeated call adds no place twice.

        ``to`` is ``Places``, or ``Reviewed`` if the person has decided about the photo as a reviewer.
        """
        expressions = Expressions()
        places, total = expressions.name(to), expressions.name("Seconds")
        expressions.values[":place"] = {"NS": [str(place)]}
        clients.dynamodb.update_item(
            TableName=self.table,
            Key=_key(job_id, person_key(subject)),
            UpdateExpression=f"SET {expressions.name('Expires')} = {expressions(expires)} "
            f"ADD {places} :place, {total} {expressions(seconds)}",
            **expressions.arguments(),
        )

    def own_places(self, job_id: str, subject: str, of: str = "Places") -> tuple[list[int], float]:
        """The places that `add_to_person` has added, in order, and the seconds of all answers together."""
        answer = clients.dynamodb.get_item(TableName=self.table, Key=_key(job_id, person_key(subject)))
        item: Any = answer.get("Item", {})
        places = sorted(int(place) for place in item.get(of, {}).get("NS", ()))
        return places, float(plain(item["Seconds"])) if "Seconds" in item else 0.0

    def get_many(self, keys: Sequence[tuple[str, str]]) -> list[Item]:
        """Read up to 100 items, given by job and key, in no particular order. Leaves out those that do not exist."""
        request: Any = {self.table: {"Keys": [_key(*key) for key in keys], "ConsistentRead": True}} if keys else {}
        items: list[Item] = []
        while request:
            answer = clients.dynamodb.batch_get_item(RequestItems=request)
            items += map(_plain, answer["Responses"].get(self.table, ()))
            request = answer.get("UnprocessedKeys")
        return items

    def delete(self, job_id: str) -> int:
        """Delete all items of the job; returns their number."""
        expressions = Expressions()
        pages = clients.dynamodb.get_paginator("query").paginate(
            TableName=self.table,
            ConsistentRead=True,
            KeyConditionExpression=expressions.condition(Key("JobId").eq(job_id), is_key=True),
            ProjectionExpression=f"JobId, {expressions.name('Item')}",
            **expressions.arguments(),
        )
        deleted = 0
        with ThreadPoolExecutor(WRITERS) as pool:
            for page in pages:
                keys = [{"JobId": item["JobId"], "Item": item["Item"]} for item in page["Items"]]
                deleted += sum(1 for _ in pool.map(self._delete_item, keys))
        return deleted

    def _delete_item(self, key: Any) -> None:
        clients.dynamodb.delete_item(TableName=self.table, Key=key)


def _key(job_id: str, key: str) -> dict[str, Any]:
    return {"JobId": {"S": job_id}, "Item": {"S": key}}


def _plain(item: Mapping[str, Any]) -> dict[str, Any]:
    return {name: plain(value) for name, value in item.items()}


def _new_version() -> str:
    return secrets.token_hex(8)
