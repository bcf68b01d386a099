"""The input and output of the readers of labels files: a `Source` goes in, entries and problems come out."""

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
    """The file as a whole cannot be read as labels. The message continues the sentence "The labels file ..."."""


class Size(NamedTuple):
    """Width and height in pixels of the upright photo, and the EXIF orientation of its file, 1 to 8."""

    width: int
    height: int
    orientation: int = 1

    @property
    def stored(self) -> tuple[int, int]:
        """Width and height of the pixels as the file stores them, before the rotation by the EXIF orientation."""
        return (self.height, self.width) if self.orientation in SIDEWAYS else (self.width, self.height)


class Place(NamedTuple):
    """A place in the file. ``kind`` is line, category, image or annotation; ``number`` counts from 1."""

    kind: str
    number: int

    def __str__(self) -> str:
        return f"{self.kind} {self.number}"


class Problem(NamedTuple):
    """A problem at a place of the file. ``own_id`` is the id that the file gives the object at that place."""

    place: Place
    code: str
    reason: str
    own_id: int | str | None = None


class Entry(NamedTuple):
    """The file's labels for one photo.

    ``name`` is the file name under which the photo was uploaded, or the labels file's name if there is no upload.
    ``labels`` is `Unusable` if the photo has no usable labels; this is not an error of the file. ``has_labels`` says
    whether the file has labels for the photo, usable or not.
    """

    name: str
    labels: Labelled | Unusable
    has_labels: bool


@dataclass(frozen=True)
class Source:
    """The job that a labels file belongs to.

    Args:
        report: called with each problem.
        photos: the sizes of the job's photos by file name; a size is None if it is not known. None if the photos are
            not known: the reader then accepts every name.
        rejected: file names of photos that were uploaded and rejected.
        types: the job's document types; None to accept the types that the file names.
        job_name: written into each labelled entry.
        created: the creation date, in ISO 8601, of labels that have no date of their own.
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
        """Return why the job has no photo ``name``, or None if it has."""
        if self.photos is None or name in self.photos:
            return None
        return Unusable("RejectedPhoto", "the photo was rejected") if name in self.rejected else UNKNOWN

    def fault_of_type(self, name: str) -> Unusable | None:
        """Return why ``name`` cannot be a document type of the job, or None if it can."""
        if name in self._good_types:
            return None
        if self.types is None or name not in self.types:
            if fault := fault_of_type(name):
                return Unusable("InvalidType", fault)
            if self.types is not None:
                types = ", ".join(sorted(self.types))
                return Unusable("UnknownType", f"{quoted(name)} is not one of the job's document types ({types})")
        self._good_types.add(name)
        return None


UNKNOWN = Unusable("UnknownPhoto", "the job has no such photo")


class Drawn(NamedTuple):
    """A box as the file has it. ``corners`` is set only for a turned box, and for a polygon in the box."""

    frame: Frame
    corners: Corners | None = None


def place_boxes(drawn: list[Drawn], size: tuple[Any, Any], name: str, photo: Size) -> list[Drawn] | Unusable:
    """Return the boxes in pixels of the upright photo, or why ``size`` is not the photo's size.

    ``size`` is the width and height that the labels file gives. Usually it is the size of the upright photo, and the
    boxes stay as they are. If it is the size of the stored file, before EXIF turns it, the boxes may be in either
    coordinates: Label Studio exports the stored size with boxes on the upright photo; tools that ignore EXIF draw boxes
    on the stored file. If the boxes fit only one of the two, that one is taken.
    """
    width, height = size
    if fault := fault_of_size(size):
        return fault
    if width is None or height is None:
        return drawn
    upright = photo.width, photo.height
    if size == upright:
        return drawn
    reason = f"it was labelled as {width}x{height} px, but {quoted(name)} is {upright[0]}x{upright[1]} px"
    if size != upright[::-1]:
        return Unusable("WrongImageSize", reason)
    if size != photo.stored:
        return Unusable(
            "WrongImageSize", f"{reason}: draw boxes on the upright photo, turned as its EXIF orientation says"
        )
    frames = [box.frame for box in drawn]
    fits_upright, fits_stored = fit(frames, *upright), fit(frames, width, height)
    if fits_upright and (not fits_stored or not frames):
        return drawn
    if fits_stored and not fits_upright:
        return [_turned(box, photo.orientation, width, height) for box in drawn]
    return Unusable(
        "WrongImageSize",
        f"{reason} when turned as its EXIF orientation says, and its boxes fit "
        f"{'both' if fits_upright else 'neither'}. If the boxes were drawn on the upright photo, as in Label Studio, "
        f"whose export has the size before the turn, write {upright[0]} as its width and {upright[1]} as its height. "
        "Otherwise save the photo turned, then label it again",
    )


def fault_of_size(size: tuple[Any, Any]) -> Unusable | None:
    """Return why ``size`` cannot be the width and height of a photo, or None if it can. None stands for no value."""
    if all(side is None or (type(side) is int and side > 0) for side in size):
        return None
    width, height = map(quoted, size)
    return Unusable("WrongImageSize", f"its width and height must be whole numbers of pixels, not {width} and {height}")


def _turned(box: Drawn, orientation: int, width: int, height: int) -> Drawn:
    frame = around(as_seen(corners_of(box.frame), orientation, width, height))
    return Drawn(frame, as_seen(box.corners, orientation, width, height) if box.corners else None)


def fault_of_frame(frame: Frame, photo: Size | None) -> Unusable | None:
    """Return why ``frame``, four finite numbers, cannot be a document's box, or None if it can.

    Checks that the box lies in ``photo`` only if the photo's size is known.
    """
    left, top, width, height = frame
    if photo and left >= 0 and top >= 0 and 1 < width <= photo.width - left and 1 < height <= photo.height - top:
        return None  # fast path: almost all boxes
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
