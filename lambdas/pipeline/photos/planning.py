"""Divides a job's photos into batches, which the map state `Check photos` checks in parallel."""

import hashlib
import json
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import NamedTuple

from botocore.exceptions import ClientError

from pipeline.clients import clients
from pipeline.errors import ImagesNotFound, TooManyImages, error_code
from pipeline.objects import put_once
from pipeline.photos.uploads import Upload, listed

# A batch of phone photos then takes about half a minute, and the costliest photos stay within a function's 15 minutes.
MOST_PHOTOS, MOST_BYTES = 250, 500_000_000
MOST_IN_JOB = 1_000_000


@dataclass(frozen=True)
class PlanPhotos:
    """The request of the state `Plan photos`."""

    job_id: str


@dataclass(frozen=True)
class Batch:
    """The photos whose keys are from ``first`` to ``last``. ``number`` counts from 1; ``bytes`` is their size."""

    number: int
    first: str
    last: str
    count: int
    bytes: int


class Plan(NamedTuple):
    """The batches, and the time when S3 wrote the list of them."""

    batches: list[Batch]
    written: datetime


@dataclass(frozen=True)
class PhotosPlanned:
    """The object with the list of batches, and the numbers of batches and photos."""

    bucket: str
    key: str
    batches: int
    photos: int


def batches_key(job_id: str) -> str:
    """The key of the job's list of batches, a JSON array."""
    return f"manifests/{job_id}/batches.json"


def plan(request: PlanPhotos, *, bucket: str) -> PhotosPlanned:
    """List the job's photos once, and write the list of batches.

    A list that exists stays, so finished batches remain those of the list.

    Raises:
        ImagesNotFound: no photo was uploaded.
        TooManyImages: more than `MOST_IN_JOB` photos were uploaded.
    """
    before = read_plan(request.job_id, bucket)
    batches = before.batches if before else _write_batches(request.job_id, bucket)
    return PhotosPlanned(bucket, batches_key(request.job_id), len(batches), sum(batch.count for batch in batches))


def read_plan(job_id: str, bucket: str) -> Plan | None:
    """Read the job's list of batches. None if it does not exist."""
    try:
        answer = clients.s3.get_object(Bucket=bucket, Key=batches_key(job_id))
    except ClientError as error:
        if error_code(error) != "NoSuchKey":
            raise
        return None
    return Plan([Batch(**batch) for batch in json.loads(answer["Body"].read())], answer["LastModified"])


def _write_batches(job_id: str, bucket: str) -> list[Batch]:
    batches = list(divide(listed(bucket, job_id)))
    if not batches:
        raise ImagesNotFound("No photo was uploaded for the job.")
    content = json.dumps([asdict(batch) for batch in batches]).encode()
    put_once(
        bucket,
        batches_key(job_id),
        content,
        hashlib.sha256(content).digest(),
        ContentType="application/json",
    )
    return batches


def divide(uploads: Iterable[Upload]) -> Iterator[Batch]:
    """Divide the photos, sorted by key, into batches of at most `MOST_PHOTOS` photos and `MOST_BYTES` bytes.

    Raises:
        TooManyImages: there are more than `MOST_IN_JOB` photos.
    """
    number, first, last, count, size = 1, "", "", 0, 0
    for total, upload in enumerate(uploads, 1):
        if total > MOST_IN_JOB:
            raise TooManyImages(
                f"The job has more than {MOST_IN_JOB:,} photos, the most that one job checks. Divide them among jobs."
            )
        if count and (count == MOST_PHOTOS or size + upload.size > MOST_BYTES):
            yield Batch(number, first, last, count, size)
            number, count, size = number + 1, 0, 0
        first, last = (first if count else upload.key), upload.key
        count, size = count + 1, size + upload.size
    if count:
        yield Batch(number, first, last, count, size)
