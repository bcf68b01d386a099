"""A client of the pipeline's HTTP API: signed with the user's AWS credentials, errors in the API's own words."""

import time
from collections.abc import Callable, Generator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import boto3
import httpx
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest

from ekyc.cli.errors import CommandError

NAMES_PER_CALL = 1000
PARALLEL_UPLOADS = 8
REPORT_SECONDS = 900  # the time that the function which makes reports has


class SignedByAws(httpx.Auth):
    """Signs each request with Signature Version 4 for API Gateway, with the session's credentials."""

    requires_request_body = True

    def __init__(self, session: boto3.Session) -> None:
        self._session = session

    def auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:
        """Add the signature's headers to ``request``."""
        credentials = self._session.get_credentials()
        if credentials is None:
            raise CommandError("No AWS credentials were found: sign in, or export those that `ekyc local` prints.")
        signed = AWSRequest(request.method, str(request.url), data=request.content)
        SigV4Auth(credentials, "execute-api", self._session.region_name or "us-east-1").add_auth(signed)
        request.headers.update(dict(signed.headers))
        yield request


class Api:
    """The calls of the HTTP API that the commands use. ``url`` is the API's root, before ``/api/training``."""

    def __init__(self, url: str, session: boto3.Session) -> None:
        self._http = httpx.Client(
            base_url=f"{url.rstrip('/')}/api/training/",
            auth=SignedByAws(session),
            timeout=30,
            transport=httpx.HTTPTransport(retries=3),
        )

    def create(self) -> dict[str, Any]:
        """Create a job."""
        return self._call("POST", "create").json()

    def start(self, job_id: str, options: Mapping[str, Any]) -> str:
        """Start the job; returns its execution's ARN."""
        answer = self._call("POST", "start", params={"JobId": job_id}, json=options)
        return answer.headers["X-Execution-Arn"]

    def job(self, job_id: str) -> dict[str, Any]:
        """The job, its progress and figures."""
        return self._call("GET", f"jobs/{job_id}").json()

    def audit(self, job_id: str, accept: str) -> bytes:
        """The audit report of the job as ``accept`` (a media type) asks, once it is made.

        Raises:
            CommandError: also when it is not made within `REPORT_SECONDS`.
        """
        deadline = time.monotonic() + REPORT_SECONDS
        while True:
            answer = self._call("GET", f"jobs/{job_id}/audit", headers={"Accept": accept})
            if "Location" in answer.headers:
                break
            wait = int(answer.headers["Retry-After"])
            if time.monotonic() + wait > deadline:
                raise CommandError("The report is still being made: give the command again in some minutes.")
            time.sleep(wait)
        try:  # the link has a signature of its own
            found = httpx.get(answer.headers["Location"], timeout=60).raise_for_status()
        except httpx.HTTPError as error:
            raise CommandError(f"The report cannot be fetched: {type(error).__name__}.") from None
        return found.content

    def stop(self, job_id: str) -> dict[str, Any]:
        """Stop what the job runs; the job with what was ``stopped`` and what is ``remaining``."""
        return self._call("POST", f"jobs/{job_id}/stop").json()

    def resume(self, job_id: str) -> dict[str, Any]:
        """Go on with a job that failed or was stopped."""
        return self._call("POST", f"jobs/{job_id}/resume").json()

    def model(self) -> dict[str, Any]:
        """The live model."""
        return self._call("GET", "model").json()

    def upload(self, job_id: str, photos: Sequence[Path], progress: Callable[[], None]) -> None:
        """Upload ``photos`` through presigned URLs, several at a time; ``progress`` is called once a photo.

        Raises:
            CommandError: the API or the storage refused a photo; names it.
        """

        def put(path: Path, target: Mapping[str, Any]) -> None:
            answer = storage.put(target["url"], headers=target["headers"], content=path.read_bytes())
            if answer.status_code != httpx.codes.OK:
                raise CommandError(f"{path.name} was not uploaded: the storage answered {answer.status_code}.")
            progress()

        transport = httpx.HTTPTransport(retries=3)
        with httpx.Client(timeout=60, transport=transport) as storage, ThreadPoolExecutor(PARALLEL_UPLOADS) as pool:
            for first in range(0, len(photos), NAMES_PER_CALL):
                page = photos[first : first + NAMES_PER_CALL]
                names = {"names": [path.name for path in page]}
                targets = self._call("POST", f"jobs/{job_id}/urls", json=names).json()
                list(pool.map(lambda path: put(path, targets[path.name]), page))  # noqa: B023

    def _call(self, method: str, path: str, **arguments: Any) -> httpx.Response:
        try:
            answer = self._http.request(method, path, **arguments)
        except httpx.TransportError as error:
            raise CommandError(f"The API at {self._http.base_url} cannot be reached: {error}") from error
        if answer.is_success or answer.has_redirect_location:
            return answer
        try:
            problem = answer.json()
        except ValueError:
            problem = {}
        detail = problem.get("detail") or problem.get("message") or answer.reason_phrase
        raise CommandError(f"The API refused {method} {path} ({answer.status_code}): {detail}")
