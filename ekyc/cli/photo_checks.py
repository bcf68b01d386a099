"""Checks the photos in a folder before they are sent, with the rules of the job, and finds name conflicts."""

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
    """A photo that can be sent. ``width`` and ``height`` are pixels after the rotation by its EXIF orientation."""

    path: Path
    size: int
    sha256: str
    width: int
    height: int
    orientation: int

    @property
    def name(self) -> str:
        """The photo's name in the job."""
        return self.path.name


@dataclass(frozen=True)
class Rejected:
    """A photo that Rekognition or the API would reject, with the reason."""

    path: Path
    code: str
    reason: str


@dataclass(frozen=True)
class Checked:
    """The photos of a folder, sorted by name. ``others`` are files that are not photos."""

    folder: Path
    photos: list[Photo]
    rejected: list[Rejected]
    others: list[Path]


def files(folder: Path) -> tuple[list[Path], list[Path]]:
    """The photos and the other files in ``folder`` and its subfolders. Hidden files and folders are ignored.

    A photo is a file with one of the extensions in `PHOTOS`.

    Raises:
        CommandError: there is no photo, or two photos have the same name, which a job without folders cannot hold.
    """
    if not folder.is_dir():
        raise CommandError(f"{folder} is not a folder.")
    paths = sorted(path for path in _walk(folder) if path.is_file())
    photos = sorted((path for path in paths if path.suffix.lower() in PHOTOS), key=lambda path: path.name)
    if not photos:
        raise CommandError(f"{folder} has no photos, that is, no files that end in {', '.join(PHOTOS)}.")
    by_name: dict[str, list[str]] = {}
    for path in photos:
        by_name.setdefault(path.name, []).append(str(path.relative_to(folder)))
    clashes = [" and ".join(same_name) for same_name in by_name.values() if len(same_name) > 1]
    if clashes:
        raise CommandError(
            f"{len(clashes)} {'names clash' if len(clashes) > 1 else 'name clashes'} in {folder}, because a job has no "
            f"folders: {'; '.join(clashes[:20])}{' …' if len(clashes) > 20 else ''}. Rename the files. Nothing was "
            "sent."
        )
    return photos, [path for path in paths if path.suffix.lower() not in PHOTOS]


def _walk(folder: Path) -> Iterator[Path]:
    for root, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".")]
        yield from (Path(root, name) for name in names if not name.startswith("."))


def check(folder: Path, advance: Callable[[], None]) -> Checked:
    """Check every photo in ``folder``. Calls ``advance`` after each photo.

    Raises:
        CommandError: as `files`.
    """
    photos, others = files(folder)

    def check_one(path: Path) -> Photo | Rejected:
        photo = check_photo(path)
        advance()
        return photo

    first_of: dict[str, str] = {}
    good: list[Photo] = []
    rejected: list[Rejected] = []
    pool = ThreadPoolExecutor(READERS)
    try:
        for photo in pool.map(check_one, photos):
            if isinstance(photo, Rejected):
                rejected.append(photo)
            elif (first := first_of.setdefault(photo.sha256, photo.name)) != photo.name:
                rejected.append(Rejected(photo.path, *rules.duplicate(first)))
            else:
                good.append(photo)
    finally:
        pool.shutdown(cancel_futures=True)
    return Checked(folder, good, rejected, others)


def check_photo(path: Path) -> Photo | Rejected:
    """The photo, or the reason why the API or the job would reject it. Pixels are not decoded."""
    if fault := fault_of_file_name(path.name):
        return Rejected(path, "InvalidName", f"the file name {fault}")
    try:
        with path.open("rb") as file:
            size = os.fstat(file.fileno()).st_size

            def read(start: int, stop: int) -> bytes:
                file.seek(start)
                return file.read(stop - start)

            header = rules.look(size, read)
            if isinstance(header, rules.Rejection):
                return Rejected(path, *header)
            content = read(0, size)
    except OSError as error:
        return Rejected(path, "Unreadable", f"the file cannot be read: {error.strerror}")
    if header.orientation != rules.AS_STORED:  # the job will rotate the photo
        stripped = rules.bare(content)
        if isinstance(stripped, rules.Rejection):
            return Rejected(path, *stripped)
    return Photo(path, size, hashlib.sha256(content).hexdigest(), header.width, header.height, header.orientation)
