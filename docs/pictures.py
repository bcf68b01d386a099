"""Creates the pictures of README and docs from real runs: `make pictures`.

- demo.svg: the terminal output of `ekyc demo`
- labelling-page.jpg: the labelling page with one box drawn
- audit-report.jpg: the audit report of a job from photos to a live model

The requirements are the same as for `make test`.
"""

from __future__ import annotations

import io
import os
import pty
import re
import sys
import tempfile
from pathlib import Path

import boto3
from PIL import Image
from playwright.sync_api import Browser, Page
from rich.console import Console
from rich.text import Text

sys.path.insert(0, str(Path(__file__).parents[1] / "tests/labelling"))
sys.path.insert(0, str(Path(__file__).parents[1]))

from browser import chromium
from served import CARD, WIDTH, begin

from ekyc import samples
from ekyc.cli import upload
from ekyc.cli.api import Api
from ekyc.cli.watch import follow
from ekyc.localaws.server import LocalAws
from ekyc.localaws.synth import synthesize

DOCS = Path(__file__).parent
QUALITY = 82  # a JPEG below 300 kB
COLUMNS = 110


def demo() -> None:
    """Write demo.svg: run the demo in a terminal and draw its output."""
    read, write = pty.openpty()
    os.set_blocking(read, True)
    pid = os.fork()
    if not pid:
        os.close(read)
        os.login_tty(write)
        os.environ.update(COLUMNS=str(COLUMNS), LINES="50", TERM="xterm-256color")
        os.execv(sys.executable, [sys.executable, str(Path(sys.executable).with_name("ekyc")), "demo"])
    os.close(write)
    output = b""
    while True:
        try:
            if not (more := os.read(read, 65536)):
                break
        except OSError:  # Linux raises EIO when the terminal's other end is closed
            break
        output += more
    os.waitpid(pid, 0)
    lines = [line for line in map(final_text, output.decode().split("\n")) if line.strip()]
    console = Console(record=True, width=COLUMNS, file=io.StringIO(), force_terminal=True)
    console.print(Text.from_ansi("\n".join(lines)))
    picture = console.export_svg(title="make demo")
    # Rich links a font on the internet. The documentation must not load it.
    picture = re.sub(r"@font-face \{.*?\}", "", picture, flags=re.DOTALL)
    (DOCS / "demo.svg").write_text(picture, encoding="utf-8")


def final_text(line: str) -> str:
    """The line's final text, without overwritten text and cursor commands."""
    visible = line.rstrip("\r").rpartition("\r")[2]
    return re.sub(r"\x1b\[[0-9;?]*[A-LN-Za-ln-z]", "", visible)


def labelling_page(browser: Browser) -> None:
    """Write labelling-page.jpg: the page with a photo and one box."""
    with tempfile.TemporaryDirectory() as name, LocalAws() as aws:
        aws.deploy(synthesize(Path(name) / "cdk.out"))
        begin(aws, 12)
        page = browser.new_page(viewport={"width": 1280, "height": 800})
        page.goto(aws.sign_in_link("Ana", "labellers"))
        page.locator("#save:enabled").wait_for()
        frame = page.locator("#stage .photo-image").bounding_box()
        assert frame
        left, top, right, bottom = (edge * frame["width"] / WIDTH for edge in CARD)
        page.mouse.move(frame["x"] + left, frame["y"] + top)
        page.mouse.down()
        page.mouse.move(frame["x"] + right, frame["y"] + bottom)
        page.mouse.up()
        page.locator("#boxes li").wait_for()
        save_screenshot(page, "labelling-page.jpg")


def audit_report(browser: Browser) -> None:
    """Write audit-report.jpg: the report of a job whose photos people labelled and whose model is live."""
    with tempfile.TemporaryDirectory() as name, LocalAws(speed=240) as aws:
        folder = Path(name) / "photos"
        samples.write(folder, 60, 3)
        aws.deploy(synthesize(Path(name) / "cdk.out"))
        aws.workforce.answer_from(folder / "annotations.json")
        api = Api(aws.api_url, boto3.Session("ada", "local", region_name="us-east-1"))
        job_id = api.create()["id"]
        upload.send(api, job_id, [upload.file(path) for path in sorted(folder.glob("*.jpg"))], lambda _file: None)
        api.start(job_id, {"labels": {"provider": "ground-truth"}})
        job, _ = follow(api, job_id)
        assert job["status"] == "Ready", job
        report = Path(name) / "report.html"
        report.write_bytes(api.audit(job_id, "text/html"))
        page = browser.new_page(viewport={"width": 1280, "height": 1500})
        page.goto(report.as_uri())
        save_screenshot(page, "audit-report.jpg")


def save_screenshot(page: Page, name: str) -> None:
    """Write the visible part of the page to a file in docs/."""
    picture = Image.open(io.BytesIO(page.screenshot())).convert("RGB")
    picture.save(DOCS / name, quality=QUALITY, optimize=True)


if __name__ == "__main__":
    demo()
    with chromium() as browser:
        labelling_page(browser)
        audit_report(browser)
