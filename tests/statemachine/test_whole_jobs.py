"""Whole jobs: the real ASL on the local AWS, over HTTP, from photos to the end that each job deserves."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from deployed import TYPES, Pipeline, deployed, eventually
from PIL import Image

from ekyc.localaws.clock import clock
from ekyc.localaws.server import LocalAws
from ekyc.localaws.services import events, rekognition

LABELLING_EVENT = "SageMaker Ground Truth Labeling Job State Change"
MAIN_PATH = [
    "What is done?",
    "Plan photos",
    "Check photos",
    "Collect photos",
    "Labels supplied?",
    "Request labels",
    "Labels posted?",
    "Prepare datasets",
    "Create datasets",
    "Wait for datasets",
    "Check datasets",
    "Datasets ready?",
    "Start training",
    "Learn outlines",
    "Wait for training",
    "Check training",
    "Training done?",
    "Evaluate model",
    "Good enough?",
    "Deploy?",
    "Start model",
    "Wait for model",
    "Check model",
    "Model running?",
    "Publish model",
    "Model ready",
]


def without_repeats(names: list[str]) -> list[str]:
    """The states in the order of their first visit."""
    return list(dict.fromkeys(names))


def sizes(history: list[dict[str, Any]]) -> list[int]:
    """The size of every state's input and output, in bytes."""
    return [
        len(details[key])
        for event in history
        for details in event.values()
        if isinstance(details, dict)
        for key in ("input", "output")
        if isinstance(details.get(key), str)
    ]


def test_photos_become_a_running_model_that_finds_documents(pipeline: Pipeline) -> None:
    # Given a job with photos, from which a model learns
    rekognition.current().learns = True
    job_id = pipeline.uploaded()
    # When it is started and people have labelled the photos
    answer = pipeline.start(job_id)
    job = pipeline.reaches(job_id, "Ready")
    # Then start answered the labelling job's ARN, bare, and the execution's in a header
    assert answer.text == f"arn:aws:sagemaker:us-east-1:123456789012:labeling-job/{job_id}-1"
    assert answer.headers["X-Execution-Arn"] == pipeline.arn(job_id)
    # And the execution went the main path, each visit with AWS's number of events
    assert without_repeats(pipeline.entered(job_id)) == MAIN_PATH
    history = pipeline.history(job_id)
    assert [event["id"] for event in history] == list(range(1, len(history) + 1))
    assert history[-1]["type"] == "ExecutionSucceeded"
    # And no state took or returned anything that grows with the photos
    assert max(sizes(history)) < 6000
    # And the parameters name the model, which runs
    assert pipeline.parameters() == {"ProjectParameter": job["projectArn"], "ModelParameter": job["projectVersionArn"]}
    assert pipeline.http.get("model").json()["projectVersionArn"] == job["projectVersionArn"]
    # And it finds the documents of the photos
    found = 0
    names = {category["id"]: category["name"] for category in pipeline.coco["categories"]}
    files = {image["id"]: image["file_name"] for image in pipeline.coco["images"]}
    for annotation in pipeline.coco["annotations"]:
        labels = pipeline.aws.client("rekognition").detect_custom_labels(
            ProjectVersionArn=job["projectVersionArn"],
            Image={"Bytes": (pipeline.photos / files[annotation["image_id"]]).read_bytes()},
        )["CustomLabels"]
        found += names[annotation["category_id"]] in {label["Name"] for label in labels}
    assert found >= 0.9 * len(pipeline.coco["annotations"])
    # And its figures come with intervals, from Rekognition's results for each test photo
    metrics = job["metrics"]
    assert metrics["intervals"]["f1"]["low"] < metrics["f1"] <= metrics["intervals"]["f1"]["high"]
    assert metrics["inWords"].startswith(f"{job['testImages']} test photos: F1 {metrics['f1']:.2f}, between ")
    # And neither the token nor a presigned URL was ever logged
    scheduled = (event.get("taskScheduledEventDetails", {}).get("parameters", "{}") for event in history)
    tokens = {token for text in scheduled if (token := json.loads(text).get("Payload", {}).get("taskToken"))}
    assert tokens
    assert not [token for token in tokens if token in pipeline.logs()]
    assert "Signature=" not in pipeline.logs()
    assert "TaskToken" not in json.dumps(job)


def test_a_model_below_the_bar_is_rejected_and_not_started(pipeline: Pipeline, tmp_path: Path) -> None:
    # Given people who label every document as some other type, with no system
    pipeline.confuse_labels(tmp_path)
    # When a job is held against a high bar
    job_id = pipeline.uploaded()
    pipeline.start(job_id, minF1=0.99)
    job = pipeline.reaches(job_id, "Rejected")
    # Then the execution failed with the figures in its cause, and the job says the same
    execution = pipeline.execution(job_id)
    assert execution["status"] == "FAILED"
    assert execution["error"] == job["error"] == "ModelRejected"
    assert execution["cause"] == job["cause"]
    assert "0.99" in job["cause"]
    # And no model runs or is published
    assert pipeline.entered(job_id)[-1] == "Model rejected"
    assert set(pipeline.parameters().values()) == {"default"}


def test_failed_labelling_ends_the_job_and_a_resume_repeats_it(pipeline: Pipeline) -> None:
    # Given a labelling job that Ground Truth fails
    pipeline.aws.workforce.fail_next_job("No worker took a task.")
    job_id = pipeline.uploaded()
    pipeline.start(job_id, deploy=False)
    # Then the job ends at the stage that found out, and the cause says how to read the service's words
    job = pipeline.reaches(job_id, "Failed")
    assert (job["error"], job["stage"]) == ("LabellingFailed", "Request labels")
    command = re.search(r"describe-labeling-job --labeling-job-name (\S+) --query FailureReason", job["cause"])
    assert command, job["cause"]
    described = pipeline.aws.client("sagemaker").describe_labeling_job(LabelingJobName=command[1])
    assert described["FailureReason"] == "No worker took a task."
    assert job["cause"] in pipeline.execution(job_id)["cause"]
    # When it is resumed
    assert pipeline.http.post(f"jobs/{job_id}/resume").status_code == 200
    # Then a second labelling job is made, the photos are not checked again, and the model is trained
    pipeline.reaches(job_id, "Ready")
    assert pipeline.labelling_jobs() == {f"{job_id}-1": "Failed", f"{job_id}-2": "Completed"}
    assert pipeline.entered(job_id).count("Check photos") == 1
    assert "Start model" not in pipeline.entered(job_id)


def test_stopped_labelling_ends_the_job(pipeline: Pipeline) -> None:
    # Given a job whose photos no worker labels
    pipeline.aws.workforce.stop_answering()
    job_id = pipeline.uploaded()
    pipeline.start(job_id)
    pipeline.reaches(job_id, "Labelling")
    # When the labelling job is stopped in SageMaker
    pipeline.aws.client("sagemaker").stop_labeling_job(LabelingJobName=f"{job_id}-1")
    # Then the job says so
    job = pipeline.reaches(job_id, "Failed")
    assert (job["error"], job["stage"]) == ("LabellingStopped", "Request labels")


def is_labelling(event: dict[str, Any]) -> bool:
    """Whether Ground Truth sent the event."""
    return event["detail-type"] == LABELLING_EVENT


def test_a_lost_labelling_event_is_found_by_the_heartbeat(pipeline: Pipeline) -> None:
    # Given that Ground Truth's event gets lost
    lost = []

    def lose(event: dict[str, Any], deliver: Callable[[], Any]) -> None:
        if is_labelling(event):
            lost.append(event)
        else:
            deliver()

    clock.speed = 7200.0  # the heartbeat of six hours takes three seconds
    with events.intercepted(lose):
        job_id = pipeline.uploaded()
        pipeline.start(job_id, deploy=False)
        eventually(lambda: lost)
        assert pipeline.entered(job_id)[-1] == "Request labels"
        # When the heartbeat is missed
        eventually(lambda: "Prepare datasets" in pipeline.entered(job_id))
    # Then the task ran again, looked itself, and the one labelling job served
    assert [event["detail"]["LabelingJobStatus"] for event in lost] == ["Completed"]
    assert "TaskTimedOut" in [event["type"] for event in pipeline.history(job_id)]
    assert pipeline.labelling_jobs() == {f"{job_id}-1": "Completed"}


def test_a_doubled_labelling_event_resumes_once(pipeline: Pipeline) -> None:
    # Given that every event of Ground Truth comes twice
    delivered = []

    def double(event: dict[str, Any], deliver: Callable[[], Any]) -> None:
        deliver()
        if is_labelling(event):
            delivered.append(deliver)
            deliver()

    with events.intercepted(double):
        job_id = pipeline.uploaded()
        pipeline.start(job_id, deploy=False)
        # Then the job goes on as if it had come once
        job = pipeline.reaches(job_id, "Ready")
    assert delivered
    assert pipeline.entered(job_id).count("Prepare datasets") == 1
    assert job["projectVersionArn"]
    # And when it comes once more, long after
    delivered[0]()
    # Then nothing changes
    assert pipeline.job(job_id)["status"] == "Ready"
    assert pipeline.execution(job_id)["status"] == "SUCCEEDED"


def test_an_event_before_the_token_is_stored_does_no_harm(pipeline: Pipeline) -> None:
    # Given a job that has not been started, so that no token is stored
    job_id = pipeline.uploaded()
    seen = []

    def watch(event: dict[str, Any], deliver: Callable[[], Any]) -> None:
        if is_labelling(event):
            seen.append(event)
        deliver()

    # When an event for its labelling job comes
    arn = f"arn:aws:sagemaker:us-east-1:123456789012:labeling-job/{job_id}-1"
    with events.intercepted(watch):
        events.emit("aws.sagemaker", LABELLING_EVENT, [arn], {"LabelingJobStatus": "Completed"})
        assert seen
        # Then the job can be started and labelled all the same
        pipeline.start(job_id, deploy=False)
        pipeline.reaches(job_id, "Ready")
    assert len(seen) == 2


def test_supplied_coco_labels_need_no_labelling_job(pipeline: Pipeline) -> None:
    # Given a job with photos and a COCO file
    job_id = pipeline.uploaded()
    pipeline.upload(job_id, pipeline.photos / "annotations.json")
    # When it is started with these labels
    answer = pipeline.start(job_id, labels={"provider": "supplied", "key": "annotations.json"}, deploy=False)
    # Then start answers the execution's ARN, and the job ends without anybody having labelled
    assert answer.text == pipeline.arn(job_id)
    pipeline.reaches(job_id, "Ready")
    assert "Request labels" not in pipeline.entered(job_id)
    assert pipeline.labelling_jobs() == {}
    # And the labels are those of the file
    lines = [json.loads(line) for line in pipeline.read(f"manifests/{job_id}/train.manifest").splitlines()]
    assert set(lines[0]) == {"source-ref", "doctype", "doctype-metadata"}
    assert set(lines[0]["doctype-metadata"]["class-map"].values()) == set(TYPES)


def test_labels_can_be_posted_while_the_machine_waits_for_them(pipeline: Pipeline) -> None:
    # Given a job that waits for labels from elsewhere
    job_id = pipeline.uploaded()
    pipeline.start(job_id, labels={"provider": "supplied"}, deploy=False)
    pipeline.reaches(job_id, "WaitingForLabelling")
    # When a labels file is posted that was not uploaded, then it is refused and nothing is lost
    missing = pipeline.http.post(f"jobs/{job_id}/labels", json={"key": "annotations.json"})
    assert missing.status_code == 422
    # When it is uploaded and posted
    pipeline.upload(job_id, pipeline.photos / "annotations.json")
    posted = eventually(
        lambda: (
            (answer := pipeline.http.post(f"jobs/{job_id}/labels", json={"key": "annotations.json"})).is_success
            and answer
        )
    )
    # Then the job goes on to its end
    assert posted.status_code == 200
    pipeline.reaches(job_id, "Ready")
    visited = without_repeats(pipeline.entered(job_id))
    assert visited[:9] == [
        "What is done?",
        "Plan photos",
        "Check photos",
        "Collect photos",
        "Labels supplied?",
        "Request labels",
        "Labels posted?",
        "Import labels",
        "Prepare datasets",
    ]


def test_a_second_start_is_refused_and_the_job_goes_on(pipeline: Pipeline) -> None:
    # Given a started job
    job_id = pipeline.uploaded()
    pipeline.start(job_id, deploy=False)
    # When it is started again
    again = pipeline.start(job_id, deploy=False)
    # Then that is a conflict, in words, and there is one execution, which ends well
    assert again.status_code == 409
    assert again.headers["content-type"] == "application/problem+json"
    assert job_id in again.json()["detail"] or "started" in again.json()["detail"]
    listed = pipeline.aws.client("stepfunctions").list_executions(stateMachineArn=pipeline.outputs["StateMachineArn"])
    assert [execution["name"] for execution in listed["executions"]] == [job_id]
    pipeline.reaches(job_id, "Ready")


def test_a_stop_during_labelling_and_a_resume_label_again(pipeline: Pipeline) -> None:
    # Given a job that people have yet to label
    pipeline.aws.workforce.stop_answering()
    job_id = pipeline.uploaded()
    pipeline.start(job_id, deploy=False)
    pipeline.reaches(job_id, "Labelling")
    # When it is stopped, twice
    assert pipeline.http.post(f"jobs/{job_id}/stop").status_code == 200
    assert pipeline.http.post(f"jobs/{job_id}/stop").status_code == 200
    # Then the execution is aborted, the labelling job stopped and the job says so
    pipeline.reaches(job_id, "Stopped")
    assert pipeline.execution(job_id)["status"] == "ABORTED"
    eventually(lambda: pipeline.labelling_jobs() == {f"{job_id}-1": "Stopped"})
    # And when people are back and it is resumed, then it ends
    pipeline.aws.workforce.answer_from(pipeline.photos / "annotations.json", unanswered_share=0)
    assert pipeline.http.post(f"jobs/{job_id}/resume").status_code == 200
    pipeline.reaches(job_id, "Ready")


def test_a_job_that_finds_no_training_slot_waits_its_turn(pipeline: Pipeline) -> None:
    # Given an account whose training slots are all in use
    rekognition.current().max_trainings = 0
    job_id = pipeline.uploaded()
    pipeline.start(job_id, deploy=False)
    # Then the job asks again and again, at Start training
    failures = eventually(
        lambda: [
            e
            for e in pipeline.history(job_id)
            if e.get("taskFailedEventDetails", {}).get("error") == "TrainingSlotsBusy"
        ]
    )
    assert pipeline.entered(job_id)[-1] == "Start training"
    assert failures
    assert pipeline.job(job_id)["status"] == "Training"
    # When a slot is free, then it trains, as one version
    rekognition.current().max_trainings = 2
    job = pipeline.reaches(job_id, "Ready")
    versions = pipeline.aws.client("rekognition").describe_project_versions(ProjectArn=job["projectArn"])
    assert [one["ProjectVersionArn"] for one in versions["ProjectVersionDescriptions"]] == [job["projectVersionArn"]]


def test_a_new_model_remembers_the_one_before_it(local_aws: LocalAws, lenient_assembly: Path, photos: Path) -> None:
    # Given a deployment that stops the model that a new one replaces, and a live model
    with deployed(local_aws, lenient_assembly, photos) as pipeline:
        first = pipeline.uploaded()
        pipeline.start(first)
        before = pipeline.reaches(first, "Ready")
        # When a second job is published
        second = pipeline.uploaded()
        pipeline.start(second)
        after = pipeline.reaches(second, "Ready")
        # Then the parameters name the new model, the job the old one, and the old one stops
        assert pipeline.parameters()["ModelParameter"] == after["projectVersionArn"]
        assert after["previousModel"] == before["projectVersionArn"]
        rekognition_client = pipeline.aws.client("rekognition")

        def status() -> str:
            versions = rekognition_client.describe_project_versions(ProjectArn=before["projectArn"])
            return versions["ProjectVersionDescriptions"][0]["Status"]

        eventually(lambda: status() == "STOPPED")


def test_bad_photos_are_listed_and_the_job_continues(pipeline: Pipeline, tmp_path: Path) -> None:
    # Given photos among which there are a text file, a tiny photo and a photo that is there twice
    (tmp_path / "note.jpg").write_text("not a photo")
    Image.new("RGB", (63, 200)).save(tmp_path / "tiny.jpg")
    good = sorted(pipeline.photos.glob("*.jpg"))
    (tmp_path / "twin.jpg").write_bytes(good[0].read_bytes())
    job_id = pipeline.uploaded(*good, *sorted(tmp_path.iterdir()))
    # When the job is started
    pipeline.start(job_id, deploy=False)
    job = pipeline.reaches(job_id, "Ready")
    # Then the bad ones are left out, each with its reason
    rejected = [json.loads(line) for line in pipeline.read(f"manifests/{job_id}/rejected.jsonl").splitlines()]
    reasons = {line["source-ref"].rpartition("/")[2]: line["reason"] for line in rejected}
    assert set(reasons) == {"note.jpg", "tiny.jpg", "twin.jpg"}
    assert "63" in reasons["tiny.jpg"]
    assert good[0].name in reasons["twin.jpg"]
    assert job["rejected"] == 3


def test_too_few_photos_end_the_job_with_the_count_and_the_limit(pipeline: Pipeline) -> None:
    # Given a job with three photos
    job_id = pipeline.uploaded(*sorted(pipeline.photos.glob("*.jpg"))[:3])
    pipeline.start(job_id)
    # Then it fails at Collect photos and says how many there are and how many are needed, in both places
    job = pipeline.reaches(job_id, "Failed")
    assert (job["error"], job["stage"]) == ("NotEnoughImages", "Collect photos")
    assert "3" in job["cause"]
    assert "10" in job["cause"]
    assert job["cause"] in json.loads(pipeline.execution(job_id)["cause"])["errorMessage"]


def test_labels_of_an_unknown_type_fail_the_import_by_name(pipeline: Pipeline, tmp_path: Path) -> None:
    # Given a COCO file with a type that the job does not train
    coco = pipeline.coco
    coco["categories"][0]["name"] = "LIBRARY_CARD"
    labels = tmp_path / "labels.json"
    labels.write_text(json.dumps(coco))
    job_id = pipeline.uploaded()
    pipeline.upload(job_id, labels)
    # When the job is started with it
    pipeline.start(job_id, labels={"provider": "supplied", "key": "labels.json"}, deploy=False)
    # Then it fails where the file was read
    job = pipeline.reaches(job_id, "Failed")
    assert (job["error"], job["stage"]) == ("LabelsInvalid", "Import labels")
    # And the cause says where, and the list in the bucket what is wrong
    assert "UnknownType" in job["cause"]
    assert "LIBRARY_CARD" not in job["cause"]
    assert "labels.json" not in job["cause"]
    assert "'LIBRARY_CARD' is not one of the job's document types" in pipeline.read(
        f"manifests/{job_id}/label-problems.jsonl"
    )
    # When a corrected file takes its place and the job is resumed
    labels.write_text((pipeline.photos / "annotations.json").read_text())
    pipeline.upload(job_id, labels)
    assert pipeline.http.post(f"jobs/{job_id}/resume").status_code == 200
    # Then it goes on from there to its end
    pipeline.reaches(job_id, "Ready")
    assert pipeline.entered(job_id).count("Check photos") == 1
