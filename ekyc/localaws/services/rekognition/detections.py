"""DetectCustomLabels."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from botocore.exceptions import ClientError, ParamValidationError

from ekyc.localaws.errors import ServiceError
from ekyc.localaws.services.detector import Detection
from ekyc.localaws.services.rekognition.account import Account, read_object
from ekyc.localaws.services.rekognition.errors import (
    invalid,
)
from ekyc.localaws.services.stand_in import Answer, Request
from ekyc.localaws.services.training import MAX_IMAGE_BYTES, image_size

# The limit of an image sent as bytes. Source: Custom Labels guide, "Guidelines and quotas".
MAX_RAW_BYTES = 4 * 1024 * 1024


class Detections(Account):
    """The operation of running models."""

    def detect_custom_labels(self, request: Request) -> Answer:
        """DetectCustomLabels. MinConfidence replaces the labels' assumed thresholds."""
        min_confidence: float | None = request.get("MinConfidence")
        most: int = request.get("MaxResults", 100)
        if most > 100:
            raise ServiceError("ValidationException", "MaxResults must not be greater than 100.")
        with self.lock:
            version = self.version(request["ProjectVersionArn"])[1]
            if version.status != "RUNNING":
                message = f"The model is in status {version.status}. Start it and wait until it is RUNNING."
                raise ServiceError("ResourceNotReadyException", message)
            detector, thresholds = version.detector, version.thresholds
        image = _decoded(_image_content(request["Image"]))
        with self._detecting:
            detections = detector.detect(image) if detector else []
        chosen = [
            detection
            for detection in detections
            if detection.confidence >= (thresholds[detection.label] if min_confidence is None else min_confidence / 100)
        ]
        chosen.sort(key=lambda detection: -detection.confidence)
        height, width = image.shape[:2]
        labels = [_custom_label(detection, width, height) for detection in chosen]
        return {"CustomLabels": labels[:most]}


def _image_content(image: dict[str, Any]) -> bytes:
    if ("Bytes" in image) == ("S3Object" in image):
        raise invalid("Image must have either Bytes or S3Object.")
    if "Bytes" in image:
        content, limit = image["Bytes"], MAX_RAW_BYTES
    else:
        try:
            content, limit = read_object(image["S3Object"]), MAX_IMAGE_BYTES
        except (KeyError, ClientError, ParamValidationError):
            message = "Unable to get object metadata from S3. Check object key, region and/or access permissions."
            raise ServiceError("InvalidS3ObjectException", message) from None
    if len(content) > limit:
        raise ServiceError("ImageTooLargeException", f"Image size is too large: the limit is {limit} bytes.")
    return content


def _decoded(content: bytes) -> np.ndarray:
    size = image_size(content)
    image = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR) if size else None
    if size is None or image is None:
        raise ServiceError("InvalidImageFormatException", "Request has invalid image format.")
    if not size.allowed:
        raise invalid(f"An image of {size.width} x {size.height} pixels exceeds the limits of Custom Labels.")
    return image


def _custom_label(detection: Detection, width: int, height: int) -> Answer:
    return {
        "Name": detection.label,
        "Confidence": 100 * detection.confidence,
        "Geometry": {
            "BoundingBox": {
                "Width": detection.width / width,
                "Height": detection.height / height,
                "Left": detection.left / width,
                "Top": detection.top / height,
            },
        },
    }
