"""Ground Truth over HTTP: jobs and their states, what the workforce draws, the files, the event, work teams."""

from __future__ import annotations

import copy
import inspect
import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import moto.sagemaker.responses
import pytest
from botocore.exceptions import ClientError
from moto.moto_api._internal.models import moto_api_backend
from specimens import BUCKET, HEIGHT, LABELS, WIDTH, Photo, eventually, photo, put_lines, read_lines, stored_lying

from ekyc.localaws import faults
from ekyc.localaws.faults import Fault, What
from ekyc.localaws.server import LocalAws
from pipeline import datasets
from pipeline.clients import clients
from rules.consolidation import DrawnBox, consolidate
from tests.unit.photo_jobs import check_photos

TEAM = "arn:aws:sagemaker:us-east-1:123456789012:workteam/private-crowd/specimen-labellers"
FUNCTION = "arn:aws:lambda:us-east-1:432418664414:function:"
TEMPLATE = '<crowd-form><crowd-bounding-box name="boundingBox" src="{{ task.input.taskObject }}"></crowd-form>'
CATEGORIES = {"document-version": "2018-11-28", "labels": [{"label": "OTHER"}, *({"label": name} for name in LABELS)]}
REQUEST: dict[str, Any] = {
    "LabelingJobName": "job-1",
    "LabelAttributeName": "doctype",
    "InputConfig": {"DataSource": {"S3DataSource": {"ManifestS3Uri": f"s3://{BUCKET}/input.manifest"}}},
    "OutputConfig": {"S3OutputPath": f"s3://{BUCKET}/output/"},
    "RoleArn": "arn:aws:iam::123456789012:role/labelling",
    "LabelCategoryConfigS3Uri": f"s3://{BUCKET}/categories.json",
    "HumanTaskConfig": {
        "WorkteamArn": TEAM,
        "UiConfig": {"UiTemplateS3Uri": f"s3://{BUCKET}/template.liquid"},
        "PreHumanTaskLambdaArn": FUNCTION + "PRE-BoundingBox",
        "AnnotationConsolidationConfig": {"AnnotationConsolidationLambdaArn": FUNCTION + "ACS-BoundingBox"},
        "TaskTitle": "Draw a box",
        "TaskDescription": "Draw a box around the document",
        "NumberOfHumanWorkersPerDataObject": 1,
        "TaskTimeLimitInSeconds": 300,
    },
}


def request(path: str = "", value: Any = None) -> dict[str, Any]:
    """The request with the member at the dotted `path` set to `value`, or taken out when that is None."""
    changed = copy.deepcopy(REQUEST)
    *parents, last = path.split(".") if path else [""]
    place = changed
    for parent in parents:
        place = place[parent]
    if value is not None:
        place[last] = value
    elif path:
        del place[last]
    return changed


class Account:
    """The clients, photos with their answers, and everything that a job reads."""

    def __init__(self, local_aws: LocalAws, folder: Path) -> None:
        self.sagemaker = local_aws.client("sagemaker")
        self.s3 = local_aws.client("s3")
        self.workforce = local_aws.workforce
        self.s3.create_bucket(Bucket=BUCKET)
        local_aws.client("iam").create_role(RoleName="labelling", AssumeRolePolicyDocument="{}")
        self.put("template.liquid", TEMPLATE)
        self.put("categories.json", json.dumps(CATEGORIES))
        labels: list[str | None] = [*LABELS, *LABELS, *LABELS, *LABELS, None]
        self.photos = {f"{n}.jpg": photo(label, n) for n, label in enumerate(labels)}
        for name, taken in self.photos.items():
            self.s3.put_object(Bucket=BUCKET, Key=f"images/{name}", Body=taken.jpeg)
        put_lines(
            self.s3,
            "input.manifest",
            [{"source-ref": f"s3://{BUCKET}/images/{name}", "image-hash": f"hash of {name}"} for name in self.photos],
        )
        self.answers = folder / "annotations.json"
        self.answers.write_text(json.dumps(coco(self.photos)))

    def put(self, key: str, text: str) -> None:
        self.s3.put_object(Bucket=BUCKET, Key=key, Body=text.encode())

    def describe(self, name: str = "job-1") -> dict[str, Any]:
        return self.sagemaker.describe_labeling_job(LabelingJobName=name)

    def end(self, name: str = "job-1") -> dict[str, Any]:
        """The description once the job has ended."""
        eventually(lambda: self.describe(name)["LabelingJobStatus"] in ("Completed", "Failed", "Stopped"))
        return self.describe(name)

    def output(self, job: dict[str, Any]) -> list[dict[str, Any]]:
        return read_lines(self.s3, job["LabelingJobOutput"]["OutputDatasetS3Uri"].removeprefix(f"s3://{BUCKET}/"))


def coco(photos: dict[str, Photo]) -> dict[str, Any]:
    """The workers' answers by photo. Workers cannot label a photo that is not in here."""
    return {
        "categories": [{"id": n, "name": label} for n, label in enumerate(LABELS)],
        "images": [
            {"id": n, "file_name": f"photos/{name}", "width": WIDTH, "height": HEIGHT} for n, name in enumerate(photos)
        ],
        "annotations": [
            {"id": n, "image_id": n, "category_id": LABELS.index(taken.label), "bbox": list(taken.box)}
            for n, taken in enumerate(photos.values())
            if taken.label and taken.box
        ],
    }


@pytest.fixture
def account(empty_aws: LocalAws, tmp_path: Path) -> Iterator[Account]:
    yield Account(empty_aws, tmp_path)
    empty_aws.workforce.stop_answering()


@pytest.fixture
def received(empty_aws: LocalAws, account: Account) -> Any:
    """What EventBridge has delivered of labelling jobs so far: a function that gives the events."""
    sqs, rules = empty_aws.client("sqs"), empty_aws.client("events")
    url = sqs.create_queue(QueueName="labelling-events")["QueueUrl"]
    queue_arn = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    rules.put_rule(Name="labelling", EventPattern=json.dumps({"source": ["aws.sagemaker"]}))
    rules.put_targets(Rule="labelling", Targets=[{"Id": "queue", "Arn": queue_arn}])
    events: list[dict[str, Any]] = []

    def receive() -> list[dict[str, Any]]:
        messages = sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10).get("Messages", [])
        events.extend(json.loads(message["Body"]) for message in messages)
        return events

    return receive


def test_moto_has_no_labelling_jobs_of_its_own() -> None:
    # When moto gains these operations, this stand-in may have become needless
    source = inspect.getsource(moto.sagemaker.responses)
    assert "def create_labeling_job" not in source
    assert "def create_workteam" not in source


def test_a_labelled_job_writes_a_manifest_and_sends_an_event(account: Account, received: Any) -> None:
    # Given workers who know all photos but one, and a photo that is not there
    account.workforce.answer_from(account.answers, jitter_px=1.5, unanswered_share=0.1)
    lines = read_lines(account.s3, "input.manifest")
    missing = [{"source-ref": f"s3://{BUCKET}/images/gone.jpg"}]
    put_lines(account.s3, "input.manifest", [*lines, *missing])

    # When a job is made
    arn = account.sagemaker.create_labeling_job(**request())["LabelingJobArn"]
    early = account.describe()
    job = account.end()

    # Then it begins with counters at nought and ends with all objects counted
    assert early["LabelingJobStatus"] in ("Initializing", "InProgress")
    assert early["OutputConfig"]["KmsKeyId"] == ""
    assert "LabelingJobOutput" not in early
    assert job["LabelingJobStatus"] == "Completed"
    assert job["LabelCounters"] == {
        "TotalLabeled": 8,
        "HumanLabeled": 8,
        "MachineLabeled": 0,
        "FailedNonRetryableError": 2,
        "Unlabeled": 0,
    }
    where = job["LabelingJobOutput"]["OutputDatasetS3Uri"]
    assert where == f"s3://{BUCKET}/output/job-1/manifests/output/output.manifest"

    # And the manifest has every object in its order, with the keys that it came with
    output = account.output(job)
    assert [line["source-ref"] for line in output] == [line["source-ref"] for line in [*lines, *missing]]
    assert all(line["image-hash"].startswith("hash of ") for line in output[:-1])
    labelled = [line for line in output if "doctype" in line]
    assert len(labelled) == 8
    for line in labelled:
        check_label(line, account.photos[line["source-ref"].split("/")[-1]])

    # And who was not answered has a reason and no label
    failed = [line for line in output if "doctype" not in line]
    assert len(failed) == 2
    assert all(line["doctype-metadata"]["failure-reason"] for line in failed)

    # And the answers of the workers are kept
    listed = account.s3.list_objects_v2(Bucket=BUCKET, Prefix="output/job-1/annotations/worker-response/iteration-1/")
    assert listed["KeyCount"] == 8
    answer = json.loads(account.s3.get_object(Bucket=BUCKET, Key=listed["Contents"][0]["Key"])["Body"].read())
    content = answer["answers"][0]["answerContent"]["boundingBox"]
    assert content["inputImageProperties"] == {"width": WIDTH, "height": HEIGHT}

    # And EventBridge sends an event for the end, and no other event
    event = eventually(received)[0]
    assert event["detail-type"] == "SageMaker Ground Truth Labeling Job State Change"
    assert (event["resources"], event["detail"]) == ([arn], {"LabelingJobStatus": "Completed"})
    assert len(received()) == 1


def test_sideways_phone_photos_keep_their_size_and_are_used(account: Account, monkeypatch: pytest.MonkeyPatch) -> None:
    # Given photos of two types that are to be turned before they are shown, which are checked
    account.workforce.answer_from(account.answers, unanswered_share=0)
    job, labelled = "ekyc-20261124015324-9f3c0a1b2c3d4e5f", [name for name, one in account.photos.items() if one.label]
    for name in labelled:
        lying = stored_lying(account.photos[name]).jpeg
        account.s3.put_object(Bucket=BUCKET, Key=f"images/{job}/{name}", Body=lying)
    monkeypatch.setitem(vars(clients), "s3", account.s3)
    checked = check_photos(BUCKET, job, max_rejected_share=0)

    # When they are labelled
    account.sagemaker.create_labeling_job(
        **request("InputConfig", {"DataSource": {"S3DataSource": {"ManifestS3Uri": checked.manifest}}})
    )
    ended = account.end()

    # Then both manifests have the size that people see, on which the boxes are drawn
    output = account.output(ended)
    assert len(output) == len(labelled)
    for line in output:
        assert line["image-size"] == {"width": WIDTH, "height": HEIGHT}
        check_label(line, account.photos[line["source-ref"].split("/")[-1]])

    # And every photo goes into a dataset
    prepared = datasets.prepare(
        datasets.PrepareDatasets(
            job,
            checked.manifest,
            checked.manifest_sha256,
            checked.manifest_written,
            ended["LabelingJobOutput"]["OutputDatasetS3Uri"],
            None,
            int(ended["LastModifiedTime"].timestamp() * 1000),
            "doctype",
            list(LABELS),
        ),
        bucket=BUCKET,
        max_rejected_share=0,
    )
    assert (prepared.dropped, prepared.train_images + prepared.test_images) == (0, len(labelled))


def check_label(line: dict[str, Any], taken: Photo) -> None:
    label, metadata = line["doctype"], line["doctype-metadata"]
    assert label["image_size"] == [{"width": WIDTH, "height": HEIGHT, "depth": 3}]
    assert metadata["type"] == "groundtruth/object-detection"
    assert metadata["human-annotated"] == "yes"
    assert metadata["job-name"] == "labeling-job/job-1"
    if taken.box is None:
        assert (label["annotations"], metadata["objects"], metadata["class-map"]) == ([], [], {})
        return
    drawn = label["annotations"][0]
    assert taken.label
    # The id is the place in the category file; the class map names only what is on this photo
    assert drawn["class_id"] == 1 + LABELS.index(taken.label)
    assert metadata["class-map"] == {str(drawn["class_id"]): taken.label}
    assert metadata["objects"] == [{"confidence": 0.0}]
    edges = [drawn["left"], drawn["top"], drawn["left"] + drawn["width"], drawn["top"] + drawn["height"]]
    left, top, width, height = taken.box
    assert edges == pytest.approx([left, top, left + width, top + height], abs=7)
    assert edges != [left, top, left + width, top + height]
    assert all(isinstance(edge, int) for edge in edges)
    assert edges[0] >= 0
    assert edges[2] <= WIDTH


def test_an_unanswered_job_stays_in_progress_until_stopped(account: Account, received: Any) -> None:
    # Given a job without workers
    account.sagemaker.create_labeling_job(**request())
    eventually(lambda: account.describe()["LabelingJobStatus"] == "InProgress")
    assert account.describe()["LabelCounters"]["Unlabeled"] == 9

    # When it is stopped
    account.sagemaker.stop_labeling_job(LabelingJobName="job-1")
    assert account.describe()["LabelingJobStatus"] in ("Stopping", "Stopped")

    # Then it ends as Stopped, its output has the objects in the order of the input, and an event is sent
    job = account.end()
    assert job["LabelingJobStatus"] == "Stopped"
    assert account.output(job) == read_lines(account.s3, "input.manifest")
    assert eventually(received)[0]["detail"] == {"LabelingJobStatus": "Stopped"}
    with pytest.raises(ClientError, match="cannot be stopped"):
        account.sagemaker.stop_labeling_job(LabelingJobName="job-1")

    # When the next job is made from that output, and people begin to work later, then they label it all
    chained = request("LabelingJobName", "job-2")
    source = {"ManifestS3Uri": job["LabelingJobOutput"]["OutputDatasetS3Uri"]}
    chained["InputConfig"]["DataSource"]["S3DataSource"] = source
    account.sagemaker.create_labeling_job(**chained)
    account.workforce.answer_from(account.answers, unanswered_share=0)
    assert account.end("job-2")["LabelCounters"]["TotalLabeled"] == 9


def test_several_workers_are_merged(account: Account) -> None:
    # Given a job that wants five answers for each photo
    account.workforce.answer_from(account.answers, jitter_px=2, unanswered_share=0)
    account.sagemaker.create_labeling_job(**request("HumanTaskConfig.NumberOfHumanWorkersPerDataObject", 5))

    # When it is labelled
    output = account.output(account.end())

    # Then each photo has one box, near the mean of what five people drew, with a confidence
    for line, taken in zip(output, account.photos.values(), strict=True):
        if taken.box:
            (box,), (confidence,) = line["doctype"]["annotations"], line["doctype-metadata"]["objects"]
            assert [box["left"], box["top"], box["width"], box["height"]] == pytest.approx(taken.box, abs=5)
            assert confidence["confidence"] == 1.0
    listed = account.s3.list_objects_v2(Bucket=BUCKET, Prefix="output/job-1/annotations/worker-response/")
    answer = json.loads(account.s3.get_object(Bucket=BUCKET, Key=listed["Contents"][0]["Key"])["Body"].read())
    assert len({one["workerId"] for one in answer["answers"]}) == 5


def test_boxes_of_few_workers_are_left_out() -> None:
    # Given three answers, of which one has a box more and one another label
    first, second = DrawnBox("PASSPORT", 10, 10, 100, 50), DrawnBox("PASSPORT", 13, 10, 100, 53)
    stray, other = DrawnBox("PASSPORT", 200, 100, 50, 50), DrawnBox("ID_CARD", 10, 10, 100, 50)

    # When they are merged, then what two of three drew is the mean, and the rest is not there
    assert consolidate([[first], [second, stray], [other]]) == [(DrawnBox("PASSPORT", 12, 10, 100, 52), 0.67)]


UNUSABLE_INPUT = [
    ("categories.json", '{"labels": []}', "document-version"),
    ("categories.json", json.dumps(CATEGORIES | {"labels": [{"label": "A"}] * 2}), "all different"),
    ("categories.json", json.dumps(CATEGORIES | {"labels": []}), "1 to 50 labels"),
    ("template.liquid", "<crowd-form></crowd-form>", "crowd-bounding-box"),
    ("input.manifest", "", "input manifest"),
    ("input.manifest", "no json", "line 1"),
    ("input.manifest", '{"source-ref": "s3://b/k"}\n\n', "line 2"),
    ("input.manifest", '{"source-ref": "s3://b/k", "$x": 1}', "starts with $"),
]


def test_input_that_cannot_be_used_fails_the_job(account: Account) -> None:
    for number, (key, text, reason) in enumerate(UNUSABLE_INPUT):
        # Given one file that the job cannot use
        good = account.s3.get_object(Bucket=BUCKET, Key=key)["Body"].read()
        account.put(key, text)

        # When a job is made, then the call succeeds, and the job fails with a reason that names the trouble
        account.sagemaker.create_labeling_job(**request("LabelingJobName", f"job-{number}"))
        job = account.end(f"job-{number}")
        assert job["LabelingJobStatus"] == "Failed"
        assert reason in job["FailureReason"]
        assert "LabelingJobOutput" not in job
        account.put(key, good.decode())


def test_a_test_can_make_the_next_job_fail(account: Account, received: Any) -> None:
    # Given a workforce of which a failure was ordered
    account.workforce.answer_from(account.answers)
    account.workforce.fail_next_job("ClientError: nobody came.")

    # When two jobs are made, then the first fails, with an event, and the second does not
    account.sagemaker.create_labeling_job(**request())
    assert account.end()["FailureReason"] == "ClientError: nobody came."
    assert eventually(received)[0]["detail"] == {"LabelingJobStatus": "Failed"}
    account.sagemaker.create_labeling_job(**request("LabelingJobName", "job-2"))
    assert account.end("job-2")["LabelingJobStatus"] == "Completed"


@pytest.mark.parametrize(
    ("what", "status", "failed"), [(What.NOTHING_LABELLED, "Completed", 9), (What.LABELLING_STOPS, "Stopped", 0)]
)
def test_a_job_can_be_made_to_end_with_nothing_labelled(account: Account, what: What, status: str, failed: int) -> None:
    # Given workers who know all photos
    account.workforce.answer_from(account.answers, unanswered_share=0)

    # When a fault is injected by which no photo is labelled, or by which the job is stopped
    with faults.injected(Fault(what, about=("job-1",))) as happened:
        account.sagemaker.create_labeling_job(**request())
        job = account.end()

    # Then it ends so, with an output in which no photo has a label
    assert [fault.what for fault in happened] == [what]
    assert job["LabelingJobStatus"] == status
    assert (job["LabelCounters"]["TotalLabeled"], job["LabelCounters"]["FailedNonRetryableError"]) == (0, failed)
    output = account.output(job)
    assert len(output) == 9
    assert not any("doctype" in line for line in output)


BROKEN_RULES = [
    ("LabelingJobName", "job_1", "labelingJobName"),
    ("LabelAttributeName", "doctype-metadata", "reserved"),
    ("LabelAttributeName", "doctype-ref", "reserved"),
    ("RoleArn", "arn:aws:iam::123456789012:role/nobody", "role"),
    ("LabelCategoryConfigS3Uri", None, "LabelCategoryConfigS3Uri"),
    ("StoppingConditions", {"MaxHumanLabeledObjectCount": 1}, "StoppingConditions"),
    ("HumanTaskConfig.WorkteamArn", TEAM + "-2", "work team"),
    ("HumanTaskConfig.PreHumanTaskLambdaArn", FUNCTION + "PRE-ImageMultiClass", "PRE-BoundingBox"),
    ("HumanTaskConfig.TaskTimeLimitInSeconds", 28_801, "TaskTimeLimitInSeconds"),
    ("HumanTaskConfig.NumberOfHumanWorkersPerDataObject", 10, "less than or equal to 9"),
]


def test_a_request_that_breaks_a_rule_is_refused(account: Account) -> None:
    for path, value, words in BROKEN_RULES:
        # When a job is asked for that breaks one rule, then it is refused with words about that rule
        with pytest.raises(ClientError, match=words) as raised:
            account.sagemaker.create_labeling_job(**request(path, value))
        assert raised.value.response["Error"]["Code"] == "ValidationException"


def test_names_are_spent_for_good_and_jobs_are_listed(account: Account) -> None:
    # Given a job that has ended, and another one
    account.workforce.answer_from(account.answers)
    account.sagemaker.create_labeling_job(**request())
    account.end()
    account.sagemaker.create_labeling_job(**request("LabelingJobName", "another"))

    # When its name is used again, in capitals, then it is in use
    with pytest.raises(ClientError) as raised:
        account.sagemaker.create_labeling_job(**request("LabelingJobName", "JOB-1"))
    assert raised.value.response["Error"]["Code"] == "ResourceInUse"

    # And an unknown one is not found
    with pytest.raises(ClientError) as raised:
        account.describe("nothing")
    assert raised.value.response["Error"]["Code"] == "ValidationException"

    # When jobs are listed, then newest first, page by page, and by their names
    def names(**filters: Any) -> list[str]:
        answer = account.sagemaker.list_labeling_jobs(**filters)
        return [job["LabelingJobName"] for job in answer["LabelingJobSummaryList"]]

    assert names() == ["another", "job-1"]
    assert names(NameContains="job") == ["job-1"]
    assert names(SortBy="Name", SortOrder="Ascending", MaxResults=1) == ["another"]
    assert "another" not in names(CreationTimeBefore=account.describe()["CreationTime"])


def test_work_teams(account: Account) -> None:
    # Given the team that everybody has
    teams = account.sagemaker.list_workteams()["Workteams"]
    assert [team["WorkteamArn"] for team in teams] == [TEAM]

    # When another one is made, then it is described as it was made and its name is in use
    members = [{"CognitoMemberDefinition": {"UserPool": "us-east-1_A", "UserGroup": "g", "ClientId": "c"}}]
    team = {"WorkteamName": "night-shift", "MemberDefinitions": members, "Description": "Night shift"}
    arn = account.sagemaker.create_workteam(**team)["WorkteamArn"]
    described = account.sagemaker.describe_workteam(WorkteamName="night-shift")["Workteam"]
    assert (described["WorkteamArn"], described["MemberDefinitions"]) == (arn, members)
    with pytest.raises(ClientError) as raised:
        account.sagemaker.create_workteam(**team)
    assert raised.value.response["Error"]["Code"] == "ResourceInUse"


def test_threads_of_jobs_end_when_moto_forgets_them(account: Account) -> None:
    # Given a job without workers
    before = set(threading.enumerate())
    account.sagemaker.create_labeling_job(**request())
    eventually(lambda: account.describe()["LabelingJobStatus"] == "InProgress")
    of_job = [thread for thread in set(threading.enumerate()) - before if thread.name == "run"]
    assert of_job

    # When moto's state is reset past the local AWS
    moto_api_backend.reset()

    # Then its thread ends
    eventually(lambda: not any(thread.is_alive() for thread in of_job))
