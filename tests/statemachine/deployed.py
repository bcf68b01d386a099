"""The pipeline deployed on the local AWS, driven over HTTP as a client drives it."""

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
from moto.dynamodb.models import dynamodb_backends

from ekyc.localaws.aws import account, region
from ekyc.localaws.clock import clock
from ekyc.localaws.server import LocalAws
from ekyc.localaws.services import functions, rekognition
from tests.waiting import ENOUGH

TYPES = ("AU_PASSPORT", "ID_KTP", "THAI_ID_BACK")
ENDED = {"Ready", "Rejected", "Failed", "Stopped"}


def eventually(condition: Callable[[], Any], seconds: float = ENOUGH) -> Any:
    """Wait until ``condition`` returns something true, and return it; asks less and less often.

    While the local AWS answers, its clock goes no faster than a real one, so who asks often waits long.
    """
    deadline, pause = time.monotonic() + seconds, 0.02
    while not (result := condition()):
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(pause)
        pause = min(pause * 1.3, 0.4)
    return result


@dataclass(frozen=True)
class Pipeline:
    """A client of the deployed pipeline: the HTTP API, and AWS as an operator sees it."""

    aws: LocalAws
    http: httpx.Client
    outputs: dict[str, str]
    photos: Path

    @property
    def coco(self) -> dict[str, Any]:
        """The annotations of the photos."""
        return json.loads((self.photos / "annotations.json").read_text())

    def confuse_labels(self, folder: Path) -> None:
        """Have people label every document as some other type, with no system, and Rekognition learn from them."""
        coco = self.coco
        for place, annotation in enumerate(coco["annotations"]):
            annotation["category_id"] = coco["categories"][place * 7 // 3 % 3]["id"]
        confused = folder / "annotations.json"
        confused.write_text(json.dumps(coco))
        self.aws.workforce.answer_from(confused, unanswered_share=0)
        rekognition.current().learns = True

    def uploaded(self, *files: Path) -> str:
        """A new job with ``files``, or all photos, uploaded; its id."""
        job_id = self.http.post("create").json()["id"]
        self.upload(job_id, *(files or sorted(self.photos.glob("*.jpg"))))
        return job_id

    def upload(self, job_id: str, *files: Path) -> None:
        """Upload ``files`` through presigned URLs."""
        answer = self.http.post(f"jobs/{job_id}/urls", json={"names": [path.name for path in files]})
        assert answer.status_code == 200, answer.text
        targets = answer.json()
        for path in files:
            target = targets[path.name]
            put = self.http.put(target["url"], headers=target["headers"], content=path.read_bytes())
            assert put.status_code == 200, put.text

    def start(self, job_id: str, **options: Any) -> httpx.Response:
        """Start the job for our three document types, by default with labels of Ground Truth."""
        body = {"documentTypes": list(TYPES), "labels": {"provider": "ground-truth"}, **options}
        return self.http.post("start", params={"JobId": job_id}, json=body)

    def job(self, job_id: str) -> dict[str, Any]:
        """What the API says of the job."""
        return self.http.get(f"jobs/{job_id}").json()

    def reaches(self, job_id: str, *statuses: str) -> dict[str, Any]:
        """The job once it has one of ``statuses``; fails when it ends in another."""

        def there() -> dict[str, Any] | None:
            self._wait_for_record(job_id, {*statuses, *ENDED})
            job = self.job(job_id)
            assert job["status"] in statuses or job["status"] not in ENDED, job
            return job if job["status"] in statuses else None

        return eventually(there)

    def _wait_for_record(self, job_id: str, statuses: set[str], seconds: float = 1.0) -> None:
        """Wait some time for the job's record to have one of ``statuses``. It is read from moto's memory: each question
        to the API runs a function, which takes as long as some states."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            record = dynamodb_backends[account][region].get_item(self.outputs["JobsTable"], {"Id": {"S": job_id}})
            if record and record.attrs["Status"].value in statuses:
                return
            time.sleep(0.01)

    def execution(self, job_id: str) -> dict[str, Any]:
        """The execution as Step Functions describes it."""
        return self.aws.client("stepfunctions").describe_execution(executionArn=self.arn(job_id))

    def history(self, job_id: str) -> list[dict[str, Any]]:
        """All events of the execution."""
        pages = self.aws.client("stepfunctions").get_paginator("get_execution_history")
        return [event for page in pages.paginate(executionArn=self.arn(job_id)) for event in page["events"]]

    def batches(self, job_id: str) -> list[str]:
        """The ARNs of the executions that check the job's batches of photos."""
        steps = self.aws.client("stepfunctions")
        runs = steps.list_map_runs(executionArn=self.arn(job_id))["mapRuns"]
        return [
            batch["executionArn"]
            for run in runs
            for batch in steps.list_executions(mapRunArn=run["mapRunArn"])["executions"]
        ]

    def batch_events(self, job_id: str) -> list[dict[str, Any]]:
        """All events of the executions that check the job's batches of photos."""
        steps = self.aws.client("stepfunctions")
        return [
            event for arn in self.batches(job_id) for event in steps.get_execution_history(executionArn=arn)["events"]
        ]

    def entered(self, job_id: str) -> list[str]:
        """The states entered, in order, each as often as it was."""
        details = (event.get("stateEnteredEventDetails") for event in self.history(job_id))
        return [entry["name"] for entry in details if entry]

    def last_arn(self, job_id: str) -> str:
        """The ARN of the job's last execution."""
        return str(self.job(job_id)["executionArn"])

    def arn(self, job_id: str) -> str:
        """The ARN of the execution of this name; a job's first one has the job's id."""
        return self.outputs["StateMachineArn"].replace(":stateMachine:", ":execution:") + f":{job_id}"

    def labelling_jobs(self) -> dict[str, str]:
        """All labelling jobs with their status."""
        found = self.aws.client("sagemaker").list_labeling_jobs()["LabelingJobSummaryList"]
        return {job["LabelingJobName"]: job["LabelingJobStatus"] for job in found}

    def parameters(self) -> dict[str, str]:
        """The two parameters that document-checking services read, by output name."""
        names = {output: self.outputs[output] for output in ("ProjectParameter", "ModelParameter")}
        ssm = self.aws.client("ssm")
        return {output: ssm.get_parameter(Name=name)["Parameter"]["Value"] for output, name in names.items()}

    def read(self, key: str) -> str:
        """An object of the bucket as text."""
        return self.aws.client("s3").get_object(Bucket=self.outputs["BucketName"], Key=key)["Body"].read().decode()

    def logs(self) -> str:
        """Everything that the functions logged."""
        return "\n".join(path.read_text(errors="replace") for path in self.aws.logs_dir.glob("*"))


NO_OUTLINES = {
    "file": "s3://none/none.outlines",
    "sha256": "0" * 64,
    "types": 0,
    "learned": 0,
    "testDocuments": 0,
    "outlined": 0,
    "boxIou": None,
    "polygons": 0,
    "polygonIou": None,
    "cornerError": None,
    "unread": 0,
    "byType": [],
}
"""The answer of Learn outlines that has learned nothing."""


@contextmanager
def learning_no_outlines() -> Iterator[None]:
    """While open, Learn outlines answers at once that it learned nothing, unless Rekognition's trainings learn."""
    invoke = functions.Runtime.invoke

    def answer(self: functions.Runtime, function: Any, event: Any, *more: Any) -> functions.Answer:
        if "LearnOutlines" in function.function_name and not rekognition.current().learns:
            return functions.Answer("none", json.dumps(NO_OUTLINES), False)
        return invoke(self, function, event, *more)

    functions.Runtime.invoke = answer  # type: ignore[method-assign]
    try:
        yield
    finally:
        functions.Runtime.invoke = invoke  # type: ignore[method-assign]


@contextmanager
def deployed(aws: LocalAws, assembly: Path, photos: Path, answers: str = "annotations.json") -> Iterator[Pipeline]:
    """The pipeline in an empty local AWS, with people at work who label the photos and a Rekognition whose trainings
    learn nothing, quickly, and no outlines either; a test of what a model finds lets both learn."""
    aws.reset()
    outputs = aws.deploy(assembly)
    rekognition.current().learns = False
    speed = clock.speed
    aws.workforce.answer_from(photos / answers, unanswered_share=0)
    with learning_no_outlines(), httpx.Client(base_url=f"{aws.api_url}/api/training/", timeout=ENOUGH) as http:
        yield Pipeline(aws, http, outputs, photos)
    clock.speed = speed
    aws.workforce.stop_answering()
