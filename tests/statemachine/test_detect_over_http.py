"""`POST /api/documents/detect` as a document-checking service calls it: photos in, types, corners and crops out."""

import base64
import io
import json
import os
import re
import runpy
import shutil
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import cv2
import httpx
import numpy as np
import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from deployed import Pipeline, deployed, eventually
from PIL import Image
from test_iam_enforced import function_of, take_permission
from test_phone_photos import phone_photo

import outlines
from ekyc.localaws import calls
from ekyc.localaws.faults import Fault, Lasts, What, injected
from ekyc.localaws.server import LocalAws
from ekyc.localaws.services import rekognition
from ekyc.localaws.synth import LOCAL_SETTINGS, synthesize
from outlines import Box
from pipeline.outlining import artefact_key
from tests.unit.photo_files import png, saved
from tests.waiting import ENOUGH

ALLOWED, FOREIGN = "kyc-photos", "somebody-elses-photos"
MB = 1024 * 1024
PROJECT = Path(__file__).parents[2]


@dataclass
class Service:
    """A document-checking service: the API's address, and the photo that it checks."""

    pipeline: Pipeline
    http: httpx.Client
    photo: Path
    label: str
    corners: np.ndarray

    def post(self, content: bytes, **more: Any) -> httpx.Response:
        return self.send({"photo": base64.b64encode(content).decode(), **more})

    def send(self, body: Any) -> httpx.Response:
        return self.http.post("/api/documents/detect", json=body)

    def refused(self, response: httpx.Response, status: int, kind: str) -> str:
        """The detail of a problem of this kind."""
        problem = response.json()
        assert (response.status_code, problem["type"]) == (status, f"urn:ekyc:problem:{kind}"), response.text
        assert "Traceback" not in response.text
        return str(problem["detail"])

    @property
    def model(self) -> str:
        return self.pipeline.parameters()["ModelParameter"]

    @property
    def key(self) -> str:
        _, job_id, _, version, _ = self.model.split("/")
        return artefact_key(job_id, version)


@pytest.fixture(scope="module")
def truth(photos: Path) -> tuple[Path, str, np.ndarray]:
    """The photo with the most tilted document, that document's type and its corners (4 x 2 pixels)."""
    coco = json.loads((photos / "annotations.json").read_text())
    names = {one["id"]: one["name"] for one in coco["categories"]}
    files = {one["id"]: photos / one["file_name"] for one in coco["images"]}

    def filled(annotation: dict[str, Any]) -> float:
        """The share of its box that the document fills."""
        corners = np.array(annotation["segmentation"][0], np.float32).reshape(4, 2)
        return float(cv2.contourArea(corners) / (annotation["bbox"][2] * annotation["bbox"][3]))

    tilted = min(coco["annotations"], key=filled)
    corners = np.array(tilted["segmentation"][0], float).reshape(4, 2)
    return files[tilted["image_id"]], names[tilted["category_id"]], corners


@pytest.fixture(scope="module")
def service(
    local_aws: LocalAws, photos: Path, tmp_path_factory: pytest.TempPathFactory, truth: tuple[Path, str, np.ndarray]
) -> Iterator[Service]:
    """A deployment whose live model has learned, and has outlines."""
    assembly = synthesize(
        tmp_path_factory.mktemp("detect"), {**LOCAL_SETTINGS, "detectBuckets": [ALLOWED], "minF1": 0, "minLabelF1": 0}
    )
    with deployed(local_aws, assembly, photos) as pipeline:
        rekognition.current().learns = True
        job_id = pipeline.uploaded()
        pipeline.start(job_id)
        pipeline.reaches(job_id, "Ready")
        for bucket in (ALLOWED, FOREIGN):
            pipeline.aws.client("s3").create_bucket(Bucket=bucket)
        with httpx.Client(base_url=pipeline.aws.api_url, timeout=ENOUGH) as http:
            service = Service(pipeline, http, *truth)
            put_outlines(service, learned(photos))
            yield service


def learned(photos: Path) -> bytes:
    """The file of the outlines that the photos teach."""
    coco = json.loads((photos / "annotations.json").read_text())
    names = {one["id"]: one["name"] for one in coco["categories"]}
    boxes = [
        [Box(names[one["category_id"]], *one["bbox"]) for one in coco["annotations"] if one["image_id"] == image["id"]]
        for image in coco["images"]
    ]
    pixels = [cv2.imread(str(photos / image["file_name"])) for image in coco["images"]]
    return outlines.save(outlines.learn(pixels, boxes))


def put_outlines(service: Service, content: bytes) -> None:
    service.pipeline.aws.client("s3").put_object(
        Bucket=service.pipeline.outputs["BucketName"], Key=service.key, Body=content
    )


def corners_of(document: dict[str, Any], photo: dict[str, int]) -> np.ndarray:
    """The corners of the answer in pixels."""
    size = photo["width"], photo["height"]
    return np.array([[corner["x"], corner["y"]] for corner in document["outline"]["corners"]]) * size


def test_one_call_gives_type_box_corners_and_a_crop(service: Service) -> None:
    # Given a photo of a tilted document
    content = service.photo.read_bytes()
    # When it is sent, and a crop is asked for
    response = service.post(content, crop=True)
    # Then the answer names the live model and the document
    assert response.status_code == 200, response.text
    answer = response.json()
    assert answer["model"] == {
        "projectVersionArn": service.model,
        "version": service.model.split("/")[3],
        "hasOutlines": True,
    }
    [document] = answer["documents"]
    assert document["type"] == service.label
    assert 0.5 < document["confidence"] <= 1
    # And has its corners, clockwise from its own top left, within two per cent of its diagonal
    found = corners_of(document, answer["photo"])
    diagonal = np.linalg.norm(service.corners[2] - service.corners[0])
    assert np.linalg.norm(found - service.corners, axis=1).max() < 0.02 * diagonal
    assert 0.5 <= document["outline"]["confidence"] <= 1
    # And the crop is a JPEG of the straightened document
    assert document["crop"]["from"] == "outline"
    crop = Image.open(io.BytesIO(base64.b64decode(document["crop"]["jpeg"])))
    assert (crop.format, max(crop.size)) == ("JPEG", 1000)
    straight = outlines.straighten(cv2.imread(str(service.photo)), service.corners)
    other = cv2.resize(cv2.cvtColor(np.asarray(crop), cv2.COLOR_RGB2BGR), straight.shape[1::-1])
    assert np.corrcoef(straight.ravel(), other.ravel())[0, 1] > 0.9
    # And without crop, it has none
    [plain] = service.post(content).json()["documents"]
    assert "crop" not in plain
    assert plain["outline"] == document["outline"]


@pytest.mark.parametrize("orientation", range(1, 9))
def test_coordinates_are_those_of_the_upright_photo(service: Service, orientation: int) -> None:
    # Given a phone's photo, stored in one of the eight orientations, with place and maker
    seen = Image.open(service.photo).convert("RGB")
    # When it is sent
    with calls.recorded() as made:
        answer = service.post(phone_photo(seen, orientation)).json()
    # Then size and corners are those of what people see
    assert answer["photo"] == {"width": seen.width, "height": seen.height}
    [document] = answer["documents"]
    diagonal = np.linalg.norm(service.corners[2] - service.corners[0])
    assert np.linalg.norm(corners_of(document, answer["photo"]) - service.corners, axis=1).max() < 0.03 * diagonal
    # And Rekognition got the upright photo without metadata
    [sent] = [call.parameters["Image"]["Bytes"] for call in made if call.operation == "DetectCustomLabels"]
    sent = base64.b64decode(sent) if isinstance(sent, str) else sent
    assert b"SpyPhone" not in sent
    assert Image.open(io.BytesIO(sent)).size == seen.size


def test_without_outlines_the_box_is_answered_and_cropped(service: Service) -> None:
    # Given a model without outlines
    s3, place = (
        service.pipeline.aws.client("s3"),
        {"Bucket": service.pipeline.outputs["BucketName"], "Key": service.key},
    )
    content = s3.get_object(**place)["Body"].read()
    for unusable in (None, b"{}\nbroken"):
        if unusable is None:
            s3.delete_object(**place)
        else:  # or with a file that is damaged
            put_outlines(service, unusable)
        # When a photo is sent
        answer = service.post(service.photo.read_bytes(), crop=True).json()
        # Then the answer says so, and has box and box crop
        [document] = answer["documents"]
        assert (answer["model"]["hasOutlines"], document["outline"]) == (False, None)
        assert document["crop"]["from"] == "box"
        crop = Image.open(io.BytesIO(base64.b64decode(document["crop"]["jpeg"])))
        width, height = document["box"]["width"], document["box"]["height"]
        expected = width * answer["photo"]["width"] / (height * answer["photo"]["height"])
        assert crop.width / crop.height == pytest.approx(expected, rel=0.03)
    # And as soon as the file is there, the warm function uses it
    put_outlines(service, content)
    [document] = service.post(service.photo.read_bytes()).json()["documents"]
    assert document["outline"] is not None


def test_a_warm_function_reads_the_outlines_once(service: Service) -> None:
    service.post(service.photo.read_bytes())
    # When a warm function gets another photo
    with calls.recorded() as made:
        assert service.post(service.photo.read_bytes()).status_code == 200
    # Then it asks which model is live, asks that model, and whether the file of outlines is still the same
    assert [call.operation for call in made] in (
        ["GetParameter", "DetectCustomLabels", "HeadObject"],
        ["GetParameter", "DetectCustomLabels", "HeadObject", "GetObject"],  # the other worker
    )


def test_a_photo_in_an_allowed_bucket(service: Service) -> None:
    # Given photos in an allowed bucket: one as it is, and one that is larger than a request may be
    s3 = service.pipeline.aws.client("s3")
    seen = Image.open(service.photo).convert("RGB").resize((1600, 1200))
    grainy = np.asarray(seen).astype(int) + np.random.default_rng(0).integers(-25, 25, (1200, 1600, 3))
    large = saved(Image.fromarray(grainy.clip(0, 255).astype(np.uint8)), "PNG")
    assert 4 * MB < len(large) < 15 * MB
    s3.put_object(Bucket=ALLOWED, Key="a b/ü+1.jpg", Body=service.photo.read_bytes())
    s3.put_object(Bucket=ALLOWED, Key="large.png", Body=large)
    # When the service names them, then both are found
    for key in ("a b/ü+1.jpg", "large.png"):
        response = service.send({"s3": {"bucket": ALLOWED, "key": key}})
        assert [one["type"] for one in response.json()["documents"]] == [service.label]


def test_a_photo_elsewhere_is_refused_in_words(service: Service) -> None:
    s3 = service.pipeline.aws.client("s3")
    s3.put_object(Bucket=FOREIGN, Key="photo.jpg", Body=service.photo.read_bytes())
    s3.put_object(Bucket=ALLOWED, Key="text.jpg", Body=b"text")
    s3.put_object(Bucket=ALLOWED, Key="huge.jpg", Body=bytes(15 * MB + 1))

    def ask(bucket: Any, key: Any) -> httpx.Response:
        return service.send({"s3": {"bucket": bucket, "key": key}})

    # Given a bucket that the deployment does not allow, also the pipeline's own
    for bucket in (FOREIGN, service.pipeline.outputs["BucketName"]):
        assert "detectBuckets" in service.refused(ask(bucket, "photo.jpg"), 403, "bucket-refused")
    # Or a key that leads elsewhere
    for key in (f"../{FOREIGN}/photo.jpg", "a/../b.jpg", "./a.jpg", "a\n.jpg", ""):
        assert "s3.key" in service.refused(ask(ALLOWED, key), 400, "bad-request")
    for bucket in ("../x", "A", "x" * 64):
        assert "s3.bucket" in service.refused(ask(bucket, "photo.jpg"), 400, "bad-request")
    # Or an object that is missing, no photo, or too large
    assert "S3 does not return" in service.refused(ask(ALLOWED, "missing.jpg"), 422, "precondition-unmet")
    assert "neither JPEG nor PNG" in service.refused(ask(ALLOWED, "text.jpg"), 400, "bad-request")
    assert "15 MB" in service.refused(ask(ALLOWED, "huge.jpg"), 413, "photo-too-large")


def test_what_is_no_photo_is_refused_before_the_model(service: Service) -> None:
    whole = service.photo.read_bytes()
    with calls.recorded() as made:
        # Given nothing, text, a photo that is cut off, or one whose pixels are broken
        assert "empty" in service.refused(service.post(b""), 400, "bad-request")
        service.refused(service.post(b"no photo"), 400, "bad-request")
        service.refused(service.post(saved(Image.new("RGB", (200, 200)), "GIF")), 400, "bad-request")
        assert "cut off" in service.refused(service.post(whole[: len(whole) // 2]), 400, "bad-request")
        # Or a PNG of a few bytes with 100 megapixels, or more
        for side in (10_000, 60_000):
            bomb = png(side, side, bytes(100))
            assert f"{side}x{side}" in service.refused(service.post(bomb), 400, "bad-request")
        # Or a text that is no base64
        for text in ("%%%", "abc", base64.b64encode(whole).decode() + "\n", "data:image/jpeg;base64,AAAA", "ü"):
            assert "base64" in service.refused(service.send({"photo": text}), 400, "bad-request")
    # Then no service was asked
    assert made == []


def test_a_body_is_read_strictly(service: Service) -> None:
    photo = base64.b64encode(service.photo.read_bytes()).decode()
    for body, word in (
        ({}, "either photo or s3"),
        ({"photo": photo, "s3": {"bucket": ALLOWED, "key": "a.jpg"}}, "either photo or s3"),
        ({"photo": photo, "minConfidence": 2}, "minConfidence"),
        ({"photo": photo, "minConfidence": None}, "body"),
        ({"photo": photo, "crop": "yes"}, "body"),
        ({"photo": photo, "colour": 1}, "body"),
        ({"photo": 1}, "body"),
        ([], "body"),
    ):
        detail = service.refused(service.send(body), 400, "bad-request")
        assert word in detail, detail


def test_a_photo_of_more_than_4_mb_is_refused_as_too_large(service: Service) -> None:
    # Given a photo at the limit, then it is taken
    whole = service.photo.read_bytes()
    limit = 4 * MB
    full = whole[:2] + _comments(limit - len(whole)) + whole[2:]
    assert len(full) == limit
    assert len(service.post(full).json()["documents"]) == 1
    # And one of 4.1 MB is not, nor is one that exceeds Lambda's limit, or API Gateway's
    larger = whole[:2] + _comments(int(4.1 * MB) - len(whole)) + whole[2:]
    assert "4,194,304" in service.refused(service.post(larger), 413, "photo-too-large")
    for size in (5 * MB, 9 * MB):
        service.refused(service.post(os.urandom(size)), 413, "body-too-large")


def _comments(count: int) -> bytes:
    """JPEG comments of exactly ``count`` bytes."""
    parts = b""
    while count:
        size = min(count, 65_537) if count != 65_538 else 65_530
        parts += b"\xff\xfe" + (size - 2).to_bytes(2, "big") + bytes(size - 4)
        count -= size
    return parts


def test_a_cmyk_photo_and_a_png_are_taken(service: Service) -> None:
    seen = Image.open(service.photo).convert("RGB")
    for content in (
        saved(seen.convert("CMYK"), "JPEG", quality=95),
        saved(seen, "PNG"),
        saved(seen.convert("L"), "PNG"),
    ):
        [document] = service.post(content).json()["documents"]
        assert (document["type"], document["outline"] is None) == (service.label, False)


def test_min_confidence_takes_the_place_of_the_thresholds(service: Service) -> None:
    content = service.photo.read_bytes()
    [document] = service.post(content).json()["documents"]
    assert len(service.post(content, minConfidence=0).json()["documents"]) >= 1
    above = min(1.0, document["confidence"] + 1e-6)
    if above > document["confidence"]:
        assert service.post(content, minConfidence=above).json()["documents"] == []


@pytest.mark.parametrize("what", [What.THROTTLED_400, What.THROTTLED_500])
def test_a_busy_model_is_429_with_a_time_to_wait(service: Service, what: What) -> None:
    # Given a model whose units are busy for as long as the function tries
    fault = Fault(what, operation="DetectCustomLabels", lasts=Lasts.INVOCATION)
    with injected(fault) as struck:
        response = service.post(service.photo.read_bytes())
    assert struck
    # Then the service is told when to try again
    assert "inferenceUnits" in service.refused(response, 429, "model-busy")
    assert int(response.headers["Retry-After"]) >= 1


def test_errors_of_aws_are_answered_in_words(service: Service) -> None:
    content = service.photo.read_bytes()
    # Given an AWS service that fails for as long as the function tries, then a later try may help
    for operation in ("DetectCustomLabels", "GetParameter", "HeadObject"):
        with injected(Fault(What.INTERNAL_ERROR, operation=operation, lasts=Lasts.INVOCATION)):
            response = service.post(content)
        service.refused(response, 503, "busy")
        assert int(response.headers["Retry-After"]) >= 1
    # Given a permission that was taken away, then it does not
    restore = take_permission(service.pipeline.aws, "Documents", "rekognition:DetectCustomLabels")
    assert "AccessDeniedException" in service.refused(service.post(content), 502, "model-failed")
    restore()
    assert service.post(content).status_code == 200


def test_the_log_has_nothing_of_a_photo(service: Service) -> None:
    content = service.photo.read_bytes()
    service.post(content, crop=True)
    service.send({"s3": {"bucket": ALLOWED, "key": "customer-4711.jpg"}})
    service.send({"photo": "secret-words"})
    name = function_of(service.pipeline.aws, "Documents")["FunctionName"]
    log = (service.pipeline.aws.logs_dir / f"{name}.log").read_text()
    assert '"route":"/api/documents/detect"' in log.replace(" ", "")
    for secret in ("customer-4711", "secret-words", service.label, base64.b64encode(content[:60]).decode(), "corners"):
        assert secret not in log


API_PAGE = (PROJECT / "docs/api.md").read_text()


def example_environment(service: Service) -> dict[str, str]:
    """The variables that the examples of the documentation read."""
    keys = {"AWS_ACCESS_KEY_ID": "checker", "AWS_SECRET_ACCESS_KEY": "local", "AWS_SESSION_TOKEN": "local"}
    return {"PATH": os.environ["PATH"], "EKYC_API_URL": service.pipeline.aws.api_url, "AWS_REGION": "us-east-1", **keys}


def test_the_documented_python_example_runs(service: Service, tmp_path: Path) -> None:
    # Given the example as docs/api.md has it
    [source] = [block for block in re.findall(r"```python\n(.*?)```", API_PAGE, re.DOTALL) if "/detect" in block]
    (tmp_path / "detect.py").write_text(source)
    environment = example_environment(service)
    # When it is run with a Python that has nothing installed
    command = [sys.executable, "-I", "-S", "detect.py", str(service.photo)]
    ended = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    # Then it prints the document and writes its crop
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.startswith(f"{service.label} ")
    assert max(Image.open(tmp_path / "crop-1.jpg").size) == 1000
    # And it says in words why the API refuses a photo
    (tmp_path / "text.jpg").write_text("no photo")
    ended = subprocess.run([*command[:-1], "text.jpg"], cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert (ended.returncode, ended.stderr.startswith("400: The photo cannot be used")) == (1, True)


@pytest.mark.parametrize("token", ["", "temporary"])
def test_the_documented_example_signs_as_the_sdk(token: str, monkeypatch: pytest.MonkeyPatch) -> None:
    # Given a URL as on AWS, a body, and credentials
    url, body = "https://a1b2c3.execute-api.eu-west-1.amazonaws.com/prod/api/documents/detect", b'{"photo": "AAAA"}'
    variables = {"AWS_REGION": "eu-west-1", "AWS_ACCESS_KEY_ID": "AKIDEXAMPLE", "AWS_SECRET_ACCESS_KEY": "secret/+"}
    for name, value in {**variables, "AWS_SESSION_TOKEN": token}.items():
        monkeypatch.setenv(name, value)
    # When the example and the SDK sign the call at the same time
    example = runpy.run_path(str(PROJECT / "docs/detect.py"))
    request = AWSRequest("POST", url, data=body)
    SigV4Auth(Credentials("AKIDEXAMPLE", "secret/+", token or None), "execute-api", "eu-west-1").add_auth(request)
    stamp = datetime.strptime(request.headers["X-Amz-Date"], "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
    # Then the signatures are equal
    assert example["signed"](url, body, stamp.timestamp())["authorization"] == request.headers["Authorization"]


@pytest.mark.skipif(not shutil.which("curl"), reason="needs curl 7.75 or newer")
def test_the_documented_curl_example_runs(service: Service, tmp_path: Path) -> None:
    # Given the example as docs/api.md has it
    [script] = [block for block in re.findall(r"```\n(.*?)```", API_PAGE, re.DOTALL) if "request.json" in block]
    shutil.copy(service.photo, tmp_path / "photo.jpg")
    # When it is run
    ended = subprocess.run(
        ["bash", "-euc", script], cwd=tmp_path, env=example_environment(service), capture_output=True, text=True
    )
    # Then it prints the answer
    assert ended.returncode == 0, ended.stderr
    assert json.loads(ended.stdout)["documents"][0]["type"] == service.label


def test_a_user_may_be_allowed_this_call_alone(service: Service) -> None:
    # Given an IAM user with the policy that the documentation shows
    aws, iam = service.pipeline.aws, service.pipeline.aws.client("iam")
    api_id = service.pipeline.outputs["ApiStageArn"].split("/")[2]
    policy = {
        "Version": "2012-10-17",
        "Statement": [
            {
                "Effect": "Allow",
                "Action": "execute-api:Invoke",
                "Resource": f"arn:aws:execute-api:us-east-1:*:{api_id}/*/POST/api/documents/detect",
            }
        ],
    }
    iam.create_user(UserName="checker")
    iam.put_user_policy(UserName="checker", PolicyName="detect", PolicyDocument=json.dumps(policy))
    key = iam.create_access_key(UserName="checker")["AccessKey"]["AccessKeyId"]
    signed = {"Authorization": f"AWS4-HMAC-SHA256 Credential={key}/20261124/us-east-1/execute-api/aws4_request"}
    body = {"photo": base64.b64encode(service.photo.read_bytes()).decode()}
    # Then the user may find documents, and nothing else
    assert service.http.post("/api/documents/detect", json=body, headers=signed).status_code == 200
    for method, path in (("GET", "list"), ("POST", "create"), ("GET", "model"), ("POST", "model/stop")):
        assert service.http.request(method, f"{aws.api_url}/api/training/{path}", headers=signed).status_code == 403


def test_a_model_that_is_stopped_meanwhile_is_409(service: Service) -> None:
    """The last test: the model does not run afterwards."""
    content = service.photo.read_bytes()
    training = service.pipeline.http
    # Given a service that sends photos while the live model is stopped
    with ThreadPoolExecutor(2) as pool:
        asked = [pool.submit(service.post, content) for _ in range(6)]
        assert training.post("model/stop").status_code == 200
        asked += [pool.submit(service.post, content) for _ in range(2)]
    statuses = [one.result().status_code for one in asked]
    # Then each call is answered: with documents, or with the reason that there are none
    assert set(statuses) <= {200, 409}
    eventually(lambda: training.get("model").json()["status"] == "STOPPED")
    assert "model/start" in service.refused(service.post(content), 409, "conflict")
    # And before a model is live, the answer is the same status
    ssm = service.pipeline.aws.client("ssm")
    ssm.put_parameter(Name=service.pipeline.outputs["ModelParameter"], Value="default", Type="String", Overwrite=True)
    assert "No model is live" in service.refused(service.post(content), 409, "conflict")
