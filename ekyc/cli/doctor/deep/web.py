"""Tests cross-origin uploads to presigned URLs, and the error responses that API Gateway itself makes."""

import hashlib
import re
from collections.abc import Iterator, Mapping
from typing import Any

import httpx

from ekyc.cli.account import NotCheckedError
from ekyc.cli.api import Api
from ekyc.cli.doctor.deep.probe import Probe
from ekyc.cli.doctor.findings import Finding, ok, problem, warning
from rules.uploads import HASH_HEADER

NAME = "doctor.jpg"
FOREIGN = "https://ekyc-doctor.invalid"
"""An origin that cannot exist: the top-level domain .invalid is reserved (RFC 2606)."""
ALLOWED, EXPOSED = "Access-Control-Allow-Origin", "Access-Control-Expose-Headers"
NO_JOB = "ekyc-20000101000000-0000000000000000"
"""An id that no job has."""


def upload(probe: Probe) -> Finding:
    """Uploads as a web page does: preflight, PUT to the presigned URL, HEAD for the content's hash."""
    api = _api(probe)
    content = probe.name.encode()
    digest = hashlib.sha256(content).hexdigest()
    job_id = _create_job(probe, api)
    target = api.upload_targets(job_id, {NAME: digest}, {NAME: len(content)})[NAME]
    origins = probe.context.web_origins
    with httpx.Client(timeout=30) as page:
        try:
            faults = [
                *_preflight_faults(page, target, origins),
                *_put_faults(page, target, content, origins),
                *_head_faults(page, next(iter(api.uploads(job_id)), None), digest, origins),
            ]
        except httpx.TransportError as error:
            host = httpx.URL(target["url"]).host
            raise NotCheckedError(f"{host} does not respond", "Check the network and the proxy.") from error
    if faults:
        return problem("; ".join(faults), "Run make deploy, which sets the bucket's CORS rules. Then check again.")
    pages = (
        f"{', '.join(origins)} can upload and compare the hash" if origins else "no web page can upload (webOrigins)"
    )
    return ok(f"S3 rejects content with a wrong hash and pages of other origins; {pages}")


def _create_job(probe: Probe, api: Api) -> str:
    """Create a job that is never started. Returns its id."""
    job_id = str(api.create()["id"])
    bucket, table = probe.context.outputs["BucketName"], probe.context.outputs["JobsTable"]
    dynamodb, s3 = probe.context.client("dynamodb"), probe.context.client("s3")
    probe.delete_later(
        f"record of job {job_id}", lambda: dynamodb.delete_item(TableName=table, Key={"Id": {"S": job_id}})
    )
    key = f"images/{job_id}/{NAME}"
    probe.delete_later(f"object {key}", lambda: s3.delete_object(Bucket=bucket, Key=key))
    return job_id


def _preflight_faults(page: httpx.Client, target: Mapping[str, Any], origins: list[str]) -> Iterator[str]:
    preflight = {
        "Access-Control-Request-Method": "PUT",
        "Access-Control-Request-Headers": ",".join(name.lower() for name in target["headers"]),
    }
    for origin in [*origins, FOREIGN]:
        answer = page.options(target["url"], headers={"Origin": origin, **preflight})
        is_allowed = answer.is_success and answer.headers.get(ALLOWED) in (origin, "*")
        if is_allowed != (origin in origins):
            verb = "allows" if is_allowed else "blocks"
            yield f"S3 {verb} the preflight of an upload from {origin} ({answer.status_code})"


def _put_faults(page: httpx.Client, target: Mapping[str, Any], content: bytes, origins: list[str]) -> Iterator[str]:
    headers = target["headers"] | ({"Origin": origins[0]} if origins else {})
    if page.put(target["url"], headers=headers, content=bytes(reversed(content))).is_success:
        yield "S3 accepts content whose hash differs from the signed hash"
        return  # the name is now taken
    answer = page.put(target["url"], headers=headers, content=content)
    if not answer.is_success:
        code = re.search("<Code>(.*?)</Code>", answer.text)
        yield f"S3 rejects an upload to a presigned URL of the API ({answer.status_code} {code[1] if code else ''})"
    elif origins and answer.headers.get(ALLOWED) not in (origins[0], "*"):
        yield f"S3 hides from a page of {origins[0]} that its upload succeeded"


def _head_faults(
    page: httpx.Client, uploaded: Mapping[str, Any] | None, digest: str, origins: list[str]
) -> Iterator[str]:
    if uploaded is None:
        yield "the API does not list the upload"
        return
    for origin in origins or [""]:
        answer = page.head(uploaded["head"], headers={"Origin": origin} if origin else {})
        if answer.headers.get(HASH_HEADER) != digest:
            yield f"a HEAD{origin and f' from {origin}'} does not return the upload's hash ({answer.status_code})"
        elif origin and HASH_HEADER not in answer.headers.get(EXPOSED, "").lower():
            yield f"S3 does not expose {HASH_HEADER} to pages of {origin}"


def api_errors(probe: Probe) -> Finding:
    """Makes two calls for an unknown job: one without its optional body, one with an invalid body."""
    api = _api(probe)
    without_body = api.ask("POST", "start", params={"JobId": NO_JOB})
    invalid = api.ask("POST", f"jobs/{NO_JOB}/urls", json={"names": NAME})
    for answer in (without_body, invalid):
        if answer.status_code in (httpx.codes.UNAUTHORIZED, httpx.codes.FORBIDDEN):
            raise NotCheckedError(
                f"the API refuses your call ({answer.status_code})",
                "Allow your credentials execute-api:Invoke on the API.",
            )
    if without_body.status_code != httpx.codes.NOT_FOUND:
        return warning(
            f"start of an unknown job without a body returns {without_body.status_code} instead of 404",
            "Clients must send {} as the body of start. Please report it.",
        )
    try:
        detail = invalid.json()["detail"]
    except (ValueError, KeyError, TypeError):
        return problem(
            f"API Gateway's response to an invalid body is not in the API's format: {invalid.text[:200]}",
            "Please report it.",
        )
    return ok(f"start accepts a missing body; an invalid body gets {invalid.status_code}: {detail}")


def _api(probe: Probe) -> Api:
    context = probe.context
    if context.settings["apiAuthorization"] != "iam" and not probe.token:
        raise NotCheckedError("the API needs a token of its user pool", "Set EKYC_TOKEN to a user's ID token.")
    return Api(context.endpoint if context.is_local else context.outputs["ApiUrl"], token=probe.token)
