"""`ekyc train DIR --label`: people label, and the job goes on by itself, in one command."""

import json
import re
import subprocess
import sys
from pathlib import Path

import httpx
from labelling_jobs import Worker, eventually
from PIL import Image

from ekyc import samples

TYPES = ["AU_PASSPORT", "ID_KTP", "MY_NRIC"]


def test_the_job_goes_on_by_itself_when_the_last_photo_is_labelled(tmp_path: Path) -> None:
    # Given a folder of photos of three types, which nobody has labelled
    folder = tmp_path / "photos"
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
        box = {"label": label, "left": left, "top": top, "width": width, "height": height}
        by_content[path.read_bytes()] = box
    # When somebody trains on it and labels what the page asks for
    command = [str(Path(sys.executable).with_name("ekyc")), "train", str(folder), "--label", "--no-browser", "--json"]
    command += ["--labels-out", str(tmp_path / "labels"), "--no-deploy", "--min-f1", "0", "--min-label-f1", "0"]
    command += [word for name in TYPES for word in ("--type", name)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as program:
        assert program.stderr
        said = next(line for line in program.stderr if "Label the photos at" in line)
        url = re.search(r"http\S+/", said)[0]  # type: ignore[index]
        http = httpx.Client(headers={"X-Worker": "Ana"}, timeout=30)
        (job,) = eventually(lambda: http.get(f"{url}api/jobs").json()["jobs"])
        http.base_url = f"{url}api/jobs/{job['id']}"
        worker = Worker(http)
        for _ in by_content:
            turn = worker.claim()
            assert turn
            photo = worker.http.get(f"/{turn['photo']['url']}").content
            assert worker.answer(turn, by_content[photo]).status_code == 200
        out, err = program.communicate(timeout=300)
    # Then the job is done
    assert program.returncode == 0, err
    ended = json.loads(out)
    assert (ended["status"], ended["labelled"]) == ("Ready", len(by_content))
    # And the labels are kept, with those boxes
    lines = [json.loads(line) for line in (tmp_path / "labels" / "output.manifest").read_text().splitlines()]
    kept = [line["doctype"]["annotations"][0] for line in lines]
    assert sorted(one["left"] for one in kept) == sorted(box["left"] for box in by_content.values())
