"""Three people sign in, label forty photos of specimen documents in browsers, and review; the job has those boxes."""

from __future__ import annotations

import io
import json
import secrets
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest
from labelling_jobs import eventually
from PIL import Image
from playwright.sync_api import Browser, CDPSession, Page, expect
from served import begin
from test_served_page import NORMAL, PHONE, boxes, ready

from ekyc.localaws.clock import clock
from ekyc.localaws.server import LocalAws
from ekyc.localaws.services import rekognition
from ekyc.localaws.synth import LOCAL_SETTINGS, synthesize
from rules.people import LABELLERS, REVIEWERS
from tests.conftest import SPEED

SCENES = Path(__file__).parents[3] / "shared/documents/scenes"
TYPES = ["alb_id", "pp_td3_b", "rp_card_td1"]
PHOTOS, WITHOUT_DOCUMENT, SIDE = 40, 4, 320
REVIEWS = 4
SETTINGS = {
    "labellingUserPool": "create",
    "labelPage.blindShare": 0,
    "labelPage.reviewShare": REVIEWS / PHOTOS,
    "minF1": 0,
    "minLabelF1": 0,
    "maxF1Drop": 1,
    "minImages": 2,
}

# Where the photo is, and its scale, when the page no longer moves it to make room.
WHEN_STILL = """image => new Promise((done) => {
    let before = null;
    const look = () => {
        const { x, y, width } = image.getBoundingClientRect();
        if (before === `${x} ${y} ${width}`) return done([x, y, width / image.naturalWidth]);
        before = `${x} ${y} ${width}`;
        requestAnimationFrame(look);
    };
    look();
})"""

Box = tuple[str, int, int, int, int]
Sides = list[float]


@dataclass(frozen=True)
class Scene:
    """A photo, and the type and the sides (left, top, width, height) of its document if it has one."""

    content: bytes
    label: str | None
    sides: Sides


def scenes() -> dict[str, Scene]:
    """Forty small scenes by file name, a tenth of them without a document."""
    coco = json.loads((SCENES / "annotations.json").read_text())
    names = {category["id"]: category["name"] for category in coco["categories"]}
    found: dict[str, Scene] = {}
    for image in coco["images"]:
        own = [annotation for annotation in coco["annotations"] if annotation["image_id"] == image["id"]]
        label = names[own[0]["category_id"]] if own else None
        without = sum(scene.label is None for scene in found.values())
        is_wanted = label in TYPES if own else without < WITHOUT_DOCUMENT
        if len(own) > 1 or not is_wanted or (len(found) - without == PHOTOS - WITHOUT_DOCUMENT and own):
            continue
        photo = Image.open(SCENES / image["file_name"])
        scale = SIDE / photo.width
        content = io.BytesIO()
        photo.resize((SIDE, round(photo.height * scale))).save(content, "JPEG", quality=90)
        sides = [side * scale for side in own[0]["bbox"]] if own else []
        found[image["file_name"]] = Scene(content.getvalue(), label, sides)
    return found


# Whether the page shows another photo than before, none, or all photos to check them before the last save.
IS_SAVED = """title => document.querySelector("#list-finish").checkVisibility()
  || !document.querySelector("#photo-title").checkVisibility()
  || document.querySelector("#photo-title").textContent !== title"""


@dataclass
class Person:
    """A person with a browser, and the boxes that the page listed when the person saved a photo, by its place."""

    page: Page
    scenes: dict[str, Scene]
    touch: CDPSession | None = None
    saved: dict[int, list[Box]] = field(default_factory=dict)

    def scene(self) -> Scene:
        source = self.page.locator("#stage .photo-image").get_attribute("src") or ""
        return self.scenes[httpx.URL(source).path.rpartition("/")[2]]

    def label(self) -> None:
        """Label the photo on the page."""
        page, place = self.page, ready(self.page)
        scene = self.scene()
        if scene.label is None:
            self.press("x", "#none")
            self.saved[place] = []
            self.finish(place)
            return
        self.choose(scene.label)
        while page.locator("#boxes li").count():  # the last box of the type is offered
            self.tap(page.locator("#boxes li button").last)
        self.draw(scene.sides)
        (box,) = self.saved[place] = boxes(page)
        assert box[0] == scene.label
        assert box[1:] == pytest.approx(scene.sides, abs=10)  # the photo moves a little when messages come and go
        self.press("Enter", "#save")
        self.finish(place)

    def finish(self, place: int) -> None:
        """Wait for the next photo. If this was the job's last one, the page asks to check all photos first."""
        eventually(lambda: self.page.evaluate(IS_SAVED, f"Photo {place}"))
        if self.page.locator("#list-finish").is_visible():
            self.press("Enter", "#list-finish")

    def choose(self, label: str) -> None:
        if self.touch is None:
            self.page.keyboard.press(str(TYPES.index(label) + 1))
        else:
            self.page.locator("#type-list label").filter(has_text=label).tap()

    def press(self, key: str, button: str) -> None:
        if self.touch is None:
            self.page.keyboard.press(key)
        else:
            self.page.locator(button).tap()

    def tap(self, button: Any) -> None:
        if self.touch is None:
            button.click()
        else:
            button.tap()

    def draw(self, sides: Sides) -> None:
        """Drag from one corner to the other, with the mouse or a finger."""
        frame_left, frame_top, scale = self.page.locator("#stage .photo-image").evaluate(WHEN_STILL)
        left, top, width, height = sides
        (x, y), (right, bottom) = (
            (frame_left + at * scale, frame_top + down * scale)
            for at, down in ((left, top), (left + width, top + height))
        )
        path = [(x, y), ((x + right) / 2, (y + bottom) / 2), (right, bottom)]
        if self.touch is None:
            self.page.mouse.move(*path[0])
            self.page.mouse.down()
            for step in path[1:]:
                self.page.mouse.move(*step)
            self.page.mouse.up()
            return
        for kind, at in zip(("touchStart", "touchMove", "touchMove"), path, strict=True):
            points = [{"x": at[0], "y": at[1], "id": 0}]
            self.touch.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})
        self.touch.send("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})


@pytest.fixture
def aws(local_aws: LocalAws, tmp_path: Path) -> Iterator[LocalAws]:
    local_aws.reset()
    local_aws.workforce.stop_answering()
    local_aws.deploy(synthesize(tmp_path, {**LOCAL_SETTINGS, **SETTINGS}))
    learned, rekognition.current().learns = rekognition.current().learns, False
    yield local_aws
    rekognition.current().learns = learned
    clock.speed = SPEED


def sign_in(aws: LocalAws, browser: Browser, email: str, *groups: str, **options: Any) -> Page:
    """Invite a person, who signs in with the temporary password and chooses a new one."""
    cognito = aws.client("cognito-idp")
    pool = cognito.list_user_pools(MaxResults=1)["UserPools"][0]["Id"]
    temporary, own = (f"Aa1-{secrets.token_hex(8)}" for _ in range(2))
    cognito.admin_create_user(
        UserPoolId=pool,
        Username=email,
        TemporaryPassword=temporary,
        MessageAction="SUPPRESS",
        UserAttributes=[{"Name": "email", "Value": email}],
    )
    for group in groups:
        cognito.admin_add_user_to_group(UserPoolId=pool, Username=email, GroupName=group)
    page = browser.new_context(**options).new_page()
    page.set_default_timeout(20_000)
    page.goto(f"{aws.endpoint}/labelling/")
    page.get_by_label("E-mail address").fill(email)
    page.get_by_label("Password", exact=True).fill(temporary)
    page.get_by_role("button", name="Sign in").click()
    page.get_by_label("E-mail address").fill(email)
    page.get_by_label("Password", exact=True).fill(temporary)
    page.get_by_label("New password").fill(own)
    page.get_by_role("button", name="Sign in").click()
    return page


@pytest.mark.skipif(not SCENES.exists(), reason="the shared scenes are not here")
def test_three_people_label_and_review_a_job_to_ready(aws: LocalAws, browser: Browser) -> None:
    # Given a job of forty photos, and three people who sign in: one with a phone, and one who also reviews
    photos = scenes()
    assert len(photos) == PHOTOS
    job = begin(aws, {name: scene.content for name, scene in photos.items()}, documentTypes=TYPES)
    ana = Person(sign_in(aws, browser, "ana@example.com", LABELLERS, **NORMAL), photos)
    phone = sign_in(aws, browser, "ben@example.com", LABELLERS, **PHONE)
    ben = Person(phone, photos, phone.context.new_cdp_session(phone))
    rita = Person(sign_in(aws, browser, "rita@example.com", LABELLERS, REVIEWERS, **NORMAL), photos)
    people = [ana, ben, rita]
    # When they label the photos
    while len(job.answers()) < PHOTOS:
        for one in people:
            if one.page.locator("#stage .photo-image").is_visible():
                one.label()
            else:
                one.page.wait_for_timeout(100)  # the others have the last photos
    labels = {place: saved for one in people for place, saved in one.saved.items()}
    assert len(labels) == PHOTOS
    assert all(one.saved for one in people)
    # Then the reviewer is asked about the most doubtful, accepts, corrects, and sends one back
    expect(rita.page.get_by_role("heading", name="All photos are labelled")).to_be_visible(timeout=30_000)
    rita.page.locator("#mode").click()
    returned = ready(rita.page)
    rita.page.get_by_role("button", name="Send back").click()
    rita.page.get_by_label("What is wrong").fill("Please draw it again.")
    rita.page.locator("#return-send").click()
    place = next_review(rita.page, returned)
    if labels[place]:
        rita.page.keyboard.press("b")
        rita.page.keyboard.press("ArrowDown")
        labels[place] = boxes(rita.page)
    rita.page.keyboard.press("Enter")
    rita.finish(place)
    for _ in range(REVIEWS - 2):
        place = next_review(rita.page, place)
        rita.page.keyboard.press("Enter")
        rita.finish(place)
    # And the photo that was sent back is labelled and reviewed again
    one = eventually(lambda: next((one for one in (ana, ben) if one.page.locator("#note").is_visible()), None))
    expect(one.page.locator("#note")).to_contain_text("Please draw it again.")
    one.label()
    labels[returned] = one.saved[returned]
    assert next_review(rita.page, place) == returned
    rita.page.keyboard.press("Enter")
    rita.finish(returned)
    # And the job is Ready with exactly those boxes
    clock.speed = SPEED
    assert eventually(lambda: (status := job.status()) in ("Ready", "Failed") and status) == "Ready"
    assert job.labels() == labels


def next_review(page: Page, before: int) -> int:
    """Wait until another photo is to be reviewed; return its place."""
    expect(page.locator("#photo-title")).not_to_have_text(f"Photo {before}", timeout=30_000)
    return ready(page)
