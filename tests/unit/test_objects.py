"""Objects that two runs of a stage may write."""

import hashlib
import uuid
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from botocore.exceptions import ClientError

from pipeline.clients import clients
from pipeline.objects import put_once
from tests.unit.photo_jobs import s3_in_moto


@pytest.fixture
def bucket() -> Iterator[str]:
    name = f"data-{uuid.uuid4()}"
    with s3_in_moto() as s3:
        s3.create_bucket(Bucket=name)
        s3.put_bucket_versioning(Bucket=name, VersioningConfiguration={"Status": "Enabled"})
        yield name


def put(bucket: str, body: bytes) -> str:
    return put_once(bucket, "list", body, hashlib.sha256(body).digest()).etag


def versions(bucket: str) -> list[str]:
    listed = clients.s3.list_object_versions(Bucket=bucket, Prefix="list").get("Versions", [])
    return [version["ETag"].strip('"') for version in listed]


def before_the_put(act: Callable[[], object]) -> None:
    """Call ``act`` once, between the HEAD and the PUT of the next write."""
    events, name = clients.s3.meta.events, "before-call.s3.PutObject"

    def first(**_: Any) -> None:
        events.unregister(name, first)
        act()

    events.register(name, first)


def test_the_same_content_is_written_once(bucket: str) -> None:
    assert put(bucket, b"a") == put(bucket, b"a")
    assert len(versions(bucket)) == 1


def test_another_content_is_written(bucket: str) -> None:
    put(bucket, b"a")
    assert put(bucket, b"b") == versions(bucket)[0]
    assert len(versions(bucket)) == 2


def test_of_two_runs_at_the_same_time_one_writes(bucket: str) -> None:
    # Given a run that has seen no object; When another run writes the same content before it
    before_the_put(lambda: put(bucket, b"a"))
    # Then the first run leaves that object
    assert put(bucket, b"a") == versions(bucket)[0]
    assert len(versions(bucket)) == 1


def test_of_two_runs_with_different_content_the_last_wins(bucket: str) -> None:
    before_the_put(lambda: put(bucket, b"a"))
    assert put(bucket, b"b") == versions(bucket)[0]
    assert len(versions(bucket)) == 2


def test_errors_other_than_a_lost_race_are_raised(bucket: str) -> None:
    with pytest.raises(ClientError, match="NoSuchBucket"):
        put("no-such-bucket", b"a")
