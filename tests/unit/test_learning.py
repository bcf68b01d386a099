"""Learn outlines: which photos it learns from, that it continues where a run ended, and what it says of the result."""

import itertools
import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import cv2
import numpy as np
import pytest

from outlines import Box
from pipeline import learning, outlining
from pipeline.errors import ManifestChanged, OutlinesLeft
from pipeline.learning import LearnOutlines, OutlinesLearned
from pipeline.manifests import Photo, photo_line
from rules import lines
from rules.lines import Labelled, line_end, line_start
from tests.drawn_documents import TYPES, photograph
from tests.unit.photo_jobs import JOB, Bucket, sha256

ENOUGH = 900.0


@pytest.fixture
def bucket(s3: Any) -> Bucket:
    return Bucket(s3)


class Job:
    """A job's photos in the bucket and its manifests, from which outlines are learned."""

    def __init__(self, bucket: Bucket) -> None:
        self.bucket = bucket
        self._photos: list[str] = []
        self._lines: dict[str, list[str]] = {"train": [], "test": [], "labels": []}
        self._names = itertools.count()

    def add(
        self,
        manifest: str,
        boxes: Sequence[Box],
        image: np.ndarray,
        *,
        group: int | None = None,
        polygons: Sequence[Any] = (),
    ) -> str:
        """Add a photo with labels to the manifest ``train`` or ``test``; returns its key."""
        name = f"{next(self._names):04}.png"
        self.bucket.put_photo(name, cv2.imencode(".png", image)[1].tobytes())
        ref = f"s3://{self.bucket.name}/images/{JOB}/{name}"
        etag = self.bucket.s3.head_object(Bucket=self.bucket.name, Key=f"images/{JOB}/{name}")["ETag"].strip('"')
        height, width = image.shape[:2]
        self._photos.append(photo_line(Photo(ref, etag, width, height, etag, 0, 4.0, 0.5, 1, group)))
        drawn = [lines.Box(box.label, box.left, box.top, box.width, box.height, 1) for box in boxes]
        whole = [clamped for box in drawn if isinstance(clamped := lines.clamp(box, width, height), lines.Box)]
        class_ids = {box.label: n for n, box in enumerate(whole)}
        end = line_end({str(n): label for label, n in class_ids.items()})
        labelled = Labelled(ref, width, height, 3, whole, "yes", "2026-11-24T00:00:00", "")
        self._lines[manifest].append(line_start(labelled, whole, class_ids) + end)
        with_corners = labelled._replace(boxes=drawn, corners=polygons)
        self._lines["labels"].append(line_start(with_corners, drawn, class_ids) + end)
        return f"images/{JOB}/{name}"

    def request(self, version: str = JOB) -> LearnOutlines:
        hashed: list[str] = []
        for name, of in (("input", self._photos), *self._lines.items()):
            uri = self.bucket.put(f"manifests/{JOB}/{name}.manifest", "".join(f"{line}\n" for line in of))
            hashed += [uri, sha256(self.bucket, uri)]
        return LearnOutlines(JOB, version, *hashed)

    def learn(self, seconds_left: Callable[[], float] = lambda: ENOUGH, **changes: Any) -> OutlinesLearned:
        request = self.request(**changes)
        return learning.learn(request, bucket=self.bucket.name, seconds_left=seconds_left)

    def finished(self) -> dict[str, Any]:
        """When each finished type's file was written, by type."""
        listed = self.bucket.s3.list_objects_v2(Bucket=self.bucket.name, Prefix=f"outlines/{JOB}/types/")
        return {entry["Key"].rpartition("/")[2]: entry["ETag"] for entry in listed.get("Contents", [])}


def shot(label: str, seed: int, drawn_as: str | None = None) -> tuple[list[Box], np.ndarray, list[np.ndarray]]:
    """A photo of a document of type ``drawn_as``, labelled as ``label``."""
    random = np.random.default_rng(seed)
    image, (box,), corners = photograph([(drawn_as or label, random.uniform(-35, 35), (240, 180), 260)], seed)
    return [Box(label, box.left, box.top, box.width, box.height)], image, corners


def with_types(
    bucket: Bucket, *types: str, train: int = 4, test: int = 2, polygons: bool = False, small: bool = False
) -> Job:
    job = Job(bucket)
    for place, label in enumerate(types):
        for number in range(train + test):
            boxes, image, corners = shot(label, 100 * place + number, TYPES[place % len(TYPES)])
            drawn = [one.round(2).tolist() for one in corners] if polygons else ()
            if small:
                boxes = [Box(label, box.left / 3, box.top / 3, box.width / 3, box.height / 3) for box in boxes]
                image = cv2.resize(image, None, fx=1 / 3, fy=1 / 3, interpolation=cv2.INTER_AREA)
            job.add("train" if number < train else "test", boxes, image, polygons=drawn)
    return job


def test_the_outlines_are_learned_and_their_figures_measured(bucket: Bucket) -> None:
    # Given a job with photos of three types, labelled with boxes; When the outlines are learned
    learned = with_types(bucket, *TYPES).learn()
    # Then all types are in the file, whose hash is returned
    key = outlining.artefact_key(JOB, JOB)
    assert learned.file == f"s3://{bucket.name}/{key}"
    assert learned.sha256 == sha256(bucket, learned.file)
    found = outlining.read_outlines(bucket.name, key)
    assert found is not None
    assert sorted(found.types) == sorted(TYPES)
    # And the figures are against the labelled boxes, as there are no polygons
    assert (learned.types, learned.learned, learned.test_documents, learned.outlined) == (3, 3, 6, 6)
    assert learned.box_iou is not None
    assert learned.box_iou > 0.95
    assert (learned.polygons, learned.polygon_iou, learned.corner_error, learned.unread) == (0, None, None, 0)
    assert [one["label"] for one in learned.by_type] == sorted(TYPES)
    assert {one["trainDocuments"] for one in learned.by_type} == {4}


def test_polygons_of_the_labels_are_learned_from_and_measured_with(bucket: Bucket) -> None:
    # Given one training photo of a type, which a box cannot show the rotation of, but a polygon can
    with_boxes = with_types(bucket, "PERMIT", train=1).learn()
    with_polygons = with_types(bucket, "PERMIT", train=1, polygons=True).learn()
    # Then the outline of the type with polygons is right, measured with the polygons
    assert with_polygons.polygons == with_polygons.outlined == 2
    assert with_polygons.polygon_iou is not None
    assert with_polygons.polygon_iou > 0.95
    assert with_polygons.corner_error is not None
    assert with_polygons.corner_error < 0.02
    # And it is better than that of the type with boxes
    assert (with_boxes.box_iou or 0) < (with_polygons.box_iou or 0)


def test_a_run_without_time_is_continued_by_the_next(bucket: Bucket) -> None:
    # Given runs that have time for one type
    job = with_types(bucket, *TYPES)
    files: list[Mapping[str, Any]] = []
    for _ in TYPES:
        with pytest.raises(OutlinesLeft):
            job.learn(lambda: 10.0)
        files.append(job.finished())
    # Then each learns one more type and leaves the others as they are
    assert [len(of_run) for of_run in files] == [1, 2, 3]
    assert files[0].items() <= files[1].items() <= files[2].items()
    # And the next run joins them; the result is that of one run
    joined = job.learn(lambda: 10.0)
    assert joined.learned == 3
    assert job.learn() == joined
    # And the outlines of another version of the model are the same, in a file of their own
    again = job.learn(version=f"{JOB}-2")
    assert (again.sha256, again.file) == (joined.sha256, joined.file.replace(f"/{JOB}.", f"/{JOB}-2."))
    assert job.finished() == files[2]


def test_sixty_types_take_several_runs(bucket: Bucket) -> None:
    # Given a job with sixty types, each with one photo to learn from, and runs that have time for twenty
    labels = [f"TYPE_{number:02}" for number in range(60)]
    job = with_types(bucket, *labels, train=1, test=1, small=True)
    runs, learned = 0, None
    while learned is None:
        left, runs = iter(range(1, 1000)), runs + 1
        try:
            learned = job.learn(lambda left=left: ENOUGH if next(left) < 20 else 10.0)  # type: ignore[misc]
        except OutlinesLeft:
            assert len(job.finished()) == 20 * runs
    # Then all are learned in the end
    assert (runs, learned.learned, learned.test_documents) == (4, 60, 60)
    assert len(json.dumps(learned.by_type)) < 20_000


def test_a_photo_that_cannot_be_read_is_left_out(bucket: Bucket) -> None:
    # Given training photos of which one is replaced after its check, one deleted, and one no photo
    job = with_types(bucket, "PERMIT", train=6)
    boxes, image, _ = shot("PERMIT", 50)
    for act in (
        lambda key: bucket.put(key, b"another"),
        lambda key: bucket.s3.delete_object(Bucket=bucket.name, Key=key),
    ):
        act(job.add("train", boxes, image))
    # Then the type is learned from the others, and the number of the unread is told
    learned = job.learn()
    assert (learned.learned, learned.outlined, learned.unread) == (1, 2, 2)


def test_a_type_whose_photos_show_nothing_has_no_outline(bucket: Bucket) -> None:
    # Given a type whose photos are blank, besides one that can be learned
    job = with_types(bucket, "PERMIT")
    for manifest in ("train", "test"):
        job.add(manifest, [Box("BLANK", 20, 20, 90, 60)], np.full((200, 200, 3), 128, np.uint8))
    # Then it has none, and the result says so
    learned = job.learn()
    assert (learned.types, learned.learned, learned.test_documents, learned.outlined) == (2, 1, 3, 2)
    assert [(one["label"], one["learned"], one["outlined"]) for one in learned.by_type] == [
        ("BLANK", False, 0),
        ("PERMIT", True, 2),
    ]


def test_photos_of_one_shot_are_taken_after_those_of_others(bucket: Bucket, monkeypatch: pytest.MonkeyPatch) -> None:
    # Given five photos of one shot, before two that are alone
    monkeypatch.setattr("outlines.learning.PHOTOS_PER_TYPE", 3)
    job = Job(bucket)
    for number in range(7):
        boxes, image, _ = shot("PERMIT", number)
        job.add("train", boxes, image, group=1 if number < 5 else None)
    job.add("test", boxes, image)
    # When three are chosen
    chosen = learning._Inputs(job.request(), bucket.name).train
    # Then each shot has one
    assert sorted(ref[-8:] for ref in chosen.photos.values()) == ["0000.png", "0005.png", "0006.png"]


def test_a_changed_manifest_is_not_learned_from(bucket: Bucket) -> None:
    job = with_types(bucket, "PERMIT", train=1, test=1)
    request = job.request()
    bucket.put(f"manifests/{JOB}/train.manifest", "")
    with pytest.raises(ManifestChanged):
        learning.learn(request, bucket=bucket.name, seconds_left=lambda: ENOUGH)


def test_the_record_keeps_the_figures_or_the_name_of_the_error() -> None:
    assert learning.for_record({"file": "s3://b/k", "learned": 1, "byType": []}) == {"file": "s3://b/k", "learned": 1}
    assert learning.for_record({"error": "AccessDenied"}) == {"error": "AccessDenied"}
    assert learning.for_record({"error": "States.Timeout"}) == {"error": "States.Timeout"}
    assert learning.for_record({"error": "a person's name"}) == {"error": "OtherError"}
