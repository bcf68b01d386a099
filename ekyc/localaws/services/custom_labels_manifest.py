"""The rules for Custom Labels manifests: errors that refuse a file, drop a line, or mark a line.

There are three types of errors (Custom Labels guide, "Debugging a failed model training" and "Debugging datasets"):
- Terminal file errors refuse the whole file (ManifestRefused).
- Terminal content errors silently drop a line when a dataset is created. Too many of them refuse the file.
- Line errors mark a line, an attribute, its metadata or an annotation. The marked part is not used for training.
"""

from __future__ import annotations

import copy
import datetime
import json
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Any, NamedTuple

# Custom Labels guide, "Guidelines and quotas" and "Validation rules for manifest files".
MAX_MANIFEST_BYTES = 1 << 30
MAX_IMAGES = 250_000
MAX_LINE_CHARACTERS = 100_000
MAX_LABELS = 250
MAX_LABEL_NAME_CHARACTERS = 256
MAX_BOXES = 50
MIN_IMAGE_SIDE, MAX_IMAGE_SIDE = 64, 4096
MAX_ASPECT_RATIO = 20
MAX_INVALID_SHARE = 0.2
MIN_LABEL_OVERLAP = 0.5
# Larger images are scaled down to this side before boxes are measured.
DOWNSIZED_SIDE = 1280

TERMINAL_MESSAGES = {
    "ERROR_MANIFEST_INACCESSIBLE_OR_UNSUPPORTED_FORMAT": "The manifest file extension or contents are invalid.",
    "ERROR_MANIFEST_SIZE_TOO_LARGE": "The manifest file size exceeds the maximum supported size.",
    "ERROR_MANIFEST_ROWS_EXCEEDS_MAXIMUM": "The manifest file has too many rows.",
    "ERROR_TOO_MANY_RECORDS_IN_ERROR": "The manifest file has too many terminal errors.",
    "ERROR_MANIFEST_TOO_MANY_LABELS": "The manifest file has too many labels.",
    "ERROR_TOO_MANY_INVALID_ROWS_IN_MANIFEST": "The manifest file contains too many invalid rows.",
    "ERROR_IMAGES_IN_MULTIPLE_S3_BUCKETS": "The manifest file contains images from multiple S3 buckets.",
    "ERROR_FAILED_IMAGES_S3_COPY": "Failed to copy images from S3 bucket.",
    "ERROR_MANIFEST_TOO_FEW_LABELS": "The manifest file has too few labels.",
    "ERROR_MANIFEST_TOO_FEW_USABLE_LABELS": "The manifest file has too few usable labels.",
    "ERROR_INSUFFICIENT_LABEL_OVERLAP": (
        "Less than 50% label overlap between the training and testing manifest files."
    ),
    "ERROR_INSUFFICIENT_USABLE_LABEL_OVERLAP": (
        "Less than 50% usable label overlap between the training and testing manifest files."
    ),
}

LINE_MESSAGES = {
    "ERROR_NO_LABEL_ATTRIBUTES": "No label attributes found.",
    "ERROR_INVALID_LABEL_ATTRIBUTE_FORMAT": "The format of the label attribute {} is invalid.",
    "ERROR_INVALID_LABEL_ATTRIBUTE_METADATA_FORMAT": "The format of the label attribute metadata is invalid.",
    "ERROR_NO_VALID_LABEL_ATTRIBUTES": "No valid label attributes found.",
    "ERROR_MISSING_BOUNDING_BOX_CONFIDENCE": "One or more bounding boxes has a missing confidence value.",
    "ERROR_MISSING_CLASS_MAP_ID": "One of more class ids is missing from the class map.",
    "ERROR_INVALID_IMAGE": "The image is invalid. Check S3 path and/or image properties.",
    "ERROR_INVALID_IMAGE_DIMENSION": "The image dimension(s) do not conform to allowed dimensions.",
    "ERROR_INVALID_BOUNDING_BOX": "The bounding box has off frame values.",
    "ERROR_NO_VALID_ANNOTATIONS": "No valid annotations found.",
    "ERROR_BOUNDING_BOX_TOO_SMALL": "The height and width of the bounding box is too small.",
    "ERROR_TOO_MANY_BOUNDING_BOXES": "There are more bounding boxes than the allowed maximum.",
    "ERROR_UNSUPPORTED_USE_CASE_TYPE": (
        "The use case type of the {}-metadata label attribute metadata is unsupported. Check the type field."
    ),
    # The guide has no message for this code.
    "ERROR_INVALID_LABEL_NAME_LENGTH": "The length of a label name is invalid.",
    "WARNING_NO_ANNOTATIONS": "No annotations were found.",
    "WARNING_NO_ATTRIBUTE_ANNOTATIONS": "No attribute annotations were found.",
}


class ManifestRefused(Exception):
    """A terminal error, with AWS's code and message."""

    def __init__(self, code: str) -> None:
        super().__init__(TERMINAL_MESSAGES[code])
        self.code = code


class LabelledBox(NamedTuple):
    """A labelled box in pixels of its image."""

    label: str
    left: int
    top: int
    width: int
    height: int


class Size(NamedTuple):
    """The size of an image in pixels."""

    width: int
    height: int

    @property
    def allowed(self) -> bool:
        """Whether Custom Labels accepts images of this size."""
        short, long = sorted(self)
        return short >= MIN_IMAGE_SIDE and long <= MAX_IMAGE_SIDE and long <= MAX_ASPECT_RATIO * short


class Problem(NamedTuple):
    """An error or a warning of a line. `place` is the path of keys to the marked part; () is the line itself."""

    code: str
    message: str
    place: tuple[str | int, ...]

    @property
    def is_error(self) -> bool:
        """Whether it is an error, not a warning."""
        return self.code.startswith("ERROR")


@dataclass
class CheckedLine:
    """A manifest line, its usable labels and boxes, and its problems."""

    line: dict[str, Any]
    attribute: str = ""
    is_labelled: bool = False
    is_classification: bool = False
    labels: set[str] = field(default_factory=set)
    boxes: list[LabelledBox] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)

    @property
    def source_ref(self) -> str:
        """The s3:// URI of the image."""
        return self.line["source-ref"]

    @property
    def has_errors(self) -> bool:
        """Whether the line has errors. It may still be usable."""
        return any(problem.is_error for problem in self.problems)

    @property
    def is_ignored(self) -> bool:
        """Whether the line has no error, but also nothing to train with."""
        return not self.boxes and (self.is_classification or not self.has_errors)

    @property
    def is_invalid(self) -> bool:
        """Whether the line counts towards the limit of invalid lines."""
        return not self.boxes and not self.is_ignored

    def add(self, code: str, *place: str | int) -> None:
        """Add a problem at `place`."""
        self.problems.append(Problem(code, LINE_MESSAGES[code].format(self.attribute), place))

    def make_unusable(self, code: str) -> None:
        """Add a problem of the whole line and remove its boxes."""
        self.add(code)
        self.boxes = []

    def for_listing(self) -> dict[str, Any]:
        """The line as ListDatasetEntries returns it, with "cl-errors" in the marked parts, and "cl-metadata"."""
        errors = [problem for problem in self.problems if problem.is_error]
        return self._marked(errors, "cl-") | {"cl-metadata": {"is_labeled": self.is_labelled}}

    def for_validation(self) -> dict[str, Any]:
        """The line in a validation manifest of a training, with "errors" and "warnings" in the marked parts."""
        return self._marked(self.problems, "")

    def _marked(self, problems: Iterable[Problem], prefix: str) -> dict[str, Any]:
        marked = copy.deepcopy(self.line)
        for problem in problems:
            target: Any = marked
            for key in problem.place:
                target = target[key]
            if not isinstance(target, dict):
                target = marked
            kind = "errors" if problem.is_error else "warnings"
            target.setdefault(prefix + kind, []).append({"code": problem.code, "message": problem.message})
        return marked


def read_dataset(key: str, content: bytes) -> list[CheckedLine]:
    """The entries of a dataset created from the manifest `content` of the S3 object `key`.

    Lines with terminal content errors are dropped silently: unreadable or too long lines, blank lines, lines without a
    valid source-ref, duplicates of a source-ref. Raises ManifestRefused for a terminal file error.
    Source: Custom Labels guide, "Debugging terminal file errors" and "Debugging terminal content errors".
    """
    if not PurePosixPath(key).suffix or not content:
        raise ManifestRefused("ERROR_MANIFEST_INACCESSIBLE_OR_UNSUPPORTED_FORMAT")
    if len(content) > MAX_MANIFEST_BYTES:
        raise ManifestRefused("ERROR_MANIFEST_SIZE_TOO_LARGE")
    try:
        texts = content.decode("utf-8").removesuffix("\n").split("\n")
    except UnicodeDecodeError:
        raise ManifestRefused("ERROR_MANIFEST_INACCESSIBLE_OR_UNSUPPORTED_FORMAT") from None
    if len(texts) > MAX_IMAGES:
        raise ManifestRefused("ERROR_MANIFEST_ROWS_EXCEEDS_MAXIMUM")
    entries: dict[str, CheckedLine] = {}
    for text in texts:
        line = _readable_line(text)
        if line is not None and line["source-ref"] not in entries:
            entries[line["source-ref"]] = check_line(line)
    if not entries:
        raise ManifestRefused("ERROR_MANIFEST_INACCESSIBLE_OR_UNSUPPORTED_FORMAT")
    if len(texts) - len(entries) > MAX_INVALID_SHARE * len(texts):
        raise ManifestRefused("ERROR_TOO_MANY_RECORDS_IN_ERROR")
    if len({label for entry in entries.values() for label in entry.labels}) > MAX_LABELS:
        raise ManifestRefused("ERROR_MANIFEST_TOO_MANY_LABELS")
    return list(entries.values())


def check_line(line: dict[str, Any], true_size: Size | None = None) -> CheckedLine:
    """Check a readable line. Boxes must be inside `true_size`, or inside the image size that the line gives.

    Source: Custom Labels guide, "Debugging non-terminal JSON line validation errors".
    """
    attributes = [key for key in line if f"{key}-metadata" in line]
    if not attributes:
        checked = CheckedLine(line)
        checked.add("ERROR_NO_LABEL_ATTRIBUTES")
        return checked
    candidates = [_check_attribute(line, attribute, true_size) for attribute in attributes]
    usable = [candidate for candidate in candidates if candidate.boxes or candidate.is_classification]
    checked = (usable or candidates)[0]
    if not usable:
        checked.add("ERROR_NO_VALID_LABEL_ATTRIBUTES" if checked.has_errors else "WARNING_NO_ANNOTATIONS")
    return checked


def check_sets(
    training: Sequence[CheckedLine], testing: Sequence[CheckedLine]
) -> tuple[dict[str, Any], list[dict[str, str]]]:
    """Check the two complete sets of a training. Returns the manifest summary and its terminal errors, worst first.

    Source: Custom Labels guide, "Understanding the manifest summary" and "Terminal manifest content errors".
    """
    sets = {"training": training, "testing": testing}
    per_set = {name: _set_errors(lines) for name, lines in sets.items()}
    across = _overlap_errors(training, testing)
    statistics = {name: _statistics(lines, per_set[name]) for name, lines in sets.items()}
    summary = {"statistics": statistics, "errors": across}
    return summary, [*per_set["training"], *per_set["testing"], *across]


def label_counts(lines: Iterable[CheckedLine]) -> dict[str, tuple[int, int]]:
    """For each label, the number of lines with it and the number of its usable boxes."""
    entries = Counter(label for line in lines for label in line.labels)
    boxes = Counter(box.label for line in lines for box in line.boxes)
    return {label: (entries[label], boxes[label]) for label in sorted(entries)}


def _readable_line(text: str) -> dict[str, Any] | None:
    if len(text) > MAX_LINE_CHARACTERS:
        return None
    try:
        line = json.loads(text)
    except ValueError:
        return None
    if not isinstance(line, dict) or not isinstance(line.get("source-ref"), str):
        return None
    return line if re.fullmatch(r"s3://[^/]+/.+", line["source-ref"]) else None


def _check_attribute(line: dict[str, Any], attribute: str, true_size: Size | None) -> CheckedLine:
    checked = CheckedLine(line, attribute)
    value, metadata, metadata_key = line[attribute], line[f"{attribute}-metadata"], f"{attribute}-metadata"
    if not _is_metadata(metadata):
        checked.add("ERROR_INVALID_LABEL_ATTRIBUTE_METADATA_FORMAT", metadata_key)
    elif metadata["type"] == "groundtruth/image-classification":
        _check_classification(checked, value, metadata, metadata_key)
    elif metadata["type"] == "groundtruth/object-detection":
        _check_boxes(checked, value, metadata, metadata_key, true_size)
    else:
        checked.is_labelled = True
        checked.add("ERROR_UNSUPPORTED_USE_CASE_TYPE", metadata_key)
    return checked


def _check_classification(checked: CheckedLine, value: Any, metadata: dict[str, Any], metadata_key: str) -> None:
    name = metadata.get("class-name")
    if not _is_integer(value):
        checked.add("ERROR_INVALID_LABEL_ATTRIBUTE_FORMAT", checked.attribute)
    elif not isinstance(name, str) or not isinstance(metadata.get("confidence"), int | float):
        checked.add("ERROR_INVALID_LABEL_ATTRIBUTE_METADATA_FORMAT", metadata_key)
    elif not 1 <= len(name) <= MAX_LABEL_NAME_CHARACTERS:
        checked.add("ERROR_INVALID_LABEL_NAME_LENGTH", metadata_key)
    else:
        checked.is_labelled = checked.is_classification = True
        checked.labels = {name}


def _check_boxes(
    checked: CheckedLine, value: Any, metadata: dict[str, Any], metadata_key: str, true_size: Size | None
) -> None:
    attribute = checked.attribute
    class_map: Any = metadata.get("class-map")
    objects: Any = metadata.get("objects")
    if not _is_box_attribute(value):
        checked.add("ERROR_INVALID_LABEL_ATTRIBUTE_FORMAT", attribute)
        return
    if not _is_class_map(class_map) or not isinstance(objects, list):
        checked.add("ERROR_INVALID_LABEL_ATTRIBUTE_METADATA_FORMAT", metadata_key)
        return
    annotations = value["annotations"]
    if not annotations:
        checked.add("WARNING_NO_ATTRIBUTE_ANNOTATIONS", attribute)
        return
    checked.is_labelled = True
    checked.labels = {class_map[str(a["class_id"])] for a in annotations if str(a["class_id"]) in class_map}
    if any(str(annotation["class_id"]) not in class_map for annotation in annotations):
        checked.add("ERROR_MISSING_CLASS_MAP_ID", metadata_key)
    if any(not 1 <= len(name) <= MAX_LABEL_NAME_CHARACTERS for name in class_map.values()):
        checked.add("ERROR_INVALID_LABEL_NAME_LENGTH", metadata_key)
    has_confidence = [isinstance(o, dict) and isinstance(o.get("confidence"), int | float) for o in objects]
    if len(objects) < len(annotations) or not all(has_confidence):
        checked.add("ERROR_MISSING_BOUNDING_BOX_CONFIDENCE", metadata_key)
    if len(annotations) > MAX_BOXES:
        checked.add("ERROR_TOO_MANY_BOUNDING_BOXES", attribute)
    size = Size(value["image_size"][0]["width"], value["image_size"][0]["height"])
    if not size.allowed:
        checked.add("ERROR_INVALID_IMAGE_DIMENSION", attribute)
    if checked.has_errors:
        return
    for number, annotation in enumerate(annotations):
        box = LabelledBox(class_map[str(annotation["class_id"])], *(annotation[edge] for edge in _EDGES))
        if error := _box_error(box, true_size or size):
            checked.add(error, attribute, "annotations", number)
        else:
            checked.boxes.append(box)
    if not checked.boxes:
        checked.add("ERROR_NO_VALID_ANNOTATIONS", attribute)


_EDGES = ("left", "top", "width", "height")


def _box_error(box: LabelledBox, size: Size) -> str | None:
    inside = box.left >= 0 and box.top >= 0 and box.left + box.width <= size.width
    if not inside or box.top + box.height > size.height:
        return "ERROR_INVALID_BOUNDING_BOX"
    scale = min(1.0, DOWNSIZED_SIDE / max(size))
    return "ERROR_BOUNDING_BOX_TOO_SMALL" if min(box.width, box.height) * scale <= 1 else None


def _is_integer(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_box_attribute(value: Any) -> bool:
    if not isinstance(value, dict):
        return False
    sizes, annotations = value.get("image_size"), value.get("annotations")
    if not isinstance(sizes, list) or len(sizes) != 1 or not isinstance(annotations, list):
        return False
    return _has_integers(sizes[0], ("width", "height", "depth")) and all(
        _has_integers(annotation, ("class_id", *_EDGES)) for annotation in annotations
    )


def _has_integers(value: Any, keys: Iterable[str]) -> bool:
    return isinstance(value, dict) and all(_is_integer(value.get(key)) for key in keys)


def _is_class_map(value: Any) -> bool:
    return isinstance(value, dict) and all(isinstance(name, str) for name in value.values())


def _is_metadata(value: Any) -> bool:
    if not isinstance(value, dict) or not isinstance(value.get("type"), str):
        return False
    if value.get("human-annotated") not in ("yes", "no"):
        return False
    try:
        datetime.datetime.fromisoformat(value.get("creation-date") or "")
    except (TypeError, ValueError):
        return False
    return True


def _error(code: str) -> dict[str, str]:
    return {"code": code, "message": TERMINAL_MESSAGES[code]}


def _set_errors(lines: Sequence[CheckedLine]) -> list[dict[str, str]]:
    codes = []
    bad_images = sum(any(problem.code == "ERROR_INVALID_IMAGE" for problem in line.problems) for line in lines)
    if bad_images == len(lines):
        codes.append("ERROR_FAILED_IMAGES_S3_COPY")
    if len({line.source_ref.split("/")[2] for line in lines}) > 1:
        codes.append("ERROR_IMAGES_IN_MULTIPLE_S3_BUCKETS")
    if sum(line.is_invalid for line in lines) > MAX_INVALID_SHARE * len(lines):
        codes.append("ERROR_TOO_MANY_INVALID_ROWS_IN_MANIFEST")
    labels = {label for line in lines for label in line.labels}
    if not labels:
        codes.append("ERROR_MANIFEST_TOO_FEW_LABELS")
    elif not _usable_labels(lines):
        codes.append("ERROR_MANIFEST_TOO_FEW_USABLE_LABELS")
    return [_error(code) for code in codes]


def _overlap_errors(training: Sequence[CheckedLine], testing: Sequence[CheckedLine]) -> list[dict[str, str]]:
    def overlap(first: set[str], second: set[str]) -> float:
        return len(first & second) / len(first) if first else 1.0

    labels = [{label for line in lines for label in line.labels} for lines in (training, testing)]
    if overlap(labels[0], labels[1]) < MIN_LABEL_OVERLAP:
        return [_error("ERROR_INSUFFICIENT_LABEL_OVERLAP")]
    if overlap(_usable_labels(training), _usable_labels(testing)) < MIN_LABEL_OVERLAP:
        return [_error("ERROR_INSUFFICIENT_USABLE_LABEL_OVERLAP")]
    return []


def _usable_labels(lines: Sequence[CheckedLine]) -> set[str]:
    return {box.label for line in lines for box in line.boxes}


def _statistics(lines: Sequence[CheckedLine], errors: list[dict[str, str]]) -> dict[str, Any]:
    invalid = [number for number, line in enumerate(lines) if line.is_invalid]
    ignored = sum(line.is_ignored for line in lines)
    if any(line.boxes for line in lines):
        use_case = "OBJECT_LOCALIZATION"
    else:
        use_case = "IMAGE_LEVEL_LABELS" if any(line.is_classification for line in lines) else "NOT_DETERMINED"
    return {
        "use_case": use_case,
        "total_json_lines": len(lines),
        "valid_json_lines": len(lines) - len(invalid) - ignored,
        "invalid_json_lines": len(invalid),
        "ignored_json_lines": ignored,
        "error_json_line_indices": invalid,
        "errors": errors,
    }
