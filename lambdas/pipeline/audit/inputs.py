"""Reads the inputs of an audit report: the execution, its history, the job's record and the job's files.

Files in the bucket may have been replaced after a stage wrote or read them. So counts and hashes come from the history,
and a list is used only if its hash is the one in the history. No file's content can prevent a report: a file or line
that cannot be read is counted and left out.
"""

import hashlib
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from typing import Any

from botocore.exceptions import ClientError

from pipeline import executions
from pipeline.audit import facts, history
from pipeline.audit.redaction import Redactor
from pipeline.clients import clients
from pipeline.errors import error_code
from pipeline.jobs import Job
from pipeline.labelling import AVAILABILITY_SECONDS
from pipeline.manifests import ManifestReader, rejected_list_key
from rules import photos, states

FOLDERS = ("manifests", "labelling", "training", "labels", "outlines")
"""The folders of the bucket whose files are hashed. Photos are not hashed, because the manifest has their hashes."""
BATCH_FOLDERS = ("parts", "unfinished")
"""The folders in a job's ``manifests/`` that are not hashed. They have the batches' results, which the lists repeat."""
MOST_FILES = 10_000  # files in the report
MOST_HASHED = 16 * 1024**3  # bytes, which take minutes to hash; the limit of a manifest is 1 GB
UNREADABLE = frozenset(
    {
        "AccessDenied",
        "InvalidObjectState",
        "InvalidRequest",
        "KMS.DisabledException",
        "KMS.KMSInvalidStateException",
        "KMS.NotFoundException",
    }
)
"""S3's errors for objects that another principal stored with another KMS key or in an archive. Source: S3 API
reference, "Error responses"."""

RECORD = (
    "StartTime",
    "StoppedBy",
    "ResumedBy",
    "LabelProvider",
    "LabellingJobArn",
    "TrainingSeconds",
    "EarlierTrainingSeconds",
    "InferenceUnits",
    "PublishedTime",
)
"""The attributes of the job's record in the report. They are not in the history and do not change after the end."""

EARLIER = ("name", "status", "startDate", "stopDate", "error", "cause", "redriveCount")
"""The fields of an earlier execution in the report. The execution also has its own report."""

BATCH = ("executionArn", "mapRunArn", "status", "startDate", "stopDate", "redriveCount", "error", "cause")
"""The fields of a failed batch of photos in the report. ``mapRunArn`` is in the history of the batch's execution."""

MOST_REJECTED = 1000  # rejected photos in the report; the list in the bucket has all
MOST_ANSWER = 1024 * 1024  # bytes of a worker's answer, which has the boxes of one photo
PSEUDONYM = re.compile(r"[\w.:-]{1,128}", re.ASCII)  # the format of Ground Truth's worker ids and Cognito's subjects
ANSWERS = "/annotations/worker-response/"
OTHER_ANNOTATIONS = "/annotations/"
READERS = 32  # 100,000 answers, the maximum of a labelling job, then take a minute at 20 ms each
BLOCK = 1024 * 1024


class FileTooLarge(Exception):
    """The object has more bytes than the caller wants to read."""


def gather(execution_arn: str, job: Job | None, *, bucket: str) -> dict[str, Any]:
    """Read all inputs of the report and redact them. Values are JSON, times Unix ms.

    ``job`` is None for an execution that was started without the API and has no job.
    """
    redactor = Redactor()
    execution = read_execution(execution_arn)
    # Read the history first. It has the task tokens to redact in all other inputs.
    events = history.read(execution_arn, redactor)
    inputs: dict[str, Any] = {
        "history": events,
        "execution": redactor.value(execution),
        "failedBatch": redactor.value(read_failed_batch(execution)),
        "stateMachine": read_machine(execution_arn),
        "earlier": redactor.value(read_earlier(execution_arn)),
        "job": record(job),
    }
    job_id = executions.job_id(execution_arn)
    files = list(read_files(job_id, bucket))
    inputs["files"] = [{**entry, "object": redactor.text(entry["object"])} for entry in files]
    results = facts.walk_history(inputs).results
    checked, labelled = (facts.result_of(results, task) for task in (states.COLLECT_PHOTOS, states.REQUEST_LABELS))
    inputs["rejected"] = read_rejected(job_id, checked.get("rejectedSha256"), files, bucket)
    inputs["workers"] = read_workers(job_id, labelled.get("labellingEnded"), bucket)
    return inputs


def record(job: Job | None) -> dict[str, Any]:
    """The attributes of the job's record for the report. Callers are not redacted."""
    return {name: job[name] for name in RECORD if job[name] is not None} if job else {}


def read_execution(execution_arn: str) -> dict[str, Any]:
    """Read the fields of DescribeExecution that do not change after the end."""
    return _fields(clients.stepfunctions.describe_execution(executionArn=execution_arn))


def read_failed_batch(execution: Mapping[str, Any]) -> dict[str, Any] | None:
    """Read a failed batch of photos of an execution that ended because a batch failed: the fields `BATCH`.

    None for other executions, if Step Functions does not list the batch, or not yet, and if the batch was redriven.
    """
    if execution.get("error") != executions.BATCH_FAILED:
        return None
    batch = executions.failed_batch(execution["executionArn"])
    return _batch(batch) if batch and batch["status"] in executions.UNSUCCESSFUL else None


def read_batch(batch_arn: str) -> dict[str, Any]:
    """Read the fields `BATCH` of a batch of photos."""
    return _batch(clients.stepfunctions.describe_execution(executionArn=batch_arn))


def _batch(described: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in _fields(described).items() if name in BATCH}


def _fields(described: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of DescribeExecution's answer for the report. Times are in Unix ms, and JSON texts are parsed."""
    execution = {
        name: history.parsed(name, described[name])
        for name in (
            "executionArn",
            "stateMachineArn",
            "mapRunArn",
            "name",
            "status",
            "input",
            "error",
            "cause",
            "redriveCount",
        )
        if described.get(name) is not None
    }
    for name in ("startDate", "stopDate", "redriveDate"):
        if described.get(name):
            execution[name] = history.milliseconds(described[name])
    return execution


def read_earlier(execution_arn: str) -> list[dict[str, Any]]:
    """Read the job's earlier executions, oldest first. Those that Step Functions has deleted have only their names."""
    machine, _, name = execution_arn.rpartition(":")
    job_id, attempt = executions.parse(name)
    earlier: list[dict[str, Any]] = []
    for number in range(1, attempt):
        earlier_name = executions.name(job_id, number)
        try:
            described = read_execution(f"{machine}:{earlier_name}")
        except ClientError as error:
            if error_code(error) != "ExecutionDoesNotExist":
                raise
            earlier.append({"name": earlier_name})
        else:
            earlier.append({name: value for name, value in described.items() if name in EARLIER})
    return earlier


def read_machine(execution_arn: str) -> dict[str, Any]:
    """Read the execution's state machine: the hash of its definition, and its states with their next states."""
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
    """Read the job's files except photos, results of batches and workers' answers.

    Each has its S3 URI, its size in bytes and its SHA-256 (hex).

    The hash is None if S3 refuses the content, after `MOST_HASHED` bytes, and if the file became larger meanwhile.
    """
    bytes_left, count = MOST_HASHED, 0
    own_results = tuple(f"manifests/{job_id}/{folder}/" for folder in BATCH_FOLDERS)
    for folder in FOLDERS:
        for entry in list_objects(f"{folder}/{job_id}/", bucket):
            if OTHER_ANNOTATIONS in entry["Key"] or entry["Key"].startswith(own_results):
                continue
            count += 1
            if count > MOST_FILES:
                return
            bytes_left -= entry["Size"]
            try:
                sha256 = file_sha256(bucket, entry["Key"], entry["Size"]) if bytes_left >= 0 else None
            except FileTooLarge:
                sha256 = None
            except FileNotFoundError:
                continue
            yield {"object": f"s3://{bucket}/{entry['Key']}", "bytes": entry["Size"], "sha256": sha256}


def file_sha256(bucket: str, key: str, most_bytes: int) -> str | None:
    """The SHA-256 (hex) of an object's content, or None if S3 refuses the content.

    Raises:
        FileNotFoundError: the object does not exist.
        FileTooLarge: the object has more than ``most_bytes`` bytes. Its content is not read.
    """
    try:
        answer = clients.s3.get_object(Bucket=bucket, Key=key)
    except ClientError as error:
        if error_code(error) in ("NoSuchKey", "404"):
            raise FileNotFoundError(key) from None
        if error_code(error) not in UNREADABLE:
            raise
        return None
    with closing(answer["Body"]) as body:
        if answer["ContentLength"] > most_bytes:
            raise FileTooLarge(key)
        hashed = hashlib.sha256()
        for block in body.iter_chunks(BLOCK):
            hashed.update(block)
    return hashed.hexdigest()


def read_rejected(
    job_id: str, expected_sha256: str | None, files: Iterable[Mapping[str, Any]], bucket: str
) -> dict[str, Any]:
    """Read the line numbers and codes of rejected photos, up to `MOST_REJECTED`, and count the unreadable lines.

    Empty if the list does not have the hash that Collect photos returned. ``files`` has the hashes in the bucket, so a
    list that was replaced, perhaps by terabytes, is not read again.
    """
    rejected, unreadable = [], 0
    uri = f"s3://{bucket}/{rejected_list_key(job_id)}"
    if (uri, expected_sha256) not in ((file["object"], file["sha256"]) for file in files):
        return {}
    try:
        manifest = ManifestReader(uri)
    except ClientError as error:
        if error_code(error) not in {"NoSuchKey", *UNREADABLE}:
            raise
        return {}
    for number, text in manifest:
        code = _code(text)
        if code is None:
            unreadable += 1
        elif number <= MOST_REJECTED:
            rejected.append({"line": number, "code": code})
    return {"photos": rejected, "unreadable": unreadable} if manifest.sha256 == expected_sha256 else {}


def _code(text: Any) -> str | None:
    """The code of a rejected photo's line, or None if it has no known code."""
    try:
        code = json.loads(text)["code"]
    except (ValueError, TypeError, KeyError, RecursionError):
        return None
    return code if isinstance(code, str) and code in photos.CODES else None


def read_workers(job_id: str, ended: int | None, bucket: str) -> list[dict[str, Any]]:
    """Read for each labelling job the workers' numbers of answers and times for a photo, and a hash of all answers.

    The history has no hashes of these files. Files that cannot be read, or that were written after ``ended``, the end
    of the labelling (Unix ms), are counted and left out. Source: SageMaker guide, "Output data", worker responses.
    """
    prefix = f"labelling/{job_id}/output/"
    own = re.compile(rf"{re.escape(prefix)}({re.escape(job_id)}-[0-9]{{1,9}}){re.escape(ANSWERS)}(.+)", re.DOTALL)
    answers: dict[str, _Answers] = {}

    def read(entry: Mapping[str, Any]) -> tuple[Mapping[str, Any], bytes | None]:
        if entry["Size"] > MOST_ANSWER:
            return entry, None
        try:
            return entry, clients.s3.get_object(Bucket=bucket, Key=entry["Key"])["Body"].read(MOST_ANSWER)
        except ClientError as error:
            if error_code(error) not in {"NoSuchKey", *UNREADABLE}:
                raise
            return entry, None

    entries = (entry for entry in list_objects(prefix, bucket) if own.fullmatch(entry["Key"]))
    with ThreadPoolExecutor(READERS) as readers:
        for entry, content in _in_order(readers, read, entries):
            name, place = own.fullmatch(entry["Key"]).groups()  # type: ignore[union-attr]
            is_late = ended is not None and history.milliseconds(entry["LastModified"]) > ended
            answers.setdefault(name, _Answers()).add(place, content, is_late=is_late)
    return [{"labellingJob": name, **answers[name].summary()} for name in sorted(answers)]


class _Answers:
    """The workers' answers in a labelling job."""

    def __init__(self) -> None:
        self._hash = hashlib.sha256()
        self._times: dict[str, list[int]] = {}
        self._subjects: dict[str, str] = {}
        self._late = self._unreadable = 0

    def add(self, place: str, content: bytes | None, *, is_late: bool) -> None:
        """Add the file at ``place``. ``content`` is None if the file cannot be read."""
        self._hash.update(f"{place} {hashlib.sha256(content or b'').hexdigest()}\n".encode())
        answers = _read_answers(content)
        if is_late:
            self._late += 1
        elif answers is None:
            self._unreadable += 1
        else:
            for worker, subject, time in answers:
                self._times.setdefault(worker, []).append(time)
                if subject:
                    self._subjects[worker] = subject

    def summary(self) -> dict[str, Any]:
        """The counts, the hash of all files, and the workers."""
        return {
            "answers": sum(map(len, self._times.values())),
            "late": self._late,
            "unreadable": self._unreadable,
            "sha256": self._hash.hexdigest(),
            "workers": [
                _worker(worker, self._subjects.get(worker), times) for worker, times in sorted(self._times.items())
            ],
        }


def _read_answers(content: bytes | None) -> list[tuple[str, str | None, int]] | None:
    """Each answer's worker, subject if there is one, and time in ms. None if the content is not Ground Truth's."""
    try:
        return [_read_answer(answer) for answer in json.loads(content or b"")["answers"]]
    except (ValueError, TypeError, KeyError, AttributeError, OverflowError, RecursionError):
        return None


def _read_answer(answer: Mapping[str, Any]) -> tuple[str, str | None, int]:
    """Raises ValueError, TypeError or another error of a malformed answer."""
    worker, seconds = answer["workerId"], answer.get("timeSpentInSeconds", 0)
    subject = answer.get("workerMetadata", {}).get("identityData", {}).get("sub")
    if not PSEUDONYM.fullmatch(worker) or not (subject is None or PSEUDONYM.fullmatch(subject)):
        raise ValueError("not a pseudonym")
    if isinstance(seconds, bool) or not 0 <= seconds <= AVAILABILITY_SECONDS:
        raise ValueError("not a time for a photo")
    return worker, subject, round(seconds * 1000)


def _worker(worker: str, subject: str | None, times: list[int]) -> dict[str, Any]:
    times.sort()
    return {
        "worker": worker,
        **({"subject": subject} if subject else {}),
        "photos": len(times),
        "totalMs": sum(times),
        "medianMs": times[(len(times) - 1) // 2],
        "longestMs": times[-1],
    }


def _in_order(pool: ThreadPoolExecutor, function: Any, entries: Iterator[Mapping[str, Any]]) -> Iterator[Any]:
    """The results of ``function`` for the entries of a listing, in their order. Submits a page at a time."""
    page: list[Mapping[str, Any]] = []
    for entry in entries:
        page.append(entry)
        if len(page) == history.PAGE:
            yield from pool.map(function, page)
            page = []
    yield from pool.map(function, page)


def list_objects(prefix: str, bucket: str) -> Iterator[Mapping[str, Any]]:
    """S3's listing of the objects with the key prefix, in the order of the keys."""
    for page in clients.s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix):
        yield from page.get("Contents", ())
