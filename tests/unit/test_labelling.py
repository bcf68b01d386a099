"""Labelling: the labelling job is found or made, and the token that waits for it is answered exactly once."""

import io
import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from botocore.exceptions import ClientError

from pipeline import labelling
from pipeline.errors import LabellingTimedOut, LabellingUnavailable, Throttled, UnexpectedAnswer, as_pipeline_error
from pipeline.jobs import Job, Jobs, now_ms, tokens
from pipeline.labelling import GroundTruth, LabelsMade, RequestLabels
from rules import states
from rules.states import Status
from tests.unit.aws_fakes import ACCOUNT, ENDED, FakeSageMaker, FakeStepFunctions
from tests.unit.conftest import BUCKET

TEAM = f"arn:aws:sagemaker:us-east-1:{ACCOUNT}:workteam/private-crowd/checkers"
ROLE = f"arn:aws:iam::{ACCOUNT}:role/labelling"
KEY = f"arn:aws:kms:us-east-1:{ACCOUNT}:key/1234abcd-12ab-34cd-56ef-1234567890ab"
FIRST, SECOND = "token-1", "token-2"
POSTED = {"provider": "supplied", "labelsKey": "labels/x/a.json", "labelsEtag": "e", "postedBy": "engineer"}
TYPES = ["ID_KTP", "MY_NRIC"]


class Setting:
    """A job that has had its photos checked, and the services around it."""

    def __init__(self, jobs: Jobs, s3: Any) -> None:
        self.jobs, self.s3 = jobs, s3
        self.ground_truth, self.machine = FakeSageMaker(), FakeStepFunctions()
        self.notices: list[tuple[int, int, int]] = []  # attempt, photos labelled, tokens that were answered by then
        self.cannot_tell = 0  # so often
        self.id = jobs.create().id
        jobs.advance(self.id, states.CHECK_PHOTOS)

    def request(
        self,
        token: str = FIRST,
        *,
        redrives: int = 0,
        provider: str = "ground-truth",
        asked: timedelta = timedelta(),
        team: str = TEAM,
        kms_key_arn: str = "",
    ) -> None:
        self.machine.tokens.add(token)
        labelling.request_labels(
            RequestLabels(
                job_id=self.id,
                provider=provider,
                images_manifest=f"s3://{BUCKET}/manifests/{self.id}/input.manifest",
                document_types=TYPES,
                task_token=token,
                requested_at=(datetime.now(UTC) - asked).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
                deadline_seconds=3600,
                redrives=redrives,
            ),
            GroundTruth(BUCKET, team, ROLE, 3, kms_key_arn, ["cost-centre=4711", "team="]),
            page=lambda _request: False,
            notify=self.notify,
        )

    def event(self, attempt: int = 1, status: str = "Completed", job_id: str | None = None) -> None:
        """Ground Truth's event, as the SageMaker guide shows it."""
        arn = f"arn:aws:sagemaker:us-east-1:{ACCOUNT}:labeling-job/{job_id or self.id}-{attempt}"
        event = {
            "source": "aws.sagemaker",
            "detail-type": "SageMaker Ground Truth Labeling Job State Change",
            "resources": [arn],
            "detail": {"LabelingJobStatus": status},
        }
        labelling.resume_execution(event, notify=self.notify)

    def notify(self, job_id: str, attempt: int, made: LabelsMade) -> None:
        if self.cannot_tell:
            self.cannot_tell -= 1
            raise Throttled("The event bus is busy.")
        assert job_id == self.id
        self.notices.append((attempt, made.labelled, len(self.machine.answers)))

    @property
    def job(self) -> Job:
        return self.jobs.get(self.id)

    def answered(self, token: str = FIRST) -> dict[str, Any]:
        return json.loads(self.machine.answers[token]["output"])


@pytest.fixture
def setting(jobs: Jobs, s3: Any) -> Setting:
    return Setting(jobs, s3)


def test_a_labelling_job_is_made_as_ground_truth_wants_it(setting: Setting) -> None:
    # When labels are requested
    setting.request()
    # Then a labelling job of the first attempt exists, with the functions of the Region and our team
    made = setting.ground_truth.jobs[f"{setting.id}-1"]
    task = made["HumanTaskConfig"]
    assert made["LabelAttributeName"] == "doctype"
    assert made["OutputConfig"] == {"S3OutputPath": f"s3://{BUCKET}/labelling/{setting.id}/output/"}
    assert task["PreHumanTaskLambdaArn"] == "arn:aws:lambda:us-east-1:432418664414:function:PRE-BoundingBox"
    assert (task["WorkteamArn"], task["NumberOfHumanWorkersPerDataObject"]) == (TEAM, 3)
    assert (task["TaskAvailabilityLifetimeInSeconds"], task["MaxConcurrentTaskCount"]) == (2_592_000, 1000)
    assert 30 <= task["TaskTimeLimitInSeconds"] <= 28_800
    # And the categories and the template that it names are in the bucket
    categories = read(setting, made["LabelCategoryConfigS3Uri"])
    assert json.loads(categories) == {
        "document-version": "2018-11-28",
        "labels": [{"label": "ID_KTP"}, {"label": "MY_NRIC"}],
    }
    template = read(setting, task["UiConfig"]["UiTemplateS3Uri"])
    assert 'name="boundingBox"' in template
    assert "<full-instructions" in template
    assert "<short-instructions" in template
    # And the record shows it
    assert setting.job.status is Status.LABELLING
    assert setting.job["LabellingJobArn"] == made["LabelingJobArn"]


def test_the_labelling_job_has_the_cost_tags_and_the_key(setting: Setting) -> None:
    # Given a deployment with a key of its own and cost tags, one of them without a value
    setting.request(kms_key_arn=KEY)
    # Then the labelling job has them, and the job's tag
    made = setting.ground_truth.jobs[f"{setting.id}-1"]
    assert made["OutputConfig"]["KmsKeyId"] == KEY
    assert {tag["Key"]: tag["Value"] for tag in made["Tags"]} == {
        "cost-centre": "4711",
        "team": "",
        "ekyc-job": setting.id,
    }


def read(setting: Setting, uri: str) -> str:
    key = uri.removeprefix(f"s3://{BUCKET}/")
    return setting.s3.get_object(Bucket=BUCKET, Key=key)["Body"].read().decode()


def test_the_arn_follows_from_the_job_id(setting: Setting) -> None:
    setting.request()
    assert setting.job["LabellingJobArn"] == labelling.job_arn(
        f"arn:aws:states:us-east-1:{ACCOUNT}:stateMachine:training", setting.id
    )


def test_an_event_resumes_the_execution_with_counts(setting: Setting) -> None:
    # Given a labelling job that left two photos unlabelled
    setting.request()
    setting.ground_truth.finish(f"{setting.id}-1", "Completed", labelled=8, failed=2)
    # When its event comes, and comes again
    setting.event()
    setting.event()
    # Then the token is answered with the output manifest and the counts, and forgotten
    assert setting.answered() == {
        "provider": "ground-truth",
        "manifest": f"s3://{BUCKET}/labelling/{setting.id}/output/{setting.id}-1/manifests/output/output.manifest",
        "labelAttribute": "doctype",
        "labelled": 8,
        "failed": 2,
        "unlabelled": 0,
        "labellingEnded": int(ENDED.timestamp() * 1000),
    }
    assert setting.machine.calls.count("send_task_success") == 1
    assert setting.job["TaskToken"] is None
    assert setting.job["Labelled"] == 8


def test_an_already_ended_labelling_job_is_answered_at_once(setting: Setting) -> None:
    # Given a labelling job that an earlier run of the stage made, and an event that was lost
    setting.request("token-1")
    setting.ground_truth.finish(f"{setting.id}-1", "Completed", labelled=10)
    # When the heartbeat brings the stage back with a new token
    setting.request("token-2")
    # Then it finds the job instead of making one, and answers the new token itself
    assert list(setting.ground_truth.jobs) == [f"{setting.id}-1"]
    assert setting.answered("token-2")["labelled"] == 10
    assert "token-1" not in setting.machine.answers


def test_an_event_before_the_token_is_left_to_the_stage(setting: Setting) -> None:
    # Given a labelling job made by a run that crashed before it stored anything more
    setting.request()
    tokens.forget(setting.id, "token-1")
    setting.ground_truth.finish(f"{setting.id}-1", "Completed", labelled=10)
    # When the event comes first and the stage runs then
    setting.event()
    assert setting.machine.answers == {}
    setting.request("token-2")
    # Then the stage answers
    assert setting.answered("token-2")["labelled"] == 10


@pytest.mark.parametrize("job_id", ["somebody-elses-job", "ekyc-20261124015324-9f3c0a1b2c3d4e5f"])
def test_an_event_of_an_unknown_job_is_left_alone(setting: Setting, job_id: str) -> None:
    setting.event(job_id=job_id)
    assert setting.ground_truth.calls == []


def test_an_event_is_a_hint_and_the_description_the_truth(setting: Setting) -> None:
    # Given a labelling job in progress
    setting.request()
    # When an event says that it is complete
    setting.event(status="Completed")
    # Then the execution goes on waiting
    assert setting.machine.answers == {}
    assert setting.job["TaskToken"] == "token-1"


@pytest.mark.parametrize(
    ("status", "reason", "error", "words"),
    [
        ("Failed", "ClientError: images/j/jane.jpg", "LabellingFailed", "describe-labeling-job --labeling-job-name"),
        ("Failed", None, "LabellingFailed", "no reason"),
        ("Stopped", None, "LabellingStopped", "was stopped after 0 of 4 photos"),
        ("Completed", None, "LabellingFailed", "without labels: 4 photos failed"),
    ],
)
def test_labelling_that_ends_badly_fails_the_task_in_words(
    setting: Setting, status: str, reason: str | None, error: str, words: str
) -> None:
    # Given a labelling job that ends without labels
    setting.request()
    setting.ground_truth.finish(f"{setting.id}-1", status, failed=4, reason=reason)
    # When its event comes
    setting.event(status=status)
    # Then the task fails with the named error, and the cause says what happened
    answer = setting.machine.answers["token-1"]
    assert answer["error"] == error
    assert words in answer["cause"]
    assert "jane" not in answer["cause"]


def test_a_redrive_after_a_failure_creates_a_labelling_job(setting: Setting) -> None:
    # Given an attempt that failed
    setting.request("token-1")
    setting.ground_truth.finish(f"{setting.id}-1", "Failed", reason="x")
    setting.event()
    # When the job is redriven
    setting.request("token-2", redrives=1)
    # Then a second attempt is in progress, and a late event of the first does not touch it
    assert setting.ground_truth.jobs[f"{setting.id}-2"]["LabelingJobStatus"] == "InProgress"
    assert str(setting.job["LabellingJobArn"]).endswith("-2")
    setting.event(attempt=1, status="Failed")
    assert "token-2" not in setting.machine.answers
    # And the second one's event answers
    setting.ground_truth.finish(f"{setting.id}-2", "Completed", labelled=3)
    setting.event(attempt=2)
    assert setting.answered("token-2")["labelled"] == 3


def test_a_redrive_carries_on_with_labelling_that_is_in_progress(setting: Setting) -> None:
    setting.request("token-1")
    setting.request("token-2", redrives=3)
    assert list(setting.ground_truth.jobs) == [f"{setting.id}-1"]


def test_the_last_allowed_attempt_is_answered_however_it_ended(setting: Setting) -> None:
    # Given a first attempt that was stopped while the event was lost
    setting.request("token-1")
    setting.ground_truth.finish(f"{setting.id}-1", "Stopped")
    # When the heartbeat brings the stage back without a redrive
    setting.request("token-2")
    # Then no people are asked again behind anybody's back
    assert list(setting.ground_truth.jobs) == [f"{setting.id}-1"]
    assert setting.machine.answers["token-2"]["error"] == "LabellingStopped"


def test_two_runs_at_once_make_one_labelling_job(setting: Setting) -> None:
    # Given a run that made the labelling job just after this one looked for it
    setting.request("token-1")
    setting.ground_truth.refuse_next("describe_labeling_job", "ResourceNotFound")
    # When this one tries to make it
    setting.request("token-2")
    # Then it takes what is there
    assert list(setting.ground_truth.jobs) == [f"{setting.id}-1"]
    assert setting.ground_truth.calls.count("create_labeling_job") == 2


def test_a_labelling_job_that_is_not_ours_is_not_taken(setting: Setting) -> None:
    setting.request()
    setting.ground_truth.jobs[f"{setting.id}-1"]["InputConfig"] = {
        "DataSource": {"S3DataSource": {"ManifestS3Uri": "s3://other/input.manifest"}}
    }
    with pytest.raises(UnexpectedAnswer, match="does not label s3://"):
        setting.request("token-2")


@pytest.mark.parametrize("code", ["TaskTimedOut", "InvalidToken", "TaskDoesNotExist"])
def test_a_spent_token_was_answered_by_another_run(setting: Setting, code: str, logs: io.StringIO) -> None:
    # Given a labelling job that is done while the token is spent
    setting.request()
    setting.ground_truth.finish(f"{setting.id}-1", "Completed", labelled=1)
    setting.machine.refuse_next("send_task_success", code)
    # When its event comes
    setting.event()
    # Then nothing is raised, and the log does not hold the token
    assert setting.machine.answers == {}
    assert code in logs.getvalue()
    assert "token-1" not in logs.getvalue()


def test_an_answer_that_a_throttle_kept_back_is_tried_again(setting: Setting) -> None:
    # Given a service that is busy when the event comes
    setting.request()
    setting.ground_truth.finish(f"{setting.id}-1", "Completed", labelled=1)
    setting.machine.refuse_next("send_task_success", "ThrottlingException")
    with pytest.raises(ClientError) as caught:
        setting.event()
    assert isinstance(as_pipeline_error(caught.value), Throttled)
    # When the event is delivered again
    setting.event()
    # Then the execution is resumed: the token was not lost
    assert setting.answered()["labelled"] == 1


def test_a_deadline_that_has_passed_ends_the_wait(setting: Setting) -> None:
    with pytest.raises(LabellingTimedOut, match="still InProgress"):
        setting.request(asked=timedelta(hours=2))
    # But labels that are there are taken, late as they are
    setting.ground_truth.finish(f"{setting.id}-1", "Completed", labelled=1)
    setting.request("token-2", asked=timedelta(hours=2))
    assert setting.answered("token-2")["labelled"] == 1


def test_without_a_work_team_the_cause_names_the_setting(setting: Setting) -> None:
    with pytest.raises(LabellingUnavailable, match="the setting workTeam"):
        setting.request(team="")


def test_a_region_without_ground_truth_is_named(setting: Setting, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(labelling.FUNCTION_ACCOUNTS, "us-east-1")  # type: ignore[arg-type]
    with pytest.raises(LabellingUnavailable, match="Region us-east-1"):
        setting.request()


def test_an_account_at_its_limit_gets_that_error(setting: Setting) -> None:
    setting.ground_truth.refuse_next("create_labeling_job", "ResourceLimitExceeded", "20 of 20 labelling jobs.")
    with pytest.raises(LabellingUnavailable, match="20 of 20"):
        setting.request()


def test_a_job_past_labelling_makes_no_labelling_job(setting: Setting) -> None:
    setting.jobs.advance(setting.id, states.START_TRAINING)
    with pytest.raises(UnexpectedAnswer, match="does not wait for labels: The job is Training"):
        setting.request()
    assert setting.ground_truth.jobs == {}


def test_supplied_labels_are_waited_for_and_posted(setting: Setting) -> None:
    # Given a job whose labels people bring
    setting.request(provider="supplied")
    assert setting.job.status is Status.WAITING_FOR_LABELLING
    assert setting.ground_truth.calls == []
    # When they post them, twice
    job = tokens.post_labels(setting.id, POSTED)
    first, second = (labelling.supply_labels(job) for _ in range(2))
    # Then the execution is resumed once
    assert (first, second) == (True, False)
    assert setting.answered() == POSTED


def test_labels_of_a_failed_attempt_are_used_by_the_next(setting: Setting) -> None:
    # Given labels that were posted while the stage's first try was about to fail
    setting.request(provider="supplied")
    labelling.supply_labels(tokens.post_labels(setting.id, POSTED))
    # When the state machine tries once more, with a new token
    setting.request(token=SECOND, provider="supplied")
    # Then the labels need not be posted again
    assert setting.answered(SECOND) == POSTED


def test_supplied_labels_that_never_come_time_out(setting: Setting) -> None:
    with pytest.raises(LabellingTimedOut, match="no labels were posted"):
        setting.request(provider="supplied", asked=timedelta(hours=2))


def test_finished_labelling_is_notified_after_the_job_continues(setting: Setting) -> None:
    # Given labelling that has ended
    setting.request()
    setting.ground_truth.finish(f"{setting.id}-1", "Completed", labelled=4)
    # When its event comes and the message cannot be sent
    setting.cannot_tell = 1
    with pytest.raises(Throttled):
        setting.event()
    # Then the execution still continues, and Lambda's second attempt sends the notice
    assert setting.answered()["labelled"] == 4
    setting.event()
    assert setting.notices == [(1, 4, 1)]


def test_labels_found_at_once_are_notified_before_the_answer(setting: Setting) -> None:
    # Given a labelling job of an earlier run, whose event came to nothing
    setting.request()
    setting.ground_truth.finish(f"{setting.id}-1", "Completed", labelled=4)
    # When the stage looks itself
    setting.request("token-2")
    # Then nothing is lost if it dies between the two
    assert setting.notices == [(1, 4, 0)]
    assert setting.answered("token-2")["labelled"] == 4


def test_labels_do_not_wait_for_a_message_that_cannot_be_sent(setting: Setting) -> None:
    setting.request()
    setting.ground_truth.finish(f"{setting.id}-1", "Completed", labelled=4)
    setting.cannot_tell = 1
    setting.request("token-2")
    assert setting.answered("token-2")["labelled"] == 4


def test_labelling_without_labels_sends_only_the_failure(setting: Setting) -> None:
    setting.request()
    setting.ground_truth.finish(f"{setting.id}-1", "Stopped")
    setting.event(status="Stopped")
    assert setting.notices == []


def test_the_record_keeps_when_labels_were_asked_for_first(setting: Setting) -> None:
    setting.request(asked=timedelta(minutes=10))
    first = setting.job["LabelsRequestedTime"]
    assert 590 < (now_ms() - first) / 1000 < 700
    setting.request("token-2")
    assert setting.job["LabelsRequestedTime"] == first
