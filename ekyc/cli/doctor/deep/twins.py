"""Twins of the functions' roles: the policies that are deployed, in a role that the user may take on for minutes."""

import json
import time
from collections.abc import Mapping
from typing import Any

from botocore.exceptions import ClientError

from ekyc.cli.account import DENIED
from ekyc.cli.doctor.deep.probe import SECONDS_BETWEEN_LOOKS, Probe, unless

# IAM tells all its servers of a new role or policy within seconds as a rule, and promises no time. Source: IAM guide,
# 'Changes that I make are not always immediately visible'.
SECONDS_TO_SPREAD = 60
EVENT_SOURCE = "ekyc.doctor"
"""Takes the place of the pipeline's own source, which customers' rules listen to."""


class DeniedError(ClientError):
    """AWS denies the twin of the role of ``function`` a call that the function makes in jobs."""

    def __init__(self, function: str, error: ClientError) -> None:
        super().__init__(error.response, error.operation_name)
        self.function = function


class Twin:
    """A role with the policies of a function's role, for the things that a probe makes."""

    def __init__(self, probe: Probe, function: str) -> None:
        """Make the role.

        Raises:
            ClientError: AWS does not let the user read the function's role or make another.
        """
        self._patient, self._function = probe.patient, function
        self.name = f"{probe.name}-{function}"
        iam = self._patient.client("iam")
        policies = dict(self._policies(iam, probe.name))
        with probe.making(f"role {self.name}", self._delete):
            role = iam.create_role(
                RoleName=self.name,
                AssumeRolePolicyDocument=json.dumps(self._trust()),
                Description=f"Twin of the role of {function}, for ekyc doctor --deep.",
            )
        for name, document in policies.items():
            iam.put_role_policy(RoleName=self.name, PolicyName=name, PolicyDocument=json.dumps(document))
        self.arn: str = role["Role"]["Arn"]
        self.policies = list(policies.values())
        self._spread_by = min(time.monotonic() + SECONDS_TO_SPREAD, probe.deadline)
        self._credentials: dict[str, str] = {}

    def call(self, service: str, operation: str, **parameters: Any) -> dict[str, Any]:
        """What AWS answers the twin; ``operation`` as boto3 has it.

        Raises:
            DeniedError: AWS denies the call, and has had the time to learn of the role.
        """
        try:
            return self.once_known(
                lambda: getattr(self._patient.client(service, **self._assume()), operation)(**parameters)
            )
        except ClientError as error:
            if error.response["Error"]["Code"] in DENIED and error.operation_name != "AssumeRole":
                raise DeniedError(self._function, error) from error
            raise

    def once_known(self, call: Any) -> Any:
        """What ``call`` gives; a denial counts only when AWS has had the time to learn of the role."""
        while True:
            try:
                return call()
            except ClientError as error:
                if error.response["Error"]["Code"] not in DENIED or time.monotonic() > self._spread_by:
                    raise
            time.sleep(SECONDS_BETWEEN_LOOKS)

    def _assume(self) -> dict[str, str]:
        if not self._credentials:
            given = self._patient.client("sts").assume_role(
                RoleArn=self.arn, RoleSessionName=self.name, DurationSeconds=900
            )["Credentials"]
            self._credentials = {
                "aws_access_key_id": given["AccessKeyId"],
                "aws_secret_access_key": given["SecretAccessKey"],
                "aws_session_token": given["SessionToken"],
            }
        return self._credentials

    def _policies(self, iam: Any, name: str) -> Any:
        """Name and document of each policy of the function's role, made to fit the probe's things."""
        logical_id = self._patient.function(self._function)["Role"]["Fn::GetAtt"][0]
        (role,) = (one for one in self._patient.resources if one["LogicalResourceId"] == logical_id)
        role_name = role["PhysicalResourceId"]
        for policy in iam.list_role_policies(RoleName=role_name)["PolicyNames"]:
            document = iam.get_role_policy(RoleName=role_name, PolicyName=policy)["PolicyDocument"]
            yield policy, _of_the_probe(document, self._patient.outputs["StateMachineArn"], name)

    def _trust(self) -> dict[str, Any]:
        """The user alone, and Step Functions in this account, may take on the role."""
        identity = self._patient.identity
        of_account = {"StringEquals": {"aws:SourceAccount": identity["Account"]}}
        by_machine = {"Principal": {"Service": "states.amazonaws.com"}, "Condition": of_account}
        return {
            "Version": "2012-10-17",
            "Statement": [
                {"Effect": "Allow", "Action": "sts:AssumeRole", **principal}
                for principal in ({"Principal": {"AWS": identity["Arn"]}}, by_machine)
            ],
        }

    def _delete(self) -> None:
        iam = self._patient.client("iam")

        def delete() -> None:
            for policy in iam.list_role_policies(RoleName=self.name)["PolicyNames"]:
                iam.delete_role_policy(RoleName=self.name, PolicyName=policy)
            iam.delete_role(RoleName=self.name)

        unless({"NoSuchEntity"}, delete)


def of(probe: Probe, function: str) -> Twin:
    """The twin of the role of ``function``, made when it is first asked for."""
    if function not in probe.twins:
        probe.twins[function] = Twin(probe, function)
    twin: Twin = probe.twins[function]
    return twin


def _of_the_probe(document: Mapping[str, Any], state_machine: str, name: str) -> dict[str, Any]:
    """The policy with the probe's state machine and source of events in the place of the pipeline's."""
    own = f"{state_machine.rpartition(':')[0]}:{name}"
    changed: dict[str, Any] = json.loads(json.dumps(document).replace(f'"{state_machine}"', f'"{own}"'))
    for statement in changed["Statement"]:
        for operator, keys in statement.get("Condition", {}).items():
            if "events:source" in keys and operator != "Null":
                keys["events:source"] = EVENT_SOURCE
    return changed
