"""SageMaker's private work teams, inside the moto server."""

from __future__ import annotations

from dataclasses import dataclass

from moto.core.base_backend import BaseBackend

from ekyc.localaws.errors import ServiceError
from ekyc.localaws.services import stand_in
from ekyc.localaws.services.stand_in import Answer, Request, StandIn, now

OPERATIONS = ("CreateWorkteam", "DescribeWorkteam", "ListWorkteams")
MAX_WORK_TEAMS = 25


@dataclass(frozen=True)
class WorkTeam:
    """A private work team."""

    arn: str
    created: float
    request: Request

    @property
    def description(self) -> Answer:
        """The work team as DescribeWorkteam returns it."""
        shown = ("WorkteamName", "MemberDefinitions", "Description", "NotificationConfiguration")
        return {
            "WorkteamArn": self.arn,
            "WorkforceArn": self.arn.split(":workteam/")[0] + ":workforce/default",
            "SubDomain": f"local.labeling.{self.arn.split(':')[3]}.sagemaker.aws",
            "CreateDate": self.created,
            "LastUpdatedDate": self.created,
            **{key: self.request[key] for key in shown if key in self.request},
        }


DEFAULT_TEAM: Request = {
    "WorkteamName": "specimen-labellers",
    "Description": "The people who label specimen documents.",
    "MemberDefinitions": [
        {"CognitoMemberDefinition": {"UserPool": "us-east-1_Specimens", "UserGroup": "labellers", "ClientId": "local"}}
    ],
}


class WorkTeams(StandIn):
    """The operations, and the teams."""

    def __init__(self, backend: BaseBackend) -> None:
        super().__init__(backend)
        self._teams: dict[str, WorkTeam] = {}
        self.create_workteam(DEFAULT_TEAM)

    def create_workteam(self, request: Request) -> Answer:
        """CreateWorkteam of the private workforce."""
        name = request["WorkteamName"]
        with self.lock:
            if name in self._teams:
                raise ServiceError("ResourceInUse", f"A work team with the name {name} already exists.")
            if len(self._teams) >= MAX_WORK_TEAMS:
                raise ServiceError(
                    "ResourceLimitExceeded", f"The account already has the maximum of {MAX_WORK_TEAMS} work teams."
                )
            arn = f"arn:aws:sagemaker:{self.region}:{self.account}:workteam/private-crowd/{name}"
            self._teams[name] = WorkTeam(arn, now(), request)
        return {"WorkteamArn": arn}

    def describe_workteam(self, request: Request) -> Answer:
        """DescribeWorkteam."""
        name = request["WorkteamName"]
        with self.lock:
            if name not in self._teams:
                raise invalid(f"There is no work team with the name {name}.")
            return {"Workteam": self._teams[name].description}

    def list_workteams(self, request: Request) -> Answer:
        """ListWorkteams, by default oldest first."""
        with self.lock:
            teams = [team.description for team in self._teams.values()]
        chosen = [team for team in teams if request.get("NameContains", "").lower() in team["WorkteamName"].lower()]
        chosen.sort(
            key=lambda team: team["WorkteamName" if request.get("SortBy") == "Name" else "CreateDate"],
            reverse=request.get("SortOrder") == "Descending",
        )
        shown, following = stand_in.page(chosen, request, invalid_token)
        return {"Workteams": shown, **following}

    def has(self, arn: str) -> bool:
        """Whether there is a work team with this ARN."""
        with self.lock:
            return any(team.arn == arn for team in self._teams.values())


def invalid(message: str) -> ServiceError:
    """The error of a request that SageMaker refuses."""
    return ServiceError("ValidationException", message)


def invalid_token() -> ServiceError:
    """The error of a request with a wrong NextToken."""
    return invalid("NextToken was not returned by this operation.")
