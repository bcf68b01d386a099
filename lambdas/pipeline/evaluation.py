"""Compares the figures of the trained model with the bars and the live model's F1, and decides whether it passes."""

from collections import Counter
from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson
from aws_lambda_powertools import Logger

from pipeline import models
from pipeline.checked_photos import DELETED, REPLACED, compare
from pipeline.clients import clients
from pipeline.errors import EvaluationMissing, PhotosChanged, UnexpectedAnswer
from pipeline.manifests import ManifestReader, read_photos
from pipeline.publishing import read_parameter
from rules import doubt
from rules.bars import Bars
from rules.doubt import Doubt
from rules.lines import Unusable, read_lines
from rules.words import counted

SAME_F1 = 0.001  # DescribeProjectVersions rounds: its F1 is a float of four bytes
EVALUATION = "rekognition-custom-labels-evaluation"  # the attribute with the detections in the test photos
logger = Logger(child=True)
TOLERANCE = 1e-9  # 0.90 - 0.05 is slightly more than 0.85 in binary floating point


@dataclass(frozen=True)
class EvaluateModel:
    """The request of the state `Evaluate model`. F1 figures are from 0 to 1.

    Each manifest is an S3 URI, with the SHA-256 (hex) and the time (Unix ms) that its stage returned.
    ``images_per_type`` is from Prepare datasets. ``outlines`` is the result of Learn outlines, or has the ``error``
    that the state machine caught.
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
    images_per_type: Sequence[Mapping[str, Any]]
    outlines: Mapping[str, Any]


@dataclass(frozen=True)
class ModelEvaluated:
    """The decision, the figures, and the bars that applied.

    ``labels`` has ``{label, f1, precision, recall, threshold, testingImages, intervals}`` for each document type.
    ``intervals`` has ``{low, high}``, the ends of the 95 % interval, by ``f1``, ``precision`` and ``recall``; None if
    Rekognition's results for each test photo do not give the figures of its summary. ``in_words`` is F1 with its
    interval. ``live_f1`` is None if there is no live model, or if Rekognition has no figures for it. ``reasons`` has a
    sentence for each missed bar.
    """

    passed: bool
    f1: float
    precision: float
    recall: float
    intervals: Mapping[str, Any] | None
    in_words: str
    labels: Sequence[Mapping[str, Any]]
    live_model: str | None
    live_f1: float | None
    reasons: Sequence[str]
    min_f1: float
    min_label_f1: float
    max_f1_drop: float


def require_unchanged(request: EvaluateModel, *, bucket: str) -> None:
    """Check that no manifest and no photo of the datasets was replaced, not even temporarily.

    If none was, Rekognition trained on the manifests that the stages wrote and on the photos that they checked.

    Raises:
        PhotosChanged: photos were replaced or deleted. The cause has their number.
        ManifestChanged: a manifest was changed or written again after its stage wrote it.
        UnexpectedAnswer: a manifest is not the job's.
    """
    own = f"s3://{bucket}/manifests/{request.job_id}"
    manifests = (request.images_manifest, request.train_manifest, request.test_manifest)
    if manifests != tuple(f"{own}/{name}.manifest" for name in ("input", "train", "test")):
        # The input of an execution that was started without the API could name an empty manifest, which would pass.
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
            f"{counts[DELETED]} deleted after their check. The model does not go live. Upload the photos to a new job, "
            "and do not upload any after its start."
        )


def _changes(lines: Iterable[tuple[int, str | Unusable]], changes: Mapping[str, Unusable]) -> Iterator[Unusable]:
    """The changes of the photos in a dataset's manifest."""
    for _, text in lines:
        change = changes.get(orjson.loads(text)["source-ref"])  # type: ignore[arg-type]
        if change:
            yield change


def evaluate(request: EvaluateModel, *, floors: Bars, project_parameter: str, model_parameter: str) -> ModelEvaluated:
    """Read the model's evaluation summary and decide whether the model passes.

    ``floors`` are the deployment's bars. A bar of the job applies only if it is stricter, so that an execution that was
    started without the API cannot lower the bars.

    Raises:
        EvaluationMissing: the model has no summary, or the summary lacks figures or is not Rekognition's.
        UnexpectedAnswer: a bar of the job is not a number, or the model is not the job's.
    """
    bars = _bars(request).raised_to(floors)
    version = models.describe(request.project_arn, request.version_name) or {}
    _require_own_model(request, version)
    figures, labels, test_photos = _figures(version)
    _require_own_figures(request, version, figures, labels)
    intervals = _add_intervals(request, version, figures, labels)
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
        intervals=intervals,
        in_words=doubt.sentence(test_photos, figures["F1Score"], intervals["f1"] if intervals else None),
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
        # Without the values, because the input of an execution that was started without the API may have any text.
        raise UnexpectedAnswer("minF1, minLabelF1 and maxF1Drop of the execution's input must be numbers.")
    return bars


def _require_own_model(request: EvaluateModel, version: Mapping[str, Any]) -> None:
    """Check that the model is the job's, and that its figures are those of the version ``version``.

    The input of an execution that was started without the API could have the ARN of one model and the version name of
    another.
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
    """Check that Rekognition wrote the summary file in the bucket.

    Its F1 must be the one in DescribeProjectVersions, and it must have figures for each document type of the datasets.
    """
    f1 = version["EvaluationResult"].get("F1Score")
    if f1 is None or abs(f1 - figures["F1Score"]) > SAME_F1:
        raise EvaluationMissing(
            f"The evaluation summary has the F1 {figures['F1Score']}, but DescribeProjectVersions has {f1}. "
            "Rekognition did not write this file."
        )
    trained = {entry["label"] for entry in request.images_per_type if entry["images"]}
    if missing := trained - {label["label"] for label in labels}:
        raise EvaluationMissing(f"The evaluation summary lacks figures for {counted(len(missing), 'document type')}.")


def _figures(version: Mapping[str, Any]) -> tuple[Mapping[str, float], list[dict[str, Any]], int | None]:
    """Read the overall figures, those of each label and the number of test photos from the summary file.

    The number is None if the summary has none: no figure depends on it.

    The overall figures may or may not be under ``Metrics``: AWS's pages differ. Sources: Custom Labels guide,
    "Accessing the summary file"; Custom Labels guide, "Reference: training results summary file".
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
        figures = {name: overall[name] for name in ("F1Score", "Precision", "Recall")}
        return figures, labels, summary.get("EvaluationDetails", {}).get("NumberOfTestingImages")
    except (KeyError, TypeError, AttributeError) as error:
        place = f"s3://{location['Bucket']}/{location['Name']}"
        raise EvaluationMissing(f"The evaluation summary {place} lacks figures: {error}.") from error


def _add_intervals(
    request: EvaluateModel,
    version: Mapping[str, Any],
    figures: Mapping[str, float],
    labels: Sequence[dict[str, Any]],
) -> dict[str, dict[str, float]] | None:
    """Add the intervals to each of ``labels``, and return those of the overall figures.

    The intervals come from the detections in each test photo. They hold only if these detections give the figures of
    the summary: the guide does not say whether Rekognition judges them at the summary's thresholds.
    """
    overall, by_type = _doubts(request, version)
    wholes = [(overall, figures["F1Score"]), *((by_type.get(label["label"]), label["f1"]) for label in labels)]
    agree = all(doubted and abs(doubted.figures["f1"] - f1) <= SAME_F1 for doubted, f1 in wholes)
    if not agree:
        logger.warning("No intervals: the results of the test photos are missing or do not give the summary's figures")
    for label in labels:
        label["intervals"] = _intervals(by_type[label["label"]]) if agree else None
    return _intervals(overall) if overall and agree else None


def _intervals(doubted: Doubt) -> dict[str, dict[str, float]]:
    return {name: {"low": interval.low, "high": interval.high} for name, interval in doubted.intervals.items()}


def _doubts(request: EvaluateModel, version: Mapping[str, Any]) -> tuple[Doubt | None, dict[str, Doubt]]:
    """The doubt in the overall figures and in those of each type. None and nothing without results of test photos."""
    assets = version.get("TestingDataResult", {}).get("Output", {}).get("Assets")
    location = assets and assets[0].get("GroundTruthManifest", {}).get("S3Object")
    if not location:
        return None, {}
    try:
        photos = _results(location)
    except (KeyError, TypeError, ValueError, AttributeError, clients.s3.exceptions.NoSuchKey):
        return None, {}
    images = ManifestReader(request.images_manifest, request.images_sha256, request.images_written)
    groups: dict[Hashable, Counter[tuple[str, int]]] = {}
    for photo in read_photos(images):
        if photo.source_ref in photos:
            group = photo.source_ref if photo.group is None else photo.group
            groups.setdefault(group, Counter()).update(photos.pop(photo.source_ref))
    if photos:
        return None, {}  # a photo that is not the job's
    return doubt.assess(map(_by_type, groups.values()), request.job_id)


def _by_type(counts: Mapping[tuple[str, int], int]) -> dict[str, tuple[int, int, int]]:
    return {
        name: (counts.get((name, 0), 0), counts.get((name, 1), 0), counts.get((name, 2), 0))
        for name in {name for name, _ in counts}
    }


def _results(location: Mapping[str, str]) -> dict[str, Counter[tuple[str, int]]]:
    """The verdicts on the detections in each test photo, by its S3 URI: type and 0 found, 1 false, 2 missed.

    Source: Custom Labels guide, "Evaluation manifest snapshot".
    """
    verdicts = ("is-true-positive", "is-false-positive", "is-false-negative")
    photos = {}
    body = clients.s3.get_object(Bucket=location["Bucket"], Key=location["Name"])["Body"]
    for _, text in read_lines(body):
        line = orjson.loads(text)  # type: ignore[arg-type]
        metadata = line[f"{EVALUATION}-metadata"]
        pairs = zip(line[EVALUATION]["annotations"], metadata["objects"], strict=True)
        photos[line["source-ref"]] = Counter(
            (metadata["class-map"][str(annotation["class_id"])], place)
            for annotation, detected in pairs
            for place, verdict in enumerate(verdicts)
            if detected[f"{EVALUATION}-details"][verdict]
        )
    return photos


def _shortfalls(bars: Bars, f1: float, labels: Sequence[Mapping[str, Any]], live_f1: float | None) -> list[str]:
    """A sentence for each bar that the model missed."""
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
    """Both numbers with two decimals, or with more if they would look the same."""
    for decimals in range(2, 17):
        if f"{figure:.{decimals}f}" != f"{bar:.{decimals}f}":
            break
    return f"{figure:.{decimals}f}", f"{bar:.{decimals}f}"
