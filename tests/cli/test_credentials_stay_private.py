"""`ekyc` sends its token or signature over TLS or not off this machine: against real HTTP servers.

``0.0.0.0`` is an address that reaches a server on this machine and is not a loopback address.
"""

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from tests.command import ekyc

SECRET = "secret-id-token"
AWS_KEYS = {"AWS_ACCESS_KEY_ID": "key", "AWS_SECRET_ACCESS_KEY": "secret", "AWS_SESSION_TOKEN": SECRET}
SIGNED_IN = [{"EKYC_TOKEN": SECRET}, AWS_KEYS]


class Server:
    """Records the headers of each request; answers with ``status`` and ``location``."""

    def __init__(self) -> None:
        self.seen: list[dict[str, str]] = []
        self.status = 200
        self.location = ""
        server = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                server.seen.append({name.lower(): value for name, value in self.headers.items()})
                self.send_response(server.status)
                if server.location:
                    self.send_header("Location", server.location)
                self.send_header("Content-Length", "2")
                self.end_headers()
                self.wfile.write(b"[]")

            def log_message(self, *_: Any) -> None:
                pass

        self._http = ThreadingHTTPServer(("0.0.0.0", 0), Handler)  # noqa: S104
        self.port = self._http.server_port
        threading.Thread(target=self._http.serve_forever, daemon=True).start()

    def close(self) -> None:
        self._http.shutdown()
        self._http.server_close()


@pytest.fixture
def server() -> Iterator[Server]:
    server = Server()
    yield server
    server.close()


@pytest.fixture
def other_server() -> Iterator[Server]:
    server = Server()
    yield server
    server.close()


@pytest.mark.parametrize("signed_in", SIGNED_IN, ids=["token", "signature"])
@pytest.mark.parametrize("address", ["0.0.0.0", "127.0.0.1@0.0.0.0", "[::ffff:0.0.0.0]"])  # noqa: S104
def test_http_to_another_machine_is_refused(server: Server, address: str, signed_in: dict[str, str]) -> None:
    # When a command is given an API without TLS that is not on this machine
    ended = ekyc("list", EKYC_API_URL=f"http://{address}:{server.port}", **signed_in)
    # Then it says so in one sentence, and no request was made
    assert (ended.returncode, server.seen) == (1, [])
    assert "not encrypted" in ended.stderr
    assert "https://" in ended.stderr
    assert SECRET not in ended.stderr
    assert "Traceback" not in ended.stderr


@pytest.mark.parametrize("signed_in", SIGNED_IN, ids=["token", "signature"])
@pytest.mark.parametrize("address", ["127.0.0.1", "127.8.9.10", "localhost"])
def test_http_to_this_machine_is_allowed(server: Server, address: str, signed_in: dict[str, str]) -> None:
    # When a command is given an API on this machine
    ended = ekyc("list", "--json", EKYC_API_URL=f"http://{address}:{server.port}", **signed_in)
    # Then it is called, with what the user signed in with
    assert ended.returncode == 0, ended.stderr
    (headers,) = server.seen
    assert SECRET in headers["authorization"] + headers.get("x-amz-security-token", "")


@pytest.mark.parametrize(
    "url",
    [
        "ftp://127.0.0.1",
        "127.0.0.1",
        "https://",
        "http://[::1",
        "http://localhost.example.com",
        "http://127.0.0.1.example.com",
        "http://127.1",
        "http://example.com/",
        "http://bücher.example",
    ],
)
def test_a_url_that_is_no_private_api_is_refused(url: str) -> None:
    ended = ekyc("list", EKYC_API_URL=url, EKYC_TOKEN=SECRET)
    assert ended.returncode == 1
    assert ended.stderr.count("\n") == 1, ended.stderr
    assert "EKYC_API_URL" in ended.stderr


@pytest.mark.parametrize("signed_in", SIGNED_IN, ids=["token", "signature"])
@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_is_not_followed(
    server: Server, other_server: Server, status: int, signed_in: dict[str, str]
) -> None:
    # Given an API that redirects to another server
    server.status, server.location = status, f"http://127.0.0.1:{other_server.port}/api/training/list"
    # When it is called
    ended = ekyc("list", EKYC_API_URL=f"http://127.0.0.1:{server.port}", **signed_in)
    # Then the other server is not called, and the user learns why
    assert (ended.returncode, other_server.seen) == (1, [])
    assert "redirect" in ended.stderr
    assert "Traceback" not in ended.stderr


def test_a_report_is_not_fetched_without_tls(server: Server, other_server: Server) -> None:
    # Given an API whose link to a report is not encrypted
    server.status, server.location = 303, f"http://0.0.0.0:{other_server.port}/report?X-Amz-Signature=1"
    # When the report is asked for
    ended = ekyc("audit", "ekyc-20261124034524-0ac337ddb8d23c1c", **SIGNED_IN[0], **_api(server))
    # Then the link, which is a secret of its own, is not followed and not printed
    assert (ended.returncode, other_server.seen) == (1, [])
    assert "The link to the report" in ended.stderr
    assert "X-Amz-Signature" not in ended.stderr


def _api(server: Server) -> dict[str, str]:
    return {"EKYC_API_URL": f"http://127.0.0.1:{server.port}"}
