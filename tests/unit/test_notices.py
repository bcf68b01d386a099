"""Notices: the messages and events about each outcome, of which a crash loses none."""

from collections.abc import Iterator
from typing import Any

import pytest
from botocore.exceptions import ClientError
from moto.events import events_backends
from moto.sns import sns_backends

from pipeline import notices
from pipeline.errors import Throttled, UnexpectedAnswer
from pipeline.jobs import Jobs, ends
from pipeline.labelling import GROUND_TRUTH, LabelsMade
from rules.states import Status
from tests.unit.aws_fakes import ACCOUNT, REGION, client, functions_use

EXECUTION = f"arn:aws:states:{REGION}:{ACCOUNT}:execution:training:ekyc-1"
MADE = LabelsMade(
    GROUND_TRUTH, "s3://bucket/output.manifest", "doctype", labelled=88, failed=1, unlabelled=1, labelling_ended=0
)
HOUR = 3_600_000


class Crash(BaseException):
    """Simulates a crash of the function, after which none of its code runs."""


class Dying:
    """A client of which every call is carried out, and of which some then kill the function."""

    def __init__(self, made: Any) -> None:
        self._client = made
        self.deadly: set[str] = set()

    def __getattr__(self, name: str) -> Any:
        def call(**request: Any) -> Any:
            answer = getattr(self._client, name)(**request)
            if name in self.deadly:
                self.deadly.remove(name)
                raise Crash
            return answer

        return call


class Audience:
    """The channels, and the messages and events that receivers get."""

    def __init__(self) -> None:
        self.sns, self.events = Dying(client("sns")), Dying(client("events"))
        self.topic = client("sns").create_topic(Name="outcomes")["TopicArn"]
        self.channels = notices.Channels(self.topic)
        client("events").create_archive(ArchiveName="all", EventSourceArn=self._bus)

    @property
    def _bus(self) -> str:
        return f"arn:aws:events:{REGION}:{ACCOUNT}:event-bus/default"

    @property
    def messages(self) -> list[tuple[str, str]]:
        """Subject and text of what the topic got."""
        sent = sns_backends[ACCOUNT][REGION].topics[self.topic].sent_notifications
        return [(subject, message) for _, message, subject, *_ in sent]

    @property
    def bus_events(self) -> list[dict[str, Any]]:
        """The events that the bus got."""
        return [event for event in events_backends[ACCOUNT][REGION].archives["all"].events if "noticeId" in str(event)]


@pytest.fixture
def audience(moto_aws: None) -> Iterator[Audience]:
    made = Audience()
    with functions_use(sns=made.sns, events=made.events):
        yield made


def ended(jobs: Jobs, status: Status, **attributes: Any) -> Any:
    """A job that ended an hour and a half after it was started."""
    job = jobs.create()
    jobs.move(job.id, Status.CHECKING_IMAGES, ExecutionStartTime=job["StartTime"], ExecutionArn=EXECUTION)
    return ends.record(job.id, status, job["StartTime"] + 3 * HOUR // 2, EXECUTION, **attributes)


def test_the_notice_of_a_ready_model_has_figures_and_cost(jobs: Jobs, audience: Audience) -> None:
    # Given a job whose model went live
    figures = {"Images": 90, "Rejected": 2, "Labelled": 88, "F1": 0.9731, "TrainingSeconds": 5400}
    in_words = "12 test photos: F1 0.97, between 0.83 and 1.00"
    model = {"PublishedTime": 1, "InferenceUnits": 2, "ProjectVersionArn": "arn:model", "ProjectArn": "arn:project"}
    job = ended(jobs, Status.READY, **figures, **model, InWords=in_words)
    # When the notice is sent
    assert notices.notify_end(job, channels=audience.channels)
    # Then people read how it went and what it costs from now on
    ((subject, text),) = audience.messages
    assert subject == f"eKYC training Ready: {job.id}"
    assert text.splitlines()[0] == f"Training job {job.id} is Ready, 90.0 minutes after its start."
    assert "costs 8.00 USD an hour" in text
    for line in (
        "Photos: 90",
        "Photos rejected: 2",
        "F1: 0.9731",
        f"{in_words}.",
        "Training cost: 1.50 USD at list price",
    ):
        assert line in text.splitlines()
    # And systems get the same
    (event,) = audience.bus_events
    assert (event["source"], event["detail-type"]) == ("ekyc.training", "Training Job Ready")
    assert event["resources"] == [EXECUTION]
    assert event["detail"] == {
        "version": 1,
        "noticeId": f"{job.id}/Ready/{job['EndTime']}",
        "jobId": job.id,
        "status": "Ready",
        "startTime": job["StartTime"],
        "endTime": job["EndTime"],
        "figures": {"images": 90, "rejected": 2, "labelled": 88, "f1": 0.9731, "trainingSeconds": 5400},
        "projectArn": "arn:project",
        "projectVersionArn": "arn:model",
    }


def test_a_rejected_model_is_reported_with_the_missed_bars(jobs: Jobs, audience: Audience) -> None:
    reasons = ["F1 0.71 is below the bar of 0.80"]
    job = ended(jobs, Status.REJECTED, F1=0.71, Reasons=reasons, Error="ModelRejected")
    notices.notify_end(job, channels=audience.channels)
    ((_, text),) = audience.messages
    assert f"- {reasons[0]}" in text.splitlines()
    assert audience.bus_events[0]["detail"]["reasons"] == reasons


def test_a_failure_is_reported_with_stage_and_cause(jobs: Jobs, audience: Audience) -> None:
    # Given a job that failed
    cause = "9 of 9 photos cannot be used."
    job = ended(jobs, Status.FAILED, Stage="Collect photos", Error="TooManyBadImages", Cause=cause)
    notices.notify_end(job, channels=audience.channels)
    # Then the notice has stage, error and cause
    ((_, text),) = audience.messages
    assert "It failed at the stage Collect photos with TooManyBadImages: 9 of 9 photos" in text
    detail = audience.bus_events[0]["detail"]
    assert (detail["stage"], detail["error"], detail["cause"]) == ("Collect photos", "TooManyBadImages", cause)


def test_a_callers_reason_of_a_stop_stays_in_the_record(jobs: Jobs, audience: Audience) -> None:
    job = ended(jobs, Status.STOPPED, Stage="Check training", Cause="jane asked me to")
    notices.notify_end(job, channels=audience.channels)
    ((_, text),) = audience.messages
    assert "It was stopped at the stage Check training." in text
    assert "jane" not in text


def test_each_finished_labelling_job_is_notified_once(jobs: Jobs, audience: Audience) -> None:
    job = jobs.create()
    was_sent = [notices.notify_labelled(job.id, n, MADE, channels=audience.channels) for n in (1, 1, 2, 1)]
    assert was_sent == [True, False, True, False]
    ((subject, text), _) = audience.messages
    assert subject == f"eKYC training labelled: {job.id}"
    assert "Labelled: 88" in text.splitlines()
    assert audience.bus_events[0]["detail"]["labellingJob"] == f"{job.id}-1"


@pytest.mark.parametrize(("service", "call"), [("events", "put_events"), ("sns", "publish")])
def test_a_function_that_dies_loses_no_notice(jobs: Jobs, audience: Audience, service: str, call: str) -> None:
    # Given a function that dies right after a call, which AWS has carried out
    job = ended(jobs, Status.FAILED, Stage="Collect photos", Error="NotEnoughImages", Cause="3 photos.")
    getattr(audience, service).deadly.add(call)
    with pytest.raises(Crash):
        notices.notify_end(job, channels=audience.channels)
    # When Lambda runs it again, and once more for a doubled event
    assert notices.notify_end(jobs.get(job.id), channels=audience.channels)
    assert not notices.notify_end(jobs.get(job.id), channels=audience.channels)
    # Then both channels got the notice. The one that did not crash got it once; a repeated event has the same id.
    assert len(audience.messages) == (2 if call == "publish" else 1)
    assert {event["detail"]["noticeId"] for event in audience.bus_events} == {f"{job.id}/Failed/{job['EndTime']}"}


@pytest.mark.parametrize(("service", "call"), [("events", "put_events"), ("sns", "publish")])
def test_message_and_event_do_not_wait_for_each_other(
    jobs: Jobs, audience: Audience, monkeypatch: pytest.MonkeyPatch, service: str, call: str
) -> None:
    # Given a role that may send the one and not the other
    job = ended(jobs, Status.FAILED, Stage="Collect photos", Error="NotEnoughImages", Cause="3 photos.")

    def deny(**_: Any) -> None:
        raise ClientError({"Error": {"Code": "AccessDeniedException", "Message": "no"}}, call)

    with monkeypatch.context() as denied:
        denied.setattr(getattr(audience, service), call, deny, raising=False)
        # When the end event comes again and again
        for _ in range(3):
            with pytest.raises(ClientError, match="AccessDeniedException"):
                notices.notify_end(jobs.get(job.id), channels=audience.channels)
        # Then what it may send was sent once
        assert (len(audience.messages), len(audience.bus_events)) == ((1, 0) if call == "put_events" else (0, 1))
    # And when it may send both, then the other is sent, once
    was_sent = [notices.notify_end(jobs.get(job.id), channels=audience.channels) for _ in range(2)]
    assert was_sent == [True, False]
    assert (len(audience.messages), len(audience.bus_events)) == (1, 1)


@pytest.mark.parametrize(("code", "error"), [("ThrottlingException", Throttled), ("MalformedDetail", UnexpectedAnswer)])
def test_an_event_that_the_bus_refuses_is_no_notice(
    jobs: Jobs, audience: Audience, monkeypatch: pytest.MonkeyPatch, code: str, error: type[Exception]
) -> None:
    # Given a bus that answers 200 and takes nothing, as PutEvents does
    job = ended(jobs, Status.READY)
    answer = {"FailedEntryCount": 1, "Entries": [{"ErrorCode": code, "ErrorMessage": "no"}]}
    monkeypatch.setattr(audience.events, "put_events", lambda **_: answer, raising=False)
    # Then the function fails, so that it is called again, and the notice is not recorded as sent
    with pytest.raises(error, match=code):
        notices.notify_end(job, channels=audience.channels)
    assert jobs.get(job.id)["EndEventSent"] is None


def test_a_subject_is_what_sns_takes(audience: Audience) -> None:
    audience.channels.publish("über\n" + "x" * 200, ["text"])
    ((subject, _),) = audience.messages
    assert subject.isascii()
    assert len(subject) == 100
    assert "\n" not in subject
