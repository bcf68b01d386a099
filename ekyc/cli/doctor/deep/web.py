"""What web pages and callers meet: uploads to presigned URLs across origins, and API Gateway's own answers."""

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
"""The origin of no page: no name ends so (RFC 2606)."""
ALLOWED, EXPOSED = "Access-Control-Allow-Origin", "Access-Control-Expose-Headers"
NO_JOB = "ekyc-20000101000000-0000000000000000"
"""A job's id that none has."""


def upload(probe: Probe) -> Finding:
    """As a page does it: by the URL that the API's function signs, asked for before, with the content's hash."""
    api = _api(probe)
    content = probe.name.encode()
    digest = hashlib.sha256(content).hexdigest()
    job_id = _create_job(probe, api)
    target = api.upload_targets(job_id, {NAME: digest}, {NAME: len(content)})[NAME]
    origins = probe.patient.web_origins
    with httpx.Client(timeout=30) as page:
        try:
            faults = [
                *_preflight_faults(page, target, origins),
                *_put_faults(page, target, content, origins),
                *_head_faults(page, next(iter(api.uploads(job_id)), None), digest, origins),
            ]
        except httpx.TransportError as error:
            host = httpx.URL(target["url"]).host
            raise NotCheckedError(f"there is no answer from {host}", "Look at the network and the proxy.") from error
    if faults:
        return problem("; ".join(faults), "Run make deploy; the stack sets the bucket's CORS. Then ask again.")
    pages = f"{', '.join(origins)} may upload and compare the hash" if origins else "no page may upload (webOrigins)"
    return ok(f"S3 refuses content of another hash and pages of other origins; {pages}")


def _create_job(probe: Probe, api: Api) -> str:
    """The id of a new job, which is never started."""
    job_id = str(api.create()["id"])
    bucket, table = probe.patient.outputs["BucketName"], probe.patient.outputs["JobsTable"]
    dynamodb, s3 = probe.patient.client("dynamodb"), probe.patient.client("s3")
    probe.owe(f"record of job {job_id}", lambda: dynamodb.delete_item(TableName=table, Key={"Id": {"S": job_id}}))
    key = f"images/{job_id}/{NAME}"
    probe.owe(f"object {key}", lambda: s3.delete_object(Bucket=bucket, Key=key))
    return job_id


def _preflight_faults(page: httpx.Client, target: Mapping[str, Any], origins: list[str]) -> Iterator[str]:
    wanted = {
        "Access-Control-Request-Method": "PUT",
        "Access-Control-Request-Headers": ",".join(name.lower() for name in target["headers"]),
    }
    for origin in [*origins, FOREIGN]:
        answer = page.options(target["url"], headers={"Origin": origin, **wanted})
        is_let_in = answer.is_success and answer.headers.get(ALLOWED) in (origin, "*")
        if is_let_in != (origin in origins):
            how = "lets in" if is_let_in else "does not let in"
            yield f"S3 {how} the preflight of an upload from {origin} ({answer.status_code})"


def _put_faults(page: httpx.Client, target: Mapping[str, Any], content: bytes, origins: list[str]) -> Iterator[str]:
    headers = target["headers"] | ({"Origin": origins[0]} if origins else {})
    if page.put(target["url"], headers=headers, content=bytes(reversed(content))).is_success:
        yield "S3 takes content whose hash is another than the one that was signed"
        return  # its name is taken now
    answer = page.put(target["url"], headers=headers, content=content)
    if not answer.is_success:
        code = re.search("<Code>(.*?)</Code>", answer.text)
        yield f"S3 refuses an upload as the API signs it ({answer.status_code} {code[1] if code else ''})"
    elif origins and answer.headers.get(ALLOWED) not in (origins[0], "*"):
        yield f"S3 does not tell a page of {origins[0]} that its upload is there"


def _head_faults(
    page: httpx.Client, uploaded: Mapping[str, Any] | None, digest: str, origins: list[str]
) -> Iterator[str]:
    if uploaded is None:
        yield "the API does not list the upload"
        return
    for origin in origins or [""]:
        answer = page.head(uploaded["head"], headers={"Origin": origin} if origin else {})
        if answer.headers.get(HASH_HEADER) != digest:
            yield f"a HEAD does not tell the hash of the upload{origin and f' to {origin}'} ({answer.status_code})"
        elif origin and HASH_HEADER not in answer.headers.get(EXPOSED, "").lower():
            yield f"S3 does not expose {HASH_HEADER} to pages of {origin}"


def api_errors(probe: Probe) -> Finding:
    """Two calls about a job that does not exist: one without the body that may be left out, one with a wrong body."""
    api = _api(probe)
    bare = api.ask("POST", "start", params={"JobId": NO_JOB})
    wrong = api.ask("POST", f"jobs/{NO_JOB}/urls", json={"names": NAME})
    for answer in (bare, wrong):
        if answer.status_code in (httpx.codes.UNAUTHORIZED, httpx.codes.FORBIDDEN):
            raise NotCheckedError(
                f"the API refuses your call ({answer.status_code})", "Let your credentials execute-api:Invoke on it."
            )
    if bare.status_code != httpx.codes.NOT_FOUND:
        return warning(
            f"a start without a body is answered with {bare.status_code}, not as one of a job that does not exist",
            "Clients must send {} as the body of start. Please report it.",
        )
    try:
        detail = wrong.json()["detail"]
    except (ValueError, KeyError, TypeError):
        return problem(
            f"API Gateway answers a wrong body in other words than ours: {wrong.text[:200]}", "Please report it."
        )
    return ok(f"a start may come without a body; a wrong body is answered {wrong.status_code}: {detail}")


def _api(probe: Probe) -> Api:
    patient = probe.patient
    if patient.settings["apiAuthorization"] != "iam" and not probe.token:
        raise NotCheckedError("the API takes the tokens of a user pool", "Set EKYC_TOKEN to a user's ID token.")
    return Api(patient.endpoint if patient.is_local else patient.outputs["ApiUrl"], token=probe.token)
