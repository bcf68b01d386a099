"""Reads the events in the dead-letter queues and sends them to their functions again."""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import Any

import boto3
from botocore.exceptions import BotoCoreError, ClientError

from ekyc.cli.errors import CommandError

JOB_ID = re.compile(r"ekyc-[0-9]{14}-[0-9a-f]{16}")
HIDDEN_SECONDS = 60  # the visibility timeout: a message that is not deleted returns to the queue after this


@dataclass(frozen=True)
class DeadLetter:
    """A message in a dead-letter queue, without its content, which may be secret.

    ``time`` is when the message entered the queue, in Unix milliseconds. ``redelivered`` says whether Lambda has
    accepted the event, in which case the message was deleted.
    """

    function: str
    time: int
    reason: str
    job: str | None
    redelivered: bool


def redeliver(session: boto3.Session, stack: str, function: str | None) -> Iterator[DeadLetter]:
    """Send each message in the stack's dead-letter queues, or in that of ``function``, to its function again.

    A message is deleted when Lambda has accepted it. If the function fails again, the event returns to the queue with
    the new reason.

    Raises:
        CommandError: the stack or the function does not exist, or AWS refused a call.
    """
    try:
        functions = _functions(session, stack)
        if function is not None and function not in functions:
            raise CommandError(
                f"Stack {stack} has no function {function} with a dead-letter queue. The functions with one are "
                f"{', '.join(functions)}."
            )
        for name in [function] if function else functions:
            yield from _redeliver(session, name, **functions[name])
    except (ClientError, BotoCoreError) as error:
        raise CommandError(f"AWS refused a call: {error}") from error


def _functions(session: boto3.Session, stack: str) -> dict[str, dict[str, str]]:
    """The functions with a dead-letter queue: function name and queue ARN, by name in the stack."""
    functions = {}
    pages = session.client("cloudformation").get_paginator("list_stack_resources").paginate(StackName=stack)
    resources = [resource for page in pages for resource in page["StackResourceSummaries"]]
    for resource in resources:
        if resource["ResourceType"] != "AWS::Lambda::Function":
            continue
        configuration = session.client("lambda").get_function_configuration(FunctionName=resource["PhysicalResourceId"])
        if queue := configuration.get("DeadLetterConfig", {}).get("TargetArn"):
            name = resource["LogicalResourceId"][:-8]  # without the hash that CDK appends
            functions[name] = {"function_name": resource["PhysicalResourceId"], "queue_arn": queue}
    return functions


def _redeliver(session: boto3.Session, name: str, function_name: str, queue_arn: str) -> Iterator[DeadLetter]:
    sqs = session.client("sqs")
    response = sqs.get_queue_url(QueueName=queue_arn.rpartition(":")[2])
    queue, began = response["QueueUrl"], _end_of_second(response["ResponseMetadata"]["HTTPHeaders"]["date"])
    while messages := sqs.receive_message(
        QueueUrl=queue,
        MaxNumberOfMessages=10,
        VisibilityTimeout=HIDDEN_SECONDS,
        WaitTimeSeconds=1,
        MessageAttributeNames=["All"],
        AttributeNames=["SentTimestamp"],
    ).get("Messages"):
        for message in messages:
            sent = int(message["Attributes"]["SentTimestamp"])
            if sent > began:
                return  # this event failed again: all older messages were sent
            yield _redeliver_message(session, name, function_name, queue, message, sent)


def _end_of_second(date: str) -> float:
    """The end of the second in a Date header, in Unix milliseconds. Header and SentTimestamp use the same clock."""
    return (parsedate_to_datetime(date).timestamp() + 1) * 1000


def _redeliver_message(
    session: boto3.Session, name: str, function_name: str, queue: str, message: dict[str, Any], sent: int
) -> DeadLetter:
    attributes = {key: value["StringValue"] for key, value in message.get("MessageAttributes", {}).items()}
    reason = attributes.get("ErrorMessage") or attributes.get("ERROR_MESSAGE") or "no reason was given"
    if code := attributes.get("ERROR_CODE"):
        reason = f"{code}: {reason}"
    body = message["Body"]
    job = JOB_ID.search(body)
    try:
        json.loads(body)
    except ValueError:
        reason = "The message is not JSON, so it is not an event. Look at it in the SQS console."
        return DeadLetter(name, sent, reason, None, redelivered=False)
    session.client("lambda").invoke(FunctionName=function_name, InvocationType="Event", Payload=body.encode())
    session.client("sqs").delete_message(QueueUrl=queue, ReceiptHandle=message["ReceiptHandle"])
    return DeadLetter(name, sent, reason, job[0] if job else None, redelivered=True)
