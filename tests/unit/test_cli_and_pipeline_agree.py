"""What the command line checks and the API shows by rules of their own, held against the pipeline's."""

import json
from pathlib import Path
from typing import Any

from PIL import Image

from ekyc.cli import photo_checks
from rules.states import LOOPS, TASKS
from stacks import definition
from tests.unit.conftest import BUCKET
from tests.unit.photo_jobs import check_photos

JOB = "ekyc-20261124034524-0ac337ddb8d23c1c"


def test_the_table_of_states_has_the_machines_tasks_in_order() -> None:
    states = definition.read()["States"]
    assert [task.name for task in TASKS] == [name for name, state in states.items() if state["Type"] in ("Task", "Map")]
    waits = {name: state["Next"] for name, state in states.items() if state["Type"] == "Wait"}
    assert waits == {wait: task.name for wait, task in LOOPS.items()}


def test_the_cli_and_the_stage_reject_photos_alike(tmp_path: Path, s3: Any) -> None:
    # Given photos with every fault that both can see, and good ones
    turned = Image.Exif()
    turned[0x0112] = 6
    for name, size in {
        "good.jpg": (64, 64),
        "short.png": (63, 90),
        "long.png": (4097, 300),
        "thin.png": (64, 1281),
    }.items():
        Image.new("RGB", size, hash(size) % 255).save(tmp_path / name)
    Image.new("RGB", (90, 70)).save(tmp_path / "turned.jpg", exif=turned)
    (tmp_path / "twin.jpg").write_bytes((tmp_path / "good.jpg").read_bytes())
    (tmp_path / "cut.jpg").write_bytes((tmp_path / "good.jpg").read_bytes()[:-40])
    (tmp_path / "head.jpg").write_bytes((tmp_path / "good.jpg").read_bytes()[:30])
    (tmp_path / "empty.png").write_bytes(b"")
    (tmp_path / "text.jpg").write_text("no photo")
    for path in tmp_path.iterdir():
        s3.put_object(Bucket=BUCKET, Key=f"images/{JOB}/{path.name}", Body=path.read_bytes())
    # When the command line looks at them, and the state Check photos
    before = photo_checks.check(tmp_path, lambda: None)
    after = check_photos(BUCKET, JOB)
    # Then both reject the same ones with the same codes
    body = s3.get_object(Bucket=BUCKET, Key=after.rejected_list.split("/", 3)[3])["Body"].read().decode()
    rejected = {line["source-ref"].rpartition("/")[2]: line["code"] for line in map(json.loads, body.splitlines())}
    assert {one.path.name: one.code for one in before.rejected} == rejected
    assert len(before.photos) == after.accepted
    # And a photo that is to be turned is measured as people see it
    assert next((one.width, one.height) for one in before.photos if one.name == "turned.jpg") == (70, 90)
