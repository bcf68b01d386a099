"""The process that trains a detector, so that the server stays responsive: `python -m ... FOLDER`.

Input: FOLDER/request.json, {"training": photos, "testing": photos}. A photo is
{"path", "boxes": [[label, left, top, width, height], …]}. Output: FOLDER/detector.outlines and FOLDER/evaluation.json,
{"labels": [a LabelEvaluation each], "photos": [{"found": [[label, left, top, width, height, confidence, correct], …],
"missed": boxes}, …]}. If the process fails, the last line on stderr says why.
"""

from __future__ import annotations

import dataclasses
import json
import os
import sys
import threading
from pathlib import Path
from typing import Any

from ekyc.localaws.services.detector import Box, LabelledPhoto, PhotoEvaluation, evaluate, train


def learn(folder: Path) -> None:
    """Train on the training photos in FOLDER/request.json, then evaluate on its testing photos."""
    request = json.loads((folder / "request.json").read_text())
    detector = train(_photos(request["training"]))
    detector.save(folder / "detector.outlines")
    evaluation = evaluate(detector, _photos(request["testing"]))
    result = {
        "labels": [dataclasses.asdict(label) for label in evaluation.labels],
        "photos": [_photo_result(photo) for photo in evaluation.photos],
    }
    (folder / "evaluation.json").write_text(json.dumps(result))


def _photos(photos: list[dict[str, Any]]) -> list[LabelledPhoto]:
    return [LabelledPhoto(Path(photo["path"]), [Box(*box) for box in photo["boxes"]]) for photo in photos]


def _photo_result(photo: PhotoEvaluation) -> dict[str, Any]:
    verdicts = [(judged.detection, judged.correct) for judged in photo.detections]
    return {
        "found": [[d.label, d.left, d.top, d.width, d.height, d.confidence, correct] for d, correct in verdicts],
        "missed": [[box.label, box.left, box.top, box.width, box.height] for box in photo.missed],
    }


def _end_with_parent() -> None:
    # The parent has the other end of stdin. If the parent ends for any reason, this process ends too. os.read bypasses
    # Python's buffer, whose lock would block a normal exit.
    os.read(0, 1)
    os._exit(1)


if __name__ == "__main__":
    threading.Thread(target=_end_with_parent, daemon=True).start()
    learn(Path(sys.argv[1]))
