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
from playwright.sync_api import Browser, Page, Route, expect

from ekyc import samples
from ekyc.localaws.server import LocalAws
from tests.waiting import ENOUGH

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
    # Given a job of the whole pipeline whose photos only this test labels
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
    api = httpx.Client(base_url=f"{local_aws.api_url}/api/training/", timeout=ENOUGH)
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

    # When the answer is changed, and the answer for the second photo is "Cannot tell", then the manifest says so
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

    # When one worker finishes before the other, no photo is left for them; when both have finished, both pages say so
    page.get_by_role("button", name="No document here").click()
    expect(page.get_by_role("heading", name="Others have the last photos")).to_be_visible()
    budi.get_by_role("button", name="No document here").click()
    for seen in (budi, page):
        expect(seen.get_by_role("heading", name="All photos are labelled")).to_be_visible()
    other.close()
    assert [len(line["doctype"]["annotations"]) for line in job.output()] == [0, 0]


def test_the_page_shows_untrusted_text_as_text(empty_aws: LocalAws, page: Page) -> None:
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


class Slow:
    """A server that keeps each request of a pattern back until the test lets it go."""

    def __init__(self, page: Page, pattern: str) -> None:
        self._page = page
        self._held: list[Route] = []
        page.route(pattern, lambda route: self._held.append(route))

    def asked(self) -> Route:
        """The oldest request that is kept back, once there is one."""
        for _ in range(500):
            if self._held:
                return self._held[0]
            self._page.wait_for_timeout(30)
        raise AssertionError("the page asked for nothing")

    def let_go(self) -> None:
        """Have the oldest request answered."""
        self.asked().continue_()
        del self._held[0]

    def lose(self) -> None:
        """Break the connection of the oldest request."""
        self.asked().abort()
        del self._held[0]


PHOTOS = "**/photo"


def looks(page: Page) -> tuple[str, str, list[str]]:
    """What the page shows: the picture's file, the number, the boxes."""
    source = page.locator("#stage img").get_attribute("src") or ""
    return source, page.locator("#photo-title").inner_text(), page.locator(BOXES).all_text_contents()


def draw_and_press_keys(page: Page) -> None:
    """Do everything that a worker can do to a photo. While the page loads, none of this has an effect."""
    drag(page, (20, 20), (200, 200))
    for key in ("n", "Delete", "z", "Control+z", "2", "ArrowLeft", "Enter", "x", "d", "p", "o"):
        page.keyboard.press(key)
    for name in ("add", "undo", "save", "none", "decline", "previous", "next"):
        page.locator(f"#{name}").dispatch_event("click")


def test_picture_number_and_boxes_change_together(empty_aws: LocalAws, page: Page) -> None:
    # Given two photos that come slowly, and a box on the first
    job = begin(empty_aws, 2)
    slow = Slow(page, PHOTOS)
    page.goto(empty_aws.labelling_url)
    page.get_by_label("Your name").fill("Ana")
    page.keyboard.press("Enter")
    slow.asked()
    expect(page.locator("#veil")).to_have_text("Loading the photo…")
    assert page.locator("#photo-title").inner_text() == ""
    slow.let_go()
    ready(page, 1)
    expect(page.locator("#veil")).to_be_hidden()
    drag(page, (160, 130), (480, 330))
    first = "Box 1: ID_KTP 320 x 200 at 160, 130"
    shows(page, first)
    before = looks(page)

    # When it is saved and the next photo is on its way
    page.get_by_role("button", name="Save and next").click()
    slow.asked()
    # Then the page says so, shows the first photo with its number and boxes, and takes neither drawing nor keys
    expect(page.locator("#veil")).to_have_text("Loading the photo…")
    expect(page.locator("#said")).to_have_text("Loading the photo…")
    draw_and_press_keys(page)
    assert looks(page) == before

    # When it has come, then all three are its own, and what was drawn meanwhile is on no photo
    slow.let_go()
    ready(page, 2)
    shows(page)
    expect(page.locator("#veil")).to_be_hidden()
    source = looks(page)[0]
    assert source != before[0]
    assert page.locator("#stage img").get_attribute("alt") == "Photo 2 of 2, to be labelled"

    # When the first is looked at again, then so it is on the way back
    page.get_by_role("button", name="Previous").click()
    slow.asked()
    draw_and_press_keys(page)
    assert looks(page) == (source, "Photo 2", [])
    slow.let_go()
    ready(page, 1)
    shows(page, first)
    assert looks(page)[0] == before[0]

    # When the page is loaded again in the middle of that, then the photo that is still to be labelled comes
    page.keyboard.press("o")
    slow.asked()
    page.reload()
    slow.let_go()
    expect(page.locator("#photo-title")).to_be_empty()
    slow.let_go()
    ready(page, 2)
    shows(page)

    # And each photo has the boxes that were drawn on it
    drag(page, (20, 20), (120, 90))
    shows(page, "Box 1: ID_KTP 100 x 70 at 20, 20")
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="All photos are labelled")).to_be_visible()
    edges_of = [[edges(one) for one in line["doctype"]["annotations"]] for line in job.output()]
    assert edges_of == [[[160, 130, 480, 330]], [[20, 20, 120, 90]]]


def test_a_draft_that_is_late_goes_to_its_own_photo(empty_aws: LocalAws, page: Page) -> None:
    # Given a connection on which drafts do not get through
    job = begin(empty_aws, 2)
    open_as(page, empty_aws.labelling_url, "Ana")
    drafts = Slow(page, "**/draft")
    drag(page, (160, 130), (480, 330))
    shows(page, "Box 1: ID_KTP 320 x 200 at 160, 130")

    # When the photo is saved before its draft is
    page.keyboard.press("Enter")
    expect(page.locator("#veil")).to_have_text("Saving…")
    drag(page, (20, 20), (120, 90))
    drafts.let_go()

    # Then the next photo comes once both are there, without a box
    ready(page, 2)
    shows(page)

    # When the first is changed, and left before that is kept
    page.keyboard.press("p")
    ready(page, 1)
    shows(page, "Box 1: ID_KTP 320 x 200 at 160, 130")
    page.mouse.click(5, 5)
    expect(page.locator("#state")).to_have_text("Saved")
    drag(page, (20, 20), (120, 90))
    both = "Box 1: ID_KTP 320 x 200 at 160, 130", "Box 2: ID_KTP 100 x 70 at 20, 20"
    shows(page, *both)
    page.keyboard.press("o")
    expect(page.locator("#veil")).to_have_text("Saving…")
    drafts.let_go()

    # Then the change is the first photo's, and the second has no box
    ready(page, 2)
    shows(page)
    page.keyboard.press("p")
    ready(page, 1)
    shows(page, *both)
    page.keyboard.press("Enter")
    ready(page, 2)
    page.keyboard.press("x")
    expect(page.get_by_role("heading", name="All photos are labelled")).to_be_visible()
    assert [len(line["doctype"]["annotations"]) for line in job.output()] == [2, 0]


def test_a_photo_that_does_not_come_takes_no_box(empty_aws: LocalAws, browser: Browser) -> None:
    # Given a second photo whose connection breaks
    job = begin(empty_aws, 2)
    page = browser.new_context(viewport={"width": 1280, "height": 800}).new_page()
    open_as(page, empty_aws.labelling_url, "Ana")
    slow = Slow(page, PHOTOS)
    drag(page, (160, 130), (480, 330))
    shows(page, "Box 1: ID_KTP 320 x 200 at 160, 130")
    page.get_by_role("button", name="Save and next").click()
    slow.lose()

    # Then the page says which one cannot be shown, shows no other, and takes no box and no answer for it
    expect(page.get_by_role("alert")).to_contain_text("Photo 2 cannot be shown")
    expect(page.locator("#photo-title")).to_have_text("Photo 2")
    expect(page.locator("#stage img")).to_have_count(0)
    for key in ("n", "z", "b", "+", "Escape", "Enter", "x", "o"):
        page.keyboard.press(key)
    shows(page)
    for name in ("save", "none", "add", "undo"):
        expect(page.locator(f"#{name}")).to_be_disabled()
    assert job.worker("Ana").http.get(job.url).json()["progress"]["labelled"] == 1

    # When the page is loaded again, then the photo comes; and the way back and a given-back photo work as well
    page.reload()
    slow.lose()
    expect(page.get_by_role("alert")).to_contain_text("Photo 2 cannot be shown")
    page.get_by_role("button", name="Previous").click()
    slow.let_go()
    ready(page, 1)
    shows(page, "Box 1: ID_KTP 320 x 200 at 160, 130")
    page.locator("#next").click()
    slow.let_go()
    ready(page, 2)
    page.get_by_role("button", name="Cannot tell").click()
    expect(page.get_by_role("heading", name="All photos are labelled")).to_be_visible()
    page.context.close()


@pytest.mark.parametrize("width", [390, 320])
def test_the_head_stays_within_a_narrow_frame(empty_aws: LocalAws, page: Page, width: int) -> None:
    # Given a telephone, and counts and a name as long as they get
    job = begin(empty_aws, 1)
    page.set_viewport_size({"width": width, "height": 800})
    described = job.worker("Ana").http.get(job.url).json()
    progress = {"total": 12_000, "labelled": 11_000, "failed": 900, "mine": 10_500}
    page.route("**/api/jobs", lambda route: route.fulfill(json={"jobs": [described | {"progress": progress}]}))
    page.goto(empty_aws.labelling_url)
    page.get_by_label("Your name").fill("A name of forty characters, all of them.")
    page.keyboard.press("Enter")
    ready(page, 1)

    # Then all of the head is within the frame, and the page is no wider than that
    for place in ("#title", "#counted", "#bar", "#mine", "#worker", "#help"):
        box = page.locator(place).bounding_box()
        assert box, place
        assert box["x"] >= 0, place
        assert box["x"] + box["width"] <= width, place
    expect(page.locator("#mine")).to_have_text("10500 by you")
    assert page.evaluate("document.documentElement.scrollWidth") <= width
