"""Is the trained model good enough? Its figures against the job's bars and against the model that is live now."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pipeline import models
from pipeline.errors import EvaluationMissing
from pipeline.publishing import read_parameter

TOLERANCE = 1e-9  # 0.90 - 0.05 is a little more than 0.85 in binary


@dataclass(frozen=True)
class EvaluateModel:
    """What the state `Evaluate model` asks. Figures from 0 to 1."""

    job_id: str
    project_arn: str
    project_version_arn: str
    version_name: str
    min_f1: float
    min_label_f1: float
    max_f1_drop: float


@dataclass(frozen=True)
class ModelEvaluated:
    """The decision and what it rests on.

    ``labels``: ``{label, f1, precision, recall, threshold, testingImages}`` for each document type. ``live_f1`` is None
    without a live model that can be described.
    """

    passed: bool
    f1: float
    precision: float
    recall: float
    labels: Sequence[Mapping[str, Any]]
    live_model: str | None
    live_f1: float | None
    reasons: Sequence[str]


def evaluate(
    request: EvaluateModel, *, rekognition: Any, s3: Any, ssm: Any, project_parameter: str, model_parameter: str
) -> ModelEvaluated:
    """Read the model's evaluation summary and decide.

    Raises:
        EvaluationMissing: the model has no summary, or one without the figures.
    """
    figures, labels = _figures(request, rekognition, s3)
    live_model = read_parameter(model_parameter, ssm)
    if live_model == request.project_version_arn:
        live_model = None
    live_f1 = None
    if live_model:
        live_project = read_parameter(project_parameter, ssm)
        version = models.describe(live_project, models.version_name(live_model), rekognition) if live_project else None
        live_f1 = (version or {}).get("EvaluationResult", {}).get("F1Score")
    reasons = _shortfalls(request, figures["F1Score"], labels, live_f1)
    return ModelEvaluated(
        passed=not reasons,
        f1=figures["F1Score"],
        precision=figures["Precision"],
        recall=figures["Recall"],
        labels=labels,
        live_model=live_model,
        live_f1=live_f1,
        reasons=reasons,
    )


def _figures(request: EvaluateModel, rekognition: Any, s3: Any) -> tuple[Mapping[str, float], list[dict[str, Any]]]:
    """Overall and per-label figures of the summary file, which may hold the overall ones under ``Metrics`` or not.

    Source: Custom Labels guide, "Accessing the summary file" (its sample) and "Reference: training results summary
    file" (which nests them).
    """
    version = models.describe(request.project_arn, request.version_name, rekognition)
    location = (version or {}).get("EvaluationResult", {}).get("Summary", {}).get("S3Object")
    if not location:
        raise EvaluationMissing(f"Model version {request.version_name} has no evaluation summary.")
    summary = models.read_json(location, s3)
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


def _shortfalls(
    request: EvaluateModel, f1: float, labels: Sequence[Mapping[str, Any]], live_f1: float | None
) -> list[str]:
    """Why the model must not go live, in words; empty when it may."""
    reasons = []
    if f1 < request.min_f1:
        reasons.append("F1 {} is below the bar of {}".format(*_digits(f1, request.min_f1)))
    for label in labels:
        if label["f1"] < request.min_label_f1:
            figure, bar = _digits(label["f1"], request.min_label_f1)
            reasons.append(f"F1 {figure} of {label['label']} is below the bar of {bar} for each document type")
    if live_f1 is not None and f1 < live_f1 - request.max_f1_drop - TOLERANCE:
        figure, live = _digits(f1, live_f1)
        reasons.append(f"F1 {figure} is more than {request.max_f1_drop:g} below the live model's {live}")
    return reasons


def _digits(figure: float, bar: float) -> tuple[str, str]:
    """Both with two decimals, or with as many as it takes to tell them apart."""
    for decimals in range(2, 17):
        if f"{figure:.{decimals}f}" != f"{bar:.{decimals}f}":
            break
    return f"{figure:.{decimals}f}", f"{bar:.{decimals}f}"
