"""The API called by web pages: those that the deployment names get answers, others get none."""

import hashlib
from collections.abc import Iterable, Iterator
from pathlib import Path

import httpx
import pytest
from deployed import Pipeline, deployed

from ekyc.localaws.server import LocalAws
from ekyc.localaws.synth import LOCAL_SETTINGS, synthesize

PAGE, OTHER_PAGE = "https://kyc.example.com", "http://localhost:3000"
STRANGER = "https://kyc.example.com.evil.example"
ALLOWED = "Access-Control-Allow-Origin"


@pytest.fixture(scope="module")
def web_assembly(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The template for two web origins."""
    return synthesize(tmp_path_factory.mktemp("web"), {**LOCAL_SETTINGS, "webOrigins": [PAGE, OTHER_PAGE]})


@pytest.fixture(scope="module")
def web(local_aws: LocalAws, photos: Path, web_assembly: Path) -> Iterator[Pipeline]:
    """The pipeline deployed for them."""
    with deployed(local_aws, web_assembly, photos) as pipeline:
        yield pipeline


def preflight(http: httpx.Client, path: str, origin: str, method: str = "POST") -> httpx.Response:
    """What a browser asks before it calls, without credentials."""
    headers = {
        "Origin": origin,
        "Access-Control-Request-Method": method,
        "Access-Control-Request-Headers": "authorization,content-type",
    }
    return http.options(path, headers=headers)


@pytest.mark.parametrize("origin", [PAGE, OTHER_PAGE])
@pytest.mark.parametrize(
    ("path", "method"), [("create", "POST"), ("jobs/ekyc-1/urls", "POST"), ("jobs/ekyc-1", "DELETE"), ("list", "GET")]
)
def test_a_preflight_of_an_allowed_page(web: Pipeline, origin: str, path: str, method: str) -> None:
    # When the browser of an allowed page asks whether it may call
    answer = preflight(web.http, path, origin, method)
    # Then it may, with the headers of a signature or a token, and remembers so for a while
    assert (answer.status_code, answer.text) == (204, "")
    assert answer.headers["Access-Control-Allow-Origin"] == origin
    assert method in answer.headers["Access-Control-Allow-Methods"].split(",")
    allowed = {name.lower() for name in answer.headers["Access-Control-Allow-Headers"].split(",")}
    assert {"authorization", "content-type", "x-amz-date", "x-amz-security-token"} <= allowed
    assert int(answer.headers["Access-Control-Max-Age"]) > 0
    assert "Access-Control-Allow-Credentials" not in answer.headers  # no cookies


def test_a_preflight_does_nothing_else(web: Pipeline) -> None:
    before = web.http.get("list").json()
    assert preflight(web.http, "create", PAGE).status_code == 204
    assert preflight(web.http, "create", STRANGER).status_code == 403
    assert web.http.get("list").json() == before


def test_a_page_reads_answers_and_their_headers(web: Pipeline) -> None:
    # When an allowed page calls, rightly or wrongly
    for path, status in (("list", 200), ("jobs/ekyc-1", 404)):
        answer = web.http.get(path, headers={"origin": PAGE})
        # Then its browser hands it the answer, with the headers that it needs
        assert (answer.status_code, answer.headers["Access-Control-Allow-Origin"]) == (status, PAGE)
        exposed = answer.headers["Access-Control-Expose-Headers"].split(",")
        assert {"X-Execution-Arn", "X-Next-Token", "Retry-After"} == set(exposed)


def test_no_other_page_gets_an_answer(web: Pipeline) -> None:
    for origin in (STRANGER, "null", "http://kyc.example.com"):
        for answer in (preflight(web.http, "create", origin), web.http.get("list", headers={"Origin": origin})):
            assert "Access-Control-Allow-Origin" not in answer.headers
    # And a caller that is not a page gets no CORS headers
    assert not [name for name in web.http.get("list").headers if name.startswith("access-control")]


def test_an_allowed_page_uploads_and_no_other_page_does(web: Pipeline) -> None:
    # Given a presigned URL of a new job
    job_id = web.http.post("create").json()["id"]
    target = web.http.post(f"jobs/{job_id}/urls", json={"names": ["a.jpg"]}).json()["a.jpg"]

    def upload(origin: str) -> httpx.Response:
        return httpx.put(target["url"], headers={"Origin": origin, **target["headers"]}, content=b"a photo")

    # When a page that is not allowed uploads, then it is refused
    assert upload(STRANGER).status_code == 403
    # When an allowed page asks and uploads, then it may, by the rule of the deployed bucket
    wanted = {"Access-Control-Request-Method": "PUT", "Access-Control-Request-Headers": "content-type"}
    assert httpx.options(target["url"], headers={"Origin": PAGE, **wanted}).headers[ALLOWED] == PAGE
    uploaded = upload(PAGE)
    assert (uploaded.status_code, uploaded.headers[ALLOWED]) == (200, PAGE)


def test_the_bucket_takes_the_headers_of_hashed_uploads(web: Pipeline) -> None:
    # Given a URL for content of a known hash, and the headers that the API asks a page to send
    content = b"a photo"
    job_id = web.http.post("create").json()["id"]
    body = {"names": ["a.jpg"], "sha256": {"a.jpg": hashlib.sha256(content).hexdigest()}}
    target = web.http.post(f"jobs/{job_id}/urls", json=body).json()["a.jpg"]
    url, headers = target["url"], target["headers"]
    assert "x-amz-checksum-sha256" in headers

    def ask(headers: Iterable[str]) -> httpx.Response:
        wanted = {"Access-Control-Request-Method": "PUT", "Access-Control-Request-Headers": ",".join(headers)}
        return httpx.options(url, headers={"Origin": PAGE, **wanted})

    # When a browser asks before it sends them, then it may, and no others
    asked = ask(headers)
    assert (asked.status_code, asked.headers[ALLOWED]) == (200, PAGE)
    assert {name.lower() for name in headers} == set(asked.headers["Access-Control-Allow-Headers"].split(", "))
    assert ask(["x-amz-acl"]).status_code == 403
    # When it sends them, then the hash of what is there can be compared by an allowed page
    assert httpx.put(url, headers={"Origin": PAGE, **headers}, content=content).status_code == 200
    (uploaded,) = web.http.get(f"jobs/{job_id}/uploads").json()
    head = httpx.head(uploaded["head"], headers={"Origin": PAGE})
    assert head.headers["x-amz-meta-sha256"] == body["sha256"]["a.jpg"]
    assert head.headers["Access-Control-Expose-Headers"] == "x-amz-meta-sha256"
    # And no other page may either
    assert httpx.head(uploaded["head"], headers={"Origin": STRANGER}).status_code == 403


def test_without_web_origins_no_page_is_answered(pipeline: Pipeline) -> None:
    # Given a deployment that names no page
    # Then no page gets in, and no answer may be read by one
    for answer in (preflight(pipeline.http, "create", PAGE), pipeline.http.get("list", headers={"Origin": PAGE})):
        assert answer.status_code == 403
        assert ALLOWED not in answer.headers
