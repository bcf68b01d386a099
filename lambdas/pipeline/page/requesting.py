"""Makes the labelling tasks of a job and opens the job for people, for the state `Request labels`."""

import time
from dataclasses import dataclass

from pipeline.errors import TooManyPhotosToLabel
from pipeline.jobs import Job, jobs
from pipeline.labelling import Notify, RequestLabels, parse_time
from pipeline.manifests import ManifestReader, Photo, read_photos
from pipeline.page import finishing, states
from pipeline.page.states import Phase
from pipeline.page.tasks import JOB, OPEN_JOBS, Changed, Item, Tasks
from rules.states import REQUEST_LABELS, Status

MOST_PHOTOS = 20_000
"""The photos of a job that people can label on the page."""
DAY = 24 * 3600


@dataclass(frozen=True)
class Page:
    """The table of tasks, and the deployment's settings of the labelling page.

    ``blind_share`` is the share of photos that a second person labels without proposals, ``review_share`` the share
    that a reviewer checks. Tasks are deleted after ``retention_days``.
    """

    tasks: Tasks
    bucket: str
    answers_per_photo: int
    blind_share: float
    review_share: float
    proposals: bool
    retention_days: int


def request_page(request: RequestLabels, page: Page, *, notify: Notify) -> bool:
    """Make sure that the job's tasks exist and that the job is open; returns True if all photos are labelled already.

    A run that finds all photos labelled answers the token. So a lost invocation of the function that does this is
    repaired by the next heartbeat.

    Raises:
        TooManyPhotosToLabel: the job has more than `MOST_PHOTOS` photos.
        LabellingFailed: people have labelled no photo.
    """
    job = page.tasks.get(request.job_id, JOB) or _create(request, page)
    if "Made" not in job:
        job = _make(request, page, job)
    jobs.advance(
        request.job_id,
        REQUEST_LABELS,
        status=Status.LABELLING,
        detail=f"Waiting for people to label {job['Total']} photos on the labelling page",
    )
    _open(request, page.tasks)
    return finishing.finish(request.job_id, page.tasks, bucket=page.bucket, notify=notify)


def close(tasks: Tasks, job: Job) -> bool:
    """Close the ended job for people, unless it was resumed since; returns whether it was open."""
    item = tasks.get(job.id, JOB)
    while item is not None and "Queue" in item and item["Opened"] < job["EndTime"]:
        try:
            tasks.change(item, Queue=None)
        except Changed as changed:
            item = changed.current
        else:
            return True
    return False


def _create(request: RequestLabels, page: Page) -> Item:
    photos = list(read_photos(ManifestReader(request.images_manifest)))
    if len(photos) > MOST_PHOTOS:
        raise TooManyPhotosToLabel(
            f"The job has {len(photos):,} photos; people can label at most {MOST_PHOTOS:,} on the labelling page."
        )
    created = page.tasks.create(
        request.job_id,
        JOB,
        Phase=Phase.LABELLING,
        Total=len(photos),
        DocumentTypes=list(request.document_types),
        AnswersPerPhoto=page.answers_per_photo,
        BlindShare=page.blind_share,
        ReviewShare=page.review_share,
        Proposals=page.proposals,
        Expires=int(time.time()) + page.retention_days * DAY,
    )
    found = created or page.tasks.get(request.job_id, JOB)
    assert found is not None  # noqa: S101 - only an erasure deletes it, and it never runs at the same time
    return found


def _make(request: RequestLabels, page: Page, job: Item) -> Item:
    """Create the items of all photos; returns the job's item. A run that was interrupted is repeated."""
    photos = enumerate(read_photos(ManifestReader(request.images_manifest)), 1)
    page.tasks.create_photos(request.job_id, ((place, _photo(job, place, photo)) for place, photo in photos))
    while "Made" not in job:
        try:
            job = page.tasks.change(job, Made=True)
        except Changed as changed:
            job = changed.current or {"Made": True}
    return job


def _photo(job: Item, place: int, photo: Photo) -> dict[str, object]:
    return {
        "Place": place,
        "SourceRef": photo.source_ref,
        "Width": photo.width,
        "Height": photo.height,
        "Needed": job["AnswersPerPhoto"],
        "Drawn": states.is_drawn(job["JobId"], photo.source_ref, job["BlindShare"]) or None,
        "Queue": states.labels_queue(job["JobId"]),
        "AvailableAt": place,
        "Expires": job["Expires"],
    }


def _open(request: RequestLabels, tasks: Tasks) -> None:
    """Open the job for people. ``Opened`` is the time of the request, so that a late run opens no job that was stopped.

    A run of a stopped execution may end after the resume::

        stopped execution   request 1          stop, close                       open: too late
        resumed execution                                    request 2   open
    """
    opened = int(parse_time(request.requested_at) * 1000)
    job = tasks.get(request.job_id, JOB)
    while job is not None and job["Phase"] != Phase.DONE and job.get("Opened", 0) <= opened:
        if "Queue" in job and job["Opened"] == opened:
            return
        queue = {"Queue": OPEN_JOBS, "AvailableAt": job.get("AvailableAt", opened)}
        try:
            tasks.change(job, Opened=opened, Attempt=request.redrives + 1, **queue)
        except Changed as changed:
            job = changed.current
        else:
            return
