"""A bucket in moto's S3 and real photos in it: what the tests of images, labels and datasets start from."""

import hashlib
import importlib
import io
import json
import sys
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from types import MappingProxyType
from typing import Any
from unittest.mock import patch

import boto3
import pytest
from moto import mock_aws
from PIL import Image

from pipeline.clients import clients
from pipeline.jobs import jobs
from pipeline.manifests import Photo, photo_line, unix_ms
from pipeline.photos import checking, collecting, planning
from pipeline.photos.checking import CheckPhotos
from pipeline.photos.collecting import CollectPhotos, ImagesChecked
from pipeline.photos.parts import part_prefix
from pipeline.photos.planning import PlanPhotos
from pipeline.photos.uploads import listed
from tests.unit.aws_fakes import functions_use, store

JOB = "ekyc-20261124015324-9f3c0a1b2c3d4e5f"


class Bucket:
    """An S3 bucket of its own, through a real client."""

    def __init__(self, s3: Any) -> None:
        self.s3 = s3
        self.name = f"photos-{uuid.uuid4().hex}"
        s3.create_bucket(Bucket=self.name)

    def put(self, key: str, content: bytes | str) -> str:
        """Store an object and return its S3 URI."""
        store(self.name, key, content.encode() if isinstance(content, str) else content)
        return f"s3://{self.name}/{key}"

    def put_photo(self, name: str, content: bytes) -> str:
        return self.put(f"images/{JOB}/{name}", content)

    def put_lines(self, key: str, lines: Sequence[Mapping[str, Any] | str]) -> str:
        """Store JSON Lines; a text stands for itself."""
        return self.put(key, "".join(f"{line if isinstance(line, str) else json.dumps(line)}\n" for line in lines))

    def read(self, uri: str) -> bytes:
        content: bytes = self.s3.get_object(Bucket=self.name, Key=uri.removeprefix(f"s3://{self.name}/"))["Body"].read()
        return content

    def lines(self, uri: str) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.read(uri).splitlines()]

    def has(self, key: str) -> bool:
        return "Contents" in self.s3.list_objects_v2(Bucket=self.name, Prefix=key)


@contextmanager
def s3_in_moto() -> Iterator[Any]:
    """A client of moto's S3. Nothing is reset, as moto's state is the process's and other tests may have theirs."""
    aws = mock_aws()
    aws.start(reset=False)
    try:
        s3 = boto3.client("s3", region_name="us-east-1")
        with functions_use(s3=s3):
            yield s3
    finally:
        aws.stop(remove_data=False)


def photo(width: int = 64, height: int = 64, *, shade: int = 0, kind: str = "JPEG", **options: Any) -> bytes:
    """A photo as bytes; another shade (0 to 65,535) is another content."""
    file = io.BytesIO()
    Image.new("RGB", (width, height), (shade % 256, shade // 256, 99)).save(file, kind, **options)
    return file.getvalue()


def put_input_manifest(
    bucket: Bucket,
    photos: Mapping[str, tuple[str, int, int]],
    rejected: Sequence[str] = (),
    groups: Mapping[str, int] = MappingProxyType({}),
) -> str:
    """The lists that Collect photos writes: of ``photos`` (hash, width, height) and of rejected ones; by file name.
    ``groups`` has the groups of some photos.

    Each of ``photos`` is stored as an object of its own content.
    """
    prefix = f"s3://{bucket.name}/images/{JOB}/"
    bucket.put_lines(
        f"manifests/{JOB}/rejected.jsonl",
        [{"source-ref": f"{prefix}{name}", "reason": "the photo is bad", "code": "Bad"} for name in rejected],
    )
    for name in photos:
        store(bucket.name, f"images/{JOB}/{name}", name.encode())
    with functions_use(s3=bucket.s3):
        stored = {upload.key: upload for upload in listed(bucket.name, JOB)}
    lines = []
    for name, details in sorted(photos.items()):
        upload = stored[f"images/{JOB}/{name}"]
        seen = (upload.etag, unix_ms(upload.modified), 4.0, 0.5, 1, groups.get(name))
        lines.append(photo_line(Photo(f"{prefix}{name}", *details, *seen)))
    return bucket.put_lines(f"manifests/{JOB}/input.manifest", lines)


def check_photos(bucket: str, job_id: str = JOB, **options: Any) -> ImagesChecked:
    """Run the three states that check a job's photos, as if the job was new. ``options`` are those of a later run."""
    clients.s3.delete_objects(
        Bucket=bucket,
        Delete={"Objects": [{"Key": key} for key in (*results(bucket, job_id), f"manifests/{job_id}/batches.json")]},
    )
    return continue_check(bucket, job_id, **options)


def continue_check(
    bucket: str,
    job_id: str = JOB,
    *,
    min_images: int = 1,
    max_rejected_share: float = 1.0,
    seconds_left: Callable[[], float] = lambda: 900.0,
) -> ImagesChecked:
    """Run the three states that check a job's photos, from where an earlier run ended."""
    planned = planning.plan(PlanPhotos(job_id), bucket=bucket)
    for number in range(1, planned.batches + 1):
        checking.check(CheckPhotos(job_id, number), bucket=bucket, seconds_left=seconds_left)
    return collecting.collect(
        CollectPhotos(job_id), bucket=bucket, min_images=min_images, max_rejected_share=max_rejected_share
    )


def results(bucket: str, job_id: str = JOB) -> list[str]:
    """The keys of the results of batches."""
    found = clients.s3.list_objects_v2(Bucket=bucket, Prefix=part_prefix(job_id)).get("Contents", [])
    return [entry["Key"] for entry in found]


def sha256(bucket: Bucket, uri: str) -> str:
    """The hash (hex) of the object at ``uri``, as the stage that wrote it returns it."""
    return hashlib.sha256(bucket.read(uri)).hexdigest()


def written(bucket: Bucket, uri: str) -> int:
    """When the object at ``uri`` was written (Unix ms), as the stage that wrote it returns it."""
    key = uri.removeprefix(f"s3://{bucket.name}/")
    return unix_ms(bucket.s3.head_object(Bucket=bucket.name, Key=key)["LastModified"])


def job_table(status: str) -> str:
    """A table of jobs that holds `JOB` at ``status``."""
    name = f"jobs-{uuid.uuid4().hex}"
    dynamodb = boto3.client("dynamodb", region_name="us-east-1")
    dynamodb.create_table(
        TableName=name,
        KeySchema=[{"AttributeName": "Id", "KeyType": "HASH"}],
        AttributeDefinitions=[{"AttributeName": "Id", "AttributeType": "S"}],
        BillingMode="PAY_PER_REQUEST",
    )
    dynamodb.put_item(TableName=name, Item={"Id": {"S": JOB}, "Status": {"S": status}})
    return name


def job_record(table: str) -> dict[str, Any]:
    """The job's attributes as text, by name."""
    item = boto3.client("dynamodb", region_name="us-east-1").get_item(TableName=table, Key={"Id": {"S": JOB}})["Item"]
    return {name: next(iter(value.values())) for name, value in item.items()}


class LambdaContext:
    aws_request_id = "a-request"

    def get_remaining_time_in_millis(self) -> int:
        return 900_000


def run_stage(
    monkeypatch: pytest.MonkeyPatch, module: str, environment: Mapping[str, str], event: Mapping[str, Any]
) -> dict[str, Any]:
    """Start the stage's function with its environment and call it once with ``event``."""
    for name, value in {**environment, "AWS_DEFAULT_REGION": "us-east-1"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delitem(sys.modules, module, raising=False)
    handler: Callable[..., dict[str, Any]] = importlib.import_module(module).handler
    monkeypatch.delitem(sys.modules, module)
    with functions_use(dynamodb=boto3.client("dynamodb", region_name="us-east-1")), patch.dict(vars(jobs), clear=True):
        return handler(event, LambdaContext())
