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
# People choose the classes of a verification job themselves; AWS's examples say good and bad. Labels of any other class
# are left out.
GOOD = frozenset({"good", "ok", "okay", "correct", "accept", "accepted", "approve", "approved", "pass", "valid", "yes"})
LONG_AGO = datetime.min.replace(tzinfo=UTC)

Open = Callable[[], Stream]


def read(open_file: Open, source: Source) -> Iterator[Entry]:
    """The entries of the manifest. The file is read once more when names are alike and not the photos' own.

    Memory holds a name for each of the job's photos, and each line whose name is only like a photo's.
    """
    claims = Claims()
    seen: set[str] = set()
    unsure: dict[int, tuple[str, Match, bool]] = {}
    for number, document in _documents(open_file, source.report):
        path = document["source-ref"]
        match = Match(file_name(path)) if source.photos is None else source.names.find(path)
        claims.add(path, match)
        if match.exact is not None:
            yield from _entry(number, document, match.exact, seen, source)
        elif match.alike:
            unsure[number] = file_name(path), match, _has_labels(document)
        else:
            yield Entry(file_name(path), UNKNOWN, _has_labels(document))

    sure: dict[int, str] = {}
    for number, (name, match, has_labels) in unsure.items():
        photo = claims.resolve(match)
        if photo is None:
            yield Entry(name, UNKNOWN, has_labels)
        elif isinstance(photo, list):
            source.report(Problem(Place("line", number), *ambiguous(photo)))
        else:
            sure[number] = photo
    if sure:
        for number, document in _documents(open_file, lambda _: None):
            if number in sure:
                yield from _entry(number, document, sure[number], seen, source)


def _documents(open_file: Open, report: Callable[[Problem], None]) -> Iterator[tuple[int, dict[str, Any]]]:
    """Each line's number and JSON object, which has a source-ref in S3. Blank lines are passed over."""
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
                    "source-ref is missing or no text"
                    if not isinstance(source_ref, str)
                    else f"source-ref must be s3://bucket/key, not {quoted(source_ref)}",
                )
            if document.code != "Blank":
                report(Problem(Place("line", number), *document))


def _entry(number: int, document: Mapping[str, Any], name: str, seen: set[str], source: Source) -> Iterator[Entry]:
    """The line's entry for the photo ``name``, or none when it has problems, which are reported."""
    place = Place("line", number)
    if why := source.missing(name):
        yield Entry(name, why, _has_labels(document))
        return
    if name in seen:
        source.report(Problem(place, "RepeatedPhoto", f"an earlier line has a photo named {escaped(name)} too"))
        return
    seen.add(name)
    attribute = _label_attribute(document)
    labels = attribute if isinstance(attribute, Unusable) else parse(document, attribute)
    if isinstance(labels, Labelled):
        labels = _fitted(labels, name, source)
    if isinstance(labels, Labelled):
        labels = _verdict(document, str(attribute)) or labels
    if isinstance(labels, Labelled) or labels.code in ("NotLabelled", "LabellingFailed", "VerifiedAsBad"):
        yield Entry(name, labels, has_labels=labels.code == "VerifiedAsBad" if isinstance(labels, Unusable) else True)
    else:
        source.report(Problem(place, *labels))


def _fitted(labels: Labelled, name: str, source: Source) -> Labelled | Unusable:
    """The labels on the photo as people see it, or why they do not fit it, or the job's document types."""
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
    """The key under which the line has its boxes: of adjusted ones the newest."""
    boxes, others, failed = [], [], []
    for key, value in document.items():
        if not isinstance(value, dict):
            continue
        if "annotations" in value:
            boxes.append(key)
        elif key.endswith("-metadata") and (name := key.removesuffix("-metadata")) not in boxes:
            if "failure-reason" in value:
                failed.append(name)
            elif value.get("type") == DETECTION_TYPE:
                others.append(name)
    found = list(dict.fromkeys([*boxes, *others])) if others else boxes
    if len(found) < 2:
        return [*found, *failed, LABEL_ATTRIBUTE][0]
    adjusted = sorted((_date(document, key), key) for key in boxes if "adjustment-status" in _metadata(document, key))
    if adjusted and (len(adjusted) == 1 or adjusted[-1][0] > adjusted[-2][0]):
        return adjusted[-1][1]
    return Unusable(
        "SeveralAttributes",
        f"it has boxes under {', '.join(map(quoted, found))}: leave those of one labelling job only",
    )


def _date(document: Mapping[str, Any], attribute: str) -> datetime:
    """When the labels under ``attribute`` were made; long ago when it does not say so."""
    try:
        date = datetime.fromisoformat(_metadata(document, attribute)["creation-date"])
    except (KeyError, TypeError, ValueError):
        return LONG_AGO
    return date if date.tzinfo else date.replace(tzinfo=UTC)


def _verdict(document: Mapping[str, Any], attribute: str) -> Unusable | None:
    """Why the labels are left out, if people who verified them after they were made did not call them good."""
    verdicts = [
        (_date(document, key.removesuffix("-metadata")), str(value.get("class-name")))
        for key, value in document.items()
        if isinstance(value, dict) and value.get("type") == VERIFICATION_TYPE
    ]
    if not verdicts:
        return None
    date, verdict = max(verdicts)
    if (date < _date(document, attribute) and date != LONG_AGO) or verdict.strip().casefold() in GOOD:
        return None
    return Unusable("VerifiedAsBad", f"people who verified the labels called them {quoted(verdict)}")
