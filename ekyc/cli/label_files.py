"""Reads a labels file before it is sent, by the rules that the state `Import labels` reads it by."""

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from ekyc.cli.errors import CommandError
from rules import labels
from rules.entries import UNKNOWN, Entry, Problem, Size, Source, Unreadable
from rules.labels import Counts
from rules.lines import Labelled
from rules.types import MOST_TYPES

ENDINGS = (".json", ".jsonl", ".manifest")
# The list in a COCO file that has the elements of a kind.
PART_OF = {"image": "images", "annotation": "annotations", "category": "categories"}
# What JSON is made of, as far as its structure goes.
TOKEN = re.compile(r'"(?:[^"\\]|\\.)*"|[][{},]')


@dataclass
class Labels:
    """What a labels file says. ``types`` in the order of the file; ``entries`` by the photo's name.

    ``missing`` are the file's photos that are not there, of which ``lost`` are labelled; ``unlabelled`` are photos that
    the file does not have.
    """

    form: str
    types: dict[str, None] = field(default_factory=dict)
    entries: dict[str, Labelled] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    lost: list[str] = field(default_factory=list)
    unlabelled: list[str] = field(default_factory=list)
    counts: Counts = field(default_factory=Counts)

    @property
    def boxes(self) -> int:
        """How many documents are marked."""
        return sum(len(entry.boxes) for entry in self.entries.values())

    def add(self, entry: Entry) -> None:
        """What the file says of one photo."""
        if entry.labels == UNKNOWN:
            self.missing.append(entry.name)
        if self.counts.add(entry):
            self.lost.append(entry.name)
        if isinstance(entry.labels, Labelled):
            self.entries[entry.name] = entry.labels
            self.types |= dict.fromkeys(box.label for box in entry.labels.boxes)


def read(
    path: Path,
    photos: Mapping[str, Size | None] | None = None,
    types: Collection[str] | None = None,
) -> Labels:
    """Read the COCO file or Ground Truth output manifest; told apart by the content.

    Args:
        photos: the job's photos with their sizes, if known.
        types: the job's document types, if known.

    Raises:
        CommandError: it cannot be read, or is neither.
    """
    if not path.is_file():
        raise CommandError(f"{path} is not a file.")
    if path.suffix.lower() not in ENDINGS:
        raise CommandError(f"{path} must end in one of {' '.join(ENDINGS)} to be taken as labels.")
    faults: list[Problem] = []
    source = Source(report=faults.append, photos=photos, types=types)
    left = set(photos or ())
    try:
        found = Labels("Ground Truth manifest" if labels.is_manifest(lambda: path.open("rb")) else "COCO")
        for entry in labels.read(lambda: path.open("rb"), path.stat().st_size, source):
            left.discard(entry.name)
            found.add(entry)
    except OSError as error:
        raise CommandError(f"{path} cannot be read: {error.strerror}.") from error
    except Unreadable as error:
        raise CommandError(f"{path} {error}") from error
    found.problems = _placed(path, faults)
    if not faults:
        found.unlabelled = sorted(left)
        found.counts.photos, found.counts.without_label = len(photos or ()), len(left)
        if not found.boxes:
            found.problems = [f"{path}: no document is marked in any of the photos"]
        elif types is None and len(found.types) > MOST_TYPES:
            found.problems = [f"{path}: it has {len(found.types)} document types; a job takes at most {MOST_TYPES}"]
    return found


def _placed(path: Path, faults: list[Problem]) -> list[str]:
    """The problems in the order of the file, each with the line where its element begins, as editors read it."""
    starts: dict[str, list[int]] = {}
    if any(fault.place.kind != "line" for fault in faults):
        starts = _element_lines(path.read_bytes().decode(errors="replace"))
    found = []
    for fault in faults:
        kind, number = fault.place
        line = number if kind == "line" else starts[PART_OF[kind]][number - 1]
        found.append((line, f"{path}:{line}: {fault.reason}"))
    return [words for _, words in sorted(found)]


def _element_lines(text: str) -> dict[str, list[int]]:
    """The lines, from 1, on which the elements of the lists in a JSON object begin, by the lists' names."""
    ends: dict[str, list[int]] = {}
    depth, key = 0, ""
    for token in TOKEN.finditer(text):
        if token[0] in ("{", "["):
            depth += 1
            if depth == 2 and token[0] == "[":
                ends[key] = [token.end()]
        elif token[0] in ("}", "]"):
            depth -= 1
        elif token[0] == ",":
            if depth == 2 and key in ends:
                ends[key].append(token.end())
        elif depth == 1:
            key = token[0][1:-1]
    lines: dict[str, list[int]] = {}
    for name, places in ends.items():
        line, last, lines[name] = 1, 0, []
        for place in places:
            begins = place + len(text[place : place + 1000]) - len(text[place : place + 1000].lstrip())
            line, last = line + text.count("\n", last, begins), begins
            lines[name].append(line)
    return lines
