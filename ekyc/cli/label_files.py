"""Checks a labels file before it is sent: what does not fit, by file and line.

The state `Import labels` has the last word; what is found here is what it would refuse the file for.
"""

import json
import math
from bisect import bisect_right
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from json.decoder import scanstring  # type: ignore[attr-defined]  # it is there and used by json itself
from pathlib import Path
from typing import Any

from ekyc.cli.errors import CommandError

ENDINGS = (".json", ".jsonl", ".manifest")
COCO_PARTS = ("images", "annotations", "categories")
DETECTION = "groundtruth/object-detection"
MOST_TYPES, MOST_BOXES = 50, 50
MAX_COCO_BYTES, MAX_BYTES = 100 * 1024 * 1024, 1024 * 1024 * 1024

Sizes = Mapping[str, tuple[int, int]]
"""Width and height in pixels of the photos by their names."""


@dataclass(frozen=True)
class Problem:
    """What does not fit, and in which line of the file."""

    line: int
    reason: str


@dataclass
class Labels:
    """What a labels file says. ``types`` in the order of the file; ``photos`` have an entry, ``boxes`` of them all."""

    form: str
    types: dict[str, None] = field(default_factory=dict)
    photos: set[str] = field(default_factory=set)
    boxes: int = 0
    problems: list[Problem] = field(default_factory=list)

    def add(self, line: int, reason: str) -> None:
        """One more problem."""
        self.problems.append(Problem(line, reason))


def check(path: Path, sizes: Sizes | None = None, types: list[str] | None = None) -> Labels:
    """Read the COCO file or Ground Truth output manifest; told apart by the content.

    Args:
        sizes: the job's photos, if known: labels must be drawn on photos of that size.
        types: the job's document types, if known.

    Raises:
        CommandError: it cannot be read, or is neither.
    """
    if not path.is_file():
        raise CommandError(f"{path} is not a file.")
    if path.suffix.lower() not in ENDINGS:
        raise CommandError(f"{path} must end in one of {' '.join(ENDINGS)} to be taken as labels.")
    size = path.stat().st_size
    if size > MAX_BYTES:
        raise CommandError(f"{path} has {size:,} bytes; at most {MAX_BYTES:,} (1 GB) are allowed.")
    try:
        with path.open(encoding="utf-8") as file:
            first = next((line for line in file if line.strip()), "")
            if _is_manifest(first):
                file.seek(0)
                labels = _manifest(file, sizes)
            else:
                if size > MAX_COCO_BYTES:
                    raise CommandError(f"{path} has {size:,} bytes; a COCO file may have {MAX_COCO_BYTES:,} (100 MB).")
                labels = _coco(path, sizes)
    except OSError as error:
        raise CommandError(f"{path} cannot be read: {error.strerror}.") from error
    except UnicodeDecodeError as error:
        raise CommandError(f"{path} is no text in UTF-8: {error.reason} at byte {error.start}.") from error
    if not labels.problems:
        _check_whole(labels, sizes, types)
    labels.problems.sort(key=lambda problem: problem.line)
    return labels


def _check_whole(labels: Labels, sizes: Sizes | None, types: list[str] | None) -> None:
    if not labels.boxes:
        labels.add(1, "no document is marked in it")
    elif sizes is not None and not labels.photos & sizes.keys():
        labels.add(1, "none of its photos is one of the job's: they are found by their file names")
    if types is None and len(labels.types) > MOST_TYPES:
        labels.add(1, f"it has {len(labels.types)} document types; a job takes at most {MOST_TYPES}")
    for unknown in sorted(set(labels.types) - set(types or labels.types)):
        labels.add(1, f"{unknown!r} is none of the job's document types ({', '.join(types or [])})")


def _is_manifest(line: str) -> bool:
    try:
        document = json.loads(line)
    except ValueError:
        return False
    return isinstance(document, dict) and "source-ref" in document


def _file_name(text: str) -> str:
    return text.replace("\\", "/").rpartition("/")[2]


def _manifest(lines: Iterator[str], sizes: Sizes | None) -> Labels:
    labels = Labels("Ground Truth manifest")
    for number, text in enumerate(lines, 1):
        if not text.strip():
            continue
        try:
            line = json.loads(text)
        except ValueError as error:
            labels.add(number, f"it is no JSON: {error}")
            continue
        if not isinstance(line, dict) or not isinstance(line.get("source-ref"), str):
            labels.add(number, "source-ref is missing or no text")
            continue
        name = _file_name(line["source-ref"])
        if name in labels.photos:
            labels.add(number, f"an earlier line has a photo named {name} too")
        labels.photos.add(name)
        if sizes is None or name in sizes:
            _manifest_line(labels, number, line, name, sizes)
    return labels


def _manifest_line(labels: Labels, number: int, line: dict[str, Any], name: str, sizes: Sizes | None) -> None:
    found = [
        key.removesuffix("-metadata")
        for key, value in line.items()
        if key.endswith("-metadata") and isinstance(value, dict) and value.get("type") == DETECTION
    ]
    if len(found) > 1:
        labels.add(number, f"it has boxes under {', '.join(found)}: leave those of one labelling job only")
    if not found or found[0] not in line:
        return  # nobody labelled it, or it failed: it is left out of the training
    try:
        content, metadata = line[found[0]], line[f"{found[0]}-metadata"]
        [size] = content["image_size"]
        width, height = size["width"], size["height"]
        boxes, class_map = content["annotations"], metadata["class-map"]
        if len(metadata["objects"]) != len(boxes):
            labels.add(number, f"{len(boxes)} annotations but {len(metadata['objects'])} objects with a confidence")
        kinds = [class_map.get(str(box["class_id"])) for box in boxes]
        frames = [(box["left"], box["top"], box["width"], box["height"]) for box in boxes]
    except (KeyError, TypeError, ValueError, AttributeError):
        labels.add(number, f"{found[0]} needs one image_size and annotations, its metadata objects and a class-map")
        return
    if sizes is not None:
        _check_size(labels, number, name, (width, height), sizes)
    if len(boxes) > MOST_BOXES:
        labels.add(number, f"{len(boxes)} boxes; at most {MOST_BOXES} can be trained on")
    for place, (kind, frame) in enumerate(zip(kinds, frames, strict=True), 1):
        if not isinstance(kind, str):
            labels.add(number, f"the class_id of box {place} is not in the class-map")
        elif fault := _fault_of_box(frame, (width, height)):
            labels.add(number, f"box {place}: {fault}")
        else:
            labels.types[kind] = None
            labels.boxes += 1


def _coco(path: Path, sizes: Sizes | None) -> Labels:
    text = path.read_text(encoding="utf-8")
    try:
        parts = _Elements(text).parts()
    except json.JSONDecodeError as error:
        raise CommandError(f"{path}, line {error.lineno}: it is no valid JSON: {error.msg}.") from error
    lacking = [part for part in COCO_PARTS if part not in parts]
    if lacking:
        raise CommandError(
            f"{path} is neither a COCO file, which has lists named {', '.join(COCO_PARTS)}, nor a Ground Truth output "
            f"manifest, whose lines are JSON with a source-ref. It lacks {', '.join(lacking)}."
        )
    labels = Labels("COCO")
    categories: dict[Any, str] = {}
    for line, category in parts["categories"]:
        if isinstance(category, dict) and _is_id(category.get("id")) and isinstance(category.get("name"), str):
            categories[category["id"]] = category["name"]
        else:
            labels.add(line, "a category needs an id and a name")
    images: dict[Any, tuple[str, tuple[Any, Any]]] = {}
    for line, image in parts["images"]:
        if not (isinstance(image, dict) and _is_id(image.get("id")) and isinstance(image.get("file_name"), str)):
            labels.add(line, "an image needs an id and a file_name")
            continue
        if image["id"] in images:
            labels.add(line, f"an earlier image has the id {image['id']} too")
            continue
        name, size = _file_name(image["file_name"]), (image.get("width"), image.get("height"))
        if name in labels.photos:
            labels.add(line, f"an earlier image has the file name {name} too")
        labels.photos.add(name)
        images[image["id"]] = name, size
        if sizes is not None:
            _check_size(labels, line, name, size, sizes)
    for line, annotation in parts["annotations"]:
        _annotation(labels, line, annotation, images, categories, sizes)
    return labels


def _annotation(
    labels: Labels,
    line: int,
    annotation: Any,
    images: Mapping[Any, tuple[str, tuple[Any, Any]]],
    categories: Mapping[Any, str],
    sizes: Sizes | None,
) -> None:
    if not isinstance(annotation, dict):
        labels.add(line, "an annotation needs an image_id, a category_id and a bbox")
        return
    image_id, category_id, box = (annotation.get(key) for key in ("image_id", "category_id", "bbox"))
    if not _is_id(image_id) or image_id not in images:
        labels.add(line, f"its image_id {image_id!r} is no image of the file")
    elif not _is_id(category_id) or category_id not in categories:
        labels.add(line, f"its category_id {category_id!r} is no category of the file")
    elif not isinstance(box, list) or len(box) != 4:
        labels.add(line, "its bbox must be [left, top, width, height] in pixels")
    else:
        name, size = images[image_id]
        if sizes is not None and name not in sizes:
            return  # of a photo that the job has not: it is left out
        if fault := _fault_of_box(tuple(box), size):
            labels.add(line, fault)
        else:
            labels.types[categories[category_id]] = None
            labels.boxes += 1


def _is_id(value: object) -> bool:
    return type(value) in (int, str)


def _check_size(labels: Labels, line: int, name: str, size: tuple[Any, Any], sizes: Sizes) -> None:
    photo = sizes.get(name)
    if photo is None or size == photo:
        return
    turned = ": draw boxes on the photo as people see it, turned as its EXIF says" if size == photo[::-1] else ""
    labels.add(line, f"it was labelled as {size[0]}x{size[1]} px, but {name} is {photo[0]}x{photo[1]} px{turned}")


def _fault_of_box(box: tuple[Any, ...], size: tuple[Any, Any]) -> str | None:
    """What is wrong with left, top, width, height in a photo of this size; what reaches over its edge is cut there."""
    if not all(type(edge) in (int, float) and math.isfinite(edge) for edge in box):
        return f"the box {list(box)} must have four finite numbers"
    left, top, width, height = box
    if width <= 0 or height <= 0:
        return f"the box {list(box)} has no area"
    if all(type(side) is int for side in size) and (
        left >= size[0] or top >= size[1] or left + width <= 0 or top + height <= 0
    ):
        return f"the box {list(box)} lies outside the photo of {size[0]}x{size[1]} px"
    return None


class _Elements:
    """The elements of the lists in a JSON object, each with the line on which it begins, which json does not tell."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._decode = json.JSONDecoder().raw_decode
        self._line_ends = [place for place, character in enumerate(text) if character == "\n"]

    def parts(self) -> dict[str, list[tuple[int, Any]]]:
        """The lists by their names.

        Raises:
            json.JSONDecodeError: the text is no JSON object.
        """
        found = {}
        at = self._expect(self._blank(0), "{")
        while self._at(at) != "}":
            name, at = scanstring(self._text, self._expect(at, '"', skip=False))
            at = self._expect(self._blank(at), ":")
            if self._at(at) == "[":
                found[name], at = self._list(at)
            else:
                _, at = self._decode(self._text, at)
            at = self._comma(at, "}")
        if self._text[at + 1 :].strip():
            raise json.JSONDecodeError("Extra data", self._text, at + 1)
        return found

    def _list(self, at: int) -> tuple[list[tuple[int, Any]], int]:
        elements = []
        at = self._blank(at + 1)
        while self._at(at) != "]":
            start = at
            element, at = self._decode(self._text, at)
            elements.append((bisect_right(self._line_ends, start) + 1, element))
            at = self._comma(at, "]")
        return elements, at + 1

    def _comma(self, at: int, end: str) -> int:
        at = self._blank(at)
        if self._at(at) == end:
            return at
        at = self._expect(at, ",")
        if self._at(at) == end:
            raise json.JSONDecodeError("Illegal trailing comma", self._text, at)
        return at

    def _at(self, at: int) -> str:
        return self._text[at : at + 1]

    def _blank(self, at: int) -> int:
        while self._text[at : at + 1] in (" ", "\n", "\r", "\t"):
            at += 1
        return at

    def _expect(self, at: int, character: str, skip: bool = True) -> int:
        if self._at(at) != character:
            raise json.JSONDecodeError(f"Expecting {character!r}", self._text, at)
        return self._blank(at + 1) if skip else at + 1
