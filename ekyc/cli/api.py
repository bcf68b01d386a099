"""A client of the pipeline's HTTP API: with the user's AWS credentials, or a token of a Cognito user pool."""

from __future__ import annotations

import ipaddress
import time
from collections.abc import Generator, Iterator, Mapping
from typing import TYPE_CHECKING, Any

import httpx

from ekyc.cli.aws_session import new_session
from ekyc.cli.errors import CommandError, Unreachable

if TYPE_CHECKING:
    import boto3

REPORT_SECONDS = 900  # the time that the function which makes reports has
TRY_LATER = frozenset({429, 503, 504})


def private_url(text: str, name: str) -> httpx.URL:
    """``text`` as a URL over which a secret may be sent: https, or http that does not leave this machine.

    Raises:
        CommandError: it is another; calls it ``name``.
    """
    try:
        url = httpx.URL(text)
    except httpx.InvalidURL as error:
        raise CommandError(f"{name} {text!r} is not a URL: {error}.") from None
    if not url.host or url.scheme not in ("http", "https"):
        raise CommandError(f"{name} {text!r} is not the URL of a server: it must begin with https://.")
    if url.scheme == "http" and not _is_loopback(url.host):
        raise CommandError(
            f"{name} is http://{url.netloc.decode()}, which is not encrypted: the network would see your token or "
            "signature. Nothing was sent. Use https://; http:// is for this machine only (localhost, 127.0.0.1, ::1)."
        )
    return url


def _is_loopback(host: str) -> bool:
    """Whether ``host`` is this machine. Only a literal address and ``localhost`` are: a DNS answer can be forged."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


class SignedByAws(httpx.Auth):
    """Signs each request with Signature Version 4 for API Gateway, with the session's credentials."""

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
                "No AWS credentials were found: sign in, export those that `ekyc local` prints, or set EKYC_TOKEN."
            )
        signed = AWSRequest(request.method, str(request.url), data=request.content)
        SigV4Auth(credentials, "execute-api", self._session.region_name or "us-east-1").add_auth(signed)
        request.headers.update(dict(signed.headers))
        yield request


class SignedByToken(httpx.Auth):
    """Sends the ID token of a Cognito user pool's user.

    Source: API Gateway guide, "Integrate a REST API with a user pool": the token in the header ``Authorization``.
    """

    def __init__(self, token: str) -> None:
        self._token = token

    def auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:
        """Add the token to ``request``."""
        request.headers["Authorization"] = f"Bearer {self._token}"
        yield request


class Api:
    """The calls of the HTTP API that the commands use. ``url`` is the API's root, before ``/api/training``.

    The token or signature goes to ``url`` only: redirects are not followed.
    Every call raises `Unreachable` when it may succeed later, and `CommandError`, in the API's words, when refused.
    """

    def __init__(self, url: str, session: boto3.Session | None = None, token: str | None = None) -> None:
        private_url(url, "The API's URL (EKYC_API_URL, the stack's output ApiUrl)")
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
        """Start the job; returns its execution's ARN."""
        answer = self._call("POST", "start", params={"JobId": job_id}, json=options)
        return answer.headers["X-Execution-Arn"]

    def jobs(self) -> Iterator[dict[str, Any]]:
        """All jobs, newest first, asked page by page as they are wanted."""
        yield from self._pages("list")

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
            answer = self._call("GET", f"jobs/{job_id}/audit", may_redirect=True, headers={"Accept": accept})
            if "Location" in answer.headers:
                break
            wait = int(answer.headers["Retry-After"])
            if time.monotonic() + wait > deadline:
                raise CommandError("The report is still being made: give the command again in some minutes.")
            time.sleep(wait)
        link = private_url(answer.headers["Location"], "The link to the report")
        try:  # the link has a signature of its own
            found = httpx.get(link, timeout=60).raise_for_status()
        except httpx.HTTPError as error:
            raise CommandError(f"The report cannot be fetched: {type(error).__name__}.") from None
        return found.content

    def states(self, job_id: str) -> list[dict[str, Any]]:
        """The tasks of the state machine with how far the job is."""
        return self._call("GET", f"jobs/{job_id}/states").json()["states"]

    def uploads(self, job_id: str) -> Iterator[dict[str, Any]]:
        """What is uploaded for the job: name, size in bytes, and ``head``, a URL that takes a HEAD."""
        yield from self._pages(f"jobs/{job_id}/uploads")

    def upload_targets(
        self, job_id: str, sha256: Mapping[str, str], sizes: Mapping[str, int]
    ) -> dict[str, dict[str, Any]]:
        """A URL with headers to send for each of up to 1,000 names, whose content has the SHA-256 (hex) and bytes."""
        body = {"names": list(sha256), "sha256": dict(sha256), "sizes": dict(sizes)}
        return self._call("POST", f"jobs/{job_id}/urls", json=body).json()

    def supply_labels(self, job_id: str, name: str) -> dict[str, Any]:
        """Hand the job that waits for labels the uploaded file ``name``."""
        return self._call("POST", f"jobs/{job_id}/labels", json={"key": name}).json()

    def stop(self, job_id: str) -> dict[str, Any]:
        """Stop what the job runs; the job with what was ``stopped`` and what is ``remaining``."""
        return self._call("POST", f"jobs/{job_id}/stop").json()

    def resume(self, job_id: str) -> dict[str, Any]:
        """Go on with a job that failed or was stopped."""
        return self._call("POST", f"jobs/{job_id}/resume").json()

    def delete(self, job_id: str, *, model: bool = False) -> dict[str, Any]:
        """Have what the job holds of people erased, and with ``model`` its model, which goes on in the background."""
        return self._call("DELETE", f"jobs/{job_id}", params={"deleteModel": "true"} if model else {}).json()

    def model(self) -> dict[str, Any]:
        """The live model."""
        return self._call("GET", "model").json()

    def change_model(self, verb: str) -> dict[str, Any]:
        """``start`` or ``stop`` the live model; its ARN and status."""
        return self._call("POST", f"model/{verb}").json()

    def _pages(self, path: str) -> Iterator[dict[str, Any]]:
        parameters: dict[str, str] = {}
        while True:
            answer = self._call("GET", path, params=parameters)
            yield from answer.json()
            if "X-Next-Token" not in answer.headers:
                return
            parameters = {"nextToken": answer.headers["X-Next-Token"]}

    def ask(self, method: str, path: str, **arguments: Any) -> httpx.Response:
        """The answer to a call, also when it is a refusal."""
        try:
            return self._http.request(method, path, **arguments)
        except httpx.TransportError as error:
            raise Unreachable(f"The API at {self._http.base_url} cannot be reached: {error}") from error

    def _call(self, method: str, path: str, *, may_redirect: bool = False, **arguments: Any) -> httpx.Response:
        answer = self.ask(method, path, **arguments)
        if answer.is_success or (may_redirect and answer.has_redirect_location):
            return answer
        if answer.has_redirect_location:
            raise CommandError(
                f"The API answered {method} {path} with a redirect ({answer.status_code}), which is not followed: your "
                "token or signature is for this API only. Check EKYC_API_URL."
            )
        try:
            problem = answer.json()
        except ValueError:
            problem = None
        if not isinstance(problem, dict):
            problem = {}
        detail = problem.get("detail") or problem.get("message") or answer.reason_phrase
        kind = Unreachable if answer.status_code in TRY_LATER else CommandError
        raise kind(f"The API refused {method} {path} ({answer.status_code}): {detail}")
