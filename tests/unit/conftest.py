"""What the unit tests share: a job table, a bucket and parameters in moto."""

import io
import logging
from collections.abc import Iterator
from functools import cached_property
from typing import Any

import pytest
from aws_lambda_powertools import Logger
from moto import mock_aws

from pipeline.clients import Clients, clients
from pipeline.jobs import Jobs
from pipeline.jobs import jobs as table
from pipeline.page.tasks import Tasks
from tests.unit.aws_fakes import client

BUCKET, TABLE, INDEX = "ekyc-unit-tests", "jobs", "ByStartTime"
TASKS = Tasks("tasks", "ByAvailability")


@pytest.fixture
def moto_aws(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """AWS in this process, empty. The functions' clients are the shared ones, also those of fakes."""
    for name, value in (
        ("AWS_ACCESS_KEY_ID", "testing"),
        ("AWS_SECRET_ACCESS_KEY", "testing"),
        ("AWS_DEFAULT_REGION", "us-east-1"),
        ("TASKS_TABLE", TASKS.table),
        ("TASKS_INDEX", TASKS.index),
    ):
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("AWS_ENDPOINT_URL", raising=False)
    made_once = (name for name, made in vars(Clients).items() if isinstance(made, cached_property))
    for name in (name for name in made_once if not name.startswith("_")):
        monkeypatch.setitem(vars(clients), name, client(name.rstrip("_")))
    monkeypatch.setitem(vars(table), "table", TABLE)
    with mock_aws():
        yield


@pytest.fixture
def logs() -> Iterator[io.StringIO]:
    """What the functions log, as CloudWatch would get it."""
    lines = io.StringIO()
    logger = Logger()
    handler = logging.StreamHandler(lines)
    handler.setFormatter(logger.registered_formatter)
    root = logging.getLogger(logger.service)
    root.addHandler(handler)
    yield lines
    root.removeHandler(handler)


@pytest.fixture
def dynamodb(moto_aws: None) -> Any:
    """A DynamoDB client with the tables of jobs and of labelling tasks, each with its index."""
    dynamodb = client("dynamodb")
    dynamodb.create_table(
        TableName=TABLE,
        BillingMode="PAY_PER_REQUEST",
        KeySchema=[{"AttributeName": "Id", "KeyType": "HASH"}],
        AttributeDefinitions=[
            {"AttributeName": "Id", "AttributeType": "S"},
            {"AttributeName": "Kind", "AttributeType": "S"},
            {"AttributeName": "StartTime", "AttributeType": "N"},
        ],
        GlobalSecondaryIndexes=[
            {
                "IndexName": INDEX,
                "KeySchema": [
                    {"AttributeName": "Kind", "KeyType": "HASH"},
                    {"AttributeName": "StartTime", "KeyType": "RANGE"},
                ],
                "Projection": {"ProjectionType": "ALL"},
            }
        ],
    )
    dynamodb.create_table(
        TableName=TASKS.table,
        BillingMode="PAY_PER_REQUEST",
        KeySchema=[
            {"AttributeName": "JobId", "KeyType": "HASH"},
            {"AttributeName": "Item", "KeyType": "RANGE"},
        ],
        AttributeDefinitions=[
            {"AttributeName": "JobId", "AttributeType": "S"},
            {"AttributeName": "Item", "AttributeType": "S"},
            {"AttributeName": "Queue", "AttributeType": "S"},
            {"AttributeName": "AvailableAt", "AttributeType": "N"},
        ],
        GlobalSecondaryIndexes=[
            {
                "IndexName": TASKS.index,
                "KeySchema": [
                    {"AttributeName": "Queue", "KeyType": "HASH"},
                    {"AttributeName": "AvailableAt", "KeyType": "RANGE"},
                ],
                "Projection": {"ProjectionType": "INCLUDE", "NonKeyAttributes": ["People", "Version"]},
            }
        ],
    )
    return dynamodb


@pytest.fixture
def jobs(dynamodb: Any) -> Jobs:
    """The empty table of jobs."""
    return table


@pytest.fixture
def s3(moto_aws: None) -> Any:
    """An S3 client with the empty bucket."""
    s3 = client("s3")
    s3.create_bucket(Bucket=BUCKET)
    return s3
