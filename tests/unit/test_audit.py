"""The audit report: nothing secret in it, the same bytes every time, and every part that was tampered with is found."""

import copy
import io
import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from moto import mock_aws
from time_machine import TimeMachineFixture

from api import audit as api_audit
from pipeline.audit import export, facts, inputs, page, report, signing, verify
from pipeline.audit.redaction import CAUSE, Redactor
from pipeline.audit.store import Store
from pipeline.jobs import Job, Jobs, report_claims
from rules.states import Status
from stacks import definition
from tests.unit.aws_fakes import client, functions_use
from tests.unit.conftest import BUCKET
from tests.unit.histories import EXECUTION, JOB, REJECTED, TOKEN, History, StepFunctions, live_model
from tests.unit.test_api import Answer, Api, check_against_description, execution_arn, is_problem, proxy_event
from tests.unit.test_erasure import FakeLambda
from tests.unit.test_outcomes import LambdaContext

PROJECT = Path(__file__).parents[2]
DEFINITION = definition.as_json()
SCHEMA = json.loads((PROJECT / "docs" / "audit-schema.json").read_text())
ENGINEER = "arn:aws:iam::123456789012:user/engineer"
STORED = f"s3://reports/audit/{JOB}/{JOB}.json"

REPORTS = "audit-reports"

Report = dict[str, Any]


def gathered(s3: Any, history: History, status: str = "SUCCEEDED", **attributes: Any) -> dict[str, Any]:
    """The inputs of the report on a history, with the record of its job."""
    record = {"Id": JOB, "TrainingSeconds": 5400, "InferenceUnits": 1, **attributes}
    job = Job(JOB, Status.READY, record)
    with functions_use(s3=s3, stepfunctions=StepFunctions(history, DEFINITION, status)):
        return inputs.gather(EXECUTION, job, bucket=BUCKET)


def made(s3: Any, history: History, status: str = "SUCCEEDED", **attributes: Any) -> Report:
    return report.build(gathered(s3, history, status, **attributes), job_id=JOB, stored=STORED, previous=None)


def second(s3: Any, history: History) -> Report:
    """The report on the second execution of the job, which an operator resumed."""
    start = int(history.events[0]["timestamp"].timestamp() * 1000)
    record = {"Id": JOB, "ResumedBy": [{"By": "arn:operator", "Time": start - 900}]}
    with functions_use(s3=s3, stepfunctions=StepFunctions(history, DEFINITION, "SUCCEEDED")):
        found = inputs.gather(f"{EXECUTION}-2", Job(JOB, Status.READY, record), bucket=BUCKET)
    return report.build(found, job_id=JOB, stored=STORED, previous=None)


def put_files(s3: Any) -> None:
    """What a job with three rejected photos and two workers has in the bucket."""
    put = s3.put_object
    put(Bucket=BUCKET, Key=f"manifests/{JOB}/rejected.jsonl", Body=REJECTED)
    put(Bucket=BUCKET, Key=f"manifests/{JOB}/input.manifest", Body=b"{}\n")
    put(Bucket=BUCKET, Key=f"labels/{JOB}/anna.schmidt.json", Body=b"[]")
    for photo, (worker, seconds) in enumerate([("w-1", 4.5), ("w-1", 6), ("w-2", 9), ("w-1", 5)]):
        answer = {"workerId": worker, "timeSpentInSeconds": seconds, "answerContent": {"boundingBox": {}}}
        answer["workerMetadata"] = {"identityData": {"sub": f"sub-of-{worker}", "issuer": "https://cognito"}}
        key = f"labelling/{JOB}/output/{JOB}-1/annotations/worker-response/iteration-1/{photo}/2026-11-24_02:00:00.json"
        put(Bucket=BUCKET, Key=key, Body=json.dumps({"answers": [answer]}))


# --- Redaction -------------------------------------------------------------------------------------------------------

SIGNED = "https://b.s3.amazonaws.com/images/j/a.jpg?X-Amz-Algorithm=AWS4&X-Amz-Signature=0abc"


@pytest.mark.parametrize(
    ("secret", "text"),
    [
        (TOKEN, f"could not answer {TOKEN}: it has expired"),
        (SIGNED, f"GET {SIGNED} answered 403"),
        ("Signature=abc", "see https://b.s3.amazonaws.com/k?AWSAccessKeyId=AKIA1&Signature=abc&Expires=1"),
        ("ASIAIOSFODNN7EXAMPLE", "credentials ASIAIOSFODNN7EXAMPLE are expired"),
        ("anna.schmidt@example.com", "session of anna.schmidt@example.com"),
    ],
)
def test_secrets_are_removed_wherever_they_stand(secret: str, text: str) -> None:
    redacted = Redactor().value({"error": "StageFault", "deep": [{"error": "LabelsInvalid", "cause": text}]})
    assert secret not in json.dumps(redacted)
    assert redacted["error"] == "StageFault"


NAMES = ['…a"b.jpg', "…", 'O\'Brien "x". front.jpg', "anna\nschmidt.png", "a/b/c.json", "Žofie %2F.jpg", '"}{', "a\\b"]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("folder", ["images", "upright", "labels"])
def test_no_name_of_an_upload_stays_whatever_its_characters(folder: str, name: str) -> None:
    # Given values that are an upload's key, its URI or ARN, also in JSON within JSON, as Step Functions keeps variables
    key = f"{folder}/{JOB}/{name}"
    places = [key, f"s3://{BUCKET}/{key}", f"arn:aws:s3:::{BUCKET}/{key}", f"{folder}/{name.replace('/', '')}"]
    variables = {"assignedVariables": {"labels": json.dumps({"labelsKey": key, "deep": json.dumps([places])})}}
    # When they are redacted
    redacted = Redactor().value({"output": [places, variables], key: 1})
    # Then folder and job stay, and the name does not
    paths = redacted["output"][0]
    assert paths == [f"{folder}/{JOB}/…", f"s3://{BUCKET}/{folder}/{JOB}/…", f"arn:aws:s3:::{BUCKET}/{folder}/{JOB}/…",
                    f"{folder}/…"]  # fmt: skip
    inside = json.loads(redacted["output"][1]["assignedVariables"]["labels"])
    assert (inside["labelsKey"], json.loads(inside["deep"])) == (paths[0], [paths])
    assert redacted[paths[0]] == 1


TYPES_LIKE_SECRETS = ["AKIAABCDEFGHIJKLMNOP", "AKIAABCDEFGHIJKLMNOQ", "cause", "stackTrace", "a" * 200, "b" * 255]


def test_document_types_stay_whatever_they_look_like() -> None:
    # Given values with document types that look like secrets or like the names of fields
    counts = [{"label": name, "images": 5} for name in TYPES_LIKE_SECRETS]
    values = {"documentTypes": TYPES_LIKE_SECRETS, "imagesPerType": counts}
    # Then they stay, but nothing that is no document type does
    assert Redactor().value(values) == values
    assert "jane" not in json.dumps(Redactor().value({"label": "jane@bank.example", "documentTypes": ["jane@bank.id"]}))


@pytest.mark.parametrize("error", ["States.Runtime", "KeyError", "by hand", None, 7])
@pytest.mark.parametrize("cause", ['the input holds jane\'s "id".jpg', {"errorMessage": 'jane\'s "id".jpg'}])
def test_a_cause_that_the_pipeline_did_not_write_is_cut_out(error: Any, cause: Any) -> None:
    redacted = Redactor().value([{"error": error, "cause": cause}, {"error": "NotEnoughImages", "cause": "3 of 4"}])
    assert "jane" not in json.dumps(redacted)
    assert redacted[0]["error"] == ("OtherError" if error in ("KeyError", "by hand") else error)
    assert redacted[1]["cause"] == "3 of 4"


@pytest.mark.parametrize("error", ["PhotosChanged", "ModelRejected", "StoppedByRequest", "Anna Schmidt", None])
def test_a_stop_leaves_no_text_of_its_caller_in_a_report(s3: Any, error: str | None) -> None:
    # Given a job that was stopped with an error and a cause from the caller
    given = {"cause": "14 of 15 photos of Anna Schmidt were replaced."} | ({"error": error} if error else {})
    history = History()
    history.add("ExecutionStarted", input="{}", roleArn="r")
    history.add("TaskStateEntered", name="Collect photos", input="{}")
    history.add("ExecutionAborted", **given)
    # When the report is made; Then neither event nor execution nor answer has the texts
    document = made(s3, history, "ABORTED")
    assert "Anna" not in json.dumps(document)
    details = document["inputs"]["history"][-1]["details"]
    assert details == {"cause": CAUSE} | ({"error": "OtherError"} if error else {})
    described = Redactor().value({"status": "ABORTED", **given})
    assert described == {"status": "ABORTED", **details}


def test_a_token_is_known_again_in_other_places() -> None:
    # Given a short token of a local engine, seen as an argument
    redactor, token = Redactor(), "3f0c8f4e-1c4f-4f57-8a3f-1d2f3c4b5a69"
    before = redactor.text("waits")
    assert redactor.value({"Payload": {"taskToken": token}}) == {"Payload": {"taskToken": "[task token]"}}
    # Then it is cut out of texts from then on, and other texts stay
    assert redactor.text(f"token {token} expired") == "token [task token] expired"
    assert redactor.text("waits") == before == "waits"


def test_what_an_auditor_needs_stays() -> None:
    kept = {
        "arn": f"arn:aws:rekognition:us-east-1:123456789012:project/{JOB}/version/{JOB}/1795487703002",
        "sha256": "0123456789abcdef" * 4,
        "manifest": f"s3://{BUCKET}/manifests/{JOB}/train.manifest",
        "output": f"s3://{BUCKET}/training/{JOB}/" + "a-long-folder/" * 20 + "summary.json",
        "worker": "private.us-east-1.0123456789abcdef",
        "startedBy": "arn:aws:sts::123456789012:assumed-role/Engineer/anna.schmidt@example.com",
    }
    assert Redactor().value(kept) == kept


def test_half_a_character_does_not_stop_the_report() -> None:
    assert report.canonical(Redactor().value({"output": "\ud83d"})) == b'{"output":"?"}\n'


# --- Content ---------------------------------------------------------------------------------------------------------


def test_the_report_says_what_the_files_say(s3: Any) -> None:
    # Given the files of a job
    put_files(s3)
    # When its report is made
    document = made(s3, live_model(), LabelProvider="ground-truth")
    Draft202012Validator(SCHEMA).validate(document)
    # Then rejected photos are counted by reason and listed by their line
    photos = document["facts"]["photos"]
    assert photos["rejectedCodes"] == {"SideTooLong": 2, "Duplicate": 1}
    assert photos["rejectedPhotos"][2] == {"line": 3, "code": "Duplicate"}
    # And workers by their pseudonyms, with how many photos and how long
    assert document["facts"]["evaluation"]["bars"] == {"minF1": 0.8, "minLabelF1": 0.5, "maxF1Drop": 0.05}
    (job,) = document["facts"]["labelling"]["labellingJobs"]
    assert (job["labellingJob"], job["answers"]) == (f"{JOB}-1", 4)
    assert [(one["worker"], one["subject"], one["photos"], one["medianMs"]) for one in job["workers"]] == [
        ("w-1", "sub-of-w-1", 3, 5000),
        ("w-2", "sub-of-w-2", 1, 9000),
    ]
    # And no file name and no token is in it, or on its page
    for text in (report.canonical(document).decode(), page.render(document)):
        assert "anna" not in text
        assert TOKEN not in text
        assert "/var/task" not in text


def test_retries_of_one_error_are_counted_in_one_incident(s3: Any) -> None:
    document = made(s3, live_model(busy=50))
    (incident,) = document["facts"]["incidents"]
    assert (incident["error"], incident["state"], incident["count"]) == ("TrainingSlotsBusy", "Start training", 50)
    quiet = made(s3, live_model())
    assert quiet["facts"]["incidents"] == []
    assert document["facts"]["cost"]["transitions"] == quiet["facts"]["cost"]["transitions"] + 50


def test_a_training_costs_what_was_billed(s3: Any) -> None:
    found = made(s3, live_model(polls=3))["facts"]
    assert (found["training"]["billedSeconds"], found["cost"]["trainingUsd"]) == (5400, 1.5)
    assert found["training"]["seconds"] == pytest.approx(90, abs=2)


def test_the_cost_of_checking_photos_is_called_an_estimate(s3: Any) -> None:
    # Given a history that has the number of planned batches, but not how often each ran
    document = made(s3, live_model())
    Draft202012Validator(SCHEMA).validate(document)
    # Then the report says what the number of transitions includes
    assert document["facts"]["cost"]["plannedBatches"] == 1
    words = "counts one transition for each planned batch of photos (1), and none for repeats of a batch."
    assert words in " ".join(entry["answer"] for entry in document["answers"])


@pytest.mark.parametrize("enters_again", [True, False])
def test_a_redrive_is_reported_with_or_without_state_entry(s3: Any, enters_again: bool) -> None:
    # Given a task that fails, and a redrive a day later, of which AWS does not say whether it enters the state again
    history = History()
    history.add("ExecutionStarted", input=json.dumps({"jobId": JOB}), roleArn="r")
    history.add("TaskStateEntered", name="Collect photos", input="{}")
    history._attempt({"jobId": JOB})
    history.fail("TaskFailed", "NotEnoughImages")
    history.fail("ExecutionFailed", "NotEnoughImages")
    history.now = history.now.replace(day=25)
    call = {"By": ENGINEER, "Time": int(history.now.timestamp() * 1000) - 200}
    history.add("ExecutionRedriven", redriveCount=1)
    if enters_again:
        history.add("TaskStateEntered", name="Collect photos", input="{}")
    history._attempt({"jobId": JOB})
    history.fail("TaskFailed", "NotEnoughImages")
    history.fail("ExecutionFailed", "NotEnoughImages")
    # When the report is made
    found = made(s3, history, "FAILED", ResumedBy=[call])["facts"]
    # Then it is two visits with one attempt each, and the pause between them belongs to none
    (state,) = found["path"]["states"]
    assert (state["visits"], state["attempts"]) == (2, 2)
    assert state["totalMs"] < 1000
    ((begins, ends),) = found["path"]["pauses"]
    assert ends - begins > 80_000_000
    assert [one["by"] for one in found["incidents"] if one["what"] == "redrive"] == [ENGINEER]


def test_a_stop_in_the_console_has_no_caller(s3: Any) -> None:
    # Given a stop through the API, an hour before a stop of the execution in the console
    history = History()
    history.add("ExecutionStarted", input="{}", roleArn="r")
    history.add("TaskStateEntered", name="Collect photos", input="{}")
    history.add("ExecutionAborted")
    call = {"By": ENGINEER, "Time": int(history.now.timestamp() * 1000) - 3_600_000}
    (incident,) = made(s3, history, "ABORTED", StoppedBy=[call])["facts"]["incidents"]
    assert (incident["what"], incident["by"]) == ("stop", None)


def test_the_report_says_whose_labels_were_accepted(s3: Any) -> None:
    # Given a job that waited for labels, and was resumed with those of one of two requests
    history = History()
    history.add("ExecutionStarted", input=json.dumps({"jobId": JOB, "labels": {"provider": "supplied"}}), roleArn="r")
    posted = {"provider": "supplied", "labelsKey": f"labels/{JOB}/a.json", "labelsEtag": "e", "postedBy": ENGINEER}
    history.task("Request labels", {"jobId": JOB}, posted)
    history.add("ExecutionSucceeded", output="{}")
    # When the report is made
    document = made(s3, history)
    # Then it names the caller of the accepted request
    (answer,) = (part["answer"] for part in document["answers"] if "abel" in part["question"])
    assert f"named while the job waited for it by {ENGINEER}, at" in answer


def test_a_later_execution_knows_what_it_was_given(s3: Any) -> None:
    # Given a second execution of a job, which continues with the model that the first one trained
    history = History()
    model = {"projectVersionArn": "arn:model", "versionName": JOB}
    given = {"jobId": JOB, "resumed": {"redrives": 1, "images": {"found": 9, "accepted": 9}, "model": model}}
    history.add("ExecutionStarted", input=json.dumps(given), roleArn="r")
    history.task("Check training", {"jobId": JOB}, {"completed": True})
    history.add("ExecutionSucceeded", output="{}")
    document = second(s3, history)
    Draft202012Validator(SCHEMA).validate(document)
    found, said = document["facts"], {one["question"]: one["answer"] for one in document["answers"]}
    assert found["photos"]["accepted"] == 9
    # And the report names the caller of the resume and the previous execution
    started = said["Who started the job, and when?"]
    assert "It was resumed by arn:operator, at " in started
    assert "This is execution number 2 of the job." in started
    assert [one["name"] for one in found["earlier"]] == [JOB]
    assert f"the earlier execution {JOB} ended with" in said["What failed, was retried, was stopped or was redriven?"]
    assert found["training"]["projectVersionArn"] == "arn:model"


DEEP = "[" * 600 + "]" * 600
"""Fewer levels than Python's parser of JSON refuses, and more than its other functions bear."""


@pytest.mark.parametrize(
    ("foreign", "is_left_out"),
    [
        ('"resumed":"x"', False),
        ('"resumed":[{"redrives":0}]', False),
        ('"resumed":{"redrives":0,"labels":null}', False),
        ('"resumed":{"redrives":0,"images":{"found":9,"accepted":"9","sharpness":[1],"manifest":1}}', True),
        ('"resumed":{"redrives":0,"manifests":{"imagesPerType":5}}', True),
        ('"resumed":{"redrives":0,"images":{"manifest":5,"manifestSha256":5}}', True),
        ('"more":1e999', False),
        (f'"more":{DEEP}', False),
        ('"more":' + json.dumps(json.dumps(json.dumps(json.dumps(json.dumps([DEEP]))))), False),
    ],
)
def test_no_input_of_an_execution_prevents_its_report(s3: Any, foreign: str, is_left_out: bool) -> None:
    # Given an execution that was started without the API, whose input has what the pipeline does not write
    history = History()
    history.add("ExecutionStarted", input=f'{{"jobId":"{JOB}","deploy":true,{foreign}}}', roleArn="r")
    model = "arn:aws:rekognition:us-east-1:123456789012:project/p/version/v/1"
    history.task("Publish model", {"jobId": JOB}, {"projectVersionArn": model, "previousModel": None})
    history.add("ExecutionSucceeded", output="{}")
    # When the report on it is made
    document = made(s3, history)
    # Then it says which model went live, and what it leaves out
    Draft202012Validator(SCHEMA).validate(document)
    assert document["facts"]["goLive"]["model"] == model
    assert ("leftOut" in document["facts"]["started"]) == is_left_out
    said = {one["question"]: one["answer"] for one in document["answers"]}
    assert ("derives nothing from either" in said["Who started the job, and when?"]) == is_left_out
    # And it has a page and is consistent
    assert page.render(document)
    assert not wrong(report.canonical(document))


def test_a_token_that_begins_with_another_is_removed() -> None:
    # Given values named like tokens, each of which begins with the one before
    tokens = ["12345678-abcdefghijkl"[:length] for length in range(9, 22)]
    redactor = Redactor()
    redactor.value([{"token": token} for token in tokens])
    # When a text has all of them, Then nothing of any stays, in whatever order they are kept
    assert redactor.text(" ".join(tokens)) == " ".join(["[task token]"] * len(tokens))


def test_a_report_on_a_running_execution_is_provisional(s3: Any) -> None:
    history = live_model()
    del history.events[20:]
    document = made(s3, history, "RUNNING")
    Draft202012Validator(SCHEMA).validate(document)
    assert document["provisional"]
    assert "provisional" in document["answers"][0]["answer"]
    assert "Provisional" in page.render(document)


def test_the_page_shows_texts_as_texts(s3: Any) -> None:
    # Given an error that looks like HTML
    history = History()
    history.add("ExecutionStarted", input="{}", roleArn="r")
    history.add("TaskStateEntered", name="Check <b>", input="{}")
    history.add("ExecutionFailed", error="StageFault", cause="<script>alert(1)</script><img src=x>")
    text = page.render(made(s3, history, "FAILED"))
    assert "<script>" not in text
    assert "<img" not in text
    assert "&lt;script&gt;" in text


def test_a_report_from_its_file_gives_the_same_page(s3: Any) -> None:
    # Given a report whose values came in another order than the file has them
    history = live_model()
    history.add("TaskFailed", error="X", cause=json.dumps({"z": 1, "a": 2}))
    document = made(s3, history)
    assert page.render(json.loads(report.canonical(document))) == page.render(document)


def test_the_timeline_is_bounded_however_long_the_history(s3: Any) -> None:
    few, many = (page.render(made(s3, live_model(polls=polls))) for polls in (100, 500))
    assert len(many.partition('<h2 id="machine"')[0]) < 2 * len(few.partition('<h2 id="machine"')[0]) + 10_000


# --- Canonical -------------------------------------------------------------------------------------------------------


def test_the_same_inputs_give_the_same_bytes(s3: Any) -> None:
    put_files(s3)
    first, second = (report.canonical(made(s3, live_model())) for _ in range(2))
    assert first == second
    # And read and written again it stays the same
    assert report.canonical(json.loads(first)) == first
    assert first.endswith(b"}\n")


# --- Tampering -------------------------------------------------------------------------------------------------------


def set_at(*path: Any, to: Any) -> Callable[[Report], None]:
    def tamper(document: Report) -> None:
        place: Any = document
        for step in path[:-1]:
            place = place[step]
        assert place[path[-1]] != to
        place[path[-1]] = to

    return tamper


BATCH = {"executionArn": "arn:batch", "mapRunArn": "arn:run", "status": "FAILED"}
TAMPERINGS: dict[str, tuple[Callable[[Report], None], str]] = {
    "the starter in the answers": (set_at("answers", 1, "answer", to="Nobody."), "answers"),
    "the starter": (set_at("inputs", "execution", "input", "startedBy", to="arn:else"), "inputs.execution"),
    "the record": (set_at("inputs", "job", "TrainingSeconds", to=1), "inputs.job"),
    "a fact": (set_at("facts", "evaluation", "f1", to=0.99), "facts"),
    "a fact added": (lambda document: document["facts"].update(extra=1), "facts"),
    "the time of an event": (set_at("inputs", "history", 5, "time", to=1), "inputs.history"),
    "what a state returned": (set_at("inputs", "history", 5, "details", "output", to={}), "inputs.history"),
    "an event taken out": (lambda document: document["inputs"]["history"].pop(30), "inputs.history"),
    "the last event taken out": (lambda document: document["inputs"]["history"].pop(), "history"),
    "a file's hash": (set_at("inputs", "files", 0, "sha256", to="0" * 64), "inputs.files"),
    "a file taken out": (lambda document: document["inputs"]["files"].pop(), "inputs.files"),
    "a rejected photo": (set_at("inputs", "rejected", "photos", 0, "code", to="Empty"), "inputs.rejected"),
    "a worker's photos": (set_at("inputs", "workers", 0, "workers", 0, "photos", to=1), "inputs.workers"),
    "the execution's status": (set_at("inputs", "execution", "status", to="FAILED"), "inputs.execution"),
    "an execution before": (set_at("inputs", "earlier", to=[{"name": JOB}]), "inputs.earlier"),
    "the definition": (set_at("inputs", "stateMachine", "definitionSha256", to="0" * 64), "inputs.stateMachine"),
    "the report before": (set_at("previous", to={"object": "s3://a/b", "versionId": "1", "sha256": "0" * 64}), "seal"),
    "where it is kept": (set_at("stored", to="s3://elsewhere/report.json"), "seal"),
    "whose it is": (set_at("jobId", to="ekyc-20200101000000-0000000000000000"), "seal"),
    "the execution's name": (set_at("execution", to="another"), "history"),
    "an error": (lambda document: document["inputs"]["execution"].update(error="NotEnoughImages"), "history"),
    "a cause": (lambda document: document["inputs"]["execution"].update(cause="No."), "history"),
    "the end taken out": (lambda document: document["inputs"]["execution"].pop("stopDate"), "history"),
    "a failed batch": (set_at("inputs", "failedBatch", to=BATCH), "history"),
    "provisional": (set_at("provisional", to=True), "seal"),
    "the seal": (set_at("sha256", to="0" * 64), "seal"),
    "a hash": (set_at("hashes", "history", to="0" * 64), "inputs.history"),
}


@pytest.fixture(scope="module")
def genuine() -> Report:
    """A report that no test changes."""
    with mock_aws():
        s3 = client("s3")
        s3.create_bucket(Bucket=BUCKET)
        put_files(s3)
        return made(s3, live_model())


def wrong(body: bytes) -> set[str]:
    return {one.part for one in verify.check_itself(body) if one.result == verify.WRONG}


def test_a_genuine_report_is_found_genuine(genuine: Report) -> None:
    assert wrong(report.canonical(genuine)) == set()


@pytest.mark.parametrize("name", TAMPERINGS)
def test_each_part_that_was_tampered_with_is_found(genuine: Report, name: str) -> None:
    tamper, part = TAMPERINGS[name]
    document = copy.deepcopy(genuine)
    tamper(document)
    assert part in wrong(report.canonical(document))


@pytest.mark.parametrize("name", [name for name, (_, part) in TAMPERINGS.items() if part in ("facts", "answers")])
def test_a_new_seal_does_not_make_false_answers_true(genuine: Report, name: str) -> None:
    document = copy.deepcopy(genuine)
    TAMPERINGS[name][0](document)
    document["sha256"] = report.seal(document)
    assert wrong(report.canonical(document)) == {TAMPERINGS[name][1]}


def test_inputs_that_are_none_are_found_and_raise_nothing(genuine: Report) -> None:
    document = copy.deepcopy(genuine)
    document["inputs"]["history"] = [{"no": "event"}]
    assert {"facts", "inputs.history"} <= wrong(report.canonical(document))


@pytest.mark.parametrize("time", [1e300, 10**20, 10**400], ids=["1e300", "10^20", "10^400"])
def test_a_time_that_no_date_can_hold_is_found(genuine: Report, time: float) -> None:
    document = copy.deepcopy(genuine)
    document["inputs"]["execution"]["startDate"] = time
    assert {"facts", "inputs.execution"} <= wrong(report.canonical(document))


def test_a_file_nested_too_deeply_is_no_report() -> None:
    with pytest.raises(verify.NotAReport, match="neither the JSON"):
        list(verify.check_itself(b"[" * 200_000 + b"]" * 200_000))


def test_other_white_space_is_found(genuine: Report) -> None:
    assert wrong(json.dumps(genuine, indent=1).encode()) == {"bytes"}


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"\x89PNG", "neither the JSON nor the HTML of an audit report"),
        (b"[]", "not an audit report"),
        (b'{"schema":"ekyc-audit-report","version":"9.0"}', "'9.0'"),
        (b'{"schema":"ekyc-audit-report","version":"1.0"}', "incomplete: it lacks answers"),
    ],
)
def test_what_is_no_report_is_refused_in_words(body: bytes, words: str) -> None:
    with pytest.raises(verify.NotAReport, match=words):
        list(verify.check_itself(body))


# --- The API ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("accept", "form"),
    [
        ("", "json"),
        ("*/*", "json"),
        ("application/json", "json"),
        ("text/html", "html"),
        ("text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", "html"),
        ("application/json, text/html", "json"),
    ],
)
def test_browsers_get_the_page_and_programs_json(accept: str, form: str) -> None:
    assert api_audit.form(accept) == form


class ReportApi(Api):
    """The API with a bucket of reports, and the function that makes them, which only notes that it was called."""

    def __init__(self, jobs: Jobs, s3: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        super().__init__(jobs, monkeypatch)
        self.s3 = s3
        self.exporting = FakeLambda()
        s3.create_bucket(Bucket=REPORTS)
        s3.put_bucket_versioning(Bucket=REPORTS, VersioningConfiguration={"Status": "Enabled"})

    def audit(self, job_id: str, accept: str | None = None) -> Answer:
        event = proxy_event("GET", f"/api/training/jobs/{job_id}/audit")
        event["headers"] = {"Accept": accept} if accept else {}
        answer = Answer(self.function.handler(event, LambdaContext()))
        check_against_description("GET", f"/api/training/jobs/{job_id}/audit", answer)
        return answer

    def keep(self, job_id: str, ended: int) -> None:
        for form in ("json", "html"):
            key = f"audit/{job_id}/{job_id}.{form}"
            self.s3.put_object(Bucket=REPORTS, Key=key, Body=b"{}", Metadata={"ended": str(ended)})

    def end(self, job_id: str) -> int:
        """End the job's execution; answers when that was."""
        self.machine.end(execution_arn(job_id), "FAILED", error="X", cause="y")
        return int(self.execution(job_id)["stopDate"].timestamp() * 1000)


@pytest.fixture
def api(jobs: Jobs, s3: Any, monkeypatch: pytest.MonkeyPatch) -> ReportApi:
    return ReportApi(jobs, s3, monkeypatch)


def test_a_report_is_made_once_for_all_who_ask(
    api: ReportApi, logs: io.StringIO, time_machine: TimeMachineFixture
) -> None:
    # Given a running job
    job_id = api.started()
    # When its report is requested twice, then both callers get Retry-After, and the report is made once
    for _ in range(2):
        answer = api.audit(job_id)
        assert (answer.status, answer.headers["retry-after"]) == (202, "5")
    assert api.exporting.invoked == [("export", "Event", {"executionArn": execution_arn(job_id)})]
    # When it is there, then the link leads to it, and is in no log
    api.s3.put_object(Bucket=REPORTS, Key=f"provisional/{job_id}/{job_id}.json", Body=b"{}")
    found = api.audit(job_id)
    assert (found.status, found.headers["cache-control"]) == (303, "no-store")
    assert f"/provisional/{job_id}/{job_id}.json?" in found.headers["location"]
    assert "Signature" not in logs.getvalue()
    # When it is asked for again much later, then another one is made, and answered however late the client is
    time_machine.move_to(datetime.now(UTC) + timedelta(hours=1))
    assert api.audit(job_id).status == 202
    api.s3.put_object(Bucket=REPORTS, Key=f"provisional/{job_id}/{job_id}.json", Body=b"{}")
    time_machine.shift(timedelta(hours=1))
    assert [api.audit(job_id).status for _ in range(2)] == [303, 202]
    # But once the job has ended, a report of before is not it
    api.end(job_id)
    assert api.audit(job_id).status == 202


def test_a_stored_report_is_served_in_the_requested_form(api: ReportApi) -> None:
    # Given a kept report on the end of a job
    job_id = api.started()
    api.keep(job_id, api.end(job_id))
    assert f"/audit/{job_id}/{job_id}.json?" in api.audit(job_id).headers["location"]
    assert f"/audit/{job_id}/{job_id}.html?" in api.audit(job_id, "text/html").headers["location"]
    # When the job was resumed and has ended again, then another one is made
    api.machine.redrive_execution(execution_arn(job_id))
    api.end(job_id)
    assert api.audit(job_id).status == 202


def test_a_version_on_top_of_a_provisional_report_is_not_served(api: ReportApi) -> None:
    # Given a requested provisional report, and a forged newer version
    job_id = api.started()
    assert api.audit(job_id).status == 202
    key = f"provisional/{job_id}/{job_id}.json"
    true, forged = (api.s3.put_object(Bucket=REPORTS, Key=key, Body=body)["VersionId"] for body in (b"{}", b"[]"))
    # When the report is asked for, then the link is to the version that was made for the question
    for _ in range(2):
        link = api.audit(job_id).headers["location"]
        assert f"versionId={true}" in link
        assert forged not in link


def test_a_report_version_without_a_request_is_not_served(api: ReportApi) -> None:
    # Given a forged provisional report, put there before anybody asked for one
    job_id = api.started()
    api.s3.put_object(Bucket=REPORTS, Key=f"provisional/{job_id}/{job_id}.json", Body=b"[]")
    # When the report is asked for, then one is made
    assert [api.audit(job_id).status for _ in range(2)] == [202, 202]
    assert len(api.exporting.invoked) == 1


def test_the_first_version_of_an_end_is_served(api: ReportApi) -> None:
    # Given a report with its page, both with another version on top, and hidden by delete markers
    job_id = api.started()
    ended = api.end(job_id)
    api.keep(job_id, ended)
    first = {one["Key"]: one["VersionId"] for one in api.s3.list_object_versions(Bucket=REPORTS)["Versions"]}
    api.keep(job_id, ended)
    for key in first:
        api.s3.delete_object(Bucket=REPORTS, Key=key)
    # Then the links are to the first versions
    for accept in ("application/json", "text/html"):
        link = api.audit(job_id, accept).headers["location"]
        assert f"versionId={first[f'audit/{job_id}/{job_id}.{api_audit.form(accept)}']}" in link


def test_a_page_is_made_of_the_report_that_is_kept(s3: Any, jobs: Jobs) -> None:
    # Given an exporter that died when it had kept the report, and a record that has changed since
    s3.create_bucket(Bucket=REPORTS)
    s3.put_bucket_versioning(Bucket=REPORTS, VersioningConfiguration={"Status": "Enabled"})
    store = Store(REPORTS)
    history = live_model()
    document = made(s3, history)
    store.put(document, "json", report.canonical(document))
    # When it is called again, twice
    kms = client("kms")
    arn = kms.create_key(KeySpec="ECC_NIST_P256", KeyUsage="SIGN_VERIFY")["KeyMetadata"]["Arn"]
    with functions_use(stepfunctions=StepFunctions(history, DEFINITION, "SUCCEEDED"), kms=kms):
        for _ in range(2):
            export.export(EXECUTION, bucket=BUCKET, store=store, signing_key=arn)
    # Then the stored report is served, and its single page shows it
    stored = {form: store.list_versions(f"audit/{JOB}/{JOB}.{form}").versions for form in ("json", "html", "signed")}
    assert {form: len(versions) for form, versions in stored.items()} == {"json": 1, "html": 1, "signed": 1}
    assert store.body(stored["html"][0]).decode() == page.render(document)
    # And exactly these two files are signed
    signed = signing.read(store.body(stored["signed"][0]))
    assert signed is not None
    assert signed.files == {f"{JOB}.{form}": store.body(stored[form][0]) for form in ("json", "html")}


def test_a_report_outlives_the_execution(api: ReportApi) -> None:
    # Given an execution that Step Functions has forgotten
    job_id = api.started()
    ended = api.end(job_id)
    api.machine.executions.clear()
    # Then the report that was kept is answered, and where there is none, that is said
    assert is_problem(api.audit(job_id), 409, "no report on it was stored")
    api.keep(job_id, ended)
    assert api.audit(job_id).status == 303


def test_a_record_keeps_who_called_and_does_not_show_it(jobs: Jobs) -> None:
    job = jobs.create()
    for who in ("a", "b"):
        jobs.note_call(job.id, "StoppedBy", who)
    assert [call["By"] for call in jobs.get(job.id)["StoppedBy"]] == ["a", "b"]
    # And a report on the same state is asked for once a minute, however many ask
    assert [report_claims.claim(job.id, state, None, 60) for state in ("runs", "runs", "ended", "ended")] == [
        True,
        False,
        True,
        False,
    ]


def test_the_facts_do_not_change_what_they_are_made_from(s3: Any) -> None:
    found = gathered(s3, live_model())
    before = copy.deepcopy(found)
    facts.derive(found)
    assert found == before
