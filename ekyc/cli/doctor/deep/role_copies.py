"""Copies of the functions' roles, with the deployed policies, that the user can assume for a few minutes."""

import json
import time
from collections.abc import Mapping
from typing import Any

from botocore.exceptions import ClientError

from ekyc.cli.account import DENIED
from ekyc.cli.doctor.deep.probe import SECONDS_BETWEEN_LOOKS, Probe, ignore_codes

# A new role or policy usually propagates within seconds, but IAM guarantees no time.
# Source: IAM guide, 'Changes that I make are not always immediately visible'.
SECONDS_TO_PROPAGATE = 60
EVENT_SOURCE = "ekyc.doctor"
"""Replaces the pipeline's own event source, because customers' rules match that."""


class DeniedError(ClientError):
    """AWS denies a call that ``function`` makes in jobs to the copy of the function's role."""

    def __init__(self, function: str, error: ClientError) -> None:
        super().__init__(error.response, error.operation_name)
        self.function = function


class RoleCopy:
    """A copy of a function's role, with its policies adapted to the probe's resources."""

    def __init__(self, probe: Probe, function: str) -> None:
        """Make the role.

        Raises:
            ClientError: the user is not allowed to read the function's role or to create a role.
        """
        self._context, self._function = probe.context, function
        self.name = f"{probe.name}-{function}"
        iam = self._context.client("iam")
        policies = dict(self._policies(iam, probe.name))
        with probe.making(f"role {self.name}", self._delete):
            role = iam.create_role(
                RoleName=self.name,
                AssumeRolePolicyDocument=json.dumps(self._trust()),
                Description=f"Copy of the role of {function}, for ekyc doctor --deep.",
            )
        for name, document in policies.items():
            iam.put_role_policy(RoleName=self.name, PolicyName=name, PolicyDocument=json.dumps(document))
        self.arn: str = role["Role"]["Arn"]
        self.policies = list(policies.values())
        self._propagated_by = min(time.monotonic() + SECONDS_TO_PROPAGATE, probe.deadline)
        self._credentials: dict[str, str] = {}

    def call(self, service: str, operation: str, **parameters: Any) -> dict[str, Any]:
        """Call AWS with the copy's credentials and return the response. ``operation`` is the name of a boto3 method.

        Raises:
            DeniedError: AWS denies the call, although IAM had time to propagate the role.
        """
        try:
            return self.retry_denials(
                lambda: getattr(self._context.client(service, **self._assume()), operation)(**parameters)
            )
        except ClientError as error:
            if error.response["Error"]["Code"] in DENIED and error.operation_name != "AssumeRole":
                raise DeniedError(self._function, error) from error
            raise

    def retry_denials(self, call: Any) -> Any:
        """Return the result of ``call``. Retry it while AWS denies it and IAM may not have propagated the role yet."""
        while True:
            try:
                return call()
            except ClientError as error:
                if error.response["Error"]["Code"] not in DENIED or time.monotonic() > self._propagated_by:
                    raise
            time.sleep(SECONDS_BETWEEN_LOOKS)

    def _assume(self) -> dict[str, str]:
        if not self._credentials:
            credentials = self._context.client("sts").assume_role(
                RoleArn=self.arn, RoleSessionName=self.name, DurationSeconds=900
            )["Credentials"]
            self._credentials = {
                "aws_access_key_id": credentials["AccessKeyId"],
                "aws_secret_access_key": credentials["SecretAccessKey"],
                "aws_session_token": credentials["SessionToken"],
            }
        return self._credentials

    def _policies(self, iam: Any, name: str) -> Any:
        """Yields the name and the adapted document of each policy of the function's role."""
        logical_id = self._context.function(self._function)["Role"]["Fn::GetAtt"][0]
        (role_name,) = (
            resource["PhysicalResourceId"]
            for resource in self._context.resources
            if resource["LogicalResourceId"] == logical_id
        )
        for policy in iam.list_role_policies(RoleName=role_name)["PolicyNames"]:
            document = iam.get_role_policy(RoleName=role_name, PolicyName=policy)["PolicyDocument"]
            yield policy, _adapt(document, self._context.outputs["StateMachineArn"], name)

    def _trust(self) -> dict[str, Any]:
        """The trust policy: only the user, and Step Functions in this account, can assume the role."""
        identity = self._context.identity
        in_account = {"StringEquals": {"aws:SourceAccount": identity["Account"]}}
        step_functions = {"Principal": {"Service": "states.amazonaws.com"}, "Condition": in_account}
        return {
            "Version": "2012-10-17",
            "Statement": [
                {"Effect": "Allow", "Action": "sts:AssumeRole", **principal}
                for principal in ({"Principal": {"AWS": identity["Arn"]}}, step_functions)
            ],
        }

    def _delete(self) -> None:
        iam = self._context.client("iam")

        def delete() -> None:
            for policy in iam.list_role_policies(RoleName=self.name)["PolicyNames"]:
                iam.delete_role_policy(RoleName=self.name, PolicyName=policy)
            iam.delete_role(RoleName=self.name)

        ignore_codes({"NoSuchEntity"}, delete)


def find_or_make(probe: Probe, function: str) -> RoleCopy:
    """The copy of the role of ``function``. The first call makes it."""
    if function not in probe.role_copies:
        probe.role_copies[function] = RoleCopy(probe, function)
    role_copy: RoleCopy = probe.role_copies[function]
    return role_copy


def _adapt(document: Mapping[str, Any], state_machine: str, name: str) -> dict[str, Any]:
    """The policy, with the pipeline's state machine and event source replaced by the probe's."""
    probe_machine = f"{state_machine.rpartition(':')[0]}:{name}"
    adapted: dict[str, Any] = json.loads(json.dumps(document).replace(f'"{state_machine}"', f'"{probe_machine}"'))
    for statement in adapted["Statement"]:
        for operator, keys in statement.get("Condition", {}).items():
            if "events:source" in keys and operator != "Null":
                keys["events:source"] = EVENT_SOURCE
    return adapted
