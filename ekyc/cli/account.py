"""The AWS account of the user's credentials and the chosen deployment. Each fact is looked up once, on first use."""

import ipaddress
import json
import os
import re
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from urllib.parse import urlsplit

from botocore.config import Config
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    ConnectTimeoutError,
    EndpointConnectionError,
    NoRegionError,
    ReadTimeoutError,
)

from ekyc.cli.aws_session import new_session
from ekyc.localaws.synth import PROJECT, SynthesisFailed, committed, synthesize

SECONDS_TO_CONNECT, SECONDS_TO_ANSWER, ATTEMPTS = 3, 10, 2
# Rekognition allows 5 calls per second for each operation. One call every 0.25 s leaves capacity for running jobs.
# Source: AWS General Reference, 'Amazon Rekognition endpoints and quotas'.
SECONDS_BETWEEN_CALLS = 0.25
UP = ("STARTING", "RUNNING", "STOPPING")
"""Statuses in which a model counts towards the account's quota of running models and is billed."""

NOT_SIMULATED = "not simulated by the local AWS"

NO_REGION = "Set the setting region, the variable AWS_REGION, or a Region in your AWS profile."
GIVE_CREDENTIALS = "Sign in to the account (aws sso login, AWS_PROFILE or AWS_ACCESS_KEY_ID), then try again."

DENIED = {"AccessDenied", "AccessDeniedException", "UnauthorizedOperation", "AuthorizationError"}


class NotCheckedError(Exception):
    """A lookup failed. The message says why; ``advice`` says what to do."""

    def __init__(self, why: str, advice: str) -> None:
        super().__init__(why)
        self.advice = advice


class PrerequisiteError(NotCheckedError):
    """A prerequisite of all lookups is missing: settings, Region or credentials.

    The check of that prerequisite prints the advice. All other checks are skipped and only name it.
    """


def shared(look_up: Callable[[Any], Any]) -> Any:
    """A property that is looked up once, even if several threads read it at the same time. Errors are cached too."""

    def get(account: "Account") -> Any:
        with account.lock:
            is_first = look_up not in account.results
            future = account.results.setdefault(look_up, Future())
        if is_first:
            try:
                future.set_result(look_up(account))
            except Exception as error:
                future.set_exception(error)
        return future.result()

    return property(get, doc=look_up.__doc__)


class Account:
    """The account and its deployment, for plans and checks. Thread-safe.

    ``given`` are settings that override those in `cdk.json`. Any property can raise NotCheckedError, ClientError or
    BotoCoreError; `describe_error` describes them for people.
    """

    def __init__(self, given: Mapping[str, str]) -> None:
        self.lock = threading.Lock()
        self.results: dict[Callable[[Any], Any], Future[Any]] = {}
        self._client_lock = threading.Lock()
        self.endpoint = os.environ.get("AWS_ENDPOINT_URL", "")
        self.is_local = _is_this_machine(self.endpoint)
        self._given = dict(given)

    @shared
    def session(self) -> Any:
        """A session with the user's credentials, in AWS_REGION or the Region of the profile."""
        return new_session()

    @shared
    def credentials_region(self) -> str:
        """The Region of the environment or the profile, or an empty string."""
        try:
            return self.session.region_name or ""
        except BotoCoreError:  # for example, an unknown profile: the check "Credentials" reports it
            return ""

    @shared
    def settings(self) -> dict[str, Any]:
        """The validated settings of the deployment, by their keys in `cdk.json`."""
        context = [f"--context={key}={value}" for key, value in self._given.items()]
        process = subprocess.run(  # noqa: S603  # our own module
            [sys.executable, "-m", "stacks.chosen", *context, f"--region={self.credentials_region}"],
            cwd=PROJECT,
            capture_output=True,
            text=True,
            check=False,
        )
        if process.returncode:
            raise PrerequisiteError("the settings are wrong", process.stderr.strip())
        return dict(json.loads(process.stdout))

    @shared
    def region(self) -> str:
        """The Region of the deployment."""
        try:
            chosen = self.settings["region"]
        except NotCheckedError:
            chosen = ""
        region = chosen or self.credentials_region
        if not region:
            raise PrerequisiteError("no Region is set", NO_REGION)
        return str(region)

    @shared
    def identity(self) -> dict[str, Any]:
        """The response of GetCallerIdentity."""
        return dict(self._new_client("sts").get_caller_identity())

    def client(self, service: str, **credentials: str) -> Any:
        """A boto3 client of a service.

        ``credentials`` replace the user's: the arguments ``aws_access_key_id`` and so on of boto3's ``client``.

        Raises:
            PrerequisiteError: there are no usable credentials.
        """
        try:
            self.identity  # noqa: B018
        except (ClientError, BotoCoreError) as error:
            raise PrerequisiteError("there are no usable credentials", GIVE_CREDENTIALS) from error
        return self._new_client(service, **credentials)

    def _new_client(self, service: str, **credentials: str) -> Any:
        config = Config(
            connect_timeout=SECONDS_TO_CONNECT,
            read_timeout=SECONDS_TO_ANSWER,
            retries={"mode": "standard", "total_max_attempts": ATTEMPTS},
        )
        session, region = self.session, self.region
        with self._client_lock:  # boto3 sessions are not thread-safe, clients are
            return session.client(service, region_name=region, config=config, **credentials)

    @shared
    def bootstrap_version(self) -> int | None:
        """The version of the CDK bootstrap stack, or None if the Region is not bootstrapped."""
        qualifier = committed().get("@aws-cdk/core:bootstrapQualifier", "hnb659fds")
        ssm = self.client("ssm")
        try:
            return int(ssm.get_parameter(Name=f"/cdk-bootstrap/{qualifier}/version")["Parameter"]["Value"])
        except ssm.exceptions.ParameterNotFound:
            return None

    @shared
    def stack(self) -> dict[str, Any] | None:
        """The deployed stack, as DescribeStacks returns it. None if there is no stack, or only a change set."""
        try:
            (stack,) = self.client("cloudformation").describe_stacks(StackName=self.settings["stackName"])["Stacks"]
        except ClientError as error:
            if error.response["Error"]["Code"] == "ValidationError":
                return None
            raise
        return None if stack["StackStatus"] == "REVIEW_IN_PROGRESS" else dict(stack)

    @shared
    def outputs(self) -> dict[str, str]:
        """The outputs of the deployed stack; empty if nothing is deployed."""
        return {output["OutputKey"]: output["OutputValue"] for output in (self.stack or {}).get("Outputs", [])}

    @shared
    def resources(self) -> list[dict[str, Any]]:
        """The resources of the deployed stack, as ListStackResources returns them."""
        if not self.stack:
            return []
        pages = self.client("cloudformation").get_paginator("list_stack_resources")
        return [
            resource
            for page in pages.paginate(StackName=self.settings["stackName"])
            for resource in page["StackResourceSummaries"]
            if "PhysicalResourceId" in resource
        ]

    @shared
    def deployed_template(self) -> dict[str, Any]:
        """The template of the deployed stack."""
        body = self.client("cloudformation").get_template(StackName=self.settings["stackName"])["TemplateBody"]
        return dict(json.loads(body) if isinstance(body, str) else body)

    @shared
    def synthesized_template(self) -> dict[str, Any]:
        """The template that CDK synthesizes from this checkout with these settings.

        Raises:
            NotCheckedError: the synthesis failed.
        """
        stack_name = self.settings["stackName"]
        with TemporaryDirectory() as folder:
            try:
                synthesize(Path(folder), self._given)
            except SynthesisFailed as error:
                raise NotCheckedError("the stack cannot be synthesized", str(error)) from error
            return dict(json.loads(Path(folder, f"{stack_name}.template.json").read_text(encoding="utf-8")))

    @shared
    def projects(self) -> list[str]:
        """The ARNs of the account's Custom Labels projects."""
        pages = self.client("rekognition").get_paginator("describe_projects").paginate(Features=["CUSTOM_LABELS"])
        return [project["ProjectArn"] for page in pages for project in page["ProjectDescriptions"]]

    @shared
    def models(self) -> list[dict[str, Any]]:
        """All models of all projects, as DescribeProjectVersions returns them."""
        versions = self.client("rekognition").get_paginator("describe_project_versions")
        models = []
        for project in self.projects:
            for page in versions.paginate(ProjectArn=project):
                models += page["ProjectVersionDescriptions"]
                time.sleep(SECONDS_BETWEEN_CALLS)
        return models


def _is_this_machine(endpoint: str) -> bool:
    host = urlsplit(endpoint).hostname or ""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def describe_credentials_error(error: ClientError | BotoCoreError) -> tuple[str, str]:
    """Why GetCallerIdentity failed, and what to do."""
    if isinstance(error, ClientError):
        code = error.response["Error"]["Code"]
        if "Expired" in code:
            return "your credentials have expired", "Sign in again (aws sso login, or new access keys)."
        return f"AWS rejected your credentials ({code})", GIVE_CREDENTIALS
    reason, advice = describe_error(error)
    return reason, advice if isinstance(error, EndpointConnectionError) else GIVE_CREDENTIALS


def describe_error(error: Exception) -> tuple[str, str]:
    """Why a lookup failed, and what to do."""
    if isinstance(error, NotCheckedError):
        return str(error), error.advice
    if isinstance(error, NoRegionError):
        return "no Region is set", NO_REGION
    if isinstance(error, ClientError):
        code, message = error.response["Error"]["Code"], error.response["Error"].get("Message", "")
        if code in DENIED:
            permission = re.search(r"not authorized to perform: ([\w-]+:\w+)", message)
            needed = permission[1] if permission else f"the one for {error.operation_name}"
            return (
                f"your credentials are not allowed to call {error.operation_name}",
                f"Ask the account's administrator for the permission {needed}.",
            )
        details = f" ({' '.join(message.split())})" if message and "<" not in message else ""
        advice = "Try again. If the error persists, check the AWS Health Dashboard."
        return f"{error.operation_name} failed with {code}{details}", advice
    if isinstance(error, EndpointConnectionError | ConnectTimeoutError | ReadTimeoutError):
        where = error.kwargs.get("endpoint_url", "")
        return (
            f"the endpoint {where} does not respond",
            "Check the network, the proxy and the Region. A Region that does not exist has no endpoint.",
        )
    if isinstance(error, BotoCoreError):
        return str(error).rstrip("."), "Correct the value that the message names, then try again."
    return f"{type(error).__name__}: {error}", "This is a bug in the check. Please report it."
