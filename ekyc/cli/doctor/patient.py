"""What a check is, and what it asks: the account, and what more than one check needs to know."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from ekyc.cli.account import NOT_PLAYED, Account, NotCheckedError, in_words, shared
from ekyc.cli.doctor.findings import Finding
from ekyc.localaws.synth import LOCAL_SETTINGS


@dataclass(frozen=True)
class Quota:
    """A quota of the account: words of its name at Service Quotas, and what it is unless it was raised.

    Source of names and defaults: AWS General Reference, 'Amazon Rekognition endpoints and quotas'.
    """

    words: tuple[str, ...]
    default: int
    elsewhere: Mapping[str, int]


TRAININGS = Quota(("concurrent", "training jobs"), 2, {"ap-southeast-2": 1})
RUNNING_MODELS = Quota(("concurrently running", "models"), 2, {})
PROJECTS = Quota(("projects per account",), 100, {})


class Patient(Account):
    """The account, and what more than one check needs to know beyond it."""

    def __init__(self, given: Mapping[str, str]) -> None:
        super().__init__(given)
        if self.is_local:
            self._given = {**LOCAL_SETTINGS, **given}

    @shared
    def quotas(self) -> dict[str, float]:
        """The account's quotas of Rekognition by their names."""
        if self.is_local:
            raise NotCheckedError(f"Service Quotas is {NOT_PLAYED}", "")
        pages = self.client("service-quotas").get_paginator("list_service_quotas").paginate(ServiceCode="rekognition")
        return {quota["QuotaName"]: quota["Value"] for page in pages for quota in page["Quotas"]}

    def quota(self, wanted: Quota) -> tuple[int, str]:
        """How many there may be, and where that is from."""
        default = wanted.elsewhere.get(self.region, wanted.default)
        try:
            quotas = self.quotas
        except (NotCheckedError, ClientError, BotoCoreError) as error:
            return default, f"AWS's default: {in_words(error)[0]}"
        for name, value in quotas.items():
            if "Custom Labels" in name and all(word in name.lower() for word in wanted.words):
                return int(value), "Service Quotas"
        return default, "AWS's default: Service Quotas does not list it"

    @property
    def wants_ground_truth(self) -> bool:
        """Whether people label in Ground Truth, by default or when a job asks for it."""
        return self.settings["labelProvider"] == "ground-truth" or bool(self.settings["workTeam"])

    @shared
    def web_origins(self) -> list[str]:
        """The web origins that the deployed API answers."""
        origins = self.function("Api")["Environment"]["Variables"]["WEB_ORIGINS"]
        return [origin for origin in origins.split(",") if origin]

    def made(self, kind: str) -> str:
        """The physical name of the deployed stack's one resource of a kind, or nothing."""
        return next((one["PhysicalResourceId"] for one in self.resources if one["ResourceType"] == kind), "")

    def function(self, name: str) -> dict[str, Any]:
        """The properties of a deployed function, as the template has them.

        Raises:
            NotCheckedError: the deployed stack has no such function.
        """
        for resource in self.deployed["Resources"].values():
            variables = resource.get("Properties", {}).get("Environment", {}).get("Variables", {})
            if variables.get("POWERTOOLS_SERVICE_NAME") == name:
                return dict(resource["Properties"])
        raise NotCheckedError(f"the deployed stack has no function {name}", "Run make deploy with this checkout.")


Check = Callable[[Patient], Finding]


class Checks(dict[str, Check]):
    """Checks by their titles, in the order of the table."""

    def add(self, title: str) -> Callable[[Check], Check]:
        """Register the function under a title."""

        def register(check: Check) -> Check:
            self[title] = check
            return check

        return register
