"""Where bad input goes in: the real stages on a bucket of moto's S3, and the API as it is deployed, over real HTTP."""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import httpx
import pytest
from botocore.awsrequest import AWSResponse

from ekyc.localaws.clock import clock
from ekyc.localaws.server import LocalAws
from pipeline import datasets, labels
from pipeline.errors import PipelineError
from pipeline.photos.collecting import ImagesChecked
from tests.bad_input.cases import (
    ERASED,
    FAILED,
    GOOD,
    LINE,
    LINES,
    NEW,
    PHOTOS,
    TYPES,
    WAITING,
    Call,
    LabelsFile,
    Line,
    Lines,
    Name,
    Photo,
    Photos,
    manifest,
    of,
)
from tests.statemachine.deployed import Pipeline, deployed, eventually
from tests.unit.photo_jobs import JOB, Bucket, check_photos, put_input_manifest, s3_in_moto, sha256, written

SIGNED = {"Authorization": "AWS4-HMAC-SHA256 Credential=tester/20260101/us-east-1/execute-api/aws4_request"}
# So much of a file that is refused for its size may have been under way when it was refused.
READ_AT_MOST = 1024 * 1024


@pytest.fixture(scope="session")
def s3() -> Iterator[Any]:
    with s3_in_moto() as client:
        yield client


LISTED_FIELDS = {"source-ref", "line", "box", "category", "image", "annotation", "photo", "id", "reason", "code"}


class Stages:
    """A bucket on which stages run, with the labels of an earlier, good file in it."""

    def __init__(self, s3: Any) -> None:
        self.bucket = Bucket(s3)
        self.bucket.put(f"manifests/{JOB}/labels.manifest", "the labels of before\n")

    def everything(self) -> dict[str, str]:
        """What people gave, and the labels of before."""
        listed = self.bucket.s3.list_objects_v2(Bucket=self.bucket.name).get("Contents", [])
        given = ("images/", "labels/", "labelling/", f"manifests/{JOB}/labels.manifest")
        return {entry["Key"]: entry["ETag"] for entry in listed if entry["Key"].startswith(given)}

    def codes(self, name: str, place: str) -> dict[Any, tuple[str, str]]:
        """Read a list of refused input: the last code and all reasons by ``place``. Every line must be strict JSON."""
        found: dict[Any, tuple[str, str]] = {}
        for text in self.bucket.read(f"s3://{self.bucket.name}/manifests/{JOB}/{name}").decode().splitlines():
            line = json.loads(text, parse_constant=no_constant)
            assert set(line) <= LISTED_FIELDS
            assert len(text) < 5000
            found[line.get(place)] = line["code"], f"{found.get(line.get(place), ('', ''))[1]} {line['reason']}"
        return found


def no_constant(word: str) -> None:
    raise AssertionError(f"{word} is no JSON")


def refusal(run: Callable[[], Any]) -> tuple[str, str] | None:
    """The named error that ends the stage; any other error is none that a person could act on."""
    try:
        run()
    except PipelineError as error:
        return type(error).__name__, str(error)
    return None


class CheckPhotos(Stages):
    """One run over the photos of all cases among good ones; and a run for each case of a whole upload."""

    def __init__(self, s3: Any) -> None:
        super().__init__(s3)
        self._names = {case.id: case.name or f"{place:03}.jpg" for place, case in enumerate(PHOTOS)}
        for case in PHOTOS:
            self.bucket.put_photo(self._names[case.id], case.content)
        checked = self._check(self.bucket, 1.0)
        self._accepted = [line["source-ref"] for line in self.bucket.lines(checked.manifest)]
        self._rejected = self.codes("rejected.jsonl", "source-ref")

    def give(self, case: Photo | Photos) -> tuple[str, str]:
        if isinstance(case, Photo):
            name = self._names[case.id]
            if any(uri.endswith(f"/{JOB}/{name}") for uri in self._accepted):
                return "accepted", ""
            return self._rejected[f"s3://{self.bucket.name}/images/{JOB}/{name}"]
        bucket = Bucket(self.bucket.s3)
        for place, content in enumerate(case.contents):
            bucket.put_photo(f"{place}.jpg", content)
        return refusal(lambda: self._check(bucket, 0.2)) or ("accepted", "")

    @staticmethod
    def _check(bucket: Bucket, max_rejected_share: float) -> ImagesChecked:
        return check_photos(bucket.name, min_images=10, max_rejected_share=max_rejected_share)


class PrepareDatasets(Stages):
    """One run over the lines of all cases, each of a photo of its own, among good ones; and one for each whole file."""

    def __init__(self, s3: Any) -> None:
        super().__init__(s3)
        photos = [f"case-{number}.jpg" for number in range(len(LINES))] + [f"good-{number}.jpg" for number in range(10)]
        self._put(self.bucket, photos)
        lines: list[Mapping[str, Any] | bytes] = [of(name) for name in photos[-10:]]
        for name, case in zip(photos, LINES, strict=False):
            is_of_one = not isinstance(case.line, bytes) and case.line.get("source-ref") == LINE["source-ref"]
            lines.append(of(name, case.line) if is_of_one else case.line)
        self._numbers = {case.id: number for number, case in enumerate(LINES, 11)}
        self._prepare(self.bucket, lines)
        self._dropped = self.codes("dropped.jsonl", "line")

    def give(self, case: Line | Lines) -> tuple[str, str]:
        if isinstance(case, Line):
            return self._dropped.get(self._numbers[case.id], ("kept", ""))
        bucket = Bucket(self.bucket.s3)
        self._put(bucket, [f"{number}.jpg" for number in range(1, 5)])
        reported: list[str] = []

        def prepare() -> None:
            reasons = self._prepare(bucket, case.lines).dropped_reasons
            reported.append(", ".join(f"{code} {reasons[code]}" for code in sorted(reasons)))

        return refusal(prepare) or ("prepared", reported[0])

    @staticmethod
    def _put(bucket: Bucket, names: list[str]) -> None:
        put_input_manifest(bucket, {name: (f"hash of {name}", 500, 400) for name in names}, ["rejected.jpg"])

    @staticmethod
    def _prepare(bucket: Bucket, lines: Sequence[Mapping[str, Any] | bytes]) -> datasets.DatasetsPrepared:
        key = f"labelling/{JOB}/output.manifest"
        bucket.put(key, manifest(*lines).replace(b"s3://bucket/images/", f"s3://{bucket.name}/images/{JOB}/".encode()))
        images_manifest = f"s3://{bucket.name}/manifests/{JOB}/input.manifest"
        request = datasets.PrepareDatasets(
            job_id=JOB,
            images_manifest=images_manifest,
            images_sha256=sha256(bucket, images_manifest),
            images_written=written(bucket, images_manifest),
            labels_manifest=f"s3://{bucket.name}/{key}",
            labels_sha256=None,
            labelling_ended=None,
            label_attribute="doctype",
            document_types=TYPES,
        )
        return datasets.prepare(request, bucket=bucket.name, max_rejected_share=0.5)


class Endless:
    """An HTTP body of ``size`` bytes that are made as they are read, and counted."""

    def __init__(self, content: bytes, size: int) -> None:
        self._content, self._left = content, size
        self.taken = 0

    def read(self, amount: int | None = None) -> bytes:
        amount = min(self._left, self._left if amount is None else amount)
        self._left -= amount
        self.taken += amount
        return (self._content * (amount // len(self._content) + 1))[:amount]

    def close(self) -> None:
        self._left = 0


class ImportLabels(Stages):
    """A run for each labels file, for a job of four photos."""

    def __init__(self, s3: Any) -> None:
        super().__init__(s3)
        names = [f"{number}.jpg" for number in range(1, 5)]
        self._photos = put_input_manifest(self.bucket, {name: (name, 500, 400) for name in names}, ["rejected.jpg"])
        self._key = f"labels/{JOB}/jane-doe.json"

    def give(self, case: LabelsFile) -> tuple[str, str]:
        self.bucket.put(self._key, case.content)
        bodies: list[Endless] = []

        def answer(**_: Any) -> AWSResponse:
            """S3's answer to GetObject on the wire: boto3 reads headers and body as it reads those of any object."""
            bodies.append(Endless(case.content, case.size))
            headers = {
                "Content-Length": str(case.size),
                "Last-Modified": "Tue, 24 Nov 2026 01:53:24 GMT",
                "ETag": '"1"',
            }
            return AWSResponse(self._key, 200, headers, bodies[-1])

        def is_asked(request: Any, **_: Any) -> AWSResponse | None:
            return answer() if request.url.endswith(self._key) else None

        events = self.bucket.s3.meta.events
        if case.size:
            events.register_first("before-send.s3.GetObject", is_asked)
        request = labels.ImportLabels(
            JOB, self._photos, sha256(self.bucket, self._photos), self._key, TYPES, None, None, False
        )
        imported: list[labels.LabelsImported] = []
        try:
            error = refusal(lambda: imported.append(labels.import_labels(request, bucket=self.bucket.name)))
        finally:
            if case.size:
                events.unregister("before-send.s3.GetObject", is_asked)
        assert bool(bodies) == bool(case.size)
        assert sum(body.taken for body in bodies) <= READ_AT_MOST
        if not error:
            self.bucket.put(f"manifests/{JOB}/labels.manifest", "the labels of before\n")
            return "imported", str(imported[0].labelled)
        name, cause = error
        # The cause is shown to everybody who may see the job: it names no file, no photo and no class.
        assert cause.startswith("The labels file ")
        assert not [leak for leak in ("jane", ".jpg", "CAT") if leak in cause]
        if "label-problems.jsonl" not in cause:
            return name, cause
        [*problems] = self.codes("label-problems.jsonl", "code").values()
        return f"{name} {problems[0][0]}", f"{cause}{problems[0][1]}"

    def everything(self) -> dict[str, str]:
        return {key: etag for key, etag in super().everything().items() if not key.startswith("labels/")}


class Api:
    """The deployed API with a job of each kind."""

    def __init__(self, pipeline: Pipeline, photos: list[Path]) -> None:
        self.pipeline = pipeline
        upload = pipeline.uploaded
        self._jobs = {
            NEW: upload(photos[0]),
            "{empty}": pipeline.http.post("create").json()["id"],
            WAITING: upload(*photos),
            FAILED: upload(photos[0]),
            ERASED: upload(photos[0]),
        }
        assert pipeline.start(self._jobs[WAITING], labels={"provider": "supplied"}).status_code == 200
        assert pipeline.start(self._jobs[FAILED]).status_code == 200
        assert pipeline.http.delete(f"jobs/{self._jobs[ERASED]}", headers=SIGNED).status_code == 202
        pipeline.reaches(self._jobs[WAITING], "WaitingForLabelling")
        pipeline.reaches(self._jobs[FAILED], "Failed")
        eventually(lambda: pipeline.job(self._jobs[ERASED])["erasure"]["status"] == "Erased")
        clock.speed = 1.0
        eventually(self._is_at_rest)

    def _is_at_rest(self) -> bool:
        """Whether the setup is complete: the failed job's end notice is sent last, and nothing changes after it."""
        return "EndEventSent" in self.everything()[self._jobs[FAILED]] and not clock._scheduler.computing

    def everything(self) -> dict[str, Any]:
        """Every job's record, object and execution."""
        aws, outputs = self.pipeline.aws, self.pipeline.outputs
        records = aws.client("dynamodb").scan(TableName=outputs["JobsTable"])["Items"]
        objects = aws.client("s3").list_objects_v2(Bucket=outputs["BucketName"]).get("Contents", [])
        executions = aws.client("stepfunctions").list_executions(stateMachineArn=outputs["StateMachineArn"])
        return {
            **{record["Id"]["S"]: record for record in records},
            **{entry["Key"]: entry["ETag"] for entry in objects},
            **{entry["executionArn"]: entry["status"] for entry in executions["executions"]},
        }

    def give(self, case: Call | Name) -> tuple[str, str]:
        if isinstance(case, Call):
            return self._answer(self._send(case))
        asked = {"JobId": self._jobs[NEW], "S3Key": case.name}
        one = self.pipeline.http.get("url", params=asked)
        many = self.pipeline.http.post(f"jobs/{asked['JobId']}/urls", json={"names": ["other.jpg", case.name]})
        if one.status_code == many.status_code == 200:
            return self._upload(case.name, one.text, many.json()[case.name])
        # A name of 256 characters is above what the body's schema allows, so that API Gateway words the other answer.
        assert self._answer(many)[0] == self._answer(one)[0]
        return self._answer(one)

    def _send(self, case: Call) -> httpx.Response:
        method, path = (self._filled(part) for part in case.route.split(" "))
        body = case.body if case.body is None or isinstance(case.body, bytes) else json.dumps(case.body).encode()
        headers = {"Content-Type": case.content_type} if body is not None else {}
        return self.pipeline.http.request(
            method,
            path,
            params={name: self._filled(value) for name, value in case.query.items()},
            content=body,
            headers=headers | (SIGNED if case.signed else {}),
        )

    def _filled(self, text: str) -> str:
        for name, job_id in self._jobs.items():
            text = text.replace(name, job_id)
        return text

    @staticmethod
    def _answer(response: httpx.Response) -> tuple[str, str]:
        """The problem's status and type, and its detail; a problem it must be, with nothing of the inside in it."""
        assert response.headers["content-type"] == "application/problem+json", response.text
        problem = response.json()
        assert set(problem) == {"type", "title", "status", "detail"}
        assert problem["status"] == response.status_code < 500
        assert "Traceback" not in response.text
        assert len(response.text) < 5000
        return f"{problem['status']} {problem['type'].removeprefix('urn:ekyc:problem:')}", problem["detail"]

    def _upload(self, name: str, url: str, once: dict[str, Any]) -> tuple[str, str]:
        """Upload under the name, through both URLs: it is the object's, to the letter, and only the first goes in."""
        folder = "images" if name.lower().endswith((".jpg", ".jpeg", ".png")) else "labels"
        key = f"{folder}/{self._jobs[NEW]}/{name}"
        assert httpx.put(url, content=GOOD[0]).status_code == 200
        assert httpx.put(once["url"], headers=once["headers"], content=GOOD[1]).status_code == 412
        there = {"Bucket": self.pipeline.outputs["BucketName"], "Key": key}
        s3 = self.pipeline.aws.client("s3")
        assert s3.get_object(**there)["Body"].read() == GOOD[0]
        s3.delete_object(**there)
        return "taken", key


@pytest.fixture(scope="session")
def check_photos_cases(s3: Any) -> CheckPhotos:
    return CheckPhotos(s3)


@pytest.fixture(scope="session")
def prepare_datasets(s3: Any) -> PrepareDatasets:
    return PrepareDatasets(s3)


@pytest.fixture(scope="session")
def import_labels(s3: Any) -> ImportLabels:
    return ImportLabels(s3)


@pytest.fixture(scope="module")
def api(local_aws: LocalAws, assembly: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Api]:
    folder = tmp_path_factory.mktemp("bad-input")
    (folder / "annotations.json").write_text('{"images": [], "annotations": [], "categories": []}')
    photos = [folder / "jane-doe.jpg", *(folder / f"{number}.jpg" for number in range(1, 10))]
    for path, content in zip(photos, GOOD, strict=True):
        path.write_bytes(content)
    with deployed(local_aws, assembly, folder) as pipeline:
        yield Api(pipeline, photos)
