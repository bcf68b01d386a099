"""The labelling page that the stack serves: a job that waits for labels, and people who are signed in."""

from __future__ import annotations

import io
import json
from dataclasses import dataclass
from typing import Any

import httpx
from labelling_jobs import eventually
from PIL import Image, ImageDraw

from ekyc.localaws.clock import clock
from ekyc.localaws.server import LocalAws
from tests.waiting import ENOUGH

Json = dict[str, Any]
WIDTH, HEIGHT = 640, 480
CARD = (160, 130, 480, 330)
TYPES = ["AU_PASSPORT", "ID_KTP"]


def photo(number: int) -> bytes:
    """A photo of a card on a table, as JPEG. No two are alike."""
    image = Image.effect_noise((WIDTH, HEIGHT), 8 + number).convert("RGB").point(lambda value: 100 + value // 2)
    pen = ImageDraw.Draw(image)
    pen.rounded_rectangle(CARD, 14, fill=(225, 236, 248), outline=(60, 80, 120), width=3)
    pen.text((190, 160), f"SPECIMEN {number}", fill=(30, 50, 90), font_size=30)
    for line in range(number % 7 + 1):
        pen.line((190, 220 + 12 * line, 300 + 20 * (number % 5), 220 + 12 * line), fill=(30, 50, 90), width=3)
    content = io.BytesIO()
    image.save(content, "JPEG", quality=90)
    return content.getvalue()


@dataclass
class Job:
    """A job of the deployed pipeline that people label on the page."""

    aws: LocalAws
    id: str
    http: httpx.Client

    def answers(self) -> dict[int, Json]:
        """The answers of people by the photo's place, as the table of tasks has them."""
        table = next(name for name in self.aws.client("dynamodb").list_tables()["TableNames"] if "Tasks" in name)
        items = self.aws.client("dynamodb").scan(TableName=table)["Items"]
        from boto3.dynamodb.types import TypeDeserializer

        plain = [{key: TypeDeserializer().deserialize(value) for key, value in item.items()} for item in items]
        return {
            int(item["Place"]): answer
            for item in plain
            if item["JobId"] == self.id
            for answer in item.get("Answers", {}).values()
        }

    def status(self) -> str:
        return str(self.http.get(f"jobs/{self.id}").json()["status"])

    def labels(self) -> dict[int, list[tuple[str, int, int, int, int]]]:
        """The boxes of the labelled manifest by the photo's place: type, left, top, width, height."""
        bucket = next(name for name in self._buckets() if self._keys(name, f"labelling/{self.id}/page/"))
        (key,) = self._keys(bucket, f"labelling/{self.id}/page/")
        lines = self.aws.client("s3").get_object(Bucket=bucket, Key=key)["Body"].read().decode().splitlines()
        found = {}
        for place, line in enumerate(map(json.loads, lines), 1):
            types = line["doctype-metadata"]["class-map"]
            found[place] = [
                (types[str(one["class_id"])], one["left"], one["top"], one["width"], one["height"])
                for one in line["doctype"]["annotations"]
            ]
        return found

    def _buckets(self) -> list[str]:
        return [bucket["Name"] for bucket in self.aws.client("s3").list_buckets()["Buckets"]]

    def _keys(self, bucket: str, prefix: str) -> list[str]:
        listed = self.aws.client("s3").list_objects_v2(Bucket=bucket, Prefix=prefix)
        return [entry["Key"] for entry in listed.get("Contents", ())]


def begin(aws: LocalAws, photos: int | dict[str, bytes], **options: Any) -> Job:
    """Start a job of these photos, or of so many, and wait until people can label it.

    From then on, the clock runs as a real one.
    """
    http = httpx.Client(base_url=f"{aws.api_url}/api/training/", timeout=ENOUGH)
    job_id = http.post("create").json()["id"]
    if isinstance(photos, int):
        photos = {f"photo-{number:03}.jpg": photo(number) for number in range(photos)}
    targets = http.post(f"jobs/{job_id}/urls", json={"names": list(photos)}).json()
    for name, target in targets.items():
        assert httpx.put(target["url"], headers=target["headers"], content=photos[name]).status_code == 200
    body = {"documentTypes": TYPES, "labels": {"provider": "page"}, "deploy": False, **options}
    response = http.post("start", params={"JobId": job_id}, json=body)
    assert response.status_code == 200, response.text
    eventually(lambda: http.get(f"jobs/{job_id}").json()["status"] == "Labelling")
    clock.speed = 1  # a lease of three minutes lasts as long
    return Job(aws, job_id, http)
