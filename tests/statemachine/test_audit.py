"""The audit report of whole jobs: made when they end, fetched through the API, found genuine, and found out if not."""

import copy
import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import httpx
import pytest
from deployed import Pipeline, eventually
from jsonschema import Draft202012Validator

from pipeline.audit import report as documents
from pipeline.audit import verify
from pipeline.audit.history import read
from pipeline.audit.redaction import Redactor

PROJECT = Path(__file__).parents[2]
SCHEMA = json.loads((PROJECT / "docs" / "audit-schema.json").read_text())
NAME = "passport-anna-schmidt.jpg"
PATIENCE = 300.0  # seconds, for a whole job on a machine that many use
ARN = "arn:aws:iam::123456789012:user/"


def call(pipeline: Pipeline, method: str, path: str, who: str, **options: Any) -> httpx.Response:
    """A call signed by ``who``."""
    credential = f"{who}/20261124/us-east-1/execute-api/aws4_request"
    signature = f"AWS4-HMAC-SHA256 Credential={credential}, SignedHeaders=host, Signature=0"
    headers = {"Authorization": signature, **options.pop("headers", {})}
    return pipeline.http.request(method, path, headers=headers, **options)


def fetched(pipeline: Pipeline, job_id: str, accept: str = "application/json") -> bytes:
    """The job's report as a client gets it: asks until it is there, then follows the link."""

    def link() -> str | None:
        answer = pipeline.http.get(f"jobs/{job_id}/audit", headers={"Accept": accept})
        assert answer.status_code in (202, 303), answer.text
        return answer.headers.get("Location")

    answer = httpx.get(eventually(link))
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith(accept)
    return answer.content


def answers(report: dict[str, Any]) -> dict[str, str]:
    return {one["question"]: one["answer"] for one in report["answers"]}


def wrong(findings: Any) -> set[str]:
    """The parts in which something is wrong."""
    return {one.part for one in findings if one.result == verify.WRONG}


def against_aws(pipeline: Pipeline, body: bytes) -> list[verify.Finding]:
    clients = {name: pipeline.aws.client(name) for name in ("s3", "stepfunctions")}
    return list(verify.check_against_aws(body, **clients))


@pytest.fixture(scope="module")
def ready(shared_pipeline: Pipeline, tmp_path_factory: pytest.TempPathFactory) -> str:
    """A job that people labelled and whose model went live; one of its photos is none and has a person's name."""
    damaged = tmp_path_factory.mktemp("damaged") / NAME
    damaged.write_bytes(b"no photo at all")
    job_id = shared_pipeline.uploaded(*sorted(shared_pipeline.photos.glob("*.jpg")), damaged)
    options = {"documentTypes": ["AU_PASSPORT", "ID_KTP", "THAI_ID_BACK"]}
    assert call(shared_pipeline, "POST", "start", "engineer", params={"JobId": job_id}, json=options).is_success
    eventually(lambda: shared_pipeline.job(job_id)["status"] == "Ready", PATIENCE)
    return job_id


def test_the_report_of_a_live_model_answers_what_an_auditor_asks(shared_pipeline: Pipeline, ready: str) -> None:
    # Given a job that has gone live
    job = shared_pipeline.job(ready)
    # When its report is fetched
    body = fetched(shared_pipeline, ready)
    report = json.loads(body)
    # Then it is what its schema says
    Draft202012Validator(SCHEMA).validate(report)
    # And says who started it, which photos went in, who labelled them, and how they were split
    facts, said = report["facts"], answers(report)
    assert facts["started"]["by"] == f"{ARN}engineer"
    assert f"{ARN}engineer" in said["Who started the job, and when?"]
    photos = facts["photos"]
    assert (photos["rejected"], photos["rejectedCodes"]) == (1, {"UnsupportedFormat": 1})
    assert photos["manifestSha256"] in said["Which photos went in, and which were rejected?"]
    assert photos["found"] == photos["accepted"] + 1
    (labelling,) = facts["labelling"]["labellingJobs"]
    assert labelling["labellingJob"] == f"{ready}-1"
    assert sum(worker["photos"] for worker in labelling["workers"]) == labelling["answers"] == photos["accepted"]
    assert labelling["workers"][0]["medianMs"] == 5000
    assert facts["split"]["trainImages"] == job["trainImages"]
    # And what was trained, how good it is against which bar, and why it went live
    assert facts["training"]["projectVersionArn"] == job["projectVersionArn"]
    assert facts["training"]["usd"] == job["cost"]["trainingUsd"]
    assert facts["evaluation"]["f1"] == job["metrics"]["f1"]
    assert facts["evaluation"]["bars"] == {"minF1": 0.8, "minLabelF1": 0.5, "maxF1Drop": 0.05}
    assert {label["label"] for label in facts["evaluation"]["labels"]} == {"AU_PASSPORT", "ID_KTP", "THAI_ID_BACK"}
    assert facts["goLive"]["isLive"]
    assert f"{ARN}engineer had asked for deployment" in said["Who or what let it go live?"]
    # And has every event of the history
    history = shared_pipeline.history(ready)
    assert [event["id"] for event in report["inputs"]["history"]] == [event["id"] for event in history]
    kinds = Counter(event["type"] for event in history)
    entered = sum(count for kind, count in kinds.items() if kind.endswith("StateEntered"))
    assert facts["cost"]["transitions"] == entered + kinds["TaskScheduled"] - kinds["TaskStateEntered"]
    failed = sum(count for kind, count in kinds.items() if kind.endswith(("Failed", "TimedOut")))
    assert sum(one["count"] for one in facts["incidents"]) == failed
    # And nothing that nobody may know
    scheduled = (event.get("taskScheduledEventDetails", {}).get("parameters", "{}") for event in history)
    tokens = {token for text in scheduled if (token := json.loads(text).get("Payload", {}).get("taskToken"))}
    page = fetched(shared_pipeline, ready, "text/html").decode()
    assert tokens
    for text in (body.decode(), page, shared_pipeline.logs()):
        assert not [token for token in tokens if token in text]
        assert NAME not in text
        assert not [path.name for path in shared_pipeline.photos.glob("*.jpg") if path.name in text]
        assert "Signature=" not in text


def test_the_page_needs_nothing_else(shared_pipeline: Pipeline, ready: str) -> None:
    report = json.loads(fetched(shared_pipeline, ready))
    page = fetched(shared_pipeline, ready, "text/html").decode()
    # It has every answer, every event, both pictures and the seal
    assert page.count("<svg") == 2
    assert report["sha256"] in page
    assert page.count('<tr><td class="n">') >= len(report["inputs"]["history"])
    for state in report["facts"]["path"]["states"]:
        assert f">{state['name']}" in page
    # And no script, and nothing from elsewhere
    assert "<script" not in page
    assert not [word for word in ('src="', "url(http", "@import", "<link") if word in page]


def test_the_same_history_gives_the_same_report(shared_pipeline: Pipeline, ready: str) -> None:
    body = fetched(shared_pipeline, ready)
    # When the event that tells the end comes again
    detail = {"executionArn": shared_pipeline.arn(ready), "status": "SUCCEEDED"}
    functions = shared_pipeline.aws.client("lambda")
    (export,) = (
        one["FunctionName"]
        for one in functions.list_functions()["Functions"]
        if one["Handler"] == "events.export_audit.handler"
    )
    answer = functions.invoke(FunctionName=export, Payload=json.dumps({"detail": detail}))
    assert "FunctionError" not in answer
    # Then the report is the same
    assert fetched(shared_pipeline, ready) == body
    # And also made anew it is the same, to the byte
    report = json.loads(body)
    again = documents.build(
        report["inputs"], job_id=report["jobId"], stored=report["stored"], previous=report["previous"]
    )
    assert documents.canonical(again) == body
    redacted = read(shared_pipeline.arn(ready), shared_pipeline.aws.client("stepfunctions"), Redactor())
    assert documents.sha256(redacted) == report["hashes"]["history"]


def test_a_report_that_nobody_touched_is_genuine(shared_pipeline: Pipeline, ready: str, tmp_path: Path) -> None:
    # Given a report as it was fetched
    file = tmp_path / "report.json"
    ekyc = [str(Path(sys.executable).with_name("ekyc")), "audit"]
    environment = {**os.environ, **shared_pipeline.aws.environment(), "EKYC_API_URL": shared_pipeline.aws.api_url}

    def run(*words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run([*ekyc, *words], env=environment | {"COLUMNS": "200"}, capture_output=True, text=True)

    file.write_text(run(ready, "--json").stdout)
    # When it is verified on the command line, then all is found to be as it says
    verified = run("verify", str(file))
    assert verified.returncode == 0, verified.stdout + verified.stderr
    assert "0 wrong, 0 not checked" in verified.stdout
    # When one figure is changed, then that is found
    file.write_bytes(file.read_bytes().replace(b'"passed":true', b'"passed":false', 1))
    forged = run("verify", str(file))
    assert forged.returncode == 1, forged.stdout + forged.stderr
    assert "wrong" in forged.stdout
    # And what is no report is refused in words
    file.write_text("<html>")
    refused = run("verify", str(file))
    assert (refused.returncode, refused.stdout) == (1, "")
    assert "give the JSON report" in refused.stderr
    assert "Traceback" not in refused.stderr


def test_a_forger_who_computes_all_hashes_again_is_found_by_what_aws_keeps(
    shared_pipeline: Pipeline, ready: str
) -> None:
    genuine = json.loads(fetched(shared_pipeline, ready))
    assert {one.result for one in against_aws(shared_pipeline, documents.canonical(genuine))} == {verify.OK}
    # Given a report in which somebody else started the job, made anew from forged inputs
    inputs = copy.deepcopy(genuine["inputs"])
    inputs["job"]["StartedBy"] = f"{ARN}somebody-else"
    inputs["history"][1]["time"] += 1
    inputs["execution"]["redriveCount"] = 7
    forged = documents.canonical(
        documents.build(inputs, job_id=genuine["jobId"], stored=genuine["stored"], previous=None)
    )
    # Then it is sound in itself, but not what is kept, and not what Step Functions remembers
    assert wrong(verify.check_itself(forged)) == set()
    assert wrong(against_aws(shared_pipeline, forged)) == {
        "kept report",
        "kept page",
        "history at AWS",
        "execution at AWS",
    }


def test_a_file_that_was_changed_since_is_found_and_one_that_is_gone_is_told(
    shared_pipeline: Pipeline, ready: str
) -> None:
    # Given the report of the job, and its files as they are
    body = fetched(shared_pipeline, ready)
    s3, bucket = shared_pipeline.aws.client("s3"), shared_pipeline.outputs["BucketName"]
    changed, gone = f"manifests/{ready}/train.manifest", f"manifests/{ready}/test.manifest"
    before = {key: s3.get_object(Bucket=bucket, Key=key)["Body"].read() for key in (changed, gone)}
    # When one is changed and one deleted
    s3.put_object(Bucket=bucket, Key=changed, Body=before[changed].replace(b"class_id", b"class-id"))
    s3.delete_object(Bucket=bucket, Key=gone)
    found = {one.part: one.result for one in against_aws(shared_pipeline, body)}
    for key, content in before.items():
        s3.put_object(Bucket=bucket, Key=key, Body=content)
    # Then each is told as what it is
    assert found[f"file s3://{bucket}/{changed}"] == verify.WRONG
    assert found[f"file s3://{bucket}/{gone}"] == verify.UNKNOWN
    assert list(found.values()).count(verify.WRONG) == 1


def test_a_kept_report_cannot_be_deleted(shared_pipeline: Pipeline, ready: str) -> None:
    stored = json.loads(fetched(shared_pipeline, ready))["stored"]
    bucket, _, key = stored.removeprefix("s3://").partition("/")
    s3 = shared_pipeline.aws.client("s3")
    version = s3.head_object(Bucket=bucket, Key=key)["VersionId"]
    with pytest.raises(s3.exceptions.ClientError, match="AccessDenied"):
        s3.delete_object(Bucket=bucket, Key=key, VersionId=version)


@pytest.fixture(scope="module")
def stopped(shared_pipeline: Pipeline) -> tuple[str, bytes]:
    """A job whose labelling failed, which the operator resumed and then stopped; its report on the first end."""
    shared_pipeline.aws.workforce.fail_next_job(f"images/{NAME} cannot be opened.")
    job_id = shared_pipeline.uploaded()
    assert call(shared_pipeline, "POST", "start", "engineer", params={"JobId": job_id}).is_success
    shared_pipeline.reaches(job_id, "Failed")
    first = fetched(shared_pipeline, job_id)
    shared_pipeline.aws.workforce.stop_answering()
    assert call(shared_pipeline, "POST", f"jobs/{job_id}/resume", "operator").is_success
    shared_pipeline.reaches(job_id, "Labelling")
    running = fetched(shared_pipeline, job_id)
    assert json.loads(running)["provisional"]
    assert wrong(verify.check_itself(running)) | wrong(against_aws(shared_pipeline, running)) == set()
    assert call(shared_pipeline, "POST", f"jobs/{job_id}/stop", "lead").is_success
    shared_pipeline.reaches(job_id, "Stopped")
    return job_id, first


def test_failures_redrives_and_stops_are_told_with_who_did_it(
    shared_pipeline: Pipeline, stopped: tuple[str, bytes]
) -> None:
    job_id, first = stopped
    # When the reports on both ends are read
    body = fetched(shared_pipeline, job_id)
    before, report = json.loads(first), json.loads(body)
    for one in (before, report):
        Draft202012Validator(SCHEMA).validate(one)
    # Then the first tells the failure, and the second also who redrove and who stopped the job
    assert [one["what"] for one in before["facts"]["incidents"]] == ["failure", "end"]
    incidents = report["facts"]["incidents"]
    # a busy machine may miss a heartbeat, which is 36 seconds here
    told = [one for one in incidents if one["error"] not in ("States.HeartbeatTimeout", "States.Timeout")]
    said = [(one["what"], one["error"], one["by"]) for one in told]
    assert said == [
        ("failure", "LabellingFailed", None),
        ("end", "LabellingFailed", None),
        ("redrive", None, f"{ARN}operator"),
        ("stop", "StoppedByRequest", f"{ARN}lead"),
    ]
    assert "describe-labeling-job" in report["facts"]["incidents"][0]["cause"]
    assert NAME not in body.decode() + first.decode()
    assert len(report["facts"]["path"]["pauses"]) == 1
    assert "Nothing was trained." in answers(report)["What was trained, how long, and what did it cost?"]
    # And the second names the first, which is there still
    assert before["previous"] is None
    assert report["previous"]["object"] == before["stored"] == report["stored"]
    findings = against_aws(shared_pipeline, body)
    assert wrong(findings) == set()
    assert "report before (1)" in {one.part for one in findings if one.result == verify.OK}
    # When a forger gives it another one before, then that is found
    forged = report | {"previous": report["previous"] | {"sha256": "0" * 64}}
    forged["sha256"] = documents.seal(forged)
    assert "report before (1)" in wrong(against_aws(shared_pipeline, documents.canonical(forged)))


def test_a_job_that_was_never_started_has_no_report(shared_pipeline: Pipeline) -> None:
    job_id = shared_pipeline.http.post("create").json()["id"]
    answer = shared_pipeline.http.get(f"jobs/{job_id}/audit")
    assert (answer.status_code, "never started" in answer.json()["detail"]) == (409, True)
