"""What the functions of the stack could not handle, and how it is given to them once more."""

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
HIDDEN_SECONDS = 60  # a message that was read comes back after this, unless it is deleted


@dataclass(frozen=True)
class DeadLetter:
    """A message: whose it is, when it came (Unix ms), why, and of which job; never what it holds, which may be secret.

    ``redelivered`` says whether it was handed over and deleted.
    """

    function: str
    time: int
    reason: str
    job: str | None
    redelivered: bool


def redeliver(session: boto3.Session, stack: str, function: str | None) -> Iterator[DeadLetter]:
    """Give each message of the stack's dead-letter queues, or of those of ``function``, to its function again.

    A message is deleted when Lambda has taken it. One that fails again comes back with its new reason.

    Raises:
        CommandError: the stack or the function does not exist, or AWS refused a call.
    """
    try:
        functions = _functions(session, stack)
        if function is not None and function not in functions:
            raise CommandError(
                f"Stack {stack} has no function {function} with a dead-letter queue, but {', '.join(functions)}."
            )
        for name in [function] if function else functions:
            yield from _redeliver(session, name, **functions[name])
    except (ClientError, BotoCoreError) as error:
        raise CommandError(f"AWS refused a call: {error}") from error


def _functions(session: boto3.Session, stack: str) -> dict[str, dict[str, str]]:
    """Each function of the stack that has a dead-letter queue, with that, by its name in the stack."""
    found = {}
    pages = session.client("cloudformation").get_paginator("list_stack_resources").paginate(StackName=stack)
    resources = [resource for page in pages for resource in page["StackResourceSummaries"]]
    for resource in resources:
        if resource["ResourceType"] != "AWS::Lambda::Function":
            continue
        described = session.client("lambda").get_function_configuration(FunctionName=resource["PhysicalResourceId"])
        if queue := described.get("DeadLetterConfig", {}).get("TargetArn"):
            name = resource["LogicalResourceId"][:-8]  # without the hash that CDK appends
            found[name] = {"function_name": resource["PhysicalResourceId"], "queue_arn": queue}
    return found


def _redeliver(session: boto3.Session, name: str, function_name: str, queue_arn: str) -> Iterator[DeadLetter]:
    sqs = session.client("sqs")
    found = sqs.get_queue_url(QueueName=queue_arn.rpartition(":")[2])
    queue, began = found["QueueUrl"], _end_of_second(found["ResponseMetadata"]["HTTPHeaders"]["date"])
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
                return  # one that has come back already: all of before have been read
            yield _give(session, name, function_name, queue, message, sent)


def _end_of_second(date: str) -> float:
    """Unix ms of the end of the second that a Date header names. It is the queue's own time, as SentTimestamp is."""
    return (parsedate_to_datetime(date).timestamp() + 1) * 1000


def _give(
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
        return DeadLetter(name, sent, "This is no event. Look at it in the SQS console.", None, redelivered=False)
    session.client("lambda").invoke(FunctionName=function_name, InvocationType="Event", Payload=body.encode())
    session.client("sqs").delete_message(QueueUrl=queue, ReceiptHandle=message["ReceiptHandle"])
    return DeadLetter(name, sent, reason, job[0] if job else None, redelivered=True)
