"""Imports supplied labels: a COCO file or a Ground Truth output manifest."""

import json
import sys
from collections import Counter
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass
from itertools import chain
from typing import Any, NamedTuple

from botocore.exceptions import ClientError

from pipeline.clients import clients
from pipeline.errors import LabelsDoNotMatch, LabelsInvalid, error_code
from pipeline.manifests import HashedStream, ManifestReader, ManifestWriter, read_photos, rejected_list_key
from rules import labels
from rules.entries import Problem, Size, Source, Unreadable
from rules.lines import LABEL_ATTRIBUTE, LEFT_OUT, Labelled, Stream, Unusable, line_end, line_start

PROVIDER = "supplied"
MAX_PLACES_TOLD = 10


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

    ``file_sha256`` (hex) and ``file_etag`` are those of the supplied file that was read. ``labels_without_photo``
    counts labelled photos that were not uploaded, ``photos_without_label`` the job's photos
    that the file does not have.
    """

    provider: str
    manifest: str
    label_attribute: str
    sha256: str
    labelled: int
    file_sha256: str
    file_etag: str
    labels_without_photo: int
    photos_without_label: int


class _Problems:
    """The problems of the file. The list names them all; the error has only their number and places."""

    def __init__(self, file: ManifestWriter) -> None:
        self._file = file
        self._codes: Counter[str] = Counter()
        self._places: list[str] = []

    @property
    def count(self) -> int:
        return self._codes.total()

    def add(self, problem: Problem) -> None:
        self._codes[problem.code] += 1
        if len(self._places) < MAX_PLACES_TOLD:
            self._places.append(str(problem.place))
        line = {problem.place.kind: problem.place.number, "reason": problem.reason, "code": problem.code}
        self._file.write(json.dumps(line if problem.own_id is None else {**line, "id": problem.own_id}))

    def add_photo(self, name: str, code: str, reason: str) -> None:
        """Add a photo that does not match. It is a problem only when there are too many."""
        self._file.write(json.dumps({"photo": name, "reason": reason, "code": code}))

    def raise_if_any(self) -> None:
        """Raises LabelsInvalid."""
        count = self.count
        if not count:
            return
        codes = ", ".join(f"{code} {times}" for code, times in self._codes.most_common())
        more = f" and {count - MAX_PLACES_TOLD} more" if count > MAX_PLACES_TOLD else ""
        raise LabelsInvalid(
            f"The labels file has {'1 problem' if count == 1 else f'{count} problems'} ({codes}): "
            f"{', '.join(self._places)}{more}. {self._file.uri} lists each with its reason."
        )


class _Photos(NamedTuple):
    """The job's photos by file name: their sizes, and the folder of the object to train on."""

    sizes: dict[str, Size]
    folders: dict[str, str]


def import_labels(request: ImportLabels, *, bucket: str, max_unmatched_share: float = 1) -> LabelsImported:
    """Check the supplied labels and write them as ``labels.manifest``, in the form of a Ground Truth output manifest.

    `rules.labels` reads the file. Entries without usable labels stay in the manifest as lines without labels, so that
    Prepare datasets lists and counts them as dropped: unknown or rejected photos, unlabelled photos, failed ones, and
    those whose labels were verified as bad. ``label-problems.jsonl`` lists the problems, labelled photos without an
    upload, and uploads without labels.

    Args:
        max_unmatched_share: the job fails above this share (0 to 1) of labelled photos without an upload, or of uploads
            without labels.

    Raises:
        LabelsInvalid: has the number of problems and their places, and no names.
        LabelsDoNotMatch: has both counts.
    """
    file = _File(bucket, request.labels_key)
    photos = _photos(ManifestReader(request.images_manifest, request.images_sha256))
    uploads = f"s3://{bucket}/images/{request.job_id}/"
    class_ids = {name: index for index, name in enumerate(request.document_types)}
    counts = labels.Counts(photos=len(photos.sizes))
    left = set(photos.sizes)
    with closing(file), ManifestWriter(bucket, f"manifests/{request.job_id}/labels.manifest") as manifest:
        with ManifestWriter(bucket, f"manifests/{request.job_id}/label-problems.jsonl") as listed:
            problems = _Problems(listed)
            source = Source(
                report=problems.add,
                photos=photos.sizes,
                rejected=_rejected(bucket, request.job_id),
                types=frozenset(request.document_types),
                job_name=f"labeling-job/{request.job_id}-{PROVIDER}",
                created=file.uploaded,
            )
            try:
                for entry in labels.read(file.open, file.size, source):
                    left.discard(entry.name)
                    if counts.add(entry):
                        problems.add_photo(entry.name, "LabelsWithoutPhoto", "it is labelled, but not uploaded")
                    folder = photos.folders.get(entry.name, uploads)
                    manifest.write(_line(f"{folder}{entry.name}", entry.labels, class_ids))
            except Unreadable as error:
                raise LabelsInvalid(f"The labels file {error}") from None
            if not problems.count:
                counts.without_label = len(left)
                for name in sorted(left):
                    problems.add_photo(name, "PhotoWithoutLabels", "it is uploaded, but not in the labels file")
        problems.raise_if_any()
        _require_matches(counts, max_unmatched_share, entries=manifest.count, problems_list=listed.uri)
    return LabelsImported(
        PROVIDER,
        manifest.uri,
        LABEL_ATTRIBUTE,
        manifest.sha256,
        counts.marked,
        file.sha256,
        file.etag,
        counts.without_photo,
        counts.without_label,
    )


def _require_matches(counts: labels.Counts, max_unmatched_share: float, *, entries: int, problems_list: str) -> None:
    if counts.above(max_unmatched_share):
        raise LabelsDoNotMatch(
            f"{counts.words}; at most {max_unmatched_share:.3g} of either may be unmatched. {problems_list} names "
            "them. Photos are found by their file names."
        )
    if not counts.marked:
        raise LabelsInvalid(
            f"The labels file marks no document in any of the job's {counts.photos} photos; it has entries for "
            f"{entries} photos. Photos are found by their file names: they must be those of the uploads."
        )


class _File:
    """The uploaded labels file, read once or more: size in bytes, ETag, and when it was uploaded.

    Every read requires the ETag of the first read, so ``sha256``, the hex digest of the last read, is the hash of the
    imported file.
    """

    def __init__(self, bucket: str, key: str) -> None:
        """Raises LabelsInvalid when the file does not exist."""
        self._object: dict[str, Any] = {"Bucket": bucket, "Key": key}
        try:
            self._first = clients.s3.get_object(**self._object)
        except ClientError as error:
            if error_code(error) != "NoSuchKey":
                raise
            raise LabelsInvalid(
                "The labels file does not exist. Upload it under the name that the job names."
            ) from None
        self.size: int = self._first["ContentLength"]
        self.etag: str = self._first["ETag"].strip('"')
        self.uploaded: str = self._first["LastModified"].strftime("%Y-%m-%dT%H:%M:%S")
        self._bodies = chain([self._first["Body"]], iter(self._read_again, None))

    @property
    def sha256(self) -> str:
        return self._stream.sha256

    def open(self) -> Stream:
        """Open the file from its start; may be called several times.

        Raises:
            LabelsInvalid: the file was replaced or deleted since it was first read.
        """
        self._stream = HashedStream(next(self._bodies))
        return self._stream

    def close(self) -> None:
        """Close the first read, in case `open` was never called."""
        self._first["Body"].close()

    def _read_again(self) -> Any:
        try:
            return clients.s3.get_object(**self._object, IfMatch=self._first["ETag"])["Body"]
        except ClientError as error:
            if error_code(error) not in ("PreconditionFailed", "NoSuchKey"):
                raise
            raise LabelsInvalid(
                "The labels file was replaced or deleted while it was read. Resume the job to read the file that is "
                "there now."
            ) from None


def _photos(images_manifest: ManifestReader) -> _Photos:
    """The job's photos."""
    photos = _Photos({}, {})
    for photo in read_photos(images_manifest):
        folder, slash, name = photo.source_ref.rpartition("/")
        photos.sizes[name] = Size(photo.width, photo.height, photo.orientation)
        photos.folders[name] = sys.intern(folder + slash)
    return photos


def _rejected(bucket: str, job_id: str) -> frozenset[str]:
    """The file names of the photos that Check images rejected."""
    lines = ManifestReader(f"s3://{bucket}/{rejected_list_key(job_id)}")
    return frozenset(json.loads(text)["source-ref"].rpartition("/")[2] for _, text in lines if isinstance(text, str))


def _line(source_ref: str, entry: Labelled | Unusable, class_ids: Mapping[str, int]) -> str:
    """The entry as a line of a Ground Truth output manifest, whose class map has the ids that the line uses."""
    if isinstance(entry, Labelled):
        used = {str(class_ids[box.label]): box.label for box in entry.boxes}
        return line_start(entry._replace(source_ref=source_ref), entry.boxes, class_ids) + line_end(used)
    line: dict[str, object] = {"source-ref": source_ref}
    if entry.code == "LabellingFailed":
        line[f"{LABEL_ATTRIBUTE}-metadata"] = {"failure-reason": entry.reason}
    elif entry.code == "VerifiedAsBad":
        line[f"{LABEL_ATTRIBUTE}-metadata"] = {"failure-reason": entry.reason, LEFT_OUT: entry.code}
    return json.dumps(line)
