"""Rules of a line of an object-detection manifest: JSON Lines, read in bounded memory.

A line names one photo (``source-ref``) and, once it is labelled, its document boxes under a label attribute::

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
# Custom Labels guide, "Non-terminal JSON line validation errors": a box must be larger than 1x1 pixel after the service
# has downsized the photo so that no side is above 1,280 pixels.
DOWNSIZED_SIDE = 1280

# UTF-8 takes at most four bytes a character: a line above this is too long before it is decoded.
MAX_LINE_BYTES = 4 * MAX_LINE_CHARS
CHUNK_BYTES = 256 * 1024
# Far above any pixel of any photo; also keeps infinities and endless integers out of the arithmetic.
MAX_COORDINATE = 1_000_000

SOURCE_REF = re.compile(r"s3://([0-9A-Za-z.\-_]{3,255})/(.{1,1024})", re.DOTALL)
NUMBERS = frozenset({int, float})
# What json.dumps does, without looking at each call whether it has options.
to_json = json.JSONEncoder().encode
BOX_KEYS = ("class_id", "left", "top", "width", "height")
# In the metadata of a photo without labels: the code of why Import labels left them out, if it was not a failure.
LEFT_OUT = "left-out-as"
MALFORMED = (KeyError, TypeError, ValueError, AttributeError)


class Unusable(NamedTuple):
    """Why a line or a box cannot be used: ``code`` to count by, ``reason`` for people."""

    code: str
    reason: str


class Box(NamedTuple):
    """One document in a photo: its type and its frame in pixels, from the photo's top left corner."""

    label: str
    left: float
    top: float
    width: float
    height: float
    confidence: float


class Labelled(NamedTuple):
    """A labelled photo. Width and height are those that the boxes were drawn on; no box means "no document here".

    ``corners``, if there are any, has an item for each box: the corners of one that was drawn turned, or None.
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
    """What can be read by a number of bytes: an S3 body, an open file."""

    def read(self, amount: int, /) -> bytes: ...


def read_lines(stream: Stream) -> Iterator[tuple[int, str | Unusable]]:
    r"""Yield each line's number, from 1, and its text without the line end, or why it has no text.

    Lines end with ``\n`` or ``\r\n`` and hold UTF-8 (SageMaker guide, "Input manifest file"). Memory is bounded by the
    longest line allowed, however long a line may be.
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
            # Yield at once: a caller that stops here need not wait for a line end that may be a gigabyte away.
            yield number + 1, _too_long()
            rest, overlong = b"", True
    if rest:
        yield number + 1, _text(number + 1, rest)


def _too_long() -> Unusable:
    return Unusable("TooLong", f"the line is longer than {MAX_LINE_CHARS:,} characters")


def _text(number: int, line: bytes) -> str | Unusable:
    if number == 1:
        line = line.removeprefix(b"\xef\xbb\xbf")  # the byte order mark that some Windows programs write
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
    """A line's JSON object, or why it is none."""
    try:
        document = orjson.loads(text)
    except ValueError:
        # Python's own reader, three times slower, also takes NaN and halves of characters, and has the better words.
        try:
            document = json.loads(text)
        except (ValueError, RecursionError) as error:
            return Unusable("InvalidJson", f"the line is no valid JSON: {error}")
    return document if isinstance(document, dict) else Unusable("InvalidJson", "the line is no JSON object")


def parse(document: Mapping[str, Any], attribute: str) -> Labelled | Unusable:
    """Read a line that Ground Truth or a supplier of labels wrote, or say why it cannot be trained on.

    The boxes' types come through the line's own class map, as a ``class_id`` means nothing without it. Rules: Custom
    Labels guide, "Non-terminal JSON line validation errors". Boxes may lie outside the photo: see `clamp`.
    """
    source_ref = document.get("source-ref")
    if not isinstance(source_ref, str) or not SOURCE_REF.fullmatch(source_ref):
        return Unusable("InvalidSourceRef", "source-ref is missing or is no s3://bucket/key")
    labels, metadata = document.get(attribute), document.get(f"{attribute}-metadata")
    if labels is None:
        # Ground Truth leaves the label attribute out of a photo that failed and of one that no worker labelled.
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
            f"{_lacking(metadata)}",
        )
    if kind != DETECTION_TYPE:
        return Unusable("UnsupportedType", f"the type of {attribute}-metadata is not {DETECTION_TYPE}")
    if len(annotations) > MAX_BOXES:
        return Unusable("TooManyBoxes", f"{len(annotations)} boxes; at most {MAX_BOXES} can be trained on")
    if len(objects) != len(annotations):
        return Unusable(
            "MissingConfidence", f"{len(annotations)} annotations but {len(objects)} objects with a confidence"
        )
    boxes = _boxes(annotations, objects, class_map)
    if isinstance(boxes, Unusable):
        return boxes
    return Labelled(source_ref, width, height, depth, boxes, human, created, job_name)


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
                f"{_odd_value(annotation, item)}",
            )
        if not isinstance(label, str) or not 0 < len(label) <= LONGEST_TYPE:
            return Unusable("MissingClass", f"the class map has no name for class_id {class_id} of box {index}")
        boxes.append(Box(label, *frame, confidence))
    return boxes


def whole(value: object) -> int:
    """A whole number, also one that is written as 1.0.

    Raises:
        ValueError: it is none.
    """
    if type(value) is int or (type(value) is float and value.is_integer()):
        return int(value)
    raise ValueError


def _lacking(metadata: object) -> str:
    """Which key a label attribute's metadata lacks, in words."""
    keys = ("type", "objects", "class-map", "human-annotated", "creation-date")
    lacking = [key for key in keys if key not in metadata] if isinstance(metadata, dict) else []
    return f"; it has no {' and no '.join(lacking)}" if lacking else ""


def _odd_value(annotation: object, item: object) -> str:
    """The values of a box that no rule takes, in words."""
    values = [(key, annotation.get(key)) for key in BOX_KEYS] if isinstance(annotation, dict) else []
    odd = [f"its {key} is {quoted(value)}" for key, value in values if not is_frame([value])]
    confidence = item.get("confidence") if isinstance(item, dict) else None
    if type(confidence) not in NUMBERS or not 0 <= confidence <= 1:  # type: ignore[operator]
        odd.append(f"its confidence is {quoted(confidence)}")
    return f": {', '.join(odd)}" if odd else ""


def is_frame(values: Iterable[Any]) -> bool:
    """Whether all ``values`` are finite numbers that can be pixels (booleans are none)."""
    return all(type(value) in NUMBERS and -MAX_COORDINATE < value < MAX_COORDINATE for value in values)


def clamp(box: Box, width: int, height: int) -> Box | Unusable:
    """Cut ``box`` to whole pixels inside a photo of ``width`` x ``height``, or say why nothing usable is left.

    Rekognition refuses boxes that reach over the frame (ERROR_INVALID_BOUNDING_BOX) and tiny ones
    (ERROR_BOUNDING_BOX_TOO_SMALL): Custom Labels guide, "Non-terminal JSON line validation errors".
    """
    label, left, top, wide, high, confidence = box
    right, bottom = min(width, round(left + wide)), min(height, round(top + high))
    left, top = max(0, round(left)), max(0, round(top))
    wide, high = right - left, bottom - top
    if wide <= 0 or high <= 0:
        return Unusable("BoxOutside", "nothing of the box lies inside the photo")
    longest = max(width, height, DOWNSIZED_SIDE)
    if wide * DOWNSIZED_SIDE <= longest or high * DOWNSIZED_SIDE <= longest:
        return Unusable("BoxTooSmall", f"the box is {wide}x{high} px, which is 1 px or less for Rekognition")
    return Box(label, left, top, wide, high, confidence)


def line_start(labelled: Labelled, boxes: Sequence[Box], class_ids: Mapping[str, int]) -> str:
    """A labelled line with ``boxes``, their ids being those of ``class_ids``, up to its class map: see `line_end`."""
    found = [
        f'{{"class_id":{class_ids[label]},"left":{left},"top":{top},"width":{width},"height":{height}}}'
        for label, left, top, width, height, _ in boxes
    ]
    for place, corners in enumerate(labelled.corners):
        if corners:
            # Rekognition's manifests have no such field: Prepare datasets leaves it out.
            found[place] = f'{found[place][:-1]},"corners":{to_json(corners)}}}'
    annotations = ",".join(found)
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
    """The rest of a line that `line_start` began."""
    return json.dumps(class_map, separators=(",", ":")) + "}}"
