"""The boxes that the live model proposes for a photo. They count only if a person accepts or changes them."""

import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from aws_lambda_powertools import Logger
from botocore.exceptions import BotoCoreError, ClientError

from pipeline import models
from pipeline.clients import clients
from pipeline.errors import error_code
from pipeline.manifests import split_uri
from pipeline.page.tasks import Changed, Item, Tasks
from pipeline.publishing import read_parameter

LOOK_AGAIN = 60  # seconds for which the live model's status is kept
MOST_BOXES = 50

logger = Logger(child=True)


@dataclass
class LiveModel:
    """The live model, if it runs. Proposes boxes for the photos of a job that wants proposals."""

    tasks: Tasks
    project_parameter: str
    model_parameter: str
    _known: tuple[float, str | None] = field(default=(0.0, None), init=False)

    def propose(self, job: Item, photos: list[Item]) -> list[Item]:
        """The photos with the live model's boxes as ``Proposals``, which their items keep.

        Leaves out photos that were drawn for the check, and photos that have proposals already. If Rekognition refuses
        a photo or is busy, the photo has no proposals this time.
        """
        wanted = [photo for photo in photos if not photo.get("Drawn") and "Proposals" not in photo]
        if not wanted or not job["Proposals"] or (model := self._running()) is None:
            return photos
        with ThreadPoolExecutor(len(wanted)) as pool:
            changed = pool.map(lambda photo: self._add(job, photo, model), wanted)
            proposed = {photo["Item"]: photo for photo in changed}
        return [proposed.get(photo["Item"], photo) for photo in photos]

    def _running(self) -> str | None:
        """The ARN of the live model, or None if there is none or it does not run."""
        if time.monotonic() > self._known[0]:
            self._known = (time.monotonic() + LOOK_AGAIN, self._find_running())
        return self._known[1]

    def _find_running(self) -> str | None:
        try:
            model, project = read_parameter(self.model_parameter), read_parameter(self.project_parameter)
            if model is None or project is None:
                return None
            version = models.describe(project, models.version_name(model))
        except (ClientError, BotoCoreError) as error:
            _log(error)
            return None
        return model if version and version["Status"] == "RUNNING" else None

    def _add(self, job: Item, photo: Item, model: str) -> Item:
        bucket, key = split_uri(photo["SourceRef"])
        try:
            found = clients.rekognition.detect_custom_labels(
                ProjectVersionArn=model, Image={"S3Object": {"Bucket": bucket, "Name": key}}, MaxResults=MOST_BOXES
            )["CustomLabels"]
            boxes = [box for label in found if (box := _box(label, photo, job["DocumentTypes"]))]
            with suppress(Changed):
                return self.tasks.change(photo, Proposals=boxes, ProposedBy=model)
        except (ClientError, BotoCoreError) as error:
            _log(error)
        return photo


def _box(label: Any, photo: Item, types: Sequence[str]) -> dict[str, Any] | None:
    """A detection as a box in whole pixels inside the photo; None for other types and for what has no box."""
    if label["Name"] not in types or "BoundingBox" not in label.get("Geometry", {}):
        return None
    frame, width, height = label["Geometry"]["BoundingBox"], photo["Width"], photo["Height"]
    left, top = max(0, round(frame["Left"] * width)), max(0, round(frame["Top"] * height))
    right = min(width, round((frame["Left"] + frame["Width"]) * width))
    bottom = min(height, round((frame["Top"] + frame["Height"]) * height))
    if right <= left or bottom <= top:
        return None
    return {
        "type": label["Name"],
        "left": left,
        "top": top,
        "width": right - left,
        "height": bottom - top,
        "confidence": round(label["Confidence"] / 100, 4),
    }


def _log(error: ClientError | BotoCoreError) -> None:
    code = error_code(error) if isinstance(error, ClientError) else type(error).__name__
    logger.warning("No proposals", extra={"error": code})
