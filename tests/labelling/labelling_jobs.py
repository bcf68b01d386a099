"""A labelling job of a few photos on the local Ground Truth, and workers who label it over HTTP."""

from __future__ import annotations

import io
import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
from PIL import Image, ImageDraw

from ekyc.localaws.server import LocalAws
from tests.waiting import ENOUGH

PROJECT = Path(__file__).parents[2]
BUCKET, JOB = "photos", "job-1"
LABELS = ["ID_KTP", "AU_PASSPORT"]
WIDTH, HEIGHT = 640, 480
FUNCTION = "arn:aws:lambda:us-east-1:432418664414:function:"
TEMPLATE = (PROJECT / "lambdas/pipeline/labelling_template.liquid").read_text()
Box = dict[str, Any]


def eventually(condition: Callable[[], Any], seconds: float = ENOUGH) -> Any:
    """Wait until ``condition`` returns something true, and return it."""
    deadline = time.monotonic() + seconds
    while not (result := condition()):
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.03)
    return result


def box(label: str = "ID_KTP", left: int = 100, top: int = 80, width: int = 300, height: int = 200) -> Box:
    return {"label": label, "left": left, "top": top, "width": width, "height": height}


def photo(number: int) -> bytes:
    """A photo of a card on a table, as JPEG."""
    image = Image.new("RGB", (WIDTH, HEIGHT), (196, 170, 140))
    pen = ImageDraw.Draw(image)
    pen.rounded_rectangle((160, 130, 480, 330), 14, fill=(225, 236, 248), outline=(60, 80, 120), width=3)
    pen.text((190, 160), f"SPECIMEN {number}", fill=(30, 50, 90))
    content = io.BytesIO()
    image.save(content, "JPEG")
    return content.getvalue()


@dataclass
class LabellingJob:
    """The job, and AWS as an operator sees it."""

    aws: LocalAws
    name: str = JOB

    @property
    def url(self) -> str:
        return f"{self.aws.endpoint}/labelling/api/jobs/{self.name}"

    def describe(self) -> dict[str, Any]:
        return self.aws.client("sagemaker").describe_labeling_job(LabelingJobName=self.name)

    def ended(self) -> dict[str, Any]:
        """The description once the job has ended."""
        return eventually(lambda: (job := self.describe())["LabelingJobStatus"] in ENDED and job)

    def output(self) -> list[dict[str, Any]]:
        """The lines of the output manifest, once the job has ended."""
        uri = self.ended()["LabelingJobOutput"]["OutputDatasetS3Uri"]
        return [json.loads(line) for line in self.read(uri.removeprefix(f"s3://{BUCKET}/")).splitlines()]

    def responses(self) -> list[dict[str, Any]]:
        """What the workers submitted, a document for each photo."""
        prefix = f"output/{self.name}/annotations/worker-response/iteration-1/"
        found = self.aws.client("s3").list_objects_v2(Bucket=BUCKET, Prefix=prefix)["Contents"]
        return [json.loads(self.read(one["Key"])) for one in found]

    def read(self, key: str) -> str:
        return self.aws.client("s3").get_object(Bucket=BUCKET, Key=key)["Body"].read().decode()

    def worker(self, name: str) -> Worker:
        http = page_opened(self.aws.labelling_url)
        http.base_url = self.url  # type: ignore[assignment]
        http.headers["X-Worker"] = quote(name)
        return Worker(http)


def page_opened(labelling_url: str) -> httpx.Client:
    """An HTTP client that has opened the labelling page by its address with the token, as a browser does."""
    http = httpx.Client(timeout=ENOUGH)
    assert http.get(labelling_url, follow_redirects=True).status_code == 200
    return http


ENDED = ("Completed", "Failed", "Stopped")


@dataclass
class Worker:
    """A person who labels, by the HTTP contract."""

    http: httpx.Client

    def claim(self) -> dict[str, Any] | None:
        answer = self.http.post("/assignments")
        assert answer.status_code in (200, 204), answer.text
        return answer.json() if answer.content else None

    def answer(self, turn: dict[str, Any], *boxes: Box) -> httpx.Response:
        return self.http.put(f"/assignments/{turn['id']}/answer", json={"boxes": boxes})

    def draft(self, turn: dict[str, Any], *boxes: Box) -> httpx.Response:
        return self.http.put(f"/assignments/{turn['id']}/draft", json={"boxes": boxes})

    def see(self, turn: dict[str, Any]) -> dict[str, Any]:
        return self.http.get(f"/assignments/{turn['id']}").json()


def begin(aws: LocalAws, photos: int, workers: int = 1, template: str = TEMPLATE) -> LabellingJob:
    """Make a labelling job of ``photos`` photos, ``workers`` for each, and wait until it can be worked on."""
    s3 = aws.client("s3")
    s3.create_bucket(Bucket=BUCKET)
    aws.client("iam").create_role(RoleName="labelling", AssumeRolePolicyDocument="{}")
    keys = [f"images/{number}.jpg" for number in range(photos)]
    for number, key in enumerate(keys):
        s3.put_object(Bucket=BUCKET, Key=key, Body=photo(number))
    files = {
        "input.manifest": "".join(json.dumps({"source-ref": f"s3://{BUCKET}/{key}"}) + "\n" for key in keys),
        "template.liquid": template,
        "categories.json": json.dumps(
            {"document-version": "2018-11-28", "labels": [{"label": label} for label in LABELS]}
        ),
    }
    for key, text in files.items():
        s3.put_object(Bucket=BUCKET, Key=key, Body=text.encode())
    aws.client("sagemaker").create_labeling_job(
        LabelingJobName=JOB,
        LabelAttributeName="doctype",
        InputConfig={"DataSource": {"S3DataSource": {"ManifestS3Uri": f"s3://{BUCKET}/input.manifest"}}},
        OutputConfig={"S3OutputPath": f"s3://{BUCKET}/output/"},
        RoleArn="arn:aws:iam::123456789012:role/labelling",
        LabelCategoryConfigS3Uri=f"s3://{BUCKET}/categories.json",
        HumanTaskConfig={
            "WorkteamArn": "arn:aws:sagemaker:us-east-1:123456789012:workteam/private-crowd/specimen-labellers",
            "UiConfig": {"UiTemplateS3Uri": f"s3://{BUCKET}/template.liquid"},
            "PreHumanTaskLambdaArn": FUNCTION + "PRE-BoundingBox",
            "AnnotationConsolidationConfig": {"AnnotationConsolidationLambdaArn": FUNCTION + "ACS-BoundingBox"},
            "TaskTitle": "Draw a box around each identity document",
            "TaskDescription": "Draw a tight box",
            "NumberOfHumanWorkersPerDataObject": workers,
            "TaskTimeLimitInSeconds": 300,
        },
    )
    job = LabellingJob(aws)
    eventually(lambda: job.describe()["LabelingJobStatus"] == "InProgress")
    return job
