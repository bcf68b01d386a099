"""Manifests: JSON Lines files in S3, streamed in and out in bounded memory, and the rules of an object-detection line.

A line names one photo (``source-ref``) and, once it is labelled, its document boxes under a label attribute::

    {"source-ref": "s3://bucket/key.jpg",
     "doctype": {"image_size": [{"width": 640, "height": 480, "depth": 3}],
                 "annotations": [{"class_id": 1, "left": 399, "top": 251, "width": 155, "height": 101}]},
     "doctype-metadata": {"objects": [{"confidence": 1}], "type": "groundtruth/object-detection",
                          "human-annotated": "yes", "creation-date": "2018-10-18T22:18:13.527256",
                          "job-name": "labeling-job/NAME", "class-map": {"1": "MY_NRIC"}}}

Sources: Custom Labels guide, "Object localization in manifest files"; SageMaker guide, "Labeling job output data".
"""

import hashlib
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from datetime import datetime
from tempfile import SpooledTemporaryFile
from types import TracebackType
from typing import IO, Any, NamedTuple, Protocol, Self

import orjson
from boto3.s3.transfer import TransferConfig

from pipeline.errors import ManifestChanged

LABEL_ATTRIBUTE = "doctype"
DETECTION_TYPE = "groundtruth/object-detection"

# Custom Labels guide, "Terminal manifest content errors" (line length), "Guidelines and quotas" (boxes, names).
MAX_LINE_CHARS = 100_000
MAX_BOXES = 50
MAX_LABEL_CHARS = 255
# Custom Labels guide, "Non-terminal JSON line validation errors": a box must be larger than 1x1 pixel after the service
# has downsized the photo so that no side is above 1,280 pixels.
DOWNSIZED_SIDE = 1280

# UTF-8 takes at most four bytes a character: a line above this is too long before it is decoded.
MAX_LINE_BYTES = 4 * MAX_LINE_CHARS
CHUNK_BYTES = 256 * 1024
# What a manifest writer holds in memory before it goes on in /tmp.
SPOOLED_BYTES = 4 * 1024 * 1024
# Ten threads with a part each, boto3's own way, would take 80 MB.
ONE_PART_AT_A_TIME = TransferConfig(use_threads=False)
# Far above any pixel of any photo; also keeps infinities and endless integers out of the arithmetic.
MAX_COORDINATE = 1_000_000

SOURCE_REF = re.compile(r"s3://([0-9A-Za-z.\-_]{3,255})/(.{1,1024})", re.DOTALL)
NUMBERS = frozenset({int, float})
# What json.dumps does, without looking at each call whether it has options.
to_json = json.JSONEncoder().encode
MALFORMED = (KeyError, TypeError, ValueError, AttributeError)


class Drop(NamedTuple):
    """Why a line or a box cannot be used: ``code`` to count by, ``reason`` for people."""

    code: str
    reason: str


class Photo(NamedTuple):
    """A line of ``input.manifest``: a photo that may be labelled.

    ``image_hash`` is equal for equal content. ``etag`` is that of the object ``source_ref`` when it was checked.
    """

    source_ref: str
    image_hash: str
    width: int
    height: int
    etag: str


class Box(NamedTuple):
    """One document in a photo: its type and its frame in pixels, from the photo's top left corner."""

    label: str
    left: float
    top: float
    width: float
    height: float
    confidence: float


class Labelled(NamedTuple):
    """A labelled photo. Width and height are those that the boxes were drawn on; no box means "no document here"."""

    source_ref: str
    width: int
    height: int
    depth: int
    boxes: list[Box]
    human_annotated: str
    creation_date: str
    job_name: str


class Stream(Protocol):
    """What can be read by a number of bytes: an S3 body, an open file."""

    def read(self, amount: int, /) -> bytes: ...


def rejected_list_key(job_id: str) -> str:
    """Key of the list of photos that Check images rejected, each with its reason."""
    return f"manifests/{job_id}/rejected.jsonl"


def split_uri(uri: str) -> tuple[str, str]:
    """``s3://bucket/a/b.jpg`` becomes ``("bucket", "a/b.jpg")``."""
    bucket, _, key = uri.removeprefix("s3://").partition("/")
    return bucket, key


def read_lines(stream: Stream) -> Iterator[tuple[int, str | Drop]]:
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
            # Told at once: whoever reads no further need not wait for a line end that may be a gigabyte away.
            yield number + 1, _too_long()
            rest, overlong = b"", True
    if rest:
        yield number + 1, _text(number + 1, rest)


def _too_long() -> Drop:
    return Drop("TooLong", f"the line is longer than {MAX_LINE_CHARS:,} characters")


def _text(number: int, line: bytes) -> str | Drop:
    if number == 1:
        line = line.removeprefix(b"\xef\xbb\xbf")  # the byte order mark that some Windows programs write
    try:
        text = line.removesuffix(b"\r").decode()
    except UnicodeDecodeError as error:
        return Drop("NotUtf8", f"the line is not UTF-8: byte {error.start + 1} cannot be read")
    if len(text) > MAX_LINE_CHARS:
        return _too_long()
    if not text or text.isspace():
        return Drop("Blank", "the line is blank")
    return text


class HashedStream:
    """A stream that knows the SHA-256 of what was read from it."""

    def __init__(self, stream: Stream) -> None:
        self._stream = stream
        self._hash = hashlib.sha256()

    @property
    def sha256(self) -> str:
        """Hex digest of the bytes read so far."""
        return self._hash.hexdigest()

    def read(self, amount: int, /) -> bytes:
        """The next ``amount`` bytes, fewer at the end."""
        data = self._stream.read(amount)
        self._hash.update(data)
        return data


class ManifestReader:
    """Reads the lines of a manifest once, streamed as `read_lines` yields them.

    ``written`` is when the object was written. ``sha256`` is the hex digest of the bytes read so far: after the last
    line that of the whole manifest.
    """

    def __init__(self, s3: Any, uri: str, expected_sha256: str | None = None) -> None:
        """``expected_sha256`` is the hash that the stage which wrote the manifest returned, if one did."""
        bucket, key = split_uri(uri)
        answer = s3.get_object(Bucket=bucket, Key=key)
        self.written: datetime = answer["LastModified"]
        self._uri, self._expected = uri, expected_sha256
        self._body = answer["Body"]
        self._hashed = HashedStream(self._body)

    @property
    def sha256(self) -> str:
        return self._hashed.sha256

    def __iter__(self) -> Iterator[tuple[int, str | Drop]]:
        """Yield each line's number and text.

        Raises:
            ManifestChanged: after the last line, when the content is not the expected one.
        """
        with closing(self._body):
            yield from read_lines(self._hashed)
        if self._expected not in (None, self.sha256):
            raise ManifestChanged(
                f"{self._uri} is not what an earlier stage wrote: it has the SHA-256 {self.sha256}, but the stage "
                f"wrote {self._expected}. Start a new job, and find out who writes to the bucket."
            )


def decode(text: str) -> dict[str, Any] | Drop:
    """A line's JSON object, or why it is none."""
    try:
        document = orjson.loads(text)
    except ValueError:
        # Python's own reader, three times slower, also takes NaN and halves of characters, and has the better words.
        try:
            document = json.loads(text)
        except (ValueError, RecursionError) as error:
            return Drop("InvalidJson", f"the line is no valid JSON: {error}")
    return document if isinstance(document, dict) else Drop("InvalidJson", "the line is no JSON object")


def read_photos(manifest: ManifestReader) -> Iterator[Photo]:
    """The photos of the job's ``input.manifest``, which Check images wrote."""
    for _, text in manifest:
        line = orjson.loads(text)  # type: ignore[arg-type]
        size = line["image-size"]
        yield Photo(line["source-ref"], line["image-hash"], size["width"], size["height"], line["etag"])


def photo_line(photo: Photo) -> str:
    """``photo`` as a line of ``input.manifest``. Ground Truth passes the extra keys through to its output."""
    return (
        f'{{"source-ref":{json.dumps(photo.source_ref)},"image-hash":{json.dumps(photo.image_hash)},'
        f'"image-size":{{"width":{photo.width},"height":{photo.height}}},"etag":{json.dumps(photo.etag)}}}'
    )


def parse(document: Mapping[str, Any], attribute: str) -> Labelled | Drop:
    """Read a line that Ground Truth or a supplier of labels wrote, or say why it cannot be trained on.

    The boxes' types come through the line's own class map, as a ``class_id`` means nothing without it. Rules: Custom
    Labels guide, "Non-terminal JSON line validation errors". Boxes may lie outside the photo: see `clamp`.
    """
    source_ref = document.get("source-ref")
    if not isinstance(source_ref, str) or not SOURCE_REF.fullmatch(source_ref):
        return Drop("InvalidSourceRef", "source-ref is missing or is no s3://bucket/key")
    labels, metadata = document.get(attribute), document.get(f"{attribute}-metadata")
    if labels is None:
        # Ground Truth leaves the label attribute out of a photo that failed and of one that nobody answered.
        if isinstance(metadata, dict) and "failure-reason" in metadata:
            return Drop("LabellingFailed", str(metadata["failure-reason"])[:500])
        return Drop("NotLabelled", f"the photo has no labels: the line has no {attribute}")
    try:
        [size] = labels["image_size"]
        width, height, depth = size["width"], size["height"], size.get("depth", 3)
        if not (type(width) is type(height) is type(depth) is int and width > 0 < height):
            raise ValueError
        annotations = labels["annotations"]
        if type(annotations) is not list:
            raise TypeError
    except MALFORMED:
        return Drop("InvalidLabels", f"{attribute} needs one image_size (width, height) and a list of annotations")
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
        return Drop(
            "InvalidMetadata",
            f"{attribute}-metadata needs type, objects, class-map, human-annotated (yes or no) and creation-date",
        )
    if kind != DETECTION_TYPE:
        return Drop("UnsupportedType", f"the type of {attribute}-metadata is not {DETECTION_TYPE}")
    if len(annotations) > MAX_BOXES:
        return Drop("TooManyBoxes", f"{len(annotations)} boxes; at most {MAX_BOXES} can be trained on")
    if len(objects) != len(annotations):
        return Drop("MissingConfidence", f"{len(annotations)} annotations but {len(objects)} objects with a confidence")
    boxes = []
    for index, (annotation, item) in enumerate(zip(annotations, objects, strict=True), 1):
        try:
            class_id, confidence = annotation["class_id"], item["confidence"]
            frame = annotation["left"], annotation["top"], annotation["width"], annotation["height"]
            if type(class_id) is not int or not is_frame(frame):
                raise ValueError
            if type(confidence) not in NUMBERS or not 0 <= confidence <= 1:
                raise ValueError
            label = class_map.get(str(class_id))
        except MALFORMED:
            return Drop(
                "InvalidBox",
                f"box {index} needs a whole class_id, finite left, top, width, height and a confidence from 0 to 1",
            )
        if not isinstance(label, str) or not 0 < len(label) <= MAX_LABEL_CHARS:
            return Drop("MissingClass", f"the class map has no name for class_id {class_id} of box {index}")
        boxes.append(Box(label, *frame, confidence))
    return Labelled(source_ref, width, height, depth, boxes, human, created, job_name)


def is_frame(values: Iterable[Any]) -> bool:
    """Whether all ``values`` are finite numbers that can be pixels (booleans are none)."""
    return all(type(value) in NUMBERS and -MAX_COORDINATE < value < MAX_COORDINATE for value in values)


def clamp(box: Box, width: int, height: int) -> Box | Drop:
    """Cut ``box`` to whole pixels inside a photo of ``width`` x ``height``, or say why nothing usable is left.

    Rekognition refuses boxes that reach over the frame (ERROR_INVALID_BOUNDING_BOX) and tiny ones
    (ERROR_BOUNDING_BOX_TOO_SMALL): Custom Labels guide, "Non-terminal JSON line validation errors".
    """
    label, left, top, wide, high, confidence = box
    right, bottom = min(width, round(left + wide)), min(height, round(top + high))
    left, top = max(0, round(left)), max(0, round(top))
    wide, high = right - left, bottom - top
    if wide <= 0 or high <= 0:
        return Drop("BoxOutside", "nothing of the box lies inside the photo")
    longest = max(width, height, DOWNSIZED_SIDE)
    if wide * DOWNSIZED_SIDE <= longest or high * DOWNSIZED_SIDE <= longest:
        return Drop("BoxTooSmall", f"the box is {wide}x{high} px, which is 1 px or less for Rekognition")
    return Box(label, left, top, wide, high, confidence)


def line_start(labelled: Labelled, boxes: Sequence[Box], class_ids: Mapping[str, int]) -> str:
    """A labelled line with ``boxes``, their ids being those of ``class_ids``, up to its class map: see `line_end`."""
    annotations = ",".join(
        [
            f'{{"class_id":{class_ids[label]},"left":{left},"top":{top},"width":{width},"height":{height}}}'
            for label, left, top, width, height, _ in boxes
        ]
    )
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


class ManifestWriter:
    """Writes the lines of one S3 object and hashes them; the object appears when the ``with`` block ends well.

    Lines wait in memory, above 4 MB in /tmp, so an error leaves nothing behind, neither a half object nor an upload
    without end. ``sha256`` is the hex digest of all that was written, ``count`` the number of lines.
    """

    def __init__(self, s3: Any, bucket: str, key: str) -> None:
        self.uri = f"s3://{bucket}/{key}"
        self.count = 0
        self._s3, self._bucket, self._key = s3, bucket, key
        self._hash = hashlib.sha256()
        self._file: IO[bytes] = SpooledTemporaryFile(SPOOLED_BYTES)  # noqa: SIM115 - closed by __exit__

    @property
    def sha256(self) -> str:
        return self._hash.hexdigest()

    def write(self, line: str) -> None:
        """Add ``line``, which holds no line end."""
        data = line.encode() + b"\n"
        self._hash.update(data)
        self._file.write(data)
        self.count += 1

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        with self._file:
            if kind is None:
                self._file.seek(0)
                self._s3.upload_fileobj(self._file, self._bucket, self._key, Config=ONE_PART_AT_A_TIME)
