"""Reads a Ground Truth output manifest, line by line.

Sources: SageMaker guide, "Labeling job output data", "Label verification and adjustment data in the output manifest".
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from datetime import UTC, datetime
from typing import Any

from rules.coco import ambiguous
from rules.entries import UNKNOWN, Drawn, Entry, Place, Problem, Source, fault_of_frame, place_boxes
from rules.geometry import Frame
from rules.lines import (
    DETECTION_TYPE,
    LABEL_ATTRIBUTE,
    SOURCE_REF,
    Box,
    Labelled,
    Stream,
    Unusable,
    decode,
    parse,
    read_lines,
)
from rules.matching import Claims, Match, file_name
from rules.words import escaped, quoted

VERIFICATION_TYPE = "groundtruth/label-verification"
# The creator of a verification job chooses its classes; AWS's examples use good and bad. Labels whose class is not in
# this list are left out.
GOOD = frozenset({"good", "ok", "okay", "correct", "accept", "accepted", "approve", "approved", "pass", "valid", "yes"})
LONG_AGO = datetime.min.replace(tzinfo=UTC)

Open = Callable[[], Stream]


def read(open_file: Open, source: Source) -> Iterator[Entry]:
    """Yield the entries of the manifest.

    A line whose name only resembles a photo's name can be matched only after all lines are known. So the file is read
    again for these lines. Memory holds the names of the job's photos, and the number and the name of each such line.
    """
    claims = Claims()
    names: set[str] = set()
    inexact: dict[int, tuple[str, Match, bool]] = {}
    for number, document in _documents(open_file, source.report):
        path = document["source-ref"]
        match = Match(file_name(path)) if source.photos is None else source.names.find(path)
        claims.add(path, match)
        if match.exact is not None:
            yield from _entry(number, document, match.exact, names, source)
        elif match.alike:
            inexact[number] = file_name(path), match, _has_labels(document)
        else:
            yield Entry(file_name(path), UNKNOWN, _has_labels(document))

    resolved: dict[int, str] = {}
    for number, (name, match, has_labels) in inexact.items():
        photo = claims.resolve(match)
        if photo is None:
            yield Entry(name, UNKNOWN, has_labels)
        elif isinstance(photo, list):
            source.report(Problem(Place("line", number), *ambiguous(photo)))
        else:
            resolved[number] = photo
    if resolved:
        for number, document in _documents(open_file, lambda _: None):
            if number in resolved:
                yield from _entry(number, document, resolved[number], names, source)


def _documents(open_file: Open, report: Callable[[Problem], None]) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield the number and the JSON object of each line that names a photo in S3. Report other lines, except blanks."""
    with closing(open_file()) as file:  # type: ignore[type-var]
        for number, text in read_lines(file):
            document = text if isinstance(text, Unusable) else decode(text)
            if not isinstance(document, Unusable):
                source_ref = document.get("source-ref")
                if isinstance(source_ref, str) and SOURCE_REF.fullmatch(source_ref):
                    yield number, document
                    continue
                document = Unusable(
                    "InvalidSourceRef",
                    "source-ref is missing or not text"
                    if not isinstance(source_ref, str)
                    else f"source-ref must be s3://bucket/key, not {quoted(source_ref)}",
                )
            if document.code != "Blank":
                report(Problem(Place("line", number), *document))


def _entry(number: int, document: Mapping[str, Any], name: str, names: set[str], source: Source) -> Iterator[Entry]:
    """Yield the line's entry for the photo ``name``, or report the line's problem and yield nothing.

    ``names`` has the names of earlier lines' photos. This function adds ``name``.
    """
    place = Place("line", number)
    if reason_missing := source.missing(name):
        yield Entry(name, reason_missing, _has_labels(document))
        return
    if name in names:
        source.report(Problem(place, "RepeatedPhoto", f"an earlier line has a photo named {escaped(name)} too"))
        return
    names.add(name)
    attribute = _label_attribute(document)
    labels = attribute if isinstance(attribute, Unusable) else parse(document, attribute)
    if isinstance(labels, Labelled):
        labels = _fitted(labels, name, source)
    if isinstance(labels, Labelled):
        labels = _fault_of_verification(document, str(attribute)) or labels
    if isinstance(labels, Labelled) or labels.code in ("NotLabelled", "LabellingFailed", "VerifiedAsBad"):
        yield Entry(name, labels, has_labels=labels.code == "VerifiedAsBad" if isinstance(labels, Unusable) else True)
    else:
        source.report(Problem(place, *labels))


def _fitted(labels: Labelled, name: str, source: Source) -> Labelled | Unusable:
    """Return the labels in pixels of the upright photo, or the reason why they do not fit the photo or the types."""
    for box in labels.boxes:
        if fault := source.fault_of_type(box.label):
            return fault
    labels = labels._replace(job_name=source.job_name)
    photo = source.photos[name] if source.photos is not None else None
    if photo and (labels.width, labels.height) != (photo.width, photo.height):
        drawn = [Drawn(_frame(box)) for box in labels.boxes]
        placed = place_boxes(drawn, (labels.width, labels.height), name, photo)
        if isinstance(placed, Unusable):
            return placed
        boxes = [Box(box.label, *drawn.frame, box.confidence) for box, drawn in zip(labels.boxes, placed, strict=True)]
        labels = labels._replace(width=photo.width, height=photo.height, boxes=boxes)
    for number, box in enumerate(labels.boxes, 1):
        if fault := fault_of_frame(_frame(box), photo):
            return fault._replace(reason=f"box {number}: {fault.reason}")
    return labels


def _frame(box: Box) -> Frame:
    return box.left, box.top, box.width, box.height


def _has_labels(document: Mapping[str, Any]) -> bool:
    return any(isinstance(value, dict) and "annotations" in value for value in document.values())


def _metadata(document: Mapping[str, Any], attribute: str) -> Mapping[str, Any]:
    metadata = document.get(f"{attribute}-metadata")
    return metadata if isinstance(metadata, dict) else {}


def _label_attribute(document: Mapping[str, Any]) -> str | Unusable:
    """Return the key under which the line has its boxes. Of several keys, return the one that was adjusted last."""
    boxes, unlabelled, failed = [], [], []
    for key, value in document.items():
        if not isinstance(value, dict):
            continue
        if "annotations" in value:
            boxes.append(key)
        elif key.endswith("-metadata") and (name := key.removesuffix("-metadata")) not in boxes:
            if "failure-reason" in value:
                failed.append(name)
            elif value.get("type") == DETECTION_TYPE:
                unlabelled.append(name)
    attributes = list(dict.fromkeys([*boxes, *unlabelled])) if unlabelled else boxes
    if len(attributes) < 2:
        return [*attributes, *failed, LABEL_ATTRIBUTE][0]
    adjusted = sorted((_date(document, key), key) for key in boxes if "adjustment-status" in _metadata(document, key))
    if adjusted and (len(adjusted) == 1 or adjusted[-1][0] > adjusted[-2][0]):
        return adjusted[-1][1]
    return Unusable(
        "SeveralAttributes",
        f"the line has boxes under {' and '.join(map(quoted, attributes))}: keep those of one labelling job only",
    )


def _date(document: Mapping[str, Any], attribute: str) -> datetime:
    """Return the creation date of the labels under ``attribute``; `LONG_AGO` if they have none."""
    try:
        date = datetime.fromisoformat(_metadata(document, attribute)["creation-date"])
    except (KeyError, TypeError, ValueError):
        return LONG_AGO
    return date if date.tzinfo else date.replace(tzinfo=UTC)


def _fault_of_verification(document: Mapping[str, Any], attribute: str) -> Unusable | None:
    """Return the reason to leave the labels out, or None.

    Labels are left out if their newest verification gave a class that is not in `GOOD`. A verification that is older
    than the labels under ``attribute`` does not count. Of several with the same date, or with none, a bad one counts.
    """
    verdicts = [
        (_date(document, key.removesuffix("-metadata")), str(value.get("class-name")))
        for key, value in document.items()
        if isinstance(value, dict) and value.get("type") == VERIFICATION_TYPE
    ]
    if not verdicts:
        return None
    date, verdict = max(verdicts, key=lambda dated: (dated[0], not _is_good(dated[1])))
    if (date < _date(document, attribute) and date != LONG_AGO) or _is_good(verdict):
        return None
    return Unusable("VerifiedAsBad", f"the verification of the labels says {quoted(verdict)}")


def _is_good(verdict: str) -> bool:
    return verdict.strip().casefold() in GOOD
