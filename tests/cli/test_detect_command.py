"""`ekyc detect` as a person runs it: a process that asks, over real HTTP, a model whose answers we choose."""

import base64
import io
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.command import ekyc
from tests.unit.photo_files import png

HOSTILE = "\x1b]0;owned\x07\u202egnp.exe\n[red]ID[/]"


def document(name: str, corners: list[tuple[float, float]] | None = None) -> dict[str, Any]:
    """The document that fills the middle of a photo, with or without an outline."""
    box = {"left": 0.25, "top": 0.25, "width": 0.5, "height": 0.5}
    outline = corners and {"confidence": 0.98, "corners": [{"x": x, "y": y} for x, y in corners]}
    return {"type": name, "confidence": 0.99, "box": box, "outline": outline}


class Model:
    """The API's route at an address of its own, with the limits of a photo."""

    def __init__(self) -> None:
        self.types = ["ID"]
        self.corners: list[tuple[float, float]] | None = None
        self.refusals: list[tuple[int, str]] = []
        self.images: list[tuple[int, tuple[int, int]]] = []
        model = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                assert self.path == "/api/documents/detect"
                request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                content = base64.b64decode(request["photo"])
                size = Image.open(io.BytesIO(content)).size
                model.images.append((len(content), size))
                if model.refusals:
                    self.answer(*model.refusals.pop(0))
                elif len(content) > 4 * 1024 * 1024 or max(size) > 4096:
                    self.answer(413, "The photo is too large.")
                elif min(size) < 64:
                    self.answer(400, f"Too small {HOSTILE}")
                else:
                    documents = [document(name, model.corners) for name in model.types]
                    self.send(200, {"model": {}, "photo": {}, "documents": documents})

            def answer(self, status: int, detail: str) -> None:
                self.send(status, {"type": "urn:ekyc:problem:x", "title": "x", "status": status, "detail": detail})

            def send(self, status: int, document: dict[str, Any]) -> None:
                body = json.dumps(document).encode()
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(body)))
                self.send_header("Retry-After", "0")
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    @property
    def variables(self) -> dict[str, str]:
        """The environment in which the command calls this API."""
        return {
            "EKYC_API_URL": f"http://127.0.0.1:{self.server.server_port}",
            "AWS_ACCESS_KEY_ID": "local",
            "AWS_SECRET_ACCESS_KEY": "local",
            "AWS_DEFAULT_REGION": "us-east-1",
            "COLUMNS": "250",
        }

    def run(self, folder: Path, *arguments: str, code: int = 0) -> tuple[str, str]:
        """Standard output and standard error of `ekyc detect` in ``folder``, which must end with ``code``."""
        ended = ekyc("detect", *arguments, folder=folder, **self.variables)
        assert ended.returncode == code, ended.stdout + ended.stderr
        assert "Traceback" not in ended.stderr
        return ended.stdout, ended.stderr


@pytest.fixture
def model() -> Iterator[Model]:
    model = Model()
    yield model
    model.server.shutdown()
    model.server.server_close()


def photo(path: Path, shade: int = 0, size: tuple[int, int] = (200, 100)) -> str:
    path.parent.mkdir(exist_ok=True)
    Image.new("RGB", size, (shade, 10, 20)).save(path)
    return str(path)


def crops_of(rows: list[dict[str, Any]]) -> list[str]:
    return [one["crop"] for row in rows for one in row["documents"]]


def shade_of(crop: Path) -> int:
    red = np.asarray(Image.open(crop).convert("RGB"))[..., 0]
    return round(float(np.median(red)))


def test_each_photo_has_a_crop_of_its_own(tmp_path: Path, model: Model) -> None:
    # Given photos of one name in two folders and with two endings, and a photo given twice, each with two documents
    model.types = ["ID", "ID"]
    shades = {"anna/front.jpg": 40, "ben/front.jpg": 80, "ben/back.jpg": 120, "ben/back.png": 160, "c.jpg": 200}
    paths = [photo(tmp_path / name, shade) for name, shade in shades.items()]
    # When a model is asked about them
    result = json.loads(model.run(tmp_path, *paths, paths[0], "--out", "crops", "--json")[0])
    # Then every document has a file of its own, that shows its photo
    crops = crops_of(result["photos"])
    assert len(set(crops)) == 12
    for row in result["photos"]:
        shade = shades[str(Path(row["photo"]).relative_to(tmp_path))]
        assert all(abs(shade_of(tmp_path / one["crop"]) - shade) < 4 for one in row["documents"])
    # And its name has the photo's name
    assert {Path(crop).name for crop in crops} >= {
        "c-1-ID.png",
        "c-2-ID.png",
        "back.jpg-1-ID.png",
        "back.png-1-ID.png",
        "ben_front.jpg-1-ID.png",
    }


def test_a_document_with_an_outline_is_straightened(tmp_path: Path, model: Model) -> None:
    # Given a photo whose lower half is red, and a document whose own top is the photo's right edge
    image = Image.new("RGB", (400, 400), "white")
    image.paste("red", (0, 200, 400, 400))
    image.save(tmp_path / "a.png")
    model.corners = [(0.75, 0.25), (0.75, 0.75), (0.25, 0.75), (0.25, 0.25)]
    # When the model is asked
    [row] = json.loads(model.run(tmp_path, "a.png", "--out", "crops", "--json")[0])["photos"]
    # Then the crop is the document as it is read: the red half is at its right
    [found] = row["documents"]
    assert found["outline"] == {"confidence": 0.98, "corners": [[300, 100], [300, 300], [100, 300], [100, 100]]}
    crop = np.asarray(Image.open(tmp_path / found["crop"]).convert("RGB"))
    assert max(crop.shape) == 1000
    height, width = crop.shape[:2]
    assert (crop[height // 2, width // 10, 1], crop[height // 2, -width // 10, 1]) == (255, 0)
    # And without an outline, it is the box, pixel by pixel, and the table says so
    model.corners = None
    words, _ = model.run(tmp_path, "a.png", "--out", "boxes")
    assert "none: box" in words
    assert Image.open(tmp_path / "boxes/a-1-ID.png").size == (200, 200)


def test_a_busy_model_is_asked_again(tmp_path: Path, model: Model) -> None:
    # Given a model that is busy twice
    model.refusals = [(429, "The live model is busy."), (503, "An AWS service is busy.")]
    photo(tmp_path / "a.jpg")
    # When it is asked, then the photo gets its answer
    model.run(tmp_path, "a.jpg", "--out", "crops")
    assert len(model.images) == 3


def test_without_a_live_model_one_sentence_says_so(tmp_path: Path, model: Model) -> None:
    # Given three photos, and no live model
    model.refusals = [(409, "No model is live yet. Train one first.")] * 3
    names = [photo(tmp_path / f"{name}.jpg") for name in "abc"]
    # When it is asked, then the command ends with one sentence, not with one for each photo
    _, err = model.run(tmp_path, *names, "--out", "crops", code=1)
    assert err.count("No model is live") == 1


def test_nothing_in_the_folder_is_overwritten(tmp_path: Path, model: Model) -> None:
    # Given the crops of an earlier run, and a link among them that points elsewhere
    photo(tmp_path / "a/front.jpg", 40)
    photo(tmp_path / "b/front.jpg", 80)
    first = json.loads(model.run(tmp_path, "a/front.jpg", "--out", "crops", "--json")[0])
    before = {path: path.read_bytes() for path in (tmp_path / "crops").iterdir()}
    (tmp_path / "crops/front-1-ID~2.png").symlink_to(tmp_path / "elsewhere")
    # When another photo of that name is looked at
    second = json.loads(model.run(tmp_path, "b/front.jpg", "--out", "crops", "--json")[0])
    # Then it has new files, and the earlier ones are as they were
    assert crops_of(first["photos"]) == ["crops/front-1-ID.png"]
    assert crops_of(second["photos"]) == ["crops/front-1-ID~3.png"]
    assert second["contactSheet"] == "crops/contact-sheet~2.png"
    assert {path: path.read_bytes() for path in before} == before
    assert not (tmp_path / "elsewhere").exists()


def test_a_photo_that_fails_does_not_end_the_others(tmp_path: Path, model: Model) -> None:
    # Given a missing file, a text file, a cut-off photo, a photo that the service refuses, and two good photos
    photo(tmp_path / "a.jpg", 40)
    photo(tmp_path / "small.jpg", 80, (200, 40))
    photo(tmp_path / "z.jpg", 120)
    (tmp_path / "text.jpg").write_text("no photo")
    (tmp_path / "bomb.png").write_bytes(png(60_000, 60_000, bytes(100)))
    names = ["missing.jpg", "a.jpg", "text.jpg", "small.jpg", "bomb.png", "z.jpg"]
    # When a model is asked about them
    out, err = model.run(tmp_path, *names, "--out", "crops", "--json", code=1)
    # Then each has its result or its own error, and the exit code says that something failed
    rows = {row["photo"]: row for row in json.loads(out)["photos"]}
    assert list(rows) == names
    assert [name for name, row in rows.items() if "error" not in row] == ["a.jpg", "z.jpg"]
    assert "is not a file" in rows["missing.jpg"]["error"]
    assert "cannot be used" in rows["text.jpg"]["error"]
    assert "60000x60000 pixels" in rows["bomb.png"]["error"]
    assert "Too small" in rows["small.jpg"]["error"]
    assert all(Path(tmp_path / crop).is_file() for crop in crops_of(list(rows.values())))
    assert [name for name in names if name in err] == ["missing.jpg", "text.jpg", "small.jpg", "bomb.png"]


@pytest.mark.parametrize("kind", ["bytes", "pixels", "both"])
def test_a_large_photo_is_scaled_down_for_the_model(tmp_path: Path, model: Model, kind: str) -> None:
    # Given a photo beyond the limits of the call, in bytes or in pixels
    width, height = {"bytes": (1300, 1300), "pixels": (6000, 1500), "both": (5000, 3000)}[kind]
    if kind == "pixels":
        Image.new("RGB", (width, height), (77, 10, 20)).save(tmp_path / "big.png")
    else:
        Image.frombytes("RGB", (width, height), os.urandom(width * height * 3)).save(tmp_path / "big.png")
    # When a model is asked
    [row] = json.loads(model.run(tmp_path, "big.png", "--out", "crops", "--json")[0])["photos"]
    # Then the model got a smaller photo of the same shape
    [(size, sides)] = model.images
    assert size <= 4 * 1024 * 1024
    assert max(sides) <= 4096
    assert sides[0] / sides[1] == pytest.approx(width / height, rel=0.01)
    # And the box is in pixels of the photo itself
    assert row["documents"][0]["box"] == [width / 4, height / 4, width / 2, height / 2]


@pytest.mark.parametrize(
    "name",
    [
        "a/b",
        "../../out",
        "..",
        "CON",
        "-rf",
        ".hidden",
        "x" * 255,
        "身份证" * 80,
        "[bold]ID[/bold]",
        HOSTILE,
        "a\\b:c|d",
    ],
)
def test_a_type_is_no_path_and_no_markup(tmp_path: Path, model: Model, name: str) -> None:
    # Given a model with a type that a stranger named
    model.types = [name]
    photo(tmp_path / "work/photo.jpg", 40)
    # When it is asked, for a person and for a script
    words, _ = model.run(tmp_path / "work", "photo.jpg", "--out", "for people")
    result = json.loads(model.run(tmp_path / "work", "photo.jpg", "--out", "crops", "--json")[0])
    # Then the crop lies in the folder, under a name that any system takes
    [document] = result["photos"][0]["documents"]
    crop = tmp_path / "work" / document["crop"]
    assert crop.is_file()
    assert crop.parent == tmp_path / "work/crops"
    assert not set(crop.name) & set('/\\:*?"<>|\n\x1b\u202e')
    assert len(crop.name.encode()) <= 255
    assert sorted(path.name for path in tmp_path.iterdir()) == ["work"]
    # And the script gets the exact type, the person its printable form
    assert document["type"] == name
    assert not set(words) & {"\x1b", "\x07", "\u202e"}
    if name.startswith("[bold]"):
        assert name in words


def test_hostile_photo_names_show_no_control_characters(tmp_path: Path, model: Model) -> None:
    # Given photos whose names would rewrite the terminal, one of which fails
    good, bad = f"{HOSTILE.replace('/', '_')}.jpg", "\x9b2J\x1b[2Jbad.jpg"
    photo(tmp_path / good, 40)
    photo(tmp_path / bad, 40, (200, 40))
    # When a model is asked
    out, err = model.run(tmp_path, good, bad, "--out", "crops", code=1)
    # Then what is printed spells them out, and no file is named by them
    for shown in (out, err):
        assert not set(shown) & {"\x1b", "\x07", "\x9b", "\u202e"}
    assert r"\x1b]0;owned\x07\u202egnp.exe\n[red]ID[_].jpg" in out
    assert r"\x9b2J\x1b[2Jbad.jpg" in err
    written = "".join(path.name for path in (tmp_path / "crops").iterdir())
    assert not set(written) & {"\x1b", "\x07", "\u202e", "\n"}
    # And JSON has the exact names, escaped
    out, _ = model.run(tmp_path, good, bad, "--out", "again", "--json", code=1)
    assert not set(out) & {"\x1b", "\x9b", "\u202e"}
    assert [row["photo"] for row in json.loads(out)["photos"]] == [good, bad]


def test_an_unwritable_folder_is_reported_in_words(tmp_path: Path, model: Model) -> None:
    # Given a file where the folder should be, and a place where none can be made
    photo(tmp_path / "a.jpg")
    (tmp_path / "file").write_text("x")
    # When told to write there; Then it says so in a sentence before the model is asked
    for out in ("file", "file/below", "/proc/crops"):
        _, err = model.run(tmp_path, "a.jpg", "--out", out, code=1)
        assert out in err
        assert len(err.strip().splitlines()) == 1
    assert not model.images
    assert (tmp_path / "file").read_text() == "x"


def test_a_full_disk_leaves_no_half_files_and_reports_none(tmp_path: Path, model: Model) -> None:
    # Given a folder whose files may not grow
    photo(tmp_path / "a.jpg")
    script = "import resource, sys, runpy; resource.setrlimit(resource.RLIMIT_FSIZE, (100, 100)); "
    script += "import signal; signal.signal(signal.SIGXFSZ, signal.SIG_IGN); from ekyc.cli.main import app; app()"
    environment = os.environ | model.variables
    # When a model is asked
    ended = subprocess.run(
        [sys.executable, "-c", script, "detect", "a.jpg", "--out", "crops", "--json"],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env=environment,
    )
    # Then it says what could not be written, and no file is there or named
    assert ended.returncode == 1, ended.stderr
    assert "Traceback" not in ended.stderr
    result = json.loads(ended.stdout)
    assert "cannot be written: File too large" in result["photos"][0]["error"]
    assert crops_of(result["photos"]) == [None]
    assert result["contactSheet"] is None
    assert not list((tmp_path / "crops").iterdir())
