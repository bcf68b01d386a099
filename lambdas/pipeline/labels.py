"""Imports labels that were made elsewhere: a COCO file or a Ground Truth output manifest."""

import json
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from itertools import chain
from typing import Any, NamedTuple

from botocore.exceptions import ClientError

from pipeline.errors import LabelsInvalid, error_code
from pipeline.manifests import (
    DETECTION_TYPE,
    LABEL_ATTRIBUTE,
    MAX_BOXES,
    Box,
    Drop,
    HashedStream,
    Labelled,
    ManifestReader,
    ManifestWriter,
    decode,
    is_frame,
    line_end,
    line_start,
    parse,
    read_lines,
    read_photos,
)
from rules.uploads import LARGEST_LABELS

PROVIDER = "supplied"
# A COCO file is one JSON document and has to be in memory as a whole; a Ground Truth manifest is streamed.
MAX_COCO_BYTES = 100 * 1024 * 1024
COCO_PARTS = ("images", "annotations", "categories")
COCO_KEYS = frozenset({*COCO_PARTS, "id", "name", "file_name", "width", "height", "image_id", "category_id", "bbox"})
MAX_PLACES_TOLD, MAX_CHARS_TOLD = 10, 100


@dataclass(frozen=True)
class ImportLabels:
    """Import the uploaded file ``labels_key``.

    ``images_manifest`` is the S3 URI of the job's photos, ``images_sha256`` the hash that Check images returned for it.
    """

    job_id: str
    images_manifest: str
    images_sha256: str
    labels_key: str
    document_types: list[str]


@dataclass(frozen=True)
class LabelsImported:
    """The manifest's S3 URI and SHA-256 (hex), and how many of the job's photos have a document marked in it.

    ``file_sha256`` (hex) and ``file_etag`` are those of the supplied file as it was read.
    """

    provider: str
    manifest: str
    label_attribute: str
    sha256: str
    labelled: int
    file_sha256: str
    file_etag: str


class _Place(NamedTuple):
    """Where something is in the file, counted from 1; ``kind`` is line, category, image or annotation."""

    kind: str
    number: int

    def __str__(self) -> str:
        return f"{self.kind} {self.number}"


class _Problems:
    """What is wrong in the file: the list names it all, the error only counts and places it."""

    def __init__(self, file: ManifestWriter) -> None:
        self._file = file
        self._codes: Counter[str] = Counter()
        self._places: list[str] = []

    def add(self, place: _Place, why: Drop, own_id: object = None) -> None:
        """``own_id`` is the id that the file itself has for the place."""
        self._codes[why.code] += 1
        if len(self._places) < MAX_PLACES_TOLD:
            self._places.append(str(place))
        line = {place.kind: place.number, "reason": why.reason, "code": why.code}
        self._file.write(json.dumps({**line, "id": own_id} if _is_id(own_id) else line))

    def raise_if_any(self) -> None:
        """Raises LabelsInvalid."""
        count = self._codes.total()
        if not count:
            return
        codes = ", ".join(f"{code} {times}" for code, times in self._codes.most_common())
        more = f" and {count - MAX_PLACES_TOLD} more" if count > MAX_PLACES_TOLD else ""
        raise LabelsInvalid(
            f"The labels file has {'1 problem' if count == 1 else f'{count} problems'} ({codes}): "
            f"{', '.join(self._places)}{more}. {self._file.uri} lists each with its reason."
        )


class _Known(NamedTuple):
    """A photo of the job: where the object to train on lies, without its file name, and its size in pixels."""

    folder: str
    width: int
    height: int


@dataclass(frozen=True)
class _Source:
    """What the supplied file is read against. ``photos``: the job's by file name."""

    job_name: str
    uploaded: str
    document_types: frozenset[str]
    photos: Mapping[str, _Known]
    problems: _Problems


# What a file says of a photo, by the photo's file name. A Drop is no fault: the photo has no labels that can be used.
Entry = tuple[str, Labelled | Drop]


def import_labels(request: ImportLabels, *, bucket: str, s3: Any) -> LabelsImported:
    """Check the supplied labels and write them as ``labels.manifest``, in the form of a Ground Truth output manifest.

    Whether the file is COCO or a Ground Truth output manifest is told from its content. Photos are found by file name:
    the last part of COCO's ``file_name``, or of the manifest's ``source-ref``, whose bucket may be another one, and
    which may name an upload that has an upright copy. Photos that the job has not, or that were rejected, stay in the
    manifest without their labels, so that Prepare datasets lists and counts them among the dropped ones. So do photos
    that nobody labelled and those that failed. What is wrong is listed in ``label-problems.jsonl``.

    A COCO file of 100 MB needs some 600 MB of memory, a manifest of 1 GB some 60 MB. What is larger is refused by the
    size that S3 tells, before it is read.

    Raises:
        LabelsInvalid: counts the problems and says where they are; it names no photo.
    """
    try:
        answer = s3.get_object(Bucket=bucket, Key=request.labels_key)
    except ClientError as error:
        if error_code(error) != "NoSuchKey":
            raise
        raise LabelsInvalid("The labels file does not exist. Upload it under the name that the job names.") from None
    if answer["ContentLength"] > LARGEST_LABELS:
        answer["Body"].close()
        raise LabelsInvalid(
            f"The labels file has {answer['ContentLength']:,} bytes; at most {LARGEST_LABELS:,} (1 GB) are allowed. "
            "Leave out what is not of the job's photos."
        )
    uploads = f"s3://{bucket}/images/{request.job_id}/"
    photos = _photos(ManifestReader(s3, request.images_manifest, request.images_sha256))
    class_ids = {name: index for index, name in enumerate(request.document_types)}
    labelled = 0
    with (
        closing(answer["Body"]) as body,
        ManifestWriter(s3, bucket, f"manifests/{request.job_id}/labels.manifest") as manifest,
    ):
        with ManifestWriter(s3, bucket, f"manifests/{request.job_id}/label-problems.jsonl") as listed:
            source = _Source(
                job_name=f"labeling-job/{request.job_id}-{PROVIDER}",
                uploaded=answer["LastModified"].strftime("%Y-%m-%dT%H:%M:%S"),
                document_types=frozenset(request.document_types),
                photos=photos,
                problems=_Problems(listed),
            )
            file = HashedStream(body)
            lines = read_lines(file)
            first = next(lines, (1, ""))
            if _is_ground_truth(first[1]):
                entries = _read_ground_truth(chain([first], lines), source)
            else:
                file, again = _open_again(request.labels_key, answer["ETag"], bucket, s3)
                with closing(again):
                    entries = _read_coco(_coco(file, answer["ContentLength"]), source)
            for name, entry in entries:
                folder = photos[name].folder if name in photos else uploads
                manifest.write(_line(f"{folder}{name}", entry, class_ids))
                labelled += isinstance(entry, Labelled) and bool(entry.boxes)
        source.problems.raise_if_any()
        if not labelled:
            raise LabelsInvalid(
                f"The labels file marks no document in any of the job's {len(photos)} photos; it has entries for "
                f"{manifest.count} photos. Photos are found by their file names: they must be those of the uploads."
            )
    etag = answer["ETag"].strip('"')
    return LabelsImported(PROVIDER, manifest.uri, LABEL_ATTRIBUTE, manifest.sha256, labelled, file.sha256, etag)


def _open_again(key: str, etag: str, bucket: str, s3: Any) -> tuple[HashedStream, Any]:
    """The labels file from its beginning, and its body, which the caller closes.

    Raises:
        LabelsInvalid: the file was replaced or deleted since it was first opened.
    """
    try:
        body = s3.get_object(Bucket=bucket, Key=key, IfMatch=etag)["Body"]
    except ClientError as error:
        if error_code(error) not in ("PreconditionFailed", "NoSuchKey"):
            raise
        raise LabelsInvalid(
            "The labels file was replaced or deleted while it was read. Resume the job to read the file that is there "
            "now."
        ) from None
    return HashedStream(body), body


def _photos(images_manifest: ManifestReader) -> dict[str, _Known]:
    """The job's photos by file name."""
    known = {}
    for photo in read_photos(images_manifest):
        folder, slash, name = photo.source_ref.rpartition("/")
        known[name] = _Known(sys.intern(folder + slash), photo.width, photo.height)
    return known


def _line(source_ref: str, entry: Labelled | Drop, class_ids: Mapping[str, int]) -> str:
    """The entry as a line of a Ground Truth output manifest, whose class map has the ids that the line uses."""
    if isinstance(entry, Labelled):
        used = {str(class_ids[box.label]): box.label for box in entry.boxes}
        return line_start(entry._replace(source_ref=source_ref), entry.boxes, class_ids) + line_end(used)
    line: dict[str, object] = {"source-ref": source_ref}
    if entry.code == "LabellingFailed":
        line[f"{LABEL_ATTRIBUTE}-metadata"] = {"failure-reason": entry.reason}
    return json.dumps(line)


def _file_name(path: str) -> str:
    return path.replace("\\", "/").rpartition("/")[2]


def _is_ground_truth(first: str | Drop) -> bool:
    document = first if isinstance(first, Drop) else decode(first)
    return not isinstance(document, Drop) and "source-ref" in document


def _read_ground_truth(lines: Iterable[tuple[int, str | Drop]], source: _Source) -> Iterator[Entry]:
    """The entries of a Ground Truth output manifest."""
    attribute = LABEL_ATTRIBUTE
    seen: set[str] = set()
    for number, text in lines:
        place = _Place("line", number)
        document = text if isinstance(text, Drop) else decode(text)
        if isinstance(document, Drop):
            source.problems.add(place, document)
            continue
        source_ref = document.get("source-ref")
        if not isinstance(source_ref, str):
            source.problems.add(place, Drop("InvalidSourceRef", "source-ref is missing or no text"))
            continue
        name = _file_name(source_ref)
        if name not in source.photos:
            yield name, Drop("UnknownPhoto", "the job has no such photo")
            continue
        if name in seen:
            source.problems.add(place, Drop("RepeatedPhoto", f"an earlier line has a photo named {name} too"))
        seen.add(name)
        attribute = _label_attribute(document, place, source.problems) or attribute
        entry = parse(document, attribute)
        if isinstance(entry, Labelled):
            entry = _misfit(entry, name, source) or entry._replace(job_name=source.job_name)
        if isinstance(entry, Labelled) or entry.code in ("NotLabelled", "LabellingFailed"):
            yield name, entry
        else:
            source.problems.add(place, entry)


def _label_attribute(document: Mapping[str, Any], place: _Place, problems: _Problems) -> str | None:
    """The key under which the line has boxes; its metadata says that it does."""
    found = [
        key.removesuffix("-metadata")
        for key, value in document.items()
        if key.endswith("-metadata") and isinstance(value, dict) and value.get("type") == DETECTION_TYPE
    ]
    if len(found) > 1:
        reason = f"it has boxes under {', '.join(found)}: leave those of one labelling job only"
        problems.add(place, Drop("SeveralAttributes", reason))
    return found[0] if found else None


def _misfit(entry: Labelled, name: str, source: _Source) -> Drop | None:
    """Why the labels do not fit the photo or the job's document types, if so."""
    photo = source.photos[name]
    if (entry.width, entry.height) != (photo.width, photo.height):
        return _wrong_size(entry.width, entry.height, name, photo)
    unknown = sorted({box.label for box in entry.boxes} - source.document_types)
    return _unknown_types(unknown, source) if unknown else None


def _wrong_size(width: object, height: object, name: str, photo: _Known) -> Drop:
    turned = (height, width) == (photo.width, photo.height)
    hint = ": draw boxes on the photo as people see it, turned as its EXIF orientation says" if turned else ""
    return Drop(
        "WrongImageSize",
        f"it was labelled as {_told(width)}x{_told(height)} px, but {name} is {photo.width}x{photo.height} px{hint}",
    )


def _unknown_types(names: Iterable[str], source: _Source) -> Drop:
    types = ", ".join(sorted(source.document_types))
    return Drop("UnknownType", f"{', '.join(map(_cut, names))} is none of the job's document types ({types})")


def _coco(file: HashedStream, size: int) -> dict[str, Any]:
    """The COCO document of ``size`` bytes as a whole, without the parts that nobody reads here, such as outlines.

    Raises:
        LabelsInvalid: the file is too large, is no JSON, or lacks a part.
    """

    def lean(part: dict[str, Any]) -> dict[str, Any]:
        return {key: value for key, value in part.items() if key in COCO_KEYS}

    if size > MAX_COCO_BYTES:
        raise LabelsInvalid(
            f"The labels file has {size:,} bytes, too large for a COCO file, which may have {MAX_COCO_BYTES:,} "
            "(100 MB). Leave outlines out of it, or supply a Ground Truth output manifest."
        )
    data = file.read(size)
    try:
        document = json.loads(data, object_hook=lean)
        why = "it lacks one of those lists"
    except (ValueError, RecursionError) as error:
        document = None
        why = f"it is no valid JSON: {error}"
    if not isinstance(document, dict) or not all(isinstance(document.get(part), list) for part in COCO_PARTS):
        raise LabelsInvalid(
            f"The labels file is neither a COCO file, which has lists named {', '.join(COCO_PARTS)}, nor a Ground "
            f"Truth output manifest, whose lines are JSON with a source-ref: {why}."
        )
    return document


def _read_coco(document: dict[str, Any], source: _Source) -> Iterator[Entry]:
    """The entries of a COCO file: each image with the boxes of its annotations.

    Source: COCO, "Data format": ``bbox`` is [x, y, width, height] in pixels from the top left corner.
    """
    problems = source.problems
    categories: dict[Any, str] = {}
    for number, category in enumerate(document["categories"], 1):
        if isinstance(category, dict) and _is_id(category.get("id")) and isinstance(category.get("name"), str):
            categories[category["id"]] = category["name"]
        else:
            problems.add(_Place("category", number), Drop("InvalidCategory", "it needs an id and a name"))

    names: dict[Any, str] = {}
    boxes_of: dict[Any, list[Box]] = {}
    places: dict[Any, _Place] = {}
    seen: set[str] = set()
    for number, image in enumerate(document["images"], 1):
        place = _Place("image", number)
        if not (isinstance(image, dict) and _is_id(image.get("id")) and isinstance(image.get("file_name"), str)):
            problems.add(place, Drop("InvalidImage", "it needs an id and a file_name"))
            continue
        image_id, name = image["id"], _file_name(image["file_name"])
        if image_id in names:
            problems.add(place, Drop("RepeatedId", "an earlier image has this id too"), image_id)
            continue
        if name in seen:
            reason = f"an earlier image has the file name {name} too"
            problems.add(place, Drop("RepeatedPhoto", reason), image_id)
        seen.add(name)
        names[image_id] = name
        if name not in source.photos:
            continue
        photo = source.photos[name]
        size = image.get("width"), image.get("height")
        if size != (photo.width, photo.height):
            problems.add(place, _wrong_size(*size, name, photo), image_id)
        boxes_of[image_id], places[image_id] = [], place

    for number, annotation in enumerate(document["annotations"], 1):
        place = _Place("annotation", number)
        if not isinstance(annotation, dict):
            problems.add(place, Drop("InvalidAnnotation", "it is no JSON object"))
            continue
        own_id, image_id = annotation.get("id"), annotation.get("image_id")
        if not _is_id(image_id) or image_id not in names:
            problems.add(place, Drop("UnknownImage", f"no image has its image_id {_told(image_id)}"), own_id)
        elif image_id in boxes_of:
            box = _coco_box(annotation, categories, source)
            if isinstance(box, Drop):
                problems.add(place, box, own_id)
            else:
                boxes_of[image_id].append(box)

    for image_id, name in names.items():
        if image_id not in boxes_of:
            yield name, Drop("UnknownPhoto", "the job has no such photo")
            continue
        boxes = boxes_of[image_id]
        if len(boxes) > MAX_BOXES:
            reason = f"it has {len(boxes)} boxes; at most {MAX_BOXES} can be trained on"
            problems.add(places[image_id], Drop("TooManyBoxes", reason), image_id)
        photo = source.photos[name]
        yield name, Labelled("", photo.width, photo.height, 3, boxes, "yes", source.uploaded, source.job_name)


def _is_id(value: object) -> bool:
    return type(value) in (int, str)


def _told(value: object) -> str:
    """Any JSON value as the list of problems tells it: what is long is cut."""
    return _cut(json.dumps(value))


def _cut(text: str) -> str:
    return text if len(text) <= MAX_CHARS_TOLD else f"{text[:MAX_CHARS_TOLD]}..."


def _coco_box(annotation: Mapping[str, Any], categories: Mapping[Any, str], source: _Source) -> Box | Drop:
    """The annotation's box in whole pixels, or what is wrong with it."""
    category_id, bbox = annotation.get("category_id"), annotation.get("bbox")
    if not _is_id(category_id) or category_id not in categories:
        return Drop("UnknownCategory", f"no category has its category_id {_told(category_id)}")
    label = categories[category_id]
    if label not in source.document_types:
        return _unknown_types([label], source)
    if not isinstance(bbox, list) or len(bbox) != 4 or not is_frame(bbox) or min(bbox[2:]) <= 0:
        return Drop("InvalidBox", "its bbox needs finite x, y, width and height in pixels, the last two above 0")
    left, top, width, height = bbox
    right, bottom = round(left + width), round(top + height)
    left, top = round(left), round(top)
    return Box(label, left, top, right - left, bottom - top, 1)
