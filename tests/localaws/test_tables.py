"""The local DynamoDB's queries: what they return, and that a query with a limit looks at few items."""

from __future__ import annotations

import random
from typing import Any

import pytest
from moto.dynamodb.models.table import Table

from ekyc.localaws.server import LocalAws

TABLE, INDEX = "tasks", "ByTime"
QUEUE = {"KeyConditionExpression": "Queue = :q", "ExpressionAttributeValues": {":q": {"S": "open"}}}


@pytest.fixture
def dynamodb(local_aws: LocalAws) -> Any:
    """A table with 60 items, written in random order. 40 are in the queue `open`, at the times 0 to 19, two at each."""
    local_aws.reset()
    client = local_aws.client("dynamodb")
    attributes = [("Job", "S"), ("Item", "S"), ("Queue", "S"), ("Time", "N")]
    client.create_table(
        TableName=TABLE,
        BillingMode="PAY_PER_REQUEST",
        AttributeDefinitions=[{"AttributeName": name, "AttributeType": kind} for name, kind in attributes],
        KeySchema=[{"AttributeName": "Job", "KeyType": "HASH"}, {"AttributeName": "Item", "KeyType": "RANGE"}],
        GlobalSecondaryIndexes=[
            {
                "IndexName": INDEX,
                "KeySchema": [
                    {"AttributeName": "Queue", "KeyType": "HASH"},
                    {"AttributeName": "Time", "KeyType": "RANGE"},
                ],
                "Projection": {"ProjectionType": "INCLUDE", "NonKeyAttributes": ["Kept"]},
            }
        ],
    )
    numbers = random.Random(7).sample(range(60), 60)  # noqa: S311
    for number in numbers:
        item = {"Job": {"S": f"job-{number % 2}"}, "Item": {"S": f"{number:02}"}, "Kept": {"S": "x"}, "Not": {"S": "x"}}
        if number < 40:
            item |= {"Queue": {"S": "open"}, "Time": {"N": str(number // 2)}}
        elif number < 50:
            item |= {"Queue": {"S": "other"}, "Time": {"N": "0"}}
        client.put_item(TableName=TABLE, Item=item)
    return client


def numbers(answer: Any) -> list[int]:
    return [int(item["Item"]["S"]) for item in answer["Items"]]


def test_a_page_of_an_index_follows_the_one_before(dynamodb: Any) -> None:
    # Given pages whose ends are between two items of the same time
    query = {"TableName": TABLE, "IndexName": INDEX, **QUEUE}
    pages = list(dynamodb.get_paginator("query").paginate(**query, PaginationConfig={"PageSize": 7}))
    # Then they have each item once, by time, and those of the same time by key
    assert [numbers(page) for page in pages][:2] == [[0, 1, 2, 3, 4, 5, 6], [7, 8, 9, 10, 11, 12, 13]]
    assert [number for page in pages for number in numbers(page)] == list(range(40))
    # And only the attributes that the index has
    page = dynamodb.query(TableName=TABLE, IndexName=INDEX, Limit=1, **QUEUE)
    assert page["Items"][0].keys() == {"Job", "Item", "Queue", "Time", "Kept"}
    # And the table keeps all
    assert "Not" in dynamodb.get_item(TableName=TABLE, Key={"Job": {"S": "job-0"}, "Item": {"S": "00"}})["Item"]


@pytest.mark.parametrize(
    ("condition", "expected"),
    [
        ("#t <= :a", range(12)),
        ("#t < :a", range(10)),
        ("#t >= :a", range(10, 40)),
        ("#t BETWEEN :a AND :b", range(10, 16)),
    ],
)
def test_times_of_an_index_are_compared_as_numbers(dynamodb: Any, condition: str, expected: range) -> None:
    values = {":q": {"S": "open"}, ":a": {"N": "5"}, ":b": {"N": "7"}}
    query = {
        "TableName": TABLE,
        "IndexName": INDEX,
        "KeyConditionExpression": f"Queue = :q AND {condition}",
        "ExpressionAttributeNames": {"#t": "Time"},
        "ExpressionAttributeValues": {
            name: value for name, value in values.items() if name != ":b" or "AND" in condition
        },
    }
    assert numbers(dynamodb.query(**query)) == list(expected)
    assert numbers(dynamodb.query(**query, Limit=4)) == list(expected)[:4]
    assert numbers(dynamodb.query(**query, Limit=4, ScanIndexForward=False)) == list(expected)[:-5:-1]


def test_a_query_of_the_table_is_in_the_order_of_keys(dynamodb: Any) -> None:
    query = {
        "KeyConditionExpression": "Job = :j AND begins_with(#i, :p)",
        "ExpressionAttributeNames": {"#i": "Item"},
        "ExpressionAttributeValues": {":j": {"S": "job-1"}, ":p": {"S": "1"}},
    }
    assert numbers(dynamodb.query(TableName=TABLE, **query)) == [11, 13, 15, 17, 19]
    nothing = {"KeyConditionExpression": "Job = :j", "ExpressionAttributeValues": {":j": {"S": "job-9"}}}
    assert dynamodb.query(TableName=TABLE, **nothing)["Items"] == []


def test_a_query_with_a_limit_looks_at_few_items(dynamodb: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    # Given that the items are counted which moto sorts and looks through
    looked_at: list[int] = []
    sorted_items = Table.sorted_items

    def count(self: Table, hash_keys: list[str], range_keys: list[str | None], items: list[Any]) -> Any:
        looked_at.append(len(items))
        return sorted_items(self, hash_keys, range_keys, items)

    monkeypatch.setattr(Table, "sorted_items", count)
    # When three of forty items are asked for
    page = dynamodb.query(TableName=TABLE, IndexName=INDEX, Limit=3, **QUEUE)
    # Then it looks at one more, which shows that there is a next page
    assert numbers(page) == [0, 1, 2]
    assert "LastEvaluatedKey" in page
    assert looked_at == [4]
