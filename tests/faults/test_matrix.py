"""The fault matrix: a sample of its cells, its completeness, and the problems that it must detect."""

import json
from pathlib import Path

import pytest
from cells import (
    CLEAN,
    EXECUTION_EVENT,
    NOT_MET,
    OF_CALLS,
    RECOVERED,
    WAYS,
    WRONG,
    Cell,
    Column,
    Row,
    batches,
    fault_of,
    plan,
    record_calls,
    run,
    units,
)
from deployment import TOKEN, TYPES, Bench, Job
from invariants import violations

from ekyc.localaws import calls, faults
from ekyc.localaws.faults import Fault, Lasts, What

SUPPLIED, LABELLED, PUBLISHED = "labels come with the start", "labelled by people", "published"
PAGE = "labelled on the page"


def test_every_function_of_the_template_has_rows(pipeline: Bench, stack_for_trials: Path) -> None:
    # Given the calls that the jobs of every course make
    rows_by_way = {way: record_calls(pipeline, way) for way in WAYS}
    # When the cells are planned
    planned = plan(rows_by_way)
    # Then each function of the template has cells, and each recorded call has all faults of calls
    template = json.loads((stack_for_trials / "ekyc-training.template.json").read_text())
    # (the functions of these modules only read, for a caller who waits for the answer)
    of_callers = {"api.documents", "api.labelling_files"}
    planned_modules = {cell.row.module for cell in planned if not cell.row.unit.startswith("state ")}
    assert planned_modules == set(units(template)) - of_callers
    columns = {(cell.row, cell.column) for cell in planned}
    ending = Row("events.record_outcome", "dynamodb", "UpdateItem", 1)
    assert {(ending, column) for column in OF_CALLS} <= columns
    assert len(planned) == len({(cell.row, cell.column) for cell in planned}) > 1000
    # And each cell has its own fault, except for events that go to two functions
    job = Job("a-job", "a-mark")
    of_calls = [fault for cell in planned if not (fault := fault_of(pipeline, cell, job)).detail_type]
    assert len(set(of_calls)) == len(of_calls)
    # And each cell is in one batch
    assert sorted(map(repr, planned)) == sorted(repr(cell) for batch in batches(planned) for cell in batch)


def calling(module: str, service: str, operation: str, nth: int, what: What, way: str) -> Cell:
    lasts = Lasts.ALWAYS if what is What.DENIED else Lasts.ONCE
    return Cell(Row(module, service, operation, nth), Column(what, lasts), way)


@pytest.mark.parametrize(
    ("cell", "verdict"),
    [
        (calling("stages.start_training", "rekognition", "CreateProjectVersion", 1, What.DROPPED, SUPPLIED), RECOVERED),
        (calling("stages.request_labels", "sagemaker", "CreateLabelingJob", 1, What.CRASH_AFTER, LABELLED), RECOVERED),
        (calling("events.record_outcome", "sns", "Publish", 1, What.CRASH_BEFORE, SUPPLIED), RECOVERED),
        (calling("events.record_outcome", "dynamodb", "UpdateItem", 1, What.DENIED, SUPPLIED), CLEAN),
        (calling("stages.publish_model", "ssm", "PutParameter", 2, What.DENIED, PUBLISHED), CLEAN),
        (calling("stages.publish_model", "ssm", "PutParameter", 2, What.TIMED_OUT, PUBLISHED), RECOVERED),
        (calling("api.app POST /api/training/start", "states", "StartExecution", 1, What.DENIED, SUPPLIED), CLEAN),
        (calling("stages.request_labels", "dynamodb", "PutItem", 2, What.CRASH_AFTER, PAGE), RECOVERED),
        (calling("events.finish_labelling", "s3", "PutObject", 1, What.DROPPED, PAGE), RECOVERED),
        (
            Cell(Row("events.record_outcome", EXECUTION_EVENT), Column(What.LOST), SUPPLIED),
            RECOVERED,
        ),
        (Cell(Row("state Check model", str(What.MODEL_FAILS)), Column(What.MODEL_FAILS), PUBLISHED), CLEAN),
        (Cell(Row("state Start training", str(What.TRAININGS_FULL)), Column(What.TRAININGS_FULL), SUPPLIED), RECOVERED),
    ],
    ids=lambda value: f"{value.row.unit} {value.row.call} {value.column}" if isinstance(value, Cell) else "",
)
def test_each_fault_is_recovered_from_or_reported(pipeline: Bench, cell: Cell, verdict: str) -> None:
    (result,) = run(pipeline, [cell])
    assert (result.verdict, result.problems) == (verdict, ())


def test_a_transient_fault_that_ends_a_job_is_wrong(pipeline: Bench) -> None:
    # Given a stage that crashes at every attempt, although the cell is for a transient fault
    cell = Cell(Row("stages.import_labels", "s3", "PutObject", 1), Column(What.CRASH_BEFORE, Lasts.ALWAYS), SUPPLIED)
    # Then the verdict is WRONG, with the job's error
    (result,) = run(pipeline, [cell])
    assert result.verdict == WRONG
    assert "Runtime.ExitError" in result.problems[0]


def test_an_unused_fault_does_not_count_as_recovered(pipeline: Bench) -> None:
    (result,) = run(pipeline, [calling("stages.check_photos", "s3", "PutObject", 99, What.DENIED, SUPPLIED)])
    assert result.verdict == NOT_MET


def test_faults_that_share_a_job_have_each_its_own_verdict(pipeline: Bench) -> None:
    # Given two faults from which a job recovers, one fault that ends it, and one at a call that it does not make
    throttled = Column(What.THROTTLED_400)
    writes = [Row("stages.import_labels", "s3", "PutObject", nth) for nth in (1, 99)]
    cells = [
        Cell(row, throttled, SUPPLIED)
        for row in (*writes, Row("stages.create_datasets", "rekognition", "CreateProject", 1))
    ]
    ends = Cell(Row("stages.check_photos", "s3", "PutObject", 1), Column(What.CRASH_BEFORE, Lasts.ALWAYS), SUPPLIED)
    # When they share a job
    results = {result.cell: result.verdict for result in run(pipeline, [*cells, ends])}
    # Then each has its own verdict
    assert results == dict(zip([*cells, ends], [RECOVERED, NOT_MET, RECOVERED, WRONG], strict=True))


def test_a_model_left_running_is_seen(pipeline: Bench) -> None:
    # Given a job that does not deploy its model
    job = pipeline.create("left running")
    WAYS[SUPPLIED].run(pipeline, job)
    pipeline.wait_until_settled(job)
    assert list(violations(pipeline, job)) == []
    # When its model is started
    arn = pipeline.record(job)["ProjectVersionArn"]
    pipeline.aws.client("rekognition").start_project_version(ProjectVersionArn=arn, MinInferenceUnits=1)
    # Then this is a violation
    assert any("not published" in problem for problem in violations(pipeline, job))


def test_a_task_token_and_a_presigned_url_in_a_log_are_seen(pipeline: Bench) -> None:
    # Given a job that people labelled, with nothing in a log
    job = pipeline.create("leaks")
    WAYS[LABELLED].run(pipeline, job)
    pipeline.wait_until_settled(job)
    assert list(violations(pipeline, job)) == []
    # When a function logs its token and a URL
    (token, *_) = TOKEN.findall(json.dumps(pipeline.history(job), default=str).replace('\\"', '"'))
    log = pipeline.aws.logs_dir / f"{pipeline.functions['stages.request_labels']}.log"
    with log.open("a") as file:
        file.write(f"waits with {token}\nPUT https://bucket/photo.jpg?X-Amz-Signature=0\n")
    # Then both are violations
    assert list(violations(pipeline, job)) == [
        f"a presigned URL in the log of {log.stem}",
        f"a task token in the log of {log.stem}",
    ]


def test_after_a_dropped_connection_the_sdk_repeats_the_call(pipeline: Bench) -> None:
    # Given a connection that is lost after the project was created
    job = pipeline.create("dropped")
    fault = Fault(What.DROPPED, pipeline.functions["stages.create_datasets"], (job.id,), operation="CreateProject")
    # When the job runs
    with calls.recorded() as recorded_calls, faults.injected(fault) as happened:
        WAYS[SUPPLIED].run(pipeline, job)
    # Then the function has called twice in one invocation
    assert happened == [fault]
    creations = [call for call in recorded_calls if call.operation == "CreateProject"]
    assert [call.attempt for call in creations] == [1, 2]
    assert len({call.invocation.id for call in creations}) == 1
    assert creations[0].parameters["ProjectName"] == job.id


@pytest.mark.parametrize(
    ("what", "error"), [(What.CRASH_AFTER, "Runtime.ExitError"), (What.TIMED_OUT, "Sandbox.Timedout")]
)
def test_a_function_that_dies_fails_as_lambda_says(pipeline: Bench, what: What, error: str) -> None:
    # Given a function that dies at its first call
    job = pipeline.create("dies")
    pipeline.upload(job)
    with faults.injected(Fault(what, pipeline.functions["stages.plan_photos"], (job.id,))):
        pipeline.start(job, labels={"provider": "supplied", "key": "labels.json"}, documentTypes=list(TYPES))
        pipeline.wait_for_end(job)
    # Then the history has Lambda's error, and the next attempt succeeded
    failed = [event["taskFailedEventDetails"] for event in pipeline.history(job) if event["type"] == "TaskFailed"]
    assert [details["error"] for details in failed] == [error]
    assert pipeline.execution(job).status == "SUCCEEDED"
