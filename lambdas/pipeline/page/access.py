"""The jobs that people may label or review now, and the URLs of their photos."""

from typing import Any

from pipeline.clients import clients
from pipeline.jobs import now_ms
from pipeline.manifests import split_uri
from pipeline.page import states
from pipeline.page.refusals import LabellingOver, NoSuchPhoto, NotLabelled
from pipeline.page.states import Phase
from pipeline.page.tasks import JOB, OPEN_JOBS, Item, Tasks, photo_key

URL_SECONDS = 600
PAGE = 100


def open_job(tasks: Tasks, job_id: str) -> Item:
    """The job's item.

    Raises:
        NotLabelled: the job's photos were never labelled on the page.
        LabellingOver: the job accepts no answers.
    """
    return _check_open(job_id, tasks.get(job_id, JOB))


def _check_open(job_id: str, job: Item | None) -> Item:
    if job is None or "Phase" not in job:
        raise NotLabelled(job_id)
    if "Queue" not in job or job["Phase"] not in (Phase.LABELLING, Phase.REVIEW):
        raise LabellingOver(stopped=job["Phase"] in (Phase.LABELLING, Phase.REVIEW))
    return job


def check_still_open(tasks: Tasks, job: Item) -> None:
    """Check that the job is in the same phase as when ``job`` was read, so that a write in between counts.

    Raises:
        LabellingOver: the job was closed meanwhile.
    """
    if open_job(tasks, job["JobId"])["Phase"] != job["Phase"]:
        raise LabellingOver(stopped=False)


def photo(tasks: Tasks, job: Item, place: int) -> Item:
    """The photo in line ``place`` of the job's input manifest.

    Raises:
        NoSuchPhoto: there is none.
    """
    return _check_exists(place, tasks.get(job["JobId"], photo_key(place)))


def _check_exists(place: int, found: Item | None) -> Item:
    if found is None:
        raise NoSuchPhoto(f"The job has no photo {place}. Take the next photo.")
    return found


def open_job_and_photo(tasks: Tasks, job_id: str, place: int) -> tuple[Item, Item]:
    """The job's item and the photo's, read in one call.

    Raises:
        NotLabelled, LabellingOver: as `open_job`.
        NoSuchPhoto: the job has no such photo.
    """
    found = {item["Item"]: item for item in tasks.get_many([(job_id, JOB), (job_id, photo_key(place))])}
    return _check_open(job_id, found.get(JOB)), _check_exists(place, found.get(photo_key(place)))


def open_jobs(tasks: Tasks) -> list[dict[str, Any]]:
    """The open jobs with their progress, newest first."""
    entries = list(tasks.queue(OPEN_JOBS, now_ms(), limit=PAGE))
    items = tasks.get_many([(entry["JobId"], JOB) for entry in entries[-PAGE:]])
    jobs = [job for job in items if "Queue" in job]
    return [job_view(tasks, job) for job in sorted(jobs, key=lambda job: -job["AvailableAt"])]


def job_view(tasks: Tasks, job: Item) -> dict[str, Any]:
    """A job as the page lists it."""
    job_id = job["JobId"]
    return {
        "id": job_id,
        "phase": job["Phase"],
        "requestedTime": job["AvailableAt"],
        "progress": {
            "total": job["Total"],
            "labelled": labelled(tasks, job),
            "toReview": tasks.count(states.reviews_queue(job_id)),
        },
    }


def labelled(tasks: Tasks, job: Item) -> int:
    """The number of photos that need no further answer."""
    return int(job["Total"]) - tasks.count(states.labels_queue(job["JobId"]))


def photo_view(item: Item) -> dict[str, Any]:
    """The photo with a URL that is valid for ten minutes."""
    bucket, key = split_uri(item["SourceRef"])
    url: str = clients.s3.generate_presigned_url(
        "get_object", Params={"Bucket": bucket, "Key": key}, ExpiresIn=URL_SECONDS
    )
    return {
        "place": item["Place"],
        "url": url,
        "width": item["Width"],
        "height": item["Height"],
        "note": item.get("Note"),
    }


def box_views(boxes: list[Any]) -> list[dict[str, Any]]:
    """Boxes as the page has them."""
    return [
        {"type": box.label, "left": box.left, "top": box.top, "width": box.width, "height": box.height} for box in boxes
    ]
