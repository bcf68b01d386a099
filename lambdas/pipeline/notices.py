"""Sends notices of each outcome: a message on the topic for people, and an event with the same content for programs.

Message and event are sent and marked independently: if one fails, the other is still sent, and a later run sends only
the one that failed. Each is marked after it is sent, so a function that crashes in between sends it again in the next
run. A repeated notice does little harm, because its event has the same ``noticeId``. A lost notice could hide a failed
job or a model that costs money.

Messages contain figures and causes, which name no file (`pipeline.errors`), and no personal data.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from aws_lambda_powertools import Logger
from botocore.exceptions import BotoCoreError, ClientError

from pipeline.clients import clients
from pipeline.errors import PipelineError, Throttled, UnexpectedAnswer
from pipeline.jobs import Job, JobNotFound, jobs, notice_marks
from pipeline.jobs.record import END_SENT, LABELLING_SENT
from pipeline.labelling import GROUND_TRUTH, LabelsMade
from rules import advice, prices
from rules.outline_words import in_words
from rules.states import Status

SOURCE = "ekyc.training"
VERSION = 1  # of an event's detail: increase it when a field is removed or changes its meaning
SUBJECT_LENGTH = 100  # ASCII without line breaks. Source: SNS API reference, Publish
RETRYABLE = frozenset({"InternalFailure", "ThrottlingException"})  # Source: EventBridge API, PutEventsResultEntry
HOUR_MS = 3_600_000
logger = Logger(child=True)
ARNS = (("Model", "ProjectVersionArn"), ("Execution", "ExecutionArn"))

# The job's attributes in a notice, each with its name in an event and its name in a message.
FIGURES: Mapping[str, tuple[str, str]] = {
    "Images": ("images", "Photos"),
    "Rejected": ("rejected", "Photos rejected"),
    "Labelled": ("labelled", "Photos labelled"),
    "TrainImages": ("trainImages", "Photos to train on"),
    "TestImages": ("testImages", "Photos to test on"),
    "F1": ("f1", "F1"),
    "Precision": ("precision", "Precision"),
    "Recall": ("recall", "Recall"),
    "LiveF1": ("liveF1", "F1 of the model that was live"),
    "TrainingSeconds": ("trainingSeconds", "Training seconds billed"),
}


@dataclass(frozen=True)
class Notice:
    """A notice. ``kind`` is the event's detail-type. ``id`` is the same when the notice is sent again."""

    id: str
    kind: str
    subject: str
    lines: Sequence[str]
    resources: Sequence[str]
    detail: Mapping[str, Any]


@dataclass(frozen=True)
class Channels:
    """The topic for messages to people, and the account's default event bus for events to programs."""

    topic: str

    def publish(self, subject: str, lines: Sequence[str]) -> None:
        """Send a message to the topic."""
        line = " ".join(subject.split()).encode("ascii", "replace").decode()
        clients.sns.publish(TopicArn=self.topic, Subject=line[:SUBJECT_LENGTH], Message="\n".join(lines))

    def send_message(self, notice: Notice) -> None:
        """Send the notice as a message to the topic."""
        self.publish(notice.subject, notice.lines)

    def send_event(self, notice: Notice) -> None:
        """Send the notice as an event to the event bus.

        Raises:
            Throttled, UnexpectedAnswer: EventBridge refused the event.
        """
        detail = {"version": VERSION, "noticeId": notice.id, **notice.detail}
        answer = clients.events.put_events(
            Entries=[
                {
                    "Source": SOURCE,
                    "DetailType": notice.kind,
                    "Resources": list(notice.resources),
                    "Detail": json.dumps(detail),
                }
            ]
        )
        if answer["FailedEntryCount"]:
            code = answer["Entries"][0].get("ErrorCode", "no code")
            raise (Throttled if code in RETRYABLE else UnexpectedAnswer)(f"EventBridge refused an event: {code}.")


def is_notified(job: Job) -> bool:
    """Whether a message or an event was sent about this end of the job."""
    return any((job[mark] or 0) >= job["EndTime"] for mark in END_SENT)


def notify_end(job: Job, *, channels: Channels) -> bool:
    """Send the notice of the job's end, once for each end; True if this call had a message or an event to send.

    Raises:
        ClientError, BotoCoreError, PipelineError: the message or the event was not sent. The other was tried too.
    """
    return _notify(end_notice(job), job, END_SENT, job["EndTime"], channels)


def notify_labelled(job_id: str, attempt: int, labels: LabelsMade, *, channels: Channels) -> bool:
    """Send the notice of the labels of a labelling job, once for each labelling job; returns as `notify_end`.

    Raises:
        ClientError, BotoCoreError, PipelineError: as `notify_end`.
    """
    try:
        job = jobs.get(job_id)
    except JobNotFound:
        return False
    return _notify(labelled_notice(job, attempt, labels), job, LABELLING_SENT, attempt, channels)


def _notify(notice: Notice, job: Job, marks: Sequence[str], value: int, channels: Channels) -> bool:
    """Send message and event, each unless its mark in the record is ``value`` or higher."""
    failure: Exception | None = None
    sends = zip(marks, (channels.send_message, channels.send_event), strict=True)
    due = [(mark, send) for mark, send in sends if (job[mark] or 0) < value]
    for mark, send in due:
        try:
            send(notice)
            notice_marks.mark_sent(job.id, mark, value)
        except (ClientError, BotoCoreError, PipelineError) as error:
            logger.error("Not sent", extra={"mark": mark, "error": type(error).__name__})
            failure = failure or error
    if failure:
        raise failure
    return bool(due)


def end_notice(job: Job) -> Notice:
    """The notice of the end of ``job``."""
    began = job["ExecutionStartTime"] or job["StartTime"]
    lines = [f"Training job {job.id} is {job.status}, {_duration(job['EndTime'] - began)} after its start."]
    details: dict[str, Any] = {}
    if job.status is Status.READY:
        lines.append(_model_in_words(job))
        if job["Outlines"]:
            lines.append(in_words(job["Outlines"]))
            details["outlines"] = job["Outlines"]
    if job.status is Status.REJECTED:
        details["reasons"] = list(job["Reasons"] or [])
        lines.append("Its model is not good enough and was not started:")
        lines += [f"- {reason}" for reason in details["reasons"]]
    if job.status is Status.FAILED:
        details |= {"stage": job["Stage"], "error": job["Error"], "cause": job["Cause"]}
        cause = job["Cause"] or "no cause is known."
        lines.append(f"It failed at the stage {job['Stage']} with {job['Error']}: {cause}")
    if job.status is Status.STOPPED:
        details["stage"] = job["Stage"]
        lines.append(f"It was stopped at the stage {job['Stage']}.")
    if job.status is not Status.READY:
        job_advice = advice.for_job(job.status, job["Error"], job["LabelProvider"])
        lines.append(f"What to do: {job_advice.text} See docs/operations.md, 'When a job has failed'.")
    figures = [(name, words, job[attribute]) for attribute, (name, words) in FIGURES.items()]
    if job["InWords"]:
        lines.append(f"{job['InWords']}.")
    lines += ["", *(f"{words}: {_number(value)}" for _, words, value in figures if value is not None)]
    if job["TrainingSeconds"]:
        lines.append(f"Training cost: {job['TrainingSeconds'] / 3600 * prices.TRAINING_HOUR:.2f} USD at list price")
    lines += [f"{words}: {job[name]}" for words, name in ARNS if job[name]]
    return Notice(
        id=f"{job.id}/{job.status}/{job['EndTime']}",
        kind=f"Training Job {job.status}",
        subject=f"eKYC training {job.status}: {job.id}",
        lines=lines,
        resources=[job["ExecutionArn"]] if job["ExecutionArn"] else [],
        detail={
            "jobId": job.id,
            "status": str(job.status),
            "startTime": began,
            "endTime": job["EndTime"],
            "figures": {name: value for name, _, value in figures if value is not None},
            "projectArn": job["ProjectArn"],
            "projectVersionArn": job["ProjectVersionArn"],
            **details,
        },
    )


def labelled_notice(job: Job, attempt: int, labels: LabelsMade) -> Notice:
    """The notice that people have labelled the photos of a job."""
    lines = [
        f"People have labelled the photos of training job {job.id}. The job continues without further action.",
        "",
        f"Labelled: {labels.labelled}",
        f"Could not be labelled: {labels.failed}",
        f"Not labelled: {labels.unlabelled}",
    ]
    return Notice(
        id=f"{job.id}/Labelled/{attempt}",
        kind="Training Job Labelled",
        subject=f"eKYC training labelled: {job.id}",
        lines=lines,
        resources=[job["ExecutionArn"]] if job["ExecutionArn"] else [],
        detail={
            "jobId": job.id,
            **({"labellingJob": f"{job.id}-{attempt}"} if labels.provider == GROUND_TRUTH else {}),
            "figures": {"labelled": labels.labelled, "failed": labels.failed, "unlabelled": labels.unlabelled},
        },
    )


def _model_in_words(job: Job) -> str:
    if not job["PublishedTime"]:
        return "Its model is good enough. It was not started, because the job has deploy false."
    dollars = prices.model_hour(job["InferenceUnits"])
    return (
        f"Its model is the live model and costs {dollars:.2f} USD an hour until it is stopped. See docs/operations.md, "
        "'Running models and what they cost'."
    )


def _duration(milliseconds: int) -> str:
    hours = milliseconds / HOUR_MS
    if hours < 2:
        return f"{hours * 60:.1f} minutes"
    return f"{hours:.1f} hours" if hours < 72 else f"{hours / 24:.1f} days"


def _number(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
