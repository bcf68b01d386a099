"""The job's record: ids, moves between statuses, pages, tokens, and the API's view."""

import itertools
import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from threading import Lock
from typing import Any
from unittest.mock import patch

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from moto import mock_aws

from pipeline.jobs import (
    JobNotFound,
    Jobs,
    MoveRefused,
    PageTokenInvalid,
    ends,
    jobs,
    model_hours,
    new_id,
    notice_marks,
    now_ms,
    public_attributes,
    resumes,
    table,
    tokens,
)
from rules import states
from rules.states import ENDED, MOVES, RESUMABLE, RUNNING, Status
from tests.unit.aws_fakes import client, functions_use
from tests.unit.conftest import INDEX, TABLE

ARN = "arn:aws:states:us-east-1:123456789012:execution:training:ekyc-1"


def test_a_job_id_names_executions_labelling_jobs_and_models() -> None:
    # When many ids are drawn
    ids = {new_id() for _ in range(1000)}
    # Then no two are alike, and each is short and plain enough for every service that takes it as a name
    assert len(ids) == 1000
    for job_id in ids:
        assert re.fullmatch(r"ekyc-[0-9]{14}-[0-9a-f]{16}", job_id)
        assert len(f"{job_id}-10") <= 63


def test_a_new_job_has_every_field_that_old_clients_read(jobs: Jobs) -> None:
    # When a job is created
    before = now_ms()
    shown = public_attributes(jobs.create())
    # Then the fields are there, null when there is nothing yet, and the time is in milliseconds
    assert before - 1 <= shown["startTime"] <= now_ms() + 1
    for name in ("labellingJobArn", "datasetArn", "projectVersionArn", "projectArn", "metrics"):
        assert shown[name] is None
    assert shown["status"] == "Created"
    assert shown["detailedStatus"] == "Waiting for photos"
    assert shown["datasetCreated"] is False
    assert "kind" not in shown


def test_an_id_that_is_taken_is_drawn_again(jobs: Jobs, monkeypatch: pytest.MonkeyPatch) -> None:
    # Given a random source that repeats itself
    first, second = new_id(), new_id()
    drawn = iter([first, first, second])
    monkeypatch.setattr(table, "new_id", lambda: next(drawn))
    # When two jobs are created
    ids = [jobs.create().id, jobs.create().id]
    # Then the second has another id, and the first is untouched
    assert ids == [first, second]


def test_an_unknown_job_is_not_found(jobs: Jobs) -> None:
    with pytest.raises(JobNotFound, match="ekyc-1"):
        jobs.get("ekyc-1")


def test_a_stage_advances_a_job_with_what_it_knows(jobs: Jobs) -> None:
    # Given a started job
    job = jobs.create()
    jobs.advance(job.id, states.CHECK_PHOTOS)
    # When training is polled
    jobs.advance(job.id, states.CHECK_TRAINING, detail="Training: poll 12, IN_PROGRESS", Poll=12)
    # Then the record says so
    shown = public_attributes(jobs.get(job.id))
    assert (shown["status"], shown["stage"], shown["poll"]) == ("Training", "Check training", 12)
    assert shown["detailedStatus"] == "Training: poll 12, IN_PROGRESS"


def test_a_late_duplicate_does_not_set_a_job_back(jobs: Jobs) -> None:
    # Given a job in training
    job = jobs.create()
    jobs.advance(job.id, states.CHECK_PHOTOS)
    jobs.advance(job.id, states.START_TRAINING)
    # When an earlier stage runs again, or a stage of an unknown job
    jobs.advance(job.id, states.CREATE_DATASETS, DatasetArn="other")
    jobs.advance("ekyc-unknown", states.START_TRAINING)
    # Then nothing changed, and nothing was raised
    found = jobs.get(job.id)
    assert found.status is Status.TRAINING
    assert found["Stage"] == "Start training"
    assert found["DatasetArn"] is None


def test_figures_keep_their_value_in_the_table(jobs: Jobs) -> None:
    # Given figures as the evaluation finds them
    labels = [{"label": "ID_KTP", "f1": 0.9712345678901234, "testingImages": 9}, {"label": "MY_NRIC", "f1": 1.0}]
    job = jobs.create()
    # When they are noted
    jobs.note(job.id, F1=0.71, Labels=labels, LiveF1=None, Reasons=[])
    # Then they are shown as they were
    metrics = public_attributes(jobs.get(job.id))["metrics"]
    assert metrics["f1"] == 0.71
    assert metrics["labels"] == labels
    assert metrics["liveF1"] is None


def test_a_note_on_an_unknown_job_makes_no_record(jobs: Jobs) -> None:
    jobs.note("ekyc-unknown", Images=3)
    with pytest.raises(JobNotFound):
        jobs.get("ekyc-unknown")


def test_a_stage_that_runs_twice_keeps_its_first_time(jobs: Jobs) -> None:
    job = jobs.create()
    jobs.note_first(job.id, TrainingStartTime=1000)
    jobs.note_first(job.id, TrainingStartTime=2000, ProjectVersionArn="arn")
    found = jobs.get(job.id)
    assert (found["TrainingStartTime"], found["ProjectVersionArn"]) == (1000, "arn")


def test_the_time_that_a_model_ran_adds_up(jobs: Jobs) -> None:
    # Given a model that ran before and has been running for an hour again
    job = jobs.create()
    jobs.note(job.id, ModelStartTime=now_ms() - 100_000)
    model_hours.record_stop(job.id)
    jobs.note(job.id, ModelStartTime=now_ms() - 3_600_000)
    # When it is stopped, twice over
    model_hours.record_stop(job.id)
    model_hours.record_stop(job.id)
    # Then both times count, once
    found = jobs.get(job.id)
    assert found["ModelStartTime"] is None
    assert found["ModelSeconds"] == pytest.approx(3700, abs=60)


def test_the_list_is_newest_first_page_by_page(jobs: Jobs, monkeypatch: pytest.MonkeyPatch) -> None:
    # Given five jobs, two of them made in the same millisecond
    times = iter([1000, 2000, 2000, 3000, 4000])
    monkeypatch.setattr(table, "now_ms", lambda: next(times))
    made = [jobs.create() for _ in range(5)]
    # When they are read two at a time
    seen, token, pages = [], None, 0
    while True:
        page, token = jobs.list_newest(INDEX, 2, token)
        seen += page
        pages += 1
        if token is None:
            break
    # Then all of them come, the newest first
    assert {job.id for job in seen} == {job.id for job in made}
    assert [job["StartTime"] for job in seen] == [4000, 3000, 2000, 2000, 1000]
    assert pages == 3


@pytest.mark.parametrize("token", ["x", "", "MTIz", "????", "eyJhIjoxfQ", "MTIzIA==", "ä"])
def test_a_made_up_page_token_is_refused(jobs: Jobs, token: str) -> None:
    with pytest.raises(PageTokenInvalid):
        jobs.list_newest(INDEX, 2, token)


def test_the_token_is_kept_and_never_shown(jobs: Jobs) -> None:
    # Given a job that waits for labels
    job = jobs.create()
    jobs.advance(job.id, states.CHECK_PHOTOS)
    # When the token is stored
    tokens.store(job.id, "secret-1", "supplied")
    # Then the record has it and the API does not
    found = jobs.get(job.id)
    assert found["TaskToken"] == "secret-1"
    assert "secret-1" not in str(public_attributes(found))
    # And forgetting another token leaves it, forgetting this one does not
    tokens.forget(job.id, "secret-0")
    assert jobs.get(job.id)["TaskToken"] == "secret-1"
    tokens.forget(job.id, "secret-1")
    assert jobs.get(job.id)["TaskToken"] is None


def test_a_token_is_refused_when_the_job_is_past_labelling(jobs: Jobs) -> None:
    job = jobs.create()
    jobs.advance(job.id, states.CHECK_PHOTOS)
    jobs.advance(job.id, states.START_TRAINING)
    with pytest.raises(MoveRefused):
        tokens.store(job.id, "secret", "ground-truth")
    with pytest.raises(JobNotFound):
        tokens.store("ekyc-unknown", "secret", "ground-truth")


def test_a_later_end_is_not_replaced_by_an_earlier_one(jobs: Jobs) -> None:
    # Given a job that failed, was redriven and stopped
    job = jobs.create()
    jobs.advance(job.id, states.CHECK_PHOTOS)
    ends.record(job.id, Status.FAILED, 1000, ARN, Error="LabelsInvalid")
    jobs.advance(job.id, states.START_TRAINING)
    assert public_attributes(jobs.get(job.id)).get("error") is None
    ends.record(job.id, Status.STOPPED, 2000, ARN, Error=None)
    # When the first end event comes again
    with pytest.raises(MoveRefused):
        ends.record(job.id, Status.FAILED, 1000, ARN, Error="LabelsInvalid")
    # Then the last one stays, without the first one's error
    found = public_attributes(jobs.get(job.id))
    assert (found["status"], found["endTime"]) == ("Stopped", 2000)
    assert "error" not in found


def test_a_redriven_job_is_shown_where_it_was(jobs: Jobs) -> None:
    # Given a job that was stopped in training
    job = jobs.create()
    jobs.advance(job.id, states.CHECK_PHOTOS)
    jobs.advance(job.id, states.CHECK_TRAINING)
    ended = ends.record(job.id, Status.STOPPED, 1000, ARN)
    # When it is redriven
    resumes.reopen(ended, Status.TRAINING)
    # Then it trains again; and a second reopening of the same end is refused
    assert jobs.get(job.id).status is Status.TRAINING
    with pytest.raises(MoveRefused):
        resumes.reopen(ended, Status.TRAINING)


def test_a_late_notice_of_an_earlier_end_does_not_undo_a_later(jobs: Jobs) -> None:
    job = jobs.create()
    for end in (1000, 2000, 1000):
        notice_marks.mark_sent(job.id, "EndMessageSent", end)
    assert jobs.get(job.id)["EndMessageSent"] == 2000
    # And a job that does not exist causes no error
    notice_marks.mark_sent("ekyc-unknown", "EndMessageSent", 1)


def test_running_jobs_and_unhandled_ends_are_unsettled(jobs: Jobs) -> None:
    # Given a job that was never started, one that runs, and four that ended: three are settled, and for two of these
    # only the message or only the event was sent
    made = {name: jobs.create() for name in ("idle", "runs", "settled", "by message", "by event", "left")}
    for name, job in made.items():
        arn = f"arn:{job.id}"
        if name != "idle":
            jobs.advance(job.id, states.CHECK_PHOTOS, ExecutionArn=arn)
        if name not in ("idle", "runs"):
            ends.record(job.id, Status.FAILED, 1000, arn)
        if name in ("settled", "by message", "left"):
            notice_marks.mark_sent(job.id, "EndMessageSent", 1000)
        if name in ("settled", "by event", "left"):
            notice_marks.mark_sent(job.id, "EndEventSent", 1000)
        if name in ("settled", "by message", "by event"):
            ends.mark_settled(jobs.get(job.id))
    # Then the unsettled jobs are found
    assert set(ends.list_unsettled_ids(INDEX)) == {made[name].id for name in ("runs", "by message", "by event", "left")}


def test_other_failures_of_the_table_are_not_swallowed(
    jobs: Jobs, dynamodb: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(vars(jobs), "table", "no-such-table")
    with pytest.raises(dynamodb.exceptions.ResourceNotFoundException):
        jobs.note("ekyc-1", Images=1)
    with pytest.raises(dynamodb.exceptions.ResourceNotFoundException):
        jobs.create()


STEPS = st.lists(st.sampled_from(list(Status)), max_size=20)


@given(STEPS)
@settings(max_examples=200, deadline=None)
def test_no_order_of_moves_leaves_a_final_status_or_goes_back(steps: list[Status]) -> None:
    # Given a job that is asked to make any moves in any order, each made only if the table has it
    status, history = Status.CREATED, [Status.CREATED]
    for step in steps:
        if step in MOVES[status]:
            status = step
            history.append(step)
    # Then a final status is the last, and only a failed or stopped job ever goes back
    for before, after in itertools.pairwise(history):
        assert before not in (Status.READY, Status.REJECTED)
        if before in RUNNING and after in RUNNING:
            assert RUNNING.index(after) >= RUNNING.index(before)
        if after is Status.CHECKING_IMAGES:
            assert before in (Status.CREATED, Status.CHECKING_IMAGES, *RESUMABLE)
    assert Status.CREATED not in history[1:]


def test_every_status_is_reached_and_every_running_one_can_end() -> None:
    reached = {Status.CREATED}.union(*MOVES.values())
    assert reached == set(Status)
    assert set(MOVES) == set(Status)
    for status in RUNNING:
        assert set(ENDED) <= MOVES[status]


@contextmanager
def empty_table() -> Iterator[Any]:
    """Empty the table of jobs, which properties do for each of their examples; yields the client of DynamoDB."""
    dynamodb = client("dynamodb")
    dynamodb.create_table(
        TableName=TABLE,
        BillingMode="PAY_PER_REQUEST",
        KeySchema=[{"AttributeName": "Id", "KeyType": "HASH"}],
        AttributeDefinitions=[{"AttributeName": "Id", "AttributeType": "S"}],
    )
    with functions_use(dynamodb=dynamodb), patch.dict(vars(jobs), table=TABLE):
        yield dynamodb


@given(moves=st.lists(st.sampled_from([*RUNNING, *ENDED]), min_size=1, max_size=6))
@settings(max_examples=15, deadline=None)
def test_dynamodb_allows_exactly_the_moves_of_the_table(moves: list[Status]) -> None:
    # Given a job in a real table (moto's) and the rule beside it
    with mock_aws(), empty_table():
        job = jobs.create()
        expected = Status.CREATED
        for status in moves:
            # When it is moved
            if status in MOVES[expected]:
                expected = jobs.move(job.id, status).status
                assert expected is status
            else:
                with pytest.raises(MoveRefused, match=expected):
                    jobs.move(job.id, status)
            # Then the table lets exactly the allowed moves through
            assert jobs.get(job.id).status is expected


@given(st.lists(st.lists(st.sampled_from([*RUNNING, *ENDED]), min_size=1, max_size=6), min_size=2, max_size=4))
@settings(max_examples=5, deadline=None)
def test_writers_at_the_same_time_only_make_moves_of_the_table(writers: list[list[Status]]) -> None:
    # Given a job in a real table (moto's), and writers that each want to make moves of their own
    with mock_aws(), empty_table() as dynamodb:
        job = jobs.create()

        transitions: list[tuple[Status, Status]] = []
        one_at_a_time = Lock()

        class Watched:
            """The table's client. DynamoDB makes the writes of an item one after the other, which moto does not."""

            def __getattr__(self, name: str) -> Any:
                return getattr(dynamodb, name)

            def update_item(self, **request: Any) -> Any:
                with one_at_a_time:
                    before = jobs.get(job.id).status
                    answer = dynamodb.update_item(**request)
                    transitions.append((before, jobs.get(job.id).status))
                    return answer

        def write(statuses: list[Status]) -> None:
            for status in statuses:
                with suppress(MoveRefused):
                    jobs.move(job.id, status)

        # When they write at the same time
        with functions_use(dynamodb=Watched()), ThreadPoolExecutor(len(writers)) as pool:
            list(pool.map(write, writers))
        found = jobs.get(job.id).status
    # Then every write that went in is a move of the table, and they follow on one another
    assert all(after in MOVES[before] for before, after in transitions)
    assert [before for before, _ in transitions] == [Status.CREATED, *(after for _, after in transitions)][:-1]
    assert found == ([Status.CREATED] + [after for _, after in transitions])[-1]
