"""Small stateful Rekognition, SageMaker and Step Functions behind real boto3 clients, which check every request.

Each fake stores what calls write and answers from it, with the error names of the service. The services that moto has
(DynamoDB, S3, SSM, SNS) are moto's in these tests.
"""

import json
import re
from collections.abc import Callable
from contextlib import AbstractContextManager
from datetime import UTC, datetime, timedelta
from functools import cache
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

import boto3
from moto.s3.models import s3_backends

from pipeline.clients import CONFIG, clients

ENDED = datetime(2026, 11, 24, 3, 0, tzinfo=UTC)  # when labelling jobs end
REGION, ACCOUNT = "us-east-1", "123456789012"
SESSION = boto3.Session(region_name=REGION, aws_access_key_id="testing", aws_secret_access_key="testing")


@cache
def client(service: str) -> Any:
    """The one client of ``service`` that all tests share, since to make one takes longer than a test."""
    return SESSION.client(service, config=CONFIG)


def functions_use(**replaced: Any) -> AbstractContextManager[Any]:
    """While the context is open, the functions' clients of these names are ``replaced``."""
    return patch.dict(vars(clients), replaced)


def store(bucket: str, key: str, content: bytes) -> str:
    """Put an object into moto's S3 without a request, which takes a hundred times as long; its ETag."""
    etag: str = s3_backends[ACCOUNT]["aws"].put_object(bucket, key, content).etag
    return etag


class Refusal(Exception):
    """What the service answers instead of a result."""

    def __init__(self, code: str, message: str = "", http_status: int = 400) -> None:
        self.code, self.message, self.http_status = code, message or code, http_status


class FakeService:
    """A service with a method per operation, in snake case, that takes the request's members and returns the answer."""

    service: str

    def __init__(self) -> None:
        self.calls: list[str] = []
        self.refusals: dict[str, list[Refusal]] = {}
        self.client()

    def refuse_next(self, operation: str, code: str, message: str = "", http_status: int = 400) -> None:
        """Make the next call of ``operation`` (snake case) fail."""
        self.refusals.setdefault(operation, []).append(Refusal(code, message, http_status))

    def client(self) -> Any:
        """The service's boto3 client, whose calls, once botocore has checked their parameters, end here from now on."""
        made = client(self.service)
        service_id = made.meta.service_model.service_id.hyphenize()
        for event, hook in (("provide-client-params", self._remember), ("before-call", self._answer)):
            made.meta.events.unregister(f"{event}.{service_id}", unique_id=event)
            made.meta.events.register(f"{event}.{service_id}", hook, unique_id=event)
        return made

    def _remember(self, params: dict[str, Any], **_: Any) -> None:
        self._members = dict(params)

    def _answer(self, model: Any, **_: Any) -> tuple[Any, dict[str, Any]]:
        operation = re.sub(r"(?<!^)([A-Z])", r"_\1", model.name).lower()
        self.calls.append(operation)
        handle: Callable[..., dict[str, Any] | None] = getattr(self, operation)
        try:
            if self.refusals.get(operation):
                raise self.refusals[operation].pop(0)
            parsed, status = handle(**self._members) or {}, 200
        except Refusal as refusal:
            parsed, status = {"Error": {"Code": refusal.code, "Message": refusal.message}}, refusal.http_status
        parsed["ResponseMetadata"] = {"HTTPStatusCode": status}
        return SimpleNamespace(status_code=status), parsed


class FakeSageMaker(FakeService):
    """Labelling jobs that stay InProgress until a test ends them with `finish`."""

    service = "sagemaker"

    def __init__(self) -> None:
        super().__init__()
        self.jobs: dict[str, dict[str, Any]] = {}

    def create_labeling_job(self, **request: Any) -> dict[str, Any]:
        name = request["LabelingJobName"]
        if name in self.jobs:
            raise Refusal("ResourceInUse", f"{name} exists")
        arn = f"arn:aws:sagemaker:{REGION}:{ACCOUNT}:labeling-job/{name}"
        counters = {"TotalLabeled": 0, "HumanLabeled": 0, "FailedNonRetryableError": 0, "Unlabeled": 0}
        self.jobs[name] = {
            **request,
            "LabelingJobArn": arn,
            "LabelingJobStatus": "InProgress",
            "LabelCounters": counters,
        }
        return {"LabelingJobArn": arn}

    def describe_labeling_job(self, LabelingJobName: str) -> dict[str, Any]:  # noqa: N803
        if LabelingJobName not in self.jobs:
            raise Refusal("ValidationException", "Requested resource not found.")
        return dict(self.jobs[LabelingJobName])

    def stop_labeling_job(self, LabelingJobName: str) -> None:  # noqa: N803
        self.finish(LabelingJobName, "Stopped")

    def finish(self, name: str, status: str, *, labelled: int = 0, failed: int = 0, reason: str | None = None) -> None:
        job = self.jobs[name]
        job["LabelingJobStatus"] = status
        job["LabelCounters"] = {"TotalLabeled": labelled, "FailedNonRetryableError": failed, "Unlabeled": 0}
        output = f"{job['OutputConfig']['S3OutputPath']}{name}/manifests/output/output.manifest"
        job["LastModifiedTime"] = ENDED
        job["LabelingJobOutput"] = {"OutputDatasetS3Uri": output}
        if reason:
            job["FailureReason"] = reason


class FakeStepFunctions(FakeService):
    """Executions that run until a test ends them, and tokens that can be answered once."""

    service = "stepfunctions"

    def __init__(self) -> None:
        super().__init__()
        self.executions: dict[str, dict[str, Any]] = {}
        self.entered: dict[str, list[str]] = {}
        self.results: dict[str, dict[str, Any]] = {}  # of an execution's states, by their names
        self.tokens: set[str] = set()
        self.answers: dict[str, dict[str, str]] = {}
        self.clock = datetime(2026, 11, 24, 2, 0, tzinfo=UTC)

    def start_execution(self, stateMachineArn: str, name: str, input: str) -> dict[str, Any]:  # noqa: N803
        arn = f"{stateMachineArn.replace(':stateMachine:', ':execution:')}:{name}"
        found = self.executions.get(arn)
        if found and (found["status"] != "RUNNING" or found["input"] != input):
            raise Refusal("ExecutionAlreadyExists", f"Execution Already Exists: '{arn}'")
        self.executions.setdefault(
            arn, {"executionArn": arn, "status": "RUNNING", "input": input, "startDate": self.clock}
        )
        return {"executionArn": arn, "startDate": self.clock}

    def describe_execution(self, executionArn: str) -> dict[str, Any]:  # noqa: N803
        if executionArn not in self.executions:
            raise Refusal("ExecutionDoesNotExist", f"Execution Does Not Exist: '{executionArn}'")
        return dict(self.executions[executionArn])

    def list_executions(self, stateMachineArn: str, statusFilter: str) -> dict[str, Any]:  # noqa: N803
        prefix = stateMachineArn.replace(":stateMachine:", ":execution:")
        found = [one for arn, one in self.executions.items() if arn.startswith(f"{prefix}:")]
        return {"executions": [one for one in found if one["status"] == statusFilter]}

    def stop_execution(self, executionArn: str, error: str, cause: str) -> dict[str, Any]:  # noqa: N803
        self.end(executionArn, "ABORTED", error=error, cause=cause)
        return {"stopDate": self.clock}

    def redrive_execution(self, executionArn: str, **_: str) -> dict[str, Any]:  # noqa: N803
        execution = self.executions[executionArn]
        if execution["status"] in ("RUNNING", "SUCCEEDED"):
            raise Refusal("ExecutionNotRedrivable", f"Execution is {execution['status']} and cannot be redriven")
        execution["status"] = "RUNNING"
        for name in ("stopDate", "error", "cause"):
            execution.pop(name, None)
        return {"redriveDate": self.clock}

    def get_execution_history(self, executionArn: str, **_: Any) -> dict[str, Any]:  # noqa: N803
        events = [
            {
                "id": place,
                "type": "TaskStateEntered",
                "timestamp": self.clock,
                "stateEnteredEventDetails": {"name": name},
            }
            for place, name in enumerate(self.entered.get(executionArn, []), start=1)
        ]
        events += [
            {
                "id": place,
                "type": "TaskStateExited",
                "timestamp": self.clock,
                "stateExitedEventDetails": {"name": name, "output": json.dumps(result)},
            }
            for place, (name, result) in enumerate(self.results.get(executionArn, {}).items(), start=len(events) + 1)
        ]
        return {"events": list(reversed(events))}

    def send_task_success(self, taskToken: str, output: str) -> None:  # noqa: N803
        self._answer_token(taskToken, output=output)

    def send_task_failure(self, taskToken: str, error: str, cause: str) -> None:  # noqa: N803
        self._answer_token(taskToken, error=error, cause=cause)

    def _answer_token(self, token: str, **answer: str) -> None:
        if token not in self.tokens:
            raise Refusal("TaskTimedOut", "Task Timed Out: 'Provided task does not exist anymore'")
        self.tokens.remove(token)
        self.answers[token] = answer

    def end(self, arn: str, status: str, **more: str) -> None:
        self.clock += timedelta(minutes=1)
        self.executions[arn] |= {"status": status, "stopDate": self.clock, **more}


class FakeRekognition(FakeService):
    """Projects, datasets and versions whose statuses a test sets."""

    service = "rekognition"

    def __init__(self) -> None:
        super().__init__()
        self.projects: dict[str, dict[str, Any]] = {}
        self.versions: dict[str, dict[str, Any]] = {}
        self.running_limit = 2

    def create_project(self, ProjectName: str, Tags: dict[str, str] | None = None) -> dict[str, Any]:  # noqa: N803
        if ProjectName in self.projects:
            raise Refusal("ResourceInUseException", "A project with this name exists.")
        arn = f"arn:aws:rekognition:{REGION}:{ACCOUNT}:project/{ProjectName}/1795487703000"
        self.projects[ProjectName] = {"ProjectArn": arn, "Status": "CREATED", "Datasets": [], "Tags": Tags}
        return {"ProjectArn": arn}

    def describe_projects(self, ProjectNames: list[str] | None = None) -> dict[str, Any]:  # noqa: N803
        wanted = self.projects if ProjectNames is None else ProjectNames
        return {"ProjectDescriptions": [self.projects[name] for name in wanted if name in self.projects]}

    def create_dataset(self, ProjectArn: str, DatasetType: str, DatasetSource: dict[str, Any]) -> dict[str, Any]:  # noqa: N803
        project = self.projects[ProjectArn.split("/")[1]]
        if any(dataset["DatasetType"] == DatasetType for dataset in project["Datasets"]):
            raise Refusal("ResourceAlreadyExistsException", "exists")
        arn = f"{ProjectArn.rpartition('/')[0]}/dataset/{DatasetType.lower()}/1795487703001"
        project["Datasets"].append(
            {"DatasetType": DatasetType, "DatasetArn": arn, "Status": "CREATE_IN_PROGRESS", "Source": DatasetSource}
        )
        return {"DatasetArn": arn}

    def dataset(self, arn: str) -> dict[str, Any]:
        return next(
            dataset
            for project in self.projects.values()
            for dataset in project["Datasets"]
            if dataset["DatasetArn"] == arn
        )

    def describe_dataset(self, DatasetArn: str) -> dict[str, Any]:  # noqa: N803
        return {"DatasetDescription": self.dataset(DatasetArn)}

    def delete_dataset(self, DatasetArn: str) -> None:  # noqa: N803
        dataset = self.dataset(DatasetArn)
        if dataset["Status"].endswith("IN_PROGRESS"):
            raise Refusal("ResourceInUseException", "in use")
        dataset["Status"] = "DELETE_IN_PROGRESS"

    def create_project_version(self, **request: Any) -> dict[str, Any]:
        name = request["VersionName"]
        if name in self.versions:
            raise Refusal("ResourceInUseException", "A version with this name exists.")
        return {"ProjectVersionArn": self.add_version(request["ProjectArn"], name, "TRAINING_IN_PROGRESS", **request)}

    def add_version(self, project_arn: str, name: str, status: str, **more: Any) -> str:
        arn = f"{project_arn.rpartition('/')[0]}/version/{name}/1795487703002"
        self.versions[name] = {"ProjectVersionArn": arn, "Status": status, "ProjectArn": project_arn, **more}
        return arn

    def describe_project_versions(
        self,
        ProjectArn: str,  # noqa: N803
        VersionNames: list[str] | None = None,  # noqa: N803
    ) -> dict[str, Any]:
        found = [
            version
            for name, version in self.versions.items()
            if (VersionNames is None or name in VersionNames) and version["ProjectArn"] == ProjectArn
        ]
        return {"ProjectVersionDescriptions": found[::-1]}

    def delete_project_version(self, ProjectVersionArn: str) -> dict[str, Any]:  # noqa: N803
        version = self.versions[ProjectVersionArn.split("/")[3]]
        if version["Status"] not in ("TRAINING_COMPLETED", "TRAINING_FAILED", "FAILED", "STOPPED"):
            raise Refusal("ResourceInUseException", "in use")
        version["Status"] = "DELETING"
        return {"Status": "DELETING"}

    def start_project_version(self, ProjectVersionArn: str, MinInferenceUnits: int) -> dict[str, Any]:  # noqa: N803
        version = self.versions[ProjectVersionArn.split("/")[3]]
        up = [other for other in self.versions.values() if other["Status"] in ("STARTING", "RUNNING")]
        if len(up) >= self.running_limit:
            raise Refusal("LimitExceededException", "2 of 2 models are running.")
        if version["Status"] not in ("TRAINING_COMPLETED", "STOPPED"):
            raise Refusal("ResourceInUseException", "in use")
        version |= {"Status": "STARTING", "MinInferenceUnits": MinInferenceUnits}
        return {"Status": "STARTING"}

    def stop_project_version(self, ProjectVersionArn: str) -> dict[str, Any]:  # noqa: N803
        version = self.versions[ProjectVersionArn.split("/")[3]]
        if version["Status"] != "RUNNING":
            raise Refusal("ResourceInUseException", "in use")
        version["Status"] = "STOPPING"
        return {"Status": "STOPPING"}
