"""Looks at the photos of a folder before they are sent: what Rekognition would reject, and names that clash.

The rules are those of the state `Check images`; a test holds both against the same files.
"""

import hashlib
import os
import unicodedata
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

from ekyc.cli.errors import CommandError

# Custom Labels guide, "Guidelines and quotas in Amazon Rekognition Custom Labels".
MAX_BYTES = 15 * 1024 * 1024
MIN_SIDE, MAX_SIDE, MAX_ASPECT = 64, 4096, 20
# docs/api.md, "Job ids and file names".
ENDINGS = (".jpg", ".jpeg", ".png")
LONGEST_NAME, LONGEST_NAME_BYTES = 255, 900
INVISIBLE = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})

JPEG_START, PNG_START = b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n"
JPEG_END, PNG_END = b"\xff\xd9", b"IEND"
ORIENTATION, SIDEWAYS = 0x0112, frozenset({5, 6, 7, 8})
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
    photos = sorted((path for path in found if path.suffix.lower() in ENDINGS), key=lambda path: path.name)
    if not photos:
        raise CommandError(f"{folder} has no photos: files that end in {', '.join(ENDINGS)}.")
    clashes: dict[str, list[str]] = {}
    for path in photos:
        clashes.setdefault(path.name, []).append(str(path.relative_to(folder)))
    same = [" and ".join(paths) for paths in clashes.values() if len(paths) > 1]
    if same:
        raise CommandError(
            f"{len(same)} {'names clash' if len(same) > 1 else 'name clashes'} in {folder}, for a job has no folders: "
            f"{'; '.join(same[:20])}{' …' if len(same) > 20 else ''}. Rename the files; nothing was sent."
        )
    return photos, [path for path in found if path.suffix.lower() not in ENDINGS]


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
    """The photo, or why it would be rejected. Pixels are not decoded."""

    def no(code: str, reason: str) -> Rejected:
        return Rejected(path, code, reason)

    if fault := _fault_of_name(path.name):
        return no("InvalidName", fault)
    try:
        size = path.stat().st_size
        if size == 0:
            return no("Empty", "the file is empty")
        if size > MAX_BYTES:
            return no("FileTooLarge", f"the file has {size:,} bytes; at most {MAX_BYTES:,} (15 MB) are allowed")
        data = path.read_bytes()
    except OSError as error:
        return no("Unreadable", f"the file cannot be read: {error.strerror}")
    if not data.startswith((JPEG_START, PNG_START)):
        return no("UnsupportedFormat", "the file is neither JPEG nor PNG")
    try:
        width, height, orientation, pixels_from = _header(data)
    except Exception:  # whatever a broken header does to the decoder
        return no("Unreadable", "the header is broken: no size can be read from it")
    short, long = sorted((width, height))
    if short < MIN_SIDE:
        return no("SideTooShort", f"the photo is {width}x{height} px; each side needs at least {MIN_SIDE} px")
    if long > MAX_SIDE:
        return no("SideTooLong", f"the photo is {width}x{height} px; a side may have at most {MAX_SIDE} px")
    if long > MAX_ASPECT * short:
        return no(
            "TooElongated", f"the photo is {width}x{height} px; one side may be at most {MAX_ASPECT} times the other"
        )
    if data.find(PNG_END if data.startswith(PNG_START) else JPEG_END, pixels_from) < 0:
        return no("CutOff", f"the photo is cut off: its end is missing after {size:,} bytes")
    return Photo(path, len(data), hashlib.sha256(data).hexdigest(), width, height, orientation)


def _fault_of_name(name: str) -> str | None:
    if any(unicodedata.category(character) in INVISIBLE for character in name):
        return "the file name has control or invisible characters"
    if len(name) > LONGEST_NAME or len(name.encode(errors="replace")) > LONGEST_NAME_BYTES:
        return f"the file name is longer than {LONGEST_NAME} characters or {LONGEST_NAME_BYTES} bytes"
    if "\\" in name or ".." in name:
        return "the file name has a '\\' or '..'"
    return None


def _header(data: bytes) -> tuple[int, int, int, int]:
    """Width and height as people see the photo, its EXIF orientation, and the byte where its pixels begin."""
    from PIL import Image

    Image.MAX_IMAGE_PIXELS = None  # no pixel is decoded
    file = BytesIO(data)
    with Image.open(file, formats=("JPEG", "PNG")) as image:
        pixels_from = file.tell()
        width, height = image.size
        exif = Image.Exif()
        try:
            exif.load(image.info.get("exif", b""))
            orientation = int(exif.get(ORIENTATION, 1))
        except Exception:  # a damaged block tells nothing
            orientation = 1
    if orientation in SIDEWAYS:
        width, height = height, width
    return width, height, orientation if orientation in range(1, 9) else 1, pixels_from
