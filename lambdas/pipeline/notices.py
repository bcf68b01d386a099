"""Notifies people and other systems of each outcome: a message on the topic, and an event with the same content.

Message and event are sent and marked independently: a failure of one neither stops nor repeats the other. Each is sent
first and marked as sent afterwards, so a function that dies in between sends it once more when it is called again. That
way round because a lost notice leaves a failed job or a model that bills unnoticed, and a doubled one costs a glance:
its event has the same ``noticeId``.

Messages hold figures and causes, which name no file (`pipeline.errors`), and nothing else of a person.
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
from pipeline.labelling import LabelsMade
from rules import advice, prices
from rules.states import Status

SOURCE = "ekyc.training"
VERSION = 1  # of an event's detail: grows when a field goes or changes its meaning
SUBJECT_LENGTH = 100  # Publish in the SNS API reference: ASCII, no line break
RETRYABLE = frozenset({"InternalFailure", "ThrottlingException"})  # PutEventsResultEntry, EventBridge API reference
HOUR_MS = 3_600_000
logger = Logger(child=True)
ARNS = (("Model", "ProjectVersionArn"), ("Execution", "ExecutionArn"))

# The job's attributes in a notice: their names in an event, and in words.
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
    """One notice: ``kind`` is the event's detail-type, ``id`` stays the same when the notice is sent again."""

    id: str
    kind: str
    subject: str
    lines: Sequence[str]
    resources: Sequence[str]
    detail: Mapping[str, Any]


@dataclass(frozen=True)
class Channels:
    """Where notices go: the topic for people, the account's default event bus for programs."""

    topic: str

    def publish(self, subject: str, lines: Sequence[str]) -> None:
        """Send a message to the topic."""
        line = " ".join(subject.split()).encode("ascii", "replace").decode()
        clients.sns.publish(TopicArn=self.topic, Subject=line[:SUBJECT_LENGTH], Message="\n".join(lines))

    def send_message(self, notice: Notice) -> None:
        """Tell people."""
        self.publish(notice.subject, notice.lines)

    def send_event(self, notice: Notice) -> None:
        """Put the event on the event bus.

        Raises:
            Throttled, UnexpectedAnswer: EventBridge did not take the event.
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
            raise (Throttled if code in RETRYABLE else UnexpectedAnswer)(f"EventBridge did not take an event: {code}.")


def is_notified(job: Job) -> bool:
    """Whether a message or an event was sent about this end of the job."""
    return any((job[mark] or 0) >= job["EndTime"] for mark in END_SENT)


def notify_end(job: Job, *, channels: Channels) -> bool:
    """Send the notice of the job's end, once for each end; True when this call sent a message or an event.

    Raises:
        ClientError, BotoCoreError, PipelineError: the message or the event was not sent. The other was tried too.
    """
    return _notify(end_notice(job), job, END_SENT, job["EndTime"], channels)


def notify_labelled(job_id: str, attempt: int, made: LabelsMade, *, channels: Channels) -> bool:
    """Send the notice that people have labelled, once for each labelling job; returns as `notify_end`.

    Raises:
        ClientError, BotoCoreError, PipelineError: as `notify_end`.
    """
    try:
        job = jobs.get(job_id)
    except JobNotFound:
        return False
    return _notify(labelled_notice(job, attempt, made), job, LABELLING_SENT, attempt, channels)


def _notify(notice: Notice, job: Job, marks: Sequence[str], value: int, channels: Channels) -> bool:
    """Send message and event, each unless its mark has reached ``value``."""
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
    """The notice of a job's end, which ``job`` holds."""
    began = job["ExecutionStartTime"] or job["StartTime"]
    lines = [f"Training job {job.id} is {job.status}, {_duration(job['EndTime'] - began)} after its start."]
    more: dict[str, Any] = {}
    if job.status is Status.READY:
        lines.append(_model_in_words(job))
    if job.status is Status.REJECTED:
        more["reasons"] = list(job["Reasons"] or [])
        lines += ["Its model is not good enough and was not started:", *(f"- {one}" for one in more["reasons"])]
    if job.status is Status.FAILED:
        more |= {"stage": job["Stage"], "error": job["Error"], "cause": job["Cause"]}
        lines += [
            f"It failed at the stage {more['stage']} with {more['error']}: {more['cause'] or 'no cause is known.'}",
        ]
    if job.status is Status.STOPPED:
        more["stage"] = job["Stage"]
        lines.append(f"It was stopped at the stage {job['Stage']}.")
    if job.status is not Status.READY:
        job_advice = advice.for_job(job.status, job["Error"], job["LabelProvider"])
        lines.append(f"What to do: {job_advice.text} See docs/operations.md, 'When a job has failed'.")
    figures = [(name, words, job[attribute]) for attribute, (name, words) in FIGURES.items()]
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
            **more,
        },
    )


def labelled_notice(job: Job, attempt: int, made: LabelsMade) -> Notice:
    """The notice of a labelling job that has ended with labels."""
    lines = [
        f"People have labelled the photos of training job {job.id}. The job goes on by itself.",
        "",
        f"Labelled: {made.labelled}",
        f"Could not be labelled: {made.failed}",
        f"Not labelled: {made.unlabelled}",
    ]
    return Notice(
        id=f"{job.id}/Labelled/{attempt}",
        kind="Training Job Labelled",
        subject=f"eKYC training labelled: {job.id}",
        lines=lines,
        resources=[job["ExecutionArn"]] if job["ExecutionArn"] else [],
        detail={
            "jobId": job.id,
            "labellingJob": f"{job.id}-{attempt}",
            "figures": {"labelled": made.labelled, "failed": made.failed, "unlabelled": made.unlabelled},
        },
    )


def _model_in_words(job: Job) -> str:
    if not job["PublishedTime"]:
        return "Its model is good enough. It was not to be started."
    dollars = (job["InferenceUnits"] or 1) * prices.INFERENCE_UNIT_HOUR
    return (
        f"Its model is the live one and bills {dollars:.2f} USD an hour until somebody stops it: docs/operations.md, "
        "'Running models and what they cost'."
    )


def _duration(milliseconds: int) -> str:
    hours = milliseconds / HOUR_MS
    if hours < 2:
        return f"{hours * 60:.1f} minutes"
    return f"{hours:.1f} hours" if hours < 72 else f"{hours / 24:.1f} days"


def _number(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
