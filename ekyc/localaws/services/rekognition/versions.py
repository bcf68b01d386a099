"""Models (project versions): trained, started, stopped and deleted."""

from __future__ import annotations

import math

from ekyc.localaws import faults
from ekyc.localaws.faults import What
from ekyc.localaws.services import stand_in
from ekyc.localaws.services.custom_labels_manifest import CheckedLine
from ekyc.localaws.services.rekognition.account import Account
from ekyc.localaws.services.rekognition.errors import (
    in_use,
    injected_failure,
    invalid,
    invalid_token,
    limit_exceeded,
    refuse_unsupported,
)
from ekyc.localaws.services.rekognition.records import Project, ProjectVersion
from ekyc.localaws.services.stand_in import Answer, Request, now
from ekyc.localaws.services.training import Training, TrainingRefused


class Versions(Account):
    """The operations on models."""

    def create_project_version(self, request: Request) -> Answer:
        """CreateProjectVersion: trains with the project's TRAIN and TEST datasets."""
        refuse_unsupported(request, ["TrainingData", "TestingData", "FeatureConfig"])
        name, output = request["VersionName"], request["OutputConfig"]
        if not {"S3Bucket", "S3KeyPrefix"} <= output.keys():
            raise invalid("OutputConfig must have S3Bucket and S3KeyPrefix.")
        with self.lock:
            project = self.project(request["ProjectArn"])
            if name in project.versions:
                raise in_use(f"Project {project.name} already has a version {name}.")
            if len(project.versions) >= self.max_versions or faults.take_service_fault(
                What.VERSIONS_FULL, project.name
            ):
                raise limit_exceeded(f"Project {project.name} already has the maximum of {self.max_versions} models.")
            training, testing = (self._training_entries(project, kind) for kind in ("TRAIN", "TEST"))
            trainings = self.count_models(["TRAINING_IN_PROGRESS"])
            if trainings >= self.max_trainings or faults.take_service_fault(What.TRAININGS_FULL, project.name):
                raise limit_exceeded(f"The account already runs the maximum of {self.max_trainings} trainings.")
            created = now()
            arn = self.new_arn(project.name, f"version/{name}/", created)
            optional = {key: value for key, value in request.items() if key in ("KmsKeyId", "VersionDescription")}
            version = ProjectVersion(arn, name, created, output, request.get("Tags", {}), optional)
            project.versions[name] = version
            failure, self.fail_next_training = self.fail_next_training, None
            failure = failure or injected_failure(What.TRAINING_FAILS, arn)
        prefix = output["S3KeyPrefix"].rstrip("/")
        run = Training(project.name, name, arn, output["S3Bucket"], prefix, training, testing)
        self.background(self._train, version, run, failure)
        return {"ProjectVersionArn": arn}

    def _training_entries(self, project: Project, kind: str) -> list[CheckedLine]:
        dataset = project.datasets.get(kind)
        if dataset is None:
            raise invalid(f"Project {project.name} has no {kind} dataset; the local AWS trains with datasets only.")
        if dataset.status.endswith("IN_PROGRESS"):
            raise in_use(f"The {kind} dataset is in status {dataset.status}.")
        if dataset.status != "CREATE_COMPLETE":
            raise invalid(f"The {kind} dataset is in status {dataset.status}.")
        return dataset.entries

    def _train(self, version: ProjectVersion, run: Training, failure: str | None) -> None:
        self.sleep(self.training_seconds)
        try:
            if failure:
                raise TrainingRefused(failure)
            detector, thresholds = run.run(self.sleep, self.learns)
        except TrainingRefused as refused:
            failure = str(refused)
        self.sleep(0)
        with self.lock:
            version.training_end = now()
            version.results = run.results
            if failure:
                version.become("TRAINING_FAILED", failure)
            else:
                version.detector, version.thresholds = detector, thresholds
                version.billable_seconds = math.ceil(version.training_end - version.created)
                version.become("TRAINING_COMPLETED", "The model is ready to run.")

    def describe_project_versions(self, request: Request) -> Answer:
        """DescribeProjectVersions, newest first."""
        with self.lock:
            project = self.project(request["ProjectArn"])
            wanted = request.get("VersionNames")
            versions = [v for v in project.versions.values() if wanted is None or v.name in wanted]
            newest_first = list(reversed(versions))
            shown, following = stand_in.page(newest_first, request, invalid_token)
            return {"ProjectVersionDescriptions": [version.description for version in shown], **following}

    def start_project_version(self, request: Request) -> Answer:
        """StartProjectVersion."""
        least: int = request["MinInferenceUnits"]
        most: int = request.get("MaxInferenceUnits", least)
        if most < least:
            raise invalid("MaxInferenceUnits must not be less than MinInferenceUnits.")
        with self.lock:
            version = self.version(request["ProjectVersionArn"])[1]
            if version.status not in ("TRAINING_COMPLETED", "STOPPED"):
                raise in_use(f"A model in status {version.status} cannot be started.")
            if most > self.max_inference_units:
                raise limit_exceeded(f"A model can have at most {self.max_inference_units} inference units.")
            running = self.count_models(["STARTING", "RUNNING", "STOPPING"])
            if running >= self.max_running_models or faults.take_service_fault(What.RUNNING_MODELS_FULL, version.arn):
                raise limit_exceeded(f"The account already runs the maximum of {self.max_running_models} models.")
            failure, self.fail_next_start = self.fail_next_start, None
            failure = failure or injected_failure(What.MODEL_FAILS, version.arn)
            version.units = {key: request[key] for key in ("MinInferenceUnits", "MaxInferenceUnits") if key in request}
            version.become("STARTING", "The model is being started.")
        self.background(self._start, version, failure)
        return {"Status": "STARTING"}

    def _start(self, version: ProjectVersion, failure: str | None) -> None:
        self.sleep(self.start_seconds)
        with self.lock:
            if failure:
                version.become("FAILED", failure)
            else:
                version.become("RUNNING", "The model is running.")

    def stop_project_version(self, request: Request) -> Answer:
        """StopProjectVersion."""
        with self.lock:
            version = self.version(request["ProjectVersionArn"])[1]
            if version.status != "RUNNING":
                raise in_use(f"A model in status {version.status} cannot be stopped.")
            version.become("STOPPING", "The model is being stopped.")
        self.background(self._stop, version)
        return {"Status": "STOPPING"}

    def _stop(self, version: ProjectVersion) -> None:
        self.sleep(self.stop_seconds)
        with self.lock:
            version.units = {}
            version.become("STOPPED", "The model is stopped.")

    def delete_project_version(self, request: Request) -> Answer:
        """DeleteProjectVersion. The version must not be in training or running."""
        with self.lock:
            project, version = self.version(request["ProjectVersionArn"])
            if version.status not in ("TRAINING_COMPLETED", "TRAINING_FAILED", "FAILED", "STOPPED"):
                raise in_use(f"A model in status {version.status} cannot be deleted.")
            version.become("DELETING", "The model is being deleted.")
        self.background(self._forget_version, project, version)
        return {"Status": "DELETING"}

    def _forget_version(self, project: Project, version: ProjectVersion) -> None:
        self.sleep(self.delete_seconds)
        with self.lock:
            del project.versions[version.name]
