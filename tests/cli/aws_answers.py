"""AWS in the place of one service: a server that answers in its words; and the doctor as a person runs it."""

import json
import os
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from email.utils import format_datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

from tests.command import ekyc

NOWHERE = {
    "AWS_EC2_METADATA_DISABLED": "true",
    "AWS_CONFIG_FILE": os.devnull,
    "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
}


def ekyc_doctor(*arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run the command with just these of AWS's variables."""
    return ekyc("doctor", *arguments, **NOWHERE | variables)


Answers = Callable[[str], tuple[int, Any]]


@contextmanager
def answering(answers: Answers, date: datetime | None = None) -> Iterator[str]:
    """The address of a server that answers the operation it is asked for with a status and JSON or XML."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.do_POST()

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0)).decode()
            operation = self.headers.get("X-Amz-Target", "").rpartition(".")[2] or body.partition("Action=")[2]
            status, answer = answers(operation.partition("&")[0])
            data = (answer if isinstance(answer, str) else json.dumps(answer)).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def date_time_string(self, _timestamp: float | None = None) -> str:
            return format_datetime(date or datetime.now(UTC), usegmt=True)

        def log_message(self, *_: Any) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()


def denied(permission: str) -> Answers:
    message = f"User: arn:aws:iam::123456789012:user/x is not authorized to perform: {permission} on resource: *"
    return lambda _: (400, {"__type": "AccessDeniedException", "message": message})
