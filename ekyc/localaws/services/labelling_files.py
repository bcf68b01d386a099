"""What a labelling job reads from S3 (manifest, categories, template, photos) and writes to S3 (labels, answers)."""

from __future__ import annotations

import datetime
import hashlib
import json
import re
from collections.abc import Sequence
from typing import Any

from botocore.exceptions import ClientError, ParamValidationError

from ekyc.localaws import aws
from ekyc.localaws.clock import clock
from ekyc.localaws.services.custom_labels_manifest import Size
from ekyc.localaws.services.labelling_job import JobFailed, LabelingJob
from ekyc.localaws.services.labelling_tasks import Task
from ekyc.localaws.services.training import image_size
from ekyc.localaws.services.workforce import raw_answer
from rules.consolidation import DrawnBox, consolidate

# Ground Truth guide, "Input data quotas" and "Use an input manifest file".
MAX_OBJECTS = 100_000
MAX_LINE_CHARACTERS = 100_000
MAX_CATEGORIES = 50
MAX_CATEGORY_CHARACTERS = 256
MAX_IMAGE_BYTES = 40 * 1024 * 1024


def read_categories(uri: str) -> list[str]:
    """The names of the label categories. Source: SageMaker API reference, LabelCategoryConfigS3Uri."""
    try:
        document = json.loads(_text(uri, "label category file"))
        names = [label["label"] for label in document["labels"]]
        if document["document-version"] != "2018-11-28" or not all(isinstance(name, str) for name in names):
            raise ValueError
    except (ValueError, KeyError, TypeError):
        message = f'ClientError: {uri} is not {{"document-version": "2018-11-28", "labels": [{{"label": …}}, …]}}.'
        raise JobFailed(message) from None
    if not 1 <= len(names) <= MAX_CATEGORIES or len(set(names)) < len(names):
        raise JobFailed(f"ClientError: {uri} must have 1 to {MAX_CATEGORIES} labels, all different.")
    if any(not 1 <= len(name) <= MAX_CATEGORY_CHARACTERS for name in names):
        raise JobFailed(f"ClientError: a label of {uri} is empty or longer than {MAX_CATEGORY_CHARACTERS} characters.")
    return names


def check_template(uri: str) -> None:
    """Check that the worker template has the element that the built-in functions need.

    Source: Ground Truth guide, "Bounding box".
    """
    template = _text(uri, "worker template")
    element = re.search(r"<crowd-bounding-box\b[^>]*>", template)
    if not element or not re.search(r"""\bname=["']boundingBox["']""", element[0]):
        raise JobFailed(f'ClientError: {uri} has no <crowd-bounding-box name="boundingBox">.')


def read_objects(uri: str) -> list[dict[str, Any]]:
    """The lines of the input manifest. Source: Ground Truth guide, "Use an input manifest file"."""
    texts = _text(uri, "input manifest").removesuffix("\n").split("\n")
    if len(texts) > MAX_OBJECTS:
        raise JobFailed(f"ClientError: {uri} has more than {MAX_OBJECTS} objects.")
    lines = []
    for number, text in enumerate(texts, 1):
        try:
            line = json.loads(text) if len(text) <= MAX_LINE_CHARACTERS else None
        except ValueError:
            line = None
        if not isinstance(line, dict) or not isinstance(line.get("source-ref"), str):
            raise JobFailed(f"ClientError: line {number} of {uri} is not a JSON object with a source-ref.")
        if any(key.startswith("$") for key in line):
            raise JobFailed(f"ClientError: line {number} of {uri} has an attribute whose name starts with $.")
        lines.append(line)
    return lines


def claim(job: LabelingJob, worker: str) -> tuple[Task, Size] | None:
    """The next photo for `worker` and its displayed size, or None. Photos that cannot be read are marked as failed."""
    while task := job.tasks.next(worker):
        if task.size is None:
            content = _read_uri(task.line["source-ref"])
            task.size = image_size(content) if content is not None and len(content) <= MAX_IMAGE_BYTES else None
        if task.size:
            return task, task.size
        job.tasks.fail(task, "ClientError: the object cannot be read, or is not a JPEG or PNG of at most 40 MB.")
    return None


def write_output(job: LabelingJob) -> str:
    """Write the workers' answers and the output manifest. Returns the manifest's URI."""
    lines = [_output_line(job, task) for task in job.tasks.all()]
    uri = f"{job.output_path}/manifests/output/output.manifest"
    _write_uri(uri, "".join(json.dumps(line) + "\n" for line in lines))
    return uri


def _output_line(job: LabelingJob, task: Task) -> dict[str, Any]:
    """The output line of an object.

    Without a label it equals the input. Source: Ground Truth guide, "Output data".
    """
    if task.failure:
        return task.line | {f"{job.attribute}-metadata": {"failure-reason": task.failure}}
    if task.given or not task.is_labelled:
        return task.line
    assert task.size  # noqa: S101  (set when the first worker claimed the photo)
    _write_answers(job, task, task.size)
    merged = consolidate([answer.boxes for answer in task.answers])
    return task.line | _label_of(job, merged, task.size)


def _write_answers(job: LabelingJob, task: Task, size: Size) -> None:
    region = job.arn.split(":")[3]
    response = {
        "answers": [
            {
                "answerContent": raw_answer(answer.boxes, size),
                "acceptanceTime": _milliseconds(answer.accepted),
                "submissionTime": _milliseconds(answer.submitted),
                "timeSpentInSeconds": round((answer.submitted - answer.accepted).total_seconds(), 3),
                "workerId": f"private.{region}.{hashlib.sha256(answer.worker.encode()).hexdigest()[:16]}",
                "workerMetadata": {
                    "identityData": {
                        "identityProviderType": "Cognito",
                        "issuer": f"https://cognito-idp.{region}.amazonaws.com/{region}_Specimens",
                        "sub": answer.worker,
                    }
                },
            }
            for answer in task.answers
        ]
    }
    name = f"{max(answer.submitted for answer in task.answers):%Y-%m-%d_%H:%M:%S}.json"
    folder = f"{job.output_path}/annotations/worker-response/iteration-1/{task.number}"
    _write_uri(f"{folder}/{name}", json.dumps(response))


def _label_of(job: LabelingJob, boxes: Sequence[tuple[DrawnBox, float]], size: Size) -> dict[str, Any]:
    categories = job.categories
    ids = {name: number for number, name in enumerate(categories)}
    used = sorted({ids[box.label] for box, _ in boxes})
    return {
        job.attribute: {
            "image_size": [{"width": size.width, "height": size.height, "depth": 3}],
            "annotations": [
                {"class_id": ids[box.label], "top": box.top, "left": box.left, "height": box.height, "width": box.width}
                for box, _ in boxes
            ],
        },
        f"{job.attribute}-metadata": {
            "objects": [{"confidence": confidence} for _, confidence in boxes],
            "class-map": {str(number): categories[number] for number in used},
            "type": "groundtruth/object-detection",
            "human-annotated": "yes",
            "creation-date": clock.utc().strftime("%Y-%m-%dT%H:%M:%S.%f"),
            "job-name": f"labeling-job/{job.name}",
        },
    }


def _milliseconds(time: datetime.datetime) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S.") + f"{time.microsecond // 1000:03d}Z"


def _read_uri(uri: str) -> bytes | None:
    """The content of an object, or None if it cannot be read."""
    match = re.fullmatch(r"s3://([^/]+)/(.+)", uri)
    if not match:
        return None
    try:
        response = aws.client("s3").get_object(Bucket=match[1], Key=match[2])
    except (ClientError, ParamValidationError):
        return None
    with response["Body"] as body:
        return body.read()


def _write_uri(uri: str, text: str) -> None:
    bucket, key = uri.removeprefix("s3://").split("/", 1)
    try:
        aws.client("s3").put_object(Bucket=bucket, Key=key, Body=text.encode())
    except (ClientError, ParamValidationError):
        raise JobFailed(f"ClientError: cannot write to {uri}.") from None


def _text(uri: str, what: str) -> str:
    try:
        text = (_read_uri(uri) or b"").decode("utf-8")
    except UnicodeDecodeError:
        text = ""
    if not text:
        raise JobFailed(f"ClientError: the {what} {uri} cannot be read, is empty or is not UTF-8.")
    return text
