"""Datasets: created from manifests, described, listed and deleted."""

from __future__ import annotations

import json

from botocore.exceptions import ClientError, ParamValidationError

from ekyc.localaws import faults
from ekyc.localaws.errors import ServiceError
from ekyc.localaws.faults import What
from ekyc.localaws.services import stand_in
from ekyc.localaws.services.custom_labels_manifest import (
    TERMINAL_MESSAGES,
    CheckedLine,
    ManifestRefused,
    label_counts,
    read_dataset,
)
from ekyc.localaws.services.rekognition.account import Account, read_object
from ekyc.localaws.services.rekognition.errors import (
    in_use,
    injected_failure,
    invalid_token,
    limit_exceeded,
    refuse_unsupported,
)
from ekyc.localaws.services.rekognition.records import Dataset, Project
from ekyc.localaws.services.stand_in import Answer, Request, now


class Datasets(Account):
    """The operations on datasets."""

    def create_dataset(self, request: Request) -> Answer:
        """CreateDataset from a manifest, or empty. Errors in the manifest appear later, as CREATE_FAILED."""
        kind = request["DatasetType"]
        refuse_unsupported(request.get("DatasetSource", {}), ["DatasetArn"])
        manifest = request.get("DatasetSource", {}).get("GroundTruthManifest", {}).get("S3Object")
        if manifest is not None and not {"Bucket", "Name"} <= manifest.keys():
            raise ServiceError("InvalidS3ObjectException", "Request has invalid S3 object.")
        with self.lock:
            project = self.project(request["ProjectArn"])
            if kind in project.datasets:
                message = f"Project {project.name} already has a dataset of type {kind}."
                raise ServiceError("ResourceAlreadyExistsException", message)
            datasets = [dataset for other in self._projects.values() for dataset in other.datasets.values()]
            in_progress = sum(dataset.status == "CREATE_IN_PROGRESS" for dataset in datasets)
            if in_progress >= self.max_datasets or faults.take_service_fault(What.DATASETS_FULL, project.name):
                raise limit_exceeded("The account already creates the maximum number of datasets.")
            created = now()
            arn = self.new_arn(project.name, f"dataset/{kind.lower()}/", created)
            dataset = Dataset(arn, kind, created, created, request.get("Tags", {}))
            project.datasets[kind] = dataset
            failure, self.fail_next_dataset = self.fail_next_dataset, None
            failure = failure or injected_failure(What.DATASET_FAILS, arn)
        self.background(self._fill_dataset, dataset, manifest, failure)
        return {"DatasetArn": arn}

    def _fill_dataset(self, dataset: Dataset, manifest: dict[str, str] | None, failure: str | None) -> None:
        self.sleep(self.dataset_seconds)
        entries: list[CheckedLine] = []
        try:
            if manifest is not None:
                entries = read_dataset(manifest["Name"], read_object(manifest))
        except ManifestRefused as refused:
            failure = str(refused)
        except (ClientError, ParamValidationError):
            failure = TERMINAL_MESSAGES["ERROR_MANIFEST_INACCESSIBLE_OR_UNSUPPORTED_FORMAT"]
        self.sleep(0)
        with self.lock:
            if failure:
                dataset.become("CREATE_FAILED", failure, "CLIENT_ERROR")
            else:
                dataset.entries = entries
                dataset.become("CREATE_COMPLETE", "The dataset was successfully created from the manifest file.")

    def describe_dataset(self, request: Request) -> Answer:
        """DescribeDataset."""
        with self.lock:
            dataset = self.dataset(request["DatasetArn"])[1]
            description = {
                "CreationTimestamp": dataset.created,
                "LastUpdatedTimestamp": dataset.updated,
                "Status": dataset.status,
                "StatusMessage": dataset.message,
                "StatusMessageCode": dataset.message_code,
                "DatasetStats": {
                    "LabeledEntries": sum(entry.is_labelled for entry in dataset.entries),
                    "TotalEntries": len(dataset.entries),
                    "TotalLabels": len(label_counts(dataset.entries)),
                    "ErrorEntries": sum(entry.has_errors for entry in dataset.entries),
                },
            }
        return {"DatasetDescription": description}

    def list_dataset_entries(self, request: Request) -> Answer:
        """ListDatasetEntries: the lines, with "cl-errors" in the marked parts, and "cl-metadata"."""
        with self.lock:
            entries = [entry for entry in self._listed_dataset(request).entries if _is_asked_for(entry, request)]
        shown, following = stand_in.page(entries, request, invalid_token)
        return {"DatasetEntries": [json.dumps(entry.for_listing()) for entry in shown], **following}

    def list_dataset_labels(self, request: Request) -> Answer:
        """ListDatasetLabels, sorted by name."""
        with self.lock:
            counts = label_counts(self._listed_dataset(request).entries)
        shown, following = stand_in.page(list(counts.items()), request, invalid_token)
        labels = [
            {"LabelName": label, "LabelStats": {"EntryCount": entries, "BoundingBoxCount": boxes}}
            for label, (entries, boxes) in shown
        ]
        return {"DatasetLabelDescriptions": labels, **following}

    def delete_dataset(self, request: Request) -> Answer:
        """DeleteDataset."""
        with self.lock:
            project, dataset = self.dataset(request["DatasetArn"])
            if dataset.status.endswith("IN_PROGRESS"):
                raise in_use(f"The dataset is in status {dataset.status}.")
            dataset.become("DELETE_IN_PROGRESS", "The dataset is being deleted.")
        self.background(self._forget_dataset, project, dataset)
        return {}

    def _forget_dataset(self, project: Project, dataset: Dataset) -> None:
        self.sleep(self.delete_seconds)
        with self.lock:
            del project.datasets[dataset.kind]

    def _listed_dataset(self, request: Request) -> Dataset:
        dataset = self.dataset(request["DatasetArn"])[1]
        if dataset.status != "CREATE_COMPLETE":
            raise ServiceError("ResourceNotReadyException", f"The dataset is in status {dataset.status}.")
        return dataset


def _is_asked_for(entry: CheckedLine, request: Request) -> bool:
    return (
        ("ContainsLabels" not in request or not entry.labels.isdisjoint(request["ContainsLabels"]))
        and request.get("Labeled", entry.is_labelled) == entry.is_labelled
        and request.get("SourceRefContains", "") in entry.source_ref
        and request.get("HasErrors", entry.has_errors) == entry.has_errors
    )
