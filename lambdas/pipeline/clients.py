"""The AWS clients of a function. Each is created at its first use, to keep cold starts short.

The SDK retries short throttling. The state machine retries longer throttling.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property, wraps
from threading import Lock
from typing import TYPE_CHECKING, TypeVar

import boto3
from botocore.config import Config

if TYPE_CHECKING:
    from types_boto3_dynamodb import DynamoDBClient
    from types_boto3_events import EventBridgeClient
    from types_boto3_lambda import LambdaClient
    from types_boto3_rekognition import RekognitionClient
    from types_boto3_s3 import S3Client
    from types_boto3_sagemaker import SageMakerClient
    from types_boto3_sns import SNSClient
    from types_boto3_ssm import SSMClient
    from types_boto3_stepfunctions import SFNClient

CONFIG = Config(
    connect_timeout=5,
    read_timeout=30,
    max_pool_connections=64,
    retries={"mode": "standard", "total_max_attempts": 4},
    signature_version="v4",
    s3={"addressing_style": "virtual"},  # with the Region's host in presigned URLs, S3 does not redirect
)
# Standard mode retries Rekognition's LimitExceededException as throttling; legacy mode does not. The error means that a
# quota is used up, perhaps for hours.
REKOGNITION_CONFIG = CONFIG.merge(Config(retries={"mode": "legacy", "total_max_attempts": 4}))

Client = TypeVar("Client")
_making = Lock()


def _client(make: Callable[[Clients], Client]) -> cached_property[Client]:
    """An attribute that creates its client at the first use, one client at a time: boto3's session is not thread-safe.

    Source: Boto3 guide, "Session", "Multithreading or multiprocessing with sessions".
    """

    @wraps(make)
    def make_under_lock(clients: Clients) -> Client:
        with _making:
            return make(clients)

    return cached_property(make_under_lock)


class Clients:
    """The clients as attributes. Threads may share them."""

    @_client
    def dynamodb(self) -> DynamoDBClient:
        return boto3.client("dynamodb", config=CONFIG)

    @_client
    def events(self) -> EventBridgeClient:
        return boto3.client("events", config=CONFIG)

    @_client
    def lambda_(self) -> LambdaClient:
        return boto3.client("lambda", config=CONFIG)

    @_client
    def rekognition(self) -> RekognitionClient:
        return boto3.client("rekognition", config=REKOGNITION_CONFIG)

    @_client
    def s3(self) -> S3Client:
        return boto3.client("s3", config=CONFIG)

    @_client
    def sagemaker(self) -> SageMakerClient:
        return boto3.client("sagemaker", config=CONFIG)

    @_client
    def sns(self) -> SNSClient:
        return boto3.client("sns", config=CONFIG)

    @_client
    def ssm(self) -> SSMClient:
        return boto3.client("ssm", config=CONFIG)

    @_client
    def stepfunctions(self) -> SFNClient:
        return boto3.client("stepfunctions", config=CONFIG)


clients = Clients()
