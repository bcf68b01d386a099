"""The route `POST /api/documents/detect`: the documents in a photo, for services that check documents.

It has a function of its own, because it needs OpenCV, which would double the cold start of the other routes.
"""

import base64
import binascii
from dataclasses import dataclass
from typing import Any

from aws_lambda_powertools import Logger
from aws_lambda_powertools.event_handler import Response

from api import answers, problems, serving, validation
from pipeline import detecting, models
from pipeline.detecting import (
    DetectionFailed,
    Document,
    KeptOutlines,
    ModelBusy,
    ModelDown,
    Photo,
    PhotoMissing,
    PhotoRefused,
)
from pipeline.publishing import read_parameter
from pipeline.settings import Variables

LARGEST_BODY = 6 * 1024 * 1024
"""Lambda accepts no larger request."""


@dataclass(frozen=True)
class Settings(Variables):
    bucket: str
    model_parameter: str
    detect_buckets: tuple[str, ...]
    web_origins: tuple[str, ...]


settings = Settings.from_env()
logger = Logger()
app = serving.new_app(settings.web_origins)
kept_outlines = KeptOutlines(settings.bucket)


@app.post("/api/documents/detect")
def detect() -> Response[str]:
    request = validation.detect_request(serving.body(app, LARGEST_BODY))
    photo = detecting.read(_content(request))
    model = read_parameter(settings.model_parameter)
    if model is None:
        raise problems.conflict("No model is live yet. Train one first.")
    labels = detecting.detect(photo, model, request.least_confidence)
    learned = kept_outlines.of(model)
    found = detecting.documents(photo, labels, learned)
    height, width = photo.pixels.shape[:2]
    answer = serving.as_json(
        {
            "model": {
                "projectVersionArn": model,
                "version": models.version_name(model),
                "hasOutlines": learned is not None,
            },
            "photo": {"width": width, "height": height},
            "documents": [_view(document, photo, with_crop=request.crop) for document in found],
        }
    )
    if answers.size(answer.body or "") > answers.LARGEST:
        raise problems.crops_too_large(answers.LARGEST)
    return answer


@app.exception_handler(PhotoRefused)
def answer_photo_refused(refusal: PhotoRefused) -> Response[str]:
    problem = problems.photo_too_large if refusal.too_large else problems.bad_request
    return problem(str(refusal)).response()


@app.exception_handler(PhotoMissing)
def answer_photo_missing(missing: PhotoMissing) -> Response[str]:
    return problems.unmet(str(missing)).response()


@app.exception_handler(ModelDown)
def answer_model_down(_error: ModelDown) -> Response[str]:
    return problems.conflict("The live model does not run. Start it with POST /api/training/model/start.").response()


@app.exception_handler(ModelBusy)
def answer_model_busy(_error: ModelBusy) -> Response[str]:
    return problems.model_busy().response()


@app.exception_handler(DetectionFailed)
def answer_detection_failed(error: DetectionFailed) -> Response[str]:
    logger.error("Rekognition refused a photo", extra={"error": str(error)})
    return problems.model_failed(str(error)).response()


@logger.inject_lambda_context(clear_state=True)
def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    return serving.answer(app, event, context)


def _content(request: validation.DetectRequest) -> bytes:
    """The photo's bytes."""
    if request.place is not None:
        bucket, key = request.place
        if bucket not in settings.detect_buckets:
            raise problems.bucket_refused(bucket, settings.detect_buckets)
        return detecting.fetch(bucket, key)
    try:
        content = base64.b64decode(request.photo, validate=True)
    except (binascii.Error, ValueError) as error:
        raise problems.bad_request(
            "photo must be the bytes of a JPEG or PNG in base64, with the letters + and /, padded with =, without line "
            "breaks and without a prefix such as data:image/jpeg;base64."
        ) from error
    if len(content) > detecting.LARGEST_INLINE:
        raise problems.photo_too_large(
            f"The photo has {len(content):,} bytes; at most {detecting.LARGEST_INLINE:,} (4 MB) are allowed in a "
            "request. Send a smaller one: 2,000 pixels a side are enough."
        )
    return content


def _view(document: Document, photo: Photo, *, with_crop: bool) -> dict[str, Any]:
    """The document in shares of the photo's width and height."""
    height, width = photo.pixels.shape[:2]
    left, top, across, down = document.box
    outline = document.outline
    view = {
        "type": document.label,
        "confidence": document.confidence,
        "box": {"left": left / width, "top": top / height, "width": across / width, "height": down / height},
        "outline": None
        if outline is None
        else {
            "confidence": outline.confidence,
            "corners": [{"x": x / width, "y": y / height} for x, y in outline.corners.tolist()],
        },
    }
    if with_crop:
        jpeg = document.crop(photo)
        view["crop"] = jpeg and {
            "from": "outline" if outline else "box",
            "jpeg": base64.b64encode(jpeg).decode(),
        }
    return view
