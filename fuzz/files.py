"""Shared by the fuzzers: an in-memory S3 client, and the seed corpora."""

import base64
import hashlib
import io
import json
import re
import sys
import tempfile
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any

from botocore.exceptions import ClientError
from PIL import Image

from ekyc import samples

CORPUS = Path(__file__).parents[1] / "build" / "fuzz"
BUCKET, JOB = "bucket", "ekyc-20261124015324-9f3c0a1b2c3d4e5f"
UPLOADED = datetime(2026, 11, 24, tzinfo=UTC)


class Objects(dict[str, bytes]):
    """A bucket's objects by key, with the methods of boto3's S3 client that the stages call."""

    def get_object(self, *, Key: str, Range: str = "bytes=0-", **_: Any) -> dict[str, Any]:
        first, last = re.fullmatch(r"bytes=(\d+)-(\d*)", Range).groups()  # type: ignore[union-attr]
        assert int(first) < max(1, len(self[Key])), "S3 would answer InvalidRange"
        content = self[Key][int(first) : int(last) + 1 if last else None]
        headers = {"ContentLength": len(content), "LastModified": UPLOADED, "ETag": f'"{Key}"'}
        return {"Body": io.BytesIO(content), **headers}

    def head_object(self, *, Key: str, **_: Any) -> dict[str, Any]:
        if Key not in self:
            raise ClientError({"Error": {"Code": "404", "Message": "Not Found"}}, "HeadObject")
        checksum = base64.b64encode(hashlib.sha256(self[Key]).digest()).decode()
        return {"LastModified": UPLOADED, "ETag": f'"{Key}"', "ChecksumSHA256": checksum}

    def put_object(self, *, Key: str, Body: bytes | IO[bytes], **_: Any) -> dict[str, str]:
        self[Key] = Body if isinstance(Body, bytes) else Body.read()
        return {"ETag": f'"{Key}"'}

    def get_paginator(self, _operation: str) -> "Objects":
        return self

    def paginate(self, *, Prefix: str, **_: Any) -> Iterator[dict[str, Any]]:
        entries = [
            {"Key": key, "ETag": f'"{key}"', "Size": len(content), "LastModified": UPLOADED}
            for key, content in sorted(self.items())
            if key.startswith(Prefix)
        ]
        yield {"Contents": entries}

    def json_lines(self, key: str) -> list[dict[str, Any]]:
        """The values of a JSON Lines file. NaN and Infinity fail: they are not JSON."""
        return [json.loads(line, parse_constant=_refuse_constant) for line in self[key].splitlines()]


def _refuse_constant(word: str) -> None:
    raise AssertionError(f"{word} is not JSON")


def seed() -> None:
    """Write small specimen photos, and their labels in both formats, into the fuzzers' corpora."""
    photos, labels = CORPUS / "photos", CORPUS / "labels"
    for folder in (photos, labels):
        folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as drawn:
        samples.write(Path(drawn), 8, 1)
        coco = json.loads((Path(drawn) / "annotations.json").read_text())
        exif = Image.Exif()
        for image in coco["images"]:
            picture = Image.open(Path(drawn) / image["file_name"])
            picture.thumbnail((96, 96))
            for orientation in (1, 6):
                exif[0x0112] = orientation
                name = f"{orientation}-{image['file_name']}"
                picture.save(photos / name, quality=60, exif=exif, progressive=orientation == 6)
                picture.quantize(16).save((photos / name).with_suffix(".png"), exif=exif)
    (labels / "coco.json").write_text(json.dumps(coco))
    types = {category["id"]: category["name"] for category in coco["categories"]}
    lines = []
    for image in coco["images"]:
        boxes = [box for box in coco["annotations"] if box["image_id"] == image["id"]]
        annotations = [
            {"class_id": box["category_id"], **dict(zip(("left", "top", "width", "height"), box["bbox"], strict=True))}
            for box in boxes
        ]
        line = {
            "source-ref": f"s3://{BUCKET}/images/{JOB}/{image['file_name']}",
            "doctype": {
                "image_size": [{"width": image["width"], "height": image["height"], "depth": 3}],
                "annotations": annotations,
            },
            "doctype-metadata": {
                "objects": [{"confidence": 1} for _ in boxes],
                "class-map": {str(box["category_id"]): types[box["category_id"]] for box in boxes},
                "type": "groundtruth/object-detection",
                "human-annotated": "yes",
                "creation-date": "2026-11-24T01:53:24.000001",
                "job-name": f"labeling-job/{JOB}-1",
            },
        }
        lines.append(json.dumps(line))
        (labels / f"{image['id']}.manifest").write_text(lines[-1])
    (labels / "all.manifest").write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    sys.exit(seed())
