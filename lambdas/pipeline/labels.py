"""Imports labels that were made elsewhere: a COCO file or a Ground Truth output manifest."""

import json
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from itertools import chain
from typing import Any

from botocore.exceptions import ClientError

from pipeline.errors import LabelsInvalid, error_code
from pipeline.manifests import (
    DETECTION_TYPE,
    LABEL_ATTRIBUTE,
    MAX_BOXES,
    Box,
    Drop,
    Labelled,
    ManifestWriter,
    decode,
    is_frame,
    line_end,
    line_start,
    parse,
    read_lines,
    read_photos,
)

PROVIDER = "supplied"
# A COCO file is one JSON document and has to be in memory as a whole; a Ground Truth manifest is streamed.
MAX_COCO_BYTES = 100 * 1024 * 1024
COCO_PARTS = ("images", "annotations", "categories")
COCO_KEYS = frozenset({*COCO_PARTS, "id", "name", "file_name", "width", "height", "image_id", "category_id", "bbox"})
MAX_PROBLEMS_TOLD = 10


@dataclass(frozen=True)
class ImportLabels:
    """Import the uploaded file ``labels_key``; ``images_manifest`` is the S3 URI of the job's photos."""

    job_id: str
    images_manifest: str
    labels_key: str
    document_types: list[str]


@dataclass(frozen=True)
class LabelsImported:
    """The manifest's S3 URI and SHA-256 (hex), and how many of the job's photos have a document marked in it."""

    provider: str
    manifest: str
    label_attribute: str
    sha256: str
    labelled: int


class _Problems:
    """What is wrong in the file: all is counted, the first few are told."""

    def __init__(self, file: str) -> None:
        self._file = file
        self._told: list[str] = []
        self._count = 0

    def add(self, place: str, fault: str) -> None:
        self._count += 1
        if self._count <= MAX_PROBLEMS_TOLD:
            self._told.append(f"{place}: {fault}")

    def raise_if_any(self) -> None:
        """Raises LabelsInvalid."""
        if self._count:
            more = f"; and {self._count - MAX_PROBLEMS_TOLD} more" if self._count > MAX_PROBLEMS_TOLD else ""
            problems = "1 problem" if self._count == 1 else f"{self._count} problems"
            raise LabelsInvalid(f"{self._file} has {problems}: {'; '.join(self._told)}{more}.")


@dataclass(frozen=True)
class _Source:
    """The supplied file and what it is read against. ``sizes``: the job's photos by file name, width and height."""

    file: str
    job_name: str
    uploaded: str
    document_types: frozenset[str]
    sizes: Mapping[str, tuple[int, int]]
    problems: _Problems


# What a file says of a photo, by the photo's file name. A Drop is no fault: the photo has no labels that can be used.
Entry = tuple[str, Labelled | Drop]


def import_labels(request: ImportLabels, *, bucket: str, s3: Any) -> LabelsImported:
    """Check the supplied labels and write them as ``labels.manifest``, in the form of a Ground Truth output manifest.

    Whether the file is COCO or a Ground Truth output manifest is told from its content. Photos are found by file name:
    the last part of COCO's ``file_name``, or of the manifest's ``source-ref``, whose bucket may be another one.
    Photos that the job has not, or that were rejected, stay in the manifest without their labels, so that Prepare
    datasets lists and counts them among the dropped ones. So do photos that nobody labelled and those that failed.

    A COCO file of 100 MB needs some 600 MB of memory, a manifest of any size some 60 MB.

    Raises:
        LabelsInvalid: names the file, and the lines or annotations that are wrong.
    """
    try:
        answer = s3.get_object(Bucket=bucket, Key=request.labels_key)
    except ClientError as error:
        if error_code(error) != "NoSuchKey":
            raise
        raise LabelsInvalid(f"{request.labels_key} does not exist. Upload the labels under that key.") from None
    prefix = f"s3://{bucket}/images/{request.job_id}/"
    source = _Source(
        file=request.labels_key,
        job_name=f"labeling-job/{request.job_id}-{PROVIDER}",
        uploaded=answer["LastModified"].strftime("%Y-%m-%dT%H:%M:%S"),
        document_types=frozenset(request.document_types),
        sizes={
            photo.source_ref.removeprefix(prefix): (photo.width, photo.height)
            for photo in read_photos(s3, request.images_manifest)
        },
        problems=_Problems(request.labels_key),
    )
    class_ids = {name: index for index, name in enumerate(request.document_types)}
    labelled = 0
    with (
        closing(answer["Body"]) as body,
        ManifestWriter(s3, bucket, f"manifests/{request.job_id}/labels.manifest") as manifest,
    ):
        lines = read_lines(body)
        first = next(lines, (1, ""))
        if _is_ground_truth(first[1]):
            entries = _read_ground_truth(chain([first], lines), source)
        else:
            entries = _read_coco(_coco(source.file, bucket, s3), source)
        for name, entry in entries:
            manifest.write(_line(f"{prefix}{name}", entry, class_ids))
            labelled += isinstance(entry, Labelled) and bool(entry.boxes)
        source.problems.raise_if_any()
        if not labelled:
            raise LabelsInvalid(
                f"{source.file} marks no document in any of the job's {len(source.sizes)} photos; it has entries for "
                f"{manifest.count} photos. Photos are found by their file names: they must be those of the uploads."
            )
    return LabelsImported(PROVIDER, manifest.uri, LABEL_ATTRIBUTE, manifest.sha256, labelled)


def _line(source_ref: str, entry: Labelled | Drop, class_ids: Mapping[str, int]) -> str:
    """The entry as a line of a Ground Truth output manifest, whose class map has the ids that the line uses."""
    if isinstance(entry, Labelled):
        used = {str(class_ids[box.label]): box.label for box in entry.boxes}
        return line_start(entry._replace(source_ref=source_ref), class_ids) + line_end(used)
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
        place = f"line {number}"
        document = text if isinstance(text, Drop) else decode(text)
        if isinstance(document, Drop):
            source.problems.add(place, document.reason)
            continue
        source_ref = document.get("source-ref")
        if not isinstance(source_ref, str):
            source.problems.add(place, "source-ref is missing or no text")
            continue
        name = _file_name(source_ref)
        if name not in source.sizes:
            yield name, Drop("UnknownPhoto", "the job has no such photo")
            continue
        if name in seen:
            source.problems.add(place, f"an earlier line has a photo named {name} too")
        seen.add(name)
        attribute = _label_attribute(document, place, source.problems) or attribute
        entry = parse(document, attribute)
        if isinstance(entry, Drop):
            if entry.code in ("NotLabelled", "LabellingFailed"):
                yield name, entry
            else:
                source.problems.add(place, entry.reason)
        elif _fits(entry, name, place, source):
            yield name, entry._replace(job_name=source.job_name)


def _label_attribute(document: Mapping[str, Any], place: str, problems: _Problems) -> str | None:
    """The key under which the line has boxes; its metadata says that it does."""
    found = [
        key.removesuffix("-metadata")
        for key, value in document.items()
        if key.endswith("-metadata") and isinstance(value, dict) and value.get("type") == DETECTION_TYPE
    ]
    if len(found) > 1:
        problems.add(place, f"it has boxes under {', '.join(found)}: leave those of one labelling job only")
    return found[0] if found else None


def _fits(entry: Labelled, name: str, place: str, source: _Source) -> bool:
    """Whether the labels fit the photo and the job's document types; a problem is noted if not."""
    width, height = source.sizes[name]
    if (entry.width, entry.height) != (width, height):
        source.problems.add(
            place, f"it was labelled as {entry.width}x{entry.height} px, but {name} is {width}x{height} px"
        )
        return False
    unknown = sorted({box.label for box in entry.boxes} - source.document_types)
    if unknown:
        source.problems.add(place, _unknown_types(unknown, source))
        return False
    return True


def _unknown_types(names: Iterable[str], source: _Source) -> str:
    return f"{', '.join(names)} is none of the job's document types ({', '.join(sorted(source.document_types))})"


def _coco(file: str, bucket: str, s3: Any) -> dict[str, Any]:
    """The COCO document as a whole, without the parts that nobody reads here, such as outlines.

    Raises:
        LabelsInvalid: the file is too large, is no JSON, or lacks a part.
    """

    def lean(part: dict[str, Any]) -> dict[str, Any]:
        return {key: value for key, value in part.items() if key in COCO_KEYS}

    with closing(s3.get_object(Bucket=bucket, Key=file)["Body"]) as body:
        data = body.read(MAX_COCO_BYTES + 1)
    if len(data) > MAX_COCO_BYTES:
        raise LabelsInvalid(
            f"{file} is larger than {MAX_COCO_BYTES // 2**20} MB, too large for a COCO file. Leave outlines "
            "out of it, or supply a Ground Truth output manifest, which may have any size."
        )
    try:
        document = json.loads(data, object_hook=lean)
        why = "it lacks one of those lists"
    except (ValueError, RecursionError) as error:
        document = None
        why = f"it is no valid JSON: {error}"
    if not isinstance(document, dict) or not all(isinstance(document.get(part), list) for part in COCO_PARTS):
        raise LabelsInvalid(
            f"{file} is neither a COCO file, which has lists named {', '.join(COCO_PARTS)}, nor a Ground Truth output "
            f"manifest, whose lines are JSON with a source-ref: {why}."
        )
    return document


def _read_coco(document: dict[str, Any], source: _Source) -> Iterator[Entry]:
    """The entries of a COCO file: each image with the boxes of its annotations.

    Source: COCO, "Data format": ``bbox`` is [x, y, width, height] in pixels from the top left corner.
    """
    problems = source.problems
    categories: dict[Any, str] = {}
    for index, category in enumerate(document["categories"]):
        if isinstance(category, dict) and _is_id(category.get("id")) and isinstance(category.get("name"), str):
            categories[category["id"]] = category["name"]
        else:
            problems.add(f"category {index} of the list", "it needs an id and a name")

    names: dict[Any, str] = {}
    boxes_of: dict[Any, list[Box]] = {}
    seen: set[str] = set()
    for index, image in enumerate(document["images"]):
        if not (isinstance(image, dict) and _is_id(image.get("id")) and isinstance(image.get("file_name"), str)):
            problems.add(f"image {index} of the list", "it needs an id and a file_name")
            continue
        place, name = f"image {image['id']}", _file_name(image["file_name"])
        if image["id"] in names:
            problems.add(place, "another image has this id too")
        if name in seen:
            problems.add(place, f"another image has the file name {name} too")
        seen.add(name)
        names[image["id"]] = name
        size = image.get("width"), image.get("height")
        if name not in source.sizes:
            continue
        if size != source.sizes[name]:
            width, height = source.sizes[name]
            problems.add(place, f"it was labelled as {size[0]}x{size[1]} px, but {name} is {width}x{height} px")
        boxes_of[image["id"]] = []

    for index, annotation in enumerate(document["annotations"]):
        if not isinstance(annotation, dict):
            problems.add(f"annotation {index} of the list", "it is no JSON object")
            continue
        place, image_id = f"annotation {annotation.get('id', f'{index} of the list')}", annotation.get("image_id")
        if not _is_id(image_id) or image_id not in names:
            problems.add(place, f"no image has its image_id {image_id}")
        elif image_id in boxes_of:
            box = _coco_box(annotation, categories, source)
            if isinstance(box, Drop):
                problems.add(place, box.reason)
            else:
                boxes_of[image_id].append(box)

    for image_id, name in names.items():
        if image_id not in boxes_of:
            yield name, Drop("UnknownPhoto", "the job has no such photo")
            continue
        boxes = boxes_of[image_id]
        if len(boxes) > MAX_BOXES:
            problems.add(f"image {image_id}", f"it has {len(boxes)} boxes; at most {MAX_BOXES} can be trained on")
        yield name, Labelled("", *source.sizes[name], 3, boxes, "yes", source.uploaded, source.job_name)


def _is_id(value: object) -> bool:
    return isinstance(value, int | str)


def _coco_box(annotation: Mapping[str, Any], categories: Mapping[Any, str], source: _Source) -> Box | Drop:
    """The annotation's box in whole pixels, or what is wrong with it."""
    category_id, bbox = annotation.get("category_id"), annotation.get("bbox")
    if not _is_id(category_id) or category_id not in categories:
        return Drop("InvalidBox", f"no category has its category_id {category_id}")
    label = categories[category_id]
    if label not in source.document_types:
        return Drop("UnknownType", _unknown_types([label], source))
    if not isinstance(bbox, list) or len(bbox) != 4 or not is_frame(bbox) or min(bbox[2:]) <= 0:
        return Drop("InvalidBox", "its bbox needs finite x, y, width and height in pixels, the last two above 0")
    left, top, width, height = bbox
    right, bottom = round(left + width), round(top + height)
    left, top = round(left), round(top)
    return Box(label, left, top, right - left, bottom - top, 1)
