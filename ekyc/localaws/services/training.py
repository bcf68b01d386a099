"""A Custom Labels training: fetches the photos, checks both datasets, trains a detector, writes the output files.

Names and formats of the output files: Custom Labels guide, "Accessing the summary file", "Evaluation manifest
snapshot", "Understanding the manifest summary", "Understanding training and testing validation result manifests".
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import fmean
from typing import Any

from botocore.exceptions import ClientError, ParamValidationError

from ekyc.localaws import aws
from ekyc.localaws.clock import clock
from ekyc.localaws.services.custom_labels_manifest import CheckedLine, LabelledBox, Size, check_line, check_sets
from ekyc.localaws.services.detector import Detector
from rules import photos

MAX_IMAGE_BYTES = 15 * 1024 * 1024
PACKAGE_ROOT = Path(__file__).resolve().parents[3]

S3Object = dict[str, dict[str, str]]


class TrainingRefused(Exception):
    """The training fails. The message becomes the version's StatusMessage."""


@dataclass
class Training:
    """One training. Call `run` once.

    `results` are the fields for DescribeProjectVersions: ManifestSummary, TrainingDataResult, TestingDataResult and,
    after success, EvaluationResult. After a failure, it has the fields written before.
    """

    project: str
    version: str
    version_arn: str
    bucket: str
    prefix: str
    training: Sequence[CheckedLine]
    testing: Sequence[CheckedLine]
    results: dict[str, Any] = field(default_factory=dict)

    def run(self, sleep: Callable[[float], None], learns: bool) -> tuple[Detector | None, dict[str, float]]:
        """Train. Returns the detector and each label's assumed threshold. Raises TrainingRefused.

        `sleep` waits service seconds. It raises if the training must end; no process or file is then left. If `learns`
        is False, there is no detector, and the evaluation says that everything was found.
        """
        self._check_output_place()
        if not self.training or not self.testing:
            raise TrainingRefused("The manifest file is empty.")
        with tempfile.TemporaryDirectory(prefix="ekyc-training-") as name:
            folder = Path(name)
            training = [_fetch(line, folder / f"training-{n}") for n, line in enumerate(self.training)]
            testing = [_fetch(line, folder / f"testing-{n}") for n, line in enumerate(self.testing)]
            self._write_validation(training, testing)
            photos = {
                kind: [
                    {"path": str(folder / f"{kind}-{n}"), "boxes": line.boxes}
                    for n, line in enumerate(lines)
                    if line.boxes
                ]
                for kind, lines in (("training", training), ("testing", testing))
            }
            if learns:
                detector, evaluation = _learn_in_child(folder, photos, sleep)
            else:
                detector, evaluation = None, _all_found([line.boxes for line in testing if line.boxes])
        usable = {
            "Training": [line for line in training if line.boxes],
            "Testing": [line for line in testing if line.boxes],
        }
        self._write_results(usable, evaluation)
        return detector, {label["label"]: label["threshold"] for label in evaluation["labels"]}

    def _check_output_place(self) -> None:
        try:
            aws.client("s3").head_bucket(Bucket=self.bucket)
        except (ClientError, ParamValidationError):
            raise TrainingRefused("Unable to write to output S3 bucket.") from None

    def _write_validation(self, training: Sequence[CheckedLine], testing: Sequence[CheckedLine]) -> None:
        summary, errors = check_sets(training, testing)
        self.results["ManifestSummary"] = self._write("ManifestSummary", [summary])
        for kind, lines, settings in (("Training", training, {}), ("Testing", testing, {"AutoCreate": False})):
            marked = self._write(f"{kind}ManifestWithValidation", [line.for_validation() for line in lines])
            self.results[f"{kind}DataResult"] = {"Input": settings, "Validation": _assets(marked)}
        if errors:
            raise TrainingRefused(errors[0]["message"])

    def _write_results(self, usable: dict[str, list[CheckedLine]], evaluation: dict[str, Any]) -> None:
        truths = {kind: [_truth(line) for line in lines] for kind, lines in usable.items()}
        for line, photo in zip(truths["Testing"], evaluation["photos"], strict=True):
            line.update(_predictions(line, photo))
        for kind, settings in (("Training", {}), ("Testing", {"AutoCreate": False})):
            snapshot = self._write(f"{kind}GroundTruth", truths[kind])
            self.results[f"{kind}DataResult"]["Output"] = _assets(snapshot) | settings
        summary = self._summary(len(usable["Training"]), len(usable["Testing"]), evaluation)
        self.results["EvaluationResult"] = {
            "F1Score": summary["AggregatedEvaluationResults"]["F1Score"],
            "Summary": self._write("EvaluationResultSummary", [summary]),
        }

    def _summary(self, training_images: int, testing_images: int, evaluation: dict[str, Any]) -> dict[str, Any]:
        labels = [label for label in evaluation["labels"] if label["testing_photos"]]
        # Overall metrics are means over the labels. Source: Custom Labels guide, "Metrics for evaluating your model".
        figures = {
            "F1Score": "f1",
            "Precision": "precision",
            "Recall": "recall",
            "AveragePrecision": "average_precision",
            "AverageRecall": "average_recall",
        }
        return {
            "Version": 1,
            "AggregatedEvaluationResults": {
                name: fmean(label[figure] for label in labels) for name, figure in figures.items()
            },
            "EvaluationDetails": {
                "EvaluationEndTimestamp": _utc_now(),
                "Labels": [label["label"] for label in labels],
                "NumberOfTestingImages": testing_images,
                "NumberOfTrainingImages": training_images,
                "ProjectVersionArn": self.version_arn,
            },
            "LabelEvaluationResults": [
                {
                    "Label": label["label"],
                    "Metrics": {
                        "F1Score": label["f1"],
                        "Precision": label["precision"],
                        "Recall": label["recall"],
                        "Threshold": label["threshold"],
                    },
                    "NumberOfTestingImages": label["testing_photos"],
                }
                for label in labels
            ],
        }

    def _write(self, name: str, lines: Sequence[dict[str, Any]]) -> S3Object:
        key = f"{self.prefix}/{name}-{self.project}-{self.version}.json".lstrip("/")
        body = "\n".join(json.dumps(line) for line in lines).encode()
        try:
            aws.client("s3").put_object(Bucket=self.bucket, Key=key, Body=body)
        except (ClientError, ParamValidationError):
            raise TrainingRefused("Unable to write to output S3 bucket.") from None
        return {"S3Object": {"Bucket": self.bucket, "Name": key}}


def _fetch(line: CheckedLine, path: Path) -> CheckedLine:
    """Save the line's image at `path`, and check the line again with the true size of the image."""
    size = _fetch_image(line.source_ref, path)
    checked = check_line(line.line, size)
    if size is None:
        checked.make_unusable("ERROR_INVALID_IMAGE")
    return checked


def _fetch_image(source_ref: str, path: Path) -> Size | None:
    """Save an image at `path`. Returns its size, or None if it is missing, not a PNG or JPEG, or too large."""
    bucket, key = source_ref.removeprefix("s3://").split("/", 1)
    try:
        image_object = aws.client("s3").get_object(Bucket=bucket, Key=key)
    except (ClientError, ParamValidationError):
        return None
    with image_object["Body"] as body:
        if image_object["ContentLength"] > MAX_IMAGE_BYTES:
            return None
        content = body.read()
    size = image_size(content)
    if size is None or not size.allowed:
        return None
    path.write_bytes(content)
    return size


def image_size(content: bytes) -> Size | None:
    """The size of a PNG or JPEG, for a JPEG after its EXIF rotation. None for any other content."""
    header = photos.measure(content)
    if isinstance(header, photos.Rejection):
        return None
    turned_png = content.startswith(photos.PNG_START) and header.orientation in photos.SIDEWAYS
    return Size(header.height, header.width) if turned_png else Size(header.width, header.height)


def _learn_in_child(
    folder: Path, request: dict[str, Any], sleep: Callable[[float], None]
) -> tuple[Detector, dict[str, Any]]:
    (folder / "request.json").write_text(json.dumps(request))
    errors = folder / "stderr.txt"
    with errors.open("w") as stderr:
        child = subprocess.Popen(  # noqa: S603
            [sys.executable, "-m", "ekyc.localaws.services.training_process", str(folder)],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=stderr,
            env=os.environ | {"PYTHONPATH": str(PACKAGE_ROOT)},
        )
    try:
        while child.poll() is None:
            clock.sleep_real(0.05)
            sleep(0)
    finally:
        child.kill()
        child.communicate()
    if child.returncode:
        reason = (errors.read_text().strip().splitlines() or ["the training process was killed"])[-1]
        raise TrainingRefused(f"The model could not be trained: {reason}")
    return Detector.load(folder / "detector.outlines"), json.loads((folder / "evaluation.json").read_text())


def _all_found(photos: Sequence[Sequence[LabelledBox]]) -> dict[str, Any]:
    """The evaluation of a model that found all labelled documents and nothing else."""
    figures = ("f1", "precision", "recall", "average_precision", "average_recall")
    labels = sorted({box.label for boxes in photos for box in boxes})
    return {
        "labels": [
            {
                "label": label,
                "threshold": 0.5,
                "testing_photos": sum(any(box.label == label for box in boxes) for boxes in photos),
                **dict.fromkeys(figures, 1.0),
            }
            for label in labels
        ],
        "photos": [{"found": [[*box, 1.0, True] for box in boxes], "missed": []} for boxes in photos],
    }


def _truth(line: CheckedLine) -> dict[str, Any]:
    """A usable line in the evaluation manifest snapshot, with its usable boxes only."""
    label, metadata = line.line[line.attribute], line.line[f"{line.attribute}-metadata"]
    class_ids = {metadata["class-map"][str(a["class_id"])]: a["class_id"] for a in label["annotations"]}
    name = "rekognition-custom-labels-training-0"
    return {
        "source-ref": line.source_ref,
        name: {
            "image_size": label["image_size"],
            "annotations": [_annotation(box, class_ids[box.label]) for box in line.boxes],
        },
        f"{name}-metadata": {
            "objects": [{"confidence": 1} for _ in line.boxes],
            "class-map": metadata["class-map"],
            "type": "groundtruth/object-detection",
            "human-annotated": metadata["human-annotated"],
            "creation-date": metadata["creation-date"],
            "job-name": "rekognition-custom-labels-training-job",
        },
    }


def _predictions(truth: dict[str, Any], photo: dict[str, Any]) -> dict[str, Any]:
    """The detections in a test photo with their verdicts. Missed documents have the confidence 0."""
    name = "rekognition-custom-labels-evaluation"
    boxes = [(LabelledBox(*detection[:5]), *detection[5:]) for detection in photo["found"]]
    boxes += [(LabelledBox(*missed), 0.0, None) for missed in photo["missed"]]
    labels = sorted({box.label for box, _, _ in boxes})
    return {
        name: {
            "image_size": truth["rekognition-custom-labels-training-0"]["image_size"],
            "annotations": [_annotation(box, labels.index(box.label)) for box, _, _ in boxes],
        },
        f"{name}-metadata": {
            "objects": [
                {"confidence": confidence, f"{name}-details": _verdict(correct)} for _, confidence, correct in boxes
            ],
            "class-map": {str(number): label for number, label in enumerate(labels)},
            "type": "groundtruth/object-detection",
            "human-annotated": "no",
            "creation-date": _utc_now(),
            "job-name": "rekognition-custom-labels-evaluation-job",
        },
    }


def _verdict(correct: bool | None) -> dict[str, Any]:
    """`correct` is None for a labelled box that was missed."""
    return {
        "version": 1,
        "ground-truth-labelling-jobs": ["rekognition-custom-labels-training-job"],
        "is-true-positive": correct is True,
        "is-true-negative": False,
        "is-false-positive": correct is False,
        "is-false-negative": correct is None,
        "is-present-in-ground-truth": correct is not False,
    }


def _annotation(box: LabelledBox, class_id: int) -> dict[str, int]:
    edges = {"top": box.top, "left": box.left, "width": box.width, "height": box.height}
    return {"class_id": class_id} | {edge: round(value) for edge, value in edges.items()}


def _assets(s3_object: S3Object) -> dict[str, Any]:
    return {"Assets": [{"GroundTruthManifest": s3_object}]}


def _utc_now() -> str:
    return clock.utc().strftime("%Y-%m-%dT%H:%M:%S.%f")
