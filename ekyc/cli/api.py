"""A client of the pipeline's HTTP API, with AWS credentials or the token of a Cognito user."""

from __future__ import annotations

import base64
import ipaddress
import time
from collections.abc import Generator, Iterator, Mapping
from typing import TYPE_CHECKING, Any

import httpx

from ekyc.cli.aws_session import new_session
from ekyc.cli.errors import CommandError, Unreachable

if TYPE_CHECKING:
    import boto3

REPORT_SECONDS = 900  # the timeout of the function that makes reports
TRY_LATER = frozenset({429, 503, 504})
BUSY_TRIES = 10  # of a detection, while the model or a service is busy


class NoLiveModel(CommandError):
    """No model is live, or the live model does not run."""


def private_url(text: str, name: str) -> httpx.URL:
    """``text`` as a URL that secrets may be sent to: https, or http to this machine.

    Raises:
        CommandError: ``text`` is not such a URL. The message calls it ``name``.
    """
    try:
        url = httpx.URL(text)
    except httpx.InvalidURL as error:
        raise CommandError(f"{name} {text!r} is not a URL: {error}.") from None
    if not url.host or url.scheme not in ("http", "https"):
        raise CommandError(f"{name} {text!r} is not the URL of a server. It must begin with https://.")
    if url.scheme == "http" and not _is_loopback(url.host):
        raise CommandError(
            f"{name} is http://{url.netloc.decode()}, which is not encrypted and would expose your token or signature. "
            "Nothing was sent. Use https://. Only this machine (localhost, 127.0.0.1, ::1) may use http://."
        )
    return url


def _is_loopback(host: str) -> bool:
    """Whether ``host`` is this machine. Other names than ``localhost`` do not count: DNS answers can be forged."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


class SignedByAws(httpx.Auth):
    """Signs each request to API Gateway with Signature Version 4 and the session's credentials."""

    requires_request_body = True

    def __init__(self, session: boto3.Session) -> None:
        self._session = session

    def auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:
        """Add the signature's headers to ``request``."""
        from botocore.auth import SigV4Auth
        from botocore.awsrequest import AWSRequest
        from botocore.exceptions import BotoCoreError

        try:
            credentials = self._session.get_credentials()
        except BotoCoreError as error:
            raise CommandError(f"The AWS credentials cannot be read: {error}") from error
        if credentials is None:
            raise CommandError(
                "There are no AWS credentials. Sign in, export the lines that `ekyc local` prints, or set EKYC_TOKEN."
            )
        signed = AWSRequest(request.method, str(request.url), data=request.content)
        SigV4Auth(credentials, "execute-api", self._session.region_name or "us-east-1").add_auth(signed)
        request.headers.update(dict(signed.headers))
        yield request


class SignedByToken(httpx.Auth):
    """Sends the ID token of a Cognito user in the header ``Authorization``.

    Source: API Gateway guide, "Integrate a REST API with a user pool".
    """

    def __init__(self, token: str) -> None:
        self._token = token

    def auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:
        """Add the token to ``request``."""
        request.headers["Authorization"] = f"Bearer {self._token}"
        yield request


class Api:
    """The calls of the HTTP API that the commands use. ``url`` is the API's root, without ``/api/training``.

    Redirects are not followed, because the token or signature is for ``url`` only. Every call raises `Unreachable` if
    a later attempt may succeed, and `CommandError`, with the API's message, if the API refuses the call.
    """

    def __init__(self, url: str, session: boto3.Session | None = None, token: str | None = None) -> None:
        private_url(url, "The API's URL (EKYC_API_URL, the stack's output ApiUrl)")
        self._detect = f"{url.rstrip('/')}/api/documents/detect"
        self._http = httpx.Client(
            base_url=f"{url.rstrip('/')}/api/training/",
            auth=SignedByToken(token) if token is not None else SignedByAws(session or new_session(url)),
            timeout=30,
            transport=httpx.HTTPTransport(retries=3),
        )

    def create(self) -> dict[str, Any]:
        """Create a job."""
        return self._call("POST", "create").json()

    def start(self, job_id: str, options: Mapping[str, Any]) -> str:
        """Start the job and return the ARN of its execution."""
        answer = self._call("POST", "start", params={"JobId": job_id}, json=options)
        return answer.headers["X-Execution-Arn"]

    def jobs(self) -> Iterator[dict[str, Any]]:
        """All jobs, newest first. Pages are fetched as they are read."""
        yield from self._pages("list")

    def job(self, job_id: str) -> dict[str, Any]:
        """The job, its progress and figures."""
        return self._call("GET", f"jobs/{job_id}").json()

    def audit(self, job_id: str, accept: str) -> bytes:
        """The job's audit report in the media type ``accept``. Waits until the report is ready.

        Raises:
            CommandError: the report is not ready within `REPORT_SECONDS`, or cannot be fetched.
        """
        deadline = time.monotonic() + REPORT_SECONDS
        while True:
            answer = self._call("GET", f"jobs/{job_id}/audit", may_redirect=True, headers={"Accept": accept})
            if "Location" in answer.headers:
                break
            wait = int(answer.headers["Retry-After"])
            if time.monotonic() + wait > deadline:
                raise CommandError("The report is still being made. Run the command again in a few minutes.")
            time.sleep(wait)
        link = private_url(answer.headers["Location"], "The link to the report")
        try:  # presigned: the request must not carry the API's token or signature
            report = httpx.get(link, timeout=60).raise_for_status()
        except httpx.HTTPError as error:
            raise CommandError(f"The report cannot be fetched: {type(error).__name__}.") from None
        return report.content

    def states(self, job_id: str) -> list[dict[str, Any]]:
        """The tasks of the state machine, each with its status in this job."""
        return self._call("GET", f"jobs/{job_id}/states").json()["states"]

    def uploads(self, job_id: str) -> Iterator[dict[str, Any]]:
        """The files uploaded for the job: name, size in bytes, and ``head``, a presigned URL for a HEAD request."""
        yield from self._pages(f"jobs/{job_id}/uploads")

    def upload_targets(
        self,
        job_id: str,
        sha256: Mapping[str, str],
        sizes: Mapping[str, int],
        subjects: Mapping[str, str] | None = None,
    ) -> dict[str, dict[str, Any]]:
        """A presigned PUT URL and its headers for each name, at most 1,000.

        Args:
            sha256: the SHA-256 of each file's content, in hex, by name.
            sizes: the size of each file in bytes, by name.
            subjects: the subject of each photo that has one, by name.
        """
        body = {"names": list(sha256), "sha256": dict(sha256), "sizes": dict(sizes)}
        if subjects:
            body["subjects"] = dict(subjects)
        return self._call("POST", f"jobs/{job_id}/urls", json=body).json()

    def supply_labels(self, job_id: str, name: str) -> dict[str, Any]:
        """Give the uploaded labels file ``name`` to a job that waits for labels."""
        return self._call("POST", f"jobs/{job_id}/labels", json={"key": name}).json()

    def stop(self, job_id: str) -> dict[str, Any]:
        """Stop the job. Returns the job with lists of what was ``stopped`` and what is ``remaining``."""
        return self._call("POST", f"jobs/{job_id}/stop").json()

    def resume(self, job_id: str) -> dict[str, Any]:
        """Resume a job that failed or was stopped."""
        return self._call("POST", f"jobs/{job_id}/resume").json()

    def delete(self, job_id: str, *, model: bool = False) -> dict[str, Any]:
        """Request the erasure of the job's personal data and, with ``model``, its model. Runs in the background."""
        return self._call("DELETE", f"jobs/{job_id}", params={"deleteModel": "true"} if model else {}).json()

    def model(self) -> dict[str, Any]:
        """The live model."""
        return self._call("GET", "model").json()

    def change_model(self, verb: str) -> dict[str, Any]:
        """``start`` or ``stop`` the live model. Returns its ARN and status."""
        return self._call("POST", f"model/{verb}").json()

    def detect(self, photo: bytes) -> dict[str, Any]:
        """The documents in a photo of at most 4 MB. Tries again while the model is busy.

        Raises:
            NoLiveModel: no model is live, or the live model does not run.
        """
        body = {"photo": base64.b64encode(photo).decode()}
        for attempt in range(1, BUSY_TRIES + 1):
            answer = self.ask("POST", self._detect, json=body)
            if answer.status_code not in (429, 503) or attempt == BUSY_TRIES:
                break
            time.sleep(int(answer.headers.get("Retry-After", 1)))
        if answer.status_code == 409:
            raise NoLiveModel(_detail(answer))
        return self._checked(answer, "POST", "documents/detect").json()

    def _pages(self, path: str) -> Iterator[dict[str, Any]]:
        parameters: dict[str, str] = {}
        while True:
            answer = self._call("GET", path, params=parameters)
            yield from answer.json()
            if "X-Next-Token" not in answer.headers:
                return
            parameters = {"nextToken": answer.headers["X-Next-Token"]}

    def ask(self, method: str, path: str, **arguments: Any) -> httpx.Response:
        """The response to a call, whatever its status code."""
        try:
            return self._http.request(method, path, **arguments)
        except httpx.TransportError as error:
            raise Unreachable(f"The API at {self._http.base_url} cannot be reached: {error}") from error

    def _call(self, method: str, path: str, *, may_redirect: bool = False, **arguments: Any) -> httpx.Response:
        answer = self.ask(method, path, **arguments)
        return answer if may_redirect and answer.has_redirect_location else self._checked(answer, method, path)

    def _checked(self, answer: httpx.Response, method: str, path: str) -> httpx.Response:
        """The response of a call that succeeded. Raises the error of another."""
        if answer.is_success:
            return answer
        if answer.has_redirect_location:
            raise CommandError(
                f"The API answered {method} {path} with a redirect ({answer.status_code}). Redirects are not followed, "
                "because your token or signature is for this API only. Check EKYC_API_URL."
            )
        kind = Unreachable if answer.status_code in TRY_LATER else CommandError
        raise kind(f"The API refused {method} {path} ({answer.status_code}): {_detail(answer)}")


def _detail(answer: httpx.Response) -> str:
    """What the API says of an error."""
    try:
        problem = answer.json()
    except ValueError:
        problem = None
    if not isinstance(problem, dict):
        problem = {}
    return problem.get("detail") or problem.get("message") or answer.reason_phrase
