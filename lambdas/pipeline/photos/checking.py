"""Checks a batch of photos: decodes each, writes copies without metadata, and writes the batch's results."""

import hashlib
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import datetime
from itertools import takewhile
from queue import SimpleQueue
from typing import Any, TypeVar

from botocore.exceptions import ClientError

from pipeline.clients import clients
from pipeline.errors import DENIED_CODES, ManifestChanged, PhotosLeft, error_code
from pipeline.manifests import is_in_parts, unix_ms
from pipeline.objects import WRITTEN_BY_ANOTHER, Stored, put_once
from pipeline.photos.decoder import Decoder
from pipeline.photos.parts import Accepted, Rejected, Result, pack, part_key, read_part
from pipeline.photos.planning import read_plan
from pipeline.photos.uploads import CHANGED_CODES, UNREADABLE_CODES, Upload, listed, prefix
from rules import names, photos
from rules.photos import Rejection
from rules.subjects import subject_of

# Photos that are read, decoded or written at a time. Each needs up to 30 MB: a photo and its copy.
READERS = 6
# Photos that are decoded at a time, because the function has 1.7 vCPU. A decoder needs up to 256 MB.
DECODERS = 2
# A run decodes no more photos if less than this remains, to have time for the photo at hand and for the results.
RESERVE_SECONDS = 60.0

Item = TypeVar("Item")
Output = TypeVar("Output")


@dataclass(frozen=True)
class CheckPhotos:
    """The request of the map state `Check photos` for a batch. The number counts from 1."""

    job_id: str
    number: int


@dataclass(frozen=True)
class BatchChecked:
    """The number of photos in the batch."""

    photos: int


def check(request: CheckPhotos, *, bucket: str, seconds_left: Callable[[], float]) -> BatchChecked:
    """Check the photos of a batch, unless its results exist.

    A photo whose file is upright and has no metadata is used as it is. For any other photo, a copy with the same file
    name is written to ``upright/<job_id>/``.

    The list of batches says which photos belong to the batch. The request names no photo, because the execution's
    history keeps it. A photo that was uploaded or replaced after the list of batches was written is rejected.

    A photo that S3 denies is rejected if another photo of the batch could be read. If S3 denies all, the function's
    role lacks a permission, and the batch fails, so that it can be repeated.

    Args:
        seconds_left: returns the seconds until this run's timeout.

    Raises:
        ManifestChanged: the list of batches is missing.
        PhotosLeft: this run has no time for all photos. The next run continues.
        ClientError: S3 denied all photos of the batch, or another call failed.
    """
    plan = read_plan(request.job_id, bucket)
    if plan is None:
        raise ManifestChanged("The list of batches of photos is missing.")
    batches = plan.batches
    batch = batches[request.number - 1]
    before = batches[request.number - 2].last if request.number > 1 else ""
    key, unfinished = part_key(request.job_id, batch), f"manifests/{request.job_id}/unfinished/{batch.number:05}"
    if not _exists(bucket, key):
        part = read_part(bucket, unfinished)
        results = part.results() if part else []
        after = prefix(request.job_id) + results[-1].photo.name if results else before
        checker = _Checker(request.job_id, bucket, plan.written, seconds_left, has_read=bool(results))
        try:
            last = batch.last if batch.number < len(batches) else None
            results += checker.results(_uploads(bucket, request.job_id, after, last))
        except PhotosLeft:
            results += checker.finished
            _put(bucket, unfinished, results)
            raise
        _put_first(bucket, key, results)
    return BatchChecked(batch.count)


def _uploads(bucket: str, job_id: str, after: str, last: str | None) -> Iterator[Upload]:
    """The photos up to the key ``last``. None for the last batch, which lists later uploads after the last key too."""
    return takewhile(lambda upload: last is None or upload.key <= last, listed(bucket, job_id, after=after))


def _exists(bucket: str, key: str) -> bool:
    try:
        clients.s3.head_object(Bucket=bucket, Key=key)
    except ClientError as error:
        if error_code(error) != "404":
            raise
        return False
    return True


def _put(bucket: str, key: str, results: list[Result]) -> None:
    clients.s3.put_object(Bucket=bucket, Key=key, Body=pack(results))


def _put_first(bucket: str, key: str, results: list[Result]) -> None:
    """Write the results, unless another run of the batch has written them."""
    try:
        clients.s3.put_object(Bucket=bucket, Key=key, Body=pack(results), IfNoneMatch="*")
    except ClientError as error:
        if error_code(error) not in WRITTEN_BY_ANOTHER or not _exists(bucket, key):
            raise


class _Checker:
    """Checks photos, several at a time. ``finished`` has the results so far.

    ``has_read``: an earlier run could read photos of the batch.
    """

    def __init__(
        self, job_id: str, bucket: str, planned: datetime, seconds_left: Callable[[], float], *, has_read: bool
    ) -> None:
        self._job_id, self._bucket, self._planned, self._seconds_left = job_id, bucket, planned, seconds_left
        self._prefix = prefix(job_id)
        self._idle = SimpleQueue[Decoder]()
        self._first: str | None = None
        self._denial: ClientError | None = None
        self._has_read = has_read
        self.finished: list[Result] = []

    def results(self, uploads: Iterable[Upload]) -> list[Result]:
        """Check the photos; returns the results in their order.

        Raises:
            PhotosLeft: no time is left. At least the first photo is in ``finished``, and a photo could be read.
            ClientError: S3 denied photos, and no photo could be read.
        """
        with ExitStack() as stack:
            for _ in range(DECODERS):
                self._idle.put(stack.enter_context(Decoder()))
            readers = stack.enter_context(ThreadPoolExecutor(READERS))
            for result in _in_order(readers, self._result, self._noting_first(uploads)):
                self.finished.append(result)
        if self._denial and not self._has_read:
            raise self._denial
        return self.finished

    def _noting_first(self, uploads: Iterable[Upload]) -> Iterator[Upload]:
        for upload in uploads:
            self._first = self._first or upload.key
            yield upload

    def _result(self, upload: Upload) -> Result:
        name = upload.key.removeprefix(self._prefix)
        if rejection := _check_listed(name, self._prefix, upload, self._planned):
            return Result(Rejected(name, *rejection))
        try:
            content, subject = self._read(upload)
        except ClientError as error:
            rejection = _refusal(error_code(error))
            if not rejection:
                raise
            if error_code(error) in DENIED_CODES:
                self._denial = error
            return Result(Rejected(name, *rejection))
        self._has_read = True
        with self._decoder() as decoder:
            # The first photo of a run is always decoded, so that each run makes progress.
            if upload.key != self._first and self._seconds_left() < RESERVE_SECONDS:
                raise PhotosLeft("This run has no time for the other photos of the batch. The next run continues.")
            decoded = decoder.decode(content)
        if isinstance(decoded, Rejection):
            return Result(Rejected(name, *decoded))
        # The listing's time. A photo with the same MD5 that replaces this photo before it is read has a later time.
        folder, stored = "images", Stored(upload.etag, upload.modified)
        if decoded.copy is not None:
            folder = "upright"
            stored = put_once(
                self._bucket,
                f"{folder}/{self._job_id}/{name}",
                decoded.copy,
                hashlib.sha256(decoded.copy).digest(),
                ContentType=decoded.media_type,
            )
        return Result(
            Accepted(
                name,
                folder,
                hashlib.sha256(content).hexdigest(),
                stored.etag,
                unix_ms(stored.written),
                decoded.width,
                decoded.height,
                decoded.orientation,
                decoded.sharpness,
                decoded.brightness,
                len(decoded.grey),
                subject,
            ),
            _fingerprint(decoded.grey),
            decoded.grey,
        )

    @contextmanager
    def _decoder(self) -> Iterator[Decoder]:
        """Take a decoder, as soon as one is idle."""
        decoder = self._idle.get()
        try:
            yield decoder
        finally:
            self._idle.put(decoder)

    def _read(self, upload: Upload) -> tuple[bytes, str | None]:
        """Read the photo; returns its content, and the hash of its subject."""
        answer: Any = clients.s3.get_object(Bucket=self._bucket, Key=upload.key, IfMatch=f'"{upload.etag}"')
        return answer["Body"].read(), subject_of(answer["Metadata"])


def _refusal(code: str) -> Rejection | None:
    """Why the photo is rejected if S3 answers with the error ``code``, or None if the check has to fail."""
    if code in CHANGED_CODES:
        return Rejection("Changed", "the file was replaced or deleted during the check")
    if code in UNREADABLE_CODES:
        return Rejection(
            "Unreadable",
            "S3 does not return the file: it is archived, or encrypted with a key that the check cannot use",
        )
    return None


def _check_listed(name: str, folder: str, upload: Upload, planned: datetime) -> Rejection | None:
    """Why the photo is rejected by what the listing says, or None."""
    if upload.modified > planned:
        return Rejection("Changed", "the file was uploaded or replaced after the job's start")
    if "/" in name:
        return Rejection("InvalidName", f"the photo is in a folder below {folder}")
    if fault := names.fault_of_file_name(name):
        return Rejection("InvalidName", f"the file name {fault}")
    if is_in_parts(upload.etag):
        return Rejection(
            "UploadedInParts",
            "the file was uploaded in parts (multipart upload), so its ETag is not its hash and its time does not "
            "show when it was completed. Upload it with one PUT",
        )
    return photos.check_size(upload.size)


def _fingerprint(grey: bytes) -> bytes:
    """The fingerprint of a small grey copy."""
    # Imported here, because NumPy needs longer than all other imports of the function.
    from pipeline.photos.greys import opened
    from pipeline.photos.prints import fingerprint

    return fingerprint(opened(grey)).tobytes()


def _in_order(pool: ThreadPoolExecutor, function: Callable[[Item], Output], items: Iterable[Item]) -> Iterator[Output]:
    """Call ``function`` for each item in the pool; yields the results in the order of the items.

    Calls that have not begun are cancelled after an error.
    """
    pending: deque[Future[Output]] = deque()
    try:
        for item in items:
            pending.append(pool.submit(function, item))
            if len(pending) >= 2 * READERS:
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()
    finally:
        for future in pending:
            future.cancel()
