"""Rekognition Custom Labels: projects, datasets, project versions and DetectCustomLabels, inside the moto server.

Responses and errors have AWS's names and formats. States change in AWS's order, after the service's delays, which the
clock shortens. A training trains a real detector. Only object localization is supported. Not simulated: training from
manifests without datasets (TrainingData, TestingData), copies of datasets and versions, changes of datasets, content
moderation.
"""

from __future__ import annotations

from moto.rekognition.models import rekognition_backends

from ekyc.localaws import aws
from ekyc.localaws.services.rekognition.datasets import Datasets
from ekyc.localaws.services.rekognition.detections import Detections
from ekyc.localaws.services.rekognition.projects import Projects
from ekyc.localaws.services.rekognition.records import ProjectVersion
from ekyc.localaws.services.rekognition.versions import Versions

__all__ = ["OPERATIONS", "CustomLabels", "ProjectVersion", "current"]

OPERATIONS = (
    "CreateProject",
    "DescribeProjects",
    "DeleteProject",
    "CreateDataset",
    "DescribeDataset",
    "ListDatasetEntries",
    "ListDatasetLabels",
    "DeleteDataset",
    "CreateProjectVersion",
    "DescribeProjectVersions",
    "StartProjectVersion",
    "StopProjectVersion",
    "DeleteProjectVersion",
    "DetectCustomLabels",
    "ListTagsForResource",
)


class CustomLabels(Projects, Datasets, Versions, Detections):
    """All operations. Tests set the controls on `current()`."""


def current() -> CustomLabels:
    """The current state of the local AWS, with the controls. A reset replaces it."""
    return CustomLabels.of(rekognition_backends[aws.account][aws.region])
