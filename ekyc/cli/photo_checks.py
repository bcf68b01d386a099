"""Looks at the photos of a folder before they are sent, by the rules of the job, and finds names that clash."""

import hashlib
import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from ekyc.cli.errors import CommandError
from rules import photos as rules
from rules.names import fault_of_file_name
from rules.uploads import PHOTOS

READERS = min(8, (os.cpu_count() or 1) * 2)


@dataclass(frozen=True)
class Photo:
    """A photo that may be sent; width and height in pixels as people see it, turned as its EXIF orientation says."""

    path: Path
    size: int
    sha256: str
    width: int
    height: int
    orientation: int

    @property
    def name(self) -> str:
        """Its name in the job."""
        return self.path.name


@dataclass(frozen=True)
class Rejected:
    """A photo that Rekognition, or the API, would not take, and why."""

    path: Path
    code: str
    reason: str


@dataclass(frozen=True)
class Checked:
    """The photos of a folder in the order of their names; ``others`` are files that are no photos."""

    photos: list[Photo]
    rejected: list[Rejected]
    others: list[Path]


def files(folder: Path) -> tuple[list[Path], list[Path]]:
    """The photos of ``folder`` and the folders in it, told by their endings, and its other files; hidden ones are none.

    Raises:
        CommandError: there is no photo, or two photos have the same name, as a job has no folders.
    """
    if not folder.is_dir():
        raise CommandError(f"{folder} is not a folder.")
    found = sorted(path for path in _walk(folder) if path.is_file())
    photos = sorted((path for path in found if path.suffix.lower() in PHOTOS), key=lambda path: path.name)
    if not photos:
        raise CommandError(f"{folder} has no photos: files that end in {', '.join(PHOTOS)}.")
    clashes: dict[str, list[str]] = {}
    for path in photos:
        clashes.setdefault(path.name, []).append(str(path.relative_to(folder)))
    same = [" and ".join(paths) for paths in clashes.values() if len(paths) > 1]
    if same:
        raise CommandError(
            f"{len(same)} {'names clash' if len(same) > 1 else 'name clashes'} in {folder}, for a job has no folders: "
            f"{'; '.join(same[:20])}{' …' if len(same) > 20 else ''}. Rename the files; nothing was sent."
        )
    return photos, [path for path in found if path.suffix.lower() not in PHOTOS]


def _walk(folder: Path) -> Iterator[Path]:
    for root, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".")]
        yield from (Path(root, name) for name in names if not name.startswith("."))


def check(folder: Path, progress: Callable[[int], Callable[[], None]]) -> Checked:
    """Look at every photo of ``folder``; ``progress`` is told how many there are, and what it returns called for each.

    Raises:
        CommandError: as `files`.
    """
    photos, others = files(folder)
    advance = progress(len(photos))

    def one(path: Path) -> Photo | Rejected:
        found = look(path)
        advance()
        return found

    first_of: dict[str, str] = {}
    good: list[Photo] = []
    rejected: list[Rejected] = []
    pool = ThreadPoolExecutor(READERS)
    try:
        for found in pool.map(one, photos):
            if isinstance(found, Rejected):
                rejected.append(found)
            elif (first := first_of.setdefault(found.sha256, found.name)) != found.name:
                rejected.append(Rejected(found.path, "Duplicate", f"the same photo as {first}"))
            else:
                good.append(found)
    finally:
        pool.shutdown(cancel_futures=True)
    return Checked(good, rejected, others)


def look(path: Path) -> Photo | Rejected:
    """The photo, or why the API or the job would not take it. Pixels are not decoded."""
    if fault := fault_of_file_name(path.name):
        return Rejected(path, "InvalidName", f"the file name {fault}")
    try:
        with path.open("rb") as file:
            size = os.fstat(file.fileno()).st_size

            def read(start: int, stop: int) -> bytes:
                file.seek(start)
                return file.read(stop - start)

            seen = rules.look(size, read)
            if isinstance(seen, rules.Rejection):
                return Rejected(path, *seen)
            content = read(0, size)
    except OSError as error:
        return Rejected(path, "Unreadable", f"the file cannot be read: {error.strerror}")
    if seen.orientation != rules.AS_STORED:  # the job will turn it
        to_turn = rules.bare(content)
        if isinstance(to_turn, rules.Rejection):
            return Rejected(path, *to_turn)
    return Photo(path, size, hashlib.sha256(content).hexdigest(), seen.width, seen.height, seen.orientation)
