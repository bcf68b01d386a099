"""The stages from dataset to live model as the state machine calls them: JSON in, JSON out, the record beside it."""

import hashlib
import importlib
import io
import json
from typing import Any

import pytest

from pipeline.errors import AccessDenied, LabelsInvalid, StageFault, Throttled, UnexpectedAnswer
from pipeline.jobs import Jobs, now_ms, public_attributes
from pipeline.manifests import Photo, photo_line, unix_ms
from rules.states import Status
from tests.unit.aws_fakes import ACCOUNT, FakeRekognition, FakeSageMaker, FakeStepFunctions, client
from tests.unit.conftest import BUCKET, TABLE
from tests.unit.test_outcomes import MACHINE, LambdaContext

PROJECT, MODEL = "/ekyc-training/rekognition-project-arn", "/ekyc-training/rekognition-project-version-arn"
ENVIRONMENT = {
    "JOBS_TABLE": TABLE,
    "BUCKET": BUCKET,
    "WORK_TEAM_ARN": f"arn:aws:sagemaker:us-east-1:{ACCOUNT}:workteam/private-crowd/checkers",
    "LABELLING_ROLE_ARN": f"arn:aws:iam::{ACCOUNT}:role/labelling",
    "WORKERS_PER_IMAGE": "1",
    "PROJECT_PARAMETER": PROJECT,
    "MODEL_PARAMETER": MODEL,
    "INFERENCE_UNITS": "1",
    "MIN_F1": "0.8",
    "MIN_LABEL_F1": "0.5",
    "MAX_F1_DROP": "0.05",
    "STOP_PREVIOUS_MODEL": "true",
    "KMS_KEY_ARN": "",
    "COST_TAGS": "team=kyc",
    "MAX_UNMATCHED_SHARE": "0.05",
    "ANSWERS_PER_PHOTO": "1",
    "BLIND_SHARE": "0",
    "REVIEW_SHARE": "0",
    "PROPOSALS": "true",
    "RETENTION_DAYS": "180",
    "NOTIFICATIONS_TOPIC": f"arn:aws:sns:us-east-1:{ACCOUNT}:outcomes",
}


class Machine:
    """Calls stages by their module's name, each loaded anew with its environment."""

    def __init__(self, jobs: Jobs, s3: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        self.jobs, self.s3 = jobs, s3
        self.rekognition, self.ground_truth, self.executions = FakeRekognition(), FakeSageMaker(), FakeStepFunctions()
        self.ssm = client("ssm")
        client("sns").create_topic(Name="outcomes")
        for name in (PROJECT, MODEL):
            self.ssm.put_parameter(Name=name, Value="default", Type="String")
        for name, value in ENVIRONMENT.items():
            monkeypatch.setenv(name, value)
        self.id = jobs.create().id
        self.executions.start_execution(MACHINE, self.id, "{}")

    def call(self, module: str, **arguments: Any) -> dict[str, Any]:
        """The function's answer as the state machine gets it: through JSON."""
        function = importlib.reload(importlib.import_module(module))
        answer = function.handler(json.loads(json.dumps({"jobId": self.id, **arguments})), LambdaContext())
        return json.loads(json.dumps(answer))

    def shown(self) -> dict[str, Any]:
        return public_attributes(self.jobs.get(self.id))


@pytest.fixture
def machine(jobs: Jobs, s3: Any, monkeypatch: pytest.MonkeyPatch) -> Machine:
    ready = Machine(jobs, s3, monkeypatch)
    jobs.move(ready.id, Status.CHECKING_IMAGES)
    return ready


def start_training(machine: Machine) -> None:
    """The stage in a project of its own."""
    project = machine.rekognition.create_project("p")["ProjectArn"]
    machine.call("stages.start_training", projectArn=project, versionName=machine.id)


def put_manifests(machine: Machine) -> dict[str, Any]:
    """The manifests of a job with one training photo, as the state machine passes them."""
    photo, etag = f"images/{machine.id}/1.jpg", hashlib.md5(b"x").hexdigest()  # noqa: S324 - S3's ETag is an MD5
    machine.s3.put_object(Bucket=BUCKET, Key=photo, Body=b"x")
    line = photo_line(Photo(f"s3://{BUCKET}/{photo}", etag, 640, 480, etag, written(machine, photo), 4.0, 0.5)).encode()
    manifests: dict[str, Any] = {}
    for name, file in (("images", "input"), ("train", "train"), ("test", "test")):
        key = f"manifests/{machine.id}/{file}.manifest"
        machine.s3.put_object(Bucket=BUCKET, Key=key, Body=line)
        manifests[f"{name}Manifest"] = f"s3://{BUCKET}/{key}"
        manifests[f"{name}Sha256"] = hashlib.sha256(line).hexdigest()
        manifests[f"{name}Written"] = written(machine, key)
    return manifests


def written(machine: Machine, key: str) -> int:
    return unix_ms(machine.s3.head_object(Bucket=BUCKET, Key=key)["LastModified"])


def test_from_labels_to_a_live_model(machine: Machine) -> None:
    """Every stage with the payloads that the state machine gives, and what the API shows after each."""
    wait = {"poll": 1, "waitingSince": now_ms(), "deadlineSeconds": 7200}
    version = {"versionName": machine.id}

    # Given photos that are checked: labels are requested and made
    machine.executions.tokens.add("token")
    manifest = f"s3://{BUCKET}/manifests/{machine.id}/input.manifest"
    machine.call(
        "stages.request_labels",
        provider="ground-truth",
        imagesManifest=manifest,
        documentTypes=["ID_KTP"],
        taskToken="token",
        requestedAt="2999-01-01T00:00:00.000Z",
        deadlineSeconds=2678400,
        redrives=0,
    )
    assert machine.shown()["status"] == "Labelling"
    machine.ground_truth.finish(f"{machine.id}-1", "Completed", labelled=90)
    resume = importlib.reload(importlib.import_module("events.resume_labelling"))
    resume.handler({"resources": [machine.shown()["labellingJobArn"]]}, LambdaContext())
    assert json.loads(machine.executions.answers["token"]["output"])["labelled"] == 90

    # When the datasets are created and become ready
    created = machine.call(
        "stages.create_datasets",
        trainManifest=f"s3://{BUCKET}/train.manifest",
        testManifest=f"s3://{BUCKET}/test.manifest",
    )
    datasets = {name: created[name] for name in ("trainDatasetArn", "testDatasetArn")}
    checked = machine.call("stages.check_datasets", **datasets, **wait)
    assert checked == {"ready": False, "trainStatus": "CREATE_IN_PROGRESS", "testStatus": "CREATE_IN_PROGRESS"}
    assert machine.shown()["datasetCreated"] is False
    for arn in datasets.values():
        machine.rekognition.dataset(arn)["Status"] = "CREATE_COMPLETE"
    assert machine.call("stages.check_datasets", **datasets, **wait)["ready"] is True
    shown = machine.shown()
    assert (shown["status"], shown["datasetCreated"]) == ("CreatingDataset", True)
    assert shown["datasetArn"] == created["trainDatasetArn"]

    # And the model is trained
    project = {"projectArn": created["projectArn"]}
    started = machine.call("stages.start_training", **project, **version)
    assert started["versionName"] == machine.id
    assert machine.call("stages.check_training", **project, **version, **wait)["completed"] is False
    assert machine.shown()["detailedStatus"] == "Training: poll 1, IN_PROGRESS"
    summary = {
        "AggregatedEvaluationResults": {"F1Score": 0.97, "Precision": 0.96, "Recall": 0.98},
        "EvaluationDetails": {"NumberOfTestingImages": 2},
        "LabelEvaluationResults": [],
    }
    machine.s3.put_object(Bucket=BUCKET, Key="summary.json", Body=json.dumps(summary))
    machine.rekognition.versions[machine.id] |= {
        "Status": "TRAINING_COMPLETED",
        "BillableTrainingTimeInSeconds": 3600,
        "EvaluationResult": {"F1Score": 0.97, "Summary": {"S3Object": {"Bucket": BUCKET, "Name": "summary.json"}}},
    }
    assert machine.call("stages.check_training", **project, **version, **wait)["completed"] is True

    # And found good enough
    model = {**project, "projectVersionArn": started["projectVersionArn"]}
    bars = {"minF1": 0.8, "minLabelF1": 0.5, "maxF1Drop": 0.05}
    lists = {"imagesPerType": [], **put_manifests(machine), "outlines": {"error": "AccessDenied"}}
    evaluated = machine.call("stages.evaluate_model", **model, **version, **bars, **lists)
    assert (evaluated["passed"], evaluated["f1"], evaluated["liveModel"]) == (True, 0.97, None)
    assert machine.shown()["outlines"] == {"error": "AccessDenied"}

    # And started and published
    assert machine.call("stages.start_model", **model, **version) == {"status": "STARTING"}
    assert machine.call("stages.check_model", **project, **version, **wait) == {"status": "STARTING"}
    machine.rekognition.versions[machine.id]["Status"] = "RUNNING"
    assert machine.call("stages.check_model", **project, **version, **wait) == {"status": "RUNNING"}
    published = machine.call("stages.publish_model", **model, stopPrevious=True, liveModel=None, **bars)
    assert published == {
        "projectVersionArn": started["projectVersionArn"],
        "previousModel": None,
        "previousStopped": False,
    }

    # Then the parameters name the model, and the record has all steps
    value = machine.ssm.get_parameter(Name=MODEL)["Parameter"]["Value"]
    shown = machine.shown()
    assert value == shown["projectVersionArn"] == started["projectVersionArn"]
    assert (shown["status"], shown["stage"], shown["trainingSeconds"]) == ("Deploying", "Publish model", 3600)
    assert shown["metrics"]["f1"] == 0.97


@pytest.mark.parametrize(
    ("code", "status", "error"),
    [
        ("ThrottlingException", 400, Throttled),
        ("InternalServerError", 500, Throttled),
        ("AccessDeniedException", 400, AccessDenied),
    ],
)
def test_a_service_error_is_named_for_the_state_machine(
    machine: Machine, code: str, status: int, error: type[Exception]
) -> None:
    machine.rekognition.refuse_next("describe_project_versions", code, http_status=status)
    with pytest.raises(error, match=code):
        start_training(machine)


def test_a_denial_names_the_call_and_quotes_no_message(machine: Machine) -> None:
    machine.rekognition.refuse_next("describe_project_versions", "AccessDeniedException", "jane may not")
    denied = r"^DescribeProjectVersions returned AccessDeniedException\b"
    with pytest.raises(AccessDenied, match=denied) as failure:
        start_training(machine)
    assert "jane" not in str(failure.value)


def test_the_log_of_a_failed_stage_names_the_error_and_no_photo(machine: Machine, logs: io.StringIO) -> None:
    # Given supplied labels that are wrong about a photo
    machine.s3.put_object(Bucket=BUCKET, Key=f"images/{machine.id}/jane-doe.jpg", Body=b"x")
    manifest, key = f"manifests/{machine.id}/input.manifest", f"labels/{machine.id}/labels.json"
    line = photo_line(
        Photo(f"s3://{BUCKET}/images/{machine.id}/jane-doe.jpg", "x", 640, 480, "y", 1_000, 4.0, 0.5)
    ).encode()
    machine.s3.put_object(Bucket=BUCKET, Key=manifest, Body=line)
    machine.s3.put_object(Bucket=BUCKET, Key=f"manifests/{machine.id}/rejected.jsonl", Body=b"")
    image = {"id": 1, "file_name": "jane-doe.jpg", "width": 64, "height": 48}
    coco = {"images": [image], "annotations": [], "categories": [{"id": 1, "name": "ID_KTP"}]}
    machine.s3.put_object(Bucket=BUCKET, Key=key, Body=json.dumps(coco))
    # When they are imported; Then the execution's cause says where it is wrong and where the names are
    with pytest.raises(LabelsInvalid, match=r"image 1\. s3://.*/label-problems\.jsonl lists") as failure:
        machine.call(
            "stages.import_labels",
            imagesManifest=f"s3://{BUCKET}/{manifest}",
            imagesSha256=hashlib.sha256(line).hexdigest(),
            labelsKey=key,
            labelsEtag=None,
            postedBy=None,
            isResumed=False,
            documentTypes=["ID_KTP"],
        )
    assert "jane-doe" not in str(failure.value)
    # And the log has the error, the job and the stage
    (failed,) = (entry for entry in map(json.loads, logs.getvalue().splitlines()) if entry["message"] == "Stage failed")
    assert (failed["error"], failed["job_id"], failed["stage"]) == ("LabelsInvalid", machine.id, "import_labels")
    assert "jane-doe" not in logs.getvalue()


def test_the_log_of_a_refused_call_has_none_of_its_words(machine: Machine, logs: io.StringIO) -> None:
    machine.rekognition.refuse_next("describe_project_versions", "ValidationException", "jane-doe.jpg is no name")
    with pytest.raises(UnexpectedAnswer) as failure:
        start_training(machine)
    assert "UnexpectedAnswer" in logs.getvalue()
    assert "jane-doe" not in logs.getvalue() + str(failure.value)


def test_a_fault_of_a_stage_quotes_no_text(machine: Machine, logs: io.StringIO) -> None:
    # Given a stage with an unexpected exception that quotes a name
    name = 'jane "doe".jpg'

    def fail(*_args: Any, **_options: Any) -> None:
        raise KeyError(name)

    machine.rekognition.describe_project_versions = fail  # type: ignore[method-assign]
    # When it runs
    with pytest.raises(StageFault, match=r"^KeyError in start_training") as failure:
        start_training(machine)
    # Then cause and log have the exception's class, the log also its lines, and neither has the name
    assert "test_stages.py" in logs.getvalue()
    assert "jane" not in str(failure.value) + logs.getvalue()
