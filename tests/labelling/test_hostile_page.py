"""A hostile web page, in the browser that also shows the labelling page, gets nothing from the local AWS."""

from __future__ import annotations

import http.server
import io
import threading
import time
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, BrowserContext, Request, expect
from served import begin, photo
from test_served_page import SETTINGS, ready
from waiting import ENOUGH

from ekyc.localaws.clock import clock
from ekyc.localaws.server import LocalAws
from ekyc.localaws.synth import LOCAL_SETTINGS, synthesize
from tests.conftest import SPEED

ATTACK = (Path(__file__).parent / "hostile.js").read_text()
PREFETCH = """(link) => {
  const script = document.createElement("script");
  script.type = "speculationrules";
  script.text = JSON.stringify({
    prefetch: [{ urls: [link], eagerness: "immediate", referrer_policy: "no-referrer" }],
  });
  document.head.append(script);
}"""
BUCKET = "photos"
PHOTO = photo(0)
EVIL = "evil.example"  # a host name that leads to this machine: see browser.py


class BlankPage(http.server.BaseHTTPRequestHandler):
    """A page without content, on which the attack runs."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.end_headers()
        self.wfile.write(b"<!doctype html><title>A page</title>")

    def log_message(self, *_arguments: Any) -> None:
        pass


@pytest.fixture
def other_port() -> Iterator[int]:
    """The port of another user's web server on this machine."""
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), BlankPage) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server.server_port
        server.shutdown()


@pytest.fixture(scope="module")
def page_assembly(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return synthesize(tmp_path_factory.mktemp("page"), {**LOCAL_SETTINGS, **SETTINGS})


@pytest.fixture
def aws(local_aws: LocalAws, page_assembly: Path) -> Iterator[LocalAws]:
    """The local AWS with the stack, its labelling page, and a bucket with a photo."""
    local_aws.reset()
    local_aws.deploy(page_assembly)
    local_aws.client("s3").create_bucket(Bucket=BUCKET)
    local_aws.client("s3").put_object(Bucket=BUCKET, Key="images/0.jpg", Body=PHOTO)
    local_aws.client("iam").create_role(RoleName="labelling", AssumeRolePolicyDocument="{}")
    yield local_aws
    clock.speed = SPEED


@pytest.fixture
def context(browser: Browser) -> Iterator[BrowserContext]:
    context = browser.new_context(viewport={"width": 1280, "height": 800})
    context.set_default_timeout(15_000)
    yield context
    context.close()


@contextmanager
def trap(aws: LocalAws) -> Iterator[None]:
    """A function that nothing may run while the context is open; it is run at the end, to see that it could be."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("app.py", "def handle(event, context):\n    print('the trap ran')\n")
    functions = aws.client("lambda")
    functions.create_function(
        FunctionName="trap",
        Runtime="python3.12",
        Role="arn:aws:iam::123456789012:role/labelling",
        Handler="app.handle",
        Code={"ZipFile": packed.getvalue()},
    )

    def times() -> int:
        return sum(log.read_text().count("the trap ran") for log in aws.logs_dir.iterdir())

    yield
    assert times() == 0
    functions.invoke(FunctionName="trap")
    assert times() == 1


@pytest.mark.parametrize("attacker", ["same host", "other host", "rebinding"])
def test_a_hostile_page_reads_and_changes_nothing(
    aws: LocalAws, context: BrowserContext, other_port: int, attacker: str
) -> None:
    # Given a job with a photo that Ana labels in this browser, and a function
    job = begin(aws, 2)
    labelling = context.new_page()
    labelling.goto(aws.sign_in_link("Ana", "labellers"))
    ready(labelling)
    stacks = aws.client("cloudformation").list_stacks()["StackSummaries"]

    # When a page of another port, of another host, or of a name that is led to the local AWS tries what it can
    page, base = context.new_page(), aws.endpoint
    if attacker == "rebinding":  # the name now resolves to the local AWS, so its documents have the page's origin
        base = base.replace("127.0.0.1", EVIL)
        page.goto(f"{base}/page")
    else:
        page.goto(f"http://{'127.0.0.1' if attacker == 'same host' else EVIL}:{other_port}/page")
    statuses: list[tuple[str, int]] = []

    def note(request: Request) -> None:
        response = request.response()
        if response and request.url.startswith(base) and not request.url.endswith("/page"):
            statuses.append((request.url, response.status))

    page.on("requestfinished", note)
    arguments = {"base": base, "job": job.id}
    with trap(aws):
        read = page.evaluate(ATTACK, arguments)
        with context.expect_page() as opened:
            page.evaluate(f"window.open('{base}/?Action=CreateStack&StackName=evil&Version=2010-05-15')")
        opened.value.wait_for_load_state()

    # Then it has read nothing, and what was answered at all was refused
    assert read == []
    assert statuses
    assert {status for _, status in statuses} <= {403, 421}, statuses
    assert '"status": 4' in opened.value.content()
    # And no object, stack or label is another, and nothing was reset
    content = aws.client("s3").get_object(Bucket=BUCKET, Key="images/0.jpg")["Body"].read()
    assert content == PHOTO
    assert aws.client("cloudformation").list_stacks()["StackSummaries"] == stacks
    assert job.answers() == {}

    # And the labelling page goes on as if nothing had been
    labelling.reload()
    place = ready(labelling)
    labelling.keyboard.press("x")
    expect(labelling.locator("#photo-title")).not_to_contain_text(f"{place}")


@pytest.mark.parametrize("host", ["127.0.0.1", EVIL])
def test_a_hostile_page_can_prefetch_nothing(
    aws: LocalAws, context: BrowserContext, other_port: int, host: str
) -> None:
    # Given a link that a person can open, and a page of another port or of another host
    place = {"Bucket": BUCKET, "Key": "images/0.jpg"}
    link = aws.client("s3").generate_presigned_url("get_object", Params=place)
    page = context.new_page()
    page.goto(f"http://{host}:{other_port}/page")
    outcomes: list[str] = []

    def note(event: dict[str, str]) -> None:
        if event["status"] != "Running":
            outcomes.append(event["prefetchStatus"])

    devtools = context.new_cdp_session(page)
    devtools.on("Preload.prefetchStatusUpdated", note)
    devtools.send("Preload.enable")
    # When the page prefetches the link, which makes the browser ask as if a person had typed the address
    page.evaluate(PREFETCH, link)
    # Then the request is refused
    deadline = time.monotonic() + ENOUGH
    while not outcomes and time.monotonic() < deadline:
        page.wait_for_timeout(50)  # lets Playwright handle events
    assert set(outcomes) == {"PrefetchFailedNon2XX"}


def test_an_html_file_in_a_bucket_runs_no_script(aws: LocalAws, context: BrowserContext) -> None:
    # Given Ana's cookie, and an HTML file that was uploaded in place of a photo
    labelling = context.new_page()
    labelling.goto(aws.sign_in_link("Ana", "labellers"))
    expect(labelling.locator("#person")).to_have_text("Ana")
    place = {"Bucket": BUCKET, "Key": "images/1.jpg"}
    s3 = aws.client("s3")
    script = b"<title>a file</title><script>document.title = 'ran'</script><p>Hello</p>"
    s3.put_object(**place, Body=script, ContentType="text/html")
    # When its presigned link is opened in the same browser
    page = context.new_page()
    page.goto(s3.generate_presigned_url("get_object", Params=place))
    # Then it is shown, without the rights of the labelling page, whose host and port it has
    expect(page.get_by_text("Hello")).to_be_visible()
    assert page.title() == "a file"
