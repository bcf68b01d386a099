"""Draws docs/labelling-page.jpg from a real run: python tests/labelling/picture.py"""

import io
import json
import sys
import tempfile
from pathlib import Path

from browser import chromium
from labelling_jobs import BUCKET, LABELS, PROJECT, begin
from PIL import Image

sys.path.insert(0, str(PROJECT))

from ekyc import samples
from ekyc.localaws.server import LocalAws

QUALITY = 82  # below 300 kB

with tempfile.TemporaryDirectory() as name, LocalAws() as aws, chromium() as browser:
    folder = Path(name) / "photos"
    samples.write(folder, 60, 3)
    coco = json.loads((folder / "annotations.json").read_text())
    names = {category["id"]: category["name"] for category in coco["categories"]}
    files = {image["id"]: folder / image["file_name"] for image in coco["images"]}
    documents = [one for one in coco["annotations"] if names[one["category_id"]] in LABELS][:8]
    job = begin(aws, len(documents))
    for number, document in enumerate(documents):
        content = files[document["image_id"]].read_bytes()
        aws.client("s3").put_object(Bucket=BUCKET, Key=f"images/{number}.jpg", Body=content)
    label, box = names[documents[2]["category_id"]], documents[2]["bbox"]
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
    photo = page.locator("#stage img").bounding_box()
    assert photo
    scale = photo["width"] / page.locator("#stage img").evaluate("image => image.naturalWidth")
    left, top, width, height = box
    page.locator("#type-list label", has_text=label).click()
    page.mouse.move(photo["x"] + left * scale, photo["y"] + top * scale)
    page.mouse.down()
    page.mouse.move(photo["x"] + (left + width) * scale, photo["y"] + (top + height) * scale)
    page.mouse.up()
    page.locator("#boxes li").wait_for()
    picture = Image.open(io.BytesIO(page.screenshot())).convert("RGB")
    picture.save(PROJECT / "docs/labelling-page.jpg", quality=QUALITY, optimize=True)
