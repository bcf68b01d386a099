"""Reads and writes the lines of an object-detection manifest, which is in JSON Lines, in bounded memory.

A line names one photo (``source-ref``). A labelled line also has the document boxes under a label attribute::

    {"source-ref": "s3://bucket/key.jpg",
     "doctype": {"image_size": [{"width": 640, "height": 480, "depth": 3}],
                 "annotations": [{"class_id": 1, "left": 399, "top": 251, "width": 155, "height": 101}]},
     "doctype-metadata": {"objects": [{"confidence": 1}], "type": "groundtruth/object-detection",
                          "human-annotated": "yes", "creation-date": "2018-10-18T22:18:13.527256",
                          "job-name": "labeling-job/NAME", "class-map": {"1": "MY_NRIC"}}}

Sources: Custom Labels guide, "Object localization in manifest files"; SageMaker guide, "Labeling job output data".
"""

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple, Protocol

import orjson

from rules.geometry import Corners
from rules.types import LONGEST_TYPE
from rules.words import quoted

LABEL_ATTRIBUTE = "doctype"
DETECTION_TYPE = "groundtruth/object-detection"

# Custom Labels guide, "Terminal manifest content errors" (line length), "Guidelines and quotas" (boxes).
MAX_LINE_CHARS = 100_000
MAX_BOXES = 50
# Custom Labels guide, "Non-terminal JSON line validation errors": the service downsizes the photo so that no side is
# longer than 1,280 pixels. A box must then be larger than 1x1 pixel.
DOWNSIZED_SIDE = 1280

# UTF-8 uses at most four bytes per character, so a line with more bytes than this has too many characters.
MAX_LINE_BYTES = 4 * MAX_LINE_CHARS
CHUNK_BYTES = 256 * 1024
# No pixel of a photo has a coordinate near this limit. It keeps infinities and huge integers out of the arithmetic.
MAX_COORDINATE = 1_000_000

SOURCE_REF = re.compile(r"s3://([0-9A-Za-z.\-_]{3,255})/(.{1,1024})", re.DOTALL)
NUMBERS = frozenset({int, float})
# Returns the same text as json.dumps but is faster, because json.dumps checks its options at each call.
to_json = json.JSONEncoder().encode
BOX_KEYS = ("class_id", "left", "top", "width", "height")
# `Import labels` writes this metadata key when it leaves a photo's labels out. The value is the reason's code.
LEFT_OUT = "left-out-as"
MALFORMED = (KeyError, TypeError, ValueError, AttributeError)


class Unusable(NamedTuple):
    """The reason why a line or a box cannot be used: ``code`` is for counts, ``reason`` for people."""

    code: str
    reason: str


class Box(NamedTuple):
    """One document in a photo: its type and its frame in pixels from the photo's top left corner."""

    label: str
    left: float
    top: float
    width: float
    height: float
    confidence: float


class Labelled(NamedTuple):
    """A labelled photo. No boxes means that the photo shows no document.

    ``width`` and ``height`` are those of the photo that the boxes were drawn on. ``corners`` is empty, or has an item
    for each box: the corners of a turned box or of a polygon, None for an upright box.
    """

    source_ref: str
    width: int
    height: int
    depth: int
    boxes: list[Box]
    human_annotated: str
    creation_date: str
    job_name: str
    corners: Sequence[Corners | None] = ()


class Stream(Protocol):
    """A binary stream, such as an S3 body or an open file."""

    def read(self, amount: int, /) -> bytes: ...


def read_lines(stream: Stream) -> Iterator[tuple[int, str | Unusable]]:
    r"""Yield each line's number, from 1, with its text or the reason why the text cannot be used.

    The text has no line end. Lines end with ``\n`` or ``\r\n`` and are in UTF-8 (SageMaker guide, "Input manifest
    file"). A line longer than `MAX_LINE_BYTES` is never held as a whole, so the memory stays bounded.
    """
    number, rest, overlong = 0, b"", False
    while chunk := stream.read(CHUNK_BYTES):
        *whole, rest = (rest + chunk).split(b"\n")
        for line in whole:
            number += 1
            if not overlong:
                yield number, _text(number, line)
            overlong = False
        if overlong:
            rest = b""
        elif len(rest) > MAX_LINE_BYTES:
            # Yield before the line end is read: it may be a gigabyte away, and the caller may stop at this line.
            yield number + 1, _too_long()
            rest, overlong = b"", True
    if rest:
        yield number + 1, _text(number + 1, rest)


def _too_long() -> Unusable:
    return Unusable("TooLong", f"the line is longer than {MAX_LINE_CHARS:,} characters")


def _text(number: int, line: bytes) -> str | Unusable:
    if number == 1:
        line = line.removeprefix(b"\xef\xbb\xbf")  # some Windows programs write a byte order mark
    try:
        text = line.removesuffix(b"\r").decode()
    except UnicodeDecodeError as error:
        return Unusable("NotUtf8", f"the line is not UTF-8: byte {error.start + 1} cannot be read")
    if len(text) > MAX_LINE_CHARS:
        return _too_long()
    if not text or text.isspace():
        return Unusable("Blank", "the line is blank")
    return text


def decode(text: str) -> dict[str, Any] | Unusable:
    """Return the line's JSON object, or the reason why the line has none."""
    try:
        document = orjson.loads(text)
    except ValueError:
        # Python's json is three times slower than orjson. It also accepts NaN and lone surrogates, and its messages are
        # clearer.
        try:
            document = json.loads(text)
        except (ValueError, RecursionError) as error:
            return Unusable("InvalidJson", f"the line is not valid JSON: {error}")
    return document if isinstance(document, dict) else Unusable("InvalidJson", "the line is not a JSON object")


def parse(document: Mapping[str, Any], attribute: str) -> Labelled | Unusable:
    """Return the labels of a line, or the reason why the line cannot be used for training.

    A box's type comes from the line's own class map, because a ``class_id`` has no meaning outside its line. Boxes may
    reach outside the photo; `clamp` cuts them. Source: Custom Labels guide, "Non-terminal JSON line validation errors".
    """
    source_ref = document.get("source-ref")
    if not isinstance(source_ref, str) or not SOURCE_REF.fullmatch(source_ref):
        return Unusable("InvalidSourceRef", "source-ref is missing or is not s3://bucket/key")
    labels, metadata = document.get(attribute), document.get(f"{attribute}-metadata")
    if labels is None:
        # Ground Truth writes no label attribute for a photo that failed or that no worker labelled.
        if isinstance(metadata, dict) and "failure-reason" in metadata:
            code = metadata.get(LEFT_OUT, "LabellingFailed")
            return Unusable(str(code), str(metadata["failure-reason"])[:500])
        return Unusable("NotLabelled", f"the photo has no labels: the line has no {attribute}")
    try:
        [size] = labels["image_size"]
        width, height, depth = size["width"], size["height"], size.get("depth", 3)
        if not (type(width) is type(height) is type(depth) is int):
            width, height, depth = whole(width), whole(height), whole(depth)
        if not (width > 0 < height):
            raise ValueError
        annotations = labels["annotations"]
        if type(annotations) is not list:
            raise TypeError
    except MALFORMED:
        return Unusable("InvalidLabels", f"{attribute} needs one image_size (width, height) and a list of annotations")
    try:
        kind, objects, class_map = metadata["type"], metadata["objects"], metadata["class-map"]  # type: ignore[index]
        human, created = metadata["human-annotated"], metadata["creation-date"]  # type: ignore[index]
        job_name = metadata.get("job-name", "")  # type: ignore[union-attr]
        datetime.fromisoformat(created)
        if human not in ("yes", "no") or not isinstance(job_name, str):
            raise ValueError
        if type(objects) is not list or type(class_map) is not dict:
            raise TypeError
    except MALFORMED:
        return Unusable(
            "InvalidMetadata",
            f"{attribute}-metadata needs type, objects, class-map, human-annotated (yes or no) and creation-date"
            f"{_name_missing(metadata)}",
        )
    if kind != DETECTION_TYPE:
        return Unusable("UnsupportedType", f"the type of {attribute}-metadata is not {DETECTION_TYPE}")
    if len(annotations) > MAX_BOXES:
        return Unusable("TooManyBoxes", f"{len(annotations)} boxes; Rekognition takes at most {MAX_BOXES}")
    if len(objects) != len(annotations):
        return Unusable(
            "MissingConfidence", f"{len(annotations)} annotations but {len(objects)} objects with a confidence"
        )
    boxes = _boxes(annotations, objects, class_map)
    if isinstance(boxes, Unusable):
        return boxes
    return Labelled(source_ref, width, height, depth, boxes, human, created, job_name)


def corners_of_boxes(document: Mapping[str, Any], attribute: str) -> list[Corners | None]:
    """The corners that `line_start` wrote for each box of the line, in the order of the boxes."""
    return [annotation.get("corners") for annotation in document[attribute]["annotations"]]


def _boxes(annotations: list[Any], objects: list[Any], class_map: Mapping[str, Any]) -> list[Box] | Unusable:
    boxes = []
    for index, (annotation, item) in enumerate(zip(annotations, objects, strict=True), 1):
        try:
            class_id, confidence = annotation["class_id"], item["confidence"]
            frame = annotation["left"], annotation["top"], annotation["width"], annotation["height"]
            if type(class_id) is not int:
                class_id = whole(class_id)
            if not is_frame(frame):
                raise ValueError
            if type(confidence) not in NUMBERS or not 0 <= confidence <= 1:
                raise ValueError
            label = class_map.get(str(class_id))
        except MALFORMED:
            return Unusable(
                "InvalidBox",
                f"box {index} needs a whole class_id, finite left, top, width, height and a confidence from 0 to 1"
                f"{_name_invalid(annotation, item)}",
            )
        if not isinstance(label, str) or not 0 < len(label) <= LONGEST_TYPE:
            return Unusable("MissingClass", f"the class map has no name for class_id {class_id} of box {index}")
        boxes.append(Box(label, *frame, confidence))
    return boxes


def whole(value: object) -> int:
    """Return ``value`` as an int if it is a whole number, such as 1 or 1.0.

    Raises:
        ValueError: ``value`` is not a whole number.
    """
    if type(value) is int or (type(value) is float and value.is_integer()):
        return int(value)
    raise ValueError


def _name_missing(metadata: object) -> str:
    """The keys that are missing in a label attribute's metadata, as the end of a message."""
    keys = ("type", "objects", "class-map", "human-annotated", "creation-date")
    missing = [key for key in keys if key not in metadata] if isinstance(metadata, dict) else []
    return f"; it has no {' and no '.join(missing)}" if missing else ""


def _name_invalid(annotation: object, item: object) -> str:
    """The invalid values of a box, as the end of a message."""
    values = [(key, annotation.get(key)) for key in BOX_KEYS] if isinstance(annotation, dict) else []
    invalid = [f"its {key} is {quoted(value)}" for key, value in values if not is_frame([value])]
    confidence = item.get("confidence") if isinstance(item, dict) else None
    if type(confidence) not in NUMBERS or not 0 <= confidence <= 1:  # type: ignore[operator]
        invalid.append(f"its confidence is {quoted(confidence)}")
    return f": {', '.join(invalid)}" if invalid else ""


def is_frame(values: Iterable[Any]) -> bool:
    """Whether all ``values`` are numbers, not booleans, within `MAX_COORDINATE`."""
    for value in values:  # noqa: SIM110 - twice as fast as all()
        if type(value) not in NUMBERS or not -MAX_COORDINATE < value < MAX_COORDINATE:
            return False
    return True


def clamp(box: Box, width: int, height: int) -> Box | Unusable:
    """Cut ``box`` to whole pixels inside a photo of ``width`` x ``height``, or return the reason why nothing remains.

    Rekognition refuses boxes that reach outside the photo (ERROR_INVALID_BOUNDING_BOX) and boxes that are too small
    (ERROR_BOUNDING_BOX_TOO_SMALL). Source: Custom Labels guide, "Non-terminal JSON line validation errors".
    """
    label, left, top, wide, high, confidence = box
    right, bottom = min(width, round(left + wide)), min(height, round(top + high))
    left, top = max(0, round(left)), max(0, round(top))
    wide, high = right - left, bottom - top
    if wide <= 0 or high <= 0:
        return Unusable("BoxOutside", "the box lies outside the photo")
    longest = max(width, height, DOWNSIZED_SIDE)
    if wide * DOWNSIZED_SIDE <= longest or high * DOWNSIZED_SIDE <= longest:
        return Unusable(
            "BoxTooSmall",
            f"the box is {wide}x{high} px, which is at most 1 px wide or high after Rekognition downsizes the photo",
        )
    return Box(label, left, top, wide, high, confidence)


def line_start(labelled: Labelled, boxes: Sequence[Box], class_ids: Mapping[str, int]) -> str:
    """Return the start of a labelled line with ``boxes``: everything before the class map. `line_end` returns the rest.

    ``class_ids`` has the id of each type. The line is built as text, which is faster than encoding a dictionary.
    """
    items = [
        f'{{"class_id":{class_ids[label]},"left":{left},"top":{top},"width":{width},"height":{height}}}'
        for label, left, top, width, height, _ in boxes
    ]
    for place, corners in enumerate(labelled.corners):
        if corners:
            # Rekognition does not know this field, so `Prepare datasets` leaves it out.
            items[place] = f'{items[place][:-1]},"corners":{to_json(corners)}}}'
    annotations = ",".join(items)
    objects = ",".join([f'{{"confidence":{box.confidence}}}' for box in boxes])
    job_name = f'"job-name":{to_json(labelled.job_name)},' if labelled.job_name else ""
    return (
        f'{{"source-ref":{to_json(labelled.source_ref)},"{LABEL_ATTRIBUTE}":{{"image_size":[{{'
        f'"width":{labelled.width},"height":{labelled.height},"depth":{labelled.depth}}}],"annotations":[{annotations}]}},'
        f'"{LABEL_ATTRIBUTE}-metadata":{{"objects":[{objects}],"type":"{DETECTION_TYPE}",'
        f'"human-annotated":"{labelled.human_annotated}","creation-date":{to_json(labelled.creation_date)},{job_name}'
        '"class-map":'
    )


def line_end(class_map: Mapping[str, str]) -> str:
    """Return the end of a labelled line: the class map and the closing braces. `line_start` returns the rest."""
    return json.dumps(class_map, separators=(",", ":")) + "}}"
