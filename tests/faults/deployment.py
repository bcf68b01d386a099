"""The deployed pipeline for the fault tests: tiny photos, a training without learning, a fast clock, high quotas."""

from __future__ import annotations

import contextlib
import io
import json
import re
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
from boto3.dynamodb.types import TypeDeserializer
from moto.dynamodb.models import dynamodb_backends
from moto.s3.models import s3_backends
from moto.sns import sns_backends
from moto.ssm.models import ssm_backends
from moto.stepfunctions.parser.models import stepfunctions_parser_backends
from PIL import Image

from ekyc.localaws import aws as place
from ekyc.localaws.clock import clock
from ekyc.localaws.moto_patches import storage
from ekyc.localaws.server import LocalAws
from ekyc.localaws.services import events, functions, rekognition
from ekyc.localaws.synth import LOCAL_SETTINGS
from tests.signed_in import id_token

SPEED = 6000.0
TYPES = ("AU_PASSPORT", "ID_KTP")
LOOP = {"growth": 1.5, "ceiling": 3600, "deadline": 26 * 24 * 3600}
# The waits take some hundredths of a second of real time, so that a loop polls two or three times.
SETTINGS: Mapping[str, Any] = {
    **LOCAL_SETTINGS,
    "labelPage.reviewShare": 0.25,
    "minImages": 4,
    "stopPreviousModel": True,
    "polls": {kind: {"first": first, **LOOP} for kind, first in (("datasets", 60), ("training", 900), ("model", 300))},
}
BATCH_FAILED = "States.ExceedToleratedFailureThreshold"
ENDED = frozenset({"Ready", "Rejected", "Failed", "Stopped"})
ENOUGH = 300.0  # seconds; longer waits mean that something hangs, even on a busy machine
# The beginning, as JSON, of the event that a schedule sends to each function.
FROM_SCHEDULE = {"events.settle_job": "{}", "events.erase_job": "{}", "events.watch_running": '{"remind": '}
TRIES = 8  # how often the client sends a call that the API answers with 5xx
# The local API takes the access key as the user and checks no signature.
CALLER = {
    "Authorization": "AWS4-HMAC-SHA256 Credential=tester/20260101/us-east-1/execute-api/aws4_request, "
    "SignedHeaders=host, Signature=0"
}
TOKEN = re.compile(r'"taskToken":\s?"([^"]+)"')


class Hangs(Exception):
    """A condition was not met in time. The message says which."""


def eventually(condition: Callable[[], Any], what: str, seconds: float = ENOUGH) -> Any:
    """Wait until ``condition`` returns a true value, and return it. The pauses between the calls grow.

    While the local AWS answers a request, its clock runs in real time, so frequent requests would delay the job.

    Raises:
        Hangs: with ``what``, if ``seconds`` have passed.
    """
    deadline, pause = time.monotonic() + seconds, 0.02
    while not (result := condition()):
        if time.monotonic() > deadline:
            raise Hangs(what)
        time.sleep(pause)
        pause = min(pause * 1.3, 0.3)
    return result


class ApiFailed(Exception):
    """The API refused a call. The message has its response."""


@dataclass
class Job:
    """A job of a trial. All its HTTP requests have ``mark`` in a header, even the first one, when no id is known."""

    id: str
    mark: str


@dataclass
class Bench:
    """The pipeline in this process's local AWS. Trials run one after the other."""

    aws: LocalAws
    outputs: dict[str, str]
    http: httpx.Client
    _read_up_to: dict[Path, int] = field(default_factory=dict)
    _leaks: dict[str, list[str]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        configurations = self.aws.client("lambda").list_functions()["Functions"]
        self.functions = {
            function["Handler"].removesuffix(".handler"): function["FunctionName"] for function in configurations
        }
        self.modules = {name: module for module, name in self.functions.items()}
        self.queues = {module: functions.find(name).dead_letter_target for module, name in self.functions.items()}
        self.photos = dict(_photos())

    # The client's calls

    def call(
        self,
        method: str,
        path: str,
        job: Job,
        *,
        done: Callable[[], bool] | None = None,
        caller: Mapping[str, str] = CALLER,
        **request: Any,
    ) -> Any:
        """Call the API. Repeats the call after a 5xx response, as a client does.

        A refusal is no failure if ``done`` returns that an earlier attempt has had its effect.

        Raises:
            ApiFailed: the API refused the call, or failed `TRIES` times.
        """
        answer = None
        for _ in range(TRIES):
            answer = self.http.request(method, path, headers={"X-Trial": job.mark, **caller}, **request)
            if answer.is_success:
                return answer
            if answer.status_code < 500:
                if done and done():
                    return answer
                break
            _check_problem(answer)
            time.sleep(0.05)
        raise ApiFailed(f"{method} {path}: {answer.status_code} {answer.text[:300]}")  # type: ignore[union-attr]

    def call_as_person(self, method: str, path: str, job: Job, **request: Any) -> Any:
        """Make a call of the labelling page about the job, as `call` does."""
        url = f"{self.aws.api_url}/api/labelling/jobs/{job.id}/{path}"
        token = id_token("a-person", "labellers", "reviewers")
        return self.call(method, url, job, caller={"Authorization": token}, **request)

    def create(self, mark: str) -> Job:
        """Create a job without photos."""
        job = Job("", mark)
        job.id = self.call("POST", "create", job).json()["id"]
        return job

    def forget_projects(self) -> None:
        """Drop all projects except the live model's, because WatchRunning needs half a second for each project."""
        live = self.live()[0]
        projects = rekognition.current()._projects
        for name in [name for name in projects if f"/{name}/" not in live]:
            del projects[name]

    def upload(self, job: Job, *names: str) -> None:
        """Upload the named files of ``photos``, or all of them, to the job's folders."""
        s3 = self.aws.client("s3")
        for name, content in self.photos.items():
            folder = "labels" if name.endswith(".json") else "images"
            if not names or name in names:
                s3.put_object(Bucket=self.outputs["BucketName"], Key=f"{folder}/{job.id}/{name}", Body=content)

    def start(self, job: Job, **options: Any) -> None:
        """Start the job."""
        self.call(
            "POST",
            "start",
            job,
            params={"JobId": job.id},
            json={"documentTypes": list(TYPES), "deploy": False, **options},
            done=lambda: self.execution(job) is not None,
        )

    # The observer's view, read from the services' memory and not through calls: it is read very often, and while the
    # local AWS answers a call, its clock runs in real time.

    def record(self, job: Job) -> dict[str, Any]:
        """Return the job's record from the table. A read through the API would record a missed end."""
        tables = dynamodb_backends[place.account][place.region]
        attributes = tables.get_item(self.outputs["JobsTable"], {"Id": {"S": job.id}}).attrs
        deserialize = TypeDeserializer().deserialize
        return {name: deserialize(storage.attribute(value)) for name, value in list(attributes.items())}

    def execution(self, job: Job) -> Any | None:
        """Return the execution in Step Functions, or None."""
        machines = stepfunctions_parser_backends[place.account][place.region].state_machines
        executions = (execution for machine in machines for execution in machine.executions)
        return next((execution for execution in executions if execution.name == job.id), None)

    def execution_arn(self, job: Job) -> str:
        return self.outputs["StateMachineArn"].replace(":stateMachine:", ":execution:") + f":{job.id}"

    def history(self, job: Job) -> list[dict[str, Any]]:
        pages = self.aws.client("stepfunctions").get_paginator("get_execution_history")
        return [event for page in pages.paginate(executionArn=self.execution_arn(job)) for event in page["events"]]

    def errors(self, job: Job) -> set[str]:
        """Return the execution's error. If a batch of photos failed, return the errors of the failed batches."""
        error = self.execution(job).error
        if error != BATCH_FAILED:
            return {error}
        steps = self.aws.client("stepfunctions")
        runs = steps.list_map_runs(executionArn=self.execution_arn(job))["mapRuns"]
        batches = [batch for run in runs for batch in steps.list_executions(mapRunArn=run["mapRunArn"])["executions"]]
        described = [steps.describe_execution(executionArn=batch["executionArn"]) for batch in batches]
        return {batch["error"] for batch in described if "error" in batch}

    def wait_for_end(self, job: Job) -> Any:
        """Wait until the execution has ended, and return it."""

        def over() -> Any:
            execution = self.execution(job)
            return execution if execution and execution.status != "RUNNING" else None

        return eventually(over, "the execution does not end")

    def wait_until_settled(self, job: Job, *, waits: float = 1.0) -> dict[str, Any]:
        """Wait until the record has an end, and return it.

        Fires the schedules after ``waits`` seconds without an end.
        """

        def over() -> dict[str, Any] | None:
            record = self.record(job)
            return record if record["Status"] in ENDED and self.execution(job).status != "RUNNING" else None

        try:
            return eventually(over, "", waits)
        except Hangs:
            events.fire_schedules()
            return eventually(over, "the job's record has no end")

    def take_unhandled(self, module: str, job: Job) -> list[dict[str, Any]]:
        """Remove the events about the job, and those of a schedule, from the function's dead-letter queue.

        Return them.
        """
        of_schedule = FROM_SCHEDULE.get(module, job.id)
        sqs, taken = self.aws.client("sqs"), list[dict[str, Any]]()
        url = sqs.get_queue_url(QueueName=self.queues[module].rpartition(":")[2])["QueueUrl"]
        while messages := sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10, VisibilityTimeout=0).get(
            "Messages"
        ):
            own = [m for m in messages if job.id in m["Body"] or m["Body"].startswith(of_schedule)]
            for message in own:
                sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
            taken += [json.loads(message["Body"]) for message in own]
            if not own:
                break
        return taken

    def invoke(self, module: str, event: Any) -> None:
        """Invoke the function with an event, as a redelivery does."""
        functions.invoke_later(functions.find(self.functions[module]), event)

    def has_report(self, job: Job) -> bool:
        """Whether the stored audit report is about the last end of the execution, and is signed."""
        keys = self._bucket("AuditBucketName").keys
        report, signed = (keys.get(f"audit/{job.id}/{job.id}.{form}") for form in ("json", "signed"))
        if report is None or signed is None:
            return False
        if json.loads(signed.value)["files"][f"{job.id}.json"] != report.value.decode():
            return False
        facts = json.loads(report.value)["facts"]
        return bool(facts["end"]["status"] == self.execution(job).status and facts["path"]["states"])

    def objects(self, job: Job) -> list[str]:
        """Return the keys of the job's objects in the bucket."""
        return [key for key in list(self._bucket("BucketName").keys) if job.id in key]

    def tasks(self, job: Job) -> list[str]:
        """Return the keys of the job's labelling tasks."""
        tables = dynamodb_backends[place.account][place.region].tables
        (table,) = (table for name, table in tables.items() if "Tasks" in name)
        return list(table.items.get(job.id, {}))

    def messages(self, job: Job) -> list[str]:
        """Return the subjects of the topic's messages about the job."""
        topic = sns_backends[place.account][place.region].topics[self.outputs["NotificationsTopicArn"]]
        return [subject for _, _, subject, *_ in list(topic.sent_notifications) if job.id in (subject or "")]

    def live(self) -> tuple[str, str]:
        """Return the values of the two parameters that name the live model: project and model."""
        parameters = ssm_backends[place.account][place.region]
        names = self.outputs["ProjectParameter"], self.outputs["ModelParameter"]
        project, model = (parameters.get_parameter(name).value for name in names)
        return project, model

    def leaks(self, job: Job) -> list[str]:
        """Return the secrets in the functions' logs since the check of the previous job."""
        history = json.dumps(self.execution(job).to_history_output(), default=str)
        tokens = set(TOKEN.findall(history.replace('\\"', '"')))
        leaks = self._leaks.setdefault(job.id, [])
        for path in self.aws.logs_dir.glob("*"):
            with path.open("rb") as file:
                file.seek(self._read_up_to.get(path, 0))
                text = file.read().decode(errors="replace")
                self._read_up_to[path] = file.tell()
            if "Signature=" in text:
                leaks.append(f"a presigned URL in the log of {path.stem}")
            if any(token in text for token in tokens):
                leaks.append(f"a task token in the log of {path.stem}")
        return leaks

    def _bucket(self, output: str) -> Any:
        return s3_backends[place.account]["aws"].buckets[self.outputs[output]]


def _check_problem(answer: httpx.Response) -> None:
    """Check that an error is a problem document, from the function or from API Gateway if the function died."""
    if answer.headers["content-type"] != "application/problem+json" or "Traceback" in answer.text:
        raise ApiFailed(f"{answer.status_code} is no problem document: {answer.text[:200]}")


def _photos() -> Iterator[tuple[str, bytes]]:
    """Yield four tiny photos, two of each type, and their labels."""
    images, annotations = [], []
    for number in range(4):
        name = f"photo-{number}.png"
        file = io.BytesIO()
        Image.effect_noise((96, 96), 20 + number).save(file, "PNG")
        images.append({"id": number, "file_name": name, "width": 96, "height": 96})
        annotations.append({"id": number, "image_id": number, "category_id": number % 2, "bbox": [20, 20, 50, 40]})
        yield name, file.getvalue()
    categories = [{"id": number, "name": name} for number, name in enumerate(TYPES)]
    yield (
        "labels.json",
        json.dumps({"images": images, "annotations": annotations, "categories": categories}).encode(),
    )


@contextlib.contextmanager
def bench(aws: LocalAws, assembly: Path, folder: Path) -> Iterator[Bench]:
    """Deploy the pipeline in an empty local AWS whose clock runs at `SPEED`.

    Writes the labels for the simulated workforce to ``folder``.
    """
    aws.reset()
    outputs = aws.deploy(assembly)
    speed, clock.speed = clock.speed, SPEED
    account = rekognition.current()
    account.learns = False
    account.max_projects = account.max_trainings = account.max_running_models = 100_000
    with httpx.Client(base_url=f"{aws.api_url}/api/training/", timeout=60) as http:
        deployed = Bench(aws, outputs, http)
        labels = folder / "labels.json"
        labels.write_bytes(deployed.photos["labels.json"])
        aws.workforce.answer_from(labels, jitter_px=0, unanswered_share=0)
        try:
            # On a busy machine, the first import of a function may exceed its timeout.
            eventually(lambda: http.get("openapi.json").is_success, "the API does not answer")
            yield deployed
        finally:
            clock.speed = speed
            aws.workforce.stop_answering()
