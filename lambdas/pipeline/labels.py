"""Imports labels that were made elsewhere: a COCO file or a Ground Truth output manifest, as one of our own manifests."""

import json
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from typing import Any, NoReturn

from botocore.exceptions import ClientError

from pipeline.errors import LabelsInvalid, error_code
from pipeline.manifests import (
    DETECTION_TYPE,
    LABEL_ATTRIBUTE,
    Box,
    Drop,
    Labelled,
    ManifestWriter,
    Photo,
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
class _Import:
    """What both kinds of file are read against. ``sizes`` are the job's photos: file name to width and height."""

    file: str
    prefix: str
    job_name: str
    uploaded: str
    document_types: frozenset[str]
    sizes: Mapping[str, tuple[int, int]]
    problems: _Problems

    def unlabelled(self, name: str) -> Labelled:
        return Labelled(f"{self.prefix}{name}", 0, 0, 3, [], "yes", self.uploaded, self.job_name)


def run(request: ImportLabels, *, bucket: str, s3: Any) -> LabelsImported:
    """Check the supplied labels and write them as ``labels.manifest``, in the form of a Ground Truth output manifest.

    Whether the file is COCO or a Ground Truth output manifest is told from its content. Photos are found by file name:
    the last part of COCO's ``file_name``, or of the manifest's ``source-ref``, whose bucket may be another one. Lines
    about photos that the job has not, or that were rejected, stay in the manifest without their labels, so that Prepare
    datasets lists and counts them among the dropped ones. So do photos that nobody labelled and those that failed.

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
    source = _Import(
        file=request.labels_key,
        prefix=prefix,
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
    labelled = entries = 0
    with (
        closing(answer["Body"]) as body,
        ManifestWriter(s3, bucket, f"manifests/{request.job_id}/labels.manifest") as manifest,
    ):
        ...
    return LabelsImported(PROVIDER, manifest.uri, LABEL_ATTRIBUTE, manifest.sha256, labelled)
