"""Imports supplied labels: a COCO file or a Ground Truth output manifest."""

import json
import sys
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from itertools import chain
from typing import Any, NamedTuple

from botocore.exceptions import ClientError

from pipeline.clients import clients
from pipeline.errors import LabelsDoNotMatch, LabelsInvalid, error_code
from pipeline.manifests import HashedStream, ManifestReader, ManifestWriter, read_photos, rejected_list_key
from rules import labels
from rules.entries import Entry, Problem, Size, Source, Unreadable
from rules.lines import LABEL_ATTRIBUTE, LEFT_OUT, Labelled, Stream, Unusable, line_end, line_start

PROVIDER = "supplied"
MAX_PLACES_SHOWN = 10
ABSENT_OR_REPLACED = {
    "NoSuchKey": "The labels file does not exist. Upload it under the name that the request gave.",
    "PreconditionFailed": "The labels file was replaced after the request that named it. Check the file that is there "
    "now, then resume the job to read it.",
}


@dataclass(frozen=True)
class ImportLabels:
    """The request of the state `Import labels`. ``labels_key`` is the key of the uploaded file.

    ``labels_etag`` is the ETag of the file that a request named, ``posted_by`` the caller of the request, as IAM or the
    user pool names the caller. Both are None if the execution was started without the API. ``is_resumed``: the job was
    resumed after the request, so the file may be another.
    ``images_manifest`` is the S3 URI of the manifest of the job's photos, ``images_sha256`` the hash that Collect
    photos returned for it.
    """

    job_id: str
    images_manifest: str
    images_sha256: str
    labels_key: str
    document_types: list[str]
    labels_etag: str | None
    posted_by: str | None
    is_resumed: bool


@dataclass(frozen=True)
class LabelsImported:
    """The labelled manifest (S3 URI, SHA-256 in hex), and the number of photos with at least one labelled document.

    ``file_sha256`` (hex) and ``file_etag`` are those of the supplied file. ``labels_without_photo`` counts the labelled
    photos that were not uploaded, ``photos_without_label`` the job's photos that are not in the file. The audit report
    uses ``named_etag`` and ``posted_by``, which are the request's ``labels_etag`` and ``posted_by``.
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
    named_etag: str | None
    posted_by: str | None


class _Problems:
    """Collects the problems of the file. The list in the bucket has all problems, the error their number and places."""

    def __init__(self, file: ManifestWriter) -> None:
        self._file = file
        self._codes: Counter[str] = Counter()
        self._places: list[str] = []

    @property
    def count(self) -> int:
        return self._codes.total()

    def add(self, problem: Problem) -> None:
        self._codes[problem.code] += 1
        if len(self._places) < MAX_PLACES_SHOWN:
            self._places.append(str(problem.place))
        line = {problem.place.kind: problem.place.number, "reason": problem.reason, "code": problem.code}
        self._file.write(json.dumps(line if problem.own_id is None else {**line, "id": problem.own_id}))

    def add_photo(self, name: str, code: str, reason: str) -> None:
        """List a photo without a counterpart. Such photos do not count as problems."""
        self._file.write(json.dumps({"photo": name, "reason": reason, "code": code}))

    def raise_if_any(self) -> None:
        """Raise LabelsInvalid if there are problems."""
        count = self.count
        if not count:
            return
        codes = ", ".join(f"{code} {times}" for code, times in self._codes.most_common())
        more = f" and {count - MAX_PLACES_SHOWN} more" if count > MAX_PLACES_SHOWN else ""
        raise LabelsInvalid(
            f"The labels file has {'1 problem' if count == 1 else f'{count} problems'} ({codes}): "
            f"{', '.join(self._places)}{more}. {self._file.uri} lists each with the reason."
        )


class _Photos(NamedTuple):
    """The job's photos by file name: their sizes, and the S3 URIs of their folders."""

    sizes: dict[str, Size]
    folders: dict[str, str]


def import_labels(request: ImportLabels, *, bucket: str, max_unmatched_share: float = 1) -> LabelsImported:
    """Check the supplied labels and write them to ``labels.manifest``, in the format of Ground Truth's output manifest.

    `rules.labels` has the rules. An entry without usable labels becomes a line without labels, so that Prepare datasets
    drops it and gives the reason: the photo is unknown, rejected or unlabelled, its labelling failed, or its labels
    were verified as bad. ``label-problems.jsonl`` lists the problems, labelled photos without an upload, and uploads
    without labels.

    Args:
        max_unmatched_share: the largest share (0 to 1) of labelled photos without an upload, and of uploads without
            labels.

    Raises:
        LabelsInvalid: the file has problems. The cause has their number and places.
        LabelsDoNotMatch: too many photos have no counterpart. The cause has both numbers.
    """
    file = _File(bucket, request.labels_key, None if request.is_resumed else request.labels_etag)
    photos = _photos(ManifestReader(request.images_manifest, request.images_sha256))
    uploads = f"s3://{bucket}/images/{request.job_id}/"
    class_ids = {name: index for index, name in enumerate(request.document_types)}
    counts = labels.Counts(photos=len(photos.sizes))
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
                for entry in _match(labels.read(file.open, file.size, source), photos, counts, problems):
                    folder = photos.folders.get(entry.name, uploads)
                    manifest.write(_line(f"{folder}{entry.name}", entry.labels, class_ids))
            except Unreadable as error:
                raise LabelsInvalid(f"The labels file {error}") from None
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
        request.labels_etag,
        request.posted_by,
    )


def _match(entries: Iterator[Entry], photos: _Photos, counts: labels.Counts, problems: _Problems) -> Iterator[Entry]:
    """Yield each entry, count it, and list labelled photos without an upload and, at the end, uploads without labels.

    If the file has problems, uploads without labels are not listed: an entry with a problem may have their labels.
    """
    without_label = set(photos.sizes)
    for entry in entries:
        without_label.discard(entry.name)
        if counts.add(entry):
            problems.add_photo(entry.name, "LabelsWithoutPhoto", "it is labelled, but not uploaded")
        yield entry
    if not problems.count:
        counts.without_label = len(without_label)
        for name in sorted(without_label):
            problems.add_photo(name, "PhotoWithoutLabels", "it is uploaded, but not in the labels file")


def _require_matches(counts: labels.Counts, max_unmatched_share: float, *, entries: int, problems_list: str) -> None:
    if counts.above(max_unmatched_share):
        raise LabelsDoNotMatch(
            f"{counts.words}. The largest allowed share of each is {max_unmatched_share:.3g}. {problems_list} lists "
            "them. Labels belong to the photo with the same file name."
        )
    if not counts.marked:
        raise LabelsInvalid(
            f"The labels file has entries for {entries} photos, but labels no document in the job's {counts.photos} "
            "photos. The file must name the photos as they were uploaded."
        )


class _File:
    """The supplied labels file: its size in bytes, its ETag, the time of its upload, and its content.

    All reads require the ETag of the first read, so ``sha256``, the hex digest of the last read, is the hash of the
    imported file.
    """

    def __init__(self, bucket: str, key: str, etag: str | None) -> None:
        """Raises LabelsInvalid if the file does not exist, or does not have ``etag``."""
        self._object: dict[str, Any] = {"Bucket": bucket, "Key": key}
        condition: dict[str, Any] = {"IfMatch": f'"{etag}"'} if etag else {}
        try:
            self._first = clients.s3.get_object(**self._object, **condition)
        except ClientError as error:
            if error_code(error) not in ABSENT_OR_REPLACED:
                raise
            raise LabelsInvalid(ABSENT_OR_REPLACED[error_code(error)]) from None
        self.size: int = self._first["ContentLength"]
        self.etag: str = self._first["ETag"].strip('"')
        self.uploaded: str = self._first["LastModified"].strftime("%Y-%m-%dT%H:%M:%S")
        self._bodies = chain([self._first["Body"]], iter(self._read_again, None))

    @property
    def sha256(self) -> str:
        return self._stream.sha256

    def open(self) -> Stream:
        """Open the file at its start. May be called several times.

        Raises:
            LabelsInvalid: the file was replaced or deleted after the first read.
        """
        self._stream = HashedStream(next(self._bodies))
        return self._stream

    def close(self) -> None:
        """Close the first read, which is open if `open` was never called."""
        self._first["Body"].close()

    def _read_again(self) -> Any:
        try:
            return clients.s3.get_object(**self._object, IfMatch=self._first["ETag"])["Body"]
        except ClientError as error:
            if error_code(error) not in ABSENT_OR_REPLACED:
                raise
            raise LabelsInvalid(
                "The labels file was replaced or deleted while it was read. Resume the job to read the new file."
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
    """The file names of the photos that Check photos rejected."""
    lines = ManifestReader(f"s3://{bucket}/{rejected_list_key(job_id)}")
    return frozenset(json.loads(text)["source-ref"].rpartition("/")[2] for _, text in lines if isinstance(text, str))


def _line(source_ref: str, entry: Labelled | Unusable, class_ids: Mapping[str, int]) -> str:
    """The entry as a line of a Ground Truth output manifest. Its class map has the ids that the line uses."""
    if isinstance(entry, Labelled):
        used = {str(class_ids[box.label]): box.label for box in entry.boxes}
        return line_start(entry._replace(source_ref=source_ref), entry.boxes, class_ids) + line_end(used)
    line: dict[str, object] = {"source-ref": source_ref}
    if entry.code == "LabellingFailed":
        line[f"{LABEL_ATTRIBUTE}-metadata"] = {"failure-reason": entry.reason}
    elif entry.code == "VerifiedAsBad":
        line[f"{LABEL_ATTRIBUTE}-metadata"] = {"failure-reason": entry.reason, LEFT_OUT: entry.code}
    return json.dumps(line)
