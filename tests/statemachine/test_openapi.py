"""The API against its own description: Schemathesis calls every route with what fits and with what does not."""

from zlib import crc32

import pytest
import schemathesis
from deployed import Pipeline
from hypothesis import HealthCheck, settings
from schemathesis import GenerationMode, checks

from stacks.openapi import Description
from tests.signed_in import id_token

DESCRIPTION = Description.read()
api = schemathesis.openapi.from_dict(DESCRIPTION.document)
# Query parameters that a call does not know are ignored, as the description says.
api.config.generation.update(allow_extra_parameters=False, with_security_parameters=False)

SIGNED = {"Authorization": "AWS4-HMAC-SHA256 Credential=tester/20260101/us-east-1/execute-api/aws4_request"}
"""An erasure is recorded with who asked for it. The local AWS reads the signer and checks no signature."""

EXAMPLES = 40
"""For each route, besides those that Schemathesis makes of the description's bounds."""

CHECKED = [
    checks.content_type_conformance,
    checks.negative_data_rejection,
    checks.not_a_server_error,
    checks.response_headers_conformance,
    checks.response_schema_conformance,
    checks.status_code_conformance,
]


@pytest.fixture
def jobs(shared_pipeline: Pipeline) -> list[str]:
    """A job of each kind for each route: new, with a photo, waiting for labels, waiting for people, failed."""
    photo = next(iter(sorted(shared_pipeline.photos.glob("*.jpg"))))
    new = shared_pipeline.http.post("create").json()["id"]
    with_a_photo, failed, waiting = (shared_pipeline.uploaded(*files) for files in ([photo], [photo], []))
    assert shared_pipeline.start(failed).status_code == 200  # and one photo is not enough
    assert shared_pipeline.start(waiting, labels={"provider": "supplied"}).status_code == 200
    shared_pipeline.reaches(failed, "Failed")
    shared_pipeline.reaches(waiting, "WaitingForLabelling")
    on_the_page = shared_pipeline.uploaded()
    assert shared_pipeline.start(on_the_page, labels={"provider": "page"}).status_code == 200
    shared_pipeline.reaches(on_the_page, "Labelling")
    return [new, with_a_photo, waiting, on_the_page, failed]


def test_the_api_serves_its_description(shared_pipeline: Pipeline) -> None:
    answer = shared_pipeline.http.get("openapi.json")
    assert (answer.status_code, answer.headers["content-type"]) == (200, "application/json")
    assert answer.text == DESCRIPTION.as_json()


@api.parametrize()
@settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck))
def test_every_route_does_what_the_description_says(
    case: schemathesis.Case, jobs: list[str], shared_pipeline: Pipeline
) -> None:
    # Given a request that fits the description, about a job that there is; or any other request
    if case.meta is not None and case.meta.generation.mode is GenerationMode.POSITIVE:
        for parameters, name in ((case.path_parameters, "id"), (case.query, "JobId")):
            if name in (parameters or {}):
                # Which one follows from the request, so that it is the same one when a failure is tried again
                number = crc32(str(parameters[name]).encode()) % (len(jobs) + 1)
                parameters[name] = [*jobs, parameters[name]][number]
    # When it is sent, then the description has the response, and a request that breaks the description is refused
    headers = SIGNED
    if case.path.startswith("/api/labelling/"):
        headers = {"Authorization": id_token("a-reviewer", "labellers", "reviewers")}
    case.call_and_validate(base_url=shared_pipeline.aws.api_url, headers=headers, checks=CHECKED)
