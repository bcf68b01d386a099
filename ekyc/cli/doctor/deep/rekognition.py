"""Tests whether the deployed policy and tags allow the pipeline to create a project and a dataset in Rekognition."""

import io
import json
from typing import Any

from ekyc.cli.account import NotCheckedError
from ekyc.cli.doctor.deep import role_copies
from ekyc.cli.doctor.deep.probe import Probe, ignore_codes
from ekyc.cli.doctor.deep.role_copies import RoleCopy
from ekyc.cli.doctor.findings import Finding, ok, problem

FUNCTION = "CreateDatasets"
SECONDS_FOR_PROJECT, SECONDS_FOR_DATASET, SECONDS_TO_DELETE = 60, 180, 120
REQUEST_TAG = "aws:RequestTag/"
NOT_NOW = frozenset({"ResourceInUseException", "ResourceNotFoundException"})
SIDE = 64  # pixels, the minimum of Custom Labels


def create_project(probe: Probe) -> Finding:
    """Creates a project as the function CreateDatasets does, with its tags: the policy's only condition is a tag."""
    role_copy = role_copies.find_or_make(probe, FUNCTION)
    tags = _tags(probe, role_copy)
    with probe.making(f"Rekognition project {probe.name}", lambda: _delete_project(probe)):
        role_copy.call("rekognition", "create_project", ProjectName=probe.name, Tags=tags)
    probe.wait_for(
        lambda: (project := _project(probe)) and project["Status"] == "CREATED",
        SECONDS_FOR_PROJECT,
        "Rekognition had not created the project",
    )
    return ok(f"Rekognition allows the role of {FUNCTION} to create a project with the tags {', '.join(tags)}")


def create_dataset(probe: Probe) -> Finding:
    """Creates a dataset. Rekognition reads the manifest and photos, and uses the key, with its caller's permissions."""
    project = _project(probe)
    if project is None:
        raise NotCheckedError("there is no project for the dataset", "See the row 'Rekognition project'.")
    bucket = probe.context.outputs["BucketName"]
    # Not under manifests/: the bucket policy allows only the stages to write there.
    photo, manifest = f"images/{probe.name}/doctor.jpg", f"images/{probe.name}/train.manifest"
    probe.put_object(photo, _photo())
    probe.put_object(manifest, _manifest_line(f"s3://{bucket}/{photo}"))
    role_copy = role_copies.find_or_make(probe, FUNCTION)
    source = {"GroundTruthManifest": {"S3Object": {"Bucket": bucket, "Name": manifest}}}
    arn = role_copy.call(
        "rekognition",
        "create_dataset",
        ProjectArn=project["ProjectArn"],
        DatasetType="TRAIN",
        DatasetSource=source,
    )["DatasetArn"]
    rekognition = probe.context.client("rekognition")

    def description_at_end() -> dict[str, Any] | None:
        description: dict[str, Any] = rekognition.describe_dataset(DatasetArn=arn)["DatasetDescription"]
        return None if description["Status"] == "CREATE_IN_PROGRESS" else description

    dataset = probe.wait_for(description_at_end, SECONDS_FOR_DATASET, "Rekognition was still creating the dataset")
    key = " with the key of kmsKeyArn" if probe.context.settings["kmsKeyArn"] else ""
    if dataset["Status"] != "CREATE_COMPLETE":
        return problem(
            f"the dataset is {dataset['Status']}: {dataset.get('StatusMessage', 'Rekognition gives no reason')}",
            f"Each job would fail like this. Compare the policies of the bucket{' and the key' if key else ''} with "
            "docs/permissions.md.",
        )
    return ok(f"Rekognition reads a manifest in the bucket{key} for the role of {FUNCTION}")


def _tags(probe: Probe, role_copy: RoleCopy) -> dict[str, str]:
    """The deployment's cost tags, and each tag that the policy requires, with the probe's name as its value."""
    cost_tags = probe.context.function(FUNCTION)["Environment"]["Variables"]["COST_TAGS"]
    tags = {key: value for key, _, value in (tag.partition("=") for tag in cost_tags.split(",") if tag)}
    for policy in role_copy.policies:
        for statement in policy["Statement"]:
            keys = [key for pairs in statement.get("Condition", {}).values() for key in pairs]
            tags |= {key.removeprefix(REQUEST_TAG): probe.name for key in keys if key.startswith(REQUEST_TAG)}
    return tags


def _project(probe: Probe) -> dict[str, Any] | None:
    rekognition = probe.context.client("rekognition")
    projects: list[dict[str, Any]] = rekognition.describe_projects(ProjectNames=[probe.name])["ProjectDescriptions"]
    return projects[0] if projects else None


def _delete_project(probe: Probe) -> None:
    """Delete the datasets, then the project. Rekognition deletes asynchronously, and refuses while they are in use."""
    rekognition = probe.context.client("rekognition")

    def is_gone() -> bool:
        project = _project(probe)
        if project is None:
            return True
        for dataset in project.get("Datasets", []):
            if dataset["Status"] != "DELETE_IN_PROGRESS":
                ignore_codes(NOT_NOW, lambda: rekognition.delete_dataset(DatasetArn=dataset["DatasetArn"]))  # noqa: B023
        if not project.get("Datasets") and project["Status"] != "DELETING":
            ignore_codes(NOT_NOW, lambda: rekognition.delete_project(ProjectArn=project["ProjectArn"]))
        return False

    probe.wait_for(is_gone, SECONDS_TO_DELETE, "Rekognition had not deleted the project")


def _photo() -> bytes:
    from PIL import Image

    photo = io.BytesIO()
    Image.new("RGB", (SIDE, SIDE), "white").save(photo, "JPEG")
    return photo.getvalue()


def _manifest_line(photo: str) -> bytes:
    """The manifest line of a photo with one box.

    Source: Custom Labels guide, 'Object localization in manifest files'.
    """
    half = SIDE // 2
    line = {
        "source-ref": photo,
        "doctype": {
            "image_size": [{"width": SIDE, "height": SIDE, "depth": 3}],
            "annotations": [{"class_id": 0, "top": 0, "left": 0, "width": half, "height": half}],
        },
        "doctype-metadata": {
            "objects": [{"confidence": 1}],
            "class-map": {"0": "doctor"},
            "type": "groundtruth/object-detection",
            "human-annotated": "yes",
            "creation-date": "2026-01-01T00:00:00",
        },
    }
    return json.dumps(line).encode() + b"\n"
