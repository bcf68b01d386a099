"""Erases a job's personal data: objects, labelling tasks, datasets at Rekognition and, on request, models.

The record is kept. An erasure can run again: it deletes what it finds, so it continues where a failed run stopped.
"""

import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor

from aws_lambda_powertools import Logger
from botocore.exceptions import BotoCoreError, ClientError

from pipeline import models
from pipeline.clients import clients
from pipeline.errors import TRANSIENT_CODES, PipelineError, error_code
from pipeline.jobs import erasures, jobs, now_ms
from pipeline.page.tasks import Tasks

FOLDERS = ("images", "upright", "labels", "manifests", "labelling", "training", "outlines")
# Concurrent calls of DeleteObjects. Each deletes 1,000 keys, the most allowed (S3 API reference). S3 supports 3,500
# deletions a second per prefix (S3 guide, "Optimizing performance").
DELETERS = 4
# The maximum number of pages of keys in memory.
PAGES_AHEAD = 2 * DELETERS
# The maximum number of listings of a folder. Two are enough (the second finds nothing) unless S3 throttles deletions.
LISTINGS = 6
# Objects may be added for up to 15 minutes after the request, by upload URLs and by running functions of a stopped job.
# Only a run that begins this long after the request completes the erasure.
LATE_MS = 30 * 60 * 1000

logger = Logger(child=True)


class NotErased(PipelineError):
    """Not all objects of a job could be deleted. Lambda retries the function; no execution ends with this error."""


def erase(job_id: str, *, bucket: str, tasks: Tasks) -> None:
    """Delete the job's objects, labelling tasks and datasets, and record the erasure.

    Does nothing if the job's record has no request to erase the job.

    The record counts the deleted objects. Two concurrent runs may count the same objects twice.

    Raises:
        JobNotFound: no job has this id.
        NotErased: S3 did not delete all objects. The cause has their number and S3's error codes, no names.
        ClientError, BotoCoreError: another call failed. A dataset that is being created and a model that runs cannot be
            deleted.
    """
    job, began = jobs.get(job_id), now_ms()
    if not job.is_erased:
        logger.warning("Not erased: the record has no request to erase the job")
        return
    faults = [fault for folder in FOLDERS if (fault := _empty(job_id, folder, bucket))]
    deleted_tasks = tasks.delete(job_id)
    datasets = _delete_datasets(job_id)
    with_model = any(request.get("DeleteModel") for request in job["Erasures"])
    if with_model:
        _delete_models(job_id)
    if faults:
        raise NotErased(f"Not everything could be erased. {' '.join(faults)}")
    last = began - job["Erasures"][-1]["RequestedTime"] >= LATE_MS
    done = erasures.mark_erased(job, last=last, model_deleted=with_model) is not None
    counts = {"datasets": datasets, "tasks": deleted_tasks}
    logger.info("Erased" if done else "Erased, but requested again", extra=counts | {"last": last})


def _empty(job_id: str, folder: str, bucket: str) -> str:
    """Delete the job's objects in ``folder`` until a listing finds none; returns a sentence if some are left, or ""."""
    deleted, refused = 0, Counter[str]()
    for listing in range(LISTINGS):
        time.sleep(listing if refused else 0)
        count, refused = _delete_listed(job_id, f"{folder}/{job_id}/", bucket)
        deleted += count
        if not count and not refused:
            logger.info("Folder emptied", extra={"folder": folder, "objects": deleted})
            return ""
        if refused.keys() - TRANSIENT_CODES:
            break
    codes = ", ".join(f"{number} {code}" for code, number in sorted(refused.items()))
    return f"S3 left objects in {folder}/: {codes}." if codes else f"Objects are still being added to {folder}/."


def _delete_listed(job_id: str, prefix: str, bucket: str) -> tuple[int, Counter[str]]:
    """List and delete the objects once; returns the number deleted, and S3's error codes for the others."""
    deleted, refused = 0, Counter[str]()
    pending: list[Future[tuple[int, Counter[str]]]] = []

    def settle() -> None:
        nonlocal deleted
        count, codes = pending.pop(0).result()
        if count:
            erasures.add_objects(job_id, count)
        deleted += count
        refused.update(codes)

    with ThreadPoolExecutor(DELETERS) as pool:
        for keys in _pages(prefix, bucket):
            pending.append(pool.submit(_delete, keys, bucket))
            if len(pending) == PAGES_AHEAD:
                settle()
        while pending:
            settle()
    return deleted, refused


def _pages(prefix: str, bucket: str) -> Iterator[list[str]]:
    """The keys below ``prefix``, up to 1,000 at a time."""
    for page in clients.s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix):
        if page.get("Contents"):
            yield [entry["Key"] for entry in page["Contents"]]


def _delete(keys: list[str], bucket: str) -> tuple[int, Counter[str]]:
    """Delete the objects; returns as `_delete_listed`.

    DeleteObjects succeeds even if it deletes nothing: its response has an error for each object that it did not delete.
    A failed call counts as an error for each object, so that the deletions of the other calls are still recorded.
    """
    try:
        answer = clients.s3.delete_objects(
            Bucket=bucket, Delete={"Objects": [{"Key": key} for key in keys], "Quiet": True}
        )
    except (ClientError, BotoCoreError) as error:
        code = error_code(error) if isinstance(error, ClientError) else type(error).__name__
        return 0, Counter({code: len(keys)})
    refused = Counter(error.get("Code", "Unknown") for error in answer.get("Errors", []))
    return len(keys) - refused.total(), refused


def _delete_datasets(job_id: str) -> int:
    """Delete the datasets of the job's project, which have labels and names of photos; returns their number.

    Reads the datasets from Rekognition, because a stage that failed may have created one that is not in the record.
    """
    deleted = 0
    for project in clients.rekognition.describe_projects(ProjectNames=[job_id])["ProjectDescriptions"]:
        for dataset in project.get("Datasets", []):
            if dataset["Status"] == "DELETE_IN_PROGRESS":
                continue
            try:
                clients.rekognition.delete_dataset(DatasetArn=dataset["DatasetArn"])
            except ClientError as error:
                if error_code(error) != "ResourceNotFoundException":
                    raise
            deleted += 1
    return deleted


def _delete_models(job_id: str) -> None:
    """Delete every model of the job's project. Rekognition refuses to delete a running model."""
    for project in clients.rekognition.describe_projects(ProjectNames=[job_id])["ProjectDescriptions"]:
        for version in models.versions(project["ProjectArn"]):
            if version["Status"] == "DELETING":
                continue
            try:
                clients.rekognition.delete_project_version(ProjectVersionArn=version["ProjectVersionArn"])
            except ClientError as error:
                if error_code(error) != "ResourceNotFoundException":
                    raise
