"""The labelling page that the stack serves, in headless Chromium: real sign-in, API, mouse, touch and keys."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from labelling_jobs import PROJECT, eventually
from playwright.sync_api import Browser, BrowserContext, Page, expect
from served import HEIGHT, TYPES, WIDTH, Job, begin

from ekyc.localaws.clock import clock
from ekyc.localaws.server import LocalAws
from ekyc.localaws.synth import LOCAL_SETTINGS, synthesize
from tests.conftest import SPEED

NORMAL = {"viewport": {"width": 1280, "height": 800}}
PHONE = {"viewport": {"width": 390, "height": 844}, "has_touch": True, "is_mobile": True}
SETTINGS = {
    "labelPage.blindShare": 0,
    "labelPage.reviewShare": 0,
    "minF1": 0,
    "minLabelF1": 0,
    "maxF1Drop": 1,
    "minImages": 2,
}


@pytest.fixture(scope="module")
def page_assembly(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return synthesize(tmp_path_factory.mktemp("page"), {**LOCAL_SETTINGS, **SETTINGS})


@pytest.fixture
def aws(local_aws: LocalAws, page_assembly: Path) -> Iterator[LocalAws]:
    """The local AWS with the stack and its labelling page."""
    local_aws.reset()
    local_aws.workforce.stop_answering()
    local_aws.deploy(page_assembly)
    yield local_aws
    clock.speed = SPEED


Open = Callable[..., Page]


@pytest.fixture
def open_page(browser: Browser, aws: LocalAws) -> Iterator[Open]:
    """Opens the page for a person in a browser of their own; fails if a page logged an error."""
    contexts: list[BrowserContext] = []
    errors: list[str] = []

    def open_it(name: str = "Ana", *groups: str, **options: Any) -> Page:
        context = browser.new_context(**(options or NORMAL))
        context.set_default_timeout(20_000)
        contexts.append(context)
        page = context.new_page()
        page.on("pageerror", lambda error: errors.append(str(error)))
        # The browser itself logs each call that fails. What the page says of it is tested.
        page.on(
            "console",
            lambda message: (
                errors.append(message.text)
                if message.type == "error" and "Failed to load resource" not in message.text
                else None
            ),
        )
        page.goto(aws.sign_in_link(name, *(groups or ("labellers",))))
        return page

    yield open_it
    for context in contexts:
        context.close()
    assert errors == []


def ready(page: Page) -> int:
    """Wait until a photo can be labelled; return its place."""
    expect(page.locator("#stage .photo-image")).to_be_visible()
    expect(page.locator("#veil")).to_be_hidden()
    expect(page.locator("#save")).to_be_enabled()
    return int(re.sub(r"\D", "", page.locator("#photo-title").inner_text()))


def on_screen(page: Page, *places: tuple[float, float]) -> list[tuple[float, float]]:
    """Where pixels of the photo are on the screen."""
    frame = page.locator("#stage .photo-image").bounding_box()
    assert frame
    return [(frame["x"] + x * frame["width"] / WIDTH, frame["y"] + y * frame["height"] / HEIGHT) for x, y in places]


def drag(page: Page, start: tuple[float, float], end: tuple[float, float], button: Any = "left") -> None:
    one, other = on_screen(page, start, end)
    page.mouse.move(*one)
    page.mouse.down(button=button)
    page.mouse.move((one[0] + other[0]) / 2, (one[1] + other[1]) / 2)
    page.mouse.move(*other)
    page.mouse.up(button=button)


def boxes(page: Page) -> list[tuple[str, int, int, int, int]]:
    """The boxes that the page lists: type, left, top, width, height."""
    lines = page.locator("#boxes li > button:first-child").all_text_contents()
    found = [
        re.search(r": (\w+?)(?:proposed.*?|like the last one\?)? (\d+) . (\d+) at (\d+), (\d+)$", line)
        for line in lines
    ]
    assert all(found), lines
    return [(one[1], int(one[4]), int(one[5]), int(one[2]), int(one[3])) for one in found if one]


def near(box: tuple[str, int, int, int, int], label: str, *sides: int) -> bool:
    return box[0] == label and list(box[1:]) == pytest.approx(list(sides), abs=3)


def saved(job: Job, place: int) -> dict[str, Any]:
    return eventually(lambda: job.answers().get(place))


def pass_time(seconds: float) -> None:
    """Let exactly so many seconds of service time pass."""
    with clock.computing():
        clock.speed = math.inf
        clock.sleep(seconds)
        clock.speed = 1


def test_the_files_come_with_a_strict_policy(aws: LocalAws) -> None:
    page = httpx.get(f"{aws.endpoint}/labelling/")
    policy = page.headers["Content-Security-Policy"]
    assert "default-src 'none'; script-src 'self'; style-src 'self'" in policy
    assert "frame-ancestors 'none'" in policy
    assert "unsafe" not in policy
    assert page.headers["X-Content-Type-Options"] == "nosniff"
    assert page.headers["Referrer-Policy"] == "no-referrer"
    # And each file that the page names is there, and is loaded again only if it has changed
    names = re.findall(r'(?:href|src)="([\w.-]+\.\w+)"', page.text)
    assert {"page.css", "main.js", "icon.svg"} <= set(names)
    for name in names:
        answer = httpx.get(f"{aws.endpoint}/labelling/{name}")
        assert answer.status_code == 200
        again = httpx.get(f"{aws.endpoint}/labelling/{name}", headers={"If-None-Match": answer.headers["ETag"]})
        assert (again.status_code, again.text) == (304, "")
    # And nothing else is served
    for name in ("nothing.js", "..%2fapi%2fapp.py", "%2e%2e/api/app.py"):
        assert httpx.get(f"{aws.endpoint}/labelling/{name}").status_code == 404
    # And a path without the slash at its end is the same page
    assert httpx.get(f"{aws.endpoint}/labelling").text == page.text


def test_the_vendored_library_is_the_pinned_one() -> None:
    pinned = PROJECT / "node_modules/oauth4webapi/build/index.js"
    assert (PROJECT / "web/labelling/vendor/oauth4webapi.js").read_bytes() == pinned.read_bytes()


def test_modules_are_short() -> None:
    for module in (PROJECT / "web/labelling").glob("*.js"):
        assert len(module.read_text().splitlines()) <= 300, module


def test_a_job_is_labelled_by_mouse_and_keys(aws: LocalAws, open_page: Open) -> None:
    # Given a job of four photos
    job = begin(aws, 4)
    page = open_page()
    first = ready(page)
    # When a box is drawn, gets the second type by its key, and is saved
    drag(page, (160, 130), (480, 330))
    page.keyboard.press("2")
    (box,) = boxes(page)
    assert near(box, TYPES[1], 160, 130, 320, 200)
    expect(page.locator("#state")).to_have_text("Changed, not saved yet")
    page.keyboard.press("Enter")
    # Then the next photo is there, and the answer has that box and the place of its photo
    answer = saved(job, first)
    assert answer["Outcome"] == "labelled"
    assert [answer["Boxes"][0][side] for side in ("left", "top", "width", "height")] == list(box[1:])
    second = ready(page)
    assert second != first
    # And the last box is offered, dashed. It counts after Enter, and a second Enter saves it
    assert page.locator("#stage .box.offered").count() == 1
    expect(page.locator("#save")).to_contain_text("Accept the box")
    page.keyboard.press("Enter")
    assert page.locator("#stage .box.offered").count() == 0
    page.keyboard.press("Enter")
    assert saved(job, second)["Boxes"] == answer["Boxes"]
    # When a photo has no document, then its answer can be undone
    third = ready(page)
    page.keyboard.press("x")
    expect(page.locator("#toast")).to_contain_text("no document")
    expect(page.locator("#photo-title")).not_to_have_text(f"Photo {third}")
    fourth = ready(page)
    page.locator("#toast").get_by_role("button", name="Undo").click()
    expect(page.locator("#photo-title")).to_have_text(f"Photo {third}")
    assert third not in job.answers()
    page.keyboard.press("x")
    # And it is saved at last, also a skipped one
    expect(page.locator("#photo-title")).to_have_text(f"Photo {fourth}")
    page.keyboard.press("s")
    page.keyboard.press("2")
    assert saved(job, third)["Outcome"] == "no-document"
    skipped = saved(job, fourth)
    assert (skipped["Outcome"], skipped["Reason"]) == ("skipped", "unknown-type")


def test_own_photos_can_be_corrected(aws: LocalAws, open_page: Open) -> None:
    # Given two saved photos
    job = begin(aws, 4)
    page = open_page()
    places = []
    for _ in range(2):
        places.append(ready(page))
        drag(page, (100, 100), (300, 300))
        page.keyboard.press("Enter")
        saved(job, places[-1])
    current = ready(page)
    # When the person goes back to the one before the last, and moves its box
    page.keyboard.press("p")
    expect(page.locator("#photo-title")).to_have_text(f"Photo {places[1]}")
    expect(page.locator("#state")).to_have_text("Your answer: labelled")
    page.keyboard.press("p")
    expect(page.locator("#photo-title")).to_have_text(f"Photo {places[0]}")
    ready(page)
    page.keyboard.press("b")
    page.keyboard.press("ArrowRight")
    (box,) = boxes(page)
    page.keyboard.press("Enter")
    # Then the answer is replaced, and the page is where it was
    eventually(lambda: int(job.answers()[places[0]]["Boxes"][0]["left"]) == box[1])
    expect(page.locator("#photo-title")).to_have_text(f"Photo {current}")
    # And the list has both photos
    page.keyboard.press("m")
    expect(page.locator("#own-photos li")).to_have_count(2)
    page.locator("#own-photos li").first.get_by_role("button").click()
    expect(page.locator("#photo-title")).to_have_text(f"Photo {min(places)}")


def test_zoom_and_pan_change_no_box(aws: LocalAws, open_page: Open) -> None:
    # Given a photo with a box
    begin(aws, 2)
    page = open_page()
    ready(page)
    drag(page, (160, 130), (480, 330))
    before = boxes(page)
    # When the person zooms at the pointer, and pans with the middle button and with space
    ((x, y),) = on_screen(page, (200, 150))
    page.mouse.move(x, y)
    page.mouse.wheel(0, -400)
    expect(page.locator("#zoom")).not_to_have_text("100 %")
    assert on_screen(page, (200, 150))[0] == pytest.approx((x, y), abs=1.5)
    drag(page, (200, 150), (250, 200), button="middle")
    assert on_screen(page, (200, 150))[0] != pytest.approx((x, y), abs=5)
    page.keyboard.down(" ")
    drag(page, (250, 180), (300, 220))
    page.keyboard.up(" ")
    # Then the box is as it was, and R shows the whole photo
    assert boxes(page) == before
    page.keyboard.press("r")
    expect(page.locator("#zoom")).to_have_text("100 %")
    # And an arrow moves the box by a step that grows with what is visible
    page.keyboard.press("ArrowRight")
    moved = boxes(page)[0][1] - before[0][1]
    page.keyboard.press("z")
    for _ in range(6):
        page.keyboard.press("+")
    page.keyboard.press("ArrowRight")
    assert 0 < boxes(page)[0][1] - before[0][1] < moved


def test_two_fingers_zoom_and_change_no_box(aws: LocalAws, open_page: Open) -> None:
    # Given a phone with a photo, on which a finger draws a box
    begin(aws, 2)
    page = open_page(**PHONE)
    ready(page)
    session = page.context.new_cdp_session(page)

    def touch(kind: str, *points: tuple[float, float]) -> None:
        session.send(
            "Input.dispatchTouchEvent",
            {"type": kind, "touchPoints": [{"x": x, "y": y, "id": number} for number, (x, y) in enumerate(points)]},
        )

    one, other = on_screen(page, (150, 120), (500, 350))
    touch("touchStart", one)
    touch("touchMove", ((one[0] + other[0]) / 2, (one[1] + other[1]) / 2))
    touch("touchMove", other)
    touch("touchEnd")
    (box,) = before = boxes(page)
    assert near(box, TYPES[0], 150, 120, 350, 230)
    # When two fingers pinch, the first of which moves before the second comes
    left, right = on_screen(page, (250, 200), (350, 250))
    touch("touchStart", left)
    touch("touchMove", (left[0] + 20, left[1] + 20))
    touch("touchStart", left, right)
    for step in range(1, 6):
        touch("touchMove", (left[0] - 8 * step, left[1]), (right[0] + 8 * step, right[1]))
    touch("touchEnd")
    # Then the photo is larger, and the box is as it was
    frame = page.locator("#stage .photo-image").bounding_box()
    assert frame
    assert frame["width"] > 390
    assert boxes(page) == before


def test_a_reload_and_a_lost_connection_lose_nothing(aws: LocalAws, open_page: Open) -> None:
    # Given a drawn box that is not saved
    job = begin(aws, 4)
    page = open_page()
    first = ready(page)
    drag(page, (160, 130), (480, 330))
    before = boxes(page)
    # When the page is loaded again, then it shows the same photo and box, without a new sign-in
    page.reload()
    assert ready(page) == first
    assert boxes(page) == before
    # When the connection is lost while answers are saved, then the page says so and goes on
    page.context.set_offline(True)
    page.keyboard.press("Enter")
    expect(page.locator("#trouble")).to_contain_text("Not saved: 1 answer")
    second = ready(page)
    drag(page, (100, 100), (200, 200))
    page.keyboard.press("Enter")
    expect(page.locator("#saving")).to_have_text("Not saved: 2")
    assert not job.answers()
    # And it sends them by itself when the connection is back
    page.context.set_offline(False)
    expect(page.locator("#saving")).to_have_text("All saved")
    assert {first, second} <= set(job.answers())
    expect(page.locator("#trouble")).to_be_hidden()


def test_a_sign_in_that_ends_loses_nothing(aws: LocalAws, open_page: Open) -> None:
    # Given a person whose tokens no longer work
    job = begin(aws, 3)
    page = open_page()
    first = ready(page)
    page.context.route("**/oauth2/token", lambda route: route.fulfill(status=400, json={"error": "invalid_grant"}))
    page.context.route("**/api/labelling/jobs/**", lambda route: route.fulfill(status=401, json={}))
    # When the person saves a box
    drag(page, (160, 130), (480, 330))
    page.keyboard.press("Enter")
    # Then the page says that the sign-in has ended, and the next photo can be drawn on
    expect(page.locator("#trouble")).to_contain_text("Your sign-in has ended")
    second = ready(page)
    drag(page, (100, 100), (200, 200))
    before = boxes(page)
    # And after a new sign-in the answer is sent, and the box is there
    page.context.unroute_all()
    page.get_by_role("button", name="Sign in again").click()
    assert saved(job, first)["Boxes"]
    assert ready(page) == second
    assert boxes(page) == before


def test_a_page_open_past_its_tokens_end_loses_nothing(aws: LocalAws, open_page: Open) -> None:
    # Given a drawn box, and that the ID token expires, but not the sign-in
    job = begin(aws, 4)
    page = open_page()
    first = ready(page)
    drag(page, (160, 130), (480, 330))
    pass_time(2 * 3600)
    # When the box is saved, then the page renews the token by itself, and the expired lease still counts
    page.keyboard.press("Enter")
    assert saved(job, first)["Boxes"]
    # And the person goes on
    ready(page)
    expect(page.locator("#trouble")).to_be_hidden()


def test_a_closed_page_opens_with_the_same_photo_and_box(aws: LocalAws, open_page: Open) -> None:
    # Given an answer that is held back, and a drawn box that is not saved
    job = begin(aws, 4)
    page = open_page()
    first = ready(page)
    page.keyboard.press("x")
    expect(page.locator("#photo-title")).not_to_have_text(f"Photo {first}")
    second = ready(page)
    drag(page, (160, 130), (480, 330))
    before = boxes(page)
    # When the page is closed, then the answer is sent
    page.close(run_before_unload=True)
    assert saved(job, first)["Outcome"] == "no-document"
    # And when the person opens the page again, it shows the same photo and box
    again = page.context.new_page()
    again.goto(f"{aws.endpoint}/labelling/")
    assert ready(again) == second
    assert boxes(again) == before
    again.keyboard.press("Enter")
    assert saved(job, second)["Boxes"]


def test_a_minute_without_a_connection_loses_nothing(aws: LocalAws, open_page: Open) -> None:
    # Given a page without a connection, on which two photos are labelled
    job = begin(aws, 4)
    page = open_page()
    page.clock.install()
    places = [ready(page)]
    drag(page, (160, 130), (480, 330))
    page.context.set_offline(True)
    page.keyboard.press("Enter")
    places.append(ready(page))
    page.keyboard.press("Enter")  # accepts the last box
    page.keyboard.press("Enter")
    expect(page.locator("#saving")).to_have_text("Not saved: 2")
    # When a minute passes, in which the leases would be renewed
    page.clock.run_for(61_000)
    pass_time(61)
    expect(page.locator("#trouble")).to_contain_text("The page tries again by itself")
    expect(page.locator("#saving")).to_have_text("Not saved: 2")
    assert not job.answers()
    # Then both answers are sent when the connection is back
    page.context.set_offline(False)
    page.clock.run_for(3_000)
    for place in places:
        assert saved(job, place)["Boxes"]
    expect(page.locator("#saving")).to_have_text("All saved")


def test_a_second_tab_does_not_overwrite(aws: LocalAws, open_page: Open) -> None:
    # Given a job that is open in a tab
    job = begin(aws, 3)
    page = open_page()
    first = ready(page)
    drag(page, (160, 130), (480, 330))
    before = boxes(page)
    # When it is opened in a second tab, then that tab asks
    second = page.context.new_page()
    second.goto(page.url)
    expect(second.get_by_role("heading", name="open in another tab")).to_be_visible()
    second.get_by_role("button", name="Continue in this tab").click()
    # And goes on with the same photo and box, and the first tab stops
    assert ready(second) == first
    assert boxes(second) == before
    expect(page.get_by_role("heading", name="You continue in another tab")).to_be_visible()
    second.keyboard.press("Enter")
    assert saved(job, first)["Boxes"]


def test_a_lost_lease_is_said_and_overwrites_nothing(aws: LocalAws, open_page: Open) -> None:
    # Given a photo that is with another person now
    job = begin(aws, 3)
    page = open_page()
    first = ready(page)
    drag(page, (160, 130), (480, 330))
    detail = "You no longer have this photo. Take the next photo."
    page.context.route(
        f"**/answers/{first}", lambda route: route.fulfill(status=409, json={"status": 409, "detail": detail})
    )
    page.keyboard.press("Enter")
    # Then the page says so in the API's words, and goes on with the next photo
    expect(page.locator("#trouble")).to_contain_text(f"Photo {first} was not saved: {detail}")
    assert ready(page) != first
    assert first not in job.answers()
    # And it goes on too if the person goes back to that photo, which is not theirs
    page.context.unroute_all()
    page.keyboard.press("p")
    expect(page.locator("#trouble")).to_contain_text(f"You have not answered photo {first}")
    assert ready(page) != first


@pytest.mark.parametrize(("width", "height"), [(390, 844), (820, 1180), (1280, 800), (1920, 1080), (3840, 2160)])
def test_everything_is_within_reach(aws: LocalAws, open_page: Open, width: int, height: int) -> None:
    begin(aws, 2)
    page = open_page(viewport={"width": width, "height": height})
    ready(page)
    drag(page, (160, 130), (480, 330))
    # Then nothing is wider than the screen, and the answers are on it
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    for name in ("save", "none", "skip"):
        expect(page.locator(f"#{name}")).to_be_in_viewport(ratio=1)
    photo = page.locator("#stage").bounding_box()
    assert photo
    assert photo["height"] > height * 0.3
    # And axe finds no fault, also in the dialogs
    page.evaluate("document.activeElement.blur()")
    for opened in (None, "help-dialog", "skip-dialog", "person-dialog"):
        if opened:
            page.evaluate(f"document.getElementById('{opened}').showModal()")
        found = page.evaluate(AXE)
        assert found == [], opened
        if opened:
            page.evaluate(f"document.getElementById('{opened}').close()")


AXE = f"""async () => {{
    if (!globalThis.axe) {{ {(PROJECT / "node_modules/axe-core/axe.min.js").read_text()} }}
    const {{ violations }} = await axe.run();
    return violations.map(({{ id, nodes }}) => [id, nodes.map((node) => node.html)]);
}}"""


def finish(page: Page) -> None:
    """Save the job's last photo: the page offers to check the others first."""
    page.keyboard.press("Enter")
    expect(page.locator("#list-finish")).to_be_focused()
    page.keyboard.press("Enter")


def test_the_last_save_offers_a_check(aws: LocalAws, open_page: Open) -> None:
    # Given a job of two photos, one of which is labelled
    job = begin(aws, 2)
    page = open_page()
    first = ready(page)
    drag(page, (160, 130), (480, 330))
    page.keyboard.press("Enter")
    saved(job, first)
    # When the last photo is saved
    second = ready(page)
    drag(page, (100, 100), (300, 300))
    drawn = boxes(page)
    page.keyboard.press("Enter")
    # Then the page shows the photos with their boxes before it saves, and axe finds no fault
    expect(page.locator("#own-photos li")).to_have_count(1)
    assert page.locator("#own-photos .thumb-box").count() == 1
    assert page.evaluate(AXE) == []
    assert second not in job.answers()
    # And a photo can still be corrected, and the last one has its box
    page.locator("#own-photos button").click()
    expect(page.locator("#photo-title")).to_have_text(f"Photo {first}")
    ready(page)
    page.keyboard.press("b")
    page.keyboard.press("ArrowRight")
    (corrected,) = boxes(page)
    page.keyboard.press("Enter")
    expect(page.locator("#photo-title")).to_have_text(f"Photo {second}")
    ready(page)
    assert boxes(page) == drawn
    finish(page)
    assert saved(job, second)["Boxes"]
    assert int(job.answers()[first]["Boxes"][0]["left"]) == corrected[1]


def reviewed(aws: LocalAws, folder: Path, photos: int, people: int = 1) -> Job:
    """A job in which every photo is reviewed, after so many people have labelled each."""
    aws.reset()
    settings = {**SETTINGS, "labelPage.reviewShare": 1, "labelPage.answersPerPhoto": people}
    aws.deploy(synthesize(folder, {**LOCAL_SETTINGS, **settings}))
    return begin(aws, photos)


def label_all(page: Page, photos: int, *box: tuple[float, float], is_last: bool) -> None:
    for number in range(1, photos + 1):
        ready(page)
        drag(page, *(box or ((160, 130), (480, 330))))
        finish(page) if is_last and number == photos else page.keyboard.press("Enter")


def test_reviewers_see_all_answers_and_decide(open_page: Open, aws: LocalAws, tmp_path: Path) -> None:
    # Given a job in which every photo is reviewed, and that is labelled
    reviewed(aws, tmp_path, 3)
    page = open_page("Rita", "labellers", "reviewers")
    label_all(page, 3, is_last=True)
    expect(page.get_by_role("heading", name="All photos are labelled")).to_be_visible(timeout=30_000)
    # When the reviewer opens the review
    page.locator("#mode").click()
    first = ready(page)
    # Then the page says why the photo is there, and shows each answer
    expect(page.locator("#doubts li")).not_to_have_count(0)
    expect(page.locator("#answers li")).to_contain_text(["AU_PASSPORT"])
    assert page.locator("#stage .box.answer").count() == 1
    # And the last box can be copied, which can be undone
    before = boxes(page)
    page.keyboard.press("v")
    assert len(boxes(page)) == 2
    page.keyboard.press("z")
    assert boxes(page) == before
    # And the reviewer can accept, correct and send back, which can be undone for a while
    page.keyboard.press("Enter")
    second = ready(page)
    page.keyboard.press("b")
    page.keyboard.press("ArrowDown")
    expect(page.locator("#save")).to_contain_text("Save the correction")
    (corrected,) = boxes(page)
    page.keyboard.press("Enter")
    third = ready(page)

    def send_back() -> None:
        page.get_by_role("button", name="Send back").click()
        page.get_by_label("What is wrong").fill("The box is too large.")
        page.locator("#return-send").click()

    send_back()
    page.locator("#toast").get_by_role("button", name="Undo").dispatch_event("click")  # the toast may still move
    assert ready(page) == third
    # And goes back to the own decisions, and changes one
    page.keyboard.press("m")
    expect(page.locator("#own-photos li")).to_have_text([re.compile("accepted"), re.compile("corrected")])
    page.get_by_role("button", name=f"Photo {second}: corrected").click()
    expect(page.locator("#state")).to_have_text("Your decision: corrected")
    assert boxes(page) == [corrected]
    page.keyboard.press("m")
    page.get_by_role("button", name=f"Photo {first}: accepted").click()
    expect(page.locator("#state")).to_have_text("Your decision: accepted")
    page.keyboard.press("b")
    page.keyboard.press("ArrowUp")
    page.keyboard.press("Enter")
    assert ready(page) == third
    send_back()
    expect(page.locator("#saving")).to_have_text("All saved", timeout=20_000)
    # And the person who labels it again reads the note
    page.locator("#mode").click()
    expect(page.locator("#stage .photo-image")).to_be_visible(timeout=30_000)  # it is sent after the time to undo it
    assert ready(page) == third
    expect(page.locator("#note")).to_contain_text("The box is too large.")


def test_answers_in_review_are_distinguishable(open_page: Open, aws: LocalAws, tmp_path: Path) -> None:
    # Given a photo for which two people have drawn different boxes
    reviewed(aws, tmp_path, 2, people=2)
    for name, box in (("Ana", ((160, 130), (480, 330))), ("Ben", ((170, 140), (470, 320)))):
        page = open_page(name)
        label_all(page, 2, *box, is_last=name == "Ben")
        expect(page.locator("#saving")).to_have_text("All saved")
    # When a reviewer opens it
    page = open_page("Rita", "labellers", "reviewers")
    page.locator("#mode").wait_for()
    ready(page)
    # Then each answer has a colour and a pattern of its own, and a line of the legend with a number for a name
    drawn = page.locator("#stage .box.answer")
    expect(drawn).to_have_count(2)
    looks = [(one.get_attribute("stroke"), one.get_attribute("stroke-dasharray")) for one in drawn.all()]
    lines = page.locator("#answers line").all()
    assert looks == [(one.get_attribute("stroke"), one.get_attribute("stroke-dasharray")) for one in lines]
    assert len({colour for colour, _ in looks}) == len({dash for _, dash in looks}) == 2
    expect(page.locator("#answers b")).to_have_text(["Answer 1", "Answer 2"])
    assert not re.search("Ana|Ben", page.locator("#work").inner_text())
    assert page.evaluate(AXE) == []


def test_many_types_have_keys_and_a_search(aws: LocalAws, open_page: Open) -> None:
    # Given a job with fifty types, the most that a job can have
    job = begin(aws, 3, documentTypes=[f"TYPE_{number:02}" for number in range(50)])
    page = open_page()
    first = ready(page)
    # Then ten of them and the whole guide are visible without scrolling
    for number in range(10):
        expect(page.locator("#type-list label").nth(number)).to_be_in_viewport(ratio=1)
    assert page.locator("#guide").evaluate("guide => guide.scrollHeight <= guide.clientHeight")
    # When the person searches a type for a box, then it is the box's type, and has a key from now on
    drag(page, (160, 130), (480, 330))
    page.keyboard.press("t")
    page.keyboard.type("37")
    page.keyboard.press("Enter")
    assert boxes(page)[0][0] == "TYPE_37"
    page.keyboard.press("1")
    assert boxes(page)[0][0] == "TYPE_00"
    page.keyboard.press("2")
    assert boxes(page)[0][0] == "TYPE_37"
    page.keyboard.press("Enter")
    assert saved(job, first)["Boxes"][0]["type"] == "TYPE_37"
