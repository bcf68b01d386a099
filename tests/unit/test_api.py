"""The HTTP API through its Lambda proxy event: existing clients' calls to the letter, and every mistake in words."""

import importlib
import io
import json
import re
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from openapi_schema_validator import OAS30Validator

from api import answers
from pipeline import lifecycle
from pipeline.jobs import Job, Jobs, ends, now_ms, resumes, tokens
from pipeline.lifecycle import NotAllowed, starting
from rules import advice, states
from rules.states import Status
from rules.subjects import subject_hash
from stacks.openapi import Description
from tests.unit.aws_fakes import ACCOUNT, REGION, FakeRekognition, FakeSageMaker, FakeStepFunctions, client, store
from tests.unit.conftest import BUCKET, INDEX, TABLE
from tests.unit.test_outcomes import MACHINE, LambdaContext

TYPES = "ID_KTP,MY_NRIC,AU_PASSPORT"
TEAM = f"arn:aws:sagemaker:{REGION}:{ACCOUNT}:workteam/private-crowd/checkers"
PROJECT, MODEL = "/ekyc-training/rekognition-project-arn", "/ekyc-training/rekognition-project-version-arn"
ENVIRONMENT = {
    "JOBS_TABLE": TABLE,
    "JOBS_INDEX": INDEX,
    "BUCKET": BUCKET,
    "STATE_MACHINE_ARN": MACHINE,
    "DOCUMENT_TYPES": TYPES,
    "LABEL_PROVIDER": "ground-truth",
    "MIN_F1": "0.8",
    "MIN_LABEL_F1": "0.5",
    "MAX_F1_DROP": "0.05",
    "STOP_PREVIOUS_MODEL": "false",
    "WORK_TEAM_ARN": TEAM,
    "LABELLING_PAGE": "true",
    "PROJECT_PARAMETER": PROJECT,
    "MODEL_PARAMETER": MODEL,
    "INFERENCE_UNITS": "1",
    "ERASE_FUNCTION": "erase",
    "AUDIT_BUCKET": "audit-reports",
    "EXPORT_FUNCTION": "export",
    "WEB_ORIGINS": "",
}
DESCRIPTION = Description.read().document
UNKNOWN = "ekyc-20200101000000-0000000000000000"


class Answer:
    """What API Gateway would send."""

    def __init__(self, answer: dict[str, Any]) -> None:
        self.status: int = answer["statusCode"]
        self.text: str = answer["body"]
        self.headers = {name.lower(): values[0] for name, values in answer["multiValueHeaders"].items()}

    @property
    def json(self) -> Any:
        return json.loads(self.text)


def proxy_event(method: str, path: str, query: dict[str, str] | None = None, body: Any = None) -> dict[str, Any]:
    """A request as API Gateway's Lambda proxy integration passes it on; ``body`` is text, or sent as JSON."""
    return {
        "resource": "/{proxy+}",
        "path": path,
        "httpMethod": method,
        "headers": {},
        "multiValueHeaders": {},
        "queryStringParameters": query,
        "multiValueQueryStringParameters": {name: [value] for name, value in (query or {}).items()} or None,
        "pathParameters": {"proxy": path.lstrip("/")},
        "requestContext": {"stage": "prod", "path": f"/prod{path}"},
        "body": body if body is None or isinstance(body, str) else json.dumps(body),
        "isBase64Encoded": False,
    }


class Api:
    """The API function with the services around it."""

    def __init__(self, jobs: Jobs, monkeypatch: pytest.MonkeyPatch, **environment: str) -> None:
        self.jobs, self.monkeypatch = jobs, monkeypatch
        self.rekognition, self.ground_truth, self.machine = FakeRekognition(), FakeSageMaker(), FakeStepFunctions()
        self.ssm = client("ssm")
        for name in (PROJECT, MODEL):
            self.ssm.put_parameter(Name=name, Value="default", Type="String", Overwrite=True)
        for name, value in (ENVIRONMENT | environment).items():
            monkeypatch.setenv(name, value)
        self.function = importlib.reload(importlib.import_module("api.app"))

    def call(self, method: str, path: str, *, query: dict[str, str] | None = None, body: Any = None) -> Answer:
        """The answer to a request; ``body`` is text, or sent as JSON."""
        event = proxy_event(method, path, query, body)
        answer = Answer(self.function.handler(event, LambdaContext()))
        check_against_description(method, path, answer)
        return answer

    def get(self, path: str, **query: str) -> Answer:
        return self.call("GET", f"/api/training/{path}", query=query or None)

    def post(self, path: str, body: Any = None, **query: str) -> Answer:
        return self.call("POST", f"/api/training/{path}", query=query or None, body=body)

    def new_job(self, *, photos: int = 1) -> str:
        job_id: str = self.post("create").json["id"]
        for number in range(photos):
            self.upload(f"images/{job_id}/photo-{number}.jpg")
        return job_id

    def started(self, body: Any = None) -> str:
        job_id = self.new_job()
        assert self.post("start", body, JobId=job_id).status == 200
        return job_id

    def waiting_for_labels(self) -> str:
        """A job whose execution waits for supplied labels."""
        job_id = self.started({"labels": {"provider": "supplied"}})
        tokens.store(job_id, "token", "supplied")
        self.jobs.advance(job_id, states.REQUEST_LABELS)
        self.machine.tokens.add("token")
        return job_id

    def upload(self, key: str) -> None:
        store(BUCKET, key, b"x")

    def execution(self, job_id: str) -> dict[str, Any]:
        return self.machine.executions[execution_arn(job_id)]


def check_against_description(method: str, path: str, answer: Answer) -> None:
    """Checks every response in these tests against the API's description."""
    for template, item in DESCRIPTION["paths"].items():
        if method.lower() in item and re.fullmatch(re.sub("{[a-z]+}", "[^/]+", template), path):
            break
    else:
        return
    described = item[method.lower()]["responses"][str(answer.status)]
    if "$ref" in described:
        described = DESCRIPTION["components"]["responses"][described["$ref"].rpartition("/")[2]]
    if "content" in described:
        content = described["content"][answer.headers["content-type"]]
        document = answer.text if answer.headers["content-type"] == "text/plain" else answer.json
        OAS30Validator({"allOf": [content["schema"]], "components": DESCRIPTION["components"]}).validate(document)
    required = {name.lower() for name, header in described.get("headers", {}).items() if header.get("required")}
    assert required <= answer.headers.keys()


def execution_arn(job_id: str) -> str:
    return f"{MACHINE.replace(':stateMachine:', ':execution:')}:{job_id}"


@pytest.fixture
def api(jobs: Jobs, s3: Any, monkeypatch: pytest.MonkeyPatch) -> Api:
    return Api(jobs, monkeypatch)


def is_problem(answer: Answer, status: int, words: str) -> bool:
    """Whether the answer is a problem+json of this status whose detail has ``words``, with nothing internal in it."""
    assert answer.status == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    problem = answer.json
    assert set(problem) == {"type", "title", "status", "detail"}
    assert problem["status"] == status
    assert words in problem["detail"], problem["detail"]
    assert "Traceback" not in answer.text
    return True


# --- Existing clients ------------------------------------------------------------------------------------------------


def test_existing_clients_calls_byte_for_byte(api: Api) -> None:
    """create, url, upload, start, list: parameters JobId and S3Key, bare strings where clients read bare strings."""
    # When a client creates a job
    created = api.call("POST", "/api/training/create")
    # Then it reads the job with the fields that it knows, null where there is nothing
    assert (created.status, created.headers["content-type"]) == (200, "application/json")
    job = created.json
    assert re.fullmatch(r"ekyc-[0-9]{14}-[0-9a-f]{16}", job["id"])
    assert isinstance(job["startTime"], int)
    assert {name: job[name] for name in list(job) if name not in ("id", "startTime", "updatedTime", "metrics")} == {
        "status": "Created",
        "detailedStatus": "Waiting for photos",
        "labellingJobArn": None,
        "datasetCreated": False,
        "datasetArn": None,
        "projectVersionArn": None,
        "projectArn": None,
    }

    # When it asks for an upload URL
    url = api.call("GET", "/api/training/url", query={"JobId": job["id"], "S3Key": "photo 1.jpg"})
    # Then the body is the URL and nothing else: a PUT to the place that clients rely on, for 15 minutes
    assert (url.status, url.headers["content-type"]) == (200, "text/plain")
    parts = urlsplit(url.text)
    assert parts.netloc == f"{BUCKET}.s3.amazonaws.com"
    assert parts.path == f"/images/{job['id']}/photo%201.jpg"
    assert parse_qs(parts.query)["X-Amz-Expires"] == ["900"]
    assert parse_qs(parts.query)["X-Amz-SignedHeaders"] == ["host"]

    # When it has uploaded and starts the job, with no body
    api.upload(f"images/{job['id']}/photo 1.jpg")
    start = api.call("POST", "/api/training/start", query={"JobId": job["id"]})
    # Then the body is the ARN of the labelling job and nothing else
    assert (start.status, start.headers["content-type"]) == (200, "text/plain")
    assert start.text == f"arn:aws:sagemaker:us-east-1:{ACCOUNT}:labeling-job/{job['id']}-1"
    assert start.headers["x-execution-arn"] == execution_arn(job["id"])

    # When it lists the jobs
    listed = api.call("GET", "/api/training/list")
    # Then the body is an array with the job in it
    assert (listed.status, listed.headers["content-type"]) == (200, "application/json")
    assert [(entry["id"], entry["status"]) for entry in listed.json] == [(job["id"], "CheckingImages")]
    assert "x-next-token" not in listed.headers


def test_a_file_name_is_taken_once(api: Api) -> None:
    job_id = api.new_job()
    assert is_problem(api.get("url", JobId=job_id, S3Key="photo-0.jpg"), 409, "already uploaded")
    assert api.get("url", JobId=job_id, S3Key="photo-1.jpg").status == 200


def test_an_upload_blocks_only_its_own_name(api: Api) -> None:
    # Given a photo whose name begins with the name of another
    job_id = api.call("POST", "/api/training/create").json["id"]
    api.upload(f"images/{job_id}/photo.jpg.jpg")
    # Then only its own name is taken
    assert api.get("url", JobId=job_id, S3Key="photo.jpg").status == 200
    assert is_problem(api.get("url", JobId=job_id, S3Key="photo.jpg.jpg"), 409, "already uploaded")


# --- Start -----------------------------------------------------------------------------------------------------------


def test_a_start_hands_the_execution_its_whole_input(api: Api) -> None:
    # When a job is started with nothing said
    job_id = api.started()
    # Then the execution has the defaults
    assert json.loads(api.execution(job_id)["input"]) == {
        "jobId": job_id,
        "labels": {"provider": "ground-truth"},
        "documentTypes": TYPES.split(","),
        "deploy": True,
        "minF1": 0.8,
        "minLabelF1": 0.5,
        "maxF1Drop": 0.05,
        "stopPreviousModel": False,
        "startedBy": "anonymous",
    }


def test_a_start_accepts_options(api: Api, s3: Any) -> None:
    # Given uploaded labels
    job_id = api.new_job()
    api.upload(f"labels/{job_id}/annotations.json")
    options = {
        "labels": {"provider": "supplied", "key": "annotations.json"},
        "documentTypes": ["alb_id", "aze_passport"],
        "deploy": False,
        "minF1": 0.8,
        "minLabelF1": 1,
        "maxF1Drop": 0,
        "stopPreviousModel": False,
    }
    # When the job is started with everything said
    answer = api.post("start", options, JobId=job_id)
    # Then the answer is the execution's ARN, and the execution has it all
    assert answer.text == execution_arn(job_id) == answer.headers["x-execution-arn"]
    key = f"labels/{job_id}/annotations.json"
    etag = s3.head_object(Bucket=BUCKET, Key=key)["ETag"].strip('"')
    assert json.loads(api.execution(job_id)["input"]) == {
        "jobId": job_id,
        **options,
        "labels": {"provider": "supplied", "key": key, "etag": etag},
        "startedBy": "anonymous",
    }


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"minF1": 0.79}, "minF1 is 0.79, below the deployment's 0.8: a job can raise this bar, not lower it."),
        ({"minF1": 0}, "minF1 is 0, below the deployment's 0.8"),
        ({"minLabelF1": 0.1}, "minLabelF1 is 0.1, below the deployment's 0.5"),
        ({"maxF1Drop": 1}, "maxF1Drop is 1, above the deployment's 0.05: a job can only set a smaller drop."),
        ({"stopPreviousModel": True}, "stopPreviousModel is true, but the deployment's setting"),
        ({"minF1": 0, "maxF1Drop": 1, "stopPreviousModel": True, "deploy": True}, "minF1 is 0"),
    ],
)
def test_a_start_cannot_lower_the_deployments_bars(api: Api, options: dict[str, Any], words: str) -> None:
    # Given a job that could be started
    job_id = api.new_job()
    # When its caller asks for less than the deployment does; Then nothing starts, and the job can still be started
    assert is_problem(api.post("start", options, JobId=job_id), 400, words)
    assert api.machine.executions == {}
    assert api.post("start", JobId=job_id).status == 200


def test_a_start_may_stop_the_old_model_if_the_deployment_does(
    jobs: Jobs, s3: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    api = Api(jobs, monkeypatch, STOP_PREVIOUS_MODEL="true")
    for stop_previous in (True, False):
        job_id = api.new_job()
        assert api.post("start", {"stopPreviousModel": stop_previous}, JobId=job_id).status == 200
        assert json.loads(api.execution(job_id)["input"])["stopPreviousModel"] is stop_previous


def test_a_second_start_is_refused(api: Api) -> None:
    job_id = api.started()
    for body in (None, {"minF1": 0.9}):
        assert is_problem(api.post("start", body, JobId=job_id), 409, "is already started; it is CheckingImages")
    assert len(api.machine.executions) == 1


def test_a_start_that_failed_can_be_repeated(api: Api) -> None:
    # Given a start that Step Functions refused
    job_id = api.new_job()
    api.machine.refuse_next("start_execution", "ThrottlingException", "Rate exceeded")
    refused = api.post("start", JobId=job_id)
    assert is_problem(refused, 503, "busy")
    assert int(refused.headers["retry-after"]) > 0
    # When it is tried again, with other wishes
    assert api.post("start", {"deploy": False}, JobId=job_id).status == 200
    # Then the job runs, once
    assert json.loads(api.execution(job_id)["input"])["deploy"] is False
    assert is_problem(api.post("start", JobId=job_id), 409, "already started")


def test_the_caller_whose_start_succeeded_is_named(api: Api) -> None:
    # Given a start by one caller that Step Functions refused after its claim
    job_id = api.new_job()
    api.machine.refuse_next("start_execution", "ThrottlingException", "Rate exceeded")
    callers = ["arn:aws:iam::123456789012:user/first", "arn:aws:iam::123456789012:user/second"]
    for caller, status in zip(callers, (503, 200), strict=True):
        event = proxy_event("POST", "/api/training/start", {"JobId": job_id})
        event["requestContext"]["identity"] = {"userArn": caller}
        # When another caller starts the job
        assert Answer(api.function.handler(event, LambdaContext())).status == status
    # Then the execution names the caller that started it
    assert json.loads(api.execution(job_id)["input"])["startedBy"] == callers[1]


def test_a_start_that_lost_the_race_is_refused(api: Api) -> None:
    # Given a start that has claimed the job and is about to start its execution, and a second start that overtakes it
    job_id = api.new_job()
    api.machine.refuse_next("start_execution", "ExecutionAlreadyExists")
    assert is_problem(api.post("start", JobId=job_id), 409, "already started")


def test_a_start_without_photos_leaves_the_job_as_it_was(api: Api) -> None:
    job_id = api.new_job(photos=0)
    assert is_problem(api.post("start", JobId=job_id), 422, "no photos")
    api.upload(f"images/{job_id}/photo.jpg")
    assert api.post("start", JobId=job_id).status == 200


def test_a_start_without_the_labels_that_it_names(api: Api) -> None:
    job_id = api.new_job()
    body = {"labels": {"provider": "supplied", "key": "annotations.json"}}
    assert is_problem(api.post("start", body, JobId=job_id), 422, "'annotations.json' is not uploaded")


def test_ground_truth_needs_a_work_team(jobs: Jobs, s3: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    # Given a stack without a work team
    api = Api(jobs, monkeypatch, WORK_TEAM_ARN="")
    job_id = api.new_job()
    # Then only supplied labels can start a job
    assert is_problem(api.post("start", JobId=job_id), 422, "the setting workTeam")
    assert api.post("start", {"labels": {"provider": "supplied"}}, JobId=job_id).status == 200


def test_the_provider_page_needs_the_labelling_page(jobs: Jobs, s3: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    # Given a stack without the labelling page
    api = Api(jobs, monkeypatch, LABELLING_PAGE="false")
    job_id = api.new_job()
    # Then no job waits for people who cannot sign in
    assert is_problem(
        api.post("start", {"labels": {"provider": "page"}}, JobId=job_id), 422, "the setting labellingUserPool"
    )
    assert api.post("start", JobId=job_id).status == 200


def test_people_label_a_limited_number_of_photos(jobs: Jobs, s3: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    # Given a limit of three photos, which is 20,000 on AWS
    api = Api(jobs, monkeypatch, LABELLING_PAGE="true")
    assert starting.MOST_PHOTOS == 20_000
    monkeypatch.setattr(starting, "MOST_PHOTOS", 3)
    page = {"labels": {"provider": "page"}}
    # Then a job with so many photos starts, and one with more is refused in words
    assert api.post("start", page, JobId=api.new_job(photos=3)).status == 200
    larger = api.new_job(photos=4)
    assert is_problem(api.post("start", page, JobId=larger), 422, "The job has more than 3 photos")
    assert api.post("start", {"labels": {"provider": "supplied"}}, JobId=larger).status == 200


def test_a_stack_may_default_to_supplied_labels(jobs: Jobs, s3: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    api = Api(jobs, monkeypatch, WORK_TEAM_ARN="", LABEL_PROVIDER="supplied")
    job_id = api.new_job()
    assert api.post("start", JobId=job_id).text == execution_arn(job_id)


# --- Uploads ---------------------------------------------------------------------------------------------------------


def test_many_urls_at_once_that_s3_itself_takes_once(api: Api) -> None:
    # When a thousand names are asked for
    job_id = api.new_job(photos=0)
    names = [f"photo-{number:04}.png" for number in range(999)] + ["annotations.json"]
    answer = api.post(f"jobs/{job_id}/urls", {"names": names})
    # Then each has its URL, signed with the header that makes S3 refuse a second upload, small enough for Lambda
    assert list(answer.json) == names
    assert len(answer.text) < 6 * 1024 * 1024
    for name, place in ((names[0], "images"), (names[-1], "labels")):
        upload = answer.json[name]
        kind = "image/png" if place == "images" else "application/json"
        assert upload["headers"] == {"Content-Type": kind, "If-None-Match": "*"}
        assert urlsplit(upload["url"]).path.endswith(f"/{place}/{job_id}/{name}")
        assert parse_qs(urlsplit(upload["url"]).query)["X-Amz-SignedHeaders"] == ["content-type;host;if-none-match"]


def test_urls_of_long_names_that_lambda_could_not_answer(api: Api) -> None:
    # Given a thousand names of 888 bytes, each of which has three characters in a URL
    job_id = api.new_job(photos=0)
    names = [f"{number:04}{'📷' * 220}.jpg" for number in range(1000)]

    def ask(names: list[str]) -> Answer:
        return api.post(f"jobs/{job_id}/urls", json.dumps({"names": names}, ensure_ascii=False))

    # When all their URLs are asked for, then the answer says to ask for fewer
    assert is_problem(ask(names), 413, "Ask for fewer names at a time")
    # And fewer are answered
    assert list(ask(names[:500]).json) == names[:500]


def test_announced_sizes_are_signed(api: Api) -> None:
    # When URLs are asked for, one of them with the size of its file
    job_id = api.new_job(photos=0)
    names = ["a.JPEG", "b.jpg", "c.manifest"]
    targets = api.post(f"jobs/{job_id}/urls", {"names": names, "sizes": {"a.JPEG": 15 * 1024 * 1024}}).json
    # Then S3 is to take that size only, and of each file the media type that its name stands for
    signed = {name: parse_qs(urlsplit(targets[name]["url"]).query)["X-Amz-SignedHeaders"][0] for name in names}
    assert ["content-length" in signed[name] for name in names] == [True, False, False]
    kinds = [targets[name]["headers"]["Content-Type"] for name in names]
    assert kinds == ["image/jpeg", "image/jpeg", "application/jsonl"]


@pytest.mark.parametrize(
    ("sizes", "words"),
    [
        ({"a.jpg": 15 * 1024 * 1024 + 1}, "'a.jpg' has 15,728,641 bytes; at most 15,728,640 are allowed for a photo"),
        ({"a.json": 1024**3 + 1}, "at most 1,073,741,824 are allowed for labels"),
        ({"b.jpg": 1}, "not in names"),
        ({"a.jpg": -1}, "whole number of bytes"),
        ({"a.jpg": 1.5}, "whole number of bytes"),
        ({"a.jpg": True}, "whole number of bytes"),
        ({"a.jpg": "9"}, "whole number of bytes"),
        ([], "must be an object"),
    ],
)
def test_a_size_that_cannot_be_is_refused(api: Api, sizes: Any, words: str) -> None:
    job_id = api.new_job(photos=0)
    body = {"names": ["a.jpg", "a.json"], "sizes": sizes}
    assert is_problem(api.post(f"jobs/{job_id}/urls", body), 400, words)


def test_photos_come_before_the_start(api: Api) -> None:
    job_id = api.started()
    assert is_problem(api.get("url", JobId=job_id, S3Key="a.jpg"), 409, "it accepts no more files")
    assert is_problem(api.post(f"jobs/{job_id}/urls", {"names": ["a.json"]}), 409, "it accepts no more files")


def test_labels_also_come_while_the_job_waits_for_them(api: Api) -> None:
    job_id = api.waiting_for_labels()
    assert api.get("url", JobId=job_id, S3Key="annotations.json").status == 200
    assert api.post(f"jobs/{job_id}/urls", {"names": ["a.json", "b.manifest"]}).status == 200
    assert is_problem(api.post(f"jobs/{job_id}/urls", {"names": ["a.json", "b.jpg"]}), 409, "only labels files")


@pytest.mark.parametrize("error", ["LabelsInvalid", "LabelsDoNotMatch"])
def test_labels_that_failed_a_job_can_be_corrected(api: Api, error: str) -> None:
    # Given a job that failed over its labels file, which is still there
    job_id = api.waiting_for_labels()
    api.upload(f"labels/{job_id}/annotations.json")
    ends.record(job_id, Status.FAILED, now_ms(), execution_arn(job_id), Error=error, Cause="They do not fit.")
    # When a client asks where to upload it again; Then it gets a URL that replaces the file, and none for photos
    assert api.get("url", JobId=job_id, S3Key="annotations.json").status == 200
    target = api.post(f"jobs/{job_id}/urls", {"names": ["annotations.json"]}).json["annotations.json"]
    assert target["headers"] == {"Content-Type": "application/json"}
    assert is_problem(api.get("url", JobId=job_id, S3Key="a.jpg"), 409, "only labels files")


# --- Mistakes --------------------------------------------------------------------------------------------------------

# What API Gateway lets through is in tests/bad_input: these it answers itself, and the function would know as well.
JOB = "{job}"  # stands for a new job's id
MISTAKES = [
    # method, path, query, body, status, words
    ("GET", "url", {}, None, 400, "JobId and S3Key"),
    ("GET", "url", {"JobId": JOB}, None, 400, "Missing query parameter: S3Key"),
    ("GET", "url", {"S3Key": "a.jpg"}, None, 400, "Missing query parameter: JobId"),
    ("GET", "url", {"JobId": JOB, "S3Key": ""}, None, 400, "S3Key"),
    ("POST", "start", {}, None, 400, "JobId"),
    ("POST", "start", {"JobId": JOB.upper()}, None, 404, "There is no job"),
    ("POST", "start", {"JobId": JOB}, "{", 400, "not valid JSON"),
    ("POST", "start", {"JobId": JOB}, '{"minF1": NaN}', 400, "not valid JSON"),
    ("POST", "start", {"JobId": JOB}, '{"minF1": ' + "9" * 5000 + "}", 400, "not valid JSON"),
    ("POST", "start", {"JobId": JOB}, "[" * 100_000, 400, "not valid JSON"),
    ("POST", "start", {"JobId": JOB}, "\ud800", 400, "cannot be decoded"),
    ("POST", "start", {"JobId": JOB}, "[]", 400, "must be a JSON object"),
    ("POST", "start", {"JobId": JOB}, "null", 400, "must be a JSON object"),
    ("POST", "start", {"JobId": JOB}, '"deploy"', 400, "must be a JSON object"),
    ("POST", "start", {"JobId": JOB}, {"minf1": 0.5}, 400, "unknown field 'minf1'"),
    ("POST", "start", {"JobId": JOB}, {"minF1": "0.5"}, 400, "minF1 must be a number from 0 to 1"),
    ("POST", "start", {"JobId": JOB}, {"minF1": True}, 400, "minF1"),
    ("POST", "start", {"JobId": JOB}, {"minF1": 1e400}, 400, "not valid JSON"),
    ("POST", "start", {"JobId": JOB}, {"maxF1Drop": None}, 400, "maxF1Drop"),
    ("POST", "start", {"JobId": JOB}, {"deploy": "yes"}, 400, "deploy must be true or false"),
    ("POST", "start", {"JobId": JOB}, {"deploy": 1}, 400, "deploy"),
    ("POST", "start", {"JobId": JOB}, {"stopPreviousModel": None}, 400, "stopPreviousModel"),
    ("POST", "start", {"JobId": JOB}, {"documentTypes": ["a", ["b"]]}, 400, "documentTypes"),
    ("POST", "start", {"JobId": JOB}, {"documentTypes": [str(n) for n in range(51)]}, 400, "1 to 50"),
    ("POST", "start", {"JobId": JOB}, {"documentTypes": "ID_KTP"}, 400, "documentTypes"),
    ("POST", "start", {"JobId": JOB}, {"documentTypes": ["ID_KTP "]}, 400, "'ID_KTP ' cannot be a document type"),
    ("POST", "start", {"JobId": JOB}, {"documentTypes": ["Dear operator, call 555"]}, 400, "cannot be a document type"),
    ("POST", "start", {"JobId": JOB}, {"documentTypes": ["a/../b"]}, 400, "'a/../b' cannot be a document type"),
    ("POST", "start", {"JobId": JOB}, {"labels": "supplied"}, 400, "labels must be an object"),
    ("POST", "start", {"JobId": JOB}, {"labels": {"provider": ["supplied"]}}, 400, "labels.provider"),
    ("POST", "start", {"JobId": JOB}, {"labels": {"token": "x"}}, 400, "labels has the unknown field 'token'"),
    ("POST", "start", {"JobId": JOB}, {"labels": {"provider": "supplied", "key": 3}}, 400, "must be a string"),
    ("POST", f"jobs/{JOB}/urls", {}, None, 400, "names must be a list"),
    ("POST", f"jobs/{JOB}/urls", {}, {"names": "a.jpg"}, 400, "names must be a list"),
    ("POST", f"jobs/{JOB}/urls", {}, {"names": {"a.jpg": 1}}, 400, "names must be a list"),
    ("POST", f"jobs/{JOB}/urls", {}, {"names": [None]}, 400, "must be a string"),
    ("POST", f"jobs/{JOB}/urls", {}, {"names": [f"{n}.jpg" for n in range(1001)]}, 400, "1 to 1000"),
    ("POST", f"jobs/{JOB}/urls", {}, {"names": ["a.jpg"], "expires": 9}, 400, "unknown field 'expires'"),
    ("POST", f"jobs/{JOB}/urls", {}, '{"names": ["' + "a" * 3_000_000 + '"]}', 413, "more than 2097152 bytes"),
    ("POST", f"jobs/{JOB}/labels", {}, {}, 400, "must be a string"),
    ("GET", "nothing", {}, None, 404, "no path '/api/training/nothing'"),
    ("GET", "", {}, None, 404, "no path"),
    ("POST", "jobs/a/b/c", {}, None, 404, "no path"),
]


@pytest.mark.parametrize(
    ("method", "path", "query", "body", "status", "words"),
    [pytest.param(*mistake, id=f"{mistake[0]}-{mistake[1][:12]}-{number}") for number, mistake in enumerate(MISTAKES)],
)
def test_a_mistake_is_answered_in_words_and_nothing_is_lost(
    api: Api, method: str, path: str, query: dict[str, str], body: Any, status: int, words: str
) -> None:
    # Given a job with a photo
    job_id = api.new_job()
    before = dict(api.jobs.get(job_id).attributes)
    query = {name: value.replace(JOB, job_id).replace(JOB.upper(), job_id.upper()) for name, value in query.items()}
    # When a client makes the mistake
    answer = api.call(method, f"/api/training/{path.replace(JOB, job_id)}", query=query or None, body=body)
    # Then it reads what was wrong, and the job is as it was
    assert is_problem(answer, status, words)
    assert api.jobs.get(job_id).attributes == before
    assert api.machine.executions == {}


def test_a_body_that_came_as_base64_is_read(api: Api) -> None:
    job_id = api.new_job()
    event = {
        "resource": "/api/training/jobs/{id}/urls",
        "path": f"/api/training/jobs/{job_id}/urls",
        "httpMethod": "POST",
        "headers": {},
        "queryStringParameters": None,
        "requestContext": {},
        "isBase64Encoded": True,
    }
    good, bad = (
        Answer(api.function.handler({**event, "body": body}, LambdaContext()))
        for body in ("eyJuYW1lcyI6IFsiYS5qcGciXX0=", "/w==")
    )
    assert list(good.json) == ["a.jpg"]
    assert is_problem(bad, 400, "not valid JSON")


def test_our_own_failure_shows_nothing_of_the_inside(api: Api, logs: io.StringIO) -> None:
    # Given a permission that is missing
    api.machine.refuse_next("describe_execution", "AccessDeniedException", "User: arn:aws:x is not authorized")
    # When a client asks for a job
    answer = api.get(f"jobs/{api.started()}")
    # Then it gets only the request id; the log has the error's type and place, but not its message
    assert is_problem(answer, 500, "request-1")
    assert "arn:aws" not in answer.text
    assert "AccessDenied" in logs.getvalue()
    assert "describe_execution" in logs.getvalue()
    assert "is not authorized" not in logs.getvalue()


def test_a_busy_service_is_logged_by_name_only(api: Api, logs: io.StringIO) -> None:
    # Given a service that is busy and names a photo
    api.machine.refuse_next("describe_execution", "ThrottlingException", "Slow down with jane-doe.jpg")
    # When a client asks for a job, then the response is 503, and the log does not name the photo
    assert is_problem(api.get(f"jobs/{api.started()}"), 503, "")
    assert "Throttled" in logs.getvalue()
    assert "jane-doe" not in logs.getvalue()


def test_logs_hold_no_names_urls_and_tokens(api: Api, logs: io.StringIO) -> None:
    # When a client uploads, waits and posts labels, and makes a mistake
    job_id = api.waiting_for_labels()
    api.upload(f"labels/{job_id}/jane-doe.json")
    api.get("url", JobId=job_id, S3Key="jane-doe-2.json")
    api.get("url", JobId=job_id, S3Key="jane-doe/3.json")
    api.post(f"jobs/{job_id}/labels", {"key": "jane-doe.json"})
    # Then the log has neither names nor secrets
    logged = logs.getvalue()
    assert job_id in logged
    assert not re.search(r"jane|X-Amz|\"token\"", logged)


# --- Following a job -------------------------------------------------------------------------------------------------


def test_the_list_comes_page_by_page(api: Api) -> None:
    made = {api.new_job(photos=0) for _ in range(5)}
    seen, query = [], {"limit": "2"}
    while True:
        page = api.get("list", **query)
        seen += [job["id"] for job in page.json]
        if "x-next-token" not in page.headers:
            break
        query["nextToken"] = page.headers["x-next-token"]
    assert (len(seen), set(seen)) == (5, made)


def test_a_job_shows_its_progress_and_cost(api: Api) -> None:
    # Given a job in labelling
    job_id = api.started()
    api.jobs.note(job_id, Images=90)
    name = f"{job_id}-1"
    api.ground_truth.jobs[name] = {
        "LabelingJobStatus": "InProgress",
        "LabelCounters": {"TotalLabeled": 31, "Unlabeled": 59, "FailedNonRetryableError": 0},
    }
    arn = f"arn:aws:sagemaker:{REGION}:{ACCOUNT}:labeling-job/{name}"
    api.jobs.advance(job_id, states.REQUEST_LABELS, status=Status.LABELLING, LabellingJobArn=arn)
    # Then it shows the count of now
    shown = api.get(f"jobs/{job_id}").json
    assert shown["status"] == "Labelling"
    assert (shown["progress"]["labelled"], shown["progress"]["total"]) == (31, 90)
    assert shown["cost"]["totalUsd"] == 0
    # When it is trained for half an hour, and its model has run for an hour
    api.jobs.advance(job_id, states.CHECK_MODEL, Poll=7, TrainingSeconds=1800, InferenceUnits=1, Labelled=90)
    api.jobs.note(job_id, ModelStartTime=now_ms() - 3_600_000)
    api.jobs.note(job_id, Passed=True, F1=0.97, Precision=0.98, Recall=0.96, Labels=[], Reasons=[])
    # Then it shows what it knows
    shown = api.get(f"jobs/{job_id}").json
    assert (shown["progress"]["labelled"], shown["progress"]["polls"]) == (90, 7)
    assert shown["metrics"]["f1"] == 0.97
    assert shown["cost"] == pytest.approx({"trainingUsd": 0.5, "modelUsd": 4.0, "totalUsd": 4.5}, abs=0.01)


def test_reading_a_job_records_an_end_whose_event_was_lost(api: Api) -> None:
    # Given an execution that failed, and an event that was lost
    job_id = api.started()
    arn = execution_arn(job_id)
    api.machine.entered[arn] = ["Collect photos"]
    cause = json.dumps({"errorMessage": "3 usable photos; at least 10 are needed.", "errorType": "NotEnoughImages"})
    api.machine.end(arn, "FAILED", error="NotEnoughImages", cause=cause)
    # When the job is read
    shown = api.get(f"jobs/{job_id}").json
    # Then it says how it ended
    assert (shown["status"], shown["stage"], shown["error"]) == ("Failed", "Collect photos", "NotEnoughImages")
    assert shown["cause"] == "3 usable photos; at least 10 are needed."
    assert api.get("list").json[0]["status"] == "Failed"


# --- Supplied labels -------------------------------------------------------------------------------------------------


def test_labels_are_posted_to_a_job_that_waits(api: Api) -> None:
    # Given a job that waits for labels
    job_id = api.waiting_for_labels()
    assert is_problem(api.post(f"jobs/{job_id}/labels", {"key": "a.json"}), 422, "'a.json' is not uploaded")
    # When they are uploaded and posted
    api.upload(f"labels/{job_id}/a.json")
    answer = api.post(f"jobs/{job_id}/labels", {"key": "a.json"})
    # Then the execution continues with them
    assert (answer.status, answer.json["id"]) == (200, job_id)
    output = json.loads(api.machine.answers["token"]["output"])
    assert (output["provider"], output["labelsKey"]) == ("supplied", f"labels/{job_id}/a.json")
    assert output["labelsEtag"]
    assert output["postedBy"]
    # And a second post finds no waiting task, before and after the next state has removed the token
    assert is_problem(api.post(f"jobs/{job_id}/labels", {"key": "a.json"}), 409, "does not wait for labels now")
    api.jobs.advance(job_id, states.IMPORT_LABELS, TaskToken=None)
    assert is_problem(api.post(f"jobs/{job_id}/labels", {"key": "a.json"}), 409, "does not wait")


def test_labels_posted_by_another_caller_a_moment_before(api: Api) -> None:
    job_id = api.waiting_for_labels()
    api.upload(f"labels/{job_id}/a.json")
    api.machine.tokens.clear()
    assert is_problem(api.post(f"jobs/{job_id}/labels", {"key": "a.json"}), 409, "does not wait for labels now")


def test_labels_for_a_job_that_ground_truth_labels(api: Api) -> None:
    job_id = api.started()
    tokens.store(job_id, "token", "ground-truth")
    assert is_problem(api.post(f"jobs/{job_id}/labels", {"key": "a.json"}), 409, "does not wait for supplied labels")


# --- Stop and resume -------------------------------------------------------------------------------------------------


def test_a_stop_in_labelling_stops_the_people_too(api: Api) -> None:
    # Given a job in labelling
    job_id = api.started()
    name = f"{job_id}-1"
    api.ground_truth.jobs[name] = {"LabelingJobStatus": "InProgress", "OutputConfig": {"S3OutputPath": "s3://b/"}}
    arn = f"arn:aws:sagemaker:{REGION}:{ACCOUNT}:labeling-job/{name}"
    api.jobs.advance(job_id, states.REQUEST_LABELS, status=Status.LABELLING, LabellingJobArn=arn)
    # When it is stopped, twice
    first, second = (api.post(f"jobs/{job_id}/stop") for _ in range(2))
    # Then both are stopped, the execution first, and the second call has nothing left to do
    assert first.json["stopped"] == ["execution", "labelling job"]
    assert second.json["stopped"] == []
    assert api.ground_truth.jobs[name]["LabelingJobStatus"] == "Stopped"
    assert first.json["status"] == second.json["status"] == "Stopped"
    assert api.execution(job_id)["status"] == "ABORTED"


def test_a_stop_after_a_stop_in_the_console_is_not_recorded(api: Api) -> None:
    # Given a job whose execution was stopped in the console, which the record does not show yet
    job_id = api.started()
    api.machine.end(execution_arn(job_id), "ABORTED")
    # When a caller stops the job
    answer = api.post(f"jobs/{job_id}/stop")
    # Then the caller is not recorded as the one who stopped it
    assert (answer.status, answer.json["stopped"]) == (200, [])
    assert api.jobs.get(job_id)["StoppedBy"] is None


def test_a_stop_ends_a_model_that_was_not_published(api: Api) -> None:
    # Given a job whose model is starting
    job_id, _ = deploying(api, "STARTING")
    # When it is stopped while the model starts, and again when it runs
    early = api.post(f"jobs/{job_id}/stop").json
    api.rekognition.versions[job_id]["Status"] = "RUNNING"
    late = api.post(f"jobs/{job_id}/stop").json
    # Then the first answer says that the model goes on, and the second stops it
    assert early["stopped"] == ["execution"]
    assert "STARTING" in early["remaining"][0]
    assert (late["stopped"], late["remaining"]) == (["model"], [])
    assert api.rekognition.versions[job_id]["Status"] == "STOPPING"
    assert api.jobs.get(job_id)["ModelStartTime"] is None


@pytest.mark.parametrize("noted", [False, True])
def test_a_stop_leaves_the_live_model_alone(api: Api, noted: bool) -> None:
    # Given a job whose model is published, whether the record says so yet or not
    job_id, arn = deploying(api, "RUNNING")
    if noted:
        api.jobs.note(job_id, PublishedTime=now_ms())
    else:
        api.ssm.put_parameter(Name=MODEL, Value=arn, Overwrite=True)
    # When it is stopped
    api.post(f"jobs/{job_id}/stop")
    # Then the model runs on
    assert api.rekognition.versions[job_id]["Status"] == "RUNNING"


def test_a_stop_in_training_says_that_training_goes_on(api: Api) -> None:
    job_id, _ = deploying(api, "TRAINING_IN_PROGRESS")
    assert "cannot cancel" in api.post(f"jobs/{job_id}/stop").json["remaining"][0]


def deploying(api: Api, status: str) -> tuple[str, str]:
    """A started job with a model of this status: job id and model ARN."""
    job_id = api.started()
    project = api.rekognition.create_project(job_id)["ProjectArn"]
    arn = api.rekognition.add_version(project, job_id, status, MinInferenceUnits=1)
    attributes = {"ProjectArn": project, "ProjectVersionArn": arn, "ModelStartTime": now_ms(), "InferenceUnits": 1}
    api.jobs.advance(job_id, states.CHECK_MODEL, **attributes)
    return job_id, arn


@pytest.mark.parametrize("seen", [False, True])
def test_a_failed_job_is_resumed_where_it_failed(api: Api, seen: bool) -> None:
    # Given a job that failed in training, whether its record says so yet or not
    job_id = api.started()
    api.jobs.advance(job_id, states.START_TRAINING)
    api.machine.end(execution_arn(job_id), "FAILED", error="TrainingTimedOut", cause="72 hours")
    if seen:
        api.get(f"jobs/{job_id}")
    # When it is resumed
    answer = api.post(f"jobs/{job_id}/resume")
    # Then it trains again, without the error of before
    assert answer.status == 200
    assert (answer.json["status"], answer.json["detailedStatus"]) == ("Training", "Resumed")
    assert "error" not in answer.json
    assert api.execution(job_id)["status"] == "RUNNING"
    assert api.get(f"jobs/{job_id}").json["status"] == "Training"


@pytest.mark.parametrize(
    ("status", "error", "words"),
    [
        ("RUNNING", None, "is running"),
        ("SUCCEEDED", None, "nothing to resume"),
        ("FAILED", "ModelRejected", "Start a new job"),
    ],
)
def test_a_job_that_cannot_be_resumed_says_why(api: Api, status: str, error: str | None, words: str) -> None:
    job_id = api.started()
    if status != "RUNNING":
        api.machine.end(execution_arn(job_id), status, **({"error": error} if error else {}))
    assert is_problem(api.post(f"jobs/{job_id}/resume"), 409, words)


@pytest.mark.parametrize("provider", ["supplied", "ground-truth"])
@pytest.mark.parametrize("error", advice.BY_ERROR)
def test_a_resume_that_could_only_fail_again_is_refused(api: Api, error: str, provider: str) -> None:
    # Given a job that failed
    job_id = api.started({"labels": {"provider": provider}})
    api.machine.end(execution_arn(job_id), "FAILED", error=error, cause="why")
    advised = advice.for_job(Status.FAILED, error, provider)
    # When it is shown and resumed
    shown, resumed = api.get(f"jobs/{job_id}").json, api.post(f"jobs/{job_id}/resume")
    # Then the job says what to do, and so does the refusal of what cannot help
    assert shown["advice"] == {"text": advised.text, "resume": advised.resume}
    if advised.resume is advice.Resume.IMPOSSIBLE:
        assert is_problem(resumed, 409, advised.text)
        assert api.get(f"jobs/{job_id}").json["status"] == shown["status"]
    else:
        assert resumed.status == 200
        assert "advice" not in resumed.json


def test_a_corrected_labels_file_has_the_name_of_the_first(api: Api) -> None:
    # Given a job that failed over its labels
    job_id = api.new_job()
    api.upload(f"labels/{job_id}/labels.json")
    api.post("start", {"labels": {"provider": "supplied", "key": "labels.json"}}, JobId=job_id)
    api.machine.end(execution_arn(job_id), "FAILED", error="NoUsableLabels", cause="why")
    api.get(f"jobs/{job_id}")
    # When a URL is asked for, then under another name the job would not find the file
    other = api.post(f"jobs/{job_id}/urls", {"names": ["corrected.json"]})
    assert is_problem(other, 409, "under the name that the job reads: labels.json")
    assert is_problem(api.get("url", JobId=job_id, S3Key="corrected.json"), 409, "labels.json")
    # And it may replace the first
    answer = api.post(f"jobs/{job_id}/urls", {"names": ["labels.json"]})
    assert "If-None-Match" not in answer.json["labels.json"]["headers"]
    assert api.get("url", JobId=job_id, S3Key="labels.json").status == 200


def stopped_in_training(api: Api) -> str:
    """A job that was stopped while its model was trained, whose execution has results."""
    job_id, arn = deploying(api, "TRAINING_IN_PROGRESS")
    project = api.jobs.get(job_id)["ProjectArn"]
    api.machine.results[execution_arn(job_id)] = {
        "Collect photos": {"manifest": "s3://b/input.manifest"},
        "Import labels": {"manifest": "s3://b/labelled.manifest", "labelAttribute": "doctype"},
        "Prepare datasets": {"trainManifest": "s3://b/train.manifest"},
        "Create datasets": {"projectArn": project},
        "Start training": {"projectVersionArn": arn, "versionName": job_id},
    }
    assert api.post(f"jobs/{job_id}/stop").status == 200
    return job_id


def resumed_input(api: Api, name: str) -> Any:
    return json.loads(api.execution(name)["input"])["resumed"]


def test_jobs_past_redrive_continue_in_further_executions(api: Api) -> None:
    # Given a stopped job whose execution is too old, and whose training goes on
    job_id = stopped_in_training(api)
    api.execution(job_id)["redriveStatus"] = "NOT_REDRIVABLE"
    # When it is resumed
    answer = api.post(f"jobs/{job_id}/resume")
    # Then a second execution has all results, the record names it, and late words about the first one change nothing
    assert answer.status == 200, answer.text
    assert answer.json["executionArn"] == execution_arn(f"{job_id}-2")
    assert resumed_input(api, f"{job_id}-2")["model"]["versionName"] == job_id
    assert api.execution(job_id)["status"] == "ABORTED"
    # When that one ends too, and can be redriven no more
    api.machine.end(execution_arn(f"{job_id}-2"), "FAILED", error="TrainingTimedOut")
    api.execution(f"{job_id}-2")["redriveStatus"] = "NOT_REDRIVABLE"
    api.jobs.note(job_id, ResumedTime=0)
    assert api.post(f"jobs/{job_id}/resume").status == 200
    # Then a third one has the results of the first
    assert resumed_input(api, f"{job_id}-3") == resumed_input(api, f"{job_id}-2") | {"redrives": 2}


@pytest.mark.parametrize("lost", ["TRAINING_FAILED", "DELETING", "discarded"])
def test_a_model_that_is_lost_is_trained_anew(api: Api, lost: str) -> None:
    # Given a stopped job whose model has failed, or is deleted or about to be
    job_id = stopped_in_training(api)
    arn = api.rekognition.versions[job_id]["ProjectVersionArn"]
    if lost == "discarded":
        api.rekognition.versions[job_id]["Status"] = "TRAINING_COMPLETED"
        assert ends.discard_model(api.jobs.get(job_id), arn, TrainingSeconds=3600)
    else:
        api.rekognition.versions[job_id]["Status"] = lost
    # When it is resumed
    assert api.post(f"jobs/{job_id}/resume").status == 200
    # Then the next execution has all but the model, and what the first training cost is not forgotten
    assert list(resumed_input(api, f"{job_id}-2")) == ["redrives", "images", "labels", "manifests", "datasets"]
    shown = api.get(f"jobs/{job_id}").json
    assert shown["projectVersionArn"] is None
    assert shown["cost"]["trainingUsd"] == (1.0 if lost == "discarded" else 0)


@pytest.mark.parametrize("others", [False, True])
def test_an_interrupted_resume_is_continued(api: Api, others: bool) -> None:
    # Given a resume that named the next execution and could not start it
    job_id = stopped_in_training(api)
    api.execution(job_id)["redriveStatus"] = "NOT_REDRIVABLE"
    api.machine.refuse_next("start_execution", "ExecutionLimitExceeded")
    assert api.post(f"jobs/{job_id}/resume").status == 500
    # Then no other caller can resume it at this moment
    with pytest.raises(NotAllowed, match="Another caller"):
        lifecycle.resume(api.jobs.get(job_id), "somebody else", api.function.machine)
    # When it is resumed once more, at once by the same caller or half a minute later by another
    if others:
        api.jobs.note(job_id, ResumedTime=0)
        lifecycle.resume(api.jobs.get(job_id), "somebody else", api.function.machine)
    else:
        assert api.post(f"jobs/{job_id}/resume").status == 200
    # Then that execution runs, and there is no third
    assert api.execution(f"{job_id}-2")["status"] == "RUNNING"
    assert len(api.machine.executions) == 2


def test_the_second_resume_of_a_caller_starts_an_execution(api: Api) -> None:
    # Given a resume that reads a long history
    job_id = stopped_in_training(api)
    api.execution(job_id)["redriveStatus"] = "NOT_REDRIVABLE"
    job, machine, read = api.jobs.get(job_id), api.function.machine, api.machine.get_execution_history
    later: list[Job] = []

    def overtaken(**request: Any) -> Any:
        api.machine.get_execution_history = read  # type: ignore[method-assign]
        # When the same caller asks again meanwhile, and the training of the next execution begins
        later.append(lifecycle.resume(job, "engineer", machine))
        api.jobs.note(job_id, ProjectVersionArn="arn:new")
        return read(**request)

    api.machine.get_execution_history = overtaken  # type: ignore[method-assign]
    # Then the earlier request is refused, and the record keeps the execution's results
    with pytest.raises(NotAllowed, match="Another request"):
        lifecycle.resume(job, "engineer", machine)
    assert [one.id for one in later] == [job_id]
    assert api.jobs.get(job_id)["ProjectVersionArn"] == "arn:new"
    assert len(api.machine.executions) == 2


def test_a_resume_whose_claim_was_not_answered_is_noted_once(api: Api) -> None:
    # Given a claim that took effect and whose answer was lost
    job_id = stopped_in_training(api)
    api.get(f"jobs/{job_id}")
    claimed = resumes.claim(job_id, "anonymous")
    # When the same caller asks again
    assert api.post(f"jobs/{job_id}/resume").status == 200
    # Then the execution runs, the claim holds from now on, and the record names one call
    job = api.jobs.get(job_id)
    assert api.execution(job_id)["status"] == "RUNNING"
    assert job["ResumedTime"] >= claimed["ResumedTime"]
    assert len(job["ResumedBy"]) == 1


def test_after_a_redrive_in_the_console_a_resume_starts_nothing(api: Api) -> None:
    job_id = stopped_in_training(api)
    before = dict(api.execution(job_id))
    answers = iter([before, before | {"status": "RUNNING"}])
    api.machine.describe_execution = lambda **_: dict(next(answers))  # type: ignore[method-assign, assignment]
    api.machine.refuse_next("redrive_execution", "ExecutionNotRedrivable", "Execution is RUNNING")
    assert is_problem(api.post(f"jobs/{job_id}/resume"), 409, "is running")
    assert len(api.machine.executions) == 1


# --- The live model --------------------------------------------------------------------------------------------------


def test_no_model_is_live_yet(api: Api) -> None:
    assert set(api.get("model").json.values()) == {None}


@pytest.mark.parametrize(("status", "cost"), [("RUNNING", 8.0), ("STOPPED", 0.0)])
def test_the_live_model_shows_its_cost(api: Api, status: str, cost: float) -> None:
    project = api.rekognition.create_project("live")["ProjectArn"]
    arn = api.rekognition.add_version(project, "live", status, MinInferenceUnits=2)
    for name, value in ((PROJECT, project), (MODEL, arn)):
        api.ssm.put_parameter(Name=name, Value=value, Overwrite=True)
    shown = api.get("model").json
    assert (shown["projectArn"], shown["projectVersionArn"], shown["status"]) == (project, arn, status)
    assert (shown["inferenceUnits"], shown["costPerHourUsd"]) == (2, cost)
    assert abs(shown["since"] - now_ms()) < 60_000


def test_stop_and_start_of_the_live_model_update_its_record(api: Api) -> None:
    # Given a live model that runs, of a job
    job_id = api.new_job()
    project = api.rekognition.create_project(job_id)["ProjectArn"]
    arn = api.rekognition.add_version(project, job_id, "RUNNING", MinInferenceUnits=1)
    api.jobs.note(job_id, ModelStartTime=now_ms() - 5000, InferenceUnits=1)
    # When none is live yet, then nothing can be stopped
    assert is_problem(api.post("model/stop"), 409, "No model is live")
    for name, value in ((PROJECT, project), (MODEL, arn)):
        api.ssm.put_parameter(Name=name, Value=value, Overwrite=True)
    # When it is stopped, then it costs no more
    stopped = api.post("model/stop")
    assert (stopped.status, stopped.json["projectVersionArn"]) == (200, arn)
    assert api.jobs.get(job_id)["ModelStartTime"] is None
    assert api.jobs.get(job_id)["ModelSeconds"] >= 5
    # When it is stopped once more, then that is said, and it may be started again
    assert is_problem(api.post("model/stop"), 409, "cannot be stopped")
    api.rekognition.versions[job_id]["Status"] = "STOPPED"
    assert api.post("model/start").status == 200
    assert api.jobs.get(job_id)["ModelStartTime"] > 0


# --- What is uploaded, and how far a job is ---------------------------------------------------------------------------


def test_uploads_are_listed_page_by_page_photos_then_labels(api: Api) -> None:
    # Given more photos than a page has, and labels
    job_id = api.new_job(photos=0)
    for number in range(1001):
        api.upload(f"images/{job_id}/photo-{number:04}.jpg")
    api.upload(f"labels/{job_id}/annotations.json")
    # When all pages are asked for
    names, answer = [], api.get(f"jobs/{job_id}/uploads")
    names += [entry["name"] for entry in answer.json]
    assert len(names) == 1000
    while "x-next-token" in answer.headers:
        answer = api.get(f"jobs/{job_id}/uploads", nextToken=answer.headers["x-next-token"])
        names += [entry["name"] for entry in answer.json]
    # Then each file is listed once, and an invalid token is refused
    assert names == [*(f"photo-{number:04}.jpg" for number in range(1001)), "annotations.json"]
    for token in ("nonsense", "bWFuaWZlc3RzLw==", "\u00e9"):
        assert is_problem(api.get(f"jobs/{job_id}/uploads", nextToken=token), 400, "nextToken")


def test_a_page_of_long_names_is_shorter(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    # Given photos and labels with long names, and an answer that has room for some of them
    job_id = api.new_job(photos=0)
    names = [f"{number:04}{'📷' * 220}.jpg" for number in range(10)]
    for name in names:
        api.upload(f"images/{job_id}/{name}")
    api.upload(f"labels/{job_id}/annotations.json")
    monkeypatch.setattr(answers, "LARGEST", 30_000)
    # When all pages are asked for
    pages = [api.get(f"jobs/{job_id}/uploads")]
    while token := pages[-1].headers.get("x-next-token"):
        pages.append(api.get(f"jobs/{job_id}/uploads", nextToken=token))
    # Then each is small enough, and each file is there once
    assert all(len(json.dumps(page.text)) <= 30_000 for page in pages)
    assert [entry["name"] for page in pages for entry in page.json] == [*names, "annotations.json"]
    assert [len(page.json) for page in pages][:2] == [4, 4]


@pytest.mark.parametrize(
    ("hashes", "words"),
    [
        ({"other.jpg": "0" * 64}, "not in names"),
        ({"a.jpg": "0" * 63}, "64 hex digits"),
        ({"a.jpg": 7}, "64 hex digits"),
        ([], "must be an object"),
    ],
)
def test_a_hash_that_cannot_be_is_refused(api: Api, hashes: Any, words: str) -> None:
    job_id = api.new_job(photos=0)
    assert is_problem(api.post(f"jobs/{job_id}/urls", {"names": ["a.jpg"], "sha256": hashes}), 400, words)


def test_a_subject_is_signed_as_a_hash_of_the_job(api: Api) -> None:
    # When two jobs ask for URLs of photos, one of them with its subject
    first, second = api.new_job(photos=0), api.new_job(photos=0)
    body = {"names": ["a.jpg", "b.jpg", "c.jpg"], "subjects": {"a.jpg": "customer-17", "b.jpg": "customer-17"}}
    answers = {job_id: api.post(f"jobs/{job_id}/urls", body) for job_id in (first, second)}
    # Then the upload of a photo with a subject must send its hash
    targets = answers[first].json
    signed = {name: parse_qs(urlsplit(targets[name]["url"]).query)["X-Amz-SignedHeaders"][0] for name in targets}
    assert ["x-amz-meta-subject" in signed[name].split(";") for name in targets] == [True, True, False]
    assert targets["a.jpg"]["headers"]["x-amz-meta-subject"] == targets["b.jpg"]["headers"]["x-amz-meta-subject"]
    assert "x-amz-meta-subject" not in targets["c.jpg"]["headers"]
    # And the hash shows neither the subject nor that another job has the same
    assert "customer-17" not in answers[first].text
    hashes = {answers[job_id].json["a.jpg"]["headers"]["x-amz-meta-subject"] for job_id in (first, second)}
    assert hashes == {subject_hash(first, "customer-17"), subject_hash(second, "customer-17")}
    assert len(hashes) == 2


@pytest.mark.parametrize(
    ("subjects", "words"),
    [
        ({"b.jpg": "jane"}, "not in names"),
        ({"a.json": "jane"}, "'a.json', which is a labels file"),
        ({"a.jpg": "jane" * 33}, "1 to 128 letters"),
        ({"a.jpg": ""}, "1 to 128 letters"),
        ({"a.jpg": "jane doe"}, "1 to 128 letters"),
        ({"a.jpg": "jane\n"}, "1 to 128 letters"),
        ({"a.jpg": "jäne"}, "1 to 128 letters"),
        ({"a.jpg": 17}, "1 to 128 letters"),
        ({"a.jpg": None}, "1 to 128 letters"),
        (["jane"], "must be an object"),
    ],
)
def test_a_subject_that_cannot_be_is_refused(api: Api, logs: io.StringIO, subjects: Any, words: str) -> None:
    job_id = api.new_job(photos=0)
    answer = api.post(f"jobs/{job_id}/urls", {"names": ["a.jpg", "a.json"], "subjects": subjects})
    # Then the answer says why, and neither it nor the log has the subject, which may be personal
    assert is_problem(answer, 400, words)
    assert not re.search("jane|jäne", answer.text + logs.getvalue())


# --- Web pages, routes and logs --------------------------------------------------------------------------------------


def test_the_routes_are_the_calls_of_the_description(api: Api) -> None:
    # Given the routes that the functions answer
    for name in ("ISSUER", "CLIENT", "SIGN_IN_URL", "SCOPES"):
        api.monkeypatch.setenv(f"LABELLING_{name}", "x")
    for name, value in {
        "TASKS_TABLE": "tasks",
        "TASKS_INDEX": "ByAvailability",
        "DETECT_BUCKETS": "",
        "FINISH_FUNCTION": "finish",
    }.items():
        api.monkeypatch.setenv(name, value)
    apps = [api.function.app, *(importlib.import_module(f"api.{name}").app for name in ("documents", "labelling"))]
    routes = {
        (route.method, re.sub("<(job_)?([a-z]+)>", r"{\2}", route.path))
        for app in apps
        for route in app._static_routes + app._dynamic_routes
    }
    # Then they are those that the API's description has, from which API Gateway is made
    assert routes == {(method.upper(), path) for path, item in DESCRIPTION["paths"].items() for method in item}


def test_only_the_pages_of_the_deployment_read_answers(jobs: Jobs, s3: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    # Given a deployment for two origins
    api = Api(jobs, monkeypatch, WEB_ORIGINS="https://a.example,https://b.example")

    def from_page(origin: str, method: str = "GET") -> Answer:
        event = proxy_event(method, "/api/training/list") | {"multiValueHeaders": {"origin": [origin]}}
        return Answer(api.function.handler(event | {"headers": {"origin": origin}}, LambdaContext()))

    # Then pages of these may read an answer, and no other page
    for origin in ("https://a.example", "https://b.example"):
        for method in ("GET", "OPTIONS"):
            assert from_page(origin, method).headers["access-control-allow-origin"] == origin
    for origin in ("https://c.example", "https://a.example.evil", "http://a.example", "null"):
        for method in ("GET", "OPTIONS"):
            assert "access-control-allow-origin" not in from_page(origin, method).headers


def test_a_call_is_logged_by_its_route_and_job_alone(api: Api, logs: io.StringIO) -> None:
    # When a URL for a photo is asked for, rightly and wrongly
    job_id = api.new_job(photos=0)
    api.get("url", JobId=job_id, S3Key="anna-meyer.jpg")
    api.get("url", JobId=job_id, S3Key="../anna-meyer.jpg")
    # Then the log has the job, and neither the photo's name nor the URL
    lines = [json.loads(line) for line in logs.getvalue().splitlines()]
    assert {line.get("job_id") for line in lines} >= {job_id}
    assert "meyer" not in logs.getvalue()
    assert "X-Amz" not in logs.getvalue()
