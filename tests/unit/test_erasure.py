"""Erasure: who may have a job erased and when, what is deleted, what stays, and what a run that broke off leaves."""

import importlib
import io
import itertools
import json
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import pytest
from botocore.exceptions import ClientError, EndpointConnectionError

from pipeline import erasure, lifecycle, outcomes
from pipeline.erasure import NotErased
from pipeline.errors import UnexpectedAnswer
from pipeline.jobs import Job, Jobs, MoveRefused, ends, erasures, notice_marks, now_ms, public_attributes, resumes
from pipeline.lifecycle import NotAllowed
from rules.states import Status
from tests.unit.aws_fakes import ACCOUNT, REGION, FakeRekognition, FakeService, store
from tests.unit.conftest import BUCKET, INDEX, TABLE
from tests.unit.test_api import MODEL, UNKNOWN, Answer, Api, execution_arn, is_problem
from tests.unit.test_outcomes import LambdaContext

AUDITOR = f"arn:aws:iam::{ACCOUNT}:user/auditor"
MINUTE_MS = 60_000


class Erasing:
    """Jobs with objects in a bucket, and the function that erases them."""

    def __init__(self, jobs: Jobs, s3: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        self.jobs, self.s3, self.rekognition = jobs, s3, FakeRekognition()
        for name, value in {"JOBS_TABLE": TABLE, "JOBS_INDEX": INDEX, "BUCKET": BUCKET}.items():
            monkeypatch.setenv(name, value)
        self.function = importlib.reload(importlib.import_module("events.erase_job"))

    def job(self, *, requested: bool = True, minutes_ago: int = 0, **objects: int) -> str:
        """A failed job with so many objects in each folder, whose erasure was asked for some time ago; its id."""
        job = self.jobs.create()
        self.jobs.move(job.id, Status.CHECKING_IMAGES)
        cause = "passport-anna.jpg has no box."
        ends.record(job.id, Status.FAILED, now_ms(), execution_arn(job.id), Error="LabelsInvalid", Cause=cause)
        for folder, count in objects.items():
            self.put(*(f"{folder}/{job.id}/passport-{number}.jpg" for number in range(count)))
        if requested:
            self.request(job.id, minutes_ago)
        return job.id

    def request(self, job_id: str, minutes_ago: int = 0) -> None:
        with pytest.MonkeyPatch.context() as earlier:
            earlier.setattr(erasures, "now_ms", lambda: now_ms() - minutes_ago * MINUTE_MS)
            erasures.add_request(self.jobs.get(job_id), AUDITOR, 100)

    def put(self, *keys: str) -> None:
        for key in keys:
            store(BUCKET, key, b"x")

    def run(self, job_id: str | None = None) -> None:
        """The function as the API calls it, or as the daily rule does."""
        self.function.handler({"jobId": job_id} if job_id else {}, LambdaContext())

    def left(self) -> list[str]:
        """The keys in the bucket."""
        pages = self.s3.get_paginator("list_objects_v2").paginate(Bucket=BUCKET)
        return [entry["Key"] for page in pages for entry in page.get("Contents", [])]

    def shown(self, job_id: str) -> dict[str, Any]:
        """The erasure as the API shows it."""
        shown: dict[str, Any] = public_attributes(self.jobs.get(job_id))["erasure"]
        return shown

    @contextmanager
    def delete_calls(self, code: Callable[[int, list[str]], str | None]) -> Iterator[None]:
        """Call ``code`` for each call of DeleteObjects, with its number from 0 and its keys.

        ``code`` returns S3's error code for all keys, or None to delete them.
        """
        numbers = itertools.count()

        def hook(params: dict[str, Any], **_: Any) -> tuple[Any, dict[str, Any]] | None:
            keys = re.findall(r"<Key>(.*?)</Key>", params["body"].decode())
            refused = code(next(numbers), keys)
            if refused is None:
                return None
            errors = [{"Key": key, "Code": refused, "Message": f"No: {key}"} for key in keys]
            return SimpleNamespace(status_code=200), {"Errors": errors, "ResponseMetadata": {"HTTPStatusCode": 200}}

        events = self.s3.meta.events
        events.register("before-call.s3.DeleteObjects", hook)
        try:
            yield
        finally:
            events.unregister("before-call.s3.DeleteObjects", hook)


@pytest.fixture
def erasing(jobs: Jobs, s3: Any, monkeypatch: pytest.MonkeyPatch) -> Erasing:
    return Erasing(jobs, s3, monkeypatch)


def test_only_the_jobs_own_folders_are_emptied(erasing: Erasing) -> None:
    # Given a job with more photos than a page has, and keys that begin alike or lie elsewhere
    job_id = erasing.job(images=2003, upright=100, labels=1, manifests=4, labelling=7, training=3)
    other = erasing.job(images=2, labels=1, requested=False)
    alike = [f"images/{job_id}0/a.jpg", f"images/{job_id}-2/a.jpg", f"images/{job_id}.jpg", f"elsewhere/{job_id}/a.jpg"]
    erasing.put(*alike)
    # When it is erased
    erasing.run(job_id)
    # Then all its objects are deleted, and no others
    assert sorted(erasing.left()) == sorted(
        [*alike, f"images/{other}/passport-0.jpg", f"images/{other}/passport-1.jpg", f"labels/{other}/passport-0.jpg"]
    )
    # And the record says what was erased, by whom and when
    shown = erasing.shown(job_id)
    assert (shown["status"], shown["requestedBy"], shown["objects"]) == ("Erased", AUDITOR, 2118)
    assert now_ms() - MINUTE_MS < shown["requestedTime"] <= shown["erasedTime"] <= now_ms() + 1
    assert "erasure" not in public_attributes(erasing.jobs.get(other))


def test_a_job_without_a_request_is_not_erased(erasing: Erasing) -> None:
    job_id = erasing.job(images=1, requested=False)
    erasing.run(job_id)
    assert erasing.left() == [f"images/{job_id}/passport-0.jpg"]


def test_a_job_without_files_can_be_erased(erasing: Erasing) -> None:
    job_id = erasing.job()
    erasing.run(job_id)
    assert (erasing.shown(job_id)["status"], erasing.shown(job_id)["objects"]) == ("Erased", 0)


def test_refused_deletions_are_an_error_with_count_and_code(erasing: Erasing, logs: io.StringIO) -> None:
    # Given that S3 denies the deletion of photos
    job_id = erasing.job(images=3, labels=2)

    def deny_photos(_number: int, keys: list[str]) -> str | None:
        return "AccessDenied" if keys[0].startswith("images/") else None

    # When the job is erased
    with erasing.delete_calls(deny_photos), pytest.raises(NotErased) as failure:
        erasing.run(job_id)
    # Then the error has their number and S3's code, and neither it nor the log a name
    assert "images/: 3 AccessDenied" in str(failure.value)
    assert "passport" not in str(failure.value) + logs.getvalue()
    # And the rest is deleted, and the job not said to be erased
    assert [key.split("/")[0] for key in erasing.left()] == ["images"] * 3
    assert (erasing.shown(job_id)["status"], erasing.shown(job_id)["objects"]) == ("Requested", 2)
    # And when S3 lets us, then the rest goes
    erasing.run(job_id)
    assert (erasing.shown(job_id)["status"], erasing.shown(job_id)["objects"]) == ("Erased", 5)
    assert erasing.left() == []


def test_throttled_deletions_are_repeated_in_the_same_run(erasing: Erasing, monkeypatch: pytest.MonkeyPatch) -> None:
    # Given that S3 is busy, twice
    waits: list[float] = []
    monkeypatch.setattr(erasure.time, "sleep", waits.append)
    job_id = erasing.job(images=1500)
    with erasing.delete_calls(lambda number, _keys: "SlowDown" if number < 2 else None):
        erasing.run(job_id)
    # Then it is asked again after a while
    assert erasing.shown(job_id)["status"] == "Erased"
    assert erasing.shown(job_id)["objects"] == 1500
    assert [wait for wait in waits if wait] == [1]


def test_s3_that_stays_busy_is_left_for_the_next_run(erasing: Erasing, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(erasure.time, "sleep", lambda _seconds: None)
    job_id = erasing.job(images=2)
    with (
        erasing.delete_calls(lambda _number, _keys: "SlowDown"),
        pytest.raises(NotErased, match="2 SlowDown"),
    ):
        erasing.run(job_id)
    assert erasing.shown(job_id)["status"] == "Requested"


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (ClientError({"Error": {"Code": "AccessDenied"}}, "DeleteObjects"), "AccessDenied"),
        (EndpointConnectionError(endpoint_url="https://s3"), "EndpointConnectionError"),
    ],
)
def test_a_call_that_fails_loses_no_other_calls_count(erasing: Erasing, error: Exception, code: str) -> None:
    # Given that one of three calls fails
    job_id = erasing.job(images=2001)

    def fail(_number: int, keys: list[str]) -> None:
        if len(keys) == 1:
            raise error

    with erasing.delete_calls(fail), pytest.raises(NotErased, match=f"1 {code}"):
        erasing.run(job_id)
    # Then the other two are counted
    assert (erasing.shown(job_id)["status"], erasing.shown(job_id)["objects"]) == ("Requested", 2000)


def test_an_interrupted_run_is_continued(erasing: Erasing) -> None:
    # Given a run that dies after its first page
    job_id = erasing.job(images=2500, labels=1)

    def die(number: int, _keys: list[str]) -> None:
        if number == 1:
            raise MemoryError

    with erasing.delete_calls(die), pytest.raises(MemoryError):
        erasing.run(job_id)
    assert 0 < len(erasing.left()) < 2501
    assert erasing.shown(job_id)["status"] == "Requested"
    # When Lambda tries again
    erasing.run(job_id)
    # Then the rest goes, and what went before is counted with it
    assert erasing.left() == []
    assert erasing.shown(job_id)["status"] == "Erased"
    assert 0 < erasing.shown(job_id)["objects"] <= 2501


def test_the_datasets_go_and_the_model_stays(erasing: Erasing) -> None:
    # Given a project with both datasets and a model, of which the record knows nothing
    job_id = erasing.job()
    rekognition = erasing.rekognition.client()
    project = rekognition.create_project(ProjectName=job_id)["ProjectArn"]
    source = {"GroundTruthManifest": {"S3Object": {"Bucket": BUCKET, "Name": "x"}}}
    arns = [
        rekognition.create_dataset(ProjectArn=project, DatasetType=kind, DatasetSource=source)["DatasetArn"]
        for kind in ("TRAIN", "TEST")
    ]
    erasing.rekognition.add_version(project, job_id, "RUNNING")
    # When the second dataset is still being made, then the run fails, to be tried again
    erasing.rekognition.dataset(arns[0])["Status"] = "CREATE_COMPLETE"
    with pytest.raises(UnexpectedAnswer, match="ResourceInUseException"):
        erasing.run(job_id)
    assert erasing.shown(job_id)["status"] == "Requested"
    # When it is made, and the other is gone in the moment that it is to be deleted
    erasing.rekognition.dataset(arns[1])["Status"] = "CREATE_COMPLETE"
    erasing.rekognition.refuse_next("delete_dataset", "ResourceNotFoundException")
    erasing.run(job_id)
    # Then the erasure is done, and the model is as it was
    assert erasing.shown(job_id)["status"] == "Erased"
    assert erasing.rekognition.dataset(arns[0])["Status"] == "DELETE_IN_PROGRESS"
    assert [one["Status"] for one in erasing.rekognition.versions.values()] == ["RUNNING"]


def test_the_models_go_when_a_request_asks_for_that(erasing: Erasing) -> None:
    # Given a job with two models, one of which has been started since the request
    job_id = erasing.job(images=1, requested=False)
    project = erasing.rekognition.client().create_project(ProjectName=job_id)["ProjectArn"]
    for name, status in ((job_id, "TRAINING_FAILED"), (f"{job_id}-2", "RUNNING")):
        erasing.rekognition.add_version(project, name, status)
    erasures.add_request(erasing.jobs.get(job_id), AUDITOR, 100, delete_model=True)
    # And a later request that does not ask for it
    erasing.request(job_id)
    # When the function runs, then it fails, to be tried again
    with pytest.raises(UnexpectedAnswer, match="ResourceInUseException"):
        erasing.run(job_id)
    assert "modelDeletedTime" not in erasing.shown(job_id)
    # When the model is stopped, and once more
    erasing.rekognition.versions[f"{job_id}-2"]["Status"] = "STOPPED"
    erasing.run(job_id)
    shown = erasing.shown(job_id)
    erasing.run(job_id)
    # Then both models are gone, and the record says so
    assert {one["Status"] for one in erasing.rekognition.versions.values()} == {"DELETING"}
    assert shown["status"] == "Erased"
    assert [request.get("deleteModel") for request in shown["requests"]] == [True, None]
    assert erasing.shown(job_id)["modelDeletedTime"] == shown["modelDeletedTime"]


def test_erasure_removes_texts_that_may_name_a_photo(erasing: Erasing) -> None:
    # Given a job whose cause names a photo
    job_id = erasing.job()
    before = erasing.jobs.get(job_id)
    # When it is erased
    erasing.run(job_id)
    # Then the cause is gone; how the job ended is not
    job = erasing.jobs.get(job_id)
    assert (job.status, job["Error"], job["Cause"]) == (Status.FAILED, "LabelsInvalid", None)
    # And when the execution's end event comes again, late
    with pytest.raises(MoveRefused):
        ends.record(job_id, Status.FAILED, before["EndTime"] + 1, execution_arn(job_id), Cause=before["Cause"])
    # Then it is not written
    assert erasing.jobs.get(job_id)["Cause"] is None


def test_a_request_in_the_middle_of_a_run_is_not_said_to_be_done(erasing: Erasing) -> None:
    # Given a run during which the erasure is requested again
    job_id = erasing.job(images=1)

    def ask_again(_number: int, _keys: list[str]) -> None:
        erasing.request(job_id)

    with erasing.delete_calls(ask_again):
        erasing.run(job_id)
    # Then the job is not erased yet
    assert erasing.shown(job_id)["status"] == "Requested"
    assert len(erasing.shown(job_id)["requests"]) == 2
    # And the second request's own run does that
    erasing.run(job_id)
    assert erasing.shown(job_id)["status"] == "Erased"


def test_unfinished_erasures_continue_every_day(erasing: Erasing) -> None:
    # Given a job whose first run was at once, a job whose run was lost, a job without a request, and one erased long
    # ago
    first, lost = erasing.job(images=1), erasing.job(images=1, minutes_ago=40)
    kept = erasing.job(images=1, requested=False)
    over = erasing.job(minutes_ago=40)
    erasing.run(over)
    erasing.run(first)
    assert set(erasures.list_open_ids(INDEX)) == {first, lost}
    # And a photo that came through a URL of before
    erasing.put(f"images/{first}/late.jpg")
    # When the day is over
    erasing.run()
    # Then both are erased
    assert erasing.left() == [f"images/{kept}/passport-0.jpg"]
    assert erasing.shown(first)["objects"] == 2
    assert erasing.shown(lost)["status"] == "Erased"
    # And the erasure is complete if a run half an hour after the request found no objects
    assert erasures.list_open_ids(INDEX) == [first]


def test_a_failed_erasure_does_not_stop_the_others(erasing: Erasing, logs: io.StringIO) -> None:
    bad, good = erasing.job(images=1), erasing.job(images=1)

    def deny(_number: int, keys: list[str]) -> str | None:
        return "AccessDenied" if bad in keys[0] else None

    with erasing.delete_calls(deny), pytest.raises(NotErased):
        erasing.run()
    assert erasing.shown(good)["status"] == "Erased"
    assert "passport" not in logs.getvalue()


# Through the API


class FakeLambda(FakeService):
    """Lambda, which takes asynchronous invocations and does nothing."""

    service = "lambda"

    def __init__(self) -> None:
        super().__init__()
        self.invoked: list[tuple[str, str, Any]] = []

    def invoke(self, FunctionName: str, InvocationType: str, Payload: str) -> dict[str, Any]:  # noqa: N803
        self.invoked.append((FunctionName, InvocationType, json.loads(Payload)))
        return {"StatusCode": 202}


class ErasingApi(Api):
    """The API function, called by an auditor."""

    def __init__(self, jobs: Jobs, monkeypatch: pytest.MonkeyPatch) -> None:
        super().__init__(jobs, monkeypatch)
        self.functions = FakeLambda()

    def delete(
        self, job_id: str, context: dict[str, Any] | None = None, query: dict[str, str] | None = None, **headers: str
    ) -> Answer:
        path = f"/api/training/jobs/{job_id}"
        event = {
            "resource": "/api/training/jobs/{id}",
            "path": path,
            "httpMethod": "DELETE",
            "headers": headers,
            "multiValueHeaders": {name: [value] for name, value in headers.items()},
            "queryStringParameters": query,
            "multiValueQueryStringParameters": query and {name: [value] for name, value in query.items()},
            "pathParameters": {"id": job_id},
            "requestContext": {
                "stage": "prod",
                "path": f"/prod{path}",
                "resourcePath": "/api/training/jobs/{id}",
                **({"identity": {"userArn": AUDITOR}} if context is None else context),
            },
            "body": json.dumps({"requestedBy": "somebody else"}),
            "isBase64Encoded": False,
        }
        return Answer(self.function.handler(event, LambdaContext()))

    def ended(self, status: str = "FAILED", **more: str) -> str:
        """A started job whose execution has ended so, which its record does not say yet."""
        job_id = self.started()
        self.machine.end(execution_arn(job_id), status, **more)
        return job_id

    def note(self, job_id: str, **attributes: Any) -> None:
        self.jobs.note(job_id, **attributes)


def request_erasure(api: ErasingApi, job: Job) -> Job:
    """As the API requests it for a job whose record it has read."""
    names = {"model_parameter": MODEL, "erase_function": "erase"}
    return lifecycle.erase(job, AUDITOR, api.function.machine, delete_model=False, **names)


@pytest.fixture
def api(jobs: Jobs, s3: Any, monkeypatch: pytest.MonkeyPatch) -> ErasingApi:
    return ErasingApi(jobs, monkeypatch)


@pytest.mark.parametrize(
    ("execution", "error", "status"),
    [
        (None, None, "Created"),
        ("SUCCEEDED", None, "Ready"),
        ("FAILED", None, "Failed"),
        ("FAILED", "ModelRejected", "Rejected"),
        ("ABORTED", None, "Stopped"),
    ],
)
def test_a_job_that_does_not_run_may_be_erased(
    api: ErasingApi, execution: str | None, error: str | None, status: str
) -> None:
    # Given a job that was never started, or whose execution has ended but no event has said so
    job_id = api.ended(execution, **({"error": error} if error else {})) if execution else api.new_job()
    # When its erasure is requested
    answer = api.delete(job_id)
    # Then that is recorded and begun, and the call does not wait for it
    assert answer.status == 202
    assert answer.json["status"] == status
    shown = answer.json["erasure"]
    assert (shown["status"], shown["requestedBy"], shown["objects"]) == ("Requested", AUDITOR, 0)
    assert api.functions.invoked == [("erase", "Event", {"jobId": job_id})]
    # And the list shows it
    assert api.get("list").json[0]["erasure"] == shown


@pytest.mark.parametrize(
    ("context", "who"),
    [
        ({"identity": {"userArn": AUDITOR}}, AUDITOR),
        (
            {
                "identity": {"userArn": None},
                "authorizer": {"claims": {"sub": "5f1c2d0e", "email": "anna@example.com", "cognito:username": "anna"}},
            },
            "5f1c2d0e",
        ),
    ],
)
def test_the_caller_is_the_one_api_gateway_authorized(api: ErasingApi, context: dict[str, Any], who: str) -> None:
    # Given headers and a body that say otherwise
    answer = api.delete(api.new_job(), context, **{"X-User": "somebody else", "From": "anna@example.com"})
    assert answer.json["erasure"]["requestedBy"] == who
    assert "somebody else" not in answer.text
    assert "anna@" not in answer.text


@pytest.mark.parametrize("context", [{}, {"identity": {"userArn": None}}, {"authorizer": None}])
def test_an_erasure_needs_a_caller(api: ErasingApi, context: dict[str, Any]) -> None:
    job_id = api.new_job()
    assert is_problem(api.delete(job_id, context), 403, "Sign the request")
    assert "erasure" not in api.get(f"jobs/{job_id}").json
    assert api.functions.invoked == []


def test_an_unknown_job_cannot_be_erased(api: ErasingApi) -> None:
    assert is_problem(api.delete(UNKNOWN), 404, UNKNOWN)


def test_a_running_job_is_to_be_stopped_first(api: ErasingApi) -> None:
    job_id = api.started()
    assert is_problem(api.delete(job_id), 409, "Stop it first")
    assert "erasure" not in api.get(f"jobs/{job_id}").json
    # When it is stopped, then it may be erased
    assert api.post(f"jobs/{job_id}/stop").status == 200
    assert api.delete(job_id).status == 202


def test_work_after_the_execution_delays_the_erasure(api: ErasingApi) -> None:
    # Given a job that ended while people label and Rekognition trains
    job_id = api.ended()
    project = api.rekognition.client().create_project(ProjectName=job_id)["ProjectArn"]
    version = api.rekognition.add_version(project, job_id, "TRAINING_IN_PROGRESS")
    labelling = f"arn:aws:sagemaker:{REGION}:{ACCOUNT}:labeling-job/{job_id}-1"
    api.note(job_id, LabellingJobArn=labelling, ProjectArn=project, ProjectVersionArn=version)
    api.ground_truth.jobs[f"{job_id}-1"] = {"LabelingJobStatus": "InProgress"}
    # Then each is in the way, for it adds objects
    assert is_problem(api.delete(job_id), 409, "labelling job is InProgress")
    api.ground_truth.jobs[f"{job_id}-1"] = {"LabelingJobStatus": "Stopped"}
    assert is_problem(api.delete(job_id), 409, "training is running")
    # And when it has ended, whichever way, nothing is; a running model is not either
    api.rekognition.versions[job_id]["Status"] = "RUNNING"
    assert api.delete(job_id).status == 202
    assert api.rekognition.versions[job_id]["Status"] == "RUNNING"


def test_a_model_in_use_is_not_deleted_with_its_job(api: ErasingApi) -> None:
    # Given a job whose model runs
    job_id = api.ended()
    project = api.rekognition.client().create_project(ProjectName=job_id)["ProjectArn"]
    version = api.rekognition.add_version(project, job_id, "RUNNING")
    api.note(job_id, ProjectArn=project, ProjectVersionArn=version)
    # When the job is to be erased with its model, then that is refused in words
    for status in ("STARTING", "RUNNING", "STOPPING"):
        api.rekognition.versions[job_id]["Status"] = status
        assert is_problem(api.delete(job_id, query={"deleteModel": "true"}), 409, f"model is {status}")
    # And so is a model that is stopped and live
    api.rekognition.versions[job_id]["Status"] = "STOPPED"
    api.ssm.put_parameter(Name=MODEL, Value=version, Overwrite=True)
    assert is_problem(api.delete(job_id, query={"deleteModel": "true"}), 409, "model is live")
    assert "erasure" not in api.get(f"jobs/{job_id}").json
    # And what is neither true nor false is refused
    assert is_problem(api.delete(job_id, query={"deleteModel": "yes"}), 400, "deleteModel must be true or false")
    # When another model is live, then it is recorded that the model goes too
    api.ssm.put_parameter(Name=MODEL, Value="default", Overwrite=True)
    assert api.delete(job_id, query={"deleteModel": "true"}).json["erasure"]["deleteModel"] is True


def test_a_start_that_only_wrote_the_record_can_be_erased_later(api: ErasingApi) -> None:
    # Given a start that failed at Step Functions
    job_id = api.new_job()
    api.machine.refuse_next("start_execution", "ThrottlingException")
    api.post("start", JobId=job_id)
    # When it was a moment ago, then it may be under way still
    assert is_problem(api.delete(job_id), 409, "being started")
    # When it was long ago, then the job is erased, and does not look as if it ran
    api.note(job_id, ExecutionStartTime=now_ms() - MINUTE_MS)
    answer = api.delete(job_id)
    assert (answer.status, answer.json["status"]) == (202, "Stopped")
    assert is_problem(api.post("start", JobId=job_id), 409, "was erased")
    # And nothing runs for it
    assert api.machine.executions == {}


@pytest.fixture
def erased(api: ErasingApi) -> str:
    job_id = api.ended(error="LabelsInvalid")
    assert api.delete(job_id).status == 202
    return job_id


@pytest.mark.parametrize(
    ("call", "path", "body", "query"),
    [
        ("GET", "url", None, {"JobId": "{job}", "S3Key": "a.jpg"}),
        ("GET", "url", None, {"JobId": "{job}", "S3Key": "labels.json"}),
        ("POST", "jobs/{job}/urls", {"names": ["a.jpg"]}, None),
        ("POST", "jobs/{job}/labels", {"key": "labels.json"}, None),
        ("POST", "start", None, {"JobId": "{job}"}),
        ("POST", "jobs/{job}/resume", None, None),
    ],
)
def test_an_erased_job_takes_no_uploads_and_runs_nothing(
    api: ErasingApi, erased: str, call: str, path: str, body: Any, query: dict[str, str] | None
) -> None:
    filled = {name: value.replace("{job}", erased) for name, value in (query or {}).items()}
    answer = api.call(call, f"/api/training/{path.replace('{job}', erased)}", query=filled or None, body=body)
    assert is_problem(answer, 409, "was erased")
    assert api.execution(erased)["status"] == "FAILED"


def test_a_job_that_was_erased_before_its_start_stays_so(api: ErasingApi) -> None:
    job_id = api.new_job()
    before = api.jobs.get(job_id)
    api.delete(job_id)
    assert is_problem(api.get("url", JobId=job_id, S3Key="a.jpg"), 409, "was erased")
    # And a start that had read the record before is refused
    execution_input = {"labels": {"provider": "supplied"}}
    with pytest.raises(NotAllowed, match="was erased"):
        lifecycle.start(
            before.id,
            execution_input,
            api.function.machine,
            bucket=BUCKET,
            work_team="",
            has_page=False,
            started_by=AUDITOR,
        )
    assert api.machine.executions == {}


def test_a_resume_that_lost_the_race_to_an_erasure_is_refused(api: ErasingApi) -> None:
    job_id = api.ended()
    before = api.jobs.get(job_id)
    api.delete(job_id)
    with pytest.raises(NotAllowed, match="was erased"):
        lifecycle.resume(before, "auditor", api.function.machine)
    assert api.execution(job_id)["status"] == "FAILED"


def test_an_erasure_that_lost_the_race_to_a_resume_is_refused(api: ErasingApi) -> None:
    # Given a resume that has claimed the record and not redriven yet
    job_id = api.ended()
    api.get(f"jobs/{job_id}")
    before = api.jobs.get(job_id)
    resumes.claim(job_id, "engineer")
    # Then the job cannot be erased at this moment
    with pytest.raises(NotAllowed, match="being started or resumed"):
        request_erasure(api, before)
    # But half a minute later, should the resume have come to nothing
    api.note(job_id, ResumedTime=now_ms() - resumes.CLAIM_MS)
    assert api.delete(job_id).status == 202


def test_a_change_that_does_no_harm_is_waited_out(api: ErasingApi) -> None:
    # Given a record that changed since it was read, as when the job's end is recorded
    job_id = api.ended()
    api.get(f"jobs/{job_id}")
    before = api.jobs.get(job_id)
    notice_marks.mark_sent(job_id, "EndMessageSent", before["EndTime"])
    # Then the job is erased all the same
    stale = Job(before.id, before.status, {**before.attributes, "UpdatedTime": before["UpdatedTime"] - 1})
    assert request_erasure(api, stale).is_erased


def test_an_erasure_that_cannot_start_is_reported_and_repeatable(api: ErasingApi, logs: io.StringIO) -> None:
    # Given that Lambda takes no invocation
    job_id = api.new_job()
    api.functions.refuse_next("invoke", "TooManyRequestsException", http_status=429)
    answer = api.delete(job_id)
    assert is_problem(answer, 503, "Send the request again")
    assert answer.headers["retry-after"] == "5"
    # Then the request is recorded
    assert api.get(f"jobs/{job_id}").json["erasure"]["status"] == "Requested"
    # And when it is sent again, the work begins, and both requests are there
    assert api.delete(job_id).status == 202
    assert len(api.functions.invoked) == 1
    assert len(api.get(f"jobs/{job_id}").json["erasure"]["requests"]) == 2


def test_every_request_is_kept_up_to_a_limit(api: ErasingApi, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipeline.lifecycle.erasing.MOST_ERASURES", 2)
    job_id = api.new_job()
    second = {"identity": {"userArn": f"{AUDITOR}-2"}}
    api.delete(job_id)
    shown = api.delete(job_id, second).json["erasure"]
    assert shown["requestedBy"] == f"{AUDITOR}-2"
    assert [request["requestedBy"] for request in shown["requests"]] == [AUDITOR, f"{AUDITOR}-2"]
    assert is_problem(api.delete(job_id), 409, "2 requests")


def test_an_end_event_after_the_erasure_changes_nothing(api: ErasingApi, erased: str) -> None:
    # Given Step Functions' event, which comes once more
    before = api.jobs.get(erased)
    outcomes.record(execution_arn(erased))
    # Then the record is as it was
    assert api.jobs.get(erased) == before
