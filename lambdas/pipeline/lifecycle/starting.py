"""Starts a job's first execution."""

import json
from typing import Any

from botocore.exceptions import ClientError

from pipeline.clients import clients
from pipeline.errors import error_code
from pipeline.executions import StateMachine
from pipeline.jobs import Job, MoveRefused, jobs, now_ms
from pipeline.labelling import GROUND_TRUTH, PAGE
from pipeline.lifecycle.execution import check_not_erased, describe_execution
from pipeline.lifecycle.refusals import NotAllowed, NotThere
from pipeline.page.requesting import MOST_PHOTOS
from rules.ground_truth_regions import FUNCTION_ACCOUNTS
from rules.states import Status


def start(
    job_id: str,
    execution_input: dict[str, Any],
    machine: StateMachine,
    *,
    bucket: str,
    work_team: str,
    has_page: bool,
    started_by: str,
) -> str:
    """Start the job's execution; returns its ARN.

    Claims the record first, so that only one of several concurrent starts succeeds. Reads the record only if something
    is missing or the claim fails. If a start fails after its claim (a crash, a throttle), the job has no execution, and
    the next start takes over the claim. That start may have another caller. So ``started_by`` is written not into the
    record but into the execution's input, which the audit report reads. The input also has the ETag of the labels file,
    which `Import labels` requires.

    Args:
        work_team: the ARN of Ground Truth's work team, or empty if the stack has none.
        has_page: whether the stack has the labelling page.

    Raises:
        JobNotFound: no job has this id.
        NotAllowed: the job is already started.
        NotThere: the photos, the labels file, Ground Truth or the labelling page is missing.
    """
    labels = execution_input["labels"]
    labels_etag = uploaded_etag(labels["key"], bucket) if "key" in labels else None
    missing = _missing_provider(labels["provider"], machine, work_team, has_page=has_page)
    if missing := missing or _missing_files(job_id, labels, labels_etag, bucket):
        job = jobs.get(job_id)  # raises JobNotFound; a started or erased job has its own error too
        check_not_erased(job)
        if job.status not in (Status.CREATED, Status.CHECKING_IMAGES):
            raise _already_started(job)
        raise NotThere(missing)
    _claim(job_id, machine, labels["provider"])
    if labels_etag:
        labels = labels | {"etag": labels_etag}
    try:
        clients.stepfunctions.start_execution(
            stateMachineArn=machine.arn,
            name=job_id,
            input=json.dumps(execution_input | {"labels": labels, "startedBy": started_by}),
        )
    except ClientError as error:
        if error_code(error) == "ExecutionAlreadyExists":
            raise _already_started(jobs.get(job_id)) from None
        raise
    return machine.execution_arn(job_id)


def uploaded_etag(key: str, bucket: str) -> str | None:
    """The object's ETag, or None if the bucket does not have it. Listing needs no permission to read the object.

    One entry is enough: S3 lists keys in the order of their UTF-8 bytes, so longer keys with this prefix come later.
    Source: S3 API reference, ListObjectsV2.
    """
    listed = clients.s3.list_objects_v2(Bucket=bucket, Prefix=key, MaxKeys=1)
    return next((entry["ETag"].strip('"') for entry in listed.get("Contents", ()) if entry["Key"] == key), None)


def _missing_provider(provider: str, machine: StateMachine, work_team: str, *, has_page: bool) -> str | None:
    """Two sentences about why the stack does not have the label provider, or None if it has it."""
    if provider == GROUND_TRUTH and (not work_team or machine.region not in FUNCTION_ACCOUNTS):
        return (
            "Ground Truth is not available: the stack has no work team, or its Region has no Ground Truth functions. "
            'Deploy it with the setting workTeam, or start with {"labels": {"provider": "supplied"}}.'
        )
    if provider == PAGE and not has_page:
        return (
            "The stack has no labelling page. Deploy it with the setting labellingUserPool, or start with "
            '{"labels": {"provider": "supplied"}}.'
        )
    return None


def _missing_files(job_id: str, labels: dict[str, Any], labels_etag: str | None, bucket: str) -> str | None:
    """A sentence about which files are missing for a start, or None if none are missing."""
    if "key" in labels and not labels_etag:
        return f"The labels file {labels['key'].rpartition('/')[2]!r} is not uploaded."
    photos = _count_photos(job_id, bucket, most=MOST_PHOTOS + 1 if labels["provider"] == PAGE else 1)
    if photos > MOST_PHOTOS:
        return (
            f"The job has more than {MOST_PHOTOS:,} photos, the most that people can label on the labelling page. "
            "Create a job for each part of the photos, or start this job with supplied labels."
        )
    return None if photos else "The job has no photos. Upload photos, then start it."


def _count_photos(job_id: str, bucket: str, *, most: int) -> int:
    """The number of the job's uploaded photos, counted up to ``most``."""
    pages = clients.s3.get_paginator("list_objects_v2").paginate(
        Bucket=bucket, Prefix=f"images/{job_id}/", PaginationConfig={"MaxItems": most, "PageSize": min(most, 1000)}
    )
    return sum(len(page.get("Contents", ())) for page in pages)


def _claim(job_id: str, machine: StateMachine, provider: str) -> None:
    """Claim the record for a start."""
    try:
        jobs.move(
            job_id,
            Status.CHECKING_IMAGES,
            only_from=(Status.CREATED,),
            DetailedStatus="Starting",
            ExecutionArn=machine.execution_arn(job_id),
            ExecutionStartTime=now_ms(),
            LabelProvider=provider,
        )
    except MoveRefused as refusal:
        check_not_erased(refusal.job)
        if refusal.job.status is not Status.CHECKING_IMAGES or describe_execution(refusal.job, machine):
            raise _already_started(refusal.job) from None
        _claim_again(refusal.job)


def _claim_again(job: Job) -> None:
    """Take over the claim of a start that failed after its claim."""
    try:
        jobs.move(job.id, Status.CHECKING_IMAGES, only_from=(Status.CHECKING_IMAGES,), ExecutionStartTime=now_ms())
    except MoveRefused as refusal:
        check_not_erased(refusal.job)
        raise _already_started(refusal.job) from None


def _already_started(job: Job) -> Exception:
    return NotAllowed(f"The job is already started; it is {job.status}. Resume it, or create a new job.")
