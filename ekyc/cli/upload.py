"""Uploads photos to a job in parallel, and continues interrupted uploads.

The API says which photos are already uploaded. A local journal would miss photos that another machine has uploaded or
deleted.
"""

import hashlib
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from ekyc.cli.api import Api
from ekyc.cli.errors import CommandError, Unreachable
from rules.subjects import subject_hash
from rules.uploads import HASH_HEADER, SUBJECT_HEADER

# The API accepts 1,000. With fewer, the first PUT starts sooner and URLs do not expire on a slow connection.
NAMES_PER_CALL = 200
PARALLEL = 8
TRIES = 6
LONGEST_PAUSE = 20.0  # seconds between two tries
MOST_LISTED = 20


@dataclass(frozen=True)
class File:
    """A file to upload. ``size`` is in bytes, ``sha256`` in hex. ``subject`` is the subject of a photo that has one."""

    path: Path
    size: int
    sha256: str
    subject: str | None = None

    @property
    def name(self) -> str:
        """The file's name in the job."""
        return self.path.name


def file(path: Path) -> File:
    """Read the file's size and hash.

    Raises:
        CommandError: the file cannot be read.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise CommandError(f"{path} cannot be read: {error.strerror}.") from error
    return File(path, len(data), hashlib.sha256(data).hexdigest())


def missing(api: Api, job_id: str, files: Sequence[File]) -> list[File]:
    """The files that are not uploaded yet. The others are already uploaded with the same content.

    Raises:
        CommandError: files with the same names but other content are already uploaded. The message lists them.
    """
    by_name = {file.name: file for file in files}
    uploaded = [(by_name[entry["name"]], entry) for entry in api.uploads(job_id) if entry["name"] in by_name]
    with _storage() as storage, ThreadPoolExecutor(PARALLEL) as pool:
        differences = list(pool.map(lambda pair: _difference(storage, job_id, *pair), uploaded))
    clashes = [
        f"{file.name} ({difference})" for (file, _), difference in zip(uploaded, differences, strict=True) if difference
    ]
    if clashes:
        more = f" and {len(clashes) - MOST_LISTED} more" if len(clashes) > MOST_LISTED else ""
        raise CommandError(
            f"{len(clashes)} {'names clash' if len(clashes) > 1 else 'name clashes'} with uploads of {job_id}: "
            f"{', '.join(clashes[:MOST_LISTED])}{more}. Rename the files, or upload them to a new job. Nothing was "
            "sent."
        )
    names = {file.name for file, _ in uploaded}
    return [file for file in files if file.name not in names]


def _difference(storage: httpx.Client, job_id: str, file: File, entry: Mapping[str, Any]) -> str | None:
    """How the upload differs from the file of the same name. None if the content and the subject are the same."""
    if entry["size"] != file.size:
        return f"the upload has {entry['size']:,} bytes, the file {file.size:,}"
    answer = _request(lambda: storage.head(entry["head"]), f"HEAD of {file.name}")
    if answer.status_code != httpx.codes.OK:
        return f"S3 returned {answer.status_code} for the request for its content hash"
    if HASH_HEADER not in answer.headers:
        return "another program uploaded it without a content hash"
    if answer.headers[HASH_HEADER] != file.sha256:
        return "the same size but other content"
    subject = None if file.subject is None else subject_hash(job_id, file.subject)
    return None if answer.headers.get(SUBJECT_HEADER) == subject else "it was uploaded with another --subject-from"


def send(api: Api, job_id: str, files: Sequence[File], sent: Callable[[File], None]) -> None:
    """Upload ``files``, which should not be uploaded yet. Calls ``sent`` for each uploaded file, from any thread.

    The URLs of the next files are requested during the upload. After an error or Ctrl-C, no further upload begins; a
    later run continues.

    Raises:
        CommandError: the API or S3 refused a file, or did not respond in `TRIES` tries. The message names the file.
    """
    pages = [files[first : first + NAMES_PER_CALL] for first in range(0, len(files), NAMES_PER_CALL)]
    name_taken: list[File] = []

    def send_one(photo: File, target: Mapping[str, Any]) -> None:
        if _put(storage, api, job_id, photo, target):
            sent(photo)
        else:
            name_taken.append(photo)

    url_pool = ThreadPoolExecutor(1)
    pool = ThreadPoolExecutor(PARALLEL)
    with _storage() as storage:
        try:
            next_targets = url_pool.submit(_targets, api, job_id, pages[0]) if pages else None
            uploads: set[Future[None]] = set()
            for place, page in enumerate(pages):
                targets = next_targets.result() if next_targets else {}
                if place + 1 < len(pages):
                    next_targets = url_pool.submit(_targets, api, job_id, pages[place + 1])
                uploads = _wait_until_at_most(2 * PARALLEL, uploads)
                uploads |= {pool.submit(send_one, photo, targets[photo.name]) for photo in page}
            _wait_until_at_most(0, uploads)
        finally:
            url_pool.shutdown(cancel_futures=True)
            pool.shutdown(cancel_futures=True)
    if name_taken:  # by another uploader at the same time, or by an earlier try whose response was lost
        still_missing = missing(api, job_id, name_taken)
        if still_missing:
            raise CommandError(
                f"{still_missing[0].path} was not uploaded: S3 says that it exists, but the API does not list it."
            )
        for photo in name_taken:
            sent(photo)


def _wait_until_at_most(count: int, uploads: Iterable[Future[None]]) -> set[Future[None]]:
    """Wait until at most ``count`` uploads are pending, and return these. Raises a failed upload's error at once."""
    pending = set(uploads)
    while True:
        done = {future for future in pending if future.done()}
        for future in done:
            future.result()
        pending -= done
        if len(pending) <= count:
            return pending
        wait(pending, return_when=FIRST_COMPLETED)


def _storage() -> httpx.Client:
    limits = httpx.Limits(max_connections=PARALLEL, max_keepalive_connections=PARALLEL)
    return httpx.Client(timeout=120, limits=limits)


def _targets(api: Api, job_id: str, page: Sequence[File]) -> dict[str, dict[str, Any]]:
    hashes, sizes = {file.name: file.sha256 for file in page}, {file.name: file.size for file in page}
    subjects = {file.name: file.subject for file in page if file.subject is not None}
    for attempt in range(TRIES - 1):
        try:
            return api.upload_targets(job_id, hashes, sizes, subjects)
        except Unreachable:
            time.sleep(_pause(attempt))
    return api.upload_targets(job_id, hashes, sizes, subjects)


def _put(storage: httpx.Client, api: Api, job_id: str, photo: File, target: Mapping[str, Any]) -> bool:
    """Upload one file. Returns False if its name is taken."""
    for is_retry in (False, True):
        if is_retry:  # the URL has probably expired: it is valid for 15 minutes
            target = _targets(api, job_id, [photo])[photo.name]
        try:
            content = photo.path.read_bytes()
        except OSError as error:
            raise CommandError(f"{photo.path} can no longer be read: {error.strerror}.") from error
        answer = _request(
            lambda: storage.put(target["url"], headers=target["headers"], content=content),  # noqa: B023
            f"PUT of {photo.path}",
        )
        if answer.status_code == httpx.codes.OK:
            return True
        if answer.status_code == httpx.codes.PRECONDITION_FAILED:
            return False
        if answer.status_code != httpx.codes.FORBIDDEN:
            break
    changed = " (has the file changed since it was checked?)" if "BadDigest" in answer.text else ""
    raise CommandError(f"{photo.path} was not uploaded: S3 returned {answer.status_code}{changed}.")


def _request(send: Callable[[], httpx.Response], name: str) -> httpx.Response:
    """The response of S3 to ``send``, which is retried while S3 is busy or cannot be reached.

    Raises:
        Unreachable: all tries failed. The message calls the request ``name``.
    """
    for attempt in range(TRIES):
        if attempt:
            time.sleep(_pause(attempt - 1))
        try:
            answer = send()
        except httpx.TransportError as error:
            reason = str(error) or type(error).__name__
            continue
        if answer.status_code < httpx.codes.INTERNAL_SERVER_ERROR and answer.status_code != httpx.codes.CONFLICT:
            return answer
        reason = f"S3 returned {answer.status_code}"
    raise Unreachable(f"The {name} failed in {TRIES} tries: {reason}. To continue, run the command again.")


def _pause(attempt: int) -> float:
    return min(LONGEST_PAUSE, 0.5 * 2**attempt)
