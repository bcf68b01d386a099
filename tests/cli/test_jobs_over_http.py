"""`ekyc` with the deployed pipeline, over real HTTP: a process of its own, its output and its exit code."""

import itertools
import json
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import pytest
from PIL import Image

from ekyc import samples
from ekyc.localaws import presigned
from ekyc.localaws.clock import clock
from ekyc.localaws.server import LocalAws
from rules.subjects import subject_hash
from tests.command import ekyc, environment_without_aws
from tests.waiting import ENOUGH

ENDED = {"Ready": 0, "Rejected": 3, "Failed": 4, "Stopped": 5}


class Terminal:
    """Runs the command with the environment that `ekyc local` prints."""

    def __init__(self, aws: LocalAws) -> None:
        self.aws = aws
        self.environment = aws.environment() | {"EKYC_API_URL": aws.api_url, "COLUMNS": "200"}
        self.http = httpx.Client(base_url=f"{aws.api_url}/api/training/", timeout=ENOUGH)

    def start(self, *arguments: str | Path, **variables: str) -> subprocess.Popen[str]:
        """The installed program, running."""
        return subprocess.Popen(
            [Path(sys.executable).with_name("ekyc"), *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=environment_without_aws() | self.environment | variables,
            # A test run in the background of a script ignores Ctrl-C, and so would its commands.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        )

    def run(self, *arguments: str | Path, code: int = 0, **variables: str) -> tuple[str, str]:
        """Standard output and standard error of the command, which must end with ``code``."""
        ended = ekyc(*arguments, **self.environment | variables)
        assert ended.returncode == code, ended.stdout + ended.stderr
        assert "Traceback" not in ended.stderr
        return ended.stdout, ended.stderr

    def json(self, *arguments: str | Path) -> Any:
        """What the command prints with --json."""
        return json.loads(self.run(*arguments, "--json")[0])

    def names(self, job_id: str) -> list[str]:
        """The job's uploads, from the API."""
        found: list[str] = []
        token: str | None = ""
        while token is not None:
            answer = self.http.get(f"jobs/{job_id}/uploads", params={"nextToken": token} if token else {})
            found += [entry["name"] for entry in answer.json()]
            token = answer.headers.get("X-Next-Token")
        return found


@pytest.fixture(scope="module")
def terminal(local_aws: LocalAws, lenient_assembly: Path) -> Iterator[Terminal]:
    """One deployed pipeline for all tests in this module, without workers: labels are supplied."""
    local_aws.reset()
    local_aws.deploy(lenient_assembly)
    speed = clock.speed
    yield Terminal(local_aws)
    clock.speed = speed


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """16 small specimen photos with their annotations."""
    folder = tmp_path_factory.mktemp("cli") / "photos"
    samples.write(folder, 16, 7)
    return folder


def test_a_job_is_checked_uploaded_trained_and_reported(terminal: Terminal, photos: Path, tmp_path: Path) -> None:
    # Given labelled photos, one of which is a duplicate and one no photo
    folder = tmp_path / "photos"
    shutil.copytree(photos, folder)
    shutil.copy(folder / "0001.jpg" if (folder / "0001.jpg").exists() else next(folder.glob("*.jpg")), folder / "z.jpg")
    (folder / "note.jpg").write_text("no photo")
    # When a whole job is done with bars that every model passes
    process = terminal.start("train", folder, "--no-deploy", "--json")
    out, err = process.communicate(timeout=ENOUGH)
    # Then what would be rejected is named, and standard output holds the job alone
    job = json.loads(out)
    assert process.returncode == ENDED[job["status"]], err
    assert "note.jpg: the file is neither JPEG nor PNG (UnsupportedFormat)" in err
    assert re.search(r"z\.jpg|the same photo as", err)
    # And the photos that were sent are those that the pipeline accepts
    assert (job["images"], job["rejected"]) == (16, 0)
    # And the job is listed and shown with its states
    assert job["id"] in terminal.run("list")[0]
    shown = terminal.json("status", job["id"])
    assert [state["status"] for state in shown["states"]].count("next") == 0
    assert shown["states"][0]["name"] == "Plan photos"


def test_an_interrupted_upload_continues_without_repeats(
    terminal: Terminal, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Given many photos, and a storage that takes some and then waits
    for number in range(200):
        Image.new("RGB", (80, 80), (number, 0, 7)).save(tmp_path / f"{number:03}.png")
    job_id = terminal.run("create")[0].strip()
    numbers, is_waiting, may_continue = itertools.count(), threading.Event(), threading.Event()
    refuse = presigned.refuse

    def wait_and_refuse(environ: dict[str, Any]) -> Any:
        if environ["REQUEST_METHOD"] == "PUT" and next(numbers) >= 20:
            is_waiting.set()
            may_continue.wait(ENOUGH)
        return refuse(environ)

    monkeypatch.setattr(presigned, "refuse", wait_and_refuse)
    # When the upload is interrupted once some are there
    process = terminal.start("upload", job_id, tmp_path)
    assert is_waiting.wait(ENOUGH), process.communicate()
    process.send_signal(signal.SIGINT)
    may_continue.set()
    _, err = process.communicate(timeout=ENOUGH)
    there = terminal.names(job_id)
    # Then it says how to go on
    assert process.returncode == 130, err
    assert f"ekyc upload {job_id}" in err
    assert 0 < len(there) < 200
    # And the next run sends the rest only, and a third one nothing
    second = terminal.json("upload", job_id, tmp_path)
    assert (second["uploaded"], second["skipped"]) == (200 - len(there), len(there))
    assert len(terminal.names(job_id)) == 200
    assert terminal.json("upload", job_id, tmp_path)["uploaded"] == 0


def test_names_that_clash_are_listed_before_the_first_byte(terminal: Terminal, tmp_path: Path) -> None:
    # Given a job that has a photo
    Image.new("RGB", (80, 80), "red").save(tmp_path / "a.png")
    job_id = terminal.run("create")[0].strip()
    terminal.run("upload", job_id, tmp_path)
    # When another one of its name is to be sent beside a new one
    Image.new("RGB", (80, 80), "blue").save(tmp_path / "a.png")
    Image.new("RGB", (80, 80), "green").save(tmp_path / "b.png")
    _, err = terminal.run("upload", job_id, tmp_path, code=1)
    # Then the clash is named and nothing is sent
    assert "a.png" in err
    assert terminal.names(job_id) == ["a.png"]
    # And so it is with two files of one name in the folder
    (tmp_path / "more").mkdir()
    shutil.copy(tmp_path / "b.png", tmp_path / "more" / "b.png")
    _, err = terminal.run("upload", job_id, tmp_path, code=1)
    assert f"b.png and {Path('more') / 'b.png'}" in err
    assert terminal.names(job_id) == ["a.png"]


def test_subjects_come_from_the_names_of_photos(terminal: Terminal, tmp_path: Path) -> None:
    # Given photos of two customers, and one without a customer in its name
    names = ["17_front.png", "17_back.png", "18_front.png", "scene.png"]
    for number, name in enumerate(names):
        Image.new("RGB", (80, 80), (number, 0, 9)).save(tmp_path / name)
    job_id = terminal.run("create")[0].strip()
    # When they are uploaded with a rule on the name
    rule = ("--subject-from", r"(\d+)_")
    _, err = terminal.run("upload", job_id, tmp_path, *rule)
    assert "2 subjects in the names of 3 of 4 photos" in err
    # Then S3 has a hash for each photo of a customer, which the job's photos of that customer share
    entries = terminal.http.get(f"jobs/{job_id}/uploads").json()
    subjects = {entry["name"]: httpx.head(entry["head"]).headers.get("x-amz-meta-subject") for entry in entries}
    assert subjects == {
        "17_front.png": subject_hash(job_id, "17"),
        "17_back.png": subject_hash(job_id, "17"),
        "18_front.png": subject_hash(job_id, "18"),
        "scene.png": None,
    }
    # And the same command sends nothing again, but one with other subjects is refused
    assert terminal.json("upload", job_id, tmp_path, *rule)["skipped"] == 4
    _, err = terminal.run("upload", job_id, tmp_path, code=1)
    assert "17_back.png (it was uploaded with another --subject-from)" in err
    assert "scene.png" not in err


def test_an_upload_must_send_the_subject_that_was_signed(terminal: Terminal) -> None:
    # Given a URL for a photo with a subject
    job_id = terminal.run("create")[0].strip()
    body = {"names": ["a.jpg"], "subjects": {"a.jpg": "17"}}
    target = terminal.http.post(f"jobs/{job_id}/urls", json=body).json()["a.jpg"]
    # Then an upload without the subject, or with another one, is refused
    others = {name: value for name, value in target["headers"].items() if name != "x-amz-meta-subject"}
    for headers in (others, others | {"x-amz-meta-subject": subject_hash(job_id, "18")}):
        assert httpx.put(target["url"], headers=headers, content=b"photo").status_code == 403
    assert httpx.put(target["url"], headers=target["headers"], content=b"photo").status_code == 200


@pytest.mark.parametrize(
    ("rule", "words"), [(r"(\d+", "is not valid: missing )"), (r"\d+_", "has no group"), ("", "has no group")]
)
def test_a_rule_that_finds_no_subject_is_wrong_usage(terminal: Terminal, tmp_path: Path, rule: str, words: str) -> None:
    for command in (("train", tmp_path), ("upload", "ekyc-20261124034524-0ac337ddb8d23c1c", tmp_path)):
        _, err = terminal.run(*command, "--subject-from", rule, code=2)
        assert words in " ".join(err.split())


class Relay:
    """What stands between the watcher and the API, and can be cut."""

    def __init__(self, target: str) -> None:
        self.cut = threading.Event()
        relay = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                if relay.cut.is_set():
                    self.connection.close()
                    return
                answer = httpx.get(f"{target}{self.path}", timeout=ENOUGH)
                self.send_response(answer.status_code)
                self.send_header("Content-Length", str(len(answer.content)))
                self.end_headers()
                self.wfile.write(answer.content)

            def log_message(self, *_: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()


@pytest.fixture
def relay(terminal: Terminal) -> Iterator[Relay]:
    relay = Relay(terminal.aws.api_url)
    yield relay
    relay.server.shutdown()
    relay.server.server_close()


def test_a_lost_connection_and_ctrl_c_do_not_stop_the_job(terminal: Terminal, photos: Path, relay: Relay) -> None:
    # Given a job that waits for labels, and a command that watches it
    job_id = terminal.run("create")[0].strip()
    terminal.run("upload", job_id, photos)
    terminal.run("start", job_id, "--provider", "supplied", "--no-deploy")
    watcher = terminal.start("watch", job_id, EKYC_API_URL=relay.url)
    assert watcher.stderr is not None

    def read_until(words: str) -> None:
        deadline = time.monotonic() + ENOUGH
        while words not in (line := watcher.stderr.readline()):  # type: ignore[union-attr]
            assert line, "the watcher ended"
            assert time.monotonic() < deadline

    read_until("WaitingForLabelling")
    # When the connection is lost, then the watcher says so and tries again until it is back
    relay.cut.set()
    read_until("Connection lost")
    relay.cut.clear()
    read_until("Connected again")
    # When Ctrl-C is pressed, then it says that the job goes on and how to follow it
    watcher.send_signal(signal.SIGINT)
    _, err = watcher.communicate(timeout=ENOUGH)
    assert watcher.returncode == 130
    assert f"ekyc watch {job_id}" in err
    assert terminal.json("status", job_id)["status"] == "WaitingForLabelling"
    # And a stop ends it with a code of its own
    terminal.run("stop", job_id)
    _, err = terminal.run("watch", job_id, code=5)
    assert f"ekyc resume {job_id}" in err


def test_labels_that_do_not_fit_are_named_by_file_and_line(terminal: Terminal, photos: Path, tmp_path: Path) -> None:
    # Given COCO with a category that is not there, a box outside, and a photo of another size
    coco = json.loads((photos / "annotations.json").read_text())
    coco["annotations"][0]["category_id"] = 999
    coco["annotations"][1]["bbox"] = [99999, 0, 10, 10]
    coco["images"][0]["width"] += 1
    file = tmp_path / "wrong.json"
    file.write_text(json.dumps(coco, indent=1))
    # When it is checked
    _, err = terminal.run("labels", file, "--photos", photos, code=1)
    # Then each line that is named is the one where the element begins
    lines = file.read_text().splitlines()
    found = {int(number): reason for number, reason in re.findall(rf"{re.escape(str(file))}:(\d+): (.*)", err)}
    assert len(found) == 3
    assert all(lines[number - 1].strip() == "{" for number in found)
    assert any("999" in reason for reason in found.values())
    # And a Ground Truth manifest is recognized and checked line by line
    manifest = tmp_path / "labels.manifest"
    manifest.write_text('{"source-ref": "s3://b/a.jpg"}\n{"source-ref": 5}\nno json\n')
    _, err = terminal.run("labels", manifest, code=1)
    assert f"{manifest}:2: source-ref is missing" in err
    assert f"{manifest}:3: the line is not valid JSON" in err
    # And a file that fits is said to
    assert "is valid: COCO, 16 photos" in terminal.run("labels", photos / "annotations.json", "--photos", photos)[0]


def test_mistakes_are_a_sentence_and_a_code(terminal: Terminal, tmp_path: Path) -> None:
    unknown = "ekyc-20200101000000-0000000000000000"
    (tmp_path / "empty").mkdir()
    for arguments, code, words in (
        (("status", unknown), 1, "There is no job"),
        (("watch", unknown), 1, "There is no job"),
        (("train", tmp_path / "empty"), 1, "has no photos"),
        (("train", tmp_path / "gone"), 1, "is not a folder"),
        (("start", unknown, "--min-f1", "7"), 2, "min-f1"),
        (("start", unknown, "--provider", "nobody"), 1, "labels.provider"),
        (("delete", unknown), 1, "--yes"),
        (("model", "stop"), 1, "--yes"),
        (("model", "start"), 1, "No model is live yet"),
        (("nothing",), 2, "nothing"),
    ):
        out, err = terminal.run(*arguments, code=code)
        assert words in err, (arguments, out, err)


def test_a_token_takes_the_place_of_aws_credentials(terminal: Terminal, tmp_path: Path) -> None:
    # Given an API that shows what it was sent
    seen: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            seen.append(self.headers["Authorization"])
            self.send_response(200)
            self.send_header("Content-Length", "2")
            self.end_headers()
            self.wfile.write(b"[]")

        def log_message(self, *_: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        # When a command is given with a token, and with credentials
        url = f"http://127.0.0.1:{server.server_port}"
        terminal.run("list", EKYC_API_URL=url, EKYC_TOKEN="id-token")
        terminal.run("list", EKYC_API_URL=url)
        server.shutdown()
    # Then the first has the token and the second a signature for API Gateway
    assert seen[0] == "Bearer id-token"
    assert seen[1].startswith("AWS4-HMAC-SHA256")
    assert "/execute-api/aws4_request" in seen[1]


def test_every_command_has_help_with_an_example(terminal: Terminal) -> None:
    commands = re.findall(r"^│ ([a-z]+) ", terminal.run("--help")[0], re.MULTILINE)
    assert {"train", "upload", "watch", "labels", "detect", "model", "delete"} <= set(commands)
    for command in commands:
        assert "Example: " in terminal.run(command, "--help")[0], command
    assert "Exit codes" in terminal.run("--help")[0]
