"""Learns the outlines of a job's document types from the training photos, while Rekognition trains the model."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

import orjson
from botocore.exceptions import ClientError

from pipeline.clients import clients
from pipeline.errors import OutlinesLeft, error_code, own_error
from pipeline.manifests import ManifestReader, read_photos, split_uri
from pipeline.objects import WRITTEN_BY_ANOTHER, put_once
from pipeline.outlining import artefact_key
from pipeline.photos.uploads import CHANGED_CODES, UNREADABLE_CODES
from rules.lines import LABEL_ATTRIBUTE, Box, Labelled, clamp, corners_of_boxes, parse

if TYPE_CHECKING:
    from outlines import Box as OutlineBox
    from outlines import Compared, Learned, Outlines, Summary

# Test documents of a type. Twenty show a share of missing outlines of 5 %; each takes some 0.2 s.
TESTS_PER_TYPE = 20
# A run begins no other type, and does not join the types, if less than this remains. A type takes less than a minute.
RESERVE_SECONDS = 240.0

Corners = Sequence[Sequence[float]]


@dataclass(frozen=True)
class LearnOutlines:
    """The request of the state `Learn outlines`. The manifests are S3 URIs, the hashes SHA-256 in hex.

    ``version_name`` is the model's. ``labels_manifest`` is the labelled manifest that Prepare datasets read.
    """

    job_id: str
    version_name: str
    images_manifest: str
    images_sha256: str
    train_manifest: str
    train_sha256: str
    test_manifest: str
    test_sha256: str
    labels_manifest: str
    labels_sha256: str


@dataclass(frozen=True)
class OutlinesLearned:
    """The file of the outlines (S3 URI, SHA-256 in hex), and its figures on test photos.

    ``learned`` is the number of document types with an outline, of ``types``. Of ``test_documents``, each searched in
    its labelled box, ``outlined`` have an outline with a confidence of at least 0.5. ``box_iou`` is the mean IoU of the
    box around the outline with the labelled box. ``polygons`` is the number of outlined documents that are labelled
    with a polygon; ``polygon_iou`` is their mean IoU with it, and ``corner_error`` the median distance of the corners
    in diagonals of the document. These figures are None without such documents. ``unread`` counts photos that could not
    be read. ``by_type`` has the figures of each document type.
    """

    file: str
    sha256: str
    types: int
    learned: int
    test_documents: int
    outlined: int
    box_iou: float | None
    polygons: int
    polygon_iou: float | None
    corner_error: float | None
    unread: int
    by_type: Sequence[Mapping[str, Any]]


class _Document(NamedTuple):
    """A labelled document to learn from or to test with: the number of its line in the manifest, and its box."""

    number: int
    box: Box


@dataclass
class _Chosen:
    """The chosen documents of a manifest by type, and the photos that they are in by number."""

    documents: dict[str, list[_Document]] = field(default_factory=dict)
    photos: dict[int, str] = field(default_factory=dict)


def learn(request: LearnOutlines, *, bucket: str, seconds_left: Callable[[], float]) -> OutlinesLearned:
    """Learn the outlines of each type, unless an earlier run has, and join them in one file.

    A type is learned from up to 60 photos, of as many shots and subjects as possible. The file of a finished type is
    below ``outlines/<job_id>/types/``, in a folder for these manifests, so that another run continues with the others.

    Args:
        seconds_left: returns the seconds until this run's timeout.

    Raises:
        ManifestChanged: a manifest was changed after its stage wrote it.
        OutlinesLeft: this run has no time for all types. It has learned at least one. The next run continues.
    """
    # Imported here, because OpenCV and NumPy need longer than all other imports of the function.
    import outlines

    inputs = _Inputs(request, bucket)
    files = _Types(request, bucket)
    learned: dict[str, Learned] = {}
    compared: dict[str, list[Compared]] = {}
    unread, began = 0, False
    for label in inputs.labels:
        content = files.read(label)
        if content is None:
            _require_time(began, seconds_left)
            began = True
            content = files.write(label, _learn_type(inputs, label))
        kind, compared[label], of_type = outlines.unpack(content)
        unread += of_type
        if kind is not None:
            learned[label] = kind
    _require_time(began, seconds_left)
    boxes: dict[int, list[OutlineBox]] = {}
    for label in learned:
        for number, of_photo in inputs.boxes(inputs.train, label).items():
            boxes.setdefault(number, []).extend(of_photo)
    joined = outlines.join(learned, inputs.photos(inputs.train), boxes)
    return _write(request, bucket, joined, inputs, compared, unread)


def _require_time(began: bool, seconds_left: Callable[[], float]) -> None:
    """Check that enough time remains. The first type of a run always begins, so that each run makes progress."""
    if began and seconds_left() < RESERVE_SECONDS:
        raise OutlinesLeft("This run has no time for the other document types. The next run continues.")


def _learn_type(inputs: _Inputs, label: str) -> bytes:
    """Learn the type and compare its test documents; returns the content of the type's file."""
    import outlines

    train, test = inputs.photos(inputs.train), inputs.photos(inputs.test)
    kind = outlines.learn_type(train, inputs.boxes(inputs.train, label))
    tests = inputs.boxes(inputs.test, label)
    compared = [
        outlines.compare(photo, box, kind)
        for number, of_photo in tests.items()
        for photo in (test[number],)
        for box in of_photo
    ]
    return outlines.pack(kind, compared, len(train.unread) + len(test.unread))


def _write(
    request: LearnOutlines,
    bucket: str,
    joined: Outlines,
    inputs: _Inputs,
    compared: Mapping[str, list[Compared]],
    unread: int,
) -> OutlinesLearned:
    """Write the file of the outlines and describe it."""
    import outlines

    content = outlines.save(joined)
    key, digest = artefact_key(request.job_id, request.version_name), hashlib.sha256(content)
    put_once(bucket, key, content, digest.digest())
    total = outlines.summarize([one for of_type in compared.values() for one in of_type], joined)
    return OutlinesLearned(
        file=f"s3://{bucket}/{key}",
        sha256=digest.hexdigest(),
        types=len(compared),
        learned=len(joined.types),
        test_documents=total.documents,
        outlined=total.outlined,
        box_iou=_rounded(total.box_iou),
        polygons=total.polygons,
        polygon_iou=_rounded(total.polygon_iou),
        corner_error=_rounded(total.corner_error),
        unread=unread,
        by_type=[
            {
                "label": label,
                "learned": label in joined.types,
                "trainDocuments": len(inputs.train.documents[label]),
                **_figures(outlines.summarize(of_type, joined)),
            }
            for label, of_type in compared.items()
        ],
    )


def _figures(summary: Summary) -> dict[str, Any]:
    return {
        "testDocuments": summary.documents,
        "outlined": summary.outlined,
        "boxIou": _rounded(summary.box_iou),
        "polygons": summary.polygons,
        "polygonIou": _rounded(summary.polygon_iou),
        "cornerError": _rounded(summary.corner_error),
    }


def _rounded(figure: float | None) -> float | None:
    return None if figure is None else round(figure, 4)


def for_record(outlines: Mapping[str, Any]) -> dict[str, Any]:
    """What the job's record keeps of the state's result: the file and the figures, or the error that was caught."""
    if "error" in outlines:
        return {"error": own_error(str(outlines["error"]), None, is_stop=False)}
    return {name: value for name, value in outlines.items() if name != "byType"}


class _Inputs:
    """The documents to learn from and to test with, and their photos."""

    def __init__(self, request: LearnOutlines, bucket: str) -> None:
        """Raises ManifestChanged."""
        from outlines.learning import PHOTOS_PER_TYPE

        groups: dict[str, int] = {}
        self._etags: dict[str, str] = {}
        for photo in read_photos(ManifestReader(request.images_manifest, request.images_sha256)):
            self._etags[photo.source_ref] = photo.etag
            if photo.group is not None:
                groups[photo.source_ref] = photo.group
        self.train = _choose(ManifestReader(request.train_manifest, request.train_sha256), groups, PHOTOS_PER_TYPE)
        self.test = _choose(ManifestReader(request.test_manifest, request.test_sha256), groups, TESTS_PER_TYPE)
        self._polygons = _polygons(request, {*self.train.photos.values(), *self.test.photos.values()}, bucket)

    @property
    def labels(self) -> list[str]:
        """The document types in the order in which they are learned."""
        return sorted(self.train.documents)

    def photos(self, chosen: _Chosen) -> _Photos:
        """The photos of the chosen documents by number."""
        return _Photos(chosen.photos, self._etags)

    def boxes(self, chosen: _Chosen, label: str) -> dict[int, list[OutlineBox]]:
        """The chosen boxes of a type by the number of their photo, with their polygons if they are labelled."""
        import numpy as np

        from outlines import Box as OutlineBox

        boxes: dict[int, list[OutlineBox]] = {}
        for number, box in chosen.documents.get(label, ()):
            corners = self._polygons.get((chosen.photos[number], *box[:5]))
            polygon = None if corners is None else np.array(corners, float)
            boxes.setdefault(number, []).append(OutlineBox(*box[:5], polygon))
        return boxes


def _lines(manifest: ManifestReader) -> Iterator[tuple[int, Mapping[str, Any], Labelled]]:
    """The usable lines of a labelled manifest: number, JSON object and labels."""
    for number, text in manifest:
        if isinstance(text, str):
            document = orjson.loads(text)
            labelled = parse(document, LABEL_ATTRIBUTE)
            if isinstance(labelled, Labelled):
                yield number, document, labelled


def _choose(manifest: ManifestReader, groups: Mapping[str, int], most: int) -> _Chosen:
    """Choose up to ``most`` documents of each type: first one of each group of photos, then the second of each.

    Photos of the same shot or subject show the same document, so more of them add less.
    """
    candidates: dict[str, list[tuple[int, _Document]]] = {}
    taken: Counter[tuple[str, int]] = Counter()
    firsts: Counter[str] = Counter()
    refs: dict[int, str] = {}
    for number, _, labelled in _lines(manifest):
        group = groups.get(labelled.source_ref)
        for box in labelled.boxes:
            place = 0 if group is None else taken[box.label, group]
            if place >= most or firsts[box.label] >= most:
                continue
            if group is not None:
                taken[box.label, group] += 1
            firsts[box.label] += place == 0
            candidates.setdefault(box.label, []).append((place, _Document(number, box)))
            refs[number] = labelled.source_ref
    chosen = _Chosen()
    for label, of_type in candidates.items():
        chosen.documents[label] = sorted(document for _, document in sorted(of_type)[:most])
        chosen.photos |= {number: refs[number] for number, _ in chosen.documents[label]}
    return chosen


def _polygons(request: LearnOutlines, refs: set[str], bucket: str) -> dict[tuple[Any, ...], Corners]:
    """The labelled polygons by photo, type and box. Only a labels file has polygons: Ground Truth's labels are boxes.

    The boxes are those of the datasets' manifests, which are cut to the photo.
    """
    if request.labels_manifest != f"s3://{bucket}/manifests/{request.job_id}/labels.manifest":
        return {}
    polygons: dict[tuple[Any, ...], Corners] = {}
    for _, document, labelled in _lines(ManifestReader(request.labels_manifest, request.labels_sha256)):
        if labelled.source_ref in refs:
            for box, corners in zip(labelled.boxes, corners_of_boxes(document, LABEL_ATTRIBUTE), strict=True):
                clamped = clamp(box, labelled.width, labelled.height)
                if corners and isinstance(clamped, Box):
                    polygons[labelled.source_ref, *clamped[:5]] = corners
    return polygons


class _Types:
    """The files of finished types, in a folder for these manifests."""

    def __init__(self, request: LearnOutlines, bucket: str) -> None:
        inputs = "".join((request.train_sha256, request.test_sha256, request.labels_sha256))
        self._bucket = bucket
        self._folder = f"outlines/{request.job_id}/types/{hashlib.sha256(inputs.encode()).hexdigest()[:16]}"

    def read(self, label: str) -> bytes | None:
        """The content of the type's file, or None."""
        try:
            return bytes(clients.s3.get_object(Bucket=self._bucket, Key=f"{self._folder}/{label}")["Body"].read())
        except ClientError as error:
            if error_code(error) != "NoSuchKey":
                raise
            return None

    def write(self, label: str, content: bytes) -> bytes:
        """Write the type's file, unless another run has; returns the content of the file."""
        try:
            clients.s3.put_object(Bucket=self._bucket, Key=f"{self._folder}/{label}", Body=content, IfNoneMatch="*")
        except ClientError as error:
            stored = self.read(label) if error_code(error) in WRITTEN_BY_ANOTHER else None
            if stored is None:
                raise
            return stored
        return content


class _Photos:
    """Photos by number, read when they are needed. ``unread`` has the numbers of those that cannot be read."""

    def __init__(self, refs: Mapping[int, str], etags: Mapping[str, str]) -> None:
        self._refs, self._etags = refs, etags
        self.unread: set[int] = set()

    def __getitem__(self, number: int, /) -> Any:
        """The pixels, or None if the photo changed after its check or cannot be read."""
        from outlines import decode

        photo = None
        if content := self._content(self._refs[number]):
            photo = decode(content)
        if photo is None:
            self.unread.add(number)
        return photo

    def _content(self, ref: str) -> bytes | None:
        bucket, key = split_uri(ref)
        try:
            return bytes(clients.s3.get_object(Bucket=bucket, Key=key, IfMatch=f'"{self._etags[ref]}"')["Body"].read())
        except ClientError as error:
            if error_code(error) not in CHANGED_CODES | UNREADABLE_CODES:
                raise
            return None
