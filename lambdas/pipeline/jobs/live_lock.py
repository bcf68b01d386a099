"""The lock on the live model: at most one job at a time changes which model is live."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from aws_lambda_powertools import Logger
from boto3.dynamodb.conditions import Attr
from botocore.exceptions import ClientError

from pipeline.clients import clients
from pipeline.errors import Throttled, error_code
from pipeline.jobs.items import serialize
from pipeline.jobs.record import now_ms
from pipeline.jobs.table import Expressions, jobs

LEASE_MS = 120_000
"""Lease on the live-model lock. Must exceed PublishModel's timeout."""

KEY = "going-live"
"""Key of the lock's item in the table of jobs. No job can have this id."""

logger = Logger(child=True)


@contextmanager
def hold(job_id: str) -> Iterator[None]:
    """Hold the lock for the job while the context is open.

    If the function crashes, the job keeps the lock until the lease expires. Until then, only the same job can take it::

        job 1   hold   crash                     hold   release
        job 2                  hold: Throttled                    hold

        job 1   hold   crash                     lease expires
        job 2                  hold: Throttled                   hold

    Raises:
        Throttled: another job holds the lock.
    """
    key: dict[str, Any] = {"TableName": jobs.table, "Key": {"Id": {"S": KEY}}}
    now, expressions = now_ms(), Expressions()
    free = Attr("Job").not_exists() | Attr("Job").eq(job_id) | Attr("HeldUntil").lt(now)
    try:
        clients.dynamodb.update_item(
            **key,
            UpdateExpression=f"SET Job = {expressions(job_id)}, HeldUntil = {expressions(now + LEASE_MS)}",
            ConditionExpression=expressions.condition(free),
            **expressions.arguments(),
        )
    except ClientError as error:
        if error_code(error) != "ConditionalCheckFailedException":
            raise
        raise Throttled("Another job is changing which model is live.") from None
    try:
        yield
    finally:
        try:
            clients.dynamodb.update_item(
                **key,
                UpdateExpression="REMOVE Job",
                ConditionExpression="Job = :mine",
                ExpressionAttributeValues={":mine": serialize(job_id)},
            )
        except ClientError:
            logger.warning("The lock was not released. It expires with its lease", extra={"item": KEY})
