"""What a labels file is read against, and what reading it gives: an entry for each photo, and problems."""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, NamedTuple

from rules.geometry import SIDEWAYS, Corners, Frame, around, as_seen, corners_of, fit
from rules.lines import Box, Labelled, Unusable, clamp
from rules.matching import Names
from rules.types import fault_of_type
from rules.words import quoted


class Unreadable(Exception):
    """The file as a whole cannot be read as labels; the message goes on from "The labels file "."""


class Size(NamedTuple):
    """Width and height of a photo in pixels as people see it, and the EXIF orientation of its file, 1 to 8."""

    width: int
    height: int
    orientation: int = 1

    @property
    def stored(self) -> tuple[int, int]:
        """Width and height of the file before it is turned."""
        return (self.height, self.width) if self.orientation in SIDEWAYS else (self.width, self.height)


class Place(NamedTuple):
    """Where something is in the file, counted from 1; ``kind`` is line, category, image or annotation."""

    kind: str
    number: int

    def __str__(self) -> str:
        return f"{self.kind} {self.number}"


class Problem(NamedTuple):
    """What is wrong at a place of the file; ``own_id`` is the id that the file itself has for the place."""

    place: Place
    code: str
    reason: str
    own_id: int | str | None = None


class Entry(NamedTuple):
    """What the file says of a photo. ``name`` is the job's for the photo, else the file's.

    ``labels`` is `Unusable`, which is no fault of the file, when the photo has no labels that can be used.
    ``has_labels`` says whether the file has labels for the photo, usable or not.
    """

    name: str
    labels: Labelled | Unusable
    has_labels: bool


@dataclass(frozen=True)
class Source:
    """What a labels file is read against.

    Args:
        report: called with each problem.
        photos: the job's photos by file name, with their sizes as far as they are known; None when the photos are not
            known, which every name then fits.
        rejected: file names of photos that were uploaded, but are not part of the job.
        types: the job's document types; None when they are those of the file.
        job_name: is written into each labelled entry.
        created: when labels without a date of their own were made, in ISO 8601.
    """

    report: Callable[[Problem], None]
    photos: Mapping[str, Size | None] | None = None
    rejected: Collection[str] = ()
    types: Collection[str] | None = None
    job_name: str = ""
    created: str = ""
    _good_types: set[str] = field(default_factory=set)

    @cached_property
    def names(self) -> Names:
        """The names of all uploaded photos."""
        return Names([*(self.photos or ()), *self.rejected])

    def missing(self, name: str) -> Unusable | None:
        """Why the job cannot use labels of the photo ``name``, if so."""
        if self.photos is None or name in self.photos:
            return None
        return Unusable("RejectedPhoto", "the photo was rejected") if name in self.rejected else UNKNOWN

    def fault_of_type(self, name: str) -> Unusable | None:
        """Why no document can be of the type ``name``, if so."""
        if name in self._good_types:
            return None
        if self.types is None or name not in self.types:
            if fault := fault_of_type(name):
                return Unusable("InvalidType", fault)
            if self.types is not None:
                types = ", ".join(sorted(self.types))
                return Unusable("UnknownType", f"{quoted(name)} is none of the job's document types ({types})")
        self._good_types.add(name)
        return None


UNKNOWN = Unusable("UnknownPhoto", "the job has no such photo")


class Drawn(NamedTuple):
    """A box as the file has it; ``corners`` when it was drawn turned."""

    frame: Frame
    corners: Corners | None = None


def place_boxes(drawn: list[Drawn], size: tuple[Any, Any], name: str, photo: Size) -> list[Drawn] | Unusable:
    """The boxes on the photo as people see it, or why the ``size`` that they were drawn on is not the photo's.

    Boxes are drawn on the photo as people see it. Where ``size`` is that of the stored file, which EXIF says to turn,
    the boxes of a photo prove what they were drawn on when they fit into one of both. (Label Studio exports the stored
    size with boxes on what the browser shows; other tools read neither note nor turn.)
    """
    width, height = size
    if width is None or height is None:
        return drawn
    if type(width) is not int or type(height) is not int:
        return Unusable(
            "WrongImageSize",
            f"its width and height must be whole numbers of pixels, not {quoted(width)} and {quoted(height)}",
        )
    seen = photo.width, photo.height
    if size == seen:
        return drawn
    words = f"it was labelled as {width}x{height} px, but {quoted(name)} is {seen[0]}x{seen[1]} px"
    if size != seen[::-1]:
        return Unusable("WrongImageSize", words)
    if size != photo.stored:
        return Unusable(
            "WrongImageSize", f"{words}: draw boxes on the photo as people see it, turned as its EXIF orientation says"
        )
    frames = [box.frame for box in drawn]
    fits_seen, fits_stored = fit(frames, *seen), fit(frames, width, height)
    if fits_seen and (not fits_stored or not frames):
        return drawn
    if fits_stored and not fits_seen:
        return [_turned(box, photo.orientation, width, height) for box in drawn]
    return Unusable(
        "WrongImageSize",
        f"{words}, turned as its EXIF orientation says, and its boxes fit {'both' if fits_seen else 'neither'}. If "
        "they were drawn on the photo as people see it, as in Label Studio, whose export has the size before the turn, "
        f"write {seen[0]} as its width and {seen[1]} as its height; else save the photo turned, then label it again",
    )


def _turned(box: Drawn, orientation: int, width: int, height: int) -> Drawn:
    corners = as_seen(box.corners or corners_of(box.frame), orientation, width, height)
    return Drawn(around(corners), corners if box.corners else None)


def fault_of_frame(frame: Frame, photo: Size | None) -> Unusable | None:
    """Why ``frame`` cannot be a document's, if so: four finite numbers, on a photo of that size if it is known."""
    left, top, width, height = frame
    if photo and left >= 0 and top >= 0 and 1 < width <= photo.width - left and 1 < height <= photo.height - top:
        return None  # almost all are
    if width <= 0 or height <= 0:
        return Unusable("InvalidBox", f"its box {quoted(list(frame))} has no area: width and height must be above 0")
    if min(frame) >= 0 and max(frame) <= 1:
        return Unusable(
            "BoxInFractions",
            f"its box {quoted(list(frame))} looks like fractions of the photo, from 0 to 1; boxes must be in pixels",
        )
    if photo:
        cut = clamp(Box("", *frame, 1), photo.width, photo.height)
        if isinstance(cut, Unusable) and cut.code == "BoxOutside":
            where = f"the photo of {photo.width}x{photo.height} px"
            return Unusable("BoxOutside", f"its box {quoted([round(edge, 2) for edge in frame])} lies outside {where}")
    return None
