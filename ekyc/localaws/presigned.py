"""Verifies presigned URLs: expiry, method, headers and query must be as signed. moto verifies nothing.

Source: S3 API reference, "Authenticating requests: using query parameters (AWS Signature Version 4)".
"""

from __future__ import annotations

import datetime
from collections.abc import Mapping
from html import escape
from typing import Any
from urllib.parse import parse_qsl, quote, unquote, urlsplit

from botocore.auth import HmacV1QueryAuth, S3SigV4QueryAuth
from botocore.awsrequest import AWSRequest
from botocore.compat import HTTPHeaders
from botocore.credentials import Credentials
from werkzeug.wrappers import Request, Response

from ekyc.localaws import aws

SIGNATURES = {"X-Amz-Signature", "Signature"}
AUTHENTICATION = {
    *SIGNATURES,
    *(f"X-Amz-{name}" for name in ("Algorithm", "Credential", "Date", "Expires", "SignedHeaders", "Security-Token")),
    *("AWSAccessKeyId", "Expires", "x-amz-security-token"),
}
"""The parameters of presigned URLs of Signature Version 4 and 2. Each may occur only once."""


def refuse(environ: dict[str, Any]) -> Response | None:
    """S3's refusal of a presigned URL that has expired or whose request is not the signed one, or None."""
    names = [name for name, _ in _pairs(environ["QUERY_STRING"])]
    if not SIGNATURES.intersection(names) or environ["REQUEST_METHOD"] == "OPTIONS":  # a preflight is not signed
        return None
    if any(names.count(name) > 1 for name in AUTHENTICATION):
        return _refusal("AccessDenied", "A parameter of the signature occurs twice.")
    query = dict(_pairs(environ["QUERY_STRING"]))
    return _refuse_expired(query) or _refuse_unsigned(environ, query) or _refuse_other_than_signed(environ, query)


def _refuse_expired(query: dict[str, str]) -> Response | None:
    now = datetime.datetime.now(datetime.UTC)
    try:
        if "X-Amz-Expires" in query:
            signed = datetime.datetime.strptime(query["X-Amz-Date"], "%Y%m%dT%H%M%SZ").replace(tzinfo=datetime.UTC)
            expires = signed + datetime.timedelta(seconds=int(query["X-Amz-Expires"]))
        else:
            expires = datetime.datetime.fromtimestamp(int(query["Expires"]), datetime.UTC)
    except (KeyError, ValueError):
        return None  # not a presigned URL
    if now <= expires:
        return None
    times = f"<Expires>{expires:%Y-%m-%dT%H:%M:%SZ}</Expires><ServerTime>{now:%Y-%m-%dT%H:%M:%SZ}</ServerTime>"
    return _refusal("AccessDenied", "Request has expired", times)


def _refuse_unsigned(environ: dict[str, Any], query: dict[str, str]) -> Response | None:
    """Refuse unsigned ``x-amz-`` headers. Signature Version 4 lists the signed ones; Version 2 always signs all.

    Source: S3 API reference, "Authenticating requests: using the Authorization header", CanonicalHeaders.
    """
    if "X-Amz-Credential" not in query:
        return None
    signed = query.get("X-Amz-SignedHeaders", "").split(";")
    sent = sorted(name.lower() for name, _ in Request(environ).headers if name.lower().startswith("x-amz-"))
    unsigned = [name for name in sent if name not in signed]
    if not unsigned:
        return None
    named = f"<HeadersNotSigned>{escape(', '.join(unsigned))}</HeadersNotSigned>"
    return _refusal("AccessDenied", "There were headers present in the request which were not signed", named)


def find_signer(query_string: str) -> str:
    """The access key that signed a presigned URL (Signature Version 4 or 2). Empty for other requests."""
    return _signer(dict(_pairs(query_string)))


def _signer(query: Mapping[str, str]) -> str:
    return query.get("X-Amz-Credential", "").partition("/")[0] or query.get("AWSAccessKeyId", "")


def _pairs(query_string: str) -> list[tuple[str, str]]:
    return parse_qsl(query_string, keep_blank_values=True)


def _refuse_other_than_signed(environ: dict[str, Any], query: dict[str, str]) -> Response | None:
    """Verify the signature. Other keys than ours are accepted unverified, because their secrets are unknown here."""
    key = _signer(query)
    if key != aws.ACCESS_KEY and not is_functions(key):
        return None
    expected = _signature_v4(environ, query) if "X-Amz-Credential" in query else _signature_v2(environ, query)
    if expected is not None and expected == query.get("X-Amz-Signature", query.get("Signature")):
        return None
    return _refusal(
        "SignatureDoesNotMatch",
        "The request signature we calculated does not match the signature you provided. Check your key and signing "
        "method.",
    )


def _signature_v2(environ: dict[str, Any], query: dict[str, str]) -> str:
    """boto3's default signature for S3. Source: S3 API reference, "Signing and authenticating REST requests"."""
    received = Request(environ).headers
    signed = {"content-md5", "content-type"}
    headers = HTTPHeaders()
    for name, value in received:
        if name.lower() in signed or name.lower().startswith("x-amz-"):
            headers[name] = value
    path, _, text = environ.get("RAW_URI", environ["PATH_INFO"]).partition("?")
    auth = _SignedUntil(Credentials(_signer(query), _secret(_signer(query)), query.get("x-amz-security-token")))
    auth.expires_at = query.get("Expires", "")
    path = quote(unquote(path), safe="/~")
    if path.count("/") == 1:  # the signed path of a bucket ends with a slash
        path += "/"
    url = urlsplit(f"http://{environ['HTTP_HOST']}{path}?{text}")
    signature: str = auth.get_signature(environ["REQUEST_METHOD"], url, headers)  # type: ignore[arg-type]
    return signature


class _SignedUntil(HmacV1QueryAuth):
    """botocore's signature of a URL, with the expiry in the URL instead of one computed from now."""

    expires_at = ""

    def _get_date(self) -> str:
        return self.expires_at


def _signature_v4(environ: dict[str, Any], query: dict[str, str]) -> str | None:
    scope = query["X-Amz-Credential"].split("/")
    if len(scope) != 5:
        return None
    key, _date, region, service, _terminator = scope
    received = Request(environ).headers
    signed = query.get("X-Amz-SignedHeaders", "").split(";")
    path, _, _ = environ.get("RAW_URI", environ["PATH_INFO"]).partition("?")
    request = AWSRequest(
        method=environ["REQUEST_METHOD"],
        url=f"http://{environ['HTTP_HOST']}{quote(unquote(path), safe='/~')}",
        headers={name: received[name] for name in signed if name in received},
        params={name: value for name, value in query.items() if name != "X-Amz-Signature"},
    )
    request.context["timestamp"] = query.get("X-Amz-Date", "")
    auth = S3SigV4QueryAuth(Credentials(key, _secret(key)), service, region)
    signature: str = auth.signature(auth.string_to_sign(request, auth.canonical_request(request)), request)
    return signature


def _secret(key: str) -> str:
    return aws.SECRET_KEY if key == aws.ACCESS_KEY else aws.FUNCTION_SECRET_KEY


def is_functions(key: str) -> bool:
    """Whether the access key belongs to a deployed function. The key is the function's name."""
    from moto.awslambda.models import lambda_backends

    return key in {function.function_name for function in lambda_backends[aws.account][aws.region].list_functions()}


def _refusal(code: str, message: str, more: str = "") -> Response:
    body = (
        f'<?xml version="1.0" encoding="UTF-8"?>\n<Error><Code>{code}</Code><Message>{message}</Message>{more}</Error>'
    )
    return Response(body, status=403, content_type="application/xml")
