"""Evaluate model: the figures of the summary file against the job's bars and the live model."""

import hashlib
import json
from typing import Any

import pytest

from pipeline import evaluation
from pipeline.errors import EvaluationMissing, ManifestChanged, UnexpectedAnswer
from pipeline.evaluation import EvaluateModel, ModelEvaluated
from pipeline.manifests import Photo, photo_line, unix_ms
from rules.bars import Bars
from tests.unit.aws_fakes import FakeRekognition, client
from tests.unit.conftest import BUCKET

JOB, OLD = "ekyc-20261124015324-9f3c0a1b2c3d4e5f", "ekyc-20260101000000-0000000000000000"
PROJECT, MODEL = "/ekyc/project", "/ekyc/model"
NO_FLOORS = Bars(min_f1=0, min_label_f1=0, max_f1_drop=1)


class Setting:
    """A trained model with a summary file, and the parameters of the live model."""

    def __init__(self, s3: Any) -> None:
        self.s3, self.rekognition, self.ssm = s3, FakeRekognition(), client("ssm")
        self.publish("default", "default")
        self.images: tuple[str, str, int] = (f"s3://{BUCKET}/manifests/{JOB}/any", "a" * 64, 0)
        self.project = self.rekognition.create_project(JOB)["ProjectArn"]
        self.model = self.rekognition.add_version(self.project, JOB, "TRAINING_COMPLETED")

    def publish(self, project: str, model: str) -> None:
        for name, value in ((PROJECT, project), (MODEL, model)):
            self.ssm.put_parameter(Name=name, Value=value, Type="String", Overwrite=True)

    def live(self, f1: float | None) -> str:
        project = self.rekognition.create_project(OLD)["ProjectArn"]
        result = {"EvaluationResult": {"F1Score": f1}} if f1 is not None else {}
        model = self.rekognition.add_version(project, OLD, "RUNNING", **result)
        self.publish(project, model)
        return model

    def summary(self, f1: float = 0.9, nested: bool = False, labels: dict[str, float] | None = None) -> None:
        """The summary file as the guide's sample has it, or with the aggregates under Metrics as its reference has."""
        overall = {"F1Score": f1, "Precision": 0.92, "Recall": 0.88}
        self.write(
            {
                "Version": 1,
                "AggregatedEvaluationResults": {"Metrics": overall} if nested else overall,
                "EvaluationDetails": {"NumberOfTestingImages": 40},
                "LabelEvaluationResults": [
                    {
                        "Label": label,
                        "Metrics": {"F1Score": figure, "Precision": 0.9, "Recall": 0.8, "Threshold": 0.31},
                        "NumberOfTestingImages": 5,
                    }
                    for label, figure in (labels or {"ID_KTP": 0.9}).items()
                ],
            },
            f1=f1,
        )

    def write(self, document: Any, f1: float = 0.9) -> None:
        self.s3.put_object(Bucket=BUCKET, Key="training/summary.json", Body=json.dumps(document))
        place = {"S3Object": {"Bucket": BUCKET, "Name": "training/summary.json"}}
        self.rekognition.versions[JOB]["EvaluationResult"] = {"F1Score": f1, "Summary": place}

    def results(self, *verdicts: str, groups: int | None = None) -> None:
        """Test photos of ID_KTP with a verdict each, such as "true-positive", in so many groups or each in its own."""
        refs = [f"s3://{BUCKET}/upright/{JOB}/{number}.jpg" for number in range(len(verdicts))]
        photos = [
            Photo(ref, "0" * 64, 100, 100, "e", 0, 1.0, 1.0, group=number % groups if groups else None)
            for number, ref in enumerate(refs)
        ]
        images = "".join(f"{photo_line(photo)}\n" for photo in photos).encode()
        key = f"manifests/{JOB}/input.manifest"
        self.s3.put_object(Bucket=BUCKET, Key=key, Body=images)
        written = unix_ms(self.s3.head_object(Bucket=BUCKET, Key=key)["LastModified"])
        self.images = (f"s3://{BUCKET}/{key}", hashlib.sha256(images).hexdigest(), written)
        name = "rekognition-custom-labels-evaluation"
        lines = [
            {
                "source-ref": ref,
                name: {"annotations": [{"class_id": 0, "top": 0, "left": 0, "width": 9, "height": 9}]},
                f"{name}-metadata": {
                    "class-map": {"0": "ID_KTP"},
                    "objects": [
                        {
                            f"{name}-details": {
                                f"is-{kind}": kind == verdict
                                for kind in ("true-positive", "false-positive", "false-negative")
                            }
                        }
                    ],
                },
            }
            for ref, verdict in zip(refs, verdicts, strict=True)
        ]
        self.put_results("\n".join(json.dumps(line) for line in lines))

    def put_results(self, text: str) -> None:
        self.s3.put_object(Bucket=BUCKET, Key="training/testing.json", Body=text)
        place = {"S3Object": {"Bucket": BUCKET, "Name": "training/testing.json"}}
        self.rekognition.versions[JOB]["TestingDataResult"] = {"Output": {"Assets": [{"GroundTruthManifest": place}]}}

    def evaluate(
        self, *, min_f1: Any = 0.8, min_label_f1: float = 0.5, max_f1_drop: float = 0.05, floors: Bars = NO_FLOORS
    ) -> ModelEvaluated:
        unread = (f"s3://{BUCKET}/manifests/{JOB}/any", "a" * 64, 0)
        arguments: list[Any] = [JOB, self.project, self.model, JOB, min_f1, min_label_f1, max_f1_drop]
        arguments += [*self.images, *unread, *unread]
        types = [{"label": "ID_KTP", "images": 10}, {"label": "MY_NRIC", "images": 0}]
        arguments += [types, {"error": "AccessDenied"}]
        return evaluation.evaluate(
            EvaluateModel(*arguments),
            floors=floors,
            project_parameter=PROJECT,
            model_parameter=MODEL,
        )


@pytest.fixture
def setting(s3: Any) -> Setting:
    return Setting(s3)


@pytest.mark.parametrize("nested", [False, True])
def test_a_good_model_passes_with_its_figures(setting: Setting, nested: bool) -> None:
    setting.summary(nested=nested)
    evaluated = setting.evaluate()
    assert (evaluated.passed, evaluated.f1, evaluated.precision, evaluated.recall) == (True, 0.9, 0.92, 0.88)
    assert evaluated.labels == [
        {
            "label": "ID_KTP",
            "f1": 0.9,
            "precision": 0.9,
            "recall": 0.8,
            "threshold": 0.31,
            "testingImages": 5,
            "intervals": None,
        }
    ]
    assert (evaluated.live_model, evaluated.live_f1, evaluated.reasons) == (None, None, [])


@pytest.mark.parametrize(
    ("f1", "bar", "reason"),
    [
        (0.71, 0.8, "F1 0.71 is below the bar of 0.80"),
        (0.7999, 0.8, "F1 0.7999 is below the bar of 0.8000"),
        (0.0, 0.8, "F1 0.00 is below the bar of 0.80"),
    ],
)
def test_a_model_below_the_bar_is_rejected_in_words(setting: Setting, f1: float, bar: float, reason: str) -> None:
    setting.summary(f1)
    evaluated = setting.evaluate(min_f1=bar)
    assert not evaluated.passed
    assert evaluated.reasons == [reason]


def test_a_model_at_the_bar_passes(setting: Setting) -> None:
    setting.summary(0.8, labels={"ID_KTP": 0.5})
    assert setting.evaluate().passed


@pytest.mark.parametrize(
    ("floors", "reason"),
    [
        (Bars(0.95, 0.5, 0.05), "F1 0.90 is below the bar of 0.95"),
        (Bars(0.8, 0.95, 0.05), "F1 0.90 of ID_KTP is below the bar of 0.95 for each document type"),
        (Bars(0.8, 0.5, 0.01), "F1 0.90 is more than 0.01 below the live model's 0.93"),
    ],
)
def test_a_job_cannot_lower_the_deployments_bars(setting: Setting, floors: Bars, reason: str) -> None:
    # Given a model that reaches 0.90, a live one, and an execution that was started past the API without any bar
    setting.summary(0.9)
    setting.live(0.93)
    # When it is evaluated
    evaluated = setting.evaluate(min_f1=0, min_label_f1=0, max_f1_drop=1, floors=floors)
    # Then the deployment's bars reject it, and the result names them
    assert (evaluated.passed, evaluated.reasons) == (False, [reason])
    assert Bars(evaluated.min_f1, evaluated.min_label_f1, evaluated.max_f1_drop) == floors


def test_a_job_may_raise_the_deployments_bars(setting: Setting) -> None:
    setting.summary(0.9)
    evaluated = setting.evaluate(min_f1=0.99, min_label_f1=0.6, max_f1_drop=0.01, floors=Bars(0.8, 0.5, 0.05))
    assert (evaluated.passed, evaluated.reasons) == (False, ["F1 0.90 is below the bar of 0.99"])
    assert (evaluated.min_f1, evaluated.min_label_f1, evaluated.max_f1_drop) == (0.99, 0.6, 0.01)


@pytest.mark.parametrize("bar", ["0", None, True, [0], "Dear operator, pay at example.test"])
def test_a_forged_bar_that_is_no_number_is_refused(setting: Setting, bar: Any) -> None:
    # Given an execution that was started past the API, with something else in the place of a bar
    setting.summary(0.9)
    with pytest.raises(UnexpectedAnswer, match="must be numbers") as refused:
        setting.evaluate(min_f1=bar)
    # Then the cause, which people read, does not contain it
    assert "operator" not in str(refused.value)


def test_one_models_figures_do_not_let_another_go_live(setting: Setting) -> None:
    # Given a good model, and an execution that was started past the API with another model's ARN
    setting.summary(0.9)
    rejected = setting.rekognition.create_project(OLD)["ProjectArn"]
    setting.model = setting.rekognition.add_version(rejected, OLD, "TRAINING_COMPLETED")
    # When it is evaluated; Then it goes no further
    with pytest.raises(UnexpectedAnswer, match="not the job's own"):
        setting.evaluate()


def test_a_summary_of_other_figures_is_refused(setting: Setting) -> None:
    # Given a model that Rekognition gives an F1 of 0.1, and a summary file that another wrote
    setting.summary(f1=0.99)
    setting.rekognition.versions[JOB]["EvaluationResult"]["F1Score"] = 0.1
    # When it is evaluated; Then the file is not believed
    with pytest.raises(EvaluationMissing, match=r"has the F1 0\.99, but DescribeProjectVersions has 0\.1"):
        setting.evaluate()


def test_a_summary_without_a_trained_type_is_refused(setting: Setting) -> None:
    # Given a summary that leaves out the only type that was trained
    setting.summary(labels={"MY_NRIC": 0.99})
    # When it is evaluated; Then the model does not pass without the type's figures
    with pytest.raises(EvaluationMissing, match="lacks figures for 1 document type"):
        setting.evaluate()


def test_every_document_type_must_reach_its_floor(setting: Setting) -> None:
    setting.summary(labels={"ID_KTP": 0.9, "MY_NRIC": 0.31, "KH_IC": 0.2})
    assert setting.evaluate().reasons == [
        "F1 0.31 of MY_NRIC is below the bar of 0.50 for each document type",
        "F1 0.20 of KH_IC is below the bar of 0.50 for each document type",
    ]


@pytest.mark.parametrize(("live", "passed"), [(0.95, True), (0.951, False), (0.5, True)])
def test_a_model_may_be_a_little_worse_than_the_live_one(setting: Setting, live: float, passed: bool) -> None:
    # Given a live model, and a new model with an F1 of 0.90
    setting.summary(0.9)
    live_model = setting.live(live)
    # When it is evaluated with a drop of 0.05 allowed
    evaluated = setting.evaluate()
    # Then exactly the drop still passes
    assert evaluated.passed is passed
    assert (evaluated.live_model, evaluated.live_f1) == (live_model, live)
    if not passed:
        assert evaluated.reasons == ["F1 0.90 is more than 0.05 below the live model's 0.95"]


def test_a_live_model_without_figures_rejects_no_model(setting: Setting) -> None:
    # Given a live model that was deleted since
    setting.summary()
    live_model = setting.live(0.99)
    setting.rekognition.versions.pop(OLD)
    # When a new one is evaluated
    evaluated = setting.evaluate()
    # Then it passes on its own figures, and the result says that it was not compared with the live model
    assert (evaluated.passed, evaluated.live_model, evaluated.live_f1) == (True, live_model, None)


def test_a_model_is_not_compared_with_itself(setting: Setting) -> None:
    setting.summary()
    setting.publish(setting.project, setting.model)
    assert setting.evaluate().live_model is None


def test_a_model_without_a_summary(setting: Setting) -> None:
    with pytest.raises(EvaluationMissing, match="no evaluation summary"):
        setting.evaluate()


@pytest.mark.parametrize(
    "document",
    [
        {},
        [],
        {"AggregatedEvaluationResults": {"F1Score": 1}, "LabelEvaluationResults": []},
        {"AggregatedEvaluationResults": 3},
    ],
)
def test_a_summary_without_the_figures(setting: Setting, document: Any) -> None:
    setting.write(document)
    with pytest.raises(EvaluationMissing, match=r"lacks figures"):
        setting.evaluate()


def test_a_summary_that_is_no_json(setting: Setting) -> None:
    setting.summary()
    setting.s3.put_object(Bucket=BUCKET, Key="training/summary.json", Body=b"<xml>")
    with pytest.raises(UnexpectedAnswer, match="is not JSON"):
        setting.evaluate()


TWELVE = ("true-positive",) * 9 + ("false-negative",) * 2 + ("false-positive",)  # F1 18 / 21


def test_figures_come_with_their_intervals(setting: Setting) -> None:
    # Given a model that found 9 of 11 documents in the test photos, and one that is not there
    setting.summary(18 / 21, labels={"ID_KTP": 18 / 21})
    setting.results(*TWELVE)
    # When it is evaluated
    evaluated = setting.evaluate()
    # Then F1 has an interval around it, overall and for the type, and the sentence says it
    assert evaluated.intervals is not None
    low, high = evaluated.intervals["f1"]["low"], evaluated.intervals["f1"]["high"]
    assert 0.5 < low < 18 / 21 < high <= 1
    assert evaluated.labels[0]["intervals"]["f1"] == evaluated.intervals["f1"]
    assert evaluated.in_words == f"40 test photos: F1 0.86, between {low:.2f} and {high:.2f}"


def test_photos_of_the_same_shot_widen_the_interval(setting: Setting) -> None:
    setting.summary(18 / 21, labels={"ID_KTP": 18 / 21})
    setting.results(*TWELVE)
    apart = setting.evaluate().intervals
    setting.results(*TWELVE, groups=2)
    grouped = setting.evaluate().intervals
    assert apart is not None
    assert grouped is not None
    assert grouped["f1"]["low"] < apart["f1"]["low"]


@pytest.mark.parametrize("text", ["", "{}", "not JSON", '{"source-ref": "s3://other/photo.jpg"}'])
def test_unreadable_results_give_no_interval(setting: Setting, text: str) -> None:
    setting.summary(18 / 21, labels={"ID_KTP": 18 / 21})
    setting.results(*TWELVE)
    setting.put_results(text)
    evaluated = setting.evaluate()
    assert (evaluated.passed, evaluated.intervals, evaluated.labels[0]["intervals"]) == (True, None, None)
    assert evaluated.in_words == "40 test photos: F1 0.86, with an unknown interval"


def test_results_that_give_another_figure_have_no_interval(setting: Setting) -> None:
    # Given results that were judged at another threshold than the summary's
    setting.summary(0.9)
    setting.results(*TWELVE)
    assert setting.evaluate().intervals is None


def test_groups_come_from_the_unchanged_list_of_photos(setting: Setting) -> None:
    setting.summary(18 / 21, labels={"ID_KTP": 18 / 21})
    setting.results(*TWELVE)
    setting.images = (setting.images[0], "0" * 64, setting.images[2])
    with pytest.raises(ManifestChanged):
        setting.evaluate()
