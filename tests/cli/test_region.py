"""The Region that calls are signed for: the API's, else AWS_REGION, else boto3's own."""

from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import pytest

from ekyc.cli.api import Api
from ekyc.cli.aws_session import new_session


@pytest.fixture
def credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_REGION", "AWS_DEFAULT_REGION", "AWS_PROFILE", "AWS_ENDPOINT_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_CONFIG_FILE", "/dev/null")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "key")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")


@pytest.fixture
def signatures() -> Iterator[tuple[str, list[str]]]:
    """The URL of a server, and the Authorization headers that reach it."""
    seen: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            seen.append(self.headers["Authorization"])
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b"{}")

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}", seen
    server.shutdown()
    server.server_close()


@pytest.mark.parametrize(
    ("url", "variables", "region"),
    [
        ("https://abc123.execute-api.eu-west-1.amazonaws.com/prod", {"AWS_REGION": "us-west-2"}, "eu-west-1"),
        ("https://abc123-vpce-0a.execute-api.eu-central-1.amazonaws.com", {}, "eu-central-1"),
        ("https://kyc.example.com", {"AWS_REGION": "eu-west-1", "AWS_DEFAULT_REGION": "us-east-2"}, "eu-west-1"),
        ("https://kyc.example.com", {"AWS_DEFAULT_REGION": "us-east-2"}, "us-east-2"),
        (None, {"AWS_REGION": "eu-west-1"}, "eu-west-1"),
        (None, {"AWS_REGION": ""}, None),
    ],
)
@pytest.mark.usefixtures("credentials")
def test_the_region_follows_the_api_then_the_environment(
    monkeypatch: pytest.MonkeyPatch, url: str | None, variables: dict[str, str], region: str | None
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert new_session(url).region_name == region


@pytest.mark.usefixtures("credentials")
def test_a_call_is_signed_for_aws_region(monkeypatch: pytest.MonkeyPatch, signatures: tuple[str, list[str]]) -> None:
    # Given only AWS_REGION, as the operations guide exports it
    url, seen = signatures
    monkeypatch.setenv("AWS_REGION", "eu-west-1")
    # When the API is called
    Api(url).job("ekyc-1")
    # Then the signature is for that Region
    assert "/eu-west-1/execute-api/aws4_request" in seen[0]
