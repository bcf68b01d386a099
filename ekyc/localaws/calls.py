"""Which calls of AWS the functions make, for tests that hold them against the functions' roles.

Each function signs with an access key that is its own name (`functions.py`), so a call says whose it is. An upload
through a presigned URL is a call of the function that signed it, as on AWS.
"""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl, unquote

from ekyc.localaws import aws


@dataclass(frozen=True)
class Call:
    """One request: the function's name, the service as it is signed for, the operation and its parameters."""

    function: str
    service: str
    operation: str
    parameters: dict[str, Any]


@contextlib.contextmanager
def recorded() -> Iterator[list[Call]]:
    """The list that every call of a function is added to while the context is open, before it is answered."""
    calls: list[Call] = []
    _recordings.append(calls)
    try:
        yield calls
    finally:
        _recordings.remove(calls)


def record(environ: dict[str, Any]) -> None:
    """Add the request to the open recordings, if it is a function's. Its body can still be read."""
    if not _recordings:
        return
    query = dict(parse_qsl(environ.get("QUERY_STRING", ""), keep_blank_values=True))
    signed = re.search(r"Credential=([^,\s]+)", environ.get("HTTP_AUTHORIZATION", ""))
    scope = (signed[1] if signed else query.get("X-Amz-Credential", "")).split("/")
    if len(scope) != 5 or scope[0] == aws.ACCESS_KEY:
        return
    body = environ["wsgi.input"].read()
    environ["wsgi.input"].seek(0)
    call = Call(scope[0], scope[3], *_read(scope[3], environ, query, body))
    for calls in _recordings:
        calls.append(call)


_recordings: list[list[Call]] = []


def _read(service: str, environ: dict[str, Any], query: dict[str, str], body: bytes) -> tuple[str, dict[str, Any]]:
    """Operation and parameters, of which those in a path, or in S3's XML, are only the names of things."""
    if target := environ.get("HTTP_X_AMZ_TARGET"):
        return target.rpartition(".")[2], json.loads(body)
    method, path = environ["REQUEST_METHOD"], unquote(environ["PATH_INFO"]).lstrip("/")
    if service == "s3":
        bucket, _, key = path.partition("/")
        names = {"Bucket": bucket, "Key": key} if key else {"Bucket": bucket}
        if "delete" in query:
            names["Keys"] = re.findall(r"<Key>([^<]*)</Key>", body.decode())  # type: ignore[assignment]
        return _s3_operation(method, bool(key), query), names
    if service == "lambda":
        return "Invoke", {"FunctionName": path.split("/")[2]}
    form = dict(parse_qsl(body.decode()))
    return form.pop("Action"), form


def _s3_operation(method: str, has_key: bool, query: dict[str, str]) -> str:
    if "delete" in query:
        return "DeleteObjects"
    if "uploads" in query:
        return "CreateMultipartUpload"
    if "uploadId" in query:
        return {"PUT": "UploadPart", "POST": "CompleteMultipartUpload", "DELETE": "AbortMultipartUpload"}[method]
    if not has_key:
        return "ListObjectsV2"
    return {"GET": "GetObject", "HEAD": "HeadObject", "PUT": "PutObject", "DELETE": "DeleteObject"}[method]
