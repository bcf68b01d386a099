"""`ekyc train DIR --label`: people label, and the job goes on by itself, in one command."""

import base64
import hashlib
import json
import secrets
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urljoin, urlsplit

import httpx
import pytest
from labelling_jobs import eventually
from PIL import Image

from ekyc import samples
from tests.waiting import ENOUGH

Box = dict[str, Any]
TYPES = ["AU_PASSPORT", "ID_KTP", "MY_NRIC"]
EKYC = str(Path(sys.executable).with_name("ekyc"))


@pytest.fixture(scope="module")
def unlabelled(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[bytes, Box]]:
    """Draws photos of three types into the folder; the box that belongs on each, by its content."""
    folder = tmp_path_factory.mktemp("unlabelled") / "photos"
    samples.write(folder, 32, 7)
    coco = json.loads((folder / "annotations.json").read_text())
    (folder / "annotations.json").unlink()
    names = {category["id"]: category["name"] for category in coco["categories"]}
    boxes = {one["image_id"]: one for one in coco["annotations"] if names[one["category_id"]] in TYPES}
    by_content = {}
    for image in coco["images"]:
        path = folder / image["file_name"]
        if not (document := boxes.get(image["id"])):
            path.unlink()
            continue
        Image.open(path).reduce(2).save(path, quality=92)  # a quarter of the time to train
        left, top, width, height = (int(edge / 2) for edge in document["bbox"])
        label = names[document["category_id"]]
        box = {"type": label, "left": left, "top": top, "width": width, "height": height}
        by_content[path.read_bytes()] = box
    return folder, by_content


@contextmanager
def train_and_label(folder: Path, labels: Path) -> Iterator[tuple[subprocess.Popen[str], httpx.Client, str]]:
    """The running command when its job waits for labels, the local person's calls, and the link that signs in."""
    command = [EKYC, "train", str(folder), "--label", "--no-browser", "--json", "--labels-out", str(labels)]
    command += ["--no-deploy", "--min-f1", "0", "--min-label-f1", "0"]
    command += [word for name in TYPES for word in ("--type", name)]
    with subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # A script's command in the background would leave Ctrl-C alone, and so would what it starts.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    ) as program:
        assert program.stderr
        link = next(line.strip() for line in program.stderr if "/login?link=" in line)
        yield program, signed_in(link), link


def signed_in(link: str) -> httpx.Client:
    """The calls of the labelling page for the person of the link, with the tokens that the page gets after it."""
    http = httpx.Client(base_url=link.partition("/login")[0], timeout=ENOUGH)
    page = urljoin(link, http.get(link).headers["Location"])
    settings = http.get("/api/labelling/sign-in").json()
    verifier = secrets.token_urlsafe(32)
    challenge = base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).rstrip(b"=").decode()
    shared = {"client_id": settings["clientId"], "redirect_uri": page}
    query = {"response_type": "code", "code_challenge": challenge, "code_challenge_method": "S256"}
    (code,) = parse_qs(urlsplit(http.get("/oauth2/authorize", params=shared | query).headers["Location"]).query)["code"]
    form = {"grant_type": "authorization_code", "code": code, "code_verifier": verifier}
    token = http.post("/oauth2/token", data=shared | form).json()["id_token"]
    return httpx.Client(base_url=urljoin(link, "/api/labelling/"), headers={"Authorization": token}, timeout=ENOUGH)


def label(page: httpx.Client, boxes: dict[bytes, Box], count: int) -> list[Box]:
    """Labels so many photos as the page asks for them; with which boxes."""
    (job,) = eventually(lambda: page.get("jobs").json()["jobs"])
    drawn = []
    for _ in range(count):
        (task,) = page.post(f"jobs/{job['id']}/next", json={"count": 1}).json()["tasks"]
        drawn.append(boxes[httpx.get(task["url"]).content])
        answer = {"leaseId": task["leaseId"], "outcome": "labelled", "boxes": [drawn[-1]], "seconds": 2.0}
        response = page.put(f"jobs/{job['id']}/answers/{task['place']}", json=answer)
        assert response.status_code == 200, response.text
    return drawn


def kept_boxes(labels: Path) -> list[dict[str, Any]]:
    """The first box of each photo that has one in the manifest that is kept."""
    lines = [json.loads(line) for line in (labels / "output.manifest").read_text().splitlines()]
    return [line["doctype"]["annotations"][0] for line in lines if "doctype" in line]


def test_the_job_continues_after_the_last_photo_is_labelled(
    unlabelled: tuple[Path, dict[bytes, Box]], tmp_path: Path
) -> None:
    # Given a folder of unlabelled photos of three types
    folder, boxes = unlabelled
    # When a user trains on it and labels the photos on the page
    with train_and_label(folder, tmp_path / "labels") as (program, page, link):
        # And another program that knows the port, but has no link that still works, gets nothing
        assert httpx.get(urljoin(link, "/api/labelling/jobs")).status_code == 401
        assert httpx.get(link).status_code == 400
        assert httpx.get(link, headers={"Sec-Fetch-Site": "cross-site"}).status_code == 403
        label(page, boxes, len(boxes))
        out, err = program.communicate(timeout=ENOUGH)
    # Then the job is done
    assert program.returncode == 0, err
    ended = json.loads(out)
    assert (ended["status"], ended["labelled"]) == ("Ready", len(boxes))
    # And the labels are kept, with those boxes
    kept = kept_boxes(tmp_path / "labels")
    assert sorted(one["left"] for one in kept) == sorted(box["left"] for box in boxes.values())


def test_labels_are_kept_when_labelling_is_interrupted(
    unlabelled: tuple[Path, dict[bytes, Box]], tmp_path: Path
) -> None:
    # Given a user who has labelled four photos
    (folder, boxes), labels = unlabelled, tmp_path / "labels"
    with train_and_label(folder, labels) as (program, page, _):
        drawn = label(page, boxes, 4)
        # When they press Ctrl-C
        program.send_signal(signal.SIGINT)
        _, err = program.communicate(timeout=ENOUGH)
    # Then the command says where the labels are and how to train on them, and the file has the four boxes
    assert program.returncode == 130, err
    assert "Stopped watching. The job ends with its local AWS." in err
    assert f"ekyc train {folder} --labels {labels / 'output.manifest'}" in " ".join(err.split())
    assert sorted(one["left"] for one in kept_boxes(labels)) == sorted(box["left"] for box in drawn)
    # And they are labels that a job takes
    check = [EKYC, "labels", str(labels / "output.manifest"), "--photos", str(folder), "--json"]
    checked = subprocess.run(check, capture_output=True, text=True, check=False)
    assert checked.returncode == 0, checked.stderr
    assert json.loads(checked.stdout)["boxes"] == 4
