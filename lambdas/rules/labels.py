"""Reads a labels file: a COCO file or a Ground Truth output manifest, told apart by the content.

The one rule book of supplied labels, for Import labels, the command line, the demo and the simulated workforce.
"""

from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from itertools import islice

from rules import coco, ground_truth
from rules.entries import Entry, Source, Unreadable
from rules.ground_truth import Open
from rules.lines import Labelled, Unusable, decode, read_lines
from rules.uploads import LARGEST_LABELS
from rules.words import counted

# A COCO file is one JSON document and has to be in memory as a whole; a Ground Truth manifest is streamed.
MAX_COCO_BYTES = 100 * 1024 * 1024
# So many lines are looked at for a source-ref.
LINES_LOOKED_AT = 100


def read(open_file: Open, size: int, source: Source) -> Iterator[Entry]:
    """The entries of the file; problems go to ``source.report``, and their entries are left out.

    A COCO file of 100 MB needs some 600 MB of memory, a manifest of 1 GB some 60 MB.

    Args:
        open_file: opens the file from its start, each time that it is called, as a stream that can be closed.
        size: of the file, in bytes.

    Raises:
        Unreadable: the file is too large, or neither.
    """
    if size > LARGEST_LABELS:
        raise Unreadable(
            f"has {size:,} bytes; at most {LARGEST_LABELS:,} (1 GB) are allowed. Leave out what is not of the job's "
            "photos."
        )
    if is_manifest(open_file):
        return ground_truth.read(open_file, source)
    if size > MAX_COCO_BYTES:
        raise Unreadable(
            f"has {size:,} bytes, too large for a COCO file, which may have {MAX_COCO_BYTES:,} (100 MB). Leave "
            "outlines out of it, or supply a Ground Truth output manifest."
        )
    with closing(open_file()) as file:  # type: ignore[type-var]
        parts = iter(lambda: file.read(MAX_COCO_BYTES), b"")
        return coco.read(coco.parse(b"".join(parts)), source)


def is_manifest(open_file: Open) -> bool:
    """Whether one of the file's first lines is a line of a Ground Truth manifest; otherwise it can only be COCO."""
    with closing(open_file()) as file:  # type: ignore[type-var]
        for _, text in islice(read_lines(file), LINES_LOOKED_AT):
            document = decode(text) if isinstance(text, str) else text
            if isinstance(document, dict) and "source-ref" in document:
                return True
            if isinstance(document, Unusable) and document.code == "TooLong":
                return False
    return False


@dataclass
class Counts:
    """How far a labels file and a job's photos agree; add every entry, and say how many photos are left.

    ``labelled`` of the entries have labels; ``without_photo`` are those whose photo was not uploaded. ``photos`` are
    the job's, ``without_label`` those that the file has no entry for. ``marked`` photos have a document marked in them.
    """

    labelled: int = 0
    without_photo: int = 0
    photos: int = 0
    without_label: int = 0
    marked: int = 0

    def add(self, entry: Entry) -> bool:
        """Count the entry; whether its labels have no photo."""
        lost = isinstance(entry.labels, Unusable) and entry.labels.code == "UnknownPhoto" and entry.has_labels
        self.labelled += entry.has_labels
        self.without_photo += lost
        self.marked += isinstance(entry.labels, Labelled) and bool(entry.labels.boxes)
        return lost

    def above(self, share: float) -> bool:
        """Whether more than ``share`` (0 to 1) of the labelled photos, or of the uploads, have no counterpart."""
        return self.without_photo > share * self.labelled or self.without_label > share * self.photos

    @property
    def words(self) -> str:
        """The counts in words; empty when all agree."""
        if not self.without_photo and not self.without_label:
            return ""
        have = "has" if self.without_photo == 1 else "have"
        had = "has" if self.without_label == 1 else "have"
        return (
            f"{self.without_photo:,} of {counted(self.labelled, 'labelled photo')} {have} no upload, "
            f"{counted(self.without_label, 'upload')} {had} no labels"
        )
