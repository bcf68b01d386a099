"""The AWS clients of a function. Each is created at its first use, to keep cold starts short.

The SDK retries short throttling. The state machine retries longer throttling.
"""

from __future__ import annotations

import gzip
from collections.abc import Callable
from functools import cached_property, wraps
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any, TypeVar

import boto3
import botocore.session
import orjson
from botocore.config import Config
from botocore.loaders import JSONFileLoader, Loader

if TYPE_CHECKING:
    from types_boto3_dynamodb import DynamoDBClient
    from types_boto3_events import EventBridgeClient
    from types_boto3_kms import KMSClient
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
# Standard mode treats Rekognition's LimitExceededException as throttling and retries it; legacy mode does not. The
# error means that a quota is used up, possibly for hours.
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


class _Files(JSONFileLoader):
    """Reads the SDK's descriptions of services and endpoints with orjson, three times as fast as botocore."""

    def load_file(self, file_path: str) -> Any:
        """The content of ``file_path``, which has no extension, or None if there is no such file."""
        for extension, open_file in ((".json", open), (".json.gz", gzip.open)):
            try:
                with open_file(file_path + extension, "rb") as file:
                    return orjson.loads(file.read())
            except FileNotFoundError:
                continue
        return None


class _Descriptions(Loader):
    """Finds these files without reading the folders of all 400 services, as botocore does for each type of file."""

    def list_available_services(self, type_name: str) -> list[str]:  # noqa: ARG002 - the name is botocore's
        """The names of all services, also of those that have no file of the type."""
        return self._services

    @cached_property
    def _services(self) -> list[str]:
        return [folder.name for path in map(Path, self.search_paths) if path.is_dir() for folder in path.iterdir()]


class Clients:
    """The clients as attributes. Threads may share them."""

    @cached_property
    def _session(self) -> boto3.Session:
        session = botocore.session.Session()
        session.register_component("data_loader", _Descriptions(file_loader=_Files()))
        return boto3.Session(botocore_session=session)

    @_client
    def dynamodb(self) -> DynamoDBClient:
        return self._session.client("dynamodb", config=CONFIG)

    @_client
    def events(self) -> EventBridgeClient:
        return self._session.client("events", config=CONFIG)

    @_client
    def kms(self) -> KMSClient:
        return self._session.client("kms", config=CONFIG)

    @_client
    def lambda_(self) -> LambdaClient:
        return self._session.client("lambda", config=CONFIG)

    @_client
    def rekognition(self) -> RekognitionClient:
        return self._session.client("rekognition", config=REKOGNITION_CONFIG)

    @_client
    def s3(self) -> S3Client:
        return self._session.client("s3", config=CONFIG)

    @_client
    def sagemaker(self) -> SageMakerClient:
        return self._session.client("sagemaker", config=CONFIG)

    @_client
    def sns(self) -> SNSClient:
        return self._session.client("sns", config=CONFIG)

    @_client
    def ssm(self) -> SSMClient:
        return self._session.client("ssm", config=CONFIG)

    @_client
    def stepfunctions(self) -> SFNClient:
        return self._session.client("stepfunctions", config=CONFIG)


clients = Clients()
