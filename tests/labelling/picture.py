"""Draws docs/labelling-page.jpg from a real run: python tests/labelling/picture.py"""

import io
import sys
import tempfile
from pathlib import Path

from browser import chromium
from labelling_jobs import BUCKET, PROJECT, begin
from PIL import Image

sys.path.insert(0, str(PROJECT))

from ekyc import samples
from ekyc.localaws.server import LocalAws

QUALITY = 82  # below 300 kB

with tempfile.TemporaryDirectory() as name, LocalAws() as aws, chromium() as browser:
    samples.write(Path(name) / "photos", 8, 3)
    job = begin(aws, 8)
    for number, path in enumerate(sorted((Path(name) / "photos").glob("*.jpg"))):
        aws.client("s3").put_object(Bucket=BUCKET, Key=f"images/{number}.jpg", Body=path.read_bytes())
    ana = job.worker("Ana")
    for _ in range(2):
        turn = ana.claim()
        assert turn
        ana.answer(turn)
    page = browser.new_page(viewport={"width": 1280, "height": 800})
    page.goto(aws.labelling_url)
    page.get_by_label("Your name").fill("Ana")
    page.keyboard.press("Enter")
    page.locator("#stage svg.a9s-annotationlayer").wait_for()
    page.keyboard.press("n")
    page.locator("#boxes li").wait_for()
    picture = Image.open(io.BytesIO(page.screenshot())).convert("RGB")
    picture.save(PROJECT / "docs/labelling-page.jpg", quality=QUALITY, optimize=True)
