"""Stop in every state and resume after it, in the real machine: nothing is left running, nothing is made twice."""

import datetime
import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from deployed import Pipeline, deployed, eventually
from typer.testing import CliRunner

from ekyc.cli.main import cli
from ekyc.localaws.clock import clock
from ekyc.localaws.moto_patches import stepfunctions
from ekyc.localaws.server import LocalAws
from ekyc.localaws.services import events, functions, rekognition
from ekyc.localaws.synth import LOCAL_SETTINGS, synthesize
from tests.waiting import ENOUGH

SUPPLIED = {"labels": {"provider": "supplied", "key": "annotations.json"}}
QUICK = 6000.0  # for hours in which nothing else is to happen
ENDED_EVENT = "Step Functions Execution Status Change"


def labelled_job(pipeline: Pipeline, **options: Any) -> str:
    """A started job that came with its labels."""
    job_id = pipeline.uploaded()
    pipeline.upload(job_id, pipeline.photos / "annotations.json")
    assert pipeline.start(job_id, **SUPPLIED, **options).status_code == 200
    return job_id


def stop(pipeline: Pipeline, job_id: str, *, by: str) -> None:
    """Stop the job through the API, or its execution in the console."""
    if by == "API":
        assert pipeline.http.post(f"jobs/{job_id}/stop").status_code == 200
    else:
        arn = pipeline.last_arn(job_id)
        pipeline.aws.client("stepfunctions").stop_execution(executionArn=arn)


def resume(pipeline: Pipeline, job_id: str) -> None:
    answer = pipeline.http.post(f"jobs/{job_id}/resume")
    assert answer.status_code == 200, answer.text


def versions(pipeline: Pipeline, job_id: str) -> dict[str, str]:
    """The status of each model of the job, by name."""
    client = pipeline.aws.client("rekognition")
    for project in client.describe_projects(ProjectNames=[job_id])["ProjectDescriptions"]:
        found = client.describe_project_versions(ProjectArn=project["ProjectArn"])["ProjectVersionDescriptions"]
        return {one["ProjectVersionArn"].split("/")[3]: one["Status"] for one in found}
    return {}


def a_quarter_of_an_hour_passes(pipeline: Pipeline) -> None:
    """What the schedule does."""
    names = [one["FunctionName"] for one in pipeline.aws.client("lambda").list_functions()["Functions"]]
    (settle,) = [name for name in names if "SettleJob" in name]
    answer = pipeline.aws.client("lambda").invoke(FunctionName=settle, Payload="{}")
    assert "FunctionError" not in answer, answer["Payload"].read()


def nothing_bills(pipeline: Pipeline, job_id: str) -> bool:
    """Whether no labelling job, no training and no model runs."""
    labelling = {name: status for name, status in pipeline.labelling_jobs().items() if name.startswith(job_id)}
    return set(labelling.values()) <= {"Stopped", "Completed", "Failed"} and set(
        versions(pipeline, job_id).values()
    ) <= {"TRAINING_COMPLETED", "TRAINING_FAILED", "STOPPED"}


def stops_for_good(pipeline: Pipeline, job_id: str, *, by: str) -> None:
    """Stop the job, through the API twice, and check that it runs nothing that is billed."""
    stop(pipeline, job_id, by=by)
    pipeline.reaches(job_id, "Stopped")
    if by == "API":
        stop(pipeline, job_id, by=by)

    def settled() -> bool:
        a_quarter_of_an_hour_passes(pipeline)
        return nothing_bills(pipeline, job_id)

    eventually(settled)
    assert pipeline.job(job_id)["status"] == "Stopped"


@contextmanager
def held(function_id: str, which: Callable[[Any], bool] = lambda _event: True) -> Iterator[list[Any]]:
    """While open, each invocation of a function with such an event waits until the context closes."""
    opened, entered = threading.Event(), []
    invoke = functions.Runtime.invoke

    def wait(self: functions.Runtime, function: Any, event: Any, *more: Any) -> functions.Answer:
        if function_id in function.function_name and which(event):
            entered.append(event)
            opened.wait(60)
        return invoke(self, function, event, *more)

    functions.Runtime.invoke = wait  # type: ignore[method-assign]
    try:
        yield entered
    finally:
        opened.set()
        functions.Runtime.invoke = invoke  # type: ignore[method-assign]


@pytest.mark.parametrize("stage", ["PlanPhotos", "CheckPhotos", "CollectPhotos", "ImportLabels", "PrepareDatasets"])
def test_a_stage_that_outlives_a_stop_does_no_harm(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch, stage: str
) -> None:
    # Given a stage that takes long at its first call, and a job that is stopped meanwhile: AWS lets the function run on
    began, goes_on, ended = threading.Event(), threading.Event(), threading.Event()
    invoke = functions.Runtime.invoke

    def linger(self: functions.Runtime, function: Any, event: Any, *more: Any) -> functions.Answer:
        if stage not in function.function_name or began.is_set():
            return invoke(self, function, event, *more)
        began.set()
        assert goes_on.wait(ENOUGH)
        answer = invoke(self, function, event, *more)
        ended.set()
        return answer

    monkeypatch.setattr(functions.Runtime, "invoke", linger)
    job_id = labelled_job(pipeline, deploy=False)
    assert began.wait(ENOUGH)
    stop(pipeline, job_id, by="API")
    pipeline.reaches(job_id, "Stopped")
    # When the job is resumed, and the function ends only after the resumed job has passed the stage
    rekognition.current().max_trainings = 0
    resume(pipeline, job_id)
    eventually(lambda: pipeline.entered(job_id)[-1:] == ["Start training"])
    goes_on.set()
    assert ended.wait(ENOUGH)
    rekognition.current().max_trainings = 2
    # Then the job goes on to its end, as no list was written again
    pipeline.reaches(job_id, "Ready")


@pytest.mark.parametrize("by", ["API", "console"])
def test_a_stop_before_training_leaves_nothing_and_is_resumed(pipeline: Pipeline, by: str) -> None:
    # Given a job that stands at its first state
    with held("CheckPhotos") as checking:
        job_id = labelled_job(pipeline, deploy=False)
        eventually(lambda: checking)
        # When it is stopped there, and at each later wait once it was resumed, then nothing is left running
        stops_for_good(pipeline, job_id, by=by)
    rekognition.current().dataset_seconds = 1800.0
    resume(pipeline, job_id)
    eventually(lambda: "Check datasets" in pipeline.entered(job_id))
    stops_for_good(pipeline, job_id, by=by)
    # And when the account has no free slot, it backs off and can be stopped there too
    rekognition.current().max_trainings = 0
    resume(pipeline, job_id)
    eventually(lambda: pipeline.entered(job_id)[-1:] == ["Start training"])
    stops_for_good(pipeline, job_id, by=by)
    # And when a slot is free, it is resumed to its end, with one execution, one model, and photos checked as often as
    # they had to be
    rekognition.current().max_trainings = 2
    resume(pipeline, job_id)
    pipeline.reaches(job_id, "Ready")
    assert versions(pipeline, job_id) == {job_id: "TRAINING_COMPLETED"}
    assert pipeline.entered(job_id).count("Import labels") == 1
    assert pipeline.last_arn(job_id) == pipeline.arn(job_id)


def test_a_stop_in_the_console_stops_the_labelling_job(pipeline: Pipeline) -> None:
    # Given people who label
    pipeline.aws.workforce.stop_answering()
    job_id = pipeline.uploaded()
    pipeline.start(job_id, deploy=False)
    pipeline.reaches(job_id, "Labelling")
    # When the execution is stopped in the console
    stop(pipeline, job_id, by="console")
    # Then the labelling job stops without a call to the API
    eventually(lambda: pipeline.labelling_jobs() == {f"{job_id}-1": "Stopped"})
    assert pipeline.job(job_id)["status"] == "Stopped"


@pytest.mark.parametrize("by", ["API", "console"])
def test_a_stopped_trainings_model_is_deleted_and_trained_again(pipeline: Pipeline, by: str) -> None:
    # Given a job in training
    rekognition.current().training_seconds = 6000.0
    job_id = labelled_job(pipeline, deploy=False)
    eventually(lambda: versions(pipeline, job_id))
    # When it is stopped
    stop(pipeline, job_id, by=by)
    pipeline.reaches(job_id, "Stopped")
    assert versions(pipeline, job_id) == {job_id: "TRAINING_IN_PROGRESS"}
    clock.speed = QUICK
    # Then the model is deleted when Rekognition has trained it, by the event of what that wrote
    eventually(lambda: versions(pipeline, job_id) == {})
    assert pipeline.job(job_id)["status"] == "Stopped"
    # And a resume trains another one, in an execution that skips what is done
    rekognition.current().training_seconds = 30.0
    resume(pipeline, job_id)
    job = pipeline.reaches(job_id, "Ready")
    assert versions(pipeline, job_id) == {f"{job_id}-2": "TRAINING_COMPLETED"}
    assert job["executionArn"] == pipeline.arn(f"{job_id}-2")
    assert pipeline.entered(f"{job_id}-2")[:3] == ["What is done?", "Check datasets", "Datasets ready?"]
    assert job["cost"]["trainingUsd"] > 0


def test_a_job_resumed_before_its_training_ended_keeps_it(pipeline: Pipeline) -> None:
    # Given a job that was stopped in training and resumed while Rekognition still trains
    rekognition.current().training_seconds = 9000.0
    job_id = labelled_job(pipeline, deploy=False)
    eventually(lambda: versions(pipeline, job_id))
    stop(pipeline, job_id, by="API")
    pipeline.reaches(job_id, "Stopped")
    resume(pipeline, job_id)
    clock.speed = QUICK
    # When the training ends, then the one model serves
    pipeline.reaches(job_id, "Ready")
    a_quarter_of_an_hour_passes(pipeline)
    assert versions(pipeline, job_id) == {job_id: "TRAINING_COMPLETED"}


@pytest.mark.parametrize("by", ["API", "console"])
def test_a_starting_model_is_stopped_and_a_resume_starts_it(pipeline: Pipeline, by: str) -> None:
    # Given a job whose model starts
    rekognition.current().start_seconds = 1800.0
    job_id = labelled_job(pipeline)
    eventually(lambda: versions(pipeline, job_id) == {job_id: "STARTING"})
    # When it is stopped, then the model is stopped as soon as Rekognition lets it be
    stops_for_good(pipeline, job_id, by=by)
    assert versions(pipeline, job_id) == {job_id: "STOPPED"}
    # And a resume starts it again, in the same execution
    rekognition.current().start_seconds = 60.0
    resume(pipeline, job_id)
    job = pipeline.reaches(job_id, "Ready")
    assert versions(pipeline, job_id) == {job_id: "RUNNING"}
    assert pipeline.parameters()["ModelParameter"] == job["projectVersionArn"]
    # And a stop of the job that is ready leaves its live model alone
    assert pipeline.http.post(f"jobs/{job_id}/stop").json()["stopped"] == []
    a_quarter_of_an_hour_passes(pipeline)
    assert versions(pipeline, job_id) == {job_id: "RUNNING"}


def test_a_stop_during_publishing_waits_for_its_outcome(pipeline: Pipeline) -> None:
    # Given a job that stands at Publish model
    with held("PublishModel") as publishing:
        job_id = labelled_job(pipeline)
        eventually(lambda: publishing)
        # When it is stopped there, then its model is left alone: the function may make it the live one yet
        answer = pipeline.http.post(f"jobs/{job_id}/stop").json()
        assert (answer["status"], answer["stopped"]) == ("Stopped", ["execution"])
        assert "going live" in answer["remaining"][0]
    # And when the function has made it the live one, then it runs on
    eventually(lambda: pipeline.parameters()["ModelParameter"] != "default")
    minutes_pass(pipeline, job_id, 6)
    a_quarter_of_an_hour_passes(pipeline)
    assert versions(pipeline, job_id) == {job_id: "RUNNING"}
    # And a resume has only to say so
    resume(pipeline, job_id)
    pipeline.reaches(job_id, "Ready")


def minutes_pass(pipeline: Pipeline, job_id: str, minutes: int) -> None:
    """Make the end of the job's execution that much older, in Step Functions and in the record."""
    stepfunctions.age(pipeline.last_arn(job_id), datetime.timedelta(minutes=minutes))
    pipeline.aws.client("dynamodb").update_item(
        TableName=pipeline.outputs["JobsTable"],
        Key={"Id": {"S": job_id}},
        UpdateExpression="SET EndTime = EndTime - :more",
        ExpressionAttributeValues={":more": {"N": str(minutes * 60_000)}},
    )


def test_a_model_that_a_failed_job_started_is_not_left_running(pipeline: Pipeline) -> None:
    # Given a job that fails after its model was started, when it cannot be published
    with broken("PublishModel"):
        job_id = labelled_job(pipeline)
        pipeline.reaches(job_id, "Failed")
    # When some minutes have passed
    minutes_pass(pipeline, job_id, 6)
    a_quarter_of_an_hour_passes(pipeline)
    # Then it runs no longer
    eventually(lambda: versions(pipeline, job_id) == {job_id: "STOPPED"})


@contextmanager
def broken(function_id: str) -> Iterator[None]:
    """While open, each invocation of a function fails as one whose role lacks a permission."""
    invoke = functions.Runtime.invoke
    denied = json.dumps({"errorType": "AccessDenied", "errorMessage": "PutParameter returned AccessDenied: no."})

    def fail(self: functions.Runtime, function: Any, event: Any, *more: Any) -> functions.Answer:
        if function_id in function.function_name:
            return functions.Answer("request", denied, is_error=True)
        return invoke(self, function, event, *more)

    functions.Runtime.invoke = fail  # type: ignore[method-assign]
    try:
        yield
    finally:
        functions.Runtime.invoke = invoke  # type: ignore[method-assign]


# --- Where a redrive is not possible, or does not help ---------------------------------------------------------------


@pytest.mark.parametrize("why", ["14 days", "long history"])
def test_a_job_past_redrive_continues_in_a_second_execution(
    pipeline: Pipeline, why: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Given a job whose photos people have labelled, stopped while it waits for a training slot
    rekognition.current().max_trainings = 0
    job_id = pipeline.uploaded()
    pipeline.start(job_id, deploy=False)
    eventually(lambda: "Start training" in pipeline.entered(job_id))
    stop(pipeline, job_id, by="API")
    pipeline.reaches(job_id, "Stopped")
    # When Step Functions allows no redrive any more
    if why == "14 days":
        minutes_pass(pipeline, job_id, 15 * 24 * 60)
    else:
        monkeypatch.setattr(stepfunctions, "REDRIVE_EVENTS", 20)
    assert pipeline.execution(job_id)["redriveStatus"] == "NOT_REDRIVABLE"
    rekognition.current().max_trainings = 2
    resume(pipeline, job_id)
    # Then a second execution of the job continues with what is done, and nothing is labelled or created again
    monkeypatch.setattr(stepfunctions, "REDRIVE_EVENTS", 24_999)
    job = pipeline.reaches(job_id, "Ready")
    assert job["executionArn"] == pipeline.arn(f"{job_id}-2")
    states = pipeline.entered(f"{job_id}-2")
    assert states[:4] == ["What is done?", "Check datasets", "Datasets ready?", "Start training"]
    assert not {
        "Plan photos",
        "Check photos",
        "Collect photos",
        "Request labels",
        "Prepare datasets",
        "Create datasets",
    } & set(states)
    assert pipeline.labelling_jobs() == {f"{job_id}-1": "Completed"}
    assert job["labelled"] == len(pipeline.coco["images"])
    # And a late word about the first execution changes nothing
    detail = {"executionArn": pipeline.arn(job_id), "status": "ABORTED"}
    detail["stateMachineArn"] = pipeline.outputs["StateMachineArn"]
    events.emit("aws.states", ENDED_EVENT, [], detail)
    assert pipeline.job(job_id)["status"] == "Ready"


def fail_dataset() -> None:
    rekognition.current().fail_next_dataset = "The manifest file could not be read."


def fail_training() -> None:
    rekognition.current().fail_next_training = "An internal error has occurred."


@pytest.mark.parametrize(
    ("fail", "error", "begins_at"),
    [(fail_dataset, "DatasetFailed", "Create datasets"), (fail_training, "TrainingFailed", "Check datasets")],
)
def test_failed_resources_are_created_again(
    pipeline: Pipeline, fail: Callable[[], None], error: str, begins_at: str
) -> None:
    # Given a job that failed over a dataset or a training that Rekognition could not make
    fail()
    job_id = labelled_job(pipeline, deploy=False)
    assert pipeline.reaches(job_id, "Failed")["error"] == error
    # When it is resumed
    resume(pipeline, job_id)
    # Then that alone is made anew
    job = pipeline.reaches(job_id, "Ready")
    assert pipeline.entered(f"{job_id}-2")[:2] == ["What is done?", begins_at]
    trained = {name for name, status in versions(pipeline, job_id).items() if status == "TRAINING_COMPLETED"}
    assert trained == {f"{job_id}-2"}
    assert job["projectVersionArn"].split("/")[3] == f"{job_id}-2"


# --- Dead letters ----------------------------------------------------------------------------------------------------


def test_a_failed_event_is_kept_with_its_reason_and_replayed(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Given that the end of an execution cannot be recorded, as its function may not read it
    for name, value in pipeline.aws.environment().items():
        monkeypatch.setenv(name, value)
    with broken("RecordOutcome"):
        job_id = pipeline.uploaded(*sorted(pipeline.photos.glob("*.jpg"))[:3])
        pipeline.start(job_id)
        queue = eventually(lambda: [url for url in queues(pipeline) if "RecordOutcome" in url])[0]
        eventually(lambda: letters(pipeline, queue) == 1)
    # When an operator has it sent again
    answer = CliRunner().invoke(cli, ["redeliver", "--json"])
    # Then the command says whose it was and why, and nothing of what is in it
    lines = [json.loads(line) for line in answer.stdout.splitlines()]
    (entry,) = [line for line in lines if line["job"] == job_id]
    assert (entry["function"], entry["redelivered"]) == ("RecordOutcome", True), lines
    assert "AccessDenied" in entry["reason"]
    assert "stateMachineArn" not in answer.stdout
    # And the end is recorded now, without anybody looking at the job, and the queue is empty
    eventually(lambda: record(pipeline, job_id)["Status"]["S"] == "Failed")
    assert letters(pipeline, queue) == 0
    assert "empty" in CliRunner().invoke(cli, ["redeliver", "RecordOutcome"]).stdout


def queues(pipeline: Pipeline) -> list[str]:
    return list(pipeline.aws.client("sqs").list_queues().get("QueueUrls", []))


def letters(pipeline: Pipeline, queue: str) -> int:
    attributes = pipeline.aws.client("sqs").get_queue_attributes(QueueUrl=queue, AttributeNames=["All"])["Attributes"]
    return int(attributes["ApproximateNumberOfMessages"]) + int(attributes["ApproximateNumberOfMessagesNotVisible"])


def record(pipeline: Pipeline, job_id: str) -> dict[str, Any]:
    """The job's record from the table. A read through the API would record a missed end."""
    table = pipeline.outputs["JobsTable"]
    item: dict[str, Any] = pipeline.aws.client("dynamodb").get_item(TableName=table, Key={"Id": {"S": job_id}})["Item"]
    return item


def test_a_model_that_another_overtook_does_not_go_live(local_aws: LocalAws, photos: Path, tmp_path: Path) -> None:
    # Given a deployment with low bars, and a job with a poor model that is stopped before the model is started
    bars = {"minF1": 0, "minLabelF1": 0, "maxF1Drop": 0.05}
    with deployed(local_aws, synthesize(tmp_path / "cdk.out", LOCAL_SETTINGS | bars), photos) as pipeline:
        aws = rekognition.current()
        pipeline.confuse_labels(tmp_path)
        aws.max_running_models = 0
        poor = pipeline.uploaded()
        pipeline.start(poor)
        eventually(lambda: pipeline.entered(poor)[-1:] == ["Start model"])
        stop(pipeline, poor, by="API")
        pipeline.reaches(poor, "Stopped")
        # And another job whose model goes live meanwhile
        aws.learns, aws.max_running_models = False, 2
        good = labelled_job(pipeline)
        pipeline.reaches(good, "Ready")
        live = pipeline.parameters()
        # When the first job is resumed; Then its model is not published, and the job says why
        resume(pipeline, poor)
        assert pipeline.reaches(poor, "Failed")["error"] == "EvaluationOutdated"
        assert pipeline.parameters() == live
        # And another resume evaluates the model again, with the model that is live now
        resume(pipeline, poor)
        assert "below the live model's" in pipeline.reaches(poor, "Rejected")["cause"]
        assert pipeline.parameters() == live
