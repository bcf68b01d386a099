"""Messages, events and metrics while whole jobs run on the local AWS, and the findings of WatchRunning."""

import json
from pathlib import Path
from typing import Any

import pytest
from deployed import Pipeline, eventually

from ekyc.localaws.aws import account, region

JOB_METRICS = {
    ("CollectPhotos", "Images"),
    ("CollectPhotos", "Rejected"),
    ("PrepareDatasets", "LabellingTime"),
    ("PrepareDatasets", "TrainImages"),
    ("CheckDatasets", "DatasetTime"),
    ("CheckTraining", "TrainingTime"),
    ("CheckTraining", "BilledTrainingTime"),
    ("EvaluateModel", "F1"),
    ("CheckModel", "ModelStartupTime"),
    ("RecordOutcome", "Ready"),
    ("RecordOutcome", "JobTime"),
}
BESIDE_METRICS = {"_aws", "service", "job_id"}


class Listener:
    """A queue that a rule fills with the pipeline's own events, and the topic's messages."""

    def __init__(self, pipeline: Pipeline) -> None:
        self._pipeline = pipeline
        self._sqs = pipeline.aws.client("sqs")
        self._queue = self._sqs.create_queue(QueueName="outcomes")["QueueUrl"]
        self.arrived: list[dict[str, Any]] = []
        bridge = pipeline.aws.client("events")
        bridge.put_rule(Name="outcomes", EventPattern=json.dumps({"source": ["ekyc.training"]}))
        arn = f"arn:aws:sqs:{region}:{account}:outcomes"
        bridge.put_targets(Rule="outcomes", Targets=[{"Id": "queue", "Arn": arn}])

    def events(self) -> dict[str, dict[str, Any]]:
        """The events that have arrived, by detail-type."""
        got = self._sqs.receive_message(QueueUrl=self._queue, MaxNumberOfMessages=10).get("Messages", [])
        for message in got:
            self._sqs.delete_message(QueueUrl=self._queue, ReceiptHandle=message["ReceiptHandle"])
        self.arrived += [json.loads(message["Body"]) for message in got]
        return {event["detail-type"]: event for event in self.arrived}

    def event(self, kind: str) -> dict[str, Any]:
        """The event of this detail-type, once it has arrived."""
        return dict(eventually(lambda: self.events().get(kind)))

    def message(self, subject: str) -> str:
        """The one message with this subject, once the topic has it."""

        def there() -> list[str]:
            return [text for found, text in self.messages() if found == subject]

        (text,) = eventually(there)
        return str(text)

    def messages(self) -> list[tuple[str, str]]:
        """Subject and text of all that the topic got."""
        from moto.sns import sns_backends

        topic = sns_backends[account][region].topics[self._pipeline.outputs["NotificationsTopicArn"]]
        return [(subject, message) for _, message, subject, *_ in topic.sent_notifications]


@pytest.fixture
def listener(pipeline: Pipeline) -> Listener:
    return Listener(pipeline)


def metric_lines(pipeline: Pipeline) -> list[dict[str, Any]]:
    """The lines in the functions' logs of which CloudWatch makes metrics."""
    lines = [line for line in pipeline.logs().splitlines() if line.startswith('{"_aws"')]
    return [json.loads(line) for line in lines]


def measured(pipeline: Pipeline) -> set[tuple[str, str]]:
    """Service and name of each metric."""
    return {
        (line["service"], metric["Name"])
        for line in metric_lines(pipeline)
        for metric in line["_aws"]["CloudWatchMetrics"][0]["Metrics"]
    }


def run_watch(pipeline: Pipeline, **event: bool) -> dict[str, Any]:
    """Invoke the deployed function as its schedule does; Lambda's answer."""
    functions = pipeline.aws.client("lambda")
    (name,) = (
        function["FunctionName"]
        for page in functions.get_paginator("list_functions").paginate()
        for function in page["Functions"]
        if function["Handler"] == "events.watch_running.handler"
    )
    answer = functions.invoke(FunctionName=name, Payload=json.dumps(event))
    assert "FunctionError" not in answer, answer["Payload"].read()
    return dict(answer)


def test_a_ready_job_is_notified_measured_and_reminded(pipeline: Pipeline, listener: Listener, assembly: Path) -> None:
    # Given a job whose photos people label and whose model goes live
    job_id = pipeline.uploaded()
    pipeline.start(job_id)
    job = pipeline.reaches(job_id, "Ready")

    # Then a rule's queue gets both outcomes with the figures that the API shows
    labelled, ready = listener.event("Training Job Labelled"), listener.event("Training Job Ready")
    assert labelled["resources"] == ready["resources"] == [pipeline.arn(job_id)]
    assert labelled["detail"]["labellingJob"] == f"{job_id}-1"
    assert labelled["detail"]["figures"]["labelled"] == job["labelled"]
    assert ready["detail"]["figures"]["f1"] == job["metrics"]["f1"]
    assert ready["detail"]["projectVersionArn"] == pipeline.parameters()["ModelParameter"]
    # And the topic has one message of each
    assert f"Labelled: {job['labelled']}" in listener.message(f"eKYC training labelled: {job_id}")
    assert "costs 4.00 USD an hour" in listener.message(f"eKYC training Ready: {job_id}")
    assert len(listener.messages()) == 2

    # When the watch runs by the hour and in the morning
    run_watch(pipeline, remind=False)
    run_watch(pipeline, remind=True)
    # Then it reminds of the model, once
    text = listener.message("eKYC models running: 1, 4.00 USD an hour")
    (row,) = (line.split() for line in text.splitlines() if line.startswith(job_id))
    assert row[-3:] == ["1", "4.00", "yes"]
    assert len(listener.messages()) == 3

    # And CloudWatch gets what alarms and dashboard look at, under the names that the template has
    found = eventually(lambda: measured(pipeline) if measured(pipeline) >= JOB_METRICS else None)
    template = json.loads((assembly / "ekyc-training.template.json").read_text())["Resources"].values()
    own = {
        (metric["Dimensions"][0]["Value"], metric["MetricName"])
        for metric in (one["Properties"] for one in template if one["Type"] == "AWS::CloudWatch::Alarm")
        if metric.get("Namespace") == "ekyc-training"
    }
    (dashboard,) = (one["Properties"] for one in template if one["Type"] == "AWS::CloudWatch::Dashboard")
    body = "".join(part if isinstance(part, str) else "x" for part in dashboard["DashboardBody"]["Fn::Join"][1])
    own |= {
        (metric[3], metric[1])
        for widget in json.loads(body)["widgets"]
        for metric in widget["properties"].get("metrics", [])
        if metric[0] == "ekyc-training"
    }
    assert len(own) > 20
    # (no stage of this job imported labels: they came from people; and the local model learns nothing, nor do outlines)
    assert own - found == {("ImportLabels", "Retries"), ("LearnOutlines", "Retries")}

    # And a line of metrics holds the job's id and figures, nothing else, and no photo's name
    names = {path.name for path in pipeline.photos.iterdir()}
    for line in metric_lines(pipeline):
        (directive,) = line["_aws"]["CloudWatchMetrics"]
        assert (directive["Namespace"], directive["Dimensions"]) == ("ekyc-training", [["service"]])
        assert set(line) - {metric["Name"] for metric in directive["Metrics"]} <= BESIDE_METRICS
        assert line.get("job_id", job_id) == job_id
        assert not [name for name in names if name in json.dumps(line)]
    assert not [name for name in names if name in json.dumps([listener.events(), listener.messages()])]


def test_the_notice_of_a_rejected_model_has_its_figures(pipeline: Pipeline, listener: Listener, tmp_path: Path) -> None:
    # Given people who label every document as some other type, with no system
    pipeline.confuse_labels(tmp_path)
    # When a job is held against a high bar
    job_id = pipeline.uploaded()
    pipeline.start(job_id, minF1=0.99)
    pipeline.reaches(job_id, "Rejected")
    # Then message and event say which figures fell short
    detail = listener.event("Training Job Rejected")["detail"]
    assert detail["reasons"]
    text = listener.message(f"eKYC training Rejected: {job_id}")
    for reason in detail["reasons"]:
        assert f"- {reason}" in text.splitlines()
    assert f"F1: {detail['figures']['f1']:.4g}" in text


def test_the_notice_of_a_failed_job_has_stage_and_cause(pipeline: Pipeline, listener: Listener) -> None:
    # Given a job with too few photos
    job_id = pipeline.uploaded(*sorted(pipeline.photos.glob("*.jpg"))[:3])
    pipeline.start(job_id)
    job = pipeline.reaches(job_id, "Failed")
    # Then message and event say where it failed and why, in the words of the record
    detail = listener.event("Training Job Failed")["detail"]
    assert (detail["stage"], detail["error"], detail["cause"]) == ("Collect photos", "NotEnoughImages", job["cause"])
    text = listener.message(f"eKYC training Failed: {job_id}")
    assert f"It failed at the stage Collect photos with NotEnoughImages: {job['cause']}" in text.splitlines()
