"""The doors of the local AWS: which requests get in, before any service sees them.

The port is open to each program of this machine, and so to each web page that a browser on it shows. Programs (boto3,
the AWS CLI, curl, `ekyc`) may call everything, with any key. Of a browser's requests these get in and no others:

- The labelling page's own, once the browser has shown the token of this start.
- What a person opens: an address of the API, or a presigned link to an S3 object, to read. No script of it runs.
- Those of an allowed web origin: the API, and uploads to presigned URLs.

A browser cannot be made to leave out or to forge what is looked at here. Sources: Fetch standard, "`Origin` header";
Fetch Metadata Request Headers, "The Sec-Fetch-Site HTTP Request Header"; RFC 9110, section 7.2 (Host).
"""

from __future__ import annotations

import hmac
import json
import re
from collections.abc import Iterable, Iterator
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

from werkzeug.wrappers import Request, Response

from ekyc.localaws import aws, presigned

API = "/api/"
LABELLING = "/labelling/"
PRIVATE = {
    "Cache-Control": "no-store",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}
"""Headers of answers that are for one reader and no page of another origin."""

OPENED = ("none", "same-origin")  # values of Sec-Fetch-Site: a person opened it, or a page of ours asks
PRESIGNED_OBJECT = re.compile(r"/(?P<bucket>[^/]+)/.+")
# Source: S3 API reference, "Authenticating Requests: Using Query Parameters", "GetObject".
PRESIGNED_QUERY = re.compile(
    r"x-amz-.+|awsaccesskeyid|signature|expires|content-type|content-md5|versionid|response-.+", re.IGNORECASE
)


class Doors:
    """The WSGI application `app` behind its doors, for the server on `port` of this machine.

    `token` opens the labelling page. It comes in the page's address, is exchanged for a cookie, and is in no log.
    """

    def __init__(self, app: Any, port: int, token: str) -> None:
        self._app = app
        self._token = token
        self._cookie = f"ekyc-labelling-{port}"  # a browser sends a cookie to each port of its host
        names = [f"{name}:{port}" for name in ("127.0.0.1", "localhost", "[::1]")]
        self._hosts = {*names, *(name.removesuffix(":80") for name in names)}  # clients leave HTTP's own port out
        self._origins = {f"http://{host}" for host in self._hosts}

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        request = Request(environ)
        answer = self._refuse_host(environ) or self._refuse_page(request) or self._ask_for_token(request)
        if answer is not None:
            return answer(environ, start_response)
        if not is_browsers(request) or _path(request).startswith(LABELLING):
            return self._app(environ, start_response)

        def start(status: str, headers: list[tuple[str, str]], *error: Any) -> Any:
            # An HTML file in a bucket would have this server's own origin, and its scripts the rights of our pages.
            return start_response(status, [*headers, ("Content-Security-Policy", "sandbox")], *error)

        return self._app(environ, start)

    def _refuse_host(self, environ: dict[str, Any]) -> Response | None:
        """The answer to a request for another host, such as a name that its owner has led to this machine."""
        # Given in full, a target would stand in for the header.
        if environ["REQUEST_URI"].startswith("/") and environ.get("HTTP_HOST", "").lower() in self._hosts:
            return None
        hosts = ", ".join(sorted(self._hosts))
        return refusal(421, "Misdirected Request", f"The local AWS answers for the hosts {hosts} and no others.")

    def _refuse_page(self, request: Request) -> Response | None:
        """The answer to a web page that may not ask this; None for a program, and for a page that may."""
        if not is_browsers(request):
            return None
        origin = _origin(request)
        if origin is not None and origin not in self._origins:
            return None if _is_allowed(origin, request) else refusal(403, "Forbidden", OTHER_PAGE)
        site = request.headers.get("Sec-Fetch-Site")
        if site not in OPENED and not (site is None and origin):
            return refusal(403, "Forbidden", OTHER_PAGE)
        if f"{_path(request)}/".startswith(LABELLING):
            return None
        if request.method in ("GET", "HEAD") and (_path(request).startswith(API) or _presigned_bucket(request)):
            return None
        return refusal(403, "Forbidden", "A browser may open API answers, presigned links and the labelling page only.")

    def _ask_for_token(self, request: Request) -> Response | None:
        """For the labelling page: the exchange of the token for a cookie, or a refusal; None once there is a cookie."""
        if not _path(request).startswith(LABELLING):
            return None
        if request.method == "GET" and _path(request) == LABELLING and self._is_token(request.args.get("token")):
            rest = urlencode([(name, value) for name, value in request.args.items(multi=True) if name != "token"])
            answer = Response(status=303, headers={"Location": f"{LABELLING}?{rest}" if rest else LABELLING, **PRIVATE})
            answer.set_cookie(self._cookie, self._token, path=LABELLING, httponly=True, samesite="Strict")
            return answer
        if self._is_token(request.cookies.get(self._cookie)):
            return None
        return refusal(403, "Forbidden", HOW_TO_OPEN)

    def _is_token(self, given: str | None) -> bool:
        return given is not None and hmac.compare_digest(given.encode(), self._token.encode())


OTHER_PAGE = (
    "Pages of other sites may not use the local AWS, and browsers too old to say where a request comes from may not "
    "either. The setting webOrigins names the origins that may call the API and upload to presigned URLs. To open an "
    "address of the local AWS, type or paste it into the browser."
)
HOW_TO_OPEN = (
    "To open the labelling page, type or paste the whole address that `ekyc local` or `ekyc train --label` printed: it "
    "has a token that is new at each start."
)


def refusal(status: int, title: str, detail: str) -> Response:
    """An answer in words, which no page of another origin can read."""
    body = {"type": "about:blank", "title": title, "status": status, "detail": detail}
    return Response(json.dumps(body), status, headers=PRIVATE, content_type="application/problem+json")


def is_browsers(request: Request) -> bool:
    """Whether a browser made the request. Old ones only tell their name; Node.js's fetch tells a Sec-Fetch-Mode too."""
    told = ("Origin", "Referer", "Sec-Fetch-Site")
    return any(name in request.headers for name in told) or "Mozilla/" in request.headers.get("User-Agent", "")


def _path(request: Request) -> str:
    """The path by which the request finds its service; werkzeug's own `path` has fewer slashes."""
    return str(request.environ["PATH_INFO"])


def _origin(request: Request) -> str | None:
    """The origin of the page that asks, as far as its browser says it."""
    if "Origin" in request.headers:
        return request.headers["Origin"]
    if "Sec-Fetch-Site" in request.headers or "Referer" not in request.headers:
        return None
    page = urlsplit(request.headers["Referer"])
    return f"{page.scheme}://{page.netloc}"


def _presigned_bucket(request: Request) -> str | None:
    """The bucket of the object at a presigned URL; None for any other request."""
    names = [name for name, _ in parse_qsl(request.query_string.decode("latin-1"), keep_blank_values=True)]
    place = PRESIGNED_OBJECT.fullmatch(_path(request))
    if place and presigned.SIGNATURES.intersection(names) and all(map(PRESIGNED_QUERY.fullmatch, names)):
        return place["bucket"]
    return None


def _is_allowed(origin: str, request: Request) -> bool:
    """Whether a page of that origin may ask this: call the API, or what a bucket's rules allow at a presigned URL."""
    if origin == "*":  # which stands in a rule for every origin, and no browser sends
        return False
    if _path(request).startswith(API):
        return any(origin in origins for _, _, origins in _cors_rules())
    wanted = request.headers.get("Access-Control-Request-Method") if request.method == "OPTIONS" else request.method
    # A page could sign by itself with any other key: that of the local AWS is known to all, and others are not checked.
    bucket = (
        _presigned_bucket(request)
        if presigned.is_functions(presigned.find_signer(request.query_string.decode("latin-1")))
        else None
    )
    return any(name == bucket and wanted in methods and origin in origins for name, methods, origins in _cors_rules())


def _cors_rules() -> Iterator[tuple[str, list[str], list[str]]]:
    """Bucket, methods and origins of each CORS rule of a bucket. The stack names the web origins of its settings there;
    `*`, which is for reading what is presigned, makes no origin an allowed one."""
    from moto.s3.models import s3_backends

    for bucket in list(s3_backends[aws.account]["aws"].buckets.values()):
        for rule in bucket.cors:
            yield bucket.name, _listed(rule.allowed_methods), _listed(rule.allowed_origins)


def _listed(value: str | list[str]) -> list[str]:
    return [value] if isinstance(value, str) else value
