"""The audit report of whole jobs: made when they end, fetched through the API, found genuine, and found out if not."""

import copy
import json
import re
import subprocess
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from unittest.mock import patch

import httpx
import pytest
from deployed import Pipeline, eventually
from jsonschema import Draft202012Validator
from moto.s3.models import s3_backends
from moto.stepfunctions.parser.models import stepfunctions_parser_backends

from ekyc.localaws import aws as place
from ekyc.localaws.services import rekognition
from pipeline.audit import report as documents
from pipeline.audit import verify
from pipeline.audit.history import read
from pipeline.audit.inputs import gather
from pipeline.audit.page import render
from pipeline.audit.redaction import Redactor
from pipeline.audit.store import Store
from pipeline.clients import clients
from tests.command import ekyc

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


def against_aws(pipeline: Pipeline, body: bytes, machine: str | None = None) -> list[verify.Finding]:
    """What is found at AWS. ``machine`` is the stack's state machine unless given."""
    with patch.dict(vars(clients), {name: pipeline.aws.client(name) for name in ("s3", "stepfunctions")}):
        store = Store(pipeline.outputs["AuditBucketName"])
        known = pipeline.outputs["StateMachineArn"] if machine is None else machine
        return list(verify.check_against_aws(body, store=store, machine=known))


def ekyc_audit(pipeline: Pipeline, *words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """``ekyc audit`` with ``words``."""
    known = {**pipeline.aws.environment(), "EKYC_API_URL": pipeline.aws.api_url, "COLUMNS": "250"}
    return ekyc("audit", *words, **known | environment)


def changed(body: bytes, **record: Any) -> bytes:
    """The report with another record of the job, made anew: sound in itself."""
    genuine = json.loads(body)
    made_from = genuine["inputs"] | {"job": genuine["inputs"]["job"] | record}
    made = documents.build(made_from, job_id=genuine["jobId"], stored=genuine["stored"], previous=genuine["previous"])
    return documents.canonical(made)


@pytest.fixture(scope="module")
def ready(shared_pipeline: Pipeline, tmp_path_factory: pytest.TempPathFactory) -> str:
    """A job that people labelled and whose model went live; one of its photos is none and has a person's name."""
    damaged = tmp_path_factory.mktemp("damaged") / NAME
    damaged.write_bytes(b"no photo at all")
    job_id = shared_pipeline.uploaded(*sorted(shared_pipeline.photos.glob("*.jpg")), damaged)
    options = {"documentTypes": ["AU_PASSPORT", "ID_KTP", "THAI_ID_BACK"], "labels": {"provider": "ground-truth"}}
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
    assert photos["manifestSha256"] in said["Which photos were accepted, and which were rejected?"]
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
    assert f"{ARN}engineer requested deployment" in said["Did the model go live, and why?"]
    # And has every event of the history
    history = shared_pipeline.history(ready)
    assert [event["id"] for event in report["inputs"]["history"]] == [event["id"] for event in history]
    kinds = Counter(event["type"] for event in history)
    entered = sum(count for kind, count in kinds.items() if kind.endswith("StateEntered"))
    retried = kinds["TaskScheduled"] - kinds["TaskStateEntered"]
    assert facts["cost"]["transitions"] == entered + retried + 1  # the photos are one batch, an execution with a state
    failed = sum(count for kind, count in kinds.items() if kind.endswith(("Failed", "TimedOut")))
    assert sum(one["count"] for one in facts["incidents"]) == failed
    # And it has no secrets
    scheduled = (event.get("taskScheduledEventDetails", {}).get("parameters", "{}") for event in history)
    tokens = {token for text in scheduled if (token := json.loads(text).get("Payload", {}).get("taskToken"))}
    page = fetched(shared_pipeline, ready, "text/html").decode()
    assert tokens
    for text in (body.decode(), page, shared_pipeline.logs()):
        assert not [token for token in tokens if token in text]
        assert NAME not in text
        assert not [path.name for path in shared_pipeline.photos.glob("*.jpg") if path.name in text]
        assert "Signature=" not in text


def test_a_report_has_all_types_whatever_they_look_like(shared_pipeline: Pipeline, tmp_path: Path) -> None:
    # Given a job whose document types look like an access key or like the names of fields
    pipeline = shared_pipeline
    types, coco = ["cause", "inputDetails", "AKIAABCDEFGHIJKLMNOP"], pipeline.coco
    for category, name in zip(coco["categories"], types, strict=True):
        category["name"] = name
    labels = tmp_path / "annotations.json"
    labels.write_text(json.dumps(coco))
    job_id = pipeline.uploaded(*sorted(pipeline.photos.glob("*.jpg")), labels)
    supplied = {"provider": "supplied", "key": labels.name}
    pipeline.start(job_id, documentTypes=types, labels=supplied, deploy=False)
    # When it ends
    pipeline.reaches(job_id, "Ready")
    report = json.loads(fetched(pipeline, job_id))
    # Then the report has the number of photos of each
    Draft202012Validator(SCHEMA).validate(report)
    per_type = {entry["label"]: entry["images"] for entry in report["facts"]["split"]["imagesPerType"]}
    assert per_type.keys() == set(types)
    assert set(per_type.values()) == {5}


def test_the_page_needs_nothing_else(shared_pipeline: Pipeline, ready: str) -> None:
    report = json.loads(fetched(shared_pipeline, ready))
    page = fetched(shared_pipeline, ready, "text/html").decode()
    # It has every answer, every event, both pictures, three plots and the seal
    assert page.count("<svg") == 5
    assert report["sha256"] in page
    assert page.count('<tr><td class="n">') >= len(report["inputs"]["history"])
    for state in report["facts"]["path"]["states"]:
        assert f">{state['name']}" in page
    # And no script, and nothing from elsewhere
    assert "<script" not in page
    assert not [word for word in ('src="', "url(http", "@import", "<link") if word in page]


def test_the_same_history_gives_the_same_report(shared_pipeline: Pipeline, ready: str) -> None:
    body = fetched(shared_pipeline, ready)
    # When the end event comes again
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
    with patch.dict(vars(clients), stepfunctions=shared_pipeline.aws.client("stepfunctions")):
        redacted = read(shared_pipeline.arn(ready), Redactor())
    assert documents.sha256(redacted) == report["hashes"]["history"]


def test_an_unchanged_report_is_genuine(shared_pipeline: Pipeline, ready: str, tmp_path: Path) -> None:
    # Given a report as it was fetched
    file = tmp_path / "report.json"
    file.write_text(ekyc_audit(shared_pipeline, ready, "--json").stdout)
    # When it is verified on the command line, then all is found to be as it says
    verified = ekyc_audit(shared_pipeline, "verify", str(file))
    assert verified.returncode == 0, verified.stdout + verified.stderr
    assert "0 wrong, 0 not checked, 0 noted" in verified.stdout
    assert "The report is genuine" in verified.stdout
    # When one figure is changed, then that is found
    file.write_bytes(file.read_bytes().replace(b'"passed":true', b'"passed":false', 1))
    forged = ekyc_audit(shared_pipeline, "verify", str(file))
    assert forged.returncode == 6, forged.stdout + forged.stderr
    assert "wrong" in forged.stdout
    # And what is no report is refused in words
    file.write_text("<html>")
    refused = ekyc_audit(shared_pipeline, "verify", str(file))
    assert (refused.returncode, refused.stdout) == (1, "")
    assert "neither the JSON nor the HTML of an audit report" in refused.stderr
    assert "Traceback" not in refused.stderr


def test_a_signed_report_needs_only_the_public_key(shared_pipeline: Pipeline, ready: str, tmp_path: Path) -> None:
    # Given the stack's public key, and the signed report of a job that has ended
    key, file = tmp_path / "public.pem", tmp_path / "signed.json"
    key.write_text(ekyc_audit(shared_pipeline, "key").stdout)
    assert ekyc_audit(shared_pipeline, ready, "--signed", str(file)).returncode == 0
    # When they are verified without AWS
    offline = {"EKYC_API_URL": "http://127.0.0.1:1", "AWS_ENDPOINT_URL": "http://127.0.0.1:1"}
    verified = ekyc_audit(shared_pipeline, "verify", str(file), "--key", str(key), **offline)
    # Then the report and its page are genuine
    assert verified.returncode == 0, verified.stdout + verified.stderr
    assert "the owner of the key signed exactly these files" in " ".join(verified.stdout.split())
    content = json.loads(file.read_text())
    assert content["files"][f"{ready}.json"].encode() == fetched(shared_pipeline, ready)
    assert content["files"][f"{ready}.html"].encode() == fetched(shared_pipeline, ready, "text/html")
    # And a changed byte is found
    file.write_text(file.read_text().replace("THAI_ID_BACK", "THAI_ID_BACC", 1))
    forged = ekyc_audit(shared_pipeline, "verify", str(file), "--key", str(key), **offline)
    assert forged.returncode == 6
    # And without the key, AWS proves the file, and the signature is not checked
    assert ekyc_audit(shared_pipeline, ready, "--signed", str(file)).returncode == 0
    online = ekyc_audit(shared_pipeline, "verify", str(file))
    assert online.returncode == 0, online.stdout
    assert "Give the public key with --key" in " ".join(online.stdout.split())
    # And a report without a signature is refused in words
    file.write_bytes(fetched(shared_pipeline, ready))
    refused = ekyc_audit(shared_pipeline, "verify", str(file), "--key", str(key))
    assert (refused.returncode, "The file is not signed" in refused.stderr) == (1, True)


def test_a_forgery_with_new_hashes_fails_against_awss_record(shared_pipeline: Pipeline, ready: str) -> None:
    genuine = json.loads(fetched(shared_pipeline, ready))
    findings = against_aws(shared_pipeline, documents.canonical(genuine))
    assert {one.result for one in findings} == {verify.OK}
    assert verify.verdict(findings) == verify.GENUINE
    # Given a report with another starter of the job, made again from forged inputs
    inputs = copy.deepcopy(genuine["inputs"])
    inputs["execution"]["input"]["startedBy"] = f"{ARN}somebody-else"
    inputs["history"][-1]["time"] += 1  # the last event, so that times still never go backwards
    inputs["execution"]["redriveCount"] = 7
    forged = documents.canonical(
        documents.build(inputs, job_id=genuine["jobId"], stored=genuine["stored"], previous=None)
    )
    # Then it is sound in itself, but not what is kept, and not what Step Functions remembers
    assert wrong(verify.check_itself(forged)) == set()
    assert wrong(against_aws(shared_pipeline, forged)) == {
        "stored report",
        "stored page",
        "history in Step Functions",
        "execution in Step Functions",
    }


def test_another_state_machine_cannot_prove_a_report(shared_pipeline: Pipeline, ready: str) -> None:
    # Given a forger's state machine, an execution of it with the job's name, and a report on this execution
    steps, iam = shared_pipeline.aws.client("stepfunctions"), shared_pipeline.aws.client("iam")
    role = iam.create_role(RoleName="forger", AssumeRolePolicyDocument="{}")["Role"]["Arn"]
    definition = json.dumps({"StartAt": "Done", "States": {"Done": {"Type": "Succeed"}}})
    machine = steps.create_state_machine(name="forged", definition=definition, roleArn=role)["stateMachineArn"]
    arn = steps.start_execution(stateMachineArn=machine, name=ready, input="{}")["executionArn"]
    eventually(lambda: steps.describe_execution(executionArn=arn)["status"] == "SUCCEEDED")
    with patch.dict(vars(clients), {"s3": shared_pipeline.aws.client("s3"), "stepfunctions": steps}):
        gathered = gather(arn, None, bucket=shared_pipeline.outputs["BucketName"])
    stored = f"s3://{shared_pipeline.outputs['AuditBucketName']}/{report_key(ready)}"
    body = documents.canonical(documents.build(gathered, job_id=ready, stored=stored, previous=None))
    # When it is verified; Then the history is that of Step Functions, but the state machine is not the stack's
    findings = against_aws(shared_pipeline, body)
    assert wrong(verify.check_itself(body)) == set()
    assert {one.part: one.result for one in findings}[verify.HISTORY] == verify.OK
    assert wrong(findings) - verify.PROOF == {verify.MACHINE}
    # And without the stack's state machine, the history does not count as compared
    fetched(shared_pipeline, ready, "text/html")  # the page is stored after the report, and both prove it
    genuine = fetched(shared_pipeline, ready)
    assert verify.verdict(against_aws(shared_pipeline, genuine)) == verify.GENUINE
    assert verify.verdict(against_aws(shared_pipeline, genuine, machine="")) == verify.ALONE
    steps.delete_state_machine(stateMachineArn=machine)


def test_a_forged_end_and_definition_fail_against_aws(shared_pipeline: Pipeline, ready: str) -> None:
    # Given a report with another end, error and definition, whose hashes were computed again
    genuine = json.loads(fetched(shared_pipeline, ready))
    inputs = copy.deepcopy(genuine["inputs"])
    inputs["execution"] |= {"stopDate": inputs["execution"]["stopDate"] + 60_000, "error": "NotEnoughImages"}
    inputs["stateMachine"]["definitionSha256"] = "0" * 64
    made = documents.build(inputs, job_id=ready, stored=genuine["stored"], previous=None)
    forged = documents.canonical(made)
    # When it is verified; Then another end alone does not explain the differences: the execution was not redriven
    assert wrong(verify.check_itself(forged)) == {"history"}
    assert {verify.EXECUTION, verify.DEFINITION} <= wrong(against_aws(shared_pipeline, forged))


def test_once_the_execution_is_forgotten_the_lock_alone_proves(
    shared_pipeline: Pipeline, ready: str, tmp_path: Path
) -> None:
    # Given a kept report, and Step Functions, which has forgotten the execution after 90 days
    file = tmp_path / "report.json"
    file.write_bytes(fetched(shared_pipeline, ready))
    (machine,) = stepfunctions_parser_backends[place.account][place.region].state_machines
    executions = list(machine.executions)
    machine.executions[:] = [one for one in executions if one.name != ready]
    kept = versions(shared_pipeline, ready, "json")[0]
    try:
        locked = ekyc_audit(shared_pipeline, "verify", str(file))
        # And the same without a lock
        kept.lock_mode = "GOVERNANCE"
        content = ekyc_audit(shared_pipeline, "verify", str(file))
    finally:
        kept.lock_mode = "COMPLIANCE"
        machine.executions[:] = executions
    # Then the lock proves that the file is unchanged, and the output says what can no longer be proved
    assert locked.returncode == 0, locked.stdout + locked.stderr
    assert "0 wrong, 4 not checked, 0 noted" in locked.stdout
    assert "Step Functions does not have the execution." in locked.stdout
    assert re.search(
        r"first version for this end, stored at \d{4}-.* UTC, with an active COMPLIANCE lock", locked.stdout
    )
    assert "only the report shows what the execution did" in " ".join(locked.stdout.split())
    assert "It is genuine" not in locked.stdout
    # And without the lock only the content agrees
    assert content.returncode == 7, content.stdout + content.stderr
    assert "Authenticity is not proven" in content.stdout


def test_changed_and_missing_files_are_reported(shared_pipeline: Pipeline, ready: str) -> None:
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
    # Then each is reported, and the report is still genuine
    assert found[f"file s3://{bucket}/{changed}"] == verify.NOTED
    assert found[f"file s3://{bucket}/{gone}"] == verify.UNKNOWN
    assert verify.WRONG not in found.values()


def test_a_kept_report_cannot_be_deleted(shared_pipeline: Pipeline, ready: str) -> None:
    stored = json.loads(fetched(shared_pipeline, ready))["stored"]
    bucket, _, key = stored.removeprefix("s3://").partition("/")
    s3 = shared_pipeline.aws.client("s3")
    version = s3.head_object(Bucket=bucket, Key=key)["VersionId"]
    with pytest.raises(s3.exceptions.ClientError, match="AccessDenied"):
        s3.delete_object(Bucket=bucket, Key=key, VersionId=version)


def test_no_lock_that_runs_can_be_shortened(shared_pipeline: Pipeline, ready: str) -> None:
    # Given a report that is kept
    fetched(shared_pipeline, ready)
    s3, bucket, key = shared_pipeline.aws.client("s3"), shared_pipeline.outputs["AuditBucketName"], report_key(ready)
    # When its lock is to end tomorrow, then that is refused
    before = s3.head_object(Bucket=bucket, Key=key)
    tomorrow = datetime.now(UTC) + timedelta(days=1)
    for mode in ("COMPLIANCE", "GOVERNANCE"):
        with pytest.raises(s3.exceptions.ClientError, match="AccessDenied"):
            s3.put_object_retention(
                Bucket=bucket,
                Key=key,
                VersionId=before["VersionId"],
                Retention={"Mode": mode, "RetainUntilDate": tomorrow},
                BypassGovernanceRetention=True,
            )
    after = s3.head_object(Bucket=bucket, Key=key)
    assert after["ObjectLockRetainUntilDate"] == before["ObjectLockRetainUntilDate"]


def report_key(job_id: str, form: str = "json") -> str:
    return f"audit/{job_id}/{job_id}.{form}"


@pytest.fixture
def covered(shared_pipeline: Pipeline, ready: str) -> Iterator[tuple[dict[str, bytes], dict[str, bytes]]]:
    """The job's genuine report and page, and forged newer versions by a principal with s3:PutObject."""
    kinds = {"json": "application/json", "html": "text/html"}
    true = {form: fetched(shared_pipeline, ready, kind) for form, kind in kinds.items()}
    forged_report = changed(true["json"], TrainingSeconds=1)
    forged = {"json": forged_report, "html": render(json.loads(forged_report)).encode()}
    s3, bucket = shared_pipeline.aws.client("s3"), shared_pipeline.outputs["AuditBucketName"]
    for form, body in forged.items():
        metadata = s3.head_object(Bucket=bucket, Key=report_key(ready, form))["Metadata"]
        s3.put_object(Bucket=bucket, Key=report_key(ready, form), Body=body, Metadata=metadata, ContentType=kinds[form])
    yield true, forged
    restore(shared_pipeline, ready)


def versions(pipeline: Pipeline, job_id: str, form: str) -> list[Any]:
    """moto's own objects of the versions, the oldest one first."""
    backend = s3_backends[place.account]["aws"]
    return list(backend.get_bucket(pipeline.outputs["AuditBucketName"]).keys.getlist(report_key(job_id, form)))


def restore(pipeline: Pipeline, job_id: str) -> None:
    """Leave the first version of report and page alone, which only the owner of the process can."""
    backend = s3_backends[place.account]["aws"]
    keys = backend.get_bucket(pipeline.outputs["AuditBucketName"]).keys
    for form in ("json", "html"):
        set_versions(keys, report_key(job_id, form), versions(pipeline, job_id, form)[:1])


def set_versions(keys: Any, key: str, kept: list[Any]) -> None:
    """Past moto's own way to do that, which throws contents away."""
    dict.__setitem__(keys, key, kept) if kept else dict.pop(keys, key)


def test_a_forged_version_on_top_changes_nothing(
    shared_pipeline: Pipeline,
    ready: str,
    covered: tuple[dict[str, bytes], dict[str, bytes]],
    tmp_path: Path,
) -> None:
    # Given a report and a page with forged versions on top
    true, forged = covered
    # Then the API leads to the true ones
    assert fetched(shared_pipeline, ready) == true["json"]
    assert fetched(shared_pipeline, ready, "text/html") == true["html"]
    # And of the files that a reader may have, the true ones are found genuine, and the forged ones wrong
    for form, body in true.items():
        file = tmp_path / f"true.{form}"
        file.write_bytes(body)
        verified = ekyc_audit(shared_pipeline, "verify", str(file))
        assert verified.returncode == 0, verified.stdout + verified.stderr
        assert "1 noted" in verified.stdout
    for form, body in forged.items():
        file = tmp_path / f"forged.{form}"
        file.write_bytes(body)
        verified = ekyc_audit(shared_pipeline, "verify", str(file))
        assert verified.returncode == 6, verified.stdout + verified.stderr
    assert "stored report" in wrong(against_aws(shared_pipeline, forged["json"]))
    noted = {one.part: one.words for one in against_aws(shared_pipeline, true["json"]) if one.result == verify.NOTED}
    # two exporters at a time may have kept the true one twice
    assert re.search(r"the report has [23] versions for this end, of which only the first counts", noted["versions"])


def test_a_delete_marker_hides_no_report(shared_pipeline: Pipeline, ready: str) -> None:
    # Given a report and its page, hidden by delete markers
    body, shown = fetched(shared_pipeline, ready), fetched(shared_pipeline, ready, "text/html")
    s3, bucket = shared_pipeline.aws.client("s3"), shared_pipeline.outputs["AuditBucketName"]
    for form in ("json", "html"):
        s3.delete_object(Bucket=bucket, Key=report_key(ready, form))
    # Then the API links to them, verification proves them, and the delete markers are reported
    assert fetched(shared_pipeline, ready) == body
    assert fetched(shared_pipeline, ready, "text/html") == shown
    findings = against_aws(shared_pipeline, body)
    assert verify.verdict(findings) == verify.GENUINE
    (noted,) = (one.words for one in findings if one.result == verify.NOTED)
    assert "the report is hidden by 1 delete marker; the page is hidden by 1 delete marker" in noted
    restore(shared_pipeline, ready)


def test_a_page_that_was_changed_is_wrong(shared_pipeline: Pipeline, ready: str, tmp_path: Path) -> None:
    # Given the page as it was saved, and a copy in which the starter is another
    page = fetched(shared_pipeline, ready, "text/html")
    files = {"true": page, "changed": page.replace(b"user/engineer", b"user/else"), "other": b"<!DOCTYPE html><p>"}
    runs = {}
    for name, body in files.items():
        (tmp_path / name).write_bytes(body)
        runs[name] = ekyc_audit(shared_pipeline, "verify", str(tmp_path / name))
    # Then the one is genuine, the other wrong, and any other page is refused
    assert [run.returncode for run in runs.values()] == [0, 6, 1], "".join(run.stdout for run in runs.values())
    assert "not the page of a report that is stored" in runs["changed"].stdout
    assert "not the page of an audit report" in runs["other"].stderr


def test_a_report_cannot_name_the_bucket_that_proves_it(shared_pipeline: Pipeline, ready: str, tmp_path: Path) -> None:
    # Given a forged report, kept under lock in a bucket of the forger's, whose place and page it names
    s3, evil = shared_pipeline.aws.client("s3"), "reports-of-a-forger"
    s3.create_bucket(Bucket=evil, ObjectLockEnabledForBucket=True)
    genuine = json.loads(fetched(shared_pipeline, ready))
    made_from = genuine["inputs"] | {"job": {"TrainingSeconds": 1}}
    forged = documents.build(made_from, job_id=ready, stored=f"s3://{evil}/{report_key(ready)}", previous=None)
    lock = {"ObjectLockMode": "COMPLIANCE", "ObjectLockRetainUntilDate": datetime.now(UTC) + timedelta(days=900)}
    metadata = {"ended": str(genuine["inputs"]["execution"]["stopDate"])}
    for form, body in (("html", render(forged).encode()), ("json", documents.canonical(forged))):
        s3.put_object(Bucket=evil, Key=report_key(ready, form), Body=body, Metadata=metadata, **lock)
    # When it is verified
    file = tmp_path / "forged.json"
    file.write_bytes(documents.canonical(forged))
    verified = ekyc_audit(shared_pipeline, "verify", str(file))
    # Then the stack's own bucket decides
    assert verified.returncode == 6, verified.stdout + verified.stderr
    assert {"place", "stored report"} <= wrong(against_aws(shared_pipeline, documents.canonical(forged)))


LOCKS = {
    "of governance mode": {"lock_mode": "GOVERNANCE"},
    "over": {"lock_until": "2020-01-01T00:00:00Z"},
    "missing": {"lock_mode": None, "lock_until": None},
}


@pytest.mark.parametrize("lock", LOCKS)
@pytest.mark.parametrize("form", ["json", "html"])
def test_without_a_compliance_lock_nothing_is_proven(
    shared_pipeline: Pipeline, ready: str, form: str, lock: str
) -> None:
    # Given a report or a page whose lock is none that keeps it
    body = fetched(shared_pipeline, ready)
    kept = versions(shared_pipeline, ready, form)[0]
    before = {name: getattr(kept, name) for name in LOCKS[lock]}
    # When the report is verified
    for name, value in LOCKS[lock].items():
        setattr(kept, name, value)
    findings = against_aws(shared_pipeline, body)
    for name, value in before.items():
        setattr(kept, name, value)
    # Then nothing is wrong, and nothing is proven
    assert wrong(findings) == set()
    assert verify.verdict(findings) == verify.UNPROVEN


@pytest.mark.parametrize("accept", ["application/json", "text/html"])
@pytest.mark.parametrize("why", ["no stack", "no answer", "nothing kept"])
def test_what_cannot_be_proven_has_words_and_an_exit_code(
    shared_pipeline: Pipeline, ready: str, why: str, accept: str, tmp_path: Path
) -> None:
    # Given a genuine report or page, and no access to the stored one
    file = tmp_path / "report"
    file.write_bytes(fetched(shared_pipeline, ready, accept))
    keys = s3_backends[place.account]["aws"].get_bucket(shared_pipeline.outputs["AuditBucketName"]).keys
    before = {form: versions(shared_pipeline, ready, form) for form in ("json", "html")}
    stack, endpoint = "ekyc-training", {}
    if why == "no stack":
        stack = "no-such-stack"
    elif why == "no answer":
        endpoint = {"AWS_ENDPOINT_URL": "http://127.0.0.1:9", "AWS_MAX_ATTEMPTS": "1"}
    else:
        for form in before:
            set_versions(keys, report_key(ready, form), [])
    # When it is verified
    verified = ekyc_audit(shared_pipeline, "verify", str(file), "--stack", stack, **endpoint)
    for form, kept in before.items():
        set_versions(keys, report_key(ready, form), kept)
    # Then that is neither an error nor a success
    assert verified.returncode == 7, verified.stdout + verified.stderr
    assert "Authenticity is not proven" in verified.stdout
    assert "Traceback" not in verified.stderr


def test_another_bucket_than_the_report_names_is_wrong(shared_pipeline: Pipeline, ready: str, tmp_path: Path) -> None:
    file, s3 = tmp_path / "report.json", shared_pipeline.aws.client("s3")
    file.write_bytes(fetched(shared_pipeline, ready))
    s3.create_bucket(Bucket="reports-of-another-stack")
    for bucket, code in ((shared_pipeline.outputs["AuditBucketName"], 0), ("reports-of-another-stack", 6)):
        verified = ekyc_audit(shared_pipeline, "verify", str(file), "--bucket", bucket, "--stack", "none")
        assert verified.returncode == code, verified.stdout + verified.stderr


def test_wrong_usage_has_its_own_exit_code(shared_pipeline: Pipeline) -> None:
    assert ekyc_audit(shared_pipeline, "verify", "a", "b").returncode == 2


UPLOADS = ('O\'Brien "x".jpg', '…a"b.jpg', "….jpg")


def test_no_name_of_an_upload_is_in_the_report(shared_pipeline: Pipeline, tmp_path: Path) -> None:
    # Given a job whose photos and labels file have names with quotation marks, or that begin with an ellipsis
    photos = sorted(shared_pipeline.photos.glob("*.jpg"))[: len(UPLOADS)]
    for name, photo in zip(UPLOADS, photos, strict=True):
        (tmp_path / name).write_bytes(photo.read_bytes())
    labels = '…Žofie "x" O\'Neill.json'
    (tmp_path / labels).write_text('{"images": [{"id": 1, "file_name": "x"}], "annotations": [], "categories": []}')
    job_id = shared_pipeline.http.post("create").json()["id"]
    shared_pipeline.upload(job_id, *(tmp_path / name for name in UPLOADS), tmp_path / labels)
    # When it fails over its labels
    started = shared_pipeline.start(job_id, labels={"provider": "supplied", "key": labels})
    assert started.is_success, started.text
    shared_pipeline.reaches(job_id, "Failed")
    # Then no name is in its report, its page or the logs
    for text in (
        fetched(shared_pipeline, job_id).decode(),
        fetched(shared_pipeline, job_id, "text/html").decode(),
        shared_pipeline.logs(),
    ):
        for part in ("Brien", "Žofie", "\\u017dofie", "Neill", 'a\\"b', 'a"b', "a&quot;b"):
            assert part not in text


@pytest.fixture(scope="module")
def stopped(shared_pipeline: Pipeline) -> tuple[str, bytes]:
    """A job whose labelling failed, which the operator resumed and then stopped; its report on the first end."""
    shared_pipeline.aws.workforce.fail_next_job(f"images/{NAME} cannot be opened.")
    job_id = shared_pipeline.uploaded()
    options = {"labels": {"provider": "ground-truth"}}
    assert call(shared_pipeline, "POST", "start", "engineer", params={"JobId": job_id}, json=options).is_success
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


def test_failures_redrives_and_stops_name_their_caller(shared_pipeline: Pipeline, stopped: tuple[str, bytes]) -> None:
    job_id, first = stopped
    # When the reports on both ends are read
    body = fetched(shared_pipeline, job_id)
    before, report = json.loads(first), json.loads(body)
    for one in (before, report):
        Draft202012Validator(SCHEMA).validate(one)
    # Then the first report has the failure, and the second also the callers of the redrive and the stop
    assert [one["what"] for one in before["facts"]["incidents"]] == ["failure", "end"]
    incidents = report["facts"]["incidents"]
    # a busy machine may miss a heartbeat, which is 36 seconds here
    expected_incidents = [one for one in incidents if one["error"] not in ("States.HeartbeatTimeout", "States.Timeout")]
    said = [(one["what"], one["error"], one["by"]) for one in expected_incidents]
    assert said == [
        ("failure", "LabellingFailed", None),
        ("end", "LabellingFailed", None),
        ("redrive", None, f"{ARN}operator"),
        ("stop", "StoppedByRequest", f"{ARN}lead"),
    ]
    assert "describe-labeling-job" in report["facts"]["incidents"][0]["cause"]
    assert NAME not in body.decode() + first.decode()
    assert len(report["facts"]["path"]["pauses"]) == 1
    assert "No model was trained." in answers(report)["Which model was trained, for how long, and what did it cost?"]
    # And the second names the first, which is there still
    assert before["previous"] is None
    assert report["previous"]["object"] == before["stored"] == report["stored"]
    findings = against_aws(shared_pipeline, body)
    assert wrong(findings) == set()
    assert "earlier report (1)" in {one.part for one in findings if one.result == verify.OK}
    # When a forger gives it another one before, then that is found
    forged = report | {"previous": report["previous"] | {"sha256": "0" * 64}}
    forged["sha256"] = documents.seal(forged)
    assert "earlier report (1)" in wrong(against_aws(shared_pipeline, documents.canonical(forged)))


def later_ends(pipeline: Pipeline, body: bytes, file: Path) -> dict[str, list[str]]:
    """What ``ekyc audit verify`` notes about ends after the one in the genuine report ``body``, by part."""
    file.write_bytes(body)
    verified = ekyc_audit(pipeline, "verify", str(file), "--json")
    assert verified.returncode == 0, verified.stdout + verified.stderr
    noted: dict[str, list[str]] = {}
    for one in json.loads(verified.stdout):
        if one["result"] == "noted" and one["part"].startswith("later"):
            noted.setdefault(one["part"], []).append(one["words"])
    assert all(words.endswith(verify.NOT_LAST) for part in noted.values() for words in part)
    # The verdict says so too, and is the same for people
    said = ekyc_audit(pipeline, "verify", str(file)).stdout
    assert ["does not describe the last end of the job: see `noted`" in text for text in (verified.stderr, said)] == [
        bool(noted)
    ] * 2
    return noted


def test_an_older_report_names_the_one_after_a_redrive(
    shared_pipeline: Pipeline, stopped: tuple[str, bytes], tmp_path: Path
) -> None:
    # Given the reports on both ends of an execution
    job_id, first = stopped
    last = fetched(shared_pipeline, job_id)
    kept = versions(shared_pipeline, job_id, "json")
    first_version, last_version = (
        next(one for one in kept if one.value == content).version_id for content in (first, last)
    )
    # When the first is verified, then the later one is named
    (words,) = later_ends(shared_pipeline, first, tmp_path / "first.json")["later reports"]
    assert f"/{report_key(job_id)}, version {last_version}, " in words
    assert first_version not in words
    # And nothing is later than the last one
    assert later_ends(shared_pipeline, last, tmp_path / "last.json") == {}
    # When the report on the last end is not stored, then Step Functions has this end
    keys = s3_backends[place.account]["aws"].get_bucket(shared_pipeline.outputs["AuditBucketName"]).keys
    set_versions(keys, report_key(job_id), [one for one in kept if one.version_id == first_version])
    noted = later_ends(shared_pipeline, first, tmp_path / "first.json")
    set_versions(keys, report_key(job_id), kept)
    assert list(noted) == ["later executions in Step Functions"]
    assert f"The execution {job_id} has the status ABORTED" in noted["later executions in Step Functions"][0]


def test_an_older_report_names_the_next_execution(shared_pipeline: Pipeline, tmp_path: Path) -> None:
    # Given a job that failed over a dataset, and again after a resume, which began another execution
    rekognition.current().fail_next_dataset = "The manifest cannot be read."
    job_id = shared_pipeline.uploaded()
    shared_pipeline.upload(job_id, shared_pipeline.photos / "annotations.json")
    labels = {"provider": "supplied", "key": "annotations.json"}
    assert shared_pipeline.start(job_id, labels=labels, deploy=False).is_success
    shared_pipeline.reaches(job_id, "Failed")
    reports = [fetched(shared_pipeline, job_id)]
    rekognition.current().fail_next_dataset = "The manifest cannot be read."
    assert call(shared_pipeline, "POST", f"jobs/{job_id}/resume", "operator").is_success
    name = f"{job_id}-2"

    def ended() -> bytes | None:
        body = fetched(shared_pipeline, job_id)
        report = json.loads(body)
        return None if report["provisional"] or report["execution"] != name else body

    reports.append(eventually(ended))
    # When the first report is verified, then the second is named
    key = f"audit/{job_id}/{name}.json"
    s3, bucket = shared_pipeline.aws.client("s3"), shared_pipeline.outputs["AuditBucketName"]
    # Two requests at a time may both store it: the first version counts
    version = s3.list_object_versions(Bucket=bucket, Prefix=key)["Versions"][-1]["VersionId"]
    noted = later_ends(shared_pipeline, reports[0], tmp_path / "first.json")
    assert list(noted) == ["later reports"]
    assert f"s3://{bucket}/{key}, version {version}, " in noted["later reports"][0]
    # And nothing is later than the second
    assert later_ends(shared_pipeline, reports[1], tmp_path / "second.json") == {}
    # When the second is not stored, then Step Functions has its execution
    keys = s3_backends[place.account]["aws"].get_bucket(bucket).keys
    kept = list(keys.getlist(key))
    set_versions(keys, key, [])
    noted = later_ends(shared_pipeline, reports[0], tmp_path / "first.json")
    set_versions(keys, key, kept)
    assert list(noted) == ["later executions in Step Functions"]
    assert f"The execution {name} has the status FAILED" in noted["later executions in Step Functions"][0]
    # When the first execution is redriven in the console, then the second report, which names it, stays genuine
    rekognition.current().fail_next_dataset = "The manifest cannot be read."
    shared_pipeline.aws.client("stepfunctions").redrive_execution(executionArn=shared_pipeline.arn(job_id))
    eventually(lambda: shared_pipeline.execution(job_id)["status"] == "FAILED")
    findings = against_aws(shared_pipeline, reports[1])
    assert {one.part: one.result for one in findings}[verify.EARLIER] == verify.OK
    assert wrong(findings) == set()


def test_a_job_that_was_never_started_has_no_report(shared_pipeline: Pipeline) -> None:
    job_id = shared_pipeline.http.post("create").json()["id"]
    answer = shared_pipeline.http.get(f"jobs/{job_id}/audit")
    assert (answer.status_code, "never started" in answer.json()["detail"]) == (409, True)
