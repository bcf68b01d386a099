"""Histories of the training state machine, event by event as Step Functions writes them, for tests and benchmarks.

Which events a visit of a state leaves is from histories recorded at AWS: a Lambda task five, a callback six, Wait and
Choice two, a failed attempt three.
"""

import hashlib
import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

from tests.unit.conftest import BUCKET

JOB = "ekyc-20261124015324-9f3c0a1b2c3d4e5f"
MACHINE = "arn:aws:states:us-east-1:123456789012:stateMachine:ekyc-training"
EXECUTION = f"arn:aws:states:us-east-1:123456789012:execution:ekyc-training:{JOB}"
REJECTED = "".join(
    json.dumps({"source-ref": f"s3://{BUCKET}/images/{JOB}/anna-{n}.jpg", "reason": "like anna-0.jpg", "code": code})
    + "\n"
    for n, code in enumerate(("SideTooLong", "SideTooLong", "Duplicate"))
)
"""The list of rejected photos, whose hash the history of `live_model` has."""
REJECTED_SHA256 = hashlib.sha256(REJECTED.encode()).hexdigest()
TOKEN = "AQCEAAAAKgAAAAMAAAAAAAAAAe" + "x7Zr3Q9k" * 60 + "=="
STARTED = datetime(2026, 11, 24, 1, 53, 24, tzinfo=UTC)


class History:
    """Writes events one after the other; each takes ``step``."""

    def __init__(self, step: timedelta = timedelta(milliseconds=20)) -> None:
        self.events: list[dict[str, Any]] = []
        self.now, self._step = STARTED, step
        self._data = "{}"  # what one state hands to the next

    def add(self, kind: str, **details: Any) -> None:
        """An event with its details, whose member is named after the kind."""
        member = kind[0].lower() + kind[1:] + "EventDetails"
        if kind.endswith(("StateEntered", "StateExited")):
            member = "stateEnteredEventDetails" if kind.endswith("Entered") else "stateExitedEventDetails"
        event = {"id": len(self.events) + 1, "previousEventId": len(self.events), "type": kind, "timestamp": self.now}
        self.events.append({**event, member: details} if details else event)
        self.now += self._step

    def task(self, name: str, payload: dict[str, Any], result: Any, *failures: str, takes: float = 0.1) -> None:
        """A visit of a Task that takes ``takes`` seconds, after attempts that failed by the errors ``failures``."""
        self.add("TaskStateEntered", name=name, input=self._data)
        for error in failures:
            self._attempt(payload)
            self.fail("TaskFailed", error)
        self._attempt(payload)
        self.now += timedelta(seconds=takes)
        call = {"resource": "invoke", "resourceType": "lambda"}
        if "taskToken" in payload:
            self.add("TaskSubmitted", output=json.dumps({"Payload": {"waitsFor": "labels"}}), **call)
            self.add("TaskSucceeded", output=json.dumps(result), **call)
        else:
            answer = {"ExecutedVersion": "$LATEST", "Payload": result, "SdkHttpMetadata": {"HttpHeaders": {}}}
            self.add("TaskSucceeded", output=json.dumps(answer), **call)
        self._data = json.dumps(result)
        self.add("TaskStateExited", name=name, output=self._data)

    def _attempt(self, payload: dict[str, Any]) -> None:
        function = "arn:aws:lambda:us-east-1:123456789012:function:f"
        parameters = json.dumps({"FunctionName": function, "Payload": payload})
        self.add("TaskScheduled", parameters=parameters, region="us-east-1", resource="invoke", resourceType="lambda")
        self.add("TaskStarted", resource="invoke", resourceType="lambda")

    def fail(self, kind: str, error: str, message: str = "The service is busy.") -> None:
        """A failure of a function, as Lambda words it."""
        cause = {"errorType": error, "errorMessage": message, "stackTrace": ['  File "/var/task/stages/x.py", line 1']}
        self.add(kind, error=error, cause=json.dumps(cause))

    def map_run(self, name: str, result: Any) -> None:
        """A visit of a distributed Map state, which has as many events for any number of items."""
        run = f"arn:aws:states:us-east-1:123456789012:mapRun:ekyc-training/CheckPhotos:{JOB}"
        self.add("MapStateEntered", name=name, input=self._data)
        self.add("MapStateStarted")
        self.add("MapRunStarted", mapRunArn=run)
        self.add("MapRunSucceeded")
        self.add("MapStateSucceeded")
        self._data = json.dumps(result)
        self.add("MapStateExited", name=name, output=self._data)

    def pass_by(self, kind: str, name: str, seconds: float = 0) -> None:
        """A visit of a Wait or a Choice."""
        self.add(f"{kind}StateEntered", name=name, input=self._data)
        self.now += timedelta(seconds=seconds)
        self.add(f"{kind}StateExited", name=name, output=self._data)


def live_model(*, polls: int = 3, busy: int = 0, labelling_ended: int | None = None) -> History:
    """A job that goes live, with so many polls of its training, and attempts that found no training slot."""
    history = History()
    job = {"jobId": JOB, "labels": {"provider": "ground-truth"}, "deploy": True, "minF1": 0.8, "minLabelF1": 0.5}
    job["startedBy"] = "arn:aws:iam::123456789012:user/engineer"
    history.add("ExecutionStarted", input=json.dumps(job), roleArn="arn:aws:iam::123456789012:role/machine")
    manifest = f"s3://{BUCKET}/manifests/{JOB}"
    checked = {"manifest": f"{manifest}/input.manifest", "manifestSha256": "a" * 64}
    checked |= {"rejectedList": f"{manifest}/rejected.jsonl", "rejectedSha256": REJECTED_SHA256}
    checked |= {"rejectedCodes": {"SideTooLong": 2, "Duplicate": 1}}
    counts = {"found": 103, "accepted": 100, "rejected": 3, "duplicates": 1, "turned": 2, "cleaned": 90, "groups": 95}
    classes = {"sharpness": [0, 100, *[0] * 10], "brightness": [0, 40, 60, *[0] * 7]}
    history.task("Plan photos", {"jobId": JOB}, {"batches": 1, "photos": 103})
    history.map_run("Check photos", {"photos": 103})
    history.task("Collect photos", {"jobId": JOB}, checked | counts | classes)
    history.pass_by("Choice", "Labels supplied?")
    made = {"provider": "ground-truth", "manifest": f"s3://{BUCKET}/o", "labelled": 99, "failed": 1, "unlabelled": 0}
    if labelling_ended is not None:
        made["labellingEnded"] = labelling_ended
    history.task("Request labels", {"jobId": JOB, "taskToken": TOKEN}, made, takes=3600)
    history.pass_by("Choice", "Labels posted?")
    split = {"trainImages": 79, "testImages": 20, "dropped": 1, "droppedReasons": {"Failed": 1}}
    split |= {"leaks": 2, "shareOfFrame": [0, 0, 99, *[0] * 7]}
    split |= {"imagesPerType": [{"label": "ID_KTP", "images": 99}], "trainSha256": "b" * 64, "testSha256": "c" * 64}
    split |= {"trainManifest": f"{manifest}/train.manifest", "testManifest": f"{manifest}/test.manifest"}
    split |= {"labelsManifest": f"s3://{BUCKET}/o", "labelsSha256": "d" * 64}
    history.task("Prepare datasets", {"jobId": JOB}, split)
    history.task("Create datasets", {"jobId": JOB}, {"projectArn": "arn:aws:rekognition:us-east-1:123456789012:p"})
    model = {"projectVersionArn": f"arn:aws:rekognition:us-east-1:123456789012:project/{JOB}/version/{JOB}/1"}
    history.task("Start training", {"jobId": JOB}, model, *["TrainingSlotsBusy"] * busy)
    outlines = {"file": f"s3://{BUCKET}/outlines/{JOB}/{JOB}.outlines", "sha256": "e" * 64, "types": 1, "learned": 1}
    outlines |= {"testDocuments": 20, "outlined": 19, "boxIou": 0.98, "polygons": 0, "polygonIou": None}
    history.task("Learn outlines", {"jobId": JOB}, outlines | {"cornerError": None, "unread": 0, "byType": []})
    for poll in range(1, polls + 1):
        history.pass_by("Wait", "Wait for training", 30)
        asked = {"jobId": JOB, "poll": poll, "versionName": JOB, "waitingSince": 1795487604000}
        status = {"completed": poll == polls, "status": "TRAINING_IN_PROGRESS", "message": "The model is in training."}
        history.task("Check training", asked, status)
        history.pass_by("Choice", "Training done?")
    figures = {"f1": 0.97, "precision": 0.98, "recall": 0.96}
    label = figures | {"label": "ID_KTP", "threshold": 0.5, "testingImages": 20}
    evaluated = figures | {"passed": True, "labels": [label], "liveModel": None, "liveF1": None, "reasons": []}
    bars = {"minF1": 0.8, "minLabelF1": 0.5, "maxF1Drop": 0.05}
    # Asked with bars that any model passes, past the API; the state's answer has those that it applied.
    history.task("Evaluate model", {"jobId": JOB, "minF1": 0, "minLabelF1": 0, "maxF1Drop": 1}, evaluated | bars)
    history.pass_by("Choice", "Good enough?")
    history.pass_by("Choice", "Deploy?")
    history.task("Start model", {"jobId": JOB}, {"status": "STARTING"})
    published = {"projectVersionArn": model["projectVersionArn"], "previousModel": None, "previousStopped": False}
    history.task("Publish model", {"jobId": JOB}, published)
    history.pass_by("Succeed", "Model ready")
    history.add("ExecutionSucceeded", output="{}")
    return history


class StepFunctions:
    """Answers about one execution from its history."""

    def __init__(self, history: History, definition: str, status: str = "SUCCEEDED") -> None:
        self._history, self._definition, self._status = history, definition, status

    def describe_execution(self, executionArn: str) -> dict[str, Any]:  # noqa: N803
        events = self._history.events
        return {
            "executionArn": executionArn,
            "stateMachineArn": MACHINE,
            "name": executionArn.rpartition(":")[2],
            "status": self._status,
            "input": events[0]["executionStartedEventDetails"]["input"],
            "startDate": events[0]["timestamp"],
            **({} if self._status == "RUNNING" else {"stopDate": events[-1]["timestamp"]}),
        }

    def describe_state_machine_for_execution(self, executionArn: str) -> dict[str, Any]:  # noqa: ARG002, N803
        return {"definition": self._definition}

    def get_paginator(self, _operation: str) -> "StepFunctions":
        return self

    def paginate(self, **_: Any) -> Iterator[dict[str, Any]]:
        for first in range(0, len(self._history.events), 1000):
            yield {"events": self._history.events[first : first + 1000]}
