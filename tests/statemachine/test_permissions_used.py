"""Whole jobs need no permission that a role lacks, a role has no unused permission, and the API makes few AWS calls."""

import base64
import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from authorization import Roles
from deployed import TYPES, Pipeline, deployed, eventually
from people import box, person
from PIL import Image

from ekyc.localaws import calls
from ekyc.localaws.calls import Call
from ekyc.localaws.clock import clock
from ekyc.localaws.iam.needs import list_needs
from ekyc.localaws.iam.policies import Need, Statement
from ekyc.localaws.server import LocalAws
from ekyc.localaws.services import events, rekognition
from ekyc.localaws.synth import LOCAL_SETTINGS, synthesize
from stacks.openapi import Description
from tests.conftest import LENIENT

BY_LAMBDA = "Lambda itself does it by the function's role."
BY_REKOGNITION = "Rekognition does it as its caller; the local one reads without asking."
RARE = "Only after a failure that this job does not have: "

NEVER_SEEN: dict[tuple[str, str], str] = {
    **{
        ("*", action): BY_LAMBDA
        for action in (
            "logs:CreateLogStream",
            "logs:PutLogEvents",
            "sqs:SendMessage",
            "xray:PutTelemetryRecords",
            "xray:PutTraceSegments",
        )
    },
    **{
        (function, action): BY_REKOGNITION
        for function in ("CreateDatasets", "StartTraining")
        for action in (
            "s3:GetObjectAcl",
            "s3:GetObjectTagging",
            "s3:GetObjectVersion",
            "s3:GetBucketAcl",
            "s3:GetBucketLocation",
            "s3:ListBucket",
        )
    },
    ("CreateDatasets", "s3:GetObject"): BY_REKOGNITION,
    ("StartTraining", "s3:GetObject"): BY_REKOGNITION,
    **{
        (function, "s3:ListBucket"): "Changes a response: with it, S3 returns 404 for a missing object."
        for function in (
            "CollectPhotos",
            "ImportLabels",
            "PrepareDatasets",
            "LearnOutlines",
            "EvaluateModel",
            "ExportAudit",
            "Api",
            "Documents",
        )
    },
    **{("*", action): "SNS calls KMS as the publisher." for action in ("kms:Decrypt", "kms:GenerateDataKey")},
    **{
        (function, "sagemaker:StopLabelingJob"): "Either the API or RecordOutcome stops it first."
        for function in ("Api", "RecordOutcome")
    },
    **{
        ("RecordOutcome", action): RARE + "a job that ended had a model, which may run."
        for action in (
            "rekognition:DescribeProjectVersions",
            "rekognition:StopProjectVersion",
            "ssm:GetParameter",
        )
    },
    **{
        (function, action): RARE + "a batch of photos failed."
        for function in ("Api", "ExportAudit", "RecordOutcome", "SettleJob")
        for action in ("states:DescribeExecution", "states:ListExecutions", "states:ListMapRuns")
    },
    **{
        ("RequestLabels", action): RARE + "labels arrive before the task's token is stored, and a notice is sent."
        for action in ("events:PutEvents", "sns:Publish")
    },
    **{
        ("SettleJob", action): RARE + "something was left when a job ended."
        for action in (
            "events:PutEvents",
            "lambda:InvokeFunction",
            "rekognition:DeleteProjectVersion",
            "rekognition:DescribeProjectVersions",
            "rekognition:StopProjectVersion",
            "sagemaker:DescribeLabelingJob",
            "sagemaker:StopLabelingJob",
            "sns:Publish",
            "ssm:GetParameter",
            "ssm:PutParameter",
        )
    },
    **{
        ("WatchRunning", action): "Only when a model runs at that hour, or it is time to remind."
        for action in ("dynamodb:UpdateItem", "events:PutEvents", "sns:Publish", "ssm:GetParameter")
    },
    ("CreateDatasets", "rekognition:DeleteDataset"): RARE + "a dataset that failed makes room for another.",
    ("CreateDatasets", "rekognition:DescribeProjects"): RARE + "a run that broke off has made the project.",
    ("CheckTraining", "s3:GetObject"): RARE + "the training failed, and a summary of the manifests says why.",
    ("StartModel", "rekognition:DescribeProjectVersions"): RARE + "the model starts already, or cannot be started.",
    ("Api", "s3:GetObject"): "The API signs the links by which clients compare uploads; its own reads are denied.",
    ("Api", "s3:PutObject"): "The API signs the URLs that clients upload to; S3 asks whether it may write there.",
    ("Api", "rekognition:StopProjectVersion"): RARE + "a job is stopped between its model's start and going live.",
    ("FinishLabelling", "s3:ListBucket"): "Changes a response: with it, S3 returns 404 for a missing object.",
    ("RequestLabels", "s3:ListBucket"): "Changes a response: with it, S3 returns 404 for a missing object.",
    ("FinishLabelling", "states:SendTaskFailure"): RARE + "people have skipped every photo.",
    **{
        ("RequestLabels", action): RARE + "the function that merges the answers was not invoked."
        for action in ("dynamodb:BatchGetItem", "dynamodb:Query", "s3:GetObject")
    },
    **{
        (function, "dynamodb:UpdateItem"): "The first of these functions closes the labelling of a stopped job."
        for function in ("Api", "RecordOutcome", "SettleJob")
    },
    ("Labelling", "s3:GetObject"): "Signs URLs of photos, and Rekognition reads those that were turned as its caller.",
    ("SettleJob", "dynamodb:GetItem"): RARE + "something was left when a job ended.",
    ("RequestLabels", "states:SendTaskFailure"): RARE + "a labelling job had failed before its token was stored.",
    ("RequestLabels", "states:SendTaskSuccess"): RARE + "a labelling job had ended before its token was stored.",
}
"""What is allowed and was not seen: function (or all, ``*``), action, and why it is allowed all the same."""


WITHOUT_CALLS = {"LabellingFiles"}
"""The functions that only return files of their code."""

MANY_CALLS: dict[str, int] = {
    "POST /api/documents/detect": 4,  # once: a new function reads the model's outlines
    "GET /api/training/jobs/{id}": 4,  # once: the end of the execution is written down when no event has told it yet
    "GET /api/training/jobs/{id}/audit": 6,  # once: the report is not there or too old, so it is claimed and made
    "DELETE /api/training/jobs/{id}": 5,  # with deleteModel: whether the model is live or runs
    "POST /api/training/jobs/{id}/stop": 12,
    "POST /api/training/jobs/{id}/resume": 9,
    "GET /api/labelling/jobs": 4,  # two of them for each job
    "GET /api/labelling/jobs/{id}": 4,
    "POST /api/labelling/jobs/{id}/next": 17,  # three for each photo with proposals, and three each minute
    "PUT /api/labelling/jobs/{id}/answers/{place}": 8,  # with the invocation after the last answer
}
"""The routes that make more than three calls, and how many at most: docs/performance.md says why."""


@pytest.fixture(scope="module")
def recorded(
    local_aws: LocalAws, tmp_path_factory: pytest.TempPathFactory, photos: Path
) -> Iterator[tuple[Roles, list[Call]]]:
    """The roles, and every call of every function in some whole jobs."""
    settings = {**LOCAL_SETTINGS, **LENIENT}
    with deployed(local_aws, synthesize(tmp_path_factory.mktemp("page"), settings), photos) as pipeline:
        roles = Roles(local_aws)
        with calls.recorded() as seen:
            run_jobs(pipeline)
        yield roles, seen


def run_jobs(pipeline: Pipeline) -> None:
    """Have every function do what it does, through the API as a client does."""
    # people label, the model goes live
    first = pipeline.uploaded()
    name = min(pipeline.photos.glob("*.jpg")).name
    assert pipeline.http.get("url", params={"JobId": first, "S3Key": name}).status_code == 409
    pipeline.start(first)
    pipeline.reaches(first, "Ready")
    # a photo that is stored upside down, and is learned from; labels are posted while the machine waits; the next model
    # takes the place
    second = pipeline.uploaded(*sorted(path for path in pipeline.photos.glob("*.jpg") if path.name != name))
    rekognition.current().learns = True  # and outlines are learned
    turned = pipeline.photos.parent / "turned" / name
    turned.parent.mkdir(exist_ok=True)
    photo = Image.open(pipeline.photos / name)
    exif = photo.getexif()
    exif[0x0112] = 3
    photo.save(turned, exif=exif, quality=92)
    pipeline.upload(second, turned, pipeline.photos / "annotations.json")
    pipeline.start(second, labels={"provider": "supplied"}, stopPreviousModel=True)
    pipeline.reaches(second, "WaitingForLabelling")
    assert pipeline.http.post(f"jobs/{second}/labels", json={"key": "annotations.json"}).status_code == 200
    job = pipeline.reaches(second, "Ready")
    assert job["turned"] == 1
    # a document-checking service sends a photo
    photo_of_a_customer = base64.b64encode((pipeline.photos / name).read_bytes()).decode()
    found = pipeline.http.post(
        f"{pipeline.aws.api_url}/api/documents/detect", json={"photo": photo_of_a_customer, "crop": True}
    )
    assert found.status_code == 200, found.text
    # the live model has a pause
    for call, status in (("stop", "STOPPED"), ("start", "RUNNING")):
        assert pipeline.http.post(f"model/{call}").status_code == 200
        eventually(lambda status=status: pipeline.http.get("model").json()["status"] == status)
    # people label on the page while the live model runs: stopped, resumed, and labelled
    on_page = label_on_page(pipeline)
    # no worker labels: stopped, resumed, and then the labelling job is stopped in the console
    pipeline.aws.workforce.stop_answering()
    third = pipeline.uploaded()
    pipeline.start(third)
    pipeline.reaches(third, "Labelling")
    eventually(lambda: pipeline.http.get(f"jobs/{third}/audit").status_code == 303)
    stopped = pipeline.http.post(f"jobs/{third}/stop")
    assert "execution" in stopped.json().get("stopped", []), stopped.text
    pipeline.reaches(third, "Stopped")
    eventually(lambda: set(pipeline.labelling_jobs().values()) <= {"Stopped", "Completed"})
    assert pipeline.http.post(f"jobs/{third}/resume").status_code == 200
    pipeline.reaches(third, "Labelling")
    eventually(lambda: pipeline.labelling_jobs().get(f"{third}-2") == "InProgress")
    pipeline.aws.client("sagemaker").stop_labeling_job(LabelingJobName=f"{third}-2")
    pipeline.reaches(third, "Failed")
    # what else is asked, and erasures
    for path in ("states", "uploads"):
        assert pipeline.http.get(f"jobs/{third}/{path}").status_code == 200
    eventually(lambda: pipeline.http.get(f"jobs/{third}/audit").status_code == 303)
    assert pipeline.http.get("list").status_code == pipeline.http.get("model").status_code == 200
    signed = "AWS4-HMAC-SHA256 Credential=auditor/20261124/us-east-1/execute-api/aws4_request, SignedHeaders=host, "
    for job_id in (first, second, on_page):
        erasing = pipeline.http.delete(
            f"jobs/{job_id}",
            params={"deleteModel": json.dumps(job_id == first)},  # the other one's is live
            headers={"Authorization": f"{signed}Signature=0"},
        )
        assert erasing.status_code == 202, erasing.text
    for job_id in (first, second, on_page):
        eventually(lambda job_id=job_id: pipeline.job(job_id)["erasure"]["status"] == "Erased")
    # and what the schedules call
    events.fire_schedules()
    eventually(lambda: "RunningModels" in pipeline.logs())


def label_on_page(pipeline: Pipeline) -> str:
    """Have people make every call of the labelling page; returns the job's id."""
    rita = person(pipeline, "rita", "labellers", "reviewers")
    job_id = pipeline.uploaded()
    pipeline.start(job_id, labels={"provider": "page"}, deploy=False)
    pipeline.reaches(job_id, "Labelling")
    assert pipeline.http.post(f"jobs/{job_id}/stop").status_code == 200
    pipeline.reaches(job_id, "Stopped")
    assert pipeline.http.post(f"jobs/{job_id}/resume").status_code == 200
    pipeline.reaches(job_id, "Labelling")
    speed, clock.speed = clock.speed, 1
    rita.wait_for(job_id)
    (task,) = rita.take(job_id)
    place, lease = task["place"], {"place": task["place"], "leaseId": task["leaseId"]}
    assert rita.call("POST", f"jobs/{job_id}/leases", {"leases": [lease]}).status_code == 200
    assert rita.answer(job_id, task, [box()]).status_code == 200
    for path in ("jobs", f"jobs/{job_id}", f"jobs/{job_id}/answers", f"jobs/{job_id}/answers/{place}"):
        assert rita.call("GET", path).status_code == 200
    assert rita.call("GET", f"jobs/{job_id}/review").json() == {"reviews": []}
    assert rita.call("GET", f"jobs/{job_id}/review/{place}").status_code == 404
    assert rita.call("POST", f"jobs/{job_id}/review/next", {"count": 1}).json() == {"tasks": []}
    decision = {"leaseId": task["leaseId"], "decision": "accept"}
    assert rita.call("PUT", f"jobs/{job_id}/review/{place}", decision).status_code == 409
    rita.label_all(job_id, lambda task: [box(TYPES[task["place"] % 2])], count=3)
    clock.speed = speed
    pipeline.reaches(job_id, "Ready")
    return job_id


def test_no_call_is_one_that_the_functions_role_denies(recorded: tuple[Roles, list[Call]]) -> None:
    # Given every call that the functions made in whole jobs
    roles, seen = recorded
    assert {roles.titles[call.function] for call in seen} == set(roles.titles.values()) - WITHOUT_CALLS
    # When each is held against the role of its function
    denied = {
        (roles.titles[call.function], need.action, need.resource)
        for call in seen
        for need in list_needs(call)
        if not roles.allows(call.function, need)
    }
    # Then none is denied
    assert denied == set()


def test_only_listed_routes_make_more_than_three_calls(recorded: tuple[Roles, list[Call]]) -> None:
    # Given what the API's function asked of AWS in whole jobs, request by request
    requests: dict[str, list[Call]] = {}
    for call in recorded[1]:
        if "httpMethod" in (call.invocation.event or {}):
            requests.setdefault(call.invocation.id, []).append(call)
    most = Counter[str]()
    for made in requests.values():
        event = made[0].invocation.event
        route = f"{event['httpMethod']} {event['resource']}"
        most[route] = max(most[route], len(made))
    # Then each route that has something to ask was asked, and asks three times at most unless it is named
    routes = {f"{operation.method} {operation.path}" for operation in Description.read().operations()}
    assert set(most) == routes - {
        "GET /api/training/openapi.json",
        "GET /api/labelling/me",
        "GET /api/labelling/sign-in",
    }
    assert {route: count for route, count in most.items() if count > MANY_CALLS.get(route, 3)} == {}


def test_what_is_allowed_is_needed_or_has_a_reason(recorded: tuple[Roles, list[Call]]) -> None:
    # Given what the functions needed in whole jobs
    roles, seen = recorded
    needed = {(call.function, need.action, need.resource) for call in seen for need in list_needs(call)}
    # When what their roles allow is held against it, resource by resource
    unseen = {
        (roles.titles[function], action, resource)
        for function, statements in roles.statements.items()
        for statement in statements
        for action in statement.actions
        for resource in statement.resources
        if not any(
            by == function and Statement("Allow", (action,), (resource,)).applies(Need(needed_action, on))
            for by, needed_action, on in needed
        )
    }
    # Then all that was not needed has a reason
    assert {one for one in unseen if not {(one[0], one[1]), ("*", one[1])} & set(NEVER_SEEN)} == set()
    # And no reason is for a permission that no role has
    allowed = {
        (roles.titles[function], action)
        for function, statements in roles.statements.items()
        for statement in statements
        for action in statement.actions
    }
    assert set(NEVER_SEEN) <= allowed | {("*", action) for _, action in allowed}
