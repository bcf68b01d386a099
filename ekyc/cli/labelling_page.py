"""`ekyc train DIR --label`: labelling in the browser, on an embedded local AWS that runs as long as the command."""

import json
import os
import webbrowser
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from urllib.parse import unquote, urlsplit

import boto3
import httpx

from ekyc.cli.api import Api
from ekyc.cli.terminal import human
from ekyc.cli.watch import polls
from ekyc.localaws.server import LocalAws
from ekyc.localaws.services.labelling_watch import signed_in
from ekyc.localaws.synth import LOCAL_SETTINGS, synthesize
from rules.people import GROUPS

LOOK_EVERY = 0.25  # seconds
BEFORE_LABELLING = ("Created", "CheckingImages", "WaitingForLabelling")
LOCAL_PERSON = "Local person"
ATTRIBUTE = "doctype"
SIDES = ("left", "top", "width", "height")


@contextmanager
def local_aws(settings: Mapping[str, Any]) -> Iterator[LocalAws]:
    """A local AWS with the stack deployed with ``settings``. Its jobs wait for a person at the labelling page."""
    with TemporaryDirectory() as scratch, LocalAws() as local:
        with human.status("Deploying the stack to the local AWS"):
            local.deploy(synthesize(Path(scratch), {**LOCAL_SETTINGS, **settings}))
        os.environ.update(local.environment())
        with local.labelling_attended():
            yield local


def new_link(local: LocalAws) -> str:
    """A URL that signs the one local person in to the labelling page, once. The person may also review."""
    return local.sign_in_link(LOCAL_PERSON, *GROUPS)


def open_page(local: LocalAws, api: Api, job_id: str, open_browser: bool) -> None:
    """When the job waits for labels, print a link to the page and with ``open_browser`` open the page.

    Does nothing if the job ends earlier.
    """
    if _waits_for_labels(api, job_id):
        link = new_link(local)
        human.print("Label the photos at this address, which signs you in once.")
        human.print("The job continues when all photos are labelled.")
        human.print(link)
        if open_browser:
            webbrowser.open(link)


def _waits_for_labels(api: Api, job_id: str) -> bool:
    """Wait until the job has left the states before labelling. Returns whether it waits for labels."""
    statuses = (job["status"] for job, _ in polls(api, job_id, longest=LOOK_EVERY))
    return next(status for status in statuses if status not in BEFORE_LABELLING) == "Labelling"


def save_labels(local: LocalAws, job_id: str, out: Path) -> Path | None:
    """Save the labels of the job to ``output.manifest`` in the folder ``out``: all labels, or those made so far.

    Returns the path of the manifest, or None if no photo is labelled.
    """
    content = _newest(f"labelling/{job_id}/page/") or _labels_so_far(local, job_id)
    if not content:
        return None
    path = out / "output.manifest"
    out.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def _newest(prefix: str) -> bytes | None:
    """The content of the newest object below the prefix in a bucket of the local AWS, or None."""
    s3 = boto3.Session().client("s3")
    for bucket in s3.list_buckets()["Buckets"]:
        found = s3.list_objects_v2(Bucket=bucket["Name"], Prefix=prefix).get("Contents", [])
        if found:
            last = max(found, key=lambda entry: entry["LastModified"])
            return s3.get_object(Bucket=bucket["Name"], Key=last["Key"])["Body"].read()
    return None


def _labels_so_far(local: LocalAws, job_id: str) -> bytes:
    """A manifest of the job's photos with the local person's answers. Empty if there are none, or the job has ended."""
    with signed_in(local.api_url, LOCAL_PERSON) as page:
        response = page.get(f"jobs/{job_id}")
        if not response.is_success:
            return b""
        types = response.json()["documentTypes"]
        lines = [_line(answer, types, job_id) for answer in _answers(page, job_id) if answer["outcome"] != "skipped"]
    if not lines:
        return b""
    labelled = {line["source-ref"]: line for line in lines}
    manifest = _newest(f"manifests/{job_id}/input.manifest") or b""
    photos = [json.loads(line)["source-ref"] for line in manifest.splitlines()]
    return "".join(f"{json.dumps(labelled.get(photo, {'source-ref': photo}))}\n" for photo in photos).encode()


def _answers(page: httpx.Client, job_id: str) -> Iterator[dict[str, Any]]:
    """Yield the person's answers with their photos and boxes."""
    token: str | None = ""
    while token is not None:
        response = page.get(f"jobs/{job_id}/answers", params={"nextToken": token} if token else {})
        response.raise_for_status()
        for answer in response.json()["answers"]:
            yield page.get(f"jobs/{job_id}/answers/{answer['place']}").raise_for_status().json()
        token = response.headers.get("X-Next-Token")


def _line(answer: Mapping[str, Any], types: list[str], job_id: str) -> dict[str, Any]:
    """A line of a manifest. Source: Ground Truth guide, "Output data", bounding box job output."""
    bucket, _, key = unquote(urlsplit(answer["url"]).path).lstrip("/").partition("/")
    boxes = answer["boxes"]
    return {
        "source-ref": f"s3://{bucket}/{key}",
        ATTRIBUTE: {
            "image_size": [{"width": answer["width"], "height": answer["height"], "depth": 3}],
            "annotations": [
                {"class_id": types.index(box["type"]), **{side: box[side] for side in SIDES}} for box in boxes
            ],
        },
        f"{ATTRIBUTE}-metadata": {
            "objects": [{"confidence": 1} for _ in boxes],
            "class-map": {str(types.index(name)): name for name in {box["type"] for box in boxes}},
            "type": "groundtruth/object-detection",
            "human-annotated": "yes",
            "creation-date": datetime.fromtimestamp(answer["time"] / 1000, UTC).strftime("%Y-%m-%dT%H:%M:%S"),
            "job-name": f"{job_id}-page",
        },
    }
