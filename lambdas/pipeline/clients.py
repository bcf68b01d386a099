"""The AWS clients of a function, each made at its first use: a cold start pays only for those that its call needs.

The SDK retries short throttles itself; the state machine retries the rest.
"""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

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
    s3={"addressing_style": "virtual"},  # presigned URLs then name the Region's host, so S3 redirects no upload
)
# The SDK's standard mode treats Rekognition's LimitExceededException, a quota that is in use for hours, as a throttle
# and would retry it three times. Legacy mode does not.
REKOGNITION_CONFIG = CONFIG.merge(Config(retries={"mode": "legacy", "total_max_attempts": 4}))


class Clients:
    """The clients. boto3 must not make two at a time: a function uses a client once before it starts threads."""

    @cached_property
    def dynamodb(self) -> DynamoDBClient:
        return boto3.client("dynamodb", config=CONFIG)

    @cached_property
    def events(self) -> EventBridgeClient:
        return boto3.client("events", config=CONFIG)

    @cached_property
    def lambda_(self) -> LambdaClient:
        return boto3.client("lambda", config=CONFIG)

    @cached_property
    def rekognition(self) -> RekognitionClient:
        return boto3.client("rekognition", config=REKOGNITION_CONFIG)

    @cached_property
    def s3(self) -> S3Client:
        return boto3.client("s3", config=CONFIG)

    @cached_property
    def sagemaker(self) -> SageMakerClient:
        return boto3.client("sagemaker", config=CONFIG)

    @cached_property
    def sns(self) -> SNSClient:
        return boto3.client("sns", config=CONFIG)

    @cached_property
    def ssm(self) -> SSMClient:
        return boto3.client("ssm", config=CONFIG)

    @cached_property
    def stepfunctions(self) -> SFNClient:
        return boto3.client("stepfunctions", config=CONFIG)


clients = Clients()
