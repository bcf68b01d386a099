"""The labelling page in headless Chromium, with a real mouse and real keys."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from labelling_jobs import PROJECT, WIDTH, begin, eventually
from PIL import Image
from playwright.sync_api import Browser, Page, expect

from ekyc import samples
from ekyc.localaws.server import LocalAws

PAGE = PROJECT / "ekyc/labelling"


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    """A page in a browser of its own; fails when the page logged an error."""
    context = browser.new_context(viewport={"width": 1280, "height": 800})
    context.set_default_timeout(15_000)
    opened = context.new_page()
    errors: list[str] = []
    opened.on("pageerror", lambda error: errors.append(str(error)))
    opened.on("console", lambda message: errors.append(message.text) if message.type == "error" else None)
    yield opened
    context.close()
    assert errors == []


def open_as(page: Page, url: str, name: str) -> None:
    """Open the page for the first time, as a worker of that name."""
    page.goto(url)
    page.get_by_label("Your name").fill(name)
    page.keyboard.press("Enter")
    ready(page)


def ready(page: Page, number: int | None = None) -> None:
    """Wait until a photo, or that one, can be labelled."""
    page.locator("#stage svg.a9s-annotationlayer").wait_for()
    if number is not None:
        expect(page.locator("#photo-title")).to_have_text(f"Photo {number}")


def drag(page: Page, start: tuple[float, float], end: tuple[float, float], width: int = WIDTH) -> None:
    """Drag the mouse over the photo, from and to a place in the photo's pixels."""
    photo = page.locator("#stage img").bounding_box()
    assert photo
    scale = photo["width"] / width
    places = [(photo["x"] + x * scale, photo["y"] + y * scale) for x, y in (start, end)]
    page.mouse.move(*places[0])
    page.mouse.down()
    page.mouse.move(*((one + other) / 2 for one, other in zip(*places, strict=True)))
    page.mouse.move(*places[1])
    page.mouse.up()


BOXES = "#boxes li > button:first-child"


def shows(page: Page, *boxes: str) -> None:
    """Wait until the page says these boxes in words; "9 x 9" stands for a width and a height."""
    words = [re.sub(r"(\d) x (\d)", "\\1 \N{MULTIPLICATION SIGN} \\2", box) for box in boxes]
    expect(page.locator(BOXES)).to_have_text(words)


def edges(box: dict[str, int]) -> list[int]:
    return [box["left"], box["top"], box["left"] + box["width"], box["top"] + box["height"]]


def test_a_job_is_labelled_with_the_mouse_and_becomes_a_model(
    local_aws: LocalAws, page: Page, lenient_assembly: Path, tmp_path: Path
) -> None:
    # Given a job of the whole pipeline whose photos nobody but we can label
    local_aws.reset()
    local_aws.workforce.stop_answering()
    photos = tmp_path / "photos"
    samples.write(photos, 32, 7)
    coco = json.loads((photos / "annotations.json").read_text())
    names = {category["id"]: category["name"] for category in coco["categories"]}
    types = ["AU_PASSPORT", "ID_KTP", "MY_NRIC"]
    truths = {
        image["file_name"]: (names[one["category_id"]], [edge / 2 for edge in one["bbox"]])
        for one in coco["annotations"]
        for image in coco["images"]
        if image["id"] == one["image_id"] and names[one["category_id"]] in types
    }
    bucket = local_aws.deploy(lenient_assembly)["BucketName"]
    api = httpx.Client(base_url=f"{local_aws.api_url}/api/training/", timeout=30)
    job_id = api.post("create").json()["id"]
    targets = api.post(f"jobs/{job_id}/urls", json={"names": list(truths)}).json()
    for name, target in targets.items():
        half = Image.open(photos / name).reduce(2)  # a quarter of the time to train
        half.save(photos / name, quality=92)
        httpx.put(target["url"], headers=target["headers"], content=(photos / name).read_bytes())
    options = {"documentTypes": types, "deploy": False}
    assert api.post("start", params={"JobId": job_id}, json=options).status_code == 200
    eventually(lambda: api.get(f"jobs/{job_id}").json()["status"] == "Labelling")

    # When a worker draws a box on each photo, and loads the page again in the middle of the second
    open_as(page, local_aws.labelling_url, "Ana")
    total = len(truths)
    labelling = local_aws.client("sagemaker")
    manifest = eventually(lambda: labelling.list_labeling_jobs()["LabelingJobSummaryList"])[0]
    order = [
        json.loads(line)["source-ref"].rsplit("/", 1)[-1]
        for line in _read(local_aws, manifest["InputConfig"]["DataSource"]["S3DataSource"]["ManifestS3Uri"])
    ]
    for number, name in enumerate(order, 1):
        label, (left, top, width, height) = truths[name]
        ready(page, number)
        wide = page.locator("#stage img").evaluate("image => image.naturalWidth")
        page.locator("#type-list label", has_text=label).click()
        start = (max(left, 2), max(top, 2))  # at the very edge a press is beside the photo
        drag(page, start, (left + width, top + height), wide)
        expect(page.locator("#boxes li")).to_have_count(1)
        if number == 2:
            before = page.locator(BOXES).all_text_contents()
            expect(page.locator("#state")).to_have_text("Draft kept")
            page.reload()
            ready(page, 2)
            expect(page.locator(BOXES)).to_have_text(before)
        page.get_by_role("button", name="Save and next").click()

    # Then the page says that all is done
    expect(page.get_by_role("heading", name="All photos are labelled")).to_be_visible()
    expect(page.locator("#counted")).to_have_text(f"{total} of {total} labelled")

    # And the job goes on by itself and ends Ready, with those boxes in its manifest
    ended = eventually(lambda: (job := api.get(f"jobs/{job_id}").json())["status"] in ENDED and job, 180)
    assert ended["status"] == "Ready", ended
    output = labelling.describe_labeling_job(LabelingJobName=manifest["LabelingJobName"])["LabelingJobOutput"]
    lines = [json.loads(line) for line in _read(local_aws, output["OutputDatasetS3Uri"])]
    assert bucket in output["OutputDatasetS3Uri"]
    for line, name in zip(lines, order, strict=True):
        label, (left, top, width, height) = truths[name]
        (drawn,) = line["doctype"]["annotations"]
        assert line["doctype-metadata"]["class-map"] == {str(drawn["class_id"]): label}
        assert edges(drawn) == pytest.approx([left, top, left + width, top + height], abs=3)


ENDED = {"Ready", "Rejected", "Failed", "Stopped"}


def _read(aws: LocalAws, uri: str) -> list[str]:
    bucket, key = uri.removeprefix("s3://").split("/", 1)
    return aws.client("s3").get_object(Bucket=bucket, Key=key)["Body"].read().decode().splitlines()


def test_boxes_are_drawn_moved_resized_typed_deleted_and_undone(empty_aws: LocalAws, page: Page) -> None:
    # Given the first photo of a job
    job = begin(empty_aws, 2)
    open_as(page, empty_aws.labelling_url, "Ana")

    # When two boxes are drawn, the second while the first is selected
    drag(page, (160, 130), (480, 330))
    drag(page, (20, 20), (120, 90))

    # Then each is where it was drawn
    first = "Box 1: ID_KTP 320 x 200 at 160, 130"
    shows(page, first, "Box 2: ID_KTP 100 x 70 at 20, 20")

    # When the second is moved by its middle and resized by its corner, and gets another type
    drag(page, (70, 55), (90, 65))
    shows(page, first, "Box 2: ID_KTP 100 x 70 at 40, 30")
    drag(page, (140, 100), (160, 120))
    shows(page, first, "Box 2: ID_KTP 120 x 90 at 40, 30")
    page.get_by_text("AU_PASSPORT").first.click()
    shows(page, first, "Box 2: AU_PASSPORT 120 x 90 at 40, 30")

    # When a box is dragged beyond the edge, then it ends there
    drag(page, (100, 75), (0, 10))
    shows(page, first, "Box 2: AU_PASSPORT 60 x 55 at 0, 0")
    page.get_by_role("button", name="Undo").click()
    shows(page, first, "Box 2: AU_PASSPORT 120 x 90 at 40, 30")

    # When it is deleted and that is undone, then it is there again; undone to the beginning, nothing is
    page.get_by_role("button", name="Delete box 2").click()
    expect(page.locator("#boxes li")).to_have_count(1)
    page.keyboard.press("Control+z")
    expect(page.locator("#boxes li")).to_have_count(2)
    for _ in range(5):
        page.get_by_role("button", name="Undo").click()
    expect(page.locator("#boxes li")).to_have_count(0)

    # When a box is drawn beyond the photo's edge, then it ends there
    drag(page, (500, 300), (660, 500))
    shows(page, "Box 1: AU_PASSPORT 140 x 180 at 500, 300")
    page.keyboard.press("z")
    shows(page)

    # When the photo is saved without a box by mistake, then the page asks for one or the other
    page.get_by_role("button", name="Save and next").click()
    expect(page.get_by_role("alert")).to_contain_text("No document here")

    # When there is no document, then the next photo comes, and Previous shows the answer again
    page.get_by_role("button", name="No document here").click()
    ready(page, 2)
    page.get_by_role("button", name="Previous").click()
    ready(page, 1)
    expect(page.locator("#state")).to_have_text("Saved")

    # When the answer is changed and the second photo cannot be told, then the manifest says so
    drag(page, (160, 130), (480, 330))
    page.get_by_role("button", name="Save and next").click()
    ready(page, 2)
    page.get_by_role("button", name="Cannot tell").click()
    expect(page.get_by_role("heading", name="All photos are labelled")).to_be_visible()
    labelled, declined = job.output()
    assert labelled["doctype"]["annotations"] == [{"class_id": 1, "left": 160, "top": 130, "width": 320, "height": 200}]
    assert "failure-reason" in declined["doctype-metadata"]


def test_a_photo_is_labelled_with_the_keyboard_alone(empty_aws: LocalAws, page: Page) -> None:
    # Given a page that no mouse ever touches
    job = begin(empty_aws, 1)
    page.goto(empty_aws.labelling_url)
    page.keyboard.type("Budi")
    page.keyboard.press("Enter")
    ready(page)
    press = page.keyboard.press

    # When a box is made, moved, resized, typed, made finer, a second is made and deleted, and that undone and redone
    press("n")
    expect(page.locator("#boxes li")).to_have_count(1)
    press("ArrowLeft")
    press("ArrowUp")
    press("Shift+ArrowRight")
    press("f")
    press("Shift+ArrowDown")
    press("2")
    shows(page, "Box 1: AU_PASSPORT 330 x 241 at 150, 110")
    press("n")
    press("Delete")
    press("z")
    expect(page.locator("#boxes li")).to_have_count(2)
    press("Shift+Z")
    expect(page.locator("#boxes li")).to_have_count(1)

    # And the help is opened and closed, and the button to save is reached by Tab
    press("?")
    expect(page.get_by_role("dialog", name="Keys")).to_be_visible()
    press("Escape")
    expect(page.get_by_role("dialog")).to_have_count(0)
    for _ in range(30):
        press("Tab")
        if page.evaluate("document.activeElement.id") == "save":
            break
    press("Enter")

    # Then the job completes with that box
    expect(page.get_by_role("heading", name="All photos are labelled")).to_be_visible()
    (line,) = job.output()
    assert line["doctype"]["annotations"] == [{"class_id": 1, "left": 150, "top": 110, "width": 330, "height": 241}]


def test_two_workers_at_once_see_different_photos(empty_aws: LocalAws, page: Page, browser: Browser) -> None:
    # Given two workers with a browser each
    job = begin(empty_aws, 2)
    open_as(page, empty_aws.labelling_url, "Ana")
    other = browser.new_context()
    budi = other.new_page()
    open_as(budi, empty_aws.labelling_url, "Budi")
    ready(page, 1)
    ready(budi, 2)

    # When one is done before the other, then there is none for them; when both are, both are told
    page.get_by_role("button", name="No document here").click()
    expect(page.get_by_role("heading", name="Others have the last photos")).to_be_visible()
    budi.get_by_role("button", name="No document here").click()
    for seen in (budi, page):
        expect(seen.get_by_role("heading", name="All photos are labelled")).to_be_visible()
    other.close()
    assert [len(line["doctype"]["annotations"]) for line in job.output()] == [0, 0]


def test_the_page_shows_somebody_elses_text_as_text(empty_aws: LocalAws, page: Page) -> None:
    # Given instructions that try to run a script and to fetch a picture
    evil = (
        '<crowd-form><crowd-bounding-box name="boundingBox"><short-instructions><p onclick="alert(1)">Be <b>tight</b>'
        '<img src=x onerror="document.title=1"><script>document.title=2</script></p><a href="javascript:1">x</a>'
        "</short-instructions></crowd-bounding-box></crowd-form>"
    )
    begin(empty_aws, 1, template=evil)

    # When the page shows them
    open_as(page, empty_aws.labelling_url, "<img src=x onerror=alert(1)>")

    # Then only their words and plain elements are there
    assert page.locator("#short").inner_html() == "<p>Be <b>tight</b></p>x"
    expect(page.locator("#worker")).to_have_text("<img src=x onerror=alert(1)>")
    assert page.title() == "Label documents"


def test_the_page_breaks_no_rule_of_accessibility(empty_aws: LocalAws, page: Page) -> None:
    # Given axe-core, with the page as a worker sees it from the first to the last
    begin(empty_aws, 1)
    axe = (PROJECT / "node_modules/axe-core/axe.min.js").read_text()

    def violations() -> list[Any]:
        page.evaluate(axe)
        found = page.evaluate("axe.run()")["violations"]
        return [(one["id"], [node["html"] for node in one["nodes"]]) for one in found]

    # When its name is asked for, a photo is labelled on a desktop and a tablet, help is open, and the job has ended
    page.goto(empty_aws.labelling_url)
    page.get_by_role("dialog").wait_for()
    assert violations() == []
    page.get_by_label("Your name").fill("Ana")
    page.keyboard.press("Enter")
    ready(page)
    assert violations() == []
    drag(page, (160, 130), (480, 330))
    expect(page.locator("#boxes li")).to_have_count(1)
    assert violations() == []
    page.set_viewport_size({"width": 820, "height": 1180})
    assert violations() == []
    page.get_by_role("button", name="Keys and help").click()
    assert violations() == []
    page.keyboard.press("Escape")
    page.get_by_role("button", name="Save and next").click()
    expect(page.get_by_role("heading", name="All photos are labelled")).to_be_visible()
    assert violations() == []


def test_the_page_has_the_annotation_library_of_package_json() -> None:
    # The copy in the package is the file of the pinned npm package: `make vendor`
    for name in ("annotorious.js", "annotorious.css"):
        pinned = PROJECT / "node_modules/@annotorious/annotorious/dist" / name
        assert (PAGE / "annotorious" / name).read_bytes() == pinned.read_bytes()
