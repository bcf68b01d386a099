"""Finds the documents in a photo: their types and boxes with the live model, then their outlines in these boxes.

Rekognition returns upright boxes. The corners are those that `outlines` finds with what the stage `Learn outlines` has
learned for this version of the model. Nothing is stored, and no log has anything of a photo.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from aws_lambda_powertools import Logger
from botocore.exceptions import ClientError
from PIL import Image

import outlines
from outlines import Outline, Outlines, UnusableOutlines, pictures
from pipeline import models, upright
from pipeline.clients import clients
from pipeline.errors import TRANSIENT_CODES, error_code
from pipeline.outlining import artefact_key, read_outlines
from rules import photos
from rules.photos import Rejection
from rules.uploads import LARGEST_PHOTO

LARGEST_INLINE = 4 * 1024 * 1024
"""The most bytes of a photo in a call of DetectCustomLabels, and in a request: in base64 these are 5.6 of the 6.3
million bytes that Lambda accepts. Sources: Custom Labels guide, 'Guidelines and quotas'; Lambda guide, 'Lambda quotas'.
"""

MOST_DOCUMENTS = 10
"""Ten crops fit in a response, and their outlines take two seconds."""

CROP_SIDE = 1000
"""The longer side of a crop in pixels: 300 dpi of a card, 200 dpi of a passport."""

BUSY_CODES = frozenset({"LimitExceededException", "ProvisionedThroughputExceededException", "ThrottlingException"})
DOWN_CODES = frozenset({"ResourceNotFoundException", "ResourceNotReadyException"})
"""The error codes of DetectCustomLabels. Source: Rekognition API reference."""

logger = Logger(child=True)


class PhotoRefused(Exception):
    """The photo cannot be used. The message says why; ``too_large``: it has too many bytes."""

    def __init__(self, reason: str, *, too_large: bool = False) -> None:
        super().__init__(reason)
        self.too_large = too_large


class PhotoMissing(Exception):
    """S3 does not return the photo."""


class ModelDown(Exception):
    """The model does not run, or was deleted."""


class ModelBusy(Exception):
    """The model's inference units have too many calls."""


class DetectionFailed(Exception):
    """Rekognition refused the call for another reason."""


class Photo(NamedTuple):
    """A photo, upright.

    ``pixels`` is h x w x 3 uint8 BGR. ``content`` is the JPEG or PNG for Rekognition, upright and without metadata.
    """

    pixels: np.ndarray
    content: bytes


@dataclass(frozen=True)
class Document:
    """A document in a photo.

    confidence: 0..1, of the type; box: left, top, width, height in pixels; outline: None if none was found for sure.
    """

    label: str
    confidence: float
    box: tuple[float, float, float, float]
    outline: Outline | None

    def crop(self, photo: Photo) -> bytes | None:
        """The document as a JPEG: straightened if it has an outline, else its box. None if the box has no area."""
        corners = None if self.outline is None else self.outline.corners
        pixels = pictures.crop(photo.pixels, self.box, corners, CROP_SIDE)
        return None if pixels is None else pictures.encode(pixels, LARGEST_INLINE, CROP_SIDE)


def read(content: bytes) -> Photo:
    """Check and decode a photo.

    The rules are those of a job's photos: no side is longer than 4,096 pixels, so that the pixels fit in the memory,
    and the structure of the file is checked before a decoder gets it.

    Raises:
        PhotoRefused: it is no complete JPEG or PNG, or too large.
    """
    seen = photos.look(len(content), lambda start, stop: content[start:stop])
    if isinstance(seen, Rejection):
        raise _refused(seen)
    bare = photos.bare(content)
    if isinstance(bare, Rejection):
        raise _refused(bare)
    pixels = pictures.decode(bare)
    if pixels is None:
        raise _refused(upright.BROKEN)
    if seen.orientation == photos.AS_STORED and len(bare) <= LARGEST_INLINE:
        return Photo(pixels, bare)
    if seen.orientation != photos.AS_STORED:
        pixels = np.array(Image.fromarray(pixels).transpose(upright.TURNS[seen.orientation]))
    return Photo(pixels, pictures.encode(pixels, LARGEST_INLINE, photos.MAX_SIDE))


def _refused(why: Rejection) -> PhotoRefused:
    return PhotoRefused(f"The photo cannot be used: {why.reason}.", too_large=why.code == "FileTooLarge")


def fetch(bucket: str, key: str) -> bytes:
    """The photo's bytes from S3.

    Raises:
        PhotoMissing: it does not exist, or the function may not read it.
        PhotoRefused: it has more bytes than a photo may have.
    """
    try:
        stored = clients.s3.get_object(Bucket=bucket, Key=key)
    except ClientError as error:
        if error_code(error) in TRANSIENT_CODES:
            raise
        raise PhotoMissing(
            f"S3 does not return the photo ({error_code(error)}): check bucket and key, and that the bucket is in this "
            "Region and its policy and key allow this account to read it."
        ) from error
    if rejection := photos.check_size(stored["ContentLength"]):
        raise _refused(rejection)
    return stored["Body"].read(LARGEST_PHOTO)


def detect(photo: Photo, model_arn: str, least_confidence: float | None) -> list[dict[str, Any]]:
    """The labels that the model returns, at most `MOST_DOCUMENTS`, in descending order of confidence.

    Without ``least_confidence`` (0..1), each type has the threshold that Rekognition assumed in training.

    Raises:
        ModelDown, ModelBusy, DetectionFailed: see these.
    """
    limit = {} if least_confidence is None else {"MinConfidence": 100 * least_confidence}
    try:
        answer = clients.rekognition.detect_custom_labels(
            ProjectVersionArn=model_arn, Image={"Bytes": photo.content}, MaxResults=MOST_DOCUMENTS, **limit
        )
    except ClientError as error:
        code = error_code(error)
        if code in BUSY_CODES:
            raise ModelBusy from error
        if code in DOWN_CODES:
            raise ModelDown from error
        if code in TRANSIENT_CODES:
            raise
        raise DetectionFailed(code) from error
    return [dict(label) for label in answer["CustomLabels"] if "BoundingBox" in label.get("Geometry", {})]


def documents(photo: Photo, labels: list[dict[str, Any]], learned: Outlines | None) -> list[Document]:
    """The documents of these labels, with the outlines that are found in their boxes."""
    height, width = photo.pixels.shape[:2]
    found = []
    for label in labels:
        box = _pixels(label["Geometry"]["BoundingBox"], width, height)
        outline = outlines.find(photo.pixels, box, label["Name"], learned) if learned else None
        if outline is not None and outline.confidence < outlines.CERTAIN:
            outline = None
        found.append(Document(label["Name"], label["Confidence"] / 100, box, outline))
    return found


def _pixels(box: Mapping[str, float], width: int, height: int) -> tuple[float, float, float, float]:
    return box["Left"] * width, box["Top"] * height, box["Width"] * width, box["Height"] * height


class _Kept(NamedTuple):
    """The outlines that a warm function keeps, and the object that they are from."""

    key: str
    etag: str
    outlines: Outlines | None


class KeptOutlines:
    """Reads a model's outlines, and keeps those of the last model while their object is unchanged."""

    def __init__(self, bucket: str) -> None:
        self._bucket = bucket
        self._kept: _Kept | None = None

    def of(self, model_arn: str) -> Outlines | None:
        """The outlines of the model; None if it has none, or if the file is unusable."""
        key = artefact_key(models.job_id(model_arn), models.version_name(model_arn))
        try:
            etag = clients.s3.head_object(Bucket=self._bucket, Key=key)["ETag"]
        except ClientError as error:
            if error_code(error) != "404":
                raise
            return None
        if self._kept is None or self._kept[:2] != (key, etag):
            self._kept = _Kept(key, etag, self._read(key))
        return self._kept.outlines

    def _read(self, key: str) -> Outlines | None:
        try:
            return read_outlines(self._bucket, key)
        except UnusableOutlines as error:
            logger.error("The model's outlines cannot be used", extra={"key": key, "cause": str(error)})
            return None
