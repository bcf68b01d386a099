"""Reads a labels file: a COCO file or a Ground Truth output manifest. The content decides which.

Import labels, the command line, the demo and the simulated workforce all use these rules.
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

# A COCO file is one JSON document, which must be in memory as a whole. A Ground Truth manifest is streamed.
MAX_COCO_BYTES = 100 * 1024 * 1024
# `is_manifest` looks for a source-ref in this many lines.
LINES_LOOKED_AT = 100


def read(open_file: Open, size: int, source: Source) -> Iterator[Entry]:
    """Return the entries of the file. Reports problems to ``source.report`` and leaves out entries with problems.

    A COCO file of 100 MB needs about 600 MB of memory, a manifest of 1 GB about 60 MB.

    Args:
        open_file: opens the file at its start each time; the stream must have ``close``.
        size: the file's size in bytes.

    Raises:
        Unreadable: the file is too large, or is neither a COCO file nor a manifest.
    """
    if size > LARGEST_LABELS:
        raise Unreadable(
            f"has {size:,} bytes; at most {LARGEST_LABELS:,} (1 GB) are allowed. Remove labels of photos that are not "
            "in the job."
        )
    if is_manifest(open_file):
        return ground_truth.read(open_file, source)
    if size > MAX_COCO_BYTES:
        raise Unreadable(
            f"has {size:,} bytes; a COCO file can have at most {MAX_COCO_BYTES:,} (100 MB). Remove polygons from the "
            "file, or supply a Ground Truth output manifest."
        )
    with closing(open_file()) as file:  # type: ignore[type-var]
        parts = iter(lambda: file.read(MAX_COCO_BYTES), b"")
        return coco.read(coco.parse(b"".join(parts)), source)


def is_manifest(open_file: Open) -> bool:
    """Whether one of the file's first lines is a line of a Ground Truth manifest."""
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
    """Counts the entries of a labels file and the job's photos, and those without a counterpart.

    `add` counts entries; the caller sets ``photos`` and ``without_label``. ``labelled``: entries with labels.
    ``without_photo``: labelled entries whose photo was not uploaded. ``photos``: the job's photos. ``without_label``:
    the job's photos without an entry in the file. ``marked``: photos with at least one document box.
    """

    labelled: int = 0
    without_photo: int = 0
    photos: int = 0
    without_label: int = 0
    marked: int = 0

    def add(self, entry: Entry) -> bool:
        """Count the entry. Return whether it has labels but no photo."""
        lacks_photo = isinstance(entry.labels, Unusable) and entry.labels.code == "UnknownPhoto" and entry.has_labels
        self.labelled += entry.has_labels
        self.without_photo += lacks_photo
        self.marked += isinstance(entry.labels, Labelled) and bool(entry.labels.boxes)
        return lacks_photo

    def above(self, share: float) -> bool:
        """Whether more than ``share`` (0 to 1) of the labelled photos, or of the uploads, have no counterpart."""
        return self.without_photo > share * self.labelled or self.without_label > share * self.photos

    @property
    def words(self) -> str:
        """The mismatches in words; empty if there are none."""
        if not self.without_photo and not self.without_label:
            return ""
        have = "has" if self.without_photo == 1 else "have"
        had = "has" if self.without_label == 1 else "have"
        return (
            f"{self.without_photo:,} of {counted(self.labelled, 'labelled photo')} {have} no upload, "
            f"{counted(self.without_label, 'upload')} {had} no labels"
        )
