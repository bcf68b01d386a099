"""Checks a labels file before it is sent, with the rules of the state `Import labels`."""

import json
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
# The list in a COCO file that holds each kind of element.
PART_OF = {"image": "images", "annotation": "annotations", "category": "categories"}
# The JSON tokens that show the structure: strings, brackets and commas.
TOKEN = re.compile(r'"(?:[^"\\]|\\.)*"|[][{},]')


@dataclass
class Labels:
    """The content of a labels file.

    ``types`` are in the order of the file, ``entries`` are by photo name. ``missing`` are photos in the file that were
    not uploaded, ``lost`` are the labelled ones among them. ``unlabelled`` are uploaded photos that are not in the
    file.
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
        """The number of labelled documents."""
        return sum(len(entry.boxes) for entry in self.entries.values())

    def add(self, entry: Entry) -> None:
        """Add the file's entry for one photo."""
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
    """Read a COCO file or a Ground Truth output manifest. The content decides which of the two it is.

    Args:
        photos: the job's photos with their sizes, if known.
        types: the job's document types, if known.

    Raises:
        CommandError: the file cannot be read, or has neither format.
    """
    if not path.is_file():
        raise CommandError(f"{path} is not a file.")
    if path.suffix.lower() not in ENDINGS:
        raise CommandError(f"{path} is not accepted as a labels file. Its name must end in one of {' '.join(ENDINGS)}.")
    faults: list[Problem] = []
    source = Source(report=faults.append, photos=photos, types=types)
    unlabelled = set(photos or ())
    try:
        result = Labels("Ground Truth manifest" if labels.is_manifest(lambda: path.open("rb")) else "COCO")
        for entry in labels.read(lambda: path.open("rb"), path.stat().st_size, source):
            unlabelled.discard(entry.name)
            result.add(entry)
    except OSError as error:
        raise CommandError(f"{path} cannot be read: {error.strerror}.") from error
    except Unreadable as error:
        raise CommandError(f"{path} {error}") from error
    result.problems = _locate(path, faults)
    if not faults:
        result.unlabelled = sorted(unlabelled)
        result.counts.photos, result.counts.without_label = len(photos or ()), len(unlabelled)
        if not result.boxes:
            result.problems = [f"{path}: no document is labelled in any of the photos"]
        elif types is None and len(result.types) > MOST_TYPES:
            result.problems = [f"{path}: has {len(result.types)} document types. A job can have at most {MOST_TYPES}"]
    return result


def _locate(path: Path, faults: list[Problem]) -> list[str]:
    """The problems in the order of the file, each as ``path:line: reason``. The line is where its element begins."""
    starts: dict[str, list[int]] = {}
    if any(fault.place.kind != "line" for fault in faults):
        content = path.read_bytes()
        starts = _element_lines(content.decode(json.detect_encoding(content)))
    problems = []
    for fault in faults:
        kind, number = fault.place
        line = number if kind == "line" else starts[PART_OF[kind]][number - 1]
        problems.append((line, f"{path}:{line}: {fault.reason}"))
    return [problem for _, problem in sorted(problems)]


def _element_lines(text: str) -> dict[str, list[int]]:
    """For each list in a JSON object, the line numbers, from 1, at which its elements begin."""
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
            key = json.loads(token[0])
    lines: dict[str, list[int]] = {}
    for name, places in ends.items():
        line, last, lines[name] = 1, 0, []
        for place in places:
            begins = place + len(text[place : place + 1000]) - len(text[place : place + 1000].lstrip())
            line, last = line + text.count("\n", last, begins), begins
            lines[name].append(line)
    return lines
