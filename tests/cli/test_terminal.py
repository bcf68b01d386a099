"""Names from user input in the commands' output: none reaches the terminal as a control sequence."""

import json
import threading
import unicodedata
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from ekyc.cli.terminal import printable, to_json
from ekyc.cli.watch import activity
from tests.command import ekyc

HOSTILE = "\x1b[2J\x1b]0;owned\x07\u202e\x9b1m\r\ngnp[red]:smile:[/nothing]"
SPELT_OUT = r"\x1b[2J\x1b]0;owned\x07\u202e\x9b1m\r\ngnp[red]:smile:[/nothing]"
JOB = "ekyc-20261124034524-0ac337ddb8d23c1c"


def is_harmless(text: str) -> bool:
    """Whether only line ends of the command itself are in it."""
    return not any(unicodedata.category(one) in {"Cc", "Cf", "Cs", "Zl", "Zp"} for one in text if one != "\n")


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("身份证 [é]: 100 %", "身份证 [é]: 100 %"),
        (HOSTILE, SPELT_OUT),
        ("a\0b\tc\x7f", r"a\x00b\tc\x7f"),
        ("\u2066x\u2069\u200b\ufeff\u2028", r"\u2066x\u2069\u200b\ufeff\u2028"),
        ("\udcff\U000e0001", r"\udcff\U000e0001"),
    ],
)
def test_control_characters_are_spelt_out(text: str, shown: str) -> None:
    assert printable(text) == shown


@pytest.mark.parametrize("indent", [None, 2])
def test_json_keeps_the_exact_value_and_is_harmless(indent: int | None) -> None:
    document = {HOSTILE: [HOSTILE, "\U000e0001\u2028身份证", 1.5, None]}
    text = to_json(document, indent)
    assert json.loads(text) == document
    assert is_harmless(text)
    assert "身份证" in text


def job() -> dict[str, Any]:
    """A job all of whose words are hostile, as far as it has words."""
    return {
        "id": JOB,
        "status": "Failed",
        "detailedStatus": HOSTILE,
        "error": HOSTILE,
        "cause": HOSTILE,
        "labelProvider": HOSTILE,
        "startTime": 1795491926140,
        "executionStartTime": 1795491926140,
        "projectVersionArn": HOSTILE,
        "progress": {"elapsedSeconds": 5, "labelled": 0, "total": 0},
        "cost": {"totalUsd": 1.0},
        "metrics": {"f1": 0.5, "labels": [{"label": HOSTILE, "f1": 0.5}], "reasons": [HOSTILE]},
        "erasure": {"requestedBy": HOSTILE},
        "stopped": [HOSTILE],
        "remaining": [HOSTILE],
        "executionArn": HOSTILE,
        "since": 1795491926140,
        "inferenceUnits": 1,
        "costPerHourUsd": 4.0,
    }


class HostileApi(BaseHTTPRequestHandler):
    """An API whose every answer is full of hostile words."""

    def do_GET(self) -> None:
        path = self.path.partition("?")[0]
        states = [{"name": HOSTILE, "status": "current", "enteredTime": 1795491926140, "leftTime": None}]
        if path.endswith("/nothing"):
            self.answer(404, {"title": HOSTILE, "detail": HOSTILE, "type": "unknown-job", "status": 404})
        elif path.endswith("/states"):
            self.answer(200, {"states": states})
        elif path.endswith("/list"):
            self.answer(200, [job()])
        else:
            self.answer(200, job())

    def do_POST(self) -> None:
        self.do_GET()

    def do_DELETE(self) -> None:
        self.do_GET()

    def answer(self, status: int, document: Any) -> None:
        body = json.dumps(document).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture(scope="module")
def api() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), HostileApi)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def shown_by(folder: Path, api: str, *arguments: str) -> str:
    """All that the command prints."""
    ended = ekyc(*arguments, folder=folder, EKYC_API_URL=api, EKYC_TOKEN="token", COLUMNS="400")
    return ended.stdout + ended.stderr


@pytest.mark.parametrize("as_json", [False, True], ids=["words", "JSON"])
@pytest.mark.parametrize(
    "command",
    [
        ("status", JOB),
        ("watch", JOB),
        ("list",),
        ("stop", JOB),
        ("resume", JOB),
        ("delete", JOB, "--yes"),
        ("model",),
        ("model", "start"),
        ("model", "stop", "--yes"),
        ("status", "nothing"),
    ],
    ids=" ".join,
)
def test_no_command_prints_what_the_api_says_as_it_is(
    tmp_path: Path, api: str, command: tuple[str, ...], as_json: bool
) -> None:
    # Given an API, or one who has a say in its answers, that wants to rewrite the terminal
    # When a command shows what it says
    shown = shown_by(tmp_path, api, *command, *(["--json"] if as_json else []))
    # Then it is spelt out, or escaped in JSON
    assert is_harmless(shown)
    assert "Traceback" not in shown
    assert "owned" in shown
    if not as_json:
        assert SPELT_OUT in shown


def test_files_and_types_of_strangers_are_spelt_out(tmp_path: Path, api: str) -> None:
    # Given a folder of photos and labels, all of which a stranger named
    name = HOSTILE.replace("/", "")
    photos = tmp_path / "photos"
    photos.mkdir()
    for file in ("good.jpg", f"{name}.jpg"):
        Image.new("RGB", (64, 64)).save(photos / file)
    (photos / f"{name}.txt").write_text("x")
    coco = {
        "images": [{"id": 1, "file_name": name, "width": 64, "height": 64}],
        "categories": [{"id": 1, "name": HOSTILE}],
        "annotations": [{"id": 1, "image_id": 1, "category_id": 1, "bbox": [1, 1, 9, 9]}],
    }
    (tmp_path / "labels.json").write_text(json.dumps(coco))
    # When they are checked, beside each other and in a folder that is not there
    for arguments in (("labels", "labels.json", "--photos", "photos"), ("labels", f"{name}.json"), ("train", name)):
        shown = shown_by(tmp_path, api, *arguments)
        # Then no control character reaches the terminal
        assert is_harmless(shown)
        assert "Traceback" not in shown
        assert "owned" in shown


def test_watch_says_how_many_photos_are_checked() -> None:
    # Given a job whose photos are being checked; When shown; Then the line has the photos checked so far and in total
    progress = {"checked": 12_400, "labelled": None, "total": None}
    job = {"status": "CheckingImages", "detailedStatus": "Check photos", "photos": 250_000, "progress": progress}
    assert activity(job) == "checked 12,400 of 250,000, Check photos"
    # And nothing before the photos are listed
    assert activity({**job, "progress": {**progress, "checked": None}}) == "Check photos"
