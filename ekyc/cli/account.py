"""The AWS account that the credentials lead to and the deployment that is chosen, looked up once and when asked for."""

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
from ekyc.localaws.synth import PROJECT, SynthesisFailed, synthesize

SECONDS_TO_CONNECT, SECONDS_TO_ANSWER, ATTEMPTS = 3, 10, 2
# Rekognition answers 5 calls a second of each operation. Source: AWS General Reference, 'Amazon Rekognition endpoints
# and quotas'. One call in 0.25 s leaves room for the jobs that run.
SECONDS_BETWEEN_CALLS = 0.25
UP = ("STARTING", "RUNNING", "STOPPING")
"""The statuses of a model that takes one of the account's places for running models, and bills."""

NOT_PLAYED = "not played by the local AWS"

NO_REGION = "Give the setting region, the variable AWS_REGION or a Region in your profile."
GIVE_CREDENTIALS = "Give credentials of the account (aws sso login, AWS_PROFILE or AWS_ACCESS_KEY_ID), then ask again."

DENIED = {"AccessDenied", "AccessDeniedException", "UnauthorizedOperation", "AuthorizationError"}


class NotCheckedError(Exception):
    """Something could not be looked up: why, in words, and what to do about it."""

    def __init__(self, why: str, advice: str) -> None:
        super().__init__(why)
        self.advice = advice


class ToldElsewhereError(NotCheckedError):
    """What everything else rests on is missing: one check tells it with its advice, the others only name it."""


def shared(look_up: Callable[[Any], Any]) -> Any:
    """A property that is looked up once, however many threads ask for it at a time; its error is shared too."""

    def get(account: "Account") -> Any:
        with account.lock:
            is_first = look_up not in account.found
            future = account.found.setdefault(look_up, Future())
        if is_first:
            try:
                future.set_result(look_up(account))
            except Exception as error:
                future.set_exception(error)
        return future.result()

    return property(get, doc=look_up.__doc__)


class Account:
    """What plans and checks ask about; safe between threads. ``given`` are settings beyond those of `cdk.json`.

    Any property may raise NotCheckedError, ClientError or BotoCoreError; `in_words` says them.
    """

    def __init__(self, given: Mapping[str, str]) -> None:
        self.lock = threading.Lock()
        self.found: dict[Callable[[Any], Any], Future[Any]] = {}
        self._making_a_client = threading.Lock()
        self.endpoint = os.environ.get("AWS_ENDPOINT_URL", "")
        self.is_local = _is_this_machine(self.endpoint)
        self._given = dict(given)

    @shared
    def session(self) -> Any:
        """The session of the user's credentials, in AWS_REGION or the Region of the profile."""
        return new_session()

    @shared
    def credentials_region(self) -> str:
        """The Region of the environment or the profile, or nothing."""
        try:
            return self.session.region_name or ""
        except BotoCoreError:  # such as a profile that does not exist, which the check of the credentials tells
            return ""

    @shared
    def settings(self) -> dict[str, Any]:
        """The settings that a deployment would have, checked, by their keys in `cdk.json`."""
        context = [f"--context={key}={value}" for key, value in self._given.items()]
        read = subprocess.run(  # noqa: S603  # our own module
            [sys.executable, "-m", "stacks.chosen", *context, f"--region={self.credentials_region}"],
            cwd=PROJECT,
            capture_output=True,
            text=True,
            check=False,
        )
        if read.returncode:
            raise ToldElsewhereError("the settings are wrong", read.stderr.strip())
        return dict(json.loads(read.stdout))

    @shared
    def region(self) -> str:
        """The Region that a deployment would go to."""
        try:
            chosen = self.settings["region"]
        except NotCheckedError:
            chosen = ""
        region = chosen or self.credentials_region
        if not region:
            raise ToldElsewhereError("no Region is known", NO_REGION)
        return str(region)

    @shared
    def identity(self) -> dict[str, Any]:
        """Who the credentials are: GetCallerIdentity's answer."""
        return dict(self._new_client("sts").get_caller_identity())

    def client(self, service: str, **credentials: str) -> Any:
        """The boto3 client of a service; with other ``credentials`` than the user's, by boto3's names of them.

        Raises:
            ToldElsewhereError: there are no usable credentials.
        """
        try:
            self.identity  # noqa: B018
        except (ClientError, BotoCoreError) as error:
            raise ToldElsewhereError("there are no usable credentials", GIVE_CREDENTIALS) from error
        return self._new_client(service, **credentials)

    def _new_client(self, service: str, **credentials: str) -> Any:
        config = Config(
            connect_timeout=SECONDS_TO_CONNECT,
            read_timeout=SECONDS_TO_ANSWER,
            retries={"mode": "standard", "total_max_attempts": ATTEMPTS},
        )
        session, region = self.session, self.region
        with self._making_a_client:  # a session is not safe between threads, its clients are
            return session.client(service, region_name=region, config=config, **credentials)

    @shared
    def bootstrap_version(self) -> int | None:
        """The version of the CDK's bootstrap stack; None when there is none."""
        context = json.loads((PROJECT / "cdk.json").read_text(encoding="utf-8"))["context"]
        qualifier = context.get("@aws-cdk/core:bootstrapQualifier", "hnb659fds")
        ssm = self.client("ssm")
        try:
            return int(ssm.get_parameter(Name=f"/cdk-bootstrap/{qualifier}/version")["Parameter"]["Value"])
        except ssm.exceptions.ParameterNotFound:
            return None

    @shared
    def stack(self) -> dict[str, Any] | None:
        """DescribeStacks' description of the deployed stack; None when there is none, or just a change set."""
        try:
            (found,) = self.client("cloudformation").describe_stacks(StackName=self.settings["stackName"])["Stacks"]
        except ClientError as error:
            if error.response["Error"]["Code"] == "ValidationError":
                return None
            raise
        return None if found["StackStatus"] == "REVIEW_IN_PROGRESS" else dict(found)

    @shared
    def outputs(self) -> dict[str, str]:
        """The deployed stack's outputs; none when nothing is deployed."""
        return {output["OutputKey"]: output["OutputValue"] for output in (self.stack or {}).get("Outputs", [])}

    @shared
    def resources(self) -> list[dict[str, Any]]:
        """ListStackResources' summaries of what the deployed stack has made."""
        if not self.stack:
            return []
        pages = self.client("cloudformation").get_paginator("list_stack_resources")
        return [
            one
            for page in pages.paginate(StackName=self.settings["stackName"])
            for one in page["StackResourceSummaries"]
            if "PhysicalResourceId" in one
        ]

    @shared
    def deployed(self) -> dict[str, Any]:
        """The template that is deployed."""
        body = self.client("cloudformation").get_template(StackName=self.settings["stackName"])["TemplateBody"]
        return dict(json.loads(body) if isinstance(body, str) else body)

    @shared
    def synthesized(self) -> dict[str, Any]:
        """The template that the checkout and the settings give now."""
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
        """DescribeProjectVersions' descriptions of all models of all projects."""
        versions = self.client("rekognition").get_paginator("describe_project_versions")
        found = []
        for project in self.projects:
            for page in versions.paginate(ProjectArn=project):
                found += page["ProjectVersionDescriptions"]
                time.sleep(SECONDS_BETWEEN_CALLS)
        return found


def _is_this_machine(endpoint: str) -> bool:
    host = urlsplit(endpoint).hostname or ""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def credentials_in_words(error: ClientError | BotoCoreError) -> tuple[str, str]:
    """Why AWS did not say who the credentials are, and what to do about it."""
    if isinstance(error, ClientError):
        code = error.response["Error"]["Code"]
        if "Expired" in code:
            return "your credentials have expired", "Log in again (aws sso login, or new keys)."
        return f"AWS refuses your credentials ({code})", GIVE_CREDENTIALS
    found, advice = in_words(error)
    return found, advice if isinstance(error, EndpointConnectionError) else GIVE_CREDENTIALS


def in_words(error: Exception) -> tuple[str, str]:
    """Why something could not be looked up, and what to do about it."""
    if isinstance(error, NotCheckedError):
        return str(error), error.advice
    if isinstance(error, NoRegionError):
        return "no Region is known", NO_REGION
    if isinstance(error, ClientError):
        code, message = error.response["Error"]["Code"], error.response["Error"].get("Message", "")
        if code in DENIED:
            permission = re.search(r"not authorized to perform: ([\w-]+:\w+)", message)
            needed = permission[1] if permission else f"the one for {error.operation_name}"
            return (
                f"your credentials may not call {error.operation_name}",
                f"Ask whoever manages the account for the permission {needed}.",
            )
        said = f" ({' '.join(message.split())})" if message and "<" not in message else ""
        return f"AWS answered {error.operation_name} with {code}{said}", "Try again; if it stays, look at AWS's status."
    if isinstance(error, EndpointConnectionError | ConnectTimeoutError | ReadTimeoutError):
        where = error.kwargs.get("endpoint_url", "")
        return (
            f"there is no answer from {where}",
            "Look at the network, the proxy and the Region; a wrong Region has no such address.",
        )
    if isinstance(error, BotoCoreError):
        return str(error).rstrip("."), "Correct what the message names, then try again."
    return f"{type(error).__name__}: {error}", "This is a fault of the check: please report it."
