"""Decides whether the trained model is good enough, by the job's bars and the live model's F1."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from pipeline import models
from pipeline.checked_photos import DELETED, REPLACED, compare
from pipeline.errors import EvaluationMissing, PhotosChanged, UnexpectedAnswer
from pipeline.manifests import ManifestReader
from pipeline.publishing import read_parameter
from rules.lines import Unusable

SAME_F1 = 0.001  # Rekognition's answer is a float of four bytes
TOLERANCE = 1e-9  # 0.90 - 0.05 is a little more than 0.85 in binary


@dataclass(frozen=True)
class EvaluateModel:
    """The request of the state `Evaluate model`. Figures from 0 to 1.

    The manifests are S3 URIs, each with the SHA-256 (hex) and the time (Unix ms) that its stage returned.
    """

    job_id: str
    project_arn: str
    project_version_arn: str
    version_name: str
    min_f1: float
    min_label_f1: float
    max_f1_drop: float
    images_manifest: str
    images_sha256: str
    images_written: int
    train_manifest: str
    train_sha256: str
    train_written: int
    test_manifest: str
    test_sha256: str
    test_written: int
    images_per_type: dict[str, int]


@dataclass(frozen=True)
class Bars:
    """The lowest F1 of the model and of each document type, and the largest drop below the live model's F1; 0 to 1."""

    min_f1: float
    min_label_f1: float
    max_f1_drop: float

    def raised_to(self, other: "Bars") -> "Bars":
        """The stricter of both, bar by bar."""
        return Bars(
            min_f1=max(self.min_f1, other.min_f1),
            min_label_f1=max(self.min_label_f1, other.min_label_f1),
            max_f1_drop=min(self.max_f1_drop, other.max_f1_drop),
        )


@dataclass(frozen=True)
class ModelEvaluated:
    """The decision, its figures, and the bars that applied.

    ``labels``: ``{label, f1, precision, recall, threshold, testingImages}`` for each document type. ``live_f1`` is None
    when there is no live model or Rekognition does not describe it.
    """

    passed: bool
    f1: float
    precision: float
    recall: float
    labels: Sequence[Mapping[str, Any]]
    live_model: str | None
    live_f1: float | None
    reasons: Sequence[str]
    min_f1: float
    min_label_f1: float
    max_f1_drop: float


def require_unchanged(request: EvaluateModel, *, bucket: str) -> None:
    """Check, after the training, that Rekognition read the manifests and photos that earlier stages wrote.

    No manifest and no photo of a dataset may have been replaced since, not even temporarily.

    Raises:
        PhotosChanged: has the number of photos, and no names.
        ManifestChanged: a manifest differs from what an earlier stage wrote, or was written again.
        UnexpectedAnswer: a manifest is not the job's own.
    """
    own = f"s3://{bucket}/manifests/{request.job_id}"
    named = (request.images_manifest, request.train_manifest, request.test_manifest)
    if named != tuple(f"{own}/{name}.manifest" for name in ("input", "train", "test")):
        # An execution started without the API could name an empty list of photos, which would pass the check.
        raise UnexpectedAnswer("The execution names a manifest that is not the job's own. Start a new job.")
    images = ManifestReader(request.images_manifest, request.images_sha256, request.images_written)
    compared = compare(images, job_id=request.job_id, bucket=bucket)
    changes = {photo.source_ref: change for photo, change in compared if change}
    train = ManifestReader(request.train_manifest, request.train_sha256, request.train_written)
    test = ManifestReader(request.test_manifest, request.test_sha256, request.test_written)
    counts = Counter(_changes(train, changes)) + Counter(_changes(test, changes))
    if counts:
        raise PhotosChanged(
            f"Of the photos that the model was trained or tested on, {counts[REPLACED]} were replaced and "
            f"{counts[DELETED]} deleted after they were checked: the model may have seen others. It does not go live. "
            "Upload the photos to a new job, and let nobody upload once it is started."
        )


def _changes(lines: Iterable[tuple[int, str | Unusable]], changes: Mapping[str, Unusable]) -> Iterator[Unusable]:
    """The changes of the photos that are in a dataset's manifest."""
    for _, text in lines:
        change = changes.get(orjson.loads(text)["source-ref"])  # type: ignore[arg-type]
        if change:
            yield change


def evaluate(request: EvaluateModel, *, floors: Bars, project_parameter: str, model_parameter: str) -> ModelEvaluated:
    """Read the model's evaluation summary and decide.

    ``floors`` are the deployment's bars. The job's bars apply only where they are stricter, so that an execution
    started without the API cannot lower the bars either.

    Raises:
        EvaluationMissing: the model has no summary, or one without the figures.
        UnexpectedAnswer: a bar of the job is not a number, or the figures belong to another model.
    """
    bars = _bars(request).raised_to(floors)
    version = models.describe(request.project_arn, request.version_name) or {}
    _require_own_model(request, version)
    figures, labels = _figures(version)
    _require_own_figures(request, version, figures, labels)
    live_model = read_parameter(model_parameter)
    if live_model == request.project_version_arn:
        live_model = None
    live_f1 = None
    if live_model:
        live_project = read_parameter(project_parameter)
        live = models.describe(live_project, models.version_name(live_model)) if live_project else None
        live_f1 = (live or {}).get("EvaluationResult", {}).get("F1Score")
    reasons = _shortfalls(bars, figures["F1Score"], labels, live_f1)
    return ModelEvaluated(
        passed=not reasons,
        f1=figures["F1Score"],
        precision=figures["Precision"],
        recall=figures["Recall"],
        labels=labels,
        live_model=live_model,
        live_f1=live_f1,
        reasons=reasons,
        min_f1=bars.min_f1,
        min_label_f1=bars.min_label_f1,
        max_f1_drop=bars.max_f1_drop,
    )


def _bars(request: EvaluateModel) -> Bars:
    bars = Bars(request.min_f1, request.min_label_f1, request.max_f1_drop)
    if not all(type(bar) in (int, float) for bar in (bars.min_f1, bars.min_label_f1, bars.max_f1_drop)):
        # Without the values: an execution started without the API may have any text there.
        raise UnexpectedAnswer("minF1, minLabelF1 and maxF1Drop of the execution's input must be numbers.")
    return bars


def _require_own_model(request: EvaluateModel, version: Mapping[str, Any]) -> None:
    """Check that the model is the job's own, and the one whose figures are read.

    An execution started without the API could name the figures of one model and the ARN of another.
    """
    arn = request.project_version_arn
    if version and (version["ProjectVersionArn"] != arn or models.job_id(arn) != request.job_id):
        raise UnexpectedAnswer("The execution names a model that is not the job's own. Start a new job.")


def _require_own_figures(
    request: EvaluateModel,
    version: Mapping[str, Any],
    figures: Mapping[str, float],
    labels: Sequence[Mapping[str, Any]],
) -> None:
    """Make sure that the summary file, which lies in the bucket, is the one that Rekognition wrote.

    Rekognition itself answers the model's F1, and each document type of the datasets must have figures.
    """
    f1 = version["EvaluationResult"].get("F1Score")
    if f1 is None or abs(f1 - figures["F1Score"]) > SAME_F1:
        raise EvaluationMissing(
            f"The evaluation summary has the F1 {figures['F1Score']}, and Rekognition answers {f1}. The file is not "
            "the one that Rekognition wrote."
        )
    trained = {name for name, images in request.images_per_type.items() if images}
    if missing := trained - {label["label"] for label in labels}:
        raise EvaluationMissing(f"The evaluation summary lacks figures of {len(missing)} document types.")


def _figures(version: Mapping[str, Any]) -> tuple[Mapping[str, float], list[dict[str, Any]]]:
    """Overall and per-label figures of the summary file. The overall figures may or may not be under ``Metrics``.

    Source: Custom Labels guide, "Accessing the summary file" (its sample) and "Reference: training results summary
    file" (which nests them).
    """
    location = version.get("EvaluationResult", {}).get("Summary", {}).get("S3Object")
    if not location:
        raise EvaluationMissing("The job's model has no evaluation summary.")
    summary = models.read_json(location)
    try:
        overall = summary["AggregatedEvaluationResults"]
        overall = overall.get("Metrics", overall)
        labels = [
            {
                "label": result["Label"],
                "f1": result["Metrics"]["F1Score"],
                "precision": result["Metrics"]["Precision"],
                "recall": result["Metrics"]["Recall"],
                "threshold": result["Metrics"]["Threshold"],
                "testingImages": result["NumberOfTestingImages"],
            }
            for result in summary["LabelEvaluationResults"]
        ]
        return {name: overall[name] for name in ("F1Score", "Precision", "Recall")}, labels
    except (KeyError, TypeError, AttributeError) as error:
        place = f"s3://{location['Bucket']}/{location['Name']}"
        raise EvaluationMissing(f"The evaluation summary {place} lacks figures: {error}.") from error


def _shortfalls(bars: Bars, f1: float, labels: Sequence[Mapping[str, Any]], live_f1: float | None) -> list[str]:
    """Why the model must not go live, in words; empty when it may."""
    reasons = []
    if f1 < bars.min_f1:
        reasons.append("F1 {} is below the bar of {}".format(*_digits(f1, bars.min_f1)))
    for label in labels:
        if label["f1"] < bars.min_label_f1:
            figure, bar = _digits(label["f1"], bars.min_label_f1)
            reasons.append(f"F1 {figure} of {label['label']} is below the bar of {bar} for each document type")
    if live_f1 is not None and f1 < live_f1 - bars.max_f1_drop - TOLERANCE:
        figure, live = _digits(f1, live_f1)
        reasons.append(f"F1 {figure} is more than {bars.max_f1_drop:g} below the live model's {live}")
    return reasons


def _digits(figure: float, bar: float) -> tuple[str, str]:
    """Both with two decimals, or with as many as make them differ."""
    for decimals in range(2, 17):
        if f"{figure:.{decimals}f}" != f"{bar:.{decimals}f}":
            break
    return f"{figure:.{decimals}f}", f"{bar:.{decimals}f}"
