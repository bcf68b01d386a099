"""Merges the answers of all people into a labelled manifest, and answers the task token with it.

Has the format of Ground Truth's output manifest, so the next state reads both alike.
"""

import hashlib
import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from math import ceil
from statistics import fmean, median
from typing import Any

from aws_lambda_powertools import Logger
from botocore.exceptions import BotoCoreError, ClientError

from pipeline import labelling, payload
from pipeline.errors import LabellingFailed, PipelineError
from pipeline.jobs import JobNotFound, jobs, now_ms
from pipeline.labelling import LABEL_ATTRIBUTE, PAGE, LabelsMade, Notify
from pipeline.objects import put_once
from pipeline.page import states
from pipeline.page.labelling import FEW
from pipeline.page.states import Decision, Outcome, Phase
from pipeline.page.tasks import JOB, Changed, Item, Tasks
from rules.consolidation import DrawnBox, agreement
from rules.doubts import Doubt, Given, doubts
from rules.lines import Box, Labelled, line_end, line_start

SAME_LABELS = 0.5
"""People disagree about a photo if their agreement is below this."""

logger = Logger(child=True)


@dataclass(frozen=True)
class PageLabels(LabelsMade):
    """The answer to the token after people have labelled on the page. The audit report has these figures.

    ``sha256`` (hex) is the hash of the manifest. ``people`` has each person's subject in the user pool, which is no
    name, with the numbers of answers, skips and reviews, the median seconds of an answer, and the mean agreement with
    the labels (0..1) where several people answered. ``agreement_by_type`` has the mean agreement for each type, and the
    number of photos with the type that several people answered. ``checks`` counts the photos that a second person
    labelled without proposals.
    """

    sha256: str
    people: Sequence[Mapping[str, Any]]
    proposals: Mapping[str, int]
    checks: Mapping[str, float | int | None]
    disagreements: int
    agreement_by_type: Sequence[Mapping[str, Any]]
    reviews: Mapping[str, int]


def finish(job_id: str, tasks: Tasks, *, bucket: str, notify: Notify) -> bool:
    """Answer the job's token if all photos are labelled and reviewed; returns whether they are.

    Can run any number of times, and several times at once. Each run moves the job as far as it goes: from labelling
    to closing when all photos are answered, from closing to review when the doubtful photos are chosen, and to done
    when no photo is open.

    Raises:
        LabellingFailed: people have labelled no photo.
    """
    try:
        job = jobs.get(job_id)
    except JobNotFound:
        return False
    if job["LabelProvider"] != PAGE or not job["TaskToken"]:
        return False
    item = tasks.get(job_id, JOB)
    while item is not None and "Made" in item and item["Phase"] != Phase.DONE:
        try:
            moved = _move(tasks, item)
        except Changed as changed:
            item = changed.current
            continue
        if moved is None:
            return False
        item = moved
    if item is None or "Made" not in item:
        return False
    photos = list(tasks.photos(job_id))
    manifest = "".join(f"{line}\n" for line in _lines(item, photos)).encode()
    labels = _labels(item, photos, manifest, bucket)
    if not labels.labelled:
        failure = LabellingFailed("People skipped every photo, so there are no labels.")
        labelling.send(job_id, job["TaskToken"], failure)
        return True
    try:
        notify(job_id, item["Attempt"], labels)
    except (ClientError, BotoCoreError, PipelineError) as error:  # must not delay the labels
        logger.error("Labelled, but not all notices were sent", extra={"error": type(error).__name__})
    jobs.note(job_id, Labelled=labels.labelled, LabellingFailures=labels.failed, Unlabelled=labels.unlabelled)
    labelling.send(job_id, job["TaskToken"], payload.write(labels))
    return True


def _move(tasks: Tasks, job: Item) -> Item | None:
    """Move the job to its next phase; returns its item, or None while photos are open.

    Raises:
        Changed: another run has moved the job.
    """
    if job["Phase"] == Phase.CLOSING:
        return tasks.change(job, **_choose_reviews(tasks, job))
    if _has_open(tasks, job):
        return None
    if job["Phase"] == Phase.LABELLING:
        return tasks.change(job, Phase=Phase.CLOSING)
    return tasks.change(job, Phase=Phase.DONE, Queue=None)


def _has_open(tasks: Tasks, job: Item) -> bool:
    """Whether a photo is open. Looks at the photos that the index lists before it reads all photos."""
    job_id = job["JobId"]
    for queue in (states.labels_queue(job_id), states.reviews_queue(job_id)):
        if tasks.count(queue, most=FEW) == FEW:
            return True
        entries = list(tasks.queue(queue, now_ms() + states.LEASE_MS * 2, limit=FEW))
        if any(states.is_open(photo) for photo in tasks.get_many([(job_id, entry["Item"]) for entry in entries])):
            return True
    return any(states.is_open(photo) for photo in tasks.photos(job_id))


def _choose_reviews(tasks: Tasks, job: Item) -> dict[str, Any]:
    """Put the most doubtful photos in the queue of reviews; returns the attributes of the job's next phase.

    A run that was interrupted is repeated: the same photos are chosen, because nobody can answer meanwhile.
    """
    photos = list(tasks.photos(job["JobId"]))
    most = ceil(job["ReviewShare"] * len(photos))
    if not most:
        return {"Phase": Phase.DONE, "Queue": None}
    ranked = sorted(zip(doubts([_given(photo) for photo in photos]), photos, strict=True), key=_rank)
    for rank, (doubt, photo) in enumerate(ranked[:most], 1):
        _put_in_queue(tasks, photo, rank, doubt)
    return {"Phase": Phase.REVIEW}


def _rank(entry: tuple[Doubt, Item]) -> tuple[float, int]:
    return -entry[0].score, entry[1]["Place"]


def _put_in_queue(tasks: Tasks, photo: Item, rank: int, doubt: Doubt) -> None:
    queue = states.reviews_queue(photo["JobId"])
    current: Item | None = photo
    while current is not None and current.get("Queue") != queue and "Reviews" not in current:
        kinds = sorted(doubt.kinds, key=lambda kind: -doubt.kinds[kind]) or ["sample"]
        try:
            tasks.change(current, Queue=queue, AvailableAt=rank, Doubts=kinds, Lease=None)
        except Changed as changed:
            current = changed.current
        else:
            return


def _given(photo: Item) -> Given:
    merged = states.merged(photo)
    return Given(
        photo["Width"],
        photo["Height"],
        None if merged is None else [box for box, _ in merged],
        [
            states.boxes_of(answer)
            for _, answer in states.current_answers(photo, checks=True)
            if answer["Outcome"] != Outcome.SKIPPED
        ],
        states.boxes_of({"Boxes": photo["Proposals"]}) if "Proposals" in photo else None,
    )


def _lines(job: Item, photos: Sequence[Item]) -> Iterator[str]:
    """The labelled manifest. Its content depends on the answers only, so each run writes the same."""
    class_ids = {name: number for number, name in enumerate(job["DocumentTypes"])}
    for photo in photos:
        merged = states.merged(photo)
        if merged is None:
            failure = {"failure-reason": "Everybody who saw the photo skipped it."}
            yield json.dumps({"source-ref": photo["SourceRef"], f"{LABEL_ATTRIBUTE}-metadata": failure})
            continue
        boxes = [Box(box.label, box.left, box.top, box.width, box.height, confidence) for box, confidence in merged]
        labelled = Labelled(
            photo["SourceRef"],
            photo["Width"],
            photo["Height"],
            3,
            boxes,
            "yes",
            _created(photo),
            f"{job['JobId']}-page",
        )
        used = {str(class_ids[box.label]): box.label for box in boxes}
        yield line_start(labelled, boxes, class_ids) + line_end(used)


def _created(photo: Item) -> str:
    """When the last answer or review was given, in ISO 8601."""
    times = [answer["Time"] for answer in photo["Answers"].values()]
    times += [review["Time"] for review in photo.get("Reviews", ())]
    return datetime.fromtimestamp(max(times) / 1000, UTC).strftime("%Y-%m-%dT%H:%M:%S")


def _labels(job: Item, photos: Sequence[Item], manifest: bytes, bucket: str) -> PageLabels:
    """Write the manifest and compute the figures.

    The key has the manifest's hash. A second run can therefore not replace a manifest that a token was answered with.
    """
    digest = hashlib.sha256(manifest)
    key = f"labelling/{job['JobId']}/page/{digest.hexdigest()[:16]}.manifest"
    stored = put_once(bucket, key, manifest, digest.digest())
    unlabelled = sum(states.merged(photo) is None for photo in photos)
    answers = [(person, answer) for photo in photos for person, answer in photo.get("Answers", {}).items()]
    proposals = Counter[str]()
    for _, answer in answers:
        proposals.update(answer.get("Proposal", {}))
    shared = [photo for photo in photos if len(_all_boxes(photo)) > 1]
    checked = [photo for photo in photos if any(answer.get("Check") for answer in photo.get("Answers", {}).values())]
    return PageLabels(
        provider=PAGE,
        manifest=f"s3://{bucket}/{key}",
        label_attribute=LABEL_ATTRIBUTE,
        labelled=len(photos) - unlabelled,
        failed=0,
        unlabelled=unlabelled,
        # S3's time, because the clock of this function may be behind it. The manifest must not be written after it.
        labelling_ended=int(stored.written.timestamp() * 1000),
        sha256=digest.hexdigest(),
        people=_people(photos, answers),
        proposals={kind: proposals[kind] for kind in ("shown", "accepted", "changed")},
        checks={"photos": len(checked), "agreement": _mean([_agreement(photo) for photo in checked])},
        disagreements=sum(_agreement(photo) < SAME_LABELS for photo in shared),
        agreement_by_type=[_of_type(name, shared) for name in job["DocumentTypes"]],
        reviews={
            decision: sum(review["Decision"] == decision for photo in photos for review in photo.get("Reviews", ()))
            for decision in Decision
        },
    )


def _all_boxes(photo: Item) -> list[list[DrawnBox]]:
    """The boxes of each answer that was no skip, oldest first, also of those before a reviewer returned the photo."""
    answers = sorted(photo.get("Answers", {}).values(), key=lambda answer: int(answer["Time"]))
    return [states.boxes_of(answer) for answer in answers if answer["Outcome"] != Outcome.SKIPPED]


def _agreement(photo: Item) -> float:
    """The least agreement of an answer with the first one."""
    first, *others = _all_boxes(photo) or [[]]
    return min((agreement(first, other) for other in others), default=1.0)


def _of_type(name: str, shared: Sequence[Item]) -> dict[str, Any]:
    """The agreement about a type, over the photos in which one of several people saw the type."""
    values = []
    for photo in shared:
        first, *others = [[box for box in boxes if box.label == name] for boxes in _all_boxes(photo)]
        if first or any(others):
            values.append(min(agreement(first, other) for other in others))
    return {"type": name, "photos": len(values), "agreement": _mean(values)}


def _people(photos: Sequence[Item], answers: Sequence[tuple[str, Mapping[str, Any]]]) -> list[dict[str, Any]]:
    by_person: dict[str, list[Mapping[str, Any]]] = {}
    for person, answer in answers:
        by_person.setdefault(person, []).append(answer)
    reviews = Counter(review["Person"] for photo in photos for review in photo.get("Reviews", ()))
    agreements: dict[str, list[float]] = {}
    for photo in photos:
        given = [
            entry for entry in states.current_answers(photo, checks=True) if entry[1]["Outcome"] != Outcome.SKIPPED
        ]
        merged = [box for box, _ in states.merged(photo) or ()]
        for person, answer in given if len(given) > 1 else ():
            agreements.setdefault(person, []).append(agreement(merged, states.boxes_of(answer)))
    people = []
    for person in sorted({*by_person, *reviews}):
        own = by_person.get(person, [])
        people.append(
            {
                "person": person,
                "answers": len(own),
                "skipped": sum(answer["Outcome"] == Outcome.SKIPPED for answer in own),
                "medianSeconds": round(median(answer["Seconds"] for answer in own), 1) if own else None,
                "agreement": _mean(agreements.get(person, [])),
                "reviews": reviews[person],
            }
        )
    return people


def _mean(values: Sequence[float]) -> float | None:
    return round(fmean(values), 3) if values else None
