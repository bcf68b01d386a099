"""The registry of checks, and the context that each check reads: the account, its quotas and the deployed stack."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from ekyc.cli.account import NOT_SIMULATED, Account, NotCheckedError, describe_error, shared
from ekyc.cli.doctor.findings import Finding
from ekyc.localaws.synth import LOCAL_SETTINGS


@dataclass(frozen=True)
class Quota:
    """A quota of the account.

    ``words`` occur in its name in Service Quotas, in lower case. ``default`` is AWS's default value, and ``elsewhere``
    has the Regions with other defaults.

    Source of names and defaults: AWS General Reference, 'Amazon Rekognition endpoints and quotas'.
    """

    words: tuple[str, ...]
    default: int
    elsewhere: Mapping[str, int]


TRAININGS = Quota(("concurrent", "training jobs"), 2, {"ap-southeast-2": 1})
RUNNING_MODELS = Quota(("concurrently running", "models"), 2, {})
PROJECTS = Quota(("projects per account",), 100, {})


class CheckContext(Account):
    """The account, and the facts that more than one check needs."""

    def __init__(self, given: Mapping[str, str]) -> None:
        super().__init__(given)
        if self.is_local:
            self._given = {**LOCAL_SETTINGS, **given}

    @shared
    def quotas(self) -> dict[str, float]:
        """The account's Rekognition quotas, by name."""
        if self.is_local:
            raise NotCheckedError(f"Service Quotas is {NOT_SIMULATED}", "")
        pages = self.client("service-quotas").get_paginator("list_service_quotas").paginate(ServiceCode="rekognition")
        return {quota["QuotaName"]: quota["Value"] for page in pages for quota in page["Quotas"]}

    def quota(self, quota: Quota) -> tuple[int, str]:
        """The value of the quota, and the source of the value in words."""
        default = quota.elsewhere.get(self.region, quota.default)
        try:
            quotas = self.quotas
        except (NotCheckedError, ClientError, BotoCoreError) as error:
            return default, f"AWS's default: {describe_error(error)[0]}"
        for name, value in quotas.items():
            if "Custom Labels" in name and all(word in name.lower() for word in quota.words):
                return int(value), "Service Quotas"
        return default, "AWS's default: Service Quotas does not list it"

    @property
    def uses_ground_truth(self) -> bool:
        """Whether jobs can be labelled in Ground Truth, by default or on request."""
        return self.settings["labelProvider"] == "ground-truth" or bool(self.settings["workTeam"])

    @shared
    def web_origins(self) -> list[str]:
        """The web origins that the deployed API allows."""
        origins = self.function("Api")["Environment"]["Variables"]["WEB_ORIGINS"]
        return [origin for origin in origins.split(",") if origin]

    def resource_name(self, kind: str) -> str:
        """The physical name of the first resource of the type ``kind`` in the stack, or an empty string."""
        resources = (resource for resource in self.resources if resource["ResourceType"] == kind)
        return next((str(resource["PhysicalResourceId"]) for resource in resources), "")

    def function(self, name: str) -> dict[str, Any]:
        """The properties of a function in the deployed template.

        Raises:
            NotCheckedError: the deployed stack has no such function.
        """
        for resource in self.deployed_template["Resources"].values():
            variables = resource.get("Properties", {}).get("Environment", {}).get("Variables", {})
            if variables.get("POWERTOOLS_SERVICE_NAME") == name:
                return dict(resource["Properties"])
        raise NotCheckedError(f"the deployed stack has no function {name}", "Run make deploy with this checkout.")


Check = Callable[[CheckContext], Finding]


class Checks(dict[str, Check]):
    """The checks by title, in the order of the table."""

    def add(self, title: str) -> Callable[[Check], Check]:
        """Register the decorated function as the check ``title``."""

        def register(check: Check) -> Check:
            self[title] = check
            return check

        return register
