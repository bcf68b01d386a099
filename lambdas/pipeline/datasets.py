"""Writes the training and test manifests: the labelled lines with which Rekognition can train."""

import hashlib
import json
import struct
from array import array
from collections import Counter
from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from tempfile import TemporaryFile
from typing import IO, Any

from pipeline.checked_photos import compare
from pipeline.errors import NoUsableLabels, PhotosChanged, TooFewImagesPerLabel
from pipeline.manifests import ManifestReader, ManifestWriter, rejected_list_key
from pipeline.photos.plots import SHARE_OF_FRAME, counts, share_of_frame
from pipeline.photos.splitting import leaked, split
from rules.entries import UNKNOWN
from rules.lines import Labelled, Unusable, clamp, decode, line_end, line_start, parse

# A photo in memory: its rank, width, height and group, or -1. The rank is a hash that orders the photos at random.
PHOTO = struct.Struct(">16sHHi")
ALONE = -1
# Replaces a photo whose labelled line has been read, or whose content is that of an earlier photo.
TAKEN = b""
NOT_LABELLED = Unusable("NotLabelled", "the labelled manifest has no line for the photo")


@dataclass(frozen=True)
class PrepareDatasets:
    """The request of the state `Prepare datasets`. The manifests are S3 URIs, the hashes SHA-256 in hex, times Unix ms.

    ``images_sha256`` and ``images_written`` are what Collect photos returned. If the pipeline wrote the labelled
    manifest, ``labels_sha256`` is its hash. If people have labelled, the manifest was not written after
    ``labelling_ended``; for Ground Truth's manifest, there is no hash.
    """

    job_id: str
    images_manifest: str
    images_sha256: str
    images_written: int
    labels_manifest: str
    labels_sha256: str | None
    labelling_ended: int | None
    label_attribute: str
    document_types: list[str]


@dataclass(frozen=True)
class DatasetsPrepared:
    """The two manifests (S3 URIs) with their hashes (SHA-256, hex), times (Unix ms) and numbers of photos.

    ``labels_manifest`` is the labelled manifest that was read, and ``labels_sha256`` its hash. ``dropped`` counts the
    dropped photos and lines. ``dropped_reasons`` counts them by code; its codes ``BoxOutside`` and ``BoxTooSmall``
    count boxes that were dropped from a line. ``images_per_type`` has ``{label, images}`` for each document type, with
    the number of photos in both sets. ``leaks`` is the number of test photos that would have a photo of their group in
    the training set, if each photo was split alone; None if that is not possible. ``share_of_frame`` counts the photos
    by the classes of `pipeline.photos.plots`.
    """

    train_manifest: str
    test_manifest: str
    train_sha256: str
    test_sha256: str
    train_written: int
    test_written: int
    train_images: int
    test_images: int
    dropped: int
    dropped_list: str
    dropped_reasons: dict[str, int]
    images_per_type: Sequence[Mapping[str, Any]]
    leaks: int | None
    share_of_frame: list[int]
    labels_manifest: str
    labels_sha256: str


def prepare(request: PrepareDatasets, *, bucket: str, max_rejected_share: float) -> DatasetsPrepared:
    """Drop unusable lines and boxes, split the photos, and write train.manifest, test.manifest and dropped.jsonl.

    Each photo of ``input.manifest`` is in one of the three files. A photo that was replaced or deleted after its check
    is dropped. All lines of both manifests have the same class map: the class id of a document type is its index in
    ``document_types``, and the map has the types that occur.

    250,000 photos need some 150 MB of memory: the rank and size of each photo by its source-ref, and the rank and types
    of each usable line. The usable lines are in /tmp until the split is known. Together with the manifests they need
    some 250 MB there, for 250,000 photos of one document each.

    Args:
        max_rejected_share: the largest share (0 to 1) of the accepted photos that may have changed.

    Raises:
        PhotosChanged: too many photos changed. The cause has the numbers.
        ManifestChanged: a manifest was changed after its stage wrote it.
        NoUsableLabels: no line is usable. The cause has the most frequent reasons.
        TooFewImagesPerLabel: a document type has too few photos. The cause has the types and their numbers.
    """
    class_ids = {name: index for index, name in enumerate(request.document_types)}
    with TemporaryFile() as starts:
        with ManifestWriter(bucket, f"manifests/{request.job_id}/dropped.jsonl") as file:
            dropped = _DroppedList(file)
            photos = _Photos(request, bucket)
            labels = ManifestReader(request.labels_manifest, request.labels_sha256, written_by=request.labelling_ended)
            lines = _clean(request, class_ids, starts, dropped, photos, labels)

        if photos.changed > max_rejected_share * photos.count:
            raise PhotosChanged(
                f"{photos.changed} of {photos.count} photos were replaced or deleted after their check. At most "
                f"{max_rejected_share:.0%} may be. {dropped.uri} lists each. Upload the photos to a new job, and do "
                "not upload any after its start."
            )
        images_per_type = Counter(name for photo_types in lines.types for name in photo_types)
        _require_photos(images_per_type, dropped)
        in_test = split(lines.ranks, lines.types, lines.groups)

        starts.seek(0)
        end = line_end({str(index): name for name, index in class_ids.items() if images_per_type[name]}).encode()
        train, test = _write_manifests(f"manifests/{request.job_id}", bucket, starts, in_test, end)

    return DatasetsPrepared(
        train_manifest=train.uri,
        test_manifest=test.uri,
        train_sha256=train.sha256,
        test_sha256=test.sha256,
        train_written=train.written,
        test_written=test.written,
        train_images=train.count,
        test_images=test.count,
        dropped=dropped.lines,
        dropped_list=dropped.uri,
        dropped_reasons=dict(dropped.reasons),
        images_per_type=[{"label": name, "images": images_per_type[name]} for name in request.document_types],
        leaks=_count_leaks(lines),
        share_of_frame=counts(SHARE_OF_FRAME, lines.shares),
        labels_manifest=request.labels_manifest,
        labels_sha256=labels.sha256,
    )


class _DroppedList:
    """Writes dropped.jsonl and counts its entries by code."""

    def __init__(self, file: ManifestWriter) -> None:
        self._file = file
        self.uri = file.uri
        self.reasons: Counter[str] = Counter()
        self.lines = 0

    def add(self, why: Unusable, source_ref: object, line: int | None) -> None:
        """Add a dropped photo. ``line`` is its line in the labelled manifest, None if it has none."""
        self.lines += 1
        self._write(why, source_ref, {"line": line})

    def add_box(self, why: Unusable, source_ref: object, line: int, box: int) -> None:
        """Add a dropped box of a line. ``box`` is its number, from 1."""
        self._write(why, source_ref, {"line": line, "box": box})

    def _write(self, why: Unusable, source_ref: object, place: dict[str, int | None]) -> None:
        self.reasons[why.code] += 1
        named = source_ref if isinstance(source_ref, str) else None
        self._file.write(json.dumps({"source-ref": named, "reason": why.reason, "code": why.code, **place}))


class _Photos:
    """The job's photos by source-ref. Each can be taken once. ``changed`` of the ``count`` photos have changed."""

    def __init__(self, request: PrepareDatasets, bucket: str) -> None:
        self._photos: dict[str, bytes | Unusable] = {}
        self.count = self.changed = 0
        ranks = set()
        manifest = ManifestReader(request.images_manifest, request.images_sha256, request.images_written)
        for photo, change in compare(manifest, job_id=request.job_id, bucket=bucket):
            self.count += 1
            if change:
                self.changed += 1
                self._photos[photo.source_ref] = change
                continue
            content = f"{request.job_id} {photo.image_hash}".encode()
            rank = hashlib.blake2b(content, digest_size=16).digest()
            group = ALONE if photo.group is None else photo.group
            self._photos[photo.source_ref] = (
                TAKEN if rank in ranks else PHOTO.pack(rank, photo.width, photo.height, group)
            )
            ranks.add(rank)
        self._rejected = {}
        for _, text in ManifestReader(f"s3://{bucket}/{rejected_list_key(request.job_id)}"):
            line = json.loads(text)  # type: ignore[arg-type]
            self._rejected[line["source-ref"]] = line["reason"]

    def take(self, source_ref: object) -> tuple[bytes, int, int, int] | Unusable:
        """Take the photo of a line; returns its rank, width, height and group, or why the line is unusable."""
        if not isinstance(source_ref, str):
            return Unusable("InvalidSourceRef", "source-ref is missing or not text")
        photo = self._photos.get(source_ref)
        if photo:
            self._photos[source_ref] = TAKEN
            return photo if isinstance(photo, Unusable) else PHOTO.unpack(photo)
        if photo == TAKEN:
            return Unusable("Duplicate", "an earlier line has the same photo")
        if source_ref in self._rejected:
            return Unusable("RejectedPhoto", f"the photo was rejected: {self._rejected[source_ref]}")
        return UNKNOWN

    def rest(self) -> Iterator[tuple[str, Unusable]]:
        """The photos that no line took, with the reasons, in the order of input.manifest."""
        for source_ref, photo in self._photos.items():
            if photo:
                yield source_ref, photo if isinstance(photo, Unusable) else NOT_LABELLED


@dataclass
class _Lines:
    """Of the photo of each usable line: rank, types, group, and the share of the photo that its largest box covers."""

    ranks: list[bytes] = field(default_factory=list)
    types: list[tuple[str, ...]] = field(default_factory=list)
    groups: list[Hashable] = field(default_factory=list)
    shares: "array[float]" = field(default_factory=lambda: array("f"))


def _count_leaks(lines: _Lines) -> int | None:
    """The leaks of a split without groups, or None if such a split is not possible."""
    try:
        return leaked(split(lines.ranks, lines.types, range(len(lines.ranks))), lines.groups)
    except TooFewImagesPerLabel:
        return None


def _clean(
    request: PrepareDatasets,
    class_ids: dict[str, int],
    starts: IO[bytes],
    dropped: _DroppedList,
    photos: _Photos,
    labels: ManifestReader,
) -> _Lines:
    """Write the usable lines to ``starts``, without their class maps; returns what the split needs of them."""
    usable = _Lines()
    shared: dict[tuple[str, ...], tuple[str, ...]] = {}  # saves memory: photos of the same types share one tuple
    for number, text in labels:
        document = text if isinstance(text, Unusable) else decode(text)
        if isinstance(document, Unusable):
            dropped.add(document, None, number)
            continue
        source_ref = document.get("source-ref")
        photo = photos.take(source_ref)
        if isinstance(photo, Unusable):
            dropped.add(photo, source_ref, number)
            continue
        rank, width, height, group = photo
        labelled = parse(document, request.label_attribute)
        if isinstance(labelled, Labelled):
            labelled = _fit(labelled, width, height, class_ids)
        if isinstance(labelled, Unusable):
            dropped.add(labelled, source_ref, number)
            continue
        boxes = []
        for place, box in enumerate(labelled.boxes, 1):
            clamped = clamp(box, width, height)
            if isinstance(clamped, Unusable):
                dropped.add_box(clamped, source_ref, number, place)
            else:
                boxes.append(clamped)
        if not boxes:
            dropped.add(Unusable("NoValidBoxes", "none of the line's boxes is usable"), source_ref, number)
            continue
        starts.write(line_start(labelled, boxes, class_ids).encode() + b"\n")
        photo_types = tuple(sorted({box.label for box in boxes}))
        usable.ranks.append(rank)
        usable.types.append(shared.setdefault(photo_types, photo_types))
        usable.groups.append(rank if group == ALONE else group)
        usable.shares.append(share_of_frame(((box.width, box.height) for box in boxes), width, height))
    for source_ref, why in photos.rest():
        dropped.add(why, source_ref, None)
    return usable


def _write_manifests(
    folder: str, bucket: str, starts: Iterable[bytes], in_test: Sequence[bool], end: bytes
) -> tuple[ManifestWriter, ManifestWriter]:
    """Write the lines of ``starts``, each with the class map ``end``, to train.manifest and test.manifest."""
    with (
        ManifestWriter(bucket, f"{folder}/train.manifest") as train,
        ManifestWriter(bucket, f"{folder}/test.manifest") as test,
    ):
        for start, is_test in zip(starts, in_test, strict=True):
            (test if is_test else train).write_bytes(start[:-1] + end)
    return train, test


def _fit(labelled: Labelled, width: int, height: int, class_ids: dict[str, int]) -> Labelled | Unusable:
    """The labels if they match the photo's size and the job's document types, otherwise why they do not."""
    if not labelled.boxes:
        return Unusable("Empty", "no document is marked in the photo")
    if (labelled.width, labelled.height) != (width, height):
        return Unusable(
            "WrongImageSize", f"labelled as {labelled.width}x{labelled.height} px, but the photo is {width}x{height} px"
        )
    for box in labelled.boxes:
        if box.label not in class_ids:
            return Unusable("UnknownType", f"{box.label} is not one of the job's document types")
    return labelled


def _require_photos(images_per_type: Counter[str], dropped: _DroppedList) -> None:
    if not images_per_type:
        reasons = ", ".join(f"{code} {count}" for code, count in dropped.reasons.most_common(3))
        raise NoUsableLabels(
            f"None of the {dropped.lines} labelled photos is usable ({reasons}). "
            f"{dropped.uri} lists each with the reason."
        )
    too_few = ", ".join(f"{name} has {count}" for name, count in sorted(images_per_type.items()) if count < 2)
    if too_few:
        raise TooFewImagesPerLabel(
            f"{too_few}: a document type needs at least 2 different labelled photos, one for training and one for the "
            f"test. {dropped.lines} photos were dropped. {dropped.uri} lists each with the reason."
        )
