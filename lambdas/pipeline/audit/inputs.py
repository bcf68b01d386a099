"""Reads the inputs of an audit report: the execution, its history, the job's record and the job's files."""

import hashlib
import json
from collections import Counter
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from botocore.exceptions import ClientError

from pipeline import executions
from pipeline.audit import history
from pipeline.audit.redaction import Redactor
from pipeline.clients import clients
from pipeline.errors import error_code
from pipeline.jobs import Job

FOLDERS = ("manifests", "labels", "labelling", "training")
"""Folders of the bucket whose files are hashed. Photos are not hashed: the manifest has a hash of each."""

RECORD = (
    "StartTime",
    "StartedBy",
    "StoppedBy",
    "ResumedBy",
    "LabelsPostedBy",
    "LabelProvider",
    "LabellingJobArn",
    "TrainingSeconds",
    "EarlierTrainingSeconds",
    "InferenceUnits",
    "PublishedTime",
)
"""The attributes of the job's record in the report: those that no history has and that stay unchanged after the end."""

EARLIER = ("name", "status", "startDate", "stopDate", "error", "cause", "redriveCount")
"""The fields of an earlier execution in the report. That execution has a report of its own."""

MOST_REJECTED = 1000  # rejected photos that the report lists; the list in the bucket has all
ANSWERS = "/annotations/worker-response/"
OTHER_ANNOTATIONS = "/annotations/"
READERS = 32  # 100,000 answers of 20 ms each, the most of a labelling job, take a minute
BLOCK = 1024 * 1024


def gather(execution_arn: str, job: Job | None, *, bucket: str) -> dict[str, Any]:
    """All inputs of the report, redacted; JSON values only, times in Unix ms.

    ``job`` is None for an execution that was started without the API, whose name is not a job's id.
    """
    redactor = Redactor()
    execution = read_execution(execution_arn)
    # Read the history first: it has the tokens that must be redacted in all other inputs.
    events = history.read(execution_arn, redactor)
    inputs: dict[str, Any] = {
        "history": events,
        "execution": redactor.value(execution),
        "stateMachine": read_machine(execution_arn),
        "earlier": redactor.value(read_earlier(execution_arn)),
        "job": record(job),
    }
    job_id = executions.job_id(execution_arn)
    files = list(read_files(job_id, bucket))
    inputs["files"] = [{**entry, "object": redactor.text(entry["object"])} for entry in files]
    inputs["rejected"] = read_rejected(job_id, bucket)
    inputs["workers"] = read_workers(job_id, bucket, redactor)
    return inputs


def record(job: Job | None) -> dict[str, Any]:
    """The job's record as the report has it. Callers stay as IAM or the user pool names them."""
    return {name: job[name] for name in RECORD if job[name] is not None} if job else {}


def read_execution(execution_arn: str) -> dict[str, Any]:
    """The fields of DescribeExecution that do not change after the end."""
    described = clients.stepfunctions.describe_execution(executionArn=execution_arn)
    execution = {
        name: history.parsed(name, described[name])
        for name in ("executionArn", "stateMachineArn", "name", "status", "input", "error", "cause", "redriveCount")
        if described.get(name) is not None
    }
    for name in ("startDate", "stopDate", "redriveDate"):
        if described.get(name):
            execution[name] = history.milliseconds(described[name])
    return execution


def read_earlier(execution_arn: str) -> list[dict[str, Any]]:
    """The job's earlier executions, oldest first; of an execution that Step Functions has deleted, only the name."""
    machine, _, name = execution_arn.rpartition(":")
    job_id, attempt = executions.parse(name)
    earlier: list[dict[str, Any]] = []
    for number in range(1, attempt):
        one = executions.name(job_id, number)
        try:
            described = read_execution(f"{machine}:{one}")
        except ClientError as error:
            if error_code(error) != "ExecutionDoesNotExist":
                raise
            earlier.append({"name": one})
        else:
            earlier.append({name: value for name, value in described.items() if name in EARLIER})
    return earlier


def read_machine(execution_arn: str) -> dict[str, Any]:
    """The execution's state machine: the hash of the definition, and the next states of each state."""
    definition: str = clients.stepfunctions.describe_state_machine_for_execution(executionArn=execution_arn)[
        "definition"
    ]
    machine = json.loads(definition)
    return {
        "definitionSha256": hashlib.sha256(definition.encode()).hexdigest(),
        "startAt": machine["StartAt"],
        "states": [
            {"name": name, "type": state["Type"], "leadsTo": list(dict.fromkeys(_leads_to(state)))}
            for name, state in machine["States"].items()
        ],
    }


def _leads_to(state: Mapping[str, Any]) -> Iterator[str]:
    for part in (*state.get("Choices", ()), state, *state.get("Catch", ())):
        if "Next" in part:
            yield part["Next"]
    if "Default" in state:
        yield state["Default"]


def read_files(job_id: str, bucket: str) -> Iterator[dict[str, Any]]:
    """Every file of the job except photos and workers' single answers: S3 URI, size in bytes, SHA-256."""
    for folder in FOLDERS:
        for key, size in _listed(f"{folder}/{job_id}/", bucket):
            if OTHER_ANNOTATIONS not in key and (sha256 := file_sha256(bucket, key)):
                yield {"object": f"s3://{bucket}/{key}", "bytes": size, "sha256": sha256}


def file_sha256(bucket: str, key: str) -> str | None:
    """The hash of an object's content, read in pieces; None when there is no such object."""
    try:
        body = clients.s3.get_object(Bucket=bucket, Key=key)["Body"]
    except ClientError as error:
        if error_code(error) not in ("NoSuchKey", "404"):
            raise
        return None
    hashed = hashlib.sha256()
    for block in body.iter_chunks(BLOCK):
        hashed.update(block)
    return hashed.hexdigest()


def read_rejected(job_id: str, bucket: str) -> dict[str, Any]:
    """The rejected photos: the count for each reason, and the first ones by their line number instead of their name."""
    codes: Counter[str] = Counter()
    lines = []
    try:
        body = clients.s3.get_object(Bucket=bucket, Key=f"manifests/{job_id}/rejected.jsonl")["Body"]
    except ClientError as error:
        if error_code(error) != "NoSuchKey":
            raise
        return {}
    for number, text in enumerate(body.iter_lines(BLOCK), 1):
        code = json.loads(text)["code"]
        codes[code] += 1
        if number <= MOST_REJECTED:
            lines.append({"line": number, "code": code})
    return {"codes": dict(codes), "photos": lines}


def read_workers(job_id: str, bucket: str, redactor: Redactor) -> list[dict[str, Any]]:
    """For each labelling job: each worker's number of answers and time for a photo, and a hash over all answers.

    Source: SageMaker guide, "Output data", worker responses.
    """
    prefix = f"labelling/{job_id}/output/"
    times: dict[str, dict[str, list[int]]] = {}
    subjects: dict[str, str] = {}
    answers: Counter[str] = Counter()
    hashes: dict[str, Any] = {}

    def read(key: str) -> tuple[str, bytes]:
        return key, clients.s3.get_object(Bucket=bucket, Key=key)["Body"].read()

    keys = (key for key, _ in _listed(prefix, bucket) if ANSWERS in key)
    with ThreadPoolExecutor(READERS) as readers:
        for key, content in _in_order(readers, read, keys):
            name, _, place = key.removeprefix(prefix).partition(ANSWERS)
            hashed = hashes.setdefault(name, hashlib.sha256())
            hashed.update(f"{place} {hashlib.sha256(content).hexdigest()}\n".encode())
            for answer in json.loads(content)["answers"]:
                worker = redactor.text(str(answer["workerId"]))
                answers[name] += 1
                spent = round(float(answer.get("timeSpentInSeconds", 0)) * 1000)
                times.setdefault(name, {}).setdefault(worker, []).append(spent)
                subject = answer.get("workerMetadata", {}).get("identityData", {}).get("sub")
                if subject:
                    subjects[worker] = redactor.text(str(subject))
    return [
        {
            "labellingJob": name,
            "answers": answers[name],
            "sha256": hashes[name].hexdigest(),
            "workers": [_worker(worker, subjects.get(worker), spent) for worker, spent in sorted(times[name].items())],
        }
        for name in sorted(times)
    ]


def _worker(worker: str, subject: str | None, spent: list[int]) -> dict[str, Any]:
    spent.sort()
    return {
        "worker": worker,
        **({"subject": subject} if subject else {}),
        "photos": len(spent),
        "totalMs": sum(spent),
        "medianMs": spent[(len(spent) - 1) // 2],
        "longestMs": spent[-1],
    }


def _in_order(pool: ThreadPoolExecutor, function: Any, keys: Iterator[str]) -> Iterator[Any]:
    """The results of ``function`` for each key, in order, a page of keys at a time."""
    page: list[str] = []
    for key in keys:
        page.append(key)
        if len(page) == history.PAGE:
            yield from pool.map(function, page)
            page = []
    yield from pool.map(function, page)


def _listed(prefix: str, bucket: str) -> Iterator[tuple[str, int]]:
    """Key and size of every object below ``prefix``, in the order of the keys."""
    for page in clients.s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix):
        for entry in page.get("Contents", ()):
            yield entry["Key"], entry["Size"]
