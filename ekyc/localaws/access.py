"""Access control of the local AWS: decides about each request before any service handles it.

Every program on this machine can reach the port, and so can every web page in a browser on it. Programs (boto3, the AWS
CLI, curl, `ekyc`) may make any call. They must sign calls of AWS services, with any key. A browser may make only these
requests:

- The labelling page, the sign-in page of user pools, and calls of the labelling page to the API, which have a person's
  token.
- Addresses that a person opens: API responses and presigned links to S3 objects. They are read-only, without scripts.
- Requests of an allowed web origin: to the API, and uploads to presigned URLs.

A page cannot make a browser omit or forge what is checked here. Text browsers such as Lynx send nothing that
distinguishes them from programs, but no page can make them sign, so their pages call no AWS service.

Sources: Fetch standard, "`Origin` header"; Fetch Metadata Request Headers, "The Sec-Fetch-Site HTTP Request Header" and
"The Sec-Purpose HTTP Request Header"; RFC 9110, section 7.2 (Host).
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from werkzeug.wrappers import Request, Response

from ekyc.localaws import aws, presigned
from ekyc.localaws.services import sign_in

API = "/api/"
LABELLING = "/labelling/"
LABELLING_CALLS = f"{API}labelling/"
PRIVATE = {
    "Cache-Control": "no-store",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}
"""Headers of responses that pages of other origins must not read."""

OPENED = ("none", "same-origin")  # values of Sec-Fetch-Site: opened by a person, or requested by our own page
SPECULATION = ("Sec-Purpose", "Purpose")  # headers of requests that a browser makes before a person opens the address
PRESIGNED_OBJECT = re.compile(r"/(?P<bucket>[^/]+)/.+")
# Source: S3 API reference, "Authenticating Requests: Using Query Parameters", "GetObject".
PRESIGNED_QUERY = re.compile(
    r"x-amz-.+|awsaccesskeyid|signature|expires|content-type|content-md5|versionid|response-.+", re.IGNORECASE
)


class AccessControl:
    """The WSGI application `app` with access control, for the server on `port` of this machine."""

    def __init__(self, app: Any, port: int) -> None:
        self._app = app
        names = [f"{name}:{port}" for name in ("127.0.0.1", "localhost", "[::1]")]
        self._hosts = {*names, *(name.removesuffix(":80") for name in names)}  # clients omit HTTP's default port
        self._origins = {f"http://{host}" for host in self._hosts}

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        request = Request(environ)
        answer = self._refuse_host(environ) or self._refuse_page(request) or self._refuse_unsigned(request)
        if answer is not None:
            return answer(environ, start_response)
        if not is_browsers(request) or _path(request).startswith(LABELLING) or _path(request) in sign_in.PATHS:
            return self._app(environ, start_response)

        def start(status: str, headers: list[tuple[str, str]], *error: Any) -> Any:
            # Without the sandbox, scripts in an HTML object of a bucket would run with the origin of our own pages.
            return start_response(status, [*headers, ("Content-Security-Policy", "sandbox")], *error)

        return self._app(environ, start)

    def _refuse_host(self, environ: dict[str, Any]) -> Response | None:
        """The refusal of a request for another host, such as a foreign name that resolves to this machine."""
        # A target in absolute form would replace the header.
        if environ["REQUEST_URI"].startswith("/") and environ.get("HTTP_HOST", "").lower() in self._hosts:
            return None
        hosts = ", ".join(sorted(self._hosts))
        return refusal(421, "Misdirected Request", f"The local AWS accepts requests only for the hosts {hosts}.")

    def _refuse_page(self, request: Request) -> Response | None:
        """The refusal of a web page's request. None if the request is allowed, or comes from a program."""
        if not is_browsers(request):
            return None
        # A page can prefetch an address so that the request looks like one of a person, without its origin. If the
        # browser itself prefetches an address that a person types, it requests the address again after the refusal.
        if any(name in request.headers for name in SPECULATION):
            return refusal(403, "Forbidden", OTHER_PAGE)
        origin, site = _origin(request), request.headers.get("Sec-Fetch-Site")
        if origin is not None and origin not in self._origins:
            # Browsers that send Sec-Fetch-Site also send Origin with each request that CORS rules can allow.
            can_be_allowed = "Origin" in request.headers or site is None
            return None if can_be_allowed and _is_allowed(origin, request) else refusal(403, "Forbidden", OTHER_PAGE)
        if site not in OPENED and not (site is None and origin):
            return refusal(403, "Forbidden", OTHER_PAGE)
        if f"{_path(request)}/".startswith((LABELLING, LABELLING_CALLS)) or _path(request) in sign_in.PATHS:
            return None
        if request.method in ("GET", "HEAD") and (_path(request).startswith(API) or _presigned_bucket(request)):
            return None
        return refusal(403, "Forbidden", "A browser can open only API responses, presigned links, the labelling page.")

    def _refuse_unsigned(self, request: Request) -> Response | None:
        """The refusal of an unsigned request for an AWS service. None for any other request."""
        is_own = _path(request).startswith(API) or f"{_path(request)}/".startswith(LABELLING)
        is_own = is_own or _path(request) in sign_in.PATHS
        return None if is_own or _is_signed(request) else refusal(403, "Forbidden", SIGN)


OTHER_PAGE = (
    "Pages of other sites and old browsers, which do not send the origin of a request, cannot use the local AWS. The "
    "setting webOrigins names the origins that can call the API and upload to presigned URLs. To open an address of "
    "the local AWS, type or paste it into the browser."
)
SIGN = (
    "A request for an AWS service must be signed, with any access key: in the header Authorization, or, unless the "
    "method is POST, as a presigned URL of S3. The AWS CLI and boto3 sign with the variables that `ekyc local` prints."
)


def refusal(status: int, title: str, detail: str) -> Response:
    """An error response that pages of other origins cannot read."""
    body = {"type": "about:blank", "title": title, "status": status, "detail": detail}
    return Response(json.dumps(body), status, headers=PRIVATE, content_type="application/problem+json")


def is_browsers(request: Request) -> bool:
    """Whether a browser made the request. Old browsers send only their name; Node.js's fetch sends Sec-Fetch-Mode."""
    headers = ("Origin", "Referer", "Sec-Fetch-Site", *SPECULATION)
    return any(name in request.headers for name in headers) or "Mozilla/" in request.headers.get("User-Agent", "")


def has_aws_signature(environ: dict[str, Any]) -> bool:
    """Whether the header Authorization has a signature of AWS. A user and password in a link become "Basic"."""
    return str(environ.get("HTTP_AUTHORIZATION", "")).startswith("AWS")


def _is_signed(request: Request) -> bool:
    """Whether the request has a signature of AWS, of any key, in its header or as a presigned URL.

    A page can write a query with a signature into a link, an image or a form, but such a GET request only reads from
    S3, and browsers send a form by GET or POST. Only scripts, which send `Origin`, can set the header.
    """
    if has_aws_signature(request.environ):
        return True
    signer = presigned.find_signer(request.query_string.decode("latin-1"))
    return request.method != "POST" and bool(signer and presigned.SIGNATURES.intersection(request.args))


def _path(request: Request) -> str:
    """The path that selects the service. werkzeug's own `path` merges slashes."""
    return str(request.environ["PATH_INFO"])


def _origin(request: Request) -> str | None:
    """The origin of the requesting page, if the browser sends it."""
    if "Origin" in request.headers:
        return request.headers["Origin"]
    if "Referer" not in request.headers:
        return None
    page = urlsplit(request.headers["Referer"])
    return f"{page.scheme}://{page.netloc}"


def _presigned_bucket(request: Request) -> str | None:
    """The bucket of the object at a presigned URL. None for any other request."""
    names = [name for name, _ in parse_qsl(request.query_string.decode("latin-1"), keep_blank_values=True)]
    place = PRESIGNED_OBJECT.fullmatch(_path(request))
    if place and presigned.SIGNATURES.intersection(names) and all(map(PRESIGNED_QUERY.fullmatch, names)):
        return place["bucket"]
    return None


def _is_allowed(origin: str, request: Request) -> bool:
    """Whether a page of that origin may call the API, or make a request that a bucket's CORS rules allow."""
    if origin == "*":  # a wildcard in CORS rules, which browsers never send as an origin
        return False
    if _path(request).startswith(API):
        return any(origin in origins for _, _, origins in _cors_rules())
    method = request.headers.get("Access-Control-Request-Method") if request.method == "OPTIONS" else request.method
    # Only functions' signatures count: the secret of the local AWS is public, and other keys are not verified.
    bucket = (
        _presigned_bucket(request)
        if presigned.is_functions(presigned.find_signer(request.query_string.decode("latin-1")))
        else None
    )
    return any(name == bucket and method in methods and origin in origins for name, methods, origins in _cors_rules())


def _cors_rules() -> Iterator[tuple[str, list[str], list[str]]]:
    """Yields bucket, methods and origins of each CORS rule.

    The stack writes the setting webOrigins into these rules. A rule for `*`, which is for reading presigned URLs, does
    not make an origin an allowed one.
    """
    from moto.s3.models import s3_backends

    for bucket in list(s3_backends[aws.account]["aws"].buckets.values()):
        for rule in bucket.cors:
            yield bucket.name, _as_list(rule.allowed_methods), _as_list(rule.allowed_origins)


def _as_list(value: str | list[str]) -> list[str]:
    return [value] if isinstance(value, str) else value
