"""Sends photos to a job, several at a time, and goes on where an upload stopped.

What is there is asked from the API, which is right also when another machine has sent some of it, or somebody has
deleted some: a journal beside the photos would know neither.
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
from rules.uploads import HASH_HEADER

NAMES_PER_CALL = 200  # of the 1,000 that the API takes, so that URLs are fresh on a slow line and the first PUT is soon
PARALLEL = 8
TRIES = 6
LONGEST_PAUSE = 20.0  # seconds between two tries
MOST_TOLD = 20


@dataclass(frozen=True)
class File:
    """A file to send, with the SHA-256 of its content in hex."""

    path: Path
    size: int
    sha256: str

    @property
    def name(self) -> str:
        """Its name in the job."""
        return self.path.name


def file(path: Path) -> File:
    """The file as it is now.

    Raises:
        CommandError: it cannot be read.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise CommandError(f"{path} cannot be read: {error.strerror}.") from error
    return File(path, len(data), hashlib.sha256(data).hexdigest())


def missing(api: Api, job_id: str, files: Sequence[File]) -> list[File]:
    """Those of ``files`` that are not uploaded yet; the others are there with the same content.

    Raises:
        CommandError: a file of the same name and other content is there; lists them.
    """
    by_name = {one.name: one for one in files}
    there = [(by_name[entry["name"]], entry) for entry in api.uploads(job_id) if entry["name"] in by_name]
    with _storage() as storage, ThreadPoolExecutor(PARALLEL) as pool:
        faults = list(pool.map(lambda pair: _difference(storage, *pair), there))
    clashes = [f"{one.name} ({fault})" for (one, _), fault in zip(there, faults, strict=True) if fault]
    if clashes:
        more = f" and {len(clashes) - MOST_TOLD} more" if len(clashes) > MOST_TOLD else ""
        raise CommandError(
            f"{len(clashes)} {'names clash' if len(clashes) > 1 else 'name clashes'} with what {job_id} has already: "
            f"{', '.join(clashes[:MOST_TOLD])}{more}. Rename the files, or upload them to a new job; nothing was sent."
        )
    names = {one.name for one, _ in there}
    return [one for one in files if one.name not in names]


def _difference(storage: httpx.Client, one: File, entry: Mapping[str, Any]) -> str | None:
    """What is different of an uploaded file of the same name; None when it has the same content."""
    if entry["size"] != one.size:
        return f"{entry['size']:,} bytes are there, the file has {one.size:,}"
    answer = _with_patience(lambda: storage.head(entry["head"]), f"looked at {one.name}")
    if answer.status_code != httpx.codes.OK:
        return f"the storage answered {answer.status_code} when asked for its content hash"
    if HASH_HEADER not in answer.headers:
        return "another program uploaded it and left no content hash"
    return None if answer.headers[HASH_HEADER] == one.sha256 else "the same size but other content"


def send(api: Api, job_id: str, files: Sequence[File], sent: Callable[[File], None]) -> None:
    """Send ``files``, none of which should be there; ``sent`` is called for each that is, by any thread.

    URLs of the next files are asked for while others are under way. After an error or Ctrl-C what has not begun is left
    out, and a later run goes on from there.

    Raises:
        CommandError: the API or the storage refused a file, or did not answer `TRIES` times; names it.
    """
    pages = [files[first : first + NAMES_PER_CALL] for first in range(0, len(files), NAMES_PER_CALL)]
    disputed: list[File] = []

    def one(photo: File, target: Mapping[str, Any]) -> None:
        if _put(storage, api, job_id, photo, target):
            sent(photo)
        else:
            disputed.append(photo)

    ask = ThreadPoolExecutor(1)
    pool = ThreadPoolExecutor(PARALLEL)
    with _storage() as storage:
        try:
            asked = ask.submit(_targets, api, job_id, pages[0]) if pages else None
            under_way: set[Future[None]] = set()
            for place, page in enumerate(pages):
                targets = asked.result() if asked else {}
                if place + 1 < len(pages):
                    asked = ask.submit(_targets, api, job_id, pages[place + 1])
                under_way = _room(under_way, 2 * PARALLEL)
                under_way |= {pool.submit(one, photo, targets[photo.name]) for photo in page}
            _room(under_way, 0)
        finally:
            ask.shutdown(cancel_futures=True)
            pool.shutdown(cancel_futures=True)
    if disputed:  # sent by somebody else at the same time, or by a try whose answer was lost
        still = missing(api, job_id, disputed)
        if still:
            raise CommandError(f"{still[0].path} was not uploaded: the storage says that it is there and it is not.")
        for photo in disputed:
            sent(photo)


def _room(under_way: Iterable[Future[None]], most: int) -> set[Future[None]]:
    """Wait until at most ``most`` are not done; the error of one that failed is raised at once."""
    pending = set(under_way)
    while True:
        done = {future for future in pending if future.done()}
        for future in done:
            future.result()
        pending -= done
        if len(pending) <= most:
            return pending
        wait(pending, return_when=FIRST_COMPLETED)


def _storage() -> httpx.Client:
    limits = httpx.Limits(max_connections=PARALLEL, max_keepalive_connections=PARALLEL)
    return httpx.Client(timeout=120, limits=limits)


def _targets(api: Api, job_id: str, page: Sequence[File]) -> dict[str, dict[str, Any]]:
    hashes, sizes = {one.name: one.sha256 for one in page}, {one.name: one.size for one in page}
    for tried in range(TRIES - 1):
        try:
            return api.upload_targets(job_id, hashes, sizes)
        except Unreachable:
            time.sleep(_pause(tried))
    return api.upload_targets(job_id, hashes, sizes)


def _put(storage: httpx.Client, api: Api, job_id: str, photo: File, target: Mapping[str, Any]) -> bool:
    """Send one file; False when one of its name is there."""
    for fresh in (False, True):
        if fresh:  # the URL has expired: it lasts 15 minutes
            target = _targets(api, job_id, [photo])[photo.name]
        try:
            content = photo.path.read_bytes()
        except OSError as error:
            raise CommandError(f"{photo.path} cannot be read any more: {error.strerror}.") from error
        answer = _with_patience(
            lambda: storage.put(target["url"], headers=target["headers"], content=content),  # noqa: B023
            f"took {photo.path}",
        )
        if answer.status_code == httpx.codes.OK:
            return True
        if answer.status_code == httpx.codes.PRECONDITION_FAILED:
            return False
        if answer.status_code != httpx.codes.FORBIDDEN:
            break
    changed = " (has it changed meanwhile?)" if "BadDigest" in answer.text else ""
    raise CommandError(f"{photo.path} was not uploaded: the storage answered {answer.status_code}{changed}.")


def _with_patience(ask: Callable[[], httpx.Response], done: str) -> httpx.Response:
    """The storage's answer, asked again while it is busy or cannot be reached."""
    for tried in range(TRIES):
        if tried:
            time.sleep(_pause(tried - 1))
        try:
            answer = ask()
        except httpx.TransportError as error:
            why = str(error) or type(error).__name__
            continue
        if answer.status_code < httpx.codes.INTERNAL_SERVER_ERROR and answer.status_code != httpx.codes.CONFLICT:
            return answer
        why = f"it answered {answer.status_code}"
    raise Unreachable(f"The storage has not {done} in {TRIES} tries: {why}. Give the command again to go on.")


def _pause(tried: int) -> float:
    return min(LONGEST_PAUSE, 0.5 * 2**tried)
