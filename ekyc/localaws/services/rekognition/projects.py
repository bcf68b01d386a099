"""Projects, and the tags of all resources."""

from __future__ import annotations

from typing import Any

from ekyc.localaws import faults
from ekyc.localaws.errors import ServiceError
from ekyc.localaws.faults import What
from ekyc.localaws.services import stand_in
from ekyc.localaws.services.rekognition.account import Account
from ekyc.localaws.services.rekognition.errors import (
    in_use,
    invalid,
    invalid_token,
    limit_exceeded,
    not_found,
    refuse_unsupported,
)
from ekyc.localaws.services.rekognition.records import Project
from ekyc.localaws.services.stand_in import Answer, Request, now


class Projects(Account):
    """The operations on projects, and ListTagsForResource."""

    def create_project(self, request: Request) -> Answer:
        """CreateProject."""
        name = request["ProjectName"]
        refuse_unsupported(request, ["AutoUpdate"])
        if request.get("Feature", "CUSTOM_LABELS") != "CUSTOM_LABELS":
            raise invalid("The local AWS does not support projects for content moderation. Omit Feature.")
        with self.lock:
            if name in self._projects:
                raise ServiceError("ResourceInUseException", f"A project with the name {name} already exists.")
            if len(self._projects) >= self.max_projects or faults.take_service_fault(What.PROJECTS_FULL, name):
                raise limit_exceeded(f"The account already has the maximum of {self.max_projects} projects.")
            created = now()
            arn = self.new_arn(name, "", created)
            self._projects[name] = Project(arn, name, created, request.get("Tags", {}))
        return {"ProjectArn": arn}

    def describe_projects(self, request: Request) -> Answer:
        """DescribeProjects, oldest first."""
        with self.lock:
            wanted = request.get("ProjectNames")
            is_wanted_feature = "CUSTOM_LABELS" in request.get("Features", ["CUSTOM_LABELS"])
            projects = [
                project
                for project in self._projects.values()
                if is_wanted_feature and (wanted is None or project.name in wanted)
            ]
            shown, following = stand_in.page(projects, request, invalid_token)
            return {"ProjectDescriptions": [_project_description(project) for project in shown], **following}

    def delete_project(self, request: Request) -> Answer:
        """DeleteProject. The project must have no versions. Its datasets are deleted too."""
        with self.lock:
            project = self.project(request["ProjectArn"])
            if project.versions:
                raise in_use(f"Project {project.name} has models. Delete them first.")
            project.status = "DELETING"
        self.background(self._forget_project, project)
        return {"Status": "DELETING"}

    def _forget_project(self, project: Project) -> None:
        self.sleep(self.delete_seconds)
        with self.lock:
            del self._projects[project.name]

    def list_tags_for_resource(self, request: Request) -> Answer:
        """ListTagsForResource of a project, dataset or version."""
        with self.lock:
            for project in self._projects.values():
                resources: list[Any] = [project, *project.datasets.values(), *project.versions.values()]
                for resource in resources:
                    if resource.arn == request["ResourceArn"]:
                        return {"Tags": resource.tags}
        raise not_found(request["ResourceArn"])


def _project_description(project: Project) -> Answer:
    return {
        "ProjectArn": project.arn,
        "CreationTimestamp": project.created,
        "Status": project.status,
        "Feature": "CUSTOM_LABELS",
        "Datasets": [
            {
                "CreationTimestamp": dataset.created,
                "DatasetType": dataset.kind,
                "DatasetArn": dataset.arn,
                "Status": dataset.status,
                "StatusMessage": dataset.message,
                "StatusMessageCode": dataset.message_code,
            }
            for dataset in project.datasets.values()
        ],
    }
