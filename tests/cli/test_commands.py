"""The `ekyc` command as a person runs it: a process of its own, its output and its exit code."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from tests.command import ekyc, environment_without_aws
from tests.waiting import ENOUGH


def test_the_demo_trains_a_model_and_leaves_nothing_running(tmp_path: Path) -> None:
    # When the demo runs on some forty photos
    ended = subprocess.run(
        [Path(sys.executable).with_name("ekyc"), "demo", "--count", "40", "--seed", "5", "--out", tmp_path],
        capture_output=True,
        text=True,
        check=False,
        env=environment_without_aws(),
        timeout=ENOUGH,
    )
    # Then it ends well, having told the states as they were entered
    assert ended.returncode == 0, ended.stderr
    places = [
        ended.stdout.index(state) for state in ("Check photos", "Request labels", "Start training", "Model ready")
    ]
    assert places == sorted(places)
    # And with their figures, but not the times that later stages compare
    assert "accepted 32" in ended.stdout
    assert not re.search(r"(Written|Ended) [0-9]", ended.stdout)
    # And its figures are those of a model that works, on photos that it was not trained on
    result = json.loads((tmp_path / "result.json").read_text())
    assert (result["status"], result["execution_status"]) == ("Ready", "SUCCEEDED")
    assert result["photos"] == {"trained_on": 32, "held_out": 8}
    assert result["f1"] >= 0.7
    assert result["mean_iou"] >= 0.8
    assert result["history_events"] > 100
    assert result["seconds_per_stage"]["Check training"] > 0
    assert ":project/ekyc-" in result["model_arn"]
    # And the contact sheet is a picture of them
    with Image.open(tmp_path / "contact-sheet.png") as sheet:
        assert min(sheet.size) > 500
    # And nothing but the two files is left
    assert sorted(path.name for path in tmp_path.iterdir()) == ["contact-sheet.png", "result.json"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("samples", "--out", "new", "--count", "3"), "photographs is 3"),
        (("samples", "--out", "."), "not empty"),
        (("demo", "--photos", "."), "annotations.json"),
        (("demo", "--photos", "broken"), "neither a COCO file"),
        (("demo", "--photos", "gone"), "gone.jpg"),
        (("detect", "missing.jpg", "--out", "crops"), "missing.jpg is not a file"),
        (("detect", "note.jpg", "--out", "crops"), "note.jpg cannot be used"),
        (("detect", "photo.jpg", "--out", "crops"), "EKYC_API_URL is not set"),
        (("local", "--answers", "missing.json"), "missing.json is not a file"),
    ],
)
def test_a_mistake_is_one_sentence_and_exit_code_1(
    arguments: tuple[str, ...], words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Given a folder with a file that is no photo, a photo, and folders whose annotations cannot be used
    (tmp_path / "note.jpg").write_text("not a photo")
    Image.new("RGB", (64, 64)).save(tmp_path / "photo.jpg")
    for name, content in {
        "broken": "{",
        "gone": '{"categories": [], "annotations": [], "images": [{"id": 1, "file_name": "gone.jpg"}]}',
    }.items():
        (tmp_path / name).mkdir()
        (tmp_path / name / "annotations.json").write_text(content)
    monkeypatch.chdir(tmp_path)
    before = sorted(tmp_path.rglob("*"))
    # When a command is called with something wrong
    ended = ekyc(*arguments)
    # Then it says what in a sentence, with no stack trace, and leaves all as it was
    assert ended.returncode == 1
    assert words in ended.stderr
    assert len(ended.stderr.strip().splitlines()) == 1
    assert sorted(tmp_path.rglob("*")) == before


def test_a_missing_api_is_reported_with_its_address(tmp_path: Path) -> None:
    Image.new("RGB", (64, 64)).save(tmp_path / "photo.jpg")
    credentials = {"AWS_ACCESS_KEY_ID": "local", "AWS_SECRET_ACCESS_KEY": "local", "AWS_REGION": "us-east-1"}
    ended = ekyc(
        "detect", tmp_path / "photo.jpg", "--out", tmp_path / "crops", EKYC_API_URL="http://127.0.0.1:9", **credentials
    )
    assert ended.returncode == 1
    assert "http://127.0.0.1:9" in ended.stderr
    assert "Traceback" not in ended.stderr


def test_what_has_no_counterpart_is_named_before_sending(tmp_path: Path) -> None:
    # Given four photos, and labels of three of them and of a fourth that is not there
    names = ["a.jpg", "b.jpg", "c.jpg", "new.jpg"]
    for number, name in enumerate(names):
        Image.new("RGB", (64, 64), (number * 60, 0, 0)).save(tmp_path / name)
    images = [
        {"id": n, "file_name": name, "width": 64, "height": 64} for n, name in enumerate([*names[:3], "gone.jpg"])
    ]
    annotations = [{"id": n, "image_id": n, "category_id": 1, "bbox": [2, 3, 40, 30]} for n in range(4)]
    coco = {"images": images, "annotations": annotations, "categories": [{"id": 1, "name": "ID_KTP"}]}
    (tmp_path / "annotations.json").write_text(json.dumps(coco))
    # When a whole job is asked for; Then nothing is sent, and the counts and the names are said
    ended = ekyc("train", str(tmp_path))
    words = "1 of 4 labelled photos has no upload, 1 upload has no labels"
    assert (ended.returncode, words in ended.stderr) == (1, True)
    assert "no upload: 'gone.jpg'" in ended.stderr
    assert "no labels: 'new.jpg'" in ended.stderr
    assert "Nothing was sent." in ended.stderr
    # When so many are allowed; Then the labels fit, and the counts and names are said all the same
    file = str(tmp_path / "annotations.json")
    ended = ekyc("labels", file, "--photos", str(tmp_path), "--max-unmatched", "0.25")
    assert (ended.returncode, words in ended.stderr) == (0, True)
    assert "3 documents of 1 type (ID_KTP)" in ended.stdout


def test_a_document_type_that_cannot_be_is_refused_at_once(tmp_path: Path) -> None:
    Image.new("RGB", (64, 64)).save(tmp_path / "a.jpg")
    ended = ekyc("train", str(tmp_path), "--type", "ID_KTP ")
    assert (ended.returncode, ended.stdout) == (1, "")
    assert "--type 'ID_KTP ' cannot be a document type" in ended.stderr
